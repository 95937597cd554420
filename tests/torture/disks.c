/* The nodes' disks: a journal in memory with checkpoints. */
#include "tests/torture/torture.h"

#include "shared/base/alloc.h"

#include <stdlib.h>
#include <string.h>

struct content {
    struct trib_buf checkpoint;
    uint64_t checkpoint_position;
    size_t count, capacity;
    struct trib_record **records; /* after the checkpoint */
};

struct disk {
    bool kept; /* false: a device that keeps nothing */
    struct content content, backup;
    bool has_backup, full;
    uint64_t fail_at; /* writes until one fails; 0: none will */
    uint64_t checkpoint_every;
};

struct disks {
    struct torture *t;
    struct disk disks[NODES_MAX];
};

static void must(bool good) {
    if (!good) abort();
}

static void add(struct content *content, const struct trib_record *record) {
    if (content->count == content->capacity) {
        content->capacity = content->capacity > 0 ? content->capacity * 2 : 16;
        content->records = trib_realloc(content->records, content->capacity * sizeof *content->records);
        must(content->records != NULL);
    }
    content->records[content->count++] = trib_record_copy(record);
    must(content->records[content->count - 1] != NULL);
}

static void drop_records(struct content *content) {
    for (size_t i = 0; i < content->count; i++) trib_record_free(&content->records[i]);
    content->count = 0;
}

static void release(struct content *content) {
    drop_records(content);
    trib_free(content->records);
    trib_buf_release(&content->checkpoint);
    *content = (struct content){0};
    trib_buf_init(&content->checkpoint, 0);
}

static void copy(struct content *to, const struct content *from) {
    release(to);
    trib_buf_append(&to->checkpoint, from->checkpoint.data, from->checkpoint.size);
    to->checkpoint_position = from->checkpoint_position;
    for (size_t i = 0; i < from->count; i++) add(to, from->records[i]);
}

/* ---- as the federation sees it ---- */

struct reading {
    const struct trib_buf *buf;
    size_t at;
};

static enum trib_status read_back(void *ctx, void *data, size_t bytes, struct trib_error *err) {
    struct reading *reading = ctx;
    if (bytes > reading->buf->size - reading->at) return trib_fail(err, TRIB_CORRUPT, "too short");
    memcpy(data, reading->buf->data + reading->at, bytes);
    reading->at += bytes;
    return TRIB_OK;
}

static enum trib_status open_disk(void *ctx, size_t node, struct trib_state *state, struct trib_error *err) {
    struct disk *disk = &((struct disks *)ctx)->disks[node];
    const struct content *content = &disk->content;
    if (disk->full) return trib_fail(err, TRIB_IO, "the disk is full");
    enum trib_status status = TRIB_OK;
    if (content->checkpoint_position > 0) {
        struct reading reading = {.buf = &content->checkpoint};
        struct trib_feed feed = {.read = read_back, .ctx = &reading};
        status = trib_state_load(state, &feed, err);
    }
    for (size_t i = 0; status == TRIB_OK && i < content->count; i++) {
        struct trib_record record = *content->records[i];
        status = trib_state_apply(state, &record, err);
    }
    return status;
}

static enum trib_status write_disk(void *ctx, size_t node, const struct trib_record *const *records,
                                   size_t count, struct trib_error *err) {
    struct disks *disks = ctx;
    struct disk *disk = &disks->disks[node];
    if (!disk->kept) return TRIB_OK;
    if (disk->full) return trib_fail(err, TRIB_IO, "the disk is full");
    bool fails = disk->fail_at > 0 && --disk->fail_at == 0;
    bool there = !fails || chance(&disks->t->rng, 0.5); /* nobody knows */
    for (size_t i = 0; there && i < count; i++) add(&disk->content, records[i]);
    return fails ? trib_fail(err, TRIB_IO, "the write failed") : TRIB_OK;
}

static enum trib_status take_checkpoint(void *ctx, const void *data, size_t bytes, struct trib_error *err) {
    (void)err;
    trib_buf_append(ctx, data, bytes);
    return TRIB_OK;
}

static enum trib_status idle_disk(void *ctx, size_t node, const struct trib_state *state,
                                  struct trib_error *err) {
    struct disk *disk = &((struct disks *)ctx)->disks[node];
    if (!disk->kept || disk->content.count < disk->checkpoint_every) return TRIB_OK;
    if (disk->content.count == 0 ||
        disk->content.records[disk->content.count - 1]->position != state->position)
        return TRIB_OK; /* what is not written yet does not belong in it */
    trib_buf_clear(&disk->content.checkpoint);
    struct trib_sink sink = {.write = take_checkpoint, .ctx = &disk->content.checkpoint};
    must(trib_state_save(state, &sink, err) == TRIB_OK);
    disk->content.checkpoint_position = state->position;
    drop_records(&disk->content);
    return TRIB_OK;
}

struct federation_disk disks_interface(struct disks *disks) {
    return (struct federation_disk){.ctx = disks, .open = open_disk, .write = write_disk, .idle = idle_disk};
}

/* ---- what happens to disks ---- */

void disk_wipe(struct disks *disks, size_t node) {
    release(&disks->disks[node].content);
}

void disk_backup(struct disks *disks, size_t node) {
    copy(&disks->disks[node].backup, &disks->disks[node].content);
    disks->disks[node].has_backup = true;
}

bool disk_has_backup(const struct disks *disks, size_t node) {
    return disks->disks[node].has_backup;
}

void disk_restore(struct disks *disks, size_t node) {
    copy(&disks->disks[node].content, &disks->disks[node].backup);
}

void disk_fail_at(struct disks *disks, size_t node, uint64_t operations) {
    disks->disks[node].fail_at = 1 + operations / 8;
}

void disk_fill(struct disks *disks, size_t node, bool full) {
    disks->disks[node].full = full && disks->disks[node].kept;
}

void disk_died(struct disks *disks, size_t node, bool power) {
    (void)power;
    disks->disks[node].fail_at = 0;
}

void disk_mend(struct disks *disks, size_t node) {
    disks->disks[node].full = false;
    disks->disks[node].fail_at = 0;
}

struct disks *disks_new(struct torture *t) {
    struct disks *disks = trib_alloc(sizeof *disks);
    must(disks != NULL);
    disks->t = t;
    for (size_t i = 0; i < t->drawn.nodes; i++) {
        struct disk *disk = &disks->disks[i];
        disk->kept = i <= t->drawn.edges || t->drawn.spool[i];
        disk->checkpoint_every = 10 + trib_rng_below(&t->rng, 200);
        trib_buf_init(&disk->content.checkpoint, 0);
        trib_buf_init(&disk->backup.checkpoint, 0);
    }
    return disks;
}

void disks_free(struct disks **disks) {
    if (*disks == NULL) return;
    for (size_t i = 0; i < NODES_MAX; i++) {
        release(&(*disks)->disks[i].content);
        release(&(*disks)->disks[i].backup);
    }
    trib_free(*disks);
    *disks = NULL;
}
