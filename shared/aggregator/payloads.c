/* What children are sent that is larger than a message: the published vector as a snapshot, several
 * increments in one. It is shared by those who need the same, and stays in memory until the slowest of them
 * has it; so there is a limit to how much of it there may be (budget_bytes, as for what comes up). When that
 * is reached a device is given what others are being sent already, or one increment of several, and anybody
 * else waits. An edge is never given an older version than the newest, because `applied` would not be true of
 * it. */
#include "shared/aggregator/internal.h"
#include "shared/model/digest.h"

#include <string.h>

/* Nobody but us and, where it is P itself, the state holds it. */
static bool idle(const struct trib_aggregator *a, const struct made *made) {
    return trib_blob_refs(made->payload) <= (made->payload == a->state->P_lent ? 2u : 1u);
}

static void forget(struct trib_aggregator *a, size_t i) {
    trib_blob_unref(&a->made[i].payload);
    a->made_count--;
    memmove(&a->made[i], &a->made[i + 1], (a->made_count - i) * sizeof a->made[0]);
}

void trib_aggregator_forget_idle(struct trib_aggregator *a) {
    for (size_t i = a->made_count; i-- > 0;)
        if (idle(a, &a->made[i])) forget(a, i);
}

void trib_aggregator_forget_payloads(struct trib_aggregator *a) {
    while (a->made_count > 0) forget(a, a->made_count - 1);
}

/* One is always let in, so that a budget below the model's size still works. */
static bool make_room(struct trib_aggregator *a, size_t bytes) {
    trib_aggregator_forget_idle(a);
    size_t total = 0;
    for (size_t i = 0; i < a->made_count; i++) total += trib_blob_size(a->made[i].payload);
    return total == 0 || (a->made_count < MADE_MAX && total + bytes <= a->options.budget_bytes);
}

static struct made *find(struct trib_aggregator *a, bool snapshot, uint64_t from, uint64_t to) {
    for (size_t i = 0; i < a->made_count; i++) {
        struct made *made = &a->made[i];
        if (made->snapshot == snapshot && made->from == from && made->to == to) return made;
    }
    return NULL;
}

static struct made *keep(struct trib_aggregator *a, const struct made *made) {
    TRIB_ASSERT(a->made_count < MADE_MAX);
    a->made[a->made_count] = *made;
    return &a->made[a->made_count++];
}

/* Bytes of the increments after `base` (and their sizes), 0 if one of them is not kept, or if there are too
 * many, of too many codecs, for one message. */
static size_t increments_after(const struct trib_state *s, const struct trib_base *base,
                               struct trib_u64s *sizes) {
    size_t total = 0;
    struct trib_specs_text codecs = {.size = 0};
    sizes->count = 0;
    for (const struct trib_base *b = base + 1; b < s->bases + s->base_count; b++) {
        if (b->increment == NULL || sizes->count == TRIB_U64S_MAX) return 0;
        if (!trib_specs_add(&codecs, trib_codec_spec(trib_ladder_codec(s->ladder_pub, b->rung)))) return 0;
        sizes->items[sizes->count++] = trib_blob_size(b->increment);
        total += trib_blob_size(b->increment);
    }
    return total;
}

static size_t snapshot_bytes(const struct trib_state *s) {
    return trib_state_parameters(s) * sizeof *s->P;
}

static struct trib_blob *join(const struct trib_base *first, size_t count, size_t total) {
    struct trib_blob *all = trib_blob_new(total);
    size_t at = 0;
    for (size_t i = 0; all != NULL && i < count; i++) {
        const struct trib_blob *increment = first[i].increment;
        memcpy(trib_blob_mutable(all) + at, trib_blob_data(increment), trib_blob_size(increment));
        at += trib_blob_size(increment);
    }
    return all;
}

struct trib_blob *trib_aggregator_increments(struct trib_aggregator *a, const struct trib_base *from,
                                             bool older_will_do, struct trib_u64s *sizes,
                                             const struct trib_base **to) {
    const struct trib_state *s = a->state;
    size_t total = increments_after(s, from, sizes);
    *to = &s->bases[s->base_count - 1];
    if (total == 0 || total >= snapshot_bytes(s)) return NULL;
    if (sizes->count == 1) return trib_blob_ref(from[1].increment);
    const struct made *made = find(a, false, from->version, s->published);
    if (made != NULL) return trib_blob_ref(made->payload);
    if (make_room(a, total)) {
        struct made fresh = {.from = from->version, .to = s->published};
        fresh.payload = join(from + 1, sizes->count, total);
        return fresh.payload != NULL ? trib_blob_ref(keep(a, &fresh)->payload) : NULL;
    }
    if (!older_will_do) return NULL;
    *to = from + 1;
    sizes->count = 1;
    return trib_blob_ref(from[1].increment);
}

/* A snapshot that is being sent to others and from which increments lead on. */
static const struct made *join_others(const struct trib_aggregator *a, const struct trib_base **to) {
    const struct trib_state *s = a->state;
    for (size_t i = a->made_count; i-- > 0;) {
        const struct made *made = &a->made[i];
        const struct trib_base *base = made->snapshot ? trib_state_base(s, made->to) : NULL;
        struct trib_u64s sizes;
        if (base == NULL || base->version < s->fence) continue;
        size_t more = increments_after(s, base, &sizes);
        if (more == 0 || more >= snapshot_bytes(s)) continue;
        *to = base;
        return made;
    }
    return NULL;
}

bool trib_aggregator_is_lent(struct trib_aggregator *a) {
    trib_aggregator_forget_idle(a);
    size_t others = 0;
    bool lent = false;
    for (size_t i = 0; i < a->made_count; i++) {
        if (a->made[i].payload == a->state->P_lent)
            lent = true;
        else
            others += trib_blob_size(a->made[i].payload);
    }
    uint64_t busy = a->status.in_flight_bytes + a->unwritten_bytes + others;
    return lent && busy + snapshot_bytes(a->state) > a->options.budget_bytes;
}

const struct made *trib_aggregator_snapshot(struct trib_aggregator *a, bool older_will_do,
                                            const struct trib_base **to) {
    struct trib_state *s = a->state;
    const struct made *made = find(a, true, 0, s->published);
    *to = &s->bases[s->base_count - 1];
    if (a->postponed_ms != 0) return NULL; /* soon there is a newer one */
    if (made != NULL) return made;
    if (!make_room(a, snapshot_bytes(s))) return older_will_do ? join_others(a, to) : NULL;
    struct made fresh = {.to = s->published, .snapshot = true, .payload = trib_state_lend(s)};
    if (fresh.payload == NULL) return NULL;
    trib_digest_floats(s->P, trib_state_parameters(s), s->shards, fresh.full);
    return keep(a, &fresh);
}
