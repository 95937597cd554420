#include "shared/net/gate.h"

#include "shared/base/alloc.h"
#include "shared/net/descriptors.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    GUARDED = 8,
    SCANNED = 1024, /* descriptors below this are looked at: a server binds before it has children */
    FASTEST = 80,   /* connections a ms that are expected at most, with some to spare */
    SOONEST_MS = 2,
    LATEST_MS = 1000
};

struct gate {
    struct trib_timer *timer;
    void (*told)(void *ctx, bool shut, size_t open, size_t limit);
    void *ctx;
    bool shut;
    size_t count;
    int sockets[GUARDED];
};

static void set_filter(const struct gate *gate, bool shut) {
    struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
    struct sock_fprog program = {.len = 1, .filter = &nothing};
    int unused = 0;
    for (size_t i = 0; i < gate->count; i++) {
        if (shut)
            (void)setsockopt(gate->sockets[i], SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
        else
            (void)setsockopt(gate->sockets[i], SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused);
    }
}

/* Connections that were made before the gate was shut and wait to be accepted: they come in all the same. */
static size_t waiting(const struct gate *gate) {
    size_t count = 0;
    for (size_t i = 0; i < gate->count; i++) {
        struct tcp_info info = {.tcpi_unacked = 0};
        socklen_t bytes = sizeof info;
        if (getsockopt(gate->sockets[i], IPPROTO_TCP, TCP_INFO, &info, &bytes) == 0)
            count += info.tcpi_unacked; /* of a socket that listens, these */
    }
    return count;
}

/* Looks again before the room that there is can be taken. */
static void look(void *ctx) {
    struct gate *gate = ctx;
    size_t limit = trib_net_descriptor_limit(), open = trib_net_open_descriptors() + waiting(gate);
    size_t reserve = trib_net_descriptor_reserve(limit), left = open < limit ? limit - open : 0;
    bool shut = gate->shut ? left < 2 * reserve : left < reserve;
    if (shut != gate->shut) {
        gate->shut = shut;
        set_filter(gate, shut);
        if (gate->told != NULL) gate->told(gate->ctx, shut, open, limit);
    }
    size_t room_ms = left > reserve ? (left - reserve) / FASTEST : 0;
    trib_timer_after(gate->timer, room_ms < SOONEST_MS  ? (shut ? LATEST_MS / 10 : SOONEST_MS)
                                  : room_ms > LATEST_MS ? LATEST_MS
                                                        : room_ms);
}

static bool listens_on(int fd, in_port_t port) {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_storage room;
    } name = {.any = {.sa_family = AF_UNSPEC}};
    int listens = 0;
    socklen_t bytes = sizeof listens, name_bytes = sizeof name;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &bytes) != 0 || listens == 0) return false;
    if (getsockname(fd, &name.any, &name_bytes) != 0) return false;
    if (name.any.sa_family == AF_INET) return name.v4.sin_port == port;
    return name.any.sa_family == AF_INET6 && name.v6.sin6_port == port;
}

static bool is_guarded(const struct gate *gate, int fd) {
    for (size_t i = 0; i < gate->count; i++)
        if (gate->sockets[i] == fd) return true;
    return false;
}

void gate_guard(struct gate *gate, const char *endpoint) {
    const char *colon = strrchr(endpoint, ':');
    if (strncmp(endpoint, "tcp://", 6) != 0 || colon == NULL) return;
    in_port_t port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    for (int fd = 0; fd < SCANNED && gate->count < GUARDED; fd++)
        if (!is_guarded(gate, fd) && listens_on(fd, port)) gate->sockets[gate->count++] = fd;
}

enum trib_status gate_new(struct gate **out, struct trib_reactor *reactor,
                          void (*told)(void *ctx, bool shut, size_t open, size_t limit), void *ctx,
                          struct trib_error *err) {
    struct gate *gate = trib_alloc(sizeof *gate);
    if (gate == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a server");
    gate->told = told;
    gate->ctx = ctx;
    enum trib_status status = trib_timer_new(reactor, look, gate, &gate->timer, err);
    if (status != TRIB_OK) {
        trib_free(gate);
        return status;
    }
    trib_timer_after(gate->timer, 0);
    *out = gate;
    return TRIB_OK;
}

void gate_free(struct gate **gate) {
    struct gate *g = *gate;
    *gate = NULL;
    if (g == NULL) return;
    trib_timer_free(&g->timer);
    trib_free(g);
}
