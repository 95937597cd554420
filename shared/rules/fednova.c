/* FedNova: rounds in which everybody may do a different number of steps. Source: Wang et al. 2020 (arXiv
 * 2007.07481). With p_i = n_i / sum n and a_i = ||a_i||_1, which an update carries as `steps`:
 *     h = lr * tau * sum p_i F_i / a_i,   tau = sum p_i a_i
 * so that who does more steps does not count more, and the step is as long as FedAvg's. With equal a_i it is
 * FedAvg. tau is the mean of a_i, not of the plain number of steps: with momentum or a proximal term they
 * differ. An edge's `steps` are the sum of its commits' tau: the same formula holds one tier up. */
#include "shared/rules/kind.h"

struct config {
    struct trib_rule_rounds rounds; /* first */
    double lr;
};

static const struct trib_option params[] = {
    TRIB_ROUNDS_MINIMUM(struct config, rounds),
    TRIB_ROUNDS_DEADLINE(struct config, rounds),
    {"lr", TRIB_OPT_F64, offsetof(struct config, lr), "1", 0.000001, 1000, NULL, NULL,
     "what the step is multiplied by"},
};

/* Who did no step has nothing to divide. */
static struct trib_rule_weight weigh(const void *config, const struct trib_rule_memory *memory,
                                     const struct trib_rule_update *update) {
    (void)config;
    (void)memory;
    double steps = update->steps > 0.0 ? update->steps : 1.0;
    return (struct trib_rule_weight){
        .factor = 1.0f, .applied = (float)(update->weight / steps), .norm = (float)update->weight};
}

/* lr * (sum n_i a_i / sum n) / sum n */
static double scale(const void *config, const struct trib_rule_memory *memory) {
    if (!(memory->norm > 0.0)) return 0.0;
    return ((const struct config *)config)->lr * (memory->steps / memory->norm) / memory->norm;
}

static const struct trib_rule_base base = {.synchronous = true,
                                           .form = trib_rule_gathers,
                                           .weigh = weigh,
                                           .due = trib_rounds_due,
                                           .scale = scale,
                                           .needs = trib_rounds_needs,
                                           .patience = trib_rounds_patience};
static const struct trib_rule_kind kind = {
    .name = "fednova", .config_bytes = sizeof(struct config), .base = &base};
const struct trib_rule_row trib_rule_fednova = {
    .name = "fednova",
    .summary = "rounds in which who does more local steps does not count more",
    .formula = "h = lr (sum p_i a_i) sum p_i F_i / a_i, p_i = n_i / sum n, a_i = ||a_i||_1",
    .source = "Wang et al. 2020, arXiv 2007.07481",
    .memory = "A (one model)",
    .example = "fednova(minimum=5)",
    .stage = TRIB_RULE_BASE,
    TRIB_PARAMS(params),
    .kind = &kind};
