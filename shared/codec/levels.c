/* 1bit, 2bit, 3bit, 4bit: the levels that suit normally distributed values best (Lloyd-Max), a sign and a
 * magnitude each. Behind rotate the values are nearly normal, whatever they were: rotate+1bit is DRIVE (arXiv
 * 2105.08339), with more bits EDEN (arXiv 2108.08842). As 1bit behind topk it is sparse ternary compression
 * (STC, arXiv 1903.02891): each block's mean magnitude.
 *
 *     header: f32 scale; codes: the number of the magnitude, and the sign in the highest bit
 *     value = scale * level, -scale * level
 *
 * The scale: `mse`, <x, l> / <l, l>, gives the smallest error, and never one larger than the block, which is
 * what errors that are fed back need. `unbiased`, <x, x> / <x, l>, is right in the mean over rotations. */
#include "shared/codec/packed.h"

#include "shared/base/bytes.h"
#include "shared/kernels/kernels.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { MOST_LEVELS = 8 };

static const char *const scales[] = {"mse", "unbiased", NULL};

const struct trib_option trib_level_params[TRIB_LEVEL_PARAMS] = {
    {.name = "block",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct trib_level_config, block),
     .fallback = "4096",
     .max = TRIB_CODEC_BLOCK,
     .help = "Values that share a scale: a power of two from 16 on; 0: all of the vector."},
    {.name = "scale",
     .type = TRIB_OPT_CHOICE,
     .offset = offsetof(struct trib_level_config, scale),
     .fallback = "mse",
     .choices = scales,
     .help = "mse: the smallest error. unbiased: right in the mean over many rotations."},
};

/* Magnitudes of the normal distribution's quantisers, in standard deviations, and the borders half way
 * between them. A single one is 1, so that its scale is the mean magnitude. */
static const struct table {
    float levels[MOST_LEVELS];
    float borders[MOST_LEVELS - 1];
} tables[] = {
    {{1.0F}, {0.0F}},
    {{0.45278F, 1.51042F}, {0.98160F}},
    {{0.24509F, 0.75601F, 1.34391F, 2.15195F}, {0.50055F, 1.04996F, 1.74793F}},
    {{0.12840F, 0.38805F, 0.65676F, 0.94234F, 1.25623F, 1.61805F, 2.06902F, 2.73259F},
     {0.258225F, 0.522405F, 0.79955F, 1.099285F, 1.43714F, 1.843535F, 2.400805F}},
};

static bool is_unbiased(const struct trib_level_config *config) {
    return strcmp(config->scale, "unbiased") == 0;
}

static void shape(const struct trib_level_config *config, unsigned bits, struct trib_shape *out) {
    *out = (struct trib_shape){
        .bits = bits,
        .block = (size_t)config->block,
        .head = sizeof(float),
        .wants = bits > 1 || is_unbiased(config) ? TRIB_WANT_SQUARES : 0,
        .fits = true,
        .all_codes = true,
    };
}

/* Until the fit: 1 for a single magnitude, else the root mean square. */
static bool begin(unsigned bits, const struct trib_block_stats *stats, struct trib_quantiser *out,
                  uint8_t *header) {
    float scale = 1.0F;
    if (bits > 1) {
        double rms = sqrt(stats->squares / (double)stats->count);
        if (!(rms >= (double)FLT_MIN)) return false;
        scale = rms < 0x1p125 ? (float)rms : 0x1p125F; /* the levels shall be finite */
    }
    out->inverse = 1.0F / scale;
    trib_put_f32(header, scale);
    return true;
}

static void quantise(unsigned bits, const struct trib_quantiser *q, const float *x, size_t n,
                     uint8_t *codes) {
    const size_t magnitudes = (size_t)1 << (bits - 1);
    trib_kernels()->level_codes(codes, x, q->inverse, tables[bits - 1].borders, magnitudes - 1,
                                (uint8_t)magnitudes, n);
}

static bool finish(const struct trib_level_config *config, const struct trib_block_stats *stats,
                   const struct trib_block_fit *fit, uint8_t *header) {
    if (!(fit->xl > 0.0)) return false;
    double factor = is_unbiased(config) ? stats->squares / fit->xl : fit->xl / fit->ll;
    double scale = (double)trib_get_f32(header) * factor;
    if (!(scale >= (double)FLT_MIN)) return false;
    trib_put_f32(header, scale < 0x1p125 ? (float)scale : 0x1p125F);
    return true;
}

static enum trib_status levels(unsigned bits, const char *name, const uint8_t *header, float *out,
                               struct trib_error *err) {
    const float scale = trib_get_f32(header), *magnitude = tables[bits - 1].levels;
    const size_t magnitudes = (size_t)1 << (bits - 1);
    enum trib_status status = trib_check_scale(name, scale, magnitude[magnitudes - 1], err);
    if (status != TRIB_OK) return status;
    for (size_t i = 0; i < magnitudes; i++) {
        out[i] = scale * magnitude[i];
        out[magnitudes + i] = -out[i];
    }
    return TRIB_OK;
}

#define LEVEL_CODE(N)                                                                                        \
    static void shape_##N(const void *config, struct trib_shape *out) {                                      \
        shape(config, N, out);                                                                               \
    }                                                                                                        \
    static bool begin_##N(const void *config, const struct trib_block_stats *stats,                          \
                          struct trib_quantiser *out, uint8_t *header) {                                     \
        (void)config;                                                                                        \
        return begin(N, stats, out, header);                                                                 \
    }                                                                                                        \
    static void quantise_##N(const void *config, const struct trib_quantiser *q, const float *x, size_t n,   \
                             size_t at, uint8_t *codes) {                                                    \
        (void)config, (void)at;                                                                              \
        quantise(N, q, x, n, codes);                                                                         \
    }                                                                                                        \
    static bool finish_##N(const void *config, const struct trib_block_stats *stats,                         \
                           const struct trib_block_fit *fit, uint8_t *header) {                              \
        return finish(config, stats, fit, header);                                                           \
    }                                                                                                        \
    static enum trib_status levels_##N(const void *config, const uint8_t *header, float *out,                \
                                       struct trib_error *err) {                                             \
        (void)config;                                                                                        \
        return levels(N, #N "bit", header, out, err);                                                        \
    }                                                                                                        \
    static const struct trib_packed packed_##N = {shape_##N,  begin_##N,  quantise_##N,                      \
                                                  finish_##N, levels_##N, NULL};                             \
    const struct trib_codec_values trib_codec_##N##bit = {                                                   \
        trib_packed_bytes, trib_packed_encode, trib_packed_check, trib_packed_add, NULL, &packed_##N, NULL};

LEVEL_CODE(1)
LEVEL_CODE(2)
LEVEL_CODE(3)
LEVEL_CODE(4)
