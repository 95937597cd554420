/* embedding: each input, the number of a symbol, becomes a row of W [symbols, size]: out [inputs][size]. */
#include "shared/learn/layer.h"

#include <string.h>

struct embedding {
    uint64_t size, symbols;
};

static const struct trib_option params[] = {
    {.name = "size",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct embedding, size),
     .fallback = "8",
     .min = 1,
     .max = 4096,
     .help = "numbers that stand for a symbol"},
    {.name = "symbols",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct embedding, symbols),
     .fallback = "0",
     .min = 0,
     .max = 65536,
     .help = "symbols; 0: as many as there are classes. Inputs are rounded and brought into the range"},
};

static enum trib_status plan(struct trib_layer *layer, struct trib_error *err) {
    const struct embedding *config = layer->config;
    size_t length = trib_shape_count(&layer->in), size = (size_t)config->size;
    if (length > 4096)
        return trib_fail(err, TRIB_LIMIT, "embedding on %zu inputs; the limit is 4096", length);
    layer->out = (struct trib_shape){.channels = 1, .height = length, .width = size};
    layer->out_layout = TRIB_ROWS;
    layer->weight_rank = 2;
    layer->weight_dims[0] = config->symbols > 0 ? (size_t)config->symbols : layer->classes;
    layer->weight_dims[1] = size;
    layer->fan_in = size;
    return TRIB_OK;
}

static size_t symbol(const struct trib_pass *p, size_t i) {
    size_t last = p->layer->weight_dims[0] - 1;
    if (!(p->in[i] > 0.0f)) return 0;
    return p->in[i] >= (float)last ? last : (size_t)(p->in[i] + 0.5f);
}

static void forward(const struct trib_pass *p) {
    size_t length = p->n * p->layer->out.height, size = p->layer->weight_dims[1];
    for (size_t i = 0; i < length; i++)
        memcpy(p->out + i * size, p->weight + symbol(p, i) * size, size * sizeof *p->out);
}

static void backward(const struct trib_pass *p) {
    size_t length = p->n * p->layer->out.height, size = p->layer->weight_dims[1];
    if (!(p->beta > 0.0f)) memset(p->d_weight, 0, p->layer->weight_dims[0] * size * sizeof *p->d_weight);
    for (size_t i = 0; i < length; i++) {
        float *d = p->d_weight + symbol(p, i) * size;
        for (size_t j = 0; j < size; j++) d[j] += p->alpha * p->d_out[i * size + j];
    }
    /* a symbol's number has no slope */
    if (p->d_in != NULL) memset(p->d_in, 0, length * sizeof *p->d_in);
}

const struct trib_layer_kind trib_layer_embedding = {
    .row = {.name = "embedding",
            .summary = "a learnt vector for each symbol",
            .example = "embedding(8)",
            .params = params,
            .param_count = sizeof params / sizeof params[0]},
    .prefix = "embedding",
    .config_bytes = sizeof(struct embedding),
    .rows_only = true,
    .plan = plan,
    .forward = forward,
    .backward = backward,
};
