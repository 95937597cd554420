#include "shared/base/number.h"
#include "shared/daemon/config.h"

#include <arpa/inet.h>
#include <string.h>

static const char tcp[] = "tcp://", ipc[] = "ipc://";

static bool starts_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static enum trib_status refuse(const char *endpoint, const char *why, bool listen, struct trib_error *err) {
    return trib_fail(err, TRIB_INVALID, "found \"%.200s\": %s; expected tcp://HOST:PORT%s or ipc://PATH",
                     endpoint, why, listen ? " (HOST or PORT may be *)" : "");
}

/* A name, an IPv4 address, or an IPv6 address in brackets. */
static bool is_host(const char *host, size_t bytes, bool listen) {
    static const char name[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    char address[64];
    struct in6_addr ignored;
    if (listen && bytes == 1 && host[0] == '*') return true;
    if (bytes == 0) return false;
    if (host[0] != '[') return strspn(host, name) >= bytes;
    if (bytes < 4 || host[bytes - 1] != ']' || bytes - 2 >= sizeof address) return false;
    memcpy(address, host + 1, bytes - 2);
    address[bytes - 2] = 0;
    return inet_pton(AF_INET6, address, &ignored) == 1;
}

static enum trib_status check(const char *endpoint, bool listen, struct trib_error *err) {
    size_t bytes = strlen(endpoint);
    if (bytes > TRIB_ENDPOINT_MAX) return refuse(endpoint, "too long", listen, err);
    if (starts_with(endpoint, ipc)) {
        if (endpoint[strlen(ipc)] == 0) return refuse(endpoint, "no path", listen, err);
        return bytes - strlen(ipc) <= TRIB_SOCKET_PATH_MAX
                   ? TRIB_OK
                   : refuse(endpoint, "a socket's path has at most 100 bytes", listen, err);
    }
    if (!starts_with(endpoint, tcp)) return refuse(endpoint, "neither tcp nor ipc", listen, err);
    const char *host = endpoint + strlen(tcp), *colon = strrchr(host, ':');
    uint64_t port = 0;
    if (colon == NULL) return refuse(endpoint, "no port", listen, err);
    if (!is_host(host, (size_t)(colon - host), listen)) return refuse(endpoint, "no valid host", listen, err);
    if (listen && strcmp(colon, ":*") == 0) return TRIB_OK;
    if (!trib_parse_u64(colon + 1, strlen(colon + 1), &port) || port == 0 || port > 65535) {
        return refuse(endpoint, "the port is not a number from 1 to 65535", listen, err);
    }
    return TRIB_OK;
}

enum trib_status trib_endpoint_check(const char *endpoint, struct trib_error *err) {
    return check(endpoint, false, err);
}

enum trib_status trib_endpoint_check_listen(const char *endpoint, struct trib_error *err) {
    return check(endpoint, true, err);
}

enum trib_status trib_endpoint_check_health(const char *endpoint, struct trib_error *err) {
    if (endpoint[0] == 0) return TRIB_OK;
    if (starts_with(endpoint, ipc)) return check(endpoint, false, err);
    return trib_fail(err, TRIB_INVALID, "found \"%.200s\", expected ipc://PATH, or nothing", endpoint);
}
