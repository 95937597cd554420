/* A whole federation in one process under a virtual clock: the shipped roles, real messages, no sockets, no
 * sleeping. Deterministic: one seed, one history. Messages may be lost, doubled and delayed; nodes may stop
 * at any moment and come back from what their disks hold. Tests that look on, or make things worse, do so
 * through hooks (tests/torture has them all). */
#ifndef TRIBUTARY_TESTS_FEDERATION_H
#define TRIBUTARY_TESTS_FEDERATION_H

#include "shared/aggregator/aggregator.h"
#include "shared/participant/participant.h"

struct federation;

enum { FED_CLOUD = 0 }; /* nodes: 0 is the cloud, then the edges, then the devices */
enum { FED_NAME = 32 };

/* Where nodes keep what they must not forget. All NULL: nothing is kept, and no node may stop. */
struct federation_disk {
    void *ctx;
    /* Fills `state`, new and empty, with what is there. A failure: the node stays down. */
    enum trib_status (*open)(void *ctx, size_t node, struct trib_state *state, struct trib_error *err);
    /* Whether its repair lost records (trib_store_has_lost): the node takes a new incarnation. May be NULL.
     */
    bool (*lost)(void *ctx, size_t node);
    /* A group begins its way to the disk; what of the state must go with it is taken now. May be NULL. */
    void (*begin)(void *ctx, size_t node, const struct trib_state *state);
    /* All of the group or nothing. A failure is a crash: hooks.failed decides what comes of it. */
    enum trib_status (*write)(void *ctx, size_t node, const struct trib_record *const *records, size_t count,
                              struct trib_error *err);
    /* Called when nothing is on its way to the disk: time for a checkpoint, if it wants one. A failed
     * checkpoint is no crash unless TRIB_IO is returned. */
    enum trib_status (*idle)(void *ctx, size_t node, const struct trib_state *state, struct trib_error *err);
    void (*close)(void *ctx, size_t node);
};

struct federation_hooks {
    void *ctx;
    /* These records are on the node's disk now, in order. After a restart also those whose writing had been
     * under way and turned out to be there. */
    void (*durable)(void *ctx, size_t node, const struct trib_record *const *records, size_t count);
    /* Its state was rebuilt from its disk; `torn`: a group that was on its way is there in part. */
    void (*opened)(void *ctx, size_t node, bool torn);
    /* A message leaves `from` for `to` (a number that is no node: a stranger's, see federation_inject). */
    void (*sent)(void *ctx, size_t from, size_t to, const struct trib_action *action);
    void (*stepped)(void *ctx, size_t node); /* the node has handled an event */
    void (*failed)(void *ctx, size_t node);  /* a write failed: stop it, start it later */
    void (*alarm)(void *ctx, uint64_t what); /* asked for by federation_at */
    void (*logged)(void *ctx, size_t node, const struct trib_record *record); /* a line for the log */
};

/* The connection between a node and its parent. */
struct federation_link {
    bool cut;
    uint64_t latency_ms, jitter_ms;
    double lose, repeat; /* chances of a message */
    double late;         /* ... to be on its way for up to late_ms more */
    uint64_t late_ms;
    uint64_t rate; /* bytes/s each way; messages then keep their order, and what waits for the line is lost
                      with its connection. 0: no limit */
    uint64_t free_us[2]; /* federation's own: the line has sent everything, down and up */
    uint64_t bytes[2];   /* that it has taken */
};

struct federation_options {
    uint64_t seed;
    const char *plan;   /* "name: value" lines */
    const char *schema; /* its text */
    size_t edges;       /* 0: devices connect to the cloud */
    size_t devices;
    const size_t *parents; /* of every node, the cloud's is not looked at; NULL: devices spread over the edges
                              and edges below the cloud */
    bool named;            /* parents know their children by authenticated names */
    uint64_t latency_ms, jitter_ms;                 /* of a message */
    uint64_t commit_ms;                             /* of a journal write */
    double lose, repeat;                            /* chances of a message */
    size_t budget_bytes, window_bytes, frame_bytes; /* 0: the roles' own */
    bool keep_journal; /* records are kept in memory, so that a node can crash; else `disk` */
    bool spools;       /* ... a device's whole state instead, as of its last group */
    const struct federation_disk *disk;
    struct federation_hooks hooks;
    /* The trainer: from G to `difference` (both `n` floats). Returns the virtual duration; fills the rest in.
     * submission->local is what the device keeps; the trainer may put something else there, which is copied
     * at once. */
    uint64_t (*train)(void *ctx, size_t device, uint64_t version, const float *G, size_t n, float *difference,
                      struct trib_submission *submission);
    void *train_ctx;
};

struct federation *federation_new(const struct federation_options *options);
void federation_free(struct federation **fed);
/* Runs until the virtual time, or until `done` says so; returns the time reached. */
uint64_t federation_run(struct federation *fed, uint64_t until_ms,
                        bool (*done)(struct federation *fed, void *ctx), void *ctx);
/* From now on no message is lost or doubled, and devices train no more: everything that is under way arrives.
 */
void federation_calm(struct federation *fed);
size_t federation_node_count(const struct federation *fed);
size_t federation_device(const struct federation *fed, size_t device); /* its node */
size_t federation_parent(const struct federation *fed, size_t node);
const char *federation_name(const struct federation *fed, size_t node);
enum trib_role federation_role(const struct federation *fed, size_t node);
bool federation_up(const struct federation *fed, size_t node);
const struct trib_state *federation_state(const struct federation *fed, size_t node); /* NULL: it is down */
struct trib_aggregator *federation_aggregator(struct federation *fed, size_t node);
struct trib_participant *federation_participant(struct federation *fed, size_t node);
struct federation_link *federation_link(struct federation *fed, size_t node);
uint64_t federation_now(const struct federation *fed);
uint64_t federation_node_now(const struct federation *fed, size_t node); /* by its own clock */
uint64_t federation_events(const struct federation *fed);
uint64_t federation_committed(const struct federation *fed, size_t node); /* its last durable position */
bool federation_writing(const struct federation *fed, size_t node); /* a group is on its way to the disk */
uint64_t federation_trained(const struct federation *fed, size_t device); /* updates submitted */

/* ---- things that happen to nodes ---- */
/* The node dies: all that is not on its disk is gone. `written`: the group that was on its way goes to the
 * disk first, though nobody was told. */
void federation_stop(struct federation *fed, size_t node, bool written);
/* It comes back from its disk. False: it cannot be read (or written); the node is still down. */
bool federation_start(struct federation *fed, size_t node, struct trib_error *err);
/* Both at once; what was under way is lost. */
void federation_crash(struct federation *fed, size_t node);
/* The disk of a node that is down was replaced: what was on its way there is gone. */
void federation_forget(struct federation *fed, size_t node);
/* The clock of a node that is down is wrong by so much when it comes back. */
void federation_skew(struct federation *fed, size_t node, int64_t ms);
/* A node that is down has another parent when it comes back. */
void federation_move(struct federation *fed, size_t node, size_t parent);
/* The cloud begins a run, as its program does over an empty store. */
void federation_begin_run(struct federation *fed);
/* A role was called by somebody else: its actions are carried out. */
void federation_settle(struct federation *fed, size_t node);
/* The connection between a node and its parent ends, with all that is on its way; the node is told so, as by
 * a parent that does not know its session, and comes back. */
void federation_break(struct federation *fed, size_t node);
/* Cuts (or mends) the connection between a node and its parent. */
void federation_cut(struct federation *fed, size_t node, bool cut);
/* hooks.alarm is called with `what` at that time. */
void federation_at(struct federation *fed, uint64_t at_ms, uint64_t what);
/* A message to an aggregator as if from `route` (a stranger's is above all nodes: number << 32), which is
 * authenticated as `identity`. frame and payload are borrowed. */
void federation_inject(struct federation *fed, size_t node, trib_child_route route, const char *identity,
                       const void *frame, size_t frame_bytes, struct trib_blob *payload);
trib_child_route federation_route(const struct federation *fed, size_t child);

/* ---- what is there ---- */
/* BLAKE2b over every node's state. */
void federation_digest(struct federation *fed, uint8_t out[TRIB_DIGEST_BYTES]);
/* Every invariant that can be read off the states; fails the test otherwise. `where` is printed. */
void federation_check(struct federation *fed, const char *where);
/* Records that a node has journalled (keep_journal). */
size_t federation_journal(const struct federation *fed, size_t node, const struct trib_record *const **out);

#endif
