/* The parent role when more is asked for than it can do: it says so, slows its children, and spreads them. */
#include "tests/support/cmocka.h"

#include "shared/wire/pace.h"
#include "tests/support/roles.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HUGE_BYTES = ROLE_HUGE_N * (int)sizeof(float), CROWD = 600 };

static void cloud_with(struct role_node *node, size_t budget) {
    role_parent(node, (struct role_options){
                          .role = TRIB_ROLE_CLOUD, .huge = true, .aggregator = {.budget_bytes = budget}});
}

static struct trib_aggregator_status status(const struct role_node *node) {
    return trib_aggregator_status(node->aggregator);
}

static uint64_t child(struct role_node *node, trib_child_route route) {
    char name[32];
    (void)snprintf(name, sizeof name, "child-%d", (int)route);
    return role_join(node, route, name, route + 10);
}

static void waits(struct role_node *node, uint64_t ms) {
    for (uint64_t waited = 0; waited < ms; waited += 500) role_wait(node, 500);
}

/* The disk does not keep up: updates wait, and it is told once when that begins and once when it ends. */
static void test_slow_disk(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, 2 * HUGE_BYTES);
    uint64_t session = child(&node, 1);
    struct trib_blob *payload = role_floats(ROLE_HUGE_N, 0.25f);
    trib_aggregator_unwritten(node.aggregator, 2 * HUGE_BYTES);
    struct trib_msg offer = role_offer(session, 1, 0, payload), pull = role_pull(session, NULL);
    role_deliver(&node, 1, NULL, &pull, NULL);
    (void)role_next(&node, TRIB_MODEL); /* models go out all the same */
    role_deliver(&node, 1, NULL, &offer, NULL);
    role_silent(&node); /* no CREDIT: it waits */
    assert_int_equal(status(&node).offers_waiting, 1);
    waits(&node, 3000);
    assert_true(status(&node).behind);
    const struct trib_text *text = &role_last(&node, TRIB_REC_EVENT)->text;
    assert_true(text->size > 14 && memcmp(text->data, "reason=storage", 14) == 0);
    waits(&node, 30000);
    assert_int_equal(role_logged(&node, "behind"), 1);
    trib_aggregator_unwritten(node.aggregator, 0);
    waits(&node, 2000);
    assert_int_equal(role_next(&node, TRIB_CREDIT)->msg.number, 1);
    assert_true(status(&node).behind); /* it may begin again at once */
    waits(&node, 6000);
    assert_false(status(&node).behind);
    assert_int_equal(role_logged(&node, "caught_up"), 1);
    assert_int_equal(status(&node).behind_count, 1);
    trib_blob_unref(&payload);
    role_stop(&node);
}

/* A moment of it is nothing to tell, and what comes and goes is told at a bounded rate. */
static void test_told_at_a_bounded_rate(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, HUGE_BYTES);
    (void)child(&node, 1);
    trib_aggregator_unwritten(node.aggregator, HUGE_BYTES);
    role_wait(&node, 500);
    trib_aggregator_unwritten(node.aggregator, 0);
    waits(&node, 10000);
    assert_int_equal(role_logged(&node, "behind"), 0);
    for (int i = 0; i < 60; i++) { /* two minutes: three seconds behind, one not */
        trib_aggregator_unwritten(node.aggregator, i % 4 == 3 ? 0 : HUGE_BYTES);
        waits(&node, 1000);
    }
    assert_int_equal(role_logged(&node, "behind"), 1);
    assert_int_equal(role_logged(&node, "caught_up"), 0);
    role_stop(&node);
}

static int ascending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* After a restart everybody asks for the model at once: some are sent it, the others come back one after the
 * other, each in its turn. */
static void test_crowd_is_spread(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, 2 << 20); /* windows for 32 */
    uint64_t *times = calloc(CROWD, sizeof *times), session = child(&node, 1);
    assert_non_null(times);
    struct trib_blob *payload = role_floats(ROLE_HUGE_N, 0.25f);
    struct trib_msg pull = role_pull(session, NULL);
    role_deliver(&node, 1, NULL, &pull, NULL);
    (void)role_next(&node, TRIB_MODEL);
    struct trib_msg offer = role_offer(session, 1, 0, payload), chunk = role_chunk(session, 1, 0);
    role_deliver(&node, 1, NULL, &offer, NULL);
    (void)role_next(&node, TRIB_CREDIT);
    role_deliver(&node, 1, NULL, &chunk, payload);
    (void)role_next(&node, TRIB_ACK);
    node.now_ms += 60000; /* version 1 may be published: no seed leads to it */
    size_t served = 0, waiting = 0;
    for (size_t i = 0; i < CROWD; i++) {
        pull = role_pull(child(&node, i + 2), NULL);
        role_deliver(&node, i + 2, NULL, &pull, NULL);
        const struct role_sent *sent = role_peek(&node);
        assert_non_null(sent);
        if (sent->msg.type == TRIB_MODEL)
            served++;
        else
            times[waiting++] = sent->msg.wait_ms;
    }
    assert_int_equal(served, 32);
    assert_int_equal(status(&node).sending, 32);
    assert_int_equal(status(&node).turned_away, waiting);
    qsort(times, waiting, sizeof *times, ascending);
    for (size_t i = 1; i < waiting; i++) assert_true(times[i] > times[i - 1]); /* no two at once */
    assert_true(times[waiting - 1] < 10000);
    /* Those that do not take what they are sent do not keep others from their turn. */
    waits(&node, 7000);
    assert_int_equal(status(&node).sending, 0);
    pull = role_pull(child(&node, CROWD + 2), NULL);
    role_deliver(&node, CROWD + 2, NULL, &pull, NULL);
    (void)role_next(&node, TRIB_MODEL);
    free(times);
    trib_blob_unref(&payload);
    role_stop(&node);
}

/* A small model is sent to all of them, in pieces too: nobody waits for a turn. */
static void test_small_model_needs_no_turn(void **unused) {
    (void)unused;
    struct role_node node;
    role_parent(&node, (struct role_options){
                           .role = TRIB_ROLE_CLOUD, .big = true, .aggregator = {.budget_bytes = 1 << 20}});
    uint64_t session = child(&node, 1);
    struct trib_blob *payload = role_floats(ROLE_BIG_N, 0.25f);
    struct trib_msg pull = role_pull(session, NULL);
    role_deliver(&node, 1, NULL, &pull, NULL);
    (void)role_next(&node, TRIB_MODEL);
    struct trib_msg offer = role_offer(session, 1, 0, payload), chunk = role_chunk(session, 1, 0);
    role_deliver(&node, 1, NULL, &offer, NULL);
    (void)role_next(&node, TRIB_CREDIT);
    role_deliver(&node, 1, NULL, &chunk, payload);
    (void)role_next(&node, TRIB_ACK);
    node.now_ms += 60000;
    for (size_t i = 0; i < CROWD; i++) {
        pull = role_pull(child(&node, i + 2), NULL);
        role_deliver(&node, i + 2, NULL, &pull, NULL);
        assert_true(trib_msg_has(&role_next(&node, TRIB_MODEL)->msg, PAYLOAD_BYTES));
    }
    assert_int_equal(status(&node).turned_away, 0);
    trib_blob_unref(&payload);
    role_stop(&node);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slow_disk),
        cmocka_unit_test(test_told_at_a_bounded_rate),
        cmocka_unit_test(test_crowd_is_spread),
        cmocka_unit_test(test_small_model_needs_no_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
