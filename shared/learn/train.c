#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "shared/kernels/kernels.h"
#include "shared/learn/augment.h"
#include "shared/learn/loops.h"
#include "shared/learn/train_internal.h"
#include "shared/model/quantise.h"

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
    size_t features, parameter_count, last_label;
    struct trib_rng order_rng, augment_rng;
    uint32_t *order;
    float *x;
    size_t batch;              /* samples a step */
    size_t piece;              /* the workspace's room */
    float *gradient;           /* NULL where steps are plain */
    float *part;               /* of a batch that does not fit the workspace; else NULL */
    float *velocity;           /* NULL without momentum */
    float *start;              /* NULL without mu */
    float *seen;               /* the weights as the passes see them; NULL: parameters */
    struct trib_schema schema; /* of the net, where seen is there */
    uint8_t *moved;            /* one image; NULL without augmentation */
    uint8_t *labels;
    float *values; /* instead of labels, where classes is 1 */
    float *parameters;
    double loss_sum;
    uint64_t correct, samples, steps;
    double path_step, path;
};

static bool possible(double value) {
    return value >= 0.0 && value <= 1e6; /* NaN is neither */
}

static enum trib_status check_options(const struct trib_train_options *o, struct trib_error *err) {
    if (o->epochs == 0) return trib_fail(err, TRIB_INVALID, "epochs is 0; at least 1 is needed");
    if (!possible(o->lr) || !possible(o->weight_decay) || !possible(o->clip) || !possible(o->mu) ||
        !possible(o->ewc) || !possible(o->momentum) || o->momentum >= 1.0)
        return trib_fail(err, TRIB_INVALID,
                         "lr %g, momentum %g, weight_decay %g, clip %g, mu %g, ewc %g: each is 0 to 1e6, and "
                         "momentum below 1",
                         o->lr, o->momentum, o->weight_decay, o->clip, o->mu, o->ewc);
    if (!possible(o->stop_loss) || !possible(o->stop_gain) || o->stop_gain >= 1.0)
        return trib_fail(err, TRIB_INVALID, "stop_loss %g, stop_gain %g: 0 to 1e6, and 0 to below 1",
                         o->stop_loss, o->stop_gain);
    return TRIB_OK;
}

/* Nothing to be done to the gradient but to follow it. */
static bool is_plain(const struct trib_train_options *o) {
    return !(o->momentum > 0.0) && !(o->weight_decay > 0.0) && !(o->clip > 0.0) && !(o->mu > 0.0) &&
           !(o->ewc > 0.0) && o->correction == NULL && o->qat == 0;
}

static void trainer_release(struct trainer *t) {
    trib_free(t->order);
    trib_free(t->x);
    trib_free(t->gradient);
    trib_free(t->part);
    trib_free(t->velocity);
    trib_free(t->start);
    trib_free(t->seen);
    trib_schema_release(&t->schema);
    trib_free(t->moved);
    trib_free(t->labels);
    trib_free(t->values);
}

/* NULL where it is not needed. */
static float *floats_if(bool needed, size_t count, bool *failed) {
    if (!needed) return NULL;
    float *floats = trib_alloc_floats(count);
    *failed |= floats == NULL;
    return floats;
}

static bool trainer_alloc(struct trainer *t, size_t count) {
    bool failed = false, whole = t->batch <= t->piece, plain = whole && is_plain(t->options);
    size_t n = t->parameter_count, room = whole ? t->batch : t->piece;
    t->order = trib_alloc_array(count, sizeof *t->order);
    t->labels = trib_alloc(room);
    t->x = floats_if(true, room * t->features, &failed);
    t->values = floats_if(true, room, &failed);
    t->gradient = floats_if(!plain, n, &failed);
    t->part = floats_if(!whole, n, &failed);
    t->velocity = floats_if(t->options->momentum > 0.0, n, &failed);
    t->start = floats_if(t->options->mu > 0.0, n, &failed);
    t->seen = floats_if(t->options->qat > 0, n, &failed);
    if (t->options->augment) t->moved = trib_alloc(t->features);
    return !failed && t->order != NULL && t->labels != NULL && (!t->options->augment || t->moved != NULL);
}

static enum trib_status trainer_init(struct trainer *t, const uint32_t *indices, size_t count,
                                     struct trib_error *err) {
    const struct trib_train_options *o = t->options;
    t->shape = trib_dataset_shape(t->dataset);
    t->features = t->shape.channels * t->shape.height * t->shape.width;
    t->parameter_count = trib_net_parameters(t->net);
    t->last_label = trib_net_classes(t->net) - 1;
    t->order_rng = trib_rng_seed(o->seed, ORDER_STREAM);
    t->augment_rng = trib_rng_seed(o->seed, AUGMENT_STREAM);
    t->piece = trib_workspace_max_batch(t->workspace);
    t->batch = o->batch > 0 && o->batch < count ? (size_t)o->batch : count;
    if (!trainer_alloc(t, count))
        return trib_fail(err, TRIB_NOMEM, "no memory to train %zu parameters on %zu samples",
                         t->parameter_count, count);
    enum trib_status status = t->seen != NULL ? trib_net_schema(t->net, &t->schema, err) : TRIB_OK;
    if (status != TRIB_OK) return status;
    size_t there = trib_dataset_train(t->dataset)->count;
    for (size_t i = 0; i < count; i++) TRIB_ASSERT(indices[i] < there);
    memcpy(t->order, indices, count * sizeof *t->order);
    if (t->start != NULL) memcpy(t->start, t->parameters, t->parameter_count * sizeof *t->start);
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
        if (t->options->flip_labels) t->labels[i] = (uint8_t)(t->last_label - t->labels[i]);
        if (split->values != NULL) t->values[i] = split->values[items[i]];
    }
}

static const void *targets(const struct trainer *t) {
    return trib_net_classes(t->net) > 1 ? (const void *)t->labels : t->values;
}

static const float *weights_of(struct trainer *t) {
    if (t->seen == NULL) return t->parameters;
    trib_quantise_round(&t->schema, t->options->qat, t->parameters, t->seen);
    return t->seen;
}

/* Of the whole batch's mean loss, in pieces where it is larger than the workspace. */
static void gradient_of(struct trainer *t, const uint32_t *items, size_t n, struct trib_batch_result *batch) {
    const float *weights = weights_of(t);
    if (t->part == NULL) {
        gather(t, items, n);
        trib_net_gradient(t->net, t->workspace, weights, t->x, targets(t), n, t->gradient, batch);
        return;
    }
    *batch = (struct trib_batch_result){0};
    memset(t->gradient, 0, t->parameter_count * sizeof *t->gradient);
    for (size_t from = 0; from < n; from += t->piece) {
        struct trib_batch_result piece;
        size_t count = n - from < t->piece ? n - from : t->piece;
        double share = (double)count / (double)n;
        gather(t, items + from, count);
        trib_net_gradient(t->net, t->workspace, weights, t->x, targets(t), count, t->part, &piece);
        trib_kernels()->add_scaled(t->gradient, t->part, (float)share, t->parameter_count);
        batch->loss += share * piece.loss;
        batch->correct += piece.correct;
    }
}

static void descend(struct trainer *t) {
    const struct trib_kernels *kernels = trib_kernels();
    const struct trib_loops *loops = trib_loops();
    const struct trib_train_options *o = t->options;
    size_t n = t->parameter_count;
    float lr = (float)o->lr;
    if (o->clip > 0.0) {
        double norm = sqrt(kernels->sum_squares(t->gradient, n));
        if (norm > o->clip) kernels->scale(t->gradient, (float)(o->clip / norm), n);
    }
    if (o->weight_decay > 0.0) kernels->add_scaled(t->gradient, t->parameters, (float)o->weight_decay, n);
    if (t->start != NULL) loops->pull(t->gradient, t->parameters, t->start, (float)o->mu, n);
    if (o->ewc > 0.0) loops->pull_each(t->gradient, t->parameters, o->anchor, o->fisher, (float)o->ewc, n);
    if (o->correction != NULL) kernels->add_scaled(t->gradient, o->correction, 1.0f, n);
    if (t->velocity != NULL)
        loops->momentum(t->parameters, t->velocity, t->gradient, (float)o->momentum, lr, n);
    else
        kernels->add_scaled(t->parameters, t->gradient, -lr, n);
}

/* What a gradient of 1 in every step would have moved, in units of the rate. */
static void note_path(struct trainer *t) {
    const struct trib_train_options *o = t->options;
    t->path_step = o->momentum * t->path_step + 1.0 - o->lr * o->mu * t->path;
    t->path += t->path_step;
}

static void step(struct trainer *t, const uint32_t *items, size_t n) {
    struct trib_batch_result batch;
    if (t->gradient == NULL) {
        gather(t, items, n);
        trib_net_step(t->net, t->workspace, t->parameters, t->x, targets(t), n, (float)t->options->lr,
                      &batch);
    } else {
        gradient_of(t, items, n, &batch);
        descend(t);
    }
    t->loss_sum += batch.loss * (double)n;
    t->correct += batch.correct;
    t->samples += n;
    t->steps++;
    note_path(t);
}

/* One pass over the samples, or up to the limit of them; false if stopped. */
static bool run_epoch(struct trainer *t, size_t count, uint64_t limit, const atomic_bool *stop) {
    trib_rng_shuffle(&t->order_rng, t->order, count);
    for (size_t from = 0; from < count;) {
        uint64_t n = t->batch;
        if (n > count - from) n = count - from;
        if (n > limit - t->samples) n = limit - t->samples;
        if (n == 0) return true;
        if (trib_train_stopped(stop)) return false;
        step(t, t->order + from, (size_t)n);
        from += (size_t)n;
    }
    return true;
}

/* Is another epoch of no use, by the mean losses of the last and the one before? */
static bool has_enough(const struct trib_train_options *o, double loss, double before) {
    return loss < o->stop_loss || (o->stop_gain > 0.0 && loss > (1.0 - o->stop_gain) * before);
}

/* All epochs, until max_samples or what ends them early; false if stopped. */
static bool run(struct trainer *t, size_t count, const atomic_bool *stop) {
    uint64_t limit = t->options->max_samples > 0 ? t->options->max_samples : UINT64_MAX;
    double before = INFINITY;
    for (uint64_t epoch = 0; epoch < t->options->epochs && t->samples < limit; epoch++) {
        double sum = t->loss_sum;
        uint64_t samples = t->samples;
        if (!run_epoch(t, count, limit, stop)) return false;
        double loss = (t->loss_sum - sum) / (double)(t->samples - samples);
        if (has_enough(t->options, loss, before)) return true;
        before = loss;
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
    enum trib_status status = trib_train_check_net(net, dataset, err);
    if (status == TRIB_OK) status = check_options(options, err);
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
                                             .steps = t.steps,
                                             .path = t.path};
    trainer_release(&t);
    return status;
}
