/* What the preloaded library (count_io.c) counts, shared with the benchmark through the file that COUNT_IO
 * names. */
#ifndef TRIB_TESTS_BENCH_PRELOAD_COUNT_IO_H
#define TRIB_TESTS_BENCH_PRELOAD_COUNT_IO_H

#include <stdatomic.h>

struct count_io {
    atomic_uint_fast64_t syncs;  /* fsync, fdatasync */
    atomic_uint_fast64_t blocks; /* of 4 KiB; one that is written to again before a sync counts once */
};

#endif
