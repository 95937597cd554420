#include "shared/kernels/shards.h"

#include "shared/base/alloc.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

struct worker {
    struct trib_shards *shards;
    pthread_t thread;
    size_t number; /* from 1; 0 is the caller */
};

struct trib_shards {
    pthread_mutex_t lock;
    pthread_cond_t begin, end;
    size_t round; /* counts runs: a thread takes part once in each */
    bool open;    /* is this round there to be joined? One that wakes too late is not waited for */
    size_t busy;  /* threads that have joined it and not finished */
    bool stop;
    /* of this round; written under the lock, read by the threads after they saw the round */
    void (*part)(void *arg, size_t i, size_t worker);
    void *arg;
    size_t parts;
    atomic_size_t next;
    size_t started;
    struct worker workers[];
};

static void take_parts(struct trib_shards *shards, size_t worker) {
    for (;;) {
        size_t i = atomic_fetch_add_explicit(&shards->next, 1, memory_order_relaxed);
        if (i >= shards->parts) return;
        shards->part(shards->arg, i, worker);
    }
}

static void *run(void *arg) {
    struct worker *worker = arg;
    struct trib_shards *shards = worker->shards;
    size_t seen = 0;
    pthread_mutex_lock(&shards->lock);
    for (;;) {
        while (!shards->stop && (!shards->open || shards->round == seen))
            pthread_cond_wait(&shards->begin, &shards->lock);
        if (shards->stop) break;
        seen = shards->round;
        shards->busy++;
        pthread_mutex_unlock(&shards->lock);
        take_parts(shards, worker->number);
        pthread_mutex_lock(&shards->lock);
        if (--shards->busy == 0) pthread_cond_signal(&shards->end);
    }
    pthread_mutex_unlock(&shards->lock);
    return NULL;
}

/* Signals are for the thread that runs the reactor. */
static enum trib_status start(struct worker *worker, struct trib_error *err) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int rc = pthread_create(&worker->thread, NULL, run, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) return trib_fail(err, TRIB_IO, "a thread for vectors cannot be started: %s", strerror(rc));
    worker->shards->started++;
    return TRIB_OK;
}

enum trib_status trib_shards_new(size_t width, struct trib_shards **out, struct trib_error *err) {
    TRIB_ASSERT(width >= 1 && width <= TRIB_SHARDS_MAX);
    struct trib_shards *shards = trib_alloc(sizeof *shards + (width - 1) * sizeof shards->workers[0]);
    if (shards == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for %zu threads", width - 1);
    pthread_mutex_init(&shards->lock, NULL);
    pthread_cond_init(&shards->begin, NULL);
    pthread_cond_init(&shards->end, NULL);
    enum trib_status status = TRIB_OK;
    for (size_t i = 0; status == TRIB_OK && i + 1 < width; i++) {
        shards->workers[i] = (struct worker){.shards = shards, .number = i + 1};
        status = start(&shards->workers[i], err);
    }
    if (status != TRIB_OK) trib_shards_free(&shards);
    *out = shards;
    return status;
}

void trib_shards_free(struct trib_shards **shards) {
    struct trib_shards *s = *shards;
    if (s == NULL) return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_broadcast(&s->begin);
    pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < s->started; i++) pthread_join(s->workers[i].thread, NULL);
    pthread_cond_destroy(&s->begin);
    pthread_cond_destroy(&s->end);
    pthread_mutex_destroy(&s->lock);
    trib_free(s);
    *shards = NULL;
}

size_t trib_shards_width(const struct trib_shards *shards) {
    return shards != NULL ? shards->started + 1 : 1;
}

void trib_shards_run(struct trib_shards *shards, size_t parts,
                     void (*part)(void *arg, size_t i, size_t worker), void *arg) {
    if (shards == NULL || shards->started == 0 || parts <= 1) {
        for (size_t i = 0; i < parts; i++) part(arg, i, 0);
        return;
    }
    pthread_mutex_lock(&shards->lock);
    shards->part = part;
    shards->arg = arg;
    shards->parts = parts;
    atomic_store_explicit(&shards->next, 0, memory_order_relaxed);
    shards->open = true;
    shards->round++;
    pthread_cond_broadcast(&shards->begin);
    pthread_mutex_unlock(&shards->lock);
    take_parts(shards, 0);
    pthread_mutex_lock(&shards->lock);
    shards->open = false;
    while (shards->busy > 0) pthread_cond_wait(&shards->end, &shards->lock);
    pthread_mutex_unlock(&shards->lock);
}
