/* The spool actor: a thread that writes the spools of all devices of this process, so that no sync blocks the
 * reactor. A device that has something to keep waits in a queue and is packed when its turn comes, with the
 * state that it has then; so a slow disk takes the memory of a few files, whatever the number of devices, and
 * files that are ready together share one sync of their folder. */
#ifndef TRIB_DEVICE_SPOOLER_H
#define TRIB_DEVICE_SPOOLER_H

#include "shared/daemon/config.h"
#include "shared/net/reactor.h"
#include "shared/store/spool.h"

struct spooler;

/* Called in the reactor's thread. */
struct spooler_events {
    void *ctx;
    /* The state to pack now, and under which name. */
    const struct trib_state *(*state)(void *ctx, size_t device, const char **name);
    /* It is durable as of `position`; or it is not (err), and nothing has changed in the spool. */
    void (*saved)(void *ctx, size_t device, uint64_t position, const struct trib_error *err);
};

/* For `count` devices. Opens the folder of the config (borrowed). */
enum trib_status spooler_new(struct spooler **out, struct trib_reactor *reactor,
                             const struct trib_spool_config *config, size_t count,
                             const struct spooler_events *events, struct trib_error *err) TRIB_MUST_USE;
/* Writes what is on its way, drops what waits, and ends the thread; no event comes any more. */
void spooler_stop(struct spooler *spooler);
void spooler_free(struct spooler **spooler); /* NULL is fine */

/* As trib_spool_load; before the first spooler_save. */
enum trib_status spooler_load(struct spooler *spooler, const char *name, struct trib_state *state,
                              struct trib_error *err) TRIB_MUST_USE;
/* Asks for a save of this device, which must not be asked for again until `saved` was called. */
void spooler_save(struct spooler *spooler, size_t device);
/* After spooler_stop: writes this state now, in the caller's thread; spooler_settle makes all of them
 * durable.
 */
enum trib_status spooler_write(struct spooler *spooler, const char *name, const struct trib_state *state,
                               struct trib_error *err) TRIB_MUST_USE;
enum trib_status spooler_settle(struct spooler *spooler, struct trib_error *err) TRIB_MUST_USE;

#endif
