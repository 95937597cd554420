/* Nodes of a federation find their stores damaged when they come back: they go on from what is sound, lost
 * records void what hung on them, and parents and children take such a node for somebody new. The real store
 * and ledger on simulated disks. */
#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "shared/ledger/ledger.h"
#include "tests/support/cmocka.h"
#include "tests/support/federation.h"
#include "tests/support/simfs.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

enum { EDGES = 2, DEVICES = 6, STORES = 1 + EDGES, CHECKPOINT = 60, PAGE = 1024 };
static const char path[] = "/store/node.db";

struct disk {
    struct simfs *fs;
    struct trib_ledger *ledger;
    struct trib_store *store;
    struct trib_store_damage damage; /* of the last repair */
    unsigned repairs, renewals, failures;
    uint64_t checkpoint;
    bool suspect; /* a write found the database malformed */
};

struct disks {
    struct disk at[STORES];
    struct federation *fed;
};

/* NULL: a device, which has none. */
static struct disk *disk_of(void *disks, size_t node) {
    return node < STORES ? &((struct disks *)disks)->at[node] : NULL;
}

static void close_store(struct disk *disk) {
    trib_store_close(&disk->store);
    trib_ledger_free(&disk->ledger);
}

static struct trib_store_options options_for(const struct disk *disk) {
    return (struct trib_store_options){.path = path,
                                       .segment_bytes = 20000,
                                       .keep_checkpoints = 2,
                                       .files = simfs_files(disk->fs),
                                       .vfs = simfs_vfs(disk->fs)};
}

static enum trib_status ignore_checkpoint(void *ctx, uint64_t position, const struct trib_feed *feed,
                                          struct trib_error *err) {
    (void)ctx;
    (void)position;
    (void)feed;
    (void)err;
    return TRIB_OK;
}

static enum trib_status ignore_record(void *ctx, const struct trib_record *record, struct trib_error *err) {
    (void)ctx;
    (void)record;
    (void)err;
    return TRIB_OK;
}

static enum trib_status repair(struct disk *disk, const struct trib_store_options *options,
                               struct trib_error *err) {
    trib_store_close(&disk->store);
    enum trib_status status = trib_store_repair(options, true, &disk->damage, err);
    trib_ledger_free(&disk->ledger);
    disk->repairs += status == TRIB_OK;
    disk->suspect = false;
    return status;
}

/* As shared/daemon/node_store.c does it. A state that was half loaded is of no use, so what is sound is found
 * out before it is given to one. */
static enum trib_status open_sound(struct disk *disk, const char *role, struct trib_error *err) {
    for (int turn = 0;; turn++) {
        struct trib_ledger_options ledger = {.role = role, .node = role, .build = "", .environment = ""};
        if (trib_ledger_new(&ledger, &disk->ledger, err) != TRIB_OK) return TRIB_NOMEM;
        struct trib_store_options options = options_for(disk);
        options.projection = trib_ledger_projection(disk->ledger);
        enum trib_status status = disk->suspect ? TRIB_CORRUPT : trib_store_open(&options, &disk->store, err);
        if (status == TRIB_OK)
            status = trib_store_recover(disk->store, ignore_checkpoint, ignore_record, NULL, err);
        if (status != TRIB_CORRUPT || turn == 3) return status;
        if ((status = repair(disk, &options, err)) != TRIB_OK) return status;
    }
}

static enum trib_status open_disk(void *ctx, size_t node, struct trib_state *state, struct trib_error *err) {
    struct disk *disk = disk_of(ctx, node);
    if (node >= STORES) return TRIB_OK;
    enum trib_status status = open_sound(disk, node == FED_CLOUD ? "cloud" : "edge", err);
    return status == TRIB_OK ? trib_store_recover(disk->store, trib_state_take_checkpoint,
                                                  trib_state_take_record, state, err)
                             : status;
}

static bool lost(void *ctx, size_t node) {
    struct disk *disk = disk_of(ctx, node);
    bool is = node < STORES && trib_store_has_lost(disk->store);
    if (is) disk->renewals++;
    return is;
}

static enum trib_status write_disk(void *ctx, size_t node, const struct trib_record *const *records,
                                   size_t count, struct trib_error *err) {
    struct disk *disk = disk_of(ctx, node);
    if (node >= STORES) return TRIB_OK;
    struct trib_record *group = trib_alloc_array(count, sizeof *group);
    for (size_t i = 0; i < count; i++) group[i] = *records[i];
    enum trib_status status = trib_store_write(disk->store, group, count, err);
    trib_free(group);
    disk->suspect = status == TRIB_CORRUPT;
    return status;
}

static enum trib_status idle_disk(void *ctx, size_t node, const struct trib_state *state,
                                  struct trib_error *err) {
    struct disk *disk = disk_of(ctx, node);
    struct trib_sink sink;
    if (node >= STORES || state->position != trib_store_position(disk->store) ||
        state->position < disk->checkpoint + CHECKPOINT)
        return TRIB_OK;
    disk->checkpoint = state->position;
    enum trib_status status = trib_store_checkpoint_begin(disk->store, state->position, &sink, err);
    if (status == TRIB_OK) status = trib_state_save(state, &sink, err);
    if (status == TRIB_OK) status = trib_store_checkpoint_commit(disk->store, err);
    disk->suspect = status == TRIB_CORRUPT;
    return status;
}

static void close_disk(void *ctx, size_t node) {
    struct disk *disk = disk_of(ctx, node);
    if (node < STORES) close_store(disk);
}

/* ---- stopped and started ---- */

static void comes_back(struct federation *fed, struct disk *disk, size_t node) {
    struct trib_error err = {0};
    if (!federation_start(fed, node, &err)) fail_msg("%s: %s", federation_name(fed, node), err.text);
    if (node == FED_CLOUD && !federation_state(fed, node)->started) federation_begin_run(fed);
    disk->checkpoint = 0;
}

/* Reading came across nothing, and a write did: SQLite's own pages. */
static void write_failed(void *ctx, size_t node) {
    struct disks *disks = ctx;
    struct disk *disk = &disks->at[node];
    if (!disk->suspect) fail_msg("%s: a write failed on a sound disk", federation_name(disks->fed, node));
    disk->failures++;
    federation_stop(disks->fed, node, false);
    comes_back(disks->fed, disk, node);
}

/* ---- the problem ---- */

static uint64_t train(void *ctx, size_t device, uint64_t version, const float *G, size_t n, float *difference,
                      struct trib_submission *submission) {
    (void)ctx;
    (void)version;
    for (size_t i = 0; i < n; i++)
        difference[i] = 0.2f * ((float)((device * 7 + i * 3) % 11) * 0.1f - 0.5f - G[i]);
    submission->samples = submission->weight = 100;
    submission->steps = 10;
    submission->loss = 1.0f;
    return 200 + 50 * device;
}

static struct federation *start(struct disks *disks, uint64_t seed) {
    *disks = (struct disks){0};
    for (size_t i = 0; i < STORES; i++) {
        disks->at[i].fs = simfs_new(seed + i);
        simfs_format(disks->at[i].fs, path, PAGE);
    }
    struct federation_disk disk = {.ctx = disks,
                                   .open = open_disk,
                                   .lost = lost,
                                   .write = write_disk,
                                   .idle = idle_disk,
                                   .close = close_disk};
    struct federation_options options = {.seed = seed,
                                         .plan = "data.devices: 6\n",
                                         .schema = "a.weight 20x10 0x1p-3\n",
                                         .edges = EDGES,
                                         .devices = DEVICES,
                                         .latency_ms = 5,
                                         .jitter_ms = 10,
                                         .commit_ms = 2,
                                         .lose = 0.01,
                                         .disk = &disk,
                                         .hooks = {.ctx = disks, .failed = write_failed},
                                         .train = train};
    return disks->fed = federation_new(&options);
}

static void end(struct federation *fed, struct disks *disks) {
    federation_free(&fed);
    for (size_t i = 0; i < STORES; i++) {
        close_store(&disks->at[i]);
        simfs_free(&disks->at[i].fs);
    }
}

static void damage(struct simfs *fs, struct trib_rng *rng) {
    size_t files = 0;
    while (simfs_name(fs, files) != NULL) files++;
    for (uint64_t n = 1 + trib_rng_below(rng, 3); n > 0; n--) {
        const char *name = simfs_name(fs, trib_rng_below(rng, files));
        int64_t size = simfs_size(fs, name);
        /* The first bytes of the database and of segments say whose they are (a newer program's are left
         * alone), and a broken write-ahead log may look like a crash. */
        int64_t from = strcmp(name, path) == 0 ? 100 : strstr(name, "segments/") != NULL ? 8 : 0;
        if (size <= from || strstr(name, "-wal") != NULL || strstr(name, "damaged") != NULL) continue;
        uint8_t bits = (uint8_t)(1 + trib_rng_below(rng, 255));
        int64_t at = from + (int64_t)trib_rng_below(rng, (uint64_t)(size - from));
        (void)simfs_damage(fs, name, at, bits);
    }
}

static int64_t number(const struct disk *disk, const char *sql) {
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    int64_t out = -1;
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, simfs_vfs(disk->fs)), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK) fail_msg("%s", sqlite3_errmsg(db));
    if (sqlite3_step(stmt) == SQLITE_ROW) out = sqlite3_column_int64(stmt, 0);
    (void)sqlite3_finalize(stmt);
    (void)sqlite3_close(db);
    return out;
}

/* The ledger says nothing that the node does not stand by. */
static void check_ledger(const struct federation *fed, const struct disk *disk, size_t node) {
    const struct trib_state *state = federation_state(fed, node);
    if (federation_writing(fed, node) || federation_committed(fed, node) != state->position) return;
    /* Its own pages have no checksums, and what is damaged in them comes to light when they are written. */
    if (number(disk, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'") != 0)
        return;
    assert_int_equal(
        number(disk, "SELECT count(*) FROM (SELECT 1 FROM contributions WHERE version IS NOT NULL GROUP BY "
                     "run_id, node, incarnation, sequence HAVING count(*) > 1)"),
        0);
    int64_t newest =
        number(disk, "SELECT coalesce(max(version), 0) FROM versions WHERE run_id = (SELECT max(run_id) FROM "
                     "runs WHERE state <> 'lost')");
    if ((uint64_t)newest > state->version)
        fail_msg("the ledger is at version %d, the node at %d", (int)newest, (int)state->version);
}

static bool drained(struct federation *fed, void *ctx) {
    (void)ctx;
    for (size_t i = 1; i < federation_node_count(fed); i++) {
        const struct trib_state *state = federation_state(fed, i);
        for (size_t k = 0; k < state->held_count; k++)
            if (!state->held[k].acknowledged) return false;
    }
    return true;
}

static void test_damaged_stores(void **unused) {
    (void)unused;
    unsigned repairs = 0, renewals = 0, clean = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct disks disks;
        struct federation *fed = start(&disks, seed);
        struct trib_rng rng = trib_rng_seed(seed, 9);
        uint64_t now = 1000000;
        for (int turn = 0; turn < 6; turn++) {
            federation_run(fed, now += 3000 + trib_rng_below(&rng, 4000), NULL, NULL);
            size_t node = trib_rng_below(&rng, STORES);
            struct disk *disk = &disks.at[node];
            unsigned before = disk->repairs, renewed = disk->renewals;
            uint64_t incarnation = federation_state(fed, node)->incarnation;
            uint64_t position = federation_committed(fed, node);
            federation_stop(fed, node, false);
            damage(disk->fs, &rng);
            comes_back(fed, disk, node);
            const struct trib_state *state = federation_state(fed, node);
            bool shorter = federation_committed(fed, node) < position;
            if (disk->renewals == renewed) assert_false(shorter); /* nothing is lost without a word */
            if (disk->renewals != renewed && state->started)
                assert_int_not_equal(state->incarnation, incarnation);
            repairs += disk->repairs - before;
            renewals += disk->renewals - renewed;
            clean += disk->repairs > before && disk->renewals == renewed;
            federation_check(fed, "after a repair");
        }
        uint64_t version = federation_state(fed, FED_CLOUD)->version;
        federation_run(fed, now += 60000, NULL, NULL);
        federation_check(fed, "later");
        if (federation_state(fed, FED_CLOUD)->version < version + 20)
            fail_msg("seed %d: it does not go on after version %d", (int)seed, (int)version);
        federation_calm(fed);
        federation_run(fed, now += 200000, drained, NULL);
        if (!drained(fed, NULL)) fail_msg("seed %d: something is under way still", (int)seed);
        federation_check(fed, "drained");
        for (size_t i = 0; i < STORES; i++) check_ledger(fed, &disks.at[i], i);
        end(fed, &disks);
    }
    print_message("%u repairs, %u of them lost nothing; %u new incarnations\n", repairs, clean, renewals);
    assert_true(repairs > 40 && clean > 5 && renewals > 20);
}

/* What a page of the database begins with is wrong, in tables and indices that are only written: a write says
 * so, and the store is repaired then. */
static void test_writes_find_the_damage(void **unused) {
    (void)unused;
    unsigned failures = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct disks disks;
        struct federation *fed = start(&disks, seed);
        struct disk *disk = &disks.at[FED_CLOUD];
        struct trib_rng rng = trib_rng_seed(seed, 10);
        federation_run(fed, 1010000, NULL, NULL);
        uint64_t version = federation_state(fed, FED_CLOUD)->version;
        federation_stop(fed, FED_CLOUD, false);
        int64_t pages = simfs_size(disk->fs, path) / PAGE;
        for (int n = 0; n < 3; n++) {
            int64_t page = 1 + (int64_t)trib_rng_below(&rng, (uint64_t)pages - 1);
            (void)simfs_damage(disk->fs, path, page * PAGE + (int64_t)trib_rng_below(&rng, 8), 0x55);
        }
        comes_back(fed, disk, FED_CLOUD);
        federation_run(fed, 1040000, NULL, NULL);
        failures += disk->failures;
        federation_check(fed, "after a repair");
        if (federation_state(fed, FED_CLOUD)->version < version / 2 + 10)
            fail_msg("seed %d: it does not go on after version %d", (int)seed, (int)version);
        end(fed, &disks);
    }
    print_message("%u writes failed\n", failures);
    assert_true(failures > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writes_find_the_damage),
        cmocka_unit_test(test_damaged_stores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
