/* mnist, fashion-mnist and images of your own: four IDX files. */
#include "shared/base/alloc.h"
#include "shared/learn/dataset_internal.h"
#include "shared/learn/idx.h"

#include <stdio.h>

enum { SIDE = 28, CLASSES = 10 };

struct config {
    uint64_t height, width, classes;
    double mean, std;
};

static enum trib_status read_one(const struct trib_shape *shape, const char *folder, const char *split,
                                 const char *what, size_t rank, size_t item_bytes, size_t *count,
                                 const uint8_t **data, struct trib_error *err) {
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
    if (rank == 3 && (dims[1] != shape->height || dims[2] != shape->width))
        return trib_fail(err, TRIB_INVALID, "%s: images of %zux%zu, expected %zux%zu", path, dims[1], dims[2],
                         shape->height, shape->width);
    return TRIB_OK;
}

static enum trib_status read_split(const struct trib_dataset *dataset, const char *folder, const char *name,
                                   struct trib_split *split, struct trib_error *err) {
    const struct trib_shape *shape = &dataset->shape;
    size_t labels = 0;
    enum trib_status status = read_one(shape, folder, name, "images", 3, shape->height * shape->width,
                                       &split->count, &split->images, err);
    if (status == TRIB_OK)
        status = read_one(shape, folder, name, "labels", 1, 1, &labels, &split->labels, err);
    if (status != TRIB_OK) return status;
    if (labels != split->count)
        return trib_fail(err, TRIB_CORRUPT,
                         "%s: %zu %s images and %zu labels; the files do not belong together", folder,
                         split->count, name, labels);
    for (size_t i = 0; i < labels; i++)
        if (split->labels[i] >= dataset->classes)
            return trib_fail(err, TRIB_CORRUPT, "%s: %s label %zu is %u, expected 0 to %zu", folder, name, i,
                             split->labels[i], dataset->classes - 1);
    return TRIB_OK;
}

static enum trib_status open_idx(struct trib_dataset *dataset, const char *name, const char *path,
                                 struct trib_error *err) {
    char folder[TRIB_DATASET_MAX_SOURCE];
    const char *what = NULL;
    enum trib_status status = trib_source_find(name, "train-images-idx3-ubyte", path, folder, &what, err);
    if (status != TRIB_OK) return status;
    if (dataset->classes == 0) {
        dataset->shape = (struct trib_shape){.channels = 1, .height = SIDE, .width = SIDE};
        dataset->classes = CLASSES;
    }
    (void)snprintf(dataset->source, sizeof dataset->source, "%s (%s)", folder, what);
    status = read_split(dataset, folder, "train", &dataset->train, err);
    return status == TRIB_OK ? read_split(dataset, folder, "t10k", &dataset->test, err) : status;
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

/* ---- idx ---- */

static const struct trib_option params[] = {
    {.name = "height",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct config, height),
     .fallback = "28",
     .min = 1,
     .max = 2048,
     .help = "rows of an image"},
    {.name = "width",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct config, width),
     .fallback = "28",
     .min = 1,
     .max = 2048,
     .help = "columns of an image"},
    {.name = "classes",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct config, classes),
     .fallback = "10",
     .min = 2,
     .max = TRIB_NET_MAX_CLASSES,
     .help = "labels are 0 to classes - 1"},
    {.name = "mean",
     .type = TRIB_OPT_F64,
     .offset = offsetof(struct config, mean),
     .fallback = "0.5",
     .min = 0,
     .max = 1,
     .help = "mean of the images' bytes / 255"},
    {.name = "std",
     .type = TRIB_OPT_F64,
     .offset = offsetof(struct config, std),
     .fallback = "0.5",
     .min = 0.001,
     .max = 1,
     .help = "their standard deviation"},
};

static enum trib_status open_own(struct trib_dataset *dataset, const char *name, const void *config,
                                 const char *path, struct trib_error *err) {
    const struct config *c = config;
    dataset->shape =
        (struct trib_shape){.channels = 1, .height = (size_t)c->height, .width = (size_t)c->width};
    dataset->classes = (size_t)c->classes;
    dataset->mean = (float)c->mean;
    dataset->std = (float)c->std;
    return open_idx(dataset, name, path, err);
}

const struct trib_dataset_kind trib_dataset_idx = {
    .row = {.name = "idx",
            .summary = "images of your own in four IDX files with MNIST's names",
            .params = params,
            .param_count = sizeof params / sizeof params[0]},
    .config_bytes = sizeof(struct config),
    .open = open_own,
};
