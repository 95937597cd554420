/* Every value gets its bytes: a code of values, behind a rotation or not. */
#include "shared/codec/codec_row.h"

#include "shared/codec/rotate.h"

size_t trib_dense_bytes(const struct trib_codec *codec, size_t count) {
    size_t head = codec->rotate.row != NULL ? TRIB_ROTATE_HEAD : 0;
    return head + codec->values.row->values->bytes(&codec->values, count);
}

enum trib_status trib_dense_encode(const struct trib_codec *codec, const struct trib_source *source,
                                   uint64_t seed, uint8_t *out, struct trib_error *err) {
    const struct trib_codec_values *values = codec->values.row->values;
    if (codec->rotate.row == NULL) return values->encode(&codec->values, source, seed, out, err);
    struct trib_rotation rotation;
    struct trib_source rotated = trib_rotation_source(&rotation, &codec->rotate, source, seed, out);
    return values->encode(&codec->values, &rotated, seed, out + TRIB_ROTATE_HEAD, err);
}

enum trib_status trib_dense_check(const struct trib_codec *codec, const uint8_t *data, size_t count,
                                  double *sum_squares, struct trib_error *err) {
    const struct trib_codec_values *values = codec->values.row->values;
    if (codec->rotate.row == NULL) return values->check(&codec->values, data, count, sum_squares, err);
    double squares = 0.0;
    enum trib_status status = values->check(&codec->values, data + TRIB_ROTATE_HEAD, count, &squares, err);
    if (status == TRIB_OK) status = trib_rotation_check(squares, err);
    if (status == TRIB_OK && sum_squares != NULL) *sum_squares = squares;
    return status;
}

void trib_dense_add(const struct trib_codec *codec, const uint8_t *data, size_t count, size_t first, size_t n,
                    float a, float *y) {
    if (codec->rotate.row != NULL)
        trib_rotation_add(codec, data, count, first, n, a, y);
    else
        codec->values.row->values->add(&codec->values, data, count, first, n, a, y);
}
