/* norm.c - RMSNorm rows split over threads. */
#include "kernels/norm.h"

#include <stddef.h>

#include "kernels/fast.h"

void sella_rmsnorm_forward(float *y, int ldy, float *r, const float *x, int ldx, const float *w,
                           int N, int C, float eps)
{
    const sella_fast *fast = sella_fast_best();
#pragma omp parallel for schedule(static) if (N > 1)
    for (int n = 0; n < N; n++) {
        const float rms =
            fast->norm_forward(y + (size_t)n * (size_t)ldy, x + (size_t)n * (size_t)ldx, w, C, eps);
        if (r != NULL) {
            r[n] = rms;
        }
    }
}

void sella_rmsnorm_backward(float *dx, int lddx, const float *dy, int lddy, const float *x, int ldx,
                            const float *w, const float *r, int N, int C)
{
    const sella_fast *fast = sella_fast_best();
#pragma omp parallel for schedule(static) if (N > 1)
    for (int n = 0; n < N; n++) {
        fast->norm_backward(dx + (size_t)n * (size_t)lddx, dy + (size_t)n * (size_t)lddy,
                            x + (size_t)n * (size_t)ldx, w, r[n], C);
    }
}
