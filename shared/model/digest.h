/* Digests: BLAKE2b-256 (libsodium) of models, and the chain over published increments. */
#ifndef TRIB_MODEL_DIGEST_H
#define TRIB_MODEL_DIGEST_H

#include "shared/model/schema.h"

#include <stddef.h>
#include <stdint.h>

/* BLAKE2b-256 of the bytes. */
void trib_digest_bytes(const void *data, size_t bytes, uint8_t out[TRIB_DIGEST_BYTES]);
/* Full digest of a vector: of its floats as little-endian bytes. */
void trib_digest_floats(const float *values, size_t count, uint8_t out[TRIB_DIGEST_BYTES]);
/* The chain: next = BLAKE2b-256(previous || bytes). `previous` and `out` may be the same. */
void trib_digest_chain(const uint8_t previous[TRIB_DIGEST_BYTES], const void *data, size_t bytes,
                       uint8_t out[TRIB_DIGEST_BYTES]);
/* Start of a chain: BLAKE2b-256(fingerprint || full digest of the first vector). */
void trib_digest_chain_start(const uint8_t fingerprint[TRIB_DIGEST_BYTES],
                             const uint8_t full[TRIB_DIGEST_BYTES], uint8_t out[TRIB_DIGEST_BYTES]);
/* Lower-case hex, 64 characters and a 0. */
const char *trib_digest_hex(const uint8_t digest[TRIB_DIGEST_BYTES], char out[2 * TRIB_DIGEST_BYTES + 1]);

#endif
