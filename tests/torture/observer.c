#include "tests/torture/observer_internal.h"

#include "shared/base/alloc.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void *observer_grown(void *items, size_t *capacity, size_t count, size_t item_bytes) {
    if (count < *capacity) return items;
    *capacity = *capacity > 0 ? *capacity * 2 : 32;
    items = trib_realloc(items, *capacity * item_bytes);
    if (items == NULL) abort();
    return items;
}

/* ---- the world of the shadows ---- */

static size_t find_node(void *ctx, const struct trib_text *name) {
    const struct observer *o = ctx;
    for (size_t i = 0; i < o->nodes; i++) {
        const char *other = federation_name(o->t->fed, i);
        if (strlen(other) == name->size && memcmp(other, name->data, name->size) == 0) return i;
    }
    size_t last = name->size > 0 ? (size_t)(name->data[name->size - 1] - '0') : 0;
    return o->nodes + (last < STRANGERS ? last : 0);
}

static size_t make_parcel(void *ctx, struct parcel *made) {
    struct observer *o = ctx;
    o->parcels = observer_grown(o->parcels, &o->parcel_capacity, o->parcel_count, sizeof *o->parcels);
    o->parcels[o->parcel_count] = *made;
    return o->parcel_count++;
}

static uint32_t make_update(void *ctx, size_t node, const struct trib_record *record) {
    struct observer *o = ctx;
    (void)record;
    o->updates = observer_grown(o->updates, &o->update_capacity, o->update_count, sizeof *o->updates);
    o->updates[o->update_count] = (struct update){.node = node};
    return (uint32_t)o->update_count++;
}

static struct parcel *get_parcel(void *ctx, size_t parcel) {
    return &((struct observer *)ctx)->parcels[parcel];
}

/* What a stranger pushed is known when it is accepted: it has no records of its own. */
static size_t strange_parcel(struct observer *o, size_t child, const struct trib_record *record) {
    struct parcel made = {.node = child,
                          .incarnation = record->incarnation,
                          .number = record->number,
                          .samples = record->samples,
                          .crc = (uint32_t)record->payload_crc};
    ids_add(&made.ids, make_update(o, child, record));
    size_t n = o->watched[FED_CLOUD].shadow.parameters;
    if (n > 0 && trib_blob_size(record->payload) == n * sizeof(float)) {
        made.sum = trib_alloc_array(n, sizeof *made.sum);
        if (made.sum == NULL) abort();
        for (size_t p = 0; p < n; p++) {
            float value;
            memcpy(&value, trib_blob_data(record->payload) + p * sizeof value, sizeof value);
            made.sum[p] = (double)value;
        }
    }
    return make_parcel(o, &made);
}

static size_t find_parcel(void *ctx, size_t child, const struct trib_record *record) {
    struct observer *o = ctx;
    if (child >= o->nodes)
        return record->verdict == TRIB_ACCEPTED ? strange_parcel(o, child, record) : SIZE_MAX;
    for (size_t i = o->parcel_count; i-- > 0;) {
        const struct parcel *p = &o->parcels[i];
        if (p->node == child && p->incarnation == record->incarnation && p->number == record->number &&
            p->crc == (uint32_t)record->payload_crc && p->samples == record->samples)
            return i;
    }
    return SIZE_MAX;
}

static void violated(void *ctx, const char *what, uint64_t number) {
    const struct observer *o = ctx;
    violate(o->t, "%s: %s (%" PRIu64 ")", federation_name(o->t->fed, o->now), what, number);
}

/* Of participants it is what they held; strangers remember what they have said. */
static uint64_t after(void *ctx, size_t child, const struct trib_record *record) {
    const struct observer *o = ctx;
    if (child < o->nodes) return 0;
    return stranger_said_after(o->t, child - o->nodes, record->number);
}

static void accepted(void *ctx, const struct parcel *parcel) {
    struct observer *o = ctx;
    for (size_t i = 0; i < parcel->ids.count; i++) {
        struct update *u = &o->updates[parcel->ids.at[i]];
        u->accepted = true;
        if (o->now == FED_CLOUD && u->abandoned && o->t->disasters == 0)
            violate(o->t, "update %u was below a rollback and came up", parcel->ids.at[i]);
    }
}

static void abandon(struct observer *o, const struct ids *ids) {
    for (size_t i = 0; i < ids->count; i++) o->updates[ids->at[i]].abandoned = true;
}

static void rolled_back(void *ctx);

/* ---- making ---- */

static bool is_immediate(const struct torture *t, size_t node) {
    const char *key = node == FED_CLOUD ? "cloud.rule: fedasync" : "edge.rule: fedasync";
    return strstr(t->drawn.plan, key) != NULL;
}

static void new_shadow(struct observer *o, size_t node, struct shadow *shadow) {
    const struct drawn *d = &o->t->drawn;
    shadow_init(shadow, o->nodes + STRANGERS, d->f32 && d->linear && d->parameters <= 64 ? d->parameters : 0);
    shadow->immediate = is_immediate(o->t, node);
}

struct observer *observer_new(struct torture *t) {
    struct observer *o = trib_alloc(sizeof *o);
    if (o == NULL) abort();
    o->t = t;
    o->nodes = t->drawn.nodes;
    o->world = (struct shadow_world){.ctx = o,
                                     .find = find_node,
                                     .parcel = find_parcel,
                                     .make = make_parcel,
                                     .update = make_update,
                                     .get = get_parcel,
                                     .violate = violated,
                                     .after = after,
                                     .rolled_back = rolled_back,
                                     .accepted = accepted};
    o->watched = trib_alloc_array(o->nodes, sizeof *o->watched);
    if (o->watched == NULL) abort();
    for (size_t i = 0; i < o->nodes; i++) new_shadow(o, i, &o->watched[i].shadow);
    return o;
}

void observer_free(struct observer **observer) {
    struct observer *o = *observer;
    if (o == NULL) return;
    for (size_t i = 0; i < o->nodes; i++) {
        shadow_release(&o->watched[i].shadow);
        shadow_release(&o->watched[i].backup);
    }
    for (size_t i = 0; i < o->parcel_count; i++) {
        ids_release(&o->parcels[i].ids);
        trib_free(o->parcels[i].sum);
    }
    for (size_t i = 0; i < MODELS; i++) trib_blob_unref(&o->models[i].parameters);
    trib_free(o->watched);
    trib_free(o->parcels);
    trib_free(o->updates);
    trib_free(o->sessions);
    trib_free(o->there);
    trib_free(o->live);
    trib_free(o);
    *observer = NULL;
}

uint64_t observer_in_model(const struct torture *t) {
    return t->observer->watched[FED_CLOUD].shadow.own.count;
}

uint64_t observer_updates(const struct torture *t) {
    return t->observer->update_count;
}

/* ---- where every update is ---- */

static void put(uint8_t *places, const struct ids *ids) {
    for (size_t i = 0; i < ids->count; i++)
        if (places[ids->at[i]] < 250) places[ids->at[i]]++;
}

static bool parent_has(const struct observer *o, const struct parcel *parcel) {
    const struct shadow *parent = &o->watched[federation_parent(o->t->fed, parcel->node)].shadow;
    const struct judged *judged = shadow_judged(parent, parcel->node, parcel->incarnation, parcel->number);
    return judged != NULL && judged->verdict == TRIB_ACCEPTED;
}

/* What edges have not brought up yet was built on versions that are no more. */
static void rolled_back(void *ctx) {
    struct observer *o = ctx;
    o->t->rollbacks++;
    for (size_t node = 1; node <= o->t->drawn.edges; node++) {
        const struct shadow *s = &o->watched[node].shadow;
        abandon(o, &s->own);
        for (size_t i = 0; i < s->pending_count; i++) {
            const struct judged *j = &s->children[s->pending[i].child].judged[s->pending[i].judged];
            abandon(o, &o->parcels[j->parcel].ids);
        }
        for (size_t i = 0; i < s->held_count; i++)
            if (!parent_has(o, &o->parcels[s->held[i].parcel]))
                abandon(o, &o->parcels[s->held[i].parcel].ids);
    }
}

static void count_parcel(struct observer *o, size_t index) {
    const struct parcel *parcel = &o->parcels[index];
    put(o->there, &parcel->ids);
    if (!parent_has(o, parcel)) put(o->live, &parcel->ids);
}

static void count_places(struct observer *o) {
    if (o->place_capacity < o->update_count) {
        o->place_capacity = o->update_capacity;
        o->there = trib_realloc(o->there, o->place_capacity);
        o->live = trib_realloc(o->live, o->place_capacity);
        if (o->there == NULL || o->live == NULL) abort();
    }
    if (o->update_count == 0) return;
    memset(o->there, 0, o->update_count);
    memset(o->live, 0, o->update_count);
    for (size_t node = 0; node <= o->t->drawn.edges; node++) {
        const struct shadow *s = &o->watched[node].shadow;
        const struct ids *sets[] = {&s->own, &s->voided};
        for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
            put(o->there, sets[i]);
            put(o->live, sets[i]);
        }
        for (size_t i = 0; i < s->pending_count; i++) {
            const struct judged *j = &s->children[s->pending[i].child].judged[s->pending[i].judged];
            put(o->there, &o->parcels[j->parcel].ids);
            put(o->live, &o->parcels[j->parcel].ids);
        }
        for (size_t i = 0; i < s->held_count; i++) count_parcel(o, s->held[i].parcel);
        for (size_t i = 0; i < s->dropped.count; i++) count_parcel(o, s->dropped.at[i]);
        for (size_t i = 0; i < s->refused.count; i++) put(o->there, &o->parcels[s->refused.at[i]].ids);
    }
}

static void check_places(struct observer *o) {
    count_places(o);
    for (size_t id = 0; id < o->update_count; id++) {
        const struct update *u = &o->updates[id];
        if (u->accepted && o->there[id] == 0 && !u->lost_is_fine)
            violate(o->t, "update %zu was accepted and is lost", id);
        if (o->live[id] > 1 && !u->two_is_fine)
            violate(o->t, "update %zu is in %u places at once", id, o->live[id]);
    }
}

/* Ids in any part of a node. */
static void put_all(const struct observer *o, const struct shadow *s, uint8_t *places) {
    put(places, &s->own);
    put(places, &s->voided);
    for (size_t i = 0; i < s->pending_count; i++) {
        const struct judged *j = &s->children[s->pending[i].child].judged[s->pending[i].judged];
        put(places, &o->parcels[j->parcel].ids);
    }
    for (size_t i = 0; i < s->held_count; i++) put(places, &o->parcels[s->held[i].parcel].ids);
    for (size_t i = 0; i < s->dropped.count; i++) put(places, &o->parcels[s->dropped.at[i]].ids);
    for (size_t i = 0; i < s->refused.count; i++) put(places, &o->parcels[s->refused.at[i]].ids);
}

/* A disk was lost, or an old one came back: `lost` is what was on it. What it alone answered for may be gone,
 * now or when a child hears of versions that are gone too; what it holds again may be elsewhere. Twice in a
 * model is never excused: see the shadows. */
static void excuse(struct observer *o, const struct shadow *lost, const struct shadow *fresh) {
    count_places(o);
    if (o->update_count > 0) {
        uint8_t *was = trib_alloc(o->update_count), *is = trib_alloc(o->update_count);
        if (was == NULL || is == NULL) abort();
        put_all(o, lost, was);
        put_all(o, fresh, is);
        for (size_t id = 0; id < o->update_count; id++) {
            if (was[id] > 0 && is[id] == 0) o->updates[id].lost_is_fine = true;
            bool forgotten = id < lost->seen_bytes && lost->seen[id] != 0 &&
                             (id >= fresh->seen_bytes || fresh->seen[id] == 0);
            if (is[id] > 0 || forgotten || o->live[id] > 1) o->updates[id].two_is_fine = true;
        }
        trib_free(was);
        trib_free(is);
    }
    o->t->disasters++;
}

void observer_backup(struct torture *t, size_t node) {
    struct watched *w = &t->observer->watched[node];
    shadow_release(&w->backup);
    shadow_copy(&w->backup, &w->shadow);
    w->has_backup = true;
}

/* `fresh` is taken over. */
static void replace(struct torture *t, size_t node, struct shadow *fresh) {
    struct watched *w = &t->observer->watched[node];
    struct shadow lost = w->shadow;
    w->shadow = *fresh;
    w->lineage++;
    w->digest_known = false;
    w->compared = 0;
    excuse(t->observer, &lost, &w->shadow);
    shadow_release(&lost);
}

void observer_restored(struct torture *t, size_t node) {
    struct shadow fresh;
    shadow_copy(&fresh, &t->observer->watched[node].backup);
    replace(t, node, &fresh);
}

void observer_wiped(struct torture *t, size_t node) {
    struct shadow fresh;
    new_shadow(t->observer, node, &fresh);
    replace(t, node, &fresh);
}

void observer_forgotten(struct torture *t, size_t node) {
    struct watched *w = &t->observer->watched[node];
    shadow_release(&w->shadow);
    new_shadow(t->observer, node, &w->shadow);
    w->compared = 0;
}

/* ---- what is durable ---- */

void observer_durable(struct torture *t, size_t node, const struct trib_record *const *records,
                      size_t count) {
    struct observer *o = t->observer;
    if (t->violated) return;
    o->now = node;
    for (size_t i = 0; i < count; i++) {
        if (t->logs)
            tell(t,
                 "%s #%" PRIu64 " %s number=%" PRIu64 " version=%" PRIu64 " verdict=%" PRIu64
                 " reason=%" PRIu64 " peer=%.*s",
                 federation_name(t->fed, node), records[i]->position, trib_record_name(records[i]->kind),
                 records[i]->number, records[i]->version, records[i]->verdict, records[i]->reason,
                 (int)records[i]->peer.size, records[i]->peer.data);
        shadow_apply(&o->watched[node].shadow, &o->world, node, federation_role(t->fed, node), records[i]);
    }
    check_places(o);
}

/* ---- what nodes are ---- */

static void compare(struct torture *t, size_t node) {
    struct observer *o = t->observer;
    struct watched *w = &o->watched[node];
    const struct trib_state *state = federation_state(t->fed, node);
    if (state->position != w->shadow.position || w->compared == state->position) return;
    w->compared = state->position;
    const char *differs = shadow_differs(&w->shadow, state, federation_role(t->fed, node), &o->world,
                                         t->drawn.exact ? 0.0 : 1e-4);
    if (differs != NULL)
        violate(t, "%s at position %" PRIu64 ": %s", federation_name(t->fed, node), state->position, differs);
}

void observer_stopping(struct torture *t, size_t node) {
    struct watched *w = &t->observer->watched[node];
    const struct trib_state *state = federation_state(t->fed, node);
    if (state == NULL || federation_role(t->fed, node) == TRIB_ROLE_DEVICE) return;
    w->digest_position = state->position;
    w->digest_known = trib_state_digest(state, w->digest) == TRIB_OK;
}

void observer_opened(struct torture *t, size_t node) {
    struct watched *w = &t->observer->watched[node];
    const struct trib_state *state = federation_state(t->fed, node);
    if (t->violated) return;
    if (state->position != w->shadow.position) {
        violate(t, "%s came back at position %" PRIu64 ", its disk had said %" PRIu64,
                federation_name(t->fed, node), state->position, w->shadow.position);
        return;
    }
    uint8_t digest[TRIB_DIGEST_BYTES];
    if (w->digest_known && w->digest_position == state->position &&
        trib_state_digest(state, digest) == TRIB_OK && memcmp(digest, w->digest, sizeof digest) != 0)
        violate(t, "%s came back at position %" PRIu64 " as another state", federation_name(t->fed, node),
                state->position);
    w->compared = 0;
    compare(t, node);
    /* What its disk gave back may be of another life of its parent. */
    w->model_version = state->parent_version;
    memcpy(w->model_chain, state->parent_chain, sizeof w->model_chain);
}

/* What a child holds of a version is what its parent published as that version. */
static void compare_model(struct torture *t, size_t node) {
    struct observer *o = t->observer;
    struct watched *w = &o->watched[node];
    const struct trib_state *child = federation_state(t->fed, node);
    size_t index = federation_parent(t->fed, node);
    const struct trib_state *parent = federation_state(t->fed, index);
    if (parent == NULL || !child->has_model ||
        (child->parent_version == w->model_version &&
         memcmp(w->model_chain, child->parent_chain, sizeof w->model_chain) == 0))
        return;
    w->model_version = child->parent_version;
    memcpy(w->model_chain, child->parent_chain, sizeof w->model_chain);
    uint64_t number = trib_participant_status(federation_participant(t->fed, node)).session;
    const struct session *s = observer_session(o, index, node, number);
    const struct trib_base *base = trib_state_base(parent, child->parent_version);
    if (s == NULL || s->lineage != o->watched[index].lineage || base == NULL ||
        child->parent_incarnation != parent->incarnation)
        return;
    if (memcmp(base->chain, child->parent_chain, sizeof base->chain) != 0)
        violate(t, "%s holds another version %" PRIu64 " than its parent published",
                federation_name(t->fed, node), child->parent_version);
    else if (child->parent_version == parent->published &&
             memcmp(child->G, parent->P, trib_state_parameters(child) * sizeof *child->G) != 0)
        violate(t, "%s's vector is not its parent's at version %" PRIu64, federation_name(t->fed, node),
                child->parent_version);
}

static void check_memory(struct torture *t, size_t node) {
    struct trib_aggregator *a = federation_aggregator(t->fed, node);
    if (a == NULL) return;
    uint64_t most = t->drawn.budget_bytes > 0 ? t->drawn.budget_bytes : 8u << 20;
    uint64_t one = t->drawn.parameters * sizeof(float) * 2 + 64; /* one is always let in */
    uint64_t bytes = trib_aggregator_status(a).in_flight_bytes;
    if (bytes > most && bytes > one)
        violate(t, "%s has %" PRIu64 " bytes in flight, its budget is %" PRIu64,
                federation_name(t->fed, node), bytes, most);
}

static void keep_model(struct torture *t) {
    struct observer *o = t->observer;
    const struct watched *w = &o->watched[FED_CLOUD];
    const struct trib_state *state = federation_state(t->fed, FED_CLOUD);
    size_t last = (o->model_count + MODELS - 1) % MODELS,
           bytes = trib_state_parameters(state) * sizeof(float);
    if (!state->started || state->pending_count > 0 || state->position != w->shadow.position) return;
    if (o->model_count > 0 && o->models[last].version == state->version &&
        o->models[last].lineage == w->lineage)
        return;
    size_t at = o->model_count++ % MODELS;
    trib_blob_unref(&o->models[at].parameters);
    o->models[at].version = state->version;
    o->models[at].lineage = w->lineage;
    o->models[at].parameters = trib_blob_new(bytes);
    if (o->models[at].parameters == NULL) abort();
    memcpy(trib_blob_mutable(o->models[at].parameters), state->own, bytes);
}

struct trib_blob *observer_earlier_model(const struct torture *t, size_t which, uint64_t *version) {
    const struct observer *o = t->observer;
    size_t at = which % MODELS;
    const struct shadow *s = &o->watched[FED_CLOUD].shadow;
    *version = o->models[at].version;
    bool good = o->models[at].lineage == o->watched[FED_CLOUD].lineage && *version < s->version;
    return good ? o->models[at].parameters : NULL;
}

void observer_stepped(struct torture *t, size_t node) {
    if (t->violated) return;
    compare(t, node);
    if (node == FED_CLOUD && t->drawn.weight[FAULT_ROLLBACK] > 0) keep_model(t);
    check_memory(t, node);
    if (node != FED_CLOUD) compare_model(t, node);
}

/* Where rules take everything, and no disk was lost, everything counts. */
void observer_final(struct torture *t) {
    const struct observer *o = t->observer;
    if (t->violated || !t->drawn.settled || t->disasters > 0 || t->rollbacks > 0) return;
    for (size_t node = 0; node <= t->drawn.edges; node++) {
        const struct shadow *s = &o->watched[node].shadow;
        if (s->voided.count > 0 || s->dropped.count > 0)
            violate(t, "%s has voided %zu updates for no reason", federation_name(t->fed, node),
                    s->voided.count + s->dropped.count);
        for (size_t child = 0; child < o->nodes; child++)
            for (size_t i = 0; i < s->children[child].count; i++)
                if (s->children[child].judged[i].verdict == TRIB_REFUSED)
                    violate(t, "%s has refused an update of %s for no reason", federation_name(t->fed, node),
                            federation_name(t->fed, child));
    }
}
