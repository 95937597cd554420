#include "shared/state/state.h"

#include "shared/base/alloc.h"
#include "shared/model/digest.h"
#include "shared/state/internal.h"

#include <math.h>
#include <string.h>

enum trib_status trib_state_new(enum trib_role role, const struct trib_state_limits *limits,
                                struct trib_state **out, struct trib_error *err) {
    struct trib_state *state = trib_alloc(sizeof *state);
    if (state == NULL) return trib_fail(err, TRIB_NOMEM, "out of memory for a node's state");
    state->role = role;
    state->limits = *limits;
    if (state->limits.max_parameters == 0) state->limits.max_parameters = TRIB_SCHEMA_MAX_PARAMETERS;
    trib_schema_init(&state->schema);
    trib_buf_init(&state->plan_text, TRIB_MAP_MAX_BYTES);
    *out = state;
    return TRIB_OK;
}

enum trib_status trib_state_room_held(struct trib_state *state, size_t count) {
    if (count == 0) return TRIB_OK;
    struct trib_held *more = trib_realloc(state->held, count * sizeof *more);
    if (more == NULL) return TRIB_NOMEM;
    if (count > state->held_count)
        memset(more + state->held_count, 0, (count - state->held_count) * sizeof *more);
    state->held = more;
    return TRIB_OK;
}

void trib_state_drop_held(struct trib_state *state, size_t i) {
    trib_plain_release(&state->held[i].plain);
    trib_blob_unref(&state->held[i].payload);
    trib_free(state->held[i].histogram);
    trib_free(state->held[i].hops);
    memmove(&state->held[i], &state->held[i + 1], (state->held_count - i - 1) * sizeof state->held[0]);
    if (--state->held_count > 0) return;
    trib_free(state->held); /* most of the time a device holds none */
    state->held = NULL;
}

void trib_state_drop_increments(struct trib_state *state) {
    for (size_t i = 0; i < state->base_count; i++) trib_blob_unref(&state->bases[i].increment);
    state->increment_count = state->increment_bytes = 0;
}

void trib_state_consume(const struct trib_state *state, struct trib_peer *peer, uint64_t number) {
    peer->applied = trib_peer_applied(state, peer);
    peer->touched = state->publications;
    peer->consumed = number;
}

void trib_state_drop_caches(struct trib_state *state) {
    for (size_t i = 0; i < state->peer_count; i++) {
        trib_blob_unref(&state->peers[i].cache);
        trib_codec_free(&state->peers[i].cache_codec);
        trib_blob_unref(&state->peers[i].older);
        trib_codec_free(&state->peers[i].older_codec);
    }
    if (state->cached != NULL) memset(state->cached, 0, trib_state_parameters(state) * sizeof *state->cached);
    for (size_t i = 0; i < TRIB_RULE_TIERS_MAX; i++) {
        trib_free(state->tiers[i]);
        state->tiers[i] = NULL;
        state->tier_updates[i] = 0;
    }
}

static void drop_peers(struct trib_state *state) {
    trib_state_drop_caches(state);
    for (size_t i = 0; i < state->peer_count; i++) {
        trib_free(state->peers[i].retired);
        trib_free(state->peers[i].labels);
    }
    trib_free(state->labels);
    state->labels = NULL;
    state->label_tellers = 0;
    trib_free(state->peers);
    trib_free(state->index);
    state->peers = NULL;
    state->index = NULL;
    state->peer_count = state->peer_capacity = state->index_capacity = 0;
}

void trib_state_drop_local(struct trib_state *state) {
    for (size_t i = 0; i < TRIB_LOCAL_MAX; i++) {
        trib_free(state->local[i]);
        state->local[i] = NULL;
    }
}

void trib_state_release_pending(struct trib_pending *pending) {
    trib_blob_unref(&pending->payload);
    trib_codec_free(&pending->codec);
    trib_free(pending->origins);
    pending->origins = NULL;
}

void trib_state_drop_pending(struct trib_state *state) {
    for (size_t i = 0; i < state->pending_count; i++) trib_state_release_pending(&state->pending[i]);
    state->pending_count = 0;
    state->pending_histogram.count = 0;
}

void trib_state_clear_run(struct trib_state *state) {
    while (state->held_count > 0) trib_state_drop_held(state, state->held_count - 1);
    trib_free(state->held);
    state->held = NULL;
    trib_state_drop_increments(state);
    trib_free(state->bases);
    state->bases = NULL;
    state->base_count = state->base_capacity = 0;
    trib_state_drop_pending(state);
    trib_free(state->pending);
    state->pending = NULL;
    state->pending_count = state->pending_capacity = 0;
    drop_peers(state);
    trib_free(state->hops);
    state->hops = NULL;
    if (state->P_lent != NULL) state->P = NULL; /* whoever lets go last frees it */
    trib_blob_unref(&state->P_lent);
    trib_state_drop_local(state);
    float **vectors[] = {&state->G,          &state->own,        &state->A,
                         &state->P,          &state->step,       &state->moments[0],
                         &state->moments[1], &state->moments[2], &state->cached};
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        trib_free(*vectors[i]);
        *vectors[i] = NULL;
    }
    trib_rule_free(&state->rule);
    trib_state_drop_terms(state);
}

void trib_state_free(struct trib_state **state) {
    if (*state == NULL) return;
    trib_state_clear_run(*state);
    trib_free(*state);
    *state = NULL;
}

/* ---- P, lent ---- */

static void free_vector(void *vector) {
    trib_free(vector);
}

struct trib_blob *trib_state_lend(struct trib_state *state) {
    if (state->P_lent == NULL)
        state->P_lent =
            trib_blob_wrap(state->P, trib_state_parameters(state) * sizeof *state->P, free_vector, state->P);
    return trib_blob_ref(state->P_lent);
}

enum trib_status trib_state_take_back(struct trib_state *state, bool keep) {
    if (trib_blob_refs(state->P_lent) <= 1) return TRIB_OK; /* nobody else has it any more */
    size_t n = trib_state_parameters(state);
    float *fresh = trib_alloc_floats(n);
    if (fresh == NULL) return TRIB_NOMEM;
    if (keep) memcpy(fresh, state->P, n * sizeof *fresh);
    trib_blob_unref(&state->P_lent);
    state->P = fresh;
    return TRIB_OK;
}

/* ---- bases ---- */

const struct trib_base *trib_state_base(const struct trib_state *state, uint64_t version) {
    size_t low = 0, high = state->base_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (state->bases[middle].version < version)
            low = middle + 1;
        else
            high = middle;
    }
    return low < state->base_count && state->bases[low].version == version ? &state->bases[low] : NULL;
}

const struct trib_base *trib_state_seed_base(const struct trib_state *state) {
    if (!state->seed_published || state->increment_count >= state->base_count) return NULL;
    return &state->bases[state->base_count - 1 - state->increment_count];
}

static void drop_oldest_increment(struct trib_state *state) {
    struct trib_blob **increment = &state->bases[state->base_count - state->increment_count--].increment;
    state->increment_bytes -= trib_blob_size(*increment);
    state->seed_published = false;
    trib_blob_unref(increment);
}

/* Increments that cost more than a snapshot are of no use to any child, and those that cost nearly as much of
 * little; a mixing rule goes back to them though. */
static void trim_increments(struct trib_state *state) {
    bool mixing = state->rule != NULL && trib_rule_needs_bases(state->rule);
    size_t snapshot = trib_state_parameters(state) * sizeof(float), limit = state->limits.ring_bytes;
    if (limit == 0) limit = snapshot;
    if (!mixing && limit > snapshot / 4 * 3) limit = snapshot / 4 * 3;
    while (state->increment_bytes > limit) drop_oldest_increment(state);
}

enum trib_status trib_state_add_base(struct trib_state *state, const struct trib_base *base) {
    if (state->base_count == TRIB_BASES_KEPT) {
        size_t drop = TRIB_BASES_KEPT / 4;
        while (state->increment_count > TRIB_BASES_KEPT - drop) drop_oldest_increment(state);
        state->seed_published = false;
        state->base_count -= drop;
        memmove(state->bases, state->bases + drop, state->base_count * sizeof *state->bases);
    }
    if (state->base_count == state->base_capacity) {
        size_t capacity = state->base_capacity > 0 ? state->base_capacity * 2 : 16;
        struct trib_base *more = trib_realloc(state->bases, capacity * sizeof *more);
        if (more == NULL) return TRIB_NOMEM;
        state->bases = more;
        state->base_capacity = capacity;
    }
    state->bases[state->base_count] = *base;
    (void)trib_blob_ref(base->increment);
    state->base_count++;
    if (base->increment != NULL) state->increment_count++;
    state->increment_bytes += trib_blob_size(base->increment);
    trim_increments(state);
    return TRIB_OK;
}

/* ---- histograms ---- */

void trib_histogram_add(struct trib_u64s *histogram, uint64_t origin, uint64_t samples) {
    size_t pairs = histogram->count / 2, at = 0;
    uint64_t *item = histogram->items;
    while (at < pairs && item[2 * at] < origin) at++;
    if (at < pairs && item[2 * at] == origin) {
        item[2 * at + 1] += samples;
        return;
    }
    if (pairs == TRIB_U64S_MAX / 2) { /* full: the two oldest origins become the older one */
        item[1] += item[3];
        memmove(item + 2, item + 4, (2 * pairs - 4) * sizeof *item);
        pairs--;
        if (at >= 2) at--;
        if (at == 0) at = 1; /* older than all: counts as the oldest */
        if (item[0] > origin) item[0] = origin;
        histogram->count = 2 * pairs;
        if (item[0] == origin) {
            item[1] += samples;
            return;
        }
    }
    memmove(item + 2 * at + 2, item + 2 * at, 2 * (pairs - at) * sizeof *item);
    item[2 * at] = origin;
    item[2 * at + 1] = samples;
    histogram->count = 2 * (pairs + 1);
}

uint64_t trib_histogram_fit(struct trib_u64s *histogram, uint64_t most) {
    for (unsigned shift = 0;; shift = 1) {
        uint64_t samples = 0;
        for (size_t i = 1; i < histogram->count; i += 2) samples += histogram->items[i] >>= shift;
        if (samples <= most) return samples;
    }
}

uint64_t trib_histogram_base(const struct trib_u64s *histogram) {
    size_t pairs = histogram->count / 2;
    if (pairs == 0) return 0;
    double sum = 0, samples = 0;
    for (size_t i = 0; i < pairs; i++) {
        sum += (double)histogram->items[2 * i] * (double)histogram->items[2 * i + 1];
        samples += (double)histogram->items[2 * i + 1];
    }
    double mean = samples > 0 ? sum / samples : (double)histogram->items[0];
    uint64_t base = histogram->items[0];
    for (size_t i = 0; i < pairs; i++)
        if ((double)histogram->items[2 * i] <= mean) base = histogram->items[2 * i];
    return base;
}

bool trib_state_forward_due(const struct trib_state *state, uint64_t now_ms, uint64_t *at_ms) {
    const struct trib_gathered *g = &state->gathered;
    const struct trib_plan *plan = &state->plan;
    *at_ms = UINT64_MAX;
    if (g->updates == 0) return false;
    if (plan->forward_commits > 0 ? g->commits >= plan->forward_commits : g->updates >= plan->forward_updates)
        return true;
    if (plan->forward_ms == 0) return false;
    *at_ms = g->since_ms + plan->forward_ms;
    return now_ms >= *at_ms;
}

/* ---- the model in blocks ---- */

static void read_model(void *ctx, size_t offset, size_t count, float *out) {
    struct trib_model_reader *reader = ctx;
    const struct trib_state *state = reader->state;
    const struct trib_kernels *k = trib_kernels();
    size_t parameters = trib_state_parameters(state);
    if (offset == 0)
        for (size_t i = 0; i < state->held_count; i++)
            trib_decoder_start(&reader->held[i], trib_ladder_codec(state->ladder_out, state->held[i].rung),
                               state->held[i].plain.data, state->held[i].plain.bytes, parameters);
    if (state->G != NULL) {
        memcpy(out, state->G + offset, count * sizeof *out);
        if (state->role == TRIB_ROLE_EDGE) k->add_scaled(out, state->own + offset, 1.0f, count);
        /* An elastic forward is what the model gave up, and waits for nothing but its delivery. */
        bool held = state->role == TRIB_ROLE_EDGE && !(state->plan.elastic > 0.0);
        for (size_t i = 0; held && i < state->held_count; i++)
            trib_decoder_add(&reader->held[i], count, 1.0f, out);
    } else {
        memcpy(out, state->own + offset, count * sizeof *out);
    }
    if (reader->minus_published) k->add_scaled(out, state->P + offset, -1.0f, count);
}

struct trib_source trib_state_source(const struct trib_state *state, bool minus_published,
                                     struct trib_model_reader *reader) {
    *reader = (struct trib_model_reader){.state = state, .minus_published = minus_published};
    return (struct trib_source){.read = read_model, .ctx = reader, .count = trib_state_parameters(state)};
}

void trib_state_model(const struct trib_state *state, float *out) {
    struct trib_model_reader reader;
    struct trib_source source = trib_state_source(state, false, &reader);
    for (size_t at = 0; at < source.count; at += TRIB_CODEC_BLOCK) {
        size_t count = source.count - at < TRIB_CODEC_BLOCK ? source.count - at : TRIB_CODEC_BLOCK;
        source.read(source.ctx, at, count, out + at);
    }
}

/* The residual of a device that seldom comes is of models long gone: it may not outweigh what is new. */
static void cap_residual(struct trib_state *state, const float *difference) {
    const struct trib_kernels *kernels = trib_kernels();
    const double cap = state->plan.residual_cap;
    const size_t n = state->schema.model_parameters;
    if (!(cap > 0.0) || trib_plan_algorithm(&state->plan) == TRIB_ALGORITHM_AREA) return;
    const double residual = kernels->sum_squares(state->own, n), update = kernels->sum_squares(difference, n);
    if (residual > cap * cap * update) kernels->scale(state->own, (float)(cap * sqrt(update / residual)), n);
}

enum trib_status trib_state_gather(struct trib_state *state, const float *difference,
                                   const float *const *local) {
    TRIB_ASSERT(state->role == TRIB_ROLE_DEVICE && state->own != NULL);
    size_t n = state->schema.model_parameters;
    float *fresh[TRIB_LOCAL_MAX] = {NULL};
    for (size_t i = 0; local != NULL && i < TRIB_LOCAL_MAX; i++) {
        if (local[i] == NULL) continue;
        if ((fresh[i] = trib_alloc_floats(n)) == NULL) {
            while (i-- > 0) trib_free(fresh[i]);
            return TRIB_NOMEM;
        }
        memcpy(fresh[i], local[i], n * sizeof *fresh[i]);
    }
    for (size_t i = 0; i < TRIB_LOCAL_MAX; i++) {
        if (fresh[i] == NULL) continue;
        trib_free(state->local[i]);
        state->local[i] = fresh[i];
    }
    cap_residual(state, difference);
    trib_kernels()->add_scaled(state->own, difference, 1.0f, trib_state_parameters(state));
    state->gathered_here = true;
    return TRIB_OK;
}
