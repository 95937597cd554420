/* Compiled with -mavx2 (mk/learn.mk); used where the processor has it. */
#if defined(__x86_64__)
#define LOOPS      trib_loops_avx2
#define LOOPS_NAME "avx2"
#include "shared/learn/loops_body.h"
#else
extern const int trib_loops_avx2_none; /* an empty file is not C */
#endif
