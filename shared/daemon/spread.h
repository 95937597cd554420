/* Spreads: how devices differ. A spec names a distribution, and each device draws its own value from it:
 *     constant(1)   uniform(1, 10)   loguniform(1, 10)   lognormal(0, 0.5)   exponential(200)
 * A plain number is constant. */
#ifndef TRIB_DAEMON_SPREAD_H
#define TRIB_DAEMON_SPREAD_H

#include "shared/base/error.h"
#include "shared/base/rng.h"

enum trib_spread_kind {
    TRIB_SPREAD_CONSTANT,    /* a */
    TRIB_SPREAD_UNIFORM,     /* in [a, b) */
    TRIB_SPREAD_LOGUNIFORM,  /* exp of uniform in [ln a, ln b); a > 0 */
    TRIB_SPREAD_LOGNORMAL,   /* exp(a + b * normal); b >= 0 */
    TRIB_SPREAD_EXPONENTIAL, /* mean a */
    TRIB_SPREAD_KINDS
};

struct trib_spread {
    enum trib_spread_kind kind;
    double a, b;
};

/* Reads a spec. Values that it draws are never negative: what could make them so is refused. */
enum trib_status trib_spread_parse(const char *spec, struct trib_spread *out,
                                   struct trib_error *err) TRIB_MUST_USE;
/* Draws one value, 0 or more and at most 1e9. */
double trib_spread_draw(const struct trib_spread *spread, struct trib_rng *rng);
/* For option tables. */
enum trib_status trib_spread_check(const char *spec, struct trib_error *err);

#endif
