/* Messages of one or two frames over a ZeroMQ socket: what server.c and client.c share. For this folder. */
#ifndef TRIB_NET_FRAMES_H
#define TRIB_NET_FRAMES_H

#include "shared/base/blob.h"
#include "shared/base/error.h"
#include "shared/net/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>
#include <zmq.h>

/* One message at a time, as it came. Zeroed before its first use. */
struct frames_in {
    zmq_msg_t head; /* frame 1; valid while head_there */
    bool head_there;
    bool draining; /* frames of a refused message are still to be thrown away */
    struct trib_incoming message;
};

enum received { RECEIVED_NOTHING, RECEIVED_MESSAGE, RECEIVED_MALFORMED, RECEIVED_LOST /* no memory */ };

/* Receives without waiting. After MESSAGE and MALFORMED, in->message holds what could be read until
 * frames_forget. `routed`: the first frame is a routing id. A message of many frames is thrown away at most
 * 1,000 frames a call. */
enum received frames_receive(void *socket, bool routed, struct frames_in *in);
void frames_forget(struct frames_in *in);

/* Sends without waiting or copying the payload. 0, or an errno: EAGAIN (no room), EHOSTUNREACH (no such
 * route), ENOMEM. On an error nothing was sent. */
int frames_send(void *socket, const struct trib_route *route, const void *head, size_t head_bytes,
                struct trib_blob *payload);

/* What waits for room, oldest first. */
struct outbox_item {
    STAILQ_ENTRY(outbox_item) next;
    struct trib_blob *payload;
    size_t head_bytes;
    unsigned char head[];
};

struct outbox {
    STAILQ_HEAD(outbox_items, outbox_item) items;
    size_t messages;
    size_t bytes;
};

void outbox_init(struct outbox *box);
void outbox_release(struct outbox *box); /* empty afterwards, and usable */
/* TRIB_AGAIN: it would be over a limit; TRIB_NOMEM. A single message larger than max_bytes fits an empty box.
 */
enum trib_status outbox_put(struct outbox *box, size_t max_messages, size_t max_bytes, const void *head,
                            size_t head_bytes, struct trib_blob *payload);
/* Sends what there is room for: 0 when the box is empty, else the errno of what stopped it. */
int outbox_flush(struct outbox *box, void *socket, const struct trib_route *route);

#endif
