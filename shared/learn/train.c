#include "shared/learn/train.h"

#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "shared/kernels/kernels.h"
#include "shared/learn/augment.h"
#include "shared/learn/loops.h"

#include <math.h>
#include <string.h>

enum { ORDER_STREAM = 0x6f726465, AUGMENT_STREAM = 0x6d6f7665 };

/* What one call of trib_train works with. */
struct trainer {
    const struct trib_net *net;
    struct trib_workspace *workspace;
    const struct trib_dataset *dataset;
    const struct trib_train_options *options;
    struct trib_shape shape;
    size_t features, parameter_count;
    struct trib_rng order_rng, augment_rng;
    uint32_t *order;
    float *x;
    float *gradient; /* NULL where steps are plain */
    float *velocity; /* NULL without momentum */
    uint8_t *moved;  /* one image; NULL without augmentation */
    uint8_t *labels;
    float *values; /* instead of labels, where classes is 1 */
    float *parameters;
    double loss_sum;
    uint64_t correct, samples, steps;
};

static enum trib_status check_net(const struct trib_net *net, const struct trib_dataset *dataset,
                                  struct trib_error *err) {
    struct trib_shape a = trib_net_input(net), b = trib_dataset_shape(dataset);
    if (a.channels == b.channels && a.height == b.height && a.width == b.width &&
        trib_net_classes(net) == trib_dataset_classes(dataset))
        return TRIB_OK;
    return trib_fail(err, TRIB_INVALID,
                     "the model takes %zux%zux%zu and %zu classes, the data set has %zux%zux%zu and %zu",
                     a.channels, a.height, a.width, trib_net_classes(net), b.channels, b.height, b.width,
                     trib_dataset_classes(dataset));
}

static bool possible(double value) {
    return value >= 0.0 && value <= 1e6; /* NaN is neither */
}

static enum trib_status check_options(const struct trib_train_options *o, const struct trib_workspace *w,
                                      struct trib_error *err) {
    size_t max_batch = trib_workspace_max_batch(w);
    if (o->epochs == 0) return trib_fail(err, TRIB_INVALID, "epochs is 0; at least 1 is needed");
    if (o->batch == 0 || o->batch > max_batch)
        return trib_fail(err, TRIB_INVALID, "a batch of %llu samples; 1 to %zu are possible",
                         (unsigned long long)o->batch, max_batch);
    if (!possible(o->lr) || !possible(o->weight_decay) || !possible(o->clip) || !possible(o->momentum) ||
        o->momentum >= 1.0)
        return trib_fail(
            err, TRIB_INVALID,
            "lr %g, momentum %g, weight_decay %g, clip %g: each is 0 to 1e6, and momentum below 1", o->lr,
            o->momentum, o->weight_decay, o->clip);
    return TRIB_OK;
}

/* Nothing to be done to the gradient but to follow it. */
static bool is_plain(const struct trib_train_options *o) {
    return !(o->momentum > 0.0) && !(o->weight_decay > 0.0) && !(o->clip > 0.0);
}

static void trainer_release(struct trainer *t) {
    trib_free(t->order);
    trib_free(t->x);
    trib_free(t->gradient);
    trib_free(t->velocity);
    trib_free(t->moved);
    trib_free(t->labels);
    trib_free(t->values);
}

static enum trib_status trainer_init(struct trainer *t, const uint32_t *indices, size_t count,
                                     struct trib_error *err) {
    size_t batch = (size_t)t->options->batch;
    t->shape = trib_dataset_shape(t->dataset);
    t->features = t->shape.channels * t->shape.height * t->shape.width;
    t->parameter_count = trib_net_parameters(t->net);
    t->order_rng = trib_rng_seed(t->options->seed, ORDER_STREAM);
    t->augment_rng = trib_rng_seed(t->options->seed, AUGMENT_STREAM);
    t->order = trib_alloc_array(count, sizeof *t->order);
    t->x = trib_alloc_floats(batch * t->features);
    t->labels = trib_alloc(batch);
    t->values = trib_alloc_floats(batch);
    if (!is_plain(t->options)) t->gradient = trib_alloc_floats(t->parameter_count);
    if (t->options->momentum > 0.0) t->velocity = trib_alloc_floats(t->parameter_count);
    if (t->options->augment) t->moved = trib_alloc(t->features);
    if (t->order == NULL || t->x == NULL || t->labels == NULL || t->values == NULL ||
        (!is_plain(t->options) && t->gradient == NULL) ||
        (t->options->momentum > 0.0 && t->velocity == NULL) || (t->options->augment && t->moved == NULL))
        return trib_fail(err, TRIB_NOMEM, "no memory to train %zu parameters on %zu samples",
                         t->parameter_count, count);
    size_t there = trib_dataset_train(t->dataset)->count;
    for (size_t i = 0; i < count; i++) TRIB_ASSERT(indices[i] < there);
    memcpy(t->order, indices, count * sizeof *t->order);
    return TRIB_OK;
}

static void gather(struct trainer *t, const uint32_t *items, size_t n) {
    const struct trib_split *split = trib_dataset_train(t->dataset);
    for (size_t i = 0; i < n; i++) {
        float *x = t->x + i * t->features;
        if (t->moved != NULL) {
            struct trib_move move = trib_move_draw(&t->augment_rng, &t->shape);
            trib_move_apply(&move, &t->shape, split->images + items[i] * t->features, t->moved);
            trib_dataset_convert(t->dataset, t->moved, t->features, x);
        } else {
            trib_dataset_sample(t->dataset, split, items[i], x);
        }
        t->labels[i] = split->labels[items[i]];
        if (split->values != NULL) t->values[i] = split->values[items[i]];
    }
}

static void descend(struct trainer *t) {
    const struct trib_kernels *kernels = trib_kernels();
    const struct trib_train_options *o = t->options;
    size_t n = t->parameter_count;
    float lr = (float)o->lr;
    if (o->clip > 0.0) {
        double norm = sqrt(kernels->sum_squares(t->gradient, n));
        if (norm > o->clip) kernels->scale(t->gradient, (float)(o->clip / norm), n);
    }
    if (o->weight_decay > 0.0) kernels->add_scaled(t->gradient, t->parameters, (float)o->weight_decay, n);
    if (t->velocity != NULL)
        trib_loops()->momentum(t->parameters, t->velocity, t->gradient, (float)o->momentum, lr, n);
    else
        kernels->add_scaled(t->parameters, t->gradient, -lr, n);
}

static void step(struct trainer *t, const uint32_t *items, size_t n) {
    struct trib_batch_result batch;
    const void *targets = trib_net_classes(t->net) > 1 ? (const void *)t->labels : t->values;
    gather(t, items, n);
    if (t->gradient == NULL) {
        trib_net_step(t->net, t->workspace, t->parameters, t->x, targets, n, (float)t->options->lr, &batch);
    } else {
        trib_net_gradient(t->net, t->workspace, t->parameters, t->x, targets, n, t->gradient, &batch);
        descend(t);
    }
    t->loss_sum += batch.loss * (double)n;
    t->correct += batch.correct;
    t->samples += n;
    t->steps++;
}

static bool stopped(const atomic_bool *stop) {
    return stop != NULL && atomic_load_explicit(stop, memory_order_relaxed);
}

/* All epochs, until max_samples; false if stopped. */
static bool run(struct trainer *t, size_t count, const atomic_bool *stop) {
    uint64_t limit = t->options->max_samples > 0 ? t->options->max_samples : UINT64_MAX;
    for (uint64_t epoch = 0; epoch < t->options->epochs; epoch++) {
        trib_rng_shuffle(&t->order_rng, t->order, count);
        for (size_t from = 0; from < count;) {
            uint64_t n = t->options->batch;
            if (n > count - from) n = count - from;
            if (n > limit - t->samples) n = limit - t->samples;
            if (n == 0) return true;
            if (stopped(stop)) return false;
            step(t, t->order + from, (size_t)n);
            from += (size_t)n;
        }
    }
    return true;
}

static double accuracy_of(const struct trainer *t) {
    return trib_dataset_accuracy(t->dataset, trib_dataset_train(t->dataset), t->loss_sum / (double)t->samples,
                                 (size_t)t->correct, (size_t)t->samples);
}

enum trib_status trib_train(const struct trib_net *net, struct trib_workspace *workspace,
                            const struct trib_dataset *dataset, const uint32_t *indices, size_t count,
                            const struct trib_train_options *options, float *parameters,
                            struct trib_train_result *result, const atomic_bool *stop,
                            struct trib_error *err) {
    *result = (struct trib_train_result){.samples = 0};
    struct trainer t = {
        .net = net, .workspace = workspace, .dataset = dataset, .options = options, .parameters = parameters};
    enum trib_status status = check_net(net, dataset, err);
    if (status == TRIB_OK) status = check_options(options, workspace, err);
    if (status == TRIB_OK && options->augment && !trib_dataset_has_images(dataset))
        status = trib_fail(err, TRIB_INVALID, "augment turns and shifts images, and this data set has none");
    if (status == TRIB_OK && count == 0) status = trib_fail(err, TRIB_INVALID, "no samples to train on");
    if (status == TRIB_OK) status = trainer_init(&t, indices, count, err);
    if (status == TRIB_OK && !run(&t, count, stop))
        status = trib_fail(err, TRIB_AGAIN, "stopped after %llu samples", (unsigned long long)t.samples);
    if (status == TRIB_OK && !trib_kernels()->all_finite(parameters, trib_net_parameters(net)))
        status = trib_fail(err, TRIB_INVALID,
                           "training diverged within %llu steps at lr %g: take a smaller lr or a clip",
                           (unsigned long long)t.steps, options->lr);
    if (t.samples > 0)
        *result = (struct trib_train_result){.loss = t.loss_sum / (double)t.samples,
                                             .accuracy = accuracy_of(&t),
                                             .samples = t.samples,
                                             .steps = t.steps};
    trainer_release(&t);
    return status;
}

/* Sums over the first `count` test samples; x holds one batch. False if stopped. */
static bool evaluate(const struct trib_net *net, struct trib_workspace *workspace,
                     const struct trib_dataset *dataset, const float *parameters, size_t count, float *x,
                     double *loss_sum, size_t *correct, const atomic_bool *stop) {
    const struct trib_split *test = trib_dataset_test(dataset);
    struct trib_shape shape = trib_dataset_shape(dataset);
    size_t features = shape.channels * shape.height * shape.width;
    size_t max_batch = trib_workspace_max_batch(workspace);
    for (size_t from = 0; from < count; from += max_batch) {
        size_t n = count - from < max_batch ? count - from : max_batch;
        struct trib_batch_result batch;
        if (stopped(stop)) return false;
        for (size_t i = 0; i < n; i++) trib_dataset_sample(dataset, test, from + i, x + i * features);
        const void *targets =
            test->values != NULL ? (const void *)(test->values + from) : test->labels + from;
        trib_net_loss(net, workspace, parameters, x, targets, n, &batch);
        *loss_sum += batch.loss * (double)n;
        *correct += batch.correct;
    }
    return true;
}

enum trib_status trib_evaluate(const struct trib_net *net, struct trib_workspace *workspace,
                               const struct trib_dataset *dataset, const float *parameters,
                               uint64_t max_samples, double *loss, double *accuracy, const atomic_bool *stop,
                               struct trib_error *err) {
    enum trib_status status = check_net(net, dataset, err);
    if (status != TRIB_OK) return status;
    struct trib_shape shape = trib_dataset_shape(dataset);
    size_t count = trib_dataset_test(dataset)->count, correct = 0;
    if (max_samples > 0 && max_samples < count) count = (size_t)max_samples;
    size_t features = shape.channels * shape.height * shape.width;
    float *x = trib_alloc_floats(trib_workspace_max_batch(workspace) * features);
    if (x == NULL) return trib_fail(err, TRIB_NOMEM, "no memory to evaluate");
    double loss_sum = 0.0;
    if (!evaluate(net, workspace, dataset, parameters, count, x, &loss_sum, &correct, stop))
        status = trib_fail(err, TRIB_AGAIN, "the evaluation was stopped");
    trib_free(x);
    if (status != TRIB_OK) return status;
    *loss = loss_sum / (double)count;
    *accuracy = trib_dataset_accuracy(dataset, trib_dataset_test(dataset), *loss, correct, count);
    return TRIB_OK;
}
