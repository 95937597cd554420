/* Repair: what cannot be proved good is set aside, what can stays.
 *
 *     1 the newest checkpoint whose row and file match their checksums; else an older one; else the first
 * record 2 the records after it, up to the first that is missing or does not match 3 store.lost is made, if
 * records behind those were lost: trib_store_has_lost 4 rows of anything else go: deleted, or left behind in
 * a database that SQLite calls malformed while the sound rows go into a new one 5 files that no row names any
 * more are moved to DIR/damaged-<n>, with report.txt
 *
 * It can be cut off anywhere and run again. */
#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { FOLDERS_MAX = 1000, LINES_MAX = 2000, COPY_BYTES = 256 * 1024 };

struct repair {
    struct trib_store *store;
    struct trib_store_damage *out;
    struct trib_buf report;
    bool malformed;             /* the database cannot be trusted with a change */
    bool unreadable;            /* nor read */
    bool drop_history;          /* what is before the base is damaged too */
    uint64_t base;              /* the newest sound checkpoint; 0: none */
    uint64_t last_segment, end; /* of the last payload that stays */
};

/* Notes it for the report, and the first one for people; without the advice to those who do not repair. Where
 * it was SQLite that failed, who knows what the last row was. */
static void note(struct repair *r, const struct trib_error *why) {
    const char *advice = strstr(why->text, "; restore the folder");
    int length = advice != NULL ? (int)(advice - why->text) : (int)strlen(why->text);
    if (!r->out->found) (void)snprintf(r->out->what, sizeof r->out->what, "%.*s", length, why->text);
    r->out->found = true;
    int rc = r->store->db != NULL ? sqlite3_errcode(r->store->db) & 0xff : SQLITE_OK;
    if (rc == SQLITE_CORRUPT || rc == SQLITE_ERROR || rc == SQLITE_NOTADB) r->malformed = r->out->lost = true;
    trib_buf_printf(&r->report, "damaged: %.*s\n", length, why->text);
}

/* ---- looking ---- */

static enum trib_status skip_checkpoint(void *ctx, uint64_t position, const struct trib_feed *feed,
                                        struct trib_error *err) {
    (void)ctx;
    (void)position;
    (void)feed;
    (void)err;
    return TRIB_OK;
}

static enum trib_status keep_record(void *ctx, const struct trib_record *record, struct trib_error *err) {
    struct repair *r = ctx;
    (void)err;
    r->out->kept = record->position;
    return TRIB_OK;
}

static enum trib_status check_pages(struct repair *r, struct trib_error *err) {
    sqlite3_stmt *stmt = NULL;
    bool row = false;
    struct trib_error why;
    enum trib_status status = trib_sql_prepare(r->store->db, "PRAGMA integrity_check(1)", &stmt, &why);
    if (status == TRIB_OK) status = trib_sql_step(stmt, &row, &why);
    const char *answer = row ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
    if (status == TRIB_OK && (answer == NULL || strcmp(answer, "ok") != 0))
        status =
            trib_fail(&why, TRIB_CORRUPT, "%s: SQLite: %s", r->store->path, answer != NULL ? answer : "?");
    (void)sqlite3_finalize(stmt);
    if (status == TRIB_CORRUPT) {
        note(r, &why);
        r->malformed = r->out->lost = true;
        return TRIB_OK;
    }
    return status == TRIB_OK ? TRIB_OK : trib_fail(err, status, "%s", why.text);
}

/* Can the projection's tables still be written? */
static enum trib_status check_projection(struct repair *r, const struct trib_projection *projection,
                                         struct trib_error *err) {
    struct trib_error why;
    if (projection->open == NULL || r->malformed) return TRIB_OK;
    enum trib_status status = projection->open(projection->ctx, r->store->db, &why);
    if (projection->close != NULL) projection->close(projection->ctx);
    if (status == TRIB_CORRUPT) {
        note(r, &why);
        r->malformed = r->out->lost = true;
        return TRIB_OK;
    }
    return status == TRIB_OK ? TRIB_OK : trib_fail(err, status, "%s", why.text);
}

static enum trib_status find_base(struct repair *r, struct trib_error *err) {
    for (uint64_t at = UINT64_MAX;;) {
        struct checkpoint row = {.file = 0};
        struct trib_error why;
        enum trib_status status = checkpoint_row_read(r->store, at, &row, &why);
        if (status == TRIB_OK && row.file == 0) return TRIB_OK;
        if (status == TRIB_OK)
            status = trib_store_replay(r->store, row.position, row.position, skip_checkpoint, keep_record, r,
                                       &why);
        if (status == TRIB_OK) {
            r->base = row.position;
            return TRIB_OK;
        }
        if (status != TRIB_CORRUPT) return trib_fail(err, status, "%s", why.text);
        note(r, &why);
        if (row.position == 0) return TRIB_OK; /* SQLite could not read on */
        at = row.position - 1;
    }
}

/* True for what a checksum or a missing row says; else the disk, or a newer program, is what is wrong. */
static bool is_damage(enum trib_status status) {
    return status == TRIB_CORRUPT || status == TRIB_INVALID || status == TRIB_NOT_FOUND;
}

static enum trib_status find_end(struct repair *r, struct trib_error *err) {
    struct trib_error why;
    r->out->kept = r->base;
    enum trib_status status =
        trib_store_replay(r->store, r->base, UINT64_MAX, skip_checkpoint, keep_record, r, &why);
    if (is_damage(status)) {
        note(r, &why);
        r->out->lost = true;
        return TRIB_OK;
    }
    return status == TRIB_OK ? TRIB_OK : trib_fail(err, status, "%s", why.text);
}

static enum trib_status first_position(void *ctx, const struct trib_store_checkpoint *it,
                                       struct trib_error *err) {
    uint64_t *position = ctx;
    (void)err;
    if (it->position < *position) *position = it->position;
    return TRIB_OK;
}

/* What is kept from before the base is all sound, or goes; nothing is lost with it but the past. */
static enum trib_status check_history(struct repair *r, struct trib_error *err) {
    struct trib_error why;
    uint64_t from = UINT64_MAX, kept = r->out->kept;
    enum trib_status status = trib_store_checkpoints(r->store, first_position, &from, &why);
    if (from >= r->base) from = 0;
    if (status == TRIB_OK && r->base > 0)
        status = trib_store_replay(r->store, from, r->base, skip_checkpoint, keep_record, r, &why);
    r->out->kept = kept;
    if (status == TRIB_OK || status == TRIB_NOT_FOUND) return TRIB_OK;
    if (!is_damage(status)) return trib_fail(err, status, "%s", why.text);
    note(r, &why);
    r->drop_history = true;
    return TRIB_OK;
}

/* Where rows and files are sound: is more in segments than a crash leaves? */
static enum trib_status check_tail(struct repair *r, struct trib_error *err) {
    struct trib_error why;
    enum trib_status status = r->out->found ? TRIB_OK : store_settle(r->store, &why);
    if (status == TRIB_OK) return TRIB_OK;
    if (!is_damage(status)) return trib_fail(err, status, "%s", why.text);
    note(r, &why);
    r->out->lost = true;
    return TRIB_OK;
}

static enum trib_status look(struct repair *r, const struct trib_store_options *options,
                             struct trib_error *err) {
    struct trib_error why;
    enum trib_status status = store_lock_and_open(r->store, options->vfs, &why);
    if (status == TRIB_CORRUPT) {
        note(r, &why);
        r->malformed = r->unreadable = r->out->lost = true;
        return TRIB_OK;
    }
    if (status != TRIB_OK) return trib_fail(err, status, "%s", why.text);
    status = check_pages(r, err);
    if (status == TRIB_OK) status = check_projection(r, &options->projection, err);
    if (status == TRIB_OK) status = find_base(r, err);
    if (status == TRIB_OK) status = find_end(r, err);
    if (status == TRIB_OK) status = check_history(r, err);
    return status == TRIB_OK ? check_tail(r, err) : status;
}

/* ---- setting aside ---- */

static enum trib_status make_folder(struct repair *r, struct trib_error *err) {
    const struct trib_file_ops *files = r->store->files;
    if (strlen(r->store->folder) > 500)
        return trib_fail(err, TRIB_LIMIT, "the path %.100s... is too long", r->store->folder);
    for (int n = 1; n <= FOLDERS_MAX; n++) {
        (void)snprintf(r->out->folder, sizeof r->out->folder, "%.500s/damaged-%d", r->store->folder, n);
        if (files->mkdir(files->ctx, r->out->folder, 0750) == 0)
            return folder_sync(files, r->store->folder, err);
        if (errno != EEXIST) break;
    }
    return trib_fail_errno(err, "cannot make the folder %s", r->out->folder);
}

static enum trib_status write_file(const struct trib_store *store, const char *path, const void *data,
                                   size_t bytes, struct trib_error *err) {
    int fd;
    struct iovec part = {(void *)(uintptr_t)data, bytes};
    enum trib_status status = file_open(store->files, path, O_RDWR | O_CREAT | O_TRUNC, &fd, err);
    if (status == TRIB_OK && bytes > 0) status = file_write(store->files, fd, &part, 1, 0, path, err);
    if (status == TRIB_OK && store->files->sync(store->files->ctx, fd) != 0)
        status = trib_fail_errno(err, "cannot sync %s", path);
    file_close(store->files, &fd);
    return status;
}

static enum trib_status mark_lost(const struct repair *r, struct trib_error *err) {
    char path[PATH_BYTES];
    path_join(path, r->store->folder, LOST_MARK);
    enum trib_status status = write_file(r->store, path, r->out->what, strlen(r->out->what), err);
    return status == TRIB_OK ? folder_sync(r->store->files, r->store->folder, err) : status;
}

/* A file that is not there any more was moved before. */
static enum trib_status move(struct repair *r, const char *path, const char *name, struct trib_error *err) {
    const struct trib_file_ops *files = r->store->files;
    char to[PATH_BYTES];
    if (files->rename(files->ctx, path, path_join(to, r->out->folder, name)) == 0) {
        trib_buf_printf(&r->report, "here: %s\n", name);
        return TRIB_OK;
    }
    return errno == ENOENT ? TRIB_OK : trib_fail_errno(err, "cannot move %s to %s", path, r->out->folder);
}

static enum trib_status copy_bytes(const struct trib_file_ops *files, int from, int to, const char *path,
                                   struct trib_error *err) {
    uint8_t *buffer = trib_alloc(COPY_BYTES);
    enum trib_status status =
        buffer != NULL ? TRIB_OK : trib_fail(err, TRIB_NOMEM, "no memory to copy %s", path);
    size_t got = 1;
    for (uint64_t at = 0; got > 0 && status == TRIB_OK; at += got) {
        status = file_read(files, from, buffer, COPY_BYTES, at, &got, err);
        struct iovec part = {buffer, got};
        if (status == TRIB_OK && got > 0) status = file_write(files, to, &part, 1, at, path, err);
    }
    trib_free(buffer);
    return status;
}

/* Without a copy it goes on: the report says so, and what stays is no worse for it. */
static void copy(struct repair *r, const char *path, const char *name) {
    const struct trib_file_ops *files = r->store->files;
    char to[PATH_BYTES];
    int in = -1, out = -1;
    struct trib_error why;
    enum trib_status status = file_open(files, path, O_RDONLY, &in, &why);
    path_join(to, r->out->folder, name);
    if (status == TRIB_OK) status = file_open(files, to, O_RDWR | O_CREAT | O_TRUNC, &out, &why);
    if (status == TRIB_OK) status = copy_bytes(files, in, out, to, &why);
    file_close(files, &in);
    file_close(files, &out);
    if (status == TRIB_OK)
        trib_buf_printf(&r->report, "here: %s (a copy; its sound part is still in use)\n", name);
    else
        trib_buf_printf(&r->report, "not copied: %s\n", why.text);
}

static enum trib_status set_segment_aside(void *ctx, uint64_t number, const char *path,
                                          struct trib_error *err) {
    struct repair *r = ctx;
    const struct trib_file_ops *files = r->store->files;
    const char *name = strrchr(path, '/') + 1;
    if (number > r->last_segment) return move(r, path, name, err);
    uint64_t bytes = 0;
    int fd;
    if (number < r->last_segment) return TRIB_OK;
    enum trib_status status = file_open(files, path, O_RDWR, &fd, err);
    if (status == TRIB_OK) status = file_size(files, fd, path, &bytes, err);
    if (status == TRIB_OK && bytes > r->end) {
        copy(r, path, name);
        if (files->truncate(files->ctx, fd, (off_t)r->end) != 0 || files->sync(files->ctx, fd) != 0)
            status = trib_fail_errno(err, "cannot cut the damaged end of %s", path);
    }
    file_close(files, &fd);
    return status;
}

static enum trib_status set_checkpoint_aside(void *ctx, uint64_t number, const char *path,
                                             struct trib_error *err) {
    struct repair *r = ctx;
    bool stays = false;
    enum trib_status status = r->unreadable ? TRIB_OK : checkpoint_file_stays(r->store, number, &stays, err);
    return status != TRIB_OK || stays ? status : move(r, path, strrchr(path, '/') + 1, err);
}

/* ---- rows ---- */

/* What is known of the records that go: a line each. */
static void list_lost(struct repair *r) {
    sqlite3_stmt *stmt = NULL;
    bool more = true;
    int lines = 0;
    if (r->unreadable ||
        trib_sql_prepare(r->store->db,
                         "SELECT position, kind, length(body), segment, offset, length FROM journal "
                         "WHERE position > ?1 ORDER BY position",
                         &stmt, NULL) != TRIB_OK)
        return;
    (void)sqlite3_bind_int64(stmt, 1, (sqlite3_int64)r->out->kept);
    while (lines++ < LINES_MAX && trib_sql_step(stmt, &more, NULL) == TRIB_OK && more)
        trib_buf_printf(
            &r->report, "lost: position %lld, %s, %d bytes, payload %lld.seg at %lld, %lld bytes\n",
            (long long)sqlite3_column_int64(stmt, 0), trib_record_name((uint8_t)sqlite3_column_int(stmt, 1)),
            sqlite3_column_int(stmt, 2), (long long)sqlite3_column_int64(stmt, 3),
            (long long)sqlite3_column_int64(stmt, 4), (long long)sqlite3_column_int64(stmt, 5));
    (void)sqlite3_finalize(stmt);
}

static enum trib_status delete_rows(struct repair *r, struct trib_error *err) {
    char sql[300];
    sqlite3 *db = r->store->db;
    uint64_t before = r->drop_history ? r->base : 0;
    (void)snprintf(sql, sizeof sql,
                   "BEGIN IMMEDIATE; DELETE FROM journal WHERE position > %" PRIu64 " OR position <= %" PRIu64
                   "; DELETE FROM checkpoints WHERE position > %" PRIu64 " OR position < %" PRIu64 "; COMMIT",
                   r->out->kept, before, r->base, before);
    enum trib_status status = trib_sql_exec(db, sql, err);
    if (status != TRIB_OK && !sqlite3_get_autocommit(db))
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

static enum trib_status find_last_segment(struct repair *r, struct trib_error *err) {
    struct row row;
    enum trib_status status = last_place(r->store, r->out->kept, &row, err);
    if (status != TRIB_OK) return status;
    r->last_segment = row.place.segment;
    r->end = row.place.offset + FRAME_HEADER_BYTES + row.place.length;
    return TRIB_OK;
}

static enum trib_status copy_rows(struct repair *r, sqlite3 *fresh, struct trib_error *err) {
    struct checkpoint base;
    sqlite3_stmt *in = NULL, *out = NULL;
    struct row row = {.position = r->base};
    bool more = true;
    enum trib_status status = TRIB_OK;
    if (r->out->kept == 0) return TRIB_OK;
    if (r->base > 0) status = checkpoint_row_read(r->store, r->base, &base, err);
    if (r->base > 0 && status == TRIB_OK) status = checkpoint_row_write(fresh, &base, err);
    if (status == TRIB_OK && r->out->kept == r->base) return TRIB_OK;
    if (status == TRIB_OK) status = rows_between(r->store, r->base, r->out->kept, &in, err);
    if (status == TRIB_OK)
        status =
            trib_sql_prepare(fresh, "INSERT INTO journal VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)", &out, err);
    while (status == TRIB_OK && more && row.position < r->out->kept) { /* what is behind may be unreadable */
        status = trib_sql_step(in, &more, err);
        if (status == TRIB_OK && more) status = row_read(in, &row, err);
        if (status == TRIB_OK && more) status = row_write(out, &row, err);
    }
    (void)sqlite3_finalize(in);
    (void)sqlite3_finalize(out);
    return status;
}

/* The sound rows into a new database; then the old one is moved away, and the new one gets its name. A crash
 * in between leaves none with the name: store_lock_and_open goes on from there. */
static enum trib_status rebuild(struct repair *r, const char *vfs, struct trib_error *err) {
    struct trib_store *store = r->store;
    const struct trib_file_ops *files = store->files;
    char fresh_path[PATH_BYTES + 8], log[PATH_BYTES + 8];
    sqlite3 *fresh = NULL;
    (void)snprintf(fresh_path, sizeof fresh_path, "%s" FRESH_SUFFIX, store->path);
    (void)snprintf(log, sizeof log, "%s-wal", store->path);
    (void)files->unlink(files->ctx, fresh_path);
    int rc = sqlite3_open_v2(fresh_path, &fresh, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs);
    enum trib_status status = rc == SQLITE_OK ? TRIB_OK : trib_sql_fail(err, fresh, rc, fresh_path);
    if (status == TRIB_OK) status = trib_sql_exec(fresh, "PRAGMA synchronous=FULL", err);
    if (status == TRIB_OK)
        status = trib_sql_migrate(fresh, "journal", journal_steps, journal_step_count, err);
    if (status == TRIB_OK) status = trib_sql_exec(fresh, "BEGIN", err);
    if (status == TRIB_OK) status = copy_rows(r, fresh, err);
    if (status == TRIB_OK) status = trib_sql_exec(fresh, "COMMIT", err);
    (void)sqlite3_close(fresh);
    (void)sqlite3_close(store->db);
    store->db = NULL;
    if (status == TRIB_OK) status = folder_sync(files, store->folder, err);
    if (status == TRIB_OK) status = move(r, store->path, strrchr(store->path, '/') + 1, err);
    if (status == TRIB_OK) status = move(r, log, strrchr(log, '/') + 1, err);
    if (status == TRIB_OK) status = finish_rebuild(store, err);
    r->unreadable = false;
    if (status != TRIB_OK) return status;
    rc = sqlite3_open_v2(store->path, &store->db, SQLITE_OPEN_READWRITE, vfs);
    return rc == SQLITE_OK ? TRIB_OK : trib_sql_fail(err, store->db, rc, store->path);
}

/* ---- all of it ---- */

static enum trib_status write_report(struct repair *r, struct trib_error *err) {
    struct trib_buf text;
    char path[PATH_BYTES];
    trib_buf_init(&text, 0);
    trib_buf_printf(&text, "Damage was found in the store %s, at %" PRIu64 " ms since 1970.\n",
                    r->store->path, trib_clock_wall_ms());
    trib_buf_printf(&text,
                    r->out->kept > 0 ? "kept: everything up to position %" PRIu64 "%s\n"
                                     : "kept: nothing (position %" PRIu64 ")%s\n",
                    r->out->kept, r->base > 0 ? ", from a sound checkpoint on" : "");
    trib_buf_printf(&text, r->out->lost ? "lost: what came after it; the node takes a new incarnation\n"
                                        : "lost: nothing\n");
    if (r->malformed)
        trib_buf_printf(&text,
                        "The history for people was in the old database, which is here; it begins anew.\n");
    trib_buf_append(&text, r->report.data, r->report.size);
    enum trib_status status =
        text.failed || r->report.failed
            ? trib_fail(err, TRIB_NOMEM, "no memory for the report of the damage")
            : write_file(r->store, path_join(path, r->out->folder, "report.txt"), text.data, text.size, err);
    trib_buf_release(&text);
    return status == TRIB_OK ? folder_sync(r->store->files, r->out->folder, err) : status;
}

static enum trib_status set_aside(struct repair *r, const char *vfs, struct trib_error *err) {
    struct trib_store *store = r->store;
    enum trib_status status = make_folder(r, err);
    if (status == TRIB_OK && r->out->lost) status = mark_lost(r, err);
    list_lost(r);
    if (status == TRIB_OK && !r->malformed && (status = delete_rows(r, err)) == TRIB_CORRUPT) {
        r->malformed = r->out->lost = true;
        status = mark_lost(r, err);
    }
    if (status == TRIB_OK && r->malformed) status = rebuild(r, vfs, err);
    if (status == TRIB_OK) status = find_last_segment(r, err);
    if (status == TRIB_OK)
        status = folder_numbers(store->files, store->checkpoints, ".ckp", set_checkpoint_aside, r, err);
    if (status == TRIB_OK)
        status = folder_numbers(store->files, store->segments.folder, ".seg", set_segment_aside, r, err);
    return status == TRIB_OK ? write_report(r, err) : status;
}

enum trib_status trib_store_repair(const struct trib_store_options *options, bool begin_anew,
                                   struct trib_store_damage *out, struct trib_error *err) {
    struct repair r = {.out = out};
    *out = (struct trib_store_damage){.found = false};
    trib_buf_init(&r.report, 0);
    enum trib_status status = store_new(options, &r.store, err);
    if (status == TRIB_OK) status = look(&r, options, err);
    if (status == TRIB_OK && out->found && out->kept == 0 && !begin_anew) {
        status =
            trib_fail(err, TRIB_CORRUPT,
                      "nothing in %s can be proved good (%.200s); restore the folder from a backup, or set "
                      "store.on_damage=begin: then all of it is moved to %s/damaged-N, and a new run begins",
                      r.store->folder, out->what, r.store->folder);
    } else if (status == TRIB_OK && out->found) {
        status = set_aside(&r, options->vfs, err);
    }
    trib_buf_release(&r.report);
    trib_store_close(&r.store);
    return status;
}
