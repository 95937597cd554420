/* FedAvg: rounds. Every participant answers each version once, and the weighted mean of the answers is the
 * step: with weights n_k and lr 1 the new model is the mean of the local models. Source: McMahan et al. 2017
 * (arXiv 1602.05629), algorithm 1; the server's rate as in Reddi et al. 2021 (arXiv 2003.00295).
 *
 * When a round ends, with m = minimum and d = deadline (since the version was made), p updates pending:
 *     all who were active have answered         always
 *     m > 0, d = 0: p >= m                      the first m make the round, the rest come too late
 *     d > 0: d has passed and p >= max(m, 1)    with less than that, at the update that makes it m
 */
#include "shared/rules/kind.h"

struct config {
    uint64_t minimum;
    uint64_t deadline_ms;
    double lr;
};

const struct trib_option trib_fedavg_params[TRIB_FEDAVG_PARAMS] = {
    {"minimum", TRIB_OPT_U64, offsetof(struct config, minimum), "0", 0, 1000000, NULL, NULL,
     "answers that are enough for a round (with a deadline: once it has passed); 0: wait for all who are "
     "active"},
    {"deadline", TRIB_OPT_MS, offsetof(struct config, deadline_ms), "0", 0, 86400000, NULL, NULL,
     "how long a round waits, from the version on, for those who are active; 0: for ever"},
    {"lr", TRIB_OPT_F64, offsetof(struct config, lr), "1", 0.000001, 1000, NULL, NULL,
     "what the mean is multiplied by"},
};

static enum trib_rule_form form(const void *config) {
    (void)config;
    return TRIB_RULE_GATHERING;
}

static struct trib_rule_weight weigh(const void *config, const struct trib_rule_memory *memory,
                                     const struct trib_rule_update *update) {
    (void)config;
    (void)memory;
    float n = (float)update->weight;
    return (struct trib_rule_weight){.factor = 1.0f, .applied = n, .norm = n};
}

static bool due(const void *config, const struct trib_rule_memory *memory,
                const struct trib_rule_state *state, uint64_t *wake_ms) {
    const struct config *c = config;
    uint64_t enough = c->minimum > 0 ? c->minimum : 1;
    if (state->expected == 0) return true;
    if (memory->pending < enough) return false;
    if (c->deadline_ms > 0)
        return trib_rule_waited(state->version_since_ms, c->deadline_ms, state->now_ms, wake_ms);
    return c->minimum > 0;
}

static double rate(const void *config) {
    return ((const struct config *)config)->lr;
}

static uint64_t needs(const void *config, const struct trib_rule_state *state, uint64_t *configured) {
    const struct config *c = config;
    (void)state;
    *configured = c->minimum > 0 ? c->minimum : 1;
    return *configured;
}

const struct trib_rule_kind trib_rule_fedavg = {
    .name = "fedavg",
    .config_bytes = sizeof(struct config),
    .synchronous = true,
    .form = form,
    .weigh = weigh,
    .due = due,
    .rate = rate,
    .needs = needs,
};
