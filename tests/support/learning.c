#include "tests/support/learning.h"

#include "shared/base/alloc.h"
#include "shared/learn/local.h"
#include "tests/support/cmocka.h"
#include "tests/support/federation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEVICES = 12 };

struct training {
    struct trib_task task;
    struct trib_workspace *workspace;
    struct trib_local *last[DEVICES];
    uint64_t updates[DEVICES], versions;
};

static uint64_t train(void *ctx, size_t device, uint64_t version, const float *G, size_t n, float *difference,
                      struct trib_submission *submission) {
    struct training *t = ctx;
    struct trib_local *local = trib_local_new(&t->task, G, submission->local);
    assert_non_null(local);
    local->device = device;
    local->version = version;
    local->turn = t->updates[device]++;
    assert_int_equal(trib_local_train(local, t->workspace, NULL, NULL), TRIB_OK);
    memcpy(difference, local->difference, n * sizeof *difference);
    submission->samples = local->samples;
    submission->weight = local->weight;
    submission->steps = local->steps;
    submission->loss = local->loss;
    submission->local = (const float *const *)local->memory; /* as long as the device's next work */
    trib_local_free(&t->last[device]);
    t->last[device] = local;
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
    for (size_t i = 0; i < DEVICES; i++) trib_local_free(&t->last[i]);
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

void learning_try(const struct learning_case *cases, size_t count) {
    const char *wanted = getenv("TRIBUTARY_VERSIONS");
    const uint64_t versions = wanted != NULL ? strtoull(wanted, NULL, 10) : 8;
    for (size_t i = 0; i < count; i++) {
        uint8_t digest[TRIB_DIGEST_BYTES];
        char plan[500];
        const char *c = cases[i].codec;
        (void)snprintf(plan, sizeof plan,
                       LEARNING_PLAN
                       "codec.up: \"%s\"\ncodec.down: \"%s\"\ncodec.forward: \"%s\"\ncodec.global: \"%s\"\n",
                       c, c, c, c);
        double accuracy = federation_learn(plan, versions, digest);
        print_message("%s: %.3f\n", c, accuracy);
        if (!(accuracy > cases[i].accuracy)) fail_msg("%s: %.3f", c, accuracy);
    }
}
