/* bench [--json PATH] [NAME]: runs all benchmarks, or one; `bench --list` names them. */
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

static const struct row {
    const char *name, *help;
    enum trib_status (*run)(struct bench *bench, struct trib_error *err);
} rows[] = {
    {"decode-add", "int8 decode-accumulate, 25 M parameters", bench_decode_add},
    {"decode-add-cached", "the same of 199,210 parameters, in cache", bench_decode_add_cached},
    {"encode", "int8, int4 and rotate+1bit encoding in cache", bench_encode_cached},
    {"decode", "decoding and adding the same", bench_decode_cached},
    {"codec-large", "int8 of 25 M parameters, both ways, against copies of the same traffic",
     bench_codec_large},
    {"topk", "1% of 25 M parameters", bench_topk},
    {"median", "the median of 16 updates of 1,663,370 parameters, one core", bench_median_rows},
    {"trimmed", "their trimmed mean", bench_trimmed_rows},
    {"nearest", "the mean of those nearest to the median", bench_nearest_rows},
    {"krum", "all distances between them", bench_krum},
    {"shards", "decoding 16 int8 updates and taking their median, by two threads", bench_shards},
    {"ingest-small", "checking and adding 1-bit updates of cnn-small", bench_ingest_small},
    {"codecs", "a table of codecs: bytes, time and error a parameter", bench_codecs},
    {"peer-numpy", "int8 decoding and adding against numpy", bench_peer_numpy},
    {"crc32c", "CRC32C of 200 kB, in cache", bench_crc32c},
    {"ingest", "updates that an edge takes in, against libzmq alone", bench_ingest},
    {"ingest-full", "the same, each synced, against receive, append and sync", bench_ingest_full},
    {"ingest-batched", "the same, where a sync waits for more updates", bench_ingest_batched},
    {"recovery", "an edge that was killed, with 1,000 updates of 2nn in its journal", bench_recovery},
    {"fsyncs", "syncs an accepted update, batched, 36 updates waiting", bench_fsyncs},
    {"disk-writes", "bytes written to disk for a byte of updates received", bench_disk_writes},
    {"idle-connections", "memory of an edge for each of 10,000 idle participants, plain and CURVE",
     bench_idle_connections},
    {"participants-5000", "updates that 5,000 participants push through one edge", bench_participants},
    {"restart-5000", "until all of them are served again after the edge was killed", bench_restart},
    {"edge-memory", "peak memory of an edge with 100 participants of 1,663,370 parameters",
     bench_edge_memory},
    {"large-model",
     "six participants push f32 updates of 83.8 M parameters at once: memory, time to a version",
     bench_large_model},
    {"device-memory", "peak memory of a device of cnn-small, beyond its data", bench_device_memory},
    {"binary-size", "edge and device, stripped", bench_binary_size},
    {"control-latency", "pings while a model goes over 10 Mbit/s, up and down (BYTES=, root)",
     bench_control_latency},
    {"sim-events", "events a second of a simulation of 100,000 devices without training, and its memory",
     bench_sim_events},
    {"sim-million", "the same of 1,000,000 devices, of which 1,000 take part at a time", bench_sim_million},
    {"train-2nn", "training steps of 2nn against their matrix products", bench_train_2nn},
    {"train-cnn", "the same of cnn-small and cnn", bench_train_cnn},
    {"train-torch", "the same models against PyTorch, one thread each", bench_train_torch},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

struct bench {
    struct trib_buf text;
    struct trib_json json;
};

/* ---- what benchmarks call ---- */

void bench_report(struct bench *bench, const struct bench_result *r) {
    bench_report_rate(bench, r, 0.0);
}

void bench_report_rate(struct bench *bench, const struct bench_result *r, double at_least) {
    printf("%s %.6g %s ratio=%.3f limit=%s\n", r->name, r->value, r->unit, r->ratio, r->limit);
    fflush(stdout);
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
    if (at_least > 0.0) {
        trib_json_key(&bench->json, "value_at_least");
        trib_json_f64(&bench->json, at_least);
        trib_json_key(&bench->json, "met");
        trib_json_bool(&bench->json, r->value >= at_least);
    }
    if (r->bar > 0.0) {
        trib_json_key(&bench->json, r->upper ? "at_most" : "at_least");
        trib_json_f64(&bench->json, r->bar);
        trib_json_key(&bench->json, "met");
        trib_json_bool(&bench->json, r->upper ? r->ratio <= r->bar : r->ratio >= r->bar);
    }
    trib_json_end(&bench->json, '}');
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
    for (size_t i = 0; i < ROWS; i++) printf("%-20s %s\n", rows[i].name, rows[i].help);
    return 0;
}

static int unknown(const char *name) {
    const char *names[ROWS];
    for (size_t i = 0; i < ROWS; i++) names[i] = rows[i].name;
    const char *nearest = trib_nearest(name, names, ROWS);
    fprintf(stderr, "no benchmark is called %s%s%s; there are:\n", name,
            nearest != NULL ? ", did you mean " : "", nearest != NULL ? nearest : "");
    list();
    return 2;
}

static int run(struct bench *bench, const char *only) {
    int failures = 0, ran = 0;
    for (size_t i = 0; i < ROWS; i++) {
        struct trib_error err = {0};
        if (only != NULL && strcmp(only, rows[i].name) != 0) continue;
        ran++;
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
