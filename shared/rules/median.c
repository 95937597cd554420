/* The coordinate-wise median. Source: Yin et al. 2018 (arXiv 1803.01498). */
#include "shared/kernels/kernels.h"
#include "shared/rules/kind.h"

_Static_assert((int)TRIB_RULE_ROWS <= (int)TRIB_ROWS_MAX, "more rows than the kernels sort");

static uint64_t least(const void *config) {
    (void)config;
    return 3;
}

static void merge(const void *config, const float *const *rows, size_t count, size_t total, float *out,
                  size_t n) {
    (void)config;
    (void)total;
    trib_kernels()->median_rows(out, rows, count, n);
}

static const struct trib_rule_combiner combiner = {.least = least, .merge = merge};
static const struct trib_rule_kind kind = {.name = "median", .config_bytes = 1, .combiner = &combiner};
const struct trib_rule_row trib_rule_median = {
    .name = "median",
    .summary = "the median of each coordinate; of two in the middle their mean",
    .formula = "h_j = lr * median_i F_ij",
    .source = "Yin et al. 2018, arXiv 1803.01498",
    .memory = "the buffer's updates, encoded; A (one model)",
    .example = "median",
    .stage = TRIB_RULE_COMBINER,
    .kind = &kind};
