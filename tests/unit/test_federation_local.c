/* Algorithms with a memory on the device, over whole federations that really train: what devices keep and
 * what the cloud has of it agree, whatever happens on the way. */
#include "tests/support/cmocka.h"
#include "tests/support/federation.h"

#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "shared/learn/local.h"

#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { DEVICES = 8 };

/* 30 users with data of their own, of whom 8 are here; softmax of 610 parameters. */
#define TASK                                                                                                 \
    "model: softmax\ndata.set: synthetic(1, 1)\ndata.partition: natural\ndata.devices: 30\n"                 \
    "train.lr: 0.01\nseed: 3\npublish.interval: 0\npublish.global_interval: 0\n"
#define EXACT  "codec.up: f32\ncodec.down: f32\ncodec.forward: f32\ncodec.global: f32\n"
#define SOME   "train.max_samples: 60\n"
#define COARSE "codec.up: int8\ncodec.down: int8\ncodec.forward: int8\ncodec.global: int8\n"

struct training {
    struct trib_task task;
    struct trib_workspace *workspace;
    struct trib_local *last[DEVICES];
    uint64_t turns[DEVICES];
    struct trib_rng rng;
    size_t crashes, refused;
    struct federation *fed;
};

static uint64_t train(void *ctx, size_t device, uint64_t version, const float *G, size_t n, float *difference,
                      struct trib_submission *submission) {
    struct training *t = ctx;
    struct trib_local *local = trib_local_new(&t->task, G, submission->local);
    assert_non_null(local);
    local->device = device;
    local->version = version;
    local->turn = t->turns[device]++;
    assert_int_equal(trib_local_train(local, t->workspace, NULL, NULL), TRIB_OK);
    memcpy(difference, local->difference, n * sizeof *difference);
    submission->samples = local->samples;
    submission->weight = local->weight;
    submission->steps = local->steps;
    submission->loss = local->loss;
    submission->local = (const float *const *)local->memory;
    trib_local_free(&t->last[device]);
    t->last[device] = local;
    /* The first takes long: by then everybody is there, and a round is everybody's. */
    return (t->turns[device] == 1 ? 3000 : 100) + 70 * device;
}

static void logged(void *ctx, size_t node, const struct trib_record *record) {
    struct training *t = ctx;
    (void)node;
    t->refused += record->event.size == 14 && memcmp(record->event.data, "update_refused", 14) == 0;
}

/* Now and then a node dies in the middle of something, and comes back from what its disk has. */
static void stepped(void *ctx, size_t node) {
    struct training *t = ctx;
    if (t->crashes > 0 && node != FED_CLOUD && trib_rng_below(&t->rng, 150) == 0) {
        federation_at(t->fed, federation_now(t->fed), node);
        t->crashes--;
    }
}

static void crash(void *ctx, uint64_t node) {
    struct training *t = ctx;
    federation_crash(t->fed, (size_t)node);
}

/* Three devices at the first edge, five at the other. */
static const size_t uneven[] = {0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2};

static struct federation *begin(struct training *t, const char *plan, size_t edges, bool faults) {
    struct trib_plan read = {0};
    struct trib_error err = {0};
    memset(t, 0, sizeof *t);
    if (trib_plan_read(plan, strlen(plan), "test", &read, &err) != TRIB_OK) fail_msg("%s", err.text);
    if (trib_task_open(&t->task, &read, NULL, true, &err) != TRIB_OK) fail_msg("%s", err.text);
    trib_options_release(trib_plan_options, trib_plan_option_count, &read);
    assert_int_equal(trib_local_workspace(&t->task, &t->workspace, NULL), TRIB_OK);
    struct trib_buf schema;
    trib_buf_init(&schema, 0);
    trib_schema_text(&t->task.schema, &schema);
    t->rng = trib_rng_seed(17, 1);
    struct federation_options options = {.seed = 3,
                                         .plan = plan,
                                         .schema = trib_buf_text(&schema),
                                         .edges = edges,
                                         .devices = DEVICES,
                                         .parents = edges > 0 ? uneven : NULL,
                                         .latency_ms = 5,
                                         .jitter_ms = faults ? 10 : 0,
                                         .commit_ms = 1,
                                         .lose = faults ? 0.03 : 0.0,
                                         .repeat = faults ? 0.05 : 0.0,
                                         .keep_journal = true,
                                         .spools = true,
                                         .hooks = {.ctx = t, .logged = logged},
                                         .train = train,
                                         .train_ctx = t};
    if (faults) options.hooks.stepped = stepped;
    if (faults) options.hooks.alarm = crash;
    t->fed = federation_new(&options);
    trib_buf_release(&schema);
    return t->fed;
}

static void end(struct training *t) {
    federation_free(&t->fed);
    for (size_t i = 0; i < DEVICES; i++) trib_local_free(&t->last[i]);
    trib_workspace_free(&t->workspace);
    trib_task_close(&t->task);
}

static const struct trib_state *device_state(const struct training *t, size_t device) {
    return federation_state(t->fed, federation_device(t->fed, device));
}

/* Nothing is under way any more: what the cloud has, and what edges and devices still owe. */
static void settle(struct training *t, uint64_t ms) {
    federation_calm(t->fed);
    federation_run(t->fed, federation_now(t->fed) + ms, NULL, NULL);
    federation_check(t->fed, "at the end");
    for (size_t i = 1; i < federation_node_count(t->fed); i++)
        assert_int_equal(federation_state(t->fed, i)->held_count, 0);
}

/* The cloud's part [from, n), with what waits for a commit and what is still owed below it. */
static float *all_of(const struct training *t, size_t from) {
    size_t n = t->task.schema.parameters;
    float *sum = trib_alloc_floats(n);
    for (size_t node = 0; node < federation_node_count(t->fed); node++)
        for (size_t i = from; i < n; i++) {
            const struct trib_state *state = federation_state(t->fed, node);
            sum[i] += state->own[i] + (state->A != NULL ? state->A[i] : 0.0f);
        }
    return sum;
}

static void expect_near(const float *a, const float *b, size_t from, size_t to, float tolerance) {
    for (size_t i = from; i < to; i++)
        if (!(fabsf(a[i] - b[i]) <= tolerance))
            fail_msg("parameter %zu: %g, expected %g", i, (double)a[i], (double)b[i]);
}

/* ---- AREA ---- */

#define AREA "edge.rule: area\ncloud.rule: area\ntrain.algorithm: area\n"

static void area_mean(struct training *t, float *mean) {
    size_t n = t->task.schema.parameters, total = 0, count;
    const uint32_t *items;
    float *zero = trib_alloc_floats(n);
    trib_schema_draw(&t->task.schema, 3, zero);
    for (size_t device = 0; device < 30; device++) {
        trib_partition_indices(t->task.partition, device, &items, &count);
        total += count;
    }
    for (size_t device = 0; device < 30; device++) {
        const float *last = device < DEVICES ? device_state(t, device)->local[TRIB_LOCAL_LAST] : NULL;
        trib_partition_indices(t->task.partition, device, &items, &count);
        for (size_t i = 0; i < n; i++)
            mean[i] += (float)count / (float)total * (last != NULL ? last[i] : zero[i]);
    }
    trib_free(zero);
}

/* The cloud's model is the mean of what every device trained last, though messages were lost and doubled,
 * nodes crashed, codecs left something over and updates were refused. */
static void area_is_the_mean_of_last_models(const char *plan, bool faults, bool refusals) {
    struct training t;
    struct federation *fed = begin(&t, plan, 2, faults);
    t.crashes = faults ? 25 : 0;
    federation_run(fed, federation_now(fed) + (faults ? 300000 : 20000), NULL, NULL);
    assert_true(federation_state(fed, FED_CLOUD)->version > 20);
    if (faults) assert_int_equal(t.crashes, 0);
    if (refusals) assert_true(t.refused > 20);
    settle(&t, 120000);
    float *mean = trib_alloc_floats(t.task.schema.parameters), *there = all_of(&t, 0);
    area_mean(&t, mean);
    expect_near(there, mean, 0, t.task.schema.parameters, 1e-4f);
    trib_free(mean);
    trib_free(there);
    end(&t);
}

static void area_over_edges(void **unused) {
    (void)unused;
    area_is_the_mean_of_last_models(TASK SOME EXACT AREA, false, false);
}

static void area_with_faults(void **unused) {
    (void)unused;
    area_is_the_mean_of_last_models(TASK SOME EXACT AREA, true, false);
    area_is_the_mean_of_last_models(TASK SOME COARSE AREA, true, false);
}

static void area_with_refusals(void **unused) {
    (void)unused;
    area_is_the_mean_of_last_models(TASK SOME COARSE AREA "staleness_cap: 1\n", false, true);
    area_is_the_mean_of_last_models(TASK SOME COARSE AREA "staleness_cap: 1\n", true, true);
}

/* ---- SCAFFOLD ---- */

/* c is the mean of the c_i over all devices of the plan, those that were never here having zero: whatever the
 * rules make of the model's part, and whatever happens on the way. */
static void c_is_the_mean_of_variates(const char *plan, bool faults, bool refusals) {
    struct training t;
    struct federation *fed = begin(&t, plan, 2, faults);
    size_t m = t.task.schema.model_parameters, n = t.task.schema.parameters;
    t.crashes = faults ? 25 : 0;
    federation_run(fed, federation_now(fed) + (faults ? 300000 : 20000), NULL, NULL);
    assert_true(federation_state(fed, FED_CLOUD)->version > 20);
    if (faults) assert_int_equal(t.crashes, 0);
    if (refusals) assert_true(t.refused > 20);
    settle(&t, 120000);
    float *mean = trib_alloc_floats(n), *there = all_of(&t, m), most = 0;
    for (size_t device = 0; device < DEVICES; device++)
        for (size_t i = 0; i < m; i++)
            mean[m + i] += device_state(&t, device)->local[TRIB_LOCAL_VARIATE][i] / 30.0f;
    for (size_t i = m; i < n; i++) most = fmaxf(most, fabsf(mean[i]));
    assert_true(most > 0.01f);
    expect_near(there, mean, m, n, 1e-4f);
    trib_free(mean);
    trib_free(there);
    end(&t);
}

#define SCAFFOLD "train.algorithm: scaffold\n"

static void scaffold_under_buffers(void **unused) {
    (void)unused;
    c_is_the_mean_of_variates(TASK SOME EXACT SCAFFOLD, false, false);
    c_is_the_mean_of_variates(TASK SOME COARSE SCAFFOLD "edge.rule: median | fedbuff(k=3)\n", false, false);
}

static void scaffold_with_faults(void **unused) {
    (void)unused;
    c_is_the_mean_of_variates(TASK SOME COARSE SCAFFOLD, true, false);
    c_is_the_mean_of_variates(TASK SOME COARSE SCAFFOLD "staleness_cap: 1\n", true, true);
}

static bool six_versions(struct federation *fed, void *ctx) {
    (void)ctx;
    return federation_state(fed, FED_CLOUD)->version >= 6;
}

/* The model and c of six rounds. */
static float *six_rounds(const char *plan, size_t edges, size_t *n) {
    struct training t;
    struct federation *fed = begin(&t, plan, edges, false);
    federation_run(fed, federation_now(fed) + 600000, six_versions, NULL);
    const struct trib_state *cloud = federation_state(fed, FED_CLOUD);
    assert_int_equal(cloud->version, 6);
    *n = t.task.schema.parameters;
    float *model = trib_alloc_floats(*n);
    memcpy(model, cloud->own, *n * sizeof *model);
    end(&t);
    return model;
}

/* Rounds over edges with unequal numbers of devices give what rounds without edges give. Steps are of all of
 * a device's samples, so that their order does not matter: who must work twice comes to the same. */
static void scaffold_over_edges_is_flat(void **unused) {
    (void)unused;
    static const char *const plan = TASK EXACT SCAFFOLD
        "edge.rule: fedavg\ncloud.rule: fedavg\nforward.hold: true\ntrain.epochs: 3\ntrain.batch: 0\n"
        "train.max_samples: 0\n";
    size_t n, m;
    float *flat = six_rounds(plan, 0, &n), *tiers = six_rounds(plan, 2, &m), most = 0;
    assert_int_equal(n, m);
    expect_near(tiers, flat, 0, n, 2e-6f);
    for (size_t i = n / 2; i < n; i++) most = fmaxf(most, fabsf(flat[i]));
    assert_true(most > 0.01f);
    trib_free(flat);
    trib_free(tiers);
}

static int one_thread(void **unused) {
    (void)unused;
    openblas_set_num_threads(1);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(area_over_edges),      cmocka_unit_test(area_with_faults),
        cmocka_unit_test(area_with_refusals),   cmocka_unit_test(scaffold_under_buffers),
        cmocka_unit_test(scaffold_with_faults), cmocka_unit_test(scaffold_over_edges_is_flat),
    };
    return cmocka_run_group_tests(tests, one_thread, NULL);
}
