/* See adaptive.h. */
#include "shared/rules/adaptive.h"

#include <math.h>

size_t trib_adaptive_two_moments(const void *config) {
    (void)config;
    return 2;
}

size_t trib_adaptive_three_moments(const void *config) {
    (void)config;
    return 3;
}

/* base^count by squaring: products only, so that it is the same everywhere. */
static double power(double base, uint64_t count) {
    double result = 1.0;
    for (; count > 0; count >>= 1) {
        if (count & 1) result *= base;
        base *= base;
    }
    return result;
}

struct trib_adaptive_factors trib_adaptive_factors_of(const struct trib_adaptive *c,
                                                      const struct trib_rule_step *step) {
    struct trib_adaptive_factors f = {.b1 = (float)c->b1,
                                      .b2 = (float)c->b2,
                                      .one_b1 = (float)(1.0 - c->b1),
                                      .one_b2 = (float)(1.0 - c->b2),
                                      .tau = (float)c->tau,
                                      .lr = (float)c->lr,
                                      .m = 1.0f,
                                      .v = 1.0f};
    if (!c->correct) return f;
    f.m = (float)(1.0 / (1.0 - power(c->b1, step->count)));
    f.v = (float)(1.0 / (1.0 - power(c->b2, step->count)));
    return f;
}

void trib_adaptive_walk_greatest(const struct trib_adaptive_factors *f, float *const *moments,
                                 const float *gradient, float scale, float *own, size_t n) {
    float *m = moments[ADAPTIVE_M], *v = moments[ADAPTIVE_V], *greatest = moments[ADAPTIVE_GREATEST];
    for (size_t i = 0; i < n; i++) {
        float d = scale * gradient[i];
        m[i] = trib_adaptive_mean(f, m[i], d);
        v[i] = f->b2 * v[i] + f->one_b2 * (d * d);
        greatest[i] = v[i] > greatest[i] ? v[i] : greatest[i];
        own[i] = own[i] + f->lr * (m[i] / (sqrtf(greatest[i]) + f->tau));
    }
}
