#include "shared/base/option.h"

#include "shared/base/alloc.h"
#include "shared/base/log.h"
#include "shared/base/number.h"
#include "shared/base/option_value.h"
#include "shared/base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *trib_place_text(char out[TRIB_PLACE_TEXT], const struct trib_place *place) {
    if (place->line > 0) {
        (void)snprintf(out, TRIB_PLACE_TEXT, "%s:%zu: ", place->origin, place->line);
    } else {
        (void)snprintf(out, TRIB_PLACE_TEXT, "%s: ", place->origin);
    }
    return out;
}

const char *trib_found_text(char out[TRIB_FOUND_TEXT], const char *text, size_t bytes) {
    char copy[TRIB_FOUND_TEXT];
    bool cut = bytes >= 60;
    (void)snprintf(copy, sizeof copy, "%.*s%s", cut ? 56 : (int)bytes, text, cut ? "..." : "");
    return trib_log_quote(out, TRIB_FOUND_TEXT, copy);
}

static bool is_text(const struct trib_option *option) {
    return option->type == TRIB_OPT_STRING || option->type == TRIB_OPT_CHOICE ||
           option->type == TRIB_OPT_LIST;
}

/* ---- finding ---- */

const struct trib_option *trib_option_find(const struct trib_option *table, size_t count, const char *name,
                                           size_t bytes) {
    for (size_t i = 0; i < count; i++) {
        if (strlen(table[i].name) == bytes && memcmp(table[i].name, name, bytes) == 0) return &table[i];
    }
    return NULL;
}

bool trib_option_group(const struct trib_option *table, size_t count, const char *name, size_t bytes) {
    for (size_t i = 0; i < count; i++) {
        if (strncmp(table[i].name, name, bytes) == 0 && table[i].name[bytes] == '.') return true;
    }
    return false;
}

static const char *last_part(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot != NULL ? dot + 1 : name;
}

/* The nearest key: one with the same last part ("lr" for "plan.train.lr") if there is any, else by the whole
 * name. */
static const char *nearest_key(const struct trib_option *table, size_t count, const char *word) {
    const char *nearest = NULL;
    size_t best = SIZE_MAX;
    bool same_end = false;
    for (size_t i = 0; i < count; i++) {
        bool same = strcmp(last_part(table[i].name), last_part(word)) == 0;
        size_t d = trib_edit_distance(word, table[i].name);
        if (same < same_end || (!same && !trib_is_near(d, word, table[i].name))) continue;
        if (same == same_end && d >= best) continue;
        same_end = same;
        best = d;
        nearest = table[i].name;
    }
    return nearest;
}

enum trib_status trib_option_unknown(const struct trib_option *table, size_t count, const char *name,
                                     size_t bytes, const struct trib_place *place, struct trib_error *err) {
    char where[TRIB_PLACE_TEXT], found[TRIB_FOUND_TEXT], word[TRIB_OPTION_KEY_MAX + 1];
    (void)snprintf(word, sizeof word, "%.*s", bytes > TRIB_OPTION_KEY_MAX ? TRIB_OPTION_KEY_MAX : (int)bytes,
                   name);
    trib_place_text(where, place);
    trib_found_text(found, name, bytes);
    const char *nearest = nearest_key(table, count, word);
    if (nearest != NULL) {
        return trib_fail(err, TRIB_INVALID, "%sunknown key %s; the nearest one is \"%s\"", where, found,
                         nearest);
    }
    if (count == 0) return trib_fail(err, TRIB_INVALID, "%sunknown key %s; it takes none", where, found);
    return trib_fail(err, TRIB_INVALID, "%sunknown key %s; known ones are \"%s\"%s", where, found,
                     table[0].name, count > 1 ? " and others, see the help" : "");
}

/* ---- what is expected ---- */

static const char *format_number(char out[TRIB_NUMBER_TEXT], const struct trib_option *option, double value) {
    if (option->type == TRIB_OPT_BYTES) return trib_format_bytes(out, (uint64_t)value);
    if (option->type == TRIB_OPT_MS) return trib_format_ms(out, (uint64_t)value);
    return trib_format_f64(out, value);
}

static void append_range(const struct trib_option *option, struct trib_buf *out) {
    char low[TRIB_NUMBER_TEXT], high[TRIB_NUMBER_TEXT];
    if (option->min == 0 && option->max == 0) return;
    format_number(low, option, option->min);
    if (isinf(option->max)) {
        trib_buf_printf(out, ", %s or more", low);
    } else {
        format_number(high, option, option->max);
        trib_buf_printf(out, " from %s to %s", low, high);
    }
}

static void append_choices(const struct trib_option *option, struct trib_buf *out) {
    trib_buf_printf(out, "one of ");
    for (size_t i = 0; option->choices[i] != NULL; i++) {
        trib_buf_printf(out, "%s%s", i > 0 ? ", " : "", option->choices[i]);
    }
}

void trib_option_expected(const struct trib_option *option, struct trib_buf *out) {
    switch (option->type) {
    case TRIB_OPT_BOOL: trib_buf_printf(out, "true or false"); break;
    case TRIB_OPT_U64: trib_buf_printf(out, "a whole number"); break;
    case TRIB_OPT_F64: trib_buf_printf(out, "a number"); break;
    case TRIB_OPT_BYTES: trib_buf_printf(out, "a size (65536, 64KiB, 8MiB, 1GB)"); break;
    case TRIB_OPT_MS: trib_buf_printf(out, "a duration with its unit (250ms, 30s, 5m, 2h)"); break;
    case TRIB_OPT_STRING: trib_buf_printf(out, "a text"); break;
    case TRIB_OPT_CHOICE: append_choices(option, out); break;
    case TRIB_OPT_LIST: trib_buf_printf(out, "a list of texts"); break;
    }
    append_range(option, out);
}

static enum trib_status refuse(const struct trib_option *option, const char *text, size_t bytes,
                               const struct trib_place *place, struct trib_error *err) {
    char where[TRIB_PLACE_TEXT], found[TRIB_FOUND_TEXT];
    uint8_t room[300]; /* a buffer over the stack never grows beyond its limit */
    struct trib_buf expected = {.data = room, .capacity = sizeof room, .limit = sizeof room - 1};
    trib_option_expected(option, &expected);
    trib_place_text(where, place);
    trib_found_text(found, text, bytes);
    return trib_fail(err, TRIB_INVALID, "%s%s: found %s, expected %s", where, option->name, found,
                     trib_buf_text(&expected));
}

/* ---- reading one value ---- */

static bool in_range(const struct trib_option *option, double value) {
    return (option->min == 0 && option->max == 0) || (value >= option->min && value <= option->max);
}

static bool read_bool(void *field, const char *text, size_t bytes) {
    bool yes = bytes == 4 && memcmp(text, "true", 4) == 0;
    if (!yes && !(bytes == 5 && memcmp(text, "false", 5) == 0)) return false;
    *(bool *)field = yes;
    return true;
}

static bool read_u64(const struct trib_option *option, void *field, const char *text, size_t bytes) {
    uint64_t value;
    bool fine = option->type == TRIB_OPT_BYTES ? trib_parse_bytes(text, bytes, &value)
                : option->type == TRIB_OPT_MS  ? trib_parse_ms(text, bytes, &value)
                                               : trib_parse_u64(text, bytes, &value);
    if (!fine || !in_range(option, (double)value)) return false;
    *(uint64_t *)field = value;
    return true;
}

static bool read_f64(const struct trib_option *option, void *field, const char *text, size_t bytes) {
    double value;
    if (!trib_parse_f64(text, bytes, &value) || !in_range(option, value)) return false;
    *(double *)field = value;
    return true;
}

/* Text that can be printed, dumped and read back. */
static enum trib_status check_text(const struct trib_option *option, const char *text, size_t bytes,
                                   const struct trib_place *place, struct trib_error *err) {
    size_t at = trib_utf8_check(text, bytes);
    if (at == bytes) return TRIB_OK;
    char where[TRIB_PLACE_TEXT], found[TRIB_FOUND_TEXT];
    trib_place_text(where, place);
    trib_found_text(found, text, bytes);
    return trib_fail(err, TRIB_INVALID, "%s%s: found %s, expected UTF-8 text on one line; byte %zu is 0x%02x",
                     where, option->name, found, at, (unsigned)(unsigned char)text[at]);
}

/* The option's own check, with place and name put before what it says. */
static enum trib_status check_content(const struct trib_option *option, const char *value,
                                      const struct trib_place *place, struct trib_error *err) {
    struct trib_error inner = {.status = TRIB_OK, .text = ""};
    enum trib_status status = option->check != NULL ? option->check(value, &inner) : TRIB_OK;
    if (status == TRIB_OK) return TRIB_OK;
    char where[TRIB_PLACE_TEXT];
    return trib_fail(err, status, "%s%s: %s", trib_place_text(where, place), option->name, inner.text);
}

static enum trib_status refuse_choice(const struct trib_option *option, const char *word,
                                      const struct trib_place *place, struct trib_error *err) {
    struct trib_error inner;
    enum trib_status status = refuse(option, word, strlen(word), place, &inner);
    size_t count = 0;
    while (option->choices[count] != NULL) count++;
    const char *nearest = trib_nearest(word, option->choices, count);
    if (nearest == NULL) return trib_fail(err, status, "%s", inner.text);
    return trib_fail(err, status, "%.400s; the nearest one is \"%s\"", inner.text, nearest);
}

static bool is_choice(const struct trib_option *option, const char *word) {
    for (size_t i = 0; option->choices[i] != NULL; i++) {
        if (strcmp(option->choices[i], word) == 0) return true;
    }
    return false;
}

static enum trib_status no_memory(const struct trib_option *option, struct trib_error *err) {
    return trib_fail(err, TRIB_NOMEM, "no memory for the value of %s", option->name);
}

/* A copy that is checked and is a string; the caller owns it. */
static enum trib_status copy_text(const struct trib_option *option, const char *text, size_t bytes,
                                  const struct trib_place *place, char **out, struct trib_error *err) {
    enum trib_status status = check_text(option, text, bytes, place, err);
    if (status != TRIB_OK) return status;
    char *copy = trib_alloc(bytes + 1);
    if (copy == NULL) return no_memory(option, err);
    if (bytes > 0) memcpy(copy, text, bytes);
    if (option->type == TRIB_OPT_CHOICE && !is_choice(option, copy)) {
        status = refuse_choice(option, copy, place, err);
    } else {
        status = check_content(option, copy, place, err);
    }
    if (status != TRIB_OK) {
        trib_free(copy);
        return status;
    }
    *out = copy;
    return TRIB_OK;
}

static enum trib_status read_text(const struct trib_option *option, void *field, const char *text,
                                  size_t bytes, const struct trib_place *place, struct trib_error *err) {
    char *copy = NULL;
    enum trib_status status = copy_text(option, text, bytes, place, &copy, err);
    if (status != TRIB_OK) return status;
    char **slot = field;
    trib_free(*slot);
    *slot = copy;
    return TRIB_OK;
}

enum trib_status trib_option_read_item(const struct trib_option *option, void *config, bool first,
                                       const char *text, size_t bytes, const struct trib_place *place,
                                       struct trib_error *err) {
    char **slot = trib_option_field(option, config);
    if (bytes == 0) return refuse(option, text, bytes, place, err);
    if (first) return read_text(option, slot, text, bytes, place, err);
    char *item = NULL;
    enum trib_status status = copy_text(option, text, bytes, place, &item, err);
    if (status != TRIB_OK) return status;
    size_t before = strlen(*slot);
    char *longer = trib_realloc(*slot, before + 1 + bytes + 1);
    if (longer == NULL) {
        status = no_memory(option, err);
    } else {
        longer[before] = '\n';
        memcpy(longer + before + 1, item, bytes + 1);
        *slot = longer;
    }
    trib_free(item);
    return status;
}

/* Copies an item in double quotes without them; \" and \\ stand for themselves. Its length. */
static size_t unquote(char *out, const char *text, size_t bytes) {
    size_t used = 0, end = bytes - 1;
    for (size_t i = 1; i < end; i++) {
        if (text[i] == '\\' && i + 1 < end) i++;
        out[used++] = text[i];
    }
    return used;
}

static enum trib_status read_list_item(const struct trib_option *option, void *config, bool first,
                                       const char *text, size_t bytes, const struct trib_place *place,
                                       struct trib_error *err) {
    trib_spec_trim(&text, &bytes);
    if (bytes == 0 || text[0] != '"') {
        return trib_option_read_item(option, config, first, text, bytes, place, err);
    }
    if (bytes < 2 || text[bytes - 1] != '"') return refuse(option, text, bytes, place, err);
    char *plain = trib_alloc(bytes);
    if (plain == NULL) return no_memory(option, err);
    size_t plain_bytes = unquote(plain, text, bytes);
    enum trib_status status = trib_option_read_item(option, config, first, plain, plain_bytes, place, err);
    trib_free(plain);
    return status;
}

static enum trib_status read_list(const struct trib_option *option, void *config, const char *text,
                                  size_t bytes, const struct trib_place *place, struct trib_error *err) {
    const char *whole = text;
    size_t whole_bytes = bytes;
    trib_spec_trim(&text, &bytes);
    if (bytes >= 2 && text[0] == '[' && text[bytes - 1] == ']') {
        text++;
        bytes -= 2;
        trib_spec_trim(&text, &bytes);
    }
    char **slot = trib_option_field(option, config);
    if (bytes == 0) { /* the empty list */
        char *empty = trib_strdup("");
        if (empty == NULL) return no_memory(option, err);
        trib_free(*slot);
        *slot = empty;
        return TRIB_OK;
    }
    for (bool first = true;; first = false) {
        size_t length = trib_spec_item(text, bytes);
        if (length == SIZE_MAX) return refuse(option, whole, whole_bytes, place, err);
        enum trib_status status = read_list_item(option, config, first, text, length, place, err);
        if (status != TRIB_OK || length == bytes) return status;
        text += length + 1;
        bytes -= length + 1;
    }
}

enum trib_status trib_option_read(const struct trib_option *option, void *config, const char *text,
                                  size_t bytes, const struct trib_place *place, struct trib_error *err) {
    void *field = trib_option_field(option, config);
    bool fine = false;
    switch (option->type) {
    case TRIB_OPT_BOOL: fine = read_bool(field, text, bytes); break;
    case TRIB_OPT_U64:
    case TRIB_OPT_BYTES:
    case TRIB_OPT_MS: fine = read_u64(option, field, text, bytes); break;
    case TRIB_OPT_F64: fine = read_f64(option, field, text, bytes); break;
    case TRIB_OPT_STRING:
    case TRIB_OPT_CHOICE: return read_text(option, field, text, bytes, place, err);
    case TRIB_OPT_LIST: return read_list(option, config, text, bytes, place, err);
    }
    return fine ? TRIB_OK : refuse(option, text, bytes, place, err);
}

/* ---- whole tables ---- */

enum trib_status trib_options_defaults(const struct trib_option *table, size_t count, void *config,
                                       struct trib_error *err) {
    for (size_t i = 0; i < count; i++) {
        const char *text = table[i].fallback;
        struct trib_place place = {.origin = "default"};
        enum trib_status status = trib_option_read(&table[i], config, text, strlen(text), &place, err);
        if (status == TRIB_OK) continue;
        trib_options_release(table, count, config);
        return status;
    }
    return TRIB_OK;
}

void trib_options_release(const struct trib_option *table, size_t count, void *config) {
    for (size_t i = 0; i < count; i++) {
        if (!is_text(&table[i])) continue;
        char **slot = trib_option_field(&table[i], config);
        trib_free(*slot);
        *slot = NULL;
    }
}

enum trib_status trib_options_set(const struct trib_option *table, size_t count, void *config,
                                  const char *assignment, struct trib_error *err) {
    const struct trib_place place = {.origin = "--set"};
    const char *equals = strchr(assignment, '=');
    char found[TRIB_FOUND_TEXT];
    if (equals == NULL || equals == assignment) {
        trib_found_text(found, assignment, strlen(assignment));
        return trib_fail(err, TRIB_INVALID, "--set: found %s, expected KEY=VALUE, for example %s=%s", found,
                         count > 0 ? table[0].name : "key", count > 0 ? table[0].fallback : "value");
    }
    size_t bytes = (size_t)(equals - assignment);
    const struct trib_option *option = trib_option_find(table, count, assignment, bytes);
    if (option == NULL) {
        if (trib_option_group(table, count, assignment, bytes)) {
            return trib_fail(err, TRIB_INVALID, "--set: %.*s is a group of keys; name one of them",
                             (int)bytes, assignment);
        }
        return trib_option_unknown(table, count, assignment, bytes, &place, err);
    }
    return trib_option_read(option, config, equals + 1, strlen(equals + 1), &place, err);
}
