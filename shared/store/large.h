/* Payloads that are too large for memory: they come into a file of the store's, piece by piece, are read from
 * a mapping of it, and when their record is written the file becomes a segment as it is. So they are written
 * once, while they arrive, and memory has no more of them than the kernel finds useful to cache.
 *
 *     DIR/segments/%016x.large  a segment of one frame without its headers yet; deleted with its blob, or at
 *                               the next opening */
#ifndef TRIB_STORE_LARGE_H
#define TRIB_STORE_LARGE_H

#include "shared/base/blob.h"

/* A blob of `bytes` bytes in the folder of the store whose SQLite file is `store_path`, to be filled with
 * trib_blob_write. Its room on the disk is taken at once. NULL: there is none, or no memory. Any thread. */
struct trib_blob *trib_large_new(const char *store_path, size_t bytes);

#endif
