#include "shared/base/number.h"
#include "shared/base/option_value.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { INDENT = 2, COMMENT_WIDTH = 96 };

/* ---- values ---- */

/* Double quotes around everything: no text can then be taken for a number, a null or a list. Values hold
 * printable characters alone, so that these two are all there is to escape. */
static void put_quoted(struct trib_buf *out, const char *text, size_t bytes) {
    trib_buf_append(out, "\"", 1);
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '"' || text[i] == '\\') trib_buf_append(out, "\\", 1);
        trib_buf_append(out, text + i, 1);
    }
    trib_buf_append(out, "\"", 1);
}

/* Plain where YAML cannot misread it: names and specs such as topk(0.05)+int8. */
static void put_text(struct trib_buf *out, const char *text) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./()+-";
    size_t bytes = strlen(text);
    bool letter = (text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z') || text[0] == '/';
    if (letter && strspn(text, plain) == bytes && strcmp(text, "null") != 0) {
        trib_buf_append(out, text, bytes);
    } else {
        put_quoted(out, text, bytes);
    }
}

static void put_list(struct trib_buf *out, const char *lines) {
    trib_buf_append(out, "[", 1);
    while (*lines != 0) {
        size_t bytes = strcspn(lines, "\n");
        put_quoted(out, lines, bytes);
        lines += bytes;
        if (*lines == 0) break;
        trib_buf_append(out, ", ", 2);
        lines++;
    }
    trib_buf_append(out, "]", 1);
}

static void put_value(struct trib_buf *out, const struct trib_option *option, const void *config) {
    const void *field = trib_option_field_const(option, config);
    char text[TRIB_NUMBER_TEXT];
    switch (option->type) {
    case TRIB_OPT_BOOL: trib_buf_printf(out, "%s", *(const bool *)field ? "true" : "false"); break;
    case TRIB_OPT_U64: trib_buf_printf(out, "%" PRIu64, *(const uint64_t *)field); break;
    case TRIB_OPT_F64: trib_buf_printf(out, "%s", trib_format_f64(text, *(const double *)field)); break;
    case TRIB_OPT_BYTES: trib_buf_printf(out, "%s", trib_format_bytes(text, *(const uint64_t *)field)); break;
    case TRIB_OPT_MS: trib_buf_printf(out, "%s", trib_format_ms(text, *(const uint64_t *)field)); break;
    case TRIB_OPT_STRING:
    case TRIB_OPT_CHOICE: put_text(out, *(char *const *)field); break;
    case TRIB_OPT_LIST: put_list(out, *(char *const *)field); break;
    }
}

void trib_options_flat(const struct trib_option *table, size_t count, const void *config,
                       struct trib_buf *out) {
    for (size_t i = 0; i < count; i++) {
        trib_buf_printf(out, "%s: ", table[i].name);
        put_value(out, &table[i], config);
        trib_buf_append(out, "\n", 1);
    }
}

/* ---- wrapped text ---- */

static void put_spaces(struct trib_buf *out, size_t count) {
    for (size_t i = 0; i < count; i++) trib_buf_append(out, " ", 1);
}

/* Words of `text`, on lines that begin with `indent` spaces and `mark`, the first of which is begun already.
 */
static void put_wrapped(struct trib_buf *out, const char *text, size_t indent, const char *mark) {
    size_t start = indent + strlen(mark), column = start;
    while (*(text += strspn(text, " ")) != 0) {
        size_t length = strcspn(text, " ");
        if (column > start && column + 1 + length > COMMENT_WIDTH) {
            trib_buf_append(out, "\n", 1);
            put_spaces(out, indent);
            trib_buf_printf(out, "%s", mark);
            column = start;
        }
        if (column > start) trib_buf_append(out, " ", 1);
        trib_buf_append(out, text, length);
        column += length + (column > start);
        text += length;
    }
    trib_buf_append(out, "\n", 1);
}

/* "HELP (EXPECTED; default X)", wrapped. */
static void put_help(struct trib_buf *out, const struct trib_option *option, size_t indent,
                     const char *mark) {
    uint8_t room[1000]; /* a buffer over the stack: it never grows beyond its limit */
    struct trib_buf text = {.data = room, .capacity = sizeof room, .limit = sizeof room - 1};
    trib_buf_printf(&text, "%s (", option->help);
    trib_option_expected(option, &text);
    if (option->fallback[0] != 0) {
        trib_buf_printf(&text, "; default %s)", option->fallback);
    } else {
        trib_buf_printf(&text, "; default none)");
    }
    put_wrapped(out, trib_buf_text(&text), indent, mark);
}

void trib_options_help(const struct trib_option *table, size_t count, struct trib_buf *out) {
    for (size_t i = 0; i < count; i++) {
        trib_buf_printf(out, "  %s\n      ", table[i].name);
        put_help(out, &table[i], 6, "");
    }
}

/* A cell's text; a bar would end it. */
static void put_cell(struct trib_buf *out, const char *text) {
    for (; *text != 0; text++) trib_buf_printf(out, *text == '|' ? "\\%c" : "%c", *text);
}

void trib_options_markdown(const struct trib_option *table, size_t count, struct trib_buf *out) {
    trib_buf_printf(out, "| key | what it takes | default | meaning |\n| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < count; i++) {
        trib_buf_printf(out, "| `%s` | ", table[i].name);
        trib_option_expected(&table[i], out);
        trib_buf_printf(out, table[i].fallback[0] != 0 ? " | `%s` | " : " | %s| ", table[i].fallback);
        put_cell(out, table[i].help);
        trib_buf_printf(out, " |\n");
    }
}

/* ---- nested maps ---- */

struct dump {
    const struct trib_option *table;
    size_t count;
    const void *config;
    bool comments;
    struct trib_buf *out;
};

/* Is option i the first of `table` whose name begins with these bytes? */
static bool first_of_group(const struct dump *dump, size_t i, size_t bytes) {
    for (size_t j = 0; j < i; j++) {
        if (strncmp(dump->table[j].name, dump->table[i].name, bytes) == 0) return false;
    }
    return true;
}

/* All options whose name begins with the first `prefix` bytes of `name`, one map's content. Options of a
 * group need not stand together in the table: the group is written where its first one stands. */
static void dump_map(const struct dump *dump, const char *name, size_t prefix, size_t indent) {
    for (size_t i = 0; i < dump->count; i++) {
        const struct trib_option *option = &dump->table[i];
        if (strncmp(option->name, name, prefix) != 0) continue;
        const char *rest = option->name + prefix, *dot = strchr(rest, '.');
        if (dot != NULL) {
            size_t group = (size_t)(dot - option->name) + 1;
            if (!first_of_group(dump, i, group)) continue;
            put_spaces(dump->out, indent);
            trib_buf_printf(dump->out, "%.*s:\n", (int)(dot - rest), rest);
            dump_map(dump, option->name, group, indent + INDENT);
            continue;
        }
        put_spaces(dump->out, indent);
        if (dump->comments) {
            trib_buf_printf(dump->out, "# ");
            put_help(dump->out, option, indent, "# ");
            put_spaces(dump->out, indent);
        }
        trib_buf_printf(dump->out, "%s: ", rest);
        put_value(dump->out, option, dump->config);
        trib_buf_append(dump->out, "\n", 1);
    }
}

void trib_options_dump(const struct trib_option *table, size_t count, const void *config, bool comments,
                       struct trib_buf *out) {
    const struct dump dump = {
        .table = table, .count = count, .config = config, .comments = comments, .out = out};
    dump_map(&dump, "", 0, 0);
}
