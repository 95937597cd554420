/* Tables of the ledger as a person, a program or a spreadsheet wants them. */
#ifndef TRIB_CLI_SHEET_H
#define TRIB_CLI_SHEET_H

#include "shared/ledger/ledger.h"

#include <stdio.h>

enum sheet_form { SHEET_TABLE, SHEET_JSON, SHEET_CSV };

/* Reads a table of the ledger and appends it to `out`: an aligned table for people, a JSON array of objects
 * (no newline behind it), or CSV with a header. Numbers in JSON and CSV are raw: bytes, milliseconds, 0..1.
 * `rows`, if not NULL, gets their number. */
enum trib_status sheet_write(struct trib_ledger_reader *reader, enum trib_ledger_table table, int64_t run_id,
                             int64_t limit, enum sheet_form form, struct trib_buf *out, size_t *rows,
                             struct trib_error *err) TRIB_MUST_USE;

#endif
