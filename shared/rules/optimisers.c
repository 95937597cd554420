/* Server optimisers: the base's step is taken for a gradient. Sources: momentum: Hsu, Qi, Brown 2019 (arXiv
 * 1909.06335); Adagrad, Adam and Yogi: Reddi et al. 2021 (arXiv 2003.00295), algorithm 2, with its defaults
 * b1 = 0.9, b2 = 0.99, tau = 1e-3 and no bias correction; AMSGrad: Tong, Liang, Bi 2020 (arXiv 2009.06303).
 *
 * All in floats, one coordinate at a time: the same bits wherever the work is cut. */
#include "shared/rules/kind.h"

#include <math.h>
#include <string.h>

/* ---- momentum ---- */

struct momentum {
    double beta, lr;
    bool nesterov;
    double rate; /* made by bind */
};

static const struct trib_option momentum_params[] = {
    {"beta", TRIB_OPT_F64, offsetof(struct momentum, beta), "0.9", 0, 0.9999, NULL, NULL,
     "how much of the velocity stays"},
    {"lr", TRIB_OPT_F64, offsetof(struct momentum, lr), "0", 0, 1000, NULL, NULL,
     "what the velocity is multiplied by; 0: 1 behind a synchronous base, 1 - beta behind another, where "
     "more "
     "tends to diverge"},
    {"nesterov", TRIB_OPT_BOOL, offsetof(struct momentum, nesterov), "false", 0, 0, NULL, NULL,
     "look ahead: the step is D + beta v"},
};

static size_t momentum_moments(const void *config) {
    (void)config;
    return 1;
}

static void momentum_bind(void *config, bool synchronous) {
    struct momentum *c = config;
    c->rate = c->lr > 0.0 ? c->lr : synchronous ? 1.0 : 1.0 - c->beta;
}

static void momentum_step(const void *config, const struct trib_rule_step *step, float *const *moments,
                          const float *gradient, float scale, float *own, size_t n) {
    const struct momentum *c = config;
    const float beta = (float)c->beta, lr = (float)c->rate;
    float *v = moments[0];
    (void)step;
    for (size_t i = 0; i < n; i++) {
        float d = scale * gradient[i];
        v[i] = beta * v[i] + d;
        own[i] = own[i] + lr * (c->nesterov ? d + beta * v[i] : v[i]);
    }
}

static const char *momentum_warning(const void *config, bool synchronous) {
    const struct momentum *c = config;
    if (synchronous || c->rate <= (1.0 - c->beta) * (1.0 + 1e-9)) return NULL;
    return "momentum in plan.edge.rule or plan.cloud.rule behind an asynchronous base, with lr above 1 - "
           "beta: late "
           "updates add up, and such runs collapsed; lr=0 takes 1 - beta";
}

static const struct trib_rule_optimiser momentum = {
    .moments = momentum_moments, .bind = momentum_bind, .step = momentum_step, .warning = momentum_warning};
static const struct trib_rule_kind momentum_kind = {
    .name = "momentum", .config_bytes = sizeof(struct momentum), .optimiser = &momentum};
const struct trib_rule_row trib_rule_momentum = {
    .name = "momentum",
    .summary = "steps go on in the direction of those before (FedAvgM)",
    .formula = "v = beta v + D; own += lr v; nesterov: own += lr (D + beta v)",
    .source = "Hsu, Qi, Brown 2019, arXiv 1909.06335",
    .memory = "v and A (two models)",
    .example = "momentum(0.9)",
    .stage = TRIB_RULE_OPTIMISER,
    TRIB_PARAMS(momentum_params),
    .kind = &momentum_kind};

/* ---- the adaptive ones: own += lr m / (sqrt(v) + tau), with the same m and each its own v ---- */

struct adaptive {
    double lr, b1, b2, tau;
    bool correct;
    uint64_t tau_c;
};

enum { M, V, GREATEST };

#define LR(fallback)                                                                                         \
    {                                                                                                        \
        "lr", TRIB_OPT_F64, offsetof(struct adaptive, lr), fallback, 1e-9, 1000, NULL, NULL,                 \
            "the step's size, where the gradients agree"                                                     \
    }
#define B1(fallback)                                                                                         \
    {                                                                                                        \
        "b1", TRIB_OPT_F64, offsetof(struct adaptive, b1), fallback, 0, 0.9999, NULL, NULL,                  \
            "how much of the mean gradient stays"                                                            \
    }
#define B2                                                                                                   \
    {                                                                                                        \
        "b2", TRIB_OPT_F64, offsetof(struct adaptive, b2), "0.99", 0, 0.999999, NULL, NULL,                  \
            "how much of the mean square stays"                                                              \
    }
#define TAU                                                                                                  \
    {                                                                                                        \
        "tau", TRIB_OPT_F64, offsetof(struct adaptive, tau), "0.001", 1e-12, 1000, NULL, NULL,               \
            "coordinates with gradients far below this hardly move"                                          \
    }
#define CORRECT                                                                                              \
    {                                                                                                        \
        "correct", TRIB_OPT_BOOL, offsetof(struct adaptive, correct), "false", 0, 0, NULL, NULL,             \
            "divide m by 1 - b1^t and v by 1 - b2^t, t the number of commits"                                \
    }

static const struct trib_option adagrad_params[] = {LR("0.1"), B1("0"), TAU};
static const struct trib_option adam_params[] = {LR("0.01"), B1("0.9"), B2, TAU, CORRECT};
static const struct trib_option plain_params[] = {LR("0.01"), B1("0.9"), B2, TAU};

static const struct trib_option fadas_params[] = {
    LR("0.01"),
    B1("0.9"),
    B2,
    TAU,
    {"tau_c", TRIB_OPT_U64, offsetof(struct adaptive, tau_c), "4", 0, 1000000, NULL, NULL,
     "a staleness up to which the step is not shrunk"},
};

static size_t two_moments(const void *config) {
    (void)config;
    return 2;
}

static size_t three_moments(const void *config) {
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

struct factors {
    float b1, b2, one_b1, one_b2, tau, lr, m, v; /* m, v: what moments are divided by, one over it */
};

static struct factors factors_of(const struct adaptive *c, const struct trib_rule_step *step) {
    struct factors f = {.b1 = (float)c->b1,
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

static float next_mean(const struct factors *f, float m, float d) {
    return f->b1 * m + f->one_b1 * d;
}

static void adagrad_step(const void *config, const struct trib_rule_step *step, float *const *moments,
                         const float *gradient, float scale, float *own, size_t n) {
    const struct factors f = factors_of(config, step);
    float *m = moments[M], *v = moments[V];
    for (size_t i = 0; i < n; i++) {
        float d = scale * gradient[i];
        m[i] = next_mean(&f, m[i], d);
        v[i] = v[i] + d * d;
        own[i] = own[i] + f.lr * (m[i] / (sqrtf(v[i]) + f.tau));
    }
}

static void adam_step(const void *config, const struct trib_rule_step *step, float *const *moments,
                      const float *gradient, float scale, float *own, size_t n) {
    const struct factors f = factors_of(config, step);
    float *m = moments[M], *v = moments[V];
    for (size_t i = 0; i < n; i++) {
        float d = scale * gradient[i];
        m[i] = next_mean(&f, m[i], d);
        v[i] = f.b2 * v[i] + f.one_b2 * (d * d);
        own[i] = own[i] + f.lr * ((m[i] * f.m) / (sqrtf(v[i] * f.v) + f.tau));
    }
}

/* v moves towards D^2 by a step that does not grow with the distance: sign, not difference. */
static void yogi_step(const void *config, const struct trib_rule_step *step, float *const *moments,
                      const float *gradient, float scale, float *own, size_t n) {
    const struct factors f = factors_of(config, step);
    float *m = moments[M], *v = moments[V];
    for (size_t i = 0; i < n; i++) {
        float d = scale * gradient[i], square = d * d;
        float sign = (float)((v[i] > square) - (v[i] < square));
        m[i] = next_mean(&f, m[i], d);
        v[i] = v[i] - f.one_b2 * square * sign;
        own[i] = own[i] + f.lr * (m[i] / (sqrtf(v[i]) + f.tau));
    }
}

static void amsgrad_walk(const struct factors *f, float *const *moments, const float *gradient, float scale,
                         float *own, size_t n) {
    float *m = moments[M], *v = moments[V], *greatest = moments[GREATEST];
    for (size_t i = 0; i < n; i++) {
        float d = scale * gradient[i];
        m[i] = next_mean(f, m[i], d);
        v[i] = f->b2 * v[i] + f->one_b2 * (d * d);
        greatest[i] = v[i] > greatest[i] ? v[i] : greatest[i];
        own[i] = own[i] + f->lr * (m[i] / (sqrtf(greatest[i]) + f->tau));
    }
}

static void amsgrad_step(const void *config, const struct trib_rule_step *step, float *const *moments,
                         const float *gradient, float scale, float *own, size_t n) {
    const struct factors f = factors_of(config, step);
    amsgrad_walk(&f, moments, gradient, scale, own, n);
}

/* AMSGrad whose step shrinks with the delay of the stalest update in it: eta min(1, 1 / tau_max), where that
 * is above tau_c. */
static void fadas_step(const void *config, const struct trib_rule_step *step, float *const *moments,
                       const float *gradient, float scale, float *own, size_t n) {
    const struct adaptive *c = config;
    struct factors f = factors_of(c, step);
    if (step->staleness > c->tau_c && step->staleness > 1) f.lr = (float)(c->lr / (double)step->staleness);
    amsgrad_walk(&f, moments, gradient, scale, own, n);
}

static const struct trib_rule_optimiser adagrad = {.moments = two_moments, .step = adagrad_step};
static const struct trib_rule_optimiser adam = {.moments = two_moments, .step = adam_step};
static const struct trib_rule_optimiser yogi = {.moments = two_moments, .step = yogi_step};
static const struct trib_rule_optimiser fadas = {.moments = three_moments, .step = fadas_step};
static const struct trib_rule_optimiser amsgrad = {.moments = three_moments, .step = amsgrad_step};

#define KIND(word)                                                                                           \
    static const struct trib_rule_kind word##_kind = {                                                       \
        .name = #word, .config_bytes = sizeof(struct adaptive), .optimiser = &word}
KIND(adagrad);
KIND(adam);
KIND(yogi);
KIND(amsgrad);
KIND(fadas);

const struct trib_rule_row trib_rule_adagrad = {
    .name = "adagrad",
    .summary = "coordinates that moved much move less (FedAdagrad)",
    .formula = "m = b1 m + (1 - b1) D; v = v + D^2; own += lr m / (sqrt(v) + tau)",
    .source = "Reddi et al. 2021, arXiv 2003.00295, algorithm 2",
    .memory = "m, v and A (three models)",
    .example = "adagrad(lr=0.1)",
    .stage = TRIB_RULE_OPTIMISER,
    TRIB_PARAMS(adagrad_params),
    .kind = &adagrad_kind};
const struct trib_rule_row trib_rule_adam = {
    .name = "adam",
    .summary = "each coordinate by its recent mean and mean square (FedAdam)",
    .formula = "m = b1 m + (1 - b1) D; v = b2 v + (1 - b2) D^2; own += lr m / (sqrt(v) + tau)",
    .source = "Reddi et al. 2021, arXiv 2003.00295, algorithm 2",
    .memory = "m, v and A (three models)",
    .example = "adam(lr=0.01)",
    .stage = TRIB_RULE_OPTIMISER,
    TRIB_PARAMS(adam_params),
    .kind = &adam_kind};
const struct trib_rule_row trib_rule_yogi = {
    .name = "yogi",
    .summary =
        "Adam whose mean square moves by small steps, so that rare gradients are not forgotten (FedYogi)",
    .formula = "m = b1 m + (1 - b1) D; v = v - (1 - b2) D^2 sign(v - D^2); own += lr m / (sqrt(v) + tau)",
    .source = "Reddi et al. 2021, arXiv 2003.00295, algorithm 2",
    .memory = "m, v and A (three models)",
    .example = "yogi(lr=0.01)",
    .stage = TRIB_RULE_OPTIMISER,
    TRIB_PARAMS(plain_params),
    .kind = &yogi_kind};
const struct trib_rule_row trib_rule_amsgrad = {
    .name = "amsgrad",
    .summary = "Adam by the greatest mean square so far: steps never grow",
    .formula = "m = b1 m + (1 - b1) D; v = b2 v + (1 - b2) D^2; u = max(u, v); own += lr m / (sqrt(u) + tau)",
    .source = "Tong, Liang, Bi 2020, arXiv 2009.06303",
    .memory = "m, v, u and A (four models)",
    .example = "amsgrad(lr=0.01)",
    .stage = TRIB_RULE_OPTIMISER,
    TRIB_PARAMS(plain_params),
    .kind = &amsgrad_kind};
const struct trib_rule_row trib_rule_fadas = {
    .name = "fadas",
    .summary = "AMSGrad for asynchronous buffers: a commit with a late update in it takes a smaller step",
    .formula = "as amsgrad, with lr / tau_max for lr where the stalest update's tau_max > tau_c",
    .source = "Wang et al. 2024 (FADAS, ICML)",
    .memory = "m, v, u and A (four models)",
    .example = "fadas(lr=0.01, tau_c=4)",
    .stage = TRIB_RULE_OPTIMISER,
    TRIB_PARAMS(fadas_params),
    .kind = &fadas_kind};
