/* IDX files, MNIST's format, plain or packed with gzip: 0, 0, type (8: bytes), rank, then the dimensions as
 * big-endian 32-bit numbers, then the data. Private to shared/learn, and the only user of zlib. */
#ifndef TRIB_LEARN_IDX_H
#define TRIB_LEARN_IDX_H

#include "shared/base/error.h"

#include <stddef.h>
#include <stdint.h>

enum { TRIB_IDX_MAX_RANK = 3 };

/* Reads a file of bytes with `rank` dimensions: into dims, and into *data (trib_free). The first may be up to
 * max_count, the product of the others must be `item_bytes`. Everything is checked before it is allocated,
 * and a file that goes on behind the data is refused. */
enum trib_status trib_idx_read(const char *path, size_t rank, size_t max_count, size_t item_bytes,
                               size_t dims[TRIB_IDX_MAX_RANK], uint8_t **data,
                               struct trib_error *err) TRIB_MUST_USE;

#endif
