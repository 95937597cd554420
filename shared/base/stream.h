/* Where a checkpoint goes and comes from: a pair of callbacks, so that what is saved need not know of files.
 */
#ifndef TRIB_BASE_STREAM_H
#define TRIB_BASE_STREAM_H

#include "shared/base/error.h"

#include <stddef.h>

struct trib_sink {
    enum trib_status (*write)(void *ctx, const void *data, size_t bytes, struct trib_error *err);
    void *ctx;
};
/* Fills all of `bytes` or fails: TRIB_CORRUPT if there is less. */
struct trib_feed {
    enum trib_status (*read)(void *ctx, void *data, size_t bytes, struct trib_error *err);
    void *ctx;
};

#endif
