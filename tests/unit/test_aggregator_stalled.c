/* The parent role and children that stop, or are slow, in the middle of an update. */
#include "tests/support/cmocka.h"

#include "shared/wire/pace.h"
#include "tests/support/transfers.h"

#include <string.h>

/* Who stops in the middle gives its room to others, keeps what came, and goes on. */
static void test_stalled_transfer(void **unused) {
    (void)unused;
    enum { C = TRIB_CHUNK_MIN };
    struct role_node node;
    xfer_cloud(&node, XFER_BIG, 0, true);
    uint64_t a = xfer_child(&node, 1, "a"), b = xfer_child(&node, 2, "b");
    struct trib_blob *payload = role_floats(ROLE_HUGE_N, 0.25f);
    xfer_offer(&node, 1, a, 1, payload);
    (void)xfer_credit(&node, 1, 0);
    xfer_piece(&node, 1, a, 1, payload, 0, C);
    (void)xfer_credit(&node, 1, C);
    role_wait(&node, 60 * 1000); /* nobody waits: it holds nobody up */
    assert_int_equal(xfer_in_flight(&node), XFER_BIG);
    xfer_offer(&node, 2, b, 1, payload);
    role_silent(&node);
    role_wait(&node, 1500);
    assert_int_equal(xfer_credit(&node, 1, 0)->route, 2);
    assert_int_equal(xfer_in_flight(&node), XFER_BIG);
    assert_int_equal(xfer_parked(&node), C);
    for (size_t at = C; at < 4 * C; at += C) { /* it was slow, not dead: one chunk at a time */
        xfer_piece(&node, 1, a, 1, payload, at, C);
        if (at == C) continue; /* of two that were granted before */
        const struct role_sent *sent = xfer_credit(&node, 1, at + C);
        assert_int_equal(sent->route, 1);
        assert_int_equal(sent->msg.window_bytes, C);
    }
    xfer_piece(&node, 2, b, 1, payload, 0, XFER_BIG);
    xfer_accepted(&node, 1);
    assert_int_equal(xfer_in_flight(&node), XFER_BIG); /* its turn again */
    assert_int_equal(xfer_parked(&node), 0);
    assert_true(xfer_credit(&node, 1, 4 * C)->msg.window_bytes > C);
    xfer_piece(&node, 1, a, 1, payload, 4 * C, XFER_BIG - 4 * C);
    xfer_accepted(&node, 1);
    assert_int_equal(xfer_in_flight(&node), 0);
    assert_int_equal(role_logged(&node, "transfer_stalled"), 0);
    trib_blob_unref(&payload);
    role_stop(&node);
}

/* At 1 kbit/s a chunk takes 131 s, and others always want the room: it arrives all the same. */
static void test_slow_transfer_among_fast_ones(void **unused) {
    (void)unused;
    enum { C = TRIB_CHUNK_MIN };
    struct role_node node;
    xfer_cloud(&node, XFER_BIG, 0, true);
    uint64_t slow = xfer_child(&node, 1, "slow"),
             fast[2] = {xfer_child(&node, 2, "b"), xfer_child(&node, 3, "c")};
    struct trib_blob *payload = role_floats(ROLE_HUGE_N, 0.25f);
    xfer_offer(&node, 1, slow, 1, payload);
    size_t at = 0, granted = 0, verdicts = 0;
    uint64_t numbers[2] = {1, 1}, next_ms = node.now_ms + 131000, end_ms = node.now_ms + 7200 * 1000;
    xfer_offer(&node, 2, fast[0], 1, payload);
    xfer_offer(&node, 3, fast[1], 1, payload);
    bool done = false, judged[2] = {false, false};
    while (!done && node.now_ms < end_ms) {
        for (const struct role_sent *sent; (sent = role_peek(&node)) != NULL;) {
            trib_child_route route = sent->route;
            if (sent->msg.type == TRIB_CREDIT && route == 1)
                granted = sent->msg.offset + sent->msg.window_bytes;
            if (sent->msg.type == TRIB_ACK && route == 1) done = true;
            if (sent->msg.type == TRIB_CREDIT && route > 1 && sent->msg.offset == 0)
                xfer_piece(&node, route, fast[route - 2], numbers[route - 2], payload, 0, XFER_BIG);
            if (sent->msg.type == TRIB_ACK && route > 1) {
                verdicts++;
                judged[route - 2] = true;
            }
        }
        role_wait(&node, 500);
        for (size_t i = 0; i < 2; i++)
            if (judged[i]) xfer_offer(&node, i + 2, fast[i], ++numbers[i], payload);
        judged[0] = judged[1] = false;
        if (node.now_ms >= next_ms && at < granted) {
            size_t bytes = XFER_BIG - at < C ? XFER_BIG - at : C;
            xfer_piece(&node, 1, slow, 1, payload, at, bytes);
            at += bytes;
            next_ms = node.now_ms + 131000;
        }
    }
    assert_true(done);
    assert_true(verdicts > 100); /* nobody waited for it */
    trib_blob_unref(&payload);
    role_stop(&node);
}

/* What nobody sends any more is forgotten in the end. */
static void test_forgotten_transfer(void **unused) {
    (void)unused;
    struct role_node node;
    xfer_cloud(&node, XFER_SMALL, 0, false);
    uint64_t a = xfer_child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_N, 0.25f);
    xfer_offer(&node, 1, a, 1, payload);
    (void)xfer_credit(&node, 1, 0);
    xfer_piece(&node, 1, a, 1, payload, 0, 4);
    role_wait(&node, 500 * 1000);
    assert_int_equal(xfer_in_flight(&node), XFER_SMALL);
    role_wait(&node, 200 * 1000);
    assert_int_equal(role_logged(&node, "transfer_stalled"), 1);
    assert_int_equal(xfer_in_flight(&node), 0);
    xfer_piece(&node, 1, a, 1, payload, 4, 4); /* too late: it must offer again */
    role_silent(&node);
    trib_blob_unref(&payload);
    role_stop(&node);
}

static struct trib_msg grant(uint64_t session, uint64_t number, uint64_t offset, uint64_t window) {
    struct trib_msg msg = role_message(TRIB_CREDIT, session);
    trib_msg_set(&msg, NUMBER, number, number);
    trib_msg_set(&msg, OFFSET, offset, offset);
    trib_msg_set(&msg, CHUNK_BYTES, chunk_bytes, TRIB_CHUNK_MIN);
    trib_msg_set(&msg, WINDOW_BYTES, window_bytes, window);
    return msg;
}

static void commit(struct role_node *node, uint64_t session, uint64_t number) {
    struct trib_blob *payload = role_floats(ROLE_HUGE_N, 0.25f);
    xfer_offer(node, 1, session, number, payload);
    (void)xfer_credit(node, number, 0);
    xfer_piece(node, 1, session, number, payload, 0, XFER_BIG);
    xfer_accepted(node, number);
    trib_blob_unref(&payload);
    node->now_ms += 60000;
}

/* A child whose connection ends again and again, while newer versions come all the time: it is offered the
 * same model until it has it. */
static void test_model_goes_on_after_a_connection(void **unused) {
    (void)unused;
    enum { C = TRIB_CHUNK_MIN };
    struct role_node node;
    xfer_cloud(&node, 0, 0, true);
    uint64_t author = xfer_child(&node, 1, "author");
    commit(&node, author, 1);
    struct trib_msg pull = role_pull(author, NULL);
    role_deliver(&node, 1, NULL, &pull, NULL); /* publishes version 1 */
    assert_int_equal(role_next(&node, TRIB_MODEL)->msg.to_version, 1);
    size_t have = 0;
    uint32_t crc = 0;
    for (trib_child_route route = 2; have < XFER_BIG; route++) {
        uint64_t session = role_join(&node, route, "slow", 99);
        pull = role_pull(session, NULL);
        role_deliver(&node, route, NULL, &pull, NULL);
        const struct trib_msg *model = &role_next(&node, TRIB_MODEL)->msg;
        assert_int_equal(model->session, session);
        assert_int_equal(model->to_version, 1);
        if (crc == 0) crc = (uint32_t)model->payload_crc;
        assert_int_equal(model->payload_crc, crc);
        struct trib_msg msg = grant(session, 1, have, C);
        role_deliver(&node, route, NULL, &msg, NULL);
        const struct role_sent *chunk = role_next(&node, TRIB_CHUNK);
        assert_int_equal(chunk->msg.offset, have);
        have += trib_blob_size(chunk->payload);
        if (route > 4) continue;
        commit(&node, author, route); /* and one more version */
        pull = role_pull(author, NULL);
        role_deliver(&node, 1, NULL, &pull, NULL);
        while (role_peek(&node) != NULL) {
        }
    }
    assert_int_equal(have, XFER_BIG);
    uint64_t session = role_join(&node, 90, "slow", 99);
    pull =
        role_pull(session, NULL); /* as if it had got nothing: all of that was sent, so it gets the newest */
    role_deliver(&node, 90, NULL, &pull, NULL);
    assert_int_equal(role_next(&node, TRIB_MODEL)->msg.to_version, node.state->published);
    assert_true(node.state->published > 1);
    role_stop(&node);
}

/* Room is for who comes on: saying things again keeps none, and neither do single bytes. */
static void test_room_is_not_kept_by_words(void **unused) {
    (void)unused;
    enum { C = TRIB_CHUNK_MIN, SEEN = 0, A_BYTE, THE_OFFER, WAYS };
    for (int way = SEEN; way < WAYS; way++) {
        struct role_node node;
        xfer_cloud(&node, XFER_BIG, 0, true);
        uint64_t a = xfer_child(&node, 1, "mallory"), b = xfer_child(&node, 2, "b");
        struct trib_blob *payload = role_floats(ROLE_HUGE_N, 0.25f);
        xfer_offer(&node, 1, a, 1, payload);
        (void)xfer_credit(&node, 1, 0);
        xfer_piece(&node, 1, a, 1, payload, 0, C);
        xfer_offer(&node, 2, b, 1, payload);
        bool let_in = false;
        for (size_t i = 0; i < 40 && !let_in; i++) {
            role_wait(&node, 500);
            if (way == SEEN) xfer_piece(&node, 1, a, 1, payload, 0, 1);
            if (way == A_BYTE) xfer_piece(&node, 1, a, 1, payload, C + i, 1);
            if (way == THE_OFFER) xfer_offer(&node, 1, a, 1, payload);
            for (const struct role_sent *sent; (sent = role_peek(&node)) != NULL;)
                let_in = let_in || (sent->route == 2 && sent->msg.type == TRIB_CREDIT);
        }
        if (!let_in) fail_msg("way %d", way);
        trib_blob_unref(&payload);
        role_stop(&node);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stalled_transfer),
        cmocka_unit_test(test_slow_transfer_among_fast_ones),
        cmocka_unit_test(test_forgotten_transfer),
        cmocka_unit_test(test_room_is_not_kept_by_words),
        cmocka_unit_test(test_model_goes_on_after_a_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
