/* Starting OpenBLAS on the right kernels. OpenBLAS picks its kernel set when it is loaded, before main; a
 * release older than the processor may take one that is several times slower (0.3.21 takes some new ones for
 * a Prescott). Only its environment, read at load time, can change that. */
#ifndef TRIB_LEARN_BLAS_H
#define TRIB_LEARN_BLAS_H

#include <stdbool.h>

/* The first line of main in every program that links OpenBLAS. If the kernel set is below the processor and
 * the user has set no OPENBLAS_CORETYPE, or OpenBLAS has started threads of its own, sets OPENBLAS_CORETYPE
 * (in the first case) and OPENBLAS_NUM_THREADS=1 and executes the program again: once, guarded by
 * TRIBUTARY_BLAS_STARTED in the environment. In every case BLAS then uses one thread: the threads are ours.
 * Returns with the BLAS as it is if nothing better can be had. */
void trib_blas_start(int argc, char **argv);

/* The kernel set in use, as OpenBLAS names it ("SkylakeX", "Haswell", "NEOVERSEN1"). */
const char *trib_blas_kernel(void);

/* May several threads call BLAS at once? The serial build of OpenBLAS gives wrong numbers then: where this is
 * false, train on one worker. */
bool trib_blas_threadsafe(void);

/* What the processor and the system can run. All false on other architectures than x86-64. */
struct trib_cpu_features {
    bool avx;
    bool avx2_fma;
    bool avx512; /* F, CD, BW, DQ and VL, what a SkylakeX has */
};
struct trib_cpu_features trib_cpu_features(void);

/* The decision, a pure function: the OPENBLAS_CORETYPE to ask for, or NULL to leave `core` as it is. A core
 * name that is not known is left alone: it is newer than this list. */
const char *trib_blas_choose(const struct trib_cpu_features *features, const char *core);

#endif
