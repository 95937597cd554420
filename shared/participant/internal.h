/* What the files of shared/participant share; nobody else includes this. */
#ifndef TRIB_PARTICIPANT_INTERNAL_H
#define TRIB_PARTICIPANT_INTERNAL_H

#include "shared/base/rng.h"
#include "shared/codec/specs.h"
#include "shared/participant/participant.h"
#include "shared/wire/transfer.h"

enum {
    FRAME_BYTES = 256 * 1024, /* the most in one frame, either way */
    WINDOW_BYTES = 2 << 20,   /* the most of a model on its way, in pieces */
    REPLY_MS = 10 * 1000,     /* a request is repeated after so long without a byte from the parent, */
    WELCOME_MAX_MS = 60000,   /* HELLO after 10 s more each time, up to this */
    SLOW_MAX = 8,         /* patience with what is on its way: up to 2^SLOW_MAX times what it should take */
    BACKOFF_MIN_MS = 200, /* between connections */
    BACKOFF_MAX_MS = 15 * 1000,
    REFUSED_MS = 60 * 1000,             /* after a run that this node cannot take part in */
    LONGEST_WAIT_MS = 24 * 3600 * 1000, /* whatever a parent says */
    EDGE_PULL_MS = 5 * 1000             /* an edge asks so often even if no ADVANCE came */
};

enum phase { CLOSED, HELLO, READY };

/* The newest payloads that came over: their bytes, and the time from PUSH to ACK, or from PULL to the last of
 * them. */
enum { TRANSFERS_KEPT = 4 };
struct transfers {
    size_t count; /* ever kept */
    struct {
        uint64_t bytes, ms;
    } kept[TRANSFERS_KEPT];
};

/* The MODEL whose payload comes in chunks. */
struct offered {
    struct trib_msg msg; /* its codec stands in */
    char codec[TRIB_SPECS_MAX];
};

struct trib_participant {
    struct trib_participant_options options;
    char name[TRIB_NAME_MAX + 1];
    struct trib_state *state;
    struct trib_outbox *outbox;
    struct trib_rng rng;
    enum phase phase;
    bool reconnect_asked, without_model, finished, leaving;
    uint64_t now_ms, reconnect_at_ms, backoff_ms, phase_since_ms;
    uint64_t last_number; /* of WELCOME */
    uint64_t session, credit, sent_credited, heartbeat_ms;
    uint8_t version; /* of the protocol, in this session */
    /* Versions whose digests the parent knows: what HELLO said, and what it gave in this session, from the
     * first on; UINT64_MAX: none. */
    uint64_t told_version, given_from;
    uint8_t told_digest[4];
    uint64_t last_sent_ms, last_heard_ms;
    unsigned unwelcome; /* HELLOs in a row without an answer */
    unsigned slow;      /* connections given up in a row because of silence: each time more patience */
    /* pulling */
    bool want_model, pull_open;
    bool training; /* ACTION_TRAIN was asked for, and neither submit nor abandon has answered it */
    uint64_t pull_sent_ms, pull_at_ms;
    uint64_t pull_began_ms; /* when what is coming was asked for; 0: it began over another connection */
    struct transfers fetched;
    struct trib_inbound incoming;
    struct trib_pace pace;   /* of what comes down */
    uint64_t piece_ms;       /* when the last piece came */
    struct offered *offered; /* owned; of `incoming` */
    /* pushing */
    uint64_t pushed_number, pushed_ms; /* the update that waits for its ACK; 0: none */
    size_t pushed_bytes;               /* of it, in one frame */
    bool pushed_whole;                 /* its bytes go with it, and not only the question how it was judged */
    uint64_t push_began_ms;            /* when it was first sent over this connection */
    struct transfers pushed;
    size_t rung_before;     /* of the update before, in the state's ladder_out; SIZE_MAX: none */
    uint64_t chose_number;  /* the newest update in another codec than the one before; 0: none, */
    enum trib_choice chose; /* and why */
    uint64_t retry_push_ms; /* the parent asked to wait until then */
    struct trib_outbound outgoing;
    struct trib_participant_status status;
};

/* Sends to the parent with the session set (but for HELLO); counts bytes. */
void trib_participant_send(struct trib_participant *p, struct trib_msg *msg, struct trib_blob *payload);
bool trib_participant_record(struct trib_participant *p, struct trib_record *record);
/* Leaves this connection and comes back after the back-off. */
void trib_participant_reconnect(struct trib_participant *p, const char *why);
/* Draws a new incarnation (everything unacknowledged is void) and comes back. */
void trib_participant_renew(struct trib_participant *p, const char *why);
/* An answer came `ms` after it could: patience is no longer needed if that was soon. */
void trib_participant_progress(struct trib_participant *p, uint64_t ms);

/* HELLO and PULL tell what the device says of itself. */
void trib_participant_report(struct trib_participant *p, struct trib_msg *msg);

/* pull.c */
void trib_participant_pull(struct trib_participant *p);
void trib_participant_on_model(struct trib_participant *p, const struct trib_msg *msg,
                               struct trib_blob *payload);
void trib_participant_on_chunk(struct trib_participant *p, const struct trib_msg *msg,
                               struct trib_blob *payload);

/* line.c */
void trib_transfers_note(struct transfers *transfers, size_t bytes, uint64_t ms);
double trib_transfers_rate(const struct transfers *transfers); /* bytes/s; 0: nothing was measured */
/* What the choice of a codec goes by. */
struct trib_ladder_line trib_participant_line(const struct trib_participant *p);
/* Remembers a choice; one that is another than the one before is an event, with its reason, and a device's is
 * told to its parent. */
void trib_participant_chose(struct trib_participant *p, const struct trib_ladder_line *line,
                            const struct trib_ladder_choice *choice);

/* push.c */
/* HELLO tells what its update started from that is under way or in the making, unless it is what is held. */
void trib_participant_tell_base(struct trib_participant *p, struct trib_msg *hello);
bool trib_participant_forward_due(const struct trib_participant *p, uint64_t *wake_ms);
void trib_participant_forward(struct trib_participant *p);
void trib_participant_push(struct trib_participant *p);
void trib_participant_on_ack(struct trib_participant *p, const struct trib_msg *msg);
void trib_participant_send_pieces(struct trib_participant *p);
/* The lowest held number that has no verdict yet, or NULL. */
const struct trib_held *trib_participant_unacknowledged(const struct trib_participant *p);

#endif
