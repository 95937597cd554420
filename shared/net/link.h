/* Watches what a client's connection does, through libzmq's socket monitor. For client.c. */
#ifndef TRIB_NET_LINK_H
#define TRIB_NET_LINK_H

#include "shared/net/client.h"

struct link_watch;

/* Before the socket connects. */
enum trib_status link_watch(struct link_watch **out, struct trib_context *context,
                            struct trib_reactor *reactor, void *socket,
                            void (*tell)(void *ctx, enum trib_link link), void *ctx,
                            struct trib_error *err) TRIB_MUST_USE;
/* Before the socket is closed. */
void link_unwatch(struct link_watch **link);

#endif
