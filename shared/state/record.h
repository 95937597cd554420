/* Journal records: everything that changes a node's durable state, in one sequence. A role never changes
 * state by hand; it decides, makes a record, and trib_state_apply carries it out. Live, after a restart and
 * in replay the same function runs on the same records, so the bits are the same.
 *
 * The ledger's rows are written from records too, in the transaction that writes the record. */
#ifndef TRIB_STATE_RECORD_H
#define TRIB_STATE_RECORD_H

#include "shared/base/blob.h"
#include "shared/wire/message.h"

enum trib_record_kind {
    TRIB_REC_START =
        1,            /* a run begins here: incarnation, run, plan, schema, seed; everything older is void */
    TRIB_REC_PEER,    /* a participant's incarnation is admitted (its older one is retired) */
    TRIB_REC_VERDICT, /* an update was judged; accepted ones carry the payload, and the weight as applied */
    TRIB_REC_COMMIT,  /* the rule's step went into the node's own part; a new version */
    TRIB_REC_PUBLISH, /* P moved by the encoded increment in the payload; this version is now a base */
    TRIB_REC_FORWARD, /* an update of this node's own (device: trained; edge: U so far) got its number and
                         bytes */
    TRIB_REC_ACKED,   /* the parent's verdict on it */
    TRIB_REC_PARENT,  /* a model from the parent replaced G; contained forwards left (new version at an edge)
                       */
    TRIB_REC_VOID,    /* U, the rule's buffer and held forwards were voided, with the reason */
    TRIB_REC_INCARNATION, /* this node took a new incarnation; after a loss of records also what it went back
                             to: RUN, VERSION, FROM (published), VERDICTS; PLAN, SCHEMA, ... as in START */
    TRIB_REC_EVALUATION,  /* cloud: a version's accuracy and loss on held-out data */
    TRIB_REC_EVENT,       /* something worth telling: refused peers, errors, restarts */
    TRIB_REC_STOP,        /* the run is over, and why */
    TRIB_REC_ROLLBACK,    /* cloud: an earlier version is current again, as a new one; a fence */
    TRIB_REC_KINDS
};

/* A hop in a list of hops: updates, bytes up, bytes down, and what went up as f32. Below an edge are at most
 * so many; where there are more, its own links and those below them are one. */
enum { TRIB_HOP_NUMBERS = 4, TRIB_HOPS_MAX = 8 };

/* All fields of all kinds; which are there is in `present`. */
struct trib_record {
    uint8_t kind;
    uint64_t position; /* 1, 2, 3, ... within a node's store */
    uint64_t present;
    uint64_t now_ms;            /* 1: when, ms since 1970, by this node's clock; never goes back */
    struct trib_text peer;      /* 2: identity of the participant */
    uint64_t incarnation;       /* 3: of the peer; START, INCARNATION: of this node */
    uint64_t number;            /* 4 */
    uint64_t verdict;           /* 5 */
    uint64_t reason;            /* 6: enum trib_reason; STOP: see text */
    uint64_t base_version;      /* 7 */
    uint64_t staleness;         /* 8 */
    float factor;               /* 9: s(staleness) */
    float applied;              /* 10: weight as applied */
    float norm_add;             /* 11: what it added to the denominator */
    uint64_t samples;           /* 12 */
    uint64_t weight;            /* 13 */
    uint64_t region;            /* 14 */
    float steps;                /* 15 */
    float loss;                 /* 16 */
    float update_norm;          /* 17: 2-norm of the update */
    float cosine;               /* 18: with the preceding commit's step; at an edge if its rule looks at it */
    struct trib_text codec;     /* 19; PARENT: of each increment (shared/codec/specs.h) */
    uint64_t wire_bytes;        /* 20: with headers, as received; in chunks: as if it were one message */
    uint64_t raw_bytes;         /* 21: parameters x 4 */
    uint64_t payload_crc;       /* 22: CRC32C */
    struct trib_u64s histogram; /* 23: origin, samples, ...; versions of the node that judges the update */
    uint64_t below_updates;     /* 24 */
    uint64_t below_up_bytes;    /* 25 */
    uint64_t below_down_bytes;  /* 26 */
    uint64_t below_raw_bytes;   /* 27 */
    uint64_t version;           /* 28: the version made, published, evaluated or moved to */
    uint64_t from_version;      /* 29: PUBLISH, PARENT; ROLLBACK: the version gone back to */
    uint64_t commits;           /* 30: COMMIT: commits of this node so far, this one included */
    float scale;                /* 31: COMMIT */
    uint64_t contributions;     /* 32: COMMIT: updates in it */
    uint8_t digest[TRIB_DIGEST_BYTES]; /* 33: COMMIT, ROLLBACK at the cloud: full digest of M; PUBLISH: of P,
                                          where it    is computed (cloud, exact publications, each 64th
                                          version) */
    uint8_t chain[TRIB_DIGEST_BYTES];  /* 34: PUBLISH, PARENT: chain digest of to-version */
    uint64_t fence;                    /* 35: PARENT: the parent's fence */
    uint64_t applied_number;           /* 36: PARENT */
    uint64_t model_kind; /* 37: PARENT: enum trib_model_kind; PUBLISH: INCREMENTS, or SNAPSHOT: exact */
    struct trib_u64s increments; /* 38: PARENT: bytes of each in the payload */
    struct trib_text plan;       /* 39: START */
    struct trib_text schema;     /* 40: START */
    uint8_t run[16];             /* 41: START */
    uint64_t seed; /* 42: START at the cloud: of version 0; absent: the payload is it. PARENT: kind SEED */
    uint64_t parent_incarnation;             /* 43: START at an edge or device */
    struct trib_text rule;                   /* 44: COMMIT */
    uint64_t kind_of_peer;                   /* 45: PEER: enum trib_child_kind */
    uint64_t level;                          /* 46: EVENT: enum trib_level */
    struct trib_text event;                  /* 47: EVENT: stable id */
    struct trib_text text;                   /* 48: EVENT: key=value fields; STOP, VOID: reason; PUBLISH: why
                                                this codec, as key=value fields, where it was chosen */
    float accuracy;                          /* 49: EVALUATION: 0..1 */
    uint64_t eval_samples;                   /* 50: EVALUATION */
    uint64_t duration_ms;                    /* 51: EVALUATION: time it took */
    uint8_t ledger_chain[TRIB_DIGEST_BYTES]; /* 52: COMMIT, ROLLBACK at the cloud: shared/state/chain.h */
    uint64_t down_bytes;    /* 53: COMMIT: bytes this node sent to its children since the last one */
    uint64_t up_bytes;      /* 54: COMMIT: and received from them */
    uint64_t ledger_format; /* 55: START at the cloud: TRIB_CHAIN_FORMAT; absent: 1 */
    uint64_t verdicts; /* 56: COMMIT, ROLLBACK at the cloud, chain format 2 on: verdicts of the run so far */
    uint64_t supersedes; /* 57: VERDICT: the pending update of the same participant that it replaces, which is
                            void */
    struct trib_u64s
        away; /* 58: COMMIT under a rule with series: for whom there is an estimate in it, a bit for
                 each participant in the order of their first PEER records, lowest bits first */
    struct trib_u64s labels; /* 59: VERDICT: what its participant tells of its labels from now on, samples of
                                each class; empty: nothing. Absent: the same as before */
    float effect; /* 60: VERDICT: cosine with the descent of the held-out loss; cloud, where it is known */
    float divergence;      /* 61: VERDICT: KL of its participant's labels from all that were told, in nats */
    struct trib_u64s hops; /* 62: FORWARD VERDICT: of what 24 to 27 sum up, the part of each hop, from the
                              devices' up, TRIB_HOP_NUMBERS numbers a hop; absent: there is one */
    struct trib_blob
        *payload; /* VERDICT, PUBLISH, FORWARD, PARENT, START, ROLLBACK; one reference, or NULL */
};
enum {
    TRIB_R_NOW = 1,
    TRIB_R_PEER,
    TRIB_R_INCARNATION,
    TRIB_R_NUMBER,
    TRIB_R_VERDICT,
    TRIB_R_REASON,
    TRIB_R_BASE,
    TRIB_R_STALENESS,
    TRIB_R_FACTOR,
    TRIB_R_APPLIED,
    TRIB_R_NORM_ADD,
    TRIB_R_SAMPLES,
    TRIB_R_WEIGHT,
    TRIB_R_REGION,
    TRIB_R_STEPS,
    TRIB_R_LOSS,
    TRIB_R_UPDATE_NORM,
    TRIB_R_COSINE,
    TRIB_R_CODEC,
    TRIB_R_WIRE_BYTES,
    TRIB_R_RAW_BYTES,
    TRIB_R_PAYLOAD_CRC,
    TRIB_R_HISTOGRAM,
    TRIB_R_BELOW_UPDATES,
    TRIB_R_BELOW_UP,
    TRIB_R_BELOW_DOWN,
    TRIB_R_BELOW_RAW,
    TRIB_R_VERSION,
    TRIB_R_FROM,
    TRIB_R_COMMITS,
    TRIB_R_SCALE,
    TRIB_R_CONTRIBUTIONS,
    TRIB_R_DIGEST,
    TRIB_R_CHAIN,
    TRIB_R_FENCE,
    TRIB_R_APPLIED_NUMBER,
    TRIB_R_MODEL_KIND,
    TRIB_R_INCREMENTS,
    TRIB_R_PLAN,
    TRIB_R_SCHEMA,
    TRIB_R_RUN,
    TRIB_R_SEED,
    TRIB_R_PARENT_INCARNATION,
    TRIB_R_RULE,
    TRIB_R_KIND_OF_PEER,
    TRIB_R_LEVEL,
    TRIB_R_EVENT,
    TRIB_R_TEXT,
    TRIB_R_ACCURACY,
    TRIB_R_EVAL_SAMPLES,
    TRIB_R_DURATION_MS,
    TRIB_R_LEDGER_CHAIN,
    TRIB_R_DOWN_BYTES,
    TRIB_R_UP_BYTES,
    TRIB_R_LEDGER_FORMAT,
    TRIB_R_VERDICTS,
    TRIB_R_SUPERSEDES,
    TRIB_R_AWAY,
    TRIB_R_LABELS,
    TRIB_R_EFFECT,
    TRIB_R_DIVERGENCE,
    TRIB_R_HOPS,
    TRIB_R_END
};
#define trib_rec_set(rec, KEY, field, value)                                                                 \
    ((rec)->field = (value), (void)((rec)->present |= (uint64_t)1 << TRIB_R_##KEY))
#define trib_rec_has(rec, KEY) TRIB_HAS((rec)->present, TRIB_R_##KEY)

extern const struct trib_field trib_record_fields[];
extern const size_t trib_record_field_count;

/* The map of a record's fields (kind, position and payload travel beside it). */
void trib_record_encode(const struct trib_record *record, struct trib_buf *out);
/* Texts are borrowed from `data`; position and payload are left to the caller. */
enum trib_status trib_record_decode(uint8_t kind, const void *data, size_t bytes, struct trib_record *record,
                                    struct trib_error *err) TRIB_MUST_USE;
const char *trib_record_name(uint8_t kind); /* "verdict" */

#endif
