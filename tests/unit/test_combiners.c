/* Combiners on small vectors: closed forms, and what wrong formulas would give instead. */
#include "tests/support/cmocka.h"

#include "shared/base/rng.h"
#include "shared/rules/rule.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 64, LONG = 10000 };

struct table {
    size_t count, parameters;
    const float *values; /* row by row */
    size_t passes;
};

static void read_table(void *ctx, size_t worker, size_t at, size_t n, float *const *rows) {
    struct table *t = ctx;
    (void)worker;
    if (at == 0) t->passes++; /* by the one worker that has the first range */
    assert_true(at + n <= t->parameters);
    for (size_t i = 0; i < t->count; i++)
        memcpy(rows[i], t->values + i * t->parameters + at, n * sizeof **rows);
}

static struct trib_rule *rule_of(const char *spec) {
    struct trib_rule *rule = NULL;
    struct trib_error err = {0};
    if (trib_rule_new(spec, TRIB_TIER_EDGE, &rule, &err) != TRIB_OK) fail_msg("%s: %s", spec, err.text);
    return rule;
}

struct more {
    const float *previous;
    double norm;
    uint64_t seed;
};

static void combine(const char *spec, size_t count, size_t parameters, const float *values, struct more more,
                    float *out) {
    struct trib_rule *rule = rule_of(spec);
    struct table table = {.count = count, .parameters = parameters, .values = values};
    struct trib_rule_rows rows = {.count = count,
                                  .parameters = parameters,
                                  .read = read_table,
                                  .ctx = &table,
                                  .previous = more.previous,
                                  .norm = more.norm,
                                  .seed = more.seed};
    struct trib_error err = {0};
    if (trib_rule_combine(rule, &rows, out, &err) != TRIB_OK) fail_msg("%s: %s", spec, err.text);
    assert_true(table.passes >= 1 && table.passes <= 2);
    trib_rule_free(&rule);
}

static void assert_close(float found, double expected) {
    if (!(fabs((double)found - expected) <= 1e-6 * (1 + fabs(expected))))
        fail_msg("found %.9g, not %.9g", (double)found, expected);
}

static void medians(void **state) {
    (void)state;
    static const float odd[] = {1, 50, -3, 2, -7, -3, 900, 4, -3};
    float out[3];
    combine("median | fedbuff(k=3)", 3, 3, odd, (struct more){0}, out);
    assert_close(out[0], 2);
    assert_close(out[1], 4);
    assert_close(out[2], -3);
    static const float even[] = {1, 2, 5, 1000};
    combine("median | fedbuff(k=4)", 4, 1, even, (struct more){0}, out);
    assert_close(out[0], 3.5);
}

/* Divided by n - 2f, not by n: 5 would be 3. */
static void trimmed_mean_divides_by_what_is_left(void **state) {
    (void)state;
    static const float values[] = {4, 1e9f, 6, -1e9f, 5};
    float out[1];
    combine("trimmed_mean(f=1) | fedbuff(k=5)", 5, 1, values, (struct more){0}, out);
    assert_close(out[0], 5);
}

/* Scores by squared distances: 0 is chosen below (2 * 9 = 18 against 1 + 25 = 26). Distances squared once
 * more would choose alike here, plain ones 1 (3 + 3 = 6 against 1 + 5 = 6: a tie), so the second case
 * separates them. */
static void krum_is_one_of_the_rows(void **state) {
    (void)state;
    static const float values[] = {0, 0.1f, 0.2f, 0.3f, 100};
    float out[1];
    combine("krum(f=1) | fedbuff(k=5)", 5, 1, values, (struct more){0}, out);
    assert_true(out[0] == 0.1f || out[0] == 0.2f);
}

/* Five rows, f = 0: each sums its n - 2 = 3 nearest. Squared distances: the row at 0 has 3 * 16 = 48, the row
 * at 10 has 1 + 1 + 36 = 38 and wins; the fourth power has 3 * 256 = 768 against 1 + 1 + 1296 = 1298, and the
 * row at 0 would win. Rows stand on axes of their own, so that distances are as they are meant. */
static void krum_squares_distances_once(void **state) {
    (void)state;
    enum { N = 7 };
    /* the gram of distances: 0-1, 0-2, 0-3 at 4; 4-5, 4-6 at 1, and 6 from 4 to 3 */
    float values[7 * N];
    memset(values, 0, sizeof values);
    /* rows 0..3: a simplex with edge 4: axes scaled by 4 / sqrt(2) */
    for (size_t i = 0; i < 4; i++) values[i * N + i] = (float)(4 / sqrt(2.0));
    /* rows 4, 5, 6: near each other, far from the rest */
    for (size_t i = 4; i < 7; i++) {
        values[i * N + 4] = 6;
        values[i * N + i] += (float)(1 / sqrt(2.0));
    }
    values[4 * N + 4] = 6 + (float)(1 / sqrt(2.0));
    float out[N];
    combine("krum(f=1) | fedbuff(k=7)", 7, N, values, (struct more){0}, out);
    double squares[7], fourths[7];
    for (size_t i = 0; i < 7; i++) {
        double d[7];
        size_t count = 0;
        for (size_t j = 0; j < 7; j++) {
            double sum = 0;
            for (size_t c = 0; c < N; c++)
                sum += pow((double)values[i * N + c] - (double)values[j * N + c], 2);
            if (j != i) d[count++] = sum;
        }
        for (size_t a = 0; a < count; a++) /* ascending */
            for (size_t b = a + 1; b < count; b++)
                if (d[b] < d[a]) {
                    double kept = d[a];
                    d[a] = d[b];
                    d[b] = kept;
                }
        squares[i] = fourths[i] = 0;
        for (size_t a = 0; a < 7 - 1 - 2; a++) {
            squares[i] += d[a];
            fourths[i] += d[a] * d[a];
        }
    }
    size_t once = 0, twice = 0;
    for (size_t i = 1; i < 7; i++) {
        if (squares[i] < squares[once]) once = i;
        if (fourths[i] < fourths[twice]) twice = i;
    }
    assert_int_not_equal(once, twice);
    assert_memory_equal(out, values + once * N, sizeof out);
}

/* The sum of the two would be 0.5. */
static void multi_krum_is_a_mean(void **state) {
    (void)state;
    static const float values[] = {0.2f, 0.3f, 0.21f, 50, 0.22f, 0.1f, -70};
    float out[1];
    combine("multi_krum(f=2, m=3) | fedbuff(k=7)", 7, 1, values, (struct more){0}, out);
    assert_close(out[0], 0.21);
    combine("multi_krum(f=2) | fedbuff(k=7)", 7, 1, values, (struct more){0}, out); /* m = 3 */
    assert_close(out[0], 0.21);
}

/* n = 7, f = 1: Krum leaves 5 of them, and of each coordinate the 3 nearest to the median are averaged. A
 * large coordinate in an otherwise near row does not come through. */
static void bulyan_by_hand(void **state) {
    (void)state;
    static const float values[] = {1, 1, 1.1f, 1.1f, 0.9f, 0.9f, 1.2f, 1.2f, 0.8f, 0.8f, 1.05f, 9, -40, 40};
    float out[2];
    combine("bulyan(f=1) | fedbuff(k=7)", 7, 2, values, (struct more){0}, out);
    assert_close(out[0], 1.0);
    assert_close(out[1], 1.0);
}

static void geometric_median_of_a_line(void **state) {
    (void)state;
    /* On a line it is the median; Weiszfeld comes near it. The mean is 20.4. */
    static const float values[] = {0, 0, 1, 0, 2, 0, -1, 0, 100, 0};
    float out[2];
    combine("geometric_median(iterations=200, ftol=0) | fedbuff(k=5)", 5, 2, values, (struct more){0}, out);
    assert_true(fabs((double)out[0] - 1) < 1e-2 && out[1] == 0);
    /* One step by hand: from the mean 2 of 0, 1, 5, weights 1/2, 1, 1/3: (0 + 1 + 5/3) / (11/6) = 16/11. */
    static const float three[] = {0, 1, 5};
    combine("geometric_median(iterations=1) | fedbuff(k=3)", 3, 1, three, (struct more){0}, out);
    assert_close(out[0], 16.0 / 11);
}

static void centred_clipping_by_hand(void **state) {
    (void)state;
    /* v = 0, tau = 1: 0.5 stays, 3 becomes 1, -9 becomes -1: v = 0.5 / 3. */
    static const float values[] = {0.5f, 3, -9};
    float out[1];
    combine("centered_clip(tau=1, iterations=1) | fedbuff(k=3)", 3, 1, values, (struct more){0}, out);
    assert_close(out[0], 0.5 / 3);
    double v = 0; /* three steps */
    for (int step = 0; step < 3; step++) {
        double sum = 0;
        for (size_t i = 0; i < 3; i++) {
            double d = (double)values[i] - v;
            sum += fabs(d) > 1 ? d / fabs(d) : d;
        }
        v += sum / 3;
    }
    combine("centered_clip(tau=1, iterations=3) | fedbuff(k=3)", 3, 1, values, (struct more){0}, out);
    assert_close(out[0], v);
    /* From what the last commit combined: differences are clipped, not updates. */
    static const float previous[] = {3};
    combine("centered_clip(tau=1, iterations=1) | fedbuff(k=3)", 3, 1, values,
            (struct more){.previous = previous}, out);
    assert_close(out[0], 3 + (-1 + 0 - 1) / 3.0);
    /* auto: 1.5 times the median norm, 2 here, so 3. */
    combine("centered_clip(iterations=1) | fedbuff(k=3)", 3, 1, values, (struct more){.norm = 2}, out);
    assert_close(out[0], (0.5 + 3 - 3) / 3);
}

/* All equal: every combiner gives what they are. */
static void all_alike(void **state) {
    (void)state;
    static const char *const specs[] = {"median",           "trimmed_mean(f=2)", "krum(f=2)",
                                        "multi_krum(f=2)",  "bulyan(f=2)",       "geometric_median",
                                        "centered_clip(5)", "bucket(3) | median"};
    float values[13 * 5], out[5];
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) values[i] = 0.25f * (float)(i % 5) - 0.5f;
    for (size_t s = 0; s < sizeof specs / sizeof *specs; s++) {
        char spec[200];
        (void)snprintf(spec, sizeof spec, "%s | fedbuff(k=13)", specs[s]);
        combine(spec, 13, 5, values, (struct more){0}, out);
        for (size_t i = 0; i < 5; i++) assert_close(out[i], (double)values[i]);
    }
}

static float noise(uint64_t *x) {
    *x = *x * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(*x >> 32) * 0x1p-31f;
}

/* The order in which updates came does not matter, but for rounding, where buckets do not draw on it. */
static void order_does_not_matter(void **state) {
    (void)state;
    static const char *const specs[] = {"median",          "trimmed_mean(f=2)", "krum(f=2)",
                                        "multi_krum(f=2)", "bulyan(f=2)",       "geometric_median",
                                        "centered_clip(1)"};
    enum { K = 11, N = 33 };
    float forwards[K * N], backwards[K * N], a[N], b[N];
    uint64_t x = 5;
    for (size_t i = 0; i < K * N; i++) forwards[i] = noise(&x);
    for (size_t i = 0; i < K; i++) memcpy(backwards + i * N, forwards + (K - 1 - i) * N, N * sizeof *a);
    for (size_t s = 0; s < sizeof specs / sizeof *specs; s++) {
        char spec[200];
        (void)snprintf(spec, sizeof spec, "%s | fedbuff(k=%d)", specs[s], K);
        combine(spec, K, N, forwards, (struct more){0}, a);
        combine(spec, K, N, backwards, (struct more){0}, b);
        for (size_t i = 0; i < N; i++) assert_close(a[i], (double)b[i]);
    }
}

/* f of n are anywhere: the result stays near the others. */
static void attackers_do_not_move_it(void **state) {
    (void)state;
    static const char *const specs[] = {"median",          "trimmed_mean(f=2)",
                                        "krum(f=2)",       "multi_krum(f=2)",
                                        "bulyan(f=2)",     "geometric_median(iterations=20)",
                                        "centered_clip(2)"};
    enum { K = 11, N = 16 };
    float values[K * N], out[N];
    uint64_t x = 9;
    for (size_t i = 0; i < K * N; i++)
        values[i] = (i / N == 3 || i / N == 7 ? 1e4f : 1.0f + 0.1f * noise(&x));
    for (size_t s = 0; s < sizeof specs / sizeof *specs; s++) {
        char spec[200];
        (void)snprintf(spec, sizeof spec, "%s | fedbuff(k=%d)", specs[s], K);
        combine(spec, K, N, values, (struct more){0}, out);
        for (size_t i = 0; i < N; i++)
            if (!(fabs((double)out[i]) < 2.0)) fail_msg("%s: %g", specs[s], (double)out[i]);
    }
}

/* Means of buckets: seven updates in buckets of three make three rows, each update in one of them. */
static void buckets(void **state) {
    (void)state;
    static const float values[] = {1, 10, 100, 1000, 10000, 100000, 1000000};
    float out[1], other[1];
    bool differs = false;
    for (uint64_t seed = 0; seed < 20; seed++) {
        combine("bucket(3) | trimmed_mean(f=0) | fedbuff(k=7)", 7, 1, values, (struct more){.seed = seed},
                out);
        /* 3, 3 and 1 of them: three times the mean of means is sum of two thirds... and the lonely one whole
         */
        double lonely = -1;
        for (size_t i = 0; i < 7; i++) {
            double rest = 1111111.0 - (double)values[i];
            if (fabs((rest / 3 + (double)values[i]) / 3 - (double)out[0]) < 0.01 * (double)out[0])
                lonely = (double)values[i];
        }
        assert_true(lonely >= 1);
        combine("bucket(3) | trimmed_mean(f=0) | fedbuff(k=7)", 7, 1, values, (struct more){.seed = seed},
                other);
        assert_true(out[0] == other[0]); /* the same seed, the same buckets */
        combine("bucket(3) | trimmed_mean(f=0) | fedbuff(k=7)", 7, 1, values, (struct more){.seed = seed + 1},
                other);
        differs = differs || out[0] != other[0];
    }
    assert_true(differs);
}

/* Long vectors go through in blocks; the result is that of each part alone. */
static void long_vectors(void **state) {
    (void)state;
    static float values[7 * LONG], out[LONG], part[7 * 100], expected[100];
    uint64_t x = 77;
    for (size_t i = 0; i < 7 * LONG; i++) values[i] = noise(&x);
    combine("median | fedbuff(k=7)", 7, LONG, values, (struct more){0}, out);
    for (size_t at = 0; at < LONG; at += 3300) {
        for (size_t r = 0; r < 7; r++) memcpy(part + r * 100, values + r * LONG + at, 100 * sizeof *part);
        combine("median | fedbuff(k=7)", 7, 100, part, (struct more){0}, expected);
        assert_memory_equal(expected, out + at, sizeof expected);
    }
    combine("krum(f=1) | fedbuff(k=7)", 7, LONG, values, (struct more){0}, out);
    bool found = false;
    for (size_t r = 0; r < 7; r++) found = found || memcmp(out, values + r * LONG, sizeof out) == 0;
    assert_true(found);
}

/* Ranges that several workers take give the bits that one gives. */
static void shards_change_nothing(void **state) {
    (void)state;
    enum { WIDE = 3 * 65536 + 777, K = 7 };
    static const char *const specs[] = {
        "median",           "trimmed_mean(f=2)",    "multi_krum(f=1, m=3)", "bulyan(f=1)",
        "geometric_median", "centered_clip(tau=1)", "bucket(2) | median"};
    static float values[K * WIDE], previous[WIDE], one[WIDE], many[WIDE];
    struct trib_rng rng = trib_rng_seed(8, 0);
    for (size_t i = 0; i < K * WIDE; i++) values[i] = (float)trib_rng_unit(&rng) - 0.5f;
    for (size_t i = 0; i < WIDE; i++) previous[i] = (float)trib_rng_unit(&rng) - 0.5f;
    for (size_t s = 0; s < sizeof specs / sizeof specs[0]; s++) {
        char spec[80];
        (void)snprintf(spec, sizeof spec, "%s | fedbuff(k=%d)", specs[s], K);
        struct trib_rule *rule = rule_of(spec);
        for (size_t width = 1; width <= 3; width++) {
            struct trib_shards *shards = NULL;
            struct table table = {.count = K, .parameters = WIDE, .values = values};
            assert_int_equal(trib_shards_new(width, &shards, NULL), TRIB_OK);
            struct trib_rule_rows rows = {.count = K,
                                          .parameters = WIDE,
                                          .read = read_table,
                                          .ctx = &table,
                                          .shards = width > 1 ? shards : NULL,
                                          .previous = s % 2 == 0 ? previous : NULL,
                                          .norm = 3,
                                          .seed = 1};
            assert_int_equal(trib_rule_combine(rule, &rows, width == 1 ? one : many, NULL), TRIB_OK);
            if (width > 1) assert_memory_equal(one, many, sizeof one);
            trib_shards_free(&shards);
        }
        trib_rule_free(&rule);
    }
}

static void too_few(void **state) {
    (void)state;
    struct trib_rule *rule = rule_of("bucket(2) | krum(f=1) | fedbuff(k=9)");
    assert_int_equal(trib_rule_least(rule), 9);
    static const float values[8];
    struct table table = {.count = 8, .parameters = 1, .values = values};
    struct trib_rule_rows rows = {.count = 8, .parameters = 1, .read = read_table, .ctx = &table};
    float out[1];
    assert_int_equal(trib_rule_combine(rule, &rows, out, NULL), TRIB_INVALID);
    struct trib_rule_memory memory = {.pending = 8};
    struct trib_rule_state at = {.active = 3, .now_ms = 10};
    uint64_t wake_ms;
    assert_false(trib_rule_due(rule, &memory, &at, &wake_ms));
    assert_true(trib_rule_short(rule, &memory, &at)); /* fedbuff would commit with three active */
    memory.pending = 9;
    assert_true(trib_rule_due(rule, &memory, &at, &wake_ms));
    assert_false(trib_rule_short(rule, &memory, &at));
    trib_rule_free(&rule);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(medians),
        cmocka_unit_test(shards_change_nothing),
        cmocka_unit_test(trimmed_mean_divides_by_what_is_left),
        cmocka_unit_test(krum_is_one_of_the_rows),
        cmocka_unit_test(krum_squares_distances_once),
        cmocka_unit_test(multi_krum_is_a_mean),
        cmocka_unit_test(bulyan_by_hand),
        cmocka_unit_test(geometric_median_of_a_line),
        cmocka_unit_test(centred_clipping_by_hand),
        cmocka_unit_test(all_alike),
        cmocka_unit_test(order_does_not_matter),
        cmocka_unit_test(attackers_do_not_move_it),
        cmocka_unit_test(buckets),
        cmocka_unit_test(long_vectors),
        cmocka_unit_test(too_few),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
