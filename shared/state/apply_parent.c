/* Records of the child's side: an update of this node's own left, was judged, and a model came from the
 * parent. */
#include "shared/state/internal.h"

#include "shared/base/alloc.h"
#include "shared/base/bytes.h"
#include "shared/codec/specs.h"
#include "shared/model/digest.h"

#include <string.h>

static enum trib_status damaged(struct trib_error *err, const struct trib_record *record, const char *what) {
    return trib_fail(err, TRIB_CORRUPT, "record %llu (%s): %s", (unsigned long long)record->position,
                     trib_record_name(record->kind), what);
}

/* The first bytes of the chain digest of a parent version that was held here, if it is still remembered; of
 * the newest with that number: a parent that was restored from a backup makes some numbers twice. */
static bool parent_digest(const struct trib_state *state, uint64_t version, uint8_t out[4]) {
    size_t kept = state->parent_count < TRIB_PARENTS_KEPT ? state->parent_count : TRIB_PARENTS_KEPT;
    for (size_t i = 0; i < kept; i++) {
        size_t slot = (state->parent_count - 1 - i) % TRIB_PARENTS_KEPT;
        if (state->parents[slot].version != version) continue;
        memcpy(out, state->parents[slot].digest, 4);
        return true;
    }
    return false;
}

/* own -= what was sent */
static void subtract(struct trib_state *state, const struct trib_codec *codec,
                     const struct trib_plain *plain) {
    struct trib_decoder decoder;
    size_t n = trib_state_parameters(state);
    trib_decoder_start(&decoder, codec, plain->data, plain->bytes, n);
    trib_decoder_add(&decoder, n, -1.0f, state->own);
}

/* *out stays NULL for an empty list. */
static enum trib_status copied(const struct trib_u64s *list, struct trib_u64s **out) {
    if (list->count == 0) return TRIB_OK;
    *out = trib_alloc(sizeof **out);
    if (*out == NULL) return TRIB_NOMEM;
    **out = *list;
    return TRIB_OK;
}

enum trib_status trib_apply_forward(struct trib_state *state, struct trib_record *record,
                                    struct trib_error *err) {
    if (record->number != state->next_number || state->held_count == TRIB_HELD_MAX || record->payload == NULL)
        return damaged(err, record, "an update out of order, without its bytes, or beyond what may be held");
    size_t n = trib_state_parameters(state);
    size_t rung = trib_state_rung(state->ladder_out, record);
    if (rung == SIZE_MAX) return damaged(err, record, "an update in a codec that is not the plan's");
    const struct trib_codec *codec = trib_ladder_codec(state->ladder_out, rung);
    bool replayed = state->role == TRIB_ROLE_DEVICE && !state->gathered_here;
    struct trib_plain plain;
    struct trib_u64s *histogram = NULL, *hops = NULL;
    enum trib_status status = trib_state_room_held(state, state->held_count + 1);
    if (status == TRIB_OK) status = copied(&record->histogram, &histogram);
    if (status == TRIB_OK) status = copied(&record->hops, &hops);
    if (status != TRIB_OK)
        (void)trib_fail(err, status, "out of memory for an update");
    else
        status = trib_plain_open(codec, trib_blob_data(record->payload), trib_blob_size(record->payload), n,
                                 &plain, err);
    if (status != TRIB_OK) {
        trib_free(histogram);
        trib_free(hops);
        return status;
    }
    if (replayed) /* what it was made of is not recorded: nothing is known to be left of it */
        memset(state->own, 0, n * sizeof *state->own);
    else
        subtract(state, codec, &plain);
    state->gathered_here = false;
    struct trib_held *held = &state->held[state->held_count++];
    *held = (struct trib_held){.number = record->number,
                               .base_version = record->base_version,
                               .samples = record->samples,
                               .weight = record->weight,
                               .region = record->region,
                               .steps = record->steps,
                               .loss = record->loss,
                               .payload_crc = record->payload_crc,
                               .below_updates = record->below_updates,
                               .below_up_bytes = record->below_up_bytes,
                               .below_down_bytes = record->below_down_bytes,
                               .below_raw_bytes = record->below_raw_bytes,
                               .histogram = histogram,
                               .hops = hops,
                               .rung = rung,
                               .payload = trib_blob_ref(record->payload),
                               .plain = plain};
    held->base_digest_known = parent_digest(state, held->base_version, held->base_digest);
    state->next_number++;
    state->generation++;
    if (state->role == TRIB_ROLE_EDGE && state->plan.elastic > 0.0) { /* it moved by what it gave up */
        state->version++;
        state->version_since_ms = state->now_ms;
    }
    state->total.forwarded_samples +=
        state->role == TRIB_ROLE_EDGE ? state->gathered.samples : record->samples;
    memset(&state->gathered, 0, offsetof(struct trib_gathered, histogram.items));
    state->gathered.since_ms = state->now_ms;
    trib_hops_clear(state);
    return TRIB_OK;
}

/* own += what was refused, from the first of the parts that are added up (SCAFFOLD's, AREA's): the parent
 * does not have it, and what the devices keep says that it was given. It goes with the next update. */
static void put_back(struct trib_state *state, const struct trib_held *held) {
    struct trib_decoder decoder;
    size_t n = trib_state_parameters(state), from = state->sum_from;
    if (from == n) return;
    trib_decoder_start(&decoder, trib_ladder_codec(state->ladder_out, held->rung), held->plain.data,
                       held->plain.bytes, n);
    trib_decoder_skip(&decoder, from);
    trib_decoder_add(&decoder, n - from, 1.0f, state->own + from);
}

enum trib_status trib_apply_acked(struct trib_state *state, struct trib_record *record,
                                  struct trib_error *err) {
    for (size_t i = 0; i < state->held_count; i++) {
        struct trib_held *held = &state->held[i];
        if (held->number != record->number) continue;
        held->acknowledged = record->verdict == TRIB_ACCEPTED;
        bool refused = record->verdict == TRIB_REFUSED;
        if (refused) state->total.void_samples += held->samples;
        /* Behind a fence everybody begins again from what the parent has. */
        if (refused && record->reason != TRIB_REASON_FENCE) put_back(state, held);
        if (refused || (held->acknowledged && state->role == TRIB_ROLE_DEVICE))
            trib_state_drop_held(state, i);
        if (refused && state->role == TRIB_ROLE_EDGE) { /* it leaves S */
            state->version++;
            state->version_since_ms = state->now_ms;
        }
        return TRIB_OK;
    }
    return damaged(err, record, "a verdict on an update that is not held");
}

/* Increments are in the plan's codec, or in those which the message named. */
static enum trib_status add_increments(struct trib_state *state, const struct trib_record *record,
                                       struct trib_error *err) {
    size_t n = trib_state_parameters(state), bytes = trib_blob_size(record->payload), at = 0;
    const uint8_t *data = trib_blob_data(record->payload);
    const struct trib_codec *codec;
    struct trib_specs specs;
    enum trib_status status = TRIB_OK;
    trib_specs_start(&specs, record->codec.data, record->codec.size, trib_ladder_top(state->ladder_held),
                     &state->schema);
    for (size_t i = 0; status == TRIB_OK && i < record->increments.count; i++) {
        uint64_t size = record->increments.items[i];
        if (size > bytes - at) {
            status = damaged(err, record, "increments longer than their payload");
            break;
        }
        status = trib_specs_next(&specs, &codec, err);
        if (status != TRIB_OK) break;
        status = trib_codec_add(codec, data + at, (size_t)size, n, 1.0f, state->G);
        if (status != TRIB_OK) (void)trib_fail(err, status, "out of memory for an increment");
        at += (size_t)size;
    }
    (void)trib_specs_end(&specs);
    if (status != TRIB_OK) return status;
    return at == bytes ? TRIB_OK : damaged(err, record, "increments shorter than their payload");
}

static enum trib_status replace_model(struct trib_state *state, const struct trib_record *record,
                                      struct trib_error *err) {
    size_t n = trib_state_parameters(state), bytes = trib_blob_size(record->payload);
    state->seed_held = record->model_kind == TRIB_MODEL_SEED && record->payload == NULL;
    switch (record->model_kind) {
    case TRIB_MODEL_SEED:
        trib_schema_draw(&state->schema, record->seed, state->G);
        state->seed = record->seed;
        return record->payload == NULL ? TRIB_OK : add_increments(state, record, err);
    case TRIB_MODEL_SNAPSHOT:
        if (bytes != n * sizeof(float)) return damaged(err, record, "a snapshot of the wrong size");
        memcpy(state->G, trib_blob_data(record->payload), bytes);
        return TRIB_OK;
    case TRIB_MODEL_INCREMENTS:
        if (!state->has_model || record->from_version != state->parent_version)
            return damaged(err, record, "increments from a version that is not held");
        return add_increments(state, record, err);
    default: return damaged(err, record, "a model of unknown kind");
    }
}

/* What the devices keep and what the abandoned versions had of it no longer agree. Each begins again as if it
 * had just sent what this model has: SCAFFOLD's c_i is c, AREA's last model is this one; so c is the mean of
 * the c_i again, and the model that of the last ones, but for what others have sent since the rollback. What
 * concerns the device alone is dropped. */
static void restart_local(struct trib_state *state) {
    size_t n = state->schema.model_parameters;
    for (size_t i = 0; i < TRIB_LOCAL_MAX; i++) {
        float *kept = state->local[i];
        if (kept == NULL) continue;
        if (i == TRIB_LOCAL_VARIATE && trib_state_parameters(state) == 2 * n) {
            memcpy(kept, state->G + n, n * sizeof *kept);
        } else if (i == TRIB_LOCAL_LAST) {
            memcpy(kept, state->G, n * sizeof *kept);
        } else {
            trib_free(kept);
            state->local[i] = NULL;
        }
    }
}

enum trib_status trib_apply_parent(struct trib_state *state, struct trib_record *record,
                                   struct trib_error *err) {
    /* A device that was started again may hold no model, and still what is left of its work on one. */
    bool crossed = state->parent_count > 0 && record->fence > state->parent_version;
    /* Elastic: the edge's model stays where it is, whatever its parent's does: own -= G' - G. */
    bool stays = state->role == TRIB_ROLE_EDGE && state->plan.elastic > 0.0 && state->has_model;
    size_t n = trib_state_parameters(state);
    if (stays) trib_kernels()->add_scaled(state->own, state->G, 1.0f, n);
    enum trib_status status = replace_model(state, record, err);
    if (status != TRIB_OK) return status;
    if (stays) trib_kernels()->add_scaled(state->own, state->G, -1.0f, n);
    state->has_model = true;
    state->parent_version = record->version;
    state->parent_fence = record->fence;
    memcpy(state->parent_chain, record->chain, sizeof state->parent_chain);
    size_t slot = state->parent_count++ % TRIB_PARENTS_KEPT;
    state->parents[slot].version = record->version;
    memcpy(state->parents[slot].digest, record->chain, sizeof state->parents[slot].digest);
    while (state->held_count > 0 && state->held[0].number <= record->applied_number)
        trib_state_drop_held(state, 0);
    if (crossed) { /* a rollback: what was built on abandoned versions is void; held forwards will be refused
                    */
        trib_state_void(state, false);
        restart_local(state);
    } else if (state->role == TRIB_ROLE_EDGE) {
        state->version++;
        state->version_since_ms = state->now_ms;
    }
    return TRIB_OK;
}
