/* Codecs: closed forms, error bounds, error feedback, exact selection, decoding in pieces, and the same bytes
 * and sums from every kernel set. */
#include "shared/codec/codec.h"

#include "shared/base/alloc.h"
#include "shared/base/bytes.h"
#include "shared/base/rng.h"
#include "shared/kernels/kernels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { COUNT = 10007 };

static const char *const specs[] = {"f32",
                                    "f16",
                                    "int8",
                                    "topk(0.05)+int8",
                                    "topk(0.3)+f32",
                                    "topk(0.01)+f16",
                                    "bf16",
                                    "int4",
                                    "int2",
                                    "int8(zero=true)",
                                    "int4(zero=true, block=64)",
                                    "int2(zero=true)",
                                    "int8(round=stochastic)",
                                    "int4(block=0, round=stochastic)",
                                    "int2(round=stochastic, zero=true)",
                                    "int4(block=4096)",
                                    "1bit",
                                    "2bit(block=0)",
                                    "3bit(block=64)",
                                    "4bit(scale=unbiased)",
                                    "rotate+1bit",
                                    "rotate+2bit",
                                    "rotate(block=256)+3bit",
                                    "rotate+4bit",
                                    "rotate+1bit(scale=unbiased)",
                                    "rotate+int8",
                                    "rotate+int4",
                                    "topk(0.1)+1bit",
                                    "topk(0.1)+rotate+4bit",
                                    "topk(0.1)+int4(block=32)",
                                    "topk(0.05)+int8+rice",
                                    "topk(0.6)+f16+rice",
                                    "topk(0.1)+1bit+rice",
                                    "threshold(1.5)+int8",
                                    "threshold(1.2)+2bit+rice",
                                    "randomk(0.1)+int8",
                                    "randomk(0.3)+rotate+2bit",
                                    "ternary",
                                    "rotate+ternary(block=4096)",
                                    "topk(0.1)+ternary(block=16)",
                                    "qsgd",
                                    "qsgd(levels=1, block=16)",
                                    "qsgd(levels=100, block=0)",
                                    "kmeans",
                                    "kmeans(bits=1)",
                                    "topk(0.1)+kmeans(bits=2)+rice"};
enum { SPECS = sizeof specs / sizeof specs[0], FIRST_SPECS = 6 /* those of the first protocol */ };

static struct trib_codec *codec_of(const char *spec) {
    struct trib_codec *codec = NULL;
    struct trib_error err;
    if (trib_codec_new(spec, &codec, &err) != TRIB_OK) fail_msg("%s: %s", spec, err.text);
    return codec;
}

static struct trib_blob *encoded(const struct trib_codec *codec, const float *x, size_t n) {
    struct trib_blob *blob = NULL;
    struct trib_error err;
    struct trib_source source = trib_source_floats(x, n);
    if (trib_codec_encode(codec, &source, &blob, &err) != TRIB_OK) fail_msg("%s", err.text);
    return blob;
}

static void add(const struct trib_codec *codec, const struct trib_blob *blob, size_t n, float a, float *y) {
    trib_codec_add(codec, trib_blob_data(blob), trib_blob_size(blob), n, a, y);
}

static void random_values(float *x, size_t n, uint64_t seed) {
    struct trib_rng rng = trib_rng_seed(seed, 0);
    for (size_t i = 0; i < n; i++) x[i] = (float)(trib_rng_unit(&rng) - 0.5) * 0.1F;
}

static void expect_bytes(const char *spec, const float *x, size_t n, const uint8_t *bytes, size_t size) {
    struct trib_codec *codec = codec_of(spec);
    struct trib_blob *blob = encoded(codec, x, n);
    assert_int_equal(trib_blob_size(blob), size);
    assert_memory_equal(trib_blob_data(blob), bytes, size);
    assert_int_equal(trib_codec_check(codec, bytes, size, n, NULL, NULL), TRIB_OK);
    trib_blob_unref(&blob);
    trib_codec_free(&codec);
}

static void test_closed_forms(void **state) {
    (void)state;
    const float x[] = {127.0F, -127.0F, 63.5F, 0.5F, 1.5F, -0.0F};
    static const uint8_t int8[] = {0x00, 0x00, 0x80, 0x3F, 127, 0x81, 64, 0, 2, 0};
    expect_bytes("int8", x, 6, int8, sizeof int8);
    static const uint8_t f16[] = {0xF0, 0x57, 0xF0, 0xD7, 0xF0, 0x53, 0x00, 0x38, 0x00, 0x3E, 0x00, 0x80};
    expect_bytes("f16", x, 6, f16, sizeof f16);
    static const uint8_t f32[] = {0x00, 0x00, 0xFE, 0x42};
    expect_bytes("f32", x, 1, f32, sizeof f32);
    const float sparse[] = {1.0F, -3.0F, 2.0F, 3.0F, 0.0F};
    static const uint8_t top2[] = {2, 0, 0, 0, 1, 2, 0, 0, 0x40, 0xC0, 0, 0, 0x40, 0x40};
    expect_bytes("topk(0.4)+f32", sparse, 5, top2, sizeof top2);
    const float equal[] = {-1.0F, 1.0F, 1.0F, -1.0F};
    static const uint8_t first2[] = {2, 0, 0, 0, 0, 1, 0x00, 0xBC, 0x00, 0x3C};
    expect_bytes("topk(0.5)+f16", equal, 4, first2, sizeof first2);
    float far[301] = {0};
    far[300] = 5.0F;
    static const uint8_t gap2[] = {1, 0, 0, 0, 0xAC, 0x02, 0, 0, 0xA0, 0x40};
    expect_bytes("topk(0.001)+f32", far, 301, gap2, sizeof gap2);
    static const uint8_t none[] = {0, 0, 0, 0};
    expect_bytes("topk(0.001)+f32", far, 0, none, sizeof none);
}

static void test_block_borders(void **state) {
    (void)state;
    float x[600];
    for (size_t i = 0; i < 600; i++) x[i] = i < 256 ? 127.0F : i < 512 ? 0.0F : -254.0F;
    struct trib_codec *codec = codec_of("int8");
    struct trib_blob *blob = encoded(codec, x, 600);
    const uint8_t *data = trib_blob_data(blob);
    assert_int_equal(trib_blob_size(blob), 600 + 12);
    assert_true(trib_get_f32(data) == 1.0F);
    assert_true(trib_get_f32(data + 260) == 0.0F);
    assert_true(trib_get_f32(data + 520) == 2.0F);
    assert_int_equal(data[524], 0x81);
    trib_blob_unref(&blob);
    trib_codec_free(&codec);
}

/* |x - decoded| within what the codec promises. */
static void check_bound(const char *spec, float (*bound)(float x, float most)) {
    static float x[COUNT], y[COUNT];
    random_values(x, COUNT, 5);
    memset(y, 0, sizeof y);
    struct trib_codec *codec = codec_of(spec);
    struct trib_blob *blob = encoded(codec, x, COUNT);
    add(codec, blob, COUNT, 1.0F, y);
    for (size_t i = 0; i < COUNT; i++) {
        float most = 0.0F;
        for (size_t j = i / 256 * 256; j < i / 256 * 256 + 256 && j < COUNT; j++)
            most = fmaxf(most, fabsf(x[j]));
        if (!(fabsf(x[i] - y[i]) <= bound(x[i], most))) fail_msg("%s: %a became %a", spec, x[i], y[i]);
    }
    trib_blob_unref(&blob);
    trib_codec_free(&codec);
}

static float exact(float x, float most) {
    return 0.0F * x * most;
}
static float half_ulp(float x, float most) {
    (void)most;
    return fabsf(x) * 0x1p-11F + 0x1p-25F;
}
static float half_step(float x, float most) {
    (void)x;
    return most / 127.0F * 0.50001F;
}

static void test_error_bounds(void **state) {
    (void)state;
    check_bound("f32", exact);
    check_bound("f16", half_ulp);
    check_bound("int8", half_step);
}

/* The ends of the range stay finite: the largest floats, subnormals, and what a half cannot hold. */
static void test_extremes(void **state) {
    (void)state;
    const float x[] = {FLT_MAX, -FLT_MAX, 1.0F, FLT_TRUE_MIN, 0.0F, 70000.0F};
    for (size_t s = 0; s < SPECS; s++) {
        struct trib_codec *codec = codec_of(specs[s]);
        for (size_t n = 1; n <= 6; n++) {
            struct trib_blob *blob = encoded(codec, x, n);
            float y[6] = {0};
            assert_int_equal(
                trib_codec_check(codec, trib_blob_data(blob), trib_blob_size(blob), n, NULL, NULL), TRIB_OK);
            add(codec, blob, n, 1.0F, y);
            for (size_t i = 0; i < n; i++) assert_true(isfinite(y[i]));
            trib_blob_unref(&blob);
        }
        trib_codec_free(&codec);
    }
    const float tiny[] = {1e-40F, -1e-38F, FLT_TRUE_MIN, 126.9F * FLT_MIN};
    static const uint8_t zeros[8] = {0};
    expect_bytes("int8", tiny, 3, zeros, sizeof zeros - 1);
    expect_bytes("int8", tiny, 4, zeros, sizeof zeros); /* not a denormal scale, by which one could divide */
    const float least[] = {127.0F * FLT_MIN, -FLT_MIN};
    static const uint8_t normal[] = {0, 0, 0x80, 0, 127, 0xFF};
    expect_bytes("int8", least, 2, normal, sizeof normal);
    static const uint8_t largest[] = {0xFF, 0x7B, 0xFF, 0xFB};
    expect_bytes("f16", x, 2, largest, sizeof largest);
    static const uint8_t halves[] = {0xFF, 0x7B};
    expect_bytes("f16", x + 5, 1, halves, sizeof halves);
}

/* U -= decode(encode(U)): what is sent and what stays add up, and what stays gets sent in the end. */
static void test_error_feedback(void **state) {
    (void)state;
    static float start[COUNT], left[COUNT], sent[COUNT];
    for (size_t s = 0; s < SPECS; s++) {
        struct trib_codec *codec = codec_of(specs[s]);
        random_values(start, COUNT, 6);
        memcpy(left, start, sizeof left);
        memset(sent, 0, sizeof sent);
        size_t rounds = 200;
        for (size_t r = 0; r < rounds; r++) {
            struct trib_blob *blob = encoded(codec, left, COUNT);
            add(codec, blob, COUNT, -1.0F, left);
            add(codec, blob, COUNT, 1.0F, sent);
            trib_blob_unref(&blob);
            if (r > 0) continue;
            const struct trib_kernels *k = trib_kernels();
            assert_true(k->sum_squares(left, COUNT) < k->sum_squares(start, COUNT));
        }
        for (size_t i = 0; i < COUNT; i++) {
            if (fabsf(sent[i] + left[i] - start[i]) > 1e-7F) fail_msg("%s: %zu does not add up", specs[s], i);
            if (fabsf(left[i]) > (s < FIRST_SPECS ? 1e-6F : 1e-3F))
                fail_msg("%s: %zu is still %g", specs[s], i, (double)left[i]);
        }
        trib_codec_free(&codec);
    }
}

/* ---- top-k ---- */

struct item {
    float magnitude;
    size_t position;
};

static int by_rank(const void *a, const void *b) {
    const struct item *x = a, *y = b;
    if (x->magnitude != y->magnitude) return x->magnitude > y->magnitude ? -1 : 1;
    return x->position < y->position ? -1 : x->position > y->position;
}

static void compare_with_sort(const float *x, size_t n, double fraction, const char *spec) {
    static struct item items[COUNT];
    static float expected[COUNT], y[COUNT];
    for (size_t i = 0; i < n; i++) items[i] = (struct item){fabsf(x[i]), i};
    qsort(items, n, sizeof items[0], by_rank);
    memset(expected, 0, sizeof expected);
    memset(y, 0, sizeof y);
    size_t k = (size_t)fmin(fmax(ceil(fraction * (double)n), 1.0), (double)n);
    struct trib_codec *codec = codec_of(spec);
    struct trib_blob *blob = encoded(codec, x, n);
    assert_int_equal(trib_get_u32(trib_blob_data(blob)), k);
    add(codec, blob, n, 1.0F, y);
    for (size_t i = 0; i < k; i++) expected[items[i].position] = x[items[i].position];
    for (size_t i = 0; i < n; i++)
        if (y[i] != expected[i]) fail_msg("%s, %zu values: position %zu has %g", spec, n, i, (double)y[i]);
    assert_true(trib_blob_size(blob) <= trib_codec_max_bytes(codec, n));
    trib_blob_unref(&blob);
    trib_codec_free(&codec);
}

/* Values of few and of many sizes, so that ties and every digit of the selection are met. */
static void test_selection(void **state) {
    (void)state;
    static float x[COUNT];
    static const struct {
        double fraction;
        const char *spec;
    } runs[] = {{0.000001, "topk(0.000001)+f32"},
                {0.05, "topk+f32"},
                {0.5, "topk(fraction=0.5)+f32"},
                {0.999, "topk(0.999)+f32"},
                {1.0, "topk(1)+f32"}};
    struct trib_rng rng = trib_rng_seed(9, 0);
    for (uint64_t kinds = 1; kinds <= 1000000; kinds *= 10) {
        for (size_t r = 0; r < sizeof runs / sizeof runs[0]; r++) {
            size_t n = 1 + (size_t)trib_rng_below(&rng, COUNT);
            for (size_t i = 0; i < n; i++) {
                x[i] = 1.0F + (float)trib_rng_below(&rng, kinds) * 0x1p-20F;
                if (trib_rng_below(&rng, 2) != 0) x[i] = -x[i];
                if (kinds == 1000) x[i] = ldexpf(x[i], (int)trib_rng_below(&rng, 200) - 100);
            }
            compare_with_sort(x, n, runs[r].fraction, runs[r].spec);
        }
    }
}

/* ---- in pieces ---- */

static void test_pieces(void **state) {
    (void)state;
    static float x[COUNT], whole[COUNT], pieces[COUNT];
    static uint8_t moved[COUNT * 5];
    struct trib_rng rng = trib_rng_seed(10, 0);
    for (size_t s = 0; s < SPECS; s++) {
        struct trib_codec *codec = codec_of(specs[s]);
        random_values(x, COUNT, s);
        struct trib_blob *blob = encoded(codec, x, COUNT);
        for (size_t run = 0; run < 12; run++) {
            size_t most = run < 4 ? 3 : run < 8 ? 300 : 5000, shift = run % 4;
            random_values(whole, COUNT, 99);
            memcpy(pieces, whole, sizeof whole);
            memcpy(moved + shift, trib_blob_data(blob), trib_blob_size(blob)); /* any alignment will do */
            add(codec, blob, COUNT, 0.3F, whole);
            struct trib_decoder adds, skips; /* they change places: a piece that one adds the other skips */
            trib_decoder_start(&adds, codec, moved + shift, trib_blob_size(blob), COUNT);
            skips = adds;
            while (adds.position < COUNT) {
                size_t n = (size_t)trib_rng_below(&rng, most + 1), at = adds.position;
                if (n > COUNT - at) n = COUNT - at;
                trib_decoder_add(&adds, n, 0.3F, pieces + at);
                trib_decoder_skip(&skips, n);
                assert_int_equal(adds.position, at + n);
                assert_int_equal(skips.position, at + n);
                if (trib_rng_below(&rng, 2) == 0) continue;
                struct trib_decoder other = adds;
                adds = skips;
                skips = other;
            }
            assert_memory_equal(whole, pieces, sizeof whole);
        }
        trib_blob_unref(&blob);
        trib_codec_free(&codec);
    }
}

/* A source that computes what it is asked for, and sees that it is asked in order and in blocks. */
struct counting {
    size_t next, passes;
};

static void read_counting(void *ctx, size_t offset, size_t count, float *out) {
    struct counting *c = ctx;
    assert_true(count > 0 && count <= TRIB_CODEC_BLOCK);
    if (offset == 0) c->passes++;
    assert_true(offset == 0 || offset == c->next);
    c->next = offset + count;
    for (size_t i = 0; i < count; i++) out[i] = sinf((float)(offset + i));
}

static void test_source(void **state) {
    (void)state;
    static float x[COUNT];
    struct counting all = {0};
    for (size_t at = 0; at < COUNT; at += TRIB_CODEC_BLOCK)
        read_counting(&all, at, COUNT - at < TRIB_CODEC_BLOCK ? COUNT - at : TRIB_CODEC_BLOCK, x + at);
    for (size_t s = 0; s < SPECS; s++) {
        struct trib_codec *codec = codec_of(specs[s]);
        struct counting c = {0};
        struct trib_source source = {read_counting, &c, COUNT};
        struct trib_blob *blob = NULL, *plain = encoded(codec, x, COUNT);
        assert_int_equal(trib_codec_encode(codec, &source, &blob, NULL), TRIB_OK);
        assert_true(c.passes >= 1 && c.passes <= 4 && c.next == COUNT);
        assert_int_equal(trib_blob_size(blob), trib_blob_size(plain));
        assert_memory_equal(trib_blob_data(blob), trib_blob_data(plain), trib_blob_size(blob));
        trib_blob_unref(&blob);
        trib_blob_unref(&plain);
        trib_codec_free(&codec);
    }
}

static void test_sum_squares(void **state) {
    (void)state;
    static float x[COUNT], y[COUNT];
    random_values(x, COUNT, 12);
    for (size_t s = 0; s < SPECS; s++) {
        struct trib_codec *codec = codec_of(specs[s]);
        struct trib_blob *blob = encoded(codec, x, COUNT);
        double squares = -1.0, expected = 0.0;
        assert_int_equal(
            trib_codec_check(codec, trib_blob_data(blob), trib_blob_size(blob), COUNT, &squares, NULL),
            TRIB_OK);
        memset(y, 0, sizeof y);
        add(codec, blob, COUNT, 1.0F, y);
        for (size_t i = 0; i < COUNT; i++) expected += (double)y[i] * (double)y[i];
        assert_true(fabs(squares - expected) <= 1e-6 * expected);
        trib_blob_unref(&blob);
        trib_codec_free(&codec);
    }
}

/* ---- the same from every kernel set ---- */

struct digests {
    uint32_t first, all;
};

static struct digests digest_all(void) {
    static float x[COUNT], y[COUNT];
    uint32_t crc = 0;
    struct digests digests = {0};
    for (size_t s = 0; s < SPECS; s++) {
        if (s == FIRST_SPECS) digests.first = crc;
        struct trib_codec *codec = codec_of(specs[s]);
        for (size_t n = 1; n <= COUNT; n = n * 3 + 1) {
            random_values(x, n, n);
            struct trib_blob *blob = encoded(codec, x, n);
            random_values(y, n, n + 1);
            double squares = 0.0;
            if (trib_codec_check(codec, trib_blob_data(blob), trib_blob_size(blob), n, &squares, NULL) !=
                TRIB_OK)
                abort();
            add(codec, blob, n, 0.7F, y);
            crc = trib_kernels()->crc32c(crc, trib_blob_data(blob), trib_blob_size(blob));
            crc = trib_kernels()->crc32c(crc, &squares, sizeof squares);
            crc = trib_kernels()->crc32c(crc, y, n * sizeof *y);
            trib_blob_unref(&blob);
        }
        trib_codec_free(&codec);
    }
    digests.all = crc;
    return digests;
}

/* In a child process, since a process chooses its kernels once. */
static struct digests digest_with(const char *set) {
    int ends[2];
    struct digests digest = {0};
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        setenv("TRIBUTARY_KERNELS", set, 1);
        digest = digest_all();
        bool right = strcmp(trib_kernels()->name, set) == 0;
        _exit(right && write(ends[1], &digest, sizeof digest) == sizeof digest ? 0 : 1);
    }
    int status = -1;
    close(ends[1]);
    assert_int_equal(read(ends[0], &digest, sizeof digest), sizeof digest);
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    return digest;
}

static void test_every_set(void **state) {
    (void)state;
    /* on every processor, little-endian ones */
    const struct digests expected = {0xDE17991DU, 0x223BA44DU};
    for (const struct trib_kernels *const *set = trib_kernels_list(); *set != NULL; set++) {
        if (trib_kernels_find((*set)->name) == NULL) continue;
        struct digests found = digest_with((*set)->name);
        if (found.first != expected.first || found.all != expected.all)
            fail_msg("%s: {0x%08XU, 0x%08XU}", (*set)->name, found.first, found.all);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_set), /* first: nothing has chosen yet */
        cmocka_unit_test(test_closed_forms),   cmocka_unit_test(test_block_borders),
        cmocka_unit_test(test_error_bounds),   cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_error_feedback), cmocka_unit_test(test_selection),
        cmocka_unit_test(test_pieces),         cmocka_unit_test(test_source),
        cmocka_unit_test(test_sum_squares),
    };
    return cmocka_run_group_tests_name("codec", tests, NULL, NULL);
}
