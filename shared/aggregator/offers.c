/* Updates that come in pieces: offered, let in as the budget allows, given window by window.
 *
 *   offered --(room)--> under way: `room` bytes of the budget, all of it
 *                          |  no piece for YIELD_MS, and others wait; or the connection ended
 *                          v
 *                        parked: what came stays (beside the budget, as much again at most), one chunk at a
 *                          |  time comes, and it waits for room like the others
 *                          +--> under way, complete, or forgotten: FORGET_MS without a piece
 *
 * Large payloads come into files, if the driver has some, and have a budget of their own.
 *
 * So a peer that stops in the middle holds nobody up, and a slow one loses nothing. */
#include "shared/aggregator/internal.h"

#include "shared/base/alloc.h"

#include <inttypes.h>
#include <string.h>

/* ---- the queue for room ---- */

void trib_aggregator_forget_offer(struct trib_aggregator *a, struct session *s) {
    if (!s->offering) return;
    size_t me = (size_t)(s - a->sessions) + 1, *link = &a->offer_first, last = 0;
    while (*link != 0 && *link != me) {
        last = *link;
        link = &a->sessions[*link - 1].offer_next;
    }
    if (*link == me) {
        *link = s->offer_next;
        if (a->offer_last == me) a->offer_last = last;
    }
    s->offer_next = 0;
    s->offering = false;
    a->status.offers_waiting--;
}

static void wait_for_room(struct trib_aggregator *a, struct session *s) {
    if (s->offering) return;
    s->offering = true;
    s->offer_next = 0;
    a->status.offers_waiting++;
    size_t me = (size_t)(s - a->sessions) + 1;
    if (a->offer_last != 0)
        a->sessions[a->offer_last - 1].offer_next = me;
    else
        a->offer_first = me;
    a->offer_last = me;
}

/* ---- room ---- */

static bool in_file(const struct session *s) {
    return s->incoming.total > 0 && trib_blob_memory(s->incoming.blob) == 0;
}

/* What a parked one takes: a file is as large as its payload from the start. */
static size_t kept_bytes(const struct session *s) {
    return in_file(s) ? s->incoming.total : s->incoming.have;
}

static uint64_t parked_beside(const struct trib_aggregator *a, const struct session *s) {
    return in_file(s) ? a->parked_file_bytes : a->status.parked_bytes;
}

static uint64_t budget_of(const struct trib_aggregator *a, bool file) {
    return file ? a->options.file_bytes : a->options.budget_bytes;
}

static void give_back(struct trib_aggregator *a, struct session *s) {
    if (in_file(s)) {
        a->status.spooled_bytes -= s->room;
        if (s->parked) a->parked_file_bytes -= s->room;
    } else if (s->parked) {
        a->status.parked_bytes -= s->room;
    } else {
        a->status.in_flight_bytes -= s->room;
    }
    s->room = 0;
    s->parked = s->pace.narrow = false;
}

static void take_room(struct trib_aggregator *a, struct session *s, size_t bytes) {
    s->room = bytes;
    if (in_file(s))
        a->status.spooled_bytes += bytes;
    else
        a->status.in_flight_bytes += bytes;
}

/* Is there room for what came of it, beside the budget? One is always kept. */
static bool can_park(const struct trib_aggregator *a, const struct session *s) {
    uint64_t parked = parked_beside(a, s);
    return parked == 0 || parked + kept_bytes(s) <= budget_of(a, in_file(s));
}

static void park(struct trib_aggregator *a, struct session *s) {
    give_back(a, s);
    s->parked = s->pace.narrow = true;
    s->room = kept_bytes(s);
    if (in_file(s)) {
        a->status.spooled_bytes += s->room;
        a->parked_file_bytes += s->room;
    } else {
        a->status.parked_bytes += s->room;
    }
}

void trib_aggregator_hand_over(struct trib_aggregator *a, struct session *from, struct session *to) {
    if (from->incoming.blob == NULL) return;
    if (!from->parked && can_park(a, from)) park(a, from);
    to->incoming = from->incoming;
    to->room = from->room;
    to->parked = to->pace.narrow = from->parked;
    from->incoming = (struct trib_inbound){0};
    from->room = 0;
    from->parked = false;
}

void trib_aggregator_drop_incoming(struct trib_aggregator *a, struct session *s) {
    if (s->incoming.blob == NULL) return;
    give_back(a, s);
    trib_inbound_drop(&s->incoming);
}

static void grant_pieces(struct trib_aggregator *a, struct session *s) {
    size_t chunk, window = trib_pace_grant(&s->pace, a->now_ms, &chunk);
    struct trib_msg msg = {.type = TRIB_CREDIT};
    trib_msg_set(&msg, SESSION, session, s->number);
    trib_msg_set(&msg, NUMBER, number, s->incoming.number);
    trib_msg_set(&msg, OFFSET, offset, s->incoming.have);
    trib_msg_set(&msg, CHUNK_BYTES, chunk_bytes, chunk);
    trib_msg_set(&msg, WINDOW_BYTES, window_bytes, window);
    (void)trib_aggregator_say(a, s, 0, &msg, NULL);
}

/* A parked one takes no more when as much as the budget is parked. */
static bool may_go_on(const struct trib_aggregator *a, const struct session *s) {
    return !s->parked || in_file(s) || a->status.parked_bytes == s->room ||
           a->status.parked_bytes + s->pace.chunk <= a->options.budget_bytes;
}

static void grant_if_due(struct trib_aggregator *a, struct session *s) {
    if (trib_pace_due(&s->pace) && may_go_on(a, s)) grant_pieces(a, s);
}

/* What was on its way is gone, or never was. */
static void begin_here(struct session *s) {
    trib_pace_start(&s->pace, s->incoming.have, s->incoming.total);
}

/* It comes on, or has its turn. Who only says things again, or sends byte after byte, keeps no room by that.
 */
static void come_on(const struct trib_aggregator *a, struct session *s) {
    s->piece_ms = a->now_ms;
    s->piece_have = s->incoming.have;
}

/* Are pieces of this very payload here? */
static bool under_way(const struct session *s) {
    const struct trib_inbound *in = &s->incoming;
    const struct trib_msg *offer = &s->offer->msg;
    return in->blob != NULL && in->number == offer->number && in->total == offer->payload_bytes &&
           in->crc == offer->payload_crc;
}

/* Does this offer's payload go into a file? */
static bool is_large(const struct trib_aggregator *a, const struct session *s) {
    return a->options.file != NULL && s->offer->msg.payload_bytes > a->options.budget_bytes / 2;
}

static bool start_incoming(struct trib_aggregator *a, struct session *s) {
    const struct trib_msg *offer = &s->offer->msg;
    size_t bytes = (size_t)offer->payload_bytes;
    uint32_t crc = (uint32_t)offer->payload_crc;
    if (!is_large(a, s)) return trib_inbound_start(&s->incoming, offer->number, bytes, crc) == TRIB_OK;
    struct trib_blob *file = a->options.file(a->options.file_ctx, bytes);
    if (file == NULL) return false;
    trib_inbound_start_in(&s->incoming, offer->number, crc, &file);
    return true;
}

/* The first in the queue has its turn. */
static void let_in(struct trib_aggregator *a, struct session *s) {
    size_t bytes = (size_t)s->offer->msg.payload_bytes;
    bool goes_on = under_way(s);
    trib_aggregator_forget_offer(a, s);
    if (goes_on) {
        give_back(a, s);
        take_room(a, s, bytes);
        come_on(a, s);
        grant_if_due(a, s);
        return;
    }
    trib_aggregator_drop_incoming(a, s);
    if (!start_incoming(a, s)) {
        trib_aggregator_out_of_memory(a, s, s->offer->msg.number);
        return;
    }
    take_room(a, s, bytes);
    come_on(a, s);
    begin_here(s);
    grant_pieces(a, s);
}

/* What it replaces is its own. One transfer is always let in, so that a budget below the model's size still
 * works. */
static bool has_room(const struct trib_aggregator *a, const struct session *s) {
    bool file = is_large(a, s);
    uint64_t mine = s->parked || in_file(s) != file ? 0 : s->room;
    uint64_t all = file ? a->status.spooled_bytes - a->parked_file_bytes
                        : a->status.in_flight_bytes + a->unwritten_bytes;
    all -= mine;
    return all == 0 || all + s->offer->msg.payload_bytes <= budget_of(a, file);
}

void trib_aggregator_grant_offers(struct trib_aggregator *a) {
    while (a->offer_first != 0) {
        struct session *s = &a->sessions[a->offer_first - 1];
        if (!has_room(a, s)) return;
        let_in(a, s);
    }
}

static struct offer *offer_of(struct session *s, const struct trib_msg *msg) {
    if (s->offer == NULL) s->offer = trib_alloc(sizeof *s->offer);
    if (s->offer == NULL) return NULL;
    s->offer->msg = *msg;
    memset(s->offer->codec, 0, sizeof s->offer->codec);
    if (msg->codec.size > 0) memcpy(s->offer->codec, msg->codec.data, msg->codec.size);
    s->offer->msg.codec = (struct trib_text){NULL, 0};
    return s->offer;
}

void trib_aggregator_on_offer(struct trib_aggregator *a, struct session *s, const struct trib_msg *msg,
                              size_t wire_bytes) {
    enum trib_status status = trib_aggregator_look_at_offer(a, s, msg);
    if (status == TRIB_INVALID) { /* refused without a byte of it */
        trib_aggregator_judge(a, s, msg, NULL, wire_bytes);
        return;
    }
    if (status != TRIB_OK || offer_of(s, msg) == NULL) {
        trib_aggregator_out_of_memory(a, s, msg->number);
        return;
    }
    if (under_way(s)) begin_here(s);
    if (under_way(s) && !s->parked)
        trib_aggregator_forget_offer(a, s); /* it has its room already */
    else
        wait_for_room(a, s);
    trib_aggregator_grant_offers(a);
    if (under_way(s)) grant_if_due(a, s); /* parked, or with room already */
}

/* ---- pieces ---- */

/* All of it is here: judged as if it had come in one frame. */
static void judge_whole(struct trib_aggregator *a, struct session *s) {
    struct offer *offer = s->offer;
    bool sound = trib_inbound_sound(&s->incoming);
    trib_aggregator_forget_offer(a, s); /* it may have been offered again meanwhile */
    s->offer = NULL;
    offer->msg.codec = (struct trib_text){offer->codec, strlen(offer->codec)};
    give_back(a, s);
    struct trib_blob *whole = trib_inbound_take(&s->incoming);
    if (!sound) {
        trib_aggregator_damaged(a, s, offer->msg.number);
    } else if (a->store_retry_ms > 0) {
        trib_aggregator_error(a, s->route, s->number, TRIB_CODE_STORE, offer->msg.number, a->store_retry_ms,
                              "the journal cannot be written");
    } else {
        trib_aggregator_judge(a, s, &offer->msg, whole, trib_zmtp_bytes(64, trib_blob_size(whole)));
        trib_blob_rest(whole); /* of a file, which waits to be written: the next one is large too */
    }
    trib_blob_unref(&whole);
    trib_free(offer);
    trib_aggregator_grant_offers(a);
}

static void taken(struct trib_aggregator *a, struct session *s, size_t bytes) {
    if (s->parked && !in_file(s)) {
        s->room += bytes;
        a->status.parked_bytes += bytes;
    }
    trib_pace_arrived(&s->pace, a->now_ms, s->incoming.have, bytes);
    if (trib_inbound_complete(&s->incoming)) {
        judge_whole(a, s);
        return;
    }
    if (s->parked) wait_for_room(a, s);
    grant_if_due(a, s);
}

void trib_aggregator_on_chunk(struct trib_aggregator *a, struct session *s, const struct trib_msg *msg,
                              struct trib_blob *payload) {
    struct trib_inbound *in = &s->incoming;
    if (in->blob == NULL || msg->number != in->number || s->offer == NULL ||
        s->offer->msg.number != in->number)
        return;
    switch (trib_inbound_piece(in, (size_t)msg->offset, trib_blob_data(payload), trib_blob_size(payload))) {
    case TRIB_OK:
        if (in->have == in->total || in->have >= s->piece_have + TRIB_CHUNK_MIN) come_on(a, s);
        taken(a, s, trib_blob_size(payload));
        break;
    case TRIB_AGAIN:
        begin_here(s);
        grant_if_due(a, s);
        break;
    case TRIB_INVALID:
        a->status.malformed++;
        trib_aggregator_error(a, s->route, s->number, TRIB_CODE_MALFORMED, msg->number, 0,
                              "a piece outside its payload");
        break;
    case TRIB_IO: /* the disk is full, or worse */
        trib_aggregator_drop_incoming(a, s);
        trib_aggregator_out_of_memory(a, s, msg->number);
        break;
    default: break;
    }
}

/* ---- those that stop ---- */

void trib_aggregator_look_at_transfer(struct trib_aggregator *a, struct session *s) {
    if (s->incoming.blob == NULL) return;
    uint64_t quiet_ms = a->now_ms - s->piece_ms;
    bool others = a->status.offers_waiting > (s->offering ? 1u : 0u);
    bool stays = s->parked || can_park(a, s);
    if (quiet_ms > FORGET_MS || (quiet_ms > STALLED_MS && others && !stays)) {
        trib_aggregator_event(a, TRIB_LOG_WARN, "transfer_stalled", "peer=%s number=%" PRIu64 " bytes=%zu",
                              trib_session_peer(a, s)->identity, s->incoming.number, s->incoming.have);
        trib_aggregator_forget_offer(a, s);
        trib_aggregator_drop_incoming(a, s);
    } else if (!s->parked && others && stays && quiet_ms > YIELD_MS) {
        park(a, s);
    }
}
