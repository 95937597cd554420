/* rows(fraction): whole rows of matrices, whole filters of convolutions: of each tensor those with the
 * largest 2-norms, ceil(fraction * rows) of them, of equal ones the first. A tensor of rank 1 is one row and
 * stays. Positions are those of rows, counted over all tensors; the rows' values follow, one behind the
 * other. */
#include "shared/codec/rows.h"
#include "shared/codec/lines.h"

#include "shared/base/alloc.h"
#include "shared/kernels/kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS = 256 }; /* rows whose values are decoded together, at most */

static size_t kept_of(const struct trib_stage *stage, const struct trib_line *tensor) {
    const struct trib_topk_config *config = stage->config;
    double k = ceil(config->fraction * (double)tensor->rows);
    return k < (double)tensor->rows ? (size_t)k : tensor->rows;
}

static size_t most(const struct trib_stage *stage, size_t count) {
    size_t rows = 0;
    (void)count;
    for (size_t t = 0; t < stage->lines->count; t++) rows += kept_of(stage, &stage->lines->tensors[t]);
    return rows;
}

size_t trib_rows_values(const struct trib_stage *stage) {
    size_t values = 0;
    for (size_t t = 0; t < stage->lines->count; t++)
        values += kept_of(stage, &stage->lines->tensors[t]) * stage->lines->tensors[t].length;
    return values;
}

/* ---- which ---- */

struct ranked {
    double squares;
    size_t row;
};

static int largest_first(const void *a, const void *b) {
    const struct ranked *x = a, *y = b;
    if (x->squares != y->squares) return x->squares < y->squares ? 1 : -1;
    return (x->row > y->row) - (x->row < y->row);
}

/* The tensor of a value; `tensor` is that of one before it. */
static const struct trib_line *tensor_at(const struct trib_line *tensor, size_t at) {
    while (at >= tensor->first + tensor->rows * tensor->length) tensor++;
    return tensor;
}

static size_t row_at(const struct trib_line *tensor, size_t at) {
    return tensor->first_row + (at - tensor->first) / tensor->length;
}

/* How many of n values from `at` on are in its row. */
static size_t piece(const struct trib_line *tensor, size_t at, size_t n) {
    const size_t left = tensor->length - (at - tensor->first) % tensor->length;
    return left < n ? left : n;
}

/* Sums up the squares of each row; false if a value is not finite. */
static bool measure(const struct trib_lines *lines, const struct trib_source *source, struct ranked *ranked) {
    const struct trib_kernels *kernels = trib_kernels();
    float room[TRIB_CODEC_BLOCK];
    const struct trib_line *tensor = lines->tensors;
    for (size_t at = 0, n; at < source->count; at += n) {
        const float *block = trib_source_block(source, at, room, &n);
        if (!kernels->all_finite(block, n)) return false;
        for (size_t i = 0, m; i < n; i += m) {
            tensor = tensor_at(tensor, at + i);
            m = piece(tensor, at + i, n - i);
            ranked[row_at(tensor, at + i)].squares += kernels->sum_squares(block + i, m);
        }
    }
    return true;
}

/* A mark for each row that is kept. */
static void mark(const struct trib_stage *stage, struct ranked *ranked, uint8_t *kept) {
    for (size_t t = 0; t < stage->lines->count; t++) {
        const struct trib_line *tensor = &stage->lines->tensors[t];
        struct ranked *rows = ranked + tensor->first_row;
        const size_t k = kept_of(stage, tensor);
        qsort(rows, tensor->rows, sizeof *rows, largest_first);
        for (size_t i = 0; i < k; i++) kept[rows[i].row] = 1;
    }
}

static void take(const struct trib_lines *lines, const struct trib_source *source, const uint8_t *kept,
                 struct trib_kept *out) {
    float room[TRIB_CODEC_BLOCK], *values = out->values;
    const struct trib_line *tensor = lines->tensors;
    for (size_t at = 0, n; at < source->count; at += n) {
        const float *block = trib_source_block(source, at, room, &n);
        for (size_t i = 0, m; i < n; i += m) {
            tensor = tensor_at(tensor, at + i);
            m = piece(tensor, at + i, n - i);
            if (kept[row_at(tensor, at + i)] == 0) continue;
            memcpy(values, block + i, m * sizeof *values);
            values += m;
        }
    }
    for (size_t row = 0; row < lines->rows; row++)
        if (kept[row] != 0) out->positions[out->count++] = (uint32_t)row;
}

static enum trib_status choose(const struct trib_stage *stage, const struct trib_source *source,
                               uint64_t seed, struct trib_kept *out, struct trib_error *err) {
    (void)seed;
    const struct trib_lines *lines = stage->lines;
    struct ranked *ranked = trib_alloc_array(lines->rows, sizeof *ranked);
    uint8_t *kept = trib_alloc(lines->rows);
    enum trib_status status = TRIB_OK;
    out->positions = trib_alloc_array(most(stage, source->count), sizeof *out->positions);
    out->values = trib_alloc_floats(trib_rows_values(stage));
    if (ranked == NULL || kept == NULL || out->positions == NULL || out->values == NULL)
        status = trib_fail(err, TRIB_NOMEM, "rows: no memory for %zu rows", lines->rows);
    for (size_t row = 0; status == TRIB_OK && row < lines->rows; row++) ranked[row].row = row;
    if (status == TRIB_OK && !measure(lines, source, ranked)) status = trib_codec_not_finite("rows", err);
    if (status == TRIB_OK) {
        mark(stage, ranked, kept);
        take(lines, source, kept, out);
    }
    trib_free(ranked);
    trib_free(kept);
    return status;
}

const struct trib_codec_select trib_codec_rows_kept = {
    .most = most, .exact = true, .choose = choose, .rows = true};

/* ---- reading ---- */

enum trib_status trib_rows_check(const struct trib_codec *codec, const uint8_t *positions, size_t bytes,
                                 size_t kept, struct trib_error *err) {
    const struct trib_lines *lines = codec->select.lines;
    size_t cursor = 0, row = SIZE_MAX, seen = 0;
    for (size_t t = 0; t < lines->count; t++) {
        const struct trib_line *tensor = &lines->tensors[t];
        const size_t expected = kept_of(&codec->select, tensor);
        for (size_t i = 0; i < expected && seen < kept; i++, seen++) {
            row = codec->positions.row->positions->next(positions, bytes, &cursor, row);
            if (row < tensor->first_row || row >= tensor->first_row + tensor->rows)
                return trib_fail(err, TRIB_INVALID,
                                 "rows: row %zu in place of one of rows %zu to %zu, of which %zu are kept",
                                 row, tensor->first_row, tensor->first_row + tensor->rows - 1, expected);
        }
    }
    return TRIB_OK;
}

/* The values of neighbouring kept rows follow each other: they are decoded together, and go to their places.
 * A code that looks at whole blocks, as behind a rotation, would take long over one short row after the
 * other. */
struct gathered {
    const struct trib_decoder *decoder;
    float a, *y; /* y: NULL where values are passed over */
    size_t first, values, parts;
    struct {
        size_t at, n;
    } to[PARTS]; /* of y */
};

static void scatter(struct gathered *g) {
    const struct trib_decoder *d = g->decoder;
    float x[TRIB_CODEC_BLOCK];
    memset(x, 0, g->values * sizeof *x);
    trib_dense_add(d->codec, d->data + d->sparse.values, trib_rows_values(&d->codec->select), g->first,
                   g->values, g->a, x);
    for (size_t i = 0, from = 0; i < g->parts; from += g->to[i++].n)
        trib_kernels()->add_scaled(g->y + g->to[i].at, x + from, 1.0F, g->to[i].n);
    g->values = g->parts = 0;
}

/* Values [value, value + n) of those that are sent, for y[at] and those behind it. */
static void gather(struct gathered *g, size_t value, size_t n, size_t at) {
    for (size_t m; g->y != NULL && n > 0; value += m, at += m, n -= m) {
        if (g->values == TRIB_CODEC_BLOCK || g->parts == PARTS) scatter(g);
        if (g->parts == 0) g->first = value;
        m = n < TRIB_CODEC_BLOCK - g->values ? n : TRIB_CODEC_BLOCK - g->values;
        g->to[g->parts].at = at;
        g->to[g->parts++].n = m;
        g->values += m;
    }
}

void trib_rows_go_on(struct trib_decoder *d, void (*advance)(struct trib_decoder *d), size_t n, float a,
                     float *y) {
    const struct trib_lines *lines = d->codec->select.lines;
    struct trib_decoder_sparse *s = &d->sparse;
    struct gathered gathered = {.decoder = d, .a = a, .y = y};
    const size_t end = d->position + n;
    while (s->next < s->kept) {
        const struct trib_line *tensor = trib_lines_of_row(lines, s->at);
        const size_t first = tensor->first + (s->at - tensor->first_row) * tensor->length;
        const size_t from = first > d->position ? first : d->position;
        const size_t to = first + tensor->length < end ? first + tensor->length : end;
        if (from < to) gather(&gathered, s->value + (from - first), to - from, from - d->position);
        if (first + tensor->length > end) break;
        s->value += tensor->length;
        s->next++;
        advance(d);
    }
    if (gathered.values > 0) scatter(&gathered);
}
