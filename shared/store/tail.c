/* Opening: rows are checked, and what a crash left without rows is cut away.
 *
 * A crash leaves at most one group of payloads without its rows. Two synced groups without rows mean that
 * rows were lost afterwards (a damaged database or write-ahead log), and that is refused, not cut. */
#include "shared/base/bytes.h"
#include "shared/store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

struct settle {
    struct trib_store *store;
    uint64_t last_segment, end, position; /* of the last payload that has a row */
    bool dropped;                         /* segments were deleted */
    bool tail;                            /* a frame without row was seen, of this group: */
    uint64_t group;
};

static void note_place(struct settle *settle, const struct row *row) {
    if (row->place.segment == 0) return;
    settle->last_segment = row->place.segment;
    settle->end = row->place.offset + FRAME_HEADER_BYTES + row->place.length;
    settle->position = row->position;
}

enum trib_status last_place(const struct trib_store *store, uint64_t position, struct row *out,
                            struct trib_error *err) {
    char sql[200];
    (void)sqlite3_snprintf(
        sizeof sql, sql,
        "SELECT %s FROM journal WHERE position <= %lld AND segment > 0 ORDER BY position DESC LIMIT 1",
        row_columns, (long long)position);
    sqlite3_stmt *stmt = NULL;
    bool found = false;
    *out = (struct row){0};
    enum trib_status status = trib_sql_prepare(store->db, sql, &stmt, err);
    if (status == TRIB_OK) status = trib_sql_step(stmt, &found, err);
    if (found) status = row_read(stmt, out, err);
    out->body = NULL; /* the statement's */
    (void)sqlite3_finalize(stmt);
    return status;
}

/* Every row after the checkpoint in order: CRCs, no holes. */
static enum trib_status check_rows(struct settle *settle, struct trib_error *err) {
    struct trib_store *store = settle->store;
    sqlite3_stmt *stmt = NULL;
    bool more = true;
    store->position = store->checkpoint_position;
    enum trib_status status = rows_between(store, store->position, UINT64_MAX, &stmt, err);
    while (status == TRIB_OK && (status = trib_sql_step(stmt, &more, err)) == TRIB_OK && more) {
        struct row row;
        status = row_read(stmt, &row, err);
        if (status != TRIB_OK) break;
        if (row.position != store->position + 1) {
            status = trib_fail(err, TRIB_CORRUPT,
                               "the journal has no row at position %" PRIu64
                               "; restore the folder from a backup, or start with an empty one",
                               store->position + 1);
        }
        store->position = row.position;
        note_place(settle, &row);
    }
    (void)sqlite3_finalize(stmt);
    return status;
}

static enum trib_status check_tail(struct settle *settle, int fd, uint64_t offset, struct trib_error *err) {
    uint64_t group;
    while (segment_frame(&settle->store->segments, fd, offset, &group, &offset)) {
        /* What a checkpoint contains has no rows any more. */
        if ((group & UNSYNCED_GROUP) != 0 || group <= settle->store->position) continue;
        if (settle->tail && group != settle->group) {
            return trib_fail(err, TRIB_CORRUPT,
                             "the database ends at position %" PRIu64
                             " but segments have payloads of the groups at %" PRIu64 " and %" PRIu64
                             ": rows were lost; restore the folder from a backup, or start with an empty one",
                             settle->store->position, settle->group, group);
        }
        settle->tail = true;
        settle->group = group;
    }
    return TRIB_OK;
}

/* Else its payloads are of the past: damage there does not keep a node from going on. */
static bool needs_last(const struct settle *settle) {
    return settle->position > settle->store->checkpoint_position;
}

/* Else it would be appended to, and what it has would be judged by rules that are not its own. */
static enum trib_status check_format(const struct segments *segments, int fd, const char *path,
                                     struct trib_error *err) {
    uint8_t magic[8] = {0}, ours[8];
    size_t got = 0;
    trib_put_u64(ours, SEGMENT_MAGIC);
    enum trib_status status = file_read(segments->files, fd, magic, sizeof magic, 0, &got, err);
    if (status != TRIB_OK || memcmp(magic, ours, 7) != 0 || magic[7] <= ours[7]) return status;
    return trib_fail(err, TRIB_NEWER, "%s: written by a newer version of this program; use that one", path);
}

static enum trib_status check_segment(void *ctx, uint64_t number, const char *path, struct trib_error *err) {
    struct settle *settle = ctx;
    struct segments *segments = &settle->store->segments;
    segments->number = number;
    if (number < settle->last_segment) return TRIB_OK;
    int fd;
    enum trib_status status = file_open(segments->files, path, O_RDONLY, &fd, err);
    if (status != TRIB_OK) return status;
    uint64_t from = number == settle->last_segment ? settle->end : SEGMENT_HEADER_BYTES, bytes = 0;
    status = check_format(segments, fd, path, err);
    if (status == TRIB_OK) status = file_size(segments->files, fd, path, &bytes, err);
    if (status == TRIB_OK && number == settle->last_segment && bytes < settle->end && needs_last(settle)) {
        status = trib_fail(err, TRIB_CORRUPT,
                           "%s ends at byte %" PRIu64 ", the payload of position %" PRIu64 " at %" PRIu64
                           "; restore the folder from a backup, or start with an empty one",
                           path, bytes, settle->position, settle->end);
    }
    if (status == TRIB_OK) status = check_tail(settle, fd, from, err);
    file_close(segments->files, &fd);
    return status;
}

/* The last segment with rows is appended to from where they end. */
static enum trib_status reopen_last(struct settle *settle, struct trib_error *err) {
    struct segments *segments = &settle->store->segments;
    if (settle->last_segment == 0) return TRIB_OK;
    char path[PATH_BYTES];
    numbered_path(path, segments->folder, settle->last_segment, ".seg");
    enum trib_status status = file_open(segments->files, path, O_RDWR, &segments->fd, err);
    segments->number = settle->last_segment;
    if (status == TRIB_NOT_FOUND) {
        if (!needs_last(settle)) return TRIB_OK;
        return trib_fail(err, TRIB_CORRUPT, "%s is gone, position %" PRIu64 " has its payload there", path,
                         settle->position);
    }
    uint64_t bytes = 0;
    if (status == TRIB_OK) status = file_size(segments->files, segments->fd, path, &bytes, err);
    if (status == TRIB_OK && bytes < settle->end) { /* the next one is begun instead */
        file_close(segments->files, &segments->fd);
        return TRIB_OK;
    }
    if (status == TRIB_OK && bytes > settle->end &&
        segments->files->truncate(segments->files->ctx, segments->fd, (off_t)settle->end) != 0) {
        status = trib_fail_errno(err, "cannot cut the tail of %s", path);
    }
    segments->end = settle->end;
    segments->dirty = true;
    return status == TRIB_OK ? segment_sync(segments, err) : status;
}

/* Segments behind the last one with rows go before a new one may take their number. */
static enum trib_status drop_behind(void *ctx, uint64_t number, const char *path, struct trib_error *err) {
    struct settle *settle = ctx;
    const struct trib_file_ops *files = settle->store->files;
    if (number <= settle->last_segment) return TRIB_OK;
    settle->dropped = true;
    if (files->unlink(files->ctx, path) == 0) return TRIB_OK;
    return trib_fail_errno(err, "cannot delete %s", path);
}

/* One spare is kept from before. */
static enum trib_status adopt_spare(void *ctx, uint64_t number, const char *path, struct trib_error *err) {
    struct trib_store *store = ctx;
    (void)err;
    if (store->segments.spare == 0)
        store->segments.spare = number;
    else
        (void)store->files->unlink(store->files->ctx, path);
    return TRIB_OK;
}

/* Large payloads that never came to be segments. */
static enum trib_status drop_large(void *ctx, uint64_t number, const char *path, struct trib_error *err) {
    const struct trib_store *store = ctx;
    (void)number;
    (void)err;
    (void)store->files->unlink(store->files->ctx, path);
    return TRIB_OK;
}

enum trib_status store_settle(struct trib_store *store, struct trib_error *err) {
    struct settle settle = {.store = store};
    struct checkpoint in_force;
    enum trib_status status = checkpoint_row_read(store, UINT64_MAX, &in_force, err);
    if (status != TRIB_OK) return status;
    store->checkpoint_position = in_force.position;
    store->checkpoint_file = in_force.file;
    /* Rows kept from before the checkpoint are checked when they are read; here they say where segments end.
     */
    struct row last;
    status = last_place(store, store->checkpoint_position, &last, err);
    if (status == TRIB_OK) note_place(&settle, &last);
    if (status == TRIB_OK) status = check_rows(&settle, err);
    const char *folder = store->segments.folder;
    if (status == TRIB_OK) status = folder_numbers(store->files, folder, ".seg", check_segment, &settle, err);
    if (status == TRIB_OK) status = folder_numbers(store->files, folder, ".seg", drop_behind, &settle, err);
    if (status == TRIB_OK && settle.dropped && store->segments.synced)
        status = folder_sync(store->files, folder, err);
    if (status == TRIB_OK) status = reopen_last(&settle, err);
    if (status == TRIB_OK) status = folder_numbers(store->files, folder, ".spare", adopt_spare, store, err);
    if (status == TRIB_OK) status = folder_numbers(store->files, folder, ".large", drop_large, store, err);
    if (status == TRIB_OK) store_sweep(store);
    return status;
}

static enum trib_status sweep_segment(void *ctx, uint64_t number, const char *path, struct trib_error *err) {
    struct trib_store *store = ctx;
    (void)err;
    if (number < store->first_segment) segment_retire(&store->segments, number, path);
    return TRIB_OK;
}

enum trib_status checkpoint_file_stays(const struct trib_store *store, uint64_t file, bool *out,
                                       struct trib_error *err) {
    char sql[80];
    int64_t rows = 0;
    (void)sqlite3_snprintf(sizeof sql, sql, "SELECT count(*) FROM checkpoints WHERE file = %lld",
                           (long long)file);
    enum trib_status status = trib_sql_number(store->db, sql, 0, &rows, err);
    *out = rows > 0;
    return status;
}

static enum trib_status sweep_checkpoint(void *ctx, uint64_t number, const char *path,
                                         struct trib_error *err) {
    const struct trib_store *store = ctx;
    bool stays;
    enum trib_status status = checkpoint_file_stays(store, number, &stays, err);
    if (status == TRIB_OK && !stays) (void)store->files->unlink(store->files->ctx, path);
    return status;
}

static enum trib_status sweep_unfinished(void *ctx, uint64_t number, const char *path,
                                         struct trib_error *err) {
    const struct trib_store *store = ctx;
    (void)number;
    (void)err;
    (void)store->files->unlink(store->files->ctx, path);
    return TRIB_OK;
}

/* Segments are filled in the order of positions: what is before the oldest row's is needed no more. */
static enum trib_status find_first_segment(struct trib_store *store) {
    int64_t first = 0;
    enum trib_status status =
        trib_sql_number(store->db, "SELECT segment FROM journal WHERE segment > 0 ORDER BY position LIMIT 1",
                        (int64_t)store->segments.number, &first, NULL);
    store->first_segment = (uint64_t)first;
    return status;
}

void store_sweep(struct trib_store *store) {
    const struct trib_file_ops *files = store->files;
    enum trib_status status = find_first_segment(store);
    if (status == TRIB_OK)
        status = folder_numbers(files, store->segments.folder, ".seg", sweep_segment, store, NULL);
    if (status == TRIB_OK)
        status = folder_numbers(files, store->checkpoints, ".ckp", sweep_checkpoint, store, NULL);
    if (status == TRIB_OK && store->checkpoint.fd < 0)
        status = folder_numbers(files, store->checkpoints, ".tmp", sweep_unfinished, store, NULL);
    if (status != TRIB_OK) errno = 0; /* the next sweep comes to it */
}
