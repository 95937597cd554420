/* A rule's memory between updates, and what rules read from it. */
#include "shared/rules/kind.h"

#include <math.h>
#include <string.h>

enum { INTERVALS = sizeof((struct trib_rule_memory *)0)->intervals_ms / sizeof(uint64_t) };

const char *const trib_rule_auto_yes_no[4] = {"auto", "yes", "no", NULL};

bool trib_rule_switch(const char *value, bool fallback) {
    return strcmp(value, "auto") == 0 ? fallback : strcmp(value, "yes") == 0;
}

double trib_rule_damping(const struct trib_rule_memory *memory, float factor, bool relative) {
    if (!relative) return (double)factor;
    uint64_t before = memory->recent_count < TRIB_RULE_RECENT ? memory->recent_count : TRIB_RULE_RECENT - 1;
    double sum = (double)factor; /* newest first */
    for (uint64_t i = 1; i <= before; i++)
        sum += (double)memory->recent[(memory->recent_count - i) % TRIB_RULE_RECENT];
    double against_mean = (double)factor / (sum / (double)(before + 1));
    return against_mean < 1.0 ? against_mean : 1.0;
}

uint64_t trib_rule_median_interval(const struct trib_rule_memory *memory) {
    uint64_t sorted[INTERVALS];
    size_t count = memory->interval_count < INTERVALS ? (size_t)memory->interval_count : INTERVALS;
    if (count == 0) return UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        size_t at = i;
        for (; at > 0 && sorted[at - 1] > memory->intervals_ms[i]; at--) sorted[at] = sorted[at - 1];
        sorted[at] = memory->intervals_ms[i];
    }
    return sorted[count / 2];
}

bool trib_rule_waited(uint64_t since_ms, uint64_t wait_ms, uint64_t now_ms, uint64_t *wake_ms) {
    uint64_t until_ms;
    if (__builtin_add_overflow(since_ms, wait_ms, &until_ms)) until_ms = UINT64_MAX;
    if (now_ms >= until_ms) return true;
    *wake_ms = until_ms;
    return false;
}

static void note_seen(struct trib_rule_memory *memory, struct trib_rule_peer *peer,
                      const struct trib_rule_update *update, const struct trib_rule_weight *weight) {
    memory->norms[memory->norm_count++ % TRIB_RULE_NORMS] = (float)update->norm;
    if (update->effect < 0.0 || update->effect > 0.0)
        memory->effects[memory->effect_count++ % TRIB_RULE_NORMS] = (float)fabs(update->effect);
    if (peer == NULL) return;
    peer->accepted += weight->refusal == TRIB_RULE_TAKEN;
    peer->refused += weight->refusal != TRIB_RULE_TAKEN;
    peer->norm = (float)update->norm;
    peer->cosine = (float)update->cosine;
    peer->loss = (float)update->loss;
}

void trib_rule_note_update(struct trib_rule_memory *memory, struct trib_rule_peer *peer,
                           const struct trib_rule_update *update, const struct trib_rule_weight *weight,
                           uint64_t now_ms) {
    note_seen(memory, peer, update, weight);
    if (weight->refusal != TRIB_RULE_TAKEN) return;
    memory->steps += (double)weight->norm * update->steps;
    if (update->staleness > memory->stalest) memory->stalest = update->staleness;
    if (memory->pending++ == 0 && memory->pending_since_ms == 0) memory->pending_since_ms = now_ms;
    memory->norm += (double)weight->norm;
    if (memory->recent_count > 0) {
        uint64_t interval = now_ms > memory->last_update_ms ? now_ms - memory->last_update_ms : 0;
        memory->intervals_ms[memory->interval_count++ % INTERVALS] = interval;
    }
    memory->recent[memory->recent_count++ % TRIB_RULE_RECENT] = weight->factor;
    memory->last_update_ms = now_ms;
}

void trib_rule_note_superseded(struct trib_rule_memory *memory) {
    TRIB_ASSERT(memory->pending > 0);
    memory->pending--;
}

void trib_rule_note_commit(struct trib_rule_memory *memory, bool optimised) {
    memory->pending = 0;
    memory->pending_since_ms = 0;
    memory->norm = memory->steps = 0.0;
    memory->stalest = 0;
    memory->optimised += optimised;
}

/* Of those that are remembered of so many. */
static double median(const float *values, uint64_t noted) {
    float sorted[TRIB_RULE_NORMS];
    size_t count = noted < TRIB_RULE_NORMS ? (size_t)noted : TRIB_RULE_NORMS;
    if (count == 0) return 0.0;
    for (size_t i = 0; i < count; i++) {
        size_t at = i;
        for (; at > 0 && sorted[at - 1] > values[i]; at--) sorted[at] = sorted[at - 1];
        sorted[at] = values[i];
    }
    return (double)sorted[count / 2];
}

double trib_rule_median_norm(const struct trib_rule_memory *memory) {
    return median(memory->norms, memory->norm_count);
}

enum { FEW = 3 };

double trib_rule_usual_norm(const struct trib_rule_memory *memory) {
    return memory->norm_count > FEW ? trib_rule_median_norm(memory) : 0.0;
}

double trib_rule_usual_effect(const struct trib_rule_memory *memory) {
    return memory->effect_count > FEW ? median(memory->effects, memory->effect_count) : 0.0;
}
