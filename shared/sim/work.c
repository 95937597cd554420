/* Training: a device's update is begun when its role asks for it, computed by a worker meanwhile, and there
 * at the virtual time at which its device would have it. */
#include "shared/sim/internal.h"

#include "shared/base/alloc.h"
#include "shared/kernels/kernels.h"

#include <string.h>
#include <unistd.h>

enum {
    EVALUATION_BATCH = 200,
    AHEAD_BYTES = 256 << 20, /* of results that wait for their time */
    AHEAD_LEAST = 8,         /* ... and so many in any case, a worker */
    PRETEND_WEIGHT = 100,
    COMPLAINTS = 5,
    /* Failures in a row after which the run is given up. */
    FAILURES_A_DEVICE = 10,
    FAILURES_LEAST = 100,
    FAILURES_MOST = 1000
};

/* ---- the workers' side ---- */

/* The device's role would drop such an update, and say nothing of it but in its log. */
static void check_finite(struct sim_job *job) {
    const struct trib_kernels *k = trib_kernels();
    const struct trib_schema *schema = &job->sim->task.schema;
    bool fine = k->all_finite(job->local->difference, job->sim->parameters);
    for (size_t i = 0; fine && i < TRIB_LOCAL_MAX; i++)
        fine =
            job->local->memory[i] == NULL || k->all_finite(job->local->memory[i], schema->model_parameters);
    if (!fine)
        job->status = trib_fail(&job->err, TRIB_INVALID, "training diverged: the update is not finite");
}

static void train(struct trib_sim_task *task, size_t worker) {
    struct sim_job *job = (struct sim_job *)task;
    struct trib_sim *sim = job->sim;
    const struct sim_node *node = &sim->nodes[job->node];
    struct trib_local *local = job->local = trib_local_new(trib_sim_task_of(sim, node), job->G, job->memory);
    if (local == NULL) {
        job->status = trib_fail(&job->err, TRIB_NOMEM, "out of memory to train");
        return;
    }
    local->device = node->part;
    local->most_epochs = job->most_epochs;
    local->version = job->submission.base_version;
    local->turn = job->turn;
    local->sample_ms = job->sample_ms;
    local->flip_labels = node->attacks && sim->attackers.attack.row->flips_labels;
    job->status = trib_local_train(local, sim->workers[worker].training, NULL, &job->err);
    if (job->status == TRIB_OK) check_finite(job);
    job->submission.samples = local->samples;
    job->submission.weight = local->weight;
    job->submission.steps = local->steps;
    job->submission.loss = local->loss;
    job->submission.local = (const float *const *)local->memory;
    trib_free(local->G); /* results wait for their time, and many do */
    local->G = NULL;
}

/* train.none: something that is cheap, and different for each update. */
static void pretend(struct sim_job *job) {
    size_t n = job->sim->parameters;
    float *difference = job->sim->pretended;
    uint64_t x = trib_mix64((uint64_t)job->node << 32 | job->turn) | 1;
    for (size_t i = 0; i < n; i++) { /* xorshift64 */
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        difference[i] = (float)(int32_t)(x >> 32) * 0x1p-38f;
    }
    job->submission.samples = job->submission.weight = PRETEND_WEIGHT;
    job->submission.steps = job->submission.loss = 1;
}

/* ---- the loop's side ---- */

void trib_sim_job_free(struct sim_job *job) {
    if (job == NULL) return;
    trib_local_free(&job->local);
    trib_free(job);
}

/* Samples that an update takes, as the plan has it, and as trib_local_train has it under a deadline. */
static double planned_samples(const struct trib_sim *sim, const struct sim_job *job) {
    const struct trib_plan *plan = &sim->plan;
    const struct sim_node *node = &sim->nodes[job->node];
    const uint32_t *indices;
    size_t count = PRETEND_WEIGHT;
    if (!sim->scenario->train.none)
        trib_partition_indices(trib_sim_task_of(sim, node)->partition, node->part, &indices, &count);
    uint64_t batch = plan->batch;
    uint64_t most = count * (job->most_epochs > 0 ? job->most_epochs : plan->epochs);
    if (plan->max_samples > 0 && plan->max_samples < most) most = plan->max_samples;
    double samples = (double)most;
    if (plan->deadline_ms > 0 && job->sample_ms > 0 && (double)plan->deadline_ms / job->sample_ms < samples)
        samples = (double)plan->deadline_ms / job->sample_ms;
    return samples > (double)batch ? samples : (double)(batch < most ? batch : most);
}

static uint64_t duration_us(const struct trib_sim *sim, struct sim_node *node, struct sim_job *job) {
    double speed = (double)node->speed, seconds = trib_delay_draw(&sim->delay, &node->rng) * speed;
    if (trib_delay_is_zero(&sim->sample_delay)) return trib_sim_seconds_us(seconds);
    job->sample_ms = trib_delay_draw(&sim->sample_delay, &node->rng) * speed * 1000;
    return trib_sim_seconds_us(seconds + planned_samples(sim, job) * job->sample_ms / 1000);
}

static void fill(struct trib_sim *sim, size_t index, struct sim_job *job) {
    double partial = sim->scenario->fleet.partial;
    struct sim_node *node = &sim->nodes[index];
    const struct trib_state *state = node->state;
    job->sim = sim;
    job->number = sim->trainings++;
    job->kept = trib_sim_has_kept(sim, TRIB_KEPT_TRAINING, job->number);
    job->node = (uint32_t)index;
    job->G = state->G;
    job->memory = (const float *const *)state->local;
    job->turn = state->next_number - 1 + node->unnumbered;
    if (partial > 0 && sim->plan.epochs > 1 && trib_rng_unit(&node->rng) < partial)
        job->most_epochs = 1 + trib_rng_below(&node->rng, sim->plan.epochs - 1);
    job->submission = (struct trib_submission){.base_version = state->parent_version,
                                               .parent_incarnation = state->parent_incarnation};
}

void trib_sim_train(struct trib_sim *sim, size_t index) {
    struct sim_node *node = &sim->nodes[index];
    trib_sim_forsake(sim, index);
    struct sim_job *job = trib_alloc(sizeof *job);
    if (job == NULL) {
        trib_sim_out_of_memory(sim);
        return;
    }
    fill(sim, index, job);
    job->task.needed_us = sim->now_us + duration_us(sim, node, job);
    job->task.run = train;
    struct trib_error err;
    if (!sim->scenario->train.none && !job->kept &&
        trib_sim_pool_put(sim->pool, &job->task, &err) != TRIB_OK) {
        trib_sim_job_free(job);
        trib_sim_fail(sim, &err);
        return;
    }
    node->job = job;
    trib_sim_put(sim, job->task.needed_us, SIM_TRAINED, index, job);
}

void trib_sim_forsake(struct trib_sim *sim, size_t index) {
    struct sim_job *job = sim->nodes[index].job;
    if (job == NULL) return;
    sim->nodes[index].job = NULL;
    job->forsaken = true; /* its event frees it */
    if (sim->scenario->train.none || job->kept) return;
    trib_sim_pool_cancel(sim->pool, &job->task);
    trib_sim_keep_training(sim, job);
}

/* The device comes again for a model, as if it had not been asked. */
static void give_up(struct trib_sim *sim, const struct sim_job *job) {
    trib_participant_abandon(sim->nodes[job->node].participant, trib_sim_now_ms(sim));
}

/* A training that diverged; one without memory ends the simulation. */
static void failed(struct trib_sim *sim, const struct sim_job *job) {
    char name[SIM_NAME];
    if (job->status == TRIB_NOMEM) {
        trib_sim_fail(sim, &job->err);
        return;
    }
    sim->status.failed++;
    sim->failures++;
    sim->failure = job->err;
    if (sim->options.log != NULL && sim->complaints < COMPLAINTS) {
        sim->complaints++;
        trib_log(sim->options.log, TRIB_LOG_ERROR, "training_failed", "node=%s at=%.3f error=\"%s\"%s",
                 trib_sim_name(sim, job->node, name), (double)sim->now_us * 1e-6, job->err.text,
                 sim->complaints == COMPLAINTS ? " hint=\"others are not told\"" : "");
    }
    give_up(sim, job);
}

bool trib_sim_hopeless(const struct trib_sim *sim) {
    uint64_t devices = sim->scenario->fleet.devices, active = sim->scenario->fleet.active;
    uint64_t most = FAILURES_A_DEVICE * (active > 0 && active < devices ? active : devices);
    if (most < FAILURES_LEAST) most = FAILURES_LEAST;
    return sim->failures >= (most < FAILURES_MOST ? most : FAILURES_MOST);
}

static void submit(struct trib_sim *sim, struct sim_job *job) {
    struct sim_node *node = &sim->nodes[job->node];
    double drop = sim->scenario->fleet.drop;
    float *difference = job->local != NULL ? job->local->difference : sim->pretended;
    trib_sim_attack(sim, job, difference);
    sim->status.trained++;
    sim->failures = 0;
    if (drop > 0 && trib_rng_unit(&node->rng) < drop) {
        sim->status.dropped++;
        give_up(sim, job);
        return;
    }
    job->submission.difference = difference;
    trib_participant_submit(node->participant, trib_sim_now_ms(sim), &job->submission);
}

/* Its result, from wherever it comes. */
static void have_result(struct trib_sim *sim, struct sim_job *job) {
    struct trib_error err;
    if (sim->scenario->train.none) {
        pretend(job);
    } else if (!job->kept) {
        trib_sim_pool_wait(sim->pool, &job->task);
        trib_sim_keep_training(sim, job);
    } else if (trib_sim_take_training(sim, job, &err) != TRIB_OK) {
        trib_sim_fail(sim, &err);
        job->status = trib_fail(&job->err, err.status, "%s", err.text);
    }
}

void trib_sim_trained(struct trib_sim *sim, struct sim_job *job) {
    if (!job->forsaken) {
        struct sim_node *node = &sim->nodes[job->node];
        uint64_t waits_us = trib_sim_attack_waits_us(sim, job);
        if (waits_us > sim->now_us) {
            trib_sim_put(sim, waits_us, SIM_TRAINED, job->node, job);
            return;
        }
        uint64_t before = node->state->next_number;
        node->job = NULL;
        have_result(sim, job);
        if (job->status == TRIB_OK)
            submit(sim, job);
        else
            failed(sim, job);
        node->unnumbered += node->state->next_number == before;
    }
    trib_sim_job_free(job);
}

/* ---- opening ---- */

static enum trib_status pretend_schema(struct trib_sim *sim, struct trib_error *err) {
    size_t dims[] = {(size_t)sim->scenario->train.parameters};
    enum trib_status status = trib_schema_add(&sim->task.schema, "pretended.weight", dims, 1, 0.1f, err);
    return status == TRIB_OK ? trib_schema_finish(&sim->task.schema, err) : status;
}

static size_t thread_count(const struct trib_sim *sim) {
    if (sim->scenario->threads > 0) return (size_t)sim->scenario->threads;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (size_t)online : 1;
}

static enum trib_status open_workers(struct trib_sim *sim, struct trib_error *err) {
    size_t threads = thread_count(sim);
    size_t ahead = AHEAD_BYTES / (sim->parameters * sizeof(float) + 1);
    if (ahead < AHEAD_LEAST * threads) ahead = AHEAD_LEAST * threads;
    sim->workers = trib_alloc_array(threads, sizeof *sim->workers);
    if (sim->workers == NULL) return trib_fail(err, TRIB_NOMEM, "out of memory for training threads");
    enum trib_status status = trib_sim_pool_new(threads, ahead, &sim->pool, err);
    for (size_t i = 0; status == TRIB_OK && i < threads; i++) {
        status = trib_local_workspace(&sim->task, &sim->workers[i].training, err);
        if (status == TRIB_OK)
            status = trib_workspace_new(sim->task.net, EVALUATION_BATCH, &sim->workers[i].evaluating, err);
    }
    return status;
}

enum trib_status trib_sim_task_open(struct trib_sim *sim, struct trib_error *err) {
    const struct trib_scenario *s = sim->scenario;
    trib_schema_init(&sim->task.schema);
    enum trib_status status;
    if (s->train.none && s->train.parameters > 0) {
        status = pretend_schema(sim, err);
    } else {
        status = trib_task_open(&sim->task, &sim->plan, s->data_path, !s->train.none, err);
        sim->has_task = status == TRIB_OK;
    }
    sim->parameters = sim->task.schema.parameters;
    return status;
}

static bool combines(const char *spec, enum trib_tier tier) {
    struct trib_rule *rule = NULL;
    bool does =
        trib_rule_new(spec, tier, &rule, NULL) == TRIB_OK && trib_rule_form(rule) == TRIB_RULE_BUFFERED;
    trib_rule_free(&rule);
    return does;
}

/* Commits of rules that combine updates take long, and all nodes' are made one after the other. */
static enum trib_status open_shards(struct trib_sim *sim, struct trib_error *err) {
    size_t threads = thread_count(sim);
    bool wanted =
        combines(sim->plan.cloud_rule, TRIB_TIER_CLOUD) || combines(sim->plan.edge_rule, TRIB_TIER_EDGE);
    if (!wanted || threads == 1) return TRIB_OK;
    return trib_shards_new(threads < TRIB_SHARDS_COMMIT ? threads : TRIB_SHARDS_COMMIT, &sim->shards, err);
}

enum trib_status trib_sim_work_open(struct trib_sim *sim, struct trib_error *err) {
    enum trib_status status = trib_sim_task_open(sim, err);
    if (status == TRIB_OK && sim->has_task) status = open_workers(sim, err);
    if (status == TRIB_OK && sim->scenario->train.none &&
        (sim->pretended = trib_alloc_floats(sim->parameters)) == NULL)
        status = trib_fail(err, TRIB_NOMEM, "out of memory for an update");
    return status == TRIB_OK ? open_shards(sim, err) : status;
}

void trib_sim_work_close(struct trib_sim *sim) {
    size_t threads = sim->pool != NULL ? trib_sim_pool_threads(sim->pool) : 0;
    trib_sim_pool_free(&sim->pool);
    for (size_t i = 0; sim->workers != NULL && i < threads; i++) {
        trib_workspace_free(&sim->workers[i].training);
        trib_workspace_free(&sim->workers[i].evaluating);
    }
    trib_free(sim->workers);
    trib_shards_free(&sim->shards);
    trib_free(sim->pretended);
    trib_task_close(&sim->task);
}
