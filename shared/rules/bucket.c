/* Bucketing before a combiner. Source: Karimireddy et al. 2022 (arXiv 2006.09365). */
#include "shared/rules/kind.h"

struct config {
    uint64_t s;
};

static const struct trib_option params[] = {
    {"s", TRIB_OPT_U64, offsetof(struct config, s), "2", 1, 1000, NULL, NULL,
     "updates in a bucket; of the last one perhaps fewer"},
};

static uint64_t size(const void *config) {
    return ((const struct config *)config)->s;
}

static const struct trib_rule_kind kind = {
    .name = "bucket", .config_bytes = sizeof(struct config), .bucket = size};
const struct trib_rule_row trib_rule_bucket = {
    .name = "bucket",
    .summary =
        "means of s updates each, drawn anew for each commit, are what the combiner sees: devices that "
        "hold different data look alike",
    .formula = "x_j = mean of F_i over bucket j; ceil(n / s) rows",
    .source = "Karimireddy, He, Jaggi 2022, arXiv 2006.09365",
    .memory = "none",
    .example = "bucket(2)",
    .stage = TRIB_RULE_BUCKET,
    TRIB_PARAMS(params),
    .kind = &kind};
