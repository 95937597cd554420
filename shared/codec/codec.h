/* Codecs: how a vector of floats becomes bytes and back. Encoding reads its input in blocks from a source, so
 * that a sum of vectors need never be stored; decoding adds into a vector, in order, in pieces of any length,
 * so that a model can be computed block by block. A codec is chosen by a spec of one or more stages, each
 * working on what the one before leaves:
 *
 *     [reduce | select +] [rotate +] VALUES [+ positions] [+ zstd]   f32   rotate+1bit   topk(0.01)+int8+rice
 *
 * or layer(conv=int8, else=topk(0.01)+int8) [+ zstd], a codec for each tensor.
 *
 * The same input gives the same bytes on every processor; the same bytes, scale and vector the same sums.
 *
 * What the bytes are (little-endian; docs/codecs.md has formulas and figures):
 *   f32   4 bytes a value
 *   f16   2 bytes a value, IEEE half, rounded to nearest even; beyond +-65504 the nearest finite half
 *   bf16  2 bytes a value, the upper half of the float, rounded to nearest even, kept finite
 *   int8  blocks of 256 values, the last one short: an f32 scale, then a signed byte q a value, -127..127.
 *         value = scale * q. scale = max|x| / 127 (the next float below it where scale * 127 would overflow),
 *         q = clamp(round_half_even(x * (1 / scale))), all in f32. Where that scale would be 0 or denormal (a
 *         block of zeros, or of magnitudes below 1.5e-36) scale and all q are 0.
 *   int4, int2, int8 with other parameters   blocks as in packed.h; uniform.c, grouped.c
 *   1bit, 2bit, 3bit, 4bit   blocks as in packed.h; levels.c
 *   rotate  u32 seed, then the rotated values by the code behind the `+`; rotate.h
 *   zstd  the whole encoding, compressed; lossless.c
 *   layer  the encodings of the runs of tensors; layer.c
 *   powersgd  of each matrix two thin factors, by the code behind the `+`; lowrank.c
 *   rows  u32 rows, their numbers as topk's positions, then their values by the code behind the `+`; rows.c
 *   topk  u32 k = min(count, max(1, ceil(fraction * count))), computed in double; k positions in ascending
 *         order, each as its distance from the one before (the first: from 0), LEB128 in as few bytes as
 *         possible; then the k values by the code behind the `+`. The k largest magnitudes; of equal ones the
 *         lower positions. A value is added only where it stands: y[p] += (a * value). */
#ifndef TRIB_CODEC_CODEC_H
#define TRIB_CODEC_CODEC_H

#include "shared/base/blob.h"
#include "shared/base/error.h"
#include "shared/base/option.h"
#include "shared/model/schema.h"

#include <stddef.h>
#include <stdint.h>

enum {
    TRIB_CODEC_MAX_SPEC = 128,
    TRIB_CODEC_BLOCK = 4096 /* floats a source is asked for at a time; fewer only at its end */
};

/* What is encoded: `count` floats, read in ascending blocks of TRIB_CODEC_BLOCK, possibly in more than one
 * pass over all of them. */
struct trib_source {
    void (*read)(void *ctx, size_t offset, size_t count, float *out);
    void *ctx;
    size_t count;
};
/* A source that is a plain vector; borrowed. */
struct trib_source trib_source_floats(const float *values, size_t count);

struct trib_codec; /* a parsed spec; immutable, may be shared between threads */

/* Parses a spec; says where it went wrong and the nearest valid name. Free with trib_codec_free. */
enum trib_status trib_codec_new(const char *spec, struct trib_codec **out,
                                struct trib_error *err) TRIB_MUST_USE;
/* The same for the model that the codec shall be used for, which layer(...) and all that looks at rows or
 * tensors need to know: without a schema they are TRIB_UNSUPPORTED. The schema is not kept. */
enum trib_status trib_codec_new_for(const char *spec, const struct trib_schema *schema,
                                    struct trib_codec **out, struct trib_error *err) TRIB_MUST_USE;
void trib_codec_free(struct trib_codec **codec);
/* The canonical spec. */
const char *trib_codec_spec(const struct trib_codec *codec);
/* For option tables: is this a valid codec spec, for some model? */
enum trib_status trib_codec_check_spec(const char *spec, struct trib_error *err) TRIB_MUST_USE;

/* Does decoding take hundreds of operations a value? Factors of matrices behind a rotation do: a stretch of
 * the vector needs parts of many of the blocks that were rotated. */
bool trib_codec_is_slow(const struct trib_codec *codec);
/* No encoding of `count` floats is larger than this. */
size_t trib_codec_max_bytes(const struct trib_codec *codec, size_t count);
/* Encodes all of the source into a new blob. TRIB_LIMIT, with "NaN or infinity" in the text, if it holds one;
 * TRIB_UNSUPPORTED if the codec cannot take that many values (topk: 2^32 and more). */
enum trib_status trib_codec_encode(const struct trib_codec *codec, const struct trib_source *source,
                                   struct trib_blob **out, struct trib_error *err) TRIB_MUST_USE;
/* Is this an encoding of `count` finite floats, to the byte? Everything from outside passes here before
 * anything below is called on it. TRIB_INVALID: not an encoding of that many floats; TRIB_LIMIT, with "NaN or
 * infinity" in the text: it is one, but not all values are finite. On success, *sum_squares (if not NULL) is
 * the squared 2-norm of what it decodes to. */
enum trib_status trib_codec_check(const struct trib_codec *codec, const void *data, size_t bytes,
                                  size_t count, double *sum_squares, struct trib_error *err) TRIB_MUST_USE;
/* y[i] += a * value[i] for all i; `data` must have passed trib_codec_check. The bits are those of the
 * kernels: int8 by itself: y + ((a*scale) * q), with a*scale rounded once a block; packed codes: y + (a *
 * (scale * level)); the others: y + (a * value). TRIB_NOMEM, with y untouched, is the only failure, and only
 * with a lossless stage. */
enum trib_status trib_codec_add(const struct trib_codec *codec, const void *data, size_t bytes, size_t count,
                                float a, float *y);

/* What stands behind a lossless stage: for decoders, which read it as they go. Without such a stage it is the
 * encoding itself, borrowed, and opening it cannot fail; else it is unpacked into memory of its own, at most
 * as much as the largest encoding has. TRIB_NOMEM, or TRIB_INVALID before the check. */
struct trib_plain {
    const uint8_t *data;
    size_t bytes;
    void *owned;
};
enum trib_status trib_plain_open(const struct trib_codec *codec, const void *data, size_t bytes, size_t count,
                                 struct trib_plain *out, struct trib_error *err) TRIB_MUST_USE;
void trib_plain_release(struct trib_plain *plain);

/* The same in pieces, of what trib_plain_open gave: values [position, position + n) are added to y[0..n),
 * then position += n. */
struct trib_decoder {
    const struct trib_codec *codec;
    const uint8_t *data;
    size_t bytes, count, position;
    /* the codec's own, where it keeps some positions: values in all, the next one, its position, where the
     * values begin, how far the positions are read */
    struct trib_decoder_sparse {
        size_t kept, next, at, values, cursor;
        size_t value; /* where rows are kept: the first value of the next one among those that are sent */
    } sparse;
    /* ... and where tensors have codecs of their own: which run of them, where its bytes begin, how many */
    size_t run, offset, run_bytes;
};
void trib_decoder_start(struct trib_decoder *decoder, const struct trib_codec *codec, const void *data,
                        size_t bytes, size_t count);
void trib_decoder_add(struct trib_decoder *decoder, size_t n, float a, float *y);
/* Only position += n: for a decoder that serves a range of the vector. Takes no time with codes that give
 * every value its bytes, and some for each position kept with the others. */
void trib_decoder_skip(struct trib_decoder *decoder, size_t n);

/* The table, for --help, docs and the conformance test. Kinds are in the order of a spec's stages. */
enum trib_codec_kind {
    TRIB_CODEC_LAYERS,    /* codecs for tensors; stands alone */
    TRIB_CODEC_REDUCE,    /* makes the vector shorter; a value code follows */
    TRIB_CODEC_SELECT,    /* keeps some positions; a value code follows */
    TRIB_CODEC_ROTATE,    /* changes the values; a value code follows */
    TRIB_CODEC_VALUES,    /* gives every value its bytes; in every spec */
    TRIB_CODEC_POSITIONS, /* how a select stage's positions are written */
    TRIB_CODEC_LOSSLESS,  /* over all bytes */
    TRIB_CODEC_KINDS
};
struct trib_codec_row {
    const char *name, *summary;
    const char *example; /* a spec that uses it */
    const struct trib_option *params;
    size_t param_count;
    enum trib_codec_kind kind;
    size_t config_bytes; /* of the struct that params fill */
    /* Are the parameters together possible? NULL: always. */
    enum trib_status (*check)(const char *name, const void *config, struct trib_error *err);
    /* its functions, by kind; shared/codec's own (codec_row.h) */
    const struct trib_codec_values *values;
    const struct trib_codec_select *select;
    const struct trib_codec_positions *positions;
};
const struct trib_codec_row *trib_codec_rows(size_t *count);

#endif
