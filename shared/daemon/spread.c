#include "shared/daemon/spread.h"

#include "shared/base/number.h"
#include "shared/base/option.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define VALUE_MAX 1e9

static const struct trib_option constant_params[] = {
    {.name = "value",
     .type = TRIB_OPT_F64,
     .offset = offsetof(struct trib_spread, a),
     .fallback = "1",
     .max = VALUE_MAX,
     .help = "the value"},
};
static const struct trib_option uniform_params[] = {
    {.name = "low",
     .type = TRIB_OPT_F64,
     .offset = offsetof(struct trib_spread, a),
     .fallback = "1",
     .max = VALUE_MAX,
     .help = "least value"},
    {.name = "high",
     .type = TRIB_OPT_F64,
     .offset = offsetof(struct trib_spread, b),
     .fallback = "10",
     .max = VALUE_MAX,
     .help = "largest value"},
};
static const struct trib_option loguniform_params[] = {
    {.name = "low",
     .type = TRIB_OPT_F64,
     .offset = offsetof(struct trib_spread, a),
     .fallback = "1",
     .min = 1e-9,
     .max = VALUE_MAX,
     .help = "least value"},
    {.name = "high",
     .type = TRIB_OPT_F64,
     .offset = offsetof(struct trib_spread, b),
     .fallback = "10",
     .min = 1e-9,
     .max = VALUE_MAX,
     .help = "largest value"},
};
static const struct trib_option lognormal_params[] = {
    {.name = "mu",
     .type = TRIB_OPT_F64,
     .offset = offsetof(struct trib_spread, a),
     .fallback = "0",
     .min = -20,
     .max = 20,
     .help = "mean of the logarithm"},
    {.name = "sigma",
     .type = TRIB_OPT_F64,
     .offset = offsetof(struct trib_spread, b),
     .fallback = "0.5",
     .max = 10,
     .help = "standard deviation of the logarithm"},
};
static const struct trib_option exponential_params[] = {
    {.name = "mean",
     .type = TRIB_OPT_F64,
     .offset = offsetof(struct trib_spread, a),
     .fallback = "1",
     .max = VALUE_MAX,
     .help = "mean"},
};

struct row {
    const char *name;
    const struct trib_option *params;
    size_t count;
};
#define ROW(NAME, PARAMS)                                                                                    \
    { NAME, PARAMS, sizeof(PARAMS) / sizeof *(PARAMS) }
static const struct row rows[TRIB_SPREAD_KINDS] = {
    [TRIB_SPREAD_CONSTANT] = ROW("constant", constant_params),
    [TRIB_SPREAD_UNIFORM] = ROW("uniform", uniform_params),
    [TRIB_SPREAD_LOGUNIFORM] = ROW("loguniform", loguniform_params),
    [TRIB_SPREAD_LOGNORMAL] = ROW("lognormal", lognormal_params),
    [TRIB_SPREAD_EXPONENTIAL] = ROW("exponential", exponential_params),
};

static enum trib_status unknown(const char *name, size_t bytes, struct trib_error *err) {
    const char *names[TRIB_SPREAD_KINDS];
    char word[64];
    size_t length = bytes < sizeof word ? bytes : sizeof word - 1;
    memcpy(word, name, length);
    word[length] = 0;
    for (size_t i = 0; i < TRIB_SPREAD_KINDS; i++) names[i] = rows[i].name;
    const char *nearest = trib_nearest(word, names, TRIB_SPREAD_KINDS);
    return trib_fail(err, TRIB_INVALID,
                     "unknown distribution \"%s\"; known ones are constant, uniform, loguniform, lognormal, "
                     "exponential%s%s",
                     word, nearest != NULL ? "; the nearest is " : "", nearest != NULL ? nearest : "");
}

enum trib_status trib_spread_parse(const char *spec, struct trib_spread *out, struct trib_error *err) {
    const char *name, *args;
    size_t name_bytes, args_bytes;
    double number;
    if (trib_parse_f64(spec, strlen(spec), &number)) {
        if (number < 0 || number > VALUE_MAX) {
            return trib_fail(err, TRIB_INVALID, "found %g, expected a number from 0 to %g", number,
                             VALUE_MAX);
        }
        *out = (struct trib_spread){.kind = TRIB_SPREAD_CONSTANT, .a = number};
        return TRIB_OK;
    }
    enum trib_status status =
        trib_spec_split(spec, strlen(spec), &name, &name_bytes, &args, &args_bytes, err);
    if (status != TRIB_OK) return status;
    size_t kind = 0;
    while (kind < TRIB_SPREAD_KINDS &&
           (strlen(rows[kind].name) != name_bytes || memcmp(rows[kind].name, name, name_bytes) != 0)) {
        kind++;
    }
    if (kind == TRIB_SPREAD_KINDS) return unknown(name, name_bytes, err);
    struct trib_spread spread = {.kind = (enum trib_spread_kind)kind};
    const struct row *row = &rows[kind];
    status = trib_options_defaults(row->params, row->count, &spread, err);
    if (status != TRIB_OK) return status;
    status = trib_options_args(row->params, row->count, &spread, args, args_bytes, row->name, err);
    if (status != TRIB_OK) return status;
    bool between = kind == TRIB_SPREAD_UNIFORM || kind == TRIB_SPREAD_LOGUNIFORM;
    if (between && spread.a > spread.b) {
        return trib_fail(err, TRIB_INVALID, "%s: low is %g and high is %g, expected low to be at most high",
                         row->name, spread.a, spread.b);
    }
    *out = spread;
    return TRIB_OK;
}

double trib_spread_draw(const struct trib_spread *spread, struct trib_rng *rng) {
    double a = spread->a, b = spread->b, value = a;
    switch (spread->kind) {
    case TRIB_SPREAD_CONSTANT: break;
    case TRIB_SPREAD_UNIFORM: value = a + (b - a) * trib_rng_unit(rng); break;
    case TRIB_SPREAD_LOGUNIFORM: value = exp(log(a) + (log(b) - log(a)) * trib_rng_unit(rng)); break;
    case TRIB_SPREAD_LOGNORMAL: value = exp(a + b * trib_rng_normal(rng)); break;
    case TRIB_SPREAD_EXPONENTIAL: value = a * trib_rng_exponential(rng); break;
    case TRIB_SPREAD_KINDS: break;
    }
    return value < VALUE_MAX ? value : VALUE_MAX;
}

enum trib_status trib_spread_check(const char *spec, struct trib_error *err) {
    struct trib_spread ignored;
    return trib_spread_parse(spec, &ignored, err);
}
