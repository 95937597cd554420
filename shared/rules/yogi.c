/* Yogi. Source: Reddi et al. 2021 (arXiv 2003.00295), algorithm 2. */
#include "shared/rules/adaptive.h"

#include <math.h>

static const struct trib_option params[] = {ADAPTIVE_LR("0.01"), ADAPTIVE_B1("0.9"), ADAPTIVE_B2,
                                            ADAPTIVE_TAU};

/* v moves towards D^2 by a step that does not grow with the distance: sign, not difference. */
static void walk(const void *config, const struct trib_rule_step *step, float *const *moments,
                 const float *gradient, float scale, float *own, size_t n) {
    const struct trib_adaptive_factors f = trib_adaptive_factors_of(config, step);
    float *m = moments[ADAPTIVE_M], *v = moments[ADAPTIVE_V];
    for (size_t i = 0; i < n; i++) {
        float d = scale * gradient[i], square = d * d;
        float sign = (float)((v[i] > square) - (v[i] < square));
        m[i] = trib_adaptive_mean(&f, m[i], d);
        v[i] = v[i] - f.one_b2 * square * sign;
        own[i] = own[i] + f.lr * (m[i] / (sqrtf(v[i]) + f.tau));
    }
}

static const struct trib_rule_optimiser optimiser = {.moments = trib_adaptive_two_moments, .step = walk};
static const struct trib_rule_kind kind = {
    .name = "yogi", .config_bytes = sizeof(struct trib_adaptive), .optimiser = &optimiser};
const struct trib_rule_row trib_rule_yogi = {
    .name = "yogi",
    .summary =
        "Adam whose mean square moves by small steps, so that rare gradients are not forgotten (FedYogi)",
    .formula = "m = b1 m + (1 - b1) D; v = v - (1 - b2) D^2 sign(v - D^2); own += lr m / (sqrt(v) + tau)",
    .source = "Reddi et al. 2021, arXiv 2003.00295, algorithm 2",
    .memory = "m, v and A (three models)",
    .example = "yogi(lr=0.01)",
    .stage = TRIB_RULE_OPTIMISER,
    TRIB_PARAMS(params),
    .kind = &kind};
