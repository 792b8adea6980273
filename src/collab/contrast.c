/* contrast.c - the contrastive loss in sub-spaces (collab/contrast.h).
 *
 * The gradient of a maximum goes to the part that was the largest (the first of equals), so the
 * scores' gradient is split by that choice: for each pair of parts, a matrix that holds it where
 * the pair was chosen and zero elsewhere.
 */
#include "collab/contrast.h"

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "collab/align.h"
#include "kernels/activation.h"
#include "kernels/fast.h"
#include "kernels/gemm.h"

enum { SMALL = 1 << 16 };

typedef struct work {
    float *a, *b;           /* [N, W] unit rows */
    float *a_size, *b_size; /* [N] */
    float *score;           /* [N, N], then its gradient */
    float *best, *one;      /* [N, N] */
    uint8_t *chosen;        /* [parts, N, N] m' of the maximum */
} work;

/* The next block of `count` elements; only counted while there is no slab. */
static void *take(char *slab, size_t *used, size_t count, size_t size)
{
    void *at = slab ? slab + *used : NULL;
    *used += (count * size + 63) / 64 * 64;
    return at;
}

static size_t lay_out(work *w, char *slab, size_t N, size_t W, size_t parts)
{
    size_t used = 0;
    w->a = take(slab, &used, N * W, sizeof *w->a);
    w->b = take(slab, &used, N * W, sizeof *w->b);
    w->a_size = take(slab, &used, N, sizeof *w->a_size);
    w->b_size = take(slab, &used, N, sizeof *w->b_size);
    w->score = take(slab, &used, N * N, sizeof *w->score);
    w->best = take(slab, &used, N * N, sizeof *w->best);
    w->one = take(slab, &used, N * N, sizeof *w->one);
    w->chosen = take(slab, &used, N * N * parts, 1);
    return used;
}

size_t sella_contrast_scratch(int N, int W, int parts)
{
    work w;
    return lay_out(&w, NULL, (size_t)N, (size_t)W, (size_t)parts); // N^2 (12 + parts) < 2^62 + 2^38
}

/* score [N, N] = s, chosen = where its maxima are. */
static void scores(const work *w, const float *a, const float *b, int N, int W, int parts)
{
    const int width = W / parts;
    const size_t square = (size_t)N * (size_t)N;
    memset(w->score, 0, square * sizeof *w->score);
    for (int m = 0; m < parts; m++) {
        uint8_t *chosen = w->chosen + (size_t)m * square;
        for (int k = 0; k < parts; k++) {
            sella_gemm(false, true, N, N, width, 1.0f, a + m * width, W, b + k * width, W, 0.0f,
                       w->one, N);
#pragma omp parallel for schedule(static) if (square > SMALL)
            for (size_t i = 0; i < square; i++) {
                if (k == 0 || w->one[i] > w->best[i]) {
                    w->best[i] = w->one[i];
                    chosen[i] = (uint8_t)k;
                }
            }
        }
        sella_axpy(w->score, 1.0f, w->best, square);
    }
}

/* The loss of one direction; score becomes its gradient times `share`. */
static double softmax_rows(const work *w, int N, double tau, double share)
{
    const sella_fast *fast = sella_fast_best();
    const float sharp = (float)(1 / tau);
    double *loss_n = (double *)(void *)w->best; // N <= N x N / 2 doubles, or N = 1
#pragma omp parallel for schedule(static) if ((size_t)N * (size_t)N > SMALL)
    for (int n = 0; n < N; n++) {
        float *s = w->score + (size_t)n * (size_t)N;
        double sum = 0;
        float top = -INFINITY;
        for (int k = 0; k < N; k++) {
            s[k] *= sharp;
            top = s[k] > top ? s[k] : top;
        }
        const float own = s[n];
        for (int k = 0; k < N; k++) {
            s[k] -= top;
        }
        fast->exp(s, s, (size_t)N);
        for (int k = 0; k < N; k++) {
            sum += (double)s[k];
        }
        loss_n[n] = (double)top + log(sum) - (double)own;
        const float scale = (float)(share * (double)sharp / sum);
        for (int k = 0; k < N; k++) {
            s[k] *= scale;
        }
        s[n] -= (float)(share * (double)sharp);
    }
    double loss = 0;
    for (int n = 0; n < N; n++) {
        loss += loss_n[n];
    }
    return share * loss;
}

/* da += and db += from the gradient in score. */
static void scores_backward(const work *w, const float *a, const float *b, int N, int W, int parts,
                            float *da, float *db)
{
    const int width = W / parts;
    const size_t square = (size_t)N * (size_t)N;
    for (int m = 0; m < parts; m++) {
        const uint8_t *chosen = w->chosen + (size_t)m * square;
        for (int k = 0; k < parts; k++) {
#pragma omp parallel for schedule(static) if (square > SMALL)
            for (size_t i = 0; i < square; i++) {
                w->one[i] = chosen[i] == k ? w->score[i] : 0.0f;
            }
            sella_gemm(false, false, N, width, N, 1.0f, w->one, N, b + k * width, W, 1.0f,
                       da + m * width, W);
            sella_gemm(true, false, N, width, N, 1.0f, w->one, N, a + m * width, W, 1.0f,
                       db + k * width, W);
        }
    }
}

double sella_contrast_forward_backward(const float *a, const float *b, int N, int W, int parts,
                                       double tau, float *da, float *db, void *scratch)
{
    work w;
    assert(parts >= 1 && parts <= SELLA_CONTRAST_PARTS_MAX && W % parts == 0 && tau > 0);
    if (N == 0) {
        return 0;
    }
    lay_out(&w, scratch, (size_t)N, (size_t)W, (size_t)parts);
    sella_unit_forward(w.a, w.a_size, a, N, W);
    sella_unit_forward(w.b, w.b_size, b, N, W);
    memset(da, 0, (size_t)N * (size_t)W * sizeof *da);
    memset(db, 0, (size_t)N * (size_t)W * sizeof *db);
    scores(&w, w.a, w.b, N, W, parts);
    double loss = softmax_rows(&w, N, tau, .5 / N);
    scores_backward(&w, w.a, w.b, N, W, parts, da, db);
    scores(&w, w.b, w.a, N, W, parts);
    loss += softmax_rows(&w, N, tau, .5 / N);
    scores_backward(&w, w.b, w.a, N, W, parts, db, da);
    sella_unit_backward(da, w.a, w.a_size, N, W);
    sella_unit_backward(db, w.b, w.b_size, N, W);
    return loss;
}
