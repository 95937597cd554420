/* What the files of shared/state share; nobody else includes this. */
#ifndef TRIB_STATE_INTERNAL_H
#define TRIB_STATE_INTERNAL_H

#include "shared/kernels/kernels.h"
#include "shared/state/state.h"

void trib_state_drop_held(struct trib_state *state, size_t i);
void trib_state_drop_increments(struct trib_state *state);
/* Frees everything that belongs to a run: vectors, peers, bases, held forwards, plan, schema. */
void trib_state_clear_run(struct trib_state *state);
enum trib_status trib_state_add_base(struct trib_state *state, const struct trib_base *base) TRIB_MUST_USE;
/* Finds or adds a peer; *out is valid until the next one is added. */
enum trib_status trib_state_put_peer(struct trib_state *state, const char *identity, size_t bytes,
                                     struct trib_peer **out) TRIB_MUST_USE;
void trib_peer_keep_verdict(struct trib_peer *peer, const struct trib_verdict_kept *verdict);
enum trib_status trib_peer_retire(struct trib_peer *peer, uint64_t incarnation) TRIB_MUST_USE;
/* Rebuilds what follows from plan and schema: codecs, rule, vectors. */
enum trib_status trib_state_prepare(struct trib_state *state, struct trib_error *err) TRIB_MUST_USE;
/* Before P changes: if it is lent, P becomes a copy (zeros, without `keep`). */
enum trib_status trib_state_take_back(struct trib_state *state, bool keep) TRIB_MUST_USE;
/* Voids U, what is pending and, if `held`, the held forwards; sets a fence. */
void trib_state_void(struct trib_state *state, bool held);

/* The codec that a record names; *out is NULL where it names none. */
enum trib_status trib_record_codec(const struct trib_state *state, const struct trib_record *record,
                                   struct trib_codec **out, struct trib_error *err) TRIB_MUST_USE;

/* One for each side of the dispatch in apply.c. */
enum trib_status trib_apply_verdict(struct trib_state *state, struct trib_record *record,
                                    struct trib_error *err) TRIB_MUST_USE;
enum trib_status trib_apply_commit(struct trib_state *state, struct trib_record *record,
                                   struct trib_error *err) TRIB_MUST_USE;
enum trib_status trib_apply_rollback(struct trib_state *state, struct trib_record *record,
                                     struct trib_error *err) TRIB_MUST_USE;
enum trib_status trib_apply_publish(struct trib_state *state, struct trib_record *record,
                                    struct trib_error *err) TRIB_MUST_USE;
enum trib_status trib_apply_forward(struct trib_state *state, struct trib_record *record,
                                    struct trib_error *err) TRIB_MUST_USE;
enum trib_status trib_apply_acked(struct trib_state *state, struct trib_record *record,
                                  struct trib_error *err) TRIB_MUST_USE;
enum trib_status trib_apply_parent(struct trib_state *state, struct trib_record *record,
                                   struct trib_error *err) TRIB_MUST_USE;

#endif
