/* What forms of rules do to a node's vectors, against closed forms: the rule decides, records say what it
 * decided, and the state is what the formulas give. Vectors are three floats in f32. */
#include "tests/support/cmocka.h"

#include "shared/base/alloc.h"
#include "shared/state/state.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { N = 3 };

static struct trib_text text(const char *s) {
    return (struct trib_text){s, strlen(s)};
}

static void apply(struct trib_state *state, struct trib_record *record) {
    struct trib_error err = {0};
    if (trib_state_apply(state, record, &err) != TRIB_OK) fail_msg("%s", err.text);
}

static struct trib_state *start(enum trib_role role, const char *plan_lines, size_t parameters) {
    struct trib_state *state;
    struct trib_state_limits limits = {0};
    char plan[512], schema[64];
    (void)snprintf(plan, sizeof plan,
                   "codec.up: f32\ncodec.down: f32\ncodec.forward: f32\ncodec.global: f32\n%s", plan_lines);
    (void)snprintf(schema, sizeof schema, "w %zu 0x0p+0\n%s", parameters < N ? parameters : (size_t)N,
                   parameters > N ? "control.w 3 0x0p+0\n" : "");
    assert_int_equal(trib_state_new(role, &limits, &state, NULL), TRIB_OK);
    struct trib_record record = {.kind = TRIB_REC_START};
    trib_rec_set(&record, INCARNATION, incarnation, 7);
    trib_rec_set(&record, PLAN, plan, text(plan));
    trib_rec_set(&record, SCHEMA, schema, text(schema));
    trib_rec_set(&record, SEED, seed, 1);
    trib_rec_set(&record, PARENT_INCARNATION, parent_incarnation, 9);
    apply(state, &record);
    return state;
}

static void admit(struct trib_state *state, const char *peer) {
    struct trib_record record = {.kind = TRIB_REC_PEER};
    trib_rec_set(&record, PEER, peer, text(peer));
    trib_rec_set(&record, INCARNATION, incarnation, 100);
    trib_rec_set(&record, KIND_OF_PEER, kind_of_peer, TRIB_CHILD_DEVICE);
    apply(state, &record);
}

static void publish(struct trib_state *state) {
    struct trib_record record = {.kind = TRIB_REC_PUBLISH};
    trib_rec_set(&record, VERSION, version, state->version);
    trib_rec_set(&record, MODEL_KIND, model_kind,
                 state->exact_next ? TRIB_MODEL_SNAPSHOT : TRIB_MODEL_INCREMENTS);
    if (!state->exact_next) {
        struct trib_model_reader reader;
        struct trib_source source = trib_state_source(state, true, &reader);
        trib_rec_set(&record, FROM, from_version, state->published);
        assert_int_equal(
            trib_codec_encode(trib_ladder_top(state->ladder_pub), &source, &record.payload, NULL), TRIB_OK);
    }
    record.present |= (uint64_t)1 << TRIB_R_CHAIN;
    apply(state, &record);
    trib_blob_unref(&record.payload);
}

/* An update of `peer`, weighed by the rule as the aggregator does. */
struct push {
    const char *peer;
    uint64_t number, weight;
    float steps;
    const float *values;
};

static void push(struct trib_state *state, struct push u) {
    size_t n = trib_state_parameters(state);
    struct trib_record record = {.kind = TRIB_REC_VERDICT,
                                 .payload = trib_blob_copy(u.values, n * sizeof(float))};
    const struct trib_peer *peer = trib_state_peer(state, u.peer, strlen(u.peer));
    struct trib_rule_update update = {.weight = (double)u.weight, .share = 1, .steps = (double)u.steps};
    struct trib_rule_weight w = trib_rule_weigh(state->rule, &state->memory, &update);
    const struct trib_pending *older = trib_state_replaceable(state, peer);
    trib_rec_set(&record, PEER, peer, text(u.peer));
    trib_rec_set(&record, INCARNATION, incarnation, 100);
    trib_rec_set(&record, NUMBER, number, u.number);
    trib_rec_set(&record, VERDICT, verdict, TRIB_ACCEPTED);
    trib_rec_set(&record, BASE, base_version, state->published);
    trib_rec_set(&record, SAMPLES, samples, u.weight);
    trib_rec_set(&record, WEIGHT, weight, u.weight);
    trib_rec_set(&record, STEPS, steps, u.steps);
    trib_rec_set(&record, FACTOR, factor, w.factor);
    trib_rec_set(&record, APPLIED, applied, w.applied);
    trib_rec_set(&record, NORM_ADD, norm_add, w.norm);
    if (older != NULL) trib_rec_set(&record, SUPERSEDES, supersedes, older->number);
    apply(state, &record);
    trib_blob_unref(&record.payload);
}

/* `away`: a digit for each participant that is marked so, if it has an estimate. */
static void commit_without(struct trib_state *state, const char *away) {
    struct trib_record record = {.kind = TRIB_REC_COMMIT};
    struct trib_rule_memory memory = state->memory;
    for (; *away != 0; away++)
        memory.norm += (double)trib_state_mark_away(state, (size_t)(*away - '0'), &record);
    trib_rec_set(&record, VERSION, version, state->version + 1);
    trib_rec_set(&record, COMMITS, commits, state->commits + 1);
    trib_rec_set(&record, SCALE, scale, trib_rule_scale(state->rule, &memory));
    apply(state, &record);
    publish(state);
}

static void commit(struct trib_state *state) {
    commit_without(state, "");
}

static void assert_vector(const float *found, double a, double b, double c) {
    const double expected[N] = {a, b, c};
    for (size_t i = 0; i < N; i++)
        if (!(fabs((double)found[i] - expected[i]) < 1e-5))
            fail_msg("[%zu] is %.9g, not %.9g", i, (double)found[i], expected[i]);
}

static struct trib_state *cloud_of(const char *rule, const char *more) {
    char plan[256];
    (void)snprintf(plan, sizeof plan, "cloud.rule: %s\n%s", rule, more);
    struct trib_state *state = start(TRIB_ROLE_CLOUD, plan, N);
    const char *const names[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < 4; i++) admit(state, names[i]);
    publish(state);
    return state;
}

/* ---- buffers of updates apart ---- */

static void a_median_of_damped_updates(void **unused) {
    (void)unused;
    struct trib_state *s = cloud_of("median | fedbuff(k=3, lr=2, relative=no)", "");
    assert_int_equal(trib_rule_form(s->rule), TRIB_RULE_BUFFERED);
    push(s, (struct push){"a", 1, 10, 1, (float[]){1, 5, -1}});
    push(s, (struct push){"b", 1, 99999, 1, (float[]){1e6f, -1e6f, 7}}); /* claims many samples */
    push(s, (struct push){"c", 1, 30, 1, (float[]){3, 4, -2}});
    assert_vector(s->own, 0, 0, 0); /* nothing moves before the commit */
    commit(s);
    assert_vector(s->own, 6, 8, -2);
    assert_int_equal(s->pending_count, 0);
    trib_state_free(&s);
}

/* One update a participant: the newer one replaces the older, which is void. */
static void a_newer_update_replaces_the_older(void **unused) {
    (void)unused;
    struct trib_state *s = cloud_of("median | fedbuff(k=3)", "");
    push(s, (struct push){"a", 1, 10, 1, (float[]){100, 100, 100}});
    push(s, (struct push){"b", 1, 20, 1, (float[]){2, 2, 2}});
    push(s, (struct push){"a", 2, 10, 1, (float[]){1, 1, 1}});
    assert_int_equal(s->pending_count, 2);
    assert_int_equal(s->memory.pending, 2);
    assert_int_equal(s->total.void_samples, 10);
    const struct trib_peer *a = trib_state_peer(s, "a", 1);
    assert_int_equal(a->consumed, 1); /* of what is pending nothing is consumed */
    push(s, (struct push){"c", 1, 30, 1, (float[]){3, 3, 3}});
    commit(s);
    assert_vector(s->own, 2, 2, 2);
    a = trib_state_peer(s, "a", 1);
    assert_int_equal(a->consumed, 2);
    assert_int_equal(s->total.accepted_samples, s->total.committed_samples + s->total.void_samples);
    trib_state_free(&s);
}

/* Where a commit starts clipping is what the one before combined, at an edge too. */
static void clipping_starts_at_the_last_step(void **unused) {
    (void)unused;
    struct trib_state *s = cloud_of("centered_clip(tau=1, iterations=1) | fedbuff(k=2, relative=no)", "");
    push(s, (struct push){"a", 1, 10, 1, (float[]){1, 0, 0}});
    push(s, (struct push){"b", 1, 10, 1, (float[]){0, 1, 0}});
    commit(s);
    assert_vector(s->own, 0.5, 0.5, 0);
    push(s, (struct push){"a", 2, 10, 1, (float[]){0.5f, 3.5f, 0}}); /* (0, 3) away: (0, 1) is left */
    push(s, (struct push){"b", 2, 10, 1, (float[]){0.5f, 0.5f, 0}});
    commit(s);
    assert_vector(s->own, 1, 0.5 + 0.5 + 0.5, 0);
    trib_state_free(&s);
    s = start(TRIB_ROLE_EDGE, "edge.rule: centered_clip(tau=1) | fedbuff(k=2)\n", N);
    assert_non_null(s->step);
    trib_state_free(&s);
    s = start(TRIB_ROLE_EDGE, "edge.rule: median | fedbuff(k=3)\n", N);
    assert_null(s->step);
    trib_state_free(&s);
}

/* ---- optimisers ---- */

static void momentum_over_commits(void **unused) {
    (void)unused;
    struct trib_state *s = cloud_of("fedavg(lr=0.5) | momentum(beta=0.5, lr=1)", "");
    push(s, (struct push){"a", 1, 10, 1, (float[]){1, 0, 4}});
    push(s, (struct push){"b", 1, 30, 1, (float[]){5, 0, 0}});
    commit(s); /* D = 0.5 (4, 0, 1) = (2, 0, 0.5) = v */
    assert_vector(s->own, 2, 0, 0.5);
    push(s, (struct push){"a", 2, 10, 1, (float[]){0, 2, 0}});
    commit(s); /* v = (1, 1, 0.25) */
    assert_vector(s->own, 3, 1, 0.75);
    trib_state_free(&s);
}

/* A rollback restores the moments that the version had; without them they are zero. */
static void rollback_restores_moments(void **unused) {
    (void)unused;
    for (int with = 0; with < 2; with++) {
        struct trib_state *s = cloud_of("fedavg | momentum(beta=0.5, lr=1)", "");
        push(s, (struct push){"a", 1, 10, 1, (float[]){4, 0, 0}});
        commit(s);
        struct trib_blob *then =
            with ? trib_state_rollback_payload(s) : trib_blob_copy(s->own, N * sizeof *s->own);
        push(s, (struct push){"a", 2, 10, 1, (float[]){0, 64, 0}});
        commit(s);
        struct trib_record record = {.kind = TRIB_REC_ROLLBACK, .payload = then};
        trib_rec_set(&record, VERSION, version, s->version + 1);
        trib_rec_set(&record, FROM, from_version, 1);
        apply(s, &record);
        assert_vector(s->own, 4, 0, 0);
        assert_int_equal(s->memory.optimised, with);
        publish(s);
        push(s, (struct push){"a", 3, 10, 1, (float[]){0, 0, 8}});
        commit(s);
        assert_vector(s->own, with ? 6 : 4, 0, 8);
        trib_blob_unref(&then);
        trib_state_free(&s);
    }
}

/* ---- FedNova ---- */

/* (sum p a) sum p F / a with p = 1/4, 3/4, a = 2, 10: 8 ((1/4) F_a / 2 + (3/4) F_b / 10). FedAvg would be
 * (1/4) F_a + (3/4) F_b, and tau = the plain mean 6 another wrong one. */
static void fednova_normalises_steps(void **unused) {
    (void)unused;
    struct trib_state *s = cloud_of("fednova", "");
    push(s, (struct push){"a", 1, 10, 2, (float[]){2, 0, 4}});
    push(s, (struct push){"b", 1, 30, 10, (float[]){0, 10, 20}});
    commit(s);
    assert_vector(s->own, 2, 6, 8 * (0.5 + 1.5));
    trib_state_free(&s);
}

/* Two edges with FedNova, and FedNova above them, are FedNova over all devices. */
static void fednova_composes(void **unused) {
    (void)unused;
    static const float F[4][N] = {{1, 0, 2}, {0, 3, -1}, {4, 4, 0}, {-2, 1, 1}};
    static const uint64_t n[4] = {10, 30, 20, 40};
    static const float a[4] = {2, 5, 10, 4};
    struct trib_state *flat = cloud_of("fednova", ""), *above = cloud_of("fednova", "");
    const char *const names[] = {"a", "b", "c", "d"};
    double product = 0, total = 0;
    for (size_t i = 0; i < 4; i++) {
        push(flat, (struct push){names[i], 1, n[i], a[i], F[i]});
        product += (double)n[i] * (double)a[i];
        total += (double)n[i];
    }
    commit(flat);
    double sum[N] = {0};
    for (size_t e = 0; e < 2; e++) {
        struct trib_state *edge = start(TRIB_ROLE_EDGE, "edge.rule: fednova\n", N);
        admit(edge, "a");
        admit(edge, "b");
        edge->has_model = true;
        publish(edge);
        push(edge, (struct push){"a", 1, n[2 * e], a[2 * e], F[2 * e]});
        push(edge, (struct push){"b", 1, n[2 * e + 1], a[2 * e + 1], F[2 * e + 1]});
        commit(edge);
        double p = (double)n[2 * e] / (double)(n[2 * e] + n[2 * e + 1]);
        double tau = p * (double)a[2 * e] + (1 - p) * (double)a[2 * e + 1];
        assert_true(fabs(edge->gathered.steps - tau) < 1e-6);
        push(above,
             (struct push){names[e], 1, edge->gathered.weight, (float)edge->gathered.steps, edge->own});
        trib_state_free(&edge);
    }
    commit(above);
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < N; j++) sum[j] += (double)n[i] / total * (double)F[i][j] / (double)a[i];
    assert_vector(flat->own, product / total * sum[0], product / total * sum[1], product / total * sum[2]);
    assert_vector(above->own, product / total * sum[0], product / total * sum[1], product / total * sum[2]);
    trib_state_free(&flat);
    trib_state_free(&above);
}

/* ---- sums ---- */

static void area_adds_up(void **unused) {
    (void)unused;
    struct trib_state *s = cloud_of("area(k=2)", "train.algorithm: area\nedge.rule: area\n");
    push(s, (struct push){"a", 1, 10, 1, (float[]){1, 0, 0}});
    push(s, (struct push){"b", 1, 990, 1, (float[]){0, 2, 0}});
    commit(s);
    assert_vector(s->own, 1, 2, 0); /* a mean would be half of it, one by samples nearly all of b's */
    trib_state_free(&s);
}

/* Control tensors are added up, whatever the rule does to the model's own. */
static void control_tensors_are_sums(void **unused) {
    (void)unused;
    static const char *const rules[] = {"fedbuff(k=3, lr=0.5, relative=no)",
                                        "median | fedbuff(k=3, lr=0.5, relative=no)",
                                        "fedavg(lr=0.5) | momentum(beta=0, lr=1)",
                                        "ca2fl(k=3, lr=0.5)",
                                        "compensated",
                                        "fedasync(alpha=0.5, share=no)",
                                        "fedasync(form=mix, alpha=0.5, share=no)",
                                        "fedat",
                                        "norm_clip(0.001) | fedbuff(k=3, relative=no)"};
    for (size_t r = 0; r < sizeof rules / sizeof *rules; r++) {
        char plan[256];
        (void)snprintf(plan, sizeof plan, "cloud.rule: %s\n", rules[r]);
        struct trib_state *s = start(TRIB_ROLE_CLOUD, plan, 2 * N);
        assert_int_equal(s->sum_from, N);
        admit(s, "a");
        admit(s, "b");
        admit(s, "c");
        publish(s);
        push(s, (struct push){"a", 1, 10, 1, (float[]){1, 1, 1, 1, 2, 3}});
        if (trib_rule_at_once(s->rule) || trib_rule_form(s->rule) == TRIB_RULE_TIERS) commit(s);
        push(s, (struct push){"b", 1, 70, 1, (float[]){1, 1, 1, 10, 20, 30}});
        if (trib_rule_at_once(s->rule) || trib_rule_form(s->rule) == TRIB_RULE_TIERS) commit(s);
        push(s, (struct push){"c", 1, 20, 1, (float[]){1, 1, 1, 100, 200, 300}});
        commit(s);
        assert_vector(s->own + N, 111, 222, 333);
        trib_state_free(&s);
    }
}

/* What replaces an update under a combiner replaces its averaged part: sums of both stay. */
static void superseded_sums_stay(void **unused) {
    (void)unused;
    struct trib_state *s = start(TRIB_ROLE_CLOUD, "cloud.rule: median | fedbuff(k=3)\n", 2 * N);
    const char *const names[] = {"a", "b", "c"};
    for (size_t i = 0; i < 3; i++) admit(s, names[i]);
    publish(s);
    push(s, (struct push){"a", 1, 10, 1, (float[]){9, 9, 9, 1, 1, 1}});
    for (size_t i = 0; i < 3; i++) push(s, (struct push){names[i], 2, 10, 1, (float[]){1, 1, 1, 1, 1, 1}});
    commit(s);
    assert_vector(s->own, 1, 1, 1);
    assert_vector(s->own + N, 4, 4, 4);
    trib_state_free(&s);
}

/* ---- CA2FL ---- */

static void ca2fl_by_hand(void **unused) {
    (void)unused;
    struct trib_state *s = cloud_of("ca2fl(k=2)", ""); /* N = 4 participants are known */
    push(s, (struct push){"a", 1, 10, 1, (float[]){4, 0, 0}});
    push(s, (struct push){"b", 1, 90, 1, (float[]){0, 4, 0}});
    commit(s); /* H was 0: the mean of the two */
    assert_vector(s->own, 2, 2, 0);
    assert_vector(s->cached, 4, 4, 0);
    push(s, (struct push){"a", 2, 10, 1, (float[]){8, 0, 0}});
    push(s, (struct push){"c", 1, 10, 1, (float[]){0, 0, 2}});
    commit(s); /* H / 4 = (1, 1, 0), A / 2 = ((8 - 4, 0, 0) + (0, 0, 2)) / 2 = (2, 0, 1) */
    assert_vector(s->own, 2 + 3, 2 + 1, 1);
    assert_vector(s->cached, 8, 4, 2);
    push(s, (struct push){"a", 3, 10, 1, (float[]){8, 0, 0}});
    push(s, (struct push){"a", 4, 10, 1, (float[]){10, 0, 0}}); /* the same one twice: 10 - 8 in all */
    commit(s);                                                  /* H / 4 = (2, 1, 0.5), A / 2 = (1, 0, 0) */
    assert_vector(s->own, 5 + 3, 3 + 1, 1.5);
    assert_vector(s->cached, 10, 4, 2);
    trib_state_free(&s);
}

/* ---- series ---- */

/* b sends (0, 2, 0), then (0, 3, 0), and is away from then on; a sends nothing but zeros, so that the step is
 * b's part. E = 3 + 0.5 (3 - 2) = 3.5, which the bound makes 3; n_a = n_b = 10, decay 0.5. */
static void absent_ones_are_estimated(void **unused) {
    (void)unused;
    struct trib_state *s = cloud_of("compensated(momentum=0.5, decay=0.5, most=3)", "");
    uint64_t number = 1;
    double expected = 0;
    for (int round = 1; round <= 6; round++, number++) {
        push(s, (struct push){"a", number, 10, 1, (float[]){0, 0, 0}});
        if (round <= 2) push(s, (struct push){"b", number, 10, 1, (float[]){0, (float)(1 + round), 0}});
        double weight = round <= 2 ? 10 : round <= 5 ? 10 * pow(0.5, round - 2) : 0;
        assert_true(trib_state_estimate(s, 0) == 0); /* it has answered */
        assert_true((double)trib_state_estimate(s, 1) == (round <= 2 ? 0 : weight));
        assert_true(trib_state_estimate(s, 2) == 0); /* was never there */
        commit_without(s, "0123");
        expected += weight * (round == 1 ? 2 : 3) / (10 + weight);
        assert_vector(s->own, 0, expected, 0);
        assert_true((s->peers[1].cache != NULL) == (round < 5)); /* given up: nothing is kept of it */
    }
    push(s, (struct push){"b", 3, 30, 1, (float[]){0, 0, 4}});
    commit(s);
    push(s, (struct push){"a", number, 10, 1, (float[]){0, 0, 0}});
    commit_without(s, "1"); /* one update alone: itself; 30 * 0.5 against 10 */
    assert_vector(s->own, 0, expected, 4 + 15.0 * 4 / 25);
    trib_state_free(&s);
}

/* An estimate within the bound: F = (0, 1, 0), F' = (3, 0, 0), E = (-1.5, 1.5, 0), shorter than F'. And one
 * beyond it: F = (4, 0, 0), F' = (-2, 0, 0), E = (7, 0, 0), which becomes (4, 0, 0). */
static void estimates_are_bounded(void **unused) {
    (void)unused;
    struct trib_state *s = cloud_of("compensated(momentum=0.5, decay=1, most=1)", "");
    push(s, (struct push){"b", 1, 10, 1, (float[]){3, 0, 0}});
    push(s, (struct push){"c", 1, 10, 1, (float[]){-2, 0, 0}});
    commit(s);
    push(s, (struct push){"b", 2, 10, 1, (float[]){0, 1, 0}});
    push(s, (struct push){"c", 2, 10, 1, (float[]){4, 0, 0}});
    commit(s);
    assert_vector(s->own, 0.5 + 2, 0.5, 0);
    push(s, (struct push){"a", 1, 20, 1, (float[]){0, 0, 0}});
    commit_without(s, "12");
    assert_vector(s->own, 2.5 + (-1.5 + 4) / 4, 0.5 + 1.5 / 4, 0);
    trib_state_free(&s);
}

/* Who was not marked takes no part, though an update of it is kept: it was not asked. */
static void who_is_not_away_is_not_estimated(void **unused) {
    (void)unused;
    struct trib_state *s = cloud_of("compensated", "");
    push(s, (struct push){"b", 1, 10, 1, (float[]){0, 2, 0}});
    commit(s);
    push(s, (struct push){"a", 1, 10, 1, (float[]){4, 0, 0}});
    assert_true(trib_state_estimate(s, 1) == 5);
    commit(s);
    assert_vector(s->own, 4, 2, 0);
    trib_state_free(&s);
}

/* What a gate has clipped is expected as short again. */
static void clipped_ones_are_estimated_clipped(void **unused) {
    (void)unused;
    struct trib_state *s = cloud_of("compensated(decay=1)", "");
    struct trib_record record = {.kind = TRIB_REC_VERDICT,
                                 .payload = trib_blob_copy((float[]){0, 8, 0}, N * sizeof(float))};
    trib_rec_set(&record, PEER, peer, text("b"));
    trib_rec_set(&record, INCARNATION, incarnation, 100);
    trib_rec_set(&record, NUMBER, number, 1);
    trib_rec_set(&record, VERDICT, verdict, TRIB_ACCEPTED);
    trib_rec_set(&record, SAMPLES, samples, 10);
    trib_rec_set(&record, APPLIED, applied, 2.5f);
    trib_rec_set(&record, NORM_ADD, norm_add, 10);
    apply(s, &record);
    trib_blob_unref(&record.payload);
    commit(s);
    push(s, (struct push){"a", 1, 10, 1, (float[]){0, 0, 0}});
    commit_without(s, "1");
    assert_vector(s->own, 0, 2 + 1, 0);
    trib_state_free(&s);
}

/* After a rollback nobody is estimated by what belonged to versions that are no more; a record that asks for
 * an estimate of somebody of whom nothing is kept cannot follow. */
static void void_drops_series(void **unused) {
    (void)unused;
    struct trib_state *s = cloud_of("compensated", "");
    struct trib_error err = {0};
    for (uint64_t i = 1; i <= 2; i++) {
        push(s, (struct push){"b", i, 10, 1, (float[]){0, 2, 0}});
        commit(s);
    }
    assert_true(trib_state_estimate(s, 1) > 0);
    struct trib_record back = {.kind = TRIB_REC_ROLLBACK, .payload = trib_state_rollback_payload(s)};
    trib_rec_set(&back, VERSION, version, s->version + 1);
    trib_rec_set(&back, FROM, from_version, 1);
    apply(s, &back);
    trib_blob_unref(&back.payload);
    publish(s);
    assert_true(trib_state_estimate(s, 1) == 0);
    assert_true(s->peers[1].cache == NULL && s->peers[1].older == NULL);
    push(s, (struct push){"a", 1, 10, 1, (float[]){1, 0, 0}});
    struct trib_record record = {.kind = TRIB_REC_COMMIT, .away = {.count = 1, .items = {2}}};
    trib_rec_set(&record, VERSION, version, s->version + 1);
    trib_rec_set(&record, COMMITS, commits, s->commits + 1);
    trib_rec_set(&record, SCALE, scale, 0.1f);
    record.present |= (uint64_t)1 << TRIB_R_AWAY;
    assert_int_equal(trib_state_apply(s, &record, &err), TRIB_CORRUPT);
    assert_non_null(strstr(err.text, "an estimate for a participant"));
    trib_state_free(&s);
}

/* ---- FedAT ---- */

static void fedat_weighs_by_the_others(void **unused) {
    (void)unused;
    uint64_t updates[] = {1, 0, 6, 3};
    double weights[4];
    trib_rule_tier_weights(updates, 4, weights);
    assert_true(weights[0] == 0.6 && weights[1] == 0 && weights[2] == 0.1 && weights[3] == 0.3);
    struct trib_state *s = cloud_of("fedat(tiers=4)", "");
    push(s, (struct push){"a", 1, 10, 1, (float[]){3, 0, 0}});
    commit(s); /* one tier: its model */
    assert_vector(s->own, 3, 0, 0);
    push(s, (struct push){"a", 2, 10, 1, (float[]){3, 0, 0}}); /* T_a = 2, at 6 */
    commit(s);
    assert_vector(s->own, 6, 0, 0);
    push(s, (struct push){"b", 1, 10, 1, (float[]){0, 3, 0}}); /* at (6, 3, 0), with weight 2/3; a's 1/3 */
    commit(s);
    assert_vector(s->own, 6, 2, 0);
    trib_state_free(&s);
}

/* ---- elastic ---- */

static void set_parent(struct trib_state *s, uint64_t version, const float *values) {
    struct trib_record record = {.kind = TRIB_REC_PARENT,
                                 .payload = trib_blob_copy(values, N * sizeof *values)};
    trib_rec_set(&record, VERSION, version, version);
    trib_rec_set(&record, MODEL_KIND, model_kind, TRIB_MODEL_SNAPSHOT);
    apply(s, &record);
    trib_blob_unref(&record.payload);
}

static void forward(struct trib_state *s, const float *values) {
    struct trib_record record = {.kind = TRIB_REC_FORWARD,
                                 .payload = trib_blob_copy(values, N * sizeof *values)};
    trib_rec_set(&record, NUMBER, number, s->next_number);
    trib_rec_set(&record, BASE, base_version, 1);
    trib_rec_set(&record, SAMPLES, samples, s->gathered.samples);
    apply(s, &record);
    trib_blob_unref(&record.payload);
}

/* e = beta (x - c): the edge goes back by it, the centre takes it; when the centre moves the edge stays. */
static void elastic_force(void **unused) {
    (void)unused;
    struct trib_state *s = start(TRIB_ROLE_EDGE, "edge.rule: fedasync\nforward.elastic: 0.25\n", N);
    float model[N];
    admit(s, "a");
    set_parent(s, 1, (float[]){1, 1, 1});
    publish(s);
    push(s, (struct push){"a", 1, 10, 1, (float[]){4, 0, 8}});
    commit(s); /* x = (5, 1, 9), c = (1, 1, 1) */
    uint64_t version = s->version;
    forward(s, (float[]){1, 0, 2});
    trib_state_model(s, model);
    assert_vector(model, 4, 1, 7); /* less e, though the forward is held */
    assert_int_equal(s->held_count, 1);
    assert_int_equal(s->version, version + 1);
    set_parent(s, 2, (float[]){2, 1, 3}); /* c + e */
    trib_state_model(s, model);
    assert_vector(model, 4, 1, 7); /* and not drawn to c otherwise */
    assert_vector(s->own, 2, 0, 4);
    trib_state_free(&s);
}

/* kappa2: forwards by commits, not by updates. A device's samples weigh once in one, however many of its
 * updates are in it, in one commit or in several; what is processed adds up. */
static void what_a_forward_has(void **unused) {
    (void)unused;
    struct trib_state *s = start(TRIB_ROLE_EDGE, "edge.rule: fedbuff(k=2)\nforward.commits: 2\n", N);
    const struct trib_gathered *g = &s->gathered;
    const float one[N] = {1, 1, 1};
    uint64_t number = 1, at_ms;
    admit(s, "a");
    admit(s, "b");
    set_parent(s, 1, one);
    publish(s);
    for (uint64_t i = 1; i <= 2; i++) {
        for (int j = 0; j < 3; j++) push(s, (struct push){"a", number++, 10, 1, one});
        commit(s);
        assert_false(trib_state_forward_due(s, 10, &at_ms));
        push(s, (struct push){"b", i, 70, 1, one});
        push(s, (struct push){"a", number++, 10, 1, one});
        commit(s);
        assert_true(trib_state_forward_due(s, 10, &at_ms));
        assert_int_equal(g->weight, 80);
        assert_int_equal(g->samples, 4 * 10 + 70);
        forward(s, one);
        assert_int_equal(g->weight, 0);
    }
    trib_state_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_median_of_damped_updates),
        cmocka_unit_test(a_newer_update_replaces_the_older),
        cmocka_unit_test(clipping_starts_at_the_last_step),
        cmocka_unit_test(momentum_over_commits),
        cmocka_unit_test(rollback_restores_moments),
        cmocka_unit_test(fednova_normalises_steps),
        cmocka_unit_test(fednova_composes),
        cmocka_unit_test(area_adds_up),
        cmocka_unit_test(control_tensors_are_sums),
        cmocka_unit_test(superseded_sums_stay),
        cmocka_unit_test(ca2fl_by_hand),
        cmocka_unit_test(absent_ones_are_estimated),
        cmocka_unit_test(estimates_are_bounded),
        cmocka_unit_test(who_is_not_away_is_not_estimated),
        cmocka_unit_test(clipped_ones_are_estimated_clipped),
        cmocka_unit_test(void_drops_series),
        cmocka_unit_test(fedat_weighs_by_the_others),
        cmocka_unit_test(elastic_force),
        cmocka_unit_test(what_a_forward_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
