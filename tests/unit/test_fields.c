#include "shared/wire/fields.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <string.h>

/* A sanitizer has its own malloc; without one, ours counts. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNT_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COUNT_ALLOCATIONS 0
#endif
#endif
#ifndef COUNT_ALLOCATIONS
#define COUNT_ALLOCATIONS 1
#endif

static size_t allocations;
#if COUNT_ALLOCATIONS
extern void *__libc_malloc(size_t bytes);
extern void *__libc_realloc(void *memory, size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
void *malloc(size_t bytes) {
    allocations++;
    return __libc_malloc(bytes);
}
void *realloc(void *memory, size_t bytes) {
    allocations++;
    return __libc_realloc(memory, bytes);
}
void *calloc(size_t count, size_t bytes) {
    allocations++;
    return __libc_calloc(count, bytes);
}
#endif

struct thing {
    uint64_t number;
    uint64_t small;
    float value;
    struct trib_text text;
    uint8_t bin[4];
    struct trib_u64s list;
};
enum { NUMBER = 1, SMALL = 2, VALUE = 3, TEXT = 4, BIN = 5, LIST = 6, ALL = 0x7e };
static const struct trib_field table[] = {
    {NUMBER, TRIB_FIELD_U64, offsetof(struct thing, number), 0, "number"},
    {SMALL, TRIB_FIELD_U64, offsetof(struct thing, small), 200, "small"},
    {VALUE, TRIB_FIELD_F32, offsetof(struct thing, value), 0, "value"},
    {TEXT, TRIB_FIELD_TEXT, offsetof(struct thing, text), 8, "text"},
    {BIN, TRIB_FIELD_BIN, offsetof(struct thing, bin), 4, "bin"},
    {LIST, TRIB_FIELD_U64S, offsetof(struct thing, list), 4, "list"},
};
enum { FIELDS = sizeof table / sizeof table[0] };

static enum trib_status decode(const void *data, size_t bytes, struct thing *out, uint64_t *present,
                               struct trib_error *err) {
    *out = (struct thing){0};
    /* A heap block of exactly this size, so that a sanitizer sees a read past it. */
    uint8_t *copy = malloc(bytes > 0 ? bytes : 1);
    assert_non_null(copy);
    memcpy(copy, data, bytes);
    size_t before = allocations;
    enum trib_status status = trib_fields_decode(table, FIELDS, copy, bytes, out, present, err);
    assert_int_equal(allocations, before);
    free(copy);
    return status;
}

#define DECODE(bytes, out, present, err) decode(bytes, sizeof bytes - 1, out, present, err)

static void refused(const char *bytes, size_t size, enum trib_status expected, const char *part) {
    struct thing out;
    uint64_t present;
    struct trib_error err = {0};
    enum trib_status status = decode(bytes, size, &out, &present, &err);
    if (status != expected || strstr(err.text, part) == NULL) {
        fail_msg("expected %s with \"%s\", got %s: %s", trib_status_name(expected), part,
                 trib_status_name(status), err.text);
    }
    assert_int_equal(decode(bytes, size, &out, &present, NULL), expected);
}
#define REFUSED(bytes, status, part) refused(bytes, sizeof bytes - 1, status, part)

static void test_all_types_both_ways(void **state) {
    (void)state;
    struct thing in = {.number = 1000,
                       .small = 200,
                       .value = 0.5f,
                       .text = {"h\xc3\xa9\n", 4},
                       .bin = {1, 2, 3, 4},
                       .list = {3, {0, 128, UINT64_MAX}}};
    static const uint8_t expected[] = {0x86, 1,    0xcd, 3,    0xe8, 2,    0xcc, 200,  3,    0xca, 0x3f,
                                       0,    0,    0,    4,    0xa4, 'h',  0xc3, 0xa9, '\n', 5,    0xc4,
                                       4,    1,    2,    3,    4,    6,    0x93, 0,    0xcc, 128,  0xcf,
                                       0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct trib_buf buf;
    trib_buf_init(&buf, 0);
    trib_fields_encode(table, FIELDS, &in, ALL, &buf);
    assert_int_equal(buf.size, sizeof expected);
    assert_memory_equal(buf.data, expected, sizeof expected);
    struct thing out = {0};
    uint64_t present = 0;
    assert_int_equal(trib_fields_decode(table, FIELDS, buf.data, buf.size, &out, &present, NULL), TRIB_OK);
    assert_int_equal(present, ALL);
    assert_int_equal(out.number, 1000);
    assert_int_equal(out.small, 200);
    assert_true(out.value == 0.5f);
    assert_int_equal(out.text.size, 4);
    assert_ptr_equal(out.text.data, buf.data + 16); /* borrowed */
    assert_memory_equal(out.bin, in.bin, 4);
    assert_int_equal(out.list.count, 3);
    assert_true(out.list.items[2] == UINT64_MAX && out.list.items[1] == 128 && out.list.items[0] == 0);
    /* No shorter part of it is a map. */
    for (size_t size = 0; size < buf.size; size++) {
        assert_int_equal(decode(buf.data, size, &out, &present, NULL), TRIB_INVALID);
    }
    trib_buf_release(&buf);
}

static void test_only_what_is_present(void **state) {
    (void)state;
    struct thing in = {.number = 5, .small = 6};
    struct trib_buf buf;
    trib_buf_init(&buf, 0);
    trib_fields_encode(table, FIELDS, &in, 1u << SMALL, &buf);
    assert_int_equal(buf.size, 3);
    assert_memory_equal(buf.data, "\x81\x02\x06", 3);
    trib_buf_clear(&buf);
    trib_fields_encode(table, FIELDS, &in, 0, &buf);
    assert_int_equal(buf.size, 1);
    struct thing out = {.number = 9};
    uint64_t present = 1;
    assert_int_equal(trib_fields_decode(table, FIELDS, buf.data, buf.size, &out, &present, NULL), TRIB_OK);
    assert_int_equal(present, 0);
    assert_int_equal(out.number, 9);
    trib_buf_release(&buf);
}

static void test_integers_are_smallest(void **state) {
    (void)state;
    static const struct {
        uint64_t value;
        size_t bytes;
        uint8_t first;
    } cases[] = {
        {0, 1, 0},
        {127, 1, 127},
        {128, 2, 0xcc},
        {255, 2, 0xcc},
        {256, 3, 0xcd},
        {65535, 3, 0xcd},
        {65536, 5, 0xce},
        {UINT32_MAX, 5, 0xce},
        {(uint64_t)UINT32_MAX + 1, 9, 0xcf},
        {UINT64_MAX, 9, 0xcf},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct thing in = {.number = cases[i].value};
        struct thing out;
        uint64_t present;
        struct trib_buf buf;
        trib_buf_init(&buf, 0);
        trib_fields_encode(table, FIELDS, &in, 1u << NUMBER, &buf);
        assert_int_equal(buf.size, 2 + cases[i].bytes);
        assert_int_equal(buf.data[2], cases[i].first);
        assert_int_equal(decode(buf.data, buf.size, &out, &present, NULL), TRIB_OK);
        assert_true(out.number == cases[i].value);
        trib_buf_release(&buf);
    }
}

static void test_any_form_of_a_number_is_read(void **state) {
    (void)state;
    struct thing out;
    uint64_t present;
    assert_int_equal(DECODE("\x81\x01\xcf\0\0\0\0\0\0\0\x05", &out, &present, NULL), TRIB_OK);
    assert_int_equal(out.number, 5);
    assert_int_equal(DECODE("\x81\x01\xd3\0\0\0\0\0\0\0\x06", &out, &present, NULL), TRIB_OK);
    assert_int_equal(out.number, 6);
    assert_int_equal(DECODE("\x81\xcd\0\x01\x07", &out, &present, NULL), TRIB_OK); /* a long key */
    assert_int_equal(out.number, 7);
    assert_int_equal(DECODE("\xdf\0\0\0\x01\x01\x08", &out, &present, NULL), TRIB_OK); /* a long map */
    assert_int_equal(out.number, 8);
    assert_int_equal(DECODE("\x81\x03\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", &out, &present, NULL), TRIB_OK);
    assert_true(out.value == 0.1f);
    assert_int_equal(DECODE("\x81\x03\xff", &out, &present, NULL), TRIB_OK);
    assert_true(out.value == -1.0f);
    assert_int_equal(DECODE("\x81\x03\xcd\x01\0", &out, &present, NULL), TRIB_OK);
    assert_true(out.value == 256.0f);
    assert_int_equal(DECODE("\x81\x03\xd0\x80", &out, &present, NULL), TRIB_OK);
    assert_true(out.value == -128.0f);
    assert_int_equal(DECODE("\x81\x03\xd1\xff\xfe", &out, &present, NULL), TRIB_OK);
    assert_true(out.value == -2.0f);
    assert_int_equal(DECODE("\x81\x03\xd2\x7f\xff\xff\x80", &out, &present, NULL), TRIB_OK);
    assert_true(out.value == 2147483520.0f);
    assert_int_equal(DECODE("\x81\x03\xd3\xff\xff\xff\xff\xff\xff\xff\xfd", &out, &present, NULL), TRIB_OK);
    assert_true(out.value == -3.0f);
    assert_int_equal(DECODE("\x81\x03\xca\xbf\x80\0\0", &out, &present, NULL), TRIB_OK);
    assert_true(out.value == -1.0f);
    assert_int_equal(DECODE("\x81\x04\xdb\0\0\0\x02ok", &out, &present, NULL), TRIB_OK);
    assert_int_equal(out.text.size, 2);
}

static void test_wrong_types(void **state) {
    (void)state;
    REFUSED("\x81\x01\xff", TRIB_INVALID, "field 1 (number) is negative (-1)");
    REFUSED("\x81\x01\xd3\xff\xff\xff\xff\xff\xff\xff\xf0", TRIB_INVALID, "negative (-16)");
    REFUSED("\x81\x01\xca\0\0\0\0", TRIB_INVALID, "a float, expected an unsigned integer");
    REFUSED("\x81\x01\xc0", TRIB_INVALID, "nil");
    REFUSED("\x81\x01\xc3", TRIB_INVALID, "a boolean");
    REFUSED("\x81\x02\xcc\xc9", TRIB_LIMIT, "is 201, at most 200");
    REFUSED("\x81\x03\xa1x", TRIB_INVALID, "a string, expected a float");
    REFUSED("\x81\x04\x05", TRIB_INVALID, "expected a string");
    REFUSED("\x81\x04\xc4\x01x", TRIB_INVALID, "binary, expected a string");
    REFUSED("\x81\x04\xa9"
            "123456789",
            TRIB_LIMIT, "9 bytes, at most 8");
    REFUSED("\x81\x05\xa4"
            "1234",
            TRIB_INVALID, "a string, expected binary");
    REFUSED("\x81\x05\xc4\x03"
            "123",
            TRIB_INVALID, "3 bytes, expected 4");
    REFUSED("\x81\x05\xc4\x05"
            "12345",
            TRIB_INVALID, "5 bytes, expected 4");
    REFUSED("\x81\x06\x80", TRIB_INVALID, "a map, expected an array");
    REFUSED("\x81\x06\x95\1\2\3\4\5", TRIB_LIMIT, "5 items, at most 4");
    REFUSED("\x81\x06\x92\1\xff", TRIB_INVALID, "negative");
    REFUSED("\x81\x06\x92\1\xa1x", TRIB_INVALID, "only integers");
    REFUSED("\x81\x06\x91\x91\1", TRIB_INVALID, "only integers");
}

static void test_floats_are_finite(void **state) {
    (void)state;
    REFUSED("\x81\x03\xca\x7f\xc0\0\0", TRIB_INVALID, "finite");
    REFUSED("\x81\x03\xca\x7f\x80\0\0", TRIB_INVALID, "finite");
    REFUSED("\x81\x03\xca\xff\x80\0\0", TRIB_INVALID, "finite");
    REFUSED("\x81\x03\xcb\x7f\xf8\0\0\0\0\0\0", TRIB_INVALID, "finite");
    REFUSED("\x81\x03\xcb\x48\x07\x82\x87\xf4\x9c\x4a\x1d", TRIB_INVALID, "finite"); /* 1e39 */
    /* What is encoded decodes: infinity becomes the largest float, a NaN is left out. */
    struct thing in = {.number = 1, .value = INFINITY};
    struct thing out;
    uint64_t present;
    struct trib_buf buf;
    trib_buf_init(&buf, 0);
    trib_fields_encode(table, FIELDS, &in, 1u << NUMBER | 1u << VALUE, &buf);
    assert_int_equal(decode(buf.data, buf.size, &out, &present, NULL), TRIB_OK);
    assert_true(out.value == FLT_MAX);
    trib_buf_clear(&buf);
    in.value = NAN;
    trib_fields_encode(table, FIELDS, &in, 1u << NUMBER | 1u << VALUE, &buf);
    assert_int_equal(decode(buf.data, buf.size, &out, &present, NULL), TRIB_OK);
    assert_int_equal(present, 1u << NUMBER);
    trib_buf_release(&buf);
}

static void test_texts_are_utf8(void **state) {
    (void)state;
    static const char *const bad[] = {"\x80",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xe0\x80\x80",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x80\x80\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80",
                                      "\xc3",
                                      "\xe2\x82",
                                      "\xe2\x28\xa1",
                                      "\x01",
                                      "\t",
                                      "\x1b",
                                      "\x7f",
                                      "\xc2\x9b",
                                      "ok\xff"};
    static const char *const good[] = {"",         "\n",           "plain",        "\xc2\xa0",
                                       "\xc3\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"};
    struct thing out;
    uint64_t present;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint8_t bytes[16] = {0x81, 4, (uint8_t)(0xa0 + strlen(bad[i]))};
        memcpy(bytes + 3, bad[i], strlen(bad[i]));
        assert_int_equal(decode(bytes, 3 + strlen(bad[i]), &out, &present, NULL), TRIB_INVALID);
    }
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        uint8_t bytes[16] = {0x81, 4, (uint8_t)(0xa0 + strlen(good[i]))};
        memcpy(bytes + 3, good[i], strlen(good[i]));
        assert_int_equal(decode(bytes, 3 + strlen(good[i]), &out, &present, NULL), TRIB_OK);
        assert_int_equal(out.text.size, strlen(good[i]));
    }
}

static void test_bad_text_is_written_readable(void **state) {
    (void)state;
    struct thing in = {.text = {"\xff"
                                "a\x1b\xc3\xa9\xc3",
                                6}};
    struct trib_buf buf;
    trib_buf_init(&buf, 0);
    trib_fields_encode(table, FIELDS, &in, 1u << TEXT, &buf);
    assert_int_equal(buf.size, 9);
    assert_memory_equal(buf.data, "\x81\x04\xa6?a?\xc3\xa9?", 9);
    trib_buf_release(&buf);
}

static void test_keys(void **state) {
    (void)state;
    REFUSED("\x82\x01\x05\x01\x05", TRIB_INVALID, "key 1 is there twice");
    REFUSED("\x82\x3f\x05\x3f\x05", TRIB_INVALID, "key 63 is there twice"); /* unknown ones too */
    REFUSED("\x82\x01\x05\xcc\x01\x05", TRIB_INVALID, "key 1 is there twice");
    REFUSED("\x81\xa1"
            "1\x05",
            TRIB_INVALID, "a key is a string");
    REFUSED("\x81\xff\x05", TRIB_INVALID, "a key is negative");
    REFUSED("\x81\xc0\x05", TRIB_INVALID, "a key is nil");
    REFUSED("\x81\x90\x05", TRIB_INVALID, "a key is an array");
    struct thing out;
    uint64_t present;
    /* Unknown keys are skipped with whatever stands there. */
    static const char unknown[] = "\x87\x00\xc0\x07\x81\xa1k\x92\x01\x80\x3f\xc7\x02\x05zz\x40\xd8"
                                  "0123456789abcdef.\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xc2\x01\x05"
                                  "\xcd\x01\x01\xcb\x7f\xf8\0\0\0\0\0\0";
    assert_int_equal(DECODE(unknown, &out, &present, NULL), TRIB_OK);
    assert_int_equal(present, 1u << NUMBER);
    assert_int_equal(out.number, 5);
}

static void test_the_scan_refuses(void **state) {
    (void)state;
    REFUSED("", TRIB_INVALID, "no bytes");
    REFUSED("\x90", TRIB_INVALID, "an array where a map should be");
    REFUSED("\x05", TRIB_INVALID, "an integer where a map");
    REFUSED("\xdd\x10\0\0\0", TRIB_LIMIT, "268435456 items");
    REFUSED("\x81\x06\xdd\x10\0\0\0", TRIB_LIMIT, "268435456 items");
    REFUSED("\x81\x07\xdd\x10\0\0\0", TRIB_LIMIT, "268435456 items");
    REFUSED("\xdf\xff\xff\xff\xff", TRIB_LIMIT, "items");
    REFUSED("\x81\x06\xdc\x01\x01", TRIB_LIMIT, "257 items");
    REFUSED("\x81\x06\xdc\x01\0\1\2\3", TRIB_INVALID, "256 items, but only 3 bytes follow");
    REFUSED("\x82\x01\x02\x03", TRIB_INVALID, "2 items, but only 3");
    REFUSED("\x81\x01\xcd\x01", TRIB_INVALID, "only 1 bytes follow");
    REFUSED("\x81\x04\xdb\xff\xff\xff\xff"
            "a",
            TRIB_INVALID, "a string of 4294967295 bytes");
    REFUSED("\x81\x04\xdb\xff\xff\xff", TRIB_INVALID, "inside the length");
    REFUSED("\x81\x05\xc6\x7f\xff\xff\xff"
            "a",
            TRIB_INVALID, "binary of");
    REFUSED("\x81\x07\xc9\xff\xff\xff\xff\x01"
            "a",
            TRIB_INVALID, "an extension of 4294967296 bytes");
    REFUSED("\x81\x01\xc1", TRIB_INVALID, "0xc1");
    REFUSED("\x81\x01\x05\x00", TRIB_INVALID, "1 bytes behind the map");
    REFUSED("\x81\x01\x05\x80", TRIB_INVALID, "behind the map");
}

static void test_depth(void **state) {
    (void)state;
    struct thing out;
    uint64_t present;
    /* The map is 1 deep; seven arrays inside make 8. */
    assert_int_equal(DECODE("\x81\x07\x91\x91\x91\x91\x91\x91\x91\x01", &out, &present, NULL), TRIB_OK);
    REFUSED("\x81\x07\x91\x91\x91\x91\x91\x91\x91\x91\x01", TRIB_LIMIT, "deeper than 8");
    REFUSED("\x81\x07\x91\x91\x91\x91\x91\x91\x91\x90", TRIB_LIMIT, "deeper than 8");
    char deep[60000];
    memset(deep, '\x91', sizeof deep);
    memcpy(deep, "\x81\x07", 2);
    refused(deep, sizeof deep, TRIB_LIMIT, "deeper than 8");
}

static void test_sizes(void **state) {
    (void)state;
    static char bytes[TRIB_MAP_MAX_BYTES + 1];
    memcpy(bytes, "\x81\x07\xc6\0\0", 5);
    size_t body = TRIB_MAP_MAX_BYTES - 7;
    bytes[5] = (char)(body >> 8);
    bytes[6] = (char)body;
    struct thing out;
    uint64_t present;
    assert_int_equal(decode(bytes, TRIB_MAP_MAX_BYTES, &out, &present, NULL), TRIB_OK);
    bytes[6]++;
    refused(bytes, TRIB_MAP_MAX_BYTES + 1, TRIB_LIMIT, "65537 bytes, at most 65536");
    /* 256 items are allowed. */
    uint8_t many[3 + 256 * 4] = {0xde, 1, 0};
    for (size_t i = 0; i < 256; i++) memcpy(&many[3 + 4 * i], "\xcd\x01\x01\x01", 4);
    assert_int_equal(decode(many, sizeof many, &out, &present, NULL), TRIB_OK);
    many[2] = 1;
    refused((const char *)many, sizeof many, TRIB_LIMIT, "257 items");
}

/* Every two-byte beginning of a value, with every short rest, ends without a fault. */
static void test_every_beginning(void **state) {
    (void)state;
    struct thing out;
    uint64_t present;
    size_t taken = 0;
    for (unsigned first = 0; first < 256; first++) {
        for (unsigned key = 1; key < 9; key++) {
            uint8_t bytes[24] = {0x81, (uint8_t)key, (uint8_t)first, 0, 1, 2, 3};
            for (size_t size = 3; size <= sizeof bytes; size++) {
                taken += decode(bytes, size, &out, &present, NULL) == TRIB_OK;
            }
        }
    }
    /* Each of the heads with a length that fits is taken once for the keys that allow its type. */
    assert_true(taken > 256 * 2 && taken < 256 * 8);
}

static void test_a_small_buffer_is_remembered(void **state) {
    (void)state;
    struct thing in = {.number = 70000};
    struct trib_buf buf;
    trib_buf_init(&buf, 4);
    trib_fields_encode(table, FIELDS, &in, 1u << NUMBER, &buf);
    assert_true(buf.failed);
    trib_buf_release(&buf);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_types_both_ways),
        cmocka_unit_test(test_only_what_is_present),
        cmocka_unit_test(test_integers_are_smallest),
        cmocka_unit_test(test_any_form_of_a_number_is_read),
        cmocka_unit_test(test_wrong_types),
        cmocka_unit_test(test_floats_are_finite),
        cmocka_unit_test(test_texts_are_utf8),
        cmocka_unit_test(test_bad_text_is_written_readable),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_the_scan_refuses),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_every_beginning),
        cmocka_unit_test(test_a_small_buffer_is_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
