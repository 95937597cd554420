/* Every operation on files and database and every allocation is made to fail, and the power goes at every
 * operation, while a store is opened, written to, checkpointed and read. After reopening on a sound disk,
 * everything that was reported written is there, whole and in order, nothing that was never handed over, and
 * what the store then calls its position survives the next crash. */
#include "shared/base/alloc.h"
#include "shared/store/sql.h"
#include "tests/support/cmocka.h"
#include "tests/support/simfs.h"
#include "tests/support/store_kit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
    return 0;
}

/* ---- the work during which something fails ---- */

enum { BYTES = 300 };
static const char path[] = "/node/store/journal.db",
                  segment_1[] = "/node/store/segments/0000000000000001.seg";

struct outcome {
    uint64_t reported;   /* position up to which writes returned TRIB_OK */
    uint64_t handed;     /* and up to which records were ever handed over */
    uint64_t checkpoint; /* the last one reported */
    bool all;            /* nothing failed */
};

static struct trib_store_options options_for(const struct simfs *disk) {
    return (struct trib_store_options){.path = path,
                                       .segment_bytes = 2500,
                                       .keep_checkpoints = 2,
                                       .vfs = simfs_vfs(disk),
                                       .files = simfs_files(disk)};
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

/* Open, groups, a checkpoint, more groups, close; thrice, so that opening what is there fails too. Segments
 * are rolled over, retired and written over meanwhile. */
static void work(const struct simfs *disk, struct outcome *o) {
    struct trib_store_options options = options_for(disk);
    for (int round = 0; round < 3; round++) {
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

/* Opens it on a disk without faults; returns its position. */
static uint64_t reopened(const struct simfs *disk, const struct outcome *o, const char *when, long at,
                         struct trib_store **store) {
    struct trib_store_options options = options_for(disk);
    struct trib_error err = {0};
    struct kit_seen seen;
    if (trib_store_open(&options, store, &err) != TRIB_OK)
        fail_msg("%s %ld: opening: %s", when, at, err.text);
    uint64_t position = trib_store_position(*store);
    if (position < o->reported || position > o->handed) {
        fail_msg("%s %ld: position %d, reported %d, handed over %d", when, at, (int)position,
                 (int)o->reported, (int)o->handed);
    }
    if (position != o->reported && position != o->handed) fail_msg("%s %ld: half a group is there", when, at);
    if (kit_recover(*store, BYTES, &seen, &err) != TRIB_OK)
        fail_msg("%s %ld: recovering: %s", when, at, err.text);
    if (seen.wrong || seen.checkpoint < o->checkpoint || seen.count != position - seen.checkpoint) {
        fail_msg("%s %ld: what is there is not what was written", when, at);
    }
    return position;
}

static enum trib_status oldest(void *ctx, const struct trib_store_checkpoint *it, struct trib_error *err) {
    uint64_t *position = ctx;
    (void)err;
    if (*position == UINT64_MAX) *position = it->position;
    return TRIB_OK;
}

/* From the oldest checkpoint on, or from the first record while there are too few to delete any. */
static void check_history(struct trib_store *store, const char *when, long at) {
    uint64_t from = UINT64_MAX;
    struct trib_error err = {0};
    struct kit_seen seen;
    enum trib_status status = trib_store_checkpoints(store, oldest, &from, &err);
    if (status == TRIB_OK && from == UINT64_MAX) from = 0;
    if (status == TRIB_OK) status = kit_replay(store, from, UINT64_MAX, BYTES, &seen, &err);
    if (status != TRIB_OK) fail_msg("%s %ld: replay: %s", when, at, err.text);
    if (seen.wrong || seen.count != trib_store_position(store) - from)
        fail_msg("%s %ld: what is replayed is not what was written", when, at);
}

static void crash(struct simfs *disk, struct trib_store **store) {
    simfs_cut(disk);
    trib_store_close(store);
    simfs_crash(disk);
}

static void check(struct simfs *disk, const struct outcome *o, const char *when, long at) {
    struct trib_store *store = NULL;
    struct trib_error err = {0};
    simfs_set_faults(disk, NULL);
    uint64_t position = reopened(disk, o, when, at, &store);
    check_history(store, when, at);
    crash(disk, &store);
    /* What it said after opening may have been acted upon. */
    struct outcome said = {.reported = position, .handed = position, .checkpoint = o->checkpoint};
    (void)reopened(disk, &said, when, at, &store);
    if (kit_write(store, 3, BYTES, &err) != TRIB_OK) fail_msg("%s %ld: writing on: %s", when, at, err.text);
    if (kit_checkpoint(store, position + 3, 100, &err) != TRIB_OK)
        fail_msg("%s %ld: checkpoint: %s", when, at, err.text);
    trib_store_close(&store);
}

/* One run of the work for every operation in it. */
static void run(const char *when, struct simfs_faults faults, uint64_t seed) {
    bool reached = true;
    long at = 1;
    for (; reached; at++) {
        struct simfs *disk = simfs_new(seed + (uint64_t)at);
        struct outcome o = {0};
        if (faults.crash_at > 0) faults.crash_at = (uint64_t)at;
        if (faults.fail_at > 0) faults.fail_at = (uint64_t)at;
        simfs_set_faults(disk, &faults);
        work(disk, &o);
        reached = simfs_is_cut(disk) || simfs_counts(disk).failed > 0;
        if (!reached) assert_true(o.all);
        if (simfs_is_cut(disk)) simfs_crash(disk);
        check(disk, &o, when, at);
        simfs_free(&disk);
    }
    print_message("%s: %ld operations\n", when, at - 1);
    assert_true(at > 200);
}

static void test_one_operation_fails(void **state) {
    (void)state;
    run("one fails", (struct simfs_faults){.fail_at = 1, .error = EIO}, 100);
    run("one finds the disk full", (struct simfs_faults){.fail_at = 1, .error = ENOSPC}, 200);
}

static void test_disk_goes_away(void **state) {
    (void)state;
    run("disk gone", (struct simfs_faults){.fail_at = 1, .error = EIO, .lasting = true}, 300);
}

static void test_disk_full_in_mid_write(void **state) {
    (void)state;
    run("disk full", (struct simfs_faults){.fail_at = 1, .error = ENOSPC, .lasting = true}, 400);
}

static void test_power_goes_at_every_operation(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 8; seed++)
        run("power gone", (struct simfs_faults){.crash_at = 1}, 1000 * seed);
}

/* Errors again and again, then the power; on the same disk, over many lives. */
static void test_many_lives(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct simfs *disk = simfs_new(seed);
        struct outcome o = {0};
        for (int life = 0; life < 20; life++) {
            simfs_set_faults(disk,
                             &(struct simfs_faults){.io_error = 2000,
                                                    .full = 2000,
                                                    .short_write = 100000,
                                                    .sync_error = 10000,
                                                    .crash_at = (seed * 37 + (uint64_t)life * 91) % 700});
            work(disk, &o);
            if (simfs_is_cut(disk)) simfs_crash(disk);
            simfs_set_faults(disk, NULL);
            struct trib_store *store = NULL;
            o.reported = o.handed = reopened(disk, &o, "life", life, &store);
            check_history(store, "life", life);
            crash(disk, &store);
        }
        simfs_free(&disk);
    }
}

static void test_every_allocation_fails(void **state) {
    (void)state;
    for (int whose = 0; whose < 2; whose++) {
        bool all = false;
        long step = whose == 0 ? 1 : 7; /* SQLite makes thousands */
        long at = 0;
        for (; !all; at += step) {
            struct simfs *disk = simfs_new((uint64_t)at);
            struct outcome o = {0};
            if (whose == 0) trib_alloc_fail_after(at);
            if (whose == 1) memory_countdown = at;
            work(disk, &o);
            trib_alloc_fail_after(-1);
            memory_countdown = -1;
            check(disk, &o, "allocation", at);
            simfs_free(&disk);
            all = o.all;
        }
        assert_true(at > 50);
    }
}

/* ---- the journal's files cut at every length ---- */

static void test_truncated_files(void **state) {
    (void)state;
    struct simfs *whole = simfs_new(1);
    struct trib_store_options options = options_for(whole);
    struct trib_store *store = NULL;
    struct trib_error err = {0};
    options.segment_bytes = 0;
    assert_int_equal(trib_store_open(&options, &store, &err), TRIB_OK);
    for (int i = 0; i < 3; i++) assert_int_equal(kit_write(store, 3, 40, &err), TRIB_OK);
    trib_store_close(&store);
    const char *const names[] = {path, segment_1};
    for (size_t i = 0; i < 2; i++) {
        int64_t size = simfs_size(whole, names[i]);
        assert_true(size > 0);
        for (int64_t left = 1; left < size; left += 1 + size / 200) {
            struct kit_seen seen = {0};
            struct simfs *cut = simfs_copy(whole, 2);
            assert_true(simfs_cut_file(cut, names[i], (uint64_t)left));
            options = options_for(cut);
            enum trib_status status = trib_store_open(&options, &store, &err);
            if (status == TRIB_OK) status = kit_recover(store, 40, &seen, &err);
            trib_store_close(&store);
            assert_false(seen.wrong);
            bool unharmed = status == TRIB_OK && seen.count == 9; /* what was cut off held no row */
            if (status != TRIB_CORRUPT && !unharmed)
                fail_msg("%s cut to %ld: %s, %zu records", names[i], (long)left, trib_status_name(status),
                         (size_t)seen.count);
            simfs_free(&cut);
        }
    }
    simfs_free(&whole);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_operation_fails),
        cmocka_unit_test(test_disk_goes_away),
        cmocka_unit_test(test_disk_full_in_mid_write),
        cmocka_unit_test(test_power_goes_at_every_operation),
        cmocka_unit_test(test_many_lives),
        cmocka_unit_test(test_every_allocation_fails),
        cmocka_unit_test(test_truncated_files),
    };
    return cmocka_run_group_tests(tests, set_up_all, NULL);
}
