/* What simulated devices tell of themselves reaches the policies that choose, and changes nothing else. */
#include "shared/sim/internal.h"

#include "tests/support/cmocka.h"
#include "tests/support/scenarios.h"

#include <stdio.h>
#include <string.h>

enum { DEVICES = 40 };

static struct trib_scenario scenario;

/* Rounds of cheap updates, all devices below the cloud. */
static struct trib_sim *make(const char *more) {
    static const char base[] = "train: {none: true, parameters: 32}\nledger.cloud: none\nfleet.devices: 40\n"
                               "fleet.edges: 0\nplan.cloud.rule: fedavg\nplan.stop.versions: 40\n";
    struct trib_error err;
    struct trib_sim *sim = NULL;
    scenario_from(&scenario, base, more);
    struct trib_sim_options options = {.scenario = &scenario, .seed = 3, .out = ""};
    if (trib_sim_new(&options, &sim, &err) != TRIB_OK) fail_msg("%s", err.text);
    return sim;
}

static void run(struct trib_sim *sim) {
    struct trib_error err;
    bool over = false;
    if (trib_sim_run(sim, 0, &over, &err) != TRIB_OK) fail_msg("%s", err.text);
    assert_true(over);
    assert_int_equal(trib_sim_status(sim).version, 40);
}

static void done(struct trib_sim *sim) {
    trib_sim_free(&sim);
    trib_scenario_release(&scenario);
}

static uint64_t updates_of(const struct trib_sim *sim, size_t device) {
    return sim->nodes[1 + sim->edge_count + device].state->next_number - 1;
}

/* The share of the updates that devices of a class made, and of the devices. */
static double share_of(const struct trib_sim *sim, const char *name, double *devices) {
    uint64_t theirs = 0, all = 0, count = 0;
    for (size_t i = 0; i < DEVICES; i++) {
        bool is = strcmp(sim->conditions[i].device_class, name) == 0;
        theirs += is ? updates_of(sim, i) : 0;
        all += updates_of(sim, i);
        count += is;
    }
    *devices = (double)count / DEVICES;
    return (double)theirs / (double)all;
}

/* With the same share for each class the rare one has half of the places, every round. */
static void a_stratified_plan_takes_from_each_class(void **state) {
    (void)state;
    static const char *const classes = "fleet.classes: [phone, phone, phone, sensor]\n";
    char text[400];
    double sensors;
    (void)snprintf(text, sizeof text, "%splan.select: {count: 8, policy: stratified(shares=equal)}\n",
                   classes);
    struct trib_sim *sim = make(text);
    run(sim);
    assert_true(share_of(sim, "sensor", &sensors) > 0.49 && share_of(sim, "sensor", &sensors) < 0.51);
    assert_true(sensors > 0.1 && sensors < 0.4);
    done(sim);
    (void)snprintf(text, sizeof text, "%splan.select: {count: 8, policy: random}\n", classes);
    sim = make(text);
    run(sim);
    double share = share_of(sim, "sensor", &sensors);
    assert_true(share > sensors - 0.1 && share < sensors + 0.1);
    done(sim);
}

/* Who tells less than the plan asks for never trains; of the others each does. */
static void check_least(const char *more, bool (*fit)(const struct trib_conditions *told)) {
    struct trib_sim *sim = make(more);
    size_t unfit = 0;
    run(sim);
    for (size_t i = 0; i < DEVICES; i++) {
        bool fits = fit(&sim->conditions[i]);
        assert_true(fits == (updates_of(sim, i) > 0));
        unfit += !fits;
    }
    assert_in_range(unfit, 5, 35);
    done(sim);
}

static bool battery_fits(const struct trib_conditions *told) {
    return told->battery >= 40;
}
static bool line_fits(const struct trib_conditions *told) {
    return told->link >= 50000;
}

static void a_least_battery_is_kept_to(void **state) {
    (void)state;
    check_least("fleet.battery: \"uniform(0, 100)\"\nplan.select: {count: 8, min_battery: 40}\n",
                battery_fits);
}

static void a_least_line_is_kept_to(void **state) {
    (void)state;
    check_least("fleet.link: \"loguniform(5000, 500000)\"\nplan.select: {count: 8, min_link: 50000}\n",
                line_fits);
}

static uint64_t end_of(const char *more, uint8_t digest[TRIB_DIGEST_BYTES]) {
    struct trib_sim *sim = make(more);
    run(sim);
    memcpy(digest, trib_sim_model_digest(sim), TRIB_DIGEST_BYTES);
    uint64_t end_ms = trib_sim_status(sim).virtual_ms;
    done(sim);
    return end_ms;
}

/* Class and battery are told and not asked for: the same history. A line is as fast as it says. */
static void nothing_else_changes(void **state) {
    (void)state;
    uint8_t plain[TRIB_DIGEST_BYTES], told[TRIB_DIGEST_BYTES];
    static const char *const fleet =
        "fleet.speed: \"uniform(1, 9)\"\nfleet.delay: exponential(1)\nfleet.stay: exponential(20)\n"
        "fleet.away: exponential(5)\n";
    char text[400];
    uint64_t end_ms = end_of(fleet, plain);
    (void)snprintf(text, sizeof text, "%sfleet.classes: [a, b]\nfleet.battery: \"uniform(0, 200)\"\n", fleet);
    assert_int_equal(end_of(text, told), end_ms);
    assert_memory_equal(told, plain, sizeof told);
    /* The narrower of the two counts; both figures take one byte to tell. */
    (void)snprintf(text, sizeof text, "%sfleet.link: 100\n", fleet);
    uint64_t slower_ms = end_of(text, plain);
    assert_true(slower_ms > end_ms + end_ms / 10);
    (void)snprintf(text, sizeof text, "%sfleet.link: 120\nlinks.device: {up: 100, down: 100}\n", fleet);
    assert_int_equal(end_of(text, told), slower_ms);
    (void)snprintf(text, sizeof text, "%sfleet.link: 100\nlinks.device: {up: 120, down: 120}\n", fleet);
    assert_int_equal(end_of(text, told), slower_ms);
    assert_memory_equal(told, plain, sizeof told);
}

/* One key's draws do not depend on another's; batteries end at 100. */
static void each_is_drawn_by_itself(void **state) {
    (void)state;
    struct trib_sim *sim = make("fleet.battery: \"uniform(0, 200)\"\n");
    uint64_t batteries[DEVICES], full = 0;
    for (size_t i = 0; i < DEVICES; i++) {
        batteries[i] = sim->conditions[i].battery;
        full += batteries[i] == 100;
        assert_true(batteries[i] <= 100 && sim->conditions[i].link == 0);
        assert_null(sim->conditions[i].device_class);
    }
    assert_in_range(full, 10, 30);
    done(sim);
    sim = make("fleet: {classes: [a, b, c], link: 2000, battery: \"uniform(0, 200)\"}\n");
    size_t bs = 0;
    for (size_t i = 0; i < DEVICES; i++) {
        assert_true(sim->conditions[i].battery == batteries[i] && sim->conditions[i].link == 2000);
        bs += strcmp(sim->conditions[i].device_class, "b") == 0;
    }
    assert_in_range(bs, 5, 25);
    done(sim);
}

static void refused(const char *text, const char *what) {
    struct trib_error err;
    assert_int_equal(trib_scenario_defaults(&scenario, &err), TRIB_OK);
    assert_int_equal(trib_options_parse(trib_scenario_options, trib_scenario_option_count, &scenario, text,
                                        strlen(text), "test", &err),
                     TRIB_INVALID);
    if (strstr(err.text, what) == NULL) fail_msg("%s", err.text);
    trib_scenario_release(&scenario);
}

static void wrong_ones_are_refused(void **state) {
    (void)state;
    refused("fleet.classes: [a phone]\n", "without spaces");
    refused("fleet.classes: [abcdefghijklmnopqrstuvwxyz0123456]\n", "1 to 32");
    refused("fleet.battery: many\n", "many");
    refused("fleet.link: uniform(2, 1)\n", "low is 2");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stratified_plan_takes_from_each_class),
        cmocka_unit_test(a_least_battery_is_kept_to),
        cmocka_unit_test(a_least_line_is_kept_to),
        cmocka_unit_test(nothing_else_changes),
        cmocka_unit_test(each_is_drawn_by_itself),
        cmocka_unit_test(wrong_ones_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
