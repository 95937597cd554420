/* Gates: what an update looks like decides how much of it is let in. The norm is of what is averaged of it,
 * the cosine is with the step of the last commit. Sources: norm bounding: Sun et al. 2019 (arXiv 1911.07963);
 * filters by direction: Xie, Koyejo, Gupta 2020 (Zeno++, arXiv 1903.07020), with the last step in the place
 * of a gradient of the server's own. */
#include "shared/base/number.h"
#include "shared/rules/kind.h"

#include <math.h>
#include <string.h>

/* ---- norm_clip ---- */

struct clip {
    char *tau;
    double radius; /* made by prepare; 0: auto */
};

enum trib_status trib_radius_check(const char *value, struct trib_error *err) {
    double tau;
    if (strcmp(value, "auto") == 0) return TRIB_OK;
    if (trib_parse_f64(value, strlen(value), &tau) && tau > 0.0 && isfinite(tau)) return TRIB_OK;
    return trib_fail(err, TRIB_INVALID, "\"%s\" is no radius; allowed are auto and a number above 0", value);
}

double trib_radius_of(const char *value) {
    double radius = 0.0;
    if (strcmp(value, "auto") != 0) TRIB_ASSERT(trib_parse_f64(value, strlen(value), &radius));
    return radius;
}

static const struct trib_option clip_params[] = {
    {"tau", TRIB_OPT_STRING, offsetof(struct clip, tau), "auto", 0, 0, NULL, trib_radius_check,
     "the largest norm; auto: 1.5 times the median of the last 64 updates, from the fourth on"},
};

static enum trib_status clip_prepare(void *config, enum trib_tier tier, struct trib_error *err) {
    struct clip *c = config;
    (void)tier;
    (void)err;
    c->radius = trib_radius_of(c->tau);
    return TRIB_OK;
}

static double clip_pass(const void *config, const struct trib_rule_memory *memory,
                        const struct trib_rule_update *update, enum trib_rule_refusal *refusal) {
    const struct clip *c = config;
    double tau = c->radius > 0.0 ? c->radius : TRIB_RULE_AUTO_RADIUS * trib_rule_usual_norm(memory);
    (void)refusal;
    return tau > 0.0 && update->norm > tau ? tau / update->norm : 1.0;
}

static const struct trib_rule_gate clip = {.pass = clip_pass};
static const struct trib_rule_kind clip_kind = {
    .name = "norm_clip", .config_bytes = sizeof(struct clip), .prepare = clip_prepare, .gate = &clip};
const struct trib_rule_row trib_rule_norm_clip = {.name = "norm_clip",
                                                  .summary = "an update longer than tau is shortened to it",
                                                  .formula = "w = w min(1, tau / |F|)",
                                                  .source = "Sun et al. 2019, arXiv 1911.07963",
                                                  .memory = "64 norms",
                                                  .example = "norm_clip(tau=auto)",
                                                  .stage = TRIB_RULE_GATE,
                                                  TRIB_PARAMS(clip_params),
                                                  .kind = &clip_kind};

/* ---- norm_filter ---- */

struct filter {
    double factor;
};

static const struct trib_option filter_params[] = {
    {"factor", TRIB_OPT_F64, offsetof(struct filter, factor), "3", 1, 1e6, NULL, NULL,
     "an update longer than so many times the median of the last 64 is refused, from the fourth on"},
};

/* Norms of refused updates count for the median too: where most updates have become longer it follows. */
static double filter_pass(const void *config, const struct trib_rule_memory *memory,
                          const struct trib_rule_update *update, enum trib_rule_refusal *refusal) {
    double usual = trib_rule_usual_norm(memory);
    if (usual > 0.0 && update->norm > ((const struct filter *)config)->factor * usual)
        *refusal = TRIB_RULE_NORM;
    return 1.0;
}

static const struct trib_rule_gate filter = {.pass = filter_pass};
static const struct trib_rule_kind filter_kind = {
    .name = "norm_filter", .config_bytes = sizeof(struct filter), .gate = &filter};
const struct trib_rule_row trib_rule_norm_filter = {
    .name = "norm_filter",
    .summary = "an update much longer than the others is refused",
    .formula = "refused if |F| > factor * median of |F_j|",
    .source = "Sun et al. 2019, arXiv 1911.07963, with refusal for clipping",
    .memory = "64 norms",
    .example = "norm_filter(factor=3)",
    .stage = TRIB_RULE_GATE,
    TRIB_PARAMS(filter_params),
    .kind = &filter_kind};

/* ---- cosine_filter ---- */

struct cosine {
    double min;
};

static const struct trib_option cosine_params[] = {
    {"min", TRIB_OPT_F64, offsetof(struct cosine, min), "-0.2", -1, 1, NULL, NULL,
     "an update whose cosine with the last commit's step is below this is refused; devices that hold "
     "different data point apart by themselves"},
};

static double cosine_pass(const void *config, const struct trib_rule_memory *memory,
                          const struct trib_rule_update *update, enum trib_rule_refusal *refusal) {
    (void)memory;
    bool known = update->cosine < 0.0 || update->cosine > 0.0;
    if (known && update->cosine < ((const struct cosine *)config)->min) *refusal = TRIB_RULE_DIRECTION;
    return 1.0;
}

static const struct trib_rule_gate cosine = {.needs_step = true, .pass = cosine_pass};
static const struct trib_rule_kind cosine_kind = {
    .name = "cosine_filter", .config_bytes = sizeof(struct cosine), .gate = &cosine};
const struct trib_rule_row trib_rule_cosine_filter = {
    .name = "cosine_filter",
    .summary = "an update that points away from the last commit's step is refused",
    .formula = "refused if cos(F, last step) < min",
    .source =
        "Xie, Koyejo, Gupta 2020 (Zeno++), arXiv 1903.07020, with the last step for the server's gradient",
    .memory = "the last step (one model; the cloud has it anyway)",
    .example = "cosine_filter(min=-0.2)",
    .stage = TRIB_RULE_GATE,
    TRIB_PARAMS(cosine_params),
    .kind = &cosine_kind};
