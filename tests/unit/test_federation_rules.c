/* Rules in whole federations on a bad network, with crashes: nothing is lost, records and checkpoints give
 * the same bits, and the model goes where the devices pull it. Every row of the table is in one of the runs.
 */
#include "tests/support/cmocka.h"
#include "tests/support/federation.h"
#include "tests/support/rebuilt.h"

#include "shared/base/alloc.h"
#include "shared/base/rng.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { EDGES = 2, DEVICES = 12, PARAMETERS = 330 };

static const char *const schema = "a.weight 32x10 0x1p-3\na.bias 10 0x0p+0\n";

struct combination {
    const char *edge, *cloud;
    const char *more; /* of the plan */
};

#define CLOUD "fedasync"
static const struct combination combinations[] = {
    {"area(k=3)", "area(k=2)", "train.algorithm: area\n"},
    {"async_sgd(lr=0.5, decay=0.01)", CLOUD, ""},
    {"ca2fl(k=3)", "ca2fl(k=2)", "codec.up: topk(0.5)+int8\n"},
    {"compensated(minimum=1, deadline=1s)", "compensated(minimum=1, deadline=2s)",
     "codec.up: topk(0.5)+int8\n"},
    {"norm_clip(tau=auto) | compensated(most=2, minimum=1, deadline=700ms) | momentum(0.5)", CLOUD,
     "select.count: 3\n"},
    {"fedbuff(k=2)", "fedat(tiers=8)", ""},
    {"fedbuff(k=2) | fadas(lr=0.02)", CLOUD, ""},
    {"fedbuff(k=2)", "fedasync(share=no, staleness=constant)", "forward.elastic: 0.3\n"},
    {"fedavg", "fedavg", "forward.hold: true\nforward.commits: 3\n"},
    {"fednova(minimum=3, deadline=2s)", "fednova", "forward.hold: true\n"},
    {"semiasync(period=1s, synchronise=3)", CLOUD, ""},
    {"norm_clip(tau=auto) | norm_filter(8) | cosine_filter(-0.9) | fedasync", "norm_clip(2) | fedbuff(k=2)",
     ""},
    {"trust(threshold=0.1) | fedbuff(k=3)", "trust | fedasync", ""},
    {"fedbuff(k=3) | momentum(0.9)", CLOUD, ""},
    {"fedavg | momentum(0.5, nesterov=true)", "fedavg", "forward.hold: true\n"},
    {"fedbuff(k=3)", "fedbuff(k=2) | adam(lr=0.05)", ""},
    {"fedbuff(k=2)", "fedasync | adagrad", ""},
    {"fedbuff(k=2)", "fedasync(form=mix, alpha=0.6) | yogi(lr=0.05)", ""},
    {"fedasync | amsgrad(lr=0.02)", CLOUD, ""},
    {"median | fedbuff(k=3)", CLOUD, ""},
    {"trimmed_mean(f=1) | fedbuff(k=5)", CLOUD, "codec.up: topk(0.2)+int8\n"},
    {"krum(f=0) | fedbuff(k=4)", CLOUD, ""},
    {"multi_krum(f=1, m=2) | fedbuff(k=5)", CLOUD, ""},
    {"bulyan(f=0) | fedavg(minimum=4)", CLOUD, ""},
    {"geometric_median | fedbuff(k=4, deadline=2s)", CLOUD, "codec.up: rotate+1bit\n"},
    {"bucket(2) | centered_clip(tau=auto) | fedbuff(k=5) | momentum(0.5)", CLOUD, ""},
    {"centered_clip(3) | fedavg(minimum=3, deadline=1s)", "median | fedavg(minimum=3)", ""},
};
enum { COMBINATIONS = sizeof combinations / sizeof *combinations };

static float target(size_t device, size_t i) {
    return 1.0f + (float)((device * 7 + i * 3) % 11) * 0.02f - 0.1f;
}

static uint64_t pull_towards(void *ctx, size_t device, uint64_t version, const float *G, size_t n,
                             float *difference, struct trib_submission *submission) {
    (void)ctx;
    (void)version;
    for (size_t i = 0; i < n; i++) difference[i] = 0.3f * (target(device, i) - G[i]);
    submission->samples = submission->weight = 100 + 50 * (device % 4);
    submission->steps = (float)(5 + device % 3);
    submission->loss = 1.0f;
    return 200 + 150 * (device % 5);
}

static double distance(const float *model, size_t n) {
    double worst = 0;
    for (size_t i = 0; i < n; i++) worst = fmax(worst, fabs((double)model[i] - 1.0));
    return worst;
}

static struct federation *begin(const struct combination *c, uint64_t seed) {
    static char plan[1024];
    (void)snprintf(plan, sizeof plan, "edge.rule: %s\ncloud.rule: %s\n%s", c->edge, c->cloud, c->more);
    /* three children of the cloud are devices: enough for a combiner there */
    static const size_t parents[1 + EDGES + DEVICES] = {0, 0, 0, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 0, 0};
    struct federation_options options = {.seed = seed,
                                         .plan = plan,
                                         .schema = schema,
                                         .edges = EDGES,
                                         .devices = DEVICES,
                                         .parents = parents,
                                         .latency_ms = 5,
                                         .jitter_ms = 10,
                                         .commit_ms = 2,
                                         .lose = 0.02,
                                         .repeat = 0.02,
                                         .keep_journal = true,
                                         .train = pull_towards};
    return federation_new(&options);
}

/* Rules with series: devices are too slow for the deadline now and then, so there are estimates among what
 * was replayed. */
static void check_estimates(struct federation *fed, const struct combination *c) {
    size_t estimated = 0;
    if (strstr(c->edge, "compensated") == NULL) return;
    for (size_t node = 1; node <= EDGES; node++) {
        const struct trib_record *const *records;
        size_t count = federation_journal(fed, node, &records);
        for (size_t i = 0; i < count; i++) estimated += trib_rec_has(records[i], AWAY);
    }
    if (estimated == 0) fail_msg("%s: nobody was estimated", c->edge);
}

static void run_one(const struct combination *c, uint64_t seed) {
    struct federation *fed = begin(c, seed);
    struct trib_rng rng = trib_rng_seed(seed, 3);
    for (int step = 0; step < 12; step++) {
        federation_run(fed, federation_now(fed) + 1 + trib_rng_below(&rng, 4000), NULL, NULL);
        federation_check(fed, c->edge);
        federation_crash(fed, trib_rng_below(&rng, 1 + EDGES));
        federation_check(fed, "after a crash");
    }
    federation_run(fed, federation_now(fed) + 60000, NULL, NULL);
    federation_check(fed, c->edge);
    for (size_t node = 0; node <= EDGES; node++) {
        const struct trib_state *state = federation_state(fed, node);
        if (state->commits < 5)
            fail_msg("%s, %s: node %zu has %llu commits", c->edge, c->cloud, node,
                     (unsigned long long)state->commits);
        rebuilt_from_checkpoint(state, c->edge);
    }
    const struct trib_state *cloud = federation_state(fed, FED_CLOUD);
    double off = distance(cloud->own, trib_state_parameters(cloud));
    if (!(off < 0.5))
        fail_msg("%s, %s: the model is %g off after %llu commits", c->edge, c->cloud, off,
                 (unsigned long long)cloud->commits);
    federation_calm(fed);
    federation_run(fed, federation_now(fed) + 100000, NULL, NULL);
    for (size_t node = 0; node <= EDGES; node++) rebuilt_from_records(fed, node, c->edge);
    check_estimates(fed, c);
    federation_free(&fed);
}

static void every_rule_survives(void **state) {
    (void)state;
    for (size_t i = 0; i < COMBINATIONS; i++) run_one(&combinations[i], 3 + i);
}

/* Is the name in the spec, and not as a part of another one? */
static bool names(const char *spec, const char *name) {
    static const char part[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
    size_t bytes = strlen(name);
    for (const char *at = spec; (at = strstr(at, name)) != NULL; at++)
        if ((at == spec || strchr(part, at[-1]) == NULL) &&
            (at[bytes] == 0 || strchr(part, at[bytes]) == NULL))
            return true;
    return false;
}

/* A row that is in none of the runs above is not tested here: say so. */
static void every_row_is_run(void **state) {
    (void)state;
    size_t count;
    const struct trib_rule_row *const *rows = trib_rule_rows(&count);
    for (size_t i = 0; i < count; i++) {
        bool found = false;
        for (size_t c = 0; c < COMBINATIONS; c++)
            found = found || names(combinations[c].edge, rows[i]->name) ||
                    names(combinations[c].cloud, rows[i]->name);
        if (!found) fail_msg("%s is in no combination", rows[i]->name);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_survives),
        cmocka_unit_test(every_row_is_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
