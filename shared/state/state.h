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
 *   A                  x      x     what a gathering rule has gathered since its last commit
 *   P                  x      x     what the children hold
 *   step                      x     the direction of the last commit, for the cosine of contributions
 *
 * An edge's model is S = ((G + own) + F1) + F2 ..., F the held forwards in number order. At the cloud S =
 * own, at a device S = G. It is computed in blocks where it is needed and never stored. Invariants, checked
 * by the tests after every event:
 *   1. a number of a peer's incarnation gets one verdict;
 *   2. an accepted update is in exactly one of: A (pending), own, a held forward, the parent, void;
 *   3. P is, to the bit, what a child holds that has applied every increment up to `published`. */
#ifndef TRIB_STATE_STATE_H
#define TRIB_STATE_STATE_H

#include "shared/base/stream.h"
#include "shared/codec/codec.h"
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
    size_t max_parameters; /* a schema larger than this is refused */
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
    struct trib_u64s histogram;
    struct trib_blob *payload;
    struct trib_plain plain; /* of the payload: what the model is computed with */
};

/* A published version: what children may name as base. */
struct trib_base {
    uint64_t version;
    uint64_t commits; /* of this node when it was published */
    uint64_t origin;  /* the parent's version inside it (edge) */
    uint8_t chain[TRIB_DIGEST_BYTES];
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
    uint64_t kind;               /* enum trib_child_kind */
    uint64_t last;               /* highest number judged */
    uint64_t consumed;           /* highest number committed, refused or voided, and none below it pending */
    uint64_t applied;            /* consumed, as of the published version */
    uint64_t weight, region;     /* of its newest accepted update */
    uint64_t forward_generation; /* the forward that already counts its weight */
    uint64_t answered;           /* base of its newest accepted update, plus 1; 0: none */
    size_t verdict_count;        /* ever kept */
    struct trib_verdict_kept verdicts[TRIB_VERDICTS_KEPT];
    size_t retired_count;
    uint64_t *retired; /* owned */
};

/* An accepted update that is not committed yet. */
struct trib_pending {
    size_t peer; /* index in peers */
    uint64_t incarnation, number, samples, weight;
    float applied, steps, loss;
};

/* What has been committed into `own` at an edge since its last forward. */
struct trib_gathered {
    uint64_t updates, samples, weight, since_ms;
    double steps; /* sum over commits of sum p_i a_i */
    double loss;  /* sum of loss x samples */
    struct trib_u64s histogram;
    uint64_t below_updates, below_up_bytes, below_down_bytes, below_raw_bytes;
};

struct trib_state {
    enum trib_role role;
    struct trib_state_limits limits;
    uint64_t position; /* of the last record applied */
    uint64_t now_ms;   /* of the last record applied */
    bool started, stopped;
    uint64_t started_ms; /* when the run began */
    uint64_t incarnation;
    uint8_t run[16];
    struct trib_plan plan;
    struct trib_buf plan_text;
    struct trib_schema schema;
    struct trib_codec *codec_out;  /* of this node's own updates */
    struct trib_codec *codec_in;   /* of its children's updates */
    struct trib_codec *codec_held; /* of the increments it receives */
    struct trib_codec *codec_pub;  /* of the increments it publishes */
    struct trib_rule *rule;        /* not at a device */

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
    struct trib_held held[TRIB_HELD_MAX]; /* ascending numbers */
    size_t parent_count;                  /* ever remembered */
    struct {
        uint64_t version;
        uint8_t digest[4];
    } parents[TRIB_PARENTS_KEPT];

    /* its own part */
    float *own;
    bool gathered_here; /* device: own has a difference that no forward has taken yet; not in checkpoints */
    struct trib_gathered gathered;
    uint64_t generation; /* counts forwards; see trib_peer.forward_generation */
    float *A;
    float *step;
    struct trib_rule_memory memory;
    size_t pending_count, pending_capacity;
    struct trib_pending *pending;
    struct trib_u64s pending_histogram; /* origins of what is pending, in the parent's versions */
    uint64_t version, commits, fence;
    uint64_t version_since_ms;
    uint8_t digest[TRIB_DIGEST_BYTES]; /* cloud: full digest of M */
    struct trib_chain chain;           /* cloud: over what the ledger says */

    /* the parent's side */
    float *P;
    struct trib_blob *P_lent; /* P as a payload, which then owns it; NULL: it was never lent. Not in
                                 checkpoints */
    bool exact_next;     /* the next publication is exact: nothing published yet, or a fence was crossed */
    uint64_t seed;       /* meaningful where seed_held */
    bool seed_published; /* P is exactly version 0, drawn from seed */
    uint64_t published;  /* the newest published version; meaningful when base_count > 0 */
    uint8_t published_digest[TRIB_DIGEST_BYTES]; /* full digest of P, where it was computed */
    bool published_digest_known;
    uint64_t published_ms;
    size_t base_count, base_capacity;
    struct trib_base *bases; /* ascending versions */
    size_t increment_bytes;  /* of the increments kept */
    size_t peer_count, peer_capacity;
    struct trib_peer *peers;
    size_t index_capacity; /* power of two */
    uint32_t *index;       /* open addressing: 1 + index in peers, 0: free */

    /* accounting, for the conservation law and for people */
    struct {
        uint64_t accepted, accepted_samples; /* updates from children */
        uint64_t refused;
        uint64_t committed, committed_samples;
        uint64_t forwarded_samples; /* left in forwards */
        uint64_t void_samples;      /* voided here: refused forwards, fences, restores */
    } total;
};

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
/* The verdict given for a number, or NULL. */
const struct trib_verdict_kept *trib_peer_verdict(const struct trib_peer *peer, uint64_t number);
bool trib_peer_is_retired(const struct trib_peer *peer, uint64_t incarnation);
/* Adds (origin, samples) to a histogram; when it is full, the two oldest origins become one. */
void trib_histogram_add(struct trib_u64s *histogram, uint64_t origin, uint64_t samples);
/* The newest origin that is not above the sample-weighted mean; 0 when empty. */
uint64_t trib_histogram_base(const struct trib_u64s *histogram);
/* P as a payload, without a copy, with one reference; NULL when memory runs out. While somebody else holds
 * one the next publication leaves that memory as it is, and P goes on elsewhere. */
struct trib_blob *trib_state_lend(struct trib_state *state);
/* Device only: adds a trained difference to `own`, the one change that is no record: a device comes back from
 * a checkpoint (its spool), not from records. */
void trib_state_gather(struct trib_state *state, const float *difference);

#endif
