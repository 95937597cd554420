/* The nodes' disks: the real store with the ledger's tables, or a device's spool, on simulated disks. A node
 * that dies leaves its disk as it was at that moment; if the power goes, what was not synced may go with it.
 */
#include "tests/torture/torture.h"

#include "shared/base/alloc.h"
#include "shared/ledger/ledger.h"
#include "shared/store/spool.h"
#include "tests/support/simfs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STORE_PATH "/store/node.db"
#define SPOOL_PATH "/spool"

struct disk {
    enum { KEEPS_NOTHING, KEEPS_STORE, KEEPS_SPOOL } kind;
    struct simfs *fs, *backup;
    struct simfs_faults faults;
    /* a store */
    struct trib_store_options options;
    struct trib_store *store;
    struct trib_ledger *ledger;
    uint64_t checkpoint_every, since_checkpoint;
    bool checkpointing;
    /* a spool */
    struct trib_spool *spool;
    struct trib_buf packed;
    bool with_model;
};

struct disks {
    struct torture *t;
    struct simfs *empty; /* a store with its tables and nothing in them */
    struct disk disks[NODES_MAX];
};

static void must(bool good) {
    if (!good) abort();
}

/* ---- stores ---- */

static enum trib_status open_store(struct disk *disk, const char *name, struct trib_error *err) {
    struct trib_ledger_options ledger = {
        .role = "node", .node = name, .build = TRIB_VERSION, .environment = ""};
    enum trib_status status = trib_ledger_new(&ledger, &disk->ledger, err);
    if (status != TRIB_OK) return status;
    struct trib_store_options options = disk->options;
    options.path = STORE_PATH;
    options.files = simfs_files(disk->fs);
    options.vfs = simfs_vfs(disk->fs);
    options.projection = trib_ledger_projection(disk->ledger);
    return trib_store_open(&options, &disk->store, err);
}

static enum trib_status write_store(struct disk *disk, const struct trib_record *const *records, size_t count,
                                    struct trib_error *err) {
    struct trib_record *group = trib_alloc_array(count, sizeof *group);
    must(group != NULL);
    for (size_t i = 0; i < count; i++) group[i] = *records[i];
    enum trib_status status = trib_store_write(disk->store, group, count, err);
    trib_free(group);
    disk->since_checkpoint += count;
    return status;
}

/* In two halves, as in the daemons: the state is copied, and later the copy becomes the checkpoint. One that
 * fails is not missed; what cannot be written after it is. */
static enum trib_status checkpoint_store(struct disk *disk, const struct trib_state *state,
                                         struct trib_error *err) {
    if (disk->checkpointing) {
        disk->checkpointing = false;
        if (trib_store_checkpoint_commit(disk->store, err) != TRIB_OK) disk->since_checkpoint = 0;
    } else if (disk->since_checkpoint >= disk->checkpoint_every &&
               state->position == trib_store_position(disk->store)) {
        struct trib_sink sink;
        disk->since_checkpoint = 0;
        if (trib_store_checkpoint_begin(disk->store, state->position, &sink, err) == TRIB_OK)
            disk->checkpointing = trib_state_save(state, &sink, err) == TRIB_OK;
        if (!disk->checkpointing) trib_store_checkpoint_abort(disk->store);
    }
    return simfs_is_cut(disk->fs) ? trib_fail(err, TRIB_IO, "the power went") : TRIB_OK;
}

/* ---- spools ---- */

static enum trib_status open_spool(struct disk *disk, struct trib_error *err) {
    struct trib_spool_options options = {.folder = SPOOL_PATH, .files = simfs_files(disk->fs)};
    return trib_spool_open(&options, &disk->spool, err);
}

static enum trib_status load_spool(struct disk *disk, const char *name, struct trib_state *state,
                                   struct trib_error *err) {
    enum trib_status status = open_spool(disk, err);
    if (status == TRIB_OK) status = trib_spool_load(disk->spool, name, state, err);
    return status == TRIB_NOT_FOUND ? TRIB_OK : status;
}

/* ---- as the federation sees them ---- */

/* After a kill the disk holds whatever was written, synced or not. */
static void revive(struct disks *disks, struct disk *disk) {
    struct simfs *same = simfs_copy(disk->fs, trib_rng_u64(&disks->t->rng));
    simfs_free(&disk->fs);
    disk->fs = same;
    disk->faults.crash_at = 0;
    simfs_set_faults(disk->fs, &disk->faults);
}

static enum trib_status open_disk(void *ctx, size_t node, struct trib_state *state, struct trib_error *err) {
    struct disks *disks = ctx;
    struct disk *disk = &disks->disks[node];
    const char *name = node == FED_CLOUD ? "cloud" : "node";
    if (disk->kind == KEEPS_NOTHING) return TRIB_OK;
    if (simfs_is_cut(disk->fs)) revive(disks, disk);
    if (disk->kind == KEEPS_SPOOL) return load_spool(disk, name, state, err);
    enum trib_status status = open_store(disk, name, err);
    if (status == TRIB_OK)
        status =
            trib_store_recover(disk->store, trib_state_take_checkpoint, trib_state_take_record, state, err);
    disk->checkpointing = false;
    return status;
}

static void begin_write(void *ctx, size_t node, const struct trib_state *state) {
    struct disk *disk = &((struct disks *)ctx)->disks[node];
    struct trib_error err;
    if (disk->kind != KEEPS_SPOOL) return;
    must(trib_spool_pack(state, disk->with_model, &disk->packed, &err) == TRIB_OK);
}

static enum trib_status write_disk(void *ctx, size_t node, const struct trib_record *const *records,
                                   size_t count, struct trib_error *err) {
    struct disk *disk = &((struct disks *)ctx)->disks[node];
    if (disk->kind == KEEPS_NOTHING) return TRIB_OK;
    if (disk->kind == KEEPS_STORE) return write_store(disk, records, count, err);
    enum trib_status status = trib_spool_write(disk->spool, "node", &disk->packed, err);
    return status == TRIB_OK ? trib_spool_settle(disk->spool, err) : status;
}

static enum trib_status idle_disk(void *ctx, size_t node, const struct trib_state *state,
                                  struct trib_error *err) {
    struct disk *disk = &((struct disks *)ctx)->disks[node];
    return disk->kind == KEEPS_STORE ? checkpoint_store(disk, state, err) : TRIB_OK;
}

/* Nodes are killed: nothing is written while they go. */
static void close_disk(void *ctx, size_t node) {
    struct disk *disk = &((struct disks *)ctx)->disks[node];
    if (disk->kind == KEEPS_NOTHING) return;
    simfs_cut(disk->fs);
    trib_store_close(&disk->store);
    trib_ledger_free(&disk->ledger);
    trib_spool_close(&disk->spool);
}

struct federation_disk disks_interface(struct disks *disks) {
    return (struct federation_disk){.ctx = disks,
                                    .open = open_disk,
                                    .begin = begin_write,
                                    .write = write_disk,
                                    .idle = idle_disk,
                                    .close = close_disk};
}

/* ---- what happens to disks ---- */

static void replace(struct disk *disk, struct simfs *fs) {
    simfs_free(&disk->fs);
    disk->fs = fs;
    disk->faults.crash_at = disk->faults.fail_at = 0;
    simfs_set_faults(disk->fs, &disk->faults);
}

void disk_wipe(struct disks *disks, size_t node) {
    struct disk *disk = &disks->disks[node];
    uint64_t seed = trib_rng_u64(&disks->t->rng);
    if (disk->kind == KEEPS_NOTHING) return;
    replace(disk, disk->kind == KEEPS_STORE ? simfs_copy(disks->empty, seed) : simfs_new(seed));
}

void disk_backup(struct disks *disks, size_t node) {
    struct disk *disk = &disks->disks[node];
    simfs_free(&disk->backup);
    disk->backup = simfs_copy(disk->fs, 1);
}

bool disk_has_backup(const struct disks *disks, size_t node) {
    return disks->disks[node].backup != NULL;
}

void disk_restore(struct disks *disks, size_t node) {
    struct disk *disk = &disks->disks[node];
    replace(disk, simfs_copy(disk->backup, trib_rng_u64(&disks->t->rng)));
}

void disk_fail_at(struct disks *disks, size_t node, uint64_t operations) {
    static const int errors[] = {EIO, ENOSPC, EROFS};
    struct disk *disk = &disks->disks[node];
    if (disk->kind == KEEPS_NOTHING || simfs_is_cut(disk->fs)) return;
    disk->faults.crash_at = disk->faults.fail_at = 0;
    if (chance(&disks->t->rng, 0.6)) {
        disk->faults.crash_at = operations;
    } else {
        disk->faults.fail_at = operations;
        disk->faults.error = errors[pick(&disks->t->rng, 3)];
        disk->faults.lasting = chance(&disks->t->rng, 0.5);
    }
    simfs_set_faults(disk->fs, &disk->faults);
}

void disk_fill(struct disks *disks, size_t node, bool full) {
    struct disk *disk = &disks->disks[node];
    if (disk->kind == KEEPS_NOTHING) return;
    disk->faults.limit_bytes = full ? simfs_bytes(disk->fs) + pick(&disks->t->rng, 30000) : 0;
    if (!simfs_is_cut(disk->fs)) simfs_set_faults(disk->fs, &disk->faults);
}

void disk_died(struct disks *disks, size_t node, bool power) {
    struct disk *disk = &disks->disks[node];
    if (disk->kind == KEEPS_NOTHING) return;
    disk->faults.crash_at = disk->faults.fail_at = 0;
    if (!power || disk->options.durability == TRIB_DURABLE_NONE)
        return; /* opening it finds all that was written */
    simfs_crash(disk->fs);
    simfs_set_faults(disk->fs, &disk->faults);
}

void disk_mend(struct disks *disks, size_t node) {
    struct disk *disk = &disks->disks[node];
    if (disk->kind == KEEPS_NOTHING) return;
    disk->faults = (struct simfs_faults){0};
    if (!simfs_is_cut(disk->fs)) simfs_set_faults(disk->fs, &disk->faults);
}

/* ---- making ---- */

/* A store that was opened once: copying it is cheaper than making the ledger's tables again. */
static struct simfs *empty_store(void) {
    struct disk disk = {.fs = simfs_new(1)};
    struct trib_error err;
    simfs_format(disk.fs, STORE_PATH, 1024);
    must(open_store(&disk, "", &err) == TRIB_OK);
    trib_store_close(&disk.store);
    trib_ledger_free(&disk.ledger);
    return disk.fs;
}

static void make_store(struct disks *disks, struct disk *disk) {
    struct trib_rng *rng = &disks->t->rng;
    disk->kind = KEEPS_STORE;
    disk->fs = simfs_copy(disks->empty, trib_rng_u64(rng));
    disk->options.segment_bytes = 256 << pick(rng, 12);
    disk->options.keep_checkpoints = pick(rng, 3);
    if (chance(rng, 0.1)) disk->options.durability = TRIB_DURABLE_NONE;
    disk->checkpoint_every = 10 + trib_rng_below(rng, 200);
}

struct disks *disks_new(struct torture *t) {
    struct disks *disks = trib_alloc(sizeof *disks);
    must(disks != NULL);
    disks->t = t;
    disks->empty = empty_store();
    for (size_t i = 0; i < t->drawn.nodes; i++) {
        struct disk *disk = &disks->disks[i];
        trib_buf_init(&disk->packed, 0);
        if (i <= t->drawn.edges) make_store(disks, disk);
        if (i <= t->drawn.edges || !t->drawn.spool[i]) continue;
        disk->kind = KEEPS_SPOOL;
        disk->fs = simfs_new(trib_rng_u64(&t->rng));
        disk->with_model = chance(&t->rng, 0.5);
    }
    return disks;
}

void disks_free(struct disks **disks) {
    if (*disks == NULL) return;
    for (size_t i = 0; i < NODES_MAX; i++) {
        simfs_free(&(*disks)->disks[i].fs);
        simfs_free(&(*disks)->disks[i].backup);
        trib_buf_release(&(*disks)->disks[i].packed);
    }
    simfs_free(&(*disks)->empty);
    trib_free(*disks);
    *disks = NULL;
}
