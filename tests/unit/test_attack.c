/* Attackers of the simulator: what each kind submits, by hand, and who sees what when. */
#include "shared/base/error.h"
#include "shared/sim/attack.h"
#include "shared/sim/forge.h"
#include "tests/support/cmocka.h"

#include <math.h>
#include <string.h>

static const float first[3] = {1, 0, 4}, second[3] = {3, 0, 4}, third[3] = {5, 0, 1};
static const float *const three[] = {first, second, third};
static const size_t numbers[] = {7, 2, 9};

/* The mean is (3, 0, 3), the deviation (2, 0, sqrt 3). */
static struct trib_attack_view view_of(struct trib_rng *rng) {
    return (struct trib_attack_view){.parameters = 3,
                                     .devices = 25,
                                     .attackers = 5,
                                     .rng = rng,
                                     .honest_count = 3,
                                     .honest = three,
                                     .honest_devices = numbers};
}

static void forge(const char *spec, const struct trib_attack_view *view, float *difference) {
    struct trib_attack attack;
    struct trib_error err = {0};
    if (trib_attack_parse(spec, &attack, &err) != TRIB_OK) fail_msg("%s", err.text);
    attack.row->forge(view, attack.params, difference);
}

static void is(const float *found, double a, double b, double c) {
    const double expected[] = {a, b, c};
    for (size_t i = 0; i < 3; i++)
        if (!(fabs((double)found[i] - expected[i]) < 1e-5))
            fail_msg("number %zu is %g, expected %g", i, (double)found[i], expected[i]);
}

static void what_needs_nobody(void **unused) {
    (void)unused;
    struct trib_rng rng = trib_rng_seed(1, 1);
    struct trib_attack_view view = view_of(&rng);
    float own[3] = {1, -2, 0.5f};
    forge("sign_flip", &view, own);
    is(own, -1, 2, -0.5);
    forge("sign_flip(4)", &view, own);
    is(own, 4, -8, 2);
    forge("bit_flip(31)", &view, own);
    is(own, -4, 8, -2);
    forge("bit_flip(22)", &view, own); /* 1.0 x 2^n becomes 1.5 x 2^n */
    is(own, -6, 12, -3);
    float small[3] = {0.5f, 0, 2}; /* the highest bit of the exponent: times 2^128 below 2, by 2^128 above */
    forge("bit_flip(30)", &view, small);
    assert_true(small[0] == ldexpf(1, 127) && small[1] == 2.0f && small[2] == 0.0f);
    float one[3] = {1, -1, 1}; /* infinite: the largest number */
    forge("bit_flip", &view, one);
    assert_true(one[0] > 3.4e38f && one[1] < -3.4e38f && isfinite(one[0]) && isfinite(one[1]));
}

static void a_share_of_the_bits(void **unused) {
    (void)unused;
    enum { N = 10000 };
    static float values[N];
    struct trib_rng rng = trib_rng_seed(3, 1);
    struct trib_attack_view view = {.parameters = N, .rng = &rng};
    for (size_t i = 0; i < N; i++) values[i] = 1;
    forge("bit_flip(bit=31, share=0.2)", &view, values);
    size_t flipped = 0;
    for (size_t i = 0; i < N; i++) flipped += values[i] < 0;
    assert_in_range(flipped, 1850, 2150);
}

static void noise_has_its_deviation(void **unused) {
    (void)unused;
    enum { N = 20000 };
    static float values[N];
    struct trib_rng rng = trib_rng_seed(2, 1);
    struct trib_attack_view view = {.parameters = N, .rng = &rng};
    forge("gaussian(std=3)", &view, values);
    double sum = 0, squares = 0;
    for (size_t i = 0; i < N; i++) {
        sum += (double)values[i];
        squares += (double)values[i] * (double)values[i];
    }
    assert_true(fabs(sum / N) < 0.1 && fabs(sqrt(squares / N) - 3) < 0.06);
}

/* Phi^-1 of 12/20 and of 6/10, by the tables; and of the paper's 50 workers with 24 corrupted: s = 2, 24/26.
 */
static void alie_hides_behind_supporters(void **unused) {
    (void)unused;
    assert_true(fabs(trib_forge_alie_z(25, 5) - 0.2533471) < 1e-6);
    assert_true(fabs(trib_forge_alie_z(50, 24) - 1.4260769) < 1e-6);
    assert_true(trib_forge_alie_z(5, 5) == 0.0);
    assert_true(trib_forge_alie_z(4, 3) > 5.9); /* they are most: nothing needs hiding */
    struct trib_rng rng = trib_rng_seed(1, 1);
    struct trib_attack_view view = view_of(&rng);
    float own[3] = {9, 9, 9};
    forge("alie(z=1.5)", &view, own);
    is(own, 3 - 1.5 * 2, 0, 3 - 1.5 * sqrt(3));
    forge("alie", &view, own);
    is(own, 3 - 0.2533471 * 2, 0, 3 - 0.2533471 * sqrt(3));
}

static void ipm_and_mimic(void **unused) {
    (void)unused;
    struct trib_rng rng = trib_rng_seed(1, 1);
    struct trib_attack_view view = view_of(&rng);
    float own[3] = {9, 9, 9};
    forge("ipm", &view, own);
    is(own, -0.3, 0, -0.3);
    forge("ipm(eps=2)", &view, own);
    is(own, -6, 0, -6);
    forge("mimic", &view, own); /* device 2 is the first of 2, 7, 9 */
    is(own, 3, 0, 4);
    forge("mimic(2)", &view, own);
    is(own, 5, 0, 1);
    forge("mimic(100)", &view, own);
    is(own, 5, 0, 1);
}

static double away(const float *a, const float *b) {
    double sum = 0;
    for (size_t i = 0; i < 3; i++) sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return sqrt(sum);
}

/* Two honest ones at -1 and 1: no farther than 2 from either is gamma = 1 along the line, whatever p's
 * length. */
static void min_max_is_at_the_edge(void **unused) {
    (void)unused;
    static const float left[3] = {-1, 0, 0}, right[3] = {1, 0, 0};
    static const float *const two[] = {left, right};
    struct trib_attack_view view = {
        .parameters = 3, .honest_count = 2, .honest = two, .honest_devices = numbers};
    float own[3] = {9, 9, 9};
    forge("min_max", &view, own);
    is(own, -1, 0, 0);
    struct trib_rng rng = trib_rng_seed(1, 1);
    view = view_of(&rng);
    static const char *const specs[] = {"min_max", "min_max(1)", "min_max(direction=2)"};
    for (size_t s = 0; s < 3; s++) {
        double farthest = 0;
        forge(specs[s], &view, own);
        for (size_t k = 0; k < 3; k++) farthest = fmax(farthest, away(own, three[k]));
        assert_true(fabs(farthest - 5) < 1e-5); /* first and third are 5 apart */
    }
    forge("min_max(1)", &view,
          own); /* along (3, 0, 3): third is the one that binds, (2 + t)^2 + (t - 2)^2 = 25 */
    double t = sqrt((25.0 - 8) / 2);
    is(own, 3 - t, 0, 3 - t);
}

/* A round's own count, where there are some; nobody: what was trained stays. */
static void rounds_count_first(void **unused) {
    (void)unused;
    struct trib_rng rng = trib_rng_seed(1, 1);
    struct trib_attack_view view = view_of(&rng);
    float own[3] = {9, 9, 9};
    view.round_count = 2;
    forge("ipm(1)", &view, own);
    is(own, -2, 0, -4);
    static const char *const specs[] = {"alie", "ipm", "mimic", "min_max"};
    view.honest_count = view.round_count = 0;
    for (size_t s = 0; s < 4; s++) {
        float mine[3] = {1, 2, 3};
        forge(specs[s], &view, mine);
        is(mine, 1, 2, 3);
    }
    static const float *const same[] = {first, first};
    view.honest = same;
    view.honest_count = 2;
    forge("min_max", &view, own); /* all agree: there is no room */
    is(own, 1, 0, 4);
}

static void specs(void **unused) {
    (void)unused;
    struct trib_attack attack;
    struct trib_error err = {0};
    assert_int_equal(trib_attack_parse("none", &attack, &err), TRIB_OK);
    assert_null(attack.row);
    for (size_t i = 0; trib_attack_row(i) != NULL; i++) {
        const struct trib_attack_row *row = trib_attack_row(i);
        assert_int_equal(trib_attack_parse(row->name, &attack, &err), TRIB_OK);
        assert_ptr_equal(attack.row, row);
        assert_non_null(row->forge);
        assert_true(row->honest <= TRIB_ATTACK_HONEST_MAX && (!row->alike || row->honest > 0));
    }
    static const char *const wrong[] = {"alei",        "alie(-1)", "bit_flip(32)", "gaussian(std=x)",
                                        "ipm(0.1, 2)", ""};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (trib_attack_parse(wrong[i], &attack, &err) == TRIB_OK) fail_msg("%s is no attack", wrong[i]);
    assert_int_not_equal(trib_attack_check("min_mux", &err), TRIB_OK);
    assert_non_null(strstr(err.text, "min_max"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_needs_nobody),       cmocka_unit_test(a_share_of_the_bits),
        cmocka_unit_test(noise_has_its_deviation), cmocka_unit_test(alie_hides_behind_supporters),
        cmocka_unit_test(ipm_and_mimic),           cmocka_unit_test(min_max_is_at_the_edge),
        cmocka_unit_test(rounds_count_first),      cmocka_unit_test(specs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
