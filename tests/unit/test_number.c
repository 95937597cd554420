/* Numbers, sizes and durations are read strictly and written so that they read back. */
#include "shared/base/number.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <float.h>
#include <string.h>

static bool u64(const char *text, uint64_t *out) {
    return trib_parse_u64(text, strlen(text), out);
}

static void numbers_are_strict(void **state) {
    (void)state;
    static const char *const bad_u64[] = {"",
                                          "5x",
                                          "0x10",
                                          "010",
                                          "-1",
                                          "+1",
                                          " 5",
                                          "5 ",
                                          "1e3",
                                          "1.0",
                                          "1_0",
                                          "18446744073709551616",
                                          "99999999999999999999"};
    static const char *const bad_f64[] = {"",         "5x",    "0x10",   "NaN", "nan", "inf",
                                          "Infinity", "1e999", "1e-999", ".",   "e5",  "1e",
                                          "1e+",      "--1",   "1.2.3",  " 1",  "1 ",  "1,5"};
    uint64_t whole = 99;
    double number = 99;
    for (size_t i = 0; i < sizeof bad_u64 / sizeof *bad_u64; i++) assert_false(u64(bad_u64[i], &whole));
    for (size_t i = 0; i < sizeof bad_f64 / sizeof *bad_f64; i++) {
        assert_false(trib_parse_f64(bad_f64[i], strlen(bad_f64[i]), &number));
    }
    assert_true(whole == 99 && number == 99);
    assert_true(u64("18446744073709551615", &whole) && whole == UINT64_MAX);
    assert_true(u64("0", &whole) && whole == 0);
    assert_true(trib_parse_f64("-1.5e-3", 7, &number) && number == -1.5e-3);
    assert_true(trib_parse_f64(".5", 2, &number) && number == .5);
    assert_true(trib_parse_f64("5.", 2, &number) && number == 5);
}

static void units(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t value;
    } sizes[] = {{"65536", 65536}, {"64KiB", 65536}, {"8MiB", 8388608},       {"1GB", 1000000000},
                 {"100B", 100},    {"2kB", 2000},    {"3TiB", 3298534883328}, {"0", 0}},
      times[] = {{"250ms", 250}, {"30s", 30000}, {"5m", 300000}, {"2h", 7200000}, {"0", 0}, {"0s", 0}};
    static const char *const bad_sizes[] = {"",       "KiB",   "1kib",  "1K",
                                            "1.5MiB", "1 KiB", "-1KiB", "16777217TiB"};
    static const char *const bad_times[] = {"",    "5",   "ms", "5sec",          "1.5s",
                                            "5 s", "-5s", "1d", "5124095576031h"};
    uint64_t value;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_true(trib_parse_bytes(sizes[i].text, strlen(sizes[i].text), &value));
        assert_int_equal(value, sizes[i].value);
    }
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        assert_true(trib_parse_ms(times[i].text, strlen(times[i].text), &value));
        assert_int_equal(value, times[i].value);
    }
    for (size_t i = 0; i < sizeof bad_sizes / sizeof *bad_sizes; i++) {
        assert_false(trib_parse_bytes(bad_sizes[i], strlen(bad_sizes[i]), &value));
    }
    for (size_t i = 0; i < sizeof bad_times / sizeof *bad_times; i++) {
        assert_false(trib_parse_ms(bad_times[i], strlen(bad_times[i]), &value));
    }
}

static void formats_read_back(void **state) {
    (void)state;
    const uint64_t values[] = {0, 1, 999, 1000, 1024, 60000, 90000, 3600000, 5u << 20, UINT64_MAX};
    const double doubles[] = {0, 0.1, 1.0 / 3, -2.5, 1e300, DBL_MAX, DBL_MIN, 1 + DBL_EPSILON};
    char text[TRIB_NUMBER_TEXT];
    uint64_t back;
    double back_f64;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        trib_format_bytes(text, values[i]);
        assert_true(trib_parse_bytes(text, strlen(text), &back));
        assert_true(back == values[i]);
        trib_format_ms(text, values[i]);
        assert_true(trib_parse_ms(text, strlen(text), &back));
        assert_true(back == values[i]);
    }
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++) {
        trib_format_f64(text, doubles[i]);
        assert_true(trib_parse_f64(text, strlen(text), &back_f64));
        assert_true(back_f64 == doubles[i]);
    }
    assert_string_equal(trib_format_bytes(text, 65536), "64KiB");
    assert_string_equal(trib_format_ms(text, 90000), "90s");
    assert_string_equal(trib_format_ms(text, 60000), "1m");
    assert_string_equal(trib_format_f64(text, 0.05), "0.05");
}

static void hex(void **state) {
    (void)state;
    const uint8_t bytes[3] = {0x00, 0xa5, 0xff};
    uint8_t back[3];
    char text[7];
    assert_string_equal(trib_hex(bytes, sizeof bytes, text), "00a5ff");
    assert_true(trib_parse_hex(text, 6, back, sizeof back));
    assert_memory_equal(back, bytes, sizeof bytes);
    static const char *const wrong[] = {"", "00a5f", "00a5ff0", "00A5ff", "00a5fg", "0x00a5"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(trib_parse_hex(wrong[i], strlen(wrong[i]), back, sizeof back));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_strict),
        cmocka_unit_test(units),
        cmocka_unit_test(formats_read_back),
        cmocka_unit_test(hex),
    };
    return cmocka_run_group_tests_name("number", tests, NULL, NULL);
}
