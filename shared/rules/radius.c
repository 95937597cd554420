/* A radius in a rule's parameters: "auto", or a number above 0. */
#include "shared/base/number.h"
#include "shared/rules/kind.h"

#include <math.h>
#include <string.h>

enum trib_status trib_radius_check(const char *value, struct trib_error *err) {
    double tau;
    if (strcmp(value, "auto") == 0) return TRIB_OK;
    if (trib_parse_f64(value, strlen(value), &tau) && tau > 0.0 && isfinite(tau)) return TRIB_OK;
    return trib_fail(err, TRIB_INVALID, "\"%s\" is no radius; allowed are auto and a number above 0", value);
}

enum trib_status trib_radius_prepare(void *config, enum trib_tier tier, struct trib_error *err) {
    struct trib_radius *radius = config;
    (void)tier;
    (void)err;
    radius->value = 0.0;
    if (strcmp(radius->text, "auto") != 0)
        TRIB_ASSERT(trib_parse_f64(radius->text, strlen(radius->text), &radius->value));
    return TRIB_OK;
}
