/* Codes of a few bits: how large their errors are, which of them have no bias, what rotation does, and that
 * an error that is fed back dies out whatever the values are. */
#include "tests/support/cmocka.h"

#include "shared/base/bytes.h"
#include "shared/base/rng.h"
#include "shared/codec/codec.h"

#include <math.h>
#include <string.h>

enum { COUNT = 3 * 4096 + 1234 };

static struct trib_codec *codec_of(const char *spec) {
    struct trib_codec *codec = NULL;
    struct trib_error err;
    if (trib_codec_new(spec, &codec, &err) != TRIB_OK) fail_msg("%s: %s", spec, err.text);
    return codec;
}

/* y = decode(encode(x)); returns the bytes it took. */
static size_t through(const char *spec, const float *x, size_t n, float *y) {
    struct trib_codec *codec = codec_of(spec);
    struct trib_source source = trib_source_floats(x, n);
    struct trib_blob *blob = NULL;
    struct trib_error err;
    if (trib_codec_encode(codec, &source, &blob, &err) != TRIB_OK) fail_msg("%s: %s", spec, err.text);
    size_t bytes = trib_blob_size(blob);
    memset(y, 0, n * sizeof *y);
    trib_codec_add(codec, trib_blob_data(blob), bytes, n, 1.0F, y);
    trib_blob_unref(&blob);
    trib_codec_free(&codec);
    return bytes;
}

/* ||x - y||^2 / ||x||^2 */
static double error_of(const float *x, const float *y, size_t n) {
    double error = 0.0, squares = 0.0;
    for (size_t i = 0; i < n; i++) {
        error += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        squares += (double)x[i] * (double)x[i];
    }
    return squares > 0.0 ? error / squares : 0.0;
}

static void normal_values(float *x, size_t n, uint64_t seed) {
    struct trib_rng rng = trib_rng_seed(seed, 0);
    for (size_t i = 0; i < n; i++) x[i] = (float)trib_rng_normal(&rng);
}

/* A few very large values among many small ones: what a block's scale likes least. */
static void spiky_values(float *x, size_t n, uint64_t seed) {
    struct trib_rng rng = trib_rng_seed(seed, 0);
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)trib_rng_normal(&rng) * 0.01F;
        if (trib_rng_below(&rng, 300) == 0) x[i] *= 1000.0F;
    }
}

/* The errors that the literature gives for normal values, and for any values behind a rotation. */
static void test_errors(void **state) {
    (void)state;
    static float x[COUNT], y[COUNT];
    static const struct {
        const char *spec;
        double normal, spiky, bits;
    } cases[] = {
        {"1bit", 0.3634, 0.99, 1.02},
        {"rotate+1bit", 0.3634, 0.3634, 1.02},
        {"2bit", 0.1175, 0.99, 2.02},
        {"rotate+2bit", 0.1175, 0.1175, 2.02},
        {"rotate+3bit", 0.0345, 0.0345, 3.02},
        {"rotate+4bit", 0.0095, 0.0095, 4.02},
        {"rotate+1bit(scale=unbiased)", 0.5708, 0.5708, 1.02},
        {"int8", 0.00006, 0.0002, 8.13},
        {"int4", 0.017, 0.013, 4.13},
        {"rotate+int4", 0.017, 0.017, 4.13},
        {"bf16", 0.000003, 0.000005, 16.01},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        normal_values(x, COUNT, c);
        size_t bytes = through(cases[c].spec, x, COUNT, y);
        double normal = error_of(x, y, COUNT);
        spiky_values(x, COUNT, c);
        (void)through(cases[c].spec, x, COUNT, y);
        double spiky = error_of(x, y, COUNT), bits = (double)bytes * 8.0 / COUNT;
        if (normal > 1.05 * cases[c].normal || spiky > 1.07 * cases[c].spiky || bits > cases[c].bits)
            fail_msg("%s: %g of normal, %g of spiky values in %g bits", cases[c].spec, normal, spiky, bits);
    }
}

/* Errors that are fed back: e = x + e - decode(encode(x + e)) stays bounded, spiky values or not, since no
 * code's error is larger than what it was given. */
static void test_never_larger(void **state) {
    (void)state;
    static float x[COUNT], y[COUNT];
    static const char *const specs[] = {"int8",
                                        "int4",
                                        "int2",
                                        "int4(block=0)",
                                        "int2(block=0)",
                                        "int4(zero=true)",
                                        "int2(zero=true)",
                                        "int8(round=stochastic)",
                                        "int4(round=stochastic)",
                                        "int2(round=stochastic)",
                                        "int2(zero=true, round=stochastic)",
                                        "int4(block=0, round=stochastic)",
                                        "1bit",
                                        "2bit",
                                        "3bit(block=16)",
                                        "4bit(block=0)",
                                        "rotate+1bit",
                                        "rotate(block=64)+2bit",
                                        "rotate+int2",
                                        "rotate+int2(round=stochastic)"};
    for (size_t s = 0; s < sizeof specs / sizeof specs[0]; s++)
        for (size_t n = 1; n <= COUNT; n = n * 3 + 2)
            for (uint64_t seed = 0; seed < 6; seed++) {
                (seed % 2 != 0 ? spiky_values : normal_values)(x, n, seed);
                (void)through(specs[s], x, n, y);
                double error = error_of(x, y, n);
                if (!(error < 1.00001)) fail_msg("%s of %zu values: an error of %g", specs[s], n, error);
            }
}

/* Rounding by lot and an unbiased scale: the mean over many slightly different vectors is right. */
static double bias_of(const char *spec, size_t rounds) {
    enum { N = 512 };
    static float x[N + 1], y[N + 1];
    static double mean[N];
    double bias = 0.0, squares = 0.0;
    memset(mean, 0, sizeof mean);
    normal_values(x, N, 77);
    for (size_t r = 0; r < rounds; r++) {
        x[N] = (float)r * 0.001F; /* another vector, so other lots; its own value is left out */
        (void)through(spec, x, N + 1, y);
        for (size_t i = 0; i < N; i++) mean[i] += (double)y[i] / (double)rounds;
    }
    for (size_t i = 0; i < N; i++) {
        bias += (mean[i] - (double)x[i]) * (mean[i] - (double)x[i]);
        squares += (double)x[i] * (double)x[i];
    }
    return bias / squares;
}

static void test_bias(void **state) {
    (void)state;
    assert_true(bias_of("int2", 400) > 0.2);
    assert_true(bias_of("int8(round=stochastic)", 400) < 1e-6);
    assert_true(bias_of("int4(round=stochastic)", 400) < 5e-3);
    assert_true(bias_of("rotate+1bit", 400) > 0.05);
    assert_true(bias_of("rotate+1bit(scale=unbiased)", 400) < 0.01);
}

enum { MANY = 1 << 20 };

/* By lot, and yet what is on a level stays there. */
static void test_lots(void **state) {
    (void)state;
    static float x[MANY], y[MANY];
    static const char *const specs[] = {"qsgd(levels=1, block=0)", "int8(block=0, round=stochastic)",
                                        "int8(zero=true, block=0, round=stochastic)"};
    for (size_t s = 0; s < sizeof specs / sizeof *specs; s++) {
        size_t low = 0, high = 0;
        for (size_t i = 0; i < MANY; i++) x[i] = i % 65536 == 9 ? 255.0F : 0.0F;
        (void)through(specs[s], x, MANY, y);
        for (size_t i = 0; i < MANY; i++) assert_true(y[i] >= 0 && (x[i] > 0 || !(y[i] > 0)));
        /* and what is between two levels is now the one, now the other */
        for (size_t i = 0; i < MANY; i++) x[i] = i == 9 ? 255.0F : i == 10 ? 0.0F : 10.5F;
        (void)through(specs[s], x, MANY, y);
        for (size_t i = 11; i < MANY; i++) low += y[i]<10.4F, high += y[i]> 10.6F;
        assert_true(s == 0 || (low > MANY / 8 && high > MANY / 8));
    }
}

/* A sign that few values have is sent too, for what is left over is added at the same places again. */
static void test_rare_signs(void **state) {
    (void)state;
    enum { COUNTED = 16384 };
    static float x[COUNTED], left[COUNTED], y[COUNTED];
    static const char *const specs[] = {"kmeans(bits=1)", "kmeans(bits=2)", "kmeans"};
    for (size_t s = 0; s < sizeof specs / sizeof *specs; s++) {
        memset(left, 0, sizeof left);
        for (size_t i = 0; i < COUNTED; i++) x[i] = i % 101 == 100 ? -1.0F : i % 3 == 0 ? 1.0F : 0.0F;
        for (size_t round = 0; round < 100; round++) {
            for (size_t i = 0; i < COUNTED; i++) left[i] += x[i];
            (void)through(specs[s], left, COUNTED, y);
            for (size_t i = 0; i < COUNTED; i++) left[i] -= y[i];
        }
        for (size_t i = 0; i < COUNTED; i++)
            if (!(fabsf(left[i]) < 60.0F))
                fail_msg("%s: %g is left of %g", specs[s], (double)left[i], (double)x[i]);
    }
}

/* Equal input, equal bytes; another vector, another rotation. */
static void test_seeds(void **state) {
    (void)state;
    static float x[COUNT];
    struct trib_codec *codec = codec_of("rotate+2bit");
    struct trib_source source = trib_source_floats(x, COUNT);
    uint32_t seeds[3];
    normal_values(x, COUNT, 5);
    for (size_t i = 0; i < 3; i++) {
        struct trib_blob *blob = NULL;
        if (i == 2) x[COUNT - 1] += 1.0F;
        assert_int_equal(trib_codec_encode(codec, &source, &blob, NULL), TRIB_OK);
        seeds[i] = trib_get_u32(trib_blob_data(blob));
        trib_blob_unref(&blob);
    }
    assert_int_equal(seeds[0], seeds[1]);
    assert_true(seeds[1] != seeds[2]);
    trib_codec_free(&codec);
}

/* Behind a rotation f32 gives back what went in, at every length: the rotation is its own undoing. */
static void test_orthogonal(void **state) {
    (void)state;
    static float x[COUNT], y[COUNT];
    for (size_t n = 1; n <= 600; n++) {
        normal_values(x, n, n);
        (void)through("rotate(block=256)+f32", x, n, y);
        assert_true(error_of(x, y, n) < 1e-12);
    }
    for (size_t n = COUNT - 5; n <= COUNT; n++) {
        normal_values(x, n, n);
        (void)through("rotate+f32", x, n, y);
        assert_true(error_of(x, y, n) < 1e-12);
    }
}

/* ... and one value spreads evenly over its block, the last short one too. */
static void test_spreads(void **state) {
    (void)state;
    enum { N = 4096 + 3000 };
    static float x[N], y[N];
    for (size_t at = 0; at < N; at += 611) {
        memset(x, 0, sizeof x);
        x[at] = 1.0F;
        struct trib_codec *codec = codec_of("rotate+f32");
        struct trib_source source = trib_source_floats(x, N);
        struct trib_blob *blob = NULL;
        assert_int_equal(trib_codec_encode(codec, &source, &blob, NULL), TRIB_OK);
        memcpy(y, trib_blob_data(blob) + 4, sizeof y);
        for (size_t i = 0; i < N; i++) assert_true(fabsf(y[i]) < (at < 4096 ? 0.016F : 0.15F));
        trib_blob_unref(&blob);
        trib_codec_free(&codec);
    }
}

static void test_zero_points(void **state) {
    (void)state;
    /* all of one sign: the zero point is at the end, and twice the levels are on the side that is used */
    static float x[COUNT], y[COUNT], z[COUNT];
    normal_values(x, COUNT, 3);
    for (size_t i = 0; i < COUNT; i++) x[i] = fabsf(x[i]);
    (void)through("int4", x, COUNT, y);
    (void)through("int4(zero=true)", x, COUNT, z);
    assert_true(error_of(x, z, COUNT) < 0.35 * error_of(x, y, COUNT));
    /* zero is a level: it comes back exactly */
    for (size_t i = 0; i < COUNT; i += 2) x[i] = 0.0F;
    for (size_t s = 0; s < 3; s++) {
        static const char *const specs[] = {"int8(zero=true)", "int4(zero=true)", "int2(zero=true)"};
        (void)through(specs[s], x, COUNT, y);
        for (size_t i = 0; i < COUNT; i += 2) assert_true(y[i] == 0.0F);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors),      cmocka_unit_test(test_never_larger),
        cmocka_unit_test(test_lots),        cmocka_unit_test(test_rare_signs),
        cmocka_unit_test(test_bias),        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_orthogonal),  cmocka_unit_test(test_spreads),
        cmocka_unit_test(test_zero_points),
    };
    return cmocka_run_group_tests_name("codec_dense", tests, NULL, NULL);
}
