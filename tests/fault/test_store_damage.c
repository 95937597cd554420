/* Flipped bits, cut and missing files: noticed, set aside, and what can be proved good is kept. */
#include "shared/store/sql.h"
#include "tests/support/cmocka.h"
#include "tests/support/simfs.h"
#include "tests/support/store_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { BYTES = 100, LAST = 40, NEWEST = 33, OLDER = 23 };
static const char path[] = "/s/journal.db";
#define SEGMENT(n)    "/s/segments/000000000000000" #n ".seg"
#define CHECKPOINT(n) "/s/checkpoints/000000000000000" #n ".ckp"

static uint64_t segment_bytes; /* small ones: a few records each; else all in one */

static struct trib_store_options options_for(const struct simfs *disk) {
    return (struct trib_store_options){.path = path,
                                       .segment_bytes = segment_bytes,
                                       .keep_checkpoints = 2,
                                       .vfs = simfs_vfs(disk),
                                       .files = simfs_files(disk)};
}

/* 40 records in groups of 5; checkpoints at 13, 23 and 33, of which two stay. */
static struct simfs *make_disk(void) {
    struct simfs *disk = simfs_new(1);
    simfs_format(disk, path, 1024);
    struct trib_store_options options = options_for(disk);
    struct trib_store *store = NULL;
    struct trib_error err = {0};
    if (trib_store_open(&options, &store, &err) != TRIB_OK) fail_msg("%s", err.text);
    for (uint64_t position = 5; position <= LAST; position += 5) {
        if (kit_write(store, 5, BYTES, &err) != TRIB_OK) fail_msg("%s", err.text);
        if (position % 10 != 5 || position == 5) continue;
        if (kit_checkpoint(store, position - 2, 3000, &err) != TRIB_OK) fail_msg("%s", err.text);
    }
    trib_store_close(&store);
    return disk;
}

static enum trib_status open_and_recover(const struct simfs *disk, struct trib_store **store,
                                         struct kit_seen *seen, struct trib_error *err) {
    struct trib_store_options options = options_for(disk);
    enum trib_status status = trib_store_open(&options, store, err);
    if (status == TRIB_OK) status = kit_recover(*store, BYTES, seen, err);
    if (status != TRIB_OK) trib_store_close(store);
    return status;
}

/* As a node does it: opens, repairs what is refused as corrupt, opens again. *lost: whether it must take a
 * new incarnation. Returns the position. */
static uint64_t settle(const struct simfs *disk, bool *lost, struct trib_store_damage *damage) {
    struct trib_store_options options = options_for(disk);
    struct trib_error err = {0};
    for (int turn = 0; turn < 4; turn++) {
        struct trib_store *store = NULL;
        struct kit_seen seen;
        enum trib_status status = open_and_recover(disk, &store, &seen, &err);
        if (status == TRIB_OK) {
            uint64_t position = trib_store_position(store);
            assert_false(seen.wrong);
            assert_int_equal(seen.count, position - seen.checkpoint);
            *lost = trib_store_has_lost(store);
            trib_store_close(&store);
            return position;
        }
        if (status != TRIB_CORRUPT) fail_msg("%s", err.text);
        if (trib_store_repair(&options, true, damage, &err) != TRIB_OK) fail_msg("%s", err.text);
        assert_true(damage->found);
    }
    fail_msg("repaired again and again: %s", err.text);
    return 0;
}

static char *text_of(const struct simfs *disk, const char *folder, const char *name) {
    static char text[20000];
    char file[700];
    const struct trib_file_ops *files = simfs_files(disk);
    (void)snprintf(file, sizeof file, "%s/%s", folder, name);
    int fd = files->open(files->ctx, file, O_RDONLY, 0);
    if (fd < 0) fail_msg("no %s", file);
    ssize_t got = files->read(files->ctx, fd, text, sizeof text - 1, 0);
    assert_true(got >= 0);
    text[got] = 0;
    assert_int_equal(files->close(files->ctx, fd), 0);
    return text;
}

static void expect(const struct simfs *disk, uint64_t kept, bool must_renew, const char *words) {
    bool lost = false;
    struct trib_store_damage damage = {.found = false};
    uint64_t position = settle(disk, &lost, &damage);
    assert_true(damage.found);
    assert_int_equal(position, kept);
    assert_int_equal(damage.kept, kept);
    assert_int_equal(lost, must_renew);
    assert_int_equal(damage.lost, must_renew);
    if (strstr(damage.what, words) == NULL) fail_msg("\"%s\" is not in: %s", words, damage.what);
    assert_non_null(strstr(text_of(disk, damage.folder, "report.txt"), words));
}

static const char *newest_segment(const struct simfs *disk) {
    const char *newest = NULL;
    for (size_t i = 0; simfs_name(disk, i) != NULL; i++) {
        const char *name = simfs_name(disk, i);
        if (strstr(name, ".seg") != NULL && (newest == NULL || strcmp(name, newest) > 0)) newest = name;
    }
    return newest;
}

/* ---- one damage each ---- */

static void test_older_checkpoint_takes_over(void **state) {
    struct simfs *disk = simfs_copy(*state, 2);
    assert_true(simfs_damage(disk, CHECKPOINT(3), 700, 8));
    expect(disk, LAST, false, "checkpoint of position 33");
    assert_int_equal(simfs_size(disk, CHECKPOINT(3)), -1);
    assert_int_equal(simfs_size(disk, "/s/damaged-1/0000000000000003.ckp"), 3008);
    assert_true(
        simfs_delete(disk, CHECKPOINT(2))); /* there is none left now, and the first records are gone */
    struct trib_store_options options = options_for(disk);
    struct trib_store_damage damage;
    struct trib_error err = {0};
    struct trib_store *store = NULL;
    struct kit_seen seen;
    uint64_t bytes = simfs_bytes(disk);
    assert_int_equal(open_and_recover(disk, &store, &seen, &err), TRIB_CORRUPT);
    assert_int_equal(trib_store_repair(&options, false, &damage, &err), TRIB_CORRUPT);
    assert_non_null(strstr(err.text, "set store.on_damage=begin"));
    assert_non_null(strstr(err.text, "position 23"));
    assert_int_equal(simfs_bytes(disk), bytes); /* nothing was changed */
    expect(disk, 0, true, "position 23");
    simfs_free(&disk);
}

static void test_records_up_to_the_damage(void **state) {
    struct simfs *disk = simfs_copy(*state, 2);
    char segment[64];
    (void)snprintf(segment, sizeof segment, "%s", newest_segment(disk));
    assert_true(simfs_damage(disk, segment, -1, 1)); /* the last payload */
    expect(disk, LAST - 1, true, "payload of position 40");
    char copy[64];
    (void)snprintf(copy, sizeof copy, "/s/damaged-1/%s", strrchr(segment, '/') + 1);
    assert_true(simfs_size(disk, copy) > simfs_size(disk, segment)); /* whole; in use is its sound part */
    assert_non_null(strstr(text_of(disk, "/s/damaged-1", "report.txt"), "lost: position 40, verdict"));
    assert_true(simfs_delete(disk, segment));
    bool lost = false;
    struct trib_store_damage damage;
    assert_true(settle(disk, &lost, &damage) < LAST - 1);
    assert_true(lost);
    assert_string_equal(damage.folder, "/s/damaged-2");
    simfs_free(&disk);
}

static void test_past_is_damaged(void **state) {
    struct simfs *disk = simfs_copy(*state, 2);
    struct trib_store *store = NULL;
    struct kit_seen seen;
    struct trib_error err = {0};
    const char *first = NULL;
    for (size_t i = 0; simfs_name(disk, i) != NULL; i++) {
        const char *name = simfs_name(disk, i);
        if (strstr(name, ".seg") != NULL && (first == NULL || strcmp(name, first) < 0)) first = name;
    }
    assert_true(simfs_damage(disk, first, -1, 1));
    assert_int_equal(open_and_recover(disk, &store, &seen, &err), TRIB_OK); /* it goes on all the same */
    assert_int_equal(kit_replay(store, OLDER, LAST, BYTES, &seen, &err), TRIB_CORRUPT);
    trib_store_close(&store);
    assert_true(simfs_delete(disk, CHECKPOINT(2)));
    assert_int_equal(open_and_recover(disk, &store, &seen, &err), TRIB_OK);
    assert_int_equal(seen.checkpoint, NEWEST);
    trib_store_close(&store);
    /* With a repair for something else it goes. */
    assert_true(simfs_damage(disk, CHECKPOINT(3), 0, 1));
    expect(disk, 0, true, "checkpoint of position 33");
    simfs_free(&disk);
}

static void test_mark_stays_until_renewed(void **state) {
    struct simfs *disk = simfs_copy(*state, 2);
    struct trib_error err = {0};
    struct trib_store *store = NULL;
    struct kit_seen seen;
    assert_true(simfs_cut_file(disk, path, 3 * 1024));
    bool lost = false;
    struct trib_store_damage damage;
    uint64_t position = settle(disk, &lost, &damage);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(open_and_recover(disk, &store, &seen, &err), TRIB_OK);
        assert_true(trib_store_has_lost(store));
        if (i == 1) { /* some other record */
            struct trib_record record = {.kind = TRIB_REC_EVENT, .position = ++position};
            assert_int_equal(trib_store_write(store, &record, 1, &err), TRIB_OK);
            assert_true(trib_store_has_lost(store));
        }
        if (i == 2) {
            struct trib_record record = {.kind = TRIB_REC_INCARNATION, .position = position + 1};
            assert_int_equal(trib_store_write(store, &record, 1, &err), TRIB_OK);
            assert_false(trib_store_has_lost(store));
        }
        trib_store_close(&store);
    }
    struct trib_store_options options = options_for(disk);
    assert_int_equal(trib_store_open(&options, &store, &err), TRIB_OK);
    assert_false(trib_store_has_lost(store));
    trib_store_close(&store);
    simfs_free(&disk);
}

static void test_sound_store_is_left_alone(void **state) {
    struct simfs *disk = simfs_copy(*state, 2);
    struct trib_store_options options = options_for(disk);
    struct trib_store_damage damage;
    struct trib_error err = {0};
    if (trib_store_repair(&options, true, &damage, &err) != TRIB_OK) fail_msg("%s", err.text);
    assert_false(damage.found);
    bool lost = true;
    assert_int_equal(settle(disk, &lost, &damage), LAST);
    assert_false(lost);
    simfs_free(&disk);
}

/* ---- every file, many places ---- */

/* Whatever is damaged: what is there afterwards is a beginning of what was written, and if it is shorter, the
 * node is told. */
static void flip(const struct simfs *whole, const char *name, int64_t at, uint8_t bits, unsigned counts[3]) {
    struct simfs *disk = simfs_copy(whole, (uint64_t)at);
    struct trib_error err = {0};
    struct trib_store *store = NULL;
    struct kit_seen seen = {0};
    assert_true(simfs_damage(disk, name, at, bits));
    enum trib_status status = open_and_recover(disk, &store, &seen, &err);
    trib_store_close(&store);
    bool header = strcmp(name, path) == 0 && at < 100;
    if (header && (status == TRIB_INVALID || status == TRIB_NEWER)) {
        counts[2]++; /* not ours by its header, or a newer program's */
    } else {
        bool lost = false;
        struct trib_store_damage damage = {.found = false};
        uint64_t position = settle(disk, &lost, &damage);
        assert_true(position <= LAST);
        if (position < LAST && !lost)
            fail_msg("%s byte %d: position %d, and nothing said (%s)", name, (int)at, (int)position,
                     err.text);
        counts[damage.found]++;
    }
    simfs_free(&disk);
}

static void test_every_file(void **state) {
    const struct simfs *whole = *state;
    unsigned counts[3] = {0};
    for (size_t i = 0; simfs_name(whole, i) != NULL; i++) {
        const char *name = simfs_name(whole, i);
        int64_t size = simfs_size(whole, name);
        for (int64_t at = 0; at < size; at += 1 + size / 700)
            flip(whole, name, at, (uint8_t)(1 << at % 8), counts);
    }
    print_message("%u harmless, %u set aside, %u refused\n", counts[0], counts[1], counts[2]);
    assert_true(counts[1] > 500);
    assert_true(counts[0] > 100);
    assert_true(counts[2] < 20);
}

/* The power goes at every operation of a repair; the next one ends where it would have. */
static void cut_off(const struct simfs *damaged, const char *what) {
    bool lost, must_renew = false, done = false;
    struct trib_store_damage damage = {.found = false};
    struct simfs *calm = simfs_copy(damaged, 3);
    uint64_t expected = settle(calm, &must_renew, &damage), at = 1;
    assert_true(damage.found);
    simfs_free(&calm);
    for (; !done; at++) {
        struct simfs *disk = simfs_copy(damaged, at);
        struct trib_store_options options = options_for(disk);
        struct trib_error err = {0};
        simfs_set_faults(disk, &(struct simfs_faults){.crash_at = at});
        done = trib_store_repair(&options, true, &damage, &err) == TRIB_OK && !simfs_is_cut(disk);
        if (simfs_is_cut(disk)) simfs_crash(disk);
        simfs_set_faults(disk, NULL);
        uint64_t position = settle(disk, &lost, &damage);
        if (position != expected || lost != must_renew)
            fail_msg("%s, crash at %d: position %d, expected %d; lost %d", what, (int)at, (int)position,
                     (int)expected, lost);
        simfs_free(&disk);
    }
    print_message("%s: %d operations\n", what, (int)at - 1);
    assert_true(at > 30);
}

static void test_repair_is_cut_off(void **state) {
    const struct simfs *whole = *state;
    struct simfs *disk = simfs_copy(whole, 1);
    assert_true(simfs_damage(disk, CHECKPOINT(3), 5, 1));
    cut_off(disk, "a checkpoint");
    simfs_free(&disk);
    disk = simfs_copy(whole, 1);
    assert_true(simfs_damage(disk, newest_segment(disk), -1, 1));
    cut_off(disk, "the last payload");
    simfs_free(&disk);
    int pages = 0;
    for (int64_t at = 1024; at < simfs_size(whole, path); at += 256) {
        disk = simfs_copy(whole, 1);
        assert_true(simfs_damage(disk, path, at + 3, 0x55));
        struct simfs *trial = simfs_copy(disk, 1);
        bool lost;
        struct trib_store_damage damage = {.found = false};
        (void)settle(trial, &lost, &damage);
        if (damage.found && pages++ < 4) cut_off(disk, "a page of the database");
        simfs_free(&trial);
        simfs_free(&disk);
    }
    assert_true(pages >= 3);
}

static int set_up(void **state) {
    segment_bytes = 1500;
    *state = make_disk();
    return 0;
}

static int set_up_large(void **state) {
    segment_bytes = 0;
    *state = make_disk();
    return 0;
}

static int tear_down(void **state) {
    struct simfs *disk = *state;
    simfs_free(&disk);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_older_checkpoint_takes_over),
        cmocka_unit_test(test_records_up_to_the_damage),
        cmocka_unit_test(test_past_is_damaged),
        cmocka_unit_test(test_mark_stays_until_renewed),
        cmocka_unit_test(test_sound_store_is_left_alone),
        cmocka_unit_test(test_every_file),
        cmocka_unit_test(test_repair_is_cut_off),
    };
    const struct CMUnitTest in_one_segment[] = {
        cmocka_unit_test(test_records_up_to_the_damage),
        cmocka_unit_test(test_every_file),
        cmocka_unit_test(test_repair_is_cut_off),
    };
    int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    return failed + cmocka_run_group_tests(in_one_segment, set_up_large, tear_down);
}
