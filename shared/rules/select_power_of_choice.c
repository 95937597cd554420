/* Power of choice: of d children, drawn with chances in proportion to their data, those with the highest
 * loss. Training goes where the model is worst. Source: Cho, Wang, Joshi 2020 (arXiv 2010.01243), algorithm 1
 * in its form pi_rpow-d: the loss is the one that a child reported with its last answer, so that nobody has
 * to be asked first. Who has never answered counts as worst. */
#include "shared/rules/select_kind.h"

#include <math.h>

struct config {
    uint64_t d;
};

const struct trib_option trib_select_power_of_choice_params[TRIB_SELECT_POWER_OF_CHOICE_PARAMS] = {
    {"d", TRIB_OPT_U64, offsetof(struct config, d), "0", 0, 1000000, NULL, NULL,
     "children that are looked at; 0: twice as many as are wanted; as many as are wanted: by size alone"},
};

static size_t choose(const void *config, const struct trib_select_draw *draw) {
    const struct config *c = config;
    struct trib_select_draw wide = *draw;
    uint64_t d = c->d > 0 ? c->d : 2 * (uint64_t)draw->want;
    wide.want = d < draw->want ? draw->want : d < draw->count ? (size_t)d : draw->count;
    trib_select_sizes(draw);
    size_t among = trib_select_in_proportion(&wide);
    for (size_t i = 0; i < draw->count; i++)
        draw->score[i] = draw->candidates[i].known ? draw->candidates[i].loss : INFINITY;
    trib_select_highest(draw, among, draw->want);
    return draw->want;
}

const struct trib_select_kind trib_select_power_of_choice = {
    .name = "power_of_choice", .config_bytes = sizeof(struct config), .choose = choose};
