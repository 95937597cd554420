/* glyphs: digits drawn from strokes, each under a random affine map, with a random pen and some noise. No
 * files, any number, for load tests. Only +, -, *, / and square roots, so the images are the same everywhere.
 */
#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "shared/learn/dataset_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SIDE = 28, PIXELS = SIDE * SIDE, DIGITS = 10, MAX_POINTS = 10, SEED = 7919 };

struct config {
    uint64_t count;
};

static const struct trib_option params[] = {
    {.name = "count",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct config, count),
     .fallback = "60000",
     .min = 10,
     .max = TRIB_DATASET_MAX_IMAGES,
     .help = "training images; there is a sixth as many test images"},
};

struct point {
    float x, y;
};

/* Each digit is one line through these points, in a box of -1..1, y down. */
static const struct {
    size_t count;
    struct point points[MAX_POINTS];
} digits[DIGITS] = {
    {9,
     {{0, -1}, {.5f, -.7f}, {.65f, 0}, {.5f, .7f}, {0, 1}, {-.5f, .7f}, {-.65f, 0}, {-.5f, -.7f}, {0, -1}}},
    {3, {{-.4f, -.6f}, {.1f, -1}, {.1f, 1}}},
    {7, {{-.55f, -.6f}, {-.2f, -1}, {.35f, -.9f}, {.5f, -.45f}, {.1f, .2f}, {-.6f, 1}, {.65f, 1}}},
    {9,
     {{-.5f, -.9f},
      {.2f, -1},
      {.5f, -.6f},
      {.3f, -.15f},
      {-.1f, 0},
      {.4f, .15f},
      {.6f, .6f},
      {.2f, 1},
      {-.55f, .85f}}},
    {4, {{.35f, 1}, {.35f, -1}, {-.65f, .35f}, {.7f, .35f}}},
    {8,
     {{.55f, -1}, {-.4f, -1}, {-.5f, -.15f}, {.1f, -.25f}, {.55f, .15f}, {.5f, .7f}, {0, 1}, {-.55f, .8f}}},
    {9,
     {{.4f, -1},
      {-.2f, -.6f},
      {-.55f, .1f},
      {-.5f, .7f},
      {0, 1},
      {.5f, .7f},
      {.5f, .25f},
      {0, 0},
      {-.5f, .35f}}},
    {3, {{-.6f, -1}, {.6f, -1}, {-.15f, 1}}},
    {10,
     {{0, 0},
      {-.5f, -.35f},
      {-.35f, -.9f},
      {.35f, -.9f},
      {.5f, -.35f},
      {-.55f, .45f},
      {-.3f, 1},
      {.35f, 1},
      {.6f, .5f},
      {0, 0}}},
    {8,
     {{.5f, -.4f},
      {.3f, -.9f},
      {-.3f, -.95f},
      {-.55f, -.5f},
      {-.3f, -.05f},
      {.3f, -.1f},
      {.5f, -.4f},
      {.25f, 1}}},
};

static float between(struct trib_rng *rng, float low, float high) {
    return low + (high - low) * ((float)(trib_rng_u64(rng) >> 40) * 0x1p-24f);
}

/* Squared distance of (x, y) to the segment a-b. */
static float distance2(float x, float y, struct point a, struct point b) {
    float dx = b.x - a.x, dy = b.y - a.y, along = dx * dx + dy * dy;
    float t = along > 0.0f ? ((x - a.x) * dx + (y - a.y) * dy) / along : 0.0f;
    t = t < 0.0f ? 0.0f : t > 1.0f ? 1.0f : t;
    float ex = x - (a.x + t * dx), ey = y - (a.y + t * dy);
    return ex * ex + ey * ey;
}

/* Inks the pixels around one stroke; the edge of the pen is one pixel wide. */
static void stroke(float *ink, struct point a, struct point b, float pen) {
    float left = fminf(a.x, b.x) - pen - 1.0f, right = fmaxf(a.x, b.x) + pen + 1.0f;
    float top = fminf(a.y, b.y) - pen - 1.0f, bottom = fmaxf(a.y, b.y) + pen + 1.0f;
    for (int y = top > 0.0f ? (int)top : 0; y < SIDE && (float)y <= bottom; y++)
        for (int x = left > 0.0f ? (int)left : 0; x < SIDE && (float)x <= right; x++) {
            float edge = pen + 0.5f - sqrtf(distance2((float)x, (float)y, a, b));
            float dark = edge < 0.0f ? 0.0f : edge > 1.0f ? 1.0f : edge;
            if (dark > ink[y * SIDE + x]) ink[y * SIDE + x] = dark;
        }
}

static void draw(uint8_t *pixels, size_t digit, struct trib_rng *rng) {
    float ink[PIXELS] = {0};
    float xx = between(rng, 5.5f, 10.0f), yy = between(rng, 7.0f, 10.5f), slant = between(rng, -4.0f, 2.5f),
          tilt = between(rng, -2.0f, 2.0f), x0 = between(rng, 11.5f, 15.5f), y0 = between(rng, 12.0f, 15.0f),
          pen = between(rng, 0.6f, 1.7f), light = between(rng, 200.0f, 255.0f);
    struct point mapped[MAX_POINTS];
    for (size_t i = 0; i < digits[digit].count; i++) {
        struct point p = digits[digit].points[i];
        p.x += between(rng, -0.13f, 0.13f);
        p.y += between(rng, -0.13f, 0.13f);
        mapped[i] = (struct point){x0 + xx * p.x + slant * p.y, y0 + tilt * p.x + yy * p.y};
    }
    for (size_t i = 1; i < digits[digit].count; i++) stroke(ink, mapped[i - 1], mapped[i], pen);
    for (size_t i = 0; i < PIXELS; i++) {
        float noise = between(rng, 0.0f, 12.0f);
        pixels[i] = (uint8_t)(ink[i] * (light - 12.0f) + noise);
    }
}

static enum trib_status fill(struct trib_split *split, size_t count, uint64_t stream,
                             struct trib_error *err) {
    uint8_t *images = trib_alloc_array(count, PIXELS), *labels = trib_alloc_array(count, 1);
    split->images = images;
    split->labels = labels;
    split->count = count;
    if (images == NULL || labels == NULL)
        return trib_fail(err, TRIB_NOMEM, "no memory for %zu glyphs; ask for fewer", count);
    for (size_t i = 0; i < count; i++) {
        struct trib_rng rng = trib_rng_seed(SEED + stream, i);
        labels[i] = (uint8_t)trib_rng_below(&rng, DIGITS);
        draw(images + i * PIXELS, labels[i], &rng);
    }
    return TRIB_OK;
}

static enum trib_status open_glyphs(struct trib_dataset *dataset, const char *name, const void *config,
                                    const char *path, struct trib_error *err) {
    (void)name;
    (void)path;
    size_t count = (size_t)((const struct config *)config)->count;
    dataset->shape = (struct trib_shape){.channels = 1, .height = SIDE, .width = SIDE};
    dataset->classes = DIGITS;
    dataset->mean = 0.16f;
    dataset->std = 0.31f;
    (void)snprintf(dataset->source, sizeof dataset->source, "%zu generated digits", count);
    enum trib_status status = fill(&dataset->train, count, 0, err);
    return status == TRIB_OK ? fill(&dataset->test, count / 6 > 10 ? count / 6 : 10, 1, err) : status;
}

const struct trib_dataset_kind trib_dataset_glyphs = {
    .row = {.name = "glyphs",
            .summary = "generated digits, strokes under random affine maps, 28x28, 10 classes",
            .params = params,
            .param_count = sizeof params / sizeof params[0]},
    .config_bytes = sizeof(struct config),
    .open = open_glyphs,
};
