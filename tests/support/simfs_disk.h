/* Inside the simulated disk: simfs.c has bytes, names and crashes, simfs_vfs.c is SQLite's way to them. */
#ifndef TESTS_SUPPORT_SIMFS_DISK_H
#define TESTS_SUPPORT_SIMFS_DISK_H

#include "shared/base/rng.h"
#include "tests/support/simfs.h"

#include <sqlite3.h>

enum { SIM_SECTOR = 512, SIM_SHM_REGIONS = 64, SIM_PATH = 512 };

struct sim_bytes {
    uint8_t *data;
    size_t size, capacity;
};

/* A file, with or without a name. `edits` is what was written since `durable` was true. */
struct sim_inode {
    unsigned refs;  /* names, durable names, open handles, changes of names */
    unsigned users; /* names and open handles */
    bool folder, locked, name_lost;
    struct sim_bytes now, durable, edits;
    /* SQLite's locks, over all its connections */
    int shared, reserved, pending, exclusive;
    void *shm[SIM_SHM_REGIONS];
    int shm_users, shm_shared[SQLITE_SHM_NLOCK], shm_exclusive[SQLITE_SHM_NLOCK];
};

struct sim_name {
    char *path;
    struct sim_inode *now, *durable; /* either may be NULL, not both */
};

/* A change of one name, or of two at once (rename), that no sync of its folder has made durable. */
struct sim_change {
    int count;
    char *path[2];
    struct sim_inode *to[2]; /* NULL: the name goes */
    struct sim_inode *subject;
};

struct sim_handle {
    struct sim_inode *inode; /* NULL: free */
    bool writable, locks;
};

struct simfs {
    struct trib_rng rng;
    struct trib_file_ops ops;
    sqlite3_vfs vfs;
    char vfs_name[32];
    bool cut;
    struct simfs_faults faults;
    uint64_t operations, used_bytes;
    unsigned open;
    struct simfs_counts counts;
    struct sim_name *names;
    size_t name_count, name_capacity;
    struct sim_change *changes;
    size_t change_count, change_capacity;
    struct sim_handle *handles;
    size_t handle_count;
};

struct sim_edit { /* in front of the bytes written */
    uint64_t offset, bytes;
    bool cuts; /* the file is `offset` bytes long now */
};

enum sim_survival { SIM_ALL_LOST, SIM_ALL_KEPT, SIM_EACH_BY_CHANCE };

/* ---- simfs_disk.c: bytes and names ---- */

void *sim_memory(void *old, size_t bytes); /* ends the program where there is none */
void sim_resize(struct sim_bytes *bytes, size_t size);
void sim_put(struct sim_bytes *bytes, const void *data, size_t count, size_t offset);
void sim_set(struct sim_bytes *to, const struct sim_bytes *from);
void sim_note_edit(struct sim_inode *inode, struct sim_edit edit, const void *data);
/* The edits become durable, or not. */
void sim_settle_edits(struct simfs *fs, struct sim_inode *inode, enum sim_survival survival);

struct sim_inode *sim_new_inode(bool folder);
void sim_release(struct sim_inode *inode);
/* In use: it has a name now, or somebody has it open. Only that takes room on the disk. */
struct sim_inode *sim_use(struct simfs *fs, struct sim_inode *inode);
void sim_unuse(struct simfs *fs, struct sim_inode *inode);
struct sim_inode *sim_find(const struct simfs *fs, const char *path);
bool sim_is_in(const char *path, const char *folder); /* directly */
bool sim_has_folder(const struct simfs *fs, const char *path);
void sim_set_now(struct simfs *fs, const char *path, struct sim_inode *inode);
void sim_set_durable(struct simfs *fs, const char *path, struct sim_inode *inode);
void sim_drop_empty_names(struct simfs *fs);
/* Takes place now; durable with the next sync of its folder. path2 is NULL or another name that changes with
 * it. */
void sim_change_names(struct simfs *fs, struct sim_inode *subject, const char *path, struct sim_inode *to,
                      const char *path2, struct sim_inode *to2);
void sim_end_change(struct sim_change *change);
void sim_sync_names(struct simfs *fs, const char *folder);
void sim_settle_names(struct simfs *fs, enum sim_survival survival);

/* ---- simfs.c: operations, with what may happen to them ---- */

/* All return 0 or an errno. */
int sim_open(struct simfs *fs, const char *path, int flags, struct sim_inode **out);
int sim_anonymous(struct simfs *fs, struct sim_inode **out);
void sim_close(struct simfs *fs, struct sim_inode **inode);
/* *taken: how much was written, also where it fails. */
int sim_write(struct simfs *fs, struct sim_inode *inode, const void *data, size_t bytes, uint64_t offset,
              size_t *taken);
int sim_read(struct simfs *fs, const struct sim_inode *inode, void *data, size_t bytes, uint64_t offset,
             size_t *got);
int sim_sync(struct simfs *fs, struct sim_inode *inode);
int sim_truncate(struct simfs *fs, struct sim_inode *inode, uint64_t bytes);
int sim_unlink(struct simfs *fs, const char *path);
int sim_sync_folder(struct simfs *fs, const char *path);
/* Whether the power is on. */
int sim_alive(const struct simfs *fs);

void sim_vfs_register(struct simfs *fs);
void sim_vfs_unregister(struct simfs *fs);

#endif
