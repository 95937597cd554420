#include "shared/net/socket_options.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <zmq.h>

enum { HANDSHAKE_MS = 10000 };

static enum trib_status failed(int option, struct trib_error *err) {
    return trib_fail(err, TRIB_UNSUPPORTED, "this libzmq does not take socket option %d: %s", option,
                     zmq_strerror(errno));
}

enum trib_status socket_set_int(void *socket, int option, int value, struct trib_error *err) {
    return zmq_setsockopt(socket, option, &value, sizeof value) == 0 ? TRIB_OK : failed(option, err);
}

void socket_set_linger(void *socket, unsigned ms) {
    int value = (int)(ms & INT32_MAX);
    (void)zmq_setsockopt(socket, ZMQ_LINGER, &value, sizeof value);
}

enum trib_status socket_set_text(void *socket, int option, const char *value, struct trib_error *err) {
    return zmq_setsockopt(socket, option, value, strlen(value)) == 0 ? TRIB_OK : failed(option, err);
}

static enum trib_status set_all(void *socket, const int (*settings)[2], size_t count,
                                struct trib_error *err) {
    for (size_t i = 0; i < count; i++) {
        enum trib_status status = socket_set_int(socket, settings[i][0], settings[i][1], err);
        if (status != TRIB_OK) return status;
    }
    return TRIB_OK;
}

static int clamp(uint64_t value) {
    return value > INT_MAX ? INT_MAX : (int)value;
}

enum trib_status socket_set_transport(void *socket, const struct transport_options *options,
                                      struct trib_error *err) {
    uint64_t timeout_ms = options->heartbeat_timeout_ms != 0 ? options->heartbeat_timeout_ms
                                                             : (uint64_t)options->heartbeat_ms * 3;
    int64_t max_bytes = options->max_frame_bytes > INT64_MAX ? INT64_MAX : (int64_t)options->max_frame_bytes;
    const int settings[][2] = {
        {ZMQ_LINGER, 0},
        {ZMQ_SNDHWM, clamp(options->send_hwm)},
        {ZMQ_RCVHWM, clamp(options->receive_hwm)},
        {ZMQ_IPV6, options->ipv6},
        {ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS},
        {ZMQ_TCP_KEEPALIVE, 1},
        {ZMQ_TCP_KEEPALIVE_IDLE, clamp(options->keepalive_s)},
        {ZMQ_TCP_KEEPALIVE_INTVL, clamp(options->keepalive_s / 4 + 1)},
        {ZMQ_TCP_KEEPALIVE_CNT, 4},
        {ZMQ_HEARTBEAT_IVL, clamp(options->heartbeat_ms)},
        {ZMQ_HEARTBEAT_TIMEOUT, clamp(timeout_ms)},
    };
    enum trib_status status = set_all(socket, settings, sizeof settings / sizeof *settings, err);
    if (status != TRIB_OK) return status;
    if (zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &max_bytes, sizeof max_bytes) != 0)
        return failed(ZMQ_MAXMSGSIZE, err);
    return TRIB_OK;
}
