#include "shared/base/utf8.h"

size_t trib_utf8_next(const char *text, size_t bytes, uint32_t *code) {
    /* the smallest code that needs so many bytes; smaller ones are overlong */
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *at = (const unsigned char *)text;
    size_t length = at[0] < 0x80 ? 1 : at[0] < 0xC0 ? 0 : at[0] < 0xE0 ? 2 : at[0] < 0xF0 ? 3 : 4;
    if (length == 0 || length > bytes || at[0] > 0xF4) return 0;
    if (length == 1) {
        *code = at[0];
        return 1;
    }
    uint32_t value = at[0] & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xC0) != 0x80) return 0;
        value = value << 6 | (at[i] & 0x3Fu);
    }
    if (value < least[length] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) return 0;
    *code = value;
    return length;
}

bool trib_utf8_printable(uint32_t code) {
    if (code < 0x20 || (code >= 0x7F && code < 0xA0)) return false;
    return code != 0x2028 && code != 0x2029 && code != 0xFEFF && code != 0xFFFE && code != 0xFFFF;
}

size_t trib_utf8_check(const char *text, size_t bytes) {
    size_t at = 0;
    while (at < bytes) {
        uint32_t code = 0;
        size_t length = trib_utf8_next(text + at, bytes - at, &code);
        if (length == 0 || !trib_utf8_printable(code)) return at;
        at += length;
    }
    return bytes;
}
