/* int8, int4, int2: a scale for a block, and levels that are equally far apart.
 *
 *     header: f32 scale [u8 zero point]
 *     without a zero point: codes in two's complement, -L to L with L = 127, 7, 1; value = scale * code
 *     with one: codes 0 to 255, 15, 3; value = scale * (code - zero point)
 *
 * Rounding to the nearest level never makes an error larger than the value was, for 0 is a level: errors that
 * are fed back die out. Rounding by lot can, where levels are far apart; its scale, and int2's, is therefore
 * fitted afterwards by least squares, <x, q> / <q, q>, with which no error is larger than the block. (That
 * costs it its lack of bias, which matters only where errors are not fed back.) */
#include "shared/codec/uniform.h"

#include "shared/codec/grouped.h"

#include "shared/base/bytes.h"
#include "shared/base/rng.h"
#include "shared/kernels/kernels.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const char *const rounds[] = {"nearest", "stochastic", NULL};
static const char *const sharing[] = {"block", "tensor", "channel", NULL};

const struct trib_option trib_int_params[TRIB_INT_PARAMS] = {
    {.name = "block",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct trib_int_config, block),
     .fallback = "256",
     .max = TRIB_CODEC_BLOCK,
     .help = "Values that share a scale: a power of two from 16 on; 0: all of the vector."},
    {.name = "zero",
     .type = TRIB_OPT_BOOL,
     .offset = offsetof(struct trib_int_config, zero),
     .fallback = "false",
     .help = "A zero point beside the scale: levels from the smallest value to the largest."},
    {.name = "round",
     .type = TRIB_OPT_CHOICE,
     .offset = offsetof(struct trib_int_config, round),
     .fallback = "nearest",
     .choices = rounds,
     .help = "To the nearest level, or stochastic: up or down by lot."},
    {.name = "per",
     .type = TRIB_OPT_CHOICE,
     .offset = offsetof(struct trib_int_config, per),
     .fallback = "block",
     .choices = sharing,
     .help = "What shares a scale: block values, a tensor, or a channel (a row of a matrix, a convolution's "
             "filter)."},
};

bool trib_uniform_stochastic(const struct trib_int_config *config) {
    return strcmp(config->round, "stochastic") == 0;
}

bool trib_uniform_draws(const struct trib_stage *stage) {
    return trib_uniform_stochastic(stage->config);
}

static int largest(unsigned bits) {
    return (1 << (bits - 1)) - 1;
}

static void shape(const struct trib_int_config *config, unsigned bits, struct trib_shape *out) {
    *out = (struct trib_shape){
        .bits = bits,
        .block = (size_t)config->block,
        .head = sizeof(float) + (config->zero ? 1 : 0),
        .wants = config->zero ? TRIB_WANT_RANGE : TRIB_WANT_ABSMAX,
        .fits = trib_uniform_stochastic(config) || (bits == 2 && !config->zero),
        .all_codes = config->zero,
    };
}

/* ---- encoding ---- */

/* The scale, kept so small that scale * most is finite; 0 if it is too small to divide by. */
static float usable(float scale, float most) {
    if (!isfinite(scale * most)) scale = nextafterf(FLT_MAX / most, 0.0F);
    return scale >= FLT_MIN ? scale : 0.0F;
}

static bool begin_zero(const struct trib_block_stats *stats, unsigned bits, struct trib_quantiser *out,
                       uint8_t *header) {
    const float top = (float)((1 << bits) - 1);
    float scale = stats->high / top - stats->low / top;
    if (!(scale >= FLT_MIN)) return false;
    float zero = rintf(-stats->low / scale);
    zero = zero < top ? zero : top;
    scale = usable(scale, zero > top - zero ? zero : top - zero);
    out->zero = (int)zero;
    out->inverse = 1.0F / scale;
    trib_put_f32(header, scale);
    header[sizeof(float)] = (uint8_t)out->zero;
    return true;
}

static bool begin(const struct trib_int_config *config, unsigned bits, const struct trib_block_stats *stats,
                  struct trib_quantiser *out, uint8_t *header) {
    if (config->zero) return begin_zero(stats, bits, out, header);
    const float most = (float)largest(bits);
    float scale = usable(stats->absmax / most, most);
    if (scale == 0.0F) return false;
    out->inverse = 1.0F / scale;
    trib_put_f32(header, scale);
    return true;
}

/* From [0, 1), 16 bits each; `bits` are those left of the last draw. */
static float next_lot(uint64_t *bits, uint64_t seed, size_t at, bool first) {
    if (first || at % 4 == 0) *bits = trib_mix64(seed + at / 4) >> at % 4 * 16;
    const float lot = ((float)(*bits & 0xFFFFU) + 0.5F) * 0x1p-16F;
    *bits >>= 16;
    return lot;
}

/* Adding 256 makes the number positive, so that cutting off its fraction rounds down. In double, for a
 * float's steps there are larger than those of a lot, and what is on a level would sometimes leave it. */
static int round_by(float lot, float p) {
    return (int)((double)p + (double)lot + 256.0) - 256;
}

void trib_round_by_lot(const float *x, float inverse, int limit, uint64_t seed, size_t at, size_t n,
                       uint8_t *codes) {
    const float most = (float)limit;
    uint64_t bits = 0;
    for (size_t i = 0; i < n; i++) {
        float lot = next_lot(&bits, seed, at + i, i == 0), p = x[i] * inverse;
        p = p < most ? p : most;
        p = p > -most ? p : -most;
        int q = round_by(lot, p);
        codes[i] = (uint8_t)(q < limit ? q : limit);
    }
}

static void shift_by_zero(uint8_t *codes, size_t n, int zero, int top) {
    for (size_t i = 0; i < n; i++) {
        int code = (int8_t)codes[i] + zero;
        code = code < 0 ? 0 : code;
        codes[i] = (uint8_t)(code < top ? code : top);
    }
}

/* With a zero point and 8 bits a code may be 255 above the lowest: halves of the way to it would not do, so
 * the values are moved first. */
static void quantise_zero8(const struct trib_quantiser *q, const float *x, size_t n, uint8_t *codes) {
    for (size_t i = 0; i < n; i++) {
        float p = rintf(x[i] * q->inverse) + (float)q->zero;
        p = p < 255.0F ? p : 255.0F;
        codes[i] = p > 0.0F ? (uint8_t)p : 0;
    }
}

static void quantise_zero8_by_lot(const struct trib_quantiser *q, const float *x, size_t n, size_t at,
                                  uint8_t *codes) {
    uint64_t bits = 0;
    for (size_t i = 0; i < n; i++) {
        float lot = next_lot(&bits, q->seed, at + i, i == 0), p = x[i] * q->inverse;
        p = p < 256.0F ? p : 256.0F;
        p = p > -256.0F ? p : -256.0F;
        int code = round_by(lot, p) + q->zero;
        code = code < 255 ? code : 255;
        codes[i] = code > 0 ? (uint8_t)code : 0;
    }
}

static void quantise(const struct trib_int_config *config, unsigned bits, const struct trib_quantiser *q,
                     const float *x, size_t n, size_t at, uint8_t *codes) {
    const int top = (1 << bits) - 1;
    if (config->zero && bits == 8) {
        if (trib_uniform_stochastic(config))
            quantise_zero8_by_lot(q, x, n, at, codes);
        else
            quantise_zero8(q, x, n, codes);
        return;
    }
    if (trib_uniform_stochastic(config))
        trib_round_by_lot(x, q->inverse, config->zero ? top : largest(bits), q->seed, at, n, codes);
    else
        trib_kernels()->quantise_int8((int8_t *)codes, x, q->inverse, n);
    if (config->zero) {
        shift_by_zero(codes, n, q->zero, top);
    } else if (bits < 8 && (trib_uniform_stochastic(config) || bits == 2)) {
        for (size_t i = 0; i < n; i++) codes[i] &= (uint8_t)top; /* as the fit will look them up */
    }
}

static bool finish(const struct trib_int_config *config, unsigned bits, const struct trib_block_fit *fit,
                   uint8_t *header) {
    const int zero = config->zero ? header[sizeof(float)] : 0, top = (1 << bits) - 1;
    const int most = config->zero ? (zero > top - zero ? zero : top - zero) : largest(bits);
    if (!(fit->ll > 0.0) || !(fit->xl > 0.0)) return false;
    float scale = (float)((double)trib_get_f32(header) * (fit->xl / fit->ll));
    scale = usable(isfinite(scale) ? scale : FLT_MAX, (float)most);
    if (scale == 0.0F) return false;
    trib_put_f32(header, scale);
    return true;
}

/* ---- decoding ---- */

void trib_signed_levels(unsigned bits, int limit, float scale, float *levels) {
    const int codes = 1 << bits;
    for (int i = 0; i < codes; i++) {
        int code = i < codes / 2 ? i : i - codes;
        levels[i] = code >= -limit && code <= limit ? scale * (float)code : NAN;
    }
}

static enum trib_status levels(const struct trib_int_config *config, unsigned bits, const char *name,
                               const uint8_t *header, float *out, struct trib_error *err) {
    const float scale = trib_get_f32(header);
    const int top = (1 << bits) - 1, zero = config->zero ? header[sizeof(float)] : 0;
    const int most = config->zero ? (zero > top - zero ? zero : top - zero) : largest(bits);
    enum trib_status status = trib_check_scale(name, scale, (float)most, err);
    if (status != TRIB_OK) return status;
    if (zero > top)
        return trib_fail(err, TRIB_INVALID, "%s: a zero point of %d, expected at most %d", name, zero, top);
    if (scale == 0.0F && zero != 0)
        return trib_fail(err, TRIB_INVALID, "%s: scale 0 with zero point %d, expected 0", name, zero);
    if (!config->zero) {
        trib_signed_levels(bits, largest(bits), scale, out);
        return TRIB_OK;
    }
    for (int i = 0; i <= top; i++) out[i] = scale * (float)(i - zero);
    return TRIB_OK;
}

#define INT_CODE(N)                                                                                          \
    static void shape_int##N(const void *config, struct trib_shape *out) {                                   \
        shape(config, N, out);                                                                               \
    }                                                                                                        \
    static bool begin_int##N(const void *config, const struct trib_block_stats *stats,                       \
                             struct trib_quantiser *out, uint8_t *header) {                                  \
        return begin(config, N, stats, out, header);                                                         \
    }                                                                                                        \
    static void quantise_int##N(const void *config, const struct trib_quantiser *q, const float *x,          \
                                size_t n, size_t at, uint8_t *codes) {                                       \
        quantise(config, N, q, x, n, at, codes);                                                             \
    }                                                                                                        \
    static bool finish_int##N(const void *config, const struct trib_block_stats *stats,                      \
                              const struct trib_block_fit *fit, uint8_t *header) {                           \
        (void)stats;                                                                                         \
        return finish(config, N, fit, header);                                                               \
    }                                                                                                        \
    static enum trib_status levels_int##N(const void *config, const uint8_t *header, float *out,             \
                                          struct trib_error *err) {                                          \
        return levels(config, N, "int" #N, header, out, err);                                                \
    }                                                                                                        \
    const struct trib_packed trib_packed_int##N = {shape_int##N,  begin_int##N,  quantise_int##N,            \
                                                   finish_int##N, levels_int##N, NULL};

INT_CODE(8)
INT_CODE(4)
INT_CODE(2)

static size_t bytes(const struct trib_stage *stage, size_t count) {
    return trib_grouped(stage) ? trib_grouped_bytes(stage) : trib_packed_bytes(stage, count);
}

static enum trib_status encode(const struct trib_stage *stage, const struct trib_source *source,
                               uint64_t seed, uint8_t *out, struct trib_error *err) {
    return (trib_grouped(stage) ? trib_grouped_encode : trib_packed_encode)(stage, source, seed, out, err);
}

static enum trib_status check(const struct trib_stage *stage, const uint8_t *data, size_t count,
                              double *sum_squares, struct trib_error *err) {
    if (trib_grouped(stage)) return trib_grouped_check(stage, data, sum_squares, err);
    return trib_packed_check(stage, data, count, sum_squares, err);
}

static void add(const struct trib_stage *stage, const uint8_t *data, size_t count, size_t first, size_t n,
                float a, float *y) {
    if (trib_grouped(stage))
        trib_grouped_add(stage, data, first, n, a, y);
    else
        trib_packed_add(stage, data, count, first, n, a, y);
}

#define VALUES(N)                                                                                            \
    {                                                                                                        \
        .bytes = bytes, .encode = encode, .check = check, .add = add, .draws = trib_uniform_draws,           \
        .packed = &trib_packed_int##N, .by_tensor = trib_grouped                                             \
    }
const struct trib_codec_values trib_uniform_int8 = VALUES(8);
const struct trib_codec_values trib_codec_int4 = VALUES(4);
const struct trib_codec_values trib_codec_int2 = VALUES(2);
