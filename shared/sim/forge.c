#include "shared/sim/forge.h"

#include "shared/kernels/kernels.h"

#include <float.h>
#include <math.h>
#include <string.h>

void trib_forge_sign_flip(const struct trib_attack_view *view, const double *params, float *difference) {
    for (size_t i = 0; i < view->parameters; i++) difference[i] = (float)-params[0] * difference[i];
}

void trib_forge_label_flip(const struct trib_attack_view *view, const double *params, float *difference) {
    for (size_t i = 0; i < view->parameters; i++) difference[i] = (float)params[0] * difference[i];
}

void trib_forge_bit_flip(const struct trib_attack_view *view, const double *params, float *difference) {
    uint32_t mask = UINT32_C(1) << (unsigned)params[0];
    for (size_t i = 0; i < view->parameters; i++) {
        if (params[1] < 1 && trib_rng_unit(view->rng) >= params[1]) continue;
        uint32_t bits;
        memcpy(&bits, &difference[i], sizeof bits);
        bits ^= mask;
        memcpy(&difference[i], &bits, sizeof bits);
        if (!isfinite(difference[i])) difference[i] = bits >> 31 != 0 ? -FLT_MAX : FLT_MAX;
    }
}

void trib_forge_gaussian(const struct trib_attack_view *view, const double *params, float *difference) {
    for (size_t i = 0; i < view->parameters; i++)
        difference[i] = (float)(params[0] * trib_rng_normal(view->rng));
}

/* ---- those that know what the honest submit ---- */

/* How many of them count: the round's, or, where there are none, all that were seen. */
static size_t known(const struct trib_attack_view *view) {
    return view->round_count > 0 ? view->round_count : view->honest_count;
}

static double mean_at(const struct trib_attack_view *view, size_t count, size_t i) {
    double sum = 0;
    for (size_t k = 0; k < count; k++) sum += (double)view->honest[k][i];
    return sum / (double)count;
}

static double deviation_at(const struct trib_attack_view *view, size_t count, size_t i, double mean) {
    double sum = 0;
    for (size_t k = 0; k < count; k++) {
        double away = (double)view->honest[k][i] - mean;
        sum += away * away;
    }
    return count > 1 ? sqrt(sum / (double)(count - 1)) : 0;
}

/* Phi^-1 by halving: Phi is known to the last bits, and is monotonic. */
static double normal_quantile(double p, double least, double most) {
    for (int i = 0; i < 100; i++) {
        double middle = 0.5 * (least + most);
        if (0.5 * erfc(-middle * sqrt(0.5)) < p)
            least = middle;
        else
            most = middle;
    }
    return 0.5 * (least + most);
}

double trib_forge_alie_z(size_t n, size_t m) {
    if (m >= n) return 0;
    double honest = (double)(n - m), supporters = floor((double)n / 2 + 1) - (double)m;
    return normal_quantile((honest - supporters) / honest, -6, 6);
}

void trib_forge_alie(const struct trib_attack_view *view, const double *params, float *difference) {
    double z = params[0] > 0 ? params[0] : trib_forge_alie_z(view->devices, view->attackers);
    size_t count = known(view);
    for (size_t i = 0; i < view->parameters && count > 0; i++) {
        double mean = mean_at(view, count, i);
        difference[i] = (float)(mean - z * deviation_at(view, count, i, mean));
    }
}

void trib_forge_ipm(const struct trib_attack_view *view, const double *params, float *difference) {
    size_t count = known(view);
    for (size_t i = 0; i < view->parameters && count > 0; i++)
        difference[i] = (float)(-params[0] * mean_at(view, count, i));
}

/* How many of those that were seen have a lower number. */
static size_t rank(const struct trib_attack_view *view, size_t k) {
    size_t lower = 0;
    for (size_t j = 0; j < view->honest_count; j++)
        lower += view->honest_devices[j] < view->honest_devices[k];
    return lower;
}

void trib_forge_mimic(const struct trib_attack_view *view, const double *params, float *difference) {
    if (view->honest_count == 0) return;
    size_t target = params[0] < (double)view->honest_count ? (size_t)params[0] : view->honest_count - 1;
    for (size_t k = 0; k < view->honest_count; k++)
        if (rank(view, k) == target)
            memcpy(difference, view->honest[k], view->parameters * sizeof *difference);
}

/* ---- min-max ---- */

/* Dot products of what the honest submitted, and of each with the direction p. */
struct products {
    size_t count;
    double of[TRIB_ATTACK_HONEST_MAX][TRIB_ATTACK_HONEST_MAX], along[TRIB_ATTACK_HONEST_MAX],
        direction_square;
};

static void multiply(const struct trib_attack_view *view, struct products *p) {
    for (size_t k = 0; k < p->count; k++)
        for (size_t j = 0; j <= k; j++)
            p->of[k][j] = p->of[j][k] =
                trib_kernels()->dot(view->honest[k], view->honest[j], view->parameters);
}

static double widest_square(const struct products *p) {
    double widest = 0;
    for (size_t k = 0; k < p->count; k++)
        for (size_t j = 0; j < k; j++) {
            double square = p->of[k][k] + p->of[j][j] - 2 * p->of[k][j];
            if (square > widest) widest = square;
        }
    return widest;
}

static double sum_of(const double *values, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += values[i];
    return sum;
}

static double mean_square(const struct products *p) {
    double sum = 0, count = (double)p->count;
    for (size_t k = 0; k < p->count; k++) sum += sum_of(p->of[k], p->count);
    return sum > 0 ? sum / (count * count) : 0;
}

enum { AGAINST_DEVIATION, AGAINST_MEAN, AGAINST_SIGN };

static void point(const struct trib_attack_view *view, struct products *p, int kind, float *direction) {
    double length = sqrt(mean_square(p));
    for (size_t i = 0; i < view->parameters; i++) {
        double mean = mean_at(view, p->count, i);
        if (kind == AGAINST_DEVIATION)
            direction[i] = (float)-deviation_at(view, p->count, i, mean);
        else if (kind == AGAINST_MEAN)
            direction[i] = length > 0 ? (float)(-mean / length) : 0;
        else
            direction[i] = mean > 0 ? -1.0f : mean < 0 ? 1.0f : 0.0f;
    }
    p->direction_square = trib_kernels()->sum_squares(direction, view->parameters);
    for (size_t k = 0; k < p->count; k++)
        p->along[k] = trib_kernels()->dot(view->honest[k], direction, view->parameters);
}

/* The gamma at which |mean + gamma p - x|^2 = |mean - x|^2 + 2 gamma p (mean - x) + gamma^2 |p|^2 is
 * `widest`. */
static double gamma_for(const struct products *p, size_t k, double widest) {
    double count = (double)p->count;
    double square = mean_square(p) - 2 * sum_of(p->of[k], p->count) / count + p->of[k][k];
    double along = sum_of(p->along, p->count) / count - p->along[k];
    double under = along * along + p->direction_square * (widest - square);
    return under > 0 ? (-along + sqrt(under)) / p->direction_square : 0;
}

void trib_forge_min_max(const struct trib_attack_view *view, const double *params, float *difference) {
    struct products p = {.count = known(view)};
    if (p.count == 0) return;
    multiply(view, &p);
    point(view, &p, (int)params[0], difference);
    double widest = widest_square(&p), gamma = 0;
    for (size_t k = 0; k < p.count && p.direction_square > 0; k++) {
        double most = gamma_for(&p, k, widest);
        if (k == 0 || most < gamma) gamma = most;
    }
    for (size_t i = 0; i < view->parameters; i++)
        difference[i] = (float)(mean_at(view, p.count, i) + gamma * (double)difference[i]);
}
