/* loss.h - binary cross-entropy on logits.
 *
 * Paper:    eqs (3), (5), (11): y^ = sigmoid(z), loss = -[y log y^ + (1-y) log(1-y^)] = softplus(z)
 *           - y z.
 */
#ifndef SELLA_KERNELS_LOSS_H
#define SELLA_KERNELS_LOSS_H

/* Sum over n of weight_n * BCE (in double); weight_n NULL: all 1.
 *   dz      out [N]  weight_n * (sigmoid(z) - y); NULL when not needed
 *   z       in  [N]  logits;   y in [N] labels in [0, 1] */
double sella_bce_forward(float *dz, const float *z, const float *y, const float *weight_n, int N);

#endif
