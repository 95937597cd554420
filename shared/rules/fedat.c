/* FedAT: each child of the cloud is a tier with a model of its own, and the model is the mean of the tiers'
 * weighted by how often *others* reported: the slowest counts as the fastest has worked. Source: Chai et al.
 * 2021 (arXiv 2010.05958), section 4: with tiers ordered by their updates T_1 >= T_2 ... >= T_M, tier m has
 * the weight T_(M+1-m) / sum T. Tiers that have not reported yet are left out of M. */
#include "shared/rules/kind.h"

struct config {
    uint64_t tiers;
};

static const struct trib_option params[] = {
    {"tiers", TRIB_OPT_U64, offsetof(struct config, tiers), "8", 1, TRIB_RULE_TIERS_MAX, NULL, NULL,
     "models kept; of more children than that some share one"},
};

void trib_rule_tier_weights(const uint64_t *updates, size_t tiers, double *weights) {
    size_t order[TRIB_RULE_TIERS_MAX], count = 0;
    double total = 0.0;
    for (size_t i = 0; i < tiers; i++) {
        weights[i] = 0.0;
        if (updates[i] == 0) continue;
        size_t at = count++; /* most updates first; of equals the one that comes first in the table */
        for (; at > 0 && updates[order[at - 1]] < updates[i]; at--) order[at] = order[at - 1];
        order[at] = i;
        total += (double)updates[i];
    }
    for (size_t m = 0; m < count; m++) weights[order[m]] = (double)updates[order[count - 1 - m]] / total;
}

static enum trib_rule_form form(const void *config) {
    (void)config;
    return TRIB_RULE_TIERS;
}

static struct trib_rule_weight weigh(const void *config, const struct trib_rule_memory *memory,
                                     const struct trib_rule_update *update) {
    (void)config;
    (void)memory;
    (void)update;
    return (struct trib_rule_weight){.factor = 1.0f, .applied = 1.0f, .norm = 0.0f};
}

static size_t tiers(const void *config) {
    return (size_t)((const struct config *)config)->tiers;
}

static const struct trib_rule_base base = {.form = form, .weigh = weigh, .tiers = tiers};
static const struct trib_rule_kind kind = {
    .name = "fedat", .config_bytes = sizeof(struct config), .base = &base};
const struct trib_rule_row trib_rule_fedat = {
    .name = "fedat",
    .summary =
        "every edge is a tier with a model of its own; those that report seldom count as much as those "
        "that report often have worked",
    .formula = "M = sum_m T_(M+1-m) / sum T * (P_base + F of tier m), tiers ordered by their updates T",
    .source = "Chai et al. 2021, arXiv 2010.05958",
    .memory = "a model for each tier, and A",
    .example = "fedat(tiers=8)",
    .cloud_only = true,
    .stage = TRIB_RULE_BASE,
    TRIB_PARAMS(params),
    .kind = &kind};
