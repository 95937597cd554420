/* What net.c builds and pass.c runs. Private to shared/learn. */
#ifndef TRIB_LEARN_NET_INTERNAL_H
#define TRIB_LEARN_NET_INTERNAL_H

#include "shared/learn/layer.h"

enum { MAX_PLANNED = 2 * TRIB_NET_MAX_LAYERS + 1 /* with the flattens */ };

struct trib_net {
    struct trib_shape input;
    size_t classes;
    size_t layer_count;
    struct trib_layer layers[MAX_PLANNED];
    size_t first_trained; /* the first layer with parameters: nothing before it needs a gradient */
    const struct trib_loss_kind *loss;
    const struct trib_loops *loops;
    size_t small; /* trib_gemm_small() */
    size_t parameters;
};

#endif
