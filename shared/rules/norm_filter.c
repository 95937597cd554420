/* A gate that refuses what is much longer than usual. Source: Sun et al. 2019 (arXiv 1911.07963), with
 * refusal in the place of clipping. */
#include "shared/rules/kind.h"

struct config {
    double factor;
};

static const struct trib_option params[] = {
    {"factor", TRIB_OPT_F64, offsetof(struct config, factor), "3", 1, 1e6, NULL, NULL,
     "an update longer than so many times the median of the last 64 is refused, from the fourth on"},
};

/* Norms of refused updates count for the median too: where most updates have become longer it follows. */
static double pass(const void *config, const struct trib_rule_memory *memory,
                   const struct trib_rule_update *update, enum trib_rule_refusal *refusal) {
    double usual = trib_rule_usual_norm(memory);
    if (usual > 0.0 && update->norm > ((const struct config *)config)->factor * usual)
        *refusal = TRIB_RULE_NORM;
    return 1.0;
}

static const struct trib_rule_gate gate = {.pass = pass};
static const struct trib_rule_kind kind = {
    .name = "norm_filter", .config_bytes = sizeof(struct config), .gate = &gate};
const struct trib_rule_row trib_rule_norm_filter = {
    .name = "norm_filter",
    .summary = "an update much longer than the others is refused",
    .formula = "refused if |F| > factor * median of |F_j|",
    .source = "Sun et al. 2019, arXiv 1911.07963, with refusal for clipping",
    .memory = "64 norms",
    .example = "norm_filter(factor=3)",
    .stage = TRIB_RULE_GATE,
    TRIB_PARAMS(params),
    .kind = &kind};
