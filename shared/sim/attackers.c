/* Who attacks, what attackers have seen of honest devices, and when they forge. */
#include "shared/sim/internal.h"

#include "shared/base/alloc.h"

#include <math.h>
#include <string.h>

/* Each device's part of the data is that of its number, or of its place among the honest ones; attackers then
 * go round these parts, or round as many of all samples dealt at random. */
static enum trib_status give_parts(struct trib_sim *sim, struct trib_error *err) {
    struct sim_attackers *a = &sim->attackers;
    size_t first = 1 + sim->edge_count, honest = 0, attackers = 0, parts = sim->node_count - first;
    bool own = strcmp(sim->scenario->attack.data, "own") == 0;
    if (!own) parts -= a->count;
    for (size_t i = first; i < sim->node_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        size_t place = node->attacks ? attackers++ % parts : honest++;
        node->part = (uint32_t)(own ? i - first : place);
    }
    if (a->count == 0 || !sim->has_task || strcmp(sim->scenario->attack.data, "any") != 0) return TRIB_OK;
    const struct trib_split *split = trib_dataset_train(sim->task.dataset);
    enum trib_status status =
        trib_partition_make("iid", split->labels, split->users, split->count,
                            trib_dataset_classes(sim->task.dataset), parts, sim->options.seed, &a->any, err);
    a->task = sim->task;
    a->task.partition = a->any;
    return status;
}

const struct trib_task *trib_sim_task_of(const struct trib_sim *sim, const struct sim_node *node) {
    return node->attacks && sim->attackers.any != NULL ? &sim->attackers.task : &sim->task;
}

enum trib_status trib_sim_attackers_open(struct trib_sim *sim, struct trib_error *err) {
    struct sim_attackers *a = &sim->attackers;
    size_t devices = (size_t)sim->scenario->fleet.devices;
    enum trib_status status = trib_attack_parse(sim->scenario->attack.kind, &a->attack, err);
    if (status != TRIB_OK) return status;
    a->count = (size_t)trib_scenario_attackers(sim->scenario);
    if (a->attack.row == NULL) return give_parts(sim, err);
    uint32_t *order = trib_alloc_array(devices, sizeof *order);
    if (a->attack.row->alike) a->forged = trib_alloc_floats(sim->parameters);
    if (order == NULL || (a->attack.row->alike && a->forged == NULL)) {
        trib_free(order);
        return trib_fail(err, TRIB_NOMEM, "out of memory for attackers");
    }
    for (size_t i = 0; i < devices; i++) order[i] = (uint32_t)i;
    struct trib_rng rng = trib_rng_seed(sim->options.seed, 2);
    if (strcmp(sim->scenario->attack.who, "drawn") == 0) trib_rng_shuffle(&rng, order, devices);
    for (size_t i = 0; i < a->count; i++) sim->nodes[1 + sim->edge_count + order[i]].attacks = true;
    trib_free(order);
    return give_parts(sim, err);
}

void trib_sim_attackers_close(struct trib_sim *sim) {
    struct sim_attackers *a = &sim->attackers;
    for (size_t i = 0; i < a->honest_count; i++) trib_free(a->honest[i].difference);
    a->honest_count = 0;
    trib_free(a->forged);
    a->forged = NULL;
    trib_partition_free(&a->any);
}

/* Keeps a copy: in place of the one that its device submitted before, or of the oldest. */
static void remember(struct trib_sim *sim, const struct sim_job *job, const float *difference) {
    struct sim_attackers *a = &sim->attackers;
    struct sim_honest kept = {.device = trib_sim_device(sim, job->node),
                              .parent = sim->nodes[job->node].parent,
                              .version = job->submission.base_version};
    size_t at = 0;
    while (at < a->honest_count && a->honest[at].device != kept.device) at++;
    if (at == a->attack.row->honest) at--;
    if (at < a->honest_count)
        kept.difference = a->honest[at].difference;
    else if ((kept.difference = trib_alloc_floats(sim->parameters)) != NULL)
        a->honest_count++;
    if (kept.difference == NULL) {
        trib_sim_out_of_memory(sim);
        return;
    }
    memcpy(kept.difference, difference, sim->parameters * sizeof *difference);
    memmove(&a->honest[1], &a->honest[0], at * sizeof a->honest[0]);
    a->honest[0] = kept;
    a->serial++;
}

/* ---- rounds ---- */

static bool in_rounds(const struct trib_sim *sim, const struct sim_job *job) {
    const struct trib_state *parent = sim->nodes[sim->nodes[job->node].parent].state;
    return parent != NULL && parent->started && trib_rule_synchronous(parent->rule);
}

uint64_t trib_sim_attack_waits_us(const struct trib_sim *sim, const struct sim_job *job) {
    const struct sim_node *attacker = &sim->nodes[job->node];
    if (!attacker->attacks || sim->attackers.attack.row->honest == 0 || !in_rounds(sim, job)) return 0;
    uint64_t last_us = 0;
    for (size_t i = 1 + sim->edge_count; i < sim->node_count; i++) {
        const struct sim_node *node = &sim->nodes[i];
        if (node->attacks || node->job == NULL || node->parent != attacker->parent ||
            node->job->submission.base_version != job->submission.base_version)
            continue;
        if (node->job->task.needed_us >= last_us) last_us = node->job->task.needed_us + 1;
    }
    return last_us;
}

/* ---- forging ---- */

struct seen {
    size_t count;
    const float *honest[TRIB_ATTACK_HONEST_MAX];
    size_t devices[TRIB_ATTACK_HONEST_MAX];
};

/* Those of a round, or all others, behind what is there. */
static void see(struct trib_sim *sim, const struct sim_job *job, bool of_the_round, struct seen *seen) {
    const struct sim_attackers *a = &sim->attackers;
    bool rounds = in_rounds(sim, job);
    for (size_t i = 0; i < a->honest_count; i++) {
        const struct sim_honest *it = &a->honest[i];
        bool in_it = rounds && it->parent == sim->nodes[job->node].parent &&
                     it->version == job->submission.base_version;
        if (in_it != of_the_round) continue;
        seen->honest[seen->count] = it->difference;
        seen->devices[seen->count++] = it->device;
    }
}

static struct trib_attack_view look(struct trib_sim *sim, const struct sim_job *job, struct seen *seen) {
    const struct sim_attackers *a = &sim->attackers;
    seen->count = 0;
    see(sim, job, true, seen);
    size_t round_count = seen->count;
    see(sim, job, false, seen);
    return (struct trib_attack_view){.parameters = sim->parameters,
                                     .devices = (size_t)sim->scenario->fleet.devices,
                                     .attackers = a->count,
                                     .rng = &sim->nodes[job->node].rng,
                                     .honest_count = seen->count,
                                     .honest = seen->honest,
                                     .honest_devices = seen->devices,
                                     .round_count = round_count};
}

/* Was it forged already, by another attacker who saw the same? */
static bool forged_before(struct sim_attackers *a, size_t parent, uint64_t version) {
    bool before = a->forged_serial == a->serial && a->forged_parent == parent && a->forged_version == version;
    a->forged_serial = a->serial;
    a->forged_parent = parent;
    a->forged_version = version;
    return before;
}

void trib_sim_attack(struct trib_sim *sim, const struct sim_job *job, float *difference) {
    struct sim_attackers *a = &sim->attackers;
    const struct sim_node *node = &sim->nodes[job->node];
    const struct trib_attack_row *row = a->attack.row;
    struct seen seen;
    if (row == NULL) return;
    if (!node->attacks) {
        if (row->honest > 0) remember(sim, job, difference);
        return;
    }
    struct trib_attack_view view = look(sim, job, &seen);
    size_t bytes = sim->parameters * sizeof *difference;
    if (!row->alike || a->honest_count == 0) {
        row->forge(&view, a->attack.params, difference);
        return;
    }
    if (!forged_before(a, node->parent, job->submission.base_version))
        row->forge(&view, a->attack.params, a->forged);
    memcpy(difference, a->forged, bytes);
}
