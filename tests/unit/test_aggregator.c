/* The parent role, message by message: sessions, the end of a run, and trouble. Vectors are four floats in
 * f32 and version 0 is all zeros. Updates and models are in test_aggregator_verdicts.c, payloads in pieces in
 * test_aggregator_transfers.c. */
#include "tests/support/cmocka.h"

#include "shared/base/alloc.h"
#include "tests/support/roles.h"

#include <string.h>

static void cloud_with(struct role_node *node, const char *plan) {
    role_parent(node, (struct role_options){.role = TRIB_ROLE_CLOUD, .plan = plan});
}

static void edge_with(struct role_node *node, const char *plan) {
    role_parent(node, (struct role_options){.role = TRIB_ROLE_EDGE, .plan = plan, .with_seed = true});
}

/* ---- sessions ---- */

static void test_welcome(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, "heartbeat: 7s\n");
    struct trib_msg hello = role_hello("a", 11, 1);
    role_deliver(&node, 1, NULL, &hello, NULL);
    const struct role_sent *sent = role_next(&node, TRIB_WELCOME);
    const struct trib_msg *w = &sent->msg;
    assert_true(w->session != 0);
    assert_int_equal(w->incarnation, 7);
    assert_int_equal(w->last_number, 0);
    assert_true(w->credit >= ROLE_N * sizeof(float));
    assert_int_equal(w->heartbeat_ms, 7000);
    assert_memory_equal(w->fingerprint, node.state->schema.fingerprint, TRIB_DIGEST_BYTES);
    assert_int_equal(w->plan.size, node.state->plan_text.size);
    assert_memory_equal(w->plan.data, node.state->plan_text.data, w->plan.size);
    assert_int_equal(w->schema.size, strlen("w 4 0x0p+0\n"));
    assert_memory_equal(w->schema.data, "w 4 0x0p+0\n", w->schema.size);
    /* it speaks of the admission, which must be committed first */
    assert_int_equal(role_recorded(&node, TRIB_REC_PEER), 1);
    assert_int_equal(sent->after, role_last(&node, TRIB_REC_PEER)->position);

    uint64_t session = w->session;
    (void)role_pulled(&node, session, NULL);
    (void)role_update(&node, 1, role_push(session, 1, 0), 1.0f);
    role_deliver(&node, 2, NULL, &hello, NULL);
    assert_int_equal(role_next(&node, TRIB_WELCOME)->msg.last_number, 1);
    assert_int_equal(role_recorded(&node, TRIB_REC_PEER), 1); /* the same incarnation is no news */
    role_rebuild(&node);
    role_stop(&node);
}

static void test_session_belongs_to_route_and_identity(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, NULL);
    struct trib_msg hello = role_hello("says-this", 11, 1);
    role_deliver(&node, 1, "is-that", &hello, NULL);
    uint64_t session = role_next(&node, TRIB_WELCOME)->msg.session;
    assert_non_null(trib_state_peer(node.state, "is-that", 7));
    assert_null(trib_state_peer(node.state, "says-this", 9));

    struct trib_msg msg = role_pull(session, NULL);
    role_deliver(&node, 2, "is-that", &msg, NULL); /* another connection */
    assert_int_equal(role_error(&node, TRIB_CODE_HELLO)->route, 2);
    role_deliver(&node, 1, "somebody", &msg, NULL); /* another key */
    (void)role_error(&node, TRIB_CODE_HELLO);
    msg.session ^= (uint64_t)1 << 20;
    role_deliver(&node, 1, "is-that", &msg, NULL);
    (void)role_error(&node, TRIB_CODE_HELLO);
    msg.session = 0xFFFF;
    role_deliver(&node, 1, "is-that", &msg, NULL);
    (void)role_error(&node, TRIB_CODE_HELLO);
    msg.session = session;
    role_deliver(&node, 1, "is-that", &msg, NULL);
    (void)role_next(&node, TRIB_MODEL);
    msg = role_message(TRIB_BYE, 12345); /* not worth an answer */
    trib_msg_set(&msg, REASON, reason, TRIB_BYE_LEAVING);
    role_deliver(&node, 1, "is-that", &msg, NULL);
    role_silent(&node);
    role_stop(&node);
}

/* Whatever the bytes say, nothing is touched that is not there, and nothing changes. */
static void test_fetching_ahead_changes_nothing(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, NULL);
    struct trib_msg msg = role_pull(role_join(&node, 1, "a", 11), NULL);
    uint8_t before[TRIB_DIGEST_BYTES], after[TRIB_DIGEST_BYTES];
    assert_int_equal(trib_state_digest(node.state, before), TRIB_OK);
    for (uint64_t slot = 0; slot <= UINT16_MAX; slot += 257) {
        struct trib_buf frame;
        trib_buf_init(&frame, 0);
        trib_msg_encode(&msg, &frame);
        for (size_t bytes = 0; bytes <= frame.size; bytes++) {
            trib_aggregator_fetch(node.aggregator, frame.data, bytes, false);
            trib_aggregator_fetch(node.aggregator, frame.data, bytes, true);
        }
        trib_buf_release(&frame);
        msg.session = (msg.session & ~(uint64_t)UINT16_MAX) | slot;
    }
    assert_int_equal(trib_state_digest(node.state, after), TRIB_OK);
    assert_memory_equal(before, after, sizeof before);
    role_silent(&node);
    role_stop(&node);
}

static void test_newest_hello_owns_the_name(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, NULL);
    uint64_t first = role_join(&node, 1, "a", 11), second = role_join(&node, 2, "a", 11);
    assert_true(first != second);
    struct trib_msg msg = role_pull(first, NULL);
    role_deliver(&node, 1, NULL, &msg, NULL);
    (void)role_error(&node, TRIB_CODE_HELLO);
    msg = role_pull(second, NULL);
    role_deliver(&node, 2, NULL, &msg, NULL);
    (void)role_next(&node, TRIB_MODEL);
    assert_int_equal(trib_aggregator_status(node.aggregator).sessions, 1);
    role_stop(&node);
}

static void test_incarnations(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, NULL);
    uint64_t session = role_join(&node, 1, "a", 11);
    (void)role_pulled(&node, session, NULL);
    (void)role_update(&node, 1, role_push(session, 1, 0), 1.0f);
    struct trib_msg hello = role_hello("a", 12, 1);
    role_deliver(&node, 1, NULL, &hello, NULL);
    assert_int_equal(role_next(&node, TRIB_WELCOME)->msg.last_number, 0); /* its numbers begin again */
    hello = role_hello("a", 11, 2);
    role_deliver(&node, 1, NULL, &hello, NULL);
    (void)role_error(&node, TRIB_CODE_RETIRED);
    role_rebuild(&node);
    role_stop(&node);
}

static void test_flapping_name(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, NULL);
    uint64_t turns = 0;
    for (uint64_t incarnation = 1; incarnation < 20; incarnation++) {
        node.now_ms += 500;
        struct trib_msg hello = role_hello("a", incarnation, 1);
        role_deliver(&node, incarnation % 2, NULL, &hello, NULL);
        const struct role_sent *sent = role_peek(&node);
        assert_non_null(sent);
        if (sent->msg.type == TRIB_WELCOME) {
            assert_int_equal(turns, incarnation - 1); /* never again once it was refused */
            turns++;
        } else {
            assert_int_equal(sent->msg.code, TRIB_CODE_DUPLICATE);
            assert_true(sent->msg.wait_ms >= 10000);
        }
    }
    assert_true(turns >= 3 && turns <= 10);
    node.now_ms += 60000; /* they were renamed */
    (void)role_join(&node, 1, "a", 100);
    role_stop(&node);
}

static void test_hello_refused(void **unused) {
    (void)unused;
    struct role_node node;
    role_parent(&node, (struct role_options){.role = TRIB_ROLE_CLOUD, .aggregator = {.max_peers = 2}});
    struct trib_msg hello = role_hello("a", 11, 1);
    hello.protocol_min = 3;
    hello.protocol_max = 4;
    role_deliver(&node, 1, NULL, &hello, NULL);
    const struct trib_text said = role_error(&node, TRIB_CODE_VERSION)->msg.detail;
    const char *const text = "found protocol versions 3 to 4, expected one of 1 to 2; update this parent";
    assert_int_equal(said.size, strlen(text));
    assert_memory_equal(said.data, text, said.size);
    const char *const bad[] = {"a b", "a\"b", " "};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        hello = role_hello(bad[i], 11, 1);
        role_deliver(&node, 1, NULL, &hello, NULL);
        (void)role_error(&node, TRIB_CODE_DENIED);
    }
    hello = role_hello("a", 0, 1);
    role_deliver(&node, 1, NULL, &hello, NULL);
    (void)role_error(&node, TRIB_CODE_MALFORMED);
    hello = role_hello("a", 11, 1);
    trib_msg_set(&hello, PARENT_INCARNATION, parent_incarnation, 7);
    hello.present |= (uint64_t)1 << TRIB_F_FINGERPRINT;
    role_deliver(&node, 1, NULL, &hello, NULL);
    (void)role_error(&node, TRIB_CODE_SCHEMA);
    assert_int_equal(node.state->peer_count, 0);
    hello.parent_incarnation = 6; /* of an older run: that it comes with another model is no fault */
    role_deliver(&node, 1, NULL, &hello, NULL);
    (void)role_next(&node, TRIB_WELCOME);
    (void)role_join(&node, 2, "b", 12);
    hello = role_hello("c", 13, 1);
    role_deliver(&node, 3, NULL, &hello, NULL);
    assert_true(role_error(&node, TRIB_CODE_BUSY)->msg.wait_ms > 0);
    assert_int_equal(node.state->peer_count, 2);
    (void)role_join(&node, 3, "b", 12); /* who is known may come back */
    role_stop(&node);
}

static void test_names_in_other_scripts(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, NULL);
    (void)role_join(&node, 1, "ger\xc3\xa4t-1", 11);
    assert_non_null(trib_state_peer(node.state, "ger\xc3\xa4t-1", 8));
    role_stop(&node);
}

static void test_ping_bye_and_what_a_parent_does_not_take(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, NULL);
    uint64_t session = role_join(&node, 1, "a", 11);
    struct trib_msg msg = role_message(TRIB_PING, session);
    trib_msg_set(&msg, TOKEN, token, 0x1234567890);
    role_deliver(&node, 1, NULL, &msg, NULL);
    const struct role_sent *pong = role_next(&node, TRIB_PONG);
    assert_int_equal(pong->msg.token, 0x1234567890);
    assert_int_equal(pong->after, 0);
    msg = role_message(TRIB_ADVANCE, session);
    trib_msg_set(&msg, TO_VERSION, to_version, 3);
    role_deliver(&node, 1, NULL, &msg, NULL);
    (void)role_error(&node, TRIB_CODE_TYPE);
    role_deliver_bytes(&node, 1, "TRIB\x01\x63\0\0\x80", 9, NULL);
    (void)role_error(&node, TRIB_CODE_TYPE);
    role_deliver_bytes(&node, 1, "what?", 5, NULL);
    (void)role_error(&node, TRIB_CODE_MALFORMED);
    role_deliver_bytes(&node, 1, "TRIB\x03\x01\0\0\x80", 9, NULL);
    (void)role_error(&node, TRIB_CODE_VERSION);
    msg = role_message(TRIB_BYE, session);
    trib_msg_set(&msg, REASON, reason, TRIB_BYE_LEAVING);
    role_deliver(&node, 1, NULL, &msg, NULL);
    role_silent(&node);
    assert_int_equal(trib_aggregator_status(node.aggregator).sessions, 0);
    msg = role_pull(session, NULL);
    role_deliver(&node, 1, NULL, &msg, NULL);
    (void)role_error(&node, TRIB_CODE_HELLO);
    role_stop(&node);
}

static void test_quiet_child_is_not_counted(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, "heartbeat: 5s\n");
    uint64_t session = role_join(&node, 1, "a", 11);
    role_wait(&node, 14000);
    assert_int_equal(trib_aggregator_status(node.aggregator).active, 1);
    role_wait(&node, 2000);
    assert_int_equal(trib_aggregator_status(node.aggregator).active, 0);
    assert_int_equal(role_logged(&node, "peer_quiet"), 1);
    (void)role_pulled(&node, session, NULL); /* its session lives on */
    assert_int_equal(trib_aggregator_status(node.aggregator).active, 1);
    role_stop(&node);
}

/* What a forward says of the region: the devices that are there, whether or not they have an update in it.
 * `weight` is of those that have. */
static void test_region_is_of_the_active(void **unused) {
    (void)unused;
    struct role_node node;
    edge_with(&node, "edge.rule: fedbuff(k=1)\nheartbeat: 5s\npublish.interval: 0\n");
    uint64_t a = role_join(&node, 1, "a", 11), b = role_join(&node, 2, "b", 12),
             c = role_join(&node, 3, "c", 13);
    uint64_t base = role_pulled(&node, a, NULL)->msg.to_version;
    struct trib_msg push = role_push(a, 1, base);
    assert_int_equal(trib_aggregator_region(node.aggregator), 0); /* nobody has said anything */
    push.weight = 30;
    (void)role_update(&node, 1, push, 1.0f);
    push = role_push(b, 1, base);
    push.weight = 5;
    (void)role_update(&node, 2, push, 1.0f);
    push = role_push(c, 1, base);
    push.weight = 700;
    (void)role_update(&node, 3, push, 1.0f);
    assert_int_equal(trib_aggregator_region(node.aggregator), 735);
    assert_int_equal(node.state->gathered.weight, 735);
    struct trib_msg bye = role_message(TRIB_BYE, c);
    trib_msg_set(&bye, REASON, reason, TRIB_BYE_LEAVING);
    role_deliver(&node, 3, NULL, &bye, NULL);
    assert_int_equal(trib_aggregator_region(node.aggregator), 35);
    role_wait(&node, 14000);
    push = role_push(a, 2, base);
    push.weight = 30;
    (void)role_update(&node, 1, push, 1.0f);
    assert_int_equal(trib_aggregator_region(node.aggregator), 35);
    role_wait(&node, 2000); /* b was silent for three heartbeats */
    assert_int_equal(role_logged(&node, "peer_quiet"), 1);
    assert_int_equal(trib_aggregator_region(node.aggregator), 30);
    assert_int_equal(node.state->gathered.weight, 735); /* what they have given is in there */
    struct trib_msg ping = role_message(TRIB_PING, b);
    trib_msg_set(&ping, TOKEN, token, 1);
    role_deliver(&node, 2, NULL, &ping, NULL);
    assert_int_equal(trib_aggregator_region(node.aggregator), 35);
    role_stop(&node);
    /* The same where a restarted node adds up for the first time. */
    edge_with(&node, "heartbeat: 5s\n");
    role_gather(&node, 1.0f); /* d, with ten */
    (void)role_join(&node, 1, "d", 3);
    role_wait(&node, 16000);
    assert_int_equal(role_logged(&node, "peer_quiet"), 1);
    assert_int_equal(trib_aggregator_region(node.aggregator), 0);
    role_stop(&node);
}

/* ---- buffers ---- */

static void assert_told(const struct role_node *node, const char *event, size_t times, const char *text) {
    assert_int_equal(role_logged(node, event), times);
    const struct trib_record *last = NULL;
    for (size_t i = 0; i < node->record_count; i++)
        if (node->records[i]->kind == TRIB_REC_EVENT && node->records[i]->event.size == strlen(event) &&
            memcmp(node->records[i]->event.data, event, strlen(event)) == 0)
            last = node->records[i];
    assert_non_null(last); /* in the ledger too */
    assert_int_equal(last->level, TRIB_LOG_WARN);
    if (last->text.size != strlen(text) || memcmp(last->text.data, text, strlen(text)) != 0)
        fail_msg("%s says %.*s, not %s", event, (int)last->text.size, last->text.data, text);
}

/* A k above the number of children that are there would wait for ever; that it is lowered is told once. */
static void test_lowered_buffer_is_told(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, "cloud.rule: fedbuff(k=3, deadline=0)\n");
    uint64_t a = role_join(&node, 1, "a", 11), b = role_join(&node, 2, "b", 12);
    (void)role_pulled(&node, a, NULL);
    (void)role_update(&node, 1, role_push(a, 1, 0), 1.0f);
    assert_int_equal(node.state->commits, 0);
    assert_told(&node, "buffer_lowered", 1, "updates=2 configured=3 active=2");
    (void)role_update(&node, 2, role_push(b, 1, 0), 1.0f);
    assert_int_equal(node.state->commits, 1);
    (void)role_update(&node, 1, role_push(a, 2, 0), 1.0f);
    assert_told(&node, "buffer_lowered", 1, "updates=2 configured=3 active=2");
    struct trib_msg bye = role_message(TRIB_BYE, b);
    trib_msg_set(&bye, REASON, reason, TRIB_BYE_LEAVING);
    role_deliver(&node, 2, NULL, &bye, NULL);
    role_poll(&node);
    assert_told(&node, "buffer_lowered", 2, "updates=1 configured=3 active=1");
    assert_int_equal(node.state->commits, 2);
    role_stop(&node);
}

/* Edges that draw the model too far together: told once for each number of them that is more. Devices that
 * are at the cloud themselves do not draw. */
static void test_too_elastic_is_told(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, "cloud.rule: fedasync(share=no, staleness=constant)\nforward.elastic: 0.45\n");
    const char *const names[] = {"a", "b", "c", "d"};
    (void)role_join(&node, 9, "device", 9);
    for (uint64_t i = 0; i < 4; i++) {
        struct trib_msg hello = role_hello(names[i], 11 + i, 1);
        hello.kind = TRIB_CHILD_EDGE;
        role_deliver(&node, i + 1, NULL, &hello, NULL);
        (void)role_next(&node, TRIB_WELCOME);
        assert_int_equal(role_logged(&node, "elastic_too_strong"), i < 2 ? 0 : i - 1); /* 2 x 0.45 will do */
    }
    assert_told(&node, "elastic_too_strong", 2,
                "elastic=0.45 edges=4 most=0.225; set plan.forward.elastic to that or less");
    struct trib_msg again = role_hello("d", 99, 1);
    again.kind = TRIB_CHILD_EDGE;
    role_deliver(&node, 7, NULL, &again, NULL);
    assert_int_equal(role_logged(&node, "elastic_too_strong"), 2);
    role_stop(&node);
}

/* Krum with f = 1 needs five: at the deadline fewer are kept, and told once for each number of them. */
static void test_short_buffer_is_told(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, "cloud.rule: krum(f=1) | fedbuff(k=5, deadline=1s)\n");
    uint64_t sessions[5];
    const char *const names[] = {"a", "b", "c", "d", "e"};
    for (uint64_t i = 0; i < 5; i++) sessions[i] = role_join(&node, i + 1, names[i], 11 + i);
    (void)role_pulled(&node, sessions[0], NULL);
    for (uint64_t i = 0; i < 3; i++) (void)role_update(&node, i + 1, role_push(sessions[i], 1, 0), 1.0f);
    assert_int_equal(role_logged(&node, "buffer_short"), 0); /* it is not late yet */
    role_wait(&node, 1000);
    assert_told(&node, "buffer_short", 1, "updates=3 needed=5 active=5");
    role_wait(&node, 1000);
    assert_int_equal(role_logged(&node, "buffer_short"), 1);
    (void)role_update(&node, 4, role_push(sessions[3], 1, 0), 1.0f);
    assert_told(&node, "buffer_short", 2, "updates=4 needed=5 active=5");
    assert_int_equal(node.state->commits, 0);
    (void)role_update(&node, 5, role_push(sessions[4], 1, 0), 1.0f);
    assert_int_equal(node.state->commits, 1);
    assert_int_equal(role_logged(&node, "buffer_short"), 2);
    role_stop(&node);
}

/* ---- the end, and trouble ---- */

static void test_stopped_run(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, NULL);
    uint64_t session = role_join(&node, 1, "a", 11);
    (void)role_pulled(&node, session, NULL);
    trib_aggregator_finish(node.aggregator, node.now_ms, "enough");
    (void)role_collect(&node, true);
    const struct role_sent *bye = role_next(&node, TRIB_BYE);
    assert_int_equal(bye->msg.reason, TRIB_BYE_FINISHED);
    assert_int_equal(bye->after, role_last(&node, TRIB_REC_STOP)->position);
    struct trib_msg msg = role_pull(session, NULL);
    role_deliver(&node, 1, NULL, &msg, NULL);
    assert_int_equal(role_next(&node, TRIB_BYE)->msg.reason, TRIB_BYE_FINISHED);
    struct trib_blob *payload = role_floats(ROLE_N, 1.0f);
    assert_int_equal(role_refused(&node, role_push(session, 1, 0), payload), TRIB_REASON_FINISHED);
    trib_blob_unref(&payload);
    (void)role_join(&node, 2, "late", 13);
    assert_int_equal(role_next(&node, TRIB_BYE)->msg.reason, TRIB_BYE_FINISHED);
    role_stop(&node);
}

static void test_store_that_cannot_write(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, NULL);
    uint64_t session = role_join(&node, 1, "a", 11);
    (void)role_pulled(&node, session, NULL);
    trib_aggregator_refuse_writes(node.aggregator, 2500);
    struct trib_blob *payload = role_floats(ROLE_N, 1.0f);
    struct trib_msg push = role_push(session, 1, 0);
    size_t records = node.record_count;
    role_deliver(&node, 1, NULL, &push, payload);
    const struct role_sent *error = role_error(&node, TRIB_CODE_STORE);
    assert_int_equal(error->msg.wait_ms, 2500);
    assert_int_equal(error->msg.number, 1);
    struct trib_msg hello = role_hello("b", 12, 1);
    role_deliver(&node, 2, NULL, &hello, NULL);
    (void)role_error(&node, TRIB_CODE_STORE);
    session = role_join(&node, 1, "a", 11); /* known before: it needs no record */
    (void)role_pulled(&node, session, NULL);
    push.session = session;
    assert_int_equal(node.record_count, records);
    trib_aggregator_refuse_writes(node.aggregator, 0);
    assert_int_equal(role_update(&node, 1, push, 1.0f)->verdict, TRIB_ACCEPTED);
    trib_blob_unref(&payload);
    role_stop(&node);
}

static void test_events_are_bounded(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, NULL);
    for (int i = 0; i < 200; i++) role_deliver_bytes(&node, 1, "noise", 5, NULL);
    assert_int_equal(role_recorded(&node, TRIB_REC_EVENT), 20);
    assert_int_equal(trib_aggregator_status(node.aggregator).malformed, 200);
    node.now_ms += 1000;
    role_deliver_bytes(&node, 1, "noise", 5, NULL);
    assert_int_equal(role_logged(&node, "events_dropped"), 1);
    assert_int_equal(role_recorded(&node, TRIB_REC_EVENT), 22);
    role_stop(&node);
}

static void test_peers_text_in_events(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, NULL);
    uint64_t session = role_join(&node, 1, "a", 11);
    char detail[300] = "x";
    for (size_t i = 1; i + 2 < sizeof detail; i += 2) memcpy(detail + i, "\xc3\xa9", 2);
    struct trib_msg msg = role_message(TRIB_ERROR, session);
    trib_msg_set(&msg, CODE, code, TRIB_CODE_MALFORMED);
    trib_msg_set(&msg, DETAIL, detail, role_text(detail));
    role_deliver(&node, 1, NULL, &msg, NULL);
    assert_int_equal(role_logged(&node, "peer_error"), 1);
    role_rebuild(&node); /* wherever it was cut, the journal can be read again */
    role_stop(&node);
}

static void test_new_incarnation_of_the_node(void **unused) {
    (void)unused;
    struct role_node node;
    edge_with(&node, NULL);
    uint64_t session = role_join(&node, 1, "a", 11);
    struct trib_record renewed = {.kind = TRIB_REC_INCARNATION};
    trib_rec_set(&renewed, INCARNATION, incarnation, 99);
    assert_true(trib_outbox_record(&node.outbox, node.state, &renewed));
    role_poll(&node);
    assert_int_equal(role_error(&node, TRIB_CODE_HELLO)->msg.session, session);
    assert_int_equal(trib_aggregator_status(node.aggregator).sessions, 0);
    struct trib_msg hello = role_hello("a", 11, 1);
    role_deliver(&node, 1, NULL, &hello, NULL);
    assert_int_equal(role_next(&node, TRIB_WELCOME)->msg.incarnation, 99);
    role_stop(&node);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_welcome),
        cmocka_unit_test(test_session_belongs_to_route_and_identity),
        cmocka_unit_test(test_fetching_ahead_changes_nothing),
        cmocka_unit_test(test_newest_hello_owns_the_name),
        cmocka_unit_test(test_incarnations),
        cmocka_unit_test(test_flapping_name),
        cmocka_unit_test(test_hello_refused),
        cmocka_unit_test(test_names_in_other_scripts),
        cmocka_unit_test(test_ping_bye_and_what_a_parent_does_not_take),
        cmocka_unit_test(test_quiet_child_is_not_counted),
        cmocka_unit_test(test_region_is_of_the_active),
        cmocka_unit_test(test_lowered_buffer_is_told),
        cmocka_unit_test(test_too_elastic_is_told),
        cmocka_unit_test(test_short_buffer_is_told),
        cmocka_unit_test(test_stopped_run),
        cmocka_unit_test(test_store_that_cannot_write),
        cmocka_unit_test(test_events_are_bounded),
        cmocka_unit_test(test_peers_text_in_events),
        cmocka_unit_test(test_new_incarnation_of_the_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
