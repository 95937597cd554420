/* Updates coming up: numbers and verdicts. */
#include "shared/aggregator/internal.h"
#include "shared/kernels/kernels.h"

#include "shared/base/alloc.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

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
    (void)trib_aggregator_say(a, s, a->state->position, &msg, NULL);
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

static bool hops_add_up(const struct trib_msg *msg) {
    const uint64_t below[TRIB_HOP_NUMBERS] = {msg->below_updates, msg->below_up_bytes, msg->below_down_bytes,
                                              msg->below_raw_bytes};
    return trib_hops_add_up(&msg->parts, below);
}

/* Are the numbers counts of something? A histogram says where the samples come from, so it holds just them.
 */
static bool counts(const struct trib_msg *msg) {
    if (msg->samples == 0 || msg->samples > TRIB_CLAIM_MAX || msg->weight == 0 ||
        msg->weight > TRIB_CLAIM_MAX || msg->region > TRIB_CLAIM_MAX ||
        !(msg->steps >= 0 && msg->steps <= (float)TRIB_CLAIM_MAX))
        return false;
    if (msg->below_updates > TRIB_CLAIM_MAX || msg->below_up_bytes > TRIB_BELOW_BYTES_MAX ||
        msg->below_down_bytes > TRIB_BELOW_BYTES_MAX || msg->below_raw_bytes > TRIB_BELOW_BYTES_MAX)
        return false;
    if (msg->parts.count > 0 && !hops_add_up(msg)) return false;
    uint64_t left = msg->samples;
    for (size_t i = 1; i < msg->histogram.count; i += 2) {
        if (msg->histogram.items[i] > left) return false;
        left -= msg->histogram.items[i];
    }
    if (msg->histogram.count % 2 != 0 || (msg->histogram.count > 0 && left > 0)) return false;
    uint64_t told = 0;
    for (size_t i = 0; i < msg->labels.count; i++) {
        if (msg->labels.items[i] > TRIB_CLAIM_MAX) return false;
        told += msg->labels.items[i];
    }
    return msg->labels.count == 0 || told > 0;
}

/* Is the run over? Its last version may come in the middle of a batch, before the program has said so. */
static bool is_over(const struct trib_state *s) {
    uint64_t last = s->role == TRIB_ROLE_CLOUD ? s->plan.stop_versions : 0;
    return s->stopped || (last > 0 && s->version >= last);
}

void trib_aggregator_note_base(struct session *s, const struct trib_msg *hello) {
    const bool brief = s->version >= TRIB_PROTOCOL_BRIEF;
    const bool update = brief && trib_msg_has(hello, BASE_VERSION) && trib_msg_has(hello, BASE_DIGEST);
    const bool held = brief && trib_msg_has(hello, HELD_VERSION) && trib_msg_has(hello, HELD_DIGEST);
    s->told_version = update ? hello->base_version : held ? hello->held_version : UINT64_MAX;
    memcpy(s->told_digest, update ? hello->base_digest : hello->held_digest, sizeof s->told_digest);
}

/* Is it this node's version of that number? An update that does not say is of one that it was given in this
 * session, or told of with HELLO. */
static bool is_base(const struct session *session, const struct trib_msg *msg, const struct trib_base *base) {
    const uint8_t *digest = trib_msg_has(msg, BASE_DIGEST)               ? msg->base_digest
                            : session->told_version == msg->base_version ? session->told_digest
                                                                         : base->chain;
    return memcmp(digest, base->chain, sizeof msg->base_digest) == 0;
}

/* What can be said before the payload is there. */
static enum trib_reason judge_header(const struct trib_aggregator *a, const struct session *session,
                                     const struct trib_msg *msg, uint64_t *staleness) {
    const struct trib_state *s = a->state;
    const struct trib_peer *peer = trib_session_peer(a, session);
    *staleness = 0;
    if (is_over(s)) return TRIB_REASON_FINISHED;
    const struct trib_base *base = trib_state_base(s, msg->base_version);
    if (base == NULL || !is_base(session, msg, base)) return TRIB_REASON_BASE;
    *staleness = s->commits - base->commits;
    if (msg->base_version < s->fence) return TRIB_REASON_FENCE;
    if (*staleness > s->plan.staleness_cap) return TRIB_REASON_STALE;
    if (!counts(msg)) return TRIB_REASON_WEIGHT;
    if (trib_rule_synchronous(s->rule) &&
        (msg->base_version != s->published || *staleness > 0 || peer->answered == msg->base_version + 1))
        return TRIB_REASON_ROUND;
    if (trib_rule_needs_bases(s->rule))
        for (const struct trib_base *later = base + 1; later < s->bases + s->base_count; later++)
            if (later->increment == NULL) return TRIB_REASON_BASE;
    return TRIB_REASON_NONE;
}

void trib_aggregator_out_of_memory(struct trib_aggregator *a, const struct session *s, uint64_t number) {
    trib_aggregator_error(a, s->route, s->number, TRIB_CODE_CREDIT, number, 5000,
                          "out of memory for this payload");
}

/* What an update is encoded in. */
struct coding {
    const struct trib_codec *codec;     /* NULL: unknown here */
    struct trib_codec *own;             /* owned; NULL: it is the state's */
    char spec[TRIB_CODEC_MAX_SPEC + 1]; /* as it is recorded; empty: the largest that comes to this tier */
};

static enum trib_status take_spec(const struct trib_state *state, const char *spec, size_t bytes,
                                  struct coding *out) {
    if (bytes > TRIB_CODEC_MAX_SPEC) return TRIB_INVALID;
    memcpy(out->spec, spec, bytes);
    enum trib_status status = trib_codec_new_for(out->spec, &state->schema, &out->own, NULL);
    out->codec = out->own;
    return status;
}

static bool has_slow_one(const char *list, const struct trib_state *state) {
    struct trib_ladder *ladder = NULL;
    bool found = false;
    if (trib_ladder_new(list, &state->schema, &ladder, NULL) != TRIB_OK) return false;
    for (size_t i = 0; i < trib_ladder_count(ladder) && !found; i++)
        found = trib_codec_is_slow(trib_ladder_codec(ladder, i));
    trib_ladder_free(&ladder);
    return found;
}

/* What a PUSH names: any codec, but one that is slow only where the plan has one for its sender. A payload of
 * a few bytes would keep this node busy for long. */
static enum trib_status take_named(const struct trib_state *state, const char *its,
                                   const struct trib_text *spec, struct coding *out) {
    enum trib_status status = take_spec(state, spec->data, spec->size, out);
    if (status != TRIB_OK || !trib_codec_is_slow(out->codec) || has_slow_one(its, state)) return status;
    out->codec = NULL;
    return TRIB_INVALID;
}

/* A codec of the list that comes to this tier. */
static enum trib_status take_place(const struct trib_state *state, uint64_t place, struct coding *out) {
    if (place >= trib_ladder_count(state->ladder_in)) return TRIB_INVALID;
    out->codec = trib_ladder_codec(state->ladder_in, (size_t)place);
    (void)snprintf(out->spec, sizeof out->spec, "%s", trib_codec_spec(out->codec));
    return TRIB_OK;
}

/* Of another list, which is not kept. */
static enum trib_status take_place_of(const char *list, const struct trib_state *state, uint64_t place,
                                      struct coding *out) {
    struct trib_ladder *ladder = NULL;
    enum trib_status status = trib_ladder_new(list, &state->schema, &ladder, NULL);
    if (status == TRIB_OK && place >= trib_ladder_count(ladder)) status = TRIB_INVALID;
    if (status == TRIB_OK) {
        const char *spec = trib_codec_spec(trib_ladder_codec(ladder, (size_t)place));
        status = take_spec(state, spec, strlen(spec), out);
    }
    trib_ladder_free(&ladder);
    return status;
}

/* What a PUSH does not name is as the plan has it for a child of its kind. That is another codec than what
 * comes to this tier where it is a device at the cloud, or an edge below another. */
static enum trib_status find_coding(const struct trib_aggregator *a, const struct session *s,
                                    const struct trib_msg *msg, struct coding *out) {
    const struct trib_state *state = a->state;
    const struct trib_plan *plan = &state->plan;
    const bool device = trib_session_peer(a, s)->kind == TRIB_CHILD_DEVICE;
    const char *here = state->role == TRIB_ROLE_EDGE ? plan->codec_up : plan->codec_forward;
    const char *its = device ? plan->codec_up : plan->codec_forward;
    if (msg->codec.size > 0) return take_named(state, its, &msg->codec, out);
    const bool brief = s->version >= TRIB_PROTOCOL_BRIEF, other = brief && strcmp(its, here) != 0;
    if (!brief || !trib_msg_has(msg, KIND)) {
        if (other) return take_spec(state, its, strlen(its), out);
        out->codec = state->codec_in;
        return TRIB_OK;
    }
    return other ? take_place_of(its, state, msg->kind, out) : take_place(state, msg->kind, out);
}

/* TRIB_NOMEM, or it is found, or unknown. `own` must be freed. */
static enum trib_status coding_of(const struct trib_aggregator *a, const struct session *s,
                                  const struct trib_msg *msg, struct coding *out) {
    *out = (struct coding){0};
    return find_coding(a, s, msg, out) == TRIB_NOMEM ? TRIB_NOMEM : TRIB_OK;
}

/* Population share: this child's region among those of all active ones; a child whose region is not known yet
 * counts as the mean of the others. */
static double share_of(struct trib_aggregator *a, const struct session *s, uint64_t region) {
    trib_aggregator_sum_regions(a);
    uint64_t before = trib_session_peer(a, s)->region;
    double sum = a->region_sum - (s->active ? (double)before : 0) + (double)region;
    uint64_t reporting = a->region_reporting + (before == 0), silent = a->region_silent - (before == 0);
    sum += (double)silent * sum / (double)reporting;
    return (double)region / sum;
}

/* A cosine as it is recorded. */
static double cosine_of(double dot, double norm, double other) {
    double value = dot / (norm * other);
    return isfinite(value) ? (double)(float)value : 0.0;
}

/* What gates see of the update: of the averaged part alone its norm, and its cosines with the last commit's
 * step and with the descent of the held-out loss, each 0 when there is none. `sum_squares` is of all parts.
 */
static enum trib_status look_at(const struct trib_aggregator *a, const struct trib_codec *codec,
                                const struct trib_blob *payload, double sum_squares,
                                struct trib_rule_update *update) {
    const struct trib_state *s = a->state;
    const struct trib_kernels *k = trib_kernels();
    size_t n = trib_state_parameters(s), from = s->sum_from;
    double step_squares = s->step != NULL && s->commits > 0 ? k->sum_squares(s->step, from) : 0;
    update->norm = sqrt(sum_squares);
    const float *gradient = trib_aggregator_wants_gradient(a) ? a->gradient : NULL;
    if (!(step_squares > 0) && gradient == NULL && from == n) return TRIB_OK;
    struct trib_plain plain;
    float *block = trib_alloc_floats(TRIB_CODEC_BLOCK);
    if (block == NULL || trib_plain_open(codec, trib_blob_data(payload), trib_blob_size(payload), n, &plain,
                                         NULL) != TRIB_OK) {
        trib_free(block);
        return TRIB_NOMEM;
    }
    double dot = 0, descent = 0, squares = 0;
    struct trib_decoder decoder;
    trib_decoder_start(&decoder, codec, plain.data, plain.bytes, n);
    for (size_t at = 0; at < from; at += TRIB_CODEC_BLOCK) {
        size_t count = from - at < TRIB_CODEC_BLOCK ? from - at : TRIB_CODEC_BLOCK;
        memset(block, 0, count * sizeof *block);
        trib_decoder_add(&decoder, count, 1.0f, block);
        if (from < n) squares += k->sum_squares(block, count);
        if (step_squares > 0) dot += k->dot(block, s->step + at, count);
        if (gradient != NULL) descent -= k->dot(block, gradient + at, count);
    }
    trib_free(block);
    trib_plain_release(&plain);
    if (from < n) update->norm = sqrt(squares);
    if (step_squares > 0) update->cosine = cosine_of(dot, sqrt(step_squares), update->norm);
    if (gradient != NULL) update->effect = cosine_of(descent, a->gradient_norm, update->norm);
    return TRIB_OK;
}

static enum trib_reason reason_of(enum trib_rule_refusal refusal) {
    switch (refusal) {
    case TRIB_RULE_TAKEN: break;
    case TRIB_RULE_NORM: return TRIB_REASON_NORM;
    case TRIB_RULE_DIRECTION: return TRIB_REASON_DIRECTION;
    case TRIB_RULE_QUARANTINE: return TRIB_REASON_QUARANTINE;
    }
    return TRIB_REASON_NONE;
}

/* What its device tells of its labels, if the plan wants that; a PUSH that says nothing takes it back. */
static void look_at_labels(const struct trib_state *state, const struct trib_peer *peer,
                           const struct trib_msg *msg, struct trib_record *record,
                           struct trib_rule_update *update) {
    static const struct trib_u64s nothing;
    bool told = state->plan.tell_labels && peer->kind == TRIB_CHILD_DEVICE && msg->labels.count > 0;
    const struct trib_u64s *labels = told ? &msg->labels : &nothing;
    if (trib_state_labels_differ(peer, labels)) trib_rec_set(record, LABELS, labels, *labels);
    if (!told) return;
    trib_rec_set(record, DIVERGENCE, divergence, (float)trib_state_divergence(state, peer, labels));
    update->divergence = (double)record->divergence;
}

/* What the rule makes of an update that is well-formed. TRIB_NOMEM: it could not be looked at. */
static enum trib_status weigh(struct trib_aggregator *a, const struct session *s, const struct trib_msg *msg,
                              const struct trib_codec *codec, const struct trib_blob *payload,
                              double sum_squares, struct trib_record *record, enum trib_reason *reason) {
    const struct trib_state *state = a->state;
    const struct trib_peer *peer = trib_session_peer(a, s);
    uint64_t region = trib_msg_has(msg, REGION) && msg->region > 0 ? msg->region : msg->weight;
    struct trib_rule_update update = {.staleness = record->staleness,
                                      .weight = (double)msg->weight,
                                      .share = share_of(a, s, region),
                                      .steps = (double)msg->steps,
                                      .loss = (double)msg->loss,
                                      .commits = state->commits,
                                      .peer = &peer->rules};
    enum trib_status status = look_at(a, codec, payload, sum_squares, &update);
    if (status != TRIB_OK) return status;
    look_at_labels(state, peer, msg, record, &update);
    struct trib_rule_weight weight = trib_rule_weigh(state->rule, &state->memory, &update);
    trib_rec_set(record, UPDATE_NORM, update_norm, (float)update.norm);
    if (state->step != NULL) trib_rec_set(record, COSINE, cosine, (float)update.cosine);
    if (update.effect < 0.0 || update.effect > 0.0)
        trib_rec_set(record, EFFECT, effect, (float)update.effect);
    *reason = reason_of(weight.refusal);
    /* No record holds infinity: what is computed would not be what is replayed. */
    if (*reason == TRIB_REASON_NONE && !isfinite(weight.applied)) *reason = TRIB_REASON_WEIGHT;
    if (*reason != TRIB_REASON_NONE) return TRIB_OK;
    trib_rec_set(record, FACTOR, factor, weight.factor);
    trib_rec_set(record, APPLIED, applied, weight.applied);
    trib_rec_set(record, NORM_ADD, norm_add, weight.norm);
    trib_rec_set(record, REGION, region, region);
    const struct trib_pending *older = trib_state_replaceable(state, peer);
    if (older != NULL) trib_rec_set(record, SUPERSEDES, supersedes, older->number);
    return TRIB_OK;
}

static void fill_record(struct trib_record *record, const struct trib_aggregator *a, const struct session *s,
                        const struct trib_msg *msg, const char *spec, size_t wire_bytes) {
    const struct trib_peer *peer = trib_session_peer(a, s);
    trib_rec_set(record, PEER, peer, ((struct trib_text){peer->identity, strlen(peer->identity)}));
    trib_rec_set(record, INCARNATION, incarnation, peer->incarnation);
    trib_rec_set(record, NUMBER, number, msg->number);
    trib_rec_set(record, BASE, base_version, msg->base_version);
    /* What nobody can have is refused, and recorded as the most that one may have: it would break sums. */
    trib_rec_set(record, SAMPLES, samples, msg->samples < TRIB_CLAIM_MAX ? msg->samples : TRIB_CLAIM_MAX);
    trib_rec_set(record, WEIGHT, weight, msg->weight < TRIB_CLAIM_MAX ? msg->weight : TRIB_CLAIM_MAX);
    trib_rec_set(record, STEPS, steps, msg->steps);
    trib_rec_set(record, LOSS, loss, msg->loss);
    trib_rec_set(record, WIRE_BYTES, wire_bytes, wire_bytes);
    trib_rec_set(record, RAW_BYTES, raw_bytes, trib_state_parameters(a->state) * sizeof(float));
    if (spec[0] != 0) trib_rec_set(record, CODEC, codec, ((struct trib_text){spec, strlen(spec)}));
    /* Only what gathers others' updates has samples of several versions, and hops below it. */
    if (peer->kind != TRIB_CHILD_EDGE || !counts(msg)) return;
    if (msg->histogram.count > 0) trib_rec_set(record, HISTOGRAM, histogram, msg->histogram);
    if (!trib_msg_has(msg, BELOW_UPDATES)) return;
    trib_rec_set(record, BELOW_UPDATES, below_updates, msg->below_updates);
    trib_rec_set(record, BELOW_UP, below_up_bytes, msg->below_up_bytes);
    trib_rec_set(record, BELOW_DOWN, below_down_bytes, msg->below_down_bytes);
    trib_rec_set(record, BELOW_RAW, below_raw_bytes, msg->below_raw_bytes);
    if (msg->parts.count > 0 && hops_add_up(msg)) trib_rec_set(record, HOPS, hops, msg->parts);
}

/* What was offered under a number that has a verdict by now concerns nobody. */
static void drop_judged(struct trib_aggregator *a, struct session *s) {
    uint64_t last = trib_session_peer(a, s)->last;
    if (s->offering && s->offer->msg.number <= last) trib_aggregator_forget_offer(a, s);
    if (s->incoming.blob != NULL && s->incoming.number <= last) trib_aggregator_drop_incoming(a, s);
}

static void tell_quarantine(struct trib_aggregator *a, const struct session *s, uint64_t until) {
    const struct trib_peer *peer = trib_session_peer(a, s);
    if (peer->rules.until == until) return;
    trib_aggregator_event(a, TRIB_LOG_WARN, "quarantine", "peer=%s trust=%.2f because=%s commits=%" PRIu64,
                          peer->identity, (double)peer->rules.trust, trib_rule_term_name(peer->rules.weakest),
                          peer->rules.until - a->state->commits);
}

/* Is it a reason that lies in the update, and not in when it came or what for? */
static bool is_content(enum trib_reason reason) {
    switch (reason) {
    case TRIB_REASON_PAYLOAD:
    case TRIB_REASON_NOT_FINITE:
    case TRIB_REASON_CODEC:
    case TRIB_REASON_WEIGHT:
    case TRIB_REASON_NORM:
    case TRIB_REASON_DIRECTION:
    case TRIB_REASON_QUARANTINE: return true;
    default: return false;
    }
}

/* Why a device's codec is another from this update on: it has no ledger of its own. */
static void tell_choice(struct trib_aggregator *a, const struct session *s, const struct trib_msg *msg,
                        const char *spec) {
    char quoted[2 * TRIB_CODEC_MAX_SPEC];
    if (s->version < TRIB_PROTOCOL_BRIEF || !trib_msg_has(msg, REASON) || spec[0] == 0) return;
    trib_aggregator_event(a, TRIB_LOG_INFO, "codec_chosen", "peer=%s number=%" PRIu64 " codec=%s reason=%s",
                          trib_session_peer(a, s)->identity, msg->number,
                          trib_log_quote(quoted, sizeof quoted, spec), trib_choice_name(msg->reason));
}

void trib_aggregator_judge(struct trib_aggregator *a, struct session *s, const struct trib_msg *msg,
                           struct trib_blob *payload, size_t wire_bytes) {
    const struct trib_state *state = a->state;
    struct trib_record record = {.kind = TRIB_REC_VERDICT};
    struct coding coding;
    enum trib_status found = coding_of(a, s, msg, &coding);
    fill_record(&record, a, s, msg, coding.spec, wire_bytes);
    uint64_t staleness;
    enum trib_reason reason = judge_header(a, s, msg, &staleness);
    trib_rec_set(&record, STALENESS, staleness, staleness);
    size_t bytes = trib_blob_size(payload);
    trib_rec_set(&record, PAYLOAD_CRC, payload_crc, crc_of(msg, payload));
    double sum_squares = 0;
    if (found == TRIB_NOMEM) { /* no reason to refuse it for ever */
        trib_aggregator_out_of_memory(a, s, msg->number);
        return;
    }
    if (reason == TRIB_REASON_NONE && coding.codec == NULL) reason = TRIB_REASON_CODEC;
    if (reason == TRIB_REASON_NONE) {
        enum trib_status status = payload == NULL
                                      ? TRIB_INVALID
                                      : trib_codec_check(coding.codec, trib_blob_data(payload), bytes,
                                                         trib_state_parameters(state), &sum_squares, NULL);
        if (status == TRIB_OK && !isfinite((float)sqrt(sum_squares))) status = TRIB_LIMIT;
        if (status != TRIB_OK) reason = status == TRIB_LIMIT ? TRIB_REASON_NOT_FINITE : TRIB_REASON_PAYLOAD;
    }
    if (reason == TRIB_REASON_NONE)
        found = weigh(a, s, msg, coding.codec, payload, sum_squares, &record, &reason);
    trib_codec_free(&coding.own);
    if (found == TRIB_NOMEM) {
        trib_aggregator_out_of_memory(a, s, msg->number);
        return;
    }
    bool content = is_content(reason);
    if (content) a->presence[s->peer].declined = state->commits + 1;
    if (reason != TRIB_REASON_NONE && !trib_aggregator_may_refuse(a, s, msg->number)) return;
    if (reason == TRIB_REASON_NONE)
        record.payload = payload;
    else
        trib_rec_set(&record, REASON, reason, reason);
    trib_rec_set(&record, VERDICT, verdict, reason == TRIB_REASON_NONE ? TRIB_ACCEPTED : TRIB_REFUSED);
    const struct trib_peer *peer = trib_session_peer(a, s);
    uint64_t region = peer->region, until = peer->rules.until;
    if (!trib_aggregator_record(a, &record)) return;
    tell_choice(a, s, msg, coding.spec);
    trib_aggregator_region_moved(a, s, region);
    tell_quarantine(a, s, until);
    drop_judged(a, s);
    if (reason == TRIB_REASON_NONE) {
        a->status.accepted++;
        a->status.staleness_sum += staleness;
        if (a->unwritten_told) a->unwritten_bytes += trib_blob_memory(payload);
    } else {
        a->status.refused++;
    }
    uint64_t wake_ms;
    trib_aggregator_commit_due(a, &wake_ms);
    trib_cohort_answered(a, s, reason == TRIB_REASON_NONE, content ? 0.0f : msg->loss,
                         content ? 0.0f : (float)sqrt(sum_squares));
    acknowledge(a, s, msg->number, trib_peer_verdict(trib_session_peer(a, s), msg->number));
}

enum trib_status trib_aggregator_look_at_offer(const struct trib_aggregator *a, const struct session *s,
                                               const struct trib_msg *msg) {
    uint64_t staleness;
    struct coding coding;
    enum trib_status found = coding_of(a, s, msg, &coding);
    bool hopeless = coding.codec == NULL || judge_header(a, s, msg, &staleness) != TRIB_REASON_NONE ||
                    msg->payload_bytes == 0 ||
                    msg->payload_bytes > trib_codec_max_bytes(coding.codec, trib_state_parameters(a->state));
    trib_codec_free(&coding.own);
    if (found == TRIB_NOMEM) return TRIB_NOMEM;
    return hopeless ? TRIB_INVALID : TRIB_OK;
}

/* Is it what its sender says that it sent? */
static bool is_damaged(const struct trib_msg *msg, const struct trib_blob *payload) {
    if (payload == NULL || !trib_msg_has(msg, PAYLOAD_CRC)) return false;
    size_t bytes = trib_blob_size(payload);
    return (trib_msg_has(msg, PAYLOAD_BYTES) && msg->payload_bytes != bytes) ||
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
