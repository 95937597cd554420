/* The parent role: admits participants, judges their updates, commits by the rule, publishes and serves the
 * model. The cloud and an edge's lower side are the same role over a state of another kind. No I/O: events
 * with their time go in, actions come out.
 *
 * A driver, after every event: take the outbox, carry it out; call poll at the time it returned, or sooner.
 * UINT64_MAX: not before the next event. Poll also between an edge's START record and its children's next
 * message: it closes the sessions of the run before. */
#ifndef TRIB_AGGREGATOR_AGGREGATOR_H
#define TRIB_AGGREGATOR_AGGREGATOR_H

#include "shared/state/outbox.h"

struct trib_aggregator_options {
    uint64_t seed;    /* of its session numbers */
    size_t max_peers; /* participants in a run, also those that left; more are answered ERROR busy (0: 10,000;
                         at most 65,535) */
    size_t budget_bytes; /* payloads of all children on their way here and not written yet, together (0: 8
                            MiB); as many again that were made to be sent to them */
    /* Payloads larger than half of budget_bytes come into a blob that this makes (NULL: it cannot), in a file
     * of the driver's, and count with file_bytes instead (0: 1 GiB). NULL: into memory, as all others. */
    struct trib_blob *(*file)(void *ctx, size_t bytes);
    void *file_ctx;
    uint64_t file_bytes;
    size_t window_bytes; /* of one payload, on their way at a time (0: 4 MiB); usually far less (pace.h) */
};

struct trib_aggregator;

/* The state and outbox are borrowed for its life. */
enum trib_status trib_aggregator_new(const struct trib_aggregator_options *options, struct trib_state *state,
                                     struct trib_outbox *outbox, struct trib_aggregator **out,
                                     struct trib_error *err) TRIB_MUST_USE;
void trib_aggregator_free(struct trib_aggregator **aggregator);

/* A message from a child. `identity`: its authenticated name, or NULL in plain mode, where HELLO's name
 * counts. frame and payload are borrowed (a reference is taken where the payload is kept). */
void trib_aggregator_message(struct trib_aggregator *a, uint64_t now_ms, trib_child_route route,
                             const char *identity, const void *frame, size_t frame_bytes,
                             struct trib_blob *payload);
/* For a driver of many nodes: what this message, which comes soon, will touch is brought into the processor's
 * cache; its session, or, once that is there, what the session belongs to (`peer`). Changes nothing. */
void trib_aggregator_fetch(const struct trib_aggregator *a, const void *frame, size_t frame_bytes, bool peer);
/* The driver saw something that is no message at all (too many frames, an empty one). */
void trib_aggregator_malformed(struct trib_aggregator *a, uint64_t now_ms, trib_child_route route,
                               const char *identity, const char *what);
/* Does what is due: commit, publish, tell waiting children, grant credit. Returns when it wants to be called
 * again. */
uint64_t trib_aggregator_poll(struct trib_aggregator *a, uint64_t now_ms);
/* Records what would have been recorded later: choices of who trains. Before a node ends, and not while its
 * state is being saved. */
void trib_aggregator_last_words(struct trib_aggregator *a, uint64_t now_ms);
/* Says BYE to every child, and records nothing. FINISHED ends the run for them; after LEAVING nothing more is
 * begun here: no commit, no session. */
void trib_aggregator_goodbye(struct trib_aggregator *a, uint64_t now_ms, enum trib_bye reason);
/* The store cannot be written: until cleared with 0 nothing is recorded, and nothing that needs a record is
 * done. Pushes, and HELLOs of participants that are not known, are answered ERROR store with `retry_ms`; what
 * is published is served. */
void trib_aggregator_refuse_writes(struct trib_aggregator *a, uint64_t retry_ms);

/* Payload bytes that the driver has been given to write and has not written yet: they count with what is in
 * flight. A driver that tells does so after every event, and when some were written. */
void trib_aggregator_unwritten(struct trib_aggregator *a, uint64_t bytes);

/* Sum of n_k of the active children (an edge's own `region`). */
uint64_t trib_aggregator_region(struct trib_aggregator *a);

/* ---- the cloud ---- */
/* A version was evaluated on held-out data. */
void trib_aggregator_evaluated(struct trib_aggregator *a, uint64_t now_ms, uint64_t version, float loss,
                               float accuracy, uint64_t samples, uint64_t duration_ms);
/* The gradient of the held-out loss at the version that was evaluated last, of the schema's model_parameters:
 * the effect of updates on that loss is judged by it until there is a newer one. Is it wanted? It is copied;
 * where memory runs out there is none. */
bool trib_aggregator_wants_gradient(const struct trib_aggregator *a);
void trib_aggregator_gradient(struct trib_aggregator *a, const float *gradient);
/* Makes an earlier version current again, as a new version below which no base counts any more: what was
 * judged and not committed is void, the whole tree follows. `model`: of that version, as
 * trib_state_rollback_payload makes it, or its parameters alone as f32 (the rule's optimiser then begins
 * anew); borrowed. False: the version is not an earlier one, or the record could not be made (the outbox
 * failed). */
bool trib_aggregator_rollback(struct trib_aggregator *a, uint64_t now_ms, uint64_t version,
                              struct trib_blob *model) TRIB_MUST_USE;
/* Ends the run: a STOP record, BYE finished to all. */
void trib_aggregator_finish(struct trib_aggregator *a, uint64_t now_ms, const char *reason);

/* ---- for status lines and health ---- */
struct trib_aggregator_status {
    uint64_t sessions, active;
    uint64_t accepted, refused, malformed; /* since start */
    uint64_t up_bytes, down_bytes;         /* from and to children, ZMTP headers included, since start */
    uint64_t models_sent;
    uint64_t in_flight_bytes; /* room that updates have which come in pieces */
    uint64_t parked_bytes;    /* pieces of those that had to give their room to others */
    uint64_t spooled_bytes;   /* of both kinds, where they are in files */
    uint64_t offers_waiting;  /* updates that wait for room */
    uint64_t sending;         /* children that are being sent models in pieces */
    uint64_t turned_away;     /* PULLs answered with WAIT for lack of room, since start */
    bool behind;            /* more comes than this node takes in: since the event `behind`, to `caught_up` */
    uint64_t behind_count;  /* so often since start */
    uint64_t staleness_sum; /* of accepted updates */
};
struct trib_aggregator_status trib_aggregator_status(const struct trib_aggregator *a);

#endif
