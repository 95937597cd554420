/* Delays: how long things take in a simulated fleet. A spec names a distribution, in seconds where it stands
 * for a time:
 *     constant(2)   half_normal(1)   exponential(3)   lognormal(4, 3, offset=30, cap=15000)
 *     uniform(1, 10)   loguniform(1, 10)   pareto(1.5, 1)   trace(delays.csv)
 * A plain number is constant. Every distribution takes `offset`, added to what is drawn, and `cap`, the most
 * that comes out (0: none). */
#ifndef TRIB_SIM_DELAY_H
#define TRIB_SIM_DELAY_H

#include "shared/base/option.h"
#include "shared/base/rng.h"

struct trib_delay_row;

struct trib_delay {
    const struct trib_delay_row *row;
    double a, b, offset, cap;
    char *file;      /* trace: owned */
    uint64_t column; /* ... counted from 1 */
    double *values;  /* ... owned */
    size_t count;
};

/* Reads a spec, and a trace's file. Values that are drawn are never negative: what could make them so is
 * refused. *out must be zeroed or released. */
enum trib_status trib_delay_parse(const char *spec, struct trib_delay *out,
                                  struct trib_error *err) TRIB_MUST_USE;
void trib_delay_release(struct trib_delay *delay);
/* 0 or more, at most TRIB_DELAY_MAX. Takes the same numbers from `rng` each time. */
double trib_delay_draw(const struct trib_delay *delay, struct trib_rng *rng);
/* Does it always give 0? */
bool trib_delay_is_zero(const struct trib_delay *delay);
/* For option tables: is the spec well-formed? No file is read. */
enum trib_status trib_delay_check(const char *spec, struct trib_error *err);

#define TRIB_DELAY_MAX 1e9

/* The table, for help, documents and tests: row i, or NULL behind the last. */
struct trib_delay_row {
    const char *name, *summary;
    const struct trib_option *params;
    size_t param_count;
    double (*draw)(const struct trib_delay *delay, struct trib_rng *rng);
};
const struct trib_delay_row *trib_delay_row(size_t i);

#endif
