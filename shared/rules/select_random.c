/* Random: everybody has the same chance. Source: McMahan et al. 2017 (arXiv 1602.05629), algorithm 1. */
#include "shared/rules/select_kind.h"

static size_t choose(const void *config, const struct trib_select_draw *draw) {
    (void)config;
    for (size_t i = 0; i < draw->count; i++) draw->chosen[i] = (uint32_t)i;
    for (size_t i = 0; i < draw->want; i++) { /* the first steps of a shuffle are enough */
        size_t k = i + (size_t)trib_rng_below(draw->rng, draw->count - i);
        uint32_t who = draw->chosen[k];
        draw->chosen[k] = draw->chosen[i];
        draw->chosen[i] = who;
    }
    return draw->want;
}

const struct trib_select_kind trib_select_random = {.name = "random", .choose = choose};
