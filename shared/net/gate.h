/* A gate before a server's listening sockets, shut while the process has hardly any descriptors left. Without
 * it, strangers who connect often enough take them all: libzmq 4.3.4 then turns in vain or ends the process
 * (ipc_listener.cpp), and the store cannot open its files.
 *
 * libzmq owns the listening sockets, and has no way to stop accepting that keeps the connections that are
 * there. So a filter on the socket drops whatever asks to connect (SO_ATTACH_FILTER, which needs no
 * privilege); who asks again later comes in: TCP does by itself. For the files of this folder. */
#ifndef TRIB_NET_GATE_H
#define TRIB_NET_GATE_H

#include "shared/net/reactor.h"

#include <stddef.h>

struct gate;

/* `told` (may be NULL) hears that it was shut or opened, and of how many descriptors of how many are open. */
enum trib_status gate_new(struct gate **out, struct trib_reactor *reactor,
                          void (*told)(void *ctx, bool shut, size_t open, size_t limit), void *ctx,
                          struct trib_error *err) TRIB_MUST_USE;
/* Finds the sockets that listen on a bound "tcp://ADDRESS:PORT"; another kind of endpoint has no gate. They
 * must outlive the gate. */
void gate_guard(struct gate *gate, const char *endpoint);
void gate_free(struct gate **gate); /* NULL is fine */

#endif
