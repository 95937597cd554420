/* BLAKE2b of leaves, four at once. */
#include "shared/kernels/kernels_sets.h"

#if defined(__x86_64__)

#include <string.h>

#define NAME(function) trib_##function##_avx2
#define LANES          4
#include "shared/kernels/leaves_body.h"

#endif
