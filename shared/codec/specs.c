#include "shared/codec/specs.h"

#include <string.h>

bool trib_specs_add(struct trib_specs_text *text, const char *spec) {
    const bool same = text->last != NULL && strcmp(text->last, spec) == 0;
    const size_t bytes = same ? 0 : strlen(spec), mark = text->last != NULL;
    if (bytes + mark > TRIB_SPECS_MAX - text->size) return false;
    if (mark > 0) text->data[text->size++] = ';';
    memcpy(text->data + text->size, spec, bytes);
    text->size += bytes;
    text->last = spec;
    return true;
}

void trib_specs_start(struct trib_specs *specs, const char *text, size_t bytes,
                      const struct trib_codec *fallback, const struct trib_schema *schema) {
    *specs = (struct trib_specs){.schema = schema, .left = text, .bytes = bytes, .codec = fallback};
}

static enum trib_status take(struct trib_specs *s, size_t bytes, struct trib_error *err) {
    char spec[TRIB_CODEC_MAX_SPEC + 1] = {0};
    struct trib_codec *next = NULL;
    if (bytes > TRIB_CODEC_MAX_SPEC)
        return trib_fail(err, TRIB_INVALID, "a codec's spec of %zu bytes, at most %d", bytes,
                         (int)TRIB_CODEC_MAX_SPEC);
    memcpy(spec, s->left, bytes);
    enum trib_status status = trib_codec_new_for(spec, s->schema, &next, err);
    if (status != TRIB_OK) return status;
    trib_codec_free(&s->own);
    s->codec = s->own = next;
    return TRIB_OK;
}

enum trib_status trib_specs_next(struct trib_specs *specs, const struct trib_codec **codec,
                                 struct trib_error *err) {
    if (specs->bytes > 0) {
        const char *mark = memchr(specs->left, ';', specs->bytes);
        const size_t bytes = mark != NULL ? (size_t)(mark - specs->left) : specs->bytes;
        if (bytes > 0) {
            enum trib_status status = take(specs, bytes, err);
            if (status != TRIB_OK) return status;
        }
        const size_t taken = bytes + (mark != NULL);
        specs->left += taken;
        specs->bytes -= taken;
    }
    *codec = specs->codec;
    return TRIB_OK;
}

bool trib_specs_end(struct trib_specs *specs) {
    trib_codec_free(&specs->own);
    specs->codec = NULL;
    return specs->bytes == 0;
}
