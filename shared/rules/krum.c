/* Krum, Multi-Krum and Bulyan: rows whose neighbours are near.
 * Sources: Blanchard et al. 2017 (arXiv 1703.02757); El Mhamdi, Guerraoui, Rouault 2018 (arXiv 1802.07927).
 * A row's score is the sum of its *squared* distances to its n - f - 2 nearest others: distances come out of
 * the Gram matrix squared already and are squared no more. Multi-Krum gives the mean of its rows. */
#include "shared/kernels/kernels.h"
#include "shared/rules/kind.h"

#include <stdlib.h>

struct config {
    uint64_t f;
    uint64_t m;
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

/* Krum's choice among the `left` rows that `chosen` lists: the position in it of the row with the smallest
 * sum of squared distances to its left - f - 2 nearest (at least one, if there is another). Work: left
 * values. */
static size_t krum_best(const struct trib_gram *gram, const size_t *chosen, size_t left, uint64_t f,
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

static uint64_t least(const void *config) {
    const struct config *c = config;
    uint64_t proof = 2 * c->f + 3;
    return c->m > proof ? c->m : proof;
}

/* ---- Krum ---- */

static const struct trib_option krum_params[] = {
    {"f", TRIB_OPT_U64, offsetof(struct config, f), "1", 0, 500, NULL, NULL,
     "attackers that may be among the updates"},
};

/* Scores of all rows in work[0..rows), then the m best of them get 1 / m. */
static void weigh_best(const struct config *c, const struct trib_gram *gram, size_t m, double *coefficients,
                       double *work) {
    double *scores = work, *scratch = work + gram->size;
    size_t all[TRIB_RULE_ROWS];
    for (size_t i = 0; i < gram->rows; i++) all[i] = i;
    for (size_t i = 0; i < gram->rows; i++) scores[i] = score(gram, all, gram->rows, i, c->f, scratch);
    for (size_t taken = 0; taken < m; taken++) {
        size_t best = gram->rows;
        for (size_t i = 0; i < gram->rows; i++)
            if (!(coefficients[i] > 0.0) &&
                (best == gram->rows || is_better(gram, scores[i], i, scores[best], best)))
                best = i;
        coefficients[best] = 1.0 / (double)m;
    }
}

static void krum_weigh(const void *config, const struct trib_gram *gram, double *coefficients, double *work) {
    weigh_best(config, gram, 1, coefficients, work);
}

static const struct trib_rule_combiner krum = {.least = least, .needs_gram = true, .weigh = krum_weigh};
static const struct trib_rule_kind krum_kind = {
    .name = "krum", .config_bytes = sizeof(struct config), .combiner = &krum};
const struct trib_rule_row trib_rule_krum = {
    .name = "krum",
    .summary = "the one update that is nearest to its neighbours",
    .formula = "h = lr * F_i, i = argmin sum of |F_i - F_j|^2 over the n - f - 2 nearest j; n >= 2f + 3",
    .source = "Blanchard et al. 2017, arXiv 1703.02757",
    .memory = "the buffer's updates, encoded; A (one model)",
    .example = "krum(f=1)",
    .stage = TRIB_RULE_COMBINER,
    TRIB_PARAMS(krum_params),
    .kind = &krum_kind};

/* ---- Multi-Krum ---- */

static const struct trib_option multi_krum_params[] = {
    {"f", TRIB_OPT_U64, offsetof(struct config, f), "1", 0, 500, NULL, NULL,
     "attackers that may be among the updates"},
    {"m", TRIB_OPT_U64, offsetof(struct config, m), "0", 0, 1000, NULL, NULL,
     "updates that are averaged; 0: n - f - 2, the most for which the proof holds"},
};

static void multi_krum_weigh(const void *config, const struct trib_gram *gram, double *coefficients,
                             double *work) {
    const struct config *c = config;
    weigh_best(c, gram, (size_t)(c->m > 0 ? c->m : gram->rows - c->f - 2), coefficients, work);
}

static const struct trib_rule_combiner multi_krum = {
    .least = least, .needs_gram = true, .weigh = multi_krum_weigh};
static const struct trib_rule_kind multi_krum_kind = {
    .name = "multi_krum", .config_bytes = sizeof(struct config), .combiner = &multi_krum};
const struct trib_rule_row trib_rule_multi_krum = {
    .name = "multi_krum",
    .summary = "the mean of the m updates that are nearest to their neighbours",
    .formula = "h = lr * sum of the m F_i with the smallest scores / m; n >= 2f + 3",
    .source = "Blanchard et al. 2017, arXiv 1703.02757",
    .memory = "the buffer's updates, encoded; A (one model)",
    .example = "multi_krum(f=1, m=3)",
    .stage = TRIB_RULE_COMBINER,
    TRIB_PARAMS(multi_krum_params),
    .kind = &multi_krum_kind};

/* ---- Bulyan ---- */

static uint64_t bulyan_least(const void *config) {
    return 4 * ((const struct config *)config)->f + 3;
}

/* n - 2f rows by Krum, again and again among those that are left; in ascending order. */
static size_t bulyan_choose(const void *config, const struct trib_gram *gram, size_t *chosen, double *work) {
    const struct config *c = config;
    size_t left = gram->rows, theta = gram->rows - 2 * (size_t)c->f;
    size_t remaining[TRIB_RULE_ROWS] = {0};
    bool picked[TRIB_RULE_ROWS] = {false};
    for (size_t i = 0; i < left; i++) remaining[i] = i;
    for (size_t taken = 0; taken < theta; taken++) {
        size_t best = krum_best(gram, remaining, left, c->f, work);
        picked[remaining[best]] = true;
        left--;
        for (size_t i = best; i < left; i++) remaining[i] = remaining[i + 1];
    }
    size_t count = 0;
    for (size_t i = 0; i < gram->rows; i++)
        if (picked[i]) chosen[count++] = i;
    return count;
}

/* Of theta = n - 2f rows the theta - 2f values nearest to the median. */
static void bulyan_merge(const void *config, const float *const *rows, size_t count, size_t total, float *out,
                         size_t n) {
    (void)total;
    trib_kernels()->nearest_rows(out, rows, count, count - 2 * (size_t)((const struct config *)config)->f, n);
}

static const struct trib_rule_combiner bulyan = {
    .least = bulyan_least, .needs_gram = true, .choose = bulyan_choose, .merge = bulyan_merge};
static const struct trib_rule_kind bulyan_kind = {
    .name = "bulyan", .config_bytes = sizeof(struct config), .combiner = &bulyan};
const struct trib_rule_row trib_rule_bulyan = {
    .name = "bulyan",
    .summary =
        "Krum's choice of n - 2f updates, then of each coordinate the mean of those nearest to the median",
    .formula = "h_j = lr * mean of the n - 4f values of the chosen F_ij nearest to their median; n >= 4f + 3",
    .source = "El Mhamdi, Guerraoui, Rouault 2018, arXiv 1802.07927",
    .memory = "the buffer's updates, encoded; A (one model)",
    .example = "bulyan(f=1)",
    .stage = TRIB_RULE_COMBINER,
    TRIB_PARAMS(krum_params),
    .kind = &bulyan_kind};
