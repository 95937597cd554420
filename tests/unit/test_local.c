/* Local training (shared/learn/local.h): each algorithm's steps against its formula, computed beside it on a
 * small convex model. */
#include "tests/support/cmocka.h"

#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "shared/learn/local.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

/* Softmax on 60 features, 610 parameters, 30 users with data of their own. */
#define PLAN                                                                                                 \
    "model: softmax\ndata.set: synthetic(1, 1)\ndata.partition: natural\ndata.devices: 30\n"                 \
    "train.max_samples: 0\ntrain.lr: 0.01\nseed: 3\n"

struct bench {
    struct trib_task task;
    struct trib_workspace *workspace;
    size_t n;
    float *G;
};

static void bench_open(struct bench *b, const char *more) {
    struct trib_plan plan = {0};
    struct trib_error err = {0};
    struct trib_buf text;
    trib_buf_init(&text, 0);
    trib_buf_append(&text, PLAN, strlen(PLAN));
    trib_buf_append(&text, more, strlen(more));
    memset(b, 0, sizeof *b);
    if (trib_plan_read(trib_buf_text(&text), text.size, "test", &plan, &err) != TRIB_OK)
        fail_msg("%s", err.text);
    if (trib_task_open(&b->task, &plan, NULL, true, &err) != TRIB_OK) fail_msg("%s", err.text);
    assert_int_equal(trib_local_workspace(&b->task, &b->workspace, NULL), TRIB_OK);
    b->n = b->task.schema.parameters;
    b->G = trib_alloc_floats(b->n);
    trib_schema_draw(&b->task.schema, 7, b->G);
    trib_options_release(trib_plan_options, trib_plan_option_count, &plan);
    trib_buf_release(&text);
}

static void bench_close(struct bench *b) {
    trib_free(b->G);
    trib_workspace_free(&b->workspace);
    trib_task_close(&b->task);
}

static struct trib_local *work(struct bench *b, size_t device, uint64_t version, uint64_t turn) {
    struct trib_error err = {0};
    struct trib_local *local = trib_local_new(&b->task, b->G, NULL);
    local->device = device;
    local->version = version;
    local->turn = turn;
    if (trib_local_train(local, b->workspace, NULL, &err) != TRIB_OK) fail_msg("%s", err.text);
    return local;
}

/* The mean loss's gradient at w over all samples of a device. */
static size_t gradient_of(struct bench *b, size_t device, const float *w, float *gradient) {
    const uint32_t *items;
    size_t count;
    const struct trib_split *split = trib_dataset_train(b->task.dataset);
    trib_partition_indices(b->task.partition, device, &items, &count);
    float *x = trib_alloc_floats(count * 60);
    uint8_t *labels = trib_alloc(count);
    for (size_t i = 0; i < count; i++) {
        trib_dataset_sample(b->task.dataset, split, items[i], x + i * 60);
        labels[i] = split->labels[items[i]];
    }
    struct trib_workspace *whole;
    assert_int_equal(trib_workspace_new(b->task.net, count, &whole, NULL), TRIB_OK);
    trib_net_gradient(b->task.net, whole, w, x, labels, count, gradient, NULL);
    trib_workspace_free(&whole);
    trib_free(labels);
    trib_free(x);
    return count;
}

static void expect_near(const float *a, const float *b, size_t n, float tolerance) {
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(a[i] - b[i]) <= tolerance))
            fail_msg("parameter %zu: %g, expected %g", i, (double)a[i], (double)b[i]);
}

/* ---- plain ---- */

static void what_is_given_back(void **unused) {
    (void)unused;
    struct bench b;
    bench_open(&b, "train.epochs: 2\ntrain.batch: 10\n");
    const uint32_t *items;
    size_t count;
    trib_partition_indices(b.task.partition, 4, &items, &count);
    struct trib_local *local = work(&b, 4, 0, 0);
    assert_int_equal(local->weight, count);
    assert_int_equal(local->samples, 2 * count);
    assert_true(local->steps == (float)(2 * ((count + 9) / 10)));
    assert_true(local->loss > 0 && isfinite(local->loss));
    float sum = 0;
    for (size_t i = 0; i < b.n; i++) sum += fabsf(local->difference[i]);
    assert_true(sum > 0);
    trib_local_free(&local);
    bench_close(&b);
}

/* The same work gives the same bits; another turn or device is another work. */
static void a_work_is_what_was_given(void **unused) {
    (void)unused;
    struct bench b;
    bench_open(&b, "train.batch: 10\n");
    struct trib_local *a = work(&b, 2, 0, 5), *again = work(&b, 2, 0, 5), *turn = work(&b, 2, 0, 6);
    assert_memory_equal(a->difference, again->difference, b.n * sizeof *a->difference);
    assert_memory_not_equal(a->difference, turn->difference, b.n * sizeof *a->difference);
    trib_local_free(&a);
    trib_local_free(&again);
    trib_local_free(&turn);
    bench_close(&b);
}

/* The rate goes down with the version. */
static void the_rate_of_the_version(void **unused) {
    (void)unused;
    struct bench b;
    bench_open(&b, "train.batch: 4096\ntrain.lr_decay: 0.5\n");
    float *g = trib_alloc_floats(b.n);
    gradient_of(&b, 1, b.G, g);
    struct trib_local *local = work(&b, 1, 3, 0);
    for (size_t i = 0; i < b.n; i++) g[i] *= -0.01f / 8;
    expect_near(local->difference, g, b.n, 1e-6f);
    trib_local_free(&local);
    trib_free(g);
    bench_close(&b);
}

/* ---- FedProx ---- */

/* Three whole-batch steps: w' = w - lr (g(w) + mu (w - w0)). */
static void prox_pulls_back(void **unused) {
    (void)unused;
    struct bench b;
    bench_open(&b, "train.batch: 4096\ntrain.epochs: 3\ntrain.mu: 10\n");
    float *g = trib_alloc_floats(b.n), *d = trib_alloc_floats(b.n), *w = trib_alloc_floats(b.n);
    for (int step = 0; step < 3; step++) {
        for (size_t i = 0; i < b.n; i++) w[i] = b.G[i] + d[i];
        gradient_of(&b, 6, w, g);
        for (size_t i = 0; i < b.n; i++) d[i] -= 0.01f * (g[i] + 10.0f * d[i]);
    }
    struct trib_local *local = work(&b, 6, 0, 0);
    expect_near(local->difference, d, b.n, 2e-6f);
    /* FedNova: norm <- norm (1 - eta mu) + 1 each step. */
    assert_true(fabs((double)local->steps - (0.9 * (0.9 + 1.0) + 1.0)) < 1e-6);
    trib_local_free(&local);
    trib_free(g);
    trib_free(d);
    trib_free(w);
    bench_close(&b);
}

/* ---- FedNova's norm ---- */

struct norm_row {
    const char *plan;
    double norm;
};

/* Of a gradient that is always 1, by hand: four steps. */
static const struct norm_row norms[] = {
    {"", 4.0},
    {"train.momentum: 0.5\n", 1.0 + 1.5 + 1.75 + 1.875},
    {"train.mu: 10\n", 1.0 + 0.9 + 0.81 + 0.729},
    /* both: v = 1; a = 1. v = .5 + 1 - .1 = 1.4; a = 2.4. v = .7 + 1 - .24 = 1.46; a = 3.86. v = .73 + 1 -
       .386 = 1.344; a = 5.204 */
    {"train.momentum: 0.5\ntrain.mu: 10\n", 5.204},
    {"train.weight_decay: 0.01\ntrain.clip: 1\n", 4.0},
};

static void fednova_norms(void **unused) {
    (void)unused;
    for (size_t i = 0; i < sizeof norms / sizeof norms[0]; i++) {
        struct bench b;
        char plan[256];
        (void)snprintf(plan, sizeof plan, "train.batch: 4096\ntrain.epochs: 4\n%s", norms[i].plan);
        bench_open(&b, plan);
        struct trib_local *local = work(&b, 0, 0, 0);
        if (fabs((double)local->steps - norms[i].norm) > 1e-5)
            fail_msg("%s: %g, expected %g", norms[i].plan, (double)local->steps, norms[i].norm);
        trib_local_free(&local);
        bench_close(&b);
    }
}

/* ---- FedSGD ---- */

/* One step along the gradient of all the device's samples, however many. */
static void the_whole_data_in_a_step(void **unused) {
    (void)unused;
    struct bench b;
    bench_open(&b, "train.batch: 0\n");
    float *g = trib_alloc_floats(b.n);
    size_t largest = 0, most = 0, count;
    for (size_t device = 0; device < 30; device++) {
        const uint32_t *items;
        trib_partition_indices(b.task.partition, device, &items, &count);
        if (count > most) largest = device;
        if (count > most) most = count;
    }
    assert_true(most > 2 * trib_workspace_max_batch(b.workspace)); /* so it is done in pieces */
    gradient_of(&b, largest, b.G, g);
    for (size_t i = 0; i < b.n; i++) g[i] *= -0.01f;
    struct trib_local *local = work(&b, largest, 0, 0);
    assert_int_equal(local->samples, most);
    assert_true(local->steps == 1.0f);
    expect_near(local->difference, g, b.n, 1e-6f);
    trib_local_free(&local);
    trib_free(g);
    bench_close(&b);
}

/* ---- SCAFFOLD ---- */

static struct trib_local *with_memory(struct bench *b, size_t device, uint64_t version,
                                      const float *const *memory) {
    struct trib_error err = {0};
    struct trib_local *local = trib_local_new(&b->task, b->G, memory);
    local->device = device;
    local->version = version;
    if (trib_local_train(local, b->workspace, NULL, &err) != TRIB_OK) fail_msg("%s", err.text);
    return local;
}

static void fill(float *values, size_t n, uint64_t seed, float bound) {
    struct trib_rng rng = trib_rng_seed(seed, 1);
    for (size_t i = 0; i < n; i++) values[i] = bound * (float)(2.0 * trib_rng_unit(&rng) - 1.0);
}

/* Whole-batch steps y <- y - eta v, v <- m v + (g(y) - c_i + c); c_i+ is the mean of the g(y), weighted with
 * how much of each is in the way: without momentum c_i - c + (x - y) / (K eta), option II. */
static void scaffold_by_hand(struct bench *b, size_t device, float momentum, const float *c_i, float *y,
                             float *c_new) {
    size_t m = b->task.schema.model_parameters;
    const float *c = b->G + m;
    float *g = trib_alloc_floats(m), *v = trib_alloc_floats(m);
    double a = 0, a_step = 0;
    memcpy(y, b->G, m * sizeof *y);
    for (int k = 0; k < 3; k++) {
        gradient_of(b, device, y, g);
        for (size_t i = 0; i < m; i++) v[i] = momentum * v[i] + (g[i] - c_i[i] + c[i]);
        for (size_t i = 0; i < m; i++) y[i] -= 0.01f * v[i];
        a_step = (double)momentum * a_step + 1.0;
        a += a_step;
    }
    for (size_t i = 0; i < m; i++) c_new[i] = c_i[i] - c[i] + (b->G[i] - y[i]) / (float)(a * 0.01);
    trib_free(g);
    trib_free(v);
}

static void scaffold_round(const char *more, float momentum) {
    struct bench b;
    bench_open(&b, more);
    size_t m = b.task.schema.model_parameters, n = b.n;
    assert_int_equal(n, 2 * m);
    float *c_i = trib_alloc_floats(m), *y = trib_alloc_floats(m), *c_new = trib_alloc_floats(m);
    fill(b.G + m, m, 1, 0.05f);
    fill(c_i, m, 2, 0.05f);
    const float *memory[TRIB_LOCAL_MAX] = {[TRIB_LOCAL_VARIATE] = c_i};
    scaffold_by_hand(&b, 5, momentum, c_i, y, c_new);
    struct trib_local *local = with_memory(&b, 5, 0, memory);
    for (size_t i = 0; i < m; i++) y[i] -= b.G[i];
    expect_near(local->difference, y, m, 1e-6f);
    expect_near(local->memory[TRIB_LOCAL_VARIATE], c_new, m, 1e-4f);
    for (size_t i = 0; i < m; i++) c_new[i] = (c_new[i] - c_i[i]) / 30.0f; /* N: all devices of the plan */
    expect_near(local->difference + m, c_new, m, 1e-5f);
    trib_local_free(&local);
    trib_free(c_i);
    trib_free(y);
    trib_free(c_new);
    bench_close(&b);
}

static void scaffold_corrects_each_step(void **unused) {
    (void)unused;
    scaffold_round("train.algorithm: scaffold\ntrain.batch: 0\ntrain.epochs: 3\n", 0.0f);
    scaffold_round("train.algorithm: scaffold\ntrain.batch: 0\ntrain.epochs: 3\ntrain.momentum: 0.5\n", 0.5f);
}

/* After one step from c = c_i = 0, c_i is the gradient at x: so after a round of all devices c is the mean of
 * their gradients, each device counting the same. */
static void scaffold_variates_are_gradients(void **unused) {
    (void)unused;
    struct bench b;
    bench_open(&b, "train.algorithm: scaffold\ntrain.batch: 0\n");
    size_t m = b.task.schema.model_parameters;
    float *c = trib_alloc_floats(m), *mean = trib_alloc_floats(m), *g = trib_alloc_floats(m);
    for (size_t device = 0; device < 30; device++) {
        struct trib_local *local = work(&b, device, 0, 0);
        gradient_of(&b, device, b.G, g);
        expect_near(local->memory[TRIB_LOCAL_VARIATE], g, m, 2e-4f);
        for (size_t i = 0; i < m; i++) c[i] += local->difference[m + i];
        for (size_t i = 0; i < m; i++) mean[i] += g[i] / 30.0f;
        trib_local_free(&local);
    }
    expect_near(c, mean, m, 2e-4f);
    trib_free(c);
    trib_free(mean);
    trib_free(g);
    bench_close(&b);
}

/* ---- AREA ---- */

/* What devices send adds up to the mean, by samples, of what each trained last, and of version 0 where one
 * has trained nothing yet; whoever comes how often, on whatever model. */
static void area_sum_is_the_mean(void **unused) {
    (void)unused;
    enum { ROUNDS = 25 };
    struct bench b;
    bench_open(&b, "train.batch: 10\n");
    b.task.algorithm = TRIB_ALGORITHM_AREA; /* that both tiers have rule area is the plan's business */
    size_t count, total = 0;
    const uint32_t *items;
    struct trib_local *kept[30] = {NULL};
    trib_schema_draw(&b.task.schema, 3, b.G); /* plan.seed */
    float *zero = trib_alloc_floats(b.n);
    memcpy(zero, b.G, b.n * sizeof *zero);
    struct trib_rng rng = trib_rng_seed(1, 1);
    for (uint64_t turn = 0; turn < ROUNDS; turn++) {
        size_t device = (size_t)trib_rng_below(&rng, 12); /* some never */
        const float *const *memory = kept[device] != NULL ? (const float *const *)kept[device]->memory : NULL;
        struct trib_local *local = trib_local_new(&b.task, b.G, memory);
        local->device = device;
        local->turn = turn;
        assert_int_equal(trib_local_train(local, b.workspace, NULL, NULL), TRIB_OK);
        for (size_t i = 0; i < b.n; i++) b.G[i] += local->difference[i];
        trib_local_free(&kept[device]);
        kept[device] = local;
    }
    float *mean = trib_alloc_floats(b.n);
    for (size_t device = 0; device < 30; device++) {
        trib_partition_indices(b.task.partition, device, &items, &count);
        total += count;
    }
    for (size_t device = 0; device < 30; device++) {
        trib_partition_indices(b.task.partition, device, &items, &count);
        const float *last = kept[device] != NULL ? kept[device]->memory[TRIB_LOCAL_LAST] : zero;
        for (size_t i = 0; i < b.n; i++) mean[i] += (float)count / (float)total * last[i];
        trib_local_free(&kept[device]);
    }
    expect_near(b.G, mean, b.n, 1e-6f);
    trib_free(mean);
    trib_free(zero);
    bench_close(&b);
}

/* ---- EWC ---- */

/* The diagonal of the Fisher information is the mean of the squares of single samples' gradients. */
static void fisher_by_hand(struct bench *b, size_t device, const float *w, float *fisher) {
    const uint32_t *items;
    size_t count;
    const struct trib_split *split = trib_dataset_train(b->task.dataset);
    trib_partition_indices(b->task.partition, device, &items, &count);
    float x[60], *g = trib_alloc_floats(b->n);
    memset(fisher, 0, b->n * sizeof *fisher);
    for (size_t k = 0; k < count; k++) {
        trib_dataset_sample(b->task.dataset, split, items[k], x);
        trib_net_gradient(b->task.net, b->workspace, w, x, &split->labels[items[k]], 1, g, NULL);
        for (size_t i = 0; i < b->n; i++) fisher[i] += g[i] * g[i] / (float)count;
    }
    trib_free(g);
}

static void ewc_pulls_to_its_anchor(void **unused) {
    (void)unused;
    struct bench b;
    bench_open(&b, "train.batch: 0\ntrain.ewc: 20\ntrain.ewc_version: 4\n");
    struct trib_local *early = work(&b, 2, 3, 0); /* no anchor before version 4 */
    assert_null(early->memory[TRIB_LOCAL_ANCHOR]);
    float *fisher = trib_alloc_floats(b.n), *g = trib_alloc_floats(b.n), *anchor = trib_alloc_floats(b.n);
    struct trib_local *first = work(&b, 2, 6, 0);
    memcpy(anchor, b.G, b.n * sizeof *anchor);
    assert_memory_equal(first->memory[TRIB_LOCAL_ANCHOR], anchor, b.n * sizeof *anchor);
    fisher_by_hand(&b, 2, anchor, fisher);
    expect_near(first->memory[TRIB_LOCAL_FISHER], fisher, b.n, 1e-4f);
    /* At the anchor nothing pulls. */
    assert_memory_equal(first->difference, early->difference, b.n * sizeof *anchor);
    fill(b.G, b.n, 9, 0.3f);
    struct trib_local *later = with_memory(&b, 2, 7, (const float *const *)first->memory);
    assert_memory_equal(later->memory[TRIB_LOCAL_ANCHOR], anchor, b.n * sizeof *anchor);
    gradient_of(&b, 2, b.G, g);
    double pull = 0;
    for (size_t i = 0; i < b.n; i++) {
        float force = 20.0f * fisher[i] * (b.G[i] - anchor[i]);
        pull += fabs((double)force);
        g[i] = -0.01f * (g[i] + force);
    }
    assert_true(pull > 0.1);
    expect_near(later->difference, g, b.n, 1e-5f);
    trib_local_free(&early);
    trib_local_free(&first);
    trib_local_free(&later);
    trib_free(fisher);
    trib_free(g);
    trib_free(anchor);
    bench_close(&b);
}

/* ---- worker momentum ---- */

/* What is sent is m_t = (1 - beta) sum beta^(t - s) d_s. */
static void worker_momentum_series(void **unused) {
    (void)unused;
    struct bench plain, b;
    bench_open(&plain, "train.batch: 10\n");
    bench_open(&b, "train.batch: 10\ntrain.worker_momentum: 0.9\n");
    float *m = trib_alloc_floats(b.n);
    const float *const *memory = NULL;
    struct trib_local *local = NULL;
    for (uint64_t turn = 0; turn < 4; turn++) {
        struct trib_local *next = trib_local_new(&b.task, b.G, memory);
        struct trib_local *d = work(&plain, 8, 0, turn);
        next->device = 8;
        next->turn = turn;
        assert_int_equal(trib_local_train(next, b.workspace, NULL, NULL), TRIB_OK);
        for (size_t i = 0; i < b.n; i++) m[i] = 0.9f * m[i] + 0.1f * d->difference[i];
        expect_near(next->difference, m, b.n, 1e-6f);
        assert_memory_equal(next->difference, next->memory[TRIB_LOCAL_MOMENTUM], b.n * sizeof *m);
        trib_local_free(&d);
        trib_local_free(&local);
        local = next;
        memory = (const float *const *)local->memory;
    }
    trib_local_free(&local);
    trib_free(m);
    bench_close(&plain);
    bench_close(&b);
}

/* ---- dynamic epochs ---- */

static uint64_t samples_at(struct bench *b, double sample_ms) {
    struct trib_local *local = trib_local_new(&b->task, b->G, NULL);
    local->sample_ms = sample_ms;
    assert_int_equal(trib_local_train(local, b->workspace, NULL, NULL), TRIB_OK);
    uint64_t samples = local->samples;
    trib_local_free(&local);
    return samples;
}

static void as_many_as_the_deadline_allows(void **unused) {
    (void)unused;
    struct bench b;
    bench_open(&b, "train.batch: 10\ntrain.epochs: 4\ntrain.deadline: 600ms\n");
    const uint32_t *items;
    size_t count;
    trib_partition_indices(b.task.partition, 0, &items, &count);
    assert_int_equal(samples_at(&b, 0.0), count);      /* not measured yet: one epoch */
    assert_int_equal(samples_at(&b, 10.0), 60);        /* 600 ms */
    assert_int_equal(samples_at(&b, 1000.0), 10);      /* too slow even for a batch: one */
    assert_int_equal(samples_at(&b, 1e-6), 4 * count); /* no more than train.epochs */
    bench_close(&b);
}

/* ---- an attacker's labels ---- */

/* With a model of zeros the gradient of class c's bias is 1 / classes - the share of label c. */
static void flipped_labels(void **unused) {
    (void)unused;
    struct bench b;
    bench_open(&b, "train.batch: 4096\n");
    memset(b.G, 0, b.n * sizeof *b.G);
    struct trib_local *honest = work(&b, 3, 0, 0);
    struct trib_local *liar = trib_local_new(&b.task, b.G, NULL);
    liar->device = 3;
    liar->flip_labels = true;
    assert_int_equal(trib_local_train(liar, b.workspace, NULL, NULL), TRIB_OK);
    const float *told = honest->difference + b.n - 10, *lied = liar->difference + b.n - 10;
    for (size_t c = 0; c < 10; c++) assert_true(fabsf(told[c] - lied[9 - c]) < 1e-7f);
    assert_true(fabsf(told[0] - told[9]) + fabsf(told[1] - told[8]) > 1e-4f); /* they do differ */
    trib_local_free(&honest);
    trib_local_free(&liar);
    bench_close(&b);
}

/* ---- limits ---- */

static void no_memory(void **unused) {
    (void)unused;
    struct bench b;
    bench_open(&b, "train.batch: 10\ntrain.mu: 1\n");
    for (long n = 0; n < 3; n++) {
        trib_alloc_fail_after(n);
        assert_null(trib_local_new(&b.task, b.G, NULL));
        trib_alloc_fail_after(-1);
    }
    struct trib_local *local = trib_local_new(&b.task, b.G, NULL);
    for (long n = 0; n < 6; n++) {
        trib_alloc_fail_after(n);
        enum trib_status status = trib_local_train(local, b.workspace, NULL, NULL);
        trib_alloc_fail_after(-1);
        assert_int_equal(status, TRIB_NOMEM);
    }
    atomic_bool stop = true;
    assert_int_equal(trib_local_train(local, b.workspace, &stop, NULL), TRIB_AGAIN);
    trib_local_free(&local);
    bench_close(&b);
}

static int one_thread(void **unused) {
    (void)unused;
    openblas_set_num_threads(1);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_given_back),
        cmocka_unit_test(a_work_is_what_was_given),
        cmocka_unit_test(the_rate_of_the_version),
        cmocka_unit_test(prox_pulls_back),
        cmocka_unit_test(fednova_norms),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(area_sum_is_the_mean),
        cmocka_unit_test(the_whole_data_in_a_step),
        cmocka_unit_test(scaffold_corrects_each_step),
        cmocka_unit_test(scaffold_variates_are_gradients),
        cmocka_unit_test(ewc_pulls_to_its_anchor),
        cmocka_unit_test(worker_momentum_series),
        cmocka_unit_test(as_many_as_the_deadline_allows),
        cmocka_unit_test(flipped_labels),
    };
    return cmocka_run_group_tests(tests, one_thread, NULL);
}
