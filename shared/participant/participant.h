/* The child role: says HELLO, pulls models, pushes updates, keeps what is not acknowledged. A device and an
 * edge's uplink are the same role over a state of another kind. No I/O: events with their time go in, actions
 * come out.
 *
 *   CLOSED --RECONNECT / connected()--> HELLO --WELCOME--> READY --silence, ERROR hello--> CLOSED
 *
 * A driver, after every event: take the outbox, carry it out; call poll at the time it returned, or sooner.
 * UINT64_MAX: not before the next event. */
#ifndef TRIB_PARTICIPANT_PARTICIPANT_H
#define TRIB_PARTICIPANT_PARTICIPANT_H

#include "shared/state/outbox.h"

/* What a device tells its parent of itself, for who trains next. */
struct trib_conditions {
    const char *device_class; /* borrowed until the next call; NULL or "": not told */
    uint64_t battery;         /* percent; above 100: not told */
    uint64_t link;            /* bytes/s; 0: not told */
};

struct trib_participant_options {
    const char *name; /* borrowed; 1 to 64 printable characters */
    uint64_t seed;    /* of its own random numbers (jitter, incarnations) */
    size_t
        frame_bytes; /* the largest payload it takes in one frame; larger ones come in chunks (0: 256 KiB) */
    bool finish_on_bye; /* a finished run ends this participant (ACTION_FINISHED), else it waits for the next
                           one */
    /* An edge: the sum of n_k of its active devices, for PUSH; NULL at a device. */
    uint64_t (*region)(void *ctx);
    void *region_ctx;
    /* A device: asked before each HELLO and PULL; *out says that nothing is told. May be NULL. */
    void (*conditions)(void *ctx, struct trib_conditions *out);
    void *conditions_ctx;
    /* A device that agrees to tell its labels: asked before each PUSH if the plan wants them
     * (train.tell_labels); samples of each class into *out, which is empty: nothing is told. NULL: it does
     * not agree. */
    void (*labels)(void *ctx, struct trib_u64s *out);
    void *labels_ctx;
};

struct trib_participant;

/* The state and outbox are borrowed for its life. */
enum trib_status trib_participant_new(const struct trib_participant_options *options,
                                      struct trib_state *state, struct trib_outbox *outbox,
                                      struct trib_participant **out, struct trib_error *err) TRIB_MUST_USE;
void trib_participant_free(struct trib_participant **participant);

/* The driver has a fresh connection (asked for by ACTION_RECONNECT): says HELLO. */
void trib_participant_connected(struct trib_participant *p, uint64_t now_ms);
/* A message from the parent; `frame` is borrowed, `payload` too (a reference is taken where it is kept). */
void trib_participant_message(struct trib_participant *p, uint64_t now_ms, const void *frame,
                              size_t frame_bytes, struct trib_blob *payload);
/* Does what is due: reconnect, forward, push, pull, heartbeat. Returns when it wants to be called again. */
uint64_t trib_participant_poll(struct trib_participant *p, uint64_t now_ms);
/* Says BYE (leaving); call before the driver closes. What still comes is taken; poll begins nothing more. */
void trib_participant_goodbye(struct trib_participant *p, uint64_t now_ms);

/* ---- devices ---- */
/* The work that ACTION_TRAIN asked for: `difference` = trained model - G, of `parameters` floats (or what
 * else plan.train.algorithm says); it is added to what codecs lost before, encoded, numbered and pushed.
 * weight is n_k. `local` is what the device keeps from now on, taken over in the same step: as
 * trib_state_gather. Not finite: reported and dropped, and `local` with it. Everything is borrowed for the
 * call. */
struct trib_submission {
    const float *difference;
    const float *const *local;   /* NULL: nothing */
    uint64_t base_version;       /* G's when training began */
    uint64_t parent_incarnation; /* the parent's then; the work is dropped if it has changed */
    uint64_t samples, weight;
    float steps, loss;
};
void trib_participant_submit(struct trib_participant *p, uint64_t now_ms,
                             const struct trib_submission *submission);
/* Training was given up (no data, stopped): asks for a model again later. */
void trib_participant_abandon(struct trib_participant *p, uint64_t now_ms);

/* ---- for status lines and health ---- */
struct trib_participant_status {
    bool ready;
    uint64_t session, up_bytes, down_bytes, pushed, accepted, refused, reconnects, last_heard_ms;
};
struct trib_participant_status trib_participant_status(const struct trib_participant *p);

#endif
