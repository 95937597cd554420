/* What the files of shared/state share; nobody else includes this. */
#ifndef TRIB_STATE_INTERNAL_H
#define TRIB_STATE_INTERNAL_H

#include "shared/kernels/kernels.h"
#include "shared/state/state.h"

/* Makes room for so many held forwards, those that are new all zero. */
enum trib_status trib_state_room_held(struct trib_state *state, size_t count) TRIB_MUST_USE;
void trib_state_drop_held(struct trib_state *state, size_t i);
/* Device: what it keeps from update to update goes. */
void trib_state_drop_local(struct trib_state *state);
void trib_state_drop_increments(struct trib_state *state);
/* The highest number of a peer that was committed, refused or voided. */
void trib_state_consume(const struct trib_state *state, struct trib_peer *peer, uint64_t number);
/* Frees everything that belongs to a run: vectors, peers, bases, held forwards, plan, schema. */
void trib_state_clear_run(struct trib_state *state);
enum trib_status trib_state_add_base(struct trib_state *state, const struct trib_base *base) TRIB_MUST_USE;
/* Finds or adds a peer; *out is valid until the next one is added. */
enum trib_status trib_state_put_peer(struct trib_state *state, const char *identity, size_t bytes,
                                     struct trib_peer **out) TRIB_MUST_USE;
void trib_peer_keep_verdict(struct trib_peer *peer, const struct trib_verdict_kept *verdict);
enum trib_status trib_peer_retire(struct trib_peer *peer, uint64_t incarnation) TRIB_MUST_USE;
/* Reads plan and schema, and makes the codecs they ask for. */
enum trib_status trib_state_take_terms(struct trib_state *state, const struct trib_text *plan,
                                       const struct trib_text *schema, const char *origin,
                                       struct trib_error *err) TRIB_MUST_USE;
void trib_state_drop_terms(struct trib_state *state);
/* Rebuilds what else follows from plan and schema: rule, vectors. */
enum trib_status trib_state_prepare(struct trib_state *state, struct trib_error *err) TRIB_MUST_USE;
/* Before P changes: if it is lent, P becomes a copy (zeros, without `keep`). */
enum trib_status trib_state_take_back(struct trib_state *state, bool keep) TRIB_MUST_USE;
/* Voids U, what is pending and, if `held`, the held forwards; sets a fence. */
void trib_state_void(struct trib_state *state, bool held);

/* What is kept of children for a rule (caches, tiers) is dropped. */
void trib_state_drop_caches(struct trib_state *state);
/* What is pending is dropped; nothing is accounted. */
void trib_state_drop_pending(struct trib_state *state);
void trib_state_release_pending(struct trib_pending *pending);
/* An encoded vector that is being read. */
struct trib_reading {
    struct trib_plain plain;
    struct trib_decoder decoder;
};
enum trib_status trib_reading_start(struct trib_reading *r, const struct trib_codec *codec,
                                    const struct trib_blob *blob, size_t n) TRIB_MUST_USE;

/* ---- labels.c ---- */
/* Shares of what a participant told, as trib_peer.labels; returns how many. Nothing told: 0. */
size_t trib_label_shares(const struct trib_u64s *told, uint32_t shares[TRIB_U64S_MAX]);
/* What a participant tells from now on. */
enum trib_status trib_state_put_labels(struct trib_state *state, struct trib_peer *peer,
                                       const uint32_t *shares, size_t count) TRIB_MUST_USE;

/* ---- hops.c ---- */
/* Before `gathered` has what an accepted update, or a commit, adds to below_...; and when that is zero again.
 */
enum trib_status trib_hops_take(struct trib_state *state, const struct trib_record *record) TRIB_MUST_USE;
void trib_hops_commit(struct trib_state *state, const struct trib_record *record);
void trib_hops_clear(struct trib_state *state);

/* ---- series.c ---- */
/* An accepted update becomes the last one of the participant at this index in peers. Takes *own_codec. */
void trib_state_keep_series(struct trib_state *state, const struct trib_record *record,
                            struct trib_codec **own_codec, size_t at);
/* After a commit: what is too old for an estimate in the next one is dropped. */
void trib_state_age_series(struct trib_state *state);
/* A += the estimates that a commit's record asks for. */
enum trib_status trib_state_add_estimates(struct trib_state *state, const struct trib_record *record,
                                          struct trib_error *err) TRIB_MUST_USE;

/* The vector of an accepted update goes where the rule's form says; `pending` is its own. */
enum trib_status trib_state_take_update(struct trib_state *state, const struct trib_record *record,
                                        struct trib_pending *pending, struct trib_error *err) TRIB_MUST_USE;
/* A commit: what was gathered becomes a step of `own`. */
enum trib_status trib_state_make_step(struct trib_state *state, const struct trib_record *record,
                                      struct trib_error *err) TRIB_MUST_USE;

/* Which codec of a ladder the record's payload is in, the upper one where it names none; SIZE_MAX: none of
 * them. */
size_t trib_state_rung(const struct trib_ladder *ladder, const struct trib_record *record);
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
