/* What the files of this folder share: the sets, and the pieces that more than one of them uses. Not for
 * others. */
#ifndef TRIB_KERNELS_SETS_H
#define TRIB_KERNELS_SETS_H

#include "shared/kernels/kernels.h"

extern const struct trib_kernels trib_kernels_scalar;
#if defined(__x86_64__)
extern const struct trib_kernels trib_kernels_avx2;
extern const struct trib_kernels trib_kernels_avx512;
#elif defined(__aarch64__)
extern const struct trib_kernels trib_kernels_neon;
#endif

/* Several rows at once: rows_body.h, compiled for each set in rows_*.c. */
#define TRIB_DECLARE_ROWS(set)                                                                               \
    void trib_median_rows_##set(float *out, const float *const *rows, size_t k, size_t n);                   \
    void trib_trimmed_rows_##set(float *out, const float *const *rows, size_t k, size_t b, size_t n);        \
    void trib_nearest_rows_##set(float *out, const float *const *rows, size_t k, size_t kept, size_t n);     \
    void trib_gram_##set(double *sums, const float *const *rows, size_t k, size_t n)
#define TRIB_ROWS_OF(set)                                                                                    \
    .median_rows = trib_median_rows_##set, .trimmed_rows = trib_trimmed_rows_##set,                          \
    .nearest_rows = trib_nearest_rows_##set, .gram = trib_gram_##set
TRIB_DECLARE_ROWS(scalar);
TRIB_DECLARE_ROWS(avx2);
TRIB_DECLARE_ROWS(avx512);
TRIB_DECLARE_ROWS(neon);

/* leaves_body.h, compiled for the sets that have wide enough registers; the others leave it all. */
size_t trib_leaves_none(uint8_t *out, const uint8_t *data, size_t bytes, size_t count);
size_t trib_leaves_avx2(uint8_t *out, const uint8_t *data, size_t bytes, size_t count);
size_t trib_leaves_avx512(uint8_t *out, const uint8_t *data, size_t bytes, size_t count);

/* Needs SSE4.2 and PCLMUL. */
uint32_t trib_crc32c_sse42(uint32_t crc, const void *data, size_t bytes);

/* The end of every sum in double: 16 partial sums, folded pairwise. The order is part of the specification.
 */
static inline double trib_fold16(double s[16]) {
    for (size_t half = 8; half > 0; half /= 2)
        for (size_t j = 0; j < half; j++) s[j] += s[j + half];
    return s[0];
}

#endif
