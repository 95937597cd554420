/* flatten: BANDS to ROWS. Not a spec of its own; the net puts it where a dense layer or the loss needs it. */
#include "shared/learn/layer.h"

static enum trib_status plan(struct trib_layer *layer, struct trib_error *err) {
    (void)err;
    layer->out = layer->in;
    layer->out_layout = TRIB_ROWS;
    return TRIB_OK;
}

static void move(const struct trib_pass *p, float *to, struct trib_strides to_at, const float *from,
                 struct trib_strides from_at) {
    struct trib_shape shape = p->layer->in;
    for (size_t y = 0; y < shape.height; y++)
        for (size_t c = 0; c < shape.channels; c++)
            p->loops->copy_rows(to + y * to_at.row + c * to_at.channel, to_at.sample,
                                from + y * from_at.row + c * from_at.channel, from_at.sample, p->n,
                                shape.width);
}

static void forward(const struct trib_pass *p) {
    move(p, p->out, trib_strides(&p->layer->in, TRIB_ROWS, p->n), p->in,
         trib_strides(&p->layer->in, TRIB_BANDS, p->n));
}

static void backward(const struct trib_pass *p) {
    if (p->d_in != NULL)
        move(p, p->d_in, trib_strides(&p->layer->in, TRIB_BANDS, p->n), p->d_out,
             trib_strides(&p->layer->in, TRIB_ROWS, p->n));
}

const struct trib_layer_kind trib_layer_flatten = {
    .row = {.name = "flatten", .summary = "image to vector", .example = "flatten"},
    .plan = plan,
    .forward = forward,
    .backward = backward,
};
