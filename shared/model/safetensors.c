#include "shared/model/safetensors.h"

#include "shared/base/alloc.h"
#include "shared/base/bytes.h"
#include "shared/base/json.h"
#include "shared/model/header.h"
#include "shared/model/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- out ---- */

static void write_tensor(struct trib_json *json, const struct trib_tensor *tensor) {
    trib_json_key(json, tensor->name);
    trib_json_begin(json, '{');
    trib_json_key(json, "dtype");
    trib_json_string(json, "F32");
    trib_json_key(json, "shape");
    trib_json_begin(json, '[');
    for (size_t d = 0; d < tensor->rank; d++) trib_json_u64(json, tensor->dims[d]);
    trib_json_end(json, ']');
    trib_json_key(json, "data_offsets");
    trib_json_begin(json, '[');
    trib_json_u64(json, tensor->offset * sizeof(float));
    trib_json_u64(json, (tensor->offset + tensor->count) * sizeof(float));
    trib_json_end(json, ']');
    trib_json_end(json, '}');
}

/* The header with its length before it, and blanks behind it up to a multiple of 8. */
static void write_header(struct trib_buf *out, const struct trib_schema *schema,
                         const char *const *metadata) {
    struct trib_json json = {.out = out};
    uint64_t length = 0;
    trib_buf_append(out, &length, sizeof length);
    trib_json_begin(&json, '{');
    if (metadata != NULL && metadata[0] != NULL) {
        trib_json_key(&json, "__metadata__");
        trib_json_begin(&json, '{');
        for (size_t i = 0; metadata[i] != NULL; i += 2) {
            trib_json_key(&json, metadata[i]);
            trib_json_string(&json, metadata[i + 1]);
        }
        trib_json_end(&json, '}');
    }
    for (size_t t = 0; t < schema->tensor_count; t++) write_tensor(&json, &schema->tensors[t]);
    trib_json_end(&json, '}');
    while (!out->failed && out->size % 8 != 0) trib_buf_append(out, " ", 1);
    if (!out->failed) trib_put_u64(out->data, out->size - sizeof length);
}

enum trib_status trib_safetensors_save(const char *path, const struct trib_schema *schema,
                                       const float *parameters, const char *const *metadata,
                                       struct trib_error *err) {
    struct trib_buf header;
    struct trib_outfile file;
    trib_buf_init(&header, sizeof(uint64_t) + TRIB_HEADER_MAX_BYTES);
    write_header(&header, schema, metadata);
    enum trib_status status = TRIB_OK;
    if (header.failed)
        status = trib_fail(err, TRIB_NOMEM, "the header of %s does not fit into memory or %d bytes", path,
                           TRIB_HEADER_MAX_BYTES);
    if (status == TRIB_OK) status = trib_outfile_open(&file, path, err);
    if (status == TRIB_OK) {
        status = trib_outfile_write(&file, header.data, header.size, err);
        if (status == TRIB_OK)
            status = trib_outfile_write(&file, parameters, schema->parameters * sizeof *parameters, err);
        status = trib_outfile_close(&file, status, err);
    }
    trib_buf_release(&header);
    return status;
}

/* ---- in ---- */

/* A file with its header read and checked. */
struct input {
    const char *path;
    int fd;
    uint64_t data_at; /* where the data begins in the file */
    struct trib_header header;
};

static enum trib_status read_at(const struct input *in, uint64_t offset, void *data, size_t bytes,
                                struct trib_error *err) {
    uint8_t *to = data;
    while (bytes > 0) {
        ssize_t got = pread(in->fd, to, bytes, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return trib_fail_errno(err, "cannot read %s", in->path);
        if (got == 0) return trib_fail(err, TRIB_CORRUPT, "%s became shorter while it was read", in->path);
        to += got;
        offset += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return TRIB_OK;
}

/* The length of the header and of the data, against the file's. */
static enum trib_status read_sizes(const struct input *in, size_t *header_bytes, uint64_t *data_bytes,
                                   struct trib_error *err) {
    struct stat st;
    uint64_t length = 0;
    if (fstat(in->fd, &st) != 0) return trib_fail_errno(err, "cannot read %s", in->path);
    if (!S_ISREG(st.st_mode)) return trib_fail(err, TRIB_INVALID, "%s is no regular file", in->path);
    uint64_t size = (uint64_t)st.st_size;
    if (size < sizeof length)
        return trib_fail(err, TRIB_INVALID, "%s has %llu bytes; a safetensors file has more than 8", in->path,
                         (unsigned long long)size);
    enum trib_status status = read_at(in, 0, &length, sizeof length, err);
    if (status != TRIB_OK) return status;
    if (length > size - sizeof length)
        return trib_fail(err, TRIB_INVALID,
                         "%s is no safetensors file: a header of %llu bytes in a file of %llu", in->path,
                         (unsigned long long)length, (unsigned long long)size);
    if (length > TRIB_HEADER_MAX_BYTES)
        return trib_fail(err, TRIB_LIMIT, "%s has a header of %llu bytes; at most %d are read", in->path,
                         (unsigned long long)length, TRIB_HEADER_MAX_BYTES);
    *header_bytes = (size_t)length;
    *data_bytes = size - sizeof length - length;
    return TRIB_OK;
}

static enum trib_status read_input(struct input *in, struct trib_error *err) {
    size_t header_bytes = 0;
    uint64_t data_bytes = 0;
    enum trib_status status = read_sizes(in, &header_bytes, &data_bytes, err);
    if (status != TRIB_OK) return status;
    char *text = trib_alloc(header_bytes);
    if (text == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for the header of %s", in->path);
    status = read_at(in, sizeof(uint64_t), text, header_bytes, err);
    struct trib_error why = {.status = TRIB_OK, .text = ""};
    if (status == TRIB_OK) {
        status = trib_header_parse(&in->header, text, header_bytes, data_bytes, &why);
        if (status != TRIB_OK) (void)trib_fail(err, status, "%s: %s", in->path, why.text);
    }
    in->data_at = sizeof(uint64_t) + header_bytes;
    trib_free(text);
    return status;
}

static void close_input(struct input *in) {
    if (in->fd >= 0) (void)close(in->fd);
    trib_header_release(&in->header);
}

static enum trib_status open_input(struct input *in, const char *path, struct trib_error *err) {
    *in = (struct input){.path = path, .fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    enum trib_status status = in->fd < 0 ? trib_fail_errno(err, "cannot open %s", path) : read_input(in, err);
    if (status != TRIB_OK) close_input(in);
    return status;
}

static float half_to_float(uint16_t half) {
    uint32_t sign = (uint32_t)(half >> 15) << 31, exponent = (half >> 10) & 31u, mantissa = half & 1023u;
    if (exponent == 0) { /* zero and subnormal: exact in float */
        float value = (float)mantissa * 0x1p-24f;
        return sign != 0 ? -value : value;
    }
    uint32_t bits = sign | (exponent == 31 ? 255u : exponent + 112) << 23 | mantissa << 13;
    return trib_get_f32(&bits);
}

static enum trib_status read_halves(const struct input *in, uint64_t offset, size_t count, float *out,
                                    struct trib_error *err) {
    enum { PIECE = 4096 };
    uint16_t halves[PIECE];
    for (size_t done = 0; done < count;) {
        size_t n = count - done < PIECE ? count - done : PIECE;
        enum trib_status status =
            read_at(in, offset + done * sizeof *halves, halves, n * sizeof *halves, err);
        if (status != TRIB_OK) return status;
        for (size_t i = 0; i < n; i++) out[done + i] = half_to_float(halves[i]);
        done += n;
    }
    return TRIB_OK;
}

static enum trib_status read_tensor(const struct input *in, const struct trib_header_tensor *tensor,
                                    size_t count, float *out, struct trib_error *err) {
    uint64_t offset = in->data_at + tensor->begin;
    enum trib_status status = tensor->half ? read_halves(in, offset, count, out, err)
                                           : read_at(in, offset, out, count * sizeof *out, err);
    for (size_t i = 0; status == TRIB_OK && i < count; i++)
        if (!isfinite(out[i]))
            status = trib_fail(err, TRIB_INVALID, "%s: value %zu of tensor \"%s\" is NaN or infinite",
                               in->path, i, tensor->name);
    return status;
}

/* Finds the schema's tensor in the file and compares shapes. */
static enum trib_status match(const struct input *in, const struct trib_tensor *wanted,
                              const struct trib_header_tensor **found, struct trib_error *err) {
    for (size_t t = 0; t < in->header.count; t++) {
        const struct trib_header_tensor *tensor = &in->header.tensors[t];
        if (strcmp(tensor->name, wanted->name) != 0) continue;
        *found = tensor;
        if (tensor->rank == wanted->rank &&
            memcmp(tensor->dims, wanted->dims, wanted->rank * sizeof *wanted->dims) == 0)
            return TRIB_OK;
        return trib_fail(
            err, TRIB_INVALID,
            "%s: tensor \"%s\" has %zu dimensions, the first %zu; the model has %zu, the first %zu", in->path,
            wanted->name, tensor->rank, tensor->dims[0], wanted->rank, wanted->dims[0]);
    }
    return trib_fail(err, TRIB_INVALID, "%s lacks the tensor \"%s\" of the model", in->path, wanted->name);
}

/* The first tensor of the file that the model does not have, by name; control tensors of the run that the
 * file is from are passed over. */
static enum trib_status refuse_others(const struct input *in, const struct trib_schema *schema,
                                      struct trib_error *err) {
    for (size_t t = 0; t < in->header.count; t++) {
        size_t s = 0;
        if (trib_schema_is_control(in->header.tensors[t].name)) continue;
        while (s < schema->tensor_count && strcmp(schema->tensors[s].name, in->header.tensors[t].name) != 0)
            s++;
        if (s == schema->tensor_count)
            return trib_fail(err, TRIB_INVALID, "%s holds the tensor \"%s\", which the model does not have",
                             in->path, in->header.tensors[t].name);
    }
    return TRIB_OK;
}

enum trib_status trib_safetensors_load(const char *path, const struct trib_schema *schema, float *parameters,
                                       struct trib_error *err) {
    struct input in;
    const struct trib_header_tensor *found = NULL;
    enum trib_status status = open_input(&in, path, err);
    if (status != TRIB_OK) return status;
    for (size_t t = 0; status == TRIB_OK && t < schema->tensor_count; t++)
        status = match(&in, &schema->tensors[t], &found, err);
    if (status == TRIB_OK) status = refuse_others(&in, schema, err);
    for (size_t t = 0; status == TRIB_OK && t < schema->tensor_count; t++) {
        const struct trib_tensor *tensor = &schema->tensors[t];
        status = match(&in, tensor, &found, err);
        if (status == TRIB_OK)
            status = read_tensor(&in, found, tensor->count, parameters + tensor->offset, err);
    }
    close_input(&in);
    return status;
}

enum trib_status trib_safetensors_schema(const char *path, struct trib_schema *schema,
                                         struct trib_error *err) {
    struct input in;
    trib_schema_init(schema);
    enum trib_status status = open_input(&in, path, err);
    if (status != TRIB_OK) return status;
    for (size_t t = 0; status == TRIB_OK && t < in.header.count; t++) {
        const struct trib_header_tensor *tensor = &in.header.tensors[t];
        status = trib_schema_add(schema, tensor->name, tensor->dims, tensor->rank, 0.0f, err);
    }
    if (status == TRIB_OK) status = trib_schema_finish(schema, err);
    if (status != TRIB_OK) trib_schema_release(schema);
    close_input(&in);
    return status;
}
