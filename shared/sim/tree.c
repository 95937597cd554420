/* The nodes: who is whose child, and their states and roles. */
#include "shared/sim/internal.h"

#include "shared/base/alloc.h"

#include <stdio.h>
#include <string.h>

const char *trib_sim_name(const struct trib_sim *sim, size_t node, char out[SIM_NAME]) {
    if (node == SIM_CLOUD)
        (void)snprintf(out, SIM_NAME, "cloud");
    else if (node <= sim->edge_count)
        (void)snprintf(out, SIM_NAME, "edge-%zu", node);
    else
        (void)snprintf(out, SIM_NAME, "device-%zu", trib_sim_device(sim, node));
    return out;
}

static void make_level(struct trib_sim *sim, size_t first, size_t count, size_t above_first, size_t above,
                       uint8_t depth, enum trib_role role) {
    bool blocks = strcmp(sim->scenario->fleet.spread, "blocks") == 0;
    for (size_t i = 0; i < count; i++) {
        struct sim_node *node = &sim->nodes[first + i];
        node->role = (uint8_t)role;
        node->depth = depth;
        node->parent = (uint32_t)(above_first + (blocks ? i * above / count : i % above));
        node->wake_us = SIM_NEVER;
    }
}

static double slowness(const struct trib_sim *sim, size_t index) {
    const struct trib_scenario *s = sim->scenario;
    double fast = (double)s->fleet.devices * (1 - s->fleet.slow_share);
    return (double)trib_sim_device(sim, index) + 0.5 > fast ? s->fleet.slow_times : 1;
}

static void set_devices(struct trib_sim *sim) {
    for (size_t i = 1 + sim->edge_count; i < sim->node_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        node->rng = trib_rng_seed(sim->options.seed ^ UINT64_C(0x64657669636573), trib_sim_device(sim, i));
        node->speed = (float)(trib_delay_draw(&sim->speed, &node->rng) * slowness(sim, i));
        node->phase = (float)trib_rng_unit(&node->rng);
    }
}

enum trib_status trib_sim_make_nodes(struct trib_sim *sim, struct trib_error *err) {
    uint64_t counts[TRIB_SIM_LEVELS_MAX];
    size_t levels = trib_scenario_levels(sim->scenario, counts);
    for (size_t i = 0; i < levels; i++) sim->edge_count += (size_t)counts[i];
    sim->node_count = 1 + sim->edge_count + (size_t)sim->scenario->fleet.devices;
    sim->nodes = trib_alloc_array(sim->node_count, sizeof *sim->nodes);
    if (sim->nodes == NULL) return trib_fail(err, TRIB_NOMEM, "out of memory for %zu nodes", sim->node_count);
    size_t above_first = 0, above = 1, first = 1;
    make_level(sim, 0, 1, 0, 1, 0, TRIB_ROLE_CLOUD);
    for (size_t i = 0; i <= levels; i++) {
        bool edges = i < levels;
        size_t here = edges ? (size_t)counts[i] : (size_t)sim->scenario->fleet.devices;
        make_level(sim, first, here, above_first, above, (uint8_t)(i + 1),
                   edges ? TRIB_ROLE_EDGE : TRIB_ROLE_DEVICE);
        above_first = first;
        above = here;
        first += here;
    }
    sim->status.hop_count = levels + 1;
    for (size_t i = 1; i <= sim->edge_count; i++) trib_sim_put(sim, 0, SIM_JOIN, i, NULL);
    set_devices(sim);
    trib_sim_call_first(sim);
    return TRIB_OK;
}

/* ---- roles ---- */

static uint64_t region_of(void *ctx) {
    return trib_aggregator_region(ctx);
}

/* Of the device that is at work. */
static void tell_labels(void *ctx, struct trib_u64s *out) {
    const struct trib_sim *sim = ctx;
    const struct sim_node *node = &sim->nodes[sim->at_work];
    if (sim->has_task)
        out->count = trib_task_labels(trib_sim_task_of(sim, node), node->part, out->items, TRIB_U64S_MAX);
}

static uint64_t seed_of(const struct trib_sim *sim, size_t index) {
    return trib_mix64(sim->options.seed ^ trib_mix64((uint64_t)index << 32 | sim->nodes[index].connection));
}

static enum trib_status make_roles(struct trib_sim *sim, size_t index, struct trib_error *err) {
    struct sim_node *node = &sim->nodes[index];
    enum trib_status status = TRIB_OK;
    if (node->role != TRIB_ROLE_DEVICE) {
        struct trib_aggregator_options options = {.seed = seed_of(sim, index),
                                                  .max_peers = 65535,
                                                  .budget_bytes = (size_t)sim->scenario->fleet.in_flight};
        status = trib_aggregator_new(&options, node->state, &sim->outbox, &node->aggregator, err);
    }
    if (status == TRIB_OK && node->role != TRIB_ROLE_CLOUD) {
        char name[SIM_NAME];
        bool tells = node->role == TRIB_ROLE_DEVICE && sim->scenario->fleet.tell_labels;
        struct trib_participant_options options = {.name = trib_sim_name(sim, index, name),
                                                   .seed = seed_of(sim, index),
                                                   .region = node->aggregator != NULL ? region_of : NULL,
                                                   .region_ctx = node->aggregator,
                                                   .labels = tells ? tell_labels : NULL,
                                                   .labels_ctx = sim};
        if (node->role == TRIB_ROLE_DEVICE && sim->conditions != NULL) {
            options.conditions = trib_sim_report;
            options.conditions_ctx = &sim->conditions[trib_sim_device(sim, index)];
        }
        status = trib_participant_new(&options, node->state, &sim->outbox, &node->participant, err);
    }
    return status;
}

enum trib_status trib_sim_node_open(struct trib_sim *sim, size_t index, struct trib_error *err) {
    struct sim_node *node = &sim->nodes[index];
    trib_alloc_huge_pages(&sim->heap_end);
    /* The ring as the programs' default; a rule that mixes goes back to increments so far. */
    struct trib_state_limits limits = {.ring_bytes = node->role == TRIB_ROLE_DEVICE ? 0 : (size_t)64 << 20,
                                       .terms = sim->terms};
    enum trib_status status = trib_state_new((enum trib_role)node->role, &limits, &node->state, err);
    if (status == TRIB_OK) status = trib_sim_recall(node, err);
    if (status == TRIB_OK && node->role != TRIB_ROLE_DEVICE) node->state->shards = sim->shards;
    if (status == TRIB_OK) status = make_roles(sim, index, err);
    return status;
}

void trib_sim_node_close(struct trib_sim *sim, size_t index) {
    struct sim_node *node = &sim->nodes[index];
    trib_sim_forsake(sim, index);
    trib_aggregator_free(&node->aggregator);
    trib_participant_free(&node->participant);
    trib_state_free(&node->state);
    trib_sim_journal_close(&node->journal);
}
