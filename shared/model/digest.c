#include "shared/model/digest.h"

#include "shared/base/bytes.h" /* refuses to compile where floats are not little-endian in memory */
#include "shared/base/error.h"
#include "shared/base/number.h"
#include "shared/kernels/kernels.h"

#include <sodium.h>
#include <string.h>

enum {
    LEAF_BYTES = TRIB_DIGEST_LEAF * sizeof(float),
    TOGETHER = 8, /* leaves in a part: as many as the widest kernel takes */
    STRETCH = 64  /* leaves whose digests are held at a time */
};

void trib_digest_bytes(const void *data, size_t bytes, uint8_t out[TRIB_DIGEST_BYTES]) {
    TRIB_ASSERT(crypto_generichash(out, TRIB_DIGEST_BYTES, data, bytes, NULL, 0) == 0);
}

/* A run of leaves, of which only the vector's last one may be short. */
struct leaves {
    const uint8_t *data;
    size_t bytes, count;
    uint8_t digests[STRETCH * TRIB_DIGEST_BYTES];
};

static void digest_part(void *arg, size_t part, size_t worker) {
    struct leaves *leaves = arg;
    (void)worker;
    size_t i = part * TOGETHER, end = leaves->count - i < TOGETHER ? leaves->count : i + TOGETHER;
    size_t whole = leaves->bytes / LEAF_BYTES < end ? leaves->bytes / LEAF_BYTES : end;
    i += trib_kernels()->leaves(leaves->digests + i * TRIB_DIGEST_BYTES, leaves->data + i * LEAF_BYTES,
                                LEAF_BYTES, whole - i);
    for (; i < end; i++) {
        size_t left = leaves->bytes - i * LEAF_BYTES;
        trib_digest_bytes(leaves->data + i * LEAF_BYTES, left < LEAF_BYTES ? left : LEAF_BYTES,
                          leaves->digests + i * TRIB_DIGEST_BYTES);
    }
}

static void digest_leaves(const uint8_t *data, size_t bytes, struct trib_shards *shards,
                          uint8_t out[TRIB_DIGEST_BYTES]) {
    const size_t most = (size_t)STRETCH * LEAF_BYTES;
    crypto_generichash_state state;
    uint8_t count[sizeof(uint64_t)];
    trib_put_u64(count, bytes / sizeof(float));
    TRIB_ASSERT(crypto_generichash_init(&state, NULL, 0, TRIB_DIGEST_BYTES) == 0);
    TRIB_ASSERT(crypto_generichash_update(&state, count, sizeof count) == 0);
    for (size_t at = 0; at < bytes; at += most) {
        struct leaves leaves = {.data = data + at, .bytes = bytes - at < most ? bytes - at : most};
        leaves.count = (leaves.bytes + LEAF_BYTES - 1) / LEAF_BYTES;
        trib_shards_run(shards, (leaves.count + TOGETHER - 1) / TOGETHER, digest_part, &leaves);
        TRIB_ASSERT(crypto_generichash_update(&state, leaves.digests, leaves.count * TRIB_DIGEST_BYTES) == 0);
    }
    TRIB_ASSERT(crypto_generichash_final(&state, out, TRIB_DIGEST_BYTES) == 0);
}

void trib_digest_floats(const float *values, size_t count, struct trib_shards *shards,
                        uint8_t out[TRIB_DIGEST_BYTES]) {
    if (count <= TRIB_DIGEST_WHOLE)
        trib_digest_bytes(values, count * sizeof *values, out);
    else
        digest_leaves((const uint8_t *)values, count * sizeof *values, shards, out);
}

bool trib_digest_matches(const float *values, size_t count, struct trib_shards *shards,
                         const uint8_t digest[TRIB_DIGEST_BYTES]) {
    uint8_t own[TRIB_DIGEST_BYTES];
    trib_digest_floats(values, count, shards, own);
    if (memcmp(own, digest, sizeof own) == 0) return true;
    if (count <= TRIB_DIGEST_WHOLE) return false;
    trib_digest_bytes(values, count * sizeof *values, own);
    return memcmp(own, digest, sizeof own) == 0;
}

void trib_digest_chain(const uint8_t previous[TRIB_DIGEST_BYTES], const void *data, size_t bytes,
                       uint8_t out[TRIB_DIGEST_BYTES]) {
    crypto_generichash_state state;
    TRIB_ASSERT(crypto_generichash_init(&state, NULL, 0, TRIB_DIGEST_BYTES) == 0);
    TRIB_ASSERT(crypto_generichash_update(&state, previous, TRIB_DIGEST_BYTES) == 0);
    TRIB_ASSERT(crypto_generichash_update(&state, data, bytes) == 0);
    TRIB_ASSERT(crypto_generichash_final(&state, out, TRIB_DIGEST_BYTES) == 0);
}

void trib_digest_chain_start(const uint8_t fingerprint[TRIB_DIGEST_BYTES],
                             const uint8_t full[TRIB_DIGEST_BYTES], uint8_t out[TRIB_DIGEST_BYTES]) {
    trib_digest_chain(fingerprint, full, TRIB_DIGEST_BYTES, out);
}

const char *trib_digest_hex(const uint8_t digest[TRIB_DIGEST_BYTES], char out[2 * TRIB_DIGEST_BYTES + 1]) {
    return trib_hex(digest, TRIB_DIGEST_BYTES, out);
}
