/* Nets: gradients against finite differences for every kind of layer, parameter counts, refusals. */
#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "shared/learn/loops.h"
#include "shared/learn/net.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct trib_shape digits = {1, 28, 28};

static struct trib_net *net_of(const char *layers, struct trib_shape input, size_t classes) {
    struct trib_net *net = NULL;
    struct trib_error err = {0};
    if (trib_net_new("layers", layers, &input, classes, &net, &err) != TRIB_OK) fail_msg("%s", err.text);
    return net;
}

static void draw(struct trib_rng *rng, float *out, size_t count, double scale) {
    for (size_t i = 0; i < count; i++) out[i] = (float)((trib_rng_unit(rng) * 2.0 - 1.0) * scale);
}

struct check {
    struct trib_net *net;
    struct trib_workspace *workspace;
    float *parameters, *gradient, *x;
    uint8_t labels[8];
    size_t batch;
};

static double loss_at(struct check *c, size_t i, float value) {
    struct trib_batch_result result;
    float saved = c->parameters[i];
    c->parameters[i] = value;
    trib_net_loss(c->net, c->workspace, c->parameters, c->x, c->labels, c->batch, &result);
    c->parameters[i] = saved;
    return result.loss;
}

/* Where the differences to the two sides disagree, the loss has a corner (of a relu or a pool) within the
 * step and the place says nothing; there must be few of those. */
static void compare(struct check *c, size_t i, size_t *corners) {
    float h = 2e-3f, p = c->parameters[i];
    double here = loss_at(c, i, p), above = loss_at(c, i, p + h) - here, below = here - loss_at(c, i, p - h);
    above /= (double)((p + h) - p);
    below /= (double)(p - (p - h));
    double middle = (above + below) / 2.0, tolerance = 2e-3 + 0.01 * fabs(middle);
    if (fabs(above - below) > tolerance) {
        ++*corners;
        return;
    }
    if (fabs(middle - (double)c->gradient[i]) > tolerance)
        fail_msg("parameter %zu: gradient %g, difference %g", i, (double)c->gradient[i], middle);
}

static void check_gradient(const char *layers, struct trib_shape input, size_t classes, size_t batch) {
    struct check c = {.net = net_of(layers, input, classes), .batch = batch};
    struct trib_rng rng = trib_rng_seed(7, 1);
    size_t count = trib_net_parameters(c.net), features = input.channels * input.height * input.width;
    assert_int_equal(trib_workspace_new(c.net, 8, &c.workspace, NULL), TRIB_OK);
    c.parameters = trib_alloc_floats(count);
    c.gradient = trib_alloc_floats(count);
    c.x = trib_alloc_floats(batch * features);
    draw(&rng, c.parameters, count, 0.5);
    draw(&rng, c.x, batch * features, 1.0);
    for (size_t i = 0; i < batch; i++) c.labels[i] = (uint8_t)trib_rng_below(&rng, classes);
    for (size_t i = 0; i < count; i++) c.gradient[i] = NAN; /* all of it must be written */
    struct trib_batch_result with, without;
    trib_net_gradient(c.net, c.workspace, c.parameters, c.x, c.labels, batch, c.gradient, &with);
    trib_net_loss(c.net, c.workspace, c.parameters, c.x, c.labels, batch, &without);
    assert_true(with.loss == without.loss && with.correct == without.correct);
    size_t corners = 0, step = count > 400 ? count / 400 : 1, tried = 0;
    for (size_t i = 0; i < count; i += step, tried++) compare(&c, i, &corners);
    if (corners * 10 > tried) fail_msg("%s: %zu corners at %zu places", layers, corners, tried);
    trib_free(c.parameters);
    trib_free(c.gradient);
    trib_free(c.x);
    trib_workspace_free(&c.workspace);
    trib_net_free(&c.net);
}

static void test_gradient_dense(void **state) {
    (void)state;
    check_gradient("dense", (struct trib_shape){2, 3, 3}, 4, 5);
    check_gradient("dense(7)\ndense", (struct trib_shape){1, 4, 5}, 3, 1);
    check_gradient("dense(17)\nrelu\ndense", (struct trib_shape){1, 4, 5}, 3, 8);
}

static void test_gradient_losses(void **state) {
    (void)state;
    check_gradient("dense\nmse", (struct trib_shape){1, 3, 3}, 4, 5);
    check_gradient("dense\ncross-entropy", (struct trib_shape){1, 3, 3}, 4, 5);
    check_gradient("dense(6)\nrelu\ndense\nmse", (struct trib_shape){1, 3, 3}, 3, 4);
}

static void test_gradient_conv(void **state) {
    (void)state;
    check_gradient("conv(3, 3)\ndense", (struct trib_shape){2, 6, 7}, 3, 4);
    check_gradient("conv(3, 3)\nconv(2, 3)\ndense", (struct trib_shape){2, 7, 8}, 3, 4);
    check_gradient("conv(2, 1)\nconv(4, 2)\ndense", (struct trib_shape){3, 5, 5}, 3, 2);
    check_gradient("conv(3, 5, padding=same)\nconv(2, 3, padding=same)\ndense", (struct trib_shape){2, 9, 12},
                   3, 4);
    check_gradient("conv(2, 3)\nconv(2, 9, padding=same)\ndense", (struct trib_shape){1, 5, 5}, 3, 3);
    check_gradient("conv(3, 3)", (struct trib_shape){2, 3, 3}, 3, 4);
}

static void test_gradient_embedding(void **state) {
    (void)state;
    check_gradient("embedding(3)\ndense", (struct trib_shape){1, 1, 6}, 2, 4);
    check_gradient("embedding(2, 5)\nembedding(3, 4)\ndense", (struct trib_shape){1, 1, 3}, 2, 2);
    check_gradient("embedding(4)\ngru(3)\ndense", (struct trib_shape){1, 1, 7}, 3, 3);
}

static void test_gradient_gru(void **state) {
    (void)state;
    check_gradient("gru(4)\ndense", (struct trib_shape){1, 5, 3}, 3, 4);
    check_gradient("gru(3)", (struct trib_shape){1, 6, 2}, 3, 1);
    check_gradient("gru(5)\ndense", (struct trib_shape){1, 1, 4}, 3, 3); /* one step */
    check_gradient("gru(4, steps=true)\ngru(3)\ndense", (struct trib_shape){2, 3, 3}, 3, 4);
    check_gradient("gru(3, steps=true)\ndense", (struct trib_shape){1, 4, 2}, 3, 3);
    check_gradient("dense(6)\ngru(3)\nrelu\ndense", (struct trib_shape){1, 4, 2}, 3, 3);
}

/* Two steps of one unit on one input, in double and by the equations of layer_gru.c. */
static void test_gru_by_hand(void **state) {
    (void)state;
    struct trib_net *net = net_of("gru(2)", (struct trib_shape){1, 2, 1}, 2);
    struct trib_workspace *workspace = NULL;
    assert_int_equal(trib_workspace_new(net, 1, &workspace, NULL), TRIB_OK);
    float p[6 * 3 + 8];
    struct trib_rng rng = trib_rng_seed(3, 1);
    assert_int_equal(trib_net_parameters(net), sizeof p / sizeof p[0]);
    draw(&rng, p, sizeof p / sizeof p[0], 1.0);
    const float x[2] = {0.7f, -1.3f};
    double h[2] = {0, 0};
    for (size_t t = 0; t < 2; t++) {
        double next[2];
        for (size_t i = 0; i < 2; i++) {
            double in[3], rec[3];
            for (size_t g = 0; g < 3; g++) {
                const float *w = p + (2 * g + i) * 3;
                in[g] = (double)w[0] * (double)x[t] + (double)p[18 + 2 * g + i];
                rec[g] = (double)w[1] * h[0] + (double)w[2] * h[1];
            }
            double r = 1 / (1 + exp(-in[0] - rec[0])), z = 1 / (1 + exp(-in[1] - rec[1]));
            double c = tanh(in[2] + r * (rec[2] + (double)p[18 + 6 + i]));
            next[i] = (1 - z) * c + z * h[i];
        }
        memcpy(h, next, sizeof h);
    }
    const float *out = trib_net_forward(net, workspace, p, x, 1);
    for (size_t i = 0; i < 2; i++) assert_true(fabs((double)out[i] - h[i]) < 1e-6);
    trib_workspace_free(&workspace);
    trib_net_free(&net);
}

static void test_gradient_pool_and_relu(void **state) {
    (void)state;
    check_gradient("conv(3, 3)\nrelu\nmaxpool(2)\ndense", (struct trib_shape){1, 10, 10}, 3, 3);
    check_gradient("conv(3, 3)\nmaxpool(2)\nrelu\ndense", (struct trib_shape){1, 10, 10}, 3, 3);
    check_gradient("conv(3, 2)\nmaxpool(2)\nrelu\ndense", (struct trib_shape){1, 8, 10}, 3,
                   3); /* odd, rest */
    check_gradient("conv(3, 2)\nmaxpool(3)\ndense", (struct trib_shape){1, 8, 12}, 3, 3);
    check_gradient("maxpool(2)\nconv(3, 3)\ndense", (struct trib_shape){2, 9, 11}, 3, 3);
    check_gradient("relu\nconv(3, 3)\nrelu\nrelu\ndense", (struct trib_shape){2, 6, 6}, 3, 3);
    check_gradient("conv(4, 3)\nmaxpool(2)\nrelu\nconv(3, 3)\nmaxpool(2)\nrelu\ndense(9)\nrelu\ndense",
                   (struct trib_shape){1, 14, 14}, 4, 5);
}

static void test_parameter_counts(void **state) {
    (void)state;
    static const struct {
        const char *model;
        size_t parameters, tensors;
    } expected[] = {{"softmax", 7850, 2},   {"2nn", 199210, 6},      {"mlp", 50890, 4},
                    {"char-gru", 54106, 5}, {"cnn-small", 11386, 6}, {"lenet5", 44426, 10},
                    {"cnn", 1663370, 8}};
    size_t count;
    (void)trib_model_rows(&count);
    assert_int_equal(count, sizeof expected / sizeof expected[0]);
    for (size_t i = 0; i < count; i++) {
        struct trib_net *net = NULL;
        struct trib_schema schema;
        assert_int_equal(trib_net_new(expected[i].model, NULL, &digits, 10, &net, NULL), TRIB_OK);
        assert_int_equal(trib_net_parameters(net), expected[i].parameters);
        assert_int_equal(trib_net_schema(net, &schema, NULL), TRIB_OK);
        assert_int_equal(schema.parameters, expected[i].parameters);
        assert_int_equal(schema.tensor_count, expected[i].tensors);
        trib_schema_release(&schema);
        trib_net_free(&net);
    }
}

static void test_schema(void **state) {
    (void)state;
    struct trib_net *net = NULL;
    struct trib_schema schema;
    assert_int_equal(trib_net_new("cnn-small", NULL, &digits, 10, &net, NULL), TRIB_OK);
    assert_int_equal(trib_net_schema(net, &schema, NULL), TRIB_OK);
    static const char *const names[] = {"conv1.weight", "conv1.bias", "conv2.weight",
                                        "conv2.bias",   "fc1.weight", "fc1.bias"};
    for (size_t i = 0; i < 6; i++) assert_string_equal(schema.tensors[i].name, names[i]);
    const struct trib_tensor *weight = &schema.tensors[2];
    assert_int_equal(weight->rank, 4);
    assert_int_equal(weight->dims[0], 24);
    assert_int_equal(weight->dims[1], 12);
    assert_int_equal(weight->dims[2], 5);
    assert_int_equal(weight->offset, 12 * 25 + 12);
    assert_true(weight->bound == sqrtf(1.0f / 300.0f));
    trib_schema_release(&schema);
    trib_net_free(&net);
}

/* A convolution by hand: the order of kernel rows and columns, and where the zeros of `same` are. */
static void test_conv_values(void **state) {
    (void)state;
    struct trib_net *net = net_of("conv(1, 3, padding=same)\ndense", (struct trib_shape){1, 3, 3}, 2);
    struct trib_workspace *workspace = NULL;
    assert_int_equal(trib_workspace_new(net, 1, &workspace, NULL), TRIB_OK);
    float p[9 + 1 + 18 + 2] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 0.5f}, x[9] = {1, 10, 100, 1000, 2, 0, 0, 0, 3};
    p[10] = 1;         /* class 0: output pixel (0, 0) */
    p[10 + 9 + 5] = 1; /* class 1: output pixel (1, 2) */
    const float *out = trib_net_forward(net, workspace, p, x, 1);
    assert_true(out[0] == 1 * 5 + 10 * 6 + 1000 * 8 + 2 * 9 + 0.5f);
    assert_true(out[1] == 10 * 1 + 100 * 2 + 2 * 4 + 0 * 5 + 0 * 7 + 3 * 8 + 0.5f);
    trib_workspace_free(&workspace);
    trib_net_free(&net);
}

/* Samples of a batch do not touch each other: one at a time gives the same outputs. */
static void test_batch_is_samples(void **state) {
    (void)state;
    struct trib_net *net = NULL;
    struct trib_workspace *workspace = NULL;
    assert_int_equal(trib_net_new("lenet5", NULL, &digits, 10, &net, NULL), TRIB_OK);
    assert_int_equal(trib_workspace_new(net, 7, &workspace, NULL), TRIB_OK);
    struct trib_rng rng = trib_rng_seed(3, 3);
    float *p = trib_alloc_floats(trib_net_parameters(net)), *x = trib_alloc_floats(7 * 784), all[70];
    draw(&rng, p, trib_net_parameters(net), 0.1);
    draw(&rng, x, 7 * 784, 1.0);
    memcpy(all, trib_net_forward(net, workspace, p, x, 7), sizeof all);
    for (size_t i = 0; i < 7; i++) {
        const float *one = trib_net_forward(net, workspace, p, x + i * 784, 1);
        for (size_t j = 0; j < 10; j++) assert_true(fabsf(one[j] - all[i * 10 + j]) < 1e-4f);
    }
    trib_free(p);
    trib_free(x);
    trib_workspace_free(&workspace);
    trib_net_free(&net);
}

static void refused(const char *layers, const char *says) {
    struct trib_net *net = NULL;
    struct trib_error err = {0};
    assert_int_not_equal(trib_net_new("layers", layers, &digits, 10, &net, &err), TRIB_OK);
    assert_null(net);
    if (strstr(err.text, says) == NULL) fail_msg("'%s' lacks '%s'", err.text, says);
}

static void test_refusals(void **state) {
    (void)state;
    refused("", "empty");
    refused("relu", "no layer that learns");
    refused("dense(11)", "11 outputs and there are 10 classes");
    refused("conv(4, 5)\nconf(4, 5)\ndense", "layer 2, 'conf(4, 5)'");
    refused("convv(4, 5)\ndense", "did you mean 'conv'");
    refused("conv(4, 30)\ndense", "does not fit");
    refused("conv(4, 4, padding=same)\ndense", "odd kernel");
    refused("conv(0, 4)\ndense", "layer 1");
    refused("conv(4, 3, stride=2)\ndense", "stride");
    refused("relu(3)\ndense", "takes no parameters");
    refused("dense\nmse\ndense", "behind the loss");
    refused("dense(65536)\ndense(65536)\ndense", "parameters");
    refused("dense(3\ndense", "layer 1");
    struct trib_net *net = NULL;
    struct trib_error err = {0};
    assert_int_equal(trib_net_new("cnn-smal", NULL, &digits, 10, &net, &err), TRIB_INVALID);
    assert_non_null(strstr(err.text, "cnn-small"));
    assert_int_equal(trib_net_check_layers("conv(4, 5)\n\nmaxpool(2)\ndense\nmse", &err), TRIB_OK);
    assert_int_equal(trib_net_check_layers("conv(4, 5)\nmaxpool(1)", &err), TRIB_INVALID);
    assert_int_equal(trib_net_check_model("layers", &err), TRIB_OK);
    for (size_t i = 0; trib_layer_row(i) != NULL; i++)
        assert_int_equal(trib_net_check_layers(trib_layer_row(i)->example, &err), TRIB_OK);
}

static void test_workspace_limits(void **state) {
    (void)state;
    struct trib_net *net = NULL;
    struct trib_workspace *workspace = NULL;
    assert_int_equal(trib_net_new("2nn", NULL, &digits, 10, &net, NULL), TRIB_OK);
    assert_int_equal(trib_workspace_new(net, 0, &workspace, NULL), TRIB_INVALID);
    assert_int_equal(trib_workspace_new(net, TRIB_NET_MAX_BATCH + 1, &workspace, NULL), TRIB_INVALID);
    for (long n = 0; n < 2; n++) {
        trib_alloc_fail_after(n);
        assert_int_equal(trib_workspace_new(net, 10, &workspace, NULL), TRIB_NOMEM);
        trib_alloc_fail_after(-1);
    }
    trib_net_free(&net);
    for (long n = 0;; n++) {
        trib_alloc_fail_after(n);
        enum trib_status status = trib_net_new("cnn", NULL, &digits, 10, &net, NULL);
        trib_alloc_fail_after(-1);
        if (status == TRIB_OK) break;
        assert_int_equal(status, TRIB_NOMEM);
    }
    trib_net_free(&net);
}

/* Both compilations of the loops give the same bits, at awkward lengths. */
static void test_loops_agree(void **state) {
    (void)state;
    const struct trib_loops *a = &trib_loops_base, *b = trib_loops();
    struct trib_rng rng = trib_rng_seed(5, 5);
    float x[2][4 * 67], y[2][4 * 67], z[2][4 * 67];
    for (size_t n = 0; n <= 67; n++) {
        draw(&rng, x[0], 4 * 67, 1.0);
        draw(&rng, y[0], 4 * 67, 1.0);
        memcpy(x[1], x[0], sizeof x[0]);
        memcpy(y[1], y[0], sizeof y[0]);
        for (int k = 0; k < 2; k++) {
            const struct trib_loops *loops = k == 0 ? a : b;
            float *p = x[k], *q = y[k], *r = z[k];
            memset(r, 0, sizeof z[k]);
            loops->add_each(p, q, 4, n);
            loops->sum_each(q, p, 3, n);
            loops->sum_rows(q, p, 4, n);
            loops->add_row(p, q, 2, n);
            loops->relu(r, p, n);
            loops->relu_back(q, r, n);
            loops->pool2(r, p, q, n);
            loops->add_rows(p, 67, q, 60, 2, n < 60 ? n : 60);
            loops->copy_rows(p, 67, r, 60, 2, n < 60 ? n : 60);
            loops->momentum(q, p, r, 0.9f, 0.1f, n);
            loops->pull(r, p, q, 0.3f, n);
            loops->pull_each(r, q, p, p + 67, 0.3f, n);
            loops->add_squares(r, q, 0.3f, n);
        }
        assert_memory_equal(x[0], x[1], sizeof x[0]);
        assert_memory_equal(y[0], y[1], sizeof y[0]);
        assert_memory_equal(z[0], z[1], sizeof z[0]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradient_dense),
        cmocka_unit_test(test_gradient_losses),
        cmocka_unit_test(test_gradient_conv),
        cmocka_unit_test(test_gradient_embedding),
        cmocka_unit_test(test_gradient_gru),
        cmocka_unit_test(test_gru_by_hand),
        cmocka_unit_test(test_gradient_pool_and_relu),
        cmocka_unit_test(test_parameter_counts),
        cmocka_unit_test(test_schema),
        cmocka_unit_test(test_conv_values),
        cmocka_unit_test(test_batch_is_samples),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_workspace_limits),
        cmocka_unit_test(test_loops_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
