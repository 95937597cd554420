/* Updates coming up: numbers and verdicts. */
#include "shared/aggregator/internal.h"
#include "shared/kernels/kernels.h"

#include "shared/base/alloc.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_WEIGHT ((uint64_t)1 << 40) /* samples, weight, region: beyond this it is no count of anything */
#define MAX_BELOW  ((uint64_t)1 << 50) /* bytes of the hops below, since the last forward */

static void acknowledge(struct trib_aggregator *a, struct session *s, uint64_t number,
                        const struct trib_verdict_kept *verdict) {
    struct trib_msg msg = {.type = TRIB_ACK};
    trib_msg_set(&msg, SESSION, session, s->number);
    trib_msg_set(&msg, NUMBER, number, number);
    trib_msg_set(&msg, VERDICT, verdict, verdict->verdict);
    trib_msg_set(&msg, STALENESS, staleness, verdict->staleness);
    if (verdict->verdict == TRIB_REFUSED)
        trib_msg_set(&msg, REASON, reason, verdict->reason);
    else
        trib_msg_set(&msg, APPLIED_WEIGHT, applied_weight, verdict->applied);
    uint64_t total = s->taken + trib_aggregator_grant(a);
    if (total > s->granted) s->granted = total;
    trib_msg_set(&msg, CREDIT, credit, s->granted);
    (void)trib_aggregator_send(a, s->route, a->state->position, &msg, NULL);
}

/* CRC32C of the payload, or what its offer said of it. on_push has compared the two where both are there. */
static uint32_t crc_of(const struct trib_msg *msg, const struct trib_blob *payload) {
    if (payload == NULL || trib_msg_has(msg, PAYLOAD_CRC)) return (uint32_t)msg->payload_crc;
    return trib_kernels()->crc32c(0, trib_blob_data(payload), trib_blob_size(payload));
}

/* A number that was judged before: the same answer, unless the content is another. */
static void repeat(struct trib_aggregator *a, struct session *s, const struct trib_msg *msg,
                   const struct trib_blob *payload) {
    const struct trib_verdict_kept *kept = trib_peer_verdict(trib_session_peer(a, s), msg->number);
    if (kept == NULL) {
        trib_aggregator_error(a, s->route, s->number, TRIB_CODE_GAP, msg->number, 0,
                              "a number judged too long ago");
        return;
    }
    if (kept->crc != crc_of(msg, payload)) {
        trib_aggregator_event(a, TRIB_LOG_WARN, "number_conflict", "peer=%s number=%" PRIu64,
                              trib_session_peer(a, s)->identity, msg->number);
        trib_aggregator_error(a, s->route, s->number, TRIB_CODE_CONFLICT, msg->number, 0,
                              "this number was used for another update: take a new incarnation");
        return;
    }
    acknowledge(a, s, msg->number, kept);
}

/* ---- judging ---- */

/* Are the numbers counts of something? A histogram says where the samples come from, so it holds just them.
 */
static bool counts(const struct trib_msg *msg) {
    if (msg->samples == 0 || msg->samples > MAX_WEIGHT || msg->weight == 0 || msg->weight > MAX_WEIGHT ||
        msg->region > MAX_WEIGHT || !(msg->steps >= 0 && msg->steps <= (float)MAX_WEIGHT))
        return false;
    if (msg->below_updates > MAX_WEIGHT || msg->below_up_bytes > MAX_BELOW ||
        msg->below_down_bytes > MAX_BELOW || msg->below_raw_bytes > MAX_BELOW)
        return false;
    uint64_t left = msg->samples;
    for (size_t i = 1; i < msg->histogram.count; i += 2) {
        if (msg->histogram.items[i] > left) return false;
        left -= msg->histogram.items[i];
    }
    return msg->histogram.count == 0 || (msg->histogram.count % 2 == 0 && left == 0);
}

/* Is the run over? Its last version may come in the middle of a batch, before the program has said so. */
static bool is_over(const struct trib_state *s) {
    uint64_t last = s->role == TRIB_ROLE_CLOUD ? s->plan.stop_versions : 0;
    return s->stopped || (last > 0 && s->version >= last);
}

/* What can be said before the payload is there. */
static enum trib_reason judge_header(const struct trib_aggregator *a, const struct trib_peer *peer,
                                     const struct trib_msg *msg, uint64_t *staleness) {
    const struct trib_state *s = a->state;
    *staleness = 0;
    if (is_over(s)) return TRIB_REASON_FINISHED;
    const struct trib_base *base = trib_state_base(s, msg->base_version);
    if (base == NULL) return TRIB_REASON_BASE;
    if (trib_msg_has(msg, BASE_DIGEST) && memcmp(msg->base_digest, base->chain, sizeof msg->base_digest) != 0)
        return TRIB_REASON_BASE;
    *staleness = s->commits - base->commits;
    if (msg->base_version < s->fence) return TRIB_REASON_FENCE;
    if (*staleness > s->plan.staleness_cap) return TRIB_REASON_STALE;
    if (!counts(msg)) return TRIB_REASON_WEIGHT;
    if (trib_rule_synchronous(s->rule) &&
        (msg->base_version != s->published || *staleness > 0 || peer->answered == msg->base_version + 1))
        return TRIB_REASON_ROUND;
    if (trib_rule_form(s->rule) == TRIB_RULE_MIXING)
        for (const struct trib_base *later = base + 1; later < s->bases + s->base_count; later++)
            if (later->increment == NULL) return TRIB_REASON_BASE;
    return TRIB_REASON_NONE;
}

void trib_aggregator_out_of_memory(struct trib_aggregator *a, const struct session *s, uint64_t number) {
    trib_aggregator_error(a, s->route, s->number, TRIB_CODE_CREDIT, number, 5000,
                          "out of memory for this payload");
}

/* The codec of a PUSH: the plan's, or the one it names; NULL: unknown (or no memory: *status says). *own must
 * be freed. */
static const struct trib_codec *codec_of(const struct trib_aggregator *a, const struct trib_text *spec,
                                         struct trib_codec **own, enum trib_status *status) {
    *status = TRIB_OK;
    *own = NULL;
    if (spec->size == 0) return a->state->codec_in;
    char text[TRIB_CODEC_MAX_SPEC + 1] = {0};
    if (spec->size > TRIB_CODEC_MAX_SPEC) return NULL;
    memcpy(text, spec->data, spec->size);
    *status = trib_codec_new_for(text, &a->state->schema, own, NULL);
    return *own;
}

/* Population share: this child's region among those of all active ones; a child whose region is not known yet
 * counts as the mean of the others. */
static double share_of(struct trib_aggregator *a, const struct session *s, uint64_t region) {
    trib_aggregator_sum_regions(a);
    uint64_t before = trib_session_peer(a, s)->region;
    double sum = a->region_sum - (s->active ? (double)before : 0) + (double)region;
    uint64_t reporting = a->region_reporting + (before == 0), silent = a->region_silent - (before == 0);
    if (before != region) a->region_known = false;
    sum += (double)silent * sum / (double)reporting;
    return (double)region / sum;
}

/* Cosine of the update with the last commit's step; 0 when there is none. */
static float cosine(const struct trib_aggregator *a, const struct trib_codec *codec,
                    const struct trib_blob *payload, double sum_squares) {
    const struct trib_state *s = a->state;
    if (s->step == NULL || s->commits == 0 || !(sum_squares > 0)) return 0;
    const struct trib_kernels *k = trib_kernels();
    size_t n = trib_state_parameters(s);
    double step_squares = k->sum_squares(s->step, n), dot = 0;
    if (!(step_squares > 0)) return 0;
    struct trib_plain plain;
    float *block = trib_alloc_floats(TRIB_CODEC_BLOCK);
    if (block == NULL || trib_plain_open(codec, trib_blob_data(payload), trib_blob_size(payload), n, &plain,
                                         NULL) != TRIB_OK) {
        trib_free(block);
        return 0;
    }
    struct trib_decoder decoder;
    trib_decoder_start(&decoder, codec, plain.data, plain.bytes, n);
    for (size_t at = 0; at < n; at += TRIB_CODEC_BLOCK) {
        size_t count = n - at < TRIB_CODEC_BLOCK ? n - at : TRIB_CODEC_BLOCK;
        memset(block, 0, count * sizeof *block);
        trib_decoder_add(&decoder, count, 1.0f, block);
        dot += k->dot(block, s->step + at, count);
    }
    trib_free(block);
    trib_plain_release(&plain);
    double value = dot / sqrt(step_squares * sum_squares);
    return isfinite(value) ? (float)value : 0;
}

static void weigh(struct trib_aggregator *a, const struct session *s, const struct trib_msg *msg,
                  struct trib_record *record) {
    uint64_t region = trib_msg_has(msg, REGION) && msg->region > 0 ? msg->region : msg->weight;
    struct trib_rule_update update = {.staleness = record->staleness,
                                      .weight = (double)msg->weight,
                                      .share = share_of(a, s, region),
                                      .steps = (double)msg->steps};
    struct trib_rule_weight weight = trib_rule_weigh(a->state->rule, &a->state->memory, &update);
    trib_rec_set(record, FACTOR, factor, weight.factor);
    trib_rec_set(record, APPLIED, applied, weight.applied);
    trib_rec_set(record, NORM_ADD, norm_add, weight.norm);
    trib_rec_set(record, REGION, region, region);
}

static void fill_record(struct trib_record *record, const struct trib_aggregator *a, const struct session *s,
                        const struct trib_msg *msg, size_t wire_bytes) {
    const struct trib_peer *peer = trib_session_peer(a, s);
    trib_rec_set(record, PEER, peer, ((struct trib_text){peer->identity, strlen(peer->identity)}));
    trib_rec_set(record, INCARNATION, incarnation, peer->incarnation);
    trib_rec_set(record, NUMBER, number, msg->number);
    trib_rec_set(record, BASE, base_version, msg->base_version);
    trib_rec_set(record, SAMPLES, samples, msg->samples);
    trib_rec_set(record, WEIGHT, weight, msg->weight);
    trib_rec_set(record, STEPS, steps, msg->steps);
    trib_rec_set(record, LOSS, loss, msg->loss);
    trib_rec_set(record, WIRE_BYTES, wire_bytes, wire_bytes);
    trib_rec_set(record, RAW_BYTES, raw_bytes, trib_state_parameters(a->state) * sizeof(float));
    if (msg->codec.size > 0 && msg->codec.size <= TRIB_CODEC_MAX_SPEC)
        trib_rec_set(record, CODEC, codec, msg->codec);
    if (msg->histogram.count > 0) trib_rec_set(record, HISTOGRAM, histogram, msg->histogram);
    if (!trib_msg_has(msg, BELOW_UPDATES)) return;
    trib_rec_set(record, BELOW_UPDATES, below_updates, msg->below_updates);
    trib_rec_set(record, BELOW_UP, below_up_bytes, msg->below_up_bytes);
    trib_rec_set(record, BELOW_DOWN, below_down_bytes, msg->below_down_bytes);
    trib_rec_set(record, BELOW_RAW, below_raw_bytes, msg->below_raw_bytes);
}

/* What was offered under a number that has a verdict by now concerns nobody. */
static void drop_judged(struct trib_aggregator *a, struct session *s) {
    uint64_t last = trib_session_peer(a, s)->last;
    if (s->offering && s->offer->msg.number <= last) trib_aggregator_forget_offer(a, s);
    if (s->incoming.blob != NULL && s->incoming.number <= last) trib_aggregator_drop_incoming(a, s);
}

void trib_aggregator_judge(struct trib_aggregator *a, struct session *s, const struct trib_msg *msg,
                           struct trib_blob *payload, size_t wire_bytes) {
    const struct trib_state *state = a->state;
    struct trib_record record = {.kind = TRIB_REC_VERDICT};
    fill_record(&record, a, s, msg, wire_bytes);
    uint64_t staleness;
    enum trib_reason reason = judge_header(a, trib_session_peer(a, s), msg, &staleness);
    trib_rec_set(&record, STALENESS, staleness, staleness);
    size_t bytes = trib_blob_size(payload);
    trib_rec_set(&record, PAYLOAD_CRC, payload_crc, crc_of(msg, payload));
    struct trib_codec *own = NULL;
    enum trib_status found;
    const struct trib_codec *codec = codec_of(a, &msg->codec, &own, &found);
    double sum_squares = 0;
    if (found == TRIB_NOMEM) { /* no reason to refuse it for ever */
        trib_aggregator_out_of_memory(a, s, msg->number);
        return;
    }
    if (reason == TRIB_REASON_NONE && codec == NULL) reason = TRIB_REASON_CODEC;
    if (reason == TRIB_REASON_NONE) {
        enum trib_status status = payload == NULL
                                      ? TRIB_INVALID
                                      : trib_codec_check(codec, trib_blob_data(payload), bytes,
                                                         trib_state_parameters(state), &sum_squares, NULL);
        if (status == TRIB_OK && !isfinite((float)sqrt(sum_squares))) status = TRIB_LIMIT;
        if (status != TRIB_OK) reason = status == TRIB_LIMIT ? TRIB_REASON_NOT_FINITE : TRIB_REASON_PAYLOAD;
    }
    if (reason == TRIB_REASON_NONE) {
        trib_rec_set(&record, UPDATE_NORM, update_norm, (float)sqrt(sum_squares));
        if (state->step != NULL)
            trib_rec_set(&record, COSINE, cosine, cosine(a, codec, payload, sum_squares));
        weigh(a, s, msg, &record);
        record.payload = payload;
    } else {
        trib_rec_set(&record, REASON, reason, reason);
    }
    trib_codec_free(&own);
    trib_rec_set(&record, VERDICT, verdict, reason == TRIB_REASON_NONE ? TRIB_ACCEPTED : TRIB_REFUSED);
    if (!trib_aggregator_record(a, &record)) return;
    drop_judged(a, s);
    if (reason == TRIB_REASON_NONE) {
        a->status.accepted++;
        a->status.staleness_sum += staleness;
        if (a->unwritten_told) a->unwritten_bytes += bytes;
        uint64_t wake_ms;
        trib_aggregator_commit_due(a, &wake_ms);
    } else {
        a->status.refused++;
    }
    acknowledge(a, s, msg->number, trib_peer_verdict(trib_session_peer(a, s), msg->number));
}

enum trib_status trib_aggregator_look_at_offer(const struct trib_aggregator *a, const struct session *s,
                                               const struct trib_msg *msg) {
    uint64_t staleness;
    struct trib_codec *own;
    enum trib_status found;
    const struct trib_codec *codec = codec_of(a, &msg->codec, &own, &found);
    bool hopeless = codec == NULL ||
                    judge_header(a, trib_session_peer(a, s), msg, &staleness) != TRIB_REASON_NONE ||
                    msg->payload_bytes == 0 ||
                    msg->payload_bytes > trib_codec_max_bytes(codec, trib_state_parameters(a->state));
    trib_codec_free(&own);
    if (found == TRIB_NOMEM) return TRIB_NOMEM;
    return hopeless ? TRIB_INVALID : TRIB_OK;
}

/* Is it what its sender says that it sent? */
static bool is_damaged(const struct trib_msg *msg, const struct trib_blob *payload) {
    if (payload == NULL || !trib_msg_has(msg, PAYLOAD_CRC)) return false;
    size_t bytes = trib_blob_size(payload);
    return msg->payload_bytes != bytes ||
           msg->payload_crc != trib_kernels()->crc32c(0, trib_blob_data(payload), bytes);
}

void trib_aggregator_damaged(struct trib_aggregator *a, const struct session *s, uint64_t number) {
    trib_aggregator_event(a, TRIB_LOG_WARN, "payload_damaged", "peer=%s number=%" PRIu64,
                          trib_session_peer(a, s)->identity, number);
    trib_aggregator_error(a, s->route, s->number, TRIB_CODE_CREDIT, number, 100,
                          "the payload arrived damaged: send it again");
}

void trib_aggregator_on_push(struct trib_aggregator *a, struct session *s, const struct trib_msg *msg,
                             struct trib_blob *payload, size_t wire_bytes) {
    const struct trib_peer *peer = trib_session_peer(a, s);
    size_t bytes = trib_blob_size(payload);
    if (bytes > TRIB_FREE_PAYLOAD) {
        s->taken += bytes;
        if (s->taken > s->granted) {
            s->taken -= bytes;
            trib_aggregator_event(a, TRIB_LOG_WARN, "credit_exceeded", "peer=%s bytes=%zu", peer->identity,
                                  bytes);
            trib_aggregator_error(a, s->route, s->number, TRIB_CODE_CREDIT, msg->number, 1000,
                                  "a payload beyond what was granted: offer it first");
            return;
        }
    }
    if (a->store_retry_ms > 0) {
        trib_aggregator_error(a, s->route, s->number, TRIB_CODE_STORE, msg->number, a->store_retry_ms,
                              "the journal cannot be written");
        return;
    }
    if (is_damaged(msg, payload)) {
        trib_aggregator_damaged(a, s, msg->number);
        return;
    }
    if (msg->number == 0 || msg->after >= msg->number) {
        trib_aggregator_error(a, s->route, s->number, TRIB_CODE_MALFORMED, msg->number, 0,
                              "a number is at least 1 and above `after`");
    } else if (msg->number <= peer->last) {
        repeat(a, s, msg, payload);
    } else if (msg->after > peer->last) {
        trib_aggregator_error(a, s->route, s->number, TRIB_CODE_GAP, msg->number, 0,
                              "an update before this one is missing: say HELLO and send it first");
    } else if (payload == NULL && trib_msg_has(msg, PAYLOAD_BYTES)) {
        trib_aggregator_on_offer(a, s, msg, wire_bytes);
    } else {
        trib_aggregator_judge(a, s, msg, payload, wire_bytes);
    }
}
