#include "tests/bench/child.h"

#include "tests/bench/bench.h"

#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "shared/codec/codec.h"
#include "shared/kernels/kernels.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

enum { IN_ONE_FRAME = 256 * 1024, CHUNK = 256 * 1024, WINDOW = 4 * CHUNK, PATIENCE_S = 10 };
#define ASK_AGAIN_S 0.2

struct trib_blob *bench_update(size_t parameters, struct trib_error *err) {
    struct trib_codec *codec = NULL;
    struct trib_blob *payload = NULL;
    float *values = trib_alloc_floats(parameters);
    enum trib_status status = values != NULL ? trib_codec_new("int8", &codec, err)
                                             : trib_fail(err, TRIB_NOMEM, "no memory for an update");
    for (size_t i = 0; status == TRIB_OK && i < parameters; i++) values[i] = 1e-6F * sinf((float)i);
    if (status == TRIB_OK) {
        struct trib_source source = trib_source_floats(values, parameters);
        status = trib_codec_encode(codec, &source, &payload, err);
    }
    trib_codec_free(&codec);
    trib_free(values);
    return payload;
}

/* ---- sending: payloads are not copied ---- */

static void unref(void *data, void *hint) {
    struct trib_blob *blob = hint;
    (void)data;
    trib_blob_unref(&blob);
}

static void send_msg(struct bench_child *child, struct trib_msg *msg, struct trib_blob *payload) {
    struct trib_buf buf;
    trib_buf_init(&buf, 0);
    if (msg->type != TRIB_HELLO) trib_msg_set(msg, SESSION, session, child->session);
    trib_msg_encode(msg, &buf);
    bool sent =
        !buf.failed && zmq_send(child->socket, buf.data, buf.size, payload != NULL ? ZMQ_SNDMORE : 0) >= 0;
    trib_buf_release(&buf);
    if (!sent || payload == NULL) return;
    zmq_msg_t body;
    void *data = (void *)(uintptr_t)trib_blob_data(payload); /* libzmq only reads it */
    if (zmq_msg_init_data(&body, data, trib_blob_size(payload), unref, trib_blob_ref(payload)) != 0) return;
    if (zmq_msg_send(&body, child->socket, 0) < 0) (void)zmq_msg_close(&body);
}

void bench_child_hello(struct bench_child *child) {
    struct trib_msg msg = {.type = TRIB_HELLO};
    trib_msg_set(&msg, NAME, name, ((struct trib_text){child->name, strlen(child->name)}));
    trib_msg_set(&msg, INCARNATION, incarnation, child->incarnation);
    trib_msg_set(&msg, NEXT_NUMBER, next_number, 1);
    trib_msg_set(&msg, PROTOCOL_MIN, protocol_min, TRIB_PROTOCOL_OLDEST);
    trib_msg_set(&msg, PROTOCOL_MAX, protocol_max, TRIB_PROTOCOL_OLDEST);
    trib_msg_set(&msg, CODECS, codecs, ((struct trib_text){"f32,int8", 8}));
    trib_msg_set(&msg, KIND, kind, TRIB_CHILD_DEVICE);
    send_msg(child, &msg, NULL);
}

void bench_child_pull(struct bench_child *child, bool anew, uint64_t credit) {
    struct trib_msg msg = {.type = TRIB_PULL};
    trib_msg_set(&msg, CREDIT, credit, credit);
    if (child->holds && !anew) {
        trib_msg_set(&msg, HELD_VERSION, held_version, child->version);
        memcpy(msg.held_digest, child->digest, sizeof msg.held_digest);
        msg.present |= (uint64_t)1 << TRIB_F_HELD_DIGEST;
    }
    send_msg(child, &msg, NULL);
}

bool bench_child_may_push(const struct bench_child *child) {
    return child->holds && child->used + trib_blob_size(child->payload) <= child->granted &&
           trib_blob_size(child->payload) <= IN_ONE_FRAME;
}

static struct trib_msg next_push(struct bench_child *child) {
    struct trib_msg msg = {.type = TRIB_PUSH};
    trib_msg_set(&msg, NUMBER, number, ++child->number);
    trib_msg_set(&msg, BASE_VERSION, base_version, child->version);
    memcpy(msg.base_digest, child->digest, sizeof msg.base_digest);
    msg.present |= (uint64_t)1 << TRIB_F_BASE_DIGEST;
    trib_msg_set(&msg, SAMPLES, samples, 600);
    trib_msg_set(&msg, WEIGHT, weight, 600);
    trib_msg_set(&msg, STEPS, steps, 60.0F);
    trib_msg_set(&msg, LOSS, loss, 0.5F);
    child->unanswered++;
    return msg;
}

void bench_child_push(struct bench_child *child) {
    struct trib_msg msg = next_push(child);
    child->used += trib_blob_size(child->payload);
    send_msg(child, &msg, child->payload);
}

void bench_child_offer(struct bench_child *child) {
    struct trib_msg msg = next_push(child);
    trib_msg_set(&msg, PAYLOAD_BYTES, payload_bytes, trib_blob_size(child->payload));
    trib_msg_set(&msg, PAYLOAD_CRC, payload_crc, child->payload_crc);
    trib_outbound_start(&child->outgoing, child->number, child->payload);
    send_msg(child, &msg, NULL);
}

static void send_pieces(struct bench_child *child) {
    size_t offset;
    struct trib_blob *piece;
    while ((piece = trib_outbound_next(&child->outgoing, &offset)) != NULL) {
        struct trib_msg msg = {.type = TRIB_CHUNK};
        trib_msg_set(&msg, NUMBER, number, child->outgoing.number);
        trib_msg_set(&msg, OFFSET, offset, offset);
        send_msg(child, &msg, piece);
        trib_blob_unref(&piece);
    }
}

/* ---- receiving ---- */

static void has_model(struct bench_child *child, uint64_t version, const uint8_t *digest) {
    child->version = version;
    memcpy(child->digest, digest, sizeof child->digest);
    child->holds = true;
    child->models++;
}

static void ask_for_pieces(struct bench_child *child) {
    struct trib_msg msg = {.type = TRIB_CREDIT};
    trib_msg_set(&msg, NUMBER, number, child->incoming.to_version);
    trib_msg_set(&msg, OFFSET, offset, child->incoming.have);
    trib_msg_set(&msg, CHUNK_BYTES, chunk_bytes, CHUNK);
    trib_msg_set(&msg, WINDOW_BYTES, window_bytes, WINDOW);
    send_msg(child, &msg, NULL);
}

static void on_model(struct bench_child *child, const struct trib_msg *msg) {
    if (msg->kind == TRIB_MODEL_CURRENT || !trib_msg_has(msg, PAYLOAD_BYTES)) {
        has_model(child, msg->to_version, msg->to_digest);
        return;
    }
    child->incoming.to_version = msg->to_version;
    child->incoming.total = (size_t)msg->payload_bytes;
    child->incoming.have = 0;
    memcpy(child->incoming.digest, msg->to_digest, sizeof child->incoming.digest);
    ask_for_pieces(child);
}

static void on_chunk(struct bench_child *child, const struct trib_msg *msg, size_t bytes) {
    if (msg->number != child->incoming.to_version || msg->offset != child->incoming.have) return;
    child->incoming.have += bytes;
    if (child->incoming.have >= child->incoming.total)
        has_model(child, child->incoming.to_version, child->incoming.digest);
    else if (child->incoming.have % (WINDOW / 2) == 0)
        ask_for_pieces(child);
}

static void on_credit(struct bench_child *child, const struct trib_msg *msg) {
    if (trib_msg_has(msg, CREDIT) && msg->credit > child->granted) child->granted = msg->credit;
    if (!trib_msg_has(msg, OFFSET) || msg->number != child->outgoing.number) return;
    trib_outbound_grant(&child->outgoing, (uint64_t)(bench_seconds() * 1e3), (size_t)msg->offset,
                        (size_t)msg->chunk_bytes, (size_t)msg->window_bytes);
    send_pieces(child);
}

static void on_ack(struct bench_child *child, const struct trib_msg *msg) {
    if (trib_msg_has(msg, CREDIT) && msg->credit > child->granted) child->granted = msg->credit;
    if (child->unanswered > 0) child->unanswered--;
    if (msg->verdict == TRIB_ACCEPTED) {
        child->accepted++;
    } else {
        child->refused++;
        (void)snprintf(child->problem, sizeof child->problem, "refused: %s", trib_reason_name(msg->reason));
    }
}

static void on_message(struct bench_child *child, const struct trib_msg *msg, size_t payload_bytes) {
    switch (msg->type) {
    case TRIB_WELCOME:
        child->session = msg->session;
        child->granted = trib_msg_has(msg, CREDIT) ? msg->credit : 0;
        child->problem[0] = 0; /* busy, until it had a plan */
        break;
    case TRIB_MODEL: on_model(child, msg); break;
    case TRIB_CHUNK: on_chunk(child, msg, payload_bytes); break;
    case TRIB_CREDIT: on_credit(child, msg); break;
    case TRIB_ACK: on_ack(child, msg); break;
    case TRIB_PING: {
        struct trib_msg pong = {.type = TRIB_PONG};
        trib_msg_set(&pong, TOKEN, token, msg->token);
        send_msg(child, &pong, NULL);
        break;
    }
    case TRIB_ERROR:
        (void)snprintf(child->problem, sizeof child->problem, "%s: %.*s", trib_code_name(msg->code),
                       (int)msg->detail.size, msg->detail.size > 0 ? msg->detail.data : "");
        break;
    default: break; /* WAIT, ADVANCE: the benchmark has its own times */
    }
}

static bool receive_one(struct bench_child *child) {
    zmq_msg_t head, body;
    (void)zmq_msg_init(&head);
    (void)zmq_msg_init(&body);
    bool got = zmq_msg_recv(&head, child->socket, ZMQ_DONTWAIT) >= 0;
    if (got && zmq_msg_more(&head)) (void)zmq_msg_recv(&body, child->socket, 0);
    struct trib_msg msg;
    struct trib_error err;
    if (got) {
        if (trib_msg_decode(zmq_msg_data(&head), zmq_msg_size(&head), &msg, NULL, &err) == TRIB_OK)
            on_message(child, &msg, zmq_msg_size(&body));
        else
            (void)snprintf(child->problem, sizeof child->problem, "%.190s", err.text);
    }
    (void)zmq_msg_close(&head);
    (void)zmq_msg_close(&body);
    return got;
}

size_t bench_child_receive(struct bench_child *child) {
    size_t count = 0;
    while (receive_one(child)) count++;
    return count;
}

void bench_child_wait(struct bench_child *child, long ms) {
    zmq_pollitem_t item = {.socket = child->socket, .events = ZMQ_POLLIN};
    (void)zmq_poll(&item, 1, ms);
}

/* ---- opening ---- */

enum trib_status bench_child_open(struct bench_child *child, void *context, const char *endpoint,
                                  const char *name, struct trib_blob *payload, struct trib_error *err) {
    int linger = 200 /* for the goodbye */, again_ms = 5;
    *child = (struct bench_child){.payload = payload, .incarnation = trib_random_u64() | 1};
    (void)snprintf(child->name, sizeof child->name, "%s", name);
    child->payload_crc = trib_kernels()->crc32c(0, trib_blob_data(payload), trib_blob_size(payload));
    child->socket = zmq_socket(context, ZMQ_DEALER);
    if (child->socket == NULL) return trib_fail_errno(err, "cannot make a socket");
    (void)zmq_setsockopt(child->socket, ZMQ_LINGER, &linger, sizeof linger);
    (void)zmq_setsockopt(child->socket, ZMQ_RECONNECT_IVL, &again_ms, sizeof again_ms);
    if (zmq_connect(child->socket, endpoint) != 0) {
        bench_child_close(child);
        return trib_fail_errno(err, "cannot connect to %s", endpoint);
    }
    bench_child_hello(child);
    return TRIB_OK;
}

/* One turn of asking for a session, then a model, again every so often. */
static void ask(struct bench_child *child, double *next) {
    double now = bench_seconds();
    if (now > *next && child->session == 0) bench_child_hello(child);
    if (now > *next && child->session != 0) bench_child_pull(child, true, BENCH_CHILD_CREDIT);
    if (now > *next) *next = now + ASK_AGAIN_S;
    bench_child_wait(child, 10);
    (void)bench_child_receive(child);
}

enum trib_status bench_child_await_session(struct bench_child *child, struct trib_error *err) {
    double limit = bench_seconds() + PATIENCE_S, next = bench_seconds() + ASK_AGAIN_S;
    while (child->session == 0 && bench_seconds() < limit) ask(child, &next);
    if (child->session != 0) return TRIB_OK;
    return trib_fail(err, TRIB_AGAIN, "no session within %d s (%s)", PATIENCE_S, child->problem);
}

enum trib_status bench_child_await_model(struct bench_child *child, struct trib_error *err) {
    double limit = bench_seconds() + PATIENCE_S, next = bench_seconds() + ASK_AGAIN_S;
    enum trib_status status = bench_child_await_session(child, err);
    if (status == TRIB_OK) bench_child_pull(child, true, BENCH_CHILD_CREDIT);
    while (!child->holds && bench_seconds() < limit) ask(child, &next);
    if (status != TRIB_OK || child->holds) return status;
    return trib_fail(err, TRIB_AGAIN, "no model within %d s (%s)", PATIENCE_S, child->problem);
}

void bench_child_close(struct bench_child *child) {
    trib_outbound_drop(&child->outgoing);
    struct trib_msg bye = {.type = TRIB_BYE};
    trib_msg_set(&bye, REASON, reason, TRIB_BYE_LEAVING);
    if (child->socket != NULL && child->session != 0) send_msg(child, &bye, NULL);
    if (child->socket != NULL) (void)zmq_close(child->socket);
    child->socket = NULL;
}
