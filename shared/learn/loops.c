#include "shared/learn/loops.h"

const struct trib_loops *trib_loops(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2")) return &trib_loops_avx2;
#endif
    return &trib_loops_base;
}
