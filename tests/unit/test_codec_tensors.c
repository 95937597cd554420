/* Codes that look at a model's tensors: scales per tensor and channel, whole rows, low rank; and sparse
 * ternary compression, which is made of others. */
#include "tests/support/cmocka.h"
#include "tests/support/tensors.h"

#include "shared/base/rng.h"
#include "shared/codec/codec.h"
#include "shared/codec/codec_row.h"
#include "shared/kernels/kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A convolution of 8 filters of 3 x 5 x 5, its biases, a matrix. */
enum { FILTERS = 8, FILTER = 75, CONV = FILTERS * FILTER, ROWS = 120, COLUMNS = 200, FC = ROWS * COLUMNS };
enum { COUNT = CONV + FILTERS + FC };

static struct trib_codec *codec_of(const char *spec) {
    const size_t conv[] = {FILTERS, 3, 5, 5}, bias = FILTERS, fc[] = {ROWS, COLUMNS};
    struct trib_codec *codec = NULL;
    struct tensors t = {0};
    struct trib_error err;
    tensors_add(&t, "conv.weight", conv, 4);
    tensors_add(&t, "conv.bias", &bias, 1);
    tensors_add(&t, "fc.weight", fc, 2);
    if (trib_codec_new_for(spec, &t.schema, &codec, &err) != TRIB_OK) fail_msg("%s", err.text);
    return codec;
}

static void fill(float *x, size_t n, uint64_t seed) {
    struct trib_rng rng = trib_rng_seed(seed, 0);
    for (size_t i = 0; i < n; i++) x[i] = (float)trib_rng_normal(&rng);
}

static struct trib_blob *encoded(const struct trib_codec *codec, const float *x, size_t n) {
    struct trib_source source = trib_source_floats(x, n);
    struct trib_blob *blob = NULL;
    struct trib_error err;
    if (trib_codec_encode(codec, &source, &blob, &err) != TRIB_OK) fail_msg("%s", err.text);
    return blob;
}

static double squares(const float *x, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sum;
}

/* What is lost of x; *bytes of the encoding, y what it decodes to, whole and in pieces. */
static double coded(const char *spec, const float *x, float *y, size_t *bytes) {
    static float pieces[COUNT], left[COUNT];
    struct trib_codec *codec = codec_of(spec);
    struct trib_blob *blob = encoded(codec, x, COUNT);
    struct trib_rng rng = trib_rng_seed(3, 0);
    struct trib_decoder d, other; /* what one adds the other passes over */
    struct trib_plain plain;
    double found = -1.0;
    *bytes = trib_blob_size(blob);
    assert_int_equal(trib_codec_check(codec, trib_blob_data(blob), *bytes, COUNT, &found, NULL), TRIB_OK);
    memset(y, 0, COUNT * sizeof *y);
    memset(pieces, 0, sizeof pieces);
    assert_int_equal(trib_codec_add(codec, trib_blob_data(blob), *bytes, COUNT, 1.0F, y), TRIB_OK);
    assert_true(fabs(found - squares(y, COUNT)) <= 1e-6 * found);
    assert_int_equal(trib_plain_open(codec, trib_blob_data(blob), *bytes, COUNT, &plain, NULL), TRIB_OK);
    trib_decoder_start(&d, codec, plain.data, plain.bytes, COUNT);
    other = d;
    while (d.position < COUNT) {
        size_t n = (size_t)trib_rng_below(&rng, 700), at = d.position;
        n = n < COUNT - at ? n : COUNT - at;
        trib_decoder_add(&d, n, 1.0F, pieces + at);
        trib_decoder_skip(&other, n);
        const struct trib_decoder swap = d;
        d = other;
        other = swap;
    }
    assert_memory_equal(pieces, y, sizeof pieces);
    trib_plain_release(&plain);
    for (size_t i = 0; i < COUNT; i++) left[i] = x[i] - y[i];
    trib_blob_unref(&blob);
    trib_codec_free(&codec);
    return squares(left, COUNT);
}

/* The largest of what shares a scale comes through exactly; filters of unequal size do not disturb each
 * other. */
static void test_scales(void **state) {
    (void)state;
    static float x[COUNT], y[COUNT];
    size_t bytes;
    fill(x, COUNT, 1);
    for (size_t f = 0; f < FILTERS; f++)
        for (size_t i = 0; i < FILTER; i++) x[f * FILTER + i] = ldexpf(x[f * FILTER + i], -(int)f);
    double channel = coded("layer(conv=int4(per=channel), else=f32)", x, y, &bytes);
    assert_int_equal(bytes, FILTERS * (4 + (FILTER + 1) / 2) + 4 + FILTERS / 2 + FC * 4);
    for (size_t f = 0; f < FILTERS; f++) {
        double most = 0.0, found = 0.0;
        for (size_t i = f * FILTER; i < (f + 1) * FILTER; i++) {
            most = fmax(most, fabs((double)x[i]));
            found = fmax(found, fabs((double)y[i]));
        }
        assert_true(fabs(found - most) < 1e-6 * most);
        for (size_t i = f * FILTER; i < (f + 1) * FILTER; i++)
            assert_true(fabs((double)x[i] - (double)y[i]) <= most / 14 * 1.0001);
    }
    double tensor = coded("layer(conv=int4(per=tensor), else=f32)", x, y, &bytes);
    assert_int_equal(bytes, 4 + CONV / 2 + 4 + FILTERS / 2 + FC * 4);
    assert_true(channel < 0.7 * tensor);
    coded("int8(zero=true, round=stochastic, per=channel)+zstd", x, y, &bytes);
}

/* The rows with the largest norms, those of each tensor apart; what is kept is what was there. */
static void test_rows(void **state) {
    (void)state;
    static float x[COUNT], y[COUNT];
    size_t bytes;
    fill(x, COUNT, 2);
    for (size_t i = 0; i < FILTER; i++) x[3 * FILTER + i] *= 4, x[6 * FILTER + i] *= 3;
    for (size_t i = 0; i < COLUMNS; i++) x[CONV + FILTERS + 117 * COLUMNS + i] *= 100;
    coded("rows(0.25)+f32+rice", x, y, &bytes);
    for (size_t i = 0; i < CONV; i++) {
        const bool kept = i / FILTER == 3 || i / FILTER == 6;
        assert_true(y[i] == (kept ? x[i] : 0.0F));
    }
    assert_memory_equal(y + CONV, x + CONV, FILTERS * sizeof *x);
    size_t kept = 0;
    double least = INFINITY, most = 0.0;
    for (size_t r = 0; r < ROWS; r++) {
        const float *row = x + CONV + FILTERS + r * COLUMNS;
        const double norm = squares(row, COLUMNS);
        const bool there = memcmp(row, y + (row - x), COLUMNS * sizeof *row) == 0;
        kept += there;
        if (there) least = fmin(least, norm);
        if (there) continue;
        most = fmax(most, norm);
        assert_true(squares(y + (row - x), COLUMNS) == 0.0);
    }
    assert_int_equal(kept, ROWS / 4);
    assert_true(most < least);
    assert_true(bytes < 4 + 40 + 4 * (2 * FILTER + FILTERS + ROWS / 4 * COLUMNS));
}

/* A matrix of that rank is all there; one of any other is projected, and never grows. */
static void test_low_rank(void **state) {
    (void)state;
    static float x[COUNT], y[COUNT], p[3 * ROWS], q[3 * COLUMNS];
    size_t bytes;
    fill(x, COUNT, 3);
    fill(p, 3 * ROWS, 4);
    fill(q, 3 * COLUMNS, 5);
    memset(x + CONV + FILTERS, 0, FC * sizeof *x);
    for (size_t k = 0; k < 3; k++)
        for (size_t i = 0; i < FC; i++)
            x[CONV + FILTERS + i] += p[k * ROWS + i / COLUMNS] * q[k * COLUMNS + i % COLUMNS];
    double lost = coded("layer(fc=powersgd(3)+f32, else=f32)", x, y, &bytes);
    assert_true(lost < 1e-9 * squares(x, COUNT));
    assert_int_equal(bytes, 4 * (CONV + FILTERS + 3 * (ROWS + COLUMNS)));
    double two = coded("layer(fc=powersgd(2, iterations=6)+f32, else=f32)", x, y, &bytes),
           all = squares(x, COUNT);
    assert_true(two > 0.02 * all && two < 0.4 * all);
    double one = coded("layer(fc=powersgd(1, iterations=6)+f32, else=f32)", x, y, &bytes);
    assert_true(one > two && one < 0.8 * all);
    fill(x, COUNT, 6);
    assert_true(coded("powersgd(4)+rotate+4bit", x, y, &bytes) < squares(x, COUNT));
    memset(x, 0, sizeof x);
    assert_true(coded("powersgd(4)+int8", x, y, &bytes) == 0.0);
    /* Of any size: the check takes it, and of very large ones the most is cut off. */
    static const char *const specs[] = {"powersgd(4)+f32", "powersgd(4)+1bit", "powersgd(2)+rotate+4bit"};
    static const float sizes[] = {1e14F, 1e17F, 1e18F, 1e19F, 1e24F, 3e38F};
    for (size_t s = 0; s < sizeof specs / sizeof *specs; s++)
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            for (size_t i = 0; i < COUNT; i++) x[i] = i % 3 == 0 ? -sizes[k] : sizes[k];
            assert_true(isfinite(coded(specs[s], x, y, &bytes)));
        }
}

/* P is orthonormal, so that Q alone would be as small as the update: a code whose blocks hold both would lose
 * all of it. */
static void test_low_rank_of_small_updates(void **state) {
    (void)state;
    static const char *const specs[] = {"powersgd(2)+int8", "powersgd(2)+int4", "powersgd(2)+rotate+4bit"};
    static const float sizes[] = {1e-6F, 1e-4F, 1e-2F, 1.0F, 100.0F};
    static float x[COUNT], y[COUNT], row[ROWS];
    size_t bytes;
    fill(row, ROWS, 7);
    for (size_t s = 0; s < sizeof specs / sizeof *specs; s++)
        for (size_t k = s == 2; k < sizeof sizes / sizeof *sizes; k++) { /* biases share the rotated block */
            memset(x, 0, sizeof x);
            for (size_t i = 0; i < FC; i++)
                x[CONV + FILTERS + i] = sizes[k] * (row[i / COLUMNS] + (i % COLUMNS == 5 ? 3.0F : 0.0F));
            const double all = squares(x, COUNT), lost = coded(specs[s], x, y, &bytes);
            if (!(lost < 0.1 * all))
                fail_msg("%s of %g: loses %g of %g", specs[s], (double)sizes[k], lost, all);
        }
}

/* ---- long rows ---- */

enum { LONG_ROWS = 4, LONG = 65536 };

static const struct trib_codec_values *counted; /* these, */
static size_t decoded;                          /* which gave so many values */

static void count_add(const struct trib_stage *stage, const uint8_t *data, size_t count, size_t first,
                      size_t n, float a, float *y) {
    decoded += n;
    counted->add(stage, data, count, first, n, a, y);
}

/* A block takes the columns of the factors that it needs, not whole rows. */
static void test_long_rows(void **state) {
    (void)state;
    static float x[LONG_ROWS * LONG], whole[LONG_ROWS * LONG], blocks[LONG_ROWS * LONG];
    const size_t dims[] = {LONG_ROWS, LONG};
    struct trib_codec *codec = NULL;
    struct tensors t = {0};
    struct trib_error err;
    struct trib_plain plain;
    struct trib_decoder d;
    tensors_add(&t, "fc.weight", dims, 2);
    assert_int_equal(trib_codec_new_for("powersgd(1)+f32", &t.schema, &codec, &err), TRIB_OK);
    fill(x, LONG_ROWS * LONG, 7);
    struct trib_blob *blob = encoded(codec, x, LONG_ROWS * LONG);
    trib_codec_add(codec, trib_blob_data(blob), trib_blob_size(blob), LONG_ROWS * LONG, 1.0F, whole);
    struct trib_codec_row row = *codec->values.row;
    struct trib_codec_values values = *row.values;
    counted = row.values;
    row.values = &values;
    values.add = count_add;
    codec->values.row = &row;
    assert_int_equal(
        trib_plain_open(codec, trib_blob_data(blob), trib_blob_size(blob), LONG_ROWS * LONG, &plain, &err),
        TRIB_OK);
    trib_decoder_start(&d, codec, plain.data, plain.bytes, LONG_ROWS * LONG);
    for (size_t at = 0, n; at < LONG_ROWS * LONG; at += n) {
        n = LONG_ROWS * LONG - at < 4095 ? LONG_ROWS * LONG - at : 4095; /* some end behind a row's end */
        trib_decoder_add(&d, n, 1.0F, blocks + at);
    }
    assert_memory_equal(blocks, whole, sizeof whole);
    assert_true(decoded >= (size_t)LONG_ROWS * LONG && decoded < 2 * (size_t)LONG_ROWS * LONG);
    trib_plain_release(&plain);
    trib_blob_unref(&blob);
    trib_codec_free(&codec);
}

/* ---- the same from every kernel set ---- */

static uint32_t digest_all(void) {
    static const char *const specs[] = {
        "powersgd(3)+int8",  "powersgd(2)+rotate+1bit",     "rows(0.3)+int4+rice",
        "int4(per=channel)", "int8(zero=true, per=tensor)", "int2(round=stochastic, per=channel)"};
    static float x[COUNT], y[COUNT];
    struct trib_rng rng = trib_rng_seed(9, 0);
    uint32_t crc = 0;
    for (size_t i = 0; i < COUNT; i++) x[i] = (float)(trib_rng_unit(&rng) - 0.5); /* portable */
    for (size_t s = 0; s < sizeof specs / sizeof *specs; s++) {
        struct trib_codec *codec = codec_of(specs[s]);
        struct trib_blob *blob = encoded(codec, x, COUNT);
        trib_codec_add(codec, trib_blob_data(blob), trib_blob_size(blob), COUNT, 0.7F, y);
        crc = trib_kernels()->crc32c(crc, trib_blob_data(blob), trib_blob_size(blob));
        crc = trib_kernels()->crc32c(crc, y, sizeof y);
        trib_blob_unref(&blob);
        trib_codec_free(&codec);
    }
    return crc;
}

/* In a child process, since a process chooses its kernels once. */
static uint32_t digest_with(const char *set) {
    int ends[2], status = -1;
    uint32_t digest = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        setenv("TRIBUTARY_KERNELS", set, 1);
        digest = digest_all();
        bool right = strcmp(trib_kernels()->name, set) == 0;
        _exit(right && write(ends[1], &digest, sizeof digest) == sizeof digest ? 0 : 1);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &digest, sizeof digest), sizeof digest);
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    return digest;
}

static void test_every_set(void **state) {
    (void)state;
    for (const struct trib_kernels *const *set = trib_kernels_list(); *set != NULL; set++) {
        if (trib_kernels_find((*set)->name) == NULL) continue;
        uint32_t found = digest_with((*set)->name);
        if (found != 0x3673EB56U) fail_msg("%s: 0x%08XU", (*set)->name, found);
    }
}

static void refuse(const char *spec, const char *text) {
    struct trib_error err = {0};
    assert_true(trib_codec_check_spec(spec, &err) != TRIB_OK);
    if (strstr(err.text, text) == NULL) fail_msg("'%s' gives '%s', expected '%s'", spec, err.text, text);
}

static void test_specs(void **state) {
    (void)state;
    struct trib_codec *codec =
        codec_of("layer(conv=int4(zero=true, per=channel), else=powersgd(rank=4)+int8)");
    assert_string_equal(trib_codec_spec(codec),
                        "layer(conv=int4(zero=true, per=channel), else=powersgd(rank=4)+int8)");
    trib_codec_free(&codec);
    refuse("rotate+int8(per=channel)", "behind rotate");
    refuse("topk(0.1)+int8(per=tensor)", "behind topk");
    refuse("int8(block=64, per=tensor)", "one of the two");
    refuse("powersgd(2)+topk(0.1)+int8", "cannot follow powersgd");
    refuse("powersgd(2)", "needs a code");
    refuse("powersgd(0)+int8", "rank");
    refuse("rows(0)+int8", "fraction");
    assert_int_equal(trib_codec_new("rows(0.5)+int8", &codec, NULL), TRIB_UNSUPPORTED);
    assert_int_equal(trib_codec_new("int8(per=channel)", &codec, NULL), TRIB_UNSUPPORTED);
    assert_int_equal(trib_codec_new("powersgd(1)+int8", &codec, NULL), TRIB_UNSUPPORTED);
}

/* STC (arXiv 1903.02891): of the largest p the signs, times their mean magnitude, and gaps in Golomb code
 * with b = 1 + floor(log2(log(golden ratio - 1) / log(1 - p))), b + 1 / (1 - (1 - p)^(2^b)) bits in the mean.
 */
static void test_stc(void **state) {
    (void)state;
    enum { N = 1 << 20 };
    static float x[N], y[N];
    static const struct {
        const char *spec;
        double p, ratio;
    } stc[] = {{"topk(0.04)+1bit(block=0)+rice", 1.0 / 25, 113},
               {"topk(0.02)+1bit(block=0)+rice", 1.0 / 50, 198},
               {"topk(0.01)+1bit(block=0)+rice", 1.0 / 100, 351},
               {"topk(0.005)+1bit(block=0)+rice", 1.0 / 200, 633},
               {"topk(0.0025)+1bit(block=0)+rice", 1.0 / 400, 1152},
               {"topk(0.001)+1bit(block=0)+rice", 1.0 / 1000, 2561}};
    fill(x, N, 8);
    for (size_t i = 0; i < sizeof stc / sizeof *stc; i++) {
        const double p = stc[i].p, k = ceil(p * N);
        const double b = 1 + floor(log2(log((sqrt(5.0) - 1) / 2) / log(1 - p)));
        const double bits = b + 1 / (1 - pow(1 - p, exp2(b)));
        struct trib_codec *codec = codec_of(stc[i].spec);
        struct trib_blob *blob = encoded(codec, x, N);
        const double size = (double)trib_blob_size(blob);
        assert_true(fabs(8 * size - k * (bits + 1)) < 0.012 * 8 * size);
        assert_true(fabs(32.0 * N / (8 * size) / stc[i].ratio - 1) < 0.012);
        memset(y, 0, sizeof y);
        trib_codec_add(codec, trib_blob_data(blob), trib_blob_size(blob), N, 1.0F, y);
        double sum = 0.0, kept = 0.0;
        float value = 0.0F;
        for (size_t j = 0; j < N; j++) {
            if (y[j] == 0.0F) continue;
            assert_true(signbit(x[j]) == signbit(y[j]) && (value == 0.0F || fabsf(y[j]) == value));
            value = fabsf(y[j]);
            sum += fabs((double)x[j]);
            kept++;
        }
        assert_true(kept == k && fabs(sum / kept - (double)value) < 1e-6 * (double)value);
        trib_blob_unref(&blob);
        trib_codec_free(&codec);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_set), /* first: nothing has chosen yet */
        cmocka_unit_test(test_scales),    cmocka_unit_test(test_rows),
        cmocka_unit_test(test_low_rank),  cmocka_unit_test(test_low_rank_of_small_updates),
        cmocka_unit_test(test_long_rows), cmocka_unit_test(test_specs),
        cmocka_unit_test(test_stc),
    };
    return cmocka_run_group_tests_name("codec_tensors", tests, NULL, NULL);
}
