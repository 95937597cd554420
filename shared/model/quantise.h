/* Weights of a few bits, for models that are to run where floats cost too much: of every tensor of rank 2 and
 * more each row (a neuron's weights, a convolution's filter) has a scale, s = max|x| / L with L = 127 or 7,
 * and a weight is s q, q = round(x / s). Biases stay floats. Training with `train.qat` sees the weights so,
 * an export with --quantise writes them so: the same function, the same bits. */
#ifndef TRIB_MODEL_QUANTISE_H
#define TRIB_MODEL_QUANTISE_H

#include "shared/model/schema.h"

#include <stdbool.h>

extern const char *const trib_quantise_names[]; /* "none", "int8", "int4"; NULL behind the last */
/* 0, 8 or 4; -1 for another name. */
int trib_quantise_bits(const char *name);

bool trib_quantise_has_rows(const struct trib_tensor *tensor);
/* The scale of a row; 0 where it is too small for one, or not finite. */
float trib_quantise_scale(unsigned bits, const float *row, size_t count);
/* Codes of values that have this scale, within +-127 or +-7. */
void trib_quantise_codes(unsigned bits, float scale, const float *x, size_t count, int8_t *codes);
/* Every weight as it would be: `out` may be `parameters`. Of the model's own tensors; what else there is is
 * copied. */
void trib_quantise_round(const struct trib_schema *schema, unsigned bits, const float *parameters,
                         float *out);

#endif
