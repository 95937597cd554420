/* What the files of shared/participant share; nobody else includes this. */
#ifndef TRIB_PARTICIPANT_INTERNAL_H
#define TRIB_PARTICIPANT_INTERNAL_H

#include "shared/base/rng.h"
#include "shared/participant/participant.h"
#include "shared/wire/transfer.h"

enum {
    CHUNK_BYTES = 256 * 1024, /* asked for in CREDIT */
    WINDOW_CHUNKS = 4,        /* and so many of them on their way */
    REPLY_MS = 10 * 1000,     /* a request is repeated after so long without a byte from the parent */
    BACKOFF_MIN_MS = 200,     /* between connections */
    BACKOFF_MAX_MS = 15 * 1000,
    REFUSED_MS = 60 * 1000,             /* after a run that this node cannot take part in */
    LONGEST_WAIT_MS = 24 * 3600 * 1000, /* whatever a parent says */
    EDGE_PULL_MS = 5 * 1000             /* an edge asks so often even if no ADVANCE came */
};

enum phase { CLOSED, HELLO, READY };

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
    uint64_t last_sent_ms, last_heard_ms;
    /* pulling */
    bool want_model, pull_open;
    bool training; /* ACTION_TRAIN was asked for, and neither submit nor abandon has answered it */
    uint64_t pull_sent_ms, pull_at_ms;
    struct trib_inbound incoming;
    struct trib_msg offered; /* the MODEL whose payload comes in chunks; its texts are not used */
    /* pushing */
    uint64_t pushed_number, pushed_ms; /* the update that waits for its ACK; 0: none */
    uint64_t retry_push_ms;            /* the parent asked to wait until then */
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
/* Answers CREDIT for what is coming in. */
void trib_participant_credit(struct trib_participant *p);

/* pull.c */
void trib_participant_pull(struct trib_participant *p);
void trib_participant_on_model(struct trib_participant *p, const struct trib_msg *msg,
                               struct trib_blob *payload);
void trib_participant_on_chunk(struct trib_participant *p, const struct trib_msg *msg,
                               struct trib_blob *payload);

/* push.c */
bool trib_participant_forward_due(const struct trib_participant *p, uint64_t *wake_ms);
void trib_participant_forward(struct trib_participant *p);
void trib_participant_push(struct trib_participant *p);
void trib_participant_on_ack(struct trib_participant *p, const struct trib_msg *msg);
void trib_participant_send_pieces(struct trib_participant *p);
/* The lowest held number that has no verdict yet, or NULL. */
const struct trib_held *trib_participant_unacknowledged(const struct trib_participant *p);

#endif
