/* AREA: devices send the change of their local model since they last sent it, divided by their number, and
 * every tier adds up what comes: the model is the mean of everybody's latest local model, however often each
 * reports. Source: arXiv 2405.10123. Nothing here may weigh, damp or scale: a tier that
 * averaged would be wrong by as much as it has children. The device's side is plan.train.algorithm: area. */
#include "shared/rules/kind.h"

struct config {
    struct trib_rule_buffer buffer; /* first */
};

static const struct trib_option params[] = {
    TRIB_BUFFER_K(struct config, buffer, "3"),
    TRIB_BUFFER_DEADLINE(struct config, buffer),
};

static struct trib_rule_weight weigh(const void *config, const struct trib_rule_memory *memory,
                                     const struct trib_rule_update *update) {
    (void)config;
    (void)memory;
    (void)update;
    return (struct trib_rule_weight){.factor = 1.0f, .applied = 1.0f, .norm = 0.0f};
}

static double scale(const void *config, const struct trib_rule_memory *memory) {
    (void)config;
    (void)memory;
    return 1.0;
}

static const struct trib_rule_base base = {.sums = true,
                                           .form = trib_rule_gathers,
                                           .weigh = weigh,
                                           .due = trib_buffer_due,
                                           .scale = scale,
                                           .needs = trib_buffer_needs,
                                           .patience = trib_buffer_patience};
static const struct trib_rule_kind kind = {
    .name = "area", .config_bytes = sizeof(struct config), .prepare = trib_buffer_prepare, .base = &base};
const struct trib_rule_row trib_rule_area = {
    .name = "area",
    .summary =
        "adds up what devices send, which is their share of the mean of all local models: nobody counts "
        "more for reporting more often",
    .formula = "h = sum F_i, F_i = (n_i / sum of all n) (y_i - y_i before)",
    .source = "AREA, arXiv 2405.10123",
    .memory = "A (one model); a device keeps its last local model",
    .example = "area(k=3)",
    .stage = TRIB_RULE_BASE,
    TRIB_PARAMS(params),
    .kind = &kind};
