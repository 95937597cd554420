/* Messages on their way: what a link takes, and when it arrives. A link is a node's connection to its parent:
 * it sends one message after the other at its rate, and they arrive in that order. */
#include "shared/sim/internal.h"

#include "shared/base/alloc.h"
#include "shared/wire/transfer.h"

enum { DOWN, UP };

static const struct trib_sim_link *link_of(const struct trib_sim *sim, const struct sim_node *child) {
    const struct trib_scenario *s = sim->scenario;
    if (child->role == TRIB_ROLE_DEVICE) return &s->device_link;
    return child->parent == SIM_CLOUD ? &s->edge_link : &s->inner_link;
}

uint64_t trib_sim_round_trip_us(const struct trib_sim *sim, size_t child) {
    return 2 * 1000 * link_of(sim, &sim->nodes[child])->latency_ms;
}

/* Messages come and go with nearly every event: their memory is used again. */
static struct sim_message *new_message(struct trib_sim *sim) {
    struct sim_message *message = sim->free_messages;
    if (message == NULL) return trib_alloc(sizeof *message);
    sim->free_messages = message->next;
    return message;
}

void trib_sim_message_free(struct trib_sim *sim, struct sim_message *message) {
    trib_free(message->frame);
    trib_blob_unref(&message->payload);
    message->next = sim->free_messages;
    sim->free_messages = message;
}

void trib_sim_messages_close(struct trib_sim *sim) {
    for (struct sim_message *next; sim->free_messages != NULL; sim->free_messages = next) {
        next = sim->free_messages->next;
        trib_free(sim->free_messages);
    }
}

static void count(struct trib_sim *sim, const struct sim_node *child, bool up, size_t bytes) {
    struct trib_sim_hop *hop = &sim->status.hops[child->depth - 1];
    if (up) {
        hop->up_messages++;
        hop->up_bytes += bytes;
    } else {
        hop->down_messages++;
        hop->down_bytes += bytes;
    }
}

/* Bytes a second; 0: no limit. */
static uint64_t rate_of(const struct trib_sim *sim, const struct sim_node *child, bool up) {
    const struct trib_sim_link *link = link_of(sim, child);
    uint64_t rate = up ? link->up : link->down;
    if (sim->conditions == NULL || child->role != TRIB_ROLE_DEVICE) return rate;
    uint64_t own = sim->conditions[trib_sim_device(sim, (size_t)(child - sim->nodes))].link;
    return rate == 0 || (own > 0 && own < rate) ? own : rate;
}

/* When a message that is sent now arrives. */
static uint64_t arrival(struct trib_sim *sim, struct sim_node *child, bool up, size_t bytes) {
    const struct trib_sim_link *link = link_of(sim, child);
    uint64_t rate = rate_of(sim, child, up), left_us = sim->now_us;
    if (rate > 0) {
        uint64_t *free_us = &child->free_us[up];
        if (*free_us > left_us) left_us = *free_us;
        left_us += (uint64_t)((double)bytes * 1e6 / (double)rate);
        *free_us = left_us;
    }
    uint64_t at = left_us + link->latency_ms * 1000;
    if (link->jitter_ms > 0) at += trib_rng_below(&sim->rng, link->jitter_ms * 1000 + 1);
    if (at < child->last_us[up]) at = child->last_us[up];
    child->last_us[up] = at;
    return at;
}

void trib_sim_send(struct trib_sim *sim, size_t from, struct trib_action *action) {
    bool up = action->kind == TRIB_ACTION_SEND_PARENT;
    size_t index = up ? from : (size_t)(action->route >> 32);
    struct sim_node *child = &sim->nodes[index];
    size_t bytes = trib_zmtp_bytes(action->frame_bytes, trib_blob_size(action->payload));
    count(sim, child, up, bytes);
    struct sim_message *message = new_message(sim);
    if (message == NULL) {
        trib_action_release(action);
        trib_sim_out_of_memory(sim);
        return;
    }
    *message =
        (struct sim_message){.route = up ? (trib_child_route)index << 32 | child->connection : action->route,
                             .frame = action->frame,
                             .frame_bytes = action->frame_bytes,
                             .payload = action->payload};
    trib_sim_put(sim, arrival(sim, child, up, bytes), up ? SIM_UP : SIM_DOWN, up ? child->parent : index,
                 message);
}
