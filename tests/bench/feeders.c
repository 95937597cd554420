#include "tests/bench/feeders.h"

#include "tests/bench/bench.h"

#include <stdio.h>
#include <zmq.h>

enum { PATIENCE_S = 120 };
#define PULL_S 0.25

enum trib_status bench_feeders_open(struct bench_feeders *feeders, size_t count, const char *endpoint,
                                    size_t parameters, struct trib_error *err) {
    TRIB_ASSERT(count <= BENCH_FEEDERS_MOST);
    *feeders = (struct bench_feeders){.context = zmq_ctx_new(), .payload = bench_update(parameters, err)};
    if (feeders->payload == NULL) return err->status;
    enum trib_status status = TRIB_OK;
    for (size_t i = 0; i < count && status == TRIB_OK; i++) {
        char name[TRIB_NAME_MAX];
        (void)snprintf(name, sizeof name, "feeder-%zu", i);
        status =
            bench_child_open(&feeders->children[i], feeders->context, endpoint, name, feeders->payload, err);
        feeders->count++;
        /* One after the other: what a session is granted goes by how many there are. */
        if (status == TRIB_OK) status = bench_child_await_model(&feeders->children[i], err);
    }
    return status;
}

/* One goes on: another update if its last one was judged. */
static enum trib_status go_on(struct bench_child *child, size_t *left, struct trib_error *err) {
    (void)bench_child_receive(child);
    if (child->problem[0] != 0)
        return trib_fail(err, TRIB_INVALID, "the edge answers \"%s\" to %s", child->problem, child->name);
    bool small = trib_blob_size(child->payload) <= TRIB_FREE_PAYLOAD;
    if (*left > 0 && child->unanswered == 0 && child->holds && (small || bench_child_may_push(child))) {
        bench_child_push(child);
        (*left)--;
    }
    return TRIB_OK;
}

static enum trib_status one_turn(struct bench_feeders *f, size_t *left, bool pull, struct trib_error *err) {
    zmq_pollitem_t items[BENCH_FEEDERS_MOST];
    enum trib_status status = TRIB_OK;
    for (size_t i = 0; i < f->count && status == TRIB_OK; i++) {
        if (pull) bench_child_pull(&f->children[i], false, BENCH_CHILD_CREDIT);
        status = go_on(&f->children[i], left, err);
        items[i] = (zmq_pollitem_t){.socket = f->children[i].socket, .events = ZMQ_POLLIN};
    }
    (void)zmq_poll(items, (int)f->count, 100);
    return status;
}

static size_t waiting(const struct bench_feeders *f) {
    size_t count = 0;
    for (size_t i = 0; i < f->count; i++) count += f->children[i].unanswered;
    return count;
}

enum trib_status bench_feeders_push(struct bench_feeders *feeders, size_t updates, struct trib_error *err) {
    size_t left = updates;
    double limit = bench_seconds() + PATIENCE_S, next_pull = bench_seconds() + PULL_S;
    while (left > 0 || waiting(feeders) > 0) {
        double now = bench_seconds();
        enum trib_status status = one_turn(feeders, &left, now >= next_pull, err);
        if (status != TRIB_OK) return status;
        if (now >= next_pull) next_pull = now + PULL_S;
        if (now > limit)
            return trib_fail(err, TRIB_AGAIN, "%zu updates were not taken within %d s",
                             left + waiting(feeders), PATIENCE_S);
    }
    return TRIB_OK;
}

void bench_feeders_close(struct bench_feeders *feeders) {
    for (size_t i = 0; i < feeders->count; i++) bench_child_close(&feeders->children[i]);
    if (feeders->context != NULL) (void)zmq_ctx_term(feeders->context);
    trib_blob_unref(&feeders->payload);
    *feeders = (struct bench_feeders){.count = 0};
}
