/* Selection policies: which of the children that could train now are given the model. A policy is asked with
 * the candidates before it and picks some; who is a candidate, and how many are wanted, the aggregator says
 * (shared/aggregator/cohort.c). It knows what was measured of a child and what the child told, and draws from
 * the aggregator's seeded numbers, so that the same seed chooses the same children. A choice is never
 * computed again in replay: it decides who works, not what becomes of the work.
 *
 * A spec chooses a policy: "random", "oort(explore=0.9)". Policies are one .c and one row each. */
#ifndef TRIB_RULES_SELECT_H
#define TRIB_RULES_SELECT_H

#include "shared/base/rng.h"
#include "shared/rules/rule.h"

enum {
    TRIB_SELECT_GROUPS = 64 /* device classes that are told apart; the last stands for all further ones */
};

/* A child that may be chosen. What is not known is 0, and `known` says whether it has ever answered. */
struct trib_select_candidate {
    bool known;           /* it has answered: what follows was measured */
    uint64_t weight;      /* n_k of its newest accepted update */
    double duration_ms;   /* from its last model to its answer */
    double loss;          /* mean training loss of its last answer, as it reported it; never negative */
    double norm;          /* 2-norm of its last update */
    uint64_t last_chosen; /* the round when it was; 0: never */
    uint32_t group;       /* its device class, as an index below `groups` */
};

/* A policy's memory between draws; zeroed when a run begins. */
struct trib_select_memory {
    uint64_t window;      /* oort's pacer: which window of rounds this is */
    double utility, last; /* ... what was exploited in it, and in the one before */
    double slack;         /* ... percentiles by which the preferred duration was raised */
};

struct trib_select_draw {
    const struct trib_select_candidate *candidates;
    size_t count;
    size_t want;                /* choose at most so many; above 0 */
    size_t busy;                /* children that are chosen already */
    uint64_t round;             /* from 1 on; where there are no rounds, choices per place */
    const uint32_t *group_size; /* by group: children that are here and may be chosen, now or later, */
    const uint32_t *group_busy; /* and those among them that are chosen already */
    size_t groups;
    struct trib_rng *rng;
    struct trib_select_memory *memory;
    double *score;    /* room for `count`; nothing is expected in it */
    uint32_t *chosen; /* room for `count`: the indices of those who were chosen come first */
};

struct trib_select; /* a parsed spec; immutable */

enum trib_status trib_select_new(const char *spec, struct trib_select **out,
                                 struct trib_error *err) TRIB_MUST_USE;
void trib_select_free(struct trib_select **select);
const char *trib_select_spec(const struct trib_select *select); /* canonical: every parameter by name */
const char *trib_select_name(const struct trib_select *select);
enum trib_status trib_select_check_spec(const char *spec, struct trib_error *err) TRIB_MUST_USE;
/* Returns how many were chosen: none only if there are no candidates, or if none of them is wanted and others
 * are at work. */
size_t trib_select_choose(const struct trib_select *select, const struct trib_select_draw *draw);
/* The table, for --help, docs and the conformance test. */
const struct trib_rule_row *trib_select_rows(size_t *count);

#endif
