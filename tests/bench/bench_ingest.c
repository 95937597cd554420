/* What an edge takes: updates of 2nn in int8 from four senders over TCP, checked, decoded, weighted,
 * accumulated, with their rows, against what libzmq alone receives of messages of that size, and, where the
 * edge syncs, against receiving, appending and syncing groups of the edge's own size; and against an edge
 * that never syncs. */
#include "tests/bench/bench.h"
#include "tests/bench/child.h"
#include "tests/bench/programs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include <zmq.h>

enum {
    SENDERS = 4,
    EACH = 3, /* participants of a sender; FedBuff lowers its 10 to how many there are */
    PARAMETERS = 199210,
    ROUNDS = 5,
    WARM_MS = 500,
    MEASURED_MS = 1500,
    PULL_MS = 1000,
    HEAD_BYTES = 64,
    GROUP_MOST = 64
};

struct run {
    struct bench_tree tree;
    struct bench_program unsynced;
    const struct bench_program *target; /* the edge that this round is about */
    struct trib_blob *payload;
    char endpoint[BENCH_ENDPOINT_MAX]; /* where the senders of this round connect */
    unsigned round;
    size_t group; /* raw: messages a sync; 0: nothing is written */
    atomic_bool stop;
    atomic_uint_fast64_t count; /* received (raw), accepted (ours) */
};

struct thread {
    pthread_t id;
    struct run *run;
    unsigned index;
    enum trib_status status;
    struct trib_error err;
};

/* ---- the limit: libzmq and nothing else ---- */

static void keep(void *data, void *hint) {
    (void)data;
    (void)hint;
}

static void *raw_sender(void *ctx) {
    struct thread *thread = ctx;
    struct run *run = thread->run;
    const struct trib_blob *payload = run->payload;
    int linger = 0, patience_ms = 100;
    char head[HEAD_BYTES] = {0};
    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_DEALER);
    (void)zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
    (void)zmq_setsockopt(socket, ZMQ_SNDTIMEO, &patience_ms, sizeof patience_ms);
    (void)zmq_connect(socket, run->endpoint);
    while (!atomic_load(&run->stop)) {
        zmq_msg_t body;
        void *data = (void *)(uintptr_t)trib_blob_data(payload);
        if (zmq_send(socket, head, sizeof head, ZMQ_SNDMORE) < 0) continue;
        (void)zmq_msg_init_data(&body, data, trib_blob_size(payload), keep, NULL);
        while (zmq_msg_send(&body, socket, 0) < 0 && !atomic_load(&run->stop)) {
        }
    }
    (void)zmq_close(socket);
    (void)zmq_ctx_term(context);
    return NULL;
}

/* Identity, head, payload: the payload is left in `body`. */
static bool raw_receive(void *socket, zmq_msg_t *body) {
    for (int frame = 0;; frame++) {
        (void)zmq_msg_init(body);
        if (zmq_msg_recv(body, socket, 0) < 0) break;
        if (!zmq_msg_more(body)) return frame == 2;
        (void)zmq_msg_close(body);
    }
    (void)zmq_msg_close(body);
    return false;
}

/* Appends a group and syncs it. */
static bool raw_write(int fd, zmq_msg_t *group, size_t count) {
    struct iovec parts[GROUP_MOST];
    for (size_t i = 0; i < count; i++)
        parts[i] = (struct iovec){zmq_msg_data(&group[i]), zmq_msg_size(&group[i])};
    bool written = writev(fd, parts, (int)count) >= 0 && fdatasync(fd) == 0;
    for (size_t i = 0; i < count; i++) (void)zmq_msg_close(&group[i]);
    return written;
}

static enum trib_status raw_serve(struct run *run, void *socket, int fd) {
    zmq_msg_t group[GROUP_MOST];
    size_t count = 0;
    bool written = true;
    while (written && !atomic_load(&run->stop)) {
        if (!raw_receive(socket, &group[count])) continue;
        if (fd < 0) {
            (void)zmq_msg_close(&group[0]);
            atomic_fetch_add(&run->count, 1);
        } else if (++count == run->group) {
            written = raw_write(fd, group, count);
            atomic_fetch_add(&run->count, count);
            count = 0;
        }
    }
    for (size_t i = 0; i < count; i++) (void)zmq_msg_close(&group[i]);
    return written ? TRIB_OK : TRIB_IO;
}

static void *raw_receiver(void *ctx) {
    struct thread *thread = ctx;
    struct run *run = thread->run;
    char path[BENCH_PATH_MAX];
    int patience_ms = 100, fd = -1;
    size_t bytes = sizeof run->endpoint;
    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_ROUTER);
    (void)zmq_setsockopt(socket, ZMQ_RCVTIMEO, &patience_ms, sizeof patience_ms);
    (void)snprintf(path, sizeof path, "%s/raw", run->tree.folder.path);
    if (run->group > 0) fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
    bool bound = zmq_bind(socket, "tcp://127.0.0.1:*") == 0 &&
                 zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, run->endpoint, &bytes) == 0;
    atomic_store(&run->count, 1); /* tells that the endpoint is there */
    if (!bound || (run->group > 0 && fd < 0))
        thread->status = trib_fail_errno(&thread->err, "the receiver cannot start");
    else if (raw_serve(run, socket, fd) != TRIB_OK)
        thread->status = trib_fail_errno(&thread->err, "cannot write to %s", path);
    if (fd >= 0) {
        (void)close(fd);
        (void)unlink(path);
    }
    (void)zmq_close(socket);
    (void)zmq_ctx_term(context);
    return NULL;
}

/* ---- ours: participants ---- */

static enum trib_status begin(struct bench_child *children, void *context, struct thread *thread) {
    struct run *run = thread->run;
    enum trib_status status = TRIB_OK;
    for (unsigned i = 0; i < EACH && status == TRIB_OK; i++) {
        char name[TRIB_NAME_MAX];
        (void)snprintf(name, sizeof name, "sender-%u-%u-%u", run->round, thread->index, i);
        status =
            bench_child_open(&children[i], context, run->target->endpoint, name, run->payload, &thread->err);
    }
    for (unsigned i = 0; i < EACH && status == TRIB_OK; i++)
        status = bench_child_await_model(&children[i], &thread->err);
    return status;
}

/* All that the credit allows, then what came. */
static enum trib_status turn(struct bench_child *children, struct thread *thread) {
    zmq_pollitem_t items[EACH];
    for (unsigned i = 0; i < EACH; i++) {
        while (bench_child_may_push(&children[i])) bench_child_push(&children[i]);
        items[i] = (zmq_pollitem_t){.socket = children[i].socket, .events = ZMQ_POLLIN};
    }
    (void)zmq_poll(items, EACH, 100);
    for (unsigned i = 0; i < EACH; i++) {
        uint64_t before = children[i].accepted;
        (void)bench_child_receive(&children[i]);
        atomic_fetch_add(&thread->run->count, children[i].accepted - before);
        if (children[i].problem[0] != 0)
            return trib_fail(&thread->err, TRIB_INVALID, "the edge answers \"%s\"", children[i].problem);
    }
    return TRIB_OK;
}

static void *sender(void *ctx) {
    struct thread *thread = ctx;
    struct bench_child children[EACH] = {0};
    void *context = zmq_ctx_new();
    thread->status = begin(children, context, thread);
    double next_pull = 0;
    while (thread->status == TRIB_OK && !atomic_load(&thread->run->stop)) {
        if (bench_seconds() >= next_pull) {
            for (unsigned i = 0; i < EACH; i++) bench_child_pull(&children[i], false, BENCH_CHILD_CREDIT);
            next_pull = bench_seconds() + PULL_MS * 1e-3;
        }
        thread->status = turn(children, thread);
    }
    for (unsigned i = 0; i < EACH; i++) bench_child_close(&children[i]);
    (void)zmq_ctx_term(context);
    return NULL;
}

/* ---- a round: threads start, warm up, are counted for a while, and end ---- */

static void counted(struct run *run, double *rate) {
    bench_pause_ms(WARM_MS);
    uint64_t first = atomic_load(&run->count);
    double start = bench_seconds();
    bench_pause_ms(MEASURED_MS);
    *rate = (double)(atomic_load(&run->count) - first) / (bench_seconds() - start);
}

static enum trib_status round_of(struct run *run, bool raw, double *rate, struct trib_error *err) {
    struct thread threads[SENDERS + 1] = {0};
    size_t started = 0;
    run->round++;
    atomic_store(&run->stop, false);
    atomic_store(&run->count, 0);
    for (unsigned i = raw ? 0 : 1; i <= SENDERS; i++) {
        struct thread *thread = &threads[started];
        *thread = (struct thread){.run = run, .index = i};
        if (pthread_create(&thread->id, NULL, i == 0 ? raw_receiver : raw ? raw_sender : sender, thread) != 0)
            break;
        started++;
        while (i == 0 && atomic_load(&run->count) == 0) bench_pause_ms(1);
    }
    if (started == SENDERS + (raw ? 1 : 0)) counted(run, rate);
    atomic_store(&run->stop, true);
    enum trib_status status = started > 0 ? TRIB_OK : trib_fail(err, TRIB_NOMEM, "cannot start threads");
    for (size_t i = 0; i < started; i++) {
        (void)pthread_join(threads[i].id, NULL);
        if (threads[i].status != TRIB_OK && status == TRIB_OK)
            status = trib_fail(err, threads[i].status, "%s", threads[i].err.text);
    }
    return status;
}

/* ---- the whole ---- */

/* The edge in question, and one that does not sync. */
static enum trib_status start(struct run *run, const char *durability, struct trib_error *err) {
    const char *const cloud[] = {"plan.model=2nn",
                                 "plan.data.set=glyphs(1000)",
                                 "plan.edge.rule=fedbuff(k=10)",
                                 "plan.publish.interval=1s",
                                 "plan.forward.updates=1000000",
                                 "plan.staleness_cap=1000000000",
                                 NULL};
    char durable[64];
    const char *const edge[] = {durable, NULL}, *const unsynced[] = {"store.durability=none", NULL};
    (void)snprintf(durable, sizeof durable, "store.durability=%s", durability);
    run->payload = bench_update(PARAMETERS, err);
    if (run->payload == NULL) return err->status;
    enum trib_status status = bench_tree_start(&run->tree, cloud, edge, err);
    if (status == TRIB_OK && strcmp(durability, "none") != 0)
        status = bench_tree_edge(&run->tree, &run->unsynced, "unsynced", NULL, unsynced, err);
    return status;
}

/* How many updates the edge made durable at a time, since it started. */
static enum trib_status mean_group(struct run *run, size_t *group, struct trib_error *err) {
    uint64_t accepted = 0, groups = 0;
    enum trib_status status = bench_program_ask(&run->tree.edge, "accepted", &accepted, err);
    if (status == TRIB_OK) status = bench_program_ask(&run->tree.edge, "store_groups", &groups, err);
    double mean = groups > 0 ? (double)accepted / (double)groups : 1;
    *group = mean < 1 ? 1 : mean > GROUP_MOST ? GROUP_MOST : (size_t)(mean + 0.5);
    return status;
}

/* One round of each: ours, the limit, and, if it is there, the edge that does not sync. */
struct rates {
    double ours[ROUNDS], limit[ROUNDS], unsynced[ROUNDS];
};

static enum trib_status race(struct run *run, bool synced, struct rates *rates, size_t *group,
                             struct trib_error *err) {
    enum trib_status status = TRIB_OK;
    for (size_t i = 0; i < ROUNDS && status == TRIB_OK; i++) {
        run->target = &run->tree.edge;
        status = round_of(run, false, &rates->ours[i], err);
        if (status == TRIB_OK) status = mean_group(run, group, err);
        run->group = synced ? *group : 0;
        if (status == TRIB_OK) status = round_of(run, true, &rates->limit[i], err);
        run->target = &run->unsynced;
        if (status == TRIB_OK && synced) status = round_of(run, false, &rates->unsynced[i], err);
    }
    return status;
}

static enum trib_status measure(struct bench *bench, const char *name, const char *durability,
                                struct trib_error *err) {
    struct run run = {.round = 0};
    struct rates rates;
    size_t group = 0;
    bool synced = strcmp(durability, "none") != 0;
    enum trib_status status = start(&run, durability, err);
    if (status == TRIB_OK) status = race(&run, synced, &rates, &group, err);
    bench_program_stop(&run.unsynced);
    bench_tree_stop(&run.tree);
    trib_blob_unref(&run.payload);
    if (status != TRIB_OK) return status;
    char text[80];
    (void)snprintf(text, sizeof text, synced ? "libzmq+append+fdatasync_of_%zu" : "libzmq", group);
    double value = bench_median(rates.ours, ROUNDS), raw = bench_median(rates.limit, ROUNDS);
    struct bench_result result = {name, "updates/s", text, value, value / raw, synced ? 0.60 : 0.80, false};
    bench_report(bench, &result);
    if (!synced) return TRIB_OK;
    (void)snprintf(text, sizeof text, "%s-to-none", name);
    result = (struct bench_result){text, "updates/s", "durability_none", value, 0, 0, false};
    result.ratio = value / bench_median(rates.unsynced, ROUNDS);
    bench_report(bench, &result);
    return TRIB_OK;
}

enum trib_status bench_ingest(struct bench *bench, struct trib_error *err) {
    return measure(bench, "ingest", "none", err);
}

enum trib_status bench_ingest_full(struct bench *bench, struct trib_error *err) {
    return measure(bench, "ingest-full", "full", err);
}

enum trib_status bench_ingest_batched(struct bench *bench, struct trib_error *err) {
    return measure(bench, "ingest-batched", "batched", err);
}
