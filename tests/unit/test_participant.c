/* The child role, message by message: how it connects, what it makes of errors, and when it comes back.
 * Vectors are four floats in f32, version 0 is all zeros. What it pushes is in test_participant_work.c, what
 * it pulls in test_participant_models.c. */
#include "tests/support/cmocka.h"

#include "shared/base/alloc.h"
#include "tests/support/roles.h"

#include <stdio.h>
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

static struct trib_msg error(uint64_t code, uint64_t number, uint64_t wait_ms) {
    struct trib_msg msg = {.type = TRIB_ERROR};
    trib_msg_set(&msg, CODE, code, code);
    if (number > 0) trib_msg_set(&msg, NUMBER, number, number);
    if (wait_ms > 0) trib_msg_set(&msg, WAIT_MS, wait_ms, wait_ms);
    return msg;
}

/* It left the connection: polls until it asks for a new one; returns how long that took. */
static uint64_t comes_back(struct role_node *node) {
    size_t before = node->reconnects;
    uint64_t start = node->now_ms;
    role_poll(node);
    while (node->reconnects == before) {
        assert_true(node->wake_ms != UINT64_MAX && node->wake_ms > node->now_ms);
        node->now_ms = node->wake_ms;
        role_poll(node);
    }
    return node->now_ms - start;
}

/* ---- connecting ---- */

static void test_hello(void **unused) {
    (void)unused;
    struct role_node node;
    device(&node);
    role_poll(&node);
    assert_int_equal(node.reconnects, 1);
    role_poll(&node);
    assert_int_equal(node.reconnects, 1); /* asked once */
    trib_participant_connected(node.participant, node.now_ms);
    (void)role_collect(&node, true);
    const struct role_sent *hello = role_next(&node, TRIB_HELLO);
    assert_int_equal(hello->msg.name.size, 7);
    assert_memory_equal(hello->msg.name.data, "child-1", 7);
    assert_true(hello->msg.incarnation != 0);
    assert_int_equal(hello->msg.incarnation, node.state->incarnation);
    assert_int_equal(hello->after, role_last(&node, TRIB_REC_INCARNATION)->position);
    assert_int_equal(hello->msg.next_number, 1);
    assert_int_equal(hello->msg.kind, TRIB_CHILD_DEVICE);
    assert_int_equal(hello->msg.protocol_min, 1);
    assert_false(trib_msg_has(&hello->msg, FINGERPRINT));
    assert_false(trib_msg_has(&hello->msg, HELD_DIGEST));

    struct trib_msg welcome = role_welcome(5, 70, 0);
    say(&node, &welcome);
    assert_true(node.state->started);
    assert_int_equal(node.state->parent_incarnation, 70);
    role_poll(&node);
    (void)role_next(&node, TRIB_PULL);
    struct trib_msg seed = role_seed_model(5);
    say(&node, &seed);
    assert_int_equal(node.trains, 1);
    role_submit(&node, 1.0f);
    uint64_t incarnation = node.state->incarnation;
    trib_participant_connected(node.participant, node.now_ms);
    (void)role_collect(&node, true);
    hello = role_next(&node, TRIB_HELLO); /* now it knows a run, and holds something */
    assert_int_equal(hello->msg.incarnation, incarnation);
    assert_int_equal(hello->msg.next_number, 2);
    assert_int_equal(hello->msg.parent_incarnation, 70);
    assert_memory_equal(hello->msg.fingerprint, welcome.fingerprint, TRIB_DIGEST_BYTES);
    assert_int_equal(hello->msg.held_version, 0);
    assert_memory_equal(hello->msg.held_digest, seed.to_digest, TRIB_DIGEST_BYTES);
    role_rebuild(&node);
    role_stop(&node);
}

/* A HELLO that nobody answers, because the parent died or does not know the key, is said again, with no other
 * event than the time that poll asked for. */
static void test_hello_without_an_answer(void **unused) {
    (void)unused;
    struct role_node node;
    device(&node);
    for (size_t i = 1; i <= 3; i++) {
        role_poll(&node);
        assert_int_equal(node.reconnects, i);
        trib_participant_connected(node.participant, node.now_ms);
        (void)role_collect(&node, true);
        (void)role_next(&node, TRIB_HELLO);
        assert_true(node.wake_ms <=
                    node.now_ms + 10 * 1000); /* of the poll before: nothing else is scheduled */
        node.now_ms = node.wake_ms;
        role_poll(&node);
        if (i > 1) { /* 10 s more each time */
            node.now_ms += (i - 1) * 10 * 1000;
            role_poll(&node);
        }
        assert_true(node.wake_ms > node.now_ms && node.wake_ms <= node.now_ms + 15 * 1000);
        node.now_ms = node.wake_ms;
    }
    role_stop(&node);
}

static void says(void *ctx, struct trib_conditions *out) {
    const struct trib_conditions *now = ctx;
    if (now->device_class != NULL) *out = *now;
}

static void test_reports(void **unused) {
    (void)unused;
    struct role_node node;
    struct trib_conditions now = {.device_class = "gateway", .battery = 90, .link = 5000};
    role_child(&node, (struct role_options){.role = TRIB_ROLE_DEVICE,
                                            .participant = {.conditions = says, .conditions_ctx = &now}});
    role_poll(&node);
    trib_participant_connected(node.participant, node.now_ms);
    (void)role_collect(&node, true);
    const struct trib_msg *hello = &role_next(&node, TRIB_HELLO)->msg;
    assert_int_equal(hello->device_class.size, 7);
    assert_memory_equal(hello->device_class.data, "gateway", 7);
    assert_int_equal(hello->battery, 90);
    assert_int_equal(hello->link, 5000);
    struct trib_msg welcome = role_welcome(5, 70, 0);
    role_deliver(&node, 0, NULL, &welcome, NULL);
    now = (struct trib_conditions){.device_class = "", .battery = 101}; /* that is no battery */
    role_poll(&node);
    const struct trib_msg *pull = &role_next(&node, TRIB_PULL)->msg;
    assert_false(trib_msg_has(pull, DEVICE_CLASS) || trib_msg_has(pull, BATTERY) || trib_msg_has(pull, LINK));
    role_stop(&node);
}

static void test_restored_from_a_backup(void **unused) {
    (void)unused;
    struct role_node node;
    device(&node);
    role_begin(&node, 5);
    role_submit(&node, 1.0f);
    uint64_t incarnation = node.state->incarnation;
    role_connect(&node, 6, 70, 2); /* the parent has seen 2, which was never made here */
    assert_true(node.state->incarnation != incarnation);
    assert_int_equal(node.state->next_number, 1);
    assert_int_equal(node.state->held_count, 0);
    (void)comes_back(&node);
    role_silent(&node);
    trib_participant_connected(node.participant, node.now_ms);
    (void)role_collect(&node, true);
    assert_int_equal(role_next(&node, TRIB_HELLO)->msg.incarnation, node.state->incarnation);
    role_rebuild(&node);
    role_stop(&node);
}

static void test_another_parent(void **unused) {
    (void)unused;
    struct role_node node;
    device(&node);
    role_begin(&node, 5);
    role_submit(&node, 1.0f);
    uint64_t incarnation = node.state->incarnation;
    role_connect(&node, 6, 71, 0);
    assert_int_equal(node.state->parent_incarnation, 71);
    assert_int_equal(node.state->incarnation, incarnation);
    assert_int_equal(node.state->held_count, 0); /* it was made for another */
    assert_int_equal(node.state->next_number, 2);
    role_poll(&node);
    assert_false(trib_msg_has(&role_next(&node, TRIB_PULL)->msg, HELD_DIGEST));
    role_silent(&node);
    role_stop(&node);

    edge(&node);
    role_begin(&node, 5);
    incarnation = node.state->incarnation;
    trib_participant_connected(node.participant, node.now_ms);
    (void)role_collect(&node, true);
    (void)role_next(&node, TRIB_HELLO);
    struct trib_msg welcome = role_welcome(6, 71, 0);
    say(&node, &welcome);
    role_silent(&node);
    say(&node, &welcome); /* a second one, to who it was before: it is nobody's any more */
    assert_false(trib_participant_status(node.participant).ready);
    (void)comes_back(&node);
    trib_participant_connected(node.participant, node.now_ms);
    (void)role_collect(&node, true);
    const struct role_sent *hello = role_next(&node, TRIB_HELLO);
    assert_true(hello->msg.incarnation != incarnation);
    assert_int_equal(hello->after, role_last(&node, TRIB_REC_START)->position);
    assert_int_equal(hello->msg.parent_incarnation, 71);
    role_poll(&node);
    role_silent(&node); /* no session yet */
    welcome.session = 7;
    say(&node, &welcome);
    role_poll(&node);
    assert_int_equal(role_next(&node, TRIB_PULL)->msg.session, 7);
    role_rebuild(&node);
    role_stop(&node);
}

static void test_plan_or_schema_that_is_not_taken(void **unused) {
    (void)unused;
    static const struct {
        const char *plan, *schema;
    } cases[] = {
        {"codec.up: zip\n", "w 4 0x0p+0\n"},       {"train.batch: many\n", "w 4 0x0p+0\n"},
        {"codec.up: f32\n", "w four\n"},           {"codec.up: f32\n", "w 10001 0x0p+0\n"},
        {"edge.rule: dictator\n", "w 4 0x0p+0\n"}, {"codec.up: f32\n", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct role_node node;
        edge(&node);
        role_begin(&node, 5);
        trib_participant_connected(node.participant, node.now_ms);
        (void)role_collect(&node, true);
        (void)role_next(&node, TRIB_HELLO);
        struct trib_msg welcome = role_welcome(6, 71, 0);
        welcome.plan = role_text(cases[i].plan);
        welcome.schema = role_text(cases[i].schema);
        size_t records = node.record_count;
        say(&node, &welcome); /* the role lives on with what it has, and tells */
        assert_int_equal(role_logged(&node, "run_refused"), 1);
        assert_int_equal(node.record_count, records);
        assert_int_equal(node.state->parent_incarnation, 70);
        role_silent(&node);
        assert_true(comes_back(&node) > 0);
        role_rebuild(&node);
        role_stop(&node);
    }
}

/* A run that this node cannot hold is tried again after a minute; one that memory was short for, soon. */
static void test_a_run_that_cannot_be_held(void **unused) {
    (void)unused;
    for (int short_of_memory = 0; short_of_memory < 2; short_of_memory++) {
        struct role_node node;
        edge(&node);
        role_begin(&node, 5);
        trib_participant_connected(node.participant, node.now_ms);
        (void)role_collect(&node, true);
        (void)role_next(&node, TRIB_HELLO);
        struct trib_msg welcome = role_welcome(6, 71, 0);
        struct trib_buf frame;
        trib_buf_init(&frame, 0);
        if (!short_of_memory) node.state->limits.max_parameters = ROLE_N - 1;
        trib_msg_encode(&welcome, &frame);
        if (short_of_memory) trib_alloc_fail_after(0); /* until it has refused the run */
        trib_participant_message(node.participant, node.now_ms, frame.data, frame.size, NULL);
        trib_alloc_fail_after(-1);
        trib_buf_release(&frame);
        (void)role_collect(&node, true);
        assert_int_equal(node.state->parent_incarnation, 70);
        uint64_t away_ms = comes_back(&node);
        if (short_of_memory ? away_ms >= 10000 : away_ms < 60000 || away_ms > 90000)
            fail_msg("it comes back after %d ms", (int)away_ms);
        role_stop(&node);
    }
}

static void test_welcome_overrules_acks(void **unused) {
    (void)unused;
    struct role_node node;
    edge(&node);
    role_begin(&node, 5);
    role_gather(&node, 1.0f);
    role_poll(&node);
    const struct role_sent *push = role_next(&node, TRIB_PUSH);
    struct trib_msg accepted = role_ack(5, 1, TRIB_ACCEPTED);
    say(&node, &accepted);
    assert_true(node.state->held_count == 1 && node.state->held[0].acknowledged);
    role_connect(&node, 6, 70, 0); /* the parent lost what it had acknowledged */
    role_poll(&node);
    const struct role_sent *again = role_next(&node, TRIB_PUSH);
    assert_int_equal(again->msg.number, 1);
    assert_memory_equal(trib_blob_data(again->payload), trib_blob_data(push->payload),
                        ROLE_N * sizeof(float));
    (void)role_next(&node, TRIB_PULL);
    accepted.session = 6;
    say(&node, &accepted);
    role_connect(&node, 7, 70, 1); /* and now it has it: the verdict may be another, the bytes are there */
    role_poll(&node);
    again = role_next(&node, TRIB_PUSH);
    assert_int_equal(again->msg.number, 1);
    assert_null(again->payload);
    (void)role_next(&node, TRIB_PULL);
    struct trib_msg refused = role_ack(7, 1, TRIB_REFUSED);
    trib_msg_set(&refused, REASON, reason, TRIB_REASON_BASE);
    say(&node, &refused);
    assert_int_equal(node.state->held_count, 0);
    role_rebuild(&node);
    role_stop(&node);
}

/* ---- errors ---- */

static void test_errors_that_end_the_session(void **unused) {
    (void)unused;
    static const struct {
        uint64_t code, wait_ms, least;
    } cases[] = {
        {TRIB_CODE_HELLO, 0, 200},         {TRIB_CODE_MALFORMED, 0, 1000},
        {TRIB_CODE_VERSION, 60000, 60000}, {TRIB_CODE_DUPLICATE, 30000, 30000},
        {TRIB_CODE_BUSY, 10000, 10000},    {TRIB_CODE_DENIED, 60000, 60000},
        {TRIB_CODE_TYPE, 0, 1000},         {200, 0, 1000},
        {TRIB_CODE_GAP, 0, 200},           {TRIB_CODE_BUSY, UINT64_MAX, 60000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct role_node node;
        device(&node);
        role_begin(&node, 5);
        role_submit(&node, 1.0f);
        role_poll(&node);
        (void)role_next(&node, TRIB_PUSH);
        struct trib_msg msg = error(cases[i].code, 1, cases[i].wait_ms);
        say(&node, &msg);
        assert_false(trib_participant_status(node.participant).ready);
        uint64_t pause_ms = comes_back(&node);
        assert_true(pause_ms >= cases[i].least && pause_ms < 48 * 3600 * (uint64_t)1000);
        role_connect(&node, 6, 70, 0);
        role_poll(&node); /* nothing is lost */
        assert_int_equal(role_next(&node, TRIB_PUSH)->msg.number, 1);
        role_stop(&node);
    }
}

static void test_errors_that_renew(void **unused) {
    (void)unused;
    static const uint64_t codes[] = {TRIB_CODE_RETIRED, TRIB_CODE_CONFLICT};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        struct role_node node;
        device(&node);
        role_begin(&node, 5);
        role_submit(&node, 1.0f);
        uint64_t incarnation = node.state->incarnation;
        struct trib_msg msg = error(codes[i], 1, 0);
        say(&node, &msg);
        assert_true(node.state->incarnation != incarnation);
        assert_int_equal(node.state->held_count, 0);
        (void)comes_back(&node);
        role_connect(&node, 6, 70, 0);
        role_poll(&node);
        (void)role_next(&node, TRIB_PULL);
        role_rebuild(&node);
        role_stop(&node);
    }
}

static void test_errors_that_only_wait(void **unused) {
    (void)unused;
    static const uint64_t codes[] = {TRIB_CODE_STORE, TRIB_CODE_CREDIT};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        struct role_node node;
        device(&node);
        role_begin(&node, 5);
        role_submit(&node, 1.0f);
        role_poll(&node);
        (void)role_next(&node, TRIB_PUSH);
        struct trib_msg msg = error(codes[i], 1, 2500);
        say(&node, &msg);
        role_poll(&node);
        role_silent(&node);
        assert_true(trib_participant_status(node.participant).ready);
        role_wait(&node, 2500);
        assert_int_equal(role_next(&node, TRIB_PUSH)->msg.number, 1);
        role_stop(&node);
    }
}

static void test_error_schema(void **unused) {
    (void)unused;
    struct role_node node;
    device(&node);
    role_begin(&node, 5);
    struct trib_msg msg = error(TRIB_CODE_SCHEMA, 0, 0);
    say(&node, &msg);
    (void)comes_back(&node);
    trib_participant_connected(node.participant, node.now_ms);
    (void)role_collect(&node, true);
    const struct role_sent *hello = role_next(&node, TRIB_HELLO);
    assert_false(trib_msg_has(&hello->msg, FINGERPRINT));
    assert_false(trib_msg_has(&hello->msg, HELD_DIGEST));
    role_stop(&node);
}

static void test_gap_of_a_number_judged_long_ago(void **unused) {
    (void)unused;
    struct role_node node;
    device(&node);
    role_begin(&node, 5);
    role_submit(&node, 1.0f);
    role_connect(&node, 6, 70, 1);
    role_poll(&node);
    (void)role_next(&node, TRIB_PUSH); /* to learn the verdict */
    struct trib_msg msg = error(TRIB_CODE_GAP, 1, 0);
    say(&node, &msg);
    assert_true(trib_participant_status(node.participant).ready);
    assert_int_equal(node.state->held_count, 0);
    role_poll(&node);
    (void)role_next(&node, TRIB_PULL);
    role_stop(&node);

    edge(&node); /* what it made may be in its parent's buffer: it stays until a model has it */
    role_begin(&node, 5);
    role_gather(&node, 1.0f);
    role_poll(&node);
    (void)role_next(&node, TRIB_PUSH);
    role_connect(&node, 6, 70, 1);
    role_poll(&node);
    (void)role_next(&node, TRIB_PUSH);
    (void)role_next(&node, TRIB_PULL);
    say(&node, &msg);
    assert_int_equal(node.state->held_count, 1);
    assert_true(node.state->held[0].acknowledged);
    role_rebuild(&node);
    role_stop(&node);
}

/* ---- time ---- */

static void test_wait_and_advance(void **unused) {
    (void)unused;
    struct role_node node;
    device(&node);
    role_begin(&node, 5);
    trib_participant_abandon(node.participant, node.now_ms);
    struct trib_msg wait = role_message(TRIB_WAIT, 5);
    trib_msg_set(&wait, WAIT_MS, wait_ms, 2000);
    say(&node, &wait); /* twice sent or late: nothing was asked */
    role_wait(&node, 1000);
    (void)role_next(&node, TRIB_PULL);
    say(&node, &wait);
    role_wait(&node, 1999);
    role_silent(&node);
    role_wait(&node, 252); /* at most an eighth later */
    (void)role_next(&node, TRIB_PULL);
    say(&node, &wait);
    struct trib_msg advance = role_message(TRIB_ADVANCE, 5);
    trib_msg_set(&advance, TO_VERSION, to_version, 1);
    say(&node, &advance);
    role_poll(&node);
    (void)role_next(&node, TRIB_PULL); /* at once */
    wait.wait_ms = UINT64_MAX;         /* nobody waits so long */
    say(&node, &wait);
    role_poll(&node);
    role_silent(&node);
    for (uint64_t waited = 0; waited < 48 * 3600 * (uint64_t)1000; waited += 10000) {
        role_wait(&node, 10000);
        const struct role_sent *sent = role_peek(&node);
        if (sent != NULL && sent->msg.type == TRIB_PULL) break;
        struct trib_msg pong = role_message(TRIB_PONG, 5);
        trib_msg_set(&pong, TOKEN, token, 1);
        say(&node, &pong);
        assert_true(waited < 36 * 3600 * (uint64_t)1000);
    }
    role_stop(&node);
}

static void test_heartbeat_and_silence(void **unused) {
    (void)unused;
    struct role_node node;
    device(&node);
    role_begin(&node, 5); /* trains; heartbeats of 5 s */
    role_wait(&node, 4999);
    role_silent(&node);
    role_wait(&node, 1);
    (void)role_next(&node, TRIB_PING);
    struct trib_msg ping = role_message(TRIB_PING, 5);
    trib_msg_set(&ping, TOKEN, token, 0xABCD);
    say(&node, &ping);
    assert_int_equal(role_next(&node, TRIB_PONG)->msg.token, 0xABCD);
    for (uint64_t at = 0; at < 30000; at += 5000) {
        role_wait(&node, 5000);
        (void)role_next(&node, TRIB_PING);
    }
    assert_true(trib_participant_status(node.participant).ready);
    role_wait(&node, 1);
    assert_false(trib_participant_status(node.participant).ready);
    assert_int_equal(role_logged(&node, "uplink_closed"), 1);
    (void)comes_back(&node);
    role_submit(&node, 1.0f); /* what was trained meanwhile is kept */
    assert_int_equal(node.state->held_count, 1);
    role_connect(&node, 6, 70, 0);
    role_poll(&node);
    (void)role_next(&node, TRIB_PUSH);
    role_stop(&node);
}

static void test_back_off_grows(void **unused) {
    (void)unused;
    struct role_node node;
    device(&node);
    role_poll(&node);
    uint64_t pauses[10];
    for (size_t i = 0; i < 10; i++) {
        trib_participant_connected(node.participant, node.now_ms);
        (void)role_collect(&node, true);
        (void)role_next(&node, TRIB_HELLO);
        pauses[i] = comes_back(&node) - 10000 * (i < 5 ? i + 1 : 6); /* nobody says WELCOME */
        uint64_t least = (uint64_t)200 << i;
        if (least > 15000) least = 15000;
        assert_in_range(pauses[i], least, least + least / 2);
    }
    role_connect(&node, 5, 70, 0);
    struct trib_msg msg = error(TRIB_CODE_HELLO, 0, 0);
    say(&node, &msg);
    assert_in_range(comes_back(&node), 200, 300); /* a session that came about begins anew */
    role_stop(&node);
}

static void test_bye(void **unused) {
    (void)unused;
    struct role_node node;
    device(&node);
    role_begin(&node, 5);
    struct trib_msg bye = role_message(TRIB_BYE, 4); /* of a session before */
    trib_msg_set(&bye, REASON, reason, TRIB_BYE_LEAVING);
    say(&node, &bye);
    assert_true(trib_participant_status(node.participant).ready);
    bye.session = 5;
    say(&node, &bye);
    (void)comes_back(&node);
    role_connect(&node, 6, 70, 0);
    trib_participant_goodbye(node.participant, node.now_ms);
    (void)role_collect(&node, true);
    assert_int_equal(role_next(&node, TRIB_BYE)->msg.reason, TRIB_BYE_LEAVING);
    role_stop(&node);

    role_child(&node,
               (struct role_options){.role = TRIB_ROLE_DEVICE, .participant = {.finish_on_bye = true}});
    role_begin(&node, 5);
    bye.reason = TRIB_BYE_FINISHED;
    say(&node, &bye);
    assert_int_equal(node.finished, 1);
    assert_true(node.state->stopped);
    role_poll(&node);
    assert_true(node.wake_ms == UINT64_MAX);
    role_stop(&node);

    device(&node); /* which is stopped while it is being welcomed */
    role_poll(&node);
    trib_participant_connected(node.participant, node.now_ms);
    (void)role_collect(&node, true);
    (void)role_next(&node, TRIB_HELLO);
    trib_participant_goodbye(node.participant, node.now_ms);
    struct trib_msg welcome = role_welcome(7, 70, 0);
    say(&node, &welcome);
    assert_int_equal(role_next(&node, TRIB_BYE)->msg.session, 7);
    assert_false(trib_participant_status(node.participant).ready);
    role_stop(&node);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_hello_without_an_answer),
        cmocka_unit_test(test_reports),
        cmocka_unit_test(test_restored_from_a_backup),
        cmocka_unit_test(test_another_parent),
        cmocka_unit_test(test_plan_or_schema_that_is_not_taken),
        cmocka_unit_test(test_a_run_that_cannot_be_held),
        cmocka_unit_test(test_welcome_overrules_acks),
        cmocka_unit_test(test_errors_that_end_the_session),
        cmocka_unit_test(test_errors_that_renew),
        cmocka_unit_test(test_errors_that_only_wait),
        cmocka_unit_test(test_error_schema),
        cmocka_unit_test(test_gap_of_a_number_judged_long_ago),
        cmocka_unit_test(test_wait_and_advance),
        cmocka_unit_test(test_heartbeat_and_silence),
        cmocka_unit_test(test_back_off_grows),
        cmocka_unit_test(test_bye),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
