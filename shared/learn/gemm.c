#include "shared/learn/gemm.h"

#include "shared/learn/blas.h"

#include <cblas.h>
#include <string.h>

/* The piece of C from row i, column j. */
static void piece(const struct trib_gemm *g, size_t i, size_t m, size_t j, size_t n) {
    const float *a = g->a + (g->a_form == 'N' ? i * g->a_stride : i);
    const float *b = g->b + (g->b_form == 'N' ? j : j * g->b_stride);
    cblas_sgemm(CblasRowMajor, g->a_form == 'N' ? CblasNoTrans : CblasTrans,
                g->b_form == 'N' ? CblasNoTrans : CblasTrans, (int)m, (int)n, (int)g->k, g->alpha, a,
                (int)g->a_stride, b, (int)g->b_stride, g->beta, g->c + i * g->c_stride + j, (int)g->c_stride);
}

void trib_gemm(const struct trib_gemm *g) {
    size_t rows = g->m_piece > 0 ? g->m_piece : g->m, columns = g->n_piece > 0 ? g->n_piece : g->n;
    for (size_t i = 0; i < g->m; i += rows)
        for (size_t j = 0; j < g->n; j += columns)
            piece(g, i, g->m - i < rows ? g->m - i : rows, j, g->n - j < columns ? g->n - j : columns);
}

size_t trib_gemm_small(void) {
    static const char *const with[] = {"SkylakeX", "Cooperlake", "SapphireRapids"};
    for (size_t i = 0; i < sizeof with / sizeof with[0]; i++)
        if (strcmp(trib_blas_kernel(), with[i]) == 0) return 1000000;
    return 0;
}

size_t trib_gemm_piece(size_t small, size_t length, size_t other, size_t least) {
    size_t most = small / other;
    if (length <= most) return 0;
    return most / 16 * 16 >= least ? most / 16 * 16 : 0;
}
