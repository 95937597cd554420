/* Evaluation: a thread that keeps a version's model as a file and measures it on held-out data. One version
 * at a time; what comes meanwhile is skipped, the newest is next. */
#ifndef TRIB_CLOUD_EVALUATOR_H
#define TRIB_CLOUD_EVALUATOR_H

#include "shared/learn/task.h"
#include "shared/net/reactor.h"

struct evaluator;

struct evaluation {
    uint64_t version;
    uint8_t digest[TRIB_DIGEST_BYTES];
    float *parameters; /* a copy */
    float *gradient;   /* of the held-out loss (train.h); NULL: not asked for, or there is none */
    float loss, accuracy;
    uint64_t samples, duration_ms;
    enum trib_status status; /* of the file or of the measurement */
    struct trib_error err;
};

struct evaluator_options {
    const struct trib_task *task;
    const char *store;    /* the cloud's folder, for cloud/models.h */
    uint64_t keep_models; /* newest files that stay, and the best one; 0: all */
    bool resumed;         /* the run goes on: its files are there already */
    uint64_t max_samples; /* 0: the whole test split */
    /* In the reactor's thread; the evaluation is the evaluator's, but for a gradient that is taken out of it.
     */
    void (*done)(void *ctx, struct evaluation *evaluation);
    void *ctx;
};

enum trib_status evaluator_new(struct evaluator **out, struct trib_reactor *reactor,
                               const struct evaluator_options *options, struct trib_error *err) TRIB_MUST_USE;
void evaluator_free(struct evaluator **evaluator);
bool evaluator_idle(const struct evaluator *evaluator);
/* Copies the parameters and begins; `gradient`: with that too. TRIB_NOMEM; only when idle. */
enum trib_status evaluator_begin(struct evaluator *evaluator, uint64_t version,
                                 const uint8_t digest[TRIB_DIGEST_BYTES], const float *parameters,
                                 bool gradient) TRIB_MUST_USE;

#endif
