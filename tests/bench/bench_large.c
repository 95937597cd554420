/* A model of 83.8 M parameters whose updates come as f32, from six participants at once: memory of the cloud
 * that takes them, and the time from an update's last byte to the version that has it; beside it what of that
 * the digest of such a version takes, with nothing else to do. */
#include "tests/bench/baseline.h"
#include "tests/bench/bench.h"
#include "tests/bench/child.h"
#include "tests/bench/programs.h"

#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "shared/kernels/shards.h"
#include "shared/model/digest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#define MIB 1048576.0

enum {
    INPUTS = 784,
    CLASSES = 10,
    LAYERS = 5,
    HIDDEN = 4478, /* units in each of them: 83,787,868 parameters; BENCH_HIDDEN sets fewer */
    SENDERS = 6,
    VERSIONS = 10,
    WARM = 2, /* versions after which memory shall not grow */
    PATIENCE_S = 600
};

struct run {
    struct bench_folder folder;
    struct bench_program cloud;
    struct trib_blob *payload;
    size_t parameters, latencies;
    void *context;
    struct bench_child children[SENDERS];
    double last_byte_s[SENDERS]; /* when a child's last piece went out; 0: it has not */
    uint64_t accepted[SENDERS];
    double latency_s[VERSIONS + SENDERS];
    uint64_t warm_peak;
};

static size_t parameters_of(size_t hidden) {
    return hidden * (INPUTS + 1) + (LAYERS - 1) * hidden * (hidden + 1) + CLASSES * (hidden + 1);
}

static size_t hidden_units(void) {
    const char *text = getenv("BENCH_HIDDEN");
    long wanted = text != NULL ? strtol(text, NULL, 10) : 0;
    return wanted > 0 && wanted < HIDDEN ? (size_t)wanted : HIDDEN;
}

/* Floats are their own encoding. */
static struct trib_blob *update_of(size_t parameters) {
    struct trib_blob *blob = trib_blob_new(parameters * sizeof(float));
    if (blob == NULL) return NULL;
    struct trib_rng rng = trib_rng_seed(1, 0);
    float *values = (float *)(void *)trib_blob_mutable(blob);
    for (size_t i = 0; i < parameters; i++) values[i] = 1e-4F * ((float)trib_rng_unit(&rng) - 0.5F);
    return blob;
}

static void note(struct run *r, size_t i) {
    struct bench_child *child = &r->children[i];
    const struct trib_outbound *out = &child->outgoing;
    double now = bench_seconds();
    if (child->accepted > r->accepted[i]) {
        r->accepted[i] = child->accepted;
        r->latency_s[r->latencies++] = now - r->last_byte_s[i];
        r->last_byte_s[i] = 0;
        trib_outbound_drop(&child->outgoing);
    } else if (r->last_byte_s[i] == 0 && out->payload != NULL && out->sent == trib_blob_size(out->payload)) {
        r->last_byte_s[i] = now;
    }
}

static enum trib_status push_all(struct run *r, struct trib_error *err) {
    zmq_pollitem_t items[SENDERS];
    size_t offered = 0;
    double limit = bench_seconds() + PATIENCE_S;
    for (size_t i = 0; i < SENDERS; i++)
        items[i] = (zmq_pollitem_t){.socket = r->children[i].socket, .events = ZMQ_POLLIN};
    while (r->latencies < VERSIONS) {
        if (bench_seconds() > limit)
            return trib_fail(err, TRIB_AGAIN, "only %zu updates were taken in %d s", r->latencies,
                             PATIENCE_S);
        for (size_t i = 0; i < SENDERS; i++) {
            struct bench_child *child = &r->children[i];
            (void)bench_child_receive(child);
            note(r, i);
            if (child->refused > 0 || child->problem[0] != 0)
                return trib_fail(err, TRIB_INVALID, "%s: %s", child->name, child->problem);
            if (child->unanswered > 0 || offered == VERSIONS) continue;
            bench_child_offer(child);
            offered++;
        }
        if (r->latencies >= WARM && r->warm_peak == 0) {
            enum trib_status status = bench_program_peak(&r->cloud, &r->warm_peak, err);
            if (status != TRIB_OK) return status;
        }
        (void)zmq_poll(items, SENDERS, 20);
    }
    return TRIB_OK;
}

/* All at once: who says nothing for long has no session any more. */
static enum trib_status await_models(struct run *r, struct trib_error *err) {
    double limit = bench_seconds() + PATIENCE_S, next = 0;
    for (size_t ready = 0; ready < SENDERS;) {
        bool ask = bench_seconds() > next;
        if (bench_seconds() > limit)
            return trib_fail(err, TRIB_AGAIN, "only %zu senders have a model", ready);
        if (ask) next = bench_seconds() + 1;
        ready = 0;
        for (size_t i = 0; i < SENDERS; i++) {
            struct bench_child *child = &r->children[i];
            (void)bench_child_receive(child);
            ready += child->holds;
            if (ask && child->session == 0) bench_child_hello(child);
            if (ask && child->session != 0 && !child->holds)
                bench_child_pull(child, true, BENCH_CHILD_CREDIT);
        }
        bench_child_wait(&r->children[0], 20);
    }
    return TRIB_OK;
}

static enum trib_status start(struct run *r, struct trib_error *err) {
    char layers[160], one[24];
    const char *const options[] = {"plan.model=layers",
                                   layers,
                                   "plan.data.set=glyphs(1000)",
                                   "evaluation.interval=24h",
                                   "evaluation.max_samples=10",
                                   "plan.codec.up=f32",
                                   "plan.codec.forward=f32",
                                   "store.durability=none",

                                   NULL};
    (void)snprintf(one, sizeof one, "\"dense(%zu)\"", hidden_units());
    (void)snprintf(layers, sizeof layers, "plan.layers=[%s, %s, %s, %s, %s, dense]", one, one, one, one, one);
    r->parameters = parameters_of(hidden_units());
    r->payload = update_of(r->parameters);
    if (r->payload == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for an update");
    enum trib_status status = bench_folder_make(&r->folder, err);
    if (status == TRIB_OK)
        status = bench_program_start(&r->cloud, &r->folder, "tributary-cloud", "cloud", options, err);
    r->context = zmq_ctx_new();
    for (size_t i = 0; status == TRIB_OK && i < SENDERS; i++) {
        char name[TRIB_NAME_MAX];
        (void)snprintf(name, sizeof name, "sender-%zu", i);
        status = bench_child_open(&r->children[i], r->context, r->cloud.endpoint, name, r->payload, err);
    }
    return status == TRIB_OK ? await_models(r, err) : status;
}

static void stop(struct run *r) {
    for (size_t i = 0; i < SENDERS; i++) bench_child_close(&r->children[i]);
    if (r->context != NULL) (void)zmq_ctx_term(r->context);
    bench_program_stop(&r->cloud);
    bench_folder_remove(&r->folder);
    trib_blob_unref(&r->payload);
}

static double plain_add_s(const struct run *r) {
    float *sum = trib_alloc_floats(r->parameters);
    double seconds[5] = {0};
    for (size_t i = 0; sum != NULL && i <= 5; i++) { /* the first one pages it in */
        double began = bench_seconds();
        baseline_add_scaled(sum, (const float *)(const void *)trib_blob_data(r->payload), 0.5F,
                            r->parameters);
        if (i > 0) seconds[i - 1] = bench_seconds() - began;
    }
    trib_free(sum);
    return bench_median(seconds, 5);
}

/* Of so many floats, on as many threads as the cloud takes here. */
static double digest_s(const struct run *r) {
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    size_t width = processors < 1                    ? 1
                   : processors > TRIB_SHARDS_COMMIT ? TRIB_SHARDS_COMMIT
                                                     : (size_t)processors;
    struct trib_shards *shards = NULL;
    uint8_t digest[TRIB_DIGEST_BYTES];
    double seconds[5] = {0};
    if (trib_shards_new(width, &shards, NULL) != TRIB_OK) shards = NULL; /* then on one */
    for (size_t i = 0; i < 5; i++) {
        double began = bench_seconds();
        trib_digest_floats((const float *)(const void *)trib_blob_data(r->payload), r->parameters, shards,
                           digest);
        seconds[i] = bench_seconds() - began;
    }
    trib_shards_free(&shards);
    return bench_median(seconds, 5);
}

static void report(struct bench *bench, struct run *r, uint64_t peak) {
    double models = 4.0 * (double)r->parameters * sizeof(float) + 64.0 * MIB, add_s = plain_add_s(r);
    double latency_s = bench_median(r->latency_s, r->latencies);
    struct bench_result memory = {
        "large-model-memory", "MiB", "4_models+64MiB", (double)peak / MIB, (double)peak / models, 1.0, true};
    bench_report(bench, &memory);
    struct bench_result growth = {"large-model-growth",
                                  "MiB",
                                  "64MiB",
                                  (double)(peak - r->warm_peak) / MIB,
                                  (double)(peak - r->warm_peak) / (64.0 * MIB),
                                  1.0,
                                  true};
    bench_report(bench, &growth);
    struct bench_result time = {
        "large-model-version", "ms", "plain-float-add", latency_s * 1e3, latency_s / add_s, 2.0, true};
    bench_report(bench, &time);
    double digest = digest_s(r);
    struct bench_result part = {.name = "large-model-digest",
                                .unit = "ms",
                                .limit = "plain-float-add",
                                .value = digest * 1e3,
                                .ratio = digest / add_s};
    bench_report(bench, &part);
}

enum trib_status bench_large_model(struct bench *bench, struct trib_error *err) {
    struct run *r = trib_alloc(sizeof *r);
    uint64_t peak = 0;
    if (r == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a run");
    enum trib_status status = start(r, err);
    if (status == TRIB_OK) status = push_all(r, err);
    if (status == TRIB_OK) status = bench_program_peak(&r->cloud, &peak, err);
    if (status == TRIB_OK) report(bench, r, peak);
    stop(r);
    trib_free(r);
    return status;
}
