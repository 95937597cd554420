#include "shared/rules/rule.h"

#include "shared/base/alloc.h"
#include "shared/kernels/kernels.h"
#include "shared/rules/kind.h"

#include <float.h>
#include <string.h>

struct stage {
    const struct trib_rule_row *row;
    void *config; /* owned */
};

struct trib_rule {
    char spec[TRIB_RULE_MAX_SPEC + 1];
    size_t count;
    struct stage stages[TRIB_RULE_MAX_STAGES];
    const struct stage *bucket, *combiner, *base, *optimiser; /* among them, or NULL */
};

/* ---- specs ---- */

/* The end of the stage that begins at `text`: a bar outside parentheses, or the end. */
static size_t stage_end(const char *text, size_t bytes) {
    size_t depth = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '|' && depth == 0) return i;
        if (text[i] == '(') depth++;
        if (text[i] == ')' && depth > 0) depth--;
    }
    return bytes;
}

static enum trib_status parse_stage(struct trib_rule *rule, const char *text, size_t bytes,
                                    enum trib_tier tier, struct trib_error *err) {
    size_t count, index = 0, room = 0;
    const struct trib_rule_row *const *rows = trib_rule_rows(&count);
    for (size_t i = 0; i < count; i++)
        if (rows[i]->kind->config_bytes > room) room = rows[i]->kind->config_bytes;
    struct stage *stage = &rule->stages[rule->count];
    stage->config = trib_alloc(room);
    if (stage->config == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a rule");
    enum trib_status status =
        trib_variant_read(rows, count, "rule", text, bytes, &index, stage->config, room, err);
    stage->row = rows[index];
    TRIB_ASSERT(strcmp(stage->row->kind->name, stage->row->name) == 0);
    rule->count++; /* from here on it is released with the rule */
    if (status == TRIB_OK && stage->row->cloud_only && tier != TRIB_TIER_CLOUD)
        return trib_fail(err, TRIB_INVALID, "%s is for the cloud: an edge's model follows its parent's",
                         stage->row->name);
    if (status == TRIB_OK && stage->row->kind->prepare != NULL)
        status = stage->row->kind->prepare(stage->config, tier, err);
    return status;
}

/* Says which stage it was, where there are several. */
static enum trib_status at_stage(enum trib_status status, size_t number, const char *text, size_t bytes,
                                 struct trib_error *err) {
    if (status == TRIB_OK || err == NULL) return status;
    for (; bytes > 0 && *text == ' '; text++) bytes--;
    while (bytes > 0 && text[bytes - 1] == ' ') bytes--;
    struct trib_error inner = *err;
    return trib_fail(err, status, "stage %zu, \"%.*s\": %s", number, bytes < 60 ? (int)bytes : 60, text,
                     inner.text);
}

static enum trib_status parse_stages(struct trib_rule *rule, const char *spec, size_t bytes,
                                     enum trib_tier tier, struct trib_error *err) {
    bool several = stage_end(spec, bytes) < bytes;
    for (size_t at = 0, number = 1;; number++) {
        size_t length = stage_end(spec + at, bytes - at);
        if (rule->count == TRIB_RULE_MAX_STAGES)
            return trib_fail(err, TRIB_LIMIT, "a rule has at most %d stages", TRIB_RULE_MAX_STAGES);
        enum trib_status status = parse_stage(rule, spec + at, length, tier, err);
        if (status != TRIB_OK) return several ? at_stage(status, number, spec + at, length, err) : status;
        at += length;
        if (at == bytes) return TRIB_OK;
        at++;
    }
}

/* ---- do the stages fit each other? ---- */

static const char *const order = "gates, bucket, combiner, base, optimiser";

static enum trib_status put_in_order(struct trib_rule *rule, struct trib_error *err) {
    const struct stage **places[TRIB_RULE_STAGES] = {NULL, &rule->bucket, &rule->combiner, &rule->base,
                                                     &rule->optimiser};
    for (size_t i = 0; i < rule->count; i++) {
        const struct trib_rule_row *row = rule->stages[i].row,
                                   *before = i > 0 ? rule->stages[i - 1].row : NULL;
        if (before != NULL && before->stage > row->stage)
            return trib_fail(err, TRIB_INVALID,
                             "stage %zu, %s, is a %s and stands behind %s, a %s; the order is %s", i + 1,
                             row->name, trib_rule_stage_name(row->stage), before->name,
                             trib_rule_stage_name(before->stage), order);
        if (before != NULL && before->stage == row->stage && row->stage != TRIB_RULE_GATE)
            return trib_fail(err, TRIB_INVALID, "stage %zu, %s, is a second %s beside %s; there may be one",
                             i + 1, row->name, trib_rule_stage_name(row->stage), before->name);
        if (row->stage != TRIB_RULE_GATE) *places[row->stage] = &rule->stages[i];
    }
    return TRIB_OK;
}

static const struct trib_rule_base *base_of(const struct trib_rule *rule) {
    return rule->base->row->kind->base;
}

static double rate_of(const struct trib_rule *rule) {
    return base_of(rule)->rate != NULL ? base_of(rule)->rate(rule->base->config) : 1.0;
}

static uint64_t needs_of(const struct trib_rule *rule, const struct trib_rule_state *state,
                         uint64_t *configured) {
    *configured = 1;
    return base_of(rule)->needs != NULL ? base_of(rule)->needs(rule->base->config, state, configured) : 1;
}

static bool base_due(const struct trib_rule *rule, const struct trib_rule_memory *memory,
                     const struct trib_rule_state *state, uint64_t *wake_ms) {
    return base_of(rule)->due == NULL || base_of(rule)->due(rule->base->config, memory, state, wake_ms);
}

static uint64_t bucket_of(const struct trib_rule *rule) {
    return rule->bucket != NULL ? rule->bucket->row->kind->bucket(rule->bucket->config) : 1;
}

/* Rows that the combiner sees of so many updates. */
static uint64_t rows_of(const struct trib_rule *rule, uint64_t updates) {
    uint64_t s = bucket_of(rule);
    return updates / s + (updates % s != 0);
}

static uint64_t least_rows(const struct trib_rule *rule) {
    return rule->combiner != NULL ? rule->combiner->row->kind->combiner->least(rule->combiner->config) : 1;
}

static enum trib_status check_combiner(const struct trib_rule *rule, enum trib_rule_form form,
                                       struct trib_error *err) {
    struct trib_rule_state nobody = {0};
    uint64_t configured = 0, least = least_rows(rule);
    const char *name = rule->combiner->row->name, *base = rule->base->row->name;
    if (form != TRIB_RULE_GATHERING)
        return trib_fail(err, TRIB_INVALID,
                         "%s sees several updates at once, and %s gathers none; take fedbuff or fedavg", name,
                         base);
    if (base_of(rule)->scale != NULL) /* what a combiner makes of updates is not scaled */
        return trib_fail(
            err, TRIB_INVALID,
            "%s takes the place of a mean, and %s makes a sum of its own; take fedbuff or fedavg", name,
            base);
    if (least > TRIB_RULE_ROWS)
        return trib_fail(err, TRIB_INVALID, "%s needs at least %llu rows, and is given at most %d", name,
                         (unsigned long long)least, TRIB_RULE_ROWS);
    (void)needs_of(rule, &nobody, &configured);
    if (rows_of(rule, configured) >= least) return TRIB_OK;
    uint64_t s = bucket_of(rule);
    if (s > 1)
        return trib_fail(
            err, TRIB_INVALID,
            "%s needs at least %llu rows, %s gives it %llu updates in buckets of %llu; let it commit "
            "at %llu or more",
            name, (unsigned long long)least, base, (unsigned long long)configured, (unsigned long long)s,
            (unsigned long long)((least - 1) * s + 1));
    return trib_fail(
        err, TRIB_INVALID, "%s needs at least %llu updates, %s gives it %llu; let it commit at %llu or more",
        name, (unsigned long long)least, base, (unsigned long long)configured, (unsigned long long)least);
}

/* The stage that compares updates with the last step; NULL: there is none. */
static const struct stage *looks_back(const struct trib_rule *rule) {
    for (size_t i = 0; i < rule->count; i++) {
        const struct trib_rule_kind *kind = rule->stages[i].row->kind;
        if (kind->gate != NULL && kind->gate->needs_step) return &rule->stages[i];
        if (kind->combiner != NULL && kind->combiner->needs_step) return &rule->stages[i];
    }
    return NULL;
}

static enum trib_status check(const struct trib_rule *rule, struct trib_error *err) {
    if (rule->base == NULL)
        return trib_fail(err, TRIB_INVALID,
                         "%s is a %s: a base is missing, which weighs updates and says when to commit, as in "
                         "\"%s | fedbuff(k=10)\"; the order is %s",
                         rule->stages[0].row->name, trib_rule_stage_name(rule->stages[0].row->stage),
                         rule->stages[0].row->name, order);
    enum trib_rule_form form = base_of(rule)->form(rule->base->config);
    if (rule->bucket != NULL && rule->combiner == NULL)
        return trib_fail(
            err, TRIB_INVALID,
            "bucket has no combiner behind it, and a mean of means is the mean; drop it, or add one, as "
            "in \"bucket(2) | median | fedbuff(k=10)\"");
    if (base_of(rule)->sums && rule->count > 1)
        return trib_fail(err, TRIB_INVALID, "%s adds updates as they are: no other stage can stand beside it",
                         rule->base->row->name);
    if (form == TRIB_RULE_TIERS && rule->optimiser != NULL)
        return trib_fail(err, TRIB_INVALID, "%s makes a model and no step, which %s could work on",
                         rule->base->row->name, rule->optimiser->row->name);
    if (form == TRIB_RULE_TIERS && looks_back(rule) != NULL)
        return trib_fail(
            err, TRIB_INVALID,
            "%s compares updates with the last step, and a step of %s is tiers that change weight; "
            "take norm_clip or norm_filter",
            looks_back(rule)->row->name, rule->base->row->name);
    return rule->combiner != NULL ? check_combiner(rule, form, err) : TRIB_OK;
}

static enum trib_status name_rule(struct trib_rule *rule, struct trib_error *err) {
    struct trib_buf text;
    trib_buf_init(&text, TRIB_RULE_MAX_SPEC);
    for (size_t i = 0; i < rule->count; i++) {
        if (i > 0) trib_buf_append(&text, " | ", 3);
        trib_variant_print(rule->stages[i].row, rule->stages[i].config, &text);
    }
    enum trib_status status = TRIB_OK;
    if (text.failed)
        status = trib_fail(err, TRIB_NOMEM, "no memory for the name of a rule, or longer than %d characters",
                           TRIB_RULE_MAX_SPEC);
    else
        memcpy(rule->spec, text.data, text.size);
    trib_buf_release(&text);
    return status;
}

enum trib_status trib_rule_new(const char *spec, enum trib_tier tier, struct trib_rule **out,
                               struct trib_error *err) {
    struct trib_error own;
    struct trib_rule *rule = trib_alloc(sizeof *rule);
    *out = NULL;
    if (err == NULL) err = &own;
    if (rule == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a rule");
    size_t bytes = strnlen(spec, TRIB_RULE_MAX_SPEC + 1);
    enum trib_status status = TRIB_OK;
    if (bytes > TRIB_RULE_MAX_SPEC)
        status = trib_fail(err, TRIB_LIMIT, "the rule \"%.20s...\" is longer than %d characters", spec,
                           TRIB_RULE_MAX_SPEC);
    if (status == TRIB_OK) status = parse_stages(rule, spec, bytes, tier, err);
    if (status == TRIB_OK) status = put_in_order(rule, err);
    if (status == TRIB_OK) status = check(rule, err);
    if (status == TRIB_OK && rule->optimiser != NULL && rule->optimiser->row->kind->optimiser->bind != NULL)
        rule->optimiser->row->kind->optimiser->bind(rule->optimiser->config, base_of(rule)->synchronous);
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
    for (size_t i = 0; i < r->count; i++) {
        const struct trib_rule_row *row = r->stages[i].row;
        if (row->kind->release != NULL) row->kind->release(r->stages[i].config);
        trib_options_release(row->params, row->param_count, r->stages[i].config);
        trib_free(r->stages[i].config);
    }
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

/* ---- what it is ---- */

const char *trib_rule_spec(const struct trib_rule *rule) {
    return rule->spec;
}

enum trib_rule_form trib_rule_form(const struct trib_rule *rule) {
    enum trib_rule_form form = base_of(rule)->form(rule->base->config);
    if (rule->combiner != NULL) return TRIB_RULE_BUFFERED;
    return form == TRIB_RULE_IMMEDIATE && rule->optimiser != NULL ? TRIB_RULE_GATHERING : form;
}

enum trib_rule_patience trib_rule_patience(const struct trib_rule *rule) {
    const struct trib_rule_base *base = base_of(rule);
    enum trib_rule_patience patience =
        base->patience != NULL ? base->patience(rule->base->config) : TRIB_RULE_WAITS_NOT;
    bool some = patience == TRIB_RULE_WAITS_NOT && trib_rule_least(rule) > 1; /* whatever the deadline */
    return some ? TRIB_RULE_WAITS_FOR_SOME : patience;
}

bool trib_rule_synchronous(const struct trib_rule *rule) {
    return base_of(rule)->synchronous;
}

bool trib_rule_counts_idle(const struct trib_rule *rule) {
    return base_of(rule)->all;
}

bool trib_rule_needs_bases(const struct trib_rule *rule) {
    enum trib_rule_form form = trib_rule_form(rule);
    return form == TRIB_RULE_MIXING || form == TRIB_RULE_TIERS;
}

size_t trib_rule_tiers(const struct trib_rule *rule) {
    const struct trib_rule_base *base = base_of(rule);
    return base->tiers != NULL ? base->tiers(rule->base->config) : 0;
}

struct trib_rule_series trib_rule_series(const struct trib_rule *rule) {
    const struct trib_rule_base *base = base_of(rule);
    return base->series != NULL ? base->series(rule->base->config) : (struct trib_rule_series){0};
}

bool trib_rule_at_once(const struct trib_rule *rule) {
    enum trib_rule_form form = trib_rule_form(rule);
    return rule->optimiser == NULL && (form == TRIB_RULE_IMMEDIATE || form == TRIB_RULE_MIXING);
}

bool trib_rule_needs_step(const struct trib_rule *rule) {
    return looks_back(rule) != NULL;
}

bool trib_rule_needs_effect(const struct trib_rule *rule) {
    for (size_t i = 0; i < rule->count; i++) {
        const struct trib_rule_gate *gate = rule->stages[i].row->kind->gate;
        if (gate != NULL && gate->needs_effect != NULL && gate->needs_effect(rule->stages[i].config))
            return true;
    }
    return false;
}

bool trib_rule_sums(const struct trib_rule *rule) {
    return base_of(rule)->sums;
}

bool trib_rule_optimises(const struct trib_rule *rule) {
    return rule->optimiser != NULL;
}

size_t trib_rule_moments(const struct trib_rule *rule) {
    const struct stage *o = rule->optimiser;
    return o != NULL ? o->row->kind->optimiser->moments(o->config) : 0;
}

uint64_t trib_rule_least(const struct trib_rule *rule) {
    return (least_rows(rule) - 1) * bucket_of(rule) + 1;
}

const char *trib_rule_warning(const struct trib_rule *rule) {
    const struct stage *o = rule->optimiser;
    if (o == NULL || o->row->kind->optimiser->warning == NULL) return NULL;
    return o->row->kind->optimiser->warning(o->config, base_of(rule)->synchronous);
}

/* ---- decisions ---- */

struct trib_rule_weight trib_rule_weigh(const struct trib_rule *rule, const struct trib_rule_memory *memory,
                                        const struct trib_rule_update *update) {
    double factor = 1.0;
    enum trib_rule_refusal refusal = TRIB_RULE_TAKEN;
    for (size_t i = 0; i < rule->count && refusal == TRIB_RULE_TAKEN; i++) {
        const struct trib_rule_gate *gate = rule->stages[i].row->kind->gate;
        if (gate != NULL) factor *= gate->pass(rule->stages[i].config, memory, update, &refusal);
    }
    struct trib_rule_weight weight = base_of(rule)->weigh(rule->base->config, memory, update);
    if (refusal != TRIB_RULE_TAKEN)
        return (struct trib_rule_weight){.factor = weight.factor, .refusal = refusal};
    if (factor != 1.0) weight.applied = (float)((double)weight.applied * factor);
    return weight;
}

bool trib_rule_takes_whole(const struct trib_rule *rule) {
    if (base_of(rule)->sums) return true;
    if (rule->count > 1 || trib_rule_form(rule) != TRIB_RULE_IMMEDIATE) return false;
    /* One that whatever damps would damp: a small child's, very late, after one that was not. */
    const struct trib_rule_memory memory = {.recent = {1.0f}, .recent_count = 1};
    const struct trib_rule_update update = {
        .staleness = 1000000000, .weight = 1.0, .share = 0.01, .steps = 1.0, .commits = 1000000};
    return trib_rule_weigh(rule, &memory, &update).applied == 1.0f;
}

void trib_rule_note_peer(const struct trib_rule *rule, const struct trib_rule_memory *memory,
                         struct trib_rule_peer *peer, const struct trib_rule_update *update,
                         enum trib_rule_refusal refusal) {
    for (size_t i = 0; i < rule->count; i++) {
        const struct trib_rule_gate *gate = rule->stages[i].row->kind->gate;
        if (gate != NULL && gate->note != NULL)
            gate->note(rule->stages[i].config, memory, peer, update, refusal);
    }
}

bool trib_rule_due(const struct trib_rule *rule, const struct trib_rule_memory *memory,
                   const struct trib_rule_state *state, uint64_t *wake_ms) {
    *wake_ms = UINT64_MAX;
    if (memory->pending == 0) return false;
    if (rule->combiner != NULL && rows_of(rule, memory->pending) >= TRIB_RULE_ROWS) return true;
    if (!base_due(rule, memory, state, wake_ms)) return false;
    return memory->pending >= trib_rule_least(rule);
}

bool trib_rule_short(const struct trib_rule *rule, const struct trib_rule_memory *memory,
                     const struct trib_rule_state *state) {
    uint64_t wake_ms;
    return memory->pending > 0 && memory->pending < trib_rule_least(rule) &&
           base_due(rule, memory, state, &wake_ms);
}

uint64_t trib_rule_needs(const struct trib_rule *rule, const struct trib_rule_state *state,
                         uint64_t *configured) {
    uint64_t needs = needs_of(rule, state, configured);
    uint64_t least = trib_rule_least(rule);
    return needs < least ? least : needs;
}

static double scale_of(const struct trib_rule *rule, const struct trib_rule_memory *memory) {
    const struct trib_rule_base *base = base_of(rule);
    enum trib_rule_form form = base->form(rule->base->config);
    if (rule->combiner != NULL) return rate_of(rule);
    if (base->scale != NULL) return base->scale(rule->base->config, memory);
    if (form == TRIB_RULE_IMMEDIATE || form == TRIB_RULE_MIXING || form == TRIB_RULE_TIERS) return 1.0;
    if (!(memory->norm > 0.0)) return 0.0; /* weights of 0 only: there is nothing to take a mean of */
    return rate_of(rule) / memory->norm;
}

/* No record holds infinity. */
float trib_rule_scale(const struct trib_rule *rule, const struct trib_rule_memory *memory) {
    double scale = scale_of(rule, memory);
    return scale < (double)FLT_MAX ? (float)scale : FLT_MAX;
}

/* ---- vectors ---- */

enum trib_status trib_rule_combine(const struct trib_rule *rule, const struct trib_rule_rows *rows,
                                   float *out, struct trib_error *err) {
    _Static_assert((int)TRIB_RULE_ROWS == (int)TRIB_ROWS_MAX, "as many as the kernels take");
    TRIB_ASSERT(rule->combiner != NULL);
    if (rows->count < trib_rule_least(rule))
        return trib_fail(err, TRIB_INVALID, "%s needs %llu updates and is given %zu",
                         rule->combiner->row->name, (unsigned long long)trib_rule_least(rule), rows->count);
    return trib_combine(rule->combiner->row->kind->combiner, rule->combiner->config, bucket_of(rule), rows,
                        out, err);
}

void trib_rule_optimise(const struct trib_rule *rule, const struct trib_rule_step *step,
                        float *const *moments, const float *gradient, float scale, float *own, size_t n) {
    TRIB_ASSERT(rule->optimiser != NULL);
    rule->optimiser->row->kind->optimiser->step(rule->optimiser->config, step, moments, gradient, scale, own,
                                                n);
}
