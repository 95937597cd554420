#include "shared/daemon/storage.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/net/pipe.h"

#include <string.h>

enum {
    GROUP_RECORDS = 256,
    REQUESTS = 8,
    SEGMENT_BYTES = 64 * 1024 * 1024,
    CHECKPOINT_RETRY_MS = 30 * 1000,         /* after one that failed */
    RECORD_COST = sizeof(struct trib_record) /* counts as backlog, beside its payload */
};

/* What travels to the actor and back. A checkpoint is two requests, so that the state and the journal are
 * held up only while it is copied into a file, and not while that file is synced:
 *     groups ... SAVE -> (saved: the state may change) -> groups ... FINISH -> (checkpointed) */
struct request {
    enum { WRITE_GROUP, SAVE, FINISH } kind;
    size_t count;
    uint64_t bytes; /* of payload; FINISH: of the checkpoint */
    struct trib_record *records[GROUP_RECORDS];
    const struct trib_state *state; /* SAVE; does not change meanwhile */
    enum trib_status status;        /* the answer */
    struct trib_error err;
    uint64_t position;
};

struct trib_storage {
    struct trib_storage_options options;
    struct trib_store *store; /* the actor's, once it runs */
    struct trib_ledger *ledger;
    struct trib_actor *actor;
    struct trib_watch *watch;
    struct trib_timer *batch_timer;
    bool batched, failed;
    bool lost;       /* when it was opened */
    bool ended;      /* the actor takes nothing more: told at the next flush */
    bool checkpoint; /* one is under way */
    size_t on_way;   /* groups */
    size_t queue_count, queue_first, queue_capacity;
    struct trib_record **queue;
    uint64_t backlog, queue_since_ms, position, groups;
    struct trib_store_since since; /* the last checkpoint */
    uint64_t checkpoint_at_ms;     /* not before */
    struct trib_record *group;     /* the actor's scratch */
};

static void free_request(void *item) {
    struct request *request = item;
    for (size_t i = 0; i < request->count; i++) trib_record_free(&request->records[i]);
    trib_free(request);
}

/* ---- the actor's side ---- */

static void write_group(struct trib_storage *s, struct request *request) {
    for (size_t i = 0; i < request->count; i++) s->group[i] = *request->records[i];
    request->status = trib_store_write(s->store, s->group, request->count, &request->err);
    request->position = trib_store_position(s->store);
}

static void save_state(struct trib_storage *s, struct request *request) {
    struct trib_sink sink;
    request->status = trib_store_checkpoint_begin(s->store, request->state->position, &sink, &request->err);
    if (request->status != TRIB_OK) return;
    request->status = trib_state_save(request->state, &sink, &request->err);
    if (request->status != TRIB_OK) trib_store_checkpoint_abort(s->store);
}

/* Of the last one, for they come oldest first. */
static void finish_checkpoint(struct trib_storage *s, struct request *request) {
    request->status = trib_store_checkpoint_commit(s->store, &request->err);
    if (request->status == TRIB_OK)
        request->status = trib_store_checkpoint_bytes(s->store, &request->bytes, &request->err);
}

static enum trib_status serve(struct trib_pipe *pipe, void *arg, struct trib_error *err) {
    struct trib_storage *s = arg;
    (void)err;
    trib_pipe_ready(pipe);
    void *item;
    while ((item = trib_pipe_take(pipe, -1)) != NULL) {
        struct request *request = item;
        switch (request->kind) {
        case WRITE_GROUP: write_group(s, request); break;
        case SAVE: save_state(s, request); break;
        case FINISH: finish_checkpoint(s, request); break;
        }
        if (trib_pipe_answer(pipe, &item) != TRIB_OK) free_request(item);
    }
    return TRIB_OK;
}

/* ---- the reactor's side ---- */

static bool send_request(struct trib_storage *s, void *request) {
    if (trib_actor_send(s->actor, &request) == TRIB_OK) return true;
    free_request(request);
    return false;
}

/* The first half's request is the second half's too, so that nothing can be missing then. Consumes it. */
static void on_checkpoint(struct trib_storage *s, struct request *request) {
    struct trib_storage_events events = s->options.events;
    bool well = request->status == TRIB_OK;
    if (request->kind == SAVE) {
        events.saved(events.ctx);
        request->kind = FINISH;
        if (well) {
            (void)send_request(s, request); /* there is room; else the thread is ending */
            return;
        }
    }
    s->checkpoint = false;
    if (well)
        s->since.checkpoint_bytes = request->bytes;
    else
        s->checkpoint_at_ms = trib_clock_ms() + CHECKPOINT_RETRY_MS;
    events.checkpointed(events.ctx, well ? NULL : &request->err);
    free_request(request);
}

/* Consumes the request. False: it failed, and with it this storage. */
static bool on_group(struct trib_storage *s, struct request *request) {
    struct trib_storage_events events = s->options.events;
    s->on_way--;
    s->backlog -= request->bytes;
    bool well = request->status == TRIB_OK;
    struct trib_error err = request->err;
    uint64_t position = request->position;
    free_request(request);
    if (well) {
        s->groups++;
        s->position = position;
        events.committed(events.ctx, position);
    } else {
        s->failed = true;
        events.failed(events.ctx, &err); /* frees this storage */
    }
    return well;
}

static void on_answer(void *ctx) {
    struct trib_storage *s = ctx;
    struct request *request;
    bool well = true;
    while (well && (request = trib_actor_take(s->actor)) != NULL) {
        if (request->kind == WRITE_GROUP)
            well = on_group(s, request);
        else
            on_checkpoint(s, request);
    }
}

static void on_batch_timer(void *ctx) {
    trib_storage_flush(ctx);
}

static struct request *new_request(struct trib_storage *s) {
    struct request *request = trib_alloc(sizeof *request);
    while (request != NULL && request->count < GROUP_RECORDS && s->queue_first < s->queue_count) {
        struct trib_record *record = s->queue[s->queue_first++];
        request->bytes += trib_blob_memory(record->payload) + RECORD_COST;
        request->records[request->count++] = record;
    }
    if (s->queue_first == s->queue_count) s->queue_first = s->queue_count = 0;
    return request;
}

static bool queued(const struct trib_storage *s) {
    return s->queue_count != s->queue_first;
}

static bool send_group(struct trib_storage *s) {
    struct request *request = new_request(s);
    if (request == NULL) return false; /* tried again in the next turn */
    if (send_request(s, request)) {
        s->on_way++;
        return true;
    }
    s->ended = true;
    return false;
}

static void tell_ended(struct trib_storage *s) {
    struct trib_storage_events events = s->options.events;
    struct trib_error err;
    (void)trib_fail(&err, TRIB_IO, "the storage thread has ended");
    s->failed = true;
    events.failed(events.ctx, &err); /* frees this storage */
}

/* Where nothing is synced, a second group waits in the thread's queue so that it never stops for us; where a
 * sync is what takes the time, the next group grows meanwhile. */
static size_t groups_ahead(const struct trib_storage *s) {
    return strcmp(s->options.config->durability, "none") == 0 ? 2 : 1;
}

void trib_storage_flush(struct trib_storage *s) {
    if (s->on_way >= groups_ahead(s) || s->failed || s->ended || !queued(s)) {
        if (s->ended && !s->failed) tell_ended(s);
        return;
    }
    if (s->batched && s->queue_count - s->queue_first < GROUP_RECORDS) {
        uint64_t due = s->queue_since_ms + s->options.config->batch_ms;
        if (trib_clock_ms() < due) {
            trib_timer_at(s->batch_timer, due);
            return;
        }
    }
    if (!send_group(s) && s->ended) tell_ended(s);
}

enum trib_status trib_storage_write(struct trib_storage *s, struct trib_record **record) {
    if (s->queue_count == s->queue_capacity) {
        size_t capacity = s->queue_capacity > 0 ? s->queue_capacity * 2 : 64;
        struct trib_record **more = trib_realloc(s->queue, capacity * sizeof(*more));
        if (more == NULL) return TRIB_NOMEM;
        s->queue = more;
        s->queue_capacity = capacity;
    }
    if (s->queue_count == s->queue_first) s->queue_since_ms = trib_clock_ms();
    s->backlog += trib_blob_memory((*record)->payload) + RECORD_COST;
    trib_store_since_record(&s->since, *record);
    s->queue[s->queue_count++] = *record;
    *record = NULL;
    return TRIB_OK;
}

bool trib_storage_checkpoint_due(const struct trib_storage *s) {
    const struct trib_store_config *c = s->options.config;
    if (s->checkpoint || s->failed || trib_clock_ms() < s->checkpoint_at_ms) return false;
    return trib_store_checkpoint_due(&s->since, c->checkpoint_records, c->checkpoint_bytes);
}

bool trib_storage_checkpoint(struct trib_storage *s, const struct trib_state *state) {
    if (s->checkpoint || s->failed || s->ended) return false;
    /* Two requests stay free: SAVE and, later, FINISH. */
    while (queued(s) && s->on_way + 2 < REQUESTS)
        if (!send_group(s)) return false;
    struct request *request = queued(s) ? NULL : trib_alloc(sizeof *request);
    if (request == NULL) return false;
    request->kind = SAVE;
    request->state = state;
    if (!send_request(s, request)) return false;
    s->checkpoint = true;
    s->since.records = s->since.bytes = 0;
    return true;
}

uint64_t trib_storage_backlog(const struct trib_storage *s) {
    return s->backlog;
}

size_t trib_storage_waiting(const struct trib_storage *s) {
    return s->queue_count - s->queue_first;
}

bool trib_storage_has_lost(const struct trib_storage *s) {
    return s->lost;
}

uint64_t trib_storage_groups(const struct trib_storage *s) {
    return s->groups;
}

/* ---- opening and closing ---- */

struct loading {
    struct trib_storage *storage;
    struct trib_state *state;
};

static enum trib_status load_checkpoint(void *ctx, uint64_t position, const struct trib_feed *feed,
                                        struct trib_error *err) {
    return trib_state_take_checkpoint(((struct loading *)ctx)->state, position, feed, err);
}

static enum trib_status load_record(void *ctx, const struct trib_record *record, struct trib_error *err) {
    const struct loading *loading = ctx;
    /* These count too: a node that is restarted often must come to its checkpoint. */
    trib_store_since_record(&loading->storage->since, record);
    return trib_state_take_record(loading->state, record, err);
}

static enum trib_durability durability_of(const struct trib_store_config *config) {
    if (strcmp(config->durability, "none") == 0) return TRIB_DURABLE_NONE;
    return strcmp(config->durability, "batched") == 0 ? TRIB_DURABLE_BATCHED : TRIB_DURABLE_FULL;
}

static struct trib_store_options store_options(const struct trib_storage_options *options) {
    const struct trib_store_config *c = options->config;
    return (struct trib_store_options){
        .path = options->path,
        .durability = durability_of(c),
        /* Segments go whole: none is larger than what a checkpoint makes unnecessary. */
        .segment_bytes = c->checkpoint_bytes < SEGMENT_BYTES ? c->checkpoint_bytes : SEGMENT_BYTES,
        .keep_checkpoints = c->checkpoint_keep > 0 ? c->checkpoint_keep : TRIB_KEEP_ALL};
}

enum trib_status trib_storage_repair(const struct trib_storage_options *options,
                                     struct trib_store_damage *out, struct trib_error *err) {
    struct trib_store_options store = store_options(options);
    *out = (struct trib_store_damage){.found = false};
    struct trib_ledger *ledger = NULL;
    enum trib_status status = trib_ledger_new(&options->ledger, &ledger, err);
    if (status != TRIB_OK) return status;
    store.projection = trib_ledger_projection(ledger);
    status = trib_store_repair(&store, strcmp(options->config->on_damage, "begin") == 0, out, err);
    trib_ledger_free(&ledger);
    return status;
}

static enum trib_status open_all(struct trib_storage *s, struct trib_state *state, struct trib_error *err) {
    enum trib_status status = trib_ledger_new(&s->options.ledger, &s->ledger, err);
    if (status != TRIB_OK) return status;
    struct trib_store_options store = store_options(&s->options);
    store.projection = trib_ledger_projection(s->ledger);
    s->batched = store.durability == TRIB_DURABLE_BATCHED;
    status = trib_store_open(&store, &s->store, err);
    struct loading loading = {.storage = s, .state = state};
    if (status == TRIB_OK) status = trib_store_recover(s->store, load_checkpoint, load_record, &loading, err);
    if (status == TRIB_OK) status = trib_store_checkpoint_bytes(s->store, &s->since.checkpoint_bytes, err);
    if (status != TRIB_OK) return status;
    s->position = trib_store_position(s->store);
    s->lost = trib_store_has_lost(s->store);
    struct trib_actor_options actor = {.name = "storage",
                                       .requests = REQUESTS,
                                       .answers = REQUESTS,
                                       .drop_request = free_request,
                                       .drop_answer = free_request};
    status = trib_actor_start(&s->actor, serve, s, &actor, err);
    if (status == TRIB_OK)
        status = trib_reactor_watch_fd(s->options.reactor, trib_actor_fd(s->actor), TRIB_WANT_READ, on_answer,
                                       s, &s->watch, err);
    if (status == TRIB_OK)
        status = trib_timer_new(s->options.reactor, on_batch_timer, s, &s->batch_timer, err);
    return status;
}

enum trib_status trib_storage_open(struct trib_storage **out, const struct trib_storage_options *options,
                                   struct trib_state *state, struct trib_error *err) {
    struct trib_storage *s = trib_alloc(sizeof *s);
    if (s == NULL) return trib_fail(err, TRIB_NOMEM, "out of memory for the storage");
    s->options = *options;
    s->group = trib_alloc_array(GROUP_RECORDS, sizeof *s->group);
    enum trib_status status = s->group != NULL ? open_all(s, state, err)
                                               : trib_fail(err, TRIB_NOMEM, "out of memory for the storage");
    if (status != TRIB_OK) {
        trib_storage_close(&s);
        return status;
    }
    *out = s;
    return TRIB_OK;
}

/* What is still queued is written here, by the caller's thread: the actor has ended. */
static void write_rest(struct trib_storage *s) {
    while (!s->failed && s->queue_count != s->queue_first) {
        struct request *request = new_request(s);
        if (request == NULL) return;
        write_group(s, request);
        s->failed = request->status != TRIB_OK;
        free_request(request);
    }
}

static void end_thread(struct trib_storage *s) {
    trib_watch_free(&s->watch);
    trib_timer_free(&s->batch_timer);
    if (s->actor == NULL) return;
    trib_actor_stop(s->actor);
    struct request *request;
    while ((request = trib_actor_take(s->actor)) != NULL) {
        if (request->status != TRIB_OK) s->failed = true;
        free_request(request);
    }
    trib_actor_free(&s->actor);
}

static void drop_queue(struct trib_storage *s) {
    for (size_t i = s->queue_first; i < s->queue_count; i++) trib_record_free(&s->queue[i]);
    s->queue_first = s->queue_count = 0;
    s->backlog = 0;
}

void trib_storage_halt(struct trib_storage *s) {
    s->failed = true;
    end_thread(s);
    drop_queue(s);
    trib_store_checkpoint_abort(s->store);
}

enum trib_status trib_storage_reload(struct trib_storage *s, struct trib_state *state,
                                     struct trib_error *err) {
    struct loading loading = {.storage = s, .state = state};
    return trib_store_recover(s->store, load_checkpoint, load_record, &loading, err);
}

enum trib_status trib_storage_probe(const struct trib_storage_options *options, size_t bytes,
                                    struct trib_error *err) {
    struct trib_store_options store = store_options(options);
    return trib_store_probe(&store, bytes, err);
}

void trib_storage_close(struct trib_storage **storage) {
    struct trib_storage *s = *storage;
    if (s == NULL) return;
    end_thread(s);
    if (s->store != NULL && s->group != NULL) write_rest(s);
    drop_queue(s);
    trib_free(s->queue);
    trib_free(s->group);
    trib_store_close(&s->store);
    trib_ledger_free(&s->ledger);
    trib_free(s);
    *storage = NULL;
}
