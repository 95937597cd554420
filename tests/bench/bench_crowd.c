/* Many participants on one edge: what idle connections cost beyond libzmq itself, how many updates 5,000 push
 * through, and how soon all of them are served again after the edge was killed. The participants are shipped
 * ones (tests/bench/load/crowd.c) in processes of their own, on the same processors as the edge. */
#include "tests/bench/bench.h"
#include "tests/bench/child.h"
#include "tests/bench/programs.h"

#include "shared/net/keys.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

enum {
    IDLE = 10000,
    CROWDS = 2, /* processes of idle ones: 20,000 descriptors are not enough for two sockets each */
    CROWD = 5000,
    FEW = 500,
    GATHER_S = 120,
    REST_S = 6, /* a heartbeat and more */
    LOAD_S = 8
};

static void report(struct bench *bench, const char *name, const char *unit, const char *limit, double value,
                   double ratio, double bar, bool upper) {
    struct bench_result result = {name, unit, limit, value, ratio, bar, upper};
    bench_report(bench, &result);
}

/* ---- idle ---- */

struct idle {
    struct bench_tree tree;
    struct bench_program router, crowds[CROWDS];
    bool keys;
};

enum { OPTION_MOST = BENCH_PATH_MAX + 64 };

/* "KEY=FOLDER/FILE". */
static const char *in_folder(const struct idle *idle, const char *key, const char *file,
                             char out[OPTION_MOST]) {
    (void)snprintf(out, OPTION_MOST, "%s%s/%s", key, idle->tree.folder.path, file);
    return out;
}

static enum trib_status make_keys(const struct idle *idle, struct trib_error *err) {
    struct trib_keys keys;
    char path[OPTION_MOST];
    enum trib_status status = trib_keys_generate(&keys, err);
    if (status == TRIB_OK) status = trib_keys_save(&keys, in_folder(idle, "", "parent", path), err);
    FILE *file = fopen(in_folder(idle, "", "allow", path), "w");
    if (file == NULL || fclose(file) != 0) return trib_fail_errno(err, "cannot write %s", path);
    return status;
}

/* What the edge answers a HELLO with, for the bare router to say. */
static enum trib_status record_welcome(const struct idle *idle, struct trib_error *err) {
    static char head[64 * 1024];
    char path[OPTION_MOST];
    void *context = zmq_ctx_new();
    struct bench_child child;
    enum trib_status status =
        bench_child_open(&child, context, idle->tree.edge.endpoint, "recorder", NULL, err);
    if (status == TRIB_OK) status = bench_child_await_session(&child, err); /* there is a plan */
    if (status == TRIB_OK) {
        bench_child_hello(&child);
        bench_child_wait(&child, 5000);
    }
    int bytes = status == TRIB_OK ? zmq_recv(child.socket, head, sizeof head, ZMQ_DONTWAIT) : -1;
    bench_child_close(&child);
    (void)zmq_ctx_term(context);
    FILE *file = bytes > 0 ? fopen(in_folder(idle, "", "welcome", path), "w") : NULL;
    bool written = file != NULL && fwrite(head, 1, (size_t)bytes, file) == (size_t)bytes;
    if (file != NULL && fclose(file) != 0) written = false;
    return written || status != TRIB_OK ? status : trib_fail_errno(err, "cannot record a WELCOME");
}

static enum trib_status start_crowds(struct idle *idle, const char *endpoint, const char *what,
                                     struct trib_error *err) {
    char upstream[BENCH_ENDPOINT_MAX + 32], count[32], key[OPTION_MOST], allow[OPTION_MOST];
    const char *const options[] = {upstream,
                                   count,
                                   "idle=true",
                                   idle->keys ? "spread=20s" : "spread=5s",
                                   idle->keys ? in_folder(idle, "upstream.key=", "parent.pub", key) : NULL,
                                   in_folder(idle, "allow=", "allow", allow),
                                   NULL};
    enum trib_status status = TRIB_OK;
    (void)snprintf(upstream, sizeof upstream, "upstream.endpoint=%s", endpoint);
    (void)snprintf(count, sizeof count, "count=%d", IDLE / CROWDS);
    for (size_t i = 0; i < CROWDS && status == TRIB_OK; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "%s-%zu", what, i);
        status = bench_program_start(&idle->crowds[i], &idle->tree.folder, "bench-crowd", name, options, err);
    }
    return status;
}

/* Memory of `parent` for each of the participants, once all have a session and have been silent for a while.
 */
static enum trib_status memory_each(struct idle *idle, const struct bench_program *parent, const char *what,
                                    double *bytes, struct trib_error *err) {
    uint64_t before = 0, after = 0;
    enum trib_status status = bench_program_memory(parent, &before, err);
    if (status == TRIB_OK) status = start_crowds(idle, parent->endpoint, what, err);
    for (size_t i = 0; i < CROWDS && status == TRIB_OK; i++)
        status = bench_program_await(&idle->crowds[i], "ready", IDLE / CROWDS, GATHER_S, err);
    for (size_t i = 0; i < CROWDS && status == TRIB_OK; i++) (void)kill(idle->crowds[i].pid, SIGUSR1);
    bench_pause_ms(REST_S * 1000L);
    for (size_t i = 0; i < CROWDS && status == TRIB_OK; i++) {
        uint64_t hellos = 0;
        status = bench_program_ask(&idle->crowds[i], "hellos", &hellos, err);
        if (status == TRIB_OK && hellos > 0)
            status = trib_fail(err, TRIB_INVALID, "%" PRIu64 " idle participants came anew", hellos);
    }
    if (status == TRIB_OK) status = bench_program_memory(parent, &after, err);
    *bytes = after > before ? (double)(after - before) / IDLE : 0;
    for (size_t i = 0; i < CROWDS; i++) bench_program_kill(&idle->crowds[i]);
    return status;
}

/* An edge that takes them, with keys or without. */
static enum trib_status start_idle(struct idle *idle, struct trib_error *err) {
    static const char *const cloud[] = {"plan.model=softmax", "plan.data.set=glyphs(1000)",
                                        "evaluation.interval=24h", NULL};
    static const char *const plain[] = {"limits.peers=20000", NULL};
    char secret[OPTION_MOST], allow[OPTION_MOST];
    enum trib_status status = bench_tree_start(&idle->tree, cloud, plain, err);
    if (status == TRIB_OK) status = record_welcome(idle, err);
    if (status != TRIB_OK || !idle->keys) return status;
    const char *const keyed[] = {"limits.peers=20000", in_folder(idle, "keys.secret=", "parent.key", secret),
                                 in_folder(idle, "keys.allow=", "allow", allow), NULL};
    bench_program_stop(&idle->tree.edge);
    status = make_keys(idle, err);
    if (status == TRIB_OK) status = bench_tree_edge(&idle->tree, &idle->tree.edge, "keyed", NULL, keyed, err);
    return status == TRIB_OK ? bench_program_await(&idle->tree.edge, "version", 1, GATHER_S, err) : status;
}

static enum trib_status start_router(struct idle *idle, struct trib_error *err) {
    char welcome[OPTION_MOST], secret[OPTION_MOST];
    const char *const options[] = {in_folder(idle, "welcome=", "welcome", welcome),
                                   idle->keys ? in_folder(idle, "secret=", "parent.key", secret) : NULL,
                                   NULL};
    return bench_program_start(&idle->router, &idle->tree.folder, "bench-router", "router", options, err);
}

static enum trib_status measure_idle(struct bench *bench, bool keys, struct trib_error *err) {
    struct idle idle = {.keys = keys};
    double ours = 0, bare = 0;
    enum trib_status status = start_idle(&idle, err);
    if (status == TRIB_OK) status = memory_each(&idle, &idle.tree.edge, "idle", &ours, err);
    if (status == TRIB_OK) status = start_router(&idle, err);
    if (status == TRIB_OK) status = memory_each(&idle, &idle.router, "bare", &bare, err);
    bench_program_kill(&idle.router);
    bench_tree_stop(&idle.tree);
    if (status != TRIB_OK) return status;
    char text[80];
    double beyond = ours > bare ? ours - bare : 0;
    (void)snprintf(text, sizeof text, "4KiB_beyond_libzmq's_%.0f", bare);
    report(bench, keys ? "idle-connections-curve" : "idle-connections", "bytes/participant", text, beyond,
           beyond / 4096, 1.0, true);
    return TRIB_OK;
}

enum trib_status bench_idle_connections(struct bench *bench, struct trib_error *err) {
    enum trib_status status = measure_idle(bench, false, err);
    return status == TRIB_OK ? measure_idle(bench, true, err) : status;
}

/* ---- all of them push ---- */

struct busy {
    struct bench_tree tree;
    struct bench_program crowd;
};

static const char *const busy_cloud[] = {"plan.model=cnn-small",
                                         "plan.data.set=glyphs(1000)",
                                         "evaluation.interval=24h",
                                         "plan.edge.rule=fedbuff(k=100)",
                                         "plan.publish.interval=50ms",
                                         "plan.staleness_cap=1000000",
                                         NULL};
static const char *const busy_edge[] = {"limits.peers=20000", NULL};

/* A crowd on the tree's edge, every participant with a session, and the counts begun anew after a while. */
static enum trib_status start_busy(struct busy *busy, size_t count, const char *think,
                                   struct trib_error *err) {
    char upstream[BENCH_ENDPOINT_MAX + 32], many[32], name[32];
    const char *const options[] = {upstream, many, think, NULL};
    (void)snprintf(upstream, sizeof upstream, "upstream.endpoint=%s", busy->tree.edge.endpoint);
    (void)snprintf(many, sizeof many, "count=%zu", count);
    (void)snprintf(name, sizeof name, "crowd-%zu-%s", count, strchr(think, '=') + 1);
    enum trib_status status =
        bench_program_start(&busy->crowd, &busy->tree.folder, "bench-crowd", name, options, err);
    if (status == TRIB_OK) status = bench_program_await(&busy->crowd, "ready", count, GATHER_S, err);
    if (status == TRIB_OK) status = bench_program_await(&busy->crowd, "served", count, GATHER_S, err);
    if (status == TRIB_OK) (void)kill(busy->crowd.pid, SIGUSR1);
    return status;
}

/* No update more; every one that was made must get its verdict, and the edge must have counted the same. */
static enum trib_status drain(struct busy *busy, struct trib_error *err) {
    uint64_t submitted = 0, refused = 0, timeouts = 0;
    (void)kill(busy->crowd.pid, SIGUSR2);
    bench_pause_ms(200);
    enum trib_status status = bench_program_ask(&busy->crowd, "submitted", &submitted, err);
    if (status == TRIB_OK) status = bench_program_await(&busy->crowd, "judged", submitted, GATHER_S, err);
    if (status == TRIB_OK) status = bench_program_ask(&busy->crowd, "refused", &refused, err);
    if (status == TRIB_OK) status = bench_program_ask(&busy->crowd, "timeouts", &timeouts, err);
    if (status == TRIB_OK && refused + timeouts > 0)
        return trib_fail(err, TRIB_INVALID, "%" PRIu64 " updates refused, %" PRIu64 " false time-outs",
                         refused, timeouts);
    return status;
}

/* Updates a second for some seconds. */
static enum trib_status rate_of(struct busy *busy, double *rate, struct trib_error *err) {
    uint64_t first = 0, last = 0;
    enum trib_status status = bench_program_ask(&busy->crowd, "accepted", &first, err);
    double start = bench_seconds();
    bench_pause_ms(LOAD_S * 1000L);
    if (status == TRIB_OK) status = bench_program_ask(&busy->crowd, "accepted", &last, err);
    *rate = (double)(last - first) / (bench_seconds() - start);
    return status;
}

static enum trib_status saturate(struct busy *busy, size_t count, double *rate, struct trib_error *err) {
    enum trib_status status = start_busy(busy, count, "think=0", err);
    if (status == TRIB_OK) status = rate_of(busy, rate, err);
    if (status == TRIB_OK) status = drain(busy, err);
    bench_program_stop(&busy->crowd);
    return status;
}

/* With a load below what can be taken: how long an update waits for its ACK, and what the edge uses. */
static enum trib_status pace(struct bench *bench, struct busy *busy, struct trib_error *err) {
    uint64_t before = 0, after = 0, p50 = 0, p99 = 0;
    double cpu_before = 0, cpu_after = 0, rate = 0;
    enum trib_status status = bench_program_memory(&busy->tree.edge, &before, err);
    if (status == TRIB_OK) status = start_busy(busy, CROWD, "think=2s", err);
    if (status == TRIB_OK) status = bench_program_cpu(&busy->tree.edge, &cpu_before, err);
    double start = bench_seconds();
    if (status == TRIB_OK) status = rate_of(busy, &rate, err);
    double seconds = bench_seconds() - start;
    if (status == TRIB_OK) status = bench_program_cpu(&busy->tree.edge, &cpu_after, err);
    if (status == TRIB_OK) status = bench_program_ask(&busy->crowd, "p50_us", &p50, err);
    if (status == TRIB_OK) status = bench_program_ask(&busy->crowd, "p99_us", &p99, err);
    if (status == TRIB_OK) status = bench_program_memory(&busy->tree.edge, &after, err);
    if (status == TRIB_OK) status = drain(busy, err);
    bench_program_stop(&busy->crowd);
    if (status != TRIB_OK) return status;
    char text[100];
    (void)snprintf(text, sizeof text, "250ms_publish_interval,p50=%.1fms,at_%.0f_updates/s,%.2f_processors",
                   (double)p50 * 1e-3, rate, (cpu_after - cpu_before) / seconds);
    report(bench, "participants-5000-ack-p99", "ms", text, (double)p99 * 1e-3, (double)p99 / 250e3, 1.0,
           true);
    double each = after > before ? (double)(after - before) / CROWD : 0;
    report(bench, "participants-5000-memory", "bytes/participant", "64KiB", each, each / 65536, 1.0, true);
    return TRIB_OK;
}

enum trib_status bench_participants(struct bench *bench, struct trib_error *err) {
    struct busy busy = {.crowd = {.pid = 0}};
    double many = 0, few = 0;
    enum trib_status status = bench_tree_start(&busy.tree, busy_cloud, busy_edge, err);
    if (status == TRIB_OK) status = pace(bench, &busy, err);
    if (status == TRIB_OK) status = saturate(&busy, FEW, &few, err);
    if (status == TRIB_OK) status = saturate(&busy, CROWD, &many, err);
    bench_program_stop(&busy.crowd);
    bench_tree_stop(&busy.tree);
    if (status == TRIB_OK)
        report(bench, "participants-5000", "updates/s", "500_participants", many, many / few, 0.5, false);
    return status;
}

/* ---- the edge is killed and comes back ---- */

static enum trib_status restart(struct busy *busy, double *seconds, double *cpu, struct trib_error *err) {
    char endpoint[BENCH_ENDPOINT_MAX];
    memcpy(endpoint, busy->tree.edge.endpoint, sizeof endpoint);
    bench_program_kill(&busy->tree.edge);
    (void)kill(busy->crowd.pid, SIGUSR1);
    double start = bench_seconds();
    enum trib_status status =
        bench_tree_edge(&busy->tree, &busy->tree.edge, "edge", endpoint, busy_edge, err);
    if (status == TRIB_OK) status = bench_program_await(&busy->crowd, "served", CROWD, GATHER_S, err);
    *seconds = bench_seconds() - start;
    return status == TRIB_OK ? bench_program_cpu(&busy->tree.edge, cpu, err) : status;
}

enum trib_status bench_restart(struct bench *bench, struct trib_error *err) {
    struct busy busy = {.crowd = {.pid = 0}};
    double seconds = 0, cpu = 0;
    uint64_t peak = 0, hellos = 0;
    enum trib_status status = bench_tree_start(&busy.tree, busy_cloud, busy_edge, err);
    if (status == TRIB_OK) status = start_busy(&busy, CROWD, "think=2s", err);
    if (status == TRIB_OK) bench_pause_ms(REST_S * 1000L);
    if (status == TRIB_OK) status = restart(&busy, &seconds, &cpu, err);
    if (status == TRIB_OK) status = bench_program_ask(&busy.crowd, "peak_hellos", &peak, err);
    if (status == TRIB_OK) status = bench_program_ask(&busy.crowd, "hellos", &hellos, err);
    if (status == TRIB_OK) status = drain(&busy, err);
    bench_program_stop(&busy.crowd);
    bench_tree_stop(&busy.tree);
    if (status != TRIB_OK) return status;
    char text[100];
    /* A heartbeat until the last one has noticed, twice the mean time that an update takes, connecting. */
    (void)snprintf(text, sizeof text, "15s,hellos=%" PRIu64 ",processor_s=%.1f", hellos, cpu);
    report(bench, "restart-5000", "s", text, seconds, seconds / 15, 1.0, true);
    report(bench, "restart-5000-peak", "hellos/100ms", "a_third_of_all", (double)peak,
           (double)peak * 3 / CROWD, 1.0, true);
    return TRIB_OK;
}
