/* The storage actor: a thread that owns a node's store, so that no sync blocks the reactor. Records go in,
 * positions come back when they are durable. One batch is on its way at a time; what comes meanwhile is the
 * next batch, so a slow disk makes larger groups, not a longer queue of syncs. */
#ifndef TRIB_DAEMON_STORAGE_H
#define TRIB_DAEMON_STORAGE_H

#include "shared/daemon/config.h"
#include "shared/ledger/ledger.h"
#include "shared/net/reactor.h"
#include "shared/state/outbox.h"
#include "shared/store/store.h"

struct trib_storage;

struct trib_storage_events {
    void *ctx;
    /* Everything up to `position` is durable (durability none: is written). */
    void (*committed)(void *ctx, uint64_t position);
    /* The checkpoint that was asked for has been copied out of the state, which may change again. */
    void (*saved)(void *ctx);
    /* It is durable and in force, or failed at any point (err). */
    void (*checkpointed)(void *ctx, const struct trib_error *err);
    /* A write failed: nothing more is written; the state must be rebuilt from the store. */
    void (*failed)(void *ctx, const struct trib_error *err);
};

struct trib_storage_options {
    struct trib_reactor *reactor;
    const char *path;                       /* of the database file */
    const struct trib_store_config *config; /* borrowed */
    struct trib_ledger_options ledger;
    struct trib_storage_events events;
};

/* Opens the store and rebuilds `state` (new and empty) from its checkpoint and records, then starts the
 * thread. */
enum trib_status trib_storage_open(struct trib_storage **out, const struct trib_storage_options *options,
                                   struct trib_state *state, struct trib_error *err) TRIB_MUST_USE;
/* For a store that was refused as TRIB_CORRUPT, or on which a write failed so: trib_store_repair, as
 * store.on_damage says (not to be called where that is `refuse`). TRIB_CORRUPT: nothing is left that could be
 * kept. */
enum trib_status trib_storage_repair(const struct trib_storage_options *options,
                                     struct trib_store_damage *out, struct trib_error *err) TRIB_MUST_USE;
/* trib_store_has_lost, when it was opened: trib_outbox_restored is due. */
bool trib_storage_has_lost(const struct trib_storage *storage);
/* Writes what is queued (unless it has failed), syncs, ends the thread. NULL is fine. */
void trib_storage_close(struct trib_storage **storage);

/* After `failed`: ends the thread and drops what is queued. What is durable can still be read; the rest is to
 * be closed soon. */
void trib_storage_halt(struct trib_storage *storage);
/* Then: rebuilds `state` (new and empty) from what is durable. */
enum trib_status trib_storage_reload(struct trib_storage *storage, struct trib_state *state,
                                     struct trib_error *err) TRIB_MUST_USE;
/* trib_store_probe. */
enum trib_status trib_storage_probe(const struct trib_storage_options *options, size_t bytes,
                                    struct trib_error *err) TRIB_MUST_USE;

/* Queues a record; it is taken over (set to NULL). */
enum trib_status trib_storage_write(struct trib_storage *storage, struct trib_record **record) TRIB_MUST_USE;
/* Sends what is queued, if no batch is on its way. Called at the end of every turn; may call `failed`. */
void trib_storage_flush(struct trib_storage *storage);
/* Is it time for a checkpoint, by records or bytes since the last one was begun? Not while one is under way.
 */
bool trib_storage_checkpoint_due(const struct trib_storage *storage);
/* Asks for a checkpoint of `state`, which must not change until `saved` is called; it is written behind the
 * records that are queued, and records may be written while it is made durable. False: not now (more records
 * are queued than can be on their way). */
bool trib_storage_checkpoint(struct trib_storage *storage, const struct trib_state *state);
/* Bytes that wait to be written, records and payloads: what back-pressure goes by. */
uint64_t trib_storage_backlog(const struct trib_storage *storage);
/* Records that no group has taken yet. */
size_t trib_storage_waiting(const struct trib_storage *storage);
/* Groups of records committed since it was opened: a group is one sync. */
uint64_t trib_storage_groups(const struct trib_storage *storage);

#endif
