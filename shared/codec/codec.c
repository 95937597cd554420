/* The table of codecs, what they have in common, and the specs that choose them (spec.c). */
#include "shared/codec/codec_row.h"

#include <string.h>

static const struct trib_codec_row rows[] = {
    {.name = "f32",
     .summary = "the values as they are, 4 bytes each",
     .example = "f32",
     .kind = TRIB_CODEC_VALUES,
     .values = &trib_codec_f32},
    {.name = "f16",
     .summary = "IEEE halves, 2 bytes a value",
     .example = "f16",
     .kind = TRIB_CODEC_VALUES,
     .values = &trib_codec_f16},
    {.name = "int8",
     .summary = "a signed byte a value and a scale for each 256",
     .example = "int8",
     .kind = TRIB_CODEC_VALUES,
     .values = &trib_codec_int8},
    {.name = "topk",
     .summary = "only the largest magnitudes, with their positions",
     .example = "topk(0.05)+int8",
     .kind = TRIB_CODEC_SPARSE,
     .params = trib_topk_params,
     .param_count = TRIB_TOPK_PARAMS,
     .config_bytes = sizeof(struct trib_topk_config),
     .sparse = &trib_codec_topk},
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

/* ---- encoding ---- */

size_t trib_codec_max_bytes(const struct trib_codec *codec, size_t count) {
    TRIB_ASSERT(count <= SIZE_MAX / 16); /* no codec needs more than that many bytes a value */
    if (codec->row->sparse != NULL) return codec->row->sparse->max_bytes(codec, count);
    return codec->values->bytes(count);
}

static bool encode_values(const struct trib_codec_values *values, const struct trib_source *source,
                          uint8_t *out) {
    float block[TRIB_CODEC_BLOCK];
    for (size_t at = 0, n; at < source->count; at += n) {
        n = source->count - at < TRIB_CODEC_BLOCK ? source->count - at : TRIB_CODEC_BLOCK;
        source->read(source->ctx, at, n, block);
        if (!values->encode(out, at, block, n)) return false;
    }
    return true;
}

enum trib_status trib_codec_encode(const struct trib_codec *codec, const struct trib_source *source,
                                   struct trib_blob **out, struct trib_error *err) {
    if (codec->row->sparse != NULL) return codec->row->sparse->encode(codec, source, out, err);
    size_t bytes = trib_codec_max_bytes(codec, source->count);
    struct trib_blob *blob = trib_blob_new(bytes);
    if (blob == NULL) return trib_fail(err, TRIB_NOMEM, "%s: no memory for %zu bytes", codec->spec, bytes);
    if (!encode_values(codec->values, source, trib_blob_mutable(blob))) {
        trib_blob_unref(&blob);
        return trib_codec_not_finite(codec->spec, err);
    }
    *out = blob;
    return TRIB_OK;
}

/* ---- decoding ---- */

enum trib_status trib_codec_check(const struct trib_codec *codec, const void *data, size_t bytes,
                                  size_t count, double *sum_squares, struct trib_error *err) {
    TRIB_ASSERT(count <= SIZE_MAX / 16);
    if (codec->row->sparse != NULL)
        return codec->row->sparse->check(codec, data, bytes, count, sum_squares, err);
    size_t expected = codec->values->bytes(count);
    if (bytes == expected) return codec->values->check(data, count, sum_squares, err);
    return trib_fail(err, TRIB_INVALID, "%s: found %zu bytes, expected %zu for %zu values", codec->spec,
                     bytes, expected, count);
}

void trib_decoder_start(struct trib_decoder *decoder, const struct trib_codec *codec, const void *data,
                        size_t bytes, size_t count) {
    *decoder = (struct trib_decoder){.codec = codec, .data = data, .bytes = bytes, .count = count};
    if (codec->row->sparse != NULL) codec->row->sparse->start(decoder);
}

void trib_decoder_add(struct trib_decoder *decoder, size_t n, float a, float *y) {
    TRIB_ASSERT(n <= decoder->count - decoder->position);
    const struct trib_codec *codec = decoder->codec;
    if (codec->row->sparse != NULL) {
        codec->row->sparse->add(decoder, n, a, y);
    } else {
        codec->values->add(decoder->data, decoder->position, n, a, y);
    }
    decoder->position += n;
}

void trib_codec_add(const struct trib_codec *codec, const void *data, size_t bytes, size_t count, float a,
                    float *y) {
    struct trib_decoder decoder;
    trib_decoder_start(&decoder, codec, data, bytes, count);
    trib_decoder_add(&decoder, count, a, y);
}
