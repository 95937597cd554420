/* What a device does with a model between two updates, all of it as the plan says: one call for the device
 * daemon, the simulator and the tests.
 *
 *     trib_local_new -> set what is given -> trib_local_train (in any thread) -> difference and memory go
 * into a submission (shared/participant) -> trib_local_free
 *
 * It reads nothing but what was given, so that one work done twice gives the same bits (same build, same
 * OpenBLAS kernels). */
#ifndef TRIB_LEARN_LOCAL_H
#define TRIB_LEARN_LOCAL_H

#include "shared/learn/task.h"

/* Sizes: n = task->schema.parameters, m = task->schema.model_parameters. */
struct trib_local {
    /* given */
    const struct trib_task *task; /* opened with `partitioned`; outlives this */
    size_t device;                /* whose part of the data it is, below plan.data.devices */
    uint64_t version;             /* of G */
    uint64_t turn;                /* how many updates this device made before: with plan.seed and `device` it
                                     seeds the order of the samples */
    double sample_ms;     /* what a sample took this device lately, for train.deadline; 0: not known */
    uint64_t most_epochs; /* 0: the plan's; else at most so many: a straggler's work, for experiments */
    bool flip_labels;     /* train on classes - 1 - y instead of y: an attacker's work, for experiments */
    float *G;             /* owned, n floats, filled by trib_local_new */
    /* given, and given back as it is after this work */
    float *memory[TRIB_LOCAL_MAX]; /* owned, m floats or NULL: what the device keeps (shared/model/plan.h) */
    /* given back */
    float *difference; /* owned, n floats: what the device submits, as plan.train.algorithm says */
    uint64_t samples;  /* trained on, repeated ones too */
    uint64_t weight;   /* n_k: the device's samples */
    float steps;       /* ||a||_1, FedNova's length of the way: trib_train_result.path */
    float loss;        /* mean, each sample as it was when its turn came */
};

/* Room for one work on a copy of G and of the device's memory (NULL: it has none yet). NULL when memory runs
 * out. */
struct trib_local *trib_local_new(const struct trib_task *task, const float *G, const float *const *memory);
void trib_local_free(struct trib_local **local);

/* A workspace for the task's batches, for one thread; free it before the task. */
enum trib_status trib_local_workspace(const struct trib_task *task, struct trib_workspace **out,
                                      struct trib_error *err) TRIB_MUST_USE;

/* Does the work. TRIB_AGAIN if stopped, TRIB_INVALID if it diverged, TRIB_NOMEM; then nothing is given back,
 * and the memory the device has stays what it was. `stop` (may be NULL) is looked at before each step. */
enum trib_status trib_local_train(struct trib_local *local, struct trib_workspace *workspace,
                                  const atomic_bool *stop, struct trib_error *err) TRIB_MUST_USE;

#endif
