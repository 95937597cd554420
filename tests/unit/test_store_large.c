/* Payloads in files of their own: they become segments as they are, are read back and swept like others, and
 * are never written over while somebody reads them. */
#include "shared/store/large.h"

#include "shared/kernels/kernels.h"
#include "shared/store/store.h"
#include "tests/support/cmocka.h"
#include "tests/support/pages.h"
#include "tests/support/store_kit.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

enum { LARGE = 300000, PIECE = 65536 };

static uint8_t byte_at(size_t i) {
    return (uint8_t)(i * 7 + i / 251);
}

static struct trib_blob *filled(const struct kit *kit) {
    struct trib_blob *blob = trib_large_new(kit->path, LARGE);
    assert_non_null(blob);
    static uint8_t piece[PIECE];
    for (size_t at = 0; at < LARGE; at += PIECE) {
        size_t n = LARGE - at < PIECE ? LARGE - at : PIECE;
        for (size_t i = 0; i < n; i++) piece[i] = byte_at(at + i);
        assert_true(trib_blob_write(blob, at, piece, n));
    }
    return blob;
}

static bool right(const struct trib_blob *blob) {
    bool same = trib_blob_size(blob) == LARGE;
    for (size_t i = 0; same && i < LARGE; i++) same = trib_blob_data(blob)[i] == byte_at(i);
    return same;
}

static size_t files_named(const struct kit *kit, const char *suffix) {
    char folder[KIT_PATH];
    size_t count = 0;
    kit_file(kit, "segments", folder);
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += strstr(entry->d_name, suffix) != NULL;
    closedir(dir);
    return count;
}

static void write_one(struct trib_store *store, uint64_t position, struct trib_blob *payload) {
    struct trib_error err = {0};
    struct trib_record record = {.kind = TRIB_REC_VERDICT, .position = position, .payload = payload};
    if (trib_store_write(store, &record, 1, &err) != TRIB_OK) fail_msg("%s", err.text);
}

struct seen {
    size_t large, small;
};

static enum trib_status no_checkpoint(void *ctx, uint64_t position, const struct trib_feed *feed,
                                      struct trib_error *err) {
    (void)ctx, (void)position, (void)feed, (void)err;
    return TRIB_OK;
}

static enum trib_status take(void *ctx, const struct trib_record *record, struct trib_error *err) {
    struct seen *seen = ctx;
    (void)err;
    if (right(record->payload))
        seen->large++;
    else if (trib_blob_size(record->payload) == 5 && memcmp(trib_blob_data(record->payload), "small", 5) == 0)
        seen->small++;
    return TRIB_OK;
}

static void expect(struct trib_store *store, size_t large, size_t small) {
    struct seen seen = {0};
    struct trib_error err = {0};
    if (trib_store_recover(store, no_checkpoint, take, &seen, &err) != TRIB_OK) fail_msg("%s", err.text);
    assert_int_equal(seen.large, large);
    assert_int_equal(seen.small, small);
}

/* What was read leaves memory, and can be read again. */
static void test_rests_in_its_file(void **state) {
    struct kit *kit = *state;
    struct trib_store *store = kit_open(kit, (struct trib_store_options){.durability = TRIB_DURABLE_NONE});
    struct trib_blob *large = filled(kit);
    struct pages pages;
    assert_true(right(large));
    bool known = pages_of(trib_blob_data(large), &pages);
    if (known) assert_true(pages.resident_kib >= LARGE / 1024);
    trib_blob_rest(large);
    if (known) {
        assert_true(pages_of(trib_blob_data(large), &pages));
        assert_int_equal(pages.resident_kib, 0);
    }
    assert_true(right(large));
    trib_blob_unref(&large);
    trib_store_close(&store);
}

static void test_becomes_a_segment(void **state) {
    struct kit *kit = *state;
    for (int durability = TRIB_DURABLE_FULL; durability <= TRIB_DURABLE_NONE; durability++) {
        kit_clear(kit);
        struct trib_store_options options = {.durability = (enum trib_durability)durability};
        struct trib_store *store = kit_open(kit, options);
        struct trib_blob *large = filled(kit), *small = trib_blob_copy("small", 5);
        assert_int_equal(trib_blob_memory(large), 0);
        assert_int_equal(files_named(kit, ".large"), 1);
        write_one(store, 1, small);
        write_one(store, 2, large);
        assert_int_equal(files_named(kit, ".large"), 0);
        assert_int_equal(files_named(kit, ".seg"), 2);
        write_one(store, 3, small);
        write_one(store, 4, large); /* once more: it is copied, as from memory */
        assert_true(right(large));
        trib_blob_unref(&large);
        expect(store, 2, 2);
        trib_store_close(&store);
        store = kit_open(kit, options);
        expect(store, 2, 2);
        large = filled(kit);
        write_one(store, 5, large);
        trib_blob_unref(&large);
        trib_store_close(&store);
        store = kit_open(kit, options); /* ... where the last segment is a large one */
        write_one(store, 6, small);
        expect(store, 3, 3);
        trib_store_close(&store);
        trib_blob_unref(&small);
    }
}

static void test_in_one_group(void **state) {
    struct kit *kit = *state;
    struct trib_error err = {0};
    struct trib_store *store = kit_open(kit, (struct trib_store_options){.segment_bytes = 4000});
    struct trib_blob *a = filled(kit), *b = filled(kit), *small = trib_blob_copy("small", 5);
    struct trib_blob *payloads[] = {small, a, small, b, NULL, small};
    struct trib_record records[6];
    for (size_t i = 0; i < 6; i++)
        records[i] =
            (struct trib_record){.kind = TRIB_REC_VERDICT, .position = i + 1, .payload = payloads[i]};
    if (trib_store_write(store, records, 6, &err) != TRIB_OK) fail_msg("%s", err.text);
    expect(store, 2, 3);
    trib_store_close(&store);
    store = kit_open(kit, (struct trib_store_options){.segment_bytes = 4000});
    expect(store, 2, 3);
    trib_store_close(&store);
    trib_blob_unref(&a);
    trib_blob_unref(&b);
    trib_blob_unref(&small);
}

static void test_never_written(void **state) {
    struct kit *kit = *state;
    struct trib_store *store = kit_open(kit, (struct trib_store_options){0});
    struct trib_blob *blob = filled(kit);
    trib_blob_unref(&blob);
    assert_int_equal(files_named(kit, ".large"), 0); /* gone with its blob */
    blob = filled(kit);
    trib_store_close(&store);
    assert_int_equal(files_named(kit, ".large"), 1); /* as after a crash */
    store = kit_open(kit, (struct trib_store_options){0});
    assert_int_equal(files_named(kit, ".large"), 0);
    assert_true(right(blob));
    trib_store_close(&store);
    trib_blob_unref(&blob);
}

/* A state that holds an update on reads it from its segment, also when no row needs that any more and new
 * segments are made of old ones. */
static void test_not_written_over(void **state) {
    struct kit *kit = *state;
    struct trib_error err = {0};
    struct trib_store *store = kit_open(kit, (struct trib_store_options){.segment_bytes = 100000});
    struct trib_blob *large = filled(kit), *other = trib_blob_new(90000);
    write_one(store, 1, large);
    write_one(store, 2, other);
    assert_int_equal(kit_checkpoint(store, 2, 100, &err), TRIB_OK);
    for (uint64_t position = 3; position < 9; position++) write_one(store, position, other);
    assert_int_equal(kit_checkpoint(store, 8, 100, &err), TRIB_OK);
    for (uint64_t position = 9; position < 15; position++) write_one(store, position, other);
    assert_true(right(large));
    trib_store_close(&store);
    trib_blob_unref(&large);
    trib_blob_unref(&other);
}

static void test_damage_is_found(void **state) {
    struct kit *kit = *state;
    struct trib_error err = {0};
    struct seen seen = {0};
    char path[KIT_PATH];
    struct trib_store *store = kit_open(kit, (struct trib_store_options){0});
    struct trib_blob *large = filled(kit);
    write_one(store, 1, large);
    trib_store_close(&store);
    trib_blob_unref(&large);
    kit_file(kit, "segments/0000000000000001.seg", path);
    assert_int_equal(kit_size(path), LARGE + 40);
    kit_flip(path, 12345);
    store = kit_open(kit, (struct trib_store_options){0});
    assert_int_equal(trib_store_recover(store, no_checkpoint, take, &seen, &err), TRIB_CORRUPT);
    trib_store_close(&store);
}

static void test_no_room(void **state) {
    struct kit *kit = *state;
    struct trib_store *store = kit_open(kit, (struct trib_store_options){0});
    assert_null(trib_large_new(kit->path, (size_t)UINT32_MAX));
    assert_null(trib_large_new("/proc/no-such-folder/edge.db", LARGE));
    assert_int_equal(files_named(kit, ".large"), 0);
    trib_store_close(&store);
}

static size_t descriptors(void) {
    size_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL) count++;
    closedir(dir);
    return count;
}

/* A rule may keep one of every child's. */
static void test_keeps_no_descriptor(void **state) {
    struct kit *kit = *state;
    enum { MANY = 20 };
    struct trib_store *store = kit_open(kit, (struct trib_store_options){0});
    struct trib_blob *blobs[MANY];
    blobs[0] = filled(kit);
    write_one(store, 1, blobs[0]);
    const size_t before = descriptors();
    for (uint64_t i = 1; i < MANY; i++) {
        blobs[i] = filled(kit);
        write_one(store, i + 1, blobs[i]);
    }
    assert_int_equal(descriptors(), before);
    for (size_t i = 0; i < MANY; i++) {
        assert_true(right(blobs[i]));
        trib_blob_unref(&blobs[i]);
    }
    trib_store_close(&store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rests_in_its_file, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(test_becomes_a_segment, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(test_in_one_group, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(test_never_written, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(test_not_written_over, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(test_damage_is_found, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(test_keeps_no_descriptor, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(test_no_room, kit_setup, kit_teardown),
    };
    return cmocka_run_group_tests_name("store_large", tests, NULL, NULL);
}
