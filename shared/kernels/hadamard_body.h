/* The Walsh-Hadamard transform over vector registers, for the sets that define
 *     REGISTER, LANES, LOAD(p), STORE(p, v), ADD(a, b), SUB(a, b)
 * and `within(v)`, the stages inside a register. Two stages at a time go through the registers; every sum and
 * difference is the specification's. */
static void two_stages(float *x, size_t n, size_t h) {
    for (size_t i = 0; i < n; i += 4 * h)
        for (size_t j = i; j < i + h; j += LANES) {
            REGISTER a = LOAD(x + j), b = LOAD(x + j + h), c = LOAD(x + j + 2 * h), d = LOAD(x + j + 3 * h);
            REGISTER ab = ADD(a, b), a_b = SUB(a, b), cd = ADD(c, d), c_d = SUB(c, d);
            STORE(x + j, ADD(ab, cd));
            STORE(x + j + h, ADD(a_b, c_d));
            STORE(x + j + 2 * h, SUB(ab, cd));
            STORE(x + j + 3 * h, SUB(a_b, c_d));
        }
}

static void one_stage(float *x, size_t n, size_t h) {
    for (size_t i = 0; i < n; i += 2 * h)
        for (size_t j = i; j < i + h; j += LANES) {
            REGISTER a = LOAD(x + j), b = LOAD(x + j + h);
            STORE(x + j, ADD(a, b));
            STORE(x + j + h, SUB(a, b));
        }
}

static void hadamard(float *x, size_t n) {
    if (n < LANES) {
        trib_kernels_scalar.hadamard(x, n);
        return;
    }
    for (size_t i = 0; i < n; i += LANES) STORE(x + i, within(LOAD(x + i)));
    size_t h = LANES;
    for (; 4 * h <= n; h *= 4) two_stages(x, n, h);
    if (h < n) one_stage(x, n, h);
}
