/* SQLite in few words: errors turned into ours, statements, schema steps. For shared/store and shared/ledger
 * alone. */
#ifndef TRIB_STORE_SQL_H
#define TRIB_STORE_SQL_H

#include "shared/base/error.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TRIB_SQL_APPLICATION = 0x54524942, /* PRAGMA application_id: "TRIB" */
    TRIB_SQL_VERSION = 1               /* PRAGMA user_version: of all tables in a file together */
};

/* What rc means, with SQLite's own words behind `doing`. */
enum trib_status trib_sql_fail(struct trib_error *err, sqlite3 *db, int rc, const char *doing);
enum trib_status trib_sql_exec(sqlite3 *db, const char *sql, struct trib_error *err) TRIB_MUST_USE;
enum trib_status trib_sql_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **out,
                                  struct trib_error *err) TRIB_MUST_USE;
/* One step. *row: a row is there; else the statement is done and reset. On failure it is reset too. */
enum trib_status trib_sql_step(sqlite3_stmt *stmt, bool *row, struct trib_error *err) TRIB_MUST_USE;
/* Runs a statement that yields no rows, then resets it and clears its bindings. */
enum trib_status trib_sql_run(sqlite3_stmt *stmt, struct trib_error *err) TRIB_MUST_USE;
/* The first column of the first row of `sql`; `fallback` without a row or for NULL. */
enum trib_status trib_sql_number(sqlite3 *db, const char *sql, int64_t fallback, int64_t *out,
                                 struct trib_error *err) TRIB_MUST_USE;

/* Refuses a file that is not ours (TRIB_INVALID) or that a newer program made (TRIB_NEWER). Reads only; an
 * empty database is fine. */
enum trib_status trib_sql_check(sqlite3 *db, const char *path, struct trib_error *err) TRIB_MUST_USE;

/* Opens a database of ours for reading, while others may have it open and write. TRIB_IO where there is none,
 * and what trib_sql_check says. *out is to be closed in any case (it may be NULL). */
enum trib_status trib_sql_open_readonly(const char *path, const char *vfs, sqlite3 **out,
                                        struct trib_error *err) TRIB_MUST_USE;

/* A step of a component's schema: the statements that bring it to `version` of the file. */
struct trib_sql_step_row {
    int version;
    const char *const *sql; /* NULL-terminated */
};
/* Takes the steps that the file does not have yet, each in a transaction together with its row in
 * `migrations` and the user_version. Steps are in ascending order of version. */
enum trib_status trib_sql_migrate(sqlite3 *db, const char *component, const struct trib_sql_step_row *steps,
                                  size_t count, struct trib_error *err) TRIB_MUST_USE;

#endif
