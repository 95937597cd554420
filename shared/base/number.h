/* Numbers as people write them, read strictly: the whole text must be one number. "5x", "0x10", "010", "1e3"
 * for an integer, "NaN", "" and " 5" are refused, and so is what does not fit. */
#ifndef TRIB_BASE_NUMBER_H
#define TRIB_BASE_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TRIB_NUMBER_TEXT = 32 /* enough for any of the texts below, with its 0 */ };

bool trib_parse_u64(const char *text, size_t bytes, uint64_t *out);
/* Finite; `-1.5e-3`, `5.`, `.5` are fine. */
bool trib_parse_f64(const char *text, size_t bytes, double *out);
/* Lower-case hex of exactly so many bytes. */
bool trib_parse_hex(const char *text, size_t size, void *out, size_t bytes);
/* "65536", "64KiB", "8MiB", "1GB", "100B": B, kB/KB/MB/GB/TB, KiB/MiB/GiB/TiB. */
bool trib_parse_bytes(const char *text, size_t bytes, uint64_t *out);
/* "250ms", "30s", "5m", "2h", "0". */
bool trib_parse_ms(const char *text, size_t bytes, uint64_t *out);

/* The shortest text that reads back as the same number. Each returns out. */
const char *trib_format_f64(char out[TRIB_NUMBER_TEXT], double value);
const char *trib_format_bytes(char out[TRIB_NUMBER_TEXT], uint64_t value);
const char *trib_format_ms(char out[TRIB_NUMBER_TEXT], uint64_t value);
/* Lower-case hex, 2 * bytes characters and a 0; returns out. */
const char *trib_hex(const void *data, size_t bytes, char *out);

#endif
