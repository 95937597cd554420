/* The parent's side of a hop: one ROUTER that children connect to. It hands over each message with the route
 * to answer by and, under CURVE, who sent it; it sends without ever waiting. Payloads are not copied in
 * either direction.
 *
 * With keys the peer's identity is what the allow-list calls its key, whatever it says about itself. The list
 * is read again when its file changes; connections whose identity has gone from it are not heard any more. A
 * peer that never ends a multipart message makes libzmq itself grow, and no limit here prevents it: keys, the
 * list and a memory limit on the process are the defence. */
#ifndef TRIB_NET_SERVER_H
#define TRIB_NET_SERVER_H

#include "shared/net/context.h"
#include "shared/net/keys.h"
#include "shared/net/message.h"
#include "shared/net/reactor.h"

#include <stdbool.h>

struct trib_server;

/* Called from the reactor. They may send, pause and reload, and not free the server. All but `message` may be
 * NULL. */
struct trib_server_events {
    void *ctx;
    void (*message)(void *ctx, const struct trib_incoming *in);
    /* A message that is not one or two non-empty frames; in->fault says why, the rest is what could be read.
     */
    void (*malformed)(void *ctx, const struct trib_incoming *in);
    /* What was queued for a route is dropped, because the connection ended. */
    void (*gone)(void *ctx, struct trib_route route);
    /* A connection refused because its key is not on the list; the key in Z85, the address without port. */
    void (*refused)(void *ctx, const char *public_key, const char *address);
    /* The allow-list was read again: `count` keys are in force. `failed` is NULL, or says why the file was
     * refused; the list before it stays in force then. */
    void (*reloaded)(void *ctx, size_t count, const struct trib_error *failed);
    /* Nobody new is let in over TCP, because of `limit` descriptors `open` are in use; or again (shut is
     * false).
     */
    void (*crowded)(void *ctx, bool shut, size_t open, size_t limit);
};

/* Everything is copied or, the context and the reactor, must outlive the server. 0 stands for the default. */
struct trib_server_options {
    struct trib_context *context;
    struct trib_reactor *reactor;
    const char *const *endpoints; /* tcp://ADDRESS:PORT (PORT * for a free one), ipc:///PATH */
    size_t endpoint_count;
    bool allow_insecure;           /* plain on addresses that other machines reach */
    const struct trib_keys *keys;  /* NULL: plain */
    const char *allow_path;        /* with keys: the allow-list */
    size_t max_frame_bytes;        /* larger ones end their connection; 64 MiB */
    unsigned send_hwm;             /* messages a connection holds in libzmq, either way; 32 */
    unsigned receive_hwm;          /*   32 */
    size_t queue_messages;         /* then so many are queued for a route here; 64 */
    size_t queue_bytes;            /*   and so many bytes; 64 MiB */
    unsigned batch_messages;       /* handed over in one turn; 64 */
    size_t batch_bytes;            /*   1 MiB */
    unsigned keepalive_s;          /* TCP keepalive begins after so much silence; 60 */
    unsigned heartbeat_ms;         /* ZMTP pings; 0: none */
    unsigned heartbeat_timeout_ms; /* longer than a full window of payload takes to drain; 3 x heartbeat_ms */
    struct trib_server_events events;
};

struct trib_server_counts {
    uint64_t received;
    uint64_t received_bytes;
    uint64_t sent; /* given to libzmq */
    uint64_t sent_bytes;
    uint64_t malformed;
    uint64_t lost;    /* messages dropped for lack of memory */
    uint64_t refused; /* connections */
    uint64_t revoked; /* messages of identities that have gone from the list */
    uint64_t gone;    /* sends and queued messages whose route had ended */
};

/* Binds all endpoints, or fails with the one that could not be and what to do: TRIB_DENIED without keys where
 * they are needed, TRIB_IO for a busy port, or what the allow-list is refused with. */
enum trib_status trib_server_new(struct trib_server **out, const struct trib_server_options *options,
                                 struct trib_error *err) TRIB_MUST_USE;
/* Closes at once; what was not sent yet is dropped, or gets `linger_ms` (the context waits for it). NULL is
 * fine. */
void trib_server_free(struct trib_server **server, unsigned linger_ms);
/* Endpoint i as bound, the free port filled in. */
const char *trib_server_endpoint(const struct trib_server *server, size_t i);

/* Sends one message: the head is copied, the payload (may be NULL, not empty) is referenced until it is on
 * its way. TRIB_NOT_FOUND: the route has ended; TRIB_AGAIN: its queue is full; TRIB_NOMEM. Messages to one
 * route keep their order. */
enum trib_status trib_server_send(struct trib_server *server, const struct trib_route *route,
                                  const void *head, size_t head_bytes,
                                  struct trib_blob *payload) TRIB_MUST_USE;
/* Messages queued here for a route: what libzmq has taken is not counted. */
size_t trib_server_queued(const struct trib_server *server, const struct trib_route *route);
/* A paused server reads nothing; queues still drain. Peers fill their own queues and then wait. */
void trib_server_pause(struct trib_server *server, bool paused);
void trib_server_reload(struct trib_server *server); /* reads the allow-list now; plain: nothing */
struct trib_server_counts trib_server_count(const struct trib_server *server);

#endif
