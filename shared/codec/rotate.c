#include "shared/codec/rotate.h"

#include "shared/base/bytes.h"
#include "shared/base/rng.h"
#include "shared/kernels/kernels.h"

#include <math.h>
#include <string.h>

enum { MOST = TRIB_CODEC_BLOCK };

/* Larger magnitudes are cut down to this, so that no sum of them overflows: the sender keeps what was lost.
 * With fewer than 2^32 values the sum of squares stays below 2^212. */
#define LARGEST 0x1p90F

const struct trib_option trib_rotate_params[TRIB_ROTATE_PARAMS] = {
    {.name = "block",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct trib_rotate_config, block),
     .fallback = "4096",
     .min = 16,
     .max = MOST,
     .help = "Values that are rotated together: a power of two."},
};

/* One rotation: n is a power of two. */
struct turn {
    uint8_t signs[MOST / 8];
    float factor;
};

static void prepare(struct turn *turn, uint32_t seed, size_t stream, size_t n) {
    struct trib_rng rng = trib_rng_seed(seed, stream);
    size_t words = (n + 63) / 64;
    for (size_t i = 0; i < words; i++) trib_put_u64(turn->signs + 8 * i, trib_rng_u64(&rng));
    turn->factor = 1.0F / sqrtf((float)n);
}

static size_t power_of_two(size_t n) {
    size_t p = 1;
    while (2 * p <= n) p *= 2;
    return p;
}

static void turn_forward(float *x, size_t n, uint32_t seed, size_t stream) {
    const struct trib_kernels *kernels = trib_kernels();
    struct turn turn;
    prepare(&turn, seed, stream, n);
    kernels->flip(x, x, turn.signs, turn.factor, n);
    kernels->hadamard(x, n);
}

static void turn_back(float *x, size_t n, uint32_t seed, size_t stream) {
    const struct trib_kernels *kernels = trib_kernels();
    struct turn turn;
    prepare(&turn, seed, stream, n);
    kernels->hadamard(x, n);
    kernels->flip(x, x, turn.signs, turn.factor, n);
}

/* The block that begins at value `first` of the vector. */
static void rotate(float *x, size_t n, uint32_t seed, size_t first) {
    size_t p = power_of_two(n);
    turn_forward(x, p, seed, 2 * first);
    if (p < n) turn_forward(x + (n - p), p, seed, 2 * first + 1);
}

static void rotate_back(float *x, size_t n, uint32_t seed, size_t first) {
    size_t p = power_of_two(n);
    if (p < n) turn_back(x + (n - p), p, seed, 2 * first + 1);
    turn_back(x, p, seed, 2 * first);
}

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* A NaN stays one: the code behind finds it. */
static void cut_down(float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (fabsf(x[i]) > LARGEST && isfinite(x[i])) x[i] = copysignf(LARGEST, x[i]);
}

static void read_rotated(void *ctx, size_t offset, size_t count, float *out) {
    const struct trib_rotation *r = ctx;
    TRIB_ASSERT(offset % MOST == 0);
    r->source->read(r->source->ctx, offset, count, out);
    float absmax = trib_kernels()->absmax(out, count);
    if (!(absmax <= LARGEST)) cut_down(out, count);
    for (size_t at = 0; at < count; at += r->block)
        rotate(out + at, least(count - at, r->block), r->seed, offset + at);
}

struct trib_source trib_rotation_source(struct trib_rotation *rotation, const struct trib_stage *stage,
                                        const struct trib_source *source, uint64_t seed, uint8_t *out) {
    const struct trib_rotate_config *config = stage->config;
    *rotation = (struct trib_rotation){source, (size_t)config->block, (uint32_t)seed};
    trib_put_u32(out, rotation->seed);
    return (struct trib_source){.read = read_rotated, .ctx = rotation, .count = source->count};
}

enum trib_status trib_rotation_check(double sum_squares, struct trib_error *err) {
    if (sum_squares <= 0x1p224) return TRIB_OK;
    return trib_fail(err, TRIB_LIMIT,
                     "rotate: a 2-norm of %g: rotated back there could be NaN or infinity among the values",
                     sqrt(sum_squares));
}

void trib_rotation_add(const struct trib_codec *codec, const uint8_t *data, size_t count, size_t first,
                       size_t n, float a, float *y) {
    const struct trib_rotate_config *config = codec->rotate.config;
    const struct trib_kernels *kernels = trib_kernels();
    const size_t block = (size_t)config->block, end = first + n;
    const uint32_t seed = trib_get_u32(data);
    float x[MOST];
    for (size_t at = first, m; at < end; at += m) {
        size_t start = at - at % block, size = least(count - start, block);
        m = least(end, start + size) - at;
        memset(x, 0, size * sizeof *x);
        codec->values.row->values->add(&codec->values, data + TRIB_ROTATE_HEAD, count, start, size, 1.0F, x);
        rotate_back(x, size, seed, start);
        kernels->add_scaled(y + (at - first), x + (at - start), a, m);
    }
}
