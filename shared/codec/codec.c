/* The table of codecs, what they have in common, and the specs that choose them (spec.c). */
#include "shared/codec/layer.h"
#include "shared/codec/lossless.h"
#include "shared/codec/packed.h"

#include "shared/base/bytes.h"
#include "shared/kernels/kernels.h"

#include <string.h>

enum { INT_BLOCK = 256 };

#define NO_PARAMS NULL, 0, TRIB_CODEC_VALUES, 0, NULL
#define INTS      trib_int_params, TRIB_INT_PARAMS, TRIB_CODEC_VALUES, sizeof(struct trib_int_config), check_int
#define LEVELS                                                                                               \
    trib_level_params, TRIB_LEVEL_PARAMS, TRIB_CODEC_VALUES, sizeof(struct trib_level_config), check_level

static enum trib_status check_int(const char *name, const void *config, struct trib_error *err) {
    const struct trib_int_config *c = config;
    if (strcmp(c->per, "block") != 0 && c->block != INT_BLOCK)
        return trib_fail(err, TRIB_INVALID,
                         "%s: block=%llu says what shares a scale, and so does per=%s; one "
                         "of the two",
                         name, (unsigned long long)c->block, c->per);
    return trib_check_block(name, c->block, err);
}

static enum trib_status check_level(const char *name, const void *config, struct trib_error *err) {
    return trib_check_block(name, ((const struct trib_level_config *)config)->block, err);
}

/* Where the whole vector cannot be one block; the option has the bounds. */
static enum trib_status check_power(const char *name, uint64_t block, struct trib_error *err) {
    if ((block & (block - 1)) == 0) return TRIB_OK;
    return trib_fail(err, TRIB_INVALID, "%s: a block of %llu, expected a power of two", name,
                     (unsigned long long)block);
}

static enum trib_status check_ternary(const char *name, const void *config, struct trib_error *err) {
    return check_power(name, ((const struct trib_ternary_config *)config)->block, err);
}

static enum trib_status check_qsgd(const char *name, const void *config, struct trib_error *err) {
    return trib_check_block(name, ((const struct trib_qsgd_config *)config)->block, err);
}

static enum trib_status check_rotate(const char *name, const void *config, struct trib_error *err) {
    return check_power(name, ((const struct trib_rotate_config *)config)->block, err);
}

static const struct trib_codec_row rows[] = {
    {"f32", "the values as they are, 4 bytes each", "f32", NO_PARAMS, &trib_codec_f32, NULL, NULL},
    {"f16", "IEEE halves, 2 bytes a value", "f16", NO_PARAMS, &trib_codec_f16, NULL, NULL},
    {"bf16", "the upper halves of the floats, 2 bytes a value", "bf16", NO_PARAMS, &trib_codec_bf16, NULL,
     NULL},
    {"int8", "a signed byte a value and a scale for each 256", "int8", INTS, &trib_codec_int8, NULL, NULL},
    {"int4", "4 bits a value, -7 to 7 times a scale", "int4", INTS, &trib_codec_int4, NULL, NULL},
    {"int2", "2 bits a value, -1 to 1 times a scale", "int2", INTS, &trib_codec_int2, NULL, NULL},
    {"1bit", "signs and a mean magnitude", "rotate+1bit", LEVELS, &trib_codec_1bit, NULL, NULL},
    {"2bit", "2 bits a value, for normally distributed ones", "rotate+2bit", LEVELS, &trib_codec_2bit, NULL,
     NULL},
    {"3bit", "3 bits a value, for normally distributed ones", "rotate+3bit", LEVELS, &trib_codec_3bit, NULL,
     NULL},
    {"4bit", "4 bits a value, for normally distributed ones", "rotate+4bit", LEVELS, &trib_codec_4bit, NULL,
     NULL},
    {"ternary", "-s, 0 or s, five to a byte", "ternary", trib_ternary_params, TRIB_TERNARY_PARAMS,
     TRIB_CODEC_VALUES, sizeof(struct trib_ternary_config), check_ternary, &trib_codec_ternary, NULL, NULL},
    {"qsgd", "multiples of a part of the norm, by lot", "qsgd", trib_qsgd_params, TRIB_QSGD_PARAMS,
     TRIB_CODEC_VALUES, sizeof(struct trib_qsgd_config), check_qsgd, &trib_codec_qsgd, NULL, NULL},
    {"kmeans", "entries of a table that is fitted to the values", "kmeans", trib_kmeans_params,
     TRIB_KMEANS_PARAMS, TRIB_CODEC_VALUES, sizeof(struct trib_kmeans_config), NULL, &trib_codec_kmeans, NULL,
     NULL},
    {"rotate", "a random rotation, behind which values are nearly normal", "rotate(block=512)+int4",
     trib_rotate_params, TRIB_ROTATE_PARAMS, TRIB_CODEC_ROTATE, sizeof(struct trib_rotate_config),
     check_rotate, NULL, NULL, NULL},
    {"powersgd", "matrices as products of two thin ones", "powersgd(2)+int8", trib_powersgd_params,
     TRIB_POWERSGD_PARAMS, TRIB_CODEC_REDUCE, sizeof(struct trib_powersgd_config), NULL, NULL, NULL, NULL},
    {"rows", "only the largest rows of matrices and filters of convolutions", "rows(0.25)+int8+rice",
     trib_topk_params, TRIB_TOPK_PARAMS, TRIB_CODEC_SELECT, sizeof(struct trib_topk_config), NULL, NULL,
     &trib_codec_rows_kept, NULL},
    {"topk", "only the largest magnitudes, with their positions", "topk(0.05)+int8", trib_topk_params,
     TRIB_TOPK_PARAMS, TRIB_CODEC_SELECT, sizeof(struct trib_topk_config), NULL, NULL, &trib_codec_topk,
     NULL},
    {"threshold", "magnitudes of so many times the root mean square", "threshold(1.5)+int8",
     trib_threshold_params, TRIB_THRESHOLD_PARAMS, TRIB_CODEC_SELECT, sizeof(struct trib_threshold_config),
     NULL, NULL, &trib_codec_threshold, NULL},
    {"randomk", "some drawn by lot, their positions from a seed", "randomk(0.1)+int8", trib_topk_params,
     TRIB_TOPK_PARAMS, TRIB_CODEC_SELECT, sizeof(struct trib_topk_config), NULL, NULL, &trib_codec_randomk,
     NULL},
    {"rice", "positions in the fewest bits that Golomb-Rice codes take", "topk(0.05)+int8+rice", NULL, 0,
     TRIB_CODEC_POSITIONS, 0, NULL, NULL, NULL, &trib_codec_rice},
    {"layer", "a codec for each tensor, by how its name begins", "layer(conv=int8, else=topk(0.01)+int8)",
     NULL, 0, TRIB_CODEC_LAYERS, 0, NULL, NULL, NULL, NULL},
    {"zstd", "all bytes compressed, where that makes them fewer", "int4+zstd", trib_zstd_params,
     TRIB_ZSTD_PARAMS, TRIB_CODEC_LOSSLESS, sizeof(struct trib_zstd_config), NULL, NULL, NULL, NULL},
    {"leb", "positions as distances of one byte and more; where none is named", "topk(0.05)+int8+leb", NULL,
     0, TRIB_CODEC_POSITIONS, 0, NULL, NULL, NULL, &trib_codec_leb},
};

const struct trib_codec_row *trib_codec_rows(size_t *count) {
    *count = sizeof rows / sizeof rows[0];
    return rows;
}

const char *trib_codec_spec(const struct trib_codec *codec) {
    return codec->spec;
}

enum trib_status trib_codec_not_finite(const char *name, struct trib_error *err) {
    return trib_fail(err, TRIB_LIMIT, "%s: found NaN or infinity among the values, expected finite ones",
                     name);
}

/* ---- sources ---- */

static void read_floats(void *ctx, size_t offset, size_t count, float *out) {
    memcpy(out, (const float *)ctx + offset, count * sizeof(float));
}

struct trib_source trib_source_floats(const float *values, size_t count) {
    struct trib_source source = {.read = read_floats, .ctx = (void *)values, .count = count};
    return source;
}

const float *trib_source_block(const struct trib_source *source, size_t at, float *room, size_t *n) {
    *n = source->count - at < TRIB_CODEC_BLOCK ? source->count - at : TRIB_CODEC_BLOCK;
    if (source->read == read_floats) return (const float *)source->ctx + at;
    source->read(source->ctx, at, *n, room);
    return room;
}

uint32_t trib_source_digest(const struct trib_source *source) {
    float room[TRIB_CODEC_BLOCK];
    uint32_t crc = 0;
    for (size_t at = 0, n; at < source->count; at += n) {
        const float *block = trib_source_block(source, at, room, &n);
        crc = trib_kernels()->crc32c(crc, block, n * sizeof *block);
    }
    return crc;
}

/* ---- encoding ---- */

static size_t max_plain_bytes(const struct trib_codec *codec, size_t count) {
    TRIB_ASSERT(count <= SIZE_MAX / 64); /* no codec needs more than that many bytes a value */
    if (codec->layers != NULL) return trib_layers_max_bytes(codec->layers);
    if (codec->reduce.row != NULL) return trib_lowrank_bytes(codec);
    return codec->select.row != NULL ? trib_sparse_max_bytes(codec, count) : trib_dense_bytes(codec, count);
}

size_t trib_codec_max_bytes(const struct trib_codec *codec, size_t count) {
    size_t plain = max_plain_bytes(codec, count);
    return codec->lossless.row != NULL ? trib_lossless_max_bytes(plain) : plain;
}

bool trib_codec_is_slow(const struct trib_codec *codec) {
    if (codec->layers != NULL) return trib_layers_are_slow(codec->layers);
    return codec->reduce.row != NULL && codec->rotate.row != NULL;
}

enum trib_status trib_encode_blocks(const char *name, const struct trib_source *source, uint8_t *out,
                                    bool (*encode)(uint8_t *out, size_t first, const float *values, size_t n),
                                    struct trib_error *err) {
    float room[TRIB_CODEC_BLOCK];
    for (size_t at = 0, n; at < source->count; at += n) {
        const float *block = trib_source_block(source, at, room, &n);
        if (!encode(out, at, block, n)) return trib_codec_not_finite(name, err);
    }
    return TRIB_OK;
}

/* What is drawn by lot, a rotation's signs among it, follows from all of the values. So the same input gives
 * the same bytes, and yet the lots of two updates, of two devices, or of two rounds have nothing to do with
 * each other, as the mean over them needs. What the lots cannot be independent of is the vector itself; a
 * checksum's bits have no more to do with its large and small values than a counter's would. */
static uint64_t seed_of(const struct trib_codec *codec, const struct trib_source *source) {
    const struct trib_codec_values *values = codec->values.row->values;
    bool draws = codec->rotate.row != NULL || codec->reduce.row != NULL ||
                 (values->draws != NULL && values->draws(&codec->values)) ||
                 (codec->select.row != NULL && codec->select.row->select->position != NULL);
    return draws ? trib_source_digest(source) : 0;
}

static enum trib_status encode_plain(const struct trib_codec *codec, const struct trib_source *source,
                                     struct trib_blob **out, struct trib_error *err) {
    if (codec->layers != NULL) return trib_layers_encode(codec->layers, source, out, err);
    const uint64_t seed = seed_of(codec, source);
    if (codec->select.row != NULL) return trib_sparse_encode(codec, source, seed, out, err);
    size_t bytes = max_plain_bytes(codec, source->count);
    struct trib_blob *blob = trib_blob_new(bytes);
    if (blob == NULL) return trib_fail(err, TRIB_NOMEM, "%s: no memory for %zu bytes", codec->spec, bytes);
    enum trib_status status = (codec->reduce.row != NULL ? trib_lowrank_encode : trib_dense_encode)(
        codec, source, seed, trib_blob_mutable(blob), err);
    if (status != TRIB_OK) trib_blob_unref(&blob);
    *out = blob;
    return status;
}

enum trib_status trib_codec_encode(const struct trib_codec *codec, const struct trib_source *source,
                                   struct trib_blob **out, struct trib_error *err) {
    struct trib_blob *blob = NULL;
    enum trib_status status = encode_plain(codec, source, &blob, err);
    if (status == TRIB_OK && codec->lossless.row != NULL)
        status = trib_lossless_encode(&codec->lossless, &blob, err);
    if (status == TRIB_OK)
        *out = blob;
    else
        trib_blob_unref(&blob);
    return status;
}

/* ---- decoding ---- */

enum trib_status trib_plain_open(const struct trib_codec *codec, const void *data, size_t bytes, size_t count,
                                 struct trib_plain *out, struct trib_error *err) {
    *out = (struct trib_plain){.data = data, .bytes = bytes};
    if (codec->lossless.row == NULL) return TRIB_OK;
    return trib_lossless_open(data, bytes, max_plain_bytes(codec, count), out, err);
}

static enum trib_status check_plain(const struct trib_codec *codec, const void *data, size_t bytes,
                                    size_t count, double *sum_squares, struct trib_error *err) {
    TRIB_ASSERT(count <= SIZE_MAX / 64);
    if (codec->layers != NULL) return trib_layers_check(codec->layers, data, bytes, sum_squares, err);
    if (codec->select.row != NULL) return trib_sparse_check(codec, data, bytes, count, sum_squares, err);
    size_t expected = max_plain_bytes(codec, count);
    if (bytes == expected && codec->reduce.row != NULL)
        return trib_lowrank_check(codec, data, sum_squares, err);
    if (bytes == expected) return trib_dense_check(codec, data, count, sum_squares, err);
    return trib_fail(err, TRIB_INVALID, "%s: found %zu bytes, expected %zu for %zu values", codec->spec,
                     bytes, expected, count);
}

enum trib_status trib_codec_check(const struct trib_codec *codec, const void *data, size_t bytes,
                                  size_t count, double *sum_squares, struct trib_error *err) {
    struct trib_plain plain;
    enum trib_status status = trib_plain_open(codec, data, bytes, count, &plain, err);
    if (status == TRIB_OK) status = check_plain(codec, plain.data, plain.bytes, count, sum_squares, err);
    trib_plain_release(&plain);
    return status;
}

void trib_decoder_start(struct trib_decoder *decoder, const struct trib_codec *codec, const void *data,
                        size_t bytes, size_t count) {
    *decoder = (struct trib_decoder){.codec = codec, .data = data, .bytes = bytes, .count = count};
    if (codec->select.row != NULL) trib_sparse_start(decoder);
}

void trib_decoder_add(struct trib_decoder *decoder, size_t n, float a, float *y) {
    TRIB_ASSERT(n <= decoder->count - decoder->position);
    const struct trib_codec *codec = decoder->codec;
    if (codec->layers != NULL)
        trib_layers_add(decoder, n, a, y);
    else if (codec->reduce.row != NULL)
        trib_lowrank_add(codec, decoder->data, decoder->position, n, a, y);
    else if (codec->select.row != NULL)
        trib_sparse_add(decoder, n, a, y);
    else
        trib_dense_add(codec, decoder->data, decoder->count, decoder->position, n, a, y);
    decoder->position += n;
}

void trib_decoder_skip(struct trib_decoder *decoder, size_t n) {
    TRIB_ASSERT(n <= decoder->count - decoder->position);
    if (decoder->codec->layers != NULL)
        trib_layers_skip(decoder, n);
    else if (decoder->codec->select.row != NULL)
        trib_sparse_skip(decoder, n);
    decoder->position += n;
}

enum trib_status trib_codec_add(const struct trib_codec *codec, const void *data, size_t bytes, size_t count,
                                float a, float *y) {
    struct trib_plain plain;
    enum trib_status status = trib_plain_open(codec, data, bytes, count, &plain, NULL);
    if (status != TRIB_OK) return status;
    struct trib_decoder decoder;
    trib_decoder_start(&decoder, codec, plain.data, plain.bytes, count);
    trib_decoder_add(&decoder, count, a, y);
    trib_plain_release(&plain);
    return TRIB_OK;
}
