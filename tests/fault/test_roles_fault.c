/* Memory that runs out under the roles, at every allocation of every step of a whole conversation. Either the
 * role says so (its outbox has failed, and a state made again of what it had written goes on), or it goes on
 * itself and nothing is lost: no update is refused, no run ended, nothing voided for want of memory. */
#include "tests/support/cmocka.h"

#include "shared/base/alloc.h"
#include "tests/support/roles.h"

#include <stdio.h>
#include <string.h>

/* Where memory runs out: in step `at`, after `allocations` more. */
struct trap {
    size_t at, step;
    long allocations;
    bool sprung, reached;
};

struct talk {
    struct role_node node;
    struct trap trap;
};

static void arm(struct trap *trap) {
    if (trap->step++ != trap->at) return;
    trap->reached = true;
    trib_alloc_fail_after(trap->allocations);
}

/* Off again; the trap was sprung if there is nothing left to count down. */
static void disarm(struct trap *trap) {
    if (trap->step != trap->at + 1) return;
    void *probe = trib_alloc(1);
    trap->sprung = trap->sprung || probe == NULL;
    trib_free(probe);
    trib_alloc_fail_after(-1);
}

/* false: the role has failed, and the conversation ends. */
static bool deliver(struct talk *talk, trib_child_route route, const struct trib_msg *msg,
                    struct trib_blob *payload) {
    struct role_node *node = &talk->node;
    struct trib_buf frame;
    trib_buf_init(&frame, 0);
    trib_msg_encode(msg, &frame);
    arm(&talk->trap);
    if (node->aggregator != NULL)
        trib_aggregator_message(node->aggregator, node->now_ms, route, NULL, frame.data, frame.size, payload);
    else
        trib_participant_message(node->participant, node->now_ms, frame.data, frame.size, payload);
    disarm(&talk->trap);
    trib_buf_release(&frame);
    return role_collect(node, false);
}

static bool turn(struct talk *talk, uint64_t ms) {
    struct role_node *node = &talk->node;
    node->now_ms += ms;
    arm(&talk->trap);
    if (node->aggregator != NULL)
        (void)trib_aggregator_poll(node->aggregator, node->now_ms);
    else
        (void)trib_participant_poll(node->participant, node->now_ms);
    disarm(&talk->trap);
    return role_collect(node, false);
}

/* The newest message of a type that was sent, or NULL. */
static const struct trib_msg *said(const struct talk *talk, uint8_t type) {
    for (size_t i = talk->node.sent_count; i > 0; i--)
        if (talk->node.sent[i - 1]->msg.type == type) return &talk->node.sent[i - 1]->msg;
    return NULL;
}

/* ---- the parent's side ---- */

static bool child_joins(struct talk *talk, trib_child_route route, const char *name, uint64_t *session) {
    struct trib_msg hello = role_hello(name, route + 10, 1);
    for (int again = 0; again < 2; again++) { /* a HELLO that was not answered well is said again */
        if (!deliver(talk, route, &hello, NULL)) return false;
        const struct trib_msg *last = &talk->node.sent[talk->node.sent_count - 1]->msg;
        if (last->type == TRIB_WELCOME) break;
    }
    const struct trib_msg *welcome = said(talk, TRIB_WELCOME);
    assert_non_null(welcome);
    assert_true(welcome->schema.size > 0 && welcome->plan.size > 0);
    *session = welcome->session;
    return true;
}

static bool child_pulls(struct talk *talk, trib_child_route route, uint64_t session) {
    struct trib_msg pull = role_pull(session, NULL);
    trib_msg_set(&pull, CREDIT, credit, 8); /* less than a snapshot: it comes in pieces */
    return deliver(talk, route, &pull, NULL);
}

static bool child_pushes(struct talk *talk, trib_child_route route, struct trib_msg push, const char *codec) {
    struct trib_blob *payload = role_floats(ROLE_N, 0.5f);
    if (codec != NULL) trib_msg_set(&push, CODEC, codec, role_text(codec));
    bool good = deliver(talk, route, &push, payload);
    if (good) good = deliver(talk, route, &push, payload); /* and again, if the first time came to nothing */
    trib_blob_unref(&payload);
    return good;
}

static bool child_offers(struct talk *talk, trib_child_route route, uint64_t session, uint64_t number,
                         uint64_t base) {
    struct trib_blob *payload = role_floats(ROLE_N, 0.5f);
    struct trib_msg offer = role_offer(session, number, base, payload),
                    chunk = role_chunk(session, number, 0);
    bool good = deliver(talk, route, &offer, NULL) && deliver(talk, route, &chunk, payload) &&
                deliver(talk, route, &offer, NULL) && deliver(talk, route, &chunk, payload);
    trib_blob_unref(&payload);
    return good;
}

static bool child_takes_pieces(struct talk *talk, trib_child_route route, uint64_t session) {
    const struct trib_msg *model = said(talk, TRIB_MODEL);
    struct trib_msg credit = role_message(TRIB_CREDIT, session);
    trib_msg_set(&credit, NUMBER, number, model != NULL ? model->to_version : 0);
    trib_msg_set(&credit, OFFSET, offset, 0);
    trib_msg_set(&credit, CHUNK_BYTES, chunk_bytes, 16384);
    trib_msg_set(&credit, WINDOW_BYTES, window_bytes, 65536);
    return deliver(talk, route, &credit, NULL);
}

static bool parent_talk(struct talk *talk) {
    uint64_t a, b;
    if (!child_joins(talk, 1, "a", &a) || !child_joins(talk, 2, "b", &b)) return false;
    if (!child_pulls(talk, 1, a) || !turn(talk, 10) || !child_pulls(talk, 1, a)) return false;
    uint64_t base = talk->node.state->published;
    if (!child_pushes(talk, 1, role_push(a, 1, base), NULL) ||
        !child_pushes(talk, 2, role_push(b, 1, base), "f32"))
        return false;
    if (!turn(talk, 1000) || !child_pulls(talk, 1, a) || !child_pulls(talk, 2, b)) return false;
    if (!child_takes_pieces(talk, 1, a)) return false;
    base = talk->node.state->published;
    if (!child_offers(talk, 1, a, 2, base) || !child_pushes(talk, 2, role_push(b, 2, base), NULL))
        return false;
    struct trib_msg noise = role_message(TRIB_WAIT, a);
    trib_msg_set(&noise, WAIT_MS, wait_ms, 1);
    if (!deliver(talk, 1, &noise, NULL) || !turn(talk, 1000) || !child_pulls(talk, 1, a)) return false;
    return turn(talk, 200 * 1000);
}

/* ---- the child's side ---- */

static bool meets_parent(struct talk *talk, uint64_t session, uint64_t parent) {
    struct role_node *node = &talk->node;
    struct trib_msg welcome = role_welcome(session, parent, 0);
    for (int again = 0; again < 4 && !trib_participant_status(node->participant).ready; again++) {
        if (!turn(talk, 100 * 1000)) return false;
        arm(&talk->trap);
        trib_participant_connected(node->participant, node->now_ms);
        disarm(&talk->trap);
        if (!role_collect(node, false) || !deliver(talk, 0, &welcome, NULL)) return false;
        if (node->state->role == TRIB_ROLE_EDGE && !deliver(talk, 0, &welcome, NULL)) return false;
    }
    assert_true(trib_participant_status(node->participant).ready);
    return true;
}

/* Until it is taken, for one that did not fit into memory is asked for again. */
static bool gets_model(struct talk *talk, const struct trib_msg *model, struct trib_blob *payload,
                       bool in_pieces) {
    struct trib_msg chunk = role_chunk(model->session, model->to_version, 0), offer = *model;
    if (in_pieces) {
        trib_msg_set(&offer, PAYLOAD_BYTES, payload_bytes, trib_blob_size(payload));
        trib_msg_set(&offer, PAYLOAD_CRC, payload_crc, role_crc(payload));
    }
    for (int again = 0; again < 2; again++) {
        if (!turn(talk, 300) || !deliver(talk, 0, &offer, in_pieces ? NULL : payload)) return false;
        if (in_pieces && !deliver(talk, 0, &chunk, payload)) return false;
    }
    assert_true(talk->node.state->has_model && talk->node.state->parent_version == model->to_version);
    return true;
}

static bool device_works(struct talk *talk) {
    struct role_node *node = &talk->node;
    for (int again = 0; again < 3 && role_recorded(node, TRIB_REC_FORWARD) == 0; again++) {
        const float difference[ROLE_N] = {1, 2, 3, 4};
        struct trib_submission work = {.difference = difference,
                                       .base_version = node->state->parent_version,
                                       .parent_incarnation = node->state->parent_incarnation,
                                       .samples = 1,
                                       .weight = 1};
        arm(&talk->trap);
        trib_participant_submit(node->participant, node->now_ms, &work);
        disarm(&talk->trap);
        if (!role_collect(node, false)) return false;
        struct trib_msg seed = role_seed_model(5);
        if (!turn(talk, 1000)) return false;
        if (role_recorded(node, TRIB_REC_FORWARD) == 0 && !deliver(talk, 0, &seed, NULL)) return false;
    }
    assert_int_equal(role_recorded(node, TRIB_REC_FORWARD), 1);
    return true;
}

static bool is_acknowledged(struct talk *talk, uint64_t session) {
    struct trib_msg ack = role_message(TRIB_ACK, session);
    trib_msg_set(&ack, NUMBER, number, 1);
    trib_msg_set(&ack, VERDICT, verdict, TRIB_ACCEPTED);
    return turn(talk, 10) && deliver(talk, 0, &ack, NULL) && turn(talk, 10);
}

static bool device_talk(struct talk *talk) {
    if (!meets_parent(talk, 5, 70)) return false;
    struct trib_msg seed = role_seed_model(5);
    if (!gets_model(talk, &seed, NULL, false)) return false;
    assert_int_equal(talk->node.trains, 1);
    return device_works(talk) && is_acknowledged(talk, 5);
}

static bool edge_talk(struct talk *talk) {
    struct role_node *node = &talk->node;
    if (!meets_parent(talk, 5, 70)) return false;
    struct trib_msg seed = role_seed_model(5);
    if (!gets_model(talk, &seed, NULL, false)) return false;
    struct trib_record peer = {.kind = TRIB_REC_PEER};
    trib_rec_set(&peer, PEER, peer, role_text("d"));
    trib_rec_set(&peer, INCARNATION, incarnation, 3);
    struct trib_record verdict = {.kind = TRIB_REC_VERDICT, .payload = role_floats(ROLE_N, 0.5f)};
    trib_rec_set(&verdict, PEER, peer, role_text("d"));
    trib_rec_set(&verdict, INCARNATION, incarnation, 3);
    trib_rec_set(&verdict, NUMBER, number, 1);
    trib_rec_set(&verdict, VERDICT, verdict, TRIB_ACCEPTED);
    trib_rec_set(&verdict, SAMPLES, samples, 10);
    trib_rec_set(&verdict, APPLIED, applied, 1.0f);
    struct trib_record commit = {.kind = TRIB_REC_COMMIT};
    trib_rec_set(&commit, VERSION, version, node->state->version + 1);
    trib_rec_set(&commit, COMMITS, commits, node->state->commits + 1);
    trib_rec_set(&commit, SCALE, scale, 1.0f);
    struct trib_record *records[] = {&peer, &verdict, &commit};
    bool good = true;
    for (size_t i = 0; good && i < sizeof records / sizeof records[0]; i++) {
        arm(&talk->trap);
        good = trib_outbox_record(&node->outbox, node->state, records[i]);
        disarm(&talk->trap);
        good = role_collect(node, false) && good;
    }
    trib_blob_unref(&verdict.payload);
    if (!good || !turn(talk, 10) || !turn(talk, 10)) return false;
    assert_int_equal(role_recorded(node, TRIB_REC_FORWARD), 1);
    if (!is_acknowledged(talk, 5)) return false;
    struct trib_blob *values = role_floats(ROLE_N, 0.25f);
    struct trib_msg model = role_snapshot_model(5, 3, values);
    good = gets_model(talk, &model, values, true);
    trib_blob_unref(&values);
    struct trib_blob *increment = role_floats(ROLE_N, 0.25f);
    model = role_increment_model(5, node->state, 4, increment);
    good = good && gets_model(talk, &model, increment, false);
    trib_blob_unref(&increment);
    return good && meets_parent(talk, 5, 70);
}

/* ---- the sweep ---- */

static void nothing_lost(const struct role_node *node, const char *where) {
    bool good = role_recorded(node, TRIB_REC_VOID) == 0 && role_recorded(node, TRIB_REC_STOP) == 0;
    for (size_t i = 0; i < node->record_count; i++)
        if (node->records[i]->kind == TRIB_REC_VERDICT) good &= node->records[i]->verdict == TRIB_ACCEPTED;
    if (!good) fail_msg("%s: something was lost for want of memory", where);
}

/* A state made of what was written: it is whole, and a role over it answers. */
static void starts_again(const struct role_node *node) {
    struct role_node again = {.now_ms = node->now_ms};
    assert_int_equal(trib_state_new(node->state->role, &node->state->limits, &again.state, NULL), TRIB_OK);
    trib_outbox_init(&again.outbox);
    for (size_t i = 0; i < node->record_count; i++) {
        struct trib_record *copy = trib_record_copy(node->records[i]);
        assert_non_null(copy);
        struct trib_error err = {0};
        if (trib_state_apply(again.state, copy, &err) != TRIB_OK) fail_msg("%s", err.text);
        trib_record_free(&copy);
    }
    if (node->aggregator != NULL) {
        struct trib_aggregator_options options = {.seed = 9};
        assert_int_equal(trib_aggregator_new(&options, again.state, &again.outbox, &again.aggregator, NULL),
                         TRIB_OK);
        uint64_t session = role_join(&again, 1, "a", 11);
        struct trib_msg pull = role_pull(session, NULL);
        role_deliver(&again, 1, NULL, &pull, NULL);
        (void)role_next(&again, TRIB_MODEL);
    } else {
        struct trib_participant_options options = {.name = "child-1", .seed = 9};
        assert_int_equal(trib_participant_new(&options, again.state, &again.outbox, &again.participant, NULL),
                         TRIB_OK);
        trib_participant_connected(again.participant, again.now_ms);
        (void)role_collect(&again, true);
        (void)role_next(&again, TRIB_HELLO);
    }
    role_stop(&again);
}

static void sweep(enum trib_role role, const char *plan, bool (*conversation)(struct talk *talk)) {
    size_t runs = 0, failures = 0;
    for (size_t at = 0;; at++) {
        bool sprung = true;
        for (long allocations = 0; sprung; allocations++) {
            struct talk talk = {.trap = {.at = at, .allocations = allocations}};
            struct role_options options = {.role = role, .plan = plan, .with_seed = true};
            if (conversation == parent_talk)
                role_parent(&talk.node, options);
            else
                role_child(&talk.node, options);
            bool done = conversation(&talk);
            char where[64];
            (void)snprintf(where, sizeof where, "step %zu, allocation %ld", at, allocations);
            if (!done && !talk.trap.sprung) fail_msg("%s: it failed by itself", where);
            if (!done) assert_int_equal(talk.node.outbox.failed, TRIB_NOMEM);
            nothing_lost(&talk.node, where);
            if (done)
                role_rebuild(&talk.node);
            else
                starts_again(&talk.node);
            runs++;
            failures += !done;
            sprung = talk.trap.sprung;
            bool reached = talk.trap.reached;
            role_stop(&talk.node);
            if (!reached) {
                assert_true(runs > 100 && failures > 20);
                return;
            }
        }
    }
}

static void test_cloud(void **unused) {
    (void)unused;
    sweep(TRIB_ROLE_CLOUD, NULL, parent_talk);
}

static void test_cloud_that_mixes(void **unused) {
    (void)unused;
    sweep(TRIB_ROLE_CLOUD, "cloud.rule: fedasync(form=mix)\ncodec.global: topk(0.25)+int8\n", parent_talk);
}

static void test_edge_below(void **unused) {
    (void)unused;
    sweep(TRIB_ROLE_EDGE, "edge.rule: fedbuff(k=2)\ncodec.down: int8\n", parent_talk);
}

static void test_device(void **unused) {
    (void)unused;
    sweep(TRIB_ROLE_DEVICE, NULL, device_talk);
}

static void test_edge_above(void **unused) {
    (void)unused;
    sweep(TRIB_ROLE_EDGE, NULL, edge_talk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cloud),      cmocka_unit_test(test_cloud_that_mixes),
        cmocka_unit_test(test_edge_below), cmocka_unit_test(test_device),
        cmocka_unit_test(test_edge_above),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
