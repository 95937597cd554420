/* Checkpoints: the whole state as one stream, written and read by the same functions, so that the two cannot
 * differ. The store adds the checksum; what is read back is still checked against every limit before it is
 * allocated. */
#include "shared/state/internal.h"

#include "shared/base/alloc.h"
#include "shared/model/digest.h"

#include <string.h>

/* 2: the chain over the ledger has more than its newest digest */
enum { CHECKPOINT_FORMAT = 2 };
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

static void plan_and_schema(struct archive *ar, struct trib_state *state) {
    struct trib_buf schema;
    trib_buf_init(&schema, TRIB_SCHEMA_MAX_TEXT);
    if (!reading(ar)) trib_schema_text(&state->schema, &schema);
    size_t plan_bytes = state->plan_text.size, schema_bytes = schema.size;
    size(ar, &plan_bytes, TRIB_MAP_MAX_BYTES);
    size(ar, &schema_bytes, TRIB_SCHEMA_MAX_TEXT);
    if (reading(ar) && ar->status == TRIB_OK) {
        if (trib_buf_extend(&state->plan_text, plan_bytes) == NULL ||
            trib_buf_extend(&schema, schema_bytes) == NULL)
            fail(ar, TRIB_NOMEM, "out of memory");
    }
    if (ar->status == TRIB_OK) {
        bytes(ar, state->plan_text.data, plan_bytes);
        bytes(ar, schema.data, schema_bytes);
    }
    if (reading(ar) && ar->status == TRIB_OK) {
        ar->status = trib_plan_read(trib_buf_text(&state->plan_text), plan_bytes, "the checkpoint's plan",
                                    &state->plan, ar->err);
        if (ar->status == TRIB_OK)
            ar->status = trib_schema_parse(&state->schema, (const char *)schema.data, schema_bytes, ar->err);
        if (ar->status == TRIB_OK && state->schema.parameters > state->limits.max_parameters)
            fail(ar, TRIB_LIMIT, "a model larger than this node takes");
        if (ar->status == TRIB_OK) ar->status = trib_state_prepare(state, ar->err);
    }
    trib_buf_release(&schema);
}

/* Far above what any codec makes of a model; below what a damaged length could ask for. */
static size_t payload_limit(const struct trib_state *state) {
    return (trib_state_parameters(state) + 1024) * 64;
}

static void held_forwards(struct archive *ar, struct trib_state *state) {
    size(ar, &state->held_count, TRIB_HELD_MAX);
    for (size_t i = 0; i < state->held_count; i++) {
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
        u64s(ar, &h->histogram);
        blob(ar, &h->payload, payload_limit(state));
        if (reading(ar) && ar->status == TRIB_OK)
            ar->status =
                trib_plain_open(state->codec_out, trib_blob_data(h->payload), trib_blob_size(h->payload),
                                trib_state_parameters(state), &h->plain, ar->err);
    }
}

static void parents(struct archive *ar, struct trib_state *state) {
    size(ar, &state->parent_count, SIZE_MAX);
    for (size_t i = 0; i < TRIB_PARENTS_KEPT; i++) {
        u64(ar, &state->parents[i].version);
        bytes(ar, state->parents[i].digest, sizeof state->parents[i].digest);
    }
}

static void memory(struct archive *ar, struct trib_rule_memory *m) {
    u64(ar, &m->pending);
    u64(ar, &m->pending_since_ms);
    f64(ar, &m->norm);
    bytes(ar, m->recent, sizeof m->recent);
    u64(ar, &m->recent_count);
    bytes(ar, m->intervals_ms, sizeof m->intervals_ms);
    u64(ar, &m->interval_count);
    u64(ar, &m->last_update_ms);
}

static void gathered(struct archive *ar, struct trib_gathered *g) {
    uint64_t *numbers[] = {&g->updates,       &g->samples,        &g->weight,           &g->since_ms,
                           &g->below_updates, &g->below_up_bytes, &g->below_down_bytes, &g->below_raw_bytes};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) u64(ar, numbers[i]);
    f64(ar, &g->steps);
    f64(ar, &g->loss);
    u64s(ar, &g->histogram);
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
    }
    u64s(ar, &state->pending_histogram);
}

static void bases(struct archive *ar, struct trib_state *state) {
    state->bases = array(ar, state->bases, &state->base_count, &state->base_capacity, sizeof *state->bases,
                         TRIB_BASES_KEPT);
    size_t increment_bytes = 0;
    for (size_t i = 0; i < state->base_count; i++) {
        struct trib_base *b = &state->bases[i];
        u64(ar, &b->version);
        u64(ar, &b->commits);
        u64(ar, &b->origin);
        bytes(ar, b->chain, sizeof b->chain);
        blob(ar, &b->increment, payload_limit(state));
        increment_bytes += trib_blob_size(b->increment);
    }
    if (reading(ar)) state->increment_bytes = increment_bytes;
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

static void peer(struct archive *ar, struct trib_peer *p) {
    uint64_t *numbers[] = {&p->incarnation, &p->kind,   &p->last,     &p->consumed,          &p->applied,
                           &p->weight,      &p->region, &p->answered, &p->forward_generation};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) u64(ar, numbers[i]);
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
        peer(ar, p);
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
    held_forwards(ar, state);
    parents(ar, state);
    memory(ar, &state->memory);
    gathered(ar, &state->gathered);
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
