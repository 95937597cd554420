/* AMSGrad: by the greatest v so far. Source: Tong, Liang, Bi 2020 (arXiv 2009.06303). */
#include "shared/rules/adaptive.h"

static const struct trib_option params[] = {ADAPTIVE_LR("0.01"), ADAPTIVE_B1("0.9"), ADAPTIVE_B2,
                                            ADAPTIVE_TAU};

static void walk(const void *config, const struct trib_rule_step *step, float *const *moments,
                 const float *gradient, float scale, float *own, size_t n) {
    const struct trib_adaptive_factors f = trib_adaptive_factors_of(config, step);
    trib_adaptive_walk_greatest(&f, moments, gradient, scale, own, n);
}

static const struct trib_rule_optimiser optimiser = {.moments = trib_adaptive_three_moments, .step = walk};
static const struct trib_rule_kind kind = {
    .name = "amsgrad", .config_bytes = sizeof(struct trib_adaptive), .optimiser = &optimiser};
const struct trib_rule_row trib_rule_amsgrad = {
    .name = "amsgrad",
    .summary = "Adam by the greatest mean square so far: steps never grow",
    .formula = "m = b1 m + (1 - b1) D; v = b2 v + (1 - b2) D^2; u = max(u, v); own += lr m / (sqrt(u) + tau)",
    .source = "Tong, Liang, Bi 2020, arXiv 2009.06303",
    .memory = "m, v, u and A (four models)",
    .example = "amsgrad(lr=0.01)",
    .stage = TRIB_RULE_OPTIMISER,
    TRIB_PARAMS(params),
    .kind = &kind};
