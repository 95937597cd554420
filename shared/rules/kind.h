/* What a rule is made of: private to this folder. A stage is one .c with a `const struct trib_rule_kind` and
 * its table of parameters, and one row in table.c. Its functions are pure: what they are told is all they
 * know, and nothing they decide is stored but in trib_rule_memory, by trib_rule_note_*. */
#ifndef TRIB_RULES_KIND_H
#define TRIB_RULES_KIND_H

#include "shared/rules/rule.h"

struct trib_rule_base {
    bool synchronous;
    bool sums; /* its updates are added as they are, unweighted and unscaled */
    bool all;  /* `expected` counts those who have nothing pending */
    enum trib_rule_form (*form)(const void *config);
    struct trib_rule_weight (*weigh)(const void *config, const struct trib_rule_memory *memory,
                                     const struct trib_rule_update *update);
    /* Only asked when something is pending. NULL: each update commits. */
    bool (*due)(const void *config, const struct trib_rule_memory *memory,
                const struct trib_rule_state *state, uint64_t *wake_ms);
    /* The server's learning rate: the scale of a rule that gathers is this over the sum of norms. NULL: 1. */
    double (*rate)(const void *config);
    /* The scale itself, where it is another. NULL: as above. */
    double (*scale)(const void *config, const struct trib_rule_memory *memory);
    /* See trib_rule_needs. NULL: 1. */
    uint64_t (*needs)(const void *config, const struct trib_rule_state *state, uint64_t *configured);
    size_t (*tiers)(const void *config);                   /* TIERS; else NULL */
    struct trib_rule_series (*series)(const void *config); /* SERIES; else NULL */
    /* NULL: TRIB_RULE_WAITS_NOT. */
    enum trib_rule_patience (*patience)(const void *config);
};

struct trib_rule_gate {
    bool needs_step;                          /* update->cosine */
    bool (*needs_effect)(const void *config); /* update->effect; NULL: no */
    /* What the update's weight is multiplied by, in (0, 1]; or *refusal is why it is refused. */
    double (*pass)(const void *config, const struct trib_rule_memory *memory,
                   const struct trib_rule_update *update, enum trib_rule_refusal *refusal);
    /* What it remembers of the participant, once the update has its verdict: from recorded values alone, and
     * before the rule's memory has the update in it. NULL: nothing. */
    void (*note)(const void *config, const struct trib_rule_memory *memory, struct trib_rule_peer *peer,
                 const struct trib_rule_update *update, enum trib_rule_refusal refusal);
};

/* What combiners are told: the Gram matrix of the rows and, as the last of `size`, of what the last commit
 * combined (zeros, if there is none). */
struct trib_gram {
    size_t rows, size;
    const double *dots; /* size x size */
    double norm;        /* trib_rule_rows.norm */
};
static inline double trib_gram_at(const struct trib_gram *gram, size_t i, size_t j) {
    return gram->dots[i * gram->size + j];
}
/* Squared distance of two rows; never negative. */
double trib_gram_distance(const struct trib_gram *gram, size_t i, size_t j);
/* Distance of each row from the weighted sum with these coefficients (gram->size of them); gives their sum.
 * Work: gram->size values. */
double trib_gram_distances(const struct trib_gram *gram, const double *coefficients, double *out,
                           double *work);

struct trib_rule_combiner {
    uint64_t (*least)(const void *config);
    bool needs_step, needs_gram;
    /* Linear ones: the coefficients of the rows and of the last one (gram->size, zeros at first). `work` has
     * room for 3 * gram->size values. */
    void (*weigh)(const void *config, const struct trib_gram *gram, double *coefficients, double *work);
    /* The others: which rows count (NULL: all of them; ascending indices into `chosen`, how many is
     * returned), and what becomes of each coordinate of these. `total`: rows that there were. */
    size_t (*choose)(const void *config, const struct trib_gram *gram, size_t *chosen, double *work);
    void (*merge)(const void *config, const float *const *rows, size_t count, size_t total, float *out,
                  size_t n);
};

struct trib_rule_optimiser {
    size_t (*moments)(const void *config);
    /* Told once whether the base is synchronous, before anything else. */
    void (*bind)(void *config, bool synchronous);
    void (*step)(const void *config, const struct trib_rule_step *step, float *const *moments,
                 const float *gradient, float scale, float *own, size_t n);
    /* See trib_rule_warning. NULL: nothing. */
    const char *(*warning)(const void *config, bool synchronous);
};

struct trib_rule_kind {
    const char *name;
    size_t config_bytes; /* of the struct that the parameters are read into */
    /* Turns what the options hold as text into what the functions below need. NULL: nothing to do. */
    enum trib_status (*prepare)(void *config, enum trib_tier tier, struct trib_error *err);
    /* Gives back what prepare made. NULL: nothing to do. */
    void (*release)(void *config);
    /* One of these, by the row's stage; a bucket's is `bucket`. */
    const struct trib_rule_gate *gate;
    uint64_t (*bucket)(const void *config);
    const struct trib_rule_combiner *combiner;
    const struct trib_rule_base *base;
    const struct trib_rule_optimiser *optimiser;
};

/* Rows of the table, each beside its functions. */
extern const struct trib_rule_row trib_rule_fedavg, trib_rule_fedbuff, trib_rule_fedasync;
extern const struct trib_rule_row trib_rule_ca2fl, trib_rule_fedat, trib_rule_compensated, trib_rule_fadas;
extern const struct trib_rule_row trib_rule_area, trib_rule_async_sgd, trib_rule_fednova, trib_rule_semiasync;
extern const struct trib_rule_row trib_rule_norm_clip, trib_rule_norm_filter, trib_rule_cosine_filter,
    trib_rule_trust;
extern const struct trib_rule_row trib_rule_bucket, trib_rule_median, trib_rule_trimmed_mean, trib_rule_krum,
    trib_rule_multi_krum, trib_rule_bulyan, trib_rule_geometric_median, trib_rule_centered_clip;
extern const struct trib_rule_row trib_rule_momentum, trib_rule_adagrad, trib_rule_adam, trib_rule_yogi,
    trib_rule_amsgrad;

/* The parameters of a row. */
#define TRIB_PARAMS(table) .params = (table), .param_count = sizeof(table) / sizeof *(table)

/* ---- shared by rules ---- */

/* The values of an "auto|yes|no" parameter, NULL-terminated, and what it means: `fallback` where it is auto.
 */
extern const char *const trib_rule_auto_yes_no[4];
bool trib_rule_switch(const char *value, bool fallback);
/* Median norm of recent updates; 0 while too few are known. The same of the sizes of their effects. */
double trib_rule_usual_norm(const struct trib_rule_memory *memory);
double trib_rule_usual_effect(const struct trib_rule_memory *memory);
/* How much a staleness factor damps: the factor itself, or, relative, min(1, s / s') with s' the mean of s
 * over the last 16 accepted updates, this one included. In (0, 1]. */
double trib_rule_damping(const struct trib_rule_memory *memory, float factor, bool relative);
/* Median (upper of the two middle ones) of the intervals that are remembered; UINT64_MAX if there are none.
 */
uint64_t trib_rule_median_interval(const struct trib_rule_memory *memory);
/* Has it been `wait_ms` since `since_ms`? If not, *wake_ms is when it will have been. */
bool trib_rule_waited(uint64_t since_ms, uint64_t wait_ms, uint64_t now_ms, uint64_t *wake_ms);
enum trib_rule_form trib_rule_gathers(const void *config); /* TRIB_RULE_GATHERING */

/* A buffer of k updates, whoever they are from, with a deadline: two parameters and what they mean. In the
 * config of a base that has one it stands first: the functions below are then the base's own.
 * `deadline` may be auto: twice the median interval between updates at the cloud, for ever at an edge. */
struct trib_rule_buffer {
    uint64_t k;
    char *deadline;
    bool deadline_auto;   /* made by trib_buffer_prepare, as is what follows */
    uint64_t deadline_ms; /* 0: none */
};
#define TRIB_BUFFER_K(config, member, fallback)                                                              \
    {                                                                                                        \
        "k", TRIB_OPT_U64, offsetof(config, member.k), fallback, 1, 1000000, NULL, NULL,                     \
            "updates in a buffer; lowered to the number of active participants"                              \
    }
#define TRIB_BUFFER_DEADLINE(config, member)                                                                 \
    {                                                                                                        \
        "deadline", TRIB_OPT_STRING, offsetof(config, member.deadline), "auto", 0, 0, NULL,                  \
            trib_buffer_check_deadline,                                                                      \
            "how long a buffer waits for its k, from its first update on; auto: twice the median interval "  \
            "between "                                                                                       \
            "updates at the cloud, at most 10 minutes; for ever at an edge; 0: for ever"                     \
    }
enum trib_status trib_buffer_check_deadline(const char *value, struct trib_error *err);
enum trib_status trib_buffer_prepare(void *config, enum trib_tier tier, struct trib_error *err);
bool trib_buffer_due(const void *config, const struct trib_rule_memory *memory,
                     const struct trib_rule_state *state, uint64_t *wake_ms);
uint64_t trib_buffer_needs(const void *config, const struct trib_rule_state *state, uint64_t *configured);
enum trib_rule_patience trib_buffer_patience(const void *config);

/* Rounds: every participant answers each version once. First in its base's config too. */
struct trib_rule_rounds {
    uint64_t minimum, deadline_ms;
};
#define TRIB_ROUNDS_MINIMUM(config, member)                                                                  \
    {                                                                                                        \
        "minimum", TRIB_OPT_U64, offsetof(config, member.minimum), "0", 0, 1000000, NULL, NULL,              \
            "answers that are enough for a round (with a deadline: once it has passed); 0: wait for all "    \
            "who are "                                                                                       \
            "active"                                                                                         \
    }
#define TRIB_ROUNDS_DEADLINE(config, member)                                                                 \
    {                                                                                                        \
        "deadline", TRIB_OPT_MS, offsetof(config, member.deadline_ms), "0", 0, 86400000, NULL, NULL,         \
            "how long a round waits, from the version on, for those who are active; 0: for ever"             \
    }
/* By samples: w = n. */
struct trib_rule_weight trib_rounds_weigh(const void *config, const struct trib_rule_memory *memory,
                                          const struct trib_rule_update *update);
bool trib_rounds_due(const void *config, const struct trib_rule_memory *memory,
                     const struct trib_rule_state *state, uint64_t *wake_ms);
uint64_t trib_rounds_needs(const void *config, const struct trib_rule_state *state, uint64_t *configured);
enum trib_rule_patience trib_rounds_patience(const void *config);

/* Replaces the spec in *text by its canonical form; *out is its function. */
enum trib_status trib_rule_staleness(char **text, struct trib_staleness **out, struct trib_error *err);

/* The combiner at work: combine.c. */
enum trib_status trib_combine(const struct trib_rule_combiner *combiner, const void *config, uint64_t bucket,
                              const struct trib_rule_rows *rows, float *out,
                              struct trib_error *err) TRIB_MUST_USE;

/* A radius, which stands first in the config of a row that has one: "auto", or a number above 0. */
struct trib_radius {
    char *text;
    double value; /* made by trib_radius_prepare; 0: auto */
};
enum trib_status trib_radius_check(const char *value, struct trib_error *err);
enum trib_status trib_radius_prepare(void *config, enum trib_tier tier, struct trib_error *err);
/* tau=auto is so many times the median norm. */
#define TRIB_RULE_AUTO_RADIUS 1.5

/* ---- specs ---- */

/* Reads "name(args)", `bytes` of it: the row of that name, its index in *index, defaults and arguments in
 * `config` (zeroed before; trib_options_release it, after a failure too). `what` is "rule" or "staleness
 * function". */
enum trib_status trib_variant_read(const struct trib_rule_row *const *rows, size_t count, const char *what,
                                   const char *spec, size_t bytes, size_t *index, void *config,
                                   size_t config_bytes, struct trib_error *err) TRIB_MUST_USE;
/* The same of a whole string and a table that is an array of rows. */
enum trib_status trib_variant_parse(const struct trib_rule_row *rows, size_t count, const char *what,
                                    const char *spec, size_t *index, void *config, size_t config_bytes,
                                    struct trib_error *err) TRIB_MUST_USE;
/* The canonical spec: every parameter by name, in table order. */
void trib_variant_print(const struct trib_rule_row *row, const void *config, struct trib_buf *out);
/* The canonical spec of a staleness function; lives as long as it does. */
const char *trib_staleness_spec(const struct trib_staleness *staleness);

#endif
