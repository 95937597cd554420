/* What a node durably is: its vectors, its numbers, what it has taken from its children and not yet passed
 * on.
 *
 * Roles read this struct freely and change nothing in it; every change is a record that trib_state_apply
 * carries out. Live, after a restart and in replay the same function runs on the same records and gives the
 * same bits.
 *
 *   vectors   device  edge   cloud
 *   G          x       x            the parent's published vector, as held here
 *   own        x       x      x     device: what its codec lost so far; edge: U, committed and not forwarded;
 *                                   cloud: M, the model
 *   local      x                    what an algorithm keeps from update to update
 *   A                  x      x     what a gathering rule has gathered since its last commit; under a
 *                                   combiner only the sums (sum_from) of what is pending
 *   P                  x      x     what the children hold
 *   step              (x)     x     the direction of the last commit, for cosines; at an edge if its rule
 *                                   looks at it
 *   moments           (x)    (x)    of the rule's optimiser
 *   cached            (x)    (x)    sum of the children's last updates (rule ca2fl)
 *   tiers                    (x)    models of the children (rule fedat)
 *
 * An edge's model is S = ((G + own) + F1) + F2 ..., F the held forwards in number order (elastic ones are
 * not in it: they are what the model gave up). At the cloud S = own, at a device S = G. It is computed in
 * blocks where it is needed and never stored. Invariants, checked by the tests after every event:
 *   1. a number of a peer's incarnation gets one verdict;
 *   2. an accepted update is in exactly one of: A (pending), own, a held forward, the parent, void;
 *   3. P is, to the bit, what a child holds that has applied every increment up to `published`. */
#ifndef TRIB_STATE_STATE_H
#define TRIB_STATE_STATE_H

#include "shared/base/stream.h"
#include "shared/codec/ladder.h"
#include "shared/model/plan.h"
#include "shared/model/schema.h"
#include "shared/rules/rule.h"
#include "shared/state/chain.h"
#include "shared/state/record.h"

#include <stdbool.h>

enum trib_role { TRIB_ROLE_DEVICE = 1, TRIB_ROLE_EDGE, TRIB_ROLE_CLOUD };

enum {
    TRIB_HELD_MAX = 8,                 /* held forwards; beyond that U gathers */
    TRIB_HELD_BYTES = 3 * 1024 * 1024, /* and beyond so many bytes of them, if there is one */
    TRIB_VERDICTS_KEPT = 16,           /* a peer; a repeat of an older number is answered with ERROR gap */
    TRIB_BASES_KEPT = 4096, /* published versions whose commit counts are known: older bases are refused */
    TRIB_PARENTS_KEPT = 64, /* parent versions whose digests are remembered, for base_digest */
    TRIB_FULL_DIGEST_EVERY = 64, /* versions whose full digest travels with their increments */
    TRIB_RETIRED_KEPT = 256      /* retired incarnations remembered a peer */
};

struct trib_state_limits {
    size_t max_parameters;          /* a schema larger than this is refused */
    struct trib_terms_cache *terms; /* plans and schemas that were read already; borrowed; NULL: none */
    size_t ring_bytes; /* increments kept; no more than a snapshot's size unless the rule mixes; 0: that */
};

/* An update of this node's own on its way into the parent. */
struct trib_held {
    uint64_t number, base_version, samples, weight, region;
    float steps, loss;
    uint8_t base_digest[4];
    bool base_digest_known;
    bool acknowledged; /* the parent accepted it; at an edge it leaves when a model says that it is contained,
                          a device's leaves at once */
    uint64_t payload_crc;
    uint64_t below_updates, below_up_bytes, below_down_bytes, below_raw_bytes;
    struct trib_u64s *histogram; /* owned; NULL: empty, as every device's is */
    struct trib_u64s *hops;      /* owned; the part of each hop in below_...; NULL: there is one hop */
    size_t rung;                 /* of the state's ladder_out: the payload's codec */
    struct trib_blob *payload;
    struct trib_plain plain; /* of the payload: what the model is computed with */
};

/* A published version: what children may name as base. */
struct trib_base {
    uint64_t version;
    uint64_t commits; /* of this node when it was published */
    uint64_t origin;  /* the parent's version inside it (edge) */
    uint8_t chain[TRIB_DIGEST_BYTES];
    size_t rung;                 /* of the state's ladder_pub: the increment's codec */
    struct trib_blob *increment; /* from the base before it; NULL: exact publication, or no longer kept */
};

struct trib_verdict_kept {
    uint64_t number, staleness;
    uint32_t crc;
    float applied;
    uint8_t verdict, reason;
};

/* A participant, by identity; kept for the run. */
struct trib_peer {
    char identity[TRIB_NAME_MAX + 1];
    uint64_t incarnation;
    uint64_t kind;     /* enum trib_child_kind */
    uint64_t last;     /* highest number judged */
    uint64_t consumed; /* highest number committed, refused or voided, and none below it pending */
    /* consumed, as of the published version (trib_peer_applied): if that has changed since the publication
     * whose count `touched` is, it was `applied` */
    uint64_t applied, touched;
    uint64_t weight, region;     /* of its newest accepted update */
    uint64_t forward_generation; /* the forward that already counts its weight */
    uint64_t answered;           /* base of its newest accepted update, of any incarnation, plus 1; 0: none */
    struct trib_rule_peer rules; /* what rules remember of it, whatever its incarnation */
    size_t class_count;          /* of the labels that it told; 0: none */
    uint32_t *labels;            /* owned; their shares, of 2^32 together (labels.c) */
    /* where the rule caches updates: its last one, owned, and what it was multiplied by */
    struct trib_blob *cache;
    struct trib_codec *cache_codec; /* NULL: codec_in */
    float cache_weight;
    /* rule with series: the update before that one, what the last one counts in a mean, and the commit that
     * it is in, by `commits` */
    struct trib_blob *older;
    struct trib_codec *older_codec;
    float older_weight, cache_norm;
    uint64_t cache_commit;
    size_t verdict_count; /* ever kept */
    struct trib_verdict_kept verdicts[TRIB_VERDICTS_KEPT];
    size_t retired_count;
    uint64_t *retired; /* owned */
};

/* An accepted update that is not committed yet. */
struct trib_pending {
    size_t peer; /* index in peers */
    uint64_t incarnation, number, samples, weight;
    float applied, steps, loss;
    /* where the rule has a combiner, owned: */
    float norm;
    struct trib_blob *payload;
    struct trib_codec *codec; /* its own; NULL: codec_in */
    size_t origin_count;      /* pairs (origin, samples), in the parent's versions */
    uint64_t *origins;
};

/* What has been committed into `own` at an edge since its last forward. */
struct trib_gathered {
    uint64_t updates, samples, weight, since_ms;
    uint64_t commits;
    double steps; /* sum over commits of sum p_i a_i */
    double loss;  /* sum of loss x samples */
    uint64_t below_updates, below_up_bytes, below_down_bytes, below_raw_bytes;
    struct trib_u64s histogram; /* last: where it is empty, nothing behind its count is touched */
};

/* What a device uses all the time stands together at the beginning: a driver may have very many of them. */
struct trib_state {
    enum trib_role role;
    struct trib_state_limits limits;
    struct trib_shards *shards; /* a driver's, for commits of rules that combine and large models; NULL:
                                   none; nothing but time depends on it */
    uint64_t position;          /* of the last record applied */
    uint64_t now_ms;            /* of the last record applied */
    bool started, stopped;
    uint64_t started_ms; /* when the run began */
    uint64_t incarnation;
    uint8_t run[16];
    struct trib_terms *terms; /* whose plan, schema and codecs these are; NULL: the state's own */
    struct trib_plan plan;
    struct trib_buf plan_text;
    struct trib_schema schema;
    struct trib_ladder *ladder_out;    /* codecs of this node's own updates: one, or those of auto(...) */
    struct trib_ladder *ladder_in;     /* of its children's updates */
    const struct trib_codec *codec_in; /* the largest of them: of an update that names none */
    struct trib_ladder *ladder_held;   /* of the increments it receives */
    struct trib_ladder *ladder_pub;    /* of the increments it publishes */
    struct trib_rule *rule;            /* not at a device */

    /* the child's side */
    uint64_t parent_incarnation;
    bool has_model; /* G is there */
    float *G;
    uint64_t parent_version;
    uint8_t parent_chain[TRIB_DIGEST_BYTES];
    uint64_t parent_fence;
    bool seed_held; /* G (cloud: own, when the run began) is version 0, drawn from seed */
    uint64_t next_number;
    size_t held_count;
    struct trib_held *held; /* ascending numbers; room for as many as there are, at most TRIB_HELD_MAX */
    size_t parent_count;    /* ever remembered */

    /* its own part */
    float *own;
    float *local[TRIB_LOCAL_MAX]; /* device: what it keeps between its updates (shared/model/plan.h), of
                                     schema.model_parameters floats; NULL: nothing yet */
    bool gathered_here; /* device: own has a difference that no forward has taken yet; not in checkpoints */
    size_t sum_from;    /* parts from here on are sums: added with weight 1 and scale 1 at every tier */
    uint64_t version, commits, fence;
    uint64_t version_since_ms;
    uint64_t generation; /* counts forwards; see trib_peer.forward_generation */

    /* accounting, for the conservation law and for people */
    struct {
        uint64_t accepted, accepted_samples; /* updates from children */
        uint64_t refused;
        uint64_t committed, committed_samples;
        uint64_t forwarded_samples; /* left in forwards */
        uint64_t void_samples;      /* voided here: refused forwards, fences, restores */
    } total;
    struct trib_gathered gathered;
    struct trib_u64s *hops; /* owned; edge: the part of each hop in gathered.below_..., from the devices' up,
                               its own links last; NULL: no edge below was heard of */

    /* what it gathers with */
    float *A;
    float *step;
    float *moments[TRIB_RULE_MOMENTS];
    float *cached;                     /* H: sum of the children's cached updates, as of the last commit */
    float *tiers[TRIB_RULE_TIERS_MAX]; /* models of tiers, those that reported */
    uint64_t tier_updates[TRIB_RULE_TIERS_MAX];
    struct trib_rule_memory memory;
    size_t pending_count, pending_capacity;
    struct trib_pending *pending;
    struct trib_u64s pending_histogram; /* origins of what is pending, in the parent's versions */
    uint8_t digest[TRIB_DIGEST_BYTES];  /* cloud: full digest of M */
    struct trib_chain chain;            /* cloud: over what the ledger says */

    /* the parent's side */
    float *P;
    struct trib_blob *P_lent; /* P as a payload, which then owns it; NULL: it was never lent. Not in
                                 checkpoints */
    bool exact_next;     /* the next publication is exact: nothing published yet, or a fence was crossed */
    uint64_t seed;       /* meaningful where seed_held or seed_published */
    bool seed_published; /* the newest exact publication is version 0, drawn from seed, and all increments
                            since then are kept */
    uint64_t published;  /* the newest published version; meaningful when base_count > 0 */
    uint8_t published_digest[TRIB_DIGEST_BYTES]; /* full digest of P, where it was computed */
    bool published_digest_known;
    uint64_t published_ms;
    uint64_t publications; /* since it was opened; see trib_peer. Not in checkpoints */
    size_t base_count, base_capacity;
    struct trib_base *bases;                 /* ascending versions */
    size_t increment_count, increment_bytes; /* the increments kept: of so many newest bases */
    size_t peer_count, peer_capacity;
    struct trib_peer *peers;
    uint64_t *labels; /* owned: sums of what peers told, for TRIB_U64S_MAX classes; NULL: nobody did. Not in
                         checkpoints, nor by how many */
    size_t label_tellers;
    size_t index_capacity; /* power of two */
    uint32_t *index;       /* open addressing: 1 + index in peers, 0: free */

    /* the newest models of the parent's: the version in parents[(parent_count - 1) % TRIB_PARENTS_KEPT], ...
     */
    struct {
        uint64_t version;
        uint8_t digest[4];
    } parents[TRIB_PARENTS_KEPT];
};

/* For a driver of many nodes of one run: states that are given one cache, and a plan and schema of the same
 * texts, share what these were read to. A cache and the states that were given it belong to one thread; it
 * may be freed before them. NULL when memory runs out. */
struct trib_terms_cache *trib_terms_cache_new(void);
void trib_terms_cache_free(struct trib_terms_cache **cache);

enum trib_status trib_state_new(enum trib_role role, const struct trib_state_limits *limits,
                                struct trib_state **out, struct trib_error *err) TRIB_MUST_USE;
void trib_state_free(struct trib_state **state);

/* Carries out one record. Live, position 0 is given the next position, and digests that are not there are
 * computed and filled in; in replay the position must be the next. TRIB_INVALID or TRIB_CORRUPT for a record
 * that cannot follow what is there (a damaged journal), TRIB_NOMEM; the state is then unusable and must be
 * rebuilt. */
enum trib_status trib_state_apply(struct trib_state *state, struct trib_record *record,
                                  struct trib_error *err) TRIB_MUST_USE;

/* Checkpoint: everything above, in one stream. Writing it changes nothing. */
enum trib_status trib_state_save(const struct trib_state *state, const struct trib_sink *sink,
                                 struct trib_error *err) TRIB_MUST_USE;
/* Device: the same without G, which its parent has too: the state that comes back holds no model. */
enum trib_status trib_state_save_own(const struct trib_state *state, const struct trib_sink *sink,
                                     struct trib_error *err) TRIB_MUST_USE;
/* Into a new state of the same role; TRIB_CORRUPT, TRIB_NEWER, TRIB_INVALID. */
enum trib_status trib_state_load(struct trib_state *state, const struct trib_feed *feed,
                                 struct trib_error *err) TRIB_MUST_USE;

/* The two as a store hands back what it has (trib_store_recover, trib_store_replay): `state` is a struct
 * trib_state *, the record stays as it is. A checkpoint of another position than its row says is
 * TRIB_CORRUPT. */
enum trib_status trib_state_take_checkpoint(void *state, uint64_t position, const struct trib_feed *feed,
                                            struct trib_error *err) TRIB_MUST_USE;
enum trib_status trib_state_take_record(void *state, const struct trib_record *record,
                                        struct trib_error *err) TRIB_MUST_USE;

/* ---- reading ---- */
static inline size_t trib_state_parameters(const struct trib_state *state) {
    return state->schema.parameters;
}
/* The model in blocks. A reader is a source over S, or over S - P when `minus_published`. */
struct trib_model_reader {
    const struct trib_state *state;
    bool minus_published;
    struct trib_decoder held[TRIB_HELD_MAX];
};
struct trib_source trib_state_source(const struct trib_state *state, bool minus_published,
                                     struct trib_model_reader *reader);
/* S whole, into `out` (parameters floats). */
void trib_state_model(const struct trib_state *state, float *out);
/* Digest over all that a checkpoint holds, position and times included. Two states that went through the same
 * records have the same one. */
enum trib_status trib_state_digest(const struct trib_state *state,
                                   uint8_t out[TRIB_DIGEST_BYTES]) TRIB_MUST_USE;

struct trib_peer *trib_state_peer(const struct trib_state *state, const char *identity,
                                  size_t bytes); /* or NULL */
/* The published version, or NULL: never published, or too long ago. */
const struct trib_base *trib_state_base(const struct trib_state *state, uint64_t version);
/* The published version that is drawn from `seed`, from which increments lead to the newest one; or NULL. */
const struct trib_base *trib_state_seed_base(const struct trib_state *state);
/* If this participant told these labels (samples of each class; at least one, together below 2^53): are they
 * others than those that are kept of it? And the KL divergence of its shares, smoothed by one sample a class,
 * from the mean of the shares of all that told theirs, this one among them: from 0 to ln(how many), in nats.
 */
bool trib_state_labels_differ(const struct trib_peer *peer, const struct trib_u64s *labels);
double trib_state_divergence(const struct trib_state *state, const struct trib_peer *peer,
                             const struct trib_u64s *labels);
/* The highest number of a participant that the published version has, or that will never be in any. */
static inline uint64_t trib_peer_applied(const struct trib_state *state, const struct trib_peer *peer) {
    return peer->touched == state->publications ? peer->applied : peer->consumed;
}
/* The verdict given for a number, or NULL. */
const struct trib_verdict_kept *trib_peer_verdict(const struct trib_peer *peer, uint64_t number);
bool trib_peer_is_retired(const struct trib_peer *peer, uint64_t incarnation);
/* Adds (origin, samples) to a histogram; when it is full, the two oldest origins become one. */
void trib_histogram_add(struct trib_u64s *histogram, uint64_t origin, uint64_t samples);
/* Do the parts of hops add up to these sums, hop by hop from the devices' up? */
bool trib_hops_add_up(const struct trib_u64s *hops, const uint64_t sums[TRIB_HOP_NUMBERS]);
/* Halves what a histogram holds until that is at most so many samples; returns how many it is then. */
uint64_t trib_histogram_fit(struct trib_u64s *histogram, uint64_t most);
/* The newest origin that is not above the sample-weighted mean; 0 when empty. */
uint64_t trib_histogram_base(const struct trib_u64s *histogram);
/* At an edge: are there as many updates or commits since its last forward as the plan wants of one, or has
 * the time passed? If not, *at_ms is when it will have (UINT64_MAX: never). */
bool trib_state_forward_due(const struct trib_state *state, uint64_t now_ms, uint64_t *at_ms);
/* What a ROLLBACK to this state carries: the model as f32 and, where the rule has an optimiser, its moments
 * and the count of its commits (u64). NULL when memory runs out. */
struct trib_blob *trib_state_rollback_payload(const struct trib_state *state);
size_t trib_state_rollback_bytes(const struct trib_state *state);
/* The update of this participant that is pending and would be replaced by a newer one, where the rule has a
 * combiner; or NULL. */
const struct trib_pending *trib_state_replaceable(const struct trib_state *state,
                                                  const struct trib_peer *peer);
/* Rule with series: what an estimate of this participant's update (index in peers) would count in the mean of
 * the next commit; 0: there is none, because it has answered, has never been there or is given up. */
float trib_state_estimate(const struct trib_state *state, size_t peer);
/* Marks it in record->away, if it has an estimate and the list has room; what the estimate counts, or 0. */
float trib_state_mark_away(const struct trib_state *state, size_t peer, struct trib_record *record);
/* P as a payload, without a copy, with one reference; NULL when memory runs out. While somebody else holds
 * one the next publication leaves that memory as it is, and P goes on elsewhere. */
struct trib_blob *trib_state_lend(struct trib_state *state);
/* Device only: adds a trained difference to `own`, the one change that is no record: a device comes back from
 * a checkpoint (its spool), not from records. `local`, NULL or TRIB_LOCAL_MAX vectors, is what the device
 * keeps from now on, in the same step: a vector that is NULL there stays as it is. TRIB_NOMEM: nothing has
 * changed. */
enum trib_status trib_state_gather(struct trib_state *state, const float *difference,
                                   const float *const *local) TRIB_MUST_USE;

#endif
