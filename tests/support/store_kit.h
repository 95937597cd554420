/* What the tests of the store share: a folder of one's own, records with payloads that can be told apart, and
 * a check of everything that recovery hands back. */
#ifndef TESTS_SUPPORT_STORE_KIT_H
#define TESTS_SUPPORT_STORE_KIT_H

#include "shared/store/store.h"

enum { KIT_PATH = 300 };

struct kit {
    char folder[KIT_PATH - 32], path[KIT_PATH];
};

void kit_init(struct kit *kit);    /* an empty folder under /tmp */
void kit_release(struct kit *kit); /* deletes it */
void kit_clear(const struct kit *kit);
void kit_file(const struct kit *kit, const char *name, char out[KIT_PATH]);
/* XORs the byte at `offset` (from the end if negative) with 0x40. */
void kit_flip(const char *path, long offset);
long kit_size(const char *path);
bool kit_exists(const struct kit *kit, const char *name);
/* For cmocka: *state is a kit. */
int kit_setup(void **state);
int kit_teardown(void **state);

/* Record of `position`: every third has no payload, the others `bytes` + position bytes that depend on it. */
struct trib_record kit_record(uint64_t position, size_t bytes);
enum trib_status kit_write(struct trib_store *store, size_t count, size_t bytes, struct trib_error *err);
/* A checkpoint at `position` whose content depends on it. */
enum trib_status kit_checkpoint(struct trib_store *store, uint64_t position, size_t bytes,
                                struct trib_error *err);

struct kit_seen {
    uint64_t checkpoint, first, last, count; /* 0: none */
    size_t bytes;                            /* of payloads, as given to kit_record */
    bool wrong;                              /* something was not what was written */
};
/* Recovers, comparing every field and payload with kit_record and kit_checkpoint. */
enum trib_status kit_recover(struct trib_store *store, size_t bytes, struct kit_seen *seen,
                             struct trib_error *err);
/* The same by trib_store_replay. */
enum trib_status kit_replay(struct trib_store *store, uint64_t from, uint64_t until, size_t bytes,
                            struct kit_seen *seen, struct trib_error *err);

/* The same for tests in which it has to work; they fail with the error's text. */
struct trib_store *kit_open(const struct kit *kit,
                            struct trib_store_options options); /* its path is the kit's */
void kit_write_well(struct trib_store *store, size_t count, size_t bytes);
/* What is there is the checkpoint of that position, and every record from there to `last`. */
void kit_expect(struct trib_store *store, uint64_t checkpoint, uint64_t last, size_t bytes);

#endif
