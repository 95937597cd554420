#include "tests/support/store_kit.h"

#include "tests/support/cmocka.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void delete_in(const char *folder) {
    DIR *dir = opendir(folder);
    if (dir == NULL) return;
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        char path[2 * KIT_PATH];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        (void)snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (e->d_type == DT_DIR) {
            delete_in(path);
            (void)rmdir(path);
        } else {
            (void)unlink(path);
        }
    }
    (void)closedir(dir);
}

void kit_init(struct kit *kit) {
    (void)snprintf(kit->folder, sizeof kit->folder, "/tmp/trib_store_XXXXXX");
    TRIB_ASSERT(mkdtemp(kit->folder) != NULL);
    kit_file(kit, "journal.db", kit->path);
}

void kit_clear(const struct kit *kit) {
    delete_in(kit->folder);
}

void kit_release(struct kit *kit) {
    delete_in(kit->folder);
    (void)rmdir(kit->folder);
}

void kit_file(const struct kit *kit, const char *name, char out[KIT_PATH]) {
    (void)snprintf(out, KIT_PATH, "%s/%s", kit->folder, name);
}

void kit_flip(const char *path, long offset) {
    FILE *f = fopen(path, "r+b");
    TRIB_ASSERT(f != NULL && fseek(f, offset, offset < 0 ? SEEK_END : SEEK_SET) == 0);
    int c = fgetc(f);
    TRIB_ASSERT(c != EOF && fseek(f, -1, SEEK_CUR) == 0);
    TRIB_ASSERT(fputc(c ^ 0x40, f) != EOF && fclose(f) == 0);
}

long kit_size(const char *path) {
    FILE *f = fopen(path, "rb");
    if (f == NULL) return -1;
    long size = fseek(f, 0, SEEK_END) == 0 ? ftell(f) : -1;
    (void)fclose(f);
    return size;
}

bool kit_exists(const struct kit *kit, const char *name) {
    char path[KIT_PATH];
    kit_file(kit, name, path);
    return access(path, F_OK) == 0;
}

int kit_setup(void **state) {
    static struct kit kit;
    kit_init(&kit);
    *state = &kit;
    return 0;
}

int kit_teardown(void **state) {
    kit_release(*state);
    return 0;
}

static void fill(uint8_t *data, size_t bytes, uint64_t seed) {
    for (size_t i = 0; i < bytes; i++) data[i] = (uint8_t)(seed * 31 + i * 7 + (i >> 8));
}

struct trib_record kit_record(uint64_t position, size_t bytes) {
    struct trib_record r = {.kind = TRIB_REC_VERDICT, .position = position};
    trib_rec_set(&r, NOW, now_ms, 1000 + position);
    trib_rec_set(&r, PEER, peer, ((struct trib_text){"device-1", 8}));
    trib_rec_set(&r, NUMBER, number, position * 3);
    trib_rec_set(&r, FACTOR, factor, 1.0f / (float)position);
    if (position % 3 == 0) return r;
    r.payload = trib_blob_new(bytes + (size_t)position);
    if (r.payload != NULL) fill(trib_blob_mutable(r.payload), bytes + (size_t)position, position);
    return r;
}

enum trib_status kit_write(struct trib_store *store, size_t count, size_t bytes, struct trib_error *err) {
    struct trib_record records[256];
    TRIB_ASSERT(count <= 256);
    bool failed = false;
    uint64_t next = trib_store_position(store) + 1;
    for (size_t i = 0; i < count; i++) {
        records[i] = kit_record(next + i, bytes);
        failed = failed || (records[i].payload == NULL && (next + i) % 3 != 0);
    }
    enum trib_status status = failed ? TRIB_NOMEM : trib_store_write(store, records, count, err);
    for (size_t i = 0; i < count; i++) trib_blob_unref(&records[i].payload);
    return status;
}

enum { PIECE = 10007 };

enum trib_status kit_checkpoint(struct trib_store *store, uint64_t position, size_t bytes,
                                struct trib_error *err) {
    struct trib_sink sink;
    enum trib_status status = trib_store_checkpoint_begin(store, position, &sink, err);
    if (status != TRIB_OK) return status;
    uint8_t piece[PIECE];
    uint64_t size = bytes;
    status = sink.write(sink.ctx, &size, sizeof size, err);
    for (size_t at = 0; at < bytes && status == TRIB_OK; at += PIECE) {
        size_t n = bytes - at < PIECE ? bytes - at : PIECE;
        fill(piece, n, position + at);
        status = sink.write(sink.ctx, piece, n, err);
    }
    if (status == TRIB_OK) return trib_store_checkpoint_commit(store, err);
    trib_store_checkpoint_abort(store);
    return status;
}

static enum trib_status see_checkpoint(void *ctx, uint64_t position, const struct trib_feed *feed,
                                       struct trib_error *err) {
    struct kit_seen *seen = ctx;
    uint8_t piece[PIECE], expected[PIECE];
    uint64_t size = 0;
    seen->checkpoint = position;
    enum trib_status status = feed->read(feed->ctx, &size, sizeof size, err);
    for (size_t at = 0; at < size && status == TRIB_OK; at += PIECE) {
        size_t n = size - at < PIECE ? (size_t)size - at : PIECE;
        status = feed->read(feed->ctx, piece, n, err);
        fill(expected, n, position + at);
        if (status == TRIB_OK && memcmp(piece, expected, n) != 0) seen->wrong = true;
    }
    return status;
}

static bool same(const struct trib_record *a, const struct trib_record *b) {
    return a->kind == b->kind && a->present == b->present && a->now_ms == b->now_ms &&
           a->number == b->number && memcmp(&a->factor, &b->factor, sizeof a->factor) == 0 &&
           a->peer.size == b->peer.size && memcmp(a->peer.data, b->peer.data, a->peer.size) == 0 &&
           (a->payload == NULL) == (b->payload == NULL) &&
           trib_blob_size(a->payload) == trib_blob_size(b->payload) &&
           (a->payload == NULL ||
            memcmp(trib_blob_data(a->payload), trib_blob_data(b->payload), trib_blob_size(a->payload)) == 0);
}

static enum trib_status see_record(void *ctx, const struct trib_record *record, struct trib_error *err) {
    struct kit_seen *seen = ctx;
    (void)err;
    struct trib_record expected = kit_record(record->position, seen->bytes);
    uint64_t follows = seen->last != 0 ? seen->last : seen->checkpoint;
    if (record->position != follows + 1 || !same(record, &expected)) seen->wrong = true;
    trib_blob_unref(&expected.payload);
    if (seen->count++ == 0) seen->first = record->position;
    seen->last = record->position;
    return TRIB_OK;
}

enum trib_status kit_recover(struct trib_store *store, size_t bytes, struct kit_seen *seen,
                             struct trib_error *err) {
    *seen = (struct kit_seen){.bytes = bytes};
    return trib_store_recover(store, see_checkpoint, see_record, seen, err);
}

enum trib_status kit_replay(struct trib_store *store, uint64_t from, uint64_t until, size_t bytes,
                            struct kit_seen *seen, struct trib_error *err) {
    *seen = (struct kit_seen){.bytes = bytes};
    return trib_store_replay(store, from, until, see_checkpoint, see_record, seen, err);
}

struct trib_store *kit_open(const struct kit *kit, struct trib_store_options options) {
    struct trib_store *store = NULL;
    struct trib_error err = {0};
    options.path = kit->path;
    if (trib_store_open(&options, &store, &err) != TRIB_OK) fail_msg("%s", err.text);
    return store;
}

void kit_write_well(struct trib_store *store, size_t count, size_t bytes) {
    struct trib_error err = {0};
    if (kit_write(store, count, bytes, &err) != TRIB_OK) fail_msg("%s", err.text);
}

void kit_expect(struct trib_store *store, uint64_t checkpoint, uint64_t last, size_t bytes) {
    struct kit_seen seen;
    struct trib_error err = {0};
    if (kit_recover(store, bytes, &seen, &err) != TRIB_OK) fail_msg("%s", err.text);
    assert_false(seen.wrong);
    assert_int_equal(seen.checkpoint, checkpoint);
    assert_int_equal(seen.count, last - checkpoint);
    if (last > checkpoint) assert_int_equal(seen.last, last);
}
