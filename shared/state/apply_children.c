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

/* An encoded vector that is being read. */
struct reading {
    struct trib_plain plain;
    struct trib_decoder decoder;
};

static enum trib_status start_reading(struct reading *r, const struct trib_codec *codec,
                                      const struct trib_blob *blob, size_t n) {
    enum trib_status status =
        trib_plain_open(codec, trib_blob_data(blob), trib_blob_size(blob), n, &r->plain, NULL);
    if (status == TRIB_OK) trib_decoder_start(&r->decoder, codec, r->plain.data, r->plain.bytes, n);
    return status;
}

/* own += w * ((P_base - S) + u), in blocks, where P_base is P less the `later` increments. */
static void mix_blocks(struct trib_state *state, float w, struct reading *update, struct reading *increments,
                       size_t later, struct trib_model_reader *reader, float *block) {
    const struct trib_kernels *k = trib_kernels();
    const size_t n = trib_state_parameters(state);
    struct trib_source model = trib_state_source(state, false, reader);
    float *difference = block, *s = block + TRIB_CODEC_BLOCK;
    for (size_t at = 0; at < n; at += TRIB_CODEC_BLOCK) {
        size_t count = n - at < TRIB_CODEC_BLOCK ? n - at : TRIB_CODEC_BLOCK;
        memcpy(difference, state->P + at, count * sizeof *difference);
        for (size_t i = 0; i < later; i++) trib_decoder_add(&increments[i].decoder, count, -1.0f, difference);
        model.read(model.ctx, at, count, s);
        k->add_scaled(difference, s, -1.0f, count);
        trib_decoder_add(&update->decoder, count, 1.0f, difference);
        k->add_scaled(state->own + at, difference, w, count);
    }
}

/* P_base is P less the increments that came after base, newest first. */
static enum trib_status mix(struct trib_state *state, const struct trib_record *record,
                            const struct trib_codec *codec) {
    size_t n = trib_state_parameters(state), later = 0;
    while (later < state->base_count &&
           state->bases[state->base_count - 1 - later].version > record->base_version)
        later++;
    struct reading *increments = trib_alloc_array(later + 1, sizeof *increments); /* and the update */
    struct trib_model_reader *reader = trib_alloc(sizeof *reader);
    float *block = trib_alloc_floats(2 * TRIB_CODEC_BLOCK);
    enum trib_status status = increments != NULL && reader != NULL && block != NULL ? TRIB_OK : TRIB_NOMEM;
    for (size_t i = 0; status == TRIB_OK && i < later; i++) {
        const struct trib_blob *c = state->bases[state->base_count - 1 - i].increment;
        /* the decider refuses a base without them */
        status = c == NULL ? TRIB_CORRUPT : start_reading(&increments[i], state->codec_pub, c, n);
    }
    if (status == TRIB_OK) status = start_reading(&increments[later], codec, record->payload, n);
    if (status == TRIB_OK)
        mix_blocks(state, record->applied, &increments[later], increments, later, reader, block);
    for (size_t i = 0; increments != NULL && i <= later; i++) trib_plain_release(&increments[i].plain);
    trib_free(increments);
    trib_free(reader);
    trib_free(block);
    return status;
}

/* The update's vector goes where the rule's form says. */
static enum trib_status take_payload(struct trib_state *state, const struct trib_record *record,
                                     struct trib_error *err) {
    struct trib_codec *own_codec;
    enum trib_status status = trib_record_codec(state, record, &own_codec, err);
    if (status != TRIB_OK) return status;
    const struct trib_codec *codec = own_codec != NULL ? own_codec : state->codec_in;
    size_t n = trib_state_parameters(state), bytes = trib_blob_size(record->payload);
    const uint8_t *data = trib_blob_data(record->payload);
    enum trib_rule_form form = trib_rule_form(state->rule);
    if (form == TRIB_RULE_GATHERING)
        status = trib_codec_add(codec, data, bytes, n, record->applied, state->A);
    else if (form == TRIB_RULE_IMMEDIATE)
        status = trib_codec_add(codec, data, bytes, n, record->applied, state->own);
    else
        status = mix(state, record, codec);
    if (status == TRIB_OK && state->step != NULL && form != TRIB_RULE_GATHERING) {
        memset(state->step, 0, n * sizeof *state->step);
        status = trib_codec_add(codec, data, bytes, n, 1.0f, state->step);
    }
    trib_codec_free(&own_codec);
    return status == TRIB_OK ? TRIB_OK : trib_fail(err, status, "an update could not be mixed in");
}

/* Where the update's work started, in the parent's versions: a device names one base of ours, an edge below
 * names several in its histogram. */
static void note_origins(struct trib_state *state, const struct trib_record *record) {
    if (record->histogram.count == 0) {
        const struct trib_base *base = trib_state_base(state, record->base_version);
        trib_histogram_add(&state->pending_histogram, base != NULL ? base->origin : 0, record->samples);
        return;
    }
    for (size_t i = 0; i + 1 < record->histogram.count; i += 2) {
        const struct trib_base *base = trib_state_base(state, record->histogram.items[i]);
        if (base == NULL && state->base_count > 0) base = &state->bases[0];
        trib_histogram_add(&state->pending_histogram, base != NULL ? base->origin : 0,
                           record->histogram.items[i + 1]);
    }
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
    };
    return TRIB_OK;
}

static bool has_pending(const struct trib_state *state, const struct trib_peer *peer) {
    for (size_t i = 0; i < state->pending_count; i++)
        if (state->pending[i].peer == (size_t)(peer - state->peers)) return true;
    return false;
}

static enum trib_status accept(struct trib_state *state, const struct trib_record *record,
                               struct trib_peer *peer, struct trib_error *err) {
    if (record->payload == NULL) return damaged(err, record, "an accepted update without its payload");
    if (add_pending(state, record, peer) != TRIB_OK)
        return trib_fail(err, TRIB_NOMEM, "out of memory for an update");
    enum trib_status status = take_payload(state, record, err);
    if (status != TRIB_OK) return status;
    note_origins(state, record);
    struct trib_rule_weight weight = {
        .factor = record->factor, .applied = record->applied, .norm = record->norm_add};
    trib_rule_note_update(&state->memory, &weight, record->now_ms);
    peer->weight = record->weight;
    peer->region = trib_rec_has(record, REGION) ? record->region : record->weight;
    peer->answered = record->base_version + 1;
    state->gathered.below_updates += record->below_updates;
    state->gathered.below_up_bytes += record->below_up_bytes;
    state->gathered.below_down_bytes += record->below_down_bytes;
    state->gathered.below_raw_bytes += record->below_raw_bytes + record->raw_bytes;
    state->total.accepted++;
    state->total.accepted_samples += record->samples;
    return TRIB_OK;
}

enum trib_status trib_apply_verdict(struct trib_state *state, struct trib_record *record,
                                    struct trib_error *err) {
    struct trib_peer *peer = trib_state_peer(state, record->peer.data, record->peer.size);
    if (peer == NULL || peer->incarnation != record->incarnation || record->number <= peer->last)
        return damaged(err, record, "an update of an unknown participant or number");
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
    if (record->verdict == TRIB_ACCEPTED) return accept(state, record, peer, err);
    state->total.refused++;
    if (!has_pending(state, peer)) peer->consumed = peer->last;
    return TRIB_OK;
}

/* Digest and chain of the version that the record makes; what it says already must be the same. */
static enum trib_status chain_version(struct trib_state *state, struct trib_record *record,
                                      struct trib_error *err) {
    trib_digest_floats(state->own, trib_state_parameters(state), state->digest);
    if (trib_rec_has(record, DIGEST) && memcmp(record->digest, state->digest, sizeof state->digest) != 0)
        return damaged(err, record, "the model has another digest than when it was made");
    memcpy(record->digest, state->digest, sizeof record->digest);
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
    record->present |= (uint64_t)1 << TRIB_R_DIGEST | (uint64_t)1 << TRIB_R_LEDGER_CHAIN;
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
        peer->consumed = peer->last;
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
    }
    for (size_t i = 0; i + 1 < state->pending_histogram.count; i += 2)
        trib_histogram_add(&g->histogram, state->pending_histogram.items[i],
                           state->pending_histogram.items[i + 1]);
    state->pending_histogram.count = 0;
    state->pending_count = 0;
}

enum trib_status trib_apply_commit(struct trib_state *state, struct trib_record *record,
                                   struct trib_error *err) {
    if (record->version != state->version + 1 || record->commits != state->commits + 1)
        return damaged(err, record, "its version does not follow");
    const struct trib_kernels *k = trib_kernels();
    size_t n = trib_state_parameters(state);
    if (trib_rule_form(state->rule) == TRIB_RULE_GATHERING) {
        k->add_scaled(state->own, state->A, record->scale, n);
        if (state->step != NULL) memcpy(state->step, state->A, n * sizeof *state->step);
        memset(state->A, 0, n * sizeof *state->A);
    }
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
    settle_pending(state);
    trib_rule_note_commit(&state->memory);
    return TRIB_OK;
}

enum trib_status trib_apply_rollback(struct trib_state *state, struct trib_record *record,
                                     struct trib_error *err) {
    size_t bytes = trib_state_parameters(state) * sizeof(float);
    if (state->role != TRIB_ROLE_CLOUD || record->version != state->version + 1 ||
        record->from_version >= state->version || trib_blob_size(record->payload) != bytes)
        return damaged(err, record, "it goes back to no earlier version, or without its model");
    memcpy(state->own, trib_blob_data(record->payload), bytes);
    memset(state->step, 0, bytes); /* the direction of versions that are no more */
    state->seed_held = false;
    trib_state_void(state, true);
    state->memory = (struct trib_rule_memory){0}; /* of staleness and intervals that are no more */
    return chain_version(state, record, err);
}

enum trib_status trib_apply_publish(struct trib_state *state, struct trib_record *record,
                                    struct trib_error *err) {
    size_t n = trib_state_parameters(state);
    if (record->version != state->version)
        return damaged(err, record, "it publishes another version than the newest");
    bool exact = record->model_kind == TRIB_MODEL_SNAPSHOT;
    if (!exact && (record->payload == NULL || record->from_version != state->published))
        return damaged(err, record, "an increment without its bytes, or from another version");
    if (trib_state_take_back(state, !exact) != TRIB_OK)
        return trib_fail(err, TRIB_NOMEM, "out of memory to publish");
    if (exact) {
        trib_state_drop_increments(state);
        trib_state_model(state, state->P);
        state->exact_next = false;
    } else {
        enum trib_status status = trib_codec_add(state->codec_pub, trib_blob_data(record->payload),
                                                 trib_blob_size(record->payload), n, 1.0f, state->P);
        if (status != TRIB_OK) return trib_fail(err, status, "out of memory for an increment");
    }
    bool told = trib_rec_has(record, DIGEST);
    state->published_digest_known =
        exact || state->role == TRIB_ROLE_CLOUD || record->version % TRIB_FULL_DIGEST_EVERY == 0;
    if (state->published_digest_known) {
        trib_digest_floats(state->P, n, state->published_digest);
        if (told && memcmp(record->digest, state->published_digest, sizeof record->digest) != 0)
            return damaged(err, record, "the published vector has another digest than when it was published");
        memcpy(record->digest, state->published_digest, sizeof record->digest);
        record->present |= (uint64_t)1 << TRIB_R_DIGEST;
    }
    if (exact) {
        trib_digest_chain_start(state->schema.fingerprint, record->digest, record->chain);
        record->present |= (uint64_t)1 << TRIB_R_CHAIN;
    }
    if (!trib_chain_publish(&state->chain, record, trib_blob_size(record->payload)))
        return trib_fail(err, TRIB_NOMEM, "out of memory to chain a publication");
    state->seed_published = exact && state->seed_held && state->commits == 0 && state->held_count == 0 &&
                            state->gathered.updates == 0;
    struct trib_base base = {.version = record->version,
                             .commits = state->commits,
                             .origin = state->parent_version,
                             .increment = exact ? NULL : record->payload};
    memcpy(base.chain, record->chain, sizeof base.chain);
    if (trib_state_add_base(state, &base) != TRIB_OK)
        return trib_fail(err, TRIB_NOMEM, "out of memory to publish");
    state->published = record->version;
    state->published_ms = state->now_ms;
    for (size_t i = 0; i < state->peer_count; i++) state->peers[i].applied = state->peers[i].consumed;
    return TRIB_OK;
}
