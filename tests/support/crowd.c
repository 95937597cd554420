#include "tests/support/crowd.h"

#include "tests/support/cmocka.h"

#include <stdio.h>
#include <string.h>

const char *crowd_tier_name(enum trib_tier tier) {
    return tier == TRIB_TIER_CLOUD ? "cloud" : "edge";
}

/* ---- subjects ---- */

/* The `k`-th value to try of a parameter; NULL: there are no more. */
static const char *value_of(const struct trib_option *param, size_t k) {
    static const char *const switches[] = {"true", "false"};
    size_t count = 0, at = 0;
    if (param->type == TRIB_OPT_CHOICE) {
        while (at < k && param->choices[at] != NULL) at++;
        return param->choices[at];
    }
    if (param->type == TRIB_OPT_BOOL) return k < 2 ? switches[k] : NULL;
    if (param->check == trib_staleness_check_spec) {
        const struct trib_rule_row *const *rows = trib_staleness_rows(&count);
        return k < count ? rows[k]->example : NULL;
    }
    return k == 0 && strcmp(param->name, "lr") == 0 ? "0.5" : NULL;
}

/* The stage alone. */
static bool stage_of(const struct trib_rule_row *row, size_t which, char *out, size_t room) {
    if (which < 2) {
        (void)snprintf(out, room, "%s", which == 0 ? row->name : row->example);
        return true;
    }
    which -= 2;
    for (size_t p = 0; p < row->param_count; p++) {
        const char *value;
        for (size_t k = 0; (value = value_of(&row->params[p], k)) != NULL; k++) {
            if (which-- > 0) continue;
            (void)snprintf(out, room, "%s(%s=%s)", row->name, row->params[p].name, value);
            return true;
        }
    }
    return false;
}

/* A base that commits `k` together, where it can be told so. */
static void base_of(const struct trib_rule_row *row, size_t k, char *out, size_t room) {
    bool counts = false;
    for (size_t p = 0; p < row->param_count; p++) counts = counts || strcmp(row->params[p].name, "k") == 0;
    if (counts)
        (void)snprintf(out, room, "%s(k=%zu)", row->name, k);
    else
        (void)snprintf(out, room, "%s", row->name);
}

/* The `at`-th row of that stage; NULL: there are no more. */
static const struct trib_rule_row *row_of(enum trib_rule_stage stage, size_t at) {
    size_t count;
    const struct trib_rule_row *const *rows = trib_rule_rows(&count);
    for (size_t i = 0; i < count; i++)
        if (rows[i]->stage == stage && at-- == 0) return rows[i];
    return NULL;
}

/* In the `company`-th least company, which makes commits of `k` where it can; false: there is none more.
 * Bases are alone, a bucket is before each combiner in a buffer, and all else is with each base. */
static bool join_company(const struct trib_rule_row *row, const char *stage, size_t company, size_t k,
                         char spec[CROWD_SPEC]) {
    char base[64];
    int used = 0;
    const struct trib_rule_row *other =
        row_of(row->stage == TRIB_RULE_BUCKET ? TRIB_RULE_COMBINER : TRIB_RULE_BASE, company);
    if (other == NULL || (row->stage == TRIB_RULE_BASE && company > 0)) return false;
    base_of(other, k, base, sizeof base);
    switch (row->stage) {
    case TRIB_RULE_BASE: used = snprintf(spec, CROWD_SPEC, "%s", stage); break;
    case TRIB_RULE_OPTIMISER: used = snprintf(spec, CROWD_SPEC, "%s | %s", base, stage); break;
    case TRIB_RULE_BUCKET:
        used = snprintf(spec, CROWD_SPEC, "%s | %s | fedbuff(k=%zu)", stage, other->example, k);
        break;
    case TRIB_RULE_GATE:
    case TRIB_RULE_COMBINER: used = snprintf(spec, CROWD_SPEC, "%s | %s", stage, base); break;
    case TRIB_RULE_STAGES: break;
    }
    assert_true(used > 0 && used < CROWD_SPEC);
    return true;
}

/* How many updates make its commit. */
static size_t count_of(const struct crowd_subject *s) {
    enum { USUAL = 5 };
    const struct trib_rule_state crowded = {.active = 1000000};
    uint64_t configured, least = trib_rule_least(s->rule);
    uint64_t needed = trib_rule_needs(s->rule, &crowded, &configured);
    if (configured > 1) return configured;
    if (needed == 1 && trib_rule_form(s->rule) == TRIB_RULE_GATHERING) return 1; /* each is a commit */
    return least > USUAL ? least : USUAL;
}

bool crowd_subject(const struct trib_rule_row *row, enum trib_tier tier, size_t shape, size_t company,
                   struct crowd_subject *s) {
    enum { MANY = 64, USUAL = 5 };
    char stage[CROWD_SPEC];
    *s = (struct crowd_subject){.row = row, .tier = tier};
    if ((row->cloud_only && tier != TRIB_TIER_CLOUD) || !stage_of(row, shape, stage, sizeof stage))
        return false;
    if (!join_company(row, stage, company, MANY, s->spec)) return false; /* to be asked for its least */
    if (trib_rule_new(s->spec, tier, &s->rule, &s->apart) != TRIB_OK) return true;
    uint64_t least = trib_rule_least(s->rule);
    trib_rule_free(&s->rule);
    (void)join_company(row, stage, company, least > USUAL ? least : USUAL, s->spec);
    if (trib_rule_new(s->spec, tier, &s->rule, &s->apart) != TRIB_OK) return true;
    s->count = count_of(s);
    if (s->count > CROWD_MOST)
        fail_msg("%s: it commits at %zu, of %zu", s->spec, s->count, (size_t)CROWD_MOST);
    return true;
}

/* ---- participants ---- */

/* The first message of that type that goes to this participant after a message of its; or NULL. */
static const struct trib_msg *ask(struct crowd *c, size_t who, const struct trib_msg *msg,
                                  struct trib_blob *payload, uint8_t type) {
    struct role_node *node = &c->node;
    size_t from = node->sent_count;
    role_deliver(node, who + 1, NULL, msg, payload);
    for (size_t i = from; i < node->sent_count; i++)
        if (node->sent[i]->route == who + 1 && node->sent[i]->msg.type == type) return &node->sent[i]->msg;
    return NULL;
}

void crowd_pull(struct crowd *c, size_t who) {
    struct trib_msg msg = role_pull(c->sessions[who], NULL);
    const struct trib_msg *model = NULL;
    for (int i = 0; i < 3 && model == NULL; i++) {
        model = ask(c, who, &msg, NULL, TRIB_MODEL);
        if (model == NULL) role_wait(&c->node, 10);
    }
    if (model == NULL)
        fail_msg("%s: no model for %zu", c->of->spec, who);
    else
        c->bases[who] = model->to_version;
}

void crowd_gather(struct crowd *c, const struct crowd_subject *s, size_t count, uint64_t cap) {
    char plan[CROWD_SPEC + 128];
    bool cloud = s->tier == TRIB_TIER_CLOUD;
    *c = (struct crowd){.of = s, .count = count};
    (void)snprintf(plan, sizeof plan,
                   "%s.rule: %s\nstaleness_cap: %llu\npublish.global_interval: 0\npublish.interval: 0\n",
                   crowd_tier_name(s->tier), s->spec, (unsigned long long)cap);
    role_parent(&c->node, (struct role_options){.role = cloud ? TRIB_ROLE_CLOUD : TRIB_ROLE_EDGE,
                                                .plan = plan,
                                                .with_seed = !cloud});
    c->node.state->limits.ring_bytes = 65536; /* for rules that go back to bases: all that there will be */
    for (size_t i = 0; i < count; i++) {
        const char name[] = {(char)('a' + (int)i), 0};
        struct trib_msg hello = role_hello(name, 11 + i, 1);
        const struct trib_msg *welcome = ask(c, i, &hello, NULL, TRIB_WELCOME);
        assert_non_null(welcome);
        c->sessions[i] = welcome->session;
    }
    for (size_t i = 0; i < count; i++) crowd_pull(c, i);
}

void crowd_scatter(struct crowd *c) {
    role_rebuild(&c->node);
    role_stop(&c->node);
}

const struct trib_msg *crowd_push_number(struct crowd *c, size_t who, uint64_t number,
                                         const struct crowd_update *u) {
    struct trib_msg msg = role_push(c->sessions[who], number, c->bases[who]);
    msg.weight = msg.samples = u->weight;
    msg.steps = u->steps;
    struct trib_blob *payload = trib_blob_copy(u->values, sizeof u->values);
    assert_non_null(payload);
    const struct trib_msg *ack = ask(c, who, &msg, payload, TRIB_ACK);
    trib_blob_unref(&payload);
    if (ack == NULL) fail_msg("%s: no verdict for %zu", c->of->spec, who);
    return ack;
}

const struct trib_msg *crowd_push(struct crowd *c, size_t who, const struct crowd_update *u) {
    return crowd_push_number(c, who, ++c->numbers[who], u);
}
