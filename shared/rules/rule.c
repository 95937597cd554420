#include "shared/rules/rule.h"

#include "shared/base/alloc.h"
#include "shared/rules/kind.h"

#include <string.h>

struct trib_rule {
    const struct trib_rule_kind *kind;
    const struct trib_rule_row *row;
    char spec[TRIB_RULE_MAX_SPEC + 1];
    _Alignas(16) unsigned char config[];
};

/* ---- the table: a rule is a file, a name here, and a row ---- */

enum { FEDAVG, FEDBUFF, FEDASYNC, RULES };

static const struct trib_rule_kind *const kinds[RULES] = {
    [FEDAVG] = &trib_rule_fedavg,
    [FEDBUFF] = &trib_rule_fedbuff,
    [FEDASYNC] = &trib_rule_fedasync,
};

static const struct trib_rule_row rows[RULES] = {
    [FEDAVG] = {"fedavg", "rounds: one update of each participant a version, then their mean",
                "h = lr * sum n_i F_i / sum n_i", "McMahan et al. 2017, arXiv 1602.05629, algorithm 1",
                "A (one model)", "fedavg(minimum=5, deadline=30s)", trib_fedavg_params, TRIB_FEDAVG_PARAMS},
    [FEDBUFF] = {"fedbuff", "a buffer of k updates, whoever they are from, then their damped mean",
                 "h = lr * sum n_i s_i F_i / sum n_i", "Nguyen et al. 2022, arXiv 2106.06639, algorithm 1",
                 "A (one model)", "fedbuff(k=3, staleness=polynomial(0.5))", trib_fedbuff_params,
                 TRIB_FEDBUFF_PARAMS},
    [FEDASYNC] = {"fedasync", "every update commits at once",
                  "delta: h = a F; mix: h = a ((P_base - S) + F); a = alpha * s * share",
                  "Xie, Koyejo, Gupta 2019, arXiv 1903.03934, algorithm 1", "none",
                  "fedasync(form=delta, staleness=hinge(10, 4))", trib_fedasync_params, TRIB_FEDASYNC_PARAMS},
};

const struct trib_rule_row *trib_rule_rows(size_t *count) {
    *count = RULES;
    return rows;
}

/* ---- specs ---- */

static size_t largest_config(void) {
    size_t bytes = 0;
    for (size_t i = 0; i < RULES; i++)
        if (kinds[i]->config_bytes > bytes) bytes = kinds[i]->config_bytes;
    return bytes;
}

static enum trib_status name_rule(struct trib_rule *rule, struct trib_error *err) {
    struct trib_buf text;
    trib_buf_init(&text, TRIB_RULE_MAX_SPEC);
    trib_variant_print(rule->row, rule->config, &text);
    enum trib_status status = TRIB_OK;
    if (text.failed)
        status = trib_fail(err, TRIB_NOMEM, "no memory for the name of a rule");
    else
        memcpy(rule->spec, text.data, text.size);
    trib_buf_release(&text);
    return status;
}

enum trib_status trib_rule_new(const char *spec, enum trib_tier tier, struct trib_rule **out,
                               struct trib_error *err) {
    size_t room = largest_config(), index = 0;
    struct trib_rule *rule = trib_alloc(sizeof *rule + room);
    *out = NULL;
    if (rule == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a rule");
    enum trib_status status = trib_variant_parse(rows, RULES, "rule", spec, &index, rule->config, room, err);
    rule->kind = kinds[index];
    rule->row = &rows[index];
    TRIB_ASSERT(strcmp(rule->kind->name, rule->row->name) == 0);
    if (status == TRIB_OK && rule->kind->prepare != NULL)
        status = rule->kind->prepare(rule->config, tier, err);
    if (status == TRIB_OK) status = name_rule(rule, err);
    if (status != TRIB_OK) {
        trib_rule_free(&rule);
        return status;
    }
    *out = rule;
    return TRIB_OK;
}

void trib_rule_free(struct trib_rule **rule) {
    struct trib_rule *r = *rule;
    *rule = NULL;
    if (r == NULL) return;
    if (r->kind->release != NULL) r->kind->release(r->config);
    trib_options_release(r->row->params, r->row->param_count, r->config);
    trib_free(r);
}

static enum trib_status check_spec(const char *spec, enum trib_tier tier, struct trib_error *err) {
    struct trib_rule *rule = NULL;
    enum trib_status status = trib_rule_new(spec, tier, &rule, err);
    trib_rule_free(&rule);
    return status;
}

enum trib_status trib_rule_check_edge_spec(const char *spec, struct trib_error *err) {
    return check_spec(spec, TRIB_TIER_EDGE, err);
}

enum trib_status trib_rule_check_cloud_spec(const char *spec, struct trib_error *err) {
    return check_spec(spec, TRIB_TIER_CLOUD, err);
}

const char *trib_rule_spec(const struct trib_rule *rule) {
    return rule->spec;
}

enum trib_rule_form trib_rule_form(const struct trib_rule *rule) {
    return rule->kind->form(rule->config);
}

bool trib_rule_synchronous(const struct trib_rule *rule) {
    return rule->kind->synchronous;
}

/* ---- decisions ---- */

struct trib_rule_weight trib_rule_weigh(const struct trib_rule *rule, const struct trib_rule_memory *memory,
                                        const struct trib_rule_update *update) {
    return rule->kind->weigh(rule->config, memory, update);
}

bool trib_rule_due(const struct trib_rule *rule, const struct trib_rule_memory *memory,
                   const struct trib_rule_state *state, uint64_t *wake_ms) {
    *wake_ms = UINT64_MAX;
    return memory->pending > 0 && rule->kind->due(rule->config, memory, state, wake_ms);
}

uint64_t trib_rule_needs(const struct trib_rule *rule, const struct trib_rule_state *state,
                         uint64_t *configured) {
    return rule->kind->needs(rule->config, state, configured);
}

float trib_rule_scale(const struct trib_rule *rule, const struct trib_rule_memory *memory) {
    if (trib_rule_form(rule) != TRIB_RULE_GATHERING) return 1.0f;
    if (!(memory->norm > 0.0)) return 0.0f; /* weights of 0 only: there is nothing to take a mean of */
    return (float)(rule->kind->rate(rule->config) / memory->norm);
}
