#include "shared/model/outfile.h"

#include "shared/base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void release(struct trib_outfile *file) {
    trib_free(file->path);
    trib_free(file->part);
    *file = (struct trib_outfile){.fd = -1};
}

enum trib_status trib_outfile_open(struct trib_outfile *file, const char *path, struct trib_error *err) {
    size_t room = strlen(path) + sizeof ".tmp";
    *file = (struct trib_outfile){.path = trib_strdup(path), .part = trib_alloc(room), .fd = -1};
    if (file->path == NULL || file->part == NULL) {
        release(file);
        return trib_fail(err, TRIB_NOMEM, "no memory for a file name");
    }
    (void)snprintf(file->part, room, "%s.tmp", path);
    file->fd = open(file->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file->fd >= 0) return TRIB_OK;
    enum trib_status status = trib_fail_errno(err, "cannot create %s", file->part);
    release(file);
    return status;
}

enum trib_status trib_outfile_write(struct trib_outfile *file, const void *data, size_t bytes,
                                    struct trib_error *err) {
    const uint8_t *at = data;
    while (bytes > 0) {
        ssize_t wrote = write(file->fd, at, bytes);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return trib_fail_errno(err, "cannot write %s", file->part);
        at += wrote;
        bytes -= (size_t)wrote;
        file->bytes += (uint64_t)wrote;
    }
    return TRIB_OK;
}

/* The rename is durable once the folder is. */
static enum trib_status sync_folder(const char *path, struct trib_error *err) {
    const char *slash = strrchr(path, '/');
    char *folder = trib_strdup(slash == NULL ? "." : path);
    if (folder == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a file name");
    if (slash != NULL) folder[slash == path ? 1 : slash - path] = 0;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum trib_status status = TRIB_OK;
    if (fd < 0 || fsync(fd) != 0) status = trib_fail_errno(err, "cannot sync the folder %s", folder);
    if (fd >= 0) (void)close(fd);
    trib_free(folder);
    return status;
}

enum trib_status trib_outfile_close(struct trib_outfile *file, enum trib_status status,
                                    struct trib_error *err) {
    if (status == TRIB_OK && fsync(file->fd) != 0)
        status = trib_fail_errno(err, "cannot sync %s", file->part);
    if (close(file->fd) != 0 && status == TRIB_OK)
        status = trib_fail_errno(err, "cannot close %s", file->part);
    if (status == TRIB_OK && rename(file->part, file->path) != 0)
        status = trib_fail_errno(err, "cannot rename %s to %s", file->part, file->path);
    if (status == TRIB_OK)
        status = sync_folder(file->path, err);
    else
        (void)unlink(file->part);
    release(file);
    return status;
}
