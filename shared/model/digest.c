#include "shared/model/digest.h"

#include "shared/base/bytes.h" /* refuses to compile where floats are not little-endian in memory */
#include "shared/base/error.h"

#include <sodium.h>

void trib_digest_bytes(const void *data, size_t bytes, uint8_t out[TRIB_DIGEST_BYTES]) {
    TRIB_ASSERT(crypto_generichash(out, TRIB_DIGEST_BYTES, data, bytes, NULL, 0) == 0);
}

void trib_digest_floats(const float *values, size_t count, uint8_t out[TRIB_DIGEST_BYTES]) {
    trib_digest_bytes(values, count * sizeof *values, out);
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
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < TRIB_DIGEST_BYTES; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    out[2 * TRIB_DIGEST_BYTES] = 0;
    return out;
}
