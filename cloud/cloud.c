#include "cloud/cloud.h"

#include "cloud/evaluator.h"
#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "shared/daemon/node.h"
#include "shared/kernels/kernels.h"
#include "shared/learn/blas.h"
#include "shared/model/digest.h"
#include "shared/model/safetensors.h"

#include <gnu/libc-version.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { CHECK_MS = 250, LAST_WORDS_MS = 3000 /* for the news that the run is over to reach the devices */ };

struct cloud {
    const struct trib_cloud_config *config;
    const struct trib_log *log;
    struct trib_node *node;
    struct trib_task task;
    struct evaluator *evaluator;
    struct trib_timer *check, *leave;
    bool begun, resumed, leaving;
    uint64_t evaluated_version, evaluated_at_ms; /* the newest one that was begun */
    bool evaluated_any;
    uint64_t evaluated_position; /* of the record of the last result */
    struct evaluation *pending;  /* finished while the state could not change */
    char environment[128];
};

/* ---- the run ---- */

static enum trib_status first_version(const struct cloud *cloud, struct trib_record *record,
                                      struct trib_error *err) {
    if (cloud->config->start_model[0] == 0) {
        trib_rec_set(record, SEED, seed, cloud->config->plan.seed);
        return TRIB_OK;
    }
    size_t n = cloud->task.schema.parameters;
    struct trib_schema own = trib_schema_own(&cloud->task.schema);
    record->payload = trib_blob_new(n * sizeof(float));
    if (record->payload == NULL) return trib_fail(err, TRIB_NOMEM, "out of memory for the first version");
    memset(trib_blob_mutable(record->payload), 0, n * sizeof(float)); /* control tensors */
    return trib_safetensors_load(cloud->config->start_model, &own,
                                 (float *)(void *)trib_blob_mutable(record->payload), err);
}

static enum trib_status begin_run(struct cloud *cloud, struct trib_error *err) {
    struct trib_buf plan, schema;
    trib_buf_init(&plan, TRIB_MAP_MAX_BYTES);
    trib_buf_init(&schema, TRIB_SCHEMA_MAX_TEXT);
    trib_options_flat(trib_plan_options, trib_plan_option_count, &cloud->config->plan, &plan);
    trib_schema_text(&cloud->task.schema, &schema);
    struct trib_record record = {.kind = TRIB_REC_START};
    trib_rec_set(&record, INCARNATION, incarnation, trib_random_u64());
    trib_rec_set(&record, PLAN, plan, ((struct trib_text){(const char *)plan.data, plan.size}));
    trib_rec_set(&record, SCHEMA, schema, ((struct trib_text){(const char *)schema.data, schema.size}));
    const char *label = cloud->config->run_label;
    trib_rec_set(&record, TEXT, text, ((struct trib_text){label, strlen(label)}));
    uint64_t half = trib_random_u64();
    memcpy(record.run, &half, sizeof half);
    half = trib_random_u64();
    memcpy(record.run + 8, &half, sizeof half);
    record.present |= (uint64_t)1 << TRIB_R_RUN;
    trib_rec_set(&record, LEDGER_FORMAT, ledger_format, (uint64_t)TRIB_CHAIN_FORMAT);
    enum trib_status status = first_version(cloud, &record, err);
    if (status == TRIB_OK && !trib_node_record(cloud->node, &record))
        status = trib_fail(err, TRIB_IO, "the run could not be begun: the journal cannot be written");
    trib_blob_unref(&record.payload);
    trib_buf_release(&plan);
    trib_buf_release(&schema);
    return status;
}

/* A run that goes on keeps its plan, whatever the config says now. */
static void tell_of_plan(const struct cloud *cloud, const struct trib_state *state) {
    struct trib_buf ours;
    trib_buf_init(&ours, TRIB_MAP_MAX_BYTES);
    trib_options_flat(trib_plan_options, trib_plan_option_count, &cloud->config->plan, &ours);
    if (ours.size != state->plan_text.size || memcmp(ours.data, state->plan_text.data, ours.size) != 0)
        trib_log(cloud->log, TRIB_LOG_WARN, "plan_kept",
                 "hint=\"the config's plan is another one, the run goes on under its own; "
                 "--set run.resume=false begins a new run\"");
    trib_buf_release(&ours);
}

static enum trib_status on_ready(void *ctx, struct trib_node *node, struct trib_error *err) {
    struct cloud *cloud = ctx;
    cloud->node = node;
    const struct trib_state *state = trib_node_state(node);
    bool resume = state->started && (cloud->begun || (!state->stopped && cloud->config->run_resume));
    if (resume) {
        const struct trib_plan *ours = &cloud->config->plan;
        if (strcmp(state->plan.dataset, ours->dataset) != 0)
            return trib_fail(err, TRIB_INVALID,
                             "the run in this store is of data set %s, plan.data.set is %s; end it with "
                             "--set run.resume=false, or use another store.path",
                             state->plan.dataset, ours->dataset);
        if (memcmp(state->schema.fingerprint, cloud->task.schema.fingerprint, TRIB_DIGEST_BYTES) != 0)
            return trib_fail(err, TRIB_INVALID,
                             "the run in this store is of another model than plan.model; end it with "
                             "--set run.resume=false, or use another store.path");
        if (!cloud->begun) tell_of_plan(cloud, state);
        trib_log(cloud->log, TRIB_LOG_INFO, "run_resumed", "version=%" PRIu64 " commits=%" PRIu64,
                 state->version, state->commits);
        cloud->resumed = !cloud->begun;
        cloud->evaluated_position = 0; /* what was not written is not waited for */
        cloud->begun = true;
        return TRIB_OK;
    }
    enum trib_status status = begin_run(cloud, err);
    if (status != TRIB_OK) return status;
    cloud->begun = true;
    trib_log(cloud->log, TRIB_LOG_INFO, "run_begun", "model=%s parameters=%zu dataset=%s source=\"%s\"",
             state->plan.model, trib_state_parameters(state), state->plan.dataset, cloud->task.source);
    return TRIB_OK;
}

static void on_leave(void *ctx) {
    struct cloud *cloud = ctx;
    trib_node_stop(cloud->node);
}

/* The last version is measured before the program ends. */
static void leave_when_done(struct cloud *cloud) {
    const struct trib_state *state = trib_node_state(cloud->node);
    if (cloud->leaving || state == NULL || !state->stopped || strcmp(cloud->config->on_finish, "exit") != 0)
        return;
    if (!evaluator_idle(cloud->evaluator) || cloud->pending != NULL) return;
    if (!cloud->evaluated_any || cloud->evaluated_version != state->version) return;
    cloud->leaving = true;
    trib_timer_after(cloud->leave, LAST_WORDS_MS);
}

static void finish(struct cloud *cloud, const char *reason) {
    const struct trib_state *state = trib_node_state(cloud->node);
    trib_log(cloud->log, TRIB_LOG_INFO, "run_finished", "reason=%s version=%" PRIu64, reason, state->version);
    trib_aggregator_finish(trib_node_aggregator(cloud->node), trib_node_now_ms(cloud->node), reason);
}

static void check_stop(struct cloud *cloud) {
    const struct trib_state *state = trib_node_state(cloud->node);
    if (state == NULL || !state->started || state->stopped) return;
    const struct trib_plan *plan = &state->plan;
    if (plan->stop_versions > 0 && state->version >= plan->stop_versions)
        finish(cloud, "versions");
    else if (plan->stop_ms > 0 && trib_node_now_ms(cloud->node) >= state->started_ms + plan->stop_ms)
        finish(cloud, "time");
}

/* ---- evaluation ---- */

static void begin_evaluation(struct cloud *cloud) {
    const struct trib_state *state = trib_node_state(cloud->node);
    if (!evaluator_idle(cloud->evaluator) || cloud->pending != NULL) return;
    if (trib_node_committed(cloud->node) < cloud->evaluated_position) return; /* it makes room for this one */
    if (cloud->evaluated_any && cloud->evaluated_version == state->version) return;
    uint64_t now = trib_node_now_ms(cloud->node);
    if (!state->stopped && cloud->evaluated_any &&
        now - cloud->evaluated_at_ms < cloud->config->eval_interval_ms)
        return;
    bool gradient = trib_aggregator_wants_gradient(trib_node_aggregator(cloud->node));
    if (evaluator_begin(cloud->evaluator, state->version, state->digest, state->own, gradient) != TRIB_OK)
        return;
    cloud->evaluated_any = true;
    cloud->evaluated_version = state->version;
    cloud->evaluated_at_ms = now;
}

static void take_evaluation(struct cloud *cloud, const struct evaluation *e) {
    trib_aggregator_evaluated(trib_node_aggregator(cloud->node), trib_node_now_ms(cloud->node), e->version,
                              e->loss, e->accuracy, e->samples, e->duration_ms);
    if (e->gradient != NULL) trib_aggregator_gradient(trib_node_aggregator(cloud->node), e->gradient);
    trib_log(cloud->log, TRIB_LOG_INFO, "evaluated",
             "version=%" PRIu64 " accuracy=%.4f loss=%.4f samples=%" PRIu64 " ms=%" PRIu64, e->version,
             (double)e->accuracy, (double)e->loss, e->samples, e->duration_ms);
    const struct trib_state *state = trib_node_state(cloud->node);
    cloud->evaluated_position = state->position;
    if (!state->stopped && state->plan.stop_accuracy > 0 && (double)e->accuracy >= state->plan.stop_accuracy)
        finish(cloud, "accuracy");
}

static void on_advanced(void *ctx, struct trib_node *node) {
    struct cloud *cloud = ctx;
    /* Before the evaluation is there, nothing is decided: the node is still being opened. */
    if (cloud->evaluator == NULL || trib_node_state(node) == NULL || !trib_node_state(node)->started) return;
    if (cloud->pending != NULL) {
        struct evaluation *e = cloud->pending;
        cloud->pending = NULL;
        take_evaluation(cloud, e);
        trib_free(e->gradient);
        trib_free(e);
    }
    check_stop(cloud);
    begin_evaluation(cloud);
    leave_when_done(cloud);
}

static void on_evaluated(void *ctx, struct evaluation *e) {
    struct cloud *cloud = ctx;
    if (e->status != TRIB_OK) {
        trib_log(cloud->log, TRIB_LOG_ERROR, "evaluation_failed", "version=%" PRIu64 " error=\"%s\"",
                 e->version, e->err.text);
    } else if ((cloud->pending = trib_alloc(sizeof *cloud->pending)) != NULL) {
        *cloud->pending = *e; /* its parameters are not looked at any more */
        cloud->pending->parameters = NULL;
        e->gradient = NULL; /* it is the copy's now */
    }
    trib_node_wake(cloud->node);
}

static void on_check(void *ctx) {
    struct cloud *cloud = ctx;
    trib_node_wake(cloud->node);
}

static void on_status(void *ctx, struct trib_node *node, struct trib_json *json) {
    struct cloud *cloud = ctx;
    (void)node;
    trib_json_key(json, "evaluated_version");
    trib_json_u64(json, cloud->evaluated_version);
}

/* ---- making ---- */

static enum trib_status open_all(struct cloud *cloud, struct trib_error *err) {
    const struct trib_cloud_config *c = cloud->config;
    enum trib_status status = trib_partition_check_spec(c->plan.partition, err);
    if (status == TRIB_OK) status = trib_task_open(&cloud->task, &c->plan, c->data_path, false, err);
    if (status == TRIB_OK) status = trib_plan_check_codecs(&c->plan, &cloud->task.schema, err);
    if (status != TRIB_OK) return status;
    (void)snprintf(cloud->environment, sizeof cloud->environment, "kernels=%s openblas=%s libc=%s",
                   trib_kernels()->name, trib_blas_kernel(), gnu_get_libc_version());
    struct trib_node_options node = {
        .role = TRIB_ROLE_CLOUD,
        .log = cloud->log,
        .node = &c->node,
        .parent = &c->parent,
        .store = &c->store,
        .database = "ledger.db",
        .environment = cloud->environment,
        .hooks = {.ctx = cloud, .ready = on_ready, .advanced = on_advanced, .status = on_status}};
    status = trib_node_new(&cloud->node, &node, err);
    if (status != TRIB_OK) return status;
    struct trib_reactor *reactor = trib_node_reactor(cloud->node);
    struct evaluator_options evaluator = {.task = &cloud->task,
                                          .store = c->store.path,
                                          .keep_models = c->keep_models,
                                          .resumed = cloud->resumed,
                                          .max_samples = c->eval_max_samples,
                                          .done = on_evaluated,
                                          .ctx = cloud};
    status = evaluator_new(&cloud->evaluator, reactor, &evaluator, err);
    if (status == TRIB_OK) status = trib_timer_new(reactor, on_check, cloud, &cloud->check, err);
    if (status == TRIB_OK) status = trib_timer_new(reactor, on_leave, cloud, &cloud->leave, err);
    if (status == TRIB_OK) trib_timer_every(cloud->check, CHECK_MS);
    return status;
}

static void warn(const struct cloud *cloud) {
    const struct trib_role_config *role = trib_role_config_find("cloud");
    const char *warning;
    char quoted[400];
    for (size_t i = 0; (warning = role->warning(cloud->config, i)) != NULL; i++)
        trib_log(cloud->log, TRIB_LOG_WARN, "config_warning", "hint=%s",
                 trib_log_quote(quoted, sizeof quoted, warning));
}

enum trib_status cloud_run(const struct trib_cloud_config *config, const struct trib_log *log,
                           struct trib_error *err) {
    struct cloud cloud = {.config = config, .log = log};
    trib_schema_init(&cloud.task.schema);
    warn(&cloud);
    enum trib_status status = open_all(&cloud, err);
    if (status == TRIB_OK) status = trib_node_run(cloud.node, err);
    evaluator_free(&cloud.evaluator);
    trib_timer_free(&cloud.check);
    trib_timer_free(&cloud.leave);
    trib_node_free(&cloud.node);
    if (cloud.pending != NULL) trib_free(cloud.pending->gradient);
    trib_free(cloud.pending);
    trib_task_close(&cloud.task);
    return status;
}
