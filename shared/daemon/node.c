#include "shared/daemon/node_internal.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/rng.h"
#include "shared/model/digest.h"
#include "shared/net/descriptors.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct held_send { /* a send that waits for its journal position */
    struct trib_action action;
    struct held_send *next;
};

uint64_t trib_node_now_ms(const struct trib_node *node) {
    return trib_clock_ms() + node->wall_offset_ms;
}

void trib_node_wake(struct trib_node *node) {
    trib_timer_at(node->wake, 0);
}

struct trib_reactor *trib_node_reactor(struct trib_node *node) {
    return node->reactor;
}

const struct trib_state *trib_node_state(const struct trib_node *node) {
    return node->state;
}

uint64_t trib_node_committed(const struct trib_node *node) {
    return node->committed;
}

struct trib_aggregator *trib_node_aggregator(struct trib_node *node) {
    return node->aggregator;
}

/* ---- carrying out ---- */

static void transmit(struct trib_node *node, struct trib_action *action) {
    enum trib_status status;
    if (action->kind == TRIB_ACTION_SEND_CHILD) {
        struct trib_route route = trib_node_unpack_route(action->route);
        status = trib_server_send(node->server, &route, action->frame, action->frame_bytes, action->payload);
    } else {
        status = trib_client_send(node->client, action->frame, action->frame_bytes, action->payload);
    }
    /* A send that cannot be made is a lost message, which both sides expect: the child asks again. */
    if (status == TRIB_AGAIN)
        trib_log(node->options.log, TRIB_LOG_DEBUG, "send_dropped", "to=%s bytes=%zu reason=queue_full",
                 action->kind == TRIB_ACTION_SEND_CHILD ? "child" : "parent",
                 action->frame_bytes + trib_blob_size(action->payload));
}

static void send_or_hold(struct trib_node *node, struct trib_action *action) {
    if (action->after <= node->committed) {
        transmit(node, action);
        trib_action_release(action);
        return;
    }
    struct held_send *held = trib_alloc(sizeof *held);
    if (held == NULL) {
        trib_action_release(action); /* lost: asked for again */
        return;
    }
    held->action = *action;
    *node->held_end = held;
    node->held_end = &held->next;
}

static void release_held(struct trib_node *node) {
    while (node->held != NULL && node->held->action.after <= node->committed) {
        struct held_send *held = node->held;
        node->held = held->next;
        if (node->held == NULL) node->held_end = &node->held;
        transmit(node, &held->action);
        trib_action_release(&held->action);
        trib_free(held);
    }
}

static void drop_held(struct trib_node *node) {
    while (node->held != NULL) {
        struct held_send *held = node->held;
        node->held = held->next;
        trib_action_release(&held->action);
        trib_free(held);
    }
    node->held_end = &node->held;
}

static void log_event(const struct trib_node *node, const struct trib_record *record) {
    char event[64];
    (void)snprintf(event, sizeof event, "%.*s", (int)record->event.size, record->event.data);
    trib_log(node->options.log, (enum trib_level)record->level, event, "%.*s", (int)record->text.size,
             record->text.data);
}

static void reopen_uplink(struct trib_node *node) {
    struct trib_error err;
    if (trib_client_reopen(node->client, &err) != TRIB_OK)
        trib_log(node->options.log, TRIB_LOG_ERROR, "uplink_failed", "error=\"%s\"", err.text);
    trib_participant_connected(node->participant, trib_node_now_ms(node));
}

static void pause_reading(struct trib_node *node, bool pause) {
    if (pause == node->paused) return;
    node->paused = pause;
    trib_server_pause(node->server, pause);
    if (node->client != NULL) trib_client_pause(node->client, pause);
}

/* The journal refused a record, or memory ran out: the roles are dropped and rebuilt. Until the disk is
 * mended what was durable is served, if it can still be read. */
static void drop_roles(struct trib_node *node, const char *why, bool disk) {
    trib_log(node->options.log, TRIB_LOG_ERROR, "store_failed", "error=\"%s\" retry_ms=%" PRIu64, why,
             node->retry_ms);
    drop_held(node);
    trib_aggregator_free(&node->aggregator);
    trib_participant_free(&node->participant);
    trib_outbox_release(&node->outbox);
    if (disk)
        trib_storage_halt(node->storage);
    else
        trib_storage_close(&node->storage);
    trib_state_free(&node->state);
    node->checkpointing = false;
    node->writes_failed++;
    (void)snprintf(node->why, sizeof node->why, "%s", why);
    if (disk && !trib_node_stand_by(node)) trib_storage_close(&node->storage);
    pause_reading(node, false);
    trib_node_retry(node);
}

void trib_node_carry_out(struct trib_node *node) {
    struct trib_action action;
    while (node->state != NULL && trib_outbox_take(&node->outbox, &action)) {
        switch (action.kind) {
        case TRIB_ACTION_SEND_CHILD:
        case TRIB_ACTION_SEND_PARENT: send_or_hold(node, &action); continue;
        case TRIB_ACTION_WRITE:
            if (trib_storage_write(node->storage, &action.record) != TRIB_OK) {
                trib_action_release(&action);
                drop_roles(node, "out of memory for the journal", false);
                return;
            }
            break;
        case TRIB_ACTION_RECONNECT: reopen_uplink(node); break;
        case TRIB_ACTION_FINISHED: node->finished = true; break;
        case TRIB_ACTION_LOG: log_event(node, action.record); break;
        case TRIB_ACTION_TRAIN: break; /* devices only */
        }
        trib_action_release(&action);
    }
    if (node->state != NULL && node->outbox.failed != TRIB_OK)
        drop_roles(node, node->outbox.error.text, false);
    if (node->state != NULL) trib_aggregator_unwritten(node->aggregator, trib_storage_backlog(node->storage));
}

/* Reads children only while the disk keeps up and no checkpoint waits or is being copied. */
static void back_pressure(struct trib_node *node) {
    bool pause = node->checkpointing || trib_storage_checkpoint_due(node->storage) ||
                 trib_storage_backlog(node->storage) > BACKLOG_BYTES ||
                 trib_storage_waiting(node->storage) > BACKLOG_RECORDS;
    pause_reading(node, pause);
}

static void take_checkpoint(struct trib_node *node) {
    if (node->checkpointing || !trib_storage_checkpoint_due(node->storage)) return;
    node->checkpointing = trib_storage_checkpoint(node->storage, node->state);
}

/* Once: what fails now would fail in each turn. */
static void start_shards(struct trib_node *node) {
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct trib_error err;
    node->shards_tried = true;
    if (processors > 1 &&
        trib_shards_new(processors < TRIB_SHARDS_COMMIT ? (size_t)processors : TRIB_SHARDS_COMMIT,
                        &node->shards, &err) != TRIB_OK)
        trib_log(node->options.log, TRIB_LOG_WARN, "shards_failed", "error=\"%s\"", err.text);
}

/* Commits of a rule that combines updates, and those of a large model, take long: threads for that. */
static void use_shards(struct trib_node *node) {
    struct trib_state *state = node->state;
    if (state->shards != NULL || state->rule == NULL ||
        (trib_rule_form(state->rule) != TRIB_RULE_BUFFERED &&
         trib_state_parameters(state) <= TRIB_DIGEST_WHOLE))
        return;
    if (!node->shards_tried) start_shards(node);
    state->shards = node->shards;
}

/* The end of a turn: the roles do what is due, actions are carried out, the journal goes to the disk. */
static void settle(struct trib_node *node) {
    if (node->state == NULL) return;
    use_shards(node);
    if (!node->checkpointing) {
        uint64_t now = trib_node_now_ms(node), wake = trib_aggregator_poll(node->aggregator, now), other;
        trib_node_carry_out(node);
        if (node->state == NULL) return;
        if (node->participant != NULL && (other = trib_participant_poll(node->participant, now)) < wake)
            wake = other;
        trib_node_carry_out(node);
        if (node->state == NULL) return;
        if (node->options.hooks.advanced != NULL && !node->standby)
            node->options.hooks.advanced(node->options.hooks.ctx, node);
        trib_node_carry_out(node);
        if (node->state == NULL) return;
        take_checkpoint(node);
        if (wake == UINT64_MAX)
            trib_timer_cancel(node->wake);
        else
            trib_timer_at(node->wake, wake > now ? trib_clock_ms() + (wake - now) : 0);
    }
    trib_storage_flush(node->storage);
    if (node->state == NULL) return;
    back_pressure(node);
    if (node->finished && !node->stopping && node->options.hooks.finished != NULL) {
        node->finished = false;
        node->options.hooks.finished(node->options.hooks.ctx, node);
    }
}

static void on_wake(void *ctx) {
    settle(ctx);
}

/* ---- events of the store ---- */

static void on_committed(void *ctx, uint64_t position) {
    struct trib_node *node = ctx;
    node->committed = position;
    if (trib_clock_ms() - node->opened_ms > node->retry_ms) node->retry_ms = REBUILD_MS; /* it lasts */
    trib_aggregator_unwritten(node->aggregator, trib_storage_backlog(node->storage));
    release_held(node);
    trib_timer_at(node->wake, 0);
}

/* What is kept to be recorded later is recorded now: no record is made while the state is being saved. */
static void say_last_words(struct trib_node *node) {
    if (node->state == NULL || node->checkpointing) return;
    trib_aggregator_last_words(node->aggregator, trib_node_now_ms(node));
    trib_node_carry_out(node);
    if (node->state == NULL) return;
    node->last_words = node->state->position;
    trib_storage_flush(node->storage);
}

static void on_saved(void *ctx) {
    struct trib_node *node = ctx;
    node->checkpointing = false;
    if (node->stopping) say_last_words(node);
    trib_timer_at(node->wake, 0);
}

static void on_checkpointed(void *ctx, const struct trib_error *err) {
    struct trib_node *node = ctx;
    if (err != NULL)
        trib_log(node->options.log, TRIB_LOG_ERROR, "checkpoint_failed", "error=\"%s\"", err->text);
    trib_timer_at(node->wake, 0);
}

static void on_failed(void *ctx, const struct trib_error *err) {
    struct trib_node *node = ctx;
    node->suspect = err->status == TRIB_CORRUPT;
    drop_roles(node, err->text, true);
}

/* ---- making and unmaking ---- */

static enum trib_status open_state(struct trib_node *node, struct trib_error *err) {
    const struct trib_node_options *o = &node->options;
    struct trib_storage_events events = {.ctx = node,
                                         .committed = on_committed,
                                         .saved = on_saved,
                                         .checkpointed = on_checkpointed,
                                         .failed = on_failed};
    enum trib_status status = trib_node_open_store(node, &events, err);
    if (status == TRIB_OK) status = trib_node_make_roles(node, err);
    if (status == TRIB_OK) {
        trib_log(o->log, TRIB_LOG_INFO, "store_open", "path=%s position=%" PRIu64 " version=%" PRIu64,
                 node->database, node->committed, node->state->version);
        if (o->hooks.ready != NULL) status = o->hooks.ready(o->hooks.ctx, node, err);
    }
    return status;
}

static void close_state(struct trib_node *node) {
    node->standby = false;
    drop_held(node);
    trib_aggregator_free(&node->aggregator);
    trib_participant_free(&node->participant);
    trib_storage_close(&node->storage);
    trib_outbox_release(&node->outbox);
    trib_state_free(&node->state);
}

static void on_rebuild(void *ctx) {
    struct trib_node *node = ctx;
    struct trib_error err;
    if (node->state != NULL && !node->standby) return;
    if (node->standby && !node->suspect && trib_node_probe(node, &err) != TRIB_OK) {
        trib_node_retry(node); /* why is told already */
        return;
    }
    close_state(node);
    if (open_state(node, &err) == TRIB_OK) {
        trib_outbox_event(&node->outbox, node->state, trib_node_now_ms(node), true, TRIB_LOG_WARN,
                          "store_recovered", "position=%" PRIu64 " after=\"%.300s\"", node->committed,
                          node->why);
        node->opened_ms = trib_clock_ms();
        settle(node);
        return;
    }
    trib_log(node->options.log, TRIB_LOG_ERROR, "store_failed", "error=\"%s\" retry_ms=%" PRIu64, err.text,
             node->retry_ms);
    close_state(node);
    trib_node_retry(node);
}

/* ---- stopping ---- */

/* What was said last waits for the journal, as everything does; if that fails there is no state any more. */
static void end_loop(void *ctx) {
    struct trib_node *node = ctx;
    bool unsaid = node->state != NULL && (node->checkpointing || node->committed < node->last_words);
    if (unsaid && trib_clock_ms() - node->stopping_ms < LAST_WORDS_MS)
        trib_timer_after(node->finish, LINGER_MS);
    else
        trib_reactor_stop(node->reactor);
}

/* Says goodbye; the loop ends when that is on its way. */
static void begin_stop(struct trib_node *node, enum trib_bye reason) {
    if (node->stopping) return;
    node->stopping = true;
    node->stopping_ms = trib_clock_ms();
    if (node->options.hooks.stopping != NULL) node->options.hooks.stopping(node->options.hooks.ctx, node);
    if (node->state != NULL) {
        uint64_t now = trib_node_now_ms(node);
        trib_aggregator_goodbye(node->aggregator, now, reason);
        if (node->participant != NULL) trib_participant_goodbye(node->participant, now);
        trib_node_carry_out(node);
    }
    if (node->state != NULL) {
        node->last_words = node->state->position;
        trib_storage_flush(node->storage);
    }
    say_last_words(node);
    trib_timer_after(node->finish, LINGER_MS);
}

static void on_signal(void *ctx) {
    struct trib_node *node = ctx;
    trib_log(node->options.log, TRIB_LOG_INFO, "stopping", "reason=signal");
    begin_stop(node, TRIB_BYE_LEAVING);
}

static void on_hangup(void *ctx) {
    struct trib_node *node = ctx;
    trib_server_reload(node->server);
}

void trib_node_stop(struct trib_node *node) {
    begin_stop(node, node->state != NULL && node->state->stopped ? TRIB_BYE_FINISHED : TRIB_BYE_LEAVING);
}

static bool answer_health(void *ctx, struct trib_buf *line) {
    struct trib_node *node = ctx;
    bool there = node->state != NULL, well = there && !node->standby;
    struct trib_json json = {.out = line};
    trib_json_begin(&json, '{');
    trib_json_key(&json, "name");
    trib_json_string(&json, node->options.node->name);
    trib_json_key(&json, "well");
    trib_json_bool(&json, well);
    trib_json_key(&json, "uptime_ms");
    trib_json_u64(&json, trib_node_now_ms(node) - node->started_ms);
    trib_json_key(&json, "store_failures");
    trib_json_u64(&json, node->writes_failed);
    if (!well) {
        trib_json_key(&json, "store_error");
        trib_json_string(&json, node->why);
    }
    if (there) {
        struct trib_aggregator_status status = trib_aggregator_status(node->aggregator);
        const struct {
            const char *key;
            uint64_t value;
        } rows[] = {{"position", node->state->position},
                    {"version", node->state->version},
                    {"commits", node->state->commits},
                    {"sessions", status.sessions},
                    {"active", status.active},
                    {"accepted", status.accepted},
                    {"refused", status.refused},
                    {"malformed", status.malformed},
                    {"staleness_sum", status.staleness_sum},
                    {"up_bytes", status.up_bytes},
                    {"down_bytes", status.down_bytes},
                    {"models_sent", status.models_sent},
                    {"in_flight_bytes", status.in_flight_bytes},
                    {"parked_bytes", status.parked_bytes},
                    {"spooled_bytes", status.spooled_bytes},
                    {"offers_waiting", status.offers_waiting},
                    {"sending", status.sending},
                    {"turned_away", status.turned_away},
                    {"behind_count", status.behind_count},
                    {"store_groups", trib_storage_groups(node->storage)},
                    {"store_backlog_bytes", trib_storage_backlog(node->storage)}};
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            trib_json_key(&json, rows[i].key);
            trib_json_u64(&json, rows[i].value);
        }
        trib_json_key(&json, "behind");
        trib_json_bool(&json, status.behind);
        if (node->participant != NULL) {
            trib_json_key(&json, "uplink");
            trib_json_bool(&json, trib_participant_status(node->participant).ready);
        }
        if (node->options.hooks.status != NULL)
            node->options.hooks.status(node->options.hooks.ctx, node, &json);
    }
    trib_json_end(&json, '}');
    return well;
}

static void check_descriptors(const struct trib_node *node) {
    size_t have = trib_net_raise_descriptors();
    size_t need =
        (size_t)node->options.parent->max_peers + trib_net_descriptor_reserve(have) + OWN_DESCRIPTORS;
    if (have >= need) return;
    trib_log(node->options.log, TRIB_LOG_WARN, "descriptors_few",
             "limit=%zu needed=%zu hint=\"fewer may connect than limits.peers says: raise the limit "
             "(LimitNOFILE of systemd, --ulimit nofile of Docker, ulimit -n) or lower limits.peers\"",
             have, need);
}

static enum trib_status open_all(struct trib_node *node, struct trib_error *err) {
    const struct trib_node_options *o = &node->options;
    check_descriptors(node);
    enum trib_status status = trib_reactor_new(&node->reactor, err);
    if (status == TRIB_OK) status = trib_timer_new(node->reactor, on_wake, node, &node->wake, err);
    if (status == TRIB_OK) status = trib_timer_new(node->reactor, on_rebuild, node, &node->rebuild, err);
    if (status == TRIB_OK) status = trib_timer_new(node->reactor, end_loop, node, &node->finish, err);
    if (status == TRIB_OK) status = trib_reactor_on_signal(node->reactor, SIGTERM, on_signal, node, err);
    if (status == TRIB_OK) status = trib_reactor_on_signal(node->reactor, SIGINT, on_signal, node, err);
    if (status == TRIB_OK) status = trib_reactor_on_signal(node->reactor, SIGHUP, on_hangup, node, err);
    if (status == TRIB_OK) status = trib_context_new(&node->context, 64, err);
    if (status == TRIB_OK && o->node->health[0] != 0)
        status = trib_health_new(&node->health, node->context, node->reactor, o->node->health, answer_health,
                                 node, err);
    if (status == TRIB_OK) status = trib_node_open_sockets(node, err);
    if (status == TRIB_OK) status = open_state(node, err);
    return status;
}

enum trib_status trib_node_new(struct trib_node **out, const struct trib_node_options *options,
                               struct trib_error *err) {
    struct trib_node *node = trib_alloc(sizeof *node);
    if (node == NULL) return trib_fail(err, TRIB_NOMEM, "out of memory for a node");
    node->options = *options;
    node->held_end = &node->held;
    node->retry_ms = REBUILD_MS;
    node->wall_offset_ms = trib_clock_wall_ms() - trib_clock_ms();
    node->started_ms = trib_node_now_ms(node);
    (void)snprintf(node->database, sizeof node->database, "%s/%s", options->store->path, options->database);
    enum trib_status status = open_all(node, err);
    if (status != TRIB_OK) {
        trib_node_free(&node);
        *out = NULL; /* the hook `ready` may have set it */
        return status;
    }
    for (size_t i = 0; i < MAX_ENDPOINTS && node->endpoints[i][0] != 0; i++)
        trib_log(options->log, TRIB_LOG_INFO, "listening", "endpoint=%s keys=%s",
                 trib_server_endpoint(node->server, i), node->keys.secret_key[0] != 0 ? "curve" : "plain");
    settle(node);
    *out = node;
    return TRIB_OK;
}

void trib_node_free(struct trib_node **out) {
    struct trib_node *node = *out;
    if (node == NULL) return;
    close_state(node);
    trib_shards_free(&node->shards);
    trib_health_free(&node->health);
    trib_server_free(&node->server, LINGER_MS);
    trib_client_free(&node->client, LINGER_MS);
    trib_context_free(&node->context);
    trib_context_free(&node->uplink);
    trib_timer_free(&node->wake);
    trib_timer_free(&node->rebuild);
    trib_timer_free(&node->finish);
    trib_reactor_free(&node->reactor);
    trib_keys_wipe(&node->keys);
    trib_free(node);
    *out = NULL;
}

enum trib_status trib_node_run(struct trib_node *node, struct trib_error *err) {
    enum trib_status status = trib_reactor_run(node->reactor, err);
    (void)signal(SIGTERM, SIG_IGN); /* it is ending already: one that comes now must not kill it */
    return status;
}

bool trib_node_record(struct trib_node *node, struct trib_record *record) {
    if (node->state == NULL || node->standby) return false;
    trib_rec_set(record, NOW, now_ms, trib_node_now_ms(node));
    bool done = trib_outbox_record(&node->outbox, node->state, record);
    trib_node_carry_out(node);
    return done && node->state != NULL;
}
