/* dense: y = x W^T + b, with W [out, in]. */
#include "shared/learn/gemm.h"
#include "shared/learn/layer.h"

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
    layer->scratch_fixed = out; /* the bias's gradient */
    return TRIB_OK;
}

static void forward(const struct trib_pass *p) {
    size_t in = p->layer->weight_dims[1], out = p->layer->weight_dims[0];
    trib_gemm(&(struct trib_gemm){
        .a_form = 'N',
        .b_form = 'T',
        .m = p->n,
        .n = out,
        .k = in,
        .a = p->in,
        .a_stride = in,
        .b = p->weight,
        .b_stride = in,
        .c = p->out,
        .c_stride = out,
        .alpha = 1.0f,
        /* not the longest: with 16 outputs the whole of B stays in the first-level cache */
        .n_piece = 16 * p->n * in <= p->small ? 16 : 0});
    p->loops->add_row(p->out, p->bias, p->n, out);
}

static void give_input(const struct trib_pass *p, size_t in, size_t out) {
    trib_gemm(&(struct trib_gemm){.a_form = 'N',
                                  .b_form = 'N',
                                  .m = p->n,
                                  .n = in,
                                  .k = out,
                                  .a = p->d_out,
                                  .a_stride = out,
                                  .b = p->weight,
                                  .b_stride = in,
                                  .c = p->d_in,
                                  .c_stride = in,
                                  .alpha = 1.0f,
                                  .n_piece = 64 * p->n * out <= p->small ? 64 : 0});
}

static void backward(const struct trib_pass *p) {
    size_t in = p->layer->weight_dims[1], out = p->layer->weight_dims[0];
    float *d_bias = p->scratch;
    if (p->d_in != NULL) give_input(p, in, out);
    trib_gemm(&(struct trib_gemm){.a_form = 'T',
                                  .b_form = 'N',
                                  .m = out,
                                  .n = in,
                                  .k = p->n,
                                  .a = p->d_out,
                                  .a_stride = out,
                                  .b = p->in,
                                  .b_stride = in,
                                  .c = p->d_weight,
                                  .c_stride = in,
                                  .alpha = p->alpha,
                                  .beta = p->beta,
                                  .n_piece = trib_gemm_piece(p->small, in, p->n * out, 64)});
    memset(d_bias, 0, out * sizeof *d_bias);
    p->loops->sum_rows(d_bias, p->d_out, p->n, out);
    trib_pass_give(p, p->d_bias, d_bias, out);
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
