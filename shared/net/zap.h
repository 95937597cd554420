/* Who may connect: the ZAP handler (ZeroMQ RFC 27) of a context, served by the reactor. libzmq asks it once
 * for each connection that proved to own a key. For server.c. */
#ifndef TRIB_NET_ZAP_H
#define TRIB_NET_ZAP_H

#include "shared/net/context.h"
#include "shared/net/reactor.h"

#include <stdbool.h>
#include <stddef.h>

struct zap;

struct zap_options {
    struct trib_context *context;
    struct trib_reactor *reactor;
    const char *allow_path;
    void *ctx;
    void (*refused)(void *ctx, const char *public_key, const char *address);    /* may be NULL */
    void (*reloaded)(void *ctx, size_t count, const struct trib_error *failed); /* may be NULL */
};

/* Before the server binds: without a handler libzmq lets every key in. */
enum trib_status zap_start(struct zap **out, const struct zap_options *options,
                           struct trib_error *err) TRIB_MUST_USE;
void zap_stop(struct zap **zap);
/* Reads the allow-list again; the old one stays in force if that fails. */
void zap_reload(struct zap *zap);
/* Is the identity of a connection made earlier still on the list? */
bool zap_permits(const struct zap *zap, const char *identity);

#endif
