/* The tensors of an encoded vector, for codes that look at rows: a matrix of the outputs' rows, a convolution
 * of its filters. A tensor of rank 2 and more has dims[0] rows, one of rank 1 is a row. */
#ifndef TRIB_CODEC_LINES_H
#define TRIB_CODEC_LINES_H

#include "shared/codec/codec.h"

#include <stdbool.h>

struct trib_line {
    size_t first, first_row; /* its first value, its first row; over the vector */
    size_t rows, length;     /* values in a row */
};

struct trib_lines {
    size_t count, rows, values;
    struct trib_line *tensors; /* owned */
};

/* Of `count` neighbouring tensors; their values are numbered from 0 on. */
enum trib_status trib_lines_new(const struct trib_tensor *tensors, size_t count, struct trib_lines **out,
                                struct trib_error *err) TRIB_MUST_USE;
void trib_lines_free(struct trib_lines **lines);
/* The tensor of a row. */
const struct trib_line *trib_lines_of_row(const struct trib_lines *lines, size_t row);

/* Values [first, first + count) of a source, which is read in ascending blocks. */
void trib_source_copy(const struct trib_source *source, size_t first, size_t count, float *out);
/* Room for the largest of the tensors, or NULL. */
float *trib_lines_room(const struct trib_lines *lines);

#endif
