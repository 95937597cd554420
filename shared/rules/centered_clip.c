/* Centred clipping. Source: Karimireddy, He, Jaggi 2021 (arXiv 2012.10333): v starts at what the last commit
 * combined, v <- v + (1 / n) sum (x_i - v) min(1, tau / |x_i - v|). It stays a weighted sum of the rows and
 * of that all the way, so that only coefficients change from step to step. */
#include "shared/rules/kind.h"

struct config {
    struct trib_radius tau;
    uint64_t iterations;
};

static const struct trib_option params[] = {
    {"tau", TRIB_OPT_STRING, offsetof(struct config, tau.text), "auto", 0, 0, NULL, trib_radius_check,
     "the radius; auto: 1.5 times the median norm of the last 64 updates"},
    {"iterations", TRIB_OPT_U64, offsetof(struct config, iterations), "3", 1, 100, NULL, NULL, "steps"},
};

static uint64_t least(const void *config) {
    (void)config;
    return 1;
}

static void weigh(const void *config, const struct trib_gram *gram, double *coefficients, double *work) {
    const struct config *c = config;
    double tau = c->tau.value > 0.0 ? c->tau.value : TRIB_RULE_AUTO_RADIUS * gram->norm,
           n = (double)gram->rows;
    coefficients[gram->rows] = 1.0; /* what the last commit combined; zeros, if there is nothing */
    for (uint64_t step = 0; step < c->iterations; step++) {
        double pulled = 0.0;
        (void)trib_gram_distances(gram, coefficients, work, work + gram->size);
        for (size_t i = 0; i < gram->rows; i++) {
            work[i] = work[i] > tau ? tau / work[i] : 1.0;
            pulled += work[i];
        }
        for (size_t i = 0; i < gram->size; i++) coefficients[i] *= 1.0 - pulled / n;
        for (size_t i = 0; i < gram->rows; i++) coefficients[i] += work[i] / n;
    }
}

static const struct trib_rule_combiner combiner = {
    .least = least, .needs_step = true, .needs_gram = true, .weigh = weigh};
static const struct trib_rule_kind kind = {.name = "centered_clip",
                                           .config_bytes = sizeof(struct config),
                                           .prepare = trib_radius_prepare,
                                           .combiner = &combiner};
const struct trib_rule_row trib_rule_centered_clip = {
    .name = "centered_clip",
    .summary = "from the last step on, the mean of what updates differ from it, each clipped to a radius",
    .formula = "v = v + (1/n) sum (F_i - v) min(1, tau / |F_i - v|), from the last v on; h = lr v",
    .source = "Karimireddy, He, Jaggi 2021, arXiv 2012.10333",
    .memory = "the buffer's updates, encoded; A and the last step (two models)",
    .example = "centered_clip(tau=auto, iterations=3)",
    .stage = TRIB_RULE_COMBINER,
    TRIB_PARAMS(params),
    .kind = &kind};
