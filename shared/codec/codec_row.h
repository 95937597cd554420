/* What a codec gives to the table in codec.c, and how the stages of a spec work together. Not for other
 * folders.
 *
 * A spec is a row of stages, each of which works on what the one before leaves:
 *
 *     [reduce | select +] [rotate +] VALUES [+ positions] [+ zstd]      topk(0.01)+rotate+1bit+rice
 *
 * reduce makes a shorter vector of it. select keeps a part of the vector, a source of k values and their
 * positions. rotate turns a source into
 * another of the same length. VALUES gives every value its bytes; the positions have a code of their own. A
 * new code is one file with one of these structs, a line for it at the end of this header and its row. */
#ifndef TRIB_CODEC_ROW_H
#define TRIB_CODEC_ROW_H

#include "shared/codec/codec.h"

#include <stdbool.h>

/* A stage of a spec: its row (NULL: not in this spec) and its parameters, row->config_bytes of them. */
struct trib_stage {
    const struct trib_codec_row *row;
    void *config;
    bool implied;                   /* not in the spec's text */
    const struct trib_lines *lines; /* the model's tensors, for stages that look at rows; else NULL */
};

/* A code of values. The size depends on the count alone, and any range can be decoded on its own. `data` is
 * always the start of the whole encoding, at any alignment. */
struct trib_codec_values {
    size_t (*bytes)(const struct trib_stage *stage, size_t count);
    /* `out` has bytes(count), all 0. `seed`: for those that draw lots; a digest of what is encoded. */
    enum trib_status (*encode)(const struct trib_stage *stage, const struct trib_source *source,
                               uint64_t seed, uint8_t *out, struct trib_error *err);
    /* `data` has bytes(count) bytes. The statuses are those of trib_codec_check. */
    enum trib_status (*check)(const struct trib_stage *stage, const uint8_t *data, size_t count,
                              double *sum_squares, struct trib_error *err);
    /* y[i] += a * value[first + i] for i < n */
    void (*add)(const struct trib_stage *stage, const uint8_t *data, size_t count, size_t first, size_t n,
                float a, float *y);
    /* Does this code, with these parameters, draw lots? NULL: never. */
    bool (*draws)(const struct trib_stage *stage);
    const struct trib_packed *packed; /* of a code that is described by packed.h */
    /* Does this code, with these parameters, look at tensors (stage->lines)? NULL: never. */
    bool (*by_tensor)(const struct trib_stage *stage);
};

/* The part of a vector that is kept: positions ascend. */
struct trib_kept {
    size_t count;
    uint32_t *positions; /* owned, as the values are */
    float *values;
};

struct trib_codec_select {
    /* The most that is kept of `count` values; if `exact`, that is how many are always kept. */
    size_t (*most)(const struct trib_stage *stage, size_t count);
    bool exact;
    /* Chooses; *out is released by the caller in any case. TRIB_LIMIT if a value is not finite. */
    enum trib_status (*choose)(const struct trib_stage *stage, const struct trib_source *source,
                               uint64_t seed, struct trib_kept *out, struct trib_error *err);
    /* Where the positions follow from a number: the position of kept value `index`. NULL: they are sent. */
    size_t (*position)(uint64_t seed, size_t index, size_t kept, size_t count);
    bool rows; /* positions are those of rows (rows.h), and `count` values of theirs follow */
};

/* How positions are written. Reading them is in ascending order, from `cursor`, which is the code's own. */
struct trib_codec_positions {
    size_t (*max_bytes)(size_t kept, size_t count);
    /* Returns the bytes written. */
    size_t (*write)(const uint32_t *positions, size_t kept, uint8_t *out);
    /* Are there `kept` ascending positions below `count` at the start of these bytes? *used: their bytes. */
    enum trib_status (*check)(const uint8_t *data, size_t bytes, size_t kept, size_t count, size_t *used,
                              struct trib_error *err);
    /* The position behind `before` (SIZE_MAX: the first) in bytes that have passed the check. The cursor
     * begins as 0. */
    size_t (*next)(const uint8_t *data, size_t bytes, size_t *cursor, size_t before);
};

struct trib_layers;

struct trib_codec {
    char spec[TRIB_CODEC_MAX_SPEC];
    struct trib_stage reduce, select, rotate, values, positions, lossless;
    struct trib_lines *lines;   /* owned; where a stage looks at tensors */
    struct trib_layers *layers; /* in place of all of these (layer.h), or NULL */
};

/* Does it look at the model's tensors? */
bool trib_codec_by_tensor(const struct trib_codec *codec);
/* A codec for some neighbouring tensors of a model; NULL: for any vector (TRIB_UNSUPPORTED where it looks at
 * tensors). */
enum trib_status trib_codec_new_bound(const char *spec, const struct trib_tensor *tensors, size_t count,
                                      struct trib_codec **out, struct trib_error *err) TRIB_MUST_USE;

/* ---- what stands behind select: rotate and values (dense.c) ---- */

size_t trib_dense_bytes(const struct trib_codec *codec, size_t count);
enum trib_status trib_dense_encode(const struct trib_codec *codec, const struct trib_source *source,
                                   uint64_t seed, uint8_t *out, struct trib_error *err);
enum trib_status trib_dense_check(const struct trib_codec *codec, const uint8_t *data, size_t count,
                                  double *sum_squares, struct trib_error *err);
void trib_dense_add(const struct trib_codec *codec, const uint8_t *data, size_t count, size_t first, size_t n,
                    float a, float *y);

/* ---- a codec with a select stage (sparse.c) ---- */

size_t trib_sparse_max_bytes(const struct trib_codec *codec, size_t count);
enum trib_status trib_sparse_encode(const struct trib_codec *codec, const struct trib_source *source,
                                    uint64_t seed, struct trib_blob **out, struct trib_error *err);
enum trib_status trib_sparse_check(const struct trib_codec *codec, const uint8_t *data, size_t bytes,
                                   size_t count, double *sum_squares, struct trib_error *err);
void trib_sparse_start(struct trib_decoder *decoder);
void trib_sparse_add(struct trib_decoder *decoder, size_t n, float a, float *y);
void trib_sparse_skip(struct trib_decoder *decoder, size_t n);

/* ---- a codec with a reduce stage (lowrank.c) ---- */

size_t trib_lowrank_bytes(const struct trib_codec *codec);
enum trib_status trib_lowrank_encode(const struct trib_codec *codec, const struct trib_source *source,
                                     uint64_t seed, uint8_t *out, struct trib_error *err);
enum trib_status trib_lowrank_check(const struct trib_codec *codec, const uint8_t *data, double *sum_squares,
                                    struct trib_error *err);
void trib_lowrank_add(const struct trib_codec *codec, const uint8_t *data, size_t first, size_t n, float a,
                      float *y);

/* ---- in common ---- */

/* The one text for it, so that callers and people can rely on it. */
enum trib_status trib_codec_not_finite(const char *name, struct trib_error *err);
/* The block of a source that begins at value `at`, *n of them: in `room`, or where they stand anyway. */
const float *trib_source_block(const struct trib_source *source, size_t at, float *room, size_t *n);
/* Encodes a source block by block, in order; `encode` gives false for NaN or infinity. */
enum trib_status trib_encode_blocks(const char *name, const struct trib_source *source, uint8_t *out,
                                    bool (*encode)(uint8_t *out, size_t first, const float *values, size_t n),
                                    struct trib_error *err);
/* A seed that both sides can have: 32 bits of a digest of all the values. */
uint32_t trib_source_digest(const struct trib_source *source);

/* ---- the codes ---- */

extern const struct trib_codec_values trib_codec_f32, trib_codec_f16, trib_codec_bf16, trib_codec_int8,
    trib_codec_int4, trib_codec_int2, trib_codec_1bit, trib_codec_2bit, trib_codec_3bit, trib_codec_4bit,
    trib_codec_ternary, trib_codec_qsgd, trib_codec_kmeans;
extern const struct trib_codec_select trib_codec_topk, trib_codec_threshold, trib_codec_randomk,
    trib_codec_rows_kept;
extern const struct trib_codec_positions trib_codec_leb, trib_codec_rice;

struct trib_topk_config {
    double fraction;
};
enum { TRIB_TOPK_PARAMS = 1 };
extern const struct trib_option trib_topk_params[TRIB_TOPK_PARAMS];

struct trib_threshold_config {
    double times;
};
enum { TRIB_THRESHOLD_PARAMS = 1 };
extern const struct trib_option trib_threshold_params[TRIB_THRESHOLD_PARAMS];

struct trib_ternary_config {
    uint64_t block;
};
enum { TRIB_TERNARY_PARAMS = 1 };
extern const struct trib_option trib_ternary_params[TRIB_TERNARY_PARAMS];

struct trib_qsgd_config {
    uint64_t levels, block;
};
enum { TRIB_QSGD_PARAMS = 2 };
extern const struct trib_option trib_qsgd_params[TRIB_QSGD_PARAMS];

struct trib_kmeans_config {
    uint64_t bits;
};
enum { TRIB_KMEANS_PARAMS = 1 };
extern const struct trib_option trib_kmeans_params[TRIB_KMEANS_PARAMS];

struct trib_int_config {
    uint64_t block; /* 0: the whole vector */
    bool zero;      /* a zero point beside the scale */
    char *round;    /* "nearest", "stochastic" */
    char *per;      /* "block", "tensor", "channel": what shares a scale */
};
enum { TRIB_INT_PARAMS = 4 };
extern const struct trib_option trib_int_params[TRIB_INT_PARAMS];

struct trib_level_config {
    uint64_t block; /* 0: the whole vector */
    char *scale;    /* "mse", "unbiased" */
};
enum { TRIB_LEVEL_PARAMS = 2 };
extern const struct trib_option trib_level_params[TRIB_LEVEL_PARAMS];

struct trib_powersgd_config {
    uint64_t rank, iterations;
};
enum { TRIB_POWERSGD_PARAMS = 2 };
extern const struct trib_option trib_powersgd_params[TRIB_POWERSGD_PARAMS];

struct trib_rotate_config {
    uint64_t block;
};
enum { TRIB_ROTATE_PARAMS = 1 };
extern const struct trib_option trib_rotate_params[TRIB_ROTATE_PARAMS];

#endif
