/* Preloaded into a daemon (LD_PRELOAD), this makes memory and disk fail or slow down on a test's command.
 *
 * The test maps the file that TRIBUTARY_FAULTS names and writes the struct below into it
 * (tests/system/faults.py); what it writes is in force at once. Allocations fail only for callers in the
 * program itself, or in SQLite too: libzmq ends a process that runs out of memory, which is not what is asked
 * here. Everything is drawn from one seeded sequence. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct controls {
    atomic_uint_least64_t alloc_one_in;    /* one allocation of so many fails; 0: none */
    atomic_uint_least64_t alloc_min_bytes; /* smaller ones never fail */
    atomic_uint_least64_t alloc_sqlite;    /* 1: SQLite's too */
    atomic_uint_least64_t sync_delay_us;   /* an fdatasync takes up to twice as much longer */
    atomic_uint_least64_t sync_one_in;     /* one fdatasync or fsync of so many fails with EIO; 0: none */
    atomic_uint_least64_t write_one_in;    /* one pwrite or pwritev of so many fails; 0: none */
    atomic_uint_least64_t write_errno;     /* ... with this; 0: EIO */
    atomic_uint_least64_t draws;           /* the seed, and counts up */
    atomic_uint_least64_t failed_allocs, failed_syncs, failed_writes;
};

struct range {
    uintptr_t begin, end;
};

static struct controls none, *controls = &none;
static struct range program, sqlite;
static int (*real_fdatasync)(int);
static int (*real_fsync)(int);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_pwritev)(int, const struct iovec *, int, off_t);

/* glibc's own: dlsym allocates, so these cannot be looked up. */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

static int note_object(struct dl_phdr_info *info, size_t size, void *ctx) {
    bool *first = ctx;
    (void)size;
    struct range *range = *first ? &program : strstr(info->dlpi_name, "libsqlite3") != NULL ? &sqlite : NULL;
    *first = false;
    if (range == NULL) return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || (part->p_flags & PF_X) == 0) continue;
        range->begin = info->dlpi_addr + part->p_vaddr;
        range->end = range->begin + part->p_memsz;
    }
    return 0;
}

__attribute__((constructor)) static void start(void) {
    bool first = true;
    (void)dl_iterate_phdr(note_object, &first);
    real_fdatasync = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    real_fsync = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    real_pwrite = (ssize_t(*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite64");
    real_pwritev = (ssize_t(*)(int, const struct iovec *, int, off_t))dlsym(RTLD_NEXT, "pwritev64");
    const char *path = getenv("TRIBUTARY_FAULTS");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *mapped = mmap(NULL, sizeof *controls, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (mapped != MAP_FAILED) controls = mapped;
}

static uint64_t draw(void) {
    uint64_t x = atomic_fetch_add(&controls->draws, 1) * UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

static bool falls(const atomic_uint_least64_t *one_in, atomic_uint_least64_t *count) {
    uint64_t n = atomic_load_explicit(one_in, memory_order_relaxed);
    if (n == 0 || draw() % n != 0) return false;
    atomic_fetch_add(count, 1);
    return true;
}

/* ---- memory ---- */

static bool within(const struct range *range, const void *caller) {
    return (uintptr_t)caller >= range->begin && (uintptr_t)caller < range->end;
}

static bool refused(const void *caller, size_t bytes) {
    if (atomic_load_explicit(&controls->alloc_one_in, memory_order_relaxed) == 0) return false;
    if (bytes < controls->alloc_min_bytes) return false;
    if (!within(&program, caller) && !(controls->alloc_sqlite != 0 && within(&sqlite, caller))) return false;
    if (!falls(&controls->alloc_one_in, &controls->failed_allocs)) return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t bytes) {
    return refused(__builtin_return_address(0), bytes) ? NULL : __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes) {
    return refused(__builtin_return_address(0), count * bytes) ? NULL : __libc_calloc(count, bytes);
}

void *realloc(void *memory, size_t bytes) {
    return refused(__builtin_return_address(0), bytes) ? NULL : __libc_realloc(memory, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes) {
    return refused(__builtin_return_address(0), bytes) ? NULL : __libc_memalign(alignment, bytes);
}

/* ---- disk ---- */

static bool sync_fails(void) {
    uint64_t delay_us = controls->sync_delay_us;
    if (delay_us > 0) {
        delay_us = draw() % (2 * delay_us + 1);
        struct timespec pause = {(time_t)(delay_us / 1000000), (long)(delay_us % 1000000) * 1000};
        (void)nanosleep(&pause, NULL);
    }
    if (!falls(&controls->sync_one_in, &controls->failed_syncs)) return false;
    errno = EIO;
    return true;
}

int fdatasync(int fd) {
    return sync_fails() ? -1 : real_fdatasync(fd);
}

int fsync(int fd) {
    return sync_fails() ? -1 : real_fsync(fd);
}

static bool write_fails(void) {
    if (!falls(&controls->write_one_in, &controls->failed_writes)) return false;
    errno = controls->write_errno != 0 ? (int)controls->write_errno : EIO;
    return true;
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t at) {
    return write_fails() ? -1 : real_pwrite(fd, data, bytes, at);
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off_t at) {
    return write_fails() ? -1 : real_pwrite(fd, data, bytes, at);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    return write_fails() ? -1 : real_pwritev(fd, parts, count, at);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t at) {
    return write_fails() ? -1 : real_pwritev(fd, parts, count, at);
}
