#include "shared/net/zap.h"

#include "shared/base/alloc.h"
#include "shared/net/keys.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <zmq.h>

enum { ZAP_FRAMES = 7, FIELD_MAX = 255, LOOK_EVERY_MS = 1000, REQUESTS_PER_TURN = 64, KEY_BYTES = 32 };

struct zap {
    struct zap_options options;
    char *allow_path;
    void *socket;
    struct trib_watch *watch;
    struct trib_timer *look;
    struct trib_allow *allow;
    struct stat seen; /* of the file that was read last, well-formed or not */
    bool changed;     /* has a list been replaced since the start? */
};

/* version, request id, domain, address, routing id, mechanism, credentials */
enum { F_VERSION, F_REQUEST, F_DOMAIN, F_ADDRESS, F_ROUTING, F_MECHANISM, F_CREDENTIALS };

struct field {
    size_t bytes;
    char text[FIELD_MAX + 1];
};

static bool same_file(const struct stat *a, const struct stat *b) {
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

void zap_reload(struct zap *zap) {
    struct trib_error err = {.status = TRIB_OK};
    struct trib_allow *allow = NULL;
    struct stat now = {.st_ino = 0};
    /* Looked at before reading: a change in between is seen the next time. */
    (void)stat(zap->allow_path, &now);
    zap->seen = now;
    if (trib_allow_load(zap->allow_path, &allow, &err) == TRIB_OK) {
        trib_allow_free(&zap->allow);
        zap->allow = allow;
        zap->changed = true;
    }
    if (zap->options.reloaded != NULL)
        zap->options.reloaded(zap->options.ctx, trib_allow_count(zap->allow),
                              err.status != TRIB_OK ? &err : NULL);
}

static void look_at_file(void *ctx) {
    struct zap *zap = ctx;
    struct stat now = {.st_ino = 0};
    (void)stat(zap->allow_path, &now);
    if (!same_file(&now, &zap->seen)) zap_reload(zap);
}

bool zap_permits(const struct zap *zap, const char *identity) {
    return !zap->changed || trib_allow_has_identity(zap->allow, identity);
}

/* ---- Requests */

/* Reads one whole request; fields beyond the seventh are dropped. Returns the number of fields, 0 for no
 * request. */
static size_t receive_request(void *socket, struct field fields[ZAP_FRAMES]) {
    size_t count = 0;
    bool more = true;
    while (more) {
        zmq_msg_t frame;
        (void)zmq_msg_init(&frame);
        if (zmq_msg_recv(&frame, socket, ZMQ_DONTWAIT) < 0) {
            (void)zmq_msg_close(&frame);
            return 0;
        }
        if (count < ZAP_FRAMES) {
            size_t bytes = zmq_msg_size(&frame);
            fields[count].bytes = bytes > FIELD_MAX ? FIELD_MAX : bytes;
            memcpy(fields[count].text, zmq_msg_data(&frame), fields[count].bytes);
            fields[count].text[fields[count].bytes] = 0;
            count++;
        }
        more = zmq_msg_more(&frame);
        (void)zmq_msg_close(&frame);
    }
    return count;
}

static void reply(void *socket, const struct field *request, const char *code, const char *text,
                  const char *identity) {
    int flags = ZMQ_DONTWAIT | ZMQ_SNDMORE;
    /* The other end is libzmq's own session, which waits for this one message: there is always room. */
    (void)zmq_send(socket, "1.0", 3, flags);
    (void)zmq_send(socket, request->text, request->bytes, flags);
    (void)zmq_send(socket, code, 3, flags);
    (void)zmq_send(socket, text, strlen(text), flags);
    (void)zmq_send(socket, identity, strlen(identity), flags);
    (void)zmq_send(socket, "", 0, ZMQ_DONTWAIT);
}

static void judge(struct zap *zap, const struct field fields[ZAP_FRAMES], size_t count) {
    char key[TRIB_KEY_CHARS + 1] = "";
    const char *identity = NULL;
    if (count < ZAP_FRAMES || strcmp(fields[F_MECHANISM].text, "CURVE") != 0 ||
        fields[F_CREDENTIALS].bytes != KEY_BYTES) {
        reply(zap->socket, &fields[F_REQUEST], "400", "keys are needed here", "");
        return;
    }
    (void)zmq_z85_encode(key, (const uint8_t *)fields[F_CREDENTIALS].text, KEY_BYTES);
    identity = trib_allow_find(zap->allow, key);
    if (identity != NULL) {
        reply(zap->socket, &fields[F_REQUEST], "200", "OK", identity);
        return;
    }
    reply(zap->socket, &fields[F_REQUEST], "400", "this key is not on the allow-list", "");
    if (zap->options.refused != NULL) zap->options.refused(zap->options.ctx, key, fields[F_ADDRESS].text);
}

static void on_request(void *ctx) {
    struct zap *zap = ctx;
    struct field fields[ZAP_FRAMES];
    look_at_file(zap);
    for (unsigned i = 0; i < REQUESTS_PER_TURN; i++) {
        for (size_t f = 0; f < ZAP_FRAMES; f++) fields[f] = (struct field){.bytes = 0};
        size_t count = receive_request(zap->socket, fields);
        if (count == 0) return;
        judge(zap, fields, count);
    }
}

/* ---- Start and stop */

static enum trib_status open_socket(struct zap *zap, struct trib_error *err) {
    int linger = 0;
    zap->socket = zmq_socket(trib_context_raw(zap->options.context), ZMQ_REP);
    if (zap->socket == NULL || zmq_setsockopt(zap->socket, ZMQ_LINGER, &linger, sizeof linger) != 0)
        return trib_fail(err, TRIB_IO, "cannot make the socket that checks keys: %s", zmq_strerror(errno));
    if (zmq_bind(zap->socket, "inproc://zeromq.zap.01") != 0)
        return trib_fail(err, TRIB_IO, "cannot check keys: %s (a context serves one server with keys)",
                         zmq_strerror(errno));
    return trib_reactor_watch_socket(zap->options.reactor, zap->socket, TRIB_WANT_READ, on_request, zap,
                                     &zap->watch, err);
}

enum trib_status zap_start(struct zap **out, const struct zap_options *options, struct trib_error *err) {
    struct zap *zap = trib_alloc(sizeof *zap);
    if (zap == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for checking keys");
    zap->options = *options;
    zap->allow_path = trib_strdup(options->allow_path);
    enum trib_status status =
        zap->allow_path != NULL ? TRIB_OK : trib_fail(err, TRIB_NOMEM, "no memory for checking keys");
    if (status == TRIB_OK) {
        (void)stat(zap->allow_path, &zap->seen);
        status = trib_allow_load(zap->allow_path, &zap->allow, err);
    }
    if (status == TRIB_OK) status = open_socket(zap, err);
    if (status == TRIB_OK) status = trib_timer_new(options->reactor, look_at_file, zap, &zap->look, err);
    if (status != TRIB_OK) {
        zap_stop(&zap);
        return status;
    }
    trib_timer_every(zap->look, LOOK_EVERY_MS);
    *out = zap;
    return TRIB_OK;
}

void zap_stop(struct zap **zap) {
    struct zap *z = *zap;
    *zap = NULL;
    if (z == NULL) return;
    trib_timer_free(&z->look);
    trib_watch_free(&z->watch);
    if (z->socket != NULL) (void)zmq_close(z->socket);
    trib_allow_free(&z->allow);
    trib_free(z->allow_path);
    trib_free(z);
}
