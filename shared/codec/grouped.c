/* int8(per=channel), int4(per=tensor), ...: what per says is encoded as a vector of its own that is one block
 * (packed.c), header and codes; the next one begins at the next byte. */
#include "shared/codec/grouped.h"

#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "shared/codec/lines.h"
#include "shared/codec/packed.h"

#include <string.h>

bool trib_grouped(const struct trib_stage *stage) {
    return strcmp(((const struct trib_int_config *)stage->config)->per, "block") != 0;
}

/* The same code with a block for all. */
struct whole {
    struct trib_int_config config;
    struct trib_stage stage;
};

static const struct trib_stage *whole_of(const struct trib_stage *stage, struct whole *out) {
    out->config = *(const struct trib_int_config *)stage->config;
    out->config.block = 0;
    out->stage = (struct trib_stage){.row = stage->row, .config = &out->config};
    return &out->stage;
}

/* How many groups a tensor has, and the values of one. */
static size_t groups_of(const struct trib_stage *stage, const struct trib_line *tensor, size_t *values) {
    const struct trib_int_config *config = stage->config;
    const bool rows = strcmp(config->per, "channel") == 0;
    *values = rows ? tensor->length : tensor->rows * tensor->length;
    return rows ? tensor->rows : 1;
}

size_t trib_grouped_bytes(const struct trib_stage *stage) {
    struct whole whole;
    const struct trib_stage *group = whole_of(stage, &whole);
    size_t bytes = 0, values;
    for (size_t t = 0; t < stage->lines->count; t++) {
        size_t groups = groups_of(stage, &stage->lines->tensors[t], &values);
        bytes += groups * trib_packed_bytes(group, values);
    }
    return bytes;
}

/* A tensor's groups; moves *out behind them. */
static enum trib_status encode_tensor(const struct trib_stage *stage, const struct trib_line *tensor,
                                      const float *values, uint64_t seed, uint8_t **out,
                                      struct trib_error *err) {
    struct whole whole;
    const struct trib_stage *group = whole_of(stage, &whole);
    size_t n;
    const size_t groups = groups_of(stage, tensor, &n);
    for (size_t g = 0; g < groups; g++) {
        struct trib_source source = trib_source_floats(values + g * n, n);
        enum trib_status status =
            trib_packed_encode(group, &source, trib_mix64(seed + tensor->first + g * n), *out, err);
        if (status != TRIB_OK) return status;
        *out += trib_packed_bytes(group, n);
    }
    return TRIB_OK;
}

enum trib_status trib_grouped_encode(const struct trib_stage *stage, const struct trib_source *source,
                                     uint64_t seed, uint8_t *out, struct trib_error *err) {
    float *room = trib_lines_room(stage->lines);
    enum trib_status status = TRIB_OK;
    if (room == NULL) return trib_fail(err, TRIB_NOMEM, "%s: no memory for a tensor", stage->row->name);
    for (size_t t = 0; status == TRIB_OK && t < stage->lines->count; t++) {
        const struct trib_line *tensor = &stage->lines->tensors[t];
        trib_source_copy(source, tensor->first, tensor->rows * tensor->length, room);
        status = encode_tensor(stage, tensor, room, seed, &out, err);
    }
    trib_free(room);
    return status;
}

enum trib_status trib_grouped_check(const struct trib_stage *stage, const uint8_t *data, double *sum_squares,
                                    struct trib_error *err) {
    struct whole whole;
    const struct trib_stage *group = whole_of(stage, &whole);
    double sum = 0.0;
    for (size_t t = 0, n; t < stage->lines->count; t++) {
        const size_t groups = groups_of(stage, &stage->lines->tensors[t], &n);
        for (size_t g = 0; g < groups; g++, data += trib_packed_bytes(group, n)) {
            double squares = 0.0;
            enum trib_status status =
                trib_packed_check(group, data, n, sum_squares != NULL ? &squares : NULL, err);
            if (status != TRIB_OK) return status;
            sum += squares;
        }
    }
    if (sum_squares != NULL) *sum_squares = sum;
    return TRIB_OK;
}

void trib_grouped_add(const struct trib_stage *stage, const uint8_t *data, size_t first, size_t n, float a,
                      float *y) {
    struct whole whole;
    const struct trib_stage *group = whole_of(stage, &whole);
    const size_t end = first + n;
    for (size_t t = 0, values; t < stage->lines->count && first < end; t++) {
        const struct trib_line *tensor = &stage->lines->tensors[t];
        const size_t groups = groups_of(stage, tensor, &values), bytes = trib_packed_bytes(group, values);
        const size_t last = tensor->first + groups * values;
        while (first < end && first < last) {
            const size_t g = (first - tensor->first) / values, at = (first - tensor->first) % values;
            const size_t m = values - at < end - first ? values - at : end - first;
            trib_packed_add(group, data + g * bytes, values, at, m, a, y);
            y += m;
            first += m;
        }
        data += groups * bytes;
    }
}
