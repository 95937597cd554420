/* How long a simulation still takes, as its progress line says. */
#include "cli/progress.c"

#include "tests/support/cmocka.h"

/* A simulation whose error is 1 / sqrt(events), evaluated every 100 events, seen until `events`. */
static struct progress seen(const struct trib_scenario *scenario, uint64_t events,
                            struct trib_sim_status *s) {
    struct progress p = {.scenario = scenario, .seed = 1};
    *s = (struct trib_sim_status){.evaluated = true};
    for (uint64_t at = 100; at <= events; at += 100) {
        s->events = at;
        s->evaluations++;
        s->version++;
        s->virtual_ms = at;
        s->accuracy = s->best_accuracy = 1 - 1 / sqrt((double)at);
        note_accuracy(&p, s);
    }
    return p;
}

static void expect_left(const struct trib_scenario *scenario, uint64_t events, double spent,
                        const char *expected) {
    struct trib_sim_status s;
    char left[LEFT_BYTES];
    struct progress p = seen(scenario, events, &s);
    time_left(&p, &s, spent, left);
    assert_string_equal(left, expected);
}

static void test_towards_a_cap(void **unused) {
    (void)unused;
    struct trib_scenario scenario = {0};
    scenario.plan.stop_versions = 40;
    expect_left(&scenario, 1000, 10, "30s left"); /* 10 of 40 versions */
    scenario.plan.stop_ms = 2000;
    expect_left(&scenario, 1000, 10, "10s left"); /* the nearest condition */
    scenario.stop.updates = scenario.stop.events = 1;
    scenario.stop.updates = 0;
    scenario.stop.events = 1000000;
    expect_left(&scenario, 1000, 10, "10s left");
}

static void test_towards_an_accuracy(void **unused) {
    (void)unused;
    struct trib_scenario scenario = {0};
    scenario.plan.stop_accuracy = 0.98; /* at 2,500 events */
    expect_left(&scenario, 1000, 10, "roughly 15s left by its accuracy");
    expect_left(&scenario, 100, 10, "10s so far"); /* one evaluation says nothing */
    expect_left(&scenario, 0, 10, "10s so far");
    scenario.plan.stop_versions = 100;
    expect_left(&scenario, 1000, 10, "at most 90s left, roughly 15s by its accuracy");
    scenario.plan.stop_versions = 20; /* before the accuracy */
    expect_left(&scenario, 1000, 10, "at most 10s left");
    scenario.plan.stop_versions = 0;
    scenario.plan.stop_accuracy = 1; /* never, by this curve */
    expect_left(&scenario, 1000, 10, "10s so far");
    scenario.plan.stop_accuracy = 0.9999; /* 100,000 times as many */
    expect_left(&scenario, 1000, 10, "10s so far");
}

/* An accuracy that stands still is no reason for an estimate, nor is one that is being gone through again. */
static void test_nobody_knows(void **unused) {
    (void)unused;
    struct trib_scenario scenario = {0};
    struct trib_sim_status s;
    char left[LEFT_BYTES];
    scenario.plan.stop_accuracy = 0.98;
    struct progress p = seen(&scenario, 1000, &s);
    s.best_accuracy = 1 - p.marks[0].error;
    time_left(&p, &s, 200, left);
    assert_string_equal(left, "3m so far");
    s.catching_up = true;
    time_left(&p, &s, 10, left);
    assert_string_equal(left, "catching up");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_towards_a_cap),
        cmocka_unit_test(test_towards_an_accuracy),
        cmocka_unit_test(test_nobody_knows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
