/* The specification: plain loops, one operation after the other. Every other set gives these bits. */
#include "shared/kernels/kernels_sets.h"

#include "shared/base/bytes.h"

#include <math.h>

enum { LANES = 16 }; /* partial sums of the reductions in double */

static const uint32_t MAGNITUDE = 0x7FFFFFFFU, INFINITE = 0x7F800000U;

static void add_scaled(float *y, const float *x, float a, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = y[i] + a * x[i];
}

static void scale(float *y, float a, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = y[i] * a;
}

/* The bits of non-negative floats are ordered as the floats are, with infinity and then NaN on top. */
static float absmax(const float *x, size_t n) {
    uint32_t most = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t magnitude = trib_f32_bits(x[i]) & MAGNITUDE;
        if (magnitude > most) most = magnitude;
    }
    return most < INFINITE ? trib_get_f32(&most) : NAN;
}

static bool all_finite(const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        if ((trib_f32_bits(x[i]) & MAGNITUDE) >= INFINITE) return false;
    return true;
}

static double dot(const float *x, const float *y, size_t n) {
    double s[LANES] = {0};
    for (size_t i = 0; i < n; i++) s[i % LANES] += (double)x[i] * (double)y[i];
    return trib_fold16(s);
}

static double sum_squares(const float *x, size_t n) {
    return dot(x, x, n);
}

/* Clamping first changes nothing, for the bounds are integers, and makes the rounding safe: adding and taking
 * away 1.5 * 2^23 rounds |p| < 2^22 half to even. A NaN becomes 127. */
static void quantise_int8(int8_t *q, const float *x, float inverse, size_t n) {
    const float rounder = 0x1.8p23F;
    for (size_t i = 0; i < n; i++) {
        float p = x[i] * inverse;
        p = p < 127.0F ? p : 127.0F;
        p = p > -127.0F ? p : -127.0F;
        q[i] = (int8_t)((p + rounder) - rounder);
    }
}

static void add_int8(float *y, const int8_t *q, float a, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = y[i] + a * (float)q[i];
}

static int64_t sum_squares_int8(const int8_t *q, size_t n) {
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += q[i] * q[i];
    return sum;
}

/* magnitude / 2^shift, half to even. */
static uint32_t shift_half_even(uint32_t magnitude, uint32_t shift) {
    uint32_t kept = magnitude >> shift;
    uint32_t rest = magnitude & ((1U << shift) - 1), half = 1U << (shift - 1);
    return kept + (rest > half || (rest == half && (kept & 1) != 0));
}

static uint16_t half_of(float x) {
    uint32_t bits = trib_f32_bits(x), magnitude = bits & MAGNITUDE;
    uint32_t sign = bits >> 31 << 15;
    uint32_t half;
    if (magnitude > INFINITE) { /* NaN: made quiet, what fits of its payload is kept */
        half = 0x7E00U | ((magnitude >> 13) & 0x3FFU);
    } else if (magnitude >= 0x47800000U) { /* 2^16 and above */
        half = 0x7C00U;
    } else if (magnitude >=
               0x38800000U) { /* 2^-14: normal; a carry runs on into the exponent, as it should */
        half = shift_half_even(magnitude - (112U << 23), 13);
    } else if (magnitude >= 0x33000000U) { /* 2^-25: subnormal, in units of 2^-24 */
        half = shift_half_even((magnitude & 0x7FFFFFU) | 0x800000U, 126U - (magnitude >> 23));
    } else {
        half = 0;
    }
    return (uint16_t)(sign | half);
}

static void to_f16(uint16_t *h, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) h[i] = half_of(x[i]);
}

static float float_of(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000U) << 16, exponent = (h >> 10) & 31U, fraction = h & 0x3FFU;
    uint32_t bits;
    if (exponent == 31) {
        bits = INFINITE | fraction << 13 | (fraction != 0 ? 0x400000U : 0U);
    } else if (exponent == 0) { /* zero and subnormals: an exact product */
        float value = (float)fraction * 0x1p-24F;
        bits = trib_f32_bits(value);
    } else {
        bits = (exponent + 112U) << 23 | fraction << 13;
    }
    bits |= sign;
    return trib_get_f32(&bits);
}

static void add_f16(float *y, const uint16_t *h, float a, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = y[i] + a * float_of(h[i]);
}

static bool all_finite_f16(const uint16_t *h, size_t n) {
    for (size_t i = 0; i < n; i++)
        if ((h[i] & 0x7C00U) == 0x7C00U) return false;
    return true;
}

/* A carry out of the fraction runs on into the exponent, as it should. */
static uint16_t bfloat_of(float x) {
    uint32_t bits = trib_f32_bits(x), magnitude = bits & MAGNITUDE;
    if (magnitude > INFINITE) return (uint16_t)(bits >> 16 | 0x40U);
    uint32_t rounded = (magnitude + 0x7FFFU + (magnitude >> 16 & 1U)) >> 16;
    if (rounded > 0x7F7FU && magnitude < INFINITE) rounded = 0x7F7FU;
    return (uint16_t)(bits >> 31 << 15 | rounded);
}

static void to_bf16(uint16_t *h, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) h[i] = bfloat_of(x[i]);
}

static void add_bf16(float *y, const uint16_t *h, float a, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)h[i] << 16;
        y[i] = y[i] + a * trib_get_f32(&bits);
    }
}

static void add_table(float *y, const uint8_t *codes, const float table[16], size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = y[i] + table[codes[i]];
}

static void level_codes(uint8_t *codes, const float *x, float inverse, const float *thresholds, size_t count,
                        uint8_t sign, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float magnitude = fabsf(x[i] * inverse);
        unsigned code = signbit(x[i]) != 0 ? sign : 0U;
        for (size_t t = 0; t < count; t++) code += magnitude >= thresholds[t];
        codes[i] = (uint8_t)code;
    }
}

static void flip(float *y, const float *x, const uint8_t *bits, float a, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = x[i] * ((bits[i / 8] >> i % 8 & 1) != 0 ? -a : a);
}

static void hadamard(float *x, size_t n) {
    for (size_t h = 1; h < n; h *= 2)
        for (size_t i = 0; i < n; i += 2 * h)
            for (size_t j = i; j < i + h; j++) {
                float a = x[j], b = x[j + h];
                x[j] = a + b;
                x[j + h] = a - b;
            }
}

static size_t collect(uint32_t *positions, float *values, const float *x, uint32_t threshold, uint32_t base,
                      size_t n) {
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        if ((trib_f32_bits(x[i]) & MAGNITUDE) < threshold) continue;
        positions[found] = base + (uint32_t)i;
        values[found++] = x[i];
    }
    return found;
}

/* CRC32C, eight bytes at a time. Row k holds the remainders of the eight one-bit bytes with k zero bytes
 * behind them; as a CRC is linear, every other byte's is an exclusive or of these, which the preprocessor
 * writes out as eight tables of 256. */
#define BIT(n, b, v) (((n) >> (b)&1U) != 0 ? (v) : 0U)
#define ENTRY(n, a, b, c, d, e, f, g, h)                                                                     \
    (BIT(n, 0, a) ^ BIT(n, 1, b) ^ BIT(n, 2, c) ^ BIT(n, 3, d) ^ BIT(n, 4, e) ^ BIT(n, 5, f) ^               \
     BIT(n, 6, g) ^ BIT(n, 7, h))
#define FOUR(n, ...)                                                                                         \
    ENTRY(n, __VA_ARGS__), ENTRY((n) + 1U, __VA_ARGS__), ENTRY((n) + 2U, __VA_ARGS__),                       \
        ENTRY((n) + 3U, __VA_ARGS__)
#define SIXTEEN(n, ...)                                                                                      \
    FOUR(n, __VA_ARGS__), FOUR((n) + 4U, __VA_ARGS__), FOUR((n) + 8U, __VA_ARGS__),                          \
        FOUR((n) + 12U, __VA_ARGS__)
#define SIXTY_FOUR(n, ...)                                                                                   \
    SIXTEEN(n, __VA_ARGS__), SIXTEEN((n) + 16U, __VA_ARGS__), SIXTEEN((n) + 32U, __VA_ARGS__),               \
        SIXTEEN((n) + 48U, __VA_ARGS__)
#define TABLE(...)                                                                                           \
    {                                                                                                        \
        SIXTY_FOUR(0U, __VA_ARGS__), SIXTY_FOUR(64U, __VA_ARGS__), SIXTY_FOUR(128U, __VA_ARGS__),            \
            SIXTY_FOUR(192U, __VA_ARGS__)                                                                    \
    }

static const uint32_t crc_tables[8][256] = {
    TABLE(0xF26B8303U, 0xE13B70F7U, 0xC79A971FU, 0x8AD958CFU, 0x105EC76FU, 0x20BD8EDEU, 0x417B1DBCU,
          0x82F63B78U),
    TABLE(0x13A29877U, 0x274530EEU, 0x4E8A61DCU, 0x9D14C3B8U, 0x3FC5F181U, 0x7F8BE302U, 0xFF17C604U,
          0xFBC3FAF9U),
    TABLE(0xA541927EU, 0x4F6F520DU, 0x9EDEA41AU, 0x38513EC5U, 0x70A27D8AU, 0xE144FB14U, 0xC76580D9U,
          0x8B277743U),
    TABLE(0xDD45AAB8U, 0xBF672381U, 0x7B2231F3U, 0xF64463E6U, 0xE964B13DU, 0xD725148BU, 0xABA65FE7U,
          0x52A0C93FU),
    TABLE(0x38116FACU, 0x7022DF58U, 0xE045BEB0U, 0xC5670B91U, 0x8F2261D3U, 0x1BA8B557U, 0x37516AAEU,
          0x6EA2D55CU),
    TABLE(0xEF306B19U, 0xDB8CA0C3U, 0xB2F53777U, 0x6006181FU, 0xC00C303EU, 0x85F4168DU, 0x0E045BEBU,
          0x1C08B7D6U),
    TABLE(0x68032CC8U, 0xD0065990U, 0xA5E0C5D1U, 0x4E2DFD53U, 0x9C5BFAA6U, 0x3D5B83BDU, 0x7AB7077AU,
          0xF56E0EF4U),
    TABLE(0x493C7D27U, 0x9278FA4EU, 0x211D826DU, 0x423B04DAU, 0x847609B4U, 0x0D006599U, 0x1A00CB32U,
          0x34019664U),
};

static uint32_t crc32c(uint32_t crc, const void *data, size_t bytes) {
    const uint8_t *p = data;
    crc = ~crc;
    for (; bytes >= 8; bytes -= 8, p += 8) {
        uint64_t v = trib_get_u64(p) ^ crc;
        crc = 0;
        for (unsigned k = 0; k < 8; k++) crc ^= crc_tables[7 - k][v >> (8 * k) & 0xFFU];
    }
    for (; bytes > 0; bytes--, p++) crc = crc >> 8 ^ crc_tables[0][(crc ^ *p) & 0xFFU];
    return ~crc;
}

size_t trib_leaves_none(uint8_t *out, const uint8_t *data, size_t bytes, size_t count) {
    (void)out;
    (void)data;
    (void)bytes;
    (void)count;
    return 0;
}

const struct trib_kernels trib_kernels_scalar = {
    .name = "scalar",
    .add_scaled = add_scaled,
    .scale = scale,
    .absmax = absmax,
    .all_finite = all_finite,
    .sum_squares = sum_squares,
    .dot = dot,
    .quantise_int8 = quantise_int8,
    .add_int8 = add_int8,
    .sum_squares_int8 = sum_squares_int8,
    .to_f16 = to_f16,
    .add_f16 = add_f16,
    .all_finite_f16 = all_finite_f16,
    .to_bf16 = to_bf16,
    .add_bf16 = add_bf16,
    .add_table = add_table,
    .level_codes = level_codes,
    .flip = flip,
    .hadamard = hadamard,
    .collect = collect,
    TRIB_ROWS_OF(scalar),
    .crc32c = crc32c,
    .leaves = trib_leaves_none,
};
