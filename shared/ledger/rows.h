/* Rows of the ledger as the records that they were written from. */
#ifndef TRIB_LEDGER_ROWS_H
#define TRIB_LEDGER_ROWS_H

#include "shared/ledger/internal.h"

/* One column of a SELECT. */
struct ledger_column {
    const char *name;
    enum {
        ROW_INT,
        ROW_REAL,
        ROW_TEXT,
        ROW_HEX64,
        ROW_DIGEST,
        ROW_RUN,
        ROW_ORIGINS,
        ROW_HOPS,
        ROW_VERDICT,
        ROW_REASON
    } type;
    uint8_t key;     /* TRIB_R_... */
    bool needed;     /* not NULL */
    uint16_t offset; /* in the record */
};
extern const struct ledger_column ledger_run_columns[], ledger_contribution_columns[],
    ledger_version_columns[], ledger_publication_columns[];
extern const size_t ledger_run_column_count, ledger_contribution_column_count, ledger_version_column_count,
    ledger_publication_column_count;

/* Appends ", name" for each. */
void ledger_select(struct trib_buf *sql, const struct ledger_column *columns, size_t count);
/* Fills a record from the columns `at`, at + 1, ... of the current row; texts are the row's. What no record
 * can have given is left out, said in `problem` (the first such column, and what it has), and false returned.
 */
bool ledger_record(sqlite3_stmt *row, int at, const struct ledger_column *columns, size_t count,
                   struct trib_record *record, char problem[200]);

#endif
