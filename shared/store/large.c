#include "shared/store/large.h"

#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "shared/store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HEAD_BYTES = SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES };

struct large {
    int fd;       /* -1 once it is a segment: the mapping is enough, and there may be many */
    uint8_t *map; /* the whole file, headers and payload; read only */
    size_t bytes;
    atomic_bool adopted; /* it has become a segment, which is the store's to delete */
    char folder[PATH_BYTES], path[PATH_BYTES];
};

static void release(void *owner) {
    struct large *large = owner;
    if (large->map != NULL) (void)munmap(large->map, large->bytes);
    if (large->fd >= 0) {
        (void)close(large->fd);
        if (!atomic_load(&large->adopted)) (void)unlink(large->path);
    }
    trib_free(large);
}

static bool write_piece(void *owner, size_t at, const void *data, size_t bytes) {
    const struct large *large = owner;
    struct iovec part = {(void *)(uintptr_t)data, bytes};
    return file_write(&trib_file_real, large->fd, &part, 1, HEAD_BYTES + at, large->path, NULL) == TRIB_OK;
}

/* What was read of it stays in the kernel's cache as long as that has room. */
static void rest(void *owner) {
    const struct large *large = owner;
    (void)madvise(large->map, large->bytes, MADV_DONTNEED);
}

static const struct trib_blob_file in_store = {.write = write_piece, .rest = rest, .release = release};

/* With its blocks: a page of the mapping that the disk has no room for would be a signal, not an error. */
static bool make(struct large *large) {
    large->fd = open(large->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (large->fd < 0 || posix_fallocate(large->fd, 0, (off_t)large->bytes) != 0) return false;
    void *map = mmap(NULL, large->bytes, PROT_READ, MAP_SHARED, large->fd, 0);
    if (map == MAP_FAILED) return false;
    large->map = map;
    return true;
}

struct trib_blob *trib_large_new(const char *store_path, size_t bytes) {
    const char *slash = strrchr(store_path, '/');
    char above[PATH_BYTES] = ".";
    if (bytes > UINT32_MAX - HEAD_BYTES || strlen(store_path) + 64 > PATH_BYTES) return NULL;
    if (slash != NULL) (void)memcpy(above, store_path, (size_t)(slash - store_path) + 1);
    struct large *large = trib_alloc(sizeof *large);
    if (large == NULL) return NULL;
    large->bytes = HEAD_BYTES + bytes;
    large->fd = -1;
    (void)path_join(large->folder, above, "segments");
    (void)numbered_path(large->path, large->folder, trib_random_u64(), ".large");
    struct trib_blob *blob =
        make(large) ? trib_blob_wrap_file(large->map + HEAD_BYTES, bytes, &in_store, large) : NULL;
    if (blob == NULL) release(large);
    return blob;
}

bool large_is(const struct trib_blob *blob) {
    const struct large *large = trib_blob_owner(blob, release);
    return large != NULL && !atomic_load(&large->adopted);
}

enum trib_status large_adopt(const struct trib_blob *blob, struct iovec *headers, int count, const char *path,
                             struct trib_error *err) {
    struct large *large = trib_blob_owner(blob, release);
    enum trib_status status = file_write(&trib_file_real, large->fd, headers, count, 0, path, err);
    if (status != TRIB_OK) return status;
    if (rename(large->path, path) != 0) return trib_fail_errno(err, "cannot rename %s", large->path);
    atomic_store(&large->adopted, true);
    (void)close(large->fd);
    large->fd = -1;
    return TRIB_OK;
}
