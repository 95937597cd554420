/* What participants tell of their labels. Each counts alike, however many samples it claims: who says that it
 * has a billion cannot make the others odd. */
#include "shared/state/internal.h"

#include "shared/base/alloc.h"

#include <math.h>
#include <string.h>

#define WHOLE 4294967295.0 /* shares are of this */

/* One sample more of each class (Laplace), so that a device with few is not further from the others than its
 * few samples say. Rounded down, and at least 1, so that sums are those of whole numbers. */
size_t trib_label_shares(const struct trib_u64s *told, uint32_t shares[TRIB_U64S_MAX]) {
    double all = (double)told->count;
    for (size_t i = 0; i < told->count; i++) all += (double)told->items[i];
    for (size_t i = 0; i < told->count; i++) {
        double share = ((double)told->items[i] + 1.0) / all * WHOLE;
        shares[i] = share > 1.0 ? (uint32_t)share : 1;
    }
    return told->count;
}

enum trib_status trib_state_put_labels(struct trib_state *state, struct trib_peer *peer,
                                       const uint32_t *shares, size_t count) {
    uint32_t *copy = NULL;
    if (count == 0 && peer->class_count == 0) return TRIB_OK;
    if (state->labels == NULL) state->labels = trib_alloc_array(TRIB_U64S_MAX, sizeof *state->labels);
    if (state->labels == NULL) return TRIB_NOMEM;
    if (count > 0 && (copy = trib_alloc_array(count, sizeof *copy)) == NULL) return TRIB_NOMEM;
    for (size_t i = 0; i < peer->class_count; i++) state->labels[i] -= peer->labels[i];
    for (size_t i = 0; i < count; i++) state->labels[i] += copy[i] = shares[i];
    state->label_tellers += (count > 0) - (size_t)(peer->class_count > 0);
    trib_free(peer->labels);
    peer->labels = copy;
    peer->class_count = count;
    return TRIB_OK;
}

bool trib_state_labels_differ(const struct trib_peer *peer, const struct trib_u64s *labels) {
    uint32_t shares[TRIB_U64S_MAX];
    size_t count = trib_label_shares(labels, shares);
    return count != peer->class_count ||
           (count > 0 && memcmp(shares, peer->labels, count * sizeof *shares) != 0);
}

double trib_state_divergence(const struct trib_state *state, const struct trib_peer *peer,
                             const struct trib_u64s *labels) {
    uint32_t shares[TRIB_U64S_MAX];
    size_t count = trib_label_shares(labels, shares);
    double tellers = (double)(state->label_tellers + (peer->class_count == 0)), all = 0, divergence = 0;
    for (size_t i = 0; i < count; i++) all += (double)shares[i];
    for (size_t i = 0; i < count; i++) {
        uint64_t before = state->labels != NULL ? state->labels[i] : 0;
        uint64_t sum = before - (i < peer->class_count ? peer->labels[i] : 0) + shares[i];
        divergence += (double)shares[i] / all * log((double)shares[i] * tellers / (double)sum);
    }
    return divergence > 0.0 ? divergence : 0.0;
}
