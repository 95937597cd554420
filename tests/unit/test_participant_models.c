/* The child role and models: what it checks before it takes one, and payloads in pieces both ways. */
#include "tests/support/cmocka.h"

#include "shared/base/alloc.h"
#include "shared/model/digest.h"
#include "tests/support/roles.h"

#include <math.h>
#include <string.h>

enum { FOUR = ROLE_N * (int)sizeof(float) };

/* An edge that holds version 0: it takes models at any time. */
static void edge(struct role_node *node) {
    role_child(node, (struct role_options){.role = TRIB_ROLE_EDGE});
    role_begin(node, 5);
    (void)role_collect(node, true);
}

static void give(struct role_node *node, const struct trib_msg *msg, struct trib_blob *payload) {
    role_deliver(node, 0, NULL, msg, payload);
}

/* It asks for everything, and takes it. */
static void asks_for_everything(struct role_node *node, const char *where) {
    role_wait(node, 200);
    const struct role_sent *pull = role_next(node, TRIB_PULL);
    if (trib_msg_has(&pull->msg, HELD_DIGEST)) fail_msg("%s: it still names what it holds", where);
    struct trib_blob *values = role_floats(ROLE_N, 9.0f);
    struct trib_msg model = role_snapshot_model(5, node->state->parent_version, values);
    memcpy(model.to_digest, node->state->parent_chain, sizeof model.to_digest); /* of the same version */
    give(node, &model, values);
    trib_blob_unref(&values);
    if (node->state->G[0] != 9.0f) fail_msg("%s: it did not take the snapshot", where);
    role_wait(node, 5000);
    for (const struct role_sent *sent; (sent = role_peek(node)) != NULL;)
        if (sent->msg.type == TRIB_PULL && !trib_msg_has(&sent->msg, HELD_DIGEST))
            fail_msg("%s: it asks for everything again", where);
}

static void test_increment(void **unused) {
    (void)unused;
    struct role_node node;
    edge(&node);
    struct trib_blob *increment = role_floats(ROLE_N, 0.5f);
    struct trib_msg model = role_increment_model(5, node.state, 3, increment);
    model.fence = 0;
    give(&node, &model, increment);
    assert_true(node.state->G[3] == 0.5f);
    assert_int_equal(node.state->parent_version, 3);
    assert_memory_equal(node.state->parent_chain, model.to_digest, TRIB_DIGEST_BYTES);
    give(&node, &model, increment); /* twice: it is what is held, and not added again */
    assert_true(node.state->G[3] == 0.5f);
    assert_int_equal(role_logged(&node, "model_refused"), 0);
    role_wait(&node, 5000);
    const struct role_sent *pull = role_peek(&node);
    while (pull != NULL && pull->msg.type != TRIB_PULL) pull = role_peek(&node);
    assert_non_null(pull);
    assert_int_equal(pull->msg.held_version, 3);
    assert_int_equal(pull->after, node.state->position);
    trib_blob_unref(&increment);
    role_rebuild(&node);
    role_stop(&node);
}

/* Each case spoils a good model; what is held stays as it was, and everything is asked for again. */
static void spoiled(const char *where, void (*spoil)(struct trib_msg *model, struct trib_blob **payload),
                    uint8_t kind) {
    struct role_node node;
    edge(&node);
    struct trib_blob *payload = role_floats(ROLE_N, 0.5f);
    struct trib_msg model = kind == TRIB_MODEL_SNAPSHOT ? role_snapshot_model(5, 3, payload)
                            : kind == TRIB_MODEL_SEED   ? role_seeded_model(5, 3, payload)
                                                        : role_increment_model(5, node.state, 3, payload);
    spoil(&model, &payload);
    give(&node, &model, payload);
    if (role_logged(&node, "model_refused") != 1) fail_msg("%s: it was not refused", where);
    if (node.state->parent_version != 0 || node.state->G[0] != 0.0f) fail_msg("%s: it was taken", where);
    asks_for_everything(&node, where);
    trib_blob_unref(&payload);
    role_rebuild(&node);
    role_stop(&node);
}

static void from_elsewhere(struct trib_msg *model, struct trib_blob **payload) {
    (void)payload;
    model->from_version = 2;
}

static void from_another_digest(struct trib_msg *model, struct trib_blob **payload) {
    (void)payload;
    model->from_digest[31] ^= 1;
}

static void another_chain(struct trib_msg *model, struct trib_blob **payload) {
    (void)payload;
    model->to_digest[0] ^= 1;
}

static void too_long(struct trib_msg *model, struct trib_blob **payload) {
    (void)payload;
    model->parts.items[0] = FOUR + 1;
}

static void too_short(struct trib_msg *model, struct trib_blob **payload) {
    (void)payload;
    model->parts.items[0] = FOUR - 4;
}

static void sum_overflows(struct trib_msg *model, struct trib_blob **payload) {
    (void)payload;
    model->parts = (struct trib_u64s){.count = 2, .items = {UINT64_MAX, FOUR + 1}};
}

static void no_bytes(struct trib_msg *model, struct trib_blob **payload) {
    trib_blob_unref(payload);
    model->parts.count = model->parts.items[0] = 0;
    model->parts.count = 1;
}

static void another_full_digest(struct trib_msg *model, struct trib_blob **payload) {
    (void)payload;
    model->full_digest[5] ^= 1;
}

static void of_nan(struct trib_msg *model, struct trib_blob **payload) {
    trib_blob_unref(payload);
    *payload = role_floats(ROLE_N, NAN);
    struct trib_msg good = role_snapshot_model(model->session, model->to_version, *payload);
    memcpy(model->full_digest, good.full_digest, sizeof good.full_digest);
}

static void of_wrong_size(struct trib_msg *model, struct trib_blob **payload) {
    (void)model;
    trib_blob_unref(payload);
    *payload = role_floats(ROLE_N - 1, 0.5f);
}

static void offer_too_large(struct trib_msg *model, struct trib_blob **payload) {
    trib_blob_unref(payload);
    trib_msg_set(model, PAYLOAD_BYTES, payload_bytes, (uint64_t)1 << 40);
    trib_msg_set(model, PAYLOAD_CRC, payload_crc, 1);
}

static void not_what_is_held(struct trib_msg *model, struct trib_blob **payload) {
    trib_blob_unref(payload);
    model->kind = TRIB_MODEL_CURRENT;
}

static void another_seed(struct trib_msg *model, struct trib_blob **payload) {
    (void)payload;
    trib_digest_chain(model->from_digest, "x", 1, model->to_digest); /* of what that seed does not give */
}

static void test_models_that_are_refused(void **unused) {
    (void)unused;
    spoiled("from another version", from_elsewhere, TRIB_MODEL_INCREMENTS);
    spoiled("from another digest", from_another_digest, TRIB_MODEL_INCREMENTS);
    spoiled("another chain digest", another_chain, TRIB_MODEL_INCREMENTS);
    spoiled("increments beyond the payload", too_long, TRIB_MODEL_INCREMENTS);
    spoiled("payload beyond the increments", too_short, TRIB_MODEL_INCREMENTS);
    spoiled("sizes that overflow", sum_overflows, TRIB_MODEL_INCREMENTS);
    spoiled("no bytes", no_bytes, TRIB_MODEL_INCREMENTS);
    spoiled("another full digest", another_full_digest, TRIB_MODEL_SNAPSHOT);
    spoiled("NaN", of_nan, TRIB_MODEL_SNAPSHOT);
    spoiled("wrong size", of_wrong_size, TRIB_MODEL_SNAPSHOT);
    spoiled("offer too large", offer_too_large, TRIB_MODEL_SNAPSHOT);
    spoiled("told that another is held", not_what_is_held, TRIB_MODEL_SNAPSHOT);
    spoiled("after a seed, another chain digest", another_chain, TRIB_MODEL_SEED);
    spoiled("after a seed, increments beyond the payload", too_long, TRIB_MODEL_SEED);
    spoiled("after a seed, payload beyond the increments", too_short, TRIB_MODEL_SEED);
    spoiled("after a seed, sizes that overflow", sum_overflows, TRIB_MODEL_SEED);
    spoiled("after a seed, no bytes", no_bytes, TRIB_MODEL_SEED);
    spoiled("from another seed", another_seed, TRIB_MODEL_SEED);
}

/* A device that holds nothing and has asked for a model. */
static void newcomer(struct role_node *node) {
    role_child(node, (struct role_options){.role = TRIB_ROLE_DEVICE});
    role_poll(node);
    role_connect(node, 5, 70, 0);
    role_poll(node);
    (void)role_next(node, TRIB_PULL);
}

/* A newcomer trains on what the seed and the increments after it lead to. */
static void test_seed_and_increments(void **unused) {
    (void)unused;
    struct role_node node;
    newcomer(&node);
    struct trib_blob *increment = role_floats(ROLE_N, 0.5f);
    struct trib_msg model = role_seeded_model(5, 7, increment);
    give(&node, &model, increment);
    assert_int_equal(node.trains, 1);
    assert_true(node.state->G[3] == 0.5f);
    assert_int_equal(node.state->parent_version, 7);
    assert_memory_equal(node.state->parent_chain, model.to_digest, TRIB_DIGEST_BYTES);
    assert_false(node.state->seed_held);
    trib_blob_unref(&increment);
    role_rebuild(&node);
    role_stop(&node);
}

static void test_seed_that_gives_another_model(void **unused) {
    (void)unused;
    struct role_node node;
    newcomer(&node);
    struct trib_msg seed = role_seed_model(5);
    seed.to_digest[1] ^= 1;
    give(&node, &seed, NULL);
    assert_false(node.state->has_model);
    assert_int_equal(node.trains, 0);
    role_wait(&node, 200);
    (void)role_next(&node, TRIB_PULL);
    seed.to_digest[1] ^= 1;
    give(&node, &seed, NULL);
    assert_int_equal(node.trains, 1);
    role_stop(&node);
}

/* Increments that passed their chain, but led somewhere else: what is held is wrong from here on. */
static void test_full_digest_after_increments(void **unused) {
    (void)unused;
    struct role_node node;
    edge(&node);
    struct trib_blob *increment = role_floats(ROLE_N, 0.5f);
    struct trib_msg model = role_increment_model(5, node.state, 64, increment);
    model.present |= (uint64_t)1 << TRIB_F_FULL_DIGEST; /* of nothing that is here */
    give(&node, &model, increment);
    assert_int_equal(role_logged(&node, "model_refused"), 1);
    role_connect(&node, 5, 70, 0); /* a new session makes it no better */
    asks_for_everything(&node, "full digest");
    trib_blob_unref(&increment);
    role_rebuild(&node);
    role_stop(&node);
}

static void test_model_of_another_session(void **unused) {
    (void)unused;
    struct role_node node;
    edge(&node);
    struct trib_blob *values = role_floats(ROLE_N, 0.5f);
    struct trib_msg model = role_snapshot_model(4, 3, values);
    give(&node, &model, values);
    assert_int_equal(node.state->parent_version, 0);
    role_silent(&node);
    trib_blob_unref(&values);
    role_stop(&node);
}

static void test_fence(void **unused) {
    (void)unused;
    struct role_node node;
    edge(&node);
    struct trib_blob *values = role_floats(ROLE_N, 0.5f);
    struct trib_msg model = role_snapshot_model(5, 3, values);
    model.fence = 2;
    give(&node, &model, values);
    assert_int_equal(node.state->fence, node.state->version); /* its own children hear of it */
    assert_true(node.state->exact_next);
    trib_blob_unref(&values);
    role_rebuild(&node);
    role_stop(&node);
}

/* A parent that was restored from a backup makes a version's number a second time: the newest is the base. */
static void test_a_version_that_came_twice(void **unused) {
    (void)unused;
    struct role_node node;
    edge(&node);
    for (int i = 0; i < 2; i++) {
        struct trib_blob *values = role_floats(ROLE_N, 0.5f + (float)i);
        struct trib_msg model = role_snapshot_model(5, 3, values);
        give(&node, &model, values);
        trib_blob_unref(&values);
    }
    struct trib_record forward = {.kind = TRIB_REC_FORWARD, .payload = role_floats(ROLE_N, 0.0f)};
    trib_rec_set(&forward, NUMBER, number, node.state->next_number);
    trib_rec_set(&forward, BASE, base_version, 3);
    assert_true(trib_outbox_record(&node.outbox, node.state, &forward));
    trib_blob_unref(&forward.payload);
    assert_true(role_collect(&node, true));
    assert_memory_equal(node.state->held[0].base_digest, node.state->parent_chain, 4);
    role_rebuild(&node);
    role_stop(&node);
}

/* ---- in pieces ---- */

static void offer(struct role_node *node, struct trib_msg *model, const struct trib_blob *payload) {
    trib_msg_set(model, PAYLOAD_BYTES, payload_bytes, trib_blob_size(payload));
    trib_msg_set(model, PAYLOAD_CRC, payload_crc, role_crc(payload));
    give(node, model, NULL);
}

static void piece(struct role_node *node, uint64_t number, struct trib_blob *payload, size_t offset,
                  size_t bytes) {
    struct trib_blob *slice = trib_blob_slice(payload, offset, bytes);
    struct trib_msg msg = role_chunk(5, number, offset);
    give(node, &msg, slice);
    trib_blob_unref(&slice);
}

static void test_model_in_pieces(void **unused) {
    (void)unused;
    struct role_node node;
    edge(&node);
    struct trib_blob *values = role_floats(ROLE_N, 0.5f);
    struct trib_msg model = role_snapshot_model(5, 3, values);
    offer(&node, &model, values);
    const struct role_sent *credit = role_next(&node, TRIB_CREDIT);
    assert_int_equal(credit->msg.number, 3);
    assert_int_equal(credit->msg.offset, 0);
    assert_true(credit->msg.chunk_bytes >= 16384 && credit->msg.window_bytes >= credit->msg.chunk_bytes);
    piece(&node, 3, values, 0, 4);
    piece(&node, 2, values, 4, 4); /* of something else */
    role_silent(&node);
    piece(&node, 3, values, 8, 4); /* one was lost */
    assert_int_equal(role_next(&node, TRIB_CREDIT)->msg.offset, 4);
    offer(&node, &model, values); /* PULL was sent again: it goes on where it was */
    assert_int_equal(role_next(&node, TRIB_CREDIT)->msg.offset, 4);
    piece(&node, 3, values, 4, FOUR - 4);
    assert_int_equal(node.state->parent_version, 3);
    assert_true(node.state->G[0] == 0.5f);
    trib_blob_unref(&values);
    role_rebuild(&node);
    role_stop(&node);
}

static void test_damaged_or_stray_pieces(void **unused) {
    (void)unused;
    for (int outside = 0; outside < 2; outside++) {
        struct role_node node;
        edge(&node);
        struct trib_blob *values = role_floats(ROLE_N, 0.5f), *other = role_floats(ROLE_N, 0.25f);
        struct trib_msg model = role_snapshot_model(5, 3, values);
        offer(&node, &model, values);
        (void)role_next(&node, TRIB_CREDIT);
        struct trib_msg msg = role_chunk(5, 3, outside ? UINT64_MAX - 3 : 0);
        give(&node, &msg, other);
        assert_int_equal(node.state->parent_version, 0);
        assert_int_equal(role_logged(&node, "model_refused"), 1);
        asks_for_everything(&node, "damaged");
        trib_blob_unref(&values);
        trib_blob_unref(&other);
        role_stop(&node);
    }
}

static void test_pull_is_repeated(void **unused) {
    (void)unused;
    struct role_node node;
    role_child(&node, (struct role_options){.role = TRIB_ROLE_DEVICE});
    role_poll(&node);
    role_connect(&node, 5, 70, 0);
    role_poll(&node);
    const struct role_sent *pull = role_next(&node, TRIB_PULL);
    assert_true(pull->msg.credit >= 16384);
    size_t pulls = 0;
    for (int i = 0; i < 10; i++) {
        role_wait(&node, 1000);
        struct trib_msg ping = role_message(TRIB_PING, 5);
        trib_msg_set(&ping, TOKEN, token, 1);
        give(&node, &ping, NULL);
        for (const struct role_sent *sent; (sent = role_peek(&node)) != NULL;)
            pulls += sent->msg.type == TRIB_PULL;
        assert_int_equal(pulls, i == 9);
    }
    role_stop(&node);
}

/* ---- upward ---- */

static void submit(struct role_node *node) {
    const float difference[ROLE_N] = {1, 2, 3, 4};
    struct trib_submission work = {.difference = difference,
                                   .base_version = node->state->parent_version,
                                   .parent_incarnation = node->state->parent_incarnation,
                                   .samples = 1,
                                   .weight = 1};
    trib_participant_submit(node->participant, node->now_ms, &work);
    role_poll(node);
}

enum { BIG_N = 5000 };

/* A schema of 5,000: an update of 20,000 bytes needs a grant or an offer. */
static void big_device(struct role_node *node, uint64_t credit) {
    static const char big[] = "w 5000 0x0p+0\n";
    role_child(node, (struct role_options){.role = TRIB_ROLE_DEVICE});
    role_poll(node);
    trib_participant_connected(node->participant, node->now_ms);
    (void)role_collect(node, true);
    (void)role_next(node, TRIB_HELLO);
    struct trib_msg welcome = role_welcome(5, 70, 0);
    welcome.schema = role_text(big);
    welcome.credit = credit;
    struct trib_schema schema;
    trib_schema_init(&schema);
    assert_int_equal(trib_schema_parse(&schema, big, strlen(big), NULL), TRIB_OK);
    memcpy(welcome.fingerprint, schema.fingerprint, sizeof welcome.fingerprint);
    trib_schema_release(&schema);
    give(node, &welcome, NULL);
    role_poll(node);
    (void)role_next(node, TRIB_PULL);
    struct trib_msg model = role_seed_model(5);
    float *zeros = trib_alloc_floats(BIG_N);
    trib_digest_floats(zeros, BIG_N, NULL, model.full_digest);
    trib_digest_chain_start(welcome.fingerprint, model.full_digest, model.to_digest);
    trib_free(zeros);
    give(node, &model, NULL);
    assert_int_equal(node->trains, 1);
}

static void submit_big(struct role_node *node) {
    float *difference = trib_alloc_floats(BIG_N);
    for (size_t i = 0; i < BIG_N; i++) difference[i] = (float)i;
    struct trib_submission work = {
        .difference = difference, .base_version = 0, .parent_incarnation = 70, .samples = 1, .weight = 1};
    trib_participant_submit(node->participant, node->now_ms, &work);
    trib_free(difference);
    role_poll(node);
}

static struct trib_msg credit_for(uint64_t number, uint64_t offset, uint64_t window) {
    struct trib_msg credit = role_message(TRIB_CREDIT, 5);
    trib_msg_set(&credit, NUMBER, number, number);
    trib_msg_set(&credit, OFFSET, offset, offset);
    trib_msg_set(&credit, CHUNK_BYTES, chunk_bytes, 16384);
    trib_msg_set(&credit, WINDOW_BYTES, window_bytes, window);
    return credit;
}

static void test_update_within_the_grant(void **unused) {
    (void)unused;
    struct role_node node;
    big_device(&node, 25000);
    submit_big(&node);
    assert_null(role_next(&node, TRIB_PUSH)->payload); /* what the line takes at once is not known yet */
    struct trib_msg credit = credit_for(1, 0, 32768), ack = role_ack(5, 1, TRIB_ACCEPTED);
    give(&node, &credit, NULL);
    give(&node, &ack, NULL);
    role_poll(&node);
    while (role_peek(&node) != NULL) {
    }
    struct trib_msg model = role_seed_model(5);
    memcpy(model.to_digest, node.state->parent_chain, sizeof model.to_digest);
    give(&node, &model, NULL);
    submit_big(&node);
    const struct role_sent *push = role_next(&node, TRIB_PUSH);
    assert_int_equal(trib_blob_size(push->payload), 20000);
    struct trib_msg error = {.type = TRIB_ERROR};
    trib_msg_set(&error, CODE, code, TRIB_CODE_STORE);
    trib_msg_set(&error, NUMBER, number, 2);
    give(&node, &error, NULL);
    role_wait(&node, 1000);
    push = role_next(&node, TRIB_PUSH); /* the grant is used up: now it offers */
    assert_null(push->payload);
    assert_int_equal(push->msg.payload_bytes, 20000);
    role_stop(&node);
}

static void test_update_in_pieces(void **unused) {
    (void)unused;
    struct role_node node;
    big_device(&node, 0);
    submit_big(&node);
    const struct role_sent *push = role_next(&node, TRIB_PUSH);
    assert_null(push->payload);
    assert_int_equal(push->msg.payload_bytes, 20000);
    assert_int_equal(push->msg.payload_crc, node.state->held[0].payload_crc);
    struct trib_msg credit = credit_for(1, 0, 16384);
    give(&node, &credit, NULL);
    const struct role_sent *first = role_next(&node, TRIB_CHUNK);
    assert_int_equal(trib_blob_size(first->payload), 16384);
    assert_memory_equal(trib_blob_data(first->payload), trib_blob_data(node.state->held[0].payload), 16384);
    role_silent(&node);
    give(&node, &credit, NULL); /* it did not arrive */
    assert_int_equal(role_next(&node, TRIB_CHUNK)->msg.offset, 0);
    role_connect(&node, 5, 70, 0);
    role_poll(&node);
    assert_int_equal(role_next(&node, TRIB_PUSH)->msg.payload_bytes, 20000);
    credit.offset = 16384; /* the parent kept what it had */
    give(&node, &credit, NULL);
    const struct role_sent *rest = role_next(&node, TRIB_CHUNK);
    assert_int_equal(rest->msg.offset, 16384);
    assert_int_equal(trib_blob_size(rest->payload), 20000 - 16384);
    struct trib_msg ack = role_message(TRIB_ACK, 5);
    trib_msg_set(&ack, NUMBER, number, 1);
    trib_msg_set(&ack, VERDICT, verdict, TRIB_ACCEPTED);
    give(&node, &ack, NULL);
    give(&node, &credit, NULL); /* of what is over */
    role_silent(&node);
    role_stop(&node);
}

static void test_work_made_while_a_model_came_is_dropped(void **unused) {
    (void)unused;
    struct role_node node;
    role_child(&node, (struct role_options){.role = TRIB_ROLE_DEVICE});
    role_begin(&node, 5);
    struct trib_blob *values = role_floats(ROLE_N, 0.5f);
    struct trib_msg model = role_snapshot_model(5, 3, values);
    give(&node, &model, values); /* while it trains on version 0: not taken, for the trainer reads G */
    assert_int_equal(node.state->parent_version, 0);
    submit(&node);
    assert_int_equal(role_next(&node, TRIB_PUSH)->msg.base_version, 0);
    trib_blob_unref(&values);
    role_stop(&node);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_increment),
        cmocka_unit_test(test_models_that_are_refused),
        cmocka_unit_test(test_seed_and_increments),
        cmocka_unit_test(test_seed_that_gives_another_model),
        cmocka_unit_test(test_full_digest_after_increments),
        cmocka_unit_test(test_model_of_another_session),
        cmocka_unit_test(test_fence),
        cmocka_unit_test(test_a_version_that_came_twice),
        cmocka_unit_test(test_model_in_pieces),
        cmocka_unit_test(test_damaged_or_stray_pieces),
        cmocka_unit_test(test_pull_is_repeated),
        cmocka_unit_test(test_update_within_the_grant),
        cmocka_unit_test(test_update_in_pieces),
        cmocka_unit_test(test_work_made_while_a_model_came_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
