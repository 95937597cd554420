/* What a selection policy is made of, and what policies share: private to this folder. */
#ifndef TRIB_RULES_SELECT_KIND_H
#define TRIB_RULES_SELECT_KIND_H

#include "shared/rules/kind.h"
#include "shared/rules/select.h"

struct trib_select_kind {
    const char *name;
    size_t config_bytes; /* of the struct that the parameters are read into; 0: none */
    /* Only asked with candidates, for at least one and at most all of them. Chooses none only if others are
     * at work. */
    size_t (*choose)(const void *config, const struct trib_select_draw *draw);
};

/* The parameters of each, with the length that select.c's rows need as a constant. */
enum {
    TRIB_SELECT_FEDCS_PARAMS = 2,
    TRIB_SELECT_STRATIFIED_PARAMS = 1,
    TRIB_SELECT_OORT_PARAMS = 7,
    TRIB_SELECT_POWER_OF_CHOICE_PARAMS = 1
};
extern const struct trib_option trib_select_fedcs_params[TRIB_SELECT_FEDCS_PARAMS];
extern const struct trib_option trib_select_stratified_params[TRIB_SELECT_STRATIFIED_PARAMS];
extern const struct trib_option trib_select_oort_params[TRIB_SELECT_OORT_PARAMS];
extern const struct trib_option trib_select_power_of_choice_params[TRIB_SELECT_POWER_OF_CHOICE_PARAMS];
extern const struct trib_select_kind trib_select_random, trib_select_by_size, trib_select_fedcs,
    trib_select_stratified, trib_select_oort, trib_select_power_of_choice, trib_select_by_norm;

/* Fills draw->chosen with all candidates, shuffled. */
void trib_select_shuffle(const struct trib_select_draw *draw);
/* Of the first `among` in draw->chosen, brings the `want` with the highest scores to the front. If they were
 * shuffled before, those with equal scores have equal chances. */
void trib_select_highest(const struct trib_select_draw *draw, size_t among, size_t want);
/* Makes scores of weights, of the first `among` in draw->chosen: the `want` highest of them are then a draw
 * without replacement, each next one with a probability in proportion to its weight; a weight of 0 or less is
 * chosen only when nobody else is left. Shuffle before. */
void trib_select_race(const struct trib_select_draw *draw, size_t among);
/* Shuffles, and draws draw->want in proportion to the scores. */
size_t trib_select_in_proportion(const struct trib_select_draw *draw);
/* Scores that are not positive become the mean of those that are, or 1: what is assumed of those that nothing
 * is known of. */
void trib_select_fill_in(const struct trib_select_draw *draw);
/* Scores: n_k, filled in. */
void trib_select_sizes(const struct trib_select_draw *draw);

#endif
