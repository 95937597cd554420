/* Multi-Krum: the mean of the m rows that are nearest to their neighbours. Source: Blanchard et al. 2017
 * (arXiv 1703.02757). */
#include "shared/rules/krum.h"

struct config {
    uint64_t f;
    uint64_t m;
};

static const struct trib_option params[] = {
    {"f", TRIB_OPT_U64, offsetof(struct config, f), "1", 0, 500, NULL, NULL,
     "attackers that may be among the updates"},
    {"m", TRIB_OPT_U64, offsetof(struct config, m), "0", 0, 1000, NULL, NULL,
     "updates that are averaged; 0: n - f - 2, the most for which the proof holds"},
};

static uint64_t least(const void *config) {
    const struct config *c = config;
    return c->m > trib_krum_least(c->f) ? c->m : trib_krum_least(c->f);
}

static void weigh(const void *config, const struct trib_gram *gram, double *coefficients, double *work) {
    const struct config *c = config;
    trib_krum_weigh_best(gram, c->f, (size_t)(c->m > 0 ? c->m : gram->rows - c->f - 2), coefficients, work);
}

static const struct trib_rule_combiner combiner = {.least = least, .needs_gram = true, .weigh = weigh};
static const struct trib_rule_kind kind = {
    .name = "multi_krum", .config_bytes = sizeof(struct config), .combiner = &combiner};
const struct trib_rule_row trib_rule_multi_krum = {
    .name = "multi_krum",
    .summary = "the mean of the m updates that are nearest to their neighbours",
    .formula = "h = lr * sum of the m F_i with the smallest scores / m; n >= 2f + 3",
    .source = "Blanchard et al. 2017, arXiv 1703.02757",
    .memory = "the buffer's updates, encoded; A (one model)",
    .example = "multi_krum(f=1, m=3)",
    .stage = TRIB_RULE_COMBINER,
    TRIB_PARAMS(params),
    .kind = &kind};
