/* The pool: every part once, no worker in two places, everything seen afterwards, the same bits for any
 * width. */
#include "shared/kernels/shards.h"

#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "shared/kernels/kernels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

enum { PARTS = 1000 };

struct seen {
    int calls[PARTS]; /* not atomic: ThreadSanitizer sees whether the end of a run is one */
    atomic_int inside[TRIB_SHARDS_MAX];
    atomic_size_t elsewhere, strange;
    size_t width;
};

static void look(void *arg, size_t i, size_t worker) {
    struct seen *seen = arg;
    if (worker >= seen->width || atomic_fetch_add(&seen->inside[worker], 1) != 0)
        atomic_fetch_add(&seen->strange, 1);
    if (worker != 0) atomic_fetch_add(&seen->elsewhere, 1);
    seen->calls[i]++;
    atomic_fetch_sub(&seen->inside[worker], 1);
}

static void check(struct trib_shards *shards, size_t parts) {
    struct seen seen;
    memset(&seen, 0, sizeof seen);
    seen.width = trib_shards_width(shards);
    trib_shards_run(shards, parts, look, &seen);
    for (size_t i = 0; i < PARTS; i++) assert_int_equal(seen.calls[i], i < parts ? 1 : 0);
    assert_int_equal(seen.strange, 0);
}

static void test_each_part_once(void **state) {
    (void)state;
    check(NULL, 17);
    for (size_t width = 1; width <= TRIB_SHARDS_MAX; width += 3) {
        struct trib_shards *shards = NULL;
        assert_int_equal(trib_shards_new(width, &shards, NULL), TRIB_OK);
        assert_int_equal(trib_shards_width(shards), width);
        for (size_t round = 0; round < 50; round++) check(shards, round * 20 % (PARTS + 1));
        check(shards, PARTS);
        trib_shards_free(&shards);
        assert_null(shards);
    }
}

/* Two parts, each of which goes on when the other one has begun: they run at the same time. */
static void meet(void *arg, size_t i, size_t worker) {
    atomic_int *here = arg;
    (void)worker;
    atomic_store(&here[i], 1);
    while (atomic_load(&here[1 - i]) == 0) {
    }
}

static void test_at_the_same_time(void **state) {
    (void)state;
    struct trib_shards *shards = NULL;
    assert_int_equal(trib_shards_new(2, &shards, NULL), TRIB_OK);
    for (size_t round = 0; round < 20; round++) {
        atomic_int here[2] = {0};
        trib_shards_run(shards, 2, meet, here);
    }
    trib_shards_free(&shards);
}

static void blocked(void *arg, size_t i, size_t worker) {
    atomic_int *there = arg;
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    if (worker != 0 && sigismember(&mask, SIGTERM) == 1) atomic_store(&there[2], 1);
    meet(arg, i, worker);
}

static void test_signals_are_blocked(void **state) {
    (void)state;
    struct trib_shards *shards = NULL;
    atomic_int there[3] = {0};
    assert_int_equal(trib_shards_new(2, &shards, NULL), TRIB_OK);
    trib_shards_run(shards, 2, blocked, there);
    assert_int_equal(atomic_load(&there[2]), 1);
    trib_shards_free(&shards);
}

/* ---- results ---- */

enum { ROWS = 9, LENGTH = 50000, RANGE = 4 * TRIB_GRAM_STRETCH };
enum { RANGES = (LENGTH + RANGE - 1) / RANGE };

struct work {
    float values[ROWS][LENGTH], median[LENGTH];
    double partial[RANGES][ROWS * ROWS], sums[ROWS * ROWS];
};

static void part_of_both(void *arg, size_t i, size_t worker) {
    struct work *w = arg;
    const float *rows[ROWS];
    size_t at = i * RANGE, n = LENGTH - at < RANGE ? LENGTH - at : RANGE;
    (void)worker;
    for (size_t r = 0; r < ROWS; r++) rows[r] = w->values[r] + at;
    trib_kernels()->median_rows(w->median + at, rows, ROWS, n);
    trib_kernels()->gram(w->partial[i], rows, ROWS, n);
}

static void compute(struct work *w, size_t width) {
    struct trib_shards *shards = NULL;
    struct trib_rng rng = trib_rng_seed(3, 1);
    for (size_t r = 0; r < ROWS; r++)
        for (size_t i = 0; i < LENGTH; i++) w->values[r][i] = (float)trib_rng_unit(&rng) - 0.5F;
    assert_int_equal(trib_shards_new(width, &shards, NULL), TRIB_OK);
    trib_shards_run(shards, RANGES, part_of_both, w);
    trib_shards_free(&shards);
    for (size_t p = 0; p < RANGES; p++)
        for (size_t i = 0; i < ROWS * ROWS; i++) w->sums[i] += w->partial[p][i];
}

static void test_same_bits(void **state) {
    (void)state;
    struct work *one = trib_alloc(sizeof *one), *other = NULL;
    assert_non_null(one);
    compute(one, 1);
    for (size_t width = 2; width <= 5; width++) {
        other = trib_alloc(sizeof *other);
        assert_non_null(other);
        compute(other, width);
        assert_memory_equal(one->median, other->median, sizeof one->median);
        assert_memory_equal(one->sums, other->sums, sizeof one->sums);
        trib_free(other);
    }
    trib_free(one);
}

static void test_no_memory(void **state) {
    (void)state;
    struct trib_shards *shards = NULL;
    struct trib_error err = {0};
    trib_alloc_fail_after(0);
    enum trib_status status = trib_shards_new(2, &shards, &err);
    trib_alloc_fail_after(-1);
    assert_int_equal(status, TRIB_NOMEM);
    assert_null(shards);
    trib_shards_free(&shards);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_part_once),      cmocka_unit_test(test_at_the_same_time),
        cmocka_unit_test(test_signals_are_blocked), cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("shards", tests, NULL, NULL);
}
