/* dice.c - the activation Dice (collab/dice.h).
 *
 * Sums over rows are split over threads by columns, each in the order of the rows; everything else
 * by rows.
 *
 * The derivation of backward, a column at a time, with a = alpha and g = dy:
 *   dalpha = sum_n g (1 - p) x
 *   direct:  g (a + (1 - a) p)
 *   s = d loss / d x^ = g x (1 - a) p (1 - p)
 *   through m and v as in batch normalisation: (s - mean(s) - x^ mean(s x^)) / sqrt(v + eps)
 */
#include "collab/dice.h"

#include <math.h>
#include <stddef.h>

#include "kernels/fast.h"

#define EPS 1e-8

enum { COLUMNS = 16, SMALL = 1 << 14 };

/* Mean and variance of the columns c0 .. c1, and the running values after the step. */
static void column_moments(const sella_dice *dice, float *moment, const float *x, int N, int c0,
                           int c1)
{
    const size_t W = (size_t)dice->W;
    double sum[COLUMNS] = {0}, square[COLUMNS] = {0};
    for (int n = 0; n < N; n++) {
        for (int c = c0; c < c1; c++) {
            sum[c - c0] += (double)x[(size_t)n * W + (size_t)c];
        }
    }
    for (int c = c0; c < c1; c++) {
        sum[c - c0] /= N;
    }
    for (int n = 0; n < N; n++) {
        for (int c = c0; c < c1; c++) {
            const double d = (double)x[(size_t)n * W + (size_t)c] - sum[c - c0];
            square[c - c0] += d * d;
        }
    }
    for (int c = c0; c < c1; c++) {
        const double mean = sum[c - c0], variance = square[c - c0] / N;
        moment[c] = (float)mean;
        moment[W + (size_t)c] = (float)(1 / sqrt(variance + EPS));
        if (N > 1) {
            dice->mean[c] += (float)(SELLA_DICE_RATE * (mean - (double)dice->mean[c]));
            dice->variance[c] +=
                (float)(SELLA_DICE_RATE * (square[c - c0] / (N - 1) - (double)dice->variance[c]));
        }
    }
}

void sella_dice_forward(const sella_dice *dice, float *y, float *p, float *moment, const float *x,
                        int N, bool batch)
{
    const int W = dice->W;
    const sella_fast *fast = sella_fast_best();
    if (batch && N > 0) {
#pragma omp parallel for schedule(static) if ((size_t)N * (size_t)W > SMALL)
        for (int c0 = 0; c0 < W; c0 += COLUMNS) {
            column_moments(dice, moment, x, N, c0, W - c0 < COLUMNS ? W : c0 + COLUMNS);
        }
    } else {
        for (int c = 0; c < W; c++) {
            moment[c] = dice->mean[c];
            moment[W + c] = (float)(1 / sqrt((double)dice->variance[c] + EPS));
        }
    }
#pragma omp parallel for schedule(static) if ((size_t)N * (size_t)W > SMALL)
    for (int n = 0; n < N; n++) {
        const float *xn = x + (size_t)n * (size_t)W;
        float *yn = y + (size_t)n * (size_t)W, *pn = p + (size_t)n * (size_t)W;
        for (int c = 0; c < W; c++) {
            yn[c] = (moment[c] - xn[c]) * moment[W + c];
        }
        fast->exp(pn, yn, (size_t)W);
        for (int c = 0; c < W; c++) {
            pn[c] = 1.0f / (1.0f + pn[c]);
            yn[c] = xn[c] * (dice->alpha[c] + (1.0f - dice->alpha[c]) * pn[c]);
        }
    }
}

/* Sums over rows of the columns c0 .. c1: mean(s) and mean(s x^) into part, dalpha += sum g (1 - p)
 * x. */
static void column_sums(float *part, float *dalpha, const float *dy, const float *x, const float *p,
                        const float *moment, const float *slope, int N, int W, int c0, int c1)
{
    double s[COLUMNS] = {0}, sx[COLUMNS] = {0}, da[COLUMNS] = {0};
    for (int n = 0; n < N; n++) {
        const size_t row = (size_t)n * (size_t)W;
        for (int c = c0; c < c1; c++) {
            const size_t at = row + (size_t)c;
            const float normal = (x[at] - moment[c]) * moment[W + c];
            s[c - c0] += (double)slope[at];
            sx[c - c0] += (double)(slope[at] * normal);
            da[c - c0] += (double)(dy[at] * (1.0f - p[at]) * x[at]);
        }
    }
    for (int c = c0; c < c1; c++) {
        part[2 * (c - c0)] = (float)(s[c - c0] / N);
        part[2 * (c - c0) + 1] = (float)(sx[c - c0] / N);
        if (dalpha) {
            dalpha[c] += (float)da[c - c0];
        }
    }
}

void sella_dice_backward(const sella_dice *dice, float *dx, float *dalpha, const float *dy,
                         const float *x, const float *p, const float *moment, float *slope, int N,
                         bool batch)
{
    const int W = dice->W;
    const float *alpha = dice->alpha;
#pragma omp parallel for schedule(static) if ((size_t)N * (size_t)W > SMALL)
    for (int n = 0; n < N; n++) {
        const size_t row = (size_t)n * (size_t)W;
        for (int c = 0; c < W; c++) {
            const size_t at = row + (size_t)c;
            slope[at] = dy[at] * x[at] * (1.0f - alpha[c]) * p[at] * (1.0f - p[at]);
        }
    }
#pragma omp parallel for schedule(static) if ((size_t)N * (size_t)W > SMALL)
    for (int c0 = 0; c0 < W; c0 += COLUMNS) {
        const int c1 = W - c0 < COLUMNS ? W : c0 + COLUMNS;
        float part[2 * COLUMNS] = {0};
        if (N > 0) {
            column_sums(part, dalpha, dy, x, p, moment, slope, N, W, c0, c1);
        }
        for (int n = 0; n < N; n++) {
            for (int c = c0; c < c1; c++) {
                const size_t at = (size_t)n * (size_t)W + (size_t)c;
                const float normal = (x[at] - moment[c]) * moment[W + c];
                const float s =
                    batch ? slope[at] - part[2 * (c - c0)] - normal * part[2 * (c - c0) + 1]
                          : slope[at];
                dx[at] = dy[at] * (alpha[c] + (1.0f - alpha[c]) * p[at]) + s * moment[W + c];
            }
        }
    }
}
