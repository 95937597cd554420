/* What the fuzzers of the two roles share: bytes as decisions, a role's outbox with every promise checked
 * that can be read off it, and the journal replayed at the end. */
#ifndef TRIBUTARY_TESTS_FUZZ_ROLE_H
#define TRIBUTARY_TESTS_FUZZ_ROLE_H

#include "shared/base/alloc.h"
#include "shared/kernels/kernels.h"
#include "shared/model/digest.h"
#include "shared/state/outbox.h"

#include <string.h>

enum { FUZZ_N = 4, FUZZ_RECORDS = 4096, FUZZ_OPS = 300, FUZZ_SENT = 600 };

/* ---- bytes as decisions ---- */

struct feed {
    const uint8_t *data;
    size_t left;
};

static inline uint8_t feed_byte(struct feed *feed) {
    if (feed->left == 0) return 0;
    feed->left--;
    return *feed->data++;
}

/* Mostly small; now and then of any size. */
static inline uint64_t feed_number(struct feed *feed) {
    uint8_t b = feed_byte(feed);
    if (b < 240) return b % 16;
    uint64_t value = 0;
    for (int i = 0; i < (b & 7) + 1; i++) value = value << 8 | feed_byte(feed);
    return (b & 8) != 0 ? ~value : value;
}

static inline size_t feed_take(struct feed *feed, size_t most, const uint8_t **out) {
    size_t bytes = feed_byte(feed);
    if (bytes > most) bytes = most;
    if (bytes > feed->left) bytes = feed->left;
    *out = feed->data;
    feed->data += bytes;
    feed->left -= bytes;
    return bytes;
}

/* A payload: floats that are a good encoding, any bytes, or none. */
static inline struct trib_blob *feed_payload(struct feed *feed) {
    uint8_t kind = feed_byte(feed);
    if (kind < 140) {
        float values[FUZZ_N];
        for (size_t i = 0; i < FUZZ_N; i++) values[i] = (float)(int8_t)feed_byte(feed) * 0.125f;
        return trib_blob_copy(values, sizeof values);
    }
    if (kind < 170) return NULL;
    if (kind < 180) return trib_blob_new(20000); /* more than goes without asking */
    const uint8_t *data;
    size_t bytes = feed_take(feed, 64, &data);
    return bytes > 0 ? trib_blob_copy(data, bytes) : NULL;
}

/* ---- one role ---- */

struct subject {
    struct trib_state *state;
    struct trib_outbox outbox;
    uint64_t now_ms;
    size_t record_count;
    struct trib_record *records[FUZZ_RECORDS];
    size_t sent; /* of the step under way */
    void (*on_sent)(void *ctx, const struct trib_action *action, const struct trib_msg *msg);
    void (*on_other)(void *ctx, const struct trib_action *action);
    void *ctx;
};

static inline struct trib_text text_of(const char *text) {
    return (struct trib_text){text, strlen(text)};
}

static inline void subject_collect(struct subject *s) {
    struct trib_action action;
    TRIB_ASSERT(s->outbox.failed == TRIB_OK);
    while (trib_outbox_take(&s->outbox, &action)) {
        if (action.kind == TRIB_ACTION_SEND_CHILD || action.kind == TRIB_ACTION_SEND_PARENT) {
            struct trib_msg msg;
            TRIB_ASSERT(trib_msg_decode(action.frame, action.frame_bytes, &msg, NULL, NULL) == TRIB_OK);
            TRIB_ASSERT(action.after <= s->state->position);
            TRIB_ASSERT(s->sent++ < FUZZ_SENT);
            s->on_sent(s->ctx, &action, &msg);
        } else if (action.kind == TRIB_ACTION_WRITE && s->record_count < FUZZ_RECORDS) {
            s->records[s->record_count++] = action.record;
            action.record = NULL;
        } else {
            s->on_other(s->ctx, &action);
        }
        trib_action_release(&action);
    }
    s->sent = 0;
}

static inline void subject_record(struct subject *s, struct trib_record *record) {
    trib_rec_set(record, NOW, now_ms, s->now_ms);
    (void)trib_outbox_record(&s->outbox, s->state, record);
    subject_collect(s);
}

static inline void subject_open(struct subject *s, enum trib_role role) {
    struct trib_state_limits limits = {.max_parameters = 64};
    s->now_ms = 1000000;
    TRIB_ASSERT(trib_state_new(role, &limits, &s->state, NULL) == TRIB_OK);
    trib_outbox_init(&s->outbox);
}

/* What was written gives the same state again, record by record through its encoding. */
static inline void subject_replay(const struct subject *s) {
    if (s->record_count == FUZZ_RECORDS) return; /* some were not kept */
    struct trib_state *again;
    TRIB_ASSERT(trib_state_new(s->state->role, &s->state->limits, &again, NULL) == TRIB_OK);
    for (size_t i = 0; i < s->record_count; i++) {
        struct trib_buf map;
        trib_buf_init(&map, 0);
        trib_record_encode(s->records[i], &map);
        struct trib_record read;
        struct trib_error err = {0};
        TRIB_ASSERT(trib_record_decode(s->records[i]->kind, map.data, map.size, &read, &err) == TRIB_OK);
        read.position = s->records[i]->position;
        read.payload = s->records[i]->payload;
        TRIB_ASSERT(trib_state_apply(again, &read, &err) == TRIB_OK);
        trib_buf_release(&map);
    }
    uint8_t live[TRIB_DIGEST_BYTES], replayed[TRIB_DIGEST_BYTES];
    TRIB_ASSERT(trib_state_digest(s->state, live) == TRIB_OK);
    TRIB_ASSERT(trib_state_digest(again, replayed) == TRIB_OK);
    TRIB_ASSERT(memcmp(live, replayed, sizeof live) == 0);
    trib_state_free(&again);
}

static inline void subject_close(struct subject *s) {
    trib_outbox_release(&s->outbox);
    trib_state_free(&s->state);
    for (size_t i = 0; i < s->record_count; i++) trib_record_free(&s->records[i]);
}

/* Encodes a message and, if the feed says so, damages it. */
static inline void feed_encode(struct feed *feed, const struct trib_msg *msg, struct trib_buf *out) {
    trib_buf_init(out, 0);
    trib_msg_encode(msg, out);
    uint8_t damage = feed_byte(feed);
    if (damage < 200 || out->size == 0) return;
    for (int i = 0; i < damage % 4 + 1; i++) {
        size_t at = (size_t)(feed_byte(feed) | feed_byte(feed) << 8) % out->size;
        out->data[at] ^= feed_byte(feed);
    }
}

#endif
