/* norm.h - RMSNorm over the last dimension, forward and backward.
 *
 * Layout:   row-major f32, rows of C values; the row stride of x and y is given, so that heads
 *           inside a wider row can be normalised in place (Qwen3's q/k norm: N = T * H rows of D).
 * Threads:  internally parallel over rows.
 * Paper:    Zhang and Sennrich 2019; y_c = w_c x_c r, r = 1 / sqrt(mean(x^2) + eps).
 */
#ifndef SELLA_KERNELS_NORM_H
#define SELLA_KERNELS_NORM_H

/*   y    out   [N, C]   may alias x
 *   r    out   [N]      1 / rms of each row; NULL when no backward follows
 *   x    in    [N, C]
 *   w    in    [C]
 *   ldy, ldx   in       elements between rows */
void sella_rmsnorm_forward(float *y, int ldy, float *r, const float *x, int ldx, const float *w,
                           int N, int C, float eps);

/*   dx   accum [N, C]   += gradient
 *   dy   in    [N, C]
 *   x    in    [N, C]   the forward input, and r its 1 / rms
 * w is frozen in every method of sella, so there is no dw. */
void sella_rmsnorm_backward(float *dx, int lddx, const float *dy, int lddy, const float *x, int ldx,
                            const float *w, const float *r, int N, int C);
#endif
