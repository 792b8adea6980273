/* activation.h - SwiGLU, GELU (erf form), sigmoid, and small element-wise helpers.
 *
 * Layout:   row-major f32. Gate and up of SwiGLU stand in one row [2F] (one GEMM makes both): gate
 *           first.
 * Threads:  internally parallel over rows; helpers are vectorised. The vector exp is exact to 2 ulp
 *           and has the same bits with AVX2 and AVX-512; without either it is libm's.
 * Paper:    Shazeer 2020 (SwiGLU); Hendrycks and Gimpel 2016 (GELU); eq (7).
 */
#ifndef SELLA_KERNELS_ACTIVATION_H
#define SELLA_KERNELS_ACTIVATION_H

#include <stddef.h>

/* y[n, f] = silu(gu[n, f]) * gu[n, F + f].   y out [N, F] row stride ldy; gu in [N, 2F] row stride
 * ldgu. */
void sella_swiglu_forward(float *y, int ldy, const float *gu, int ldgu, int N, int F);
/* dgu out [N, 2F] (may alias gu); dy in [N, F]; gu in as forward. */
void sella_swiglu_backward(float *dgu, int lddgu, const float *dy, int lddy, const float *gu,
                           int ldgu, int N, int F);

/* GELU with erf (paper eq 7): y may alias x. backward: dx = dy * gelu'(x), dx may alias dy. */
void sella_gelu_forward(float *y, const float *x, size_t n);
void sella_gelu_backward(float *dx, const float *dy, const float *x, size_t n);

/* max(x, 0): y may alias x. backward: dx = dy where x > 0, else 0; dx may alias dy. */
void sella_relu_forward(float *y, const float *x, size_t n);
void sella_relu_backward(float *dx, const float *dy, const float *x, size_t n);

/* 1 / (1 + exp(-x)) in double, never overflowing. */
double sella_sigmoid(double x);

/* y += a x */
void sella_axpy(float *y, float a, const float *x, size_t n);
void sella_scale(float *y, float a, size_t n);
/* Column sums: db[c] += sum_n dy[n, c], in a fixed order. */
void sella_bias_backward(float *db, const float *dy, int lddy, int N, int C);
/* y[n, c] += b[c] */
void sella_bias_add(float *y, int ldy, const float *b, int N, int C);

#endif
