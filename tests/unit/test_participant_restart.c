/* A device that is started again from its spool: who it says it is, what it sends again, and what it drops.
 * The spool is the real one, on a disk in memory. */
#include "shared/base/alloc.h"
#include "shared/store/spool.h"
#include "tests/support/cmocka.h"
#include "tests/support/roles.h"
#include "tests/support/simfs.h"

#include <string.h>

enum { PARENT = 70 };

static struct simfs *disk;
static struct trib_spool *spool;

static int setup(void **unused) {
    (void)unused;
    disk = simfs_new(1);
    struct trib_spool_options options = {.folder = "/spool", .files = simfs_files(disk)};
    return trib_spool_open(&options, &spool, NULL) != TRIB_OK;
}

static int teardown(void **unused) {
    (void)unused;
    trib_spool_close(&spool);
    simfs_free(&disk);
    return 0;
}

static void say(struct role_node *node, const struct trib_msg *msg) {
    role_deliver(node, 0, NULL, msg, NULL);
}

static const char topk[] =
    "codec.up: topk(0.25)+f32\ncodec.down: f32\ncodec.forward: f32\ncodec.global: f32\n";

/* A device that has version 0 and has trained on it; its codec keeps one value of four. */
static void begin(struct role_node *node) {
    role_child(node, (struct role_options){.role = TRIB_ROLE_DEVICE});
    role_poll(node);
    trib_participant_connected(node->participant, node->now_ms);
    (void)role_collect(node, true);
    (void)role_next(node, TRIB_HELLO);
    struct trib_msg welcome = role_welcome(5, PARENT, 0);
    welcome.plan = role_text(topk);
    say(node, &welcome);
    role_poll(node);
    (void)role_next(node, TRIB_PULL);
    struct trib_msg seed = role_seed_model(5);
    say(node, &seed);
    assert_int_equal(node->trains, 1);
    role_submit(node, 0.5f);
    assert_int_equal(node->state->held_count, 1);
}

static void save(const struct role_node *node, bool with_model) {
    assert_int_equal(trib_spool_save(spool, "d", node->state, with_model, NULL), TRIB_OK);
}

/* kill -9, and a new process. */
static void restart(struct role_node *node) {
    struct trib_state *state;
    struct trib_state_limits limits = {0};
    role_stop(node);
    assert_int_equal(trib_state_new(TRIB_ROLE_DEVICE, &limits, &state, NULL), TRIB_OK);
    assert_int_equal(trib_spool_load(spool, "d", state, NULL), TRIB_OK);
    role_resume(node, (struct role_options){.participant = {.seed = 99}}, state);
}

/* Connects and says HELLO, which is given back. */
static const struct role_sent *hello(struct role_node *node) {
    role_poll(node);
    trib_participant_connected(node->participant, node->now_ms);
    (void)role_collect(node, true);
    return role_next(node, TRIB_HELLO);
}

static void welcome(struct role_node *node, uint64_t session, uint64_t parent, uint64_t last) {
    struct trib_msg msg = role_welcome(session, parent, last);
    msg.plan = role_text(topk);
    say(node, &msg);
    role_poll(node);
}

/* What is of use again after a restart: the update with its number and bytes. */
static void test_the_update_is_sent_again(void **unused) {
    (void)unused;
    struct role_node node;
    begin(&node);
    role_poll(&node);
    const struct role_sent *push = role_next(&node, TRIB_PUSH);
    struct trib_msg before = push->msg;
    uint8_t base[4];
    memcpy(base, node.state->parent_chain, sizeof base);
    struct trib_blob *bytes = trib_blob_ref(push->payload);
    uint64_t incarnation = node.state->incarnation;
    save(&node, false);
    restart(&node);
    const struct role_sent *again = hello(&node);
    assert_int_equal(again->msg.incarnation, incarnation);
    assert_int_equal(again->msg.next_number, 2);
    assert_int_equal(again->msg.parent_incarnation, PARENT);
    assert_false(trib_msg_has(&again->msg, HELD_VERSION)); /* the model was not kept */
    assert_int_equal(again->msg.base_version, before.base_version);
    assert_memory_equal(again->msg.base_digest, base, sizeof base);
    welcome(&node, 6, PARENT, 0);
    push = role_next(&node, TRIB_PUSH);
    assert_int_equal(push->msg.number, 1);
    assert_int_equal(push->msg.base_version, before.base_version);
    assert_false(trib_msg_has(&push->msg, BASE_DIGEST)); /* HELLO has it */
    assert_int_equal(push->msg.samples, before.samples);
    assert_int_equal(trib_blob_size(push->payload), trib_blob_size(bytes));
    assert_memory_equal(trib_blob_data(push->payload), trib_blob_data(bytes), trib_blob_size(bytes));
    role_silent(&node); /* no model is asked for before its verdict */
    struct trib_msg ack = role_ack(6, 1, TRIB_ACCEPTED);
    say(&node, &ack);
    role_poll(&node);
    const struct role_sent *pull = role_next(&node, TRIB_PULL);
    assert_false(trib_msg_has(&pull->msg, HELD_VERSION));
    assert_int_equal(node.trains, 0);
    struct trib_msg seed = role_seed_model(6);
    say(&node, &seed);
    assert_int_equal(node.trains, 1);
    role_submit(&node, 0.5f);
    role_poll(&node);
    assert_int_equal(role_next(&node, TRIB_PUSH)->msg.number, 2);
    trib_blob_unref(&bytes);
    role_stop(&node);
}

/* An update in a codec that was chosen for it comes back in that one. */
static void test_a_chosen_codec_is_kept(void **unused) {
    (void)unused;
    static const char adaptive[] = "codec.up: auto(min=int8, max=f32, loss=0)\ncodec.down: f32\n"
                                   "codec.forward: f32\ncodec.global: f32\n";
    struct role_node node;
    role_child(&node, (struct role_options){.role = TRIB_ROLE_DEVICE});
    (void)hello(&node);
    struct trib_msg msg = role_welcome(5, PARENT, 0), seed = role_seed_model(5);
    msg.plan = role_text(adaptive);
    say(&node, &msg);
    say(&node, &seed);
    role_submit(&node, 0.3f);
    assert_int_equal(node.state->held_count, 1);
    struct trib_blob *bytes = trib_blob_ref(node.state->held[0].payload);
    save(&node, false);
    restart(&node);
    assert_int_equal(node.state->held_count, 1);
    assert_int_equal(node.state->held[0].rung, 0);
    (void)hello(&node);
    msg = role_welcome(6, PARENT, 0);
    msg.plan = role_text(adaptive);
    say(&node, &msg);
    role_poll(&node);
    const struct role_sent *push = role_next(&node, TRIB_PUSH);
    assert_true(trib_msg_has(&push->msg, KIND));
    assert_int_equal(push->msg.kind, 0);
    assert_false(trib_msg_has(&push->msg, REASON)); /* that was not kept */
    assert_int_equal(trib_blob_size(push->payload), trib_blob_size(bytes));
    assert_memory_equal(trib_blob_data(push->payload), trib_blob_data(bytes), trib_blob_size(bytes));
    trib_blob_unref(&bytes);
    role_stop(&node);
}

static void test_a_model_that_was_kept_is_named(void **unused) {
    (void)unused;
    struct role_node node;
    begin(&node);
    save(&node, true);
    restart(&node);
    const struct role_sent *again = hello(&node);
    assert_true(trib_msg_has(&again->msg, HELD_VERSION));
    assert_memory_equal(again->msg.held_digest, node.state->parent_chain, TRIB_DIGEST_BYTES);
    role_stop(&node);
}

/* The verdict was lost with the process: it is asked for, without the bytes. */
static void test_the_verdict_is_asked_for(void **unused) {
    (void)unused;
    struct role_node node;
    begin(&node);
    save(&node, false);
    uint64_t crc = node.state->held[0].payload_crc, size = trib_blob_size(node.state->held[0].payload);
    restart(&node);
    (void)hello(&node);
    welcome(&node, 6, PARENT, 1);
    const struct role_sent *push = role_next(&node, TRIB_PUSH);
    assert_int_equal(push->msg.number, 1);
    assert_null(push->payload);
    assert_int_equal(push->msg.payload_bytes, size);
    assert_int_equal(push->msg.payload_crc, crc);
    struct trib_msg ack = role_ack(6, 1, TRIB_REFUSED);
    say(&node, &ack);
    assert_int_equal(node.state->held_count, 0);
    role_stop(&node);
}

/* The same at the parent: a question without bytes gets the verdict, or CONFLICT if it is about other ones.
 */
static void test_a_parent_repeats_without_the_bytes(void **unused) {
    (void)unused;
    struct role_node parent;
    role_parent(&parent,
                (struct role_options){.role = TRIB_ROLE_CLOUD, .plan = "cloud.rule: fedbuff(k=5)\n"});
    uint64_t session = role_join(&parent, 1, "d", 3);
    (void)role_pulled(&parent, session, NULL);
    struct trib_blob *blob = role_floats(ROLE_N, 1.0f);
    const struct trib_msg *ack = role_update(&parent, 1, role_push(session, 1, 0), 1.0f);
    assert_int_equal(ack->verdict, TRIB_ACCEPTED);
    uint64_t accepted = parent.state->total.accepted;
    session = role_join(&parent, 2, "d", 3);
    struct trib_msg question = role_offer(session, 1, 0, blob);
    role_deliver(&parent, 2, NULL, &question, NULL);
    ack = &role_next(&parent, TRIB_ACK)->msg;
    assert_int_equal(ack->number, 1);
    assert_int_equal(ack->verdict, TRIB_ACCEPTED);
    question.payload_crc++;
    role_deliver(&parent, 2, NULL, &question, NULL);
    (void)role_error(&parent, TRIB_CODE_CONFLICT);
    assert_int_equal(parent.state->total.accepted, accepted);
    trib_blob_unref(&blob);
    role_stop(&parent);
}

/* Restored from an older copy: the parent knows numbers that this spool has not issued. */
static void test_an_older_copy_is_somebody_else(void **unused) {
    (void)unused;
    struct role_node node;
    begin(&node);
    save(&node, false);
    uint64_t before = node.state->incarnation;
    restart(&node);
    (void)hello(&node);
    welcome(&node, 6, PARENT, 4);
    assert_int_equal(role_logged(&node, "incarnation_new"), 1);
    assert_int_equal(node.state->held_count, 0);
    assert_true(node.state->own[0] == 0 && node.state->own[3] == 0);
    role_wait(&node, 1000);
    const struct role_sent *again = hello(&node);
    assert_true(again->msg.incarnation != before && again->msg.incarnation != 0);
    assert_int_equal(again->msg.next_number, 1);
    role_stop(&node);
}

/* Another edge, or its edge with a new store: what the old one did not acknowledge is no business of this
 * one. */
static void test_another_parent_gets_nothing_of_the_old_one(void **unused) {
    (void)unused;
    struct role_node node;
    begin(&node);
    save(&node, true);
    uint64_t before = node.state->incarnation;
    restart(&node);
    (void)hello(&node);
    welcome(&node, 6, PARENT + 1, 0);
    assert_int_equal(node.state->held_count, 0);
    assert_false(node.state->has_model);
    assert_true(node.state->own[0] == 0 && node.state->own[3] == 0);
    const struct role_sent *pull = role_next(&node, TRIB_PULL);
    assert_false(trib_msg_has(&pull->msg, HELD_VERSION));
    role_silent(&node);
    struct trib_msg seed = role_seed_model(6);
    say(&node, &seed);
    role_submit(&node, 0.5f);
    role_poll(&node);
    const struct role_sent *push = role_next(&node, TRIB_PUSH);
    assert_int_equal(push->msg.number, 2); /* its numbers go on, wherever they go */
    assert_int_equal(node.state->incarnation, before);
    role_stop(&node);
}

/* The residual and the numbering of one that was killed are those of one that was not, to the bit. */
static void test_the_residual_goes_on(void **unused) {
    (void)unused;
    struct trib_blob *bytes[2] = {NULL, NULL};
    for (int killed = 0; killed < 2; killed++) {
        struct role_node node;
        begin(&node);
        role_poll(&node);
        (void)role_next(&node, TRIB_PUSH);
        save(&node, false);
        if (killed) {
            restart(&node);
            (void)hello(&node);
            welcome(&node, 5, PARENT, 0);
            (void)role_next(&node, TRIB_PUSH);
        }
        struct trib_msg ack = role_ack(5, 1, TRIB_ACCEPTED), seed = role_seed_model(5);
        say(&node, &ack);
        role_poll(&node);
        (void)role_next(&node, TRIB_PULL);
        say(&node, &seed);
        role_submit(&node, 0.25f);
        role_poll(&node);
        const struct role_sent *push = role_next(&node, TRIB_PUSH);
        assert_int_equal(push->msg.number, 2);
        bytes[killed] = trib_blob_ref(push->payload);
        role_stop(&node);
    }
    assert_int_equal(trib_blob_size(bytes[0]), trib_blob_size(bytes[1]));
    assert_memory_equal(trib_blob_data(bytes[0]), trib_blob_data(bytes[1]), trib_blob_size(bytes[0]));
    for (int i = 0; i < 2; i++) trib_blob_unref(&bytes[i]);
}

/* A rollback while the device was off: what its codec left over of an abandoned version is void. */
static void test_a_fence_is_crossed_without_a_model(void **unused) {
    (void)unused;
    for (uint64_t fence = 0; fence <= 2; fence += 2) {
        struct role_node node;
        begin(&node);
        struct trib_msg ack = role_ack(5, 1, TRIB_ACCEPTED);
        say(&node, &ack);
        assert_true(node.state->own[3] != 0);
        save(&node, false);
        restart(&node);
        (void)hello(&node);
        welcome(&node, 6, PARENT, 1);
        (void)role_next(&node, TRIB_PULL);
        struct trib_blob *values = role_floats(ROLE_N, 2.0f);
        struct trib_msg model = role_snapshot_model(6, 3, values);
        model.fence = fence;
        role_deliver(&node, 0, NULL, &model, values);
        trib_blob_unref(&values);
        assert_int_equal(node.state->own[3] != 0, fence == 0);
        role_stop(&node);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {T(test_a_chosen_codec_is_kept),
                                       T(test_the_update_is_sent_again),
                                       T(test_a_model_that_was_kept_is_named),
                                       T(test_the_verdict_is_asked_for),
                                       T(test_a_parent_repeats_without_the_bytes),
                                       T(test_an_older_copy_is_somebody_else),
                                       T(test_another_parent_gets_nothing_of_the_old_one),
                                       T(test_the_residual_goes_on),
                                       T(test_a_fence_is_crossed_without_a_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
