/* A spool on a disk that fails or loses its power at any operation: what can be loaded afterwards is what was
 * saved last, or what was being saved, whole. */
#include "shared/base/alloc.h"
#include "shared/store/spool.h"
#include "tests/support/cmocka.h"
#include "tests/support/simfs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { N = 600 }; /* parameters: a file of several sectors */

static const char plan[] = "codec.up: f16\n", schema[] = "w 600 0x0p+0\n";

static struct trib_text text(const char *words) {
    return (struct trib_text){words, strlen(words)};
}

static struct trib_state *empty(void) {
    struct trib_state *state;
    struct trib_state_limits limits = {0};
    assert_int_equal(trib_state_new(TRIB_ROLE_DEVICE, &limits, &state, NULL), TRIB_OK);
    return state;
}

static void apply(struct trib_state *state, struct trib_record *record) {
    struct trib_error err = {0};
    if (trib_state_apply(state, record, &err) != TRIB_OK) fail_msg("%s", err.text);
}

/* A device that has made so many updates. */
static struct trib_state *device(uint64_t updates) {
    struct trib_state *state = empty();
    struct trib_record id = {.kind = TRIB_REC_INCARNATION}, start = {.kind = TRIB_REC_START};
    trib_rec_set(&id, INCARNATION, incarnation, 7);
    apply(state, &id);
    trib_rec_set(&start, PLAN, plan, text(plan));
    trib_rec_set(&start, SCHEMA, schema, text(schema));
    apply(state, &start);
    for (uint64_t number = 1; number <= updates; number++) {
        float difference[N];
        for (size_t i = 0; i < N; i++) difference[i] = 0.1f * (float)(i + number);
        assert_int_equal(trib_state_gather(state, difference, NULL), TRIB_OK);
        struct trib_record forward = {.kind = TRIB_REC_FORWARD, .payload = trib_blob_new((size_t)2 * N)};
        assert_non_null(forward.payload);
        memset(trib_blob_mutable(forward.payload), (int)number, (size_t)2 * N);
        trib_rec_set(&forward, NUMBER, number, number);
        apply(state, &forward);
        trib_blob_unref(&forward.payload);
    }
    return state;
}

static bool same(const struct trib_state *a, const struct trib_state *b) {
    uint8_t x[TRIB_DIGEST_BYTES], y[TRIB_DIGEST_BYTES];
    assert_int_equal(trib_state_digest(a, x), TRIB_OK);
    assert_int_equal(trib_state_digest(b, y), TRIB_OK);
    return memcmp(x, y, sizeof x) == 0;
}

static struct trib_spool *open_on(struct simfs *disk) {
    struct trib_spool_options options = {.folder = "/spool", .files = simfs_files(disk)};
    struct trib_spool *spool = NULL;
    struct trib_error err = {0};
    if (trib_spool_open(&options, &spool, &err) != TRIB_OK) fail_msg("%s", err.text);
    return spool;
}

static enum trib_status save(struct trib_spool *spool, const struct trib_state *state) {
    return trib_spool_save(spool, "d", state, true, NULL);
}

/* Which of two states it has, by number; fails the test if neither. */
static int which(struct trib_spool *spool, struct trib_state *const states[2]) {
    struct trib_state *back = empty();
    struct trib_error err = {0};
    if (trib_spool_load(spool, "d", back, &err) != TRIB_OK) fail_msg("%s", err.text);
    int found = same(back, states[0]) ? 0 : same(back, states[1]) ? 1 : -1;
    trib_state_free(&back);
    assert_true(found >= 0);
    return found;
}

static void test_power_is_lost_at_any_moment(void **unused) {
    (void)unused;
    struct trib_state *states[] = {device(1), device(2)};
    uint64_t seen[2] = {0}, crashes = 0;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        for (uint64_t at = 1;; at++) {
            struct simfs *disk = simfs_new(seed);
            struct trib_spool *spool = open_on(disk);
            assert_int_equal(save(spool, states[0]), TRIB_OK);
            simfs_set_faults(disk, &(struct simfs_faults){.crash_at = at});
            bool saved = save(spool, states[1]) == TRIB_OK, crashed = simfs_is_cut(disk);
            simfs_cut(disk);
            trib_spool_close(&spool);
            simfs_crash(disk);
            spool = open_on(disk);
            int found = which(spool, states);
            assert_true(!saved || found == 1);
            seen[found]++;
            crashes += crashed;
            assert_int_equal(save(spool, states[1]), TRIB_OK); /* whatever lies about does not matter */
            assert_int_equal(which(spool, states), 1);
            trib_spool_close(&spool);
            simfs_free(&disk);
            if (!crashed) break;
        }
    }
    assert_true(crashes > 400 && seen[0] > 50 && seen[1] > 50);
    for (int i = 0; i < 2; i++) trib_state_free(&states[i]);
}

static void test_an_operation_fails(void **unused) {
    (void)unused;
    static const int errors[] = {EIO, ENOSPC, EROFS};
    struct trib_state *states[] = {device(1), device(2)};
    for (size_t e = 0; e < 3 * sizeof errors / sizeof errors[0]; e++) {
        uint64_t failures = 0;
        for (uint64_t at = 1;; at++) {
            struct simfs *disk = simfs_new(at);
            struct trib_spool *spool = open_on(disk);
            struct trib_error err = {0};
            assert_int_equal(save(spool, states[0]), TRIB_OK);
            simfs_set_faults(
                disk, &(struct simfs_faults){.fail_at = at, .error = errors[e / 3], .lasting = e % 3 == 0});
            bool saved = trib_spool_save(spool, "d", states[1], true, &err) == TRIB_OK;
            if (!saved) assert_non_null(strstr(err.text, strerror(errors[e / 3])));
            bool reached = simfs_counts(disk).failed > 0;
            simfs_set_faults(disk, NULL);
            if (e % 3 == 2) { /* and then the power goes too */
                simfs_cut(disk);
                trib_spool_close(&spool);
                simfs_crash(disk);
                spool = open_on(disk);
            }
            int found = which(spool, states);
            assert_true(!saved || found == 1);
            assert_int_equal(save(spool, states[1]), TRIB_OK);
            trib_spool_close(&spool);
            simfs_free(&disk);
            failures += !saved;
            if (!reached) break;
        }
        assert_true(failures >= 4); /* open, write, sync, rename or sync of the folder */
    }
    for (int i = 0; i < 2; i++) trib_state_free(&states[i]);
}

static void test_a_full_disk_keeps_what_it_has(void **unused) {
    (void)unused;
    struct trib_state *states[] = {device(1), device(2)};
    struct simfs *disk = simfs_new(3);
    struct trib_spool *spool = open_on(disk);
    assert_int_equal(save(spool, states[0]), TRIB_OK);
    uint64_t bytes = simfs_bytes(disk);
    simfs_set_faults(disk, &(struct simfs_faults){.limit_bytes = bytes + 1000});
    struct trib_error err = {0};
    assert_int_equal(trib_spool_save(spool, "d", states[1], true, &err), TRIB_IO);
    assert_non_null(strstr(err.text, "No space left"));
    assert_int_equal(simfs_bytes(disk), bytes); /* half a file is of no use */
    assert_int_equal(which(spool, states), 0);
    simfs_set_faults(disk, NULL);
    assert_int_equal(save(spool, states[1]), TRIB_OK);
    assert_int_equal(which(spool, states), 1);
    trib_spool_close(&spool);
    simfs_free(&disk);
    for (int i = 0; i < 2; i++) trib_state_free(&states[i]);
}

/* A file that cannot be read, or not held, is no damaged one. */
static void test_a_failed_load_changes_nothing(void **unused) {
    (void)unused;
    struct trib_state *states[] = {device(1), device(2)};
    struct simfs *disk = simfs_new(4);
    struct trib_spool *spool = open_on(disk);
    assert_int_equal(save(spool, states[0]), TRIB_OK);
    for (uint64_t at = 1;; at++) {
        struct trib_state *back = empty();
        simfs_set_faults(disk, &(struct simfs_faults){.fail_at = at, .error = EIO});
        enum trib_status status = trib_spool_load(spool, "d", back, NULL);
        simfs_set_faults(disk, NULL);
        trib_state_free(&back);
        assert_int_equal(which(spool, states), 0);
        if (status == TRIB_OK) break;
        assert_int_equal(status, TRIB_IO);
    }
    for (long countdown = 0;; countdown++) {
        struct trib_state *back = empty();
        trib_alloc_fail_after(countdown);
        enum trib_status status = trib_spool_load(spool, "d", back, NULL);
        trib_alloc_fail_after(-1);
        trib_state_free(&back);
        assert_int_equal(which(spool, states), 0);
        if (status == TRIB_OK) break;
        assert_int_equal(status, TRIB_NOMEM);
    }
    trib_alloc_fail_after(0);
    assert_int_equal(save(spool, states[1]), TRIB_NOMEM);
    trib_alloc_fail_after(-1);
    assert_int_equal(which(spool, states), 0);
    trib_spool_close(&spool);
    simfs_free(&disk);
    for (int i = 0; i < 2; i++) trib_state_free(&states[i]);
}

/* Without syncs: nothing of it waits for the disk, and what is there after a crash is one of all that were
 * saved, or damaged and set aside. */
static void test_unsynced(void **unused) {
    (void)unused;
    struct trib_state *states[] = {device(1), device(2)};
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct simfs *disk = simfs_new(seed);
        struct trib_spool_options options = {
            .folder = "/spool", .unsynced = true, .files = simfs_files(disk)};
        struct trib_spool *spool = NULL;
        assert_int_equal(trib_spool_open(&options, &spool, NULL), TRIB_OK);
        uint64_t before = simfs_counts(disk).syncs;
        for (int i = 0; i < 2; i++) assert_int_equal(save(spool, states[i]), TRIB_OK);
        assert_int_equal(simfs_counts(disk).syncs, before);
        simfs_cut(disk);
        trib_spool_close(&spool);
        simfs_crash(disk);
        spool = open_on(disk);
        struct trib_state *back = empty();
        enum trib_status status = trib_spool_load(spool, "d", back, NULL);
        assert_true(status == TRIB_NOT_FOUND || status == TRIB_CORRUPT ||
                    (status == TRIB_OK && (same(back, states[0]) || same(back, states[1]))));
        trib_state_free(&back);
        trib_spool_close(&spool);
        simfs_free(&disk);
    }
    for (int i = 0; i < 2; i++) trib_state_free(&states[i]);
}

/* A torn file under the right name, as a disk leaves that does not keep its word. */
static void test_a_disk_that_lies(void **unused) {
    (void)unused;
    struct trib_state *state = device(1);
    struct simfs *disk = simfs_new(5);
    struct trib_spool *spool = open_on(disk);
    assert_int_equal(save(spool, state), TRIB_OK);
    int64_t size = simfs_size(disk, "/spool/d.spool");
    assert_true(size > 1000 && simfs_cut_file(disk, "/spool/d.spool", (uint64_t)size / 2));
    struct trib_state *back = empty();
    assert_int_equal(trib_spool_load(spool, "d", back, NULL), TRIB_CORRUPT);
    trib_state_free(&back);
    assert_int_equal(simfs_size(disk, "/spool/d.spool"), -1);
    assert_int_equal(simfs_size(disk, "/spool/d.spool.damaged"), size / 2);
    trib_spool_close(&spool);
    simfs_free(&disk);
    trib_state_free(&state);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_power_is_lost_at_any_moment),
                                       cmocka_unit_test(test_an_operation_fails),
                                       cmocka_unit_test(test_a_full_disk_keeps_what_it_has),
                                       cmocka_unit_test(test_a_failed_load_changes_nothing),
                                       cmocka_unit_test(test_unsynced),
                                       cmocka_unit_test(test_a_disk_that_lies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
