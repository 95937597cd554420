/* Digests. The expected values are Python's:
 *     import hashlib, struct
 *     b = lambda data: hashlib.blake2b(data, digest_size=32).digest()
 *     b(b""), b(b"abc"), b(struct.pack("<3f", 1, -2.5, 0))
 *     c0 = b(bytes(range(32)) + bytes(range(32, 64))); c1 = b(c0 + b"increment one"); c2 = b(c1) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shared/model/digest.h"

static void assert_hex(const uint8_t digest[TRIB_DIGEST_BYTES], const char *expected) {
    char hex[2 * TRIB_DIGEST_BYTES + 1];
    assert_string_equal(trib_digest_hex(digest, hex), expected);
}

static void test_bytes(void **state) {
    (void)state;
    uint8_t digest[TRIB_DIGEST_BYTES];
    trib_digest_bytes("", 0, digest);
    assert_hex(digest, "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
    trib_digest_bytes("abc", 3, digest);
    assert_hex(digest, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
}

static void test_floats(void **state) {
    (void)state;
    uint8_t digest[TRIB_DIGEST_BYTES], negative_zero[TRIB_DIGEST_BYTES];
    trib_digest_floats((const float[]){1.0f, -2.5f, 0.0f}, 3, digest);
    assert_hex(digest, "fb9441b4bda7e2f063efb90168300e29303c9d35cc796cf3056e2ab786388e70");
    trib_digest_floats((const float[]){1.0f, -2.5f, -0.0f}, 3, negative_zero);
    assert_memory_not_equal(digest, negative_zero, TRIB_DIGEST_BYTES);
}

static void test_chain(void **state) {
    (void)state;
    uint8_t fingerprint[TRIB_DIGEST_BYTES], full[TRIB_DIGEST_BYTES], chain[TRIB_DIGEST_BYTES];
    for (size_t i = 0; i < TRIB_DIGEST_BYTES; i++) {
        fingerprint[i] = (uint8_t)i;
        full[i] = (uint8_t)(TRIB_DIGEST_BYTES + i);
    }
    trib_digest_chain_start(fingerprint, full, chain);
    assert_hex(chain, "10d8e6d534b00939843fe9dcc4dae48cdf008f6b8b2b82b156f5404d874887f5");
    trib_digest_chain(chain, "increment one", 13, chain); /* in place */
    assert_hex(chain, "bbe4677ec24b420b821da007cadd4aecf051a2f4d153dfbc1ad23254339d17dc");
    trib_digest_chain(chain, NULL, 0, chain); /* an empty increment moves the chain too */
    assert_hex(chain, "11f751b51275687028df308e8aa0f001876bb7135eb8ab5bc29813dce4d74b79");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_floats),
        cmocka_unit_test(test_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
