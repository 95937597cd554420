/* The journal: what is written comes back, what is damaged is refused with its position, what is not needed
 * goes. */
#include "shared/store/sql.h"
#include "shared/store/store.h"
#include "tests/support/cmocka.h"
#include "tests/support/store_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct trib_store *open_store(const struct kit *kit) {
    return kit_open(kit, (struct trib_store_options){.segment_bytes = 4000});
}

static void expect_refused(const struct kit *kit, enum trib_status status, const char *words) {
    struct trib_store *store = NULL;
    struct trib_error err = {0};
    struct trib_store_options options = {.path = kit->path};
    assert_int_equal(trib_store_open(&options, &store, &err), status);
    assert_null(store);
    if (strstr(err.text, words) == NULL) fail_msg("\"%s\" is not in: %s", words, err.text);
}

static void sql(const struct kit *kit, const char *text) {
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(kit->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void test_groups_come_back(void **state) {
    for (int durability = TRIB_DURABLE_FULL; durability <= TRIB_DURABLE_NONE; durability++) {
        kit_clear(*state);
        struct trib_store_options options = {.durability = (enum trib_durability)durability,
                                             .segment_bytes = 4000};
        struct trib_store *store = kit_open(*state, options);
        assert_int_equal(trib_store_position(store), 0);
        kit_expect(store, 0, 0, 500);
        for (size_t group = 1; group <= 12; group++) kit_write_well(store, group, 500);
        kit_write_well(store, 200, 500); /* more than fit in one call */
        assert_int_equal(trib_store_position(store), 278);
        kit_expect(store, 0, 278, 500);
        trib_store_close(&store);
        store = kit_open(*state, options);
        assert_int_equal(trib_store_position(store), 278);
        kit_write_well(store, 4, 500);
        kit_expect(store, 0, 282, 500);
        trib_store_close(&store);
    }
}

static void test_empty_payload_is_a_payload(void **state) {
    struct trib_store *store = open_store(*state);
    struct trib_record record = {.kind = TRIB_REC_VERDICT, .position = 1, .payload = trib_blob_new(0)};
    struct trib_error err;
    assert_int_equal(trib_store_write(store, &record, 1, &err), TRIB_OK);
    trib_blob_unref(&record.payload);
    trib_store_close(&store);
    store = open_store(*state);
    struct kit_seen seen;
    assert_int_equal(kit_recover(store, 0, &seen, &err), TRIB_OK);
    assert_int_equal(seen.count, 1);
    trib_store_close(&store);
}

static void test_checkpoint_replaces_rows(void **state) {
    struct trib_error err = {0};
    struct trib_store *store = open_store(*state);
    kit_write_well(store, 30, 900);
    assert_true(kit_exists(*state, "segments/0000000000000001.seg"));
    assert_int_equal(kit_checkpoint(store, 28, 700000, &err), TRIB_OK);
    assert_false(kit_exists(*state, "segments/0000000000000001.seg"));
    kit_expect(store, 28, 30, 900);
    kit_write_well(store, 5, 900);
    trib_store_close(&store);
    store = open_store(*state);
    kit_expect(store, 28, 35, 900);
    assert_int_equal(kit_checkpoint(store, 35, 10, &err), TRIB_OK);
    assert_false(kit_exists(*state, "checkpoints/0000000000000001.ckp"));
    assert_true(kit_exists(*state, "checkpoints/0000000000000002.ckp"));
    trib_store_close(&store);
    for (int i = 0; i < 2; i++) { /* no rows at all: the position is the checkpoint's */
        store = open_store(*state);
        assert_int_equal(trib_store_position(store), 35);
        kit_expect(store, 35, 35, 900);
        trib_store_close(&store);
    }
    store = open_store(*state);
    kit_write_well(store, 3, 900);
    trib_store_close(&store);
    store = open_store(*state);
    kit_expect(store, 35, 38, 900);
    trib_store_close(&store);
}

static ino_t inode(const struct kit *kit, const char *name) {
    char path[KIT_PATH];
    struct stat st;
    kit_file(kit, name, path);
    return stat(path, &st) == 0 ? st.st_ino : 0;
}

/* What is written over leaves frames of long ago behind it, which neither recovery nor the next open may
 * take for anything. */
static void test_segment_is_written_over(void **state) {
    struct trib_error err = {0};
    struct trib_store *store = open_store(*state);
    kit_write_well(store, 18, 900); /* three segments */
    assert_true(kit_exists(*state, "segments/0000000000000003.seg"));
    ino_t first = inode(*state, "segments/0000000000000001.seg");
    assert_int_equal(kit_checkpoint(store, 18, 1000, &err), TRIB_OK);
    assert_int_equal(inode(*state, "segments/0000000000000001.spare"), first);
    assert_false(kit_exists(*state, "segments/0000000000000002.spare")); /* one is kept */
    assert_false(kit_exists(*state, "segments/0000000000000002.seg"));
    trib_store_close(&store);
    store = open_store(*state); /* all segments without rows have gone, the spare has not */
    kit_expect(store, 18, 18, 900);
    kit_write_well(store, 2, 900);
    assert_int_equal(inode(*state, "segments/0000000000000004.seg"), first);
    assert_false(kit_exists(*state, "segments/0000000000000001.spare"));
    kit_expect(store, 18, 20, 900);
    char path[KIT_PATH];
    kit_file(*state, "segments/0000000000000004.seg", path);
    long before = kit_size(path);
    assert_true(before > 3500);
    kit_flip(path, -100); /* old bytes: nobody's */
    trib_store_close(&store);
    store = open_store(*state);
    assert_true(kit_size(path) < before); /* cut to what has rows */
    kit_expect(store, 18, 20, 900);
    kit_write_well(store, 9, 900);
    trib_store_close(&store);
    store = open_store(*state);
    kit_expect(store, 18, 29, 900);
    trib_store_close(&store);
}

static void test_checkpoint_twice_at_one_position(void **state) {
    struct trib_error err = {0};
    struct trib_store *store = open_store(*state);
    kit_write_well(store, 5, 100);
    assert_int_equal(kit_checkpoint(store, 5, 1000, &err), TRIB_OK);
    assert_int_equal(kit_checkpoint(store, 5, 2000, &err), TRIB_OK);
    trib_store_close(&store);
    store = open_store(*state);
    kit_expect(store, 5, 5, 100);
    trib_store_close(&store);
}

static void test_abandoned_checkpoint(void **state) {
    struct trib_error err = {0};
    struct trib_store *store = open_store(*state);
    struct trib_sink sink;
    kit_write_well(store, 5, 100);
    assert_int_equal(trib_store_checkpoint_begin(store, 3, &sink, &err), TRIB_OK);
    assert_int_equal(sink.write(sink.ctx, "half", 4, &err), TRIB_OK);
    kit_write_well(store, 2, 100);
    trib_store_checkpoint_abort(store);
    kit_expect(store, 0, 7, 100);
    assert_int_equal(trib_store_checkpoint_begin(store, 3, &sink, &err), TRIB_OK);
    trib_store_close(&store); /* drops it */
    assert_false(kit_exists(*state, "checkpoints/0000000000000001.tmp"));
    store = open_store(*state);
    kit_expect(store, 0, 7, 100);
    trib_store_close(&store);
}

static void test_second_process_is_refused(void **state) {
    struct trib_store *store = open_store(*state);
    char words[64];
    (void)snprintf(words, sizeof words, "in use by process %ld", (long)getpid());
    expect_refused(*state, TRIB_AGAIN, words);
    trib_store_close(&store);
    store = open_store(*state);
    trib_store_close(&store);
}

/* A segment of a newer program is neither cut nor appended to, nor taken for damage. */
static void test_newer_segment_is_left_alone(void **state) {
    const struct kit *kit = *state;
    struct trib_store *store = open_store(kit);
    kit_write_well(store, 3, 10);
    trib_store_close(&store);
    char path[512], version = '2';
    kit_file(kit, "segments/0000000000000001.seg", path);
    FILE *f = fopen(path, "r+b");
    assert_int_equal(fseek(f, 7, SEEK_SET), 0);
    assert_int_equal(fwrite(&version, 1, 1, f), 1);
    (void)fclose(f);
    expect_refused(kit, TRIB_NEWER, "newer version");
}

static void test_newer_schema_is_left_alone(void **state) {
    const struct kit *kit = *state;
    struct trib_store *store = open_store(kit);
    kit_write_well(store, 3, 10);
    trib_store_close(&store);
    sql(kit, "PRAGMA user_version = 1000");
    char before[20000], after[20000];
    FILE *f = fopen(kit->path, "rb");
    size_t bytes = fread(before, 1, sizeof before, f);
    (void)fclose(f);
    expect_refused(kit, TRIB_NEWER, "version 1000");
    f = fopen(kit->path, "rb");
    assert_int_equal(fread(after, 1, sizeof after, f), bytes);
    (void)fclose(f);
    assert_memory_equal(before, after, bytes);
}

static void test_foreign_files_are_refused(void **state) {
    const struct kit *kit = *state;
    sql(kit, "CREATE TABLE somebody_elses(x)");
    expect_refused(kit, TRIB_INVALID, "not one of Tributary");
    kit_clear(kit);
    FILE *f = fopen(kit->path, "wb");
    for (int i = 0; i < 3000; i++) (void)fputs("not a database ", f);
    (void)fclose(f);
    expect_refused(kit, TRIB_CORRUPT, "not a readable SQLite database");
}

static void test_flipped_row(void **state) {
    struct trib_store *store = open_store(*state);
    kit_write_well(store, 9, 100);
    trib_store_close(&store);
    sql(*state, "UPDATE journal SET offset = offset - 1 WHERE position = 7");
    expect_refused(*state, TRIB_CORRUPT, "position 7 is damaged");
    sql(*state, "UPDATE journal SET offset = offset + 1 WHERE position = 7;"
                "UPDATE journal SET body = x'80' WHERE position = 2");
    expect_refused(*state, TRIB_CORRUPT, "position 2 is damaged");
    sql(*state, "DELETE FROM journal WHERE position = 2");
    expect_refused(*state, TRIB_CORRUPT, "no row at position 2");
}

static void test_lost_rows_are_noticed(void **state) {
    struct trib_store *store = open_store(*state);
    for (int i = 0; i < 4; i++) kit_write_well(store, 2, 100);
    trib_store_close(&store);
    sql(*state, "DELETE FROM journal WHERE position > 4");
    expect_refused(*state, TRIB_CORRUPT, "rows were lost");
}

/* Opens, recovers and expects damage at `position`. */
static void expect_damage(const struct kit *kit, uint64_t position, size_t bytes) {
    struct trib_error err = {0};
    struct trib_store *store = NULL;
    struct trib_store_options options = {.path = kit->path};
    struct kit_seen seen = {0};
    enum trib_status status = trib_store_open(&options, &store, &err);
    if (status == TRIB_OK) status = kit_recover(store, bytes, &seen, &err);
    assert_int_equal(status, TRIB_CORRUPT);
    assert_false(seen.wrong);
    char words[64];
    (void)snprintf(words, sizeof words, "position %llu", (unsigned long long)position);
    if (strstr(err.text, words) == NULL) fail_msg("\"%s\" is not in: %s", words, err.text);
    trib_store_close(&store);
}

static void test_damaged_segments(void **state) {
    const struct kit *kit = *state;
    char path[KIT_PATH];
    kit_file(kit, "segments/0000000000000001.seg", path);
    struct trib_store *store = kit_open(kit, (struct trib_store_options){.segment_bytes = 1 << 20});
    kit_write_well(store, 8, 100);
    trib_store_close(&store);
    kit_flip(path, -1); /* last byte of position 8 */
    expect_damage(kit, 8, 100);
    kit_flip(path, -1);
    kit_flip(path, 16 + 24); /* first byte of position 1 */
    expect_damage(kit, 1, 100);
    kit_flip(path, 16 + 24);
    kit_flip(path, 16 + 8); /* its header */
    expect_damage(kit, 1, 100);
    kit_flip(path, 16 + 8);
    assert_int_equal(truncate(path, kit_size(path) - 1), 0);
    expect_damage(kit, 8, 100);
    assert_int_equal(unlink(path), 0);
    expect_damage(kit, 8, 100);
}

static void test_damaged_checkpoint(void **state) {
    const struct kit *kit = *state;
    struct trib_error err = {0};
    char path[KIT_PATH];
    kit_file(kit, "checkpoints/0000000000000001.ckp", path);
    struct trib_store *store = open_store(kit);
    kit_write_well(store, 4, 100);
    assert_int_equal(kit_checkpoint(store, 4, 300000, &err), TRIB_OK);
    trib_store_close(&store);
    kit_flip(path, 299999);
    expect_damage(kit, 4, 100);
    kit_flip(path, 299999);
    assert_int_equal(truncate(path, 300000), 0);
    expect_damage(kit, 4, 100);
    assert_int_equal(unlink(path), 0);
    expect_damage(kit, 4, 100);
    sql(kit, "UPDATE checkpoints SET file_crc32c = 5");
    expect_refused(kit, TRIB_CORRUPT, "checkpoint at position 4 is damaged");
}

static void test_tail_without_rows_is_cut(void **state) {
    const struct kit *kit = *state;
    char path[KIT_PATH];
    kit_file(kit, "segments/0000000000000001.seg", path);
    struct trib_store *store = kit_open(kit, (struct trib_store_options){0});
    kit_write_well(store, 4, 100);
    long size = kit_size(path);
    kit_write_well(store, 3, 100);
    trib_store_close(&store);
    sql(kit, "DELETE FROM journal WHERE position > 4");
    assert_true(kit_size(path) > size);
    store = kit_open(kit, (struct trib_store_options){0});
    assert_int_equal(kit_size(path), size);
    kit_write_well(store, 9, 100);
    kit_expect(store, 0, 13, 100);
    trib_store_close(&store);
}

/* ---- the outside world ---- */

static int refuse_open(void *ctx, const char *path, int flags, mode_t mode) {
    (void)ctx;
    if ((flags & O_CREAT) == 0) return trib_file_real.open(NULL, path, flags, mode);
    errno = EROFS;
    return -1;
}

static void test_read_only_folder(void **state) {
    const struct kit *kit = *state;
    struct trib_file_ops files = trib_file_real;
    files.open = refuse_open;
    struct trib_store *store = NULL;
    struct trib_error err = {0};
    struct trib_store_options options = {.path = kit->path, .files = &files};
    assert_int_equal(trib_store_open(&options, &store, &err), TRIB_DENIED);
    assert_non_null(strstr(err.text, "Read-only file system"));
    options = (struct trib_store_options){.path = "/proc/no/such/folder/x.db"};
    assert_int_equal(trib_store_open(&options, &store, &err), TRIB_NOT_FOUND);
    assert_non_null(strstr(err.text, "/proc/no/such/folder"));
}

static ssize_t disk_full(void *ctx, int fd, const struct iovec *parts, int count, off_t offset) {
    long *left = ctx;
    struct iovec part = parts[0];
    if (*left <= 0) {
        errno = ENOSPC;
        return -1;
    }
    if ((long)part.iov_len > *left) part.iov_len = (size_t)*left; /* as a real disk does: some of it */
    (void)count;
    ssize_t done = trib_file_real.write(NULL, fd, &part, 1, offset);
    *left -= (long)done;
    return done;
}

static void test_disk_full_in_segment(void **state) {
    const struct kit *kit = *state;
    long left = 5000;
    struct trib_file_ops files = trib_file_real;
    files.ctx = &left;
    files.write = disk_full;
    struct trib_error err = {0};
    struct trib_store *store = kit_open(kit, (struct trib_store_options){.files = &files});
    kit_write_well(store, 4, 1000);
    assert_int_equal(kit_write(store, 4, 1000, &err), TRIB_IO);
    assert_non_null(strstr(err.text, "No space left on device"));
    assert_int_equal(trib_store_position(store), 4);
    kit_expect(store, 0, 4, 1000); /* what is durable can be read all the same */
    struct trib_store_options probed = {.path = kit->path, .files = &files};
    assert_int_equal(trib_store_probe(&probed, 100000, &err), TRIB_IO);
    assert_non_null(strstr(err.text, "No space left on device"));
    left = 1 << 20;
    assert_int_equal(trib_store_probe(&probed, 100000, &err), TRIB_OK);
    assert_false(kit_exists(kit, "store.probe"));
    assert_int_equal(kit_write(store, 1, 10, &err), TRIB_IO);
    assert_non_null(strstr(err.text, "opened again"));
    struct trib_sink sink; /* of the state, which has the records that failed */
    assert_int_equal(trib_store_checkpoint_begin(store, 8, &sink, &err), TRIB_IO);
    trib_store_close(&store);
    store = kit_open(kit, (struct trib_store_options){.files = &files});
    kit_expect(store, 0, 4, 1000);
    kit_write_well(store, 4, 1000);
    kit_expect(store, 0, 8, 1000);
    left = 100;
    assert_int_equal(kit_checkpoint(store, 8, 5000, &err), TRIB_IO); /* harmless */
    left = 1 << 20;
    kit_write_well(store, 1, 1000);
    assert_int_equal(kit_checkpoint(store, 8, 5000, &err), TRIB_OK);
    kit_expect(store, 8, 9, 1000);
    trib_store_close(&store);
}

struct probe {
    sqlite3 *db;
    int closed;
    bool limit;
};

static enum trib_status probe_open(void *ctx, sqlite3 *db, struct trib_error *err) {
    struct probe *probe = ctx;
    probe->db = db;
    enum trib_status status = trib_sql_exec(db, "CREATE TABLE IF NOT EXISTS seen(position INTEGER)", err);
    if (status == TRIB_OK && probe->limit) status = trib_sql_exec(db, "PRAGMA max_page_count = 12", err);
    return status;
}

static enum trib_status probe_write(void *ctx, const struct trib_record *record, struct trib_error *err) {
    struct probe *probe = ctx;
    char text[80];
    (void)snprintf(text, sizeof text, "INSERT INTO seen VALUES(%llu)", (unsigned long long)record->position);
    return trib_sql_exec(probe->db, text, err);
}

static void probe_close(void *ctx) {
    ((struct probe *)ctx)->closed++;
}

static void test_database_full(void **state) {
    struct trib_error err = {0};
    struct probe probe = {.limit = true};
    struct trib_store_options options = {.projection = {&probe, probe_open, probe_write, probe_close}};
    struct trib_store *store = kit_open(*state, options);
    enum trib_status status = TRIB_OK;
    uint64_t good = 0;
    while (good < 10000 && (status = kit_write(store, 10, 10, &err)) == TRIB_OK) good += 10;
    assert_int_equal(status, TRIB_IO);
    assert_non_null(strstr(err.text, "make room on the disk"));
    trib_store_close(&store);
    assert_int_equal(probe.closed, 1);
    probe.limit = false;
    store = kit_open(*state, options);
    kit_expect(store, 0, good, 10);
    int64_t rows = 0;
    assert_int_equal(trib_sql_number(probe.db, "SELECT count(*) FROM seen", 0, &rows, &err), TRIB_OK);
    assert_int_equal(rows, good); /* the projection is in the same transaction */
    trib_store_close(&store);
}

static void test_reader_beside_writer(void **state) {
    const struct kit *kit = *state;
    struct trib_error err = {0};
    struct trib_store *store = open_store(kit);
    kit_write_well(store, 5, 10);
    sqlite3 *reader = NULL;
    int64_t rows = 0;
    assert_int_equal(sqlite3_open_v2(kit->path, &reader, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(trib_sql_number(reader, "SELECT count(*) FROM journal", 0, &rows, &err), TRIB_OK);
    assert_int_equal(rows, 5);
    kit_write_well(store, 5, 10);
    assert_int_equal(trib_sql_number(reader, "SELECT count(*) FROM journal", 0, &rows, &err), TRIB_OK);
    assert_int_equal(rows, 10);
    assert_int_equal(sqlite3_close(reader), SQLITE_OK);
    trib_store_close(&store);
}

/* A commit of one record writes a page or two, and they are small: flash wears out by it. */
static void test_commits_write_little(void **state) {
    enum { COMMITS = 50, MOST_EACH = 3072 };
    const struct kit *kit = *state;
    char wal[600];
    struct stat before, after;
    struct trib_store *store = open_store(kit);
    kit_write_well(store, 1, 10);
    (void)snprintf(wal, sizeof wal, "%s-wal", kit->path);
    assert_int_equal(stat(wal, &before), 0);
    for (size_t i = 0; i < COMMITS; i++) kit_write_well(store, 1, 10);
    assert_int_equal(stat(wal, &after), 0);
    assert_in_range(after.st_size - before.st_size, COMMITS, (long)COMMITS * MOST_EACH);
    trib_store_close(&store);
}

#define T(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_groups_come_back),
        T(test_empty_payload_is_a_payload),
        T(test_checkpoint_replaces_rows),
        T(test_segment_is_written_over),
        T(test_checkpoint_twice_at_one_position),
        T(test_abandoned_checkpoint),
        T(test_second_process_is_refused),
        T(test_newer_schema_is_left_alone),
        T(test_newer_segment_is_left_alone),
        T(test_foreign_files_are_refused),
        T(test_flipped_row),
        T(test_lost_rows_are_noticed),
        T(test_damaged_segments),
        T(test_damaged_checkpoint),
        T(test_tail_without_rows_is_cut),
        T(test_read_only_folder),
        T(test_disk_full_in_segment),
        T(test_database_full),
        T(test_reader_beside_writer),
        T(test_commits_write_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
