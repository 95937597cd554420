/* Several rows at once, eight coordinates a register. */
#include "shared/kernels/kernels_sets.h"

#if defined(__x86_64__)

#include "shared/base/error.h"

#include <immintrin.h>
#include <string.h>

static __m256d doubles(const float *x) {
    return _mm256_cvtps_pd(_mm_loadu_ps(x));
}

/* dot of x with both: x is read and widened once. */
static void dot_pair(const float *x, const float *y0, const float *y1, size_t n, double sums[2]) {
    __m256d s[2][4];
    double all[2][16];
    size_t i = 0;
    for (size_t j = 0; j < 4; j++) s[0][j] = s[1][j] = _mm256_setzero_pd();
    for (; i + 16 <= n; i += 16)
        for (size_t j = 0; j < 4; j++) {
            __m256d vx = doubles(x + i + 4 * j);
            s[0][j] = _mm256_add_pd(s[0][j], _mm256_mul_pd(vx, doubles(y0 + i + 4 * j)));
            s[1][j] = _mm256_add_pd(s[1][j], _mm256_mul_pd(vx, doubles(y1 + i + 4 * j)));
        }
    for (size_t j = 0; j < 4; j++) {
        _mm256_storeu_pd(all[0] + 4 * j, s[0][j]);
        _mm256_storeu_pd(all[1] + 4 * j, s[1][j]);
    }
    for (size_t j = 0; i + j < n; j++) {
        all[0][j] += (double)x[i + j] * (double)y0[i + j];
        all[1][j] += (double)x[i + j] * (double)y1[i + j];
    }
    for (size_t j = 0; j < 2; j++) sums[j] = trib_fold16(all[j]);
}

#define NAME(function)     trib_##function##_avx2
#define REGISTER           __m256
#define WIDTH              8
#define LOAD(p)            _mm256_loadu_ps(p)
#define STORE(p, v)        _mm256_storeu_ps(p, v)
#define FILL(a)            _mm256_set1_ps(a)
#define ADD(a, b)          _mm256_add_ps(a, b)
#define SUB(a, b)          _mm256_sub_ps(a, b)
#define MUL(a, b)          _mm256_mul_ps(a, b)
#define DIV(a, b)          _mm256_div_ps(a, b)
#define LEAST(a, b)        _mm256_min_ps(a, b)
#define MOST(a, b)         _mm256_max_ps(a, b)
#define MASK               __m256
#define BELOW(a, b)        _mm256_cmp_ps(a, b, _CMP_LT_OQ)
#define CHOOSE(mask, a, b) _mm256_blendv_ps(b, a, mask)
#include "shared/kernels/rows_body.h"

#endif
