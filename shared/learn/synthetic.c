/* synthetic(alpha, beta): the data of Li et al., "Federated optimization in heterogeneous networks" (FedProx,
 * MLSys 2020, section 5.1), by the generator they published (data/synthetic_1_1/generate_synthetic.py). The
 * distribution is theirs, the random numbers are ours (rng.h), so samples differ from their files.
 *
 * User k of 30, j = 1..60 features, 10 classes:
 *   n_k = floor(LogNormal(4, 2)) + 50         samples
 *   u_k ~ N(0, alpha),  B_k ~ N(0, beta)
 *   v_k[j] ~ N(B_k, 1)                        where its features lie
 *   W_k[j][c] ~ N(u_k, 1),  b_k[c] ~ N(u_k, 1)    its model
 *   x[j] ~ N(v_k[j], j^-1.2),  y = argmax(x W_k + b_k)
 * alpha and beta are STANDARD DEVIATIONS, as numpy's normal takes them in that program; the paper writes them
 * like variances (at 0 and 1 the two are the same). j^-1.2 is a variance in both, a covariance there. u_k
 * moves all ten outputs of x W_k + b_k alike, so alpha changes no label: users differ, also at (0, 0),
 * because W_k, b_k and v_k are drawn for each. `iid` gives all users one W ~ N(0, 1), b ~ N(0, 1) and v = 0:
 * their IID set.
 *
 * The first floor(0.9 n_k) samples train, the others test: samples of a user are independent, so that
 * shuffling them first, as they do, changes nothing. */
#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "shared/learn/dataset_internal.h"

#include <math.h>
#include <stdio.h>

enum { FEATURES = 60, CLASSES = 10, MAX_SAMPLES = 4000000, SIZES = 0x73697a65, MODEL = 0x6d6f6465 };

struct config {
    double alpha, beta;
    uint64_t users, seed;
    bool iid;
};

static const struct trib_option params[] = {
    {.name = "alpha",
     .type = TRIB_OPT_F64,
     .offset = offsetof(struct config, alpha),
     .fallback = "1",
     .min = 0,
     .max = 100,
     .help = "standard deviation of u_k: the mean of a user's W and b (it changes no label)"},
    {.name = "beta",
     .type = TRIB_OPT_F64,
     .offset = offsetof(struct config, beta),
     .fallback = "1",
     .min = 0,
     .max = 100,
     .help = "standard deviation of B_k: how far the users' features differ"},
    {.name = "users",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct config, users),
     .fallback = "30",
     .min = 1,
     .max = 10000,
     .help = "users"},
    {.name = "seed",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct config, seed),
     .fallback = "1",
     .help = "seed of the data"},
    {.name = "iid",
     .type = TRIB_OPT_BOOL,
     .offset = offsetof(struct config, iid),
     .fallback = "false",
     .help = "one model and one place of the features for all users; alpha and beta have no effect"},
};

struct user {
    double v[FEATURES], w[FEATURES][CLASSES], b[CLASSES];
};

static double normal(struct trib_rng *rng, double mean, double deviation) {
    return mean + deviation * trib_rng_normal(rng);
}

static void draw_model(struct user *user, struct trib_rng *rng, double mean) {
    for (size_t j = 0; j < FEATURES; j++)
        for (size_t c = 0; c < CLASSES; c++) user->w[j][c] = normal(rng, mean, 1.0);
    for (size_t c = 0; c < CLASSES; c++) user->b[c] = normal(rng, mean, 1.0);
}

static void draw_user(struct user *user, const struct config *config, struct trib_rng *rng) {
    if (config->iid) {
        struct trib_rng shared = trib_rng_seed(config->seed, MODEL);
        *user = (struct user){.v = {0}};
        draw_model(user, &shared, 0.0);
        return;
    }
    double u = normal(rng, 0.0, config->alpha), b = normal(rng, 0.0, config->beta);
    for (size_t j = 0; j < FEATURES; j++) user->v[j] = normal(rng, b, 1.0);
    draw_model(user, rng, u);
}

/* One sample; returns its label: softmax keeps the order, so its argmax is that of x W + b. */
static uint8_t draw_sample(const struct user *user, struct trib_rng *rng, float *x) {
    double out[CLASSES];
    size_t best = 0;
    for (size_t c = 0; c < CLASSES; c++) out[c] = user->b[c];
    for (size_t j = 0; j < FEATURES; j++) {
        double value = normal(rng, user->v[j], pow((double)(j + 1), -0.6));
        x[j] = (float)value;
        for (size_t c = 0; c < CLASSES; c++) out[c] += value * user->w[j][c];
    }
    for (size_t c = 1; c < CLASSES; c++) best = out[c] > out[best] ? c : best;
    return (uint8_t)best;
}

/* Where the next samples of a split go. */
struct half {
    float *features;
    uint8_t *labels;
    uint32_t *users;
    size_t count;
};

static void draw_samples(const struct user *user, size_t id, struct trib_rng *rng, size_t n,
                         struct half *half) {
    for (size_t i = 0; i < n; i++, half->count++) {
        half->labels[half->count] = draw_sample(user, rng, half->features + half->count * FEATURES);
        half->users[half->count] = (uint32_t)id;
    }
}

/* The sizes of all users into `sizes`; how many samples train and test. */
static enum trib_status draw_sizes(const struct config *config, size_t *sizes, size_t *train, size_t *test,
                                   struct trib_error *err) {
    struct trib_rng rng = trib_rng_seed(config->seed, SIZES);
    *train = *test = 0;
    for (size_t k = 0; k < config->users; k++) {
        double size = floor(exp(normal(&rng, 4.0, 2.0))) + 50.0;
        if (size > MAX_SAMPLES - (double)(*train + *test))
            return trib_fail(err, TRIB_LIMIT, "more than %d samples; take fewer users or another seed",
                             MAX_SAMPLES);
        sizes[k] = (size_t)size;
        *train += sizes[k] * 9 / 10;
        *test += sizes[k] - sizes[k] * 9 / 10;
    }
    return TRIB_OK;
}

/* The arrays of a split, owned by it. */
static bool make_room(struct trib_split *split, size_t count, struct half *half) {
    split->features = half->features = trib_alloc_floats(count * FEATURES);
    split->labels = half->labels = trib_alloc(count);
    split->users = half->users = trib_alloc_array(count, sizeof *half->users);
    split->count = count;
    return half->features != NULL && half->labels != NULL && half->users != NULL;
}

static enum trib_status fill(struct trib_dataset *dataset, const struct config *config, size_t *sizes,
                             struct trib_error *err) {
    struct half train = {.count = 0}, test = {.count = 0};
    size_t train_count, test_count;
    enum trib_status status = draw_sizes(config, sizes, &train_count, &test_count, err);
    if (status != TRIB_OK) return status;
    bool room = make_room(&dataset->train, train_count, &train);
    if (!make_room(&dataset->test, test_count, &test) || !room)
        return trib_fail(err, TRIB_NOMEM, "no memory for %zu samples; take fewer users",
                         train_count + test_count);
    for (size_t k = 0; k < config->users; k++) {
        struct user user;
        struct trib_rng rng = trib_rng_seed(config->seed, k);
        draw_user(&user, config, &rng);
        draw_samples(&user, k, &rng, sizes[k] * 9 / 10, &train);
        draw_samples(&user, k, &rng, sizes[k] - sizes[k] * 9 / 10, &test);
    }
    return TRIB_OK;
}

static enum trib_status open_synthetic(struct trib_dataset *dataset, const char *name, const void *config,
                                       const char *path, struct trib_error *err) {
    const struct config *c = config;
    (void)name;
    (void)path;
    dataset->shape = (struct trib_shape){.channels = 1, .height = 1, .width = FEATURES};
    dataset->classes = CLASSES;
    dataset->users = (size_t)c->users;
    size_t *sizes = trib_alloc_array(dataset->users, sizeof *sizes);
    if (sizes == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for %zu users", dataset->users);
    enum trib_status status = fill(dataset, c, sizes, err);
    trib_free(sizes);
    (void)snprintf(dataset->source, sizeof dataset->source, "%zu generated samples of %zu users",
                   dataset->train.count + dataset->test.count, dataset->users);
    return status;
}

const struct trib_dataset_kind trib_dataset_synthetic = {
    .row = {.name = "synthetic",
            .summary = "FedProx's Synthetic(alpha, beta): 60 features, 10 classes, natural users",
            .params = params,
            .param_count = sizeof params / sizeof params[0]},
    .config_bytes = sizeof(struct config),
    .open = open_synthetic,
};
