#include "shared/net/health.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/net/socket_options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

enum { LINE_MAX_BYTES = 16 * 1024, REQUESTS_PER_TURN = 8, HWM = 16 };

/* The question is one frame; the answer two: "1" or "0", and the line. */
static const char question[] = "health";

struct trib_health {
    void *socket;
    struct trib_watch *watch;
    trib_health_answer *answer;
    void *ctx;
    struct trib_buf line;
    char *endpoint; /* NULL: not bound */
};

static enum trib_status open_socket(void *context, int type, void **socket, struct trib_error *err) {
    struct transport_options transport = {
        .send_hwm = HWM, .receive_hwm = HWM, .max_frame_bytes = 2 * LINE_MAX_BYTES, .keepalive_s = 60};
    *socket = zmq_socket(context, type);
    if (*socket == NULL)
        return trib_fail(err, TRIB_IO, "cannot make a health socket: %s", zmq_strerror(errno));
    return socket_set_transport(*socket, &transport, err);
}

/* ---- The node */

/* Whatever was asked, the answer is the same. False: nothing was asked. */
static bool receive_question(void *socket) {
    bool more = true;
    while (more) {
        zmq_msg_t frame;
        (void)zmq_msg_init(&frame);
        bool got = zmq_msg_recv(&frame, socket, ZMQ_DONTWAIT) >= 0;
        more = got && zmq_msg_more(&frame);
        (void)zmq_msg_close(&frame);
        if (!got) return false;
    }
    return true;
}

static void on_question(void *ctx) {
    struct trib_health *health = ctx;
    for (unsigned i = 0; i < REQUESTS_PER_TURN && receive_question(health->socket); i++) {
        trib_buf_clear(&health->line);
        bool well = health->answer(health->ctx, &health->line);
        const char *line = trib_buf_text(&health->line);
        (void)zmq_send(health->socket, well ? "1" : "0", 1, ZMQ_DONTWAIT | ZMQ_SNDMORE);
        (void)zmq_send(health->socket, line, strlen(line), ZMQ_DONTWAIT);
    }
}

static enum trib_status bind_health(struct trib_health *health, const char *endpoint,
                                    struct trib_error *err) {
    enum trib_status status = trib_net_probe_ipc(endpoint, err);
    if (status == TRIB_OK)
        return trib_fail(err, TRIB_IO,
                         "%s is in use by another running node; stop it, or give this one another run folder",
                         endpoint);
    if (status != TRIB_NOT_FOUND) return status;
    if (zmq_bind(health->socket, endpoint) == 0) {
        health->endpoint = trib_strdup(endpoint);
        return health->endpoint != NULL ? TRIB_OK
                                        : trib_fail(err, TRIB_NOMEM, "no memory for the health endpoint");
    }
    return trib_fail(err, TRIB_IO, "cannot listen on %s: %s; its folder must exist and be writable", endpoint,
                     zmq_strerror(errno));
}

enum trib_status trib_health_new(struct trib_health **out, struct trib_context *context,
                                 struct trib_reactor *reactor, const char *endpoint,
                                 trib_health_answer *answer, void *ctx, struct trib_error *err) {
    struct trib_health *health = trib_alloc(sizeof *health);
    if (health == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for the health endpoint");
    health->answer = answer;
    health->ctx = ctx;
    trib_buf_init(&health->line, LINE_MAX_BYTES);
    enum trib_status status = open_socket(trib_context_raw(context), ZMQ_REP, &health->socket, err);
    if (status == TRIB_OK) status = bind_health(health, endpoint, err);
    if (status == TRIB_OK)
        status = trib_reactor_watch_socket(reactor, health->socket, TRIB_WANT_READ, on_question, health,
                                           &health->watch, err);
    if (status != TRIB_OK) {
        trib_health_free(&health);
        return status;
    }
    *out = health;
    return TRIB_OK;
}

void trib_health_free(struct trib_health **health) {
    struct trib_health *h = *health;
    *health = NULL;
    if (h == NULL) return;
    trib_watch_free(&h->watch);
    if (h->endpoint != NULL) trib_net_remove_ipc(h->endpoint);
    if (h->socket != NULL) (void)zmq_close(h->socket);
    trib_free(h->endpoint);
    trib_buf_release(&h->line);
    trib_free(h);
}

/* ---- The question */

static enum trib_status await_answer(void *socket, const char *endpoint, unsigned timeout_ms,
                                     struct trib_error *err) {
    uint64_t deadline = trib_clock_ms() + timeout_ms;
    for (;;) {
        uint64_t now = trib_clock_ms();
        zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLIN};
        int rc = zmq_poll(&item, 1, now < deadline ? (long)(deadline - now) : 0);
        if (rc > 0) return TRIB_OK;
        if (rc < 0 && errno != EINTR)
            return trib_fail(err, TRIB_IO, "waiting for %s failed: %s", endpoint, zmq_strerror(errno));
        if (trib_clock_ms() >= deadline)
            return trib_fail(err, TRIB_AGAIN,
                             "no answer from %s within %u ms: the node hangs or is overloaded", endpoint,
                             timeout_ms);
    }
}

static enum trib_status read_answer(void *socket, const char *endpoint, struct trib_buf *line, bool *well,
                                    struct trib_error *err) {
    zmq_msg_t state;
    zmq_msg_t text;
    (void)zmq_msg_init(&state);
    (void)zmq_msg_init(&text);
    bool ok = zmq_msg_recv(&state, socket, ZMQ_DONTWAIT) == 1 && zmq_msg_more(&state) &&
              zmq_msg_recv(&text, socket, ZMQ_DONTWAIT) >= 0 && !zmq_msg_more(&text);
    char byte = ok ? *(const char *)zmq_msg_data(&state) : 0;
    ok = ok && (byte == '0' || byte == '1');
    if (ok) {
        *well = byte == '1';
        trib_buf_append(line, zmq_msg_data(&text), zmq_msg_size(&text));
    }
    (void)zmq_msg_close(&state);
    (void)zmq_msg_close(&text);
    if (!ok) return trib_fail(err, TRIB_INVALID, "%s gave something else than a health answer", endpoint);
    return line->failed ? trib_fail(err, TRIB_NOMEM, "no memory for the answer") : TRIB_OK;
}

static enum trib_status ask(void *socket, const char *endpoint, unsigned timeout_ms, struct trib_buf *line,
                            bool *well, struct trib_error *err) {
    if (zmq_connect(socket, endpoint) != 0 ||
        zmq_send(socket, question, sizeof question - 1, ZMQ_DONTWAIT) < 0)
        return trib_fail(err, TRIB_IO, "cannot ask %s: %s", endpoint, zmq_strerror(errno));
    enum trib_status status = await_answer(socket, endpoint, timeout_ms, err);
    return status == TRIB_OK ? read_answer(socket, endpoint, line, well, err) : status;
}

enum trib_status trib_health_ask(const char *endpoint, unsigned timeout_ms, struct trib_buf *line, bool *well,
                                 struct trib_error *err) {
    struct trib_context *context = NULL;
    void *socket = NULL;
    trib_buf_clear(line);
    *well = false;
    enum trib_status status = trib_net_probe_ipc(endpoint, err);
    if (status == TRIB_OK) status = trib_context_new(&context, 4, err);
    if (status != TRIB_OK) return status;
    status = open_socket(trib_context_raw(context), ZMQ_REQ, &socket, err);
    if (status == TRIB_OK) status = ask(socket, endpoint, timeout_ms, line, well, err);
    if (socket != NULL) (void)zmq_close(socket);
    trib_context_free(&context);
    return status;
}

int trib_health_main(const char *endpoint, unsigned timeout_ms) {
    struct trib_error err = {.status = TRIB_OK};
    struct trib_buf line;
    bool well = false;
    trib_buf_init(&line, 0);
    if (endpoint[0] == 0) {
        (void)fputs(
            "no health endpoint is set: give health: ipc:///path to the program and to this question\n",
            stderr);
    } else if (trib_health_ask(endpoint, timeout_ms, &line, &well, &err) == TRIB_OK) {
        (void)printf("%s\n", trib_buf_text(&line));
    } else {
        (void)fprintf(stderr, "%s\n", err.text);
    }
    trib_buf_release(&line);
    return well ? 0 : 1;
}
