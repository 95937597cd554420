/* The numeric loops. The scalar functions are the specification; the others give the same bits (no fused
 * multiply-add, -ffp-contract=off, reductions in one fixed blocked order), at any length and alignment.
 *
 * Pointers may not overlap unless said; n may be 0. Nothing here allocates, fails or keeps state. Where a
 * float result is NaN, it is NaN in every set, but which of the NaNs is left open. */
#ifndef TRIB_KERNELS_KERNELS_H
#define TRIB_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TRIB_ROWS_MAX = 1024,    /* of the functions that sort; their columns are on the stack, 64 KiB at most */
    TRIB_GRAM_STRETCH = 1024 /* floats of each row that a dot product takes at a time */
};

struct trib_kernels {
    const char *name; /* "scalar", "avx2", ... */
    /* y[i] = y[i] + (a * x[i]), each operation rounded once */
    void (*add_scaled)(float *y, const float *x, float a, size_t n);
    /* y[i] = y[i] * a */
    void (*scale)(float *y, float a, size_t n);
    /* max |x[i]|; NaN or infinity anywhere gives NaN (checked by the caller with isnan) */
    float (*absmax)(const float *x, size_t n);
    /* true if no x[i] is NaN or infinite */
    bool (*all_finite)(const float *x, size_t n);
    /* sum of x[i]*x[i], of x[i]*y[i]: in double, 16 interleaved partial sums over i mod 16, folded pairwise
     * (8,4,2,1) at the end */
    double (*sum_squares)(const float *x, size_t n);
    double (*dot)(const float *x, const float *y, size_t n);
    /* q[i] = clamp(round_half_even(x[i] * inverse), -127, 127); a NaN gives 127 */
    void (*quantise_int8)(int8_t *q, const float *x, float inverse, size_t n);
    /* y[i] = y[i] + (a * (float)q[i]) */
    void (*add_int8)(float *y, const int8_t *q, float a, size_t n);
    /* sum of q[i]*q[i] */
    int64_t (*sum_squares_int8)(const int8_t *q, size_t n);
    /* IEEE half, round to nearest even, overflow to infinity */
    void (*to_f16)(uint16_t *h, const float *x, size_t n);
    /* y[i] = y[i] + (a * (float)h[i]) */
    void (*add_f16)(float *y, const uint16_t *h, float a, size_t n);
    /* true if every half is finite */
    bool (*all_finite_f16)(const uint16_t *h, size_t n);
    /* bfloat16: the upper half of a float, rounded to nearest even; a finite value beyond the largest finite
     * bfloat16 becomes that one, a NaN stays one */
    void (*to_bf16)(uint16_t *h, const float *x, size_t n);
    /* y[i] = y[i] + (a * (float)h[i]) */
    void (*add_bf16)(float *y, const uint16_t *h, float a, size_t n);
    /* y[i] = y[i] + table[codes[i]]; every code is below 16 */
    void (*add_table)(float *y, const uint8_t *codes, const float table[16], size_t n);
    /* codes[i] = how many of the `count` (at most 15) thresholds are not above |x[i] * inverse|, with `sign`
     * added where x[i] has its sign bit set; a NaN is above none */
    void (*level_codes)(uint8_t *codes, const float *x, float inverse, const float *thresholds, size_t count,
                        uint8_t sign, size_t n);
    /* y[i] = x[i] * f, f = -a where bit i of `bits` (bit i % 8 of byte i / 8) is set, else a; y may be x */
    void (*flip)(float *y, const float *x, const uint8_t *bits, float a, size_t n);
    /* The Walsh-Hadamard transform in place, not normalised; n is a power of two. For h = 1, 2, 4, ... below
     * n, every pair x[i], x[i + h] with bit h of i clear becomes x[i] + x[i + h], x[i] - x[i + h]. */
    void (*hadamard)(float *x, size_t n);
    /* Appends what has magnitude bits of at least `threshold` (so NaNs too), in order: the value and
     * base + i. Gives the number. Up to 16 items beyond the last one may be overwritten. */
    size_t (*collect)(uint32_t *positions, float *values, const float *x, uint32_t threshold, uint32_t base,
                      size_t n);

    /* ---- k rows of n floats each, 1 <= k <= TRIB_ROWS_MAX, none of them NaN ----
     * out[i] comes from rows[0][i] ... rows[k - 1][i], sorted: v[0] <= v[1] ... The order of the rows does
     * not matter, a minus zero counts as plus zero. out may be one of the rows. */
    /* the one in the middle; of two in the middle (v[k/2 - 1] + v[k/2]) * 0.5 */
    void (*median_rows)(float *out, const float *const *rows, size_t k, size_t n);
    /* the mean without the b smallest and the b largest, 2b < k: the others added in ascending order, then
     * divided by (float)(k - 2b) */
    void (*trimmed_rows)(float *out, const float *const *rows, size_t k, size_t b, size_t n);
    /* the mean of the `kept` nearest to m, the median as above; 1 <= kept <= k. They are v[s] ... v[s + kept
     * - 1] with the smallest s where not (v[s + kept] - m < m - v[s]): of two equally far the lower one.
     * Added in ascending order to 0, then divided by (float)kept. */
    void (*nearest_rows)(float *out, const float *const *rows, size_t k, size_t kept, size_t n);
    /* The k x k matrix of dot products: sums[i * k + j] += dot(rows[i], rows[j]), for each stretch of
     * TRIB_GRAM_STRETCH coordinates, one after the other, the last one shorter. Symmetric before, symmetric
     * after. So calls for parts that begin at multiples of the stretch, in order, give the same bits as one
     * call. Any k. */
    void (*gram)(double *sums, const float *const *rows, size_t k, size_t n);

    /* CRC32C (Castagnoli), continuing from `crc` (0 to start) */
    uint32_t (*crc32c)(uint32_t crc, const void *data, size_t bytes);

    /* BLAKE2b-256 of messages of `bytes` each, a positive multiple of 128, that lie one behind the other: of
     * the first of them, as many as go well in this set's registers together, so maybe of none. Gives their
     * number, at most `count`; out has 32 bytes a message. */
    size_t (*leaves)(uint8_t *out, const uint8_t *data, size_t bytes, size_t count);
};

/* The fastest set that this processor has, or the one that the environment's TRIBUTARY_KERNELS names; chosen
 * at the first call, constant afterwards, safe from any thread. A name that trib_kernels_find does not know
 * is passed over: programs check the variable at their start and say so. */
const struct trib_kernels *trib_kernels(void);
/* By name, for tests, TRIBUTARY_KERNELS and benchmarks; NULL if unknown or not possible on this processor. */
const struct trib_kernels *trib_kernels_find(const char *name);
/* All sets that were compiled in, NULL-terminated, scalar first. */
const struct trib_kernels *const *trib_kernels_list(void);

#endif
