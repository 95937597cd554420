/* A federation that really learns, under the virtual clock: shipped roles, shipped trainer, the carried
 * sample of MNIST. TRIBUTARY_DIGEST_FILE, if set, gets the final digest, so that builds by two compilers can
 * be compared. */
#include "tests/support/cmocka.h"
#include "tests/support/federation.h"

#include "shared/base/alloc.h"
#include "shared/kernels/kernels.h"
#include "shared/learn/task.h"
#include "shared/model/digest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEVICES = 12 };

struct training {
    struct trib_task task;
    struct trib_workspace *workspace;
    float *trained;
    uint64_t updates[DEVICES];
};

#define PLAN "model: cnn-small\ndata.devices: 12\ntrain.max_samples: 300\nseed: 5\n"
static const char plan_text[] = PLAN;

static uint64_t train(void *ctx, size_t device, uint64_t version, const float *G, size_t n, float *difference,
                      struct trib_submission *submission) {
    struct training *t = ctx;
    (void)version;
    const uint32_t *indices;
    size_t count;
    trib_partition_indices(t->task.partition, device, &indices, &count);
    struct trib_train_options options = t->task.train;
    options.seed = device * 1000 + t->updates[device]++;
    memcpy(difference, G, n * sizeof *difference);
    struct trib_train_result result;
    assert_int_equal(trib_train(t->task.net, t->workspace, t->task.dataset, indices, count, &options,
                                difference, &result, NULL, NULL),
                     TRIB_OK);
    trib_kernels()->add_scaled(difference, G, -1.0f, n);
    submission->samples = result.samples;
    submission->weight = count;
    submission->steps = (float)result.steps;
    submission->loss = (float)result.loss;
    return 300 + 270 * device; /* the slowest takes eleven times as long */
}

static void open_training(struct training *t) {
    memset(t, 0, sizeof *t);
    struct trib_plan plan = {0};
    struct trib_error err = {0};
    assert_int_equal(trib_options_defaults(trib_plan_options, trib_plan_option_count, &plan, &err), TRIB_OK);
    assert_int_equal(trib_options_parse(trib_plan_options, trib_plan_option_count, &plan, plan_text,
                                        sizeof plan_text - 1, "test", &err),
                     TRIB_OK);
    if (trib_task_open(&t->task, &plan, "data/mnist-sample", true, &err) != TRIB_OK) fail_msg("%s", err.text);
    assert_int_equal(trib_workspace_new(t->task.net, 200, &t->workspace, NULL), TRIB_OK);
    trib_options_release(trib_plan_options, trib_plan_option_count, &plan);
}

static void close_training(struct training *t) {
    trib_workspace_free(&t->workspace);
    trib_task_close(&t->task);
}

static bool enough(struct federation *fed, void *ctx) {
    (void)ctx;
    return federation_state(fed, FED_CLOUD)->version >= 24;
}

static double learn(const char *plan, uint8_t digest[TRIB_DIGEST_BYTES]) {
    struct training t;
    open_training(&t);
    struct trib_buf schema;
    trib_buf_init(&schema, 0);
    trib_schema_text(&t.task.schema, &schema);
    struct federation_options options = {.seed = 5,
                                         .plan = plan,
                                         .schema = trib_buf_text(&schema),
                                         .edges = 2,
                                         .devices = DEVICES,
                                         .latency_ms = 3,
                                         .jitter_ms = 5,
                                         .commit_ms = 1,
                                         .train = train,
                                         .train_ctx = &t};
    struct federation *fed = federation_new(&options);
    federation_run(fed, 1000000 + 3600000, enough, NULL);
    federation_check(fed, "training");
    federation_digest(fed, digest);
    double loss, accuracy = 0;
    assert_int_equal(trib_evaluate(t.task.net, t.workspace, t.task.dataset,
                                   federation_state(fed, FED_CLOUD)->own, 0, &loss, &accuracy, NULL, NULL),
                     TRIB_OK);
    federation_free(&fed);
    trib_buf_release(&schema);
    close_training(&t);
    return accuracy;
}

static void a_seeded_federation_learns_and_repeats(void **unused) {
    (void)unused;
    uint8_t first[TRIB_DIGEST_BYTES], second[TRIB_DIGEST_BYTES];
    double accuracy = learn(plan_text, first);
    assert_true(accuracy > 0.85);
    assert_true(learn(plan_text, second) == accuracy);
    assert_memory_equal(first, second, sizeof first);
    const char *path = getenv("TRIBUTARY_DIGEST_FILE");
    if (path == NULL) return;
    char hex[2 * TRIB_DIGEST_BYTES + 1];
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    (void)fprintf(file, "%s accuracy=%.4f\n", trib_digest_hex(first, hex), accuracy);
    assert_int_equal(fclose(file), 0);
}

/* Each codec on both hops, up and down: with what it loses fed back, the federation learns what it learns
 * with floats, or nearly so where it sends one value in twenty. */
static void every_codec_learns_on_both_hops(void **unused) {
    (void)unused;
    static const struct {
        const char *codec;
        double accuracy;
    } cases[] = {
        {"f32", 0.9},
        {"bf16", 0.9},
        {"int4", 0.9},
        {"int2", 0.87},
        {"rotate+1bit", 0.9},
        {"rotate+2bit", 0.9},
        {"rotate+4bit", 0.9},
        {"int4(round=stochastic)", 0.9},
        {"topk(0.05)+rotate+4bit", 0.87},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t digest[TRIB_DIGEST_BYTES];
        char plan[500];
        const char *c = cases[i].codec;
        (void)snprintf(plan, sizeof plan,
                       PLAN
                       "codec.up: \"%s\"\ncodec.down: \"%s\"\ncodec.forward: \"%s\"\ncodec.global: \"%s\"\n",
                       c, c, c, c);
        double accuracy = learn(plan, digest);
        print_message("%s: %.3f\n", c, accuracy);
        if (!(accuracy > cases[i].accuracy)) fail_msg("%s: %.3f", c, accuracy);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_seeded_federation_learns_and_repeats),
                                       cmocka_unit_test(every_codec_learns_on_both_hops)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
