/* auto(...): which codecs are in it, and which is chosen for what line and what vector. */
#include "tests/support/cmocka.h"

#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "shared/codec/ladder.h"

#include <math.h>
#include <string.h>

enum { N = 40000 };
#define NONE SIZE_MAX

static struct trib_ladder *ladder_of(const char *spec) {
    const struct trib_schema schema = {.parameters = N};
    struct trib_ladder *ladder = NULL;
    struct trib_error err;
    if (trib_ladder_new(spec, &schema, &ladder, &err) != TRIB_OK) fail_msg("%s", err.text);
    return ladder;
}

static const char *spec_of(const struct trib_ladder *ladder, size_t rung) {
    return trib_codec_spec(trib_ladder_codec(ladder, rung));
}

static void expect_rungs(const char *spec, size_t count, const char *const *rungs) {
    struct trib_ladder *ladder = ladder_of(spec);
    assert_int_equal(trib_ladder_count(ladder), count);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(spec_of(ladder, i), rungs[i]);
        assert_int_equal(trib_ladder_find(ladder, rungs[i], strlen(rungs[i])), i);
        assert_true(i == 0 || trib_codec_max_bytes(trib_ladder_codec(ladder, i), N) >
                                  trib_codec_max_bytes(trib_ladder_codec(ladder, i - 1), N));
    }
    assert_true(trib_ladder_top(ladder) == trib_ladder_codec(ladder, count - 1));
    assert_int_equal(trib_ladder_find(ladder, "f16", 3), SIZE_MAX);
    trib_ladder_free(&ladder);
}

static void refuse(const char *spec, const char *text) {
    struct trib_error err = {0};
    assert_true(trib_ladder_check_spec(spec, &err) != TRIB_OK);
    if (strstr(err.text, text) == NULL) fail_msg("'%s' gives '%s', expected '%s'", spec, err.text, text);
}

static void test_rungs(void **state) {
    (void)state;
    expect_rungs("auto", 5,
                 (const char *[]){"rotate+1bit", "rotate+2bit", "rotate+3bit", "rotate+4bit", "int8"});
    expect_rungs("auto(min=topk(0.02)+int8+rice, max=int2)", 5,
                 (const char *[]){"topk(0.02)+int8+rice", "topk(0.05)+int4+rice", "rotate+1bit",
                                  "rotate+2bit", "int2"});
    /* All there are. A PUSH has the place of one, so this list does not change within a protocol version. */
    expect_rungs("auto(min=topk(0.001)+1bit+rice, max=f32)", 10,
                 (const char *[]){"topk(0.001)+1bit+rice", "topk(0.01)+1bit+rice", "topk(0.05)+int4+rice",
                                  "rotate+1bit", "rotate+2bit", "rotate+3bit", "rotate+4bit", "int8", "bf16",
                                  "f32"});
    expect_rungs("int4+zstd", 1, (const char *[]){"int4+zstd"});
    assert_int_equal(trib_ladder_check_spec("auto(loss=0.2, seconds=0.5)", NULL), TRIB_OK);
    assert_int_equal(trib_ladder_check_spec("auto(max=layer(conv=int8, else=f32))", NULL), TRIB_OK);
    assert_int_equal(trib_ladder_check_spec("int8", NULL), TRIB_OK);
    refuse("auto(min=int8, max=rotate+1bit)", "min=int8 is not smaller than max=rotate+1bit");
    refuse("auto(min=int8, max=int8)", "not smaller");
    refuse("auto(min=int9)", "int8");
    refuse("auto(max=auto)", "stands alone");
    refuse("auto+zstd", "stands alone");
    assert_int_equal(trib_codec_check_spec("auto", NULL), TRIB_INVALID);
    refuse("auto(seconds=0)", "seconds");
    refuse("auto(loss=2)", "loss");
    refuse("auto(rate=2)", "rate");
    refuse("int9", "did you mean int8?");
}

/* ---- choices ---- */

enum vector { NORMAL, FEW, ZEROS };

static void fill(float *x, enum vector what) {
    struct trib_rng rng = trib_rng_seed(5, 0);
    memset(x, 0, N * sizeof *x);
    for (size_t i = 0; i < N && what == NORMAL; i++) x[i] = (float)trib_rng_normal(&rng);
    for (size_t i = 0; i < 100 && what == FEW; i++) x[i * 397] = (float)trib_rng_normal(&rng);
}

/* The spec that is chosen, and why. `before`: a spec, or NULL. */
static void expect(const char *spec, enum vector what, double bytes_per_s, uint64_t waiting,
                   const char *before, const char *chosen, const char *reason) {
    static float x[N], y[N];
    struct trib_ladder *ladder = ladder_of(spec);
    struct trib_ladder_line line = {bytes_per_s, waiting, NONE};
    struct trib_ladder_choice choice;
    struct trib_blob *blob = NULL, *again = NULL;
    if (before != NULL) line.before = trib_ladder_find(ladder, before, strlen(before));
    fill(x, what);
    struct trib_source source = trib_source_floats(x, N);
    assert_int_equal(trib_ladder_encode(ladder, &line, &source, &blob, &choice, NULL), TRIB_OK);
    if (strcmp(spec_of(ladder, choice.rung), chosen) != 0 ||
        strcmp(trib_choice_name(choice.reason), reason) != 0)
        fail_msg("%s at %.0f, %d waiting: %s (%s), expected %s (%s)", spec, bytes_per_s, (int)waiting,
                 spec_of(ladder, choice.rung), trib_choice_name(choice.reason), chosen, reason);
    const struct trib_codec *codec = trib_ladder_codec(ladder, choice.rung);
    assert_int_equal(trib_codec_encode(codec, &source, &again, NULL), TRIB_OK);
    assert_int_equal(trib_blob_size(blob), trib_blob_size(again));
    assert_memory_equal(trib_blob_data(blob), trib_blob_data(again), trib_blob_size(blob));
    double all = 0.0, lost = 0.0;
    memcpy(y, x, sizeof y);
    trib_codec_add(codec, trib_blob_data(blob), trib_blob_size(blob), N, -1.0F, y);
    for (size_t i = 0; i < N; i++) all += (double)x[i] * (double)x[i], lost += (double)y[i] * (double)y[i];
    if (strcmp(reason, "only") != 0) assert_true(fabs(choice.lost * all - lost) <= 1e-6 * all);
    trib_blob_unref(&blob);
    trib_blob_unref(&again);
    trib_ladder_free(&ladder);
}

/* Of normal values rotate+1bit loses 0.36, +2bit 0.12, +3bit 0.034, +4bit 0.009 of the energy, int8 0.0001;
 * of N values they have 5,044, 10,044, 15,044, 20,044 and 40,628 bytes. */
static void test_energy(void **state) {
    (void)state;
    const double fast = 1e9;
    expect("auto", NORMAL, fast, 0, NULL, "rotate+3bit", "energy");
    expect("auto(loss=0.2)", NORMAL, fast, 0, NULL, "rotate+2bit", "energy");
    expect("auto(loss=0.02)", NORMAL, fast, 0, NULL, "rotate+4bit", "energy");
    expect("auto(loss=0)", NORMAL, fast, 0, NULL, "int8", "max");
    expect("auto(loss=1)", NORMAL, fast, 0, NULL, "rotate+1bit", "energy");
    expect("auto(min=topk(0.01)+1bit+rice)", NORMAL, fast, 0, NULL, "rotate+3bit", "energy");
    expect("auto(min=topk(0.01)+1bit+rice)", FEW, fast, 0, NULL, "topk(0.05)+int4+rice", "energy");
    expect("auto", ZEROS, fast, 0, NULL, "rotate+1bit", "energy");
    expect("int8", NORMAL, fast, 3, NULL, "int8", "only");
}

static void test_line(void **state) {
    (void)state;
    expect("auto(loss=0)", NORMAL, 0, 0, NULL, "rotate+1bit", "unmeasured");
    expect("auto(loss=0)", NORMAL, 1000, 0, NULL, "rotate+1bit", "bandwidth");
    expect("auto(loss=0)", NORMAL, 10100, 0, NULL, "rotate+2bit", "bandwidth");
    expect("auto(loss=0, seconds=2)", NORMAL, 10100, 0, NULL, "rotate+4bit", "bandwidth");
    expect("auto(loss=0)", NORMAL, 20200, 1, NULL, "rotate+2bit", "queue");
    expect("auto(loss=0)", NORMAL, 20200, 0, NULL, "rotate+4bit", "bandwidth");
    expect("auto(loss=0)", NORMAL, 90000, 1, NULL, "int8", "max");
}

/* What was chosen stays chosen for a third less rate and a quarter more loss; more needs room to spare. */
static void test_steady(void **state) {
    (void)state;
    expect("auto(loss=0)", NORMAL, 8000, 0, "rotate+2bit", "rotate+2bit", "bandwidth");
    expect("auto(loss=0)", NORMAL, 8000, 0, NULL, "rotate+1bit", "bandwidth");
    expect("auto(loss=0)", NORMAL, 7000, 0, "rotate+2bit", "rotate+1bit", "bandwidth");
    expect("auto(loss=0)", NORMAL, 10100, 0, "rotate+1bit", "rotate+1bit", "bandwidth");
    expect("auto(loss=0)", NORMAL, 13500, 0, "rotate+1bit", "rotate+2bit", "bandwidth");
    expect("auto(loss=0.1)", NORMAL, 1e9, 0, "rotate+2bit", "rotate+2bit", "steady");
    expect("auto(loss=0.1)", NORMAL, 1e9, 0, NULL, "rotate+3bit", "energy");
    expect("auto(loss=0.125)", NORMAL, 1e9, 0, "rotate+3bit", "rotate+3bit", "energy");
    expect("auto(loss=0.2)", NORMAL, 1e9, 0, "rotate+3bit", "rotate+2bit", "energy");
}

static void test_failures(void **state) {
    (void)state;
    static float x[N];
    const struct trib_schema schema = {.parameters = N};
    struct trib_ladder *ladder = NULL;
    struct trib_ladder_line line = {1e9, 0, NONE};
    struct trib_ladder_choice choice;
    struct trib_blob *blob = NULL;
    enum trib_status status = TRIB_NOMEM;
    for (long n = 0; status != TRIB_OK; n++) {
        assert_true(n < 200);
        trib_alloc_fail_after(n);
        status = trib_ladder_new("auto", &schema, &ladder, NULL);
        trib_alloc_fail_after(-1);
        assert_true(status == TRIB_OK ? n > 0 : status == TRIB_NOMEM && ladder == NULL);
    }
    fill(x, NORMAL);
    struct trib_source source = trib_source_floats(x, N);
    status = TRIB_NOMEM;
    for (long n = 0; status != TRIB_OK; n++) {
        assert_true(n < 200);
        trib_alloc_fail_after(n);
        status = trib_ladder_encode(ladder, &line, &source, &blob, &choice, NULL);
        trib_alloc_fail_after(-1);
        assert_true(status == TRIB_OK ? n > 0 : status == TRIB_NOMEM && blob == NULL);
    }
    trib_blob_unref(&blob);
    x[N - 1] = NAN;
    assert_int_equal(trib_ladder_encode(ladder, &line, &source, &blob, &choice, NULL), TRIB_LIMIT);
    assert_null(blob);
    trib_ladder_free(&ladder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rungs),  cmocka_unit_test(test_energy),   cmocka_unit_test(test_line),
        cmocka_unit_test(test_steady), cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests_name("codec_ladder", tests, NULL, NULL);
}
