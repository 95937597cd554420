/* What sparse.c needs of a selection of whole rows (rows.c). */
#ifndef TRIB_CODEC_ROWS_H
#define TRIB_CODEC_ROWS_H

#include "shared/codec/codec_row.h"

/* The values of all rows that are kept: their number follows from the tensors alone. */
size_t trib_rows_values(const struct trib_stage *stage);
/* Are these positions, which have passed their code's check, as many rows of each tensor as are kept? */
enum trib_status trib_rows_check(const struct trib_codec *codec, const uint8_t *positions, size_t bytes,
                                 size_t kept, struct trib_error *err) TRIB_MUST_USE;
/* Decodes, or only passes over n values (y is NULL); `advance` moves to the position behind. */
void trib_rows_go_on(struct trib_decoder *decoder, void (*advance)(struct trib_decoder *decoder), size_t n,
                     float a, float *y);

#endif
