/* norm.c - RMSNorm rows split over threads. */
#include "kernels/norm.h"

#include <math.h>
#include <stddef.h>

static float norm_row_forward(float *y, const float *x, const float *w, int C, float eps)
{
    float sum = 0.0f;
    for (int c = 0; c < C; c++) {
        sum += x[c] * x[c];
    }
    const float r = 1.0f / sqrtf(sum / (float)C + eps);
    for (int c = 0; c < C; c++) {
        y[c] = w[c] * (x[c] * r);
    }
    return r;
}

/* y_c = w_c x_c r with dr/dx_c = -r^3 x_c / C, so dx_c += r (w_c dy_c) - x_c r^3 / C sum_k w_k dy_k x_k. */
static void norm_row_backward(float *dx, const float *dy, const float *x, const float *w, float r, int C)
{
    float sum = 0.0f;
    for (int c = 0; c < C; c++) {
        sum += dy[c] * w[c] * x[c];
    }
    const float back = sum * r * r * r / (float)C;
    for (int c = 0; c < C; c++) {
        dx[c] += dy[c] * w[c] * r - x[c] * back;
    }
}

void sella_rmsnorm_forward(float *y, int ldy, float *r, const float *x, int ldx, const float *w, int N, int C, float eps)
{
#pragma omp parallel for schedule(static) if (N > 1)
    for (int n = 0; n < N; n++) {
        const float rms = norm_row_forward(y + (size_t)n * (size_t)ldy, x + (size_t)n * (size_t)ldx, w, C, eps);
        if (r != NULL) {
            r[n] = rms;
        }
    }
}

void sella_rmsnorm_backward(float *dx, int lddx, const float *dy, int lddy, const float *x, int ldx, const float *w, const float *r, int N,
                            int C)
{
#pragma omp parallel for schedule(static) if (N > 1)
    for (int n = 0; n < N; n++) {
        norm_row_backward(dx + (size_t)n * (size_t)lddx, dy + (size_t)n * (size_t)lddy, x + (size_t)n * (size_t)ldx, w, r[n], C);
    }
}
