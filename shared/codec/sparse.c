/* Codecs that keep a part of the vector:
 *
 *     u32 k, positions (or the u32 seed that they follow from), the k values
 *
 * What is kept is gathered first, positions and values, 8 bytes each; then both are encoded. */
#include "shared/codec/rows.h"

#include "shared/base/alloc.h"
#include "shared/base/bytes.h"
#include "shared/codec/lines.h"

#include <inttypes.h>
#include <string.h>

enum {
    HEAD = 4,   /* the u32 k */
    PIECE = 256 /* values decoded at a time */
};

static const char *name_of(const struct trib_codec *codec) {
    return codec->select.row->name;
}

static size_t most_kept(const struct trib_codec *codec, size_t count) {
    return codec->select.row->select->most(&codec->select, count);
}

static bool keeps_rows(const struct trib_codec *codec) {
    return codec->select.row->select->rows;
}

/* What positions count, of `count` values. */
static size_t places(const struct trib_codec *codec, size_t count) {
    return keeps_rows(codec) ? codec->select.lines->rows : count;
}

/* The values at k places. */
static size_t values_of(const struct trib_codec *codec, size_t k) {
    return keeps_rows(codec) ? trib_rows_values(&codec->select) : k;
}

static size_t max_position_bytes(const struct trib_codec *codec, size_t k, size_t count) {
    if (codec->select.row->select->position != NULL) return sizeof(uint32_t);
    return codec->positions.row->positions->max_bytes(k, places(codec, count));
}

size_t trib_sparse_max_bytes(const struct trib_codec *codec, size_t count) {
    size_t k = most_kept(codec, count);
    return HEAD + max_position_bytes(codec, k, count) + trib_dense_bytes(codec, values_of(codec, k));
}

/* ---- encoding ---- */

static enum trib_status write(const struct trib_codec *codec, const struct trib_kept *kept, size_t count,
                              uint64_t seed, struct trib_blob **out, struct trib_error *err) {
    const size_t value_count = values_of(codec, kept->count), values = trib_dense_bytes(codec, value_count);
    uint8_t *positions = trib_alloc(max_position_bytes(codec, kept->count, count));
    size_t bytes = sizeof(uint32_t);
    if (positions == NULL)
        return trib_fail(err, TRIB_NOMEM, "%s: no memory for %zu positions", name_of(codec), kept->count);
    if (codec->select.row->select->position != NULL)
        trib_put_u32(positions, (uint32_t)seed);
    else
        bytes = codec->positions.row->positions->write(kept->positions, kept->count, positions);
    struct trib_blob *blob = trib_blob_new(HEAD + bytes + values);
    enum trib_status status = TRIB_OK;
    if (blob == NULL) {
        status = trib_fail(err, TRIB_NOMEM, "%s: no memory for the encoding", name_of(codec));
    } else {
        uint8_t *data = trib_blob_mutable(blob);
        struct trib_source source = trib_source_floats(kept->values, value_count);
        trib_put_u32(data, (uint32_t)kept->count);
        if (bytes > 0) memcpy(data + HEAD, positions, bytes);
        status = trib_dense_encode(codec, &source, seed, data + HEAD + bytes, err);
    }
    trib_free(positions);
    if (status != TRIB_OK) trib_blob_unref(&blob);
    *out = blob;
    return status;
}

enum trib_status trib_sparse_encode(const struct trib_codec *codec, const struct trib_source *source,
                                    uint64_t seed, struct trib_blob **out, struct trib_error *err) {
    if (source->count > UINT32_MAX)
        return trib_fail(err, TRIB_UNSUPPORTED, "%s: %zu values, it takes fewer than 2^32", name_of(codec),
                         source->count);
    struct trib_kept kept = {0};
    enum trib_status status = codec->select.row->select->choose(&codec->select, source, seed, &kept, err);
    if (status == TRIB_OK) status = write(codec, &kept, source->count, seed, out, err);
    trib_free(kept.positions);
    trib_free(kept.values);
    return status;
}

/* ---- the check ---- */

static enum trib_status check_kept(const struct trib_codec *codec, size_t k, size_t count,
                                   struct trib_error *err) {
    const struct trib_codec_select *select = codec->select.row->select;
    size_t most = most_kept(codec, count);
    if (select->exact && k != most)
        return trib_fail(err, TRIB_INVALID, "%s: keeps %zu %s, expected %zu of %zu", name_of(codec), k,
                         keeps_rows(codec) ? "rows" : "values", most, places(codec, count));
    if (k > most)
        return trib_fail(err, TRIB_INVALID, "%s: keeps %zu values of %zu", name_of(codec), k, count);
    return TRIB_OK;
}

enum trib_status trib_sparse_check(const struct trib_codec *codec, const uint8_t *data, size_t bytes,
                                   size_t count, double *sum_squares, struct trib_error *err) {
    if (bytes < HEAD)
        return trib_fail(err, TRIB_INVALID, "%s: found %zu bytes, expected %d at least", name_of(codec),
                         bytes, HEAD);
    const size_t k = trib_get_u32(data);
    enum trib_status status = check_kept(codec, k, count, err);
    if (status != TRIB_OK) return status;
    const size_t values = values_of(codec, k), value_bytes = trib_dense_bytes(codec, values),
                 left = bytes - HEAD;
    size_t used = sizeof(uint32_t);
    if (left < value_bytes)
        return trib_fail(err, TRIB_INVALID, "%s: found %zu bytes, expected %zu for the values alone",
                         name_of(codec), bytes, HEAD + value_bytes);
    if (codec->select.row->select->position == NULL)
        status = codec->positions.row->positions->check(data + HEAD, left - value_bytes, k,
                                                        places(codec, count), &used, err);
    if (status == TRIB_OK && keeps_rows(codec)) status = trib_rows_check(codec, data + HEAD, used, k, err);
    if (status != TRIB_OK) return status;
    const size_t most = max_position_bytes(codec, k, count);
    if (used > most)
        return trib_fail(err, TRIB_INVALID, "%s: the positions take %zu bytes, expected %zu at most",
                         name_of(codec), used, most);
    if (left < used || left - used != value_bytes)
        return trib_fail(err, TRIB_INVALID, "%s: found %zu bytes behind the positions, expected %zu",
                         name_of(codec), left < used ? 0 : left - used, value_bytes);
    return trib_dense_check(codec, data + HEAD + used, values, sum_squares, err);
}

/* ---- decoding ---- */

/* Moves to the position of value `next`. */
static void advance(struct trib_decoder *d) {
    const struct trib_codec_select *select = d->codec->select.row->select;
    struct trib_decoder_sparse *s = &d->sparse;
    if (s->next == s->kept) return;
    if (select->position != NULL)
        s->at = select->position(trib_get_u32(d->data + HEAD), s->next, s->kept, d->count);
    else
        s->at = d->codec->positions.row->positions->next(d->data + HEAD, s->values - HEAD, &s->cursor, s->at);
}

void trib_sparse_start(struct trib_decoder *d) {
    struct trib_decoder_sparse *s = &d->sparse;
    s->kept = trib_get_u32(d->data);
    s->values = d->bytes - trib_dense_bytes(d->codec, values_of(d->codec, s->kept));
    s->at = SIZE_MAX;
    advance(d);
}

void trib_sparse_add(struct trib_decoder *d, size_t n, float a, float *y) {
    struct trib_decoder_sparse *s = &d->sparse;
    const size_t end = d->position + n;
    if (keeps_rows(d->codec)) {
        trib_rows_go_on(d, advance, n, a, y);
        return;
    }
    while (s->next < s->kept && s->at < end) {
        size_t first = s->next, m = 0;
        uint32_t at[PIECE];
        for (; m < PIECE && s->next < s->kept && s->at < end; m++) {
            at[m] = (uint32_t)(s->at - d->position);
            s->next++;
            advance(d);
        }
        float scaled[PIECE] = {0};
        trib_dense_add(d->codec, d->data + s->values, s->kept, first, m, a, scaled);
        for (size_t i = 0; i < m; i++) y[at[i]] += scaled[i];
    }
}

void trib_sparse_skip(struct trib_decoder *d, size_t n) {
    struct trib_decoder_sparse *s = &d->sparse;
    if (keeps_rows(d->codec)) {
        trib_rows_go_on(d, advance, n, 0.0F, NULL);
        return;
    }
    for (const size_t end = d->position + n; s->next < s->kept && s->at < end; advance(d)) s->next++;
}
