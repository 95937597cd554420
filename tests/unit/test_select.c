/* The selection policies' laws, on candidates made by hand. */
#include "tests/support/cmocka.h"

#include "shared/base/alloc.h"
#include "shared/rules/select.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { N = 12 };

struct bench {
    struct trib_select *policy;
    struct trib_select_candidate candidates[N];
    uint32_t group_size[N], group_busy[N];
    struct trib_rng rng;
    struct trib_select_memory memory;
    double score[N];
    uint32_t chosen[N];
    size_t times[N];
    size_t count, groups, busy;
    uint64_t round;
};

static struct bench bench_of(const char *spec, size_t count) {
    struct bench b = {.count = count, .groups = 1, .rng = trib_rng_seed(3, 4), .round = 1};
    struct trib_error err = {0};
    if (trib_select_new(spec, &b.policy, &err) != TRIB_OK) fail_msg("%s: %s", spec, err.text);
    b.group_size[0] = (uint32_t)count;
    return b;
}

static size_t choose(struct bench *b, size_t want) {
    struct trib_select_draw draw = {.candidates = b->candidates,
                                    .count = b->count,
                                    .want = want,
                                    .busy = b->busy,
                                    .round = b->round,
                                    .group_size = b->group_size,
                                    .group_busy = b->group_busy,
                                    .groups = b->groups,
                                    .rng = &b->rng,
                                    .memory = &b->memory,
                                    .score = b->score,
                                    .chosen = b->chosen};
    size_t chosen = trib_select_choose(b->policy, &draw);
    bool seen[N] = {false};
    assert_true(chosen <= want && chosen <= b->count);
    assert_true(chosen > 0 || b->count == 0 || want == 0 || b->busy > 0);
    for (size_t i = 0; i < chosen; i++) {
        assert_true(b->chosen[i] < b->count);
        assert_false(seen[b->chosen[i]]); /* without replacement */
        seen[b->chosen[i]] = true;
        b->times[b->chosen[i]]++;
    }
    return chosen;
}

/* ---- what all keep to ---- */

static void every_policy_chooses_what_is_there(void **unused) {
    (void)unused;
    size_t rows;
    const struct trib_rule_row *row = trib_select_rows(&rows);
    for (size_t r = 0; r < rows * 2; r++) {
        struct bench b = bench_of(r % 2 == 0 ? row[r / 2].name : row[r / 2].example, N);
        struct trib_select *again;
        assert_int_equal(trib_select_new(trib_select_spec(b.policy), &again, NULL), TRIB_OK);
        assert_string_equal(trib_select_spec(again), trib_select_spec(b.policy));
        trib_select_free(&again);
        for (uint64_t i = 0; i < 400; i++) {
            b.round = i + 1;
            b.count = i % (N + 1);
            b.group_size[0] = (uint32_t)b.count;
            /* Some known, some not, and nothing that makes sense. */
            for (size_t k = 0; k < N; k++)
                b.candidates[k] = (struct trib_select_candidate){.known = (i + k) % 3 > 0,
                                                                 .weight = i % 5 * k,
                                                                 .duration_ms = (double)(i % 7 * k),
                                                                 .loss = (double)(k % 4) * 1e30,
                                                                 .norm = (double)(i % 2),
                                                                 .last_chosen = k % 2 * i};
            (void)choose(&b, i / 3 % (N + 3));
        }
        trib_select_free(&b.policy);
    }
}

/* Who is like the others has the chances of the others, wherever it stands. */
static void every_policy_is_fair_to_equals(void **unused) {
    (void)unused;
    enum { DRAWS = 6000, WANT = 3 };
    size_t rows;
    const struct trib_rule_row *row = trib_select_rows(&rows);
    for (size_t r = 0; r < rows * 2; r++) {
        struct bench b = bench_of(r % 2 == 0 ? row[r / 2].name : row[r / 2].example, N);
        for (size_t i = 0; i < N; i++)
            b.candidates[i] = (struct trib_select_candidate){
                .known = true, .weight = 100, .duration_ms = 1000, .loss = 0.5, .norm = 2, .last_chosen = 1};
        for (int i = 0; i < DRAWS; i++) {
            b.round++;
            (void)choose(&b, WANT);
        }
        size_t all = 0;
        for (size_t i = 0; i < N; i++) all += b.times[i];
        for (size_t i = 0; i < N; i++)
            if (fabs((double)b.times[i] - (double)all / N) > 5 * sqrt((double)all / N))
                fail_msg("%s chose candidate %zu of %d equals %zu times of %zu", trib_select_spec(b.policy),
                         i, N, b.times[i], all);
        trib_select_free(&b.policy);
    }
}

/* Who has never answered has its turn beside those who are known, whatever these look like. */
static void every_policy_tries_newcomers(void **unused) {
    (void)unused;
    size_t rows;
    const struct trib_rule_row *row = trib_select_rows(&rows);
    for (size_t r = 0; r < rows * 2; r++) {
        struct bench b = bench_of(r % 2 == 0 ? row[r / 2].name : row[r / 2].example, N);
        for (size_t i = 0; i < N; i++)
            if (i % 2 == 0)
                b.candidates[i] = (struct trib_select_candidate){.known = true,
                                                                 .weight = 1000,
                                                                 .duration_ms = 10,
                                                                 .loss = 2,
                                                                 .norm = 50,
                                                                 .last_chosen = 1};
        for (int i = 0; i < 2000; i++) {
            size_t chosen = choose(&b, 2);
            b.round++;
            for (size_t k = 0; k < chosen; k++) b.candidates[b.chosen[k]].last_chosen = b.round;
        }
        for (size_t i = 1; i < N; i += 2)
            if (b.times[i] == 0) fail_msg("%s never tried newcomer %zu", trib_select_spec(b.policy), i);
        trib_select_free(&b.policy);
    }
}

/* The same seed chooses the same, and another seed others. */
static void every_policy_draws_from_its_seed(void **unused) {
    (void)unused;
    enum { DRAWS = 200 };
    size_t rows;
    const struct trib_rule_row *row = trib_select_rows(&rows);
    for (size_t r = 0; r < rows; r++) {
        uint32_t first[3][DRAWS];
        for (uint64_t seed = 0; seed < 3; seed++) {
            struct bench b = bench_of(row[r].name, N);
            b.rng = trib_rng_seed(3 + seed / 2, 4);
            for (size_t i = 0; i < N; i++)
                b.candidates[i] = (struct trib_select_candidate){
                    .known = true, .weight = 1 + i % 3, .duration_ms = 1000, .loss = 0.5, .norm = 2};
            for (size_t i = 0; i < DRAWS; i++) {
                b.round++;
                first[seed][i] = choose(&b, 1) > 0 ? b.chosen[0] : UINT32_MAX;
            }
            trib_select_free(&b.policy);
        }
        assert_memory_equal(first[0], first[1], sizeof first[0]);
        assert_memory_not_equal(first[0], first[2], sizeof first[0]);
    }
}

static void a_wrong_spec_says_what_is_known(void **unused) {
    (void)unused;
    struct trib_error err = {0};
    assert_int_equal(trib_select_check_spec("by_sise", &err), TRIB_INVALID);
    assert_non_null(strstr(err.text, "did you mean \"by_size\""));
    assert_int_equal(trib_select_check_spec("random(3)", &err), TRIB_INVALID);
    assert_int_equal(trib_select_check_spec("random", NULL), TRIB_OK);
}

/* ---- random, by_size ---- */

static void random_gives_equal_chances(void **unused) {
    (void)unused;
    struct bench b = bench_of("random", N);
    for (int i = 0; i < 6000; i++) assert_int_equal(choose(&b, 3), 3);
    for (size_t i = 0; i < N; i++) assert_in_range(b.times[i], 1380, 1620); /* 1500, deviation 34 */
    trib_select_free(&b.policy);
}

static void by_size_draws_in_proportion(void **unused) {
    (void)unused;
    struct bench b = bench_of("by_size", 3);
    b.candidates[0].weight = 100;
    b.candidates[1].weight = 300; /* the third is not known: 200 */
    for (int i = 0; i < 6000; i++) assert_int_equal(choose(&b, 1), 1);
    assert_in_range(b.times[0], 890, 1110);
    assert_in_range(b.times[1], 2850, 3150);
    assert_in_range(b.times[2], 1850, 2150);
    /* Two of them, without replacement: P(not 0) = P(1, 2 or 2, 1) = 1/2 * 2/3 + 1/3 * 3/4 = 7/12. */
    memset(b.times, 0, sizeof b.times);
    for (int i = 0; i < 6000; i++) assert_int_equal(choose(&b, 2), 2);
    assert_in_range(b.times[0], 2350, 2650);
    trib_select_free(&b.policy);
}

/* Of those who were chosen the last time, as bits. */
static unsigned set_of(const struct bench *b, size_t chosen) {
    unsigned set = 0;
    for (size_t i = 0; i < chosen; i++) set |= 1u << b->chosen[i];
    return set;
}

static void by_norm_draws_in_proportion(void **unused) {
    (void)unused;
    struct bench b = bench_of("by_norm", 2);
    b.candidates[0].norm = 1;
    b.candidates[1].norm = 4;
    for (int i = 0; i < 5000; i++) assert_int_equal(choose(&b, 1), 1);
    assert_in_range(b.times[1], 3850, 4150);
    trib_select_free(&b.policy);
}

/* ---- fedcs ---- */

static void fedcs_takes_as_many_as_make_the_deadline(void **unused) {
    (void)unused;
    struct bench b = bench_of("fedcs(deadline=50s)", N);
    for (size_t i = 0; i < N; i++) {
        b.candidates[i].known = true;
        b.candidates[i].duration_ms = 10000.0 * (double)(N - i);
    }
    assert_int_equal(choose(&b, 3), 3); /* the fastest */
    assert_int_equal(set_of(&b, 3), 0xE00);
    assert_int_equal(choose(&b, 10), 5); /* 10 s to 50 s, not one more */
    assert_int_equal(set_of(&b, 5), 0xF80);
    b.candidates[0].known = false; /* nobody knows: it is tried */
    assert_int_equal(choose(&b, 10), 6);
    assert_int_equal(set_of(&b, 6), 0xF81);
    trib_select_free(&b.policy);

    b = bench_of("fedcs(deadline=1s)", 3);
    for (size_t i = 0; i < 3; i++)
        b.candidates[i] =
            (struct trib_select_candidate){.known = true, .duration_ms = 9000.0 - 1000.0 * (double)i};
    assert_int_equal(choose(&b, 2), 1); /* better one than none */
    assert_int_equal(set_of(&b, 1), 4);
    b.busy = 1;
    assert_int_equal(choose(&b, 2), 0);
    trib_select_free(&b.policy);
}

static void fedcs_may_look_at_some_only(void **unused) {
    (void)unused;
    struct bench b = bench_of("fedcs(deadline=50s, among=4)", 8);
    for (size_t i = 0; i < 8; i++)
        b.candidates[i] = (struct trib_select_candidate){.known = true, .duration_ms = i < 4 ? 1000 : 60000};
    size_t sum = 0;
    for (int i = 0; i < 2000; i++) sum += choose(&b, 8);
    assert_in_range(sum, 3850, 4150); /* of four drawn half are fast; where none is (1 in 70), one is taken */
    for (size_t i = 0; i < 4; i++) assert_in_range(b.times[i], 900, 1100);
    trib_select_free(&b.policy);
}

/* ---- stratified ---- */

static size_t in_group(const struct bench *b, size_t chosen, uint32_t group) {
    size_t count = 0;
    for (size_t i = 0; i < chosen; i++) count += b->candidates[b->chosen[i]].group == group;
    return count;
}

static struct bench strata(const char *spec) { /* eight of one class, four of another */
    struct bench b = bench_of(spec, N);
    b.groups = 2;
    b.group_size[0] = 8;
    b.group_size[1] = 4;
    for (size_t i = 8; i < N; i++) b.candidates[i].group = 1;
    return b;
}

static void stratified_gives_each_class_its_share(void **unused) {
    (void)unused;
    struct bench b = strata("stratified");
    for (int i = 0; i < 600; i++) {
        size_t chosen = choose(&b, 6);
        assert_int_equal(in_group(&b, chosen, 1), 2);
    }
    for (size_t i = 0; i < N; i++) assert_in_range(b.times[i], 240, 360); /* 300: at random within a class */
    size_t rare = 0;
    for (int i = 0; i < 3000; i++) rare += in_group(&b, choose(&b, 1), 1); /* a third of one place */
    assert_in_range(rare, 900, 1100);
    rare = 0;
    for (int i = 0; i < 3000; i++) { /* 4 x 2/3 and 4 x 1/3: two and one, and the last by the fractions */
        size_t second = in_group(&b, choose(&b, 4), 1);
        assert_in_range(second, 1, 2);
        rare += second;
    }
    assert_in_range(rare, 3850, 4150);
    trib_select_free(&b.policy);
}

static void stratified_counts_who_is_at_work(void **unused) {
    (void)unused;
    struct bench b = strata("stratified");
    b.group_busy[1] = 3;
    b.count = 9; /* three of the second class work: of six places it has had its two */
    b.candidates[8].group = 1;
    for (int i = 0; i < 100; i++) assert_int_equal(in_group(&b, choose(&b, 3), 0), 3);
    assert_int_equal(choose(&b, 9), 9); /* everybody, all the same */
    trib_select_free(&b.policy);
    b = strata("stratified(shares=equal)");
    for (int i = 0; i < 100; i++) assert_int_equal(in_group(&b, choose(&b, 6), 1), 3);
    trib_select_free(&b.policy);
}

/* ---- power_of_choice ---- */

static void power_of_choice_takes_the_worst(void **unused) {
    (void)unused;
    struct bench b = bench_of("power_of_choice(d=12)", N);
    for (size_t i = 0; i < N; i++)
        b.candidates[i] =
            (struct trib_select_candidate){.known = true, .weight = 10, .loss = (double)(i * 5 % N)};
    assert_int_equal(choose(&b, 3), 3); /* losses 11, 10, 9: 7 x 5, 2 x 5, 9 x 5 modulo 12 */
    assert_int_equal(set_of(&b, 3), 1u << 7 | 1u << 2 | 1u << 9);
    b.candidates[5].known = false;
    assert_int_equal(choose(&b, 2), 2);
    assert_int_equal(set_of(&b, 2), 1u << 5 | 1u << 7);
    trib_select_free(&b.policy);

    b = bench_of("power_of_choice(d=2)", 3); /* two by size, then the worse of them */
    b.candidates[0] = (struct trib_select_candidate){.known = true, .weight = 1, .loss = 3};
    b.candidates[1] = (struct trib_select_candidate){.known = true, .weight = 1, .loss = 2};
    b.candidates[2] = (struct trib_select_candidate){.known = true, .weight = 2, .loss = 1};
    for (int i = 0; i < 6000; i++) assert_int_equal(choose(&b, 1), 1);
    /* 0 is among two of three: 7/12 (test of by_size); 2 never wins; 1 wins where 0 is not there. */
    assert_in_range(b.times[0], 3350, 3650);
    assert_int_equal(b.times[2], 0);
    trib_select_free(&b.policy);
}

/* ---- oort ---- */

static void all_known(struct bench *b, double loss, double duration_ms) {
    for (size_t i = 0; i < N; i++)
        b->candidates[i] = (struct trib_select_candidate){
            .known = true, .weight = 100, .loss = loss, .duration_ms = duration_ms, .last_chosen = 1};
}

#define ORDER "least=0, cutoff=1, window=0"

static void oort_takes_the_most_useful(void **unused) {
    (void)unused;
    struct bench b = bench_of("oort(explore=0, " ORDER ")", N);
    all_known(&b, 0, 1000);
    for (size_t i = 0; i < N; i++) b.candidates[i].loss = 0.1 * (double)(i * 5 % N);
    b.candidates[2].weight = 1; /* utility is samples times loss */
    assert_int_equal(choose(&b, 3), 3);
    assert_int_equal(set_of(&b, 3), 1u << 7 | 1u << 9 | 1u << 4); /* 11, 9, 8 */
    trib_select_free(&b.policy);
}

static void oort_dislikes_the_slow(void **unused) {
    (void)unused;
    struct bench b = bench_of("oort(explore=0, percentile=50, " ORDER ")", N);
    all_known(&b, 1, 1000);
    b.candidates[3].loss = b.candidates[4].loss = 2;
    b.candidates[4].duration_ms = 1300; /* scores 1 + a, (1 + a) / 1.69 > a, a: a = 0.26 */
    b.candidates[5].duration_ms = 9000;
    assert_int_equal(choose(&b, 2), 2);
    assert_int_equal(set_of(&b, 2), 1u << 3 | 1u << 4);
    b.candidates[4].duration_ms = 10000; /* a hundredth is left */
    for (int i = 0; i < 50; i++) assert_int_equal(choose(&b, 10), 10);
    assert_int_equal(b.times[4], 1);
    assert_int_equal(b.times[5], 0);
    trib_select_free(&b.policy);
}

static void oort_remembers_who_was_left_out(void **unused) {
    (void)unused;
    struct bench b = bench_of("oort(explore=0, " ORDER ")", N);
    all_known(&b, 1, 1000);
    for (size_t i = 0; i < N; i++) b.candidates[i].last_chosen = 100;
    b.round = 101;
    b.candidates[7].last_chosen = 3;
    assert_int_equal(choose(&b, 1), 1);
    assert_int_equal(b.chosen[0], 7);
    trib_select_free(&b.policy);
}

/* An outlier is worth no more than the 90th percentile: with nine of ten alike the draw is even. */
static void oort_clips_a_liar(void **unused) {
    (void)unused;
    struct bench b = bench_of("oort(explore=0, least=0, cutoff=0.5, window=0)", N);
    all_known(&b, 1, 1000);
    for (size_t i = 0; i < N; i++) b.candidates[i].loss = i < 4 ? 2 : 1;
    b.candidates[0].loss = 1e9;
    for (int i = 0; i < 4000; i++) assert_int_equal(choose(&b, 1), 1);
    for (size_t i = 0; i < 4; i++) assert_in_range(b.times[i], 880, 1120);
    trib_select_free(&b.policy);
}

static void oort_explores_less_and_less(void **unused) {
    (void)unused;
    struct bench b = bench_of("oort", N);
    all_known(&b, 1, 1000);
    for (size_t i = 6; i < N; i++) b.candidates[i].known = false;
    size_t early = 0, late = 0;
    for (int i = 0; i < 1000; i++) {
        (void)choose(&b, 5);
        for (size_t k = 0; k < 5; k++) early += b.chosen[k] >= 6;
    }
    b.round = 1000;
    for (int i = 0; i < 1000; i++) {
        (void)choose(&b, 5);
        for (size_t k = 0; k < 5; k++) late += b.chosen[k] >= 6;
    }
    assert_in_range(early, 4300, 4520);   /* 5 x 0.9 x 0.98 = 4.41 */
    assert_in_range(late, 1430, 1570);    /* 5 x 0.3 */
    assert_int_equal(choose(&b, 11), 11); /* who was not tried is not enough, or too many */
    trib_select_free(&b.policy);
}

static void oorts_pacer_lets_slower_ones_in(void **unused) {
    (void)unused;
    struct bench b = bench_of("oort(explore=0, least=0, window=5, percentile=30)", N);
    all_known(&b, 1, 1000);
    for (b.round = 1; b.round <= 15; b.round++) (void)choose(&b, 4);
    assert_true(b.memory.slack == 5.0); /* the second window was as good as the first */
    for (; b.round <= 20; b.round++) (void)choose(&b, 4);
    assert_true(b.memory.slack == 10.0);
    all_known(&b, 100, 1000); /* 15 by the flat window before; then it jumps, and 5 of them go */
    for (; b.round <= 26; b.round++) (void)choose(&b, 4);
    assert_true(b.memory.slack == 10.0);
    trib_select_free(&b.policy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_policy_chooses_what_is_there),
        cmocka_unit_test(every_policy_is_fair_to_equals),
        cmocka_unit_test(every_policy_tries_newcomers),
        cmocka_unit_test(every_policy_draws_from_its_seed),
        cmocka_unit_test(a_wrong_spec_says_what_is_known),
        cmocka_unit_test(random_gives_equal_chances),
        cmocka_unit_test(by_size_draws_in_proportion),
        cmocka_unit_test(by_norm_draws_in_proportion),
        cmocka_unit_test(fedcs_takes_as_many_as_make_the_deadline),
        cmocka_unit_test(fedcs_may_look_at_some_only),
        cmocka_unit_test(stratified_gives_each_class_its_share),
        cmocka_unit_test(stratified_counts_who_is_at_work),
        cmocka_unit_test(power_of_choice_takes_the_worst),
        cmocka_unit_test(oort_takes_the_most_useful),
        cmocka_unit_test(oort_dislikes_the_slow),
        cmocka_unit_test(oort_remembers_who_was_left_out),
        cmocka_unit_test(oort_clips_a_liar),
        cmocka_unit_test(oort_explores_less_and_less),
        cmocka_unit_test(oorts_pacer_lets_slower_ones_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
