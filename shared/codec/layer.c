/* layer(conv=int8, fc=topk(0.01)+int8, else=f32): each tensor by the codec of the first entry whose text its
 * name begins with; `else` takes what is left. Neighbours of one entry are one run, encoded together.
 *
 *     the runs' encodings, one behind the other; before one whose size depends on its values: u32 its bytes
 *
 * Encoding copies one run at a time, so that its codec may look at it as often as it likes. */
#include "shared/codec/layer.h"

#include "shared/base/alloc.h"
#include "shared/base/buf.h"
#include "shared/base/bytes.h"
#include "shared/codec/lines.h"

#include <stdio.h>
#include <string.h>

enum { LENGTH = sizeof(uint32_t) };

void trib_layers_free(struct trib_layers **layers) {
    struct trib_layers *l = *layers;
    *layers = NULL;
    if (l == NULL) return;
    for (size_t i = 0; i < l->entry_count; i++) trib_codec_free(&l->entries[i].codec);
    for (size_t i = 0; i < l->run_count; i++) trib_codec_free(&l->runs[i].own);
    trib_free(l->runs);
    trib_free(l);
}

/* ---- which run has which codec ---- */

static bool is_for(const struct trib_layer_entry *entry, const char *name) {
    return strcmp(entry->prefix, "else") == 0 || strncmp(name, entry->prefix, strlen(entry->prefix)) == 0;
}

static bool has_length(const struct trib_layer_run *run) {
    return run->codec->select.row != NULL;
}

static size_t entry_of(const struct trib_layers *layers, const char *name) {
    size_t i = 0;
    while (i < layers->entry_count && !is_for(&layers->entries[i], name)) i++;
    return i;
}

/* Codecs that look at tensors, for the runs that have one. */
static enum trib_status own_codecs(struct trib_layers *layers, const struct trib_schema *schema,
                                   struct trib_error *err) {
    for (size_t i = 0; i < layers->run_count; i++) {
        struct trib_layer_run *run = &layers->runs[i];
        if (!trib_codec_by_tensor(run->codec)) continue;
        enum trib_status status = trib_codec_new_bound(run->codec->spec, schema->tensors + run->first_tensor,
                                                       run->tensor_count, &run->own, err);
        if (status != TRIB_OK) return status;
        run->codec = run->own;
    }
    return TRIB_OK;
}

enum trib_status trib_layers_bind(struct trib_layers *layers, const struct trib_schema *schema,
                                  struct trib_error *err) {
    bool used[TRIB_LAYER_ENTRIES] = {false};
    size_t last = SIZE_MAX;
    layers->runs = trib_alloc_array(schema->tensor_count, sizeof *layers->runs);
    if (layers->runs == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a codec");
    for (size_t t = 0; t < schema->tensor_count; t++) {
        const struct trib_tensor *tensor = &schema->tensors[t];
        size_t entry = entry_of(layers, tensor->name);
        if (entry == layers->entry_count)
            return trib_fail(err, TRIB_INVALID, "layer: no entry is for the tensor %s; add else=f32",
                             tensor->name);
        used[entry] = true;
        if (entry != last)
            layers->runs[layers->run_count++] = (struct trib_layer_run){
                .codec = layers->entries[entry].codec, .first = tensor->offset, .first_tensor = t};
        layers->runs[layers->run_count - 1].count += tensor->count;
        layers->runs[layers->run_count - 1].tensor_count++;
        last = entry;
    }
    for (size_t i = 0; i < layers->entry_count; i++)
        if (!used[i] && strcmp(layers->entries[i].prefix, "else") != 0)
            return trib_fail(
                err, TRIB_INVALID, "layer: no tensor is left whose name begins with %s; the first is %s",
                layers->entries[i].prefix, schema->tensor_count > 0 ? schema->tensors[0].name : "none");
    enum trib_status status = own_codecs(layers, schema, err);
    for (size_t i = 0; status == TRIB_OK && i < layers->run_count; i++) {
        const struct trib_layer_run *run = &layers->runs[i];
        if (has_length(run) && trib_codec_max_bytes(run->codec, run->count) > UINT32_MAX)
            return trib_fail(err, TRIB_UNSUPPORTED,
                             "layer: %s of %zu values may take more than 4 GiB, which its length cannot say",
                             run->codec->spec, run->count);
    }
    return status;
}

size_t trib_layers_max_bytes(const struct trib_layers *layers) {
    size_t bytes = 0;
    for (size_t i = 0; i < layers->run_count; i++) {
        const struct trib_layer_run *run = &layers->runs[i];
        bytes += trib_codec_max_bytes(run->codec, run->count) + (has_length(run) ? LENGTH : 0);
    }
    return bytes;
}

bool trib_layers_are_slow(const struct trib_layers *layers) {
    for (size_t i = 0; i < layers->entry_count; i++)
        if (trib_codec_is_slow(layers->entries[i].codec)) return true;
    return false;
}

/* ---- encoding ---- */

static enum trib_status encode_run(const struct trib_layer_run *run, const struct trib_source *source,
                                   float *room, struct trib_buf *out, struct trib_error *err) {
    struct trib_blob *blob = NULL;
    trib_source_copy(source, run->first, run->count, room);
    struct trib_source copy = trib_source_floats(room, run->count);
    enum trib_status status = trib_codec_encode(run->codec, &copy, &blob, err);
    if (status != TRIB_OK) return status;
    uint8_t length[LENGTH];
    trib_put_u32(length, (uint32_t)trib_blob_size(blob));
    if (has_length(run)) trib_buf_append(out, length, sizeof length);
    trib_buf_append(out, trib_blob_data(blob), trib_blob_size(blob));
    trib_blob_unref(&blob);
    return TRIB_OK;
}

enum trib_status trib_layers_encode(const struct trib_layers *layers, const struct trib_source *source,
                                    struct trib_blob **out, struct trib_error *err) {
    size_t most = 0;
    for (size_t i = 0; i < layers->run_count; i++)
        if (layers->runs[i].count > most) most = layers->runs[i].count;
    float *room = trib_alloc_floats(most);
    struct trib_buf buf;
    trib_buf_init(&buf, 0);
    enum trib_status status =
        room != NULL ? TRIB_OK : trib_fail(err, TRIB_NOMEM, "layer: no memory for %zu values", most);
    for (size_t i = 0; status == TRIB_OK && i < layers->run_count; i++)
        status = encode_run(&layers->runs[i], source, room, &buf, err);
    if (status == TRIB_OK && (buf.failed || (*out = trib_blob_copy(buf.data, buf.size)) == NULL))
        status = trib_fail(err, TRIB_NOMEM, "layer: no memory for the encoding");
    trib_free(room);
    trib_buf_release(&buf);
    return status;
}

/* ---- decoding ---- */

/* Where the encoding of a run stands in the bytes from `at` on: past its length, if it has one. False if the
 * bytes do not hold it. */
static bool find_run(const struct trib_layer_run *run, const uint8_t *data, size_t bytes, size_t *at,
                     size_t *size) {
    if (!has_length(run)) {
        *size = trib_codec_max_bytes(run->codec, run->count);
    } else {
        if (bytes - *at < LENGTH) return false;
        *size = trib_get_u32(data + *at);
        *at += LENGTH;
    }
    return bytes - *at >= *size;
}

enum trib_status trib_layers_check(const struct trib_layers *layers, const uint8_t *data, size_t bytes,
                                   double *sum_squares, struct trib_error *err) {
    double sum = 0.0;
    size_t at = 0;
    for (size_t i = 0; i < layers->run_count; i++) {
        const struct trib_layer_run *run = &layers->runs[i];
        size_t size;
        double squares = 0.0;
        if (!find_run(run, data, bytes, &at, &size))
            return trib_fail(err, TRIB_INVALID, "layer: found %zu bytes, too few for the values from %zu on",
                             bytes, run->first);
        enum trib_status status = trib_codec_check(run->codec, data + at, size, run->count,
                                                   sum_squares != NULL ? &squares : NULL, err);
        if (status != TRIB_OK) return status;
        sum += squares;
        at += size;
    }
    if (at != bytes) return trib_fail(err, TRIB_INVALID, "layer: found %zu bytes, expected %zu", bytes, at);
    if (sum_squares != NULL) *sum_squares = sum;
    return TRIB_OK;
}

/* `offset` is where the bytes of the run stand that is decoded now. */
static void start_run(struct trib_decoder *d, struct trib_decoder *inner) {
    const struct trib_layer_run *run = &d->codec->layers->runs[d->run];
    size_t size;
    bool there = find_run(run, d->data, d->bytes, &d->offset, &size);
    TRIB_ASSERT(there); /* it has passed the check */
    trib_decoder_start(inner, run->codec, d->data + d->offset, size, run->count);
    d->run_bytes = size;
}

/* y[i] += a * value for the next n values; y = NULL: passes over them. */
static void go_on(struct trib_decoder *d, size_t n, float a, float *y) {
    const struct trib_layers *layers = d->codec->layers;
    for (size_t at = d->position, end = at + n, m; at < end; at += m) {
        const struct trib_layer_run *run = &layers->runs[d->run];
        struct trib_decoder inner = {.codec = run->codec,
                                     .data = d->data + d->offset,
                                     .bytes = d->run_bytes,
                                     .count = run->count,
                                     .position = at - run->first,
                                     .sparse = d->sparse};
        if (at == run->first) start_run(d, &inner);
        m = run->first + run->count < end ? run->first + run->count - at : end - at;
        if (y != NULL)
            trib_decoder_add(&inner, m, a, y + (at - d->position));
        else
            trib_decoder_skip(&inner, m);
        d->sparse = inner.sparse;
        if (inner.position < run->count) continue;
        d->offset += d->run_bytes;
        d->run++;
    }
}

void trib_layers_add(struct trib_decoder *d, size_t n, float a, float *y) {
    go_on(d, n, a, y);
}

void trib_layers_skip(struct trib_decoder *d, size_t n) {
    go_on(d, n, 0.0F, NULL);
}
