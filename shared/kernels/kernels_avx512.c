/* AVX-512 (F, BW, DQ, VL): twice the width, and masked loads in place of a scalar tail. The CRC is the one of
 * kernels_avx2.c. */
#include "shared/kernels/kernels_sets.h"

#if defined(__x86_64__)

#include "shared/base/bytes.h"

#include <immintrin.h>
#include <math.h>

/* The lanes of the 16 from i on that exist. */
static __mmask16 lanes(size_t i, size_t n) {
    if (n - i >= 16) return 0xFFFF;
    return (__mmask16)((1U << (n - i)) - 1U);
}

/* y + a * x, each rounded: the compiler may not contract them (-ffp-contract=off). */
static __m512 scaled_sum(__m512 y, __m512 a, __m512 x) {
    return _mm512_add_ps(y, _mm512_mul_ps(a, x));
}

static void add_scaled(float *y, const float *x, float a, size_t n) {
    const __m512 va = _mm512_set1_ps(a);
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(y + i, scaled_sum(_mm512_loadu_ps(y + i), va, _mm512_loadu_ps(x + i)));
    if (i == n) return;
    __mmask16 m = lanes(i, n);
    __m512 sum = scaled_sum(_mm512_maskz_loadu_ps(m, y + i), va, _mm512_maskz_loadu_ps(m, x + i));
    _mm512_mask_storeu_ps(y + i, m, sum);
}

static void scale(float *y, float a, size_t n) {
    const __m512 va = _mm512_set1_ps(a);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = lanes(i, n);
        _mm512_mask_storeu_ps(y + i, m, _mm512_mul_ps(_mm512_maskz_loadu_ps(m, y + i), va));
    }
}

static __m512i magnitudes(__m512i bits) {
    return _mm512_and_si512(bits, _mm512_set1_epi32(0x7FFFFFFF));
}

static uint32_t most_bits(const float *x, size_t n) {
    __m512i m0 = _mm512_setzero_si512(), m1 = m0;
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        m0 = _mm512_max_epi32(m0, magnitudes(_mm512_loadu_si512(x + i)));
        m1 = _mm512_max_epi32(m1, magnitudes(_mm512_loadu_si512(x + i + 16)));
    }
    for (; i < n; i += 16)
        m0 = _mm512_max_epi32(m0, magnitudes(_mm512_maskz_loadu_epi32(lanes(i, n), x + i)));
    return (uint32_t)_mm512_reduce_max_epi32(_mm512_max_epi32(m0, m1));
}

static float absmax(const float *x, size_t n) {
    uint32_t bits = most_bits(x, n);
    return bits < 0x7F800000U ? trib_get_f32(&bits) : NAN;
}

static bool all_finite(const float *x, size_t n) {
    enum { STRETCH = 1024 };
    for (; n > STRETCH; x += STRETCH, n -= STRETCH)
        if (most_bits(x, STRETCH) >= 0x7F800000U) return false;
    return most_bits(x, n) < 0x7F800000U;
}

/* A lane that does not exist adds 0 * 0, which changes no sum that began with 0. */
static double dot(const float *x, const float *y, size_t n) {
    __m512d low = _mm512_setzero_pd(), high = low;
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = lanes(i, n);
        __m512 vx = _mm512_maskz_loadu_ps(m, x + i), vy = _mm512_maskz_loadu_ps(m, y + i);
        __m512d xl = _mm512_cvtps_pd(_mm512_castps512_ps256(vx)),
                yl = _mm512_cvtps_pd(_mm512_castps512_ps256(vy));
        __m512d xh = _mm512_cvtps_pd(_mm512_extractf32x8_ps(vx, 1));
        __m512d yh = _mm512_cvtps_pd(_mm512_extractf32x8_ps(vy, 1));
        low = _mm512_add_pd(low, _mm512_mul_pd(xl, yl));
        high = _mm512_add_pd(high, _mm512_mul_pd(xh, yh));
    }
    double s[16];
    _mm512_storeu_pd(s, low);
    _mm512_storeu_pd(s + 8, high);
    return trib_fold16(s);
}

static double sum_squares(const float *x, size_t n) {
    return dot(x, x, n);
}

/* min and max return their second operand where one is NaN, as the scalar comparisons do. */
static void quantise_int8(int8_t *q, const float *x, float inverse, size_t n) {
    const __m512 vi = _mm512_set1_ps(inverse), top = _mm512_set1_ps(127.0F), bottom = _mm512_set1_ps(-127.0F);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = lanes(i, n);
        __m512 p = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), vi);
        __m512i rounded = _mm512_cvtps_epi32(_mm512_max_ps(_mm512_min_ps(p, top), bottom));
        _mm512_mask_cvtepi32_storeu_epi8(q + i, m, rounded);
    }
}

static __m512 int8_floats(__m128i q) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q));
}

static void add_int8(float *y, const int8_t *q, float a, size_t n) {
    const __m512 va = _mm512_set1_ps(a);
    size_t i = 0;
    for (; i + 64 <= n; i += 64)
        for (size_t j = i; j < i + 64; j += 16) {
            __m512 value = int8_floats(_mm_loadu_si128((const __m128i *)(const void *)(q + j)));
            _mm512_storeu_ps(y + j, scaled_sum(_mm512_loadu_ps(y + j), va, value));
        }
    for (; i < n; i += 16) {
        __mmask16 m = lanes(i, n);
        __m512 value = int8_floats(_mm_maskz_loadu_epi8(m, q + i));
        _mm512_mask_storeu_ps(y + i, m, scaled_sum(_mm512_maskz_loadu_ps(m, y + i), va, value));
    }
}

static void to_f16(uint16_t *h, const float *x, size_t n) {
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = lanes(i, n);
        __m256i half = _mm512_cvtps_ph(_mm512_maskz_loadu_ps(m, x + i), _MM_FROUND_TO_NEAREST_INT);
        _mm256_mask_storeu_epi16(h + i, m, half);
    }
}

static void add_f16(float *y, const uint16_t *h, float a, size_t n) {
    const __m512 va = _mm512_set1_ps(a);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = lanes(i, n);
        __m512 value = _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, h + i));
        _mm512_mask_storeu_ps(y + i, m, scaled_sum(_mm512_maskz_loadu_ps(m, y + i), va, value));
    }
}

static bool all_finite_f16(const uint16_t *h, size_t n) {
    const __m512i exponent = _mm512_set1_epi16(0x7C00);
    for (size_t i = 0; i < n; i += 32) {
        __mmask32 m = n - i >= 32 ? 0xFFFFFFFFU : (1U << (n - i)) - 1U;
        __m512i v = _mm512_maskz_loadu_epi16(m, h + i);
        if (_mm512_cmpeq_epi16_mask(_mm512_and_si512(v, exponent), exponent) != 0) return false;
    }
    return true;
}

static __m512i bfloats(__m512i bits) {
    const __m512i infinite = _mm512_set1_epi32(0x7F800000);
    __m512i magnitude = magnitudes(bits), upper = _mm512_srli_epi32(magnitude, 16);
    __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(magnitude, _mm512_add_epi32(_mm512_set1_epi32(0x7FFF), odd));
    rounded = _mm512_srli_epi32(rounded, 16);
    __mmask16 finite = _mm512_cmplt_epi32_mask(magnitude, infinite);
    rounded = _mm512_mask_min_epi32(rounded, finite, rounded, _mm512_set1_epi32(0x7F7F));
    __mmask16 nan = _mm512_cmpgt_epi32_mask(magnitude, infinite);
    rounded = _mm512_mask_or_epi32(rounded, nan, upper, _mm512_set1_epi32(0x40));
    return _mm512_or_si512(rounded, _mm512_slli_epi32(_mm512_srli_epi32(bits, 31), 15));
}

static void to_bf16(uint16_t *h, const float *x, size_t n) {
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = lanes(i, n);
        __m512i words = bfloats(_mm512_maskz_loadu_epi32(m, x + i));
        _mm256_mask_storeu_epi16(h + i, m, _mm512_cvtepi32_epi16(words));
    }
}

static void add_bf16(float *y, const uint16_t *h, float a, size_t n) {
    const __m512 va = _mm512_set1_ps(a);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = lanes(i, n);
        __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, h + i));
        __m512 value = _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
        _mm512_mask_storeu_ps(y + i, m, scaled_sum(_mm512_maskz_loadu_ps(m, y + i), va, value));
    }
}

static void add_table(float *y, const uint8_t *codes, const float table[16], size_t n) {
    const __m512 values = _mm512_loadu_ps(table);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m512i code = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(codes + i)));
        _mm512_storeu_ps(y + i, _mm512_add_ps(_mm512_loadu_ps(y + i), _mm512_permutexvar_ps(code, values)));
    }
    if (i == n) return;
    __mmask16 m = lanes(i, n);
    __m512i code = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(m, codes + i));
    __m512 sum = _mm512_add_ps(_mm512_maskz_loadu_ps(m, y + i), _mm512_permutexvar_ps(code, values));
    _mm512_mask_storeu_ps(y + i, m, sum);
}

static void level_codes(uint8_t *codes, const float *x, float inverse, const float *thresholds, size_t count,
                        uint8_t sign, size_t n) {
    const __m512 vi = _mm512_set1_ps(inverse);
    const __m512i vs = _mm512_set1_epi32(sign), one = _mm512_set1_epi32(1);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = lanes(i, n);
        __m512 v = _mm512_maskz_loadu_ps(m, x + i);
        __m512i code = _mm512_maskz_mov_epi32(_mm512_movepi32_mask(_mm512_castps_si512(v)), vs);
        v = _mm512_abs_ps(_mm512_mul_ps(v, vi));
        for (size_t t = 0; t < count; t++) {
            __mmask16 reached = _mm512_cmp_ps_mask(v, _mm512_set1_ps(thresholds[t]), _CMP_GE_OQ);
            code = _mm512_mask_add_epi32(code, reached, code, one);
        }
        _mm512_mask_cvtepi32_storeu_epi8(codes + i, m, code);
    }
}

static void flip(float *y, const float *x, const uint8_t *bits, float a, size_t n) {
    const __m512 va = _mm512_set1_ps(a), minus = _mm512_set1_ps(-a);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __mmask16 set = trib_get_u16(bits + i / 8);
        _mm512_storeu_ps(y + i, _mm512_mul_ps(_mm512_loadu_ps(x + i), _mm512_mask_mov_ps(va, set, minus)));
    }
    trib_kernels_scalar.flip(y + i, x + i, bits + i / 8, a, n - i);
}

/* x +- its neighbour at a distance: the upper of a pair is taken negative, then both are sums. */
static __m512 stage(__m512 x, __m512 neighbour, __mmask16 upper) {
    return _mm512_add_ps(neighbour, _mm512_mask_xor_ps(x, upper, x, _mm512_set1_ps(-0.0F)));
}

static __m512 within(__m512 x) {
    x = stage(x, _mm512_permute_ps(x, 0xB1), 0xAAAA);
    x = stage(x, _mm512_permute_ps(x, 0x4E), 0xCCCC);
    x = stage(x, _mm512_shuffle_f32x4(x, x, 0xB1), 0xF0F0);
    return stage(x, _mm512_shuffle_f32x4(x, x, 0x4E), 0xFF00);
}

#define REGISTER    __m512
#define LANES       16
#define LOAD(p)     _mm512_loadu_ps(p)
#define STORE(p, v) _mm512_storeu_ps(p, v)
#define ADD(a, b)   _mm512_add_ps(a, b)
#define SUB(a, b)   _mm512_sub_ps(a, b)
#include "shared/kernels/hadamard_body.h"

/* Compressed in a register and stored whole: the compressing store is slow on some processors. */
static size_t collect(uint32_t *positions, float *values, const float *x, uint32_t threshold, uint32_t base,
                      size_t n) {
    const __m512i least = _mm512_set1_epi32((int)threshold);
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    size_t found = 0;
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = lanes(i, n);
        __m512i bits = _mm512_maskz_loadu_epi32(m, x + i);
        __mmask16 above = _mm512_mask_cmpge_epu32_mask(m, magnitudes(bits), least);
        if (above == 0) continue;
        __m512i at = _mm512_add_epi32(_mm512_set1_epi32((int)(base + (uint32_t)i)), lane);
        _mm512_storeu_si512(positions + found, _mm512_maskz_compress_epi32(above, at));
        _mm512_storeu_si512(values + found, _mm512_maskz_compress_epi32(above, bits));
        found += (size_t)__builtin_popcount(above);
    }
    return found;
}

static int64_t sum_squares_int8(const int8_t *q, size_t n) {
    /* a lane takes at most 2 * 128 * 128 a step: after 2^11 steps all 16 together are within 2^30 */
    enum { STEP = 32, STRETCH = STEP << 11 };
    int64_t sum = 0;
    for (size_t i = 0; i < n;) {
        __m512i s = _mm512_setzero_si512();
        for (size_t end = n - i < STRETCH ? n : i + STRETCH; i < end; i += STEP) {
            __mmask32 m = n - i >= STEP ? 0xFFFFFFFFU : (1U << (n - i)) - 1U;
            __m512i v = _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(m, q + i));
            s = _mm512_add_epi32(s, _mm512_madd_epi16(v, v));
        }
        sum += _mm512_reduce_add_epi32(s);
    }
    return sum;
}

const struct trib_kernels trib_kernels_avx512 = {
    .name = "avx512",
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
    TRIB_ROWS_OF(avx512),
    .crc32c = trib_crc32c_sse42,
    .leaves = trib_leaves_avx512,
};

#endif
