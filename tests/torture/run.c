/* One federation from its first to its last step: things go wrong; then nothing does, and everything must go
 * on; then devices rest, and everything must arrive. */
#include "tests/torture/observer.h"

#include "shared/base/alloc.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PATIENCE_MS = 40 * 60 * 1000, /* virtual: nothing waits so long for anything */
    EVENTS_MAX = 200 * 1000
};

void tell(struct torture *t, const char *fmt, ...) {
    if (!t->logs) return;
    va_list args;
    va_start(args, fmt);
    (void)fprintf(stderr, "%10" PRIu64 " ", t->fed != NULL ? federation_now(t->fed) : 0);
    (void)vfprintf(stderr, fmt, args);
    (void)fputc('\n', stderr);
    va_end(args);
}

void violate(struct torture *t, const char *fmt, ...) {
    if (t->violated) return;
    t->violated = true;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(t->violation, sizeof t->violation, fmt, args);
    va_end(args);
    tell(t, "VIOLATION: %s", t->violation);
}

/* ---- hooks ---- */

static void on_durable(void *ctx, size_t node, const struct trib_record *const *records, size_t count) {
    observer_durable(ctx, node, records, count);
}

static void on_opened(void *ctx, size_t node, bool torn) {
    struct torture *t = ctx;
    if (t->fed == NULL) return; /* for the first time */
    if (torn) violate(t, "%s has a part of a group of records", federation_name(t->fed, node));
    observer_opened(t, node);
}

static void on_sent(void *ctx, size_t from, size_t to, const struct trib_action *action) {
    struct torture *t = ctx;
    if (t->logs && to < t->drawn.nodes) {
        struct trib_msg msg;
        if (trib_msg_decode(action->frame, action->frame_bytes, &msg, NULL, NULL) == TRIB_OK &&
            msg.type != TRIB_PING && msg.type != TRIB_PONG)
            tell(t,
                 "%s -> %s %s number=%" PRIu64 " version=%" PRIu64 " session=%" PRIu64 " code=%s bytes=%zu",
                 federation_name(t->fed, from), federation_name(t->fed, to), trib_msg_name(msg.type),
                 msg.number, msg.type == TRIB_MODEL ? msg.to_version : msg.base_version, msg.session,
                 msg.type == TRIB_ERROR ? trib_code_name(msg.code) : "-", trib_blob_size(action->payload));
    }
    observer_sent(t, from, to, action);
    if (to >= t->drawn.nodes)
        stranger_hears(t, to - t->drawn.nodes, from, action);
    else
        stranger_overhears(t, from, to, action);
}

static void on_stepped(void *ctx, size_t node) {
    observer_stepped(ctx, node);
}

static void on_failed(void *ctx, size_t node) {
    faults_failed(ctx, node);
}

static void on_alarm(void *ctx, uint64_t what) {
    faults_alarm(ctx, what);
}

static void on_log(void *ctx, size_t node, const struct trib_record *record) {
    struct torture *t = ctx;
    tell(t, "%s %.*s %.*s", federation_name(t->fed, node), (int)record->event.size, record->event.data,
         (int)record->text.size, record->text.data);
}

/* Small whole numbers, so that sums are exact; the first one makes each update another. */
static uint64_t train(void *ctx, size_t device, uint64_t version, const float *G, size_t n, float *difference,
                      struct trib_submission *submission) {
    struct torture *t = ctx;
    (void)version;
    (void)G;
    for (size_t i = 0; i < n; i++) difference[i] = (float)pick(&t->rng, 9) - 4.0f;
    difference[0] = (float)(observer_updates(t) % 1000);
    submission->samples = 1 + trib_rng_below(&t->rng, 100);
    submission->weight = 10 * (1 + device);
    submission->steps = 1;
    submission->loss = 0.5f;
    return t->drawn.train_ms / 2 + trib_rng_below(&t->rng, t->drawn.train_ms);
}

/* ---- phases ---- */

struct marks {
    struct torture *t;
    uint64_t from_events, trained[NODES_MAX], commits, run;
};

static bool interrupted(const struct torture *t, const struct federation *fed) {
    return t->violated || federation_events(fed) > EVENTS_MAX;
}

static bool until_interrupted(struct federation *fed, void *ctx) {
    return interrupted(ctx, fed);
}

/* A store that failed before the faults ended is opened again by and by. */
static bool all_up(struct federation *fed, void *ctx) {
    const struct torture *t = ctx;
    for (size_t i = 0; i < t->drawn.nodes; i++)
        if (!federation_up(fed, i)) return interrupted(t, fed);
    return true;
}

static void mark(struct torture *t, struct marks *marks) {
    marks->t = t;
    for (size_t i = 0; i < t->drawn.devices; i++) marks->trained[i] = federation_trained(t->fed, i);
    marks->commits = federation_state(t->fed, FED_CLOUD)->commits;
    marks->run = federation_state(t->fed, FED_CLOUD)->incarnation;
}

static bool moved_on(struct federation *fed, void *ctx) {
    const struct marks *marks = ctx;
    struct torture *t = marks->t;
    if (interrupted(t, fed)) return true;
    if (!all_up(fed, t)) return false;
    if (federation_state(fed, FED_CLOUD)->commits <= marks->commits) return false;
    for (size_t i = 0; i < t->drawn.devices; i++)
        if (federation_trained(fed, i) < marks->trained[i] + 2) return false;
    return true;
}

static bool drained(struct federation *fed, void *ctx) {
    struct torture *t = ctx;
    if (interrupted(t, fed)) return true;
    if (!all_up(fed, t)) return false;
    for (size_t i = 1; i < t->drawn.nodes; i++) {
        const struct trib_state *s = federation_state(fed, i);
        for (size_t h = 0; h < s->held_count; h++)
            if (!s->held[h].acknowledged) return false;
        if (federation_writing(fed, i)) return false;
    }
    return !federation_writing(fed, FED_CLOUD);
}

static void check_moved(struct torture *t, struct marks *marks, const char *phase) {
    if (t->violated || moved_on(t->fed, marks)) return;
    if (!all_up(t->fed, t)) violate(t, "%s: not all nodes stay up", phase);
    if (!t->violated && federation_state(t->fed, FED_CLOUD)->commits <= marks->commits)
        violate(t, "%s: the cloud makes no versions", phase);
    for (size_t i = 0; i < t->drawn.devices; i++)
        if (federation_trained(t->fed, i) < marks->trained[i] + 2)
            violate(t, "%s: device-%zu does not go on", phase, i + 1);
}

static void go_on(struct torture *t, const char *phase) {
    struct marks marks;
    if (t->violated) return;
    tell(t, "%s", phase);
    if (!all_up(t->fed, t)) federation_run(t->fed, federation_now(t->fed) + PATIENCE_MS, all_up, t);
    if (!all_up(t->fed, t)) violate(t, "%s: not all nodes come back", phase);
    if (t->violated) return;
    mark(t, &marks);
    federation_run(t->fed, federation_now(t->fed) + PATIENCE_MS, moved_on, &marks);
    if (federation_events(t->fed) > EVENTS_MAX)
        violate(t, "%s: more than %d events", phase, EVENTS_MAX);
    else
        check_moved(t, &marks, phase);
}

static void drain(struct torture *t) {
    if (t->violated) return;
    tell(t, "devices rest");
    federation_calm(t->fed);
    federation_run(t->fed, federation_now(t->fed) + PATIENCE_MS, drained, t);
    if (!t->violated && !drained(t->fed, t)) violate(t, "not everything arrives once nothing goes wrong");
}

/* Everything off and on again: every node is what it was. */
static void restart_all(struct torture *t) {
    for (size_t i = 0; i <= t->drawn.edges && !t->violated; i++) {
        struct trib_error err = {0};
        observer_stopping(t, i);
        federation_stop(t->fed, i, false);
        disk_died(t->disks, i, true);
        if (!federation_start(t->fed, i, &err))
            violate(t, "%s cannot start: %s", federation_name(t->fed, i), err.text);
    }
}

static void live(struct torture *t) {
    faults_begin(t);
    federation_run(t->fed, federation_now(t->fed) + t->drawn.faulty_ms, until_interrupted, t);
    if (!t->violated) faults_end(t);
    go_on(t, "the first clean phase");
    go_on(t, "the second clean phase");
    drain(t);
    observer_final(t);
    if (!t->violated) restart_all(t);
}

void torture_one(uint64_t number, bool logs, struct outcome *out) {
    struct torture t = {.number = number, .rng = trib_rng_seed(number, 2), .logs = logs};
    draw_federation(number, &t.drawn);
    if (logs) (void)fprintf(stderr, "%s", t.drawn.plan);
    t.disks = disks_new(&t);
    struct federation_disk disk = disks_interface(t.disks);
    struct federation_options options = {.seed = number,
                                         .plan = t.drawn.plan,
                                         .schema = t.drawn.schema,
                                         .edges = t.drawn.edges,
                                         .devices = t.drawn.devices,
                                         .parents = t.drawn.parents,
                                         .named = true,
                                         .latency_ms = t.drawn.latency_ms,
                                         .jitter_ms = t.drawn.jitter_ms,
                                         .commit_ms = t.drawn.commit_ms,
                                         .lose = t.drawn.lose,
                                         .repeat = t.drawn.repeat,
                                         .budget_bytes = t.drawn.budget_bytes,
                                         .frame_bytes = t.drawn.frame_bytes,
                                         .disk = &disk,
                                         .train = train,
                                         .train_ctx = &t,
                                         .hooks = {.ctx = &t,
                                                   .durable = on_durable,
                                                   .opened = on_opened,
                                                   .sent = on_sent,
                                                   .stepped = on_stepped,
                                                   .failed = on_failed,
                                                   .alarm = on_alarm,
                                                   .logged = on_log}};
    t.strangers = strangers_new(&t);
    t.observer = observer_new(&t);
    t.fed = federation_new(&options);
    live(&t);
    *out = (struct outcome){.events = federation_events(t.fed), .crashes = t.crashes, .violated = t.violated};
    memcpy(out->violation, t.violation, sizeof out->violation);
    federation_free(&t.fed);
    observer_free(&t.observer);
    strangers_free(&t.strangers);
    disks_free(&t.disks);
}
