/* The parent role, message by message: numbers, verdicts, rounds and weights.
 * Vectors are four floats in f32 and version 0 is all zeros, so that every weight and sum is exact. */
#include "tests/support/cmocka.h"

#include "shared/base/alloc.h"
#include "tests/support/roles.h"

#include <math.h>
#include <string.h>

static void cloud_with(struct role_node *node, const char *plan) {
    role_parent(node, (struct role_options){.role = TRIB_ROLE_CLOUD, .plan = plan});
}

static void edge_with(struct role_node *node, const char *plan) {
    role_parent(node, (struct role_options){.role = TRIB_ROLE_EDGE, .plan = plan, .with_seed = true});
}

/* ---- numbers ---- */

static void test_numbers(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, NULL);
    uint64_t session = role_join(&node, 1, "a", 11);
    (void)role_pulled(&node, session, NULL);
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
    (void)role_pulled(&node, session, NULL);
    struct trib_blob *payload = role_floats(ROLE_N, 1.0f);
    assert_int_equal(role_refused(&node, role_push(session, 1, 44), payload), TRIB_REASON_BASE);
    assert_int_equal(role_refused(&node, role_push(session, 1, 44), payload), TRIB_REASON_BASE);
    assert_int_equal(role_recorded(&node, TRIB_REC_VERDICT), 1);
    trib_blob_unref(&payload);
    role_stop(&node);
}

/* ---- verdicts ---- */

/* A child that is refused all the time fills no disk: beyond twenty at once, and four a second, it has to
 * wait. Numbers that wait have no verdict; what can be accepted is, and others are not held up. */
static void test_refusals_are_bounded(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, NULL);
    uint64_t a = role_join(&node, 1, "a", 11), b = role_join(&node, 2, "b", 12);
    (void)role_pulled(&node, a, NULL);
    struct trib_blob *payload = role_floats(ROLE_N, 0.5f);
    uint64_t n = 1;
    while (n <= 20) assert_int_equal(role_refused(&node, role_push(a, n++, 44), payload), TRIB_REASON_BASE);
    size_t verdicts = role_recorded(&node, TRIB_REC_VERDICT), events = role_recorded(&node, TRIB_REC_EVENT);
    struct trib_msg push = role_push(a, n, 44), other = role_push(b, 1, 44);
    for (int i = 0; i < 100; i++) {
        role_deliver(&node, 1, NULL, &push, payload);
        const struct role_sent *error = role_error(&node, TRIB_CODE_CREDIT);
        assert_int_equal(error->msg.number, n);
        assert_int_equal(error->msg.wait_ms, 1000);
    }
    assert_int_equal(role_recorded(&node, TRIB_REC_VERDICT), verdicts);
    assert_int_equal(role_recorded(&node, TRIB_REC_EVENT), events + 1);
    assert_int_equal(role_logged(&node, "refusals_held_back"), 1);
    assert_int_equal(role_refused(&node, role_push(a, 20, 44), payload), TRIB_REASON_BASE); /* a repeat */
    role_deliver(&node, 2, NULL, &other, payload);
    assert_int_equal(role_next(&node, TRIB_ACK)->msg.verdict, TRIB_REFUSED);
    role_wait(&node, 1000);
    for (int i = 0; i < 4; i++)
        assert_int_equal(role_refused(&node, role_push(a, n++, 44), payload), TRIB_REASON_BASE);
    push = role_push(a, n, 44);
    role_deliver(&node, 1, NULL, &push, payload);
    (void)role_error(&node, TRIB_CODE_CREDIT);
    assert_int_equal(role_update(&node, 1, role_push(a, n, 0), 0.5f)->verdict, TRIB_ACCEPTED);
    trib_blob_unref(&payload);
    role_rebuild(&node);
    role_stop(&node);
}

static void test_reasons(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, "staleness_cap: 1\n");
    uint64_t session = role_join(&node, 1, "a", 11), n = 1;
    struct trib_blob *good = role_floats(ROLE_N, 1.0f);
    assert_int_equal(role_refused(&node, role_push(session, n++, 0), good),
                     TRIB_REASON_BASE); /* nothing published */
    const struct role_sent *model = role_pulled(&node, session, NULL);
    struct trib_msg push = role_push(session, n++, 0);
    memcpy(push.base_digest, model->msg.to_digest, sizeof push.base_digest);
    push.present |= (uint64_t)1 << TRIB_F_BASE_DIGEST;
    struct trib_msg other = push;
    other.base_digest[3] ^= 1;
    assert_int_equal(role_refused(&node, other, good), TRIB_REASON_BASE);
    push.number = n++;
    assert_int_equal(role_update(&node, 1, push, 1.0f)->verdict, TRIB_ACCEPTED);

    push = role_push(session, n++, 0);
    push.samples = 0;
    assert_int_equal(role_refused(&node, push, good), TRIB_REASON_WEIGHT);
    push = role_push(session, n++, 0);
    push.weight = ((uint64_t)1 << 40) + 1;
    assert_int_equal(role_refused(&node, push, good), TRIB_REASON_WEIGHT);
    push = role_push(session, n++, 0);
    trib_msg_set(&push, REGION, region, UINT64_MAX);
    assert_int_equal(role_refused(&node, push, good), TRIB_REASON_WEIGHT);
    push = role_push(session, n++, 0);
    push.steps = -1.0f;
    assert_int_equal(role_refused(&node, push, good), TRIB_REASON_WEIGHT);
    push = role_push(session, n++, 0);
    push.steps = 1e30f; /* sums of such are infinite */
    assert_int_equal(role_refused(&node, push, good), TRIB_REASON_WEIGHT);
    push = role_push(session, n++, 0);
    trib_msg_set(&push, HISTOGRAM, histogram,
                 ((struct trib_u64s){.count = 4, .items = {0, 5, 1, UINT64_MAX}}));
    assert_int_equal(role_refused(&node, push, good), TRIB_REASON_WEIGHT);

    struct trib_blob *bad = role_floats(ROLE_N, NAN);
    assert_int_equal(role_refused(&node, role_push(session, n++, 0), bad), TRIB_REASON_NOT_FINITE);
    trib_blob_unref(&bad);
    bad = role_floats(ROLE_N, 3e38f); /* finite, but its norm is not */
    assert_int_equal(role_refused(&node, role_push(session, n++, 0), bad), TRIB_REASON_NOT_FINITE);
    trib_blob_unref(&bad);
    bad = role_bytes(15, 0);
    assert_int_equal(role_refused(&node, role_push(session, n++, 0), bad), TRIB_REASON_PAYLOAD);
    trib_blob_unref(&bad);
    assert_int_equal(role_refused(&node, role_push(session, n++, 0), NULL), TRIB_REASON_PAYLOAD);
    push = role_push(session, n++, 0);
    trib_msg_set(&push, CODEC, codec, role_text("zip(9)"));
    assert_int_equal(role_refused(&node, push, good), TRIB_REASON_CODEC);
    push = role_push(session, n++, 0); /* far slower than what the plan has */
    trib_msg_set(&push, CODEC, codec, role_text("layer(else=powersgd(16)+rotate+int8)+zstd"));
    assert_int_equal(role_refused(&node, push, good), TRIB_REASON_CODEC);
    push = role_push(session, n++, 0); /* another known codec is fine */
    trib_msg_set(&push, CODEC, codec, role_text("f16"));
    bad = role_bytes(ROLE_N * 2, 0);
    role_deliver(&node, 1, NULL, &push, bad);
    assert_int_equal(role_next(&node, TRIB_ACK)->msg.verdict, TRIB_ACCEPTED);
    trib_blob_unref(&bad);

    assert_int_equal(node.state->commits, 2); /* each accepted one has committed */
    assert_int_equal(role_refused(&node, role_push(session, n, 0), good), TRIB_REASON_STALE);
    assert_int_equal(role_last(&node, TRIB_REC_VERDICT)->staleness, 2);
    trib_blob_unref(&good);
    role_rebuild(&node);
    role_stop(&node);
}

/* An infinite weight cannot be recorded: a restart would go on with another model. */
static void test_infinite_weight(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, "cloud.rule: fednova\n");
    uint64_t session = role_join(&node, 1, "a", 11);
    (void)role_pulled(&node, session, NULL);
    struct trib_blob *payload = role_floats(ROLE_N, 1.0f);
    struct trib_msg push = role_push(session, 1, 0);
    push.steps = 1e-38f;
    push.weight = 1000;
    assert_int_equal(role_refused(&node, push, payload), TRIB_REASON_WEIGHT);
    assert_int_equal(role_update(&node, 1, role_push(session, 2, 0), 1.0f)->verdict, TRIB_ACCEPTED);
    trib_blob_unref(&payload);
    role_rebuild(&node);
    role_stop(&node);
}

static void test_fence(void **unused) {
    (void)unused;
    struct role_node node;
    edge_with(&node, NULL);
    uint64_t session = role_join(&node, 1, "a", 11);
    uint64_t before = role_pulled(&node, session, NULL)->msg.to_version;
    struct trib_record voided = {.kind = TRIB_REC_VOID};
    trib_rec_set(&voided, TEXT, text, role_text("rollback"));
    assert_true(trib_outbox_record(&node.outbox, node.state, &voided));
    struct trib_blob *payload = role_floats(ROLE_N, 1.0f);
    assert_int_equal(role_refused(&node, role_push(session, 1, before), payload), TRIB_REASON_FENCE);
    trib_blob_unref(&payload);
    node.now_ms += 1000;
    const struct role_sent *model = role_pulled(&node, session, NULL);
    assert_true(model->msg.fence > before && model->msg.to_version >= model->msg.fence);
    role_stop(&node);
}

static void test_synchronous_round(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, "cloud.rule: fedavg\n");
    uint64_t a = role_join(&node, 1, "a", 11), b = role_join(&node, 2, "b", 12);
    (void)role_pulled(&node, a, NULL);
    assert_int_equal(role_update(&node, 1, role_push(a, 1, 0), 1.0f)->verdict, TRIB_ACCEPTED);
    assert_int_equal(node.state->commits, 0); /* b is still to answer */
    struct trib_blob *payload = role_floats(ROLE_N, 1.0f);
    assert_int_equal(role_refused(&node, role_push(a, 2, 0), payload), TRIB_REASON_ROUND);
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
    assert_int_equal(role_refused(&node, role_push(a, 3, 0), payload), TRIB_REASON_ROUND); /* late */
    trib_blob_unref(&payload);
    role_poll(&node);
    const struct role_sent *advance = role_next(&node, TRIB_ADVANCE); /* to a alone, which waits */
    assert_int_equal(advance->route, 1);
    assert_int_equal(advance->msg.to_version, 1);
    assert_int_equal(advance->after, node.state->position);
    role_silent(&node);
    assert_int_equal(role_pulled(&node, a, NULL)->msg.to_version, 1);
    assert_int_equal(role_update(&node, 1, role_push(a, 4, 1), 1.0f)->verdict, TRIB_ACCEPTED);
    role_rebuild(&node);
    role_stop(&node);
}

/* A participant answers a version once, whatever incarnations it goes through. */
static void test_one_answer_of_all_incarnations(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, "cloud.rule: fedavg\n");
    uint64_t a = role_join(&node, 1, "a", 11), b = role_join(&node, 2, "b", 12);
    (void)role_pulled(&node, a, NULL);
    assert_int_equal(role_update(&node, 1, role_push(a, 1, 0), 1.0f)->verdict, TRIB_ACCEPTED);
    a = role_join(&node, 1, "a", 13);
    struct trib_msg pull = role_pull(a, NULL);
    role_deliver(&node, 1, NULL, &pull, NULL);
    (void)role_next(&node, TRIB_WAIT);
    struct trib_blob *payload = role_floats(ROLE_N, 1.0f);
    assert_int_equal(role_refused(&node, role_push(a, 1, 0), payload), TRIB_REASON_ROUND);
    trib_blob_unref(&payload);
    assert_int_equal(role_update(&node, 2, role_push(b, 1, 0), 3.0f)->verdict, TRIB_ACCEPTED);
    assert_int_equal(node.state->commits, 1);
    assert_true(node.state->own[0] == 2.0f);
    role_wait(&node, 1000);
    assert_int_equal(role_next(&node, TRIB_ADVANCE)->route, 1);
    assert_int_equal(role_pulled(&node, a, NULL)->msg.to_version, 1);
    role_rebuild(&node);
    role_stop(&node);
}

static void test_round_ends_when_the_silent_are_gone(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, "cloud.rule: fedavg\nheartbeat: 5s\n");
    uint64_t a = role_join(&node, 1, "a", 11), b = role_join(&node, 2, "b", 12);
    (void)role_pulled(&node, a, NULL);
    (void)role_update(&node, 1, role_push(a, 1, 0), 1.0f);
    struct trib_msg bye = role_message(TRIB_BYE, b);
    trib_msg_set(&bye, REASON, reason, TRIB_BYE_LEAVING);
    role_deliver(&node, 2, NULL, &bye, NULL);
    role_poll(&node);
    assert_int_equal(node.state->commits, 1);
    role_stop(&node);
}

/* Who sends what can only be refused does not hold up the others; until they have answered it may do better.
 */
static void test_round_does_not_wait_for_the_refused(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, "cloud.rule: fedavg\npublish.global_interval: 0\n");
    uint64_t a = role_join(&node, 1, "a", 11), b = role_join(&node, 2, "b", 12);
    (void)role_pulled(&node, a, NULL);
    struct trib_blob *bad = role_floats(ROLE_N, NAN);
    assert_int_equal(role_refused(&node, role_push(a, 1, 0), bad), TRIB_REASON_NOT_FINITE);
    assert_int_equal(role_update(&node, 2, role_push(b, 1, 0), 1.0f)->verdict, TRIB_ACCEPTED);
    assert_int_equal(node.state->commits, 1);
    (void)role_pulled(&node, a, NULL);
    /* the other order: the refusal is what the round was still waiting for */
    assert_int_equal(role_update(&node, 2, role_push(b, 2, 1), 1.0f)->verdict, TRIB_ACCEPTED);
    assert_int_equal(node.state->commits, 1);
    assert_int_equal(role_refused(&node, role_push(a, 2, 1), bad), TRIB_REASON_NOT_FINITE);
    assert_int_equal(node.state->commits, 2);
    (void)role_pulled(&node, a, NULL);
    /* alone it makes no round; what it sends then does */
    assert_int_equal(role_refused(&node, role_push(a, 3, 2), bad), TRIB_REASON_NOT_FINITE);
    assert_int_equal(role_update(&node, 1, role_push(a, 4, 2), 3.0f)->verdict, TRIB_ACCEPTED);
    assert_int_equal(node.state->commits, 2);
    assert_int_equal(role_update(&node, 2, role_push(b, 3, 2), 1.0f)->verdict, TRIB_ACCEPTED);
    assert_int_equal(node.state->commits, 3);
    trib_blob_unref(&bad);
    role_rebuild(&node);
    role_stop(&node);
}

/* An edge on hold gives out nothing, and publishes nothing: its own commit would be the newest base when the
 * parent's answer has come. */
static void test_nothing_is_published_on_hold(void **unused) {
    (void)unused;
    struct role_node node;
    edge_with(&node, "edge.rule: fedavg\nforward.hold: true\npublish.interval: 0\n");
    uint64_t a = role_join(&node, 1, "a", 11);
    uint64_t base = role_pulled(&node, a, NULL)->msg.to_version;
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
    (void)role_pulled(&node, a, NULL);
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
/* What FedAsync mixes in is as far from the base as the update is: without the increments since that base, it
 * cannot be. The ring of a model of four floats holds one increment of f32. */
static void test_base_outside_the_ring(void **unused) {
    (void)unused;
    for (int mix = 0; mix < 2; mix++) {
        struct role_node node;
        cloud_with(&node, mix ? "cloud.rule: fedasync(form=mix)\npublish.global_interval: 0\n"
                              : "cloud.rule: fedasync\npublish.global_interval: 0\n");
        uint64_t session = role_join(&node, 1, "a", 11);
        const struct role_sent *held = role_pulled(&node, session, NULL);
        for (uint64_t n = 1; n <= 2; n++) {
            assert_int_equal(role_update(&node, 1, role_push(session, n, 0), 1.0f)->verdict, TRIB_ACCEPTED);
            held = role_pulled(&node, session, &held->msg);
            assert_int_equal(held->msg.to_version, n);
        }
        struct trib_blob *payload = role_floats(ROLE_N, 1.0f);
        if (mix) {
            assert_int_equal(role_refused(&node, role_push(session, 3, 0), payload), TRIB_REASON_BASE);
            assert_int_equal(role_last(&node, TRIB_REC_VERDICT)->reason, TRIB_REASON_BASE);
            assert_int_equal(node.state->version, 2);
        } else { /* nobody goes back to it */
            assert_int_equal(role_update(&node, 1, role_push(session, 3, 0), 1.0f)->verdict, TRIB_ACCEPTED);
        }
        assert_int_equal(role_update(&node, 1, role_push(session, 4, 1), 1.0f)->verdict, TRIB_ACCEPTED);
        trib_blob_unref(&payload);
        role_rebuild(&node);
        role_stop(&node);
    }
}

static void test_no_version_behind_the_last(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, "cloud.rule: fedasync\nstop.versions: 2\n");
    uint64_t a = role_join(&node, 1, "a", 11);
    (void)role_pulled(&node, a, NULL);
    for (uint64_t number = 1; number <= 2; number++)
        assert_int_equal(role_update(&node, 1, role_push(a, number, 0), 1.0f)->verdict, TRIB_ACCEPTED);
    struct trib_blob *payload = role_floats(ROLE_N, 1.0f);
    assert_int_equal(role_refused(&node, role_push(a, 3, 0), payload), TRIB_REASON_FINISHED);
    trib_blob_unref(&payload);
    assert_int_equal(node.state->version, 2);
    role_stop(&node);
}

static void test_publication_interval(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, "publish.global_interval: 500ms\n");
    uint64_t session = role_join(&node, 1, "a", 11);
    const struct role_sent *seed = role_pulled(&node, session, NULL);
    uint64_t other = role_join(&node, 2, "b", 12);
    (void)role_update(&node, 1, role_push(session, 1, 0), 1.0f);
    /* Not yet: who worked on version 0 waits for version 1, who did not may begin. */
    struct trib_msg pull = role_pull(session, &seed->msg);
    role_deliver(&node, 1, NULL, &pull, NULL);
    assert_int_equal(role_next(&node, TRIB_WAIT)->msg.wait_ms, 500);
    pull = role_pull(other, &seed->msg);
    role_deliver(&node, 2, NULL, &pull, NULL);
    assert_int_equal(role_next(&node, TRIB_MODEL)->msg.kind, TRIB_MODEL_CURRENT);
    role_poll(&node);
    assert_int_equal(node.wake_ms, node.now_ms + 500);
    role_wait(&node, 500);
    assert_int_equal(role_next(&node, TRIB_ADVANCE)->msg.to_version, 1);
    assert_int_equal(role_pulled(&node, session, &seed->msg)->msg.to_version, 1);
    role_stop(&node);
}

static void test_applied_moves_with_publication(void **unused) {
    (void)unused;
    struct role_node node;
    cloud_with(&node, "cloud.rule: fedbuff(k=2, deadline=0)\npublish.global_interval: 0\n");
    uint64_t session = role_join(&node, 1, "a", 11);
    (void)role_join(&node, 2, "b", 12); /* two are active, so that k stays 2 */
    const struct role_sent *seed = role_pulled(&node, session, NULL);
    assert_int_equal(seed->msg.applied, 0);
    (void)role_update(&node, 1, role_push(session, 1, 0), 1.0f);
    assert_int_equal(role_pulled(&node, session, &seed->msg)->msg.applied, 0); /* in the buffer */
    (void)role_update(&node, 1, role_push(session, 2, 0), 1.0f);
    assert_int_equal(node.state->commits, 1);
    const struct trib_peer *peer = trib_state_peer(node.state, "a", 1);
    assert_int_equal(peer->consumed, 2);
    assert_int_equal(peer->applied, 0); /* committed, but in no published version */
    assert_int_equal(role_pulled(&node, session, &seed->msg)->msg.applied, 2);
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
    assert_int_equal(role_pulled(&node, session, NULL)->msg.kind, TRIB_MODEL_SEED);
    role_stop(&node);
}

static const struct trib_record *last_verdict(const struct role_node *node) {
    for (size_t i = node->record_count; i-- > 0;)
        if (node->records[i]->kind == TRIB_REC_VERDICT) return node->records[i];
    fail_msg("no verdict was recorded");
    return NULL;
}

/* What nobody can have is not recorded as it was claimed, for sums over it would overflow; and a device gives
 * nobody else's samples: an old base in its histogram would make the forward, with all that it has, as old.
 */
static void test_claims(void **unused) {
    (void)unused;
    struct role_node node;
    role_parent(&node, (struct role_options){.role = TRIB_ROLE_CLOUD});
    uint64_t session = role_join(&node, 1, "mallory", 11);
    (void)role_pulled(&node, session, NULL);
    struct trib_blob *payload = role_floats(ROLE_N, 1.0f);
    struct trib_msg push = role_push(session, 1, 0);
    trib_msg_set(&push, SAMPLES, samples, UINT64_MAX);
    trib_msg_set(&push, WEIGHT, weight, UINT64_MAX);
    trib_msg_set(&push, BELOW_UPDATES, below_updates, UINT64_MAX);
    trib_msg_set(&push, BELOW_UP_BYTES, below_up_bytes, UINT64_MAX);
    assert_int_equal(role_refused(&node, push, payload), TRIB_REASON_WEIGHT);
    const struct trib_record *record = last_verdict(&node);
    assert_int_equal(record->samples, TRIB_CLAIM_MAX);
    assert_int_equal(record->weight, TRIB_CLAIM_MAX);
    assert_int_equal(record->below_updates, 0);
    assert_int_equal(record->below_up_bytes, 0);

    push = role_push(session, 2, 0);
    trib_msg_set(&push, BELOW_UPDATES, below_updates, 5);
    trib_msg_set(&push, HISTOGRAM, histogram, ((struct trib_u64s){2, {0, push.samples}}));
    assert_int_equal(role_update(&node, 1, push, 1.0f)->verdict, TRIB_ACCEPTED);
    record = last_verdict(&node);
    assert_int_equal(record->histogram.count, 0);
    assert_int_equal(record->below_updates, 0);
    trib_blob_unref(&payload);
    role_stop(&node);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_refused_verdicts_repeat_too),
        cmocka_unit_test(test_refusals_are_bounded),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_claims),
        cmocka_unit_test(test_infinite_weight),
        cmocka_unit_test(test_fence),
        cmocka_unit_test(test_synchronous_round),
        cmocka_unit_test(test_one_answer_of_all_incarnations),
        cmocka_unit_test(test_round_ends_when_the_silent_are_gone),
        cmocka_unit_test(test_round_does_not_wait_for_the_refused),
        cmocka_unit_test(test_nothing_is_published_on_hold),
        cmocka_unit_test(test_weights_at_the_cloud),
        cmocka_unit_test(test_base_outside_the_ring),
        cmocka_unit_test(test_no_version_behind_the_last),
        cmocka_unit_test(test_publication_interval),
        cmocka_unit_test(test_applied_moves_with_publication),
        cmocka_unit_test(test_edge_waits_for_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
