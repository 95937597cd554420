/* Nothing depends on clocks that agree: federations whose nodes' clocks are wrong, by hours or days, and jump
 * while nodes are down (a running node's time is the monotonic clock's and does not jump; see
 * tests/system/test_clocks.py for the programs). */
#include "tests/support/cmocka.h"
#include "tests/support/federation.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { EDGES = 2, DEVICES = 6, NODES = 1 + EDGES + DEVICES, EDGE = 1, DEVICE = 1 + EDGES };
#define HOUR INT64_C(3600000)
#define DAY  (24 * HOUR)
#define BASE (10 * DAY) /* of all clocks, so that one that is behind is still after 1970 */

static uint64_t train(void *ctx, size_t device, uint64_t version, const float *G, size_t n, float *difference,
                      struct trib_submission *submission) {
    (void)ctx;
    for (size_t i = 0; i < n; i++)
        difference[i] = 0.1f * ((float)((device * 7 + i * 3 + version) % 11) * 0.1f - G[i]);
    submission->samples = submission->weight = 100 + 50 * device;
    submission->steps = 10;
    submission->loss = 1.0f;
    return 200 + 150 * device;
}

struct result {
    uint64_t version, accepted, trained[DEVICES];
    uint8_t model[TRIB_DIGEST_BYTES], chain[TRIB_DIGEST_BYTES];
};

static void again_with(struct federation *fed, size_t node, int64_t skew) {
    federation_stop(fed, node, true);
    federation_skew(fed, node, skew);
    struct trib_error err = {0};
    if (!federation_start(fed, node, &err)) fail_msg("%s", err.text);
    federation_settle(fed, node);
}

/* A minute of a federation. The clocks begin at `first`; in mid-run the node `jumper` restarts with another.
 */
static struct result run(const char *plan, const int64_t first[NODES], size_t jumper, int64_t later) {
    struct federation_options options = {.seed = 21,
                                         .plan = plan,
                                         .schema = "w 200 0x1p-3\n",
                                         .edges = EDGES,
                                         .devices = DEVICES,
                                         .latency_ms = 5,
                                         .jitter_ms = 10,
                                         .commit_ms = 2,
                                         .keep_journal = true,
                                         .train = train};
    struct federation *fed = federation_new(&options);
    uint64_t start = federation_now(fed);
    federation_run(fed, start + 100, NULL, NULL);
    for (size_t i = 0; i < NODES; i++) again_with(fed, i, BASE + first[i]);
    federation_run(fed, start + 30000, NULL, NULL);
    again_with(fed, jumper, BASE + later);
    federation_run(fed, start + 60000, NULL, NULL);
    const struct trib_state *cloud = federation_state(fed, FED_CLOUD);
    struct result result = {.version = cloud->version};
    memcpy(result.model, cloud->digest, sizeof result.model);
    memcpy(result.chain, cloud->chain.ledger, sizeof result.chain);
    for (size_t i = 0; i < DEVICES; i++) result.trained[i] = federation_trained(fed, i);
    for (size_t i = EDGE; i < EDGE + EDGES; i++) result.accepted += federation_state(fed, i)->total.accepted;
    federation_check(fed, "clocks");
    federation_free(&fed);
    return result;
}

static const char *const plans[] = {
    "data.devices: 6\n",
    "data.devices: 6\nedge.rule: fedbuff(k=4, deadline=2s)\ncloud.rule: fedbuff(k=2, deadline=2s)\n",
    ("data.devices: 6\nedge.rule: fedavg(minimum=2, deadline=1s)\n"
     "cloud.rule: fedavg(minimum=1, deadline=2s)\n")};

static void test_history_does_not_tell_the_time(void **unused) {
    (void)unused;
    const int64_t right[NODES] = {0};
    const int64_t wrong[][NODES] = {
        {[DEVICE] = DAY, [DEVICE + 1] = -DAY}, /* a device a day ahead or behind */
        {[EDGE] = HOUR, [EDGE + 1] = -3 * DAY},
        {[FED_CLOUD] = -DAY, [EDGE] = 5 * DAY, [DEVICE + 3] = -5 * DAY}};
    for (size_t p = 0; p < sizeof plans / sizeof plans[0]; p++) {
        struct result expected = run(plans[p], right, EDGE, 0);
        assert_true(expected.version > 20 && expected.accepted > 200);
        for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
            struct result found = run(plans[p], wrong[i], EDGE, wrong[i][EDGE]);
            assert_memory_equal(&found, &expected, sizeof found);
        }
    }
}

/* After a jump, the waits of a rule that were under way may end sooner or a moment later; nothing stalls, and
 * nothing is refused for it. */
static void test_a_clock_that_jumps(void **unused) {
    (void)unused;
    const int64_t right[NODES] = {0}, jumps[] = {HOUR, -HOUR, DAY, -DAY};
    const size_t jumpers[] = {FED_CLOUD, EDGE, DEVICE};
    for (size_t p = 0; p < sizeof plans / sizeof plans[0]; p++)
        for (size_t j = 0; j < sizeof jumpers / sizeof jumpers[0]; j++) {
            struct result expected = run(plans[p], right, jumpers[j], 0);
            for (size_t i = 0; i < sizeof jumps / sizeof jumps[0]; i++) {
                struct result found = run(plans[p], right, jumpers[j], jumps[i]);
                if (found.version * 20 < expected.version * 19 ||
                    found.accepted * 20 < expected.accepted * 19)
                    fail_msg("plan %zu, node %zu, jump %" PRId64 " h: %" PRIu64 " versions of %" PRIu64
                             " updates, expected %" PRIu64 " of %" PRIu64,
                             p, jumpers[j], jumps[i] / HOUR, found.version, found.accepted, expected.version,
                             expected.accepted);
            }
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_history_does_not_tell_the_time),
                                       cmocka_unit_test(test_a_clock_that_jumps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
