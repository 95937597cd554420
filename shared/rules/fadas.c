/* FADAS: AMSGrad for buffers. Source: Wang et al. 2024 (ICML). */
#include "shared/rules/adaptive.h"

static const struct trib_option params[] = {
    ADAPTIVE_LR("0.01"),
    ADAPTIVE_B1("0.9"),
    ADAPTIVE_B2,
    ADAPTIVE_TAU,
    {"tau_c", TRIB_OPT_U64, offsetof(struct trib_adaptive, tau_c), "4", 0, 1000000, NULL, NULL,
     "a staleness up to which the step is not shrunk"},
};

/* AMSGrad whose step shrinks with the delay of the stalest update in it: eta min(1, 1 / tau_max), where that
 * is above tau_c. */
static void walk(const void *config, const struct trib_rule_step *step, float *const *moments,
                 const float *gradient, float scale, float *own, size_t n) {
    const struct trib_adaptive *c = config;
    struct trib_adaptive_factors f = trib_adaptive_factors_of(c, step);
    if (step->staleness > c->tau_c && step->staleness > 1) f.lr = (float)(c->lr / (double)step->staleness);
    trib_adaptive_walk_greatest(&f, moments, gradient, scale, own, n);
}

static const struct trib_rule_optimiser optimiser = {.moments = trib_adaptive_three_moments, .step = walk};
static const struct trib_rule_kind kind = {
    .name = "fadas", .config_bytes = sizeof(struct trib_adaptive), .optimiser = &optimiser};
const struct trib_rule_row trib_rule_fadas = {
    .name = "fadas",
    .summary = "AMSGrad for asynchronous buffers: a commit with a late update in it takes a smaller step",
    .formula = "as amsgrad, with lr / tau_max for lr where the stalest update's tau_max > tau_c",
    .source = "Wang et al. 2024 (FADAS, ICML)",
    .memory = "m, v, u and A (four models)",
    .example = "fadas(lr=0.01, tau_c=4)",
    .stage = TRIB_RULE_OPTIMISER,
    TRIB_PARAMS(params),
    .kind = &kind};
