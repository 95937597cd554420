/* The parent role and payloads beyond a frame: session credit, offers, pieces, the shared budget, and models
 * that a child takes in pieces. */
#include "tests/support/cmocka.h"

#include "shared/base/alloc.h"
#include "shared/wire/pace.h"
#include "tests/support/transfers.h"

#include <string.h>

/* ---- session credit ---- */

static void test_payload_beyond_the_grant(void **unused) {
    (void)unused;
    struct role_node node;
    xfer_cloud(&node, XFER_BIG + XFER_BIG / 2, 0, true); /* two children: a share is less than an update */
    uint64_t session = role_join(&node, 1, "a", 11);
    struct trib_msg pull = role_pull(session, NULL);
    role_deliver(&node, 1, NULL, &pull, NULL);
    (void)role_next(&node, TRIB_MODEL);
    const struct trib_msg *ack = role_update(&node, 1, role_push(session, 1, 0), 0.5f);
    assert_int_equal(ack->credit,
                     XFER_BIG + XFER_BIG + XFER_BIG / 2); /* what was sent, and as much as before */
    uint64_t other = xfer_child(&node, 2, "b");
    struct trib_blob *payload = role_floats(ROLE_HUGE_N, 0.25f);
    struct trib_msg push = role_push(other, 1, 0);
    size_t verdicts = role_recorded(&node, TRIB_REC_VERDICT);
    role_deliver(&node, 2, NULL, &push, payload);
    assert_int_equal(role_error(&node, TRIB_CODE_CREDIT)->msg.number, 1);
    assert_int_equal(role_recorded(&node, TRIB_REC_VERDICT), verdicts);
    xfer_offer(&node, 2, other, 1, payload); /* as it is told to */
    (void)xfer_credit(&node, 1, 0);
    xfer_piece(&node, 2, other, 1, payload, 0, XFER_BIG);
    xfer_accepted(&node, 1);
    trib_blob_unref(&payload);
    role_stop(&node);
}

static void test_grant_is_used_up(void **unused) {
    (void)unused;
    struct role_node node;
    xfer_cloud(&node, 2 * XFER_BIG, 0, true);
    uint64_t session = xfer_child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_HUGE_N, 0.25f);
    struct trib_msg push = role_push(session, 1, 0);
    role_deliver(&node, 1, NULL, &push, payload);
    xfer_accepted(&node, 1);
    role_deliver(&node, 1, NULL, &push, payload); /* a repeat takes its bytes, and is granted them again */
    const struct trib_msg *ack = &role_next(&node, TRIB_ACK)->msg;
    assert_int_equal(ack->credit, 4 * XFER_BIG);
    trib_blob_unref(&payload);
    payload = role_bytes(3 * XFER_BIG, 0);
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
    xfer_cloud(&node, 0, 0, true);
    uint64_t session = xfer_child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_HUGE_N, 0.25f);
    xfer_offer(&node, 1, session, 1, payload);
    const struct role_sent *first = xfer_credit(&node, 1, 0);
    assert_int_equal(first->msg.chunk_bytes, C);
    assert_int_equal(first->msg.window_bytes, 2 * C);
    assert_int_equal(xfer_in_flight(&node), XFER_BIG);
    xfer_piece(&node, 1, session, 1, payload, 0, C / 2);
    role_silent(&node);
    xfer_piece(&node, 1, session, 1, payload, C / 2, C / 2);
    (void)xfer_credit(&node, 1, C);                      /* half a window ahead */
    xfer_piece(&node, 1, session, 1, payload, 2 * C, C); /* one was lost: */
    assert_int_equal(xfer_credit(&node, 1, C)->msg.window_bytes, 2 * C);
    xfer_piece(&node, 1, session, 1, payload, 3 * C, C); /* said once, for what follows comes too */
    role_silent(&node);
    xfer_piece(&node, 1, session, 1, payload, C, C);
    (void)xfer_credit(&node, 1, 2 * C);
    xfer_piece(&node, 1, session, 1, payload, C, C); /* came twice */
    role_silent(&node);
    xfer_piece(&node, 1, session, 1, payload, 3 * C, C); /* another one was lost */
    (void)xfer_credit(&node, 1, 2 * C);
    xfer_piece(&node, 1, session, 1, payload, 2 * C, XFER_BIG - 2 * C);
    xfer_accepted(&node, 1);
    assert_int_equal(xfer_in_flight(&node), 0);
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
        xfer_cloud(&node, 0, 64 * 1024, true);
        uint64_t session = xfer_child(&node, 1, "a"), window = 0;
        struct trib_blob *payload = role_floats(ROLE_HUGE_N, 0.25f);
        for (uint64_t number = 1; number <= 3; number++) {
            xfer_offer(&node, 1, session, number, payload);
            (void)xfer_credit(&node, number, 0);
            for (size_t at = 0; at < XFER_BIG; at += TRIB_CHUNK_MIN) {
                node.now_ms += slow ? 13000 : 1;
                xfer_piece(&node, 1, session, number, payload, at,
                           XFER_BIG - at < TRIB_CHUNK_MIN ? XFER_BIG - at : TRIB_CHUNK_MIN);
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
    xfer_cloud(&node, 0, 0, true);
    uint64_t session = xfer_child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_HUGE_N, 0.25f);
    xfer_offer(&node, 1, session, 1, payload);
    uint64_t end = xfer_credit(&node, 1, 0)->msg.window_bytes, at = 0;
    while (at < XFER_BIG) { /* a sender that never cuts a piece short, and never goes beyond the window */
        uint64_t bytes = XFER_BIG - at < 3000 ? XFER_BIG - at : 3000;
        if (at + bytes > end) fail_msg("no CREDIT came: it would wait for ever at %d", (int)at);
        xfer_piece(&node, 1, session, 1, payload, (size_t)at, (size_t)bytes);
        at += bytes;
        const struct role_sent *sent = role_peek(&node);
        if (at == XFER_BIG) {
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
    xfer_cloud(&node, 0, 0, false);
    uint64_t session = xfer_child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_N, 0.25f), *other = role_floats(ROLE_N, 0.5f);
    xfer_offer(&node, 1, session, 1, payload);
    (void)xfer_credit(&node, 1, 0);
    xfer_piece(&node, 1, session, 1, other, 0, XFER_SMALL);
    assert_int_equal(role_error(&node, TRIB_CODE_CREDIT)->msg.number, 1);
    assert_int_equal(role_recorded(&node, TRIB_REC_VERDICT), 0);
    assert_int_equal(xfer_in_flight(&node), 0);
    xfer_offer(&node, 1, session, 1, payload);
    (void)xfer_credit(&node, 1, 0);
    xfer_piece(&node, 1, session, 1, payload, 0, XFER_SMALL + 0);
    xfer_accepted(&node, 1);
    trib_blob_unref(&payload);
    trib_blob_unref(&other);
    role_stop(&node);
}

/* In PUSH's own frame too, whether the number is new or a repeat, which damaged bytes do not make a conflict.
 */
static void test_damaged_push(void **unused) {
    (void)unused;
    struct role_node node;
    xfer_cloud(&node, 0, 0, false);
    uint64_t session = xfer_child(&node, 1, "a");
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
        xfer_accepted(&node, 1);
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
    xfer_cloud(&node, 0, 0, false);
    uint64_t session = xfer_child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_N, 0.25f);
    xfer_piece(&node, 1, session, 1, payload, 0, 4); /* of nothing that was offered */
    role_silent(&node);
    xfer_offer(&node, 1, session, 1, payload);
    (void)xfer_credit(&node, 1, 0);
    struct trib_msg msg = role_chunk(session, 1, UINT64_MAX - 3);
    role_deliver(&node, 1, NULL, &msg, payload);
    (void)role_error(&node, TRIB_CODE_MALFORMED);
    msg = role_chunk(session, 1, 8);
    role_deliver(&node, 1, NULL, &msg, payload);
    (void)role_error(&node, TRIB_CODE_MALFORMED);
    msg = role_chunk(session, 1, 0);
    role_deliver(&node, 1, NULL, &msg, NULL); /* and one of nothing */
    role_silent(&node);
    xfer_piece(&node, 1, session, 1, payload, 0, XFER_SMALL);
    xfer_accepted(&node, 1);
    trib_blob_unref(&payload);
    role_stop(&node);
}

static void test_resumed_after_hello(void **unused) {
    (void)unused;
    struct role_node node;
    xfer_cloud(&node, 0, 0, true);
    uint64_t session = xfer_child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_HUGE_N, 0.25f);
    xfer_offer(&node, 1, session, 1, payload);
    (void)xfer_credit(&node, 1, 0);
    xfer_piece(&node, 1, session, 1, payload, 0, 5000);
    uint64_t again = role_join(&node, 2, "a", 11);
    assert_int_equal(xfer_in_flight(&node), 0); /* while it is away others have the room */
    assert_int_equal(xfer_parked(&node), 5000);
    xfer_piece(&node, 2, again, 1, payload, 5000, 100); /* not offered in this session yet */
    role_silent(&node);
    xfer_offer(&node, 2, again, 1, payload);
    (void)xfer_credit(&node, 1, 5000);
    assert_int_equal(xfer_in_flight(&node), XFER_BIG);
    assert_int_equal(xfer_parked(&node), 0);
    xfer_piece(&node, 2, again, 1, payload, 5000, XFER_BIG - 5000);
    xfer_accepted(&node, 1);
    assert_int_equal(xfer_in_flight(&node), 0);
    trib_blob_unref(&payload);
    role_stop(&node);
}

/* Numbers are an incarnation's own: what another one had under way is nothing to it. */
static void test_not_resumed_by_another_incarnation(void **unused) {
    (void)unused;
    struct role_node node;
    xfer_cloud(&node, 0, 0, true);
    uint64_t session = xfer_child(&node, 1, "a");
    assert_int_equal(role_update(&node, 1, role_push(session, 1, 0), 0.5f)->verdict, TRIB_ACCEPTED);
    role_wait(&node, 3000);
    const struct role_sent *model = role_pulled(&node, session, NULL);
    assert_true(trib_msg_has(&model->msg, PAYLOAD_BYTES)); /* in pieces */
    assert_int_equal(model->msg.applied, 1);
    struct trib_blob *payload = role_floats(ROLE_HUGE_N, 0.25f);
    xfer_offer(&node, 1, session, 2, payload);
    (void)xfer_credit(&node, 2, 0);
    xfer_piece(&node, 1, session, 2, payload, 0, 5000);
    uint64_t again = role_join(&node, 1, "a", 12);
    assert_int_equal(xfer_parked(&node), 0);
    assert_int_equal(role_pulled(&node, again, NULL)->msg.applied, 0);
    xfer_offer(&node, 1, again, 2, payload);
    (void)xfer_credit(&node, 2, 0);
    trib_blob_unref(&payload);
    role_stop(&node);
}

static void test_resumed_where_the_budget_is_its_own(void **unused) {
    (void)unused;
    struct role_node node;
    xfer_cloud(&node, XFER_SMALL + 4, 0, false); /* room for one, so that its own bytes must not block it */
    uint64_t session = xfer_child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_N, 0.25f);
    xfer_offer(&node, 1, session, 1, payload);
    (void)xfer_credit(&node, 1, 0);
    xfer_piece(&node, 1, session, 1, payload, 0, 4);
    xfer_offer(&node, 1, session, 1, payload); /* again, because a CREDIT was lost */
    (void)xfer_credit(&node, 1, 4);
    assert_int_equal(xfer_in_flight(&node), XFER_SMALL);
    uint64_t again = role_join(&node, 2, "a", 11);
    xfer_offer(&node, 2, again, 1, payload);
    (void)xfer_credit(&node, 1, 4);
    xfer_piece(&node, 2, again, 1, payload, 4, XFER_SMALL - 4);
    xfer_accepted(&node, 1);
    trib_blob_unref(&payload);
    role_stop(&node);
}

static void test_budget_is_shared(void **unused) {
    (void)unused;
    struct role_node node;
    xfer_cloud(&node, XFER_SMALL + 4, 0, false);
    uint64_t a = xfer_child(&node, 1, "a"), b = xfer_child(&node, 2, "b"), c = xfer_child(&node, 3, "c");
    struct trib_blob *payload = role_floats(ROLE_N, 0.25f);
    xfer_offer(&node, 1, a, 1, payload);
    (void)xfer_credit(&node, 1, 0);
    xfer_offer(&node, 2, b, 1, payload);
    xfer_offer(&node, 3, c, 1, payload);
    role_silent(&node); /* both wait for their turn */
    assert_int_equal(xfer_in_flight(&node), XFER_SMALL);
    struct trib_msg bye = role_message(TRIB_BYE, b);
    trib_msg_set(&bye, REASON, reason, TRIB_BYE_LEAVING);
    role_deliver(&node, 2, NULL, &bye, NULL); /* one gives up */
    xfer_piece(&node, 1, a, 1, payload, 0, XFER_SMALL);
    xfer_accepted(&node, 1);
    assert_int_equal(xfer_credit(&node, 1, 0)->route, 3);
    xfer_piece(&node, 3, c, 1, payload, 0, XFER_SMALL);
    xfer_accepted(&node, 1);
    role_silent(&node);
    trib_blob_unref(&payload);
    role_stop(&node);
}

static void test_larger_than_the_budget(void **unused) {
    (void)unused;
    struct role_node node;
    xfer_cloud(&node, 8, 0, false);
    uint64_t session = xfer_child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_N, 0.25f);
    xfer_offer(&node, 1, session, 1, payload); /* one is always let in */
    (void)xfer_credit(&node, 1, 0);
    xfer_piece(&node, 1, session, 1, payload, 0, XFER_SMALL);
    xfer_accepted(&node, 1);
    trib_blob_unref(&payload);
    role_stop(&node);
}

static void test_hopeless_offers(void **unused) {
    (void)unused;
    struct role_node node;
    xfer_cloud(&node, 0, 0, false);
    uint64_t session = xfer_child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_N, 0.25f);
    static const struct {
        uint64_t bytes, base, reason;
        const char *codec;
    } cases[] = {
        {XFER_SMALL + 1, 0, TRIB_REASON_PAYLOAD, NULL},
        {UINT64_MAX, 0, TRIB_REASON_PAYLOAD, NULL},
        {0, 0, TRIB_REASON_PAYLOAD, NULL},
        {XFER_SMALL, 9, TRIB_REASON_BASE, NULL},
        {XFER_SMALL, 0, TRIB_REASON_CODEC, "zip"},
        {XFER_SMALL, 0, TRIB_REASON_PAYLOAD, "f16"},
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
    assert_int_equal(xfer_in_flight(&node), 0);
    trib_blob_unref(&payload);
    role_rebuild(&node);
    role_stop(&node);
}

/* Whatever a child mixes, a number is judged once. */
static void test_offered_and_pushed_at_once(void **unused) {
    (void)unused;
    struct role_node node;
    xfer_cloud(&node, 0, 0, false);
    uint64_t session = xfer_child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_N, 0.25f);
    xfer_offer(&node, 1, session, 1, payload);
    (void)xfer_credit(&node, 1, 0);
    (void)role_update(&node, 1, role_push(session, 1, 0), 0.25f);
    xfer_piece(&node, 1, session, 1, payload, 0, XFER_SMALL);
    const struct role_sent *sent = role_peek(&node); /* the same verdict, or none */
    if (sent != NULL) assert_int_equal(sent->msg.verdict, TRIB_ACCEPTED);
    xfer_offer(&node, 1, session, 2, payload);
    (void)xfer_credit(&node, 2, 0);
    struct trib_msg hopeless = role_offer(session, 3, 77, payload);
    role_deliver(&node, 1, NULL, &hopeless, NULL);
    assert_int_equal(role_next(&node, TRIB_ACK)->msg.verdict, TRIB_REFUSED);
    xfer_piece(&node, 1, session, 2, payload, 0, XFER_SMALL); /* 3 was judged: 2 comes too late */
    assert_int_equal(role_recorded(&node, TRIB_REC_VERDICT), 2);
    assert_int_equal(xfer_in_flight(&node), 0);
    trib_blob_unref(&payload);
    role_rebuild(&node);
    role_stop(&node);
}

static void test_offered_again_while_pieces_arrive(void **unused) {
    (void)unused;
    struct role_node node;
    xfer_cloud(&node, XFER_SMALL + XFER_SMALL / 2, 0, false);
    uint64_t a = xfer_child(&node, 1, "a"), b = xfer_child(&node, 2, "b");
    struct trib_blob *payload = role_floats(ROLE_N, 0.25f);
    xfer_offer(&node, 1, a, 1, payload);
    (void)xfer_credit(&node, 1, 0);
    xfer_offer(&node, 2, b, 1, payload); /* waits */
    xfer_offer(&node, 1, a, 1, payload); /* again, and behind b in the queue, or at once */
    xfer_piece(&node, 1, a, 1, payload, 0, XFER_SMALL);
    bool judged = false, granted = false;
    for (const struct role_sent *sent; (sent = role_peek(&node)) != NULL;) {
        judged |= sent->msg.type == TRIB_ACK && sent->route == 1;
        granted |= sent->msg.type == TRIB_CREDIT && sent->route == 2;
    }
    assert_true(judged && granted);
    xfer_piece(&node, 2, b, 1, payload, 0, XFER_SMALL);
    xfer_accepted(&node, 1);
    assert_int_equal(xfer_in_flight(&node), 0);
    trib_blob_unref(&payload);
    role_stop(&node);
}

static void test_store_fails_while_pieces_arrive(void **unused) {
    (void)unused;
    struct role_node node;
    xfer_cloud(&node, 0, 0, false);
    uint64_t session = xfer_child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_N, 0.25f);
    xfer_offer(&node, 1, session, 1, payload);
    (void)xfer_credit(&node, 1, 0);
    trib_aggregator_refuse_writes(node.aggregator, 2500);
    size_t records = node.record_count;
    xfer_piece(&node, 1, session, 1, payload, 0, XFER_SMALL);
    assert_int_equal(role_error(&node, TRIB_CODE_STORE)->msg.wait_ms, 2500);
    assert_int_equal(node.record_count, records);
    trib_aggregator_refuse_writes(node.aggregator, 0);
    xfer_offer(&node, 1, session, 1, payload);
    (void)xfer_credit(&node, 1, 0);
    xfer_piece(&node, 1, session, 1, payload, 0, XFER_SMALL);
    xfer_accepted(&node, 1);
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
    xfer_cloud(&node, 0, 0, true);
    uint64_t session = xfer_child(&node, 1, "a");
    (void)role_update(&node, 1, role_push(session, 1, 0), 0.25f);
    node.now_ms += 1000;
    struct trib_msg pull = role_pull(session, NULL); /* takes 16 KiB at once, as nothing is said */
    role_deliver(&node, 1, NULL, &pull, NULL);
    const struct role_sent *model = role_next(&node, TRIB_MODEL);
    assert_null(model->payload);
    assert_int_equal(model->msg.payload_bytes, XFER_BIG);
    assert_int_equal(model->after, node.state->position);
    grant(&node, session, 77, 0, 20000);
    role_silent(&node);
    grant(&node, session, 1, 0, 10000);
    const struct role_sent *chunk = role_next(&node, TRIB_CHUNK); /* in no crumbs, whatever is asked for */
    assert_int_equal(chunk->msg.offset, 0);
    assert_int_equal(trib_blob_size(chunk->payload), 10000);
    assert_int_equal(chunk->after, 0);
    grant(&node, session, 1, 10000, UINT64_MAX);
    for (size_t at = 10000; at < XFER_BIG; at += trib_blob_size(chunk->payload)) {
        chunk = role_next(&node, TRIB_CHUNK);
        assert_int_equal(chunk->msg.offset, at);
        assert_memory_equal(trib_blob_data(chunk->payload), (uint8_t *)node.state->P + at,
                            trib_blob_size(chunk->payload));
    }
    role_silent(&node);
    grant(&node, session, 1, UINT64_MAX, 10);
    role_silent(&node);
    trib_msg_set(&pull, CREDIT, credit, XFER_BIG);
    role_deliver(&node, 1, NULL, &pull, NULL);
    model = role_next(&node, TRIB_MODEL);
    assert_int_equal(trib_blob_size(model->payload), XFER_BIG);
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
        cmocka_unit_test(test_not_resumed_by_another_incarnation),
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
