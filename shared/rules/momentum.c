/* Server momentum. Source: Hsu, Qi, Brown 2019 (arXiv 1909.06335). In floats, one coordinate at a time: the
 * same bits wherever the work is cut. */
#include "shared/rules/kind.h"

struct config {
    double beta, lr;
    bool nesterov;
    double rate; /* made by bind */
};

static const struct trib_option params[] = {
    {"beta", TRIB_OPT_F64, offsetof(struct config, beta), "0.9", 0, 0.9999, NULL, NULL,
     "how much of the velocity stays"},
    {"lr", TRIB_OPT_F64, offsetof(struct config, lr), "0", 0, 1000, NULL, NULL,
     "what the velocity is multiplied by; 0: 1 behind a synchronous base, 1 - beta behind another, where "
     "more "
     "tends to diverge"},
    {"nesterov", TRIB_OPT_BOOL, offsetof(struct config, nesterov), "false", 0, 0, NULL, NULL,
     "look ahead: the step is D + beta v"},
};

static size_t count_moments(const void *config) {
    (void)config;
    return 1;
}

static void bind(void *config, bool synchronous) {
    struct config *c = config;
    c->rate = c->lr > 0.0 ? c->lr : synchronous ? 1.0 : 1.0 - c->beta;
}

static void walk(const void *config, const struct trib_rule_step *step, float *const *moments,
                 const float *gradient, float scale, float *own, size_t n) {
    const struct config *c = config;
    const float beta = (float)c->beta, lr = (float)c->rate;
    float *v = moments[0];
    (void)step;
    for (size_t i = 0; i < n; i++) {
        float d = scale * gradient[i];
        v[i] = beta * v[i] + d;
        own[i] = own[i] + lr * (c->nesterov ? d + beta * v[i] : v[i]);
    }
}

static const char *warning(const void *config, bool synchronous) {
    const struct config *c = config;
    if (synchronous || c->rate <= (1.0 - c->beta) * (1.0 + 1e-9)) return NULL;
    return "momentum in plan.edge.rule or plan.cloud.rule behind an asynchronous base, with lr above 1 - "
           "beta: late "
           "updates add up, and such runs collapsed; lr=0 takes 1 - beta";
}

static const struct trib_rule_optimiser optimiser = {
    .moments = count_moments, .bind = bind, .step = walk, .warning = warning};
static const struct trib_rule_kind kind = {
    .name = "momentum", .config_bytes = sizeof(struct config), .optimiser = &optimiser};
const struct trib_rule_row trib_rule_momentum = {
    .name = "momentum",
    .summary = "steps go on in the direction of those before (FedAvgM)",
    .formula = "v = beta v + D; own += lr v; nesterov: own += lr (D + beta v)",
    .source = "Hsu, Qi, Brown 2019, arXiv 1909.06335",
    .memory = "v and A (two models)",
    .example = "momentum(0.9)",
    .stage = TRIB_RULE_OPTIMISER,
    TRIB_PARAMS(params),
    .kind = &kind};
