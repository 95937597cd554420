#include "cloud/evaluator.h"

#include "cloud/models.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/model/digest.h"
#include "shared/model/safetensors.h"
#include "shared/net/pipe.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { EVAL_BATCH = 200 };

struct evaluator {
    struct evaluator_options options;
    struct trib_actor *actor;
    struct trib_watch *watch;
    bool busy;
    atomic_bool stop;
    /* the thread's */
    struct trib_workspace *workspace;
    struct models models;
};

static void free_evaluation(void *item) {
    struct evaluation *evaluation = item;
    if (evaluation == NULL) return;
    trib_free(evaluation->parameters);
    trib_free(evaluation->gradient);
    trib_free(evaluation);
}

/* ---- the thread ---- */

static void save(struct evaluator *e, struct evaluation *evaluation, const char *digest) {
    char path[MODELS_PATH_MAX], version[32];
    (void)snprintf(version, sizeof version, "%" PRIu64, evaluation->version);
    const char *metadata[] = {"version", version, NULL};
    evaluation->status =
        trib_safetensors_save(models_path(&e->models, digest, path), &e->options.task->schema,
                              evaluation->parameters, metadata, &evaluation->err);
}

static void evaluate(struct evaluator *e, struct evaluation *evaluation) {
    uint64_t began = trib_clock_ms();
    char digest[2 * TRIB_DIGEST_BYTES + 1];
    models_trim(&e->models);
    save(e, evaluation, trib_digest_hex(evaluation->digest, digest));
    if (evaluation->status != TRIB_OK) return;
    const struct trib_task *task = e->options.task;
    double loss = 0, accuracy = 0;
    trib_task_round(task, evaluation->parameters);
    evaluation->status = trib_evaluate(task->net, e->workspace, task->dataset, evaluation->parameters,
                                       e->options.max_samples, &loss, &accuracy, &e->stop, &evaluation->err);
    if (evaluation->status != TRIB_OK) return;
    if (evaluation->gradient != NULL &&
        trib_evaluate_gradient(task->net, e->workspace, task->dataset, evaluation->parameters,
                               e->options.max_samples, evaluation->gradient, &e->stop, NULL) != TRIB_OK) {
        trib_free(evaluation->gradient);
        evaluation->gradient = NULL;
    }
    size_t all = trib_dataset_test(task->dataset)->count;
    evaluation->samples =
        e->options.max_samples > 0 && e->options.max_samples < all ? e->options.max_samples : all;
    evaluation->loss = (float)loss;
    evaluation->accuracy = (float)accuracy;
    evaluation->duration_ms = trib_clock_ms() - began;
    models_add(&e->models, digest, (double)evaluation->accuracy); /* as the ledger has it */
}

static enum trib_status serve(struct trib_pipe *pipe, void *arg, struct trib_error *err) {
    struct evaluator *e = arg;
    enum trib_status status = trib_workspace_new(e->options.task->net, EVAL_BATCH, &e->workspace, err);
    const struct evaluator_options *o = &e->options;
    if (status == TRIB_OK) status = models_open(&e->models, o->store, o->keep_models, o->resumed, err);
    if (status != TRIB_OK) return status;
    trib_pipe_ready(pipe);
    void *item;
    while ((item = trib_pipe_take(pipe, -1)) != NULL) {
        evaluate(e, item);
        if (trib_pipe_answer(pipe, &item) != TRIB_OK) free_evaluation(item);
    }
    return TRIB_OK;
}

/* ---- the reactor ---- */

static void on_answer(void *ctx) {
    struct evaluator *e = ctx;
    struct evaluation *evaluation;
    while ((evaluation = trib_actor_take(e->actor)) != NULL) {
        e->busy = false;
        e->options.done(e->options.ctx, evaluation);
        free_evaluation(evaluation);
    }
}

enum trib_status evaluator_new(struct evaluator **out, struct trib_reactor *reactor,
                               const struct evaluator_options *options, struct trib_error *err) {
    struct evaluator *e = trib_alloc(sizeof *e);
    if (e == NULL) return trib_fail(err, TRIB_NOMEM, "out of memory for the evaluation");
    e->options = *options;
    atomic_init(&e->stop, false);
    struct trib_actor_options actor = {.name = "evaluate",
                                       .requests = 1,
                                       .answers = 1,
                                       .drop_request = free_evaluation,
                                       .drop_answer = free_evaluation};
    enum trib_status status = trib_actor_start(&e->actor, serve, e, &actor, err);
    if (status == TRIB_OK)
        status = trib_reactor_watch_fd(reactor, trib_actor_fd(e->actor), TRIB_WANT_READ, on_answer, e,
                                       &e->watch, err);
    if (status != TRIB_OK) {
        evaluator_free(&e);
        return status;
    }
    *out = e;
    return TRIB_OK;
}

void evaluator_free(struct evaluator **out) {
    struct evaluator *e = *out;
    if (e == NULL) return;
    atomic_store(&e->stop, true);
    trib_watch_free(&e->watch);
    trib_actor_free(&e->actor);
    trib_workspace_free(&e->workspace);
    models_close(&e->models);
    trib_free(e);
    *out = NULL;
}

bool evaluator_idle(const struct evaluator *e) {
    return !e->busy;
}

enum trib_status evaluator_begin(struct evaluator *e, uint64_t version,
                                 const uint8_t digest[TRIB_DIGEST_BYTES], const float *parameters,
                                 bool gradient) {
    size_t n = e->options.task->schema.parameters; /* all: the file's digest is that of the version */
    struct evaluation *evaluation = trib_alloc(sizeof *evaluation);
    if (evaluation == NULL) return TRIB_NOMEM;
    evaluation->parameters = trib_alloc_floats(n);
    if (gradient) evaluation->gradient = trib_alloc_floats(trib_net_parameters(e->options.task->net));
    void *item = evaluation;
    enum trib_status status = TRIB_NOMEM;
    if (evaluation->parameters != NULL && (!gradient || evaluation->gradient != NULL)) {
        memcpy(evaluation->parameters, parameters, n * sizeof *parameters);
        memcpy(evaluation->digest, digest, TRIB_DIGEST_BYTES);
        evaluation->version = version;
        status = trib_actor_send(e->actor, &item);
    }
    if (status == TRIB_OK)
        e->busy = true;
    else
        free_evaluation(evaluation);
    return status;
}
