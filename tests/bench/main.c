/* bench [--json PATH] [NAME]: runs all benchmarks, or one, or the one that a figure is of, and says no more
 * than that figure; `bench --list` names them. */
#include "tests/bench/bench.h"

#include "shared/base/buf.h"
#include "shared/base/json.h"
#include "shared/base/option.h"
#include "shared/kernels/kernels.h"
#include "shared/learn/blas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FIGURES = 6 }; /* most of a benchmark */

static const struct row {
    const char *name, *help;
    enum trib_status (*run)(struct bench *bench, struct trib_error *err);
    const char *figures[FIGURES]; /* those that it reports; none: one of its name */
} rows[] = {
    {"decode-add", "int8 decode-accumulate, 25 M parameters", bench_decode_add, {NULL}},
    {"decode-add-cached", "the same of 199,210 parameters, in cache", bench_decode_add_cached, {NULL}},
    {"encode",
     "int8, int4 and rotate+1bit encoding in cache",
     bench_encode_cached,
     {"encode-int8", "encode-int4", "encode-rotate1"}},
    {"decode",
     "decoding and adding the same",
     bench_decode_cached,
     {"decode-int8", "decode-int4", "decode-rotate1"}},
    {"codec-large",
     "int8 of 25 M parameters, both ways, against copies of the same traffic",
     bench_codec_large,
     {"encode-large", "decode-large"}},
    {"topk", "1% of 25 M parameters", bench_topk, {NULL}},
    {"median", "the median of 16 updates of 1,663,370 parameters, one core", bench_median_rows, {NULL}},
    {"trimmed", "their trimmed mean", bench_trimmed_rows, {NULL}},
    {"nearest", "the mean of those nearest to the median", bench_nearest_rows, {NULL}},
    {"krum", "all distances between them", bench_krum, {NULL}},
    {"shards", "decoding 16 int8 updates and taking their median, by two threads", bench_shards, {NULL}},
    {"ingest-small",
     "checking and adding 1-bit updates of cnn-small",
     bench_ingest_small,
     {"ingest-small", "ingest-small-rotated"}},
    {"codecs", "a table of codecs: bytes, time and error a parameter", bench_codecs, {NULL}},
    {"peer-numpy", "int8 decoding and adding against numpy", bench_peer_numpy, {NULL}},
    {"crc32c", "CRC32C of 200 kB, in cache", bench_crc32c, {NULL}},
    {"ingest", "updates that an edge takes in, against libzmq alone", bench_ingest, {NULL}},
    {"ingest-full",
     "the same, each synced, against receive, append and sync",
     bench_ingest_full,
     {"ingest-full", "ingest-full-to-none"}},
    {"ingest-batched",
     "the same, where a sync waits for more updates",
     bench_ingest_batched,
     {"ingest-batched", "ingest-batched-to-none"}},
    {"recovery",
     "an edge that was killed, with 1,000 updates of 2nn in its journal",
     bench_recovery,
     {"recovery", "recovery-cold"}},
    {"fsyncs", "syncs an accepted update, batched, 36 updates waiting", bench_fsyncs, {NULL}},
    {"disk-writes",
     "bytes written to disk for a byte of updates received",
     bench_disk_writes,
     {"disk-writes", "disk-writes-small"}},
    {"idle-connections",
     "memory of an edge for each of 10,000 idle participants, plain and CURVE",
     bench_idle_connections,
     {"idle-connections", "idle-connections-curve"}},
    {"participants-5000",
     "updates that 5,000 participants push through one edge",
     bench_participants,
     {"participants-5000", "participants-5000-ack-p99", "participants-5000-memory"}},
    {"restart-5000",
     "until all of them are served again after the edge was killed",
     bench_restart,
     {"restart-5000", "restart-5000-peak"}},
    {"edge-memory",
     "peak memory of an edge with 100 participants of 1,663,370 parameters",
     bench_edge_memory,
     {NULL}},
    {"large-model",
     "six participants push f32 updates of 83.8 M parameters at once: memory, time to a version",
     bench_large_model,
     {"large-model-memory", "large-model-growth", "large-model-version", "large-model-digest"}},
    {"device-memory", "peak memory of a device of cnn-small, beyond its data", bench_device_memory, {NULL}},
    {"binary-size",
     "edge and device, stripped",
     bench_binary_size,
     {"binary-size-edge", "binary-size-device"}},
    {"control-latency",
     "pings while a model goes over 10 Mbit/s, up and down (BYTES=, root)",
     bench_control_latency,
     {"control-latency-up", "control-latency-up-max", "control-latency-down", "control-latency-down-max"}},
    {"sim-events",
     "events a second of a simulation of 100,000 devices without training, and its memory",
     bench_sim_events,
     {"sim-events", "sim-events-memory"}},
    {"sim-million",
     "the same of 1,000,000 devices, of which 1,000 take part at a time",
     bench_sim_million,
     {"sim-million", "sim-million-memory"}},
    {"train-2nn",
     "training steps of 2nn against their matrix products",
     bench_train_2nn,
     {"train-2nn-batch10", "train-2nn-batch64"}},
    {"train-cnn",
     "the same of cnn-small and cnn",
     bench_train_cnn,
     {"train-cnn-small-batch10", "train-cnn-small-batch64", "train-cnn-batch10", "train-cnn-batch64"}},
    {"train-torch",
     "the same models against PyTorch, one thread each",
     bench_train_torch,
     {"train-torch-2nn-batch10", "train-torch-2nn-batch64", "train-torch-cnn-small-batch10",
      "train-torch-cnn-small-batch64", "train-torch-cnn-batch10", "train-torch-cnn-batch64"}},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

struct bench {
    struct trib_buf text;
    struct trib_json json;
    const struct row *row; /* that runs */
    const char *figure;    /* the only one that is said; NULL: all */
};

/* Figure i of a row; NULL behind the last one. */
static const char *figure_of(const struct row *row, size_t i) {
    if (row->figures[0] == NULL) return i == 0 ? row->name : NULL;
    return i < FIGURES ? row->figures[i] : NULL;
}

static bool reports(const struct row *row, const char *name) {
    const char *figure;
    for (size_t i = 0; (figure = figure_of(row, i)) != NULL; i++)
        if (strcmp(figure, name) == 0) return true;
    return false;
}

/* ---- what benchmarks call ---- */

/* A bar, for the ratio or the value. */
struct bar {
    const char *key, *of;
    double bar;
    bool met;
};

static void say(const struct bench_result *r, const struct bar *bar) {
    printf("%s %.6g %s ratio=%.3f limit=%s ", r->name, r->value, r->unit, r->ratio, r->limit);
    if (bar->bar > 0.0)
        printf("bar=%g of=%s met=%s\n", bar->bar, bar->of, bar->met ? "yes" : "no");
    else
        printf("bar=- of=- met=-\n");
    (void)fflush(stdout);
}

static void report(struct bench *bench, const struct bench_result *r, const struct bar *bar) {
    TRIB_ASSERT(reports(bench->row, r->name));
    if (bench->figure != NULL && strcmp(bench->figure, r->name) != 0) return;
    say(r, bar);
    trib_json_begin(&bench->json, '{');
    trib_json_key(&bench->json, "name");
    trib_json_string(&bench->json, r->name);
    trib_json_key(&bench->json, "value");
    trib_json_f64(&bench->json, r->value);
    trib_json_key(&bench->json, "unit");
    trib_json_string(&bench->json, r->unit);
    trib_json_key(&bench->json, "ratio");
    trib_json_f64(&bench->json, r->ratio);
    trib_json_key(&bench->json, "limit");
    trib_json_string(&bench->json, r->limit);
    if (bar->bar > 0.0) {
        trib_json_key(&bench->json, bar->key);
        trib_json_f64(&bench->json, bar->bar);
        trib_json_key(&bench->json, "met");
        trib_json_bool(&bench->json, bar->met);
    }
    trib_json_end(&bench->json, '}');
}

void bench_report(struct bench *bench, const struct bench_result *r) {
    const bool met = r->upper ? r->ratio <= r->bar : r->ratio >= r->bar;
    const struct bar bar = {r->upper ? "at_most" : "at_least", "ratio", r->bar, met};
    report(bench, r, &bar);
}

void bench_report_rate(struct bench *bench, const struct bench_result *r, double at_least) {
    const struct bar bar = {"value_at_least", "value", at_least, r->value >= at_least};
    report(bench, r, &bar);
}

void bench_skip(struct bench *bench, const char *name, const char *why) {
    fprintf(stderr, "%s left out: %s\n", name, why);
    trib_json_begin(&bench->json, '{');
    trib_json_key(&bench->json, "name");
    trib_json_string(&bench->json, name);
    trib_json_key(&bench->json, "left_out");
    trib_json_string(&bench->json, why);
    trib_json_end(&bench->json, '}');
}

double bench_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *values, size_t count) {
    qsort(values, count, sizeof *values, ascending);
    return values[count / 2];
}

static double timed(void (*call)(void *ctx), void *ctx) {
    double start = bench_seconds();
    call(ctx);
    return bench_seconds() - start;
}

struct bench_race bench_race(void (*ours)(void *ctx), void (*limit)(void *ctx), void *ctx, size_t rounds) {
    enum { MOST = 101 };
    double ours_s[MOST] = {0}, limit_s[MOST] = {0};
    TRIB_ASSERT(rounds > 0 && rounds <= MOST);
    ours(ctx);
    limit(ctx);
    for (size_t i = 0; i < rounds; i++) {
        ours_s[i] = timed(ours, ctx);
        limit_s[i] = timed(limit, ctx);
    }
    return (struct bench_race){bench_median(ours_s, rounds), bench_median(limit_s, rounds)};
}

/* ---- the program ---- */

static int list(void) {
    for (size_t i = 0; i < ROWS; i++) {
        printf("%-20s %s\n", rows[i].name, rows[i].help);
        for (size_t f = 0; f < FIGURES && rows[i].figures[f] != NULL; f++)
            printf("%s%s", f == 0 ? "                      " : " ", rows[i].figures[f]);
        if (rows[i].figures[0] != NULL) putchar('\n');
    }
    return 0;
}

static int unknown(const char *name) {
    const char *names[ROWS * (FIGURES + 1)], *figure;
    size_t count = 0;
    for (size_t i = 0; i < ROWS; i++) {
        names[count++] = rows[i].name;
        for (size_t f = 0; (figure = figure_of(&rows[i], f)) != NULL; f++) names[count++] = figure;
    }
    const char *nearest = trib_nearest(name, names, count);
    fprintf(stderr, "no benchmark is called %s%s%s; there are:\n", name,
            nearest != NULL ? ", did you mean " : "", nearest != NULL ? nearest : "");
    list();
    return 2;
}

static bool is_row(const char *name) {
    for (size_t i = 0; i < ROWS; i++)
        if (strcmp(name, rows[i].name) == 0) return true;
    return false;
}

static bool chosen(const struct row *row, const char *only, const char *figure) {
    if (figure != NULL) return reports(row, figure);
    return only == NULL || strcmp(only, row->name) == 0;
}

static int run(struct bench *bench, const char *only) {
    int failures = 0, ran = 0;
    bench->figure = only == NULL || is_row(only) ? NULL : only;
    for (size_t i = 0; i < ROWS; i++) {
        struct trib_error err = {0};
        if (!chosen(&rows[i], only, bench->figure)) continue;
        ran++;
        bench->row = &rows[i];
        if (rows[i].run(bench, &err) == TRIB_OK) continue;
        fprintf(stderr, "%s failed: %s\n", rows[i].name, err.text);
        failures++;
    }
    return ran == 0 ? unknown(only) : failures > 0;
}

static int save(struct trib_buf *text, const char *path) {
    FILE *file = fopen(path, "w");
    bool saved = file != NULL && !text->failed && fwrite(text->data, 1, text->size, file) == text->size;
    if (file != NULL && fclose(file) != 0) saved = false;
    if (!saved) perror(path);
    return saved ? 0 : 1;
}

int main(int argc, char **argv) {
    trib_blas_start(argc, argv);
    const char *json_path = NULL, *only = NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--list") == 0) return list();
        if (strcmp(argv[i], "--json") == 0 && i + 1 < argc) {
            json_path = argv[++i];
        } else if (only == NULL && argv[i][0] != '-') {
            only = argv[i];
        } else {
            fprintf(stderr, "usage: %s [--list] [--json PATH] [NAME]; found %s\n", argv[0], argv[i]);
            return 2;
        }
    }
    struct bench bench = {0};
    trib_buf_init(&bench.text, 0);
    bench.json.out = &bench.text;
    trib_json_begin(&bench.json, '{');
    trib_json_key(&bench.json, "kernels");
    trib_json_string(&bench.json, trib_kernels()->name);
    trib_json_key(&bench.json, "figures");
    trib_json_begin(&bench.json, '[');
    int result = run(&bench, only);
    trib_json_end(&bench.json, ']');
    trib_json_end(&bench.json, '}');
    trib_buf_append(&bench.text, "\n", 1);
    if (json_path != NULL && result != 2 && save(&bench.text, json_path) != 0) result = 1;
    trib_buf_release(&bench.text);
    return result;
}
