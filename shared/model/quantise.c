#include "shared/model/quantise.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { PIECE = 256 /* codes at a time */ };

const char *const trib_quantise_names[] = {"none", "int8", "int4", NULL};

int trib_quantise_bits(const char *name) {
    static const int bits[] = {0, 8, 4};
    for (size_t i = 0; trib_quantise_names[i] != NULL; i++)
        if (strcmp(trib_quantise_names[i], name) == 0) return bits[i];
    return -1;
}

bool trib_quantise_has_rows(const struct trib_tensor *tensor) {
    return tensor->rank > 1;
}

static float largest(unsigned bits) {
    return bits == 8 ? 127.0F : 7.0F;
}

float trib_quantise_scale(unsigned bits, const float *row, size_t count) {
    float absmax = 0.0F;
    for (size_t i = 0; i < count; i++) absmax = fabsf(row[i]) > absmax ? fabsf(row[i]) : absmax;
    const float scale = absmax / largest(bits);
    return scale >= FLT_MIN && isfinite(scale) ? scale : 0.0F;
}

void trib_quantise_codes(unsigned bits, float scale, const float *x, size_t count, int8_t *codes) {
    const float most = largest(bits), inverse = scale > 0.0F ? 1.0F / scale : 0.0F;
    for (size_t i = 0; i < count; i++) {
        float q = rintf(x[i] * inverse);
        q = q < most ? q : most;
        codes[i] = (int8_t)(q > -most ? q : -most);
    }
}

static size_t row_length(const struct trib_tensor *tensor) {
    return tensor->count / tensor->dims[0];
}

static void round_row(unsigned bits, float *row, size_t count) {
    const float scale = trib_quantise_scale(bits, row, count);
    int8_t codes[PIECE];
    for (size_t at = 0, n; at < count; at += n) {
        n = count - at < PIECE ? count - at : PIECE;
        trib_quantise_codes(bits, scale, row + at, n, codes);
        for (size_t i = 0; i < n; i++) row[at + i] = scale * (float)codes[i];
    }
}

void trib_quantise_round(const struct trib_schema *schema, unsigned bits, const float *parameters,
                         float *out) {
    if (out != parameters) memcpy(out, parameters, schema->parameters * sizeof *out);
    for (size_t t = 0; t < schema->tensor_count; t++) {
        const struct trib_tensor *tensor = &schema->tensors[t];
        const size_t length = row_length(tensor);
        if (!trib_quantise_has_rows(tensor) || tensor->offset >= schema->model_parameters) continue;
        for (size_t r = 0; r < tensor->dims[0]; r++)
            round_row(bits, out + tensor->offset + r * length, length);
    }
}
