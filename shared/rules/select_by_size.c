/* By size: a chance in proportion to the child's data, p_k = n_k / sum n. Source: Li et al. 2020 (FedProx,
 * arXiv 1812.06127), algorithm 2. There the updates are then averaged without weights: who is chosen for its
 * data and weighed by it as well counts twice (fedbuff(by=count) does not weigh). Whose size is not known yet
 * is taken for average. */
#include "shared/rules/select_kind.h"

static size_t choose(const void *config, const struct trib_select_draw *draw) {
    (void)config;
    trib_select_sizes(draw);
    return trib_select_in_proportion(draw);
}

const struct trib_select_kind trib_select_by_size = {.name = "by_size", .choose = choose};
