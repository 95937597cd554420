/* The parent role, message by message: sessions, numbers, verdicts, models. Vectors are four floats in f32
 * and version 0 is all zeros, so that every weight and sum is exact. Payloads in pieces are in
 * test_aggregator_transfers.c. */
#include "tests/support/cmocka.h"

#include "shared/base/alloc.h"
#include "tests/support/roles.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void cloud_with(struct role_node *node, const char *plan) {
    role_parent(node, (struct role_options){.role = TRIB_ROLE_CLOUD, .plan = plan});
}

static void edge_with(struct role_node *node, const char *plan) {
    role_parent(node, (struct role_options){.role = TRIB_ROLE_EDGE, .plan = plan, .with_seed = true});
}

/* PULL and the MODEL that answers it. */
static const struct role_sent *pull(struct role_node *node, uint64_t session, const struct trib_msg *held) {
    struct trib_msg msg = role_pull(session, held);
    role_deliver(node, 1, NULL, &msg, NULL);
    return role_next(node, TRIB_MODEL);
}

/* A refused push: the reason. */
static uint64_t refused(struct role_node *node, struct trib_msg push, struct trib_blob *payload) {
    role_deliver(node, 1, NULL, &push, payload);
    const struct role_sent *ack = role_next(node, TRIB_ACK);
    assert_int_equal(ack->msg.verdict, TRIB_REFUSED);
    assert_int_equal(ack->after, node->state->position);
    return ack->msg.reason;
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
    (void)pull(&node, session, NULL);
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
    (void)pull(&node, session, NULL);
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
    hello.protocol_min = 2;
    hello.protocol_max = 3;
    role_deliver(&node, 1, NULL, &hello, NULL);
    (void)role_error(&node, TRIB_CODE_VERSION);
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
    role_deliver_bytes(&node, 1, "TRIB\x02\x01\0\0\x80", 9, NULL);
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
    (void)pull(&node, session, NULL); /* its session lives on */
    assert_int_equal(trib_aggregator_status(node.aggregator).active, 1);
    role_stop(&node);
}

/* ---- numbers ---- */

static void test_numbers(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, NULL);
    uint64_t session = role_join(&node, 1, "a", 11);
    (void)pull(&node, session, NULL);
    const struct trib_msg *ack = role_update(&node, 1, role_push(session, 1, 0), 1.0f);
    assert_int_equal(ack->verdict, TRIB_ACCEPTED);
    float weight = ack->applied_weight;
    (void)role_update(&node, 1, role_push(session, 2, 0), 2.0f);
    size_t verdicts = role_recorded(&node, TRIB_REC_VERDICT);

    ack = role_update(&node, 1, role_push(session, 1, 0), 1.0f); /* a repeat: the same again */
    assert_int_equal(ack->verdict, TRIB_ACCEPTED);
    assert_true(ack->applied_weight == weight);
    struct trib_blob *payload = role_floats(ROLE_N, 1.5f);
    struct trib_msg push = role_push(session, 1, 0);
    role_deliver(&node, 1, NULL, &push, payload); /* the same number for other content */
    assert_int_equal(role_error(&node, TRIB_CODE_CONFLICT)->msg.number, 1);
    push = role_push(session, 5, 0);
    trib_msg_set(&push, AFTER, after, 3); /* 3 is held and was never seen here */
    role_deliver(&node, 1, NULL, &push, payload);
    assert_int_equal(role_error(&node, TRIB_CODE_GAP)->msg.number, 5);
    push = role_push(session, 0, 0);
    role_deliver(&node, 1, NULL, &push, payload);
    (void)role_error(&node, TRIB_CODE_MALFORMED);
    push = role_push(session, 3, 0);
    trib_msg_set(&push, AFTER, after, 3);
    role_deliver(&node, 1, NULL, &push, payload);
    (void)role_error(&node, TRIB_CODE_MALFORMED);
    assert_int_equal(role_recorded(&node, TRIB_REC_VERDICT), verdicts);
    trib_blob_unref(&payload);

    push = role_push(session, 5, 0); /* a jump over numbers that nobody holds */
    trib_msg_set(&push, AFTER, after, 2);
    assert_int_equal(role_update(&node, 1, push, 1.0f)->verdict, TRIB_ACCEPTED);
    for (uint64_t i = 6; i < 30; i++) (void)role_update(&node, 1, role_push(session, i, 0), 1.0f);
    assert_int_equal(role_update(&node, 1, role_push(session, 14, 0), 1.0f)->verdict, TRIB_ACCEPTED);
    payload = role_floats(ROLE_N, 1.0f);
    push = role_push(session, 13, 0); /* more than sixteen ago */
    role_deliver(&node, 1, NULL, &push, payload);
    (void)role_error(&node, TRIB_CODE_GAP);
    trib_blob_unref(&payload);
    role_rebuild(&node);
    role_stop(&node);
}

static void test_refused_verdicts_repeat_too(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, NULL);
    uint64_t session = role_join(&node, 1, "a", 11);
    (void)pull(&node, session, NULL);
    struct trib_blob *payload = role_floats(ROLE_N, 1.0f);
    assert_int_equal(refused(&node, role_push(session, 1, 44), payload), TRIB_REASON_BASE);
    assert_int_equal(refused(&node, role_push(session, 1, 44), payload), TRIB_REASON_BASE);
    assert_int_equal(role_recorded(&node, TRIB_REC_VERDICT), 1);
    trib_blob_unref(&payload);
    role_stop(&node);
}

/* ---- verdicts ---- */

static void test_reasons(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, "staleness_cap: 1\n");
    uint64_t session = role_join(&node, 1, "a", 11), n = 1;
    struct trib_blob *good = role_floats(ROLE_N, 1.0f);
    assert_int_equal(refused(&node, role_push(session, n++, 0), good),
                     TRIB_REASON_BASE); /* nothing published */
    const struct role_sent *model = pull(&node, session, NULL);
    struct trib_msg push = role_push(session, n++, 0);
    memcpy(push.base_digest, model->msg.to_digest, sizeof push.base_digest);
    push.present |= (uint64_t)1 << TRIB_F_BASE_DIGEST;
    struct trib_msg other = push;
    other.base_digest[3] ^= 1;
    assert_int_equal(refused(&node, other, good), TRIB_REASON_BASE);
    push.number = n++;
    assert_int_equal(role_update(&node, 1, push, 1.0f)->verdict, TRIB_ACCEPTED);

    push = role_push(session, n++, 0);
    push.samples = 0;
    assert_int_equal(refused(&node, push, good), TRIB_REASON_WEIGHT);
    push = role_push(session, n++, 0);
    push.weight = ((uint64_t)1 << 40) + 1;
    assert_int_equal(refused(&node, push, good), TRIB_REASON_WEIGHT);
    push = role_push(session, n++, 0);
    trib_msg_set(&push, REGION, region, UINT64_MAX);
    assert_int_equal(refused(&node, push, good), TRIB_REASON_WEIGHT);
    push = role_push(session, n++, 0);
    push.steps = -1.0f;
    assert_int_equal(refused(&node, push, good), TRIB_REASON_WEIGHT);
    push = role_push(session, n++, 0);
    push.steps = 1e30f; /* sums of such are infinite */
    assert_int_equal(refused(&node, push, good), TRIB_REASON_WEIGHT);
    push = role_push(session, n++, 0);
    trib_msg_set(&push, HISTOGRAM, histogram,
                 ((struct trib_u64s){.count = 4, .items = {0, 5, 1, UINT64_MAX}}));
    assert_int_equal(refused(&node, push, good), TRIB_REASON_WEIGHT);

    struct trib_blob *bad = role_floats(ROLE_N, NAN);
    assert_int_equal(refused(&node, role_push(session, n++, 0), bad), TRIB_REASON_NOT_FINITE);
    trib_blob_unref(&bad);
    bad = role_floats(ROLE_N, 3e38f); /* finite, but its norm is not */
    assert_int_equal(refused(&node, role_push(session, n++, 0), bad), TRIB_REASON_NOT_FINITE);
    trib_blob_unref(&bad);
    bad = role_bytes(15, 0);
    assert_int_equal(refused(&node, role_push(session, n++, 0), bad), TRIB_REASON_PAYLOAD);
    trib_blob_unref(&bad);
    assert_int_equal(refused(&node, role_push(session, n++, 0), NULL), TRIB_REASON_PAYLOAD);
    push = role_push(session, n++, 0);
    trib_msg_set(&push, CODEC, codec, role_text("zip(9)"));
    assert_int_equal(refused(&node, push, good), TRIB_REASON_CODEC);
    push = role_push(session, n++, 0); /* another known codec is fine */
    trib_msg_set(&push, CODEC, codec, role_text("f16"));
    bad = role_bytes(ROLE_N * 2, 0);
    role_deliver(&node, 1, NULL, &push, bad);
    assert_int_equal(role_next(&node, TRIB_ACK)->msg.verdict, TRIB_ACCEPTED);
    trib_blob_unref(&bad);

    assert_int_equal(node.state->commits, 2); /* each accepted one has committed */
    assert_int_equal(refused(&node, role_push(session, n, 0), good), TRIB_REASON_STALE);
    assert_int_equal(role_last(&node, TRIB_REC_VERDICT)->staleness, 2);
    trib_blob_unref(&good);
    role_rebuild(&node);
    role_stop(&node);
}

static void test_fence(void **unused) {
    (void)unused;
    struct role_node node;
    edge_with(&node, NULL);
    uint64_t session = role_join(&node, 1, "a", 11);
    uint64_t before = pull(&node, session, NULL)->msg.to_version;
    struct trib_record voided = {.kind = TRIB_REC_VOID};
    trib_rec_set(&voided, TEXT, text, role_text("rollback"));
    assert_true(trib_outbox_record(&node.outbox, node.state, &voided));
    struct trib_blob *payload = role_floats(ROLE_N, 1.0f);
    assert_int_equal(refused(&node, role_push(session, 1, before), payload), TRIB_REASON_FENCE);
    trib_blob_unref(&payload);
    node.now_ms += 1000;
    const struct role_sent *model = pull(&node, session, NULL);
    assert_true(model->msg.fence > before && model->msg.to_version >= model->msg.fence);
    role_stop(&node);
}

static void test_synchronous_round(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, "cloud.rule: fedavg\n");
    uint64_t a = role_join(&node, 1, "a", 11), b = role_join(&node, 2, "b", 12);
    (void)pull(&node, a, NULL);
    assert_int_equal(role_update(&node, 1, role_push(a, 1, 0), 1.0f)->verdict, TRIB_ACCEPTED);
    assert_int_equal(node.state->commits, 0); /* b is still to answer */
    struct trib_blob *payload = role_floats(ROLE_N, 1.0f);
    assert_int_equal(refused(&node, role_push(a, 2, 0), payload), TRIB_REASON_ROUND);
    struct trib_msg msg = role_pull(a, NULL);
    role_deliver(&node, 1, NULL, &msg, NULL); /* a has answered: its next model is the next round's */
    const struct role_sent *wait = role_next(&node, TRIB_WAIT);
    assert_int_equal(wait->after, 0);
    role_wait(&node, 1000);
    role_silent(&node);
    struct trib_msg push = role_push(b, 1, 0);
    push.weight = 30;
    assert_int_equal(role_update(&node, 2, push, 3.0f)->verdict, TRIB_ACCEPTED);
    assert_int_equal(node.state->commits, 1);
    assert_true(node.state->own[0] == 2.5f); /* (10 x 1 + 30 x 3) / 40 */
    assert_int_equal(refused(&node, role_push(a, 3, 0), payload), TRIB_REASON_ROUND); /* late */
    trib_blob_unref(&payload);
    role_poll(&node);
    const struct role_sent *advance = role_next(&node, TRIB_ADVANCE); /* to a alone, which waits */
    assert_int_equal(advance->route, 1);
    assert_int_equal(advance->msg.to_version, 1);
    assert_int_equal(advance->after, node.state->position);
    role_silent(&node);
    assert_int_equal(pull(&node, a, NULL)->msg.to_version, 1);
    assert_int_equal(role_update(&node, 1, role_push(a, 4, 1), 1.0f)->verdict, TRIB_ACCEPTED);
    role_rebuild(&node);
    role_stop(&node);
}

static void test_round_ends_when_the_silent_are_gone(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, "cloud.rule: fedavg\nheartbeat: 5s\n");
    uint64_t a = role_join(&node, 1, "a", 11), b = role_join(&node, 2, "b", 12);
    (void)pull(&node, a, NULL);
    (void)role_update(&node, 1, role_push(a, 1, 0), 1.0f);
    struct trib_msg bye = role_message(TRIB_BYE, b);
    trib_msg_set(&bye, REASON, reason, TRIB_BYE_LEAVING);
    role_deliver(&node, 2, NULL, &bye, NULL);
    role_poll(&node);
    assert_int_equal(node.state->commits, 1);
    role_stop(&node);
}

/* An edge on hold gives out nothing, and publishes nothing: its own commit would be the newest base when the
 * parent's answer has come. */
static void test_nothing_is_published_on_hold(void **unused) {
    (void)unused;
    struct role_node node;
    edge_with(&node, "edge.rule: fedavg\nforward.hold: true\npublish.interval: 0\n");
    uint64_t a = role_join(&node, 1, "a", 11);
    uint64_t base = pull(&node, a, NULL)->msg.to_version;
    assert_int_equal(role_update(&node, 1, role_push(a, 1, base), 1.0f)->verdict, TRIB_ACCEPTED);
    assert_int_equal(node.state->commits, 1);
    size_t published = role_recorded(&node, TRIB_REC_PUBLISH);
    struct trib_msg msg = role_pull(a, NULL);
    role_deliver(&node, 1, NULL, &msg, NULL);
    (void)role_next(&node, TRIB_WAIT);
    role_wait(&node, 1000);
    role_silent(&node);
    assert_int_equal(role_recorded(&node, TRIB_REC_PUBLISH), published);
    assert_int_equal(node.state->published, base);
    role_stop(&node);
}

static void test_weights_at_the_cloud(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, "cloud.rule: fedasync(form=delta, alpha=1, staleness=polynomial(0.5))\n");
    uint64_t a = role_join(&node, 1, "a", 11), b = role_join(&node, 2, "b", 12);
    (void)pull(&node, a, NULL);
    struct trib_msg push = role_push(a, 1, 0);
    trib_msg_set(&push, REGION, region, 30);
    /* b has said nothing of its region: it counts as the mean of the others, which is a's own */
    assert_true(role_update(&node, 1, push, 1.0f)->applied_weight == 0.5f);
    assert_true(role_last(&node, TRIB_REC_VERDICT)->factor == 1.0f);
    push = role_push(b, 1, 0);
    trib_msg_set(&push, REGION, region, 10);
    const struct trib_msg *ack = role_update(&node, 2, push, 1.0f);
    assert_int_equal(ack->staleness, 1);
    double s = pow(2.0, -0.5), relative = s / ((1.0 + s) / 2.0);
    assert_float_equal(ack->applied_weight, (float)(relative * 10.0 / 40.0), 1e-7f);
    assert_float_equal(role_last(&node, TRIB_REC_VERDICT)->factor, (float)s, 1e-7f);
    push = role_push(a, 2, 0);
    trib_msg_set(&push, REGION, region, 30);
    ack = role_update(&node, 1, push, 1.0f);
    double third = pow(3.0, -0.5);
    assert_float_equal(ack->applied_weight, (float)(third / ((1.0 + s + third) / 3.0) * 30.0 / 40.0), 1e-7f);
    role_rebuild(&node);
    role_stop(&node);
}

/* The last version is the last, also before anybody has said that the run is over. */
static void test_no_version_behind_the_last(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, "cloud.rule: fedasync\nstop.versions: 2\n");
    uint64_t a = role_join(&node, 1, "a", 11);
    (void)pull(&node, a, NULL);
    for (uint64_t number = 1; number <= 2; number++)
        assert_int_equal(role_update(&node, 1, role_push(a, number, 0), 1.0f)->verdict, TRIB_ACCEPTED);
    struct trib_blob *payload = role_floats(ROLE_N, 1.0f);
    assert_int_equal(refused(&node, role_push(a, 3, 0), payload), TRIB_REASON_FINISHED);
    trib_blob_unref(&payload);
    assert_int_equal(node.state->version, 2);
    role_stop(&node);
}

/* ---- models ---- */

static void test_pull(void **unused) {
    (void)unused;
    struct role_node node;
    role_parent(&node, (struct role_options){.role = TRIB_ROLE_CLOUD,
                                             .plan = "codec.global: int8\npublish.global_interval: 0\n"});
    uint64_t session = role_join(&node, 1, "a", 11);
    const struct role_sent *seed = pull(&node, session, NULL);
    assert_int_equal(seed->msg.kind, TRIB_MODEL_SEED);
    assert_int_equal(seed->msg.seed, 1);
    assert_null(seed->payload);
    assert_int_equal(seed->after, role_last(&node, TRIB_REC_PUBLISH)->position);
    assert_int_equal(pull(&node, session, &seed->msg)->msg.kind, TRIB_MODEL_CURRENT);

    (void)role_update(&node, 1, role_push(session, 1, 0), 1.0f);
    const struct role_sent *first = pull(&node, session, &seed->msg);
    assert_int_equal(first->msg.kind, TRIB_MODEL_INCREMENTS);
    assert_int_equal(first->msg.from_version, 0);
    assert_int_equal(first->msg.to_version, 1);
    assert_memory_equal(first->msg.from_digest, seed->msg.to_digest, TRIB_DIGEST_BYTES);
    assert_int_equal(first->msg.increments.count, 1);
    assert_int_equal(first->msg.increments.items[0], trib_blob_size(first->payload));
    assert_int_equal(first->after, role_last(&node, TRIB_REC_PUBLISH)->position);

    struct trib_msg wrong = seed->msg; /* what it holds is not our version 0 */
    wrong.to_digest[31] ^= 1;
    const struct role_sent *whole = pull(&node, session, &wrong);
    assert_int_equal(whole->msg.kind, TRIB_MODEL_SNAPSHOT);
    assert_int_equal(trib_blob_size(whole->payload), ROLE_N * sizeof(float));
    assert_memory_equal(trib_blob_data(whole->payload), node.state->P, ROLE_N * sizeof(float));
    (void)role_update(&node, 1, role_push(session, 2, 1), 1.0f);
    /* two increments of 8 bytes are no less than a snapshot of 16 */
    assert_int_equal(pull(&node, session, &seed->msg)->msg.kind, TRIB_MODEL_SNAPSHOT);
    assert_int_equal(pull(&node, session, &first->msg)->msg.kind, TRIB_MODEL_INCREMENTS);
    role_rebuild(&node);
    role_stop(&node);
}

static void test_several_increments(void **unused) {
    (void)unused;
    struct role_node node;
    role_parent(&node,
                (struct role_options){.role = TRIB_ROLE_CLOUD,
                                      .big = true,
                                      .plan = "codec.global: topk(0.01)+int8\npublish.global_interval: 0\n"});
    uint64_t session = role_join(&node, 1, "a", 11);
    const struct role_sent *seed = pull(&node, session, NULL), *last = NULL;
    struct trib_buf all;
    trib_buf_init(&all, 0);
    for (uint64_t i = 1; i <= 3; i++) {
        (void)role_update(&node, 1, role_push(session, i, i - 1), (float)i);
        last = pull(&node, session, last != NULL ? &last->msg : &seed->msg);
        assert_int_equal(last->msg.kind, TRIB_MODEL_INCREMENTS);
        trib_buf_append(&all, trib_blob_data(last->payload), trib_blob_size(last->payload));
    }
    for (int again = 0; again < 2; again++) { /* the second one comes from the cache */
        const struct role_sent *model = pull(&node, session, &seed->msg);
        assert_int_equal(model->msg.kind, TRIB_MODEL_INCREMENTS);
        assert_int_equal(model->msg.increments.count, 3);
        assert_int_equal(trib_blob_size(model->payload), all.size);
        assert_memory_equal(trib_blob_data(model->payload), all.data, all.size);
        assert_memory_equal(model->msg.to_digest, last->msg.to_digest, TRIB_DIGEST_BYTES);
    }
    trib_buf_release(&all);
    role_stop(&node);
}

static void test_publication_interval(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, "publish.global_interval: 500ms\n");
    uint64_t session = role_join(&node, 1, "a", 11);
    const struct role_sent *seed = pull(&node, session, NULL);
    (void)role_update(&node, 1, role_push(session, 1, 0), 1.0f);
    assert_int_equal(pull(&node, session, &seed->msg)->msg.kind, TRIB_MODEL_CURRENT); /* not yet */
    role_poll(&node);
    assert_int_equal(node.wake_ms, node.now_ms + 500);
    node.now_ms += 500;
    assert_int_equal(pull(&node, session, &seed->msg)->msg.to_version, 1);
    role_stop(&node);
}

static void test_applied_moves_with_publication(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, "cloud.rule: fedbuff(k=2, deadline=0)\npublish.global_interval: 0\n");
    uint64_t session = role_join(&node, 1, "a", 11);
    (void)role_join(&node, 2, "b", 12); /* two are active, so that k stays 2 */
    const struct role_sent *seed = pull(&node, session, NULL);
    assert_int_equal(seed->msg.applied, 0);
    (void)role_update(&node, 1, role_push(session, 1, 0), 1.0f);
    assert_int_equal(pull(&node, session, &seed->msg)->msg.applied, 0); /* in the buffer */
    (void)role_update(&node, 1, role_push(session, 2, 0), 1.0f);
    assert_int_equal(node.state->commits, 1);
    const struct trib_peer *peer = trib_state_peer(node.state, "a", 1);
    assert_int_equal(peer->consumed, 2);
    assert_int_equal(peer->applied, 0); /* committed, but in no published version */
    assert_int_equal(pull(&node, session, &seed->msg)->msg.applied, 2);
    role_stop(&node);
}

static void test_edge_waits_for_a_model(void **unused) {
    (void)unused;
    struct role_node node;
    role_parent(&node, (struct role_options){.role = TRIB_ROLE_EDGE});
    uint64_t session = role_join(&node, 1, "a", 11);
    struct trib_msg msg = role_pull(session, NULL);
    role_deliver(&node, 1, NULL, &msg, NULL);
    assert_true(role_next(&node, TRIB_WAIT)->msg.wait_ms > 0);
    struct trib_record model = {.kind = TRIB_REC_PARENT};
    trib_rec_set(&model, MODEL_KIND, model_kind, TRIB_MODEL_SEED);
    trib_rec_set(&model, SEED, seed, 1);
    assert_true(trib_outbox_record(&node.outbox, node.state, &model));
    role_poll(&node);
    (void)role_next(&node, TRIB_ADVANCE);
    assert_int_equal(pull(&node, session, NULL)->msg.kind, TRIB_MODEL_SEED);
    role_stop(&node);
}

/* ---- the end, and trouble ---- */

static void test_stopped_run(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, NULL);
    uint64_t session = role_join(&node, 1, "a", 11);
    (void)pull(&node, session, NULL);
    trib_aggregator_finish(node.aggregator, node.now_ms, "enough");
    (void)role_collect(&node, true);
    const struct role_sent *bye = role_next(&node, TRIB_BYE);
    assert_int_equal(bye->msg.reason, TRIB_BYE_FINISHED);
    assert_int_equal(bye->after, role_last(&node, TRIB_REC_STOP)->position);
    struct trib_msg msg = role_pull(session, NULL);
    role_deliver(&node, 1, NULL, &msg, NULL);
    assert_int_equal(role_next(&node, TRIB_BYE)->msg.reason, TRIB_BYE_FINISHED);
    struct trib_blob *payload = role_floats(ROLE_N, 1.0f);
    assert_int_equal(refused(&node, role_push(session, 1, 0), payload), TRIB_REASON_FINISHED);
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
    (void)pull(&node, session, NULL);
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
        cmocka_unit_test(test_newest_hello_owns_the_name),
        cmocka_unit_test(test_incarnations),
        cmocka_unit_test(test_flapping_name),
        cmocka_unit_test(test_hello_refused),
        cmocka_unit_test(test_names_in_other_scripts),
        cmocka_unit_test(test_ping_bye_and_what_a_parent_does_not_take),
        cmocka_unit_test(test_quiet_child_is_not_counted),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_refused_verdicts_repeat_too),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_fence),
        cmocka_unit_test(test_synchronous_round),
        cmocka_unit_test(test_round_ends_when_the_silent_are_gone),
        cmocka_unit_test(test_nothing_is_published_on_hold),
        cmocka_unit_test(test_weights_at_the_cloud),
        cmocka_unit_test(test_no_version_behind_the_last),
        cmocka_unit_test(test_pull),
        cmocka_unit_test(test_several_increments),
        cmocka_unit_test(test_publication_interval),
        cmocka_unit_test(test_applied_moves_with_publication),
        cmocka_unit_test(test_edge_waits_for_a_model),
        cmocka_unit_test(test_stopped_run),
        cmocka_unit_test(test_store_that_cannot_write),
        cmocka_unit_test(test_events_are_bounded),
        cmocka_unit_test(test_peers_text_in_events),
        cmocka_unit_test(test_new_incarnation_of_the_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
