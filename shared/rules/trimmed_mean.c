/* The coordinate-wise trimmed mean. Source: Yin et al. 2018 (arXiv 1803.01498). */
#include "shared/kernels/kernels.h"
#include "shared/rules/kind.h"

struct config {
    uint64_t f;
};

static const struct trib_option params[] = {
    {"f", TRIB_OPT_U64, offsetof(struct config, f), "1", 0, 500, NULL, NULL,
     "so many of the largest and of the smallest of each coordinate are left out; attackers that may be "
     "there"},
};

static uint64_t least(const void *config) {
    return 2 * ((const struct config *)config)->f + 1;
}

static void merge(const void *config, const float *const *rows, size_t count, size_t total, float *out,
                  size_t n) {
    (void)total;
    trib_kernels()->trimmed_rows(out, rows, count, (size_t)((const struct config *)config)->f, n);
}

static const struct trib_rule_combiner combiner = {.least = least, .merge = merge};
static const struct trib_rule_kind kind = {
    .name = "trimmed_mean", .config_bytes = sizeof(struct config), .combiner = &combiner};
const struct trib_rule_row trib_rule_trimmed_mean = {
    .name = "trimmed_mean",
    .summary = "the mean of each coordinate without its f largest and f smallest values",
    .formula = "h_j = lr * sum of the n - 2f in the middle of F_ij / (n - 2f)",
    .source = "Yin et al. 2018, arXiv 1803.01498",
    .memory = "the buffer's updates, encoded; A (one model)",
    .example = "trimmed_mean(f=2)",
    .stage = TRIB_RULE_COMBINER,
    TRIB_PARAMS(params),
    .kind = &kind};
