/* FedAvg: rounds. Every participant answers each version once, and the weighted mean of the answers is the
 * step: with weights n_k and lr 1 the new model is the mean of the local models. Source: McMahan et al. 2017
 * (arXiv 1602.05629), algorithm 1; the server's rate as in Reddi et al. 2021 (arXiv 2003.00295).
 *
 * When a round ends, with m = minimum and d = deadline (since the version was made), p updates pending:
 *     all who were active have answered         always
 *     m > 0, d = 0: p >= m                      the first m make the round, the rest come too late
 *     d > 0: d has passed and p >= max(m, 1)    with less than that, at the update that makes it m
 */
#include "shared/rules/kind.h"

struct config {
    struct trib_rule_rounds rounds; /* first */
    double lr;
};

static const struct trib_option params[] = {
    TRIB_ROUNDS_MINIMUM(struct config, rounds),
    TRIB_ROUNDS_DEADLINE(struct config, rounds),
    {"lr", TRIB_OPT_F64, offsetof(struct config, lr), "1", 0.000001, 1000, NULL, NULL,
     "what the mean is multiplied by"},
};

static double rate(const void *config) {
    return ((const struct config *)config)->lr;
}

static const struct trib_rule_base base = {.synchronous = true,
                                           .form = trib_rule_gathers,
                                           .weigh = trib_rounds_weigh,
                                           .due = trib_rounds_due,
                                           .rate = rate,
                                           .needs = trib_rounds_needs,
                                           .patience = trib_rounds_patience};
static const struct trib_rule_kind kind = {
    .name = "fedavg", .config_bytes = sizeof(struct config), .base = &base};
const struct trib_rule_row trib_rule_fedavg = {
    .name = "fedavg",
    .summary = "rounds: one update of each participant a version, then their mean",
    .formula = "h = lr * sum n_i F_i / sum n_i",
    .source = "McMahan et al. 2017, arXiv 1602.05629, algorithm 1",
    .memory = "A (one model)",
    .example = "fedavg(minimum=5, deadline=30s)",
    .stage = TRIB_RULE_BASE,
    TRIB_PARAMS(params),
    .kind = &kind};
