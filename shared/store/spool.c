#include "shared/store/spool.h"

#include "shared/base/alloc.h"
#include "shared/base/bytes.h"
#include "shared/kernels/kernels.h"
#include "shared/store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { SPOOL_FORMAT = 1, SPOOL_HEADER_BYTES = 24, SPOOL_CRC_FROM = 16 };
static const char MAGIC[8] = "TRIBSPL1";

struct trib_spool {
    const struct trib_file_ops *files;
    bool unsynced;
    int lock_fd;
    char folder[];
};

/* ---- files ---- */

static enum trib_status spool_path(char out[PATH_BYTES], const struct trib_spool *spool, const char *name,
                                   const char *suffix, struct trib_error *err) {
    int length = snprintf(out, PATH_BYTES, "%s/%s.spool%s", spool->folder, name, suffix);
    if (length < PATH_BYTES && name[0] != 0 && strchr(name, '/') == NULL) return TRIB_OK;
    return trib_fail(err, TRIB_INVALID, "found \"%.100s\", expected a name for a file in %.200s", name,
                     spool->folder);
}

enum trib_status trib_spool_open(const struct trib_spool_options *options, struct trib_spool **out,
                                 struct trib_error *err) {
    size_t length = strlen(options->folder);
    if (length + 128 > PATH_BYTES)
        return trib_fail(err, TRIB_LIMIT, "the path %.100s... is too long", options->folder);
    struct trib_spool *spool = trib_alloc(sizeof *spool + length + 1);
    if (spool == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for the spool");
    spool->files = options->files != NULL ? options->files : &trib_file_real;
    spool->unsynced = options->unsynced;
    spool->lock_fd = -1;
    memcpy(spool->folder, options->folder, length);
    enum trib_status status = folder_make(spool->files, spool->folder, err);
    if (status == TRIB_OK)
        status = folder_lock(spool->files, spool->folder, "spool.lock", &spool->lock_fd, err);
    if (status != TRIB_OK) {
        trib_spool_close(&spool);
        return status;
    }
    *out = spool;
    return TRIB_OK;
}

void trib_spool_close(struct trib_spool **out) {
    struct trib_spool *spool = *out;
    if (spool == NULL) return;
    file_close(spool->files, &spool->lock_fd);
    trib_free(spool);
    *out = NULL;
}

/* ---- saving ---- */

static enum trib_status count(void *ctx, const void *data, size_t bytes, struct trib_error *err) {
    (void)data, (void)err;
    *(size_t *)ctx += bytes;
    return TRIB_OK;
}

static enum trib_status append(void *ctx, const void *data, size_t bytes, struct trib_error *err) {
    struct trib_buf *buf = ctx;
    trib_buf_append(buf, data, bytes);
    return buf->failed ? trib_fail(err, TRIB_NOMEM, "no memory for the spool") : TRIB_OK;
}

static enum trib_status put_state(const struct trib_state *state, bool with_model, struct trib_sink sink,
                                  struct trib_error *err) {
    return with_model ? trib_state_save(state, &sink, err) : trib_state_save_own(state, &sink, err);
}

enum trib_status trib_spool_pack(const struct trib_state *state, bool with_model, struct trib_buf *out,
                                 struct trib_error *err) {
    size_t bytes = 0;
    enum trib_status status = put_state(state, with_model, (struct trib_sink){count, &bytes}, err);
    if (status != TRIB_OK) return status;
    trib_buf_clear(out);
    if (trib_buf_extend(out, bytes) == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for the spool");
    trib_buf_clear(out); /* the room stays: a buffer that grew piece by piece would be twice as large */
    return put_state(state, with_model, (struct trib_sink){append, out}, err);
}

static void fill_header(uint8_t header[SPOOL_HEADER_BYTES], const struct trib_buf *packed) {
    memcpy(header, MAGIC, sizeof MAGIC);
    trib_put_u32(header + 8, SPOOL_FORMAT);
    trib_put_u64(header + 16, packed->size);
    uint32_t crc = trib_kernels()->crc32c(0, header + 8, 4);
    crc = trib_kernels()->crc32c(crc, header + SPOOL_CRC_FROM, SPOOL_HEADER_BYTES - SPOOL_CRC_FROM);
    trib_put_u32(header + 12, trib_kernels()->crc32c(crc, packed->data, packed->size));
}

enum trib_status trib_spool_write(struct trib_spool *spool, const char *name, const struct trib_buf *packed,
                                  struct trib_error *err) {
    const struct trib_file_ops *files = spool->files;
    char fresh[PATH_BYTES], path[PATH_BYTES];
    uint8_t header[SPOOL_HEADER_BYTES];
    struct iovec parts[] = {{header, sizeof header}, {packed->data, packed->size}};
    int fd = -1;
    enum trib_status status = spool_path(path, spool, name, "", err);
    if (status == TRIB_OK) status = spool_path(fresh, spool, name, ".new", err);
    if (status == TRIB_OK) status = file_open(files, fresh, O_WRONLY | O_CREAT | O_TRUNC, &fd, err);
    if (status != TRIB_OK) return status;
    fill_header(header, packed);
    status = file_write(files, fd, parts, 2, 0, fresh, err);
    if (status == TRIB_OK && !spool->unsynced && files->sync(files->ctx, fd) != 0)
        status = trib_fail_errno(err, "cannot sync %s", fresh);
    file_close(files, &fd);
    if (status == TRIB_OK && files->rename(files->ctx, fresh, path) != 0)
        status = trib_fail_errno(err, "cannot rename %s", fresh);
    if (status != TRIB_OK) (void)files->unlink(files->ctx, fresh); /* room, where the disk is full */
    return status;
}

enum trib_status trib_spool_settle(struct trib_spool *spool, struct trib_error *err) {
    return spool->unsynced ? TRIB_OK : folder_sync(spool->files, spool->folder, err);
}

enum trib_status trib_spool_save(struct trib_spool *spool, const char *name, const struct trib_state *state,
                                 bool with_model, struct trib_error *err) {
    struct trib_buf packed;
    trib_buf_init(&packed, 0);
    enum trib_status status = trib_spool_pack(state, with_model, &packed, err);
    if (status == TRIB_OK) status = trib_spool_write(spool, name, &packed, err);
    if (status == TRIB_OK) status = trib_spool_settle(spool, err);
    trib_buf_release(&packed);
    return status;
}

/* ---- loading ---- */

static enum trib_status torn(struct trib_error *err, const char *path, const char *what) {
    return trib_fail(err, TRIB_CORRUPT, "the spool %s is damaged: %s", path, what);
}

/* All of the file, checked. */
static enum trib_status read_whole(const struct trib_file_ops *files, int fd, const char *path,
                                   struct trib_buf *out, struct trib_error *err) {
    uint64_t size;
    size_t got;
    enum trib_status status = file_size(files, fd, path, &size, err);
    if (status != TRIB_OK) return status;
    if (size < SPOOL_HEADER_BYTES) return torn(err, path, "it is shorter than its header");
    if (trib_buf_extend(out, (size_t)size) == NULL)
        return trib_fail(err, TRIB_NOMEM, "no memory to read the spool %s", path);
    status = file_read(files, fd, out->data, out->size, 0, &got, err);
    if (status != TRIB_OK) return status;
    const uint8_t *data = out->data;
    if (got != out->size) return torn(err, path, "it became shorter while it was read");
    if (memcmp(data, MAGIC, sizeof MAGIC) != 0) return torn(err, path, "it is no spool of this program");
    if (trib_get_u64(data + 16) != size - SPOOL_HEADER_BYTES) return torn(err, path, "its end is missing");
    uint32_t crc = trib_kernels()->crc32c(0, data + 8, 4);
    crc = trib_kernels()->crc32c(crc, data + SPOOL_CRC_FROM, out->size - SPOOL_CRC_FROM);
    if (crc != trib_get_u32(data + 12)) return torn(err, path, "its checksum does not match");
    uint32_t format = trib_get_u32(data + 8);
    if (format <= SPOOL_FORMAT) return TRIB_OK;
    return trib_fail(err, TRIB_NEWER,
                     "the spool %s has format %" PRIu32 ", this program knows up to %d: use a newer program, "
                     "or move the file away to begin anew",
                     path, format, SPOOL_FORMAT);
}

struct cursor {
    const uint8_t *at;
    size_t left;
};

static enum trib_status feed_read(void *ctx, void *data, size_t bytes, struct trib_error *err) {
    struct cursor *cursor = ctx;
    if (bytes > cursor->left) return trib_fail(err, TRIB_CORRUPT, "it ends before what is expected in it");
    memcpy(data, cursor->at, bytes);
    cursor->at += bytes;
    cursor->left -= bytes;
    return TRIB_OK;
}

static enum trib_status parse(const struct trib_buf *whole, const char *path, struct trib_state *state,
                              struct trib_error *err) {
    struct trib_error why = {0};
    struct cursor cursor = {whole->data + SPOOL_HEADER_BYTES, whole->size - SPOOL_HEADER_BYTES};
    struct trib_feed feed = {feed_read, &cursor};
    enum trib_status status = trib_state_load(state, &feed, &why);
    if (status == TRIB_OK && cursor.left > 0)
        status = trib_fail(&why, TRIB_CORRUPT, "there is more in it than expected");
    if (status == TRIB_OK || status == TRIB_NOMEM || status == TRIB_CORRUPT)
        return status == TRIB_OK ? TRIB_OK : trib_fail(err, status, "the spool %s: %s", path, why.text);
    return trib_fail(err, status, "the spool %s cannot be used here: %s; move it away to begin anew", path,
                     why.text);
}

/* Out of the way of the next save, for whoever wants to look at it. */
static enum trib_status set_aside(struct trib_spool *spool, const char *name, const char *path,
                                  struct trib_error *err) {
    char aside[PATH_BYTES];
    struct trib_error why;
    enum trib_status status = spool_path(aside, spool, name, ".damaged", &why);
    if (status == TRIB_OK && spool->files->rename(spool->files->ctx, path, aside) != 0)
        status = trib_fail_errno(&why, "cannot rename %s", path);
    if (status == TRIB_OK) status = trib_spool_settle(spool, &why);
    if (status == TRIB_OK) return TRIB_CORRUPT;
    return trib_fail(err, status, "%.200s", why.text);
}

enum trib_status trib_spool_load(struct trib_spool *spool, const char *name, struct trib_state *state,
                                 struct trib_error *err) {
    char path[PATH_BYTES];
    struct trib_buf whole;
    trib_buf_init(&whole, 0);
    int fd = -1;
    enum trib_status status = spool_path(path, spool, name, "", err);
    if (status == TRIB_OK) status = file_open(spool->files, path, O_RDONLY, &fd, err);
    if (status == TRIB_OK) {
        status = read_whole(spool->files, fd, path, &whole, err);
        file_close(spool->files, &fd);
    }
    if (status == TRIB_OK) status = parse(&whole, path, state, err);
    trib_buf_release(&whole);
    return status == TRIB_CORRUPT ? set_aside(spool, name, path, err) : status;
}
