/* What a role wants done: sends and writes, in order, for a driver to carry out.
 *
 * Nothing leaves a node that depends on a journal position not yet committed: a send names the position it
 * depends on, and the driver holds it until the store has reported that position (rule 1). */
#ifndef TRIB_STATE_OUTBOX_H
#define TRIB_STATE_OUTBOX_H

#include "shared/base/log.h"
#include "shared/state/state.h"

enum trib_action_kind {
    TRIB_ACTION_SEND_CHILD,  /* frame and payload to `route` */
    TRIB_ACTION_SEND_PARENT, /* frame and payload up */
    TRIB_ACTION_WRITE,       /* a record to the journal */
    TRIB_ACTION_RECONNECT, /* close the uplink with linger 0, open a new one, then trib_participant_connected
                            */
    TRIB_ACTION_TRAIN,     /* device: G is ready to be trained on */
    TRIB_ACTION_FINISHED,  /* the run is over, and finish_on_bye was asked for */
    TRIB_ACTION_LOG        /* a line for the log, with the record's level, event and text */
};

/* A connection of a child, named by the driver. */
typedef uint64_t trib_child_route;

struct trib_action {
    enum trib_action_kind kind;
    trib_child_route route;
    uint64_t after; /* SEND: position that must be committed before this leaves; 0: none */
    uint8_t *frame; /* owned */
    size_t frame_bytes;
    struct trib_blob *payload;  /* one reference */
    struct trib_record *record; /* WRITE, LOG: owned, with its texts and a payload reference */
};

struct trib_outbox {
    /* Where set, a record is shown to it at once, and no copy of it is queued: for a driver that keeps no
     * journal. */
    void (*applied)(void *ctx, const struct trib_record *record);
    void *ctx;
    size_t count, capacity, first;
    struct trib_action *actions;
    struct trib_buf frame;   /* the one that is being encoded */
    enum trib_status failed; /* not TRIB_OK: a record could not be applied, or memory ran out: the role must
                                be dropped and rebuilt from its store */
    struct trib_error error;
};

void trib_outbox_init(struct trib_outbox *outbox);
void trib_outbox_release(struct trib_outbox *outbox);
/* The next action, or false; the caller releases it with trib_action_release. */
bool trib_outbox_take(struct trib_outbox *outbox, struct trib_action *out);
void trib_action_release(struct trib_action *action);

/* Encodes and queues a message; returns the bytes of its frames (without ZMTP's headers), 0 when failed. */
size_t trib_outbox_send(struct trib_outbox *outbox, enum trib_action_kind kind, trib_child_route route,
                        uint64_t after, const struct trib_msg *msg, struct trib_blob *payload);
/* Applies the record to the state, then queues its writing. false: failed (see outbox->failed). */
bool trib_outbox_record(struct trib_outbox *outbox, struct trib_state *state, struct trib_record *record);
void trib_outbox_simple(struct trib_outbox *outbox, enum trib_action_kind kind);
/* A log line; with `ledger` also an EVENT record. */
void trib_outbox_event(struct trib_outbox *outbox, struct trib_state *state, uint64_t now_ms, bool ledger,
                       enum trib_level level, const char *event, const char *fmt, ...) TRIB_PRINTF(7, 8);
/* First of all after a repair of the store that lost records (trib_store_has_lost): what this node said after
 * the state's position is unknown. It takes `incarnation`, and its parent and children take it for somebody
 * new: what an edge had gathered and held is void, and so is what children of either hold. `why` is for
 * people. */
void trib_outbox_restored(struct trib_outbox *outbox, struct trib_state *state, uint64_t now_ms,
                          uint64_t incarnation, const char *why);
/* A copy that owns its texts and a reference to the payload; NULL when memory runs out. */
struct trib_record *trib_record_copy(const struct trib_record *record);
void trib_record_free(struct trib_record **record);

#endif
