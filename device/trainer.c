#include "device/trainer.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/net/pipe.h"

#include <string.h>

struct worker {
    struct trainer *trainer;
    struct trib_actor *actor;
    struct trib_watch *watch;
    bool busy;
    struct trib_workspace *workspace; /* the thread's */
    uint64_t task_serial;             /* of the task that the workspace is for */
};

struct trainer {
    void (*done)(void *ctx, struct job *job);
    void *ctx;
    atomic_bool stop;
    size_t running, count;
    struct worker workers[];
};

struct job *job_new(const struct trib_task *task, const struct trib_state *state) {
    struct job *job = trib_alloc(sizeof *job);
    if (job == NULL) return NULL;
    job->local = trib_local_new(task, state->G, (const float *const *)state->local);
    if (job->local == NULL) {
        job_free(job);
        return NULL;
    }
    return job;
}

void job_free(void *item) {
    struct job *job = item;
    if (job == NULL) return;
    trib_local_free(&job->local);
    trib_free(job);
}

/* ---- the worker's thread ---- */

static enum trib_status workspace_for(struct worker *worker, const struct job *job, struct trib_error *err) {
    if (worker->workspace != NULL && worker->task_serial == job->task_serial) return TRIB_OK;
    trib_workspace_free(&worker->workspace);
    worker->task_serial = job->task_serial;
    return trib_local_workspace(job->local->task, &worker->workspace, err);
}

static void train(struct worker *worker, struct job *job) {
    uint64_t began = trib_clock_us();
    struct trib_local *local = job->local;
    job->status = workspace_for(worker, job, &job->err);
    if (job->status == TRIB_OK)
        job->status = trib_local_train(local, worker->workspace, &worker->trainer->stop, &job->err);
    if (job->status == TRIB_OK) {
        job->submission.difference = local->difference;
        job->submission.local = (const float *const *)local->memory;
        job->submission.samples = local->samples;
        job->submission.weight = local->weight;
        job->submission.steps = local->steps;
        job->submission.loss = local->loss;
    }
    job->elapsed_us = trib_clock_us() - began;
}

static enum trib_status work(struct trib_pipe *pipe, void *arg, struct trib_error *err) {
    struct worker *worker = arg;
    (void)err;
    trib_pipe_ready(pipe);
    void *item;
    while ((item = trib_pipe_take(pipe, -1)) != NULL) {
        train(worker, item);
        if (trib_pipe_answer(pipe, &item) != TRIB_OK) job_free(item);
    }
    trib_workspace_free(&worker->workspace);
    return TRIB_OK;
}

/* ---- the reactor's thread ---- */

static void on_done(void *ctx) {
    struct worker *worker = ctx;
    struct trainer *trainer = worker->trainer;
    struct job *job;
    while ((job = trib_actor_take(worker->actor)) != NULL) {
        worker->busy = false;
        trainer->running--;
        trainer->done(trainer->ctx, job);
    }
}

enum trib_status trainer_new(struct trainer **out, struct trib_reactor *reactor, size_t workers,
                             void (*done)(void *ctx, struct job *job), void *ctx, struct trib_error *err) {
    struct trainer *trainer = trib_alloc(sizeof *trainer + workers * sizeof trainer->workers[0]);
    if (trainer == NULL) return trib_fail(err, TRIB_NOMEM, "out of memory for training threads");
    trainer->done = done;
    trainer->ctx = ctx;
    atomic_init(&trainer->stop, false);
    struct trib_actor_options options = {
        .name = "train", .requests = 1, .answers = 1, .drop_request = job_free, .drop_answer = job_free};
    enum trib_status status = TRIB_OK;
    for (size_t i = 0; i < workers && status == TRIB_OK; i++) {
        struct worker *worker = &trainer->workers[trainer->count++];
        worker->trainer = trainer;
        status = trib_actor_start(&worker->actor, work, worker, &options, err);
        if (status == TRIB_OK)
            status = trib_reactor_watch_fd(reactor, trib_actor_fd(worker->actor), TRIB_WANT_READ, on_done,
                                           worker, &worker->watch, err);
    }
    if (status != TRIB_OK) {
        trainer_free(&trainer);
        return status;
    }
    *out = trainer;
    return TRIB_OK;
}

void trainer_free(struct trainer **out) {
    struct trainer *trainer = *out;
    if (trainer == NULL) return;
    atomic_store(&trainer->stop, true);
    for (size_t i = 0; i < trainer->count; i++) {
        trib_watch_free(&trainer->workers[i].watch);
        trib_actor_free(&trainer->workers[i].actor);
    }
    trib_free(trainer);
    *out = NULL;
}

bool trainer_idle(const struct trainer *trainer) {
    return trainer->running < trainer->count;
}

size_t trainer_running(const struct trainer *trainer) {
    return trainer->running;
}

void trainer_submit(struct trainer *trainer, struct job **job) {
    TRIB_ASSERT(trainer_idle(trainer));
    for (size_t i = 0; i < trainer->count; i++) {
        struct worker *worker = &trainer->workers[i];
        if (worker->busy) continue;
        void *item = *job;
        if (trib_actor_send(worker->actor, &item) != TRIB_OK) continue;
        worker->busy = true;
        trainer->running++;
        *job = NULL;
        return;
    }
}
