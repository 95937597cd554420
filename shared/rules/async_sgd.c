/* Asynchronous SGD: each update is a step of its own, whoever it is from, with a rate that falls. Sources:
 * Recht et al. 2011 (Hogwild, arXiv 1106.5730) for steps that do not wait; Zhang et al. 2016 (arXiv
 * 1511.05950) for the rate divided by the staleness, here staleness=polynomial(1). */
#include "shared/rules/kind.h"

struct config {
    double lr;
    double decay;
    char *staleness;
    struct trib_staleness *function; /* made by prepare */
};

static const struct trib_option params[] = {
    {"lr", TRIB_OPT_F64, offsetof(struct config, lr), "1", 0.000001, 1000, NULL, NULL,
     "what the first update is multiplied by; a device's own rate is in it already"},
    {"decay", TRIB_OPT_F64, offsetof(struct config, decay), "0", 0, 1000, NULL, NULL,
     "the rate is lr / (1 + decay t) after t commits; 0: constant"},
    {"staleness", TRIB_OPT_STRING, offsetof(struct config, staleness), "constant", 0, 0, NULL,
     trib_staleness_check_spec, "the staleness function"},
};

static enum trib_status prepare(void *config, enum trib_tier tier, struct trib_error *err) {
    struct config *c = config;
    (void)tier;
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
    (void)memory;
    float factor = (float)trib_staleness_factor(c->function, update->staleness);
    double rate = c->lr / (1.0 + c->decay * (double)update->commits);
    return (struct trib_rule_weight){
        .factor = factor, .applied = (float)(rate * (double)factor), .norm = 0.0f};
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
    .formula = "h = lr / (1 + decay t) * s * F",
    .source =
        "Recht et al. 2011, arXiv 1106.5730; staleness=polynomial(1): Zhang et al. 2016, arXiv 1511.05950",
    .memory = "none",
    .example = "async_sgd(lr=0.5, decay=0.01)",
    .stage = TRIB_RULE_BASE,
    TRIB_PARAMS(params),
    .kind = &kind};
