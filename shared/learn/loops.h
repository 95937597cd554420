/* The loops of training that are not matrix products, compiled once for the base instruction set and once for
 * AVX2. All are element by element or sum in one fixed order, so both give the same bits. Private to
 * shared/learn. Pointers do not overlap. */
#ifndef TRIB_LEARN_LOOPS_H
#define TRIB_LEARN_LOOPS_H

#include <stddef.h>
#include <stdint.h>

struct trib_loops {
    const char *name;
    /* y[i] = x[i] * a + b */
    void (*from_bytes)(float *y, const uint8_t *x, float a, float b, size_t n);
    /* y[r][i] += bias[r], r < rows, i < n, rows one behind the other */
    void (*add_each)(float *y, const float *bias, size_t rows, size_t n);
    /* y[r][i] += bias[i] */
    void (*add_row)(float *y, const float *bias, size_t rows, size_t n);
    /* sum[r] += y[r][0] + ...: 16 interleaved partial sums, folded pairwise */
    void (*sum_each)(float *sum, const float *y, size_t rows, size_t n);
    /* sum[i] += y[0][i] + ... in the order of rows */
    void (*sum_rows)(float *sum, const float *y, size_t rows, size_t n);
    /* y[i] = max(x[i], 0); x may be y */
    void (*relu)(float *y, const float *x, size_t n);
    /* d[i] = y[i] > 0 ? d[i] : 0 */
    void (*relu_back)(float *d, const float *y, size_t n);
    /* y[i] = max of a[2i], a[2i+1], b[2i], b[2i+1] */
    void (*pool2)(float *y, const float *a, const float *b, size_t n);
    /* d goes to the first of the four that equals y, 0 to the others */
    void (*pool2_back)(float *da, float *db, const float *a, const float *b, const float *y, const float *d,
                       size_t n);
    /* for r < rows: y[r * y_stride + i] = x[r * x_stride + i], i < n */
    void (*copy_rows)(float *y, size_t y_stride, const float *x, size_t x_stride, size_t rows, size_t n);
    /* for r < rows: y[r * y_stride + i] += x[r * x_stride + i], i < n */
    void (*add_rows)(float *y, size_t y_stride, const float *x, size_t x_stride, size_t rows, size_t n);
    /* v = v * momentum + g;  p -= lr * v */
    void (*momentum)(float *p, float *v, const float *g, float momentum, float lr, size_t n);
    /* g += weight * (p - to) */
    void (*pull)(float *g, const float *p, const float *to, float weight, size_t n);
    /* g += weight * each * (p - to) */
    void (*pull_each)(float *g, const float *p, const float *to, const float *each, float weight, size_t n);
    /* y += weight * x * x */
    void (*add_squares)(float *y, const float *x, float weight, size_t n);
};

extern const struct trib_loops trib_loops_base;
#if defined(__x86_64__)
extern const struct trib_loops trib_loops_avx2;
#endif

/* The fastest set that this processor has. */
const struct trib_loops *trib_loops(void);

#endif
