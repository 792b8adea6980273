/* layernorm.h - LayerNorm over the last dimension, forward and backward.
 *
 * Layout:   row-major f32, contiguous rows of C values.
 * Threads:  internally parallel; same bytes for any number of threads.
 * Paper:    Ba, Kiros and Hinton 2016; y = w xhat + b, xhat = (x - mean x) r, r = 1 / sqrt(var x +
 *           1e-5), var over C.
 * Not here: RMSNorm of the language models (kernels/norm.h).
 */
#ifndef SELLA_KERNELS_LAYERNORM_H
#define SELLA_KERNELS_LAYERNORM_H

/*   y     out [N, C]   may alias x
 *   xhat  out [N, C]   normalised rows, kept for backward; must not alias y
 *   r     out [N]
 *   x     in  [N, C]
 *   w, b  in  [C] */
void sella_layernorm_forward(float *y, float *xhat, float *r, const float *x, const float *w,
                             const float *b, int N, int C);

/*   dx    accum [N, C]
 *   dw,db accum [C]      NULL when frozen
 *   dy    in    [N, C]
 *   xhat, r in           as forward left them */
void sella_layernorm_backward(float *dx, float *dw, float *db, const float *dy, const float *xhat,
                              const float *r, const float *w, int N, int C);

#endif
