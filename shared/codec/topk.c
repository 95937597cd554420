/* topk(fraction): the k largest magnitudes, with their positions.
 *
 * The selection is exact and needs no copy of the vector: the bits of a magnitude, read as a number, are
 * ordered as the magnitudes are, so a radix selection finds the bits of the k-th largest in three passes over
 * the source, eleven and twice ten bits each. A fourth pass writes what is above it, and of what is equal to
 * it the first few. */
#include "shared/codec/codec_row.h"

#include "shared/base/alloc.h"
#include "shared/base/bytes.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum {
    HEAD = 4,                  /* the u32 k */
    MOST_GAP_BYTES = 5,        /* of a u32 in LEB128 */
    PIECE = TRIB_VALUES_BLOCK, /* values encoded and decoded at a time */
    FIRST_DIGIT_BITS = 11,
    DIGITS = 3
};

const struct trib_option trib_topk_params[TRIB_TOPK_PARAMS] = {
    {.name = "fraction",
     .type = TRIB_OPT_F64,
     .offset = offsetof(struct trib_topk_config, fraction),
     .fallback = "0.05",
     .min = 0.000001,
     .max = 1.0,
     .help = "The part of the values that is kept: the largest magnitudes, at least one."},
};

static size_t kept(const struct trib_codec *codec, size_t count) {
    const struct trib_topk_config *config = codec->config;
    double k = ceil(config->fraction * (double)count);
    if (count == 0) return 0;
    if (k < 1.0) return 1;
    return k < (double)count ? (size_t)k : count;
}

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* The gaps add up to less than count, so few of them can be long: at most count / 2^7 have a second byte. */
static size_t max_gap_bytes(size_t k, size_t count) {
    size_t bytes = k;
    for (unsigned bits = 7; bits < 7 * MOST_GAP_BYTES; bits += 7) bytes += least(k, count >> bits);
    return bytes;
}

static size_t max_bytes(const struct trib_codec *codec, size_t count) {
    size_t k = kept(codec, count);
    return HEAD + max_gap_bytes(k, count) + codec->values->bytes(k);
}

/* ---- selection ---- */

static const struct digit {
    unsigned shift, bits;
} digits[DIGITS] = {{20, FIRST_DIGIT_BITS}, {10, 10}, {0, 10}};

/* What is kept: magnitudes with bits above `threshold`, and the first `ties` of those equal to it. */
struct selection {
    uint32_t threshold;
    size_t ties;
};

static uint32_t magnitude_bits(float x) {
    return trib_f32_bits(x) & 0x7FFFFFFFU;
}

/* Counts the values of one digit among the magnitudes whose higher digits are `prefix`. */
static void count_digit(const struct trib_source *source, struct digit digit, uint32_t prefix,
                        uint32_t counts[1U << FIRST_DIGIT_BITS]) {
    float block[TRIB_CODEC_BLOCK];
    const uint32_t mask = (1U << digit.bits) - 1U;
    memset(counts, 0, sizeof counts[0] << digit.bits);
    for (size_t at = 0, n; at < source->count; at += n) {
        n = least(source->count - at, TRIB_CODEC_BLOCK);
        source->read(source->ctx, at, n, block);
        for (size_t i = 0; i < n; i++) {
            uint32_t bits = magnitude_bits(block[i]) >> digit.shift;
            if (bits >> digit.bits == prefix) counts[bits & mask]++;
        }
    }
}

static bool counts_not_finite(const uint32_t *counts) {
    for (uint32_t d = 0x7F800000U >> digits[0].shift; d < 1U << FIRST_DIGIT_BITS; d++)
        if (counts[d] != 0) return true;
    return false;
}

/* False if a value is not finite. k is at least 1. */
static bool select_largest(const struct trib_source *source, size_t k, struct selection *out) {
    uint32_t counts[1U << FIRST_DIGIT_BITS], prefix = 0;
    size_t wanted = k; /* of those that begin with prefix */
    for (size_t i = 0; i < DIGITS; i++) {
        count_digit(source, digits[i], prefix, counts);
        if (i == 0 && counts_not_finite(counts)) return false;
        uint32_t d = (1U << digits[i].bits) - 1U;
        for (; counts[d] < wanted; d--) {
            TRIB_ASSERT(d > 0); /* else the source did not read the same twice */
            wanted -= counts[d];
        }
        prefix = prefix << digits[i].bits | d;
        out->threshold = prefix << digits[i].shift;
        out->ties = wanted;
        if (counts[d] == wanted) break; /* all that begin so are kept: no need to tell them apart */
    }
    return true;
}

/* ---- encoding ---- */

struct writer {
    const struct trib_codec_values *values;
    uint8_t *gap_data, *value_data;
    size_t gap_bytes, kept, last;
    float pending[PIECE]; /* the values not yet encoded; their number is what `kept` has above whole pieces */
};

static size_t put_gap(uint8_t *out, size_t gap) {
    size_t n = 0;
    for (; gap >= 0x80; gap >>= 7) out[n++] = (uint8_t)(gap | 0x80U);
    out[n++] = (uint8_t)gap;
    return n;
}

static void keep(struct writer *w, size_t position, float value) {
    w->gap_bytes += put_gap(w->gap_data + w->gap_bytes, position - w->last);
    w->last = position;
    w->pending[w->kept++ % PIECE] = value;
    if (w->kept % PIECE == 0) {
        bool finite = w->values->encode(w->value_data, w->kept - PIECE, w->pending, PIECE);
        TRIB_ASSERT(finite); /* the first pass has looked */
    }
}

static void write_selected(struct writer *w, const struct trib_source *source, struct selection s, size_t k) {
    float block[TRIB_CODEC_BLOCK];
    for (size_t at = 0, n; at < source->count; at += n) {
        n = least(source->count - at, TRIB_CODEC_BLOCK);
        source->read(source->ctx, at, n, block);
        for (size_t i = 0; i < n; i++) {
            uint32_t bits = magnitude_bits(block[i]);
            if (bits < s.threshold || (bits == s.threshold && s.ties == 0)) continue;
            TRIB_ASSERT(w->kept < k); /* the buffers are for k: a source must read the same every time */
            if (bits == s.threshold) s.ties--;
            keep(w, at + i, block[i]);
        }
    }
    TRIB_ASSERT(w->kept == k);
    bool finite = w->values->encode(w->value_data, k / PIECE * PIECE, w->pending, k % PIECE);
    TRIB_ASSERT(finite);
}

static enum trib_status joined(const struct writer *w, struct trib_blob **out, struct trib_error *err) {
    size_t value_bytes = w->values->bytes(w->kept);
    struct trib_blob *blob = trib_blob_new(HEAD + w->gap_bytes + value_bytes);
    if (blob == NULL) return trib_fail(err, TRIB_NOMEM, "topk: no memory for the encoding");
    uint8_t *data = trib_blob_mutable(blob);
    trib_put_u32(data, (uint32_t)w->kept);
    memcpy(data + HEAD, w->gap_data, w->gap_bytes);
    memcpy(data + HEAD + w->gap_bytes, w->value_data, value_bytes);
    *out = blob;
    return TRIB_OK;
}

static enum trib_status encode(const struct trib_codec *codec, const struct trib_source *source,
                               struct trib_blob **out, struct trib_error *err) {
    size_t k = kept(codec, source->count), gap_room = max_gap_bytes(k, source->count);
    struct selection selection = {0};
    if (source->count > UINT32_MAX)
        return trib_fail(err, TRIB_UNSUPPORTED, "topk: %zu values, it takes fewer than 2^32", source->count);
    if (k > 0 && !select_largest(source, k, &selection)) return trib_codec_not_finite("topk", err);
    uint8_t *room = trib_alloc(gap_room + codec->values->bytes(k));
    if (room == NULL) return trib_fail(err, TRIB_NOMEM, "topk: no memory for %zu values", k);
    struct writer writer = {.values = codec->values, .gap_data = room, .value_data = room + gap_room};
    write_selected(&writer, source, selection, k);
    enum trib_status status = joined(&writer, out, err);
    trib_free(room);
    return status;
}

/* ---- decoding ---- */

/* Reads one gap at *cursor; false if it is longer than it need be, above 32 bits, or runs over `end`. */
static bool read_gap(const uint8_t *data, size_t end, size_t *cursor, size_t *gap) {
    uint64_t value = 0;
    for (unsigned i = 0; i < MOST_GAP_BYTES && *cursor < end; i++) {
        uint8_t byte = data[(*cursor)++];
        value |= (uint64_t)(byte & 0x7FU) << (7 * i);
        if ((byte & 0x80U) != 0) continue;
        *gap = (size_t)value;
        return value <= UINT32_MAX && (byte != 0 || i == 0);
    }
    return false;
}

static enum trib_status check_positions(const uint8_t *data, size_t end, size_t count, size_t k,
                                        size_t *cursor, struct trib_error *err) {
    size_t position = 0;
    for (size_t i = 0; i < k; i++) {
        size_t gap = 0, at = *cursor;
        if (!read_gap(data, end, cursor, &gap)) {
            return trib_fail(
                err, TRIB_INVALID,
                "topk: the gap of value %zu at byte %zu is cut short, or not the shortest LEB128 of "
                "a number below 2^32",
                i, at);
        }
        if (gap == 0 && i > 0)
            return trib_fail(err, TRIB_INVALID, "topk: position %zu stands twice (byte %zu)", position, at);
        position += gap;
        if (position >= count) {
            return trib_fail(err, TRIB_INVALID, "topk: value %zu is for position %zu, but there are %zu", i,
                             position, count);
        }
    }
    return TRIB_OK;
}

static enum trib_status check(const struct trib_codec *codec, const uint8_t *data, size_t bytes, size_t count,
                              double *sum_squares, struct trib_error *err) {
    size_t k = kept(codec, count), cursor = HEAD;
    if (bytes < HEAD)
        return trib_fail(err, TRIB_INVALID, "topk: found %zu bytes, expected %d at least", bytes, HEAD);
    uint32_t found = trib_get_u32(data);
    if (found != k) {
        return trib_fail(err, TRIB_INVALID, "topk: keeps %" PRIu32 " values, expected %zu of %zu", found, k,
                         count);
    }
    size_t value_bytes = codec->values->bytes(k);
    if (bytes - HEAD < value_bytes) {
        return trib_fail(err, TRIB_INVALID, "topk: found %zu bytes, expected %zu for the values alone", bytes,
                         HEAD + value_bytes);
    }
    enum trib_status status = check_positions(data, bytes - value_bytes, count, k, &cursor, err);
    if (status != TRIB_OK) return status;
    if (bytes - cursor != value_bytes) {
        return trib_fail(err, TRIB_INVALID, "topk: found %zu bytes behind the positions, expected %zu",
                         bytes - cursor, value_bytes);
    }
    return codec->values->check(data + cursor, k, sum_squares, err);
}

/* A decoder's state: which value is next, where it stands, how many there are, where their bytes begin; the
 * cursor is at the gap behind the next value's. */
enum { NEXT, POSITION, KEPT, VALUES };

static void advance(struct trib_decoder *d) {
    size_t gap = 0;
    if (d->state[NEXT] == d->state[KEPT]) return;
    bool valid = read_gap(d->data, d->state[VALUES], &d->cursor, &gap);
    TRIB_ASSERT(valid); /* it has passed the check */
    d->state[POSITION] += gap;
}

static void start(struct trib_decoder *d) {
    d->cursor = HEAD;
    d->state[KEPT] = trib_get_u32(d->data);
    d->state[VALUES] = d->bytes - d->codec->values->bytes(d->state[KEPT]);
    advance(d);
}

static void add(struct trib_decoder *d, size_t n, float a, float *y) {
    const size_t end = d->position + n;
    while (d->state[NEXT] < d->state[KEPT] && d->state[POSITION] < end) {
        size_t first = d->state[NEXT], m = 0;
        uint32_t at[PIECE] = {0};
        for (; m < PIECE && d->state[NEXT] < d->state[KEPT] && d->state[POSITION] < end; m++) {
            at[m] = (uint32_t)(d->state[POSITION] - d->position);
            d->state[NEXT]++;
            advance(d);
        }
        float scaled[PIECE] = {0};
        d->codec->values->add(d->data + d->state[VALUES], first, m, a, scaled);
        for (size_t i = 0; i < m; i++) y[at[i]] += scaled[i];
    }
}

const struct trib_codec_sparse trib_codec_topk = {max_bytes, encode, check, start, add};
