/* bench-router: the memory that libzmq itself needs for participants: a ROUTER with the options of
 * trib_server and nothing behind it. It answers as a parent would whose plan never changes: HELLO with a
 * WELCOME that was recorded (--set welcome=FILE), PULL with WAIT, PING with PONG. With --set secret=FILE.key
 * there is CURVE, and everybody is let in. */
#include "shared/net/keys.h"
#include "shared/net/socket_options.h"
#include "shared/wire/message.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

enum { WELCOME_MOST = 64 * 1024, WAIT_MS = 3600 * 1000, FRAME_MOST = 64 << 20 };

struct router {
    const char *secret, *welcome, *listen;
    void *context, *socket;
    size_t welcome_bytes;
    char recorded[WELCOME_MOST];
};

/* Whoever asks is let in. */
static void *admit(void *ctx) {
    void *socket = ctx;
    char frame[7][256];
    for (;;) {
        int more = 1;
        size_t more_bytes = sizeof more, count = 0, id_bytes = 0;
        while (more != 0) {
            int bytes = zmq_recv(socket, frame[count < 7 ? count : 6], sizeof frame[0], 0);
            if (bytes < 0) return NULL;
            if (count++ == 1) id_bytes = (size_t)bytes;
            (void)zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &more_bytes);
        }
        (void)zmq_send(socket, "1.0", 3, ZMQ_SNDMORE);
        (void)zmq_send(socket, frame[1], id_bytes, ZMQ_SNDMORE);
        (void)zmq_send(socket, "200", 3, ZMQ_SNDMORE);
        (void)zmq_send(socket, "OK", 2, ZMQ_SNDMORE);
        (void)zmq_send(socket, "somebody", 8, ZMQ_SNDMORE);
        (void)zmq_send(socket, "", 0, 0);
    }
}

static void answer(struct router *router, zmq_msg_t *id, const struct trib_msg *msg) {
    struct trib_msg reply = {.type = msg->type == TRIB_PULL ? TRIB_WAIT : TRIB_PONG};
    struct trib_buf buf;
    trib_buf_init(&buf, 0);
    trib_msg_set(&reply, SESSION, session, msg->session);
    if (msg->type == TRIB_PULL)
        trib_msg_set(&reply, WAIT_MS, wait_ms, WAIT_MS);
    else
        trib_msg_set(&reply, TOKEN, token, msg->token);
    trib_msg_encode(&reply, &buf);
    bool hello = msg->type == TRIB_HELLO;
    const void *data = hello ? (const void *)router->recorded : buf.data;
    if (zmq_msg_send(id, router->socket, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0)
        (void)zmq_send(router->socket, data, hello ? router->welcome_bytes : buf.size, ZMQ_DONTWAIT);
    trib_buf_release(&buf);
}

static void serve(struct router *router) {
    struct trib_error err;
    for (;;) {
        zmq_msg_t id, head, rest;
        struct trib_msg msg;
        (void)zmq_msg_init(&id);
        (void)zmq_msg_init(&head);
        if (zmq_msg_recv(&id, router->socket, 0) < 0 || zmq_msg_recv(&head, router->socket, 0) < 0) return;
        if (trib_msg_decode(zmq_msg_data(&head), zmq_msg_size(&head), &msg, NULL, &err) == TRIB_OK)
            answer(router, &id, &msg);
        for (bool more = zmq_msg_more(&head); more;) {
            (void)zmq_msg_init(&rest);
            more = zmq_msg_recv(&rest, router->socket, 0) >= 0 && zmq_msg_more(&rest);
            (void)zmq_msg_close(&rest);
        }
        (void)zmq_msg_close(&id);
        (void)zmq_msg_close(&head);
    }
}

static enum trib_status start_keys(struct router *router, struct trib_error *err) {
    struct trib_keys keys;
    pthread_t thread;
    if (router->secret == NULL) return TRIB_OK;
    void *zap = zmq_socket(router->context, ZMQ_REP);
    enum trib_status status = trib_keys_load(router->secret, true, &keys, NULL, err);
    if (status == TRIB_OK && zmq_bind(zap, "inproc://zeromq.zap.01") != 0)
        status = trib_fail_errno(err, "cannot check keys");
    if (status == TRIB_OK) status = socket_set_int(router->socket, ZMQ_CURVE_SERVER, 1, err);
    if (status == TRIB_OK)
        status = socket_set_text(router->socket, ZMQ_CURVE_SECRETKEY, keys.secret_key, err);
    if (status == TRIB_OK) status = socket_set_text(router->socket, ZMQ_ZAP_DOMAIN, "tributary", err);
    if (status == TRIB_OK && pthread_create(&thread, NULL, admit, zap) != 0)
        status = trib_fail(err, TRIB_NOMEM, "cannot start a thread");
    return status;
}

/* The options of shared/net/server.c. */
static enum trib_status open_socket(struct router *router, struct trib_error *err) {
    struct transport_options transport = {
        .send_hwm = 32, .receive_hwm = 32, .max_frame_bytes = FRAME_MOST, .keepalive_s = 60};
    char endpoint[100];
    size_t bytes = sizeof endpoint;
    router->context = zmq_ctx_new();
    router->socket = zmq_socket(router->context, ZMQ_ROUTER);
    enum trib_status status = socket_set_transport(router->socket, &transport, err);
    if (status == TRIB_OK) status = socket_set_int(router->socket, ZMQ_ROUTER_MANDATORY, 1, err);
    if (status == TRIB_OK) status = socket_set_int(router->socket, ZMQ_BACKLOG, 1024, err);
    if (status == TRIB_OK) status = start_keys(router, err);
    if (status != TRIB_OK) return status;
    if (zmq_bind(router->socket, "tcp://127.0.0.1:*") != 0 ||
        zmq_getsockopt(router->socket, ZMQ_LAST_ENDPOINT, endpoint, &bytes) != 0)
        return trib_fail_errno(err, "cannot listen");
    (void)fprintf(stderr, "listening endpoint=%s \n", endpoint);
    return TRIB_OK;
}

int main(int argc, char **argv) {
    static struct router router;
    struct trib_error err = {0};
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "secret=", 7) == 0) router.secret = argv[i] + 7;
        if (strncmp(argv[i], "welcome=", 8) == 0) router.welcome = argv[i] + 8;
    }
    FILE *file = router.welcome != NULL ? fopen(router.welcome, "r") : NULL;
    if (file != NULL) router.welcome_bytes = fread(router.recorded, 1, sizeof router.recorded, file);
    if (file == NULL || fclose(file) != 0 || router.welcome_bytes == 0) {
        (void)fprintf(stderr, "a recorded WELCOME is needed: --set welcome=FILE\n");
        return 2;
    }
    if (open_socket(&router, &err) == TRIB_OK) serve(&router);
    if (err.status != TRIB_OK) (void)fprintf(stderr, "%s\n", err.text);
    return 1;
}
