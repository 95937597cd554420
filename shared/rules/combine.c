/* Combiners at work: rows are read in blocks, means of buckets taken, and out of them comes a weighted sum
 * (coefficients from the Gram matrix) or a coordinate-wise mean of some kind. */
#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "shared/kernels/kernels.h"
#include "shared/rules/kind.h"

#include <math.h>
#include <string.h>

enum {
    MOST_STRETCHES = 4,             /* in a block */
    BLOCK_FLOATS = 256 * 4096,      /* of all rows, about */
    RANGE = 64 * TRIB_GRAM_STRETCH, /* a worker's at a time; sums over ranges are made in their order */
    PARTIAL_DOUBLES = 1 << 20       /* of sums that wait for that, about */
};

/* What a worker has for itself. */
struct lane {
    float *values;        /* (rows->count + 1) x block; the last one is zeros */
    float **updates;      /* where each update's block stands */
    const float **means;  /* where each bucket's does: its first update's place; behind them what was combined
                             last, or zeros */
    const float **chosen; /* those of them that count */
};

struct combine {
    const struct trib_rule_rows *rows;
    size_t count, bucket; /* rows that the combiner sees; updates in each, the last one may have fewer */
    size_t block;         /* values of each row at a time */
    uint32_t *order;      /* the updates, shuffled: a bucket is the next few of them */
    size_t *choice;
    double *dots, *coefficients, *work;
    size_t workers;
    struct lane *lanes;
    /* of the pass under way */
    void (*visit)(struct combine *c, struct lane *lane, size_t part, size_t at, size_t n);
    size_t first_range, wave; /* ranges that are gone through at a time, and the first of these */
    double *partial;          /* dots of each range of the wave */
    const struct trib_rule_combiner *combiner;
    const void *config;
    size_t chosen;
    float *out;
};

static void release(struct combine *c) {
    for (size_t i = 0; c->lanes != NULL && i < c->workers; i++) {
        trib_free(c->lanes[i].values);
        trib_free(c->lanes[i].updates);
        trib_free(c->lanes[i].means);
        trib_free(c->lanes[i].chosen);
    }
    trib_free(c->lanes);
    trib_free(c->order);
    trib_free(c->choice);
    trib_free(c->dots);
    trib_free(c->partial);
    trib_free(c->coefficients);
    trib_free(c->work);
}

static bool begin_lane(const struct combine *c, struct lane *lane) {
    size_t k = c->rows->count;
    lane->values = trib_alloc_floats((k + 1) * c->block);
    lane->updates = trib_alloc_array(k, sizeof *lane->updates);
    lane->means = trib_alloc_array(c->count + 1, sizeof *lane->means);
    lane->chosen = trib_alloc_array(c->count + 1, sizeof *lane->chosen);
    return lane->values != NULL && lane->updates != NULL && lane->means != NULL && lane->chosen != NULL;
}

static size_t ranges_of(const struct combine *c) {
    return (c->rows->parameters + RANGE - 1) / RANGE;
}

/* Partial sums are bounded: many rows make few of them. */
static size_t wave_of(const struct combine *c, size_t size) {
    size_t wave = PARTIAL_DOUBLES / (size * size), ranges = ranges_of(c);
    if (wave < c->workers) wave = c->workers;
    return wave < ranges ? wave : ranges > 0 ? ranges : 1;
}

static bool begin(struct combine *c, const struct trib_rule_rows *rows, uint64_t bucket, bool gram) {
    size_t k = rows->count, size;
    c->rows = rows;
    c->bucket = bucket < k ? (size_t)bucket : k;
    c->count = (k + c->bucket - 1) / c->bucket;
    c->workers = trib_shards_width(rows->shards);
    size = c->count + 1;
    c->wave = wave_of(c, size);
    size_t stretches = BLOCK_FLOATS / TRIB_GRAM_STRETCH / k;
    c->block = TRIB_GRAM_STRETCH * (stretches < 1                ? 1
                                    : stretches > MOST_STRETCHES ? MOST_STRETCHES
                                                                 : stretches);
    c->order = trib_alloc_array(k, sizeof *c->order);
    c->choice = trib_alloc_array(size, sizeof *c->choice);
    c->dots = trib_alloc_array(gram ? size * size : 1, sizeof *c->dots);
    c->partial = trib_alloc_array(gram ? c->wave * size * size : 1, sizeof *c->partial);
    c->coefficients = trib_alloc_array(size, sizeof *c->coefficients);
    c->work = trib_alloc_array(3 * size, sizeof *c->work);
    c->lanes = trib_alloc_array(c->workers, sizeof *c->lanes);
    bool whole = c->order != NULL && c->choice != NULL && c->dots != NULL && c->partial != NULL &&
                 c->coefficients != NULL && c->work != NULL && c->lanes != NULL;
    for (size_t i = 0; whole && i < c->workers; i++) whole = begin_lane(c, &c->lanes[i]);
    return whole;
}

/* Buckets are drawn anew for each commit: whoever chooses when it reports does not choose its neighbours. */
static void shuffle(struct combine *c) {
    for (size_t i = 0; i < c->rows->count; i++) c->order[i] = (uint32_t)i;
    if (c->bucket == 1) return;
    struct trib_rng rng = trib_rng_seed(c->rows->seed, 0x6275636b); /* a stream of its own */
    trib_rng_shuffle(&rng, c->order, c->rows->count);
}

static void place(const struct combine *c, struct lane *lane) {
    for (size_t i = 0; i < c->rows->count; i++) lane->updates[i] = lane->values + i * c->block;
    for (size_t i = 0; i < c->count; i++) lane->means[i] = lane->updates[c->order[i * c->bucket]];
    lane->means[c->count] = lane->values + c->rows->count * c->block;
}

/* The next block of every bucket's mean. */
static void read_block(const struct combine *c, struct lane *lane, size_t worker, size_t at, size_t n) {
    const struct trib_kernels *k = trib_kernels();
    c->rows->read(c->rows->ctx, worker, at, n, lane->updates);
    for (size_t b = 0; c->bucket > 1 && b < c->count; b++) {
        size_t first = b * c->bucket, end = first + c->bucket;
        if (end > c->rows->count) end = c->rows->count;
        float *mean = lane->updates[c->order[first]];
        for (size_t i = first + 1; i < end; i++) k->add_scaled(mean, lane->updates[c->order[i]], 1.0f, n);
        k->scale(mean, 1.0f / (float)(end - first), n);
    }
    if (c->rows->previous != NULL) lane->means[c->count] = c->rows->previous + at;
}

static void go_through_range(void *arg, size_t part, size_t worker) {
    struct combine *c = arg;
    struct lane *lane = &c->lanes[worker];
    size_t at = (c->first_range + part) * RANGE, n;
    size_t end = c->rows->parameters - at < RANGE ? c->rows->parameters : at + RANGE;
    for (; at < end; at += n) {
        n = end - at < c->block ? end - at : c->block;
        read_block(c, lane, worker, at, n);
        c->visit(c, lane, part, at, n);
    }
}

/* Dot products of all pairs of rows, what the last commit combined among them, as the last one. */
static void visit_gram(struct combine *c, struct lane *lane, size_t part, size_t at, size_t n) {
    size_t size = c->count + 1;
    (void)at;
    trib_kernels()->gram(c->partial + part * size * size, lane->means, size, n);
}

static void fill_gram(struct combine *c) {
    size_t values = (c->count + 1) * (c->count + 1), ranges = ranges_of(c), parts;
    c->visit = visit_gram;
    for (c->first_range = 0; c->first_range < ranges; c->first_range += parts) {
        parts = ranges - c->first_range < c->wave ? ranges - c->first_range : c->wave;
        memset(c->partial, 0, parts * values * sizeof *c->partial);
        trib_shards_run(c->rows->shards, parts, go_through_range, c);
        for (size_t part = 0; part < parts; part++)
            for (size_t i = 0; i < values; i++) c->dots[i] += c->partial[part * values + i];
    }
}

static void visit_sum(struct combine *c, struct lane *lane, size_t part, size_t at, size_t n) {
    const struct trib_kernels *k = trib_kernels();
    (void)part;
    memset(c->out + at, 0, n * sizeof *c->out);
    for (size_t i = 0; i <= c->count; i++)
        if ((i < c->count || c->rows->previous != NULL) && c->coefficients[i] != 0)
            k->add_scaled(c->out + at, lane->means[i], (float)c->coefficients[i], n);
}

static void visit_merge(struct combine *c, struct lane *lane, size_t part, size_t at, size_t n) {
    (void)part;
    for (size_t i = 0; i < c->chosen; i++) lane->chosen[i] = lane->means[c->choice[i]];
    c->combiner->merge(c->config, lane->chosen, c->chosen, c->count, c->out + at, n);
}

static void go_through(struct combine *c, void (*visit)(struct combine *c, struct lane *lane, size_t part,
                                                        size_t at, size_t n)) {
    c->visit = visit;
    c->first_range = 0;
    trib_shards_run(c->rows->shards, ranges_of(c), go_through_range, c);
}

enum trib_status trib_combine(const struct trib_rule_combiner *combiner, const void *config, uint64_t bucket,
                              const struct trib_rule_rows *rows, float *out, struct trib_error *err) {
    struct combine c = {.combiner = combiner, .config = config, .out = out};
    enum trib_status status = TRIB_OK;
    if (!begin(&c, rows, bucket, combiner->needs_gram))
        status = trib_fail(err, TRIB_NOMEM, "out of memory for %zu updates side by side", rows->count);
    if (status == TRIB_OK) {
        struct trib_gram gram = {.rows = c.count, .size = c.count + 1, .dots = c.dots, .norm = rows->norm};
        shuffle(&c);
        for (size_t i = 0; i < c.workers; i++) place(&c, &c.lanes[i]);
        if (combiner->needs_gram) fill_gram(&c);
        if (combiner->weigh != NULL) {
            combiner->weigh(config, &gram, c.coefficients, c.work);
            go_through(&c, visit_sum);
        } else {
            c.chosen = c.count;
            for (size_t i = 0; i < c.count; i++) c.choice[i] = i;
            if (combiner->choose != NULL) c.chosen = combiner->choose(config, &gram, c.choice, c.work);
            go_through(&c, visit_merge);
        }
    }
    release(&c);
    return status;
}

/* ---- the Gram matrix ---- */

double trib_gram_distance(const struct trib_gram *g, size_t i, size_t j) {
    double d = trib_gram_at(g, i, i) + trib_gram_at(g, j, j) - 2.0 * trib_gram_at(g, i, j);
    return d > 0.0 ? d : 0.0;
}

double trib_gram_distances(const struct trib_gram *g, const double *coefficients, double *out, double *work) {
    double squared = 0.0, sum = 0.0;
    for (size_t a = 0; a < g->size; a++) {
        work[a] = 0.0;
        for (size_t b = 0; b < g->size; b++) work[a] += trib_gram_at(g, a, b) * coefficients[b];
        squared += coefficients[a] * work[a];
    }
    for (size_t i = 0; i < g->rows; i++) {
        double d = trib_gram_at(g, i, i) - 2.0 * work[i] + squared;
        out[i] = sqrt(d > 0.0 ? d : 0.0);
        sum += out[i];
    }
    return sum;
}
