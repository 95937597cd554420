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
    uint64_t batch;                       /* samples a step; 0: all (FedSGD) */
    uint64_t max_samples;                 /* in all; 0: no limit */
    double lr;                            /* of this call: trib_train_lr */
    double lr_decay;                      /* in (0, 1]; used by trib_train_lr only */
    const struct trib_schedule *schedule; /* NULL: exponential, lr * lr_decay^t */
    double momentum;                      /* 0: none; v = momentum v + g, p -= lr v, from v = 0 */
    double weight_decay;                  /* g += weight_decay p */
    double clip;                          /* largest 2-norm of the gradient, before weight decay; 0: none */
    double mu; /* FedProx: g += mu (p - w), w the parameters at the start; 0: none */
    /* Elastic weight consolidation: g += ewc fisher (p - anchor), element by element, both of the parameters'
     * length; 0: none. */
    double ewc;
    const float *anchor, *fisher;
    const float *correction; /* g += correction, of the same length; NULL: none */
    double stop_loss;        /* no further epoch after one with a mean loss below this; 0: all epochs */
    double stop_gain;        /* ... after one whose mean loss is above (1 - this) x that of the one before */
    bool flip_labels;        /* label y counts as classes - 1 - y; numbers stay */
    unsigned qat;  /* bits of the weights that forward and backward pass see (shared/model/quantise.h), whose
                      gradient then moves the floats (straight-through); 0: the floats themselves */
    bool augment;  /* each image rotated by up to 10 degrees and shifted by up to 10% */
    uint64_t seed; /* of the order of samples and the augmentation */
};

/* The learning rate at time t by the options' lr, lr_decay and schedule. */
double trib_train_lr(const struct trib_train_options *options, uint64_t t);

struct trib_train_result {
    double loss;     /* mean over the samples, each as it was when its turn came */
    double accuracy; /* the same */
    uint64_t samples, steps;
    /* FedNova's ||a||_1, the weight of all gradients in the way that was gone: with momentum m and mu, in
     * each step v = m v + 1 - lr mu a, a += v (Wang et al. 2020, arXiv 2007.07481, section 4); without the
     * two, steps */
    double path;
};

/* Trains on `count` samples of the training split, named by `indices`: epochs over them in a new random order
 * each, in batches (the last of an epoch may be smaller), by SGD at the rate options->lr. A batch that is
 * larger than the workspace's is worked on in pieces, its gradient the same up to rounding. `parameters` is
 * the start and becomes the result. `stop` (may be NULL) is looked at before each step.
 *
 * TRIB_AGAIN if stopped (parameters and *result are as far as it came), TRIB_INVALID for options out of
 * range, a net of another shape, or a training that diverged (parameters hold NaN or infinity then). The same
 * arguments, workspace size and BLAS kernel give the same bits. */
enum trib_status trib_train(const struct trib_net *net, struct trib_workspace *workspace,
                            const struct trib_dataset *dataset, const uint32_t *indices, size_t count,
                            const struct trib_train_options *options, float *parameters,
                            struct trib_train_result *result, const atomic_bool *stop,
                            struct trib_error *err) TRIB_MUST_USE;

/* The diagonal of the empirical Fisher information at `parameters` into `fisher` (as many floats): the mean
 * over these samples of the square of each one's gradient (Kirkpatrick et al. 2017, arXiv 1612.00796, section
 * 2; with the labels that are there). As much work as an epoch in batches of one. Errors as trib_train. */
enum trib_status trib_fisher(const struct trib_net *net, struct trib_workspace *workspace,
                             const struct trib_dataset *dataset, const uint32_t *indices, size_t count,
                             const float *parameters, float *fisher, const atomic_bool *stop,
                             struct trib_error *err) TRIB_MUST_USE;

/* Mean loss and accuracy on the first max_samples (0: all) of the test split, in batches of the workspace's
 * max_batch. TRIB_AGAIN if stopped. */
enum trib_status trib_evaluate(const struct trib_net *net, struct trib_workspace *workspace,
                               const struct trib_dataset *dataset, const float *parameters,
                               uint64_t max_samples, double *loss, double *accuracy, const atomic_bool *stop,
                               struct trib_error *err) TRIB_MUST_USE;

/* The gradient of the mean loss over at most TRIB_GRADIENT_SAMPLES samples of the first max_samples (0: all)
 * of the test split, evenly spread, into `gradient` (as many floats as the net has parameters). As much work
 * as three evaluations of so many. TRIB_AGAIN if stopped, TRIB_INVALID where it is not finite. */
enum { TRIB_GRADIENT_SAMPLES = 1000 };
enum trib_status trib_evaluate_gradient(const struct trib_net *net, struct trib_workspace *workspace,
                                        const struct trib_dataset *dataset, const float *parameters,
                                        uint64_t max_samples, float *gradient, const atomic_bool *stop,
                                        struct trib_error *err) TRIB_MUST_USE;

/* A part of an evaluation: `count` samples of the test split from `from` on, or, if `chosen` is not NULL,
 * those that it names from its place `from` on. Adds the sum of their losses and the number of right labels
 * to what is there; trib_dataset_accuracy makes an accuracy of them. */
enum trib_status trib_evaluate_part(const struct trib_net *net, struct trib_workspace *workspace,
                                    const struct trib_dataset *dataset, const float *parameters,
                                    const uint32_t *chosen, size_t from, size_t count, double *loss_sum,
                                    size_t *correct, struct trib_error *err) TRIB_MUST_USE;

#endif
