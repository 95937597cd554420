#include "tests/bench/baseline.h"

void baseline_add_scaled(float *a, const float *b, float s, size_t n) {
    for (size_t i = 0; i < n; i++) a[i] += s * b[i];
}
