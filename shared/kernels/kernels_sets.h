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
