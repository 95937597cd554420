/* What bases share that wait for some updates, and those that go in rounds. */
#include "shared/base/number.h"
#include "shared/rules/kind.h"

#include <string.h>

enum {
    FIRST_DEADLINE_MS = 30000, /* until an interval is known */
    LEAST_DEADLINE_MS = 100,   /* where updates come in bursts, so that the median says little */
    MOST_DEADLINE_MS = 600000  /* after an outage, or when the clock was put right, the same */
};

enum trib_rule_form trib_rule_gathers(const void *config) {
    (void)config;
    return TRIB_RULE_GATHERING;
}

/* ---- buffers ---- */

enum trib_status trib_buffer_check_deadline(const char *value, struct trib_error *err) {
    uint64_t ms;
    if (strcmp(value, "auto") == 0 || trib_parse_ms(value, strlen(value), &ms)) return TRIB_OK;
    return trib_fail(err, TRIB_INVALID, "\"%s\" is no deadline; allowed are auto, 0 and a duration as in 30s",
                     value);
}

enum trib_status trib_buffer_prepare(void *config, enum trib_tier tier, struct trib_error *err) {
    struct trib_rule_buffer *b = config;
    (void)err;
    bool is_auto = strcmp(b->deadline, "auto") == 0;
    if (!is_auto) TRIB_ASSERT(trib_parse_ms(b->deadline, strlen(b->deadline), &b->deadline_ms));
    b->deadline_auto = is_auto && tier == TRIB_TIER_CLOUD;
    return TRIB_OK;
}

uint64_t trib_buffer_needs(const void *config, const struct trib_rule_state *state, uint64_t *configured) {
    const struct trib_rule_buffer *b = config;
    uint64_t live = state->active > 0 ? state->active : 1;
    *configured = b->k;
    return b->k < live ? b->k : live;
}

/* 0: none. */
static uint64_t deadline_of(const struct trib_rule_buffer *b, const struct trib_rule_memory *memory) {
    if (!b->deadline_auto) return b->deadline_ms;
    uint64_t median = trib_rule_median_interval(memory);
    if (median == UINT64_MAX) return FIRST_DEADLINE_MS;
    if (median > MOST_DEADLINE_MS / 2) return MOST_DEADLINE_MS;
    return 2 * median > LEAST_DEADLINE_MS ? 2 * median : LEAST_DEADLINE_MS;
}

bool trib_buffer_due(const void *config, const struct trib_rule_memory *memory,
                     const struct trib_rule_state *state, uint64_t *wake_ms) {
    const struct trib_rule_buffer *b = config;
    uint64_t configured;
    if (memory->pending >= trib_buffer_needs(b, state, &configured)) return true;
    uint64_t deadline_ms = deadline_of(b, memory);
    return deadline_ms > 0 && trib_rule_waited(memory->pending_since_ms, deadline_ms, state->now_ms, wake_ms);
}

enum trib_rule_patience trib_buffer_patience(const void *config) {
    const struct trib_rule_buffer *b = config;
    bool ends = b->deadline_auto || b->deadline_ms > 0 || b->k == 1;
    return ends ? TRIB_RULE_WAITS_NOT : TRIB_RULE_WAITS_FOR_SOME;
}

/* ---- rounds ---- */

struct trib_rule_weight trib_rounds_weigh(const void *config, const struct trib_rule_memory *memory,
                                          const struct trib_rule_update *update) {
    (void)config;
    (void)memory;
    float n = (float)update->weight;
    return (struct trib_rule_weight){.factor = 1.0f, .applied = n, .norm = n};
}

bool trib_rounds_due(const void *config, const struct trib_rule_memory *memory,
                     const struct trib_rule_state *state, uint64_t *wake_ms) {
    const struct trib_rule_rounds *r = config;
    uint64_t enough = r->minimum > 0 ? r->minimum : 1;
    if (state->expected == 0) return true;
    if (memory->pending < enough) return false;
    if (r->deadline_ms > 0)
        return trib_rule_waited(state->version_since_ms, r->deadline_ms, state->now_ms, wake_ms);
    return r->minimum > 0;
}

uint64_t trib_rounds_needs(const void *config, const struct trib_rule_state *state, uint64_t *configured) {
    const struct trib_rule_rounds *r = config;
    (void)state;
    *configured = r->minimum > 0 ? r->minimum : 1;
    return *configured;
}

enum trib_rule_patience trib_rounds_patience(const void *config) {
    const struct trib_rule_rounds *r = config;
    if (r->deadline_ms > 0) return TRIB_RULE_WAITS_NOT;
    return r->minimum > 0 ? TRIB_RULE_WAITS_FOR_SOME : TRIB_RULE_WAITS_FOR_ALL;
}
