/* Kernels over several rows: each set against plain C with qsort, at awkward lengths, counts of rows and
 * alignments, with equal values, zeros of both signs and the extremes. */
#include "shared/kernels/kernels.h"

#include "shared/base/bytes.h"
#include "shared/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROWS = 70,
    LENGTH = 67,
    OFFSETS = 3,
    ROOM = LENGTH + OFFSETS + 16,
    LONG = 2 * TRIB_GRAM_STRETCH + 333
};

struct data {
    float values[ROWS][ROOM], out[ROOM], expected[ROOM];
    const float *rows[ROWS];
};

/* Few different values, so that many are equal, and all magnitudes. */
static float any_float(struct trib_rng *rng) {
    switch (trib_rng_below(rng, 8)) {
    case 0: return trib_rng_below(rng, 2) != 0 ? 0.0F : -0.0F;
    case 1: return (float)trib_rng_below(rng, 5) - 2.0F;
    case 2: return ldexpf((float)trib_rng_unit(rng) - 0.5F, (int)trib_rng_below(rng, 250) - 140);
    case 3: return trib_rng_below(rng, 16) != 0 ? 1.0F : 3e38F;
    default: return (float)(trib_rng_unit(rng) * 4.0 - 2.0);
    }
}

static void fill(struct data *d, size_t at, uint64_t seed) {
    struct trib_rng rng = trib_rng_seed(seed, 1);
    for (size_t i = 0; i < ROWS; i++) {
        for (size_t j = 0; j < ROOM; j++) d->values[i][j] = any_float(&rng);
        d->rows[i] = d->values[i] + (at + i) % OFFSETS;
    }
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void sorted_column(float *v, const struct data *d, size_t k, size_t at) {
    for (size_t i = 0; i < k; i++) v[i] = d->rows[i][at] == 0.0F ? 0.0F : d->rows[i][at];
    qsort(v, k, sizeof *v, ascending);
}

static float median_of(const float *v, size_t k) {
    return k % 2 != 0 ? v[k / 2] : (v[k / 2 - 1] + v[k / 2]) * 0.5F;
}

static float mean_of(const float *v, size_t first, size_t count) {
    float sum = 0.0F;
    for (size_t i = first; i < first + count; i++) sum += v[i];
    return sum / (float)count;
}

/* Drops the farther end until `kept` are left. */
static float nearest_of(const float *v, size_t k, size_t kept) {
    float m = median_of(v, k);
    size_t first = 0;
    for (size_t left = k; left > kept; left--)
        if (v[first + left - 1] - m < m - v[first]) first++;
    return mean_of(v, first, kept);
}

static void same(const struct data *d, const char *what, const char *set, size_t k, size_t n) {
    for (size_t i = 0; i < ROOM; i++)
        if (trib_f32_bits(d->out[i]) != trib_f32_bits(d->expected[i]))
            fail_msg("%s of %s, %zu rows of %zu, at %zu: %a is not %a", what, set, k, n, i, d->out[i],
                     d->expected[i]);
}

static void clear(struct data *d) {
    for (size_t i = 0; i < ROOM; i++) d->out[i] = d->expected[i] = -77.0F; /* beyond n nothing is touched */
}

static void check_median(const struct trib_kernels *set, struct data *d, size_t at, size_t k, size_t n) {
    float v[ROWS];
    clear(d);
    for (size_t i = 0; i < n; i++) {
        sorted_column(v, d, k, i);
        d->expected[at + i] = median_of(v, k);
    }
    set->median_rows(d->out + at, d->rows, k, n);
    same(d, "median", set->name, k, n);
}

static void check_trimmed(const struct trib_kernels *set, struct data *d, size_t at, size_t k, size_t n) {
    float v[ROWS];
    for (size_t b = 0; 2 * b < k; b += 1 + k / 7) {
        clear(d);
        for (size_t i = 0; i < n; i++) {
            sorted_column(v, d, k, i);
            d->expected[at + i] = mean_of(v, b, k - 2 * b);
        }
        set->trimmed_rows(d->out + at, d->rows, k, b, n);
        same(d, "trimmed", set->name, k, n);
    }
}

static void check_nearest(const struct trib_kernels *set, struct data *d, size_t at, size_t k, size_t n) {
    float v[ROWS];
    for (size_t kept = 1; kept <= k; kept += 1 + k / 7) {
        clear(d);
        for (size_t i = 0; i < n; i++) {
            sorted_column(v, d, k, i);
            d->expected[at + i] = nearest_of(v, k, kept);
        }
        set->nearest_rows(d->out + at, d->rows, k, kept, n);
        same(d, "nearest", set->name, k, n);
    }
}

static void each_set(void (*check)(const struct trib_kernels *set)) {
    for (const struct trib_kernels *const *set = trib_kernels_list(); *set != NULL; set++) {
        if (trib_kernels_find((*set)->name) == NULL) {
            print_message("%s: not possible on this processor, left out\n", (*set)->name);
            continue;
        }
        check(*set);
    }
}

static void check_counts(const struct trib_kernels *set) {
    static const size_t lengths[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, LENGTH};
    static struct data d;
    for (size_t k = 1; k <= ROWS; k++)
        for (size_t l = k <= 17 ? 0 : k % 5; l < sizeof lengths / sizeof lengths[0]; l += k <= 17 ? 1 : 5) {
            size_t at = (k + l) % OFFSETS;
            fill(&d, at, k * 100 + l);
            check_median(set, &d, at, k, lengths[l]);
            check_trimmed(set, &d, at, k, lengths[l]);
            check_nearest(set, &d, at, k, lengths[l]);
        }
}

static void test_counts(void **state) {
    (void)state;
    each_set(check_counts);
}

/* Every order of zeros and ones: a network that sorts these sorts everything. */
static void check_network(const struct trib_kernels *set) {
    enum { MOST = 12, CODES = 1 << MOST };
    static float values[MOST][CODES], out[CODES];
    const float *rows[MOST];
    for (size_t k = 1; k <= MOST; k++) {
        size_t codes = (size_t)1 << k;
        for (size_t i = 0; i < k; i++) {
            for (size_t c = 0; c < codes; c++) values[i][c] = (float)(c >> i & 1U);
            rows[i] = values[i];
        }
        for (size_t b = 0; 2 * b + 1 <= k; b++) {
            set->trimmed_rows(out, rows, k, b, codes);
            for (size_t c = 0; c < codes; c++) {
                size_t ones = (size_t)__builtin_popcountll(c);
                size_t inside = ones <= b ? 0 : ones - b < k - 2 * b ? ones - b : k - 2 * b;
                assert_true(out[c] == (float)inside / (float)(k - 2 * b));
            }
        }
    }
}

static void test_network(void **state) {
    (void)state;
    each_set(check_network);
}

/* As many rows as there may be, in and out of order, and into one of them. */
static void check_most(const struct trib_kernels *set) {
    enum { N = 21 };
    static float values[TRIB_ROWS_MAX][N];
    const float *rows[TRIB_ROWS_MAX];
    float out[N];
    for (size_t i = 0; i < TRIB_ROWS_MAX; i++) {
        rows[i] = values[i];
        for (size_t j = 0; j < N; j++) values[i][j] = (float)((i * 389 + j * 31) % TRIB_ROWS_MAX);
    }
    set->median_rows(out, rows, TRIB_ROWS_MAX, N);
    for (size_t j = 0; j < N; j++) assert_true(out[j] == (TRIB_ROWS_MAX - 1) / 2.0F);
    set->nearest_rows(out, rows, TRIB_ROWS_MAX, 2, N);
    for (size_t j = 0; j < N; j++) assert_true(out[j] == (TRIB_ROWS_MAX - 1) / 2.0F);
    set->trimmed_rows(values[5], rows, TRIB_ROWS_MAX, TRIB_ROWS_MAX / 2 - 1, N);
    for (size_t j = 0; j < N; j++) assert_true(values[5][j] == (TRIB_ROWS_MAX - 1) / 2.0F);
}

static void test_most(void **state) {
    (void)state;
    each_set(check_most);
}

static void check_values(const struct trib_kernels *set) {
    const float a[] = {-0.0F, 1.0F, 5.0F}, b[] = {0.0F, 2.0F, 0.0F}, c[] = {-0.0F, 9.0F, 4.0F},
                e[] = {-0.0F, 4.0F, 1.0F};
    const float *rows[] = {a, b, c, e}, *back[] = {e, c, b, a};
    float out[3];
    set->median_rows(out, rows, 4, 3);
    assert_true(out[0] == 0.0F && !signbit(out[0]) && out[1] == 3.0F && out[2] == 2.5F);
    set->median_rows(out, rows, 1, 1);
    assert_true(out[0] == 0.0F && !signbit(out[0]));
    set->trimmed_rows(out, back, 4, 1, 3);
    assert_true(out[0] == 0.0F && out[1] == 3.0F && out[2] == 2.5F);
    set->nearest_rows(out, rows, 4, 3, 3); /* 5 and 0 are equally far from 2.5 */
    assert_true(out[1] == 7.0F / 3.0F && out[2] == 5.0F / 3.0F);
    set->nearest_rows(out, back, 4, 3, 3);
    assert_true(out[1] == 7.0F / 3.0F && out[2] == 5.0F / 3.0F);
}

static void test_values(void **state) {
    (void)state;
    each_set(check_values);
}

static bool same_doubles(const double *a, const double *b, size_t n) {
    return memcmp(a, b, n * sizeof *a) == 0;
}

/* Against dot, which defines it; in one call and in several. */
static void check_gram(const struct trib_kernels *set) {
    enum { K = 7 };
    static float values[K][LONG + OFFSETS];
    static const size_t lengths[] = {0, 1, 2, 15, 16, 17, 33, 1023, 1024, 1025, 2048, LONG};
    const float *rows[K], *later[K];
    struct trib_rng rng = trib_rng_seed(5, 1);
    for (size_t i = 0; i < K; i++) {
        rows[i] = values[i] + i % OFFSETS;
        later[i] = rows[i] + TRIB_GRAM_STRETCH;
        for (size_t j = 0; j < LONG + OFFSETS; j++) values[i][j] = (float)trib_rng_unit(&rng) - 0.4F;
    }
    for (size_t k = 1; k <= K; k++)
        for (size_t l = 0; l < sizeof lengths / sizeof lengths[0]; l++) {
            double sums[K * K] = {0}, expected[K * K] = {0};
            size_t n = lengths[l];
            for (size_t at = 0; at < n; at += TRIB_GRAM_STRETCH)
                for (size_t i = 0; i < k * k; i++)
                    expected[i] += trib_kernels_find("scalar")->dot(
                        rows[i / k] + at, rows[i % k] + at,
                        n - at < TRIB_GRAM_STRETCH ? n - at : TRIB_GRAM_STRETCH);
            set->gram(sums, rows, k, n);
            assert_true(same_doubles(sums, expected, k * k));
            if (n <= TRIB_GRAM_STRETCH) continue;
            memset(sums, 0, sizeof sums);
            set->gram(sums, rows, k, TRIB_GRAM_STRETCH);
            set->gram(sums, later, k, n - TRIB_GRAM_STRETCH);
            assert_true(same_doubles(sums, expected, k * k));
        }
}

static void test_gram(void **state) {
    (void)state;
    each_set(check_gram);
}

/* Products and sums at both ends of the range of floats: a fused product may not show. */
static void check_gram_range(const struct trib_kernels *set) {
    enum { N = 131 };
    float x[N], y[N];
    const float *rows[] = {x, y};
    struct trib_rng rng = trib_rng_seed(6, 1);
    for (size_t i = 0; i < N; i++) {
        x[i] = ldexpf((float)trib_rng_unit(&rng) - 0.5F, (int)trib_rng_below(&rng, 270) - 145);
        y[i] = ldexpf((float)trib_rng_unit(&rng) - 0.5F, (int)trib_rng_below(&rng, 270) - 145);
    }
    double sums[4] = {0}, expected[4] = {0};
    set->gram(sums, rows, 2, N);
    for (size_t i = 0; i < 4; i++)
        expected[i] = trib_kernels_find("scalar")->dot(rows[i / 2], rows[i % 2], N);
    assert_true(same_doubles(sums, expected, 4));
}

static void test_gram_range(void **state) {
    (void)state;
    each_set(check_gram_range);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts), cmocka_unit_test(test_network), cmocka_unit_test(test_most),
        cmocka_unit_test(test_values), cmocka_unit_test(test_gram),    cmocka_unit_test(test_gram_range),
    };
    return cmocka_run_group_tests_name("kernels_rows", tests, NULL, NULL);
}
