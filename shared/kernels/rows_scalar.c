/* Several rows at once, one coordinate after the other. */
#include "shared/kernels/kernels_sets.h"

#include "shared/base/error.h"

#include <string.h>

static void dot_pair(const float *x, const float *y0, const float *y1, size_t n, double sums[2]) {
    sums[0] = trib_kernels_scalar.dot(x, y0, n);
    sums[1] = trib_kernels_scalar.dot(x, y1, n);
}

#define NAME(function)     trib_##function##_scalar
#define REGISTER           float
#define WIDTH              1
#define LOAD(p)            (*(p))
#define STORE(p, v)        (*(p) = (v))
#define FILL(a)            (a)
#define ADD(a, b)          ((a) + (b))
#define SUB(a, b)          ((a) - (b))
#define MUL(a, b)          ((a) * (b))
#define DIV(a, b)          ((a) / (b))
#define LEAST(a, b)        ((a) < (b) ? (a) : (b))
#define MOST(a, b)         ((a) > (b) ? (a) : (b))
#define MASK               bool
#define BELOW(a, b)        ((a) < (b))
#define CHOOSE(mask, a, b) ((mask) ? (a) : (b))
#include "shared/kernels/rows_body.h"
