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
    bool absent;          /* of three times a device trains one takes it far too long for a round */
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
    if (problem->absent && (trained + device) % 3 == 0) return 12000;
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

/* A round by hand: M += sum n_k d_k / sum n_k over the devices that took part, a bit for each. */
static void fedavg_round(struct problem *problem, float *model, size_t n, uint64_t devices) {
    float *step = trib_alloc_floats(n), *difference = trib_alloc_floats(n);
    double weights = 0;
    for (size_t d = 0; d < 64; d++)
        if (devices >> d & 1) weights += (double)n_of(d);
    for (size_t d = 0; d < 64; d++) {
        struct trib_submission submission;
        if (!(devices >> d & 1)) continue;
        (void)pull_towards(problem, d, 0, model, n, difference, &submission);
        for (size_t i = 0; i < n; i++) step[i] += (float)((double)n_of(d) / weights) * difference[i];
    }
    for (size_t i = 0; i < n; i++) model[i] += step[i];
    trib_free(step);
    trib_free(difference);
}

static const char synchronous[] =
    "cloud.rule: fedavg\nforward.hold: true\ncodec.up: f32\ncodec.down: f32\ncodec.forward: f32\n"
    "codec.global: f32\npublish.interval: 0\npublish.global_interval: 0\n";

/* Nodes of a cloud, three edges and nine devices: five, three and one. */
static const size_t uneven[] = {0, 0, 0, 0, 1, 2, 1, 3, 1, 2, 1, 1, 2};
static const uint64_t below[] = {0x0d5, 0x122, 0x008}; /* which devices that are */
static const uint64_t everybody = 0x1ff;
enum { DEVICES = 9 };

/* Run to so many versions of the cloud; *first is its version 0, which the caller frees. */
static struct federation *uneven_federation(struct problem *problem, const char *edge_rule, const char *more,
                                            uint64_t versions, float **first) {
    static char plan[512];
    (void)snprintf(plan, sizeof plan, "edge.rule: %s\n%s%s", edge_rule, synchronous, more);
    struct federation_options options = base_options(problem, plan);
    options.edges = 3;
    options.devices = DEVICES;
    options.parents = uneven;
    options.keep_journal = true;
    struct federation *fed = federation_new(&options);
    federation_run(fed, 1000000 + 3000, NULL, NULL); /* everybody is connected */
    federation_run(fed, 1000000 + 900000, versions_reached, &versions);
    const struct trib_state *cloud = federation_state(fed, FED_CLOUD);
    assert_int_equal(cloud->version, versions);
    *first = trib_alloc_floats(trib_state_parameters(cloud));
    trib_schema_draw(&cloud->schema, options.seed, *first);
    return fed;
}

static void two_synchronous_tiers_equal_flat_fedavg(void **unused) {
    (void)unused;
    struct problem problem = {.devices = 9, .rate = 0.3f};
    float *model;
    const uint64_t versions = 12;
    struct federation *fed = uneven_federation(&problem, "fedavg", "", versions, &model);
    const struct trib_state *cloud = federation_state(fed, FED_CLOUD);
    size_t n = trib_state_parameters(cloud);
    for (uint64_t i = 0; i < versions; i++) fedavg_round(&problem, model, n, everybody);
    for (size_t i = 0; i < n; i++) assert_true(fabsf(model[i] - cloud->own[i]) < 4e-6f);
    trib_free(model);
    federation_free(&fed);
}

/* Which devices an edge's rounds had: the updates that it accepted before each of its commits. */
static size_t rounds_of(const struct federation *fed, size_t edge, uint64_t *rounds, size_t most) {
    const struct trib_record *const *records;
    size_t count = federation_journal(fed, edge, &records), done = 0;
    uint64_t devices = 0;
    for (size_t i = 0; i < count && done < most; i++) {
        const struct trib_record *r = records[i];
        unsigned device;
        if (r->kind == TRIB_REC_VERDICT && r->verdict == TRIB_ACCEPTED) {
            char name[FED_NAME] = {0};
            memcpy(name, r->peer.data, r->peer.size < sizeof name ? r->peer.size : sizeof name - 1);
            assert_int_equal(sscanf(name, "device-%u", &device), 1);
            devices |= (uint64_t)1 << (device - 1);
        } else if (r->kind == TRIB_REC_COMMIT) {
            rounds[done++] = devices;
            devices = 0;
        }
    }
    return done;
}

/* Devices that come too late for their edge's deadline are not in a round, at any tier: what comes out is
 * the mean over those that are, as if one aggregator had heard them all. */
static void absent_devices_are_in_no_mean(void **unused) {
    (void)unused;
    enum { VERSIONS = 20 };
    struct problem problem = {.devices = 9, .rate = 0.3f, .absent = true};
    float *model;
    uint64_t rounds[3][VERSIONS], full = 0, seen = 0;
    struct federation *fed = uneven_federation(&problem, "fedavg(deadline=4s)", "", VERSIONS, &model);
    const struct trib_state *cloud = federation_state(fed, FED_CLOUD);
    size_t n = trib_state_parameters(cloud);
    for (size_t e = 0; e < 3; e++) assert_int_equal(rounds_of(fed, e + 1, rounds[e], VERSIONS), VERSIONS);
    for (size_t i = 0; i < VERSIONS; i++) {
        uint64_t devices = rounds[0][i] | rounds[1][i] | rounds[2][i];
        for (size_t e = 0; e < 3; e++) assert_true(rounds[e][i] != 0 && (rounds[e][i] & ~below[e]) == 0);
        fedavg_round(&problem, model, n, devices);
        full += devices == everybody;
        seen |= devices;
    }
    assert_true(full < VERSIONS / 2); /* there were absent ones, */
    assert_true(seen == everybody);   /* and nobody always was */
    for (size_t i = 0; i < n; i++) assert_true(fabsf(model[i] - cloud->own[i]) < 4e-6f);
    federation_check(fed, "absent");
    trib_free(model);
    federation_free(&fed);
}

/* HierFAVG, kappa2 = 3: each edge averages its devices three times, starting from the cloud's model; then
 * the cloud averages the edges by their devices' samples. */
static void three_rounds_of_edges_between_means(void **unused) {
    (void)unused;
    struct problem problem = {.devices = 9, .rate = 0.3f};
    float *model;
    const uint64_t versions = 6;
    struct federation *fed = uneven_federation(&problem, "fedavg", "forward.commits: 3\n", versions, &model);
    const struct trib_state *cloud = federation_state(fed, FED_CLOUD);
    size_t n = trib_state_parameters(cloud);
    float *edge = trib_alloc_floats(n), *mean = trib_alloc_floats(n);
    for (uint64_t i = 0; i < versions; i++) {
        double all = 0;
        for (size_t d = 0; d < DEVICES; d++) all += (double)n_of(d);
        memset(mean, 0, n * sizeof *mean);
        for (size_t e = 0; e < 3; e++) {
            double weight = 0;
            for (size_t d = 0; d < DEVICES; d++)
                if (below[e] >> d & 1) weight += (double)n_of(d);
            memcpy(edge, model, n * sizeof *edge);
            for (int round = 0; round < 3; round++) fedavg_round(&problem, edge, n, below[e]);
            for (size_t j = 0; j < n; j++) mean[j] += (float)(weight / all) * edge[j];
        }
        memcpy(model, mean, n * sizeof *model);
    }
    for (size_t i = 0; i < n; i++) assert_true(fabsf(model[i] - cloud->own[i]) < 4e-6f);
    for (size_t e = 1; e <= 3; e++) assert_true(federation_state(fed, e)->commits >= 3 * versions);
    federation_check(fed, "three rounds");
    trib_free(model);
    trib_free(edge);
    trib_free(mean);
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
        cmocka_unit_test(absent_devices_are_in_no_mean),
        cmocka_unit_test(three_rounds_of_edges_between_means),
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
