/* mnist and fashion-mnist: four IDX files. */
#include "shared/base/alloc.h"
#include "shared/learn/dataset_internal.h"
#include "shared/learn/idx.h"

#include <stdio.h>

enum { SIDE = 28, CLASSES = 10 };

static enum trib_status read_one(const char *folder, const char *split, const char *what, size_t rank,
                                 size_t item_bytes, size_t *count, const uint8_t **data,
                                 struct trib_error *err) {
    char name[64], path[TRIB_DATASET_MAX_SOURCE];
    size_t dims[TRIB_IDX_MAX_RANK];
    uint8_t *bytes = NULL;
    (void)snprintf(name, sizeof name, "%s-%s-idx%zu-ubyte", split, what, rank);
    if (!trib_source_file(folder, name, path))
        return trib_fail(err, TRIB_NOT_FOUND,
                         "%s has no %s nor %s.gz; all four files of the data set are needed", folder, name,
                         name);
    enum trib_status status =
        trib_idx_read(path, rank, TRIB_DATASET_MAX_IMAGES, item_bytes, dims, &bytes, err);
    if (status != TRIB_OK) return status;
    *data = bytes;
    *count = dims[0];
    if (rank == 3 && (dims[1] != SIDE || dims[2] != SIDE))
        return trib_fail(err, TRIB_INVALID, "%s: images of %zux%zu, expected %dx%d", path, dims[1], dims[2],
                         SIDE, SIDE);
    return TRIB_OK;
}

static enum trib_status read_split(const char *folder, const char *name, struct trib_split *split,
                                   struct trib_error *err) {
    size_t labels = 0;
    enum trib_status status =
        read_one(folder, name, "images", 3, (size_t)SIDE * SIDE, &split->count, &split->images, err);
    if (status == TRIB_OK) status = read_one(folder, name, "labels", 1, 1, &labels, &split->labels, err);
    if (status != TRIB_OK) return status;
    if (labels != split->count)
        return trib_fail(err, TRIB_CORRUPT,
                         "%s: %zu %s images and %zu labels; the files do not belong together", folder,
                         split->count, name, labels);
    for (size_t i = 0; i < labels; i++)
        if (split->labels[i] >= CLASSES)
            return trib_fail(err, TRIB_CORRUPT, "%s: %s label %zu is %u, expected 0 to %d", folder, name, i,
                             split->labels[i], CLASSES - 1);
    return TRIB_OK;
}

static enum trib_status open_idx(struct trib_dataset *dataset, const char *name, const char *path,
                                 struct trib_error *err) {
    char folder[TRIB_DATASET_MAX_SOURCE];
    const char *what = NULL;
    enum trib_status status = trib_source_find(name, "train-images-idx3-ubyte", path, folder, &what, err);
    if (status != TRIB_OK) return status;
    dataset->shape = (struct trib_shape){.channels = 1, .height = SIDE, .width = SIDE};
    dataset->classes = CLASSES;
    (void)snprintf(dataset->source, sizeof dataset->source, "%s (%s)", folder, what);
    status = read_split(folder, "train", &dataset->train, err);
    return status == TRIB_OK ? read_split(folder, "t10k", &dataset->test, err) : status;
}

static enum trib_status open_mnist(struct trib_dataset *dataset, const char *name, const void *config,
                                   const char *path, struct trib_error *err) {
    (void)config;
    dataset->mean = 0.1307f;
    dataset->std = 0.3081f;
    return open_idx(dataset, name, path, err);
}

static enum trib_status open_fashion(struct trib_dataset *dataset, const char *name, const void *config,
                                     const char *path, struct trib_error *err) {
    (void)config;
    dataset->mean = 0.2860f;
    dataset->std = 0.3530f;
    return open_idx(dataset, name, path, err);
}

const struct trib_dataset_kind trib_dataset_mnist = {
    .row = {.name = "mnist", .summary = "handwritten digits, 28x28, 10 classes"},
    .open = open_mnist,
};

const struct trib_dataset_kind trib_dataset_fashion = {
    .row = {.name = "fashion-mnist", .summary = "pieces of clothing, 28x28, 10 classes"},
    .open = open_fashion,
};
