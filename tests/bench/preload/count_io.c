/* Preloaded into a program (LD_PRELOAD), counts the syncs and the blocks that it writes at given offsets,
 * SQLite's too. (The kernel's own count, write_bytes of /proc/PID/io, is of whole folios where a file system
 * has large ones: 1.45 was seen for 64 MB written over an older file, of which the disk got 1.00.) */
#define _GNU_SOURCE
#include "count_io.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

enum { BLOCK_BYTES = 4096, DESCRIPTORS = 1024 };

static struct count_io *counts;
static atomic_uint_fast64_t last_block[DESCRIPTORS]; /* written since the last sync, plus 1; 0: none */

__attribute__((constructor)) static void find_counts(void) {
    const char *path = getenv("COUNT_IO");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *page = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED) counts = page;
    (void)close(fd);
}

/* ISO C has no cast from dlsym's pointer to a function's. */
union next {
    void *object;
    int (*sync)(int fd);
    ssize_t (*pwrite)(int fd, const void *data, size_t bytes, off_t offset);
    ssize_t (*pwritev)(int fd, const struct iovec *parts, int count, off_t offset);
};

static int sync_and_count(const char *name, int fd) {
    union next next = {.object = dlsym(RTLD_NEXT, name)};
    if (counts != NULL) atomic_fetch_add(&counts->syncs, 1);
    if (fd >= 0 && fd < DESCRIPTORS) atomic_store(&last_block[fd], 0);
    return next.sync(fd);
}

static ssize_t counted(int fd, ssize_t bytes, off_t offset) {
    if (counts == NULL || bytes <= 0 || fd >= DESCRIPTORS) return bytes;
    uint64_t first = (uint64_t)offset / BLOCK_BYTES, last = (uint64_t)(offset + bytes - 1) / BLOCK_BYTES;
    uint64_t before = atomic_exchange(&last_block[fd], last + 1);
    atomic_fetch_add(&counts->blocks, last - first + 1 - (before == first + 1));
    return bytes;
}

int fsync(int fd) {
    return sync_and_count("fsync", fd);
}

int fdatasync(int fd) {
    return sync_and_count("fdatasync", fd);
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset) {
    union next next = {.object = dlsym(RTLD_NEXT, "pwrite")};
    return counted(fd, next.pwrite(fd, data, bytes, offset), offset);
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off_t offset) {
    return pwrite(fd, data, bytes, offset);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    union next next = {.object = dlsym(RTLD_NEXT, "pwritev")};
    return counted(fd, next.pwritev(fd, parts, count, offset), offset);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset) {
    return pwritev(fd, parts, count, offset);
}
