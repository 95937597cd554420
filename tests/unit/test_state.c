/* Records against closed forms: what a verdict, a commit, a forward, a model from the parent and a void do to
 * the vectors, the numbers and the held forwards. Vectors are four floats in f32, so every result is exact.
 */
#include "tests/support/cmocka.h"

#include "shared/base/alloc.h"
#include "shared/codec/codec.h"
#include "shared/model/digest.h"
#include "shared/state/state.h"

#include <stdio.h>
#include <string.h>

#define N 4

static const char schema_text[] = "w 4 0x0p+0\n";

static struct trib_text text(const char *s) {
    return (struct trib_text){s, strlen(s)};
}

static enum trib_status apply(struct trib_state *state, struct trib_record *record) {
    struct trib_error err;
    return trib_state_apply(state, record, &err);
}

static struct trib_state *start(enum trib_role role, const char *rules) {
    struct trib_state *state;
    struct trib_state_limits limits = {0};
    assert_int_equal(trib_state_new(role, &limits, &state, NULL), TRIB_OK);
    char plan[512];
    (void)snprintf(plan, sizeof plan,
                   "codec.up: f32\ncodec.down: f32\ncodec.forward: f32\ncodec.global: f32\n%s", rules);
    struct trib_record record = {.kind = TRIB_REC_START};
    trib_rec_set(&record, INCARNATION, incarnation, 7);
    trib_rec_set(&record, PLAN, plan, text(plan));
    trib_rec_set(&record, SCHEMA, schema, text(schema_text));
    trib_rec_set(&record, SEED, seed, 1);
    trib_rec_set(&record, PARENT_INCARNATION, parent_incarnation, 9);
    assert_int_equal(apply(state, &record), TRIB_OK);
    return state;
}

static struct trib_blob *floats(float a, float b, float c, float d) {
    const float values[N] = {a, b, c, d};
    return trib_blob_copy(values, sizeof values);
}

static void admit(struct trib_state *state, const char *peer) {
    struct trib_record record = {.kind = TRIB_REC_PEER};
    trib_rec_set(&record, PEER, peer, text(peer));
    trib_rec_set(&record, INCARNATION, incarnation, 100);
    trib_rec_set(&record, KIND_OF_PEER, kind_of_peer, TRIB_CHILD_DEVICE);
    assert_int_equal(apply(state, &record), TRIB_OK);
}

struct update {
    const char *peer;
    uint64_t number, base, samples;
    float applied, norm, value;
};

static enum trib_status push(struct trib_state *state, struct update u) {
    struct trib_record record = {.kind = TRIB_REC_VERDICT, .payload = floats(u.value, 0, 0, u.value)};
    trib_rec_set(&record, PEER, peer, text(u.peer));
    trib_rec_set(&record, INCARNATION, incarnation, 100);
    trib_rec_set(&record, NUMBER, number, u.number);
    trib_rec_set(&record, VERDICT, verdict, TRIB_ACCEPTED);
    trib_rec_set(&record, BASE, base_version, u.base);
    trib_rec_set(&record, SAMPLES, samples, u.samples);
    trib_rec_set(&record, WEIGHT, weight, u.samples);
    trib_rec_set(&record, APPLIED, applied, u.applied);
    trib_rec_set(&record, NORM_ADD, norm_add, u.norm);
    trib_rec_set(&record, STEPS, steps, 10.0f);
    enum trib_status status = apply(state, &record);
    trib_blob_unref(&record.payload);
    return status;
}

static enum trib_status commit(struct trib_state *state, float scale) {
    struct trib_record record = {.kind = TRIB_REC_COMMIT};
    trib_rec_set(&record, VERSION, version, state->version + 1);
    trib_rec_set(&record, COMMITS, commits, state->commits + 1);
    trib_rec_set(&record, SCALE, scale, scale);
    return apply(state, &record);
}

static void publish(struct trib_state *state) {
    struct trib_record record = {.kind = TRIB_REC_PUBLISH};
    trib_rec_set(&record, VERSION, version, state->version);
    trib_rec_set(&record, MODEL_KIND, model_kind,
                 state->exact_next ? TRIB_MODEL_SNAPSHOT : TRIB_MODEL_INCREMENTS);
    trib_rec_set(&record, FROM, from_version, state->published);
    if (!state->exact_next) {
        struct trib_model_reader reader;
        struct trib_source source = trib_state_source(state, true, &reader);
        assert_int_equal(
            trib_codec_encode(trib_ladder_top(state->ladder_pub), &source, &record.payload, NULL), TRIB_OK);
        trib_digest_chain(state->bases[state->base_count - 1].chain, trib_blob_data(record.payload),
                          trib_blob_size(record.payload), record.chain);
        record.present |= (uint64_t)1 << TRIB_R_CHAIN;
    }
    assert_int_equal(apply(state, &record), TRIB_OK);
    trib_blob_unref(&record.payload);
}

static void forward(struct trib_state *state) {
    struct trib_record record = {.kind = TRIB_REC_FORWARD};
    struct trib_source source = trib_source_floats(state->own, N);
    assert_int_equal(trib_codec_encode(trib_ladder_top(state->ladder_out), &source, &record.payload, NULL),
                     TRIB_OK);
    trib_rec_set(&record, NUMBER, number, state->next_number);
    trib_rec_set(&record, BASE, base_version, trib_histogram_base(&state->gathered.histogram));
    trib_rec_set(&record, SAMPLES, samples, state->gathered.samples);
    assert_int_equal(apply(state, &record), TRIB_OK);
    trib_blob_unref(&record.payload);
}

static enum trib_status acked(struct trib_state *state, uint64_t number, uint64_t verdict) {
    struct trib_record record = {.kind = TRIB_REC_ACKED};
    trib_rec_set(&record, NUMBER, number, number);
    trib_rec_set(&record, VERDICT, verdict, verdict);
    return apply(state, &record);
}

static void parent_model(struct trib_state *state, uint64_t version, float value, uint64_t applied,
                         uint64_t fence) {
    struct trib_record record = {.kind = TRIB_REC_PARENT, .payload = floats(value, value, value, value)};
    trib_rec_set(&record, MODEL_KIND, model_kind, TRIB_MODEL_SNAPSHOT);
    trib_rec_set(&record, VERSION, version, version);
    trib_rec_set(&record, APPLIED_NUMBER, applied_number, applied);
    trib_rec_set(&record, FENCE, fence, fence);
    memset(record.chain, (int)version, sizeof record.chain);
    record.present |= (uint64_t)1 << TRIB_R_CHAIN;
    assert_int_equal(apply(state, &record), TRIB_OK);
    trib_blob_unref(&record.payload);
}

static void model_is(const struct trib_state *state, float first, float second) {
    float model[N];
    trib_state_model(state, model);
    assert_true(model[0] == first && model[3] == first && model[1] == second && model[2] == second);
}

static void a_gathering_rule_commits_the_scaled_sum(void **unused) {
    (void)unused;
    struct trib_state *s = start(TRIB_ROLE_CLOUD, "cloud.rule: fedbuff(k=2)\n");
    publish(s);
    admit(s, "a");
    admit(s, "b");
    assert_int_equal(push(s, (struct update){"a", 1, 0, 30, 30.0f, 30.0f, 1.0f}), TRIB_OK);
    assert_int_equal(push(s, (struct update){"b", 1, 0, 10, 10.0f, 10.0f, 5.0f}), TRIB_OK);
    assert_true(s->own[0] == 0.0f && s->A[0] == 80.0f && s->memory.norm == 40.0);
    assert_int_equal(commit(s, 1.0f / 40.0f), TRIB_OK);
    assert_true(s->own[0] == 80.0f * (1.0f / 40.0f) && s->own[1] == 0.0f);
    assert_true(s->A[0] == 0.0f && s->pending_count == 0 && s->memory.pending == 0);
    assert_int_equal(s->version, 1);
    trib_state_free(&s);
}

static void an_immediate_rule_adds_at_once(void **unused) {
    (void)unused;
    struct trib_state *s = start(TRIB_ROLE_CLOUD, "cloud.rule: fedasync\n");
    publish(s);
    admit(s, "a");
    assert_int_equal(push(s, (struct update){"a", 1, 0, 30, 0.5f, 0.0f, 3.0f}), TRIB_OK);
    assert_true(s->own[0] == 1.5f && s->A == NULL);
    assert_true(s->step[0] == 3.0f);
    trib_state_free(&s);
}

/* M = 2 at version 1, 10 at version 2. An update u = 1 made on version 1, mixed with weight 1/4 into version
 * 2: 10 + ((2 - 10) + 1) / 4 = 8.25. */
static void mixing_pulls_towards_the_model_that_was_trained_on(void **unused) {
    (void)unused;
    struct trib_state *s = start(TRIB_ROLE_CLOUD, "cloud.rule: fedasync(form=mix)\n");
    publish(s);
    admit(s, "a");
    assert_int_equal(push(s, (struct update){"a", 1, 0, 1, 1.0f, 0.0f, 2.0f}), TRIB_OK);
    assert_int_equal(commit(s, 1.0f), TRIB_OK);
    publish(s);
    assert_int_equal(push(s, (struct update){"a", 2, 1, 1, 1.0f, 0.0f, 8.0f}), TRIB_OK);
    assert_int_equal(commit(s, 1.0f), TRIB_OK);
    publish(s);
    assert_true(s->own[0] == 10.0f && s->P[0] == 10.0f);
    assert_int_equal(push(s, (struct update){"a", 3, 1, 1, 0.25f, 0.0f, 1.0f}), TRIB_OK);
    assert_true(s->own[0] == 8.25f);
    assert_true(s->own[1] == 0.0f);
    trib_state_free(&s);
}

static void a_number_is_judged_once(void **unused) {
    (void)unused;
    struct trib_state *s = start(TRIB_ROLE_CLOUD, "cloud.rule: fedasync\n");
    publish(s);
    admit(s, "a");
    assert_int_equal(push(s, (struct update){"a", 3, 0, 1, 1.0f, 0.0f, 2.0f}), TRIB_OK);
    assert_int_equal(push(s, (struct update){"a", 3, 0, 1, 1.0f, 0.0f, 2.0f}), TRIB_CORRUPT);
    trib_state_free(&s);
    s = start(TRIB_ROLE_CLOUD, "cloud.rule: fedasync\n");
    admit(s, "a");
    assert_int_equal(push(s, (struct update){"nobody", 1, 0, 1, 1.0f, 0.0f, 2.0f}), TRIB_CORRUPT);
    trib_state_free(&s);
}

static struct trib_state *edge_with_progress(void) {
    struct trib_state *s = start(TRIB_ROLE_EDGE, "edge.rule: fedbuff(k=1)\n");
    parent_model(s, 4, 1.0f, 0, 0);
    publish(s);
    admit(s, "a");
    assert_int_equal(push(s, (struct update){"a", 1, s->version, 20, 20.0f, 20.0f, 2.0f}), TRIB_OK);
    assert_int_equal(commit(s, 1.0f / 20.0f), TRIB_OK);
    return s;
}

static void a_forward_leaves_the_model_as_it_is(void **unused) {
    (void)unused;
    struct trib_state *s = edge_with_progress();
    model_is(s, 3.0f, 1.0f);
    assert_int_equal(s->gathered.samples, 20);
    assert_int_equal(trib_histogram_base(&s->gathered.histogram), 4);
    forward(s);
    assert_true(s->own[0] == 0.0f && s->held_count == 1);
    assert_int_equal(s->held[0].base_version, 4);
    assert_int_equal(s->gathered.samples, 0);
    model_is(s, 3.0f, 1.0f);
    trib_state_free(&s);
}

static void a_contained_forward_leaves_with_the_model_that_contains_it(void **unused) {
    (void)unused;
    struct trib_state *s = edge_with_progress();
    forward(s);
    assert_int_equal(acked(s, 1, TRIB_ACCEPTED), TRIB_OK);
    parent_model(s, 5, 1.5f, 0, 0); /* accepted is not contained: it stays on top */
    model_is(s, 3.5f, 1.5f);
    assert_int_equal(s->held_count, 1);
    parent_model(s, 6, 2.0f, 1, 0); /* now it is inside */
    model_is(s, 2.0f, 2.0f);
    assert_int_equal(s->held_count, 0);
    trib_state_free(&s);
}

static void a_refused_forward_leaves_the_model_and_is_void(void **unused) {
    (void)unused;
    struct trib_state *s = edge_with_progress();
    forward(s);
    uint64_t version = s->version;
    assert_int_equal(acked(s, 1, TRIB_REFUSED), TRIB_OK);
    model_is(s, 1.0f, 1.0f);
    assert_int_equal(s->total.void_samples, 20);
    assert_int_equal(s->version, version + 1);
    assert_int_equal(acked(s, 1, TRIB_ACCEPTED), TRIB_CORRUPT);
    trib_state_free(&s);
}

static void staleness_counts_commits_not_rebases(void **unused) {
    (void)unused;
    struct trib_state *s = edge_with_progress();
    publish(s);
    uint64_t commits = s->commits, version = s->version;
    parent_model(s, 9, 4.0f, 0, 0);
    assert_int_equal(s->commits, commits);
    assert_int_equal(s->version, version + 1);
    publish(s);
    assert_int_equal(trib_state_base(s, version)->commits, trib_state_base(s, version + 1)->commits);
    assert_int_equal(trib_state_base(s, version)->origin, 4);
    assert_int_equal(trib_state_base(s, version + 1)->origin, 9);
    trib_state_free(&s);
}

static void crossing_a_fence_voids_what_was_built_on_abandoned_versions(void **unused) {
    (void)unused;
    struct trib_state *s = edge_with_progress();
    forward(s);
    assert_int_equal(push(s, (struct update){"a", 2, 1, 7, 7.0f, 7.0f, 2.0f}), TRIB_OK);
    assert_int_equal(commit(s, 1.0f / 7.0f), TRIB_OK);
    assert_int_equal(push(s, (struct update){"a", 3, 1, 5, 5.0f, 5.0f, 2.0f}), TRIB_OK);
    parent_model(s, 12, 0.5f, 0, 11); /* rolled back at 11, after the 4 that is held here */
    assert_true(s->own[0] == 0.0f && s->A[0] == 0.0f && s->pending_count == 0);
    assert_int_equal(s->held_count, 1); /* left to be refused */
    assert_int_equal(s->total.void_samples, 12);
    assert_int_equal(s->fence, s->version);
    assert_true(s->exact_next);
    assert_int_equal(trib_state_peer(s, "a", 1)->consumed, 3);
    publish(s);
    uint64_t fence = s->fence;
    parent_model(s, 13, 0.75f, 1, 11); /* the same fence again is behind it */
    assert_int_equal(s->fence, fence);
    trib_state_free(&s);
}

static void numbers_are_consumed_in_order(void **unused) {
    (void)unused;
    struct trib_state *s = start(TRIB_ROLE_CLOUD, "cloud.rule: fedbuff(k=3)\n");
    publish(s);
    admit(s, "a");
    assert_int_equal(push(s, (struct update){"a", 1, 0, 1, 1.0f, 1.0f, 1.0f}), TRIB_OK);
    struct trib_record refused = {.kind = TRIB_REC_VERDICT};
    trib_rec_set(&refused, PEER, peer, text("a"));
    trib_rec_set(&refused, INCARNATION, incarnation, 100);
    trib_rec_set(&refused, NUMBER, number, 2);
    trib_rec_set(&refused, VERDICT, verdict, TRIB_REFUSED);
    assert_int_equal(apply(s, &refused), TRIB_OK);
    assert_int_equal(trib_state_peer(s, "a", 1)->consumed, 0); /* 1 is still in the buffer */
    assert_int_equal(commit(s, 1.0f), TRIB_OK);
    assert_int_equal(trib_state_peer(s, "a", 1)->consumed, 2);
    assert_int_equal(trib_peer_applied(s, trib_state_peer(s, "a", 1)),
                     0); /* no published version says so yet */
    publish(s);
    assert_int_equal(trib_peer_applied(s, trib_state_peer(s, "a", 1)), 2);
    trib_state_free(&s);
}

static void a_new_incarnation_retires_the_old_one(void **unused) {
    (void)unused;
    struct trib_state *s = start(TRIB_ROLE_CLOUD, "cloud.rule: fedasync\n");
    publish(s);
    admit(s, "a");
    assert_int_equal(push(s, (struct update){"a", 5, 0, 1, 1.0f, 0.0f, 2.0f}), TRIB_OK);
    struct trib_record record = {.kind = TRIB_REC_PEER};
    trib_rec_set(&record, PEER, peer, text("a"));
    trib_rec_set(&record, INCARNATION, incarnation, 101);
    assert_int_equal(apply(s, &record), TRIB_OK);
    const struct trib_peer *peer = trib_state_peer(s, "a", 1);
    assert_true(trib_peer_is_retired(peer, 100) && !trib_peer_is_retired(peer, 101));
    assert_int_equal(peer->last, 0);
    assert_null(trib_peer_verdict(peer, 5));
    trib_state_free(&s);
}

static void histograms_stay_bounded_and_keep_their_samples(void **unused) {
    (void)unused;
    struct trib_u64s h = {0};
    uint64_t samples = 0;
    for (uint64_t i = 0; i < 500; i++) {
        uint64_t origin = (i * 37) % 211;
        trib_histogram_add(&h, origin, i + 1);
        samples += i + 1;
    }
    assert_true(h.count <= TRIB_U64S_MAX);
    uint64_t sum = 0;
    for (size_t i = 0; i < h.count; i += 2) {
        sum += h.items[i + 1];
        if (i > 0) assert_true(h.items[i] > h.items[i - 2]);
    }
    assert_int_equal(sum, samples);
    struct trib_u64s two = {0};
    trib_histogram_add(&two, 10, 1);
    trib_histogram_add(&two, 20, 3); /* mean 17.5: the newest origin not above it is 10 */
    assert_int_equal(trib_histogram_base(&two), 10);
    trib_histogram_add(&two, 17, 1);
    assert_int_equal(trib_histogram_base(&two), 17); /* mean 17.4 */
}

static void a_plan_may_say_more_than_is_known_but_nothing_wrong(void **unused) {
    (void)unused;
    struct trib_state *s = start(TRIB_ROLE_CLOUD, "cloud.rule: fedasync\nof.a.later.version: 7\n");
    assert_int_equal(trib_rule_form(s->rule), TRIB_RULE_IMMEDIATE);
    trib_state_free(&s);
    struct trib_state_limits limits = {0};
    assert_int_equal(trib_state_new(TRIB_ROLE_EDGE, &limits, &s, NULL), TRIB_OK);
    struct trib_record record = {.kind = TRIB_REC_START};
    trib_rec_set(&record, PLAN, plan, text("edge.rule: fedbuf(k=3)\n"));
    trib_rec_set(&record, SCHEMA, schema, text(schema_text));
    struct trib_error err;
    assert_int_equal(trib_state_apply(s, &record, &err), TRIB_INVALID);
    assert_non_null(strstr(err.text, "fedbuff"));
    trib_state_free(&s);
}

static void a_journal_with_a_gap_is_refused(void **unused) {
    (void)unused;
    struct trib_state *s = start(TRIB_ROLE_CLOUD, "cloud.rule: fedasync\n");
    struct trib_record record = {.kind = TRIB_REC_EVENT, .position = s->position + 2};
    assert_int_equal(apply(s, &record), TRIB_CORRUPT);
    record = (struct trib_record){.kind = TRIB_REC_KINDS};
    assert_int_equal(apply(s, &record), TRIB_NEWER);
    trib_state_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gathering_rule_commits_the_scaled_sum),
        cmocka_unit_test(an_immediate_rule_adds_at_once),
        cmocka_unit_test(mixing_pulls_towards_the_model_that_was_trained_on),
        cmocka_unit_test(a_number_is_judged_once),
        cmocka_unit_test(a_forward_leaves_the_model_as_it_is),
        cmocka_unit_test(a_contained_forward_leaves_with_the_model_that_contains_it),
        cmocka_unit_test(a_refused_forward_leaves_the_model_and_is_void),
        cmocka_unit_test(staleness_counts_commits_not_rebases),
        cmocka_unit_test(crossing_a_fence_voids_what_was_built_on_abandoned_versions),
        cmocka_unit_test(numbers_are_consumed_in_order),
        cmocka_unit_test(a_new_incarnation_retires_the_old_one),
        cmocka_unit_test(histograms_stay_bounded_and_keep_their_samples),
        cmocka_unit_test(a_plan_may_say_more_than_is_known_but_nothing_wrong),
        cmocka_unit_test(a_journal_with_a_gap_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
