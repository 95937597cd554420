/* What nodes say: it must be durable where it is said, and true. */
#include "tests/torture/observer_internal.h"

#include "shared/kernels/kernels.h"

#include <inttypes.h>
#include <string.h>

const struct session *observer_session(const struct observer *o, size_t parent, size_t child,
                                       uint64_t number) {
    for (size_t i = o->session_count; i-- > 0;) {
        const struct session *s = &o->sessions[i];
        if (s->number == number && s->parent == parent && s->child == child) return s;
    }
    return NULL;
}

/* WELCOME does not say of which incarnation; by the time it leaves there may be a newer one. */
static bool has_judged(const struct shadow_child *child, uint64_t number) {
    for (size_t i = 0; i < child->count; i++)
        if (child->judged[i].number == number) return true;
    return false;
}

static void welcomed(struct torture *t, size_t from, size_t to, const struct trib_msg *msg) {
    struct observer *o = t->observer;
    const char *name = federation_name(t->fed, to);
    const struct trib_peer *peer = trib_state_peer(federation_state(t->fed, from), name, strlen(name));
    if (peer == NULL) return;
    o->sessions = observer_grown(o->sessions, &o->session_capacity, o->session_count, sizeof *o->sessions);
    o->sessions[o->session_count++] = (struct session){.number = msg->session,
                                                       .incarnation = peer->incarnation,
                                                       .lineage = o->watched[from].lineage,
                                                       .parent = from,
                                                       .child = to};
    const struct shadow_child *c = &o->watched[from].shadow.children[to];
    if (!c->known)
        violate(t, "%s welcomed %s before it had written who that is", federation_name(t->fed, from), name);
    if (msg->last_number > 0 && !has_judged(c, msg->last_number))
        violate(t, "%s told %s of number %" PRIu64 ", which it does not durably have",
                federation_name(t->fed, from), name, msg->last_number);
}

static void acknowledged(struct torture *t, size_t from, size_t to, const struct trib_msg *msg) {
    struct observer *o = t->observer;
    const struct session *s = observer_session(o, from, to, msg->session);
    if (s == NULL || s->lineage != o->watched[from].lineage) return;
    const struct judged *judged = shadow_judged(&o->watched[from].shadow, to, s->incarnation, msg->number);
    if (judged == NULL || judged->verdict != msg->verdict)
        violate(t, "%s told %s a verdict on %" PRIu64 " that it has not committed",
                federation_name(t->fed, from), federation_name(t->fed, to), msg->number);
}

static void served(struct torture *t, size_t from, size_t to, const struct trib_msg *msg) {
    struct observer *o = t->observer;
    const struct session *s = observer_session(o, from, to, msg->session);
    if (s == NULL || s->lineage != o->watched[from].lineage) return;
    const struct shadow *shadow = &o->watched[from].shadow;
    if (!shadow_published(shadow, msg->to_version, msg->to_digest))
        violate(t, "%s gave %s a version %" PRIu64 " that it has not published",
                federation_name(t->fed, from), federation_name(t->fed, to), msg->to_version);
    bool edge = federation_role(t->fed, to) == TRIB_ROLE_EDGE;
    const struct shadow_child *c = &shadow->children[to];
    for (size_t i = 0; i < c->count; i++) {
        const struct judged *j = &c->judged[i];
        if (j->incarnation != s->incarnation || j->number > msg->applied) continue;
        if (j->fate == FATE_PENDING || (edge && j->fate == FATE_COMMITTED && j->version > msg->to_version))
            violate(t, "%s told %s that its update %" PRIu64 " is in version %" PRIu64 ", it is not",
                    federation_name(t->fed, from), federation_name(t->fed, to), j->number, msg->to_version);
    }
}

static void pushed(struct torture *t, size_t from, const struct trib_msg *msg,
                   const struct trib_blob *payload) {
    struct observer *o = t->observer;
    const struct shadow *shadow = &o->watched[from].shadow;
    for (size_t i = 0; i < shadow->held_count; i++) {
        const struct parcel *parcel = &o->parcels[shadow->held[i].parcel];
        if (parcel->number != msg->number) continue;
        uint32_t crc = payload != NULL
                           ? trib_kernels()->crc32c(0, trib_blob_data(payload), trib_blob_size(payload))
                           : (uint32_t)msg->payload_crc;
        if (crc != parcel->crc)
            violate(t, "%s pushed other bytes under number %" PRIu64 " than it had written",
                    federation_name(t->fed, from), msg->number);
        return;
    }
    /* Voided while it waited for an older record: nobody who hears it now takes it. */
    if (msg->number < shadow->next_number) return;
    violate(t, "%s pushed number %" PRIu64 " before it had written it", federation_name(t->fed, from),
            msg->number);
}

bool observer_judged(const struct torture *t, size_t node, size_t child, uint64_t incarnation,
                     uint64_t number, uint32_t *crc) {
    const struct judged *judged =
        shadow_judged(&t->observer->watched[node].shadow, child, incarnation, number);
    if (judged != NULL) *crc = judged->crc;
    return judged != NULL;
}

void observer_sent(struct torture *t, size_t from, size_t to, const struct trib_action *action) {
    struct trib_msg msg;
    struct trib_error err;
    if (t->violated || to >= t->observer->nodes) return;
    if (trib_msg_decode(action->frame, action->frame_bytes, &msg, NULL, &err) != TRIB_OK) {
        violate(t, "%s sent what is no message: %s", federation_name(t->fed, from), err.text);
        return;
    }
    switch (msg.type) {
    case TRIB_WELCOME: welcomed(t, from, to, &msg); break;
    case TRIB_ACK: acknowledged(t, from, to, &msg); break;
    case TRIB_MODEL: served(t, from, to, &msg); break;
    case TRIB_PUSH: pushed(t, from, &msg, action->payload); break;
    default: break;
    }
}
