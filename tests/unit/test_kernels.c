/* Every kernel set against the scalar one: equal to the bit at awkward lengths, at unaligned starts and with
 * NaN and infinity in every lane. The scalar set itself against known values. */
#include "shared/kernels/kernels.h"

#include "shared/base/bytes.h"
#include "shared/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST = 1023, OFFSETS = 3, ROOM = MOST + OFFSETS + 16 };

struct data {
    float x[ROOM], y[ROOM], out_a[ROOM], out_b[ROOM];
    int8_t q[ROOM], q_a[ROOM], q_b[ROOM];
    uint16_t h[ROOM], h_a[ROOM], h_b[ROOM];
    uint8_t codes[ROOM], bits[ROOM];
    uint32_t at_a[ROOM], at_b[ROOM];
};

static const struct trib_kernels *scalar(void) {
    return trib_kernels_find("scalar");
}

/* Floats of all magnitudes, halves to round and zeros among them. */
static float any_float(struct trib_rng *rng) {
    switch (trib_rng_below(rng, 8)) {
    case 0: return (float)((double)trib_rng_below(rng, 512) - 256.0) * 0.5F;
    case 1: return trib_rng_below(rng, 2) != 0 ? 0.0F : -0.0F;
    case 2: return ldexpf((float)trib_rng_unit(rng) - 0.5F, (int)trib_rng_below(rng, 250) - 140);
    case 3: return ldexpf((float)trib_rng_unit(rng) - 0.5F, -(int)trib_rng_below(rng, 26));
    default: return (float)(trib_rng_unit(rng) * 4.0 - 2.0);
    }
}

static void fill(struct data *d, uint64_t seed) {
    struct trib_rng rng = trib_rng_seed(seed, 1);
    for (size_t i = 0; i < ROOM; i++) {
        d->x[i] = any_float(&rng);
        d->y[i] = any_float(&rng);
        d->q[i] = (int8_t)((int)trib_rng_below(&rng, 256) - 128);
        d->codes[i] = (uint8_t)trib_rng_below(&rng, 16);
        d->bits[i] = (uint8_t)trib_rng_u64(&rng);
        d->h[i] = (uint16_t)trib_rng_below(&rng, 0x7C00) | (uint16_t)(trib_rng_below(&rng, 2) << 15);
    }
}

/* Equal bits; any NaN equals any NaN, since C leaves its payload open. */
static void same_float(float a, float b, const char *what, size_t n) {
    if (isnan(a) && isnan(b)) return;
    if (trib_f32_bits(a) != trib_f32_bits(b)) fail_msg("%s, length %zu: %a is not %a", what, n, a, b);
}

static void same_floats(const float *a, const float *b, const char *what, size_t n) {
    for (size_t i = 0; i < ROOM; i++) same_float(a[i], b[i], what, n); /* beyond n too: nothing is touched */
}

static void same_double(double a, double b, const char *what, size_t n) {
    if (isnan(a) && isnan(b)) return;
    if (memcmp(&a, &b, sizeof a) != 0) fail_msg("%s, length %zu: %a is not %a", what, n, a, b);
}

static void compare_floats(const struct trib_kernels *k, struct data *d, size_t at, size_t n) {
    const struct trib_kernels *s = scalar();
    const float a = -0.37F;
#define BOTH(call_s, call_k)                                                                                 \
    do {                                                                                                     \
        memcpy(d->out_a, d->y, sizeof d->y);                                                                 \
        memcpy(d->out_b, d->y, sizeof d->y);                                                                 \
        call_s;                                                                                              \
        call_k;                                                                                              \
        same_floats(d->out_a, d->out_b, #call_k, n);                                                         \
    } while (0)
    BOTH(s->add_scaled(d->out_a + at, d->x + at, a, n), k->add_scaled(d->out_b + at, d->x + at, a, n));
    BOTH(s->add_scaled(d->out_a + at, d->x, a, n), k->add_scaled(d->out_b + at, d->x, a, n));
    BOTH(s->scale(d->out_a + at, a, n), k->scale(d->out_b + at, a, n));
    BOTH(s->add_int8(d->out_a + at, d->q + at, a, n), k->add_int8(d->out_b + at, d->q + at, a, n));
    BOTH(s->add_f16(d->out_a + at, d->h + at, a, n), k->add_f16(d->out_b + at, d->h + at, a, n));
    BOTH(s->add_bf16(d->out_a + at, d->h + at, a, n), k->add_bf16(d->out_b + at, d->h + at, a, n));
    BOTH(s->flip(d->out_a + at, d->x + at, d->bits + at, a, n),
         k->flip(d->out_b + at, d->x + at, d->bits + at, a, n));
    BOTH(s->flip(d->out_a + at, d->out_a + at, d->bits, a, n),
         k->flip(d->out_b + at, d->out_b + at, d->bits, a, n));
    BOTH(s->add_table(d->out_a + at, d->codes + at, d->x, n),
         k->add_table(d->out_b + at, d->codes + at, d->x, n));
    if (n > 0 && (n & (n - 1)) == 0) BOTH(s->hadamard(d->out_a + at, n), k->hadamard(d->out_b + at, n));
#undef BOTH
    same_float(s->absmax(d->x + at, n), k->absmax(d->x + at, n), "absmax", n);
    same_double(s->sum_squares(d->x + at, n), k->sum_squares(d->x + at, n), "sum_squares", n);
    same_double(s->dot(d->x + at, d->y, n), k->dot(d->x + at, d->y, n), "dot", n);
    assert_int_equal(s->all_finite(d->x + at, n), k->all_finite(d->x + at, n));
    assert_int_equal(s->all_finite_f16(d->h + at, n), k->all_finite_f16(d->h + at, n));
}

static void compare_levels(const struct trib_kernels *k, struct data *d, size_t at, size_t n) {
    static const float thresholds[15] = {0.0F, 0.125F, 0.25F, 0.5F, 0.75F, 1.0F,  1.25F, 1.5F,
                                         1.7F, 1.8F,   1.9F,  2.0F, 20.0F, 40.0F, 1e30F};
    uint8_t *a = (uint8_t *)d->q_a, *b = (uint8_t *)d->q_b;
    for (size_t count = 0; count <= 15; count += 3) {
        memset(a, 1, ROOM);
        memset(b, 1, ROOM);
        scalar()->level_codes(a + at, d->x + at, 1.0F, thresholds, count, 16, n);
        k->level_codes(b + at, d->x + at, 1.0F, thresholds, count, 16, n);
        assert_memory_equal(a, b, ROOM);
    }
}

static void compare_collect(const struct trib_kernels *k, struct data *d, size_t at, size_t n) {
    static const uint32_t thresholds[] = {0, 1, 0x3F000000U, 0x3F800000U, 0x7F800000U, 0x7FFFFFFFU};
    for (size_t t = 0; t < sizeof thresholds / sizeof thresholds[0]; t++) {
        size_t a = scalar()->collect(d->at_a, d->out_a, d->x + at, thresholds[t], 5, n);
        size_t b = k->collect(d->at_b, d->out_b, d->x + at, thresholds[t], 5, n);
        assert_int_equal(a, b);
        if (a == 0) continue;
        assert_memory_equal(d->at_a, d->at_b, a * sizeof d->at_a[0]);
        assert_memory_equal(d->out_a, d->out_b, a * sizeof d->out_a[0]);
    }
}

static void compare_integers(const struct trib_kernels *k, struct data *d, size_t at, size_t n) {
    const struct trib_kernels *s = scalar();
    memset(d->q_a, 1, sizeof d->q_a);
    memset(d->q_b, 1, sizeof d->q_b);
    s->quantise_int8(d->q_a + at, d->x + at, 1.0F, n);
    k->quantise_int8(d->q_b + at, d->x + at, 1.0F, n);
    assert_memory_equal(d->q_a, d->q_b, sizeof d->q_a);
    memset(d->h_a, 1, sizeof d->h_a);
    memset(d->h_b, 1, sizeof d->h_b);
    s->to_f16(d->h_a + at, d->x + at, n);
    k->to_f16(d->h_b + at, d->x + at, n);
    assert_memory_equal(d->h_a, d->h_b, sizeof d->h_a);
    memset(d->h_a, 1, sizeof d->h_a);
    memset(d->h_b, 1, sizeof d->h_b);
    s->to_bf16(d->h_a + at, d->x + at, n);
    k->to_bf16(d->h_b + at, d->x + at, n);
    assert_memory_equal(d->h_a, d->h_b, sizeof d->h_a);
    compare_levels(k, d, at, n);
    compare_collect(k, d, at, n);
    assert_true(s->sum_squares_int8(d->q + at, n) == k->sum_squares_int8(d->q + at, n));
    assert_int_equal(s->crc32c(7, d->q + at, n), k->crc32c(7, d->q + at, n));
}

static void compare(const struct trib_kernels *k, struct data *d, size_t at, size_t n) {
    compare_floats(k, d, at, n);
    compare_integers(k, d, at, n);
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

static bool awkward(size_t n) {
    return n <= 64 || (n >= 127 && n <= 129) || (n >= 255 && n <= 257) || n >= 1000;
}

static void check_lengths(const struct trib_kernels *set) {
    static struct data d;
    for (size_t n = 0; n <= MOST; n++) {
        if (!awkward(n)) continue;
        fill(&d, n);
        for (size_t at = 0; at < OFFSETS; at++) compare(set, &d, at, n);
    }
}

static void test_lengths(void **state) {
    (void)state;
    each_set(check_lengths);
}

static void check_lanes(const struct trib_kernels *set) {
    static const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    static const uint16_t bad_half[] = {0x7E01, 0xFE00, 0x7C00, 0xFC00};
    static struct data d;
    const size_t n = 77; /* full registers of every width and a tail */
    for (size_t lane = 0; lane < n; lane++) {
        for (size_t b = 0; b < 4; b++) {
            fill(&d, lane);
            d.x[1 + lane] = bad[b];
            d.h[1 + lane] = bad_half[b];
            compare(set, &d, 1, n);
            assert_true(isnan(set->absmax(d.x + 1, n)));
            assert_false(set->all_finite(d.x + 1, n));
            assert_false(set->all_finite_f16(d.h + 1, n));
        }
    }
}

static void test_lanes(void **state) {
    (void)state;
    each_set(check_lanes);
}

/* all_finite looks at long vectors in stretches: each of them counts. */
static void check_long_finite(const struct trib_kernels *set) {
    enum { LONG = 5000 };
    static float x[LONG];
    memset(x, 0, sizeof x);
    assert_true(set->all_finite(x, LONG));
    for (size_t i = 0; i < LONG; i += 7) {
        x[i] = i % 2 != 0 ? INFINITY : NAN;
        assert_false(set->all_finite(x, LONG));
        x[i] = 0.0F;
    }
}

static void test_long_finite(void **state) {
    (void)state;
    each_set(check_long_finite);
}

/* Every half there is goes through float and back; every float near a half's border rounds alike. */
static void check_halves(const struct trib_kernels *set) {
    for (uint32_t first = 0; first < 65536; first += 16) {
        uint16_t half[16], back[16], back_scalar[16];
        float value[16] = {0}, value_scalar[16] = {0};
        for (uint32_t i = 0; i < 16; i++) half[i] = (uint16_t)(first + i);
        for (uint32_t i = 0; i < 16; i++) value[i] = value_scalar[i] = -0.0F;
        set->add_f16(value, half, 1.0F, 16);
        scalar()->add_f16(value_scalar, half, 1.0F, 16);
        for (uint32_t i = 0; i < 16; i++) same_float(value[i], value_scalar[i], "half to float", i);
        set->to_f16(back, value, 16);
        for (uint32_t i = 0; i < 16; i++)
            if (!isnan(value[i])) assert_int_equal(back[i], half[i]);
        for (int step = -1; step <= 1; step++) {
            float between[16];
            for (uint32_t i = 0; i < 16; i++) {
                uint32_t bits = trib_f32_bits(value[i]) + 0x1000U + (uint32_t)step; /* half way up */
                between[i] = trib_get_f32(&bits);
            }
            set->to_f16(back, between, 16);
            scalar()->to_f16(back_scalar, between, 16);
            assert_memory_equal(back, back_scalar, sizeof back);
        }
    }
}

static void test_halves(void **state) {
    (void)state;
    each_set(check_halves);
}

static void test_half_values(void **state) {
    (void)state;
    static const struct {
        float x;
        uint16_t h;
    } known[] = {
        {0.0F, 0x0000},
        {-0.0F, 0x8000},
        {1.0F, 0x3C00},
        {-2.0F, 0xC000},
        {65504.0F, 0x7BFF},
        {65519.996F, 0x7BFF},
        {65520.0F, 0x7C00},
        {1e30F, 0x7C00},
        {0x1p-14F, 0x0400},
        {0x1p-24F, 0x0001},
        {0x1p-25F, 0x0000},
        {0x1.000002p-25F, 0x0001},
        {0x1.8p-24F, 0x0002},
        {0x1.ffep-15F, 0x0400},
        {0x1.002p0F, 0x3C00},
        {0x1.006p0F, 0x3C02},
        {INFINITY, 0x7C00},
        {-INFINITY, 0xFC00},
        {0.333251953125F, 0x3555},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        uint16_t h;
        scalar()->to_f16(&h, &known[i].x, 1);
        if (h != known[i].h) fail_msg("%a gives %04x, not %04x", known[i].x, h, known[i].h);
    }
}

static void test_bfloat_values(void **state) {
    (void)state;
    static const struct {
        float x;
        uint16_t h;
    } known[] = {{0.0F, 0x0000},          {-0.0F, 0x8000},           {1.0F, 0x3F80},
                 {-2.0F, 0xC000},         {0x1.01p0F, 0x3F80},       {0x1.010002p0F, 0x3F81},
                 {0x1.03p0F, 0x3F82},     {0x1.fffffep127F, 0x7F7F}, {-0x1.ffp127F, 0xFF7F},
                 {0x1p-149F, 0x0000},     {INFINITY, 0x7F80},        {-INFINITY, 0xFF80},
                 {0x1.fffffep-1F, 0x3F80}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        uint16_t h;
        scalar()->to_bf16(&h, &known[i].x, 1);
        if (h != known[i].h) fail_msg("%a gives %04x, not %04x", known[i].x, h, known[i].h);
    }
}

/* The transform against its definition: H[i][j] = (-1)^(bits that i and j share). */
static void test_hadamard_values(void **state) {
    (void)state;
    float x[64], y[64];
    for (size_t n = 1; n <= 64; n *= 2) {
        for (size_t i = 0; i < n; i++) x[i] = y[i] = (float)(i * i % 17) - 8.0F;
        scalar()->hadamard(x, n);
        for (size_t i = 0; i < n; i++) {
            float sum = 0.0F;
            for (size_t j = 0; j < n; j++) sum += __builtin_parityll(i & j) != 0 ? -y[j] : y[j];
            assert_true(x[i] == sum); /* small integers: every order is exact */
        }
    }
}

static void test_level_values(void **state) {
    (void)state;
    static const float x[] = {0.0F, -0.0F, 0.49F, -0.5F, 1.0F, -7.0F, NAN}, thresholds[] = {1.0F, 2.0F, 3.0F};
    static const uint8_t expected[] = {0, 4, 0, 5, 2, 7, 0};
    uint8_t codes[sizeof expected];
    scalar()->level_codes(codes, x, 2.0F, thresholds, 3, 4, sizeof expected);
    assert_memory_equal(codes, expected, sizeof expected);
}

static void test_quantise_values(void **state) {
    (void)state;
    static const float x[] = {0.5F, 1.5F,  2.5F,    -0.5F,    -1.5F,     126.5F, 127.5F,
                              1e9F, -1e9F, -127.4F, INFINITY, -INFINITY, NAN,    0.49999997F};
    static const int8_t expected[] = {0, 2, 2, 0, -2, 126, 127, 127, -127, -127, 127, -127, 127, 0};
    int8_t q[sizeof expected];
    scalar()->quantise_int8(q, x, 1.0F, sizeof expected);
    assert_memory_equal(q, expected, sizeof expected);
}

/* Sums of millions: no lane of a partial sum may overflow. */
static void check_long_sums(const struct trib_kernels *set) {
    const size_t n = 5000011;
    int8_t *q = malloc(n);
    assert_non_null(q);
    memset(q, -128, n);
    assert_true(set->sum_squares_int8(q, n) == (int64_t)n * 16384);
    free(q);
}

static void test_long_sums(void **state) {
    (void)state;
    each_set(check_long_sums);
}

static void check_crc(const struct trib_kernels *set) {
    static uint8_t data[40000];
    assert_int_equal(set->crc32c(0, "", 0), 0);
    assert_int_equal(set->crc32c(0, "123456789", 9), 0xE3069283U);
    memset(data, 0, 32); /* RFC 3720, B.4 */
    assert_int_equal(set->crc32c(0, data, 32), 0x8A9136AAU);
    memset(data, 0xFF, 32);
    assert_int_equal(set->crc32c(0, data, 32), 0x62A8AB43U);
    for (size_t i = 0; i < 32; i++) data[i] = (uint8_t)i;
    assert_int_equal(set->crc32c(0, data, 32), 0x46DD794EU);
    struct trib_rng rng = trib_rng_seed(3, 0);
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)trib_rng_u64(&rng);
    for (size_t n = 700; n < sizeof data - 8; n += 997) {
        size_t at = n % 8, part = (size_t)trib_rng_below(&rng, n);
        uint32_t whole = scalar()->crc32c(0, data + at, n);
        assert_int_equal(set->crc32c(0, data + at, n), whole);
        uint32_t head = set->crc32c(0, data + at, part);
        assert_int_equal(set->crc32c(head, data + at + part, n - part), whole);
    }
}

static void test_crc(void **state) {
    (void)state;
    each_set(check_crc);
}

static void test_choice(void **state) {
    (void)state;
    assert_string_equal(trib_kernels_list()[0]->name, "scalar");
    assert_null(trib_kernels_find("abacus"));
    setenv("TRIBUTARY_KERNELS", "scalar", 1);
    assert_string_equal(trib_kernels()->name, "scalar"); /* the first call in this process decides */
    unsetenv("TRIBUTARY_KERNELS");
    assert_string_equal(trib_kernels()->name, "scalar");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choice),          cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_lanes),           cmocka_unit_test(test_long_finite),
        cmocka_unit_test(test_halves),          cmocka_unit_test(test_half_values),
        cmocka_unit_test(test_quantise_values), cmocka_unit_test(test_bfloat_values),
        cmocka_unit_test(test_hadamard_values), cmocka_unit_test(test_level_values),
        cmocka_unit_test(test_long_sums),       cmocka_unit_test(test_crc),
    };
    return cmocka_run_group_tests_name("kernels", tests, NULL, NULL);
}
