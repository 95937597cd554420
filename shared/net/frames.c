#include "shared/net/frames.h"

#include "shared/base/alloc.h"
#include "shared/net/tsan.h"

#include <errno.h>
#include <string.h>

enum { DRAIN_PER_CALL = 1000 };

const char *trib_fault_text(enum trib_fault fault) {
    switch (fault) {
    case TRIB_FAULT_NONE: return "none";
    case TRIB_FAULT_FRAMES: return "more than two frames";
    case TRIB_FAULT_EMPTY: return "an empty frame";
    case TRIB_FAULT_ROUTE: return "a routing id over 8 bytes";
    }
    return "unknown";
}

bool trib_route_equal(const struct trib_route *a, const struct trib_route *b) {
    return a->size == b->size && memcmp(a->id, b->id, a->size) == 0;
}

/* ---- Receiving */

static int receive_frame(zmq_msg_t *frame, void *socket) {
    int rc;
    (void)zmq_msg_init(frame);
    do {
        rc = zmq_msg_recv(frame, socket, ZMQ_DONTWAIT);
    } while (rc < 0 && errno == EINTR);
    return rc;
}

static bool drain(void *socket, struct frames_in *in) {
    for (unsigned i = 0; in->draining && i < DRAIN_PER_CALL; i++) {
        zmq_msg_t frame;
        int rc = receive_frame(&frame, socket);
        in->draining = rc >= 0 && zmq_msg_more(&frame);
        (void)zmq_msg_close(&frame);
    }
    return !in->draining;
}

/* Frames of a message arrive together, so what follows a frame with MORE is there. */
static bool receive_route(void *socket, struct frames_in *in) {
    zmq_msg_t id;
    int rc = receive_frame(&id, socket);
    if (rc < 0) return false;
    size_t bytes = zmq_msg_size(&id);
    if (bytes > 0 && bytes <= sizeof in->message.route.id) {
        in->message.route.size = (uint8_t)bytes;
        memcpy(in->message.route.id, zmq_msg_data(&id), bytes);
    } else {
        in->message.fault = TRIB_FAULT_ROUTE;
    }
    (void)zmq_msg_close(&id);
    return true;
}

static void free_frame(void *owner) {
    zmq_msg_t *frame = owner;
    (void)zmq_msg_close(frame);
    trib_free(frame);
}

static bool receive_payload(void *socket, struct frames_in *in) {
    zmq_msg_t *frame = trib_alloc(sizeof *frame);
    if (frame == NULL) {
        in->draining = true;
        return false;
    }
    if (receive_frame(frame, socket) < 0) {
        free_frame(frame);
        return false;
    }
    in->message.frames++;
    in->draining = zmq_msg_more(frame);
    if (in->draining) in->message.fault = TRIB_FAULT_FRAMES;
    if (zmq_msg_size(frame) == 0 && in->message.fault == TRIB_FAULT_NONE)
        in->message.fault = TRIB_FAULT_EMPTY;
    in->message.payload = trib_blob_wrap(zmq_msg_data(frame), zmq_msg_size(frame), free_frame, frame);
    if (in->message.payload == NULL) free_frame(frame);
    return in->message.payload != NULL;
}

enum received frames_receive(void *socket, bool routed, struct frames_in *in) {
    if (!drain(socket, in)) return RECEIVED_NOTHING;
    in->message = (struct trib_incoming){.identity = ""};
    if (routed && !receive_route(socket, in)) return RECEIVED_NOTHING;
    if (receive_frame(&in->head, socket) < 0) {
        (void)zmq_msg_close(&in->head);
        return RECEIVED_NOTHING;
    }
    in->head_there = true;
    in->message.frames = 1;
    in->message.head = zmq_msg_data(&in->head);
    in->message.head_bytes = zmq_msg_size(&in->head);
    if (in->message.head_bytes == 0 && in->message.fault == TRIB_FAULT_NONE)
        in->message.fault = TRIB_FAULT_EMPTY;
    if (zmq_msg_more(&in->head) && !receive_payload(socket, in)) {
        frames_forget(in);
        return RECEIVED_LOST;
    }
    return in->message.fault == TRIB_FAULT_NONE ? RECEIVED_MESSAGE : RECEIVED_MALFORMED;
}

void frames_forget(struct frames_in *in) {
    trib_blob_unref(&in->message.payload);
    if (in->head_there) (void)zmq_msg_close(&in->head);
    in->head_there = false;
}

/* ---- Sending */

static void unref_payload(void *data, void *hint) {
    struct trib_blob *blob = hint;
    (void)data;
    TRIB_TSAN_ACQUIRE(blob);
    trib_blob_unref(&blob);
}

/* libzmq only reads what it sends, so casting the const away is safe. */
static int wrap_payload(zmq_msg_t *frame, struct trib_blob *payload) {
    void *data = (void *)(uintptr_t)trib_blob_data(payload);
    if (zmq_msg_init_data(frame, data, trib_blob_size(payload), unref_payload, payload) != 0) return ENOMEM;
    (void)trib_blob_ref(payload);
    TRIB_TSAN_RELEASE(payload);
    return 0;
}

/* On an error the frame is closed. */
static int send_frame(zmq_msg_t *frame, void *socket, bool more) {
    int rc;
    do {
        rc = zmq_msg_send(frame, socket, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0));
    } while (rc < 0 && errno == EINTR);
    if (rc >= 0) return 0;
    int problem = errno;
    (void)zmq_msg_close(frame);
    return problem;
}

static int send_copy(void *socket, const void *data, size_t bytes, bool more) {
    zmq_msg_t frame;
    if (zmq_msg_init_size(&frame, bytes) != 0) return ENOMEM;
    if (bytes > 0) memcpy(zmq_msg_data(&frame), data, bytes);
    return send_frame(&frame, socket, more);
}

int frames_send(void *socket, const struct trib_route *route, const void *head, size_t head_bytes,
                struct trib_blob *payload) {
    zmq_msg_t body;
    zmq_msg_t first;
    int problem = 0;
    TRIB_ASSERT(head_bytes > 0 && (payload == NULL || trib_blob_size(payload) > 0));
    /* Everything that can lack memory comes before the first byte is given away. */
    if (zmq_msg_init_size(&first, head_bytes) != 0) return ENOMEM;
    memcpy(zmq_msg_data(&first), head, head_bytes);
    if (payload != NULL) problem = wrap_payload(&body, payload);
    if (problem != 0) {
        (void)zmq_msg_close(&first);
        return problem;
    }
    if (route != NULL) problem = send_copy(socket, route->id, route->size, true);
    if (problem == 0) {
        problem = send_frame(&first, socket, payload != NULL);
    } else {
        (void)zmq_msg_close(&first);
    }
    if (payload == NULL) return problem;
    if (problem == 0) return send_frame(&body, socket, false);
    (void)zmq_msg_close(&body);
    return problem;
}

/* ---- Waiting for room */

void outbox_init(struct outbox *box) {
    *box = (struct outbox){.messages = 0};
    STAILQ_INIT(&box->items);
}

static void drop_first(struct outbox *box) {
    struct outbox_item *item = STAILQ_FIRST(&box->items);
    STAILQ_REMOVE_HEAD(&box->items, next);
    box->messages--;
    box->bytes -= item->head_bytes + trib_blob_size(item->payload);
    trib_blob_unref(&item->payload);
    trib_free(item);
}

void outbox_release(struct outbox *box) {
    while (!STAILQ_EMPTY(&box->items)) drop_first(box);
}

enum trib_status outbox_put(struct outbox *box, size_t max_messages, size_t max_bytes, const void *head,
                            size_t head_bytes, struct trib_blob *payload) {
    size_t bytes = head_bytes + trib_blob_size(payload);
    if (box->messages >= max_messages) return TRIB_AGAIN;
    if (box->messages > 0 && (bytes > max_bytes || box->bytes > max_bytes - bytes)) return TRIB_AGAIN;
    struct outbox_item *item = trib_alloc(sizeof *item + head_bytes);
    if (item == NULL) return TRIB_NOMEM;
    item->payload = trib_blob_ref(payload);
    item->head_bytes = head_bytes;
    memcpy(item->head, head, head_bytes);
    STAILQ_INSERT_TAIL(&box->items, item, next);
    box->messages++;
    box->bytes += bytes;
    return TRIB_OK;
}

int outbox_flush(struct outbox *box, void *socket, const struct trib_route *route) {
    while (!STAILQ_EMPTY(&box->items)) {
        struct outbox_item *item = STAILQ_FIRST(&box->items);
        int problem = frames_send(socket, route, item->head, item->head_bytes, item->payload);
        if (problem != 0) return problem;
        drop_first(box);
    }
    return 0;
}
