/* topk(fraction): the k largest magnitudes; of equal ones the lower positions.
 *
 * The selection is exact, takes one pass over the source and room for 2k candidates: whatever can still be
 * among the k largest is collected, and when the room is full, all but the k best of it are dropped, which
 * raises the bar for the rest. Each time at least k go, so all of that costs O(n). To find the k best, the
 * bits of a magnitude, read as a number, are ordered as magnitudes are: a radix selection, eleven and twice
 * ten bits at a time. */
#include "shared/codec/codec_row.h"

#include "shared/base/alloc.h"
#include "shared/base/bytes.h"
#include "shared/kernels/kernels.h"

#include <math.h>
#include <string.h>

enum { FIRST_DIGIT_BITS = 11, DIGITS = 3, ROOM = TRIB_CODEC_BLOCK, OVERHANG = 16 };

const struct trib_option trib_topk_params[TRIB_TOPK_PARAMS] = {
    {.name = "fraction",
     .type = TRIB_OPT_F64,
     .offset = offsetof(struct trib_topk_config, fraction),
     .fallback = "0.05",
     .min = 0.000001,
     .max = 1.0,
     .help = "The part of the values that is kept: the largest magnitudes, at least one."},
};

static size_t kept_of(const struct trib_stage *stage, size_t count) {
    const struct trib_topk_config *config = stage->config;
    double k = ceil(config->fraction * (double)count);
    if (count == 0) return 0;
    if (k < 1.0) return 1;
    return k < (double)count ? (size_t)k : count;
}

static uint32_t magnitude_bits(float x) {
    return trib_f32_bits(x) & 0x7FFFFFFFU;
}

static const struct digit {
    unsigned shift, bits;
} digits[DIGITS] = {{20, FIRST_DIGIT_BITS}, {10, 10}, {0, 10}};

/* What is kept: magnitudes with bits above `threshold`, and the first `ties` of those equal to it. */
struct selection {
    uint32_t threshold;
    size_t ties;
};

/* Counts the values of one digit among the magnitudes whose higher digits are `prefix`. */
static void count_digit(const float *values, size_t n, struct digit digit, uint32_t prefix,
                        uint32_t counts[1U << FIRST_DIGIT_BITS]) {
    const uint32_t mask = (1U << digit.bits) - 1U;
    memset(counts, 0, sizeof counts[0] << digit.bits);
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = magnitude_bits(values[i]) >> digit.shift;
        if (bits >> digit.bits == prefix) counts[bits & mask]++;
    }
}

/* The k largest of n values, 1 <= k <= n. */
static struct selection select_largest(const float *values, size_t n, size_t k) {
    uint32_t counts[1U << FIRST_DIGIT_BITS], prefix = 0;
    struct selection s = {.ties = k}; /* ties: wanted of those that begin with prefix */
    for (size_t i = 0; i < DIGITS; i++) {
        count_digit(values, n, digits[i], prefix, counts);
        uint32_t d = (1U << digits[i].bits) - 1U;
        for (; counts[d] < s.ties; d--) {
            TRIB_ASSERT(d > 0);
            s.ties -= counts[d];
        }
        prefix = prefix << digits[i].bits | d;
    }
    s.threshold = prefix;
    return s;
}

/* Drops all but the k largest; what comes later must be larger than the smallest of them. */
static uint32_t drop_small(struct trib_kept *kept, size_t k) {
    struct selection s = select_largest(kept->values, kept->count, k);
    size_t n = 0;
    for (size_t i = 0; i < kept->count; i++) {
        uint32_t bits = magnitude_bits(kept->values[i]);
        if (bits < s.threshold || (bits == s.threshold && s.ties == 0)) continue;
        if (bits == s.threshold) s.ties--;
        kept->positions[n] = kept->positions[i];
        kept->values[n++] = kept->values[i];
    }
    kept->count = n;
    return s.threshold + 1;
}

static bool any_not_finite(const struct trib_kept *kept) {
    return !trib_kernels()->all_finite(kept->values, kept->count);
}

/* False if a value is not finite. NaN and infinity are above every bar, so they are collected. */
static bool collect(const struct trib_source *source, size_t k, size_t room, struct trib_kept *kept) {
    float block_room[TRIB_CODEC_BLOCK];
    uint32_t bar = 0;
    for (size_t at = 0, n; at < source->count; at += n) {
        const float *block = trib_source_block(source, at, block_room, &n);
        kept->count += trib_kernels()->collect(kept->positions + kept->count, kept->values + kept->count,
                                               block, bar, (uint32_t)at, n);
        if (kept->count <= room) continue;
        if (any_not_finite(kept)) return false;
        bar = drop_small(kept, k);
    }
    if (any_not_finite(kept)) return false;
    if (kept->count > k) (void)drop_small(kept, k);
    TRIB_ASSERT(kept->count == k);
    return true;
}

static enum trib_status choose(const struct trib_stage *stage, const struct trib_source *source,
                               uint64_t seed, struct trib_kept *out, struct trib_error *err) {
    (void)seed;
    const size_t k = kept_of(stage, source->count), twice = 2 * k + ROOM;
    const size_t room = twice < source->count ? twice : source->count;
    out->positions = trib_alloc_array(room + ROOM + OVERHANG, sizeof *out->positions);
    out->values = trib_alloc_array(room + ROOM + OVERHANG, sizeof *out->values);
    if (out->positions == NULL || out->values == NULL)
        return trib_fail(err, TRIB_NOMEM, "topk: no memory for %zu candidates", room);
    if (k > 0 && !collect(source, k, room, out)) return trib_codec_not_finite("topk", err);
    return TRIB_OK;
}

const struct trib_codec_select trib_codec_topk = {kept_of, true, choose, NULL, false};
