/* Digests. The expected values are Python's:
 *     import hashlib, struct
 *     b = lambda data: hashlib.blake2b(data, digest_size=32).digest()
 *     b(b""), b(b"abc"), b(struct.pack("<3f", 1, -2.5, 0))
 *     v = struct.pack("<4194305f", *(float(i % 1000003) for i in range(4194305)))
 *     b(struct.pack("<Q", 4194305) + b"".join(b(v[i:i + 2**20]) for i in range(0, len(v), 2**20)))
 *     import numpy, tributary_wire
 *     v = (numpy.arange(5000000) % 1000003).astype("<f4"); tributary_wire.full_digest(v), b(v.tobytes())
 *     c0 = b(bytes(range(32)) + bytes(range(32, 64))); c1 = b(c0 + b"increment one"); c2 = b(c1) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shared/base/alloc.h"
#include "shared/kernels/kernels.h"
#include "shared/model/digest.h"

#include <string.h>

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
    trib_digest_floats((const float[]){1.0f, -2.5f, 0.0f}, 3, NULL, digest);
    assert_hex(digest, "fb9441b4bda7e2f063efb90168300e29303c9d35cc796cf3056e2ab786388e70");
    trib_digest_floats((const float[]){1.0f, -2.5f, -0.0f}, 3, NULL, negative_zero);
    assert_memory_not_equal(digest, negative_zero, TRIB_DIGEST_BYTES);
}

/* Values that differ from leaf to leaf. */
static float *large(size_t count) {
    float *values = trib_alloc_floats(count);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++) values[i] = (float)(i % 1000003);
    return values;
}

/* Alone and with threads. */
static void check_large(size_t count, const char *expected) {
    struct trib_shards *shards = NULL;
    struct trib_error err;
    uint8_t alone[TRIB_DIGEST_BYTES], together[TRIB_DIGEST_BYTES];
    assert_int_equal(trib_shards_new(3, &shards, &err), TRIB_OK);
    float *values = large(count);
    trib_digest_floats(values, count, NULL, alone);
    trib_digest_floats(values, count, shards, together);
    assert_hex(alone, expected);
    assert_memory_equal(alone, together, sizeof alone);
    trib_free(values);
    trib_shards_free(&shards);
}

/* The last leaf has one float, or lacks a few; the second has more leaves than are held at a time. */
static void test_leaves(void **state) {
    (void)state;
    check_large(TRIB_DIGEST_WHOLE + 1, "d84b9011089bdef381bfb0c8cd60497fed15004adecaed907d0c4d751097b95c");
    check_large((size_t)66 * TRIB_DIGEST_LEAF - 7,
                "3c71982f4e1dd3afd6d47d5c2ba960eee389acd3ebc05a79a96b8623afa9aa4d");
}

/* What was recorded before there were leaves is known too, and nothing else. */
static void test_older(void **state) {
    (void)state;
    uint8_t bytes[TRIB_DIGEST_BYTES], now[TRIB_DIGEST_BYTES];
    float *values = large(TRIB_DIGEST_WHOLE + 1);
    for (size_t count = TRIB_DIGEST_WHOLE; count <= TRIB_DIGEST_WHOLE + 1; count++) {
        trib_digest_bytes(values, count * sizeof *values, bytes);
        trib_digest_floats(values, count, NULL, now);
        assert_int_equal(memcmp(bytes, now, sizeof now) == 0, count == TRIB_DIGEST_WHOLE);
        assert_true(trib_digest_matches(values, count, NULL, bytes));
        assert_true(trib_digest_matches(values, count, NULL, now));
        values[7]++;
        assert_false(trib_digest_matches(values, count, NULL, bytes));
        assert_false(trib_digest_matches(values, count, NULL, now));
    }
    trib_free(values);
}

/* Every kernel set: several messages at once are each what one is alone. */
static void test_together(void **state) {
    (void)state;
    static const size_t sizes[] = {128, 256, 1152};
    enum { MOST = 19, ROOM = MOST * 1152 + 2 };
    uint8_t data[ROOM], out[MOST * TRIB_DIGEST_BYTES], alone[TRIB_DIGEST_BYTES];
    for (size_t i = 0; i < ROOM; i++) data[i] = (uint8_t)(i * i >> 5 ^ i);
    for (size_t set = 0; trib_kernels_list()[set] != NULL; set++) {
        const struct trib_kernels *k = trib_kernels_find(trib_kernels_list()[set]->name);
        for (size_t n = 0; k != NULL && n < 3 * (MOST + 1); n++) {
            size_t bytes = sizes[n % 3], done = k->leaves(out, data + n % 3, bytes, n / 3);
            assert_true(done <= n / 3 && (strncmp(k->name, "avx", 3) != 0 || n / 3 - done < 8));
            for (size_t i = 0; i < done; i++) {
                trib_digest_bytes(data + n % 3 + i * bytes, bytes, alone);
                assert_memory_equal(out + i * TRIB_DIGEST_BYTES, alone, sizeof alone);
            }
        }
    }
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
        cmocka_unit_test(test_bytes), cmocka_unit_test(test_floats),   cmocka_unit_test(test_leaves),
        cmocka_unit_test(test_older), cmocka_unit_test(test_together), cmocka_unit_test(test_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
