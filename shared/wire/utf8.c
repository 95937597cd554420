#include "shared/wire/utf8.h"

#include <stdbool.h>
#include <stdint.h>

/* Bytes of the character at `s`, 0 if there is none that is allowed. The second byte's range is what keeps
 * out overlong forms (e0, f0), surrogates (ed), numbers above U+10FFFF (f4) and the controls U+0080..9F (c2);
 * Unicode 15, table 3-7. */
static size_t character(const uint8_t *s, size_t left) {
    if (s[0] < 0x80) return (s[0] >= 0x20 && s[0] != 0x7f) || s[0] == '\n';
    size_t length = s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
    if (length == 0 || length > left) return 0;
    uint8_t low = s[0] == 0xc2 || s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
    uint8_t high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
    if (s[1] < low || s[1] > high) return 0;
    for (size_t i = 2; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
    }
    return length;
}

size_t trib_utf8_prefix(const char *text, size_t size) {
    const uint8_t *s = (const uint8_t *)text;
    size_t at = 0;
    while (at < size) {
        size_t length = character(s + at, size - at);
        if (length == 0) break;
        at += length;
    }
    return at;
}
