/* What came and went on the hops below an edge since its last forward, hop by hop (docs/protocol.md, section
 * 9). Hops count from the devices' up, so that the devices' links of a tree stand together however deep each
 * of its branches is; an edge's own links are above those of the deepest edge that it has heard of. */
#include "shared/state/internal.h"

#include "shared/base/alloc.h"

#include <string.h>

enum { UPDATES, UP, DOWN, RAW };
_Static_assert(RAW + 1 == TRIB_HOP_NUMBERS && TRIB_HOPS_MAX * TRIB_HOP_NUMBERS <= TRIB_U64S_MAX,
               "a list holds them");

bool trib_hops_add_up(const struct trib_u64s *hops, const uint64_t sums[TRIB_HOP_NUMBERS]) {
    uint64_t left[TRIB_HOP_NUMBERS];
    memcpy(left, sums, sizeof left);
    if (hops->count % TRIB_HOP_NUMBERS != 0 || hops->count > TRIB_HOPS_MAX * TRIB_HOP_NUMBERS) return false;
    for (size_t i = 0; i < hops->count; i++) {
        if (hops->items[i] > left[i % TRIB_HOP_NUMBERS]) return false;
        left[i % TRIB_HOP_NUMBERS] -= hops->items[i];
    }
    return (left[UPDATES] | left[UP] | left[DOWN] | left[RAW]) == 0;
}

/* Until now it was all of devices that are this edge's own children. */
static enum trib_status begin(struct trib_state *state) {
    const struct trib_gathered *g = &state->gathered;
    if (state->hops != NULL) return TRIB_OK;
    state->hops = trib_alloc(sizeof *state->hops);
    if (state->hops == NULL) return TRIB_NOMEM;
    *state->hops = (struct trib_u64s){
        .count = TRIB_HOP_NUMBERS,
        .items = {g->below_updates, g->below_up_bytes, g->below_down_bytes, g->below_raw_bytes}};
    return TRIB_OK;
}

static uint64_t *own_links(const struct trib_state *state) {
    return state->hops->items + state->hops->count - TRIB_HOP_NUMBERS;
}

enum trib_status trib_hops_take(struct trib_state *state, const struct trib_record *record) {
    if (state->role != TRIB_ROLE_EDGE || (state->hops == NULL && !trib_rec_has(record, BELOW_UPDATES)))
        return TRIB_OK;
    struct trib_u64s told = {.count = 0};
    if (trib_rec_has(record, HOPS)) {
        told = record->hops;
    } else if (trib_rec_has(record, BELOW_UPDATES)) {
        told = (struct trib_u64s){.count = TRIB_HOP_NUMBERS,
                                  .items = {record->below_updates, record->below_up_bytes,
                                            record->below_down_bytes, record->below_raw_bytes}};
    }
    if (begin(state) != TRIB_OK) return TRIB_NOMEM;
    size_t with_own = told.count + TRIB_HOP_NUMBERS;
    if (with_own > TRIB_HOPS_MAX * TRIB_HOP_NUMBERS) with_own = TRIB_HOPS_MAX * TRIB_HOP_NUMBERS;
    if (told.count > 0 && with_own > state->hops->count) state->hops->count = with_own;
    for (size_t i = 0; i < told.count; i++) state->hops->items[i] += told.items[i];
    own_links(state)[RAW] += record->raw_bytes;
    return TRIB_OK;
}

void trib_hops_commit(struct trib_state *state, const struct trib_record *record) {
    if (state->hops == NULL) return;
    uint64_t *own = own_links(state);
    own[UP] += record->up_bytes;
    own[DOWN] += record->down_bytes;
    for (size_t i = 0; i < state->pending_count; i++) {
        bool edge = state->peers[state->pending[i].peer].kind == TRIB_CHILD_EDGE;
        (edge ? own : state->hops->items)[UPDATES]++;
    }
}

void trib_hops_clear(struct trib_state *state) {
    if (state->hops != NULL) memset(state->hops->items, 0, sizeof state->hops->items);
}
