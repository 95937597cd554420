/* The journal of a node: records in SQLite rows, their payloads in append-only segment files, checkpoints of
 * the state beside them. What trib_store_write has returned TRIB_OK for is there after a crash (durability
 * full and batched); what it failed on is there whole or not at all, and the next open says which.
 *
 *     DIR/<name>.db             rows of `journal` and `checkpoints`, and the ledger's tables (the projection)
 *     DIR/store.lock            held while a process has the store open: one store, one process, a folder
 *     DIR/segments/%016x.seg    "TRIBSEG1" number(8), then frames: length(4) crc32c(4) position(8) group(8)
 *                               payload; crc32c is of payload, length, position, group
 *     DIR/segments/%016x.spare  one that nothing needs any more; the next segment is written over it
 *     DIR/segments/%016x.large  a large payload that is on its way here; it becomes a segment (large.h)
 *     DIR/checkpoints/%016x.ckp what was written into the sink; its length and CRC32C are in its row
 *     DIR/damaged-<n>/          what a repair set aside, and report.txt
 *     DIR/store.probe           while trib_store_probe writes it
 *     DIR/store.lost            a repair lost records, and the node has not taken a new incarnation yet
 *
 * Order of a write: payloads into the segment, one fdatasync, then one transaction with the rows. So a row's
 * payload is always there, and a segment may have a tail without rows, which is cut at the next open.
 *
 * Synchronous; a store belongs to one thread at a time. */
#ifndef TRIB_STORE_STORE_H
#define TRIB_STORE_STORE_H

#include "shared/base/stream.h"
#include "shared/state/record.h"

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

struct sqlite3;
struct trib_store;

enum trib_durability {
    TRIB_DURABLE_FULL,    /* synced before a write returns */
    TRIB_DURABLE_BATCHED, /* the same here; the caller waits for larger groups */
    TRIB_DURABLE_NONE     /* written, never synced: survives the process, not the machine */
};

/* The file operations that segments, checkpoints and the lock file go through. As the system calls: -1 and
 * errno on failure. A descriptor is whatever `open` returned, >= 0, until `close`. */
struct trib_file_ops {
    void *ctx;
    int (*open)(void *ctx, const char *path, int flags, mode_t mode);
    int (*close)(void *ctx, int fd); /* gives up its lock */
    ssize_t (*write)(void *ctx, int fd, const struct iovec *parts, int count, off_t offset); /* pwritev */
    ssize_t (*read)(void *ctx, int fd, void *data, size_t bytes, off_t offset);              /* pread */
    int (*sync)(void *ctx, int fd);                                                          /* fdatasync */
    int (*truncate)(void *ctx, int fd, off_t bytes);
    int (*size)(void *ctx, int fd, uint64_t *bytes);
    int (*lock)(void *ctx, int fd); /* for this descriptor alone; EWOULDBLOCK where another holds it */
    int (*rename)(void *ctx, const char *from, const char *to);
    int (*unlink)(void *ctx, const char *path);
    int (*mkdir)(void *ctx, const char *path, mode_t mode);
    /* Calls `each` with every name in the folder, in any order, . and .. too. */
    int (*list)(void *ctx, const char *path, void (*each)(void *arg, const char *name), void *arg);
    int (*sync_dir)(void *ctx, const char *path);
};
extern const struct trib_file_ops trib_file_real;

/* Rows derived from records, written in the transaction that writes them. */
struct trib_projection {
    void *ctx;
    /* Once, when the store is opened: make or migrate tables, prepare statements. */
    enum trib_status (*open)(void *ctx, struct sqlite3 *db, struct trib_error *err);
    /* For every record, in order, inside the transaction. */
    enum trib_status (*write)(void *ctx, const struct trib_record *record, struct trib_error *err);
    /* Before the database is closed, and after an `open` that failed. */
    void (*close)(void *ctx);
};

#define TRIB_KEEP_ALL UINT64_MAX

struct trib_store_options {
    const char *path; /* of the SQLite file; its folder is made if it is missing */
    enum trib_durability durability;
    uint64_t segment_bytes; /* a new segment is begun above this size; 0: 64 MiB */
    /* So many newest checkpoints stay, with the records after the oldest of them, for replay and as a
     * fallback; 0: one, TRIB_KEEP_ALL: all, and every record from the first on. */
    uint64_t keep_checkpoints;
    /* Only read: nothing is locked, made or cut, and another process may have it open and go on writing. Only
     * trib_store_position, _checkpoints, _recover and _replay are allowed. `durability`, `projection` and
     * `keep_checkpoints` mean nothing then. */
    bool read_only;
    const char *vfs;                   /* SQLite VFS; NULL: the default one */
    const struct trib_file_ops *files; /* NULL: trib_file_real; must outlive the store */
    struct trib_projection projection; /* all NULL: none; ctx must outlive the store */
};

/* Opens or makes a store, checks every row's CRC and cuts a segment's tail without rows.
 * TRIB_AGAIN: another process has it open; TRIB_NEWER: a newer program made it (nothing was changed);
 * TRIB_CORRUPT: which position, segment or row is damaged; TRIB_INVALID: not a store; TRIB_DENIED, TRIB_IO.
 */
enum trib_status trib_store_open(const struct trib_store_options *options, struct trib_store **out,
                                 struct trib_error *err) TRIB_MUST_USE;
/* Flushes nothing that was not reported; an unfinished checkpoint is dropped. NULL is fine. */
void trib_store_close(struct trib_store **store);

/* Of the last record written (or of the checkpoint); 0 in a new store. Read-only: when it was opened. */
uint64_t trib_store_position(const struct trib_store *store);

/* Writes a group: all of it or nothing. Positions must go on from trib_store_position. After a failure the
 * store refuses everything until it is opened again; the error says what (disk full, I/O error, ...). */
enum trib_status trib_store_write(struct trib_store *store, const struct trib_record *records, size_t count,
                                  struct trib_error *err) TRIB_MUST_USE;

/* Reads back what is there: `checkpoint` once, if there is one, with its position and content; then `record`
 * for every record after it, in order. The record, its texts and its payload are the store's until the
 * callback returns (trib_blob_ref keeps a payload). A callback's failure ends it and is returned.
 * TRIB_CORRUPT, with the position, if a checksum does not match or something is missing. After a failed write
 * it still reads what is durable. */
enum trib_status trib_store_recover(struct trib_store *store,
                                    enum trib_status (*checkpoint)(void *ctx, uint64_t position,
                                                                   const struct trib_feed *feed,
                                                                   struct trib_error *err),
                                    enum trib_status (*record)(void *ctx, const struct trib_record *record,
                                                               struct trib_error *err),
                                    void *ctx, struct trib_error *err) TRIB_MUST_USE;

/* Whether so much can be written and synced in the store's folder; what was written is deleted again. For one
 * who waits until a disk is mended; another process, or this one, may have the store open. */
enum trib_status trib_store_probe(const struct trib_store_options *options, size_t bytes,
                                  struct trib_error *err) TRIB_MUST_USE;

/* ---- damage ---- */

struct trib_store_damage {
    bool found;    /* false: nothing is damaged, and nothing was changed */
    bool lost;     /* records after `kept` were lost */
    uint64_t kept; /* position of the last record, or of the checkpoint, that is still there; 0: nothing is */
    char folder[600]; /* DIR/damaged-N: files that were damaged or are of no more use, and report.txt */
    char what[500];   /* the first thing that was found, for people */
};
/* For a store that was refused as TRIB_CORRUPT, by whatever function; it must be closed. Keeps what can be
 * proved good: the newest sound checkpoint and the records after it up to the first unsound one; all else is
 * moved to out->folder. A database that SQLite calls malformed, or whose tables the projection cannot use, is
 * made anew from its sound rows; the projection's tables are lost with the old one, and whether rows at its
 * end are missing is not known. TRIB_CORRUPT: nothing at all is sound, and begin_anew is false: nothing was
 * changed, the error says what to do. Other failures: as trib_store_open; what is done is done, and it can be
 * called again. */
enum trib_status trib_store_repair(const struct trib_store_options *options, bool begin_anew,
                                   struct trib_store_damage *out, struct trib_error *err) TRIB_MUST_USE;
/* Whether a repair lost records, and no record START or INCARNATION was written since. What the node said
 * after its position is unknown then: it must take a new incarnation before it says anything. */
bool trib_store_has_lost(const struct trib_store *store);

/* ---- what is kept of the past ---- */

struct trib_store_checkpoint {
    uint64_t position; /* of the last record in it */
    uint64_t bytes;
    uint64_t made_ms; /* ms since 1970, by this machine's clock */
};
/* Every checkpoint that is kept, oldest first; the last one is in force. */
enum trib_status trib_store_checkpoints(struct trib_store *store,
                                        enum trib_status (*each)(void *ctx,
                                                                 const struct trib_store_checkpoint *it,
                                                                 struct trib_error *err),
                                        void *ctx, struct trib_error *err) TRIB_MUST_USE;
/* As trib_store_recover, from the checkpoint at position `from` (0: from the first record ever, without one)
 * to the record at `until` (UINT64_MAX: to the last one there is). Where `from` is `until`, only the
 * checkpoint. TRIB_NOT_FOUND: there is no such checkpoint, or the records are not kept any more, or not there
 * yet; TRIB_AGAIN (read-only): the process that writes here deleted them meanwhile. */
enum trib_status trib_store_replay(struct trib_store *store, uint64_t from, uint64_t until,
                                   enum trib_status (*checkpoint)(void *ctx, uint64_t position,
                                                                  const struct trib_feed *feed,
                                                                  struct trib_error *err),
                                   enum trib_status (*record)(void *ctx, const struct trib_record *record,
                                                              struct trib_error *err),
                                   void *ctx, struct trib_error *err) TRIB_MUST_USE;

/* ---- checkpoints ---- */

/* What was written since the last checkpoint, and the size of that. */
struct trib_store_since {
    uint64_t records, bytes; /* bytes of payloads */
    uint64_t checkpoint_bytes;
};
/* Is it time for the next one, after so many records or bytes? Of a large model a checkpoint would be more
 * than what it saves: then it waits until it is not. */
static inline bool trib_store_checkpoint_due(const struct trib_store_since *since, uint64_t records,
                                             uint64_t bytes) {
    return since->records >= records || (since->bytes >= bytes && since->bytes >= since->checkpoint_bytes);
}
/* Another record: in `since`. */
static inline void trib_store_since_record(struct trib_store_since *since, const struct trib_record *record) {
    since->records++;
    since->bytes += trib_blob_size(record->payload);
}
/* The checkpoint in force, whose content has so many bytes, or 0: there is none. */
enum trib_status trib_store_checkpoint_bytes(struct trib_store *store, uint64_t *out,
                                             struct trib_error *err) TRIB_MUST_USE;
/* A checkpoint of the state after `position`, which must be written already. Fill the sink, then commit or
 * abort; records may be written in between. Only one at a time. Commit syncs the file, then in one
 * transaction makes it the checkpoint and deletes what keep_checkpoints does not ask for: older checkpoints,
 * and the rows up to the oldest one that stays; segments and files that nothing needs any more go afterwards.
 * A failed begin, sink write or commit leaves the older checkpoint in force; only where the transaction
 * itself failed must the store be opened again. */
enum trib_status trib_store_checkpoint_begin(struct trib_store *store, uint64_t position,
                                             struct trib_sink *sink_out,
                                             struct trib_error *err) TRIB_MUST_USE;
enum trib_status trib_store_checkpoint_commit(struct trib_store *store, struct trib_error *err) TRIB_MUST_USE;
void trib_store_checkpoint_abort(struct trib_store *store); /* none begun: nothing happens */

#endif
