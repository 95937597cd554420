/* The lossless last stage (lossless.c). */
#ifndef TRIB_CODEC_LOSSLESS_H
#define TRIB_CODEC_LOSSLESS_H

#include "shared/codec/codec_row.h"

struct trib_zstd_config {
    uint64_t level;
};
enum { TRIB_ZSTD_PARAMS = 1 };
extern const struct trib_option trib_zstd_params[TRIB_ZSTD_PARAMS];

size_t trib_lossless_max_bytes(size_t plain);
/* Puts what it makes of a blob in its place; on failure the blob stays. */
enum trib_status trib_lossless_encode(const struct trib_stage *stage, struct trib_blob **blob,
                                      struct trib_error *err);
/* Nothing is allocated for a frame of more than `most` bytes. */
enum trib_status trib_lossless_open(const uint8_t *data, size_t bytes, size_t most, struct trib_plain *out,
                                    struct trib_error *err);

#endif
