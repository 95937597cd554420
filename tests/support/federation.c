#include "tests/support/federation_internal.h"

#include "shared/base/alloc.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- nodes ---- */

static uint64_t node_now(const struct federation *fed, const struct node *node) {
    return (uint64_t)((int64_t)fed->now_ms + node->skew_ms);
}

static uint64_t region_of(void *ctx) {
    return trib_aggregator_region(ctx);
}

static void make_roles(struct federation *fed, size_t index) {
    struct node *node = &fed->nodes[index];
    const struct federation_options *o = &fed->options;
    uint64_t seed = o->seed * 1000003u + index * 101u + node->generation;
    if (node->role != TRIB_ROLE_DEVICE) {
        struct trib_aggregator_options options = {
            .seed = seed, .budget_bytes = o->budget_bytes, .window_bytes = o->window_bytes};
        federation_must(trib_aggregator_new(&options, node->state, &node->outbox, &node->aggregator, NULL) ==
                            TRIB_OK,
                        "no role");
    }
    if (node->role != TRIB_ROLE_CLOUD) {
        struct trib_participant_options options = {.name = node->name,
                                                   .seed = seed,
                                                   .frame_bytes = o->frame_bytes,
                                                   .region = node->aggregator != NULL ? region_of : NULL,
                                                   .region_ctx = node->aggregator};
        federation_must(
            trib_participant_new(&options, node->state, &node->outbox, &node->participant, NULL) == TRIB_OK,
            "no role");
    }
}

static void poll_node(struct federation *fed, size_t index);

/* A clock that is behind the journal is put right, as the daemons do. */
static void set_clock(const struct federation *fed, struct node *node) {
    uint64_t now = node_now(fed, node);
    if (now < node->state->now_ms) node->skew_ms += (int64_t)(node->state->now_ms - now);
}

/* What was on its way to the disk when the node died may be there. */
static void tell_found(struct federation *fed, size_t index) {
    struct node *node = &fed->nodes[index];
    const struct federation_hooks *hooks = &fed->options.hooks;
    size_t found = 0;
    while (found < node->group.count && node->group.at[found]->position <= node->state->position) found++;
    if (found > 0 && hooks->durable != NULL)
        hooks->durable(hooks->ctx, index, (const struct trib_record *const *)node->group.at, found);
    bool torn = found > 0 && found < node->group.count;
    records_free(&node->group);
    node->committed = node->state->position;
    if (hooks->opened != NULL) hooks->opened(hooks->ctx, index, torn);
}

static void close_node(struct federation *fed, size_t index) {
    struct node *node = &fed->nodes[index];
    if (fed->disk.close != NULL) fed->disk.close(fed->disk.ctx, index);
    trib_state_free(&node->state);
}

bool federation_start(struct federation *fed, size_t index, struct trib_error *err) {
    struct node *node = &fed->nodes[index];
    struct trib_state_limits limits = {0};
    federation_must(node->state == NULL, "a node is started twice");
    federation_must(trib_state_new(node->role, &limits, &node->state, NULL) == TRIB_OK, "no state");
    if (fed->disk.open != NULL && fed->disk.open(fed->disk.ctx, index, node->state, err) != TRIB_OK) {
        close_node(fed, index);
        return false;
    }
    trib_outbox_init(&node->outbox);
    set_clock(fed, node);
    tell_found(fed, index);
    if (fed->disk.lost != NULL && fed->disk.lost(fed->disk.ctx, index))
        trib_outbox_restored(&node->outbox, node->state, node_now(fed, node),
                             trib_mix64(fed->options.seed ^ fed->now_ms ^ index << 48) | 1, "reason=damage");
    make_roles(fed, index);
    return true;
}

void federation_stop(struct federation *fed, size_t index, bool written) {
    struct node *node = &fed->nodes[index];
    if (node->state == NULL) return;
    struct trib_error err;
    if (written && node->group.count > 0 && fed->disk.write != NULL)
        (void)fed->disk.write(fed->disk.ctx, index, (const struct trib_record *const *)node->group.at,
                              node->group.count, &err);
    trib_aggregator_free(&node->aggregator);
    trib_participant_free(&node->participant);
    trib_outbox_release(&node->outbox);
    close_node(fed, index);
    while (node->waiting != NULL) {
        struct waiting *next = node->waiting->next;
        trib_action_release(&node->waiting->action);
        trib_free(node->waiting);
        node->waiting = next;
    }
    node->waiting_end = &node->waiting;
    records_free(&node->queue);
    node->backlog_bytes = 0;
    node->generation++;
    node->connection++;
    node->wake_ms = 0;
}

void federation_crash(struct federation *fed, size_t index) {
    struct trib_error err = {0};
    federation_must(fed->disk.open != NULL, "a crash needs a disk");
    federation_stop(fed, index, false);
    if (!federation_start(fed, index, &err)) federation_must(false, err.text);
    poll_node(fed, index);
}

void federation_forget(struct federation *fed, size_t node) {
    records_free(&fed->nodes[node].group);
}

void federation_skew(struct federation *fed, size_t node, int64_t ms) {
    federation_must(fed->nodes[node].state == NULL, "clocks jump while nodes are down");
    fed->nodes[node].skew_ms = ms;
}

void federation_move(struct federation *fed, size_t node, size_t parent) {
    federation_must(fed->nodes[node].state == NULL, "nodes move while they are down");
    fed->nodes[node].parent = parent;
}

/* ---- the journal ---- */

static void write_next(struct federation *fed, size_t index) {
    struct node *node = &fed->nodes[index];
    if (node->group.count > 0 || node->queue.count == 0) return;
    struct records rest = {0};
    for (size_t i = GROUP_RECORDS; i < node->queue.count; i++) records_add(&rest, node->queue.at[i]);
    if (node->queue.count > GROUP_RECORDS) node->queue.count = GROUP_RECORDS;
    trib_free(node->group.at);
    node->group = node->queue;
    node->queue = rest;
    bool kept = fed->disk.write != NULL;
    if (fed->disk.begin != NULL) fed->disk.begin(fed->disk.ctx, index, node->state);
    federation_push(fed, (struct event){.kind = EVENT_COMMITTED,
                                        .at_ms = fed->now_ms + (kept ? fed->options.commit_ms : 0),
                                        .node = index,
                                        .generation = node->generation});
}

/* ---- carrying out actions ---- */

trib_child_route federation_route(const struct federation *fed, size_t child) {
    return (trib_child_route)child << 32 | fed->nodes[child].connection;
}

/* When the last byte of it has left. */
static uint64_t send_over(struct federation *fed, struct federation_link *link, bool up, size_t bytes) {
    uint64_t now_us = fed->now_ms * 1000, *free_us = &link->free_us[up];
    link->bytes[up] += bytes;
    if (link->rate == 0) return fed->now_ms;
    *free_us = (*free_us > now_us ? *free_us : now_us) + bytes * 1000000 / link->rate;
    return (*free_us + 999) / 1000;
}

static void deliver_later(struct federation *fed, struct federation_link *link, struct event event,
                          const struct trib_action *action) {
    event.kind = EVENT_MESSAGE;
    event.frame = trib_alloc(action->frame_bytes);
    event.frame_bytes = action->frame_bytes;
    size_t payload_bytes = trib_blob_size(action->payload);
    /* Of its own: who keeps what came must not keep what was sent. */
    event.payload = action->payload != NULL ? trib_blob_new(payload_bytes) : NULL;
    federation_must(event.frame != NULL && (event.payload != NULL || action->payload == NULL),
                    "out of memory");
    memcpy(event.frame, action->frame, action->frame_bytes);
    if (payload_bytes > 0)
        memcpy(trib_blob_mutable(event.payload), trib_blob_data(action->payload), payload_bytes);
    event.at_ms = send_over(fed, link, event.up, action->frame_bytes + payload_bytes) + link->latency_ms +
                  trib_rng_below(&fed->rng, link->jitter_ms + 1);
    if (!fed->calm && link->late > 0 && trib_rng_unit(&fed->rng) < link->late)
        event.at_ms += trib_rng_below(&fed->rng, link->late_ms + 1);
    federation_push(fed, event);
}

static void transmit(struct federation *fed, size_t from, struct trib_action *action) {
    bool up = action->kind == TRIB_ACTION_SEND_PARENT;
    size_t child = up ? from : (size_t)(action->route >> 32);
    size_t to = up ? fed->nodes[from].parent : child;
    const struct federation_hooks *hooks = &fed->options.hooks;
    if (hooks->sent != NULL) hooks->sent(hooks->ctx, from, to, action);
    if (to >= fed->node_count) return;
    struct federation_link *link = &fed->nodes[child].link;
    int copies = 1;
    if (!fed->calm && trib_rng_unit(&fed->rng) < link->lose) copies = 0;
    if (!fed->calm && trib_rng_unit(&fed->rng) < link->repeat) copies = 2;
    if (link->cut) copies = 0;
    trib_child_route route = up ? federation_route(fed, from) : action->route;
    for (int i = 0; i < copies; i++)
        deliver_later(fed, link, (struct event){.node = to, .up = up, .route = route}, action);
}

static void send_or_hold(struct federation *fed, size_t index, struct trib_action *action) {
    struct node *node = &fed->nodes[index];
    if (action->after <= node->committed) {
        transmit(fed, index, action);
        trib_action_release(action);
        return;
    }
    struct waiting *waiting = trib_alloc(sizeof *waiting);
    federation_must(waiting != NULL, "out of memory");
    waiting->action = *action;
    *node->waiting_end = waiting;
    node->waiting_end = &waiting->next;
}

/* What the trainer says that the device keeps from now on, if it says so. */
static void copy_local(struct node *node, struct event *event) {
    size_t n = node->state->schema.model_parameters;
    const float *const *local = event->submission.local;
    if (local == (const float *const *)node->state->local) local = NULL;
    for (size_t i = 0; local != NULL && i < TRIB_LOCAL_MAX; i++) {
        if (local[i] == NULL) continue;
        event->local[i] = trib_alloc_floats(n);
        federation_must(event->local[i] != NULL, "out of memory");
        memcpy(event->local[i], local[i], n * sizeof *local[i]);
    }
}

static void train(struct federation *fed, size_t index) {
    struct node *node = &fed->nodes[index];
    if (fed->calm) return;
    size_t n = trib_state_parameters(node->state), device = index - 1 - fed->options.edges;
    struct event event = {.kind = EVENT_TRAINED, .node = index, .generation = node->generation};
    event.difference = trib_alloc_floats(n);
    federation_must(event.difference != NULL, "out of memory");
    event.submission.base_version = node->state->parent_version;
    event.submission.parent_incarnation = node->state->parent_incarnation;
    event.submission.local = (const float *const *)node->state->local;
    uint64_t duration = fed->options.train(fed->options.train_ctx, device, node->state->parent_version,
                                           node->state->G, n, event.difference, &event.submission);
    copy_local(node, &event);
    event.at_ms = fed->now_ms + duration;
    federation_push(fed, event);
}

static void log_line(struct federation *fed, size_t index, const struct trib_record *record) {
    const struct federation_hooks *hooks = &fed->options.hooks;
    if (hooks->logged != NULL) hooks->logged(hooks->ctx, index, record);
    if (getenv("FEDERATION_LOG") != NULL)
        (void)fprintf(stderr, "%8" PRIu64 " %s %.*s %.*s\n", fed->now_ms, fed->nodes[index].name,
                      (int)record->event.size, record->event.data, (int)record->text.size, record->text.data);
}

static void carry_out(struct federation *fed, size_t index) {
    struct node *node = &fed->nodes[index];
    federation_must(node->outbox.failed == TRIB_OK, node->outbox.error.text);
    struct trib_action action;
    while (trib_outbox_take(&node->outbox, &action)) {
        switch (action.kind) {
        case TRIB_ACTION_SEND_CHILD:
        case TRIB_ACTION_SEND_PARENT: send_or_hold(fed, index, &action); continue;
        case TRIB_ACTION_WRITE:
            node->backlog_bytes += trib_blob_size(action.record->payload);
            records_add(&node->queue, action.record);
            action.record = NULL;
            break;
        case TRIB_ACTION_RECONNECT:
            federation_push(fed, (struct event){.kind = EVENT_CONNECT,
                                                .at_ms = fed->now_ms + 1,
                                                .node = index,
                                                .generation = node->generation});
            break;
        case TRIB_ACTION_TRAIN: train(fed, index); break;
        case TRIB_ACTION_FINISHED: break;
        case TRIB_ACTION_LOG: log_line(fed, index, action.record); break;
        }
        trib_action_release(&action);
    }
    write_next(fed, index);
    if (node->aggregator != NULL) trib_aggregator_unwritten(node->aggregator, node->backlog_bytes);
}

static void poll_node(struct federation *fed, size_t index) {
    struct node *node = &fed->nodes[index];
    uint64_t now = node_now(fed, node), wake = UINT64_MAX, other;
    if (node->aggregator != NULL) wake = trib_aggregator_poll(node->aggregator, now);
    if (node->participant != NULL && (other = trib_participant_poll(node->participant, now)) < wake)
        wake = other;
    carry_out(fed, index);
    if (wake <= now) wake = now + 1;
    if (wake == UINT64_MAX) return;
    wake = fed->now_ms + (wake - now); /* by the federation's clock */
    if (node->wake_ms <= fed->now_ms || wake < node->wake_ms) {
        node->wake_ms = wake;
        federation_push(
            fed,
            (struct event){.kind = EVENT_WAKE, .at_ms = wake, .node = index, .generation = node->generation});
    }
}

void federation_settle(struct federation *fed, size_t index) {
    carry_out(fed, index);
    poll_node(fed, index);
}

/* ---- events ---- */

static void release_waiting(struct federation *fed, size_t index) {
    struct node *node = &fed->nodes[index];
    struct waiting **link = &node->waiting;
    while (*link != NULL) {
        struct waiting *waiting = *link;
        if (waiting->action.after > node->committed) {
            link = &waiting->next;
            continue;
        }
        *link = waiting->next;
        transmit(fed, index, &waiting->action);
        trib_action_release(&waiting->action);
        trib_free(waiting);
    }
    node->waiting_end = link;
}

static void fail(struct federation *fed, size_t index, const struct trib_error *err) {
    const struct federation_hooks *hooks = &fed->options.hooks;
    if (hooks->failed == NULL) federation_must(false, err->text);
    hooks->failed(hooks->ctx, index);
}

/* The disk is done with the group. */
static void committed(struct federation *fed, size_t index) {
    struct node *node = &fed->nodes[index];
    const struct federation_hooks *hooks = &fed->options.hooks;
    const struct trib_record *const *records = (const struct trib_record *const *)node->group.at;
    struct trib_error err = {0};
    if (fed->disk.write != NULL &&
        fed->disk.write(fed->disk.ctx, index, records, node->group.count, &err) != TRIB_OK) {
        fail(fed, index, &err);
        return;
    }
    node->committed = records[node->group.count - 1]->position;
    if (hooks->durable != NULL) hooks->durable(hooks->ctx, index, records, node->group.count);
    for (size_t i = 0; i < node->group.count; i++)
        node->backlog_bytes -= trib_blob_size(node->group.at[i]->payload);
    records_free(&node->group);
    release_waiting(fed, index);
    write_next(fed, index);
    if (node->group.count == 0 && fed->disk.idle != NULL &&
        fed->disk.idle(fed->disk.ctx, index, node->state, &err) != TRIB_OK)
        fail(fed, index, &err);
}

static void take_message(struct federation *fed, const struct event *event) {
    struct node *node = &fed->nodes[event->node];
    if (event->up) {
        size_t child = (size_t)(event->route >> 32);
        if (node->aggregator == NULL) return;
        if (fed->nodes[child].link.rate > 0 && event->route != federation_route(fed, child)) return;
        trib_aggregator_message(node->aggregator, node_now(fed, node), event->route,
                                fed->options.named ? fed->nodes[child].name : NULL, event->frame,
                                event->frame_bytes, event->payload);
    } else if (event->route == federation_route(fed, event->node)) { /* else: that connection is closed */
        trib_participant_message(node->participant, node_now(fed, node), event->frame, event->frame_bytes,
                                 event->payload);
    }
}

static void handle(struct federation *fed, struct event *event) {
    const struct federation_hooks *hooks = &fed->options.hooks;
    if (event->kind == EVENT_ALARM) {
        hooks->alarm(hooks->ctx, event->what);
        return;
    }
    struct node *node = &fed->nodes[event->node];
    bool stale = event->kind != EVENT_MESSAGE && event->generation != node->generation;
    if (stale || node->state == NULL) return;
    fed->events++;
    switch (event->kind) {
    case EVENT_MESSAGE: take_message(fed, event); break;
    case EVENT_COMMITTED: committed(fed, event->node); break;
    case EVENT_CONNECT:
        node->connection++;
        node->link.free_us[0] = node->link.free_us[1] = 0;
        trib_participant_connected(node->participant, node_now(fed, node));
        break;
    case EVENT_TRAINED:
        node->trained++;
        event->submission.difference = event->difference;
        event->submission.local = (const float *const *)event->local;
        trib_participant_submit(node->participant, node_now(fed, node), &event->submission);
        break;
    case EVENT_WAKE:
    case EVENT_ALARM: break;
    }
    if (node->state == NULL) return; /* its write failed */
    carry_out(fed, event->node);
    poll_node(fed, event->node);
    if (hooks->stepped != NULL) hooks->stepped(hooks->ctx, event->node);
}

/* ---- the federation ---- */

void federation_begin_run(struct federation *fed) {
    struct node *cloud = &fed->nodes[FED_CLOUD];
    struct trib_record record = {.kind = TRIB_REC_START};
    trib_rec_set(&record, NOW, now_ms, node_now(fed, cloud));
    uint64_t life = trib_mix64(fed->options.seed + 77 + cloud->generation);
    trib_rec_set(&record, INCARNATION, incarnation, life | 1);
    trib_rec_set(&record, PLAN, plan, ((struct trib_text){fed->options.plan, strlen(fed->options.plan)}));
    trib_rec_set(&record, SCHEMA, schema,
                 ((struct trib_text){fed->options.schema, strlen(fed->options.schema)}));
    trib_rec_set(&record, SEED, seed, fed->options.seed);
    if (!trib_outbox_record(&cloud->outbox, cloud->state, &record))
        federation_must(false, cloud->outbox.error.text);
    carry_out(fed, FED_CLOUD);
}

static void set_up(struct federation *fed, size_t i) {
    const struct federation_options *o = &fed->options;
    struct node *node = &fed->nodes[i];
    bool edge = i >= 1 && i <= o->edges;
    size_t device = i - 1 - o->edges;
    node->role = i == FED_CLOUD ? TRIB_ROLE_CLOUD : edge ? TRIB_ROLE_EDGE : TRIB_ROLE_DEVICE;
    node->parent = i == FED_CLOUD || edge || o->edges == 0 ? FED_CLOUD : 1 + device % o->edges;
    if (o->parents != NULL) node->parent = o->parents[i];
    const char *kind = i == FED_CLOUD ? "cloud" : edge ? "edge" : "device";
    (void)snprintf(node->name, sizeof node->name, "%s-%zu", kind, i == FED_CLOUD ? 0 : edge ? i : device + 1);
    node->link = (struct federation_link){
        .latency_ms = o->latency_ms, .jitter_ms = o->jitter_ms, .lose = o->lose, .repeat = o->repeat};
    node->waiting_end = &node->waiting;
    federation_spool_init(node);
}

struct federation *federation_new(const struct federation_options *options) {
    struct federation *fed = trib_alloc(sizeof *fed);
    federation_must(fed != NULL, "out of memory");
    fed->options = *options;
    fed->rng = trib_rng_seed(options->seed, 99);
    fed->now_ms = 1000000;
    if (options->disk != NULL)
        fed->disk = *options->disk;
    else if (options->keep_journal)
        fed->disk = federation_memory_disk(fed);
    fed->node_count = 1 + options->edges + options->devices;
    fed->nodes = trib_alloc_array(fed->node_count, sizeof *fed->nodes);
    federation_must(fed->nodes != NULL, "out of memory");
    for (size_t i = 0; i < fed->node_count; i++) set_up(fed, i);
    struct trib_error err = {0};
    for (size_t i = 0; i < fed->node_count; i++)
        if (!federation_start(fed, i, &err)) federation_must(false, err.text);
    federation_begin_run(fed);
    for (size_t i = 0; i < fed->node_count; i++) poll_node(fed, i);
    return fed;
}

void federation_free(struct federation **fed) {
    struct federation *f = *fed;
    while (f->heap_count > 0) {
        struct event event = federation_pop(f);
        federation_release(&event);
    }
    for (size_t i = 0; i < f->node_count; i++) {
        federation_stop(f, i, false);
        records_free(&f->nodes[i].group);
        records_free(&f->nodes[i].kept);
        federation_spool_release(&f->nodes[i]);
    }
    trib_free(f->nodes);
    trib_free(f->heap);
    trib_free(f);
    *fed = NULL;
}

uint64_t federation_run(struct federation *fed, uint64_t until_ms,
                        bool (*done)(struct federation *fed, void *ctx), void *ctx) {
    while (fed->heap_count > 0 && fed->heap[0].at_ms <= until_ms) {
        struct event event = federation_pop(fed);
        fed->now_ms = event.at_ms;
        handle(fed, &event);
        federation_release(&event);
        if (done != NULL && done(fed, ctx)) return fed->now_ms;
    }
    return fed->now_ms;
}

void federation_calm(struct federation *fed) {
    fed->calm = true;
}

void federation_break(struct federation *fed, size_t index) {
    struct node *node = &fed->nodes[index];
    if (node->state == NULL) return;
    node->connection++;
    node->link.free_us[0] = node->link.free_us[1] = 0;
    struct trib_msg msg = {.type = TRIB_ERROR};
    struct trib_buf buf;
    trib_buf_init(&buf, 0);
    trib_msg_set(&msg, CODE, code, TRIB_CODE_HELLO);
    trib_msg_encode(&msg, &buf);
    trib_participant_message(node->participant, node_now(fed, node), buf.data, buf.size, NULL);
    trib_buf_release(&buf);
    carry_out(fed, index);
    poll_node(fed, index);
}

void federation_cut(struct federation *fed, size_t node, bool cut) {
    fed->nodes[node].link.cut = cut;
}

void federation_at(struct federation *fed, uint64_t at_ms, uint64_t what) {
    federation_push(fed, (struct event){.kind = EVENT_ALARM, .at_ms = at_ms, .what = what});
}

void federation_inject(struct federation *fed, size_t index, trib_child_route route, const char *identity,
                       const void *frame, size_t frame_bytes, struct trib_blob *payload) {
    struct node *node = &fed->nodes[index];
    if (node->aggregator == NULL) return;
    trib_aggregator_message(node->aggregator, node_now(fed, node), route, identity, frame, frame_bytes,
                            payload);
    federation_settle(fed, index);
}
