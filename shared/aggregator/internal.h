/* What the files of shared/aggregator share; nobody else includes this. */
#ifndef TRIB_AGGREGATOR_INTERNAL_H
#define TRIB_AGGREGATOR_INTERNAL_H

#include "shared/aggregator/aggregator.h"
#include "shared/aggregator/cohort.h"
#include "shared/base/rng.h"
#include "shared/codec/specs.h"
#include "shared/wire/transfer.h"

enum {
    LIVENESS_MS = 1000,      /* sessions are looked over so often */
    YIELD_MS = 5 * 1000,     /* a transfer without a piece for so long gives its room to those that wait */
    STALLED_MS = 180 * 1000, /* ... even what came of it, where there is no room to keep it, */
    FORGET_MS = 600 * 1000,  /* and then for nobody's sake: 16 KiB take that long at 220 bit/s */
    EVENTS_PER_SECOND = 20,  /* of peers, into the ledger: a hostile one must not fill the disk */
    FLAPS = 5,               /* incarnation changes of one name within FLAP_MS: two participants share it */
    FLAP_MS = 30 * 1000,
    DRAIN_MS = 100,     /* a child comes back so soon while a publication waits for snapshots to be sent */
    PATIENCE_MS = 2000, /* which it does at most so long */
    MADE_MAX = 16,      /* payloads for several children that are in memory at once */
    WAIT_MS = 1000,     /* how long a child is told to wait when nobody knows */
    TURN_MAX_MS = 60 * 1000,  /* ... and at most, when its turn is far off */
    SENDING_EACH = 64 * 1024, /* of the budget, for each child that is being sent a model in pieces */
    SENDING_LEAST = 16,       /* ... and so many in any case */
    BEHIND_MS = 1000,         /* under pressure for so long: it is told; */
    CAUGHT_UP_MS = 5000       /* and again after so long without */
};

/* An update that a child wants to send in pieces. */
struct offer {
    struct trib_msg msg; /* its texts are not used */
    char codec[TRIB_CODEC_MAX_SPEC + 1];
};

/* The MODEL whose payload goes down in pieces, and what the child held when it asked. */
struct offered {
    struct trib_msg msg; /* its codec stands in */
    struct trib_specs_text codecs;
    bool held;
    uint64_t held_version;
    uint8_t held_digest[TRIB_DIGEST_BYTES];
};

struct session {
    /* What is looked over every second, of many: the number and what is under way. */
    uint32_t number; /* on the wire: slot in the low 16 bits, random above; 0: free */
    bool active, subscribed;
    bool waiting;  /* was told to wait: gets ADVANCE when there is something */
    bool offering; /* waits for its turn to send what it offered */
    bool parked;
    bool sending;    /* it counts as one who is being sent something */
    bool seeded;     /* it was told a seed */
    uint8_t version; /* of the protocol */
    trib_child_route route;
    size_t peer;
    uint64_t last_seen_ms;
    uint64_t told_version; /* of what its child has an update, or holds, as HELLO said; UINT64_MAX: nothing */
    uint8_t told_digest[4]; /* ... and that version's digest */
    uint64_t advanced;      /* the newest version that it was given, plus 1; 0: none */
    uint64_t rate;          /* bytes/s at which models come to it, as it says; 0: not known */
    uint64_t before;        /* increments that it was given with the newest one, of older versions */
    struct trib_inbound incoming;
    struct trib_outbound outgoing;
    uint64_t granted, taken; /* session credit and what was used of it */
    struct offer *offer;     /* owned; NULL: none */
    struct trib_pace pace;   /* of what comes in */
    size_t room;             /* bytes that `incoming` counts with: all of it, or, parked, what came */
    uint64_t piece_ms;       /* when it last came on by a piece, or was let in, */
    size_t piece_have;       /* ... and what was there then */
    struct offered *offered; /* owned; of `outgoing` */
    uint64_t sent_ms;        /* when its child last asked for more of it */
    size_t offer_next;       /* FIFO of those that wait: slot + 1, 0: none */
};

/* A payload made for a snapshot (`from` is 0) or for several increments. */
struct made {
    uint64_t from, to;
    bool snapshot;
    struct trib_blob *payload;
    uint8_t full[TRIB_DIGEST_BYTES]; /* of a snapshot */
};

/* Volatile per peer, beside state->peers. */
struct presence {
    uint32_t session; /* its session's slot + 1; 0: none */
    uint32_t flaps;
    uint64_t flap_since_ms;
    uint64_t refusals_ms, held_back, told_ms; /* refusals.c */
    uint64_t declined; /* commits, plus 1, when its last update was refused for what it holds; 0: never */
    struct choice choice;
};

struct trib_aggregator {
    struct trib_aggregator_options options;
    struct trib_state *state;
    struct trib_outbox *outbox;
    struct trib_rng rng;
    uint64_t now_ms, incarnation, liveness_ms;
    size_t session_count, session_capacity, open_count, free_hint;
    struct session *sessions;
    size_t presence_capacity;
    struct presence *presence;
    struct cohort cohort;
    size_t offer_first, offer_last; /* slot + 1 */
    uint64_t store_retry_ms;
    uint64_t event_second, event_count, event_dropped;
    uint64_t commit_up_bytes, commit_down_bytes; /* status bytes at the last commit */
    uint64_t advanced; /* the newest version that children were told of, plus 1; 0: none */
    bool leaving;      /* BYE was said: nothing more is begun */
    bool region_known; /* the sums below are those of the active sessions */
    double region_sum;
    uint64_t region_reporting, region_silent;
    uint64_t lowered_to; /* updates that a commit needs, as last seen */
    size_t elastic_told; /* edges that were said to be too many for forward.elastic; 0: none were */
    uint64_t short_of;   /* updates that were pending when the combiner was last said to have too few; 0 */
    uint64_t evaluated_version;
    float evaluated_accuracy;
    float *gradient; /* owned; of the held-out loss; NULL: not known */
    double gradient_norm;
    size_t made_count;
    struct made made[MADE_MAX];    /* oldest first */
    uint64_t postponed_ms;         /* since when a publication has waited; 0: none does */
    uint64_t unwritten_bytes;      /* payloads that the driver has not written yet, */
    bool unwritten_told;           /* if it tells */
    uint64_t parked_file_bytes;    /* as status.parked_bytes, of those in files */
    size_t sending;                /* children that are being sent models in pieces, and go on taking them */
    uint64_t turn_at_ms;           /* when the next one that is turned away comes back */
    double turn_each_ms;           /* one is served so often, of late */
    struct trib_specs_text codecs; /* of the increments in the MODEL that is being made */
    uint64_t served_ms;            /* when the last one was */
    uint64_t pressed_ms, calm_ms;  /* since when there is pressure, or none after some; 0: not so */
    struct trib_aggregator_status status;
};

/* aggregator.c */
size_t trib_aggregator_send(struct trib_aggregator *a, trib_child_route route, uint64_t after,
                            const struct trib_msg *msg, struct trib_blob *payload);
/* To a child that has a session, in its version of the protocol. */
size_t trib_aggregator_say(struct trib_aggregator *a, const struct session *session, uint64_t after,
                           struct trib_msg *msg, struct trib_blob *payload);
bool trib_aggregator_record(struct trib_aggregator *a, struct trib_record *record);
void trib_aggregator_error(struct trib_aggregator *a, trib_child_route route, uint64_t session, uint64_t code,
                           uint64_t number, uint64_t wait_ms, const char *detail);
/* An event about a peer, for log and ledger, at a bounded rate. */
void trib_aggregator_event(struct trib_aggregator *a, enum trib_level level, const char *event,
                           const char *fmt, ...) TRIB_PRINTF(4, 5);
static inline struct trib_peer *trib_session_peer(const struct trib_aggregator *a,
                                                  const struct session *session) {
    return &a->state->peers[session->peer];
}
/* What it sent for the next commit was refused for what it holds. It may send something better as long as the
 * others are still at work, but nobody waits for that: it may never come. */
static inline bool trib_aggregator_declined(const struct trib_aggregator *a, size_t peer) {
    return a->presence[peer].declined == a->state->commits + 1;
}
uint64_t trib_aggregator_grant(const struct trib_aggregator *a);

/* push.c */
void trib_aggregator_on_push(struct trib_aggregator *a, struct session *session, const struct trib_msg *msg,
                             struct trib_blob *payload, size_t wire_bytes);
/* HELLO said what the child's updates may start from without saying so. */
void trib_aggregator_note_base(struct session *session, const struct trib_msg *hello);
/* Judges an update whose payload is here (or is refused without it, `payload` NULL), and answers. */
void trib_aggregator_judge(struct trib_aggregator *a, struct session *session, const struct trib_msg *msg,
                           struct trib_blob *payload, size_t wire_bytes);
/* refusals.c: may this peer be refused another update now? If not it was told to send it again later (no
 * verdict). */
bool trib_aggregator_may_refuse(struct trib_aggregator *a, const struct session *session, uint64_t number);
/* TRIB_INVALID: it would be refused, whatever its payload; TRIB_NOMEM. */
enum trib_status trib_aggregator_look_at_offer(const struct trib_aggregator *a, const struct session *session,
                                               const struct trib_msg *msg) TRIB_MUST_USE;
/* No verdict: the child offers it again. */
void trib_aggregator_out_of_memory(struct trib_aggregator *a, const struct session *session, uint64_t number);
/* ... and so it does when the payload is not what its checksum says. */
void trib_aggregator_damaged(struct trib_aggregator *a, const struct session *session, uint64_t number);
/* Sums the regions of active children, if something has changed. */
void trib_aggregator_sum_regions(struct trib_aggregator *a);
/* The region of its participant was `before`, and may be another now. */
void trib_aggregator_region_moved(struct trib_aggregator *a, const struct session *s, uint64_t before);

/* offers.c */
void trib_aggregator_on_offer(struct trib_aggregator *a, struct session *session, const struct trib_msg *msg,
                              size_t wire_bytes);
void trib_aggregator_on_chunk(struct trib_aggregator *a, struct session *session, const struct trib_msg *msg,
                              struct trib_blob *payload);
/* Lets children that wait with an offer begin, as far as the budget goes. */
void trib_aggregator_grant_offers(struct trib_aggregator *a);
/* It waits for room no more. */
void trib_aggregator_forget_offer(struct trib_aggregator *a, struct session *session);
/* What came of an update is another session's now. */
void trib_aggregator_hand_over(struct trib_aggregator *a, struct session *from, struct session *to);
void trib_aggregator_drop_incoming(struct trib_aggregator *a, struct session *session);
/* Has it stopped? Called now and then for each session. */
void trib_aggregator_look_at_transfer(struct trib_aggregator *a, struct session *session);

/* commit.c */
/* Commits if the rule says so; *wake_ms is when to ask again. */
void trib_aggregator_commit_due(struct trib_aggregator *a, uint64_t *wake_ms);

/* serve.c */
void trib_aggregator_on_pull(struct trib_aggregator *a, struct session *session, const struct trib_msg *msg);
void trib_aggregator_send_pieces(struct trib_aggregator *a, struct session *session);
/* What a child was being sent is its next session's, in case it asks for the same again. */
void trib_aggregator_hand_over_outgoing(struct trib_aggregator *a, struct session *from, struct session *to);
/* Ends the sending of a model in pieces, if one is under way. */
void trib_aggregator_drop_outgoing(struct trib_aggregator *a, struct session *session);
/* Who does not take what it is sent holds up nobody. Called now and then for each session. */
void trib_aggregator_look_at_outgoing(struct trib_aggregator *a, struct session *session);
/* Tells children of a new version; *wake_ms is when the next publication is allowed. */
void trib_aggregator_advance(struct trib_aggregator *a, uint64_t *wake_ms);

/* line.c */
/* What the choice of a publication's codec goes by. */
struct trib_ladder_line trib_aggregator_line(const struct trib_aggregator *a);

/* pressure.c */
/* Does what is offered outrun this node? Tells when that begins and ends. */
void trib_aggregator_look_at_pressure(struct trib_aggregator *a);
/* A child is turned away for lack of room: in how many ms it shall come back, each a turn later than the one
 * before, at least `least_ms`. */
uint64_t trib_aggregator_next_turn(struct trib_aggregator *a, uint64_t least_ms);
/* Somebody was served. */
void trib_aggregator_turn_done(struct trib_aggregator *a);

/* payloads.c */
/* The increments after `from` in one payload with one reference, and the version that they lead to: the
 * newest, or, with `older_will_do`, perhaps a nearer one. NULL: not kept, dearer than a snapshot, or no room.
 */
struct trib_blob *trib_aggregator_increments(struct trib_aggregator *a, const struct trib_base *from,
                                             bool older_will_do, struct trib_u64s *sizes,
                                             const struct trib_base **to);
/* The published vector, or, with `older_will_do`, perhaps that of an older version; borrowed. NULL: no room.
 */
const struct made *trib_aggregator_snapshot(struct trib_aggregator *a, bool older_will_do,
                                            const struct trib_base **to);
/* Would publishing now need more memory for a copy of P than there is room for? */
bool trib_aggregator_is_lent(struct trib_aggregator *a);
/* Before P changes: lets go of what nobody is being sent. */
void trib_aggregator_forget_idle(struct trib_aggregator *a);
void trib_aggregator_forget_payloads(struct trib_aggregator *a);

#endif
