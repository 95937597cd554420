#include "shared/sim/pool.h"

#include "shared/base/alloc.h"

#include <pthread.h>

struct worker {
    struct trib_sim_pool *pool;
    size_t number;
    pthread_t thread;
};

struct trib_sim_pool {
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    bool stop;
    uint64_t order;
    size_t ahead, finished;             /* results that nobody has fetched yet */
    const struct trib_sim_task *wanted; /* somebody waits for it */
    size_t count, capacity;             /* tasks that wait, a heap by time needed */
    struct trib_sim_task **heap;
    size_t thread_count;
    struct worker workers[];
};

/* ---- the heap ---- */

static bool before(const struct trib_sim_task *a, const struct trib_sim_task *b) {
    return a->needed_us != b->needed_us ? a->needed_us < b->needed_us : a->order < b->order;
}

static void sift_up(struct trib_sim_pool *p, size_t i, struct trib_sim_task *task) {
    for (; i > 0 && before(task, p->heap[(i - 1) / 2]); i = (i - 1) / 2) p->heap[i] = p->heap[(i - 1) / 2];
    p->heap[i] = task;
}

static void sift_down(struct trib_sim_pool *p, size_t i, struct trib_sim_task *task) {
    for (size_t child; (child = 2 * i + 1) < p->count; i = child) {
        if (child + 1 < p->count && before(p->heap[child + 1], p->heap[child])) child++;
        if (!before(p->heap[child], task)) break;
        p->heap[i] = p->heap[child];
    }
    p->heap[i] = task;
}

static void take_out(struct trib_sim_pool *p, size_t i) {
    struct trib_sim_task *last = p->heap[--p->count];
    if (i == p->count) return;
    if (i > 0 && before(last, p->heap[(i - 1) / 2]))
        sift_up(p, i, last);
    else
        sift_down(p, i, last);
}

/* ---- workers ---- */

/* Beyond what may wait, only what somebody stands waiting for is begun; it is the first one then, or one
 * needed at the same time. */
static bool may_begin(const struct trib_sim_pool *p) {
    return p->count > 0 && (p->finished < p->ahead || p->wanted != NULL);
}

static void *serve(void *arg) {
    struct worker *worker = arg;
    struct trib_sim_pool *p = worker->pool;
    (void)pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->stop && !may_begin(p)) (void)pthread_cond_wait(&p->work, &p->lock);
        if (p->stop) break;
        struct trib_sim_task *task = p->heap[0];
        take_out(p, 0);
        task->step = TRIB_SIM_TASK_RUNS;
        (void)pthread_mutex_unlock(&p->lock);
        task->run(task, worker->number);
        (void)pthread_mutex_lock(&p->lock);
        task->step = TRIB_SIM_TASK_DONE;
        p->finished++;
        (void)pthread_cond_signal(&p->done);
    }
    (void)pthread_mutex_unlock(&p->lock);
    return NULL;
}

enum trib_status trib_sim_pool_new(size_t threads, size_t ahead, struct trib_sim_pool **out,
                                   struct trib_error *err) {
    struct trib_sim_pool *p = trib_alloc(sizeof *p + threads * sizeof p->workers[0]);
    if (p == NULL) return trib_fail(err, TRIB_NOMEM, "out of memory for training threads");
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->work, NULL);
    (void)pthread_cond_init(&p->done, NULL);
    p->ahead = ahead;
    for (; p->thread_count < threads; p->thread_count++) {
        struct worker *worker = &p->workers[p->thread_count];
        *worker = (struct worker){.pool = p, .number = p->thread_count};
        if (pthread_create(&worker->thread, NULL, serve, worker) != 0) {
            trib_sim_pool_free(&p);
            return trib_fail(err, TRIB_NOMEM, "cannot start %zu training threads", threads);
        }
    }
    *out = p;
    return TRIB_OK;
}

void trib_sim_pool_free(struct trib_sim_pool **pool) {
    struct trib_sim_pool *p = *pool;
    if (p == NULL) return;
    (void)pthread_mutex_lock(&p->lock);
    p->stop = true;
    (void)pthread_cond_broadcast(&p->work);
    (void)pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < p->thread_count; i++) (void)pthread_join(p->workers[i].thread, NULL);
    (void)pthread_mutex_destroy(&p->lock);
    (void)pthread_cond_destroy(&p->work);
    (void)pthread_cond_destroy(&p->done);
    trib_free(p->heap);
    trib_free(p);
    *pool = NULL;
}

size_t trib_sim_pool_threads(const struct trib_sim_pool *p) {
    return p->thread_count;
}

/* ---- the owner's side ---- */

static bool grow(struct trib_sim_pool *p) {
    if (p->count < p->capacity) return true;
    size_t capacity = p->capacity > 0 ? p->capacity * 2 : 64;
    struct trib_sim_task **more = trib_realloc(p->heap, capacity * sizeof(*more));
    if (more == NULL) return false;
    p->heap = more;
    p->capacity = capacity;
    return true;
}

enum trib_status trib_sim_pool_put(struct trib_sim_pool *p, struct trib_sim_task *task,
                                   struct trib_error *err) {
    (void)pthread_mutex_lock(&p->lock);
    bool room = grow(p);
    if (room) {
        task->order = p->order++;
        task->step = TRIB_SIM_TASK_WAITS;
        sift_up(p, p->count++, task);
        (void)pthread_cond_signal(&p->work);
    }
    (void)pthread_mutex_unlock(&p->lock);
    return room ? TRIB_OK : trib_fail(err, TRIB_NOMEM, "out of memory for a training job");
}

static void fetch(struct trib_sim_pool *p, struct trib_sim_task *task) {
    p->wanted = task;
    (void)pthread_cond_broadcast(&p->work);
    while (task->step != TRIB_SIM_TASK_DONE) (void)pthread_cond_wait(&p->done, &p->lock);
    p->wanted = NULL;
    p->finished--;
    task->step = TRIB_SIM_TASK_NEW;
    if (may_begin(p)) (void)pthread_cond_signal(&p->work);
}

void trib_sim_pool_wait(struct trib_sim_pool *p, struct trib_sim_task *task) {
    (void)pthread_mutex_lock(&p->lock);
    if (task->step != TRIB_SIM_TASK_NEW) fetch(p, task);
    (void)pthread_mutex_unlock(&p->lock);
}

void trib_sim_pool_cancel(struct trib_sim_pool *p, struct trib_sim_task *task) {
    (void)pthread_mutex_lock(&p->lock);
    if (task->step == TRIB_SIM_TASK_WAITS) {
        size_t i = 0;
        while (p->heap[i] != task) i++;
        take_out(p, i);
        task->step = TRIB_SIM_TASK_NEW;
    } else if (task->step != TRIB_SIM_TASK_NEW) {
        fetch(p, task);
    }
    (void)pthread_mutex_unlock(&p->lock);
}
