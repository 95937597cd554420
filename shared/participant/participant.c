#include "shared/participant/internal.h"

#include "shared/base/alloc.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

enum trib_status trib_participant_new(const struct trib_participant_options *options,
                                      struct trib_state *state, struct trib_outbox *outbox,
                                      struct trib_participant **out, struct trib_error *err) {
    size_t length = options->name != NULL ? strlen(options->name) : 0;
    if (length == 0 || length > TRIB_NAME_MAX)
        return trib_fail(err, TRIB_INVALID, "a participant's name has 1 to %d characters, this one has %zu",
                         TRIB_NAME_MAX, length);
    struct trib_participant *p = trib_alloc(sizeof *p);
    if (p == NULL) return trib_fail(err, TRIB_NOMEM, "out of memory for a participant");
    p->options = *options;
    memcpy(p->name, options->name, length);
    if (p->options.frame_bytes == 0) p->options.frame_bytes = FRAME_BYTES;
    p->state = state;
    p->outbox = outbox;
    p->rng = trib_rng_seed(options->seed, 0);
    p->rung_before = SIZE_MAX;
    p->told_version = p->given_from = UINT64_MAX;
    p->backoff_ms = BACKOFF_MIN_MS;
    p->heartbeat_ms = 5000;
    p->want_model = true;
    trib_pace_init(&p->pace, WINDOW_BYTES, false);
    *out = p;
    return TRIB_OK;
}

void trib_participant_free(struct trib_participant **participant) {
    struct trib_participant *p = *participant;
    if (p == NULL) return;
    trib_inbound_drop(&p->incoming);
    trib_outbound_drop(&p->outgoing);
    trib_free(p->offered);
    trib_free(p);
    *participant = NULL;
}

struct trib_participant_status trib_participant_status(const struct trib_participant *p) {
    struct trib_participant_status status = p->status;
    status.ready = p->phase == READY;
    status.session = p->session;
    status.last_heard_ms = p->last_heard_ms;
    return status;
}

void trib_participant_send(struct trib_participant *p, struct trib_msg *msg, struct trib_blob *payload) {
    msg->version = TRIB_PROTOCOL_OLDEST;
    if (msg->type != TRIB_HELLO) {
        trib_msg_set(msg, SESSION, session, p->session);
        msg->version = p->version;
    }
    /* What is said of numbers and models depends on the journal; everything else may overtake it. */
    bool depends = msg->type == TRIB_PUSH || msg->type == TRIB_HELLO || msg->type == TRIB_PULL;
    size_t bytes = trib_outbox_send(p->outbox, TRIB_ACTION_SEND_PARENT, 0, depends ? p->state->position : 0,
                                    msg, payload);
    if (bytes > 0)
        p->status.up_bytes += trib_zmtp_bytes(bytes - trib_blob_size(payload), trib_blob_size(payload));
    p->last_sent_ms = p->now_ms;
}

bool trib_participant_record(struct trib_participant *p, struct trib_record *record) {
    trib_rec_set(record, NOW, now_ms, p->now_ms);
    return trib_outbox_record(p->outbox, p->state, record);
}

static void close_session(struct trib_participant *p) {
    p->phase = CLOSED;
    p->reconnect_asked = false;
    p->session = 0;
    p->pull_open = false;
    p->pushed_number = 0;
    trib_outbound_drop(&p->outgoing);
    /* It may be another line the next time. */
    p->outgoing = (struct trib_outbound){0};
    trib_pace_init(&p->pace, WINDOW_BYTES, p->slow > 0);
}

void trib_participant_reconnect(struct trib_participant *p, const char *why) {
    if (p->phase == CLOSED) return;
    close_session(p);
    if (p->leaving) return;
    uint64_t jitter = trib_rng_below(&p->rng, p->backoff_ms / 2 + 1);
    p->reconnect_at_ms = p->now_ms + p->backoff_ms + jitter;
    trib_outbox_event(p->outbox, p->state, p->now_ms, false, TRIB_LOG_INFO, "uplink_closed",
                      "reason=%s retry_ms=%" PRIu64, why, p->backoff_ms + jitter);
    p->backoff_ms = p->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : p->backoff_ms * 2;
    p->status.reconnects++;
}

void trib_participant_renew(struct trib_participant *p, const char *why) {
    trib_outbox_event(p->outbox, p->state, p->now_ms, p->state->role == TRIB_ROLE_EDGE, TRIB_LOG_WARN,
                      "incarnation_new", "reason=%s old=%016" PRIx64, why, p->state->incarnation);
    struct trib_record record = {.kind = TRIB_REC_INCARNATION};
    trib_rec_set(&record, INCARNATION, incarnation, trib_rng_u64(&p->rng) | 1);
    (void)trib_participant_record(p, &record);
    p->training = false;
    p->chose_number = 0;
    trib_participant_reconnect(p, why);
}

void trib_participant_report(struct trib_participant *p, struct trib_msg *msg) {
    struct trib_conditions now = {.battery = UINT64_MAX};
    if (p->options.conditions == NULL) return;
    p->options.conditions(p->options.conditions_ctx, &now);
    size_t bytes = now.device_class != NULL ? strnlen(now.device_class, TRIB_CLASS_MAX) : 0;
    if (bytes > 0)
        trib_msg_set(msg, DEVICE_CLASS, device_class, ((struct trib_text){now.device_class, bytes}));
    if (now.battery <= 100) trib_msg_set(msg, BATTERY, battery, now.battery);
    if (now.link > 0) trib_msg_set(msg, LINK, link, now.link);
}

static void say_hello(struct trib_participant *p) {
    const struct trib_state *s = p->state;
    struct trib_msg msg = {.type = TRIB_HELLO};
    trib_msg_set(&msg, NAME, name, ((struct trib_text){p->name, strlen(p->name)}));
    trib_msg_set(&msg, INCARNATION, incarnation, s->incarnation);
    trib_msg_set(&msg, NEXT_NUMBER, next_number, s->next_number);
    trib_msg_set(&msg, PROTOCOL_MIN, protocol_min, TRIB_PROTOCOL_OLDEST);
    trib_msg_set(&msg, PROTOCOL_MAX, protocol_max, TRIB_PROTOCOL_NEWEST);
    trib_msg_set(&msg, BUILD, build, ((struct trib_text){TRIB_VERSION, strlen(TRIB_VERSION)}));
    bool edge = s->role == TRIB_ROLE_EDGE;
    trib_msg_set(&msg, KIND, kind, edge ? TRIB_CHILD_EDGE : TRIB_CHILD_DEVICE);
    if (edge) trib_msg_set(&msg, SUBSCRIBE, subscribe, 1);
    size_t codec_count;
    const struct trib_codec_row *rows = trib_codec_rows(&codec_count);
    char codecs[256] = "";
    for (size_t i = 0, at = 0; i < codec_count && at < sizeof codecs; i++)
        at += (size_t)snprintf(codecs + at, sizeof codecs - at, "%s%s", i > 0 ? "," : "", rows[i].name);
    trib_msg_set(&msg, CODECS, codecs, ((struct trib_text){codecs, strlen(codecs)}));
    if (s->started && !p->without_model) {
        trib_msg_set(&msg, PARENT_INCARNATION, parent_incarnation, s->parent_incarnation);
        memcpy(msg.fingerprint, s->schema.fingerprint, sizeof msg.fingerprint);
        msg.present |= (uint64_t)1 << TRIB_F_FINGERPRINT;
        if (s->has_model) {
            trib_msg_set(&msg, HELD_VERSION, held_version, s->parent_version);
            memcpy(msg.held_digest, s->parent_chain, sizeof msg.held_digest);
            msg.present |= (uint64_t)1 << TRIB_F_HELD_DIGEST;
        }
    }
    trib_participant_tell_base(p, &msg);
    trib_participant_report(p, &msg);
    trib_participant_send(p, &msg, NULL);
}

void trib_participant_connected(struct trib_participant *p, uint64_t now_ms) {
    p->now_ms = now_ms;
    if (p->state->incarnation == 0) {
        struct trib_record record = {.kind = TRIB_REC_INCARNATION};
        trib_rec_set(&record, INCARNATION, incarnation, trib_rng_u64(&p->rng) | 1);
        if (!trib_participant_record(p, &record)) return;
    }
    close_session(p);
    p->phase = HELLO;
    p->phase_since_ms = p->last_heard_ms = now_ms;
    say_hello(p);
}

/* Can this node take part? Tried on a state of its own, so that a plan or model that it cannot do is refused
 * and nothing is lost. */
static bool run_is_possible(struct trib_participant *p, const struct trib_record *start) {
    struct trib_state *trial = NULL;
    struct trib_record copy = *start;
    struct trib_error err = {0};
    enum trib_status status = trib_state_new(p->state->role, &p->state->limits, &trial, &err);
    if (status == TRIB_OK) status = trib_state_apply(trial, &copy, &err);
    trib_state_free(&trial);
    if (status == TRIB_OK) return true;
    char quoted[400];
    trib_outbox_event(p->outbox, p->state, p->now_ms, false, TRIB_LOG_ERROR, "run_refused", "error=%s",
                      trib_log_quote(quoted, sizeof quoted, err.text));
    if (status != TRIB_NOMEM) p->backoff_ms = REFUSED_MS; /* else it may be possible soon */
    trib_participant_reconnect(p, "run_refused");
    return false;
}

/* Another parent, or a new run of the same: what was built for the old one is void. */
static bool begin_run(struct trib_participant *p, const struct trib_msg *msg) {
    struct trib_record record = {.kind = TRIB_REC_START};
    bool edge = p->state->role == TRIB_ROLE_EDGE;
    /* Nothing of an older run may be taken for this one's, by its parent or by its children. */
    uint64_t incarnation = p->state->started ? trib_rng_u64(&p->rng) | 1 : p->state->incarnation;
    if (edge) trib_rec_set(&record, INCARNATION, incarnation, incarnation);
    trib_rec_set(&record, PARENT_INCARNATION, parent_incarnation, msg->incarnation);
    trib_rec_set(&record, PLAN, plan, msg->plan);
    trib_rec_set(&record, SCHEMA, schema, msg->schema);
    memcpy(record.run, msg->run, sizeof record.run);
    record.present |= (uint64_t)1 << TRIB_R_RUN;
    if (!run_is_possible(p, &record)) return false;
    p->training = p->finished = false;
    p->rung_before = SIZE_MAX;
    p->chose_number = 0;
    trib_inbound_drop(&p->incoming);
    return trib_participant_record(p, &record);
}

/* WELCOME overrules every verdict: what is above its last number is sent again, of the rest the verdict is
 * asked for again. Either side may have been restored from a backup, and the parent have judged otherwise
 * since. */
static void overrule(struct trib_participant *p) {
    for (size_t i = 0; i < p->state->held_count; i++) {
        const struct trib_held *held = &p->state->held[i];
        if (!held->acknowledged) continue;
        struct trib_record record = {.kind = TRIB_REC_ACKED};
        trib_rec_set(&record, NUMBER, number, held->number);
        trib_rec_set(&record, VERDICT, verdict, 0);
        (void)trib_participant_record(p, &record);
    }
}

static void say_bye(struct trib_participant *p) {
    struct trib_msg msg = {.type = TRIB_BYE};
    trib_msg_set(&msg, REASON, reason, TRIB_BYE_LEAVING);
    trib_participant_send(p, &msg, NULL);
}

static void on_welcome(struct trib_participant *p, const struct trib_msg *msg) {
    struct trib_state *s = p->state;
    if (p->phase != HELLO) return;
    if (p->leaving) { /* the parent counts on one that has gone */
        p->session = msg->session;
        p->version = msg->version;
        say_bye(p);
        return;
    }
    p->unwelcome = 0;
    if (msg->last_number >= s->next_number) {
        trib_participant_renew(p, "restored");
        return;
    }
    bool other = !s->started || s->parent_incarnation != msg->incarnation;
    uint64_t before = s->incarnation;
    if (other && !begin_run(p, msg)) return;
    if (other) p->without_model = false; /* else: what is held is no better for a new session */
    if (s->incarnation != before) {      /* on a connection where no answer to the old one can still come */
        p->backoff_ms = BACKOFF_MIN_MS;
        trib_participant_reconnect(p, "incarnation_new");
        return;
    }
    p->session = msg->session;
    p->version = msg->version;
    p->phase = READY;
    p->phase_since_ms = p->now_ms;
    p->credit = msg->credit;
    p->sent_credited = 0;
    p->backoff_ms = BACKOFF_MIN_MS;
    if (msg->heartbeat_ms > 0) p->heartbeat_ms = earlier(msg->heartbeat_ms, LONGEST_WAIT_MS);
    p->want_model = !p->training;
    p->pull_at_ms = p->retry_push_ms = p->now_ms;
    p->last_number = msg->last_number;
    overrule(p);
    trib_outbox_event(p->outbox, s, p->now_ms, false, TRIB_LOG_INFO, "uplink_ready",
                      "session=%" PRIu64 " last=%" PRIu64, msg->session, msg->last_number);
}

static void on_bye(struct trib_participant *p, const struct trib_msg *msg) {
    if (msg->reason != TRIB_BYE_FINISHED) {
        trib_participant_reconnect(p, "parent_leaves");
        return;
    }
    if (!p->state->stopped && p->state->started) {
        struct trib_record record = {.kind = TRIB_REC_STOP};
        trib_rec_set(&record, TEXT, text, ((struct trib_text){"finished by the parent", 22}));
        (void)trib_participant_record(p, &record);
    }
    p->training = false;
    if (p->options.finish_on_bye && !p->finished) trib_outbox_simple(p->outbox, TRIB_ACTION_FINISHED);
    p->finished = true;
    p->backoff_ms = EDGE_PULL_MS;
    trib_participant_reconnect(p, "run_finished");
}

static void on_error(struct trib_participant *p, const struct trib_msg *msg) {
    uint64_t wait = msg->wait_ms > 0 ? earlier(msg->wait_ms, LONGEST_WAIT_MS) : 1000;
    char detail[160];
    (void)snprintf(detail, sizeof detail, "%.*s", (int)(msg->detail.size < 120 ? msg->detail.size : 120),
                   msg->detail.data != NULL ? msg->detail.data : "");
    char quoted[200];
    trib_outbox_event(p->outbox, p->state, p->now_ms, false, TRIB_LOG_WARN, "parent_error",
                      "code=%s detail=%s", trib_code_name(msg->code),
                      trib_log_quote(quoted, sizeof quoted, detail));
    switch (msg->code) {
    case TRIB_CODE_HELLO: trib_participant_reconnect(p, "session_unknown"); break;
    case TRIB_CODE_RETIRED: trib_participant_renew(p, "retired"); break;
    case TRIB_CODE_CONFLICT: trib_participant_renew(p, "conflict"); break;
    case TRIB_CODE_SCHEMA:
        p->without_model = true;
        trib_participant_reconnect(p, "schema");
        break;
    case TRIB_CODE_GAP:
        if (msg->number > 0 && msg->number <= p->last_number) {
            /* Judged so long ago that nobody knows how. An edge keeps it until `applied` reaches it, which it
             * does either way; it may be in the parent's buffer still. */
            uint64_t verdict = p->state->role == TRIB_ROLE_EDGE ? TRIB_ACCEPTED : TRIB_REFUSED;
            struct trib_msg ack = {.type = TRIB_ACK, .number = msg->number, .verdict = verdict};
            trib_participant_on_ack(p, &ack);
        } else {
            trib_participant_reconnect(p, "gap");
        }
        break;
    case TRIB_CODE_STORE:
    case TRIB_CODE_CREDIT:
        p->pushed_number = 0;
        p->retry_push_ms = p->now_ms + wait;
        break;
    default:
        if (p->backoff_ms < wait) p->backoff_ms = wait;
        trib_participant_reconnect(p, trib_code_name(msg->code));
    }
}

static void on_ready(struct trib_participant *p, const struct trib_msg *msg, struct trib_blob *payload) {
    switch (msg->type) {
    case TRIB_MODEL: trib_participant_on_model(p, msg, payload); break;
    case TRIB_ACK: trib_participant_on_ack(p, msg); break;
    case TRIB_CHUNK: trib_participant_on_chunk(p, msg, payload); break;
    case TRIB_CREDIT:
        if (trib_msg_has(msg, CREDIT) && msg->credit > p->credit) p->credit = msg->credit;
        if (trib_msg_has(msg, NUMBER) && msg->number == p->outgoing.number) {
            if (msg->offset > p->outgoing.arrived) trib_participant_progress(p, p->now_ms - p->pushed_ms);
            p->pushed_ms = p->now_ms;
            trib_outbound_grant(&p->outgoing, p->now_ms, (size_t)msg->offset, (size_t)msg->chunk_bytes,
                                (size_t)msg->window_bytes);
            trib_participant_send_pieces(p);
        }
        break;
    case TRIB_ADVANCE:
        if (!p->training && (p->state->role == TRIB_ROLE_EDGE || p->want_model)) {
            p->want_model = true;
            p->pull_at_ms = p->now_ms;
        }
        break;
    case TRIB_WAIT:
        if (!p->pull_open)
            break; /* what it answers has been answered: one that comes late would hold us up */
        p->pull_open = false;
        p->pull_at_ms = p->now_ms + earlier(msg->wait_ms, LONGEST_WAIT_MS);
        p->pull_at_ms += trib_rng_below(&p->rng, (p->pull_at_ms - p->now_ms) / 8 + 1);
        break;
    default: break;
    }
}

void trib_participant_message(struct trib_participant *p, uint64_t now_ms, const void *frame,
                              size_t frame_bytes, struct trib_blob *payload) {
    p->now_ms = now_ms;
    struct trib_msg msg;
    struct trib_error err;
    if (trib_msg_decode(frame, frame_bytes, &msg, NULL, &err) != TRIB_OK) {
        trib_outbox_event(p->outbox, p->state, now_ms, false, TRIB_LOG_WARN, "parent_malformed",
                          "error=\"%s\"", err.text);
        return;
    }
    p->last_heard_ms = now_ms;
    p->status.down_bytes += trib_zmtp_bytes(frame_bytes, trib_blob_size(payload));
    if (msg.type == TRIB_WELCOME) {
        on_welcome(p, &msg);
    } else if (msg.type == TRIB_PING) {
        msg =
            (struct trib_msg){.type = TRIB_PONG, .present = (uint64_t)1 << TRIB_F_TOKEN, .token = msg.token};
        trib_participant_send(p, &msg, NULL);
    } else if (trib_msg_has(&msg, SESSION) && msg.session != p->session && msg.session != 0) {
        return; /* of a connection that is gone */
    } else if (msg.type == TRIB_BYE) {
        on_bye(p, &msg);
    } else if (msg.type == TRIB_ERROR) {
        on_error(p, &msg);
    } else if (p->phase == READY) {
        on_ready(p, &msg, payload);
    }
}

/* ---- patience ----
 * What is on its way takes its time, and what was said waits behind it: over 10 kbit/s a chunk takes 13 s. So
 * no time-out is shorter than that takes at the rate that was seen. A line that is slower than was thought
 * is found out by a connection that was given up; then there is twice as much patience. */

void trib_participant_progress(struct trib_participant *p, uint64_t ms) {
    if (ms < REPLY_MS) p->slow = 0;
}

static uint64_t up_ms(const struct trib_participant *p) {
    size_t whole = p->pushed_number != 0 ? p->pushed_bytes : 0;
    return (trib_outbound_drain_ms(&p->outgoing) + trib_drain_ms(whole, p->outgoing.rate)) << p->slow;
}

static uint64_t down_ms(const struct trib_participant *p) {
    return trib_pace_drain_ms(&p->pace) << p->slow;
}

static uint64_t silence_ms(const struct trib_participant *p) {
    return 4 * p->heartbeat_ms + REPLY_MS + up_ms(p) + down_ms(p);
}

/* WELCOME has a plan and a schema in it: over a slow line that alone is more than a moment. */
static uint64_t welcome_ms(const struct trib_participant *p) {
    return earlier((1 + (uint64_t)p->unwelcome) * REPLY_MS, WELCOME_MAX_MS);
}

static uint64_t later(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

static uint64_t poll_closed(struct trib_participant *p) {
    /* The driver carries it out after this call, and may not ask again: a HELLO that is lost is found out
     * then. */
    if (p->reconnect_asked) return p->now_ms + REPLY_MS;
    if (p->now_ms < p->reconnect_at_ms) return p->reconnect_at_ms;
    p->reconnect_asked = true;
    trib_outbox_simple(p->outbox, TRIB_ACTION_RECONNECT);
    return p->now_ms + REPLY_MS;
}

static uint64_t poll_ready(struct trib_participant *p) {
    uint64_t wake = UINT64_MAX, at;
    /* Silence is measured from the last byte heard, so a slow transfer is no silence. */
    if (p->now_ms - p->last_heard_ms > silence_ms(p)) {
        if (p->slow < SLOW_MAX) p->slow++;
        trib_participant_reconnect(p, "silence");
        return poll_closed(p);
    }
    if (p->state->role == TRIB_ROLE_EDGE && trib_participant_forward_due(p, &at))
        trib_participant_forward(p);
    else if (p->state->role == TRIB_ROLE_EDGE)
        wake = earlier(wake, at);

    /* A model may have said what a lost ACK did not. */
    if (trib_participant_unacknowledged(p) == NULL) p->pushed_number = 0;
    uint64_t ack_ms = later(REPLY_MS, up_ms(p)), model_ms = later((uint64_t)REPLY_MS << p->slow, down_ms(p));
    bool push_due = trib_participant_unacknowledged(p) != NULL &&
                    (p->pushed_number == 0 || p->now_ms - p->pushed_ms >= ack_ms);
    if (push_due && p->now_ms >= p->retry_push_ms)
        trib_participant_push(p);
    else if (push_due)
        wake = earlier(wake, p->retry_push_ms);

    /* A device asks for a model when it could train on it: its last update must have been judged. */
    bool idle =
        !p->training && (p->state->role == TRIB_ROLE_EDGE || trib_participant_unacknowledged(p) == NULL);
    bool lost = p->pull_open && p->now_ms - p->pull_sent_ms >= model_ms;
    if (p->want_model && idle && (!p->pull_open || lost) && p->now_ms >= p->pull_at_ms)
        trib_participant_pull(p);
    if (p->want_model && idle && !p->pull_open) wake = earlier(wake, p->pull_at_ms);
    if (p->pull_open) wake = earlier(wake, p->pull_sent_ms + model_ms);
    if (p->pushed_number != 0) wake = earlier(wake, p->pushed_ms + ack_ms);

    if (p->now_ms - p->last_sent_ms >= p->heartbeat_ms) {
        struct trib_msg ping = {.type = TRIB_PING};
        trib_msg_set(&ping, TOKEN, token, p->now_ms);
        trib_participant_send(p, &ping, NULL);
    }
    return earlier(wake, p->last_sent_ms + p->heartbeat_ms);
}

uint64_t trib_participant_poll(struct trib_participant *p, uint64_t now_ms) {
    p->now_ms = now_ms;
    if (p->leaving || (p->finished && p->options.finish_on_bye)) return UINT64_MAX;
    if (p->phase == HELLO) {
        uint64_t limit = welcome_ms(p);
        if (now_ms - p->phase_since_ms < limit) return p->phase_since_ms + limit;
        p->unwelcome++;
        trib_participant_reconnect(p, "no_welcome");
    }
    if (p->phase == CLOSED) return poll_closed(p);
    return poll_ready(p);
}

void trib_participant_goodbye(struct trib_participant *p, uint64_t now_ms) {
    p->now_ms = now_ms;
    p->leaving = true;
    if (p->phase == READY) say_bye(p);
}
