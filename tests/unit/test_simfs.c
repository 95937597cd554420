/* The simulated disk: what is durable on it, and the figures that its header names. */
#include "tests/support/cmocka.h"
#include "tests/support/ledger_kit.h"
#include "tests/support/simfs.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <time.h>

static int open_file(struct simfs *fs, const char *path, int flags) {
    const struct trib_file_ops *files = simfs_files(fs);
    return files->open(files->ctx, path, flags, 0640);
}

static void write_text(struct simfs *fs, const char *path, const char *text, bool sync) {
    const struct trib_file_ops *files = simfs_files(fs);
    struct iovec part = {(void *)(uintptr_t)text, strlen(text)};
    int fd = open_file(fs, path, O_RDWR | O_CREAT);
    assert_true(fd >= 0);
    assert_int_equal(files->write(files->ctx, fd, &part, 1, 0), (ssize_t)strlen(text));
    if (sync) assert_int_equal(files->sync(files->ctx, fd), 0);
    assert_int_equal(files->close(files->ctx, fd), 0);
}

static void read_text(struct simfs *fs, const char *path, char *out, size_t bytes) {
    const struct trib_file_ops *files = simfs_files(fs);
    int fd = open_file(fs, path, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t got = files->read(files->ctx, fd, out, bytes - 1, 0);
    assert_true(got >= 0);
    out[got] = 0;
    assert_int_equal(files->close(files->ctx, fd), 0);
}

static void crash(struct simfs *fs) {
    simfs_cut(fs);
    simfs_crash(fs);
}

static void test_what_a_crash_leaves(void **state) {
    (void)state;
    int names_lost = 0, old = 0, new = 0, renamed = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct simfs *fs = simfs_new(seed);
        const struct trib_file_ops *files = simfs_files(fs);
        char text[32];
        write_text(fs, "/safe", "old", true);
        assert_int_equal(files->sync_dir(files->ctx, "/"), 0);
        write_text(fs, "/safe", "new", false);
        write_text(fs, "/name", "x", true);
        crash(fs);
        names_lost += simfs_size(fs, "/name") < 0;
        read_text(fs, "/safe", text, sizeof text);
        assert_true(strcmp(text, "old") == 0 || strcmp(text, "new") == 0); /* within a sector: whole */
        old += text[0] == 'o';
        new += text[0] == 'n';
        assert_int_equal(files->rename(files->ctx, "/safe", "/moved"), 0);
        crash(fs);
        assert_int_equal((simfs_size(fs, "/safe") == 3) + (simfs_size(fs, "/moved") == 3), 1);
        renamed += simfs_size(fs, "/moved") == 3;
        simfs_free(&fs);
    }
    assert_true(names_lost > 20 && names_lost < 80);
    assert_true(old > 20 && new > 20);
    assert_true(renamed > 20 && renamed < 80);
}

static void test_torn_by_sectors(void **state) {
    (void)state;
    int torn = 0;
    char text[3 * 512 + 1], got[sizeof text];
    memset(text, 'n', sizeof text);
    text[sizeof text - 1] = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct simfs *fs = simfs_new(seed);
        const struct trib_file_ops *files = simfs_files(fs);
        write_text(fs, "/file", "", true);
        assert_int_equal(files->sync_dir(files->ctx, "/"), 0);
        write_text(fs, "/file", text, false);
        crash(fs);
        read_text(fs, "/file", got, sizeof got);
        size_t size = (size_t)simfs_size(fs, "/file");
        assert_int_equal(size % 512, 0);
        for (size_t at = 0; at < size; at += 512)
            for (size_t k = 1; k < 512; k++) assert_int_equal(got[at + k], got[at]);
        torn += size > 0 && memchr(got, 0, size) != NULL;
        simfs_free(&fs);
    }
    assert_true(torn > 5);
}

static void test_full_and_read_only(void **state) {
    (void)state;
    struct simfs *fs = simfs_new(1);
    const struct trib_file_ops *files = simfs_files(fs);
    struct iovec part = {(char[100]){0}, 100};
    simfs_set_faults(fs, &(struct simfs_faults){.limit_bytes = 150});
    int fd = open_file(fs, "/a", O_RDWR | O_CREAT);
    assert_int_equal(files->write(files->ctx, fd, &part, 1, 0), 100);
    assert_int_equal(files->write(files->ctx, fd, &part, 1, 100), 50);
    assert_int_equal(files->write(files->ctx, fd, &part, 1, 150), -1);
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(files->write(files->ctx, fd, &part, 1, 0), 100); /* over what is there */
    assert_int_equal(simfs_bytes(fs), 150);
    assert_int_equal(files->truncate(files->ctx, fd, 20), 0);
    assert_int_equal(simfs_bytes(fs), 20);
    simfs_set_faults(fs, &(struct simfs_faults){.read_only = true});
    assert_int_equal(files->write(files->ctx, fd, &part, 1, 0), -1);
    assert_int_equal(errno, EROFS);
    assert_int_equal(files->close(files->ctx, fd), 0);
    assert_int_equal(open_file(fs, "/b", O_RDWR | O_CREAT), -1);
    fd = open_file(fs, "/a", O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(files->close(files->ctx, fd), 0);
    simfs_free(&fs);
}

/* ---- with the store ---- */

static const char path[] = "/store/ledger.db";

struct opened {
    struct trib_ledger *ledger;
    struct trib_store *store;
};

static struct opened open_on(struct simfs *fs) {
    struct opened o = {0};
    struct trib_error err = {0};
    struct trib_ledger_options ledger = {.role = "cloud", .node = "cloud"};
    if (trib_ledger_new(&ledger, &o.ledger, &err) != TRIB_OK) fail_msg("%s", err.text);
    struct trib_store_options options = {.path = path,
                                         .files = simfs_files(fs),
                                         .vfs = simfs_vfs(fs),
                                         .projection = trib_ledger_projection(o.ledger)};
    if (trib_store_open(&options, &o.store, &err) != TRIB_OK) fail_msg("%s", err.text);
    return o;
}

static void close_it(struct opened *o) {
    trib_store_close(&o->store);
    trib_ledger_free(&o->ledger);
}

static int64_t rows(sqlite3 *db) {
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*) FROM journal", -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(stmt, 0);
    assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
    return n;
}

static void put(struct opened *o, struct trib_record record) {
    struct trib_error err = {0};
    record.position = trib_store_position(o->store) + 1;
    trib_rec_set(&record, NOW, now_ms, 1000 + record.position);
    if (trib_store_write(o->store, &record, 1, &err) != TRIB_OK) fail_msg("%s", err.text);
    trib_blob_unref(&record.payload);
}

static void test_reader_beside_writer(void **state) {
    (void)state;
    struct simfs *fs = simfs_new(1);
    struct opened o = open_on(fs);
    sqlite3 *reader = NULL;
    put(&o, kit_start(1));
    assert_int_equal(sqlite3_open_v2(path, &reader, SQLITE_OPEN_READONLY, simfs_vfs(fs)), SQLITE_OK);
    assert_int_equal(rows(reader), 1);
    put(&o, kit_peer("edge", 7, 1));
    assert_int_equal(rows(reader), 2);
    close_it(&o);
    assert_int_equal(rows(reader), 2);
    assert_int_equal(sqlite3_close(reader), SQLITE_OK);
    struct simfs *copy = simfs_copy(fs, 2); /* a backup of the closed store */
    o = open_on(copy);
    assert_int_equal(trib_store_position(o.store), 2);
    put(&o, kit_peer("edge", 8, 1));
    close_it(&o);
    simfs_wipe(fs);
    assert_null(simfs_name(fs, 0));
    o = open_on(fs);
    assert_int_equal(trib_store_position(o.store), 0);
    close_it(&o);
    simfs_free(&copy);
    simfs_free(&fs);
}

/* The same seed and calls: the same operations, the same bytes left. */
static void test_seeded(void **state) {
    (void)state;
    uint64_t left[2], operations[2];
    for (int i = 0; i < 2; i++) {
        struct simfs *fs = simfs_new(77);
        simfs_set_faults(fs, &(struct simfs_faults){.crash_at = 230, .short_write = 300000});
        struct opened o = open_on(fs);
        for (uint64_t n = 1; !simfs_is_cut(fs); n++) {
            struct trib_record record = n == 1 ? kit_start(1) : kit_peer("edge", n, 1);
            struct trib_error err;
            record.position = n;
            trib_rec_set(&record, NOW, now_ms, 1000 + n);
            enum trib_status status = trib_store_write(o.store, &record, 1, &err);
            trib_blob_unref(&record.payload);
            if (status != TRIB_OK) break;
        }
        assert_true(simfs_is_cut(fs));
        close_it(&o);
        operations[i] = simfs_counts(fs).operations;
        simfs_crash(fs);
        left[i] = simfs_bytes(fs);
        simfs_free(&fs);
    }
    assert_int_equal(left[0], left[1]);
    assert_int_equal(operations[0], operations[1]);
}

/* Of this process alone, whoever else is busy. */
static uint64_t processor_us(void) {
    struct timespec t;
    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), 0);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* Figures for simfs.h; the limits are wide enough for sanitisers. */
static void test_speed(void **state) {
    (void)state;
    enum { STORES = 100, COMMITS = 2000 };
    struct simfs *template = simfs_new(1);
    simfs_format(template, path, 1024);
    struct opened o = open_on(template);
    close_it(&o);
    uint64_t began = processor_us();
    for (uint64_t i = 0; i < STORES; i++) {
        struct simfs *fs = simfs_copy(template, i);
        o = open_on(fs);
        close_it(&o);
        simfs_free(&fs);
    }
    uint64_t opened = processor_us();
    o = open_on(template);
    put(&o, kit_start(1));
    put(&o, kit_peer("edge", 7, 1));
    uint64_t writing = processor_us();
    for (uint64_t i = 0; i < COMMITS; i++) put(&o, kit_verdict("edge", i + 1, 0, 0, 0));
    uint64_t written = processor_us();
    close_it(&o);
    uint64_t open_us = (opened - began) / STORES, commit_us = (written - writing) / COMMITS;
    print_message("copy, open, close: %d us; commit of one record: %d us\n", (int)open_us, (int)commit_us);
    assert_true(open_us < 50000 && commit_us < 5000);
    simfs_free(&template);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_crash_leaves),
        cmocka_unit_test(test_torn_by_sectors),
        cmocka_unit_test(test_full_and_read_only),
        cmocka_unit_test(test_reader_beside_writer),
        cmocka_unit_test(test_seeded),
        cmocka_unit_test(test_speed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
