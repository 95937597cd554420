/* Every file operation, every operation of SQLite on its files and every allocation is made to fail once,
 * while a store is opened, written to, checkpointed and read. After reopening on a sound disk, everything
 * that was reported written is there, whole, and nothing that was never handed over. */
#include "shared/base/alloc.h"
#include "shared/store/sql.h"
#include "tests/support/cmocka.h"
#include "tests/support/store_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* What fails: operation number `at`, counted over files and SQLite's files together. */
struct faults {
    long count, at; /* at < 0: nothing */
    bool lasting;   /* and everything after it, as a disk that is gone or full */
    bool halves;    /* a write that fails has written half of it */
    int error;
};

static struct faults faults = {.at = -1};

static bool fails(void) {
    long now = faults.count++;
    bool hit = faults.at >= 0 && (faults.lasting ? now >= faults.at : now == faults.at);
    if (hit) errno = faults.error;
    return hit;
}

/* ---- our files ---- */

static int f_open(void *ctx, const char *path, int flags, mode_t mode) {
    return fails() ? -1 : trib_file_real.open(ctx, path, flags, mode);
}
static ssize_t f_write(void *ctx, int fd, const struct iovec *parts, int count, off_t offset) {
    if (!fails()) return trib_file_real.write(ctx, fd, parts, count, offset);
    struct iovec half = {parts[0].iov_base, (parts[0].iov_len + 1) / 2};
    if (faults.halves && trib_file_real.write(ctx, fd, &half, 1, offset) < 0) return -1;
    errno = faults.error;
    return -1;
}
static ssize_t f_read(void *ctx, int fd, void *data, size_t bytes, off_t offset) {
    return fails() ? -1 : trib_file_real.read(ctx, fd, data, bytes, offset);
}
static int f_sync(void *ctx, int fd) {
    (void)ctx;
    (void)fd;
    return fails() ? -1 : 0; /* no power is lost here */
}
static int f_truncate(void *ctx, int fd, off_t bytes) {
    return fails() ? -1 : trib_file_real.truncate(ctx, fd, bytes);
}
static int f_rename(void *ctx, const char *from, const char *to) {
    return fails() ? -1 : trib_file_real.rename(ctx, from, to);
}
static int f_unlink(void *ctx, const char *path) {
    return fails() ? -1 : trib_file_real.unlink(ctx, path);
}
static int f_mkdir(void *ctx, const char *path, mode_t mode) {
    return fails() ? -1 : trib_file_real.mkdir(ctx, path, mode);
}
static int f_sync_dir(void *ctx, const char *path) {
    (void)ctx;
    (void)path;
    return fails() ? -1 : 0;
}

static const struct trib_file_ops failing_files = {
    .open = f_open,
    .write = f_write,
    .read = f_read,
    .sync = f_sync,
    .truncate = f_truncate,
    .rename = f_rename,
    .unlink = f_unlink,
    .mkdir = f_mkdir,
    .sync_dir = f_sync_dir,
};

/* ---- SQLite's files: a VFS over the default one ---- */

struct shim_file {
    sqlite3_file base;
    sqlite3_file *real;
};

static sqlite3_file *real_of(sqlite3_file *file) {
    return ((struct shim_file *)(void *)file)->real;
}
static int s_close(sqlite3_file *file) {
    sqlite3_file *real = real_of(file);
    int rc = real->pMethods != NULL ? real->pMethods->xClose(real) : SQLITE_OK;
    free(real);
    return rc;
}
static int s_read(sqlite3_file *file, void *data, int bytes, sqlite3_int64 at) {
    return fails() ? SQLITE_IOERR_READ : real_of(file)->pMethods->xRead(real_of(file), data, bytes, at);
}
static int s_write(sqlite3_file *file, const void *data, int bytes, sqlite3_int64 at) {
    sqlite3_file *real = real_of(file);
    if (!fails()) return real->pMethods->xWrite(real, data, bytes, at);
    if (faults.halves) (void)real->pMethods->xWrite(real, data, bytes / 2, at);
    return faults.error == ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}
static int s_truncate(sqlite3_file *file, sqlite3_int64 bytes) {
    return fails() ? SQLITE_IOERR_TRUNCATE : real_of(file)->pMethods->xTruncate(real_of(file), bytes);
}
static int s_sync(sqlite3_file *file, int flags) {
    (void)file;
    (void)flags;
    return fails() ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}
static int s_size(sqlite3_file *file, sqlite3_int64 *bytes) {
    return real_of(file)->pMethods->xFileSize(real_of(file), bytes);
}
static int s_lock(sqlite3_file *file, int lock) {
    return real_of(file)->pMethods->xLock(real_of(file), lock);
}
static int s_unlock(sqlite3_file *file, int lock) {
    return real_of(file)->pMethods->xUnlock(real_of(file), lock);
}
static int s_check_lock(sqlite3_file *file, int *out) {
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), out);
}
static int s_control(sqlite3_file *file, int op, void *arg) {
    return real_of(file)->pMethods->xFileControl(real_of(file), op, arg);
}
static int s_sector(sqlite3_file *file) {
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}
static int s_device(sqlite3_file *file) {
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}
static int s_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **out) {
    if (fails()) return SQLITE_IOERR_SHMMAP;
    return real_of(file)->pMethods->xShmMap(real_of(file), page, size, extend, out);
}
static int s_shm_lock(sqlite3_file *file, int offset, int n, int flags) {
    return real_of(file)->pMethods->xShmLock(real_of(file), offset, n, flags);
}
static void s_shm_barrier(sqlite3_file *file) {
    real_of(file)->pMethods->xShmBarrier(real_of(file));
}
static int s_shm_unmap(sqlite3_file *file, int delete_flag) {
    return real_of(file)->pMethods->xShmUnmap(real_of(file), delete_flag);
}

static const sqlite3_io_methods shim_methods = {
    .iVersion = 2,
    .xClose = s_close,
    .xRead = s_read,
    .xWrite = s_write,
    .xTruncate = s_truncate,
    .xSync = s_sync,
    .xFileSize = s_size,
    .xLock = s_lock,
    .xUnlock = s_unlock,
    .xCheckReservedLock = s_check_lock,
    .xFileControl = s_control,
    .xSectorSize = s_sector,
    .xDeviceCharacteristics = s_device,
    .xShmMap = s_shm_map,
    .xShmLock = s_shm_lock,
    .xShmBarrier = s_shm_barrier,
    .xShmUnmap = s_shm_unmap,
};

static sqlite3_vfs *below(sqlite3_vfs *vfs) {
    return vfs->pAppData;
}
static int v_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags) {
    struct shim_file *shim = (struct shim_file *)(void *)file;
    shim->base.pMethods = NULL;
    if (fails()) return SQLITE_CANTOPEN;
    shim->real = calloc(1, (size_t)below(vfs)->szOsFile);
    int rc = below(vfs)->xOpen(below(vfs), name, shim->real, flags, out_flags);
    if (rc != SQLITE_OK) {
        free(shim->real);
        return rc;
    }
    shim->base.pMethods = &shim_methods;
    return rc;
}
static int v_delete(sqlite3_vfs *vfs, const char *name, int sync) {
    (void)sync;
    return fails() ? SQLITE_IOERR_DELETE : below(vfs)->xDelete(below(vfs), name, 0);
}
static int v_access(sqlite3_vfs *vfs, const char *name, int flags, int *out) {
    return below(vfs)->xAccess(below(vfs), name, flags, out);
}
static int v_path(sqlite3_vfs *vfs, const char *name, int bytes, char *out) {
    return below(vfs)->xFullPathname(below(vfs), name, bytes, out);
}
static int v_random(sqlite3_vfs *vfs, int bytes, char *out) {
    return below(vfs)->xRandomness(below(vfs), bytes, out);
}
static int v_sleep(sqlite3_vfs *vfs, int us) {
    return below(vfs)->xSleep(below(vfs), us);
}
static int v_time(sqlite3_vfs *vfs, double *out) {
    return below(vfs)->xCurrentTime(below(vfs), out);
}
static int v_error(sqlite3_vfs *vfs, int bytes, char *out) {
    return below(vfs)->xGetLastError(below(vfs), bytes, out);
}

static void register_shim(void) {
    static sqlite3_vfs shim;
    sqlite3_vfs *real = sqlite3_vfs_find(NULL);
    shim = (sqlite3_vfs){
        .iVersion = 1,
        .szOsFile = (int)sizeof(struct shim_file),
        .mxPathname = real->mxPathname,
        .zName = "failing",
        .pAppData = real,
        .xOpen = v_open,
        .xDelete = v_delete,
        .xAccess = v_access,
        .xFullPathname = v_path,
        .xRandomness = v_random,
        .xSleep = v_sleep,
        .xCurrentTime = v_time,
        .xGetLastError = v_error,
    };
    assert_int_equal(sqlite3_vfs_register(&shim, 0), SQLITE_OK);
}

/* ---- SQLite's memory: fails with ours ---- */

static sqlite3_mem_methods memory;
static long memory_countdown = -1;

static bool memory_fails(void) {
    if (memory_countdown < 0) return false;
    if (memory_countdown == 0) return true;
    memory_countdown--;
    return false;
}
static void *m_malloc(int bytes) {
    return memory_fails() ? NULL : memory.xMalloc(bytes);
}
static void *m_realloc(void *old, int bytes) {
    return memory_fails() ? NULL : memory.xRealloc(old, bytes);
}

static int set_up_all(void **state) {
    (void)state;
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory), SQLITE_OK);
    sqlite3_mem_methods ours = memory;
    ours.xMalloc = m_malloc;
    ours.xRealloc = m_realloc;
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &ours), SQLITE_OK);
    /* Without lookaside every small allocation is one that can fail. */
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0), SQLITE_OK);
    assert_int_equal(sqlite3_initialize(), SQLITE_OK);
    register_shim();
    return 0;
}

/* ---- the work during which something fails ---- */

enum { BYTES = 300 };

struct outcome {
    uint64_t reported;   /* position up to which writes returned TRIB_OK */
    uint64_t handed;     /* and up to which records were ever handed over */
    uint64_t checkpoint; /* the last one reported */
    bool all;            /* nothing failed */
};

static struct trib_store_options options_for(const struct kit *kit) {
    return (struct trib_store_options){
        .path = kit->path, .segment_bytes = 2500, .vfs = "failing", .files = &failing_files};
}

static bool write_some(struct trib_store *store, size_t count, struct outcome *o) {
    struct trib_error err = {0};
    o->handed = trib_store_position(store) + count;
    if (kit_write(store, count, BYTES, &err) != TRIB_OK) {
        assert_true(err.text[0] != 0 || err.status == TRIB_OK); /* kit_write's own allocation says nothing */
        return false;
    }
    o->reported = trib_store_position(store);
    return true;
}

/* Open, groups, a checkpoint, more groups, close; twice, so that opening what is there fails too. */
static void work(const struct kit *kit, struct outcome *o) {
    struct trib_store_options options = options_for(kit);
    for (int round = 0; round < 2; round++) {
        struct trib_store *store = NULL;
        struct trib_error err = {0};
        struct kit_seen seen;
        bool good = trib_store_open(&options, &store, &err) == TRIB_OK;
        if (!good) assert_true(err.text[0] != 0);
        good = good && kit_recover(store, BYTES, &seen, &err) == TRIB_OK;
        good = good && write_some(store, 5, o) && write_some(store, 1, o) && write_some(store, 9, o);
        if (good) {
            uint64_t position = trib_store_position(store) - 4;
            good = kit_checkpoint(store, position, 20000, &err) == TRIB_OK;
            if (good) o->checkpoint = position;
        }
        good = good && write_some(store, 4, o);
        trib_store_close(&store);
        o->all = good;
        if (!good) return;
    }
}

static void check(const struct kit *kit, const struct outcome *o, long at) {
    struct trib_store_options options = {
        .path = kit->path, .segment_bytes = 2500, .durability = TRIB_DURABLE_NONE};
    struct trib_store *store = NULL;
    struct trib_error err = {0};
    struct kit_seen seen;
    if (trib_store_open(&options, &store, &err) != TRIB_OK)
        fail_msg("fault %ld: reopening: %s", at, err.text);
    uint64_t position = trib_store_position(store);
    if (position < o->reported || position > o->handed) {
        fail_msg("fault %ld: position %d, reported %d, handed over %d", at, (int)position, (int)o->reported,
                 (int)o->handed);
    }
    if (position != o->reported && position != o->handed) fail_msg("fault %ld: half a group is there", at);
    if (kit_recover(store, BYTES, &seen, &err) != TRIB_OK)
        fail_msg("fault %ld: recovering: %s", at, err.text);
    if (seen.wrong || seen.checkpoint < o->checkpoint || seen.count != position - seen.checkpoint) {
        fail_msg("fault %ld: what is there is not what was written", at);
    }
    if (kit_write(store, 3, BYTES, &err) != TRIB_OK) fail_msg("fault %ld: writing on: %s", at, err.text);
    if (kit_checkpoint(store, position + 3, 100, &err) != TRIB_OK)
        fail_msg("fault %ld: checkpoint: %s", at, err.text);
    trib_store_close(&store);
}

static long run_files(bool lasting, bool halves, int error) {
    struct kit kit;
    kit_init(&kit);
    long at = 0;
    for (;; at++) {
        struct outcome o = {0};
        faults = (struct faults){.at = at, .lasting = lasting, .halves = halves, .error = error};
        work(&kit, &o);
        bool reached = faults.count > at;
        faults.at = -1;
        check(&kit, &o, at);
        kit_clear(&kit);
        if (!reached) {
            assert_true(o.all);
            break;
        }
    }
    print_message("%ld operations\n", at);
    kit_release(&kit);
    return at;
}

static void test_one_operation_fails(void **state) {
    (void)state;
    assert_true(run_files(false, false, EIO) > 150);
}

static void test_disk_goes_away(void **state) {
    (void)state;
    assert_true(run_files(true, false, EIO) > 150);
}

static void test_disk_full_in_mid_write(void **state) {
    (void)state;
    assert_true(run_files(true, true, ENOSPC) > 150);
}

static void test_every_allocation_fails(void **state) {
    (void)state;
    struct kit kit;
    kit_init(&kit);
    faults.at = -1;
    for (int whose = 0; whose < 2; whose++) {
        bool all = false;
        long step = whose == 0 ? 1 : 7; /* SQLite makes thousands */
        long at = 0;
        for (; !all; at += step) {
            struct outcome o = {0};
            if (whose == 0) trib_alloc_fail_after(at);
            if (whose == 1) memory_countdown = at;
            work(&kit, &o);
            trib_alloc_fail_after(-1);
            memory_countdown = -1;
            check(&kit, &o, at);
            kit_clear(&kit);
            all = o.all;
        }
        assert_true(at > 50);
    }
    kit_release(&kit);
}

/* ---- killed ---- */

struct killer {
    int after; /* projected records, or syncs, until the process is gone */
    bool in_sync;
};

static enum trib_status kill_open(void *ctx, sqlite3 *db, struct trib_error *err) {
    (void)ctx;
    (void)db;
    (void)err;
    return TRIB_OK;
}
static enum trib_status kill_write(void *ctx, const struct trib_record *record, struct trib_error *err) {
    struct killer *killer = ctx;
    (void)record;
    (void)err;
    if (!killer->in_sync && killer->after-- == 0) _exit(7); /* payloads are synced, rows are not committed */
    return TRIB_OK;
}
static int kill_sync(void *ctx, int fd) {
    struct killer *killer = ctx;
    (void)fd;
    if (killer->in_sync && killer->after-- == 0) _exit(7);
    return 0;
}

/* Writes groups of 1, 2, 3, ... records in a process of its own; each group reported goes through a pipe. */
static uint64_t write_until_killed(const struct kit *kit, struct killer killer) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct trib_file_ops files = trib_file_real;
        files.ctx = &killer;
        files.sync = kill_sync;
        struct trib_store_options options = {.path = kit->path,
                                             .segment_bytes = 2500,
                                             .vfs = "failing",
                                             .files = &files,
                                             .projection = {&killer, kill_open, kill_write, NULL}};
        struct trib_store *store = NULL;
        struct trib_error err;
        if (trib_store_open(&options, &store, &err) != TRIB_OK) _exit(8);
        for (size_t count = 1; count < 20; count++) {
            if (kit_write(store, count, BYTES, &err) != TRIB_OK) _exit(9);
            uint64_t position = trib_store_position(store);
            if (write(ends[1], &position, sizeof position) != (ssize_t)sizeof position) _exit(10);
        }
        _exit(11);
    }
    (void)close(ends[1]);
    uint64_t reported = 0, position;
    while (read(ends[0], &position, sizeof position) == (ssize_t)sizeof position) reported = position;
    (void)close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    return reported;
}

static void test_killed_before_the_rows(void **state) {
    (void)state;
    struct kit kit;
    kit_init(&kit);
    for (int kind = 0; kind < 2; kind++) {
        for (int after = 0; after < 30; after += 3) {
            struct killer killer = {.after = kind == 0 ? after : after / 3, .in_sync = kind == 1};
            uint64_t reported = write_until_killed(&kit, killer);
            struct outcome o = {.reported = reported, .handed = reported};
            check(&kit, &o, after); /* exactly what was reported: the group had no row yet */
            kit_clear(&kit);
        }
    }
    kit_release(&kit);
}

/* ---- the journal's files cut at every length ---- */

static void copy_store(const struct kit *from, const struct kit *to) {
    char command[3 * KIT_PATH];
    kit_clear(to);
    (void)snprintf(command, sizeof command, "cp -r %s/. %s/", from->folder, to->folder);
    assert_int_equal(system(command), 0);
}

static void test_truncated_files(void **state) {
    (void)state;
    struct kit whole, cut;
    kit_init(&whole);
    kit_init(&cut);
    struct trib_store_options options = {.path = whole.path, .durability = TRIB_DURABLE_FULL};
    struct trib_store *store = NULL;
    struct trib_error err = {0};
    assert_int_equal(trib_store_open(&options, &store, &err), TRIB_OK);
    for (int i = 0; i < 3; i++) assert_int_equal(kit_write(store, 3, 40, &err), TRIB_OK);
    trib_store_close(&store);
    static const char *const names[] = {"journal.db", "segments/0000000000000001.seg"};
    options.path = cut.path;
    options.durability = TRIB_DURABLE_NONE;
    for (size_t i = 0; i < 2; i++) {
        char path[KIT_PATH];
        kit_file(&whole, names[i], path);
        long size = kit_size(path);
        kit_file(&cut, names[i], path);
        for (long left = 1; left < size; left += 1 + size / 60) {
            struct kit_seen seen = {0};
            copy_store(&whole, &cut);
            assert_int_equal(truncate(path, left), 0);
            enum trib_status status = trib_store_open(&options, &store, &err);
            if (status == TRIB_OK) status = kit_recover(store, 40, &seen, &err);
            trib_store_close(&store);
            assert_false(seen.wrong);
            bool unharmed = status == TRIB_OK && seen.count == 9; /* what was cut off held no row */
            if (status != TRIB_CORRUPT && !unharmed)
                fail_msg("%s cut to %ld: %s, %zu records", names[i], left, trib_status_name(status),
                         seen.count);
        }
    }
    kit_release(&whole);
    kit_release(&cut);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_operation_fails),    cmocka_unit_test(test_disk_goes_away),
        cmocka_unit_test(test_disk_full_in_mid_write), cmocka_unit_test(test_every_allocation_fails),
        cmocka_unit_test(test_killed_before_the_rows), cmocka_unit_test(test_truncated_files),
    };
    return cmocka_run_group_tests(tests, set_up_all, NULL);
}
