/* Schemas. Fingerprint and version 0 were computed apart from this code, in Python:
 *     G, M = 0x9E3779B97F4A7C15, 2**64 - 1
 *     def mix(x):
 *         x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & M
 *         x = (x ^ x >> 27) * 0x94D049BB133111EB & M
 *         return x ^ x >> 31
 *     f32 = lambda v: struct.unpack("<f", struct.pack("<f", v))[0]
 *     def draw(seed, t, i, bound):
 *         s = mix(mix(seed + G & M) ^ (t * G + 1 & M))
 *         return f32(((mix(s + (i + 1) * G & M) >> 40) - 8388608) / 8388608 * bound)
 *     hashlib.blake2b(text.encode(), digest_size=32).hexdigest() */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shared/base/alloc.h"
#include "shared/base/bytes.h"
#include "shared/model/digest.h"
#include "shared/model/schema.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char text_of_three[] = "fc1.weight 3x2 0x1.99999ap-5\n"
                                    "fc1.bias 3 0x0p+0\n"
                                    "conv-2.w 2x1x2x2 0x1p-1\n";

static struct trib_schema three(void) {
    struct trib_schema schema;
    trib_schema_init(&schema);
    assert_int_equal(trib_schema_add(&schema, "fc1.weight", (const size_t[]){3, 2}, 2, 0.05f, NULL), TRIB_OK);
    assert_int_equal(trib_schema_add(&schema, "fc1.bias", (const size_t[]){3}, 1, 0.0f, NULL), TRIB_OK);
    assert_int_equal(trib_schema_add(&schema, "conv-2.w", (const size_t[]){2, 1, 2, 2}, 4, 0.5f, NULL),
                     TRIB_OK);
    assert_int_equal(trib_schema_finish(&schema, NULL), TRIB_OK);
    return schema;
}

static void assert_same(const struct trib_schema *a, const struct trib_schema *b) {
    assert_int_equal(a->tensor_count, b->tensor_count);
    assert_int_equal(a->parameters, b->parameters);
    assert_memory_equal(a->fingerprint, b->fingerprint, TRIB_DIGEST_BYTES);
    for (size_t t = 0; t < a->tensor_count; t++) {
        const struct trib_tensor *x = &a->tensors[t], *y = &b->tensors[t];
        assert_string_equal(x->name, y->name);
        assert_int_equal(x->rank, y->rank);
        assert_int_equal(x->offset, y->offset);
        assert_int_equal(x->count, y->count);
        assert_memory_equal(x->dims, y->dims, x->rank * sizeof *x->dims);
        assert_int_equal(trib_f32_bits(x->bound), trib_f32_bits(y->bound));
    }
}

static void test_layout(void **state) {
    (void)state;
    struct trib_schema schema = three();
    assert_int_equal(schema.tensor_count, 3);
    assert_int_equal(schema.parameters, 6 + 3 + 8);
    assert_int_equal(schema.tensors[1].offset, 6);
    assert_int_equal(schema.tensors[2].offset, 9);
    assert_int_equal(schema.tensors[2].count, 8);
    trib_schema_release(&schema);
    assert_null(schema.tensors);
}

static void test_text_and_fingerprint(void **state) {
    (void)state;
    struct trib_schema schema = three();
    struct trib_buf text;
    trib_buf_init(&text, 0);
    trib_schema_text(&schema, &text);
    assert_string_equal(trib_buf_text(&text), text_of_three);
    char hex[2 * TRIB_DIGEST_BYTES + 1];
    assert_string_equal(trib_digest_hex(schema.fingerprint, hex),
                        "96e5ca73c4b6c886e6236b7b74d493d216405bd285e4883a2aecaeea9169ceb0");
    trib_buf_release(&text);
    trib_schema_release(&schema);
}

static void test_round_trip(void **state) {
    (void)state;
    struct trib_schema schema = three(), copy;
    assert_int_equal(trib_schema_parse(&copy, text_of_three, strlen(text_of_three), NULL), TRIB_OK);
    assert_same(&schema, &copy);
    /* It may be added to; its memory is its own. */
    for (size_t i = 0; i < 20; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "more%zu", i);
        assert_int_equal(trib_schema_add(&copy, name, (const size_t[]){1}, 1, 0.0f, NULL), TRIB_OK);
    }
    assert_int_equal(copy.parameters, schema.parameters + 20);
    trib_schema_release(&copy);
    trib_schema_release(&schema);
}

static void test_bounds_survive_the_text(void **state) {
    (void)state;
    const float bounds[] = {0x1p-149f, 0x1p-126f, 0.1f, 1.0f, 3.4028235e38f, 0.0f};
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        struct trib_schema schema, parsed;
        struct trib_buf text;
        trib_schema_init(&schema);
        trib_buf_init(&text, 0);
        assert_int_equal(trib_schema_add(&schema, "t", (const size_t[]){1}, 1, bounds[i], NULL), TRIB_OK);
        assert_int_equal(trib_schema_finish(&schema, NULL), TRIB_OK);
        trib_schema_text(&schema, &text);
        assert_int_equal(trib_schema_parse(&parsed, trib_buf_text(&text), text.size, NULL), TRIB_OK);
        assert_same(&schema, &parsed);
        trib_buf_release(&text);
        trib_schema_release(&schema);
        trib_schema_release(&parsed);
    }
}

static void test_draw(void **state) {
    (void)state;
    static const struct {
        uint64_t seed;
        uint32_t bits[17];
    } known[] = {
        {0,
         {0x3b13cf67, 0xbcaef72d, 0x3d381830, 0xbd049fdf, 0xbc5908ad, 0xbccea36a, 0, 0, 0, 0x3e8fdb2c,
          0xbee4db66, 0x3edb5924, 0x3d74a6a0, 0x3e8bfd5e, 0x3e14e8a4, 0xbd8b16c8, 0x3ed967f2}},
        {42,
         {0xbcec8b30, 0xbd23e4d3, 0x3c9ba040, 0x3a54759a, 0x3cd8e2ba, 0xbd24cc02, 0, 0, 0, 0x3e5f7854,
          0xbd33e710, 0x3eca6e40, 0x3eae8718, 0xbe94dad6, 0x3e960cb6, 0x3e0d55f4, 0x3ee48e14}},
        {UINT64_MAX,
         {0x3d2c741a, 0x3b816af3, 0x3c19b2b3, 0xbd4c8b9a, 0xbcda2fa7, 0x3d3067b5, 0, 0, 0, 0x3ef3fa12,
          0x3ebe0204, 0xbda8dce8, 0xbed48fea, 0xbec7dab2, 0x3e97f320, 0x3dc93e98, 0x3ef8d1d6}},
    };
    struct trib_schema schema = three();
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        float parameters[17];
        memset(parameters, 0xff, sizeof parameters);
        trib_schema_draw(&schema, known[k].seed, parameters);
        for (size_t i = 0; i < 17; i++) assert_int_equal(trib_f32_bits(parameters[i]), known[k].bits[i]);
    }
    trib_schema_release(&schema);
}

static void test_draw_is_uniform_within_the_bound(void **state) {
    (void)state;
    enum { COUNT = 20000 };
    struct trib_schema schema;
    trib_schema_init(&schema);
    assert_int_equal(trib_schema_add(&schema, "t", (const size_t[]){COUNT}, 1, 0.25f, NULL), TRIB_OK);
    float *x = trib_alloc_floats(COUNT);
    trib_schema_draw(&schema, 7, x);
    double sum = 0, squares = 0;
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(x[i] >= -0.25f && x[i] < 0.25f);
        sum += (double)x[i];
        squares += (double)x[i] * (double)x[i];
    }
    assert_true(fabs(sum / COUNT) < 0.004);                       /* 4 standard errors */
    assert_true(fabs(squares / COUNT - 0.25 * 0.25 / 3) < 0.001); /* variance of the uniform */
    trib_free(x);
    trib_schema_release(&schema);
}

static void test_add_refuses(void **state) {
    (void)state;
    struct trib_schema schema = three();
    struct trib_error err;
    const size_t one[] = {1}, zero[] = {2, 0}, huge[] = {(size_t)1 << 40, (size_t)1 << 40},
                 full[] = {(size_t)1 << 30};
    char name[TRIB_SCHEMA_MAX_NAME + 2];
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = 0;
    assert_int_equal(trib_schema_add(&schema, name, one, 1, 0, &err), TRIB_LIMIT);
    assert_int_equal(trib_schema_add(&schema, name + 1, one, 1, 0, &err), TRIB_OK);
    assert_int_equal(trib_schema_add(&schema, "", one, 1, 0, &err), TRIB_INVALID);
    assert_int_equal(trib_schema_add(&schema, "a b", one, 1, 0, &err), TRIB_INVALID);
    assert_int_equal(trib_schema_add(&schema, "caf\xc3\xa9", one, 1, 0, &err), TRIB_INVALID);
    assert_int_equal(trib_schema_add(&schema, "fc1.bias", one, 1, 0, &err), TRIB_INVALID);
    assert_non_null(strstr(err.text, "\"fc1.bias\" is there twice"));
    assert_int_equal(trib_schema_add(&schema, "x", one, 0, 0, &err), TRIB_INVALID);
    assert_int_equal(trib_schema_add(&schema, "x", (const size_t[]){1, 1, 1, 1, 1}, 5, 0, &err),
                     TRIB_INVALID);
    assert_int_equal(trib_schema_add(&schema, "x", zero, 2, 0, &err), TRIB_INVALID);
    assert_int_equal(trib_schema_add(&schema, "x", huge, 2, 0, &err), TRIB_LIMIT);
    assert_int_equal(trib_schema_add(&schema, "x", full, 1, 0, &err), TRIB_LIMIT); /* with what is there */
    assert_int_equal(trib_schema_add(&schema, "x", one, 1, NAN, &err), TRIB_INVALID);
    assert_int_equal(trib_schema_add(&schema, "x", one, 1, INFINITY, &err), TRIB_INVALID);
    assert_int_equal(trib_schema_add(&schema, "x", one, 1, -0.5f, &err), TRIB_INVALID);
    assert_int_equal(schema.tensor_count, 4);
    trib_schema_release(&schema);
    assert_int_equal(trib_schema_finish(&schema, &err), TRIB_INVALID);
}

static void test_number_of_tensors(void **state) {
    (void)state;
    struct trib_schema schema;
    trib_schema_init(&schema);
    char name[16];
    for (size_t i = 0; i < TRIB_SCHEMA_MAX_TENSORS; i++) {
        (void)snprintf(name, sizeof name, "t%zu", i);
        assert_int_equal(trib_schema_add(&schema, name, (const size_t[]){1}, 1, 0, NULL), TRIB_OK);
    }
    assert_int_equal(trib_schema_add(&schema, "last", (const size_t[]){1}, 1, 0, NULL), TRIB_LIMIT);
    assert_int_equal(trib_schema_finish(&schema, NULL), TRIB_OK);
    trib_schema_release(&schema);
}

static void test_text_too_long(void **state) {
    (void)state;
    struct trib_schema schema;
    trib_schema_init(&schema);
    char name[TRIB_SCHEMA_MAX_NAME + 1];
    for (size_t i = 0; i < TRIB_SCHEMA_MAX_TENSORS; i++) {
        (void)snprintf(name, sizeof name, "%063zu", i);
        assert_int_equal(trib_schema_add(&schema, name, (const size_t[]){1}, 1, 0, NULL), TRIB_OK);
    }
    assert_int_equal(trib_schema_finish(&schema, NULL), TRIB_LIMIT);
    trib_schema_release(&schema);
}

static void test_hostile_text(void **state) {
    (void)state;
    static const struct {
        const char *text;
        enum trib_status status;
        const char *says; /* a part of the error */
    } cases[] = {
        {"", TRIB_INVALID, "no tensors"},
        {"\n", TRIB_INVALID, "line 1: the name is missing"},
        {"a 1 0x0p+0", TRIB_INVALID, "line 1 does not end"},
        {"a 1 0x0p+0\nb", TRIB_INVALID, "line 2 does not end"},
        {"a 1 0x0p+0\nb\n", TRIB_INVALID, "line 2: the shape is missing"},
        {"a  0x0p+0\n", TRIB_INVALID, "line 1: the shape is missing"},
        {"a 1\n", TRIB_INVALID, "the bound is missing"},
        {"a 1 \n", TRIB_INVALID, "the bound is missing"},
        {" a 1 0x0p+0\n", TRIB_INVALID, "the name is missing"},
        {"a 0 0x0p+0\n", TRIB_INVALID, "\"0\" is no shape"},
        {"a -1 0x0p+0\n", TRIB_INVALID, "is no shape"},
        {"a +1 0x0p+0\n", TRIB_INVALID, "is no shape"},
        {"a 01 0x0p+0\n", TRIB_INVALID, "is no shape"},
        {"a 1x 0x0p+0\n", TRIB_INVALID, "is no shape"},
        {"a x1 0x0p+0\n", TRIB_INVALID, "is no shape"},
        {"a 1x1x1x1x1 0x0p+0\n", TRIB_INVALID, "is no shape"},
        {"a 18446744073709551617 0x0p+0\n", TRIB_INVALID, "is no shape"},
        {"a 1073741824x2 0x0p+0\n", TRIB_LIMIT, "more than 1073741824"},
        {"a 1073741824 0x0p+0\nb 1 0x0p+0\n", TRIB_LIMIT, "with tensor \"b\""},
        {"a 1 0.5\n", TRIB_INVALID, "is no bound"},
        {"a 1 nan\n", TRIB_INVALID, "is no bound"},
        {"a 1 inf\n", TRIB_INVALID, "is no bound"},
        {"a 1 0x\n", TRIB_INVALID, "is no bound"},
        {"a 1 0x1p+200\n", TRIB_INVALID, "is no bound"},
        {"a 1 0x1p-1 \n", TRIB_INVALID, "is no bound"},
        {"a 1 -0x1p-1\n", TRIB_INVALID, "is no bound"},
        {"a 1 0x1.0p-1\n", TRIB_INVALID, "not spelled"},
        {"a 1 0x2p-2\n", TRIB_INVALID, "not spelled"},
        {"a 1 0x1.00000000001p-1\n", TRIB_INVALID, "not spelled"}, /* no float */
        {"a 1 0x1p-1\r\n", TRIB_INVALID, "is no bound"},
        {"a 1 0x0p+0\na 1 0x0p+0\n", TRIB_INVALID, "twice"},
        {"a/b 1 0x0p+0\n", TRIB_INVALID, "0x2f"},
        {"a 1 0x0000000000000000000000000000000000000000p+0\n", TRIB_LIMIT, "bound has"},
        {"0123456789012345678901234567890123456789012345678901234567890123 1 0x0p+0\n", TRIB_LIMIT,
         "name has"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trib_schema schema;
        struct trib_error err = {0};
        enum trib_status status = trib_schema_parse(&schema, cases[i].text, strlen(cases[i].text), &err);
        if (status != cases[i].status || strstr(err.text, cases[i].says) == NULL)
            fail_msg("%s: got %s: %s", cases[i].text, trib_status_name(status), err.text);
        assert_null(schema.tensors);
        assert_int_equal(schema.tensor_count, 0);
    }
    struct trib_schema schema;
    assert_int_equal(trib_schema_parse(&schema, "a\0 1 0x0p+0\n", 12, NULL), TRIB_INVALID);
}

/* Every proper prefix is refused, or is a shorter schema that prints as itself; nothing reads beyond the end
 * (the sanitizer builds see to that: the copy has exactly the prefix's length). */
static void test_prefixes(void **state) {
    (void)state;
    for (size_t n = 0; n < strlen(text_of_three); n++) {
        char *copy = trib_alloc(n);
        memcpy(copy, text_of_three, n);
        struct trib_schema schema;
        enum trib_status status = trib_schema_parse(&schema, copy, n, NULL);
        assert_int_equal(status == TRIB_OK, n > 0 && copy[n - 1] == '\n');
        trib_schema_release(&schema);
        trib_free(copy);
    }
}

static void test_oversized_text_is_refused_unread(void **state) {
    (void)state;
    struct trib_schema schema;
    trib_alloc_fail_after(0); /* and nothing is allocated for it */
    enum trib_status status = trib_schema_parse(&schema, text_of_three, TRIB_SCHEMA_MAX_TEXT + 1, NULL);
    trib_alloc_fail_after(-1);
    assert_int_equal(status, TRIB_LIMIT);
}

/* Beside each of the model's tensors one of zeros, behind them all. */
static void test_control_tensors(void **state) {
    (void)state;
    struct trib_schema schema = three(), back;
    size_t own = schema.parameters;
    assert_int_equal(schema.model_parameters, own);
    assert_int_equal(trib_schema_add_control(&schema, NULL), TRIB_OK);
    assert_int_equal(trib_schema_finish(&schema, NULL), TRIB_OK);
    assert_int_equal(schema.parameters, 2 * own);
    assert_int_equal(schema.model_parameters, own);
    assert_int_equal(schema.tensor_count, 6);
    assert_string_equal(schema.tensors[4].name, "control.fc1.bias");
    assert_int_equal(schema.tensors[5].rank, 4);
    float *drawn = trib_alloc_floats(2 * own);
    trib_schema_draw(&schema, 9, drawn);
    for (size_t i = 0; i < own; i++) assert_int_equal(trib_f32_bits(drawn[own + i]), 0);
    trib_free(drawn);
    struct trib_buf text;
    trib_buf_init(&text, 0);
    trib_schema_text(&schema, &text);
    assert_int_equal(trib_schema_parse(&back, trib_buf_text(&text), text.size, NULL), TRIB_OK);
    assert_same(&schema, &back);
    assert_int_equal(back.model_parameters, own);
    struct trib_schema view = trib_schema_own(&back), whole = three();
    assert_int_equal(view.tensor_count, 3);
    assert_int_equal(view.parameters, own);
    assert_memory_not_equal(whole.fingerprint, back.fingerprint, TRIB_DIGEST_BYTES);
    struct trib_error err = {.text = ""};
    assert_int_equal(trib_schema_add(&back, "late", (const size_t[]){1}, 1, 0.0f, &err), TRIB_INVALID);
    assert_non_null(strstr(err.text, "behind a control tensor"));
    trib_schema_release(&whole);
    trib_schema_release(&back);
    trib_schema_release(&schema);
    assert_int_equal(trib_schema_parse(&schema, "control.a 3 0x0p+0\n", 19, &err), TRIB_INVALID);
    trib_buf_release(&text);
}

static void test_failing_allocations(void **state) {
    (void)state;
    long n = 0;
    for (;; n++) {
        struct trib_schema schema;
        trib_alloc_fail_after(n);
        enum trib_status status = trib_schema_parse(&schema, text_of_three, strlen(text_of_three), NULL);
        trib_alloc_fail_after(-1);
        trib_schema_release(&schema);
        if (status == TRIB_OK) break;
        assert_int_equal(status, TRIB_NOMEM);
    }
    assert_true(n >= 2); /* tensors, text */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_text_and_fingerprint),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_bounds_survive_the_text),
        cmocka_unit_test(test_draw),
        cmocka_unit_test(test_draw_is_uniform_within_the_bound),
        cmocka_unit_test(test_add_refuses),
        cmocka_unit_test(test_number_of_tensors),
        cmocka_unit_test(test_text_too_long),
        cmocka_unit_test(test_hostile_text),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_oversized_text_is_refused_unread),
        cmocka_unit_test(test_control_tensors),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
