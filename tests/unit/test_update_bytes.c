/* What an update of a device costs on the wire beyond its payload: at most 64 bytes, the preamble, the
 * checksum and ZMTP's framing of the two frames included, with a session of 32 bits, numbers, versions,
 * samples and weights up to 65,535, and any steps and losses. */
#include "tests/support/cmocka.h"
#include "tests/support/roles.h"

#include "shared/wire/transfer.h"

#include <string.h>

enum { PARENT = 70, MOST = 64 };

/* Four values have 8 bytes as int8, 16 as floats. */
#define AUTO  "auto(min=int8, max=f32, loss=0)"
#define OTHER "codec.forward: f32\ncodec.down: f32\ncodec.global: f32\n"
static const char plain[] = "codec.up: f32\n" OTHER, adaptive[] = "codec.up: " AUTO "\n" OTHER;

static const char *plan;

static void say(struct role_node *node, const struct trib_msg *msg) {
    role_deliver(node, 0, NULL, msg, NULL);
}

/* A connection, up to WELCOME; HELLO is given back. */
static struct trib_msg join(struct role_node *node) {
    trib_participant_connected(node->participant, node->now_ms);
    (void)role_collect(node, true);
    struct trib_msg hello = role_next(node, TRIB_HELLO)->msg;
    struct trib_msg welcome = role_welcome(UINT32_MAX, PARENT, 0);
    welcome.plan = role_text(plan);
    say(node, &welcome);
    return hello;
}

static void give(struct role_node *node, uint64_t version) {
    struct trib_blob *values = role_floats(ROLE_N, (float)version);
    struct trib_msg model = role_snapshot_model(UINT32_MAX, version, values);
    role_deliver(node, 0, NULL, &model, values);
    trib_blob_unref(&values);
    node->read = node->sent_count;
}

/* A device that trains on version 1. */
static void begin(struct role_node *node, const char *codecs) {
    plan = codecs;
    role_child(node, (struct role_options){.role = TRIB_ROLE_DEVICE});
    role_poll(node);
    (void)join(node);
    give(node, 1);
    assert_int_equal(node->trains, 1);
}

static void submit(struct role_node *node, uint64_t weight) {
    static const float x[ROLE_N] = {1.0f, 0.3f, 0.17f, 0.05f};
    struct trib_submission work = {.difference = x,
                                   .base_version = node->state->parent_version,
                                   .parent_incarnation = node->state->parent_incarnation,
                                   .samples = 60000,
                                   .weight = weight,
                                   .steps = 937.5f,
                                   .loss = 0.7f};
    trib_participant_submit(node->participant, node->now_ms, &work);
    (void)role_collect(node, true);
}

static struct trib_msg pushed(struct role_node *node) {
    role_poll(node);
    for (const struct role_sent *s; (s = role_peek(node)) != NULL;)
        if (s->msg.type == TRIB_PUSH) return s->msg;
    fail_msg("no update was sent");
    return (struct trib_msg){0};
}

/* Of the message with the largest numbers. */
static size_t bytes_of(struct trib_msg msg) {
    struct trib_buf frame;
    assert_int_equal(msg.version, TRIB_PROTOCOL_BRIEF);
    msg.number = msg.base_version = 65535;
    trib_buf_init(&frame, 0);
    trib_msg_encode(&msg, &frame);
    const size_t bytes = trib_zmtp_bytes(frame.size, 1000) - 1000;
    trib_buf_release(&frame);
    assert_true(trib_msg_has(&msg, PAYLOAD_CRC) && !trib_msg_has(&msg, BASE_DIGEST));
    assert_in_range(bytes, 1, MOST);
    return bytes;
}

static void accept(struct role_node *node, uint64_t ms) {
    node->now_ms += ms;
    struct trib_msg accepted = role_ack(UINT32_MAX, node->state->next_number - 1, TRIB_ACCEPTED);
    say(node, &accepted);
    role_poll(node);
    give(node, node->state->parent_version + 1);
}

static void test_one_session(void **unused) {
    (void)unused;
    struct role_node node;
    begin(&node, plain);
    submit(&node, 60000);
    assert_int_equal(bytes_of(pushed(&node)), 56);
    accept(&node, 1);
    submit(&node, 30000); /* two epochs */
    assert_int_equal(bytes_of(pushed(&node)), 60);
    role_stop(&node);
}

/* The codec by its place, and why where it is another than before. */
static void test_a_codec_that_was_chosen(void **unused) {
    (void)unused;
    static const struct {
        uint64_t weight, ms; /* until its verdict */
        size_t bytes, place;
        enum trib_choice why;
    } updates[] = {{60000, 100, 60, 0, TRIB_CHOICE_UNMEASURED}, /* then 80 bytes a second */
                   {30000, 1, 64, 2, TRIB_CHOICE_ENERGY},
                   {60000, 1, 58, 2, TRIB_CHOICE_ONLY},
                   {30000, 1, 62, 2, TRIB_CHOICE_ONLY}};
    struct role_node node;
    begin(&node, adaptive);
    for (size_t i = 0; i < sizeof updates / sizeof *updates; i++) {
        submit(&node, updates[i].weight);
        struct trib_msg push = pushed(&node);
        assert_int_equal(bytes_of(push), updates[i].bytes);
        assert_false(trib_msg_has(&push, CODEC));
        assert_int_equal(push.kind, updates[i].place);
        assert_int_equal(trib_msg_has(&push, REASON), updates[i].why != TRIB_CHOICE_ONLY);
        assert_int_equal(push.reason, updates[i].why);
        accept(&node, updates[i].ms);
    }
    role_stop(&node);
}

/* What it started from came over another connection: HELLO has it, be it the model that is held, what is
 * trained on though it was not, or an update's. */
static void test_another_session(void **unused) {
    (void)unused;
    enum { TRAINS, TRAINS_UNTOLD, SENT, CASES };
    for (int i = 0; i < 2 * CASES; i++) {
        struct role_node node;
        begin(&node, i < CASES ? plain : adaptive);
        const int when = i % CASES;
        uint8_t base[4];
        memcpy(base, node.state->parent_chain, sizeof base);
        if (when == TRAINS_UNTOLD) { /* what it holds is of no use, its parent says */
            struct trib_msg error = role_message(TRIB_ERROR, UINT32_MAX);
            trib_msg_set(&error, CODE, code, TRIB_CODE_SCHEMA);
            say(&node, &error);
        }
        if (when == SENT) {
            submit(&node, 30000);
            (void)bytes_of(pushed(&node));
        }
        struct trib_msg hello = join(&node);
        assert_int_equal(trib_msg_has(&hello, HELD_DIGEST), when != TRAINS_UNTOLD);
        assert_int_equal(trib_msg_has(&hello, BASE_DIGEST), when == TRAINS_UNTOLD);
        if (when == TRAINS_UNTOLD) {
            assert_int_equal(hello.base_version, 1);
            assert_memory_equal(hello.base_digest, base, sizeof base);
        }
        if (when != SENT) submit(&node, 30000);
        struct trib_msg push = pushed(&node);
        assert_int_equal(push.base_version, 1);
        (void)bytes_of(push);
        role_stop(&node);
    }
}

/* A newer model comes before the verdict, and then another connection: HELLO has what is held, and what the
 * update started from. */
static void test_an_update_of_another_version_than_is_held(void **unused) {
    (void)unused;
    struct role_node node;
    begin(&node, plain);
    submit(&node, 30000);
    uint8_t base[4];
    memcpy(base, node.state->parent_chain, sizeof base);
    (void)bytes_of(pushed(&node));
    give(&node, 2);
    node.now_ms += 10000;
    (void)bytes_of(pushed(&node)); /* again, in the session that both were given in */
    struct trib_msg hello = join(&node);
    assert_int_equal(hello.held_version, 2);
    assert_int_equal(hello.base_version, 1);
    assert_true(trib_msg_has(&hello, BASE_DIGEST));
    assert_memory_equal(hello.base_digest, base, sizeof base);
    (void)bytes_of(pushed(&node));
    role_stop(&node);
}

/* The parent lost what it had said, and gave this number to something else: an update is of one of the two.
 */
static void test_two_versions_of_one_number(void **unused) {
    (void)unused;
    struct role_node node;
    begin(&node, plain);
    submit(&node, 60000);
    (void)pushed(&node);
    (void)join(&node);
    (void)bytes_of(pushed(&node)); /* of the one that HELLO told of */
    struct trib_msg refused = role_ack(UINT32_MAX, 1, TRIB_REFUSED);
    say(&node, &refused);
    role_poll(&node);
    struct trib_blob *values = role_floats(ROLE_N, 5.0f);
    struct trib_msg model = role_snapshot_model(UINT32_MAX, 1, values);
    model.to_digest[0] ^= 1;
    role_deliver(&node, 0, NULL, &model, values);
    trib_blob_unref(&values);
    submit(&node, 60000);
    struct trib_msg push = pushed(&node);
    assert_true(trib_msg_has(&push, BASE_DIGEST));
    assert_memory_equal(push.base_digest, model.to_digest, sizeof push.base_digest);
    role_stop(&node);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_session),
        cmocka_unit_test(test_a_codec_that_was_chosen),
        cmocka_unit_test(test_another_session),
        cmocka_unit_test(test_an_update_of_another_version_than_is_held),
        cmocka_unit_test(test_two_versions_of_one_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
