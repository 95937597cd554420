/* What the adaptive optimisers share: own += lr m / (sqrt(v) + tau), with the same m and each its own v.
 * Sources: Reddi et al. 2021 (arXiv 2003.00295), algorithm 2, with its defaults b1 = 0.9, b2 = 0.99, tau =
 * 1e-3 and no bias correction; Tong, Liang, Bi 2020 (arXiv 2009.06303).
 *
 * All in floats, one coordinate at a time: the same bits wherever the work is cut. */
#ifndef TRIB_RULES_ADAPTIVE_H
#define TRIB_RULES_ADAPTIVE_H

#include "shared/rules/kind.h"

struct trib_adaptive {
    double lr, b1, b2, tau;
    bool correct;
    uint64_t tau_c;
};

enum { ADAPTIVE_M, ADAPTIVE_V, ADAPTIVE_GREATEST };

#define ADAPTIVE_LR(fallback)                                                                                \
    {                                                                                                        \
        "lr", TRIB_OPT_F64, offsetof(struct trib_adaptive, lr), fallback, 1e-9, 1000, NULL, NULL,            \
            "the step's size, where the gradients agree"                                                     \
    }
#define ADAPTIVE_B1(fallback)                                                                                \
    {                                                                                                        \
        "b1", TRIB_OPT_F64, offsetof(struct trib_adaptive, b1), fallback, 0, 0.9999, NULL, NULL,             \
            "how much of the mean gradient stays"                                                            \
    }
#define ADAPTIVE_B2                                                                                          \
    {                                                                                                        \
        "b2", TRIB_OPT_F64, offsetof(struct trib_adaptive, b2), "0.99", 0, 0.999999, NULL, NULL,             \
            "how much of the mean square stays"                                                              \
    }
#define ADAPTIVE_TAU                                                                                         \
    {                                                                                                        \
        "tau", TRIB_OPT_F64, offsetof(struct trib_adaptive, tau), "0.001", 1e-12, 1000, NULL, NULL,          \
            "coordinates with gradients far below this hardly move"                                          \
    }
#define ADAPTIVE_CORRECT                                                                                     \
    {                                                                                                        \
        "correct", TRIB_OPT_BOOL, offsetof(struct trib_adaptive, correct), "false", 0, 0, NULL, NULL,        \
            "divide m by 1 - b1^t and v by 1 - b2^t, t the number of commits"                                \
    }

struct trib_adaptive_factors {
    float b1, b2, one_b1, one_b2, tau, lr, m, v; /* m, v: what moments are divided by, one over it */
};

struct trib_adaptive_factors trib_adaptive_factors_of(const struct trib_adaptive *config,
                                                      const struct trib_rule_step *step);
size_t trib_adaptive_two_moments(const void *config);
size_t trib_adaptive_three_moments(const void *config);
/* AMSGrad's step. */
void trib_adaptive_walk_greatest(const struct trib_adaptive_factors *f, float *const *moments,
                                 const float *gradient, float scale, float *own, size_t n);

static inline float trib_adaptive_mean(const struct trib_adaptive_factors *f, float m, float d) {
    return f->b1 * m + f->one_b1 * d;
}

#endif
