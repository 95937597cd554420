#include "device/fleet.h"

#include "device/trainer.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/json.h"
#include "shared/daemon/spread.h"
#include "shared/learn/blas.h"
#include "shared/net/client.h"
#include "shared/net/health.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINGER_MS = 300 };

struct agent {
    struct fleet *fleet;
    size_t index; /* in the plan's partition */
    char name[TRIB_NAME_MAX + 1];
    struct trib_state *state;
    struct trib_outbox outbox;
    struct trib_participant *participant;
    struct trib_client *client;
    struct trib_timer *wake, *ready;
    struct trib_keys keys;
    struct trib_rng rng;
    double factor;
    bool queued, finished;
    bool complained; /* said once why it cannot train */
    bool refused;    /* said once that its parent does not take it */
    uint64_t updates;
    struct job *done; /* trained, and held back until its device would have had it */
};

struct fleet {
    const struct trib_device_config *config;
    const struct trib_log *log;
    struct trib_reactor *reactor;
    struct trib_context *context;
    struct trib_health *health;
    struct trib_timer *finish;
    struct trib_keys parent_keys;
    struct trib_spread delay;
    struct trainer *trainer;
    struct trib_task task;
    bool task_open, stopping, failed;
    uint64_t task_serial;
    uint64_t wall_offset_ms;
    struct trib_buf task_plan; /* of the task that is open */
    size_t count, finished;
    struct agent *agents;
    size_t queue_count, queue_first; /* agents that wait for a training thread, a ring of `count` */
    size_t *queue;
};

static uint64_t now_ms(const struct fleet *fleet) {
    return trib_clock_ms() + fleet->wall_offset_ms;
}

static void settle(struct agent *agent);

/* ---- training ---- */

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
    size_t n = trib_net_parameters(fleet->task.net);
    struct job *job = job_new(n);
    if (job == NULL) return trib_fail(err, TRIB_NOMEM, "out of memory to train");
    job->agent = (size_t)(agent - fleet->agents);
    job->task = &fleet->task;
    job->task_serial = fleet->task_serial;
    trib_partition_indices(fleet->task.partition, agent->index, &job->indices, &job->index_count);
    memcpy(job->start, state->G, n * sizeof *job->start);
    memcpy(job->trained, state->G, n * sizeof *job->trained);
    job->options = fleet->task.train;
    job->options.lr = trib_train_lr(&fleet->task.train, state->parent_version);
    job->options.seed = trib_mix64(state->plan.seed ^ trib_mix64(agent->index << 32 | agent->updates));
    job->submission = (struct trib_submission){.base_version = state->parent_version,
                                               .parent_incarnation = state->parent_incarnation,
                                               .weight = job->index_count};
    *out = job;
    return TRIB_OK;
}

/* Gives free training threads to the devices that wait, in turn. */
static void dispatch(struct fleet *fleet) {
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
        trib_participant_abandon(agent->participant, now_ms(fleet));
        trib_timer_at(agent->wake, 0); /* not settled here: that would come back to this function */
    }
}

static void submit(void *ctx) {
    struct agent *agent = ctx;
    struct job *job = agent->done;
    agent->done = NULL;
    if (job == NULL) return;
    agent->updates++;
    trib_participant_submit(agent->participant, now_ms(agent->fleet), &job->submission);
    job_free(job);
    settle(agent);
}

static void on_trained(void *ctx, struct job *job) {
    struct fleet *fleet = ctx;
    struct agent *agent = &fleet->agents[job->agent];
    if (job->status != TRIB_OK) {
        if (job->status != TRIB_AGAIN)
            trib_log(fleet->log, TRIB_LOG_ERROR, "training_failed", "device=%s error=\"%s\"", agent->name,
                     job->err.text);
        job_free(job);
        trib_participant_abandon(agent->participant, now_ms(fleet));
        settle(agent);
    } else {
        job_free(agent->done);
        agent->done = job;
        double delay = trib_spread_draw(&fleet->delay, &agent->rng) * agent->factor;
        trib_timer_after(agent->ready, (uint64_t)delay);
    }
    dispatch(fleet);
}

static void want_training(struct agent *agent) {
    struct fleet *fleet = agent->fleet;
    if (agent->queued) return;
    agent->queued = true;
    fleet->queue[(fleet->queue_first + fleet->queue_count++) % fleet->count] =
        (size_t)(agent - fleet->agents);
}

/* ---- carrying out ---- */

static void end_loop(void *ctx) {
    struct fleet *fleet = ctx;
    trib_reactor_stop(fleet->reactor);
}

static void agent_finished(struct agent *agent) {
    struct fleet *fleet = agent->fleet;
    if (agent->finished) return;
    agent->finished = true;
    if (++fleet->finished < fleet->count) return;
    trib_log(fleet->log, TRIB_LOG_INFO, "finished", "devices=%zu", fleet->count);
    trib_timer_after(fleet->finish, 0);
}

static void log_event(const struct agent *agent, const struct trib_record *record) {
    char event[64];
    (void)snprintf(event, sizeof event, "%.*s", (int)record->event.size, record->event.data);
    trib_log(agent->fleet->log, (enum trib_level)record->level, event, "device=%s %.*s", agent->name,
             (int)record->text.size, record->text.data);
}

/* What a device knows of its updates, for who compares it with ledgers. */
static void log_verdict(const struct agent *agent, const struct trib_record *record) {
    if (record->kind != TRIB_REC_ACKED || record->verdict == 0) return;
    trib_log(agent->fleet->log, TRIB_LOG_DEBUG, "update_judged",
             "device=%s incarnation=%016" PRIx64 " number=%" PRIu64 " verdict=%s", agent->name,
             agent->state->incarnation, record->number,
             record->verdict == TRIB_ACCEPTED ? "accepted" : "refused");
}

static void carry_out(struct agent *agent) {
    struct fleet *fleet = agent->fleet;
    struct trib_action action;
    while (trib_outbox_take(&agent->outbox, &action)) {
        struct trib_error err;
        switch (action.kind) {
        case TRIB_ACTION_SEND_PARENT:
            /* A full queue is a lost message: asked for again by timer. */
            if (trib_client_send(agent->client, action.frame, action.frame_bytes, action.payload) != TRIB_OK)
                trib_log(fleet->log, TRIB_LOG_DEBUG, "send_dropped", "device=%s", agent->name);
            break;
        case TRIB_ACTION_RECONNECT:
            if (trib_client_reopen(agent->client, &err) != TRIB_OK)
                trib_log(fleet->log, TRIB_LOG_ERROR, "uplink_failed", "device=%s error=\"%s\"", agent->name,
                         err.text);
            trib_participant_connected(agent->participant, now_ms(fleet));
            break;
        case TRIB_ACTION_TRAIN: want_training(agent); break;
        case TRIB_ACTION_FINISHED: agent_finished(agent); break;
        case TRIB_ACTION_LOG: log_event(agent, action.record); break;
        case TRIB_ACTION_WRITE: /* a device keeps no journal: an incarnation is as long as its process */
            log_verdict(agent, action.record);
            break;
        case TRIB_ACTION_SEND_CHILD: break;
        }
        trib_action_release(&action);
    }
    if (agent->outbox.failed != TRIB_OK) {
        trib_log(fleet->log, TRIB_LOG_ERROR, "device_failed", "device=%s error=\"%s\"", agent->name,
                 agent->outbox.error.text);
        fleet->failed = true;
        trib_timer_after(fleet->finish, 0);
    }
}

static void settle(struct agent *agent) {
    struct fleet *fleet = agent->fleet;
    carry_out(agent);
    uint64_t now = now_ms(fleet), wake = trib_participant_poll(agent->participant, now);
    carry_out(agent);
    if (wake == UINT64_MAX)
        trib_timer_cancel(agent->wake);
    else
        trib_timer_at(agent->wake, wake > now ? trib_clock_ms() + (wake - now) : 0);
    dispatch(fleet);
}

static void on_wake(void *ctx) {
    settle(ctx);
}

static void on_message(void *ctx, const struct trib_incoming *in) {
    struct agent *agent = ctx;
    trib_participant_message(agent->participant, now_ms(agent->fleet), in->head, in->head_bytes, in->payload);
    settle(agent);
}

static void on_link(void *ctx, enum trib_link link) {
    struct agent *agent = ctx;
    if (link == TRIB_LINK_UP) agent->refused = false;
    if ((link != TRIB_LINK_REFUSED && link != TRIB_LINK_FOREIGN) || agent->refused) return;
    agent->refused = true;
    trib_log(agent->fleet->log, TRIB_LOG_ERROR, "uplink_link", "device=%s link=%s endpoint=%s hint=\"%s\"",
             agent->name, link == TRIB_LINK_REFUSED ? "refused" : "foreign",
             agent->fleet->config->upstream.endpoint,
             link == TRIB_LINK_REFUSED
                 ? "the parent must have this device's public key in its allow-list"
                 : "is upstream.key the parent's, and does it use keys? is it a Tributary node?");
}

/* ---- making ---- */

/* Line `i` of a list of factors, taken in turn; one that is a spread is drawn from. */
static double factor_of(const char *list, size_t i, struct trib_rng *rng) {
    size_t lines = 1;
    for (const char *c = list; *c != 0; c++) lines += *c == '\n';
    const char *at = list;
    for (size_t skip = i % lines; skip > 0; skip--) at = strchr(at, '\n') + 1;
    char line[128];
    (void)snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
    struct trib_spread spread;
    if (trib_spread_parse(line, &spread, NULL) != TRIB_OK) return 1.0;
    return trib_spread_draw(&spread, rng);
}

static enum trib_status open_client(struct fleet *fleet, struct agent *agent, struct trib_error *err) {
    const struct trib_device_config *c = fleet->config;
    bool keys = c->keys_path[0] != 0;
    if (keys) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s/%s.key", c->keys_path, agent->name);
        enum trib_status status = trib_keys_load(path, true, &agent->keys, NULL, err);
        if (status != TRIB_OK) return status;
    }
    struct trib_client_options client = {
        .context = fleet->context,
        .reactor = fleet->reactor,
        .endpoint = c->upstream.endpoint,
        .allow_insecure = c->node.allow_insecure,
        .keys = keys ? &agent->keys : NULL,
        .server_key = keys ? fleet->parent_keys.public_key : NULL,
        /* Watched where keys can be wrong: it costs two sockets. */
        .events = {.ctx = agent, .message = on_message, .link = keys ? on_link : NULL}};
    return trib_client_new(&agent->client, &client, err);
}

static enum trib_status open_agent(struct fleet *fleet, size_t i, struct trib_error *err) {
    const struct trib_device_config *c = fleet->config;
    struct agent *agent = &fleet->agents[i];
    agent->fleet = fleet;
    agent->index = (size_t)c->first + i;
    (void)snprintf(agent->name, sizeof agent->name, "%s-%zu", c->node.name, agent->index);
    agent->rng = trib_rng_seed(c->seed, agent->index);
    agent->factor = factor_of(c->speed_factor, i, &agent->rng);
    trib_outbox_init(&agent->outbox);
    struct trib_state_limits limits = {0};
    enum trib_status status = trib_state_new(TRIB_ROLE_DEVICE, &limits, &agent->state, err);
    if (status != TRIB_OK) return status;
    struct trib_participant_options options = {
        .name = agent->name, .seed = trib_random_u64(), .finish_on_bye = strcmp(c->on_finish, "exit") == 0};
    status = trib_participant_new(&options, agent->state, &agent->outbox, &agent->participant, err);
    if (status == TRIB_OK) status = trib_timer_new(fleet->reactor, on_wake, agent, &agent->wake, err);
    if (status == TRIB_OK) status = trib_timer_new(fleet->reactor, submit, agent, &agent->ready, err);
    if (status == TRIB_OK) status = open_client(fleet, agent, err);
    return status;
}

static void on_signal(void *ctx) {
    struct fleet *fleet = ctx;
    if (fleet->stopping) return;
    fleet->stopping = true;
    trib_log(fleet->log, TRIB_LOG_INFO, "stopping", "reason=signal");
    for (size_t i = 0; i < fleet->count; i++) {
        trib_participant_goodbye(fleet->agents[i].participant, now_ms(fleet));
        carry_out(&fleet->agents[i]);
    }
    trib_timer_after(fleet->finish, LINGER_MS);
}

struct totals {
    uint64_t ready, updates, accepted, refused, up_bytes, down_bytes;
};

static struct totals add_up(const struct fleet *fleet) {
    struct totals t = {0};
    for (size_t i = 0; i < fleet->count; i++) {
        struct trib_participant_status status = trib_participant_status(fleet->agents[i].participant);
        t.ready += status.ready;
        t.up_bytes += status.up_bytes;
        t.down_bytes += status.down_bytes;
        t.accepted += status.accepted;
        t.refused += status.refused;
        t.updates += fleet->agents[i].updates;
    }
    return t;
}

static bool answer_health(void *ctx, struct trib_buf *line) {
    struct fleet *fleet = ctx;
    struct totals t = add_up(fleet);
    const struct {
        const char *key;
        uint64_t value;
    } rows[] = {
        {"devices", fleet->count}, {"ready", t.ready},          {"training", trainer_running(fleet->trainer)},
        {"updates", t.updates},    {"accepted", t.accepted},    {"refused", t.refused},
        {"up_bytes", t.up_bytes},  {"down_bytes", t.down_bytes}};
    struct trib_json json = {.out = line};
    trib_json_begin(&json, '{');
    trib_json_key(&json, "name");
    trib_json_string(&json, fleet->config->node.name);
    trib_json_key(&json, "well");
    trib_json_bool(&json, true);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        trib_json_key(&json, rows[i].key);
        trib_json_u64(&json, rows[i].value);
    }
    trib_json_end(&json, '}');
    return true;
}

static size_t worker_count(const struct fleet *fleet) {
    size_t workers = (size_t)fleet->config->workers;
    if (workers == 0) workers = (size_t)sysconf(_SC_NPROCESSORS_ONLN);
    if (workers > fleet->count) workers = fleet->count;
    if (workers > 1 && !trib_blas_threadsafe()) {
        trib_log(fleet->log, TRIB_LOG_WARN, "blas_serial",
                 "workers=1 hint=\"this OpenBLAS is not thread-safe: install libopenblas0-pthread\"");
        workers = 1;
    }
    return workers > 0 ? workers : 1;
}

static enum trib_status open_all(struct fleet *fleet, struct trib_error *err) {
    const struct trib_device_config *c = fleet->config;
    enum trib_status status = trib_spread_parse(c->speed_delay, &fleet->delay, err);
    if (status == TRIB_OK && c->keys_path[0] != 0)
        status = trib_keys_load(c->upstream.public_key, false, &fleet->parent_keys, NULL, err);
    if (status == TRIB_OK) status = trib_reactor_new(&fleet->reactor, err);
    if (status == TRIB_OK) status = trib_reactor_on_signal(fleet->reactor, SIGTERM, on_signal, fleet, err);
    if (status == TRIB_OK) status = trib_reactor_on_signal(fleet->reactor, SIGINT, on_signal, fleet, err);
    if (status == TRIB_OK) status = trib_timer_new(fleet->reactor, end_loop, fleet, &fleet->finish, err);
    if (status == TRIB_OK) status = trib_context_new(&fleet->context, 4 * fleet->count + 64, err);
    if (status == TRIB_OK && c->node.health[0] != 0)
        status = trib_health_new(&fleet->health, fleet->context, fleet->reactor, c->node.health,
                                 answer_health, fleet, err);
    if (status == TRIB_OK)
        status = trainer_new(&fleet->trainer, fleet->reactor, worker_count(fleet), on_trained, fleet, err);
    for (size_t i = 0; i < fleet->count && status == TRIB_OK; i++) status = open_agent(fleet, i, err);
    return status;
}

enum trib_status fleet_new(struct fleet **out, const struct trib_device_config *config,
                           const struct trib_log *log, struct trib_error *err) {
    struct fleet *fleet = trib_alloc(sizeof *fleet);
    if (fleet == NULL) return trib_fail(err, TRIB_NOMEM, "out of memory for devices");
    fleet->config = config;
    fleet->log = log;
    fleet->wall_offset_ms = trib_clock_wall_ms() - trib_clock_ms();
    trib_buf_init(&fleet->task_plan, 0);
    trib_schema_init(&fleet->task.schema);
    fleet->count = (size_t)config->count;
    fleet->agents = trib_alloc_array(fleet->count, sizeof *fleet->agents);
    fleet->queue = trib_alloc_array(fleet->count, sizeof *fleet->queue);
    enum trib_status status = fleet->agents != NULL && fleet->queue != NULL
                                  ? open_all(fleet, err)
                                  : trib_fail(err, TRIB_NOMEM, "out of memory for devices");
    if (status != TRIB_OK) {
        fleet_free(&fleet);
        return status;
    }
    for (size_t i = 0; i < fleet->count; i++) settle(&fleet->agents[i]);
    *out = fleet;
    return TRIB_OK;
}

enum trib_status fleet_run(struct fleet *fleet, struct trib_error *err) {
    enum trib_status status = trib_reactor_run(fleet->reactor, err);
    (void)signal(SIGTERM, SIG_IGN); /* it is ending already: one that comes now must not kill it */
    struct totals t = add_up(fleet);
    trib_log(fleet->log, TRIB_LOG_INFO, "stopped",
             "updates=%" PRIu64 " accepted=%" PRIu64 " refused=%" PRIu64 " up_bytes=%" PRIu64
             " down_bytes=%" PRIu64,
             t.updates, t.accepted, t.refused, t.up_bytes, t.down_bytes);
    if (status == TRIB_OK && fleet->failed)
        status = trib_fail(err, TRIB_NOMEM, "a device failed: see its line above");
    return status;
}

void fleet_free(struct fleet **out) {
    struct fleet *fleet = *out;
    if (fleet == NULL) return;
    trainer_free(&fleet->trainer);
    for (size_t i = 0; fleet->agents != NULL && i < fleet->count; i++) {
        struct agent *agent = &fleet->agents[i];
        trib_client_free(&agent->client, LINGER_MS);
        trib_timer_free(&agent->wake);
        trib_timer_free(&agent->ready);
        trib_participant_free(&agent->participant);
        trib_outbox_release(&agent->outbox);
        trib_state_free(&agent->state);
        trib_keys_wipe(&agent->keys);
        job_free(agent->done);
    }
    trib_health_free(&fleet->health);
    trib_context_free(&fleet->context);
    trib_timer_free(&fleet->finish);
    trib_reactor_free(&fleet->reactor);
    trib_task_close(&fleet->task);
    trib_buf_release(&fleet->task_plan);
    trib_free(fleet->agents);
    trib_free(fleet->queue);
    trib_free(fleet);
    *out = NULL;
}
