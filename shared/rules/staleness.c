/* The staleness functions: s(tau), 1 for a fresh update and less for one that was long under way. Sources:
 * constant, polynomial and hinge: Xie, Koyejo, Gupta, "Asynchronous Federated Optimization", 2019
 * (arXiv 1903.03934), section 5; a = 1/2 in the polynomial is FedBuff's (arXiv 2106.06639). */
#include "shared/base/alloc.h"
#include "shared/rules/kind.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* One struct for the whole family: each function reads the parameters that its table names. */
struct config {
    double a;
    double b;
    uint64_t cap;
};

struct trib_staleness {
    size_t index;
    struct config config;
    char spec[TRIB_RULE_MAX_SPEC + 1];
};

enum { CONSTANT, POLYNOMIAL, HINGE, LINEAR, EXPONENTIAL, FUNCTIONS };

static double constant(const struct config *config, double tau) {
    (void)config;
    (void)tau;
    return 1.0;
}

/* (1 + tau)^-a; 1 / (1 + tau^a), which some programs use under this name, is another function: 1/2 at tau 1.
 */
static double polynomial(const struct config *config, double tau) {
    return pow(1.0 + tau, -config->a);
}

/* The 1 in the denominator makes it continuous at b; without it s(b + 1) would be 1 / a, above 1 for a < 1.
 */
static double hinge(const struct config *config, double tau) {
    return tau <= config->b ? 1.0 : 1.0 / (config->a * (tau - config->b) + 1.0);
}

static double linear(const struct config *config, double tau) {
    double cap = (double)config->cap;
    return 1.0 - (tau < cap ? tau : cap) / (cap + 1.0);
}

static double exponential(const struct config *config, double tau) {
    return exp(-config->a * tau);
}

static double (*const functions[FUNCTIONS])(const struct config *config, double tau) = {
    [CONSTANT] = constant, [POLYNOMIAL] = polynomial,   [HINGE] = hinge,
    [LINEAR] = linear,     [EXPONENTIAL] = exponential,
};

static const struct trib_option polynomial_params[] = {
    {"a", TRIB_OPT_F64, offsetof(struct config, a), "0.5", 0, 10, NULL, NULL,
     "the exponent; 0 is no damping"},
};
static const struct trib_option hinge_params[] = {
    {"a", TRIB_OPT_F64, offsetof(struct config, a), "10", 0, 1000, NULL, NULL,
     "how steeply it falls beyond b"},
    {"b", TRIB_OPT_F64, offsetof(struct config, b), "4", 0, 1000000, NULL, NULL,
     "the staleness up to which nothing is damped"},
};
static const struct trib_option linear_params[] = {
    {"cap", TRIB_OPT_U64, offsetof(struct config, cap), "20", 0, 1000000, NULL, NULL,
     "the staleness from which it falls no further"},
};
static const struct trib_option exponential_params[] = {
    {"a", TRIB_OPT_F64, offsetof(struct config, a), "0.3", 0, 100, NULL, NULL, "the rate; 0 is no damping"},
};

#define PARAMS(table) table, sizeof table / sizeof *table, false, 0, NULL

static const struct trib_rule_row table[FUNCTIONS] = {
    [CONSTANT] = {"constant", "no damping: every update counts alike, however late", "s = 1",
                  "Xie, Koyejo, Gupta 2019, arXiv 1903.03934", "none", "constant", NULL, 0, false, 0, NULL},
    [POLYNOMIAL] = {"polynomial", "the default: falls fast at first, then slowly", "s = (1 + tau)^-a",
                    "Xie, Koyejo, Gupta 2019, arXiv 1903.03934; a = 0.5 as in Nguyen et al. 2022, "
                    "arXiv 2106.06639",
                    "none", "polynomial(0.5)", PARAMS(polynomial_params)},
    [HINGE] = {"hinge", "nothing up to b, then a steep fall", "s = 1 if tau <= b, else 1 / (a (tau - b) + 1)",
               "Xie, Koyejo, Gupta 2019, arXiv 1903.03934", "none", "hinge(10, 4)", PARAMS(hinge_params)},
    [LINEAR] = {"linear", "falls by the same amount each commit, down to 1 / (cap + 1), where it stays",
                "s = 1 - min(tau, cap) / (cap + 1)", "a common schedule; no one paper's", "none",
                "linear(20)", PARAMS(linear_params)},
    [EXPONENTIAL] = {"exponential", "falls by the same factor each commit", "s = exp(-a tau)",
                     "a common schedule; no one paper's", "none", "exponential(0.3)",
                     PARAMS(exponential_params)},
};

static const struct trib_rule_row *const rows[FUNCTIONS] = {
    &table[CONSTANT], &table[POLYNOMIAL], &table[HINGE], &table[LINEAR], &table[EXPONENTIAL],
};

const struct trib_rule_row *const *trib_staleness_rows(size_t *count) {
    *count = FUNCTIONS;
    return rows;
}

enum trib_status trib_staleness_new(const char *spec, struct trib_staleness **out, struct trib_error *err) {
    struct trib_staleness *staleness = trib_alloc(sizeof *staleness);
    *out = NULL;
    if (staleness == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a staleness function");
    struct trib_buf text;
    trib_buf_init(&text, TRIB_RULE_MAX_SPEC);
    enum trib_status status =
        trib_variant_parse(table, FUNCTIONS, "staleness function", spec, &staleness->index,
                           &staleness->config, sizeof staleness->config, err);
    if (status == TRIB_OK) {
        trib_variant_print(rows[staleness->index], &staleness->config, &text);
        if (text.failed) status = trib_fail(err, TRIB_NOMEM, "no memory for a staleness function's name");
    }
    if (status == TRIB_OK) {
        memcpy(staleness->spec, text.data, text.size);
        *out = staleness;
    } else {
        trib_staleness_free(&staleness);
    }
    trib_buf_release(&text);
    return status;
}

void trib_staleness_free(struct trib_staleness **staleness) {
    trib_free(*staleness); /* its options hold no strings */
    *staleness = NULL;
}

/* The smallest normal float is the floor, so that what is recorded as a float is still above 0. */
double trib_staleness_factor(const struct trib_staleness *staleness, uint64_t tau) {
    double s = functions[staleness->index](&staleness->config, (double)tau);
    return s > (double)FLT_MIN ? s : (double)FLT_MIN;
}

const char *trib_staleness_spec(const struct trib_staleness *staleness) {
    return staleness->spec;
}

enum trib_status trib_rule_staleness(char **text, struct trib_staleness **out, struct trib_error *err) {
    enum trib_status status = trib_staleness_new(*text, out, err);
    if (status != TRIB_OK) return status;
    char *canonical = trib_strdup(trib_staleness_spec(*out));
    if (canonical == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a rule");
    trib_free(*text);
    *text = canonical;
    return TRIB_OK;
}

enum trib_status trib_staleness_check_spec(const char *spec, struct trib_error *err) {
    struct trib_staleness *staleness = NULL;
    enum trib_status status = trib_staleness_new(spec, &staleness, err);
    trib_staleness_free(&staleness);
    return status;
}
