/* Actors: a thread of its own for work that blocks (storage, training, evaluation), reached through a pipe of
 * two bounded queues of pointers. The owner, a reactor thread, sends requests and takes answers and never
 * waits; the actor waits for requests and gives answers.
 *
 *     owner  --trib_actor_send-->  requests  --trib_pipe_take-->    actor
 *     owner  <--trib_actor_take--  answers   <--trib_pipe_answer--  actor
 *
 * An item is a pointer; whoever takes it owns it and all it points to. This is the one place where pointers
 * pass between threads. The queues are a mutex with a condition variable for the actor and an eventfd for the
 * reactor, and not a ZeroMQ PAIR: a limit, "ended" and "stopping" are then part of the queue itself, the
 * answers left after a stop can still be taken, and ThreadSanitizer sees the hand-over with no annotations.
 */
#ifndef TRIB_NET_PIPE_H
#define TRIB_NET_PIPE_H

#include "shared/base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct trib_actor; /* the owner's end */
struct trib_pipe;  /* the actor's end */

/* The body of an actor's thread. It prepares itself, calls trib_pipe_ready, and serves until trib_pipe_take
 * gives NULL. Its return value is the actor's result; failing before trib_pipe_ready fails trib_actor_start.
 */
typedef enum trib_status trib_actor_fn(struct trib_pipe *pipe, void *arg, struct trib_error *err);

struct trib_actor_options {
    const char *name;                 /* of the thread, cut to 15 characters */
    size_t requests;                  /* at most so many wait; at least 1 */
    size_t answers;                   /* the same, for answers */
    void (*drop_request)(void *item); /* for those that nobody took at the end; may be NULL */
    void (*drop_answer)(void *item);
};

/* Starts the thread (with all signals blocked) and waits until it is ready or has failed. `arg` is the
 * actor's until it ends. Errors: what the actor failed with; TRIB_NOMEM; TRIB_IO when there can be no more
 * threads. */
enum trib_status trib_actor_start(struct trib_actor **out, trib_actor_fn *fn, void *arg,
                                  const struct trib_actor_options *options,
                                  struct trib_error *err) TRIB_MUST_USE;
/* Takes *item and sets it to NULL. TRIB_AGAIN: the queue is full; TRIB_NOT_FOUND: the actor has ended, or was
 * stopped. In both cases the item stays the caller's. */
enum trib_status trib_actor_send(struct trib_actor *actor, void **item) TRIB_MUST_USE;
/* The next answer, or NULL when there is none now. */
void *trib_actor_take(struct trib_actor *actor);
/* Readable while there are answers to take, and from then on when the actor has ended: for
 * trib_reactor_watch_fd. */
int trib_actor_fd(const struct trib_actor *actor);
/* TRIB_AGAIN while the actor runs; what its function returned, with its error, once it has. */
enum trib_status trib_actor_result(struct trib_actor *actor, struct trib_error *err) TRIB_MUST_USE;
/* Asks the actor to end after the requests that were sent, and waits for it. Its last answers can still be
 * taken; there is no limit on them now, so that it cannot wait for an owner that waits for it. */
void trib_actor_stop(struct trib_actor *actor);
/* Stops it if need be and frees everything; items left are dropped. NULL is fine. */
void trib_actor_free(struct trib_actor **actor);

/* ---- For the actor, in its own thread */

void trib_pipe_ready(struct trib_pipe *pipe);
/* The next request. Waits for one at most `timeout_ms` (negative: for ever). NULL: none came in time, or the
 * actor shall end and no request is left (trib_pipe_stopping tells). */
void *trib_pipe_take(struct trib_pipe *pipe, int timeout_ms);
/* Takes *item; waits for room. TRIB_NOMEM (only while stopping): the item stays the caller's. */
enum trib_status trib_pipe_answer(struct trib_pipe *pipe, void **item) TRIB_MUST_USE;
/* Has the owner asked for the end? For long work between requests. */
bool trib_pipe_stopping(struct trib_pipe *pipe);

#endif
