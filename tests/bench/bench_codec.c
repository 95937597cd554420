/* Codecs and checksums. */
#include "tests/bench/bench.h"

#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "shared/codec/codec.h"
#include "shared/kernels/kernels.h"
#include "tests/bench/baseline.h"

#include <string.h>

/* An encoded vector, and plain ones of the same length. */
struct fixture {
    size_t count, repeats; /* repeats: how often a timed call goes over the vectors */
    float *x, *y;
    struct trib_codec *codec;
    struct trib_blob *payload;
    struct trib_source source;
    uint32_t crc;
};

static void release(struct fixture *f) {
    trib_free(f->x);
    trib_free(f->y);
    trib_codec_free(&f->codec);
    trib_blob_unref(&f->payload);
}

static enum trib_status prepare(struct fixture *f, const char *spec, size_t count, size_t repeats,
                                struct trib_error *err) {
    *f = (struct fixture){.count = count, .repeats = repeats};
    enum trib_status status = trib_codec_new(spec, &f->codec, err);
    if (status != TRIB_OK) return status;
    f->x = trib_alloc_floats(count);
    f->y = trib_alloc_floats(count);
    if (f->x == NULL || f->y == NULL) {
        return trib_fail(err, TRIB_NOMEM, "no memory for two vectors of %zu floats", count);
    }
    struct trib_rng rng = trib_rng_seed(1, 0);
    for (size_t i = 0; i < count; i++) f->x[i] = (float)trib_rng_unit(&rng) - 0.5F;
    f->source = trib_source_floats(f->x, count);
    return trib_codec_encode(f->codec, &f->source, &f->payload, err);
}

static void decode_add(void *ctx) {
    struct fixture *f = ctx;
    for (size_t r = 0; r < f->repeats; r++) {
        trib_codec_add(f->codec, trib_blob_data(f->payload), trib_blob_size(f->payload), f->count, 1e-6F,
                       f->y);
    }
}

static void plain_add(void *ctx) {
    struct fixture *f = ctx;
    for (size_t r = 0; r < f->repeats; r++) baseline_add_scaled(f->y, f->x, 1e-6F, f->count);
}

static enum trib_status decode_add_at(struct bench *bench, const char *name, size_t count, size_t repeats,
                                      struct trib_error *err) {
    struct fixture f;
    enum trib_status status = prepare(&f, "int8", count, repeats, err);
    if (status == TRIB_OK) {
        struct bench_race race = bench_race(decode_add, plain_add, &f, 15);
        struct bench_result result = {.name = name, .unit = "parameters/s", .limit = "plain-float-add"};
        result.value = (double)count * (double)repeats / race.ours_s;
        result.ratio = race.limit_s / race.ours_s;
        result.bar = 1.0;
        bench_report(bench, &result);
    }
    release(&f);
    return status;
}

enum trib_status bench_decode_add(struct bench *bench, struct trib_error *err) {
    return decode_add_at(bench, "decode-add", 25000000, 1, err);
}

enum trib_status bench_decode_add_cached(struct bench *bench, struct trib_error *err) {
    return decode_add_at(bench, "decode-add-cached", 199210, 50, err);
}

static void checksum(void *ctx) {
    struct fixture *f = ctx;
    for (size_t r = 0; r < f->repeats; r++)
        f->crc = trib_kernels()->crc32c(f->crc, f->x, f->count * sizeof *f->x);
}

/* The limit: eight bytes at a time through tables. */
static void checksum_scalar(void *ctx) {
    struct fixture *f = ctx;
    for (size_t r = 0; r < f->repeats; r++)
        f->crc = trib_kernels_find("scalar")->crc32c(f->crc, f->x, f->count * sizeof *f->x);
}

enum trib_status bench_crc32c(struct bench *bench, struct trib_error *err) {
    struct fixture f;
    enum trib_status status = prepare(&f, "int8", 50000, 20, err);
    if (status == TRIB_OK) {
        struct bench_race race = bench_race(checksum, checksum_scalar, &f, 15);
        struct bench_result result = {.name = "crc32c", .unit = "bytes/s", .limit = "scalar-crc32c"};
        result.value = (double)f.count * sizeof(float) * (double)f.repeats / race.ours_s;
        result.ratio = race.limit_s / race.ours_s;
        bench_report(bench, &result);
    }
    release(&f);
    return status;
}
