#include "shared/net/context.h"

#include "shared/base/alloc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

enum { DEFAULT_SOCKETS = 1000, HOST_MAX = 256 };

struct trib_context {
    void *raw;
    atomic_uint_fast64_t numbers;
};

enum trib_status trib_context_new(struct trib_context **out, size_t sockets, struct trib_error *err) {
    int most = sockets == 0 ? DEFAULT_SOCKETS : sockets > 60000 ? 60000 : (int)sockets;
    struct trib_context *context = trib_alloc(sizeof *context);
    if (context == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a network context");
    context->raw = zmq_ctx_new();
    if (context->raw == NULL || zmq_ctx_set(context->raw, ZMQ_MAX_SOCKETS, most) != 0) {
        enum trib_status status =
            trib_fail(err, TRIB_IO, "cannot make a ZeroMQ context: %s", zmq_strerror(errno));
        if (context->raw != NULL) (void)zmq_ctx_term(context->raw);
        trib_free(context);
        return status;
    }
    *out = context;
    return TRIB_OK;
}

void trib_context_free(struct trib_context **context) {
    struct trib_context *c = *context;
    *context = NULL;
    if (c == NULL) return;
    while (zmq_ctx_term(c->raw) != 0 && errno == EINTR) {
    }
    trib_free(c);
}

void *trib_context_raw(const struct trib_context *context) {
    return context->raw;
}

uint64_t trib_context_number(struct trib_context *context) {
    return atomic_fetch_add(&context->numbers, 1);
}

static bool starts_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool loopback_host(const char *host) {
    struct in_addr v4;
    struct in6_addr v6;
    if (strcmp(host, "localhost") == 0 || strcmp(host, "lo") == 0) return true;
    if (inet_pton(AF_INET, host, &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
    if (inet_pton(AF_INET6, host, &v6) == 1) return IN6_IS_ADDR_LOOPBACK(&v6);
    return false;
}

/* libzmq would cut 99999 to 16 bits and use that. */
static bool port_ok(const char *port) {
    unsigned value = 0;
    if (strcmp(port, "*") == 0) return true;
    if (*port == 0 || strlen(port) > 5) return false;
    for (; *port >= '0' && *port <= '9'; port++) value = 10 * value + (unsigned)(*port - '0');
    return *port == 0 && value <= 65535;
}

/* The host of "tcp://[source;]host:port", without the brackets of IPv6. */
static bool host_of(const char *endpoint, char host[HOST_MAX]) {
    const char *from = endpoint + strlen("tcp://");
    const char *source_end = strchr(from, ';');
    if (source_end != NULL) from = source_end + 1;
    const char *to = strrchr(from, ':');
    if (to == NULL || !port_ok(to + 1)) return false;
    if (*from == '[' && to > from + 1 && to[-1] == ']') {
        from++;
        to--;
    }
    size_t bytes = (size_t)(to - from);
    if (bytes == 0 || bytes >= HOST_MAX) return false;
    memcpy(host, from, bytes);
    host[bytes] = 0;
    return true;
}

bool trib_net_is_local(const char *endpoint) {
    char host[HOST_MAX];
    if (starts_with(endpoint, "ipc://") || starts_with(endpoint, "inproc://")) return true;
    return starts_with(endpoint, "tcp://") && host_of(endpoint, host) && loopback_host(host);
}

static bool well_formed(const char *endpoint) {
    char host[HOST_MAX];
    if (starts_with(endpoint, "tcp://")) return host_of(endpoint, host);
    return starts_with(endpoint, "ipc://") || starts_with(endpoint, "inproc://");
}

enum trib_status trib_net_check_plain(const char *endpoint, bool allow_insecure, struct trib_error *err) {
    if (!well_formed(endpoint))
        return trib_fail(err, TRIB_INVALID, "%s is no endpoint: expected tcp://HOST:PORT or ipc:///PATH",
                         endpoint);
    if (allow_insecure || trib_net_is_local(endpoint)) return TRIB_OK;
    return trib_fail(
        err, TRIB_DENIED,
        "%s can be reached from other machines and no keys are configured: anybody could read and "
        "forge what passes. Make keys with `tributary keys new` and name them in the config, or use "
        "127.0.0.1 or ipc://, or set allow_insecure: true on a network that you trust",
        endpoint);
}

enum trib_status trib_net_probe_ipc(const char *endpoint, struct trib_error *err) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!starts_with(endpoint, "ipc://") || endpoint[strlen("ipc://")] == 0)
        return trib_fail(err, TRIB_INVALID, "%s is not of the form ipc:///path", endpoint);
    const char *path = endpoint + strlen("ipc://");
    size_t bytes = strlen(path);
    if (bytes >= sizeof address.sun_path)
        return trib_fail(err, TRIB_INVALID, "the path of %s has %zu bytes, and the system allows %zu",
                         endpoint, bytes, sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, bytes);
    if (path[0] == '@') address.sun_path[0] = 0; /* Linux's abstract names, as libzmq writes them */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return trib_fail_errno(err, "cannot make a local socket");
    size_t whole = path[0] == '@' ? offsetof(struct sockaddr_un, sun_path) + bytes : sizeof address;
    int rc = connect(fd, (const struct sockaddr *)&address, (socklen_t)whole);
    int problem = rc == 0 ? 0 : errno;
    (void)close(fd);
    /* EAGAIN: its queue of connections is full, so it is there. */
    if (problem == 0 || problem == EAGAIN) return TRIB_OK;
    errno = problem;
    if (problem == ENOENT || problem == ECONNREFUSED)
        return trib_fail(err, TRIB_NOT_FOUND, "nobody listens at %s", endpoint);
    return trib_fail_errno(err, "cannot look at %s", endpoint);
}

void trib_net_remove_ipc(const char *endpoint) {
    if (starts_with(endpoint, "ipc:///")) (void)unlink(endpoint + strlen("ipc://"));
}
