/* Aggregation rules and staleness functions: how much an update weighs, and when what was gathered is
 * committed.
 *
 * A rule decides; it does no arithmetic on vectors. What it decides is recorded (weights and scales as float
 * bits) and carried out by shared/state the same way live and in replay: immediate  (FedAsync): each accepted
 * update u with weight w:  own += w * u,  and commits at once gathering  (FedAvg, FedBuff): A += w * u; at
 * commit own += scale * A, A = 0 mixing     (FedAsync, mix): own += w * ((P_base - S) + u), commits at once
 * A spec chooses a rule: "fedbuff(k=3, staleness=polynomial(0.5))". */
#ifndef TRIB_RULES_RULE_H
#define TRIB_RULES_RULE_H

#include "shared/base/error.h"
#include "shared/base/option.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TRIB_RULE_RECENT = 16 /* staleness factors remembered for relative damping */ };

/* ---- staleness: s(tau) in (0, 1], s(0) = 1 ---- */
struct trib_staleness; /* a parsed spec; "constant", "polynomial(0.5)", "hinge(10, 4)", "linear(20)",
                          "exponential(0.3)" */
enum trib_status trib_staleness_new(const char *spec, struct trib_staleness **out,
                                    struct trib_error *err) TRIB_MUST_USE;
void trib_staleness_free(struct trib_staleness **staleness);
double trib_staleness_factor(const struct trib_staleness *staleness, uint64_t tau);
enum trib_status trib_staleness_check_spec(const char *spec, struct trib_error *err) TRIB_MUST_USE;

/* ---- rules ---- */
enum trib_rule_form { TRIB_RULE_IMMEDIATE, TRIB_RULE_GATHERING, TRIB_RULE_MIXING };
enum trib_tier { TRIB_TIER_EDGE, TRIB_TIER_CLOUD };

/* What a rule is told of an update that is about to be accepted. */
struct trib_rule_update {
    uint64_t staleness; /* commits since its base */
    double weight;      /* sum of n_k over the distinct devices in it */
    double share;       /* its population share at this tier, in (0, 1] */
    double steps;       /* ||a||_1 */
};
/* What it answers. Recorded; never recomputed in replay. */
struct trib_rule_weight {
    float factor;  /* s: the staleness function's value, before relative damping */
    float applied; /* w: what the update is multiplied by when it is added */
    float norm;    /* what it adds to the denominator of the commit's scale (0: none) */
};
/* A rule's memory between updates; plain data, kept in checkpoints, changed only by trib_rule_note_*. */
struct trib_rule_memory {
    uint64_t pending;          /* updates gathered since the last commit */
    uint64_t pending_since_ms; /* when the first of them came (the node's time) */
    double norm;               /* sum of their norms */
    float recent[TRIB_RULE_RECENT];
    uint64_t recent_count;     /* how many factors were ever noted */
    uint64_t intervals_ms[16]; /* the last intervals between accepted updates, for the default deadline */
    uint64_t interval_count, last_update_ms;
};
/* What a rule is told when it is asked whether to commit. */
struct trib_rule_state {
    uint64_t now_ms;
    uint64_t active;   /* participants with an open session */
    uint64_t expected; /* synchronous rules: active participants that have not yet answered this version */
    uint64_t version_since_ms; /* when the version in force was made */
};

struct trib_rule; /* a parsed spec, with the tier it works at; immutable */

enum trib_status trib_rule_new(const char *spec, enum trib_tier tier, struct trib_rule **out,
                               struct trib_error *err) TRIB_MUST_USE;
void trib_rule_free(struct trib_rule **rule);
const char *trib_rule_spec(const struct trib_rule *rule);
enum trib_rule_form trib_rule_form(const struct trib_rule *rule);
/* A synchronous rule takes one update a participant and version, and refuses those of an older version. */
bool trib_rule_synchronous(const struct trib_rule *rule);
enum trib_status trib_rule_check_edge_spec(const char *spec, struct trib_error *err) TRIB_MUST_USE;
enum trib_status trib_rule_check_cloud_spec(const char *spec, struct trib_error *err) TRIB_MUST_USE;

struct trib_rule_weight trib_rule_weigh(const struct trib_rule *rule, const struct trib_rule_memory *memory,
                                        const struct trib_rule_update *update);
/* The update was accepted (live and in replay). */
void trib_rule_note_update(struct trib_rule_memory *memory, const struct trib_rule_weight *weight,
                           uint64_t now_ms);
/* Should what is pending be committed now? If not, *wake_ms is when to ask again (UINT64_MAX: at the next
 * update). Ask also whenever `active` or `expected` has changed. Never true when nothing is pending. */
bool trib_rule_due(const struct trib_rule *rule, const struct trib_rule_memory *memory,
                   const struct trib_rule_state *state, uint64_t *wake_ms);
/* How many pending updates are enough for a commit. *configured is what the spec asks for; what is returned
 * is less where there are fewer active participants (the caller reports it). */
uint64_t trib_rule_needs(const struct trib_rule *rule, const struct trib_rule_state *state,
                         uint64_t *configured);
/* The scale of the commit, as it is recorded: gathering rules lr / norm (0 where norm is 0), others 1. */
float trib_rule_scale(const struct trib_rule *rule, const struct trib_rule_memory *memory);
void trib_rule_note_commit(struct trib_rule_memory *memory);

/* The tables, for --help, docs and the conformance test. */
struct trib_rule_row {
    const char *name, *summary, *formula, *source, *memory;
    const char *example;
    const struct trib_option *params;
    size_t param_count;
};
const struct trib_rule_row *trib_rule_rows(size_t *count);
const struct trib_rule_row *trib_staleness_rows(size_t *count);

#endif
