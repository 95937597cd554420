/* Augmentation of an image: rotated by up to 10 degrees about its middle and shifted by up to 10% of its
 * size, bilinear, black where nothing was. Private to shared/learn. */
#ifndef TRIB_LEARN_AUGMENT_H
#define TRIB_LEARN_AUGMENT_H

#include "shared/base/rng.h"
#include "shared/learn/net.h"

struct trib_move {
    float radians;     /* counterclockwise as seen */
    float right, down; /* pixels */
};

/* Uniform within the bounds. */
struct trib_move trib_move_draw(struct trib_rng *rng, const struct trib_shape *shape);
/* All channels of one image; `out` may not be `in`. Rounds to the nearest byte. */
void trib_move_apply(const struct trib_move *move, const struct trib_shape *shape, const uint8_t *in,
                     uint8_t *out);

#endif
