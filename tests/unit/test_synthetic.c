/* Synthetic(alpha, beta) against its closed forms, and the natural partition by its users. */
#include "shared/base/alloc.h"
#include "shared/learn/dataset.h"
#include "shared/learn/partition.h"
#include "shared/learn/train.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { D = 60 };

static struct trib_dataset *open_set(const char *spec) {
    struct trib_dataset *dataset = NULL;
    struct trib_error err = {0};
    if (trib_dataset_open(spec, NULL, &dataset, NULL, &err) != TRIB_OK) fail_msg("%s: %s", spec, err.text);
    return dataset;
}

/* Mean and variance of feature j over the training samples of a user (or all of them: user SIZE_MAX). */
static size_t moments(const struct trib_split *s, size_t user, size_t j, double *mean, double *variance) {
    double sum = 0, squares = 0;
    size_t n = 0;
    for (size_t i = 0; i < s->count; i++) {
        if (user != SIZE_MAX && s->users[i] != user) continue;
        double x = (double)s->features[i * D + j];
        sum += x;
        squares += x * x;
        n++;
    }
    *mean = sum / (double)n;
    *variance = squares / (double)n - *mean * *mean;
    return n;
}

static size_t largest_user(const struct trib_dataset *dataset, size_t *count) {
    const struct trib_split *s = trib_dataset_train(dataset);
    size_t have[1000] = {0}, best = 0;
    for (size_t i = 0; i < s->count; i++) have[s->users[i]]++;
    for (size_t u = 1; u < trib_dataset_users(dataset); u++) best = have[u] > have[best] ? u : best;
    *count = have[best];
    return best;
}

/* Var x[j] = j^-1.2 within a user: 5 standard errors of a normal's sample variance. */
static void test_variance_of_features(void **state) {
    (void)state;
    struct trib_dataset *dataset = open_set("synthetic(1, 1)");
    size_t n, user = largest_user(dataset, &n);
    assert_true(n > 1000);
    for (size_t j = 0; j < D; j++) {
        double mean, variance, wanted = pow((double)(j + 1), -1.2);
        (void)moments(trib_dataset_train(dataset), user, j, &mean, &variance);
        if (fabs(variance / wanted - 1.0) > 5.0 * sqrt(2.0 / (double)n))
            fail_msg("feature %zu: variance %g, expected %g", j + 1, variance, wanted);
    }
    trib_dataset_free(&dataset);
}

/* The mean of v_k over j is B_k, give or take 60^-0.5: over 1,000 users its variance is beta^2 + 1/60. A beta
 * taken for a variance would give 2 + 1/60 at beta 2. */
static double variance_of_centres(const char *spec) {
    struct trib_dataset *dataset = open_set(spec);
    const struct trib_split *s = trib_dataset_train(dataset);
    static double sum[1000];
    static size_t have[1000];
    size_t users = trib_dataset_users(dataset);
    memset(sum, 0, sizeof sum);
    memset(have, 0, sizeof have);
    for (size_t i = 0; i < s->count; i++, have[s->users[i - 1]]++)
        for (size_t j = 0; j < D; j++) sum[s->users[i]] += (double)s->features[i * D + j] / D;
    double mean = 0, squares = 0;
    for (size_t u = 0; u < users; u++) {
        double centre = sum[u] / (double)have[u];
        mean += centre / (double)users;
        squares += centre * centre / (double)users;
    }
    trib_dataset_free(&dataset);
    return squares - mean * mean;
}

static void test_beta_is_a_standard_deviation(void **state) {
    (void)state;
    double two = variance_of_centres("synthetic(0, 2, users=500)"),
           none = variance_of_centres("synthetic(0, 0, users=500)");
    if (fabs(two - 4.017) > 4.017 * 0.3) fail_msg("variance of the users' centres at beta 2: %g", two);
    if (fabs(none - 1.0 / 60) > 0.3 / 60) fail_msg("variance of the users' centres at beta 0: %g", none);
}

/* n_k - 50 is log-normal(4, 2): half of the users have at most e^4 = 54.6 more than 50. */
static void test_sizes(void **state) {
    (void)state;
    struct trib_dataset *dataset = open_set("synthetic(1, 1, users=500)");
    const struct trib_split *splits[] = {trib_dataset_train(dataset), trib_dataset_test(dataset)};
    size_t have[2][500] = {{0}}, below = 0, far = 0;
    for (size_t s = 0; s < 2; s++)
        for (size_t i = 0; i < splits[s]->count; i++) have[s][splits[s]->users[i]]++;
    for (size_t u = 0; u < 500; u++) {
        size_t n = have[0][u] + have[1][u];
        assert_true(n >= 50);
        assert_int_equal(have[0][u], n * 9 / 10);
        below += n < 50 + 54;
        far += n >= 50 + 403; /* e^6, one sigma up: 15.9% */
    }
    assert_in_range(below, 250 - 56, 250 + 56); /* 5 sigma of a binomial */
    assert_in_range(far, 79 - 41, 79 + 41);
    trib_dataset_free(&dataset);
}

/* Accuracy on the test samples of a linear model, 12 epochs over all users' samples. */
static double fit(const char *spec) {
    struct trib_dataset *dataset = open_set(spec);
    struct trib_shape shape = trib_dataset_shape(dataset);
    struct trib_net *net = NULL;
    struct trib_workspace *workspace = NULL;
    assert_int_equal(trib_net_new("softmax", NULL, &shape, 10, &net, NULL), TRIB_OK);
    assert_int_equal(trib_workspace_new(net, 100, &workspace, NULL), TRIB_OK);
    float *p = trib_alloc_floats(trib_net_parameters(net));
    size_t count = trib_dataset_train(dataset)->count;
    uint32_t *all = trib_alloc_array(count, sizeof *all);
    for (size_t i = 0; i < count; i++) all[i] = (uint32_t)i;
    struct trib_train_options o = {.epochs = 12, .batch = 10, .lr = 0.1, .lr_decay = 1.0};
    struct trib_train_result result;
    struct trib_error err = {0};
    if (trib_train(net, workspace, dataset, all, count, &o, p, &result, NULL, &err) != TRIB_OK)
        fail_msg("%s", err.text);
    double loss, accuracy;
    assert_int_equal(trib_evaluate(net, workspace, dataset, p, 0, &loss, &accuracy, NULL, NULL), TRIB_OK);
    o.augment = true;
    assert_int_equal(trib_train(net, workspace, dataset, all, count, &o, p, &result, NULL, &err),
                     TRIB_INVALID);
    assert_non_null(strstr(err.text, "augment"));
    trib_free(all);
    trib_free(p);
    trib_workspace_free(&workspace);
    trib_net_free(&net);
    trib_dataset_free(&dataset);
    return accuracy;
}

static void test_is_learnt(void **state) {
    (void)state;
    double iid = fit("synthetic(iid=true)"), apart = fit("synthetic(1, 1)");
    if (iid < 0.8) fail_msg("one model for all: %.3f", iid);
    if (apart < 0.8) fail_msg("one model for users that differ: %.3f", apart);
}

/* u_k is in all ten outputs alike; and iid features lie about 0, whoever's they are. */
static void test_alpha_and_iid(void **state) {
    (void)state;
    struct trib_dataset *a = open_set("synthetic(0, 1)"), *b = open_set("synthetic(3, 1)"),
                        *c = open_set("synthetic(iid=true)");
    const struct trib_split *x = trib_dataset_train(a), *y = trib_dataset_train(b);
    assert_int_equal(x->count, y->count);
    assert_memory_equal(x->features, y->features, x->count * D * sizeof(float));
    size_t differ = 0, n, user = largest_user(c, &n);
    for (size_t i = 0; i < x->count; i++) differ += x->labels[i] != y->labels[i];
    assert_true(differ * 1000 <= x->count); /* rounding */
    for (size_t j = 0; j < D; j++) {
        double mean, variance;
        (void)moments(trib_dataset_train(c), user, j, &mean, &variance);
        assert_true(fabs(mean) < 5.0 * sqrt(variance / (double)n));
    }
    trib_dataset_free(&a);
    trib_dataset_free(&b);
    trib_dataset_free(&c);
}

static void test_same_for_same_seed(void **state) {
    (void)state;
    struct trib_dataset *a = open_set("synthetic(1, 1)"), *b = open_set("synthetic(beta=1)"),
                        *c = open_set("synthetic(1, 1, seed=2)");
    const struct trib_split *x = trib_dataset_train(a), *y = trib_dataset_train(b),
                            *z = trib_dataset_train(c);
    assert_int_equal(trib_dataset_users(a), 30);
    assert_int_equal(x->count, y->count);
    assert_memory_equal(x->features, y->features, x->count * D * sizeof(float));
    assert_memory_equal(x->labels, y->labels, x->count);
    assert_memory_not_equal(x->features, z->features, (size_t)40 * D * sizeof(float));
    trib_dataset_free(&a);
    trib_dataset_free(&b);
    trib_dataset_free(&c);
}

static struct trib_partition *natural(const struct trib_dataset *dataset, size_t devices,
                                      enum trib_status wanted, struct trib_error *err) {
    const struct trib_split *s = trib_dataset_train(dataset);
    struct trib_partition *partition = NULL;
    assert_int_equal(
        trib_partition_make("natural", s->labels, s->users, s->count, 10, devices, 1, &partition, err),
        wanted);
    return partition;
}

/* With as many devices as users each has one user's samples; with fewer, a user's stay together. */
static void test_natural_partition(void **state) {
    (void)state;
    struct trib_dataset *dataset = open_set("synthetic(1, 1)");
    const struct trib_split *s = trib_dataset_train(dataset);
    for (size_t devices = 30; devices > 4; devices = devices == 30 ? 15 : devices - 5) {
        struct trib_partition *partition = natural(dataset, devices, TRIB_OK, NULL);
        size_t of[30], before = SIZE_MAX, total = 0, users = 0;
        for (size_t u = 0; u < 30; u++) of[u] = SIZE_MAX;
        for (size_t d = 0; d < devices; d++) {
            const uint32_t *items;
            size_t n, mine = 0;
            trib_partition_indices(partition, d, &items, &n);
            for (size_t i = 0; i < n; i++) {
                size_t u = s->users[items[i]];
                mine += of[u] == SIZE_MAX;
                if (of[u] == SIZE_MAX) of[u] = d;
                assert_int_equal(of[u], d);
            }
            assert_int_equal(mine, 30 / devices);
            if (devices == 30) assert_true(n <= before); /* those with most first */
            before = n;
            total += n;
            users += mine;
        }
        assert_int_equal(total, s->count);
        assert_int_equal(users, 30);
        trib_partition_free(&partition);
    }
    struct trib_error err = {0};
    (void)natural(dataset, 31, TRIB_INVALID, &err);
    assert_non_null(strstr(err.text, "30 users"));
    trib_dataset_free(&dataset);
    dataset = open_set("glyphs(100)");
    (void)natural(dataset, 2, TRIB_INVALID, &err);
    assert_non_null(strstr(err.text, "does not know its users"));
    trib_dataset_free(&dataset);
}

static void test_memory(void **state) {
    (void)state;
    struct trib_dataset *dataset = NULL;
    for (long n = 0;; n++) {
        trib_alloc_fail_after(n);
        enum trib_status status = trib_dataset_open("synthetic(1, 1, users=3)", NULL, &dataset, NULL, NULL);
        trib_alloc_fail_after(-1);
        if (status == TRIB_OK) break;
        assert_int_equal(status, TRIB_NOMEM);
    }
    trib_dataset_free(&dataset);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_variance_of_features),
        cmocka_unit_test(test_beta_is_a_standard_deviation),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_is_learnt),
        cmocka_unit_test(test_alpha_and_iid),
        cmocka_unit_test(test_same_for_same_seed),
        cmocka_unit_test(test_natural_partition),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
