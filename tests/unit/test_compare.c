/* What `tributary compare` reads off curves, and its statistics: by hand on small examples. */
#include "cli/curve.c"

#include "tests/support/cmocka.h"
#include "tests/support/ledger_kit.h"

#include <math.h>

static void near(double found, double expected) {
    if (!(fabs(found - expected) < 1e-9)) fail_msg("found %.12g, expected %.12g", found, expected);
}

/* Evaluations at times 10, 20, ... with twice as many updates; the first one costs nothing. */
static struct curve curve_of(const double *accuracies, size_t count) {
    struct curve curve = {0};
    for (size_t i = 0; i < count; i++) {
        struct curve_point point = {.accuracy = accuracies[i]};
        point.cost[CURVE_SECONDS] = 10.0 * (double)i;
        point.cost[CURVE_UPDATES] = 20.0 * (double)i;
        assert_int_equal(curve_add(&curve, &point, NULL), TRIB_OK);
    }
    return curve;
}

#define CURVE(...)                                                                                           \
    curve_of((const double[]){__VA_ARGS__}, sizeof((const double[]){__VA_ARGS__}) / sizeof(double))

static void test_line_between_evaluations(void **state) {
    (void)state;
    double cost[CURVE_COSTS];
    struct curve curve = CURVE(0.1, 0.5, 0.9);
    assert_true(curve_reach(&curve, 0.6, cost));
    near(cost[CURVE_SECONDS], 12.5);
    near(cost[CURVE_UPDATES], 25);
    assert_true(curve_reach(&curve, 0.5, cost));
    near(cost[CURVE_SECONDS], 10);
    assert_true(curve_reach(&curve, 0.9, cost));
    near(cost[CURVE_SECONDS], 20);
    assert_false(curve_reach(&curve, 0.91, cost));
    curve_release(&curve);
}

/* A dip does not count: the line to the crossing begins at the best accuracy before it, when it was last
 * held. */
static void test_best_so_far(void **state) {
    (void)state;
    double cost[CURVE_COSTS];
    struct curve curve = CURVE(0.1, 0.8, 0.2, 0.9, 0.3, 0.95);
    assert_true(curve_reach(&curve, 0.85, cost));
    near(cost[CURVE_SECONDS], 25); /* half-way from 0.8 at 20 to 0.9 at 30; from the dip it would be 29.3 */
    assert_true(curve_reach(&curve, 0.5, cost));
    near(cost[CURVE_SECONDS], 10.0 * 4 / 7);
    curve_release(&curve);
}

static void test_first_evaluation(void **state) {
    (void)state;
    double cost[CURVE_COSTS], best, final;
    struct curve_point point = {.accuracy = 0.7, .cost = {[CURVE_SECONDS] = 4}};
    struct curve curve = {0};
    assert_false(curve_reach(&curve, 0.1, cost));
    assert_false(curve_ends(&curve, &best, &final));
    assert_int_equal(curve_add(&curve, &point, NULL), TRIB_OK);
    assert_true(curve_reach(&curve, 0.6, cost));
    near(cost[CURVE_SECONDS], 4);
    curve_release(&curve);
}

static void test_ends(void **state) {
    (void)state;
    double best = 0, final = 0;
    struct curve curve = CURVE(0.1, 0.9, 0.8);
    assert_true(curve_ends(&curve, &best, &final));
    near(best, 0.9);
    near(final, 0.8);
    curve_release(&curve);
}

static void test_value_at(void **state) {
    (void)state;
    struct curve curve = CURVE(0.1, 0.5, 0.5, 0.9);
    near(curve_at(&curve, CURVE_SECONDS, 0), 0.1);
    near(curve_at(&curve, CURVE_SECONDS, 2.5), 0.2);
    near(curve_at(&curve, CURVE_SECONDS, 15), 0.5);
    near(curve_at(&curve, CURVE_UPDATES, 60), 0.9);
    curve_release(&curve);
    curve = CURVE(0.4); /* a single evaluation is everywhere */
    near(curve_at(&curve, CURVE_SECONDS, 0), 0.4);
    curve_release(&curve);
}

static void test_spread(void **state) {
    (void)state;
    struct curve_spread spread = {0};
    near(curve_spread_sd(&spread), 0);
    curve_spread_add(&spread, 2);
    near(curve_spread_sd(&spread), 0);
    static const double more[] = {4, 4, 4, 5, 5, 7, 9};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) curve_spread_add(&spread, more[i]);
    near(spread.mean, 5);
    near(curve_spread_sd(&spread), sqrt(32.0 / 7)); /* of a sample: n - 1 */
    near(spread.min, 2);
    near(spread.max, 9);
    struct curve_spread high = {0}; /* deviations far below the mean are not lost to rounding */
    for (int i = 0; i < 3; i++) curve_spread_add(&high, 1e9 + i);
    near(curve_spread_sd(&high), 1);
}

/* The kit's run: two updates of 1,000 bytes a version, each with three below it, increments of 777 bytes
 * after version 0, 10 ms a record. */
static void test_from_a_ledger(void **state) {
    (void)state;
    struct ledger_kit kit;
    struct trib_ledger_reader *reader = NULL;
    struct trib_ledger_run run;
    struct trib_error err;
    struct curve curve = {0};
    ledger_kit_init(&kit, "cloud");
    ledger_kit_cloud_run(&kit, 0x33, 6);
    assert_int_equal(trib_ledger_open_readonly(kit.kit.folder, &reader, &err), TRIB_OK);
    assert_int_equal(trib_ledger_find(reader, "last", &run, &err), TRIB_OK);
    assert_int_equal(curve_read(reader, run.run_id, &curve, &err), TRIB_OK);
    assert_int_equal(curve.count, 6);
    for (size_t i = 0; i < curve.count; i++) {
        const struct curve_point *point = &curve.points[i];
        double version = (double)i + 1;
        near(point->accuracy, (double)(1.0f - 0.5f / (float)version));
        near(point->cost[CURVE_VERSIONS], version);
        near(point->cost[CURVE_CONTRIBUTIONS], 2 * version);
        near(point->cost[CURVE_UPDATES], 6 * version);
        near(point->cost[CURVE_CLOUD_UP], 2000 * version);
        near(point->cost[CURVE_SECONDS], 0.01 * (4 + 5 * (double)i + 3));
    }
    near(curve.points[0].cost[CURVE_BROADCAST], 0); /* all on version 0, which is its seed */
    near(curve.points[1].cost[CURVE_BROADCAST], 3 * 777);
    curve_release(&curve);
    trib_ledger_close(&reader);
    ledger_kit_release(&kit);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_between_evaluations),
        cmocka_unit_test(test_best_so_far),
        cmocka_unit_test(test_first_evaluation),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_value_at),
        cmocka_unit_test(test_spread),
        cmocka_unit_test(test_from_a_ledger),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
