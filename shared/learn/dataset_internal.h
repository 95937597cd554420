/* What the sources of data sets fill. Private to shared/learn. */
#ifndef TRIB_LEARN_DATASET_INTERNAL_H
#define TRIB_LEARN_DATASET_INTERNAL_H

#include "shared/learn/dataset.h"
#include "shared/learn/loops.h"

#include <stdbool.h>

struct trib_dataset {
    struct trib_shape shape;
    size_t classes, users;
    bool symbols;                  /* bytes are numbers of symbols, and stay as they are */
    float mean, std;               /* of the training images' bytes / 255; without images unused */
    struct trib_split train, test; /* their arrays are owned */
    const struct trib_loops *loops;
    char source[TRIB_DATASET_MAX_SOURCE + 64];
};

/* A kind of data set: one .c and one line in dataset.c. `open` fills the data set, whose memory is zeroed and
 * freed by the caller in every case. */
struct trib_dataset_kind {
    struct trib_dataset_row row;
    size_t config_bytes;
    enum trib_status (*open)(struct trib_dataset *dataset, const char *name, const void *config,
                             const char *path, struct trib_error *err);
};
extern const struct trib_dataset_kind trib_dataset_mnist, trib_dataset_fashion, trib_dataset_glyphs,
    trib_dataset_synthetic, trib_dataset_beijing, trib_dataset_csv, trib_dataset_shakespeare,
    trib_dataset_idx;

/* Finds the folder of `name` by the rules of dataset.h, into `folder`: the first that holds `file`, plain or
 * .gz. `what` says which rule it was. */
enum trib_status trib_source_find(const char *name, const char *file, const char *path,
                                  char folder[TRIB_DATASET_MAX_SOURCE], const char **what,
                                  struct trib_error *err) TRIB_MUST_USE;
/* The file `name` or `name`.gz in `folder`, into `path`; false if there is neither. */
bool trib_source_file(const char *folder, const char *name, char path[TRIB_DATASET_MAX_SOURCE]);

#endif
