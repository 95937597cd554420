/* The simulator: one history a seed, whatever the number of threads; bytes and updates add up; delays are
 * drawn from the distributions that they are named after. */
#include "tests/support/cmocka.h"
#include "tests/support/scenarios.h"

#include "shared/sim/delay.h"
#include "shared/sim/queue.h"
#include "shared/sim/sim.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const small =
    "ledger.cloud: none\ndata.path: data/mnist-sample\n"
    "fleet: {devices: 6, edges: 2, speed: \"uniform(1, 3)\", delay: \"lognormal(0, 0.5)\"}\n"
    "plan:\n  model: softmax\n  train: {max_samples: 40, batch: 10, lr: 0.05}\n";

struct outcome {
    struct trib_sim_status status;
    uint8_t digest[TRIB_DIGEST_BYTES], model[TRIB_DIGEST_BYTES];
};

static struct outcome simulate(const char *more, uint64_t seed) {
    struct trib_scenario scenario;
    struct outcome out;
    struct trib_error err = {0};
    struct trib_sim *sim = NULL;
    bool over = false;
    scenario_from(&scenario, small, more);
    struct trib_sim_options options = {.scenario = &scenario, .seed = seed, .out = ""};
    if (trib_sim_new(&options, &sim, &err) != TRIB_OK) fail_msg("%s", err.text);
    if (trib_sim_run(sim, 0, &over, &err) != TRIB_OK) fail_msg("%s", err.text);
    assert_true(over);
    assert_int_equal(trib_sim_close(sim, &err), TRIB_OK);
    out.status = trib_sim_status(sim);
    assert_int_equal(trib_sim_digest(sim, out.digest, &err), TRIB_OK);
    memcpy(out.model, trib_sim_model_digest(sim), sizeof out.model);
    trib_sim_free(&sim);
    trib_scenario_release(&scenario);
    return out;
}

static void one_seed_one_digest_for_any_threads(void **unused) {
    (void)unused;
    struct outcome one = simulate("threads: 1\nplan.stop.versions: 12\n", 5);
    struct outcome three = simulate("threads: 3\nplan.stop.versions: 12\n", 5);
    struct outcome other = simulate("threads: 3\nplan.stop.versions: 12\n", 6);
    assert_memory_equal(one.digest, three.digest, TRIB_DIGEST_BYTES);
    assert_memory_not_equal(one.digest, other.digest, TRIB_DIGEST_BYTES);
    assert_int_equal(one.status.version, 12);
    assert_int_equal(one.status.events, three.status.events);
    assert_true(one.status.accuracy == three.status.accuracy);
    assert_string_equal(one.status.reason, "versions");
}

/* Commits are parted among threads where rules combine: at the cloud by distances, at edges number by number.
 * The model is longer than one thread's part. */
static void commits_are_the_same_for_any_threads(void **unused) {
    (void)unused;
    static const char *const rules[] = {
        "plan.cloud.rule: \"multi_krum(f=1, m=2) | fedbuff(k=5)\"\nfleet.edges: 0\n",
        "plan.edge.rule: \"median | fedbuff(k=3)\"\n", "plan.cloud.rule: \"centered_clip | fedbuff(k=2)\"\n"};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        struct outcome out[2];
        for (int threads = 1; threads <= 3; threads += 2) {
            char text[400];
            (void)snprintf(text, sizeof text,
                           "threads: %d\ntrain: {none: true, parameters: 150000}\nplan.stop.versions: 6\n%s",
                           threads, rules[i]);
            out[threads / 2] = simulate(text, 7);
        }
        assert_memory_equal(out[0].digest, out[1].digest, TRIB_DIGEST_BYTES);
        assert_int_equal(out[0].status.events, out[1].status.events);
    }
}

/* Also where the end comes while it is evaluated, or an older one is. */
static void the_last_version_is_evaluated(void **unused) {
    (void)unused;
    static const char *const delays[] = {"0", "100ms", "1s", "100s"};
    struct outcome at_once = {0};
    for (size_t i = 0; i < sizeof delays / sizeof *delays; i++) {
        char text[100];
        (void)snprintf(text, sizeof text, "plan.stop.versions: 8\nevaluate.delay: %s\n", delays[i]);
        struct outcome out = simulate(text, 1);
        if (i == 0) at_once = out;
        assert_int_equal(out.status.evaluated_version, 8);
        assert_true(out.status.loss == at_once.status.loss);
    }
}

static void it_learns(void **unused) {
    (void)unused;
    struct outcome out = simulate("plan.stop: {accuracy: 0.7, time: 30m}\n", 1);
    assert_string_equal(out.status.reason, "accuracy");
    assert_true(out.status.accuracy >= 0.7);
}

/* What devices keep goes from update to update: with worker momentum 0.9 a first update counts a tenth, and
 * the later ones grow. Without the memory it would be a tenth of each, as with lr=0.1. */
static void devices_remember(void **unused) {
    (void)unused;
    static const char *const rounds = "fleet.edges: 0\nplan.stop.versions: 15\nplan.train.batch: 0\n";
    char plan[200];
    (void)snprintf(plan, sizeof plan, "%splan.train.worker_momentum: 0.9\nplan.cloud.rule: fedavg\n", rounds);
    struct outcome kept = simulate(plan, 4);
    (void)snprintf(plan, sizeof plan, "%splan.cloud.rule: fedavg(lr=0.1)\n", rounds);
    struct outcome lost = simulate(plan, 4);
    assert_true(kept.status.loss < lost.status.loss - 0.05);
    (void)snprintf(plan, sizeof plan,
                   "threads: 3\n%splan.train.worker_momentum: 0.9\nplan.cloud.rule: fedavg\n", rounds);
    struct outcome three = simulate(plan, 4);
    assert_memory_equal(kept.digest, three.digest, TRIB_DIGEST_BYTES);
}

/* The same rounds, whether the devices' answers are added up at edges first or not: the model of two
 * synchronous tiers is that of one, up to the order of sums. */
static void two_synchronous_tiers_learn_as_a_flat_one(void **unused) {
    (void)unused;
    static const char *const lossless = "plan.codec: {up: f32, down: f32, forward: f32, global: f32}\n"
                                        "plan.cloud.rule: fedavg\nplan.edge.rule: fedavg\n"
                                        "plan.stop.versions: 4\n";
    char text[400];
    (void)snprintf(text, sizeof text, "%sfleet.edges: 0\n", lossless);
    struct outcome flat = simulate(text, 3);
    (void)snprintf(text, sizeof text, "%sfleet.edges: 2\nplan.forward.hold: true\n", lossless);
    struct outcome tiers = simulate(text, 3);
    assert_int_equal(flat.status.hop_count, 1);
    assert_int_equal(tiers.status.hop_count, 2);
    assert_true(fabs(flat.status.loss - tiers.status.loss) < 2e-3);
    assert_true(fabs(flat.status.accuracy - tiers.status.accuracy) <= 0.01);
}

static void edges_may_have_edges(void **unused) {
    (void)unused;
    struct outcome out = simulate("fleet.levels: [1, 2]\nplan.stop.versions: 5\n", 1);
    assert_int_equal(out.status.hop_count, 3);
    assert_int_equal(out.status.version, 5);
    for (size_t i = 0; i < 3; i++) assert_true(out.status.hops[i].up_bytes > 0);
    struct outcome far = simulate(
        "fleet.levels: [1, 2]\nplan.stop.versions: 5\nlinks.inner: {up: 20kB, down: 20kB, latency: 1s}\n", 1);
    assert_true(far.status.virtual_ms > out.status.virtual_ms + 2000); /* a forward and a model, at least */
    far = simulate("fleet.levels: [1, 2]\nplan.stop.versions: 5\nlinks.edge.latency: 3s\n", 1);
    assert_true(far.status.virtual_ms > out.status.virtual_ms + 6000);
    struct outcome two = simulate("plan.stop.versions: 5\nlinks.inner.latency: 1s\n", 1);
    assert_int_equal(two.status.virtual_ms, simulate("plan.stop.versions: 5\n", 1).status.virtual_ms);
}

static void what_is_not_delivered_is_not_accepted(void **unused) {
    (void)unused;
    struct outcome out = simulate("fleet.drop: 0.3\nplan.stop.time: 40s\n", 2);
    const struct trib_sim_status *s = &out.status;
    assert_true(s->dropped > 0 && s->dropped < s->trained);
    assert_true(s->updates.accepted + s->updates.refused + s->dropped <= s->trained);
    /* What is missing is on its way still. */
    assert_true(s->updates.accepted + s->updates.refused + s->dropped + 6 >= s->trained);
    assert_int_equal(s->virtual_ms, 40000);
}

static void nothing_trained_takes_no_data(void **unused) {
    (void)unused;
    static const char *const plain = "train: {none: true, parameters: 40}\nplan.stop.time: 30s\n";
    struct outcome one = simulate(plain, 1), again = simulate(plain, 1);
    assert_memory_equal(one.digest, again.digest, TRIB_DIGEST_BYTES);
    assert_false(one.status.evaluated);
    assert_true(one.status.updates.accepted > 50);
}

static void a_slower_line_takes_longer(void **unused) {
    (void)unused;
    struct outcome fast = simulate("plan.stop.versions: 6\n", 1);
    struct outcome slow =
        simulate("links.device: {up: 2kB, down: 2kB, latency: 200ms}\nplan.stop.versions: 6\n", 1);
    assert_true(slow.status.virtual_ms > fast.status.virtual_ms + 2000);
}

static void devices_leave_and_come_back(void **unused) {
    (void)unused;
    struct outcome out =
        simulate("fleet: {stay: exponential(6), away: exponential(3)}\nplan.stop.time: 60s\n", 1);
    assert_true(out.status.left > 10);
    assert_true(out.status.present <= 6);
    assert_true(out.status.updates.accepted > 30);
    assert_true(out.status.accuracy > 0.5);
    struct outcome again =
        simulate("fleet: {stay: exponential(6), away: exponential(3)}\nplan.stop.time: 60s\n"
                 "threads: 3\n",
                 1);
    assert_memory_equal(out.digest, again.digest, TRIB_DIGEST_BYTES);
}

/* Each is there for 5 s of every 20: a quarter of the updates that they make when they are always there. */
static void windows_close_and_open(void **unused) {
    (void)unused;
    struct outcome always = simulate("plan.stop.time: 100s\n", 1);
    struct outcome out = simulate("fleet.window: {period: 20s, share: 0.25}\nplan.stop.time: 100s\n", 1);
    double share = (double)out.status.updates.accepted / (double)always.status.updates.accepted;
    assert_true(share > 0.1 && share < 0.3);
    assert_true(out.status.left >= 24 && out.status.left <= 36); /* six devices, five periods */
}

static void some_take_part_at_a_time(void **unused) {
    (void)unused;
    struct outcome out = simulate("fleet: {devices: 40, active: 5, turn: 2}\nstop.updates: 100\n", 1);
    assert_int_equal(out.status.updates.accepted, 100);
    assert_true(out.status.present <= 5 && out.status.present >= 4);
    assert_true(out.status.left >= 40 && out.status.left <= 50); /* two updates a turn */
    struct outcome forgetful =
        simulate("fleet: {devices: 40, active: 5, turn: 2, forget: true}\nstop.updates: 100\n", 1);
    assert_int_equal(forgetful.status.updates.accepted, 100);
    assert_memory_not_equal(out.digest, forgetful.digest, TRIB_DIGEST_BYTES); /* others come back */
}

/* One that is away keeps its place: nobody else is drawn for it, it is not drawn for another place, and it is
 * there again. Otherwise places would be lost with time. */
static void places_are_not_lost(void **unused) {
    (void)unused;
    static const char *const fleets[] = {"stay: exponential(20), away: exponential(20)",
                                         "window: {period: 60s, share: 0.5}"};
    for (size_t i = 0; i < sizeof fleets / sizeof *fleets; i++) {
        uint64_t updates[2];
        for (int much = 0; much < 2; much++) {
            char text[300];
            (void)snprintf(text, sizeof text,
                           "train: {none: true, parameters: 32}\nplan.stop.time: %ds\n"
                           "fleet: {devices: 40, edges: 0, active: 10, turn: 2, %s}\n",
                           much ? 20000 : 200, fleets[i]);
            updates[much] = simulate(text, 1).status.updates.accepted;
        }
        assert_true(updates[1] > 80 * updates[0]);
    }
}

/* Without attackers it learns; where all submit the opposite of what they trained, it unlearns. */
static void attackers_do_damage(void **unused) {
    (void)unused;
    static const char *const length = "plan.stop.time: 30s\n";
    char text[200];
    struct outcome honest = simulate(length, 1);
    (void)snprintf(text, sizeof text, "%sattack: {kind: sign_flip, count: 6}\n", length);
    struct outcome opposite = simulate(text, 1);
    (void)snprintf(text, sizeof text, "%sattack: {kind: label_flip, share: 1}\n", length);
    struct outcome wrong = simulate(text, 1);
    assert_true(honest.status.accuracy > 0.5);
    assert_true(opposite.status.loss > honest.status.loss + 0.5);
    assert_true(wrong.status.accuracy < honest.status.accuracy - 0.3);
}

/* Three of six who submit minus the mean of the three others' answers of this very round: nothing is learnt,
 * so they have seen all of them, however slow. One who saw an older round would leave something over. */
static void attackers_answer_last_in_a_round(void **unused) {
    (void)unused;
    static const char *const rounds =
        "plan.codec: {up: f32, down: f32, forward: f32, global: f32}\nplan.cloud.rule: fedavg\n"
        "plan.edge.rule: fedavg\nplan.data.partition: iid\n"
        "fleet.edges: 0\nfleet.join: constant(1)\n";
    char text[500];
    double loss[2][3];
    for (int attacked = 0; attacked < 2; attacked++)
        for (int versions = 1; versions <= 3; versions++) {
            (void)snprintf(text, sizeof text, "%splan.stop.versions: %d\n%s", rounds, versions,
                           attacked ? "attack: {kind: ipm(1), count: 3, who: drawn}\n" : "");
            loss[attacked][versions - 1] = simulate(text, 4).status.loss;
        }
    assert_true(loss[0][2] < loss[0][0] - 0.05);
    assert_true(fabs(loss[1][1] - loss[1][0]) < 1e-3 && fabs(loss[1][2] - loss[1][0]) < 1e-3);
}

/* What attackers see depends on virtual time alone. */
static void attackers_are_the_same_for_any_threads(void **unused) {
    (void)unused;
    static const char *const kinds[] = {"alie", "mimic", "min_max", "gaussian(0.01)", "bit_flip(22)"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char text[200];
        struct outcome out[2];
        for (int n = 0; n < 2; n++) {
            (void)snprintf(
                text, sizeof text,
                "threads: %d\nplan.stop.versions: 8\nattack: {kind: \"%s\", count: 2, who: first}\n",
                1 + 2 * n, kinds[i]);
            out[n] = simulate(text, 5);
        }
        assert_memory_equal(out[0].digest, out[1].digest, TRIB_DIGEST_BYTES);
        assert_int_equal(out[0].status.version, 8);
    }
}

/* ---- scenarios ---- */

static void refused(const char *more, const char *what) {
    struct trib_scenario s;
    struct trib_error err = {0};
    memset(&s, 0, sizeof s);
    assert_int_equal(trib_scenario_defaults(&s, &err), TRIB_OK);
    enum trib_status status = trib_options_parse(trib_scenario_options, trib_scenario_option_count, &s, more,
                                                 strlen(more), "test", &err);
    if (status == TRIB_OK) status = trib_scenario_finish(&s, "test.yaml", &err);
    assert_int_not_equal(status, TRIB_OK);
    if (strstr(err.text, what) == NULL) fail_msg("\"%s\" is not in: %s", what, err.text);
    trib_scenario_release(&s);
}

static void wrong_scenarios_say_what_is_wrong(void **unused) {
    (void)unused;
    refused("fleet.devices: 5\n", "never end");
    refused("train: {none: true, parameters: 32}\nplan.stop.accuracy: 0.9\n", "never end");
    refused("fleet.drop: 1\nplan.stop.versions: 5\n", "no update would ever arrive");
    refused("fleet.window: {period: 60s, share: 0}\nstop.updates: 5\n", "no update would ever arrive");
    refused("plan.stop.versions: 1\nfleet: {devices: 30}\nplan.data.devices: 20\n", "plan.data.devices");
    refused("plan.stop.versions: 1\nfleet: {devices: 100000, edges: 0}\n", "100000 children");
    refused("fleet.delay: lognormall(1, 2)\n", "test:1: fleet.delay");
    refused("fleet.delay: lognormall(1, 2)\n", "lognormal");
    refused("fleet.dely: 1\n", "fleet.delay");
    refused("plan.stop.versions: 1\ntrain.parameters: 5\n", "train.none");
    refused("seeds: [1, x]\n", "whole number");
    refused("attack.kind: sign_flop\n", "sign_flip");
}

static void names_and_parts_follow_what_is_there(void **unused) {
    (void)unused;
    struct trib_scenario s;
    uint64_t seed = 0, counts[TRIB_SIM_LEVELS_MAX];
    scenario_from(&s, small, "plan.stop.versions: 1\nseeds: [4, 9]\nfleet.levels: [2, 6]\n");
    assert_string_equal(s.name, "test");
    assert_int_equal(s.plan.devices, 6);
    assert_true(trib_scenario_seed(&s, 1, &seed));
    assert_int_equal(seed, 9);
    assert_false(trib_scenario_seed(&s, 2, &seed));
    assert_int_equal(trib_scenario_levels(&s, counts), 2);
    assert_int_equal(counts[1], 6);
    trib_scenario_release(&s);
}

/* ---- the calendar ---- */

/* While events are taken others are put in, as many at times that are near as at those that are far. */
static void events_come_in_order_of_time_and_putting(void **unused) {
    (void)unused;
    static const uint64_t spans[] = {1, 10, 300, 5000, 1000000, 60000000};
    struct trib_sim_queue queue = {0};
    struct trib_sim_event event = {.at_us = 0}, last = {.at_us = 0};
    struct trib_rng rng = trib_rng_seed(1, 2);
    uint32_t put = 0, taken = 0;
    for (; put < 5000; put++)
        assert_true(trib_sim_queue_put(
            &queue, (struct trib_sim_event){.at_us = trib_rng_below(&rng, 300000), .node = put}));
    while (trib_sim_queue_take(&queue, &event)) {
        assert_true(event.at_us > last.at_us || (event.at_us == last.at_us && event.node >= last.node));
        last = event;
        size_t more = taken++ % 1000 == 0 ? 500 : (size_t)trib_rng_below(&rng, 3);
        for (size_t i = 0; i < more && put < 100000; i++, put++) {
            uint64_t span = spans[trib_rng_below(&rng, sizeof spans / sizeof *spans)];
            assert_true(trib_sim_queue_put(
                &queue,
                (struct trib_sim_event){.at_us = last.at_us + trib_rng_below(&rng, span), .node = put}));
        }
        const struct trib_sim_event *next = trib_sim_queue_peek(&queue, 0);
        assert_true(next == NULL || next->at_us >= last.at_us);
    }
    assert_int_equal(taken, 100000);
    assert_int_equal(queue.count, 0);
    trib_sim_queue_release(&queue);
}

/* ---- delays ---- */

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* 20,001 draws: their quantiles at 10, 50 and 90% are those of the distribution, within 5%. */
static void check_quantiles(const char *spec, double q10, double q50, double q90) {
    enum { DRAWS = 20001 };
    static double values[DRAWS];
    struct trib_delay delay = {0};
    struct trib_error err = {0};
    struct trib_rng rng = trib_rng_seed(42, 7);
    if (trib_delay_parse(spec, &delay, &err) != TRIB_OK) fail_msg("%s", err.text);
    for (size_t i = 0; i < DRAWS; i++) values[i] = trib_delay_draw(&delay, &rng);
    trib_delay_release(&delay);
    qsort(values, DRAWS, sizeof *values, ascending);
    const double expected[] = {q10, q50, q90}, at[] = {0.1, 0.5, 0.9};
    for (size_t i = 0; i < 3; i++) {
        double found = values[(size_t)(at[i] * (DRAWS - 1))];
        if (fabs(found - expected[i]) > 0.05 * expected[i] + 1e-9)
            fail_msg("%s: found %g at %g, expected %g", spec, found, at[i], expected[i]);
    }
}

static void delays_have_their_quantiles(void **unused) {
    (void)unused;
    check_quantiles("2.5", 2.5, 2.5, 2.5);
    check_quantiles("constant(3, offset=1)", 4, 4, 4);
    check_quantiles("half_normal(2)", 2 * 0.12566, 2 * 0.67449, 2 * 1.64485);
    check_quantiles("exponential(3)", 3 * 0.10536, 3 * 0.69315, 3 * 2.30259);
    check_quantiles("lognormal(1, 0.5)", exp(1 - 0.5 * 1.28155), exp(1), exp(1 + 0.5 * 1.28155));
    check_quantiles("uniform(2, 12)", 3, 7, 11);
    check_quantiles("loguniform(1, 100)", pow(100, 0.1), 10, pow(100, 0.9));
    check_quantiles("pareto(2, 3)", 3 / sqrt(0.9), 3 / sqrt(0.5), 3 / sqrt(0.1));
    /* min(exp(4 + 3 z) + 30, 15000) */
    check_quantiles("lognormal(4, 3, offset=30, cap=15000)", exp(4 - 3 * 1.28155) + 30, exp(4) + 30,
                    exp(4 + 3 * 1.28155) + 30);
    check_quantiles("exponential(3, cap=1)", 3 * 0.10536, 1, 1);
}

static void a_trace_gives_what_is_in_its_file(void **unused) {
    (void)unused;
    char path[] = "/tmp/trib-trace-XXXXXX", spec[64];
    int fd = mkstemp(path);
    FILE *file = fdopen(fd, "w");
    assert_non_null(file);
    (void)fputs("device,seconds\na, 1.5\nb,2.5\n\nc,4\n", file);
    (void)fclose(file);
    (void)snprintf(spec, sizeof spec, "trace(%s, column=2)", path);
    struct trib_delay delay = {0};
    struct trib_error err = {0};
    if (trib_delay_parse(spec, &delay, &err) != TRIB_OK) fail_msg("%s", err.text);
    struct trib_rng rng = trib_rng_seed(1, 1);
    assert_int_equal(delay.count, 3);
    for (int i = 0; i < 50; i++) {
        double value = trib_delay_draw(&delay, &rng);
        assert_true(value == 1.5 || value == 2.5 || value == 4);
    }
    trib_delay_release(&delay);
    (void)snprintf(spec, sizeof spec, "trace(%s, column=1)", path);
    assert_int_equal(trib_delay_parse(spec, &delay, &err), TRIB_INVALID);
    (void)remove(path);
    assert_int_equal(trib_delay_parse(spec, &delay, &err), TRIB_NOT_FOUND);
    assert_int_equal(trib_delay_parse("uniform(5, 1)", &delay, &err), TRIB_INVALID);
    assert_int_equal(trib_delay_parse("trace", &delay, &err), TRIB_INVALID);
    assert_int_equal(trib_delay_parse("-1", &delay, &err), TRIB_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_seed_one_digest_for_any_threads),
        cmocka_unit_test(commits_are_the_same_for_any_threads),
        cmocka_unit_test(the_last_version_is_evaluated),
        cmocka_unit_test(it_learns),
        cmocka_unit_test(devices_remember),
        cmocka_unit_test(two_synchronous_tiers_learn_as_a_flat_one),
        cmocka_unit_test(edges_may_have_edges),
        cmocka_unit_test(what_is_not_delivered_is_not_accepted),
        cmocka_unit_test(nothing_trained_takes_no_data),
        cmocka_unit_test(a_slower_line_takes_longer),
        cmocka_unit_test(devices_leave_and_come_back),
        cmocka_unit_test(windows_close_and_open),
        cmocka_unit_test(some_take_part_at_a_time),
        cmocka_unit_test(places_are_not_lost),
        cmocka_unit_test(attackers_do_damage),
        cmocka_unit_test(attackers_answer_last_in_a_round),
        cmocka_unit_test(attackers_are_the_same_for_any_threads),
        cmocka_unit_test(wrong_scenarios_say_what_is_wrong),
        cmocka_unit_test(names_and_parts_follow_what_is_there),
        cmocka_unit_test(events_come_in_order_of_time_and_putting),
        cmocka_unit_test(delays_have_their_quantiles),
        cmocka_unit_test(a_trace_gives_what_is_in_its_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
