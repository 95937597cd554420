/* Bases and gates: what an update weighs, when a commit is due, what is refused; and the traps that are found
 * elsewhere under the same names. */
#include "tests/support/cmocka.h"

#include "shared/rules/rule.h"

#include <math.h>
#include <string.h>

static struct trib_rule *rule_of(const char *spec, enum trib_tier tier) {
    struct trib_rule *rule = NULL;
    struct trib_error err = {0};
    if (trib_rule_new(spec, tier, &rule, &err) != TRIB_OK) fail_msg("%s: %s", spec, err.text);
    return rule;
}

static void assert_close(double found, double expected) {
    if (!(fabs(found - expected) <= 1e-6 * (1 + fabs(expected))))
        fail_msg("found %.9g, not %.9g", found, expected);
}

/* The same three updates, all equally late: s = 1/2. */
static double scale_times_applied(const char *spec) {
    struct trib_rule *rule = rule_of(spec, TRIB_TIER_EDGE);
    struct trib_rule_memory memory = {0};
    double applied = 0;
    for (uint64_t i = 0; i < 3; i++) {
        struct trib_rule_update update = {.staleness = 3, .weight = 10.0 * (double)(i + 1), .share = 1};
        struct trib_rule_weight w = trib_rule_weigh(rule, &memory, &update);
        trib_rule_note_update(&memory, NULL, &update, &w, i);
        applied += (double)w.applied;
    }
    double found = applied * (double)trib_rule_scale(rule, &memory);
    trib_rule_free(&rule);
    return found;
}

/* Divided by the sum of the damped weights a late buffer would not be damped at all: that is by_weight, for
 * who wants it. */
static void normalisation_is_a_choice(void **state) {
    (void)state;
    assert_close(scale_times_applied("fedbuff(3)"), 0.5);
    assert_close(scale_times_applied("fedbuff(3, by=count)"), 0.5);
    assert_close(scale_times_applied("fedbuff(3, normalise=by_weight)"), 1);
    assert_close(scale_times_applied("fedbuff(3, by=count, normalise=by_weight)"), 1);
}

static void async_sgd_decays_by_commits(void **state) {
    (void)state;
    struct trib_rule *rule = rule_of("async_sgd(lr=0.5, decay=0.1, staleness=polynomial(1))", TRIB_TIER_EDGE);
    struct trib_rule_memory memory = {0};
    static const struct {
        uint64_t commits, staleness;
        double applied;
    } cases[] = {{0, 0, 0.5}, {10, 0, 0.25}, {10, 1, 0.125}, {0, 4, 0.1}, {0, 0, 0.5}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trib_rule_update update = {
            .staleness = cases[i].staleness, .commits = cases[i].commits, .weight = 77, .share = 0.1};
        for (int twice = 0; twice < 2; twice++) { /* asking changes nothing */
            struct trib_rule_weight w = trib_rule_weigh(rule, &memory, &update);
            assert_close((double)w.applied, cases[i].applied);
            trib_rule_note_update(&memory, NULL, &update, &w, i);
        }
    }
    trib_rule_free(&rule);
}

static double weighs(const char *spec, enum trib_tier tier, uint64_t staleness) {
    struct trib_rule *rule = rule_of(spec, tier);
    struct trib_rule_memory memory = {0};
    struct trib_rule_update fresh = {.weight = 30, .share = 0.1}, update = fresh;
    update.staleness = staleness;
    struct trib_rule_weight w = trib_rule_weigh(rule, &memory, &fresh);
    trib_rule_note_update(&memory, NULL, &fresh, &w, 1);
    w = trib_rule_weigh(rule, &memory, &update);
    trib_rule_free(&rule);
    return (double)w.applied;
}

/* At the cloud each update counts by its child's share of the population, and is damped against the mean of
 * what came before: after one with s = 1 an s of 1/2 is 2/3 of the mean. */
static void async_sgd_by_tier(void **state) {
    (void)state;
    assert_close(weighs("async_sgd(lr=0.5)", TRIB_TIER_CLOUD, 9), 0.05); /* constant: never damped */
    assert_close(weighs("async_sgd(lr=0.5)", TRIB_TIER_EDGE, 9), 0.5);
    assert_close(weighs("async_sgd(lr=0.5, share=no)", TRIB_TIER_CLOUD, 9), 0.5);
    assert_close(weighs("async_sgd(lr=0.5, share=yes)", TRIB_TIER_EDGE, 9), 0.05);
    assert_close(weighs("async_sgd(staleness=polynomial(1))", TRIB_TIER_EDGE, 1), 0.5);
    assert_close(weighs("async_sgd(staleness=polynomial(1))", TRIB_TIER_CLOUD, 1), 0.1 * 2 / 3);
    assert_close(weighs("async_sgd(staleness=polynomial(1), relative=no)", TRIB_TIER_CLOUD, 1), 0.1 / 2);
    assert_close(weighs("async_sgd(staleness=polynomial(1), relative=yes)", TRIB_TIER_EDGE, 1), 2.0 / 3);
}

/* A mean by samples: n s of each over the sum of n, so that one that is late counts less and nobody else
 * more. It needs no share, which n is in a mean. */
static void semiasync_damps(void **state) {
    (void)state;
    assert_close(scale_times_applied("semiasync"), 0.5);
    assert_close(scale_times_applied("semiasync(staleness=constant)"), 1);
    assert_close(scale_times_applied("semiasync(lr=3, staleness=polynomial(1))"), 0.75);
    assert_close(scale_times_applied("semiasync(relative=yes)"), 1); /* all are equally late */
    assert_close(weighs("semiasync", TRIB_TIER_EDGE, 3), 30 * 0.5);
    assert_close(weighs("semiasync", TRIB_TIER_CLOUD, 3), 30 * 0.5 / 0.75);
    assert_close(weighs("semiasync(relative=no)", TRIB_TIER_CLOUD, 3), 30 * 0.5);
    assert_close(weighs("semiasync(relative=yes)", TRIB_TIER_EDGE, 3), 30 * 0.5 / 0.75);
}

static void semiasync_periods(void **state) {
    (void)state;
    struct trib_rule *rule = rule_of("semiasync(period=5s, synchronise=4)", TRIB_TIER_EDGE);
    struct trib_rule_memory memory = {.pending = 2, .pending_since_ms = 1000};
    struct trib_rule_state at = {.now_ms = 5999, .active = 5, .expected = 3, .commits = 1};
    uint64_t wake_ms;
    assert_true(trib_rule_counts_idle(rule));
    assert_false(trib_rule_synchronous(rule));
    assert_false(trib_rule_due(rule, &memory, &at, &wake_ms));
    assert_true(wake_ms == 6000);
    at.now_ms = 6000;
    assert_true(trib_rule_due(rule, &memory, &at, &wake_ms));
    at.commits = 3; /* the fourth waits for all */
    assert_false(trib_rule_due(rule, &memory, &at, &wake_ms));
    assert_true(wake_ms == UINT64_MAX);
    at.expected = 0;
    assert_true(trib_rule_due(rule, &memory, &at, &wake_ms));
    trib_rule_free(&rule);
    rule = rule_of("semiasync(period=5s)", TRIB_TIER_EDGE);
    at.expected = 3;
    assert_true(trib_rule_due(rule, &memory, &at, &wake_ms));
    trib_rule_free(&rule);
}

/* ---- gates ---- */

static struct trib_rule_weight with_norm(const struct trib_rule *rule, struct trib_rule_memory *memory,
                                         struct trib_rule_peer *peer, double norm, double cosine) {
    struct trib_rule_update update = {.weight = 10, .share = 1, .norm = norm, .cosine = cosine, .loss = 0.25};
    struct trib_rule_weight w = trib_rule_weigh(rule, memory, &update);
    trib_rule_note_update(memory, peer, &update, &w, 1);
    return w;
}

static void norms_are_clipped(void **state) {
    (void)state;
    static const char *const specs[] = {"norm_clip(2) | fedbuff(3)", "norm_clip(2) | fedavg",
                                        "norm_clip(2) | fedasync(staleness=constant)"};
    static const double full[] = {10, 10, 1};
    for (size_t i = 0; i < 3; i++) {
        struct trib_rule *rule = rule_of(specs[i], TRIB_TIER_EDGE);
        struct trib_rule_memory memory = {0};
        assert_close((double)with_norm(rule, &memory, NULL, 2, 0).applied, full[i]);
        struct trib_rule_weight w = with_norm(rule, &memory, NULL, 8, 0);
        assert_close((double)w.applied, full[i] / 4);
        assert_close((double)w.norm, i < 2 ? 10 : 0); /* it still counts in the mean */
        trib_rule_free(&rule);
    }
    struct trib_rule *rule = rule_of("norm_clip | fedasync(staleness=constant)", TRIB_TIER_EDGE);
    struct trib_rule_memory memory = {0};
    for (int i = 0; i < 4; i++) /* until some are known nothing is clipped */
        assert_close((double)with_norm(rule, &memory, NULL, i == 2 ? 1000 : 2, 0).applied, 1);
    assert_close((double)with_norm(rule, &memory, NULL, 6, 0).applied, 0.5); /* 1.5 x 2 of 6 */
    trib_rule_free(&rule);
}

static void long_updates_are_refused(void **state) {
    (void)state;
    struct trib_rule *rule = rule_of("norm_filter(factor=3) | fedasync(staleness=constant)", TRIB_TIER_EDGE);
    struct trib_rule_memory memory = {0};
    struct trib_rule_peer peer = {0};
    for (int i = 0; i < 5; i++)
        assert_int_equal(with_norm(rule, &memory, &peer, 2, 0).refusal, TRIB_RULE_TAKEN);
    assert_int_equal(with_norm(rule, &memory, &peer, 6, 0).refusal, TRIB_RULE_TAKEN);
    uint64_t pending = memory.pending;
    struct trib_rule_weight w = with_norm(rule, &memory, &peer, 6.1, 0);
    assert_int_equal(w.refusal, TRIB_RULE_NORM);
    assert_true(w.applied == 0 && w.norm == 0);
    assert_int_equal(memory.pending, pending); /* it is not waited with */
    assert_int_equal(peer.accepted, 6);
    assert_int_equal(peer.refused, 1);
    assert_true(peer.norm == 6.1f && peer.loss == 0.25f);
    int refused = 0; /* when most have become longer, that is what is usual */
    while (with_norm(rule, &memory, &peer, 50, 0).refusal != TRIB_RULE_TAKEN) refused++;
    assert_true(refused > 2 && refused < 64);
    trib_rule_free(&rule);
}

static void opposed_updates_are_refused(void **state) {
    (void)state;
    struct trib_rule *rule = rule_of("cosine_filter(min=0.1) | fedbuff(3)", TRIB_TIER_EDGE);
    struct trib_rule_memory memory = {0};
    assert_true(trib_rule_needs_step(rule));
    assert_int_equal(with_norm(rule, &memory, NULL, 1, 0).refusal, TRIB_RULE_TAKEN); /* no step yet */
    assert_int_equal(with_norm(rule, &memory, NULL, 1, 0.1).refusal, TRIB_RULE_TAKEN);
    assert_int_equal(with_norm(rule, &memory, NULL, 1, 0.09).refusal, TRIB_RULE_DIRECTION);
    assert_int_equal(with_norm(rule, &memory, NULL, 1, -1).refusal, TRIB_RULE_DIRECTION);
    trib_rule_free(&rule);
    rule = rule_of("norm_clip | fedbuff(3)", TRIB_TIER_EDGE);
    assert_false(trib_rule_needs_step(rule));
    trib_rule_free(&rule);
}

/* ---- what cannot stand together ---- */

static void assert_refused(const char *spec, enum trib_tier tier, const char *says) {
    struct trib_rule *rule = NULL;
    struct trib_error err = {0};
    assert_int_equal(trib_rule_new(spec, tier, &rule, &err), TRIB_INVALID);
    if (strstr(err.text, says) == NULL) fail_msg("%s: %s", spec, err.text);
}

static void combinations_that_make_no_sense(void **state) {
    (void)state;
    assert_refused("norm_clip | area", TRIB_TIER_EDGE, "adds updates as they are");
    assert_refused("area | momentum", TRIB_TIER_CLOUD, "adds updates as they are");
    assert_refused("fedat | adam", TRIB_TIER_CLOUD, "makes a model and no step");
    assert_refused("cosine_filter | fedat", TRIB_TIER_CLOUD, "a step of fedat is tiers that change weight");
    assert_refused("norm_clip | trust | fedat", TRIB_TIER_CLOUD, "trust compares updates with the last step");
    assert_refused("fedat", TRIB_TIER_EDGE, "fedat is for the cloud");
    assert_refused("median | ca2fl", TRIB_TIER_EDGE, "sees several updates at once, and ca2fl gathers none");
    assert_refused("norm_clip(0) | fedbuff", TRIB_TIER_EDGE, "no radius");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normalisation_is_a_choice),
        cmocka_unit_test(async_sgd_decays_by_commits),
        cmocka_unit_test(async_sgd_by_tier),
        cmocka_unit_test(semiasync_damps),
        cmocka_unit_test(semiasync_periods),
        cmocka_unit_test(norms_are_clipped),
        cmocka_unit_test(long_updates_are_refused),
        cmocka_unit_test(opposed_updates_are_refused),
        cmocka_unit_test(combinations_that_make_no_sense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
