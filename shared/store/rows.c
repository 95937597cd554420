/* The rows of `journal` and `checkpoints`. SQLite's pages have no checksums, so every row has its own. */
#include "shared/base/bytes.h"
#include "shared/base/clock.h"
#include "shared/kernels/kernels.h"
#include "shared/store/internal.h"

#include <inttypes.h>

static const char *const version_1[] = {
    "CREATE TABLE journal("
    "position INTEGER PRIMARY KEY, kind INTEGER NOT NULL, body BLOB NOT NULL, "
    "segment INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL, "
    "payload_crc32c INTEGER NOT NULL, row_crc32c INTEGER NOT NULL)",
    "CREATE TABLE checkpoints("
    "position INTEGER PRIMARY KEY, file INTEGER NOT NULL, bytes INTEGER NOT NULL, "
    "file_crc32c INTEGER NOT NULL, made_ms INTEGER NOT NULL, row_crc32c INTEGER NOT NULL)",
    NULL,
};

const struct trib_sql_step_row journal_steps[] = {{1, version_1}};
const size_t journal_step_count = sizeof journal_steps / sizeof *journal_steps;

const char row_columns[] = "position, kind, body, segment, offset, length, payload_crc32c, row_crc32c";

static uint32_t crc32c(uint32_t crc, const void *data, size_t bytes) {
    return trib_kernels()->crc32c(crc, data, bytes);
}

uint32_t row_crc(const struct row *row) {
    uint8_t fixed[40];
    trib_put_u64(fixed, row->position);
    trib_put_u64(fixed + 8, row->kind);
    trib_put_u64(fixed + 16, row->place.segment);
    trib_put_u64(fixed + 24, row->place.offset);
    trib_put_u32(fixed + 32, row->place.length);
    trib_put_u32(fixed + 36, row->place.crc);
    return crc32c(crc32c(0, fixed, sizeof fixed), row->body, row->body_bytes);
}

enum trib_status row_read(sqlite3_stmt *stmt, struct row *row, struct trib_error *err) {
    *row = (struct row){
        .position = (uint64_t)sqlite3_column_int64(stmt, 0),
        .kind = (uint8_t)sqlite3_column_int64(stmt, 1),
        .body = sqlite3_column_blob(stmt, 2),
        .body_bytes = (size_t)sqlite3_column_bytes(stmt, 2),
        .place = {.segment = (uint64_t)sqlite3_column_int64(stmt, 3),
                  .offset = (uint64_t)sqlite3_column_int64(stmt, 4),
                  .length = (uint32_t)sqlite3_column_int64(stmt, 5),
                  .crc = (uint32_t)sqlite3_column_int64(stmt, 6)},
    };
    uint32_t kept = (uint32_t)sqlite3_column_int64(stmt, 7), found = row_crc(row);
    if (found == kept) return TRIB_OK;
    return trib_fail(err, TRIB_CORRUPT,
                     "the journal's row at position %" PRIu64 " is damaged: CRC32C %08" PRIx32
                     ", expected %08" PRIx32 "; restore the folder from a backup, or start with an empty one",
                     row->position, found, kept);
}

enum trib_status row_write(sqlite3_stmt *insert, const struct row *row, struct trib_error *err) {
    int rc = sqlite3_bind_int64(insert, 1, (sqlite3_int64)row->position);
    rc |= sqlite3_bind_int64(insert, 2, row->kind);
    rc |= sqlite3_bind_blob64(insert, 3, row->body, row->body_bytes, SQLITE_STATIC);
    rc |= sqlite3_bind_int64(insert, 4, (sqlite3_int64)row->place.segment);
    rc |= sqlite3_bind_int64(insert, 5, (sqlite3_int64)row->place.offset);
    rc |= sqlite3_bind_int64(insert, 6, row->place.length);
    rc |= sqlite3_bind_int64(insert, 7, row->place.crc);
    rc |= sqlite3_bind_int64(insert, 8, row_crc(row));
    if (rc != SQLITE_OK) return trib_fail(err, TRIB_NOMEM, "no memory to write a row of the journal");
    return trib_sql_run(insert, err);
}

enum trib_status rows_between(const struct trib_store *store, uint64_t from, uint64_t until,
                              sqlite3_stmt **out, struct trib_error *err) {
    char sql[240];
    (void)sqlite3_snprintf(
        sizeof sql, sql,
        "SELECT %s FROM journal WHERE position > %lld AND position <= %lld ORDER BY position", row_columns,
        (long long)from, (long long)(until < INT64_MAX ? until : INT64_MAX));
    return trib_sql_prepare(store->db, sql, out, err);
}

static uint32_t checkpoint_crc(const struct checkpoint *row) {
    uint8_t fixed[28];
    trib_put_u64(fixed, row->position);
    trib_put_u64(fixed + 8, row->file);
    trib_put_u64(fixed + 16, row->bytes);
    trib_put_u32(fixed + 24, row->crc);
    return crc32c(0, fixed, sizeof fixed);
}

enum trib_status checkpoint_row_read(struct trib_store *store, uint64_t position, struct checkpoint *out,
                                     struct trib_error *err) {
    sqlite3_stmt *stmt = NULL;
    enum trib_status status =
        trib_sql_prepare(store->db,
                         "SELECT position, file, bytes, file_crc32c, row_crc32c FROM checkpoints "
                         "WHERE position <= ?1 ORDER BY position DESC LIMIT 1",
                         &stmt, err);
    if (status != TRIB_OK) return status;
    (void)sqlite3_bind_int64(stmt, 1, position < INT64_MAX ? (sqlite3_int64)position : INT64_MAX);
    *out = (struct checkpoint){.fd = -1};
    bool row = false;
    status = trib_sql_step(stmt, &row, err);
    if (row) {
        out->position = (uint64_t)sqlite3_column_int64(stmt, 0);
        out->file = (uint64_t)sqlite3_column_int64(stmt, 1);
        out->bytes = (uint64_t)sqlite3_column_int64(stmt, 2);
        out->crc = (uint32_t)sqlite3_column_int64(stmt, 3);
        if (checkpoint_crc(out) != (uint32_t)sqlite3_column_int64(stmt, 4)) {
            status = trib_fail(err, TRIB_CORRUPT,
                               "the row of the checkpoint at position %" PRIu64
                               " is damaged; restore the folder from a backup, or start with an empty one",
                               out->position);
        }
    }
    (void)sqlite3_finalize(stmt);
    return status;
}

enum trib_status checkpoint_row_write(sqlite3 *db, const struct checkpoint *row, struct trib_error *err) {
    sqlite3_stmt *stmt = NULL;
    enum trib_status status =
        trib_sql_prepare(db, "INSERT OR REPLACE INTO checkpoints VALUES(?1, ?2, ?3, ?4, ?5, ?6)", &stmt, err);
    if (status != TRIB_OK) return status;
    int rc = sqlite3_bind_int64(stmt, 1, (sqlite3_int64)row->position);
    rc |= sqlite3_bind_int64(stmt, 2, (sqlite3_int64)row->file);
    rc |= sqlite3_bind_int64(stmt, 3, (sqlite3_int64)row->bytes);
    rc |= sqlite3_bind_int64(stmt, 4, row->crc);
    rc |= sqlite3_bind_int64(stmt, 5, (sqlite3_int64)trib_clock_wall_ms());
    rc |= sqlite3_bind_int64(stmt, 6, checkpoint_crc(row));
    TRIB_ASSERT(rc == SQLITE_OK);
    status = trib_sql_run(stmt, err);
    (void)sqlite3_finalize(stmt);
    return status;
}
