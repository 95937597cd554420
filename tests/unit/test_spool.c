/* The spool of devices: what comes back is what was saved, or the file before it; what is damaged is set
 * aside, what is newer is left alone. Disks that fail are in tests/fault/test_spool_fault.c. */
#include "shared/store/spool.h"

#include "shared/base/bytes.h"
#include "shared/kernels/kernels.h"
#include "tests/support/cmocka.h"
#include "tests/support/roles.h"
#include "tests/support/store_kit.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct kit kit;
static char file[KIT_PATH], aside[KIT_PATH];

static int setup(void **unused) {
    (void)unused;
    kit_init(&kit);
    kit_file(&kit, "d-1.spool", file);
    kit_file(&kit, "d-1.spool.damaged", aside);
    return 0;
}

static int teardown(void **unused) {
    (void)unused;
    kit_release(&kit);
    return 0;
}

static struct trib_spool *open_with(bool unsynced) {
    struct trib_spool_options options = {.folder = kit.folder, .unsynced = unsynced};
    struct trib_spool *spool = NULL;
    struct trib_error err = {0};
    if (trib_spool_open(&options, &spool, &err) != TRIB_OK) fail_msg("%s", err.text);
    return spool;
}

static struct trib_spool *open_spool(void) {
    return open_with(false);
}

static struct trib_state *empty(void) {
    struct trib_state *state;
    struct trib_state_limits limits = {0};
    assert_int_equal(trib_state_new(TRIB_ROLE_DEVICE, &limits, &state, NULL), TRIB_OK);
    return state;
}

/* A device with an update that has no verdict, and, with `residual`, something its codec left over. */
static void device(struct role_node *node, bool residual) {
    role_child(node, (struct role_options){.role = TRIB_ROLE_DEVICE});
    role_poll(node);
    trib_participant_connected(node->participant, node->now_ms);
    (void)role_collect(node, true);
    struct trib_msg welcome = role_welcome(5, 70, 0);
    if (residual)
        welcome.plan = role_text("codec.up: f16\ncodec.down: f32\ncodec.forward: f32\ncodec.global: f32\n");
    role_deliver(node, 0, NULL, &welcome, NULL);
    struct trib_msg seed = role_seed_model(5);
    role_deliver(node, 0, NULL, &seed, NULL);
    role_submit(node, 0.1f);
    assert_int_equal(node->state->held_count, 1);
    assert_int_equal(node->state->own[0] != 0, residual);
}

static void save(struct trib_spool *spool, const struct trib_state *state, bool with_model) {
    struct trib_error err = {0};
    if (trib_spool_save(spool, "d-1", state, with_model, &err) != TRIB_OK) fail_msg("%s", err.text);
}

static enum trib_status load(struct trib_spool *spool, struct trib_state **out, struct trib_error *err) {
    *out = empty();
    enum trib_status status = trib_spool_load(spool, "d-1", *out, err);
    if (status != TRIB_OK) trib_state_free(out);
    return status;
}

static void same(const struct trib_state *a, const struct trib_state *b) {
    uint8_t x[TRIB_DIGEST_BYTES], y[TRIB_DIGEST_BYTES];
    assert_int_equal(trib_state_digest(a, x), TRIB_OK);
    assert_int_equal(trib_state_digest(b, y), TRIB_OK);
    assert_memory_equal(x, y, sizeof x);
}

static void test_what_was_saved_comes_back(void **unused) {
    (void)unused;
    for (int residual = 0; residual < 2; residual++) {
        struct role_node node;
        struct trib_state *back;
        device(&node, residual);
        struct trib_spool *spool = open_spool();
        save(spool, node.state, true);
        assert_int_equal(load(spool, &back, NULL), TRIB_OK);
        same(back, node.state);
        trib_state_free(&back);
        trib_spool_close(&spool);
        role_stop(&node);
    }
}

static void test_the_model_may_stay_out(void **unused) {
    (void)unused;
    struct role_node node;
    struct trib_state *back;
    device(&node, true);
    struct trib_spool *spool = open_spool();
    save(spool, node.state, true);
    long with = kit_size(file);
    save(spool, node.state, false);
    assert_int_equal(with - kit_size(file), ROLE_N * sizeof(float));
    assert_int_equal(load(spool, &back, NULL), TRIB_OK);
    assert_false(back->has_model);
    assert_int_equal(back->incarnation, node.state->incarnation);
    assert_int_equal(back->parent_incarnation, 70);
    assert_int_equal(back->next_number, 2);
    assert_memory_equal(back->own, node.state->own, ROLE_N * sizeof(float));
    assert_int_equal(back->held_count, 1);
    assert_int_equal(back->held[0].payload_crc, node.state->held[0].payload_crc);
    assert_memory_equal(back->held[0].base_digest, node.state->held[0].base_digest, 4);
    trib_state_free(&back);
    trib_spool_close(&spool);
    role_stop(&node);
}

static void test_zeros_take_no_room(void **unused) {
    (void)unused;
    struct role_node with, without;
    device(&with, true);
    device(&without, false);
    struct trib_spool *spool = open_spool();
    save(spool, with.state, false);
    long more = kit_size(file) - 2 * ROLE_N; /* f16 */
    save(spool, without.state, false);
    assert_int_equal(more - (kit_size(file) - 4 * ROLE_N), ROLE_N * sizeof(float));
    trib_spool_close(&spool);
    role_stop(&with);
    role_stop(&without);
}

static void test_nothing_there(void **unused) {
    (void)unused;
    struct trib_state *back;
    struct trib_spool *spool = open_spool();
    assert_int_equal(load(spool, &back, NULL), TRIB_NOT_FOUND);
    trib_spool_close(&spool);
}

/* ---- damage ---- */

static size_t read_file(const char *path, uint8_t *out, size_t room) {
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t got = fread(out, 1, room, f);
    (void)fclose(f);
    return got;
}

/* Anew: some file systems flush a file that replaces another, and these tests write thousands. */
static void write_file(const char *path, const uint8_t *data, size_t bytes) {
    (void)unlink(path);
    (void)unlink(aside);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
}

static void is_set_aside(struct trib_spool *spool) {
    struct trib_state *back;
    struct trib_error err = {0};
    assert_int_equal(load(spool, &back, &err), TRIB_CORRUPT);
    assert_non_null(strstr(err.text, "d-1.spool"));
    assert_int_equal(access(file, F_OK), -1);
    assert_int_equal(access(aside, F_OK), 0);
    assert_int_equal(load(spool, &back, NULL), TRIB_NOT_FOUND);
}

static void test_damage_is_set_aside(void **unused) {
    (void)unused;
    static uint8_t good[16384], bad[16384];
    struct role_node node;
    device(&node, true);
    struct trib_spool *spool = open_with(true);
    save(spool, node.state, true);
    size_t bytes = read_file(file, good, sizeof good);
    assert_true(bytes > 200 && bytes < sizeof good);
    for (size_t at = 0; at < bytes; at++) {
        memcpy(bad, good, bytes);
        bad[at] ^= 0x10;
        write_file(file, bad, bytes);
        is_set_aside(spool);
    }
    for (size_t cut = 0; cut < bytes; cut += cut < 40 ? 1 : 37) {
        write_file(file, good, cut);
        is_set_aside(spool);
    }
    memcpy(bad, good, bytes);
    write_file(file, bad, bytes + 1);
    is_set_aside(spool);
    trib_spool_close(&spool);
    role_stop(&node);
}

/* What a newer program, or another kind of node, would write: sound, and not for this one. */
static void rewrite(uint32_t format, size_t flip, uint8_t with) {
    static uint8_t whole[16384];
    size_t bytes = read_file(file, whole, sizeof whole);
    trib_put_u32(whole + 8, format);
    if (flip > 0) whole[flip] = with;
    uint32_t crc = trib_kernels()->crc32c(0, whole + 8, 4);
    trib_put_u32(whole + 12, trib_kernels()->crc32c(crc, whole + 16, bytes - 16));
    write_file(file, whole, bytes);
}

static void test_what_is_newer_stays(void **unused) {
    (void)unused;
    struct role_node node;
    struct trib_state *back;
    struct trib_error err = {0};
    device(&node, false);
    struct trib_spool *spool = open_spool();
    save(spool, node.state, false);
    rewrite(2, 0, 0);
    assert_int_equal(load(spool, &back, &err), TRIB_NEWER);
    assert_non_null(strstr(err.text, "format 2"));
    rewrite(1, 24 + 8, 9); /* the checkpoint's own format */
    assert_int_equal(load(spool, &back, &err), TRIB_NEWER);
    save(spool, node.state, false);
    rewrite(1, 24 + 16, TRIB_ROLE_EDGE);
    assert_int_equal(load(spool, &back, &err), TRIB_INVALID);
    assert_non_null(strstr(err.text, "another role"));
    assert_int_equal(access(file, F_OK), 0);
    assert_int_equal(access(aside, F_OK), -1);
    save(spool, node.state, false);
    rewrite(1, 24, 'X'); /* no checkpoint at all, though its checksum is right */
    is_set_aside(spool);
    trib_spool_close(&spool);
    role_stop(&node);
}

/* Content that was altered together with its checksum is refused, or makes no harm: nothing in it is trusted.
 */
static void test_content_is_checked(void **unused) {
    (void)unused;
    static uint8_t good[16384];
    static const uint8_t patterns[] = {0x01, 0x80, 0xFF};
    struct role_node node;
    device(&node, true);
    struct trib_spool *spool = open_with(true);
    save(spool, node.state, true);
    size_t bytes = read_file(file, good, sizeof good), refused = 0;
    for (size_t at = 24; at < bytes; at++)
        for (size_t p = 0; p < sizeof patterns; p++) {
            struct trib_state *back;
            write_file(file, good, bytes);
            rewrite(1, at, good[at] ^ patterns[p]);
            enum trib_status status = load(spool, &back, NULL);
            refused += status != TRIB_OK;
            if (status == TRIB_OK) trib_state_free(&back);
        }
    assert_true(refused > 100);
    trib_spool_close(&spool);
    role_stop(&node);
}

/* ---- who and where ---- */

static void test_one_folder_one_process(void **unused) {
    (void)unused;
    struct trib_spool *spool = open_spool(), *other = NULL;
    struct trib_spool_options options = {.folder = kit.folder};
    struct trib_error err = {0};
    assert_int_equal(trib_spool_open(&options, &other, &err), TRIB_AGAIN);
    char words[64];
    (void)snprintf(words, sizeof words, "in use by process %ld", (long)getpid());
    assert_non_null(strstr(err.text, words));
    trib_spool_close(&spool);
    spool = open_spool();
    trib_spool_close(&spool);
}

static void test_names_stay_in_the_folder(void **unused) {
    (void)unused;
    struct role_node node;
    device(&node, false);
    struct trib_spool *spool = open_spool();
    assert_int_equal(trib_spool_save(spool, "../d-1", node.state, false, NULL), TRIB_INVALID);
    assert_int_equal(trib_spool_save(spool, "", node.state, false, NULL), TRIB_INVALID);
    trib_spool_close(&spool);
    role_stop(&node);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_what_was_saved_comes_back), T(test_the_model_may_stay_out),
        T(test_zeros_take_no_room),        T(test_nothing_there),
        T(test_damage_is_set_aside),       T(test_what_is_newer_stays),
        T(test_content_is_checked),        T(test_one_folder_one_process),
        T(test_names_stay_in_the_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
