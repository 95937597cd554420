/* Models going down: published on demand, served as what a child lacks. */
#include "shared/aggregator/internal.h"
#include "shared/kernels/kernels.h"
#include "shared/model/digest.h"

#include "shared/base/alloc.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { WHY_BYTES = 160 };

static uint64_t interval(const struct trib_state *s) {
    return s->role == TRIB_ROLE_EDGE ? s->plan.publish_interval_ms : s->plan.global_interval_ms;
}

/* Was a fence set, and no version behind it published yet? What was published before is no base any more. */
static bool behind_fence(const struct trib_state *s) {
    return s->base_count > 0 && s->fence > s->published;
}

/* A round is of one version: while some have answered it, another one would leave the rest nothing to answer.
 */
static bool mid_round(const struct trib_state *s) {
    return s->pending_count > 0 && trib_rule_synchronous(s->rule);
}

/* Is there something newer than what is published, and when may it be? */
static bool publish_due(const struct trib_aggregator *a, uint64_t *at_ms) {
    const struct trib_state *s = a->state;
    *at_ms = UINT64_MAX;
    if (!s->has_model || s->stopped || a->store_retry_ms > 0) return false;
    if (s->base_count > 0 && (s->published == s->version || mid_round(s))) return false;
    *at_ms = s->base_count > 0 && !behind_fence(s) ? s->published_ms + interval(s) : 0;
    return a->now_ms >= *at_ms;
}

/* The sum has become NaN or infinite: a cloud's run cannot go on; an edge drops its own part. */
static void give_up(struct trib_aggregator *a) {
    if (a->state->role == TRIB_ROLE_CLOUD) {
        trib_aggregator_finish(a, a->now_ms, "diverged");
        return;
    }
    struct trib_record record = {.kind = TRIB_REC_VOID};
    trib_rec_set(&record, TEXT, text, ((struct trib_text){"not_finite", 10}));
    (void)trib_aggregator_record(a, &record);
}

/* Synchronous tiers: the next round begins when the parent's answer to the last forward is here. From the
 * commit on that a forward is due nothing is published either: that commit would be the newest base once the
 * answer has come, and given out while publish_interval keeps back the version that has the answer in it.
 * Commits before it (forward.updates, forward.commits, forward.interval) are rounds of the edge's own. */
static bool on_hold(const struct trib_aggregator *a) {
    const struct trib_state *s = a->state;
    if (!s->plan.hold || s->role != TRIB_ROLE_EDGE) return false;
    if (s->held_count > 0) return true;
    uint64_t at_ms;
    return trib_state_forward_due(s, a->now_ms, &at_ms);
}

/* Encodes what the children lack: the payload, its codec, and, where that was chosen, why. */
static enum trib_status encode(struct trib_aggregator *a, struct trib_record *record, char why[WHY_BYTES],
                               struct trib_error *err) {
    const struct trib_state *s = a->state;
    const struct trib_ladder_line line = trib_aggregator_line(a);
    struct trib_model_reader reader;
    struct trib_source source = trib_state_source(s, true, &reader);
    struct trib_ladder_choice choice;
    enum trib_status status =
        trib_ladder_encode(s->ladder_pub, &line, &source, &record->payload, &choice, err);
    if (status != TRIB_OK) return status;
    const char *spec = trib_codec_spec(trib_ladder_codec(s->ladder_pub, choice.rung));
    trib_rec_set(record, CODEC, codec, ((struct trib_text){spec, strlen(spec)}));
    if (trib_ladder_count(s->ladder_pub) == 1) return TRIB_OK;
    int bytes = snprintf(why, WHY_BYTES, "reason=%s lost=%.4f bytes_per_s=%.0f waiting=%" PRIu64,
                         trib_choice_name(choice.reason), choice.lost, line.bytes_per_s, line.waiting);
    trib_rec_set(record, TEXT, text, ((struct trib_text){why, (size_t)bytes}));
    if (choice.rung != line.before) /* the ledger has it with the version */
        trib_outbox_event(a->outbox, a->state, a->now_ms, false, TRIB_LOG_INFO, "codec_chosen",
                          "version=%" PRIu64 " codec=%s %s", record->version, spec, why);
    return TRIB_OK;
}

static void publish(struct trib_aggregator *a) {
    struct trib_state *s = a->state;
    struct trib_record record = {.kind = TRIB_REC_PUBLISH};
    char why[WHY_BYTES];
    trib_rec_set(&record, VERSION, version, s->version);
    if (s->exact_next) {
        trib_rec_set(&record, MODEL_KIND, model_kind, TRIB_MODEL_SNAPSHOT);
    } else {
        struct trib_error err;
        enum trib_status status = encode(a, &record, why, &err);
        if (status != TRIB_OK) {
            trib_aggregator_event(a, TRIB_LOG_ERROR, "publish_failed", "error=\"%s\"", err.text);
            if (status != TRIB_NOMEM) give_up(a); /* memory comes back */
            return;
        }
        trib_rec_set(&record, MODEL_KIND, model_kind, TRIB_MODEL_INCREMENTS);
        trib_rec_set(&record, FROM, from_version, s->published);
        trib_digest_chain(s->bases[s->base_count - 1].chain, trib_blob_data(record.payload),
                          trib_blob_size(record.payload), record.chain);
        record.present |= (uint64_t)1 << TRIB_R_CHAIN;
    }
    trib_aggregator_forget_idle(a);
    a->postponed_ms = 0;
    (void)trib_aggregator_record(a, &record);
    trib_blob_unref(&record.payload);
}

/* Publishing while P is being sent costs a copy of it. Where that is much, it waits a moment: nobody new gets
 * P, and those who do have it soon, unless their links are slow. */
static bool may_publish(struct trib_aggregator *a) {
    if (!trib_aggregator_is_lent(a)) return true;
    if (a->postponed_ms == 0) a->postponed_ms = a->now_ms;
    return a->now_ms - a->postponed_ms >= PATIENCE_MS;
}

/* ---- serving ---- */

static void wait_for(struct trib_aggregator *a, struct session *session, uint64_t wait_ms) {
    session->waiting = true;
    struct trib_msg msg = {.type = TRIB_WAIT};
    trib_msg_set(&msg, SESSION, session, session->number);
    trib_msg_set(&msg, WAIT_MS, wait_ms, wait_ms);
    (void)trib_aggregator_say(a, session, 0, &msg, NULL);
}

/* For lack of room: it comes back in its turn, and not when ADVANCE calls everybody. */
static void turn_away(struct trib_aggregator *a, struct session *session, uint64_t least_ms) {
    wait_for(a, session, trib_aggregator_next_turn(a, least_ms));
    session->waiting = false;
    a->status.turned_away++;
}

/* Turns are for what takes a line a while. A small model is the same few bytes of memory for all of them and
 * sent in a moment: of thousands who want it nobody waits for a turn, and who must wait comes back soon. */
static bool is_small(const struct trib_aggregator *a) {
    return trib_state_parameters(a->state) * sizeof(float) <= SENDING_EACH;
}

static void come_again(struct trib_aggregator *a, struct session *session) {
    uint64_t soon_ms = a->postponed_ms != 0 ? DRAIN_MS : WAIT_MS;
    if (!is_small(a)) {
        turn_away(a, session, soon_ms);
        return;
    }
    wait_for(a, session, soon_ms);
    session->waiting = false;
    a->status.turned_away++;
}

/* ---- in pieces ---- */

static void count_sending(struct trib_aggregator *a, struct session *session, bool sending) {
    if (session->sending == sending) return;
    session->sending = sending;
    a->sending += sending ? 1 : (size_t)-1;
}

void trib_aggregator_drop_outgoing(struct trib_aggregator *a, struct session *session) {
    count_sending(a, session, false);
    trib_outbound_drop(&session->outgoing);
    trib_free(session->offered);
    session->offered = NULL;
}

void trib_aggregator_hand_over_outgoing(struct trib_aggregator *a, struct session *from, struct session *to) {
    count_sending(a, from, false);
    to->outgoing = (struct trib_outbound){.number = from->outgoing.number, .payload = from->outgoing.payload};
    to->offered = from->offered;
    to->sent_ms = from->sent_ms;
    from->outgoing = (struct trib_outbound){0};
    from->offered = NULL;
}

void trib_aggregator_look_at_outgoing(struct trib_aggregator *a, struct session *session) {
    if (session->outgoing.payload == NULL) return;
    uint64_t quiet_ms = a->now_ms - session->sent_ms;
    if (quiet_ms > YIELD_MS) count_sending(a, session, false);
    /* Nobody takes it any more; who does asks again. */
    if (quiet_ms > FORGET_MS) trib_aggregator_drop_outgoing(a, session);
}

/* Windows of as many children fit into the budget; some are always sent something. */
static bool has_turn(const struct trib_aggregator *a) {
    return a->sending < SENDING_LEAST || a->sending < a->options.budget_bytes / SENDING_EACH;
}

/* Larger payloads come in pieces. */
static uint64_t taken_at_once(const struct trib_msg *pull) {
    return trib_msg_has(pull, CREDIT) ? pull->credit : TRIB_FREE_PAYLOAD;
}

static void offer_payload(struct trib_aggregator *a, struct session *session, struct trib_msg *msg,
                          struct trib_blob *payload) {
    trib_outbound_start(&session->outgoing, msg->to_version, payload);
    session->sent_ms = a->now_ms;
    count_sending(a, session, true);
    (void)trib_aggregator_say(a, session, a->state->position, msg, NULL);
}

static void send_payload(struct trib_aggregator *a, struct session *session, const struct trib_msg *pull,
                         struct trib_msg *msg, struct trib_blob *payload) {
    size_t bytes = trib_blob_size(payload);
    a->status.models_sent++;
    if (bytes <= taken_at_once(pull)) {
        (void)trib_aggregator_say(a, session, a->state->position, msg, payload);
        return;
    }
    trib_msg_set(msg, PAYLOAD_BYTES, payload_bytes, bytes);
    trib_msg_set(msg, PAYLOAD_CRC, payload_crc, trib_kernels()->crc32c(0, trib_blob_data(payload), bytes));
    offer_payload(a, session, msg, payload);
    session->offered = trib_alloc(sizeof *session->offered);
    if (session->offered == NULL) return; /* then it does not go on after a connection */
    session->offered->msg = *msg;
    session->offered->held = trib_msg_has(pull, HELD_DIGEST);
    session->offered->held_version = pull->held_version;
    memcpy(session->offered->held_digest, pull->held_digest, sizeof pull->held_digest);
    if (msg->codec.size == 0) return;
    session->offered->codecs = a->codecs;
    session->offered->msg.codec.data = session->offered->codecs.data;
}

/* Over a slow line, or one that is cut often, a child would never get to the end of a model if each time it
 * asks again there was a newer one. So it is offered the same again, as long as it asks from the same place
 * and can still work on that version. */
static bool offer_again(struct trib_aggregator *a, struct session *session, const struct trib_msg *pull) {
    const struct trib_state *s = a->state;
    struct offered *offered = session->offered;
    if (session->outgoing.payload == NULL || offered == NULL) return false;
    struct trib_msg *msg = &offered->msg;
    bool same =
        offered->held == trib_msg_has(pull, HELD_DIGEST) &&
        (!offered->held || (offered->held_version == pull->held_version &&
                            memcmp(offered->held_digest, pull->held_digest, sizeof pull->held_digest) == 0));
    bool useful = trib_state_base(s, msg->to_version) != NULL && msg->to_version >= s->fence &&
                  (msg->to_version == s->published || !trib_rule_synchronous(s->rule));
    if (!same || !useful) return false;
    struct trib_blob *payload = trib_blob_ref(session->outgoing.payload);
    trib_msg_set(msg, SESSION, session, session->number);
    session->waiting = false;
    session->advanced = msg->to_version + 1;
    trib_cohort_given(a, session);
    offer_payload(a, session, msg, payload);
    trib_blob_unref(&payload);
    return true;
}

static const struct trib_base *held_base(const struct trib_state *s, const struct trib_msg *pull) {
    const struct trib_base *held =
        trib_msg_has(pull, HELD_DIGEST) ? trib_state_base(s, pull->held_version) : NULL;
    return held != NULL && memcmp(held->chain, pull->held_digest, sizeof held->chain) == 0 ? held : NULL;
}

/* Which codec a child expects depends on its own tier: a device at the cloud, or an edge below another, does
 * not expect this tier's. And under auto(...) it knows of none. */
static void say_codecs(struct trib_aggregator *a, const struct session *session, struct trib_msg *msg,
                       const struct trib_base *held, const struct trib_base *to) {
    const struct trib_state *s = a->state;
    bool device = trib_session_peer(a, session)->kind == TRIB_CHILD_DEVICE;
    bool own = session->version >= TRIB_PROTOCOL_BRIEF && device == (s->role == TRIB_ROLE_EDGE);
    bool expected = own || strcmp(s->plan.codec_down, s->plan.codec_global) == 0;
    if (expected && trib_ladder_count(s->ladder_pub) == 1) return;
    a->codecs = (struct trib_specs_text){.size = 0};
    bool said = true; /* else they would not have been joined (payloads.c) */
    for (const struct trib_base *b = held + 1; said && b <= to; b++)
        said = trib_specs_add(&a->codecs, trib_codec_spec(trib_ladder_codec(s->ladder_pub, b->rung)));
    TRIB_ASSERT(said);
    trib_msg_set(msg, CODEC, codec, ((struct trib_text){a->codecs.data, a->codecs.size}));
}

static void say_seed(struct trib_msg *msg, const struct trib_state *s) {
    trib_msg_set(msg, KIND, kind, TRIB_MODEL_SEED);
    trib_msg_set(msg, SEED, seed, s->seed);
}

/* From a version that is held, or from the one that is drawn from the seed. */
static void say_increments(struct trib_aggregator *a, const struct session *session, struct trib_msg *msg,
                           const struct trib_base *held, const struct trib_base *from,
                           const struct trib_base *to) {
    const struct trib_state *s = a->state;
    msg->present |= (uint64_t)1 << TRIB_F_PARTS;
    say_codecs(a, session, msg, from, to);
    if (held != NULL) {
        trib_msg_set(msg, KIND, kind, TRIB_MODEL_INCREMENTS);
        trib_msg_set(msg, FROM_VERSION, from_version, held->version);
        memcpy(msg->from_digest, held->chain, sizeof msg->from_digest);
        msg->present |= (uint64_t)1 << TRIB_F_FROM_DIGEST;
    } else {
        say_seed(msg, s);
    }
    if (to->version != s->published || !s->published_digest_known ||
        to->version % TRIB_FULL_DIGEST_EVERY != 0)
        return;
    memcpy(msg->full_digest, s->published_digest, sizeof msg->full_digest);
    msg->present |= (uint64_t)1 << TRIB_F_FULL_DIGEST;
}

/* What leads from `held` to the newest version, or near it: fills the message in. *payload has one reference,
 * or is NULL. False: not now. */
static bool answer(struct trib_aggregator *a, const struct session *session, const struct trib_base *held,
                   struct trib_msg *msg, struct trib_blob **payload, const struct trib_base **to) {
    const struct trib_state *s = a->state;
    const struct made *made;
    /* One who asks again for all of it did not come to the same by the seed: that would be so every time. */
    bool by_seed = !session->seeded && (session->version >= TRIB_PROTOCOL_BRIEF || s->increment_count == 0);
    const struct trib_base *from = held != NULL ? held : by_seed ? trib_state_seed_base(s) : NULL;
    bool older_will_do = trib_session_peer(a, session)->kind == TRIB_CHILD_DEVICE;
    *to = &s->bases[s->base_count - 1];
    if (from == *to) {
        if (held != NULL)
            trib_msg_set(msg, KIND, kind, TRIB_MODEL_CURRENT);
        else
            say_seed(msg, s);
    } else if (from != NULL &&
               (*payload = trib_aggregator_increments(a, from, older_will_do, &msg->parts, to)) != NULL) {
        say_increments(a, session, msg, held, from, *to);
    } else if ((made = trib_aggregator_snapshot(a, older_will_do, to)) != NULL) {
        *payload = trib_blob_ref(made->payload);
        trib_msg_set(msg, KIND, kind, TRIB_MODEL_SNAPSHOT);
        memcpy(msg->full_digest, made->full, sizeof msg->full_digest);
        msg->present |= (uint64_t)1 << TRIB_F_FULL_DIGEST;
    } else {
        return false;
    }
    return true;
}

static void serve(struct trib_aggregator *a, struct session *session, const struct trib_msg *pull) {
    const struct trib_state *s = a->state;
    const struct trib_peer *peer = trib_session_peer(a, session);
    const struct trib_base *to;
    struct trib_blob *payload = NULL;
    struct trib_msg msg = {.type = TRIB_MODEL};
    if (offer_again(a, session, pull)) return;
    trib_aggregator_drop_outgoing(a, session); /* a second PULL gives the first one's payload up */
    if (!answer(a, session, held_base(s, pull), &msg, &payload, &to)) {
        come_again(a, session);
        return;
    }
    if (trib_blob_size(payload) > taken_at_once(pull) && !is_small(a) && !has_turn(a)) {
        turn_away(a, session, DRAIN_MS);
        trib_blob_unref(&payload);
        return;
    }
    trib_msg_set(&msg, SESSION, session, session->number);
    trib_msg_set(&msg, TO_VERSION, to_version, to->version);
    memcpy(msg.to_digest, to->chain, sizeof msg.to_digest);
    msg.present |= (uint64_t)1 << TRIB_F_TO_DIGEST;
    trib_msg_set(&msg, APPLIED, applied, trib_peer_applied(s, peer));
    trib_msg_set(&msg, FENCE, fence, s->fence);
    session->waiting = false;
    session->advanced = to->version + 1;
    if (msg.kind == TRIB_MODEL_SEED) session->seeded = true;
    if (payload != NULL) session->before = msg.parts.count > 1 ? msg.parts.count - 1 : 0;
    trib_cohort_given(a, session);
    send_payload(a, session, pull, &msg, payload);
    trib_blob_unref(&payload);
}

void trib_aggregator_on_pull(struct trib_aggregator *a, struct session *session, const struct trib_msg *msg) {
    const struct trib_state *s = a->state;
    if (s->stopped) {
        struct trib_msg bye = {.type = TRIB_BYE};
        trib_msg_set(&bye, SESSION, session, session->number);
        trib_msg_set(&bye, REASON, reason, TRIB_BYE_FINISHED);
        (void)trib_aggregator_say(a, session, s->position, &bye, NULL);
        return;
    }
    uint64_t at, wait_ms;
    if (trib_msg_has(msg, RATE)) session->rate = msg->rate;
    if (!trib_cohort_asked(a, session, msg, &wait_ms)) {
        wait_for(a, session, wait_ms);
        return;
    }
    bool due = publish_due(a, &at), held = on_hold(a);
    if (due && !held && may_publish(a)) publish(a);
    /* Who has answered this version waits for the next: for ever in a round, else only if there is one that
     * the interval holds back. Working on a base twice counts the same direction twice. */
    bool answered = s->base_count > 0 && trib_session_peer(a, session)->answered == s->published + 1;
    bool newer =
        s->version != s->published && trib_msg_has(msg, HELD_DIGEST) && msg->held_version == s->published;
    if (answered && !trib_rule_synchronous(s->rule)) answered = newer;
    if (behind_fence(s) && !held)
        wait_for(a, session, a->store_retry_ms > 0 ? WAIT_MS : DRAIN_MS); /* for P, which is being sent */
    else if (trib_rule_synchronous(s->rule) && trib_cohort_on(a) && s->version != s->published &&
             !mid_round(s))
        wait_for(a, session, DRAIN_MS); /* what it would be given is of the round before */
    else if (s->base_count == 0 || held || answered)
        wait_for(a, session, at != UINT64_MAX && at > a->now_ms ? at - a->now_ms : WAIT_MS);
    else
        serve(a, session, msg);
}

void trib_aggregator_send_pieces(struct trib_aggregator *a, struct session *session) {
    size_t offset;
    struct trib_blob *piece;
    while ((piece = trib_outbound_next(&session->outgoing, &offset)) != NULL) {
        struct trib_msg msg = {.type = TRIB_CHUNK};
        trib_msg_set(&msg, SESSION, session, session->number);
        trib_msg_set(&msg, NUMBER, number, session->outgoing.number);
        trib_msg_set(&msg, OFFSET, offset, offset);
        (void)trib_aggregator_say(a, session, 0, &msg, piece);
        trib_blob_unref(&piece);
    }
    /* All of it is on its way: it need not stay until the child asks for something else. */
    if (session->outgoing.payload != NULL &&
        session->outgoing.sent == trib_blob_size(session->outgoing.payload)) {
        trib_aggregator_drop_outgoing(a, session);
        trib_aggregator_turn_done(a);
    }
}

void trib_aggregator_advance(struct trib_aggregator *a, uint64_t *wake_ms) {
    const struct trib_state *s = a->state;
    *wake_ms = UINT64_MAX;
    if (a->store_retry_ms > 0) return;
    /* A run's first version is in its ledger from the start, not from the first child on. So is what it was
     * rolled back to. */
    bool first = s->base_count == 0 || behind_fence(s);
    if (s->role == TRIB_ROLE_CLOUD && first && s->has_model && !s->stopped && may_publish(a)) publish(a);
    if (!s->has_model || on_hold(a)) return;
    if (mid_round(s)) { /* it was drawn for, but for a restart */
        trib_cohort_begin(a);
        return;
    }
    if (a->advanced == s->version + 1) return; /* advanced: version + 1, so that 0 is none */
    uint64_t at;
    if (!publish_due(a, &at) && at != UINT64_MAX) {
        *wake_ms = at;
        return;
    }
    a->advanced = s->version + 1;
    trib_cohort_begin(a);
    for (size_t i = 0; i < a->session_count; i++) {
        struct session *session = &a->sessions[i];
        if (session->number == 0 || !(session->waiting || session->subscribed)) continue;
        if (session->advanced == s->version + 1) continue; /* it has that one */
        if (trib_cohort_skips(a, session)) continue;
        session->waiting = false;
        struct trib_msg msg = {.type = TRIB_ADVANCE};
        trib_msg_set(&msg, SESSION, session, session->number);
        trib_msg_set(&msg, TO_VERSION, to_version, s->version);
        if (a->evaluated_version > 0)
            trib_msg_set(&msg, ACCURACY_PPM, accuracy_ppm, (uint64_t)(a->evaluated_accuracy * 1e6f));
        (void)trib_aggregator_say(a, session, s->position, &msg, NULL);
    }
}
