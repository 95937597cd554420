/* A schema of some tensors without a digest, for what needs no more of it: also where shared/model is not. */
#ifndef TRIB_TESTS_TENSORS_H
#define TRIB_TESTS_TENSORS_H

#include "shared/model/schema.h"

#include <stdio.h>
#include <string.h>

struct tensors {
    struct trib_schema schema;
    struct trib_tensor room[4];
};

static inline void tensors_add(struct tensors *t, const char *name, const size_t *dims, size_t rank) {
    struct trib_tensor *tensor = &t->room[t->schema.tensor_count++];
    *tensor = (struct trib_tensor){.rank = rank, .offset = t->schema.parameters, .count = 1};
    (void)snprintf(tensor->name, sizeof tensor->name, "%s", name);
    for (size_t i = 0; i < rank; i++) {
        tensor->dims[i] = dims[i];
        tensor->count *= dims[i];
    }
    t->schema.tensors = t->room;
    t->schema.parameters += tensor->count;
}

#endif
