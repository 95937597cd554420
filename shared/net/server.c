#include "shared/net/server.h"

#include "shared/base/alloc.h"
#include "shared/net/descriptors.h"
#include "shared/net/gate.h"
#include "shared/net/routes.h"
#include "shared/net/socket_options.h"
#include "shared/net/zap.h"

#include <errno.h>
#include <string.h>

enum {
    ENDPOINT_MAX = 256,
    FLUSH_MS = 10,        /* see on_flush */
    FLUSH_PER_TURN = 256, /* routes */
};

struct trib_server {
    struct trib_server_options options;
    char (*endpoints)[ENDPOINT_MAX];
    void *socket;
    struct trib_watch *watch;
    struct trib_timer *flush_timer;
    struct zap *zap; /* NULL: plain */
    struct gate *gate;
    bool paused;
    struct frames_in in;
    struct routes routes;
    struct trib_server_counts counts;
};

/* ---- Sending */

static void sent(struct trib_server *server, size_t head_bytes, const struct trib_blob *payload) {
    server->counts.sent++;
    server->counts.sent_bytes += head_bytes + trib_blob_size(payload);
}

/* A route gets its turn: true if its queue is done with. */
static bool flush_route(struct trib_server *server, struct route_queue *queue) {
    struct outbox *box = &queue->box;
    size_t messages = box->messages;
    size_t bytes = box->bytes;
    int problem = outbox_flush(box, server->socket, &queue->route);
    server->counts.sent += messages - box->messages;
    server->counts.sent_bytes += bytes - box->bytes;
    if (problem == EHOSTUNREACH) {
        struct trib_route route = queue->route;
        server->counts.gone += box->messages;
        routes_remove(&server->routes, queue);
        if (server->options.events.gone != NULL)
            server->options.events.gone(server->options.events.ctx, route);
        return true;
    }
    if (problem == 0) routes_remove(&server->routes, queue);
    return problem == 0;
}

/* While something is queued the handler wants to hear of every sign of life of the socket: a ROUTER is always
 * "writable", so only a try tells. */
static void await_room(struct trib_server *server) {
    bool queued = server->routes.count > 0;
    trib_watch_want(server->watch, TRIB_WANT_READ | (queued ? TRIB_WANT_WAKE : 0u));
    if (!queued) {
        trib_timer_cancel(server->flush_timer);
    } else if (!trib_timer_armed(server->flush_timer)) {
        trib_timer_after(server->flush_timer, FLUSH_MS);
    }
}

static void flush(struct trib_server *server) {
    size_t left = server->routes.count < FLUSH_PER_TURN ? server->routes.count : FLUSH_PER_TURN;
    for (; left > 0 && server->routes.count > 0; left--) {
        struct route_queue *queue = TAILQ_FIRST(&server->routes.turns);
        TAILQ_REMOVE(&server->routes.turns, queue, turn);
        TAILQ_INSERT_TAIL(&server->routes.turns, queue, turn);
        (void)flush_route(server, queue);
    }
    await_room(server);
}

/* The sign that room was made can be swallowed by our own calls (libzmq works through its mailbox in any of
 * them), and a paused server gets none: so the clock tries too. */
static void on_flush(void *ctx) {
    struct trib_server *server = ctx;
    flush(server);
    trib_watch_touch(server->watch);
}

static enum trib_status enqueue(struct trib_server *server, struct route_queue *queue,
                                const struct trib_route *route, const void *head, size_t head_bytes,
                                struct trib_blob *payload) {
    bool fresh = queue == NULL;
    if (fresh) queue = routes_add(&server->routes, route);
    if (queue == NULL) return TRIB_NOMEM;
    enum trib_status status = outbox_put(&queue->box, server->options.queue_messages,
                                         server->options.queue_bytes, head, head_bytes, payload);
    if (fresh && status != TRIB_OK) routes_remove(&server->routes, queue);
    await_room(server);
    return status;
}

enum trib_status trib_server_send(struct trib_server *server, const struct trib_route *route,
                                  const void *head, size_t head_bytes, struct trib_blob *payload) {
    if (route->size == 0) return TRIB_NOT_FOUND;
    struct route_queue *queue = routes_find(&server->routes, route);
    if (queue != NULL) return enqueue(server, queue, route, head, head_bytes, payload);
    int problem = frames_send(server->socket, route, head, head_bytes, payload);
    trib_watch_touch(server->watch);
    switch (problem) {
    case 0: sent(server, head_bytes, payload); return TRIB_OK;
    case EAGAIN: return enqueue(server, NULL, route, head, head_bytes, payload);
    case ENOMEM: return TRIB_NOMEM;
    default: server->counts.gone++; return TRIB_NOT_FOUND;
    }
}

size_t trib_server_queued(const struct trib_server *server, const struct trib_route *route) {
    const struct route_queue *queue = routes_find(&server->routes, route);
    return queue != NULL ? queue->box.messages : 0;
}

/* ---- Receiving */

/* Only with keys: in plain mode a peer may claim any User-Id in its handshake. */
static const char *identity_of(const struct trib_server *server, const zmq_msg_t *head) {
    if (server->zap == NULL) return "";
    const char *identity = zmq_msg_gets(head, "User-Id");
    return identity != NULL ? identity : "";
}

static void deliver(struct trib_server *server, enum received what) {
    const struct trib_server_events *events = &server->options.events;
    struct trib_incoming *message = &server->in.message;
    message->identity = identity_of(server, &server->in.head);
    if (server->zap != NULL && !zap_permits(server->zap, message->identity)) {
        server->counts.revoked++;
    } else if (what == RECEIVED_MESSAGE) {
        server->counts.received++;
        server->counts.received_bytes += message->head_bytes + trib_blob_size(message->payload);
        events->message(events->ctx, message);
    } else {
        server->counts.malformed++;
        if (events->malformed != NULL) events->malformed(events->ctx, message);
    }
}

static void on_socket(void *ctx) {
    struct trib_server *server = ctx;
    size_t bytes = 0;
    if (server->routes.count > 0) flush(server);
    for (unsigned i = 0; i < server->options.batch_messages && bytes < server->options.batch_bytes; i++) {
        enum received what = frames_receive(server->socket, true, &server->in);
        if (what == RECEIVED_NOTHING) return;
        if (what == RECEIVED_LOST) {
            server->counts.lost++;
            continue;
        }
        bytes += server->in.message.head_bytes + trib_blob_size(server->in.message.payload);
        deliver(server, what);
        frames_forget(&server->in);
        if (server->paused) return;
    }
}

void trib_server_pause(struct trib_server *server, bool paused) {
    server->paused = paused;
    trib_watch_pause(server->watch, paused);
}

void trib_server_reload(struct trib_server *server) {
    if (server->zap != NULL) zap_reload(server->zap);
}

struct trib_server_counts trib_server_count(const struct trib_server *server) {
    return server->counts;
}

const char *trib_server_endpoint(const struct trib_server *server, size_t i) {
    TRIB_ASSERT(i < server->options.endpoint_count);
    return server->endpoints[i];
}

/* ---- Start and stop */

static void fill_defaults(struct trib_server_options *o) {
    if (o->max_frame_bytes == 0) o->max_frame_bytes = 64 << 20;
    if (o->send_hwm == 0) o->send_hwm = 32;
    if (o->receive_hwm == 0) o->receive_hwm = 32;
    if (o->queue_messages == 0) o->queue_messages = 64;
    if (o->queue_bytes == 0) o->queue_bytes = 64 << 20;
    if (o->batch_messages == 0) o->batch_messages = 64;
    if (o->batch_bytes == 0) o->batch_bytes = 1 << 20;
    if (o->keepalive_s == 0) o->keepalive_s = 60;
}

static void on_refused(void *ctx, const char *public_key, const char *address) {
    struct trib_server *server = ctx;
    const struct trib_server_events *events = &server->options.events;
    server->counts.refused++;
    if (events->refused != NULL) events->refused(events->ctx, public_key, address);
}

static void on_reloaded(void *ctx, size_t count, const struct trib_error *failed) {
    const struct trib_server_events *events = &((struct trib_server *)ctx)->options.events;
    if (events->reloaded != NULL) events->reloaded(events->ctx, count, failed);
}

static enum trib_status start_keys(struct trib_server *server, const struct trib_keys *keys,
                                   struct trib_error *err) {
    struct zap_options options = {
        .context = server->options.context,
        .reactor = server->options.reactor,
        .allow_path = server->options.allow_path,
        .ctx = server,
        .refused = on_refused,
        .reloaded = on_reloaded,
    };
    if (options.allow_path == NULL)
        return trib_fail(err, TRIB_INVALID, "keys without an allow-list would let nobody in: name one");
    enum trib_status status = zap_start(&server->zap, &options, err);
    if (status == TRIB_OK) status = socket_set_int(server->socket, ZMQ_CURVE_SERVER, 1, err);
    if (status == TRIB_OK)
        status = socket_set_text(server->socket, ZMQ_CURVE_SECRETKEY, keys->secret_key, err);
    if (status == TRIB_OK) status = socket_set_text(server->socket, ZMQ_ZAP_DOMAIN, "tributary", err);
    return status;
}

static enum trib_status explain_bind(const char *endpoint, int problem, struct trib_error *err) {
    switch (problem) {
    case EADDRINUSE:
        return trib_fail(
            err, TRIB_IO,
            "cannot listen on %s: the address is in use, perhaps by another copy of this program; "
            "stop it (`ss -ltnp` shows who it is) or listen elsewhere",
            endpoint);
    case EADDRNOTAVAIL:
    case ENODEV:
        return trib_fail(err, TRIB_IO, "cannot listen on %s: this machine has no such address or interface",
                         endpoint);
    case EACCES:
        return trib_fail(
            err, TRIB_DENIED,
            "cannot listen on %s: not permitted; ports below 1024 need CAP_NET_BIND_SERVICE, and an "
            "ipc path a folder that can be written",
            endpoint);
    case EINVAL:
    case EPROTONOSUPPORT:
    case ENOCOMPATPROTO:
        return trib_fail(err, TRIB_INVALID,
                         "cannot listen on %s: an endpoint is tcp://ADDRESS:PORT (ADDRESS * for all) or "
                         "ipc:///PATH",
                         endpoint);
    default: return trib_fail(err, TRIB_IO, "cannot listen on %s: %s", endpoint, zmq_strerror(problem));
    }
}

static enum trib_status bind_endpoint(struct trib_server *server, const char *endpoint, size_t i, bool plain,
                                      struct trib_error *err) {
    if (plain) {
        enum trib_status status = trib_net_check_plain(endpoint, server->options.allow_insecure, err);
        if (status != TRIB_OK) return status;
    }
    if (strncmp(endpoint, "ipc://", 6) == 0) {
        enum trib_status status = trib_net_probe_ipc(endpoint, err);
        if (status == TRIB_OK) return explain_bind(endpoint, EADDRINUSE, err);
        if (status != TRIB_NOT_FOUND) return status;
    }
    if (zmq_bind(server->socket, endpoint) != 0) return explain_bind(endpoint, errno, err);
    size_t bytes = ENDPOINT_MAX;
    if (zmq_getsockopt(server->socket, ZMQ_LAST_ENDPOINT, server->endpoints[i], &bytes) != 0)
        return trib_fail(err, TRIB_LIMIT, "the endpoint %s is longer than %d characters", endpoint,
                         ENDPOINT_MAX - 1);
    gate_guard(server->gate, server->endpoints[i]);
    return TRIB_OK;
}

static enum trib_status open_socket(struct trib_server *server, const struct trib_server_options *o,
                                    struct trib_error *err) {
    struct transport_options transport = {.send_hwm = server->options.send_hwm,
                                          .receive_hwm = server->options.receive_hwm,
                                          .max_frame_bytes = server->options.max_frame_bytes,
                                          .keepalive_s = server->options.keepalive_s,
                                          .heartbeat_ms = o->heartbeat_ms,
                                          .heartbeat_timeout_ms = o->heartbeat_timeout_ms};
    for (size_t i = 0; i < o->endpoint_count; i++)
        transport.ipv6 = transport.ipv6 || strchr(o->endpoints[i], '[') != NULL;
    server->socket = zmq_socket(trib_context_raw(o->context), ZMQ_ROUTER);
    if (server->socket == NULL)
        return trib_fail(err, TRIB_IO, "cannot make a server socket: %s", zmq_strerror(errno));
    enum trib_status status = socket_set_transport(server->socket, &transport, err);
    if (status == TRIB_OK) status = socket_set_int(server->socket, ZMQ_ROUTER_MANDATORY, 1, err);
    if (status == TRIB_OK)
        status = socket_set_int(server->socket, ZMQ_BACKLOG,
                                (int)trib_net_backlog(trib_net_descriptor_limit()), err);
    if (status == TRIB_OK && o->keys != NULL) status = start_keys(server, o->keys, err);
    if (status == TRIB_OK)
        status = gate_new(&server->gate, o->reactor, o->events.crowded, o->events.ctx, err);
    for (size_t i = 0; status == TRIB_OK && i < o->endpoint_count; i++)
        status = bind_endpoint(server, o->endpoints[i], i, o->keys == NULL, err);
    return status;
}

enum trib_status trib_server_new(struct trib_server **out, const struct trib_server_options *options,
                                 struct trib_error *err) {
    TRIB_ASSERT(options->endpoint_count > 0 && options->events.message != NULL);
    struct trib_server *server = trib_alloc(sizeof *server);
    if (server == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a server");
    server->options = *options;
    fill_defaults(&server->options);
    routes_init(&server->routes);
    server->endpoints = trib_alloc_array(options->endpoint_count, sizeof *server->endpoints);
    enum trib_status status =
        server->endpoints != NULL ? TRIB_OK : trib_fail(err, TRIB_NOMEM, "no memory for a server");
    if (status == TRIB_OK) status = open_socket(server, options, err);
    if (status == TRIB_OK)
        status = trib_reactor_watch_socket(options->reactor, server->socket, TRIB_WANT_READ, on_socket,
                                           server, &server->watch, err);
    if (status == TRIB_OK)
        status = trib_timer_new(options->reactor, on_flush, server, &server->flush_timer, err);
    /* These were the caller's to keep until now. */
    server->options.endpoints = NULL;
    server->options.keys = NULL;
    server->options.allow_path = NULL;
    if (status != TRIB_OK) {
        trib_server_free(&server, 0);
        return status;
    }
    *out = server;
    return TRIB_OK;
}

void trib_server_free(struct trib_server **server, unsigned linger_ms) {
    struct trib_server *s = *server;
    *server = NULL;
    if (s == NULL) return;
    if (s->socket != NULL && linger_ms > 0) {
        if (s->routes.count > 0) flush(s);
        socket_set_linger(s->socket, linger_ms);
    }
    gate_free(&s->gate);
    trib_timer_free(&s->flush_timer);
    trib_watch_free(&s->watch);
    routes_release(&s->routes);
    for (size_t i = 0; s->endpoints != NULL && i < s->options.endpoint_count; i++)
        trib_net_remove_ipc(s->endpoints[i]);
    if (s->socket != NULL) (void)zmq_close(s->socket);
    zap_stop(&s->zap);
    trib_free(s->endpoints);
    trib_free(s);
}
