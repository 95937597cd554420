#include "shared/store/store.h"

#include "shared/base/alloc.h"
#include "shared/store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PLACES_A_CALL = 64, HARDEN_BYTES = 256 * 1024 /* of a file written at once */ };

static enum trib_status set_paths(struct trib_store *store, const char *path, struct trib_error *err) {
    const char *slash = strrchr(path, '/');
    size_t folder = slash != NULL ? (size_t)(slash - path) : 1;
    if (strlen(path) + 64 > PATH_BYTES)
        return trib_fail(err, TRIB_LIMIT, "the path %.100s... is too long", path);
    memcpy(store->path, path, strlen(path) + 1);
    if (slash == path) folder = 1;
    memcpy(store->folder, slash != NULL ? path : ".", folder);
    path_join(store->segments.folder, store->folder, "segments");
    path_join(store->checkpoints, store->folder, "checkpoints");
    return TRIB_OK;
}

static enum trib_status make_folders(struct trib_store *store, struct trib_error *err) {
    enum trib_status status = folder_make(store->files, store->segments.folder, err);
    if (status == TRIB_OK) status = folder_make(store->files, store->checkpoints, err);
    return status;
}

/* In WAL mode readers (`tributary history`, sqlite3) never stop the writer. A commit writes the pages that it
 * touches, most of them the last ones of some tree, so small pages are less for the flash to write: with
 * updates of 11 KB 1.4 bytes a byte received, where pages of 4 KiB made it 1.7. A file keeps the size that it
 * began with.
 */
static enum trib_status configure(struct trib_store *store, struct trib_error *err) {
    sqlite3_stmt *stmt = NULL;
    bool row = false;
    enum trib_status status = trib_sql_exec(store->db, "PRAGMA page_size=1024", err);
    if (status != TRIB_OK) return status;
    status = trib_sql_prepare(store->db, "PRAGMA journal_mode=WAL", &stmt, err);
    if (status != TRIB_OK) return status;
    status = trib_sql_step(stmt, &row, err);
    const char *mode = row ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
    if (status == TRIB_OK && (mode == NULL || strcmp(mode, "wal") != 0)) {
        status = trib_fail(err, TRIB_UNSUPPORTED,
                           "%s: no write-ahead log is possible on this file system (mode %s)", store->path,
                           mode != NULL ? mode : "?");
    }
    (void)sqlite3_finalize(stmt);
    if (status != TRIB_OK) return status;
    return trib_sql_exec(
        store->db,
        store->durability == TRIB_DURABLE_NONE
            ? "PRAGMA synchronous=OFF; PRAGMA secure_delete=OFF; PRAGMA wal_autocheckpoint=4000; "
              "PRAGMA journal_size_limit=67108864; PRAGMA temp_store=MEMORY"
            : "PRAGMA synchronous=FULL; PRAGMA secure_delete=OFF; PRAGMA wal_autocheckpoint=4000; "
              "PRAGMA journal_size_limit=67108864; PRAGMA temp_store=MEMORY",
        err);
}

/* After a sync that failed the system may go on showing what will never reach the disk, and SQLite takes it
 * for committed at the next opening. Written once more and synced, what is read from here on is durable.
 * There is a write-ahead log only if the store was not closed. */
static enum trib_status harden_log(const struct trib_store *store, struct trib_error *err) {
    const struct trib_file_ops *files = store->files;
    char path[PATH_BYTES + 4];
    int fd = -1;
    if (store->durability == TRIB_DURABLE_NONE) return TRIB_OK;
    (void)snprintf(path, sizeof path, "%s-wal", store->path);
    enum trib_status status = file_open(files, path, O_RDWR, &fd, err);
    if (status == TRIB_NOT_FOUND) return TRIB_OK;
    uint8_t *buffer = trib_alloc(HARDEN_BYTES);
    if (status == TRIB_OK && buffer == NULL)
        status = trib_fail(err, TRIB_NOMEM, "no memory to read %s", path);
    size_t got = 1;
    for (uint64_t at = 0; got > 0 && status == TRIB_OK; at += got) {
        status = file_read(files, fd, buffer, HARDEN_BYTES, at, &got, err);
        struct iovec part = {buffer, got};
        if (status == TRIB_OK && got > 0) status = file_write(files, fd, &part, 1, at, path, err);
    }
    if (status == TRIB_OK && files->sync(files->ctx, fd) != 0)
        status = trib_fail_errno(err, "cannot sync %s", path);
    file_close(files, &fd);
    trib_free(buffer);
    return status;
}

static enum trib_status open_database(struct trib_store *store, const char *vfs, struct trib_error *err) {
    int rc = sqlite3_open_v2(store->path, &store->db,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, vfs);
    if (rc != SQLITE_OK) {
        char doing[400];
        (void)snprintf(doing, sizeof doing, "cannot open the database %.300s", store->path);
        return trib_sql_fail(err, store->db, rc, doing);
    }
    (void)sqlite3_extended_result_codes(store->db, 1);
    (void)sqlite3_busy_timeout(store->db, 10000);
    enum trib_status status = trib_sql_check(store->db, store->path, err);
    if (status == TRIB_OK) status = make_folders(store, err);
    if (status == TRIB_OK) status = configure(store, err);
    if (status == TRIB_OK)
        status = trib_sql_migrate(store->db, "journal", journal_steps, journal_step_count, err);
    return status;
}

static enum trib_status prepare(struct trib_store *store, struct trib_error *err) {
    sqlite3 *db = store->db;
    enum trib_status status = trib_sql_prepare(
        db, "INSERT INTO journal VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)", &store->insert, err);
    if (status == TRIB_OK) status = trib_sql_prepare(db, "BEGIN IMMEDIATE", &store->begin, err);
    if (status == TRIB_OK) status = trib_sql_prepare(db, "COMMIT", &store->commit, err);
    if (status == TRIB_OK && store->projection.open != NULL) {
        status = store->projection.open(store->projection.ctx, db, err);
    } else {
        store->projection.close = status == TRIB_OK ? store->projection.close : NULL;
    }
    return status;
}

static bool is_there(const struct trib_store *store, const char *path) {
    int fd = store->files->open(store->files->ctx, path, O_RDONLY, 0);
    bool there = fd >= 0 || errno != ENOENT;
    file_close(store->files, &fd);
    return there;
}

enum trib_status finish_rebuild(const struct trib_store *store, struct trib_error *err) {
    const struct trib_file_ops *files = store->files;
    char fresh[PATH_BYTES + 8], log[PATH_BYTES + 8];
    (void)snprintf(fresh, sizeof fresh, "%s" FRESH_SUFFIX, store->path);
    (void)snprintf(log, sizeof log, "%s-wal", store->path);
    if (is_there(store, store->path) || !is_there(store, fresh)) return TRIB_OK;
    if (files->unlink(files->ctx, log) != 0 && errno != ENOENT) /* the old database's */
        return trib_fail_errno(err, "cannot delete %s", log);
    enum trib_status status = folder_sync(files, store->folder, err);
    if (status != TRIB_OK) return status;
    if (files->rename(files->ctx, fresh, store->path) != 0)
        return trib_fail_errno(err, "cannot rename %s", fresh);
    return folder_sync(files, store->folder, err);
}

enum trib_status store_lock_and_open(struct trib_store *store, const char *vfs, struct trib_error *err) {
    char mark[PATH_BYTES];
    enum trib_status status = folder_make(store->files, store->folder, err);
    if (status == TRIB_OK)
        status = folder_lock(store->files, store->folder, "store.lock", &store->lock_fd, err);
    if (status == TRIB_OK) status = finish_rebuild(store, err);
    if (status == TRIB_OK) status = harden_log(store, err);
    if (status == TRIB_OK) status = open_database(store, vfs, err);
    store->lost = status == TRIB_OK && is_there(store, path_join(mark, store->folder, LOST_MARK));
    return status;
}

static enum trib_status open_to_write(struct trib_store *store, const struct trib_store_options *options,
                                      struct trib_error *err) {
    enum trib_status status = store_lock_and_open(store, options->vfs, err);
    if (status == TRIB_OK) status = store_settle(store, err);
    if (status == TRIB_OK) {
        store->projection = options->projection;
        status = prepare(store, err);
    }
    if (status == TRIB_OK && store->segments.synced) status = folder_sync(store->files, store->folder, err);
    return status;
}

static enum trib_status open_to_read(struct trib_store *store, const char *vfs, struct trib_error *err) {
    int64_t position = 0;
    struct checkpoint in_force;
    enum trib_status status = trib_sql_open_readonly(store->path, vfs, &store->db, err);
    if (status == TRIB_OK)
        status = trib_sql_number(store->db, "SELECT max(position) FROM journal", 0, &position, err);
    if (status == TRIB_OK) status = checkpoint_row_read(store, UINT64_MAX, &in_force, err);
    if (status != TRIB_OK) return status;
    store->checkpoint_position = in_force.position;
    store->position = (uint64_t)position > in_force.position ? (uint64_t)position : in_force.position;
    return TRIB_OK;
}

enum trib_status store_new(const struct trib_store_options *options, struct trib_store **out,
                           struct trib_error *err) {
    struct trib_store *store = trib_alloc(sizeof *store);
    *out = store;
    if (store == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a store");
    store->files = options->files != NULL ? options->files : &trib_file_real;
    store->durability = options->durability;
    store->keep_checkpoints = options->keep_checkpoints != 0 ? options->keep_checkpoints : 1;
    store->read_only = options->read_only;
    store->lock_fd = store->checkpoint.fd = -1;
    store->segments = (struct segments){.files = store->files, .fd = -1};
    store->segments.synced = options->durability != TRIB_DURABLE_NONE;
    store->segments.limit_bytes = options->segment_bytes != 0 ? options->segment_bytes : (uint64_t)64 << 20;
    trib_buf_init(&store->body, 0);
    return set_paths(store, options->path, err);
}

enum trib_status trib_store_open(const struct trib_store_options *options, struct trib_store **out,
                                 struct trib_error *err) {
    enum trib_status status = store_new(options, out, err);
    if (status == TRIB_OK)
        status =
            options->read_only ? open_to_read(*out, options->vfs, err) : open_to_write(*out, options, err);
    if (status != TRIB_OK) trib_store_close(out);
    return status;
}

static enum trib_status write_probe(const struct trib_store *store, const char *path, uint8_t *piece,
                                    size_t bytes, struct trib_error *err) {
    const struct trib_file_ops *files = store->files;
    int fd;
    enum trib_status status = file_open(files, path, O_RDWR | O_CREAT | O_TRUNC, &fd, err);
    for (size_t at = 0; at < bytes && status == TRIB_OK; at += HARDEN_BYTES) {
        struct iovec part = {piece, bytes - at < HARDEN_BYTES ? bytes - at : HARDEN_BYTES};
        status = file_write(files, fd, &part, 1, at, path, err);
    }
    if (status == TRIB_OK && files->sync(files->ctx, fd) != 0)
        status = trib_fail_errno(err, "cannot sync %s", path);
    file_close(files, &fd);
    (void)files->unlink(files->ctx, path);
    return status;
}

enum trib_status trib_store_probe(const struct trib_store_options *options, size_t bytes,
                                  struct trib_error *err) {
    struct trib_store *store = NULL;
    char path[PATH_BYTES];
    uint8_t *piece = trib_alloc(HARDEN_BYTES);
    enum trib_status status = piece != NULL ? store_new(options, &store, err)
                                            : trib_fail(err, TRIB_NOMEM, "no memory to try the disk");
    if (status == TRIB_OK)
        status = write_probe(store, path_join(path, store->folder, "store.probe"), piece, bytes, err);
    trib_free(piece);
    trib_store_close(&store);
    return status;
}

void trib_store_close(struct trib_store **store) {
    struct trib_store *s = *store;
    *store = NULL;
    if (s == NULL) return;
    trib_store_checkpoint_abort(s);
    if (s->projection.close != NULL) s->projection.close(s->projection.ctx);
    (void)sqlite3_finalize(s->insert);
    (void)sqlite3_finalize(s->begin);
    (void)sqlite3_finalize(s->commit);
    (void)sqlite3_close(s->db);
    file_close(s->files, &s->segments.fd);
    file_close(s->files, &s->lock_fd);
    trib_buf_release(&s->body);
    trib_free(s);
}

uint64_t trib_store_position(const struct trib_store *store) {
    return store->position;
}

bool trib_store_has_lost(const struct trib_store *store) {
    return store->lost;
}

/* What is written now is a new life's. If the mark cannot be deleted, the node takes yet another incarnation
 * at the next start, which is safe. */
static void forget_lost(struct trib_store *store, const struct trib_record *records, size_t count) {
    char mark[PATH_BYTES];
    for (size_t i = 0; i < count && store->lost; i++) {
        if (records[i].kind != TRIB_REC_START && records[i].kind != TRIB_REC_INCARNATION) continue;
        store->lost = false;
        (void)store->files->unlink(store->files->ctx, path_join(mark, store->folder, LOST_MARK));
    }
}

static enum trib_status write_row(struct trib_store *store, const struct trib_record *record,
                                  const struct place *place, struct trib_error *err) {
    trib_buf_clear(&store->body);
    trib_record_encode(record, &store->body);
    if (store->body.failed) return trib_fail(err, TRIB_NOMEM, "no memory to encode a record");
    struct row row = {record->position, record->kind, store->body.data, store->body.size, *place};
    enum trib_status status = row_write(store->insert, &row, err);
    if (status != TRIB_OK || store->projection.write == NULL) return status;
    return store->projection.write(store->projection.ctx, record, err);
}

static enum trib_status write_group(struct trib_store *store, const struct trib_record *records, size_t count,
                                    struct place *places, struct trib_error *err) {
    enum trib_status status = segment_append(&store->segments, records, count, places, err);
    if (status == TRIB_OK) status = segment_sync(&store->segments, err);
    if (status == TRIB_OK) status = trib_sql_run(store->begin, err);
    for (size_t i = 0; i < count && status == TRIB_OK; i++)
        status = write_row(store, &records[i], &places[i], err);
    if (status == TRIB_OK) status = trib_sql_run(store->commit, err);
    return status;
}

enum trib_status trib_store_write(struct trib_store *store, const struct trib_record *records, size_t count,
                                  struct trib_error *err) {
    TRIB_ASSERT(!store->read_only);
    if (store->failed) return trib_fail(err, TRIB_IO, "the store failed before and must be opened again");
    if (count == 0) return TRIB_OK;
    for (size_t i = 0; i < count; i++) TRIB_ASSERT(records[i].position == store->position + 1 + i);
    struct place few[PLACES_A_CALL];
    struct place *places = count <= PLACES_A_CALL ? few : trib_alloc_array(count, sizeof *places);
    enum trib_status status = places != NULL ? write_group(store, records, count, places, err)
                                             : trib_fail(err, TRIB_NOMEM, "no memory to write a group");
    if (places != few) trib_free(places);
    if (status == TRIB_OK) {
        store->position += count;
        if (store->lost) forget_lost(store, records, count);
        return TRIB_OK;
    }
    store->failed = true;
    if (!sqlite3_get_autocommit(store->db)) (void)sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    return status;
}
