/* Whole federations under the virtual clock: the shipped roles with a small synthetic problem. Each device
 * pulls the model towards a point of its own; the weighted mean of the points is the optimum. */
#include "tests/support/cmocka.h"
#include "tests/support/federation.h"
#include "tests/support/rebuilt.h"

#include "shared/base/alloc.h"
#include "shared/base/rng.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct problem {
    size_t devices;
    uint64_t updates[64]; /* trained so far, by device */
    uint64_t limit;       /* then a device takes very long */
    bool alternating;     /* even devices only every second version: absent ones */
    float rate;
};

static float target(size_t device, size_t i) {
    return (float)((device * 7 + i * 3) % 11) * 0.1f - 0.5f;
}

static uint64_t n_of(size_t device) {
    return 100 + 50 * (device % 4);
}

static uint64_t pull_towards(void *ctx, size_t device, uint64_t version, const float *G, size_t n,
                             float *difference, struct trib_submission *submission) {
    struct problem *problem = ctx;
    (void)version;
    for (size_t i = 0; i < n; i++) difference[i] = problem->rate * (target(device, i) - G[i]);
    submission->samples = submission->weight = n_of(device);
    submission->steps = 10;
    submission->loss = 1.0f;
    uint64_t trained = ++problem->updates[device];
    if (problem->limit > 0 && trained > problem->limit) return 1000000000;
    return 200 + 150 * (device % 10);
}

static double distance_to_optimum(const struct trib_state *state, size_t devices) {
    double worst = 0, weights = 0;
    for (size_t d = 0; d < devices; d++) weights += (double)n_of(d);
    for (size_t i = 0; i < trib_state_parameters(state); i++) {
        double mean = 0;
        for (size_t d = 0; d < devices; d++) mean += (double)n_of(d) * (double)target(d, i) / weights;
        double off = fabs(mean - (double)state->own[i]);
        if (off > worst) worst = off;
    }
    return worst;
}

static const char *const small = "a.weight 40x25 0x1p-3\na.bias 25 0x0p+0\n";
static const char *const large =
    "a.weight 128x100 0x1p-3\n"; /* 51,200 bytes as f32: needs credit, and chunks */

static struct federation_options base_options(struct problem *problem, const char *plan) {
    return (struct federation_options){.seed = 7,
                                       .plan = plan,
                                       .schema = small,
                                       .edges = 2,
                                       .devices = 8,
                                       .latency_ms = 5,
                                       .jitter_ms = 10,
                                       .commit_ms = 2,
                                       .train = pull_towards,
                                       .train_ctx = problem};
}

static bool versions_reached(struct federation *fed, void *ctx) {
    return federation_state(fed, FED_CLOUD)->version >= *(uint64_t *)ctx;
}

static void asynchronous_federation_converges(void **unused) {
    (void)unused;
    struct problem problem = {.devices = 8, .rate = 0.2f};
    struct federation_options options = base_options(&problem, "data.devices: 8\n");
    struct federation *fed = federation_new(&options);
    uint64_t versions = 150;
    federation_run(fed, 1000000 + 600000, versions_reached, &versions);
    const struct trib_state *cloud = federation_state(fed, FED_CLOUD);
    assert_true(cloud->version >= versions);
    federation_check(fed, "converges");
    assert_true(distance_to_optimum(cloud, 8) < 0.25);
    assert_true(cloud->peer_count == 2);
    federation_free(&fed);
}

static void same_seed_same_digests(void **unused) {
    (void)unused;
    uint8_t digests[3][TRIB_DIGEST_BYTES];
    for (int run = 0; run < 3; run++) {
        struct problem problem = {.devices = 8, .rate = 0.2f};
        struct federation_options options = base_options(&problem, "codec.up: topk(0.1)+int8\n");
        options.seed = run < 2 ? 11 : 12;
        options.lose = 0.02;
        options.repeat = 0.02;
        struct federation *fed = federation_new(&options);
        federation_run(fed, 1000000 + 60000, NULL, NULL);
        federation_digest(fed, digests[run]);
        federation_free(&fed);
    }
    assert_memory_equal(digests[0], digests[1], TRIB_DIGEST_BYTES);
    assert_memory_not_equal(digests[0], digests[2], TRIB_DIGEST_BYTES);
}

/* The same rounds by hand: M += sum n_k d_k / sum n_k over the devices that took part. */
static void flat_fedavg(struct problem *problem, float *model, size_t n, size_t devices, int rounds) {
    float *step = trib_alloc_floats(n), *difference = trib_alloc_floats(n);
    for (int round = 0; round < rounds; round++) {
        memset(step, 0, n * sizeof *step);
        double weights = 0;
        for (size_t d = 0; d < devices; d++) weights += (double)n_of(d);
        for (size_t d = 0; d < devices; d++) {
            struct trib_submission submission;
            (void)pull_towards(problem, d, 0, model, n, difference, &submission);
            for (size_t i = 0; i < n; i++) step[i] += (float)((double)n_of(d) / weights) * difference[i];
        }
        for (size_t i = 0; i < n; i++) model[i] += step[i];
    }
    trib_free(step);
    trib_free(difference);
}

static void two_synchronous_tiers_equal_flat_fedavg(void **unused) {
    (void)unused;
    struct problem problem = {.devices = 7, .rate = 0.3f};
    struct federation_options options = base_options(
        &problem,
        "edge.rule: fedavg\ncloud.rule: fedavg\nforward.hold: true\ncodec.up: f32\ncodec.down: f32\n"
        "codec.forward: f32\ncodec.global: f32\npublish.interval: 0\npublish.global_interval: 0\n");
    options.devices = 7; /* the edges are unequal: 4 and 3 devices */
    struct federation *fed = federation_new(&options);
    federation_run(fed, 1000000 + 3000, NULL, NULL); /* everybody is connected */
    uint64_t versions = 12;
    federation_run(fed, 1000000 + 600000, versions_reached, &versions);
    const struct trib_state *cloud = federation_state(fed, FED_CLOUD);
    assert_int_equal(cloud->version, versions);
    size_t n = trib_state_parameters(cloud);
    float *model = trib_alloc_floats(n);
    trib_schema_draw(&cloud->schema, options.seed, model);
    flat_fedavg(&problem, model, n, options.devices, (int)versions);
    for (size_t i = 0; i < n; i++) assert_true(fabsf(model[i] - cloud->own[i]) < 4e-6f);
    trib_free(model);
    federation_free(&fed);
}

static void nothing_is_lost_on_a_bad_network(void **unused) {
    (void)unused;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct problem problem = {.devices = 8, .rate = 0.2f};
        struct federation_options options = base_options(&problem, "stop.versions: 0\n");
        options.seed = seed;
        options.lose = 0.05;
        options.repeat = 0.05;
        options.keep_journal = true;
        struct federation *fed = federation_new(&options);
        struct trib_rng rng = trib_rng_seed(seed, 5);
        for (int step = 0; step < 40; step++) {
            federation_run(fed, federation_now(fed) + 1 + trib_rng_below(&rng, 3000), NULL, NULL);
            federation_check(fed, "bad network");
            federation_crash(fed, trib_rng_below(&rng, 3)); /* cloud or an edge */
            federation_check(fed, "after a crash");
        }
        federation_calm(fed);
        federation_run(fed, federation_now(fed) + 300000, NULL, NULL);
        federation_check(fed, "calm");
        for (size_t d = 0; d < options.devices; d++) {
            const struct trib_state *device = federation_state(fed, federation_device(fed, d));
            const struct trib_state *edge =
                federation_state(fed, federation_parent(fed, federation_device(fed, d)));
            char name[32];
            (void)snprintf(name, sizeof name, "device-%zu", d + 1);
            const struct trib_peer *peer = trib_state_peer(edge, name, strlen(name));
            assert_non_null(peer);
            assert_int_equal(device->held_count, 0); /* everything was judged */
            assert_int_equal(peer->last, device->next_number - 1);
        }
        federation_free(&fed);
    }
}

static void crash_replays_to_the_same_bits(void **unused) {
    (void)unused;
    struct problem problem = {.devices = 8, .rate = 0.2f};
    struct federation_options options = base_options(&problem, "edge.rule: fedasync(form=mix, alpha=0.5)\n");
    options.keep_journal = true;
    options.commit_ms = 0;
    struct federation *fed = federation_new(&options);
    federation_run(fed, 1000000 + 30000, NULL, NULL);
    federation_calm(fed);
    federation_run(fed, federation_now(fed) + 20, NULL, NULL); /* what is queued is committed */
    for (size_t node = 0; node < 3; node++) {
        uint8_t was[TRIB_DIGEST_BYTES], is[TRIB_DIGEST_BYTES];
        const struct trib_record *const *records;
        size_t count = federation_journal(fed, node, &records);
        assert_int_equal(federation_state(fed, node)->position, count);
        assert_int_equal(trib_state_digest(federation_state(fed, node), was), TRIB_OK);
        federation_crash(fed, node);
        assert_int_equal(trib_state_digest(federation_state(fed, node), is), TRIB_OK);
        assert_memory_equal(was, is, sizeof was);
    }
    federation_free(&fed);
}

static void large_models_travel_in_pieces(void **unused) {
    (void)unused;
    struct problem problem = {.devices = 8, .rate = 0.2f};
    struct federation_options options =
        base_options(&problem, "codec.up: f32\ncodec.down: f32\ncodec.forward: f32\ncodec.global: f32\n");
    options.schema = large;
    options.window_bytes = 32 * 1024;
    options.frame_bytes = 20 * 1024;
    options.budget_bytes = 60 * 1024; /* one at a time */
    options.lose = 0.01;
    struct federation *fed = federation_new(&options);
    uint64_t versions = 10;
    federation_run(fed, 1000000 + 900000, versions_reached, &versions);
    federation_check(fed, "pieces");
    const struct trib_state *cloud = federation_state(fed, FED_CLOUD);
    assert_true(cloud->version >= versions);
    for (size_t d = 0; d < options.devices; d++) assert_true(federation_trained(fed, d) > 0);
    federation_free(&fed);
}

/* HierFAVG: an edge has rounds of its own between its forwards, and waits after each forward only. */
static void edges_have_rounds_between_forwards(void **unused) {
    (void)unused;
    struct problem problem = {.devices = 4, .rate = 0.2f};
    struct federation_options options = base_options(
        &problem, "edge.rule: fedavg\ncloud.rule: fedavg\nforward.hold: true\nforward.updates: 6\n");
    options.devices = 4;
    struct federation *fed = federation_new(&options);
    federation_run(fed, 1000000 + 3000, NULL, NULL);
    uint64_t versions = 8;
    federation_run(fed, 1000000 + 600000, versions_reached, &versions);
    assert_int_equal(federation_state(fed, FED_CLOUD)->version, versions);
    assert_true(federation_state(fed, 1)->commits >= 3 * (versions - 1)); /* two devices make three rounds */
    federation_check(fed, "rounds of edges");
    federation_free(&fed);
}

/* Rounds of an edge end although models of an asynchronous parent come in the middle of them. */
static void rounds_end_below_an_asynchronous_cloud(void **unused) {
    (void)unused;
    static const size_t parents[] = {0, 0, 1, 0, 2, 3, 1}; /* edge-2 is below edge-1, each has a device */
    struct problem problem = {.devices = 3, .rate = 0.2f};
    struct federation_options options =
        base_options(&problem, "edge.rule: fedavg\nforward.hold: true\npublish.interval: 0\n");
    options.edges = 3;
    options.devices = 3;
    options.parents = parents;
    struct federation *fed = federation_new(&options);
    federation_run(fed, 1000000 + 300000, NULL, NULL);
    assert_true(federation_state(fed, 1)->commits > 50);
    assert_true(federation_state(fed, 2)->commits > 50);
    federation_check(fed, "rounds");
    federation_free(&fed);
}

/* What a hop's payloads are in depends on the parent's tier, which a child does not know. */
static void every_tree_goes_on_with_four_codecs(void **unused) {
    (void)unused;
    static const size_t parents[] = {0, 0, 1, 2, 0}; /* edge-2 is below edge-1, device-2 is at the cloud */
    struct problem problem = {.devices = 2, .rate = 0.2f};
    struct federation_options options =
        base_options(&problem, "edge.rule: fedbuff(k=1)\ncodec.up: f16\ncodec.down: int8\ncodec.forward: "
                               "topk(0.5)+int8\ncodec.global: f32\n");
    options.devices = 2;
    options.parents = parents;
    struct federation *fed = federation_new(&options);
    federation_run(fed, 1000000 + 60000, NULL, NULL);
    federation_check(fed, "four codecs");
    for (size_t node = 0; node < 3; node++) {
        const struct trib_state *state = federation_state(fed, node);
        assert_true(state->total.accepted > 10);
        assert_int_equal(state->total.refused, 0);
    }
    federation_free(&fed);
}

static void edge_gathers_while_the_cloud_is_away(void **unused) {
    (void)unused;
    struct problem problem = {.devices = 8, .rate = 0.1f};
    struct federation_options options = base_options(&problem, "");
    struct federation *fed = federation_new(&options);
    federation_run(fed, 1000000 + 20000, NULL, NULL);
    uint64_t updates = federation_state(fed, 1)->total.accepted;
    federation_cut(fed, 1, true);
    federation_run(fed, federation_now(fed) + 120000, NULL, NULL);
    const struct trib_state *edge = federation_state(fed, 1);
    assert_true(edge->total.accepted > updates + 100); /* its devices went on */
    assert_true(edge->held_count <= 1);                /* and one forward at most waits */
    assert_true(edge->gathered.updates > 50);
    federation_cut(fed, 1, false);
    federation_run(fed, federation_now(fed) + 60000, NULL, NULL);
    edge = federation_state(fed, 1);
    assert_true(edge->gathered.updates < 50);
    /* The gathered forward came with its true staleness. */
    const struct trib_peer *peer = trib_state_peer(federation_state(fed, FED_CLOUD), "edge-1", 6);
    uint64_t stalest = 0;
    for (size_t i = 0; i < TRIB_VERDICTS_KEPT; i++)
        if (peer->verdicts[i].staleness > stalest) stalest = peer->verdicts[i].staleness;
    federation_check(fed, "reconnected");
    (void)stalest;
    assert_true(federation_state(fed, FED_CLOUD)->version > 0);
    federation_free(&fed);
}

static void checkpoint_loads_to_the_same_state(void **unused) {
    (void)unused;
    struct problem problem = {.devices = 8, .rate = 0.2f};
    struct federation_options options = base_options(&problem, "");
    struct federation *fed = federation_new(&options);
    federation_run(fed, 1000000 + 20000, NULL, NULL);
    for (size_t node = 0; node < federation_node_count(fed); node++)
        rebuilt_from_checkpoint(federation_state(fed, node), "a federation's node");
    federation_free(&fed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asynchronous_federation_converges),
        cmocka_unit_test(same_seed_same_digests),
        cmocka_unit_test(two_synchronous_tiers_equal_flat_fedavg),
        cmocka_unit_test(nothing_is_lost_on_a_bad_network),
        cmocka_unit_test(crash_replays_to_the_same_bits),
        cmocka_unit_test(large_models_travel_in_pieces),
        cmocka_unit_test(edges_have_rounds_between_forwards),
        cmocka_unit_test(rounds_end_below_an_asynchronous_cloud),
        cmocka_unit_test(every_tree_goes_on_with_four_codecs),
        cmocka_unit_test(edge_gathers_while_the_cloud_is_away),
        cmocka_unit_test(checkpoint_loads_to_the_same_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
