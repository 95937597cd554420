/* Reading a store back. */
#include "shared/base/alloc.h"
#include "shared/kernels/kernels.h"
#include "shared/store/internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

enum { WINDOW_BYTES = 256 * 1024 };

/* A file read from front to back through a window. */
struct reader {
    const struct trib_file_ops *files;
    int fd;
    uint64_t offset, left; /* of what is not in the window yet */
    uint8_t *window;
    size_t at, filled;
};

static enum trib_status refill(struct reader *reader, struct trib_error *err) {
    size_t want = reader->left < WINDOW_BYTES ? (size_t)reader->left : WINDOW_BYTES;
    reader->at = 0;
    enum trib_status status =
        file_read(reader->files, reader->fd, reader->window, want, reader->offset, &reader->filled, err);
    reader->offset += reader->filled;
    reader->left -= reader->filled;
    if (status != TRIB_OK || reader->filled > 0) return status;
    return trib_fail(err, TRIB_CORRUPT, "the checkpoint ends before what is expected in it");
}

static enum trib_status feed_read(void *ctx, void *data, size_t bytes, struct trib_error *err) {
    struct reader *reader = ctx;
    uint8_t *out = data;
    while (bytes > 0) {
        if (reader->at == reader->filled) {
            enum trib_status status = refill(reader, err);
            if (status != TRIB_OK) return status;
        }
        size_t n = reader->filled - reader->at;
        if (n > bytes) n = bytes;
        memcpy(out, reader->window + reader->at, n);
        reader->at += n;
        out += n;
        bytes -= n;
    }
    return TRIB_OK;
}

/* The whole file against its row, before anyone relies on a byte of it. */
static enum trib_status verify(struct reader *reader, const struct checkpoint *row, const char *path,
                               struct trib_error *err) {
    uint64_t bytes = 0;
    uint32_t crc = 0;
    enum trib_status status = file_size(reader->files, reader->fd, path, &bytes, err);
    if (status != TRIB_OK) return status;
    if (bytes != row->bytes) {
        return trib_fail(err, TRIB_CORRUPT,
                         "the checkpoint of position %" PRIu64 ", %s, has %" PRIu64
                         " bytes, expected %" PRIu64
                         "; restore the folder from a backup, or start with an empty one",
                         row->position, path, bytes, row->bytes);
    }
    while (reader->left > 0) {
        status = refill(reader, err);
        if (status != TRIB_OK) return status;
        crc = trib_kernels()->crc32c(crc, reader->window, reader->filled);
    }
    if (crc == row->crc) return TRIB_OK;
    return trib_fail(err, TRIB_CORRUPT,
                     "the checkpoint of position %" PRIu64 ", %s, is damaged: CRC32C %08" PRIx32
                     ", expected %08" PRIx32 "; restore the folder from a backup, or start with an empty one",
                     row->position, path, crc, row->crc);
}

static enum trib_status open_checkpoint(struct trib_store *store, const struct checkpoint *row,
                                        const char *path, struct reader *reader, struct trib_error *err) {
    *reader = (struct reader){.files = store->files, .fd = -1, .left = row->bytes};
    reader->window = trib_alloc(WINDOW_BYTES);
    if (reader->window == NULL) return trib_fail(err, TRIB_NOMEM, "no memory to read a checkpoint");
    enum trib_status status = file_open(store->files, path, O_RDONLY, &reader->fd, err);
    if (status != TRIB_NOT_FOUND) return status;
    return trib_fail(err, TRIB_CORRUPT,
                     "the checkpoint of position %" PRIu64
                     " is gone: there is no %s; restore the folder from a "
                     "backup, or start with an empty one",
                     row->position, path);
}

typedef enum trib_status (*take_checkpoint)(void *ctx, uint64_t position, const struct trib_feed *feed,
                                            struct trib_error *err);
typedef enum trib_status (*take_record)(void *ctx, const struct trib_record *record, struct trib_error *err);

static enum trib_status read_checkpoint(struct trib_store *store, uint64_t position, take_checkpoint take,
                                        void *ctx, struct trib_error *err) {
    struct checkpoint row;
    char path[PATH_BYTES];
    enum trib_status status = checkpoint_row_read(store, position, &row, err);
    if (status != TRIB_OK) return status;
    if (row.file == 0 || row.position != position)
        return trib_fail(err, TRIB_NOT_FOUND, "no checkpoint of position %" PRIu64 " is kept in %s", position,
                         store->folder);
    struct reader reader;
    numbered_path(path, store->checkpoints, row.file, ".ckp");
    status = open_checkpoint(store, &row, path, &reader, err);
    if (status == TRIB_OK) status = verify(&reader, &row, path, err);
    if (status == TRIB_OK) {
        reader.offset = reader.at = reader.filled = 0;
        reader.left = row.bytes;
        struct trib_feed feed = {feed_read, &reader};
        status = take(ctx, row.position, &feed, err);
    }
    file_close(store->files, &reader.fd);
    trib_free(reader.window);
    return status;
}

struct replay {
    struct trib_store *store;
    take_record take;
    void *ctx;
    int fd;
    uint64_t fd_number;
    uint64_t from, until, position; /* of the last one taken */
};

static enum trib_status replay_row(struct replay *replay, const struct row *row, struct trib_error *err) {
    struct trib_record record;
    enum trib_status status = trib_record_decode(row->kind, row->body, row->body_bytes, &record, err);
    if (status != TRIB_OK) {
        char why[200] = "";
        if (err != NULL) (void)sqlite3_snprintf(sizeof why, why, "%s", err->text);
        return trib_fail(err, status, "the journal's record at position %" PRIu64 ": %s", row->position, why);
    }
    record.kind = row->kind;
    record.position = row->position;
    record.payload = NULL;
    if (row->place.segment != 0) {
        status = segment_read(&replay->store->segments, &row->place, row->position, &replay->fd,
                              &replay->fd_number, &record.payload, err);
    }
    if (status == TRIB_OK) status = replay->take(replay->ctx, &record, err);
    trib_blob_unref(&record.payload);
    return status;
}

/* What is not there: the first rows are not kept, the last ones are not written, the others are lost. */
static enum trib_status missing(const struct replay *replay, uint64_t found, struct trib_error *err) {
    uint64_t position = replay->position + 1;
    if (found == 0)
        return trib_fail(err, TRIB_NOT_FOUND, "the journal in %s ends at position %" PRIu64,
                         replay->store->folder, replay->position);
    if (replay->position == replay->from && replay->from == 0)
        return trib_fail(err, TRIB_NOT_FOUND,
                         "the journal in %s is kept from position %" PRIu64 " on; begin at a checkpoint",
                         replay->store->folder, found);
    return trib_fail(err, TRIB_CORRUPT,
                     "the journal has no row at position %" PRIu64
                     "; restore the folder from a backup, or start with an empty one",
                     position);
}

static enum trib_status read_rows(struct replay *replay, struct trib_error *err) {
    sqlite3_stmt *stmt = NULL;
    enum trib_status status = rows_between(replay->store, replay->from, replay->until, &stmt, err);
    bool more = true;
    while (status == TRIB_OK && (status = trib_sql_step(stmt, &more, err)) == TRIB_OK && more) {
        struct row row;
        status = row_read(stmt, &row, err);
        if (status == TRIB_OK && row.position != replay->position + 1)
            status = missing(replay, row.position, err);
        if (status == TRIB_OK) status = replay_row(replay, &row, err);
        if (status == TRIB_OK) replay->position = row.position;
    }
    (void)sqlite3_finalize(stmt);
    if (status == TRIB_OK && replay->until != UINT64_MAX && replay->position < replay->until)
        status = missing(replay, 0, err);
    return status;
}

/* A live node's checkpoint may have deleted what was being read: that is no damage. */
static enum trib_status explain(struct trib_store *store, const struct replay *replay,
                                enum trib_status status, struct trib_error *err) {
    char sql[200];
    int64_t there = 1;
    if (status != TRIB_CORRUPT) return status;
    (void)sqlite3_snprintf(sizeof sql, sql, "SELECT count(*) FROM %s WHERE position = %lld",
                           replay->from > 0 ? "checkpoints" : "journal",
                           (long long)(replay->from > 0 ? replay->from : 1));
    if (trib_sql_number(store->db, sql, 1, &there, NULL) != TRIB_OK || there != 0) return status;
    return trib_fail(
        err, TRIB_AGAIN,
        "the node that writes to %s deleted what was being read; try again from a newer checkpoint",
        store->folder);
}

enum trib_status trib_store_replay(struct trib_store *store, uint64_t from, uint64_t until,
                                   take_checkpoint checkpoint, take_record record, void *ctx,
                                   struct trib_error *err) {
    struct replay replay = {store, record, ctx, -1, 0, from, until, from};
    /* One view of the rows for all of it. */
    enum trib_status status = store->read_only ? trib_sql_exec(store->db, "BEGIN", err) : TRIB_OK;
    if (status != TRIB_OK) return status;
    if (from > 0) status = read_checkpoint(store, from, checkpoint, ctx, err);
    if (status == TRIB_OK && until > from) status = read_rows(&replay, err);
    file_close(store->files, &replay.fd);
    if (!store->read_only) return status;
    (void)sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    return explain(store, &replay, status, err);
}

enum trib_status trib_store_recover(struct trib_store *store, take_checkpoint checkpoint, take_record record,
                                    void *ctx, struct trib_error *err) {
    return trib_store_replay(store, store->checkpoint_position, UINT64_MAX, checkpoint, record, ctx, err);
}

enum trib_status trib_store_checkpoints(struct trib_store *store,
                                        enum trib_status (*each)(void *ctx,
                                                                 const struct trib_store_checkpoint *it,
                                                                 struct trib_error *err),
                                        void *ctx, struct trib_error *err) {
    sqlite3_stmt *stmt = NULL;
    bool more = true;
    enum trib_status status = trib_sql_prepare(
        store->db, "SELECT position, bytes, made_ms FROM checkpoints ORDER BY position", &stmt, err);
    while (status == TRIB_OK && (status = trib_sql_step(stmt, &more, err)) == TRIB_OK && more) {
        struct trib_store_checkpoint it = {.position = (uint64_t)sqlite3_column_int64(stmt, 0),
                                           .bytes = (uint64_t)sqlite3_column_int64(stmt, 1),
                                           .made_ms = (uint64_t)sqlite3_column_int64(stmt, 2)};
        status = each(ctx, &it, err);
    }
    (void)sqlite3_finalize(stmt);
    return status;
}

static enum trib_status note_bytes(void *ctx, const struct trib_store_checkpoint *it,
                                   struct trib_error *err) {
    (void)err;
    *(uint64_t *)ctx = it->bytes;
    return TRIB_OK;
}

enum trib_status trib_store_checkpoint_bytes(struct trib_store *store, uint64_t *out,
                                             struct trib_error *err) {
    *out = 0;
    return trib_store_checkpoints(store, note_bytes, out, err);
}
