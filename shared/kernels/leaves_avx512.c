/* BLAKE2b of leaves, eight at once. */
#include "shared/kernels/kernels_sets.h"

#if defined(__x86_64__)

#include <string.h>

#define NAME(function) trib_##function##_avx512
#define LANES          8
#include "shared/kernels/leaves_body.h"

#endif
