/* The plan: its defaults are the ones agreed on, it travels as flat lines and comes back the same, and wrong
 * specs are refused where they stand. */
#include "shared/base/alloc.h"
#include "shared/model/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <string.h>

static struct trib_plan fresh(void) {
    struct trib_plan plan = {0};
    struct trib_error err = {.text = ""};
    if (trib_options_defaults(trib_plan_options, trib_plan_option_count, &plan, &err) != TRIB_OK) {
        fail_msg("%s", err.text);
    }
    return plan;
}

static void drop(struct trib_plan *plan) {
    trib_options_release(trib_plan_options, trib_plan_option_count, plan);
}

static void defaults(void **state) {
    (void)state;
    struct trib_plan plan = fresh();
    assert_string_equal(plan.model, "cnn-small");
    assert_string_equal(plan.layers, "");
    assert_string_equal(plan.dataset, "mnist");
    assert_string_equal(plan.partition, "dirichlet(0.5)");
    assert_int_equal(plan.devices, 20);
    assert_false(plan.augment);
    assert_int_equal(plan.epochs, 1);
    assert_int_equal(plan.batch, 10);
    assert_int_equal(plan.max_samples, 1200);
    assert_true(plan.lr == 0.05 && plan.lr_decay == 1);
    assert_true(plan.momentum == 0 && plan.weight_decay == 0 && plan.clip == 0);
    assert_string_equal(plan.algorithm, "sgd");
    assert_true(plan.mu == 0 && plan.ewc == 0 && plan.worker_momentum == 0);
    assert_true(plan.stop_loss == 0 && plan.stop_gain == 0 && plan.deadline_ms == 0);
    assert_string_equal(plan.edge_rule, "fedbuff(k=3, staleness=polynomial(0.5))");
    assert_string_equal(plan.cloud_rule, "fedasync(form=delta, alpha=1, staleness=polynomial(0.5))");
    assert_string_equal(plan.codec_up, "int8");
    assert_string_equal(plan.codec_down, "int8");
    assert_string_equal(plan.codec_forward, "int8");
    assert_string_equal(plan.codec_global, "int8");
    assert_int_equal(plan.publish_interval_ms, 250);
    assert_int_equal(plan.global_interval_ms, 100);
    assert_int_equal(plan.forward_updates, 1);
    assert_int_equal(plan.forward_ms, 0);
    assert_false(plan.hold);
    assert_int_equal(plan.staleness_cap, 1000);
    assert_int_equal(plan.heartbeat_ms, 5000);
    assert_true(plan.stop_accuracy == 0);
    assert_int_equal(plan.stop_versions, 0);
    assert_int_equal(plan.stop_ms, 0);
    drop(&plan);
}

static const char changed[] =
    "seed: 18446744073709551615\nmodel: layers\nlayers: [\"conv2d(12, 5)\", relu, \"dense(10)\"]\n"
    "data: {set: glyphs, partition: shards(2), devices: 7, augment: true}\n"
    "train: {epochs: 3, batch: 64, max_samples: 0, lr: 0.1, lr_decay: 0.99, momentum: 0.9, weight_decay: "
    "1e-4, "
    "clip: 5}\n"
    "edge.rule: fedavg\ncloud.rule: fedasync(form=delta, alpha=0.5, staleness=hinge(10, 4))\n"
    "codec: {up: topk(0.05)+int8, down: f16, forward: f32, global: f16}\n"
    "publish: {interval: 1s, global_interval: 0}\nforward: {updates: 5, interval: 2m, hold: true}\n"
    "staleness_cap: 3\nheartbeat: 1500ms\nstop: {accuracy: 0.97, versions: 100, time: 90s}\n";

/* What travels is read by the same table, and says the same. */
static void travels(void **state) {
    (void)state;
    struct trib_plan plan = fresh(), back = fresh();
    struct trib_error err = {.text = ""};
    struct trib_buf sent, again;
    trib_buf_init(&sent, 0);
    trib_buf_init(&again, 0);
    if (trib_options_parse(trib_plan_options, trib_plan_option_count, &plan, changed, sizeof changed - 1, "a",
                           &err) != TRIB_OK) {
        fail_msg("%s", err.text);
    }
    trib_options_flat(trib_plan_options, trib_plan_option_count, &plan, &sent);
    if (trib_options_parse(trib_plan_options, trib_plan_option_count, &back, trib_buf_text(&sent), sent.size,
                           "b", &err) != TRIB_OK) {
        fail_msg("%s", err.text);
    }
    trib_options_flat(trib_plan_options, trib_plan_option_count, &back, &again);
    assert_string_equal(trib_buf_text(&sent), trib_buf_text(&again));
    assert_true(back.seed == UINT64_MAX);
    assert_string_equal(back.layers, "conv2d(12, 5)\nrelu\ndense(10)");
    assert_string_equal(back.codec_up, "topk(0.05)+int8");
    assert_true(back.hold && back.augment && back.lr_decay == 0.99 && back.weight_decay == 1e-4);
    assert_int_equal(back.forward_ms, 120000);
    assert_int_equal(back.stop_ms, 90000);
    assert_non_null(strstr(trib_buf_text(&sent), "\nheartbeat: 1500ms\n"));
    trib_buf_release(&sent);
    trib_buf_release(&again);
    drop(&plan);
    drop(&back);
}

static void refused(const char *text, const char *start) {
    struct trib_plan plan = fresh();
    struct trib_error err = {.text = ""};
    assert_int_equal(trib_options_parse(trib_plan_options, trib_plan_option_count, &plan, text, strlen(text),
                                        "plan", &err),
                     TRIB_INVALID);
    if (strncmp(err.text, start, strlen(start)) != 0) fail_msg("%s", err.text);
    drop(&plan);
}

static void wrong_specs(void **state) {
    (void)state;
    refused("seed: 1\ncodec.up: int9\n", "plan:2: codec.up: ");
    refused("codec:\n  global: topk(2)+int8\n", "plan:2: codec.global: ");
    refused("edge.rule: fedbuf(k=3)\n", "plan:1: edge.rule: ");
    refused("edge.rule: fedbuff(k=0)\n", "plan:1: edge.rule: ");
    refused("cloud.rule: fedasync(staleness=polynomical(1))\n", "plan:1: cloud.rule: ");
    refused("cloud.rule: ''\n", "plan:1: cloud.rule: ");
    refused("model: 'cnn small'\n", "plan:1: model: found \"cnn small\", expected a name");
    refused("data.partition: dirichlet(0.5\n",
            "plan:1: data.partition: found \"dirichlet(0.5\": a parenthesis");
    refused("layers: [conv2d(12, 5)]\n", "plan:1: layers: found \"conv2d(12\": a parenthesis");
}

static void wrong_numbers(void **state) {
    (void)state;
    refused("train.lr: 0\n", "plan:1: train.lr: found \"0\", expected a number from 1e-09 to 1000");
    refused("train.momentum: 1\n", "plan:1: train.momentum: found \"1\", expected a number from 0 to 0.9999");
    refused("train.clip: -1\n", "plan:1: train.clip: found \"-1\", expected a number, 0 or more");
    refused("train.batch: 65537\n",
            "plan:1: train.batch: found \"65537\", expected a whole number from 0 to 65536");
    refused("stop.accuracy: 97\n", "plan:1: stop.accuracy: found \"97\", expected a number from 0 to 1");
    refused("heartbeat: 5\n", "plan:1: heartbeat: found \"5\", expected a duration");
    refused("heartbeat: 50ms\n", "plan:1: heartbeat: found \"50ms\", expected a duration");
    refused("forward.updates: 0\n", "plan:1: forward.updates: found \"0\", expected a whole number from 1");
    refused("train.algorithm: scafold\n", "plan:1: train.algorithm: found \"scafold\"");
    refused("lr: 0.1\n", "plan:1: unknown key \"lr\"; the nearest one is \"train.lr\"");
    refused("plan.seed: 1\n", "plan:1: unknown key \"plan.seed\"; the nearest one is \"seed\"");
}

static void set(char **field, const char *value) {
    trib_free(*field);
    *field = trib_strdup(value);
}

static void excluded(const struct trib_plan *plan, const char *says) {
    struct trib_error err = {.text = ""};
    assert_int_equal(trib_plan_check(plan, &err), says == NULL ? TRIB_OK : TRIB_INVALID);
    if (says != NULL && strstr(err.text, says) == NULL) fail_msg("'%s' lacks '%s'", err.text, says);
}

/* Choices that each are possible, but not together. */
static void exclude_each_other(void **state) {
    (void)state;
    struct trib_plan plan = fresh();
    excluded(&plan, NULL);
    assert_int_equal(trib_plan_algorithm(&plan), TRIB_ALGORITHM_SGD);
    plan.worker_momentum = 0.9;
    excluded(&plan, NULL);
    set(&plan.algorithm, "scaffold");
    assert_int_equal(trib_plan_algorithm(&plan), TRIB_ALGORITHM_SCAFFOLD);
    excluded(&plan, "train.worker_momentum is for train.algorithm sgd alone, found scaffold");
    plan.worker_momentum = 0;
    excluded(&plan, NULL);
    set(&plan.algorithm, "area");
    assert_int_equal(trib_plan_algorithm(&plan), TRIB_ALGORITHM_AREA);
    excluded(&plan, "set edge.rule: area");
    set(&plan.edge_rule, "area");
    excluded(&plan, "set cloud.rule: area");
    set(&plan.cloud_rule, "area()");
    excluded(&plan, NULL);
    plan.worker_momentum = 0.5;
    excluded(&plan, "found area");
    set(&plan.algorithm, "sgd");
    excluded(&plan, "edge.rule is area and train.algorithm is sgd");
    drop(&plan);
}

/* Momentum in two places adds up: optimisers run at one tier, whichever. */
static void optimisers_at_one_tier(void **state) {
    (void)state;
    struct trib_plan plan = fresh();
    set(&plan.edge_rule, "fedbuff(k=3) | momentum(beta=0.5, lr=0.5)");
    excluded(&plan, NULL);
    set(&plan.cloud_rule, "fedasync | adam(lr=0.01)");
    excluded(&plan, "edge.rule and cloud.rule both have an optimiser (\"fedbuff(");
    excluded(&plan, "drop one of them");
    set(&plan.edge_rule, "fedbuff(k=3)");
    excluded(&plan, NULL);
    set(&plan.edge_rule, "median | fedbuff(k=3) | yogi(lr=0.01)");
    excluded(&plan, "both have an optimiser");
    drop(&plan);
}

/* What an elastic edge sends it has given up: a cloud that takes a part of it, or none, loses the rest. */
static void elastic_forwards_are_taken_whole(void **state) {
    (void)state;
    static const char *const whole[] = {"fedasync(share=no, staleness=constant)",
                                        "fedasync(share=no, staleness=polynomial(0), relative=no)",
                                        "async_sgd(share=no)"};
    static const char *const damped[] = {"fedasync",
                                         "fedasync(staleness=constant)",
                                         "fedasync(share=no)",
                                         "fedasync(share=no, staleness=hinge(10, 100))",
                                         "fedasync(share=no, staleness=constant, alpha=0.9)",
                                         "fedasync(form=mix, share=no, staleness=constant)",
                                         "async_sgd(share=no, decay=0.001)",
                                         "fedavg",
                                         "fedbuff(k=2)",
                                         "fedat",
                                         "norm_clip | fedasync(share=no, staleness=constant)",
                                         "fedasync(share=no, staleness=constant) | momentum(beta=0, lr=1)"};
    struct trib_plan plan = fresh();
    for (size_t i = 0; i < sizeof damped / sizeof *damped; i++) {
        plan.elastic = 0;
        set(&plan.cloud_rule, damped[i]);
        excluded(&plan, NULL);
        plan.elastic = 0.4;
        excluded(&plan, "forward.elastic is 0.4 and cloud.rule (");
        excluded(&plan, "set cloud.rule: fedasync(share=no, staleness=constant)");
    }
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        set(&plan.cloud_rule, whole[i]);
        excluded(&plan, NULL);
    }
    set(&plan.algorithm, "scaffold");
    excluded(&plan, "forward.elastic is for train.algorithm sgd alone, found scaffold");
    drop(&plan);
}

static void no_memory(void **state) {
    (void)state;
    enum trib_status status = TRIB_NOMEM;
    for (long n = 0; status == TRIB_NOMEM; n++) {
        struct trib_plan plan = {0};
        struct trib_error err = {.text = ""};
        trib_alloc_fail_after(n);
        status = trib_options_defaults(trib_plan_options, trib_plan_option_count, &plan, &err);
        if (status == TRIB_OK) {
            status = trib_options_parse(trib_plan_options, trib_plan_option_count, &plan, changed,
                                        sizeof changed - 1, "a", &err);
        }
        trib_alloc_fail_after(-1);
        if (status != TRIB_OK && status != TRIB_NOMEM) fail_msg("after %ld allocations: %s", n, err.text);
        drop(&plan);
    }
    assert_int_equal(status, TRIB_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(travels),
        cmocka_unit_test(wrong_specs),
        cmocka_unit_test(wrong_numbers),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(optimisers_at_one_tier),
        cmocka_unit_test(elastic_forwards_are_taken_whole),
        cmocka_unit_test(exclude_each_other),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
