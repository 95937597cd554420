/* The limits that are plain loops, compiled with -O3 -mavx2 in a file of their own. */
#ifndef TRIB_TESTS_BASELINE_H
#define TRIB_TESTS_BASELINE_H

#include <stddef.h>

/* a[i] += s * b[i] */
void baseline_add_scaled(float *a, const float *b, float s, size_t n);

#endif
