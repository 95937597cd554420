/* What attackers of each kind submit (trib_attack_row.forge). Sums are doubles in a fixed order: the same
 * bits for any number of threads. Private to attack.c and its tests. */
#ifndef TRIB_SIM_FORGE_H
#define TRIB_SIM_FORGE_H

#include "shared/sim/attack.h"

/* scale d, of what was trained on wrong labels. */
void trib_forge_label_flip(const struct trib_attack_view *view, const double *params, float *difference);
/* -scale d: what Karimireddy et al. (2021, arXiv 2012.10333) call bit flipping. */
void trib_forge_sign_flip(const struct trib_attack_view *view, const double *params, float *difference);
/* params: bit (0 the lowest of the mantissa, 30 the highest of the exponent, 31 the sign), share of the
 * numbers. What is not finite then is the largest finite number. */
void trib_forge_bit_flip(const struct trib_attack_view *view, const double *params, float *difference);
/* N(0, std^2) in every number. */
void trib_forge_gaussian(const struct trib_attack_view *view, const double *params, float *difference);
/* "A little is enough" (Baruch et al. 2019, arXiv 1902.06156): mean - z std of the honest, in every number; z
 * as below, or params[0] if that is above 0. The deviation has the divisor h - 1. */
void trib_forge_alie(const struct trib_attack_view *view, const double *params, float *difference);
/* z_max = Phi^-1((n - m - s) / (n - m)), s = floor(n / 2 + 1) - m: so far may m attackers among n go that s
 * honest ones are farther from the mean. Within -6 .. 6. */
double trib_forge_alie_z(size_t n, size_t m);
/* Inner product manipulation (Xie et al. 2019, arXiv 1903.03936): -eps mean of the honest. */
void trib_forge_ipm(const struct trib_attack_view *view, const double *params, float *difference);
/* All attackers repeat one honest device (Karimireddy et al. 2022, arXiv 2006.09365): the params[0]-th by
 * number of those that were seen. */
void trib_forge_mimic(const struct trib_attack_view *view, const double *params, float *difference);
/* Min-max (Shejwalkar, Houmansadr 2021): mean + gamma p, with the largest gamma at which it is no farther
 * from any honest one than two honest ones are from each other. p by params[0]: 0 -std, 1 -mean / |mean|, 2
 * -sign(mean). */
void trib_forge_min_max(const struct trib_attack_view *view, const double *params, float *difference);

#endif
