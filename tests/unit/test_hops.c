/* What an edge tells of each hop below it: devices' links first, its own last; all of it in the sums, and
 * none in version
 * 1. Through records and checkpoints. */
#include "tests/support/cmocka.h"
#include "tests/support/memory_file.h"
#include "tests/support/roles.h"

#include <string.h>

enum { OWN_UP = 1000, OWN_DOWN = 2000 };

static void begin(struct role_node *node, uint8_t version) {
    role_child(node, (struct role_options){.role = TRIB_ROLE_EDGE});
    role_poll(node);
    trib_participant_connected(node->participant, node->now_ms);
    (void)role_collect(node, true);
    struct trib_msg welcome = role_welcome(5, 70, 0), seed = role_seed_model(5);
    welcome.version = version;
    role_deliver(node, 0, NULL, &welcome, NULL);
    role_deliver(node, 0, NULL, &seed, NULL);
    node->read = node->sent_count;
}

static void record(struct role_node *node, struct trib_record *r) {
    assert_true(trib_outbox_record(&node->outbox, node->state, r));
}

static void join(struct role_node *node, const char *name, uint64_t kind) {
    struct trib_record peer = {.kind = TRIB_REC_PEER};
    trib_rec_set(&peer, PEER, peer, role_text(name));
    trib_rec_set(&peer, INCARNATION, incarnation, 3);
    trib_rec_set(&peer, KIND_OF_PEER, kind_of_peer, kind);
    record(node, &peer);
}

/* An accepted update; an edge's tells the sums, of these hops. NULL: a device's. */
static void take(struct role_node *node, const char *name, const struct trib_u64s *hops) {
    struct trib_record r = {.kind = TRIB_REC_VERDICT, .payload = role_floats(ROLE_N, 1.0f)};
    trib_rec_set(&r, PEER, peer, role_text(name));
    trib_rec_set(&r, INCARNATION, incarnation, 3);
    trib_rec_set(&r, NUMBER, number, trib_state_peer(node->state, name, strlen(name))->last + 1);
    trib_rec_set(&r, VERDICT, verdict, TRIB_ACCEPTED);
    trib_rec_set(&r, SAMPLES, samples, 10);
    trib_rec_set(&r, WEIGHT, weight, 10);
    trib_rec_set(&r, APPLIED, applied, 1.0f);
    trib_rec_set(&r, NORM_ADD, norm_add, 1.0f);
    trib_rec_set(&r, RAW_BYTES, raw_bytes, 16);
    if (hops != NULL) {
        uint64_t sums[TRIB_HOP_NUMBERS] = {0};
        for (size_t i = 0; i < hops->count; i++) sums[i % TRIB_HOP_NUMBERS] += hops->items[i];
        trib_rec_set(&r, BELOW_UPDATES, below_updates, sums[0]);
        trib_rec_set(&r, BELOW_UP, below_up_bytes, sums[1]);
        trib_rec_set(&r, BELOW_DOWN, below_down_bytes, sums[2]);
        trib_rec_set(&r, BELOW_RAW, below_raw_bytes, sums[3]);
        if (hops->count > TRIB_HOP_NUMBERS) trib_rec_set(&r, HOPS, hops, *hops);
    }
    record(node, &r);
    trib_blob_unref(&r.payload);
}

static void commit(struct role_node *node) {
    struct trib_record r = {.kind = TRIB_REC_COMMIT};
    trib_rec_set(&r, VERSION, version, node->state->version + 1);
    trib_rec_set(&r, COMMITS, commits, node->state->commits + 1);
    trib_rec_set(&r, SCALE, scale, 1.0f);
    trib_rec_set(&r, UP_BYTES, up_bytes, OWN_UP);
    trib_rec_set(&r, DOWN_BYTES, down_bytes, OWN_DOWN);
    record(node, &r);
    (void)role_collect(node, true);
}

/* A state of what a checkpoint of this one holds has the same digest, and writes the same hops. */
static void through_a_checkpoint(const struct role_node *node) {
    struct memory_file file = {.at = 0};
    trib_buf_init(&file.buf, 0);
    struct trib_sink sink = memory_file_sink(&file);
    struct trib_feed feed = memory_file_feed(&file);
    struct trib_state *again;
    uint8_t before[TRIB_DIGEST_BYTES], after[TRIB_DIGEST_BYTES];
    assert_int_equal(trib_state_save(node->state, &sink, NULL), TRIB_OK);
    assert_int_equal(trib_state_new(TRIB_ROLE_EDGE, &node->state->limits, &again, NULL), TRIB_OK);
    assert_int_equal(trib_state_load(again, &feed, NULL), TRIB_OK);
    assert_int_equal(trib_state_digest(node->state, before), TRIB_OK);
    assert_int_equal(trib_state_digest(again, after), TRIB_OK);
    assert_memory_equal(before, after, sizeof before);
    assert_int_equal(again->hops != NULL, node->state->hops != NULL);
    if (again->hops != NULL) assert_memory_equal(again->hops, node->state->hops, sizeof *again->hops);
    trib_state_free(&again);
    trib_buf_release(&file.buf);
}

/* The next forward, whose hops add up. */
static struct trib_msg forwarded(struct role_node *node) {
    role_poll(node);
    struct trib_msg push = role_next(node, TRIB_PUSH)->msg;
    through_a_checkpoint(node);
    uint64_t sums[TRIB_HOP_NUMBERS] = {push.below_updates, push.below_up_bytes, push.below_down_bytes,
                                       push.below_raw_bytes};
    if (push.parts.count > 0) assert_true(trib_hops_add_up(&push.parts, sums));
    struct trib_msg ack = role_ack(5, push.number, TRIB_ACCEPTED);
    role_deliver(node, 0, NULL, &ack, NULL);
    return push;
}

static void expect_hops(const struct trib_msg *push, size_t hops, const uint64_t *numbers) {
    assert_int_equal(push->parts.count, hops * TRIB_HOP_NUMBERS);
    for (size_t i = 0; i < push->parts.count; i++)
        if (push->parts.items[i] != numbers[i])
            fail_msg("number %zu is %llu, expected %llu", i, (unsigned long long)push->parts.items[i],
                     (unsigned long long)numbers[i]);
}

static void test_one_hop_has_no_parts(void **unused) {
    (void)unused;
    struct role_node node;
    begin(&node, TRIB_PROTOCOL_NEWEST);
    join(&node, "d", TRIB_CHILD_DEVICE);
    take(&node, "d", NULL);
    commit(&node);
    struct trib_msg push = forwarded(&node);
    assert_int_equal(push.parts.count, 0);
    assert_int_equal(push.below_updates, 1);
    assert_int_equal(push.below_up_bytes, OWN_UP);
    assert_int_equal(push.below_raw_bytes, 16);
    role_rebuild(&node);
    role_stop(&node);
}

static void test_two_hops(void **unused) {
    (void)unused;
    struct role_node node;
    const struct trib_u64s below = {.count = 4, .items = {3, 300, 30, 48}};
    begin(&node, TRIB_PROTOCOL_NEWEST);
    join(&node, "e", TRIB_CHILD_EDGE);
    take(&node, "e", &below);
    commit(&node);
    struct trib_msg push = forwarded(&node);
    expect_hops(&push, 2, (const uint64_t[]){3, 300, 30, 48, 1, OWN_UP, OWN_DOWN, 16});
    /* What was taken before a forward and committed after it keeps its level. */
    take(&node, "e", &below);
    commit(&node);
    take(&node, "e", &below);
    push = forwarded(&node);
    expect_hops(&push, 2, (const uint64_t[]){6, 600, 60, 96, 1, OWN_UP, OWN_DOWN, 32});
    commit(&node);
    push = forwarded(&node);
    expect_hops(&push, 2, (const uint64_t[]){0, 0, 0, 0, 1, OWN_UP, OWN_DOWN, 0});
    role_rebuild(&node);
    role_stop(&node);
}

/* Devices of its own were there before the first edge was; branches are of different depth. */
static void test_mixed_children(void **unused) {
    (void)unused;
    struct role_node node;
    const struct trib_u64s flat = {.count = 4, .items = {3, 300, 30, 48}},
                           deep = {.count = 8, .items = {5, 500, 50, 80, 2, 20, 10, 32}};
    begin(&node, TRIB_PROTOCOL_NEWEST);
    join(&node, "d", TRIB_CHILD_DEVICE);
    join(&node, "flat", TRIB_CHILD_EDGE);
    join(&node, "deep", TRIB_CHILD_EDGE);
    take(&node, "d", NULL);
    commit(&node);
    take(&node, "deep", &deep);
    take(&node, "flat", &flat);
    take(&node, "d", NULL);
    commit(&node);
    struct trib_msg push = forwarded(&node);
    expect_hops(&push, 3,
                (const uint64_t[]){3 + 5 + 2, 800 + OWN_UP, 80 + OWN_DOWN, 128 + 16, 2, 20, 10, 32, 2, OWN_UP,
                                   OWN_DOWN, 48});
    role_rebuild(&node);
    role_stop(&node);
}

static void test_too_deep(void **unused) {
    (void)unused;
    struct role_node node;
    struct trib_u64s below = {.count = TRIB_HOPS_MAX * TRIB_HOP_NUMBERS};
    for (size_t i = 0; i < below.count; i++) below.items[i] = 7;
    begin(&node, TRIB_PROTOCOL_NEWEST);
    join(&node, "e", TRIB_CHILD_EDGE);
    take(&node, "e", &below);
    commit(&node);
    struct trib_msg push = forwarded(&node);
    assert_int_equal(push.parts.count, below.count);
    assert_int_equal(push.parts.items[below.count - 8], 7);
    assert_int_equal(push.parts.items[below.count - 4], 8); /* its own one and that of the edges below it */
    assert_int_equal(push.parts.items[below.count - 3], 7 + OWN_UP);
    role_rebuild(&node);
    role_stop(&node);
}

static void test_version_1_has_sums_alone(void **unused) {
    (void)unused;
    struct role_node node;
    const struct trib_u64s below = {.count = 4, .items = {3, 300, 30, 48}};
    begin(&node, TRIB_PROTOCOL_OLDEST);
    join(&node, "e", TRIB_CHILD_EDGE);
    take(&node, "e", &below);
    commit(&node);
    struct trib_msg push = forwarded(&node);
    assert_false(trib_msg_has(&push, PARTS));
    assert_int_equal(push.below_up_bytes, 300 + OWN_UP);
    assert_int_equal(role_last(&node, TRIB_REC_FORWARD)->hops.count, 8); /* its own ledger has them */
    role_stop(&node);
}

static void test_adding_up(void **unused) {
    (void)unused;
    const uint64_t sums[TRIB_HOP_NUMBERS] = {3, 4, 5, 6};
    struct trib_u64s hops = {.count = 8, .items = {1, 0, 5, 2, 2, 4, 0, 4}};
    assert_true(trib_hops_add_up(&hops, sums));
    hops.items[7]++;
    assert_false(trib_hops_add_up(&hops, sums));
    hops.items[7] -= 2;
    assert_false(trib_hops_add_up(&hops, sums));
    hops =
        (struct trib_u64s){.count = 8, .items = {UINT64_MAX, 0, 0, 0, 4, 4, 5, 6}}; /* 3, if it overflowed */
    assert_false(trib_hops_add_up(&hops, sums));
    hops = (struct trib_u64s){.count = 5, .items = {3, 4, 5, 6, 0}};
    assert_false(trib_hops_add_up(&hops, sums));
    hops = (struct trib_u64s){.count = (TRIB_HOPS_MAX + 1) * TRIB_HOP_NUMBERS, .items = {3, 4, 5, 6}};
    assert_false(trib_hops_add_up(&hops, sums));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_hop_has_no_parts),     cmocka_unit_test(test_two_hops),
        cmocka_unit_test(test_mixed_children),           cmocka_unit_test(test_too_deep),
        cmocka_unit_test(test_version_1_has_sums_alone), cmocka_unit_test(test_adding_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
