/* Threads that compute: training and evaluation, each piece a job with a time at which its result is needed.
 * The job needed first goes first; what order they finish in, and on how many threads, changes no result.
 *
 * One thread (the event loop's) puts jobs in and waits for them. */
#ifndef TRIB_SIM_POOL_H
#define TRIB_SIM_POOL_H

#include "shared/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct trib_sim_pool;

/* What a job's owner embeds; the pool's until trib_sim_pool_wait or _cancel has returned for it. */
struct trib_sim_task {
    uint64_t needed_us; /* set by the owner, ... */
    /* ... this too: called once, on worker `worker` (below the count). */
    void (*run)(struct trib_sim_task *task, size_t worker);
    uint64_t order; /* the pool's */
    enum { TRIB_SIM_TASK_NEW, TRIB_SIM_TASK_WAITS, TRIB_SIM_TASK_RUNS, TRIB_SIM_TASK_DONE } step;
};

/* `ahead`: so many results may wait for their time before workers pause: each holds memory. */
enum trib_status trib_sim_pool_new(size_t threads, size_t ahead, struct trib_sim_pool **out,
                                   struct trib_error *err) TRIB_MUST_USE;
/* All tasks must have been waited for or cancelled. NULL is fine. */
void trib_sim_pool_free(struct trib_sim_pool **pool);
size_t trib_sim_pool_threads(const struct trib_sim_pool *pool);

/* TRIB_NOMEM: nothing was put in. */
enum trib_status trib_sim_pool_put(struct trib_sim_pool *pool, struct trib_sim_task *task,
                                   struct trib_error *err) TRIB_MUST_USE;
/* Returns when it is done. */
void trib_sim_pool_wait(struct trib_sim_pool *pool, struct trib_sim_task *task);
/* It is not needed: does not run any more, or has run, when this returns. */
void trib_sim_pool_cancel(struct trib_sim_pool *pool, struct trib_sim_task *task);

#endif
