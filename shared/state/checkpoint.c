/* Checkpoints: the whole state as one stream, written and read by the same functions, so that the two cannot
 * differ. The store adds the checksum; what is read back is still checked against every limit before it is
 * allocated. */
#include "shared/state/internal.h"

#include "shared/base/alloc.h"
#include "shared/model/digest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* 2: the chain over the ledger has more than its newest digest
 * 3: what a device keeps from update to update; what rules remember, buffers of updates that are kept apart
 * 4: effects on the held-out loss, what participants tell of their labels
 * 5: an edge's hops below
 */
enum { CHECKPOINT_FORMAT = 5 };
static const char MAGIC[8] = "TRIBCKPT";

struct archive {
    const struct trib_sink *sink; /* writing, or */
    const struct trib_feed *feed; /* reading */
    uint64_t format;
    enum trib_status status;
    struct trib_error *err;
};

static bool reading(const struct archive *ar) {
    return ar->feed != NULL;
}

static void fail(struct archive *ar, enum trib_status status, const char *what) {
    if (ar->status == TRIB_OK) ar->status = trib_fail(ar->err, status, "checkpoint: %s", what);
}

static void bytes(struct archive *ar, void *data, size_t size) {
    if (ar->status != TRIB_OK || size == 0) return;
    TRIB_ASSERT(reading(ar) || ar->sink != NULL);
    ar->status = reading(ar) ? ar->feed->read(ar->feed->ctx, data, size, ar->err)
                             : ar->sink->write(ar->sink->ctx, data, size, ar->err);
}

static void u64(struct archive *ar, uint64_t *value) {
    bytes(ar, value, sizeof *value);
}

static void size(struct archive *ar, size_t *value, size_t max) {
    uint64_t wide = *value;
    u64(ar, &wide);
    if (wide > max) fail(ar, TRIB_CORRUPT, "a count over its limit");
    if (reading(ar)) *value = ar->status == TRIB_OK ? (size_t)wide : 0;
}

static void flag(struct archive *ar, bool *value) {
    uint64_t wide = *value;
    u64(ar, &wide);
    if (reading(ar)) *value = wide != 0;
}

static void f64(struct archive *ar, double *value) {
    bytes(ar, value, sizeof *value);
}

static void f32(struct archive *ar, float *value) {
    bytes(ar, value, sizeof *value);
}

static void blob(struct archive *ar, struct trib_blob **value, size_t max) {
    size_t length = trib_blob_size(*value);
    bool there = *value != NULL;
    flag(ar, &there);
    if (!there) return;
    size(ar, &length, max);
    if (reading(ar) && ar->status == TRIB_OK) {
        *value = trib_blob_new(length);
        if (*value == NULL) fail(ar, TRIB_NOMEM, "out of memory");
        if (*value != NULL) bytes(ar, trib_blob_mutable(*value), length);
    } else if (!reading(ar)) {
        struct trib_blob *whole = *value;
        if (ar->status == TRIB_OK && length > 0)
            ar->status = ar->sink->write(ar->sink->ctx, trib_blob_data(whole), length, ar->err);
    }
}

static void floats(struct archive *ar, float *values, size_t count) {
    if (values != NULL) bytes(ar, values, count * sizeof *values);
}

static void u64s(struct archive *ar, struct trib_u64s *list) {
    size(ar, &list->count, TRIB_U64S_MAX);
    bytes(ar, list->items, list->count * sizeof *list->items);
}

/* An array of plain structs; on reading it is allocated. */
static void *array(struct archive *ar, void *items, size_t *count, size_t *capacity, size_t item_bytes,
                   size_t max) {
    size(ar, count, max);
    if (reading(ar) && ar->status == TRIB_OK) {
        *capacity = *count;
        items = *count > 0 ? trib_alloc_array(*count, item_bytes) : NULL;
        if (*count > 0 && items == NULL) fail(ar, TRIB_NOMEM, "out of memory");
        if (items == NULL) *count = *capacity = 0;
    }
    return items;
}

static void text(struct archive *ar, struct trib_buf *buf, size_t bytes_there) {
    if (reading(ar) && ar->status == TRIB_OK && trib_buf_extend(buf, bytes_there) == NULL)
        fail(ar, TRIB_NOMEM, "out of memory");
    if (ar->status == TRIB_OK) bytes(ar, buf->data, bytes_there);
}

static void plan_and_schema(struct archive *ar, struct trib_state *state) {
    struct trib_buf plan, schema;
    trib_buf_init(&plan, TRIB_MAP_MAX_BYTES);
    trib_buf_init(&schema, TRIB_SCHEMA_MAX_TEXT);
    if (!reading(ar)) {
        trib_buf_append(&plan, state->plan_text.data, state->plan_text.size);
        trib_schema_text(&state->schema, &schema);
        if (plan.failed || schema.failed) fail(ar, TRIB_NOMEM, "out of memory");
    }
    size_t plan_bytes = plan.size, schema_bytes = schema.size;
    size(ar, &plan_bytes, TRIB_MAP_MAX_BYTES);
    size(ar, &schema_bytes, TRIB_SCHEMA_MAX_TEXT);
    text(ar, &plan, plan_bytes);
    text(ar, &schema, schema_bytes);
    if (reading(ar) && ar->status == TRIB_OK) {
        struct trib_text plan_text = {(const char *)plan.data, plan_bytes},
                         schema_text = {(const char *)schema.data, schema_bytes};
        ar->status = trib_state_take_terms(state, &plan_text, &schema_text, "the checkpoint's plan", ar->err);
        if (ar->status == TRIB_OK) ar->status = trib_state_prepare(state, ar->err);
    }
    trib_buf_release(&plan);
    trib_buf_release(&schema);
}

/* Far above what any codec makes of a model; below what a damaged length could ask for. */
static size_t payload_limit(const struct trib_state *state) {
    return (trib_state_parameters(state) + 1024) * 64;
}

/* A list that is NULL where it is empty. */
static void owned_list(struct archive *ar, struct trib_u64s **owned) {
    struct trib_u64s list = {.count = 0};
    if (*owned != NULL) list = **owned;
    u64s(ar, &list);
    if (!reading(ar) || ar->status != TRIB_OK || list.count == 0) return;
    if ((*owned = trib_alloc(sizeof list)) != NULL)
        **owned = list;
    else
        fail(ar, TRIB_NOMEM, "out of memory");
}

static void hops(struct archive *ar, const struct trib_state *state, struct trib_u64s **list) {
    if (ar->format < 5 || state->role != TRIB_ROLE_EDGE) return;
    owned_list(ar, list);
    if (*list != NULL &&
        ((*list)->count % TRIB_HOP_NUMBERS != 0 || (*list)->count > TRIB_HOPS_MAX * TRIB_HOP_NUMBERS))
        fail(ar, TRIB_CORRUPT, "a list of hops that is none");
}

static void held_forwards(struct archive *ar, struct trib_state *state) {
    size_t count = state->held_count;
    size(ar, &count, TRIB_HELD_MAX);
    if (reading(ar) && ar->status == TRIB_OK && trib_state_room_held(state, count) != TRIB_OK)
        fail(ar, TRIB_NOMEM, "out of memory");
    if (ar->status != TRIB_OK) return;
    state->held_count = count;
    for (size_t i = 0; i < count; i++) {
        struct trib_held *h = &state->held[i];
        uint64_t *numbers[] = {&h->number,         &h->base_version,   &h->samples,
                               &h->weight,         &h->region,         &h->payload_crc,
                               &h->below_updates,  &h->below_up_bytes, &h->below_down_bytes,
                               &h->below_raw_bytes};
        for (size_t j = 0; j < sizeof numbers / sizeof numbers[0]; j++) u64(ar, numbers[j]);
        f32(ar, &h->steps);
        f32(ar, &h->loss);
        bytes(ar, h->base_digest, sizeof h->base_digest);
        flag(ar, &h->base_digest_known);
        flag(ar, &h->acknowledged);
        owned_list(ar, &h->histogram);
        hops(ar, state, &h->hops);
        size_t rungs = ar->status == TRIB_OK ? trib_ladder_count(state->ladder_out) : 1;
        if (rungs > 1) size(ar, &h->rung, rungs - 1);
        blob(ar, &h->payload, payload_limit(state));
        if (reading(ar) && ar->status == TRIB_OK)
            ar->status =
                trib_plain_open(trib_ladder_codec(state->ladder_out, h->rung), trib_blob_data(h->payload),
                                trib_blob_size(h->payload), trib_state_parameters(state), &h->plain, ar->err);
    }
}

static void parents(struct archive *ar, struct trib_state *state) {
    size(ar, &state->parent_count, SIZE_MAX);
    for (size_t i = 0; i < TRIB_PARENTS_KEPT; i++) {
        u64(ar, &state->parents[i].version);
        bytes(ar, state->parents[i].digest, sizeof state->parents[i].digest);
    }
}

static void memory(struct archive *ar, struct trib_rule_memory *m, bool device) {
    u64(ar, &m->pending);
    u64(ar, &m->pending_since_ms);
    f64(ar, &m->norm);
    bytes(ar, m->recent, sizeof m->recent);
    u64(ar, &m->recent_count);
    bytes(ar, m->intervals_ms, sizeof m->intervals_ms);
    u64(ar, &m->interval_count);
    u64(ar, &m->last_update_ms);
    if (ar->format < 3 || device) return; /* a device has no rule */
    f64(ar, &m->steps);
    u64(ar, &m->stalest);
    bytes(ar, m->norms, sizeof m->norms);
    u64(ar, &m->norm_count);
    u64(ar, &m->optimised);
    if (ar->format < 4) return;
    bytes(ar, m->effects, sizeof m->effects);
    u64(ar, &m->effect_count);
}

static void gathered(struct archive *ar, struct trib_gathered *g, bool edge) {
    uint64_t *numbers[] = {&g->updates,       &g->samples,        &g->weight,           &g->since_ms,
                           &g->below_updates, &g->below_up_bytes, &g->below_down_bytes, &g->below_raw_bytes};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) u64(ar, numbers[i]);
    f64(ar, &g->steps);
    f64(ar, &g->loss);
    u64s(ar, &g->histogram);
    if (ar->format >= 3 && edge) u64(ar, &g->commits);
}

static void codec_spec(struct archive *ar, struct trib_state *state, struct trib_codec **codec) {
    char spec[TRIB_CODEC_MAX_SPEC + 1] = "";
    if (!reading(ar) && *codec != NULL) (void)snprintf(spec, sizeof spec, "%s", trib_codec_spec(*codec));
    size_t length = strlen(spec);
    size(ar, &length, TRIB_CODEC_MAX_SPEC);
    bytes(ar, spec, length);
    spec[TRIB_CODEC_MAX_SPEC] = 0;
    if (reading(ar) && ar->status == TRIB_OK && length > 0)
        ar->status = trib_codec_new_for(spec, &state->schema, codec, ar->err);
}

/* Only where the rule has a combiner. What is read was checked when it was judged; it is checked again, for
 * it will be decoded. */
static void kept_update(struct archive *ar, struct trib_state *state, struct trib_pending *p) {
    f32(ar, &p->norm);
    blob(ar, &p->payload, payload_limit(state));
    codec_spec(ar, state, &p->codec);
    size_t count = p->origin_count;
    size(ar, &count, TRIB_U64S_MAX / 2);
    if (reading(ar) && count > 0 && ar->status == TRIB_OK) {
        p->origins = trib_alloc_array(2 * count, sizeof *p->origins);
        if (p->origins == NULL) fail(ar, TRIB_NOMEM, "out of memory");
    }
    if (ar->status != TRIB_OK) return;
    p->origin_count = count;
    bytes(ar, p->origins, 2 * count * sizeof *p->origins);
    if (!reading(ar) || ar->status != TRIB_OK) return;
    const struct trib_codec *codec = p->codec != NULL ? p->codec : state->codec_in;
    if (trib_codec_check(codec, trib_blob_data(p->payload), trib_blob_size(p->payload),
                         trib_state_parameters(state), NULL, NULL) != TRIB_OK)
        fail(ar, TRIB_CORRUPT, "an update of a buffer is no encoding of the model");
}

static void pending(struct archive *ar, struct trib_state *state) {
    state->pending = array(ar, state->pending, &state->pending_count, &state->pending_capacity,
                           sizeof *state->pending, 1u << 24);
    for (size_t i = 0; i < state->pending_count; i++) {
        struct trib_pending *p = &state->pending[i];
        size(ar, &p->peer, SIZE_MAX);
        u64(ar, &p->incarnation);
        u64(ar, &p->number);
        u64(ar, &p->samples);
        u64(ar, &p->weight);
        f32(ar, &p->applied);
        f32(ar, &p->steps);
        f32(ar, &p->loss);
        if (ar->format >= 3 && state->role != TRIB_ROLE_DEVICE &&
            trib_rule_form(state->rule) == TRIB_RULE_BUFFERED)
            kept_update(ar, state, p);
    }
    u64s(ar, &state->pending_histogram);
}

static void bases(struct archive *ar, struct trib_state *state) {
    state->bases = array(ar, state->bases, &state->base_count, &state->base_capacity, sizeof *state->bases,
                         TRIB_BASES_KEPT);
    size_t increments = 0, increment_bytes = 0,
           rungs = ar->status == TRIB_OK ? trib_ladder_count(state->ladder_pub) : 1;
    for (size_t i = 0; i < state->base_count; i++) {
        struct trib_base *b = &state->bases[i];
        u64(ar, &b->version);
        u64(ar, &b->commits);
        u64(ar, &b->origin);
        bytes(ar, b->chain, sizeof b->chain);
        if (rungs > 1) size(ar, &b->rung, rungs - 1);
        blob(ar, &b->increment, payload_limit(state));
        if (b->increment != NULL)
            increments++;
        else if (increments > 0)
            fail(ar, TRIB_CORRUPT, "increments with a gap");
        increment_bytes += trib_blob_size(b->increment);
    }
    if (!reading(ar)) return;
    state->increment_count = increments;
    state->increment_bytes = increment_bytes;
}

static void verdicts(struct archive *ar, struct trib_peer *p) {
    size(ar, &p->verdict_count, SIZE_MAX);
    size_t kept = p->verdict_count < TRIB_VERDICTS_KEPT ? p->verdict_count : TRIB_VERDICTS_KEPT;
    for (size_t i = 0; i < kept; i++) {
        struct trib_verdict_kept *v = &p->verdicts[i];
        u64(ar, &v->number);
        u64(ar, &v->staleness);
        bytes(ar, &v->crc, sizeof v->crc);
        f32(ar, &v->applied);
        bytes(ar, &v->verdict, 1);
        bytes(ar, &v->reason, 1);
    }
}

/* An update that is kept beside its participant; checked again, for it will be decoded. */
static void kept(struct archive *ar, struct trib_state *state, struct trib_blob **payload, float *weight,
                 struct trib_codec **own_codec) {
    blob(ar, payload, payload_limit(state));
    f32(ar, weight);
    codec_spec(ar, state, own_codec);
    if (!reading(ar) || *payload == NULL || ar->status != TRIB_OK) return;
    const struct trib_codec *codec = *own_codec != NULL ? *own_codec : state->codec_in;
    if (trib_codec_check(codec, trib_blob_data(*payload), trib_blob_size(*payload),
                         trib_state_parameters(state), NULL, NULL) != TRIB_OK)
        fail(ar, TRIB_CORRUPT, "a cached update is no encoding of the model");
}

/* Only where the rule caches updates. */
static void cache(struct archive *ar, struct trib_state *state, struct trib_peer *p) {
    enum trib_rule_form form = state->rule != NULL ? trib_rule_form(state->rule) : TRIB_RULE_IMMEDIATE;
    if (ar->format < 3 || (form != TRIB_RULE_CACHED && form != TRIB_RULE_SERIES)) return;
    kept(ar, state, &p->cache, &p->cache_weight, &p->cache_codec);
    if (form != TRIB_RULE_SERIES) return;
    kept(ar, state, &p->older, &p->older_weight, &p->older_codec);
    f32(ar, &p->cache_norm);
    u64(ar, &p->cache_commit);
}

/* Only where the rule keeps models of tiers. */
static void tiers(struct archive *ar, struct trib_state *state) {
    for (size_t i = 0; i < trib_rule_tiers(state->rule) && ar->status == TRIB_OK; i++) {
        bool there = state->tiers[i] != NULL;
        u64(ar, &state->tier_updates[i]);
        flag(ar, &there);
        if (!there || ar->status != TRIB_OK) continue;
        if (reading(ar) && (state->tiers[i] = trib_alloc_floats(trib_state_parameters(state))) == NULL) {
            fail(ar, TRIB_NOMEM, "out of memory");
            return;
        }
        floats(ar, state->tiers[i], trib_state_parameters(state));
    }
}

static void labels(struct archive *ar, struct trib_state *state, struct trib_peer *p) {
    uint32_t shares[TRIB_U64S_MAX] = {0};
    size_t count = p->class_count;
    if (ar->format < 4) return;
    size(ar, &count, TRIB_U64S_MAX);
    if (!reading(ar)) {
        bytes(ar, p->labels, count * sizeof *p->labels);
        return;
    }
    bytes(ar, shares, count * sizeof *shares);
    for (size_t i = 0; i < count; i++)
        if (ar->status == TRIB_OK && shares[i] == 0) fail(ar, TRIB_CORRUPT, "labels without a share");
    if (ar->status == TRIB_OK && trib_state_put_labels(state, p, shares, count) != TRIB_OK)
        fail(ar, TRIB_NOMEM, "out of memory");
}

static void peer(struct archive *ar, const struct trib_state *state, struct trib_peer *p) {
    uint64_t applied = trib_peer_applied(state, p);
    uint64_t *numbers[] = {&p->incarnation, &p->kind,   &p->last,     &p->consumed,          &applied,
                           &p->weight,      &p->region, &p->answered, &p->forward_generation};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) u64(ar, numbers[i]);
    if (reading(ar)) p->applied = applied; /* touched is 0, as publications are */
    size_t known = ar->format >= 4   ? sizeof p->rules
                   : ar->format == 3 ? offsetof(struct trib_rule_peer, effect)
                                     : 0;
    bytes(ar, &p->rules, known);
    verdicts(ar, p);
    size_t capacity;
    size_t retired = p->retired_count;
    size(ar, &retired, TRIB_RETIRED_KEPT);
    if (reading(ar) && retired > 0 && ar->status == TRIB_OK) {
        capacity = TRIB_RETIRED_KEPT;
        p->retired = trib_alloc_array(capacity, sizeof *p->retired);
        if (p->retired == NULL) fail(ar, TRIB_NOMEM, "out of memory");
    }
    if (ar->status != TRIB_OK) return;
    p->retired_count = retired;
    bytes(ar, p->retired, retired * sizeof *p->retired);
}

static void peers(struct archive *ar, struct trib_state *state) {
    size_t count = state->peer_count;
    size(ar, &count, 1u << 24);
    for (size_t i = 0; i < count && ar->status == TRIB_OK; i++) {
        char identity[TRIB_NAME_MAX + 1] = {0};
        if (!reading(ar)) memcpy(identity, state->peers[i].identity, sizeof identity);
        bytes(ar, identity, sizeof identity);
        if (ar->status != TRIB_OK) return;
        struct trib_peer *p = reading(ar) ? NULL : &state->peers[i];
        identity[TRIB_NAME_MAX] = 0;
        if (reading(ar)) {
            enum trib_status status = trib_state_put_peer(state, identity, strlen(identity), &p);
            if (status != TRIB_OK) {
                fail(ar, status, "a participant's name");
                return;
            }
        }
        peer(ar, state, p);
        labels(ar, state, p);
        cache(ar, state, p);
    }
}

static void numbers(struct archive *ar, struct trib_state *state) {
    uint64_t *values[] = {&state->position,
                          &state->now_ms,
                          &state->started_ms,
                          &state->incarnation,
                          &state->parent_incarnation,
                          &state->parent_version,
                          &state->parent_fence,
                          &state->next_number,
                          &state->generation,
                          &state->version,
                          &state->commits,
                          &state->fence,
                          &state->version_since_ms,
                          &state->seed,
                          &state->published,
                          &state->published_ms,
                          &state->total.accepted,
                          &state->total.accepted_samples,
                          &state->total.refused,
                          &state->total.committed,
                          &state->total.committed_samples,
                          &state->total.forwarded_samples,
                          &state->total.void_samples};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) u64(ar, values[i]);
    bool *flags[] = {&state->stopped,    &state->has_model,      &state->seed_held,
                     &state->exact_next, &state->seed_published, &state->published_digest_known};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) flag(ar, flags[i]);
    bytes(ar, state->run, sizeof state->run);
    bytes(ar, state->parent_chain, sizeof state->parent_chain);
    bytes(ar, state->published_digest, sizeof state->published_digest);
    bytes(ar, state->digest, sizeof state->digest);
    bytes(ar, state->chain.ledger, sizeof state->chain.ledger);
}

static void chain(struct archive *ar, struct trib_state *state) {
    struct trib_chain *c = &state->chain;
    if (ar->format < 2) {
        c->format = 1;
        c->verdicts = state->total.accepted + state->total.refused;
        return;
    }
    u64(ar, &c->format);
    u64(ar, &c->verdicts);
    bytes(ar, c->verdict, sizeof c->verdict);
    bytes(ar, c->publish, sizeof c->publish);
}

static bool any(const float *values, size_t count) {
    uint32_t bits = 0;
    for (size_t i = 0; i < count && bits == 0; i++) memcpy(&bits, &values[i], sizeof bits);
    return bits != 0;
}

/* A device's checkpoint is written for each of its updates: what is not there, a G that is not held or a
 * residual of zeros, takes no room. */
static void vectors(struct archive *ar, struct trib_state *state) {
    size_t n = trib_state_parameters(state);
    bool device = state->role == TRIB_ROLE_DEVICE, residual = true;
    if (device && !reading(ar)) residual = any(state->own, n);
    if (device) flag(ar, &residual);
    if (!device || state->has_model) floats(ar, state->G, n);
    if (residual) floats(ar, state->own, n);
    floats(ar, state->A, n);
    floats(ar, state->P, n);
    floats(ar, state->step, n);
    for (size_t i = 0; i < TRIB_RULE_MOMENTS; i++) floats(ar, state->moments[i], n);
    floats(ar, state->cached, n);
    if (!device) tiers(ar, state);
}

/* As many vectors as there are kinds, each only if it is there. */
static void local(struct archive *ar, struct trib_state *state) {
    if (state->role != TRIB_ROLE_DEVICE || ar->format < 3) return;
    size_t kinds = TRIB_LOCAL_MAX, n = state->schema.model_parameters;
    size(ar, &kinds, TRIB_LOCAL_MAX);
    for (size_t i = 0; i < kinds && ar->status == TRIB_OK; i++) {
        bool there = state->local[i] != NULL;
        flag(ar, &there);
        if (!there || ar->status != TRIB_OK) continue;
        if (reading(ar) && (state->local[i] = trib_alloc_floats(n)) == NULL) {
            fail(ar, TRIB_NOMEM, "out of memory");
            return;
        }
        floats(ar, state->local[i], n);
    }
}

static void header(struct archive *ar, struct trib_state *state) {
    char magic[sizeof MAGIC];
    memcpy(magic, MAGIC, sizeof magic);
    bytes(ar, magic, sizeof magic);
    if (memcmp(magic, MAGIC, sizeof magic) != 0) fail(ar, TRIB_CORRUPT, "not a checkpoint of this program");
    uint64_t role = state->role;
    ar->format = CHECKPOINT_FORMAT;
    u64(ar, &ar->format);
    if (ar->format > CHECKPOINT_FORMAT) fail(ar, TRIB_NEWER, "written by a newer version of this program");
    u64(ar, &role);
    if (role != state->role) fail(ar, TRIB_INVALID, "it belongs to a node of another role");
    flag(ar, &state->started);
}

static enum trib_status run(struct archive *ar, struct trib_state *state) {
    header(ar, state);
    if (ar->status == TRIB_OK && state->started) plan_and_schema(ar, state);
    numbers(ar, state);
    chain(ar, state);
    if (ar->status != TRIB_OK || !state->started) return ar->status;
    vectors(ar, state);
    local(ar, state);
    held_forwards(ar, state);
    parents(ar, state);
    memory(ar, &state->memory, state->role == TRIB_ROLE_DEVICE);
    gathered(ar, &state->gathered, state->role == TRIB_ROLE_EDGE);
    hops(ar, state, &state->hops);
    pending(ar, state);
    bases(ar, state);
    peers(ar, state);
    for (size_t i = 0; i < state->pending_count; i++)
        if (state->pending[i].peer >= state->peer_count) fail(ar, TRIB_CORRUPT, "an update of nobody");
    return ar->status;
}

enum trib_status trib_state_save(const struct trib_state *state, const struct trib_sink *sink,
                                 struct trib_error *err) {
    struct archive ar = {.sink = sink, .err = err};
    return run(&ar, (struct trib_state *)state); /* writing changes nothing */
}

enum trib_status trib_state_save_own(const struct trib_state *state, const struct trib_sink *sink,
                                     struct trib_error *err) {
    TRIB_ASSERT(state->role == TRIB_ROLE_DEVICE);
    struct trib_state without = *state;
    without.has_model = false;
    return trib_state_save(&without, sink, err);
}

enum trib_status trib_state_load(struct trib_state *state, const struct trib_feed *feed,
                                 struct trib_error *err) {
    struct archive ar = {.feed = feed, .err = err};
    return run(&ar, state);
}

static enum trib_status digest_more(void *ctx, const void *data, size_t length, struct trib_error *err) {
    (void)err;
    trib_digest_chain(ctx, data, length, ctx);
    return TRIB_OK;
}

enum trib_status trib_state_digest(const struct trib_state *state, uint8_t out[TRIB_DIGEST_BYTES]) {
    memset(out, 0, TRIB_DIGEST_BYTES);
    struct trib_sink sink = {.write = digest_more, .ctx = out};
    return trib_state_save(state, &sink, NULL);
}

enum trib_status trib_state_take_checkpoint(void *state, uint64_t position, const struct trib_feed *feed,
                                            struct trib_error *err) {
    struct trib_state *into = state;
    enum trib_status status = trib_state_load(into, feed, err);
    if (status != TRIB_OK || into->position == position) return status;
    return trib_fail(err, TRIB_CORRUPT, "the checkpoint of position %" PRIu64 " holds position %" PRIu64,
                     position, into->position);
}
