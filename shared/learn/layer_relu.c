/* relu: y = max(x, 0); works in place. */
#include "shared/learn/layer.h"

static enum trib_status plan(struct trib_layer *layer, struct trib_error *err) {
    (void)err;
    layer->out = layer->in;
    layer->out_layout = layer->in_layout;
    return TRIB_OK;
}

static void forward(const struct trib_pass *p) {
    p->loops->relu(p->out, p->in, p->n * trib_shape_count(&p->layer->out));
}

/* In place: d_in is d_out. */
static void backward(const struct trib_pass *p) {
    p->loops->relu_back(p->d_out, p->out, p->n * trib_shape_count(&p->layer->out));
}

const struct trib_layer_kind trib_layer_relu = {
    .row = {.name = "relu", .summary = "negative values become 0", .example = "relu"},
    .in_place = true,
    .plan = plan,
    .forward = forward,
    .backward = backward,
};
