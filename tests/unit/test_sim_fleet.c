/* What a scenario says of its fleet: slow devices, partial work, attackers' data, and which classes are
 * measured; and how a run that diverges ends. */
#include "shared/base/alloc.h"
#include "shared/sim/internal.h"

#include "tests/support/cmocka.h"
#include "tests/support/scenarios.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static struct trib_scenario scenario;

static struct trib_sim *make(const char *more) {
    static const char base[] =
        "plan.model: softmax\ndata.path: data/mnist-sample\nplan.data.partition: iid\nplan.stop.versions: 4\n"
        "fleet.devices: 10\nfleet.edges: 0\nledger.cloud: none\nthreads: 1\n"
        "evaluate.every: 100\nplan.cloud.rule: fedavg\n";
    struct trib_error err;
    struct trib_sim *sim = NULL;
    scenario_from(&scenario, base, more);
    struct trib_sim_options options = {.scenario = &scenario, .seed = 3, .out = ""};
    if (trib_sim_new(&options, &sim, &err) != TRIB_OK) fail_msg("%s", err.text);
    return sim;
}

static void done(struct trib_sim *sim) {
    trib_sim_free(&sim);
    trib_scenario_release(&scenario);
}

static const struct sim_node *device(const struct trib_sim *sim, size_t i) {
    return &sim->nodes[1 + sim->edge_count + i];
}

static void test_slow(void **state) {
    (void)state;
    struct trib_sim *sim = make("fleet.slow: {share: 0.3, times: 7}\nfleet.speed: constant(2)\n");
    for (size_t i = 0; i < 10; i++) assert_true(device(sim, i)->speed == (i < 7 ? 2.0f : 14.0f));
    done(sim);
    sim = make("fleet.slow.times: 7\n"); /* none are */
    for (size_t i = 0; i < 10; i++) assert_true(device(sim, i)->speed == 1.0f);
    done(sim);
}

/* Virtual seconds of four updates of one device, one for each sample. */
static uint64_t seconds_of(const char *more) {
    struct trib_error err;
    bool over = false;
    char text[400];
    (void)snprintf(
        text, sizeof text,
        "fleet: {devices: 1, delay: constant(0), sample_delay: constant(1)}\nplan.data.devices: 100\n"
        "plan.heartbeat: 1h\n%s",
        more);
    struct trib_sim *sim = make(text);
    if (trib_sim_run(sim, 0, &over, &err) != TRIB_OK) fail_msg("%s", err.text);
    assert_true(over);
    uint64_t seconds = trib_sim_status(sim).virtual_ms / 1000;
    done(sim);
    return seconds;
}

/* A device's updates are shorter, and what it trained on is less: the model is another one too. */
static void test_partial(void **state) {
    (void)state;
    uint64_t one = seconds_of("plan.train: {epochs: 1, max_samples: 0}\nfleet.partial: 1\n"); /* is not cut */
    uint64_t whole = seconds_of("plan.train: {epochs: 20, max_samples: 0}\n");
    uint64_t part = seconds_of("plan.train: {epochs: 20, max_samples: 0}\nfleet.partial: 1\n");
    assert_true(one >= 40);
    assert_in_range(whole, 19 * one, 20 * one);
    assert_true(part >= one && part < whole * 19 / 20);
}

static void test_copies(void **state) {
    (void)state;
    struct trib_sim *sim = make("attack: {kind: sign_flip, count: 3, data: copies}\n");
    unsigned owners[7] = {0};
    size_t attackers = 0;
    assert_int_equal(sim->plan.devices, 7);
    for (size_t i = 0; i < 10; i++) {
        const struct sim_node *node = device(sim, i);
        assert_true(node->part < 7);
        attackers += node->attacks;
        if (!node->attacks) owners[node->part]++;
    }
    for (size_t i = 0; i < 7; i++) assert_int_equal(owners[i], 1);
    assert_int_equal(attackers, 3);
    assert_ptr_equal(trib_sim_task_of(sim, device(sim, 0)), &sim->task);
    done(sim);
    sim = make("attack: {kind: label_flip, count: 3, data: any}\nplan.data.partition: shards(1)\n");
    const struct trib_split *train = trib_dataset_train(sim->task.dataset);
    for (size_t i = 0; i < 10; i++) { /* attackers have most classes, honest devices one or two */
        const struct sim_node *node = device(sim, i);
        const uint32_t *indices;
        size_t count, classes = 0;
        unsigned seen[10] = {0};
        trib_partition_indices(trib_sim_task_of(sim, node)->partition, node->part, &indices, &count);
        for (size_t j = 0; j < count; j++) classes += seen[train->labels[indices[j]]]++ == 0;
        assert_true(node->attacks ? classes > 7 : classes < 5);
    }
    done(sim);
    sim = make("attack: {kind: sign_flip, count: 3}\n"); /* each its own */
    assert_int_equal(sim->plan.devices, 10);
    for (size_t i = 0; i < 10; i++) assert_int_equal(device(sim, i)->part, i);
    done(sim);
}

static void test_classes(void **state) {
    (void)state;
    struct trib_sim *sim = make("evaluate.classes: [2, 5]\n");
    const struct trib_split *test = trib_dataset_test(sim->task.dataset);
    size_t expected = 0, chosen = 0;
    for (size_t i = 0; i < test->count; i++) expected += test->labels[i] == 2 || test->labels[i] == 5;
    assert_true(expected > 0);
    assert_int_equal(sim->measured_count, expected);
    for (size_t i = 0; i < sim->measured_count; i++)
        chosen += test->labels[sim->measured[i]] == 2 || test->labels[sim->measured[i]] == 5;
    assert_int_equal(chosen, expected);
    done(sim);
}

/* All classes, named, give what naming none gives; the classes' accuracies make the whole one. */
static void test_classes_add_up(void **state) {
    (void)state;
    static const char *const parts[] = {"", "evaluate.classes: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\n",
                                        "evaluate.classes: [0, 1, 2, 3]\n",
                                        "evaluate.classes: [4, 5, 6, 7, 8, 9]\n"};
    double right[4], loss[4];
    for (size_t i = 0; i < 4; i++) {
        struct trib_error err;
        bool over = false;
        char more[200];
        (void)snprintf(more, sizeof more, "%s", parts[i]);
        struct trib_sim *sim = make(more);
        assert_int_equal(trib_sim_run(sim, 0, &over, &err), TRIB_OK);
        size_t count =
            sim->measured != NULL ? sim->measured_count : trib_dataset_test(sim->task.dataset)->count;
        right[i] = sim->status.accuracy * (double)count;
        loss[i] = sim->status.loss * (double)count;
        done(sim);
    }
    assert_true(right[0] == right[1] && loss[0] == loss[1]);
    assert_true(right[0] > right[2] + right[3] - 0.5 && right[0] < right[2] + right[3] + 0.5);
    assert_true(loss[0] > 0.999 * (loss[2] + loss[3]) && loss[0] < 1.001 * (loss[2] + loss[3]));
}

static void test_no_such_class(void **state) {
    (void)state;
    struct trib_sim *sim = make("");
    struct trib_error err;
    done(sim);
    sim = make("");
    trib_free(scenario.evaluate.classes);
    scenario.evaluate.classes = trib_strdup("77");
    assert_int_equal(trib_sim_choose_measured(sim, &err), TRIB_INVALID);
    assert_non_null(strstr(err.text, "no class"));
    done(sim);
}

/* Runs to its end, which is that the run diverged; returns how many trainings failed. */
static uint64_t diverges(struct trib_sim *sim, const char *text) {
    struct trib_error err;
    bool over = false;
    assert_int_equal(trib_sim_run(sim, 0, &over, &err), TRIB_OK);
    assert_true(over);
    assert_string_equal(trib_sim_status(sim).reason, "diverged");
    assert_true(sim->nodes[SIM_CLOUD].state->stopped);
    assert_int_equal(trib_sim_close(sim, &err), TRIB_INVALID);
    if (strstr(err.text, text) == NULL) fail_msg("%s", err.text);
    uint64_t failed = trib_sim_status(sim).failed;
    done(sim);
    return failed;
}

#define HOPELESS "plan.train: {lr: 1000, mu: 1000, max_samples: 100, batch: 5}\nplan.stop: {time: 24h}\n"

/* Ten failures for each that takes part, but at least 100. */
static void test_trainings_fail(void **state) {
    (void)state;
    assert_int_equal(diverges(make(HOPELESS "fleet.devices: 4\n"), "the last 100 trainings failed"), 100);
    assert_int_equal(diverges(make(HOPELESS "fleet.devices: 25\n"), "the last 250 trainings failed"), 250);
    assert_int_equal(diverges(make(HOPELESS "fleet: {devices: 25, active: 15}\n"), "a smaller lr"), 150);
}

/* One that comes to something in between, and they are counted anew. */
static void test_some_fail(void **state) {
    (void)state;
    struct trib_sim_event event;
    struct trib_sim *sim = make("");
    sim->failures = 99;
    while (sim->status.trained == 0 && trib_sim_queue_take(&sim->queue, &event)) trib_sim_handle(sim, &event);
    assert_int_equal(sim->failures, 0);
    done(sim);
    sim = make(HOPELESS);
    while (sim->failures < 99 && trib_sim_queue_take(&sim->queue, &event)) trib_sim_handle(sim, &event);
    assert_false(trib_sim_hopeless(sim));
    sim->failures = 0;
    assert_int_equal(diverges(sim, "the last 100 trainings failed"), 199);
}

static void test_model_is_not_finite(void **state) {
    (void)state;
    struct trib_sim *sim = make("plan.stop: {versions: 1000, time: 24h}\n");
    sim->nodes[SIM_CLOUD].state->own[0] = NAN;
    assert_int_equal(diverges(sim, "the cloud's model is not finite"), 0);
}

/* Where a rule combines, and there are threads, the nodes that commit have them. */
static void test_commits_have_threads(void **state) {
    (void)state;
    static const char combining[] = "plan.cloud.rule: median | fedbuff(k=3)\n";
    char text[200];
    (void)snprintf(text, sizeof text, "threads: 3\n%s", combining);
    for (int with = 0; with < 3; with++) {
        struct trib_sim *sim = make(with == 0 ? combining : with == 1 ? "threads: 3\n" : text);
        assert_true((sim->shards != NULL) == (with == 2));
        assert_ptr_equal(sim->nodes[SIM_CLOUD].state->shards, sim->shards);
        assert_true(sim->shards == NULL || trib_shards_width(sim->shards) == 3);
        done(sim);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slow),           cmocka_unit_test(test_partial),
        cmocka_unit_test(test_copies),         cmocka_unit_test(test_classes),
        cmocka_unit_test(test_classes_add_up), cmocka_unit_test(test_no_such_class),
        cmocka_unit_test(test_trainings_fail), cmocka_unit_test(test_commits_have_threads),
        cmocka_unit_test(test_some_fail),      cmocka_unit_test(test_model_is_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
