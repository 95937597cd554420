/* The parent role and children that stop, or are slow, in the middle of an update. */
#include "tests/support/cmocka.h"

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

/* Who stops in the middle gives its room to others, keeps what came, and goes on. */
static void test_stalled_transfer(void **unused) {
    (void)unused;
    enum { C = TRIB_CHUNK_MIN };
    struct role_node node;
    cloud_with(&node, BIG, 0, true);
    uint64_t a = child(&node, 1, "a"), b = child(&node, 2, "b");
    struct trib_blob *payload = role_floats(ROLE_HUGE_N, 0.25f);
    offer(&node, 1, a, 1, payload);
    (void)credit(&node, 1, 0);
    piece(&node, 1, a, 1, payload, 0, C);
    (void)credit(&node, 1, C);
    role_wait(&node, 60 * 1000); /* nobody waits: it holds nobody up */
    assert_int_equal(in_flight(&node), BIG);
    offer(&node, 2, b, 1, payload);
    role_silent(&node);
    role_wait(&node, 1500);
    assert_int_equal(credit(&node, 1, 0)->route, 2);
    assert_int_equal(in_flight(&node), BIG);
    assert_int_equal(parked(&node), C);
    for (size_t at = C; at < 4 * C; at += C) { /* it was slow, not dead: one chunk at a time */
        piece(&node, 1, a, 1, payload, at, C);
        if (at == C) continue; /* of two that were granted before */
        const struct role_sent *sent = credit(&node, 1, at + C);
        assert_int_equal(sent->route, 1);
        assert_int_equal(sent->msg.window_bytes, C);
    }
    piece(&node, 2, b, 1, payload, 0, BIG);
    accepted(&node, 1);
    assert_int_equal(in_flight(&node), BIG); /* its turn again */
    assert_int_equal(parked(&node), 0);
    assert_true(credit(&node, 1, 4 * C)->msg.window_bytes > C);
    piece(&node, 1, a, 1, payload, 4 * C, BIG - 4 * C);
    accepted(&node, 1);
    assert_int_equal(in_flight(&node), 0);
    assert_int_equal(role_logged(&node, "transfer_stalled"), 0);
    trib_blob_unref(&payload);
    role_stop(&node);
}

/* At 1 kbit/s a chunk takes 131 s, and others always want the room: it arrives all the same. */
static void test_slow_transfer_among_fast_ones(void **unused) {
    (void)unused;
    enum { C = TRIB_CHUNK_MIN };
    struct role_node node;
    cloud_with(&node, BIG, 0, true);
    uint64_t slow = child(&node, 1, "slow"), fast[2] = {child(&node, 2, "b"), child(&node, 3, "c")};
    struct trib_blob *payload = role_floats(ROLE_HUGE_N, 0.25f);
    offer(&node, 1, slow, 1, payload);
    size_t at = 0, granted = 0, verdicts = 0;
    uint64_t numbers[2] = {1, 1}, next_ms = node.now_ms + 131000, end_ms = node.now_ms + 7200 * 1000;
    offer(&node, 2, fast[0], 1, payload);
    offer(&node, 3, fast[1], 1, payload);
    bool done = false, judged[2] = {false, false};
    while (!done && node.now_ms < end_ms) {
        for (const struct role_sent *sent; (sent = role_peek(&node)) != NULL;) {
            trib_child_route route = sent->route;
            if (sent->msg.type == TRIB_CREDIT && route == 1)
                granted = sent->msg.offset + sent->msg.window_bytes;
            if (sent->msg.type == TRIB_ACK && route == 1) done = true;
            if (sent->msg.type == TRIB_CREDIT && route > 1 && sent->msg.offset == 0)
                piece(&node, route, fast[route - 2], numbers[route - 2], payload, 0, BIG);
            if (sent->msg.type == TRIB_ACK && route > 1) {
                verdicts++;
                judged[route - 2] = true;
            }
        }
        role_wait(&node, 500);
        for (size_t i = 0; i < 2; i++)
            if (judged[i]) offer(&node, i + 2, fast[i], ++numbers[i], payload);
        judged[0] = judged[1] = false;
        if (node.now_ms >= next_ms && at < granted) {
            size_t bytes = BIG - at < C ? BIG - at : C;
            piece(&node, 1, slow, 1, payload, at, bytes);
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
    cloud_with(&node, FOUR, 0, false);
    uint64_t a = child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_N, 0.25f);
    offer(&node, 1, a, 1, payload);
    (void)credit(&node, 1, 0);
    piece(&node, 1, a, 1, payload, 0, 4);
    role_wait(&node, 500 * 1000);
    assert_int_equal(in_flight(&node), FOUR);
    role_wait(&node, 200 * 1000);
    assert_int_equal(role_logged(&node, "transfer_stalled"), 1);
    assert_int_equal(in_flight(&node), 0);
    piece(&node, 1, a, 1, payload, 4, 4); /* too late: it must offer again */
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
    offer(node, 1, session, number, payload);
    (void)credit(node, number, 0);
    piece(node, 1, session, number, payload, 0, BIG);
    accepted(node, number);
    trib_blob_unref(&payload);
    node->now_ms += 60000;
}

/* A child whose connection ends again and again, while newer versions come all the time: it is offered the
 * same model until it has it. */
static void test_model_goes_on_after_a_connection(void **unused) {
    (void)unused;
    enum { C = TRIB_CHUNK_MIN };
    struct role_node node;
    cloud_with(&node, 0, 0, true);
    uint64_t author = child(&node, 1, "author");
    commit(&node, author, 1);
    struct trib_msg pull = role_pull(author, NULL);
    role_deliver(&node, 1, NULL, &pull, NULL); /* publishes version 1 */
    assert_int_equal(role_next(&node, TRIB_MODEL)->msg.to_version, 1);
    size_t have = 0;
    uint32_t crc = 0;
    for (trib_child_route route = 2; have < BIG; route++) {
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
    assert_int_equal(have, BIG);
    uint64_t session = role_join(&node, 90, "slow", 99);
    pull =
        role_pull(session, NULL); /* as if it had got nothing: all of that was sent, so it gets the newest */
    role_deliver(&node, 90, NULL, &pull, NULL);
    assert_int_equal(role_next(&node, TRIB_MODEL)->msg.to_version, node.state->published);
    assert_true(node.state->published > 1);
    role_stop(&node);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stalled_transfer),
        cmocka_unit_test(test_slow_transfer_among_fast_ones),
        cmocka_unit_test(test_forgotten_transfer),
        cmocka_unit_test(test_model_goes_on_after_a_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
