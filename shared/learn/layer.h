/* What a kind of layer provides. Private to shared/learn: adding a kind is one .c with a trib_layer_kind, and
 * one line in layers.c.
 *
 * Activations have one of two layouts for n samples:
 *   ROWS   [n][channels][height][width]: what a sample is outside, and what dense layers multiply
 *   BANDS  [height][channels][n][width]: what convolutions and pooling work on. A band, one image row of all
 *          channels and samples, is contiguous, so that a convolution is one product a band over the whole
 *          batch and pooling runs over whole bands. */
#ifndef TRIB_LEARN_LAYER_H
#define TRIB_LEARN_LAYER_H

#include "shared/learn/loops.h"
#include "shared/learn/net.h"

#include <stdbool.h>

enum trib_layout { TRIB_ROWS, TRIB_BANDS };

/* A layer in a net. `plan` fills what stands below `given`. */
struct trib_layer {
    /* given */
    const struct trib_layer_kind *kind;
    void *config; /* the kind's options, owned; NULL if it has none */
    struct trib_shape in;
    enum trib_layout in_layout;
    size_t classes;
    /* planned */
    struct trib_shape out;
    enum trib_layout out_layout;
    size_t weight_dims[4], weight_rank; /* rank 0: no parameters */
    size_t bias_count;                  /* 0: no bias */
    size_t fan_in;
    size_t keep_each;     /* floats a sample kept from forward to backward */
    size_t scratch_each;  /* floats a sample of scratch in backward */
    size_t scratch_fixed; /* floats of scratch in forward and backward, whatever the batch */
    /* by the net */
    char name[32];
    size_t weight_offset, weight_count, bias_offset;
};

/* One pass of one layer over n samples. */
struct trib_pass {
    const struct trib_layer *layer;
    const struct trib_loops *loops;
    size_t small; /* trib_gemm_small() */
    size_t n;
    const float *weight, *bias; /* of the layer */
    const float *in;
    float *out;
    float *keep;
    float *scratch; /* scratch_fixed + n * scratch_each floats; scratch_fixed in forward */
    /* backward only */
    float *d_out; /* may be overwritten */
    float *d_in;  /* NULL where nobody needs it; may be d_out for an in_place kind */
    /* Where the parameters' gradient g goes: d = alpha g + beta d. Either alpha 1, beta 0 into a gradient; or
     * alpha -lr, beta 1 into the parameters themselves, which saves writing and reading a gradient: then
     * weight and bias change under the layer, which must have d_in first. */
    float *d_weight, *d_bias;
    float alpha, beta;
};

struct trib_layer_kind {
    struct trib_layer_row row;
    const char *prefix;  /* of names of layers with parameters */
    size_t config_bytes; /* of the options' struct */
    bool in_place;       /* out may be in: forward and backward need `out` only */
    bool rows_only;      /* takes ROWS; a flatten goes before it where there are BANDS */
    /* Checks the input's shape and fills the layer's plan. */
    enum trib_status (*plan)(struct trib_layer *layer, struct trib_error *err);
    void (*forward)(const struct trib_pass *pass);
    /* d_in and the parameters' gradients from d_out, and from in, out and keep as forward left them (in and
     * out are as the in_place layers behind them left them). */
    void (*backward)(const struct trib_pass *pass);
};

/* A loss on the outputs of n samples, ROWS. `targets` as in net.h. */
struct trib_loss_kind {
    struct trib_layer_row row;
    /* Returns the sum of the samples' losses; `d_out` (may be NULL) gets the gradient of their mean. */
    double (*apply)(const float *out, const void *targets, size_t n, size_t classes, float *d_out);
};

extern const struct trib_layer_kind trib_layer_dense, trib_layer_conv, trib_layer_relu, trib_layer_maxpool,
    trib_layer_flatten, trib_layer_embedding, trib_layer_gru;
extern const struct trib_loss_kind trib_loss_cross_entropy, trib_loss_mse;

const struct trib_layer_kind *trib_layer_find(const char *name, size_t bytes);
const struct trib_loss_kind *trib_loss_find(const char *name, size_t bytes);
/* Fills err with the nearest name or all of them. */
enum trib_status trib_layer_unknown(const char *name, size_t bytes, struct trib_error *err);

static inline size_t trib_shape_count(const struct trib_shape *shape) {
    return shape->channels * shape->height * shape->width;
}

/* d = alpha g + beta d for a short g; beta is 0 or 1. */
static inline void trib_pass_give(const struct trib_pass *p, float *d, const float *g, size_t n) {
    for (size_t i = 0; i < n; i++) d[i] = p->alpha * g[i] + (p->beta > 0.0f ? d[i] : 0.0f);
}

/* Where element (channel, row, sample, column) stands: at the sum of each times its stride, columns 1. */
struct trib_strides {
    size_t channel, row, sample;
};
struct trib_strides trib_strides(const struct trib_shape *shape, enum trib_layout layout, size_t n);

#endif
