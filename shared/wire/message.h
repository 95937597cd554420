/* The messages of the protocol; docs/protocol.md is the same for people. A message is one or two frames:
 *     frame 1:  "TRIB"  version(1 byte)  type(1 byte)  0 0, then a msgpack map with integer keys (fields.h)
 *     frame 2:  the payload, raw little-endian bytes; only with PUSH, MODEL and CHUNK
 * Each field has one number throughout the protocol. */
#ifndef TRIB_WIRE_MESSAGE_H
#define TRIB_WIRE_MESSAGE_H

#include "shared/model/schema.h"
#include "shared/wire/fields.h"

#include <stdbool.h>

enum {
    TRIB_PROTOCOL_OLDEST = 1, /* that is spoken; a message is in it unless it says another */
    /* from here on PUSH and MODEL leave out what the other side knows, and a seed may come with increments
     * (docs/protocol.md, "Versions") */
    TRIB_PROTOCOL_BRIEF = 2,
    TRIB_PROTOCOL_NEWEST = TRIB_PROTOCOL_BRIEF,
    TRIB_PREAMBLE_BYTES = 8,
    TRIB_NAME_MAX = 64,
    TRIB_CLASS_MAX = 32
};
/* The most that a PUSH may claim: beyond this it is no count of anything, and refused. */
#define TRIB_CLAIM_MAX       ((uint64_t)1 << 40) /* samples, weight, region, steps, updates below */
#define TRIB_BELOW_BYTES_MAX ((uint64_t)1 << 50) /* bytes of the hops below */
enum { TRIB_FREE_PAYLOAD = 16 * 1024 /* a payload of at most so many bytes needs no credit */ };

enum trib_msg_type {
    TRIB_HELLO = 1, /* child: who it is, what it holds */
    TRIB_WELCOME,   /* parent: session, what it last took, the plan */
    TRIB_PULL,      /* child: what it holds; wants the newest */
    TRIB_MODEL,     /* parent: how to get from what is held to the newest */
    TRIB_PUSH,      /* child: an update, or the offer of one that will follow in chunks */
    TRIB_ACK,       /* parent: the verdict */
    TRIB_CHUNK,     /* a piece of an offered payload, either way */
    TRIB_CREDIT,    /* receiver: go on from offset, so many bytes at a time; or a larger session grant */
    TRIB_ADVANCE,   /* parent: a newer version exists */
    TRIB_WAIT,      /* parent: nothing yet; come back in so many ms */
    TRIB_BYE,       /* either: leaving */
    TRIB_ERROR,     /* either: a code from the table below */
    TRIB_PING,      /* either: are you there; answered at once by PONG with the same token */
    TRIB_PONG,
    TRIB_MSG_TYPES
};

/* Codes of ERROR. */
enum trib_code {
    TRIB_CODE_HELLO = 1, /* no such session here: open a new connection and say HELLO */
    TRIB_CODE_MALFORMED, /* not a message of this protocol, or over a limit */
    TRIB_CODE_VERSION,   /* no protocol version in common */
    TRIB_CODE_SCHEMA,    /* made for another model; say HELLO without a fingerprint */
    TRIB_CODE_RETIRED,   /* this incarnation was replaced; take a new one */
    TRIB_CODE_DUPLICATE, /* another participant of this name keeps coming back */
    TRIB_CODE_GAP,       /* numbers are missing before this one */
    TRIB_CODE_CONFLICT,  /* this number was used for other content; take a new incarnation */
    TRIB_CODE_CREDIT,    /* a payload larger than was granted */
    TRIB_CODE_BUSY,      /* cannot take part now; try again in wait_ms */
    TRIB_CODE_DENIED,    /* not allowed here */
    TRIB_CODE_TYPE,      /* a message of unknown type, or one that this side does not take */
    TRIB_CODE_STORE,     /* cannot write: disk full or failing; try again in wait_ms */
    TRIB_CODE_COUNT
};

enum trib_verdict { TRIB_ACCEPTED = 1, TRIB_REFUSED, TRIB_VERDICT_COUNT };
/* Why an update was refused; 0 for accepted ones. */
enum trib_reason {
    TRIB_REASON_NONE,
    TRIB_REASON_STALE,      /* staleness above the cap */
    TRIB_REASON_BASE,       /* a base version that was never published, or is no longer known */
    TRIB_REASON_FENCE,      /* its base is older than a rollback or a void */
    TRIB_REASON_PAYLOAD,    /* not an encoding of the model by its codec */
    TRIB_REASON_NOT_FINITE, /* NaN or infinity */
    TRIB_REASON_ROUND,      /* a synchronous round that is over, or a second update for one round */
    TRIB_REASON_CODEC,      /* a codec that is unknown here */
    TRIB_REASON_SUPERSEDED, /* replaced by a newer update of the same participant */
    TRIB_REASON_WEIGHT,     /* weight, region or samples out of range */
    TRIB_REASON_FINISHED,   /* the run is over */
    TRIB_REASON_NORM,       /* its norm is out of proportion */
    TRIB_REASON_DIRECTION,  /* it points elsewhere than the commits before it */
    TRIB_REASON_QUARANTINE, /* its participant is not trusted for now */
    TRIB_REASON_COUNT
};
enum trib_model_kind {
    TRIB_MODEL_CURRENT = 1, /* you hold the newest */
    TRIB_MODEL_INCREMENTS,  /* payload: encoded increments, oldest first */
    TRIB_MODEL_SEED,        /* version 0: draw it from seed */
    TRIB_MODEL_SNAPSHOT     /* payload: all parameters as f32 */
};
enum trib_bye { TRIB_BYE_LEAVING = 1 /* will come back */, TRIB_BYE_FINISHED /* the run is over */ };
enum trib_child_kind { TRIB_CHILD_DEVICE = 1, TRIB_CHILD_EDGE };

/* All fields of all messages; which are there is in `present`. Units in names; numbers are field keys. */
struct trib_msg {
    uint8_t type;    /* enum trib_msg_type */
    uint8_t version; /* of the protocol, from the preamble */
    uint64_t present;
    uint64_t session;           /* 1: all but HELLO */
    uint64_t number;            /* 2: PUSH ACK ERROR; CHUNK CREDIT: of the transfer (transfer.h) */
    uint64_t after;             /* 3: PUSH */
    uint64_t base_version;      /* 4: PUSH; HELLO: of the update that waits for its verdict */
    uint8_t base_digest[4];     /* 5: PUSH HELLO: first bytes of its chain digest */
    uint64_t samples;           /* 6: PUSH: processed, with repeats */
    uint64_t weight;            /* 7: PUSH: sum of n_k over distinct devices */
    float steps;                /* 8: PUSH */
    float loss;                 /* 9: PUSH: mean training loss */
    struct trib_text codec;     /* 10: PUSH MODEL: spec, when not of the plan; MODEL: of each increment
                                   (shared/codec/specs.h) */
    uint64_t payload_bytes;     /* 11: PUSH MODEL: an offer; the payload follows in chunks */
    uint64_t payload_crc;       /* 12: PUSH MODEL: CRC32C of an offered payload */
    uint64_t region;            /* 13: PUSH HELLO: sum of n_k of the active devices below */
    struct trib_u64s histogram; /* 14: PUSH: origin, samples, origin, samples, ... */
    uint64_t below_updates;     /* 15: PUSH from an edge: since its last forward, of the hops below */
    uint64_t below_up_bytes;    /* 16 */
    uint64_t below_down_bytes;  /* 17 */
    uint64_t below_raw_bytes;   /* 18: what they would have been in f32 */
    struct trib_text name;      /* 19: HELLO */
    uint64_t incarnation;       /* 20: HELLO WELCOME: the sender's */
    uint64_t next_number;       /* 21: HELLO */
    uint64_t held_version;      /* 22: HELLO PULL */
    uint8_t held_digest[TRIB_DIGEST_BYTES]; /* 23: HELLO PULL: chain digest of it; absent: holds nothing */
    uint64_t protocol_min;                  /* 24: HELLO */
    uint64_t protocol_max;                  /* 25: HELLO */
    struct trib_text build;                 /* 26: HELLO WELCOME */
    uint8_t fingerprint[TRIB_DIGEST_BYTES]; /* 27: HELLO WELCOME: of the schema; absent: knows none */
    struct trib_text codecs;                /* 28: HELLO: names known, comma-separated */
    uint64_t kind;               /* 29: HELLO: enum trib_child_kind; MODEL: enum trib_model_kind; PUSH:
                                    the codec's place in the plan's auto(...) */
    uint64_t parent_incarnation; /* 30: HELLO: of the parent it last knew */
    uint64_t last_number;        /* 31: WELCOME */
    uint64_t credit; /* 32: WELCOME ACK CREDIT: payload bytes granted, in all, in this session; PULL: the
                        largest payload that the child takes in one frame */
    struct trib_text plan;                  /* 33: WELCOME: "name: value" lines */
    struct trib_text schema;                /* 34: WELCOME: its text */
    uint8_t run[16];                        /* 35: WELCOME */
    uint64_t heartbeat_ms;                  /* 36: WELCOME: the child sends something at least this often */
    uint64_t from_version;                  /* 37: MODEL */
    uint8_t from_digest[TRIB_DIGEST_BYTES]; /* 38: MODEL */
    uint64_t to_version;                    /* 39: MODEL ADVANCE */
    uint8_t to_digest[TRIB_DIGEST_BYTES];   /* 40: MODEL: chain digest */
    uint64_t applied;                       /* 41: MODEL */
    uint64_t fence;                         /* 42: MODEL */
    struct trib_u64s parts;                 /* 43: MODEL: bytes of each increment in the payload; PUSH from an
                                               edge with edges below it, version 2: of what 15 to 18 sum up,
                                               the part of each hop, from the devices' up: updates, up, down,
                                               raw, updates, ... */
    uint64_t seed;                          /* 44: MODEL: of version 0 */
    uint8_t full_digest[TRIB_DIGEST_BYTES]; /* 45: MODEL: of P, with snapshots and every 64th version */
    uint64_t verdict;                       /* 46: ACK */
    uint64_t staleness;                     /* 47: ACK */
    uint64_t reason;               /* 48: ACK BYE; PUSH: enum trib_choice, of another codec than before */
    float applied_weight;          /* 49: ACK: what it was multiplied by */
    uint64_t offset;               /* 50: CHUNK; CREDIT: everything below it has arrived */
    uint64_t chunk_bytes;          /* 51: CREDIT: pieces of at most this size */
    uint64_t window_bytes;         /* 52: CREDIT: so many bytes beyond offset may be on their way */
    uint64_t wait_ms;              /* 53: WAIT ERROR (try again in) */
    uint64_t code;                 /* 54: ERROR */
    struct trib_text detail;       /* 55: ERROR: for people */
    uint64_t token;                /* 56: PING PONG */
    uint64_t subscribe;            /* 57: HELLO: 1: wants ADVANCE for every version */
    uint64_t accuracy_ppm;         /* 58: ADVANCE: of the newest evaluated version, for people */
    struct trib_text device_class; /* 59: HELLO PULL: what kind of device it is, for who trains next */
    uint64_t battery;              /* 60: HELLO PULL: percent */
    uint64_t link;                 /* 61: HELLO PULL: bytes/s of the child's line */
    struct trib_u64s labels;       /* 62: PUSH: samples of each class that the device has, from class 0 on */
    uint64_t rate;                 /* 63: PULL: bytes/s at which its newest models came, where models are in
                                      auto(...) */
};
enum {
    TRIB_F_SESSION = 1,
    TRIB_F_NUMBER,
    TRIB_F_AFTER,
    TRIB_F_BASE_VERSION,
    TRIB_F_BASE_DIGEST,
    TRIB_F_SAMPLES,
    TRIB_F_WEIGHT,
    TRIB_F_STEPS,
    TRIB_F_LOSS,
    TRIB_F_CODEC,
    TRIB_F_PAYLOAD_BYTES,
    TRIB_F_PAYLOAD_CRC,
    TRIB_F_REGION,
    TRIB_F_HISTOGRAM,
    TRIB_F_BELOW_UPDATES,
    TRIB_F_BELOW_UP_BYTES,
    TRIB_F_BELOW_DOWN_BYTES,
    TRIB_F_BELOW_RAW_BYTES,
    TRIB_F_NAME,
    TRIB_F_INCARNATION,
    TRIB_F_NEXT_NUMBER,
    TRIB_F_HELD_VERSION,
    TRIB_F_HELD_DIGEST,
    TRIB_F_PROTOCOL_MIN,
    TRIB_F_PROTOCOL_MAX,
    TRIB_F_BUILD,
    TRIB_F_FINGERPRINT,
    TRIB_F_CODECS,
    TRIB_F_KIND,
    TRIB_F_PARENT_INCARNATION,
    TRIB_F_LAST_NUMBER,
    TRIB_F_CREDIT,
    TRIB_F_PLAN,
    TRIB_F_SCHEMA,
    TRIB_F_RUN,
    TRIB_F_HEARTBEAT_MS,
    TRIB_F_FROM_VERSION,
    TRIB_F_FROM_DIGEST,
    TRIB_F_TO_VERSION,
    TRIB_F_TO_DIGEST,
    TRIB_F_APPLIED,
    TRIB_F_FENCE,
    TRIB_F_PARTS,
    TRIB_F_SEED,
    TRIB_F_FULL_DIGEST,
    TRIB_F_VERDICT,
    TRIB_F_STALENESS,
    TRIB_F_REASON,
    TRIB_F_APPLIED_WEIGHT,
    TRIB_F_OFFSET,
    TRIB_F_CHUNK_BYTES,
    TRIB_F_WINDOW_BYTES,
    TRIB_F_WAIT_MS,
    TRIB_F_CODE,
    TRIB_F_DETAIL,
    TRIB_F_TOKEN,
    TRIB_F_SUBSCRIBE,
    TRIB_F_ACCURACY_PPM,
    TRIB_F_DEVICE_CLASS,
    TRIB_F_BATTERY,
    TRIB_F_LINK,
    TRIB_F_LABELS,
    TRIB_F_RATE,
    TRIB_F_END
};
/* Sets a field and its presence: trib_msg_set(&m, SESSION, session, 7). */
#define trib_msg_set(msg, KEY, field, value)                                                                 \
    ((msg)->field = (value), (void)((msg)->present |= (uint64_t)1 << TRIB_F_##KEY))
#define trib_msg_has(msg, KEY) TRIB_HAS((msg)->present, TRIB_F_##KEY)

/* What a message type must and may carry. */
struct trib_msg_row {
    const char *name; /* "HELLO" */
    uint64_t required, optional;
    bool payload; /* may have a second frame */
};
extern const struct trib_msg_row trib_msg_rows[TRIB_MSG_TYPES]; /* row 0 is empty */
extern const struct trib_field trib_msg_fields[];
extern const size_t trib_msg_field_count;

/* Appends frame 1. Our own mistakes (a required field missing, one that the type does not carry) are
 * assertions. */
void trib_msg_encode(const struct trib_msg *msg, struct trib_buf *out);
/* Reads frame 1; texts are borrowed from `frame`. On failure err says what was wrong and *code, if not NULL,
 * is what to answer with. A type that is not known gives TRIB_UNSUPPORTED, another protocol version
 * TRIB_NEWER. */
enum trib_status trib_msg_decode(const void *frame, size_t bytes, struct trib_msg *msg, uint64_t *code,
                                 struct trib_error *err) TRIB_MUST_USE;
/* A device's class, as options take it. */
enum trib_status trib_class_check(const char *name, struct trib_error *err);
const char *trib_msg_name(uint8_t type);         /* "PUSH"; "?" if unknown */
const char *trib_code_name(uint64_t code);       /* "gap" */
const char *trib_reason_name(uint64_t reason);   /* "stale" */
const char *trib_verdict_name(uint64_t verdict); /* "accepted" */

#endif
