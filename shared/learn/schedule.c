/* Learning-rate schedules. */
#include "shared/learn/train.h"

#include <math.h>
#include <string.h>

static double constant(double lr, double decay, double t) {
    (void)decay;
    (void)t;
    return lr;
}

static double exponential(double lr, double decay, double t) {
    return decay < 1.0 ? lr * pow(decay, t) : lr;
}

static double inverse(double lr, double decay, double t) {
    return lr / (1.0 + (1.0 - decay) * t);
}

static const struct trib_schedule rows[] = {
    {"exponential", "lr * decay^t", exponential},
    {"inverse", "lr / (1 + (1 - decay) * t)", inverse},
    {"constant", "lr", constant},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

const struct trib_schedule *trib_schedule_row(size_t i) {
    return i < ROWS ? &rows[i] : NULL;
}

const struct trib_schedule *trib_schedule_find(const char *name) {
    for (size_t i = 0; i < ROWS; i++)
        if (strcmp(rows[i].name, name) == 0) return &rows[i];
    return NULL;
}

double trib_train_lr(const struct trib_train_options *options, uint64_t t) {
    const struct trib_schedule *schedule = options->schedule != NULL ? options->schedule : &rows[0];
    return schedule->rate(options->lr, options->lr_decay, (double)t);
}
