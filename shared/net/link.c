#include "shared/net/link.h"

#include "shared/base/alloc.h"
#include "shared/base/bytes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <zmq.h>

enum { EVENTS_PER_TURN = 16 };

struct link_watch {
    void *watched;
    void *events; /* PAIR */
    struct trib_watch *watch;
    void (*tell)(void *ctx, enum trib_link link);
    void *ctx;
    bool stopped; /* its owner let go of it during tell */
    bool telling;
};

/* An event is two frames: number (2 bytes) and value (4 bytes), then the address. */
static bool receive_event(void *socket, int *event) {
    zmq_msg_t frame;
    (void)zmq_msg_init(&frame);
    bool got = zmq_msg_recv(&frame, socket, ZMQ_DONTWAIT) >= 0;
    bool more = got && zmq_msg_more(&frame);
    *event = got && zmq_msg_size(&frame) >= 2 ? trib_get_u16(zmq_msg_data(&frame)) : 0;
    (void)zmq_msg_close(&frame);
    while (more) {
        (void)zmq_msg_init(&frame);
        more = zmq_msg_recv(&frame, socket, ZMQ_DONTWAIT) >= 0 && zmq_msg_more(&frame);
        (void)zmq_msg_close(&frame);
    }
    return got;
}

static bool meaning(int event, enum trib_link *link) {
    switch (event) {
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED: *link = TRIB_LINK_UP; return true;
    case ZMQ_EVENT_DISCONNECTED: *link = TRIB_LINK_DOWN; return true;
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH: *link = TRIB_LINK_REFUSED; return true;
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL: *link = TRIB_LINK_FOREIGN; return true;
    default: return false;
    }
}

static void close_events(struct link_watch *link) {
    trib_watch_free(&link->watch);
    (void)zmq_close(link->events);
    trib_free(link);
}

static void on_event(void *ctx) {
    struct link_watch *link = ctx;
    link->telling = true;
    for (unsigned i = 0; i < EVENTS_PER_TURN && !link->stopped; i++) {
        int event = 0;
        enum trib_link what = TRIB_LINK_DOWN;
        if (!receive_event(link->events, &event)) break;
        if (meaning(event, &what)) link->tell(link->ctx, what);
    }
    link->telling = false;
    if (link->stopped) close_events(link);
}

static enum trib_status open_events(struct link_watch *link, struct trib_context *context,
                                    struct trib_reactor *reactor, struct trib_error *err) {
    char name[64];
    int events = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                 ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL;
    int linger = 0;
    (void)snprintf(name, sizeof name, "inproc://link-%" PRIu64, trib_context_number(context));
    link->events = zmq_socket(trib_context_raw(context), ZMQ_PAIR);
    if (link->events == NULL || zmq_setsockopt(link->events, ZMQ_LINGER, &linger, sizeof linger) != 0 ||
        zmq_socket_monitor(link->watched, name, events) != 0 || zmq_connect(link->events, name) != 0)
        return trib_fail(err, TRIB_IO, "cannot watch a connection: %s", zmq_strerror(errno));
    return trib_reactor_watch_socket(reactor, link->events, TRIB_WANT_READ, on_event, link, &link->watch,
                                     err);
}

enum trib_status link_watch(struct link_watch **out, struct trib_context *context,
                            struct trib_reactor *reactor, void *socket,
                            void (*tell)(void *ctx, enum trib_link link), void *ctx, struct trib_error *err) {
    struct link_watch *link = trib_alloc(sizeof *link);
    if (link == NULL) return trib_fail(err, TRIB_NOMEM, "no memory to watch a connection");
    *link = (struct link_watch){.watched = socket, .tell = tell, .ctx = ctx};
    enum trib_status status = open_events(link, context, reactor, err);
    if (status != TRIB_OK) {
        if (link->events != NULL) (void)zmq_close(link->events);
        trib_free(link);
        return status;
    }
    *out = link;
    return TRIB_OK;
}

void link_unwatch(struct link_watch **link) {
    struct link_watch *l = *link;
    *link = NULL;
    if (l == NULL) return;
    (void)zmq_socket_monitor(l->watched, NULL, 0);
    l->stopped = true;
    if (!l->telling) close_events(l);
}
