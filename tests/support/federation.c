#include "tests/support/federation.h"

#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "shared/model/digest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum event_kind { EVENT_MESSAGE, EVENT_WAKE, EVENT_COMMITTED, EVENT_CONNECT, EVENT_TRAINED };

struct event {
    uint64_t at_ms, order;
    enum event_kind kind;
    size_t node;
    bool up;                /* MESSAGE: from a child */
    trib_child_route route; /* MESSAGE up: of the child; down: the connection it belongs to */
    uint8_t *frame;
    size_t frame_bytes;
    struct trib_blob *payload;
    uint64_t position;   /* COMMITTED */
    uint64_t generation; /* of the node: what happened before a crash concerns nobody */
    float *difference;   /* TRAINED */
    struct trib_submission submission;
};

struct waiting { /* a send that waits for its position */
    struct trib_action action;
    struct waiting *next;
};

struct node {
    char name[32];
    enum trib_role role;
    size_t parent;
    struct trib_state *state;
    struct trib_outbox outbox;
    struct trib_aggregator *aggregator;
    struct trib_participant *participant;
    uint64_t generation, connection, committed, wake_ms;
    bool cut;
    struct waiting *waiting, **waiting_end;
    size_t record_count, record_capacity;
    struct trib_record **records;
    uint64_t trained, trained_samples;
};

struct federation {
    struct federation_options options;
    struct trib_rng rng;
    uint64_t now_ms, order, messages;
    bool calm;
    size_t node_count;
    struct node *nodes;
    size_t heap_count, heap_capacity;
    struct event *heap;
};

static void must(bool good, const char *what) {
    if (good) return;
    (void)fprintf(stderr, "federation: %s\n", what);
    abort();
}

/* ---- events ---- */

static bool before(const struct event *a, const struct event *b) {
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void push_event(struct federation *fed, struct event event) {
    if (fed->heap_count == fed->heap_capacity) {
        fed->heap_capacity = fed->heap_capacity > 0 ? fed->heap_capacity * 2 : 64;
        fed->heap = trib_realloc(fed->heap, fed->heap_capacity * sizeof *fed->heap);
        must(fed->heap != NULL, "out of memory");
    }
    event.order = fed->order++;
    size_t i = fed->heap_count++;
    while (i > 0 && before(&event, &fed->heap[(i - 1) / 2])) {
        fed->heap[i] = fed->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    fed->heap[i] = event;
}

static struct event pop_event(struct federation *fed) {
    struct event top = fed->heap[0], last = fed->heap[--fed->heap_count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= fed->heap_count) break;
        if (child + 1 < fed->heap_count && before(&fed->heap[child + 1], &fed->heap[child])) child++;
        if (!before(&fed->heap[child], &last)) break;
        fed->heap[i] = fed->heap[child];
        i = child;
    }
    if (fed->heap_count > 0) fed->heap[i] = last;
    return top;
}

static void release_event(struct event *event) {
    trib_free(event->frame);
    trib_blob_unref(&event->payload);
    trib_free(event->difference);
}

/* ---- nodes ---- */

static uint64_t region_of(void *ctx) {
    return trib_aggregator_region(ctx);
}

static void start_node(struct federation *fed, size_t index) {
    struct node *node = &fed->nodes[index];
    struct trib_state_limits limits = {0};
    must(trib_state_new(node->role, &limits, &node->state, NULL) == TRIB_OK, "no state");
    for (size_t i = 0; i < node->record_count; i++) {
        struct trib_error err = {0};
        if (trib_state_apply(node->state, node->records[i], &err) != TRIB_OK) must(false, err.text);
    }
    trib_outbox_init(&node->outbox);
    uint64_t seed = fed->options.seed * 1000003u + index * 101u + node->generation;
    if (node->role != TRIB_ROLE_DEVICE) {
        struct trib_aggregator_options options = {
            .seed = seed, .budget_bytes = fed->options.budget_bytes, .chunk_bytes = fed->options.chunk_bytes};
        must(trib_aggregator_new(&options, node->state, &node->outbox, &node->aggregator, NULL) == TRIB_OK,
             "no role");
    }
    if (node->role != TRIB_ROLE_CLOUD) {
        struct trib_participant_options options = {.name = node->name,
                                                   .seed = seed,
                                                   .frame_bytes = fed->options.frame_bytes,
                                                   .region = node->aggregator != NULL ? region_of : NULL,
                                                   .region_ctx = node->aggregator};
        must(trib_participant_new(&options, node->state, &node->outbox, &node->participant, NULL) == TRIB_OK,
             "no role");
    }
}

static void stop_node(struct node *node) {
    trib_aggregator_free(&node->aggregator);
    trib_participant_free(&node->participant);
    trib_outbox_release(&node->outbox);
    trib_state_free(&node->state);
    while (node->waiting != NULL) {
        struct waiting *next = node->waiting->next;
        trib_action_release(&node->waiting->action);
        trib_free(node->waiting);
        node->waiting = next;
    }
    node->waiting_end = &node->waiting;
}

/* ---- carrying out actions ---- */

static trib_child_route route_of(const struct federation *fed, size_t child) {
    return (trib_child_route)child << 32 | fed->nodes[child].connection;
}

static void transmit(struct federation *fed, size_t from, struct trib_action *action) {
    bool up = action->kind == TRIB_ACTION_SEND_PARENT;
    size_t child = up ? from : (size_t)(action->route >> 32);
    trib_child_route route = up ? route_of(fed, from) : action->route;
    fed->messages++;
    int copies = 1;
    if (!fed->calm && trib_rng_unit(&fed->rng) < fed->options.lose) copies = 0;
    if (!fed->calm && trib_rng_unit(&fed->rng) < fed->options.repeat) copies = 2;
    if (fed->nodes[child].cut) copies = 0;
    for (int i = 0; i < copies; i++) {
        struct event event = {.kind = EVENT_MESSAGE,
                              .node = up ? fed->nodes[from].parent : child,
                              .up = up,
                              .route = route,
                              .frame = trib_alloc(action->frame_bytes),
                              .frame_bytes = action->frame_bytes,
                              .payload = trib_blob_ref(action->payload)};
        must(event.frame != NULL, "out of memory");
        memcpy(event.frame, action->frame, action->frame_bytes);
        event.at_ms =
            fed->now_ms + fed->options.latency_ms + trib_rng_below(&fed->rng, fed->options.jitter_ms + 1);
        push_event(fed, event);
    }
}

static void send_or_hold(struct federation *fed, size_t index, struct trib_action *action) {
    struct node *node = &fed->nodes[index];
    if (action->after <= node->committed) {
        transmit(fed, index, action);
        trib_action_release(action);
        return;
    }
    struct waiting *waiting = trib_alloc(sizeof *waiting);
    must(waiting != NULL, "out of memory");
    waiting->action = *action;
    *node->waiting_end = waiting;
    node->waiting_end = &waiting->next;
}

static void write_record(struct federation *fed, size_t index, struct trib_action *action) {
    struct node *node = &fed->nodes[index];
    uint64_t position = action->record->position;
    if (fed->options.keep_journal) {
        if (node->record_count == node->record_capacity) {
            node->record_capacity = node->record_capacity > 0 ? node->record_capacity * 2 : 64;
            node->records = trib_realloc(node->records, node->record_capacity * sizeof *node->records);
            must(node->records != NULL, "out of memory");
        }
        node->records[node->record_count++] = action->record;
        action->record = NULL;
    }
    push_event(fed, (struct event){.kind = EVENT_COMMITTED,
                                   .at_ms = fed->now_ms + fed->options.commit_ms,
                                   .node = index,
                                   .generation = node->generation,
                                   .position = position});
}

static void train(struct federation *fed, size_t index) {
    struct node *node = &fed->nodes[index];
    if (fed->calm) return;
    size_t n = trib_state_parameters(node->state), device = index - 1 - fed->options.edges;
    struct event event = {.kind = EVENT_TRAINED, .node = index, .generation = node->generation};
    event.difference = trib_alloc_floats(n);
    must(event.difference != NULL, "out of memory");
    event.submission.base_version = node->state->parent_version;
    event.submission.parent_incarnation = node->state->parent_incarnation;
    uint64_t duration = fed->options.train(fed->options.train_ctx, device, node->state->parent_version,
                                           node->state->G, n, event.difference, &event.submission);
    event.at_ms = fed->now_ms + duration;
    push_event(fed, event);
}

static void carry_out(struct federation *fed, size_t index) {
    struct node *node = &fed->nodes[index];
    must(node->outbox.failed == TRIB_OK, node->outbox.error.text);
    struct trib_action action;
    while (trib_outbox_take(&node->outbox, &action)) {
        switch (action.kind) {
        case TRIB_ACTION_SEND_CHILD:
        case TRIB_ACTION_SEND_PARENT: send_or_hold(fed, index, &action); continue;
        case TRIB_ACTION_WRITE: write_record(fed, index, &action); break;
        case TRIB_ACTION_RECONNECT:
            push_event(fed, (struct event){.kind = EVENT_CONNECT,
                                           .at_ms = fed->now_ms + 1,
                                           .node = index,
                                           .generation = node->generation});
            break;
        case TRIB_ACTION_TRAIN: train(fed, index); break;
        case TRIB_ACTION_FINISHED: break;
        case TRIB_ACTION_LOG:
            if (getenv("FEDERATION_LOG") != NULL)
                (void)fprintf(stderr, "%8" PRIu64 " %s %.*s %.*s\n", fed->now_ms, node->name,
                              (int)action.record->event.size, action.record->event.data,
                              (int)action.record->text.size, action.record->text.data);
            break;
        }
        trib_action_release(&action);
    }
}

static void poll_node(struct federation *fed, size_t index) {
    struct node *node = &fed->nodes[index];
    uint64_t wake = UINT64_MAX, other;
    if (node->aggregator != NULL) wake = trib_aggregator_poll(node->aggregator, fed->now_ms);
    if (node->participant != NULL && (other = trib_participant_poll(node->participant, fed->now_ms)) < wake)
        wake = other;
    carry_out(fed, index);
    if (wake <= fed->now_ms) wake = fed->now_ms + 1;
    if (wake != UINT64_MAX && (node->wake_ms <= fed->now_ms || wake < node->wake_ms)) {
        node->wake_ms = wake;
        push_event(
            fed,
            (struct event){.kind = EVENT_WAKE, .at_ms = wake, .node = index, .generation = node->generation});
    }
}

static void committed(struct federation *fed, size_t index, uint64_t position) {
    struct node *node = &fed->nodes[index];
    if (position > node->committed) node->committed = position;
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

static void handle(struct federation *fed, struct event *event) {
    struct node *node = &fed->nodes[event->node];
    bool stale = event->kind != EVENT_MESSAGE && event->generation != node->generation;
    if (stale) return;
    switch (event->kind) {
    case EVENT_MESSAGE:
        if (event->up)
            trib_aggregator_message(node->aggregator, fed->now_ms, event->route, NULL, event->frame,
                                    event->frame_bytes, event->payload);
        else if (event->route == route_of(fed, event->node)) /* else: the connection was closed since */
            trib_participant_message(node->participant, fed->now_ms, event->frame, event->frame_bytes,
                                     event->payload);
        break;
    case EVENT_WAKE: break;
    case EVENT_COMMITTED: committed(fed, event->node, event->position); break;
    case EVENT_CONNECT:
        node->connection++;
        trib_participant_connected(node->participant, fed->now_ms);
        break;
    case EVENT_TRAINED:
        node->trained++;
        node->trained_samples += event->submission.samples;
        event->submission.difference = event->difference;
        trib_participant_submit(node->participant, fed->now_ms, &event->submission);
        break;
    }
    carry_out(fed, event->node);
    poll_node(fed, event->node);
}

/* ---- the federation ---- */

static void start_run(struct federation *fed) {
    struct node *cloud = &fed->nodes[FED_CLOUD];
    struct trib_record record = {.kind = TRIB_REC_START};
    trib_rec_set(&record, NOW, now_ms, fed->now_ms);
    trib_rec_set(&record, INCARNATION, incarnation, trib_mix64(fed->options.seed + 77) | 1);
    trib_rec_set(&record, PLAN, plan, ((struct trib_text){fed->options.plan, strlen(fed->options.plan)}));
    trib_rec_set(&record, SCHEMA, schema,
                 ((struct trib_text){fed->options.schema, strlen(fed->options.schema)}));
    trib_rec_set(&record, SEED, seed, fed->options.seed);
    if (!trib_outbox_record(&cloud->outbox, cloud->state, &record)) must(false, cloud->outbox.error.text);
    carry_out(fed, FED_CLOUD);
}

struct federation *federation_new(const struct federation_options *options) {
    struct federation *fed = trib_alloc(sizeof *fed);
    must(fed != NULL, "out of memory");
    fed->options = *options;
    fed->rng = trib_rng_seed(options->seed, 99);
    fed->now_ms = 1000000;
    fed->node_count = 1 + options->edges + options->devices;
    fed->nodes = trib_alloc_array(fed->node_count, sizeof *fed->nodes);
    must(fed->nodes != NULL, "out of memory");
    for (size_t i = 0; i < fed->node_count; i++) {
        struct node *node = &fed->nodes[i];
        bool edge = i >= 1 && i <= options->edges;
        node->role = i == 0 ? TRIB_ROLE_CLOUD : edge ? TRIB_ROLE_EDGE : TRIB_ROLE_DEVICE;
        size_t device = i - 1 - options->edges;
        node->parent = i == 0 || edge || options->edges == 0 ? FED_CLOUD : 1 + device % options->edges;
        const char *kind = i == 0 ? "cloud" : edge ? "edge" : "device";
        (void)snprintf(node->name, sizeof node->name, "%s-%zu", kind, i == 0 ? 0 : edge ? i : device + 1);
        node->waiting_end = &node->waiting;
        start_node(fed, i);
    }
    start_run(fed);
    for (size_t i = 0; i < fed->node_count; i++) poll_node(fed, i);
    return fed;
}

void federation_free(struct federation **fed) {
    struct federation *f = *fed;
    while (f->heap_count > 0) {
        struct event event = pop_event(f);
        release_event(&event);
    }
    for (size_t i = 0; i < f->node_count; i++) {
        stop_node(&f->nodes[i]);
        for (size_t j = 0; j < f->nodes[i].record_count; j++) trib_record_free(&f->nodes[i].records[j]);
        trib_free(f->nodes[i].records);
    }
    trib_free(f->nodes);
    trib_free(f->heap);
    trib_free(f);
    *fed = NULL;
}

uint64_t federation_run(struct federation *fed, uint64_t until_ms,
                        bool (*done)(struct federation *fed, void *ctx), void *ctx) {
    while (fed->heap_count > 0 && fed->heap[0].at_ms <= until_ms) {
        struct event event = pop_event(fed);
        fed->now_ms = event.at_ms;
        handle(fed, &event);
        release_event(&event);
        if (done != NULL && done(fed, ctx)) break;
    }
    return fed->now_ms;
}

void federation_calm(struct federation *fed) {
    fed->calm = true;
}

void federation_crash(struct federation *fed, size_t index) {
    struct node *node = &fed->nodes[index];
    must(fed->options.keep_journal, "a crash needs keep_journal");
    stop_node(node);
    while (node->record_count > 0 && node->records[node->record_count - 1]->position > node->committed)
        trib_record_free(&node->records[--node->record_count]);
    node->generation++;
    node->connection++;
    node->wake_ms = 0;
    start_node(fed, index);
    poll_node(fed, index);
}

void federation_cut(struct federation *fed, size_t node, bool cut) {
    fed->nodes[node].cut = cut;
}

size_t federation_node_count(const struct federation *fed) {
    return fed->node_count;
}

size_t federation_device(const struct federation *fed, size_t device) {
    return 1 + fed->options.edges + device;
}

size_t federation_parent(const struct federation *fed, size_t node) {
    return fed->nodes[node].parent;
}

const struct trib_state *federation_state(const struct federation *fed, size_t node) {
    return fed->nodes[node].state;
}

struct trib_aggregator *federation_aggregator(struct federation *fed, size_t node) {
    return fed->nodes[node].aggregator;
}

uint64_t federation_now(const struct federation *fed) {
    return fed->now_ms;
}

uint64_t federation_messages(const struct federation *fed) {
    return fed->messages;
}

uint64_t federation_trained(const struct federation *fed, size_t device) {
    return fed->nodes[federation_device(fed, device)].trained;
}

uint64_t federation_trained_samples(const struct federation *fed) {
    uint64_t samples = 0;
    for (size_t i = 0; i < fed->node_count; i++) samples += fed->nodes[i].trained_samples;
    return samples;
}

size_t federation_journal(const struct federation *fed, size_t node, const struct trib_record *const **out) {
    *out = (const struct trib_record *const *)fed->nodes[node].records;
    return fed->nodes[node].record_count;
}

void federation_digest(struct federation *fed, uint8_t out[TRIB_DIGEST_BYTES]) {
    memset(out, 0, TRIB_DIGEST_BYTES);
    for (size_t i = 0; i < fed->node_count; i++) {
        uint8_t one[TRIB_DIGEST_BYTES];
        must(trib_state_digest(fed->nodes[i].state, one) == TRIB_OK, "no digest");
        trib_digest_chain(out, one, sizeof one, out);
    }
}

/* ---- invariants ---- */

static void check_conservation(const struct node *node, const char *where) {
    const struct trib_state *s = node->state;
    if (node->role == TRIB_ROLE_DEVICE || !s->started) return;
    uint64_t pending = 0;
    for (size_t i = 0; i < s->pending_count; i++) pending += s->pending[i].samples;
    uint64_t there = s->role == TRIB_ROLE_CLOUD ? s->total.committed_samples + pending
                                                : s->gathered.samples + pending + s->total.forwarded_samples;
    /* void_samples counts refused forwards too, which are in forwarded_samples already */
    bool good = s->role == TRIB_ROLE_CLOUD ? there + s->total.void_samples >= s->total.accepted_samples
                                           : there + s->total.void_samples >= s->total.accepted_samples &&
                                                 there <= s->total.accepted_samples;
    if (!good) {
        (void)fprintf(stderr, "%s: %s: accepted %" PRIu64 " samples, but %" PRIu64 " are there\n", where,
                      node->name, s->total.accepted_samples, there);
        must(false, "conservation of samples");
    }
}

/* P of the parent at a version is what a child holds of that version. */
static void check_held(struct federation *fed, const struct node *child, const char *where) {
    const struct trib_state *c = child->state, *p = fed->nodes[child->parent].state;
    if (!c->started || !c->has_model || c->parent_incarnation != p->incarnation) return;
    const struct trib_base *base = trib_state_base(p, c->parent_version);
    if (base == NULL || c->parent_version != p->published) return;
    bool same = memcmp(base->chain, c->parent_chain, sizeof base->chain) == 0 &&
                memcmp(c->G, p->P, trib_state_parameters(c) * sizeof *c->G) == 0;
    if (!same) {
        (void)fprintf(stderr, "%s: %s differs from its parent at version %" PRIu64 "\n", where, child->name,
                      c->parent_version);
        must(false, "P equal at parent and child");
    }
}

void federation_check(struct federation *fed, const char *where) {
    for (size_t i = 0; i < fed->node_count; i++) {
        check_conservation(&fed->nodes[i], where);
        if (i != FED_CLOUD) check_held(fed, &fed->nodes[i], where);
    }
}
