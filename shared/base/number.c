#include "shared/base/number.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest first within what is written; what is only read comes behind. */
static const struct unit byte_units[] = {
    {"TiB", UINT64_C(1) << 40},
    {"GiB", UINT64_C(1) << 30},
    {"MiB", UINT64_C(1) << 20},
    {"KiB", UINT64_C(1) << 10},
    {"", 1},
    {"B", 1},
    {"kB", 1000},
    {"KB", 1000},
    {"MB", UINT64_C(1000000)},
    {"GB", UINT64_C(1000000000)},
    {"TB", UINT64_C(1000000000000)},
};
static const struct unit time_units[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
enum { BYTE_UNITS = sizeof byte_units / sizeof *byte_units, BYTE_UNITS_WRITTEN = 5 };
enum { TIME_UNITS = sizeof time_units / sizeof *time_units };

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static size_t count_digits(const char *text, size_t bytes) {
    size_t n = 0;
    while (n < bytes && is_digit(text[n])) n++;
    return n;
}

bool trib_parse_u64(const char *text, size_t bytes, uint64_t *out) {
    if (bytes == 0 || count_digits(text, bytes) != bytes || (bytes > 1 && text[0] == '0')) return false;
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (__builtin_mul_overflow(value, UINT64_C(10), &value)) return false;
        if (__builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value)) return false;
    }
    *out = value;
    return true;
}

/* [-+] digits [. digits] [e [-+] digits], with a digit before or behind the point */
static bool is_decimal(const char *text, size_t bytes) {
    size_t at = bytes > 0 && (text[0] == '-' || text[0] == '+') ? 1 : 0;
    size_t whole = count_digits(text + at, bytes - at), part = 0;
    at += whole;
    if (at < bytes && text[at] == '.') {
        at++;
        part = count_digits(text + at, bytes - at);
        at += part;
    }
    if (whole + part == 0) return false;
    if (at < bytes && (text[at] == 'e' || text[at] == 'E')) {
        at++;
        if (at < bytes && (text[at] == '-' || text[at] == '+')) at++;
        size_t power = count_digits(text + at, bytes - at);
        if (power == 0) return false;
        at += power;
    }
    return at == bytes;
}

bool trib_parse_f64(const char *text, size_t bytes, double *out) {
    char copy[64];
    if (bytes >= sizeof copy || !is_decimal(text, bytes)) return false;
    memcpy(copy, text, bytes);
    copy[bytes] = 0;
    int saved = errno;
    errno = 0;
    char *end = NULL;
    double value = strtod(copy, &end);
    bool fine = errno == 0 && *end == 0 && isfinite(value);
    errno = saved;
    if (fine) *out = value;
    return fine;
}

static bool parse_with_unit(const char *text, size_t bytes, const struct unit *units, size_t unit_count,
                            uint64_t *out) {
    size_t digits = count_digits(text, bytes);
    uint64_t number;
    if (!trib_parse_u64(text, digits, &number)) return false;
    for (size_t i = 0; i < unit_count; i++) {
        if (strlen(units[i].name) != bytes - digits) continue;
        if (memcmp(units[i].name, text + digits, bytes - digits) != 0) continue;
        return !__builtin_mul_overflow(number, units[i].factor, out);
    }
    return false;
}

bool trib_parse_bytes(const char *text, size_t bytes, uint64_t *out) {
    return parse_with_unit(text, bytes, byte_units, BYTE_UNITS, out);
}

bool trib_parse_ms(const char *text, size_t bytes, uint64_t *out) {
    if (bytes == 1 && text[0] == '0') {
        *out = 0;
        return true;
    }
    return parse_with_unit(text, bytes, time_units, TIME_UNITS, out);
}

const char *trib_format_f64(char out[TRIB_NUMBER_TEXT], double value) {
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(out, TRIB_NUMBER_TEXT, "%.*g", digits, value);
        if (strtod(out, NULL) == value) break; /* NaN never does: it ends at 17 digits, as "nan" */
    }
    return out;
}

static const char *format_with_unit(char out[TRIB_NUMBER_TEXT], uint64_t value, const struct unit *units,
                                    size_t unit_count) {
    size_t i = 0;
    while (i + 1 < unit_count && (value == 0 || value % units[i].factor != 0)) i++;
    (void)snprintf(out, TRIB_NUMBER_TEXT, "%" PRIu64 "%s", value / units[i].factor, units[i].name);
    return out;
}

const char *trib_format_bytes(char out[TRIB_NUMBER_TEXT], uint64_t value) {
    return format_with_unit(out, value, byte_units, BYTE_UNITS_WRITTEN);
}

const char *trib_format_ms(char out[TRIB_NUMBER_TEXT], uint64_t value) {
    if (value != 0) return format_with_unit(out, value, time_units, TIME_UNITS);
    (void)snprintf(out, TRIB_NUMBER_TEXT, "0");
    return out;
}

bool trib_parse_hex(const char *text, size_t size, void *out, size_t bytes) {
    uint8_t *to = out;
    if (size != 2 * bytes) return false;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) return false;
        to[i / 2] = (uint8_t)(i % 2 == 0 ? digit << 4 : to[i / 2] | digit);
    }
    return true;
}

const char *trib_hex(const void *data, size_t bytes, char *out) {
    static const char digits[] = "0123456789abcdef";
    const uint8_t *from = data;
    for (size_t i = 0; i < bytes; i++) {
        out[2 * i] = digits[from[i] >> 4];
        out[2 * i + 1] = digits[from[i] & 15];
    }
    out[2 * bytes] = 0;
    return out;
}
