/* Oort: who teaches the model most in the least time. A child's statistical utility is U = n sqrt(mean
 * loss^2), with n its samples and the mean loss that it reported; cut off at the 90th percentile and scaled
 * to [0, 1], so that one outlier (or liar) does not decide. To it is added what makes up for having been left
 * out, sqrt(0.1 ln(R + 1) / L), R the round and L the round when it was last chosen; and whoever takes longer
 * than the preferred duration T has its score multiplied by (T / t)^penalty. T is a percentile of the
 * durations; when the utility that rounds bring has become flat, the pacer raises it (slower children may
 * come in), when it jumps, lowers it.
 *
 * A share of the places, max(explore x decay^R, least), goes to children that have never been tried, at
 * random. The others are drawn in proportion to their scores from all whose score is at least `cutoff` times
 * that of the last who would get in by order.
 *
 * Source: Lai, Zhu, Madhyastha, Chowdhury, "Oort", OSDI 2021 (arXiv 2010.06081), algorithm 1; the constants
 * of its code, but for cutoff, where the code's 0.05 lets nearly everybody in and the paper says 0.95. */
#include "shared/rules/select_kind.h"

#include <math.h>

struct config {
    double explore, decay, least, penalty, percentile, cutoff;
    uint64_t window;
};

const struct trib_option trib_select_oort_params[TRIB_SELECT_OORT_PARAMS] = {
    {"explore", TRIB_OPT_F64, offsetof(struct config, explore), "0.9", 0, 1, NULL, NULL,
     "share of the places that go to children never tried, in the first round"},
    {"decay", TRIB_OPT_F64, offsetof(struct config, decay), "0.98", 0.001, 1, NULL, NULL,
     "what that share is multiplied by with each round"},
    {"least", TRIB_OPT_F64, offsetof(struct config, least), "0.3", 0, 1, NULL, NULL,
     "it never gets below this"},
    {"penalty", TRIB_OPT_F64, offsetof(struct config, penalty), "2", 0, 100, NULL, NULL,
     "exponent of what a child loses for being slow; 0: nothing"},
    {"percentile", TRIB_OPT_F64, offsetof(struct config, percentile), "30", 0, 100, NULL, NULL,
     "of the durations: who is slower than this one is slow"},
    {"cutoff", TRIB_OPT_F64, offsetof(struct config, cutoff), "0.95", 0, 1, NULL, NULL,
     "who has at least this share of the score that would just get in takes part in the draw"},
    {"window", TRIB_OPT_U64, offsetof(struct config, window), "20", 0, 1000000, NULL, NULL,
     "rounds that the pacer compares with those before them; 0: no pacer"},
};

static const double clip_at = 0.9; /* percentile at which utility is cut off */
static const double bonus = 0.1;   /* for not having been chosen for long */
static const double step = 5;      /* percentiles, of the pacer */

static double utility(const struct trib_select_candidate *candidate) {
    double value = (double)candidate->weight * candidate->loss;
    return isfinite(value) ? value : 0;
}

/* The value that a share `q` of the first `count` in draw->chosen do not exceed, by their scores. */
static double percentile(const struct trib_select_draw *draw, size_t count, double q) {
    size_t below = (size_t)(q * (double)count), above = below < count ? count - below : 1;
    trib_select_highest(draw, count, above);
    double least = INFINITY;
    for (size_t i = 0; i < above; i++)
        if (draw->score[draw->chosen[i]] < least) least = draw->score[draw->chosen[i]];
    return least;
}

/* Shuffled, those who have answered first; returns how many. */
static size_t known_first(const struct trib_select_draw *draw) {
    size_t known = 0;
    trib_select_shuffle(draw);
    for (size_t i = 0; i < draw->count; i++) {
        uint32_t who = draw->chosen[i];
        if (!draw->candidates[who].known) continue;
        draw->chosen[i] = draw->chosen[known];
        draw->chosen[known++] = who;
    }
    return known;
}

static void score(const struct config *c, const struct trib_select_draw *draw, size_t known) {
    const struct trib_select_candidate *all = draw->candidates;
    for (size_t i = 0; i < draw->count; i++) draw->score[i] = all[i].duration_ms;
    double q = fmin((c->percentile + draw->memory->slack) / 100, 1), preferred = percentile(draw, known, q);
    double low = INFINITY;
    for (size_t i = 0; i < draw->count; i++) {
        draw->score[i] = utility(&all[i]);
        if (all[i].known && draw->score[i] < low) low = draw->score[i];
    }
    double high = percentile(draw, known, clip_at), range = fmax(high - low, 1e-4);
    double age = bonus * log((double)draw->round + 1);
    for (size_t i = 0; i < draw->count; i++) {
        double value = (fmin(draw->score[i], high) - low) / range;
        value += sqrt(age / (double)(all[i].last_chosen > 0 ? all[i].last_chosen : 1));
        if (all[i].duration_ms > preferred && preferred > 0)
            value *= pow(preferred / all[i].duration_ms, c->penalty);
        draw->score[i] = value;
    }
}

/* Is what rounds bring flat, or does it jump? Told of each round's utility. */
static void pace(const struct config *c, const struct trib_select_draw *draw, double brought) {
    struct trib_select_memory *m = draw->memory;
    uint64_t window = c->window > 0 ? (draw->round - 1) / c->window : 0;
    if (window != m->window) {
        double change = fabs(m->utility - m->last);
        if (m->last > 0 && change <= 0.1 * m->last) m->slack = fmin(m->slack + step, 100 - c->percentile);
        if (m->last > 0 && change >= 5 * m->last) m->slack = fmax(m->slack - step, step - c->percentile);
        m->last = m->utility;
        m->utility = 0;
        m->window = window;
    }
    m->utility += brought;
}

/* Chooses `want` of the first `known`, and leaves them in front. */
static void exploit(const struct config *c, const struct trib_select_draw *draw, size_t known, size_t want) {
    if (known == 0 || want == 0) return;
    score(c, draw, known);
    trib_select_highest(draw, known, want);
    double last = INFINITY, brought = 0;
    for (size_t i = 0; i < want; i++) last = fmin(last, draw->score[draw->chosen[i]]);
    size_t admitted = want;
    for (size_t i = want; i < known; i++) {
        uint32_t who = draw->chosen[i];
        if (draw->score[who] < last * c->cutoff) continue;
        draw->chosen[i] = draw->chosen[admitted];
        draw->chosen[admitted++] = who;
    }
    trib_select_race(draw, admitted);
    trib_select_highest(draw, admitted, want);
    for (size_t i = 0; i < want; i++) brought += utility(&draw->candidates[draw->chosen[i]]);
    pace(c, draw, brought);
}

static size_t choose(const void *config, const struct trib_select_draw *draw) {
    const struct config *c = config;
    size_t known = known_first(draw), unknown = draw->count - known;
    double share = fmax(c->explore * pow(c->decay, (double)draw->round), c->least);
    /* A single place is explored with that chance. */
    size_t explored = (size_t)(share * (double)draw->want + trib_rng_unit(draw->rng));
    if (explored > unknown) explored = unknown;
    size_t exploited = draw->want - (explored < draw->want ? explored : draw->want);
    if (exploited > known) exploited = known;
    exploit(c, draw, known, exploited);
    for (size_t i = exploited; i < draw->want; i++) { /* shuffled they are */
        uint32_t who = draw->chosen[i];
        draw->chosen[i] = draw->chosen[known + i - exploited];
        draw->chosen[known + i - exploited] = who;
    }
    return draw->want;
}

const struct trib_select_kind trib_select_oort = {
    .name = "oort", .config_bytes = sizeof(struct config), .choose = choose};
