/* conv: two-dimensional convolution, stride 1, as matrix products without a full im2col.
 *
 * The input is lowered along the width only: band y of L holds, for each (channel, kx), the image row y of
 * all samples, shifted by kx: L [height + 2 pad][channels * kernel][n * out_width] The kernel rows that
 * output band y needs are L's bands y .. y + kernel - 1, which stand one behind the other: one matrix of
 * kernel * channels * kernel rows. So an output band is one sgemm of the weights with a window of L, windows
 * overlap, and nothing is copied for the height. A window of a usual batch fits in the second-level cache.
 * After Cho and Brand, "MEC: memory-efficient convolution for deep neural network" (2017); the layout with
 * the sample inside the band is ours. */
#include "shared/learn/gemm.h"
#include "shared/learn/layer.h"

#include <string.h>

struct conv {
    uint64_t channels, kernel;
    char *padding;
};

static const char *const paddings[] = {"valid", "same", NULL};
static const struct trib_option params[] = {
    {.name = "channels",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct conv, channels),
     .fallback = "8",
     .min = 1,
     .max = 4096,
     .help = "output channels"},
    {.name = "kernel",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct conv, kernel),
     .fallback = "3",
     .min = 1,
     .max = 31,
     .help = "width and height of the kernel, in pixels"},
    {.name = "padding",
     .type = TRIB_OPT_CHOICE,
     .offset = offsetof(struct conv, padding),
     .fallback = "valid",
     .choices = paddings,
     .help = "valid: only where the whole kernel lies on the image; same: zeros around, so that the image "
             "keeps its size (odd kernels)"},
};

/* The sizes of one pass, for short formulas. */
struct sizes {
    size_t n, c, h, w;      /* input */
    size_t oc, oh, ow;      /* output */
    size_t k, pad;          /* kernel */
    size_t s;               /* n * ow: columns of a band */
    size_t rows;            /* c * k: rows of a band of L */
    size_t window;          /* k * c * k: rows of a window */
    size_t bands;           /* h + 2 pad */
    struct trib_strides in; /* of the input */
};

static size_t padding_of(const struct trib_layer *layer) {
    const struct conv *conv = layer->config;
    return strcmp(conv->padding, "same") == 0 ? (size_t)conv->kernel / 2 : 0;
}

static struct sizes sizes_of(const struct trib_layer *layer, size_t n) {
    const struct conv *conv = layer->config;
    struct sizes z = {.n = n,
                      .c = layer->in.channels,
                      .h = layer->in.height,
                      .w = layer->in.width,
                      .oc = layer->out.channels,
                      .oh = layer->out.height,
                      .ow = layer->out.width,
                      .k = (size_t)conv->kernel,
                      .pad = padding_of(layer)};
    z.s = n * z.ow;
    z.rows = z.c * z.k;
    z.window = z.k * z.rows;
    z.bands = z.h + 2 * z.pad;
    z.in = trib_strides(&layer->in, layer->in_layout, n);
    return z;
}

static enum trib_status plan(struct trib_layer *layer, struct trib_error *err) {
    const struct conv *conv = layer->config;
    size_t k = (size_t)conv->kernel, pad = padding_of(layer), c = layer->in.channels;
    if (pad > 0 && k % 2 == 0)
        return trib_fail(err, TRIB_INVALID, "conv with padding=same needs an odd kernel, not %zu", k);
    if (k > layer->in.height + 2 * pad || k > layer->in.width + 2 * pad)
        return trib_fail(err, TRIB_INVALID, "conv with kernel %zu does not fit on an image of %zux%zu", k,
                         layer->in.height, layer->in.width);
    layer->out = (struct trib_shape){.channels = (size_t)conv->channels,
                                     .height = layer->in.height + 2 * pad - k + 1,
                                     .width = layer->in.width + 2 * pad - k + 1};
    layer->out_layout = TRIB_BANDS;
    layer->weight_rank = 4;
    layer->weight_dims[0] = layer->out.channels;
    layer->weight_dims[1] = c;
    layer->weight_dims[2] = layer->weight_dims[3] = k;
    layer->bias_count = layer->out.channels;
    layer->fan_in = c * k * k;
    layer->keep_each = (layer->in.height + 2 * pad) * c * k * layer->out.width; /* L */
    layer->scratch_each = layer->keep_each;                                     /* its gradient */
    /* the weights and their gradient, repacked, and the bias's gradient */
    layer->scratch_fixed = 2 * layer->out.channels * c * k * k + layer->out.channels;
    return TRIB_OK;
}

/* The weights [oc][c][ky][kx] in the order of a window's rows: [oc][ky][c][kx]. */
static void pack_weights(const struct sizes *z, const float *weight, float *packed) {
    for (size_t o = 0; o < z->oc; o++)
        for (size_t ky = 0; ky < z->k; ky++)
            for (size_t c = 0; c < z->c; c++)
                for (size_t kx = 0; kx < z->k; kx++)
                    *packed++ = weight[((o * z->c + c) * z->k + ky) * z->k + kx];
}

/* The other way for the gradient, which is computed as [ky][c][kx][oc]. */
static void give_gradient(const struct trib_pass *p, const struct sizes *z, const float *packed) {
    for (size_t ky = 0; ky < z->k; ky++)
        for (size_t c = 0; c < z->c; c++)
            for (size_t kx = 0; kx < z->k; kx++)
                for (size_t o = 0; o < z->oc; o++)
                    trib_pass_give(p, p->d_weight + ((o * z->c + c) * z->k + ky) * z->k + kx, packed++, 1);
}

/* Output columns [from, from + count) take input columns [at, at + count) for kernel column kx. */
struct span {
    size_t from, at, count;
};
static struct span span_of(const struct sizes *z, size_t kx) {
    size_t from = kx < z->pad ? z->pad - kx : 0;
    size_t end = kx < z->w + z->pad ? z->w + z->pad - kx : 0; /* behind the columns that lie on the image */
    if (end > z->ow) end = z->ow;
    return (struct span){.from = from, .at = from + kx - z->pad, .count = end > from ? end - from : 0};
}

static void lower_band(const struct trib_pass *p, const struct sizes *z, size_t y, float *band) {
    bool outside = y < z->pad || y >= z->h + z->pad;
    if (outside || z->pad > 0) memset(band, 0, z->rows * z->s * sizeof *band);
    if (outside) return;
    const float *image = p->in + (y - z->pad) * z->in.row;
    for (size_t kx = 0; kx < z->k; kx++) {
        struct span span = span_of(z, kx);
        for (size_t c = 0; c < z->c; c++)
            p->loops->copy_rows(band + (c * z->k + kx) * z->s + span.from, z->ow,
                                image + c * z->in.channel + span.at, z->in.sample, z->n, span.count);
    }
}

static void clear_row(const struct sizes *z, float *image) {
    if (z->in.row == z->c * z->n * z->w) { /* BANDS: it is one piece */
        memset(image, 0, z->in.row * sizeof *image);
        return;
    }
    for (size_t c = 0; c < z->c; c++)
        for (size_t i = 0; i < z->n; i++)
            memset(image + c * z->in.channel + i * z->in.sample, 0, z->w * sizeof *image);
}

/* The adjoint: the gradient of a band of L goes back to its image row. */
static void raise_band(const struct trib_pass *p, const struct sizes *z, size_t y, const float *band) {
    float *image = p->d_in + (y - z->pad) * z->in.row;
    clear_row(z, image);
    for (size_t kx = 0; kx < z->k; kx++) {
        struct span span = span_of(z, kx);
        for (size_t c = 0; c < z->c; c++)
            p->loops->add_rows(image + c * z->in.channel + span.at, z->in.sample,
                               band + (c * z->k + kx) * z->s + span.from, z->ow, z->n, span.count);
    }
}

static void forward(const struct trib_pass *p) {
    struct sizes z = sizes_of(p->layer, p->n);
    size_t band = z.rows * z.s;
    float *packed = p->scratch;
    pack_weights(&z, p->weight, packed);
    for (size_t y = 0; y + 1 < z.k; y++) lower_band(p, &z, y, p->keep + y * band);
    for (size_t y = 0; y < z.oh; y++) {
        lower_band(p, &z, y + z.k - 1, p->keep + (y + z.k - 1) * band);
        float *out = p->out + y * z.oc * z.s;
        trib_gemm(&(struct trib_gemm){.a_form = 'N',
                                      .b_form = 'N',
                                      .m = z.oc,
                                      .n = z.s,
                                      .k = z.window,
                                      .a = packed,
                                      .a_stride = z.window,
                                      .b = p->keep + y * band,
                                      .b_stride = z.s,
                                      .c = out,
                                      .c_stride = z.s,
                                      .alpha = 1.0f,
                                      .n_piece = trib_gemm_piece(p->small, z.s, z.oc * z.window, 16)});
        p->loops->add_each(out, p->bias, z.oc, z.s);
    }
}

/* Adds output band y's share to the gradient of the weights and the bias. */
static void add_weights(const struct trib_pass *p, const struct sizes *z, size_t y, float *d_packed,
                        float *d_bias) {
    const float *d_out = p->d_out + y * z->oc * z->s;
    /* Short sums gain nothing from being cut. */
    bool cut = z->s >= 256 && z->window * z->oc * z->s > p->small && 16 * z->oc * z->s <= p->small;
    trib_gemm(&(struct trib_gemm){.a_form = 'N',
                                  .b_form = 'T',
                                  .m = z->window,
                                  .n = z->oc,
                                  .k = z->s,
                                  .a = p->keep + y * z->rows * z->s,
                                  .a_stride = z->s,
                                  .b = d_out,
                                  .b_stride = z->s,
                                  .c = d_packed,
                                  .c_stride = z->oc,
                                  .alpha = 1.0f,
                                  .beta = y > 0 ? 1.0f : 0.0f,
                                  .m_piece = cut ? 16 : 0});
    p->loops->sum_each(d_bias, d_out, z->oc, z->s);
}

/* Adds output band y's share to the gradient of L's window, then gives the image rows that are complete. */
static void add_input(const struct trib_pass *p, const struct sizes *z, size_t y, const float *packed,
                      float *lowered) {
    size_t band = z->rows * z->s;
    memset(lowered + (y + z->k - 1) * band, 0, band * sizeof *lowered);
    trib_gemm(&(struct trib_gemm){.a_form = 'T',
                                  .b_form = 'N',
                                  .m = z->window,
                                  .n = z->s,
                                  .k = z->oc,
                                  .a = packed,
                                  .a_stride = z->window,
                                  .b = p->d_out + y * z->oc * z->s,
                                  .b_stride = z->s,
                                  .c = lowered + y * band,
                                  .c_stride = z->s,
                                  .alpha = 1.0f,
                                  .beta = 1.0f,
                                  .m_piece = trib_gemm_piece(p->small, z->window, z->s * z->oc, 32)});
    size_t end = y + 1 < z->oh ? y + 1 : z->bands;
    for (size_t done = y; done < end; done++)
        if (done >= z->pad && done < z->h + z->pad) raise_band(p, z, done, lowered + done * band);
}

static void backward(const struct trib_pass *p) {
    struct sizes z = sizes_of(p->layer, p->n);
    size_t weights = z.oc * z.window;
    float *packed = p->scratch, *d_packed = packed + weights, *d_bias = d_packed + weights,
          *lowered = d_bias + z.oc;
    memset(d_bias, 0, z.oc * sizeof *d_bias);
    if (p->d_in != NULL) {
        pack_weights(&z, p->weight, packed);
        memset(lowered, 0, (z.k - 1) * z.rows * z.s * sizeof *lowered);
    }
    for (size_t y = 0; y < z.oh; y++) {
        add_weights(p, &z, y, d_packed, d_bias);
        if (p->d_in != NULL) add_input(p, &z, y, packed, lowered);
    }
    give_gradient(p, &z, d_packed);
    trib_pass_give(p, p->d_bias, d_bias, z.oc);
}

const struct trib_layer_kind trib_layer_conv = {
    .row = {.name = "conv",
            .summary = "two-dimensional convolution, stride 1",
            .example = "conv(12, 5, padding=same)",
            .params = params,
            .param_count = sizeof params / sizeof params[0]},
    .prefix = "conv",
    .config_bytes = sizeof(struct conv),
    .plan = plan,
    .forward = forward,
    .backward = backward,
};
