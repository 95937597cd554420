/* Many children of one aggregator, on routes 1, 2, ...: they ask when they are called, and push when they are
 * told to. What the node sends is taken in at once. */
#ifndef TRIBUTARY_TESTS_CHILDREN_H
#define TRIBUTARY_TESTS_CHILDREN_H

#include "tests/support/roles.h"

enum { CHILDREN_MAX = 1000 };

struct child {
    uint64_t session, number, version;
    uint8_t digest[TRIB_DIGEST_BYTES];
    bool has;           /* a model, of that version */
    bool called, given; /* ADVANCE came; it holds a model to train on */
    uint64_t wait_ms;
    size_t refused, rounds;
};

struct children {
    struct role_node node;
    size_t count;
    struct child child[CHILDREN_MAX];
    size_t heard[TRIB_MSG_TYPES];
    uint64_t reason; /* of the newest refusal */
};

/* A cloud with so many children, called d0, d1, ..., who have said HELLO. */
struct children *children_of(size_t count, const char *plan);
/* ... of these names, with their numbers behind. */
struct children *children_named(size_t count, const char *plan, const char *prefix);
void children_end(struct children **f);
/* Takes in what was sent. */
void children_listen(struct children *f);
void child_pull(struct children *f, size_t i);
void children_pull(struct children *f); /* all of them */
/* Who was called comes; returns how many. */
size_t children_come(struct children *f);
void child_push(struct children *f, size_t i);
/* ... so many floats that are all the same, and this loss; child_push says 1 and 0.5. */
void child_push_floats(struct children *f, size_t i, float value, float loss);
/* Time passes, with heartbeats of those that have a session. */
void children_live(struct children *f, uint64_t ms);
size_t children_given(const struct children *f); /* hold a model that they have not answered */
size_t child_at_work(const struct children *f);  /* the first of them */
/* The newest event of that kind in the ledger; "": none. */
const char *children_event(const struct children *f, const char *event, char *out, size_t room);

#endif
