/* activation.c - element-wise kernels split over rows or ranges. */
#include "kernels/activation.h"

#include <math.h>

#include "kernels/fast.h"

enum { RANGE = 4096 }; /* values of a long array that one task takes */

void sella_swiglu_forward(float *y, int ldy, const float *gu, int ldgu, int N, int F)
{
    const sella_fast *fast = sella_fast_best();
#pragma omp parallel for schedule(static) if (N > 1)
    for (int n = 0; n < N; n++) {
        const float *gate = gu + (size_t)n * (size_t)ldgu;
        fast->swiglu_forward(y + (size_t)n * (size_t)ldy, gate, gate + F, F);
    }
}

void sella_swiglu_backward(float *dgu, int lddgu, const float *dy, int lddy, const float *gu,
                           int ldgu, int N, int F)
{
    const sella_fast *fast = sella_fast_best();
#pragma omp parallel for schedule(static) if (N > 1)
    for (int n = 0; n < N; n++) {
        const float *gate = gu + (size_t)n * (size_t)ldgu;
        float *dgate = dgu + (size_t)n * (size_t)lddgu;
        fast->swiglu_backward(dgate, dgate + F, dy + (size_t)n * (size_t)lddy, gate, gate + F, F);
    }
}

void sella_gelu_forward(float *y, const float *x, size_t n)
{
    const sella_fast *fast = sella_fast_best();
#pragma omp parallel for schedule(static) if (n > RANGE)
    for (size_t i = 0; i < n; i += RANGE) {
        fast->gelu_forward(y + i, x + i, n - i < RANGE ? n - i : RANGE);
    }
}

void sella_gelu_backward(float *dx, const float *dy, const float *x, size_t n)
{
    const sella_fast *fast = sella_fast_best();
#pragma omp parallel for schedule(static) if (n > RANGE)
    for (size_t i = 0; i < n; i += RANGE) {
        fast->gelu_backward(dx + i, dy + i, x + i, n - i < RANGE ? n - i : RANGE);
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
    const sella_fast *fast = sella_fast_best();
#pragma omp parallel for schedule(static) if (n > 4 * RANGE)
    for (size_t i = 0; i < n; i += RANGE) {
        fast->axpy(y + i, a, x + i, n - i < RANGE ? n - i : RANGE);
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

void sella_relu_forward(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] > 0 ? x[i] : 0;
    }
}

void sella_relu_backward(float *dx, const float *dy, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dx[i] = x[i] > 0 ? dy[i] : 0;
    }
}
