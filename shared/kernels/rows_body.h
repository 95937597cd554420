/* Several rows at once, for the sets that define
 *     NAME(function), REGISTER, WIDTH, LOAD(p), STORE(p, v), FILL(a), ADD, SUB, MUL, DIV, LEAST, MOST
 *     MASK, BELOW(a, b), CHOOSE(mask, a, b)
 * and dot_pair(x, y0, y1, n, sums). A register has one coordinate a lane; the k values of a lane lie one
 * below the other, a column, and are sorted by a network of least and most, so no lane waits for another. */

/* Columns are loaded with plus zero added, which makes minus zeros plus zeros and changes nothing else: then
 * equal values have equal bits, and least and most may give either of them. */
static void load_columns(REGISTER *v, const float *const *rows, size_t k, size_t at) {
    for (size_t i = 0; i < k; i++) v[i] = ADD(LOAD(rows[i] + at), FILL(0.0F));
}

static void load_part(REGISTER *v, const float *const *rows, size_t k, size_t at, size_t count) {
    float padded[WIDTH] = {0};
    for (size_t i = 0; i < k; i++) {
        memcpy(padded, rows[i] + at, count * sizeof *padded);
        v[i] = ADD(LOAD(padded), FILL(0.0F));
    }
}

static void store_part(float *out, REGISTER v, size_t count) {
    float padded[WIDTH];
    STORE(padded, v);
    memcpy(out, padded, count * sizeof *padded);
}

/* Where bit p of i is as `r` has it, v[i] and v[i + d] are put in order. */
static void exchange(REGISTER *v, size_t k, size_t p, size_t r, size_t d) {
    for (size_t i = 0; i + d < k; i++) {
        if ((i & p) != r) continue;
        REGISTER a = v[i], b = v[i + d];
        v[i] = LEAST(a, b);
        v[i + d] = MOST(a, b);
    }
}

/* Batcher's odd-even merge, for any k (Knuth, volume 3, 5.2.2, algorithm M). */
static void sort_columns(REGISTER *v, size_t k) {
    size_t top = 1;
    while (2 * top < k) top *= 2;
    for (size_t p = k > 1 ? top : 0; p > 0; p /= 2) {
        exchange(v, k, p, 0, p);
        for (size_t q = top; q > p; q /= 2) exchange(v, k, p, p, q - p);
    }
}

static REGISTER middle(const REGISTER *v, size_t k) {
    if (k % 2 != 0) return v[k / 2];
    return MUL(ADD(v[k / 2 - 1], v[k / 2]), FILL(0.5F));
}

static REGISTER mean_within(const REGISTER *v, size_t first, size_t count) {
    REGISTER sum = v[first];
    for (size_t i = first + 1; i < first + count; i++) sum = ADD(sum, v[i]);
    return DIV(sum, FILL((float)count));
}

/* Is v[i] left out for v[i + kept], which is nearer to m? True for the first i or none, then false. */
static MASK passed_over(const REGISTER *v, size_t i, size_t kept, REGISTER m) {
    return BELOW(SUB(v[i + kept], m), SUB(m, v[i]));
}

/* Those nearest to the median stand side by side: v[i] is one of them if it is not passed over and the one
 * `kept` places before it is. */
static REGISTER mean_nearest(const REGISTER *v, size_t k, size_t kept) {
    REGISTER m = middle(v, k), sum = FILL(0.0F);
    for (size_t i = 0; i < k; i++) {
        REGISTER with = ADD(sum, v[i]);
        if (i + kept < k) with = CHOOSE(passed_over(v, i, kept, m), sum, with);
        if (i >= kept) with = CHOOSE(passed_over(v, i - kept, kept, m), with, sum);
        sum = with;
    }
    return DIV(sum, FILL((float)kept));
}

/* What becomes of a sorted column. */
enum of_column { MEDIAN, TRIMMED, NEAREST };

static REGISTER reduced(REGISTER *v, size_t k, enum of_column what, size_t count) {
    sort_columns(v, k);
    switch (what) {
    case TRIMMED: return mean_within(v, (k - count) / 2, count);
    case NEAREST: return mean_nearest(v, k, count);
    default: return middle(v, k);
    }
}

static void each_column(float *out, const float *const *rows, size_t k, enum of_column what, size_t count,
                        size_t n) {
    REGISTER v[TRIB_ROWS_MAX];
    size_t at = 0;
    for (; at + WIDTH <= n; at += WIDTH) {
        load_columns(v, rows, k, at);
        STORE(out + at, reduced(v, k, what, count));
    }
    if (at == n) return;
    load_part(v, rows, k, at, n - at);
    store_part(out + at, reduced(v, k, what, count), n - at);
}

void NAME(median_rows)(float *out, const float *const *rows, size_t k, size_t n) {
    TRIB_ASSERT(k > 0 && k <= TRIB_ROWS_MAX);
    each_column(out, rows, k, MEDIAN, 0, n);
}

void NAME(trimmed_rows)(float *out, const float *const *rows, size_t k, size_t b, size_t n) {
    TRIB_ASSERT(k <= TRIB_ROWS_MAX && b < k && 2 * b < k);
    each_column(out, rows, k, TRIMMED, k - 2 * b, n);
}

void NAME(nearest_rows)(float *out, const float *const *rows, size_t k, size_t kept, size_t n) {
    TRIB_ASSERT(k <= TRIB_ROWS_MAX && kept > 0 && kept <= k);
    each_column(out, rows, k, NEAREST, kept, n);
}

/* Row i with all from i on, two at a time. */
static void gram_row(double *sums, const float *const *rows, size_t k, size_t i, size_t at, size_t n) {
    for (size_t j = i; j < k; j += 2) {
        double pair[2];
        const float *second = rows[j + 1 < k ? j + 1 : j];
        dot_pair(rows[i] + at, rows[j] + at, second + at, n, pair);
        sums[i * k + j] += pair[0];
        if (j + 1 < k) sums[i * k + j + 1] += pair[1];
    }
}

void NAME(gram)(double *sums, const float *const *rows, size_t k, size_t n) {
    for (size_t at = 0; at < n; at += TRIB_GRAM_STRETCH) {
        size_t count = n - at < TRIB_GRAM_STRETCH ? n - at : TRIB_GRAM_STRETCH;
        for (size_t i = 0; i < k; i++) gram_row(sums, rows, k, i, at, count);
    }
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < i; j++) sums[i * k + j] = sums[j * k + i];
}
