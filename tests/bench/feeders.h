/* Participants that push one prepared update after the other into an edge, each as soon as its last one was
 * acknowledged, and pull now and then as devices do; all in the calling thread. */
#ifndef TRIB_TESTS_BENCH_FEEDERS_H
#define TRIB_TESTS_BENCH_FEEDERS_H

#include "tests/bench/child.h"

enum { BENCH_FEEDERS_MOST = 64 };

struct bench_feeders {
    void *context;
    size_t count;
    struct trib_blob *payload;
    struct bench_child children[BENCH_FEEDERS_MOST];
};

/* Connects `count` of them and waits until each holds a model of `parameters` parameters. */
enum trib_status bench_feeders_open(struct bench_feeders *feeders, size_t count, const char *endpoint,
                                    size_t parameters, struct trib_error *err) TRIB_MUST_USE;
/* Until `updates` more have been accepted, none refused and none is under way. */
enum trib_status bench_feeders_push(struct bench_feeders *feeders, size_t updates,
                                    struct trib_error *err) TRIB_MUST_USE;
/* Says goodbye. Fine on zeroed memory. */
void bench_feeders_close(struct bench_feeders *feeders);

#endif
