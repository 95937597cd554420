#include "tests/support/learning.h"

#include "shared/base/alloc.h"
#include "shared/kernels/kernels.h"
#include "shared/learn/task.h"
#include "tests/support/cmocka.h"
#include "tests/support/federation.h"

#include <string.h>

enum { DEVICES = 12 };

struct training {
    struct trib_task task;
    struct trib_workspace *workspace;
    float *trained;
    uint64_t updates[DEVICES], versions;
};

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

static void open_training(struct training *t, const char *text) {
    memset(t, 0, sizeof *t);
    struct trib_plan plan = {0};
    struct trib_error err = {0};
    assert_int_equal(trib_options_defaults(trib_plan_options, trib_plan_option_count, &plan, &err), TRIB_OK);
    assert_int_equal(trib_options_parse(trib_plan_options, trib_plan_option_count, &plan, text, strlen(text),
                                        "test", &err),
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
    const struct training *t = ctx;
    return federation_state(fed, FED_CLOUD)->version >= t->versions;
}

double federation_learn(const char *plan, uint64_t versions, uint8_t digest[TRIB_DIGEST_BYTES]) {
    struct training t;
    open_training(&t, plan);
    t.versions = versions;
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
    federation_run(fed, 1000000 + 3600000, enough, &t);
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
