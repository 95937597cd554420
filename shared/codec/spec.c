/* Codec specs: stages with a `+` between them, in the order of their kinds. */
#include "shared/codec/layer.h"
#include "shared/codec/lines.h"

#include "shared/base/alloc.h"
#include "shared/base/number.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { MOST_ROWS = 64 };

#define FORM "[reduce+ or select+][rotate+]VALUES[+positions][+zstd], or layer(...)[+zstd]"

struct found {
    const char *name, *args;
    size_t name_bytes, args_bytes;
    const struct trib_codec_row *row;
};

static enum trib_status unknown(const struct found *stage, struct trib_error *err) {
    const char *names[MOST_ROWS];
    char word[TRIB_CODEC_MAX_SPEC], list[200] = "";
    size_t count, used = 0;
    const struct trib_codec_row *rows = trib_codec_rows(&count);
    (void)snprintf(word, sizeof word, "%.*s", (int)stage->name_bytes, stage->name);
    for (size_t i = 0; i < count && i < MOST_ROWS && used < sizeof list; i++) {
        names[i] = rows[i].name;
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "", names[i]);
    }
    if (strcmp(word, "auto") == 0)
        return trib_fail(err, TRIB_INVALID,
                         "auto(...) stands alone as a codec of the plan, and is no part of another");
    const char *nearest = trib_nearest(word, names, count < MOST_ROWS ? count : MOST_ROWS);
    if (nearest != NULL)
        return trib_fail(err, TRIB_INVALID, "no codec is called %s; did you mean %s?", word, nearest);
    return trib_fail(err, TRIB_INVALID, "no codec is called %s; there are %s", word, list);
}

static enum trib_status read_stage(const char *text, size_t bytes, struct found *out,
                                   struct trib_error *err) {
    size_t count;
    const struct trib_codec_row *rows = trib_codec_rows(&count);
    enum trib_status status =
        trib_spec_split(text, bytes, &out->name, &out->name_bytes, &out->args, &out->args_bytes, err);
    if (status != TRIB_OK) return status;
    for (size_t i = 0; i < count; i++) {
        if (strlen(rows[i].name) == out->name_bytes &&
            memcmp(rows[i].name, out->name, out->name_bytes) == 0) {
            out->row = &rows[i];
            return TRIB_OK;
        }
    }
    return unknown(out, err);
}

/* The first such character outside parentheses, or `bytes`. */
static size_t find(const char *text, size_t bytes, char wanted) {
    size_t depth = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '(') depth++;
        if (text[i] == ')' && depth > 0) depth--;
        if (text[i] == wanted && depth == 0) return i;
    }
    return bytes;
}

/* ---- the canonical spec ---- */

struct text {
    char *at;
    size_t left; /* 1 and a 0 in it: full */
};

static void append(struct text *text, const char *more) {
    int n = snprintf(text->at, text->left, "%s", more);
    size_t written = (size_t)n < text->left ? (size_t)n : text->left - 1;
    text->at += written;
    text->left -= written;
}

/* A parameter's value as a spec has it. */
static const char *value_text(const struct trib_option *param, const void *config,
                              char out[TRIB_NUMBER_TEXT]) {
    const uint8_t *field = (const uint8_t *)config + param->offset;
    if (param->type == TRIB_OPT_F64) {
        double value;
        memcpy(&value, field, sizeof value);
        return trib_format_f64(out, value);
    }
    if (param->type == TRIB_OPT_CHOICE) {
        const char *text;
        memcpy(&text, field, sizeof text);
        return text;
    }
    if (param->type == TRIB_OPT_BOOL) {
        bool value;
        memcpy(&value, field, sizeof value);
        return value ? "true" : "false";
    }
    uint64_t value;
    TRIB_ASSERT(param->type == TRIB_OPT_U64);
    memcpy(&value, field, sizeof value);
    (void)snprintf(out, TRIB_NUMBER_TEXT, "%" PRIu64, value);
    return out;
}

/* A fraction is always written; of the others, what is not as it would be anyway, by name. */
static void append_params(struct text *text, const struct trib_stage *stage) {
    const char *between = "(";
    for (size_t i = 0; i < stage->row->param_count; i++) {
        const struct trib_option *param = &stage->row->params[i];
        char number[TRIB_NUMBER_TEXT];
        const char *value = value_text(param, stage->config, number);
        bool first = i == 0 && param->type == TRIB_OPT_F64;
        if (!first && strcmp(value, param->fallback) == 0) continue;
        append(text, between);
        if (!first) {
            append(text, param->name);
            append(text, "=");
        }
        append(text, value);
        between = ", ";
    }
    if (*between == ',') append(text, ")");
}

static struct trib_stage *stage_of(struct trib_codec *codec, enum trib_codec_kind kind) {
    switch (kind) {
    case TRIB_CODEC_REDUCE: return &codec->reduce;
    case TRIB_CODEC_SELECT: return &codec->select;
    case TRIB_CODEC_ROTATE: return &codec->rotate;
    case TRIB_CODEC_VALUES: return &codec->values;
    case TRIB_CODEC_POSITIONS: return &codec->positions;
    case TRIB_CODEC_LOSSLESS: return &codec->lossless;
    case TRIB_CODEC_LAYERS:
    case TRIB_CODEC_KINDS: break;
    }
    return NULL;
}

static void append_layers(struct text *text, const struct trib_layers *layers) {
    for (size_t i = 0; i < layers->entry_count; i++) {
        append(text, i == 0 ? "layer(" : ", ");
        append(text, layers->entries[i].prefix);
        append(text, "=");
        append(text, layers->entries[i].codec->spec);
    }
    append(text, ")");
}

static enum trib_status write_spec(struct trib_codec *codec, struct trib_error *err) {
    struct text text = {codec->spec, sizeof codec->spec};
    if (codec->layers != NULL) append_layers(&text, codec->layers);
    for (unsigned kind = 0; kind < TRIB_CODEC_KINDS; kind++) {
        const struct trib_stage *stage = stage_of(codec, kind);
        if (stage == NULL || stage->row == NULL || stage->implied) continue;
        if (text.at != codec->spec) append(&text, "+");
        append(&text, stage->row->name);
        append_params(&text, stage);
    }
    if (text.left > 1) return TRIB_OK;
    return trib_fail(err, TRIB_INVALID, "codec %s...: at most %d characters are allowed", codec->spec,
                     TRIB_CODEC_MAX_SPEC - 2);
}

/* ---- parsing ---- */

static const struct trib_codec_row *row_named(const char *name) {
    size_t count;
    const struct trib_codec_row *rows = trib_codec_rows(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].name, name) == 0) return &rows[i];
    return NULL;
}

static enum trib_status read_config(const struct found *found, struct trib_stage *out,
                                    struct trib_error *err) {
    const struct trib_codec_row *row = found->row;
    out->row = row;
    out->config = trib_alloc(row->config_bytes);
    if (out->config == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a codec");
    enum trib_status status = trib_options_defaults(row->params, row->param_count, out->config, err);
    if (status == TRIB_OK)
        status = trib_options_args(row->params, row->param_count, out->config, found->args, found->args_bytes,
                                   row->name, err);
    if (status == TRIB_OK && row->check != NULL) status = row->check(row->name, out->config, err);
    return status;
}

static enum trib_status parse(struct trib_codec *codec, const char *spec, bool inside,
                              struct trib_error *err);

/* One `prefix=codec`. */
static enum trib_status read_entry(struct trib_layers *layers, const char *text, size_t bytes,
                                   struct trib_error *err) {
    struct trib_layer_entry *entry = &layers->entries[layers->entry_count];
    char spec[TRIB_CODEC_MAX_SPEC];
    const size_t equals = find(text, bytes, '=');
    size_t prefix = equals;
    for (; prefix > 0 && *text == ' '; text++, bytes--, prefix--) {
    }
    const size_t rest = bytes - (prefix + (equals == bytes ? 0 : 1));
    while (prefix > 0 && text[prefix - 1] == ' ') prefix--;
    if (prefix == 0 || prefix > TRIB_SCHEMA_MAX_NAME || rest == 0 || rest >= bytes)
        return trib_fail(err, TRIB_INVALID, "layer: found \"%.*s\", expected NAME=CODEC", (int)bytes, text);
    memcpy(entry->prefix, text, prefix);
    memcpy(spec, text + bytes - rest, rest);
    spec[rest] = 0;
    entry->codec = trib_alloc(sizeof *entry->codec);
    if (entry->codec == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a codec");
    layers->entry_count++;
    return parse(entry->codec, spec, true, err);
}

static enum trib_status read_layers(struct trib_codec *codec, const struct found *found,
                                    struct trib_error *err) {
    struct trib_layers *layers = codec->layers = trib_alloc(sizeof *layers);
    if (layers == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a codec");
    for (size_t at = 0; at <= found->args_bytes;) {
        const char *text = found->args + at;
        size_t length = find(text, found->args_bytes - at, ',');
        if (layers->entry_count == TRIB_LAYER_ENTRIES)
            return trib_fail(err, TRIB_INVALID, "layer: more than %d entries", TRIB_LAYER_ENTRIES);
        enum trib_status status = read_entry(layers, text, length, err);
        if (status != TRIB_OK) return status;
        at += length + 1;
    }
    return TRIB_OK;
}

/* The stage at spec[at] into its place, which is behind the last one's. */
static enum trib_status place(struct trib_codec *codec, const char *spec, size_t at,
                              const struct found *found, const struct trib_codec_row *last,
                              struct trib_error *err) {
    const struct trib_codec_row *row = found->row;
    if (last != NULL &&
        (row->kind <= last->kind || (last->kind == TRIB_CODEC_LAYERS && row->kind != TRIB_CODEC_LOSSLESS) ||
         (last->kind == TRIB_CODEC_REDUCE && row->kind == TRIB_CODEC_SELECT)))
        return trib_fail(err, TRIB_INVALID, "codec %s: %s (character %zu) cannot follow %s; a codec is " FORM,
                         spec, row->name, at + 1, last->name);
    if (row->kind == TRIB_CODEC_POSITIONS &&
        (codec->select.row == NULL || codec->select.row->select->position != NULL))
        return trib_fail(err, TRIB_INVALID,
                         "codec %s: %s (character %zu) is for a codec that sends positions, "
                         "as in %s",
                         spec, row->name, at + 1, row->example);
    if (row->kind == TRIB_CODEC_LAYERS) return read_layers(codec, found, err);
    return read_config(found, stage_of(codec, row->kind), err);
}

static bool values_by_tensor(const struct trib_codec *codec) {
    if (codec->values.row == NULL || codec->values.row->values->by_tensor == NULL) return false;
    return codec->values.row->values->by_tensor(&codec->values);
}

/* The row of the first stage of a codec without layers. */
static const struct trib_codec_row *first_row(const struct trib_codec *codec) {
    if (codec->reduce.row != NULL) return codec->reduce.row;
    if (codec->select.row != NULL) return codec->select.row;
    return codec->rotate.row != NULL ? codec->rotate.row : codec->values.row;
}

static enum trib_status parse(struct trib_codec *codec, const char *spec, bool inside,
                              struct trib_error *err) {
    const size_t bytes = strlen(spec);
    const struct trib_codec_row *last = NULL;
    if (bytes >= TRIB_CODEC_MAX_SPEC)
        return trib_fail(err, TRIB_INVALID, "a codec of %zu characters, at most %d are allowed", bytes,
                         TRIB_CODEC_MAX_SPEC - 1);
    for (size_t at = 0; at <= bytes;) {
        struct found found = {0};
        size_t length = find(spec + at, bytes - at, '+');
        enum trib_status status = read_stage(spec + at, length, &found, err);
        if (status == TRIB_OK && inside && found.row->kind == TRIB_CODEC_LAYERS)
            status = trib_fail(err, TRIB_INVALID, "codec %s: a layer within a layer", spec);
        if (status == TRIB_OK && inside && found.row->kind == TRIB_CODEC_LOSSLESS)
            status = trib_fail(err, TRIB_INVALID, "codec %s: %s belongs behind the layers, not into one",
                               spec, found.row->name);
        if (status == TRIB_OK) status = place(codec, spec, at, &found, last, err);
        if (status != TRIB_OK) return status;
        last = found.row;
        at += length + 1;
    }
    if (codec->values.row == NULL && codec->layers == NULL)
        return trib_fail(err, TRIB_INVALID, "codec %s: %s needs a code for its values, as in %s", spec,
                         last->name, last->example);
    if (codec->select.row != NULL && codec->positions.row == NULL)
        codec->positions = (struct trib_stage){.row = row_named("leb"), .implied = true};
    if (values_by_tensor(codec) && codec->values.row != first_row(codec))
        return trib_fail(err, TRIB_INVALID,
                         "codec %s: %s has no tensors to look at behind %s; drop its per, or what stands "
                         "before it",
                         spec, codec->values.row->name, first_row(codec)->name);
    return write_spec(codec, err);
}

bool trib_codec_by_tensor(const struct trib_codec *codec) {
    return codec->reduce.row != NULL || (codec->select.row != NULL && codec->select.row->select->rows) ||
           values_by_tensor(codec);
}

static enum trib_status bind(struct trib_codec *codec, const struct trib_tensor *tensors, size_t count,
                             struct trib_error *err) {
    if (!trib_codec_by_tensor(codec)) return TRIB_OK;
    if (tensors == NULL)
        return trib_fail(err, TRIB_UNSUPPORTED, "codec %s is for a model's tensors", codec->spec);
    enum trib_status status = trib_lines_new(tensors, count, &codec->lines, err);
    codec->reduce.lines = codec->select.lines = codec->values.lines = codec->lines;
    return status;
}

static enum trib_status new_codec(const char *spec, const struct trib_schema *schema,
                                  const struct trib_tensor *tensors, size_t count, struct trib_codec **out,
                                  struct trib_error *err) {
    struct trib_codec *codec = trib_alloc(sizeof *codec);
    if (codec == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a codec");
    enum trib_status status = parse(codec, spec, false, err);
    if (status == TRIB_OK && codec->layers != NULL)
        status = schema != NULL ? trib_layers_bind(codec->layers, schema, err)
                                : trib_fail(err, TRIB_UNSUPPORTED, "codec %s is for a model's tensors", spec);
    if (status == TRIB_OK) status = bind(codec, tensors, count, err);
    if (status != TRIB_OK)
        trib_codec_free(&codec);
    else
        *out = codec;
    return status;
}

enum trib_status trib_codec_new_for(const char *spec, const struct trib_schema *schema,
                                    struct trib_codec **out, struct trib_error *err) {
    static const struct trib_tensor none;
    const struct trib_tensor *tensors = schema == NULL            ? NULL
                                        : schema->tensors != NULL ? schema->tensors
                                                                  : &none;
    return new_codec(spec, schema, tensors, schema != NULL ? schema->tensor_count : 0, out, err);
}

enum trib_status trib_codec_new_bound(const char *spec, const struct trib_tensor *tensors, size_t count,
                                      struct trib_codec **out, struct trib_error *err) {
    return new_codec(spec, NULL, tensors, count, out, err);
}

enum trib_status trib_codec_new(const char *spec, struct trib_codec **out, struct trib_error *err) {
    return trib_codec_new_for(spec, NULL, out, err);
}

static void release_stage(struct trib_stage *stage) {
    if (stage == NULL) return;
    if (stage->config != NULL)
        trib_options_release(stage->row->params, stage->row->param_count, stage->config);
    trib_free(stage->config);
}

void trib_codec_free(struct trib_codec **codec) {
    struct trib_codec *c = *codec;
    *codec = NULL;
    if (c == NULL) return;
    for (unsigned kind = 0; kind < TRIB_CODEC_KINDS; kind++) release_stage(stage_of(c, kind));
    trib_layers_free(&c->layers);
    trib_lines_free(&c->lines);
    trib_free(c);
}

enum trib_status trib_codec_check_spec(const char *spec, struct trib_error *err) {
    struct trib_codec *codec = trib_alloc(sizeof *codec);
    if (codec == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a codec");
    enum trib_status status = parse(codec, spec, false, err);
    trib_codec_free(&codec);
    return status;
}
