/* A device's spool: one small file a device, with all of its state that cannot be had again: its incarnation
 * and next number, the update that has no verdict yet, what its codec left over (the residual), the run and
 * the plan. So a device that is started again is who it was before, and pushes what it had not been told of.
 *
 *     DIR/<name>.spool          "TRIBSPL1" format(4) crc32c(4) bytes(8) content; crc32c is of format, bytes
 *                               and content; content is a checkpoint of the state (shared/state/checkpoint.c)
 *     DIR/<name>.spool.new      the next one, while it is written
 *     DIR/<name>.spool.damaged  one that was torn or altered, set aside
 *     DIR/spool.lock            held while a process has the folder open: one folder, one process
 *
 * A save writes the new file beside the old one, syncs it, renames it and syncs the folder, so that after a
 * crash there is the one or the other, whole. A device whose file is lost, or older than what its parent
 * knows of it, begins again as somebody new (shared/participant): what was not acknowledged is trained again,
 * and nothing is counted twice.
 *
 * Synchronous; a spool belongs to one thread at a time. */
#ifndef TRIB_STORE_SPOOL_H
#define TRIB_STORE_SPOOL_H

#include "shared/state/state.h"
#include "shared/store/store.h"

struct trib_spool;

struct trib_spool_options {
    const char *folder;                /* made if it is missing */
    bool unsynced;                     /* survives the process, not the machine */
    const struct trib_file_ops *files; /* NULL: trib_file_real; must outlive the spool */
};

/* TRIB_AGAIN: another process has the folder open; TRIB_LIMIT: its path is too long; TRIB_DENIED, TRIB_IO,
 * TRIB_NOMEM. */
enum trib_status trib_spool_open(const struct trib_spool_options *options, struct trib_spool **out,
                                 struct trib_error *err) TRIB_MUST_USE;
void trib_spool_close(struct trib_spool **spool); /* NULL is fine */

/* What there is of a device, into a new state of the device role; unless TRIB_OK comes back that state is of
 * no more use. `name` is a file name. TRIB_NOT_FOUND: nothing; TRIB_CORRUPT: it was torn or altered, and has
 * been set aside; TRIB_NEWER, TRIB_INVALID, TRIB_LIMIT: this program cannot read it, and has left it as it
 * is; TRIB_IO, TRIB_DENIED, TRIB_NOMEM. */
enum trib_status trib_spool_load(struct trib_spool *spool, const char *name, struct trib_state *state,
                                 struct trib_error *err) TRIB_MUST_USE;

/* A save in three steps, for a driver with a thread for the disk: pack where the state lives, write and
 * settle there. `with_model`: G too, so that after a restart only newer increments must be fetched. Replaces
 * what is in `out` (initialised). TRIB_NOMEM. */
enum trib_status trib_spool_pack(const struct trib_state *state, bool with_model, struct trib_buf *out,
                                 struct trib_error *err) TRIB_MUST_USE;
/* Whole and with its name; durable once trib_spool_settle has returned TRIB_OK after it, one for any number
 * of files. After a failure of either the file is the old one or the new one. */
enum trib_status trib_spool_write(struct trib_spool *spool, const char *name, const struct trib_buf *packed,
                                  struct trib_error *err) TRIB_MUST_USE;
enum trib_status trib_spool_settle(struct trib_spool *spool, struct trib_error *err) TRIB_MUST_USE;

/* The three at once. */
enum trib_status trib_spool_save(struct trib_spool *spool, const char *name, const struct trib_state *state,
                                 bool with_model, struct trib_error *err) TRIB_MUST_USE;

#endif
