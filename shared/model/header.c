#include "shared/model/header.h"

#include "shared/base/alloc.h"

#include <stdlib.h>
#include <string.h>

struct reader {
    const char *start, *at, *end;
    struct trib_error *err;
};

/* ---- the little JSON there is ---- */

/* What is expected, and where: bytes from the header's start. */
static enum trib_status expected(const struct reader *r, const char *what) {
    return trib_fail(r->err, TRIB_INVALID, "safetensors header, byte %zu: %s expected",
                     (size_t)(r->at - r->start), what);
}

static char peek(struct reader *r) {
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r')) r->at++;
    return r->at < r->end ? *r->at : 0;
}

static enum trib_status take(struct reader *r, char c) {
    const char what[] = {'\'', c, '\'', 0};
    if (peek(r) != c) return expected(r, what);
    r->at++;
    return TRIB_OK;
}

/* Behind an item of an object or array: true if another one follows the comma. */
static enum trib_status more(struct reader *r, char close, bool *another) {
    char c = peek(r);
    *another = c == ',';
    if (c != ',' && c != close) return expected(r, close == '}' ? "',' or '}'" : "',' or ']'");
    r->at++;
    return TRIB_OK;
}

/* The digits of a \u escape. */
static bool four_digits(const struct reader *r) {
    if (r->end - r->at < 6) return false;
    for (size_t i = 2; i < 6; i++) {
        char c = r->at[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))) return false;
    }
    return true;
}

/* Any string, unread: *text is what stands between its quotes, *plain whether without escapes. */
static enum trib_status string(struct reader *r, const char **text, size_t *bytes, bool *plain) {
    enum trib_status status = take(r, '"');
    if (status != TRIB_OK) return status;
    *text = r->at;
    *plain = true;
    for (; r->at < r->end && *r->at != '"'; r->at++) {
        if ((unsigned char)*r->at < 0x20) return expected(r, "no control character in a string");
        if (*r->at != '\\') continue;
        *plain = false;
        char next = r->at + 1 < r->end ? r->at[1] : 0;
        if (next == 'u' ? !four_digits(r) : next == 0 || strchr("\"\\/bfnrt", next) == NULL)
            return expected(r, "an escape of JSON");
        r->at++;
    }
    *bytes = (size_t)(r->at - *text);
    return take(r, '"');
}

/* A string without escapes into `word`. */
static enum trib_status short_string(struct reader *r, char *word, size_t room, const char *what) {
    const char *text = NULL;
    size_t bytes = 0;
    bool plain = false;
    (void)peek(r);
    struct reader before = *r;
    enum trib_status status = string(r, &text, &bytes, &plain);
    if (status != TRIB_OK) return status;
    if (!plain || bytes >= room) return expected(&before, what);
    memcpy(word, text, bytes);
    word[bytes] = 0;
    return TRIB_OK;
}

static enum trib_status number(struct reader *r, uint64_t *out) {
    char c = peek(r);
    if (c < '0' || c > '9') return expected(r, "a whole number");
    if (c == '0' && r->end - r->at > 1 && r->at[1] >= '0' && r->at[1] <= '9')
        return expected(r, "a number without leading zeros");
    for (*out = 0; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++)
        if (__builtin_mul_overflow(*out, (uint64_t)10, out) ||
            __builtin_add_overflow(*out, (uint64_t)(*r->at - '0'), out))
            return expected(r, "a number below 2^64");
    return TRIB_OK;
}

/* At least `least` and at most `most` numbers in brackets. */
static enum trib_status numbers(struct reader *r, uint64_t *out, size_t least, size_t most, size_t *count) {
    bool another = true;
    enum trib_status status = take(r, '[');
    for (*count = 0; status == TRIB_OK && another && *count < most; ++*count) {
        status = number(r, &out[*count]);
        if (status == TRIB_OK) status = more(r, ']', &another);
    }
    if (status == TRIB_OK && another) return expected(r, most == 2 ? "two numbers" : "at most 4 dimensions");
    if (status == TRIB_OK && *count < least) return expected(r, "two numbers");
    return status;
}

/* ---- tensors ---- */

enum { HAS_DTYPE = 1, HAS_SHAPE = 2, HAS_OFFSETS = 4, HAS_ALL = 7 };

static enum trib_status read_dtype(struct reader *r, struct trib_header_tensor *tensor) {
    char dtype[16];
    enum trib_status status = short_string(r, dtype, sizeof dtype, "a data type");
    if (status != TRIB_OK) return status;
    tensor->half = strcmp(dtype, "F16") == 0;
    if (tensor->half || strcmp(dtype, "F32") == 0) return TRIB_OK;
    return trib_fail(r->err, TRIB_UNSUPPORTED, "tensor \"%s\" is of type %s; F32 and F16 can be read",
                     tensor->name, dtype);
}

static enum trib_status read_shape(struct reader *r, struct trib_header_tensor *tensor) {
    uint64_t dims[TRIB_SCHEMA_MAX_RANK];
    enum trib_status status = numbers(r, dims, 1, TRIB_SCHEMA_MAX_RANK, &tensor->rank);
    for (size_t d = 0; status == TRIB_OK && d < tensor->rank; d++) {
        if (dims[d] == 0 || dims[d] > TRIB_SCHEMA_MAX_PARAMETERS)
            return trib_fail(r->err, TRIB_LIMIT,
                             "dimension %zu of tensor \"%s\" is %llu; 1 to %zu are allowed", d + 1,
                             tensor->name, (unsigned long long)dims[d], TRIB_SCHEMA_MAX_PARAMETERS);
        tensor->dims[d] = (size_t)dims[d];
    }
    return status;
}

static enum trib_status read_offsets(struct reader *r, struct trib_header_tensor *tensor) {
    uint64_t pair[2] = {0, 0};
    size_t count = 0;
    enum trib_status status = numbers(r, pair, 2, 2, &count);
    tensor->begin = pair[0];
    tensor->end = pair[1];
    return status;
}

static enum trib_status read_field(struct reader *r, struct trib_header_tensor *tensor, unsigned *has) {
    char key[16];
    unsigned bit = 0;
    enum trib_status status = short_string(r, key, sizeof key, "dtype, shape or data_offsets");
    if (status == TRIB_OK) status = take(r, ':');
    if (status != TRIB_OK) return status;
    if (strcmp(key, "dtype") == 0) {
        bit = HAS_DTYPE;
        status = read_dtype(r, tensor);
    } else if (strcmp(key, "shape") == 0) {
        bit = HAS_SHAPE;
        status = read_shape(r, tensor);
    } else if (strcmp(key, "data_offsets") == 0) {
        bit = HAS_OFFSETS;
        status = read_offsets(r, tensor);
    }
    if (status != TRIB_OK) return status;
    if (bit == 0 || (*has & bit) != 0)
        return trib_fail(
            r->err, TRIB_INVALID,
            "tensor \"%s\" has the key \"%s\"%s; dtype, shape and data_offsets are expected, once each",
            tensor->name, key, bit == 0 ? "" : " twice");
    *has |= bit;
    return TRIB_OK;
}

static enum trib_status read_tensor(struct reader *r, struct trib_header_tensor *tensor) {
    unsigned has = 0;
    bool another = true;
    enum trib_status status = take(r, '{');
    while (status == TRIB_OK && another) {
        status = read_field(r, tensor, &has);
        if (status == TRIB_OK) status = more(r, '}', &another);
    }
    if (status == TRIB_OK && has != HAS_ALL)
        return trib_fail(r->err, TRIB_INVALID, "tensor \"%s\" lacks its dtype, shape or data_offsets",
                         tensor->name);
    return status;
}

/* What it holds is of no interest, but it must be an object of strings. */
static enum trib_status skip_metadata(struct reader *r) {
    const char *text;
    size_t bytes;
    bool plain, another = true;
    enum trib_status status = take(r, '{');
    if (status == TRIB_OK && peek(r) == '}') {
        r->at++;
        return TRIB_OK;
    }
    while (status == TRIB_OK && another) {
        status = string(r, &text, &bytes, &plain);
        if (status == TRIB_OK) status = take(r, ':');
        if (status == TRIB_OK) status = string(r, &text, &bytes, &plain);
        if (status == TRIB_OK) status = more(r, '}', &another);
    }
    return status;
}

static enum trib_status read_entry(struct reader *r, struct trib_header *header, bool *metadata) {
    char name[TRIB_SCHEMA_MAX_NAME + 1];
    enum trib_status status =
        short_string(r, name, sizeof name, "a tensor's name of at most 63 characters without escapes");
    if (status == TRIB_OK) status = take(r, ':');
    if (status != TRIB_OK) return status;
    if (strcmp(name, "__metadata__") == 0) {
        if (*metadata)
            return trib_fail(r->err, TRIB_INVALID, "safetensors header: __metadata__ is there twice");
        *metadata = true;
        return skip_metadata(r);
    }
    if (header->count == TRIB_SCHEMA_MAX_TENSORS)
        return trib_fail(r->err, TRIB_LIMIT, "the file holds more than %d tensors", TRIB_SCHEMA_MAX_TENSORS);
    for (size_t t = 0; t < header->count; t++)
        if (strcmp(header->tensors[t].name, name) == 0)
            return trib_fail(r->err, TRIB_INVALID, "the tensor \"%s\" is there twice", name);
    struct trib_header_tensor *tensor = &header->tensors[header->count++];
    memcpy(tensor->name, name, sizeof name);
    return read_tensor(r, tensor);
}

/* ---- where the data lies ---- */

static int by_begin(const void *a, const void *b) {
    const struct trib_header_tensor *x = a, *y = b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

/* Dims are at most 2^30 each and there are at most 4: checked as a product below 2^30, it cannot overflow. */
static enum trib_status check_length(const struct trib_header_tensor *tensor, struct trib_error *err) {
    uint64_t count = 1;
    for (size_t d = 0; d < tensor->rank; d++) {
        count *= tensor->dims[d];
        if (count > TRIB_SCHEMA_MAX_PARAMETERS)
            return trib_fail(err, TRIB_LIMIT, "tensor \"%s\" has more than %zu parameters", tensor->name,
                             TRIB_SCHEMA_MAX_PARAMETERS);
    }
    uint64_t needed = count * (tensor->half ? 2 : 4);
    if (tensor->end >= tensor->begin && tensor->end - tensor->begin == needed) return TRIB_OK;
    return trib_fail(err, TRIB_INVALID,
                     "tensor \"%s\" has the data_offsets [%llu, %llu]; its shape needs %llu bytes",
                     tensor->name, (unsigned long long)tensor->begin, (unsigned long long)tensor->end,
                     (unsigned long long)needed);
}

static enum trib_status check_layout(struct trib_header *header, uint64_t data_bytes,
                                     struct trib_error *err) {
    uint64_t at = 0;
    qsort(header->tensors, header->count, sizeof *header->tensors, by_begin);
    for (size_t t = 0; t < header->count; t++) {
        const struct trib_header_tensor *tensor = &header->tensors[t];
        if (tensor->begin != at)
            return trib_fail(err, TRIB_INVALID, "tensor \"%s\" begins at byte %llu of the data, %s byte %llu",
                             tensor->name, (unsigned long long)tensor->begin,
                             tensor->begin < at ? "before the preceding one ends at" : "leaving a gap from",
                             (unsigned long long)at);
        enum trib_status status = check_length(tensor, err);
        if (status != TRIB_OK) return status;
        at = tensor->end;
    }
    if (at == data_bytes) return TRIB_OK;
    return trib_fail(err, TRIB_INVALID,
                     "the tensors end at byte %llu of the data, of which the file has %llu",
                     (unsigned long long)at, (unsigned long long)data_bytes);
}

static enum trib_status read_header(struct reader *r, struct trib_header *header) {
    bool another = true, metadata = false;
    if (r->at == r->end || *r->at != '{') return expected(r, "'{'");
    enum trib_status status = take(r, '{');
    while (status == TRIB_OK && another) {
        status = read_entry(r, header, &metadata);
        if (status == TRIB_OK) status = more(r, '}', &another);
    }
    if (status == TRIB_OK && (peek(r) != 0 || r->at != r->end)) return expected(r, "the header's end");
    if (status == TRIB_OK && header->count == 0)
        return trib_fail(r->err, TRIB_INVALID, "the file holds no tensors");
    return status;
}

enum trib_status trib_header_parse(struct trib_header *header, const char *text, size_t bytes,
                                   uint64_t data_bytes, struct trib_error *err) {
    struct reader reader = {.start = text, .at = text, .end = text + bytes, .err = err};
    *header = (struct trib_header){
        .tensors = trib_alloc_array(TRIB_SCHEMA_MAX_TENSORS, sizeof(struct trib_header_tensor))};
    if (header->tensors == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a safetensors header");
    enum trib_status status = read_header(&reader, header);
    if (status == TRIB_OK) status = check_layout(header, data_bytes, err);
    if (status != TRIB_OK) trib_header_release(header);
    return status;
}

void trib_header_release(struct trib_header *header) {
    trib_free(header->tensors);
    *header = (struct trib_header){0};
}
