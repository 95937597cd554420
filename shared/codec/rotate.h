/* rotate: before values get their codes, every block of them is multiplied by a random orthogonal matrix, so
 * that whatever they were they come out nearly normal, equally large, and without a pattern; afterwards by
 * its inverse. The matrix is a Walsh-Hadamard transform behind random signs (DRIVE, arXiv 2105.08339; EDEN,
 * arXiv 2108.08842).
 *
 *     encoding:  u32 seed, then the encoding of the rotated values
 *
 * A block of n values that is no power of two, the last one of a vector, is rotated twice: its first p and
 * then its last p values, p the largest power of two in n. That is orthogonal too, mixes all of them, and
 * pads nothing. The first rotation of the block that begins at value `first` takes its signs from stream 2 *
 * first of the seed, the other from stream 2 * first + 1: bit i % 64 of number i / 64 of trib_rng_seed(seed,
 * stream), set for minus. Then come the transform's stages and a factor 1 / sqrt(p), which is multiplied with
 * together with the sign: x * (+-f), then the sums. */
#ifndef TRIB_CODEC_ROTATE_H
#define TRIB_CODEC_ROTATE_H

#include "shared/codec/codec_row.h"

enum { TRIB_ROTATE_HEAD = 4 };

struct trib_rotation {
    const struct trib_source *source;
    size_t block;
    uint32_t seed;
};

/* The rotated source, which reads `source` through `rotation`; both are borrowed. Writes the head to `out`.
 */
struct trib_source trib_rotation_source(struct trib_rotation *rotation, const struct trib_stage *stage,
                                        const struct trib_source *source, uint64_t seed, uint8_t *out);
/* Are values with this sum of squares sure to stay finite when they are rotated back? */
enum trib_status trib_rotation_check(double sum_squares, struct trib_error *err);
/* y[i] += a * value[first + i] for i < n; `data` begins with the head. */
void trib_rotation_add(const struct trib_codec *codec, const uint8_t *data, size_t count, size_t first,
                       size_t n, float a, float *y);

#endif
