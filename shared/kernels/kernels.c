#include "shared/kernels/kernels.h"

#include "shared/kernels/kernels_sets.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

/* Scalar first, then the faster the later. */
static const struct trib_kernels *const sets[] = {
    &trib_kernels_scalar,
#if defined(__x86_64__)
    &trib_kernels_avx2,
    &trib_kernels_avx512,
#elif defined(__aarch64__)
    &trib_kernels_neon,
#endif
    NULL,
};

#if defined(__x86_64__)
/* clang 14's __builtin_cpu_supports does not know this one; the AVX2 beside it says that the system saves the
 * registers. */
static bool has_f16c(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

static bool has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("sse4.2") &&
           __builtin_cpu_supports("pclmul") && has_f16c();
}

static bool possible(const struct trib_kernels *set) {
    if (set == &trib_kernels_avx2) return has_avx2();
    if (set == &trib_kernels_avx512)
        return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return true;
}
#elif defined(__aarch64__)
/* Every 64-bit ARM has NEON; the CRC instructions came a little later. */
static bool possible(const struct trib_kernels *set) {
    const unsigned long crc32 = 1UL << 7; /* HWCAP_CRC32 */
    return set == &trib_kernels_scalar || (getauxval(AT_HWCAP) & crc32) != 0;
}
#else
static bool possible(const struct trib_kernels *set) {
    return set == &trib_kernels_scalar;
}
#endif

static const struct trib_kernels *pick(void) {
    const char *wanted = getenv("TRIBUTARY_KERNELS");
    const struct trib_kernels *best = wanted != NULL ? trib_kernels_find(wanted) : NULL;
    if (best != NULL) return best;
    for (size_t i = 0; sets[i] != NULL; i++)
        if (possible(sets[i])) best = sets[i];
    return best;
}

/* Written once, under the pthread_once, and constant afterwards. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static const struct trib_kernels *chosen;

static void choose(void) {
    chosen = pick();
}

const struct trib_kernels *trib_kernels(void) {
    pthread_once(&once, choose);
    return chosen;
}

const struct trib_kernels *trib_kernels_find(const char *name) {
    for (size_t i = 0; sets[i] != NULL; i++)
        if (strcmp(sets[i]->name, name) == 0) return possible(sets[i]) ? sets[i] : NULL;
    return NULL;
}

const struct trib_kernels *const *trib_kernels_list(void) {
    return sets;
}
