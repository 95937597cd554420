/* A file that is there whole or not at all: written beside its place, synced, renamed, the folder synced.
 * Private to this folder. */
#ifndef TRIB_MODEL_OUTFILE_H
#define TRIB_MODEL_OUTFILE_H

#include "shared/base/error.h"

#include <stddef.h>
#include <stdint.h>

struct trib_outfile {
    char *path, *part; /* owned; `part` is PATH.tmp */
    int fd;
    uint64_t bytes; /* written so far */
};

/* On failure nothing is held. */
enum trib_status trib_outfile_open(struct trib_outfile *file, const char *path,
                                   struct trib_error *err) TRIB_MUST_USE;
enum trib_status trib_outfile_write(struct trib_outfile *file, const void *data, size_t bytes,
                                    struct trib_error *err) TRIB_MUST_USE;
/* Ends the writing. With `status` TRIB_OK the file takes its place; otherwise, or where that fails, PATH.tmp
 * is removed and PATH is what it was. Returns `status`, or what failed here. */
enum trib_status trib_outfile_close(struct trib_outfile *file, enum trib_status status,
                                    struct trib_error *err) TRIB_MUST_USE;

#endif
