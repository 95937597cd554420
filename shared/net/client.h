/* The child's side of a hop: one DEALER that connects to a parent. It connects and connects again in the
 * background, sends without waiting, and hands over what comes. When the parent forgot this child, or does
 * not answer, the caller reopens: a new socket, so that nothing queued for the old session is sent to a new
 * one. When to, with which backoff and jitter, is the caller's decision.
 *
 * Names are resolved in the context's I/O thread, never in the reactor's. */
#ifndef TRIB_NET_CLIENT_H
#define TRIB_NET_CLIENT_H

#include "shared/net/context.h"
#include "shared/net/keys.h"
#include "shared/net/message.h"
#include "shared/net/reactor.h"

#include <stdbool.h>

struct trib_client;

/* What the connection is doing, for logs and for people. A refused client does not try again by itself. */
enum trib_link {
    TRIB_LINK_UP,      /* connected; with keys, both sides have proved theirs */
    TRIB_LINK_DOWN,    /* the connection ended; it is being made again */
    TRIB_LINK_REFUSED, /* the server does not know this key */
    TRIB_LINK_FOREIGN, /* the handshake failed: another server key, keys on one side only, or no ZeroMQ there
                        */
};

/* Called from the reactor. They may send, pause and reopen, and not free the client. */
struct trib_client_events {
    void *ctx;
    void (*message)(void *ctx, const struct trib_incoming *in);   /* identity "", route of size 0 */
    void (*malformed)(void *ctx, const struct trib_incoming *in); /* may be NULL */
    void (*link)(void *ctx, enum trib_link link); /* NULL: not watched, which saves two sockets a client */
};

/* Copied; the context and the reactor must outlive the client. 0 stands for the default. */
struct trib_client_options {
    struct trib_context *context;
    struct trib_reactor *reactor;
    const char *endpoint;          /* tcp://HOST:PORT, ipc:///PATH */
    bool allow_insecure;           /* plain to other machines */
    const struct trib_keys *keys;  /* NULL: plain */
    const char *server_key;        /* with keys: the parent's public key in Z85 */
    size_t max_frame_bytes;        /* 64 MiB */
    unsigned send_hwm;             /* messages in libzmq; 8 */
    unsigned receive_hwm;          /*   8 */
    size_t queue_messages;         /* and here; 16 */
    size_t queue_bytes;            /*   64 MiB */
    unsigned batch_messages;       /* handed over in one turn; 16 */
    unsigned reconnect_ms;         /* libzmq's own attempts: the first wait, 100; doubled up to */
    unsigned reconnect_max_ms;     /*   5,000 */
    unsigned keepalive_s;          /* 60 */
    unsigned heartbeat_ms;         /* 0: none */
    unsigned heartbeat_timeout_ms; /* 3 x heartbeat_ms */
    struct trib_client_events events;
};

/* Succeeds whether or not a parent is there. TRIB_INVALID: not an endpoint or key; TRIB_DENIED: keys are
 * needed; TRIB_IO: no more sockets. */
enum trib_status trib_client_new(struct trib_client **out, const struct trib_client_options *options,
                                 struct trib_error *err) TRIB_MUST_USE;
/* What was not sent yet is dropped, or gets `linger_ms` (the context waits for it). NULL is fine. */
void trib_client_free(struct trib_client **client, unsigned linger_ms);
/* Drops what is queued and the connection, and begins a new one. After a failure (no more sockets) nothing
 * can be sent until a reopen succeeds. */
enum trib_status trib_client_reopen(struct trib_client *client, struct trib_error *err) TRIB_MUST_USE;
/* As trib_server_send. TRIB_AGAIN: the queue is full; TRIB_NOT_FOUND: the client is not open. Without a
 * connection, messages wait in the queues. */
enum trib_status trib_client_send(struct trib_client *client, const void *head, size_t head_bytes,
                                  struct trib_blob *payload) TRIB_MUST_USE;
void trib_client_pause(struct trib_client *client, bool paused);

#endif
