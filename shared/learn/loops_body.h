/* The bodies of loops.h; included by one .c for each instruction set, which defines LOOPS (the table's name)
 * and LOOPS_NAME. Written so that the compiler makes vectors of them: short fixed inner loops, selects
 * instead of branches, restrict. */
#include "shared/learn/loops.h"

#include <string.h>

enum { LANES = 16, CHUNK = 8 };

static void from_bytes(float *restrict y, const uint8_t *restrict x, float a, float b, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = (float)x[i] * a + b;
}

static void add_each(float *restrict y, const float *restrict bias, size_t rows, size_t n) {
    for (size_t r = 0; r < rows; r++) {
        float b = bias[r];
        for (size_t i = 0; i < n; i++) y[r * n + i] += b;
    }
}

static void add_row(float *restrict y, const float *restrict bias, size_t rows, size_t n) {
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++) y[r * n + i] += bias[i];
}

static float sum_one(const float *restrict x, size_t n) {
    float lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++) lane[j] += x[i + j];
    for (size_t j = 0; i + j < n; j++) lane[j] += x[i + j];
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t j = 0; j < half; j++) lane[j] += lane[j + half];
    return lane[0];
}

static void sum_each(float *restrict sum, const float *restrict y, size_t rows, size_t n) {
    for (size_t r = 0; r < rows; r++) sum[r] += sum_one(y + r * n, n);
}

static void sum_rows(float *restrict sum, const float *restrict y, size_t rows, size_t n) {
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++) sum[i] += y[r * n + i];
}

static void relu(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = x[i] < 0.0f ? 0.0f : x[i]; /* NaN stays */
}

static void relu_back(float *restrict d, const float *restrict y, size_t n) {
    for (size_t i = 0; i < n; i++) d[i] = y[i] > 0.0f ? d[i] : 0.0f;
}

static inline float larger(float a, float b) {
    return a > b ? a : b;
}

static void pool2(float *restrict y, const float *restrict a, const float *restrict b, size_t n) {
    for (size_t i = 0; i < n; i++)
        y[i] = larger(larger(a[2 * i], a[2 * i + 1]), larger(b[2 * i], b[2 * i + 1]));
}

static void pool2_back(float *restrict da, float *restrict db, const float *restrict a,
                       const float *restrict b, const float *restrict y, const float *restrict d, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float m = y[i], left = d[i];
        float d0 = a[2 * i] == m ? left : 0.0f;
        left = a[2 * i] == m ? 0.0f : left;
        float d1 = a[2 * i + 1] == m ? left : 0.0f;
        left = a[2 * i + 1] == m ? 0.0f : left;
        float d2 = b[2 * i] == m ? left : 0.0f;
        left = b[2 * i] == m ? 0.0f : left;
        da[2 * i] = d0;
        da[2 * i + 1] = d1;
        db[2 * i] = d2;
        db[2 * i + 1] = b[2 * i + 1] == m ? left : 0.0f;
    }
}

/* Rows of images are short (8 to 28), so the copies are made of whole chunks, the last one overlapping. */
static inline void copy_row(float *restrict y, const float *restrict x, size_t n) {
    enum { SHORT = CHUNK / 2 };
    if (n < CHUNK && n >= SHORT) { /* two halves, overlapping */
        memcpy(y, x, SHORT * sizeof *y);
        memcpy(y + n - SHORT, x + n - SHORT, SHORT * sizeof *y);
        return;
    }
    if (n < CHUNK) {
        for (size_t i = 0; i < n; i++) y[i] = x[i];
        return;
    }
    for (size_t i = 0; i + CHUNK <= n; i += CHUNK) memcpy(y + i, x + i, CHUNK * sizeof *y);
    memcpy(y + n - CHUNK, x + n - CHUNK, CHUNK * sizeof *y);
}

static void copy_rows(float *restrict y, size_t y_stride, const float *restrict x, size_t x_stride,
                      size_t rows, size_t n) {
    for (size_t r = 0; r < rows; r++) copy_row(y + r * y_stride, x + r * x_stride, n);
}

static inline void add_one_row(float *restrict y, const float *restrict x, size_t n) {
    size_t i = 0;
    for (; i + CHUNK <= n; i += CHUNK)
        for (size_t j = 0; j < CHUNK; j++) y[i + j] += x[i + j];
    for (; i < n; i++) y[i] += x[i];
}

static void add_rows(float *restrict y, size_t y_stride, const float *restrict x, size_t x_stride,
                     size_t rows, size_t n) {
    for (size_t r = 0; r < rows; r++) add_one_row(y + r * y_stride, x + r * x_stride, n);
}

static void momentum(float *restrict p, float *restrict v, const float *restrict g, float factor, float lr,
                     size_t n) {
    for (size_t i = 0; i < n; i++) {
        v[i] = v[i] * factor + g[i];
        p[i] -= lr * v[i];
    }
}

static void pull(float *restrict g, const float *restrict p, const float *restrict to, float weight,
                 size_t n) {
    for (size_t i = 0; i < n; i++) g[i] += weight * (p[i] - to[i]);
}

static void pull_each(float *restrict g, const float *restrict p, const float *restrict to,
                      const float *restrict each, float weight, size_t n) {
    for (size_t i = 0; i < n; i++) g[i] += weight * each[i] * (p[i] - to[i]);
}

static void add_squares(float *restrict y, const float *restrict x, float weight, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] += weight * (x[i] * x[i]);
}

const struct trib_loops LOOPS = {
    .name = LOOPS_NAME,
    .from_bytes = from_bytes,
    .add_each = add_each,
    .add_row = add_row,
    .sum_each = sum_each,
    .sum_rows = sum_rows,
    .relu = relu,
    .relu_back = relu_back,
    .pool2 = pool2,
    .pool2_back = pool2_back,
    .copy_rows = copy_rows,
    .add_rows = add_rows,
    .momentum = momentum,
    .pull = pull,
    .pull_each = pull_each,
    .add_squares = add_squares,
};
