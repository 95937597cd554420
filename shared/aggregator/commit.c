/* When what was gathered becomes a step of the model. */
#include "shared/aggregator/internal.h"

#include <inttypes.h>
#include <string.h>

/* Active children that have been asked for this version and have not answered; for synchronous rules. */
static uint64_t expected(const struct trib_aggregator *a) {
    uint64_t count = 0;
    for (size_t i = 0; i < a->session_count; i++) {
        const struct session *s = &a->sessions[i];
        if (s->number != 0 && s->active && trib_session_peer(a, s)->answered != a->state->published + 1 &&
            !trib_aggregator_declined(a, s->peer))
            count++;
    }
    return count;
}

/* Active children with nothing pending. */
static uint64_t idle(const struct trib_aggregator *a) {
    const struct trib_state *s = a->state;
    uint64_t count = 0;
    for (size_t i = 0; i < a->session_count; i++) {
        const struct session *session = &a->sessions[i];
        bool pending = session->number == 0 || !session->active || trib_aggregator_declined(a, session->peer);
        for (size_t j = 0; !pending && j < s->pending_count; j++)
            pending = s->pending[j].peer == session->peer;
        count += !pending;
    }
    return count;
}

/* A commit is due, and the rule's combiner has too few updates for it: told once for each number of them. */
static void tell_if_short(struct trib_aggregator *a, const struct trib_rule_state *state) {
    const struct trib_state *s = a->state;
    if (!trib_rule_short(s->rule, &s->memory, state)) {
        a->short_of = 0;
    } else if (a->short_of != s->memory.pending) {
        a->short_of = s->memory.pending;
        trib_aggregator_event(a, TRIB_LOG_WARN, "buffer_short",
                              "updates=%" PRIu64 " needed=%" PRIu64 " active=%" PRIu64, s->memory.pending,
                              trib_rule_least(s->rule), state->active);
    }
}

/* Who was to answer and has not is away; *memory is the rule's with the estimates in it. Those that were not
 * chosen to take part are not away. */
static void mark_away(struct trib_aggregator *a, struct trib_record *record,
                      struct trib_rule_memory *memory) {
    const struct trib_state *s = a->state;
    uint64_t count = 0;
    if (trib_rule_form(s->rule) != TRIB_RULE_SERIES) return;
    for (size_t i = 0; i < s->peer_count; i++) {
        float weight = trib_cohort_wants(a, i) ? trib_state_mark_away(s, i, record) : 0.0f;
        memory->norm += (double)weight;
        count += weight > 0.0f;
    }
    if (count > 0)
        trib_aggregator_event(a, TRIB_LOG_INFO, "compensated", "participants=%" PRIu64 " answers=%zu", count,
                              s->pending_count);
}

static void commit(struct trib_aggregator *a) {
    const struct trib_state *s = a->state;
    struct trib_record record = {.kind = TRIB_REC_COMMIT};
    struct trib_rule_memory memory = s->memory;
    const char *rule = trib_rule_spec(s->rule);
    mark_away(a, &record, &memory);
    trib_rec_set(&record, VERSION, version, s->version + 1);
    trib_rec_set(&record, COMMITS, commits, s->commits + 1);
    trib_rec_set(&record, SCALE, scale, trib_rule_scale(s->rule, &memory));
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
    bool rounds = trib_rule_synchronous(s->rule), drawn = rounds && trib_cohort_on(a);
    uint64_t soon_ms = UINT64_MAX, count = drawn    ? trib_cohort_expected(a, &soon_ms)
                                           : rounds ? expected(a)
                                           : trib_rule_counts_idle(s->rule) ? idle(a)
                                                                            : 0;
    struct trib_rule_state state = {.now_ms = a->now_ms,
                                    .active = a->status.active,
                                    .expected = count,
                                    .commits = s->commits,
                                    .version_since_ms = s->published_ms};
    uint64_t configured;
    uint64_t needs = trib_rule_needs(s->rule, &state, &configured);
    if (needs < configured && a->lowered_to != needs)
        trib_aggregator_event(a, TRIB_LOG_WARN, "buffer_lowered",
                              "updates=%" PRIu64 " configured=%" PRIu64 " active=%" PRIu64, needs, configured,
                              state.active);
    a->lowered_to = needs;
    tell_if_short(a, &state);
    bool due = trib_rule_due(s->rule, &s->memory, &state, wake_ms) ||
               (drawn && trib_cohort_enough(a) && s->memory.pending >= trib_rule_least(s->rule));
    if (soon_ms < *wake_ms) *wake_ms = soon_ms;
    if (due) {
        commit(a);
        *wake_ms = UINT64_MAX;
    }
}
