/* Setting options on ZeroMQ sockets. For this folder. */
#ifndef TRIB_NET_SOCKET_OPTIONS_H
#define TRIB_NET_SOCKET_OPTIONS_H

#include "shared/base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct transport_options {
    unsigned send_hwm;
    unsigned receive_hwm;
    uint64_t max_frame_bytes;
    unsigned keepalive_s;
    unsigned heartbeat_ms;         /* 0: none */
    unsigned heartbeat_timeout_ms; /* 0: 3 x heartbeat_ms */
    bool ipv6;
};

/* Linger 0 and these, on a socket that is neither bound nor connected. */
enum trib_status socket_set_transport(void *socket, const struct transport_options *options,
                                      struct trib_error *err) TRIB_MUST_USE;
/* Gives what is queued `ms` to leave once the socket is closed; if that cannot be set, it stays dropped. */
void socket_set_linger(void *socket, unsigned ms);
enum trib_status socket_set_int(void *socket, int option, int value, struct trib_error *err) TRIB_MUST_USE;
enum trib_status socket_set_text(void *socket, int option, const char *value,
                                 struct trib_error *err) TRIB_MUST_USE;

#endif
