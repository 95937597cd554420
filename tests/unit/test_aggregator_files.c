/* The parent role and updates that come into files: their budget is their own, and a file that cannot be made
 * or written costs nothing but a repeat. */
#include "tests/support/cmocka.h"

#include "shared/base/alloc.h"
#include "shared/wire/pace.h"
#include "tests/support/transfers.h"

#include <stdlib.h>
#include <string.h>

enum { C = TRIB_CHUNK_MIN };

/* Files of the test: memory, and how many there are. */
struct files {
    size_t made, there, rested;
    bool none, broken; /* cannot be made; cannot be written */
};

struct file {
    struct files *files;
    uint8_t bytes[];
};

static void release(void *owner) {
    struct file *file = owner;
    file->files->there--;
    free(file);
}

static bool put(void *owner, size_t at, const void *data, size_t bytes) {
    struct file *file = owner;
    if (file->files->broken) return false;
    memcpy(file->bytes + at, data, bytes);
    return true;
}

static void rest(void *owner) {
    struct file *file = owner;
    file->files->rested++;
}

static const struct trib_blob_file in_file = {.write = put, .rest = rest, .release = release};

static struct trib_blob *make(void *ctx, size_t bytes) {
    struct files *files = ctx;
    if (files->none) return NULL;
    struct file *file = malloc(sizeof *file + bytes);
    assert_non_null(file);
    file->files = files;
    files->made++;
    files->there++;
    return trib_blob_wrap_file(file->bytes, bytes, &in_file, file);
}

static void cloud(struct role_node *node, struct files *files, size_t budget, uint64_t file_budget) {
    role_parent(node, (struct role_options){.role = TRIB_ROLE_CLOUD,
                                            .huge = true,
                                            .aggregator = {.budget_bytes = budget,
                                                           .file = make,
                                                           .file_ctx = files,
                                                           .file_bytes = file_budget}});
}

static uint64_t spooled(const struct role_node *node) {
    return trib_aggregator_status(node->aggregator).spooled_bytes;
}

static void test_large_ones_come_into_files(void **unused) {
    (void)unused;
    struct role_node node;
    struct files files = {0};
    cloud(&node, &files, XFER_BIG, 2 * XFER_BIG);
    uint64_t a = xfer_child(&node, 1, "a"), b = xfer_child(&node, 2, "b"), c = xfer_child(&node, 3, "c");
    struct trib_blob *payload = role_floats(ROLE_HUGE_N, 0.25f);
    xfer_offer(&node, 1, a, 1, payload);
    (void)xfer_credit(&node, 1, 0);
    xfer_offer(&node, 2, b, 1, payload); /* the budget in memory would have room for one */
    (void)xfer_credit(&node, 1, 0);
    xfer_offer(&node, 3, c, 1, payload);
    role_silent(&node);
    assert_int_equal(files.made, 2);
    assert_int_equal(spooled(&node), 2 * XFER_BIG);
    assert_int_equal(xfer_in_flight(&node), 0);
    xfer_piece(&node, 1, a, 1, payload, 0, XFER_BIG);
    xfer_accepted(&node, 1);
    assert_int_equal(xfer_credit(&node, 1, 0)->route, 3);
    xfer_piece(&node, 2, b, 1, payload, 0, XFER_BIG);
    xfer_accepted(&node, 1);
    xfer_piece(&node, 3, c, 1, payload, 0, XFER_BIG);
    xfer_accepted(&node, 1);
    assert_int_equal(spooled(&node), 0);
    assert_int_equal(files.made, 3);
    assert_int_equal(files.rested, 3); /* as soon as each was judged, written or not */
    trib_blob_unref(&payload);
    role_rebuild(&node);
    role_stop(&node);
    assert_int_equal(files.there, 0);
}

/* Half the budget is not large. */
static void test_small_ones_come_into_memory(void **unused) {
    (void)unused;
    struct role_node node;
    struct files files = {0};
    cloud(&node, &files, 2 * XFER_BIG, 0);
    uint64_t a = xfer_child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_HUGE_N, 0.25f);
    xfer_offer(&node, 1, a, 1, payload);
    (void)xfer_credit(&node, 1, 0);
    assert_int_equal(files.made, 0);
    assert_int_equal(xfer_in_flight(&node), XFER_BIG);
    trib_blob_unref(&payload);
    role_stop(&node);
}

static void test_no_file(void **unused) {
    (void)unused;
    struct role_node node;
    struct files files = {.none = true};
    cloud(&node, &files, 8, 0);
    uint64_t a = xfer_child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_HUGE_N, 0.25f);
    xfer_offer(&node, 1, a, 1, payload);
    assert_int_equal(role_error(&node, TRIB_CODE_CREDIT)->msg.number, 1);
    assert_int_equal(spooled(&node), 0);
    files.none = false; /* room again */
    xfer_offer(&node, 1, a, 1, payload);
    (void)xfer_credit(&node, 1, 0);
    files.broken = true;
    xfer_piece(&node, 1, a, 1, payload, 0, C);
    assert_int_equal(role_error(&node, TRIB_CODE_CREDIT)->msg.number, 1);
    assert_int_equal(spooled(&node), 0);
    assert_int_equal(files.there, 0);
    files.broken = false;
    xfer_offer(&node, 1, a, 1, payload);
    (void)xfer_credit(&node, 1, 0);
    xfer_piece(&node, 1, a, 1, payload, 0, XFER_BIG);
    xfer_accepted(&node, 1);
    trib_blob_unref(&payload);
    role_stop(&node);
}

static void test_damaged(void **unused) {
    (void)unused;
    struct role_node node;
    struct files files = {0};
    cloud(&node, &files, 8, 0);
    uint64_t a = xfer_child(&node, 1, "a");
    struct trib_blob *payload = role_floats(ROLE_HUGE_N, 0.25f), *other = role_floats(ROLE_HUGE_N, 0.5f);
    xfer_offer(&node, 1, a, 1, payload);
    (void)xfer_credit(&node, 1, 0);
    xfer_piece(&node, 1, a, 1, payload, 0, C);
    (void)xfer_credit(&node, 1, C);
    xfer_piece(&node, 1, a, 1, other, C, XFER_BIG - C);
    assert_int_equal(role_error(&node, TRIB_CODE_CREDIT)->msg.number, 1);
    assert_int_equal(role_recorded(&node, TRIB_REC_VERDICT), 0);
    assert_int_equal(files.there, 0);
    trib_blob_unref(&payload);
    trib_blob_unref(&other);
    role_stop(&node);
}

/* Who stops in the middle gives its room to others and keeps its file, one beside the budget. */
static void test_stalled(void **unused) {
    (void)unused;
    struct role_node node;
    struct files files = {0};
    cloud(&node, &files, 8, XFER_BIG);
    uint64_t a = xfer_child(&node, 1, "a"), b = xfer_child(&node, 2, "b");
    struct trib_blob *payload = role_floats(ROLE_HUGE_N, 0.25f);
    xfer_offer(&node, 1, a, 1, payload);
    (void)xfer_credit(&node, 1, 0);
    xfer_piece(&node, 1, a, 1, payload, 0, C);
    (void)xfer_credit(&node, 1, C);
    role_wait(&node, 60 * 1000); /* nobody waits: it holds nobody up */
    xfer_offer(&node, 2, b, 1, payload);
    role_silent(&node);
    role_wait(&node, 1500);
    assert_int_equal(xfer_credit(&node, 1, 0)->route, 2);
    assert_int_equal(spooled(&node), 2 * XFER_BIG);
    assert_int_equal(xfer_parked(&node), 0);
    xfer_piece(&node, 1, a, 1, payload, C, C); /* it was slow, not dead */
    xfer_piece(&node, 2, b, 1, payload, 0, XFER_BIG);
    xfer_accepted(&node, 1);
    assert_int_equal(spooled(&node), XFER_BIG);
    xfer_piece(&node, 1, a, 1, payload, 2 * C, XFER_BIG - 2 * C);
    xfer_accepted(&node, 1);
    assert_int_equal(spooled(&node), 0);
    trib_blob_unref(&payload);
    role_stop(&node);
    assert_int_equal(files.there, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_ones_come_into_files),
        cmocka_unit_test(test_small_ones_come_into_memory),
        cmocka_unit_test(test_no_file),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_stalled),
    };
    return cmocka_run_group_tests_name("aggregator_files", tests, NULL, NULL);
}
