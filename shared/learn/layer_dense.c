/* dense: y = x W^T + b, with W [out, in]. */
#include "shared/learn/layer.h"

#include <cblas.h>
#include <string.h>

struct dense {
    uint64_t units;
};

static const struct trib_option params[] = {
    {.name = "units",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct dense, units),
     .fallback = "0",
     .min = 0,
     .max = 65536,
     .help = "outputs; 0: as many as there are classes"},
};

static enum trib_status plan(struct trib_layer *layer, struct trib_error *err) {
    const struct dense *dense = layer->config;
    size_t in = trib_shape_count(&layer->in);
    size_t out = dense->units > 0 ? (size_t)dense->units : layer->classes;
    if (out > TRIB_SCHEMA_MAX_PARAMETERS / in)
        return trib_fail(err, TRIB_LIMIT, "dense(%zu) on %zu inputs has more than %zu parameters", out, in,
                         TRIB_SCHEMA_MAX_PARAMETERS);
    layer->out = (struct trib_shape){.channels = out, .height = 1, .width = 1};
    layer->out_layout = TRIB_ROWS;
    layer->weight_rank = 2;
    layer->weight_dims[0] = out;
    layer->weight_dims[1] = in;
    layer->bias_count = out;
    layer->fan_in = in;
    return TRIB_OK;
}

static void forward(const struct trib_pass *p) {
    int n = (int)p->n, in = (int)p->layer->weight_dims[1], out = (int)p->layer->weight_dims[0];
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, out, in, 1.0f, p->in, in, p->weight, in, 0.0f,
                p->out, out);
    p->loops->add_row(p->out, p->bias, p->n, p->layer->bias_count);
}

static void backward(const struct trib_pass *p) {
    int n = (int)p->n, in = (int)p->layer->weight_dims[1], out = (int)p->layer->weight_dims[0];
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, out, in, n, 1.0f, p->d_out, out, p->in, in, 0.0f,
                p->d_weight, in);
    memset(p->d_bias, 0, p->layer->bias_count * sizeof(float));
    p->loops->sum_rows(p->d_bias, p->d_out, p->n, p->layer->bias_count);
    if (p->d_in != NULL)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, in, out, 1.0f, p->d_out, out, p->weight, in,
                    0.0f, p->d_in, in);
}

const struct trib_layer_kind trib_layer_dense = {
    .row = {.name = "dense",
            .summary = "every output a weighted sum of all inputs",
            .example = "dense(200)",
            .params = params,
            .param_count = sizeof params / sizeof params[0]},
    .prefix = "fc",
    .config_bytes = sizeof(struct dense),
    .rows_only = true,
    .plan = plan,
    .forward = forward,
    .backward = backward,
};
