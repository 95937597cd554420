#include "shared/net/reactor.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/net/reactor_parts.h"

#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <unistd.h>
#include <zmq.h>

enum { EVENTS_PER_TURN = 256 };

/* Where a watch stands:
 *     looked for by epoll --(descriptor readable, or touched)--> queued --(turn)--> asked for ZMQ_EVENTS
 *     asked --(wanted events)--> handler called --(still wanted events)--> queued again
 *     any --(freed during a turn)--> dead, until the turn ends: epoll's answers may still point to it */
struct trib_watch {
    struct trib_reactor *reactor;
    trib_handler *handler;
    void *ctx;
    void *socket; /* NULL: a plain descriptor */
    int fd;
    unsigned wants;
    bool paused;
    bool queued; /* in reactor->queue */
    bool woken;
    bool dead;
    TAILQ_ENTRY(trib_watch) in_queue;
    TAILQ_ENTRY(trib_watch) in_all; /* in reactor->all, or in reactor->dead */
};

TAILQ_HEAD(watch_list, trib_watch);

struct trib_reactor {
    int epoll;
    bool stopping;
    bool in_turn;
    uint64_t now_ms;
    struct watch_list all;
    struct watch_list dead;
    struct watch_list queue; /* sockets to be asked in the next turn */
    size_t queue_count;
    struct timers timers;
    struct signals signals;
    struct epoll_event events[EVENTS_PER_TURN];
};

struct timers *trib_reactor_timers(struct trib_reactor *reactor) {
    return &reactor->timers;
}

struct signals *trib_reactor_signals(struct trib_reactor *reactor) {
    return &reactor->signals;
}

bool trib_reactor_in_turn(const struct trib_reactor *reactor) {
    return reactor->in_turn;
}

enum trib_status trib_reactor_new(struct trib_reactor **out, struct trib_error *err) {
    struct trib_reactor *reactor = trib_alloc(sizeof *reactor);
    if (reactor == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for the reactor");
    reactor->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (reactor->epoll < 0) {
        trib_free(reactor);
        return trib_fail_errno(err, "cannot make an epoll descriptor");
    }
    TAILQ_INIT(&reactor->all);
    TAILQ_INIT(&reactor->dead);
    TAILQ_INIT(&reactor->queue);
    reactor->signals.fd = -1;
    reactor->now_ms = trib_clock_ms();
    *out = reactor;
    return TRIB_OK;
}

static void bury(struct trib_reactor *reactor) {
    struct trib_watch *watch;
    while ((watch = TAILQ_FIRST(&reactor->dead)) != NULL) {
        TAILQ_REMOVE(&reactor->dead, watch, in_all);
        trib_free(watch);
    }
    trib_timers_bury(&reactor->timers);
}

void trib_reactor_free(struct trib_reactor **reactor) {
    struct trib_reactor *r = *reactor;
    *reactor = NULL;
    if (r == NULL) return;
    TRIB_ASSERT(!r->in_turn);
    trib_signals_release(&r->signals);
    struct trib_watch *watch;
    while ((watch = TAILQ_FIRST(&r->all)) != NULL) trib_watch_free(&watch);
    bury(r);
    trib_timers_release(&r->timers);
    (void)close(r->epoll);
    trib_free(r);
}

/* ---- Watches */

static uint32_t epoll_wants(const struct trib_watch *watch) {
    if (watch->socket != NULL) return EPOLLIN;
    /* Edge-triggered with nothing asked for: a hang-up is told once at most, and then ignored. */
    if (watch->paused) return EPOLLET;
    return (watch->wants & TRIB_WANT_READ ? EPOLLIN : 0u) | (watch->wants & TRIB_WANT_WRITE ? EPOLLOUT : 0u);
}

static void enqueue(struct trib_watch *watch) {
    if (watch->queued) return;
    watch->queued = true;
    watch->reactor->queue_count++;
    TAILQ_INSERT_TAIL(&watch->reactor->queue, watch, in_queue);
}

static void dequeue(struct trib_watch *watch) {
    if (!watch->queued) return;
    watch->queued = false;
    watch->reactor->queue_count--;
    TAILQ_REMOVE(&watch->reactor->queue, watch, in_queue);
}

static enum trib_status watch_new(struct trib_reactor *reactor, const struct trib_watch *model,
                                  struct trib_watch **out, struct trib_error *err) {
    struct trib_watch *watch = trib_alloc(sizeof *watch);
    if (watch == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a watch");
    *watch = *model;
    watch->reactor = reactor;
    struct epoll_event event = {.events = epoll_wants(watch), .data.ptr = watch};
    if (epoll_ctl(reactor->epoll, EPOLL_CTL_ADD, watch->fd, &event) != 0) {
        trib_free(watch);
        return trib_fail_errno(err, "cannot watch descriptor %d", model->fd);
    }
    TAILQ_INSERT_TAIL(&reactor->all, watch, in_all);
    *out = watch;
    return TRIB_OK;
}

enum trib_status trib_reactor_watch_fd(struct trib_reactor *reactor, int fd, unsigned wants,
                                       trib_handler *handler, void *ctx, struct trib_watch **out,
                                       struct trib_error *err) {
    TRIB_ASSERT(handler != NULL && (wants & TRIB_WANT_WAKE) == 0);
    struct trib_watch model = {.handler = handler, .ctx = ctx, .fd = fd, .wants = wants};
    return watch_new(reactor, &model, out, err);
}

enum trib_status trib_reactor_watch_socket(struct trib_reactor *reactor, void *socket, unsigned wants,
                                           trib_handler *handler, void *ctx, struct trib_watch **out,
                                           struct trib_error *err) {
    TRIB_ASSERT(handler != NULL && socket != NULL);
    struct trib_watch model = {.handler = handler, .ctx = ctx, .socket = socket, .wants = wants};
    size_t bytes = sizeof model.fd;
    if (zmq_getsockopt(socket, ZMQ_FD, &model.fd, &bytes) != 0)
        return trib_fail(err, TRIB_IO, "cannot get the descriptor of a socket: %s", zmq_strerror(errno));
    enum trib_status status = watch_new(reactor, &model, out, err);
    if (status == TRIB_OK) trib_watch_touch(*out);
    return status;
}

static void update(struct trib_watch *watch) {
    if (watch->socket != NULL) {
        trib_watch_touch(watch);
        return;
    }
    struct epoll_event event = {.events = epoll_wants(watch), .data.ptr = watch};
    int rc = epoll_ctl(watch->reactor->epoll, EPOLL_CTL_MOD, watch->fd, &event);
    TRIB_ASSERT(rc == 0); /* the descriptor is registered and open, as the header asks */
}

void trib_watch_want(struct trib_watch *watch, unsigned wants) {
    if (watch->wants == wants) return;
    watch->wants = wants;
    update(watch);
}

void trib_watch_pause(struct trib_watch *watch, bool paused) {
    if (watch->paused == paused) return;
    watch->paused = paused;
    update(watch);
}

void trib_watch_touch(struct trib_watch *watch) {
    TRIB_ASSERT(!watch->dead);
    if (watch->socket == NULL) return;
    watch->woken = true;
    enqueue(watch);
}

void trib_watch_free(struct trib_watch **watch) {
    struct trib_watch *w = *watch;
    *watch = NULL;
    if (w == NULL) return;
    TRIB_ASSERT(!w->dead);
    struct trib_reactor *reactor = w->reactor;
    (void)epoll_ctl(reactor->epoll, EPOLL_CTL_DEL, w->fd, NULL);
    dequeue(w);
    TAILQ_REMOVE(&reactor->all, w, in_all);
    w->dead = true;
    TAILQ_INSERT_TAIL(&reactor->dead, w, in_all);
    if (!reactor->in_turn) bury(reactor);
}

/* ---- A turn */

/* Asking makes the socket work through its mailbox, which also silences its descriptor. */
static unsigned socket_events(const struct trib_watch *watch) {
    int events = 0;
    size_t bytes = sizeof events;
    if (zmq_getsockopt(watch->socket, ZMQ_EVENTS, &events, &bytes) != 0) {
        TRIB_ASSERT(errno == ETERM || errno == EINTR);
        return 0;
    }
    return (events & ZMQ_POLLIN ? TRIB_WANT_READ : 0u) | (events & ZMQ_POLLOUT ? TRIB_WANT_WRITE : 0u);
}

static void serve_socket(struct trib_watch *watch) {
    unsigned wanted = socket_events(watch) | (watch->woken ? TRIB_WANT_WAKE : 0u);
    watch->woken = false;
    if (watch->paused || (wanted & watch->wants) == 0) return;
    watch->handler(watch->ctx);
    if (!watch->dead && !watch->paused && (socket_events(watch) & watch->wants) != 0) enqueue(watch);
}

static void serve_queue(struct trib_reactor *reactor) {
    for (size_t left = reactor->queue_count; left > 0; left--) {
        struct trib_watch *watch = TAILQ_FIRST(&reactor->queue);
        if (watch == NULL) return; /* handlers freed the others */
        dequeue(watch);
        serve_socket(watch);
    }
}

static void serve_descriptors(struct trib_reactor *reactor, int count) {
    for (int i = 0; i < count; i++) {
        struct trib_watch *watch = reactor->events[i].data.ptr;
        if (watch->dead) continue;
        if (watch->socket != NULL) {
            trib_watch_touch(watch);
        } else if (!watch->paused) {
            watch->handler(watch->ctx);
        }
    }
}

static int wait_ms_of(const struct trib_reactor *reactor, uint32_t most) {
    if (reactor->queue_count > 0) return 0;
    uint64_t wait = trib_timers_wait_ms(&reactor->timers, trib_clock_ms(), most);
    return wait > INT_MAX ? INT_MAX : (int)wait;
}

enum trib_status trib_reactor_turn(struct trib_reactor *reactor, uint32_t wait_ms, struct trib_error *err) {
    TRIB_ASSERT(!reactor->in_turn);
    int count = epoll_wait(reactor->epoll, reactor->events, EVENTS_PER_TURN, wait_ms_of(reactor, wait_ms));
    if (count < 0) {
        if (errno != EINTR) return trib_fail_errno(err, "waiting for events failed");
        count = 0;
    }
    reactor->now_ms = trib_clock_ms();
    reactor->in_turn = true;
    serve_descriptors(reactor, count);
    trib_timers_run(&reactor->timers, reactor->now_ms);
    serve_queue(reactor);
    reactor->in_turn = false;
    bury(reactor);
    return TRIB_OK;
}

enum trib_status trib_reactor_run(struct trib_reactor *reactor, struct trib_error *err) {
    enum trib_status status = TRIB_OK;
    while (status == TRIB_OK && !reactor->stopping) status = trib_reactor_turn(reactor, UINT32_MAX, err);
    reactor->stopping = false;
    return status;
}

void trib_reactor_stop(struct trib_reactor *reactor) {
    reactor->stopping = true;
}
