/* Updates going up: made, sent, sent again, acknowledged. */
#include "shared/kernels/kernels.h"
#include "shared/participant/internal.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

const struct trib_held *trib_participant_unacknowledged(const struct trib_participant *p) {
    for (size_t i = 0; i < p->state->held_count; i++)
        if (!p->state->held[i].acknowledged) return &p->state->held[i];
    return NULL;
}

/* Can no more forwards be held? */
static bool is_full(const struct trib_state *s) {
    size_t bytes = 0;
    for (size_t i = 0; i < s->held_count; i++) bytes += trib_blob_size(s->held[i].payload);
    if (s->held_count == 0) return false;
    return s->held_count == TRIB_HELD_MAX ||
           bytes + trib_codec_max_bytes(trib_ladder_top(s->ladder_out), trib_state_parameters(s)) >
               TRIB_HELD_BYTES;
}

bool trib_participant_forward_due(const struct trib_participant *p, uint64_t *wake_ms) {
    const struct trib_state *s = p->state;
    const struct trib_gathered *g = &s->gathered;
    *wake_ms = UINT64_MAX;
    if (!s->started || s->stopped || !s->has_model || g->updates == 0 || is_full(s) ||
        trib_participant_unacknowledged(p) != NULL)
        return false;
    return trib_state_forward_due(s, p->now_ms, wake_ms);
}

static void read_part(void *ctx, size_t offset, size_t count, float *out) {
    const struct trib_state *s = ctx;
    memset(out, 0, count * sizeof *out);
    trib_kernels()->add_scaled(out, s->own + offset, (float)s->plan.elastic, count);
}

/* What leaves: all of `own`, or, elastic, the part of it by which an edge is drawn to its parent's model. */
static struct trib_source leaving(struct trib_state *s) {
    if (s->role == TRIB_ROLE_EDGE && s->plan.elastic > 0.0)
        return (struct trib_source){.read = read_part, .ctx = s, .count = trib_state_parameters(s)};
    return trib_source_floats(s->own, trib_state_parameters(s));
}

/* Encodes what leaves of `own`, fills in what both kinds of participants share, records it. */
static bool record_forward(struct trib_participant *p, struct trib_record *record) {
    struct trib_state *s = p->state;
    struct trib_source source = leaving(s);
    const struct trib_ladder_line line = trib_participant_line(p);
    struct trib_ladder_choice choice;
    struct trib_error err;
    enum trib_status status =
        trib_ladder_encode(s->ladder_out, &line, &source, &record->payload, &choice, &err);
    if (status != TRIB_OK) {
        trib_outbox_event(p->outbox, s, p->now_ms, s->role == TRIB_ROLE_EDGE, TRIB_LOG_ERROR, "encode_failed",
                          "error=\"%s\"", err.text);
        if (status == TRIB_NOMEM) return false; /* it stays in `own`, for the next one */
        struct trib_record voided = {.kind = TRIB_REC_VOID};
        trib_rec_set(&voided, TEXT, text, ((struct trib_text){"not_finite", 10}));
        (void)trib_participant_record(p, &voided);
        return false;
    }
    const uint8_t *data = trib_blob_data(record->payload);
    size_t bytes = trib_blob_size(record->payload);
    trib_rec_set(record, NUMBER, number, s->next_number);
    trib_rec_set(record, PAYLOAD_CRC, payload_crc, trib_kernels()->crc32c(0, data, bytes));
    const char *spec = trib_codec_spec(trib_ladder_codec(s->ladder_out, choice.rung));
    trib_rec_set(record, CODEC, codec, ((struct trib_text){spec, strlen(spec)}));
    trib_rec_set(record, RAW_BYTES, raw_bytes, trib_state_parameters(s) * sizeof(float));
    bool done = trib_participant_record(p, record);
    if (done) trib_participant_chose(p, &line, &choice);
    trib_blob_unref(&record->payload);
    return done;
}

static uint64_t at_most(uint64_t count, uint64_t most) {
    return count < most ? count : most;
}

/* No more than a parent takes: what one child claims must not void what all of them gave. */
void trib_participant_forward(struct trib_participant *p) {
    const struct trib_state *s = p->state;
    const struct trib_gathered *g = &s->gathered;
    struct trib_record record = {.kind = TRIB_REC_FORWARD};
    trib_rec_set(&record, BASE, base_version, trib_histogram_base(&g->histogram));
    trib_rec_set(&record, HISTOGRAM, histogram, g->histogram);
    trib_rec_set(&record, SAMPLES, samples, trib_histogram_fit(&record.histogram, TRIB_CLAIM_MAX));
    uint64_t weight = at_most(g->weight, TRIB_CLAIM_MAX);
    trib_rec_set(&record, WEIGHT, weight, weight);
    uint64_t region = p->options.region != NULL ? p->options.region(p->options.region_ctx) : weight;
    trib_rec_set(&record, REGION, region, region > weight ? at_most(region, TRIB_CLAIM_MAX) : weight);
    trib_rec_set(&record, STEPS, steps, (float)fmin(g->steps, (double)TRIB_CLAIM_MAX));
    trib_rec_set(&record, LOSS, loss, g->samples > 0 ? (float)(g->loss / (double)g->samples) : 0.0f);
    trib_rec_set(&record, BELOW_UPDATES, below_updates, at_most(g->below_updates, TRIB_CLAIM_MAX));
    trib_rec_set(&record, BELOW_UP, below_up_bytes, at_most(g->below_up_bytes, TRIB_BELOW_BYTES_MAX));
    trib_rec_set(&record, BELOW_DOWN, below_down_bytes, at_most(g->below_down_bytes, TRIB_BELOW_BYTES_MAX));
    trib_rec_set(&record, BELOW_RAW, below_raw_bytes, at_most(g->below_raw_bytes, TRIB_BELOW_BYTES_MAX));
    const uint64_t sums[TRIB_HOP_NUMBERS] = {record.below_updates, record.below_up_bytes,
                                             record.below_down_bytes, record.below_raw_bytes};
    if (s->hops != NULL && trib_hops_add_up(s->hops, sums)) trib_rec_set(&record, HOPS, hops, *s->hops);
    (void)record_forward(p, &record);
}

static bool is_finite(const struct trib_state *s, const struct trib_submission *submission) {
    const struct trib_kernels *k = trib_kernels();
    if (!k->all_finite(submission->difference, trib_state_parameters(s))) return false;
    for (size_t i = 0; submission->local != NULL && i < TRIB_LOCAL_MAX; i++)
        if (submission->local[i] != NULL && !k->all_finite(submission->local[i], s->schema.model_parameters))
            return false;
    return true;
}

void trib_participant_submit(struct trib_participant *p, uint64_t now_ms,
                             const struct trib_submission *submission) {
    struct trib_state *s = p->state;
    p->now_ms = now_ms;
    if (!p->training) return; /* the run or the parent changed meanwhile */
    p->training = false;
    p->want_model = true;
    p->pull_at_ms = now_ms;
    if (submission->parent_incarnation != s->parent_incarnation ||
        submission->base_version != s->parent_version)
        return;
    if (s->held_count == TRIB_HELD_MAX) return;
    if (!is_finite(s, submission)) {
        trib_outbox_event(p->outbox, s, now_ms, false, TRIB_LOG_ERROR, "training_diverged", "base=%" PRIu64,
                          submission->base_version);
        p->pull_at_ms = now_ms + 1000;
        return;
    }
    if (trib_state_gather(s, submission->difference, submission->local) != TRIB_OK) {
        trib_outbox_event(p->outbox, s, now_ms, false, TRIB_LOG_ERROR, "update_lost",
                          "base=%" PRIu64 " error=\"out of memory\"", submission->base_version);
        p->pull_at_ms = now_ms + 1000;
        return;
    }
    struct trib_record record = {.kind = TRIB_REC_FORWARD};
    trib_rec_set(&record, BASE, base_version, submission->base_version);
    trib_rec_set(&record, SAMPLES, samples, submission->samples);
    trib_rec_set(&record, WEIGHT, weight, submission->weight);
    trib_rec_set(&record, STEPS, steps, submission->steps);
    trib_rec_set(&record, LOSS, loss, submission->loss);
    (void)record_forward(p, &record);
}

void trib_participant_abandon(struct trib_participant *p, uint64_t now_ms) {
    p->now_ms = now_ms;
    p->training = false;
    p->want_model = true;
    p->pull_at_ms = now_ms + 1000;
}

static uint64_t previous_held(const struct trib_participant *p, uint64_t number) {
    uint64_t after = 0;
    for (size_t i = 0; i < p->state->held_count; i++)
        if (p->state->held[i].number < number) after = p->state->held[i].number;
    return after;
}

void trib_participant_tell_base(struct trib_participant *p, struct trib_msg *hello) {
    const struct trib_state *s = p->state;
    const struct trib_held *held = trib_participant_unacknowledged(p);
    const bool has_held = trib_msg_has(hello, HELD_DIGEST);
    const uint8_t *digest = held == NULL ? s->parent_chain : held->base_digest;
    const uint64_t version = held == NULL ? s->parent_version : held->base_version;
    bool known = held == NULL ? has_held || p->training : held->base_digest_known;
    p->given_from = p->told_version = UINT64_MAX;
    if (s->role != TRIB_ROLE_DEVICE || !known) return;
    p->told_version = version;
    memcpy(p->told_digest, digest, sizeof p->told_digest);
    if (has_held && hello->held_version == version &&
        memcmp(hello->held_digest, digest, sizeof p->told_digest) == 0)
        return;
    trib_msg_set(hello, BASE_VERSION, base_version, version);
    memcpy(hello->base_digest, digest, sizeof hello->base_digest);
    hello->present |= (uint64_t)1 << TRIB_F_BASE_DIGEST;
}

/* Does the parent know which version of this number a device means? What it gave in this session, or HELLO
 * said. An edge's may be of any session. */
static bool base_is_known(const struct trib_participant *p, const struct trib_held *held) {
    if (p->version < TRIB_PROTOCOL_BRIEF || p->state->role != TRIB_ROLE_DEVICE) return false;
    if (held->base_version == p->told_version)
        return memcmp(held->base_digest, p->told_digest, sizeof p->told_digest) == 0;
    return held->base_version >= p->given_from;
}

/* An older parent is told the codec in words wherever it may expect another: which of the plan's two that is
 * depended on its tier, which a child does not know. A newer one is told which of auto(...), and, where that
 * is another than before, why; but for an edge, which has a ledger of its own. */
static void name_codec(const struct trib_participant *p, const struct trib_held *held, struct trib_msg *msg) {
    const struct trib_plan *plan = &p->state->plan;
    const struct trib_ladder *ladder = p->state->ladder_out;
    const bool choice = trib_ladder_count(ladder) > 1;
    if (p->version < TRIB_PROTOCOL_BRIEF) {
        const char *spec = trib_codec_spec(trib_ladder_codec(ladder, held->rung));
        if (choice || strcmp(plan->codec_up, plan->codec_forward) != 0)
            trib_msg_set(msg, CODEC, codec, ((struct trib_text){spec, strlen(spec)}));
        return;
    }
    if (!choice) return;
    trib_msg_set(msg, KIND, kind, held->rung);
    if (p->chose_number == held->number && p->state->role == TRIB_ROLE_DEVICE)
        trib_msg_set(msg, REASON, reason, p->chose);
}

static void fill_push(const struct trib_participant *p, const struct trib_held *held, struct trib_msg *msg) {
    trib_msg_set(msg, NUMBER, number, held->number);
    uint64_t after = previous_held(p, held->number);
    if (after > 0) trib_msg_set(msg, AFTER, after, after);
    trib_msg_set(msg, BASE_VERSION, base_version, held->base_version);
    if (held->base_digest_known && !base_is_known(p, held)) {
        memcpy(msg->base_digest, held->base_digest, sizeof msg->base_digest);
        msg->present |= (uint64_t)1 << TRIB_F_BASE_DIGEST;
    }
    trib_msg_set(msg, SAMPLES, samples, held->samples);
    const bool brief = p->version >= TRIB_PROTOCOL_BRIEF;
    if (!brief || held->weight != held->samples) trib_msg_set(msg, WEIGHT, weight, held->weight);
    trib_msg_set(msg, STEPS, steps, held->steps);
    trib_msg_set(msg, LOSS, loss, held->loss);
    name_codec(p, held, msg);
    if (p->state->role != TRIB_ROLE_EDGE) {
        if (p->state->plan.tell_labels && p->options.labels != NULL)
            p->options.labels(p->options.labels_ctx, &msg->labels);
        if (msg->labels.count > 0) msg->present |= (uint64_t)1 << TRIB_F_LABELS;
        return;
    }
    trib_msg_set(msg, REGION, region, held->region);
    if (held->histogram != NULL) msg->histogram = *held->histogram;
    msg->present |= (uint64_t)1 << TRIB_F_HISTOGRAM;
    trib_msg_set(msg, BELOW_UPDATES, below_updates, held->below_updates);
    trib_msg_set(msg, BELOW_UP_BYTES, below_up_bytes, held->below_up_bytes);
    trib_msg_set(msg, BELOW_DOWN_BYTES, below_down_bytes, held->below_down_bytes);
    trib_msg_set(msg, BELOW_RAW_BYTES, below_raw_bytes, held->below_raw_bytes);
    if (brief && held->hops != NULL) trib_msg_set(msg, PARTS, parts, *held->hops);
}

/* May it go in PUSH's own frame? By credit, and if the line takes it at once: whatever follows waits for the
 * whole of it. How much that is the parent said when it last took one in pieces. */
static bool in_one_frame(const struct trib_participant *p, size_t bytes) {
    if (bytes <= TRIB_FREE_PAYLOAD) return true;
    return bytes <= p->options.frame_bytes && bytes <= p->outgoing.window &&
           p->sent_credited + bytes <= p->credit;
}

void trib_participant_push(struct trib_participant *p) {
    const struct trib_held *held = trib_participant_unacknowledged(p);
    if (held == NULL) return;
    struct trib_msg msg = {.type = TRIB_PUSH};
    fill_push(p, held, &msg);
    size_t bytes = trib_blob_size(held->payload);
    /* The parent has judged it, and this node has not heard how, or forgot: the question needs no bytes. */
    bool judged = held->number <= p->last_number, whole = !judged && in_one_frame(p, bytes);
    if (p->pushed_number != held->number) {
        p->status.pushed++;
        p->push_began_ms = p->now_ms;
        p->pushed_whole = true;
    }
    if (judged) p->pushed_whole = false;
    p->pushed_number = held->number;
    p->pushed_ms = p->now_ms;
    p->pushed_bytes = whole ? bytes : 0;
    trib_msg_set(&msg, PAYLOAD_CRC, payload_crc, held->payload_crc);
    if (!whole || p->version < TRIB_PROTOCOL_BRIEF) trib_msg_set(&msg, PAYLOAD_BYTES, payload_bytes, bytes);
    if (whole) {
        if (bytes > TRIB_FREE_PAYLOAD) p->sent_credited += bytes;
        trib_participant_send(p, &msg, held->payload);
        return;
    }
    if (p->outgoing.payload == NULL || p->outgoing.number != held->number)
        trib_outbound_start(&p->outgoing, held->number, held->payload);
    trib_participant_send(p, &msg, NULL);
}

void trib_participant_send_pieces(struct trib_participant *p) {
    size_t offset;
    struct trib_blob *piece;
    while ((piece = trib_outbound_next(&p->outgoing, &offset)) != NULL) {
        struct trib_msg msg = {.type = TRIB_CHUNK};
        trib_msg_set(&msg, NUMBER, number, p->outgoing.number);
        trib_msg_set(&msg, OFFSET, offset, offset);
        trib_participant_send(p, &msg, piece);
        trib_blob_unref(&piece);
    }
}

void trib_participant_on_ack(struct trib_participant *p, const struct trib_msg *msg) {
    if (trib_msg_has(msg, CREDIT) && msg->credit > p->credit) p->credit = msg->credit;
    if (p->outgoing.number == msg->number) trib_outbound_drop(&p->outgoing);
    const bool took_it = p->pushed_number == msg->number && p->pushed_whole;
    if (p->pushed_number == msg->number) {
        trib_participant_progress(p, p->now_ms - p->pushed_ms);
        p->pushed_number = 0;
    }
    const struct trib_held *held = NULL;
    for (size_t i = 0; i < p->state->held_count; i++)
        if (p->state->held[i].number == msg->number) held = &p->state->held[i];
    if (held == NULL || held->acknowledged) return;
    if (took_it) trib_transfers_note(&p->pushed, trib_blob_size(held->payload), p->now_ms - p->push_began_ms);
    struct trib_record record = {.kind = TRIB_REC_ACKED};
    trib_rec_set(&record, NUMBER, number, msg->number);
    trib_rec_set(&record, VERDICT, verdict, msg->verdict);
    trib_rec_set(&record, REASON, reason, msg->reason);
    trib_rec_set(&record, STALENESS, staleness, msg->staleness);
    (void)trib_participant_record(p, &record);
    if (msg->verdict == TRIB_ACCEPTED) {
        p->status.accepted++;
    } else {
        p->status.refused++;
        /* What arrives when the run is over is nobody's mistake. */
        enum trib_level level = msg->reason == TRIB_REASON_FINISHED ? TRIB_LOG_DEBUG : TRIB_LOG_WARN;
        trib_outbox_event(p->outbox, p->state, p->now_ms, false, level, "update_refused",
                          "number=%" PRIu64 " reason=%s", msg->number, trib_reason_name(msg->reason));
    }
}
