/* Whole federations in which few devices train at a time. */
#include "tests/support/cmocka.h"
#include "tests/support/federation.h"

#include "shared/rules/select.h"

#include <stdio.h>
#include <string.h>

enum { DEVICES = 24, START_MS = 1000000 };

struct fleet {
    uint64_t updates[DEVICES];
};

static uint64_t train(void *ctx, size_t device, uint64_t version, const float *G, size_t n, float *difference,
                      struct trib_submission *submission) {
    struct fleet *fleet = ctx;
    (void)version;
    for (size_t i = 0; i < n; i++) difference[i] = 0.2f * ((float)(device % 3) - 1.0f - G[i]);
    submission->samples = submission->weight = 100;
    submission->steps = 10;
    submission->loss = 1.0f;
    fleet->updates[device]++;
    return 200 + 150 * (device % 10);
}

static struct federation *federation_of(struct fleet *fleet, const char *plan, double lose) {
    struct federation_options options = {.seed = 7,
                                         .plan = plan,
                                         .schema = "a.weight 40x25 0x1p-3\n",
                                         .edges = 2,
                                         .devices = DEVICES,
                                         .latency_ms = 5,
                                         .jitter_ms = 10,
                                         .commit_ms = 2,
                                         .lose = lose,
                                         .repeat = lose,
                                         .keep_journal = true,
                                         .train = train,
                                         .train_ctx = fleet};
    return federation_new(&options);
}

static bool versions_reached(struct federation *fed, void *ctx) {
    return federation_state(fed, FED_CLOUD)->version >= *(uint64_t *)ctx;
}

static uint64_t sum(const struct fleet *fleet) {
    uint64_t updates = 0;
    for (size_t i = 0; i < DEVICES; i++) updates += fleet->updates[i];
    return updates;
}

#define ROUNDS                                                                                               \
    "edge.rule: fedavg\ncloud.rule: fedavg\nforward.hold: true\npublish.interval: 0\n"                       \
    "publish.global_interval: 0\n"

static void rounds_of_a_few(void **unused) {
    (void)unused;
    struct fleet fleet = {0};
    struct federation *fed = federation_of(&fleet, ROUNDS "select.count: 3\n", 0);
    uint64_t versions = 40;
    federation_run(fed, START_MS + 600000, versions_reached, &versions);
    assert_int_equal(federation_state(fed, FED_CLOUD)->version, versions);
    federation_check(fed, "rounds of a few");
    /* Three of each edge a round, whoever is fast; and one more round may have begun. */
    assert_in_range(sum(&fleet), versions * 6, versions * 6 + 6);
    for (size_t i = 0; i < DEVICES; i++) assert_in_range(fleet.updates[i], 3, 20);
    federation_free(&fed);
}

static void rounds_with_losses_go_on(void **unused) {
    (void)unused;
    struct fleet fleet = {0};
    struct federation *fed = federation_of(&fleet, ROUNDS "select.count: 4\nselect.over: 1.5\n", 0.05);
    uint64_t versions = 30;
    federation_run(fed, START_MS + 3600000, versions_reached, &versions);
    assert_int_equal(federation_state(fed, FED_CLOUD)->version, versions);
    federation_crash(fed, 1); /* an edge, and later the cloud */
    versions = 40;
    federation_run(fed, federation_now(fed) + 3600000, versions_reached, &versions);
    assert_int_equal(federation_state(fed, FED_CLOUD)->version, versions);
    federation_crash(fed, FED_CLOUD);
    versions = 50;
    federation_run(fed, federation_now(fed) + 3600000, versions_reached, &versions);
    assert_int_equal(federation_state(fed, FED_CLOUD)->version, versions);
    federation_check(fed, "rounds with losses");
    federation_free(&fed);
}

static void few_at_work_without_rounds(void **unused) {
    (void)unused;
    struct fleet fleet = {0};
    struct federation *fed = federation_of(&fleet, "select.count: 2\n", 0.02);
    uint64_t versions = 200;
    federation_run(fed, START_MS + 3600000, versions_reached, &versions);
    assert_int_equal(federation_state(fed, FED_CLOUD)->version, versions);
    federation_crash(fed, 1);
    versions = 300;
    federation_run(fed, federation_now(fed) + 3600000, versions_reached, &versions);
    assert_int_equal(federation_state(fed, FED_CLOUD)->version, versions);
    federation_check(fed, "few at work");
    for (size_t i = 0; i < DEVICES; i++) assert_true(fleet.updates[i] >= 10); /* the slow ones too */
    federation_free(&fed);
}

/* Whatever the policy, with and without rounds: nobody hangs, and everything is accounted for. */
static void every_policy_goes_on(void **unused) {
    (void)unused;
    size_t rows;
    const struct trib_rule_row *row = trib_select_rows(&rows);
    for (size_t i = 0; i < 2 * rows; i++) {
        char plan[400];
        (void)snprintf(plan, sizeof plan, "%sselect.policy: %s\nselect.count: 3\nselect.fairness: 1.5\n",
                       i % 2 == 0 ? ROUNDS "select.over: 1.4\n" : "", row[i / 2].name);
        struct fleet fleet = {0};
        struct federation *fed = federation_of(&fleet, plan, 0.02);
        uint64_t versions = 60;
        federation_run(fed, START_MS + 3600000, versions_reached, &versions);
        federation_crash(fed, 2);
        versions = 120;
        federation_run(fed, federation_now(fed) + 3600000, versions_reached, &versions);
        if (federation_state(fed, FED_CLOUD)->version < versions) fail_msg("%s stands still", plan);
        federation_calm(fed);
        federation_run(fed, federation_now(fed) + 60000, NULL, NULL);
        federation_check(fed, plan);
        for (size_t d = 0; d < DEVICES; d++) assert_true(fleet.updates[d] > 0);
        federation_free(&fed);
    }
}

static void same_seed_same_cohorts(void **unused) {
    (void)unused;
    uint8_t digests[3][TRIB_DIGEST_BYTES];
    for (int run = 0; run < 3; run++) {
        struct fleet fleet = {0};
        struct federation *fed =
            federation_of(&fleet, run < 2 ? ROUNDS "select.count: 3\n" : ROUNDS "select.count: 4\n", 0.02);
        federation_run(fed, START_MS + 60000, NULL, NULL);
        federation_digest(fed, digests[run]);
        federation_free(&fed);
    }
    assert_memory_equal(digests[0], digests[1], TRIB_DIGEST_BYTES);
    assert_memory_not_equal(digests[0], digests[2], TRIB_DIGEST_BYTES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounds_of_a_few),
        cmocka_unit_test(rounds_with_losses_go_on),
        cmocka_unit_test(few_at_work_without_rounds),
        cmocka_unit_test(every_policy_goes_on),
        cmocka_unit_test(same_seed_same_cohorts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
