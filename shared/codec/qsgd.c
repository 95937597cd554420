/* qsgd(levels): x as a multiple of norm / levels, up or down by lot (QSGD, arXiv 1610.02132), in 2, 4 or 8
 * bits. Without more the error can be larger than the block, min(n / levels^2, sqrt(n) / levels) times its
 * squared norm, and where errors are fed back it would grow without end; so the scale is fitted afterwards by
 * least squares, which takes the bias that this costs for an error that always shrinks.
 *
 *     header: f32 scale; codes in two's complement, -levels to levels; value = scale * code */
#include "shared/codec/uniform.h"

#include "shared/base/bytes.h"

#include <float.h>
#include <math.h>

const struct trib_option trib_qsgd_params[TRIB_QSGD_PARAMS] = {
    {.name = "levels",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct trib_qsgd_config, levels),
     .fallback = "7",
     .min = 1,
     .max = 127,
     .help = "Levels on each side of 0: 1 takes 2 bits a value, up to 7 take 4, more take 8."},
    {.name = "block",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct trib_qsgd_config, block),
     .fallback = "64",
     .max = TRIB_CODEC_BLOCK,
     .help = "Values that share a norm: a power of two from 16 on; 0: all of the vector."},
};

static unsigned bits_of(const struct trib_qsgd_config *config) {
    if (config->levels == 1) return 2;
    return config->levels <= 7 ? 4 : 8;
}

static void shape(const void *config, struct trib_shape *out) {
    *out = (struct trib_shape){.bits = bits_of(config),
                               .block = (size_t)((const struct trib_qsgd_config *)config)->block,
                               .head = sizeof(float),
                               .wants = TRIB_WANT_SQUARES,
                               .fits = true};
}

static float kept_finite(double scale, const struct trib_qsgd_config *config) {
    float most = nextafterf(FLT_MAX / (float)config->levels, 0.0F);
    return scale < (double)most ? (float)scale : most;
}

static bool begin(const void *config, const struct trib_block_stats *stats, struct trib_quantiser *out,
                  uint8_t *header) {
    const struct trib_qsgd_config *c = config;
    double scale = sqrt(stats->squares) / (double)c->levels;
    if (!(scale >= (double)FLT_MIN)) return false;
    trib_put_f32(header, kept_finite(scale, c));
    out->inverse = 1.0F / trib_get_f32(header);
    return true;
}

static void quantise(const void *config, const struct trib_quantiser *q, const float *x, size_t n, size_t at,
                     uint8_t *codes) {
    const uint8_t mask = (uint8_t)((1U << bits_of(config)) - 1U);
    trib_round_by_lot(x, q->inverse, (int)((const struct trib_qsgd_config *)config)->levels, q->seed, at, n,
                      codes);
    for (size_t i = 0; i < n; i++) codes[i] &= mask;
}

static bool finish(const void *config, const struct trib_block_stats *stats, const struct trib_block_fit *fit,
                   uint8_t *header) {
    (void)stats;
    if (!(fit->xl > 0.0) || !(fit->ll > 0.0)) return false;
    double scale = (double)trib_get_f32(header) * (fit->xl / fit->ll);
    if (!(scale >= (double)FLT_MIN)) return false;
    trib_put_f32(header, kept_finite(scale, config));
    return true;
}

static enum trib_status levels(const void *config, const uint8_t *header, float *out,
                               struct trib_error *err) {
    const struct trib_qsgd_config *c = config;
    const float scale = trib_get_f32(header);
    trib_signed_levels(bits_of(c), (int)c->levels, scale, out);
    return trib_check_scale("qsgd", scale, (float)c->levels, err);
}

static bool draws(const struct trib_stage *stage) {
    (void)stage;
    return true;
}

static const struct trib_packed packed = {shape, begin, quantise, finish, levels, NULL};
const struct trib_codec_values trib_codec_qsgd = {
    trib_packed_bytes, trib_packed_encode, trib_packed_check, trib_packed_add, draws, &packed, NULL};
