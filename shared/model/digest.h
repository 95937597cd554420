/* Digests: BLAKE2b-256 of models, and the chain over published increments. */
#ifndef TRIB_MODEL_DIGEST_H
#define TRIB_MODEL_DIGEST_H

#include "shared/kernels/shards.h"
#include "shared/model/schema.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TRIB_DIGEST_WHOLE = 4194304, /* parameters: a larger vector's digest is made of its leaves' */
    TRIB_DIGEST_LEAF = 262144    /* 1 MiB */
};

/* BLAKE2b-256 of the bytes. */
void trib_digest_bytes(const void *data, size_t bytes, uint8_t out[TRIB_DIGEST_BYTES]);
/* Full digest of a vector. Up to TRIB_DIGEST_WHOLE floats: of them as little-endian bytes. More: of `count`
 * (u64, little-endian) and the digests of its leaves, TRIB_DIGEST_LEAF floats each, the last one shorter. So
 * several leaves can be worked at at a time; `shards` may be NULL and does not change the digest. */
void trib_digest_floats(const float *values, size_t count, struct trib_shards *shards,
                        uint8_t out[TRIB_DIGEST_BYTES]);
/* Is this the vector's full digest, or that of its bytes alone, which it was in version 0.1.0 whatever the
 * size? For what was recorded. */
bool trib_digest_matches(const float *values, size_t count, struct trib_shards *shards,
                         const uint8_t digest[TRIB_DIGEST_BYTES]);
/* The chain: next = BLAKE2b-256(previous || bytes). `previous` and `out` may be the same. */
void trib_digest_chain(const uint8_t previous[TRIB_DIGEST_BYTES], const void *data, size_t bytes,
                       uint8_t out[TRIB_DIGEST_BYTES]);
/* Start of a chain: BLAKE2b-256(fingerprint || full digest of the first vector). */
void trib_digest_chain_start(const uint8_t fingerprint[TRIB_DIGEST_BYTES],
                             const uint8_t full[TRIB_DIGEST_BYTES], uint8_t out[TRIB_DIGEST_BYTES]);
/* Lower-case hex, 64 characters and a 0. */
const char *trib_digest_hex(const uint8_t digest[TRIB_DIGEST_BYTES], char out[2 * TRIB_DIGEST_BYTES + 1]);

#endif
