/* Records of the parent's side: an update was judged, the rule committed, the model was published. */
#include "shared/state/internal.h"

#include "shared/base/alloc.h"
#include "shared/base/bytes.h"
#include "shared/model/digest.h"

#include <string.h>

static enum trib_status damaged(struct trib_error *err, const struct trib_record *record, const char *what) {
    return trib_fail(err, TRIB_CORRUPT, "record %llu (%s): %s", (unsigned long long)record->position,
                     trib_record_name(record->kind), what);
}

/* Where the update's work started, in the parent's versions: a device names one base of ours, an edge below
 * names several in its histogram. */
static void note_origins(const struct trib_state *state, const struct trib_record *record,
                         struct trib_u64s *histogram) {
    if (record->histogram.count == 0) {
        const struct trib_base *base = trib_state_base(state, record->base_version);
        trib_histogram_add(histogram, base != NULL ? base->origin : 0, record->samples);
        return;
    }
    for (size_t i = 0; i + 1 < record->histogram.count; i += 2) {
        const struct trib_base *base = trib_state_base(state, record->histogram.items[i]);
        if (base == NULL && state->base_count > 0) base = &state->bases[0];
        trib_histogram_add(histogram, base != NULL ? base->origin : 0, record->histogram.items[i + 1]);
    }
}

/* One that may be replaced keeps its origins beside it until the commit. */
static enum trib_status keep_origins(const struct trib_state *state, const struct trib_record *record,
                                     struct trib_pending *pending) {
    struct trib_u64s histogram = {0};
    note_origins(state, record, &histogram);
    pending->origins = trib_alloc_array(histogram.count, sizeof *pending->origins);
    if (pending->origins == NULL) return TRIB_NOMEM;
    memcpy(pending->origins, histogram.items, histogram.count * sizeof *pending->origins);
    pending->origin_count = histogram.count / 2;
    return TRIB_OK;
}

static enum trib_status add_pending(struct trib_state *state, const struct trib_record *record,
                                    const struct trib_peer *peer) {
    if (state->pending_count == state->pending_capacity) {
        size_t capacity = state->pending_capacity > 0 ? state->pending_capacity * 2 : 16;
        struct trib_pending *more = trib_realloc(state->pending, capacity * sizeof *more);
        if (more == NULL) return TRIB_NOMEM;
        state->pending = more;
        state->pending_capacity = capacity;
    }
    state->pending[state->pending_count++] = (struct trib_pending){
        .peer = (size_t)(peer - state->peers),
        .incarnation = record->incarnation,
        .number = record->number,
        .samples = record->samples,
        .weight = record->weight,
        .applied = record->applied,
        .steps = record->steps,
        .loss = record->loss,
        .norm = record->norm_add,
    };
    return TRIB_OK;
}

static struct trib_pending *pending_of(const struct trib_state *state, const struct trib_peer *peer) {
    for (size_t i = 0; i < state->pending_count; i++)
        if (state->pending[i].peer == (size_t)(peer - state->peers)) return &state->pending[i];
    return NULL;
}

const struct trib_pending *trib_state_replaceable(const struct trib_state *state,
                                                  const struct trib_peer *peer) {
    return trib_rule_form(state->rule) == TRIB_RULE_BUFFERED ? pending_of(state, peer) : NULL;
}

/* The pending update that this one replaces is void: its mean part with its payload; its sums stay. */
static enum trib_status supersede(struct trib_state *state, const struct trib_record *record,
                                  struct trib_peer *peer, uint64_t judged_before, struct trib_error *err) {
    const struct trib_pending *older = trib_state_replaceable(state, peer);
    if (!trib_rec_has(record, SUPERSEDES) && older == NULL) return TRIB_OK;
    if (older == NULL || record->supersedes != older->number)
        return damaged(err, record, "it replaces another update than the one that is pending");
    size_t at = (size_t)(older - state->pending);
    state->total.void_samples += older->samples;
    trib_state_consume(state, peer, judged_before);
    trib_state_release_pending(&state->pending[at]);
    state->pending_count--;
    memmove(&state->pending[at], &state->pending[at + 1],
            (state->pending_count - at) * sizeof *state->pending);
    trib_rule_note_superseded(&state->memory);
    return TRIB_OK;
}

static void note_rule(struct trib_state *state, const struct trib_record *record, struct trib_peer *peer,
                      enum trib_rule_refusal refusal) {
    struct trib_rule_weight weight = {
        .factor = record->factor, .applied = record->applied, .norm = record->norm_add, .refusal = refusal};
    struct trib_rule_update update = {.staleness = record->staleness,
                                      .steps = (double)record->steps,
                                      .norm = (double)record->update_norm,
                                      .cosine = (double)record->cosine,
                                      .effect = (double)record->effect,
                                      .divergence = (double)record->divergence,
                                      .loss = (double)record->loss,
                                      .commits = state->commits};
    trib_rule_note_peer(state->rule, &state->memory, &peer->rules, &update, refusal);
    trib_rule_note_update(&state->memory, &peer->rules, &update, &weight, record->now_ms);
}

static enum trib_status accept(struct trib_state *state, const struct trib_record *record,
                               struct trib_peer *peer, struct trib_error *err) {
    if (record->payload == NULL) return damaged(err, record, "an accepted update without its payload");
    if (add_pending(state, record, peer) != TRIB_OK)
        return trib_fail(err, TRIB_NOMEM, "out of memory for an update");
    struct trib_pending *pending = &state->pending[state->pending_count - 1];
    enum trib_status status = trib_state_take_update(state, record, pending, err);
    if (status != TRIB_OK) return status;
    if (trib_rule_form(state->rule) != TRIB_RULE_BUFFERED)
        note_origins(state, record, &state->pending_histogram);
    else if (keep_origins(state, record, pending) != TRIB_OK)
        return trib_fail(err, TRIB_NOMEM, "out of memory for an update");
    note_rule(state, record, peer, TRIB_RULE_TAKEN);
    peer->weight = record->weight;
    peer->region = trib_rec_has(record, REGION) ? record->region : record->weight;
    peer->answered = record->base_version + 1;
    if (trib_hops_take(state, record) != TRIB_OK)
        return trib_fail(err, TRIB_NOMEM, "out of memory for an update");
    state->gathered.below_updates += record->below_updates;
    state->gathered.below_up_bytes += record->below_up_bytes;
    state->gathered.below_down_bytes += record->below_down_bytes;
    state->gathered.below_raw_bytes += record->below_raw_bytes + record->raw_bytes;
    state->total.accepted++;
    state->total.accepted_samples += record->samples;
    return TRIB_OK;
}

static enum trib_rule_refusal refusal_of(uint64_t reason) {
    return reason == TRIB_REASON_NORM         ? TRIB_RULE_NORM
           : reason == TRIB_REASON_DIRECTION  ? TRIB_RULE_DIRECTION
           : reason == TRIB_REASON_QUARANTINE ? TRIB_RULE_QUARANTINE
                                              : TRIB_RULE_TAKEN;
}

enum trib_status trib_apply_verdict(struct trib_state *state, struct trib_record *record,
                                    struct trib_error *err) {
    struct trib_peer *peer = trib_state_peer(state, record->peer.data, record->peer.size);
    if (peer == NULL || peer->incarnation != record->incarnation || record->number <= peer->last)
        return damaged(err, record, "an update of an unknown participant or number");
    uint64_t judged_before = peer->last;
    peer->last = record->number;
    struct trib_verdict_kept kept = {.number = record->number,
                                     .staleness = record->staleness,
                                     .crc = (uint32_t)record->payload_crc,
                                     .applied = record->applied,
                                     .verdict = (uint8_t)record->verdict,
                                     .reason = (uint8_t)record->reason};
    trib_peer_keep_verdict(peer, &kept);
    if (!trib_chain_verdict(&state->chain, record))
        return trib_fail(err, TRIB_NOMEM, "out of memory to chain a verdict");
    if (trib_rec_has(record, LABELS)) {
        uint32_t shares[TRIB_U64S_MAX];
        if (trib_state_put_labels(state, peer, shares, trib_label_shares(&record->labels, shares)) != TRIB_OK)
            return trib_fail(err, TRIB_NOMEM, "out of memory for labels");
    }
    if (record->verdict == TRIB_ACCEPTED) {
        enum trib_status status = supersede(state, record, peer, judged_before, err);
        return status == TRIB_OK ? accept(state, record, peer, err) : status;
    }
    if (refusal_of(record->reason) != TRIB_RULE_TAKEN)
        note_rule(state, record, peer, refusal_of(record->reason));
    state->total.refused++;
    if (pending_of(state, peer) == NULL) trib_state_consume(state, peer, peer->last);
    return TRIB_OK;
}

/* The record gets the vector's digest. False: it has one already, and another. */
static bool digest_of(const struct trib_state *state, const float *vector, struct trib_record *record) {
    size_t n = trib_state_parameters(state);
    if (trib_rec_has(record, DIGEST)) return trib_digest_matches(vector, n, state->shards, record->digest);
    trib_digest_floats(vector, n, state->shards, record->digest);
    record->present |= (uint64_t)1 << TRIB_R_DIGEST;
    return true;
}

/* Digest and chain of the version that the record makes; what it says already must be the same. */
static enum trib_status chain_version(struct trib_state *state, struct trib_record *record,
                                      struct trib_error *err) {
    if (!digest_of(state, state->own, record))
        return damaged(err, record, "the model has another digest than when it was made");
    memcpy(state->digest, record->digest, sizeof state->digest);
    struct trib_buf members;
    trib_buf_init(&members, 0);
    for (size_t i = 0; record->kind == TRIB_REC_COMMIT && i < state->pending_count; i++) {
        const struct trib_pending *p = &state->pending[i];
        trib_chain_member(&state->chain, &members, state->peers[p->peer].identity, p->incarnation, p->number,
                          p->applied);
    }
    bool done = trib_chain_version(&state->chain, record, &members);
    trib_buf_release(&members);
    if (!done) return trib_fail(err, TRIB_NOMEM, "out of memory for a version");
    if (trib_rec_has(record, LEDGER_CHAIN) &&
        memcmp(record->ledger_chain, state->chain.ledger, sizeof record->ledger_chain) != 0)
        return damaged(err, record, "the ledger's chain is another than when it was made");
    memcpy(record->ledger_chain, state->chain.ledger, sizeof record->ledger_chain);
    record->present |= (uint64_t)1 << TRIB_R_LEDGER_CHAIN;
    if (state->chain.format >= 2) trib_rec_set(record, VERDICTS, verdicts, state->chain.verdicts);
    return TRIB_OK;
}

/* Moves what is pending into `gathered`: an edge's next forward speaks for it. */
static void settle_pending(struct trib_state *state) {
    double weights = 0;
    for (size_t i = 0; i < state->pending_count; i++) weights += (double)state->pending[i].weight;
    struct trib_gathered *g = &state->gathered;
    if (g->updates == 0) g->since_ms = state->now_ms;
    for (size_t i = 0; i < state->pending_count; i++) {
        const struct trib_pending *p = &state->pending[i];
        struct trib_peer *peer = &state->peers[p->peer];
        trib_state_consume(state, peer, peer->last);
        g->updates++;
        g->samples += p->samples;
        g->loss += (double)p->loss * (double)p->samples;
        g->steps += weights > 0 ? (double)p->weight / weights * (double)p->steps : 0;
        if (peer->forward_generation != state->generation) {
            peer->forward_generation = state->generation;
            g->weight += p->weight;
        }
        state->total.committed++;
        state->total.committed_samples += p->samples;
        for (size_t j = 0; j < p->origin_count; j++)
            trib_histogram_add(&g->histogram, p->origins[2 * j], p->origins[2 * j + 1]);
    }
    for (size_t i = 0; i + 1 < state->pending_histogram.count; i += 2)
        trib_histogram_add(&g->histogram, state->pending_histogram.items[i],
                           state->pending_histogram.items[i + 1]);
    trib_state_drop_pending(state);
}

enum trib_status trib_apply_commit(struct trib_state *state, struct trib_record *record,
                                   struct trib_error *err) {
    if (record->version != state->version + 1 || record->commits != state->commits + 1)
        return damaged(err, record, "its version does not follow");
    enum trib_status stepped = trib_state_make_step(state, record, err);
    if (stepped != TRIB_OK) return stepped;
    state->version = record->version;
    state->commits = record->commits;
    state->version_since_ms = state->now_ms;
    state->gathered.below_up_bytes += record->up_bytes;
    state->gathered.below_down_bytes += record->down_bytes;
    if (state->role == TRIB_ROLE_CLOUD) {
        enum trib_status status = chain_version(state, record, err);
        if (status != TRIB_OK) return status;
    }
    state->gathered.below_updates += state->pending_count;
    trib_hops_commit(state, record);
    state->gathered.commits++;
    settle_pending(state);
    trib_rule_note_commit(&state->memory, trib_rule_optimises(state->rule));
    if (trib_rule_form(state->rule) == TRIB_RULE_SERIES) trib_state_age_series(state);
    return TRIB_OK;
}

size_t trib_state_rollback_bytes(const struct trib_state *state) {
    size_t moments = trib_rule_moments(state->rule), vector = trib_state_parameters(state) * sizeof(float);
    return moments > 0 ? (1 + moments) * vector + sizeof(uint64_t) : vector;
}

struct trib_blob *trib_state_rollback_payload(const struct trib_state *state) {
    struct trib_blob *blob = trib_blob_new(trib_state_rollback_bytes(state));
    size_t vector = trib_state_parameters(state) * sizeof(float), moments = trib_rule_moments(state->rule);
    if (blob == NULL) return NULL;
    uint8_t *at = trib_blob_mutable(blob);
    memcpy(at, state->own, vector);
    for (size_t i = 0; i < moments; i++) memcpy(at + (1 + i) * vector, state->moments[i], vector);
    if (moments > 0) trib_put_u64(at + (1 + moments) * vector, state->memory.optimised);
    return blob;
}

/* The optimiser as it was; one that is not told of begins anew. */
static void restore_moments(struct trib_state *state, const struct trib_blob *payload) {
    size_t vector = trib_state_parameters(state) * sizeof(float), moments = trib_rule_moments(state->rule);
    bool told = trib_blob_size(payload) > vector;
    const uint8_t *at = trib_blob_data(payload) + vector;
    for (size_t i = 0; i < moments; i++) {
        if (told)
            memcpy(state->moments[i], at + i * vector, vector);
        else
            memset(state->moments[i], 0, vector);
    }
    if (told) state->memory.optimised = trib_get_u64(at + moments * vector);
}

enum trib_status trib_apply_rollback(struct trib_state *state, struct trib_record *record,
                                     struct trib_error *err) {
    size_t bytes = trib_state_parameters(state) * sizeof(float), size = trib_blob_size(record->payload);
    if (state->role != TRIB_ROLE_CLOUD || record->version != state->version + 1 ||
        record->from_version >= state->version || (size != bytes && size != trib_state_rollback_bytes(state)))
        return damaged(err, record, "it goes back to no earlier version, or without its model");
    memcpy(state->own, trib_blob_data(record->payload), bytes);
    memset(state->step, 0, bytes); /* the direction of versions that are no more */
    state->seed_held = false;
    trib_state_void(state, true);
    state->memory = (struct trib_rule_memory){0}; /* of staleness and intervals that are no more */
    restore_moments(state, record->payload);
    return chain_version(state, record, err);
}

enum trib_status trib_apply_publish(struct trib_state *state, struct trib_record *record,
                                    struct trib_error *err) {
    size_t n = trib_state_parameters(state);
    if (record->version != state->version)
        return damaged(err, record, "it publishes another version than the newest");
    bool exact = record->model_kind == TRIB_MODEL_SNAPSHOT;
    const size_t rung = exact ? 0 : trib_state_rung(state->ladder_pub, record);
    if (!exact && (record->payload == NULL || record->from_version != state->published))
        return damaged(err, record, "an increment without its bytes, or from another version");
    if (rung == SIZE_MAX) return damaged(err, record, "an increment in a codec that is not the plan's");
    if (trib_state_take_back(state, !exact) != TRIB_OK)
        return trib_fail(err, TRIB_NOMEM, "out of memory to publish");
    if (exact) {
        trib_state_drop_increments(state);
        trib_state_model(state, state->P);
        state->exact_next = false;
    } else {
        enum trib_status status =
            trib_codec_add(trib_ladder_codec(state->ladder_pub, rung), trib_blob_data(record->payload),
                           trib_blob_size(record->payload), n, 1.0f, state->P);
        if (status != TRIB_OK) return trib_fail(err, status, "out of memory for an increment");
    }
    state->published_digest_known =
        exact || state->role == TRIB_ROLE_CLOUD || record->version % TRIB_FULL_DIGEST_EVERY == 0;
    if (state->published_digest_known) {
        if (!digest_of(state, state->P, record))
            return damaged(err, record, "the published vector has another digest than when it was published");
        memcpy(state->published_digest, record->digest, sizeof state->published_digest);
    }
    if (exact) {
        trib_digest_chain_start(state->schema.fingerprint, record->digest, record->chain);
        record->present |= (uint64_t)1 << TRIB_R_CHAIN;
    }
    if (!trib_chain_publish(&state->chain, record, trib_blob_size(record->payload)))
        return trib_fail(err, TRIB_NOMEM, "out of memory to chain a publication");
    if (exact)
        state->seed_published =
            state->seed_held && state->commits == 0 && state->held_count == 0 && state->gathered.updates == 0;
    struct trib_base base = {.version = record->version,
                             .commits = state->commits,
                             .origin = state->parent_version,
                             .rung = rung,
                             .increment = exact ? NULL : record->payload};
    memcpy(base.chain, record->chain, sizeof base.chain);
    if (trib_state_add_base(state, &base) != TRIB_OK)
        return trib_fail(err, TRIB_NOMEM, "out of memory to publish");
    state->published = record->version;
    state->published_ms = state->now_ms;
    state->publications++; /* what is consumed is applied */
    return TRIB_OK;
}
