/* Local training and evaluation. */
#ifndef TRIB_LEARN_TRAIN_H
#define TRIB_LEARN_TRAIN_H

#include "shared/learn/dataset.h"
#include "shared/learn/net.h"

#include <stdatomic.h>
#include <stdbool.h>

/* A learning-rate schedule: the rate at time t, where t is what the caller counts (the version of the model
 * it trains on, or its own updates). */
struct trib_schedule {
    const char *name, *formula;
    double (*rate)(double lr, double decay, double t);
};
/* Row i, or NULL behind the last; by name, or NULL. */
const struct trib_schedule *trib_schedule_row(size_t i);
const struct trib_schedule *trib_schedule_find(const char *name);

struct trib_train_options {
    uint64_t epochs;                      /* passes over the device's samples, at least 1 */
    uint64_t batch;                       /* samples a step, 1..the workspace's max_batch */
    uint64_t max_samples;                 /* in all; 0: no limit */
    double lr;                            /* of this call: trib_train_lr */
    double lr_decay;                      /* in (0, 1]; used by trib_train_lr only */
    const struct trib_schedule *schedule; /* NULL: exponential, lr * lr_decay^t */
    double momentum;                      /* 0: none; v = momentum v + g, p -= lr v, from v = 0 */
    double weight_decay;                  /* g += weight_decay p */
    double clip;                          /* largest 2-norm of the gradient, before weight decay; 0: none */
    bool augment;  /* each image rotated by up to 10 degrees and shifted by up to 10% */
    uint64_t seed; /* of the order of samples and the augmentation */
};

/* The learning rate at time t by the options' lr, lr_decay and schedule. */
double trib_train_lr(const struct trib_train_options *options, uint64_t t);

struct trib_train_result {
    double loss;     /* mean over the samples, each as it was when its turn came */
    double accuracy; /* the same */
    uint64_t samples, steps;
};

/* Trains on `count` samples of the training split, named by `indices`: epochs over them in a new random order
 * each, in batches (the last of an epoch may be smaller), by SGD at the rate options->lr. `parameters` is the
 * start and becomes the result. `stop` (may be NULL) is looked at before each step.
 *
 * TRIB_AGAIN if stopped (parameters and *result are as far as it came), TRIB_INVALID for options out of
 * range, a net of another shape, or a training that diverged (parameters hold NaN or infinity then). The same
 * arguments, workspace size and BLAS kernel give the same bits. */
enum trib_status trib_train(const struct trib_net *net, struct trib_workspace *workspace,
                            const struct trib_dataset *dataset, const uint32_t *indices, size_t count,
                            const struct trib_train_options *options, float *parameters,
                            struct trib_train_result *result, const atomic_bool *stop,
                            struct trib_error *err) TRIB_MUST_USE;

/* Mean loss and accuracy on the first max_samples (0: all) of the test split, in batches of the workspace's
 * max_batch. TRIB_AGAIN if stopped. */
enum trib_status trib_evaluate(const struct trib_net *net, struct trib_workspace *workspace,
                               const struct trib_dataset *dataset, const float *parameters,
                               uint64_t max_samples, double *loss, double *accuracy, const atomic_bool *stop,
                               struct trib_error *err) TRIB_MUST_USE;

#endif
