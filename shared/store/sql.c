#include "shared/store/sql.h"

#include "shared/base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static enum trib_status status_of(int rc) {
    switch (rc & 0xff) {
    case SQLITE_NOMEM: return TRIB_NOMEM;
    case SQLITE_ERROR: /* our statements are constant: the tables are not what they were */
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return TRIB_CORRUPT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return TRIB_AGAIN;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH: return TRIB_DENIED;
    case SQLITE_TOOBIG: return TRIB_LIMIT;
    default: return TRIB_IO;
    }
}

enum trib_status trib_sql_fail(struct trib_error *err, sqlite3 *db, int rc, const char *doing) {
    int extended = db != NULL ? sqlite3_extended_errcode(db) : rc;
    const char *text =
        db != NULL && sqlite3_errcode(db) != SQLITE_OK ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
    return trib_fail(err, status_of(rc), "%s: %s (SQLite code %d)%s", doing, text, extended,
                     (rc & 0xff) == SQLITE_FULL ? "; make room on the disk, then start again" : "");
}

enum trib_status trib_sql_exec(sqlite3 *db, const char *sql, struct trib_error *err) {
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    if (rc == SQLITE_OK) return TRIB_OK;
    char doing[80];
    (void)snprintf(doing, sizeof doing, "database: \"%.60s\"", sql);
    return trib_sql_fail(err, db, rc, doing);
}

enum trib_status trib_sql_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **out, struct trib_error *err) {
    int rc = sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
    if (rc == SQLITE_OK) return TRIB_OK;
    char doing[100];
    (void)snprintf(doing, sizeof doing, "database: preparing \"%.60s\"", sql);
    return trib_sql_fail(err, db, rc, doing);
}

enum trib_status trib_sql_step(sqlite3_stmt *stmt, bool *row, struct trib_error *err) {
    int rc = sqlite3_step(stmt);
    *row = rc == SQLITE_ROW;
    if (rc == SQLITE_ROW) return TRIB_OK;
    enum trib_status status = TRIB_OK;
    if (rc != SQLITE_DONE) {
        char doing[100];
        (void)snprintf(doing, sizeof doing, "database: \"%.60s\"", sqlite3_sql(stmt));
        status = trib_sql_fail(err, sqlite3_db_handle(stmt), rc, doing);
    }
    (void)sqlite3_reset(stmt);
    return status;
}

enum trib_status trib_sql_run(sqlite3_stmt *stmt, struct trib_error *err) {
    bool row = false;
    enum trib_status status = trib_sql_step(stmt, &row, err);
    if (row) (void)sqlite3_reset(stmt);
    (void)sqlite3_clear_bindings(stmt);
    return status;
}

enum trib_status trib_sql_number(sqlite3 *db, const char *sql, int64_t fallback, int64_t *out,
                                 struct trib_error *err) {
    sqlite3_stmt *stmt = NULL;
    enum trib_status status = trib_sql_prepare(db, sql, &stmt, err);
    if (status != TRIB_OK) return status;
    bool row = false;
    *out = fallback;
    status = trib_sql_step(stmt, &row, err);
    if (row && sqlite3_column_type(stmt, 0) != SQLITE_NULL) *out = sqlite3_column_int64(stmt, 0);
    (void)sqlite3_finalize(stmt);
    return status;
}

enum trib_status trib_sql_check(sqlite3 *db, const char *path, struct trib_error *err) {
    int64_t application = 0, version = 0, tables = 0;
    enum trib_status status = trib_sql_number(db, "PRAGMA application_id", 0, &application, err);
    if (status == TRIB_OK) status = trib_sql_number(db, "PRAGMA user_version", 0, &version, err);
    if (status == TRIB_OK)
        status = trib_sql_number(db, "SELECT count(*) FROM sqlite_master", 0, &tables, err);
    if (status == TRIB_CORRUPT) {
        return trib_fail(err, status, "%s: not a readable SQLite database; restore the folder from a backup",
                         path);
    }
    if (status != TRIB_OK) return status;
    if (application != TRIB_SQL_APPLICATION && tables > 0) {
        return trib_fail(err, TRIB_INVALID,
                         "%s: a SQLite database, but not one of Tributary; name another file", path);
    }
    if (version > TRIB_SQL_VERSION) {
        return trib_fail(err, TRIB_NEWER,
                         "%s: its schema has version %" PRId64
                         ", this program knows up to %d; use the newer program",
                         path, version, TRIB_SQL_VERSION);
    }
    return TRIB_OK;
}

/* Where the folder cannot be written and nobody has the file open, SQLite cannot make its index of the
 * write-ahead log; the file alone is then all there is to read. */
static enum trib_status open_one(const char *path, const char *vfs, bool immutable, sqlite3 **out,
                                 struct trib_error *err) {
    char *uri = immutable ? sqlite3_mprintf("file:%s?immutable=1", path) : sqlite3_mprintf("%s", path);
    if (uri == NULL) return trib_fail(err, TRIB_NOMEM, "no memory to open %s", path);
    int rc = sqlite3_open_v2(uri, out, SQLITE_OPEN_READONLY | (immutable ? SQLITE_OPEN_URI : 0), vfs);
    sqlite3_free(uri);
    if (rc != SQLITE_OK) return trib_sql_fail(err, *out, rc, path);
    (void)sqlite3_busy_timeout(*out, 5000);
    return trib_sql_check(*out, path, err);
}

static bool has_log(const char *path) {
    char wal[4200];
    struct stat st;
    (void)snprintf(wal, sizeof wal, "%s-wal", path);
    return stat(wal, &st) == 0 && st.st_size > 0;
}

enum trib_status trib_sql_open_readonly(const char *path, const char *vfs, sqlite3 **out,
                                        struct trib_error *err) {
    *out = NULL;
    enum trib_status status = open_one(path, vfs, false, out, err);
    if (status != TRIB_IO && status != TRIB_DENIED) return status;
    if (vfs != NULL || has_log(path) || strpbrk(path, "?#%") != NULL) return status;
    (void)sqlite3_close(*out);
    *out = NULL;
    return open_one(path, vfs, true, out, err);
}

static enum trib_status take_statements(sqlite3 *db, const char *component,
                                        const struct trib_sql_step_row *step, struct trib_error *err) {
    char note[200], pragma[120];
    (void)snprintf(note, sizeof note, "INSERT INTO migrations VALUES('%s', %d, %" PRIu64 ")", component,
                   step->version, trib_clock_wall_ms());
    (void)snprintf(pragma, sizeof pragma, "PRAGMA application_id=%d; PRAGMA user_version=%d",
                   TRIB_SQL_APPLICATION, TRIB_SQL_VERSION);
    enum trib_status status =
        trib_sql_exec(db,
                      "CREATE TABLE IF NOT EXISTS migrations("
                      "component TEXT NOT NULL, version INTEGER NOT NULL, taken_ms INTEGER NOT NULL, "
                      "PRIMARY KEY(component, version))",
                      err);
    for (size_t i = 0; step->sql[i] != NULL && status == TRIB_OK; i++) {
        status = trib_sql_exec(db, step->sql[i], err);
    }
    if (status == TRIB_OK) status = trib_sql_exec(db, note, err);
    return status == TRIB_OK ? trib_sql_exec(db, pragma, err) : status;
}

static enum trib_status take_step(sqlite3 *db, const char *component, const struct trib_sql_step_row *step,
                                  struct trib_error *err) {
    enum trib_status status = trib_sql_exec(db, "BEGIN IMMEDIATE", err);
    if (status == TRIB_OK) status = take_statements(db, component, step, err);
    if (status == TRIB_OK) status = trib_sql_exec(db, "COMMIT", err);
    if (status != TRIB_OK && !sqlite3_get_autocommit(db))
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

enum trib_status trib_sql_migrate(sqlite3 *db, const char *component, const struct trib_sql_step_row *steps,
                                  size_t count, struct trib_error *err) {
    int64_t made = 0, have = 0;
    enum trib_status status =
        trib_sql_number(db, "SELECT count(*) FROM sqlite_master WHERE name='migrations'", 0, &made, err);
    if (status == TRIB_OK && made > 0) {
        char sql[160];
        (void)snprintf(sql, sizeof sql, "SELECT max(version) FROM migrations WHERE component='%s'",
                       component);
        status = trib_sql_number(db, sql, 0, &have, err);
    }
    for (size_t i = 0; i < count && status == TRIB_OK; i++) {
        if (steps[i].version > have) status = take_step(db, component, &steps[i], err);
    }
    return status;
}
