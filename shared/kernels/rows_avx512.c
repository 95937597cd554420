/* Several rows at once, sixteen coordinates a register. */
#include "shared/kernels/kernels_sets.h"

#if defined(__x86_64__)

#include "shared/base/error.h"

#include <immintrin.h>
#include <string.h>

static __m512d doubles(const float *x) {
    return _mm512_cvtps_pd(_mm256_loadu_ps(x));
}

/* dot of x with both: x is read and widened once. The product of two floats is exact in double, so adding it
 * with or without its own rounding is the same, and the fused instruction may be used here. */
static void dot_pair(const float *x, const float *y0, const float *y1, size_t n, double sums[2]) {
    __m512d low0 = _mm512_setzero_pd(), high0 = low0, low1 = low0, high1 = low0;
    double all[2][16];
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m512d low = doubles(x + i), high = doubles(x + i + 8);
        low0 = _mm512_fmadd_pd(low, doubles(y0 + i), low0);
        high0 = _mm512_fmadd_pd(high, doubles(y0 + i + 8), high0);
        low1 = _mm512_fmadd_pd(low, doubles(y1 + i), low1);
        high1 = _mm512_fmadd_pd(high, doubles(y1 + i + 8), high1);
    }
    _mm512_storeu_pd(all[0], low0);
    _mm512_storeu_pd(all[0] + 8, high0);
    _mm512_storeu_pd(all[1], low1);
    _mm512_storeu_pd(all[1] + 8, high1);
    for (size_t j = 0; i + j < n; j++) {
        all[0][j] += (double)x[i + j] * (double)y0[i + j];
        all[1][j] += (double)x[i + j] * (double)y1[i + j];
    }
    for (size_t j = 0; j < 2; j++) sums[j] = trib_fold16(all[j]);
}

#define NAME(function)     trib_##function##_avx512
#define REGISTER           __m512
#define WIDTH              16
#define LOAD(p)            _mm512_loadu_ps(p)
#define STORE(p, v)        _mm512_storeu_ps(p, v)
#define FILL(a)            _mm512_set1_ps(a)
#define ADD(a, b)          _mm512_add_ps(a, b)
#define SUB(a, b)          _mm512_sub_ps(a, b)
#define MUL(a, b)          _mm512_mul_ps(a, b)
#define DIV(a, b)          _mm512_div_ps(a, b)
#define LEAST(a, b)        _mm512_min_ps(a, b)
#define MOST(a, b)         _mm512_max_ps(a, b)
#define MASK               __mmask16
#define BELOW(a, b)        _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ)
#define CHOOSE(mask, a, b) _mm512_mask_blend_ps(mask, b, a)
#include "shared/kernels/rows_body.h"

#endif
