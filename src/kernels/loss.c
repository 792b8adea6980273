/* loss.c - binary cross-entropy on logits, in double. */
#include "kernels/loss.h"

#include <math.h>
#include <stddef.h>

#include "kernels/activation.h"

double sella_bce_forward(float *dz, const float *z, const float *y, const float *weight_n, int N)
{
    double sum = 0;
    for (int n = 0; n < N; n++) {
        const double logit = z[n], label = y[n],
                     weight = weight_n == NULL ? 1.0 : (double)weight_n[n];
        /* softplus(z) = max(z, 0) + log(1 + exp(-|z|)) never overflows; a NaN logit stays NaN. */
        const double softplus = (logit < 0 ? 0 : logit) + log1p(exp(-fabs(logit)));
        sum += weight * (softplus - label * logit);
        if (dz != NULL) {
            dz[n] = (float)(weight * (sella_sigmoid(logit) - label));
        }
    }
    return sum;
}
