#include "shared/net/client.h"

#include "shared/base/alloc.h"
#include "shared/net/frames.h"
#include "shared/net/link.h"
#include "shared/net/socket_options.h"

#include <errno.h>
#include <string.h>

struct trib_client {
    struct trib_client_options options;
    char *endpoint;
    struct trib_keys keys;
    char server_key[TRIB_KEY_CHARS + 1]; /* "": plain */
    void *socket;                        /* NULL: a reopen failed */
    struct trib_watch *watch;
    struct link_watch *link; /* NULL: nobody asked */
    bool paused;
    unsigned generation; /* counts sockets: a callback may have reopened */
    struct frames_in in;
    struct outbox box;
};

static void update_wants(struct trib_client *client) {
    bool queued = client->box.messages > 0;
    trib_watch_want(client->watch, TRIB_WANT_READ | (queued ? TRIB_WANT_WRITE : 0u));
}

static void deliver(struct trib_client *client, enum received what) {
    const struct trib_client_events *events = &client->options.events;
    if (what == RECEIVED_MESSAGE) {
        events->message(events->ctx, &client->in.message);
    } else if (what == RECEIVED_MALFORMED && events->malformed != NULL) {
        events->malformed(events->ctx, &client->in.message);
    }
}

static void on_socket(void *ctx) {
    struct trib_client *client = ctx;
    if (client->box.messages > 0) {
        /* A failure other than "no room" is one of memory: it waits like the others. */
        (void)outbox_flush(&client->box, client->socket, NULL);
        update_wants(client);
    }
    unsigned generation = client->generation;
    for (unsigned i = 0; i < client->options.batch_messages; i++) {
        enum received what = frames_receive(client->socket, false, &client->in);
        if (what == RECEIVED_NOTHING) return;
        deliver(client, what);
        frames_forget(&client->in);
        if (client->paused || client->generation != generation) return;
    }
}

static void close_socket(struct trib_client *client) {
    link_unwatch(&client->link);
    trib_watch_free(&client->watch);
    if (client->socket != NULL) (void)zmq_close(client->socket);
    client->socket = NULL;
    client->generation++;
    client->in.draining = false;
    outbox_release(&client->box);
}

static enum trib_status set_options(struct trib_client *client, struct trib_error *err) {
    const struct trib_client_options *o = &client->options;
    struct transport_options transport = {.send_hwm = o->send_hwm,
                                          .receive_hwm = o->receive_hwm,
                                          .max_frame_bytes = o->max_frame_bytes,
                                          .keepalive_s = o->keepalive_s,
                                          .heartbeat_ms = o->heartbeat_ms,
                                          .heartbeat_timeout_ms = o->heartbeat_timeout_ms,
                                          .ipv6 = strchr(client->endpoint, '[') != NULL};
    enum trib_status status = socket_set_transport(client->socket, &transport, err);
    if (status == TRIB_OK)
        status = socket_set_int(client->socket, ZMQ_RECONNECT_IVL, (int)o->reconnect_ms, err);
    if (status == TRIB_OK)
        status = socket_set_int(client->socket, ZMQ_RECONNECT_IVL_MAX, (int)o->reconnect_max_ms, err);
    if (status != TRIB_OK || client->server_key[0] == 0) return status;
    status = socket_set_text(client->socket, ZMQ_CURVE_SERVERKEY, client->server_key, err);
    if (status == TRIB_OK)
        status = socket_set_text(client->socket, ZMQ_CURVE_PUBLICKEY, client->keys.public_key, err);
    if (status == TRIB_OK)
        status = socket_set_text(client->socket, ZMQ_CURVE_SECRETKEY, client->keys.secret_key, err);
    return status;
}

static enum trib_status open_socket(struct trib_client *client, struct trib_error *err) {
    const struct trib_client_options *o = &client->options;
    client->socket = zmq_socket(trib_context_raw(o->context), ZMQ_DEALER);
    if (client->socket == NULL)
        return trib_fail(err, TRIB_IO,
                         "cannot make a socket for %s: %s (limits: `ulimit -n`, and the context's)",
                         client->endpoint, zmq_strerror(errno));
    enum trib_status status = set_options(client, err);
    if (status == TRIB_OK && o->events.link != NULL)
        status = link_watch(&client->link, o->context, o->reactor, client->socket, o->events.link,
                            o->events.ctx, err);
    if (status == TRIB_OK && zmq_connect(client->socket, client->endpoint) != 0)
        status = trib_fail(err, TRIB_INVALID,
                           "cannot connect to %s: %s; an endpoint is tcp://HOST:PORT or ipc:///PATH",
                           client->endpoint, zmq_strerror(errno));
    if (status == TRIB_OK)
        status = trib_reactor_watch_socket(o->reactor, client->socket, TRIB_WANT_READ, on_socket, client,
                                           &client->watch, err);
    if (status != TRIB_OK) {
        close_socket(client);
    } else {
        trib_watch_pause(client->watch, client->paused);
    }
    return status;
}

enum trib_status trib_client_reopen(struct trib_client *client, struct trib_error *err) {
    close_socket(client);
    return open_socket(client, err);
}

enum trib_status trib_client_send(struct trib_client *client, const void *head, size_t head_bytes,
                                  struct trib_blob *payload) {
    const struct trib_client_options *o = &client->options;
    int problem = EAGAIN;
    if (client->socket == NULL) return TRIB_NOT_FOUND;
    if (client->box.messages == 0) {
        problem = frames_send(client->socket, NULL, head, head_bytes, payload);
        trib_watch_touch(client->watch);
    }
    if (problem == 0) return TRIB_OK;
    if (problem == ENOMEM) return TRIB_NOMEM;
    enum trib_status status =
        outbox_put(&client->box, o->queue_messages, o->queue_bytes, head, head_bytes, payload);
    update_wants(client);
    return status;
}

void trib_client_pause(struct trib_client *client, bool paused) {
    client->paused = paused;
    if (client->watch != NULL) trib_watch_pause(client->watch, paused);
}

static void fill_defaults(struct trib_client_options *o) {
    if (o->max_frame_bytes == 0) o->max_frame_bytes = 64 << 20;
    if (o->send_hwm == 0) o->send_hwm = 8;
    if (o->receive_hwm == 0) o->receive_hwm = 8;
    if (o->queue_messages == 0) o->queue_messages = 16;
    if (o->queue_bytes == 0) o->queue_bytes = 64 << 20;
    if (o->batch_messages == 0) o->batch_messages = 16;
    if (o->reconnect_ms == 0) o->reconnect_ms = 100;
    if (o->reconnect_max_ms == 0) o->reconnect_max_ms = 5000;
    if (o->keepalive_s == 0) o->keepalive_s = 60;
}

static enum trib_status take_keys(struct trib_client *client, const struct trib_client_options *options,
                                  struct trib_error *err) {
    if (options->keys == NULL) return trib_net_check_plain(options->endpoint, options->allow_insecure, err);
    if (options->server_key == NULL || !trib_key_text_ok(options->server_key))
        return trib_fail(
            err, TRIB_INVALID,
            "with keys, the parent's public key is needed to know it by: %d characters of Z85, from "
            "its .pub file",
            TRIB_KEY_CHARS);
    client->keys = *options->keys;
    memcpy(client->server_key, options->server_key, sizeof client->server_key);
    return TRIB_OK;
}

enum trib_status trib_client_new(struct trib_client **out, const struct trib_client_options *options,
                                 struct trib_error *err) {
    TRIB_ASSERT(options->events.message != NULL && options->endpoint != NULL);
    struct trib_client *client = trib_alloc(sizeof *client);
    if (client == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a client");
    client->options = *options;
    fill_defaults(&client->options);
    outbox_init(&client->box);
    client->endpoint = trib_strdup(options->endpoint);
    enum trib_status status =
        client->endpoint != NULL ? TRIB_OK : trib_fail(err, TRIB_NOMEM, "no memory for a client");
    if (status == TRIB_OK) status = take_keys(client, options, err);
    if (status == TRIB_OK) status = open_socket(client, err);
    client->options.endpoint = NULL;
    client->options.keys = NULL;
    client->options.server_key = NULL;
    if (status != TRIB_OK) {
        trib_client_free(&client, 0);
        return status;
    }
    *out = client;
    return TRIB_OK;
}

void trib_client_free(struct trib_client **client, unsigned linger_ms) {
    struct trib_client *c = *client;
    *client = NULL;
    if (c == NULL) return;
    if (c->socket != NULL && linger_ms > 0) {
        (void)outbox_flush(&c->box, c->socket, NULL);
        socket_set_linger(c->socket, linger_ms);
    }
    close_socket(c);
    trib_keys_wipe(&c->keys);
    trib_free(c->endpoint);
    trib_free(c);
}
