/* The parent role and payloads beyond a frame: session credit, offers, pieces, the shared budget, and models
 * that a child takes in pieces. */
#include "tests/support/cmocka.h"

#include "shared/base/alloc.h"
#include "shared/wire/pace.h"
#include "tests/support/roles.h"

#include <string.h>

enum { BIG = ROLE_HUGE_N * (int)sizeof(float), FOUR = ROLE_N * (int)sizeof(float) };

static void cloud_with(struct role_node *node, size_t budget, size_t window, bool big) {
    role_parent(node, (struct role_options){.role = TRIB_ROLE_CLOUD,
                                            .huge = big,
                                            .aggregator = {.budget_bytes = budget, .window_bytes = window}});
}

/* A child with version 0. */
static uint64_t child(struct role_node *node, trib_child_route route, const char *name) {
    uint64_t session = role_join(node, route, name, route + 10);
    struct trib_msg pull = role_pull(session, NULL);
    role_deliver(node, route, NULL, &pull, NULL);
    (void)role_next(node, TRIB_MODEL);
    return session;
}

static const struct role_sent *credit(struct role_node *node, uint64_t number, uint64_t offset) {
    const struct role_sent *sent = role_next(node, TRIB_CREDIT);
    assert_int_equal(sent->msg.number, number);
    assert_int_equal(sent->msg.offset, offset);
    assert_int_equal(sent->after, 0);
    return sent;
}

static void offer(struct role_node *node, trib_child_route route, uint64_t session, uint64_t number,
                  const struct trib_blob *blob) {
    struct trib_msg msg = role_offer(session, number, 0, blob);
    role_deliver(node, route, NULL, &msg, NULL);
}

/* A piece of the payload. */
static void piece(struct role_node *node, trib_child_route route, uint64_t session, uint64_t number,
                  struct trib_blob *blob, size_t offset, size_t bytes) {
    struct trib_blob *slice = trib_blob_slice(blob, offset, bytes);
    assert_non_null(slice);
    struct trib_msg msg = role_chunk(session, number, offset);
    role_deliver(node, route, NULL, &msg, slice);
    trib_blob_unref(&slice);
}

static void accepted(struct role_node *node, uint64_t number) {
    const struct role_sent *ack = role_next(node, TRIB_ACK);
    assert_int_equal(ack->msg.number, number);
    assert_int_equal(ack->msg.verdict, TRIB_ACCEPTED);
    assert_int_equal(ack->after, node->state->position);
}

static size_t in_flight(const struct role_node *node) {
    return trib_aggregator_status(node->aggregator).in_flight_bytes;
}

static size_t parked(const struct role_node *node) {
    return trib_aggregator_status(node->aggregator).parked_bytes;
}

/* ---- session credit ---- */

static void test_payload_beyond_the_grant(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, BIG + BIG / 2, 0, true); /* two children: a share is less than an update */
    uint64_t session = role_join(&node, 1, "a", 11);
    struct trib_msg pull = role_pull(session, NULL);
    role_deliver(&node, 1, NULL, &pull, NULL);
    (void)role_next(&node, TRIB_MODEL);
    const struct trib_msg *ack = role_update(&node, 1, role_push(session, 1, 0), 0.5f);
    assert_int_equal(ack->credit, BIG + BIG + BIG / 2); /* what was sent, and as much as before */
    uint64_t other = child(&node, 2, "b");
    struct trib_blob *payload = role_floats(ROLE_HUGE_N, 0.25f);
    struct trib_msg push = role_push(other, 1, 0);
    size_t verdicts = role_recorded(&node, TRIB_REC_VERDICT);
    role_deliver(&node, 2, NULL, &push, payload);
    assert_int_equal(role_error(&node, TRIB_CODE_CREDIT)->msg.number, 1);
    assert_int_equal(role_recorded(&node, TRIB_REC_VERDICT), verdicts);
    offer(&node, 2, other, 1, payload); /* as it is told to */
    (void)credit(&node, 1, 0);
    piece(&node, 2, other, 1, payload, 0, BIG);
    accepted(&node, 1);
    trib_blob_unref(&payload);
    role_stop(&node);
}

static void test_grant_is_used_up(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, 2 * BIG, 0, true);
    uint64_t session = child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_HUGE_N, 0.25f);
    struct trib_msg push = role_push(session, 1, 0);
    role_deliver(&node, 1, NULL, &push, payload);
    accepted(&node, 1);
    role_deliver(&node, 1, NULL, &push, payload); /* a repeat takes its bytes, and is granted them again */
    const struct trib_msg *ack = &role_next(&node, TRIB_ACK)->msg;
    assert_int_equal(ack->credit, 4 * BIG);
    trib_blob_unref(&payload);
    payload = role_bytes(3 * BIG, 0);
    push.number = 2;
    role_deliver(&node, 1, NULL, &push, payload);
    (void)role_error(&node, TRIB_CODE_CREDIT);
    trib_blob_unref(&payload);
    role_stop(&node);
}

/* ---- offers ---- */

static void test_offer_in_pieces(void **unused) {
    (void)unused;
    enum { C = TRIB_CHUNK_MIN };
    struct role_node node;
    cloud_with(&node, 0, 0, true);
    uint64_t session = child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_HUGE_N, 0.25f);
    offer(&node, 1, session, 1, payload);
    const struct role_sent *first = credit(&node, 1, 0);
    assert_int_equal(first->msg.chunk_bytes, C);
    assert_int_equal(first->msg.window_bytes, 2 * C);
    assert_int_equal(in_flight(&node), BIG);
    piece(&node, 1, session, 1, payload, 0, C / 2);
    role_silent(&node);
    piece(&node, 1, session, 1, payload, C / 2, C / 2);
    (void)credit(&node, 1, C);                      /* half a window ahead */
    piece(&node, 1, session, 1, payload, 2 * C, C); /* one was lost: */
    assert_int_equal(credit(&node, 1, C)->msg.window_bytes, 2 * C);
    piece(&node, 1, session, 1, payload, 3 * C, C); /* said once, for what follows comes too */
    role_silent(&node);
    piece(&node, 1, session, 1, payload, C, C);
    (void)credit(&node, 1, 2 * C);
    piece(&node, 1, session, 1, payload, C, C); /* came twice */
    role_silent(&node);
    piece(&node, 1, session, 1, payload, 3 * C, C); /* another one was lost */
    (void)credit(&node, 1, 2 * C);
    piece(&node, 1, session, 1, payload, 2 * C, BIG - 2 * C);
    accepted(&node, 1);
    assert_int_equal(in_flight(&node), 0);
    assert_true(node.state->own[ROLE_HUGE_N - 1] == 0.25f);
    trib_blob_unref(&payload);
    role_rebuild(&node);
    role_stop(&node);
}

/* The window grows where the line is fast, up to the option, and shrinks where it is slow. */
static void test_window_follows_the_line(void **unused) {
    (void)unused;
    for (int slow = 0; slow < 2; slow++) {
        struct role_node node;
        cloud_with(&node, 0, 64 * 1024, true);
        uint64_t session = child(&node, 1, "a"), window = 0;
        struct trib_blob *payload = role_floats(ROLE_HUGE_N, 0.25f);
        for (uint64_t number = 1; number <= 3; number++) {
            offer(&node, 1, session, number, payload);
            (void)credit(&node, number, 0);
            for (size_t at = 0; at < BIG; at += TRIB_CHUNK_MIN) {
                node.now_ms += slow ? 13000 : 1;
                piece(&node, 1, session, number, payload, at,
                      BIG - at < TRIB_CHUNK_MIN ? BIG - at : TRIB_CHUNK_MIN);
                const struct role_sent *sent = role_peek(&node);
                if (sent != NULL && sent->msg.type == TRIB_CREDIT) window = sent->msg.window_bytes;
            }
        }
        assert_int_equal(window, slow ? TRIB_CHUNK_MIN : 64 * 1024);
        trib_blob_unref(&payload);
        role_stop(&node);
    }
}

static void test_pieces_of_odd_size(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, 0, 0, true);
    uint64_t session = child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_HUGE_N, 0.25f);
    offer(&node, 1, session, 1, payload);
    uint64_t end = credit(&node, 1, 0)->msg.window_bytes, at = 0;
    while (at < BIG) { /* a sender that never cuts a piece short, and never goes beyond the window */
        uint64_t bytes = BIG - at < 3000 ? BIG - at : 3000;
        if (at + bytes > end) fail_msg("no CREDIT came: it would wait for ever at %d", (int)at);
        piece(&node, 1, session, 1, payload, (size_t)at, (size_t)bytes);
        at += bytes;
        const struct role_sent *sent = role_peek(&node);
        if (at == BIG) {
            assert_non_null(sent);
            assert_int_equal(sent->msg.type, TRIB_ACK);
        } else if (sent != NULL) {
            assert_int_equal(sent->msg.offset, at);
            end = sent->msg.offset + sent->msg.window_bytes;
        }
    }
    trib_blob_unref(&payload);
    role_stop(&node);
}

static void test_damaged_payload(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, 0, 0, false);
    uint64_t session = child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_N, 0.25f), *other = role_floats(ROLE_N, 0.5f);
    offer(&node, 1, session, 1, payload);
    (void)credit(&node, 1, 0);
    piece(&node, 1, session, 1, other, 0, FOUR);
    assert_int_equal(role_error(&node, TRIB_CODE_CREDIT)->msg.number, 1);
    assert_int_equal(role_recorded(&node, TRIB_REC_VERDICT), 0);
    assert_int_equal(in_flight(&node), 0);
    offer(&node, 1, session, 1, payload);
    (void)credit(&node, 1, 0);
    piece(&node, 1, session, 1, payload, 0, FOUR + 0);
    accepted(&node, 1);
    trib_blob_unref(&payload);
    trib_blob_unref(&other);
    role_stop(&node);
}

/* In PUSH's own frame too, whether the number is new or a repeat, which damaged bytes do not make a conflict.
 */
static void test_damaged_push(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, 0, 0, false);
    uint64_t session = child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_N, 0.25f), *other = role_floats(ROLE_N, 0.5f),
                     *shorter = role_floats(ROLE_N - 1, 0.25f);
    for (int repeat = 0; repeat < 2; repeat++) {
        struct trib_msg push = role_offer(session, 1, 0, payload);
        struct trib_blob *damaged[] = {other, shorter};
        for (size_t i = 0; i < 2; i++) {
            role_deliver(&node, 1, NULL, &push, damaged[i]);
            assert_int_equal(role_error(&node, TRIB_CODE_CREDIT)->msg.number, 1);
            assert_int_equal(role_recorded(&node, TRIB_REC_VERDICT), (size_t)repeat);
        }
        role_deliver(&node, 1, NULL, &push, payload);
        accepted(&node, 1);
        assert_int_equal(role_last(&node, TRIB_REC_VERDICT)->payload_crc, role_crc(payload));
    }
    assert_int_equal(role_recorded(&node, TRIB_REC_VERDICT), 1);
    assert_int_equal(role_logged(&node, "payload_damaged"), 4);
    trib_blob_unref(&payload);
    trib_blob_unref(&other);
    trib_blob_unref(&shorter);
    role_rebuild(&node);
    role_stop(&node);
}

static void test_piece_outside(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, 0, 0, false);
    uint64_t session = child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_N, 0.25f);
    piece(&node, 1, session, 1, payload, 0, 4); /* of nothing that was offered */
    role_silent(&node);
    offer(&node, 1, session, 1, payload);
    (void)credit(&node, 1, 0);
    struct trib_msg msg = role_chunk(session, 1, UINT64_MAX - 3);
    role_deliver(&node, 1, NULL, &msg, payload);
    (void)role_error(&node, TRIB_CODE_MALFORMED);
    msg = role_chunk(session, 1, 8);
    role_deliver(&node, 1, NULL, &msg, payload);
    (void)role_error(&node, TRIB_CODE_MALFORMED);
    msg = role_chunk(session, 1, 0);
    role_deliver(&node, 1, NULL, &msg, NULL); /* and one of nothing */
    role_silent(&node);
    piece(&node, 1, session, 1, payload, 0, FOUR);
    accepted(&node, 1);
    trib_blob_unref(&payload);
    role_stop(&node);
}

static void test_resumed_after_hello(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, 0, 0, true);
    uint64_t session = child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_HUGE_N, 0.25f);
    offer(&node, 1, session, 1, payload);
    (void)credit(&node, 1, 0);
    piece(&node, 1, session, 1, payload, 0, 5000);
    uint64_t again = role_join(&node, 2, "a", 11);
    assert_int_equal(in_flight(&node), 0); /* while it is away others have the room */
    assert_int_equal(parked(&node), 5000);
    piece(&node, 2, again, 1, payload, 5000, 100); /* not offered in this session yet */
    role_silent(&node);
    offer(&node, 2, again, 1, payload);
    (void)credit(&node, 1, 5000);
    assert_int_equal(in_flight(&node), BIG);
    assert_int_equal(parked(&node), 0);
    piece(&node, 2, again, 1, payload, 5000, BIG - 5000);
    accepted(&node, 1);
    assert_int_equal(in_flight(&node), 0);
    trib_blob_unref(&payload);
    role_stop(&node);
}

static void test_resumed_where_the_budget_is_its_own(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, FOUR + 4, 0, false); /* room for one, so that its own bytes must not block it */
    uint64_t session = child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_N, 0.25f);
    offer(&node, 1, session, 1, payload);
    (void)credit(&node, 1, 0);
    piece(&node, 1, session, 1, payload, 0, 4);
    offer(&node, 1, session, 1, payload); /* again, because a CREDIT was lost */
    (void)credit(&node, 1, 4);
    assert_int_equal(in_flight(&node), FOUR);
    uint64_t again = role_join(&node, 2, "a", 11);
    offer(&node, 2, again, 1, payload);
    (void)credit(&node, 1, 4);
    piece(&node, 2, again, 1, payload, 4, FOUR - 4);
    accepted(&node, 1);
    trib_blob_unref(&payload);
    role_stop(&node);
}

static void test_budget_is_shared(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, FOUR + 4, 0, false);
    uint64_t a = child(&node, 1, "a"), b = child(&node, 2, "b"), c = child(&node, 3, "c");
    struct trib_blob *payload = role_floats(ROLE_N, 0.25f);
    offer(&node, 1, a, 1, payload);
    (void)credit(&node, 1, 0);
    offer(&node, 2, b, 1, payload);
    offer(&node, 3, c, 1, payload);
    role_silent(&node); /* both wait for their turn */
    assert_int_equal(in_flight(&node), FOUR);
    struct trib_msg bye = role_message(TRIB_BYE, b);
    trib_msg_set(&bye, REASON, reason, TRIB_BYE_LEAVING);
    role_deliver(&node, 2, NULL, &bye, NULL); /* one gives up */
    piece(&node, 1, a, 1, payload, 0, FOUR);
    accepted(&node, 1);
    assert_int_equal(credit(&node, 1, 0)->route, 3);
    piece(&node, 3, c, 1, payload, 0, FOUR);
    accepted(&node, 1);
    role_silent(&node);
    trib_blob_unref(&payload);
    role_stop(&node);
}

static void test_larger_than_the_budget(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, 8, 0, false);
    uint64_t session = child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_N, 0.25f);
    offer(&node, 1, session, 1, payload); /* one is always let in */
    (void)credit(&node, 1, 0);
    piece(&node, 1, session, 1, payload, 0, FOUR);
    accepted(&node, 1);
    trib_blob_unref(&payload);
    role_stop(&node);
}

static void test_hopeless_offers(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, 0, 0, false);
    uint64_t session = child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_N, 0.25f);
    static const struct {
        uint64_t bytes, base, reason;
        const char *codec;
    } cases[] = {
        {FOUR + 1, 0, TRIB_REASON_PAYLOAD, NULL}, {UINT64_MAX, 0, TRIB_REASON_PAYLOAD, NULL},
        {0, 0, TRIB_REASON_PAYLOAD, NULL},        {FOUR, 9, TRIB_REASON_BASE, NULL},
        {FOUR, 0, TRIB_REASON_CODEC, "zip"},      {FOUR, 0, TRIB_REASON_PAYLOAD, "f16"},
    };
    for (uint64_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct trib_msg msg = role_offer(session, i + 1, cases[i].base, payload);
        msg.payload_bytes = cases[i].bytes;
        if (cases[i].codec != NULL) trib_msg_set(&msg, CODEC, codec, role_text(cases[i].codec));
        for (int again = 0; again < 2; again++) {
            role_deliver(&node, 1, NULL, &msg, NULL);
            const struct role_sent *ack = role_next(&node, TRIB_ACK);
            assert_int_equal(ack->msg.verdict, TRIB_REFUSED);
            assert_int_equal(ack->msg.reason, cases[i].reason);
        }
    }
    assert_int_equal(in_flight(&node), 0);
    trib_blob_unref(&payload);
    role_rebuild(&node);
    role_stop(&node);
}

/* Whatever a child mixes, a number is judged once. */
static void test_offered_and_pushed_at_once(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, 0, 0, false);
    uint64_t session = child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_N, 0.25f);
    offer(&node, 1, session, 1, payload);
    (void)credit(&node, 1, 0);
    (void)role_update(&node, 1, role_push(session, 1, 0), 0.25f);
    piece(&node, 1, session, 1, payload, 0, FOUR);
    const struct role_sent *sent = role_peek(&node); /* the same verdict, or none */
    if (sent != NULL) assert_int_equal(sent->msg.verdict, TRIB_ACCEPTED);
    offer(&node, 1, session, 2, payload);
    (void)credit(&node, 2, 0);
    struct trib_msg hopeless = role_offer(session, 3, 77, payload);
    role_deliver(&node, 1, NULL, &hopeless, NULL);
    assert_int_equal(role_next(&node, TRIB_ACK)->msg.verdict, TRIB_REFUSED);
    piece(&node, 1, session, 2, payload, 0, FOUR); /* 3 was judged: 2 comes too late */
    assert_int_equal(role_recorded(&node, TRIB_REC_VERDICT), 2);
    assert_int_equal(in_flight(&node), 0);
    trib_blob_unref(&payload);
    role_rebuild(&node);
    role_stop(&node);
}

static void test_offered_again_while_pieces_arrive(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, FOUR + FOUR / 2, 0, false);
    uint64_t a = child(&node, 1, "a"), b = child(&node, 2, "b");
    struct trib_blob *payload = role_floats(ROLE_N, 0.25f);
    offer(&node, 1, a, 1, payload);
    (void)credit(&node, 1, 0);
    offer(&node, 2, b, 1, payload); /* waits */
    offer(&node, 1, a, 1, payload); /* again, and behind b in the queue, or at once */
    piece(&node, 1, a, 1, payload, 0, FOUR);
    bool judged = false, granted = false;
    for (const struct role_sent *sent; (sent = role_peek(&node)) != NULL;) {
        judged |= sent->msg.type == TRIB_ACK && sent->route == 1;
        granted |= sent->msg.type == TRIB_CREDIT && sent->route == 2;
    }
    assert_true(judged && granted);
    piece(&node, 2, b, 1, payload, 0, FOUR);
    accepted(&node, 1);
    assert_int_equal(in_flight(&node), 0);
    trib_blob_unref(&payload);
    role_stop(&node);
}

static void test_store_fails_while_pieces_arrive(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, 0, 0, false);
    uint64_t session = child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_N, 0.25f);
    offer(&node, 1, session, 1, payload);
    (void)credit(&node, 1, 0);
    trib_aggregator_refuse_writes(node.aggregator, 2500);
    size_t records = node.record_count;
    piece(&node, 1, session, 1, payload, 0, FOUR);
    assert_int_equal(role_error(&node, TRIB_CODE_STORE)->msg.wait_ms, 2500);
    assert_int_equal(node.record_count, records);
    trib_aggregator_refuse_writes(node.aggregator, 0);
    offer(&node, 1, session, 1, payload);
    (void)credit(&node, 1, 0);
    piece(&node, 1, session, 1, payload, 0, FOUR);
    accepted(&node, 1);
    trib_blob_unref(&payload);
    role_stop(&node);
}

/* ---- models in pieces ---- */

static void grant(struct role_node *node, uint64_t session, uint64_t number, uint64_t offset,
                  uint64_t window) {
    struct trib_msg msg = role_message(TRIB_CREDIT, session);
    trib_msg_set(&msg, NUMBER, number, number);
    trib_msg_set(&msg, OFFSET, offset, offset);
    trib_msg_set(&msg, CHUNK_BYTES, chunk_bytes, 1);
    trib_msg_set(&msg, WINDOW_BYTES, window_bytes, window);
    role_deliver(node, 1, NULL, &msg, NULL);
}

static void test_model_in_pieces(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, 0, 0, true);
    uint64_t session = child(&node, 1, "a");
    (void)role_update(&node, 1, role_push(session, 1, 0), 0.25f);
    node.now_ms += 1000;
    struct trib_msg pull = role_pull(session, NULL); /* takes 16 KiB at once, as nothing is said */
    role_deliver(&node, 1, NULL, &pull, NULL);
    const struct role_sent *model = role_next(&node, TRIB_MODEL);
    assert_null(model->payload);
    assert_int_equal(model->msg.payload_bytes, BIG);
    assert_int_equal(model->after, node.state->position);
    grant(&node, session, 77, 0, 20000);
    role_silent(&node);
    grant(&node, session, 1, 0, 10000);
    const struct role_sent *chunk = role_next(&node, TRIB_CHUNK); /* in no crumbs, whatever is asked for */
    assert_int_equal(chunk->msg.offset, 0);
    assert_int_equal(trib_blob_size(chunk->payload), 10000);
    assert_int_equal(chunk->after, 0);
    grant(&node, session, 1, 10000, UINT64_MAX);
    for (size_t at = 10000; at < BIG; at += trib_blob_size(chunk->payload)) {
        chunk = role_next(&node, TRIB_CHUNK);
        assert_int_equal(chunk->msg.offset, at);
        assert_memory_equal(trib_blob_data(chunk->payload), (uint8_t *)node.state->P + at,
                            trib_blob_size(chunk->payload));
    }
    role_silent(&node);
    grant(&node, session, 1, UINT64_MAX, 10);
    role_silent(&node);
    trib_msg_set(&pull, CREDIT, credit, BIG);
    role_deliver(&node, 1, NULL, &pull, NULL);
    model = role_next(&node, TRIB_MODEL);
    assert_int_equal(trib_blob_size(model->payload), BIG);
    role_stop(&node);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_payload_beyond_the_grant),
        cmocka_unit_test(test_grant_is_used_up),
        cmocka_unit_test(test_offer_in_pieces),
        cmocka_unit_test(test_pieces_of_odd_size),
        cmocka_unit_test(test_damaged_payload),
        cmocka_unit_test(test_damaged_push),
        cmocka_unit_test(test_piece_outside),
        cmocka_unit_test(test_resumed_after_hello),
        cmocka_unit_test(test_resumed_where_the_budget_is_its_own),
        cmocka_unit_test(test_budget_is_shared),
        cmocka_unit_test(test_larger_than_the_budget),
        cmocka_unit_test(test_window_follows_the_line),
        cmocka_unit_test(test_hopeless_offers),
        cmocka_unit_test(test_offered_and_pushed_at_once),
        cmocka_unit_test(test_offered_again_while_pieces_arrive),
        cmocka_unit_test(test_store_fails_while_pieces_arrive),
        cmocka_unit_test(test_model_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
