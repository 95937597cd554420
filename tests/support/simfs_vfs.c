/* SQLite's way to the simulated disk: files, its locks, and the shared memory of WAL mode. */
#include "shared/store/sql.h"
#include "tests/support/simfs_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sim_file {
    sqlite3_file base;
    struct simfs *fs;
    struct sim_inode *inode;
    const char *path; /* SQLite's, as long as the file is open; NULL: it has no name */
    bool writable, delete_on_close;
    bool sync_folder; /* with the first sync: its name is new (as SQLite's own VFS does it) */
    int lock;
    bool mapped;
    unsigned shm_shared, shm_exclusive; /* a bit for each of the locks */
};

static struct sim_file *of(sqlite3_file *file) {
    return (struct sim_file *)(void *)file;
}

static void sync_above(struct simfs *fs, const char *path, int *error) {
    char folder[SIM_PATH];
    const char *slash = strrchr(path, '/');
    (void)snprintf(folder, sizeof folder, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    *error = sim_sync_folder(fs, folder);
}

/* ---- files ---- */

static int x_unlock(sqlite3_file *file, int level);
static int x_shm_unmap(sqlite3_file *file, int delete_it);

static int x_close(sqlite3_file *file) {
    struct sim_file *f = of(file);
    (void)x_unlock(file, SQLITE_LOCK_NONE);
    (void)x_shm_unmap(file, 0);
    if (f->delete_on_close && f->path != NULL && sim_unlink(f->fs, f->path) != 0) errno = 0;
    sim_close(f->fs, &f->inode);
    return SQLITE_OK;
}

static int x_read(sqlite3_file *file, void *data, int bytes, sqlite3_int64 offset) {
    struct sim_file *f = of(file);
    size_t got = 0;
    if (sim_read(f->fs, f->inode, data, (size_t)bytes, (uint64_t)offset, &got) != 0) return SQLITE_IOERR_READ;
    if (got == (size_t)bytes) return SQLITE_OK;
    memset((char *)data + got, 0, (size_t)bytes - got);
    return SQLITE_IOERR_SHORT_READ;
}

static int x_write(sqlite3_file *file, const void *data, int bytes, sqlite3_int64 offset) {
    struct sim_file *f = of(file);
    for (size_t at = 0, taken; at < (size_t)bytes; at += taken) {
        int error = sim_write(f->fs, f->inode, (const char *)data + at, (size_t)bytes - at,
                              (uint64_t)offset + at, &taken);
        if (error != 0) return error == ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    }
    return SQLITE_OK;
}

static int x_truncate(sqlite3_file *file, sqlite3_int64 bytes) {
    struct sim_file *f = of(file);
    return sim_truncate(f->fs, f->inode, (uint64_t)bytes) != 0 ? SQLITE_IOERR_TRUNCATE : SQLITE_OK;
}

static int x_sync(sqlite3_file *file, int flags) {
    struct sim_file *f = of(file);
    int error = sim_sync(f->fs, f->inode);
    (void)flags;
    if (error == 0 && f->sync_folder) sync_above(f->fs, f->path, &error);
    if (error != 0) return SQLITE_IOERR_FSYNC;
    f->sync_folder = false;
    return SQLITE_OK;
}

static int x_size(sqlite3_file *file, sqlite3_int64 *bytes) {
    *bytes = (sqlite3_int64)of(file)->inode->now.size;
    return sim_alive(of(file)->fs) != 0 ? SQLITE_IOERR_FSTAT : SQLITE_OK;
}

static int x_control(sqlite3_file *file, int op, void *arg) {
    (void)file;
    (void)op;
    (void)arg;
    return SQLITE_NOTFOUND;
}

static int x_sector(sqlite3_file *file) {
    (void)file;
    return 4096;
}

static int x_device(sqlite3_file *file) {
    (void)file;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/* ---- locks between connections ---- */

static int x_lock(sqlite3_file *file, int level) {
    struct sim_file *f = of(file);
    struct sim_inode *i = f->inode;
    if (f->lock >= level) return SQLITE_OK;
    int others = i->shared - (f->lock >= SQLITE_LOCK_SHARED);
    if (level == SQLITE_LOCK_SHARED) {
        if (i->pending > 0 || i->exclusive > 0) return SQLITE_BUSY;
        i->shared++;
    } else if (level == SQLITE_LOCK_RESERVED) {
        if (i->reserved > 0) return SQLITE_BUSY;
        i->reserved++;
    } else {
        if (f->lock < SQLITE_LOCK_RESERVED) {
            if (i->reserved > 0) return SQLITE_BUSY;
            i->reserved++;
            f->lock = SQLITE_LOCK_RESERVED;
        }
        if (f->lock < SQLITE_LOCK_PENDING) i->pending++;
        f->lock = SQLITE_LOCK_PENDING;
        if (level == SQLITE_LOCK_EXCLUSIVE && others > 0) return SQLITE_BUSY;
        if (level == SQLITE_LOCK_EXCLUSIVE) i->exclusive++;
    }
    f->lock = level;
    return SQLITE_OK;
}

static int x_unlock(sqlite3_file *file, int level) {
    struct sim_file *f = of(file);
    struct sim_inode *i = f->inode;
    if (f->lock <= level) return SQLITE_OK;
    i->exclusive -= f->lock >= SQLITE_LOCK_EXCLUSIVE;
    i->pending -= f->lock >= SQLITE_LOCK_PENDING;
    i->reserved -= f->lock >= SQLITE_LOCK_RESERVED;
    i->shared -= level == SQLITE_LOCK_NONE;
    f->lock = level;
    return SQLITE_OK;
}

static int x_check_reserved(sqlite3_file *file, int *out) {
    *out = of(file)->inode->reserved > 0;
    return SQLITE_OK;
}

/* ---- the shared memory of WAL mode ---- */

static int x_shm_map(sqlite3_file *file, int region, int bytes, int extend, void volatile **out) {
    struct sim_file *f = of(file);
    struct sim_inode *i = f->inode;
    *out = NULL;
    if (sim_alive(f->fs) != 0 || region >= SIM_SHM_REGIONS) return SQLITE_IOERR_SHMMAP;
    if (!f->mapped) i->shm_users++;
    f->mapped = true;
    if (i->shm[region] == NULL && extend) {
        i->shm[region] = sim_memory(NULL, (size_t)bytes);
        memset(i->shm[region], 0, (size_t)bytes);
    }
    *out = i->shm[region];
    return SQLITE_OK;
}

static int x_shm_lock(sqlite3_file *file, int first, int n, int flags) {
    struct sim_file *f = of(file);
    struct sim_inode *i = f->inode;
    bool exclusive = (flags & SQLITE_SHM_EXCLUSIVE) != 0;
    for (int k = first; k < first + n; k++) {
        if ((flags & SQLITE_SHM_LOCK) == 0) continue;
        bool mine = (f->shm_shared >> k & 1) != 0;
        if (i->shm_exclusive[k] > 0 || (exclusive && i->shm_shared[k] > mine)) return SQLITE_BUSY;
    }
    for (int k = first; k < first + n; k++) {
        unsigned *held = exclusive ? &f->shm_exclusive : &f->shm_shared;
        int *count = exclusive ? &i->shm_exclusive[k] : &i->shm_shared[k];
        bool has = (*held >> k & 1) != 0, wants = (flags & SQLITE_SHM_LOCK) != 0;
        *count += wants - has;
        *held = (*held & ~(1U << k)) | (unsigned)wants << k;
    }
    return SQLITE_OK;
}

static void x_shm_barrier(sqlite3_file *file) {
    (void)file;
}

static int x_shm_unmap(sqlite3_file *file, int delete_it) {
    struct sim_file *f = of(file);
    struct sim_inode *i = f->inode;
    (void)delete_it; /* it is built anew by the next first user in any case */
    if (!f->mapped) return SQLITE_OK;
    (void)x_shm_lock(file, 0, SQLITE_SHM_NLOCK, SQLITE_SHM_UNLOCK | SQLITE_SHM_SHARED);
    (void)x_shm_lock(file, 0, SQLITE_SHM_NLOCK, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE);
    f->mapped = false;
    if (--i->shm_users > 0) return SQLITE_OK;
    for (int k = 0; k < SIM_SHM_REGIONS; k++) {
        free(i->shm[k]);
        i->shm[k] = NULL;
    }
    return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = x_close,
    .xRead = x_read,
    .xWrite = x_write,
    .xTruncate = x_truncate,
    .xSync = x_sync,
    .xFileSize = x_size,
    .xLock = x_lock,
    .xUnlock = x_unlock,
    .xCheckReservedLock = x_check_reserved,
    .xFileControl = x_control,
    .xSectorSize = x_sector,
    .xDeviceCharacteristics = x_device,
    .xShmMap = x_shm_map,
    .xShmLock = x_shm_lock,
    .xShmBarrier = x_shm_barrier,
    .xShmUnmap = x_shm_unmap,
};

/* ---- the file system ---- */

static int v_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags, int *out_flags) {
    struct simfs *fs = vfs->pAppData;
    struct sim_file *f = of(file);
    bool write = (flags & SQLITE_OPEN_READWRITE) != 0, fresh = path == NULL || sim_find(fs, path) == NULL;
    int how = (write ? O_RDWR : O_RDONLY) | ((flags & SQLITE_OPEN_CREATE) != 0 ? O_CREAT : 0);
    *f = (struct sim_file){.fs = fs, .path = path, .writable = write};
    int error = path != NULL ? sim_open(fs, path, how, &f->inode) : sim_anonymous(fs, &f->inode);
    if (error == EROFS && path != NULL && write && !fresh) {
        error = sim_open(fs, path, O_RDONLY, &f->inode);
        f->writable = false;
        flags = (flags & ~(SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)) | SQLITE_OPEN_READONLY;
    }
    if (error != 0) return SQLITE_CANTOPEN;
    f->base.pMethods = &methods;
    f->delete_on_close = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
    f->sync_folder = fresh && path != NULL && (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) != 0;
    if (out_flags != NULL) *out_flags = flags;
    return SQLITE_OK;
}

static int v_delete(sqlite3_vfs *vfs, const char *path, int sync_folder) {
    struct simfs *fs = vfs->pAppData;
    int error = sim_unlink(fs, path);
    if (error == ENOENT) return SQLITE_IOERR_DELETE_NOENT;
    if (error == 0 && sync_folder) sync_above(fs, path, &error);
    return error != 0 ? SQLITE_IOERR_DELETE : SQLITE_OK;
}

static int v_access(sqlite3_vfs *vfs, const char *path, int flags, int *out) {
    const struct simfs *fs = vfs->pAppData;
    const struct sim_inode *inode = sim_find(fs, path);
    *out = inode != NULL && (flags != SQLITE_ACCESS_EXISTS || inode->now.size > 0);
    return sim_alive(fs) != 0 ? SQLITE_IOERR_ACCESS : SQLITE_OK;
}

static int v_path(sqlite3_vfs *vfs, const char *path, int bytes, char *out) {
    (void)vfs;
    int length = snprintf(out, (size_t)bytes, "%s", path);
    return length >= bytes ? SQLITE_CANTOPEN : SQLITE_OK;
}

static int v_random(sqlite3_vfs *vfs, int bytes, char *out) {
    struct simfs *fs = vfs->pAppData;
    for (int i = 0; i < bytes; i++) out[i] = (char)trib_rng_below(&fs->rng, 256);
    return bytes;
}

static int v_sleep(sqlite3_vfs *vfs, int us) {
    (void)vfs;
    return us;
}

static int v_time(sqlite3_vfs *vfs, double *out) {
    (void)vfs;
    *out = 2460000.5; /* a Julian day: nothing here depends on it */
    return SQLITE_OK;
}

static int v_error(sqlite3_vfs *vfs, int bytes, char *out) {
    (void)vfs;
    if (bytes > 0) out[0] = 0;
    return 0;
}

void sim_vfs_register(struct simfs *fs) {
    static atomic_uint number;
    (void)snprintf(fs->vfs_name, sizeof fs->vfs_name, "simfs-%u", atomic_fetch_add(&number, 1));
    fs->vfs = (sqlite3_vfs){.iVersion = 1,
                            .szOsFile = (int)sizeof(struct sim_file),
                            .mxPathname = SIM_PATH,
                            .zName = fs->vfs_name,
                            .pAppData = fs,
                            .xOpen = v_open,
                            .xDelete = v_delete,
                            .xAccess = v_access,
                            .xFullPathname = v_path,
                            .xRandomness = v_random,
                            .xSleep = v_sleep,
                            .xCurrentTime = v_time,
                            .xGetLastError = v_error};
    TRIB_ASSERT(sqlite3_vfs_register(&fs->vfs, 0) == SQLITE_OK);
}

void sim_vfs_unregister(struct simfs *fs) {
    (void)sqlite3_vfs_unregister(&fs->vfs);
}

const char *simfs_vfs(const struct simfs *fs) {
    return fs->vfs_name;
}

void simfs_format(struct simfs *fs, const char *path, int page_bytes) {
    char folder[SIM_PATH], sql[160];
    const char *slash = strrchr(path, '/');
    (void)snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
    const struct trib_file_ops *files = simfs_files(fs);
    if (folder[0] != 0) TRIB_ASSERT(files->mkdir(files->ctx, folder, 0750) == 0 || errno == EEXIST);
    (void)snprintf(sql, sizeof sql, "PRAGMA page_size=%d; PRAGMA application_id=%d; PRAGMA journal_mode=WAL",
                   page_bytes, TRIB_SQL_APPLICATION);
    sqlite3 *db = NULL;
    int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, fs->vfs_name);
    if (rc == SQLITE_OK) rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    TRIB_ASSERT(rc == SQLITE_OK && sqlite3_close(db) == SQLITE_OK);
}
