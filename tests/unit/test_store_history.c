/* What a store keeps of the past: older checkpoints, the records after them, and readers beside the writer.
 */
#include "shared/store/sql.h"
#include "shared/store/store.h"
#include "tests/support/cmocka.h"
#include "tests/support/store_kit.h"

#include <string.h>
#include <unistd.h>

static int64_t number_in(const struct kit *kit, const char *text) {
    sqlite3 *db = NULL;
    int64_t out = 0;
    struct trib_error err = {0};
    assert_int_equal(sqlite3_open(kit->path, &db), SQLITE_OK);
    assert_int_equal(trib_sql_number(db, text, -1, &out, &err), TRIB_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return out;
}

/* Four checkpoints of ten records each, 40 records in all. */
static struct trib_store *with_history(const struct kit *kit, uint64_t keep) {
    struct trib_error err = {0};
    struct trib_store *store =
        kit_open(kit, (struct trib_store_options){.segment_bytes = 4000, .keep_checkpoints = keep});
    for (uint64_t position = 10; position <= 40; position += 10) {
        kit_write_well(store, 10, 500);
        if (kit_checkpoint(store, position - 2, 1000, &err) != TRIB_OK) fail_msg("%s", err.text);
    }
    return store;
}

static void test_kept_checkpoints(void **state) {
    const struct kit *kit = *state;
    struct trib_store *store = with_history(kit, 2);
    trib_store_close(&store);
    assert_int_equal(number_in(kit, "SELECT min(position) FROM journal"), 29);
    assert_int_equal(number_in(kit, "SELECT min(position) FROM checkpoints"), 28);
    assert_int_equal(number_in(kit, "SELECT count(*) FROM checkpoints"), 2);
    assert_false(kit_exists(kit, "checkpoints/0000000000000002.ckp"));
    assert_true(kit_exists(kit, "checkpoints/0000000000000003.ckp"));
    assert_false(kit_exists(kit, "segments/0000000000000001.seg"));
    store = kit_open(kit, (struct trib_store_options){.segment_bytes = 4000, .keep_checkpoints = 2});
    assert_true(kit_exists(kit, "checkpoints/0000000000000003.ckp"));
    kit_expect(store, 38, 40, 500);
    trib_store_close(&store);
}

static void expect_replay(struct trib_store *store, uint64_t from, uint64_t until, uint64_t last) {
    struct kit_seen seen;
    struct trib_error err = {0};
    if (kit_replay(store, from, until, 500, &seen, &err) != TRIB_OK) fail_msg("%s", err.text);
    assert_false(seen.wrong);
    assert_int_equal(seen.checkpoint, from);
    assert_int_equal(seen.count, last - from);
}

static enum trib_status take_position(void *ctx, const struct trib_store_checkpoint *it,
                                      struct trib_error *err) {
    uint64_t **next = ctx;
    (void)err;
    assert_int_equal(it->bytes, 1008);
    assert_true(it->made_ms > 0);
    *(*next)++ = it->position;
    return TRIB_OK;
}

static void test_replay(void **state) {
    const struct kit *kit = *state;
    struct trib_error err = {0};
    struct kit_seen seen;
    uint64_t positions[8] = {0}, *next = positions;
    struct trib_store *writer = with_history(kit, TRIB_KEEP_ALL), *store = writer;
    for (int kind = 0; kind < 2; kind++) { /* by the writer, and by a reader beside it */
        if (kind == 1) store = kit_open(kit, (struct trib_store_options){.read_only = true});
        assert_int_equal(trib_store_position(store), 40);
        expect_replay(store, 0, UINT64_MAX, 40);
        expect_replay(store, 0, 17, 17);
        expect_replay(store, 8, 8, 8);
        expect_replay(store, 8, 29, 29);
        expect_replay(store, 18, UINT64_MAX, 40);
        kit_expect(store, 38, 40, 500);
        assert_int_equal(kit_replay(store, 9, 20, 500, &seen, &err), TRIB_NOT_FOUND);
        assert_int_equal(kit_replay(store, 8, 41, 500, &seen, &err), TRIB_NOT_FOUND);
        assert_non_null(strstr(err.text, "ends at position 40"));
        next = positions;
        assert_int_equal(trib_store_checkpoints(store, take_position, &next, &err), TRIB_OK);
        assert_int_equal(next - positions, 4);
        for (uint64_t i = 0; i < 4; i++) assert_int_equal(positions[i], 10 * i + 8);
    }
    kit_write_well(writer, 5, 500);
    expect_replay(store, 38, UINT64_MAX, 45); /* what is there now */
    trib_store_close(&store);
    trib_store_close(&writer);
}

/* A record that the reader has not read yet goes while it is at the one before. */
struct beside {
    struct trib_store *writer;
    int records;
};

static enum trib_status skip_checkpoint(void *ctx, uint64_t position, const struct trib_feed *feed,
                                        struct trib_error *err) {
    (void)ctx;
    (void)position;
    (void)feed;
    (void)err;
    return TRIB_OK;
}

static enum trib_status checkpoint_beside(void *ctx, const struct trib_record *record,
                                          struct trib_error *err) {
    struct beside *beside = ctx;
    (void)record;
    if (beside->records++ != 3) return TRIB_OK;
    for (int i = 0; i < 4; i++) { /* four segments: one becomes the spare and is written over */
        if (kit_write(beside->writer, 10, 500, err) != TRIB_OK) fail_msg("%s", err->text);
        if (kit_checkpoint(beside->writer, trib_store_position(beside->writer), 100, err) != TRIB_OK)
            fail_msg("%s", err->text);
    }
    return TRIB_OK;
}

static void test_replay_of_what_goes(void **state) {
    const struct kit *kit = *state;
    struct trib_error err = {0};
    struct beside beside = {.writer = with_history(kit, 2)};
    struct trib_store *reader = kit_open(kit, (struct trib_store_options){.read_only = true});
    enum trib_status status =
        trib_store_replay(reader, 28, UINT64_MAX, skip_checkpoint, checkpoint_beside, &beside, &err);
    assert_int_equal(status, TRIB_AGAIN);
    assert_non_null(strstr(err.text, "try again"));
    struct kit_seen seen;
    assert_int_equal(kit_replay(reader, 28, UINT64_MAX, 500, &seen, &err), TRIB_NOT_FOUND);
    assert_int_equal(kit_replay(reader, 0, UINT64_MAX, 500, &seen, &err), TRIB_NOT_FOUND);
    assert_non_null(strstr(err.text, "is kept from position 71"));
    trib_store_close(&reader);
    trib_store_close(&beside.writer);
}

static void test_read_only_makes_nothing(void **state) {
    const struct kit *kit = *state;
    struct trib_error err = {0};
    struct trib_store *store = NULL;
    struct trib_store_options options = {.path = kit->path, .read_only = true};
    assert_int_equal(trib_store_open(&options, &store, &err), TRIB_IO);
    assert_false(kit_exists(kit, "store.lock"));
    assert_false(kit_exists(kit, "journal.db"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_kept_checkpoints),
        T(test_replay),
        T(test_replay_of_what_goes),
        T(test_read_only_makes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
