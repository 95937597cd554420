#include "shared/sim/delay.h"

#include "shared/base/alloc.h"
#include "shared/base/number.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { TRACE_MAX = 10000000, LINE_MAX_BYTES = 4096 };

/* ---- the rows ---- */

#define PARAM(FIELD, NAME, FALLBACK, LEAST, MOST, HELP)                                                      \
    {                                                                                                        \
        .name = NAME, .type = TRIB_OPT_F64, .offset = offsetof(struct trib_delay, FIELD),                    \
        .fallback = FALLBACK, .min = LEAST, .max = MOST, .help = HELP                                        \
    }
#define COMMON                                                                                               \
    PARAM(offset, "offset", "0", 0, TRIB_DELAY_MAX, "added to what is drawn"),                               \
        PARAM(cap, "cap", "0", 0, TRIB_DELAY_MAX, "the most that comes out; 0: no limit")

static const struct trib_option constant_params[] = {PARAM(a, "value", "0", 0, TRIB_DELAY_MAX, "the value"),
                                                     COMMON};
static const struct trib_option half_normal_params[] = {
    PARAM(a, "sigma", "1", 0, TRIB_DELAY_MAX, "of the normal distribution whose absolute value it is"),
    COMMON};
static const struct trib_option exponential_params[] = {PARAM(a, "mean", "1", 0, TRIB_DELAY_MAX, "mean"),
                                                        COMMON};
static const struct trib_option lognormal_params[] = {
    PARAM(a, "mu", "0", -50, 50, "mean of the logarithm"),
    PARAM(b, "sigma", "0.5", 0, 50, "standard deviation of the logarithm"), COMMON};
static const struct trib_option uniform_params[] = {PARAM(a, "low", "0", 0, TRIB_DELAY_MAX, "least value"),
                                                    PARAM(b, "high", "1", 0, TRIB_DELAY_MAX, "largest value"),
                                                    COMMON};
static const struct trib_option loguniform_params[] = {
    PARAM(a, "low", "1", 1e-9, TRIB_DELAY_MAX, "least value"),
    PARAM(b, "high", "10", 1e-9, TRIB_DELAY_MAX, "largest value"), COMMON};
static const struct trib_option pareto_params[] = {
    PARAM(a, "alpha", "1.5", 1e-3, 1e3, "shape: the smaller, the heavier the tail"),
    PARAM(b, "min", "1", 0, TRIB_DELAY_MAX, "least value"), COMMON};
static const struct trib_option trace_params[] = {
    {.name = "file",
     .type = TRIB_OPT_STRING,
     .offset = offsetof(struct trib_delay, file),
     .fallback = "",
     .help =
         "CSV file; each draw takes one of its lines at random, lines that do not begin with a number there "
         "are passed over"},
    {.name = "column",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct trib_delay, column),
     .fallback = "1",
     .min = 1,
     .max = 1000,
     .help = "which column, counted from 1"},
    COMMON};

static double draw_constant(const struct trib_delay *d, struct trib_rng *rng) {
    (void)rng;
    return d->a;
}
static double draw_half_normal(const struct trib_delay *d, struct trib_rng *rng) {
    return d->a * fabs(trib_rng_normal(rng));
}
static double draw_exponential(const struct trib_delay *d, struct trib_rng *rng) {
    return d->a * trib_rng_exponential(rng);
}
static double draw_lognormal(const struct trib_delay *d, struct trib_rng *rng) {
    return exp(d->a + d->b * trib_rng_normal(rng));
}
static double draw_uniform(const struct trib_delay *d, struct trib_rng *rng) {
    return d->a + (d->b - d->a) * trib_rng_unit(rng);
}
static double draw_loguniform(const struct trib_delay *d, struct trib_rng *rng) {
    return exp(log(d->a) + (log(d->b) - log(d->a)) * trib_rng_unit(rng));
}
/* The inverse of F(x) = 1 - (min / x)^alpha at 1 - u, which is in (0, 1]. */
static double draw_pareto(const struct trib_delay *d, struct trib_rng *rng) {
    return d->b * pow(1.0 - trib_rng_unit(rng), -1.0 / d->a);
}
static double draw_trace(const struct trib_delay *d, struct trib_rng *rng) {
    return d->values[trib_rng_below(rng, d->count)];
}

#define ROW(NAME, SUMMARY)                                                                                   \
    { #NAME, SUMMARY, NAME##_params, sizeof NAME##_params / sizeof *NAME##_params, draw_##NAME }
static const struct trib_delay_row rows[] = {
    ROW(constant, "always the same"),   ROW(half_normal, "the absolute value of a normal one"),
    ROW(exponential, "exponential"),    ROW(lognormal, "its logarithm is normal"),
    ROW(uniform, "between two values"), ROW(loguniform, "its logarithm is uniform"),
    ROW(pareto, "heavy-tailed"),        ROW(trace, "measured values out of a file"),
};
enum { ROWS = sizeof rows / sizeof *rows };

const struct trib_delay_row *trib_delay_row(size_t i) {
    return i < ROWS ? &rows[i] : NULL;
}

/* ---- traces ---- */

/* Field `column` of a line, without spaces around it; false: there is no number. */
static bool field_of(const char *line, uint64_t column, double *out) {
    for (; column > 1; column--) {
        line = strchr(line, ',');
        if (line == NULL) return false;
        line++;
    }
    line += strspn(line, " \t");
    size_t bytes = strcspn(line, ", \t\r\n");
    return trib_parse_f64(line, bytes, out);
}

static bool append(struct trib_delay *delay, size_t *capacity, double value) {
    if (delay->count == *capacity) {
        size_t more = *capacity > 0 ? *capacity * 2 : 256;
        double *values = trib_realloc(delay->values, more * sizeof *values);
        if (values == NULL) return false;
        delay->values = values;
        *capacity = more;
    }
    delay->values[delay->count++] = value;
    return true;
}

static enum trib_status read_trace(struct trib_delay *delay, struct trib_error *err) {
    FILE *file = fopen(delay->file, "r");
    if (file == NULL) return trib_fail_errno(err, "trace: cannot open %s", delay->file);
    char line[LINE_MAX_BYTES];
    size_t capacity = 0, number = 0;
    enum trib_status status = TRIB_OK;
    while (status == TRIB_OK && fgets(line, sizeof line, file) != NULL) {
        double value;
        number++;
        if (!field_of(line, delay->column, &value)) continue;
        if (value < 0 || value > TRIB_DELAY_MAX)
            status = trib_fail(err, TRIB_INVALID, "trace: %s:%zu: found %g, expected a number from 0 to %g",
                               delay->file, number, value, TRIB_DELAY_MAX);
        else if (delay->count == TRACE_MAX)
            status = trib_fail(err, TRIB_LIMIT, "trace: %s has more than %d values", delay->file, TRACE_MAX);
        else if (!append(delay, &capacity, value))
            status = trib_fail(err, TRIB_NOMEM, "trace: no memory for %s", delay->file);
    }
    if (status == TRIB_OK && ferror(file))
        status = trib_fail_errno(err, "trace: cannot read %s", delay->file);
    (void)fclose(file);
    if (status == TRIB_OK && delay->count == 0)
        status = trib_fail(err, TRIB_INVALID, "trace: %s has no number in column %llu", delay->file,
                           (unsigned long long)delay->column);
    return status;
}

/* ---- specs ---- */

static enum trib_status unknown(const char *name, size_t bytes, struct trib_error *err) {
    const char *names[ROWS];
    char word[64], known[200] = "";
    (void)snprintf(word, sizeof word, "%.*s", (int)(bytes < 60 ? bytes : 60), name);
    for (size_t i = 0, at = 0; i < ROWS; i++) {
        names[i] = rows[i].name;
        at += (size_t)snprintf(known + at, sizeof known - at, "%s%s", i > 0 ? ", " : "", rows[i].name);
    }
    const char *nearest = trib_nearest(word, names, ROWS);
    return trib_fail(err, TRIB_INVALID, "unknown distribution \"%s\"; known ones are %s%s%s", word, known,
                     nearest != NULL ? "; the nearest is " : "", nearest != NULL ? nearest : "");
}

static enum trib_status parse(const char *spec, struct trib_delay *out, struct trib_error *err) {
    const char *name, *args;
    size_t name_bytes, args_bytes, i = 0;
    double number;
    if (trib_parse_f64(spec, strlen(spec), &number)) {
        if (number < 0 || number > TRIB_DELAY_MAX)
            return trib_fail(err, TRIB_INVALID, "found %g, expected a number from 0 to %g", number,
                             TRIB_DELAY_MAX);
        *out = (struct trib_delay){.row = &rows[0], .a = number};
        return TRIB_OK;
    }
    enum trib_status status =
        trib_spec_split(spec, strlen(spec), &name, &name_bytes, &args, &args_bytes, err);
    if (status != TRIB_OK) return status;
    while (i < ROWS && (strlen(rows[i].name) != name_bytes || memcmp(rows[i].name, name, name_bytes) != 0))
        i++;
    if (i == ROWS) return unknown(name, name_bytes, err);
    const struct trib_delay_row *row = out->row = &rows[i];
    status = trib_options_defaults(row->params, row->param_count, out, err);
    if (status == TRIB_OK)
        status = trib_options_args(row->params, row->param_count, out, args, args_bytes, row->name, err);
    if (status != TRIB_OK) return status;
    bool between = row->draw == draw_uniform || row->draw == draw_loguniform;
    if (between && out->a > out->b)
        return trib_fail(err, TRIB_INVALID, "%s: low is %g and high is %g, expected low to be at most high",
                         row->name, out->a, out->b);
    if (row->draw == draw_trace && out->file[0] == 0)
        return trib_fail(err, TRIB_INVALID, "trace: found no file, expected trace(FILE.csv)");
    return TRIB_OK;
}

enum trib_status trib_delay_parse(const char *spec, struct trib_delay *out, struct trib_error *err) {
    struct trib_delay delay = {0};
    enum trib_status status = parse(spec, &delay, err);
    if (status == TRIB_OK && delay.row->draw == draw_trace) status = read_trace(&delay, err);
    if (status == TRIB_OK)
        *out = delay;
    else
        trib_delay_release(&delay);
    return status;
}

enum trib_status trib_delay_check(const char *spec, struct trib_error *err) {
    struct trib_delay delay = {0};
    enum trib_status status = parse(spec, &delay, err);
    trib_delay_release(&delay);
    return status;
}

void trib_delay_release(struct trib_delay *delay) {
    trib_free(delay->file);
    trib_free(delay->values);
    *delay = (struct trib_delay){0};
}

double trib_delay_draw(const struct trib_delay *delay, struct trib_rng *rng) {
    double value = delay->row->draw(delay, rng) + delay->offset;
    if (delay->cap > 0 && value > delay->cap) value = delay->cap;
    return value < TRIB_DELAY_MAX ? value : TRIB_DELAY_MAX;
}

bool trib_delay_is_zero(const struct trib_delay *delay) {
    return delay->row->draw == draw_constant && delay->a + delay->offset == 0;
}
