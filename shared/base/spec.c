#include "shared/base/option_value.h"

#include <string.h>

enum { NEAREST_MAX = 64 /* longer words are near to nothing */ };

static size_t least(size_t a, size_t b, size_t c) {
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

/* One row of the table at a time. */
size_t trib_edit_distance(const char *a, const char *b) {
    size_t row[NEAREST_MAX + 1], a_bytes = strlen(a), b_bytes = strlen(b);
    if (a_bytes > NEAREST_MAX || b_bytes > NEAREST_MAX) return SIZE_MAX;
    for (size_t j = 0; j <= b_bytes; j++) row[j] = j;
    for (size_t i = 0; i < a_bytes; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < b_bytes; j++) {
            size_t above = row[j + 1];
            row[j + 1] = least(above + 1, row[j] + 1, diagonal + (a[i] != b[j]));
            diagonal = above;
        }
    }
    return row[b_bytes];
}

/* A third of its letters and one more may be wrong, but not all of the name's: then nothing is in common. */
bool trib_is_near(size_t distance, const char *word, const char *name) {
    return distance <= strlen(word) / 3 + 1 && distance < strlen(name);
}

const char *trib_nearest(const char *word, const char *const *names, size_t count) {
    size_t best = SIZE_MAX;
    const char *nearest = NULL;
    for (size_t i = 0; i < count; i++) {
        size_t d = trib_edit_distance(word, names[i]);
        if (d >= best || !trib_is_near(d, word, names[i])) continue;
        best = d;
        nearest = names[i];
    }
    return nearest;
}

void trib_spec_trim(const char **text, size_t *bytes) {
    while (*bytes > 0 && **text == ' ') {
        (*text)++;
        (*bytes)--;
    }
    while (*bytes > 0 && (*text)[*bytes - 1] == ' ') (*bytes)--;
}

size_t trib_spec_item(const char *text, size_t bytes) {
    size_t depth = 0, comma = bytes;
    bool quoted = false;
    for (size_t i = 0; i < bytes; i++) {
        if (quoted) {
            if (text[i] == '\\' && i + 1 < bytes) {
                i++;
            } else if (text[i] == '"') {
                quoted = false;
            }
            continue;
        }
        if (text[i] == '"') quoted = true;
        if (text[i] == '(') depth++;
        if (text[i] == ')' && depth-- == 0) return SIZE_MAX;
        if (text[i] == ',' && depth == 0) {
            comma = i;
            break;
        }
    }
    return depth != 0 || quoted ? SIZE_MAX : comma;
}

static bool name_character(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

/* Where the parenthesis that opens at 0 closes, or `bytes`. */
static size_t closing(const char *text, size_t bytes) {
    size_t depth = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '(') depth++;
        if (text[i] == ')' && --depth == 0) return i;
    }
    return bytes;
}

enum trib_status trib_spec_split(const char *spec, size_t bytes, const char **name, size_t *name_bytes,
                                 const char **args, size_t *args_bytes, struct trib_error *err) {
    char found[TRIB_FOUND_TEXT];
    trib_found_text(found, spec, bytes);
    trib_spec_trim(&spec, &bytes);
    size_t length = 0;
    while (length < bytes && name_character(spec[length])) length++;
    if (length == 0) {
        return trib_fail(err, TRIB_INVALID, "found %s, expected a name, or name(arguments)", found);
    }
    *name = spec;
    *name_bytes = length;
    *args = spec + length;
    *args_bytes = 0;
    if (length == bytes) return TRIB_OK;
    if (spec[length] != '(') {
        return trib_fail(err, TRIB_INVALID, "found %s, expected a name, or name(arguments); '%c' is neither",
                         found, spec[length]);
    }
    size_t end = closing(spec + length, bytes - length);
    if (end == bytes - length) {
        return trib_fail(err, TRIB_INVALID, "found %s: a parenthesis is opened and not closed", found);
    }
    if (length + end + 1 != bytes) {
        return trib_fail(err, TRIB_INVALID, "found %s: something stands behind the closing parenthesis",
                         found);
    }
    *args = spec + length + 1;
    *args_bytes = end - 1;
    return TRIB_OK;
}

/* ---- arguments ---- */

struct args {
    const struct trib_option *table;
    size_t count;
    void *config;
    struct trib_place place;
    size_t given;    /* arguments read so far */
    bool named;      /* one of them had a name */
    uint64_t is_set; /* bit i: option i was given */
};

/* The length of the `name` in `name=value`, or 0 for a value alone. */
static size_t argument_name(const char *text, size_t bytes) {
    size_t length = 0;
    while (length < bytes && name_character(text[length])) length++;
    size_t at = length;
    while (at < bytes && text[at] == ' ') at++;
    return at < bytes && text[at] == '=' ? length : 0;
}

static enum trib_status choose_option(struct args *args, const char *text, size_t name_bytes,
                                      const struct trib_option **out, struct trib_error *err) {
    if (name_bytes == 0) {
        if (args->named) {
            return trib_fail(err, TRIB_INVALID,
                             "%s: an argument without a name stands behind one with a name",
                             args->place.origin);
        }
        if (args->given >= args->count) {
            return trib_fail(err, TRIB_INVALID, "%s: too many arguments, it takes %zu at most",
                             args->place.origin, args->count);
        }
        *out = &args->table[args->given];
        return TRIB_OK;
    }
    args->named = true;
    *out = trib_option_find(args->table, args->count, text, name_bytes);
    if (*out != NULL) return TRIB_OK;
    return trib_option_unknown(args->table, args->count, text, name_bytes, &args->place, err);
}

static enum trib_status read_argument(struct args *args, const char *text, size_t bytes,
                                      struct trib_error *err) {
    const struct trib_option *option = NULL;
    trib_spec_trim(&text, &bytes);
    size_t name_bytes = argument_name(text, bytes);
    enum trib_status status = choose_option(args, text, name_bytes, &option, err);
    if (status != TRIB_OK) return status;
    uint64_t bit = UINT64_C(1) << (size_t)(option - args->table);
    if (args->is_set & bit) {
        return trib_fail(err, TRIB_INVALID, "%s: %s is given twice", args->place.origin, option->name);
    }
    args->is_set |= bit;
    args->given++;
    if (name_bytes > 0) {
        const char *equals = memchr(text, '=', bytes);
        bytes -= (size_t)(equals + 1 - text);
        text = equals + 1;
        trib_spec_trim(&text, &bytes);
    }
    return trib_option_read(option, args->config, text, bytes, &args->place, err);
}

enum trib_status trib_options_args(const struct trib_option *table, size_t count, void *config,
                                   const char *args_text, size_t args_bytes, const char *variant,
                                   struct trib_error *err) {
    TRIB_ASSERT(count <= 64);
    struct args args = {.table = table, .count = count, .config = config, .place = {.origin = variant}};
    trib_spec_trim(&args_text, &args_bytes);
    while (args_bytes > 0) {
        size_t length = trib_spec_item(args_text, args_bytes);
        if (length == SIZE_MAX) {
            return trib_fail(err, TRIB_INVALID, "%s: its parentheses or quotes are not balanced", variant);
        }
        enum trib_status status = read_argument(&args, args_text, length, err);
        if (status != TRIB_OK) return status;
        if (length == args_bytes) break;
        args_text += length + 1;
        args_bytes -= length + 1;
        if (args_bytes == 0) return trib_fail(err, TRIB_INVALID, "%s: a comma stands at the end", variant);
    }
    return TRIB_OK;
}
