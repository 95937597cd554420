/* Rounds as FedAvg's, in which a participant that did not answer takes part all the same, with what its
 * series of updates makes one expect. With F, F' its last update and the one before it, and j the rounds
 * since F:
 *     E = F + momentum (F - F'), no longer than the longer of the two; F alone, if there is no F'
 *     h = (sum n_i F_i + sum n_j decay^j E_j) / (sum n_i + sum n_j decay^j)
 * After `most` rounds it is given up, and what is kept of it is dropped. Who was estimated is recorded with
 * the commit; shared/state/series.c carries it out. */
#include "shared/rules/kind.h"

struct config {
    struct trib_rule_rounds rounds; /* first */
    double momentum, decay;
    uint64_t most;
};

static const struct trib_option params[] = {
    {"momentum", TRIB_OPT_F64, offsetof(struct config, momentum), "0.5", 0, 1, NULL, NULL,
     "how much of its last change an update is expected to change by again"},
    {"decay", TRIB_OPT_F64, offsetof(struct config, decay), "0.5", 0.001, 1, NULL, NULL,
     "what the weight of an estimate is multiplied by for each round missed"},
    {"most", TRIB_OPT_U64, offsetof(struct config, most), "3", 1, 100, NULL, NULL,
     "rounds missed after which a participant is given up"},
    TRIB_ROUNDS_MINIMUM(struct config, rounds),
    TRIB_ROUNDS_DEADLINE(struct config, rounds),
};

static enum trib_rule_form form(const void *config) {
    (void)config;
    return TRIB_RULE_SERIES;
}

static struct trib_rule_series series(const void *config) {
    const struct config *c = config;
    return (struct trib_rule_series){.momentum = c->momentum, .decay = c->decay, .most = c->most};
}

static const struct trib_rule_base base = {.synchronous = true,
                                           .form = form,
                                           .weigh = trib_rounds_weigh,
                                           .due = trib_rounds_due,
                                           .needs = trib_rounds_needs,
                                           .patience = trib_rounds_patience,
                                           .series = series};
static const struct trib_rule_kind kind = {
    .name = "compensated", .config_bytes = sizeof(struct config), .base = &base};
const struct trib_rule_row trib_rule_compensated = {
    .name = "compensated",
    .summary = "rounds in which who does not answer counts with what its last two updates make one expect",
    .formula = "h = (sum n_i F_i + sum n_j decay^j E_j) / (sum n_i + sum n_j decay^j), E = F + momentum (F - "
               "F'), |E| <= max(|F|, |F'|)",
    .source = "momentum compensation of update series; FedAvg's rounds (arXiv 1602.05629)",
    .memory = "A (one model), and the last two updates of every participant that is not given up, encoded",
    .example = "compensated(momentum=0.5, decay=0.5, most=3, deadline=30s)",
    .stage = TRIB_RULE_BASE,
    TRIB_PARAMS(params),
    .kind = &kind};
