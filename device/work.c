/* Training: whose turn it is, with which data and seed, and what comes of it. */
#include "device/internal.h"

#include "shared/base/clock.h"

#include <inttypes.h>
#include <string.h>

/* Opens what the plan asks for, once for all devices; again when the plan has changed and nobody trains. */
static enum trib_status open_task(struct fleet *fleet, const struct trib_state *state,
                                  struct trib_error *err) {
    struct trib_buf *have = &fleet->task_plan;
    if (fleet->task_open && have->size == state->plan_text.size &&
        (have->size == 0 || memcmp(have->data, state->plan_text.data, have->size) == 0))
        return TRIB_OK;
    if (trainer_running(fleet->trainer) > 0)
        return trib_fail(err, TRIB_AGAIN, "others still train on the old plan");
    trib_task_close(&fleet->task);
    fleet->task_open = false;
    uint64_t began = trib_clock_ms();
    enum trib_status status = trib_task_open(&fleet->task, &state->plan, fleet->config->data_path, true, err);
    if (status != TRIB_OK) return status;
    trib_buf_clear(have);
    trib_buf_append(have, state->plan_text.data, state->plan_text.size);
    fleet->task_open = !have->failed;
    fleet->task_serial++;
    trib_log(fleet->log, TRIB_LOG_INFO, "data_open",
             "source=\"%s\" dataset=%s model=%s parameters=%zu ms=%" PRIu64, fleet->task.source,
             state->plan.dataset, state->plan.model, trib_net_parameters(fleet->task.net),
             trib_clock_ms() - began);
    return TRIB_OK;
}

static enum trib_status check_task(const struct agent *agent, struct trib_error *err) {
    const struct fleet *fleet = agent->fleet;
    if (memcmp(fleet->task.schema.fingerprint, agent->state->schema.fingerprint, TRIB_DIGEST_BYTES) != 0)
        return trib_fail(err, TRIB_INVALID, "the parent's model is not what this program builds for model %s",
                         agent->state->plan.model);
    if (agent->index >= agent->state->plan.devices)
        return trib_fail(err, TRIB_INVALID,
                         "device %zu has no data: the plan splits it among %" PRIu64
                         " devices (data.devices)",
                         agent->index, agent->state->plan.devices);
    return TRIB_OK;
}

static enum trib_status make_job(struct agent *agent, struct job **out, struct trib_error *err) {
    struct fleet *fleet = agent->fleet;
    const struct trib_state *state = agent->state;
    enum trib_status status = open_task(fleet, state, err);
    if (status == TRIB_OK) status = check_task(agent, err);
    if (status != TRIB_OK) return status;
    struct job *job = job_new(&fleet->task, state);
    if (job == NULL) return trib_fail(err, TRIB_NOMEM, "out of memory to train");
    job->agent = (size_t)(agent - fleet->agents);
    job->task_serial = fleet->task_serial;
    job->local->device = agent->index;
    job->local->version = state->parent_version;
    job->local->sample_ms = agent->sample_ms;
    /* By the update's number, so that a device that was started again goes on as if it had not been. */
    job->local->turn = state->next_number - 1 + agent->unnumbered;
    job->submission = (struct trib_submission){.base_version = state->parent_version,
                                               .parent_incarnation = state->parent_incarnation};
    *out = job;
    return TRIB_OK;
}

void work_dispatch(struct fleet *fleet) {
    while (fleet->queue_count > 0 && trainer_idle(fleet->trainer) && !fleet->stopping) {
        struct agent *agent = &fleet->agents[fleet->queue[fleet->queue_first]];
        struct trib_error err;
        struct job *job = NULL;
        enum trib_status status = agent->state->has_model ? make_job(agent, &job, &err) : TRIB_NOT_FOUND;
        if (status == TRIB_AGAIN) return;
        fleet->queue_first = (fleet->queue_first + 1) % fleet->count;
        fleet->queue_count--;
        agent->queued = false;
        if (job != NULL) {
            agent->complained = false;
            trainer_submit(fleet->trainer, &job);
            job_free(job);
            continue;
        }
        if (status != TRIB_NOT_FOUND && !agent->complained)
            trib_log(fleet->log, TRIB_LOG_ERROR, "training_impossible", "device=%s error=\"%s\"", agent->name,
                     err.text);
        agent->complained = status != TRIB_NOT_FOUND;
        trib_participant_abandon(agent->participant, fleet_now_ms(fleet));
        trib_timer_at(agent->wake, 0); /* not settled here: that would come back to this function */
    }
}

void work_submit(void *ctx) {
    struct agent *agent = ctx;
    struct job *job = agent->done;
    agent->done = NULL;
    if (job == NULL) return;
    uint64_t before = agent->state->next_number;
    trib_participant_submit(agent->participant, fleet_now_ms(agent->fleet), &job->submission);
    agent->updates++;
    agent->unnumbered += agent->state->next_number == before;
    job_free(job);
    agent_settle(agent);
}

void work_trained(void *ctx, struct job *job) {
    struct fleet *fleet = ctx;
    struct agent *agent = &fleet->agents[job->agent];
    if (job->status != TRIB_OK) {
        if (job->status != TRIB_AGAIN)
            trib_log(fleet->log, TRIB_LOG_ERROR, "training_failed", "device=%s error=\"%s\"", agent->name,
                     job->err.text);
        job_free(job);
        trib_participant_abandon(agent->participant, fleet_now_ms(fleet));
        agent_settle(agent);
    } else {
        job_free(agent->done);
        agent->done = job;
        agent->sample_ms = (double)job->elapsed_us / 1000.0 / (double)job->submission.samples;
        double delay = trib_spread_draw(&fleet->delay, &agent->rng) * agent->factor;
        trib_timer_after(agent->ready, (uint64_t)delay);
    }
    work_dispatch(fleet);
}

void work_want(struct agent *agent) {
    struct fleet *fleet = agent->fleet;
    if (agent->queued) return;
    agent->queued = true;
    fleet->queue[(fleet->queue_first + fleet->queue_count++) % fleet->count] =
        (size_t)(agent - fleet->agents);
}
