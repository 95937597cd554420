/* The training threads of a device process: a bounded number of workers, each with its own workspace, that
 * take one job at a time. Jobs wait at their owner's, not here: a job holds two models. */
#ifndef TRIB_DEVICE_TRAINER_H
#define TRIB_DEVICE_TRAINER_H

#include "shared/learn/local.h"
#include "shared/net/reactor.h"
#include "shared/participant/participant.h"

struct job {
    size_t agent;             /* whose */
    uint64_t task_serial;     /* another number for every task that was opened: addresses come again */
    struct trib_local *local; /* owned; its task does not change while jobs run */
    struct trib_submission submission;
    enum trib_status status;
    struct trib_error err;
    uint64_t elapsed_us;
};

struct trainer;

/* `done` is called in the reactor's thread for each finished job, which is the callee's. */
enum trib_status trainer_new(struct trainer **out, struct trib_reactor *reactor, size_t workers,
                             void (*done)(void *ctx, struct job *job), void *ctx,
                             struct trib_error *err) TRIB_MUST_USE;
/* Stops what is running, as soon as a training step allows. */
void trainer_free(struct trainer **trainer);
bool trainer_idle(const struct trainer *trainer); /* is a worker free? */
size_t trainer_running(const struct trainer *trainer);
/* Takes the job over (NULL afterwards); only when trainer_idle. Left to the caller if the threads are ending.
 */
void trainer_submit(struct trainer *trainer, struct job **job);

/* On a copy of the device's model and memory; NULL when memory runs out. */
struct job *job_new(const struct trib_task *task, const struct trib_state *state);
void job_free(void *job);

#endif
