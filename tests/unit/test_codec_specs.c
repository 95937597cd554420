/* The codecs of several encodings in one text, written and read. */
#include "tests/support/cmocka.h"

#include "shared/base/alloc.h"
#include "shared/codec/specs.h"

#include <string.h>

static const struct trib_schema schema = {.parameters = 1000};

static void test_written(void **state) {
    (void)state;
    static const struct {
        const char *specs[6], *text;
    } cases[] = {
        {{"int8"}, "int8"},
        {{"int8", "int8", "int8"}, "int8;;"},
        {{"rotate+1bit", "rotate+1bit", "int8", "int8", "rotate+1bit"}, "rotate+1bit;;int8;;rotate+1bit"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trib_specs_text text = {.size = 0};
        for (size_t k = 0; cases[i].specs[k] != NULL; k++)
            assert_true(trib_specs_add(&text, cases[i].specs[k]));
        assert_int_equal(text.size, strlen(cases[i].text));
        assert_memory_equal(text.data, cases[i].text, text.size);
    }
    struct trib_specs_text full = {.size = 0};
    size_t taken = 0;
    while (trib_specs_add(&full, taken % 2 == 0 ? "rotate+1bit" : "rotate+2bit")) taken++;
    assert_int_equal(taken, (TRIB_SPECS_MAX + 1) / 12);
    assert_int_equal(full.size, taken * 12 - 1);
}

/* The codecs of five, and whether the text ends there. */
static void expect(const char *text, const char *const specs[5], bool end) {
    struct trib_specs read;
    struct trib_codec *fallback = NULL;
    const struct trib_codec *codec;
    assert_int_equal(trib_codec_new_for("f16", &schema, &fallback, NULL), TRIB_OK);
    trib_specs_start(&read, text, strlen(text), fallback, &schema);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(trib_specs_next(&read, &codec, NULL), TRIB_OK);
        assert_string_equal(trib_codec_spec(codec), specs[i]);
    }
    assert_int_equal(trib_specs_end(&read), end);
    trib_codec_free(&fallback);
}

static void test_read(void **state) {
    (void)state;
    expect("", (const char *[]){"f16", "f16", "f16", "f16", "f16"}, true);
    expect("int8", (const char *[]){"int8", "int8", "int8", "int8", "int8"}, true);
    expect("int8;;f32", (const char *[]){"int8", "int8", "f32", "f32", "f32"}, true);
    expect(";int8;;;f32", (const char *[]){"f16", "int8", "int8", "int8", "f32"}, true);
    expect("int8;;;;;f32", (const char *[]){"int8", "int8", "int8", "int8", "int8"}, false);
    struct trib_specs_text text = {.size = 0};
    for (size_t i = 0; i < 4; i++)
        assert_true(trib_specs_add(&text, i == 2 ? "int4+zstd" : "topk(0.1)+int8"));
    text.data[text.size] = 0;
    expect(
        text.data,
        (const char *[]){"topk(0.1)+int8", "topk(0.1)+int8", "int4+zstd", "topk(0.1)+int8", "topk(0.1)+int8"},
        true);
}

static void test_refused(void **state) {
    (void)state;
    char long_one[TRIB_CODEC_MAX_SPEC + 2];
    memset(long_one, 'x', sizeof long_one - 1);
    long_one[sizeof long_one - 1] = 0;
    const char *const wrong[] = {"int9", "int8 int8", "auto", long_one};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct trib_specs read;
        const struct trib_codec *codec;
        trib_specs_start(&read, wrong[i], strlen(wrong[i]), NULL, &schema);
        assert_int_equal(trib_specs_next(&read, &codec, NULL), TRIB_INVALID);
        (void)trib_specs_end(&read);
    }
    enum trib_status status = TRIB_NOMEM;
    for (long n = 0; status != TRIB_OK; n++) {
        struct trib_specs read;
        const struct trib_codec *codec;
        assert_true(n < 50);
        trib_specs_start(&read, "int8;rotate+1bit", 16, NULL, &schema);
        trib_alloc_fail_after(n);
        status = trib_specs_next(&read, &codec, NULL);
        if (status == TRIB_OK) status = trib_specs_next(&read, &codec, NULL);
        trib_alloc_fail_after(-1);
        (void)trib_specs_end(&read);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests_name("codec_specs", tests, NULL, NULL);
}
