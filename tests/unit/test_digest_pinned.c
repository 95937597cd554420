/* Digests that must be the same on every machine: of small federations under rules and codecs of all kinds,
 * by real messages under a virtual clock, and of a simulation. `make check-arm64` runs this on 64-bit ARM.
 *
 * No zstd: how many bytes it takes, which the states count, is its version's. Delays are uniform: other
 * distributions go through libm (shared/base/rng.h).
 *
 * They are what the code gives, not what somebody else says. A change that is meant to change results changes
 * them, and a failure prints the new ones; one that is not, or a difference between machines, is a bug. */
#include "tests/support/cmocka.h"
#include "tests/support/federation.h"
#include "tests/support/scenarios.h"

#include "shared/model/digest.h"
#include "shared/sim/sim.h"

#include <stdio.h>
#include <string.h>

/* Longer than what codecs read at a time, and than what kernels do at once. */
static const char *const schema = "a.weight 64x72 0x1p-3\na.bias 72 0x0p+0\nb.weight 72x5 0x1p-2\n";
enum { EDGES = 2, DEVICES = 10, VERSIONS = 6, SHOWN = 16 };

struct pinned {
    const char *edge, *cloud;   /* rules */
    const char *up, *down;      /* codecs, on both hops */
    const char *more;           /* of the plan */
    const char *model, *states; /* the first digits: of the cloud's model, of all nodes' states */
};

static const struct pinned federations[] = {
    {"fedbuff(k=3)", "fedbuff(k=2)", "f32", "f32", "", "27359b291f733355", "c6087b257874cd2e"},
    {"fedbuff(k=3)", "fedasync", "int8", "bf16", "", "0008088acacd9f0e", "f8d722f133a95683"},
    {"fedbuff(k=3)", "fedbuff(k=2) | adam(lr=0.05)", "rotate+1bit", "int8", "", "b249d472b64dcfde",
     "85455bacd99cd10e"},
    {"fedbuff(k=2) | momentum(0.9)", "fedasync(form=mix, alpha=0.6) | yogi(lr=0.05)", "topk(0.1)+int8+rice",
     "int4", "", "a1438905c0141026", "e16affb3de8d06ae"},
    {"trimmed_mean(f=1) | fedbuff(k=4)", "fedasync", "topk(0.1)+rotate+4bit", "f16", "", "ad466420d0801133",
     "1c9a401e983b0cd6"},
    {"krum(f=0) | fedbuff(k=3)", "fedasync", "qsgd", "ternary", "", "58612714b2ce0d5e", "aa3f26c302cfed9d"},
    {"geometric_median | fedbuff(k=3)", "fedbuff(k=2) | fadas(lr=0.02)", "threshold(2)+int4", "int8", "",
     "21c2ded8fe0ebc79", "48908a14d6aaf06f"},
    {"bucket(2) | centered_clip(tau=auto) | fedbuff(k=4)", "median | fedbuff(k=3)", "int8", "int8", "",
     "b6ba72a8eda42f88", "766561aa28575916"},
    {"norm_clip(tau=auto) | trust(threshold=0.1) | fedbuff(k=2)", "fedasync", "randomk(0.2)+bf16", "int8", "",
     "cb5930aa6cbafea3", "899608ef83732d99"},
    {"ca2fl(k=3)", "ca2fl(k=2)", "layer(a=rotate+2bit, else=int8)", "powersgd(2)+int8", "",
     "c98ae887b8e88152", "1ae0bc12861dd3eb"},
    {"area(k=3)", "area(k=2)", "int2", "int8", "train.algorithm: area\n", "b5749cb2c185dd9e",
     "f57f2f16bc5417f1"},
    {"fednova(minimum=2, deadline=2s)", "fednova", "rows(0.25)+int4", "int8", "forward.hold: true\n",
     "5878201c820444f4", "aa426ce1d5ba509d"},
    {"semiasync(period=1s, synchronise=3)", "fedat(tiers=4)", "auto", "int8", "", "45949590ab1ebfa0",
     "21ec46cae28bcbb0"},
};

/* Towards a point of its own, by operations that are exact or rounded once. */
static uint64_t pull_towards(void *ctx, size_t device, uint64_t version, const float *G, size_t n,
                             float *difference, struct trib_submission *submission) {
    (void)ctx;
    for (size_t i = 0; i < n; i++) {
        float target = (float)((device * 7 + i * 3) % 11) * 0.125f;
        difference[i] = 0.25f * (target - G[i]);
    }
    submission->samples = submission->weight = 100 + 50 * (device % 4);
    submission->steps = (float)(5 + device % 3);
    submission->loss = 1.0f / (float)(1 + version);
    return 200 + 150 * (device % 5);
}

static bool has_versions(struct federation *fed, void *ctx) {
    (void)ctx;
    return federation_state(fed, FED_CLOUD)->version >= VERSIONS;
}

/* Prints what there is instead: a line for the table. */
static bool is_pinned(const char *what, const uint8_t model[TRIB_DIGEST_BYTES],
                      const uint8_t states[TRIB_DIGEST_BYTES], const char *expected_model,
                      const char *expected_states) {
    char hex[2][2 * TRIB_DIGEST_BYTES + 1];
    (void)trib_digest_hex(model, hex[0]);
    (void)trib_digest_hex(states, hex[1]);
    hex[0][SHOWN] = hex[1][SHOWN] = 0;
    if (strcmp(hex[0], expected_model) == 0 && strcmp(hex[1], expected_states) == 0) return true;
    print_message("%s: \"%s\", \"%s\"; expected \"%s\", \"%s\"\n", what, hex[0], hex[1], expected_model,
                  expected_states);
    return false;
}

static bool run_one(const struct pinned *p) {
    char plan[1024];
    uint8_t states[TRIB_DIGEST_BYTES];
    /* two children of the cloud are devices */
    static const size_t parents[1 + EDGES + DEVICES] = {0, 0, 0, 1, 2, 1, 2, 1, 2, 1, 2, 0, 0};
    (void)snprintf(plan, sizeof plan,
                   "edge.rule: \"%s\"\ncloud.rule: \"%s\"\ncodec.up: \"%s\"\ncodec.forward: \"%s\"\n"
                   "codec.down: \"%s\"\ncodec.global: \"%s\"\n%s",
                   p->edge, p->cloud, p->up, p->up, p->down, p->down, p->more);
    struct federation_options options = {.seed = 11,
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
                                         .train = pull_towards};
    struct federation *fed = federation_new(&options);
    federation_run(fed, federation_now(fed) + 600000, has_versions, NULL);
    federation_check(fed, p->edge);
    if (!has_versions(fed, NULL)) fail_msg("%s: too few versions", p->edge);
    federation_digest(fed, states);
    bool same = is_pinned(p->edge, federation_state(fed, FED_CLOUD)->digest, states, p->model, p->states);
    federation_free(&fed);
    return same;
}

static void federations_give_these_digests(void **unused) {
    (void)unused;
    size_t wrong = 0;
    for (size_t i = 0; i < sizeof federations / sizeof *federations; i++) wrong += !run_one(&federations[i]);
    assert_int_equal(wrong, 0);
}

static void a_simulation_gives_this_digest(void **unused) {
    (void)unused;
    struct trib_scenario scenario;
    struct trib_error err = {0};
    struct trib_sim *sim = NULL;
    bool over = false;
    uint8_t states[TRIB_DIGEST_BYTES];
    scenario_from(&scenario,
                  "ledger.cloud: none\nthreads: 2\ntrain: {none: true, parameters: 5000}\n"
                  "fleet: {devices: 40, edges: 3, speed: \"uniform(1, 3)\", delay: \"uniform(1, 2)\"}\n",
                  "plan:\n  edge.rule: \"fedbuff(k=4)\"\n  cloud.rule: \"fedbuff(k=2) | adam\"\n"
                  "  codec: {up: topk(0.1)+int8, forward: rotate+4bit}\n  stop.versions: 12\n");
    struct trib_sim_options options = {.scenario = &scenario, .seed = 3, .out = ""};
    if (trib_sim_new(&options, &sim, &err) != TRIB_OK) fail_msg("%s", err.text);
    if (trib_sim_run(sim, 0, &over, &err) != TRIB_OK) fail_msg("%s", err.text);
    assert_true(over);
    assert_int_equal(trib_sim_close(sim, &err), TRIB_OK);
    assert_int_equal(trib_sim_digest(sim, states, &err), TRIB_OK);
    assert_true(
        is_pinned("simulation", trib_sim_model_digest(sim), states, "86599dad21c5fb41", "2a24eb183c6dd9ed"));
    trib_sim_free(&sim);
    trib_scenario_release(&scenario);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(federations_give_these_digests),
        cmocka_unit_test(a_simulation_gives_this_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
