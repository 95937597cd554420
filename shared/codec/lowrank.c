/* powersgd(rank): of each matrix M of rows x columns values two thin factors, P of rows x r and Q of columns
 * x r, with which P Q^T is near M; r is rank, or as much as the matrix has. What is no matrix, and a matrix
 * whose factors are not at most half its values, stays as it is. What comes out is one vector, which the code
 * behind the `+` gets:
 *
 *     for each tensor: P, component by component, then Q; or its values
 *
 * Source: PowerSGD, arXiv 1905.13727, algorithm 1: P = M Q, orthonormalised, Q = M^T P. Its Q is kept from
 * step to step on all sides. Here both factors are sent, Q begins with numbers drawn from a seed and a few
 * steps more are made, so that decoding needs nothing but the payload, and a participant may come and go. As
 * P is orthonormal, P Q^T is a projection of M: what is lost is never larger than M. Each component's size is
 * then shared between the two. What stays as it is stands beside factors that are as large as the root of the
 * update: of one far below 1, a code whose blocks hold both loses more there; layer(...) keeps them apart. */
#include "shared/codec/codec_row.h"

#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "shared/codec/lines.h"
#include "shared/kernels/kernels.h"

#include <math.h>
#include <string.h>

enum { MOST_RANK = 16, TILE_COLUMNS = 256, TILE_ROWS = 64 };

/* Larger magnitudes are cut down to this, so that no product overflows: the sender keeps what was lost. */
#define LARGEST 0x1p48F
/* A component with less than this part of its squared norm left is one of those before it. */
#define LEFT 1e-12

const struct trib_option trib_powersgd_params[TRIB_POWERSGD_PARAMS] = {
    {.name = "rank",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct trib_powersgd_config, rank),
     .fallback = "2",
     .min = 1,
     .max = MOST_RANK,
     .help = "Columns of the two factors of a matrix."},
    {.name = "iterations",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct trib_powersgd_config, iterations),
     .fallback = "2",
     .min = 1,
     .max = 16,
     .help = "Power iterations: more find the largest components better and take time."},
};

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* The rank that a tensor's factors have; 0: it stays as it is. */
static size_t rank_of(const struct trib_codec *codec, const struct trib_line *tensor) {
    const struct trib_powersgd_config *config = codec->reduce.config;
    const size_t r = least((size_t)config->rank, least(tensor->rows, tensor->length));
    return 2 * r * (tensor->rows + tensor->length) <= tensor->rows * tensor->length ? r : 0;
}

/* The values that are sent for a tensor. */
static size_t sent_of(const struct trib_codec *codec, const struct trib_line *tensor) {
    const size_t r = rank_of(codec, tensor);
    return r > 0 ? r * (tensor->rows + tensor->length) : tensor->rows * tensor->length;
}

static size_t sent(const struct trib_codec *codec) {
    size_t values = 0;
    for (size_t t = 0; t < codec->lines->count; t++) values += sent_of(codec, &codec->lines->tensors[t]);
    return values;
}

size_t trib_lowrank_bytes(const struct trib_codec *codec) {
    return trib_dense_bytes(codec, sent(codec));
}

/* ---- encoding ---- */

static double dot(const double *x, const double *y, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

/* Gram-Schmidt, in double, component after component; one that is nothing new becomes 0. */
static void orthonormalise(double *p, size_t rank, size_t rows) {
    for (size_t k = 0; k < rank; k++) {
        double *x = p + k * rows;
        const double before = dot(x, x, rows);
        for (size_t l = 0; l < k; l++) {
            const double *y = p + l * rows, part = dot(x, y, rows);
            for (size_t i = 0; i < rows; i++) x[i] -= part * y[i];
        }
        const double left = dot(x, x, rows), factor = left > LEFT * before ? 1.0 / sqrt(left) : 0.0;
        for (size_t i = 0; i < rows; i++) x[i] *= factor;
    }
}

static void draw(float *q, size_t n, uint64_t seed, size_t stream) {
    struct trib_rng rng = trib_rng_seed(seed, stream);
    for (size_t i = 0; i < n; i++) q[i] = (float)(trib_rng_unit(&rng) - 0.5);
}

/* From matrix m to factors; `room` has rank * rows doubles. */
static void factorise(const struct trib_line *t, const float *m, size_t rank, size_t iterations, float *p,
                      float *q, double *room) {
    const struct trib_kernels *kernels = trib_kernels();
    for (size_t step = 0; step < iterations; step++) {
        for (size_t k = 0; k < rank; k++)
            for (size_t i = 0; i < t->rows; i++)
                room[k * t->rows + i] = kernels->dot(m + i * t->length, q + k * t->length, t->length);
        orthonormalise(room, rank, t->rows);
        for (size_t i = 0; i < rank * t->rows; i++) p[i] = (float)room[i];
        memset(q, 0, rank * t->length * sizeof *q);
        for (size_t i = 0; i < t->rows; i++)
            for (size_t k = 0; k < rank; k++)
                kernels->add_scaled(q + k * t->length, m + i * t->length, p[k * t->rows + i], t->length);
    }
}

/* Half of the size of each component goes to P, as a power of two, so that both factors are about as large
 * and the code behind, whose blocks may have values of both, loses as much of the one as of the other. */
static void balance(const struct trib_line *t, size_t rank, float *p, float *q) {
    for (size_t k = 0; k < rank; k++) {
        const double squares = trib_kernels()->sum_squares(q + k * t->length, t->length);
        if (!(squares > 0.0)) continue;
        const int half = ilogb(squares) / 4;
        trib_kernels()->scale(p + k * t->rows, ldexpf(1.0F, half), t->rows);
        trib_kernels()->scale(q + k * t->length, ldexpf(1.0F, -half), t->length);
    }
}

/* A NaN stays one. */
static void cut_down(float *x, size_t n) {
    if (trib_kernels()->absmax(x, n) <= LARGEST) return;
    for (size_t i = 0; i < n; i++)
        if (fabsf(x[i]) > LARGEST && isfinite(x[i])) x[i] = copysignf(LARGEST, x[i]);
}

/* All tensors, by way of `matrix`, into the vector that is sent. */
static enum trib_status reduce(const struct trib_codec *codec, const struct trib_source *source,
                               uint64_t seed, float *matrix, float *out, struct trib_error *err) {
    const struct trib_powersgd_config *config = codec->reduce.config;
    for (size_t t = 0; t < codec->lines->count; t++) {
        const struct trib_line *tensor = &codec->lines->tensors[t];
        const size_t rank = rank_of(codec, tensor), values = tensor->rows * tensor->length;
        trib_source_copy(source, tensor->first, values, rank > 0 ? matrix : out);
        if (rank > 0) {
            double *room = trib_alloc_array(rank * tensor->rows, sizeof *room);
            if (room == NULL) return trib_fail(err, TRIB_NOMEM, "powersgd: no memory for a factor");
            if (!trib_kernels()->all_finite(matrix, values)) {
                trib_free(room);
                return trib_codec_not_finite("powersgd", err);
            }
            cut_down(matrix, values);
            draw(out + rank * tensor->rows, rank * tensor->length, seed, t);
            factorise(tensor, matrix, rank, (size_t)config->iterations, out, out + rank * tensor->rows, room);
            balance(tensor, rank, out, out + rank * tensor->rows);
            trib_free(room);
        } else {
            cut_down(out, values);
        }
        out += sent_of(codec, tensor);
    }
    return TRIB_OK;
}

enum trib_status trib_lowrank_encode(const struct trib_codec *codec, const struct trib_source *source,
                                     uint64_t seed, uint8_t *out, struct trib_error *err) {
    const size_t n = sent(codec);
    float *matrix = trib_lines_room(codec->lines), *reduced = trib_alloc_floats(n);
    enum trib_status status = TRIB_OK;
    if (matrix == NULL || reduced == NULL)
        status = trib_fail(err, TRIB_NOMEM, "powersgd: no memory for factors");
    if (status == TRIB_OK) status = reduce(codec, source, seed, matrix, reduced, err);
    if (status == TRIB_OK) {
        struct trib_source factors = trib_source_floats(reduced, n);
        status = trib_dense_encode(codec, &factors, seed, out, err);
    }
    trib_free(matrix);
    trib_free(reduced);
    return status;
}

/* ---- decoding ---- */

/* A matrix that is decoded: its factors begin with value `at` of those that are sent. */
struct product {
    const struct trib_codec *codec;
    const uint8_t *data;
    size_t sent, at, rank;
    const struct trib_line *tensor;
    size_t from, to; /* the values of it that are wanted, into y */
    float a, *y;
};

/* Components' values [first, first + n), of P or of Q (which has `length` of them and begins at `at`). */
static void decode_factor(const struct product *m, size_t at, size_t length, size_t first, size_t n,
                          size_t stride, float *out) {
    memset(out, 0, m->rank * stride * sizeof *out);
    for (size_t k = 0; k < m->rank; k++)
        trib_dense_add(m->codec, m->data, m->sent, at + k * length + first, n, 1.0F, out + k * stride);
}

/* Values [from, to) of row i that are in columns [first, first + n), whose part of Q is there. */
struct stretch {
    size_t row, from, to;
};

static void add_stretch(const struct product *m, const struct stretch *s, const float *p, size_t p_row,
                        const float *q, size_t first) {
    const struct trib_kernels *kernels = trib_kernels();
    const size_t n = s->to - s->from;
    float x[TILE_COLUMNS] = {0};
    for (size_t k = 0; k < m->rank; k++)
        kernels->add_scaled(x, q + k * TILE_COLUMNS + (s->from - first), p[k * TILE_ROWS + p_row], n);
    kernels->add_scaled(m->y + (s->row * m->tensor->length + s->from - m->from), x, m->a, n);
}

/* What of a row is wanted and in columns [first, first + n). */
static bool cut(const struct product *m, size_t row, size_t first, size_t n, struct stretch *out) {
    const size_t start = row * m->tensor->length, low = m->from > start ? m->from - start : 0;
    *out = (struct stretch){
        .row = row, .from = low > first ? low : first, .to = least(first + n, m->to - start)};
    return out->from < out->to;
}

/* Is anything wanted of columns [first, first + n)? A row between two others is wanted whole. */
static bool any_wanted(const struct product *m, size_t first_row, size_t last_row, size_t first, size_t n) {
    struct stretch part;
    return last_row > first_row + 1 || cut(m, first_row, first, n, &part) ||
           cut(m, last_row, first, n, &part);
}

static void add_product(const struct product *m) {
    const size_t rows = m->tensor->rows, length = m->tensor->length;
    const size_t first_row = m->from / length, last_row = (m->to - 1) / length;
    float q[MOST_RANK * TILE_COLUMNS], p[MOST_RANK * TILE_ROWS];
    for (size_t column = 0, n; column < length; column += n) {
        n = least(length - column, TILE_COLUMNS);
        if (!any_wanted(m, first_row, last_row, column, n)) continue;
        decode_factor(m, m->at + m->rank * rows, length, column, n, TILE_COLUMNS, q);
        for (size_t row = first_row, k; row <= last_row; row += k) {
            k = least(last_row + 1 - row, TILE_ROWS);
            decode_factor(m, m->at, rows, row, k, TILE_ROWS, p);
            for (size_t i = 0; i < k; i++) {
                struct stretch stretch;
                if (cut(m, row + i, column, n, &stretch)) add_stretch(m, &stretch, p, i, q, column);
            }
        }
    }
}

void trib_lowrank_add(const struct trib_codec *codec, const uint8_t *data, size_t first, size_t n, float a,
                      float *y) {
    const size_t all = sent(codec), end = first + n;
    size_t at = 0;
    for (size_t t = 0; t < codec->lines->count && first < end; t++) {
        const struct trib_line *tensor = &codec->lines->tensors[t];
        const size_t next = tensor->first + tensor->rows * tensor->length;
        const size_t m = next > first ? least(next, end) - first : 0, within = first - tensor->first;
        const struct product product = {codec,  data,   all,        at, rank_of(codec, tensor),
                                        tensor, within, within + m, a,  y};
        if (m > 0 && product.rank > 0)
            add_product(&product);
        else if (m > 0)
            trib_dense_add(codec, data, all, at + within, m, a, y);
        at += sent_of(codec, tensor);
        y += m;
        first += m;
    }
}

/* ---- the check ---- */

/* The squared norm of values [first, first + n) of those that are sent. */
static double squares_of(const struct trib_codec *codec, const uint8_t *data, size_t first, size_t n) {
    double sum = 0.0;
    for (size_t at = 0, m; at < n; at += m) {
        float x[TRIB_CODEC_BLOCK] = {0};
        m = least(n - at, TRIB_CODEC_BLOCK);
        trib_dense_add(codec, data, sent(codec), first + at, m, 1.0F, x);
        sum += trib_kernels()->sum_squares(x, m);
    }
    return sum;
}

/* No value of P Q^T is larger than the product of the factors' norms. */
static enum trib_status check_products(const struct trib_codec *codec, const uint8_t *data,
                                       struct trib_error *err) {
    size_t at = 0;
    for (size_t t = 0; t < codec->lines->count; t++) {
        const struct trib_line *tensor = &codec->lines->tensors[t];
        const size_t rank = rank_of(codec, tensor), p = rank * tensor->rows, q = rank * tensor->length;
        if (rank > 0) {
            const double squares = squares_of(codec, data, at, p) * squares_of(codec, data, at + p, q);
            if (!(squares <= 0x1p240))
                return trib_fail(err, TRIB_LIMIT,
                                 "powersgd: factors with norms of %g: there could be NaN or infinity among "
                                 "their products",
                                 sqrt(squares));
        }
        at += sent_of(codec, tensor);
    }
    return TRIB_OK;
}

enum trib_status trib_lowrank_check(const struct trib_codec *codec, const uint8_t *data, double *sum_squares,
                                    struct trib_error *err) {
    enum trib_status status = trib_dense_check(codec, data, sent(codec), NULL, err);
    if (status == TRIB_OK) status = check_products(codec, data, err);
    if (status != TRIB_OK || sum_squares == NULL) return status;
    *sum_squares = 0.0;
    for (size_t at = 0, n; at < codec->lines->values; at += n) {
        float x[TRIB_CODEC_BLOCK] = {0};
        n = least(codec->lines->values - at, TRIB_CODEC_BLOCK);
        trib_lowrank_add(codec, data, at, n, 1.0F, x);
        *sum_squares += trib_kernels()->sum_squares(x, n);
    }
    return TRIB_OK;
}
