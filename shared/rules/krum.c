/* Krum: the row that is nearest to its neighbours. Source: Blanchard et al. 2017 (arXiv 1703.02757). */
#include "shared/rules/krum.h"

#include <stdlib.h>

struct config {
    uint64_t f;
};

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sum of the `count` smallest of the `left` values, smallest first. */
static double smallest(double *values, size_t left, size_t count) {
    double sum = 0.0;
    if (left > 1) qsort(values, left, sizeof *values, ascending);
    for (size_t i = 0; i < count; i++) sum += values[i];
    return sum;
}

static double score(const struct trib_gram *gram, const size_t *chosen, size_t left, size_t me, uint64_t f,
                    double *work) {
    size_t others = 0;
    for (size_t j = 0; j < left; j++)
        if (j != me) work[others++] = trib_gram_distance(gram, chosen[me], chosen[j]);
    size_t near = left > f + 2 ? left - (size_t)f - 2 : 1;
    return smallest(work, others, near < others ? near : others);
}

/* Two that are each other's only neighbour tie: the shorter one wins, whichever came first. */
static bool is_better(const struct trib_gram *gram, double mine, size_t me, double best, size_t other) {
    if (mine != best) return mine < best;
    return trib_gram_at(gram, me, me) < trib_gram_at(gram, other, other);
}

size_t trib_krum_best(const struct trib_gram *gram, const size_t *chosen, size_t left, uint64_t f,
                      double *work) {
    size_t best = 0;
    double least = 0.0;
    for (size_t i = 0; i < left; i++) {
        double mine = score(gram, chosen, left, i, f, work);
        if (i > 0 && !is_better(gram, mine, chosen[i], least, chosen[best])) continue;
        best = i;
        least = mine;
    }
    return best;
}

void trib_krum_weigh_best(const struct trib_gram *gram, uint64_t f, size_t m, double *coefficients,
                          double *work) {
    double *scores = work, *scratch = work + gram->size;
    size_t all[TRIB_RULE_ROWS];
    for (size_t i = 0; i < gram->rows; i++) all[i] = i;
    for (size_t i = 0; i < gram->rows; i++) scores[i] = score(gram, all, gram->rows, i, f, scratch);
    for (size_t taken = 0; taken < m; taken++) {
        size_t best = gram->rows;
        for (size_t i = 0; i < gram->rows; i++)
            if (!(coefficients[i] > 0.0) &&
                (best == gram->rows || is_better(gram, scores[i], i, scores[best], best)))
                best = i;
        coefficients[best] = 1.0 / (double)m;
    }
}

static const struct trib_option params[] = {
    {"f", TRIB_OPT_U64, offsetof(struct config, f), "1", 0, 500, NULL, NULL,
     "attackers that may be among the updates"},
};

static uint64_t least(const void *config) {
    return trib_krum_least(((const struct config *)config)->f);
}

static void weigh(const void *config, const struct trib_gram *gram, double *coefficients, double *work) {
    trib_krum_weigh_best(gram, ((const struct config *)config)->f, 1, coefficients, work);
}

static const struct trib_rule_combiner combiner = {.least = least, .needs_gram = true, .weigh = weigh};
static const struct trib_rule_kind kind = {
    .name = "krum", .config_bytes = sizeof(struct config), .combiner = &combiner};
const struct trib_rule_row trib_rule_krum = {
    .name = "krum",
    .summary = "the one update that is nearest to its neighbours",
    .formula = "h = lr * F_i, i = argmin sum of |F_i - F_j|^2 over the n - f - 2 nearest j; n >= 2f + 3",
    .source = "Blanchard et al. 2017, arXiv 1703.02757",
    .memory = "the buffer's updates, encoded; A (one model)",
    .example = "krum(f=1)",
    .stage = TRIB_RULE_COMBINER,
    TRIB_PARAMS(params),
    .kind = &kind};
