#include "shared/learn/local.h"

#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "shared/kernels/kernels.h"

#include <string.h>

enum { PIECE = 256 /* samples worked on at once, where a step takes all of them */ };

/* ---- room ---- */

static size_t model_size(const struct trib_local *local) {
    return local->task->schema.model_parameters;
}

/* The device's vector, of zeros if it has none yet; NULL when memory runs out. */
static float *memory_of(struct trib_local *local, enum trib_local_memory which) {
    if (local->memory[which] == NULL) local->memory[which] = trib_alloc_floats(model_size(local));
    return local->memory[which];
}

static bool copy_memory(struct trib_local *local, const float *const *memory) {
    size_t n = model_size(local);
    for (size_t i = 0; memory != NULL && i < TRIB_LOCAL_MAX; i++) {
        if (memory[i] == NULL) continue;
        if ((local->memory[i] = trib_alloc_floats(n)) == NULL) return false;
        memcpy(local->memory[i], memory[i], n * sizeof *memory[i]);
    }
    return true;
}

struct trib_local *trib_local_new(const struct trib_task *task, const float *G, const float *const *memory) {
    size_t n = task->schema.parameters;
    struct trib_local *local = trib_alloc(sizeof *local);
    if (local == NULL) return NULL;
    local->task = task;
    local->G = trib_alloc_floats(n);
    local->difference = trib_alloc_floats(n);
    if (local->G == NULL || local->difference == NULL || !copy_memory(local, memory)) {
        trib_local_free(&local);
        return NULL;
    }
    memcpy(local->G, G, n * sizeof *G);
    return local;
}

void trib_local_free(struct trib_local **local) {
    if (*local == NULL) return;
    trib_free((*local)->G);
    trib_free((*local)->difference);
    for (size_t i = 0; i < TRIB_LOCAL_MAX; i++) trib_free((*local)->memory[i]);
    trib_free(*local);
    *local = NULL;
}

enum trib_status trib_local_workspace(const struct trib_task *task, struct trib_workspace **out,
                                      struct trib_error *err) {
    size_t batch = task->train.batch > 0 ? (size_t)task->train.batch : PIECE;
    return trib_workspace_new(task->net, batch < TRIB_NET_MAX_BATCH ? batch : TRIB_NET_MAX_BATCH, out, err);
}

static enum trib_status no_memory(const struct trib_local *local, struct trib_error *err) {
    return trib_fail(err, TRIB_NOMEM, "no memory for what device %zu keeps of %zu parameters", local->device,
                     model_size(local));
}

/* ---- what is trained with ---- */

/* As many samples as fit into train.deadline, by what the last ones took, and one batch at least; one epoch
 * where nothing was measured yet. */
static void limit_time(const struct trib_local *local, size_t count, struct trib_train_options *options) {
    if (local->task->deadline_ms == 0) return;
    uint64_t most = count, batch = options->batch > 0 && options->batch < count ? options->batch : count;
    if (local->sample_ms > 0.0) {
        double fit = (double)local->task->deadline_ms / local->sample_ms;
        most = fit < 1e15 ? (uint64_t)fit : (uint64_t)1e15;
    }
    if (most < batch) most = batch;
    if (options->max_samples == 0 || most < options->max_samples) options->max_samples = most;
}

static struct trib_train_options options_of(const struct trib_local *local, size_t count) {
    const struct trib_task *task = local->task;
    struct trib_train_options options = task->train;
    options.lr = trib_train_lr(&task->train, local->version);
    options.seed = trib_mix64(task->seed ^ trib_mix64((uint64_t)local->device << 32 | local->turn));
    options.flip_labels = local->flip_labels;
    if (local->most_epochs > 0 && local->most_epochs < options.epochs) options.epochs = local->most_epochs;
    limit_time(local, count, &options);
    return options;
}

/* EWC's anchor: the first model held from the named version on. Before it there is no penalty. */
static enum trib_status anchor(struct trib_local *local, struct trib_workspace *workspace,
                               const uint32_t *indices, size_t count, struct trib_train_options *options,
                               const atomic_bool *stop, struct trib_error *err) {
    const struct trib_task *task = local->task;
    enum trib_status status = TRIB_OK;
    if (!(options->ewc > 0.0)) return TRIB_OK;
    if (local->memory[TRIB_LOCAL_ANCHOR] == NULL && local->version >= task->ewc_version) {
        float *w = memory_of(local, TRIB_LOCAL_ANCHOR), *fisher = memory_of(local, TRIB_LOCAL_FISHER);
        if (w == NULL || fisher == NULL) return no_memory(local, err);
        memcpy(w, local->G, model_size(local) * sizeof *w);
        status = trib_fisher(task->net, workspace, task->dataset, indices, count, w, fisher, stop, err);
    }
    options->anchor = local->memory[TRIB_LOCAL_ANCHOR];
    options->fisher = local->memory[TRIB_LOCAL_FISHER];
    if (options->anchor == NULL || options->fisher == NULL) options->ewc = 0.0;
    return status;
}

/* SCAFFOLD: every gradient g becomes g - c_i + c. c stands behind the model in G, and so is the one of that
 * version. */
static enum trib_status correction(struct trib_local *local, float **out, struct trib_train_options *options,
                                   struct trib_error *err) {
    size_t n = model_size(local);
    if (local->task->algorithm != TRIB_ALGORITHM_SCAFFOLD) return TRIB_OK;
    const float *c_i = memory_of(local, TRIB_LOCAL_VARIATE);
    *out = trib_alloc_floats(n);
    if (c_i == NULL || *out == NULL) return no_memory(local, err);
    memcpy(*out, local->G + n, n * sizeof **out);
    trib_kernels()->add_scaled(*out, c_i, -1.0f, n);
    options->correction = *out;
    return TRIB_OK;
}

/* ---- what is given back ---- */

/* Option II (Karimireddy et al. 2020, arXiv 1910.06378, algorithm 1): c_i+ = c_i - c + (x - y) / (K eta),
 * with
 * ||a||_1 in the place of K: x - y = eta sum a_t (g_t - c_i + c), so c_i+ is the mean of the gradients g_t
 * weighted by a also with momentum or mu; without them it is K. The control part of the difference is (c_i+ -
 * c_i) / N. */
static void renew_variate(struct trib_local *local, double way, double lr) {
    const struct trib_kernels *k = trib_kernels();
    size_t n = model_size(local);
    const float *c = local->G + n;
    float *step = local->difference + n, *c_i = local->memory[TRIB_LOCAL_VARIATE];
    memset(step, 0, n * sizeof *step);
    k->add_scaled(step, c, -1.0f, n);
    if (way * lr > 0.0) k->add_scaled(step, local->difference, (float)(-1.0 / (way * lr)), n);
    k->add_scaled(c_i, step, 1.0f, n);
    k->scale(step, (float)(1.0 / (double)local->task->devices), n);
}

/* AREA (arXiv 2405.10123): the model is the mean of what all devices trained last, weighted by their samples;
 * a device sends its share of the change of its own. Before its first update that is version 0. */
static enum trib_status residual(struct trib_local *local, struct trib_error *err) {
    const struct trib_kernels *k = trib_kernels();
    size_t n = model_size(local);
    bool first = local->memory[TRIB_LOCAL_LAST] == NULL;
    float *last = memory_of(local, TRIB_LOCAL_LAST), *difference = local->difference;
    if (last == NULL) return no_memory(local, err);
    if (first) trib_schema_draw(&local->task->schema, local->task->seed, last);
    for (size_t i = 0; i < n; i++) {
        float trained = difference[i];
        difference[i] -= last[i];
        last[i] = trained;
    }
    k->scale(difference, (float)((double)local->weight / (double)local->task->total_samples), n);
    return TRIB_OK;
}

/* m <- beta m + (1 - beta) d is what is sent (Karimireddy, He, Jaggi 2021, arXiv 2012.10333). */
static enum trib_status smooth(struct trib_local *local, struct trib_error *err) {
    const struct trib_kernels *k = trib_kernels();
    size_t n = model_size(local);
    float beta = (float)local->task->worker_momentum, *m = memory_of(local, TRIB_LOCAL_MOMENTUM);
    if (m == NULL) return no_memory(local, err);
    k->scale(m, beta, n);
    k->add_scaled(m, local->difference, 1.0f - beta, n);
    memcpy(local->difference, m, n * sizeof *m);
    return TRIB_OK;
}

/* `difference` holds what was trained. */
static enum trib_status give_back(struct trib_local *local, const struct trib_train_result *result,
                                  size_t count, double lr, struct trib_error *err) {
    const struct trib_task *task = local->task;
    local->samples = result->samples;
    local->weight = count;
    local->steps = (float)result->path;
    local->loss = (float)result->loss;
    if (task->algorithm == TRIB_ALGORITHM_AREA) return residual(local, err);
    trib_kernels()->add_scaled(local->difference, local->G, -1.0f, model_size(local));
    if (task->algorithm == TRIB_ALGORITHM_SCAFFOLD) renew_variate(local, result->path, lr);
    return task->worker_momentum > 0.0 ? smooth(local, err) : TRIB_OK;
}

enum trib_status trib_local_train(struct trib_local *local, struct trib_workspace *workspace,
                                  const atomic_bool *stop, struct trib_error *err) {
    const struct trib_task *task = local->task;
    size_t count;
    const uint32_t *indices;
    struct trib_train_result result;
    float *corrected = NULL, *trained = local->difference;
    trib_partition_indices(task->partition, local->device, &indices, &count);
    struct trib_train_options options = options_of(local, count);
    memcpy(trained, local->G, model_size(local) * sizeof *trained);
    enum trib_status status = anchor(local, workspace, indices, count, &options, stop, err);
    if (status == TRIB_OK) status = correction(local, &corrected, &options, err);
    if (status == TRIB_OK)
        status = trib_train(task->net, workspace, task->dataset, indices, count, &options, trained, &result,
                            stop, err);
    if (status == TRIB_OK) status = give_back(local, &result, count, options.lr, err);
    trib_free(corrected);
    return status;
}
