/* Models coming down: asked for, checked, taken. */
#include "shared/kernels/kernels.h"
#include "shared/model/digest.h"
#include "shared/participant/internal.h"

#include "shared/base/alloc.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* In one frame comes what the line takes at once: whatever follows waits for the whole of it. */
static size_t frame_bytes(const struct trib_participant *p) {
    size_t limit = p->pace.trips[0] != 0 ? p->pace.window : TRIB_FREE_PAYLOAD;
    return limit < p->options.frame_bytes ? limit : p->options.frame_bytes;
}

void trib_participant_pull(struct trib_participant *p) {
    const struct trib_state *s = p->state;
    struct trib_msg msg = {.type = TRIB_PULL};
    if (s->has_model && !p->without_model) {
        trib_msg_set(&msg, HELD_VERSION, held_version, s->parent_version);
        memcpy(msg.held_digest, s->parent_chain, sizeof msg.held_digest);
        msg.present |= (uint64_t)1 << TRIB_F_HELD_DIGEST;
    }
    trib_msg_set(&msg, CREDIT, credit, frame_bytes(p));
    trib_participant_report(p, &msg);
    if (trib_ladder_count(s->ladder_held) > 1 && trib_transfers_rate(&p->fetched) >= 1)
        trib_msg_set(&msg, RATE, rate, (uint64_t)trib_transfers_rate(&p->fetched));
    p->pull_open = true;
    p->pull_sent_ms = p->pull_began_ms = p->now_ms;
    trib_participant_send(p, &msg, NULL);
}

/* What the parent sent does not fit what is held: asks for all of it. */
static void start_over(struct trib_participant *p, const char *why) {
    trib_outbox_event(p->outbox, p->state, p->now_ms, false, TRIB_LOG_WARN, "model_refused", "error=\"%s\"",
                      why);
    trib_inbound_drop(&p->incoming);
    p->without_model = true;
    p->pull_open = false;
    p->pull_at_ms = p->now_ms + BACKOFF_MIN_MS;
}

/* The increments of a payload lead from the version of `chain` to the message's. */
static const char *check_bytes(struct trib_specs *specs, const struct trib_state *s,
                               const struct trib_msg *msg, const struct trib_blob *payload, uint8_t *chain) {
    const uint8_t *data = trib_blob_data(payload);
    size_t left = trib_blob_size(payload);
    for (size_t i = 0; i < msg->parts.count; i++) {
        uint64_t size = msg->parts.items[i];
        const struct trib_codec *codec;
        if (size > left) return "increments longer than their payload";
        if (trib_specs_next(specs, &codec, NULL) != TRIB_OK)
            return "increments of a codec that is unknown here";
        if (trib_codec_check(codec, data, (size_t)size, trib_state_parameters(s), NULL, NULL) != TRIB_OK)
            return "an increment that is not of the plan's codec";
        trib_digest_chain(chain, data, (size_t)size, chain);
        data += size;
        left -= (size_t)size;
    }
    if (left != 0) return "increments shorter than their payload";
    return memcmp(chain, msg->to_digest, TRIB_DIGEST_BYTES) == 0 ? NULL
                                                                 : "increments with another chain digest";
}

static const char *check_increments(const struct trib_participant *p, const struct trib_msg *msg,
                                    const struct trib_blob *payload, uint8_t *chain) {
    const struct trib_state *s = p->state;
    struct trib_specs specs;
    trib_specs_start(&specs, msg->codec.data, msg->codec.size, trib_ladder_top(s->ladder_held), &s->schema);
    const char *problem = check_bytes(&specs, s, msg, payload, chain);
    if (!trib_specs_end(&specs) && problem == NULL) problem = "more codecs than increments";
    return problem;
}

static const char *check_from_held(const struct trib_participant *p, const struct trib_msg *msg,
                                   const struct trib_blob *payload) {
    const struct trib_state *s = p->state;
    uint8_t chain[TRIB_DIGEST_BYTES];
    if (!s->has_model || msg->from_version != s->parent_version ||
        memcmp(msg->from_digest, s->parent_chain, sizeof msg->from_digest) != 0)
        return "increments from a version that is not held";
    memcpy(chain, s->parent_chain, sizeof chain);
    return check_increments(p, msg, payload, chain);
}

/* `values`: room for the model. */
static const char *check_seed(const struct trib_participant *p, const struct trib_msg *msg,
                              const struct trib_blob *payload, float *values) {
    const struct trib_state *s = p->state;
    size_t n = trib_state_parameters(s);
    uint8_t full[TRIB_DIGEST_BYTES], chain[TRIB_DIGEST_BYTES];
    trib_schema_draw(&s->schema, msg->seed, values);
    trib_digest_floats(values, n, s->shards, full);
    trib_digest_chain_start(s->schema.fingerprint, full, chain);
    if (payload != NULL) return check_increments(p, msg, payload, chain);
    return memcmp(chain, msg->to_digest, sizeof chain) == 0 ? NULL : "a seed that gives another model here";
}

static const char *check_snapshot(const struct trib_participant *p, const struct trib_msg *msg,
                                  const struct trib_blob *payload, float *values) {
    size_t n = trib_state_parameters(p->state);
    if (trib_blob_size(payload) != n * sizeof *values) return "a snapshot of the wrong size";
    memcpy(values, trib_blob_data(payload), n * sizeof *values); /* aligned */
    if (!trib_digest_matches(values, n, p->state->shards, msg->full_digest))
        return "a snapshot with another digest";
    return trib_kernels()->all_finite(values, n) ? NULL : "a model with NaN or infinity";
}

static const char *check_whole(const struct trib_participant *p, const struct trib_msg *msg,
                               const struct trib_blob *payload) {
    float *values = trib_alloc_array(trib_state_parameters(p->state), sizeof *values);
    if (values == NULL) return "out of memory for a model";
    const char *problem = msg->kind == TRIB_MODEL_SEED ? check_seed(p, msg, payload, values)
                                                       : check_snapshot(p, msg, payload, values);
    trib_free(values);
    return problem;
}

/* CREDIT for what is coming in. */
static void credit(struct trib_participant *p) {
    size_t chunk, window = trib_pace_grant(&p->pace, p->now_ms, &chunk);
    struct trib_msg msg = {.type = TRIB_CREDIT};
    trib_msg_set(&msg, NUMBER, number, p->incoming.number);
    trib_msg_set(&msg, OFFSET, offset, p->incoming.have);
    trib_msg_set(&msg, CHUNK_BYTES, chunk_bytes, chunk);
    trib_msg_set(&msg, WINDOW_BYTES, window_bytes, window);
    trib_participant_send(p, &msg, NULL);
}

/* Nothing of it is on its way: it begins, goes on after a connection, or a piece was lost. */
static void credit_from_here(struct trib_participant *p) {
    trib_pace_start(&p->pace, p->incoming.have, p->incoming.total);
    p->pull_sent_ms = p->piece_ms = p->now_ms;
    credit(p);
}

static void model_ready(struct trib_participant *p) {
    p->pull_open = false;
    p->without_model = false;
    if (p->given_from == UINT64_MAX) p->given_from = p->state->parent_version;
    if (p->state->role == TRIB_ROLE_DEVICE) {
        /* Before its last update is judged it cannot go on: then it asks again. */
        if (p->training || trib_participant_unacknowledged(p) != NULL) return;
        p->want_model = false;
        p->training = true;
        trib_outbox_simple(p->outbox, TRIB_ACTION_TRAIN);
    } else {
        p->pull_at_ms = p->now_ms + EDGE_PULL_MS;
    }
}

static void take_model(struct trib_participant *p, const struct trib_msg *msg, struct trib_blob *payload) {
    const char *problem = msg->kind == TRIB_MODEL_INCREMENTS ? check_from_held(p, msg, payload)
                          : msg->kind == TRIB_MODEL_SEED || msg->kind == TRIB_MODEL_SNAPSHOT
                              ? check_whole(p, msg, payload)
                              : "a model of unknown kind";
    if (problem != NULL) {
        start_over(p, problem);
        return;
    }
    struct trib_record record = {.kind = TRIB_REC_PARENT, .payload = payload};
    trib_rec_set(&record, MODEL_KIND, model_kind, msg->kind);
    trib_rec_set(&record, FROM, from_version, msg->from_version);
    trib_rec_set(&record, VERSION, version, msg->to_version);
    trib_rec_set(&record, FENCE, fence, msg->fence);
    trib_rec_set(&record, APPLIED_NUMBER, applied_number, msg->applied);
    trib_rec_set(&record, INCREMENTS, increments, msg->parts);
    if (msg->codec.size > 0) trib_rec_set(&record, CODEC, codec, msg->codec);
    if (msg->kind == TRIB_MODEL_SEED) trib_rec_set(&record, SEED, seed, msg->seed);
    memcpy(record.chain, msg->to_digest, sizeof record.chain);
    record.present |= (uint64_t)1 << TRIB_R_CHAIN;
    if (!trib_participant_record(p, &record)) return;
    if (payload != NULL && p->pull_began_ms != 0)
        trib_transfers_note(&p->fetched, trib_blob_size(payload), p->now_ms - p->pull_began_ms);
    if (msg->kind != TRIB_MODEL_SNAPSHOT && trib_msg_has(msg, FULL_DIGEST) &&
        !trib_digest_matches(p->state->G, trib_state_parameters(p->state), p->state->shards,
                             msg->full_digest)) {
        start_over(p, "increments that led to another model than the parent's");
        return;
    }
    model_ready(p);
}

/* The model says that a forward is settled whose ACK was lost. Accepted, it leaves; refused, it is void, and
 * only the ACK says which: it is asked for first. Not while the parent cannot say so either. */
static bool verdict_is_missing(struct trib_participant *p, const struct trib_msg *msg) {
    const struct trib_held *held = trib_participant_unacknowledged(p);
    if (p->state->role != TRIB_ROLE_EDGE || held == NULL || held->number > msg->applied ||
        p->now_ms < p->retry_push_ms)
        return false;
    if (held->number > p->last_number) p->last_number = held->number; /* the question needs no bytes */
    p->pushed_number = 0;
    p->pull_open = false;
    p->pull_at_ms = p->now_ms + BACKOFF_MIN_MS;
    return true;
}

void trib_participant_on_model(struct trib_participant *p, const struct trib_msg *msg,
                               struct trib_blob *payload) {
    const struct trib_state *s = p->state;
    if (p->training) return; /* asked for before; the next one will do */
    if (verdict_is_missing(p, msg)) return;
    bool held = s->has_model && !p->without_model && msg->to_version == s->parent_version &&
                memcmp(msg->to_digest, s->parent_chain, sizeof msg->to_digest) == 0;
    if (held || msg->kind == TRIB_MODEL_CURRENT) {
        if (held)
            model_ready(p);
        else
            start_over(p, "told that another version is held");
        return;
    }
    if (!trib_msg_has(msg, PAYLOAD_BYTES)) {
        take_model(p, msg, payload);
        return;
    }
    size_t limit = trib_state_parameters(s) * sizeof(float) + TRIB_FREE_PAYLOAD;
    if (msg->payload_bytes == 0 || msg->payload_bytes > limit) {
        start_over(p, "an offer larger than the model");
        return;
    }
    if (p->offered == NULL) p->offered = trib_alloc(sizeof *p->offered);
    if (p->offered == NULL || trib_inbound_start(&p->incoming, msg->to_version, (size_t)msg->payload_bytes,
                                                 (uint32_t)msg->payload_crc) != TRIB_OK) {
        start_over(p, "out of memory for a model");
        return;
    }
    p->offered->msg = *msg;
    if (msg->codec.size > 0) memcpy(p->offered->codec, msg->codec.data, msg->codec.size);
    p->offered->msg.codec.data = p->offered->codec;
    if (p->incoming.have > 0) p->pull_began_ms = 0; /* its beginning came before */
    credit_from_here(p);
}

void trib_participant_on_chunk(struct trib_participant *p, const struct trib_msg *msg,
                               struct trib_blob *payload) {
    struct trib_inbound *in = &p->incoming;
    if (in->blob == NULL || msg->number != in->number || p->training) return;
    enum trib_status status =
        trib_inbound_piece(in, (size_t)msg->offset, trib_blob_data(payload), trib_blob_size(payload));
    if (status == TRIB_INVALID) {
        start_over(p, "a piece outside its payload");
        return;
    }
    if (status == TRIB_AGAIN) credit_from_here(p);
    if (status != TRIB_OK) return;
    trib_participant_progress(p, p->now_ms - p->piece_ms);
    p->pull_sent_ms = p->piece_ms = p->now_ms;
    trib_pace_arrived(&p->pace, p->now_ms, in->have, trib_blob_size(payload));
    if (!trib_inbound_complete(in)) {
        if (trib_pace_due(&p->pace)) credit(p);
        return;
    }
    bool sound = trib_inbound_sound(in);
    struct trib_blob *whole = trib_inbound_take(in);
    if (sound)
        take_model(p, &p->offered->msg, whole);
    else
        start_over(p, "a payload with another checksum");
    trib_blob_unref(&whole);
}
