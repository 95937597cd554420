/* Benchmarks: each figure stands beside a limit measured in the same run, because ratios travel from machine
 * to machine and absolute numbers do not. A new benchmark is a function in some bench_*.c and a row in
 * main.c. */
#ifndef TRIB_TESTS_BENCH_H
#define TRIB_TESTS_BENCH_H

#include "shared/base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct bench; /* the run: where results go */

/* One line. `ratio` is value / limit in the sense that the limit's name says; `bar` is what the ratio should
 * reach, or stay under if `upper` (memory, sizes); 0: no bar. */
struct bench_result {
    const char *name, *unit, *limit;
    double value, ratio, bar;
    bool upper;
};
/* Prints `NAME VALUE UNIT ratio=R limit=LIMITNAME bar=B of=ratio met=yes|no` (three times a dash without a
 * bar) and keeps it for build/bench.json. A benchmark may report more than one figure: its row in main.c says
 * which. The strings are copied. */
void bench_report(struct bench *bench, const struct bench_result *result);
/* The same, of a figure whose value itself should be `at_least` so much, whatever the ratio to the limit:
 * of=value. */
void bench_report_rate(struct bench *bench, const struct bench_result *result, double at_least);
/* Says why a benchmark did not run here (something is not installed); not a failure. */
void bench_skip(struct bench *bench, const char *name, const char *why);

/* Seconds of a monotonic clock, to the nanosecond. */
double bench_seconds(void);
/* Sorts and gives the middle one; count > 0. */
double bench_median(double *values, size_t count);

/* Runs ours and the limit in turn, `rounds` times each after one round that is not counted, and gives the
 * median seconds of each. */
struct bench_race {
    double ours_s, limit_s;
};
struct bench_race bench_race(void (*ours)(void *ctx), void (*limit)(void *ctx), void *ctx, size_t rounds);

/* ---- the benchmarks ---- */
enum trib_status bench_decode_add(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_decode_add_cached(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_encode_cached(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_decode_cached(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_codec_large(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_topk(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_median_rows(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_trimmed_rows(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_nearest_rows(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_krum(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_shards(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_ingest_small(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_codecs(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_peer_numpy(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_crc32c(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_ingest(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_ingest_full(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_ingest_batched(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_recovery(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_fsyncs(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_disk_writes(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_idle_connections(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_participants(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_restart(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_edge_memory(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_large_model(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_device_memory(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_binary_size(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_control_latency(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_sim_events(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_sim_million(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_train_2nn(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_train_cnn(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_train_torch(struct bench *bench, struct trib_error *err) TRIB_MUST_USE;

#endif
