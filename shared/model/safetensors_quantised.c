/* Models with weights of a few bits as files. */
#include "shared/base/bytes.h"
#include "shared/base/json.h"
#include "shared/model/header.h"
#include "shared/model/outfile.h"
#include "shared/model/quantise.h"
#include "shared/model/safetensors.h"

#include <stdio.h>

enum { PIECE = 256 /* codes at a time; even */ };

static size_t row_length(const struct trib_tensor *tensor) {
    return tensor->count / tensor->dims[0];
}

/* What is written of a model, tensor after tensor: first where it will stand, then the bytes. */
struct export {
    const struct trib_schema *schema;
    unsigned bits;
    const float *parameters;
    uint64_t at; /* bytes of data so far */
};

static void write_entry(struct trib_json *json, struct export *e, const char *name, const char *type,
                        const size_t *dims, size_t rank, size_t bytes) {
    trib_json_key(json, name);
    trib_json_begin(json, '{');
    trib_json_key(json, "dtype");
    trib_json_string(json, type);
    trib_json_key(json, "shape");
    trib_json_begin(json, '[');
    for (size_t d = 0; d < rank; d++) trib_json_u64(json, dims[d]);
    trib_json_end(json, ']');
    trib_json_key(json, "data_offsets");
    trib_json_begin(json, '[');
    trib_json_u64(json, e->at);
    trib_json_u64(json, e->at += bytes);
    trib_json_end(json, ']');
    trib_json_end(json, '}');
}

static size_t packed_length(const struct export *e, const struct trib_tensor *tensor) {
    return e->bits == 8 ? row_length(tensor) : (row_length(tensor) + 1) / 2;
}

/* The floats of a tensor: its scales, or itself. */
static void write_floats(struct trib_json *json, struct export *e, const struct trib_tensor *tensor) {
    const size_t rows = tensor->dims[0];
    char scale[TRIB_SCHEMA_MAX_NAME + 8];
    (void)snprintf(scale, sizeof scale, "%s.scale", tensor->name);
    if (trib_quantise_has_rows(tensor))
        write_entry(json, e, scale, "F32", &rows, 1, rows * sizeof(float));
    else
        write_entry(json, e, tensor->name, "F32", tensor->dims, tensor->rank, tensor->count * sizeof(float));
}

static void write_codes(struct trib_json *json, struct export *e, const struct trib_tensor *tensor) {
    const size_t packed[2] = {tensor->dims[0], packed_length(e, tensor)};
    if (!trib_quantise_has_rows(tensor)) return;
    if (e->bits == 8)
        write_entry(json, e, tensor->name, "I8", tensor->dims, tensor->rank, tensor->count);
    else
        write_entry(json, e, tensor->name, "U8", packed, 2, packed[0] * packed[1]);
}

static void write_shape(struct trib_json *json, const struct trib_tensor *tensor) {
    char key[TRIB_SCHEMA_MAX_NAME + 8], shape[TRIB_SCHEMA_MAX_RANK * 21] = "";
    for (size_t d = 0, used = 0; d < tensor->rank; d++)
        used +=
            (size_t)snprintf(shape + used, sizeof shape - used, "%s%zu", d > 0 ? "x" : "", tensor->dims[d]);
    (void)snprintf(key, sizeof key, "%s.shape", tensor->name);
    trib_json_key(json, key);
    trib_json_string(json, shape);
}

static void write_header(struct trib_buf *out, struct export *e, const char *const *metadata) {
    struct trib_json json = {.out = out};
    uint64_t length = 0;
    trib_buf_append(out, &length, sizeof length);
    trib_json_begin(&json, '{');
    trib_json_key(&json, "__metadata__");
    trib_json_begin(&json, '{');
    trib_json_key(&json, "quantised");
    trib_json_string(&json, e->bits == 8 ? "int8" : "int4");
    for (size_t i = 0; metadata != NULL && metadata[i] != NULL; i += 2) {
        trib_json_key(&json, metadata[i]);
        trib_json_string(&json, metadata[i + 1]);
    }
    for (size_t t = 0; e->bits == 4 && t < e->schema->tensor_count; t++)
        if (trib_quantise_has_rows(&e->schema->tensors[t])) write_shape(&json, &e->schema->tensors[t]);
    trib_json_end(&json, '}');
    for (size_t t = 0; t < e->schema->tensor_count; t++) write_floats(&json, e, &e->schema->tensors[t]);
    for (size_t t = 0; t < e->schema->tensor_count; t++) write_codes(&json, e, &e->schema->tensors[t]);
    trib_json_end(&json, '}');
    while (!out->failed && out->size % 8 != 0) trib_buf_append(out, " ", 1);
    if (!out->failed) trib_put_u64(out->data, out->size - sizeof length);
}

/* Two codes to a byte. */
static void pack(const int8_t *codes, size_t count, uint8_t *out) {
    for (size_t i = 0; i < count; i += 2) {
        const unsigned low = (uint8_t)codes[i] & 15U, high = i + 1 < count ? (uint8_t)codes[i + 1] & 15U : 0;
        out[i / 2] = (uint8_t)(low | high << 4);
    }
}

static void append_row(struct trib_buf *out, const struct export *e, const float *row, size_t length) {
    const float scale = trib_quantise_scale(e->bits, row, length);
    int8_t codes[PIECE];
    uint8_t packed[PIECE / 2];
    for (size_t at = 0, n; at < length; at += n) {
        n = length - at < PIECE ? length - at : PIECE;
        trib_quantise_codes(e->bits, scale, row + at, n, codes);
        pack(codes, n, packed);
        trib_buf_append(out, e->bits == 8 ? (const void *)codes : packed, e->bits == 8 ? n : (n + 1) / 2);
    }
}

static void append_floats(struct trib_buf *out, const struct export *e, const struct trib_tensor *tensor) {
    const float *x = e->parameters + tensor->offset;
    const size_t length = row_length(tensor);
    if (!trib_quantise_has_rows(tensor)) {
        trib_buf_append(out, x, tensor->count * sizeof *x);
        return;
    }
    for (size_t r = 0; r < tensor->dims[0]; r++) {
        const float scale = trib_quantise_scale(e->bits, x + r * length, length);
        trib_buf_append(out, &scale, sizeof scale);
    }
}

static void append_codes(struct trib_buf *out, const struct export *e, const struct trib_tensor *tensor) {
    const size_t length = row_length(tensor);
    for (size_t r = 0; trib_quantise_has_rows(tensor) && r < tensor->dims[0]; r++)
        append_row(out, e, e->parameters + tensor->offset + r * length, length);
}

enum trib_status trib_safetensors_save_quantised(const char *path, const struct trib_schema *schema,
                                                 unsigned bits, const float *parameters,
                                                 const char *const *metadata, struct trib_error *err) {
    struct export e = {.schema = schema, .bits = bits, .parameters = parameters};
    struct trib_buf header, data;
    struct trib_outfile file;
    trib_buf_init(&header, sizeof(uint64_t) + TRIB_HEADER_MAX_BYTES);
    trib_buf_init(&data, 0);
    write_header(&header, &e, metadata);
    for (size_t t = 0; t < schema->tensor_count; t++) append_floats(&data, &e, &schema->tensors[t]);
    for (size_t t = 0; t < schema->tensor_count; t++) append_codes(&data, &e, &schema->tensors[t]);
    enum trib_status status = TRIB_OK;
    if (header.failed)
        status = trib_fail(err, TRIB_NOMEM, "the header of %s does not fit into memory, or into %d bytes",
                           path, TRIB_HEADER_MAX_BYTES);
    else if (data.failed)
        status = trib_fail(err, TRIB_NOMEM, "no memory for the weights of %u bits for %s", bits, path);
    if (status == TRIB_OK) status = trib_outfile_open(&file, path, err);
    if (status == TRIB_OK) {
        status = trib_outfile_write(&file, header.data, header.size, err);
        if (status == TRIB_OK) status = trib_outfile_write(&file, data.data, data.size, err);
        status = trib_outfile_close(&file, status, err);
    }
    trib_buf_release(&header);
    trib_buf_release(&data);
    return status;
}
