/* What every row of the codec table must do, whatever it is. */
#include "tests/support/tensors.h"

#include "shared/codec/codec.h"

#include "shared/base/alloc.h"
#include "shared/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

enum { MOST = 9000 };

static const size_t lengths[] = {0,   1,   2,   3,    5,    7,    8,    15,   16,   17,
                                 31,  63,  64,  65,   127,  128,  129,  255,  256,  257,
                                 511, 512, 513, 1000, 1023, 4095, 4096, 4097, 8192, MOST};
enum { LENGTHS = sizeof lengths / sizeof lengths[0] };

/* A matrix of rows of 13 values, and what is left over. */
static struct trib_codec *codec_for(const char *spec, size_t n) {
    const size_t matrix[2] = {n / 13, 13}, rest = n % 13;
    struct tensors t = {0};
    struct trib_codec *codec = NULL;
    struct trib_error err;
    if (matrix[0] > 0) tensors_add(&t, "weight", matrix, 2);
    if (rest > 0) tensors_add(&t, "bias", &rest, 1);
    if (trib_codec_new_for(spec, &t.schema, &codec, &err) != TRIB_OK) fail_msg("%s", err.text);
    return codec;
}

static void each_codec(void (*check)(const char *spec)) {
    static const char *const more[] = {"int4(per=channel)", "int8(zero=true, per=tensor)",
                                       "int2(round=stochastic, per=channel)+zstd", "powersgd(3)+rotate+4bit",
                                       "rows(0.3)+f32"};
    size_t count;
    const struct trib_codec_row *rows = trib_codec_rows(&count);
    assert_true(count > 0);
    for (size_t i = 0; i < count + sizeof more / sizeof *more; i++) {
        const char *spec = i < count ? rows[i].example : more[i - count];
        if (i < count && rows[i].kind == TRIB_CODEC_LAYERS)
            continue; /* needs names: tests/unit/test_codec_layer.c */
        print_message("%s\n", spec);
        check(spec);
    }
}

static void values_of(float *x, size_t n, uint64_t seed) {
    struct trib_rng rng = trib_rng_seed(seed, 0);
    for (size_t i = 0; i < n; i++) x[i] = (float)(trib_rng_unit(&rng) - 0.5);
}

static struct trib_blob *encoded(const struct trib_codec *codec, const float *x, size_t n) {
    struct trib_source source = trib_source_floats(x, n);
    struct trib_blob *blob = NULL;
    struct trib_error err;
    if (trib_codec_encode(codec, &source, &blob, &err) != TRIB_OK) fail_msg("%s", err.text);
    return blob;
}

static enum trib_status checked(const struct trib_codec *codec, const void *data, size_t bytes, size_t n,
                                struct trib_error *err) {
    *err = (struct trib_error){0};
    enum trib_status status = trib_codec_check(codec, data, bytes, n, NULL, err);
    if (status != TRIB_OK) {
        assert_int_equal(err->status, status);
        assert_true(strlen(err->text) > 10);
    }
    return status;
}

static void check_row(const struct trib_codec_row *row) {
    assert_non_null(row->name);
    assert_true(strlen(row->summary) > 5);
    assert_non_null(strstr(row->example, row->name));
    assert_int_equal(row->kind == TRIB_CODEC_SELECT, row->select != NULL);
    assert_int_equal(row->kind == TRIB_CODEC_POSITIONS, row->positions != NULL);
    assert_int_equal(row->kind == TRIB_CODEC_VALUES, row->values != NULL);
    for (size_t p = 0; p < row->param_count; p++) {
        assert_non_null(row->params[p].help);
        assert_non_null(row->params[p].fallback);
    }
}

static void test_rows(void **state) {
    (void)state;
    size_t count;
    const struct trib_codec_row *rows = trib_codec_rows(&count);
    for (size_t i = 0; i < count; i++) {
        check_row(&rows[i]);
        for (size_t j = 0; j < i; j++) assert_string_not_equal(rows[i].name, rows[j].name);
    }
}

/* The canonical spec means the same codec. */
static void check_spec(const char *spec) {
    struct trib_codec *codec = codec_for(spec, 100), *again = codec_for(trib_codec_spec(codec), 100);
    assert_string_equal(trib_codec_spec(again), trib_codec_spec(codec));
    trib_codec_free(&codec);
    trib_codec_free(&again);
}

/* Encoding is deterministic, within max_bytes, passes the check, and carries most of the vector. */
static void check_round_trip(const char *spec) {
    static float x[MOST], left[MOST];
    for (size_t l = 0; l < LENGTHS; l++) {
        size_t n = lengths[l];
        struct trib_codec *codec = codec_for(spec, n);
        struct trib_error err;
        values_of(x, n, l);
        memcpy(left, x, sizeof left);
        struct trib_blob *blob = encoded(codec, x, n), *again = encoded(codec, x, n);
        const size_t bytes = trib_blob_size(blob);
        assert_int_equal(bytes, trib_blob_size(again));
        assert_memory_equal(trib_blob_data(blob), trib_blob_data(again), bytes);
        assert_true(bytes <= trib_codec_max_bytes(codec, n));
        if (checked(codec, trib_blob_data(blob), bytes, n, &err) != TRIB_OK) fail_msg("%s", err.text);
        trib_codec_add(codec, trib_blob_data(blob), bytes, n, -1.0F, left);
        double before = 0.0, after = 0.0;
        for (size_t i = 0; i < n; i++) before += (double)x[i] * (double)x[i];
        for (size_t i = 0; i < n; i++) after += (double)left[i] * (double)left[i];
        assert_true(n == 0 || after < before);
        trib_blob_unref(&blob);
        trib_blob_unref(&again);
        trib_codec_free(&codec);
    }
}

/* A payload cut or made longer, anywhere, is refused; one for another count too. */
static void check_length(const char *spec) {
    static float x[MOST];
    static uint8_t longer[MOST * 5];
    for (size_t l = 0; l < LENGTHS; l++) {
        size_t n = lengths[l];
        struct trib_codec *codec = codec_for(spec, n);
        struct trib_error err;
        values_of(x, n, l);
        struct trib_blob *blob = encoded(codec, x, n);
        const size_t bytes = trib_blob_size(blob);
        memset(longer, 0, sizeof longer);
        memcpy(longer, trib_blob_data(blob), bytes);
        for (size_t more = 1; more <= 9; more++)
            assert_int_equal(checked(codec, longer, bytes + more, n, &err), TRIB_INVALID);
        size_t step = bytes > 300 ? bytes / 101 : 1;
        for (size_t cut = 1; cut <= bytes; cut += step) {
            /* an exact copy, so that a sanitizer sees any read behind its end */
            struct trib_blob *part = trib_blob_copy(trib_blob_data(blob), bytes - cut);
            assert_non_null(part);
            assert_int_equal(checked(codec, trib_blob_data(part), bytes - cut, n, &err), TRIB_INVALID);
            trib_blob_unref(&part);
        }
        trib_blob_unref(&blob);
        trib_codec_free(&codec);
    }
}

/* Values at the lower end of the range, where a scale would be denormal: what is sent passes the check. */
static void check_tiny(const char *spec) {
    enum { N = 300 };
    static float x[N], tiny[N];
    struct trib_codec *codec = codec_for(spec, N);
    values_of(x, N, 2);
    for (int e = -149; e < -100; e++) {
        struct trib_error err;
        for (size_t i = 0; i < N; i++) tiny[i] = ldexpf(x[i], e);
        struct trib_blob *blob = encoded(codec, tiny, N);
        if (checked(codec, trib_blob_data(blob), trib_blob_size(blob), N, &err) != TRIB_OK)
            fail_msg("values below 2^%d: %s", e, err.text);
        trib_blob_unref(&blob);
    }
    trib_codec_free(&codec);
}

static void check_not_finite(const char *spec) {
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    static float x[MOST];
    for (size_t l = 1; l < LENGTHS; l++) {
        size_t n = lengths[l];
        struct trib_codec *codec = codec_for(spec, n);
        values_of(x, n, l);
        struct trib_source source = trib_source_floats(x, n);
        for (size_t i = 0; i < 6; i++) {
            struct trib_blob *blob = NULL;
            struct trib_error err = {0};
            size_t at = i < 3 ? n - 1 : n / 2;
            float kept = x[at];
            x[at] = bad[i % 3];
            assert_int_equal(trib_codec_encode(codec, &source, &blob, &err), TRIB_LIMIT);
            assert_int_equal(err.status, TRIB_LIMIT);
            assert_non_null(strstr(err.text, "NaN or infinity"));
            assert_null(blob);
            x[at] = kept;
        }
        trib_codec_free(&codec);
    }
}

/* Whatever bytes pass the check decode to finite values and touch nothing outside the vector. */
static void check_mutations(const char *spec) {
    enum { N = 700 };
    static float x[N], y[N];
    struct trib_rng rng = trib_rng_seed(4, 0);
    size_t passed = 0;
    struct trib_codec *codec = codec_for(spec, N);
    values_of(x, N, 1);
    for (size_t run = 0; run < 3000; run++) {
        struct trib_error err;
        struct trib_blob *blob = encoded(codec, x, N);
        uint8_t *data = trib_blob_mutable(blob);
        const size_t bytes = trib_blob_size(blob);
        for (size_t flips = trib_rng_below(&rng, 4); flips > 0; flips--)
            data[trib_rng_below(&rng, bytes)] = (uint8_t)trib_rng_u64(&rng);
        if (checked(codec, data, bytes, N, &err) == TRIB_OK) {
            memset(y, 0, sizeof y);
            trib_codec_add(codec, data, bytes, N, 1.0F, y);
            for (size_t i = 0; i < N; i++) assert_true(isfinite(y[i]));
            passed++;
        }
        trib_blob_unref(&blob);
    }
    assert_true(passed > 0);
    trib_codec_free(&codec);
}

static enum trib_status encode_once(const struct trib_codec *codec, const float *x, size_t n,
                                    struct trib_error *err) {
    struct trib_source source = trib_source_floats(x, n);
    struct trib_blob *blob = NULL;
    enum trib_status status = trib_codec_encode(codec, &source, &blob, err);
    assert_int_equal(status == TRIB_OK, blob != NULL);
    trib_blob_unref(&blob);
    return status;
}

static void check_no_memory(const char *spec) {
    static float x[MOST];
    const size_t shape[2] = {MOST / 10, 10};
    struct tensors t = {0};
    struct trib_codec *codec = NULL;
    struct trib_error err = {0};
    enum trib_status status = TRIB_NOMEM;
    tensors_add(&t, "weight", shape, 2);
    for (long n = 0; status != TRIB_OK; n++) {
        assert_true(n < 100);
        trib_alloc_fail_after(n);
        status = trib_codec_new_for(spec, &t.schema, &codec, &err);
        trib_alloc_fail_after(-1);
        assert_true(status == TRIB_OK ? n > 0 : status == TRIB_NOMEM && codec == NULL);
    }
    values_of(x, MOST, 1);
    status = TRIB_NOMEM;
    for (long n = 0; status != TRIB_OK; n++) {
        assert_true(n < 100);
        trib_alloc_fail_after(n);
        status = encode_once(codec, x, MOST, &err);
        trib_alloc_fail_after(-1);
        assert_true(status == TRIB_OK ? n > 0 : status == TRIB_NOMEM && err.status == TRIB_NOMEM);
    }
    trib_codec_free(&codec);
}

#define FOR_EACH(name)                                                                                       \
    static void test_##name(void **state) {                                                                  \
        (void)state;                                                                                         \
        each_codec(check_##name);                                                                            \
    }
FOR_EACH(spec)
FOR_EACH(round_trip)
FOR_EACH(length)
FOR_EACH(tiny)
FOR_EACH(not_finite)
FOR_EACH(mutations)
FOR_EACH(no_memory)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),      cmocka_unit_test(test_spec),      cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_length),    cmocka_unit_test(test_tiny),      cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_mutations), cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("codecs", tests, NULL, NULL);
}
