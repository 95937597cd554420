/* A version of a node's model, rebuilt from what its store keeps: a checkpoint (or the run's beginning), and
 * the records after it through trib_state_apply, which refuses a version or publication that comes out with
 * another digest than the one recorded. */
#ifndef TRIB_LEDGER_REPLAY_H
#define TRIB_LEDGER_REPLAY_H

#include "shared/state/state.h"
#include "shared/store/store.h"

#include <stdbool.h>

/* Limit of a state that is rebuilt to be looked at: increments that a mixing rule goes back to. No ring in
 * force was larger, and the bits do not depend on it. */
#define TRIB_REPLAY_RING_BYTES ((size_t)1 << 30)

struct trib_replay_request {
    enum trib_role role; /* of the node */
    uint8_t run[16];
    bool newest; /* to the last record that there is; else to `version` */
    uint64_t version;
    /* After each record, or NULL. `until` is where the journal ends. */
    void (*progress)(void *ctx, uint64_t position, uint64_t until);
    void *ctx;
};

struct trib_replay {
    struct trib_state *state; /* just after the version was made; the caller frees it */
    uint64_t from;            /* position of the checkpoint that it began at; 0: the journal's beginning */
    uint64_t from_version;
    uint64_t records, contributions; /* applied; accepted updates among them */
    uint64_t versions, publications; /* whose digests were recorded, and came out the same */
};

/* Rebuilds the version; `store` may be read-only, and then its node may go on. TRIB_NOT_FOUND: the version
 * was not made yet, or what it needs is not kept any more (the message names the oldest version that can be
 * rebuilt, and what keeps more); TRIB_CORRUPT: something on the way is damaged or has another digest;
 * TRIB_AGAIN: the node deleted what was being read (once more, then). */
enum trib_status trib_replay(struct trib_store *store, const struct trib_replay_request *request,
                             struct trib_replay *out, struct trib_error *err) TRIB_MUST_USE;

#endif
