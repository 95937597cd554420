/* What a device keeps from update to update (trib_state.local): changed together with the update that changed
 * it, kept in its spool, and for as long as its run. */
#include "shared/base/alloc.h"
#include "shared/store/spool.h"
#include "tests/support/cmocka.h"
#include "tests/support/roles.h"

#include <math.h>
#include <string.h>

enum { PARENT = 70 };

static void hear(struct role_node *node, const struct trib_msg *msg) {
    role_deliver(node, 0, NULL, msg, NULL);
}

/* A device that holds version 0 and is asked to train. */
static void begin(struct role_node *node) {
    role_child(node, (struct role_options){.role = TRIB_ROLE_DEVICE});
    role_begin(node, 5);
    assert_int_equal(node->trains, 1);
}

static void submit(struct role_node *node, float value, const float *const *local) {
    const float difference[ROLE_N] = {value, value, value, value};
    struct trib_submission work = {.difference = difference,
                                   .local = local,
                                   .base_version = node->state->parent_version,
                                   .parent_incarnation = node->state->parent_incarnation,
                                   .samples = 20,
                                   .weight = 10};
    trib_participant_submit(node->participant, node->now_ms, &work);
}

/* A device that keeps two vectors. */
static void begin_with_memory(struct role_node *node, float last, float momentum) {
    const float a[ROLE_N] = {last, 1, 2, 3}, b[ROLE_N] = {momentum, 4, 5, 6};
    const float *local[TRIB_LOCAL_MAX] = {[TRIB_LOCAL_LAST] = a, [TRIB_LOCAL_MOMENTUM] = b};
    begin(node);
    submit(node, 0.5f, local);
    assert_true(role_collect(node, true));
    assert_int_equal(node->state->held_count, 1);
}

static void holds(const struct trib_state *state, float last, float momentum) {
    assert_null(state->local[TRIB_LOCAL_VARIATE]);
    assert_non_null(state->local[TRIB_LOCAL_LAST]);
    assert_true(state->local[TRIB_LOCAL_LAST][0] == last && state->local[TRIB_LOCAL_LAST][3] == 3);
    assert_non_null(state->local[TRIB_LOCAL_MOMENTUM]);
    assert_true(state->local[TRIB_LOCAL_MOMENTUM][0] == momentum);
}

static void is_taken_with_its_update(void **unused) {
    (void)unused;
    struct role_node node;
    begin_with_memory(&node, 7, 8);
    holds(node.state, 7, 8);
    role_stop(&node);
}

/* A vector that an update does not bring stays. */
static void stays_until_it_is_replaced(void **unused) {
    (void)unused;
    struct role_node node;
    const float b[ROLE_N] = {9, 9, 9, 9};
    const float *local[TRIB_LOCAL_MAX] = {[TRIB_LOCAL_MOMENTUM] = b};
    begin_with_memory(&node, 7, 8);
    assert_int_equal(trib_state_gather(node.state, b, local), TRIB_OK);
    holds(node.state, 7, 9);
    assert_int_equal(trib_state_gather(node.state, b, NULL), TRIB_OK);
    holds(node.state, 7, 9);
    role_stop(&node);
}

/* Work that becomes no update changes nothing: of another parent, on another version, not finite, no memory.
 */
static void nothing_is_applied_by_halves(void **unused) {
    (void)unused;
    const float good[ROLE_N] = {1, 1, 1, 1}, bad[ROLE_N] = {1, NAN, 1, 1};
    for (int what = 0; what < 5; what++) {
        struct role_node node;
        begin(&node);
        const float *local[TRIB_LOCAL_MAX] = {
            [TRIB_LOCAL_LAST] = what == 2 ? bad : good, [TRIB_LOCAL_MOMENTUM] = good};
        struct trib_submission work = {.difference = what == 3 ? bad : good,
                                       .local = local,
                                       .base_version = node.state->parent_version + (what == 0),
                                       .parent_incarnation = node.state->parent_incarnation + (what == 1),
                                       .samples = 1,
                                       .weight = 1};
        if (what == 4) trib_alloc_fail_after(1); /* the second vector */
        trib_participant_submit(node.participant, node.now_ms, &work);
        trib_alloc_fail_after(-1);
        for (size_t i = 0; i < TRIB_LOCAL_MAX; i++) assert_null(node.state->local[i]);
        assert_int_equal(node.state->held_count, 0);
        assert_true(node.state->own[0] == 0);
        (void)role_collect(&node, false);
        role_stop(&node);
    }
}

/* ---- the spool ---- */

static struct trib_state *fresh(void) {
    struct trib_state *state;
    struct trib_state_limits limits = {0};
    assert_int_equal(trib_state_new(TRIB_ROLE_DEVICE, &limits, &state, NULL), TRIB_OK);
    return state;
}

struct cursor {
    const struct trib_buf *whole;
    size_t at;
};

static enum trib_status feed(void *ctx, void *data, size_t bytes, struct trib_error *err) {
    struct cursor *cursor = ctx;
    if (bytes > cursor->whole->size - cursor->at) return trib_fail(err, TRIB_CORRUPT, "too short");
    memcpy(data, cursor->whole->data + cursor->at, bytes);
    cursor->at += bytes;
    return TRIB_OK;
}

static enum trib_status unpack(const struct trib_buf *packed, struct trib_state *state) {
    struct cursor cursor = {packed, 0};
    enum trib_status status = trib_state_load(state, &(struct trib_feed){feed, &cursor}, NULL);
    if (status == TRIB_OK) assert_int_equal(cursor.at, packed->size);
    return status;
}

static void comes_back_with_its_update(void **unused) {
    (void)unused;
    struct role_node node;
    struct trib_buf packed;
    trib_buf_init(&packed, 0);
    begin_with_memory(&node, 7, 8);
    for (int with_model = 0; with_model < 2; with_model++) {
        struct trib_state *back = fresh();
        assert_int_equal(trib_spool_pack(node.state, with_model, &packed, NULL), TRIB_OK);
        assert_int_equal(unpack(&packed, back), TRIB_OK);
        holds(back, 7, 8);
        assert_int_equal(back->held_count, 1);
        assert_int_equal(back->next_number, 2);
        trib_state_free(&back);
    }
    for (size_t cut = 0; cut < packed.size; cut += 3) { /* a damaged one is refused, and nothing leaks */
        struct trib_state *back = fresh();
        struct trib_buf part = packed;
        part.size = cut;
        assert_int_equal(unpack(&part, back), TRIB_CORRUPT);
        trib_state_free(&back);
    }
    trib_buf_release(&packed);
    role_stop(&node);
}

/* Spools of before, format 2, have no such vectors. Made of one of today by taking out what came with format
 * 3: a count and, for each kind, whether it is there. */
static void older_spools_are_read(void **unused) {
    (void)unused;
    struct role_node with, without;
    struct trib_buf a, b;
    trib_buf_init(&a, 0);
    trib_buf_init(&b, 0);
    begin_with_memory(&with, 7, 8);
    begin_with_memory(&without, 7, 8);
    trib_free(without.state->local[TRIB_LOCAL_LAST]);
    trib_free(without.state->local[TRIB_LOCAL_MOMENTUM]);
    without.state->local[TRIB_LOCAL_LAST] = without.state->local[TRIB_LOCAL_MOMENTUM] = NULL;
    assert_int_equal(trib_spool_pack(with.state, false, &a, NULL), TRIB_OK);
    assert_int_equal(trib_spool_pack(without.state, false, &b, NULL), TRIB_OK);
    assert_int_equal(a.size - b.size, 2 * ROLE_N * sizeof(float));
    size_t flag = 0; /* the first difference is the flag of TRIB_LOCAL_LAST */
    while (a.data[flag] == b.data[flag]) flag++;
    size_t from = flag - (1 + TRIB_LOCAL_LAST) * sizeof(uint64_t);
    size_t section = (1 + TRIB_LOCAL_MAX) * sizeof(uint64_t);
    assert_int_equal(b.data[from], TRIB_LOCAL_MAX);
    memmove(b.data + from, b.data + from + section, b.size - from - section);
    b.size -= section;
    b.data[8] = 2;
    struct trib_state *back = fresh();
    assert_int_equal(unpack(&b, back), TRIB_OK);
    assert_int_equal(back->held_count, 1);
    assert_int_equal(back->next_number, 2);
    for (size_t i = 0; i < TRIB_LOCAL_MAX; i++) assert_null(back->local[i]);
    trib_state_free(&back);
    trib_buf_release(&a);
    trib_buf_release(&b);
    role_stop(&with);
    role_stop(&without);
}

/* ---- as long as the run ---- */

/* Moved to another parent of the same run it goes on; a new run begins without. */
static void of_a_run_whatever_its_parent(void **unused) {
    (void)unused;
    for (int other_run = 0; other_run < 2; other_run++) {
        struct role_node node;
        begin_with_memory(&node, 7, 8);
        role_wait(&node, 60000); /* its parent is silent: a new connection */
        trib_participant_connected(node.participant, node.now_ms);
        (void)role_collect(&node, true);
        struct trib_msg welcome = role_welcome(6, PARENT + 1, 0);
        if (other_run) welcome.run[3] ^= 1;
        hear(&node, &welcome);
        assert_int_equal(node.state->parent_incarnation, PARENT + 1);
        assert_int_equal(node.state->held_count, 0);
        if (other_run)
            assert_null(node.state->local[TRIB_LOCAL_LAST]);
        else
            holds(node.state, 7, 8);
        role_stop(&node);
    }
}

/* Behind a rollback AREA's last model is the one that came, and what concerns the device alone is dropped. */
static void begins_again_behind_a_fence(void **unused) {
    (void)unused;
    for (uint64_t fence = 0; fence <= 2; fence += 2) {
        struct role_node node;
        begin_with_memory(&node, 7, 8);
        struct trib_msg ack = role_ack(5, 1, TRIB_ACCEPTED);
        hear(&node, &ack);
        role_poll(&node);
        struct trib_blob *values = role_floats(ROLE_N, 2.0f);
        struct trib_msg model = role_snapshot_model(5, 3, values);
        model.fence = fence;
        role_deliver(&node, 0, NULL, &model, values);
        trib_blob_unref(&values);
        assert_int_equal(node.state->parent_version, 3);
        assert_true(node.state->local[TRIB_LOCAL_LAST][0] == (fence == 0 ? 7.0f : 2.0f));
        assert_int_equal(node.state->local[TRIB_LOCAL_MOMENTUM] == NULL, fence != 0);
        role_stop(&node);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_taken_with_its_update),     cmocka_unit_test(stays_until_it_is_replaced),
        cmocka_unit_test(nothing_is_applied_by_halves), cmocka_unit_test(comes_back_with_its_update),
        cmocka_unit_test(older_spools_are_read),        cmocka_unit_test(of_a_run_whatever_its_parent),
        cmocka_unit_test(begins_again_behind_a_fence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
