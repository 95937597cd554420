/* threshold(times): the magnitudes that are at least so many times the root mean square, and at least the
 * largest one. How many these are depends on the values.
 *
 * randomk(fraction): one value of each of k equal stretches, drawn by lot: value i of the k stands between
 * i * n / k and (i + 1) * n / k. The positions follow from a seed and cost nothing. */
#include "shared/codec/codec_row.h"

#include "shared/base/alloc.h"
#include "shared/base/bytes.h"
#include "shared/base/rng.h"
#include "shared/kernels/kernels.h"

#include <math.h>

const struct trib_option trib_threshold_params[TRIB_THRESHOLD_PARAMS] = {
    {.name = "times",
     .type = TRIB_OPT_F64,
     .offset = offsetof(struct trib_threshold_config, times),
     .fallback = "3",
     .min = 0.001,
     .max = 1000,
     .help = "Values of at least so many times the root mean square are kept, and the largest one."},
};

static size_t all(const struct trib_stage *stage, size_t count) {
    (void)stage;
    return count;
}

/* The bits of the smallest magnitude that is kept, 0 for none; false if a value is not finite. */
static bool find_bar(const struct trib_source *source, double times, uint32_t *bar) {
    float room[TRIB_CODEC_BLOCK], most = 0.0F;
    double squares = 0.0;
    for (size_t at = 0, n; at < source->count; at += n) {
        const float *block = trib_source_block(source, at, room, &n);
        float absmax = trib_kernels()->absmax(block, n);
        if (isnan(absmax)) return false;
        if (absmax > most) most = absmax;
        squares += trib_kernels()->sum_squares(block, n);
    }
    double least = source->count > 0 ? times * sqrt(squares / (double)source->count) : 0.0;
    float rounded = least < (double)most ? (float)least : most;
    *bar = trib_f32_bits(rounded < most ? rounded : most);
    return true;
}

static bool make_room(struct trib_kept *kept, size_t *room) {
    if (kept->count + TRIB_CODEC_BLOCK + 16 <= *room) return true;
    size_t more = 2 * *room + TRIB_CODEC_BLOCK + 16;
    uint32_t *positions = trib_realloc(kept->positions, more * sizeof *positions);
    if (positions != NULL) kept->positions = positions;
    float *values = positions != NULL ? trib_realloc(kept->values, more * sizeof *values) : NULL;
    if (values != NULL) kept->values = values;
    if (values == NULL) return false;
    *room = more;
    return true;
}

static enum trib_status choose_above(const struct trib_stage *stage, const struct trib_source *source,
                                     uint64_t seed, struct trib_kept *out, struct trib_error *err) {
    (void)seed;
    const struct trib_threshold_config *config = stage->config;
    float space[TRIB_CODEC_BLOCK];
    uint32_t bar = 0;
    size_t room = 0;
    if (!find_bar(source, config->times, &bar)) return trib_codec_not_finite("threshold", err);
    for (size_t at = 0, n; at < source->count; at += n) {
        const float *block = trib_source_block(source, at, space, &n);
        if (bar == 0) continue; /* nothing but zeros */
        if (!make_room(out, &room))
            return trib_fail(err, TRIB_NOMEM, "threshold: no memory for what is kept");
        out->count += trib_kernels()->collect(out->positions + out->count, out->values + out->count, block,
                                              bar, (uint32_t)at, n);
    }
    return TRIB_OK;
}

const struct trib_codec_select trib_codec_threshold = {all, false, choose_above, NULL, false};

/* ---- by lot ---- */

static size_t position(uint64_t seed, size_t index, size_t kept, size_t count) {
    const uint64_t first = (uint64_t)index * count / kept, next = ((uint64_t)index + 1) * count / kept;
    const uint64_t lot = trib_mix64(trib_mix64((uint32_t)seed) + index) >> 32;
    return (size_t)(first + (lot * (next - first) >> 32));
}

static enum trib_status choose_random(const struct trib_stage *stage, const struct trib_source *source,
                                      uint64_t seed, struct trib_kept *out, struct trib_error *err) {
    float room[TRIB_CODEC_BLOCK];
    const size_t k = trib_codec_topk.most(stage, source->count);
    out->positions = trib_alloc_array(k, sizeof *out->positions);
    out->values = trib_alloc_array(k, sizeof *out->values);
    if (out->positions == NULL || out->values == NULL)
        return trib_fail(err, TRIB_NOMEM, "randomk: no memory for %zu values", k);
    for (size_t at = 0, n; at < source->count; at += n) {
        const float *block = trib_source_block(source, at, room, &n);
        if (!trib_kernels()->all_finite(block, n)) return trib_codec_not_finite("randomk", err);
        for (size_t p; out->count < k; out->count++) {
            p = position(seed, out->count, k, source->count);
            if (p >= at + n) break;
            out->positions[out->count] = (uint32_t)p;
            out->values[out->count] = block[p - at];
        }
    }
    TRIB_ASSERT(out->count == k);
    return TRIB_OK;
}

static size_t random_most(const struct trib_stage *stage, size_t count) {
    return trib_codec_topk.most(stage, count);
}

const struct trib_codec_select trib_codec_randomk = {random_most, true, choose_random, position, false};
