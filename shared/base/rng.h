/* Seeded random numbers. The same seed gives the same numbers everywhere: splitmix64 for streams, integers
 * and exact float operations for everything that must have the same bits on every machine. The normal and the
 * distributions built on it go through libm and are only as portable as that. Source: Steele, Lea, Flood,
 * "Fast splittable pseudorandom number generators" (splitmix64). */
#ifndef TRIB_BASE_RNG_H
#define TRIB_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct trib_rng {
    uint64_t state;
};

/* The splitmix64 finaliser: a hash of one number. */
uint64_t trib_mix64(uint64_t x);
/* A stream for (seed, stream): two streams of one seed are independent. */
struct trib_rng trib_rng_seed(uint64_t seed, uint64_t stream);
uint64_t trib_rng_u64(struct trib_rng *rng);
/* Uniform in [0, bound), without bias; bound > 0. */
uint64_t trib_rng_below(struct trib_rng *rng, uint64_t bound);
/* Uniform in [0, 1), 53 bits. */
double trib_rng_unit(struct trib_rng *rng);
double trib_rng_normal(struct trib_rng *rng);
double trib_rng_exponential(struct trib_rng *rng);         /* mean 1 */
double trib_rng_gamma(struct trib_rng *rng, double shape); /* scale 1; shape > 0 (Marsaglia, Tsang 2000) */
/* Fisher-Yates over an array of indices. */
void trib_rng_shuffle(struct trib_rng *rng, uint32_t *items, size_t count);
/* A number from the kernel, for incarnations, sessions and unseeded runs; never 0. */
uint64_t trib_random_u64(void);

#endif
