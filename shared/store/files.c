/* File operations: the real ones, and what the store asks of any. */
#include "shared/base/alloc.h"
#include "shared/store/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int real_open(void *ctx, const char *path, int flags, mode_t mode) {
    (void)ctx;
    return open(path, flags | O_CLOEXEC, mode);
}

static int real_close(void *ctx, int fd) {
    (void)ctx;
    return close(fd);
}

static ssize_t real_write(void *ctx, int fd, const struct iovec *parts, int count, off_t offset) {
    (void)ctx;
    return pwritev(fd, parts, count, offset);
}

static ssize_t real_read(void *ctx, int fd, void *data, size_t bytes, off_t offset) {
    (void)ctx;
    return pread(fd, data, bytes, offset);
}

static int real_sync(void *ctx, int fd) {
    (void)ctx;
    return fdatasync(fd);
}

static int real_truncate(void *ctx, int fd, off_t bytes) {
    (void)ctx;
    return ftruncate(fd, bytes);
}

static int real_size(void *ctx, int fd, uint64_t *bytes) {
    (void)ctx;
    struct stat st;
    if (fstat(fd, &st) != 0) return -1;
    *bytes = (uint64_t)st.st_size;
    return 0;
}

static int real_lock(void *ctx, int fd) {
    (void)ctx;
    return flock(fd, LOCK_EX | LOCK_NB);
}

static int real_rename(void *ctx, const char *from, const char *to) {
    (void)ctx;
    return rename(from, to);
}

static int real_unlink(void *ctx, const char *path) {
    (void)ctx;
    return unlink(path);
}

static int real_mkdir(void *ctx, const char *path, mode_t mode) {
    (void)ctx;
    return mkdir(path, mode);
}

static int real_list(void *ctx, const char *path, void (*each)(void *arg, const char *name), void *arg) {
    (void)ctx;
    DIR *dir = opendir(path);
    if (dir == NULL) return -1;
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
        each(arg, entry->d_name);
    return closedir(dir);
}

static int real_sync_dir(void *ctx, const char *path) {
    (void)ctx;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -1;
    int rc = fsync(fd);
    int saved = errno;
    (void)close(fd);
    errno = saved;
    return rc;
}

const struct trib_file_ops trib_file_real = {
    .open = real_open,
    .close = real_close,
    .write = real_write,
    .read = real_read,
    .sync = real_sync,
    .truncate = real_truncate,
    .size = real_size,
    .lock = real_lock,
    .rename = real_rename,
    .unlink = real_unlink,
    .mkdir = real_mkdir,
    .list = real_list,
    .sync_dir = real_sync_dir,
};

const char *path_join(char out[PATH_BYTES], const char *folder, const char *name) {
    (void)snprintf(out, PATH_BYTES, "%s/%s", folder, name);
    return out;
}

const char *numbered_path(char out[PATH_BYTES], const char *folder, uint64_t number, const char *suffix) {
    (void)snprintf(out, PATH_BYTES, "%s/%016" PRIx64 "%s", folder, number, suffix);
    return out;
}

enum trib_status file_open(const struct trib_file_ops *files, const char *path, int flags, int *fd,
                           struct trib_error *err) {
    *fd = files->open(files->ctx, path, flags, 0640);
    return *fd >= 0 ? TRIB_OK : trib_fail_errno(err, "cannot open %s", path);
}

void file_close(const struct trib_file_ops *files, int *fd) {
    if (*fd >= 0) (void)files->close(files->ctx, *fd);
    *fd = -1;
}

/* Takes `done` bytes off the front; returns how many parts are used up. */
static int parts_advance(struct iovec *parts, int count, size_t done) {
    int i = 0;
    while (i < count && done >= parts[i].iov_len) done -= parts[i++].iov_len;
    if (i < count) {
        parts[i].iov_base = (uint8_t *)parts[i].iov_base + done;
        parts[i].iov_len -= done;
    }
    return i;
}

enum trib_status file_write(const struct trib_file_ops *files, int fd, struct iovec *parts, int count,
                            uint64_t offset, const char *path, struct trib_error *err) {
    while (count > 0) {
        ssize_t done = files->write(files->ctx, fd, parts, count, (off_t)offset);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return trib_fail_errno(err, "cannot write to %s", path);
        int used = parts_advance(parts, count, (size_t)done);
        if (done == 0 && used == 0) return trib_fail(err, TRIB_IO, "cannot write to %s: nothing taken", path);
        offset += (uint64_t)done;
        parts += used;
        count -= used;
    }
    return TRIB_OK;
}

enum trib_status file_read(const struct trib_file_ops *files, int fd, void *data, size_t bytes,
                           uint64_t offset, size_t *got, struct trib_error *err) {
    *got = 0;
    while (*got < bytes) {
        ssize_t done =
            files->read(files->ctx, fd, (uint8_t *)data + *got, bytes - *got, (off_t)(offset + *got));
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return trib_fail_errno(err, "cannot read the store");
        if (done == 0) break;
        *got += (size_t)done;
    }
    return TRIB_OK;
}

enum trib_status file_size(const struct trib_file_ops *files, int fd, const char *path, uint64_t *bytes,
                           struct trib_error *err) {
    if (files->size(files->ctx, fd, bytes) == 0) return TRIB_OK;
    return trib_fail_errno(err, "cannot read the size of %s", path);
}

/* True: it is there now. A folder that was made is durable with what is written into it. */
static bool make_one(const struct trib_file_ops *files, const char *path) {
    if (files->mkdir(files->ctx, path, 0750) != 0) return errno == EEXIST;
    char above[PATH_BYTES];
    (void)snprintf(above, sizeof above, "%s", path);
    char *slash = strrchr(above, '/');
    if (slash != NULL) slash[slash == above ? 1 : 0] = 0;
    return files->sync_dir(files->ctx, slash != NULL ? above : ".") == 0;
}

enum trib_status folder_make(const struct trib_file_ops *files, const char *path, struct trib_error *err) {
    char part[PATH_BYTES];
    (void)snprintf(part, sizeof part, "%s", path);
    if (make_one(files, path)) return TRIB_OK;
    if (errno != ENOENT) return trib_fail_errno(err, "cannot make the folder %s", path);
    for (char *slash = part;;) { /* one above it is missing */
        slash = slash[0] != 0 ? strchr(slash + 1, '/') : NULL;
        if (slash != NULL) *slash = 0;
        if (!make_one(files, part)) return trib_fail_errno(err, "cannot make the folder %s", path);
        if (slash == NULL) return TRIB_OK;
        *slash = '/';
    }
}

enum trib_status folder_sync(const struct trib_file_ops *files, const char *path, struct trib_error *err) {
    if (files->sync_dir(files->ctx, path) == 0) return TRIB_OK;
    return trib_fail_errno(err, "cannot sync the folder %s", path);
}

enum trib_status folder_lock(const struct trib_file_ops *files, const char *folder, const char *name, int *fd,
                             struct trib_error *err) {
    char path[PATH_BYTES], holder[32] = "";
    size_t got = 0;
    enum trib_status status = file_open(files, path_join(path, folder, name), O_RDWR | O_CREAT, fd, err);
    if (status != TRIB_OK) return status;
    if (files->lock(files->ctx, *fd) != 0) {
        if (errno != EWOULDBLOCK) return trib_fail_errno(err, "cannot lock %s", path);
        if (file_read(files, *fd, holder, sizeof holder - 1, 0, &got, NULL) != TRIB_OK) got = 0;
        holder[strspn(holder, "0123456789")] = 0;
        return trib_fail(err, TRIB_AGAIN,
                         "the folder %s is in use by process %s: stop that one first, or use another folder",
                         folder, got > 0 ? holder : "(unknown)");
    }
    char pid[32];
    int length = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    struct iovec part = {pid, (size_t)length};
    return file_write(files, *fd, &part, 1, 0, path, err);
}

/* %016x<suffix> and nothing else. */
static bool parse_number(const char *name, const char *suffix, uint64_t *number) {
    if (strlen(name) != 16 + strlen(suffix) || strcmp(name + 16, suffix) != 0) return false;
    *number = 0;
    for (int i = 0; i < 16; i++) {
        const char *digits = "0123456789abcdef";
        const char *at = strchr(digits, name[i]);
        if (at == NULL) return false;
        *number = *number << 4 | (uint64_t)(at - digits);
    }
    return true;
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

struct listing {
    const char *suffix;
    struct trib_buf numbers;
};

static void take_name(void *arg, const char *name) {
    struct listing *listing = arg;
    uint64_t number;
    if (parse_number(name, listing->suffix, &number))
        trib_buf_append(&listing->numbers, &number, sizeof number);
}

static enum trib_status list(const struct trib_file_ops *files, const char *folder, struct listing *listing,
                             struct trib_error *err) {
    if (files->list(files->ctx, folder, take_name, listing) != 0)
        return trib_fail_errno(err, "cannot list the folder %s", folder);
    return listing->numbers.failed ? trib_fail(err, TRIB_NOMEM, "no memory to list %s", folder) : TRIB_OK;
}

enum trib_status folder_numbers(const struct trib_file_ops *files, const char *folder, const char *suffix,
                                enum trib_status (*each)(void *ctx, uint64_t number, const char *path,
                                                         struct trib_error *err),
                                void *ctx, struct trib_error *err) {
    struct listing listing = {.suffix = suffix};
    struct trib_buf *numbers = &listing.numbers;
    trib_buf_init(numbers, 0);
    enum trib_status status = list(files, folder, &listing, err);
    size_t count = numbers->size / sizeof(uint64_t);
    if (count > 0) qsort(numbers->data, count, sizeof(uint64_t), compare);
    for (size_t i = 0; i < count && status == TRIB_OK; i++) {
        uint64_t number;
        char path[PATH_BYTES];
        memcpy(&number, numbers->data + i * sizeof number, sizeof number);
        status = each(ctx, number, numbered_path(path, folder, number, suffix), err);
    }
    trib_buf_release(numbers);
    return status;
}
