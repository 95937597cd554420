/* FedBuff: a buffer of k updates, whoever they are from, then one step. Source: Nguyen et al. 2022
 * (arXiv 2106.06639), algorithm 1. The step is normalised by samples, h = lr * sum n_i s_i F_i / sum n_i: by
 * the plain sum of n, not of n s, so that a buffer of updates that are all stale takes a smaller step.
 *
 * k is lowered to the number of active participants. At the cloud a buffer has a deadline by default: twice
 * the median interval between updates, since the buffer's first. Without it one absent edge held up the
 * rest. */
#include "shared/rules/kind.h"

#include <string.h>

struct config {
    struct trib_rule_buffer buffer; /* first */
    char *staleness;
    double lr;
    char *by;
    char *relative;
    char *normalise;
    /* made by prepare */
    struct trib_staleness *function;
    bool by_samples, is_relative, by_weight;
};

static const char *const by_choices[] = {"samples", "count", NULL};
static const char *const normalise_choices[] = {"by_count", "by_weight", NULL};

static const struct trib_option params[] = {
    TRIB_BUFFER_K(struct config, buffer, "3"),
    {"staleness", TRIB_OPT_STRING, offsetof(struct config, staleness), "polynomial(0.5)", 0, 0, NULL,
     trib_staleness_check_spec, "the staleness function"},
    {"lr", TRIB_OPT_F64, offsetof(struct config, lr), "1", 0.000001, 1000, NULL, NULL,
     "what the mean is multiplied by"},
    TRIB_BUFFER_DEADLINE(struct config, buffer),
    {"by", TRIB_OPT_CHOICE, offsetof(struct config, by), "samples", 0, 0, by_choices, NULL,
     "what an update weighs: its samples, or 1"},
    {"relative", TRIB_OPT_CHOICE, offsetof(struct config, relative), "auto", 0, 0, trib_rule_auto_yes_no,
     NULL, "damp by s against its recent mean; auto: at the cloud only"},
    {"normalise", TRIB_OPT_CHOICE, offsetof(struct config, normalise), "by_count", 0, 0, normalise_choices,
     NULL,
     "by_count: divide by the sum of what updates weigh undamped, so that a late buffer takes a smaller "
     "step; "
     "by_weight: by the sum of what they weigh damped, which is a mean however late they are"},
};

static enum trib_status prepare(void *config, enum trib_tier tier, struct trib_error *err) {
    struct config *c = config;
    enum trib_status status = trib_rule_staleness(&c->staleness, &c->function, err);
    if (status != TRIB_OK) return status;
    c->by_samples = strcmp(c->by, "samples") == 0;
    c->by_weight = strcmp(c->normalise, "by_weight") == 0;
    c->is_relative = trib_rule_switch(c->relative, tier == TRIB_TIER_CLOUD);
    return trib_buffer_prepare(c, tier, err);
}

static void release(void *config) {
    trib_staleness_free(&((struct config *)config)->function);
}

static struct trib_rule_weight weigh(const void *config, const struct trib_rule_memory *memory,
                                     const struct trib_rule_update *update) {
    const struct config *c = config;
    float factor = (float)trib_staleness_factor(c->function, update->staleness);
    double n = c->by_samples ? update->weight : 1.0;
    double damping = trib_rule_damping(memory, factor, c->is_relative);
    return (struct trib_rule_weight){
        .factor = factor, .applied = (float)(n * damping), .norm = (float)(c->by_weight ? n * damping : n)};
}

static double rate(const void *config) {
    return ((const struct config *)config)->lr;
}

static const struct trib_rule_base base = {.form = trib_rule_gathers,
                                           .weigh = weigh,
                                           .due = trib_buffer_due,
                                           .rate = rate,
                                           .needs = trib_buffer_needs,
                                           .patience = trib_buffer_patience};
static const struct trib_rule_kind kind = {.name = "fedbuff",
                                           .config_bytes = sizeof(struct config),
                                           .prepare = prepare,
                                           .release = release,
                                           .base = &base};
const struct trib_rule_row trib_rule_fedbuff = {
    .name = "fedbuff",
    .summary = "a buffer of k updates, whoever they are from, then their damped mean",
    .formula = "h = lr * sum n_i s_i F_i / sum n_i; by_weight: / sum n_i s_i",
    .source = "Nguyen et al. 2022, arXiv 2106.06639, algorithm 1",
    .memory = "A (one model)",
    .example = "fedbuff(k=3, staleness=polynomial(0.5))",
    .stage = TRIB_RULE_BASE,
    TRIB_PARAMS(params),
    .kind = &kind};
