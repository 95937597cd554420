/* Every row of the rules' table at work: a parent, message by message, with participants whose updates are
 * four floats in f32. What a row must do follows from what it declares: its stage, and what its rule says of
 * itself (trib_rule_form, _synchronous, _at_once, _sums, _optimises, _least, _needs, _scale, _weigh).
 *
 * A new row is picked up by being in the table: by its name alone, by its example, with each value of its
 * choices and switches, with each staleness function of that table, and with lr=0.5, where it has those; at
 * both tiers, in each company that its stage can have (tests/support/crowd.c): gates, combiners and
 * optimisers with every base, a bucket before every combiner. Its example has to work with as many updates as
 * trib_rule_least and trib_rule_needs say, of at most CROWD_MOST. A form that is
 * new has to say in `expected_step` what identical updates come to. What a row does otherwise for a reason
 * stands in `exceptions`, and only as long as that is so. */
#include "tests/support/cmocka.h"

#include "tests/support/crowd.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = CROWD_N, TEXT = 256 };

/* What a check found wrong; empty: nothing. */
struct finding {
    char text[TEXT];
};
typedef void (*check_function)(const struct crowd_subject *subject, struct finding *wrong);

__attribute__((format(printf, 2, 3))) static void found(struct finding *wrong, const char *format, ...) {
    va_list list;
    if (wrong->text[0] != 0) return; /* the first one tells most */
    va_start(list, format);
    (void)vsnprintf(wrong->text, sizeof wrong->text, format, list);
    va_end(list);
}

/* ---- what deviates, and why ---- */

static const struct {
    const char *row, *check, *why;
} exceptions[] = {
    {"bucket", "order", "buckets are drawn among the places of a buffer, whoever stands there"},
    {"bucket", "permutation", "the same: of the same places others share a bucket"},
    {"bucket", "bits", "the same"},
    {"multi_krum", "bits", "a mean of those chosen, whose thirds are added up as they came"},
    {"geometric_median", "bits", "sums of fractions, as they came"},
    {"centered_clip", "bits", "sums of fractions, as they came"},
    {"fedat", "bits", "sums of fractions, tier by tier, and others are those tiers"},
    {"norm_clip", "bits", "before fedat, the same"},
    {"norm_filter", "bits", "before fedat, the same"},
};

/* ---- participants ---- */

static const struct trib_msg *push_good(struct crowd *c, size_t who, const struct crowd_update *u,
                                        struct finding *wrong) {
    const struct trib_msg *ack = crowd_push(c, who, u);
    if (ack->verdict != TRIB_ACCEPTED)
        found(wrong, "a good update of participant %zu is refused, for reason %llu", who,
              (unsigned long long)ack->reason);
    c->applied[who] = ack->applied_weight;
    return ack;
}

/* A round: in which order they come, and whose is which; NULL: as they stand. */
struct round {
    const struct crowd_update *updates;
    const size_t *order, *whose;
};

/* Who updates the model at once starts from the newest one, the others all from the same. */
static void go_round(struct crowd *c, struct round round, struct finding *wrong) {
    bool anew = trib_rule_at_once(c->of->rule);
    for (size_t i = 0; i < c->count && !anew; i++) crowd_pull(c, i);
    for (size_t i = 0; i < c->count; i++) {
        size_t who = round.order != NULL ? round.order[i] : i;
        if (anew) crowd_pull(c, who);
        (void)push_good(c, who, &round.updates[round.whose != NULL ? round.whose[who] : who], wrong);
    }
    if (c->node.state->pending_count > 0)
        found(wrong, "%zu of %zu updates wait for ever", c->node.state->pending_count, c->count);
}

/* ---- updates ---- */

/* All alike but for what they weigh. */
static void identical(struct crowd_update *updates, size_t count) {
    for (size_t i = 0; i < count; i++)
        updates[i] =
            (struct crowd_update){.weight = 10 * (i + 1), .steps = 2.0f, .values = {1.0f, -2.0f, 0.5f, 4.0f}};
}

/* Of about the same length and direction, so that no gate has a reason, and of small whole numbers, so that
 * their sums have no rounding in whatever order. */
static void different(struct crowd_update *updates, size_t count) {
    static const int around[N] = {40, -30, 50, 20}, strides[N] = {7, 11, 5, 13};
    for (size_t i = 0; i < count; i++) {
        updates[i] = (struct crowd_update){.weight = 1 + i * 3 % 7, .steps = (float)(1 << i % 3)};
        for (size_t j = 0; j < N; j++)
            updates[i].values[j] = (float)(around[j] + (int)(i + 1) * (int)(i + 2) * strides[j] % 17 - 8);
    }
}

static bool near(float a, double b) {
    return isfinite(a) && fabs((double)a - b) <= 2e-5 * (1e-3 + fabs(b));
}

static bool same_bits(float a, float b) {
    uint32_t x, y;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    return x == y;
}

static void compare(const float *a, const float *b, bool exact, const char *what, struct finding *wrong) {
    for (size_t j = 0; j < N; j++)
        if (exact ? !same_bits(a[j], b[j]) : !near(a[j], (double)b[j]))
            found(wrong, "%s: model[%zu] is %.9g, not %.9g", what, j, (double)a[j], (double)b[j]);
}

static void unchanged(const struct crowd *c, const float *before, uint64_t commits, const char *what,
                      struct finding *wrong) {
    compare(c->node.state->own, before, true, what, wrong);
    if (c->node.state->commits != commits) found(wrong, "%s: a commit", what);
}

static const float nothing[N];

/* ---- what identical updates come to ---- */

/* The base's lr, as the canonical spec has it; 1 where there is none. No other stage before it has one. */
static double rate_of(const struct crowd_subject *s) {
    const char *stage = trib_rule_spec(s->rule), *end = strstr(stage, " | ");
    for (; end != NULL && !trib_rule_optimises(s->rule); end = strstr(stage, " | ")) stage = end + 3;
    const char *lr = strstr(stage, "lr=");
    return lr != NULL && (end == NULL || lr < end) ? strtod(lr + 3, NULL) : 1.0;
}

static double applied(const struct crowd *c) {
    double sum = 0.0;
    for (size_t i = 0; i < c->count; i++) sum += (double)c->applied[i];
    return sum;
}

/* Identical updates at staleness 0 move the model by so many times one of them; an optimiser takes that for
 * its gradient. */
static double expected_step(const struct crowd *c) {
    const struct trib_rule *rule = c->of->rule;
    if (trib_rule_sums(rule)) return (double)c->count;
    switch (trib_rule_form(rule)) {
    case TRIB_RULE_IMMEDIATE:
    case TRIB_RULE_MIXING: return applied(c); /* from the newest model: nothing to go back to */
    case TRIB_RULE_TIERS: return 1.0;         /* weights of tiers add up to 1 */
    case TRIB_RULE_GATHERING:
    case TRIB_RULE_BUFFERED:
    case TRIB_RULE_CACHED:
    case TRIB_RULE_SERIES: break;
    }
    return rate_of(c->of);
}

/* Does its row have a parameter for shares of the population, which is on? */
static bool shares(const struct crowd_subject *s) {
    const char *spec = trib_rule_spec(s->rule);
    return strstr(spec, "share=yes") != NULL ||
           (strstr(spec, "share=auto") != NULL && s->tier == TRIB_TIER_CLOUD);
}

/* What a round of these weighs where nobody is late and all shares are known: so much as the rule has one
 * weigh that is alone, or its share of that. */
static double expected_weight(const struct crowd *c, const struct crowd_update *updates) {
    const struct trib_rule_memory memory = {0};
    double all = 0.0, sum = 0.0;
    for (size_t i = 0; i < c->count; i++) all += (double)updates[i].weight;
    for (size_t i = 0; i < c->count; i++) {
        struct trib_rule_update update = {.weight = (double)updates[i].weight,
                                          .share = 1.0,
                                          .steps = (double)updates[i].steps,
                                          .commits = c->node.state->commits + i};
        double alone = (double)trib_rule_weigh(c->of->rule, &memory, &update).applied;
        sum += shares(c->of) ? alone * update.weight / all : alone;
    }
    return sum;
}

/* A model that goes the way of identical updates. */
struct expected {
    float model[N], moments[TRIB_RULE_MOMENTS][N];
    uint64_t steps;
};

static void expect_step(struct expected *e, const struct trib_rule *rule, const float *update, double step) {
    float *const vectors[] = {e->moments[0], e->moments[1], e->moments[2]};
    e->steps++;
    if (trib_rule_optimises(rule))
        trib_rule_optimise(rule, &(struct trib_rule_step){.count = e->steps}, vectors, update, (float)step,
                           e->model, N);
    for (size_t j = 0; j < N && !trib_rule_optimises(rule); j++) e->model[j] += (float)step * update[j];
}

static void steps_of(const struct crowd_subject *s, size_t count, struct finding *wrong) {
    enum { ROUNDS = 3 };
    struct crowd_update updates[CROWD_MOST];
    struct crowd c;
    struct expected expected = {.steps = 0};
    identical(updates, count);
    crowd_gather(&c, s, count, 1000);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        double weight = expected_weight(&c, updates);
        go_round(&c, (struct round){.updates = updates}, wrong);
        if (trib_rule_at_once(s->rule) && (round > 0 || count == 1) && !near((float)applied(&c), weight))
            found(wrong, "weights add up to %g, not %g", applied(&c), weight);
        expect_step(&expected, s->rule, updates[0].values, expected_step(&c));
        compare(c.node.state->own, expected.model, false, "identical updates", wrong);
        for (size_t j = 0; j < N; j++)
            if (!(c.node.state->own[j] * updates[0].values[j] > 0.0f)) found(wrong, "another direction");
    }
    crowd_scatter(&c);
}

static void check_identical(const struct crowd_subject *s, struct finding *wrong) {
    steps_of(s, s->count, wrong);
}

/* One alone; a combiner that needs more waits, however long. */
static void check_single(const struct crowd_subject *s, struct finding *wrong) {
    if (trib_rule_least(s->rule) == 1) {
        steps_of(s, 1, wrong);
        return;
    }
    struct crowd_update update;
    struct crowd c;
    identical(&update, 1);
    crowd_gather(&c, s, 1, 1000);
    (void)push_good(&c, 0, &update, wrong);
    for (int i = 0; i < 10; i++) role_wait(&c.node, 3600 * 1000);
    unchanged(&c, nothing, 0, "one update, where more are needed", wrong);
    crowd_scatter(&c);
}

/* ---- what different ones come to ---- */

static void round_of(const struct crowd_subject *s, struct round round, float out[N], struct finding *wrong) {
    struct crowd c;
    crowd_gather(&c, s, s->count, 1000);
    go_round(&c, round, wrong);
    memcpy(out, c.node.state->own, N * sizeof *out);
    crowd_scatter(&c);
}

/* Gathered: their weighted sum, scaled, as the rule says. */
static void expected_sum(const struct crowd_subject *s, const struct crowd_update *updates,
                         double expected[N]) {
    struct trib_rule_memory memory = {0};
    for (size_t j = 0; j < N; j++) expected[j] = 0.0;
    for (size_t i = 0; i < s->count; i++) {
        struct trib_rule_update update = {
            .weight = (double)updates[i].weight, .share = 1.0, .steps = (double)updates[i].steps};
        struct trib_rule_weight weight = trib_rule_weigh(s->rule, &memory, &update);
        memory.norm += (double)weight.norm;
        memory.steps += (double)weight.norm * update.steps;
        for (size_t j = 0; j < N; j++) expected[j] += (double)weight.applied * (double)updates[i].values[j];
    }
    double scale = (double)trib_rule_scale(s->rule, &memory);
    for (size_t j = 0; j < N; j++) expected[j] *= scale;
}

/* What is gathered has a closed form. Whatever stands for a mean is between the least and the greatest of
 * those that did the same number of steps, times the rate. */
static void check_mean(const struct crowd_subject *s, struct finding *wrong) {
    struct crowd_update updates[CROWD_MOST];
    double expected[N];
    float step[N];
    enum trib_rule_form form = trib_rule_form(s->rule);
    if (trib_rule_at_once(s->rule) || trib_rule_optimises(s->rule)) return;
    different(updates, s->count);
    if (form == TRIB_RULE_GATHERING || form == TRIB_RULE_CACHED || form == TRIB_RULE_SERIES) {
        round_of(s, (struct round){.updates = updates}, step, wrong);
        expected_sum(s, updates, expected);
        for (size_t j = 0; j < N; j++)
            if (!near(step[j], expected[j]))
                found(wrong, "step[%zu] is %g, not %g", j, (double)step[j], expected[j]);
    }
    for (size_t i = 0; i < s->count; i++) updates[i].steps = 1.0f;
    round_of(s, (struct round){.updates = updates}, step, wrong);
    for (size_t j = 0; j < N && !trib_rule_sums(s->rule); j++) {
        double least = INFINITY, greatest = -INFINITY, found_at = (double)step[j] / rate_of(s);
        for (size_t i = 0; i < s->count; i++) {
            least = fmin(least, (double)updates[i].values[j]);
            greatest = fmax(greatest, (double)updates[i].values[j]);
        }
        if (!(found_at >= least - 1e-4 && found_at <= greatest + 1e-4))
            found(wrong, "mean[%zu] is %g, of %g to %g", j, found_at, least, greatest);
    }
}

/* ---- order ---- */

/* Two others than 0, 1, 2, ...: backwards, and every second one first. */
static void permute(size_t which, size_t count, size_t *order) {
    for (size_t i = 0; i < count; i++)
        order[i] = which == 0 ? count - 1 - i : 2 * i < count ? 2 * i : 2 * (i - (count + 1) / 2) + 1;
}

/* Of updates that commit together. They are whole numbers, so that sums of them have no rounding. */
static void compare_orders(const struct crowd_subject *s, bool arrival, bool exact, struct finding *wrong) {
    struct crowd_update updates[CROWD_MOST];
    size_t order[CROWD_MOST];
    float usual[N], other[N];
    if (trib_rule_at_once(s->rule) && !trib_rule_takes_whole(s->rule)) return; /* the later ones weigh less */
    different(updates, s->count);
    round_of(s, (struct round){.updates = updates}, usual, wrong);
    for (size_t which = 0; which < 2; which++) {
        permute(which, s->count, order);
        struct round round = {updates, arrival ? order : NULL, arrival ? NULL : order};
        round_of(s, round, other, wrong);
        compare(other, usual, exact, arrival ? "another order" : "of other participants", wrong);
    }
}

static void check_order(const struct crowd_subject *s, struct finding *wrong) {
    compare_orders(s, true, false, wrong);
}

static void check_permutation(const struct crowd_subject *s, struct finding *wrong) {
    compare_orders(s, false, false, wrong);
}

static void check_bits(const struct crowd_subject *s, struct finding *wrong) {
    compare_orders(s, true, true, wrong);
    compare_orders(s, false, true, wrong);
}

/* ---- late, none, twice, not finite ---- */

/* What participant 0's update weighs after a round, from the newest model or from the first one. */
static float weight_after(const struct crowd_subject *s, bool late, struct finding *wrong) {
    struct crowd_update updates[CROWD_MOST];
    struct crowd c;
    different(updates, s->count);
    crowd_gather(&c, s, s->count, 1000);
    uint64_t first = c.bases[0];
    go_round(&c, (struct round){.updates = updates}, wrong);
    if (late)
        c.bases[0] = first;
    else
        crowd_pull(&c, 0);
    const struct trib_msg *ack = crowd_push(&c, 0, &updates[0]);
    bool taken = ack->verdict == TRIB_ACCEPTED;
    if (taken == (late && trib_rule_synchronous(s->rule)))
        found(wrong, "%s: verdict %llu", late ? "late" : "in time", (unsigned long long)ack->verdict);
    if (!taken && ack->reason != TRIB_REASON_ROUND)
        found(wrong, "refused for reason %llu, not for its round", (unsigned long long)ack->reason);
    float weight = taken ? ack->applied_weight : 0.0f;
    crowd_scatter(&c);
    return weight;
}

static void check_stale(const struct crowd_subject *s, struct finding *wrong) {
    struct crowd_update updates[CROWD_MOST];
    struct crowd c;
    float fresh = weight_after(s, false, wrong), late = weight_after(s, true, wrong), before[N];
    if (!(late <= fresh && fresh > 0.0f)) found(wrong, "late it weighs %g, in time %g", late, fresh);
    different(updates, s->count);
    crowd_gather(&c, s, s->count, s->count);
    uint64_t first = c.bases[0];
    while (c.node.state->commits <= s->count && wrong->text[0] == 0)
        go_round(&c, (struct round){.updates = updates}, wrong);
    uint64_t commits = c.node.state->commits;
    memcpy(before, c.node.state->own, sizeof before);
    c.bases[0] = first;
    const struct trib_msg *ack = crowd_push(&c, 0, &updates[0]);
    if (ack->verdict != TRIB_REFUSED || ack->reason != TRIB_REASON_STALE)
        found(wrong, "above the cap: verdict %llu, reason %llu", (unsigned long long)ack->verdict,
              (unsigned long long)ack->reason);
    unchanged(&c, before, commits, "above the cap", wrong);
    crowd_scatter(&c);
}

/* Whatever time passes, before the first update and after a commit. */
static void check_empty(const struct crowd_subject *s, struct finding *wrong) {
    struct crowd_update updates[CROWD_MOST];
    different(updates, s->count);
    for (int rounds = 0; rounds < 2; rounds++) {
        struct crowd c;
        float before[N];
        crowd_gather(&c, s, s->count, 1000);
        if (rounds > 0) go_round(&c, (struct round){.updates = updates}, wrong);
        memcpy(before, c.node.state->own, sizeof before);
        uint64_t commits = c.node.state->commits;
        for (uint64_t ms = 1; ms <= UINT64_C(1) << 27; ms *= 2) role_wait(&c.node, ms);
        unchanged(&c, before, commits, "nothing came", wrong);
        crowd_scatter(&c);
    }
}

static void repeat(struct crowd *c, size_t who, const struct crowd_update *u, const struct trib_msg *first,
                   struct finding *wrong) {
    const struct trib_msg *again = crowd_push_number(c, who, c->numbers[who], u);
    if (again->verdict != first->verdict || again->applied_weight != first->applied_weight ||
        again->staleness != first->staleness)
        found(wrong, "another verdict on a repeat");
}

/* Everything comes again, at once and when all is committed. */
static void check_duplicate(const struct crowd_subject *s, struct finding *wrong) {
    struct crowd_update updates[CROWD_MOST];
    const struct trib_msg *acks[CROWD_MOST];
    struct crowd c;
    float once[N];
    different(updates, s->count);
    round_of(s, (struct round){.updates = updates}, once, wrong);
    crowd_gather(&c, s, s->count, 1000);
    for (size_t i = 0; i < s->count; i++) {
        if (trib_rule_at_once(s->rule)) crowd_pull(&c, i);
        acks[i] = push_good(&c, i, &updates[i], wrong);
        repeat(&c, i, &updates[i], acks[i], wrong);
    }
    for (size_t i = 0; i < s->count; i++) repeat(&c, i, &updates[i], acks[i], wrong);
    compare(c.node.state->own, once, true, "each came three times", wrong);
    crowd_scatter(&c);
}

/* Refused, and nothing changes, then or for those that come after it. */
static void check_not_finite(const struct crowd_subject *s, struct finding *wrong) {
    const float bad[] = {NAN, INFINITY, -INFINITY};
    struct crowd_update updates[CROWD_MOST];
    float clean[N];
    different(updates, s->count);
    round_of(s, (struct round){.updates = updates}, clean, wrong);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct crowd_update broken = updates[0];
        struct crowd c;
        broken.values[N - 1 - i] = bad[i];
        crowd_gather(&c, s, s->count, 1000);
        for (int after = 0; after < 2; after++) {
            uint64_t commits = c.node.state->commits;
            if (after > 0) crowd_pull(&c, 0);
            const struct trib_msg *ack = crowd_push(&c, 0, &broken);
            if (ack->verdict != TRIB_REFUSED || ack->reason != TRIB_REASON_NOT_FINITE)
                found(wrong, "%g: verdict %llu, reason %llu", (double)bad[i],
                      (unsigned long long)ack->verdict, (unsigned long long)ack->reason);
            unchanged(&c, after > 0 ? clean : nothing, commits, "not finite", wrong);
            if (after == 0) go_round(&c, (struct round){.updates = updates}, wrong);
        }
        crowd_scatter(&c);
    }
}

/* ---- the walk ---- */

static const struct check {
    const char *name;
    check_function run;
} checks[] = {
    {"single", check_single},
    {"identical", check_identical},
    {"mean", check_mean},
    {"order", check_order},
    {"permutation", check_permutation},
    {"bits", check_bits},
    {"stale", check_stale},
    {"empty", check_empty},
    {"duplicate", check_duplicate},
    {"not_finite", check_not_finite},
};
enum { CHECKS = sizeof checks / sizeof *checks, EXCEPTIONS = sizeof exceptions / sizeof *exceptions };

/* Index in `exceptions`, or EXCEPTIONS. */
static size_t exception_of(const char *row, const char *check) {
    size_t i = 0;
    while (i < EXCEPTIONS && (strcmp(exceptions[i].row, row) != 0 || strcmp(exceptions[i].check, check) != 0))
        i++;
    return i;
}

/* A subject by a check; `excused` counts what an exception was needed for. */
static bool passes(const struct check *check, const struct crowd_subject *s, size_t *excused) {
    struct finding wrong = {{0}};
    size_t exception = exception_of(s->row->name, check->name);
    check->run(s, &wrong);
    if (wrong.text[0] == 0) return true;
    if (exception < EXCEPTIONS) {
        excused[exception]++;
        return true;
    }
    print_error("%s: %s at the %s: %s\n", check->name, s->spec, crowd_tier_name(s->tier), wrong.text);
    return false;
}

/* All of a row at one tier. Returns how many failed. */
static size_t walk_row(const struct check *check, const struct trib_rule_row *row, enum trib_tier tier,
                       size_t *excused) {
    struct crowd_subject s;
    size_t failed = 0;
    for (size_t shape = 0;; shape++) {
        size_t company = 0, together = 0;
        for (; crowd_subject(row, tier, shape, company, &s); company++) {
            if (s.rule == NULL) continue; /* refused, with a reason */
            together++;
            failed += !passes(check, &s, excused);
            trib_rule_free(&s.rule);
        }
        if (company == 0) return failed;
        if (together > 0) continue;
        print_error("%s: %s goes with nothing: %s\n", check->name, s.spec, s.apart.text);
        failed++;
    }
}

static void walk(void **state) {
    const struct check *check = *state;
    size_t count = 0, failed = 0, excused[EXCEPTIONS] = {0};
    const struct trib_rule_row *const *rows = trib_rule_rows(&count);
    for (size_t i = 0; i < count; i++) {
        failed += walk_row(check, rows[i], TRIB_TIER_EDGE, excused);
        failed += walk_row(check, rows[i], TRIB_TIER_CLOUD, excused);
    }
    for (size_t i = 0; i < EXCEPTIONS; i++) {
        if (strcmp(exceptions[i].check, check->name) != 0 || excused[i] > 0) continue;
        print_error("%s: %s needs no exception (%s)\n", check->name, exceptions[i].row, exceptions[i].why);
        failed++;
    }
    if (failed > 0) fail_msg("%s: %zu of the above", check->name, failed);
}

static void test_exceptions_name_checks(void **state) {
    (void)state;
    for (size_t i = 0; i < EXCEPTIONS; i++) {
        size_t known = 0;
        for (size_t j = 0; j < CHECKS; j++) known += strcmp(exceptions[i].check, checks[j].name) == 0;
        assert_int_equal(known, 1);
        assert_int_equal(exception_of(exceptions[i].row, exceptions[i].check), i);
    }
}

int main(void) {
    struct CMUnitTest tests[CHECKS + 1] = {cmocka_unit_test(test_exceptions_name_checks)};
    struct check own[CHECKS];
    memcpy(own, checks, sizeof own);
    for (size_t i = 0; i < CHECKS; i++)
        tests[i + 1] = (struct CMUnitTest){.name = own[i].name, .test_func = walk, .initial_state = &own[i]};
    return cmocka_run_group_tests_name("rules_walk", tests, NULL, NULL);
}
