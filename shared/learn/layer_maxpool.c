/* maxpool: the largest of each size x size square; what is left over at the right and below is dropped. The
 * gradient goes to the first of the largest, found again by comparing: nothing is kept. */
#include "shared/learn/layer.h"

#include <string.h>

struct maxpool {
    uint64_t size;
};

static const struct trib_option params[] = {
    {.name = "size",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct maxpool, size),
     .fallback = "2",
     .min = 2,
     .max = 16,
     .help = "width and height of the square, in pixels"},
};

static enum trib_status plan(struct trib_layer *layer, struct trib_error *err) {
    const struct maxpool *pool = layer->config;
    size_t size = (size_t)pool->size;
    if (size > layer->in.height || size > layer->in.width)
        return trib_fail(err, TRIB_INVALID, "maxpool(%zu) does not fit on an image of %zux%zu", size,
                         layer->in.height, layer->in.width);
    layer->out = (struct trib_shape){
        .channels = layer->in.channels, .height = layer->in.height / size, .width = layer->in.width / size};
    layer->out_layout = TRIB_BANDS;
    return TRIB_OK;
}

/* One output band with its input bands. */
struct bands {
    size_t size, lines, width, out_width; /* lines: channels * n image rows in a band */
    struct trib_strides in;
    size_t n;
};

static struct bands bands_of(const struct trib_pass *p) {
    const struct maxpool *pool = p->layer->config;
    return (struct bands){.size = (size_t)pool->size,
                          .lines = p->layer->in.channels * p->n,
                          .width = p->layer->in.width,
                          .out_width = p->layer->out.width,
                          .in = trib_strides(&p->layer->in, p->layer->in_layout, p->n),
                          .n = p->n};
}

/* Where image row `line` (channel * n + sample) of input row y stands. */
static size_t line_at(const struct bands *b, size_t y, size_t line) {
    return y * b->in.row + line / b->n * b->in.channel + line % b->n * b->in.sample;
}

/* Even widths in BANDS: the lines of a band are one run of pairs. */
static bool is_run(const struct trib_pass *p, const struct bands *b) {
    return b->size == 2 && p->layer->in_layout == TRIB_BANDS && b->width % 2 == 0;
}

static void pool_line(const struct bands *b, const float *in, size_t row, float *out) {
    for (size_t x = 0; x < b->out_width; x++) {
        const float *corner = in + x * b->size;
        float most = corner[0];
        for (size_t i = 0; i < b->size; i++)
            for (size_t j = 0; j < b->size; j++) {
                float v = corner[i * row + j];
                most = v > most ? v : most;
            }
        out[x] = most;
    }
}

static void forward(const struct trib_pass *p) {
    struct bands b = bands_of(p);
    size_t out_band = b.lines * b.out_width;
    for (size_t y = 0; y < p->layer->out.height; y++) {
        float *out = p->out + y * out_band;
        if (is_run(p, &b)) {
            const float *in = p->in + 2 * y * b.in.row;
            p->loops->pool2(out, in, in + b.in.row, out_band);
            continue;
        }
        for (size_t l = 0; l < b.lines; l++)
            pool_line(&b, p->in + line_at(&b, y * b.size, l), b.in.row, out + l * b.out_width);
    }
}

static void back_line(const struct bands *b, const float *in, size_t row, const float *out,
                      const float *d_out, float *d_in) {
    for (size_t x = 0; x < b->out_width; x++) {
        float left = d_out[x];
        for (size_t i = 0; i < b->size; i++)
            for (size_t j = 0; j < b->size; j++) {
                size_t at = x * b->size + i * row + j;
                if (in[at] != out[x]) continue;
                d_in[at] = left;
                left = 0.0f;
            }
    }
}

static void backward(const struct trib_pass *p) {
    if (p->d_in == NULL) return;
    struct bands b = bands_of(p);
    size_t out_band = b.lines * b.out_width, height = p->layer->out.height;
    bool run = is_run(p, &b), whole = run && p->layer->in.height % 2 == 0;
    if (!whole) memset(p->d_in, 0, p->n * trib_shape_count(&p->layer->in) * sizeof *p->d_in);
    for (size_t y = 0; y < height; y++) {
        const float *out = p->out + y * out_band, *d_out = p->d_out + y * out_band;
        size_t at = b.size * y * b.in.row;
        if (run) {
            p->loops->pool2_back(p->d_in + at, p->d_in + at + b.in.row, p->in + at, p->in + at + b.in.row,
                                 out, d_out, out_band);
            continue;
        }
        for (size_t l = 0; l < b.lines; l++) {
            at = line_at(&b, y * b.size, l);
            back_line(&b, p->in + at, b.in.row, out + l * b.out_width, d_out + l * b.out_width, p->d_in + at);
        }
    }
}

const struct trib_layer_kind trib_layer_maxpool = {
    .row = {.name = "maxpool",
            .summary = "the largest value of each square",
            .example = "maxpool(2)",
            .params = params,
            .param_count = sizeof params / sizeof params[0]},
    .config_bytes = sizeof(struct maxpool),
    .plan = plan,
    .forward = forward,
    .backward = backward,
};
