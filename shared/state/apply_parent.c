/* Records of the child's side: an update of this node's own left, was judged, and a model came from the
 * parent. */
#include "shared/state/internal.h"

#include "shared/base/bytes.h"
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
static void subtract(struct trib_state *state, const struct trib_plain *plain) {
    struct trib_decoder decoder;
    size_t n = trib_state_parameters(state);
    trib_decoder_start(&decoder, state->codec_out, plain->data, plain->bytes, n);
    trib_decoder_add(&decoder, n, -1.0f, state->own);
}

enum trib_status trib_apply_forward(struct trib_state *state, struct trib_record *record,
                                    struct trib_error *err) {
    if (record->number != state->next_number || state->held_count == TRIB_HELD_MAX || record->payload == NULL)
        return damaged(err, record, "an update out of order, without its bytes, or beyond what may be held");
    size_t n = trib_state_parameters(state);
    bool replayed = state->role == TRIB_ROLE_DEVICE && !state->gathered_here;
    struct trib_plain plain;
    enum trib_status status = trib_plain_open(state->codec_out, trib_blob_data(record->payload),
                                              trib_blob_size(record->payload), n, &plain, err);
    if (status != TRIB_OK) return status;
    if (replayed) /* what it was made of is not recorded: nothing is known to be left of it */
        memset(state->own, 0, n * sizeof *state->own);
    else
        subtract(state, &plain);
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
                               .histogram = record->histogram,
                               .payload = trib_blob_ref(record->payload),
                               .plain = plain};
    held->base_digest_known = parent_digest(state, held->base_version, held->base_digest);
    state->next_number++;
    state->generation++;
    state->total.forwarded_samples += record->samples;
    state->gathered = (struct trib_gathered){.since_ms = state->now_ms};
    return TRIB_OK;
}

enum trib_status trib_apply_acked(struct trib_state *state, struct trib_record *record,
                                  struct trib_error *err) {
    for (size_t i = 0; i < state->held_count; i++) {
        struct trib_held *held = &state->held[i];
        if (held->number != record->number) continue;
        held->acknowledged = record->verdict == TRIB_ACCEPTED;
        bool refused = record->verdict == TRIB_REFUSED;
        if (refused) state->total.void_samples += held->samples;
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

/* Increments are in the plan's codec, or in that which the message named. */
static enum trib_status add_increments(struct trib_state *state, const struct trib_record *record,
                                       struct trib_error *err) {
    size_t n = trib_state_parameters(state), bytes = trib_blob_size(record->payload), at = 0;
    const uint8_t *data = trib_blob_data(record->payload);
    struct trib_codec *named = NULL;
    enum trib_status status = trib_record_codec(state, record, &named, err);
    const struct trib_codec *codec = named != NULL ? named : state->codec_held;
    for (size_t i = 0; status == TRIB_OK && i < record->increments.count; i++) {
        uint64_t size = record->increments.items[i];
        if (size > bytes - at) {
            status = damaged(err, record, "increments longer than their payload");
            break;
        }
        status = trib_codec_add(codec, data + at, (size_t)size, n, 1.0f, state->G);
        if (status != TRIB_OK) (void)trib_fail(err, status, "out of memory for an increment");
        at += (size_t)size;
    }
    trib_codec_free(&named);
    if (status != TRIB_OK) return status;
    return at == bytes ? TRIB_OK : damaged(err, record, "increments shorter than their payload");
}

static enum trib_status replace_model(struct trib_state *state, const struct trib_record *record,
                                      struct trib_error *err) {
    size_t n = trib_state_parameters(state), bytes = trib_blob_size(record->payload);
    state->seed_held = record->model_kind == TRIB_MODEL_SEED;
    switch (record->model_kind) {
    case TRIB_MODEL_SEED:
        trib_schema_draw(&state->schema, record->seed, state->G);
        state->seed = record->seed;
        return TRIB_OK;
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

enum trib_status trib_apply_parent(struct trib_state *state, struct trib_record *record,
                                   struct trib_error *err) {
    /* A device that was started again may hold no model, and still what is left of its work on one. */
    bool crossed = state->parent_count > 0 && record->fence > state->parent_version;
    enum trib_status status = replace_model(state, record, err);
    if (status != TRIB_OK) return status;
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
    } else if (state->role == TRIB_ROLE_EDGE) {
        state->version++;
        state->version_since_ms = state->now_ms;
    }
    return TRIB_OK;
}
