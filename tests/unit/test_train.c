/* Training: accuracy reached on the carried sample, the optimiser against its formulas, limits, determinism.
 */
#include "shared/base/alloc.h"
#include "shared/learn/augment.h"
#include "shared/learn/blas.h"
#include "shared/learn/train.h"

#include <cblas.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct trib_dataset *sample;
static uint32_t all[10000];

struct job {
    struct trib_net *net;
    struct trib_workspace *workspace;
    float *parameters;
    size_t count;
    struct trib_train_options options;
    struct trib_train_result result;
};

static void start(struct job *job, const char *model) {
    struct trib_shape shape = trib_dataset_shape(sample);
    struct trib_schema schema;
    memset(job, 0, sizeof *job);
    bool list = strchr(model, '\n') != NULL;
    assert_int_equal(trib_net_new(list ? "layers" : model, model, &shape, 10, &job->net, NULL), TRIB_OK);
    assert_int_equal(trib_workspace_new(job->net, 100, &job->workspace, NULL), TRIB_OK);
    assert_int_equal(trib_net_schema(job->net, &schema, NULL), TRIB_OK);
    job->count = schema.parameters;
    job->parameters = trib_alloc_floats(job->count);
    trib_schema_draw(&schema, 1, job->parameters);
    trib_schema_release(&schema);
    job->options =
        (struct trib_train_options){.epochs = 1, .batch = 10, .lr = 0.05, .lr_decay = 1.0, .seed = 9};
}

static void finish(struct job *job) {
    trib_free(job->parameters);
    trib_workspace_free(&job->workspace);
    trib_net_free(&job->net);
}

static enum trib_status train(struct job *job, size_t count, struct trib_error *err) {
    return trib_train(job->net, job->workspace, sample, all, count, &job->options, job->parameters,
                      &job->result, NULL, err);
}

static double accuracy(struct job *job) {
    double loss, value;
    assert_int_equal(
        trib_evaluate(job->net, job->workspace, sample, job->parameters, 0, &loss, &value, NULL, NULL),
        TRIB_OK);
    assert_true(isfinite(loss));
    return value;
}

/* The gradient of the held-out loss: a small step against it lowers the loss by |g|^2 times the step. */
static void test_held_out_gradient(void **state) {
    (void)state;
    struct job job;
    start(&job, "softmax");
    size_t test = trib_dataset_test(sample)->count;
    float *gradient = trib_alloc_floats(job.count);
    double before, after, unused, squares = 0;
    const uint64_t few = 150; /* a batch and a half; fewer than are looked at at most */
    assert_true(test >= few);
    assert_int_equal(
        trib_evaluate_gradient(job.net, job.workspace, sample, job.parameters, few, gradient, NULL, NULL),
        TRIB_OK);
    assert_int_equal(
        trib_evaluate(job.net, job.workspace, sample, job.parameters, few, &before, &unused, NULL, NULL),
        TRIB_OK);
    for (size_t i = 0; i < job.count; i++) squares += (double)gradient[i] * (double)gradient[i];
    const double step = 1e-3;
    for (size_t i = 0; i < job.count; i++) job.parameters[i] -= (float)(step * (double)gradient[i]);
    assert_int_equal(
        trib_evaluate(job.net, job.workspace, sample, job.parameters, few, &after, &unused, NULL, NULL),
        TRIB_OK);
    double found = (before - after) / step;
    if (!(fabs(found - squares) < 0.02 * squares)) fail_msg("fell by %g, expected %g", found, squares);
    assert_int_equal(
        trib_evaluate_gradient(job.net, job.workspace, sample, job.parameters, 0, gradient, NULL, NULL),
        TRIB_OK);
    atomic_bool stop = true;
    assert_int_equal(
        trib_evaluate_gradient(job.net, job.workspace, sample, job.parameters, 0, gradient, &stop, NULL),
        TRIB_AGAIN);
    job.parameters[0] = NAN;
    assert_int_equal(
        trib_evaluate_gradient(job.net, job.workspace, sample, job.parameters, 0, gradient, NULL, NULL),
        TRIB_INVALID);
    trib_free(gradient);
    finish(&job);
}

static void test_softmax_learns(void **state) {
    (void)state;
    struct job job;
    start(&job, "softmax");
    double before = accuracy(&job);
    job.options.lr = 0.01;
    assert_int_equal(train(&job, 5000, NULL), TRIB_OK);
    assert_int_equal(job.result.steps, 500);
    assert_int_equal(job.result.samples, 5000);
    assert_true(before < 0.3 && job.result.accuracy > 0.75 && job.result.loss < 0.9);
    double after = accuracy(&job);
    if (after < 0.85) fail_msg("softmax after 500 steps: %.4f", after);
    finish(&job);
}

static void test_cnn_small_learns(void **state) {
    (void)state;
    struct job job;
    start(&job, "cnn-small");
    assert_int_equal(train(&job, 6000, NULL), TRIB_OK);
    double after = accuracy(&job);
    if (after < 0.93) fail_msg("cnn-small after 600 steps: %.4f", after);
    finish(&job);
}

static void test_evaluates_a_part(void **state) {
    (void)state;
    struct job job;
    double loss, part, again;
    start(&job, "softmax");
    assert_int_equal(
        trib_evaluate(job.net, job.workspace, sample, job.parameters, 150, &loss, &part, NULL, NULL),
        TRIB_OK);
    assert_true(fabs(part * 150.0 - round(part * 150.0)) < 1e-9);
    struct trib_workspace *one = NULL;
    assert_int_equal(trib_workspace_new(job.net, 7, &one, NULL), TRIB_OK); /* other batches, same samples */
    assert_int_equal(trib_evaluate(job.net, one, sample, job.parameters, 150, &loss, &again, NULL, NULL),
                     TRIB_OK);
    assert_true(part == again);
    trib_workspace_free(&one);
    finish(&job);
}

/* ---- the optimiser, against a gradient computed beside it ---- */

/* The gradient at `parameters` of all[0..n), in any order. */
static void gradient_of(struct job *job, const float *parameters, size_t n, float *gradient) {
    const struct trib_split *split = trib_dataset_train(sample);
    float *x = trib_alloc_floats(n * 784);
    trib_dataset_convert(sample, split->images, n * 784, x);
    trib_net_gradient(job->net, job->workspace, parameters, x, split->labels, n, gradient, NULL);
    trib_free(x);
}

static double norm_of(const float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

static void expect_near(const float *a, const float *b, size_t n, float tolerance) {
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(a[i] - b[i]) <= tolerance))
            fail_msg("parameter %zu: %g, expected %g", i, (double)a[i], (double)b[i]);
}

/* Three epochs over one batch: v1 = g0 + wd p0, p1 = p0 - lr v1, v2 = m v1 + g1 + wd p1, ... */
static void test_momentum_and_weight_decay(void **state) {
    (void)state;
    struct job job;
    start(&job, "softmax");
    job.options.batch = 20;
    job.options.epochs = 3;
    job.options.momentum = 0.9;
    job.options.weight_decay = 0.1;
    float *p = trib_alloc_floats(job.count), *v = trib_alloc_floats(job.count),
          *g = trib_alloc_floats(job.count);
    memcpy(p, job.parameters, job.count * sizeof *p);
    for (int t = 0; t < 3; t++) {
        gradient_of(&job, p, 20, g);
        for (size_t i = 0; i < job.count; i++) {
            v[i] = 0.9f * v[i] + g[i] + 0.1f * p[i];
            p[i] -= 0.05f * v[i];
        }
    }
    assert_int_equal(train(&job, 20, NULL), TRIB_OK);
    assert_int_equal(job.result.steps, 3);
    expect_near(job.parameters, p, job.count, 2e-6f);
    trib_free(p);
    trib_free(v);
    trib_free(g);
    finish(&job);
}

static void test_clipping(void **state) {
    (void)state;
    struct job job;
    start(&job, "softmax");
    job.options.batch = 20;
    job.options.lr = 1.0;
    float *p = trib_alloc_floats(job.count), *g = trib_alloc_floats(job.count);
    memcpy(p, job.parameters, job.count * sizeof *p);
    gradient_of(&job, p, 20, g);
    double norm = norm_of(g, job.count);
    assert_true(norm > 0.5);
    job.options.clip = 0.25;
    assert_int_equal(train(&job, 20, NULL), TRIB_OK);
    for (size_t i = 0; i < job.count; i++) g[i] = p[i] - job.parameters[i];
    assert_true(fabs(norm_of(g, job.count) - 0.25) < 1e-3); /* the step taken, at lr 1 */
    job.options.clip = norm * 2.0;                          /* above: nothing changes */
    memcpy(job.parameters, p, job.count * sizeof *p);
    assert_int_equal(train(&job, 20, NULL), TRIB_OK);
    gradient_of(&job, p, 20, g);
    for (size_t i = 0; i < job.count; i++) g[i] = p[i] - g[i];
    expect_near(job.parameters, g, job.count, 2e-6f);
    trib_free(p);
    trib_free(g);
    finish(&job);
}

static void test_schedules(void **state) {
    (void)state;
    struct trib_train_options o = {.lr = 0.1, .lr_decay = 0.5};
    assert_true(trib_train_lr(&o, 0) == 0.1);
    assert_true(fabs(trib_train_lr(&o, 3) - 0.0125) < 1e-12);
    o.schedule = trib_schedule_find("inverse");
    assert_true(fabs(trib_train_lr(&o, 4) - 0.1 / 3.0) < 1e-12);
    o.schedule = trib_schedule_find("constant");
    assert_true(trib_train_lr(&o, 1000) == 0.1);
    assert_null(trib_schedule_find("steps"));
    o = (struct trib_train_options){.lr = 0.1, .lr_decay = 1.0};
    assert_true(trib_train_lr(&o, UINT64_MAX) == 0.1);
    for (size_t i = 0; trib_schedule_row(i) != NULL; i++)
        assert_true(trib_schedule_row(i)->rate(0.1, 0.9, 0.0) == 0.1);
}

/* ---- limits ---- */

static void test_counts(void **state) {
    (void)state;
    struct job job;
    start(&job, "softmax");
    job.options.epochs = 2;
    assert_int_equal(train(&job, 25, NULL), TRIB_OK); /* 10 + 10 + 5, twice */
    assert_int_equal(job.result.samples, 50);
    assert_int_equal(job.result.steps, 6);
    job.options.max_samples = 33; /* 10 + 10 + 5, 8 */
    assert_int_equal(train(&job, 25, NULL), TRIB_OK);
    assert_int_equal(job.result.samples, 33);
    assert_int_equal(job.result.steps, 4);
    job.options.max_samples = 50;
    assert_int_equal(train(&job, 25, NULL), TRIB_OK);
    assert_int_equal(job.result.samples, 50);
    finish(&job);
}

/* Of more samples than the workspace takes at once: the same step, in pieces. */
static void test_batch_in_pieces(void **state) {
    (void)state;
    struct job job;
    start(&job, "cnn-small");
    struct trib_workspace *whole = NULL;
    assert_int_equal(trib_workspace_new(job.net, 250, &whole, NULL), TRIB_OK);
    float *p = trib_alloc_floats(job.count);
    memcpy(p, job.parameters, job.count * sizeof *p);
    job.options.batch = 250;
    job.options.weight_decay = 0.01;
    assert_int_equal(train(&job, 600, NULL), TRIB_OK); /* 250 + 250 + 100, by 100 */
    assert_int_equal(job.result.steps, 3);
    struct trib_train_result result;
    assert_int_equal(trib_train(job.net, whole, sample, all, 600, &job.options, p, &result, NULL, NULL),
                     TRIB_OK);
    assert_int_equal(result.steps, 3);
    assert_true(fabs(result.loss - job.result.loss) < 1e-5);
    expect_near(job.parameters, p, job.count, 2e-6f);
    job.options.batch = 0; /* FedSGD: all of them */
    assert_int_equal(train(&job, 600, NULL), TRIB_OK);
    assert_int_equal(job.result.steps, 1);
    assert_int_equal(job.result.samples, 600);
    trib_free(p);
    trib_workspace_free(&whole);
    finish(&job);
}

/* ---- early stop ---- */

static void test_stops_early(void **state) {
    (void)state;
    struct job job;
    start(&job, "softmax");
    job.options.epochs = 5;
    job.options.stop_loss = 100.0; /* reached by the first */
    assert_int_equal(train(&job, 100, NULL), TRIB_OK);
    assert_int_equal(job.result.samples, 100);
    job.options.stop_loss = 1e-6; /* not reached */
    assert_int_equal(train(&job, 100, NULL), TRIB_OK);
    assert_int_equal(job.result.samples, 500);
    job.options.stop_loss = 0.0;
    job.options.stop_gain = 0.01;
    job.options.lr = 1e-9; /* nothing is gained: the second epoch is the last */
    assert_int_equal(train(&job, 100, NULL), TRIB_OK);
    assert_int_equal(job.result.samples, 200);
    job.options.lr = 0.01; /* each epoch gains more than 1% */
    assert_int_equal(train(&job, 100, NULL), TRIB_OK);
    assert_int_equal(job.result.samples, 500);
    finish(&job);
}

static void test_stop(void **state) {
    (void)state;
    struct job job;
    atomic_bool stop = true;
    double loss, value;
    start(&job, "softmax");
    assert_int_equal(trib_train(job.net, job.workspace, sample, all, 100, &job.options, job.parameters,
                                &job.result, &stop, NULL),
                     TRIB_AGAIN);
    assert_int_equal(job.result.samples, 0);
    assert_int_equal(
        trib_evaluate(job.net, job.workspace, sample, job.parameters, 0, &loss, &value, &stop, NULL),
        TRIB_AGAIN);
    finish(&job);
}

static void refused(struct job *job, const char *says) {
    struct trib_error err = {0};
    float *before = trib_alloc_floats(job->count);
    memcpy(before, job->parameters, job->count * sizeof *before);
    assert_int_equal(train(job, 100, &err), TRIB_INVALID);
    if (strstr(err.text, says) == NULL) fail_msg("'%s' lacks '%s'", err.text, says);
    assert_memory_equal(before, job->parameters, job->count * sizeof *before);
    trib_free(before);
}

static void test_refusals(void **state) {
    (void)state;
    struct job job;
    struct trib_error err = {0};
    start(&job, "softmax");
    struct trib_train_options good = job.options;
    job.options.epochs = 0;
    refused(&job, "epochs");
    job.options = good;
    job.options.stop_gain = 1.0;
    refused(&job, "stop_gain");
    job.options = good;
    job.options.ewc = -1.0;
    refused(&job, "ewc");
    job.options = good;
    job.options.lr = NAN;
    refused(&job, "lr");
    job.options.lr = 1e39;
    refused(&job, "lr");
    job.options = good;
    job.options.momentum = 1.0;
    refused(&job, "momentum");
    job.options = good;
    assert_int_equal(train(&job, 0, &err), TRIB_INVALID);
    finish(&job);
    start(&job, "dense\nmse");
    job.options.lr = 1000; /* accepted, and found out */
    assert_int_equal(train(&job, 1000, &err), TRIB_INVALID);
    assert_non_null(strstr(err.text, "diverged"));
    finish(&job);
    start(&job, "softmax");
    job.options.clip = 1.0;
    job.options.momentum = 0.5;
    for (long n = 0; n < 5; n++) {
        trib_alloc_fail_after(n);
        enum trib_status status = train(&job, 100, NULL);
        trib_alloc_fail_after(-1);
        assert_int_equal(status, TRIB_NOMEM);
    }
    finish(&job);
}

/* ---- determinism, augmentation ---- */

static void train_all_options(struct job *job, uint64_t seed) {
    start(job, "cnn-small");
    job->options.seed = seed;
    job->options.augment = true;
    job->options.momentum = 0.5;
    job->options.weight_decay = 1e-4;
    job->options.clip = 1.0;
    job->options.lr = 0.01;
    assert_int_equal(train(job, 500, NULL), TRIB_OK);
}

static void test_same_bits_twice(void **state) {
    (void)state;
    struct job a, b, c;
    train_all_options(&a, 1);
    train_all_options(&b, 1);
    train_all_options(&c, 2);
    assert_memory_equal(a.parameters, b.parameters, a.count * sizeof *a.parameters);
    assert_memory_not_equal(a.parameters, c.parameters, a.count * sizeof *a.parameters);
    assert_true(a.result.loss == b.result.loss && a.result.accuracy == b.result.accuracy);
    finish(&a);
    finish(&b);
    finish(&c);
}

static void *train_in_thread(void *ctx) {
    struct job *job = ctx;
    enum trib_status status = train(job, 500, NULL);
    return status == TRIB_OK ? NULL : ctx;
}

/* Two workers share the net's architecture and the data, and get what one alone gets. */
static void test_two_threads(void **state) {
    (void)state;
    if (!trib_blas_threadsafe()) skip();
    struct job alone, a, b;
    start(&alone, "cnn-small");
    start(&a, "cnn-small");
    start(&b, "cnn-small");
    assert_int_equal(train(&alone, 500, NULL), TRIB_OK);
    pthread_t threads[2];
    void *failed[2];
    assert_int_equal(pthread_create(&threads[0], NULL, train_in_thread, &a), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, train_in_thread, &b), 0);
    for (size_t i = 0; i < 2; i++) assert_int_equal(pthread_join(threads[i], &failed[i]), 0);
    assert_true(failed[0] == NULL && failed[1] == NULL);
    assert_memory_equal(a.parameters, alone.parameters, a.count * sizeof *a.parameters);
    assert_memory_equal(b.parameters, alone.parameters, a.count * sizeof *a.parameters);
    finish(&alone);
    finish(&a);
    finish(&b);
}

/* A plain step is the gradient's, at every kind of layer. */
static void test_step_is_gradient(void **state) {
    (void)state;
    struct job job;
    start(&job, "conv(4, 5)\nmaxpool(2)\nrelu\nconv(5, 3, padding=same)\nrelu\ndense(20)\nrelu\ndense");
    float *p = trib_alloc_floats(job.count), *g = trib_alloc_floats(job.count);
    memcpy(p, job.parameters, job.count * sizeof *p);
    gradient_of(&job, p, 20, g);
    for (size_t i = 0; i < job.count; i++) p[i] -= 0.05f * g[i];
    job.options.batch = 20;
    assert_int_equal(train(&job, 20, NULL), TRIB_OK);
    expect_near(job.parameters, p, job.count, 1e-6f);
    assert_true(norm_of(g, job.count) > 0.1);
    trib_free(p);
    trib_free(g);
    finish(&job);
}

static void test_augmentation_bounds(void **state) {
    (void)state;
    struct trib_shape shape = {1, 28, 20};
    struct trib_rng rng = trib_rng_seed(1, 1);
    float radians = 0, right = 0, down = 0;
    for (int i = 0; i < 3000; i++) {
        struct trib_move move = trib_move_draw(&rng, &shape);
        radians = fmaxf(radians, fabsf(move.radians));
        right = fmaxf(right, fabsf(move.right));
        down = fmaxf(down, fabsf(move.down));
    }
    assert_true(radians <= 0.1745330f && radians > 0.17f); /* 10 degrees */
    assert_true(right <= 2.0f && right > 1.95f);
    assert_true(down <= 2.8f && down > 2.7f);
}

static void test_augmentation_moves(void **state) {
    (void)state;
    struct trib_shape shape = {2, 9, 9};
    uint8_t in[162] = {0}, out[162];
    in[4 * 9 + 4] = 200;     /* the middle */
    in[81 + 4 * 9 + 8] = 90; /* right of it, in the other channel */
    trib_move_apply(&(struct trib_move){0, 0, 0}, &shape, in, out);
    assert_memory_equal(in, out, sizeof in);
    trib_move_apply(&(struct trib_move){0, 2, 1}, &shape, in, out);
    assert_int_equal(out[5 * 9 + 6], 200);
    assert_int_equal(out[4 * 9 + 4], 0);
    trib_move_apply(&(struct trib_move){0, 0.5f, 0}, &shape, in, out);
    assert_int_equal(out[4 * 9 + 4], 100);
    assert_int_equal(out[4 * 9 + 5], 100);
    trib_move_apply(&(struct trib_move){1.57079633f, 0, 0}, &shape, in,
                    out); /* a quarter turn: right to top */
    assert_int_equal(out[4 * 9 + 4], 200);
    assert_int_equal(out[81 + 0 * 9 + 4], 90);
    assert_int_equal(out[81 + 4 * 9 + 8], 0);
}

static void test_other_shape(void **state) {
    (void)state;
    struct job job;
    struct trib_error err = {0};
    start(&job, "softmax");
    trib_workspace_free(&job.workspace);
    trib_net_free(&job.net);
    assert_int_equal(trib_net_new("softmax", NULL, &(struct trib_shape){1, 28, 27}, 10, &job.net, NULL),
                     TRIB_OK);
    assert_int_equal(trib_workspace_new(job.net, 10, &job.workspace, NULL), TRIB_OK);
    assert_int_equal(train(&job, 100, &err), TRIB_INVALID);
    assert_non_null(strstr(err.text, "1x28x27"));
    finish(&job);
}

static int open_sample(void **state) {
    (void)state;
    openblas_set_num_threads(1);
    for (uint32_t i = 0; i < 10000; i++) all[i] = i;
    return trib_dataset_open("mnist", "data/mnist-sample", &sample, NULL, NULL) == TRIB_OK ? 0 : -1;
}

static int close_sample(void **state) {
    (void)state;
    trib_dataset_free(&sample);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_held_out_gradient),
        cmocka_unit_test(test_softmax_learns),
        cmocka_unit_test(test_cnn_small_learns),
        cmocka_unit_test(test_evaluates_a_part),
        cmocka_unit_test(test_momentum_and_weight_decay),
        cmocka_unit_test(test_clipping),
        cmocka_unit_test(test_schedules),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_batch_in_pieces),
        cmocka_unit_test(test_stops_early),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_same_bits_twice),
        cmocka_unit_test(test_two_threads),
        cmocka_unit_test(test_step_is_gradient),
        cmocka_unit_test(test_augmentation_bounds),
        cmocka_unit_test(test_augmentation_moves),
        cmocka_unit_test(test_other_shape),
    };
    return cmocka_run_group_tests(tests, open_sample, close_sample);
}
