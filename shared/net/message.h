/* What comes in, for both sides: one or two frames. Frame 1 is the head, which shared/wire reads; frame 2,
 * where there is one, is the payload, which is never copied. */
#ifndef TRIB_NET_MESSAGE_H
#define TRIB_NET_MESSAGE_H

#include "shared/base/blob.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The name of one connection at a server, a value; it stays unused after the connection ended. */
struct trib_route {
    uint8_t size; /* 0: none */
    uint8_t id[8];
};

enum trib_fault {
    TRIB_FAULT_NONE,
    TRIB_FAULT_FRAMES, /* more than two frames */
    TRIB_FAULT_EMPTY,  /* an empty frame */
    TRIB_FAULT_ROUTE, /* a routing id of its own choice, over 8 bytes: it cannot be answered (route.size is 0)
                       */
};

/* All of it is borrowed until the callback returns; a payload is kept with trib_blob_ref. */
struct trib_incoming {
    struct trib_route route; /* at a client: size 0 */
    const char *identity; /* under CURVE the allow-list's name for the key; "" in plain mode and at clients */
    const uint8_t *head;  /* NULL if it could not be read */
    size_t head_bytes;
    struct trib_blob *payload; /* NULL: there is none */
    enum trib_fault fault;
    size_t frames; /* as far as they were counted */
};

bool trib_route_equal(const struct trib_route *a, const struct trib_route *b);
/* "more than two frames", ... */
const char *trib_fault_text(enum trib_fault fault);

#endif
