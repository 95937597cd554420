/* CSV files, plain or packed with gzip, row by row: fields between commas, a field in double quotes may hold
 * commas and "" for a quote, but no line ends. The first line names the columns. Private to shared/learn. */
#ifndef TRIB_LEARN_CSV_H
#define TRIB_LEARN_CSV_H

#include "shared/base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum { TRIB_CSV_MAX_COLUMNS = 256, TRIB_CSV_MAX_LINE = 65536 };

struct trib_csv;

/* Opens a file and reads its header. Errors, here and below, begin with FILE:LINE. */
enum trib_status trib_csv_open(const char *path, struct trib_csv **out, struct trib_error *err) TRIB_MUST_USE;
void trib_csv_close(struct trib_csv **csv);
/* The column with this name. */
enum trib_status trib_csv_column(const struct trib_csv *csv, const char *name, size_t *out,
                                 struct trib_error *err) TRIB_MUST_USE;
/* The next row's fields, as many as there are columns: valid until the next call. NULL behind the last row.
 * Empty lines are left out. */
enum trib_status trib_csv_next(struct trib_csv *csv, char *const **fields,
                               struct trib_error *err) TRIB_MUST_USE;
/* A field as a number; NaN where it is missing: empty, NA or NaN. */
enum trib_status trib_csv_number(const struct trib_csv *csv, size_t column, float *out,
                                 struct trib_error *err) TRIB_MUST_USE;
bool trib_csv_missing(const char *field);

#endif
