/* Codes of a few bits a value, in blocks that begin with a header: what they have in common. A code says how
 * a block's header follows from its values, which code a value gets, and which value a code means; packing,
 * passes, checks, and adding through a table are here.
 *
 *     block:  header (a scale, ...)  codes, packed: value i has bits [i * b, (i + 1) * b), lowest first
 *
 * A block has 16 to 4096 values, the last one fewer, or the vector is one block. A block whose values are all
 * too small for a scale has a header and codes of zeros. */
#ifndef TRIB_CODEC_PACKED_H
#define TRIB_CODEC_PACKED_H

#include "shared/codec/codec_row.h"

enum {
    TRIB_PACKED_LEVELS = 256, /* most values that a code may have */
    TRIB_PACKED_HEAD = 64,    /* most bytes of a header */
    TRIB_TRITS = 0            /* in place of bits: codes 0 to 2, five to a byte */
};

/* What begin() may want to know of a block. */
enum { TRIB_WANT_ABSMAX = 1, TRIB_WANT_SQUARES = 2, TRIB_WANT_RANGE = 4 };
struct trib_block_stats {
    float absmax, low, high; /* low <= 0 <= high */
    double squares;
    size_t count;
};
/* ... and finish(): x with its code's value l, over the block */
struct trib_block_fit {
    double xl, ll;
};

/* How the values of a block get their codes; filled by begin(). */
struct trib_quantiser {
    float inverse;
    int zero;
    uint64_t seed;
    const uint8_t *header;
};

struct trib_shape {
    unsigned bits;  /* 1, 2, 3, 4, 8 or TRIB_TRITS */
    size_t block;   /* values; 0: the whole vector */
    size_t head;    /* bytes */
    unsigned wants; /* TRIB_WANT_... */
    bool fits;      /* finish() is called */
    bool all_codes; /* every code is a value, so that a check need not look at them */
};

struct trib_packed {
    void (*shape)(const void *config, struct trib_shape *out);
    /* Writes the header (it was 0) and says how to quantise. False: the block is one of zeros. */
    bool (*begin)(const void *config, const struct trib_block_stats *stats, struct trib_quantiser *out,
                  uint8_t *header);
    /* codes[i] of x[i], which is value at + i of the vector. */
    void (*quantise)(const void *config, const struct trib_quantiser *quantiser, const float *x, size_t n,
                     size_t at, uint8_t *codes);
    /* Corrects the header by what came of it. False: the block is one of zeros. */
    bool (*finish)(const void *config, const struct trib_block_stats *stats, const struct trib_block_fit *fit,
                   uint8_t *header);
    /* The value of every code of a block; NaN: it is none. The statuses are those of trib_codec_check. */
    enum trib_status (*levels)(const void *config, const uint8_t *header, float *levels,
                               struct trib_error *err);
    /* Where the vector is one block, if not NULL: writes the header by a pass of its own, before begin().
     * False if a value is not finite. */
    bool (*survey)(const void *config, const struct trib_source *source, uint8_t *header);
};

size_t trib_packed_bytes(const struct trib_stage *stage, size_t count);
enum trib_status trib_packed_encode(const struct trib_stage *stage, const struct trib_source *source,
                                    uint64_t seed, uint8_t *out, struct trib_error *err);
enum trib_status trib_packed_check(const struct trib_stage *stage, const uint8_t *data, size_t count,
                                   double *sum_squares, struct trib_error *err);
void trib_packed_add(const struct trib_stage *stage, const uint8_t *data, size_t count, size_t first,
                     size_t n, float a, float *y);

/* Is it a scale: 0, or a normal positive number whose product with `most` is finite? */
enum trib_status trib_check_scale(const char *name, float scale, float most, struct trib_error *err);
/* A block size that packed codes can have: 0, or a power of two from 16 to 4096. */
enum trib_status trib_check_block(const char *name, uint64_t block, struct trib_error *err);

#endif
