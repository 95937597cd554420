/* ternary: -s, 0 or s, five to a byte. What is above 0.612 times the root mean square is not 0, which is the
 * best border for normally distributed values (Lloyd-Max); s is fitted by least squares, the mean magnitude
 * of what is not 0 (as in T-FedAvg, arXiv 2003.03564).
 *
 *     header: f32 s; codes: 0, 1 for s, 2 for -s */
#include "shared/codec/packed.h"

#include "shared/base/bytes.h"
#include "shared/kernels/kernels.h"

#include <float.h>
#include <math.h>

const struct trib_option trib_ternary_params[TRIB_TERNARY_PARAMS] = {
    {.name = "block",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct trib_ternary_config, block),
     .fallback = "1024",
     .min = 16,
     .max = TRIB_CODEC_BLOCK,
     .help = "Values that share a scale: a power of two."},
};

static const float border = 0.612F;

static void shape(const void *config, struct trib_shape *out) {
    *out = (struct trib_shape){.bits = TRIB_TRITS,
                               .block = (size_t)((const struct trib_ternary_config *)config)->block,
                               .head = sizeof(float),
                               .wants = TRIB_WANT_SQUARES,
                               .fits = true,
                               .all_codes = true};
}

static bool begin(const void *config, const struct trib_block_stats *stats, struct trib_quantiser *out,
                  uint8_t *header) {
    (void)config;
    double rms = sqrt(stats->squares / (double)stats->count);
    if (!(rms >= (double)FLT_MIN)) return false;
    out->inverse = 1.0F / (float)rms;
    trib_put_f32(header, (float)rms);
    return isfinite(out->inverse);
}

/* The kernel's codes are 0 and 2 for what is small, 1 and 3 for what is not. */
static void quantise(const void *config, const struct trib_quantiser *q, const float *x, size_t n, size_t at,
                     uint8_t *codes) {
    (void)config, (void)at;
    trib_kernels()->level_codes(codes, x, q->inverse, &border, 1, 2, n);
    for (size_t i = 0; i < n; i++) codes[i] = (uint8_t)((codes[i] & 1U) + (codes[i] == 3));
}

static bool finish(const void *config, const struct trib_block_stats *stats, const struct trib_block_fit *fit,
                   uint8_t *header) {
    (void)config, (void)stats;
    if (!(fit->ll > 0.0)) return false;
    double scale = (double)trib_get_f32(header) * (fit->xl / fit->ll);
    if (!(scale >= (double)FLT_MIN)) return false;
    trib_put_f32(header, scale < (double)FLT_MAX ? (float)scale : FLT_MAX);
    return true;
}

static enum trib_status levels(const void *config, const uint8_t *header, float *out,
                               struct trib_error *err) {
    (void)config;
    const float scale = trib_get_f32(header);
    out[0] = 0.0F;
    out[1] = scale;
    out[2] = -scale;
    out[3] = NAN;
    return trib_check_scale("ternary", scale, 1.0F, err);
}

static const struct trib_packed packed = {shape, begin, quantise, finish, levels, NULL};
const struct trib_codec_values trib_codec_ternary = {
    trib_packed_bytes, trib_packed_encode, trib_packed_check, trib_packed_add, NULL, &packed, NULL};
