#include "tests/support/simfs.h"

#include "tests/support/simfs_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what happens to an operation ---- */

static bool chance(struct simfs *fs, uint32_t millionths) {
    return millionths > 0 && trib_rng_below(&fs->rng, 1000000) < millionths;
}

enum share { NOTHING, A_PART, ALL }; /* of it takes place, whether it fails or not */

int sim_alive(const struct simfs *fs) {
    return fs->cut ? EIO : 0;
}

static int fate(struct simfs *fs, bool changes, enum share *share) {
    const struct simfs_faults *f = &fs->faults;
    *share = NOTHING;
    if (fs->cut) return EIO;
    uint64_t n = ++fs->operations;
    fs->counts.operations++;
    if (f->crash_at > 0 && n >= f->crash_at) {
        fs->cut = true;
        *share = ALL; /* and the crash decides what is left of it */
        return EIO;
    }
    if (f->fail_at > 0 && (f->lasting ? n >= f->fail_at : n == f->fail_at)) {
        fs->counts.failed++;
        *share = f->error == ENOSPC ? A_PART : NOTHING;
        return f->error;
    }
    if (changes && f->read_only) return EROFS;
    if (chance(fs, f->io_error)) {
        fs->counts.failed++;
        *share = A_PART;
        return EIO;
    }
    *share = ALL;
    return 0;
}

/* ---- operations on files ---- */

static void open_inode(struct simfs *fs, struct sim_inode *inode, struct sim_inode **out) {
    *out = sim_use(fs, inode);
    fs->open++;
}

int sim_open(struct simfs *fs, const char *path, int flags, struct sim_inode **out) {
    enum share share;
    bool writes = (flags & O_ACCMODE) != O_RDONLY;
    struct sim_inode *inode = sim_find(fs, path);
    int error = fate(fs, writes, &share);
    if (share != ALL) return error;
    if (inode == NULL) {
        if ((flags & O_CREAT) == 0 || !sim_has_folder(fs, path)) return ENOENT;
        inode = sim_new_inode(false);
        sim_change_names(fs, inode, path, inode, NULL, NULL);
    } else if (inode->folder) {
        return EISDIR;
    } else if ((flags & O_TRUNC) != 0 && writes && inode->now.size > 0) {
        sim_note_edit(inode, (struct sim_edit){.cuts = true}, NULL);
        fs->used_bytes -= inode->now.size;
        inode->now.size = 0;
    }
    if (error == 0) open_inode(fs, inode, out);
    return error;
}

int sim_anonymous(struct simfs *fs, struct sim_inode **out) {
    enum share share;
    int error = fate(fs, true, &share);
    if (error == 0) open_inode(fs, sim_new_inode(false), out);
    return error;
}

void sim_close(struct simfs *fs, struct sim_inode **inode) {
    fs->open--;
    sim_unuse(fs, *inode);
    *inode = NULL;
}

/* How much of a write there is room for. */
static size_t room(const struct simfs *fs, const struct sim_inode *inode, size_t bytes, uint64_t offset) {
    uint64_t end = offset + bytes, limit = fs->faults.limit_bytes;
    uint64_t growth = end > inode->now.size ? end - inode->now.size : 0;
    uint64_t left = limit > fs->used_bytes ? limit - fs->used_bytes : 0;
    if (limit == 0 || growth <= left) return bytes;
    return growth - left < bytes ? bytes - (size_t)(growth - left) : 0;
}

int sim_write(struct simfs *fs, struct sim_inode *inode, const void *data, size_t bytes, uint64_t offset,
              size_t *taken) {
    enum share share;
    int error = fate(fs, true, &share);
    *taken = share == NOTHING ? 0 : room(fs, inode, bytes, offset);
    if (error == 0 && *taken == 0 && bytes > 0) error = ENOSPC;
    if (error == 0 && chance(fs, fs->faults.full)) {
        error = ENOSPC;
        share = A_PART;
    }
    bool shorter = error == 0 && *taken > 1 && chance(fs, fs->faults.short_write);
    if (share == A_PART || shorter) *taken = (size_t)trib_rng_below(&fs->rng, *taken + 1);
    if (shorter && *taken == 0) *taken = 1;
    if (*taken == 0) return error;
    size_t before = inode->now.size;
    sim_put(&inode->now, data, *taken, offset);
    sim_note_edit(inode, (struct sim_edit){.offset = offset, .bytes = *taken}, data);
    fs->used_bytes += inode->now.size - before;
    fs->counts.writes++;
    fs->counts.written_bytes += *taken;
    return error;
}

int sim_read(struct simfs *fs, const struct sim_inode *inode, void *data, size_t bytes, uint64_t offset,
             size_t *got) {
    enum share share;
    int error = fate(fs, false, &share);
    uint64_t left = offset < inode->now.size ? inode->now.size - offset : 0;
    *got = error != 0 ? 0 : left < bytes ? (size_t)left : bytes;
    if (*got > 0) memcpy(data, inode->now.data + offset, *got);
    return error;
}

int sim_sync(struct simfs *fs, struct sim_inode *inode) {
    enum share share;
    int error = fate(fs, true, &share);
    if (error == 0 && chance(fs, fs->faults.sync_error)) {
        fs->counts.failed++;
        error = EIO;
    }
    if (error == 0) {
        sim_settle_edits(fs, inode, SIM_ALL_KEPT);
        fs->counts.syncs++;
    } else if (!fs->cut && trib_rng_below(&fs->rng, 2) == 0) {
        inode->edits.size = 0; /* the system takes them for written */
    }
    return error;
}

int sim_truncate(struct simfs *fs, struct sim_inode *inode, uint64_t bytes) {
    enum share share;
    int error = fate(fs, true, &share);
    if (share != ALL) return error;
    fs->used_bytes += bytes;
    fs->used_bytes -= inode->now.size;
    sim_note_edit(inode, (struct sim_edit){.offset = bytes, .cuts = true}, NULL);
    sim_resize(&inode->now, bytes);
    return error;
}

/* ---- operations on names ---- */

int sim_unlink(struct simfs *fs, const char *path) {
    enum share share;
    int error = fate(fs, true, &share);
    struct sim_inode *inode = sim_find(fs, path);
    if (share != ALL) return error;
    if (inode == NULL) return ENOENT;
    if (inode->folder) return EISDIR;
    sim_change_names(fs, inode, path, NULL, NULL, NULL);
    return error;
}

static int sim_rename(struct simfs *fs, const char *from, const char *to) {
    enum share share;
    int error = fate(fs, true, &share);
    struct sim_inode *inode = sim_find(fs, from);
    if (share != ALL) return error;
    if (inode == NULL || !sim_has_folder(fs, to)) return ENOENT;
    if (inode->folder) return EISDIR; /* nobody needs it */
    sim_change_names(fs, inode, from, NULL, to, inode);
    return error;
}

static int sim_mkdir(struct simfs *fs, const char *path) {
    enum share share;
    int error = fate(fs, false, &share); /* where it exists, a read-only disk says so first */
    if (share != ALL) return error;
    if (sim_find(fs, path) != NULL) return EEXIST;
    if (!sim_has_folder(fs, path)) return ENOENT;
    if (fs->faults.read_only) return EROFS;
    struct sim_inode *inode = sim_new_inode(true);
    sim_change_names(fs, inode, path, inode, NULL, NULL);
    return error;
}

int sim_sync_folder(struct simfs *fs, const char *path) {
    enum share share;
    int error = fate(fs, false, &share);
    const struct sim_inode *inode = sim_find(fs, path);
    if (error == 0 && (inode == NULL || !inode->folder)) return ENOENT;
    if (error == 0 && chance(fs, fs->faults.sync_error)) error = EIO;
    if (error != 0) return error;
    sim_sync_names(fs, path);
    fs->counts.syncs++;
    return 0;
}

/* ---- the store's file operations ---- */

static int fail(int error) {
    errno = error;
    return error != 0 ? -1 : 0;
}

static int f_open(void *ctx, const char *path, int flags, mode_t mode) {
    struct simfs *fs = ctx;
    struct sim_inode *inode;
    (void)mode;
    int error = sim_open(fs, path, flags, &inode);
    if (error != 0) return fail(error);
    size_t i = 0;
    while (i < fs->handle_count && fs->handles[i].inode != NULL) i++;
    if (i == fs->handle_count) {
        fs->handle_count = fs->handle_count * 2 + 8;
        fs->handles = sim_memory(fs->handles, fs->handle_count * sizeof *fs->handles);
        for (size_t k = i; k < fs->handle_count; k++) fs->handles[k] = (struct sim_handle){0};
    }
    fs->handles[i] = (struct sim_handle){inode, (flags & O_ACCMODE) != O_RDONLY, false};
    return (int)i;
}

static struct sim_handle *handle(void *ctx, int fd) {
    struct simfs *fs = ctx;
    TRIB_ASSERT(fd >= 0 && (size_t)fd < fs->handle_count && fs->handles[fd].inode != NULL);
    return &fs->handles[fd];
}

static int f_close(void *ctx, int fd) {
    struct sim_handle *h = handle(ctx, fd);
    if (h->locks) h->inode->locked = false;
    sim_close(ctx, &h->inode);
    return 0;
}

static ssize_t f_write(void *ctx, int fd, const struct iovec *parts, int count, off_t offset) {
    const struct sim_handle *h = handle(ctx, fd);
    size_t taken = 0, bytes = 0;
    if (!h->writable) return fail(EBADF);
    for (int i = 0; i < count; i++) bytes += parts[i].iov_len;
    uint8_t *all = count == 1 ? parts[0].iov_base : sim_memory(NULL, bytes);
    for (size_t i = 0, at = 0; count > 1 && i < (size_t)count; at += parts[i++].iov_len)
        if (parts[i].iov_len > 0) memcpy(all + at, parts[i].iov_base, parts[i].iov_len);
    int error = sim_write(ctx, h->inode, all, bytes, (uint64_t)offset, &taken);
    if (count != 1) free(all);
    return error != 0 ? fail(error) : (ssize_t)taken;
}

static ssize_t f_read(void *ctx, int fd, void *data, size_t bytes, off_t offset) {
    size_t got = 0;
    int error = sim_read(ctx, handle(ctx, fd)->inode, data, bytes, (uint64_t)offset, &got);
    return error != 0 ? fail(error) : (ssize_t)got;
}

static int f_sync(void *ctx, int fd) {
    return fail(sim_sync(ctx, handle(ctx, fd)->inode));
}

static int f_truncate(void *ctx, int fd, off_t bytes) {
    return fail(sim_truncate(ctx, handle(ctx, fd)->inode, (uint64_t)bytes));
}

static int f_size(void *ctx, int fd, uint64_t *bytes) {
    *bytes = handle(ctx, fd)->inode->now.size;
    return fail(sim_alive(ctx));
}

static int f_lock(void *ctx, int fd) {
    struct sim_handle *h = handle(ctx, fd);
    if (h->inode->locked && !h->locks) return fail(EWOULDBLOCK);
    h->inode->locked = h->locks = true;
    return 0;
}

static int f_rename(void *ctx, const char *from, const char *to) {
    return fail(sim_rename(ctx, from, to));
}

static int f_unlink(void *ctx, const char *path) {
    return fail(sim_unlink(ctx, path));
}

static int f_mkdir(void *ctx, const char *path, mode_t mode) {
    (void)mode;
    return fail(sim_mkdir(ctx, path));
}

static int f_list(void *ctx, const char *path, void (*each)(void *arg, const char *name), void *arg) {
    struct simfs *fs = ctx;
    enum share share;
    int error = fate(fs, false, &share);
    const struct sim_inode *inode = sim_find(fs, path);
    if (error == 0 && (inode == NULL || !inode->folder)) error = ENOENT;
    if (error != 0) return fail(error);
    for (size_t i = 0; i < fs->name_count; i++)
        if (fs->names[i].now != NULL && sim_is_in(fs->names[i].path, path))
            each(arg, strrchr(fs->names[i].path, '/') + 1);
    return 0;
}

static int f_sync_dir(void *ctx, const char *path) {
    return fail(sim_sync_folder(ctx, path));
}

/* ---- the disk as a whole ---- */

static void add_root(struct simfs *fs) {
    struct sim_inode *root = sim_new_inode(true);
    sim_set_now(fs, "/", root);
    sim_set_durable(fs, "/", root);
}

struct simfs *simfs_new(uint64_t seed) {
    struct simfs *fs = sim_memory(NULL, sizeof *fs);
    *fs = (struct simfs){.rng = trib_rng_seed(seed, 0x51f5)};
    fs->ops = (struct trib_file_ops){.ctx = fs,
                                     .open = f_open,
                                     .close = f_close,
                                     .write = f_write,
                                     .read = f_read,
                                     .sync = f_sync,
                                     .truncate = f_truncate,
                                     .size = f_size,
                                     .lock = f_lock,
                                     .rename = f_rename,
                                     .unlink = f_unlink,
                                     .mkdir = f_mkdir,
                                     .list = f_list,
                                     .sync_dir = f_sync_dir};
    sim_vfs_register(fs);
    add_root(fs);
    return fs;
}

static void clear(struct simfs *fs) {
    TRIB_ASSERT(fs->open == 0);
    for (size_t i = 0; i < fs->change_count; i++) sim_end_change(&fs->changes[i]);
    fs->change_count = 0;
    for (size_t i = 0; i < fs->name_count; i++) {
        sim_unuse(fs, fs->names[i].now);
        sim_release(fs->names[i].durable);
        free(fs->names[i].path);
    }
    fs->name_count = 0;
}

void simfs_free(struct simfs **out) {
    struct simfs *fs = *out;
    *out = NULL;
    if (fs == NULL) return;
    clear(fs);
    sim_vfs_unregister(fs);
    free(fs->names);
    free(fs->changes);
    free(fs->handles);
    free(fs);
}

void simfs_wipe(struct simfs *fs) {
    clear(fs);
    add_root(fs);
    fs->cut = false;
}

struct simfs *simfs_copy(const struct simfs *fs, uint64_t seed) {
    struct simfs *copy = simfs_new(seed);
    for (size_t i = 0; i < fs->name_count; i++) {
        const struct sim_name *name = &fs->names[i];
        if (name->now == NULL || name->path[1] == 0) continue;
        struct sim_inode *inode = sim_new_inode(name->now->folder);
        sim_set(&inode->now, &name->now->now);
        sim_set(&inode->durable, &name->now->now);
        sim_set_now(copy, name->path, inode);
        sim_set_durable(copy, name->path, inode);
    }
    return copy;
}

void simfs_cut(struct simfs *fs) {
    fs->cut = true;
}

bool simfs_is_cut(const struct simfs *fs) {
    return fs->cut;
}

static enum sim_survival choose(struct simfs *fs) {
    uint64_t n = trib_rng_below(&fs->rng, 4);
    return n == 0 ? SIM_ALL_LOST : n == 1 ? SIM_ALL_KEPT : SIM_EACH_BY_CHANCE;
}

void simfs_crash(struct simfs *fs) {
    TRIB_ASSERT(fs->open == 0);
    sim_settle_names(fs, choose(fs));
    for (size_t i = 0; i < fs->name_count; i++) sim_set_now(fs, fs->names[i].path, fs->names[i].durable);
    for (bool again = true; again;) { /* a folder that is lost takes along what is in it */
        again = false;
        for (size_t i = 0; i < fs->name_count; i++) {
            const char *path = fs->names[i].path;
            if (fs->names[i].now == NULL || path[1] == 0 || sim_has_folder(fs, path)) continue;
            sim_set_now(fs, path, NULL);
            sim_set_durable(fs, path, NULL);
            again = true;
        }
    }
    sim_drop_empty_names(fs);
    enum sim_survival survival = choose(fs);
    for (size_t i = 0; i < fs->name_count; i++) {
        struct sim_inode *inode = fs->names[i].now;
        sim_settle_edits(fs, inode, survival);
        fs->used_bytes -= inode->now.size;
        sim_set(&inode->now, &inode->durable);
        fs->used_bytes += inode->now.size;
    }
    fs->faults.crash_at = 0;
    fs->cut = false;
}

/* ---- faults, damage, figures ---- */

const struct trib_file_ops *simfs_files(const struct simfs *fs) {
    return &fs->ops;
}

void simfs_set_faults(struct simfs *fs, const struct simfs_faults *faults) {
    fs->faults = faults != NULL ? *faults : (struct simfs_faults){0};
    fs->operations = 0;
}

bool simfs_damage(struct simfs *fs, const char *path, int64_t offset, uint8_t bits) {
    struct sim_inode *inode = sim_find(fs, path);
    if (inode == NULL) return false;
    int64_t at = offset < 0 ? (int64_t)inode->now.size + offset : offset;
    if (at < 0 || (uint64_t)at >= inode->now.size) return false;
    inode->now.data[at] ^= bits;
    if ((uint64_t)at < inode->durable.size) inode->durable.data[at] ^= bits;
    return true;
}

bool simfs_cut_file(struct simfs *fs, const char *path, uint64_t bytes) {
    struct sim_inode *inode = sim_find(fs, path);
    if (inode == NULL || inode->now.size <= bytes) return false;
    fs->used_bytes -= inode->now.size - bytes;
    sim_resize(&inode->now, bytes);
    sim_set(&inode->durable, &inode->now);
    inode->edits.size = 0;
    return true;
}

bool simfs_delete(struct simfs *fs, const char *path) {
    if (sim_find(fs, path) == NULL) return false;
    sim_set_now(fs, path, NULL);
    sim_set_durable(fs, path, NULL);
    sim_drop_empty_names(fs);
    return true;
}

const char *simfs_name(const struct simfs *fs, size_t n) {
    for (size_t i = 0; i < fs->name_count; i++)
        if (fs->names[i].now != NULL && !fs->names[i].now->folder && n-- == 0) return fs->names[i].path;
    return NULL;
}

int64_t simfs_size(const struct simfs *fs, const char *path) {
    const struct sim_inode *inode = sim_find(fs, path);
    return inode != NULL ? (int64_t)inode->now.size : -1;
}

uint64_t simfs_bytes(const struct simfs *fs) {
    return fs->used_bytes;
}

struct simfs_counts simfs_counts(const struct simfs *fs) {
    return fs->counts;
}
