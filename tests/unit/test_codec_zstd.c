/* The lossless stage: what it saves, that it never costs more than a byte, and what it refuses. */
#include "tests/support/cmocka.h"

#include "shared/base/alloc.h"
#include "shared/base/bytes.h"
#include "shared/base/rng.h"
#include "shared/codec/codec.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { COUNT = 20000 };

static struct trib_codec *codec_of(const char *spec) {
    struct trib_codec *codec = NULL;
    struct trib_error err;
    if (trib_codec_new(spec, &codec, &err) != TRIB_OK) fail_msg("%s: %s", spec, err.text);
    return codec;
}

static struct trib_blob *encoded(const char *spec, const float *x, size_t n) {
    struct trib_codec *codec = codec_of(spec);
    struct trib_source source = trib_source_floats(x, n);
    struct trib_blob *blob = NULL;
    struct trib_error err;
    if (trib_codec_encode(codec, &source, &blob, &err) != TRIB_OK) fail_msg("%s", err.text);
    assert_true(trib_blob_size(blob) <= trib_codec_max_bytes(codec, n));
    trib_codec_free(&codec);
    return blob;
}

static void laplace_values(float *x, size_t n) {
    struct trib_rng rng = trib_rng_seed(8, 0);
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)trib_rng_exponential(&rng);
        if (trib_rng_below(&rng, 2) != 0) x[i] = -x[i];
    }
}

/* Behind it is the encoding that the codec gives without it; pieces and norms are the same. */
static void check_same(const char *spec, size_t n, double most) {
    static float x[COUNT], a[COUNT], b[COUNT], pieces[COUNT];
    char with[TRIB_CODEC_MAX_SPEC];
    (void)snprintf(with, sizeof with, "%s+zstd", spec);
    laplace_values(x, n);
    struct trib_blob *plain_blob = encoded(spec, x, n), *blob = encoded(with, x, n);
    struct trib_codec *codec = codec_of(with), *inner = codec_of(spec);
    size_t bytes = trib_blob_size(blob);
    assert_string_equal(trib_codec_spec(codec), with);
    if ((double)bytes > most * (double)trib_blob_size(plain_blob) + 1.0)
        fail_msg("%s: %zu bytes of %zu", with, bytes, trib_blob_size(plain_blob));
    double squares = 0.0, expected = 0.0;
    assert_int_equal(trib_codec_check(codec, trib_blob_data(blob), bytes, n, &squares, NULL), TRIB_OK);
    assert_int_equal(
        trib_codec_check(inner, trib_blob_data(plain_blob), trib_blob_size(plain_blob), n, &expected, NULL),
        TRIB_OK);
    assert_true(squares == expected);
    struct trib_plain plain;
    assert_int_equal(trib_plain_open(codec, trib_blob_data(blob), bytes, n, &plain, NULL), TRIB_OK);
    assert_int_equal(plain.bytes, trib_blob_size(plain_blob));
    assert_memory_equal(plain.data, trib_blob_data(plain_blob), plain.bytes);
    memset(a, 0, sizeof a);
    memset(b, 0, sizeof b);
    memset(pieces, 0, sizeof pieces);
    assert_int_equal(trib_codec_add(codec, trib_blob_data(blob), bytes, n, 0.5F, a), TRIB_OK);
    assert_int_equal(trib_codec_add(inner, plain.data, plain.bytes, n, 0.5F, b), TRIB_OK);
    assert_memory_equal(a, b, sizeof a);
    struct trib_decoder d;
    trib_decoder_start(&d, codec, plain.data, plain.bytes, n);
    while (d.position < n)
        trib_decoder_add(&d, n - d.position < 999 ? n - d.position : 999, 0.5F, pieces + d.position);
    assert_memory_equal(a, pieces, sizeof a);
    trib_plain_release(&plain);
    trib_codec_free(&codec);
    trib_codec_free(&inner);
    trib_blob_unref(&blob);
    trib_blob_unref(&plain_blob);
}

static void test_same(void **state) {
    (void)state;
    check_same("int4", COUNT, 0.85);
    check_same("int8", COUNT, 0.95);
    check_same("int2", COUNT, 0.5);
    check_same("f32", COUNT, 1.0);
    check_same("rotate+1bit", COUNT, 1.0);
    check_same("topk(0.01)+int4+rice", COUNT, 1.0);
    check_same("int8", 1, 1.0);
    check_same("f32", 0, 1.0);
}

static void refuse(const uint8_t *data, size_t bytes, const char *text) {
    struct trib_codec *codec = codec_of("int4+zstd");
    struct trib_error err = {0};
    struct trib_blob *exact = trib_blob_copy(data, bytes);
    enum trib_status status = trib_codec_check(codec, trib_blob_data(exact), bytes, COUNT, NULL, &err);
    if (status != TRIB_INVALID || strstr(err.text, text) == NULL)
        fail_msg("%s: '%s', expected '%s'", trib_status_name(status), err.text, text);
    trib_blob_unref(&exact);
    trib_codec_free(&codec);
}

/* A gigabyte of zeros is a few kilobytes as a frame: what counts is what this model's encoding may have. */
static void test_bombs(void **state) {
    (void)state;
    static float x[COUNT];
    static uint8_t zeros[40 << 20];
    struct trib_codec *bytes_codec = codec_of("f32+zstd");
    struct trib_source source = trib_source_floats((const float *)(const void *)zeros, sizeof zeros / 4);
    struct trib_blob *bomb = NULL;
    assert_int_equal(trib_codec_encode(bytes_codec, &source, &bomb, NULL), TRIB_OK);
    assert_true(trib_blob_size(bomb) < 10000);
    refuse(trib_blob_data(bomb), trib_blob_size(bomb), "expected at most");
    uint8_t *data = trib_blob_mutable(bomb);
    assert_int_equal(data[0], 1);
    trib_put_u32(data + 1, 10000); /* a head that lies */
    refuse(data, trib_blob_size(bomb), "zstd: ");
    trib_put_u32(data + 1, UINT32_MAX);
    refuse(data, trib_blob_size(bomb), "expected at most");
    trib_blob_unref(&bomb);
    trib_codec_free(&bytes_codec);

    laplace_values(x, COUNT);
    struct trib_blob *good = encoded("int4+zstd", x, COUNT);
    static uint8_t longer[COUNT];
    size_t bytes = trib_blob_size(good);
    memcpy(longer, trib_blob_data(good), bytes);
    for (size_t cut = 1; cut <= bytes; cut += 61) refuse(longer, bytes - cut, "zstd: ");
    refuse(longer, bytes + 1, "zstd: ");
    static const uint8_t skippable[] = {0x50, 0x2A, 0x4D, 0x18,
                                        0,    0,    0,    0}; /* a frame too, without content */
    memcpy(longer + bytes, skippable, sizeof skippable);
    refuse(longer, bytes + sizeof skippable, "one whole frame");
    trib_put_u32(longer + 1, trib_get_u32(longer + 1) - 1);
    refuse(longer, bytes, "zstd: ");
    longer[0] = 0; /* stored, and no encoding of int4 */
    refuse(longer, bytes, "expected");
    longer[0] = 2;
    refuse(longer, bytes, "begin with 2");
    trib_blob_unref(&good);
}

/* Without memory nothing is added. */
static void test_no_memory(void **state) {
    (void)state;
    static float x[COUNT], y[COUNT];
    static const float untouched[COUNT];
    struct trib_codec *codec = codec_of("int4+zstd");
    laplace_values(x, COUNT);
    struct trib_blob *blob = encoded("int4+zstd", x, COUNT);
    trib_alloc_fail_after(0);
    enum trib_status added =
        trib_codec_add(codec, trib_blob_data(blob), trib_blob_size(blob), COUNT, 1.0F, y);
    enum trib_status checked =
        trib_codec_check(codec, trib_blob_data(blob), trib_blob_size(blob), COUNT, NULL, NULL);
    trib_alloc_fail_after(-1);
    assert_int_equal(added, TRIB_NOMEM);
    assert_int_equal(checked, TRIB_NOMEM);
    assert_memory_equal(y, untouched, sizeof y);
    trib_blob_unref(&blob);
    trib_codec_free(&codec);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same), cmocka_unit_test(test_bombs),
                                       cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests_name("codec_zstd", tests, NULL, NULL);
}
