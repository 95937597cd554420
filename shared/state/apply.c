/* The dispatch of records, and the records that concern the node as a whole. The parent's side (verdict,
 * commit, publish) is in apply_children.c, the child's side (forward, acked, parent) in apply_parent.c. */
#include "shared/state/internal.h"

#include "shared/base/alloc.h"
#include "shared/model/digest.h"

#include <string.h>

/* A device has no rule, but the plan's options fit each other (trib_plan_check). */
static size_t sum_from(const struct trib_state *state) {
    bool all = state->rule != NULL ? trib_rule_sums(state->rule)
                                   : trib_plan_algorithm(&state->plan) == TRIB_ALGORITHM_AREA;
    return all ? 0 : state->schema.model_parameters;
}

static bool make_moments(struct trib_state *state) {
    size_t count = state->rule != NULL ? trib_rule_moments(state->rule) : 0;
    TRIB_ASSERT(count <= TRIB_RULE_MOMENTS);
    for (size_t i = 0; i < count; i++)
        if ((state->moments[i] = trib_alloc_floats(trib_state_parameters(state))) == NULL) return false;
    return true;
}

enum trib_status trib_state_prepare(struct trib_state *state, struct trib_error *err) {
    bool device = state->role == TRIB_ROLE_DEVICE, edge = state->role == TRIB_ROLE_EDGE;
    const struct trib_plan *plan = &state->plan;
    enum trib_status status = TRIB_OK;
    if (!device)
        status = trib_rule_new(edge ? plan->edge_rule : plan->cloud_rule,
                               edge ? TRIB_TIER_EDGE : TRIB_TIER_CLOUD, &state->rule, err);
    if (status != TRIB_OK) return status;

    size_t n = trib_state_parameters(state);
    bool gathers = !device && !trib_rule_at_once(state->rule);
    bool cloud = state->role == TRIB_ROLE_CLOUD;
    bool looks = cloud || (!device && trib_rule_needs_step(state->rule));
    bool caches = !device && trib_rule_form(state->rule) == TRIB_RULE_CACHED;
    state->sum_from = sum_from(state);
    if ((!cloud && (state->G = trib_alloc_floats(n)) == NULL) ||
        (state->own = trib_alloc_floats(n)) == NULL ||
        (!device && (state->P = trib_alloc_floats(n)) == NULL) ||
        (gathers && (state->A = trib_alloc_floats(n)) == NULL) ||
        (looks && (state->step = trib_alloc_floats(n)) == NULL) ||
        (caches && (state->cached = trib_alloc_floats(n)) == NULL) || !make_moments(state))
        return trib_fail(err, TRIB_NOMEM, "out of memory for the vectors of a model of %zu parameters", n);
    return TRIB_OK;
}

size_t trib_state_rung(const struct trib_ladder *ladder, const struct trib_record *record) {
    if (record->codec.size == 0) return trib_ladder_count(ladder) - 1;
    return trib_ladder_find(ladder, record->codec.data, record->codec.size);
}

enum trib_status trib_record_codec(const struct trib_state *state, const struct trib_record *record,
                                   struct trib_codec **out, struct trib_error *err) {
    char spec[TRIB_CODEC_MAX_SPEC + 1] = {0};
    *out = NULL;
    if (record->codec.size == 0) return TRIB_OK;
    if (record->codec.size > TRIB_CODEC_MAX_SPEC)
        return trib_fail(err, TRIB_CORRUPT, "record %llu: its codec's spec is too long",
                         (unsigned long long)record->position);
    memcpy(spec, record->codec.data, record->codec.size);
    return trib_codec_new_for(spec, &state->schema, out, err);
}

/* An edge's optimiser and last step are of what is void. A cloud's go back with its model. */
static void forget_directions(struct trib_state *state) {
    size_t bytes = trib_state_parameters(state) * sizeof(float);
    if (state->step != NULL) memset(state->step, 0, bytes);
    for (size_t i = 0; i < TRIB_RULE_MOMENTS; i++)
        if (state->moments[i] != NULL) memset(state->moments[i], 0, bytes);
    state->memory.optimised = 0;
}

void trib_state_void(struct trib_state *state, bool held) {
    /* At the cloud what was gathered is in its versions, abandoned ones too. */
    if (state->role != TRIB_ROLE_CLOUD) state->total.void_samples += state->gathered.samples;
    for (size_t i = 0; i < state->pending_count; i++) {
        state->total.void_samples += state->pending[i].samples;
        struct trib_peer *peer = &state->peers[state->pending[i].peer];
        trib_state_consume(state, peer, peer->last);
    }
    trib_state_drop_pending(state);
    trib_rule_note_commit(&state->memory, false);
    trib_state_drop_caches(state);
    state->gathered = (struct trib_gathered){.since_ms = state->now_ms};
    trib_hops_clear(state);
    state->generation++;
    size_t n = trib_state_parameters(state);
    if (state->A != NULL) memset(state->A, 0, n * sizeof *state->A);
    if (state->own != NULL && state->role != TRIB_ROLE_CLOUD) {
        memset(state->own, 0, n * sizeof *state->own);
        forget_directions(state);
    }
    while (held && state->held_count > 0) {
        state->total.void_samples += state->held[state->held_count - 1].samples;
        trib_state_drop_held(state, state->held_count - 1);
    }
    state->version++;
    state->version_since_ms = state->now_ms;
    state->fence = state->version;
    state->exact_next = true;
}

/* Version 0 of a cloud: drawn from the seed, or the payload. */
static enum trib_status first_model(struct trib_state *state, const struct trib_record *record,
                                    struct trib_error *err) {
    size_t bytes = trib_state_parameters(state) * sizeof(float);
    state->seed_held = trib_rec_has(record, SEED);
    state->seed = record->seed;
    if (state->seed_held)
        trib_schema_draw(&state->schema, record->seed, state->own);
    else if (trib_blob_size(record->payload) == bytes)
        memcpy(state->own, trib_blob_data(record->payload), bytes);
    else
        return trib_fail(err, TRIB_INVALID, "version 0 has %zu bytes where %zu were expected",
                         trib_blob_size(record->payload), bytes);
    if (trib_rec_has(record, LEDGER_FORMAT) && record->ledger_format >= 3)
        trib_digest_floats(state->own, trib_state_parameters(state), state->shards, state->digest);
    else
        trib_digest_bytes(state->own, bytes, state->digest);
    trib_digest_chain_start(state->schema.fingerprint, state->digest, state->chain.ledger);
    if (!trib_chain_run(&state->chain, record)) return trib_fail(err, TRIB_NOMEM, "out of memory for a run");
    state->has_model = true;
    return TRIB_OK;
}

static bool same_run(const struct trib_state *state, const struct trib_record *record) {
    return state->started && trib_rec_has(record, RUN) &&
           memcmp(state->run, record->run, sizeof state->run) == 0;
}

static enum trib_status apply_start(struct trib_state *state, struct trib_record *record,
                                    struct trib_error *err) {
    float *local[TRIB_LOCAL_MAX] = {NULL};
    if (state->started) trib_state_void(state, true);
    uint8_t before[TRIB_DIGEST_BYTES];
    memcpy(before, state->schema.fingerprint, sizeof before);
    if (same_run(state, record)) { /* with another parent: what a device keeps is of the run */
        memcpy(local, state->local, sizeof local);
        memset(state->local, 0, sizeof state->local);
    }
    trib_state_clear_run(state);
    enum trib_status status = trib_state_take_terms(state, &record->plan, &record->schema, "the plan", err);
    if (status == TRIB_OK) status = trib_state_prepare(state, err);
    memcpy(state->local, local, sizeof local);
    if (memcmp(before, state->schema.fingerprint, sizeof before) != 0) trib_state_drop_local(state);
    if (status != TRIB_OK) return status;
    if (trib_rec_has(record, INCARNATION)) {
        state->incarnation = record->incarnation;
        state->next_number = 1;
    }
    memcpy(state->run, record->run, sizeof state->run);
    state->parent_incarnation = record->parent_incarnation;
    state->parent_version = state->parent_fence = state->parent_count = 0;
    state->has_model = state->seed_held = state->seed_published = state->stopped = false;
    state->version = state->commits = state->fence = state->published = 0;
    state->memory = (struct trib_rule_memory){0};
    state->gathered = (struct trib_gathered){.since_ms = state->now_ms};
    memset(&state->total, 0, sizeof state->total);
    state->chain = (struct trib_chain){.format = 1};
    state->generation = 1;
    state->version_since_ms = state->now_ms;
    state->exact_next = true;
    state->started = true;
    state->started_ms = record->now_ms;
    return state->role == TRIB_ROLE_CLOUD ? first_model(state, record, err) : TRIB_OK;
}

static enum trib_status apply_peer(struct trib_state *state, const struct trib_record *record,
                                   struct trib_error *err) {
    struct trib_peer *peer;
    enum trib_status status = trib_state_put_peer(state, record->peer.data, record->peer.size, &peer);
    if (status == TRIB_OK && peer->incarnation != 0 && peer->incarnation != record->incarnation)
        status = trib_peer_retire(peer, peer->incarnation);
    if (status != TRIB_OK) return trib_fail(err, status, "a participant could not be added");
    if (peer->incarnation != record->incarnation) {
        peer->incarnation = record->incarnation;
        peer->last = peer->consumed = peer->applied = 0;
        peer->touched = state->publications;
        peer->verdict_count = 0;
    }
    peer->kind = record->kind_of_peer;
    return TRIB_OK;
}

/* What a cloud has judged is its own: its children void what they hold, so nothing counts twice. */
static enum trib_status apply_incarnation(struct trib_state *state, const struct trib_record *record) {
    if (state->started && state->role != TRIB_ROLE_CLOUD) trib_state_void(state, true);
    state->incarnation = record->incarnation;
    state->next_number = 1;
    return TRIB_OK;
}

enum trib_status trib_state_apply(struct trib_state *state, struct trib_record *record,
                                  struct trib_error *err) {
    if (record->position == 0) record->position = state->position + 1;
    if (record->position != state->position + 1)
        return trib_fail(err, TRIB_CORRUPT, "record %llu follows record %llu: the journal has a gap",
                         (unsigned long long)record->position, (unsigned long long)state->position);
    bool before_start = record->kind == TRIB_REC_START || record->kind == TRIB_REC_INCARNATION ||
                        record->kind == TRIB_REC_EVENT;
    if (!state->started && !before_start)
        return trib_fail(err, TRIB_CORRUPT, "record %llu (%s) stands before any start of a run",
                         (unsigned long long)record->position, trib_record_name(record->kind));
    if (record->now_ms > state->now_ms) state->now_ms = record->now_ms;
    enum trib_status status = TRIB_OK;
    switch (record->kind) {
    case TRIB_REC_START: status = apply_start(state, record, err); break;
    case TRIB_REC_PEER: status = apply_peer(state, record, err); break;
    case TRIB_REC_VERDICT: status = trib_apply_verdict(state, record, err); break;
    case TRIB_REC_COMMIT: status = trib_apply_commit(state, record, err); break;
    case TRIB_REC_ROLLBACK: status = trib_apply_rollback(state, record, err); break;
    case TRIB_REC_PUBLISH: status = trib_apply_publish(state, record, err); break;
    case TRIB_REC_FORWARD: status = trib_apply_forward(state, record, err); break;
    case TRIB_REC_ACKED: status = trib_apply_acked(state, record, err); break;
    case TRIB_REC_PARENT: status = trib_apply_parent(state, record, err); break;
    case TRIB_REC_VOID: trib_state_void(state, true); break;
    case TRIB_REC_INCARNATION: status = apply_incarnation(state, record); break;
    case TRIB_REC_STOP: state->stopped = true; break;
    case TRIB_REC_EVALUATION:
    case TRIB_REC_EVENT: break;
    default: return trib_fail(err, TRIB_NEWER, "record kind %u is not known to this version", record->kind);
    }
    if (status == TRIB_OK) state->position = record->position;
    return status;
}

enum trib_status trib_state_take_record(void *state, const struct trib_record *record,
                                        struct trib_error *err) {
    struct trib_record copy = *record; /* apply fills in what it computes */
    return trib_state_apply(state, &copy, err);
}
