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
    .crc32c = crc32c,
};

#endif
