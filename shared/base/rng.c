#include "shared/base/rng.h"

#include "shared/base/error.h"

#include <math.h>
#include <sys/random.h>

#define GOLDEN 0x9E3779B97F4A7C15u

uint64_t trib_mix64(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

struct trib_rng trib_rng_seed(uint64_t seed, uint64_t stream) {
    return (struct trib_rng){.state = trib_mix64(trib_mix64(seed + GOLDEN) ^ (stream * GOLDEN + 1))};
}

uint64_t trib_rng_u64(struct trib_rng *rng) {
    rng->state += GOLDEN;
    return trib_mix64(rng->state);
}

uint64_t trib_rng_below(struct trib_rng *rng, uint64_t bound) {
    TRIB_ASSERT(bound > 0);
    uint64_t reject = (0 - bound) % bound; /* 2^64 mod bound */
    for (;;) {
        uint64_t x = trib_rng_u64(rng);
        if (x >= reject) return x % bound;
    }
}

double trib_rng_unit(struct trib_rng *rng) {
    return (double)(trib_rng_u64(rng) >> 11) * 0x1p-53;
}

double trib_rng_normal(struct trib_rng *rng) {
    double u = 1.0 - trib_rng_unit(rng);
    double v = trib_rng_unit(rng);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

double trib_rng_exponential(struct trib_rng *rng) {
    return -log(1.0 - trib_rng_unit(rng));
}

double trib_rng_gamma(struct trib_rng *rng, double shape) {
    if (shape < 1.0) {
        double u = 1.0 - trib_rng_unit(rng);
        return trib_rng_gamma(rng, shape + 1.0) * pow(u, 1.0 / shape);
    }
    double d = shape - 1.0 / 3.0;
    double c = 1.0 / sqrt(9.0 * d);
    for (;;) {
        double x = trib_rng_normal(rng);
        double v = 1.0 + c * x;
        if (v <= 0.0) continue;
        v = v * v * v;
        double u = 1.0 - trib_rng_unit(rng);
        if (log(u) < 0.5 * x * x + d - d * v + d * log(v)) return d * v;
    }
}

void trib_rng_shuffle(struct trib_rng *rng, uint32_t *items, size_t count) {
    for (size_t i = count; i > 1; i--) {
        size_t j = (size_t)trib_rng_below(rng, i);
        uint32_t t = items[i - 1];
        items[i - 1] = items[j];
        items[j] = t;
    }
}

uint64_t trib_random_u64(void) {
    uint64_t x = 0;
    while (x == 0) TRIB_ASSERT(getrandom(&x, sizeof x, 0) == (ssize_t)sizeof x);
    return x;
}
