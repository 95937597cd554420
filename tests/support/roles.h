/* One role alone, over a fresh state: tests send it messages as its peer would, and read what it answers,
 * decoded, in order. Time is the node's own `now_ms`, which only tests move. */
#ifndef TRIBUTARY_TESTS_ROLES_H
#define TRIBUTARY_TESTS_ROLES_H

#include "shared/aggregator/aggregator.h"
#include "shared/participant/participant.h"

enum { ROLE_N = 4, ROLE_BIG_N = 5000, ROLE_HUGE_N = 25000, ROLE_LOGS = 512 };

struct role_sent {
    struct trib_msg msg; /* its texts stand in `frame` */
    uint8_t *frame;
    struct trib_blob *payload;
    trib_child_route route;
    uint64_t after;
    uint64_t position; /* the state's, when it was taken out */
};

struct role_node {
    struct trib_state *state;
    struct trib_outbox outbox;
    struct trib_aggregator *aggregator;   /* one of the two */
    struct trib_participant *participant; /* ... */
    uint64_t now_ms, wake_ms;
    size_t sent_count, sent_capacity, read;
    struct role_sent **sent;
    size_t record_count, record_capacity;
    struct trib_record **records;
    size_t log_count;
    char logs[ROLE_LOGS][40]; /* event ids, in order */
    size_t reconnects, trains, finished;
};

struct role_options {
    enum trib_role role;
    const char *plan; /* added to four f32 codecs; NULL: nothing */
    bool big, huge;   /* ROLE_BIG_N or ROLE_HUGE_N parameters instead of ROLE_N */
    bool with_seed;   /* the edge of an aggregator holds no model otherwise; a cloud always has one */
    bool given;       /* a cloud's first model is given: there is no seed of it */
    struct trib_aggregator_options aggregator;
    struct trib_participant_options participant;
};

/* An aggregator whose run has begun: version 0 is drawn from a seed whose bound is 0, so it is all zeros. */
void role_parent(struct role_node *node, struct role_options options);
/* A participant that knows nothing yet. */
void role_child(struct role_node *node, struct role_options options);
/* ... and one that knows what it left in a spool; the state becomes the node's. */
void role_resume(struct role_node *node, struct role_options options, struct trib_state *state);
void role_stop(struct role_node *node);

/* Delivers a message, with the payload (borrowed), and takes the outbox out. */
void role_deliver(struct role_node *node, trib_child_route route, const char *identity,
                  const struct trib_msg *msg, struct trib_blob *payload);
void role_deliver_bytes(struct role_node *node, trib_child_route route, const void *frame, size_t bytes,
                        struct trib_blob *payload);
void role_poll(struct role_node *node);
/* Moves the time on and polls. */
void role_wait(struct role_node *node, uint64_t ms);
/* Takes the outbox out; called by all of the above. With `false` a failed outbox is left to the caller. */
bool role_collect(struct role_node *node, bool must_work);
/* The next message that was sent and not looked at; fails the test if it is of another type or none. */
const struct role_sent *role_next(struct role_node *node, uint8_t type);
/* ... or NULL if there is none. */
const struct role_sent *role_peek(struct role_node *node);
/* Fails the test if there is one. */
void role_silent(struct role_node *node);
/* The next one is ERROR with this code. */
const struct role_sent *role_error(struct role_node *node, uint64_t code);
size_t role_logged(const struct role_node *node, const char *event);
size_t role_recorded(const struct role_node *node, uint8_t kind);
const struct trib_record *role_last(const struct role_node *node, uint8_t kind);
/* A fresh state from the records, each through its encoding, has the same digest. */
void role_rebuild(const struct role_node *node);

/* ---- messages ---- */
struct trib_text role_text(const char *text);
struct trib_blob *role_floats(size_t n, float value); /* all the same */
struct trib_blob *role_bytes(size_t bytes, uint8_t value);
uint32_t role_crc(const struct trib_blob *blob);
struct trib_msg role_hello(const char *name, uint64_t incarnation, uint64_t next);
struct trib_msg role_message(uint8_t type, uint64_t session);
/* PULL, with what is held if `held` (a MODEL that came before) is not NULL. */
struct trib_msg role_pull(uint64_t session, const struct trib_msg *held);
struct trib_msg role_push(uint64_t session, uint64_t number, uint64_t base);
struct trib_msg role_offer(uint64_t session, uint64_t number, uint64_t base, const struct trib_blob *blob);
struct trib_msg role_chunk(uint64_t session, uint64_t number, uint64_t offset);
/* Says HELLO and reads WELCOME; returns the session. */
uint64_t role_join(struct role_node *node, trib_child_route route, const char *name, uint64_t incarnation);
/* Pushes four (or ROLE_BIG_N) equal floats and reads the ACK. */
const struct trib_msg *role_update(struct role_node *node, trib_child_route route, struct trib_msg push,
                                   float value);
/* PULL on route 1, and the MODEL that answers it. */
const struct role_sent *role_pulled(struct role_node *node, uint64_t session, const struct trib_msg *held);
/* Pushes on route 1 what is refused; returns the reason. */
uint64_t role_refused(struct role_node *node, struct trib_msg push, struct trib_blob *payload);

/* What a parent would say to a child under test: its run has incarnation `parent`. */
struct trib_msg role_welcome(uint64_t session, uint64_t parent, uint64_t last);
/* MODEL of version 0 from the seed, and the snapshot or increment that leads to `version`. */
struct trib_msg role_seed_model(uint64_t session);
/* ... and what leads from there to a later version. */
struct trib_msg role_seeded_model(uint64_t session, uint64_t version, const struct trib_blob *increment);
struct trib_msg role_snapshot_model(uint64_t session, uint64_t version, const struct trib_blob *values);
struct trib_msg role_increment_model(uint64_t session, const struct trib_state *held, uint64_t version,
                                     const struct trib_blob *increment);
/* Connects a child, welcomes it, and gives it version 0. */
void role_connect(struct role_node *node, uint64_t session, uint64_t parent, uint64_t last);
void role_begin(struct role_node *node, uint64_t session);
struct trib_msg role_ack(uint64_t session, uint64_t number, uint64_t verdict);
/* What the device trained: four equal floats. */
void role_submit(struct role_node *node, float value);
/* An edge's own part grows by a commit of its lower side. */
void role_gather(struct role_node *node, float value);
/* The same, of so many samples, steps and updates below as it claims. */
void role_gather_claimed(struct role_node *node, float value, uint64_t claim);

#endif
