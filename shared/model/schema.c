#include "shared/model/schema.h"

#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "shared/model/digest.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void trib_schema_init(struct trib_schema *schema) {
    *schema = (struct trib_schema){0};
}

void trib_schema_release(struct trib_schema *schema) {
    trib_free(schema->tensors);
    *schema = (struct trib_schema){0};
}

/* ---- adding ---- */

static bool name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
}

static enum trib_status check_name(const struct trib_schema *schema, const char *name,
                                   struct trib_error *err) {
    size_t length = strnlen(name, TRIB_SCHEMA_MAX_NAME + 1);
    if (length == 0)
        return trib_fail(err, TRIB_INVALID, "a tensor has no name; 1 to 63 characters are needed");
    if (length > TRIB_SCHEMA_MAX_NAME)
        return trib_fail(err, TRIB_LIMIT, "the tensor name \"%.20s...\" is longer than %d characters", name,
                         TRIB_SCHEMA_MAX_NAME);
    for (size_t i = 0; i < length; i++)
        if (!name_char(name[i]))
            return trib_fail(err, TRIB_INVALID,
                             "character %zu of a tensor name is 0x%02x; letters, digits and _.- are allowed",
                             i + 1, (unsigned)(unsigned char)name[i]);
    for (size_t t = 0; t < schema->tensor_count; t++)
        if (strcmp(schema->tensors[t].name, name) == 0)
            return trib_fail(err, TRIB_INVALID, "the tensor \"%s\" is there twice; names must differ", name);
    return TRIB_OK;
}

static enum trib_status check_shape(const char *name, const size_t *dims, size_t rank, size_t *count,
                                    struct trib_error *err) {
    if (rank < 1 || rank > TRIB_SCHEMA_MAX_RANK)
        return trib_fail(err, TRIB_INVALID, "tensor \"%s\" has %zu dimensions; 1 to %d are allowed", name,
                         rank, TRIB_SCHEMA_MAX_RANK);
    *count = 1;
    for (size_t d = 0; d < rank; d++) {
        if (dims[d] == 0)
            return trib_fail(err, TRIB_INVALID, "dimension %zu of tensor \"%s\" is 0; at least 1 is needed",
                             d + 1, name);
        if (__builtin_mul_overflow(*count, dims[d], count) || *count > TRIB_SCHEMA_MAX_PARAMETERS)
            return trib_fail(err, TRIB_LIMIT, "tensor \"%s\" has more than %zu parameters", name,
                             TRIB_SCHEMA_MAX_PARAMETERS);
    }
    return TRIB_OK;
}

/* Room for one more: the capacity is the next power of two of the count, and so need not be stored. */
static enum trib_status grow(struct trib_schema *schema, struct trib_error *err) {
    size_t count = schema->tensor_count;
    if ((count & (count - 1)) != 0) return TRIB_OK;
    size_t capacity = count == 0 ? 1 : 2 * count;
    struct trib_tensor *tensors = trib_realloc(schema->tensors, capacity * sizeof *tensors);
    if (tensors == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a schema of %zu tensors", capacity);
    schema->tensors = tensors;
    return TRIB_OK;
}

bool trib_schema_is_control(const char *name) {
    return strncmp(name, TRIB_SCHEMA_CONTROL, sizeof TRIB_SCHEMA_CONTROL - 1) == 0;
}

enum trib_status trib_schema_add(struct trib_schema *schema, const char *name, const size_t *dims,
                                 size_t rank, float bound, struct trib_error *err) {
    size_t count = 0;
    if (schema->tensor_count >= TRIB_SCHEMA_MAX_TENSORS)
        return trib_fail(err, TRIB_LIMIT, "the model has more than %d tensors", TRIB_SCHEMA_MAX_TENSORS);
    enum trib_status status = check_name(schema, name, err);
    if (status == TRIB_OK) status = check_shape(name, dims, rank, &count, err);
    if (status != TRIB_OK) return status;
    if (!isfinite(bound) || signbit(bound))
        return trib_fail(err, TRIB_INVALID,
                         "the bound of tensor \"%s\" is %g; a finite number from 0 is needed", name,
                         (double)bound);
    if (count > TRIB_SCHEMA_MAX_PARAMETERS - schema->parameters)
        return trib_fail(err, TRIB_LIMIT, "with tensor \"%s\" the model has more than %zu parameters", name,
                         TRIB_SCHEMA_MAX_PARAMETERS);
    bool control = trib_schema_is_control(name);
    if (!control && schema->model_parameters < schema->parameters)
        return trib_fail(err, TRIB_INVALID, "tensor \"%s\" of the model stands behind a control tensor",
                         name);
    status = grow(schema, err);
    if (status != TRIB_OK) return status;
    struct trib_tensor *tensor = &schema->tensors[schema->tensor_count++];
    *tensor =
        (struct trib_tensor){.rank = rank, .offset = schema->parameters, .count = count, .bound = bound};
    memcpy(tensor->name, name, strlen(name));
    memcpy(tensor->dims, dims, rank * sizeof *dims);
    schema->parameters += count;
    if (!control) schema->model_parameters = schema->parameters;
    return TRIB_OK;
}

enum trib_status trib_schema_add_control(struct trib_schema *schema, struct trib_error *err) {
    size_t count = schema->tensor_count;
    enum trib_status status = TRIB_OK;
    for (size_t t = 0; t < count && status == TRIB_OK; t++) {
        struct trib_tensor like = schema->tensors[t]; /* a copy: adding moves them */
        char name[sizeof TRIB_SCHEMA_CONTROL + TRIB_SCHEMA_MAX_NAME];
        (void)snprintf(name, sizeof name, TRIB_SCHEMA_CONTROL "%s", like.name);
        status = trib_schema_add(schema, name, like.dims, like.rank, 0.0f, err);
    }
    return status;
}

struct trib_schema trib_schema_own(const struct trib_schema *schema) {
    struct trib_schema own = *schema;
    own.parameters = own.model_parameters;
    while (own.tensor_count > 0 && own.tensors[own.tensor_count - 1].offset >= own.model_parameters)
        own.tensor_count--;
    return own;
}

/* ---- text and fingerprint ---- */

static void print_tensor(const struct trib_tensor *tensor, struct trib_buf *out) {
    trib_buf_printf(out, "%s ", tensor->name);
    for (size_t d = 0; d < tensor->rank; d++) trib_buf_printf(out, d == 0 ? "%zu" : "x%zu", tensor->dims[d]);
    trib_buf_printf(out, " %a\n", (double)tensor->bound);
}

void trib_schema_text(const struct trib_schema *schema, struct trib_buf *out) {
    for (size_t t = 0; t < schema->tensor_count; t++) print_tensor(&schema->tensors[t], out);
}

enum trib_status trib_schema_finish(struct trib_schema *schema, struct trib_error *err) {
    if (schema->model_parameters == 0)
        return trib_fail(err, TRIB_INVALID, "the model has no tensors; at least one is needed");
    struct trib_buf text;
    trib_buf_init(&text, 0); /* bounded by the number of tensors and the lengths of their lines */
    trib_schema_text(schema, &text);
    enum trib_status status = TRIB_OK;
    if (text.failed)
        status = trib_fail(err, TRIB_NOMEM, "no memory for the text of a schema");
    else if (text.size > TRIB_SCHEMA_MAX_TEXT)
        status =
            trib_fail(err, TRIB_LIMIT, "the schema's text has %zu bytes, more than %d; use shorter names",
                      text.size, TRIB_SCHEMA_MAX_TEXT);
    else
        trib_digest_bytes(text.data, text.size, schema->fingerprint);
    trib_buf_release(&text);
    return status;
}

/* ---- parsing ---- */

/* One line of the text, and what is left of it. */
struct line {
    const char *at, *end;
    size_t number;
};

/* Cuts the text up to the next `stop` (or the line's end) off the line, as a C string in `word`. */
static enum trib_status cut(struct line *line, char stop, const char *what, char *word, size_t room,
                            struct trib_error *err) {
    const char *to = memchr(line->at, stop, (size_t)(line->end - line->at));
    size_t length = (size_t)((to != NULL ? to : line->end) - line->at);
    if (length == 0)
        return trib_fail(err, TRIB_INVALID, "schema line %zu: the %s is missing", line->number, what);
    if (length >= room)
        return trib_fail(err, TRIB_LIMIT, "schema line %zu: the %s has %zu characters, more than %zu",
                         line->number, what, length, room - 1);
    if (memchr(line->at, 0, length) != NULL)
        return trib_fail(err, TRIB_INVALID, "schema line %zu: there is a zero byte in the %s", line->number,
                         what);
    memcpy(word, line->at, length);
    word[length] = 0;
    line->at += to != NULL ? length + 1 : length;
    return TRIB_OK;
}

static bool read_dim(const char **at, size_t *dim) {
    const char *p = *at;
    if (*p < '1' || *p > '9') return false; /* no sign, no leading zero: one way to write a number */
    size_t value = 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        value = value * 10 + (size_t)(*p - '0');
        if (value > TRIB_SCHEMA_MAX_PARAMETERS) return false;
    }
    *at = p;
    *dim = value;
    return true;
}

static enum trib_status read_shape(const char *word, size_t line_number, size_t *dims, size_t *rank,
                                   struct trib_error *err) {
    const char *at = word;
    *rank = 0;
    while (*rank < TRIB_SCHEMA_MAX_RANK && read_dim(&at, &dims[*rank])) {
        ++*rank;
        if (*at == 0) return TRIB_OK;
        if (*at++ != 'x') break;
    }
    return trib_fail(err, TRIB_INVALID,
                     "schema line %zu: \"%s\" is no shape; 1 to %d numbers from 1 to 2^30 with x between are "
                     "needed, as in 784x200",
                     line_number, word, TRIB_SCHEMA_MAX_RANK);
}

/* Hexadecimal floats are read by the C library; whether they are written the one way that we write them is
 * seen when the whole text is printed again. */
static enum trib_status read_bound(const char *word, size_t line_number, float *bound,
                                   struct trib_error *err) {
    char *end = NULL;
    *bound = 0.0f;
    if (word[0] == '0' && word[1] == 'x') *bound = strtof(word, &end);
    if (end != NULL && *end == 0 && isfinite(*bound)) return TRIB_OK;
    return trib_fail(err, TRIB_INVALID,
                     "schema line %zu: \"%s\" is no bound; a float in hexadecimal is needed, as in 0x1.8p-5",
                     line_number, word);
}

static enum trib_status parse_line(struct trib_schema *schema, struct line *line, struct trib_error *err) {
    char name[TRIB_SCHEMA_MAX_NAME + 1], shape[48], bound_text[32];
    size_t dims[TRIB_SCHEMA_MAX_RANK], rank = 0;
    float bound = 0.0f;
    enum trib_status status = cut(line, ' ', "name", name, sizeof name, err);
    if (status == TRIB_OK) status = cut(line, ' ', "shape", shape, sizeof shape, err);
    if (status == TRIB_OK) status = cut(line, '\n', "bound", bound_text, sizeof bound_text, err);
    if (status == TRIB_OK) status = read_shape(shape, line->number, dims, &rank, err);
    if (status == TRIB_OK) status = read_bound(bound_text, line->number, &bound, err);
    if (status == TRIB_OK) status = trib_schema_add(schema, name, dims, rank, bound, err);
    return status;
}

static enum trib_status parse_lines(struct trib_schema *schema, const char *text, size_t bytes,
                                    struct trib_error *err) {
    const char *at = text, *end = text + bytes;
    for (size_t number = 1; at < end; number++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (stop == NULL)
            return trib_fail(err, TRIB_INVALID, "schema line %zu does not end with a newline", number);
        struct line line = {.at = at, .end = stop, .number = number};
        enum trib_status status = parse_line(schema, &line, err);
        if (status != TRIB_OK) return status;
        at = stop + 1;
    }
    return TRIB_OK;
}

/* The fingerprint is taken of the text as we print it, so another spelling of the same schema is refused. */
static enum trib_status check_spelling(const struct trib_schema *schema, const char *text, size_t bytes,
                                       struct trib_error *err) {
    struct trib_buf again;
    trib_buf_init(&again, 0);
    trib_schema_text(schema, &again);
    enum trib_status status = TRIB_OK;
    if (again.failed)
        status = trib_fail(err, TRIB_NOMEM, "no memory for the text of a schema");
    else if (again.size != bytes || memcmp(again.data, text, bytes) != 0)
        status = trib_fail(err, TRIB_INVALID,
                           "the schema is not spelled as it is printed (bounds as \"%%a\" of a float)");
    trib_buf_release(&again);
    return status;
}

enum trib_status trib_schema_parse(struct trib_schema *schema, const char *text, size_t bytes,
                                   struct trib_error *err) {
    trib_schema_init(schema);
    if (bytes > TRIB_SCHEMA_MAX_TEXT)
        return trib_fail(err, TRIB_LIMIT, "the schema's text has %zu bytes; at most %d are allowed", bytes,
                         TRIB_SCHEMA_MAX_TEXT);
    enum trib_status status = parse_lines(schema, text, bytes, err);
    if (status == TRIB_OK) status = trib_schema_finish(schema, err);
    if (status == TRIB_OK) status = check_spelling(schema, text, bytes, err);
    if (status != TRIB_OK) trib_schema_release(schema);
    return status;
}

/* ---- version 0 ---- */

void trib_schema_draw(const struct trib_schema *schema, uint64_t seed, float *parameters) {
    for (size_t t = 0; t < schema->tensor_count; t++) {
        const struct trib_tensor *tensor = &schema->tensors[t];
        float *out = parameters + tensor->offset;
        struct trib_rng rng = trib_rng_seed(seed, t);
        for (size_t i = 0; i < tensor->count; i++) {
            int32_t x = (int32_t)(trib_rng_u64(&rng) >> 40);
            /* A product with a bound of 0 could be -0, which has other bits than 0. */
            out[i] = tensor->bound > 0.0f ? ((float)x - 8388608.0f) * 0x1p-23f * tensor->bound : 0.0f;
        }
    }
}
