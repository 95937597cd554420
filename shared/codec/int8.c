/* int8 as it is by default: blocks of 256 values, [f32 scale][int8 x n], nearest, no zero point. One encoding
 * for a block: a zero scale has zero bytes behind it, and -128 does not occur. With other parameters it is
 * one of the codes of uniform.c. */
#include "shared/codec/uniform.h"

#include "shared/codec/grouped.h"

#include "shared/base/bytes.h"
#include "shared/kernels/kernels.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { BLOCK = 256, SCALE_BYTES = sizeof(float), BLOCK_BYTES = SCALE_BYTES + BLOCK };

static bool plain(const struct trib_stage *stage) {
    const struct trib_int_config *config = stage->config;
    return config->block == BLOCK && !config->zero && !trib_uniform_stochastic(config) &&
           !trib_grouped(stage);
}

static size_t bytes(const struct trib_stage *stage, size_t count) {
    if (!plain(stage)) return trib_uniform_int8.bytes(stage, count);
    return count + (count + BLOCK - 1) / BLOCK * SCALE_BYTES;
}

/* The block of value `at`, and how many of the values [at, end) are in it. */
static size_t block_of(size_t at, size_t end, size_t *n) {
    size_t left = BLOCK - at % BLOCK;
    *n = end - at < left ? end - at : left;
    return at / BLOCK * BLOCK_BYTES;
}

/* The scale of a block, and its inverse; both 0, and so the codes, if a scale would not be normal. */
static float scale_of(float absmax, float *inverse) {
    float scale = absmax / 127.0F;
    if (!isfinite(scale * 127.0F)) scale = nextafterf(scale, 0.0F); /* rounded up, at the end of the range */
    if (!(scale >= FLT_MIN)) scale = 0.0F;
    *inverse = scale > 0.0F ? 1.0F / scale : 0.0F;
    return scale;
}

static bool encode_block(uint8_t *data, size_t first, const float *values, size_t n) {
    const struct trib_kernels *kernels = trib_kernels();
    uint8_t *out = data + first / BLOCK * BLOCK_BYTES;
    for (size_t at = 0, m; at < n; at += m, out += BLOCK_BYTES) {
        m = n - at < BLOCK ? n - at : BLOCK;
        float absmax = kernels->absmax(values + at, m), inverse;
        if (isnan(absmax)) return false;
        trib_put_f32(out, scale_of(absmax, &inverse));
        kernels->quantise_int8((int8_t *)out + SCALE_BYTES, values + at, inverse, m);
    }
    return true;
}

static enum trib_status encode(const struct trib_stage *stage, const struct trib_source *source,
                               uint64_t seed, uint8_t *out, struct trib_error *err) {
    if (!plain(stage)) return trib_uniform_int8.encode(stage, source, seed, out, err);
    return trib_encode_blocks("int8", source, out, encode_block, err);
}

static enum trib_status check_scale(float scale, size_t block, struct trib_error *err) {
    if (!isfinite(scale * 127.0F)) return trib_codec_not_finite("int8", err);
    if (scale >= FLT_MIN || trib_f32_bits(scale) == 0) return TRIB_OK;
    return trib_fail(err, TRIB_INVALID,
                     "int8: the scale of block %zu is %g (bits %08" PRIx32
                     "), expected 0 or a normal positive number",
                     block, (double)scale, trib_f32_bits(scale));
}

static enum trib_status check(const struct trib_stage *stage, const uint8_t *data, size_t count,
                              double *sum_squares, struct trib_error *err) {
    if (!plain(stage)) return trib_uniform_int8.check(stage, data, count, sum_squares, err);
    const struct trib_kernels *kernels = trib_kernels();
    double sum = 0.0;
    for (size_t at = 0, n; at < count; at += n) {
        const uint8_t *block = data + block_of(at, count, &n), *q = block + SCALE_BYTES;
        float scale = trib_get_f32(block);
        enum trib_status status = check_scale(scale, at / BLOCK, err);
        if (status != TRIB_OK) return status;
        const uint8_t *lowest = memchr(q, 0x80, n);
        if (lowest != NULL) {
            return trib_fail(err, TRIB_INVALID, "int8: value %zu is -128, expected -127 to 127",
                             at + (size_t)(lowest - q));
        }
        if (sum_squares == NULL && scale > 0.0F) continue;
        int64_t squares = kernels->sum_squares_int8((const int8_t *)q, n);
        if (scale == 0.0F && squares != 0) {
            return trib_fail(err, TRIB_INVALID, "int8: block %zu has scale 0 and bytes that are not 0",
                             at / BLOCK);
        }
        sum += (double)scale * (double)scale * (double)squares;
    }
    if (sum_squares != NULL) *sum_squares = sum;
    return TRIB_OK;
}

static void add(const struct trib_stage *stage, const uint8_t *data, size_t count, size_t first, size_t n,
                float a, float *y) {
    if (!plain(stage)) {
        trib_uniform_int8.add(stage, data, count, first, n, a, y);
        return;
    }
    const struct trib_kernels *kernels = trib_kernels();
    for (size_t at = first, end = first + n, m; at < end; at += m) {
        const uint8_t *block = data + block_of(at, end, &m);
        const int8_t *q = (const int8_t *)block + SCALE_BYTES + at % BLOCK;
        kernels->add_int8(y + (at - first), q, a * trib_get_f32(block), m);
    }
}

const struct trib_codec_values trib_codec_int8 = {
    bytes, encode, check, add, trib_uniform_draws, &trib_packed_int8, trib_grouped};
