/* ZeroMQ contexts, and the questions about an endpoint that do not need a socket. A context is a set of
 * sockets with one I/O thread of its own. libzmq resolves host names in that thread, so whoever connects to a
 * name that may not resolve (an edge's uplink) has a context for that alone, or every other connection waits
 * with it. */
#ifndef TRIB_NET_CONTEXT_H
#define TRIB_NET_CONTEXT_H

#include "shared/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct trib_context;

/* For at most `sockets` sockets (0: 1,000); every client is one, a server is one, or three under CURVE. */
enum trib_status trib_context_new(struct trib_context **out, size_t sockets,
                                  struct trib_error *err) TRIB_MUST_USE;
/* Only after everything in it was freed. Waits for their linger times, and for a name being resolved. NULL is
 * fine. */
void trib_context_free(struct trib_context **context);
/* The void * that libzmq knows; for this folder. */
void *trib_context_raw(const struct trib_context *context);

/* A number that this context has not given before, for inproc names: a name just closed can rarely be bound
 * again. Any thread. */
uint64_t trib_context_number(struct trib_context *context);

/* Is traffic of this endpoint seen by this machine alone: ipc, inproc, or tcp on a loopback address? */
bool trib_net_is_local(const char *endpoint);
/* May this endpoint be used without keys? TRIB_DENIED with what to do about it if not;
 * TRIB_INVALID: it is no endpoint. */
enum trib_status trib_net_check_plain(const char *endpoint, bool allow_insecure,
                                      struct trib_error *err) TRIB_MUST_USE;
/* Is somebody listening at "ipc:///path"? libzmq would take the path away from a live listener.
 * TRIB_NOT_FOUND: nobody is; TRIB_INVALID: not an ipc endpoint, or a path longer than the system allows. */
enum trib_status trib_net_probe_ipc(const char *endpoint, struct trib_error *err) TRIB_MUST_USE;
/* Removes the path of "ipc:///path", which libzmq leaves behind. By its listener, before it closes its
 * socket: as long as that is open nobody else takes the path. */
void trib_net_remove_ipc(const char *endpoint);

#endif
