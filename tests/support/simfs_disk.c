/* What is on the disk, what is durable of it, and what a crash makes of the difference. */
#include "tests/support/simfs_disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *sim_memory(void *old, size_t bytes) {
    void *memory = realloc(old, bytes > 0 ? bytes : 1);
    TRIB_ASSERT(memory != NULL);
    return memory;
}

/* ---- bytes ---- */

void sim_resize(struct sim_bytes *bytes, size_t size) {
    if (size > bytes->capacity) {
        bytes->capacity = size + size / 2 + 256;
        bytes->data = sim_memory(bytes->data, bytes->capacity);
    }
    if (size > bytes->size) memset(bytes->data + bytes->size, 0, size - bytes->size);
    bytes->size = size;
}

void sim_put(struct sim_bytes *bytes, const void *data, size_t count, size_t offset) {
    if (count == 0) return;
    if (offset + count > bytes->size) sim_resize(bytes, offset + count);
    memcpy(bytes->data + offset, data, count);
}

void sim_set(struct sim_bytes *to, const struct sim_bytes *from) {
    to->size = 0;
    sim_put(to, from->data, from->size, 0);
}

void sim_note_edit(struct sim_inode *inode, struct sim_edit edit, const void *data) {
    sim_put(&inode->edits, &edit, sizeof edit, inode->edits.size);
    if (!edit.cuts) sim_put(&inode->edits, data, (size_t)edit.bytes, inode->edits.size);
}

/* Each sector of a torn write is old or new. */
static void put_torn(struct simfs *fs, struct sim_bytes *to, const struct sim_edit *edit,
                     const uint8_t *data) {
    for (uint64_t at = edit->offset, end = at + edit->bytes; at < end;) {
        uint64_t next = (at / SIM_SECTOR + 1) * SIM_SECTOR;
        if (next > end) next = end;
        if (trib_rng_below(&fs->rng, 2) == 0) sim_put(to, data + (at - edit->offset), next - at, at);
        at = next;
    }
}

void sim_settle_edits(struct simfs *fs, struct sim_inode *inode, enum sim_survival survival) {
    for (size_t at = 0; at < inode->edits.size;) {
        struct sim_edit edit;
        memcpy(&edit, inode->edits.data + at, sizeof edit);
        const uint8_t *data = inode->edits.data + at + sizeof edit;
        at += sizeof edit + (edit.cuts ? 0 : edit.bytes);
        uint64_t fate = survival == SIM_EACH_BY_CHANCE ? trib_rng_below(&fs->rng, 3) : survival;
        if (fate == SIM_ALL_LOST) continue;
        if (edit.cuts)
            sim_resize(&inode->durable, edit.offset);
        else if (fate == SIM_ALL_KEPT)
            sim_put(&inode->durable, data, edit.bytes, edit.offset);
        else
            put_torn(fs, &inode->durable, &edit, data);
    }
    inode->edits.size = 0;
}

/* ---- inodes and names ---- */

struct sim_inode *sim_new_inode(bool folder) {
    struct sim_inode *inode = sim_memory(NULL, sizeof *inode);
    *inode = (struct sim_inode){.folder = folder};
    return inode;
}

static struct sim_inode *retain(struct sim_inode *inode) {
    if (inode != NULL) inode->refs++;
    return inode;
}

void sim_release(struct sim_inode *inode) {
    if (inode == NULL || --inode->refs > 0) return;
    free(inode->now.data);
    free(inode->durable.data);
    free(inode->edits.data);
    free(inode);
}

/* In use: it has a name now, or somebody has it open. Only that takes room on the disk. */
struct sim_inode *sim_use(struct simfs *fs, struct sim_inode *inode) {
    if (inode != NULL && inode->users++ == 0) fs->used_bytes += inode->now.size;
    return retain(inode);
}

void sim_unuse(struct simfs *fs, struct sim_inode *inode) {
    if (inode != NULL && --inode->users == 0) fs->used_bytes -= inode->now.size;
    sim_release(inode);
}

static struct sim_name *find_name(const struct simfs *fs, const char *path) {
    for (size_t i = 0; i < fs->name_count; i++)
        if (strcmp(fs->names[i].path, path) == 0) return &fs->names[i];
    return NULL;
}

struct sim_inode *sim_find(const struct simfs *fs, const char *path) {
    const struct sim_name *name = find_name(fs, path);
    return name != NULL ? name->now : NULL;
}

static char *copied(const char *text) {
    size_t bytes = strlen(text) + 1;
    return memcpy(sim_memory(NULL, bytes), text, bytes);
}

/* The entry of this path, made if it is missing. */
static struct sim_name *need_name(struct simfs *fs, const char *path) {
    struct sim_name *name = find_name(fs, path);
    if (name != NULL) return name;
    if (fs->name_count == fs->name_capacity) {
        fs->name_capacity = fs->name_capacity * 2 + 16;
        fs->names = sim_memory(fs->names, fs->name_capacity * sizeof *fs->names);
    }
    name = &fs->names[fs->name_count++];
    *name = (struct sim_name){.path = copied(path)};
    return name;
}

void sim_drop_empty_names(struct simfs *fs) {
    for (size_t i = fs->name_count; i-- > 0;) {
        if (fs->names[i].now != NULL || fs->names[i].durable != NULL) continue;
        free(fs->names[i].path);
        fs->names[i] = fs->names[--fs->name_count];
    }
}

void sim_set_now(struct simfs *fs, const char *path, struct sim_inode *inode) {
    struct sim_name *name = need_name(fs, path);
    struct sim_inode *old = name->now;
    name->now = sim_use(fs, inode);
    sim_unuse(fs, old);
}

void sim_set_durable(struct simfs *fs, const char *path, struct sim_inode *inode) {
    struct sim_name *name = need_name(fs, path);
    struct sim_inode *old = name->durable;
    name->durable = retain(inode);
    sim_release(old);
}

/* Whether `folder` is the one that `path` is in. */
bool sim_is_in(const char *path, const char *folder) {
    size_t length = strlen(folder);
    if (length == 1) return strrchr(path, '/') == path; /* "/" */
    return strncmp(path, folder, length) == 0 && path[length] == '/' &&
           strchr(path + length + 1, '/') == NULL;
}

bool sim_has_folder(const struct simfs *fs, const char *path) {
    const char *slash = strrchr(path, '/');
    char above[SIM_PATH];
    if (slash == NULL) return false;
    (void)snprintf(above, sizeof above, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    const struct sim_inode *inode = sim_find(fs, above);
    return inode != NULL && inode->folder;
}

/* ---- changes of names ---- */

/* Takes place now; durable with the next sync of its folder. */
void sim_change_names(struct simfs *fs, struct sim_inode *subject, const char *path, struct sim_inode *to,
                      const char *path2, struct sim_inode *to2) {
    if (fs->change_count == fs->change_capacity) {
        fs->change_capacity = fs->change_capacity * 2 + 16;
        fs->changes = sim_memory(fs->changes, fs->change_capacity * sizeof *fs->changes);
    }
    fs->changes[fs->change_count++] =
        (struct sim_change){.count = path2 != NULL ? 2 : 1,
                            .path = {copied(path), path2 ? copied(path2) : NULL},
                            .to = {retain(to), retain(to2)},
                            .subject = retain(subject)};
    sim_set_now(fs, path, to);
    if (path2 != NULL) sim_set_now(fs, path2, to2);
}

void sim_end_change(struct sim_change *c) {
    for (int i = 0; i < c->count; i++) {
        free(c->path[i]);
        sim_release(c->to[i]);
    }
    sim_release(c->subject);
}

static void keep_change(struct simfs *fs, struct sim_change *c) {
    for (int i = 0; i < c->count; i++) sim_set_durable(fs, c->path[i], c->to[i]);
}

void sim_sync_names(struct simfs *fs, const char *folder) {
    size_t left = 0;
    for (size_t i = 0; i < fs->change_count; i++) {
        struct sim_change *c = &fs->changes[i];
        if (sim_is_in(c->path[0], folder) || (c->count > 1 && sim_is_in(c->path[1], folder))) {
            keep_change(fs, c);
            sim_end_change(c);
        } else {
            fs->changes[left++] = *c;
        }
    }
    fs->change_count = left;
    sim_drop_empty_names(fs);
}

/* What a file's earlier change needed is lost with it. */
void sim_settle_names(struct simfs *fs, enum sim_survival survival) {
    for (size_t i = 0; i < fs->change_count; i++) {
        struct sim_change *c = &fs->changes[i];
        bool kept =
            survival == SIM_EACH_BY_CHANCE ? trib_rng_below(&fs->rng, 2) == 0 : survival == SIM_ALL_KEPT;
        if (!kept) c->subject->name_lost = true;
        if (!c->subject->name_lost) keep_change(fs, c);
    }
    for (size_t i = 0; i < fs->change_count; i++) {
        fs->changes[i].subject->name_lost = false;
        sim_end_change(&fs->changes[i]);
    }
    fs->change_count = 0;
}
