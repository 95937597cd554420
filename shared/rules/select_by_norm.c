/* By norm: a chance in proportion to how large the child's last update was: those who would change the model
 * most. Source: Chen, Horvath, Richtarik 2020 (arXiv 2010.13723), "Optimal client sampling", where the norms
 * are of this round's updates and updates are weighed by 1 / p; here they are the last ones, and are not, so
 * that the mean leans towards those who disagree. Who has never answered is taken for average. */
#include "shared/rules/select_kind.h"

static size_t choose(const void *config, const struct trib_select_draw *draw) {
    (void)config;
    for (size_t i = 0; i < draw->count; i++) draw->score[i] = draw->candidates[i].norm;
    trib_select_fill_in(draw);
    return trib_select_in_proportion(draw);
}

const struct trib_select_kind trib_select_by_norm = {.name = "by_norm", .choose = choose};
