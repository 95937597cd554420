/* Partitions that say which classes a device has. */
#include "shared/base/alloc.h"
#include "shared/learn/partition_internal.h"

#include <math.h>

/* ---- pairs ----
 * As in the fleets of Async-HFL (Yu et al. 2023, arXiv 2301.06646): a device's samples are of two classes,
 * most of one. */

struct pairs {
    double first;
};

static const struct trib_option pairs_params[] = {
    {.name = "first",
     .type = TRIB_OPT_F64,
     .offset = offsetof(struct pairs, first),
     .fallback = "0.8",
     .min = 0.5,
     .max = 0.99,
     .help = "share of a device's first class; the rest is of its second"},
};

/* First classes go round, so that all classes have the same number of devices; the second one is any other.
 */
static void draw_pairs(struct trib_deal *deal, uint32_t *second) {
    for (size_t d = 0; d < deal->devices; d++) {
        size_t other = (size_t)trib_rng_below(deal->rng, deal->classes - 1);
        second[d] = (uint32_t)((d + 1 + other) % deal->classes);
    }
}

static enum trib_status deal_pairs(struct trib_deal *deal, const void *config, struct trib_error *err) {
    double first = ((const struct pairs *)config)->first;
    if (deal->classes < 2)
        return trib_fail(err, TRIB_INVALID, "pairs needs two classes, and the data has %zu", deal->classes);
    uint32_t *second = trib_alloc_array(deal->devices, sizeof *second);
    if (second == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for %zu devices", deal->devices);
    draw_pairs(deal, second);
    for (size_t c = 0; c < deal->classes; c++) {
        double all = 0.0;
        for (size_t d = 0; d < deal->devices; d++) {
            deal->share[d] = d % deal->classes == c ? first : second[d] == c ? 1.0 - first : 0.0;
            all += deal->share[d];
        }
        /* Fewer devices than classes: a class that nobody has goes to all. */
        for (size_t d = 0; d < deal->devices && !(all > 0.0); d++) deal->share[d] = 1.0;
        trib_partition_split(deal, deal->by_label + deal->class_start[c],
                             deal->class_start[c + 1] - deal->class_start[c]);
    }
    trib_free(second);
    return TRIB_OK;
}

const struct trib_partitioner trib_partition_pairs = {
    .row = {.name = "pairs",
            .summary = "two classes a device, most of one",
            .example = "pairs(0.8)",
            .params = pairs_params,
            .param_count = sizeof pairs_params / sizeof pairs_params[0]},
    .config_bytes = sizeof(struct pairs),
    .deal = deal_pairs,
};

/* ---- apart ---- */

struct apart {
    double devices;
    uint64_t classes;
};

static const struct trib_option apart_params[] = {
    {.name = "devices",
     .type = TRIB_OPT_F64,
     .offset = offsetof(struct apart, devices),
     .fallback = "0.2",
     .min = 0.001,
     .max = 0.999,
     .help = "share of the devices, those with the highest numbers"},
    {.name = "classes",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct apart, classes),
     .fallback = "2",
     .min = 1,
     .max = 255,
     .help = "classes that they alone have, those with the highest labels"},
};

/* Deals samples at random, in equal numbers, to the devices from `first` to below `end`. */
static void deal_to(struct trib_deal *deal, size_t from, size_t to, size_t first, size_t end) {
    for (size_t d = 0; d < deal->devices; d++) deal->share[d] = d >= first && d < end ? 1.0 : 0.0;
    trib_rng_shuffle(deal->rng, deal->by_label + from, to - from);
    trib_partition_split(deal, deal->by_label + from, to - from);
}

static enum trib_status deal_apart(struct trib_deal *deal, const void *config, struct trib_error *err) {
    const struct apart *c = config;
    size_t those = (size_t)llround(c->devices * (double)deal->devices);
    if (those == 0 || those >= deal->devices || c->classes >= deal->classes)
        return trib_fail(
            err, TRIB_INVALID,
            "apart sets %zu of %zu devices and %llu of %zu classes apart; some of both must be left on "
            "either side",
            those, deal->devices, (unsigned long long)c->classes, deal->classes);
    size_t border = deal->class_start[deal->classes - (size_t)c->classes], others = deal->devices - those;
    deal_to(deal, 0, border, 0, others);
    deal_to(deal, border, deal->count, others, deal->devices);
    return TRIB_OK;
}

const struct trib_partitioner trib_partition_apart = {
    .row = {.name = "apart",
            .summary = "the last devices have the last classes, and nobody else has these",
            .example = "apart(devices=0.2, classes=2)",
            .params = apart_params,
            .param_count = sizeof apart_params / sizeof apart_params[0]},
    .config_bytes = sizeof(struct apart),
    .deal = deal_apart,
};
