/* A gate that bounds norms: what is averaged of an update that is longer is shortened. Source: Sun et al.
 * 2019 (arXiv 1911.07963). */
#include "shared/rules/kind.h"

struct config {
    struct trib_radius tau;
};

static const struct trib_option params[] = {
    {"tau", TRIB_OPT_STRING, offsetof(struct config, tau.text), "auto", 0, 0, NULL, trib_radius_check,
     "the largest norm; auto: 1.5 times the median of the last 64 updates, from the fourth on"},
};

static double pass(const void *config, const struct trib_rule_memory *memory,
                   const struct trib_rule_update *update, enum trib_rule_refusal *refusal) {
    const struct config *c = config;
    double tau = c->tau.value > 0.0 ? c->tau.value : TRIB_RULE_AUTO_RADIUS * trib_rule_usual_norm(memory);
    (void)refusal;
    return tau > 0.0 && update->norm > tau ? tau / update->norm : 1.0;
}

static const struct trib_rule_gate gate = {.pass = pass};
static const struct trib_rule_kind kind = {.name = "norm_clip",
                                           .config_bytes = sizeof(struct config),
                                           .prepare = trib_radius_prepare,
                                           .gate = &gate};
const struct trib_rule_row trib_rule_norm_clip = {.name = "norm_clip",
                                                  .summary = "an update longer than tau is shortened to it",
                                                  .formula = "w = w min(1, tau / |F|)",
                                                  .source = "Sun et al. 2019, arXiv 1911.07963",
                                                  .memory = "64 norms",
                                                  .example = "norm_clip(tau=auto)",
                                                  .stage = TRIB_RULE_GATE,
                                                  TRIB_PARAMS(params),
                                                  .kind = &kind};
