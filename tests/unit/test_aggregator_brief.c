/* What an update of protocol version 2 leaves out, as the parent role sees it: the digest of its base, and
 * the name of a codec that was chosen. Vectors are four floats. */
#include "tests/support/cmocka.h"
#include "tests/support/roles.h"

#include <stdio.h>
#include <string.h>

static void parent(struct role_node *node, enum trib_role role, const char *plan) {
    role_parent(node, (struct role_options){.role = role, .plan = plan, .with_seed = true});
}

static const struct trib_msg *welcomed(struct role_node *node, const struct trib_msg *hello) {
    role_deliver(node, 1, NULL, hello, NULL);
    return &role_next(node, TRIB_WELCOME)->msg;
}

static uint64_t base; /* the version that the child was given */

/* A child's session, in that version of the protocol, that has been given a model. */
static uint64_t join(struct role_node *node, uint64_t kind, uint64_t protocol) {
    struct trib_msg hello = role_hello("a", 11, 1);
    hello.kind = kind;
    hello.protocol_max = protocol;
    uint64_t session = welcomed(node, &hello)->session;
    base = role_pulled(node, session, NULL)->msg.to_version;
    return session;
}

static struct trib_blob *encoded(const struct trib_state *state, const char *spec) {
    static const float x[ROLE_N] = {1.0f, 0.3f, 0.17f, 0.05f};
    struct trib_codec *codec = NULL;
    struct trib_blob *blob = NULL;
    struct trib_source source = trib_source_floats(x, ROLE_N);
    assert_int_equal(trib_codec_new_for(spec, &state->schema, &codec, NULL), TRIB_OK);
    assert_int_equal(trib_codec_encode(codec, &source, &blob, NULL), TRIB_OK);
    trib_codec_free(&codec);
    return blob;
}

/* The verdict's reason; an accepted one is recorded with this codec. */
static uint64_t judged(struct role_node *node, struct trib_msg push, const char *spec) {
    struct trib_blob *payload = encoded(node->state, spec);
    role_deliver(node, 1, NULL, &push, payload);
    trib_blob_unref(&payload);
    const struct trib_msg *ack = &role_next(node, TRIB_ACK)->msg;
    if (ack->verdict == TRIB_REFUSED) return ack->reason;
    const struct trib_text *codec = &role_last(node, TRIB_REC_VERDICT)->codec;
    assert_int_equal(codec->size, strlen(spec));
    assert_memory_equal(codec->data, spec, codec->size);
    return TRIB_REASON_NONE;
}

static struct trib_msg chosen(uint64_t session, uint64_t number, uint64_t place) {
    struct trib_msg push = role_push(session, number, base);
    trib_msg_set(&push, KIND, kind, place);
    return push;
}

#define UP      "auto(min=int8, max=f32, loss=0)"
#define FORWARD "auto(min=int4, max=f16, loss=0)"

/* Each of the plan's for a child of its kind, at whatever tier; none beyond them. */
static void test_a_codec_by_its_place(void **unused) {
    (void)unused;
    static const struct {
        enum trib_role role;
        uint64_t child;
        const char *plan, *its;
    } cases[] = {{TRIB_ROLE_EDGE, TRIB_CHILD_DEVICE, "codec.up: " UP "\n", UP},
                 {TRIB_ROLE_CLOUD, TRIB_CHILD_DEVICE, "codec.up: " UP "\n", UP},
                 {TRIB_ROLE_CLOUD, TRIB_CHILD_EDGE, "codec.forward: " FORWARD "\n", FORWARD},
                 {TRIB_ROLE_CLOUD, TRIB_CHILD_DEVICE, "codec.up: " UP "\ncodec.forward: " FORWARD "\n", UP},
                 {TRIB_ROLE_EDGE, TRIB_CHILD_EDGE, "codec.up: " UP "\ncodec.forward: " FORWARD "\n", FORWARD},
                 {TRIB_ROLE_EDGE, TRIB_CHILD_DEVICE, "codec.up: int8\n", "int8"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct role_node node;
        char plan[400];
        (void)snprintf(plan, sizeof plan, "%sedge.rule: fedbuff(k=30)\ncloud.rule: fedbuff(k=30)\n",
                       cases[i].plan);
        parent(&node, cases[i].role, plan);
        uint64_t session = join(&node, cases[i].child, TRIB_PROTOCOL_NEWEST), number = 1;
        struct trib_ladder *ladder = NULL;
        assert_int_equal(trib_ladder_new(cases[i].its, &node.state->schema, &ladder, NULL), TRIB_OK);
        const size_t count = trib_ladder_count(ladder);
        assert_int_equal(count > 1, strncmp(cases[i].its, "auto", 4) == 0);
        for (size_t place = 0; place < count; place++) {
            const char *spec = trib_codec_spec(trib_ladder_codec(ladder, place));
            assert_int_equal(judged(&node, chosen(session, number++, place), spec), TRIB_REASON_NONE);
        }
        const char *top = trib_codec_spec(trib_ladder_top(ladder));
        assert_int_equal(judged(&node, chosen(session, number++, count), top), TRIB_REASON_CODEC);
        assert_int_equal(judged(&node, chosen(session, number++, UINT8_MAX), top), TRIB_REASON_CODEC);
        struct trib_msg push = chosen(session, number++, count); /* what is named in words counts */
        trib_msg_set(&push, CODEC, codec, role_text("bf16"));
        assert_int_equal(judged(&node, push, "bf16"), TRIB_REASON_NONE);
        trib_ladder_free(&ladder);
        role_rebuild(&node);
        role_stop(&node);
    }
}

/* Nothing of this is in version 1: what stands there is not looked at. */
static void test_version_1_has_no_places(void **unused) {
    (void)unused;
    struct role_node node;
    parent(&node, TRIB_ROLE_CLOUD, "cloud.rule: fedbuff(k=30)\ncodec.forward: " UP "\n");
    uint64_t session = join(&node, TRIB_CHILD_DEVICE, 1);
    struct trib_msg push = chosen(session, 1, 0);
    trib_msg_set(&push, REASON, reason, TRIB_CHOICE_ENERGY);
    struct trib_blob *payload = encoded(node.state, "f32"); /* the upper bound */
    role_deliver(&node, 1, NULL, &push, payload);
    trib_blob_unref(&payload);
    assert_int_equal(role_next(&node, TRIB_ACK)->msg.verdict, TRIB_ACCEPTED);
    assert_false(trib_rec_has(role_last(&node, TRIB_REC_VERDICT), CODEC));
    assert_int_equal(role_logged(&node, "codec_chosen"), 0);
    role_stop(&node);
}

static bool is_recorded(const struct role_node *node, const char *event) {
    for (size_t i = 0; i < node->record_count; i++) {
        const struct trib_record *r = node->records[i];
        if (r->kind == TRIB_REC_EVENT && r->text.size == strlen(event) &&
            memcmp(r->text.data, event, r->text.size) == 0)
            return true;
    }
    return false;
}

/* Why it is another than before goes into the ledger, once, with the codec. */
static void test_why_it_was_chosen(void **unused) {
    (void)unused;
    struct role_node node;
    parent(&node, TRIB_ROLE_EDGE, "edge.rule: fedbuff(k=30)\ncodec.up: " UP "\n");
    uint64_t session = join(&node, TRIB_CHILD_DEVICE, TRIB_PROTOCOL_NEWEST);
    struct trib_msg push = chosen(session, 1, 0);
    trib_msg_set(&push, REASON, reason, TRIB_CHOICE_UNMEASURED);
    for (int i = 0; i < 2; i++) { /* the second time its verdict is repeated */
        assert_int_equal(judged(&node, push, "int8"), TRIB_REASON_NONE);
        assert_int_equal(role_logged(&node, "codec_chosen"), 1);
    }
    assert_true(is_recorded(&node, "peer=a number=1 codec=\"int8\" reason=unmeasured"));
    push = chosen(session, 2, 0);
    assert_int_equal(judged(&node, push, "int8"), TRIB_REASON_NONE);
    assert_int_equal(role_logged(&node, "codec_chosen"), 1); /* it is the same as before */
    push = chosen(session, 3, 0);
    trib_msg_set(&push, REASON, reason, UINT8_MAX); /* of a later version */
    assert_int_equal(judged(&node, push, "int8"), TRIB_REASON_NONE);
    assert_int_equal(role_logged(&node, "codec_chosen"), 2);
    role_stop(&node);
}

/* A base without a digest is what HELLO said of that number, and else what was given here. */
static void test_a_base_that_hello_told(void **unused) {
    (void)unused;
    enum { NOTHING, HELD, OTHER_HELD, BASE, OTHER_BASE, ELSEWHERE, CASES };
    for (int i = 0; i < 2 * CASES; i++) {
        const int told = i % CASES;
        const bool first = i >= CASES; /* version 1 of the protocol */
        struct role_node node;
        parent(&node, TRIB_ROLE_CLOUD, "cloud.rule: fedbuff(k=30)\n");
        uint64_t session = join(&node, TRIB_CHILD_DEVICE, TRIB_PROTOCOL_NEWEST);
        uint8_t chain[TRIB_DIGEST_BYTES], wrong[TRIB_DIGEST_BYTES] = {0};
        memcpy(chain, role_pulled(&node, session, NULL)->msg.to_digest, sizeof chain);
        struct trib_msg hello = role_hello("a", 11, 1);
        if (first) hello.protocol_max = 1;
        if (told != NOTHING) {
            trib_msg_set(&hello, HELD_VERSION, held_version, 0);
            memcpy(hello.held_digest, told == HELD || told == OTHER_BASE ? chain : wrong, sizeof chain);
            hello.present |= (uint64_t)1 << TRIB_F_HELD_DIGEST;
        }
        if (told == BASE || told == OTHER_BASE || told == ELSEWHERE) {
            trib_msg_set(&hello, BASE_VERSION, base_version, told == ELSEWHERE ? 7 : 0);
            memcpy(hello.base_digest, told == BASE ? chain : wrong, sizeof hello.base_digest);
            hello.present |= (uint64_t)1 << TRIB_F_BASE_DIGEST;
        }
        session = welcomed(&node, &hello)->session;
        const bool bad = !first && (told == OTHER_HELD || told == OTHER_BASE);
        assert_int_equal(role_update(&node, 1, role_push(session, 1, 0), 1.0f)->verdict,
                         bad ? TRIB_REFUSED : TRIB_ACCEPTED);
        if (bad) assert_int_equal(role_last(&node, TRIB_REC_VERDICT)->reason, TRIB_REASON_BASE);
        struct trib_msg push = role_push(session, 2, 0); /* what it says itself counts */
        memcpy(push.base_digest, chain, sizeof push.base_digest);
        push.present |= (uint64_t)1 << TRIB_F_BASE_DIGEST;
        assert_int_equal(role_update(&node, 1, push, 1.0f)->verdict, TRIB_ACCEPTED);
        role_stop(&node);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_codec_by_its_place),
        cmocka_unit_test(test_version_1_has_no_places),
        cmocka_unit_test(test_why_it_was_chosen),
        cmocka_unit_test(test_a_base_that_hello_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
