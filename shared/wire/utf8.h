/* Inside shared/wire: which bytes may stand in a text field. */
#ifndef TRIB_WIRE_UTF8_H
#define TRIB_WIRE_UTF8_H

#include <stddef.h>

/* How many bytes from the start of `text` are valid UTF-8 (no overlong forms, no surrogates, at most
 * U+10FFFF) without control characters (U+0000..1F but \n, U+007F..9F); `size` if all are. */
size_t trib_utf8_prefix(const char *text, size_t size);

#endif
