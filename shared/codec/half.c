/* f16 and bf16: 16 bits a value. What is too large for one becomes the largest: the sender keeps what was
 * lost. */
#include "shared/codec/codec_row.h"

#include "shared/kernels/kernels.h"

#include <string.h>

enum { CHUNK = 256 };

static size_t bytes(const struct trib_stage *stage, size_t count) {
    (void)stage;
    return count * sizeof(uint16_t);
}

/* ---- encoding ---- */

/* Infinity, made by rounding a finite value, becomes the largest half. */
static void saturate(uint16_t *halves, size_t n) {
    for (size_t i = 0; i < n; i++)
        if ((halves[i] & 0x7FFFU) == 0x7C00U) halves[i] = (uint16_t)((halves[i] & 0x8000U) | 0x7BFFU);
}

static void to_f16(uint16_t *halves, const float *values, size_t n) {
    const struct trib_kernels *kernels = trib_kernels();
    kernels->to_f16(halves, values, n);
    if (!kernels->all_finite_f16(halves, n)) saturate(halves, n);
}

static bool encode_block(uint8_t *out, size_t first, const float *values, size_t n,
                         void (*convert)(uint16_t *halves, const float *values, size_t n)) {
    if (!trib_kernels()->all_finite(values, n)) return false;
    uint16_t halves[CHUNK];
    for (size_t at = 0; at < n; at += CHUNK) {
        size_t m = n - at < CHUNK ? n - at : CHUNK;
        convert(halves, values + at, m);
        memcpy(out + (first + at) * sizeof *halves, halves, m * sizeof *halves);
    }
    return true;
}

static bool encode_f16_block(uint8_t *out, size_t first, const float *values, size_t n) {
    return encode_block(out, first, values, n, to_f16);
}

static bool encode_bf16_block(uint8_t *out, size_t first, const float *values, size_t n) {
    return encode_block(out, first, values, n, trib_kernels()->to_bf16);
}

static enum trib_status encode_f16(const struct trib_stage *stage, const struct trib_source *source,
                                   uint64_t seed, uint8_t *out, struct trib_error *err) {
    (void)seed;
    return trib_encode_blocks(stage->row->name, source, out, encode_f16_block, err);
}

static enum trib_status encode_bf16(const struct trib_stage *stage, const struct trib_source *source,
                                    uint64_t seed, uint8_t *out, struct trib_error *err) {
    (void)seed;
    return trib_encode_blocks(stage->row->name, source, out, encode_bf16_block, err);
}

/* ---- decoding ---- */

/* Halves [at, at + *n) of the payload, *n at most CHUNK, at an address that they may stand at. */
static const uint16_t *chunk(const uint8_t *data, size_t at, size_t end, uint16_t *aligned, size_t *n) {
    *n = end - at < CHUNK ? end - at : CHUNK;
    memcpy(aligned, data + at * sizeof *aligned, *n * sizeof *aligned);
    return aligned;
}

typedef void add_function(float *y, const uint16_t *h, float a, size_t n);

static enum trib_status check(const char *name, add_function *add, const uint8_t *data, size_t count,
                              double *sum_squares, struct trib_error *err) {
    const struct trib_kernels *kernels = trib_kernels();
    uint16_t aligned[CHUNK];
    double sum = 0.0;
    for (size_t at = 0, n; at < count; at += n) {
        float values[CHUNK] = {0};
        const uint16_t *halves = chunk(data, at, count, aligned, &n);
        add(values, halves, 1.0F, n);
        if (!kernels->all_finite(values, n)) return trib_codec_not_finite(name, err);
        if (sum_squares != NULL) sum += kernels->sum_squares(values, n);
    }
    if (sum_squares != NULL) *sum_squares = sum;
    return TRIB_OK;
}

static enum trib_status check_f16(const struct trib_stage *stage, const uint8_t *data, size_t count,
                                  double *sum_squares, struct trib_error *err) {
    return check(stage->row->name, trib_kernels()->add_f16, data, count, sum_squares, err);
}

static enum trib_status check_bf16(const struct trib_stage *stage, const uint8_t *data, size_t count,
                                   double *sum_squares, struct trib_error *err) {
    return check(stage->row->name, trib_kernels()->add_bf16, data, count, sum_squares, err);
}

static void add(add_function *kernel, const uint8_t *from, size_t n, float a, float *y) {
    if ((uintptr_t)from % _Alignof(uint16_t) == 0) {
        kernel(y, (const uint16_t *)(const void *)from, a, n);
        return;
    }
    uint16_t aligned[CHUNK];
    for (size_t at = 0, m; at < n; at += m) {
        const uint16_t *halves = chunk(from, at, n, aligned, &m);
        kernel(y + at, halves, a, m);
    }
}

static void add_f16(const struct trib_stage *stage, const uint8_t *data, size_t count, size_t first, size_t n,
                    float a, float *y) {
    (void)stage, (void)count;
    add(trib_kernels()->add_f16, data + first * sizeof(uint16_t), n, a, y);
}

static void add_bf16(const struct trib_stage *stage, const uint8_t *data, size_t count, size_t first,
                     size_t n, float a, float *y) {
    (void)stage, (void)count;
    add(trib_kernels()->add_bf16, data + first * sizeof(uint16_t), n, a, y);
}

const struct trib_codec_values trib_codec_f16 = {bytes, encode_f16, check_f16, add_f16, NULL, NULL, NULL};
const struct trib_codec_values trib_codec_bf16 = {bytes, encode_bf16, check_bf16, add_bf16, NULL, NULL, NULL};
