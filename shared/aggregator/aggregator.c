/* Sessions: who is there, and which message goes where. */
#include "shared/aggregator/internal.h"

#include "shared/base/alloc.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum trib_status trib_aggregator_new(const struct trib_aggregator_options *options, struct trib_state *state,
                                     struct trib_outbox *outbox, struct trib_aggregator **out,
                                     struct trib_error *err) {
    struct trib_aggregator *a = trib_alloc(sizeof *a);
    if (a == NULL) return trib_fail(err, TRIB_NOMEM, "out of memory for an aggregator");
    a->options = *options;
    if (a->options.max_peers == 0) a->options.max_peers = 10000;
    if (a->options.max_peers > 65535) a->options.max_peers = 65535;
    if (a->options.budget_bytes == 0) a->options.budget_bytes = 8u << 20;
    if (a->options.file_bytes == 0) a->options.file_bytes = 1u << 30;
    if (a->options.window_bytes == 0) a->options.window_bytes = 4u << 20;
    a->state = state;
    a->outbox = outbox;
    a->rng = trib_rng_seed(options->seed, 1);
    a->incarnation = state->incarnation;
    *out = a;
    return TRIB_OK;
}

/* The sums of regions follow what happens, for adding all of them up takes long where there are many; they
 * are whole numbers, so that nothing is lost. */
static void count_region(struct trib_aggregator *a, uint64_t region, bool here) {
    uint64_t *count = region > 0 ? &a->region_reporting : &a->region_silent;
    if (!a->region_known) return;
    a->region_sum += here ? (double)region : -(double)region;
    *count += here ? 1 : UINT64_MAX;
}

void trib_aggregator_region_moved(struct trib_aggregator *a, const struct session *s, uint64_t before) {
    uint64_t now = trib_session_peer(a, s)->region;
    if (!s->active || now == before) return;
    count_region(a, before, false);
    count_region(a, now, true);
}

static void close_session(struct trib_aggregator *a, struct session *s) {
    if (s->number == 0) return;
    trib_aggregator_forget_offer(a, s);
    trib_aggregator_drop_incoming(a, s);
    trib_aggregator_drop_outgoing(a, s);
    trib_free(s->offer);
    if (s->active) {
        a->status.active--;
        if (a->region_known) count_region(a, trib_session_peer(a, s)->region, false);
    }
    trib_cohort_here(a, s, false);
    if (s->peer < a->presence_capacity) a->presence[s->peer].session = 0;
    *s = (struct session){0};
    a->open_count--;
    a->status.sessions--;
    size_t slot = (size_t)(s - a->sessions);
    if (slot < a->free_hint) a->free_hint = slot;
}

static void close_all(struct trib_aggregator *a) {
    a->region_known = false; /* the state may be of another run by now */
    for (size_t i = 0; i < a->session_count; i++) close_session(a, &a->sessions[i]);
}

void trib_aggregator_free(struct trib_aggregator **aggregator) {
    struct trib_aggregator *a = *aggregator;
    if (a == NULL) return;
    close_all(a);
    trib_aggregator_forget_payloads(a);
    trib_cohort_release(a);
    trib_free(a->sessions);
    trib_free(a->presence);
    trib_free(a->gradient);
    trib_free(a);
    *aggregator = NULL;
}

struct trib_aggregator_status trib_aggregator_status(const struct trib_aggregator *a) {
    struct trib_aggregator_status status = a->status;
    status.sending = a->sending;
    return status;
}

size_t trib_aggregator_send(struct trib_aggregator *a, trib_child_route route, uint64_t after,
                            const struct trib_msg *msg, struct trib_blob *payload) {
    size_t bytes = trib_outbox_send(a->outbox, TRIB_ACTION_SEND_CHILD, route, after, msg, payload);
    if (bytes == 0) return 0;
    size_t wire = trib_zmtp_bytes(bytes - trib_blob_size(payload), trib_blob_size(payload));
    a->status.down_bytes += wire;
    return wire;
}

size_t trib_aggregator_say(struct trib_aggregator *a, const struct session *session, uint64_t after,
                           struct trib_msg *msg, struct trib_blob *payload) {
    msg->version = session->version;
    return trib_aggregator_send(a, session->route, after, msg, payload);
}

bool trib_aggregator_record(struct trib_aggregator *a, struct trib_record *record) {
    if (a->store_retry_ms > 0) return false;
    trib_rec_set(record, NOW, now_ms, a->now_ms);
    return trib_outbox_record(a->outbox, a->state, record);
}

void trib_aggregator_error(struct trib_aggregator *a, trib_child_route route, uint64_t session, uint64_t code,
                           uint64_t number, uint64_t wait_ms, const char *detail) {
    struct trib_msg msg = {.type = TRIB_ERROR};
    trib_msg_set(&msg, SESSION, session, session);
    trib_msg_set(&msg, CODE, code, code);
    if (number > 0) trib_msg_set(&msg, NUMBER, number, number);
    if (wait_ms > 0) trib_msg_set(&msg, WAIT_MS, wait_ms, wait_ms);
    size_t length = strlen(detail);
    trib_msg_set(&msg, DETAIL, detail, ((struct trib_text){detail, length < 200 ? length : 200}));
    (void)trib_aggregator_send(a, route, 0, &msg, NULL);
}

void trib_aggregator_event(struct trib_aggregator *a, enum trib_level level, const char *event,
                           const char *fmt, ...) {
    if (a->now_ms / 1000 != a->event_second) {
        a->event_second = a->now_ms / 1000;
        uint64_t dropped = a->event_dropped;
        a->event_count = a->event_dropped = 0;
        if (dropped > 0)
            trib_outbox_event(a->outbox, a->state, a->now_ms, a->store_retry_ms == 0, TRIB_LOG_WARN,
                              "events_dropped", "count=%" PRIu64, dropped);
    }
    if (a->event_count++ >= EVENTS_PER_SECOND) {
        a->event_dropped++;
        return;
    }
    char text[400];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    trib_outbox_event(a->outbox, a->state, a->now_ms, a->store_retry_ms == 0, level, event, "%s", text);
}

void trib_aggregator_malformed(struct trib_aggregator *a, uint64_t now_ms, trib_child_route route,
                               const char *identity, const char *what) {
    a->now_ms = now_ms;
    a->status.malformed++;
    char quoted[300];
    trib_aggregator_event(a, TRIB_LOG_WARN, "message_malformed", "peer=%s error=%s",
                          identity != NULL ? identity : "?", trib_log_quote(quoted, sizeof quoted, what));
    trib_aggregator_error(a, route, 0, TRIB_CODE_MALFORMED, 0, 0, what);
}

/* Session credit: children share the budget, and a share too small for an update is none (they offer
 * instead). */
uint64_t trib_aggregator_grant(const struct trib_aggregator *a) {
    uint64_t children = a->status.active > 0 ? a->status.active : 1;
    uint64_t share = a->options.budget_bytes / children;
    if (share < trib_codec_max_bytes(a->state->codec_in, trib_state_parameters(a->state))) return 0;
    return share < (4u << 20) ? share : 4u << 20;
}

/* ---- HELLO ---- */

static bool name_is_good(const struct trib_text *name) {
    if (name->size == 0 || name->size > TRIB_NAME_MAX) return false;
    for (size_t i = 0; i < name->size; i++) { /* char has a sign on some processors */
        unsigned char c = (unsigned char)name->data[i];
        if (c <= ' ' || c == '"' || c == 127) return false;
    }
    return true;
}

static struct session *free_session(struct trib_aggregator *a) {
    size_t slot = a->free_hint;
    while (slot < a->session_count && a->sessions[slot].number != 0) slot++;
    if (slot == a->session_capacity) {
        size_t capacity = a->session_capacity > 0 ? a->session_capacity * 2 : 16;
        struct session *more = trib_realloc(a->sessions, capacity * sizeof *more);
        if (more == NULL) return NULL;
        memset(more + a->session_capacity, 0, (capacity - a->session_capacity) * sizeof *more);
        a->sessions = more;
        a->session_capacity = capacity;
    }
    if (slot == a->session_count) a->session_count++;
    a->free_hint = slot + 1;
    return &a->sessions[slot];
}

static struct presence *presence_of(struct trib_aggregator *a, size_t peer) {
    if (peer >= a->presence_capacity) {
        size_t capacity = a->state->peer_capacity > peer ? a->state->peer_capacity : peer + 1;
        struct presence *more = trib_realloc(a->presence, capacity * sizeof *more);
        if (more == NULL) return NULL;
        memset(more + a->presence_capacity, 0, (capacity - a->presence_capacity) * sizeof *more);
        a->presence = more;
        a->presence_capacity = capacity;
    }
    return &a->presence[peer];
}

/* Two participants that share a name take it from each other for ever; after some turns neither is admitted.
 */
static bool flaps(struct trib_aggregator *a, struct presence *presence) {
    if (a->now_ms - presence->flap_since_ms > FLAP_MS) {
        presence->flap_since_ms = a->now_ms;
        presence->flaps = 0;
    }
    return ++presence->flaps > FLAPS;
}

static void welcome(struct trib_aggregator *a, struct session *s, const struct trib_peer *peer) {
    const struct trib_state *state = a->state;
    struct trib_buf schema;
    trib_buf_init(&schema, TRIB_SCHEMA_MAX_TEXT);
    trib_schema_text(&state->schema, &schema);
    struct trib_msg msg = {.type = TRIB_WELCOME};
    trib_msg_set(&msg, SESSION, session, s->number);
    trib_msg_set(&msg, INCARNATION, incarnation, state->incarnation);
    trib_msg_set(&msg, LAST_NUMBER, last_number, peer->last);
    trib_msg_set(&msg, CREDIT, credit, s->granted);
    trib_msg_set(&msg, BUILD, build, ((struct trib_text){TRIB_VERSION, strlen(TRIB_VERSION)}));
    trib_msg_set(&msg, PLAN, plan,
                 ((struct trib_text){(const char *)state->plan_text.data, state->plan_text.size}));
    trib_msg_set(&msg, SCHEMA, schema, ((struct trib_text){(const char *)schema.data, schema.size}));
    trib_msg_set(&msg, HEARTBEAT_MS, heartbeat_ms, state->plan.heartbeat_ms);
    memcpy(msg.run, state->run, sizeof msg.run);
    memcpy(msg.fingerprint, state->schema.fingerprint, sizeof msg.fingerprint);
    msg.present |= (uint64_t)1 << TRIB_F_RUN | (uint64_t)1 << TRIB_F_FINGERPRINT;
    if (schema.failed) /* it says HELLO again */
        trib_aggregator_error(a, s->route, 0, TRIB_CODE_BUSY, 0, 5000, "out of memory");
    else
        (void)trib_aggregator_say(a, s, state->position, &msg, NULL);
    trib_buf_release(&schema);
}

static void say_bye(struct trib_aggregator *a, const struct session *s, enum trib_bye reason) {
    struct trib_msg msg = {.type = TRIB_BYE};
    trib_msg_set(&msg, SESSION, session, s->number);
    trib_msg_set(&msg, REASON, reason, reason);
    (void)trib_aggregator_say(a, s, a->state->position, &msg, NULL);
}

/* Refuses a HELLO that cannot be taken; true if it was. */
static bool hello_refused(struct trib_aggregator *a, trib_child_route route, const struct trib_msg *msg,
                          const struct trib_text *name) {
    const struct trib_state *state = a->state;
    char text[160];
    if (msg->protocol_min > TRIB_PROTOCOL_NEWEST || msg->protocol_max < TRIB_PROTOCOL_OLDEST) {
        (void)snprintf(text, sizeof text,
                       "found protocol versions %" PRIu64 " to %" PRIu64
                       ", expected one of %d to %d; update %s",
                       msg->protocol_min, msg->protocol_max, TRIB_PROTOCOL_OLDEST, TRIB_PROTOCOL_NEWEST,
                       msg->protocol_min > TRIB_PROTOCOL_NEWEST ? "this parent" : "the child");
        trib_aggregator_error(a, route, 0, TRIB_CODE_VERSION, 0, 60000, text);
    } else if (!name_is_good(name)) {
        trib_aggregator_error(a, route, 0, TRIB_CODE_DENIED, 0, 60000,
                              "a name has 1 to 64 printable characters without spaces");
    } else if (a->leaving) {
        trib_aggregator_error(a, route, 0, TRIB_CODE_BUSY, 0, WAIT_MS, "this node is stopping");
    } else if (!state->started) {
        trib_aggregator_error(a, route, 0, TRIB_CODE_BUSY, 0, WAIT_MS,
                              "no plan yet: its own parent is not reached");
    } else if (trib_msg_has(msg, FINGERPRINT) && msg->parent_incarnation == state->incarnation &&
               memcmp(msg->fingerprint, state->schema.fingerprint, sizeof msg->fingerprint) != 0) {
        trib_aggregator_event(a, TRIB_LOG_WARN, "schema_differs", "peer=%.*s", (int)name->size, name->data);
        trib_aggregator_error(a, route, 0, TRIB_CODE_SCHEMA, 0, 0, "made for another model");
    } else if (msg->incarnation == 0) {
        trib_aggregator_error(a, route, 0, TRIB_CODE_MALFORMED, 0, 0, "an incarnation is not 0");
    } else {
        return false;
    }
    return true;
}

/* Admits the incarnation; NULL if it was answered with an error. */
static struct trib_peer *admit(struct trib_aggregator *a, trib_child_route route, const struct trib_msg *msg,
                               const struct trib_text *name) {
    struct trib_peer *peer = trib_state_peer(a->state, name->data, name->size);
    if (peer == NULL && a->state->peer_count >= a->options.max_peers) {
        trib_aggregator_event(a, TRIB_LOG_WARN, "peers_full", "peer=%.*s max=%zu", (int)name->size,
                              name->data, a->options.max_peers);
        trib_aggregator_error(a, route, 0, TRIB_CODE_BUSY, 0, 10000,
                              "as many participants as this node takes");
        return NULL;
    }
    if (peer != NULL && trib_peer_is_retired(peer, msg->incarnation)) {
        trib_aggregator_error(a, route, 0, TRIB_CODE_RETIRED, 0, 0,
                              "this incarnation was replaced by a newer one");
        return NULL;
    }
    if (peer != NULL && peer->incarnation != msg->incarnation) {
        struct presence *presence = presence_of(a, (size_t)(peer - a->state->peers));
        if (presence != NULL && flaps(a, presence)) {
            trib_aggregator_event(a, TRIB_LOG_WARN, "identity_shared", "peer=%.*s changes=%u",
                                  (int)name->size, name->data, presence->flaps);
            trib_aggregator_error(a, route, 0, TRIB_CODE_DUPLICATE, 0, FLAP_MS,
                                  "two participants use this name; give each its own");
            return NULL;
        }
    }
    if (peer == NULL || peer->incarnation != msg->incarnation) {
        if (a->store_retry_ms > 0) {
            trib_aggregator_error(a, route, 0, TRIB_CODE_STORE, 0, a->store_retry_ms,
                                  "the journal cannot be written");
            return NULL;
        }
        struct trib_record record = {.kind = TRIB_REC_PEER};
        trib_rec_set(&record, PEER, peer, *name);
        trib_rec_set(&record, INCARNATION, incarnation, msg->incarnation);
        trib_rec_set(&record, KIND_OF_PEER, kind_of_peer, msg->kind);
        if (!trib_aggregator_record(a, &record)) return NULL;
        peer = trib_state_peer(a->state, name->data, name->size);
    }
    return peer;
}

/* The model goes beta times as far as there are edges towards the mean of theirs: beyond 1 that is too far.
 * How many they are is known here alone. */
static void tell_if_too_elastic(struct trib_aggregator *a) {
    const double most = 0.9, beta = a->state->plan.elastic;
    size_t edges = 0;
    for (size_t i = 0; beta > 0.0 && i < a->session_count; i++) {
        const struct session *s = &a->sessions[i];
        edges += s->number != 0 && trib_session_peer(a, s)->kind == TRIB_CHILD_EDGE;
    }
    if (edges <= a->elastic_told || beta * (double)edges <= most * (1 + 1e-9)) return;
    a->elastic_told = edges;
    trib_aggregator_event(a, TRIB_LOG_WARN, "elastic_too_strong",
                          "elastic=%g edges=%zu most=%.3g; set plan.forward.elastic to that or less", beta,
                          edges, most / (double)edges);
}

static void on_hello(struct trib_aggregator *a, trib_child_route route, const char *identity,
                     const struct trib_msg *msg) {
    struct trib_text name = msg->name;
    if (identity != NULL && identity[0] != 0) name = (struct trib_text){identity, strlen(identity)};
    if (hello_refused(a, route, msg, &name)) return;
    const struct trib_peer *known = trib_state_peer(a->state, name.data, name.size);
    uint64_t before = known != NULL ? known->incarnation : 0;
    struct trib_peer *peer = admit(a, route, msg, &name);
    if (peer == NULL) return;
    size_t index = (size_t)(peer - a->state->peers);
    struct presence *presence = presence_of(a, index);
    struct session kept = {0};
    if (presence != NULL && presence->session != 0) { /* the newest HELLO owns the name */
        struct session *old = &a->sessions[presence->session - 1];
        /* What is under way goes on where it stopped, when it is offered or asked for again: by the same
         * incarnation, for numbers are its own, and so is what a MODEL says was applied. */
        if (before == peer->incarnation) {
            trib_aggregator_hand_over(a, old, &kept);
            trib_aggregator_hand_over_outgoing(a, old, &kept);
        }
        close_session(a, old);
    }
    struct session *s = presence != NULL ? free_session(a) : NULL;
    if (s == NULL) {
        trib_aggregator_drop_incoming(a, &kept);
        trib_aggregator_drop_outgoing(a, &kept);
        trib_aggregator_error(a, route, 0, TRIB_CODE_BUSY, 0, 10000, "out of memory");
        return;
    }
    size_t slot = (size_t)(s - a->sessions);
    *s = (struct session){.number = (uint32_t)(trib_rng_below(&a->rng, 65535) + 1) << 16 | (uint32_t)slot,
                          .route = route,
                          .peer = index,
                          .last_seen_ms = a->now_ms,
                          .active = true,
                          .subscribed = msg->subscribe != 0,
                          .version = (uint8_t)(msg->protocol_max < TRIB_PROTOCOL_NEWEST
                                                   ? msg->protocol_max
                                                   : (uint64_t)TRIB_PROTOCOL_NEWEST),
                          .piece_ms = a->now_ms};
    trib_aggregator_note_base(s, msg);
    trib_pace_init(&s->pace, a->options.window_bytes, false);
    trib_aggregator_hand_over(a, &kept, s);
    trib_aggregator_hand_over_outgoing(a, &kept, s);
    presence->session = (uint32_t)slot + 1;
    trib_cohort_joined(a, s, msg, before == peer->incarnation);
    a->open_count++;
    count_region(a, peer->region, true);
    a->status.sessions++;
    a->status.active++;
    s->granted = trib_aggregator_grant(a);
    welcome(a, s, peer);
    tell_if_too_elastic(a);
    if (a->state->stopped) say_bye(a, s, TRIB_BYE_FINISHED);
}

/* The node took another incarnation (a new run, a restore): nobody's session stands for it. */
static void begin_again_if_due(struct trib_aggregator *a) {
    if (a->incarnation == a->state->incarnation) return;
    a->incarnation = a->state->incarnation;
    a->advanced = a->postponed_ms = 0;
    a->region_known = false;
    trib_free(a->gradient);
    a->gradient = NULL;
    trib_aggregator_forget_payloads(a);
    for (size_t i = 0; i < a->session_count; i++) {
        struct session *s = &a->sessions[i];
        if (s->number == 0) continue;
        trib_aggregator_error(a, s->route, s->number, TRIB_CODE_HELLO, 0, 0, "a new run: say HELLO");
        close_session(a, s);
    }
    trib_cohort_release(a);
    if (a->presence != NULL) memset(a->presence, 0, a->presence_capacity * sizeof *a->presence);
}

/* ---- dispatch ---- */

static struct session *find_session(struct trib_aggregator *a, trib_child_route route, const char *identity,
                                    uint64_t number) {
    size_t slot = (size_t)(number & 0xFFFF);
    if (slot >= a->session_count) return NULL;
    struct session *s = &a->sessions[slot];
    if (s->number == 0 || s->number != number || s->route != route) return NULL;
    if (identity != NULL && identity[0] != 0 && strcmp(trib_session_peer(a, s)->identity, identity) != 0)
        return NULL;
    return s;
}

static void on_session(struct trib_aggregator *a, struct session *s, const struct trib_msg *msg,
                       struct trib_blob *payload, size_t wire) {
    switch (msg->type) {
    case TRIB_PULL: trib_aggregator_on_pull(a, s, msg); break;
    case TRIB_PUSH: trib_aggregator_on_push(a, s, msg, payload, wire); break;
    case TRIB_CHUNK: trib_aggregator_on_chunk(a, s, msg, payload); break;
    case TRIB_CREDIT:
        if (msg->number != s->outgoing.number) break;
        s->sent_ms = a->now_ms;
        trib_outbound_grant(&s->outgoing, a->now_ms, (size_t)msg->offset, (size_t)msg->chunk_bytes,
                            (size_t)msg->window_bytes);
        trib_aggregator_send_pieces(a, s);
        break;
    case TRIB_PING: {
        struct trib_msg pong = {.type = TRIB_PONG};
        trib_msg_set(&pong, SESSION, session, s->number);
        trib_msg_set(&pong, TOKEN, token, msg->token);
        (void)trib_aggregator_say(a, s, 0, &pong, NULL);
        break;
    }
    case TRIB_PONG: break;
    case TRIB_BYE:
        trib_cohort_left(a, s);
        close_session(a, s);
        break;
    case TRIB_ERROR: {
        char quoted[200], detail[128];
        size_t length = msg->detail.size < 120 ? msg->detail.size : 120;
        (void)snprintf(detail, sizeof detail, "%.*s", (int)length, length > 0 ? msg->detail.data : "");
        trib_aggregator_event(a, TRIB_LOG_WARN, "peer_error", "peer=%s code=%s detail=%s",
                              trib_session_peer(a, s)->identity, trib_code_name(msg->code),
                              trib_log_quote(quoted, sizeof quoted, detail));
        break;
    }
    default:
        trib_aggregator_error(a, s->route, s->number, TRIB_CODE_TYPE, 0, 0,
                              "a parent does not take this message");
    }
}

void trib_aggregator_fetch(const struct trib_aggregator *a, const void *frame, size_t frame_bytes,
                           bool peer) {
    enum { LINE = 64, KEY = TRIB_PREAMBLE_BYTES + 1, SLOT = KEY + 4, UINT32 = 0xce };
    const uint8_t *at = frame;
    /* The session is a message's first field; its slot is in the lower half. */
    if (frame_bytes < SLOT + 2 || at[KEY] != TRIB_F_SESSION || at[KEY + 1] != UINT32) return;
    size_t slot = (size_t)at[SLOT] << 8 | at[SLOT + 1];
    if (slot >= a->session_count) return;
    const struct session *s = &a->sessions[slot];
    const char *from = (const char *)s;
    size_t bytes = offsetof(struct session, offer);
    if (peer && (s->number == 0 || s->peer >= a->state->peer_count)) return;
    if (peer) {
        from = (const char *)trib_session_peer(a, s);
        bytes = offsetof(struct trib_peer, verdicts);
    }
    for (size_t i = 0; i < bytes; i += LINE) __builtin_prefetch(from + i);
}

void trib_aggregator_message(struct trib_aggregator *a, uint64_t now_ms, trib_child_route route,
                             const char *identity, const void *frame, size_t frame_bytes,
                             struct trib_blob *payload) {
    a->now_ms = now_ms;
    begin_again_if_due(a);
    size_t wire = trib_zmtp_bytes(frame_bytes, trib_blob_size(payload));
    a->status.up_bytes += wire;
    struct trib_msg msg;
    struct trib_error err;
    uint64_t code = TRIB_CODE_MALFORMED;
    if (trib_msg_decode(frame, frame_bytes, &msg, &code, &err) != TRIB_OK) {
        a->status.malformed++;
        char quoted[300];
        trib_aggregator_event(a, TRIB_LOG_WARN, "message_malformed", "peer=%s error=%s",
                              identity != NULL && identity[0] != 0 ? identity : "?",
                              trib_log_quote(quoted, sizeof quoted, err.text));
        trib_aggregator_error(a, route, 0, code, 0, 0, err.text);
        return;
    }
    if (msg.type == TRIB_HELLO) {
        on_hello(a, route, identity, &msg);
        return;
    }
    struct session *s = find_session(a, route, identity, msg.session);
    if (s == NULL) {
        if (msg.type != TRIB_BYE && msg.type != TRIB_ERROR)
            trib_aggregator_error(a, route, msg.session, TRIB_CODE_HELLO, 0, 0,
                                  "no such session here: say HELLO");
        return;
    }
    s->last_seen_ms = now_ms;
    if (!s->active) {
        s->active = true;
        a->status.active++;
        count_region(a, trib_session_peer(a, s)->region, true);
        trib_cohort_here(a, s, true);
    }
    on_session(a, s, &msg, payload, wire);
}

/* A quiet child is not counted on; it keeps its session. */
static void look_over(struct trib_aggregator *a) {
    if (a->now_ms - a->liveness_ms < LIVENESS_MS) return;
    a->liveness_ms = a->now_ms;
    trib_aggregator_look_at_pressure(a);
    uint64_t limit = 3 * a->state->plan.heartbeat_ms;
    for (size_t i = 0; i < a->session_count; i++) {
        struct session *s = &a->sessions[i];
        if (s->number == 0) continue;
        trib_aggregator_look_at_transfer(a, s);
        trib_aggregator_look_at_outgoing(a, s);
        /* What it says waits behind its own pieces. */
        uint64_t pieces_ms = s->incoming.blob != NULL ? trib_pace_drain_ms(&s->pace) : 0;
        if (!s->active || a->now_ms - s->last_seen_ms <= limit + pieces_ms) continue;
        s->active = false;
        a->status.active--;
        count_region(a, trib_session_peer(a, s)->region, false);
        trib_cohort_left(a, s);
        trib_aggregator_event(a, TRIB_LOG_INFO, "peer_quiet", "peer=%s quiet_ms=%" PRIu64,
                              trib_session_peer(a, s)->identity, a->now_ms - s->last_seen_ms);
    }
    trib_cohort_look(a);
}

uint64_t trib_aggregator_poll(struct trib_aggregator *a, uint64_t now_ms) {
    a->now_ms = now_ms;
    begin_again_if_due(a);
    if (!a->state->started || a->leaving) return UINT64_MAX;
    look_over(a);
    uint64_t commit_wake, advance_wake;
    trib_aggregator_commit_due(a, &commit_wake);
    trib_aggregator_grant_offers(a);
    trib_aggregator_advance(a, &advance_wake);
    uint64_t wake = a->open_count > 0 ? a->liveness_ms + LIVENESS_MS : UINT64_MAX;
    if (commit_wake < wake) wake = commit_wake;
    return advance_wake < wake ? advance_wake : wake;
}

void trib_aggregator_last_words(struct trib_aggregator *a, uint64_t now_ms) {
    a->now_ms = now_ms;
    begin_again_if_due(a);
    trib_cohort_tell(a);
}

void trib_aggregator_goodbye(struct trib_aggregator *a, uint64_t now_ms, enum trib_bye reason) {
    a->now_ms = now_ms;
    a->leaving = a->leaving || reason == TRIB_BYE_LEAVING;
    for (size_t i = 0; i < a->session_count; i++)
        if (a->sessions[i].number != 0) say_bye(a, &a->sessions[i], reason);
}

void trib_aggregator_refuse_writes(struct trib_aggregator *a, uint64_t retry_ms) {
    a->store_retry_ms = retry_ms;
}

void trib_aggregator_sum_regions(struct trib_aggregator *a) {
    if (a->region_known) return;
    a->region_known = true;
    a->region_sum = 0;
    a->region_reporting = a->region_silent = 0;
    for (size_t i = 0; i < a->session_count; i++) {
        const struct session *s = &a->sessions[i];
        if (s->number == 0 || !s->active) continue;
        uint64_t region = trib_session_peer(a, s)->region;
        a->region_sum += (double)region;
        if (region > 0)
            a->region_reporting++;
        else
            a->region_silent++;
    }
}

uint64_t trib_aggregator_region(struct trib_aggregator *a) {
    begin_again_if_due(a);
    trib_aggregator_sum_regions(a);
    return (uint64_t)a->region_sum;
}
