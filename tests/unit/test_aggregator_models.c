/* The models that a parent serves: seeds, increments and snapshots, to whom which, and in which codec.
 * Vectors are four floats and version 0 is all zeros. */
#include "tests/support/cmocka.h"

#include "tests/support/rebuilt.h"
#include "tests/support/roles.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void test_pull(void **unused) {
    (void)unused;
    struct role_node node;
    role_parent(&node, (struct role_options){.role = TRIB_ROLE_CLOUD,
                                             .plan = "codec.global: int8\npublish.global_interval: 0\n"});
    uint64_t session = role_join(&node, 1, "a", 11);
    const struct role_sent *seed = role_pulled(&node, session, NULL);
    assert_int_equal(seed->msg.kind, TRIB_MODEL_SEED);
    assert_int_equal(seed->msg.seed, 1);
    assert_null(seed->payload);
    assert_int_equal(seed->after, role_last(&node, TRIB_REC_PUBLISH)->position);
    assert_int_equal(role_pulled(&node, session, &seed->msg)->msg.kind, TRIB_MODEL_CURRENT);

    (void)role_update(&node, 1, role_push(session, 1, 0), 1.0f);
    const struct role_sent *first = role_pulled(&node, session, &seed->msg);
    assert_int_equal(first->msg.kind, TRIB_MODEL_INCREMENTS);
    assert_int_equal(first->msg.from_version, 0);
    assert_int_equal(first->msg.to_version, 1);
    assert_memory_equal(first->msg.from_digest, seed->msg.to_digest, TRIB_DIGEST_BYTES);
    assert_int_equal(first->msg.parts.count, 1);
    assert_int_equal(first->msg.parts.items[0], trib_blob_size(first->payload));
    assert_int_equal(first->after, role_last(&node, TRIB_REC_PUBLISH)->position);

    struct trib_msg wrong = seed->msg; /* what it holds is not our version 0 */
    wrong.to_digest[31] ^= 1;
    const struct role_sent *whole = role_pulled(&node, session, &wrong);
    assert_int_equal(whole->msg.kind, TRIB_MODEL_SNAPSHOT);
    assert_int_equal(trib_blob_size(whole->payload), ROLE_N * sizeof(float));
    assert_memory_equal(trib_blob_data(whole->payload), node.state->P, ROLE_N * sizeof(float));
    (void)role_update(&node, 1, role_push(session, 2, 1), 1.0f);
    /* two increments of 8 bytes are no less than a snapshot of 16 */
    assert_int_equal(role_pulled(&node, session, &seed->msg)->msg.kind, TRIB_MODEL_SNAPSHOT);
    assert_int_equal(role_pulled(&node, session, &first->msg)->msg.kind, TRIB_MODEL_INCREMENTS);
    role_rebuild(&node);
    role_stop(&node);
}

/* A device right below the cloud: its updates are in the codec of devices, and it is told that the model's
 * increments are in another one than theirs. An edge there knows both. */
static void test_codecs_by_kind(void **unused) {
    (void)unused;
    struct role_node node;
    role_parent(&node, (struct role_options){.role = TRIB_ROLE_CLOUD,
                                             .plan = "codec.up: f16\ncodec.forward: int8\ncodec.down: f16\n"
                                                     "codec.global: int8\npublish.global_interval: 0\n"});
    uint64_t device = role_join(&node, 1, "device", 11);
    struct trib_msg hello = role_hello("edge", 12, 1);
    hello.kind = TRIB_CHILD_EDGE;
    role_deliver(&node, 2, NULL, &hello, NULL);
    uint64_t edge = role_next(&node, TRIB_WELCOME)->msg.session;
    struct trib_msg seed = role_pulled(&node, device, NULL)->msg, push = role_push(device, 1, 0);
    struct trib_blob *halves = role_bytes(2 * ROLE_N, 0x34), *one = role_bytes(4 + ROLE_N, 1);
    role_deliver(&node, 1, NULL, &push, halves);
    assert_int_equal(role_next(&node, TRIB_ACK)->msg.verdict, TRIB_ACCEPTED);
    const struct trib_record *verdict = role_last(&node, TRIB_REC_VERDICT);
    assert_int_equal(verdict->codec.size, 3);
    assert_memory_equal(verdict->codec.data, "f16", 3);
    const struct trib_msg *model = &role_pulled(&node, device, &seed)->msg;
    assert_int_equal(model->codec.size, 4);
    assert_memory_equal(model->codec.data, "int8", 4);

    struct trib_msg pull = role_pull(edge, &seed);
    role_deliver(&node, 2, NULL, &pull, NULL);
    model = &role_next(&node, TRIB_MODEL)->msg;
    assert_int_equal(model->kind, TRIB_MODEL_INCREMENTS);
    assert_false(trib_msg_has(model, CODEC));
    push = role_push(edge, 1, 1);
    push.base_version = model->to_version;
    role_deliver(&node, 2, NULL, &push, one);
    assert_int_equal(role_next(&node, TRIB_ACK)->msg.verdict, TRIB_ACCEPTED);
    assert_int_equal(role_last(&node, TRIB_REC_VERDICT)->codec.size, 0);
    trib_blob_unref(&halves);
    trib_blob_unref(&one);
    role_rebuild(&node);
    role_stop(&node);
}

/* What a child that holds nothing is sent; it leaves then. */
static const struct role_sent *newcomer(struct role_node *node, trib_child_route route, bool asks_twice) {
    char name[16];
    (void)snprintf(name, sizeof name, "new-%" PRIu64, route);
    struct trib_msg pull = role_pull(role_join(node, route, name, 100 + route), NULL);
    struct trib_msg bye = role_message(TRIB_BYE, pull.session);
    trib_msg_set(&bye, REASON, reason, TRIB_BYE_LEAVING);
    role_deliver(node, route, NULL, &pull, NULL);
    const struct role_sent *model = role_next(node, TRIB_MODEL);
    if (asks_twice) {
        role_deliver(node, route, NULL, &pull, NULL);
        model = role_next(node, TRIB_MODEL);
    }
    role_deliver(node, route, NULL, &bye, NULL);
    return model;
}

/* Who comes when versions have passed is told the seed and what came after it, as long as that is less than
 * the model; who asks again for all of it gets that. */
static void test_newcomers(void **unused) {
    (void)unused;
    struct role_node node;
    role_parent(&node,
                (struct role_options){.role = TRIB_ROLE_CLOUD,
                                      .big = true,
                                      .plan = "codec.global: topk(0.04)+int8\npublish.global_interval: 0\n",
                                      .aggregator = {.budget_bytes = 1 << 20}});
    uint64_t session = role_join(&node, 1, "a", 11);
    const struct role_sent *last = role_pulled(&node, session, NULL), *model;
    size_t bytes = 0;
    for (uint64_t i = 1; i <= 60; i++) {
        (void)role_update(&node, 1, role_push(session, i, i - 1), (float)i);
        last = role_pulled(&node, session, &last->msg);
        bytes += trib_blob_size(last->payload);
        if (i % 10 != 0) continue;
        model = newcomer(&node, i, false);
        assert_memory_equal(model->msg.to_digest, last->msg.to_digest, TRIB_DIGEST_BYTES);
        if (bytes > ROLE_BIG_N * sizeof(float) / 4 * 3) {
            assert_int_equal(model->msg.kind, TRIB_MODEL_SNAPSHOT);
            continue;
        }
        assert_int_equal(model->msg.kind, TRIB_MODEL_SEED);
        assert_int_equal(model->msg.seed, 1);
        assert_int_equal(model->msg.parts.count, i);
        assert_int_equal(trib_blob_size(model->payload), bytes);
        model = newcomer(&node, i + 1, true);
        assert_int_equal(model->msg.kind, TRIB_MODEL_SNAPSHOT);
        role_rebuild(&node);
        rebuilt_from_checkpoint(node.state, "a cloud with a seed and increments");
    }
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
    const struct role_sent *seed = role_pulled(&node, session, NULL), *last = NULL;
    struct trib_buf all;
    trib_buf_init(&all, 0);
    for (uint64_t i = 1; i <= 3; i++) {
        (void)role_update(&node, 1, role_push(session, i, i - 1), (float)i);
        last = role_pulled(&node, session, last != NULL ? &last->msg : &seed->msg);
        assert_int_equal(last->msg.kind, TRIB_MODEL_INCREMENTS);
        trib_buf_append(&all, trib_blob_data(last->payload), trib_blob_size(last->payload));
    }
    for (int again = 0; again < 2; again++) { /* the second one comes from the cache */
        const struct role_sent *model = role_pulled(&node, session, &seed->msg);
        assert_int_equal(model->msg.kind, TRIB_MODEL_INCREMENTS);
        assert_int_equal(model->msg.parts.count, 3);
        assert_int_equal(trib_blob_size(model->payload), all.size);
        assert_memory_equal(trib_blob_data(model->payload), all.data, all.size);
        assert_memory_equal(model->msg.to_digest, last->msg.to_digest, TRIB_DIGEST_BYTES);
    }
    trib_buf_release(&all);
    role_stop(&node);
}

/* A child that speaks version 1 is sent what that has: the model, and the codec that is not its tier's. */
static void test_child_of_version_1(void **unused) {
    (void)unused;
    struct role_node node;
    role_parent(&node, (struct role_options){
                           .role = TRIB_ROLE_CLOUD,
                           .plan = "codec.down: f16\ncodec.global: int8\npublish.global_interval: 0\n"});
    uint64_t session = role_join(&node, 1, "a", 11);
    struct trib_msg seed = role_pulled(&node, session, NULL)->msg;
    (void)role_update(&node, 1, role_push(session, 1, 0), 1.0f);
    (void)role_pulled(&node, session, &seed);
    struct trib_msg hello = role_hello("old", 12, 1);
    hello.kind = TRIB_CHILD_EDGE;
    hello.protocol_max = 1;
    role_deliver(&node, 2, NULL, &hello, NULL);
    const struct trib_msg *welcome = &role_next(&node, TRIB_WELCOME)->msg;
    assert_int_equal(welcome->version, 1);
    struct trib_msg pull = role_pull(welcome->session, NULL);
    role_deliver(&node, 2, NULL, &pull, NULL);
    assert_int_equal(role_next(&node, TRIB_MODEL)->msg.kind, TRIB_MODEL_SNAPSHOT);
    pull = role_pull(pull.session, &seed);
    role_deliver(&node, 2, NULL, &pull, NULL);
    const struct trib_msg *model = &role_next(&node, TRIB_MODEL)->msg;
    assert_int_equal(model->kind, TRIB_MODEL_INCREMENTS);
    assert_int_equal(model->version, 1);
    assert_memory_equal(model->codec.data, "int8", 4);
    role_stop(&node);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pull),
        cmocka_unit_test(test_codecs_by_kind),
        cmocka_unit_test(test_newcomers),
        cmocka_unit_test(test_several_increments),
        cmocka_unit_test(test_child_of_version_1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
