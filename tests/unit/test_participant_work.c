/* The child role and its work: updates of a device, forwards of an edge, and what becomes of them. Vectors
 * are four floats in f32, version 0 is all zeros. */
#include "tests/support/cmocka.h"

#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "tests/support/roles.h"

#include <math.h>
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
    assert_false(trib_msg_has(&push->msg, BASE_DIGEST)); /* its parent has given it that version itself */
    assert_int_equal(push->after, role_last(&node, TRIB_REC_FORWARD)->position);
    assert_int_equal(trib_blob_size(push->payload), ROLE_N * sizeof(float));
    assert_false(trib_msg_has(&push->msg, PAYLOAD_BYTES)); /* it says so itself */
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

/* A model comes that has settled a forward, and the ACK was lost: the verdict is asked for, without the
 * bytes, before the forward leaves, so that what was refused counts as void. */
static void test_a_lost_verdict_is_asked_for(void **unused) {
    (void)unused;
    for (uint64_t verdict = TRIB_ACCEPTED; verdict <= TRIB_REFUSED; verdict++) {
        struct role_node node;
        edge(&node);
        role_begin(&node, 5);
        role_gather(&node, 1.0f);
        role_poll(&node);
        const struct role_sent *push = role_next(&node, TRIB_PUSH);
        struct trib_blob *values = role_floats(ROLE_N, 2.0f);
        struct trib_msg model = role_snapshot_model(5, 1, values), ack = role_ack(5, 1, verdict);
        trib_msg_set(&model, APPLIED, applied, 1);
        role_deliver(&node, 0, NULL, &model, values);
        assert_int_equal(node.state->parent_version, 0);
        role_poll(&node);
        const struct role_sent *again = role_next(&node, TRIB_PUSH);
        assert_int_equal(again->msg.number, 1);
        assert_int_equal(again->msg.payload_crc, push->msg.payload_crc);
        assert_null(again->payload);
        say(&node, &ack);
        role_wait(&node, 1000);
        (void)role_next(&node, TRIB_PULL);
        role_deliver(&node, 0, NULL, &model, values);
        trib_blob_unref(&values);
        assert_int_equal(node.state->parent_version, 1);
        assert_int_equal(node.state->held_count, 0);
        assert_int_equal(node.state->total.void_samples, verdict == TRIB_REFUSED ? 10 : 0);
        role_rebuild(&node);
        role_stop(&node);
    }
}

/* ... but not from a parent that answers no pushes: its model is taken. */
static void test_a_model_is_taken_where_no_verdict_can_be_had(void **unused) {
    (void)unused;
    struct role_node node;
    edge(&node);
    role_begin(&node, 5);
    role_gather(&node, 1.0f);
    role_poll(&node);
    (void)role_next(&node, TRIB_PUSH);
    struct trib_msg error = role_message(TRIB_ERROR, 5);
    trib_msg_set(&error, CODE, code, TRIB_CODE_STORE);
    trib_msg_set(&error, WAIT_MS, wait_ms, 5000);
    say(&node, &error);
    struct trib_blob *values = role_floats(ROLE_N, 2.0f);
    struct trib_msg model = role_snapshot_model(5, 1, values);
    trib_msg_set(&model, APPLIED, applied, 1);
    role_deliver(&node, 0, NULL, &model, values);
    trib_blob_unref(&values);
    assert_int_equal(node.state->parent_version, 1);
    assert_int_equal(node.state->held_count, 0);
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

/* A child may claim as much as a parent takes: the others' updates must go up all the same. */
static void test_a_forward_claims_what_a_parent_takes(void **unused) {
    (void)unused;
    struct role_node node;
    edge(&node);
    role_begin(&node, 5);
    for (int i = 0; i < 3; i++) role_gather_claimed(&node, 1.0f, TRIB_CLAIM_MAX);
    role_gather_claimed(&node, 1.0f, 10);
    assert_int_equal(node.state->gathered.samples, 3 * TRIB_CLAIM_MAX + 10);
    role_poll(&node);
    const struct trib_msg *push = &role_next(&node, TRIB_PUSH)->msg;
    assert_in_range(push->samples, TRIB_CLAIM_MAX / 2, TRIB_CLAIM_MAX);
    assert_int_equal(push->histogram.count, 2);
    assert_int_equal(push->histogram.items[1], push->samples);
    assert_int_equal(push->weight, TRIB_CLAIM_MAX);
    assert_int_equal(push->region, TRIB_CLAIM_MAX);
    assert_float_equal(push->steps, (float)TRIB_CLAIM_MAX, 0);
    assert_int_equal(push->below_updates, TRIB_CLAIM_MAX);
    assert_int_equal(push->below_raw_bytes, TRIB_BELOW_BYTES_MAX);
    assert_int_equal(push->parts.count, 0); /* they would not add up */
    assert_int_equal(node.state->total.forwarded_samples, 3 * TRIB_CLAIM_MAX + 10);
    role_rebuild(&node);
    role_stop(&node);
}

static uint64_t region_of(void *ctx) {
    return *(uint64_t *)ctx;
}

/* The region is of the devices that are there now; they are no fewer than those that the forward speaks for.
 */
static void test_a_forward_tells_of_its_region(void **unused) {
    (void)unused;
    static const struct { uint64_t active, told; } cases[] = {{700, 700}, {3, 10}, {0, 10}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct role_node node;
        uint64_t active = cases[i].active;
        role_child(&node, (struct role_options){.role = TRIB_ROLE_EDGE,
                                                .participant = {.region = region_of, .region_ctx = &active}});
        role_begin(&node, 5);
        role_gather(&node, 1.0f);
        role_gather(&node, 1.0f); /* of the same device: its ten samples are no twenty */
        role_poll(&node);
        const struct trib_msg *push = &role_next(&node, TRIB_PUSH)->msg;
        assert_int_equal(push->samples, 20);
        assert_int_equal(push->weight, 10);
        assert_int_equal(push->region, cases[i].told);
        role_stop(&node);
    }
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

/* ---- codecs that are chosen ---- */

/* A device that has version 0 of a run under this plan, of a parent that speaks this protocol. */
static void device_below(struct role_node *node, const char *plan, uint8_t version) {
    device(node);
    role_poll(node);
    trib_participant_connected(node->participant, node->now_ms);
    (void)role_collect(node, true);
    struct trib_msg welcome = role_welcome(5, 70, 0), seed = role_seed_model(5);
    welcome.plan = role_text(plan);
    welcome.version = version;
    say(node, &welcome);
    say(node, &seed);
    node->read = node->sent_count;
}

static void device_under(struct role_node *node, const char *plan) {
    device_below(node, plan, TRIB_PROTOCOL_NEWEST);
}

/* ... and its next update, of `x`. */
static const struct role_sent *pushed(struct role_node *node, const float *x, uint64_t samples,
                                      uint64_t weight) {
    struct trib_submission work = {.difference = x,
                                   .base_version = node->state->parent_version,
                                   .parent_incarnation = node->state->parent_incarnation,
                                   .samples = samples,
                                   .weight = weight,
                                   .steps = 937.5f,
                                   .loss = 0.7f};
    trib_participant_submit(node->participant, node->now_ms, &work);
    (void)role_collect(node, true);
    role_poll(node);
    return role_next(node, TRIB_PUSH);
}

/* A device trains `x` more, and says which codec it took if there was a choice: what it keeps is what that
 * codec lost. */
static struct trib_msg submit(struct role_node *node, const float *x, const char *codec) {
    static float before[ROLE_N], after[ROLE_N];
    for (size_t i = 0; i < ROLE_N; i++) before[i] = node->state->own[i] + x[i];
    const struct role_sent *push = pushed(node, x, 20, 10);
    struct trib_codec *named = NULL;
    const struct trib_ladder *ladder = node->state->ladder_out;
    assert_false(trib_msg_has(&push->msg, CODEC));
    if (trib_ladder_count(ladder) == 1) /* its parent knows it, and the bytes are saved */
        assert_false(trib_msg_has(&push->msg, KIND) || trib_msg_has(&push->msg, REASON));
    else
        assert_string_equal(trib_codec_spec(trib_ladder_codec(ladder, push->msg.kind)), codec);
    assert_int_equal(trib_codec_new(codec, &named, NULL), TRIB_OK);
    memcpy(after, node->state->own, sizeof after);
    assert_int_equal(trib_codec_check(named, trib_blob_data(push->payload), trib_blob_size(push->payload),
                                      ROLE_N, NULL, NULL),
                     TRIB_OK);
    trib_codec_add(named, trib_blob_data(push->payload), trib_blob_size(push->payload), ROLE_N, -1.0f,
                   before);
    assert_memory_equal(after, before, sizeof after);
    trib_codec_free(&named);
    return push->msg;
}

static const char adaptive[] =
    "codec.up: auto(min=int8, max=f32, loss=0)\n"
    "codec.forward: auto(min=int8, max=f32, loss=0)\ncodec.down: f32\ncodec.global: f32\n";

/* An older parent is told all that it has to be told. */
static void test_parent_of_version_1(void **unused) {
    (void)unused;
    struct role_node node;
    device_below(&node, "codec.up: f16\ncodec.forward: f32\ncodec.down: f32\ncodec.global: f32\n", 1);
    const float x[ROLE_N] = {1, 2, 3, 4};
    const struct trib_msg *push = &pushed(&node, x, 20, 20)->msg;
    assert_int_equal(push->version, 1);
    assert_true(trib_msg_has(push, WEIGHT) && trib_msg_has(push, CODEC) && trib_msg_has(push, PAYLOAD_CRC));
    assert_memory_equal(push->base_digest, node.state->parent_chain, 4);
    assert_int_equal(push->payload_bytes, 2 * ROLE_N);
    role_stop(&node);
    device_below(&node, adaptive, 1);
    push = &pushed(&node, x, 20, 20)->msg;
    assert_int_equal(push->codec.size, 4);
    assert_memory_equal(push->codec.data, "int8", 4);
    assert_false(trib_msg_has(push, KIND) || trib_msg_has(push, REASON));
    role_stop(&node);
}

static void accept_after(struct role_node *node, uint64_t ms) {
    node->now_ms += ms;
    struct trib_msg accepted = role_ack(5, node->state->next_number - 1, TRIB_ACCEPTED);
    say(node, &accepted);
    assert_int_equal(node->state->held_count, 0);
    role_poll(node);
    for (const struct role_sent *s; (s = role_peek(node)) != NULL;)
        assert_int_not_equal(s->msg.type, TRIB_PUSH);
    struct trib_blob *values = role_floats(ROLE_N, 0.0f);
    struct trib_msg model = role_snapshot_model(5, node->state->parent_version + 1, values);
    role_deliver(node, 0, NULL, &model, values);
    trib_blob_unref(&values);
}

/* Four values have 8 bytes as int8, 16 as floats. */
static void test_codec_follows_the_line(void **unused) {
    (void)unused;
    static const float x[ROLE_N] = {1.0f, 0.3f, 0.17f, 0.05f};
    static const struct {
        const char *codec;
        uint64_t ms;
        enum trib_choice why;
    } updates[] = {{"int8", 100, TRIB_CHOICE_UNMEASURED}, /* then 80 bytes a second */
                   {"f32", 30000, TRIB_CHOICE_ENERGY},    /* less than one */
                   {"int8", 1, TRIB_CHOICE_BANDWIDTH},    {"int8", 1, TRIB_CHOICE_BANDWIDTH},
                   {"int8", 1, TRIB_CHOICE_BANDWIDTH},    {"int8", 1, TRIB_CHOICE_BANDWIDTH},
                   {"f32", 1, TRIB_CHOICE_ENERGY}}; /* by the last four */
    struct role_node node;
    device_under(&node, adaptive);
    for (size_t i = 0; i < sizeof updates / sizeof *updates; i++) {
        struct trib_msg push = submit(&node, x, updates[i].codec);
        bool another = i == 0 || strcmp(updates[i].codec, updates[i - 1].codec) != 0;
        assert_int_equal(trib_msg_has(&push, REASON), another);
        assert_int_equal(push.reason, another ? updates[i].why : 0);
        accept_after(&node, updates[i].ms);
    }
    assert_int_equal(role_logged(&node, "codec_chosen"), 4);
    role_stop(&node);
}

/* What is left of (8, 4, 4, 4) after the 8 was sent has the norm 6.93; the next update has the norm 1. */
static void test_residual_has_a_bound(void **unused) {
    (void)unused;
    static const float large[ROLE_N] = {8, 4, 4, 4}, small[ROLE_N] = {1, 0, 0, 0}, none[ROLE_N] = {0};
    static const struct {
        const char *more;
        float left;       /* each of the three values */
    } cases[] = {{"", 4}, /* 20 times its norm would be more */
                 {"codec.residual_cap: 0\n", 4},
                 {"codec.residual_cap: 7\n", 4},
                 {"codec.residual_cap: 2\n", 1.1547005f},
                 {"codec.residual_cap: 2\ntrain.algorithm: area\n", 4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char plan[400];
        struct role_node node;
        (void)snprintf(plan, sizeof plan,
                       "codec.up: topk(0.25)+f32\ncodec.down: f32\ncodec.forward: f32\ncodec.global: f32\n%s",
                       cases[i].more);
        device_under(&node, plan);
        (void)submit(&node, large, "topk(0.25)+f32");
        accept_after(&node, 1);
        assert_int_equal(trib_state_gather(node.state, small, NULL), TRIB_OK);
        assert_true(node.state->own[0] == 1.0f);
        for (size_t j = 1; j < ROLE_N; j++) assert_true(fabsf(node.state->own[j] - cases[i].left) < 1e-6f);
        assert_int_equal(trib_state_gather(node.state, none, NULL), TRIB_OK);
        assert_true((node.state->own[1] == 0.0f) == (i != 1 && i != 4)); /* nothing new: nothing old either */
        role_stop(&node);
    }
}

static void tells(void *ctx, struct trib_u64s *out) {
    *out = *(const struct trib_u64s *)ctx;
}

/* Both must want it: the plan, and the device. */
static void test_labels(void **unused) {
    (void)unused;
    struct trib_u64s labels = {.count = 3, .items = {5, 0, 7}};
    for (int i = 0; i < 4; i++) {
        struct role_node node;
        struct role_options options = {.role = TRIB_ROLE_DEVICE};
        if (i & 2)
            options.participant = (struct trib_participant_options){.labels = tells, .labels_ctx = &labels};
        role_child(&node, options);
        role_poll(&node);
        trib_participant_connected(node.participant, node.now_ms);
        (void)role_collect(&node, true);
        (void)role_next(&node, TRIB_HELLO);
        struct trib_msg welcome = role_welcome(5, 70, 0);
        if (i & 1) welcome.plan = role_text("codec.up: f32\ncodec.down: f32\ntrain.tell_labels: true\n");
        role_deliver(&node, 0, NULL, &welcome, NULL);
        role_poll(&node);
        (void)role_next(&node, TRIB_PULL);
        struct trib_msg seed = role_seed_model(5);
        role_deliver(&node, 0, NULL, &seed, NULL);
        role_submit(&node, 1.0f);
        role_poll(&node);
        const struct trib_msg *push = &role_next(&node, TRIB_PUSH)->msg;
        assert_int_equal(push->labels.count, i == 3 ? 3 : 0);
        assert_int_equal(trib_msg_has(push, LABELS), i == 3);
        if (i == 3) assert_memory_equal(push->labels.items, labels.items, sizeof *labels.items * 3);
        role_stop(&node);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parent_of_version_1),
        cmocka_unit_test(test_codec_follows_the_line),
        cmocka_unit_test(test_residual_has_a_bound),
        cmocka_unit_test(test_push_is_sent_again),
        cmocka_unit_test(test_refused_update),
        cmocka_unit_test(test_a_lost_verdict_is_asked_for),
        cmocka_unit_test(test_a_model_is_taken_where_no_verdict_can_be_had),
        cmocka_unit_test(test_forwards_wait_for_the_verdict_before),
        cmocka_unit_test(test_a_forward_claims_what_a_parent_takes),
        cmocka_unit_test(test_a_forward_tells_of_its_region),
        cmocka_unit_test(test_edge_pushes_before_it_pulls),
        cmocka_unit_test(test_work_for_another_run_or_version),
        cmocka_unit_test(test_training_that_diverged),
        cmocka_unit_test(test_abandoned_training),
        cmocka_unit_test(test_late_model_while_a_verdict_is_awaited),
        cmocka_unit_test(test_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
