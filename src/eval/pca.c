/* pca.c - power iteration with deflation (eval/pca.h). */
#include "eval/pca.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/rng.h"
#include "kernels/gemm.h"

enum { ITERATIONS = 500 };

void sella_center(float *x, int N, int C)
{
    for (int c = 0; c < C; c++) {
        double sum = 0;
        for (int i = 0; i < N; i++) {
            sum += (double)x[(size_t)i * (size_t)C + (size_t)c];
        }
        const float mean = (float)(sum / N);
        for (int i = 0; i < N; i++) {
            x[(size_t)i * (size_t)C + (size_t)c] -= mean;
        }
    }
}

static double dot(const double *a, const double *b, size_t C)
{
    double sum = 0;
    for (size_t c = 0; c < C; c++) {
        sum += a[c] * b[c];
    }
    return sum;
}

/* v without its parts along the `count` directions found before, of length 1; false when nothing is
 * left. */
static bool orthonormal(double *v, const double *found, int count, size_t C)
{
    for (int k = 0; k < count; k++) {
        const double part = dot(v, found + (size_t)k * C, C);
        for (size_t c = 0; c < C; c++) {
            v[c] -= part * found[(size_t)k * C + c];
        }
    }
    const double length = sqrt(dot(v, v, C));
    if (!(length > 1e-300)) {
        return false;
    }
    for (size_t c = 0; c < C; c++) {
        v[c] /= length;
    }
    return true;
}

/* Direction k into found + k C: repeat v <- S v until it stands still. */
static void direction(const float *S, size_t C, int k, double *found, double *next)
{
    const sella_rng rng = {.stream = SELLA_STREAM_INIT, .a = (uint32_t)k};
    double *v = found + (size_t)k * C;
    for (size_t c = 0; c < C; c++) {
        v[c] = sella_rng_normal(&rng, c);
    }
    orthonormal(v, found, k, C);
    for (int step = 0; step < ITERATIONS; step++) {
        for (size_t r = 0; r < C; r++) {
            double sum = 0;
            for (size_t c = 0; c < C; c++) {
                sum += (double)S[r * C + c] * v[c];
            }
            next[r] = sum;
        }
        if (!orthonormal(next, found, k, C)) { // no variance is left: any direction is as good
            return;
        }
        const double same = fabs(dot(next, v, C));
        for (size_t c = 0; c < C; c++) {
            v[c] = next[c];
        }
        if (1 - same < 1e-12) {
            return;
        }
    }
}

sella_status sella_pca(const float *x, int N, int C, int K, float *y, sella_err *err)
{
    sella_status status = SELLA_OK;
    const size_t c = (size_t)C;
    float *S = sella_alloc(c * c, sizeof *S, "a covariance", err);
    double *found = sella_alloc((size_t)K * c, sizeof *found, "directions", err);
    double *next = sella_alloc(c, sizeof *next, "directions", err);
    float *narrow = sella_alloc((size_t)K * c, sizeof *narrow, "directions", err);
    if (!S || !found || !next || !narrow) {
        SELLA_TRY(SELLA_MEMORY);
    }
    sella_gemm(true, false, C, C, N, 1.0f / (float)N, x, C, x, C, 0.0f, S, C);
    for (int k = 0; k < K; k++) {
        direction(S, c, k, found, next);
    }
    for (size_t i = 0; i < (size_t)K * c; i++) {
        narrow[i] = (float)found[i];
    }
    sella_gemm(false, true, N, K, C, 1.0f, x, C, narrow, C, 0.0f, y, K);
done:
    free(S);
    free(found);
    free(next);
    free(narrow);
    return status;
}
