/* UTF-8, for text that comes from outside: strict decoding (no overlong forms, no surrogates). */
#ifndef TRIB_BASE_UTF8_H
#define TRIB_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decodes the first character of `bytes` > 0 bytes: its length (1..4) and *code, or 0 if they do not begin
 * with a well-formed one. */
size_t trib_utf8_next(const char *text, size_t bytes, uint32_t *code);
/* Is this a character that prints and stays on its line? Controls, line separators and byte order marks are
 * not. */
bool trib_utf8_printable(uint32_t code);
/* The offset of the first byte that is malformed or begins an unprintable character; `bytes` if there is
 * none. */
size_t trib_utf8_check(const char *text, size_t bytes);

#endif
