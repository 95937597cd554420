/* Robust rules' arithmetic over 16 updates of 1.6 M parameters. */
#include "tests/bench/bench.h"

#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "shared/codec/codec.h"
#include "shared/kernels/kernels.h"
#include "shared/kernels/shards.h"

#include <string.h>

enum { UPDATES = 16, PARAMETERS = 1663370, TRIM = 4, BAR = 150 };

struct fixture {
    float *values, *out, *floor;
    const float *rows[UPDATES];
    double sums[UPDATES * UPDATES];
};

static void release(struct fixture *f) {
    trib_free(f->values);
    trib_free(f->out);
    trib_free(f->floor);
}

static enum trib_status prepare(struct fixture *f, struct trib_error *err) {
    *f = (struct fixture){0};
    f->values = trib_alloc_floats((size_t)UPDATES * PARAMETERS);
    f->out = trib_alloc_floats(PARAMETERS);
    f->floor = trib_alloc_floats(PARAMETERS);
    if (f->values == NULL || f->out == NULL || f->floor == NULL)
        return trib_fail(err, TRIB_NOMEM, "no memory for %d vectors of %d floats", UPDATES + 2, PARAMETERS);
    struct trib_rng rng = trib_rng_seed(1, 0);
    for (size_t i = 0; i < (size_t)UPDATES * PARAMETERS; i++)
        f->values[i] = (float)trib_rng_unit(&rng) - 0.5F;
    for (size_t i = 0; i < UPDATES; i++) f->rows[i] = f->values + i * PARAMETERS;
    memset(f->out, 0, PARAMETERS * sizeof *f->out);
    memset(f->floor, 0, PARAMETERS * sizeof *f->floor);
    return TRIB_OK;
}

static void median(void *ctx) {
    struct fixture *f = ctx;
    trib_kernels()->median_rows(f->out, f->rows, UPDATES, PARAMETERS);
}

static void trimmed(void *ctx) {
    struct fixture *f = ctx;
    trib_kernels()->trimmed_rows(f->out, f->rows, UPDATES, TRIM, PARAMETERS);
}

static void nearest(void *ctx) {
    struct fixture *f = ctx;
    trib_kernels()->nearest_rows(f->out, f->rows, UPDATES, UPDATES / 2, PARAMETERS);
}

static void gram(void *ctx) {
    struct fixture *f = ctx;
    memset(f->sums, 0, sizeof f->sums);
    trib_kernels()->gram(f->sums, f->rows, UPDATES, PARAMETERS);
}

/* The limit: the mean of the same rows, in blocks that stay in cache. */
static void mean(void *ctx) {
    struct fixture *f = ctx;
    enum { BLOCK = 4096 };
    for (size_t at = 0; at < PARAMETERS; at += BLOCK) {
        size_t n = PARAMETERS - at < BLOCK ? PARAMETERS - at : BLOCK;
        memset(f->floor + at, 0, n * sizeof *f->floor);
        for (size_t i = 0; i < UPDATES; i++)
            trib_kernels()->add_scaled(f->floor + at, f->rows[i] + at, 1.0F / UPDATES, n);
    }
}

static void one(struct bench *bench, struct fixture *f, const char *name, void (*ours)(void *), double bar) {
    struct bench_race race = bench_race(ours, mean, f, 9);
    struct bench_result result = {.name = name, .unit = "M parameter-updates/s", .limit = "mean-of-rows"};
    result.value = (double)UPDATES * PARAMETERS / race.ours_s / 1e6;
    result.ratio = race.limit_s / race.ours_s;
    bench_report_rate(bench, &result, bar);
}

static enum trib_status of_rows(struct bench *bench, const char *name, void (*ours)(void *), double bar,
                                struct trib_error *err) {
    struct fixture f;
    enum trib_status status = prepare(&f, err);
    if (status == TRIB_OK) one(bench, &f, name, ours, bar);
    release(&f);
    return status;
}

enum trib_status bench_median_rows(struct bench *bench, struct trib_error *err) {
    return of_rows(bench, "median", median, BAR, err);
}

enum trib_status bench_trimmed_rows(struct bench *bench, struct trib_error *err) {
    return of_rows(bench, "trimmed", trimmed, BAR, err);
}

enum trib_status bench_nearest_rows(struct bench *bench, struct trib_error *err) {
    return of_rows(bench, "nearest", nearest, 0.0, err);
}

enum trib_status bench_krum(struct bench *bench, struct trib_error *err) {
    return of_rows(bench, "krum", gram, 0.0, err);
}

/* ---- two threads: a commit by the median, from encoded updates ---- */

enum { RANGE = 65536, BLOCK = 4096, WORKERS = 2 };

struct reader { /* a worker's: it moves on only */
    struct trib_decoder decoders[UPDATES];
    float *block;
    const float *rows[UPDATES];
};

struct commit {
    struct trib_codec *codec;
    struct trib_blob *payloads[UPDATES];
    struct trib_shards *shards;
    struct reader readers[WORKERS];
    float *out;
};

static void release_commit(struct commit *c) {
    trib_shards_free(&c->shards);
    for (size_t i = 0; i < UPDATES; i++) trib_blob_unref(&c->payloads[i]);
    for (size_t w = 0; w < WORKERS; w++) trib_free(c->readers[w].block);
    trib_codec_free(&c->codec);
    trib_free(c->out);
}

static enum trib_status allocate(struct commit *c, struct trib_error *err) {
    bool whole = (c->out = trib_alloc_floats(PARAMETERS)) != NULL;
    for (size_t w = 0; w < WORKERS; w++) {
        struct reader *reader = &c->readers[w];
        reader->block = trib_alloc_floats((size_t)UPDATES * BLOCK);
        whole = whole && reader->block != NULL;
        for (size_t i = 0; whole && i < UPDATES; i++) reader->rows[i] = reader->block + i * BLOCK;
    }
    return whole ? TRIB_OK : trib_fail(err, TRIB_NOMEM, "no memory for a commit");
}

static enum trib_status prepare_commit(struct commit *c, struct trib_error *err) {
    struct fixture f;
    *c = (struct commit){0};
    enum trib_status status = prepare(&f, err);
    if (status == TRIB_OK) status = trib_codec_new("int8", &c->codec, err);
    for (size_t i = 0; status == TRIB_OK && i < UPDATES; i++) {
        struct trib_source source = trib_source_floats(f.rows[i], PARAMETERS);
        status = trib_codec_encode(c->codec, &source, &c->payloads[i], err);
    }
    release(&f);
    if (status == TRIB_OK) status = trib_shards_new(WORKERS, &c->shards, err);
    if (status == TRIB_OK) status = allocate(c, err);
    return status;
}

static void next_block(struct commit *c, struct reader *reader, size_t at, size_t n) {
    memset(reader->block, 0, (size_t)UPDATES * BLOCK * sizeof *reader->block);
    for (size_t i = 0; i < UPDATES; i++) {
        struct trib_decoder *decoder = &reader->decoders[i];
        trib_decoder_skip(decoder, at - decoder->position);
        trib_decoder_add(decoder, n, 1.0F, reader->block + i * BLOCK);
    }
    trib_kernels()->median_rows(c->out + at, reader->rows, UPDATES, n);
}

static void commit_range(void *arg, size_t range, size_t worker) {
    struct commit *c = arg;
    size_t at = range * RANGE, end = at + RANGE < PARAMETERS ? at + RANGE : PARAMETERS;
    for (; at < end; at += BLOCK) next_block(c, &c->readers[worker], at, end - at < BLOCK ? end - at : BLOCK);
}

static void commit_with(struct commit *c, struct trib_shards *shards) {
    for (size_t w = 0; w < WORKERS; w++)
        for (size_t i = 0; i < UPDATES; i++)
            trib_decoder_start(&c->readers[w].decoders[i], c->codec, trib_blob_data(c->payloads[i]),
                               trib_blob_size(c->payloads[i]), PARAMETERS);
    trib_shards_run(shards, (PARAMETERS + RANGE - 1) / RANGE, commit_range, c);
}

static void commit_by_two(void *ctx) {
    struct commit *c = ctx;
    commit_with(c, c->shards);
}

static void commit_by_one(void *ctx) {
    commit_with(ctx, NULL);
}

enum trib_status bench_shards(struct bench *bench, struct trib_error *err) {
    struct commit c;
    enum trib_status status = prepare_commit(&c, err);
    if (status == TRIB_OK) {
        struct bench_race race = bench_race(commit_by_two, commit_by_one, &c, 15);
        struct bench_result result = {.name = "shards", .unit = "ms a commit", .limit = "one-thread"};
        result.value = race.ours_s * 1e3;
        result.ratio = race.limit_s / race.ours_s;
        bench_report(bench, &result);
    }
    release_commit(&c);
    return status;
}
