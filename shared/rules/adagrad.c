/* Adagrad: v is the sum of squares. Source: Reddi et al. 2021 (arXiv 2003.00295), algorithm 2. */
#include "shared/rules/adaptive.h"

#include <math.h>

static const struct trib_option params[] = {ADAPTIVE_LR("0.1"), ADAPTIVE_B1("0"), ADAPTIVE_TAU};

static void walk(const void *config, const struct trib_rule_step *step, float *const *moments,
                 const float *gradient, float scale, float *own, size_t n) {
    const struct trib_adaptive_factors f = trib_adaptive_factors_of(config, step);
    float *m = moments[ADAPTIVE_M], *v = moments[ADAPTIVE_V];
    for (size_t i = 0; i < n; i++) {
        float d = scale * gradient[i];
        m[i] = trib_adaptive_mean(&f, m[i], d);
        v[i] = v[i] + d * d;
        own[i] = own[i] + f.lr * (m[i] / (sqrtf(v[i]) + f.tau));
    }
}

static const struct trib_rule_optimiser optimiser = {.moments = trib_adaptive_two_moments, .step = walk};
static const struct trib_rule_kind kind = {
    .name = "adagrad", .config_bytes = sizeof(struct trib_adaptive), .optimiser = &optimiser};
const struct trib_rule_row trib_rule_adagrad = {
    .name = "adagrad",
    .summary = "coordinates that moved much move less (FedAdagrad)",
    .formula = "m = b1 m + (1 - b1) D; v = v + D^2; own += lr m / (sqrt(v) + tau)",
    .source = "Reddi et al. 2021, arXiv 2003.00295, algorithm 2",
    .memory = "m, v and A (three models)",
    .example = "adagrad(lr=0.1)",
    .stage = TRIB_RULE_OPTIMISER,
    TRIB_PARAMS(params),
    .kind = &kind};
