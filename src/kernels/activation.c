/* activation.c - element-wise kernels split over rows or ranges. */
#include "kernels/activation.h"

#include <math.h>

void sella_swiglu_forward(float *y, int ldy, const float *gu, int ldgu, int N, int F)
{
#pragma omp parallel for schedule(static) if (N > 1)
    for (int n = 0; n < N; n++) {
        const float *gate = gu + (size_t)n * (size_t)ldgu, *up = gate + F;
        float *out = y + (size_t)n * (size_t)ldy;
        for (int f = 0; f < F; f++) {
            out[f] = gate[f] / (1.0f + expf(-gate[f])) * up[f];
        }
    }
}

/* With s = sigmoid(g): d silu / dg = s (1 + g (1 - s)). */
void sella_swiglu_backward(float *dgu, int lddgu, const float *dy, int lddy, const float *gu, int ldgu, int N, int F)
{
#pragma omp parallel for schedule(static) if (N > 1)
    for (int n = 0; n < N; n++) {
        const float *gate = gu + (size_t)n * (size_t)ldgu, *up = gate + F;
        const float *d = dy + (size_t)n * (size_t)lddy;
        float *dgate = dgu + (size_t)n * (size_t)lddgu, *dup = dgate + F;
        for (int f = 0; f < F; f++) {
            const float g = gate[f], u = up[f], s = 1.0f / (1.0f + expf(-g));
            dgate[f] = d[f] * u * s * (1.0f + g * (1.0f - s));
            dup[f] = d[f] * g * s;
        }
    }
}

void sella_gelu_forward(float *y, const float *x, size_t n)
{
#pragma omp parallel for schedule(static) if (n > 4096)
    for (size_t i = 0; i < n; i++) {
        y[i] = 0.5f * x[i] * (1.0f + erff(x[i] * (float)M_SQRT1_2));
    }
}

/* gelu'(x) = Phi(x) + x phi(x). */
void sella_gelu_backward(float *dx, const float *dy, const float *x, size_t n)
{
    const float density = (float)(0.5 * M_SQRT1_2 * M_2_SQRTPI); /* 1 / sqrt(2 pi) */
#pragma omp parallel for schedule(static) if (n > 4096)
    for (size_t i = 0; i < n; i++) {
        const float cumulative = 0.5f * (1.0f + erff(x[i] * (float)M_SQRT1_2));
        dx[i] = dy[i] * (cumulative + x[i] * density * expf(-0.5f * x[i] * x[i]));
    }
}

double sella_sigmoid(double x)
{
    if (x >= 0) {
        return 1.0 / (1.0 + exp(-x));
    }
    const double e = exp(x);
    return e / (1.0 + e);
}

void sella_axpy(float *y, float a, const float *x, size_t n)
{
#pragma omp parallel for schedule(static) if (n > 16384)
    for (size_t i = 0; i < n; i++) {
        y[i] += a * x[i];
    }
}

void sella_scale(float *y, float a, size_t n)
{
#pragma omp parallel for schedule(static) if (n > 16384)
    for (size_t i = 0; i < n; i++) {
        y[i] *= a;
    }
}

/* Threads take columns, so that every sum runs over n in order whatever their number. */
void sella_bias_backward(float *db, const float *dy, int lddy, int N, int C)
{
    enum { COLUMNS = 64 };
#pragma omp parallel for schedule(static) if ((size_t)N * (size_t)C > 16384)
    for (int c0 = 0; c0 < C; c0 += COLUMNS) {
        const int end = C - c0 < COLUMNS ? C : c0 + COLUMNS;
        for (int n = 0; n < N; n++) {
            const float *row = dy + (size_t)n * (size_t)lddy;
            for (int c = c0; c < end; c++) {
                db[c] += row[c];
            }
        }
    }
}

void sella_bias_add(float *y, int ldy, const float *b, int N, int C)
{
#pragma omp parallel for schedule(static) if ((size_t)N * (size_t)C > 16384)
    for (int n = 0; n < N; n++) {
        float *row = y + (size_t)n * (size_t)ldy;
        for (int c = 0; c < C; c++) {
            row[c] += b[c];
        }
    }
}
