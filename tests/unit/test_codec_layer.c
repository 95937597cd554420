/* layer(...): which tensor has which codec, what the runs' bytes are, and what is refused. */
#include "tests/support/cmocka.h"

#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "shared/codec/codec.h"

#include <math.h>
#include <string.h>

enum { CONV1 = 5000, CONV2 = 300, FC1 = 9000, BIAS = 10, COUNT = CONV1 + CONV2 + FC1 + BIAS };

static void schema_of(struct trib_schema *schema) {
    static const struct {
        const char *name;
        size_t count;
    } tensors[] = {{"conv1.weight", CONV1}, {"conv2.weight", CONV2}, {"fc1.weight", FC1}, {"fc1.bias", BIAS}};
    trib_schema_init(schema);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(trib_schema_add(schema, tensors[i].name, &tensors[i].count, 1, 0.1F, NULL), TRIB_OK);
    assert_int_equal(trib_schema_finish(schema, NULL), TRIB_OK);
}

static struct trib_codec *codec_of(const char *spec) {
    struct trib_codec *codec = NULL;
    struct trib_schema schema;
    struct trib_error err;
    schema_of(&schema);
    if (trib_codec_new_for(spec, &schema, &codec, &err) != TRIB_OK) fail_msg("%s", err.text);
    trib_schema_release(&schema);
    return codec;
}

static struct trib_blob *encoded(const struct trib_codec *codec, const float *x, size_t n) {
    struct trib_source source = trib_source_floats(x, n);
    struct trib_blob *blob = NULL;
    struct trib_error err;
    if (trib_codec_encode(codec, &source, &blob, &err) != TRIB_OK) fail_msg("%s", err.text);
    return blob;
}

static void fill(float *x) {
    struct trib_rng rng = trib_rng_seed(4, 0);
    for (size_t i = 0; i < COUNT; i++) x[i] = (float)trib_rng_normal(&rng);
}

/* Each run is encoded as its codec encodes it alone, and decodes to the same. */
static void test_runs(void **state) {
    (void)state;
    static float x[COUNT], y[COUNT], expected[COUNT];
    static const struct {
        size_t first, count;
        const char *spec;
        size_t length;
    } runs[] = {{0, CONV1, "int8", 0},
                {CONV1, CONV2, "topk(0.1)+int4+rice", 4},
                {CONV1 + CONV2, FC1 + BIAS, "rotate+1bit", 0}};
    struct trib_codec *codec = codec_of("layer(conv1=int8, conv=topk(0.1)+int4+rice, else=rotate+1bit)");
    fill(x);
    memset(y, 0, sizeof y);
    memset(expected, 0, sizeof expected);
    struct trib_blob *blob = encoded(codec, x, COUNT);
    size_t at = 0;
    for (size_t i = 0; i < 3; i++) {
        struct trib_codec *alone = codec_of(runs[i].spec);
        struct trib_blob *part = encoded(alone, x + runs[i].first, runs[i].count);
        at += runs[i].length;
        assert_memory_equal(trib_blob_data(blob) + at, trib_blob_data(part), trib_blob_size(part));
        trib_codec_add(alone, trib_blob_data(part), trib_blob_size(part), runs[i].count, 0.5F,
                       expected + runs[i].first);
        at += trib_blob_size(part);
        trib_blob_unref(&part);
        trib_codec_free(&alone);
    }
    assert_int_equal(at, trib_blob_size(blob));
    assert_true(at <= trib_codec_max_bytes(codec, COUNT));
    trib_codec_add(codec, trib_blob_data(blob), at, COUNT, 0.5F, y);
    assert_memory_equal(y, expected, sizeof y);
    trib_blob_unref(&blob);
    trib_codec_free(&codec);
}

/* In pieces of any length, from a source that is read once in order; the norm is that of what is decoded. */
struct once {
    const float *x;
    size_t next;
};

static void read_once(void *ctx, size_t offset, size_t count, float *out) {
    struct once *once = ctx;
    assert_int_equal(offset, once->next);
    assert_true(count > 0 && count <= TRIB_CODEC_BLOCK);
    memcpy(out, once->x + offset, count * sizeof *out);
    once->next += count;
}

static void test_pieces(void **state) {
    (void)state;
    static float x[COUNT], whole[COUNT], pieces[COUNT];
    struct trib_codec *codec = codec_of("layer(fc=topk(0.05)+rotate+2bit, conv2=kmeans, else=int4)");
    struct trib_rng rng = trib_rng_seed(6, 0);
    fill(x);
    struct once once = {x, 0};
    struct trib_source source = {read_once, &once, COUNT};
    struct trib_blob *blob = NULL;
    assert_int_equal(trib_codec_encode(codec, &source, &blob, NULL), TRIB_OK);
    double squares = -1.0, sum = 0.0;
    assert_int_equal(
        trib_codec_check(codec, trib_blob_data(blob), trib_blob_size(blob), COUNT, &squares, NULL), TRIB_OK);
    memset(whole, 0, sizeof whole);
    trib_codec_add(codec, trib_blob_data(blob), trib_blob_size(blob), COUNT, 1.0F, whole);
    for (size_t i = 0; i < COUNT; i++) sum += (double)whole[i] * (double)whole[i];
    assert_true(fabs(sum - squares) < 1e-5 * sum);
    for (size_t most = 3; most <= 9000; most *= 7) {
        struct trib_decoder d[2]; /* one adds the even pieces, the other one the odd ones */
        memset(pieces, 0, sizeof pieces);
        trib_decoder_start(&d[0], codec, trib_blob_data(blob), trib_blob_size(blob), COUNT);
        d[1] = d[0];
        for (size_t piece = 0; d[0].position < COUNT; piece++) {
            size_t n = (size_t)trib_rng_below(&rng, most + 1), at = d[0].position;
            if (n > COUNT - at) n = COUNT - at;
            trib_decoder_add(&d[piece % 2], n, 1.0F, pieces + at);
            trib_decoder_skip(&d[1 - piece % 2], n);
        }
        assert_memory_equal(whole, pieces, sizeof whole);
    }
    trib_blob_unref(&blob);
    trib_codec_free(&codec);
}

static void refuse(const struct trib_codec *codec, const uint8_t *data, size_t bytes, const char *text) {
    struct trib_error err = {0};
    struct trib_blob *exact = trib_blob_copy(data, bytes);
    assert_int_equal(trib_codec_check(codec, trib_blob_data(exact), bytes, COUNT, NULL, &err), TRIB_INVALID);
    if (strstr(err.text, text) == NULL) fail_msg("'%s', expected '%s'", err.text, text);
    trib_blob_unref(&exact);
}

static void test_refused_payloads(void **state) {
    (void)state;
    static float x[COUNT];
    static uint8_t data[COUNT * 4];
    struct trib_codec *codec = codec_of("layer(conv=topk(0.1)+int8, fc=int4)");
    fill(x);
    struct trib_blob *blob = encoded(codec, x, COUNT);
    size_t bytes = trib_blob_size(blob);
    memcpy(data, trib_blob_data(blob), bytes);
    for (size_t cut = 1; cut <= bytes; cut += 97) refuse(codec, data, bytes - cut, "");
    refuse(codec, data, bytes + 1, "expected");
    data[0]++; /* the first run's length */
    refuse(codec, data, bytes, "");
    memset(data, 0xFF, 4);
    refuse(codec, data, bytes, "too few");
    trib_blob_unref(&blob);
    trib_codec_free(&codec);
}

static void refuse_spec(const char *spec, enum trib_status status, const char *text) {
    struct trib_codec *codec = NULL;
    struct trib_schema schema;
    struct trib_error err = {0};
    schema_of(&schema);
    enum trib_status found = trib_codec_new_for(spec, &schema, &codec, &err);
    trib_schema_release(&schema);
    if (found != status || strstr(err.text, text) == NULL)
        fail_msg("'%s' gives '%s', expected '%s'", spec, err.text, text);
    assert_null(codec);
}

static void test_specs(void **state) {
    (void)state;
    struct trib_codec *codec = codec_of("layer( conv = int8 , fc=topk(0.1)+int4(block=64) )");
    assert_string_equal(trib_codec_spec(codec), "layer(conv=int8, fc=topk(0.1)+int4(block=64))");
    trib_codec_free(&codec);
    assert_int_equal(trib_codec_check_spec("layer(anything=int8)", NULL), TRIB_OK);
    assert_int_equal(trib_codec_new("layer(conv=int8, else=f32)", &codec, NULL), TRIB_UNSUPPORTED);
    refuse_spec("layer(conv=int8)", TRIB_INVALID, "no entry is for the tensor fc1.weight");
    refuse_spec("layer(conv=int8, gru=int4, else=f32)", TRIB_INVALID,
                "no tensor is left whose name begins with gru");
    refuse_spec("layer()", TRIB_INVALID, "NAME=CODEC");
    refuse_spec("layer(int8)", TRIB_INVALID, "NAME=CODEC");
    refuse_spec("layer(conv=)", TRIB_INVALID, "NAME=CODEC");
    refuse_spec("layer(conv=int8,)", TRIB_INVALID, "NAME=CODEC");
    refuse_spec("layer(=int8)", TRIB_INVALID, "NAME=CODEC");
    refuse_spec("layer(conv=int9, else=f32)", TRIB_INVALID, "did you mean int8?");
    refuse_spec("layer(else=layer(else=f32))", TRIB_INVALID, "a layer within a layer");
    refuse_spec("layer(else=f32)+int8", TRIB_INVALID, "cannot follow layer");
    refuse_spec("layer(a=f32,b=f32,c=f32,d=f32,e=f32,f=f32,g=f32,h=f32,i=f32)", TRIB_INVALID, "more than 8");
}

static void test_no_memory(void **state) {
    (void)state;
    static float x[COUNT];
    static const char spec[] = "layer(conv=topk(0.1)+int8, else=kmeans)";
    struct trib_schema schema;
    struct trib_codec *codec = NULL;
    struct trib_error err = {0};
    enum trib_status status = TRIB_NOMEM;
    fill(x);
    schema_of(&schema);
    for (long n = 0; status != TRIB_OK; n++) {
        trib_alloc_fail_after(n);
        status = trib_codec_new_for(spec, &schema, &codec, &err);
        trib_alloc_fail_after(-1);
        assert_true(status == TRIB_OK ? n > 0 : status == TRIB_NOMEM && codec == NULL);
    }
    status = TRIB_NOMEM;
    for (long n = 0; status != TRIB_OK; n++) {
        struct trib_source source = trib_source_floats(x, COUNT);
        struct trib_blob *blob = NULL;
        trib_alloc_fail_after(n);
        status = trib_codec_encode(codec, &source, &blob, &err);
        trib_alloc_fail_after(-1);
        assert_true(status == TRIB_OK ? n > 0 : status == TRIB_NOMEM && blob == NULL);
        trib_blob_unref(&blob);
    }
    trib_codec_free(&codec);
    trib_schema_release(&schema);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_refused_payloads),
        cmocka_unit_test(test_specs),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("codec_layer", tests, NULL, NULL);
}
