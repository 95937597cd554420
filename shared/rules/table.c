/* The table: a stage is a file, a name in kind.h, and a line here. */
#include "shared/rules/kind.h"

static const struct trib_rule_row *const rows[] = {
    &trib_rule_fedavg,        &trib_rule_fedbuff,      &trib_rule_fedasync,
    &trib_rule_async_sgd,     &trib_rule_area,         &trib_rule_fednova,
    &trib_rule_semiasync,     &trib_rule_ca2fl,        &trib_rule_fedat,
    &trib_rule_compensated,   &trib_rule_norm_clip,    &trib_rule_norm_filter,
    &trib_rule_cosine_filter, &trib_rule_trust,        &trib_rule_bucket,
    &trib_rule_median,        &trib_rule_trimmed_mean, &trib_rule_krum,
    &trib_rule_multi_krum,    &trib_rule_bulyan,       &trib_rule_geometric_median,
    &trib_rule_centered_clip, &trib_rule_momentum,     &trib_rule_adagrad,
    &trib_rule_adam,          &trib_rule_yogi,         &trib_rule_amsgrad,
    &trib_rule_fadas,
};

const struct trib_rule_row *const *trib_rule_rows(size_t *count) {
    *count = sizeof rows / sizeof *rows;
    return rows;
}

const char *trib_rule_stage_name(enum trib_rule_stage stage) {
    static const char *const names[TRIB_RULE_STAGES] = {
        [TRIB_RULE_GATE] = "gate", [TRIB_RULE_BUCKET] = "bucket",       [TRIB_RULE_COMBINER] = "combiner",
        [TRIB_RULE_BASE] = "base", [TRIB_RULE_OPTIMISER] = "optimiser",
    };
    return stage < TRIB_RULE_STAGES ? names[stage] : "?";
}
