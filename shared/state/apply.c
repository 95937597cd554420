/* The dispatch of records, and the records that concern the node as a whole. The parent's side (verdict,
 * commit, publish) is in apply_children.c, the child's side (forward, acked, parent) in apply_parent.c. */
#include "shared/state/internal.h"

#include "shared/base/alloc.h"
#include "shared/model/digest.h"

#include <string.h>

enum trib_status trib_state_prepare(struct trib_state *state, struct trib_error *err) {
    bool device = state->role == TRIB_ROLE_DEVICE, edge = state->role == TRIB_ROLE_EDGE;
    const struct trib_plan *plan = &state->plan;
    const char *out = device ? plan->codec_up : plan->codec_forward;
    const char *in = edge ? plan->codec_up : plan->codec_forward;
    const char *held = device ? plan->codec_down : plan->codec_global;
    const char *pub = edge ? plan->codec_down : plan->codec_global;
    enum trib_status status = trib_codec_new_for(out, &state->schema, &state->codec_out, err);
    if (status == TRIB_OK) status = trib_codec_new_for(in, &state->schema, &state->codec_in, err);
    if (status == TRIB_OK) status = trib_codec_new_for(held, &state->schema, &state->codec_held, err);
    if (status == TRIB_OK) status = trib_codec_new_for(pub, &state->schema, &state->codec_pub, err);
    if (status == TRIB_OK && !device)
        status = trib_rule_new(edge ? plan->edge_rule : plan->cloud_rule,
                               edge ? TRIB_TIER_EDGE : TRIB_TIER_CLOUD, &state->rule, err);
    if (status != TRIB_OK) return status;

    size_t n = trib_state_parameters(state);
    bool gathers = !device && trib_rule_form(state->rule) == TRIB_RULE_GATHERING;
    bool cloud = state->role == TRIB_ROLE_CLOUD;
    if ((!cloud && (state->G = trib_alloc_floats(n)) == NULL) ||
        (state->own = trib_alloc_floats(n)) == NULL ||
        (!device && (state->P = trib_alloc_floats(n)) == NULL) ||
        (gathers && (state->A = trib_alloc_floats(n)) == NULL) ||
        (cloud && (state->step = trib_alloc_floats(n)) == NULL))
        return trib_fail(err, TRIB_NOMEM, "out of memory for the vectors of a model of %zu parameters", n);
    return TRIB_OK;
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

void trib_state_void(struct trib_state *state, bool held) {
    /* At the cloud what was gathered is in its versions, abandoned ones too. */
    if (state->role != TRIB_ROLE_CLOUD) state->total.void_samples += state->gathered.samples;
    for (size_t i = 0; i < state->pending_count; i++) {
        state->total.void_samples += state->pending[i].samples;
        state->peers[state->pending[i].peer].consumed = state->peers[state->pending[i].peer].last;
    }
    state->pending_count = 0;
    state->pending_histogram.count = 0;
    trib_rule_note_commit(&state->memory);
    state->gathered = (struct trib_gathered){.since_ms = state->now_ms};
    state->generation++;
    size_t n = trib_state_parameters(state);
    if (state->A != NULL) memset(state->A, 0, n * sizeof *state->A);
    if (state->own != NULL && state->role != TRIB_ROLE_CLOUD) memset(state->own, 0, n * sizeof *state->own);
    while (held && state->held_count > 0) {
        state->total.void_samples += state->held[state->held_count - 1].samples;
        trib_state_drop_held(state, state->held_count - 1);
    }
    state->version++;
    state->version_since_ms = state->now_ms;
    state->fence = state->version;
    state->exact_next = true;
}

static enum trib_status read_plan(struct trib_state *state, const struct trib_record *record,
                                  struct trib_error *err) {
    enum trib_status status =
        trib_plan_read(record->plan.data, record->plan.size, "the plan", &state->plan, err);
    if (status != TRIB_OK) return status;
    trib_buf_append(&state->plan_text, record->plan.data, record->plan.size);
    if (state->plan_text.failed) return trib_fail(err, TRIB_NOMEM, "out of memory for the plan");
    const char *schema = record->schema.size > 0 ? record->schema.data : "";
    status = trib_schema_parse(&state->schema, schema, record->schema.size, err);
    if (status == TRIB_OK && state->schema.parameters > state->limits.max_parameters)
        return trib_fail(err, TRIB_LIMIT, "the model has %zu parameters; this node takes at most %zu",
                         state->schema.parameters, state->limits.max_parameters);
    return status;
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
    trib_digest_floats(state->own, trib_state_parameters(state), state->digest);
    trib_digest_chain_start(state->schema.fingerprint, state->digest, state->chain.ledger);
    if (!trib_chain_run(&state->chain, record)) return trib_fail(err, TRIB_NOMEM, "out of memory for a run");
    state->has_model = true;
    return TRIB_OK;
}

static enum trib_status apply_start(struct trib_state *state, struct trib_record *record,
                                    struct trib_error *err) {
    if (state->started) trib_state_void(state, true);
    trib_state_clear_run(state);
    enum trib_status status = read_plan(state, record, err);
    if (status == TRIB_OK) status = trib_state_prepare(state, err);
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
        peer->last = peer->consumed = peer->applied = peer->answered = 0;
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
