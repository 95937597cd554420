/* Matrix products through OpenBLAS, cut to the size of its small-matrix kernels. Private to shared/learn.
 *
 * For AVX-512 OpenBLAS has kernels that multiply without copying the operands first, used while m * n * k is
 * at most a million. Training makes many products a few times as large, with one short side (the batch),
 * where the copying costs up to half of the time: cut into pieces under that size they are up to twice as
 * fast. */
#ifndef TRIB_LEARN_GEMM_H
#define TRIB_LEARN_GEMM_H

#include <stddef.h>

/* C = alpha op(A) op(B) + beta C, row-major, op(A) m x k, op(B) k x n. */
struct trib_gemm {
    char a_form, b_form; /* 'N' as it stands, 'T' transposed */
    size_t m, n, k;
    const float *a, *b;
    float *c;
    size_t a_stride, b_stride, c_stride; /* from row to row, as stored */
    float alpha, beta;
    size_t m_piece, n_piece; /* cut C into pieces of so many rows, columns; 0: not */
};
void trib_gemm(const struct trib_gemm *gemm);

/* The largest m * n * k of a small product with the kernel set in use; 0 if it has no such kernels. */
size_t trib_gemm_small(void);
/* The longest piece, a multiple of 16, with piece * other <= small; 0 (do not cut) if `length` needs no
 * cutting or the piece would be shorter than `least`. */
size_t trib_gemm_piece(size_t small, size_t length, size_t other, size_t least);

#endif
