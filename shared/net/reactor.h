/* The reactor: one thread that waits for sockets, file descriptors, actors, timers and signals, and calls one
 * handler for whatever happened. Everything that a node's state depends on happens in its handlers, one after
 * the other, so that state needs no locks.
 *
 * A handler is `void handler(void *ctx)`. It never blocks, does a bounded batch of work (what is left is
 * offered again in the next turn) and may add, change, pause or free any watch or timer, its own too. Nothing
 * here is for other threads: they speak through an actor's pipe (pipe.h).
 *
 * One turn:  wait -> descriptors -> timers that are due -> sockets that may have something -> free what was
 * freed. A ZeroMQ socket is watched through its ZMQ_FD, which only says "look at me": the reactor then asks
 * ZMQ_EVENTS, and asks again after each handler, because the descriptor stays silent about what is left. The
 * cost of a turn depends on the sockets that are active, not on how many there are. */
#ifndef TRIB_NET_REACTOR_H
#define TRIB_NET_REACTOR_H

#include "shared/base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct trib_reactor;
struct trib_watch;
struct trib_timer;
typedef void trib_handler(void *ctx);

enum trib_status trib_reactor_new(struct trib_reactor **out, struct trib_error *err) TRIB_MUST_USE;
/* Frees the watches and timers that are left, and gives the signals back. Not from a handler. NULL is fine.
 */
void trib_reactor_free(struct trib_reactor **reactor);

/* Turns until trib_reactor_stop, which a handler calls; the turn is finished first. A stop from before the
 * call counts too. TRIB_IO: the kernel refused to wait. */
enum trib_status trib_reactor_run(struct trib_reactor *reactor, struct trib_error *err) TRIB_MUST_USE;
void trib_reactor_stop(struct trib_reactor *reactor);
/* One turn that waits at most `wait_ms` for something to happen (0: only what is there now). */
enum trib_status trib_reactor_turn(struct trib_reactor *reactor, uint32_t wait_ms,
                                   struct trib_error *err) TRIB_MUST_USE;

/* ---- Watches */

/* What a handler is called for. WAKE, for sockets only: whenever the socket's own machinery did something,
 * even if there is nothing to read; a ROUTER with queued messages has no other way to learn of room. */
enum trib_want { TRIB_WANT_READ = 1, TRIB_WANT_WRITE = 2, TRIB_WANT_WAKE = 4 };

/* Watches a descriptor (level-triggered; errors and hang-ups call the handler too). The descriptor stays the
 * caller's and must outlive the watch. TRIB_IO: the kernel cannot poll it, or has no room. */
enum trib_status trib_reactor_watch_fd(struct trib_reactor *reactor, int fd, unsigned wants,
                                       trib_handler *handler, void *ctx, struct trib_watch **out,
                                       struct trib_error *err) TRIB_MUST_USE;
/* Watches a ZeroMQ socket; it stays the caller's and must outlive the watch. Whoever sends or receives on it
 * outside of its handler calls trib_watch_touch afterwards. For the files of this folder. */
enum trib_status trib_reactor_watch_socket(struct trib_reactor *reactor, void *socket, unsigned wants,
                                           trib_handler *handler, void *ctx, struct trib_watch **out,
                                           struct trib_error *err) TRIB_MUST_USE;
void trib_watch_want(struct trib_watch *watch, unsigned wants);
/* A paused watch calls nobody; what came meanwhile is offered after the pause. */
void trib_watch_pause(struct trib_watch *watch, bool paused);
/* Look at this socket again in the next turn. */
void trib_watch_touch(struct trib_watch *watch);
void trib_watch_free(struct trib_watch **watch); /* NULL is fine */

/* ---- Timers: milliseconds of trib_clock_ms. Setting one again replaces what was set. */

enum trib_status trib_timer_new(struct trib_reactor *reactor, trib_handler *handler, void *ctx,
                                struct trib_timer **out, struct trib_error *err) TRIB_MUST_USE;
/* Once, in the first turn at or after `deadline_ms`; one that has passed (0 too) means the next turn. */
void trib_timer_at(struct trib_timer *timer, uint64_t deadline_ms);
/* Once, `delay_ms` from now. */
void trib_timer_after(struct trib_timer *timer, uint64_t delay_ms);
/* Every `period_ms` (at least 1), the first time one period from now. Missed ones are skipped. */
void trib_timer_every(struct trib_timer *timer, uint64_t period_ms);
void trib_timer_cancel(struct trib_timer *timer);
bool trib_timer_armed(const struct trib_timer *timer);
void trib_timer_free(struct trib_timer **timer); /* NULL is fine */

/* ---- Signals */

/* Calls the handler in the reactor's thread when the process gets `signo`. Blocks the signal in the calling
 * thread, so call it before other threads are started (actors and ZeroMQ's threads block all signals). After
 * the first SIGINT has been handled a second one ends the process at once, even if a handler hangs. At most 8
 * signals; a signal given twice gets the newer handler. */
enum trib_status trib_reactor_on_signal(struct trib_reactor *reactor, int signo, trib_handler *handler,
                                        void *ctx, struct trib_error *err) TRIB_MUST_USE;

#endif
