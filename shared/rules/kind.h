/* What a rule is made of: private to this folder. A rule is one .c with a `const struct trib_rule_kind` and
 * its table of parameters, and one row in rule.c. Its functions are pure: what they are told is all they
 * know, and nothing they decide is stored but in trib_rule_memory, by trib_rule_note_*. */
#ifndef TRIB_RULES_KIND_H
#define TRIB_RULES_KIND_H

#include "shared/rules/rule.h"

/* Longest canonical spec of a rule or staleness function. */
enum { TRIB_RULE_MAX_SPEC = 255 };

struct trib_rule_kind {
    const char *name;
    size_t config_bytes; /* of the struct that the parameters are read into */
    bool synchronous;
    /* Turns what the options hold as text into what the functions below need. NULL: nothing to do. */
    enum trib_status (*prepare)(void *config, enum trib_tier tier, struct trib_error *err);
    /* Gives back what prepare made. NULL: nothing to do. */
    void (*release)(void *config);
    enum trib_rule_form (*form)(const void *config);
    struct trib_rule_weight (*weigh)(const void *config, const struct trib_rule_memory *memory,
                                     const struct trib_rule_update *update);
    /* Only asked when something is pending. */
    bool (*due)(const void *config, const struct trib_rule_memory *memory,
                const struct trib_rule_state *state, uint64_t *wake_ms);
    /* The server's learning rate: a commit's scale is this over the sum of norms. */
    double (*rate)(const void *config);
    uint64_t (*needs)(const void *config, const struct trib_rule_state *state, uint64_t *configured);
};

/* The parameters of each, with the length that rule.c's rows need as a constant. */
enum { TRIB_FEDAVG_PARAMS = 3, TRIB_FEDBUFF_PARAMS = 6, TRIB_FEDASYNC_PARAMS = 5 };
extern const struct trib_option trib_fedavg_params[TRIB_FEDAVG_PARAMS];
extern const struct trib_option trib_fedbuff_params[TRIB_FEDBUFF_PARAMS];
extern const struct trib_option trib_fedasync_params[TRIB_FEDASYNC_PARAMS];
extern const struct trib_rule_kind trib_rule_fedavg, trib_rule_fedbuff, trib_rule_fedasync;

/* ---- shared by rules ---- */

/* The values of an "auto|yes|no" parameter, NULL-terminated, and what it means: `fallback` where it is auto.
 */
extern const char *const trib_rule_auto_yes_no[4];
bool trib_rule_switch(const char *value, bool fallback);
/* How much a staleness factor damps: the factor itself, or, relative, min(1, s / s') with s' the mean of s
 * over the last 16 accepted updates, this one included. In (0, 1]. */
double trib_rule_damping(const struct trib_rule_memory *memory, float factor, bool relative);
/* Median (upper of the two middle ones) of the intervals that are remembered; UINT64_MAX if there are none.
 */
uint64_t trib_rule_median_interval(const struct trib_rule_memory *memory);
/* Has it been `wait_ms` since `since_ms`? If not, *wake_ms is when it will have been. */
bool trib_rule_waited(uint64_t since_ms, uint64_t wait_ms, uint64_t now_ms, uint64_t *wake_ms);

/* ---- specs ---- */

/* Reads "name(args)": the row of that name, its index in *index, defaults and arguments in `config` (zeroed
 * before; trib_options_release it, after a failure too). `what` is "rule" or "staleness function". */
enum trib_status trib_variant_parse(const struct trib_rule_row *rows, size_t count, const char *what,
                                    const char *spec, size_t *index, void *config, size_t config_bytes,
                                    struct trib_error *err) TRIB_MUST_USE;
/* The canonical spec: every parameter by name, in table order. */
void trib_variant_print(const struct trib_rule_row *row, const void *config, struct trib_buf *out);
/* The canonical spec of a staleness function; lives as long as it does. */
const char *trib_staleness_spec(const struct trib_staleness *staleness);

#endif
