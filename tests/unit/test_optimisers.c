/* Server optimisers over several commits, against their formulas in double, and what wrong ones would give.
 */
#include "tests/support/cmocka.h"

#include "shared/rules/rule.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { N = 5, COMMITS = 12 };

static struct trib_rule *rule_of(const char *spec) {
    struct trib_rule *rule = NULL;
    struct trib_error err = {0};
    if (trib_rule_new(spec, TRIB_TIER_CLOUD, &rule, &err) != TRIB_OK) fail_msg("%s: %s", spec, err.text);
    return rule;
}

/* The gradient of commit t. */
static double gradient(size_t t, size_t i) {
    return sin(1.0 + (double)t * 0.7 + (double)i) * (i == 3 ? 0.001 : 1.0 + (double)i);
}

/* own after COMMITS commits through the rule, each with `scale` */
static void run(const char *spec, size_t moments, float scale, float own[N]) {
    struct trib_rule *rule = rule_of(spec);
    float kept[TRIB_RULE_MOMENTS][N] = {{0}}, g[N];
    float *at[TRIB_RULE_MOMENTS] = {kept[0], kept[1], kept[2]};
    assert_int_equal(trib_rule_moments(rule), moments);
    assert_true(trib_rule_optimises(rule));
    for (size_t i = 0; i < N; i++) own[i] = 0.5f;
    for (size_t t = 0; t < COMMITS; t++) {
        for (size_t i = 0; i < N; i++) g[i] = (float)gradient(t, i) / scale;
        struct trib_rule_step step = {.count = t + 1};
        /* in two parts, as a long vector may be */
        trib_rule_optimise(rule, &step, at, g, scale, own, 2);
        float *rest[TRIB_RULE_MOMENTS] = {kept[0] + 2, kept[1] + 2, kept[2] + 2};
        trib_rule_optimise(rule, &step, rest, g + 2, scale, own + 2, N - 2);
    }
    trib_rule_free(&rule);
}

/* One step of a formula: the coordinate's own moments in and out; gives what is added to own. */
typedef double (*formula)(double m[3], double d, size_t t);

static void assert_is(const char *spec, size_t moments, formula f) {
    float own[N];
    run(spec, moments, 0.25f, own);
    for (size_t i = 0; i < N; i++) {
        double x = 0.5, m[3] = {0};
        for (size_t t = 0; t < COMMITS; t++) x += f(m, gradient(t, i), t + 1);
        if (!(fabs(x - (double)own[i]) <= 1e-5 * (1 + fabs(x))))
            fail_msg("%s, coordinate %zu: %.9g, not %.9g", spec, i, (double)own[i], x);
    }
}

static double momentum(double m[3], double d, size_t t) {
    (void)t;
    m[0] = 0.9 * m[0] + d;
    return 0.1 * m[0];
}

static double nesterov(double m[3], double d, size_t t) {
    (void)t;
    m[0] = 0.8 * m[0] + d;
    return 0.5 * (d + 0.8 * m[0]);
}

static double adagrad(double m[3], double d, size_t t) {
    (void)t;
    m[1] += d * d;
    return 0.1 * d / (sqrt(m[1]) + 1e-3);
}

static double adam(double m[3], double d, size_t t) {
    (void)t;
    m[0] = 0.9 * m[0] + 0.1 * d;
    m[1] = 0.99 * m[1] + 0.01 * d * d;
    return 0.02 * m[0] / (sqrt(m[1]) + 1e-3);
}

static double adam_corrected(double m[3], double d, size_t t) {
    m[0] = 0.9 * m[0] + 0.1 * d;
    m[1] = 0.999 * m[1] + 0.001 * d * d;
    return 0.01 * (m[0] / (1 - pow(0.9, (double)t))) / (sqrt(m[1] / (1 - pow(0.999, (double)t))) + 1e-8);
}

static double yogi(double m[3], double d, size_t t) {
    (void)t;
    m[0] = 0.9 * m[0] + 0.1 * d;
    double sign = m[1] > d * d ? 1 : m[1] < d * d ? -1 : 0;
    m[1] -= 0.01 * d * d * sign;
    return 0.01 * m[0] / (sqrt(m[1]) + 1e-3);
}

static double amsgrad(double m[3], double d, size_t t) {
    (void)t;
    m[0] = 0.9 * m[0] + 0.1 * d;
    m[1] = 0.99 * m[1] + 0.01 * d * d;
    m[2] = fmax(m[1], m[2]);
    return 0.01 * m[0] / (sqrt(m[2]) + 1e-3);
}

static void closed_forms(void **state) {
    (void)state;
    assert_is("fedbuff | momentum(beta=0.9, lr=0.1)", 1, momentum);
    assert_is("fedbuff | momentum(beta=0.8, lr=0.5, nesterov=true)", 1, nesterov);
    assert_is("fedavg | adagrad", 2, adagrad);
    assert_is("fedavg | adam(lr=0.02)", 2, adam);
    assert_is("fedavg | adam(b2=0.999, tau=1e-8, correct=true)", 2, adam_corrected);
    assert_is("fedavg | yogi", 2, yogi);
    assert_is("fedavg | amsgrad", 3, amsgrad);
}

/* One commit with late updates takes a step 1 / tau_max as long; up to tau_c nothing is shrunk. */
static void fadas_shrinks_with_delay(void **state) {
    (void)state;
    static const struct {
        uint64_t staleness;
        double part;
    } cases[] = {{0, 1}, {4, 1}, {5, 0.2}, {50, 0.02}};
    struct trib_rule *rule = rule_of("fedbuff | fadas(lr=0.1, tau_c=4)"),
                     *plain = rule_of("fedbuff | amsgrad(lr=0.1)");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float a[4] = {0}, b[4] = {0}, g[1] = {3};
        float *at[] = {a, a + 1, a + 2}, *bt[] = {b, b + 1, b + 2};
        struct trib_rule_step step = {.count = 1, .staleness = cases[i].staleness};
        trib_rule_optimise(rule, &step, at, g, 1.0f, a + 3, 1);
        trib_rule_optimise(plain, &step, bt, g, 1.0f, b + 3, 1);
        assert_true(fabs((double)a[3] - cases[i].part * (double)b[3]) < 1e-7);
        assert_memory_equal(a, b, 3 * sizeof *a);
    }
    trib_rule_free(&rule);
    trib_rule_free(&plain);
}

/* tau is 1e-3, as in the paper, and not 1e-9, which Adam has elsewhere: a coordinate whose gradients are 1e-3
 * moves half as fast, not as fast as the others. */
static void tau_is_a_thousandth(void **state) {
    (void)state;
    struct trib_rule *rule = rule_of("fedavg | adam(b1=0, b2=0, lr=1)");
    float m[1] = {0}, v[1] = {0}, own[1] = {0}, g[1] = {1e-3f};
    float *moments[] = {m, v, NULL};
    struct trib_rule_step step = {.count = 1};
    trib_rule_optimise(rule, &step, moments, g, 1.0f, own, 1);
    assert_true(fabs((double)own[0] - 0.5) < 1e-5);
    trib_rule_free(&rule);
}

/* The velocity is beta v + D, not beta v + (1 - beta) D: with lr 1 a constant gradient goes ten times as far.
 */
static void momentum_is_not_damped(void **state) {
    (void)state;
    struct trib_rule *rule = rule_of("fedavg | momentum(0.9)");
    float v[1] = {0}, own[1] = {0}, g[1] = {1};
    float *moments[] = {v, NULL, NULL};
    for (uint64_t t = 1; t <= 300; t++) {
        struct trib_rule_step step = {.count = t};
        trib_rule_optimise(rule, &step, moments, g, 1.0f, own, 1);
    }
    assert_true(fabs((double)v[0] - 10) < 1e-3);
    assert_true(own[0] > 2800 && own[0] < 3000);
    trib_rule_free(&rule);
}

/* lr is 1 in rounds; behind an asynchronous base 1 - beta; what is above that is warned of. */
static void momentum_and_delay(void **state) {
    (void)state;
    static const struct {
        const char *spec;
        float first; /* step of a gradient of 1 */
        bool warns;
    } cases[] = {
        {"fedavg | momentum(0.9)", 1, false},
        {"fedbuff | momentum(0.9)", 0.1f, false},
        {"fedasync | momentum(0.75)", 0.25f, false},
        {"fedbuff | momentum(0.9, lr=0.3)", 0.3f, true},
        {"fedavg | momentum(0.9, lr=2)", 2, false},
        {"fedbuff | momentum(0.5, lr=0.5)", 0.5f, false},
        {"fedbuff | momentum(0.9, lr=0.1)", 0.1f, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trib_rule *rule = rule_of(cases[i].spec);
        float v[1] = {0}, own[1] = {0}, g[1] = {1};
        float *moments[] = {v, NULL, NULL};
        struct trib_rule_step step = {.count = 1};
        trib_rule_optimise(rule, &step, moments, g, 1.0f, own, 1);
        if (fabsf(own[0] - cases[i].first) > 1e-6f) fail_msg("%s: %g", cases[i].spec, (double)own[0]);
        if ((trib_rule_warning(rule) != NULL) != cases[i].warns) fail_msg("%s: warning", cases[i].spec);
        trib_rule_free(&rule);
    }
}

/* A base that commits each update at once gathers it, for the optimiser. */
static void immediate_bases_gather(void **state) {
    (void)state;
    struct trib_rule *rule = rule_of("fedasync"), *through = rule_of("fedasync | adam");
    struct trib_rule *mixing = rule_of("fedasync(form=mix) | adam");
    struct trib_rule_memory memory = {.pending = 1};
    struct trib_rule_state at = {.active = 9};
    uint64_t wake_ms;
    assert_int_equal(trib_rule_form(rule), TRIB_RULE_IMMEDIATE);
    assert_true(trib_rule_at_once(rule) && !trib_rule_at_once(through) && !trib_rule_at_once(mixing));
    assert_int_equal(trib_rule_form(through), TRIB_RULE_GATHERING);
    assert_int_equal(trib_rule_form(mixing), TRIB_RULE_MIXING);
    assert_true(trib_rule_due(through, &memory, &at, &wake_ms));
    assert_true(trib_rule_scale(through, &memory) == 1.0f);
    trib_rule_free(&rule);
    trib_rule_free(&through);
    trib_rule_free(&mixing);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closed_forms),        cmocka_unit_test(fadas_shrinks_with_delay),
        cmocka_unit_test(tau_is_a_thousandth), cmocka_unit_test(momentum_is_not_damped),
        cmocka_unit_test(momentum_and_delay),  cmocka_unit_test(immediate_bases_gather),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
