/* Is this node well? A tiny local endpoint that its reactor answers, so that a hung node gives no answer, and
 * the question that `--health` asks. One line of JSON travels back. */
#ifndef TRIB_NET_HEALTH_H
#define TRIB_NET_HEALTH_H

#include "shared/base/buf.h"
#include "shared/net/context.h"
#include "shared/net/reactor.h"

#include <stdbool.h>

struct trib_health;

/* Writes one line of JSON (no newline; at most 16 KiB) and returns whether the node is well. */
typedef bool trib_health_answer(void *ctx, struct trib_buf *line);

/* Serves at "ipc:///path". TRIB_IO: another node answers there. */
enum trib_status trib_health_new(struct trib_health **out, struct trib_context *context,
                                 struct trib_reactor *reactor, const char *endpoint,
                                 trib_health_answer *answer, void *ctx, struct trib_error *err) TRIB_MUST_USE;
void trib_health_free(struct trib_health **health); /* NULL is fine */

/* Asks, and waits at most timeout_ms. TRIB_NOT_FOUND: nobody listens there; TRIB_AGAIN: no answer in time;
 * TRIB_INVALID: not an answer of this program. `line` is cleared first. */
enum trib_status trib_health_ask(const char *endpoint, unsigned timeout_ms, struct trib_buf *line, bool *well,
                                 struct trib_error *err) TRIB_MUST_USE;
/* The whole of `--health`: asks, prints the line on stdout, or on stderr why there is none. Returns the exit
 * status: 0 well, 1 not. */
int trib_health_main(const char *endpoint, unsigned timeout_ms);

#endif
