#include "shared/base/json.h"

#include "shared/base/number.h"
#include "shared/base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static void separate(struct trib_json *json) {
    if (json->comma) trib_buf_append(json->out, ",", 1);
    json->comma = true;
}

/* One character that JSON does not take as it is. */
static void put_escaped(struct trib_buf *out, uint32_t code) {
    static const char letters[] = "\b\f\n\r\t\"\\", names[] = "bfnrt\"\\";
    const char *found = code != 0 && code < 0x80 ? strchr(letters, (int)code) : NULL;
    if (found != NULL) {
        trib_buf_printf(out, "\\%c", names[found - letters]);
    } else {
        trib_buf_printf(out, "\\u%04" PRIx32, code);
    }
}

static void put_text(struct trib_buf *out, const char *text) {
    size_t bytes = strlen(text);
    trib_buf_append(out, "\"", 1);
    for (size_t at = 0; at < bytes;) {
        uint32_t code = 0;
        size_t length = trib_utf8_next(text + at, bytes - at, &code);
        if (length == 0) { /* JSON is UTF-8: what is not becomes a replacement character */
            put_escaped(out, 0xFFFD);
            length = 1;
        } else if (!trib_utf8_printable(code) || code == '"' || code == '\\') {
            put_escaped(out, code);
        } else {
            trib_buf_append(out, text + at, length);
        }
        at += length;
    }
    trib_buf_append(out, "\"", 1);
}

void trib_json_begin(struct trib_json *json, char bracket) {
    separate(json);
    trib_buf_append(json->out, &bracket, 1);
    json->comma = false;
}

void trib_json_end(struct trib_json *json, char bracket) {
    trib_buf_append(json->out, &bracket, 1);
    json->comma = true;
}

void trib_json_key(struct trib_json *json, const char *key) {
    separate(json);
    put_text(json->out, key);
    trib_buf_append(json->out, ":", 1);
    json->comma = false;
}

void trib_json_string(struct trib_json *json, const char *text) {
    separate(json);
    put_text(json->out, text);
}

void trib_json_u64(struct trib_json *json, uint64_t value) {
    separate(json);
    trib_buf_printf(json->out, "%" PRIu64, value);
}

void trib_json_i64(struct trib_json *json, int64_t value) {
    separate(json);
    trib_buf_printf(json->out, "%" PRId64, value);
}

void trib_json_f64(struct trib_json *json, double value) {
    if (!isfinite(value)) {
        trib_json_null(json);
        return;
    }
    char text[TRIB_NUMBER_TEXT];
    separate(json);
    trib_buf_printf(json->out, "%s", trib_format_f64(text, value));
}

void trib_json_bool(struct trib_json *json, bool value) {
    separate(json);
    trib_buf_printf(json->out, "%s", value ? "true" : "false");
}

void trib_json_null(struct trib_json *json) {
    separate(json);
    trib_buf_append(json->out, "null", 4);
}
