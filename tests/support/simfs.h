/* A disk in memory for the real store: its file operations and a SQLite VFS work on the same bytes, and what
 * a real disk may do to them happens here by seeded choice.
 *
 *     struct simfs *disk = simfs_new(seed);
 *     struct trib_store_options options = {.path = "/store/journal.db", .files = simfs_files(disk),
 *                                          .vfs = simfs_vfs(disk)};
 *     ... trib_store_open, trib_store_write ...
 *     simfs_cut(disk);             the power goes: nothing works any more
 *     trib_store_close(&store);    what held it open ends
 *     simfs_crash(disk);           what was not synced is kept, lost or torn; then it can be opened again
 *
 * What is durable. A write or truncation is, after a sync of its file; at a crash each later one is kept,
 * lost or (a write) torn into 512-byte sectors that are either old or new. A name (created, renamed, deleted)
 * is, after a sync of its folder; each later one is kept or lost, a rename as a whole. A failed sync may have
 * lost what it should have written, while reads still show it: what Linux does after an error of the device.
 * WAL mode is the real one, with shared memory on the heap; many connections of one process may be open.
 *
 * Fast: on one core of the machine at hand a store with the ledger's tables is copied from a template, opened
 * and closed in 0.5 ms, and a commit of one record of the cloud's takes 10 us (test_simfs prints both).
 *
 * One thread at a time uses a disk; disks are independent of each other. The same seed and the same calls
 * give the same choices. No allocation goes through shared/base/alloc.h, so that failing those does not hit
 * it. */
#ifndef TESTS_SUPPORT_SIMFS_H
#define TESTS_SUPPORT_SIMFS_H

#include "shared/store/store.h"

#include <stdbool.h>

struct simfs;

/* An empty disk with the folder "/". Paths are absolute. */
struct simfs *simfs_new(uint64_t seed);
/* Nothing may be open on it. NULL is fine. */
void simfs_free(struct simfs **fs);
/* A second disk of its own with everything that is visible now, durable there; no faults. A backup, or a
 * template that is copied for each store: see simfs_format. */
struct simfs *simfs_copy(const struct simfs *fs, uint64_t seed);

/* Both are the disk's, until it is freed. */
const struct trib_file_ops *simfs_files(const struct simfs *fs);
const char *simfs_vfs(const struct simfs *fs);

/* An empty database of ours at `path` (its folder is made) with so large pages, where the store would take
 * SQLite's 4096: 1024 makes small commits cheaper. Before the store is opened for the first time. */
void simfs_format(struct simfs *fs, const char *path, int page_bytes);

/* ---- crashes ---- */

/* From now on every operation fails with EIO, until simfs_crash. */
void simfs_cut(struct simfs *fs);
bool simfs_is_cut(const struct simfs *fs);
/* The power comes back; nothing may be open (cut, close the stores, crash). Faults stay set, but for
 * crash_at. */
void simfs_crash(struct simfs *fs);
/* Another, empty disk in its place. Nothing may be open. */
void simfs_wipe(struct simfs *fs);

/* ---- faults ---- */

/* Chances are in a million, for every operation that they apply to. Operations are counted from when this was
 * set: file and database alike, reads too. */
struct simfs_faults {
    uint32_t io_error;    /* EIO; a write may have written a part */
    uint32_t full;        /* a write: ENOSPC after a part of it */
    uint32_t short_write; /* takes a part and says so (SQLite's files: as on real ones, not seen) */
    uint32_t sync_error;  /* EIO, and what was not durable may be lost for good */
    uint64_t fail_at;     /* this operation (1: the next one) fails with `error`; 0: none */
    int error;            /* EIO, ENOSPC, ...; with ENOSPC a write has written a part */
    bool lasting;         /* and every later one */
    uint64_t
        crash_at; /* at this operation the power goes (simfs_cut); it may have happened or not; 0: never */
    uint64_t limit_bytes; /* the disk's size: beyond it ENOSPC; 0: no limit */
    bool read_only;       /* EROFS for all that changes anything */
};
/* NULL: none. */
void simfs_set_faults(struct simfs *fs, const struct simfs_faults *faults);

/* XORs the byte at `offset` (negative: from the end) with `bits`, durably. False: no such file or byte. */
bool simfs_damage(struct simfs *fs, const char *path, int64_t offset, uint8_t bits);
/* Cuts a file off, durably. False: no such file, or it is not longer. */
bool simfs_cut_file(struct simfs *fs, const char *path, uint64_t bytes);
bool simfs_delete(struct simfs *fs, const char *path);

/* ---- looking ---- */

/* The nth file (not folders), by no particular order that stays while nothing changes; NULL: there are fewer.
 */
const char *simfs_name(const struct simfs *fs, size_t n);
/* -1: no such file. */
int64_t simfs_size(const struct simfs *fs, const char *path);
uint64_t simfs_bytes(const struct simfs *fs); /* of all files */

struct simfs_counts {
    uint64_t operations, writes, written_bytes, syncs, failed;
};
struct simfs_counts simfs_counts(const struct simfs *fs);

#endif
