/* Coordinate-wise combiners: a bucket before them, and the median, the trimmed mean.
 * Sources: Yin et al. 2018 (arXiv 1803.01498) for both; bucketing: Karimireddy et al. 2022 (arXiv
 * 2006.09365). */
#include "shared/kernels/kernels.h"
#include "shared/rules/kind.h"

/* ---- bucket ---- */

struct bucket {
    uint64_t s;
};

static const struct trib_option bucket_params[] = {
    {"s", TRIB_OPT_U64, offsetof(struct bucket, s), "2", 1, 1000, NULL, NULL,
     "updates in a bucket; of the last one perhaps fewer"},
};

static uint64_t bucket_size(const void *config) {
    return ((const struct bucket *)config)->s;
}

static const struct trib_rule_kind bucket_kind = {
    .name = "bucket", .config_bytes = sizeof(struct bucket), .bucket = bucket_size};
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
    TRIB_PARAMS(bucket_params),
    .kind = &bucket_kind};

_Static_assert((int)TRIB_RULE_ROWS <= (int)TRIB_ROWS_MAX, "more rows than the kernels sort");

/* ---- median ---- */

static uint64_t median_least(const void *config) {
    (void)config;
    return 3;
}

static void median_merge(const void *config, const float *const *rows, size_t count, size_t total, float *out,
                         size_t n) {
    (void)config;
    (void)total;
    trib_kernels()->median_rows(out, rows, count, n);
}

static const struct trib_rule_combiner median = {.least = median_least, .merge = median_merge};
static const struct trib_rule_kind median_kind = {.name = "median", .config_bytes = 1, .combiner = &median};
const struct trib_rule_row trib_rule_median = {
    .name = "median",
    .summary = "the median of each coordinate; of two in the middle their mean",
    .formula = "h_j = lr * median_i F_ij",
    .source = "Yin et al. 2018, arXiv 1803.01498",
    .memory = "the buffer's updates, encoded; A (one model)",
    .example = "median",
    .stage = TRIB_RULE_COMBINER,
    .kind = &median_kind};

/* ---- trimmed mean ---- */

struct trimmed {
    uint64_t f;
};

static const struct trib_option trimmed_params[] = {
    {"f", TRIB_OPT_U64, offsetof(struct trimmed, f), "1", 0, 500, NULL, NULL,
     "so many of the largest and of the smallest of each coordinate are left out; attackers that may be "
     "there"},
};

static uint64_t trimmed_least(const void *config) {
    return 2 * ((const struct trimmed *)config)->f + 1;
}

static void trimmed_merge(const void *config, const float *const *rows, size_t count, size_t total,
                          float *out, size_t n) {
    (void)total;
    trib_kernels()->trimmed_rows(out, rows, count, (size_t)((const struct trimmed *)config)->f, n);
}

static const struct trib_rule_combiner trimmed = {.least = trimmed_least, .merge = trimmed_merge};
static const struct trib_rule_kind trimmed_kind = {
    .name = "trimmed_mean", .config_bytes = sizeof(struct trimmed), .combiner = &trimmed};
const struct trib_rule_row trib_rule_trimmed_mean = {
    .name = "trimmed_mean",
    .summary = "the mean of each coordinate without its f largest and f smallest values",
    .formula = "h_j = lr * sum of the n - 2f in the middle of F_ij / (n - 2f)",
    .source = "Yin et al. 2018, arXiv 1803.01498",
    .memory = "the buffer's updates, encoded; A (one model)",
    .example = "trimmed_mean(f=2)",
    .stage = TRIB_RULE_COMBINER,
    TRIB_PARAMS(trimmed_params),
    .kind = &trimmed_kind};
