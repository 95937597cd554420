/* Data sets: labelled samples in memory, a training and a test split. Immutable once opened and shared by all
 * devices of a process; images stay bytes and become floats batch by batch, other features are floats.
 *
 *   mnist, fashion-mnist   IDX files, plain or .gz, under the names they are published with:
 *                          train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-..., t10k-labels-...
 *   glyphs, glyphs(60000)  digits drawn from strokes under random affine maps: any number, the same ones for
 * the same number, no files
 *   synthetic(1, 1)        FedProx's Synthetic(alpha, beta): 30 users with models and features of their own,
 * made by its published generator (synthetic.c says how), no files; natural users
 *
 *   beijing-air            hourly PM2.5 at 12 stations (Zhang et al. 2017; UCI 501), regression
 *   shakespeare            the next character of the plays (shakespeare.c), from input.txt
 *   idx(32, 32, classes=7) images of your own, four IDX files with MNIST's names
 *   csv(FILES, target=Y)   columns of CSV files of your own
 *
 * beijing-air, shakespeare and csv know their users (stations, roles, a column); trib_dataset_row has all
 * options.
 *
 * Where the files of NAME are looked for, first found wins:
 *   1. `path` (data.path of the config), or else the environment's TRIBUTARY_DATA: a folder with the files,
 * or with a folder NAME that holds them. If one of the two is set and has no files, that is an error.
 *   2. ROOT/full/NAME, what `make data` fetched
 *   3. ROOT/NAME-sample, the sample that the project carries (mnist)
 * with ROOT being ./data, the installed data folder, /usr/share/tributary/data. */
#ifndef TRIB_LEARN_DATASET_H
#define TRIB_LEARN_DATASET_H

#include "shared/learn/net.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TRIB_DATASET_MAX_IMAGES = 10000000, TRIB_DATASET_MAX_SOURCE = 512 };

struct trib_split {
    size_t count;
    const uint8_t *images; /* count * channels * height * width bytes, sample by sample; or NULL and */
    const float *features; /* as many floats, as a model takes them */
    const uint8_t *labels; /* count, each below the number of classes */
    const float *values;   /* where classes is 1: count, the numbers to be predicted, standardised */
    const uint32_t *users; /* count, each below trib_dataset_users: whose sample it is; NULL: nobody's */
    double variance;       /* of the values; 0 without */
};

struct trib_dataset;

/* Opens a data set by its spec. `path` may be NULL or "". On success *source (may be NULL) says where it came
 * from, for people; it lives as long as the data set. Errors name the file, what was found and what to do:
 * TRIB_NOT_FOUND where there is no source, TRIB_CORRUPT for a file that is cut off, too long, or does not
 * unpack, TRIB_INVALID for one that is of another kind. */
enum trib_status trib_dataset_open(const char *spec, const char *path, struct trib_dataset **out,
                                   const char **source, struct trib_error *err) TRIB_MUST_USE;
void trib_dataset_free(struct trib_dataset **dataset);
enum trib_status trib_dataset_check_spec(const char *spec, struct trib_error *err) TRIB_MUST_USE;

struct trib_shape trib_dataset_shape(const struct trib_dataset *dataset);
/* 1: regression, the split's values are to be predicted. */
size_t trib_dataset_classes(const struct trib_dataset *dataset);
/* The users (persons, stations, roles) that the samples come from, for the natural partition; 0: unknown. */
size_t trib_dataset_users(const struct trib_dataset *dataset);
const struct trib_split *trib_dataset_train(const struct trib_dataset *dataset);
const struct trib_split *trib_dataset_test(const struct trib_dataset *dataset);
/* Are the samples images, that can be turned and shifted? */
bool trib_dataset_has_images(const struct trib_dataset *dataset);
size_t trib_dataset_bytes(const struct trib_dataset *dataset);

/* One image as a model takes it: (byte / 255 - mean) / std with the data set's constants, or the byte as it
 * is where it is a symbol's number; `pixels` is one or several images' bytes, `out` as many floats. */
void trib_dataset_convert(const struct trib_dataset *dataset, const uint8_t *pixels, size_t count,
                          float *out);

/* Sample `item` of a split as a model takes it, into one sample's floats, whichever way it is kept. */
void trib_dataset_sample(const struct trib_dataset *dataset, const struct trib_split *split, size_t item,
                         float *out);

/* What a mean loss and a count of right labels over `count` samples of a split say, from 0 to 1: the share of
 * right labels; for regression the share of the split's variance that is explained, R^2 = 1 - loss / variance
 * (the loss is the mean squared error), 0 where that is negative. */
double trib_dataset_accuracy(const struct trib_dataset *dataset, const struct trib_split *split, double loss,
                             size_t correct, size_t count);

/* The table, for --help, docs and tests. */
struct trib_dataset_row {
    const char *name, *summary;
    const struct trib_option *params;
    size_t param_count;
};
/* Row i, or NULL behind the last. */
const struct trib_dataset_row *trib_dataset_row(size_t i);

#endif
