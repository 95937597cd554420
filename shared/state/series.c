/* Rules with series (shared/rules/compensated.c): the last two updates of each participant, kept encoded, and
 * the estimates made of them for those who are away at a commit. All of it follows from records: the updates
 * from their verdicts, who is away from the commit. */
#include "shared/state/internal.h"

#include "shared/base/alloc.h"

#include <math.h>
#include <string.h>

enum { WORD = 64 };

/* ---- what is kept ---- */

static void drop_older(struct trib_peer *peer) {
    trib_blob_unref(&peer->older);
    trib_codec_free(&peer->older_codec);
}

static void drop_series(struct trib_peer *peer) {
    drop_older(peer);
    trib_blob_unref(&peer->cache);
    trib_codec_free(&peer->cache_codec);
}

void trib_state_keep_series(struct trib_state *state, const struct trib_record *record,
                            struct trib_codec **own_codec, size_t at) {
    struct trib_peer *peer = &state->peers[at];
    drop_older(peer);
    peer->older = peer->cache;
    peer->older_codec = peer->cache_codec;
    peer->older_weight = peer->cache_weight;
    peer->cache = trib_blob_ref(record->payload);
    peer->cache_codec = *own_codec;
    peer->cache_weight = record->norm_add > 0.0f ? record->applied / record->norm_add : 0.0f;
    peer->cache_norm = record->norm_add;
    peer->cache_commit = state->commits + 1;
    *own_codec = NULL;
}

void trib_state_age_series(struct trib_state *state) {
    uint64_t most = trib_rule_series(state->rule).most;
    for (size_t i = 0; i < state->peer_count; i++) {
        struct trib_peer *peer = &state->peers[i];
        if (peer->cache != NULL && state->commits + 1 - peer->cache_commit > most) drop_series(peer);
    }
}

/* ---- who is away ---- */

float trib_state_estimate(const struct trib_state *state, size_t at) {
    struct trib_rule_series series = trib_rule_series(state->rule);
    const struct trib_peer *peer = &state->peers[at];
    if (series.most == 0 || peer->cache == NULL) return 0.0f;
    uint64_t missed = state->commits + 1 - peer->cache_commit;
    if (missed == 0 || missed > series.most) return 0.0f;
    double weight = (double)peer->cache_norm;
    for (uint64_t i = 0; i < missed; i++) weight *= series.decay;
    return (float)weight;
}

float trib_state_mark_away(const struct trib_state *state, size_t at, struct trib_record *record) {
    struct trib_u64s *away = &record->away;
    float weight = at / WORD < TRIB_U64S_MAX ? trib_state_estimate(state, at) : 0.0f;
    if (!(weight > 0.0f)) return 0.0f;
    while (away->count <= at / WORD) away->items[away->count++] = 0;
    away->items[at / WORD] |= (uint64_t)1 << at % WORD;
    record->present |= (uint64_t)1 << TRIB_R_AWAY;
    return weight;
}

/* ---- estimates ---- */

/* The last update and the one before it, each times its own factor; without the other `older.plain.data` is
 * NULL. */
struct series {
    struct trib_reading last, older;
    float last_factor, older_factor;
};

static enum trib_status open_series(const struct trib_state *state, const struct trib_peer *peer,
                                    struct series *s) {
    const struct trib_codec *last = peer->cache_codec != NULL ? peer->cache_codec : state->codec_in,
                            *older = peer->older_codec != NULL ? peer->older_codec : state->codec_in;
    size_t n = trib_state_parameters(state);
    *s = (struct series){.last_factor = peer->cache_weight, .older_factor = peer->older_weight};
    enum trib_status status = trib_reading_start(&s->last, last, peer->cache, n);
    if (status == TRIB_OK && peer->older != NULL)
        status = trib_reading_start(&s->older, older, peer->older, n);
    return status;
}

/* What E = (1 + m) F - m F' is multiplied by, so that it is no longer than the longer of the two. `block` has
 * room for two. */
static double bound(const struct trib_state *state, const struct series *s, double m, float *block) {
    const struct trib_kernels *k = trib_kernels();
    struct trib_decoder last = s->last.decoder, older = s->older.decoder;
    float *a = block, *b = block + TRIB_CODEC_BLOCK;
    double aa = 0, ab = 0, bb = 0;
    for (size_t at = 0; at < state->sum_from; at += TRIB_CODEC_BLOCK) {
        size_t n = state->sum_from - at < TRIB_CODEC_BLOCK ? state->sum_from - at : TRIB_CODEC_BLOCK;
        memset(block, 0, 2 * TRIB_CODEC_BLOCK * sizeof *block);
        trib_decoder_add(&last, n, s->last_factor, a);
        trib_decoder_add(&older, n, s->older_factor, b);
        aa += k->sum_squares(a, n);
        ab += k->dot(a, b, n);
        bb += k->sum_squares(b, n);
    }
    double longest = aa > bb ? aa : bb;
    double estimate = (1 + m) * (1 + m) * aa - 2 * m * (1 + m) * ab + m * m * bb;
    return estimate > longest ? sqrt(longest / estimate) : 1;
}

static enum trib_status add_estimate(struct trib_state *state, const struct trib_peer *peer, double weight,
                                     float *block) {
    double m = trib_rule_series(state->rule).momentum;
    struct series s;
    enum trib_status status = open_series(state, peer, &s);
    if (status == TRIB_OK && peer->older == NULL) {
        trib_decoder_add(&s.last.decoder, state->sum_from, (float)(weight * (double)s.last_factor), state->A);
    } else if (status == TRIB_OK) {
        weight *= bound(state, &s, m, block);
        trib_decoder_add(&s.last.decoder, state->sum_from, (float)(weight * (1 + m) * (double)s.last_factor),
                         state->A);
        trib_decoder_add(&s.older.decoder, state->sum_from, (float)(-weight * m * (double)s.older_factor),
                         state->A);
    }
    trib_plain_release(&s.last.plain);
    trib_plain_release(&s.older.plain);
    return status;
}

enum trib_status trib_state_add_estimates(struct trib_state *state, const struct trib_record *record,
                                          struct trib_error *err) {
    if (!trib_rec_has(record, AWAY)) return TRIB_OK;
    float *block = trib_alloc_floats(2 * TRIB_CODEC_BLOCK);
    enum trib_status status = block != NULL ? TRIB_OK : TRIB_NOMEM;
    for (size_t i = 0; status == TRIB_OK && i < record->away.count * WORD; i++) {
        if ((record->away.items[i / WORD] >> i % WORD & 1) == 0) continue;
        float weight = i < state->peer_count ? trib_state_estimate(state, i) : 0.0f;
        status = weight > 0.0f ? add_estimate(state, &state->peers[i], (double)weight, block) : TRIB_CORRUPT;
    }
    trib_free(block);
    return status == TRIB_OK
               ? TRIB_OK
               : trib_fail(err, status,
                           "record %llu (commit): an estimate for a participant of whom no update "
                           "is kept, or that cannot be read",
                           (unsigned long long)record->position);
}
