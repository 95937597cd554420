/* Codec specs: one stage, or two with a `+` between them. */
#include "shared/codec/codec_row.h"

#include "shared/base/alloc.h"
#include "shared/base/number.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MOST_ROWS = 64 };

struct stage {
    const char *name, *args;
    size_t name_bytes, args_bytes;
    const struct trib_codec_row *row;
};

static enum trib_status unknown(const struct stage *stage, struct trib_error *err) {
    const char *names[MOST_ROWS];
    char word[TRIB_CODEC_MAX_SPEC], list[200] = "";
    size_t count, used = 0;
    const struct trib_codec_row *rows = trib_codec_rows(&count);
    (void)snprintf(word, sizeof word, "%.*s", (int)stage->name_bytes, stage->name);
    for (size_t i = 0; i < count && i < MOST_ROWS && used < sizeof list; i++) {
        names[i] = rows[i].name;
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "", names[i]);
    }
    const char *nearest = trib_nearest(word, names, count < MOST_ROWS ? count : MOST_ROWS);
    if (nearest != NULL)
        return trib_fail(err, TRIB_INVALID, "no codec is called %s; did you mean %s?", word, nearest);
    return trib_fail(err, TRIB_INVALID, "no codec is called %s; there are %s", word, list);
}

static enum trib_status read_stage(const char *text, size_t bytes, struct stage *out,
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

/* The first `+` outside parentheses, or `bytes`. */
static size_t plus(const char *text, size_t bytes) {
    size_t depth = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '(') depth++;
        if (text[i] == ')' && depth > 0) depth--;
        if (text[i] == '+' && depth == 0) return i;
    }
    return bytes;
}

/* Reads one or two stages and sees that they fit: [sparsifier +] value codec. */
static enum trib_status read_stages(const char *spec, struct stage stages[2], size_t *count,
                                    struct trib_error *err) {
    const size_t bytes = strlen(spec), first = plus(spec, bytes);
    if (bytes >= TRIB_CODEC_MAX_SPEC)
        return trib_fail(err, TRIB_INVALID, "a codec of %zu characters, at most %d are allowed", bytes,
                         TRIB_CODEC_MAX_SPEC - 1);
    enum trib_status status = read_stage(spec, first, &stages[0], err);
    if (status != TRIB_OK) return status;
    const char *name = stages[0].row->name;
    *count = 1;
    if (stages[0].row->kind == TRIB_CODEC_VALUES) {
        if (first == bytes) return TRIB_OK;
        return trib_fail(err, TRIB_INVALID, "codec %s: nothing can follow %s, found %s", spec, name,
                         spec + first);
    }
    if (first == bytes) {
        return trib_fail(err, TRIB_INVALID, "codec %s: %s needs a codec for what it keeps, as in %s", spec,
                         name, stages[0].row->example);
    }
    status = read_stage(spec + first + 1, bytes - first - 1, &stages[1], err);
    if (status != TRIB_OK) return status;
    *count = 2;
    if (stages[1].row->kind == TRIB_CODEC_VALUES) return TRIB_OK;
    return trib_fail(err, TRIB_INVALID, "codec %s: %s cannot follow %s, only a value codec can, as in %s",
                     spec, stages[1].row->name, name, stages[0].row->example);
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

static void append_params(struct text *text, const struct trib_codec_row *row, const void *config) {
    for (size_t i = 0; i < row->param_count; i++) {
        const struct trib_option *param = &row->params[i];
        const uint8_t *field = (const uint8_t *)config + param->offset;
        char number[TRIB_NUMBER_TEXT];
        TRIB_ASSERT(param->type == TRIB_OPT_F64 || param->type == TRIB_OPT_U64);
        append(text, i == 0 ? "(" : ", ");
        if (param->type == TRIB_OPT_F64) {
            double value;
            memcpy(&value, field, sizeof value);
            trib_format_f64(number, value);
        } else {
            uint64_t value;
            memcpy(&value, field, sizeof value);
            (void)snprintf(number, sizeof number, "%" PRIu64, value);
        }
        append(text, number);
    }
    if (row->param_count > 0) append(text, ")");
}

static enum trib_status write_spec(struct trib_codec *codec, struct trib_error *err) {
    struct text text = {codec->spec, sizeof codec->spec};
    append(&text, codec->row->name);
    append_params(&text, codec->row, codec->config);
    if (codec->values_row != codec->row) {
        append(&text, "+");
        append(&text, codec->values_row->name);
    }
    if (text.left > 1) return TRIB_OK;
    return trib_fail(err, TRIB_INVALID, "codec %s...: at most %d characters are allowed", codec->spec,
                     TRIB_CODEC_MAX_SPEC - 2);
}

/* ---- parsing ---- */

static enum trib_status read_config(const struct stage *stage, void *config, struct trib_error *err) {
    const struct trib_codec_row *row = stage->row;
    enum trib_status status = trib_options_defaults(row->params, row->param_count, config, err);
    if (status != TRIB_OK) return status;
    return trib_options_args(row->params, row->param_count, config, stage->args, stage->args_bytes, row->name,
                             err);
}

static enum trib_status build(struct trib_codec *codec, const struct stage *stages, size_t count,
                              struct trib_error *err) {
    const struct stage *last = &stages[count - 1];
    codec->row = stages[0].row;
    codec->values_row = last->row;
    codec->values = last->row->values;
    codec->config = trib_alloc(codec->row->config_bytes);
    if (codec->config == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a codec");
    enum trib_status status = read_config(&stages[0], codec->config, err);
    TRIB_ASSERT(last->row->param_count == 0); /* value codecs have none so far: there is one config */
    if (status == TRIB_OK && count == 2) status = read_config(last, NULL, err);
    return status == TRIB_OK ? write_spec(codec, err) : status;
}

enum trib_status trib_codec_new(const char *spec, struct trib_codec **out, struct trib_error *err) {
    struct stage stages[2] = {0};
    size_t count = 0;
    enum trib_status status = read_stages(spec, stages, &count, err);
    if (status != TRIB_OK) return status;
    struct trib_codec *codec = trib_alloc(sizeof *codec);
    if (codec == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a codec");
    status = build(codec, stages, count, err);
    if (status != TRIB_OK) {
        trib_codec_free(&codec);
        return status;
    }
    *out = codec;
    return TRIB_OK;
}

void trib_codec_free(struct trib_codec **codec) {
    struct trib_codec *c = *codec;
    *codec = NULL;
    if (c == NULL) return;
    if (c->config != NULL) trib_options_release(c->row->params, c->row->param_count, c->config);
    trib_free(c->config);
    trib_free(c);
}

enum trib_status trib_codec_check_spec(const char *spec, struct trib_error *err) {
    struct trib_codec *codec = NULL;
    enum trib_status status = trib_codec_new(spec, &codec, err);
    trib_codec_free(&codec);
    return status;
}
