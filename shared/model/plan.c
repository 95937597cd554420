#include "shared/model/plan.h"

#include "shared/model/plan_table.h"

#include <string.h>

enum trib_status trib_plan_check_spec(const char *value, struct trib_error *err) {
    const char *name, *args;
    size_t name_bytes, args_bytes;
    return trib_spec_split(value, strlen(value), &name, &name_bytes, &args, &args_bytes, err);
}

const struct trib_option trib_plan_options[] = {TRIB_PLAN_ROWS("", (size_t)0)};
const size_t trib_plan_option_count = sizeof trib_plan_options / sizeof *trib_plan_options;

const char *const trib_plan_algorithms[] = {"sgd", "scaffold", "area", NULL};

enum trib_algorithm trib_plan_algorithm(const struct trib_plan *plan) {
    size_t i = 0;
    while (trib_plan_algorithms[i + 1] != NULL && strcmp(trib_plan_algorithms[i], plan->algorithm) != 0) i++;
    return (enum trib_algorithm)i;
}

static bool is_rule(const char *spec, const char *name) {
    size_t length = strlen(name);
    return strncmp(spec, name, length) == 0 && (spec[length] == 0 || spec[length] == '(');
}

/* Momentum at two tiers adds up; and what an elastic edge sends it has given up, all of it. */
static enum trib_status check_rules(const struct trib_plan *plan, struct trib_error *err) {
    struct trib_rule *edge = NULL, *cloud = NULL;
    enum trib_status status = trib_rule_new(plan->edge_rule, TRIB_TIER_EDGE, &edge, err);
    if (status == TRIB_OK) status = trib_rule_new(plan->cloud_rule, TRIB_TIER_CLOUD, &cloud, err);
    if (status == TRIB_OK && trib_rule_optimises(edge) && trib_rule_optimises(cloud))
        status =
            trib_fail(err, TRIB_INVALID,
                      "edge.rule and cloud.rule both have an optimiser (\"%.100s\", \"%.100s\"): what one "
                      "adds up the other adds up again; drop one of them",
                      trib_rule_spec(edge), trib_rule_spec(cloud));
    if (status == TRIB_OK && plan->elastic > 0.0 && !trib_rule_takes_whole(cloud))
        status = trib_fail(err, TRIB_INVALID,
                           "forward.elastic is %g and cloud.rule (\"%.200s\") takes a part or a mean of what "
                           "edges send: an edge gives it up, and the cloud must take all of it; set "
                           "cloud.rule: fedasync(share=no, staleness=constant)",
                           plan->elastic, trib_rule_spec(cloud));
    trib_rule_free(&edge);
    trib_rule_free(&cloud);
    return status;
}

enum trib_status trib_plan_check(const struct trib_plan *plan, struct trib_error *err) {
    bool area = trib_plan_algorithm(plan) == TRIB_ALGORITHM_AREA;
    const char *specs[] = {plan->edge_rule, plan->cloud_rule}, *tiers[] = {"edge", "cloud"};
    for (size_t i = 0; i < 2; i++) {
        if (area && !is_rule(specs[i], "area"))
            return trib_fail(
                err, TRIB_INVALID,
                "train.algorithm is area and %s.rule is %s: what devices send then must be added up, "
                "neither averaged nor damped; set %s.rule: area",
                tiers[i], specs[i], tiers[i]);
        if (!area && is_rule(specs[i], "area"))
            return trib_fail(
                err, TRIB_INVALID,
                "%s.rule is area and train.algorithm is %s: it adds up what devices send, which must "
                "be their share; set train.algorithm: area",
                tiers[i], plan->algorithm);
    }
    if (plan->elastic > 0.0 && trib_plan_algorithm(plan) != TRIB_ALGORITHM_SGD)
        return trib_fail(
            err, TRIB_INVALID,
            "forward.elastic is for train.algorithm sgd alone, found %s: it forwards a part of what "
            "must be added up whole",
            plan->algorithm);
    if (plan->worker_momentum > 0.0 && trib_plan_algorithm(plan) != TRIB_ALGORITHM_SGD)
        return trib_fail(
            err, TRIB_INVALID,
            "train.worker_momentum is for train.algorithm sgd alone, found %s: what a device sends "
            "must be what its memory says that it sent; take train.momentum or none",
            plan->algorithm);
    return check_rules(plan, err);
}

static bool is_known(const char *line, size_t bytes) {
    const char *colon = memchr(line, ':', bytes);
    size_t length = colon != NULL ? (size_t)(colon - line) : bytes;
    for (size_t i = 0; i < trib_plan_option_count; i++)
        if (strlen(trib_plan_options[i].name) == length &&
            memcmp(trib_plan_options[i].name, line, length) == 0)
            return true;
    return false;
}

enum trib_status trib_plan_read(const char *text, size_t bytes, const char *origin, struct trib_plan *plan,
                                struct trib_error *err) {
    struct trib_buf known;
    trib_buf_init(&known, 0);
    for (size_t at = 0; at < bytes;) {
        const char *end = memchr(text + at, '\n', bytes - at);
        size_t length = end != NULL ? (size_t)(end - (text + at)) + 1 : bytes - at;
        if (is_known(text + at, length)) trib_buf_append(&known, text + at, length);
        at += length;
    }
    enum trib_status status =
        known.failed ? trib_fail(err, TRIB_NOMEM, "out of memory for the plan") : TRIB_OK;
    if (status == TRIB_OK)
        status = trib_options_defaults(trib_plan_options, trib_plan_option_count, plan, err);
    if (status == TRIB_OK)
        status = trib_options_parse(trib_plan_options, trib_plan_option_count, plan, trib_buf_text(&known),
                                    known.size, origin, err);
    trib_buf_release(&known);
    return status;
}

static enum trib_status check_codec(const char *spec, const struct trib_schema *schema,
                                    struct trib_error *err) {
    struct trib_ladder *ladder = NULL;
    enum trib_status status = trib_ladder_new(spec, schema, &ladder, err);
    trib_ladder_free(&ladder);
    return status;
}

enum trib_status trib_plan_check_codecs(const struct trib_plan *plan, const struct trib_schema *schema,
                                        struct trib_error *err) {
    const struct {
        const char *option, *spec;
    } codecs[] = {{"codec.up", plan->codec_up},
                  {"codec.down", plan->codec_down},
                  {"codec.forward", plan->codec_forward},
                  {"codec.global", plan->codec_global}};
    for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++) {
        struct trib_error inner = {.status = TRIB_OK};
        enum trib_status status = check_codec(codecs[i].spec, schema, &inner);
        if (status != TRIB_OK) return trib_fail(err, status, "plan.%s: %s", codecs[i].option, inner.text);
    }
    return TRIB_OK;
}
