/* What a codec gives to the table in codec.c. Not for other folders. A new codec is one file with one of
 * these structs, a line for it at the end of this header and its row in codec.c. */
#ifndef TRIB_CODEC_ROW_H
#define TRIB_CODEC_ROW_H

#include "shared/codec/codec.h"

#include <stdbool.h>

/* Value codecs are asked to encode in blocks that start at a multiple of this. */
enum { TRIB_VALUES_BLOCK = 256 };
_Static_assert(TRIB_CODEC_BLOCK % TRIB_VALUES_BLOCK == 0, "a source's block is whole value blocks");

/* The size depends on the count alone, and any range can be decoded on its own. `data` is always the start of
 * the whole encoding, at any alignment. */
struct trib_codec_values {
    size_t (*bytes)(size_t count);
    /* Encodes values [first, first + n). first is a multiple of TRIB_VALUES_BLOCK; so is n, but at the end.
     * False if one of them is NaN or infinite. */
    bool (*encode)(uint8_t *data, size_t first, const float *values, size_t n);
    /* `data` has bytes(count) bytes. The statuses are those of trib_codec_check. */
    enum trib_status (*check)(const uint8_t *data, size_t count, double *sum_squares, struct trib_error *err);
    /* y[i] += a * value[first + i] for i < n */
    void (*add)(const uint8_t *data, size_t first, size_t n, float a, float *y);
};

/* `codec->config` is the row's parameters, `codec->values` what follows the `+`. The contracts are those of
 * the functions of the same name in codec.h. */
struct trib_codec_sparse {
    size_t (*max_bytes)(const struct trib_codec *codec, size_t count);
    enum trib_status (*encode)(const struct trib_codec *codec, const struct trib_source *source,
                               struct trib_blob **out, struct trib_error *err);
    enum trib_status (*check)(const struct trib_codec *codec, const uint8_t *data, size_t bytes, size_t count,
                              double *sum_squares, struct trib_error *err);
    void (*start)(struct trib_decoder *decoder);
    void (*add)(struct trib_decoder *decoder, size_t n, float a,
                float *y); /* leaves position to the caller */
};

struct trib_codec {
    char spec[TRIB_CODEC_MAX_SPEC];
    const struct trib_codec_row *row; /* of the sparsifier, or of the value codec that stands alone */
    void *config;                     /* row->config_bytes, filled by row->params */
    const struct trib_codec_row *values_row;
    const struct trib_codec_values *values;
};

/* The one text for it, so that callers and people can rely on it. */
enum trib_status trib_codec_not_finite(const char *name, struct trib_error *err);

/* ---- the codecs ---- */
extern const struct trib_codec_values trib_codec_f32, trib_codec_f16, trib_codec_int8;
extern const struct trib_codec_sparse trib_codec_topk;

struct trib_topk_config {
    double fraction;
};
enum { TRIB_TOPK_PARAMS = 1 };
extern const struct trib_option trib_topk_params[TRIB_TOPK_PARAMS];

#endif
