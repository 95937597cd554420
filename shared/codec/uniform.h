/* Codes whose levels are equally far apart: int8, int4, int2 (uniform.c). */
#ifndef TRIB_CODEC_UNIFORM_H
#define TRIB_CODEC_UNIFORM_H

#include "shared/codec/packed.h"

bool trib_uniform_stochastic(const struct trib_int_config *config);
bool trib_uniform_draws(const struct trib_stage *stage);
extern const struct trib_packed trib_packed_int8, trib_packed_int4, trib_packed_int2;

/* int8 with parameters that are not its default. */
extern const struct trib_codec_values trib_uniform_int8;

/* codes[i] = x[i] * inverse, rounded up or down by lot so that its mean is right, within +-limit (at most
 * 127), in two's complement. Value j of a vector draws 16 bits: number j / 4 of the seed, lane j % 4. */
void trib_round_by_lot(const float *x, float inverse, int limit, uint64_t seed, size_t at, size_t n,
                       uint8_t *codes);
/* The values of codes of `bits` bits in two's complement, within +-limit. */
void trib_signed_levels(unsigned bits, int limit, float scale, float *levels);

#endif
