/* Strangers with keys of their own: they join, push what is wrong, say again what others said, and use
 * sessions that are not theirs. */
#include "tests/torture/observer.h"

#include "shared/base/alloc.h"
#include "shared/kernels/kernels.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { KEPT = 8, SAID = 64 };

struct overheard {
    uint8_t *frame;
    size_t frame_bytes;
    struct trib_blob *payload;
    uint64_t session;
    size_t from; /* whose session it is */
};

struct stranger {
    char name[FED_NAME];
    size_t target; /* an aggregator */
    uint64_t session, incarnation, next, version;
    bool knows_version;
};

/* What was pushed under a number, with this content. */
struct said {
    size_t stranger;
    uint64_t incarnation, number, after;
    uint32_t crc;
    unsigned times, answers;
};

struct strangers {
    struct torture *t;
    size_t said_count; /* ever */
    struct said said[SAID];
    struct stranger strangers[STRANGERS];
    size_t count; /* ever overheard */
    struct overheard heard[KEPT];
};

struct strangers *strangers_new(struct torture *t) {
    struct strangers *s = trib_alloc(sizeof *s);
    if (s == NULL) abort();
    s->t = t;
    for (size_t i = 0; i < STRANGERS; i++) {
        memcpy(s->strangers[i].name, "mallory-0", 10);
        s->strangers[i].name[8] = (char)('0' + i);
        s->strangers[i].next = 1;
    }
    return s;
}

static void forget(struct overheard *heard) {
    trib_free(heard->frame);
    trib_blob_unref(&heard->payload);
    *heard = (struct overheard){0};
}

void strangers_free(struct strangers **strangers) {
    if (*strangers == NULL) return;
    for (size_t i = 0; i < KEPT; i++) forget(&(*strangers)->heard[i]);
    trib_free(*strangers);
    *strangers = NULL;
}

void stranger_overhears(struct torture *t, size_t from, size_t to, const struct trib_action *action) {
    (void)to;
    if (t->drawn.weight[FAULT_STRANGER] == 0 || action->kind != TRIB_ACTION_SEND_PARENT) return;
    struct trib_msg msg;
    if (trib_msg_decode(action->frame, action->frame_bytes, &msg, NULL, NULL) != TRIB_OK) return;
    if (msg.type != TRIB_PUSH && (msg.type == TRIB_HELLO || !chance(&t->rng, 0.1))) return;
    struct overheard *heard = &t->strangers->heard[t->strangers->count++ % KEPT];
    forget(heard);
    heard->frame = trib_alloc(action->frame_bytes);
    if (heard->frame == NULL) abort();
    memcpy(heard->frame, action->frame, action->frame_bytes);
    heard->frame_bytes = action->frame_bytes;
    heard->payload = trib_blob_ref(action->payload);
    heard->session = msg.session;
    heard->from = from;
}

/* Under any incarnation: a session may be of another one than it has by now. */
uint64_t stranger_said_after(const struct torture *t, size_t stranger, uint64_t number) {
    uint64_t lowest = UINT64_MAX;
    for (size_t i = 0; i < SAID; i++) {
        const struct said *said = &t->strangers->said[i];
        bool same = said->stranger == stranger && said->number == number;
        if (same && said->times > 0 && said->after < lowest) lowest = said->after;
    }
    return lowest == UINT64_MAX ? 0 : lowest; /* forgotten */
}

static void remember(struct torture *t, const struct stranger *s, const struct trib_msg *msg,
                     const struct trib_blob *blob) {
    struct strangers *all = t->strangers;
    uint32_t crc = blob != NULL ? trib_kernels()->crc32c(0, trib_blob_data(blob), trib_blob_size(blob))
                                : (uint32_t)msg->payload_crc;
    size_t me = (size_t)(s - all->strangers);
    struct said *said = &all->said[all->said_count % SAID];
    for (size_t i = 0; i < SAID; i++) {
        struct said *other = &all->said[i];
        if (other->times > 0 && other->stranger == me && other->incarnation == s->incarnation &&
            other->number == msg->number && other->crc == crc)
            said = other;
    }
    if (said == &all->said[all->said_count % SAID] &&
        (said->times == 0 || said->number != msg->number || said->crc != crc)) {
        *said = (struct said){.stranger = me,
                              .incarnation = s->incarnation,
                              .number = msg->number,
                              .after = msg->after,
                              .crc = crc};
        all->said_count++;
    }
    if (msg->after < said->after) said->after = msg->after;
    said->times++;
}

/* An ACK answers what was judged, and nothing else under its number. */
static void check_answer(struct torture *t, size_t index, size_t from, const struct trib_msg *msg) {
    const struct stranger *s = &t->strangers->strangers[index];
    uint32_t crc;
    bool known = false;
    if (msg->session != s->session || from != s->target ||
        !observer_judged(t, from, t->drawn.nodes + index, s->incarnation, msg->number, &crc))
        return;
    for (size_t i = 0; i < SAID; i++) {
        struct said *said = &t->strangers->said[i];
        if (said->times == 0 || said->stranger != index || said->incarnation != s->incarnation ||
            said->number != msg->number)
            continue;
        known = true;
        if (said->crc == crc && ++said->answers <= said->times) return;
    }
    if (known)
        violate(t, "%s acknowledged another content of number %" PRIu64 " than it had judged",
                federation_name(t->fed, from), msg->number);
}

void stranger_hears(struct torture *t, size_t index, size_t from, const struct trib_action *action) {
    struct stranger *s = &t->strangers->strangers[index % STRANGERS];
    struct trib_msg msg;
    if (trib_msg_decode(action->frame, action->frame_bytes, &msg, NULL, NULL) != TRIB_OK) return;
    if (msg.type == TRIB_ACK) check_answer(t, index % STRANGERS, from, &msg);
    if (msg.type == TRIB_WELCOME) {
        s->session = msg.session;
        s->target = from;
        s->next = msg.last_number + 1;
    } else if (msg.type == TRIB_MODEL && msg.session == s->session) {
        s->version = msg.to_version;
        s->knows_version = true;
    }
}

/* ---- what they do ---- */

static void say_bytes(struct torture *t, struct stranger *s, const void *frame, size_t bytes,
                      struct trib_blob *payload) {
    trib_child_route route = (trib_child_route)(t->drawn.nodes + (size_t)(s - t->strangers->strangers)) << 32;
    if (federation_up(t->fed, s->target))
        federation_inject(t->fed, s->target, route, s->name, frame, bytes, payload);
}

static void say(struct torture *t, struct stranger *s, const struct trib_msg *msg,
                struct trib_blob *payload) {
    struct trib_buf buf;
    trib_buf_init(&buf, 0);
    trib_msg_encode(msg, &buf);
    say_bytes(t, s, buf.data, buf.size, payload);
    trib_buf_release(&buf);
}

static void join(struct torture *t, struct stranger *s) {
    static const char *const names[] = {"device-1", "edge-1", "mallory-9"}; /* its key says who it is */
    const char *name = names[pick(&t->rng, 3)];
    if (s->incarnation == 0 || chance(&t->rng, 0.3)) {
        s->incarnation = trib_rng_u64(&t->rng) | 1;
        s->next = 1;
    }
    s->target = pick(&t->rng, t->drawn.edges + 1);
    s->session = 0;
    s->knows_version = false;
    struct trib_msg msg = {.type = TRIB_HELLO};
    trib_msg_set(&msg, NAME, name, ((struct trib_text){name, strlen(name)}));
    trib_msg_set(&msg, INCARNATION, incarnation, s->incarnation);
    trib_msg_set(&msg, NEXT_NUMBER, next_number, s->next);
    trib_msg_set(&msg, PROTOCOL_MIN, protocol_min, TRIB_PROTOCOL_OLDEST);
    trib_msg_set(&msg, PROTOCOL_MAX, protocol_max, TRIB_PROTOCOL_OLDEST);
    trib_msg_set(&msg, KIND, kind, chance(&t->rng, 0.5) ? TRIB_CHILD_DEVICE : TRIB_CHILD_EDGE);
    say(t, s, &msg, NULL);
}

static void ask(struct torture *t, struct stranger *s) {
    struct trib_msg msg = {.type = TRIB_PULL};
    trib_msg_set(&msg, SESSION, session, s->session);
    trib_msg_set(&msg, CREDIT, credit, 1u << 20);
    say(t, s, &msg, NULL);
}

static struct trib_blob *forged_values(struct torture *t) {
    size_t n = t->drawn.parameters, kind = pick(&t->rng, 6);
    struct trib_blob *blob = trib_blob_new(kind == 0 ? pick(&t->rng, 40) + 1 : n * sizeof(float));
    if (blob == NULL) abort();
    uint8_t *data = trib_blob_mutable(blob);
    for (size_t i = 0; i + sizeof(float) <= trib_blob_size(blob); i += sizeof(float)) {
        float value = kind == 1 ? NAN : kind == 2 ? INFINITY : (float)pick(&t->rng, 9) - 4.0f;
        memcpy(data + i, &value, sizeof value);
    }
    return blob;
}

static void push(struct torture *t, struct stranger *s, uint64_t session) {
    struct trib_blob *blob = forged_values(t);
    struct trib_msg msg = {.type = TRIB_PUSH};
    uint64_t number = chance(&t->rng, 0.6) ? s->next++ : trib_rng_below(&t->rng, s->next + 4);
    bool huge = chance(&t->rng, 0.1);
    trib_msg_set(&msg, SESSION, session, session);
    trib_msg_set(&msg, NUMBER, number, number);
    if (chance(&t->rng, 0.4)) trib_msg_set(&msg, AFTER, after, trib_rng_below(&t->rng, number + 2));
    trib_msg_set(&msg, BASE_VERSION, base_version,
                 chance(&t->rng, 0.8) ? s->version : trib_rng_below(&t->rng, 40));
    trib_msg_set(&msg, SAMPLES, samples, huge ? UINT64_MAX : 1 + trib_rng_below(&t->rng, 100));
    trib_msg_set(&msg, WEIGHT, weight, huge ? UINT64_MAX : 1 + trib_rng_below(&t->rng, 100));
    trib_msg_set(&msg, STEPS, steps, chance(&t->rng, 0.1) ? (float)NAN : 1.0f);
    if (chance(&t->rng, 0.1)) { /* an offer that is never kept */
        trib_msg_set(&msg, PAYLOAD_BYTES, payload_bytes, 1 + trib_rng_below(&t->rng, 1u << 20));
        trib_msg_set(&msg, PAYLOAD_CRC, payload_crc, 1);
        trib_blob_unref(&blob);
    }
    remember(t, s, &msg, blob); /* under whatever session: it may be right where it arrives */
    say(t, s, &msg, blob);
    trib_blob_unref(&blob);
}

static void say_again(struct torture *t, struct stranger *s) {
    size_t kept = t->strangers->count < KEPT ? t->strangers->count : KEPT;
    if (kept == 0) return;
    const struct overheard *heard = &t->strangers->heard[pick(&t->rng, kept)];
    s->target = federation_parent(t->fed, heard->from);
    if (chance(&t->rng, 0.4)) { /* from its own connection */
        say_bytes(t, s, heard->frame, heard->frame_bytes, heard->payload);
    } else if (federation_up(t->fed,
                             s->target)) { /* late, on the connection that it was said on, or its next one */
        federation_inject(t->fed, s->target, federation_route(t->fed, heard->from),
                          federation_name(t->fed, heard->from), heard->frame, heard->frame_bytes,
                          heard->payload);
    }
}

static void babble(struct torture *t, struct stranger *s) {
    uint8_t bytes[200] = {'T', 'R', 'I', 'B', TRIB_PROTOCOL_OLDEST};
    size_t count = pick(&t->rng, sizeof bytes);
    for (size_t i = 5; i < count; i++) bytes[i] = (uint8_t)trib_rng_u64(&t->rng);
    if (chance(&t->rng, 0.2)) bytes[0] = 0;
    say_bytes(t, s, bytes, count, NULL);
}

void stranger_acts(struct torture *t) {
    struct stranger *s = &t->strangers->strangers[pick(&t->rng, STRANGERS)];
    const struct overheard *heard = &t->strangers->heard[pick(&t->rng, KEPT)];
    size_t turns = 1 + pick(&t->rng, 6);
    for (size_t i = 0; i < turns && !t->violated; i++) {
        size_t what = pick(&t->rng, 8);
        if (what == 0 || s->session == 0)
            join(t, s);
        else if (what == 1 || !s->knows_version)
            ask(t, s);
        else if (what < 4)
            push(t, s, s->session);
        else if (what == 4)
            push(t, s, heard->session);
        else if (what == 5)
            babble(t, s);
        else
            say_again(t, s);
    }
}
