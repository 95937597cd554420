#include "tests/torture/shadow.h"

#include "shared/base/alloc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory ---- */

static void *grown(void *items, size_t *capacity, size_t count, size_t item_bytes) {
    if (count < *capacity) return items;
    *capacity = *capacity > 0 ? *capacity * 2 : 8;
    items = trib_realloc(items, *capacity * item_bytes);
    if (items == NULL) abort();
    return items;
}

static void *copied(const void *items, size_t bytes) {
    if (bytes == 0) return NULL;
    void *copy = trib_alloc(bytes);
    if (copy == NULL) abort();
    memcpy(copy, items, bytes);
    return copy;
}

void ids_add(struct ids *ids, uint32_t id) {
    ids->at = grown(ids->at, &ids->capacity, ids->count, sizeof *ids->at);
    ids->at[ids->count++] = id;
}

void ids_append(struct ids *ids, const struct ids *more) {
    for (size_t i = 0; i < more->count; i++) ids_add(ids, more->at[i]);
}

void ids_copy(struct ids *to, const struct ids *from) {
    *to = (struct ids){.count = from->count, .capacity = from->count};
    to->at = copied(from->at, from->count * sizeof *from->at);
}

void ids_release(struct ids *ids) {
    trib_free(ids->at);
    *ids = (struct ids){0};
}

void shadow_init(struct shadow *shadow, size_t children, size_t parameters) {
    *shadow = (struct shadow){.child_count = children, .parameters = parameters};
    shadow->children = trib_alloc_array(children, sizeof *shadow->children);
    if (parameters > 0) shadow->sum = trib_alloc_array(parameters, sizeof *shadow->sum);
    if (shadow->children == NULL || (parameters > 0 && shadow->sum == NULL)) abort();
}

static void forget_versions(struct shadow *shadow) {
    for (size_t i = 0; i < shadow->version_count; i++) trib_free(shadow->versions[i].sum);
    shadow->version_count = 0;
}

void shadow_release(struct shadow *shadow) {
    forget_versions(shadow);
    trib_free(shadow->versions);
    for (size_t i = 0; i < shadow->child_count; i++) trib_free(shadow->children[i].judged);
    trib_free(shadow->children);
    trib_free(shadow->sum);
    trib_free(shadow->pending);
    trib_free(shadow->bases);
    trib_free(shadow->seen);
    ids_release(&shadow->own);
    ids_release(&shadow->voided);
    ids_release(&shadow->refused);
    ids_release(&shadow->dropped);
    *shadow = (struct shadow){0};
}

void shadow_copy(struct shadow *to, const struct shadow *from) {
    *to = *from;
    ids_copy(&to->own, &from->own);
    ids_copy(&to->voided, &from->voided);
    ids_copy(&to->refused, &from->refused);
    ids_copy(&to->dropped, &from->dropped);
    to->sum = copied(from->sum, from->parameters * sizeof *from->sum);
    to->children = copied(from->children, from->child_count * sizeof *from->children);
    for (size_t i = 0; i < from->child_count; i++) {
        to->children[i].capacity = from->children[i].count;
        to->children[i].judged =
            copied(from->children[i].judged, from->children[i].count * sizeof(struct judged));
    }
    to->pending_capacity = from->pending_count;
    to->pending = copied(from->pending, from->pending_count * sizeof *from->pending);
    to->version_capacity = from->version_count;
    to->versions = copied(from->versions, from->version_count * sizeof *from->versions);
    for (size_t i = 0; i < from->version_count; i++)
        to->versions[i].sum = copied(from->versions[i].sum, from->parameters * sizeof *from->sum);
    to->base_capacity = from->base_count;
    to->bases = copied(from->bases, from->base_count * sizeof *from->bases);
    to->seen = copied(from->seen, from->seen_bytes);
}

/* ---- finding ---- */

static struct judged *find_judged(const struct shadow *shadow, size_t child, uint64_t incarnation,
                                  uint64_t number) {
    const struct shadow_child *c = &shadow->children[child];
    for (size_t i = c->count; i-- > 0;)
        if (c->judged[i].number == number && c->judged[i].incarnation == incarnation) return &c->judged[i];
    return NULL;
}

const struct judged *shadow_judged(const struct shadow *shadow, size_t child, uint64_t incarnation,
                                   uint64_t number) {
    return find_judged(shadow, child, incarnation, number);
}

bool shadow_published(const struct shadow *shadow, uint64_t version, const uint8_t chain[TRIB_DIGEST_BYTES]) {
    for (size_t i = shadow->base_count; i-- > 0;)
        if (shadow->bases[i].version == version &&
            memcmp(shadow->bases[i].chain, chain, TRIB_DIGEST_BYTES) == 0)
            return true;
    return false;
}

/* ---- what records do ---- */

static void clear_sum(struct shadow *s) {
    if (s->sum != NULL) memset(s->sum, 0, s->parameters * sizeof *s->sum);
    s->own.count = 0;
    s->own_updates = s->own_samples = 0;
}

/* The rule's buffer and U are void; with `held` the held forwards too. The cloud's model stays. */
static void void_all(struct shadow *s, const struct shadow_world *w, enum trib_role role, bool held) {
    s->version++;
    for (size_t i = 0; i < s->pending_count; i++) {
        struct judged *j = &s->children[s->pending[i].child].judged[s->pending[i].judged];
        j->fate = FATE_VOID;
        j->version = s->version;
        ids_append(&s->voided, &w->get(w->ctx, j->parcel)->ids);
    }
    s->pending_count = 0;
    if (role != TRIB_ROLE_CLOUD) {
        ids_append(&s->voided, &s->own);
        clear_sum(s);
    }
    s->fence = s->version;
    for (size_t i = 0; held && i < s->held_count; i++) ids_add(&s->dropped, (uint32_t)s->held[i].parcel);
    if (held) s->held_count = 0;
}

static void keep_version(struct shadow *s, enum trib_role role) {
    if (role != TRIB_ROLE_CLOUD || s->sum == NULL) return;
    s->versions = grown(s->versions, &s->version_capacity, s->version_count, sizeof *s->versions);
    s->versions[s->version_count++] =
        (struct shadow_version){.version = s->version, .sum = copied(s->sum, s->parameters * sizeof *s->sum)};
}

/* What came after the version that is current again stays counted, in versions that were abandoned. */
static void apply_rollback(struct shadow *s, const struct shadow_world *w, const struct trib_record *record) {
    void_all(s, w, TRIB_ROLE_CLOUD, true);
    if (record->version != s->version) w->violate(w->ctx, "a rollback made another version", record->version);
    for (size_t i = 0; i < s->version_count; i++)
        if (s->versions[i].version == record->from_version)
            memcpy(s->sum, s->versions[i].sum, s->parameters * sizeof *s->sum);
    keep_version(s, TRIB_ROLE_CLOUD);
    w->rolled_back(w->ctx);
}

static void apply_start(struct shadow *s, const struct shadow_world *w, enum trib_role role,
                        const struct trib_record *record) {
    void_all(s, w, role, true);
    s->run++; /* numbers of an older one are known no more; what was accepted is still not accepted again */
    for (size_t i = 0; i < s->child_count; i++) s->children[i].incarnation = s->children[i].last = 0;
    s->version = s->parent_version = s->fence = 0;
    s->has_model = false;
    if (trib_rec_has(record, INCARNATION)) {
        s->incarnation = record->incarnation;
        s->next_number = 1;
    }
    s->parent_incarnation = record->parent_incarnation;
    s->started = true;
    forget_versions(s);
    keep_version(s, role);
}

static void see(struct shadow *s, const struct shadow_world *w, const struct parcel *parcel) {
    for (size_t i = 0; i < parcel->ids.count; i++) {
        uint32_t id = parcel->ids.at[i];
        while (id >= s->seen_bytes) {
            size_t bytes = s->seen_bytes > 0 ? s->seen_bytes * 2 : 64;
            s->seen = trib_realloc(s->seen, bytes);
            if (s->seen == NULL) abort();
            memset(s->seen + s->seen_bytes, 0, bytes - s->seen_bytes);
            s->seen_bytes = bytes;
        }
        if (s->seen[id]) w->violate(w->ctx, "an update was accepted twice", id);
        s->seen[id] = 1;
    }
}

/* A buffer under a combiner holds one update of a child: the older one is void. */
static void replace_pending(struct shadow *s, const struct shadow_world *w, size_t child,
                            const struct trib_record *record) {
    size_t left = 0, replaced = 0;
    for (size_t i = 0; i < s->pending_count; i++) {
        struct judged *j = &s->children[s->pending[i].child].judged[s->pending[i].judged];
        if (s->pending[i].child != child || j->number != record->supersedes) {
            s->pending[left++] = s->pending[i];
            continue;
        }
        j->fate = FATE_VOID;
        j->version = s->version;
        ids_append(&s->voided, &w->get(w->ctx, j->parcel)->ids);
        replaced++;
    }
    s->pending_count = left;
    if (replaced != 1) w->violate(w->ctx, "what an update replaces is not in the buffer", record->supersedes);
}

static void apply_verdict(struct shadow *s, const struct shadow_world *w, const struct trib_record *record) {
    size_t child = w->find(w->ctx, &record->peer);
    struct shadow_child *c = &s->children[child];
    const struct judged *before = find_judged(s, child, record->incarnation, record->number);
    if (before != NULL && before->run == s->run)
        w->violate(w->ctx, "a number was judged twice", record->number);
    if (record->incarnation != c->incarnation || record->number <= c->last)
        w->violate(w->ctx, "an update of another incarnation, or out of order, was judged", record->number);
    if (w->after(w->ctx, child, record) > c->last)
        w->violate(w->ctx, "an update was judged before the one before it", record->number);
    bool accepted = record->verdict == TRIB_ACCEPTED;
    if (accepted && record->base_version < s->fence)
        w->violate(w->ctx, "an update was accepted whose base is below the fence", record->number);
    size_t made = w->parcel(w->ctx, child, record);
    struct judged judged = {.incarnation = record->incarnation,
                            .number = record->number,
                            .run = s->run,
                            .crc = (uint32_t)record->payload_crc,
                            .verdict = (uint8_t)record->verdict,
                            .fate = accepted ? FATE_PENDING : FATE_REFUSED,
                            .parcel = made,
                            .applied = (double)record->applied};
    if (accepted) {
        if (judged.parcel == SIZE_MAX) {
            w->violate(w->ctx, "an update was accepted that nobody durably made", record->number);
            return;
        }
        see(s, w, w->get(w->ctx, judged.parcel));
        w->accepted(w->ctx, w->get(w->ctx, judged.parcel));
        if (trib_rec_has(record, SUPERSEDES)) replace_pending(s, w, child, record);
        s->pending = grown(s->pending, &s->pending_capacity, s->pending_count, sizeof *s->pending);
        s->pending[s->pending_count].child = child;
        s->pending[s->pending_count++].judged = c->count;
    } else if (made != SIZE_MAX) {
        ids_add(&s->refused, (uint32_t)made);
    }
    c->judged = grown(c->judged, &c->capacity, c->count, sizeof *c->judged);
    c->judged[c->count++] = judged;
    c->last = record->number;
}

static void apply_commit(struct shadow *s, const struct shadow_world *w, enum trib_role role,
                         const struct trib_record *record) {
    s->version++;
    for (size_t i = 0; i < s->pending_count; i++) {
        struct judged *j = &s->children[s->pending[i].child].judged[s->pending[i].judged];
        const struct parcel *parcel = w->get(w->ctx, j->parcel);
        j->fate = FATE_COMMITTED;
        j->version = s->version;
        ids_append(&s->own, &parcel->ids);
        s->own_updates++;
        s->own_samples += parcel->samples;
        double scale = j->applied * (s->immediate ? 1.0 : (double)record->scale);
        for (size_t p = 0; s->sum != NULL && parcel->sum != NULL && p < s->parameters; p++)
            s->sum[p] += scale * parcel->sum[p];
    }
    s->pending_count = 0;
    keep_version(s, role);
}

static void apply_forward(struct shadow *s, const struct shadow_world *w, size_t node, enum trib_role role,
                          const struct trib_record *record) {
    struct parcel parcel = {.node = node,
                            .incarnation = s->incarnation,
                            .number = record->number,
                            .samples = record->samples,
                            .crc = (uint32_t)record->payload_crc};
    if (record->number != s->next_number)
        w->violate(w->ctx, "a number was left out or used again", record->number);
    if (role == TRIB_ROLE_DEVICE)
        ids_add(&parcel.ids, w->update(w->ctx, node, record));
    else
        ids_copy(&parcel.ids, &s->own);
    if (s->sum != NULL) {
        parcel.sum = copied(s->sum, s->parameters * sizeof *s->sum);
        const float *values = (const float *)(const void *)trib_blob_data(record->payload);
        for (size_t p = 0; role == TRIB_ROLE_DEVICE && p < s->parameters; p++)
            parcel.sum[p] = (double)values[p];
    }
    s->held[s->held_count++] = (struct shadow_held){.parcel = w->make(w->ctx, &parcel)};
    s->next_number++;
    if (role != TRIB_ROLE_DEVICE) clear_sum(s);
}

static void drop_held(struct shadow *s, size_t i) {
    memmove(&s->held[i], &s->held[i + 1], (s->held_count - i - 1) * sizeof s->held[0]);
    s->held_count--;
}

static void apply_acked(struct shadow *s, const struct shadow_world *w, enum trib_role role,
                        const struct trib_record *record) {
    for (size_t i = 0; i < s->held_count; i++) {
        const struct parcel *parcel = w->get(w->ctx, s->held[i].parcel);
        if (parcel->number != record->number) continue;
        s->held[i].acknowledged = record->verdict == TRIB_ACCEPTED;
        bool refused = record->verdict == TRIB_REFUSED;
        if (refused && role == TRIB_ROLE_EDGE) {
            ids_append(&s->voided, &parcel->ids);
            s->version++;
        }
        if (refused || (role == TRIB_ROLE_DEVICE && s->held[i].acknowledged)) drop_held(s, i);
        return;
    }
}

static void apply_parent(struct shadow *s, const struct shadow_world *w, enum trib_role role,
                         const struct trib_record *record) {
    bool crossed = s->has_model && record->fence > s->parent_version;
    while (s->held_count > 0 && w->get(w->ctx, s->held[0].parcel)->number <= record->applied_number)
        drop_held(s, 0);
    s->parent_version = record->version;
    s->has_model = true;
    if (crossed)
        void_all(s, w, role, false);
    else if (role == TRIB_ROLE_EDGE)
        s->version++;
}

static void apply_publish(struct shadow *s, const struct trib_record *record) {
    s->bases = grown(s->bases, &s->base_capacity, s->base_count, sizeof *s->bases);
    struct shadow_base *base = &s->bases[s->base_count++];
    base->version = record->version;
    memcpy(base->chain, record->chain, sizeof base->chain);
}

void shadow_apply(struct shadow *s, const struct shadow_world *w, size_t node, enum trib_role role,
                  const struct trib_record *record) {
    if (record->position != s->position + 1) w->violate(w->ctx, "a record is missing", record->position);
    s->position = record->position;
    switch (record->kind) {
    case TRIB_REC_START: apply_start(s, w, role, record); break;
    case TRIB_REC_PEER: {
        struct shadow_child *c = &s->children[w->find(w->ctx, &record->peer)];
        if (c->incarnation != record->incarnation) c->last = 0;
        c->incarnation = record->incarnation;
        c->known = true;
        break;
    }
    case TRIB_REC_VERDICT: apply_verdict(s, w, record); break;
    case TRIB_REC_COMMIT: apply_commit(s, w, role, record); break;
    case TRIB_REC_ROLLBACK: apply_rollback(s, w, record); break;
    case TRIB_REC_PUBLISH: apply_publish(s, record); break;
    case TRIB_REC_FORWARD: apply_forward(s, w, node, role, record); break;
    case TRIB_REC_ACKED: apply_acked(s, w, role, record); break;
    case TRIB_REC_PARENT: apply_parent(s, w, role, record); break;
    case TRIB_REC_VOID: void_all(s, w, role, true); break;
    case TRIB_REC_INCARNATION:
        if (s->started) void_all(s, w, role, true);
        s->incarnation = record->incarnation;
        s->next_number = 1;
        break;
    default: break;
    }
}

/* ---- comparing ---- */

static const char *held_differ(const struct shadow *s, const struct trib_state *state,
                               const struct shadow_world *w) {
    if (state->held_count != s->held_count) return "other forwards are held than the records say";
    for (size_t i = 0; i < s->held_count; i++) {
        const struct parcel *parcel = w->get(w->ctx, s->held[i].parcel);
        const struct trib_held *held = &state->held[i];
        if (held->number != parcel->number || (uint32_t)held->payload_crc != parcel->crc ||
            held->samples != parcel->samples)
            return "a held forward is another than the records say";
        if (held->acknowledged != s->held[i].acknowledged) return "a held forward's verdict is another";
    }
    return NULL;
}

static const char *sums_differ(const struct shadow *s, const struct trib_state *state, double tolerance) {
    if (s->sum == NULL || state->own == NULL || (s->immediate && s->pending_count > 0)) return NULL;
    for (size_t p = 0; p < s->parameters; p++) {
        double off = fabs((double)state->own[p] - s->sum[p]);
        if (off > tolerance * (1.0 + fabs(s->sum[p])))
            return "the vector is not the sum of the updates in it";
    }
    return NULL;
}

const char *shadow_differs(const struct shadow *s, const struct trib_state *state, enum trib_role role,
                           const struct shadow_world *w, double tolerance) {
    if (state->incarnation != s->incarnation) return "it has another incarnation";
    if (role != TRIB_ROLE_CLOUD && s->incarnation != 0 && state->next_number != s->next_number)
        return "its next number is another";
    if (!s->started) return NULL;
    const char *differs = held_differ(s, state, w);
    if (differs != NULL || role == TRIB_ROLE_DEVICE) return differs;
    if (state->version != s->version) return "its version is another";
    if (state->pending_count != s->pending_count) return "its buffer holds another number of updates";
    if (role == TRIB_ROLE_EDGE &&
        (state->gathered.updates != s->own_updates || state->gathered.samples != s->own_samples))
        return "its own part holds other updates";
    return sums_differ(s, state, tolerance);
}
