/* Rows of the rules' table at work: each as a rule in the least company that its stage needs, and a parent
 * that goes by it, with participants whose updates are four floats in f32. */
#ifndef TRIBUTARY_TESTS_CROWD_H
#define TRIBUTARY_TESTS_CROWD_H

#include "tests/support/roles.h"

enum { CROWD_MOST = 24, CROWD_N = ROLE_N, CROWD_SPEC = TRIB_RULE_MAX_SPEC + 1 };

/* A row in company, as a rule, and how many updates make its commit. */
struct crowd_subject {
    const struct trib_rule_row *row;
    enum trib_tier tier;
    char spec[CROWD_SPEC];
    struct trib_rule *rule; /* NULL: they do not go together, as `apart` says */
    struct trib_error apart;
    size_t count;
};

/* The row in its `shape`-th shape: its name alone, its example, and name(param=value) with each value of its
 * choices and switches, with each staleness function, and with lr=0.5, where it has those; in its
 * `company`-th company: gates, combiners and optimisers with each base, buckets with each combiner. False:
 * there is none more, or none at this tier. The rule is then the caller's. */
bool crowd_subject(const struct trib_rule_row *row, enum trib_tier tier, size_t shape, size_t company,
                   struct crowd_subject *s);
const char *crowd_tier_name(enum trib_tier tier); /* "edge" */

struct crowd_update {
    uint64_t weight;
    float steps;
    float values[CROWD_N];
};

struct crowd {
    const struct crowd_subject *of;
    struct role_node node;
    size_t count;
    uint64_t sessions[CROWD_MOST], numbers[CROWD_MOST], bases[CROWD_MOST];
    float applied[CROWD_MOST]; /* what the newest update of each weighs, by its ACK */
};

/* A parent of version 0, all zeros, and participants that hold it; updates staler than `cap` are refused. */
void crowd_gather(struct crowd *c, const struct crowd_subject *s, size_t count, uint64_t cap);
/* Ends it, once what it recorded has been seen to give the same state again. */
void crowd_scatter(struct crowd *c);
/* The participant's next update starts from the newest model. */
void crowd_pull(struct crowd *c, size_t who);
/* The verdict on its next update, or on one of this number, which may have been judged before. */
const struct trib_msg *crowd_push(struct crowd *c, size_t who, const struct crowd_update *u);
const struct trib_msg *crowd_push_number(struct crowd *c, size_t who, uint64_t number,
                                         const struct crowd_update *u);

#endif
