/* The event loop: an event comes, its node's roles are told, and what they ask for is carried out. */
#include "shared/sim/internal.h"

#include <stdio.h>

/* ---- carrying out ---- */

static void log_event(const struct trib_sim *sim, size_t node, const struct trib_record *record) {
    char name[SIM_NAME], event[64];
    if (sim->options.log == NULL) return;
    (void)snprintf(event, sizeof event, "%.*s", (int)record->event.size, record->event.data);
    trib_log(sim->options.log, (enum trib_level)record->level, event, "node=%s at=%.3f %.*s",
             trib_sim_name(sim, node, name), (double)sim->now_us * 1e-6, (int)record->text.size,
             record->text.data);
}

static void note_verdict(struct trib_sim *sim, size_t node, const struct trib_record *record) {
    if (record->kind != TRIB_REC_VERDICT) return;
    /* The nodes above the devices judge devices' updates, all others forwards. */
    bool devices = sim->nodes[node].depth + 1u == sim->status.hop_count;
    struct trib_sim_judged *judged = devices ? &sim->status.updates : &sim->status.forwards;
    if (record->verdict != TRIB_ACCEPTED) {
        judged->refused++;
        return;
    }
    judged->accepted++;
    judged->staleness_sum += (double)record->staleness;
    if (record->staleness > judged->staleness_max) judged->staleness_max = record->staleness;
}

static void note_record(struct trib_sim *sim, size_t node, const struct trib_record *record) {
    note_verdict(sim, node, record);
    if (record->kind == TRIB_REC_ACKED && record->verdict != 0) trib_sim_answered(sim, node);
}

static void on_applied(void *ctx, const struct trib_record *record) {
    struct trib_sim *sim = ctx;
    note_record(sim, sim->at_work, record);
}

void trib_sim_carry_out(struct trib_sim *sim, size_t node) {
    struct trib_action action;
    while (trib_outbox_take(&sim->outbox, &action)) {
        switch (action.kind) {
        case TRIB_ACTION_SEND_CHILD:
        case TRIB_ACTION_SEND_PARENT: trib_sim_send(sim, node, &action); continue;
        case TRIB_ACTION_WRITE:
            note_record(sim, node, action.record);
            trib_sim_journal_write(sim, node, &action.record);
            break;
        case TRIB_ACTION_RECONNECT:
            trib_sim_put(sim, sim->now_us + trib_sim_round_trip_us(sim, node) + 1, SIM_CONNECT, node,
                         (void *)(uintptr_t)sim->nodes[node].connection);
            break;
        case TRIB_ACTION_TRAIN: trib_sim_train(sim, node); break;
        case TRIB_ACTION_FINISHED: break;
        case TRIB_ACTION_LOG: log_event(sim, node, action.record); break;
        }
        trib_action_release(&action);
    }
    if (sim->outbox.failed != TRIB_OK) trib_sim_fail(sim, &sim->outbox.error);
}

/* A node has one wake that counts: the earliest. One that comes too early asks again. */
static void wake_at(struct trib_sim *sim, size_t index, uint64_t wake_ms) {
    struct sim_node *node = &sim->nodes[index];
    if (wake_ms == UINT64_MAX) return;
    uint64_t now_ms = trib_sim_now_ms(sim);
    if (wake_ms <= now_ms) wake_ms = now_ms + 1;
    uint64_t at_us = (wake_ms - TRIB_SIM_EPOCH_MS) * 1000;
    if (at_us >= node->wake_us) return;
    node->wake_us = at_us;
    trib_sim_put(sim, at_us, SIM_WAKE, index, NULL);
}

void trib_sim_settle(struct trib_sim *sim, size_t index) {
    struct sim_node *node = &sim->nodes[index];
    uint64_t now = trib_sim_now_ms(sim), wake = UINT64_MAX, other;
    trib_sim_carry_out(sim, index);
    if (node->aggregator != NULL) wake = trib_aggregator_poll(node->aggregator, now);
    if (node->participant != NULL && (other = trib_participant_poll(node->participant, now)) < wake)
        wake = other;
    trib_sim_carry_out(sim, index);
    wake_at(sim, index, wake);
}

/* The outbox is this node's from now on. */
void trib_sim_set_to_work(struct trib_sim *sim, size_t node) {
    sim->at_work = node;
    sim->outbox.ctx = sim;
    sim->outbox.applied = sim->nodes[node].journal == NULL ? on_applied : NULL;
}

/* ---- events ---- */

/* A run that begins takes away the model that is being trained on; after a new incarnation so does a model.
 */
static bool may_change_model(const struct sim_message *m) {
    enum { TYPE = 5 };
    if (m->frame_bytes <= TYPE) return false;
    return m->frame[TYPE] == TRIB_WELCOME || m->frame[TYPE] == TRIB_MODEL || m->frame[TYPE] == TRIB_CHUNK;
}

static bool take_message(struct trib_sim *sim, size_t index, bool up, const struct sim_message *m) {
    struct sim_node *node = &sim->nodes[index];
    uint64_t now = trib_sim_now_ms(sim);
    if (node->state == NULL) return false;
    if (up) {
        trib_aggregator_message(node->aggregator, now, m->route, NULL, m->frame, m->frame_bytes, m->payload);
        return true;
    }
    if (m->route != ((trib_child_route)index << 32 | node->connection)) return false; /* that one is closed */
    if (node->job != NULL && may_change_model(m)) trib_sim_pool_wait(sim->pool, &node->job->task);
    trib_participant_message(node->participant, now, m->frame, m->frame_bytes, m->payload);
    return true;
}

static bool join(struct trib_sim *sim, size_t index) {
    struct trib_error err;
    enum trib_status status = trib_sim_node_open(sim, index, &err);
    if (status == TRIB_OK) status = trib_sim_journal_open(sim, index, &err);
    if (status == TRIB_OK) return true;
    trib_sim_fail(sim, &err);
    return false;
}

static bool take(struct trib_sim *sim, const struct trib_sim_event *event) {
    struct sim_node *node = &sim->nodes[event->node];
    switch ((enum sim_event)event->kind) {
    case SIM_UP:
    case SIM_DOWN: return take_message(sim, event->node, event->kind == SIM_UP, event->what);
    case SIM_WAKE:
        if (event->at_us != node->wake_us) return false; /* another one took its place */
        node->wake_us = SIM_NEVER;
        return node->state != NULL;
    case SIM_JOIN: return trib_sim_may_join(sim, event->node) && join(sim, event->node);
    case SIM_LEAVE: trib_sim_stay_ends(sim, event->node, (uintptr_t)event->what); return false;
    case SIM_CONNECT:
        if (node->state == NULL || (uintptr_t)event->what != node->connection) return false;
        node->connection++;
        node->free_us[0] = node->free_us[1] = node->last_us[0] = node->last_us[1] = 0;
        trib_participant_connected(node->participant, trib_sim_now_ms(sim));
        return true;
    case SIM_TRAINED: trib_sim_trained(sim, event->what); return node->state != NULL;
    case SIM_EVALUATED: trib_sim_evaluated(sim, event->what); return true;
    case SIM_TIME_UP: return true;
    }
    return false;
}

void trib_sim_handle(struct trib_sim *sim, const struct trib_sim_event *event) {
    sim->now_us = event->at_us;
    trib_sim_set_to_work(sim, event->node);
    bool settle = take(sim, event);
    if (event->kind == SIM_UP || event->kind == SIM_DOWN) trib_sim_message_free(sim, event->what);
    if (!settle) return;
    sim->events++;
    trib_sim_settle(sim, event->node);
    if (sim->nodes[event->node].leaves) trib_sim_next_turn(sim, event->node);
    if (sim->nodes[event->node].journal != NULL) trib_sim_journal_settle(sim, event->node);
    uint64_t updates = sim->scenario->stop.updates;
    if (event->node == SIM_CLOUD || (updates > 0 && sim->status.updates.accepted >= updates) ||
        trib_sim_hopeless(sim))
        trib_sim_cloud_advanced(sim);
}
