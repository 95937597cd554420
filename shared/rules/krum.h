/* What Krum, Multi-Krum and Bulyan share: rows whose neighbours are near. Sources: Blanchard et al. 2017
 * (arXiv 1703.02757); El Mhamdi, Guerraoui, Rouault 2018 (arXiv 1802.07927). A row's score is the sum of its
 * *squared* distances to its n - f - 2 nearest others: distances come out of the Gram matrix squared already
 * and are squared no more. */
#ifndef TRIB_RULES_KRUM_H
#define TRIB_RULES_KRUM_H

#include "shared/rules/kind.h"

/* The choice among the `left` rows that `chosen` lists: the position in it of the row with the smallest
 * sum of squared distances to its left - f - 2 nearest (at least one, if there is another). Work: left
 * values. */
size_t trib_krum_best(const struct trib_gram *gram, const size_t *chosen, size_t left, uint64_t f,
                      double *work);
/* Scores of all rows in work[0..rows), then the m best of them get 1 / m. */
void trib_krum_weigh_best(const struct trib_gram *gram, uint64_t f, size_t m, double *coefficients,
                          double *work);
/* The fewest rows of which the proof speaks. */
static inline uint64_t trib_krum_least(uint64_t f) {
    return 2 * f + 3;
}

#endif
