#include "shared/learn/augment.h"

#include <math.h>
#include <stdbool.h>

static const float most_radians = 0.17453293f; /* 10 degrees */
static const float most_shift = 0.1f;

static float symmetric(struct trib_rng *rng) {
    return (float)(trib_rng_unit(rng) * 2.0 - 1.0);
}

struct trib_move trib_move_draw(struct trib_rng *rng, const struct trib_shape *shape) {
    struct trib_move move;
    move.radians = symmetric(rng) * most_radians;
    move.right = symmetric(rng) * most_shift * (float)shape->width;
    move.down = symmetric(rng) * most_shift * (float)shape->height;
    return move;
}

static float pixel(const uint8_t *image, const struct trib_shape *shape, int x, int y) {
    bool inside = x >= 0 && y >= 0 && x < (int)shape->width && y < (int)shape->height;
    return inside ? (float)image[(size_t)y * shape->width + (size_t)x] : 0.0f;
}

static uint8_t sample(const uint8_t *image, const struct trib_shape *shape, float x, float y) {
    float left = floorf(x), top = floorf(y), fx = x - left, fy = y - top;
    int ix = (int)left, iy = (int)top;
    float above = pixel(image, shape, ix, iy) * (1.0f - fx) + pixel(image, shape, ix + 1, iy) * fx;
    float below = pixel(image, shape, ix, iy + 1) * (1.0f - fx) + pixel(image, shape, ix + 1, iy + 1) * fx;
    return (uint8_t)(above * (1.0f - fy) + below * fy + 0.5f);
}

/* For each pixel of the result, where it came from: the inverse of rotate, then shift. y grows downwards. */
void trib_move_apply(const struct trib_move *move, const struct trib_shape *shape, const uint8_t *in,
                     uint8_t *out) {
    float c = cosf(move->radians), s = sinf(move->radians);
    float mx = ((float)shape->width - 1.0f) / 2.0f, my = ((float)shape->height - 1.0f) / 2.0f;
    size_t area = shape->height * shape->width;
    for (size_t y = 0; y < shape->height; y++)
        for (size_t x = 0; x < shape->width; x++) {
            float dx = (float)x - mx - move->right, dy = (float)y - my - move->down;
            float sx = mx + c * dx - s * dy, sy = my + s * dx + c * dy;
            for (size_t ch = 0; ch < shape->channels; ch++)
                out[ch * area + y * shape->width + x] = sample(in + ch * area, shape, sx, sy);
        }
}
