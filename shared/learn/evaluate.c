/* What a model does on data, without changing it. */
#include "shared/base/alloc.h"
#include "shared/kernels/kernels.h"
#include "shared/learn/loops.h"
#include "shared/learn/train_internal.h"

#include <string.h>

enum trib_status trib_train_check_net(const struct trib_net *net, const struct trib_dataset *dataset,
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

/* What is measured: test samples from place `first` to below `end`, of the split or of a list of its samples.
 */
struct measured {
    const uint32_t *chosen; /* NULL: as they stand */
    size_t first, end;
};

/* Copies n of them, from place `from` on, with their labels, or their values, behind them. */
static void fetch(const struct trib_dataset *dataset, const struct measured *m, size_t from, size_t n,
                  size_t features, float *x) {
    const struct trib_split *test = trib_dataset_test(dataset);
    float *values = x + n * features;
    uint8_t *labels = (uint8_t *)values;
    for (size_t i = 0; i < n; i++) {
        size_t sample = m->chosen != NULL ? m->chosen[from + i] : from + i;
        trib_dataset_sample(dataset, test, sample, x + i * features);
        if (test->values != NULL)
            values[i] = test->values[sample];
        else
            labels[i] = test->labels[sample];
    }
}

/* Sums over them; x has room for a batch of samples and their targets. False if stopped. */
static bool evaluate(const struct trib_net *net, struct trib_workspace *workspace,
                     const struct trib_dataset *dataset, const float *parameters, const struct measured *m,
                     float *x, double *loss_sum, size_t *correct, const atomic_bool *stop) {
    struct trib_shape shape = trib_dataset_shape(dataset);
    size_t features = shape.channels * shape.height * shape.width;
    size_t max_batch = trib_workspace_max_batch(workspace);
    for (size_t from = m->first; from < m->end; from += max_batch) {
        size_t n = m->end - from < max_batch ? m->end - from : max_batch;
        struct trib_batch_result batch;
        if (trib_train_stopped(stop)) return false;
        fetch(dataset, m, from, n, features, x);
        trib_net_loss(net, workspace, parameters, x, x + n * features, n, &batch);
        *loss_sum += batch.loss * (double)n;
        *correct += batch.correct;
    }
    return true;
}

/* Room for a batch of samples and their targets. */
static float *room(struct trib_workspace *workspace, const struct trib_dataset *dataset) {
    struct trib_shape shape = trib_dataset_shape(dataset);
    return trib_alloc_floats(trib_workspace_max_batch(workspace) *
                             (shape.channels * shape.height * shape.width + 1));
}

enum trib_status trib_evaluate(const struct trib_net *net, struct trib_workspace *workspace,
                               const struct trib_dataset *dataset, const float *parameters,
                               uint64_t max_samples, double *loss, double *accuracy, const atomic_bool *stop,
                               struct trib_error *err) {
    enum trib_status status = trib_train_check_net(net, dataset, err);
    if (status != TRIB_OK) return status;
    size_t count = trib_dataset_test(dataset)->count, correct = 0;
    if (max_samples > 0 && max_samples < count) count = (size_t)max_samples;
    const struct measured measured = {.end = count};
    float *x = room(workspace, dataset);
    if (x == NULL) return trib_fail(err, TRIB_NOMEM, "no memory to evaluate");
    double loss_sum = 0.0;
    if (!evaluate(net, workspace, dataset, parameters, &measured, x, &loss_sum, &correct, stop))
        status = trib_fail(err, TRIB_AGAIN, "the evaluation was stopped");
    trib_free(x);
    if (status != TRIB_OK) return status;
    *loss = loss_sum / (double)count;
    *accuracy = trib_dataset_accuracy(dataset, trib_dataset_test(dataset), *loss, correct, count);
    return TRIB_OK;
}

enum trib_status trib_evaluate_part(const struct trib_net *net, struct trib_workspace *workspace,
                                    const struct trib_dataset *dataset, const float *parameters,
                                    const uint32_t *chosen, size_t from, size_t count, double *loss_sum,
                                    size_t *correct, struct trib_error *err) {
    enum trib_status status = trib_train_check_net(net, dataset, err);
    if (status != TRIB_OK) return status;
    const struct measured measured = {.chosen = chosen, .first = from, .end = from + count};
    TRIB_ASSERT(chosen != NULL || from + count <= trib_dataset_test(dataset)->count);
    float *x = room(workspace, dataset);
    if (x == NULL) return trib_fail(err, TRIB_NOMEM, "no memory to evaluate");
    (void)evaluate(net, workspace, dataset, parameters, &measured, x, loss_sum, correct, NULL);
    trib_free(x);
    return TRIB_OK;
}

/* ---- gradient ---- */

/* gradient += the batches' gradients, each by its share of the samples. False if stopped. */
static bool add_gradients(const struct trib_net *net, struct trib_workspace *workspace,
                          const struct trib_dataset *dataset, const float *parameters,
                          const struct measured *m, float *x, float *part, float *gradient,
                          const atomic_bool *stop) {
    struct trib_shape shape = trib_dataset_shape(dataset);
    size_t features = shape.channels * shape.height * shape.width;
    size_t max_batch = trib_workspace_max_batch(workspace), parameter_count = trib_net_parameters(net);
    for (size_t from = 0; from < m->end; from += max_batch) {
        size_t n = m->end - from < max_batch ? m->end - from : max_batch;
        if (trib_train_stopped(stop)) return false;
        fetch(dataset, m, from, n, features, x);
        trib_net_gradient(net, workspace, parameters, x, x + n * features, n, part, NULL);
        trib_kernels()->add_scaled(gradient, part, (float)n / (float)m->end, parameter_count);
    }
    return true;
}

enum trib_status trib_evaluate_gradient(const struct trib_net *net, struct trib_workspace *workspace,
                                        const struct trib_dataset *dataset, const float *parameters,
                                        uint64_t max_samples, float *gradient, const atomic_bool *stop,
                                        struct trib_error *err) {
    uint32_t chosen[TRIB_GRADIENT_SAMPLES];
    enum trib_status status = trib_train_check_net(net, dataset, err);
    if (status != TRIB_OK) return status;
    size_t all = trib_dataset_test(dataset)->count, n = trib_net_parameters(net);
    if (max_samples > 0 && max_samples < all) all = (size_t)max_samples;
    struct measured measured = {.chosen = chosen,
                                .end = all < TRIB_GRADIENT_SAMPLES ? all : TRIB_GRADIENT_SAMPLES};
    for (size_t i = 0; i < measured.end; i++) chosen[i] = (uint32_t)((uint64_t)i * all / measured.end);
    float *x = room(workspace, dataset), *part = trib_alloc_floats(n);
    memset(gradient, 0, n * sizeof *gradient);
    if (x == NULL || part == NULL)
        status = trib_fail(err, TRIB_NOMEM, "no memory for a gradient");
    else if (!add_gradients(net, workspace, dataset, parameters, &measured, x, part, gradient, stop))
        status = trib_fail(err, TRIB_AGAIN, "the gradient was stopped");
    else if (!trib_kernels()->all_finite(gradient, n))
        status = trib_fail(err, TRIB_INVALID, "the gradient of the held-out loss is not finite");
    trib_free(part);
    trib_free(x);
    return status;
}

/* ---- Fisher information ---- */

/* fisher += gradient^2 / count, sample by sample. False if stopped. */
static bool add_squares(const struct trib_net *net, struct trib_workspace *workspace,
                        const struct trib_dataset *dataset, const uint32_t *indices, size_t count,
                        const float *parameters, float *x, float *gradient, float *fisher,
                        const atomic_bool *stop) {
    const struct trib_split *split = trib_dataset_train(dataset);
    size_t n = trib_net_parameters(net);
    float share = 1.0f / (float)count;
    for (size_t i = 0; i < count; i++) {
        if (trib_train_stopped(stop)) return false;
        trib_dataset_sample(dataset, split, indices[i], x);
        const void *target = split->values != NULL ? (const void *)(split->values + indices[i])
                                                   : (const void *)(split->labels + indices[i]);
        trib_net_gradient(net, workspace, parameters, x, target, 1, gradient, NULL);
        trib_loops()->add_squares(fisher, gradient, share, n);
    }
    return true;
}

enum trib_status trib_fisher(const struct trib_net *net, struct trib_workspace *workspace,
                             const struct trib_dataset *dataset, const uint32_t *indices, size_t count,
                             const float *parameters, float *fisher, const atomic_bool *stop,
                             struct trib_error *err) {
    enum trib_status status = trib_train_check_net(net, dataset, err);
    if (status == TRIB_OK && count == 0) status = trib_fail(err, TRIB_INVALID, "no samples to look at");
    if (status != TRIB_OK) return status;
    struct trib_shape shape = trib_dataset_shape(dataset);
    float *x = trib_alloc_floats(shape.channels * shape.height * shape.width);
    float *gradient = trib_alloc_floats(trib_net_parameters(net));
    memset(fisher, 0, trib_net_parameters(net) * sizeof *fisher);
    if (x == NULL || gradient == NULL)
        status = trib_fail(err, TRIB_NOMEM, "no memory for the Fisher information");
    else if (!add_squares(net, workspace, dataset, indices, count, parameters, x, gradient, fisher, stop))
        status = trib_fail(err, TRIB_AGAIN, "the Fisher information was stopped");
    if (status == TRIB_OK && !trib_kernels()->all_finite(fisher, trib_net_parameters(net)))
        status = trib_fail(err, TRIB_INVALID, "the model's gradients are not finite on this device's data");
    trib_free(gradient);
    trib_free(x);
    return status;
}
