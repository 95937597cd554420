/* Asynchronous SGD: each update is a step of its own, whoever it is from, with a rate that falls. Sources:
 * Recht et al. 2011 (Hogwild, arXiv 1106.5730) for steps that do not wait; Zhang et al. 2016 (arXiv
 * 1511.05950) for the rate divided by the staleness, here staleness=polynomial(1).
 *
 * As every rule whose updates commit alone, it multiplies by the population share of the child at the cloud.
 */
#include "shared/rules/kind.h"

struct config {
    double lr;
    double decay;
    char *staleness;
    char *relative;
    char *share;
    /* made by prepare */
    struct trib_staleness *function;
    bool is_relative, is_shared;
};

static const struct trib_option params[] = {
    {"lr", TRIB_OPT_F64, offsetof(struct config, lr), "1", 0.000001, 1000, NULL, NULL,
     "what the first update is multiplied by; a device's own rate is in it already"},
    {"decay", TRIB_OPT_F64, offsetof(struct config, decay), "0", 0, 1000, NULL, NULL,
     "the rate is lr / (1 + decay t) after t commits; 0: constant"},
    {"staleness", TRIB_OPT_STRING, offsetof(struct config, staleness), "constant", 0, 0, NULL,
     trib_staleness_check_spec, "the staleness function"},
    {"relative", TRIB_OPT_CHOICE, offsetof(struct config, relative), "auto", 0, 0, trib_rule_auto_yes_no,
     NULL, "damp by s against its recent mean; auto: at the cloud only"},
    {"share", TRIB_OPT_CHOICE, offsetof(struct config, share), "auto", 0, 0, trib_rule_auto_yes_no, NULL,
     "multiply by the child's share of the population; auto: at the cloud only"},
};

static enum trib_status prepare(void *config, enum trib_tier tier, struct trib_error *err) {
    struct config *c = config;
    c->is_relative = trib_rule_switch(c->relative, tier == TRIB_TIER_CLOUD);
    c->is_shared = trib_rule_switch(c->share, tier == TRIB_TIER_CLOUD);
    return trib_rule_staleness(&c->staleness, &c->function, err);
}

static void release(void *config) {
    trib_staleness_free(&((struct config *)config)->function);
}

static enum trib_rule_form form(const void *config) {
    (void)config;
    return TRIB_RULE_IMMEDIATE;
}

/* The rate follows from the number of commits; nothing is multiplied in place, so it cannot decay twice. */
static struct trib_rule_weight weigh(const void *config, const struct trib_rule_memory *memory,
                                     const struct trib_rule_update *update) {
    const struct config *c = config;
    float factor = (float)trib_staleness_factor(c->function, update->staleness);
    double damping = trib_rule_damping(memory, factor, c->is_relative);
    double rate = c->lr / (1.0 + c->decay * (double)update->commits);
    double applied = rate * damping * (c->is_shared ? update->share : 1.0);
    return (struct trib_rule_weight){.factor = factor, .applied = (float)applied, .norm = 0.0f};
}

static const struct trib_rule_base base = {.form = form, .weigh = weigh};
static const struct trib_rule_kind kind = {.name = "async_sgd",
                                           .config_bytes = sizeof(struct config),
                                           .prepare = prepare,
                                           .release = release,
                                           .base = &base};
const struct trib_rule_row trib_rule_async_sgd = {
    .name = "async_sgd",
    .summary = "every update is a step, with a rate that falls with the commits; the baseline of asynchrony",
    .formula = "h = lr / (1 + decay t) * s * share * F",
    .source =
        "Recht et al. 2011, arXiv 1106.5730; staleness=polynomial(1): Zhang et al. 2016, arXiv 1511.05950",
    .memory = "none",
    .example = "async_sgd(lr=0.5, decay=0.01)",
    .stage = TRIB_RULE_BASE,
    TRIB_PARAMS(params),
    .kind = &kind};
