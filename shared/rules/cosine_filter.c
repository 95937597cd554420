/* A gate by direction: the cosine of what is averaged of an update with the step of the last commit. Source:
 * Xie, Koyejo, Gupta 2020 (Zeno++, arXiv 1903.07020), with the last step in the place of a gradient of the
 * server's own. */
#include "shared/rules/kind.h"

struct config {
    double min;
};

static const struct trib_option params[] = {
    {"min", TRIB_OPT_F64, offsetof(struct config, min), "-0.2", -1, 1, NULL, NULL,
     "an update whose cosine with the last commit's step is below this is refused; devices that hold "
     "different data point apart by themselves"},
};

static double pass(const void *config, const struct trib_rule_memory *memory,
                   const struct trib_rule_update *update, enum trib_rule_refusal *refusal) {
    (void)memory;
    bool known = update->cosine < 0.0 || update->cosine > 0.0;
    if (known && update->cosine < ((const struct config *)config)->min) *refusal = TRIB_RULE_DIRECTION;
    return 1.0;
}

static const struct trib_rule_gate gate = {.needs_step = true, .pass = pass};
static const struct trib_rule_kind kind = {
    .name = "cosine_filter", .config_bytes = sizeof(struct config), .gate = &gate};
const struct trib_rule_row trib_rule_cosine_filter = {
    .name = "cosine_filter",
    .summary = "an update that points away from the last commit's step is refused",
    .formula = "refused if cos(F, last step) < min",
    .source =
        "Xie, Koyejo, Gupta 2020 (Zeno++), arXiv 1903.07020, with the last step for the server's gradient",
    .memory = "the last step (one model; the cloud has it anyway)",
    .example = "cosine_filter(min=-0.2)",
    .stage = TRIB_RULE_GATE,
    TRIB_PARAMS(params),
    .kind = &kind};
