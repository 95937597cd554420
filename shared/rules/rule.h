/* Aggregation rules and staleness functions: how much an update weighs, and when what was gathered is
 * committed.
 *
 * A spec is stages joined by ` | `:  [gates ...] [bucket(s)] [combiner] base [optimiser], for example
 *     bucket(2) | centered_clip(tau=auto) | fedbuff(k=10, staleness=polynomial(0.5)) | momentum(0.9)
 *   gate       looks at an update before it is weighed: multiplies its weight, or refuses it
 *   bucket     means of s updates each, drawn at random, instead of the updates
 *   combiner   sees the updates of a buffer apart: what stands for their mean
 *   base       what an update weighs, when a commit is due, and its scale; in every spec
 *   optimiser  what is made of the base's mean, which it takes for a gradient
 *
 * A rule decides; what it decides is recorded (weights and scales as float bits) and carried out by
 * shared/state the same way live and in replay. u: an update's vector, w: its weight, h: a commit's step.
 *   IMMEDIATE (fedasync)         own += w * u, commits at once
 *   MIXING    (fedasync, mix)    own += w * ((P_base - S) + u), commits at once
 *   GATHERING (fedavg, fedbuff)  A += w * u; at commit h = scale * A, own += h, A = 0
 *   BUFFERED  (with a combiner)  updates stay encoded; at commit h = scale * combined(w / norm * u), own += h
 *   CACHED    (ca2fl)            A += u - c, c (the participant's last update) = u;
 *                                at commit h = scale * A + lr / N * H, H += A
 *   SERIES    (compensated)      A += w * u; at commit A += w_j * e_j, estimates for those who are away; then
 *                                h = scale * A, own += h, A = 0
 *   TIERS     (fedat)            T_i = P_base + u; at commit own = sum of weight_i * T_i
 * With an optimiser what IMMEDIATE and MIXING would add goes into A and is committed at once, and own += lr *
 * f(h). What a combiner and an optimiser compute are sums, products, quotients and square roots of recorded
 * values and of payloads, in a fixed order: the same bits everywhere. */
#ifndef TRIB_RULES_RULE_H
#define TRIB_RULES_RULE_H

#include "shared/base/error.h"
#include "shared/base/option.h"
#include "shared/kernels/shards.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TRIB_RULE_RECENT = 16,    /* staleness factors remembered for relative damping */
    TRIB_RULE_NORMS = 64,     /* norms of updates remembered for tau=auto */
    TRIB_RULE_MOMENTS = 3,    /* vectors that an optimiser has at most */
    TRIB_RULE_MAX_SPEC = 511, /* of a canonical spec */
    TRIB_RULE_MAX_STAGES = 8,
    TRIB_RULE_TIERS_MAX = 32,
    TRIB_RULE_ROWS = 1024 /* of a combiner; a buffer of that many commits, whatever its base waits for */
};

/* ---- staleness: s(tau) in (0, 1], s(0) = 1 ---- */
struct trib_staleness; /* a parsed spec; "constant", "polynomial(0.5)", "hinge(10, 4)", "linear(20)",
                          "exponential(0.3)" */
enum trib_status trib_staleness_new(const char *spec, struct trib_staleness **out,
                                    struct trib_error *err) TRIB_MUST_USE;
void trib_staleness_free(struct trib_staleness **staleness);
double trib_staleness_factor(const struct trib_staleness *staleness, uint64_t tau);
enum trib_status trib_staleness_check_spec(const char *spec, struct trib_error *err) TRIB_MUST_USE;

/* ---- rules ---- */
enum trib_rule_stage {
    TRIB_RULE_GATE,
    TRIB_RULE_BUCKET,
    TRIB_RULE_COMBINER,
    TRIB_RULE_BASE,
    TRIB_RULE_OPTIMISER,
    TRIB_RULE_STAGES
};
const char *trib_rule_stage_name(enum trib_rule_stage stage); /* "gate" */
enum trib_rule_form {
    TRIB_RULE_IMMEDIATE,
    TRIB_RULE_GATHERING,
    TRIB_RULE_MIXING,
    TRIB_RULE_BUFFERED,
    TRIB_RULE_CACHED,
    TRIB_RULE_SERIES,
    TRIB_RULE_TIERS
};
enum trib_tier { TRIB_TIER_EDGE, TRIB_TIER_CLOUD };

/* Why a gate refuses an update. */
enum trib_rule_refusal {
    TRIB_RULE_TAKEN,
    TRIB_RULE_NORM,      /* its norm is out of proportion */
    TRIB_RULE_DIRECTION, /* it points elsewhere than the commits before it */
    TRIB_RULE_QUARANTINE /* its participant is not trusted */
};

/* What rules remember of a participant: plain data, kept in checkpoints, changed only by trib_rule_note_*.
 * All of it follows from recorded values. */
struct trib_rule_peer {
    uint64_t accepted, refused; /* its updates; by gates */
    float norm, cosine, loss;   /* of its last one that gates saw */
    float trust;                /* for a gate that keeps a score; 0: none yet */
    uint64_t until;             /* ... and for how long it holds: commits, or ms, as that gate likes */
    float effect;               /* ... on the held-out loss, as that gate keeps it: -1 harms .. 1 helps */
    uint32_t weakest; /* ... what lowered the score most when something last did: trib_rule_term_name */
};

/* What a rule is told of an update that is about to be accepted. */
struct trib_rule_update {
    uint64_t staleness; /* commits since its base */
    double weight;      /* sum of n_k over the distinct devices in it */
    double share;       /* its population share at this tier, in (0, 1] */
    double steps;       /* ||a||_1 */
    double norm;        /* 2-norm of what is averaged of it */
    double cosine;      /* with the step of the last commit; 0: there is none, or it is not looked at */
    double effect;      /* cosine with the descent of the loss on held-out data; 0: it is not known */
    double divergence;  /* KL of its participant's labels from all that were told, nats; 0 too: not told */
    double loss;        /* mean training loss, as its participant says */
    uint64_t commits;   /* of this node so far */
    const struct trib_rule_peer *peer; /* NULL: nothing is known of its participant */
};
/* What it answers. Recorded; never recomputed in replay. */
struct trib_rule_weight {
    float factor;                   /* s: the staleness function's value, before relative damping */
    float applied;                  /* w: what the update is multiplied by when it is added */
    float norm;                     /* what it adds to the denominator of the commit's scale (0: none) */
    enum trib_rule_refusal refusal; /* by a gate: then nothing is added */
};
/* A rule's memory between updates; plain data, kept in checkpoints, changed only by trib_rule_note_*. */
struct trib_rule_memory {
    uint64_t pending;          /* updates gathered since the last commit */
    uint64_t pending_since_ms; /* when the first of them, or of those they replaced, came (the node's time) */
    double norm;               /* sum of their norms, and of those they replaced */
    float recent[TRIB_RULE_RECENT];
    uint64_t recent_count;     /* how many factors were ever noted */
    uint64_t intervals_ms[16]; /* the last intervals between accepted updates, for the default deadline */
    uint64_t interval_count, last_update_ms;
    double steps;                 /* sum of norm x steps, of the same */
    uint64_t stalest;             /* staleness of the stalest of the same */
    float norms[TRIB_RULE_NORMS]; /* of the last updates that gates saw, refused ones too */
    uint64_t norm_count;
    uint64_t optimised;             /* commits that went through the optimiser since its moments were zero */
    float effects[TRIB_RULE_NORMS]; /* sizes of the effects of the last updates that had one */
    uint64_t effect_count;
};
/* What a rule is told when it is asked whether to commit. */
struct trib_rule_state {
    uint64_t now_ms;
    uint64_t active;   /* participants with an open session */
    uint64_t expected; /* synchronous rules: active participants that have not yet answered this version;
                          those that wait for all: active participants with nothing pending */
    uint64_t commits;  /* of this node so far */
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
/* For whom its commit waits without an end in time: nobody (it commits at once, or after a deadline), so many
 * updates from whoever, or every active participant. */
enum trib_rule_patience { TRIB_RULE_WAITS_NOT, TRIB_RULE_WAITS_FOR_SOME, TRIB_RULE_WAITS_FOR_ALL };
enum trib_rule_patience trib_rule_patience(const struct trib_rule *rule);
/* Must the vector that an update started from be known (P_base)? */
bool trib_rule_needs_bases(const struct trib_rule *rule);
/* TIERS: how many there are; 0 for other forms. */
size_t trib_rule_tiers(const struct trib_rule *rule);
/* ... and what the model of each counts, by the updates that each had (0: none yet, weight 0). They add up to
 * 1, unless nobody had one. */
void trib_rule_tier_weights(const uint64_t *updates, size_t tiers, double *weights);
/* SERIES: how an update that did not come is estimated from the last two that did; for other forms `most` is
 * 0. */
struct trib_rule_series {
    double momentum, decay;
    uint64_t most; /* rounds missed until a participant is given up */
};
struct trib_rule_series trib_rule_series(const struct trib_rule *rule);
/* Does a commit wait for those who have nothing pending, some times (state.expected counts these)? */
bool trib_rule_counts_idle(const struct trib_rule *rule);
/* Do accepted updates change the model before the commit that speaks for them? Else they wait in A, or as
 * they came. */
bool trib_rule_at_once(const struct trib_rule *rule);
/* Is the direction of the last commit looked at (update->cosine, rows->previous)? */
bool trib_rule_needs_step(const struct trib_rule *rule);
/* Is the effect on held-out data (update->effect)? */
bool trib_rule_needs_effect(const struct trib_rule *rule);
/* Of trib_rule_peer.weakest: "norm", "direction", "loss", "labels"; "none". */
const char *trib_rule_term_name(uint32_t term);
/* Are all parts sums (rule `area`)? */
bool trib_rule_sums(const struct trib_rule *rule);
/* Is every update added as it is, whoever it is from, however late, and whatever came before? */
bool trib_rule_takes_whole(const struct trib_rule *rule);
/* Vectors of the optimiser; 0: it has none, or there is no optimiser. */
size_t trib_rule_moments(const struct trib_rule *rule);
bool trib_rule_optimises(const struct trib_rule *rule);
/* Fewest pending updates that the combiner works with; 1 without one. */
uint64_t trib_rule_least(const struct trib_rule *rule);
/* Something allowed that often goes wrong, for people; NULL: nothing. Lives for ever. */
const char *trib_rule_warning(const struct trib_rule *rule);
enum trib_status trib_rule_check_edge_spec(const char *spec, struct trib_error *err) TRIB_MUST_USE;
enum trib_status trib_rule_check_cloud_spec(const char *spec, struct trib_error *err) TRIB_MUST_USE;

struct trib_rule_weight trib_rule_weigh(const struct trib_rule *rule, const struct trib_rule_memory *memory,
                                        const struct trib_rule_update *update);
/* The update was accepted, or refused by a gate (live and in replay; staleness, steps, norm, cosine, effect
 * and loss of the update count). `peer` may be NULL. */
void trib_rule_note_update(struct trib_rule_memory *memory, struct trib_rule_peer *peer,
                           const struct trib_rule_update *update, const struct trib_rule_weight *weight,
                           uint64_t now_ms);
/* The same, for what gates remember of the participant; before trib_rule_note_update. update->commits and
 * divergence count too. */
void trib_rule_note_peer(const struct trib_rule *rule, const struct trib_rule_memory *memory,
                         struct trib_rule_peer *peer, const struct trib_rule_update *update,
                         enum trib_rule_refusal refusal);
/* A pending update was replaced by a newer one of its participant, which is noted next. */
void trib_rule_note_superseded(struct trib_rule_memory *memory);
/* Should what is pending be committed now? If not, *wake_ms is when to ask again (UINT64_MAX: at the next
 * update). Ask also whenever `active` or `expected` has changed. Never true when nothing is pending. */
bool trib_rule_due(const struct trib_rule *rule, const struct trib_rule_memory *memory,
                   const struct trib_rule_state *state, uint64_t *wake_ms);
/* It would be, but for the combiner, which needs more updates than there are. */
bool trib_rule_short(const struct trib_rule *rule, const struct trib_rule_memory *memory,
                     const struct trib_rule_state *state);
/* How many pending updates are enough for a commit. *configured is what the spec asks for; what is returned
 * is less where there are fewer active participants (the caller reports it). */
uint64_t trib_rule_needs(const struct trib_rule *rule, const struct trib_rule_state *state,
                         uint64_t *configured);
/* The scale of the commit, as it is recorded: lr / norm (0 where norm is 0) or as the rule's formula says,
 * with a combiner lr, 1 where each update commits. Finite. */
float trib_rule_scale(const struct trib_rule *rule, const struct trib_rule_memory *memory);
/* `optimised`: it went through the rule's optimiser. */
void trib_rule_note_commit(struct trib_rule_memory *memory, bool optimised);

/* ---- combiners: updates seen apart ---- */

/* What is combined: `count` rows of `parameters` floats. */
struct trib_rule_rows {
    size_t count, parameters;
    /* Values [at, at + n) of every row. Asked for in one or two passes; in each of them every worker asks for
     * ascending blocks, with gaps where the others' are. Workers are numbered as shards' are. */
    void (*read)(void *ctx, size_t worker, size_t at, size_t n, float *const *rows);
    void *ctx;
    struct trib_shards *shards; /* NULL: one worker, number 0; the result is the same */
    const float *previous;      /* what the last commit combined; NULL: nothing yet */
    double norm;                /* median of recent norms of updates; for tau=auto */
    uint64_t seed;              /* of the buckets: the commit's number */
};
/* out[0..parameters) = what stands for the rows' mean. TRIB_NOMEM; TRIB_INVALID: fewer than trib_rule_least.
 */
enum trib_status trib_rule_combine(const struct trib_rule *rule, const struct trib_rule_rows *rows,
                                   float *out, struct trib_error *err) TRIB_MUST_USE;
/* Median of the norms that are remembered; 0: none is. */
double trib_rule_median_norm(const struct trib_rule_memory *memory);

/* ---- optimisers ---- */

struct trib_rule_step {
    uint64_t count;     /* commits through this optimiser, this one included */
    uint64_t staleness; /* of the stalest update in it, or of one that was replaced */
};
/* own += lr * f(scale * gradient), for n values of each vector; moments: as many as trib_rule_moments says.
 */
void trib_rule_optimise(const struct trib_rule *rule, const struct trib_rule_step *step,
                        float *const *moments, const float *gradient, float scale, float *own, size_t n);

/* The tables, for --help, docs and the conformance test. */
struct trib_rule_row {
    const char *name, *summary, *formula, *source, *memory;
    const char *example;
    const struct trib_option *params;
    size_t param_count;
    bool cloud_only;
    enum trib_rule_stage stage;        /* not of staleness functions */
    const struct trib_rule_kind *kind; /* its functions; shared/rules' own (kind.h) */
};
const struct trib_rule_row *const *trib_rule_rows(size_t *count);
const struct trib_rule_row *const *trib_staleness_rows(size_t *count);

#endif
