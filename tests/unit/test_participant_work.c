/* The child role and its work: updates of a device, forwards of an edge, and what becomes of them. Vectors
 * are four floats in f32, version 0 is all zeros. */
#include "tests/support/cmocka.h"

#include "shared/base/alloc.h"
#include "tests/support/roles.h"

#include <math.h>
#include <string.h>

static void device(struct role_node *node) {
    role_child(node, (struct role_options){.role = TRIB_ROLE_DEVICE});
}

static void edge(struct role_node *node) {
    role_child(node, (struct role_options){.role = TRIB_ROLE_EDGE});
}

static void say(struct role_node *node, const struct trib_msg *msg) {
    role_deliver(node, 0, NULL, msg, NULL);
}

/* ---- pushing ---- */

static void test_push_is_sent_again(void **unused) {
    (void)unused;
    struct role_node node;
    device(&node);
    role_begin(&node, 5);
    role_submit(&node, 0.5f);
    role_poll(&node);
    const struct role_sent *push = role_next(&node, TRIB_PUSH);
    assert_int_equal(push->msg.number, 1);
    assert_int_equal(push->msg.samples, 20);
    assert_int_equal(push->msg.weight, 10);
    assert_true(push->msg.steps == 2.0f && push->msg.loss == 0.5f);
    assert_memory_equal(push->msg.base_digest, node.state->parent_chain, 4);
    assert_int_equal(push->after, role_last(&node, TRIB_REC_FORWARD)->position);
    assert_int_equal(trib_blob_size(push->payload), ROLE_N * sizeof(float));
    assert_int_equal(push->msg.payload_bytes, ROLE_N * sizeof(float));
    assert_int_equal(push->msg.payload_crc, role_crc(push->payload));
    for (uint64_t waited = 0; waited < 9000; waited += 3000) { /* only heartbeats meanwhile */
        role_wait(&node, 3000);
        for (const struct role_sent *s; (s = role_peek(&node)) != NULL;)
            assert_int_equal(s->msg.type, TRIB_PING);
        struct trib_msg pong = role_message(TRIB_PONG, 5);
        trib_msg_set(&pong, TOKEN, token, 1);
        say(&node, &pong);
    }
    role_wait(&node, 1000);
    const struct role_sent *again = role_next(&node, TRIB_PUSH);
    assert_int_equal(again->msg.number, 1);
    assert_memory_equal(trib_blob_data(again->payload), trib_blob_data(push->payload),
                        ROLE_N * sizeof(float));
    struct trib_msg accepted = role_ack(5, 1, TRIB_ACCEPTED);
    say(&node, &accepted);
    say(&node, &accepted); /* both were answered */
    assert_int_equal(role_recorded(&node, TRIB_REC_ACKED), 1);
    assert_int_equal(node.state->held_count, 0);
    role_poll(&node);
    (void)role_next(&node, TRIB_PULL);
    role_rebuild(&node);
    role_stop(&node);
}

static void test_refused_update(void **unused) {
    (void)unused;
    struct role_node node;
    device(&node);
    role_begin(&node, 5);
    role_submit(&node, 0.5f);
    role_poll(&node);
    (void)role_next(&node, TRIB_PUSH);
    struct trib_msg refused = role_ack(5, 1, TRIB_REFUSED);
    say(&node, &refused);
    assert_int_equal(node.state->held_count, 0);
    assert_int_equal(node.state->total.void_samples, 20);
    assert_int_equal(role_logged(&node, "update_refused"), 1);
    assert_int_equal(trib_participant_status(node.participant).refused, 1);
    role_poll(&node);
    (void)role_next(&node, TRIB_PULL);
    role_stop(&node);
}

static void test_forwards_wait_for_the_verdict_before(void **unused) {
    (void)unused;
    struct role_node node;
    edge(&node);
    role_begin(&node, 5);
    role_gather(&node, 1.0f);
    role_poll(&node);
    const struct role_sent *push = role_next(&node, TRIB_PUSH);
    assert_false(trib_msg_has(&push->msg, AFTER));
    assert_int_equal(push->msg.histogram.count, 2);
    assert_int_equal(push->msg.histogram.items[1], 10);
    role_gather(&node, 1.0f);
    role_poll(&node);
    role_silent(&node); /* one is on its way */
    assert_int_equal(node.state->held_count, 1);
    for (uint64_t number = 1; number <= TRIB_HELD_MAX; number++) {
        struct trib_msg accepted = role_ack(5, number, TRIB_ACCEPTED);
        say(&node, &accepted);
        role_poll(&node);
        if (number == TRIB_HELD_MAX) break;
        const struct role_sent *next = role_next(&node, TRIB_PUSH);
        assert_int_equal(next->msg.number, number + 1);
        assert_int_equal(next->msg.after, number); /* still held, for no model contains it */
        role_gather(&node, 1.0f);
    }
    role_silent(&node); /* eight are held: the ninth gathers */
    assert_int_equal(node.state->held_count, TRIB_HELD_MAX);
    assert_int_equal(node.state->gathered.updates, 1);
    struct trib_blob *values = role_floats(ROLE_N, 2.0f);
    struct trib_msg model = role_snapshot_model(5, 3, values);
    model.applied = 2;
    role_deliver(&node, 0, NULL, &model, values);
    trib_blob_unref(&values);
    assert_int_equal(node.state->held_count, TRIB_HELD_MAX - 2);
    role_poll(&node);
    assert_int_equal(role_next(&node, TRIB_PUSH)->msg.after, TRIB_HELD_MAX);
    role_rebuild(&node);
    role_stop(&node);
}

static void test_edge_pushes_before_it_pulls(void **unused) {
    (void)unused;
    struct role_node node;
    edge(&node);
    role_begin(&node, 5);
    trib_participant_connected(node.participant, node.now_ms);
    (void)role_collect(&node, true);
    const struct role_sent *hello = role_next(&node, TRIB_HELLO);
    assert_int_equal(hello->msg.subscribe, 1);
    assert_int_equal(hello->msg.kind, TRIB_CHILD_EDGE);
    role_gather(&node, 1.0f);
    struct trib_msg welcome = role_welcome(6, 70, 0);
    say(&node, &welcome);
    role_poll(&node);
    (void)role_next(&node, TRIB_PUSH);
    (void)role_next(&node, TRIB_PULL);
    role_stop(&node);
}

static void test_work_for_another_run_or_version(void **unused) {
    (void)unused;
    struct role_node node;
    device(&node);
    role_begin(&node, 5);
    const float difference[ROLE_N] = {1, 1, 1, 1};
    struct trib_submission work = {.difference = difference, .samples = 1, .weight = 1};
    work.parent_incarnation = 69;
    trib_participant_submit(node.participant, node.now_ms, &work);
    (void)role_collect(&node, true);
    assert_int_equal(role_recorded(&node, TRIB_REC_FORWARD), 0);
    role_poll(&node);
    (void)role_next(&node, TRIB_PULL);
    struct trib_msg seed = role_seed_model(5);
    say(&node, &seed);
    assert_int_equal(node.trains, 2);
    role_connect(&node, 6, 71, 0); /* the run ends while it trains */
    role_submit(&node, 1.0f);
    assert_int_equal(role_recorded(&node, TRIB_REC_FORWARD), 0);
    role_stop(&node);
}

static void test_training_that_diverged(void **unused) {
    (void)unused;
    struct role_node node;
    device(&node);
    role_begin(&node, 5);
    role_submit(&node, NAN);
    assert_int_equal(role_logged(&node, "training_diverged"), 1);
    assert_int_equal(role_recorded(&node, TRIB_REC_FORWARD), 0);
    assert_true(node.state->own[0] == 0.0f);
    role_poll(&node);
    role_silent(&node);
    role_wait(&node, 1000);
    (void)role_next(&node, TRIB_PULL);
    struct trib_msg seed = role_seed_model(5);
    say(&node, &seed);
    role_submit(&node, 3e38f); /* finite, and kept as f32 */
    assert_int_equal(role_recorded(&node, TRIB_REC_FORWARD), 1);
    role_stop(&node);
}

static void test_abandoned_training(void **unused) {
    (void)unused;
    struct role_node node;
    device(&node);
    role_begin(&node, 5);
    trib_participant_abandon(node.participant, node.now_ms);
    role_poll(&node);
    role_silent(&node);
    role_wait(&node, 1000);
    (void)role_next(&node, TRIB_PULL);
    struct trib_msg current = role_seed_model(5);
    say(&node, &current);
    assert_int_equal(node.trains, 2);
    role_stop(&node);
}

static void test_late_model_while_a_verdict_is_awaited(void **unused) {
    (void)unused;
    struct role_node node;
    device(&node);
    role_begin(&node, 5);
    role_submit(&node, 1.0f);
    role_poll(&node);
    (void)role_next(&node, TRIB_PUSH);
    struct trib_msg seed = role_seed_model(5); /* PULL was sent twice, and this answers the second */
    say(&node, &seed);
    assert_int_equal(node.trains, 1);
    struct trib_msg accepted = role_ack(5, 1, TRIB_ACCEPTED);
    say(&node, &accepted);
    role_poll(&node);
    (void)role_next(&node, TRIB_PULL); /* it still wants to go on */
    say(&node, &seed);
    assert_int_equal(node.trains, 2);
    role_stop(&node);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_push_is_sent_again),
        cmocka_unit_test(test_refused_update),
        cmocka_unit_test(test_forwards_wait_for_the_verdict_before),
        cmocka_unit_test(test_edge_pushes_before_it_pulls),
        cmocka_unit_test(test_work_for_another_run_or_version),
        cmocka_unit_test(test_training_that_diverged),
        cmocka_unit_test(test_abandoned_training),
        cmocka_unit_test(test_late_model_while_a_verdict_is_awaited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
