/* align.c - contrastive alignment (collab/align.h).
 *
 * Every variant is a function of the score matrix m [B, K] (matched: of one row of matched scores):
 * for anchor b with own score p and sum S = log sum_k exp(m_k), the loss is f(p, S), so dm_k = f_S
 * exp(m_k - S) [k] + f_p [k = positive]. The two derivatives are found per row (and per column for
 * the reverse direction), then one pass turns the scores into their gradients in place:
 *   infonce  f = S - p                                       f_S = 1        f_p = -1
 *   rince    f = E(log lambda + Z) - E(p), E(x) = (e^qx - 1)/q, Z = log(e^p + e^S)
 *                                                            f_S = e^(q (log lambda + Z)) e^(S - Z)
 *                                                            f_p = e^(q (log lambda + Z)) e^(p - Z)
 *                                                            - e^qp
 */
#include "collab/align.h"

#include <assert.h>
#include <math.h>
#include <stdint.h>

#include "kernels/fast.h"
#include "kernels/gemm.h"

enum {
    COLUMNS = 256,  /* of one task in passes over columns */
    SMALL = 1 << 16 /* values that are not worth waking threads for */
};

/* One direction's value for one anchor, and its derivatives times `share`. */
typedef struct term {
    double loss;
    float by_sum, by_positive;
} term;

static term term_of(const sella_align_config *config, double p, double sum, double share)
{
    if (config->loss == SELLA_ALIGN_INFONCE) {
        return (term){share * (sum - p), (float)share, (float)-share};
    }
    const double q = config->q, top = fmax(p, sum);
    const double both = top + log(exp(p - top) + exp(sum - top)); // Z
    const double x = log(config->lambda) + both;
    const double loss = q > 0 ? (expm1(q * x) - expm1(q * p)) / q : x - p;
    const double power = exp(q * x);
    return (term){share * loss, (float)(share * power * exp(sum - both)),
                  (float)(share * (power * exp(p - both) - exp(q * p)))};
}

/* ---- scratch ---- */

typedef struct work {
    float *t, *g;           /* [B, L], [K, L] normalised */
    float *t_size, *g_size; /* [B], [K] lengths */
    float *m;               /* [B, K] scores, then their gradients */
    float *row_sum, *row_by_sum, *row_by_positive; /* [B] */
    float *col_sum, *col_by_sum, *col_top;         /* [K] */
} work;

static size_t lay_out(work *w, float *scratch, size_t B, size_t K, size_t L)
{
    float **arrays[] = {&w->t,       &w->g,          &w->m,          &w->t_size,
                        &w->g_size,  &w->row_sum,    &w->row_by_sum, &w->row_by_positive,
                        &w->col_sum, &w->col_by_sum, &w->col_top};
    size_t sizes[] = {0, 0, 0, B, K, B, B, B, K, K, K}, total = 0;
    if (__builtin_mul_overflow(B, L, &sizes[0]) || __builtin_mul_overflow(K, L, &sizes[1]) ||
        __builtin_mul_overflow(B, K, &sizes[2])) {
        return SIZE_MAX;
    }
    for (size_t a = 0; a < sizeof sizes / sizeof sizes[0]; a++) {
        *arrays[a] = scratch ? scratch + total : NULL;
        if (__builtin_add_overflow(total, (sizes[a] + 15) / 16 * 16, &total)) {
            return SIZE_MAX;
        }
    }
    return total;
}

size_t sella_align_scratch(int B, int K, int L)
{
    work w;
    return B < 0 || K < 0 || L < 0 ? SIZE_MAX : lay_out(&w, NULL, (size_t)B, (size_t)K, (size_t)L);
}

/* ---- normalisation ---- */

void sella_unit_forward(float *y, float *size, const float *x, int N, int L)
{
#pragma omp parallel for schedule(static) if ((size_t)N * (size_t)L > SMALL)
    for (int n = 0; n < N; n++) {
        const float *from = x + (size_t)n * (size_t)L;
        float *to = y + (size_t)n * (size_t)L;
        size[n] = fmaxf(sqrtf(sella_dot(from, from, L)), 1e-12f);
        const float scale = 1.0f / size[n];
        for (int c = 0; c < L; c++) {
            to[c] = from[c] * scale;
        }
    }
}

void sella_unit_backward(float *dy, const float *y, const float *size, int N, int L)
{
#pragma omp parallel for schedule(static) if ((size_t)N * (size_t)L > SMALL)
    for (int n = 0; n < N; n++) {
        const float *unit = y + (size_t)n * (size_t)L;
        float *d = dy + (size_t)n * (size_t)L;
        /* a clamped length is a constant */
        const float along = size[n] > 1e-12f ? sella_dot(unit, d, L) : 0.0f;
        const float scale = 1.0f / size[n];
        for (int c = 0; c < L; c++) {
            d[c] = (d[c] - unit[c] * along) * scale;
        }
    }
}

/* ---- the score matrix ---- */

/* log sum exp of one row; buffer [COLUMNS]. */
static float row_log_sum(const float *row, int K)
{
    const sella_fast *fast = sella_fast_best();
    float top = -INFINITY, buffer[COLUMNS];
    double sum = 0;
    for (int k = 0; k < K; k++) {
        top = fmaxf(top, row[k]);
    }
    for (int k0 = 0; k0 < K; k0 += COLUMNS) {
        const int width = K - k0 < COLUMNS ? K - k0 : COLUMNS;
        float part = 0;
        for (int k = 0; k < width; k++) {
            buffer[k] = row[k0 + k] - top;
        }
        fast->exp(buffer, buffer, (size_t)width);
        for (int k = 0; k < width; k++) {
            part += buffer[k];
        }
        sum += (double)part;
    }
    return top + (float)log(sum);
}

static void row_sums(work *w, int B, int K)
{
#pragma omp parallel for schedule(static) if ((size_t)B * (size_t)K > SMALL)
    for (int b = 0; b < B; b++) {
        w->row_sum[b] = row_log_sum(w->m + (size_t)b * (size_t)K, K);
    }
}

/* The same down the columns: blocks of columns, rows in order. */
static void col_sums(work *w, int B, int K)
{
#pragma omp parallel for schedule(static) if ((size_t)B * (size_t)K > SMALL)
    for (int k0 = 0; k0 < K; k0 += COLUMNS) {
        const sella_fast *fast = sella_fast_best();
        const int width = K - k0 < COLUMNS ? K - k0 : COLUMNS;
        float buffer[COLUMNS], *top = w->col_top + k0;
        double sum[COLUMNS] = {0};
        for (int k = 0; k < width; k++) {
            top[k] = -INFINITY;
        }
        for (int b = 0; b < B; b++) {
            const float *row = w->m + (size_t)b * (size_t)K + k0;
            for (int k = 0; k < width; k++) {
                top[k] = fmaxf(top[k], row[k]);
            }
        }
        for (int b = 0; b < B; b++) {
            const float *row = w->m + (size_t)b * (size_t)K + k0;
            for (int k = 0; k < width; k++) {
                buffer[k] = row[k] - top[k];
            }
            fast->exp(buffer, buffer, (size_t)width);
            for (int k = 0; k < width; k++) {
                sum[k] += (double)buffer[k];
            }
        }
        for (int k = 0; k < width; k++) {
            w->col_sum[k0 + k] = top[k] + (float)log(sum[k]);
        }
    }
}

/* m becomes its gradient: softmaxes along rows (and columns when `both`) times their factors, and
 * the positives. */
static void scores_backward(work *w, const int *positive, bool both, int B, int K)
{
#pragma omp parallel for schedule(static) if ((size_t)B * (size_t)K > SMALL)
    for (int b = 0; b < B; b++) {
        const sella_fast *fast = sella_fast_best();
        float *row = w->m + (size_t)b * (size_t)K, by_row[COLUMNS], by_col[COLUMNS];
        for (int k0 = 0; k0 < K; k0 += COLUMNS) {
            const int width = K - k0 < COLUMNS ? K - k0 : COLUMNS;
            for (int k = 0; k < width; k++) {
                by_row[k] = row[k0 + k] - w->row_sum[b];
                by_col[k] = both ? row[k0 + k] - w->col_sum[k0 + k] : 0.0f;
            }
            fast->exp(by_row, by_row, (size_t)width);
            if (both) {
                fast->exp(by_col, by_col, (size_t)width);
            }
            for (int k = 0; k < width; k++) {
                row[k0 + k] = w->row_by_sum[b] * by_row[k] +
                              (both ? w->col_by_sum[k0 + k] * by_col[k] : 0.0f);
            }
        }
        row[positive[b]] += w->row_by_positive[b];
    }
}

/* Loss of all scores; w->m becomes the gradient. */
static double full_loss(const sella_align_config *config, work *w, const int *positive, int B,
                        int K)
{
    const double share = (config->both ? 0.5 : 1.0) / B;
    double loss = 0;
    row_sums(w, B, K);
    memset(w->col_by_sum, 0, (size_t)K * sizeof *w->col_by_sum);
    if (config->both) {
        col_sums(w, B, K);
    }
    for (int b = 0; b < B; b++) {
        const double p = (double)w->m[(size_t)b * (size_t)K + (size_t)positive[b]];
        term at = term_of(config, p, (double)w->row_sum[b], share);
        loss += at.loss;
        w->row_by_sum[b] = at.by_sum;
        w->row_by_positive[b] = at.by_positive;
        if (config->both) {
            at = term_of(config, p, (double)w->col_sum[positive[b]], share);
            loss += at.loss;
            w->col_by_sum[positive[b]] += at.by_sum;
            w->row_by_positive[b] += at.by_positive;
        }
    }
    scores_backward(w, positive, config->both, B, K);
    return loss;
}

/* Loss of the matched scores in w->m [B], which become their gradients. Both directions are the
 * same here. */
static double matched_loss(const sella_align_config *config, work *w, int B)
{
    const double share = 1.0 / B;
    const double sum = (double)row_log_sum(w->m, B);
    double loss = 0, by_sum = 0;
    for (int b = 0; b < B; b++) {
        const term at = term_of(config, (double)w->m[b], sum, share);
        loss += at.loss;
        by_sum += (double)at.by_sum;
        w->row_by_positive[b] = at.by_positive;
    }
    for (int b = 0; b < B; b++) {
        w->m[b] = (float)(by_sum * exp((double)w->m[b] - sum)) + w->row_by_positive[b];
    }
    return loss;
}

/* ---- gradients of the vectors ---- */

static void matched_vectors(const work *w, const int *positive, float scale, int B, int K, int L,
                            float *dt, float *dg)
{
    if (dg) {
        memset(dg, 0, (size_t)K * (size_t)L * sizeof *dg);
    }
    for (int b = 0; b < B; b++) {
        const size_t at = (size_t)b * (size_t)L, own = (size_t)positive[b] * (size_t)L;
        const float d = scale * w->m[b];
        for (size_t c = 0; c < (size_t)L; c++) {
            if (dt) {
                dt[at + c] = d * w->g[own + c];
            }
            if (dg) {
                dg[own + c] += d * w->t[at + c];
            }
        }
    }
}

double sella_align_forward_backward(const sella_align_config *config, const float *anchor,
                                    const float *candidate, const int *positive, int B, int K,
                                    int L, float *danchor, float *dcandidate, float *scratch)
{
    work w;
    double loss;
    const float scale = (float)(1.0 / config->tau);
    assert(config->tau > 0 &&
           (config->loss == SELLA_ALIGN_INFONCE || (config->q >= 0 && config->lambda > 0)));
    if (B == 0) {
        if (dcandidate) {
            memset(dcandidate, 0, (size_t)K * (size_t)L * sizeof *dcandidate);
        }
        return 0;
    }
    lay_out(&w, scratch, (size_t)B, (size_t)K, (size_t)L);
    sella_unit_forward(w.t, w.t_size, anchor, B, L);
    sella_unit_forward(w.g, w.g_size, candidate, K, L);
    if (config->negatives == SELLA_NEGATIVES_MATCHED) {
        for (int b = 0; b < B; b++) {
            w.m[b] = scale * sella_dot(w.t + (size_t)b * (size_t)L,
                                       w.g + (size_t)positive[b] * (size_t)L, L);
        }
        loss = matched_loss(config, &w, B);
        matched_vectors(&w, positive, scale, B, K, L, danchor, dcandidate);
    } else {
        sella_gemm(false, true, B, K, L, scale, w.t, L, w.g, L, 0.0f, w.m, K);
        loss = full_loss(config, &w, positive, B, K);
        if (danchor) {
            sella_gemm(false, false, B, L, K, scale, w.m, K, w.g, L, 0.0f, danchor, L);
        }
        if (dcandidate) {
            sella_gemm(true, false, K, L, B, scale, w.m, K, w.t, L, 0.0f, dcandidate, L);
        }
    }
    if (danchor) {
        sella_unit_backward(danchor, w.t, w.t_size, B, L);
    }
    if (dcandidate) {
        sella_unit_backward(dcandidate, w.g, w.g_size, K, L);
    }
    return loss;
}
