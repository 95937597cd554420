/* The geometric median (RFA). Source: Pillutla, Kakade, Harchaoui 2022 (arXiv 1912.13445), smoothed
 * Weiszfeld: from the mean on, z = sum b_i x_i / sum b_i with b_i = 1 / max(nu, |z - x_i|), until the sum of
 * distances falls by less than a ftol-th. It stays a weighted sum of the rows all the way, so that only
 * coefficients change from step to step. */
#include "shared/rules/kind.h"

#include <math.h>

struct config {
    uint64_t iterations;
    double nu;
    double ftol;
};

static const struct trib_option params[] = {
    {"iterations", TRIB_OPT_U64, offsetof(struct config, iterations), "4", 1, 1000, NULL, NULL,
     "steps at most"},
    {"nu", TRIB_OPT_F64, offsetof(struct config, nu), "1e-5", 1e-12, 1e6, NULL, NULL,
     "a distance below this counts as this"},
    {"ftol", TRIB_OPT_F64, offsetof(struct config, ftol), "1e-6", 0, 1, NULL, NULL,
     "it ends when the sum of distances falls by a smaller part than this"},
};

static uint64_t least(const void *config) {
    (void)config;
    return 3;
}

static void weigh(const void *config, const struct trib_gram *gram, double *coefficients, double *work) {
    const struct config *c = config;
    for (size_t i = 0; i < gram->rows; i++) coefficients[i] = 1.0 / (double)gram->rows;
    double *scratch = work + gram->size, before = trib_gram_distances(gram, coefficients, work, scratch);
    for (uint64_t step = 0; step < c->iterations; step++) {
        double sum = 0.0;
        for (size_t i = 0; i < gram->rows; i++) {
            coefficients[i] = 1.0 / (work[i] > c->nu ? work[i] : c->nu);
            sum += coefficients[i];
        }
        for (size_t i = 0; i < gram->rows; i++) coefficients[i] /= sum;
        double now = trib_gram_distances(gram, coefficients, work, scratch);
        if (fabs(before - now) < c->ftol * before) return;
        before = now;
    }
}

static const struct trib_rule_combiner combiner = {.least = least, .needs_gram = true, .weigh = weigh};
static const struct trib_rule_kind kind = {
    .name = "geometric_median", .config_bytes = sizeof(struct config), .combiner = &combiner};
const struct trib_rule_row trib_rule_geometric_median = {
    .name = "geometric_median",
    .summary = "the point with the smallest sum of distances from the updates (RFA), by Weiszfeld's steps",
    .formula =
        "z = sum b_i F_i / sum b_i, b_i = 1 / max(nu, |z - F_i|), again and again from the mean on; h = lr z",
    .source = "Pillutla, Kakade, Harchaoui 2022, arXiv 1912.13445",
    .memory = "the buffer's updates, encoded; A (one model)",
    .example = "geometric_median(iterations=8)",
    .stage = TRIB_RULE_COMBINER,
    TRIB_PARAMS(params),
    .kind = &kind};
