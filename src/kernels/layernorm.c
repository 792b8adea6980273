/* layernorm.c - LayerNorm (kernels/layernorm.h). */
#include "kernels/layernorm.h"

#include <math.h>
#include <stddef.h>

#define EPS 1e-5f

enum { COLUMNS = 16, SMALL = 16384 };

void sella_layernorm_forward(float *y, float *xhat, float *r, const float *x, const float *w,
                             const float *b, int N, int C)
{
#pragma omp parallel for schedule(static) if ((size_t)N * (size_t)C > SMALL)
    for (int n = 0; n < N; n++) {
        const size_t at = (size_t)n * (size_t)C;
        float mean = 0, square = 0;
        for (int c = 0; c < C; c++) {
            mean += x[at + (size_t)c];
        }
        mean /= (float)C;
        for (int c = 0; c < C; c++) {
            const float d = x[at + (size_t)c] - mean;
            square += d * d;
        }
        r[n] = 1.0f / sqrtf(square / (float)C + EPS);
        for (int c = 0; c < C; c++) {
            const float h = (x[at + (size_t)c] - mean) * r[n];
            xhat[at + (size_t)c] = h;
            y[at + (size_t)c] = w[c] * h + b[c];
        }
    }
}

/* Threads take columns, so that every sum runs over n in order whatever their number. */
static void weights_backward(float *dw, float *db, const float *dy, const float *xhat, int N, int C)
{
#pragma omp parallel for schedule(static) if ((size_t)N * (size_t)C > SMALL)
    for (int c0 = 0; c0 < C; c0 += COLUMNS) {
        const int end = C - c0 < COLUMNS ? C : c0 + COLUMNS;
        for (int n = 0; n < N; n++) {
            const size_t at = (size_t)n * (size_t)C;
            for (int c = c0; dw && c < end; c++) {
                dw[c] += dy[at + (size_t)c] * xhat[at + (size_t)c];
            }
            for (int c = c0; db && c < end; c++) {
                db[c] += dy[at + (size_t)c];
            }
        }
    }
}

/* g = w dy; dx = r (g - mean g - xhat mean(g xhat)) */
void sella_layernorm_backward(float *dx, float *dw, float *db, const float *dy, const float *xhat,
                              const float *r, const float *w, int N, int C)
{
#pragma omp parallel for schedule(static) if ((size_t)N * (size_t)C > SMALL)
    for (int n = 0; n < N; n++) {
        const size_t at = (size_t)n * (size_t)C;
        float mean = 0, along = 0;
        for (int c = 0; c < C; c++) {
            const float g = w[c] * dy[at + (size_t)c];
            mean += g;
            along += g * xhat[at + (size_t)c];
        }
        mean /= (float)C;
        along /= (float)C;
        for (int c = 0; c < C; c++) {
            dx[at + (size_t)c] +=
                r[n] * (w[c] * dy[at + (size_t)c] - mean - xhat[at + (size_t)c] * along);
        }
    }
    if (dw || db) {
        weights_backward(dw, db, dy, xhat, N, C);
    }
}
