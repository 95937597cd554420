/* Several rows at once, four coordinates a register. */
#include "shared/kernels/kernels_sets.h"

#if defined(__aarch64__)

#include "shared/base/error.h"

#include <arm_neon.h>
#include <string.h>

/* s[0], s[1] += x * y; the product of two floats is exact in double, so the fused instruction gives the same
 * as multiplying and adding. */
static void add_products(float64x2_t s[2], float32x4_t x, float32x4_t y) {
    s[0] = vfmaq_f64(s[0], vcvt_f64_f32(vget_low_f32(x)), vcvt_f64_f32(vget_low_f32(y)));
    s[1] = vfmaq_f64(s[1], vcvt_high_f64_f32(x), vcvt_high_f64_f32(y));
}

static void dot_pair(const float *x, const float *y0, const float *y1, size_t n, double sums[2]) {
    float64x2_t s[2][8];
    double all[2][16];
    size_t i = 0;
    for (size_t j = 0; j < 8; j++) s[0][j] = s[1][j] = vdupq_n_f64(0.0);
    for (; i + 16 <= n; i += 16)
        for (size_t j = 0; j < 4; j++) {
            float32x4_t vx = vld1q_f32(x + i + 4 * j);
            add_products(s[0] + 2 * j, vx, vld1q_f32(y0 + i + 4 * j));
            add_products(s[1] + 2 * j, vx, vld1q_f32(y1 + i + 4 * j));
        }
    for (size_t j = 0; j < 8; j++) {
        vst1q_f64(all[0] + 2 * j, s[0][j]);
        vst1q_f64(all[1] + 2 * j, s[1][j]);
    }
    for (size_t j = 0; i + j < n; j++) {
        all[0][j] += (double)x[i + j] * (double)y0[i + j];
        all[1][j] += (double)x[i + j] * (double)y1[i + j];
    }
    for (size_t j = 0; j < 2; j++) sums[j] = trib_fold16(all[j]);
}

#define NAME(function)     trib_##function##_neon
#define REGISTER           float32x4_t
#define WIDTH              4
#define LOAD(p)            vld1q_f32(p)
#define STORE(p, v)        vst1q_f32(p, v)
#define FILL(a)            vdupq_n_f32(a)
#define ADD(a, b)          vaddq_f32(a, b)
#define SUB(a, b)          vsubq_f32(a, b)
#define MUL(a, b)          vmulq_f32(a, b)
#define DIV(a, b)          vdivq_f32(a, b)
#define LEAST(a, b)        vminq_f32(a, b)
#define MOST(a, b)         vmaxq_f32(a, b)
#define MASK               uint32x4_t
#define BELOW(a, b)        vcltq_f32(a, b)
#define CHOOSE(mask, a, b) vbslq_f32(mask, a, b)
#include "shared/kernels/rows_body.h"

#endif
