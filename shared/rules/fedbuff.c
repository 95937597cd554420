/* FedBuff: a buffer of k updates, whoever they are from, then one step. Source: Nguyen et al. 2022
 * (arXiv 2106.06639), algorithm 1. The step is normalised by samples, h = lr * sum n_i s_i F_i / sum n_i: by
 * the plain sum of n, not of n s, so that a buffer of updates that are all stale takes a smaller step.
 *
 * k is lowered to the number of active participants. At the cloud a buffer has a deadline by default: twice
 * the median interval between updates, since the buffer's first. Without it one absent edge held up the
 * rest. */
#include "shared/base/alloc.h"
#include "shared/base/number.h"
#include "shared/rules/kind.h"

#include <string.h>

enum {
    FIRST_DEADLINE_MS = 30000, /* until an interval is known */
    LEAST_DEADLINE_MS = 100,   /* where updates come in bursts, so that the median says little */
    MOST_DEADLINE_MS = 600000  /* after an outage, or when the clock was put right, the same */
};

struct config {
    uint64_t k;
    char *staleness;
    double lr;
    char *deadline;
    char *by;
    char *relative;
    /* made by prepare */
    struct trib_staleness *function;
    bool deadline_auto;   /* twice the median interval */
    uint64_t deadline_ms; /* 0: none */
    bool by_samples, is_relative;
};

static enum trib_status check_deadline(const char *value, struct trib_error *err) {
    uint64_t ms;
    if (strcmp(value, "auto") == 0 || trib_parse_ms(value, strlen(value), &ms)) return TRIB_OK;
    return trib_fail(err, TRIB_INVALID, "\"%s\" is no deadline; allowed are auto, 0 and a duration as in 30s",
                     value);
}

static const char *const by_choices[] = {"samples", "count", NULL};

const struct trib_option trib_fedbuff_params[TRIB_FEDBUFF_PARAMS] = {
    {"k", TRIB_OPT_U64, offsetof(struct config, k), "3", 1, 1000000, NULL, NULL,
     "updates in a buffer; lowered to the number of active participants"},
    {"staleness", TRIB_OPT_STRING, offsetof(struct config, staleness), "polynomial(0.5)", 0, 0, NULL,
     trib_staleness_check_spec, "the staleness function"},
    {"lr", TRIB_OPT_F64, offsetof(struct config, lr), "1", 0.000001, 1000, NULL, NULL,
     "what the mean is multiplied by"},
    {"deadline", TRIB_OPT_STRING, offsetof(struct config, deadline), "auto", 0, 0, NULL, check_deadline,
     "how long a buffer waits for its k, from its first update on; auto: twice the median interval between "
     "updates at the cloud, at most 10 minutes; for ever at an edge; 0: for ever"},
    {"by", TRIB_OPT_CHOICE, offsetof(struct config, by), "samples", 0, 0, by_choices, NULL,
     "what an update weighs: its samples, or 1"},
    {"relative", TRIB_OPT_CHOICE, offsetof(struct config, relative), "auto", 0, 0, trib_rule_auto_yes_no,
     NULL, "damp by s against its recent mean; auto: at the cloud only"},
};

static enum trib_status prepare(void *config, enum trib_tier tier, struct trib_error *err) {
    struct config *c = config;
    enum trib_status status = trib_staleness_new(c->staleness, &c->function, err);
    if (status != TRIB_OK) return status;
    char *canonical = trib_strdup(trib_staleness_spec(c->function));
    if (canonical == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a rule");
    trib_free(c->staleness);
    c->staleness = canonical;
    bool is_auto = strcmp(c->deadline, "auto") == 0;
    if (!is_auto) TRIB_ASSERT(trib_parse_ms(c->deadline, strlen(c->deadline), &c->deadline_ms));
    c->deadline_auto = is_auto && tier == TRIB_TIER_CLOUD;
    c->by_samples = strcmp(c->by, "samples") == 0;
    c->is_relative = trib_rule_switch(c->relative, tier == TRIB_TIER_CLOUD);
    return TRIB_OK;
}

static void release(void *config) {
    trib_staleness_free(&((struct config *)config)->function);
}

static enum trib_rule_form form(const void *config) {
    (void)config;
    return TRIB_RULE_GATHERING;
}

static struct trib_rule_weight weigh(const void *config, const struct trib_rule_memory *memory,
                                     const struct trib_rule_update *update) {
    const struct config *c = config;
    float factor = (float)trib_staleness_factor(c->function, update->staleness);
    double n = c->by_samples ? update->weight : 1.0;
    double damping = trib_rule_damping(memory, factor, c->is_relative);
    return (struct trib_rule_weight){.factor = factor, .applied = (float)(n * damping), .norm = (float)n};
}

static uint64_t needs(const void *config, const struct trib_rule_state *state, uint64_t *configured) {
    const struct config *c = config;
    uint64_t live = state->active > 0 ? state->active : 1;
    *configured = c->k;
    return c->k < live ? c->k : live;
}

/* 0: none. */
static uint64_t deadline_of(const struct config *c, const struct trib_rule_memory *memory) {
    if (!c->deadline_auto) return c->deadline_ms;
    uint64_t median = trib_rule_median_interval(memory);
    if (median == UINT64_MAX) return FIRST_DEADLINE_MS;
    if (median > MOST_DEADLINE_MS / 2) return MOST_DEADLINE_MS;
    return 2 * median > LEAST_DEADLINE_MS ? 2 * median : LEAST_DEADLINE_MS;
}

static bool due(const void *config, const struct trib_rule_memory *memory,
                const struct trib_rule_state *state, uint64_t *wake_ms) {
    uint64_t configured;
    if (memory->pending >= needs(config, state, &configured)) return true;
    uint64_t deadline_ms = deadline_of(config, memory);
    return deadline_ms > 0 && trib_rule_waited(memory->pending_since_ms, deadline_ms, state->now_ms, wake_ms);
}

static double rate(const void *config) {
    return ((const struct config *)config)->lr;
}

const struct trib_rule_kind trib_rule_fedbuff = {
    .name = "fedbuff",
    .config_bytes = sizeof(struct config),
    .synchronous = false,
    .prepare = prepare,
    .release = release,
    .form = form,
    .weigh = weigh,
    .due = due,
    .rate = rate,
    .needs = needs,
};
