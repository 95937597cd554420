/* Combiners that go towards a centre in steps: the geometric median and centred clipping. Both stay weighted
 * sums of the rows all the way, so that only coefficients change from step to step. */
#include "shared/rules/kind.h"

#include <math.h>

/* ---- geometric median ----
 * Source: Pillutla, Kakade, Harchaoui 2022 (arXiv 1912.13445), smoothed Weiszfeld: from the mean on,
 * z = sum b_i x_i / sum b_i with b_i = 1 / max(nu, |z - x_i|), until the sum of distances falls by less than
 * a ftol-th. */

struct median {
    uint64_t iterations;
    double nu;
    double ftol;
};

static const struct trib_option median_params[] = {
    {"iterations", TRIB_OPT_U64, offsetof(struct median, iterations), "4", 1, 1000, NULL, NULL,
     "steps at most"},
    {"nu", TRIB_OPT_F64, offsetof(struct median, nu), "1e-5", 1e-12, 1e6, NULL, NULL,
     "a distance below this counts as this"},
    {"ftol", TRIB_OPT_F64, offsetof(struct median, ftol), "1e-6", 0, 1, NULL, NULL,
     "it ends when the sum of distances falls by a smaller part than this"},
};

static uint64_t median_least(const void *config) {
    (void)config;
    return 3;
}

static void median_weigh(const void *config, const struct trib_gram *gram, double *coefficients,
                         double *work) {
    const struct median *c = config;
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

static const struct trib_rule_combiner median = {
    .least = median_least, .needs_gram = true, .weigh = median_weigh};
static const struct trib_rule_kind median_kind = {
    .name = "geometric_median", .config_bytes = sizeof(struct median), .combiner = &median};
const struct trib_rule_row trib_rule_geometric_median = {
    .name = "geometric_median",
    .summary = "the point with the smallest sum of distances from the updates (RFA), by Weiszfeld's steps",
    .formula =
        "z = sum b_i F_i / sum b_i, b_i = 1 / max(nu, |z - F_i|), again and again from the mean on; h = lr z",
    .source = "Pillutla, Kakade, Harchaoui 2022, arXiv 1912.13445",
    .memory = "the buffer's updates, encoded; A (one model)",
    .example = "geometric_median(iterations=8)",
    .stage = TRIB_RULE_COMBINER,
    TRIB_PARAMS(median_params),
    .kind = &median_kind};

/* ---- centred clipping ----
 * Source: Karimireddy, He, Jaggi 2021 (arXiv 2012.10333): v starts at what the last commit combined,
 * v <- v + (1 / n) sum (x_i - v) min(1, tau / |x_i - v|). */

struct clip {
    char *tau;
    uint64_t iterations;
    double radius; /* made by prepare; 0: auto */
};

static const struct trib_option clip_params[] = {
    {"tau", TRIB_OPT_STRING, offsetof(struct clip, tau), "auto", 0, 0, NULL, trib_radius_check,
     "the radius; auto: 1.5 times the median norm of the last 64 updates"},
    {"iterations", TRIB_OPT_U64, offsetof(struct clip, iterations), "3", 1, 100, NULL, NULL, "steps"},
};

static enum trib_status clip_prepare(void *config, enum trib_tier tier, struct trib_error *err) {
    struct clip *c = config;
    (void)tier;
    (void)err;
    c->radius = trib_radius_of(c->tau);
    return TRIB_OK;
}

static uint64_t clip_least(const void *config) {
    (void)config;
    return 1;
}

static void clip_weigh(const void *config, const struct trib_gram *gram, double *coefficients, double *work) {
    const struct clip *c = config;
    double tau = c->radius > 0.0 ? c->radius : TRIB_RULE_AUTO_RADIUS * gram->norm, n = (double)gram->rows;
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

static const struct trib_rule_combiner clip = {
    .least = clip_least, .needs_step = true, .needs_gram = true, .weigh = clip_weigh};
static const struct trib_rule_kind clip_kind = {
    .name = "centered_clip", .config_bytes = sizeof(struct clip), .prepare = clip_prepare, .combiner = &clip};
const struct trib_rule_row trib_rule_centered_clip = {
    .name = "centered_clip",
    .summary = "from the last step on, the mean of what updates differ from it, each clipped to a radius",
    .formula = "v = v + (1/n) sum (F_i - v) min(1, tau / |F_i - v|), from the last v on; h = lr v",
    .source = "Karimireddy, He, Jaggi 2021, arXiv 2012.10333",
    .memory = "the buffer's updates, encoded; A and the last step (two models)",
    .example = "centered_clip(tau=auto, iterations=3)",
    .stage = TRIB_RULE_COMBINER,
    TRIB_PARAMS(clip_params),
    .kind = &clip_kind};
