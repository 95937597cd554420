/* Codecs in cache and in memory, top-k, a table of all of them, and the same update added by numpy. */
#include "tests/bench/bench.h"

#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "shared/codec/codec.h"
#include "shared/kernels/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CACHED = 32768, LARGE = 25000000, TABLE = 1 << 20, CNN_SMALL = 11386 };

struct fixture {
    size_t count, repeats;
    float *x, *y;
    struct trib_codec *codec;
    struct trib_blob *payload;
    enum trib_status status; /* of the timed calls */
    uint32_t crc;
};

static void release(struct fixture *f) {
    trib_free(f->x);
    trib_free(f->y);
    trib_codec_free(&f->codec);
    trib_blob_unref(&f->payload);
}

/* Values as updates have them: peaked at 0, with long tails (Laplace). */
static void fill(float *x, size_t n) {
    struct trib_rng rng = trib_rng_seed(1, 0);
    for (size_t i = 0; i < n; i++) {
        float magnitude = (float)trib_rng_exponential(&rng) * 0.01F;
        x[i] = trib_rng_below(&rng, 2) != 0 ? magnitude : -magnitude;
    }
}

static enum trib_status encode_once(struct fixture *f, struct trib_error *err) {
    struct trib_source source = trib_source_floats(f->x, f->count);
    trib_blob_unref(&f->payload);
    return trib_codec_encode(f->codec, &source, &f->payload, err);
}

/* A matrix of rows of 1024 values where that fits; else a vector. */
static enum trib_status schema_of(struct trib_schema *schema, size_t count, struct trib_error *err) {
    const size_t matrix[2] = {count / 1024, 1024};
    trib_schema_init(schema);
    if (count % 1024 == 0) return trib_schema_add(schema, "weight", matrix, 2, 0, err);
    return trib_schema_add(schema, "weight", &count, 1, 0, err);
}

static enum trib_status prepare(struct fixture *f, const char *spec, size_t count, size_t repeats,
                                struct trib_error *err) {
    *f = (struct fixture){.count = count, .repeats = repeats};
    struct trib_schema schema;
    enum trib_status status = schema_of(&schema, count, err);
    if (status == TRIB_OK) status = trib_codec_new_for(spec, &schema, &f->codec, err);
    trib_schema_release(&schema);
    if (status != TRIB_OK) return status;
    f->x = trib_alloc_floats(count);
    f->y = trib_alloc_floats(count);
    if (f->x == NULL || f->y == NULL)
        return trib_fail(err, TRIB_NOMEM, "no memory for two vectors of %zu floats", count);
    fill(f->x, count);
    memset(f->y, 0, count * sizeof *f->y); /* its pages are there */
    return encode_once(f, err);
}

static void encode(void *ctx) {
    struct fixture *f = ctx;
    for (size_t r = 0; r < f->repeats; r++) {
        enum trib_status status = encode_once(f, NULL);
        if (status != TRIB_OK) f->status = status;
    }
}

static void decode(void *ctx) {
    struct fixture *f = ctx;
    for (size_t r = 0; r < f->repeats; r++)
        trib_codec_add(f->codec, trib_blob_data(f->payload), trib_blob_size(f->payload), f->count, 1e-6F,
                       f->y);
}

static void copy(void *ctx) {
    struct fixture *f = ctx;
    for (size_t r = 0; r < f->repeats; r++) {
        memcpy(f->y, f->x, f->count * sizeof *f->x);
        __asm__ volatile("" : : "r"(f->y) : "memory");
    }
}

/* ---- in cache ---- */

static enum trib_status cached(struct bench *bench, const char *what, const char *name, const char *spec,
                               double bar, struct trib_error *err) {
    struct fixture f;
    char title[40];
    (void)snprintf(title, sizeof title, "%s-%s", what, name);
    enum trib_status status = prepare(&f, spec, CACHED, 40, err);
    if (status == TRIB_OK) {
        bool encodes = strcmp(what, "encode") == 0;
        struct bench_race race = bench_race(encodes ? encode : decode, copy, &f, 25);
        struct bench_result result = {.name = title, .unit = "GB/s of f32", .limit = "copy-in-cache"};
        result.value = (double)CACHED * sizeof(float) * (double)f.repeats / race.ours_s / 1e9;
        result.ratio = race.limit_s / race.ours_s;
        bench_report_rate(bench, &result, bar);
        status = f.status;
    }
    release(&f);
    return status;
}

static const struct {
    const char *name, *spec;
    double encode, decode;
} in_cache[] = {{"int8", "int8", 1.5, 6}, {"int4", "int4", 1.5, 6}, {"rotate1", "rotate+1bit", 0.8, 1.5}};

static enum trib_status all_cached(struct bench *bench, const char *what, struct trib_error *err) {
    enum trib_status status = TRIB_OK;
    for (size_t i = 0; status == TRIB_OK && i < sizeof in_cache / sizeof in_cache[0]; i++)
        status = cached(bench, what, in_cache[i].name, in_cache[i].spec,
                        strcmp(what, "encode") == 0 ? in_cache[i].encode : in_cache[i].decode, err);
    return status;
}

enum trib_status bench_encode_cached(struct bench *bench, struct trib_error *err) {
    return all_cached(bench, "encode", err);
}

enum trib_status bench_decode_cached(struct bench *bench, struct trib_error *err) {
    return all_cached(bench, "decode", err);
}

/* ---- 25 M parameters ---- */

/* As many bytes read and written as an encoding moves: 4 + 1 a parameter. Copies half of that. */
static void copy_encode_traffic(void *ctx) {
    struct fixture *f = ctx;
    memcpy(f->y, f->x, f->count / 2 * 5);
}

/* The same for decoding into an accumulator: 1 + 4 read, 4 written. */
static void copy_decode_traffic(void *ctx) {
    struct fixture *f = ctx;
    memcpy(f->y, f->x, f->count * sizeof *f->x);
    memcpy(f->y, f->x, f->count / 2);
}

static enum trib_status large(struct bench *bench, const char *name, void (*ours)(void *),
                              void (*limit)(void *), struct trib_error *err) {
    struct fixture f;
    enum trib_status status = prepare(&f, "int8", LARGE, 1, err);
    if (status == TRIB_OK) {
        struct bench_race race = bench_race(ours, limit, &f, 15);
        struct bench_result result = {
            .name = name, .unit = "GB/s of f32", .limit = "copy-same-traffic", .bar = 0.7};
        result.value = (double)LARGE * sizeof(float) / race.ours_s / 1e9;
        result.ratio = race.limit_s / race.ours_s;
        bench_report(bench, &result);
        status = f.status;
    }
    release(&f);
    return status;
}

enum trib_status bench_codec_large(struct bench *bench, struct trib_error *err) {
    enum trib_status status = large(bench, "encode-large", encode, copy_encode_traffic, err);
    if (status == TRIB_OK) status = large(bench, "decode-large", decode, copy_decode_traffic, err);
    return status;
}

enum trib_status bench_topk(struct bench *bench, struct trib_error *err) {
    struct fixture f;
    enum trib_status status = prepare(&f, "topk(0.01)+int8", LARGE, 1, err);
    if (status == TRIB_OK) {
        struct bench_race race = bench_race(encode, copy, &f, 9);
        struct bench_result result = {.name = "topk", .unit = "GB/s of f32", .limit = "memcpy"};
        result.value = (double)LARGE * sizeof(float) / race.ours_s / 1e9;
        result.ratio = race.limit_s / race.ours_s;
        bench_report_rate(bench, &result, 1.5);
        status = f.status;
    }
    release(&f);
    return status;
}

/* What an aggregator computes for an update that came in: checksum, check, norm, and adding it. */
static void take_in(void *ctx) {
    struct fixture *f = ctx;
    for (size_t r = 0; r < f->repeats; r++) {
        double squares = 0.0;
        const uint8_t *data = trib_blob_data(f->payload);
        size_t bytes = trib_blob_size(f->payload);
        f->crc ^= trib_kernels()->crc32c(0, data, bytes);
        enum trib_status status = trib_codec_check(f->codec, data, bytes, f->count, &squares, NULL);
        if (status == TRIB_OK) status = trib_codec_add(f->codec, data, bytes, f->count, 1e-6F, f->y);
        if (status != TRIB_OK) f->status = status;
    }
}

enum trib_status bench_ingest_small(struct bench *bench, struct trib_error *err) {
    static const struct {
        const char *name, *spec;
    } cases[] = {{"ingest-small", "1bit"}, {"ingest-small-rotated", "rotate+1bit"}};
    enum trib_status status = TRIB_OK;
    for (size_t i = 0; status == TRIB_OK && i < 2; i++) {
        struct fixture f;
        status = prepare(&f, cases[i].spec, CNN_SMALL, 200, err);
        if (status == TRIB_OK) {
            struct bench_race race = bench_race(take_in, copy, &f, 15);
            struct bench_result result = {
                .name = cases[i].name, .unit = "updates/s", .limit = "copy-of-floats"};
            result.value = (double)f.repeats / race.ours_s;
            result.ratio = race.limit_s / race.ours_s;
            bench_report_rate(bench, &result, 100000);
            status = f.status;
        }
        release(&f);
    }
    return status;
}

/* ---- the table of docs/codecs.md ---- */

static const char *const table[] = {
    "f32",
    "bf16",
    "f16",
    "int8",
    "int4",
    "int4(zero=true)",
    "int4(per=channel)",
    "int4(round=stochastic)",
    "rotate+int4",
    "int2",
    "qsgd",
    "kmeans",
    "ternary",
    "4bit",
    "2bit",
    "1bit",
    "rotate+4bit",
    "rotate+3bit",
    "rotate+2bit",
    "rotate+1bit",
    "rotate+ternary",
    "topk(0.25)+int4+rice",
    "topk(0.05)+int8",
    "topk(0.05)+int8+rice",
    "topk(0.05)+int4+rice",
    "topk(0.04)+1bit+rice",
    "topk(0.01)+int4+rice",
    "topk(0.01)+1bit+rice",
    "threshold(3)+int4+rice",
    "randomk(0.05)+int8",
    "rows(0.25)+int4+rice",
    "powersgd(4)+int8",
    "int8+zstd",
    "int4+zstd",
    "int2+zstd",
};

static double error_of(const struct fixture *f) {
    double error = 0.0, squares = 0.0;
    for (size_t i = 0; i < f->count; i++) {
        double x = (double)f->x[i], e = x - (double)f->y[i];
        error += e * e;
        squares += x * x;
    }
    return error / squares;
}

static enum trib_status table_line(const char *spec, struct trib_error *err) {
    struct fixture f;
    enum trib_status status = prepare(&f, spec, TABLE, 1, err);
    if (status == TRIB_OK) {
        trib_codec_add(f.codec, trib_blob_data(f.payload), trib_blob_size(f.payload), f.count, 1.0F, f.y);
        double error = error_of(&f);
        struct bench_race race = bench_race(encode, decode, &f, 9);
        printf("| `%s` | %.4f | %.2f | %.2f | %.4g |\n", spec, (double)trib_blob_size(f.payload) / TABLE,
               race.ours_s / TABLE * 1e9, race.limit_s / TABLE * 1e9, error);
        (void)fflush(stdout);
        status = f.status;
    }
    release(&f);
    return status;
}

enum trib_status bench_codecs(struct bench *bench, struct trib_error *err) {
    (void)bench;
    enum trib_status status = TRIB_OK;
    printf("| codec | bytes a parameter | encode, ns | decode and add, ns | error |\n| --- | --- | --- | --- "
           "| --- |\n");
    for (size_t i = 0; status == TRIB_OK && i < sizeof table / sizeof table[0]; i++)
        status = table_line(table[i], err);
    return status;
}

/* ---- numpy ---- */

enum trib_status bench_peer_numpy(struct bench *bench, struct trib_error *err) {
    struct fixture f;
    enum trib_status status = prepare(&f, "int8", 1663370, 1, err);
    if (status == TRIB_OK) {
        struct bench_race race = bench_race(decode, copy, &f, 15);
        double numpy_s = 0.0;
        char line[100] = "";
        FILE *peer = popen("/usr/bin/python3 tests/bench/numpy_add.py 1663370 2>/dev/null", "r");
        if (peer != NULL && fgets(line, sizeof line, peer) != NULL) numpy_s = strtod(line, NULL);
        if (peer != NULL) (void)pclose(peer);
        if (numpy_s > 0.0) {
            struct bench_result result = {
                .name = "peer-numpy", .unit = "parameters/s", .limit = "numpy", .bar = 10};
            result.value = (double)f.count / race.ours_s;
            result.ratio = numpy_s / race.ours_s;
            bench_report(bench, &result);
        } else {
            bench_skip(bench, "peer-numpy", "/usr/bin/python3 has no numpy");
        }
    }
    release(&f);
    return status;
}
