/* A file in memory, to write checkpoints into and read them from. */
#ifndef TRIB_TESTS_MEMORY_FILE_H
#define TRIB_TESTS_MEMORY_FILE_H

#include "shared/state/state.h"

struct memory_file {
    struct trib_buf buf; /* trib_buf_init it before, trib_buf_release it after */
    size_t at;           /* where reading goes on */
};

/* Both borrow the file. What is beyond its end is TRIB_CORRUPT. */
struct trib_sink memory_file_sink(struct memory_file *file);
struct trib_feed memory_file_feed(struct memory_file *file);

#endif
