#include "shared/codec/packed.h"

#include "shared/base/bytes.h"
#include "shared/codec/bits.h"
#include "shared/kernels/kernels.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { MOST = TRIB_CODEC_BLOCK, CHUNK = 1024, TRITS_A_BYTE = 5, BYTES_OF_TRITS = 243 };

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t code_bytes(unsigned bits, size_t n) {
    return bits == TRIB_TRITS ? (n + TRITS_A_BYTE - 1) / TRITS_A_BYTE : (n * bits + 7) / 8;
}

static struct trib_shape shape_of(const struct trib_stage *stage, size_t count) {
    struct trib_shape shape;
    stage->row->values->packed->shape(stage->config, &shape);
    if (shape.block == 0) shape.block = count > 0 ? count : 1;
    return shape;
}

static size_t block_bytes(const struct trib_shape *shape) {
    return shape->head + code_bytes(shape->bits, shape->block);
}

size_t trib_packed_bytes(const struct trib_stage *stage, size_t count) {
    const struct trib_shape shape = shape_of(stage, count);
    size_t rest = count % shape.block;
    return count / shape.block * block_bytes(&shape) +
           (rest > 0 ? shape.head + code_bytes(shape.bits, rest) : 0);
}

/* ---- packing ---- */

static void pack_trits(uint8_t *out, const uint8_t *codes, size_t n) {
    for (size_t at = 0; at < n; at += TRITS_A_BYTE) {
        unsigned byte = 0;
        for (size_t i = least(n - at, TRITS_A_BYTE); i > 0; i--) byte = byte * 3 + codes[at + i - 1];
        *out++ = (uint8_t)byte;
    }
}

/* n codes behind each other from the start of a byte; `codes` has zeros up to the next multiple of 8. */
static void pack(uint8_t *out, const uint8_t *codes, unsigned bits, size_t n) {
    if (bits == TRIB_TRITS) {
        pack_trits(out, codes, n);
    } else if (bits == 8) {
        if (n > 0) memcpy(out, codes, n);
    } else {
        for (size_t at = 0; at < n; at += 8) {
            uint64_t dense = trib_bits_dense(trib_get_u64(codes + at), bits);
            memcpy(out + at / 8 * bits, &dense, least(bits, code_bytes(bits, n) - at / 8 * bits));
        }
    }
}

static void unpack_trits(uint8_t *codes, const uint8_t *data, size_t n) {
    for (size_t at = 0; at < n; at += TRITS_A_BYTE) {
        unsigned byte = *data++;
        for (size_t i = 0; i < TRITS_A_BYTE; i++, byte /= 3) codes[at + i] = (uint8_t)(byte % 3);
    }
}

/* Codes from the start of a byte on; writes up to 7 more than n. Eight codes are `bits` bytes; what is read
 * of the eight bytes there ends with the data. */
static void unpack(uint8_t *codes, const uint8_t *data, unsigned bits, size_t n) {
    if (bits == TRIB_TRITS) {
        unpack_trits(codes, data, n);
        return;
    }
    size_t at = 0, bytes = code_bytes(bits, n);
    for (; at / 8 * bits + 8 <= bytes; at += 8)
        trib_put_u64(
            codes + at,
            trib_bits_spread(trib_get_u64(data + at / 8 * bits) & (UINT64_MAX >> (64 - 8 * bits)), bits));
    for (; at < n; at += 8) {
        uint64_t dense = 0;
        memcpy(&dense, data + at / 8 * bits, least(bits, bytes - at / 8 * bits));
        trib_put_u64(codes + at, trib_bits_spread(dense, bits));
    }
}

/* Codes [first, first + n) of a block, n at most CHUNK; *room has 16 more. Returns where they stand. */
static const uint8_t *codes_at(const uint8_t *data, unsigned bits, size_t first, size_t n, uint8_t *room) {
    if (bits == 8) return data + first;
    size_t group = bits == TRIB_TRITS ? TRITS_A_BYTE : 8, skip = first % group;
    unpack(room, data + code_bytes(bits, first - skip), bits, n + skip);
    return room + skip;
}

/* ---- encoding ---- */

static void gather_stats(struct trib_block_stats *stats, const float *x, size_t n, unsigned wants) {
    const struct trib_kernels *kernels = trib_kernels();
    if ((wants & (TRIB_WANT_ABSMAX | TRIB_WANT_RANGE)) != 0) {
        float absmax = kernels->absmax(x, n);
        stats->absmax = absmax <= stats->absmax ? stats->absmax : absmax; /* takes a NaN */
        if (isnan(absmax)) stats->squares = NAN;
    }
    if ((wants & TRIB_WANT_SQUARES) != 0) stats->squares += kernels->sum_squares(x, n);
    for (size_t i = 0; (wants & TRIB_WANT_RANGE) != 0 && i < n; i++) {
        if (x[i] < stats->low) stats->low = x[i];
        if (x[i] > stats->high) stats->high = x[i];
    }
    stats->count += n;
}

/* A block that is being encoded: it may come in several pieces. */
struct work {
    const struct trib_packed *packed;
    const void *config;
    struct trib_shape shape;
    struct trib_block_stats stats;
    struct trib_block_fit fit;
    struct trib_quantiser quantiser;
    bool zeros;
    uint8_t *header;
    float levels[TRIB_PACKED_LEVELS];
    uint8_t codes[MOST + 8];
};

static bool begin_block(struct work *w, uint8_t *header, uint64_t seed) {
    if (!isfinite(w->stats.squares)) return false;
    w->header = header;
    w->fit = (struct trib_block_fit){0};
    w->quantiser = (struct trib_quantiser){.seed = seed};
    w->zeros = !w->packed->begin(w->config, &w->stats, &w->quantiser, header);
    if (w->zeros || !w->shape.fits) return true;
    enum trib_status status = w->packed->levels(w->config, header, w->levels, NULL);
    TRIB_ASSERT(status == TRIB_OK); /* its own header */
    return true;
}

static void add_levels(float *y, const float *levels, unsigned bits, const uint8_t *codes, size_t n) {
    if (bits == 8)
        for (size_t i = 0; i < n; i++) y[i] += levels[codes[i]];
    else
        trib_kernels()->add_table(y, codes, levels, n);
}

static void measure_fit(struct work *w, const float *x, size_t n) {
    const struct trib_kernels *kernels = trib_kernels();
    static const size_t piece = CHUNK;
    for (size_t at = 0, m; at < n; at += m) {
        float values[CHUNK] = {0};
        m = least(n - at, piece);
        add_levels(values, w->levels, w->shape.bits, w->codes + at, m);
        w->fit.xl += kernels->dot(x + at, values, m);
        w->fit.ll += kernels->sum_squares(values, m);
    }
}

/* Values [at, at + n) of the vector, which begin the codes at `out`. */
static void encode_piece(struct work *w, const float *x, size_t n, size_t at, uint8_t *out) {
    if (w->zeros) return;
    w->packed->quantise(w->config, &w->quantiser, x, n, at, w->codes);
    memset(w->codes + n, 0, 8);
    if (w->shape.fits) measure_fit(w, x, n);
    pack(out, w->codes, w->shape.bits, n);
}

/* False if a value was not finite. */
static bool end_block(struct work *w, size_t n) {
    if (!w->zeros && w->shape.fits) {
        if (!isfinite(w->fit.xl)) return false;
        w->zeros = !w->packed->finish(w->config, &w->stats, &w->fit, w->header);
    }
    if (w->zeros) memset(w->header, 0, w->shape.head + code_bytes(w->shape.bits, n));
    return true;
}

/* Where a block is at most what a source gives at a time. */
static bool encode_small(struct work *w, const struct trib_source *source, uint64_t seed, uint8_t *out) {
    float room[MOST];
    for (size_t at = 0, n; at < source->count; at += n) {
        const float *x = trib_source_block(source, at, room, &n);
        for (size_t i = 0, m; i < n; i += m, out += block_bytes(&w->shape)) {
            m = least(n - i, w->shape.block);
            w->stats = (struct trib_block_stats){0};
            gather_stats(&w->stats, x + i, m, w->shape.wants);
            if (!begin_block(w, out, seed)) return false;
            encode_piece(w, x + i, m, at + i, out + w->shape.head);
            if (!end_block(w, m)) return false;
        }
    }
    return true;
}

/* One block for all: a pass for its header, one for its codes. */
static bool encode_whole(struct work *w, const struct trib_source *source, uint64_t seed, uint8_t *out) {
    float room[MOST];
    if (source->count == 0) return true;
    for (size_t at = 0, n; w->shape.wants != 0 && at < source->count; at += n) {
        const float *x = trib_source_block(source, at, room, &n);
        gather_stats(&w->stats, x, n, w->shape.wants);
    }
    if (w->packed->survey != NULL && !w->packed->survey(w->config, source, out)) return false;
    if (!begin_block(w, out, seed)) return false;
    for (size_t at = 0, n; at < source->count; at += n) {
        const float *x = trib_source_block(source, at, room, &n);
        encode_piece(w, x, n, at, out + w->shape.head + code_bytes(w->shape.bits, at));
    }
    return end_block(w, source->count);
}

enum trib_status trib_packed_encode(const struct trib_stage *stage, const struct trib_source *source,
                                    uint64_t seed, uint8_t *out, struct trib_error *err) {
    struct work w = {.packed = stage->row->values->packed,
                     .config = stage->config,
                     .shape = shape_of(stage, source->count)};
    bool small = w.packed->survey == NULL && w.shape.block <= MOST && MOST % w.shape.block == 0;
    bool finite = (small ? encode_small : encode_whole)(&w, source, seed, out);
    return finite ? TRIB_OK : trib_codec_not_finite(stage->row->name, err);
}

/* ---- decoding ---- */

enum trib_status trib_check_scale(const char *name, float scale, float most, struct trib_error *err) {
    if (!isfinite(scale * most)) return trib_codec_not_finite(name, err);
    if (scale >= FLT_MIN || trib_f32_bits(scale) == 0) return TRIB_OK;
    return trib_fail(err, TRIB_INVALID,
                     "%s: a scale of %g (bits %08" PRIx32 "), expected 0 or a normal positive number", name,
                     (double)scale, trib_f32_bits(scale));
}

enum trib_status trib_check_block(const char *name, uint64_t block, struct trib_error *err) {
    if (block == 0 || (block >= 16 && block <= MOST && (block & (block - 1)) == 0)) return TRIB_OK;
    return trib_fail(err, TRIB_INVALID,
                     "%s: a block of %" PRIu64 ", expected a power of two from 16 to %d, or 0 for the "
                     "whole vector",
                     name, block, MOST);
}

/* The code that is no value, if one of the n is. */
static enum trib_status check_codes(const char *name, const float *levels, const uint8_t *codes, size_t n,
                                    size_t at, struct trib_error *err) {
    for (size_t i = 0; i < n; i++)
        if (isnan(levels[codes[i]]))
            return trib_fail(err, TRIB_INVALID, "%s: value %zu has the code %u, which is none", name, at + i,
                             codes[i]);
    return TRIB_OK;
}

/* Are the bits behind the last code 0? Five trits below 243 are what makes a byte. */
static bool tail_is_zero(const uint8_t *codes, unsigned bits, size_t n) {
    if (bits == TRIB_TRITS) {
        for (size_t i = 0; i < code_bytes(bits, n); i++)
            if (codes[i] >= BYTES_OF_TRITS) return false;
        unsigned left = (unsigned)(n % TRITS_A_BYTE), most = 1;
        for (unsigned i = 0; i < left; i++) most *= 3;
        return left == 0 || codes[n / TRITS_A_BYTE] < most;
    }
    unsigned used = (unsigned)(n * bits % 8);
    return used == 0 || codes[n * bits / 8] >> used == 0;
}

static bool all_zero(const uint8_t *data, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        if (data[i] != 0) return false;
    return true;
}

/* The codes of a block of n values from `at` on, against its levels. */
static enum trib_status check_values(const char *name, const float *levels, unsigned bits,
                                     const uint8_t *codes, size_t n, size_t at, double *sum,
                                     struct trib_error *err) {
    for (size_t i = 0, m; i < n; i += m) {
        uint8_t room[CHUNK + 16];
        float values[CHUNK] = {0};
        m = least(n - i, CHUNK);
        const uint8_t *piece = codes_at(codes, bits, i, m, room);
        add_levels(values, levels, bits, piece, m);
        double squares = trib_kernels()->sum_squares(values, m);
        if (isnan(squares)) return check_codes(name, levels, piece, m, at + i, err);
        *sum += squares;
    }
    return TRIB_OK;
}

enum trib_status trib_packed_check(const struct trib_stage *stage, const uint8_t *data, size_t count,
                                   double *sum_squares, struct trib_error *err) {
    const struct trib_shape shape = shape_of(stage, count);
    const char *name = stage->row->name;
    float levels[TRIB_PACKED_LEVELS];
    double sum = 0.0;
    for (size_t at = 0, n; at < count; at += n, data += block_bytes(&shape)) {
        const uint8_t *codes = data + shape.head;
        n = least(count - at, shape.block);
        enum trib_status status = stage->row->values->packed->levels(stage->config, data, levels, err);
        if (status != TRIB_OK) return status;
        if (!tail_is_zero(codes, shape.bits, n))
            return trib_fail(err, TRIB_INVALID, "%s: the codes of the block of value %zu end in more than 0",
                             name, at);
        if (all_zero(data, shape.head)) {
            if (all_zero(codes, code_bytes(shape.bits, n))) continue;
            return trib_fail(err, TRIB_INVALID,
                             "%s: the block of value %zu has scale 0 and codes that are not", name, at);
        }
        if (shape.all_codes && sum_squares == NULL) continue;
        if (shape.all_codes && shape.bits == 1 && levels[0] == -levels[1]) { /* signs: no need to look */
            sum += (double)n * ((double)levels[0] * (double)levels[0]);
            continue;
        }
        status = check_values(name, levels, shape.bits, codes, n, at, &sum, err);
        if (status != TRIB_OK) return status;
    }
    if (sum_squares != NULL) *sum_squares = sum;
    return TRIB_OK;
}

void trib_packed_add(const struct trib_stage *stage, const uint8_t *data, size_t count, size_t first,
                     size_t n, float a, float *y) {
    const struct trib_shape shape = shape_of(stage, count);
    const size_t codes =
        shape.bits == 8 ? TRIB_PACKED_LEVELS : (size_t)1 << (shape.bits == 0 ? 2 : shape.bits);
    float levels[TRIB_PACKED_LEVELS] = {0};
    size_t known = SIZE_MAX; /* the block that the levels are of */
    for (size_t at = first, end = first + n, m; at < end; at += m) {
        size_t block = at / shape.block, start = block * shape.block;
        const uint8_t *header = data + block * block_bytes(&shape);
        m = least(least(start + shape.block, end) - at, CHUNK);
        if (block != known) {
            enum trib_status status = stage->row->values->packed->levels(stage->config, header, levels, NULL);
            TRIB_ASSERT(status == TRIB_OK); /* it has passed the check */
            for (size_t i = 0; i < codes; i++) levels[i] = a * levels[i];
            known = block;
        }
        uint8_t room[CHUNK + 16];
        const uint8_t *piece = codes_at(header + shape.head, shape.bits, at - start, m, room);
        add_levels(y + (at - first), levels, shape.bits, piece, m);
    }
}
