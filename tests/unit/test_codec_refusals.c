/* What codecs refuse: malformed payloads, values that are not finite, specs; and the canonical form of specs.
 */
#include "shared/codec/codec.h"

#include "shared/base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <string.h>

static const char *const specs[] = {"f32",           "f16",           "int8", "topk(0.05)+int8",
                                    "topk(0.3)+f32", "topk(0.01)+f16"};
enum { SPECS = sizeof specs / sizeof specs[0] };

static struct trib_codec *codec_of(const char *spec) {
    struct trib_codec *codec = NULL;
    struct trib_error err;
    if (trib_codec_new(spec, &codec, &err) != TRIB_OK) fail_msg("%s: %s", spec, err.text);
    return codec;
}

static void refuse(const char *spec, const uint8_t *data, size_t bytes, size_t count, enum trib_status status,
                   const char *text) {
    struct trib_codec *codec = codec_of(spec);
    struct trib_error err = {0};
    enum trib_status found = trib_codec_check(codec, data, bytes, count, NULL, &err);
    if (found != status || err.status != status || strstr(err.text, text) == NULL)
        fail_msg("%s: %s: %s (expected %s: %s)", spec, trib_status_name(found), err.text,
                 trib_status_name(status), text);
    trib_codec_free(&codec);
}

static void test_refused_int8(void **state) {
    (void)state;
    uint8_t data[6] = {0, 0, 0x80, 0x3F, 5, 0xFB};
    refuse("int8", data, 5, 2, TRIB_INVALID, "found 5 bytes, expected 6");
    refuse("int8", data, 6, 3, TRIB_INVALID, "expected 7");
    data[5] = 0x80;
    refuse("int8", data, 6, 2, TRIB_INVALID, "value 1 is -128");
    data[5] = 3;
    trib_put_f32(data, -1.0F);
    refuse("int8", data, 6, 2, TRIB_INVALID, "scale of block 0");
    trib_put_f32(data, -0.0F);
    refuse("int8", data, 6, 2, TRIB_INVALID, "scale of block 0");
    trib_put_f32(data, nextafterf(FLT_MIN, 0.0F));
    refuse("int8", data, 6, 2, TRIB_INVALID, "scale of block 0");
    trib_put_f32(data, 0.0F);
    refuse("int8", data, 6, 2, TRIB_INVALID, "scale 0");
    const float bad[] = {NAN, INFINITY, -INFINITY, FLT_MAX, FLT_MAX / 100.0F};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        trib_put_f32(data, bad[i]);
        refuse("int8", data, 6, 2, TRIB_LIMIT, "NaN or infinity");
    }
}

static void test_refused_topk(void **state) {
    (void)state;
    static const uint8_t good[] = {2, 0, 0, 0, 1, 2, 0, 0, 0x40, 0xC0, 0, 0, 0x40, 0x40};
    const char *spec = "topk(0.4)+f32";
    uint8_t data[20];
    refuse(spec, good, 3, 5, TRIB_INVALID, "found 3 bytes, expected 4 at least");
    refuse(spec, good, sizeof good, 6, TRIB_INVALID, "keeps 2 values, expected 3 of 6");
    refuse(spec, good, 9, 5, TRIB_INVALID, "for the values alone");
    refuse(spec, good, sizeof good - 1, 5, TRIB_INVALID, "cut short");
    memcpy(data, good, sizeof good);
    data[5] = 0;
    refuse(spec, data, sizeof good, 5, TRIB_INVALID, "position 1 stands twice");
    data[5] = 4;
    refuse(spec, data, sizeof good, 5, TRIB_INVALID, "position 5");
    memcpy(data, good, sizeof good);
    data[13] = 0x7F;
    data[12] = 0x80;
    refuse(spec, data, sizeof good, 5, TRIB_LIMIT, "NaN or infinity");
    data[14] = 0;
    refuse(spec, data, 15, 5, TRIB_INVALID, "found 9 bytes behind the positions, expected 8");
    static const uint8_t long_gap[] = {2, 0, 0, 0, 0x81, 0, 2, 0, 0, 0x40, 0xC0, 0, 0, 0x40, 0x40};
    refuse(spec, long_gap, sizeof long_gap, 5, TRIB_INVALID, "shortest LEB128");
    static const uint8_t huge[] = {2, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0x1F, 1, 0, 0, 0, 0, 0, 0, 0, 0};
    refuse(spec, huge, sizeof huge, 5, TRIB_INVALID, "below 2^32");
    static const uint8_t endless[] = {2, 0, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0};
    refuse(spec, endless, sizeof endless, 5, TRIB_INVALID, "below 2^32");
}

static void test_refused_values(void **state) {
    (void)state;
    float x[1000] = {0};
    struct trib_source source = trib_source_floats(x, 1000);
    for (size_t s = 0; s < SPECS; s++) {
        struct trib_codec *codec = codec_of(specs[s]);
        for (size_t i = 0; i < 1000; i += 37) {
            struct trib_blob *blob = NULL;
            struct trib_error err = {0};
            x[i] = i % 2 != 0 ? NAN : -INFINITY;
            assert_int_equal(trib_codec_encode(codec, &source, &blob, &err), TRIB_LIMIT);
            assert_non_null(strstr(err.text, "NaN or infinity"));
            assert_null(blob);
            x[i] = 0.0F;
        }
        trib_codec_free(&codec);
    }
    static const uint8_t half[] = {0x00, 0x7C};
    refuse("f16", half, 2, 1, TRIB_LIMIT, "NaN or infinity");
    static const uint8_t nan32[] = {0, 0, 0xC0, 0xFF};
    refuse("f32", nan32, 4, 1, TRIB_LIMIT, "NaN or infinity");
}

static void refuse_spec(const char *spec, const char *text) {
    struct trib_error err = {0};
    if (trib_codec_check_spec(spec, &err) != TRIB_INVALID || strstr(err.text, text) == NULL)
        fail_msg("'%s' gives '%s', expected '%s'", spec, err.text, text);
}

static void test_specs(void **state) {
    (void)state;
    static const char *const canonical[][2] = {
        {" int8 ", "int8"},
        {"topk+f16", "topk(0.05)+f16"},
        {"topk( fraction = 0.10 ) + int8", "topk(0.1)+int8"},
        {"topk(1)+f32", "topk(1)+f32"},
        {"topk(0.01)+rotate+1bit+leb", "topk(0.01)+rotate+1bit+leb"},
        {"int4(zero=true, block=256)", "int4(zero=true)"},
        {"int2( 64, round = stochastic )", "int2(block=64, round=stochastic)"}};
    for (size_t i = 0; i < sizeof canonical / sizeof canonical[0]; i++) {
        struct trib_codec *codec = codec_of(canonical[i][0]);
        assert_string_equal(trib_codec_spec(codec), canonical[i][1]);
        trib_codec_free(&codec);
        assert_null(codec);
    }
    refuse_spec("", "");
    refuse_spec("int9", "did you mean int8?");
    refuse_spec("zebra", "there are f32, f16, bf16, int8, int4");
    refuse_spec("topk(0.05)", "as in topk(0.05)+int8");
    refuse_spec("topk(0.05)+topk(0.1)+int8", "");
    refuse_spec("topk(0.05)+topk", "topk (character 12) cannot follow topk");
    refuse_spec("int8+f32", "f32 (character 6) cannot follow int8");
    refuse_spec("rotate", "as in rotate");
    refuse_spec("int8+leb", "a codec that sends positions");
    refuse_spec("int4(block=100)", "power of two");
    refuse_spec("int4(round=up)", "stochastic");
    refuse_spec("rotate(block=8)+1bit", "block");
    struct trib_error err = {0};
    assert_int_equal(trib_codec_check_spec("rotate(block=24)+1bit", &err), TRIB_INVALID);
    assert_string_equal(err.text, "rotate: a block of 24, expected a power of two"); /* and no 0 */
    assert_int_equal(trib_codec_check_spec("ternary(block=24)", &err), TRIB_INVALID);
    assert_string_equal(err.text, "ternary: a block of 24, expected a power of two");
    refuse_spec("f32(3)", "too many arguments");
    refuse_spec("topk(0)+int8", "fraction");
    refuse_spec("topk(1.5)+int8", "fraction");
    refuse_spec("topk(0.05+int8", "");
    refuse_spec("topk(0.05)+", "");
    refuse_spec("topk(0.05)+int8+", "");
    char long_spec[200] = "topk(0.05";
    memset(long_spec + strlen(long_spec), '0', 115);
    memcpy(long_spec + strlen(long_spec), "1)+int8", 8);
    refuse_spec(long_spec, "at most 127");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_int8),
        cmocka_unit_test(test_refused_topk),
        cmocka_unit_test(test_refused_values),
        cmocka_unit_test(test_specs),
    };
    return cmocka_run_group_tests_name("codec_refusals", tests, NULL, NULL);
}
