/* Bulyan: Krum again and again, then a trimmed mean of those. Source: El Mhamdi, Guerraoui, Rouault 2018
 * (arXiv 1802.07927). */
#include "shared/kernels/kernels.h"
#include "shared/rules/krum.h"

struct config {
    uint64_t f;
};

static const struct trib_option params[] = {
    {"f", TRIB_OPT_U64, offsetof(struct config, f), "1", 0, 500, NULL, NULL,
     "attackers that may be among the updates"},
};

static uint64_t least(const void *config) {
    return 4 * ((const struct config *)config)->f + 3;
}

/* n - 2f rows by Krum, again and again among those that are left; in ascending order. */
static size_t choose(const void *config, const struct trib_gram *gram, size_t *chosen, double *work) {
    const struct config *c = config;
    size_t left = gram->rows, theta = gram->rows - 2 * (size_t)c->f;
    size_t remaining[TRIB_RULE_ROWS] = {0};
    bool picked[TRIB_RULE_ROWS] = {false};
    for (size_t i = 0; i < left; i++) remaining[i] = i;
    for (size_t taken = 0; taken < theta; taken++) {
        size_t best = trib_krum_best(gram, remaining, left, c->f, work);
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
static void merge(const void *config, const float *const *rows, size_t count, size_t total, float *out,
                  size_t n) {
    (void)total;
    trib_kernels()->nearest_rows(out, rows, count, count - 2 * (size_t)((const struct config *)config)->f, n);
}

static const struct trib_rule_combiner combiner = {
    .least = least, .needs_gram = true, .choose = choose, .merge = merge};
static const struct trib_rule_kind kind = {
    .name = "bulyan", .config_bytes = sizeof(struct config), .combiner = &combiner};
const struct trib_rule_row trib_rule_bulyan = {
    .name = "bulyan",
    .summary =
        "Krum's choice of n - 2f updates, then of each coordinate the mean of those nearest to the median",
    .formula = "h_j = lr * mean of the n - 4f values of the chosen F_ij nearest to their median; n >= 4f + 3",
    .source = "El Mhamdi, Guerraoui, Rouault 2018, arXiv 1802.07927",
    .memory = "the buffer's updates, encoded; A (one model)",
    .example = "bulyan(f=1)",
    .stage = TRIB_RULE_COMBINER,
    TRIB_PARAMS(params),
    .kind = &kind};
