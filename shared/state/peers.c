/* Participants by identity: a growing array with an open-addressing index of it. Peers are never removed in a
 * run. */
#include "shared/state/internal.h"

#include "shared/base/alloc.h"
#include "shared/base/rng.h"

#include <string.h>

static uint64_t hash(const char *identity, size_t bytes) {
    uint64_t h = bytes;
    for (size_t i = 0; i < bytes; i++) h = trib_mix64(h ^ (uint8_t)identity[i]);
    return h;
}

/* Where the identity stands in the index, or the free slot where it would. */
static size_t slot(const struct trib_state *state, const char *identity, size_t bytes) {
    TRIB_ASSERT(state->index != NULL && state->peers != NULL);
    size_t mask = state->index_capacity - 1;
    for (size_t i = (size_t)hash(identity, bytes) & mask;; i = (i + 1) & mask) {
        uint32_t entry = state->index[i];
        if (entry == 0) return i;
        const char *other = state->peers[entry - 1].identity;
        if (strlen(other) == bytes && memcmp(other, identity, bytes) == 0) return i;
    }
}

struct trib_peer *trib_state_peer(const struct trib_state *state, const char *identity, size_t bytes) {
    if (state->index_capacity == 0 || bytes == 0 || bytes > TRIB_NAME_MAX) return NULL;
    uint32_t entry = state->index[slot(state, identity, bytes)];
    return entry != 0 ? &state->peers[entry - 1] : NULL;
}

static enum trib_status grow(struct trib_state *state) {
    if (state->peer_count < state->peer_capacity) return TRIB_OK;
    size_t capacity = state->peer_capacity > 0 ? state->peer_capacity * 2 : 16;
    struct trib_peer *peers = trib_realloc(state->peers, capacity * sizeof *peers);
    if (peers == NULL) return TRIB_NOMEM;
    state->peers = peers;
    uint32_t *index = trib_alloc_array(capacity * 2, sizeof *index);
    if (index == NULL) return TRIB_NOMEM;
    trib_free(state->index);
    state->index = index;
    state->index_capacity = capacity * 2;
    state->peer_capacity = capacity;
    for (size_t i = 0; i < state->peer_count; i++)
        state->index[slot(state, peers[i].identity, strlen(peers[i].identity))] = (uint32_t)(i + 1);
    return TRIB_OK;
}

enum trib_status trib_state_put_peer(struct trib_state *state, const char *identity, size_t bytes,
                                     struct trib_peer **out) {
    if (bytes == 0 || bytes > TRIB_NAME_MAX || memchr(identity, 0, bytes) != NULL) return TRIB_INVALID;
    *out = trib_state_peer(state, identity, bytes);
    if (*out != NULL) return TRIB_OK;
    if (grow(state) != TRIB_OK) return TRIB_NOMEM;
    size_t at = slot(state, identity, bytes);
    struct trib_peer *peer = &state->peers[state->peer_count++];
    *peer = (struct trib_peer){0};
    memcpy(peer->identity, identity, bytes);
    state->index[at] = (uint32_t)state->peer_count;
    *out = peer;
    return TRIB_OK;
}

void trib_peer_keep_verdict(struct trib_peer *peer, const struct trib_verdict_kept *verdict) {
    peer->verdicts[peer->verdict_count++ % TRIB_VERDICTS_KEPT] = *verdict;
}

const struct trib_verdict_kept *trib_peer_verdict(const struct trib_peer *peer, uint64_t number) {
    size_t kept = peer->verdict_count < TRIB_VERDICTS_KEPT ? peer->verdict_count : TRIB_VERDICTS_KEPT;
    for (size_t i = 1; i <= kept; i++) { /* the newest first: it is what is asked for as a rule */
        const struct trib_verdict_kept *v = &peer->verdicts[(peer->verdict_count - i) % TRIB_VERDICTS_KEPT];
        if (v->number == number) return v;
    }
    return NULL;
}

bool trib_peer_is_retired(const struct trib_peer *peer, uint64_t incarnation) {
    for (size_t i = 0; i < peer->retired_count; i++)
        if (peer->retired[i] == incarnation) return true;
    return false;
}

enum trib_status trib_peer_retire(struct trib_peer *peer, uint64_t incarnation) {
    if (peer->retired == NULL) {
        peer->retired = trib_alloc_array(TRIB_RETIRED_KEPT, sizeof *peer->retired);
        if (peer->retired == NULL) return TRIB_NOMEM;
    }
    if (peer->retired_count == TRIB_RETIRED_KEPT) {
        memmove(peer->retired, peer->retired + 1, (TRIB_RETIRED_KEPT - 1) * sizeof *peer->retired);
        peer->retired_count--;
    }
    peer->retired[peer->retired_count++] = incarnation;
    return TRIB_OK;
}
