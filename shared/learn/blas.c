#include "shared/learn/blas.h"

#include <cblas.h>
#include <stddef.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

enum level { LEVEL_SSE, LEVEL_AVX, LEVEL_AVX2, LEVEL_AVX512 };

/* OpenBLAS's x86 cores, by the widest vectors that their sgemm uses. */
static const struct core {
    const char *name;
    enum level level;
} cores[] = {
    {"Katmai", LEVEL_SSE},        {"Coppermine", LEVEL_SSE},
    {"Northwood", LEVEL_SSE},     {"Prescott", LEVEL_SSE},
    {"Banias", LEVEL_SSE},        {"Atom", LEVEL_SSE},
    {"Core2", LEVEL_SSE},         {"Penryn", LEVEL_SSE},
    {"Dunnington", LEVEL_SSE},    {"Nehalem", LEVEL_SSE},
    {"Athlon", LEVEL_SSE},        {"Opteron", LEVEL_SSE},
    {"Opteron_SSE3", LEVEL_SSE},  {"Barcelona", LEVEL_SSE},
    {"Bobcat", LEVEL_SSE},        {"Nano", LEVEL_SSE},
    {"Sandybridge", LEVEL_AVX},   {"Bulldozer", LEVEL_AVX},
    {"Piledriver", LEVEL_AVX},    {"Steamroller", LEVEL_AVX},
    {"Excavator", LEVEL_AVX},     {"Haswell", LEVEL_AVX2},
    {"Zen", LEVEL_AVX2},          {"SkylakeX", LEVEL_AVX512},
    {"Cooperlake", LEVEL_AVX512}, {"SapphireRapids", LEVEL_AVX512},
};

const char *trib_blas_choose(const struct trib_cpu_features *features, const char *core) {
    enum level have = features->avx512     ? LEVEL_AVX512
                      : features->avx2_fma ? LEVEL_AVX2
                      : features->avx      ? LEVEL_AVX
                                           : LEVEL_SSE;
    static const char *const best[] = {NULL, "Sandybridge", "Haswell", "SkylakeX"};
    for (size_t i = 0; i < sizeof cores / sizeof cores[0]; i++)
        if (strcasecmp(core, cores[i].name) == 0) return cores[i].level < have ? best[have] : NULL;
    return NULL;
}

struct trib_cpu_features trib_cpu_features(void) {
    struct trib_cpu_features features = {false, false, false};
#if defined(__x86_64__)
    __builtin_cpu_init();
    features.avx = __builtin_cpu_supports("avx") != 0;
    features.avx2_fma = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
    features.avx512 = features.avx2_fma && __builtin_cpu_supports("avx512f") != 0 &&
                      __builtin_cpu_supports("avx512cd") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
                      __builtin_cpu_supports("avx512dq") != 0 && __builtin_cpu_supports("avx512vl") != 0;
#endif
    return features;
}

/* Threads that OpenBLAS started while it was loaded would take a SIGTERM that ours have blocked, and the
 * program would die of it without a goodbye; they cannot be ended, only not be started. */
void trib_blas_start(int argc, char **argv) {
    static const char guard[] = "TRIBUTARY_BLAS_STARTED";
    struct trib_cpu_features features = trib_cpu_features();
    const char *core = trib_blas_choose(&features, openblas_get_corename());
    if (getenv("OPENBLAS_CORETYPE") != NULL) core = NULL;
    bool again = core != NULL || openblas_get_num_threads() > 1;
    if (again && argc > 0 && getenv(guard) == NULL &&
        (core == NULL || setenv("OPENBLAS_CORETYPE", core, 1) == 0) &&
        setenv("OPENBLAS_NUM_THREADS", "1", 1) == 0 && setenv(guard, "1", 1) == 0)
        (void)execv("/proc/self/exe", argv); /* returns only if it failed: then go on with what there is */
    openblas_set_num_threads(1);
}

const char *trib_blas_kernel(void) {
    return openblas_get_corename();
}

bool trib_blas_threadsafe(void) {
    return openblas_get_parallel() != 0;
}
