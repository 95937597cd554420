/* The partitioners. */
#include "shared/learn/partition_internal.h"

#include "shared/base/alloc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void trib_partition_split(struct trib_deal *deal, const uint32_t *items, size_t count) {
    double total = 0.0, sum = 0.0;
    for (size_t d = 0; d < deal->devices; d++) total += deal->share[d];
    size_t from = 0;
    for (size_t d = 0; d < deal->devices; d++) {
        sum += deal->share[d];
        size_t to = d + 1 == deal->devices ? count : (size_t)(sum / total * (double)count);
        if (to > count) to = count;
        for (; from < to; from++) deal->owner[items[from]] = (uint32_t)d;
    }
}

/* Deals all samples at random, in proportion to the shares. */
static void split_all(struct trib_deal *deal) {
    trib_rng_shuffle(deal->rng, deal->by_label, deal->count);
    trib_partition_split(deal, deal->by_label, deal->count);
}

/* ---- iid ---- */

static enum trib_status deal_iid(struct trib_deal *deal, const void *config, struct trib_error *err) {
    (void)config;
    (void)err;
    for (size_t d = 0; d < deal->devices; d++) deal->share[d] = 1.0;
    split_all(deal);
    return TRIB_OK;
}

const struct trib_partitioner trib_partition_iid = {
    .row = {.name = "iid", .summary = "at random, in equal numbers", .example = "iid"},
    .deal = deal_iid,
};

/* ---- dirichlet ---- */

struct dirichlet {
    double alpha;
};

static const struct trib_option dirichlet_params[] = {
    {.name = "alpha",
     .type = TRIB_OPT_F64,
     .offset = offsetof(struct dirichlet, alpha),
     .fallback = "0.5",
     .min = 0.001,
     .max = 1000,
     .help = "concentration: 100 is nearly iid, 0.1 gives most devices one or two classes"},
};

static void draw_shares(struct trib_deal *deal, double alpha) {
    double total = 0.0;
    for (size_t d = 0; d < deal->devices; d++) {
        deal->share[d] = trib_rng_gamma(deal->rng, alpha);
        total += deal->share[d];
    }
    /* A tiny alpha can make every gamma 0: its limit is all to one. */
    if (!(total > 0.0)) deal->share[trib_rng_below(deal->rng, deal->devices)] = 1.0;
}

static size_t smallest(const struct trib_deal *deal, double *scratch) {
    for (size_t d = 0; d < deal->devices; d++) scratch[d] = 0.0;
    for (size_t i = 0; i < deal->count; i++) scratch[deal->owner[i]] += 1.0;
    double least = scratch[0];
    for (size_t d = 1; d < deal->devices; d++) least = fmin(least, scratch[d]);
    return (size_t)least;
}

static enum trib_status deal_dirichlet(struct trib_deal *deal, const void *config, struct trib_error *err) {
    enum { DRAWS = 25 };
    (void)err;
    double alpha = ((const struct dirichlet *)config)->alpha;
    for (int draw = 0; draw < DRAWS; draw++) {
        for (size_t c = 0; c < deal->classes; c++) {
            size_t from = deal->class_start[c];
            draw_shares(deal, alpha);
            trib_partition_split(deal, deal->by_label + from, deal->class_start[c + 1] - from);
        }
        if (smallest(deal, deal->share) >= deal->least) break;
    }
    return TRIB_OK;
}

const struct trib_partitioner trib_partition_dirichlet = {
    .row = {.name = "dirichlet",
            .summary = "each class split by a draw from a Dirichlet distribution",
            .example = "dirichlet(0.5)",
            .params = dirichlet_params,
            .param_count = sizeof dirichlet_params / sizeof dirichlet_params[0]},
    .config_bytes = sizeof(struct dirichlet),
    .deal = deal_dirichlet,
};

/* ---- shards ---- */

struct shards {
    uint64_t each;
};

static const struct trib_option shards_params[] = {
    {.name = "each",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct shards, each),
     .fallback = "2",
     .min = 1,
     .max = 1000,
     .help = "shards for each device"},
};

static enum trib_status deal_shards(struct trib_deal *deal, const void *config, struct trib_error *err) {
    size_t each = (size_t)((const struct shards *)config)->each, shards = each * deal->devices;
    if (shards > deal->count)
        return trib_fail(err, TRIB_INVALID, "%zu shards for each of %zu devices are more than %zu samples",
                         each, deal->devices, deal->count);
    uint32_t *order = trib_alloc_array(shards, sizeof *order);
    if (order == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for %zu shards", shards);
    for (size_t s = 0; s < shards; s++) order[s] = (uint32_t)s;
    trib_rng_shuffle(deal->rng, order, shards);
    for (size_t s = 0; s < shards; s++) {
        size_t from = order[s] * deal->count / shards, to = (order[s] + (size_t)1) * deal->count / shards;
        for (; from < to; from++) deal->owner[deal->by_label[from]] = (uint32_t)(s / each);
    }
    trib_free(order);
    return TRIB_OK;
}

const struct trib_partitioner trib_partition_shards = {
    .row = {.name = "shards",
            .summary = "sorted by label, cut into shards, so many to each device",
            .example = "shards(2)",
            .params = shards_params,
            .param_count = sizeof shards_params / sizeof shards_params[0]},
    .config_bytes = sizeof(struct shards),
    .deal = deal_shards,
};

/* ---- quantity ---- */

struct quantity {
    double sigma;
};

static const struct trib_option quantity_params[] = {
    {.name = "sigma",
     .type = TRIB_OPT_F64,
     .offset = offsetof(struct quantity, sigma),
     .fallback = "1.0",
     .min = 0,
     .max = 5,
     .help = "standard deviation of the logarithm of a device's size; 0: equal sizes"},
};

static enum trib_status deal_quantity(struct trib_deal *deal, const void *config, struct trib_error *err) {
    (void)err;
    double sigma = ((const struct quantity *)config)->sigma;
    for (size_t d = 0; d < deal->devices; d++) deal->share[d] = exp(sigma * trib_rng_normal(deal->rng));
    split_all(deal);
    return TRIB_OK;
}

const struct trib_partitioner trib_partition_quantity = {
    .row = {.name = "quantity",
            .summary = "at random, in log-normal numbers",
            .example = "quantity(1.0)",
            .params = quantity_params,
            .param_count = sizeof quantity_params / sizeof quantity_params[0]},
    .config_bytes = sizeof(struct quantity),
    .deal = deal_quantity,
};

/* ---- natural ---- */

struct user {
    uint32_t id;
    size_t count;
};

/* Most samples first; equal ones in their order. */
static int by_count(const void *a, const void *b) {
    const struct user *x = a, *y = b;
    if (x->count != y->count) return x->count > y->count ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static enum trib_status deal_natural(struct trib_deal *deal, const void *config, struct trib_error *err) {
    (void)config;
    if (deal->users == NULL)
        return trib_fail(err, TRIB_INVALID,
                         "this data set does not know its users; take another partition, for example iid");
    size_t ids = 0, known = 0;
    for (size_t i = 0; i < deal->count; i++) ids = deal->users[i] >= ids ? deal->users[i] + (size_t)1 : ids;
    struct user *users = trib_alloc_array(ids, sizeof *users);
    uint32_t *device = trib_alloc_array(ids, sizeof *device);
    if (users == NULL || device == NULL) {
        trib_free(users);
        trib_free(device);
        return trib_fail(err, TRIB_NOMEM, "no memory for %zu users", ids);
    }
    for (size_t u = 0; u < ids; u++) users[u].id = (uint32_t)u;
    for (size_t i = 0; i < deal->count; i++) known += users[deal->users[i]].count++ == 0;
    qsort(users, ids, sizeof *users, by_count);
    for (size_t u = 0; u < ids; u++) device[users[u].id] = (uint32_t)(u % deal->devices);
    for (size_t i = 0; i < deal->count; i++) deal->owner[i] = device[deal->users[i]];
    trib_free(users);
    trib_free(device);
    return known >= deal->devices
               ? TRIB_OK
               : trib_fail(err, TRIB_INVALID, "%zu devices cannot share %zu users; take at most %zu devices",
                           deal->devices, known, known);
}

const struct trib_partitioner trib_partition_natural = {
    .row = {.name = "natural",
            .summary = "each user's samples on one device, as the data set knows its users",
            .example = "natural"},
    .deal = deal_natural,
};
