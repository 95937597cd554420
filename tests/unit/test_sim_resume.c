/* A simulation that was interrupted and is resumed gives the history of one that was not, and trains nothing
 * twice that it kept. */
#include "shared/sim/internal.h"

#include "tests/support/cmocka.h"
#include "tests/support/folder.h"
#include "tests/support/scenarios.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const small =
    "data.path: data/mnist-sample\n"
    "fleet: {devices: 6, edges: 2, speed: \"uniform(1, 3)\", delay: \"lognormal(0, 0.5)\"}\n"
    "plan:\n  model: softmax\n  train: {max_samples: 40, batch: 10, lr: 0.05}\n  stop.versions: 25\n";

static struct trib_scenario scenario;
static char folder[200], trained[240];

static enum trib_status start(const char *more, bool resume, struct trib_sim **out, struct trib_error *err) {
    scenario_from(&scenario, small, more);
    struct trib_sim_options options = {.scenario = &scenario, .seed = 5, .out = folder, .resume = resume};
    *out = NULL;
    return trib_sim_new(&options, out, err);
}

static struct trib_sim *started(const char *more, bool resume) {
    struct trib_sim *sim;
    struct trib_error err;
    if (start(more, resume, &sim, &err) != TRIB_OK) fail_msg("%s", err.text);
    return sim;
}

static void leave(struct trib_sim **sim) {
    trib_sim_free(sim);
    trib_scenario_release(&scenario);
}

/* Goes on until so many updates are trained, and is interrupted. */
static void interrupt_after(struct trib_sim **sim, uint64_t trained_count) {
    struct trib_error err;
    bool over = false;
    while (trib_sim_status(*sim).trained < trained_count && !over)
        assert_int_equal(trib_sim_run(*sim, 1, &over, &err), TRIB_OK);
    assert_false(over);
    assert_int_equal(trib_sim_close(*sim, &err), TRIB_OK);
    leave(sim);
}

struct outcome {
    struct trib_sim_status status;
    uint8_t digest[TRIB_DIGEST_BYTES];
};

static struct outcome finish(struct trib_sim **sim) {
    struct outcome out;
    struct trib_error err;
    bool over = false;
    if (trib_sim_run(*sim, 0, &over, &err) != TRIB_OK) fail_msg("%s", err.text);
    assert_true(over);
    assert_int_equal(trib_sim_digest(*sim, out.digest, &err), TRIB_OK);
    assert_int_equal(trib_sim_close(*sim, &err), TRIB_OK);
    out.status = trib_sim_status(*sim);
    leave(sim);
    assert_int_not_equal(access(trained, F_OK), 0); /* there is nothing to resume any more */
    return out;
}

static void same_history(const struct outcome *a, const struct outcome *b) {
    assert_memory_equal(a->digest, b->digest, TRIB_DIGEST_BYTES);
    assert_int_equal(a->status.events, b->status.events);
    assert_int_equal(a->status.trained, b->status.trained);
    assert_int_equal(a->status.failed, b->status.failed);
    assert_int_equal(a->status.evaluations, b->status.evaluations);
    assert_true(a->status.loss == b->status.loss && a->status.best_accuracy == b->status.best_accuracy);
}

static struct outcome uninterrupted(const char *more) {
    struct trib_sim *sim = started(more, false);
    return finish(&sim);
}

static int make_folder(void **state) {
    (void)folder_setup(state);
    (void)snprintf(folder, sizeof folder, "%s", folder_file("sim"));
    (void)snprintf(trained, sizeof trained, "%s/trained.bin", folder);
    return 0;
}

/* ---- the same history ---- */

/* Twice interrupted; the second time it has caught up and is beyond. */
static void resumes_and_check(const char *more) {
    struct outcome whole = uninterrupted(more);
    struct trib_sim *sim = started(more, false);
    interrupt_after(&sim, 25);
    sim = started(more, true);
    assert_true(trib_sim_status(sim).resumed && trib_sim_status(sim).catching_up);
    assert_true(trib_sim_status(sim).kept >= 25);
    interrupt_after(&sim, 45);
    sim = started(more, true);
    assert_true(trib_sim_status(sim).kept >= 45);
    struct outcome resumed = finish(&sim);
    same_history(&whole, &resumed);
    assert_false(resumed.status.catching_up);
}

static void it_goes_on(void **state) {
    (void)state;
    resumes_and_check("threads: 2\n");
}

static void memory_is_restored(void **state) {
    (void)state;
    resumes_and_check("plan.train.worker_momentum: 0.9\n");
    resumes_and_check("plan.train.algorithm: scaffold\n");
}

static void devices_come_and_go(void **state) {
    (void)state;
    resumes_and_check("fleet: {stay: exponential(6), away: exponential(3), drop: 0.1}\n");
    resumes_and_check("fleet: {devices: 40, active: 5, turn: 2, forget: true}\n");
}

static void attackers_forge_the_same(void **state) {
    (void)state;
    resumes_and_check("attack: {kind: alie, count: 2, who: first}\nevaluate.delay: 300ms\n");
}

/* The gradients that the trust gate judges by are computed again. */
static void gradients_are_the_same(void **state) {
    (void)state;
    resumes_and_check("fleet: {edges: 0, tell_labels: true}\nplan.train.tell_labels: true\n"
                      "plan.cloud.rule: trust | fedbuff(k=3, deadline=0)\nevaluate.delay: 300ms\n");
}

/* Failures are kept too: steps that throw the model farther each time. */
static void failures_are_kept(void **state) {
    (void)state;
    static const char *const more = "plan.train: {lr: 1000, mu: 1000, max_samples: 100, batch: 5}\n"
                                    "plan.stop: {versions: 0, time: 45s}\n";
    struct outcome whole = uninterrupted(more);
    assert_true(whole.status.failed > 50);
    struct trib_sim *sim = started(more, false);
    struct trib_error err;
    bool over = false;
    while (trib_sim_status(sim).failed < 20) assert_int_equal(trib_sim_run(sim, 1, &over, &err), TRIB_OK);
    leave(&sim);
    sim = started(more, true);
    assert_true(trib_sim_status(sim).kept >= 20);
    struct outcome resumed = finish(&sim);
    same_history(&whole, &resumed);
}

/* ---- what is in the file counts ---- */

/* While it catches up nothing goes to the threads, but what was under way: a training each device. */
static void nothing_kept_is_trained_again(void **state) {
    (void)state;
    struct trib_sim *sim = started("", false);
    interrupt_after(&sim, 30);
    sim = started("", true);
    uint64_t kept = trib_sim_status(sim).kept, from_file = 0;
    while (trib_sim_status(sim).catching_up) {
        struct trib_sim_event event;
        assert_true(trib_sim_queue_take(&sim->queue, &event));
        trib_sim_handle(sim, &event);
        assert_int_equal(sim->err.status, TRIB_OK);
        for (size_t i = 1; i < sim->node_count; i++) {
            const struct sim_job *job = sim->nodes[i].job;
            assert_true(job == NULL || job->kept || job->number + 6 >= kept);
            assert_true(job == NULL || !job->kept || job->task.step == TRIB_SIM_TASK_NEW);
            from_file += job != NULL && job->kept;
        }
    }
    assert_true(from_file > 0);
    assert_true(trib_sim_status(sim).trained + 12 >= kept);
    leave(&sim);
}

static void cut_off(off_t bytes) {
    struct stat stat_of;
    assert_int_equal(stat(trained, &stat_of), 0);
    assert_int_equal(truncate(trained, stat_of.st_size - bytes), 0);
}

static void flip_byte(long from_end) {
    FILE *file = fopen(trained, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, -from_end, SEEK_END), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, -from_end, SEEK_END), 0);
    (void)fputc(byte ^ 1, file);
    assert_int_equal(fclose(file), 0);
}

static void a_torn_tail_is_cut(void **state) {
    (void)state;
    struct outcome whole = uninterrupted("");
    struct trib_sim *sim = started("", false);
    interrupt_after(&sim, 30);
    cut_off(5);
    sim = started("", true);
    assert_true(trib_sim_status(sim).kept >= 25);
    interrupt_after(&sim, 31);
    sim = started("", true); /* how many there are is the threads': some had more under way */
    uint64_t kept = trib_sim_status(sim).kept;
    leave(&sim);
    flip_byte(100000); /* in the last entries: those before it stay */
    sim = started("", true);
    assert_true(trib_sim_status(sim).kept < kept && trib_sim_status(sim).kept >= 20);
    struct outcome resumed = finish(&sim);
    same_history(&whole, &resumed);
}

static void beyond_the_limit_it_trains_again(void **state) {
    (void)state;
    struct outcome whole = uninterrupted("");
    struct trib_sim *sim = started("resume.limit: 400kB\n", false);
    struct trib_error err;
    bool over = false;
    while (trib_sim_status(sim).trained < 30) assert_int_equal(trib_sim_run(sim, 1, &over, &err), TRIB_OK);
    assert_true(trib_sim_status(sim).keeps_no_more);
    assert_in_range(trib_sim_status(sim).kept, 5, 15);
    leave(&sim);
    struct stat stat_of;
    assert_int_equal(stat(trained, &stat_of), 0);
    assert_in_range(stat_of.st_size, 300000, 400000);
    sim = started("resume.limit: 400kB\n", true);
    assert_true(trib_sim_status(sim).resumed);
    struct outcome resumed = finish(&sim);
    same_history(&whole, &resumed);
}

static void nothing_is_kept_without_a_limit(void **state) {
    (void)state;
    struct trib_sim *sim = started("resume.limit: 0\n", false);
    assert_false(trib_sim_status(sim).keeps);
    assert_int_not_equal(access(trained, F_OK), 0);
    leave(&sim);
    sim = started("resume.limit: 0\n", true);
    assert_false(trib_sim_status(sim).resumed);
    leave(&sim);
}

/* ---- whose file it is ---- */

static void refused(const char *more, const char *first, const char *second) {
    struct trib_sim *sim;
    struct trib_error err;
    assert_int_equal(start(more, true, &sim, &err), TRIB_INVALID);
    if (strstr(err.text, first) == NULL || strstr(err.text, second) == NULL) fail_msg("%s", err.text);
    trib_scenario_release(&scenario);
}

static void another_simulation_is_refused(void **state) {
    (void)state;
    struct trib_sim *sim = started("", false);
    interrupt_after(&sim, 20);
    refused("plan.train.lr: 0.06\n", "0.05", "plan.train.lr: 0.06");
    refused("fleet.devices: 7\n", "fleet.devices: 6", "fleet.devices: 7");
    refused("data.path: ./data/mnist-sample\n", "data.path: data/mnist-sample",
            "data.path: \"./data/mnist-sample\"");
    char ledger[240];
    (void)snprintf(ledger, sizeof ledger, "%s/ledger.db", folder);
    assert_int_equal(access(ledger, F_OK), 0); /* nothing was cleared */
    sim = started("threads: 3\nresume.limit: 1GiB\narms: [\"one: plan.train.lr=1\"]\n"
                  "experiment: {measures: [\"rate: best(one); unit %\"], short: true}\n",
                  true);
    assert_true(trib_sim_status(sim).kept >= 20);
    leave(&sim);
    flip_byte(40); /* an entry: not a reason to refuse */
    sim = started("", true);
    leave(&sim);
    FILE *file = fopen(trained, "r+b");
    assert_non_null(file);
    (void)fputs("no such file", file);
    assert_int_equal(fclose(file), 0);
    struct trib_error err;
    assert_int_equal(start("", true, &sim, &err), TRIB_CORRUPT);
    assert_non_null(strstr(err.text, "without --resume"));
    trib_scenario_release(&scenario);
}

/* A trace's file may have changed below its name. */
static void another_trace_is_refused(void **state) {
    (void)state;
    char path[240], more[300];
    (void)snprintf(path, sizeof path, "%s", folder_file("trace.csv"));
    (void)snprintf(more, sizeof more, "fleet.delay: trace(%s)\n", path);
    for (int changed = 0; changed < 2; changed++) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        (void)fputs(changed ? "1\n2\n4\n" : "1\n2\n3\n", file);
        assert_int_equal(fclose(file), 0);
        if (changed) break;
        struct trib_sim *sim = started(more, false);
        interrupt_after(&sim, 20);
        sim = started(more, true);
        assert_true(trib_sim_status(sim).kept >= 20);
        leave(&sim);
    }
    refused(more, "another simulation", "trace.csv");
}

static void without_asking_it_begins_anew(void **state) {
    (void)state;
    struct trib_sim *sim = started("", false);
    interrupt_after(&sim, 20);
    sim = started("", false);
    assert_false(trib_sim_status(sim).resumed);
    assert_int_equal(trib_sim_status(sim).kept, 0);
    leave(&sim);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_goes_on),
        cmocka_unit_test(memory_is_restored),
        cmocka_unit_test(devices_come_and_go),
        cmocka_unit_test(attackers_forge_the_same),
        cmocka_unit_test(gradients_are_the_same),
        cmocka_unit_test(failures_are_kept),
        cmocka_unit_test(nothing_kept_is_trained_again),
        cmocka_unit_test(a_torn_tail_is_cut),
        cmocka_unit_test(beyond_the_limit_it_trains_again),
        cmocka_unit_test(nothing_is_kept_without_a_limit),
        cmocka_unit_test(another_simulation_is_refused),
        cmocka_unit_test(another_trace_is_refused),
        cmocka_unit_test(without_asking_it_begins_anew),
    };
    return cmocka_run_group_tests(tests, make_folder, folder_teardown);
}
