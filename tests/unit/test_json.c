/* JSON is written with commas where they belong, valid whatever the text. */
#include "shared/base/alloc.h"
#include "shared/base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void expect(struct trib_buf *buf, const char *text) {
    assert_false(buf->failed);
    assert_string_equal(trib_buf_text(buf), text);
    trib_buf_release(buf);
}

static void commas(void **state) {
    (void)state;
    struct trib_buf buf;
    trib_buf_init(&buf, 0);
    struct trib_json json = {.out = &buf};
    trib_json_begin(&json, '{');
    trib_json_key(&json, "a");
    trib_json_begin(&json, '[');
    trib_json_u64(&json, 18446744073709551615u);
    trib_json_i64(&json, -5);
    trib_json_begin(&json, '[');
    trib_json_end(&json, ']');
    trib_json_begin(&json, '{');
    trib_json_end(&json, '}');
    trib_json_end(&json, ']');
    trib_json_key(&json, "b");
    trib_json_bool(&json, true);
    trib_json_key(&json, "c");
    trib_json_null(&json);
    trib_json_key(&json, "d");
    trib_json_bool(&json, false);
    trib_json_end(&json, '}');
    expect(&buf, "{\"a\":[18446744073709551615,-5,[],{}],\"b\":true,\"c\":null,\"d\":false}");
}

static void strings(void **state) {
    (void)state;
    struct trib_buf buf;
    trib_buf_init(&buf, 0);
    struct trib_json json = {.out = &buf};
    trib_json_begin(&json, '[');
    trib_json_string(&json, "a\"b\\c/\n\t\r\b\f\x01\x7f");
    trib_json_string(&json, "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80");
    trib_json_string(&json, "\xff\xc3(\xed\xa0\x80");        /* stray byte, cut sequence, surrogate */
    trib_json_string(&json, "\xc0\x80\xe2\x80\xa8\xc2\x9b"); /* overlong 0, line separator, C1 */
    trib_json_string(&json, "");
    trib_json_end(&json, ']');
    expect(&buf, "[\"a\\\"b\\\\c/\\n\\t\\r\\b\\f\\u0001\\u007f\",\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\","
                 "\"\\ufffd\\ufffd(\\ufffd\\ufffd\\ufffd\",\"\\ufffd\\ufffd\\u2028\\u009b\",\"\"]");
}

static void numbers(void **state) {
    (void)state;
    struct trib_buf buf;
    trib_buf_init(&buf, 0);
    struct trib_json json = {.out = &buf};
    trib_json_begin(&json, '[');
    trib_json_f64(&json, 0.1);
    trib_json_f64(&json, 1.0 / 3);
    trib_json_f64(&json, -2);
    trib_json_f64(&json, 1e300);
    trib_json_f64(&json, (double)NAN);
    trib_json_f64(&json, (double)INFINITY);
    trib_json_f64(&json, -(double)INFINITY);
    trib_json_end(&json, ']');
    expect(&buf, "[0.1,0.3333333333333333,-2,1e+300,null,null,null]");
}

static void round_trip(void **state) {
    (void)state;
    const double values[] = {0.1 + 0.2, 1.0 / 3, 5e-324, 1.7976931348623157e308, 123456789.123456789};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct trib_buf buf;
        trib_buf_init(&buf, 0);
        struct trib_json json = {.out = &buf};
        trib_json_f64(&json, values[i]);
        assert_true(strtod(trib_buf_text(&buf), NULL) == values[i]);
        trib_buf_release(&buf);
    }
}

static void out_of_memory(void **state) {
    (void)state;
    struct trib_buf buf;
    trib_buf_init(&buf, 0);
    struct trib_json json = {.out = &buf};
    trib_alloc_fail_after(0);
    trib_json_begin(&json, '{');
    trib_json_key(&json, "key");
    trib_json_string(&json, "value");
    trib_json_end(&json, '}');
    trib_alloc_fail_after(-1);
    assert_true(buf.failed);
    trib_buf_release(&buf);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commas),     cmocka_unit_test(strings),       cmocka_unit_test(numbers),
        cmocka_unit_test(round_trip), cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
