/* Checkpoints: written beside, synced, renamed, and only then named by a row. */
#include "shared/base/alloc.h"
#include "shared/kernels/kernels.h"
#include "shared/store/internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

enum { BUFFER_BYTES = 256 * 1024 };

static enum trib_status put(struct trib_store *store, const void *data, size_t bytes,
                            struct trib_error *err) {
    struct checkpoint *cp = &store->checkpoint;
    struct iovec part = {(void *)(uintptr_t)data, bytes};
    if (bytes == 0) return TRIB_OK;
    cp->crc = trib_kernels()->crc32c(cp->crc, data, bytes);
    enum trib_status status = file_write(store->files, cp->fd, &part, 1, cp->bytes, "the checkpoint", err);
    cp->bytes += bytes;
    return status;
}

static enum trib_status flush(struct trib_store *store, struct trib_error *err) {
    size_t used = store->checkpoint.used;
    store->checkpoint.used = 0;
    return put(store, store->checkpoint.buffer, used, err);
}

static enum trib_status sink_write(void *ctx, const void *data, size_t bytes, struct trib_error *err) {
    struct trib_store *store = ctx;
    struct checkpoint *cp = &store->checkpoint;
    TRIB_ASSERT(cp->fd >= 0);
    if (cp->used + bytes > BUFFER_BYTES) {
        enum trib_status status = flush(store, err);
        if (status != TRIB_OK) return status;
    }
    if (bytes >= BUFFER_BYTES) return put(store, data, bytes, err);
    if (bytes > 0) memcpy(cp->buffer + cp->used, data, bytes);
    cp->used += bytes;
    return TRIB_OK;
}

enum trib_status trib_store_checkpoint_begin(struct trib_store *store, uint64_t position,
                                             struct trib_sink *sink_out, struct trib_error *err) {
    struct checkpoint *cp = &store->checkpoint;
    /* The state may hold records of a group that was on its way when the store failed. */
    if (store->failed) return trib_fail(err, TRIB_IO, "the store failed before and must be opened again");
    TRIB_ASSERT(!store->read_only && cp->fd < 0 && position <= store->position &&
                position >= store->checkpoint_position);
    char path[PATH_BYTES];
    uint64_t file = store->checkpoint_file + 1;
    struct checkpoint begun = {
        .fd = -1, .position = position, .file = file, .buffer = trib_alloc(BUFFER_BYTES)};
    if (begun.buffer == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a checkpoint's buffer");
    enum trib_status status = file_open(store->files, numbered_path(path, store->checkpoints, file, ".tmp"),
                                        O_RDWR | O_CREAT | O_TRUNC, &begun.fd, err);
    if (status != TRIB_OK) {
        trib_free(begun.buffer);
        return status;
    }
    *cp = begun;
    *sink_out = (struct trib_sink){sink_write, store};
    return TRIB_OK;
}

static void finish(struct trib_store *store) {
    file_close(store->files, &store->checkpoint.fd);
    trib_free(store->checkpoint.buffer);
    store->checkpoint = (struct checkpoint){.fd = -1};
}

void trib_store_checkpoint_abort(struct trib_store *store) {
    if (store->checkpoint.fd < 0) return;
    char path[PATH_BYTES];
    numbered_path(path, store->checkpoints, store->checkpoint.file, ".tmp");
    finish(store);
    (void)store->files->unlink(store->files->ctx, path);
}

/* The file is whole, durable and has its name. */
static enum trib_status complete_file(struct trib_store *store, struct trib_error *err) {
    const struct trib_file_ops *files = store->files;
    const struct checkpoint *cp = &store->checkpoint;
    char from[PATH_BYTES], to[PATH_BYTES];
    numbered_path(from, store->checkpoints, cp->file, ".tmp");
    numbered_path(to, store->checkpoints, cp->file, ".ckp");
    bool sync = store->durability != TRIB_DURABLE_NONE;
    enum trib_status status = flush(store, err);
    if (status != TRIB_OK) return status;
    if (sync && files->sync(files->ctx, cp->fd) != 0) return trib_fail_errno(err, "cannot sync %s", from);
    if (files->rename(files->ctx, from, to) != 0) return trib_fail_errno(err, "cannot rename %s", from);
    return sync ? folder_sync(files, store->checkpoints, err) : TRIB_OK;
}

/* The oldest checkpoint that stays; none, and nothing is deleted, while there are fewer than asked for. */
#define OLDEST_KEPT "(SELECT position FROM checkpoints ORDER BY position DESC LIMIT 1 OFFSET ?1)"

static enum trib_status delete_old(struct trib_store *store, const char *sql, struct trib_error *err) {
    sqlite3_stmt *stmt = NULL;
    if (store->keep_checkpoints > INT64_MAX) return TRIB_OK;
    enum trib_status status = trib_sql_prepare(store->db, sql, &stmt, err);
    if (status != TRIB_OK) return status;
    (void)sqlite3_bind_int64(stmt, 1, (sqlite3_int64)store->keep_checkpoints - 1);
    status = trib_sql_run(stmt, err);
    (void)sqlite3_finalize(stmt);
    return status;
}

static enum trib_status put_in_force(struct trib_store *store, struct trib_error *err) {
    const struct checkpoint *cp = &store->checkpoint;
    enum trib_status status = trib_sql_run(store->begin, err);
    if (status == TRIB_OK) status = checkpoint_row_write(store->db, cp, err);
    if (status == TRIB_OK)
        status = delete_old(store, "DELETE FROM journal WHERE position <= " OLDEST_KEPT, err);
    if (status == TRIB_OK)
        status = delete_old(store, "DELETE FROM checkpoints WHERE position < " OLDEST_KEPT, err);
    if (status == TRIB_OK) status = trib_sql_run(store->commit, err);
    if (status == TRIB_OK) return TRIB_OK;
    store->failed = true;
    if (!sqlite3_get_autocommit(store->db)) (void)sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

enum trib_status trib_store_checkpoint_commit(struct trib_store *store, struct trib_error *err) {
    TRIB_ASSERT(store->checkpoint.fd >= 0);
    if (store->failed) {
        trib_store_checkpoint_abort(store);
        return trib_fail(err, TRIB_IO, "the store failed before and must be opened again");
    }
    enum trib_status status = complete_file(store, err);
    if (status != TRIB_OK) {
        trib_store_checkpoint_abort(store);
        return status;
    }
    status = put_in_force(store, err);
    if (status == TRIB_OK) {
        store->checkpoint_position = store->checkpoint.position;
        store->checkpoint_file = store->checkpoint.file;
    }
    finish(store);
    if (status == TRIB_OK) store_sweep(store);
    return status;
}
