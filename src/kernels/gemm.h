/* gemm.h - matrix products and the one place that sets threads (BLAS and OpenMP share one pool).
 *
 * Does:     C = alpha op(A) op(B) + beta C in f32. Products with a side up to 64 (low-rank
 *           adapters, a few tokens), and with AVX-512 most others, are our own (kernels/product.h);
 *           the rest goes to BLAS. The only file that includes a BLAS header is gemm.c; BLAS=none
 *           uses the twin instead.
 * Layout:   row-major, explicit leading dimensions (elements between rows).
 * Threads:  internally parallel over sella_threads() threads.
 */
#ifndef SELLA_KERNELS_GEMM_H
#define SELLA_KERNELS_GEMM_H

#include <stdbool.h>

#include "base/error.h"

/* op(A) is [M, K], op(B) is [K, N], C is [M, N]. a is stored [M, K] (ta = false) or [K, M] (ta =
 * true); b likewise. beta = 0 does not read C. M, N or K = 0 is fine. */
void sella_gemm(bool ta, bool tb, int M, int N, int K, float alpha, const float *a, int lda,
                const float *b, int ldb, float beta, float *c, int ldc);
/* Plain-loop twin, for tests and BLAS=none. */
void sella_gemm_plain(bool ta, bool tb, int M, int N, int K, float alpha, const float *a, int lda,
                      const float *b, int ldb, float beta, float *c, int ldc);
/* Dot product of two [C] rows, 8 partial sums (the same order on every machine). */
float sella_dot(const float *x, const float *y, int C);

/* Use n threads from now on (n < 1: physical cores allowed to this process). Returns the number in
 * use. Sets BLAS too. */
int sella_threads_set(int n);
int sella_threads(void);
/* Physical cores that this process may use: affinity and a container's quota count. */
int sella_cores(void);
/* SELLA_UNSUPPORTED when the BLAS that was loaded has a thread pool of its own (a pthread
 * build). */
sella_status sella_blas_check(sella_err *err);
/* e.g. "OpenBLAS 0.3.21 (Zen, OpenMP)" or "none (reference loops)". Static string. */
const char *sella_blas_name(void);

#endif
