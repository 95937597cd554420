#include "shared/base/log.h"

#include "shared/base/clock.h"
#include "shared/base/json.h"
#include "shared/base/number.h"
#include "shared/base/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The fields of a line, as text, are cut at FIELDS_MAX, which keeps a text line below PIPE_BUF (so that it is
 * one write on a pipe too) and its JSON form, at worst six bytes for one and a few for each field, below
 * LINE_MAX_BYTES. Nothing is allocated: what is logged may be that memory ran out. */
enum { FIELDS_MAX = 2000, NODE_MAX = 100, LINE_MAX_BYTES = 24 * 1024 };

static const char *const level_names[] = {"debug", "info", "warn", "error"};
enum { LEVELS = sizeof level_names / sizeof *level_names };

enum trib_status trib_level_parse(const char *name, enum trib_level *out) {
    for (size_t i = 0; i < LEVELS; i++) {
        if (strcmp(name, level_names[i]) != 0) continue;
        *out = (enum trib_level)i;
        return TRIB_OK;
    }
    return TRIB_INVALID;
}

/* One character within quotes, at most 6 bytes: JSON's escapes, so that both forms of a line read alike. */
static size_t quote_one(char out[8], const char *text, size_t bytes, size_t *taken) {
    static const char letters[] = "\n\r\t\"\\", names[] = "nrt\"\\";
    uint32_t code = 0xFFFD;
    *taken = trib_utf8_next(text, bytes, &code);
    if (*taken == 0) {
        *taken = 1;
        return (size_t)snprintf(out, 8, "\\ufffd");
    }
    const char *found = code < 0x80 ? strchr(letters, (int)code) : NULL;
    if (found != NULL) return (size_t)snprintf(out, 8, "\\%c", names[found - letters]);
    if (!trib_utf8_printable(code)) return (size_t)snprintf(out, 8, "\\u%04" PRIx32, code & 0xFFFF);
    memcpy(out, text, *taken);
    return *taken;
}

const char *trib_log_quote(char *out, size_t out_bytes, const char *text) {
    if (out_bytes < 3) {
        if (out_bytes > 0) out[0] = 0;
        return out;
    }
    size_t bytes = strlen(text), used = 1;
    out[0] = '"';
    for (size_t at = 0, taken = 0; at < bytes; at += taken) {
        char one[8];
        size_t length = quote_one(one, text + at, bytes - at, &taken);
        if (used + length + 2 > out_bytes) break;
        memcpy(out + used, one, length);
        used += length;
    }
    out[used] = '"';
    out[used + 1] = 0;
    return out;
}

static const char *format_time(char out[40]) {
    uint64_t now_ms = trib_clock_wall_ms();
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm parts;
    if (gmtime_r(&seconds, &parts) == NULL) memset(&parts, 0, sizeof parts);
    size_t used = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &parts);
    (void)snprintf(out + used, 40 - used, ".%03uZ", (unsigned)(now_ms % 1000));
    return out;
}

/* A caller's mistake (a raw line break in a field) must not become a second line. */
static void keep_on_line(char *text) {
    for (; *text != 0; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7F) *text = ' ';
    }
}

/* ---- fields as JSON ---- */

/* As UTF-8, 1 to 3 bytes; returns what is behind them. */
static char *put_code(char *out, unsigned code) {
    if (code == 0) code = '?'; /* it would end the text */
    if (code < 0x80) {
        *out++ = (char)code;
        return out;
    }
    if (code < 0x800) {
        *out++ = (char)(0xC0 | code >> 6);
    } else {
        *out++ = (char)(0xE0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 0x3F));
    }
    *out++ = (char)(0x80 | (code & 0x3F));
    return out;
}

/* Undoes quote_one's escapes, from behind the opening quote; returns what is behind the closing one. */
static const char *read_quoted(const char *at, char *out) {
    static const char letters[] = "\n\r\t\"\\", names[] = "nrt\"\\";
    while (*at != 0 && *at != '"') {
        const char *name = at[0] == '\\' && at[1] != 0 ? strchr(names, at[1]) : NULL;
        unsigned code = 0;
        int used = 0;
        if (name != NULL) {
            *out++ = letters[name - names];
            at += 2;
        } else if (at[0] == '\\' && at[1] == 'u' && sscanf(at + 2, "%4x%n", &code, &used) == 1 && used == 4) {
            out = put_code(out, code);
            at += 6;
        } else {
            *out++ = *at++;
        }
    }
    *out = 0;
    return *at == '"' ? at + 1 : at;
}

static const char *read_bare(const char *at, char *out) {
    while (*at != 0 && *at != ' ') *out++ = *at++;
    *out = 0;
    return at;
}

static void put_bare(struct trib_json *json, const char *text) {
    size_t bytes = strlen(text);
    uint64_t whole;
    double number;
    const char *digits = text + (text[0] == '-');
    bool padded = digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9'; /* "007" is a name */
    if (trib_parse_u64(text, bytes, &whole)) {
        trib_json_u64(json, whole);
    } else if (!padded && trib_parse_f64(text, bytes, &number)) {
        trib_json_f64(json, number);
    } else if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
        trib_json_bool(json, text[0] == 't');
    } else {
        trib_json_string(json, text);
    }
}

static void put_fields(struct trib_json *json, const char *at) {
    char key[FIELDS_MAX + 1], value[FIELDS_MAX + 1];
    while (*(at += strspn(at, " ")) != 0) {
        size_t length = strcspn(at, "= \"");
        if (length == 0 || at[length] != '=') { /* not a field: kept as one nevertheless */
            at = read_bare(at, value);
            trib_json_key(json, "text");
            trib_json_string(json, value);
            continue;
        }
        memcpy(key, at, length);
        key[length] = 0;
        trib_json_key(json, key);
        at += length + 1;
        if (*at == '"') {
            at = read_quoted(at + 1, value);
            trib_json_string(json, value);
        } else {
            at = read_bare(at, value);
            put_bare(json, value);
        }
    }
}

static void put_json(struct trib_buf *line, const char *time_text, const char *level, const char *node,
                     const char *event, const char *fields) {
    struct trib_json json = {.out = line};
    trib_json_begin(&json, '{');
    trib_json_key(&json, "time");
    trib_json_string(&json, time_text);
    trib_json_key(&json, "level");
    trib_json_string(&json, level);
    trib_json_key(&json, "node");
    trib_json_string(&json, node);
    trib_json_key(&json, "event");
    trib_json_string(&json, event);
    put_fields(&json, fields);
    trib_json_end(&json, '}');
    trib_buf_append(line, "\n", 1);
}

static void write_all(int fd, const uint8_t *data, size_t bytes) {
    while (bytes > 0) {
        ssize_t done = write(fd, data, bytes);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return; /* nowhere to tell it */
        data += done;
        bytes -= (size_t)done;
    }
}

void trib_log(const struct trib_log *log, enum trib_level level, const char *event, const char *fmt, ...) {
    if (level < log->level) return;
    int saved = errno;
    char fields[FIELDS_MAX + 1], when[40], node[NODE_MAX];
    va_list args;
    va_start(args, fmt);
    if (vsnprintf(fields, sizeof fields, fmt, args) < 0) fields[0] = 0;
    va_end(args);
    keep_on_line(fields);
    (void)snprintf(node, sizeof node, "%s", log->node != NULL && log->node[0] != 0 ? log->node : "-");
    keep_on_line(node);

    /* a buffer over the stack: its limit is its capacity, so that it never grows */
    uint8_t bytes[LINE_MAX_BYTES];
    struct trib_buf line = {.data = bytes, .capacity = sizeof bytes, .limit = sizeof bytes - 1};
    if (log->json) {
        put_json(&line, format_time(when), level_names[level], node, event, fields);
    } else {
        trib_buf_printf(&line, "%s %-5s %s %s%s%s\n", format_time(when), level_names[level], node, event,
                        fields[0] != 0 ? " " : "", fields);
    }
    write_all(log->fd, line.data, line.size);
    errno = saved;
}
