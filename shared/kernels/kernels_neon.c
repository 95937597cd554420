/* NEON and the CRC instructions of 64-bit ARM. What is left below a full register goes to the scalar loops.
 */
#include "shared/kernels/kernels_sets.h"

#if defined(__aarch64__)

#include "shared/base/bytes.h"

#include <arm_acle.h>
#include <arm_neon.h>
#include <math.h>

#define rest trib_kernels_scalar

static float32x4_t scaled_sum(float32x4_t y, float32x4_t a, float32x4_t x) {
    return vaddq_f32(y, vmulq_f32(a, x));
}

static void add_scaled(float *y, const float *x, float a, size_t n) {
    const float32x4_t va = vdupq_n_f32(a);
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (size_t j = i; j < i + 16; j += 4)
            vst1q_f32(y + j, scaled_sum(vld1q_f32(y + j), va, vld1q_f32(x + j)));
    rest.add_scaled(y + i, x + i, a, n - i);
}

static void scale(float *y, float a, size_t n) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4) vst1q_f32(y + i, vmulq_n_f32(vld1q_f32(y + i), a));
    rest.scale(y + i, a, n - i);
}

static uint32x4_t magnitudes(const float *x) {
    return vandq_u32(vreinterpretq_u32_f32(vld1q_f32(x)), vdupq_n_u32(0x7FFFFFFFU));
}

/* The largest magnitude's bits over the first n - n % 16 floats. */
static uint32_t most_bits(const float *x, size_t n, size_t *done) {
    uint32x4_t m0 = vdupq_n_u32(0), m1 = m0, m2 = m0, m3 = m0;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        m0 = vmaxq_u32(m0, magnitudes(x + i));
        m1 = vmaxq_u32(m1, magnitudes(x + i + 4));
        m2 = vmaxq_u32(m2, magnitudes(x + i + 8));
        m3 = vmaxq_u32(m3, magnitudes(x + i + 12));
    }
    *done = i;
    return vmaxvq_u32(vmaxq_u32(vmaxq_u32(m0, m1), vmaxq_u32(m2, m3)));
}

static float absmax(const float *x, size_t n) {
    size_t i;
    uint32_t bits = most_bits(x, n, &i);
    if (bits >= 0x7F800000U) return NAN;
    float most = trib_get_f32(&bits), tail = rest.absmax(x + i, n - i);
    return most > tail ? most : tail; /* a NaN in the tail passes: the comparison is false */
}

static bool all_finite(const float *x, size_t n) {
    enum { STRETCH = 1024 }; /* so that a bad vector is found out early */
    size_t i = 0, done;
    for (; i + STRETCH <= n; i += STRETCH)
        if (most_bits(x + i, STRETCH, &done) >= 0x7F800000U) return false;
    if (most_bits(x + i, n - i, &done) >= 0x7F800000U) return false;
    return rest.all_finite(x + i + done, n - i - done);
}

static double dot(const float *x, const float *y, size_t n) {
    double s[16] = {0};
    float64x2_t sums[8];
    size_t i = 0;
    for (size_t j = 0; j < 8; j++) sums[j] = vdupq_n_f64(0.0);
    for (; i + 16 <= n; i += 16)
        for (size_t j = 0; j < 4; j++) {
            float32x4_t vx = vld1q_f32(x + i + 4 * j), vy = vld1q_f32(y + i + 4 * j);
            float64x2_t low = vmulq_f64(vcvt_f64_f32(vget_low_f32(vx)), vcvt_f64_f32(vget_low_f32(vy)));
            float64x2_t high = vmulq_f64(vcvt_high_f64_f32(vx), vcvt_high_f64_f32(vy));
            sums[2 * j] = vaddq_f64(sums[2 * j], low);
            sums[2 * j + 1] = vaddq_f64(sums[2 * j + 1], high);
        }
    for (size_t j = 0; j < 8; j++) vst1q_f64(s + 2 * j, sums[j]);
    for (size_t j = 0; i + j < n; j++) s[j] += (double)x[i + j] * (double)y[i + j];
    return trib_fold16(s);
}

static double sum_squares(const float *x, size_t n) {
    return dot(x, x, n);
}

/* Compare and select, since the minimum instructions would let a NaN through. */
static int16x4_t quantised(const float *x, float inverse) {
    const float32x4_t top = vdupq_n_f32(127.0F), bottom = vdupq_n_f32(-127.0F);
    float32x4_t p = vmulq_n_f32(vld1q_f32(x), inverse);
    p = vbslq_f32(vcltq_f32(p, top), p, top);
    p = vbslq_f32(vcgtq_f32(p, bottom), p, bottom);
    return vmovn_s32(vcvtnq_s32_f32(p));
}

static void quantise_int8(int8_t *q, const float *x, float inverse, size_t n) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        vst1_s8(q + i, vmovn_s16(vcombine_s16(quantised(x + i, inverse), quantised(x + i + 4, inverse))));
    rest.quantise_int8(q + i, x + i, inverse, n - i);
}

static void add_int8(float *y, const int8_t *q, float a, size_t n) {
    const float32x4_t va = vdupq_n_f32(a);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        int16x8_t wide = vmovl_s8(vld1_s8(q + i));
        float32x4_t low = vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)));
        float32x4_t high = vcvtq_f32_s32(vmovl_high_s16(wide));
        vst1q_f32(y + i, scaled_sum(vld1q_f32(y + i), va, low));
        vst1q_f32(y + i + 4, scaled_sum(vld1q_f32(y + i + 4), va, high));
    }
    rest.add_int8(y + i, q + i, a, n - i);
}

static uint16x4_t bfloats(float32x4_t x) {
    const uint32x4_t infinite = vdupq_n_u32(0x7F800000U);
    uint32x4_t bits = vreinterpretq_u32_f32(x), magnitude = vandq_u32(bits, vdupq_n_u32(0x7FFFFFFFU));
    uint32x4_t upper = vshrq_n_u32(magnitude, 16), odd = vandq_u32(upper, vdupq_n_u32(1));
    uint32x4_t rounded = vaddq_u32(magnitude, vaddq_u32(vdupq_n_u32(0x7FFFU), odd));
    rounded = vshrq_n_u32(rounded, 16);
    uint32x4_t most = vminq_u32(rounded, vdupq_n_u32(0x7F7FU));
    rounded = vbslq_u32(vcltq_u32(magnitude, infinite), most, rounded);
    uint32x4_t nan = vorrq_u32(upper, vdupq_n_u32(0x40U));
    rounded = vbslq_u32(vcgtq_u32(magnitude, infinite), nan, rounded);
    return vmovn_u32(vorrq_u32(rounded, vshlq_n_u32(vshrq_n_u32(bits, 31), 15)));
}

static void to_bf16(uint16_t *h, const float *x, size_t n) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4) vst1_u16(h + i, bfloats(vld1q_f32(x + i)));
    rest.to_bf16(h + i, x + i, n - i);
}

static void add_bf16(float *y, const uint16_t *h, float a, size_t n) {
    const float32x4_t va = vdupq_n_f32(a);
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t value = vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(h + i), 16));
        vst1q_f32(y + i, scaled_sum(vld1q_f32(y + i), va, value));
    }
    rest.add_bf16(y + i, h + i, a, n - i);
}

/* The table is 64 bytes, which is what one look-up takes: code c is bytes 4c to 4c + 3. */
static void add_table(float *y, const uint8_t *codes, const float table[16], size_t n) {
    uint8x16x4_t bytes;
    for (size_t j = 0; j < 4; j++) bytes.val[j] = vreinterpretq_u8_f32(vld1q_f32(table + 4 * j));
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint16x8_t wide = vmovl_u8(vld1_u8(codes + i));
        uint32x4_t code[2] = {vmovl_u16(vget_low_u16(wide)), vmovl_high_u16(wide)};
        for (size_t j = 0; j < 2; j++) {
            uint32x4_t at = vmlaq_u32(vdupq_n_u32(0x03020100U), code[j], vdupq_n_u32(0x04040404U));
            float32x4_t value = vreinterpretq_f32_u8(vqtbl4q_u8(bytes, vreinterpretq_u8_u32(at)));
            vst1q_f32(y + i + 4 * j, vaddq_f32(vld1q_f32(y + i + 4 * j), value));
        }
    }
    rest.add_table(y + i, codes + i, table, n - i);
}

static uint16x4_t level_words(const float *x, float inverse, const float *thresholds, size_t count,
                              uint32x4_t sign) {
    float32x4_t v = vld1q_f32(x);
    uint32x4_t negative = vreinterpretq_u32_s32(vshrq_n_s32(vreinterpretq_s32_f32(v), 31));
    uint32x4_t code = vandq_u32(negative, sign);
    v = vabsq_f32(vmulq_n_f32(v, inverse));
    for (size_t t = 0; t < count; t++) code = vsubq_u32(code, vcgeq_f32(v, vdupq_n_f32(thresholds[t])));
    return vmovn_u32(code);
}

static void level_codes(uint8_t *codes, const float *x, float inverse, const float *thresholds, size_t count,
                        uint8_t sign, size_t n) {
    const uint32x4_t vs = vdupq_n_u32(sign);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint16x4_t low = level_words(x + i, inverse, thresholds, count, vs);
        uint16x4_t high = level_words(x + i + 4, inverse, thresholds, count, vs);
        vst1_u8(codes + i, vmovn_u16(vcombine_u16(low, high)));
    }
    rest.level_codes(codes + i, x + i, inverse, thresholds, count, sign, n - i);
}

static void flip(float *y, const float *x, const uint8_t *bits, float a, size_t n) {
    static const uint32_t lane[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    const float32x4_t va = vdupq_n_f32(a), minus = vdupq_n_f32(-a);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint32x4_t byte = vdupq_n_u32(bits[i / 8]);
        for (size_t j = 0; j < 8; j += 4) {
            float32x4_t f = vbslq_f32(vtstq_u32(byte, vld1q_u32(lane + j)), minus, va);
            vst1q_f32(y + i + j, vmulq_f32(vld1q_f32(x + i + j), f));
        }
    }
    rest.flip(y + i, x + i, bits + i / 8, a, n - i);
}

/* x +- its neighbour at a distance: the upper of a pair is taken negative, then both are sums. */
static float32x4_t within(float32x4_t x) {
    static const uint32_t upper1[4] = {0, 0x80000000U, 0, 0x80000000U},
                          upper2[4] = {0, 0, 0x80000000U, 0x80000000U};
    uint32x4_t signs = veorq_u32(vreinterpretq_u32_f32(x), vld1q_u32(upper1));
    x = vaddq_f32(vrev64q_f32(x), vreinterpretq_f32_u32(signs));
    signs = veorq_u32(vreinterpretq_u32_f32(x), vld1q_u32(upper2));
    return vaddq_f32(vextq_f32(x, x, 2), vreinterpretq_f32_u32(signs));
}

#define REGISTER    float32x4_t
#define LANES       4
#define LOAD(p)     vld1q_f32(p)
#define STORE(p, v) vst1q_f32(p, v)
#define ADD(a, b)   vaddq_f32(a, b)
#define SUB(a, b)   vsubq_f32(a, b)
#include "shared/kernels/hadamard_body.h"

static size_t collect(uint32_t *positions, float *values, const float *x, uint32_t threshold, uint32_t base,
                      size_t n) {
    const uint32x4_t least = vdupq_n_u32(threshold);
    size_t found = 0, i = 0;
    for (; i + 8 <= n; i += 8) {
        uint32x4_t above =
            vorrq_u32(vcgeq_u32(magnitudes(x + i), least), vcgeq_u32(magnitudes(x + i + 4), least));
        if (vmaxvq_u32(above) == 0) continue;
        found += rest.collect(positions + found, values + found, x + i, threshold, base + (uint32_t)i, 8);
    }
    return found +
           rest.collect(positions + found, values + found, x + i, threshold, base + (uint32_t)i, n - i);
}

static int64_t sum_squares_int8(const int8_t *q, size_t n) {
    /* a 32-bit lane takes at most 4 * 128 * 128 a step: 2^13 steps are far from its end */
    enum { STEP = 16, STRETCH = STEP << 13 };
    int64_t sum = 0;
    size_t i = 0;
    while (i + STEP <= n) {
        int32x4_t s = vdupq_n_s32(0);
        for (size_t end = n - i < STRETCH ? n : i + STRETCH; i + STEP <= end; i += STEP) {
            int8x16_t v = vld1q_s8(q + i);
            s = vpadalq_s16(s, vmull_s8(vget_low_s8(v), vget_low_s8(v)));
            s = vpadalq_s16(s, vmull_high_s8(v, v));
        }
        sum += vaddlvq_s32(s);
    }
    return sum + rest.sum_squares_int8(q + i, n - i);
}

static void to_f16(uint16_t *h, const float *x, size_t n) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4) vst1_u16(h + i, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(x + i))));
    rest.to_f16(h + i, x + i, n - i);
}

static void add_f16(float *y, const uint16_t *h, float a, size_t n) {
    const float32x4_t va = vdupq_n_f32(a);
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t value = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(h + i)));
        vst1q_f32(y + i, scaled_sum(vld1q_f32(y + i), va, value));
    }
    rest.add_f16(y + i, h + i, a, n - i);
}

static bool all_finite_f16(const uint16_t *h, size_t n) {
    const uint16x8_t exponent = vdupq_n_u16(0x7C00);
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        if (vmaxvq_u16(vceqq_u16(vandq_u16(vld1q_u16(h + i), exponent), exponent)) != 0) return false;
    return rest.all_finite_f16(h + i, n - i);
}

__attribute__((target("+crc"))) static uint32_t crc32c(uint32_t crc, const void *data, size_t bytes) {
    const uint8_t *p = data;
    crc = ~crc;
    for (; bytes >= 8; bytes -= 8, p += 8) crc = __crc32cd(crc, trib_get_u64(p));
    for (; bytes > 0; bytes--, p++) crc = __crc32cb(crc, *p);
    return ~crc;
}

const struct trib_kernels trib_kernels_neon = {
    .name = "neon",
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
    TRIB_ROWS_OF(neon),
    .crc32c = crc32c,
    .leaves = trib_leaves_none,
};

#endif
