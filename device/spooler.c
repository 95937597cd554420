#include "device/spooler.h"

#include "shared/base/alloc.h"
#include "shared/net/pipe.h"

#include <string.h>

enum { ON_WAY = 8 }; /* files packed and not yet written, at most */

struct request {
    size_t device;
    uint64_t position;
    char name[TRIB_NAME_MAX + 1];
    struct trib_buf packed;
    enum trib_status status; /* the answer */
    struct trib_error err;
};

struct spooler {
    const struct trib_spool_config *config;
    struct spooler_events events;
    struct trib_spool *spool; /* the actor's, once it runs */
    struct trib_actor *actor;
    struct trib_watch *watch;
    size_t on_way, count, queue_count, queue_first;
    size_t *queue; /* devices that wait, a ring of `count` */
};

static void free_request(void *item) {
    struct request *request = item;
    trib_buf_release(&request->packed);
    trib_free(request);
}

/* ---- the actor's side ---- */

/* All that is there, so that one sync of the folder serves them. Gives the number of requests. */
static size_t take_group(struct trib_pipe *pipe, struct request *group[ON_WAY]) {
    size_t count = 0;
    void *item = trib_pipe_take(pipe, -1);
    while (item != NULL) {
        group[count++] = item;
        item = count < ON_WAY ? trib_pipe_take(pipe, 0) : NULL;
    }
    return count;
}

static void write_group(struct spooler *spooler, struct request *group[], size_t count) {
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        group[i]->status =
            trib_spool_write(spooler->spool, group[i]->name, &group[i]->packed, &group[i]->err);
        trib_buf_release(&group[i]->packed);
        any = any || group[i]->status == TRIB_OK;
    }
    struct trib_error err;
    enum trib_status status = any ? trib_spool_settle(spooler->spool, &err) : TRIB_OK;
    for (size_t i = 0; i < count && status != TRIB_OK; i++) {
        if (group[i]->status == TRIB_OK) group[i]->err = err;
        group[i]->status = status;
    }
}

static enum trib_status serve(struct trib_pipe *pipe, void *arg, struct trib_error *err) {
    struct spooler *spooler = arg;
    struct request *group[ON_WAY];
    size_t count;
    (void)err;
    trib_pipe_ready(pipe);
    while ((count = take_group(pipe, group)) > 0) {
        write_group(spooler, group, count);
        for (size_t i = 0; i < count; i++) {
            void *item = group[i];
            if (trib_pipe_answer(pipe, &item) != TRIB_OK) free_request(item);
        }
    }
    return TRIB_OK;
}

/* ---- the reactor's side ---- */

static void refuse(struct spooler *spooler, size_t device, const struct trib_error *err) {
    spooler->events.saved(spooler->events.ctx, device, 0, err);
}

static struct request *pack(struct spooler *spooler, size_t device, struct trib_error *err) {
    const char *name;
    const struct trib_state *state = spooler->events.state(spooler->events.ctx, device, &name);
    struct request *request = trib_alloc(sizeof *request);
    if (request == NULL) {
        (void)trib_fail(err, TRIB_NOMEM, "out of memory for the spool");
        return NULL;
    }
    trib_buf_init(&request->packed, 0);
    request->device = device;
    request->position = state->position;
    memcpy(request->name, name, strlen(name) + 1);
    if (trib_spool_pack(state, spooler->config->model, &request->packed, err) == TRIB_OK) return request;
    free_request(request);
    return NULL;
}

static void pump(struct spooler *spooler) {
    while (spooler->on_way < ON_WAY && spooler->queue_count > 0) {
        size_t device = spooler->queue[spooler->queue_first];
        spooler->queue_first = (spooler->queue_first + 1) % spooler->count;
        spooler->queue_count--;
        struct trib_error err;
        void *request = pack(spooler, device, &err);
        if (request == NULL) {
            refuse(spooler, device, &err);
        } else if (trib_actor_send(spooler->actor, &request) == TRIB_OK) {
            spooler->on_way++;
        } else {
            (void)trib_fail(&err, TRIB_IO, "the spool's thread has ended");
            free_request(request);
            refuse(spooler, device, &err);
        }
    }
}

static void on_answer(void *ctx) {
    struct spooler *spooler = ctx;
    struct request *request;
    while ((request = trib_actor_take(spooler->actor)) != NULL) {
        spooler->on_way--;
        spooler->events.saved(spooler->events.ctx, request->device, request->position,
                              request->status == TRIB_OK ? NULL : &request->err);
        free_request(request);
    }
    pump(spooler);
}

void spooler_save(struct spooler *spooler, size_t device) {
    TRIB_ASSERT(spooler->queue_count < spooler->count);
    spooler->queue[(spooler->queue_first + spooler->queue_count++) % spooler->count] = device;
    pump(spooler);
}

/* ---- opening and closing ---- */

static enum trib_status start(struct spooler *spooler, struct trib_reactor *reactor, struct trib_error *err) {
    struct trib_spool_options options = {.folder = spooler->config->path, .unsynced = !spooler->config->sync};
    struct trib_actor_options actor = {.name = "spool",
                                       .requests = ON_WAY,
                                       .answers = ON_WAY,
                                       .drop_request = free_request,
                                       .drop_answer = free_request};
    enum trib_status status = trib_spool_open(&options, &spooler->spool, err);
    if (status == TRIB_OK) status = trib_actor_start(&spooler->actor, serve, spooler, &actor, err);
    if (status == TRIB_OK)
        status = trib_reactor_watch_fd(reactor, trib_actor_fd(spooler->actor), TRIB_WANT_READ, on_answer,
                                       spooler, &spooler->watch, err);
    return status;
}

enum trib_status spooler_new(struct spooler **out, struct trib_reactor *reactor,
                             const struct trib_spool_config *config, size_t count,
                             const struct spooler_events *events, struct trib_error *err) {
    struct spooler *spooler = trib_alloc(sizeof *spooler);
    if (spooler == NULL) return trib_fail(err, TRIB_NOMEM, "out of memory for the spool");
    spooler->config = config;
    spooler->events = *events;
    spooler->count = count;
    spooler->queue = trib_alloc_array(count, sizeof *spooler->queue);
    enum trib_status status = spooler->queue != NULL
                                  ? start(spooler, reactor, err)
                                  : trib_fail(err, TRIB_NOMEM, "out of memory for the spool");
    if (status != TRIB_OK) {
        spooler_free(&spooler);
        return status;
    }
    *out = spooler;
    return TRIB_OK;
}

void spooler_stop(struct spooler *spooler) {
    trib_watch_free(&spooler->watch);
    trib_actor_free(&spooler->actor);
    spooler->queue_count = 0;
}

void spooler_free(struct spooler **out) {
    struct spooler *spooler = *out;
    if (spooler == NULL) return;
    spooler_stop(spooler);
    trib_spool_close(&spooler->spool);
    trib_free(spooler->queue);
    trib_free(spooler);
    *out = NULL;
}

enum trib_status spooler_load(struct spooler *spooler, const char *name, struct trib_state *state,
                              struct trib_error *err) {
    TRIB_ASSERT(spooler->on_way == 0 && spooler->queue_count == 0);
    return trib_spool_load(spooler->spool, name, state, err);
}

enum trib_status spooler_write(struct spooler *spooler, const char *name, const struct trib_state *state,
                               struct trib_error *err) {
    TRIB_ASSERT(spooler->actor == NULL);
    struct trib_buf packed;
    trib_buf_init(&packed, 0);
    enum trib_status status = trib_spool_pack(state, spooler->config->model, &packed, err);
    if (status == TRIB_OK) status = trib_spool_write(spooler->spool, name, &packed, err);
    trib_buf_release(&packed);
    return status;
}

enum trib_status spooler_settle(struct spooler *spooler, struct trib_error *err) {
    return trib_spool_settle(spooler->spool, err);
}
