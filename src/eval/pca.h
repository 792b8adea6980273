/* pca.h - the first principal components of points, by power iteration.
 *
 * Does:     Centres the points, then finds the leading directions of their covariance [C, C] one
 *           after the other. Where two variances are nearly equal the directions are one pair of
 *           many in their span.
 * Layout:   row-major f32.
 * Threads:  internally parallel.
 * Why ours: LAPACK's ssyevd would find all C of them and is not there with BLAS=none; two are
 *           needed, as a start.
 */
#ifndef SELLA_EVAL_PCA_H
#define SELLA_EVAL_PCA_H

#include "base/error.h"

/* Subtract the mean of each column.   x inout [N, C]. */
void sella_center(float *x, int N, int C);
/* y [N, K] = x on its first K directions, of descending variance.   x in [N, C], centred; K <=
 * C. */
sella_status sella_pca(const float *x, int N, int C, int K, float *y, sella_err *err);

#endif
