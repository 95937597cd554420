/* What a parent keeps in memory to send: P is lent and not copied, and the budget decides who gets what when
 * much is being sent. Increments are int8 (a quarter of a snapshot), so that there are all kinds of answers.
 */
#include "tests/support/cmocka.h"

#include "shared/base/alloc.h"
#include "tests/support/roles.h"

#include <string.h>

enum { BIG = ROLE_BIG_N * (int)sizeof(float), A_LITTLE = 1000 };

struct world {
    struct role_node node;
    uint64_t author; /* session of the one whose updates make new versions, on route 1 */
    uint64_t number;
    struct trib_msg held; /* what it holds */
};

static void begin(struct world *w, size_t budget) {
    *w = (struct world){.number = 0};
    role_parent(&w->node, (struct role_options){.role = TRIB_ROLE_CLOUD,
                                                .big = true,
                                                .given = true,
                                                .plan = "codec.global: int8\npublish.global_interval: 0\n",
                                                .aggregator = {.budget_bytes = budget}});
    w->author = role_join(&w->node, 1, "author", 11);
    w->held = role_pulled(&w->node, w->author, NULL)->msg;
}

/* One more committed version: an update in f16, which is small enough to need no credit. */
static void commit(struct world *w) {
    w->node.now_ms++;
    struct trib_msg push = role_push(w->author, ++w->number, 0);
    trib_msg_set(&push, CODEC, codec, role_text("f16"));
    struct trib_blob *payload = role_bytes(2 * ROLE_BIG_N, 0x34);
    role_deliver(&w->node, 1, NULL, &push, payload);
    trib_blob_unref(&payload);
    assert_int_equal(role_next(&w->node, TRIB_ACK)->msg.verdict, TRIB_ACCEPTED);
}

/* ... which the author gets, so that it is published. */
static void publish(struct world *w) {
    commit(w);
    w->held = role_pulled(&w->node, w->author, &w->held)->msg;
    assert_int_equal(w->node.state->published, w->node.state->version);
}

static uint64_t join(struct world *w, trib_child_route route, const char *name, uint64_t kind) {
    struct trib_msg hello = role_hello(name, route + 10, 1);
    hello.kind = kind;
    role_deliver(&w->node, route, NULL, &hello, NULL);
    return role_next(&w->node, TRIB_WELCOME)->msg.session;
}

/* A child that is offered a snapshot and takes nothing of it yet. */
static uint64_t taker(struct world *w, trib_child_route route, const char *name, uint64_t version) {
    uint64_t session = join(w, route, name, TRIB_CHILD_DEVICE);
    struct trib_msg pull = role_pull(session, NULL);
    role_deliver(&w->node, route, NULL, &pull, NULL);
    const struct trib_msg *model = &role_next(&w->node, TRIB_MODEL)->msg;
    assert_int_equal(model->kind, TRIB_MODEL_SNAPSHOT);
    assert_int_equal(model->to_version, version);
    assert_int_equal(model->payload_bytes, BIG);
    return session;
}

static void leave(struct world *w, trib_child_route route, uint64_t session) {
    struct trib_msg bye = role_message(TRIB_BYE, session);
    trib_msg_set(&bye, REASON, reason, TRIB_BYE_LEAVING);
    role_deliver(&w->node, route, NULL, &bye, NULL);
}

static const struct trib_msg *ask(struct world *w, trib_child_route route, uint64_t session,
                                  const struct trib_msg *held, uint8_t answer) {
    struct trib_msg pull = role_pull(session, held);
    role_deliver(&w->node, route, NULL, &pull, NULL);
    return &role_next(&w->node, answer)->msg;
}

static void test_lent_and_not_copied(void **unused) {
    (void)unused;
    struct world w;
    begin(&w, 0);
    publish(&w);
    const float *P = w.node.state->P;
    uint64_t b = taker(&w, 2, "b", 1);
    assert_ptr_equal(w.node.state->P, P);
    float *before = trib_alloc_floats(ROLE_BIG_N);
    memcpy(before, P, BIG);
    publish(&w); /* while b is being sent version 1 */
    assert_ptr_not_equal(w.node.state->P, P);
    assert_memory_not_equal(w.node.state->P, before, BIG);
    struct trib_msg credit = role_message(TRIB_CREDIT, b);
    trib_msg_set(&credit, NUMBER, number, 1);
    trib_msg_set(&credit, OFFSET, offset, 0);
    trib_msg_set(&credit, CHUNK_BYTES, chunk_bytes, BIG);
    trib_msg_set(&credit, WINDOW_BYTES, window_bytes, BIG);
    role_deliver(&w.node, 2, NULL, &credit, NULL);
    const struct role_sent *chunk = role_next(&w.node, TRIB_CHUNK);
    assert_int_equal(trib_blob_size(chunk->payload), BIG);
    assert_memory_equal(trib_blob_data(chunk->payload), before, BIG);
    role_deliver(&w.node, 2, NULL, &credit, NULL); /* all was sent: nothing is kept for it */
    role_silent(&w.node);
    trib_free(before);
    role_rebuild(&w.node);
    role_stop(&w.node);
}

static void test_given_back(void **unused) {
    (void)unused;
    struct world w;
    begin(&w, 0);
    publish(&w);
    const float *P = w.node.state->P;
    leave(&w, 2, taker(&w, 2, "b", 1));
    publish(&w); /* nobody has it: P stays where it is */
    assert_ptr_equal(w.node.state->P, P);
    leave(&w, 3, taker(&w, 3, "c", 2));
    publish(&w);
    assert_ptr_equal(w.node.state->P, P);
    role_rebuild(&w.node);
    role_stop(&w.node);
}

/* Room for one copy: devices join those who are being sent it, as long as increments lead on from there. */
static void test_joins_what_is_being_sent(void **unused) {
    (void)unused;
    struct world w;
    begin(&w, BIG + A_LITTLE);
    publish(&w);
    uint64_t b = taker(&w, 2, "b", 1);
    publish(&w); /* version 2; version 1 is a copy now */
    uint64_t c = taker(&w, 3, "c", 1);
    uint64_t edge = join(&w, 4, "an-edge", TRIB_CHILD_EDGE); /* whose forwards `applied` tells about */
    assert_int_equal(ask(&w, 4, edge, NULL, TRIB_WAIT)->wait_ms, 1000);
    publish(&w);
    publish(&w); /* the increment to 2 is not kept any more */
    uint64_t d = join(&w, 5, "d", TRIB_CHILD_DEVICE);
    (void)ask(&w, 5, d, NULL, TRIB_WAIT);
    leave(&w, 2, b);
    (void)ask(&w, 5, d, NULL, TRIB_WAIT); /* c still has it */
    leave(&w, 3, c);
    assert_int_equal(ask(&w, 5, d, NULL, TRIB_MODEL)->to_version, 4);
    assert_int_equal(ask(&w, 4, edge, NULL, TRIB_MODEL)->to_version, 4);
    role_stop(&w.node);
}

/* No room for two increments in one: a device gets the first of them. */
static void test_one_increment_of_two(void **unused) {
    (void)unused;
    struct world w;
    begin(&w, BIG + A_LITTLE);
    publish(&w);
    struct trib_msg held = w.held;
    uint64_t device = join(&w, 2, "b", TRIB_CHILD_DEVICE), edge = join(&w, 3, "e", TRIB_CHILD_EDGE);
    publish(&w);
    publish(&w);
    const struct trib_msg *model = ask(&w, 2, device, &held, TRIB_MODEL); /* there is room */
    assert_int_equal(model->parts.count, 2);
    assert_int_equal(model->to_version, 3);
    role_stop(&w.node);

    begin(&w, BIG + A_LITTLE);
    publish(&w);
    held = w.held;
    (void)taker(&w, 4, "t", 1);
    device = join(&w, 2, "b", TRIB_CHILD_DEVICE);
    edge = join(&w, 3, "e", TRIB_CHILD_EDGE);
    publish(&w);
    publish(&w);
    model = ask(&w, 2, device, &held, TRIB_MODEL);
    assert_int_equal(model->kind, TRIB_MODEL_INCREMENTS);
    assert_int_equal(model->parts.count, 1);
    assert_int_equal(model->to_version, 2);
    assert_memory_equal(model->to_digest, trib_state_base(w.node.state, 2)->chain, TRIB_DIGEST_BYTES);
    struct trib_msg next = *model;
    assert_int_equal(ask(&w, 2, device, &next, TRIB_MODEL)->to_version, 3);
    (void)ask(&w, 3, edge, &held, TRIB_WAIT);
    role_stop(&w.node);
}

/* Where there is no room for a copy of P, publishing waits until nobody is sent it, but not for ever. */
static void test_publication_waits(void **unused) {
    (void)unused;
    struct world w;
    begin(&w, BIG + A_LITTLE);
    publish(&w);
    uint64_t b = taker(&w, 2, "b", 1);
    trib_aggregator_unwritten(w.node.aggregator, 2 * A_LITTLE); /* a disk that is behind */
    commit(&w);
    uint64_t c = join(&w, 3, "c", TRIB_CHILD_DEVICE);
    assert_int_equal(ask(&w, 3, c, NULL, TRIB_WAIT)->wait_ms, 100);
    assert_int_equal(w.node.state->published, 1);
    leave(&w, 2, b);
    assert_int_equal(ask(&w, 3, c, NULL, TRIB_MODEL)->to_version, 2);
    const float *P = w.node.state->P;
    trib_aggregator_unwritten(w.node.aggregator, 2 * A_LITTLE);
    commit(&w);
    uint64_t d = join(&w, 4, "d", TRIB_CHILD_DEVICE);
    (void)ask(&w, 4, d, NULL, TRIB_WAIT);
    role_wait(&w.node, 1500);
    while (role_peek(&w.node) != NULL) {
    }
    (void)ask(&w, 4, d, NULL, TRIB_WAIT);
    role_wait(&w.node, 500);
    while (role_peek(&w.node) != NULL) {
    }
    assert_int_equal(ask(&w, 4, d, NULL, TRIB_MODEL)->to_version, 2); /* joins c */
    assert_int_equal(w.node.state->published, 3);
    assert_ptr_not_equal(w.node.state->P, P);
    role_rebuild(&w.node);
    role_stop(&w.node);
}

/* What waits for the disk takes part in the budget of what comes up. */
static void test_unwritten_holds_offers_back(void **unused) {
    (void)unused;
    struct world w;
    begin(&w, 2 * BIG);
    struct trib_blob *payload = role_floats(ROLE_BIG_N, 0.25f);
    trib_aggregator_unwritten(w.node.aggregator, BIG + 1);
    struct trib_msg offer = role_offer(w.author, 1, 0, payload);
    role_deliver(&w.node, 1, NULL, &offer, NULL);
    role_silent(&w.node);
    trib_aggregator_unwritten(w.node.aggregator, BIG);
    role_poll(&w.node);
    assert_int_equal(role_next(&w.node, TRIB_CREDIT)->msg.number, 1);
    trib_blob_unref(&payload);
    role_stop(&w.node);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lent_and_not_copied),      cmocka_unit_test(test_given_back),
        cmocka_unit_test(test_joins_what_is_being_sent), cmocka_unit_test(test_one_increment_of_two),
        cmocka_unit_test(test_publication_waits),        cmocka_unit_test(test_unwritten_holds_offers_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
