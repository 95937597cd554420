#include "shared/learn/dataset.h"

#include "shared/base/alloc.h"
#include "shared/learn/dataset_internal.h"

#include <string.h>

static const struct trib_dataset_kind *const kinds[] = {
    &trib_dataset_mnist,   &trib_dataset_fashion, &trib_dataset_glyphs, &trib_dataset_synthetic,
    &trib_dataset_beijing, &trib_dataset_csv,     &trib_dataset_idx,    &trib_dataset_shakespeare,
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

/* ---- specs ---- */

static enum trib_status find(const char *name, size_t bytes, const struct trib_dataset_kind **out,
                             struct trib_error *err) {
    for (size_t i = 0; i < KINDS; i++)
        if (strlen(kinds[i]->row.name) == bytes && memcmp(kinds[i]->row.name, name, bytes) == 0) {
            *out = kinds[i];
            return TRIB_OK;
        }
    return trib_fail(
        err, TRIB_INVALID,
        "unknown data set '%.*s'; there are mnist, fashion-mnist, glyphs(COUNT), "
        "synthetic(ALPHA, BETA), beijing-air, shakespeare, csv(FILES, ...) and idx(HEIGHT, WIDTH)",
        (int)(bytes < 60 ? bytes : 60), name);
}

static void config_free(const struct trib_dataset_kind *kind, void *config) {
    if (config != NULL) trib_options_release(kind->row.params, kind->row.param_count, config);
    trib_free(config);
}

/* Finds the kind and reads its parameters into *config (config_free; NULL if it has none). */
static enum trib_status parse(const char *spec, const struct trib_dataset_kind **kind, void **config,
                              struct trib_error *err) {
    const char *name, *args;
    size_t name_bytes, args_bytes;
    enum trib_status status =
        trib_spec_split(spec, strlen(spec), &name, &name_bytes, &args, &args_bytes, err);
    if (status == TRIB_OK) status = find(name, name_bytes, kind, err);
    if (status != TRIB_OK) return status;
    const struct trib_dataset_row *row = &(*kind)->row;
    *config = NULL;
    if (row->param_count == 0)
        return args_bytes == 0 ? TRIB_OK
                               : trib_fail(err, TRIB_INVALID, "data set %s takes no parameters", row->name);
    *config = trib_alloc((*kind)->config_bytes);
    if (*config == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a data set");
    status = trib_options_defaults(row->params, row->param_count, *config, err);
    if (status == TRIB_OK)
        status = trib_options_args(row->params, row->param_count, *config, args, args_bytes, row->name, err);
    if (status == TRIB_OK) return TRIB_OK;
    config_free(*kind, *config);
    *config = NULL;
    return status;
}

enum trib_status trib_dataset_check_spec(const char *spec, struct trib_error *err) {
    const struct trib_dataset_kind *kind = NULL;
    void *config = NULL;
    enum trib_status status = parse(spec, &kind, &config, err);
    config_free(kind, config);
    return status;
}

/* ---- open ---- */

enum trib_status trib_dataset_open(const char *spec, const char *path, struct trib_dataset **out,
                                   const char **source, struct trib_error *err) {
    const struct trib_dataset_kind *kind = NULL;
    void *config = NULL;
    enum trib_status status = parse(spec, &kind, &config, err);
    if (status != TRIB_OK) return status;
    struct trib_dataset *dataset = trib_alloc(sizeof *dataset);
    if (dataset != NULL) {
        dataset->loops = trib_loops();
        status = kind->open(dataset, kind->row.name, config, path, err);
    } else {
        status = trib_fail(err, TRIB_NOMEM, "no memory for a data set");
    }
    config_free(kind, config);
    if (status != TRIB_OK) {
        trib_dataset_free(&dataset);
        return status;
    }
    if (source != NULL) *source = dataset->source;
    *out = dataset;
    return TRIB_OK;
}

static void split_release(struct trib_split *split) {
    trib_free((void *)(uintptr_t)split->images);
    trib_free((void *)(uintptr_t)split->features);
    trib_free((void *)(uintptr_t)split->labels);
    trib_free((void *)(uintptr_t)split->values);
    trib_free((void *)(uintptr_t)split->users);
}

void trib_dataset_free(struct trib_dataset **dataset) {
    struct trib_dataset *d = *dataset;
    *dataset = NULL;
    if (d == NULL) return;
    split_release(&d->train);
    split_release(&d->test);
    trib_free(d);
}

/* ---- what it is ---- */

struct trib_shape trib_dataset_shape(const struct trib_dataset *dataset) {
    return dataset->shape;
}

size_t trib_dataset_classes(const struct trib_dataset *dataset) {
    return dataset->classes;
}

size_t trib_dataset_users(const struct trib_dataset *dataset) {
    return dataset->users;
}

const struct trib_split *trib_dataset_train(const struct trib_dataset *dataset) {
    return &dataset->train;
}

const struct trib_split *trib_dataset_test(const struct trib_dataset *dataset) {
    return &dataset->test;
}

bool trib_dataset_has_images(const struct trib_dataset *dataset) {
    return dataset->train.images != NULL && !dataset->symbols;
}

size_t trib_dataset_bytes(const struct trib_dataset *dataset) {
    struct trib_shape shape = dataset->shape;
    size_t size = dataset->train.features != NULL ? sizeof(float) : 1;
    size_t each = shape.channels * shape.height * shape.width * size + 1;
    if (dataset->users > 0) each += sizeof *dataset->train.users;
    if (dataset->train.values != NULL) each += sizeof *dataset->train.values;
    return (dataset->train.count + dataset->test.count) * each;
}

void trib_dataset_convert(const struct trib_dataset *dataset, const uint8_t *pixels, size_t count,
                          float *out) {
    bool as_is = dataset->symbols;
    float scale = as_is ? 1.0f : 1.0f / (255.0f * dataset->std),
          offset = as_is ? 0.0f : -dataset->mean / dataset->std;
    dataset->loops->from_bytes(out, pixels, scale, offset, count);
}

void trib_dataset_sample(const struct trib_dataset *dataset, const struct trib_split *split, size_t item,
                         float *out) {
    TRIB_ASSERT(item < split->count);
    size_t each = dataset->shape.channels * dataset->shape.height * dataset->shape.width;
    if (split->features != NULL)
        memcpy(out, split->features + item * each, each * sizeof *out);
    else
        trib_dataset_convert(dataset, split->images + item * each, each, out);
}

double trib_dataset_accuracy(const struct trib_dataset *dataset, const struct trib_split *split, double loss,
                             size_t correct, size_t count) {
    if (dataset->classes > 1) return (double)correct / (double)count;
    return split->variance > loss ? 1.0 - loss / split->variance : 0.0;
}

const struct trib_dataset_row *trib_dataset_row(size_t i) {
    return i < KINDS ? &kinds[i]->row : NULL;
}
