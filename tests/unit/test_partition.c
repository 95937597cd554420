/* Partitions: every sample once, minimum sizes, the shapes they promise, the same for the same seed. */
#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "shared/learn/partition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { COUNT = 6000, CLASSES = 10 };

static uint8_t labels[COUNT];
static uint32_t users[COUNT]; /* 700 of them, of different sizes */

static struct trib_partition *make(const char *spec, size_t count, size_t devices, uint64_t seed) {
    struct trib_partition *partition = NULL;
    struct trib_error err = {0};
    if (trib_partition_make(spec, labels, users, count, CLASSES, devices, seed, &partition, &err) != TRIB_OK)
        fail_msg("%s: %s", spec, err.text);
    return partition;
}

static size_t size_of(const struct trib_partition *partition, size_t device) {
    const uint32_t *indices;
    size_t n;
    trib_partition_indices(partition, device, &indices, &n);
    return n;
}

/* How many classes a device has. */
static size_t classes_of(const struct trib_partition *partition, size_t device) {
    const uint32_t *indices;
    size_t n, classes = 0;
    bool seen[CLASSES] = {false};
    trib_partition_indices(partition, device, &indices, &n);
    for (size_t i = 0; i < n; i++) {
        classes += !seen[labels[indices[i]]];
        seen[labels[indices[i]]] = true;
    }
    return classes;
}

static void expect_complete(const char *spec, size_t count, size_t devices, size_t least) {
    struct trib_partition *partition = make(spec, count, devices, 42);
    static uint8_t seen[COUNT];
    memset(seen, 0, sizeof seen);
    for (size_t d = 0; d < devices; d++) {
        const uint32_t *indices;
        size_t n;
        trib_partition_indices(partition, d, &indices, &n);
        if (n < least) fail_msg("%s: device %zu of %zu has %zu samples", spec, d, devices, n);
        for (size_t i = 0; i < n; i++) {
            assert_true(indices[i] < count && (i == 0 || indices[i] > indices[i - 1]));
            assert_false(seen[indices[i]]++);
        }
    }
    for (size_t i = 0; i < count; i++) assert_true(seen[i]);
    trib_partition_free(&partition);
}

static void test_every_sample_once(void **state) {
    (void)state;
    static const char *const specs[] = {
        "iid",       "dirichlet(0.5)", "dirichlet(0.01)", "dirichlet(0.001)", "dirichlet(100)", "shards(2)",
        "shards(1)", "quantity(1.0)",  "quantity(0)",     "quantity(4)",      "dirichlet",      "quantity",
        "natural",   "pairs",          "pairs(0.5)",      "pairs(0.99)"};
    static const size_t devices[] = {1, 2, 7, 20, 100, 599};
    for (size_t s = 0; s < sizeof specs / sizeof specs[0]; s++)
        for (size_t d = 0; d < sizeof devices / sizeof devices[0]; d++)
            expect_complete(specs[s], COUNT, devices[d], TRIB_PARTITION_MIN);
    expect_complete("dirichlet(0.1)", 100, 40, 2); /* fewer than the minimum each: an equal share */
    expect_complete("iid", 100, 100, 1);
    expect_complete("natural", COUNT, 700, 8); /* filled up to an equal share from the largest */
}

static void test_iid(void **state) {
    (void)state;
    struct trib_partition *partition = make("iid", COUNT, 7, 1);
    for (size_t d = 0; d < 7; d++) {
        assert_in_range(size_of(partition, d), COUNT / 7, COUNT / 7 + 1);
        assert_int_equal(classes_of(partition, d), CLASSES);
    }
    trib_partition_free(&partition);
}

static void test_shards(void **state) {
    (void)state;
    struct trib_partition *partition = make("shards(2)", COUNT, 100, 1);
    size_t most = 0;
    for (size_t d = 0; d < 100; d++) {
        assert_int_equal(size_of(partition, d), 60);
        size_t classes = classes_of(partition, d);
        most = classes > most ? classes : most;
    }
    assert_in_range(most, 2, 4); /* a shard may lie across two labels */
    trib_partition_free(&partition);
}

static double mean_classes(const char *spec) {
    struct trib_partition *partition = make(spec, COUNT, 20, 3);
    size_t sum = 0;
    for (size_t d = 0; d < 20; d++) sum += classes_of(partition, d);
    trib_partition_free(&partition);
    return (double)sum / 20.0;
}

/* Samples of a class on a device. */
static size_t of_class(const struct trib_partition *partition, size_t device, size_t class) {
    const uint32_t *indices;
    size_t n, count = 0;
    trib_partition_indices(partition, device, &indices, &n);
    for (size_t i = 0; i < n; i++) count += labels[indices[i]] == class;
    return count;
}

static void test_pairs(void **state) {
    (void)state;
    struct trib_partition *partition = make("pairs(0.8)", COUNT, 60, 3);
    for (size_t d = 0; d < 60; d++) {
        size_t size = size_of(partition, d), first = of_class(partition, d, d % CLASSES);
        assert_int_equal(classes_of(partition, d), 2);
        /* How many devices have a class second differs, so shares are about 0.8 and sizes about 100. */
        if (size < 60 || size > 170 || 100 * first < 65 * size || 100 * first > 92 * size)
            fail_msg("device %zu has %zu of its first class among %zu", d, first, size);
    }
    trib_partition_free(&partition);
    partition = make("pairs", COUNT, 3, 3); /* most classes are nobody's own */
    for (size_t d = 0; d < 3; d++) assert_true(of_class(partition, d, d) > 0);
    trib_partition_free(&partition);
}

static void test_apart(void **state) {
    (void)state;
    struct trib_partition *partition = make("apart(devices=0.2, classes=2)", COUNT, 50, 3);
    for (size_t d = 0; d < 50; d++) {
        size_t last = of_class(partition, d, 8) + of_class(partition, d, 9), size = size_of(partition, d);
        assert_int_equal(last, d < 40 ? 0 : size);
        assert_true(size > 90 && size < 150);
        assert_true(classes_of(partition, d) == (d < 40 ? 8u : 2u));
    }
    trib_partition_free(&partition);
}

static void test_dirichlet_is_more_one_sided_with_less_alpha(void **state) {
    (void)state;
    double even = mean_classes("dirichlet(100)"), half = mean_classes("dirichlet(0.5)"),
           skew = mean_classes("dirichlet(0.05)");
    assert_true(even > 9.9);
    assert_true(half > skew && half < even);
    assert_true(skew < 4.0);
}

static void test_quantity_spreads_sizes(void **state) {
    (void)state;
    struct trib_partition *partition = make("quantity(1.0)", COUNT, 20, 3);
    size_t least = COUNT, most = 0;
    for (size_t d = 0; d < 20; d++) {
        size_t n = size_of(partition, d);
        least = n < least ? n : least;
        most = n > most ? n : most;
    }
    assert_true(most > 5 * least);
    trib_partition_free(&partition);
}

static bool same(const struct trib_partition *a, const struct trib_partition *b, size_t devices) {
    for (size_t d = 0; d < devices; d++) {
        const uint32_t *x, *y;
        size_t n, m;
        trib_partition_indices(a, d, &x, &n);
        trib_partition_indices(b, d, &y, &m);
        if (n != m || memcmp(x, y, n * sizeof *x) != 0) return false;
    }
    return true;
}

static void test_seeds(void **state) {
    (void)state;
    for (size_t i = 0; trib_partition_row(i) != NULL; i++) {
        const char *spec = trib_partition_row(i)->example;
        struct trib_partition *a = make(spec, COUNT, 20, 5), *b = make(spec, COUNT, 20, 5),
                              *c = make(spec, COUNT, 20, 6);
        assert_true(same(a, b, 20));
        assert_int_equal(same(a, c, 20), strcmp(spec, "natural") == 0); /* nothing drawn */
        trib_partition_free(&a);
        trib_partition_free(&b);
        trib_partition_free(&c);
    }
}

static void refused(const char *spec, size_t count, size_t devices, const char *says) {
    struct trib_partition *partition = NULL;
    struct trib_error err = {0};
    assert_int_equal(trib_partition_make(spec, labels, users, count, CLASSES, devices, 1, &partition, &err),
                     TRIB_INVALID);
    assert_null(partition);
    if (strstr(err.text, says) == NULL) fail_msg("'%s' lacks '%s'", err.text, says);
}

static void test_refusals(void **state) {
    (void)state;
    refused("iid", COUNT, 0, "0 devices");
    refused("iid", 10, 11, "11 devices");
    refused("shards(4)", 100, 30, "shards");
    refused("dirichlt(1)", COUNT, 5, "dirichlt");
    refused("dirichlet(0)", COUNT, 5, "alpha");
    refused("dirichlet(a)", COUNT, 5, "alpha");
    refused("iid(3)", COUNT, 5, "no parameters");
    refused("shards(2", COUNT, 5, "");
    struct trib_error err = {0};
    assert_int_equal(trib_partition_check_spec("dirichlet(alpha=0.3)", &err), TRIB_OK);
    assert_int_equal(trib_partition_check_spec("dirichlet(beta=0.3)", &err), TRIB_INVALID);
}

static void test_memory(void **state) {
    (void)state;
    struct trib_partition *partition = NULL;
    for (long n = 0;; n++) {
        trib_alloc_fail_after(n);
        enum trib_status status =
            trib_partition_make("natural", labels, users, COUNT, CLASSES, 20, 1, &partition, NULL);
        trib_alloc_fail_after(-1);
        if (status == TRIB_OK) break;
        assert_int_equal(status, TRIB_NOMEM);
        assert_null(partition);
    }
    trib_partition_free(&partition);
}

int main(void) {
    struct trib_rng rng = trib_rng_seed(1, 1);
    for (size_t i = 0; i < COUNT; i++) labels[i] = (uint8_t)trib_rng_below(&rng, CLASSES);
    for (size_t i = 0; i < COUNT; i++)
        users[i] = (uint32_t)((trib_rng_below(&rng, 700) * i) / COUNT + i % 700) % 700;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_sample_once),
        cmocka_unit_test(test_iid),
        cmocka_unit_test(test_shards),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_apart),
        cmocka_unit_test(test_dirichlet_is_more_one_sided_with_less_alpha),
        cmocka_unit_test(test_quantity_spreads_sizes),
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
