/* AVX2 and F16C. What is left below a full register goes to the scalar loops. This file is compiled without
 * FMA, so no product can lose its own rounding. */
#include "shared/kernels/kernels_sets.h"

#if defined(__x86_64__)

#include "shared/base/bytes.h"

#include <immintrin.h>
#include <math.h>

#define rest trib_kernels_scalar

static void add_scaled(float *y, const float *x, float a, size_t n) {
    const __m256 va = _mm256_set1_ps(a);
    size_t i = 0;
    for (; i + 32 <= n; i += 32)
        for (size_t j = i; j < i + 32; j += 8)
            _mm256_storeu_ps(
                y + j, _mm256_add_ps(_mm256_loadu_ps(y + j), _mm256_mul_ps(va, _mm256_loadu_ps(x + j))));
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i,
                         _mm256_add_ps(_mm256_loadu_ps(y + i), _mm256_mul_ps(va, _mm256_loadu_ps(x + i))));
    rest.add_scaled(y + i, x + i, a, n - i);
}

static void scale(float *y, float a, size_t n) {
    const __m256 va = _mm256_set1_ps(a);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_loadu_ps(y + i), va));
    rest.scale(y + i, a, n - i);
}

static __m256i magnitudes(const float *x) {
    return _mm256_and_si256(_mm256_loadu_si256((const __m256i *)(const void *)x),
                            _mm256_set1_epi32(0x7FFFFFFF));
}

/* The largest magnitude's bits over the first n - n % 32 floats. */
static uint32_t most_bits(const float *x, size_t n, size_t *done) {
    __m256i m0 = _mm256_setzero_si256(), m1 = m0, m2 = m0, m3 = m0;
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        m0 = _mm256_max_epi32(m0, magnitudes(x + i));
        m1 = _mm256_max_epi32(m1, magnitudes(x + i + 8));
        m2 = _mm256_max_epi32(m2, magnitudes(x + i + 16));
        m3 = _mm256_max_epi32(m3, magnitudes(x + i + 24));
    }
    m0 = _mm256_max_epi32(_mm256_max_epi32(m0, m1), _mm256_max_epi32(m2, m3));
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(m0), _mm256_extracti128_si256(m0, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4E));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xB1));
    *done = i;
    return (uint32_t)_mm_cvtsi128_si32(m);
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

static __m256d doubles(const float *x) {
    return _mm256_cvtps_pd(_mm_loadu_ps(x));
}

static double dot(const float *x, const float *y, size_t n) {
    __m256d s0 = _mm256_setzero_pd(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        s0 = _mm256_add_pd(s0, _mm256_mul_pd(doubles(x + i), doubles(y + i)));
        s1 = _mm256_add_pd(s1, _mm256_mul_pd(doubles(x + i + 4), doubles(y + i + 4)));
        s2 = _mm256_add_pd(s2, _mm256_mul_pd(doubles(x + i + 8), doubles(y + i + 8)));
        s3 = _mm256_add_pd(s3, _mm256_mul_pd(doubles(x + i + 12), doubles(y + i + 12)));
    }
    double s[16];
    _mm256_storeu_pd(s, s0);
    _mm256_storeu_pd(s + 4, s1);
    _mm256_storeu_pd(s + 8, s2);
    _mm256_storeu_pd(s + 12, s3);
    for (size_t j = 0; i + j < n; j++) s[j] += (double)x[i + j] * (double)y[i + j];
    return trib_fold16(s);
}

static double sum_squares(const float *x, size_t n) {
    return dot(x, x, n);
}

/* min and max return their second operand where one is NaN, as the scalar comparisons do. */
static __m256i quantised(const float *x, __m256 inverse) {
    __m256 p = _mm256_mul_ps(_mm256_loadu_ps(x), inverse);
    p = _mm256_min_ps(p, _mm256_set1_ps(127.0F));
    p = _mm256_max_ps(p, _mm256_set1_ps(-127.0F));
    return _mm256_cvtps_epi32(p);
}

static void quantise_int8(int8_t *q, const float *x, float inverse, size_t n) {
    const __m256 vi = _mm256_set1_ps(inverse);
    /* the packs work within each half of a register; this puts the groups of four back in order */
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        __m256i low = _mm256_packs_epi32(quantised(x + i, vi), quantised(x + i + 8, vi));
        __m256i high = _mm256_packs_epi32(quantised(x + i + 16, vi), quantised(x + i + 24, vi));
        __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
        _mm256_storeu_si256((__m256i *)(void *)(q + i), bytes);
    }
    rest.quantise_int8(q + i, x + i, inverse, n - i);
}

static __m256 int8_floats(const int8_t *q) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)q)));
}

static void add_int8(float *y, const int8_t *q, float a, size_t n) {
    const __m256 va = _mm256_set1_ps(a);
    size_t i = 0;
    for (; i + 32 <= n; i += 32)
        for (size_t j = i; j < i + 32; j += 8)
            _mm256_storeu_ps(y + j,
                             _mm256_add_ps(_mm256_loadu_ps(y + j), _mm256_mul_ps(va, int8_floats(q + j))));
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_add_ps(_mm256_loadu_ps(y + i), _mm256_mul_ps(va, int8_floats(q + i))));
    rest.add_int8(y + i, q + i, a, n - i);
}

/* Eight words of at most 16 bits become halves of a register each; `order` as in quantise_int8. */
static __m128i low_halves(__m256i a, __m256i b) {
    __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(a, b), 0xD8);
    return _mm256_castsi256_si128(packed);
}

static __m256i bfloats(__m256 x) {
    const __m256i infinite = _mm256_set1_epi32(0x7F800000), one = _mm256_set1_epi32(1);
    __m256i bits = _mm256_castps_si256(x);
    __m256i magnitude = _mm256_and_si256(bits, _mm256_set1_epi32(0x7FFFFFFF));
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(magnitude, 16), one);
    __m256i rounded = _mm256_add_epi32(magnitude, _mm256_add_epi32(_mm256_set1_epi32(0x7FFF), odd));
    rounded = _mm256_srli_epi32(rounded, 16);
    __m256i most = _mm256_min_epi32(rounded, _mm256_set1_epi32(0x7F7F));
    rounded = _mm256_blendv_epi8(rounded, most, _mm256_cmpgt_epi32(infinite, magnitude));
    __m256i nan = _mm256_or_si256(_mm256_srli_epi32(magnitude, 16), _mm256_set1_epi32(0x40));
    rounded = _mm256_blendv_epi8(rounded, nan, _mm256_cmpgt_epi32(magnitude, infinite));
    return _mm256_or_si256(rounded, _mm256_slli_epi32(_mm256_srli_epi32(bits, 31), 15));
}

static void to_bf16(uint16_t *h, const float *x, size_t n) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i words = bfloats(_mm256_loadu_ps(x + i));
        _mm_storeu_si128((__m128i *)(void *)(h + i), low_halves(words, words));
    }
    rest.to_bf16(h + i, x + i, n - i);
}

static void add_bf16(float *y, const uint16_t *h, float a, size_t n) {
    const __m256 va = _mm256_set1_ps(a);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)(h + i)));
        __m256 value = _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
        _mm256_storeu_ps(y + i, _mm256_add_ps(_mm256_loadu_ps(y + i), _mm256_mul_ps(va, value)));
    }
    rest.add_bf16(y + i, h + i, a, n - i);
}

static __m256i code_words(const uint8_t *codes) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)codes));
}

static void add_table(float *y, const uint8_t *codes, const float table[16], size_t n) {
    const __m256 low = _mm256_loadu_ps(table), high = _mm256_loadu_ps(table + 8);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i code = code_words(codes + i);
        __m256 upper = _mm256_castsi256_ps(_mm256_slli_epi32(code, 28)); /* bit 3 becomes the sign */
        __m256 value = _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, code),
                                        _mm256_permutevar8x32_ps(high, code), upper);
        _mm256_storeu_ps(y + i, _mm256_add_ps(_mm256_loadu_ps(y + i), value));
    }
    rest.add_table(y + i, codes + i, table, n - i);
}

static __m256i level_words(const float *x, __m256 inverse, const float *thresholds, size_t count,
                           __m256i sign) {
    __m256 v = _mm256_loadu_ps(x);
    __m256i code = _mm256_and_si256(_mm256_srai_epi32(_mm256_castps_si256(v), 31), sign);
    v = _mm256_andnot_ps(_mm256_set1_ps(-0.0F), _mm256_mul_ps(v, inverse));
    for (size_t t = 0; t < count; t++) {
        __m256 reached = _mm256_cmp_ps(v, _mm256_set1_ps(thresholds[t]), _CMP_GE_OQ);
        code = _mm256_sub_epi32(code, _mm256_castps_si256(reached));
    }
    return code;
}

static void level_codes(uint8_t *codes, const float *x, float inverse, const float *thresholds, size_t count,
                        uint8_t sign, size_t n) {
    const __m256 vi = _mm256_set1_ps(inverse);
    const __m256i vs = _mm256_set1_epi32(sign), order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        __m256i w[4];
        for (size_t j = 0; j < 4; j++) w[j] = level_words(x + i + 8 * j, vi, thresholds, count, vs);
        __m256i bytes = _mm256_packus_epi16(_mm256_packs_epi32(w[0], w[1]), _mm256_packs_epi32(w[2], w[3]));
        _mm256_storeu_si256((__m256i *)(void *)(codes + i), _mm256_permutevar8x32_epi32(bytes, order));
    }
    rest.level_codes(codes + i, x + i, inverse, thresholds, count, sign, n - i);
}

static void flip(float *y, const float *x, const uint8_t *bits, float a, size_t n) {
    const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256 va = _mm256_set1_ps(a), minus = _mm256_set1_ps(-0.0F);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i set = _mm256_and_si256(_mm256_set1_epi32(bits[i / 8]), lane);
        __m256 sign = _mm256_and_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(set, lane)), minus);
        _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_xor_ps(va, sign)));
    }
    rest.flip(y + i, x + i, bits + i / 8, a, n - i);
}

/* x +- its neighbour at a distance: the upper of a pair is taken negative, then both are sums. */
static __m256 within(__m256 x) {
    const __m256 upper1 = _mm256_setr_ps(0.0F, -0.0F, 0.0F, -0.0F, 0.0F, -0.0F, 0.0F, -0.0F);
    const __m256 upper2 = _mm256_setr_ps(0.0F, 0.0F, -0.0F, -0.0F, 0.0F, 0.0F, -0.0F, -0.0F);
    const __m256 upper4 = _mm256_setr_ps(0.0F, 0.0F, 0.0F, 0.0F, -0.0F, -0.0F, -0.0F, -0.0F);
    x = _mm256_add_ps(_mm256_permute_ps(x, 0xB1), _mm256_xor_ps(x, upper1));
    x = _mm256_add_ps(_mm256_permute_ps(x, 0x4E), _mm256_xor_ps(x, upper2));
    return _mm256_add_ps(_mm256_permute2f128_ps(x, x, 1), _mm256_xor_ps(x, upper4));
}

#define REGISTER    __m256
#define LANES       8
#define LOAD(p)     _mm256_loadu_ps(p)
#define STORE(p, v) _mm256_storeu_ps(p, v)
#define ADD(a, b)   _mm256_add_ps(a, b)
#define SUB(a, b)   _mm256_sub_ps(a, b)
#include "shared/kernels/hadamard_body.h"

static size_t collect(uint32_t *positions, float *values, const float *x, uint32_t threshold, uint32_t base,
                      size_t n) {
    const __m256i below = _mm256_set1_epi32((int)(threshold - 1)); /* magnitudes are not negative */
    size_t found = 0, i = 0;
    if (threshold == 0) return rest.collect(positions, values, x, threshold, base, n);
    for (; i + 8 <= n; i += 8) {
        __m256i above = _mm256_cmpgt_epi32(magnitudes(x + i), below);
        unsigned mask = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(above));
        for (; mask != 0; mask &= mask - 1) {
            size_t at = i + (size_t)__builtin_ctz(mask);
            positions[found] = base + (uint32_t)at;
            values[found++] = x[at];
        }
    }
    return found +
           rest.collect(positions + found, values + found, x + i, threshold, base + (uint32_t)i, n - i);
}

static int64_t sum_squares_int8(const int8_t *q, size_t n) {
    /* a 32-bit lane takes at most 2 * 128 * 128 a step: 2^14 steps are far from its end */
    enum { STEP = 16, STRETCH = STEP << 14 };
    int64_t sum = 0;
    size_t i = 0;
    while (i + STEP <= n) {
        __m256i s = _mm256_setzero_si256();
        for (size_t end = n - i < STRETCH ? n : i + STRETCH; i + STEP <= end; i += STEP) {
            __m256i v = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(q + i)));
            s = _mm256_add_epi32(s, _mm256_madd_epi16(v, v));
        }
        int32_t lanes[8];
        _mm256_storeu_si256((__m256i *)(void *)lanes, s);
        for (size_t j = 0; j < 8; j++) sum += lanes[j];
    }
    return sum + rest.sum_squares_int8(q + i, n - i);
}

static void to_f16(uint16_t *h, const float *x, size_t n) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(void *)(h + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
    rest.to_f16(h + i, x + i, n - i);
}

static void add_f16(float *y, const uint16_t *h, float a, size_t n) {
    const __m256 va = _mm256_set1_ps(a);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 value = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(h + i)));
        _mm256_storeu_ps(y + i, _mm256_add_ps(_mm256_loadu_ps(y + i), _mm256_mul_ps(va, value)));
    }
    rest.add_f16(y + i, h + i, a, n - i);
}

static bool all_finite_f16(const uint16_t *h, size_t n) {
    const __m256i exponent = _mm256_set1_epi16(0x7C00);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(h + i));
        __m256i bad = _mm256_cmpeq_epi16(_mm256_and_si256(v, exponent), exponent);
        if (_mm256_movemask_epi8(bad) != 0) return false;
    }
    return rest.all_finite_f16(h + i, n - i);
}

/* ---- CRC32C ---- */

/* The crc32 instruction takes three cycles but one can start each cycle: three stretches run side by side and
 * are joined by moving the earlier remainders over the bytes behind them. A carry-less product with
 * x^(8 * bytes - 33) does that; the instruction itself reduces the 64 bits (and accounts for 33 of the
 * exponent). */
struct crc_stretch {
    size_t bytes;          /* of each of the three */
    uint32_t over1, over2; /* x^(8 * bytes - 33), x^(16 * bytes - 33) */
};
static const struct crc_stretch long_stretch = {4096, 0x82F89C77U, 0x54A86326U};
static const struct crc_stretch short_stretch = {256, 0xB9E02B86U, 0xDD7E3B0CU};

__attribute__((target("sse4.2,pclmul"))) static uint64_t crc_move(uint64_t crc, uint32_t over) {
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)crc), _mm_cvtsi64_si128(over), 0);
    return (uint64_t)_mm_cvtsi128_si64(product);
}

__attribute__((target("sse4.2,pclmul"))) static uint64_t crc_triple(uint64_t crc, const uint8_t *p,
                                                                    const struct crc_stretch *stretch) {
    uint64_t a = crc, b = 0, c = 0;
    const size_t bytes = stretch->bytes;
    for (size_t i = 0; i < bytes; i += 8) {
        a = _mm_crc32_u64(a, trib_get_u64(p + i));
        b = _mm_crc32_u64(b, trib_get_u64(p + bytes + i));
        c = _mm_crc32_u64(c, trib_get_u64(p + 2 * bytes + i));
    }
    return _mm_crc32_u64(0, crc_move(a, stretch->over2) ^ crc_move(b, stretch->over1)) ^ c;
}

__attribute__((target("sse4.2,pclmul"))) uint32_t trib_crc32c_sse42(uint32_t start, const void *data,
                                                                    size_t bytes) {
    const uint8_t *p = data;
    uint64_t crc = ~start;
    for (size_t n = 3 * long_stretch.bytes; bytes >= n; bytes -= n, p += n)
        crc = crc_triple(crc, p, &long_stretch);
    for (size_t n = 3 * short_stretch.bytes; bytes >= n; bytes -= n, p += n)
        crc = crc_triple(crc, p, &short_stretch);
    for (; bytes >= 8; bytes -= 8, p += 8) crc = _mm_crc32_u64(crc, trib_get_u64(p));
    uint32_t left = (uint32_t)crc;
    for (; bytes > 0; bytes--, p++) left = _mm_crc32_u8(left, *p);
    return ~left;
}

const struct trib_kernels trib_kernels_avx2 = {
    .name = "avx2",
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
    TRIB_ROWS_OF(avx2),
    .crc32c = trib_crc32c_sse42,
    .leaves = trib_leaves_avx2,
};

#endif
