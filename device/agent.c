/* One device: its role, its connection, and its spool. */
#include "device/internal.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct held_send {
    struct trib_action action;
    struct held_send *next;
};

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

/* ---- the spool ---- */

static void transmit(struct agent *agent, const struct trib_action *action) {
    /* A full queue is a lost message: asked for again by timer. */
    if (trib_client_send(agent->client, action->frame, action->frame_bytes, action->payload) != TRIB_OK)
        trib_log(agent->fleet->log, TRIB_LOG_DEBUG, "send_dropped", "device=%s", agent->name);
}

/* Output after commit: what tells of numbers waits until they are in the spool. Consumes the action. */
static void send_or_hold(struct agent *agent, struct trib_action *action) {
    struct held_send *held = NULL;
    if (action->after == 0 || agent->keep <= agent->saved) {
        transmit(agent, action);
    } else if (agent->held_count < HELD_SENDS_MAX && (held = trib_alloc(sizeof *held)) != NULL) {
        held->action = *action;
        held->action.after = agent->keep;
        *agent->held_end = held;
        agent->held_end = &held->next;
        agent->held_count++;
        return;
    }
    trib_action_release(action);
}

/* Sends or, with `drop`, forgets what is due by now. */
static void release_held(struct agent *agent, bool drop) {
    while (agent->held != NULL && (drop || agent->held->action.after <= agent->saved)) {
        struct held_send *held = agent->held;
        agent->held = held->next;
        agent->held_count--;
        if (!drop) transmit(agent, &held->action);
        trib_action_release(&held->action);
        trib_free(held);
    }
    if (agent->held == NULL) agent->held_end = &agent->held;
}

/* A verdict needs no saving, nor a model: both are had again for the asking. */
static void note_record(struct agent *agent, const struct trib_record *record) {
    bool kept = record->kind == TRIB_REC_START || record->kind == TRIB_REC_FORWARD ||
                (record->kind == TRIB_REC_INCARNATION && agent->state->started);
    if (kept && agent->fleet->spooler != NULL) agent->keep = record->position;
    log_verdict(agent, record);
}

/* Returns when to try again, by trib_clock_ms. */
static uint64_t save_if_due(struct agent *agent) {
    if (agent->keep <= agent->saved || agent->saving || agent->outbox.failed != TRIB_OK) return UINT64_MAX;
    if (trib_clock_ms() < agent->spool_retry_ms) return agent->spool_retry_ms;
    agent->saving = true;
    spooler_save(agent->fleet->spooler, (size_t)(agent - agent->fleet->agents));
    return UINT64_MAX;
}

void agent_saved(struct agent *agent, uint64_t position, const struct trib_error *err) {
    const struct trib_log *log = agent->fleet->log;
    agent->saving = false;
    if (err != NULL) {
        if (!agent->failing)
            trib_log(log, TRIB_LOG_ERROR, "spool_failed", "device=%s error=\"%s\" retry_ms=%d", agent->name,
                     err->text, SPOOL_RETRY_MS);
        agent->spool_retry_ms = trib_clock_ms() + SPOOL_RETRY_MS;
    } else {
        if (agent->failing) trib_log(log, TRIB_LOG_INFO, "spool_recovered", "device=%s", agent->name);
        agent->saved = position;
        release_held(agent, false);
    }
    agent->failing = err != NULL;
    trib_timer_at(agent->wake, 0); /* not settled here: spooler_save may be what called */
}

/* ---- carrying out ---- */

static void reconnect(struct agent *agent) {
    struct trib_error err;
    release_held(agent, true); /* it was for the connection before */
    if (trib_client_reopen(agent->client, &err) != TRIB_OK)
        trib_log(agent->fleet->log, TRIB_LOG_ERROR, "uplink_failed", "device=%s error=\"%s\"", agent->name,
                 err.text);
    trib_participant_connected(agent->participant, fleet_now_ms(agent->fleet));
}

void agent_carry_out(struct agent *agent) {
    struct fleet *fleet = agent->fleet;
    struct trib_action action;
    while (trib_outbox_take(&agent->outbox, &action)) {
        switch (action.kind) {
        case TRIB_ACTION_SEND_PARENT:
            if (agent->outbox.failed != TRIB_OK) break; /* of something that no record tells the spool of */
            send_or_hold(agent, &action);
            continue;
        case TRIB_ACTION_RECONNECT: reconnect(agent); break;
        case TRIB_ACTION_TRAIN: work_want(agent); break;
        case TRIB_ACTION_FINISHED: agent_finished(agent); break;
        case TRIB_ACTION_LOG: log_event(agent, action.record); break;
        case TRIB_ACTION_WRITE: note_record(agent, action.record); break;
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

void agent_settle(struct agent *agent) {
    struct fleet *fleet = agent->fleet;
    agent_carry_out(agent);
    if (agent->outbox.failed != TRIB_OK) return;
    uint64_t now = fleet_now_ms(fleet), wake = trib_participant_poll(agent->participant, now), retry;
    agent_carry_out(agent);
    if (wake != UINT64_MAX) wake = wake > now ? trib_clock_ms() + (wake - now) : 0;
    if ((retry = save_if_due(agent)) < wake) wake = retry;
    if (wake == UINT64_MAX)
        trib_timer_cancel(agent->wake);
    else
        trib_timer_at(agent->wake, wake);
    work_dispatch(fleet);
}

static void on_wake(void *ctx) {
    agent_settle(ctx);
}

static void on_message(void *ctx, const struct trib_incoming *in) {
    struct agent *agent = ctx;
    trib_participant_message(agent->participant, fleet_now_ms(agent->fleet), in->head, in->head_bytes,
                             in->payload);
    agent_settle(agent);
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

/* Line `i` of a list that devices take in turn. */
static void line_of(const char *list, size_t i, char *out, size_t room) {
    size_t lines = 1;
    for (const char *c = list; *c != 0; c++) lines += *c == '\n';
    const char *at = list;
    for (size_t skip = i % lines; skip > 0; skip--) at = strchr(at, '\n') + 1;
    (void)snprintf(out, room, "%.*s", (int)strcspn(at, "\n"), at);
}

/* One that is a spread is drawn from. */
static double factor_of(const char *list, size_t i, struct trib_rng *rng) {
    char line[128];
    line_of(list, i, line, sizeof line);
    struct trib_spread spread;
    if (trib_spread_parse(line, &spread, NULL) != TRIB_OK) return 1.0;
    return trib_spread_draw(&spread, rng);
}

static void report(void *ctx, struct trib_conditions *out) {
    const struct agent *agent = ctx;
    const struct trib_device_config *c = agent->fleet->config;
    out->device_class = agent->device_class;
    (void)trib_report_read(c->battery, true, &out->battery);
    (void)trib_report_read(c->link, false, &out->link);
}

/* Before a task is open, after a restart, it does not know them. */
static void tell_labels(void *ctx, struct trib_u64s *out) {
    const struct agent *agent = ctx;
    if (agent->fleet->task_open)
        out->count = trib_task_labels(&agent->fleet->task, agent->index, out->items, TRIB_U64S_MAX);
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

/* What its spool has of it, or nothing: then it is a new one. */
static enum trib_status open_state(struct agent *agent, struct trib_error *err) {
    struct fleet *fleet = agent->fleet;
    struct trib_state_limits limits = {.terms = fleet->terms};
    enum trib_status status = trib_state_new(TRIB_ROLE_DEVICE, &limits, &agent->state, err);
    if (status != TRIB_OK || fleet->spooler == NULL) return status;
    status = spooler_load(fleet->spooler, agent->name, agent->state, err);
    if (status == TRIB_OK) {
        agent->keep = agent->saved = agent->state->position;
        fleet->resumed++;
        /* A device without a clock of its own may start in 1970: time goes on from where it was. */
        uint64_t now = fleet_now_ms(fleet), last = agent->state->now_ms;
        if (now < last) fleet->wall_offset_ms += last - now;
        return TRIB_OK;
    }
    if (status != TRIB_NOT_FOUND && status != TRIB_CORRUPT) return status;
    if (status == TRIB_CORRUPT)
        trib_log(fleet->log, TRIB_LOG_WARN, "spool_damaged",
                 "device=%s error=\"%s\" hint=\"set aside; the device begins anew\"", agent->name, err->text);
    trib_state_free(&agent->state);
    return trib_state_new(TRIB_ROLE_DEVICE, &limits, &agent->state, err);
}

enum trib_status agent_open(struct fleet *fleet, size_t i, struct trib_error *err) {
    const struct trib_device_config *c = fleet->config;
    struct agent *agent = &fleet->agents[i];
    agent->fleet = fleet;
    agent->index = (size_t)c->first + i;
    (void)snprintf(agent->name, sizeof agent->name, "%s-%zu", c->node.name, agent->index);
    agent->rng = trib_rng_seed(c->seed, agent->index);
    agent->factor = factor_of(c->speed_factor, i, &agent->rng);
    line_of(c->device_class, i, agent->device_class, sizeof agent->device_class);
    trib_outbox_init(&agent->outbox);
    agent->held_end = &agent->held;
    enum trib_status status = open_state(agent, err);
    if (status != TRIB_OK) return status;
    struct trib_participant_options options = {.name = agent->name,
                                               .seed = trib_random_u64(),
                                               .finish_on_bye = strcmp(c->on_finish, "exit") == 0,
                                               .conditions = report,
                                               .conditions_ctx = agent,
                                               .labels = c->tell_labels ? tell_labels : NULL,
                                               .labels_ctx = agent};
    status = trib_participant_new(&options, agent->state, &agent->outbox, &agent->participant, err);
    if (status == TRIB_OK) status = trib_timer_new(fleet->reactor, on_wake, agent, &agent->wake, err);
    if (status == TRIB_OK) status = trib_timer_new(fleet->reactor, work_submit, agent, &agent->ready, err);
    if (status == TRIB_OK) status = open_client(fleet, agent, err);
    return status;
}

void agent_close(struct agent *agent) {
    release_held(agent, true);
    trib_client_free(&agent->client, LINGER_MS);
    trib_timer_free(&agent->wake);
    trib_timer_free(&agent->ready);
    trib_participant_free(&agent->participant);
    trib_outbox_release(&agent->outbox);
    trib_state_free(&agent->state);
    trib_keys_wipe(&agent->keys);
    job_free(agent->done);
}
