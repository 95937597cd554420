/* Rules: what an update weighs in closed form, what two tiers add up to, and when a rule commits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shared/rules/rule.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* ---- staleness ---- */

static double s_of(const char *spec, uint64_t tau) {
    struct trib_staleness *staleness = NULL;
    struct trib_error err = {0};
    if (trib_staleness_new(spec, &staleness, &err) != TRIB_OK) fail_msg("%s: %s", spec, err.text);
    double s = trib_staleness_factor(staleness, tau);
    trib_staleness_free(&staleness);
    assert_null(staleness);
    return s;
}

static void assert_near(double found, double expected) {
    if (!(fabs(found - expected) <= 1e-12 * fabs(expected)))
        fail_msg("found %.17g, not %.17g", found, expected);
}

static void test_staleness_values(void **state) {
    (void)state;
    static const struct {
        const char *spec;
        uint64_t tau;
        double s;
    } known[] = {
        {"constant", 0, 1},
        {"constant", 1000000, 1},
        {"polynomial", 3, 0.5},
        {"polynomial(0.5)", 8, 1.0 / 3},
        {"polynomial(1)", 4, 0.2},
        {"polynomial(2)", 1, 0.25},
        {"polynomial(0)", 77, 1},
        {"hinge", 4, 1},
        {"hinge", 5, 1.0 / 11},
        {"hinge", 6, 1.0 / 21},
        {"hinge(0.5, 2)", 4, 0.5},
        {"linear(4)", 1, 0.8},
        {"linear(4)", 4, 0.2},
        {"linear(4)", 5, 0.2},
        {"linear(0)", 3, 1},
        {"exponential", 1, 0.74081822068171788},
        {"exponential(0.5)", 2, 0.36787944117144233},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_near(s_of(known[i].spec, known[i].tau), known[i].s);
}

/* 1 / (1 + tau^a) goes by this name in some programs: 1/3 at tau 4, and 1/2 at tau 1. */
static void test_polynomial_is_one_plus_tau_to_the_power(void **state) {
    (void)state;
    assert_near(s_of("polynomial(0.5)", 4), 0.44721359549995794);
    assert_near(s_of("polynomial(0.5)", 1), 0.70710678118654752);
}

/* Without the 1 in its denominator it is 1/10 at b + 1, and 2, not 2/3, for a = 0.5. */
static void test_hinge_has_its_one(void **state) {
    (void)state;
    assert_near(s_of("hinge(10, 4)", 5), 1.0 / 11);
    assert_near(s_of("hinge(0.5, 4)", 5), 2.0 / 3);
}

static void test_staleness_never_reaches_zero(void **state) {
    (void)state;
    assert_true(s_of("exponential(100)", UINT64_MAX) == (double)FLT_MIN);
    assert_true(s_of("polynomial(10)", UINT64_MAX) == (double)FLT_MIN);
    assert_true(s_of("hinge(1000, 0)", UINT64_MAX) > 0);
}

/* ---- helpers ---- */

static struct trib_rule *rule_of(const char *spec, enum trib_tier tier) {
    struct trib_rule *rule = NULL;
    struct trib_error err = {0};
    if (trib_rule_new(spec, tier, &rule, &err) != TRIB_OK) fail_msg("%s: %s", spec, err.text);
    return rule;
}

static struct trib_rule_weight weigh(const struct trib_rule *rule, const struct trib_rule_memory *memory,
                                     uint64_t staleness, double weight, double share) {
    struct trib_rule_update update = {.staleness = staleness, .weight = weight, .share = share, .steps = 1};
    return trib_rule_weigh(rule, memory, &update);
}

/* Weighs and notes; what it weighs is what is returned. */
static struct trib_rule_weight take(const struct trib_rule *rule, struct trib_rule_memory *memory,
                                    uint64_t staleness, double weight, uint64_t now_ms) {
    struct trib_rule_update update = {.staleness = staleness, .weight = weight, .share = 1.0, .steps = 1};
    struct trib_rule_weight w = trib_rule_weigh(rule, memory, &update);
    trib_rule_note_update(memory, NULL, &update, &w, now_ms);
    return w;
}

static void assert_float(float found, float expected) {
    if (memcmp(&found, &expected, sizeof found) != 0)
        fail_msg("found %.9g, not %.9g", (double)found, (double)expected);
}

/* ---- weights ---- */

static void test_fedavg_is_the_weighted_mean(void **state) {
    (void)state;
    struct trib_rule *rule = rule_of("fedavg", TRIB_TIER_EDGE),
                     *half = rule_of("fedavg(lr=0.5)", TRIB_TIER_EDGE);
    struct trib_rule_memory memory = {0};
    assert_true(trib_rule_synchronous(rule));
    assert_int_equal(trib_rule_form(rule), TRIB_RULE_GATHERING);
    const double n[] = {600, 60, 1340}, f[] = {1.0, -2.0, 0.5};
    double sum = 0;
    for (size_t i = 0; i < 3; i++) {
        struct trib_rule_weight w = take(rule, &memory, 0, n[i], 5);
        assert_float(w.factor, 1.0f);
        assert_float(w.applied, (float)n[i]);
        assert_float(w.norm, (float)n[i]);
        sum += (double)w.applied * f[i];
    }
    assert_float(trib_rule_scale(rule, &memory), 1.0f / 2000.0f);
    assert_float(trib_rule_scale(half, &memory), 0.5f / 2000.0f);
    assert_true(fabs(sum * (double)trib_rule_scale(rule, &memory) - 1150.0 / 2000.0) < 1e-7);
    trib_rule_free(&rule);
    trib_rule_free(&half);
}

/* Edges of unequal size, then the cloud, give what one aggregator of all devices gives. The weights that
 * travel up are the edges' sums of n_k. */
static void test_two_tiers_of_fedavg_are_one(void **state) {
    (void)state;
    enum { EDGES = 3, MOST = 4 };
    static const size_t devices[EDGES] = {4, 1, 2};
    static const double n[EDGES][MOST] = {{600, 60, 150, 5}, {1200}, {10, 900}};
    static const double f[EDGES][MOST] = {{0.5, -1.5, 0.25, 3.0}, {-0.125}, {2.0, -0.75}};
    struct trib_rule *edge = rule_of("fedavg", TRIB_TIER_EDGE), *cloud = rule_of("fedavg", TRIB_TIER_CLOUD);
    struct trib_rule_memory at_cloud = {0};
    double flat = 0, all = 0, sum = 0;
    for (size_t e = 0; e < EDGES; e++) {
        struct trib_rule_memory at_edge = {0};
        double gathered = 0, weight = 0;
        for (size_t k = 0; k < devices[e]; k++) {
            gathered += (double)take(edge, &at_edge, 0, n[e][k], 1).applied * f[e][k];
            weight += n[e][k];
            flat += n[e][k] * f[e][k];
            all += n[e][k];
        }
        double forward = gathered * (double)trib_rule_scale(edge, &at_edge);
        sum += (double)take(cloud, &at_cloud, 0, weight, 1).applied * forward;
    }
    assert_true(fabs(sum * (double)trib_rule_scale(cloud, &at_cloud) - flat / all) < 1e-7);
    trib_rule_free(&edge);
    trib_rule_free(&cloud);
}

/* The denominator is the sum of n, not of n s: a buffer of updates that are all stale takes a smaller step.
 */
static void test_fedbuff_normalises_by_samples(void **state) {
    (void)state;
    struct trib_rule *rule = rule_of("fedbuff(k=2)", TRIB_TIER_EDGE);
    struct trib_rule_memory memory = {0};
    struct trib_rule_weight a = take(rule, &memory, 3, 100, 1), b = take(rule, &memory, 8, 300, 2);
    assert_float(a.factor, 0.5f);
    assert_float(a.applied, 50.0f);
    assert_float(a.norm, 100.0f);
    assert_float(b.applied, (float)(300.0 * (double)(float)(1.0 / 3)));
    assert_float(trib_rule_scale(rule, &memory), 1.0f / 400.0f);
    /* Both updates say 1: the step is (50 + 100) / 400, where a division by the sum of weights would say 1.
     */
    double step = (double)(a.applied + b.applied) * (double)trib_rule_scale(rule, &memory);
    assert_true(fabs(step - 0.375) < 1e-6);
    trib_rule_note_commit(&memory, false);
    assert_int_equal(memory.pending, 0);
    assert_true(memory.norm == 0);
    assert_int_equal(memory.recent_count, 2); /* what was seen is not forgotten */
    trib_rule_free(&rule);
}

static void test_fedbuff_by_count(void **state) {
    (void)state;
    struct trib_rule *rule = rule_of("fedbuff(k=4, by=count, lr=2)", TRIB_TIER_EDGE);
    struct trib_rule_memory memory = {0};
    for (uint64_t i = 0; i < 4; i++) {
        struct trib_rule_weight w = take(rule, &memory, 3, 100.0 * (double)i, i);
        assert_float(w.applied, 0.5f);
        assert_float(w.norm, 1.0f);
    }
    assert_float(trib_rule_scale(rule, &memory), 0.5f);
    trib_rule_free(&rule);
}

static void test_scale_is_finite(void **state) {
    (void)state;
    struct trib_rule *rule =
        rule_of("fedbuff(k=1, staleness=exponential(100), lr=1000, normalise=by_weight)", TRIB_TIER_EDGE);
    struct trib_rule_memory memory = {0};
    assert_true(take(rule, &memory, 3, 1, 1).norm > 0.0f);
    assert_true(trib_rule_scale(rule, &memory) == FLT_MAX);
    trib_rule_free(&rule);
}

static void test_no_weight_no_step(void **state) {
    (void)state;
    struct trib_rule *rule = rule_of("fedavg", TRIB_TIER_EDGE);
    struct trib_rule_memory memory = {0};
    (void)take(rule, &memory, 0, 0, 1);
    assert_float(trib_rule_scale(rule, &memory), 0.0f); /* not 1 / 0 */
    trib_rule_free(&rule);
}

static void test_fedasync_forms_and_share(void **state) {
    (void)state;
    struct trib_rule *edge = rule_of("fedasync(alpha=0.5)", TRIB_TIER_EDGE);
    struct trib_rule *cloud = rule_of("fedasync(alpha=0.5, relative=no)", TRIB_TIER_CLOUD);
    struct trib_rule *alone = rule_of("fedasync(relative=no, share=no)", TRIB_TIER_CLOUD);
    struct trib_rule *mix = rule_of("fedasync(mix, 0.6, hinge(10, 4))", TRIB_TIER_EDGE);
    struct trib_rule_memory memory = {0};
    assert_int_equal(trib_rule_form(edge), TRIB_RULE_IMMEDIATE);
    assert_int_equal(trib_rule_form(mix), TRIB_RULE_MIXING);
    assert_false(trib_rule_synchronous(edge));
    assert_float(weigh(edge, &memory, 3, 900, 0.1).applied, 0.25f);   /* neither samples nor share */
    assert_float(weigh(cloud, &memory, 3, 900, 0.1).applied, 0.025f); /* alpha s share */
    assert_float(weigh(alone, &memory, 3, 900, 0.1).applied, 0.5f);
    assert_float(weigh(mix, &memory, 6, 900, 0.1).applied, (float)(0.6 * (double)(float)(1.0 / 21)));
    assert_float(weigh(edge, &memory, 3, 900, 0.1).norm, 0.0f);
    assert_float(trib_rule_scale(edge, &memory), 1.0f);
    assert_float(trib_rule_scale(mix, &memory), 1.0f);
    trib_rule_free(&edge);
    trib_rule_free(&cloud);
    trib_rule_free(&alone);
    trib_rule_free(&mix);
}

static void test_alpha_does_not_decay(void **state) {
    (void)state;
    struct trib_rule *rule = rule_of("fedasync(alpha=0.9, staleness=polynomial(2))", TRIB_TIER_EDGE);
    struct trib_rule_memory memory = {0};
    for (uint64_t i = 0; i < 1000; i++) {
        assert_float(take(rule, &memory, 1, 1, i).applied, 0.225f);
        assert_float(take(rule, &memory, 0, 1, i).applied, 0.9f);
        trib_rule_note_commit(&memory, false);
    }
    trib_rule_free(&rule);
}

/* ---- relative damping ---- */

static void test_relative_damping(void **state) {
    (void)state;
    struct trib_rule *rule = rule_of("fedasync", TRIB_TIER_CLOUD);
    struct trib_rule_memory memory = {0};
    /* The mean includes the update itself: the first one is its own mean, however stale. */
    assert_float(take(rule, &memory, 3, 1, 1).applied, 1.0f);
    /* All equally stale: nothing is damped. */
    assert_float(take(rule, &memory, 3, 1, 2).applied, 1.0f);
    /* Fresher than the mean: 1, not more. s = 1 against (1 + .5 + .5) / 3. */
    struct trib_rule_weight fresh = take(rule, &memory, 0, 1, 3);
    assert_float(fresh.applied, 1.0f);
    assert_float(fresh.factor, 1.0f); /* s itself is what is recorded and averaged */
    /* Staler: s = 1/4 against (1/4 + 1 + 1/2 + 1/2) / 4 = 9/16. */
    assert_float(take(rule, &memory, 15, 1, 4).applied, (float)(0.25 / 0.5625));
    trib_rule_free(&rule);
}

static void test_relative_damping_forgets(void **state) {
    (void)state;
    struct trib_rule *rule = rule_of("fedbuff(k=100)", TRIB_TIER_CLOUD);
    struct trib_rule_memory memory = {0};
    for (uint64_t i = 0; i < 3; i++) (void)take(rule, &memory, 0, 10, i);
    /* With i of s = 1/2 behind it and three of 1 before those, as far as 15 reach. */
    for (uint64_t i = 0; i < 40; i++) {
        double ones = i <= 12 ? 3 : i < 15 ? 15 - (double)i : 0;
        double halves = i < 15 ? (double)i : 15;
        double mean = (0.5 + ones + 0.5 * halves) / (1 + ones + halves);
        struct trib_rule_weight w = take(rule, &memory, 3, 10, 3 + i);
        assert_true(fabs((double)w.applied - 10 * 0.5 / mean) < 1e-6);
        assert_float(w.factor, 0.5f);
        assert_float(w.norm, 10.0f);
    }
    assert_float(weigh(rule, &memory, 3, 10, 1).applied, 10.0f);
    trib_rule_free(&rule);
}

/* At the cloud by default, at an edge when asked for. */
static void test_relative_damping_by_tier(void **state) {
    (void)state;
    static const struct {
        const char *spec;
        enum trib_tier tier;
        bool relative;
    } cases[] = {
        {"fedbuff", TRIB_TIER_CLOUD, true},
        {"fedbuff", TRIB_TIER_EDGE, false},
        {"fedbuff(relative=yes)", TRIB_TIER_EDGE, true},
        {"fedbuff(relative=no)", TRIB_TIER_CLOUD, false},
        {"fedasync", TRIB_TIER_CLOUD, true},
        {"fedasync", TRIB_TIER_EDGE, false},
        {"fedasync(relative=yes)", TRIB_TIER_EDGE, true},
        {"fedasync(form=mix, relative=no)", TRIB_TIER_CLOUD, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trib_rule *rule = rule_of(cases[i].spec, cases[i].tier);
        struct trib_rule_memory memory = {0};
        assert_float(weigh(rule, &memory, 3, 1, 1).applied, cases[i].relative ? 1.0f : 0.5f);
        trib_rule_free(&rule);
    }
}

/* ---- when to commit ---- */

enum { NEVER = -1, NOW = -2 };

/* NOW if a commit is due, else when to ask again, or NEVER. */
static long long ask(const struct trib_rule *rule, const struct trib_rule_memory *memory, uint64_t now_ms,
                     uint64_t active, uint64_t expected) {
    struct trib_rule_state at = {
        .now_ms = now_ms, .active = active, .expected = expected, .version_since_ms = 1000};
    uint64_t wake_ms = 12345;
    if (trib_rule_due(rule, memory, &at, &wake_ms)) {
        assert_true(wake_ms == UINT64_MAX);
        return NOW;
    }
    return wake_ms == UINT64_MAX ? NEVER : (long long)wake_ms;
}

static void test_fedavg_rounds(void **state) {
    (void)state;
    static const struct {
        const char *spec;
        uint64_t pending, now_ms, expected;
        long long answer;
    } cases[] = {
        /* nothing pending is never committed, whoever is there */
        {"fedavg", 0, 1000, 0, NEVER},
        {"fedavg(deadline=5s)", 0, 9000, 0, NEVER},
        /* all who are active */
        {"fedavg", 4, 1000, 1, NEVER},
        {"fedavg", 5, 1000, 0, NOW},
        /* a minimum alone: the first m */
        {"fedavg(minimum=3)", 2, 1000, 3, NEVER},
        {"fedavg(minimum=3)", 3, 1000, 2, NOW},
        {"fedavg(minimum=3)", 2, 1000, 0, NOW},
        /* a deadline alone: then whatever is there */
        {"fedavg(deadline=5s)", 1, 1000, 4, 6000},
        {"fedavg(deadline=5s)", 1, 5999, 4, 6000},
        {"fedavg(deadline=5s)", 1, 6000, 4, NOW},
        {"fedavg(deadline=5s)", 5, 1001, 0, NOW},
        /* both: the deadline with at least m, or all */
        {"fedavg(minimum=3, deadline=5s)", 2, 1000, 3, NEVER},
        {"fedavg(minimum=3, deadline=5s)", 2, 9000, 3, NEVER},
        {"fedavg(minimum=3, deadline=5s)", 3, 3000, 2, 6000},
        {"fedavg(minimum=3, deadline=5s)", 3, 6000, 2, NOW},
        {"fedavg(minimum=3, deadline=5s)", 5, 1001, 0, NOW},
        {"fedavg(minimum=3, deadline=5s)", 2, 1001, 0, NOW},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trib_rule *rule = rule_of(cases[i].spec, TRIB_TIER_EDGE);
        struct trib_rule_memory memory = {0};
        for (uint64_t n = 0; n < cases[i].pending; n++) (void)take(rule, &memory, 0, 1, 1000);
        long long answer = ask(rule, &memory, cases[i].now_ms, 5, cases[i].expected);
        if (answer != cases[i].answer) fail_msg("case %zu, %s: %lld", i, cases[i].spec, answer);
        trib_rule_free(&rule);
    }
}

static void test_immediate_rules_commit_at_once(void **state) {
    (void)state;
    static const char *const specs[] = {"fedasync", "fedasync(form=mix)"};
    for (size_t i = 0; i < 2; i++) {
        struct trib_rule *rule = rule_of(specs[i], TRIB_TIER_CLOUD);
        struct trib_rule_memory memory = {0};
        assert_int_equal(ask(rule, &memory, 5, 9, 9), NEVER);
        (void)take(rule, &memory, 0, 1, 5);
        assert_int_equal(ask(rule, &memory, 5, 9, 9), NOW);
        trib_rule_note_commit(&memory, false);
        assert_int_equal(ask(rule, &memory, 5, 9, 9), NEVER);
        trib_rule_free(&rule);
    }
}

static void test_fedbuff_fills(void **state) {
    (void)state;
    struct trib_rule *rule = rule_of("fedbuff(3)", TRIB_TIER_EDGE);
    struct trib_rule_memory memory = {0};
    (void)take(rule, &memory, 0, 1, 10);
    (void)take(rule, &memory, 0, 1, 20);
    assert_int_equal(memory.pending_since_ms, 10);
    assert_int_equal(ask(rule, &memory, 1000000, 9, 9), NEVER); /* an edge has no deadline by default */
    (void)take(rule, &memory, 0, 1, 30);
    assert_int_equal(ask(rule, &memory, 30, 9, 9), NOW);
    trib_rule_free(&rule);
}

static void test_fedbuff_lowers_k(void **state) {
    (void)state;
    struct trib_rule *rule = rule_of("fedbuff(k=5, deadline=0)", TRIB_TIER_CLOUD);
    struct trib_rule_memory memory = {0};
    (void)take(rule, &memory, 0, 1, 10);
    assert_int_equal(ask(rule, &memory, 1000000, 2, 0), NEVER);
    assert_int_equal(ask(rule, &memory, 10, 1, 0), NOW); /* the other child has left */
    (void)take(rule, &memory, 0, 1, 20);
    assert_int_equal(ask(rule, &memory, 20, 2, 0), NOW);
    assert_int_equal(ask(rule, &memory, 20, 0, 0), NOW);
    static const uint64_t active[] = {0, 1, 2, 5, 9}, needs[] = {1, 1, 2, 5, 5};
    for (size_t i = 0; i < 5; i++) {
        uint64_t configured = 0;
        struct trib_rule_state at = {.active = active[i]};
        assert_int_equal(trib_rule_needs(rule, &at, &configured), needs[i]);
        assert_int_equal(configured, 5);
    }
    trib_rule_free(&rule);
}

static void test_fedbuff_deadline_given(void **state) {
    (void)state;
    struct trib_rule *rule = rule_of("fedbuff(k=3, deadline=2s)", TRIB_TIER_EDGE);
    struct trib_rule_memory memory = {0};
    (void)take(rule, &memory, 0, 1, 5000);
    (void)take(rule, &memory, 0, 1, 6500); /* counted from the first, not the last */
    assert_int_equal(ask(rule, &memory, 6500, 9, 9), 7000);
    assert_int_equal(ask(rule, &memory, 6999, 9, 9), 7000);
    assert_int_equal(ask(rule, &memory, 7000, 9, 9), NOW);
    trib_rule_note_commit(&memory, false);
    assert_int_equal(ask(rule, &memory, 99999, 9, 9), NEVER);
    (void)take(rule, &memory, 0, 1, 100000);
    assert_int_equal(ask(rule, &memory, 100000, 9, 9), 102000);
    trib_rule_free(&rule);
}

/* By default at the cloud: twice the median of the last 16 intervals. */
static void test_fedbuff_deadline_of_the_cloud(void **state) {
    (void)state;
    struct trib_rule *rule = rule_of("fedbuff(k=3)", TRIB_TIER_CLOUD);
    struct trib_rule_memory memory = {0};
    uint64_t now = 1000;
    (void)take(rule, &memory, 0, 1, now);
    assert_int_equal(ask(rule, &memory, now, 9, 9), now + 30000); /* no interval is known yet */
    trib_rule_note_commit(&memory, false);
    static const uint64_t intervals[] = {400, 9000, 200, 600, 500}; /* median 500 */
    for (size_t i = 0; i < 5; i++) {
        now += intervals[i];
        trib_rule_note_commit(&memory, false);
        (void)take(rule, &memory, 0, 1, now);
    }
    assert_int_equal(ask(rule, &memory, now, 9, 9), now + 1000);
    assert_int_equal(ask(rule, &memory, now + 1000, 9, 9), NOW);
    for (size_t i = 0; i < 16; i++) { /* what is older than 16 intervals is forgotten */
        now += 70;
        trib_rule_note_commit(&memory, false);
        (void)take(rule, &memory, 0, 1, now);
    }
    assert_int_equal(ask(rule, &memory, now, 9, 9), now + 140);
    for (size_t i = 0; i < 16; i++) { /* a burst in one millisecond does not make the deadline 0 */
        trib_rule_note_commit(&memory, false);
        (void)take(rule, &memory, 0, 1, now);
    }
    assert_int_equal(ask(rule, &memory, now, 9, 9), now + 100);
    for (size_t i = 0; i < 16; i++) { /* neither outages nor clocks that are put right make it days */
        now += 86400000;
        trib_rule_note_commit(&memory, false);
        (void)take(rule, &memory, 0, 1, now);
    }
    assert_int_equal(ask(rule, &memory, now, 9, 9), now + 600000);
    trib_rule_free(&rule);
}

static void test_clock_that_stands_or_ends(void **state) {
    (void)state;
    struct trib_rule *rule = rule_of("fedbuff(k=3, deadline=24h)", TRIB_TIER_CLOUD);
    struct trib_rule_memory memory = {0};
    (void)take(rule, &memory, 0, 1, UINT64_MAX - 5);
    (void)take(rule, &memory, 0, 1, 7); /* never goes back, but if it did, the interval is 0 */
    assert_int_equal(memory.intervals_ms[0], 0);
    assert_int_equal(ask(rule, &memory, 7, 9, 9), NEVER); /* no wrap-around to a time long past */
    trib_rule_free(&rule);
}

/* ---- specs ---- */

static void test_spec_errors(void **state) {
    (void)state;
    static const struct {
        const char *spec;
        const char *says[2];
    } cases[] = {
        {"fedbuf(3)", {"\"fedbuf\" is no rule", "did you mean \"fedbuff\""}},
        {"FedAsync(1)", {"\"FedAsync\" is no rule; did you mean \"fedasync\"?", "Known are fedavg, "}},
        {"gossip", {"\"gossip\" is no rule; known are fedavg, ", ""}},
        {"fedbuff(k=0)", {"fedbuff: k", "1 to 1000000"}},
        {"fedbuff(k=-3)", {"fedbuff: k", "\"-3\""}},
        {"fedbuff(staleness=polinomial(2))", {"staleness", "did you mean \"polynomial\""}},
        {"fedbuff(staleness=polynomial(99))", {"staleness: polynomial: a", "\"99\""}},
        {"fedbuff(staleness=hinge(10, -1))", {"staleness: hinge: b", "\"-1\""}},
        {"fedbuff(deadline=5)", {"fedbuff: deadline", "30s"}},
        {"fedavg(deadline=soon)", {"fedavg: deadline", "\"soon\""}},
        {"fedasync(form=mux)", {"fedasync: form", "mix"}},
        {"fedasync(alpha=nan)", {"fedasync: alpha", "\"nan\""}},
        {"fedasync(alpha=1.5)", {"fedasync: alpha", "\"1.5\""}},
        {"fedbuff(3", {"fedbuff(3", "not closed"}},
        {"median | fedbuf(3)", {"stage 2, \"fedbuf(3)\": ", "did you mean \"fedbuff\""}},
        {"fedbuff(3) | momentum(beta=2)", {"stage 2, \"momentum(beta=2)\": momentum: beta", "\"2\""}},
        {"median | fedbuff(3) |", {"stage 3, \"\": ", "expected a name"}},
        {"fedbuff(3) | median",
         {"stage 2, median, is a combiner and stands behind fedbuff, a base", "gates, bucket"}},
        {"median | krum | fedbuff(9)", {"stage 2, krum, is a second combiner beside median", ""}},
        {"median", {"median is a combiner: a base is missing", "\"median | fedbuff(k=10)\""}},
        {"bucket(2) | fedbuff(9)", {"bucket has no combiner behind it", ""}},
        {"median | fedasync", {"median sees several updates at once, and fedasync gathers none", ""}},
        {"median | fednova",
         {"median takes the place of a mean, and fednova makes a sum of its own", "take fedbuff"}},
        {"krum(f=2) | fedbuff(k=3)",
         {"krum needs at least 7 updates, fedbuff gives it 3", "commit at 7 or more"}},
        {"krum(f=2) | fedavg", {"krum needs at least 7 updates, fedavg gives it 1", ""}},
        {"bulyan(f=1) | fedbuff(k=6)", {"bulyan needs at least 7 updates, fedbuff gives it 6", ""}},
        {"bucket(2) | krum(f=1) | fedbuff(k=8)", {"krum needs at least 5 rows", "commit at 9 or more"}},
        {"trimmed_mean(f=2) | fedbuff(k=4)", {"trimmed_mean needs at least 5 updates", ""}},
        {"bulyan(f=300) | fedbuff(k=5000)", {"bulyan needs at least 1203 rows", "at most 1024"}},
        {"fedbuff(k=3, k=4)", {"k is given twice", ""}},
        {"", {"expected a name", ""}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trib_rule *rule = NULL;
        struct trib_error err = {0};
        assert_int_equal(trib_rule_new(cases[i].spec, TRIB_TIER_EDGE, &rule, &err), TRIB_INVALID);
        assert_null(rule);
        for (size_t j = 0; j < 2; j++)
            if (strstr(err.text, cases[i].says[j]) == NULL) fail_msg("%s: %s", cases[i].spec, err.text);
        assert_int_equal(trib_rule_check_edge_spec(cases[i].spec, &err), TRIB_INVALID);
        assert_int_equal(trib_rule_check_cloud_spec(cases[i].spec, NULL), TRIB_INVALID);
    }
    char endless[600];
    memset(endless, 'f', sizeof endless - 1);
    endless[sizeof endless - 1] = 0;
    assert_int_equal(trib_rule_check_edge_spec(endless, NULL), TRIB_LIMIT);
    assert_int_equal(trib_rule_check_edge_spec("fedbuff(3)", NULL), TRIB_OK);
}

static void test_canonical_spec(void **state) {
    (void)state;
    struct trib_rule *rule =
        rule_of(" fedbuff( 5 ,staleness = hinge( b=2 ), deadline=90000ms )", TRIB_TIER_CLOUD);
    assert_string_equal(trib_rule_spec(rule),
                        "fedbuff(k=5, staleness=hinge(a=10, b=2), lr=1, "
                        "deadline=90000ms, by=samples, relative=auto, normalise=by_count)");
    trib_rule_free(&rule);
    rule = rule_of("fedavg(deadline=90000ms)", TRIB_TIER_CLOUD);
    assert_string_equal(trib_rule_spec(rule), "fedavg(minimum=0, deadline=90s, lr=1)");
    trib_rule_free(&rule);
    assert_null(rule);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_staleness_values),
        cmocka_unit_test(test_polynomial_is_one_plus_tau_to_the_power),
        cmocka_unit_test(test_hinge_has_its_one),
        cmocka_unit_test(test_staleness_never_reaches_zero),
        cmocka_unit_test(test_fedavg_is_the_weighted_mean),
        cmocka_unit_test(test_two_tiers_of_fedavg_are_one),
        cmocka_unit_test(test_fedbuff_normalises_by_samples),
        cmocka_unit_test(test_fedbuff_by_count),
        cmocka_unit_test(test_scale_is_finite),
        cmocka_unit_test(test_no_weight_no_step),
        cmocka_unit_test(test_fedasync_forms_and_share),
        cmocka_unit_test(test_alpha_does_not_decay),
        cmocka_unit_test(test_relative_damping),
        cmocka_unit_test(test_relative_damping_forgets),
        cmocka_unit_test(test_relative_damping_by_tier),
        cmocka_unit_test(test_fedavg_rounds),
        cmocka_unit_test(test_immediate_rules_commit_at_once),
        cmocka_unit_test(test_fedbuff_fills),
        cmocka_unit_test(test_fedbuff_lowers_k),
        cmocka_unit_test(test_fedbuff_deadline_given),
        cmocka_unit_test(test_fedbuff_deadline_of_the_cloud),
        cmocka_unit_test(test_clock_that_stands_or_ends),
        cmocka_unit_test(test_spec_errors),
        cmocka_unit_test(test_canonical_spec),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
