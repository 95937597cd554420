/* The passes of a net over a batch, and the workspace that they work in. */
#include "shared/base/alloc.h"
#include "shared/learn/net_internal.h"

#include <string.h>

struct trib_workspace {
    const struct trib_net *net;
    size_t max_batch;
    float *memory; /* one block; the pointers below point into it */
    size_t floats;
    float *out[MAX_PLANNED]; /* each layer's output; an in_place layer's is the one before it */
    float *keep[MAX_PLANNED];
    float *gradient[2]; /* of a layer's output and input, taking turns */
    float *scratch;
};

static size_t most(size_t a, size_t b) {
    return a > b ? a : b;
}

/* Takes `count` floats, in whole cache lines; with no memory yet, only counts them. */
static float *carve(struct trib_workspace *w, size_t count) {
    float *at = w->memory != NULL ? w->memory + w->floats : NULL;
    w->floats += (count + 15) / 16 * 16;
    return at;
}

static bool is_in_place(const struct trib_net *net, size_t i) {
    return i > 0 && net->layers[i].kind->in_place;
}

static void lay_out(struct trib_workspace *w) {
    const struct trib_net *net = w->net;
    size_t widest = 0, scratch = 0;
    w->floats = 0;
    for (size_t i = 0; i < net->layer_count; i++) {
        const struct trib_layer *layer = &net->layers[i];
        size_t out = w->max_batch * trib_shape_count(&layer->out);
        widest = most(widest, out);
        scratch = most(scratch, layer->scratch_fixed + w->max_batch * layer->scratch_each);
        w->out[i] = is_in_place(net, i) ? w->out[i - 1] : carve(w, out);
        w->keep[i] = carve(w, w->max_batch * layer->keep_each);
    }
    w->gradient[0] = carve(w, widest);
    w->gradient[1] = carve(w, widest);
    w->scratch = carve(w, scratch);
}

/* BLAS counts in int. */
static enum trib_status check_batch(const struct trib_net *net, size_t max_batch, struct trib_error *err) {
    if (max_batch == 0 || max_batch > TRIB_NET_MAX_BATCH)
        return trib_fail(err, TRIB_INVALID, "a batch of %zu samples; 1 to %d are possible", max_batch,
                         TRIB_NET_MAX_BATCH);
    for (size_t i = 0; i < net->layer_count; i++)
        if (net->layers[i].out.width > (size_t)INT32_MAX / max_batch)
            return trib_fail(err, TRIB_LIMIT, "a batch of %zu samples is too large for this model",
                             max_batch);
    return TRIB_OK;
}

enum trib_status trib_workspace_new(const struct trib_net *net, size_t max_batch, struct trib_workspace **out,
                                    struct trib_error *err) {
    enum trib_status status = check_batch(net, max_batch, err);
    if (status != TRIB_OK) return status;
    struct trib_workspace *w = trib_alloc(sizeof *w);
    if (w == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a workspace");
    w->net = net;
    w->max_batch = max_batch;
    lay_out(w);
    w->memory = trib_alloc_floats(w->floats);
    if (w->memory == NULL) {
        status = trib_fail(err, TRIB_NOMEM, "no memory for a workspace of %zu MiB; take smaller batches",
                           w->floats * sizeof(float) >> 20);
        trib_free(w);
        return status;
    }
    lay_out(w);
    *out = w;
    return TRIB_OK;
}

void trib_workspace_free(struct trib_workspace **workspace) {
    struct trib_workspace *w = *workspace;
    *workspace = NULL;
    if (w == NULL) return;
    trib_free(w->memory);
    trib_free(w);
}

size_t trib_workspace_max_batch(const struct trib_workspace *workspace) {
    return workspace->max_batch;
}

static struct trib_pass pass_of(const struct trib_net *net, const struct trib_workspace *w, size_t i,
                                const float *parameters, const float *x, size_t n) {
    const struct trib_layer *layer = &net->layers[i];
    return (struct trib_pass){.layer = layer,
                              .loops = net->loops,
                              .small = net->small,
                              .n = n,
                              .weight = parameters + layer->weight_offset,
                              .bias = parameters + layer->bias_offset,
                              .in = i > 0 ? w->out[i - 1] : x,
                              .out = w->out[i],
                              .keep = w->keep[i],
                              .scratch = w->scratch};
}

const float *trib_net_forward(const struct trib_net *net, struct trib_workspace *workspace,
                              const float *parameters, const float *x, size_t batch) {
    TRIB_ASSERT(workspace->net == net && batch > 0 && batch <= workspace->max_batch);
    for (size_t i = 0; i < net->layer_count; i++) {
        struct trib_pass pass = pass_of(net, workspace, i, parameters, x, batch);
        pass.layer->kind->forward(&pass);
    }
    return workspace->out[net->layer_count - 1];
}

static size_t count_correct(const float *out, const uint8_t *labels, size_t n, size_t classes) {
    size_t correct = 0;
    for (size_t r = 0; r < n; r++, out += classes) {
        size_t best = 0;
        for (size_t i = 1; i < classes; i++)
            if (out[i] > out[best]) best = i;
        correct += best == labels[r];
    }
    return correct;
}

/* The loss of what forward left, and its gradient if `d_out` is not NULL. */
static void apply_loss(const struct trib_net *net, const float *out, const void *targets, size_t batch,
                       float *d_out, struct trib_batch_result *result) {
    const uint8_t *labels = net->classes > 1 ? targets : NULL;
    for (size_t i = 0; i < batch && labels != NULL; i++) TRIB_ASSERT(labels[i] < net->classes);
    double sum = net->loss->apply(out, targets, batch, net->classes, d_out);
    if (result == NULL) return;
    result->loss = sum / (double)batch;
    result->correct = labels == NULL ? 0 : count_correct(out, labels, batch, net->classes);
}

void trib_net_loss(const struct trib_net *net, struct trib_workspace *workspace, const float *parameters,
                   const float *x, const void *targets, size_t batch, struct trib_batch_result *result) {
    const float *out = trib_net_forward(net, workspace, parameters, x, batch);
    apply_loss(net, out, targets, batch, NULL, result);
}

/* Backward from the loss's gradient, in gradient[0]: d = alpha g + beta d for all parameters. */
static void go_back(const struct trib_net *net, const struct trib_workspace *w, const float *parameters,
                    const float *x, size_t batch, float *d, float alpha, float beta) {
    float *d_out = w->gradient[0], *d_in = w->gradient[1];
    for (size_t i = net->layer_count; i-- > net->first_trained;) {
        struct trib_pass pass = pass_of(net, w, i, parameters, x, batch);
        bool in_place = is_in_place(net, i);
        pass.d_out = d_out;
        pass.d_in = i == net->first_trained ? NULL : in_place ? d_out : d_in;
        pass.d_weight = d + pass.layer->weight_offset;
        pass.d_bias = d + pass.layer->bias_offset;
        pass.alpha = alpha;
        pass.beta = beta;
        pass.layer->kind->backward(&pass);
        if (in_place) continue;
        float *turn = d_out;
        d_out = d_in;
        d_in = turn;
    }
}

void trib_net_gradient(const struct trib_net *net, struct trib_workspace *workspace, const float *parameters,
                       const float *x, const void *targets, size_t batch, float *gradient,
                       struct trib_batch_result *result) {
    const float *out = trib_net_forward(net, workspace, parameters, x, batch);
    apply_loss(net, out, targets, batch, workspace->gradient[0], result);
    go_back(net, workspace, parameters, x, batch, gradient, 1.0f, 0.0f);
}

void trib_net_step(const struct trib_net *net, struct trib_workspace *workspace, float *parameters,
                   const float *x, const void *targets, size_t batch, float lr,
                   struct trib_batch_result *result) {
    const float *out = trib_net_forward(net, workspace, parameters, x, batch);
    apply_loss(net, out, targets, batch, workspace->gradient[0], result);
    go_back(net, workspace, parameters, x, batch, parameters, -lr, 1.0f);
}
