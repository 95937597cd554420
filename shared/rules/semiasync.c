/* Semi-asynchronous: what has come is committed every so many seconds, however much it is, and every so many
 * commits all who are active are waited for. Sources: Wu et al. 2021 (SAFA, arXiv 1910.01355) for rounds that
 * do not wait and bring everybody together now and then; Yu et al. 2023 (Async-HFL, arXiv 2301.06646) for the
 * period. */
#include "shared/rules/kind.h"

struct config {
    uint64_t period_ms;
    uint64_t synchronise;
    char *staleness;
    double lr;
    char *relative;
    /* made by prepare */
    struct trib_staleness *function;
    bool is_relative;
};

static const struct trib_option params[] = {
    {"period", TRIB_OPT_MS, offsetof(struct config, period_ms), "10s", 1, 86400000, NULL, NULL,
     "what has come is committed so long after its first update came"},
    {"synchronise", TRIB_OPT_U64, offsetof(struct config, synchronise), "0", 0, 1000000, NULL, NULL,
     "each so many commits waits until all who are active have an update in it; 0: none does"},
    {"staleness", TRIB_OPT_STRING, offsetof(struct config, staleness), "polynomial(0.5)", 0, 0, NULL,
     trib_staleness_check_spec, "the staleness function"},
    {"lr", TRIB_OPT_F64, offsetof(struct config, lr), "1", 0.000001, 1000, NULL, NULL,
     "what the mean is multiplied by"},
    {"relative", TRIB_OPT_CHOICE, offsetof(struct config, relative), "auto", 0, 0, trib_rule_auto_yes_no,
     NULL, "damp by s against its recent mean; auto: at the cloud only"},
};

static enum trib_status prepare(void *config, enum trib_tier tier, struct trib_error *err) {
    struct config *c = config;
    c->is_relative = trib_rule_switch(c->relative, tier == TRIB_TIER_CLOUD);
    return trib_rule_staleness(&c->staleness, &c->function, err);
}

static void release(void *config) {
    trib_staleness_free(&((struct config *)config)->function);
}

static struct trib_rule_weight weigh(const void *config, const struct trib_rule_memory *memory,
                                     const struct trib_rule_update *update) {
    const struct config *c = config;
    float factor = (float)trib_staleness_factor(c->function, update->staleness);
    double damping = trib_rule_damping(memory, factor, c->is_relative);
    return (struct trib_rule_weight){
        .factor = factor, .applied = (float)(update->weight * damping), .norm = (float)update->weight};
}

static bool due(const void *config, const struct trib_rule_memory *memory,
                const struct trib_rule_state *state, uint64_t *wake_ms) {
    const struct config *c = config;
    if (state->expected == 0) return true; /* all who are active are in it */
    if (c->synchronise > 0 && (state->commits + 1) % c->synchronise == 0) return false;
    return trib_rule_waited(memory->pending_since_ms, c->period_ms, state->now_ms, wake_ms);
}

static double rate(const void *config) {
    return ((const struct config *)config)->lr;
}

static enum trib_rule_patience patience(const void *config) {
    return ((const struct config *)config)->synchronise > 0 ? TRIB_RULE_WAITS_FOR_ALL : TRIB_RULE_WAITS_NOT;
}

static const struct trib_rule_base base = {
    .all = true, .form = trib_rule_gathers, .weigh = weigh, .due = due, .rate = rate, .patience = patience};
static const struct trib_rule_kind kind = {.name = "semiasync",
                                           .config_bytes = sizeof(struct config),
                                           .prepare = prepare,
                                           .release = release,
                                           .base = &base};
const struct trib_rule_row trib_rule_semiasync = {
    .name = "semiasync",
    .summary = "what has come in a period is committed; now and then everybody is waited for",
    .formula = "h = lr * sum n_i s_i F_i / sum n_i",
    .source = "Wu et al. 2021 (SAFA), arXiv 1910.01355; Yu et al. 2023, arXiv 2301.06646",
    .memory = "A (one model)",
    .example = "semiasync(period=5s, synchronise=10)",
    .stage = TRIB_RULE_BASE,
    TRIB_PARAMS(params),
    .kind = &kind};
