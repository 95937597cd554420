/* gru: Cho et al. 2014, with the reset gate behind the product as PyTorch and cuDNN have it. The input's rows
 * are the steps, x_t one row; from h = 0: r = sigma(x W_r + h U_r + b_r)        z = sigma(x W_z + h U_z +
 * b_z) q = h U_n + b_q                       c = tanh(x W_n + b_n + r * q) h' = (1 - z) * c + z * h weight [3
 * H, I + H] is PyTorch's weight_ih beside its weight_hh; bias is r, z, n, q, 4 H. All steps' products with x
 * are one product before the steps, as are their gradients behind them.
 *
 * keep, for n samples of T steps:  states [n][T + 1][H], the first 0;  gates [n][T][4 H]: r z c q, and in
 * backward the gradients of what goes into them;  products [n][3 H] with h of one step. */
#include "shared/learn/gemm.h"
#include "shared/learn/layer.h"

#include <math.h>
#include <string.h>

struct gru {
    uint64_t units;
    bool steps;
};

static const struct trib_option params[] = {
    {.name = "units",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct gru, units),
     .fallback = "64",
     .min = 1,
     .max = 4096,
     .help = "size of the state"},
    {.name = "steps",
     .type = TRIB_OPT_BOOL,
     .offset = offsetof(struct gru, steps),
     .fallback = "false",
     .help = "put out the state of every step, for another gru behind it; else the last one"},
};

struct sizes {
    size_t steps, in, units, row; /* row: of a weight, in + units */
    float *states, *gates, *products;
};

static struct sizes sizes_of(const struct trib_pass *p) {
    const struct trib_layer *layer = p->layer;
    struct sizes s = {.steps = layer->in.channels * layer->in.height, .in = layer->in.width};
    s.row = layer->weight_dims[1];
    s.units = s.row - s.in;
    s.states = p->keep;
    s.gates = s.states + p->n * (s.steps + 1) * s.units;
    s.products = s.gates + p->n * s.steps * 4 * s.units;
    return s;
}

static enum trib_status plan(struct trib_layer *layer, struct trib_error *err) {
    const struct gru *config = layer->config;
    size_t steps = layer->in.channels * layer->in.height, in = layer->in.width, units = (size_t)config->units;
    if (steps > 4096) return trib_fail(err, TRIB_LIMIT, "gru over %zu steps; the limit is 4096", steps);
    layer->out = config->steps ? (struct trib_shape){.channels = 1, .height = steps, .width = units}
                               : (struct trib_shape){.channels = units, .height = 1, .width = 1};
    layer->out_layout = TRIB_ROWS;
    layer->weight_rank = 2;
    layer->weight_dims[0] = 3 * units;
    layer->weight_dims[1] = in + units;
    layer->bias_count = 4 * units;
    layer->fan_in = units;
    layer->keep_each = ((steps + 1) + 4 * steps + 3) * units;
    layer->scratch_each = units;      /* the gradient of a state */
    layer->scratch_fixed = 4 * units; /* the bias's */
    return TRIB_OK;
}

static float sigma(float x) {
    return 1.0f / (1.0f + expf(-x));
}

/* One step of one sample: `x` is its products with x and becomes r z c q, `u` its products with h. */
static void step_forward(float *x, const float *u, const float *b, const float *h, float *next, size_t H) {
    for (size_t i = 0; i < H; i++) {
        float r = sigma(x[i] + u[i] + b[i]), z = sigma(x[H + i] + u[H + i] + b[H + i]);
        float q = u[2 * H + i] + b[3 * H + i], c = tanhf(x[2 * H + i] + b[2 * H + i] + r * q);
        next[i] = (1.0f - z) * c + z * h[i];
        x[i] = r;
        x[H + i] = z;
        x[2 * H + i] = c;
        x[3 * H + i] = q;
    }
}

static void forward(const struct trib_pass *p) {
    struct sizes s = sizes_of(p);
    size_t H = s.units, T = s.steps;
    bool all = ((const struct gru *)p->layer->config)->steps;
    trib_gemm(&(struct trib_gemm){.a_form = 'N',
                                  .b_form = 'T',
                                  .m = p->n * T,
                                  .n = 3 * H,
                                  .k = s.in,
                                  .a = p->in,
                                  .a_stride = s.in,
                                  .b = p->weight,
                                  .b_stride = s.row,
                                  .c = s.gates,
                                  .c_stride = 4 * H,
                                  .alpha = 1.0f});
    for (size_t i = 0; i < p->n; i++) memset(s.states + i * (T + 1) * H, 0, H * sizeof(float));
    for (size_t t = 0; t < T; t++) {
        trib_gemm(&(struct trib_gemm){.a_form = 'N',
                                      .b_form = 'T',
                                      .m = p->n,
                                      .n = 3 * H,
                                      .k = H,
                                      .a = s.states + t * H,
                                      .a_stride = (T + 1) * H,
                                      .b = p->weight + s.in,
                                      .b_stride = s.row,
                                      .c = s.products,
                                      .c_stride = 3 * H,
                                      .alpha = 1.0f});
        for (size_t i = 0; i < p->n; i++) {
            float *h = s.states + (i * (T + 1) + t) * H;
            step_forward(s.gates + (i * T + t) * 4 * H, s.products + i * 3 * H, p->bias, h, h + H, H);
        }
    }
    for (size_t i = 0; i < p->n; i++) {
        const float *states = s.states + (i * (T + 1) + (all ? 1 : T)) * H;
        memcpy(p->out + i * (all ? T : 1) * H, states, (all ? T : 1) * H * sizeof(float));
    }
}

/* From the gradient `d` of a step's new state: `g`, r z c q, becomes the gradients of what goes into r, z, c
 * and of q; d becomes the part of the old state's that does not go through the products. */
static void step_backward(float *g, const float *h, float *d, size_t H) {
    for (size_t i = 0; i < H; i++) {
        float r = g[i], z = g[H + i], c = g[2 * H + i], q = g[3 * H + i];
        float dc = d[i] * (1.0f - z) * (1.0f - c * c);
        g[i] = dc * q * r * (1.0f - r);
        g[H + i] = d[i] * (h[i] - c) * z * (1.0f - z);
        g[2 * H + i] = dc;
        g[3 * H + i] = dc * r;
        d[i] *= z;
    }
}

/* d += g U, for the r and z parts together and the n part. */
static void through_products(const struct trib_pass *p, const struct sizes *s, const float *g, float *d) {
    size_t H = s->units;
    for (int part = 0; part < 2; part++)
        trib_gemm(&(struct trib_gemm){.a_form = 'N',
                                      .b_form = 'N',
                                      .m = p->n,
                                      .n = H,
                                      .k = part == 0 ? 2 * H : H,
                                      .a = g + (part == 0 ? 0 : 3 * H),
                                      .a_stride = s->steps * 4 * H,
                                      .b = p->weight + s->in + (part == 0 ? 0 : 2 * H * s->row),
                                      .b_stride = s->row,
                                      .c = d,
                                      .c_stride = H,
                                      .alpha = 1.0f,
                                      .beta = 1.0f});
}

/* The weights' gradients from those in the gates: W's in one product, U's step by step. */
static void give_weights(const struct trib_pass *p, const struct sizes *s) {
    size_t H = s->units, T = s->steps;
    trib_gemm(&(struct trib_gemm){.a_form = 'T',
                                  .b_form = 'N',
                                  .m = 3 * H,
                                  .n = s->in,
                                  .k = p->n * T,
                                  .a = s->gates,
                                  .a_stride = 4 * H,
                                  .b = p->in,
                                  .b_stride = s->in,
                                  .c = p->d_weight,
                                  .c_stride = s->row,
                                  .alpha = p->alpha,
                                  .beta = p->beta});
    for (size_t t = 0; t < T; t++)
        for (int part = 0; part < 2; part++)
            trib_gemm(&(struct trib_gemm){.a_form = 'T',
                                          .b_form = 'N',
                                          .m = part == 0 ? 2 * H : H,
                                          .n = H,
                                          .k = p->n,
                                          .a = s->gates + t * 4 * H + (part == 0 ? 0 : 3 * H),
                                          .a_stride = T * 4 * H,
                                          .b = s->states + t * H,
                                          .b_stride = (T + 1) * H,
                                          .c = p->d_weight + s->in + (part == 0 ? 0 : 2 * H * s->row),
                                          .c_stride = s->row,
                                          .alpha = p->alpha,
                                          .beta = t == 0 ? p->beta : 1.0f});
}

static void backward(const struct trib_pass *p) {
    struct sizes s = sizes_of(p);
    size_t H = s.units, T = s.steps;
    bool all = ((const struct gru *)p->layer->config)->steps;
    float *d_bias = p->scratch, *d = p->scratch + 4 * H;
    memset(d, 0, p->n * H * sizeof *d);
    for (size_t t = T; t-- > 0;) {
        for (size_t i = 0; i < p->n; i++) {
            const float *from = p->d_out + (all ? i * T + t : i) * H;
            for (size_t j = 0; j < H && (all || t + 1 == T); j++) d[i * H + j] += from[j];
            step_backward(s.gates + (i * T + t) * 4 * H, s.states + (i * (T + 1) + t) * H, d + i * H, H);
        }
        if (t > 0) through_products(p, &s, s.gates + t * 4 * H, d);
    }
    if (p->d_in != NULL)
        trib_gemm(&(struct trib_gemm){.a_form = 'N',
                                      .b_form = 'N',
                                      .m = p->n * T,
                                      .n = s.in,
                                      .k = 3 * H,
                                      .a = s.gates,
                                      .a_stride = 4 * H,
                                      .b = p->weight,
                                      .b_stride = s.row,
                                      .c = p->d_in,
                                      .c_stride = s.in,
                                      .alpha = 1.0f});
    give_weights(p, &s);
    memset(d_bias, 0, 4 * H * sizeof *d_bias);
    p->loops->sum_rows(d_bias, s.gates, p->n * T, 4 * H);
    trib_pass_give(p, p->d_bias, d_bias, 4 * H);
}

const struct trib_layer_kind trib_layer_gru = {
    .row = {.name = "gru",
            .summary = "gated recurrent units over the rows of the input",
            .example = "gru(64)",
            .params = params,
            .param_count = sizeof params / sizeof params[0]},
    .prefix = "gru",
    .config_bytes = sizeof(struct gru),
    .rows_only = true,
    .plan = plan,
    .forward = forward,
    .backward = backward,
};
