/* FedAsync: every update commits at once. Source: Xie, Koyejo, Gupta 2019 (arXiv 1903.03934), algorithm 1:
 * x <- (1 - a) x + a x_new with a = alpha s(tau). That is `mix`: h = a ((P_base - S) + d), which pulls the
 * model back to where the update started; `delta` leaves the pull out: h = a d. alpha is constant: what is
 * damped is each update's own a, never alpha itself.
 *
 * At the cloud a is also multiplied by the population share of the child (see docs/algorithms.md). */
#include "shared/rules/kind.h"

#include <string.h>

struct config {
    char *form;
    double alpha;
    char *staleness;
    char *relative;
    char *share;
    /* made by prepare */
    struct trib_staleness *function;
    bool is_mix, is_relative, is_shared;
};

static const char *const form_choices[] = {"delta", "mix", NULL};

static const struct trib_option params[] = {
    {"form", TRIB_OPT_CHOICE, offsetof(struct config, form), "delta", 0, 0, form_choices, NULL,
     "delta: add what the update changed; mix: move towards its model"},
    {"alpha", TRIB_OPT_F64, offsetof(struct config, alpha), "1", 0.000001, 1, NULL, NULL,
     "the weight of a fresh update"},
    {"staleness", TRIB_OPT_STRING, offsetof(struct config, staleness), "polynomial(0.5)", 0, 0, NULL,
     trib_staleness_check_spec, "the staleness function"},
    {"relative", TRIB_OPT_CHOICE, offsetof(struct config, relative), "auto", 0, 0, trib_rule_auto_yes_no,
     NULL, "damp by s against its recent mean; auto: at the cloud only"},
    {"share", TRIB_OPT_CHOICE, offsetof(struct config, share), "auto", 0, 0, trib_rule_auto_yes_no, NULL,
     "multiply by the child's share of the population; auto: at the cloud only"},
};

static enum trib_status prepare(void *config, enum trib_tier tier, struct trib_error *err) {
    struct config *c = config;
    enum trib_status status = trib_rule_staleness(&c->staleness, &c->function, err);
    if (status != TRIB_OK) return status;
    c->is_mix = strcmp(c->form, "mix") == 0;
    c->is_relative = trib_rule_switch(c->relative, tier == TRIB_TIER_CLOUD);
    c->is_shared = trib_rule_switch(c->share, tier == TRIB_TIER_CLOUD);
    return TRIB_OK;
}

static void release(void *config) {
    trib_staleness_free(&((struct config *)config)->function);
}

static enum trib_rule_form form(const void *config) {
    return ((const struct config *)config)->is_mix ? TRIB_RULE_MIXING : TRIB_RULE_IMMEDIATE;
}

static struct trib_rule_weight weigh(const void *config, const struct trib_rule_memory *memory,
                                     const struct trib_rule_update *update) {
    const struct config *c = config;
    float factor = (float)trib_staleness_factor(c->function, update->staleness);
    double damping = trib_rule_damping(memory, factor, c->is_relative);
    double applied = c->alpha * damping * (c->is_shared ? update->share : 1.0);
    return (struct trib_rule_weight){.factor = factor, .applied = (float)applied, .norm = 0.0f};
}

static const struct trib_rule_base base = {.form = form, .weigh = weigh};
static const struct trib_rule_kind kind = {.name = "fedasync",
                                           .config_bytes = sizeof(struct config),
                                           .prepare = prepare,
                                           .release = release,
                                           .base = &base};
const struct trib_rule_row trib_rule_fedasync = {
    .name = "fedasync",
    .summary = "every update commits at once",
    .formula = "delta: h = a F; mix: h = a ((P_base - S) + F); a = alpha * s * share",
    .source = "Xie, Koyejo, Gupta 2019, arXiv 1903.03934, algorithm 1",
    .memory = "none",
    .example = "fedasync(form=delta, staleness=hinge(10, 4))",
    .stage = TRIB_RULE_BASE,
    TRIB_PARAMS(params),
    .kind = &kind};
