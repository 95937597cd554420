/* Rollback: an earlier version becomes current again, as a new one that is a fence, and the whole tree
 * follows: edges and edges below edges void what they built on the versions that were abandoned. */
#include "tests/support/cmocka.h"
#include "tests/support/federation.h"

#include "shared/base/alloc.h"

#include <string.h>

enum { CLOUD, EDGE_A, EDGE_B, BELOW_A, DEVICES, DEVICE_COUNT = 6 };

static const size_t parents[DEVICES + DEVICE_COUNT] = {
    0, CLOUD, CLOUD, EDGE_A, EDGE_B, EDGE_B, BELOW_A, BELOW_A, BELOW_A, EDGE_A,
};

static uint64_t train(void *ctx, size_t device, uint64_t version, const float *G, size_t n, float *difference,
                      struct trib_submission *submission) {
    (void)ctx;
    (void)version;
    for (size_t i = 0; i < n; i++)
        difference[i] = 0.1f * ((float)((device * 5 + i) % 7) * 0.25f - 0.5f - G[i]);
    submission->samples = submission->weight = 100 + 50 * device;
    submission->steps = 10;
    submission->loss = 1.0f;
    return 100 + 70 * device;
}

static bool reached(struct federation *fed, void *ctx) {
    return federation_state(fed, CLOUD)->version >= *(uint64_t *)ctx;
}

static void run_to(struct federation *fed, uint64_t version) {
    federation_run(fed, federation_now(fed) + 600000, reached, &version);
    assert_true(federation_state(fed, CLOUD)->version >= version);
}

static struct federation *begin(const char *plan, double lose) {
    struct federation_options options = {.seed = 5,
                                         .plan = plan,
                                         .schema = "w 50 0x1p-3\n",
                                         .edges = 3,
                                         .devices = DEVICE_COUNT,
                                         .parents = parents,
                                         .latency_ms = 5,
                                         .jitter_ms = 20,
                                         .commit_ms = 2,
                                         .lose = lose,
                                         .repeat = lose,
                                         .keep_journal = true,
                                         .train = train};
    return federation_new(&options);
}

static struct trib_blob *model_of(struct federation *fed) {
    const struct trib_state *cloud = federation_state(fed, CLOUD);
    return trib_blob_copy(cloud->own, trib_state_parameters(cloud) * sizeof(float));
}

static void go_back(struct federation *fed, uint64_t version, struct trib_blob *model) {
    struct trib_aggregator *cloud = federation_aggregator(fed, CLOUD);
    assert_true(trib_aggregator_rollback(cloud, federation_now(fed), version, model));
    federation_settle(fed, CLOUD);
}

/* No record accepts an update whose base is below the fence in force. */
static void no_base_below_the_fence(struct federation *fed, size_t node) {
    const struct trib_record *const *records;
    size_t count = federation_journal(fed, node, &records), refused = 0;
    uint64_t fence = 0;
    for (size_t i = 0; i < count; i++) {
        const struct trib_record *r = records[i];
        if (r->kind == TRIB_REC_ROLLBACK) fence = r->version;
        if (r->kind != TRIB_REC_VERDICT || r->base_version >= fence) continue;
        assert_int_equal(r->verdict, TRIB_REFUSED);
        refused++;
    }
    assert_true(refused > 0); /* there were some on their way */
}

static void the_tree_follows(const char *plan, double lose) {
    struct federation *fed = begin(plan, lose);
    run_to(fed, 10);
    struct trib_blob *model = model_of(fed);
    uint64_t kept = federation_state(fed, CLOUD)->version;
    run_to(fed, 40);
    federation_check(fed, "before");
    const struct trib_state *cloud = federation_state(fed, CLOUD);
    uint64_t fence = cloud->version + 1, before[BELOW_A + 1];
    for (size_t edge = EDGE_A; edge <= BELOW_A; edge++) before[edge] = federation_state(fed, edge)->version;
    federation_cut(fed, EDGE_A, true); /* what it makes meanwhile will be refused */
    federation_run(fed, federation_now(fed) + 3000, NULL, NULL);
    fence = cloud->version + 1;
    go_back(fed, kept, model);
    federation_cut(fed, EDGE_A, false);
    assert_int_equal(cloud->version, fence);
    assert_int_equal(cloud->fence, fence);
    assert_memory_equal(cloud->own, trib_blob_data(model), trib_blob_size(model));
    run_to(fed, fence + 40);
    federation_check(fed, "after");
    no_base_below_the_fence(fed, CLOUD);
    for (size_t edge = EDGE_A; edge <= BELOW_A; edge++) {
        const struct trib_state *s = federation_state(fed, edge);
        assert_true(s->fence > before[edge]);
        assert_int_equal(s->parent_fence, federation_state(fed, parents[edge])->fence);
    }
    trib_blob_unref(&model);
    federation_free(&fed);
}

static void whole_tree_follows(void **unused) {
    (void)unused;
    the_tree_follows("data.devices: 6\n", 0);
}

static void whole_tree_follows_over_bad_links(void **unused) {
    (void)unused;
    the_tree_follows("cloud.rule: fedbuff(k=2)\ncodec.up: topk(0.2)+int8\n", 0.05);
}

/* Where nobody trains any more, everybody ends with that version's model, to the bit. */
static void everybody_holds_the_old_model(void **unused) {
    (void)unused;
    struct federation *fed = begin("codec.global: int8\ncodec.down: int8\n", 0);
    run_to(fed, 12);
    struct trib_blob *model = model_of(fed);
    uint64_t kept = federation_state(fed, CLOUD)->version;
    run_to(fed, 30);
    go_back(fed, kept, model);
    federation_calm(fed);
    federation_run(fed, federation_now(fed) + 120000, NULL, NULL);
    federation_check(fed, "calm");
    const struct trib_state *cloud = federation_state(fed, CLOUD);
    assert_memory_equal(cloud->own, trib_blob_data(model), trib_blob_size(model));
    assert_memory_equal(cloud->P, trib_blob_data(model), trib_blob_size(model));
    for (size_t edge = EDGE_A; edge <= EDGE_B; edge++) {
        const struct trib_state *s = federation_state(fed, edge);
        assert_memory_equal(s->G, trib_blob_data(model), trib_blob_size(model));
        assert_int_equal(s->held_count, 0);
        assert_int_equal(s->gathered.updates, 0);
    }
    trib_blob_unref(&model);
    federation_free(&fed);
}

/* The journal gives the same state, to the bit, and a cloud that comes back from it goes on below its fence.
 */
static void survives_restarts(void **unused) {
    (void)unused;
    struct federation *fed = begin("", 0);
    run_to(fed, 6);
    struct trib_blob *model = model_of(fed);
    uint64_t kept = federation_state(fed, CLOUD)->version;
    run_to(fed, 12);
    go_back(fed, kept, model);
    run_to(fed, 20);
    uint64_t fence = federation_state(fed, CLOUD)->fence;
    federation_crash(fed, CLOUD);
    run_to(fed, federation_state(fed, CLOUD)->version + 10);
    assert_int_equal(federation_state(fed, CLOUD)->fence, fence);
    federation_check(fed, "restarted");
    federation_calm(fed);
    federation_run(fed, federation_now(fed) + 60000, NULL, NULL);

    const struct trib_record *const *records;
    size_t count = federation_journal(fed, CLOUD, &records);
    struct trib_state *again;
    struct trib_state_limits limits = {0};
    assert_int_equal(trib_state_new(TRIB_ROLE_CLOUD, &limits, &again, NULL), TRIB_OK);
    for (size_t i = 0; i < count; i++) {
        struct trib_record copy = *records[i];
        assert_int_equal(trib_state_apply(again, &copy, NULL), TRIB_OK);
    }
    uint8_t live[TRIB_DIGEST_BYTES], replayed[TRIB_DIGEST_BYTES];
    assert_int_equal(trib_state_digest(again, replayed), TRIB_OK);
    assert_int_equal(trib_state_digest(federation_state(fed, CLOUD), live), TRIB_OK);
    assert_memory_equal(live, replayed, sizeof live);
    trib_state_free(&again);
    trib_blob_unref(&model);
    federation_free(&fed);
}

/* How often a model from its parent led the edge across a fence. */
static size_t crossings(struct federation *fed, size_t edge) {
    const struct trib_record *const *records;
    size_t count = federation_journal(fed, edge, &records), crossed = 0;
    uint64_t held = 0;
    for (size_t i = 0; i < count; i++) {
        const struct trib_record *r = records[i];
        if (r->kind != TRIB_REC_PARENT) continue;
        crossed += i > 0 && held > 0 && r->fence > held;
        held = r->version;
    }
    return crossed;
}

static bool in_between(struct federation *fed, void *ctx) {
    const struct trib_state *cloud = federation_state(fed, CLOUD);
    return cloud->version >= *(uint64_t *)ctx && cloud->pending_count > 0 &&
           cloud->published < cloud->version;
}

/* The publish interval does not keep the new version back, and nobody is sent an abandoned one meanwhile.
 * What was judged and not committed is void, and nothing else: versions that were abandoned are versions. */
static void the_new_version_is_published_at_once(void **unused) {
    (void)unused;
    struct federation *fed = begin("cloud.rule: fedbuff(k=4)\npublish.global_interval: 20s\n", 0);
    run_to(fed, 4);
    struct trib_blob *model = model_of(fed);
    const struct trib_state *cloud = federation_state(fed, CLOUD);
    uint64_t kept = cloud->version, from = cloud->version + 4;
    federation_run(fed, federation_now(fed) + 600000, in_between, &from);
    assert_true(cloud->pending_count > 0 && cloud->published < cloud->version);
    uint64_t pending = 0, void_before = cloud->total.void_samples;
    for (size_t i = 0; i < cloud->pending_count; i++) pending += cloud->pending[i].samples;
    go_back(fed, kept, model);
    assert_int_equal(cloud->published, cloud->fence);
    assert_int_equal(cloud->total.void_samples - void_before, pending);
    run_to(fed, cloud->fence + 4);
    federation_check(fed, "after");
    for (size_t edge = EDGE_A; edge <= EDGE_B; edge++) assert_int_equal(crossings(fed, edge), 1);
    trib_blob_unref(&model);
    federation_free(&fed);
}

static void impossible_ones_are_refused(void **unused) {
    (void)unused;
    struct federation *fed = begin("", 0);
    run_to(fed, 5);
    struct trib_aggregator *cloud = federation_aggregator(fed, CLOUD);
    struct trib_blob *model = model_of(fed), *half = trib_blob_slice(model, 0, trib_blob_size(model) / 2);
    uint64_t version = federation_state(fed, CLOUD)->version, now = federation_now(fed);
    assert_false(trib_aggregator_rollback(cloud, now, version, model));
    assert_false(trib_aggregator_rollback(cloud, now, 3, half));
    assert_false(trib_aggregator_rollback(federation_aggregator(fed, EDGE_A), now, 0, model));
    assert_int_equal(federation_state(fed, CLOUD)->version, version);
    trib_blob_unref(&half);
    trib_blob_unref(&model);
    federation_free(&fed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_tree_follows),
        cmocka_unit_test(whole_tree_follows_over_bad_links),
        cmocka_unit_test(everybody_holds_the_old_model),
        cmocka_unit_test(survives_restarts),
        cmocka_unit_test(the_new_version_is_published_at_once),
        cmocka_unit_test(impossible_ones_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
