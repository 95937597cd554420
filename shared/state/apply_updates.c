/* Vectors of updates: where each goes when it is judged, and what a commit makes of them. */
#include "shared/state/internal.h"

#include "shared/base/alloc.h"

#include <string.h>

enum { STEP_PART = 65536 }; /* parameters: a part's stretches of two vectors fit a core's cache */

enum trib_status trib_reading_start(struct trib_reading *r, const struct trib_codec *codec,
                                    const struct trib_blob *blob, size_t n) {
    enum trib_status status =
        trib_plain_open(codec, trib_blob_data(blob), trib_blob_size(blob), n, &r->plain, NULL);
    if (status == TRIB_OK) trib_decoder_start(&r->decoder, codec, r->plain.data, r->plain.bytes, n);
    return status;
}

/* The averaged part: into += w * ((P_base - S) + u), or, without a reader of S, into = P_base + w u; in
 * blocks, where P_base is P less the `later` increments. */
static void mix_blocks(struct trib_state *state, float w, struct trib_reading *update,
                       struct trib_reading *increments, size_t later, struct trib_model_reader *reader,
                       float *block, float *into) {
    const struct trib_kernels *k = trib_kernels();
    const size_t n = state->sum_from;
    struct trib_source model = {0};
    if (reader != NULL) model = trib_state_source(state, false, reader);
    float *difference = block, *s = block + TRIB_CODEC_BLOCK;
    for (size_t at = 0; at < n; at += TRIB_CODEC_BLOCK) {
        size_t count = n - at < TRIB_CODEC_BLOCK ? n - at : TRIB_CODEC_BLOCK;
        memcpy(difference, state->P + at, count * sizeof *difference);
        for (size_t i = 0; i < later; i++) trib_decoder_add(&increments[i].decoder, count, -1.0f, difference);
        if (reader != NULL) {
            model.read(model.ctx, at, count, s);
            k->add_scaled(difference, s, -1.0f, count);
        }
        trib_decoder_add(&update->decoder, count, reader != NULL ? 1.0f : w, difference);
        if (reader != NULL)
            k->add_scaled(into + at, difference, w, count);
        else
            memcpy(into + at, difference, count * sizeof *into);
    }
}

/* P_base is P less the increments that came after base, newest first. */
static enum trib_status mix(struct trib_state *state, const struct trib_record *record,
                            const struct trib_codec *codec, float *into, float *sums) {
    size_t n = trib_state_parameters(state), later = 0;
    while (later < state->base_count &&
           state->bases[state->base_count - 1 - later].version > record->base_version)
        later++;
    struct trib_reading *increments = trib_alloc_array(later + 1, sizeof *increments); /* and the update */
    struct trib_model_reader *reader = trib_alloc(sizeof *reader);
    float *block = trib_alloc_floats(2 * TRIB_CODEC_BLOCK);
    enum trib_status status = increments != NULL && reader != NULL && block != NULL ? TRIB_OK : TRIB_NOMEM;
    for (size_t i = 0; status == TRIB_OK && i < later; i++) {
        const struct trib_base *base = &state->bases[state->base_count - 1 - i];
        const struct trib_codec *own = trib_ladder_codec(state->ladder_pub, base->rung);
        /* the decider refuses a base without them */
        status = base->increment == NULL ? TRIB_CORRUPT
                                         : trib_reading_start(&increments[i], own, base->increment, n);
    }
    if (status == TRIB_OK) status = trib_reading_start(&increments[later], codec, record->payload, n);
    bool moves = trib_rule_form(state->rule) == TRIB_RULE_MIXING;
    if (status == TRIB_OK) {
        mix_blocks(state, record->applied, &increments[later], increments, later, moves ? reader : NULL,
                   block, into);
        trib_decoder_add(&increments[later].decoder, n - state->sum_from, 1.0f, sums + state->sum_from);
    }
    for (size_t i = 0; increments != NULL && i <= later; i++) trib_plain_release(&increments[i].plain);
    trib_free(increments);
    trib_free(reader);
    trib_free(block);
    return status;
}

/* ---- parts ----
 * What stands before sum_from is averaged: weighed, combined, optimised. What stands behind it is added as it
 * is. */

/* y += a * the averaged part, `sums` * the others. */
static enum trib_status add_parts(const struct trib_state *state, const struct trib_codec *codec,
                                  const struct trib_blob *payload, float a, float sums, float *y) {
    size_t n = trib_state_parameters(state), from = state->sum_from;
    if (from == n) return trib_codec_add(codec, trib_blob_data(payload), trib_blob_size(payload), n, a, y);
    struct trib_reading r;
    enum trib_status status = trib_reading_start(&r, codec, payload, n);
    if (status != TRIB_OK) return status;
    trib_decoder_add(&r.decoder, from, a, y);
    trib_decoder_add(&r.decoder, n - from, sums, y + from);
    trib_plain_release(&r.plain);
    return TRIB_OK;
}

/* y += the sums alone. */
static enum trib_status add_sums(const struct trib_state *state, const struct trib_codec *codec,
                                 const struct trib_blob *payload, float *y) {
    size_t n = trib_state_parameters(state), from = state->sum_from;
    struct trib_reading r;
    if (from == n) return TRIB_OK;
    enum trib_status status = trib_reading_start(&r, codec, payload, n);
    if (status != TRIB_OK) return status;
    trib_decoder_skip(&r.decoder, from);
    trib_decoder_add(&r.decoder, n - from, 1.0f, y + from);
    trib_plain_release(&r.plain);
    return TRIB_OK;
}

/* ---- when it is judged ---- */

/* It stays encoded, beside its weight. */
static enum trib_status keep_update(struct trib_state *state, const struct trib_record *record,
                                    struct trib_pending *pending, struct trib_codec **codec) {
    enum trib_status status =
        add_sums(state, *codec != NULL ? *codec : state->codec_in, record->payload, state->A);
    pending->payload = trib_blob_ref(record->payload);
    pending->codec = *codec;
    *codec = NULL;
    return status;
}

/* Its tier's model is the one it trained, from its base on. */
static enum trib_status take_tier(struct trib_state *state, const struct trib_record *record,
                                  const struct trib_codec *codec, const struct trib_pending *pending) {
    size_t tier = pending->peer % trib_rule_tiers(state->rule);
    if (state->tiers[tier] == NULL) state->tiers[tier] = trib_alloc_floats(trib_state_parameters(state));
    if (state->tiers[tier] == NULL) return TRIB_NOMEM;
    state->tier_updates[tier]++;
    return mix(state, record, codec, state->tiers[tier], state->A);
}

/* A += w u - what is cached of its participant, which the update then replaces. */
static enum trib_status take_cached(struct trib_state *state, const struct trib_record *record,
                                    const struct trib_codec *codec, struct trib_codec **own_codec,
                                    const struct trib_pending *pending) {
    struct trib_peer *peer = &state->peers[pending->peer];
    const struct trib_codec *before = peer->cache_codec != NULL ? peer->cache_codec : state->codec_in;
    enum trib_status status = add_parts(state, codec, record->payload, record->applied, 1.0f, state->A);
    if (status == TRIB_OK && peer->cache != NULL)
        status = add_parts(state, before, peer->cache, -peer->cache_weight, 0.0f, state->A);
    if (status != TRIB_OK) return status;
    trib_blob_unref(&peer->cache);
    trib_codec_free(&peer->cache_codec);
    peer->cache = trib_blob_ref(record->payload);
    peer->cache_codec = *own_codec;
    peer->cache_weight = record->applied;
    *own_codec = NULL;
    return TRIB_OK;
}

enum trib_status trib_state_take_update(struct trib_state *state, const struct trib_record *record,
                                        struct trib_pending *pending, struct trib_error *err) {
    struct trib_codec *own_codec;
    enum trib_status status = trib_record_codec(state, record, &own_codec, err);
    if (status != TRIB_OK) return status;
    const struct trib_codec *codec = own_codec != NULL ? own_codec : state->codec_in;
    enum trib_rule_form form = trib_rule_form(state->rule);
    bool at_once = trib_rule_at_once(state->rule);
    float *into = at_once ? state->own : state->A;
    if (form == TRIB_RULE_BUFFERED)
        status = keep_update(state, record, pending, &own_codec);
    else if (form == TRIB_RULE_MIXING)
        status = mix(state, record, codec, into, into);
    else if (form == TRIB_RULE_TIERS)
        status = take_tier(state, record, codec, pending);
    else if (form == TRIB_RULE_CACHED)
        status = take_cached(state, record, codec, &own_codec, pending);
    else
        status = add_parts(state, codec, record->payload, record->applied, 1.0f, into);
    if (status == TRIB_OK && form == TRIB_RULE_SERIES)
        trib_state_keep_series(state, record, &own_codec, pending->peer);
    if (status == TRIB_OK && state->step != NULL && at_once) {
        memset(state->step, 0, trib_state_parameters(state) * sizeof *state->step);
        status = add_parts(state, codec, record->payload, 1.0f, 0.0f, state->step);
    }
    trib_codec_free(&own_codec);
    if (status == TRIB_OK) return TRIB_OK;
    return trib_fail(err, status, "update %llu of %s could not be taken in: %s",
                     (unsigned long long)record->number, state->peers[pending->peer].identity,
                     status == TRIB_NOMEM ? "out of memory"
                                          : "its bytes, or the increments since its base, are unreadable");
}

/* ---- at a commit ---- */

struct buffered {
    const struct trib_state *state;
    struct trib_reading *updates;
    struct trib_decoder *decoders; /* a worker's, one of each update; where it is 0 it has not begun */
    float *weights; /* what each is multiplied by: its damping, for samples do not count under a combiner */
};

static void read_rows(void *ctx, size_t worker, size_t at, size_t n, float *const *rows) {
    struct buffered *b = ctx;
    const struct trib_state *state = b->state;
    for (size_t i = 0; i < state->pending_count; i++) {
        const struct trib_reading *r = &b->updates[i];
        struct trib_decoder *decoder = &b->decoders[worker * state->pending_count + i];
        if (decoder->codec == NULL || decoder->position > at) *decoder = r->decoder; /* from 0 on */
        trib_decoder_skip(decoder, at - decoder->position);
        memset(rows[i], 0, n * sizeof **rows);
        trib_decoder_add(decoder, n, b->weights[i], rows[i]);
    }
}

static enum trib_status open_updates(struct buffered *b) {
    const struct trib_state *state = b->state;
    for (size_t i = 0; i < state->pending_count; i++) {
        const struct trib_pending *p = &state->pending[i];
        const struct trib_codec *codec = p->codec != NULL ? p->codec : state->codec_in;
        enum trib_status status =
            trib_reading_start(&b->updates[i], codec, p->payload, trib_state_parameters(state));
        if (status != TRIB_OK) return status;
        b->weights[i] = p->norm > 0.0f ? p->applied / p->norm : p->applied;
    }
    return TRIB_OK;
}

/* The averaged part of A becomes what the rule's combiner makes of the pending updates. */
static enum trib_status combine(struct trib_state *state, const struct trib_record *record,
                                struct trib_error *err) {
    size_t count = state->pending_count, workers = trib_shards_width(state->shards);
    struct buffered b = {.state = state,
                         .updates = trib_alloc_array(count, sizeof *b.updates),
                         .decoders = trib_alloc_array(workers * count, sizeof *b.decoders),
                         .weights = trib_alloc_array(count, sizeof *b.weights)};
    enum trib_status status =
        b.updates != NULL && b.decoders != NULL && b.weights != NULL ? open_updates(&b) : TRIB_NOMEM;
    if (status == TRIB_OK) {
        struct trib_rule_rows rows = {.count = count,
                                      .parameters = state->sum_from,
                                      .read = read_rows,
                                      .ctx = &b,
                                      .shards = state->shards,
                                      .previous = state->step,
                                      .norm = trib_rule_median_norm(&state->memory),
                                      .seed = record->commits};
        status = trib_rule_combine(state->rule, &rows, state->A, err);
    } else {
        (void)trib_fail(err, status, "the %zu updates of a buffer could not be read side by side%s", count,
                        status == TRIB_NOMEM ? ": out of memory" : "");
    }
    for (size_t i = 0; b.updates != NULL && i < count; i++) trib_plain_release(&b.updates[i].plain);
    trib_free(b.updates);
    trib_free(b.decoders);
    trib_free(b.weights);
    return status;
}

/* A becomes (K / N) H + A, so that scale * A is lr (H / N + A / K), and H becomes H + A: what is cached now.
 * N: all participants that are known here, K: updates in the buffer. */
static void add_cached(struct trib_state *state) {
    const struct trib_kernels *k = trib_kernels();
    float part = (float)((double)state->pending_count / (double)state->peer_count);
    float gathered[TRIB_CODEC_BLOCK];
    for (size_t at = 0; at < state->sum_from; at += TRIB_CODEC_BLOCK) {
        size_t count = state->sum_from - at < TRIB_CODEC_BLOCK ? state->sum_from - at : TRIB_CODEC_BLOCK;
        memcpy(gathered, state->A + at, count * sizeof *gathered);
        k->add_scaled(state->A + at, state->cached + at, part, count);
        k->add_scaled(state->cached + at, gathered, 1.0f, count);
    }
}

/* A = sum of weighted tier models - the model. */
static void add_tiers(struct trib_state *state) {
    const struct trib_kernels *k = trib_kernels();
    size_t tiers = trib_rule_tiers(state->rule);
    double weights[TRIB_RULE_TIERS_MAX];
    trib_rule_tier_weights(state->tier_updates, tiers, weights);
    for (size_t i = 0; i < tiers; i++)
        if (weights[i] > 0) k->add_scaled(state->A, state->tiers[i], (float)weights[i], state->sum_from);
    k->add_scaled(state->A, state->own, -1.0f, state->sum_from);
}

/* own += the step, A = 0, of one stretch: that of the averaged part is scaled, unless an optimiser has made
 * it. */
struct stepping {
    struct trib_state *state;
    float scale;
    bool optimised;
};

static void step_part(void *arg, size_t i, size_t worker) {
    (void)worker;
    const struct stepping *s = arg;
    struct trib_state *state = s->state;
    const struct trib_kernels *k = trib_kernels();
    size_t n = trib_state_parameters(state), at = i * STEP_PART, averaged = state->sum_from;
    size_t end = n - at < STEP_PART ? n : at + STEP_PART;
    size_t scaled = averaged < at ? at : averaged < end ? averaged : end;
    if (!s->optimised) k->add_scaled(state->own + at, state->A + at, s->scale, scaled - at);
    k->add_scaled(state->own + scaled, state->A + scaled, 1.0f, end - scaled);
    memset(state->A + at, 0, (end - at) * sizeof *state->A);
}

enum trib_status trib_state_make_step(struct trib_state *state, const struct trib_record *record,
                                      struct trib_error *err) {
    size_t from = state->sum_from;
    if (trib_rule_at_once(state->rule)) return TRIB_OK;
    if (trib_rule_form(state->rule) == TRIB_RULE_BUFFERED) {
        enum trib_status status = combine(state, record, err);
        if (status != TRIB_OK) return status;
    }
    enum trib_status estimated = trib_state_add_estimates(state, record, err);
    if (estimated != TRIB_OK) return estimated;
    if (trib_rule_form(state->rule) == TRIB_RULE_CACHED) add_cached(state);
    if (trib_rule_form(state->rule) == TRIB_RULE_TIERS) add_tiers(state);
    if (state->step != NULL) memcpy(state->step, state->A, from * sizeof *state->step);
    struct stepping stepping = {state, record->scale, trib_rule_optimises(state->rule)};
    if (stepping.optimised) {
        struct trib_rule_step step = {.count = state->memory.optimised + 1,
                                      .staleness = state->memory.stalest};
        trib_rule_optimise(state->rule, &step, state->moments, state->A, record->scale, state->own, from);
    }
    size_t parts = (trib_state_parameters(state) + STEP_PART - 1) / STEP_PART;
    trib_shards_run(state->shards, parts, step_part, &stepping);
    return TRIB_OK;
}
