/* A packed code with one header for each tensor, or for each row of it, in place of blocks of a fixed size:
 * the rows' encodings, one behind the other, each as a vector that is one block. */
#ifndef TRIB_CODEC_GROUPED_H
#define TRIB_CODEC_GROUPED_H

#include "shared/codec/codec_row.h"

bool trib_grouped(const struct trib_stage *stage);
size_t trib_grouped_bytes(const struct trib_stage *stage);
enum trib_status trib_grouped_encode(const struct trib_stage *stage, const struct trib_source *source,
                                     uint64_t seed, uint8_t *out, struct trib_error *err) TRIB_MUST_USE;
enum trib_status trib_grouped_check(const struct trib_stage *stage, const uint8_t *data, double *sum_squares,
                                    struct trib_error *err) TRIB_MUST_USE;
void trib_grouped_add(const struct trib_stage *stage, const uint8_t *data, size_t first, size_t n, float a,
                      float *y);

#endif
