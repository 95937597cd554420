/* f32: the values as they are. */
#include "shared/codec/codec_row.h"

#include "shared/kernels/kernels.h"

#include <math.h>
#include <string.h>

enum { CHUNK = 256 };

static size_t bytes(const struct trib_stage *stage, size_t count) {
    (void)stage;
    return count * sizeof(float);
}

static bool encode_block(uint8_t *data, size_t first, const float *values, size_t n) {
    if (!trib_kernels()->all_finite(values, n)) return false;
    if (n > 0) memcpy(data + first * sizeof *values, values, n * sizeof *values);
    return true;
}

static enum trib_status encode(const struct trib_stage *stage, const struct trib_source *source,
                               uint64_t seed, uint8_t *out, struct trib_error *err) {
    (void)stage, (void)seed;
    return trib_encode_blocks("f32", source, out, encode_block, err);
}

/* Values [at, at + *n) of the payload, *n at most CHUNK, at an address that floats may stand at. */
static const float *chunk(const uint8_t *data, size_t at, size_t end, float *aligned, size_t *n) {
    *n = end - at < CHUNK ? end - at : CHUNK;
    const uint8_t *from = data + at * sizeof *aligned;
    if ((uintptr_t)from % _Alignof(float) == 0) return (const float *)(const void *)from;
    memcpy(aligned, from, *n * sizeof *aligned);
    return aligned;
}

static enum trib_status check(const struct trib_stage *stage, const uint8_t *data, size_t count,
                              double *sum_squares, struct trib_error *err) {
    (void)stage;
    const struct trib_kernels *kernels = trib_kernels();
    float aligned[CHUNK];
    double sum = 0.0;
    bool finite = true;
    for (size_t at = 0, n; finite && at < count; at += n) {
        const float *values = chunk(data, at, count, aligned, &n);
        if (sum_squares != NULL)
            sum += kernels->sum_squares(values, n);
        else
            finite = kernels->all_finite(values, n);
    }
    /* A double holds the squares of as many floats as there can be: the sum is finite if all of them are. */
    if (!finite || !isfinite(sum)) return trib_codec_not_finite("f32", err);
    if (sum_squares != NULL) *sum_squares = sum;
    return TRIB_OK;
}

static void add(const struct trib_stage *stage, const uint8_t *data, size_t count, size_t first, size_t n,
                float a, float *y) {
    (void)stage, (void)count;
    const struct trib_kernels *kernels = trib_kernels();
    const uint8_t *from = data + first * sizeof(float);
    if ((uintptr_t)from % _Alignof(float) == 0) {
        kernels->add_scaled(y, (const float *)(const void *)from, a, n);
        return;
    }
    float aligned[CHUNK];
    for (size_t at = 0, m; at < n; at += m) {
        const float *values = chunk(from, at, n, aligned, &m);
        kernels->add_scaled(y + at, values, a, m);
    }
}

const struct trib_codec_values trib_codec_f32 = {bytes, encode, check, add, NULL, NULL, NULL};
