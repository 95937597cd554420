/* f16: IEEE halves. What is too large for a half becomes the largest: the sender keeps what was lost. */
#include "shared/codec/codec_row.h"

#include "shared/kernels/kernels.h"

#include <string.h>

enum { CHUNK = TRIB_VALUES_BLOCK };

static size_t bytes(size_t count) {
    return count * sizeof(uint16_t);
}

/* Infinity, made by rounding a finite value, becomes the largest half. */
static void saturate(uint16_t *halves, size_t n) {
    for (size_t i = 0; i < n; i++)
        if ((halves[i] & 0x7FFFU) == 0x7C00U) halves[i] = (uint16_t)((halves[i] & 0x8000U) | 0x7BFFU);
}

static bool encode(uint8_t *data, size_t first, const float *values, size_t n) {
    const struct trib_kernels *kernels = trib_kernels();
    if (!kernels->all_finite(values, n)) return false;
    uint16_t halves[CHUNK];
    for (size_t at = 0; at < n; at += CHUNK) {
        size_t m = n - at < CHUNK ? n - at : CHUNK;
        kernels->to_f16(halves, values + at, m);
        if (!kernels->all_finite_f16(halves, m)) saturate(halves, m);
        memcpy(data + bytes(first + at), halves, bytes(m));
    }
    return true;
}

/* Halves [at, at + *n) of the payload, *n at most CHUNK, at an address that they may stand at. */
static const uint16_t *chunk(const uint8_t *data, size_t at, size_t end, uint16_t *aligned, size_t *n) {
    *n = end - at < CHUNK ? end - at : CHUNK;
    memcpy(aligned, data + bytes(at), bytes(*n));
    return aligned;
}

static double sum_squares_of(const uint16_t *halves, size_t n) {
    float values[CHUNK] = {0};
    trib_kernels()->add_f16(values, halves, 1.0F, n);
    return trib_kernels()->sum_squares(values, n);
}

static enum trib_status check(const uint8_t *data, size_t count, double *sum_squares,
                              struct trib_error *err) {
    const struct trib_kernels *kernels = trib_kernels();
    uint16_t aligned[CHUNK];
    double sum = 0.0;
    for (size_t at = 0, n; at < count; at += n) {
        const uint16_t *halves = chunk(data, at, count, aligned, &n);
        if (!kernels->all_finite_f16(halves, n)) return trib_codec_not_finite("f16", err);
        if (sum_squares != NULL) sum += sum_squares_of(halves, n);
    }
    if (sum_squares != NULL) *sum_squares = sum;
    return TRIB_OK;
}

static void add(const uint8_t *data, size_t first, size_t n, float a, float *y) {
    const struct trib_kernels *kernels = trib_kernels();
    const uint8_t *from = data + bytes(first);
    if ((uintptr_t)from % _Alignof(uint16_t) == 0) {
        kernels->add_f16(y, (const uint16_t *)(const void *)from, a, n);
        return;
    }
    uint16_t aligned[CHUNK];
    for (size_t at = 0, m; at < n; at += m) {
        const uint16_t *halves = chunk(from, at, n, aligned, &m);
        kernels->add_f16(y + at, halves, a, m);
    }
}

const struct trib_codec_values trib_codec_f16 = {bytes, encode, check, add};
