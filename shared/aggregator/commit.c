/* When what was gathered becomes a step of the model. */
#include "shared/aggregator/internal.h"

#include <inttypes.h>
#include <string.h>

/* Active children that have been asked for this version and have not answered; for synchronous rules. */
static uint64_t expected(const struct trib_aggregator *a) {
    uint64_t count = 0;
    for (size_t i = 0; i < a->session_count; i++) {
        const struct session *s = &a->sessions[i];
        if (s->number != 0 && s->active && trib_session_peer(a, s)->answered != a->state->published + 1)
            count++;
    }
    return count;
}

static void commit(struct trib_aggregator *a) {
    const struct trib_state *s = a->state;
    struct trib_record record = {.kind = TRIB_REC_COMMIT};
    const char *rule = trib_rule_spec(s->rule);
    trib_rec_set(&record, VERSION, version, s->version + 1);
    trib_rec_set(&record, COMMITS, commits, s->commits + 1);
    trib_rec_set(&record, SCALE, scale, trib_rule_scale(s->rule, &s->memory));
    trib_rec_set(&record, CONTRIBUTIONS, contributions, s->pending_count);
    trib_rec_set(&record, RULE, rule, ((struct trib_text){rule, strlen(rule)}));
    uint64_t samples = 0;
    for (size_t i = 0; i < s->pending_count; i++) samples += s->pending[i].samples;
    trib_rec_set(&record, SAMPLES, samples, samples);
    trib_rec_set(&record, UP_BYTES, up_bytes, a->status.up_bytes - a->commit_up_bytes);
    trib_rec_set(&record, DOWN_BYTES, down_bytes, a->status.down_bytes - a->commit_down_bytes);
    a->commit_up_bytes = a->status.up_bytes;
    a->commit_down_bytes = a->status.down_bytes;
    (void)trib_aggregator_record(a, &record);
}

void trib_aggregator_commit_due(struct trib_aggregator *a, uint64_t *wake_ms) {
    struct trib_state *s = a->state;
    *wake_ms = UINT64_MAX;
    if (s->stopped || s->pending_count == 0 || a->store_retry_ms > 0) return;
    struct trib_rule_state state = {.now_ms = a->now_ms,
                                    .active = a->status.active,
                                    .expected = trib_rule_synchronous(s->rule) ? expected(a) : 0,
                                    .version_since_ms = s->published_ms};
    uint64_t configured;
    uint64_t needs = trib_rule_needs(s->rule, &state, &configured);
    if (needs < configured && a->lowered_to != needs)
        trib_aggregator_event(a, TRIB_LOG_WARN, "buffer_lowered",
                              "updates=%" PRIu64 " configured=%" PRIu64 " active=%" PRIu64, needs, configured,
                              state.active);
    a->lowered_to = needs;
    if (trib_rule_due(s->rule, &s->memory, &state, wake_ms)) {
        commit(a);
        *wake_ms = UINT64_MAX;
    }
}
