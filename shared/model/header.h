/* The header of a safetensors file: a JSON object of tensors. A small reader of its own, strict and bounded,
 * since the file may come from anyone. Private to this folder.
 *
 *     {"__metadata__": {"k": "v", ...}, "NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
 * ...}
 *
 * Accepted: F32 and F16; each key once; names of letters, digits and _.- (no escapes); offsets that cover the
 * data from end to end without gap or overlap, each as long as its shape says; blanks behind the object. */
#ifndef TRIB_MODEL_HEADER_H
#define TRIB_MODEL_HEADER_H

#include "shared/model/schema.h"

#include <stdbool.h>

enum {
    TRIB_HEADER_MAX_BYTES = 1024 * 1024 /* 512 tensors take 100 KiB; the rest is for metadata */
};

struct trib_header_tensor {
    char name[TRIB_SCHEMA_MAX_NAME + 1];
    bool half; /* F16 */
    size_t rank, dims[TRIB_SCHEMA_MAX_RANK];
    uint64_t begin, end; /* bytes of the data */
};

struct trib_header {
    struct trib_header_tensor *tensors; /* owned; in the order of their data */
    size_t count;
};

/* `data_bytes`: what the file holds behind the header. */
enum trib_status trib_header_parse(struct trib_header *header, const char *text, size_t bytes,
                                   uint64_t data_bytes, struct trib_error *err) TRIB_MUST_USE;
void trib_header_release(struct trib_header *header);

#endif
