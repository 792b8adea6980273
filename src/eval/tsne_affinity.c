/* tsne_affinity.c - exact nearest neighbours, widths by bisection, the symmetric sum
 * (eval/tsne_affinity.h). */
#include "eval/tsne_affinity.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "kernels/gemm.h"

enum { BLOCK = 128, BISECTIONS = 100 };

typedef struct neighbour {
    float distance; /* squared */
    int32_t index;
} neighbour;

/* Is a farther than b? Ties: the higher number is. */
static bool farther(neighbour a, neighbour b)
{
    return a.distance > b.distance || (a.distance == b.distance && a.index > b.index);
}

/* Let heap[at] sink to its place; the farthest stands first. */
static void heap_sink(neighbour *heap, int count, int at)
{
    const neighbour item = heap[at];
    for (int child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && farther(heap[child + 1], heap[child])) {
            child++;
        }
        if (!farther(heap[child], item)) {
            break;
        }
        heap[at] = heap[child];
    }
    heap[at] = item;
}

/* The `count` nearest of N candidates in `heap`, i itself excepted, in no order. */
static void nearest(const float *distance_n, int N, int i, int count, neighbour *heap)
{
    int have = 0;
    for (int j = 0; j < N; j++) {
        if (j == i) {
            continue;
        }
        const neighbour item = {distance_n[j], j};
        if (have < count) {
            heap[have++] = item;
            if (have == count) {
                for (int at = count / 2 - 1; at >= 0; at--) {
                    heap_sink(heap, count, at);
                }
            }
        } else if (farther(heap[0], item)) {
            heap[0] = item;
            heap_sink(heap, count, 0);
        }
    }
}

static int by_index(const void *a, const void *b)
{
    const int32_t x = ((const neighbour *)a)->index, y = ((const neighbour *)b)->index;
    return (x > y) - (x < y);
}

static double exact_distance(const float *a, const float *b, int C)
{
    double sum = 0;
    for (int c = 0; c < C; c++) {
        const double d = (double)a[c] - (double)b[c];
        sum += d * d;
    }
    return sum;
}

/* p_k = exp(-beta (distance_k - least)) / sum with entropy log(perplexity), by bisection on
 * beta. */
static void conditional(const double *distance_k, int count, double perplexity, double *p_k)
{
    double low = 0, high = INFINITY, least = INFINITY, mean = 0;
    for (int k = 0; k < count; k++) {
        least = distance_k[k] < least ? distance_k[k] : least;
        mean += distance_k[k] / count;
    }
    const double wanted = log(perplexity);
    double beta = mean > 0 ? 1 / mean : 1;
    for (int step = 0; step < BISECTIONS; step++) {
        double sum = 0, moment = 0;
        for (int k = 0; k < count; k++) {
            const double d = distance_k[k] - least;
            p_k[k] = exp(-beta * d);
            sum += p_k[k];
            moment += p_k[k] * d;
        }
        for (int k = 0; k < count; k++) {
            p_k[k] /= sum;
        }
        const double excess = log(sum) + beta * moment / sum - wanted;
        if (fabs(excess) < 1e-5) {
            break;
        }
        if (excess > 0) {
            low = beta;
            beta = isinf(high) ? 2 * beta : (low + high) / 2;
        } else {
            high = beta;
            beta = (low + high) / 2;
        }
        if (!(beta < 1e300)) { // all neighbours are equally near: any beta gives the same p
            break;
        }
    }
}

/* One block of rows: distances by a product, then each row's neighbours and their p, by ascending
 * number. */
typedef struct search {
    const float *x;
    const float *square_n; /* |x|^2 */
    int N, C, count;
    double perplexity;
    float *product;  /* [BLOCK, N] */
    neighbour *heap; /* [BLOCK, count] */
    double *work;    /* [BLOCK, 2, count] */
    int32_t *index;  /* [N, count] */
    float *p;        /* [N, count] */
} search;

static void search_row(const search *s, int i, int b)
{
    const size_t k = (size_t)s->count;
    float *distance_n = s->product + (size_t)b * (size_t)s->N;
    neighbour *heap = s->heap + (size_t)b * k;
    double *exact = s->work + (size_t)b * 2 * k, *p = exact + k;
    for (int j = 0; j < s->N; j++) {
        distance_n[j] = s->square_n[i] + s->square_n[j] - 2.0f * distance_n[j];
    }
    nearest(distance_n, s->N, i, s->count, heap);
    qsort(heap, k, sizeof *heap, by_index);
    const size_t C = (size_t)s->C;
    for (size_t n = 0; n < k; n++) {
        exact[n] = exact_distance(s->x + (size_t)i * C, s->x + (size_t)heap[n].index * C, s->C);
    }
    conditional(exact, s->count, s->perplexity, p);
    for (size_t n = 0; n < k; n++) {
        s->index[(size_t)i * k + n] = heap[n].index;
        s->p[(size_t)i * k + n] = (float)p[n];
    }
}

static void search_all(const search *s)
{
    for (int i0 = 0; i0 < s->N; i0 += BLOCK) {
        const int rows = s->N - i0 < BLOCK ? s->N - i0 : BLOCK;
        sella_gemm(false, true, rows, s->N, s->C, 1.0f, s->x + (size_t)i0 * (size_t)s->C, s->C,
                   s->x, s->C, 0.0f, s->product, s->N);
#pragma omp parallel for schedule(static)
        for (int b = 0; b < rows; b++) {
            search_row(s, i0 + b, b);
        }
    }
}

/* ---- p(j|i) + p(i|j) ---- */

typedef struct pair {
    int32_t from;
    float p;
} pair;

/* Who names j as a neighbour: for each j the sources, ascending. */
static void transpose(const search *s, int64_t *start, pair *out)
{
    const size_t entries = (size_t)s->N * (size_t)s->count;
    memset(start, 0, ((size_t)s->N + 2) * sizeof *start);
    for (size_t e = 0; e < entries; e++) {
        start[s->index[e] + 2]++;
    }
    for (int j = 0; j < s->N; j++) {
        start[j + 2] += start[j + 1];
    }
    for (int i = 0; i < s->N; i++) { // start[j + 1] moves on to the end of j's list
        for (size_t k = 0; k < (size_t)s->count; k++) {
            const size_t e = (size_t)i * (size_t)s->count + k;
            out[start[s->index[e] + 1]++] = (pair){i, s->p[e]};
        }
    }
}

/* Merge row i's neighbours and those that name it; out NULL only counts. */
static int64_t merge_row(const search *s, const int64_t *start, const pair *named, int i,
                         sella_affinity *out)
{
    const size_t row = (size_t)i * (size_t)s->count;
    int64_t a = 0, b = start[i], at = out ? out->start[i] : 0;
    const int64_t begin = at;
    while (a < s->count || b < start[i + 1]) {
        const int32_t x = a < s->count ? s->index[row + (size_t)a] : INT32_MAX;
        const int32_t y = b < start[i + 1] ? named[b].from : INT32_MAX;
        float p = 0;
        if (x <= y) {
            p += s->p[row + (size_t)a++];
        }
        if (y <= x) {
            p += named[b++].p;
        }
        if (out) {
            out->index[at] = x < y ? x : y;
            out->p[at] = p / (2.0f * (float)s->N);
        }
        at++;
    }
    return at - begin;
}

static sella_status symmetric(const search *s, sella_affinity *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    int64_t *start = sella_alloc((size_t)s->N + 2, sizeof *start, "similarities", err);
    pair *named = sella_alloc((size_t)s->N * (size_t)s->count, sizeof *named, "similarities", err);
    out->start = sella_alloc((size_t)s->N + 1, sizeof *out->start, "similarities", err);
    if (!start || !named || !out->start) {
        SELLA_TRY(SELLA_MEMORY);
    }
    transpose(s, start, named);
    for (int i = 0; i < s->N; i++) {
        out->start[i + 1] = out->start[i] + merge_row(s, start, named, i, NULL);
    }
    out->index = sella_alloc((size_t)out->start[s->N], sizeof *out->index, "similarities", err);
    out->p = sella_alloc((size_t)out->start[s->N], sizeof *out->p, "similarities", err);
    if (!out->index || !out->p) {
        SELLA_TRY(SELLA_MEMORY);
    }
#pragma omp parallel for schedule(static)
    for (int i = 0; i < s->N; i++) {
        merge_row(s, start, named, i, out);
    }
    out->N = s->N;
done:
    free(start);
    free(named);
    return status;
}

sella_status sella_affinity_fill(const float *x, int N, int C, int neighbours, double perplexity,
                                 sella_affinity *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    const size_t n = (size_t)N, k = (size_t)neighbours;
    *out = (sella_affinity){0};
    float *square_n = sella_alloc(n, sizeof *square_n, "lengths", err);
    search s = {.x = x,
                .square_n = square_n,
                .N = N,
                .C = C,
                .count = neighbours,
                .perplexity = perplexity};
    s.product = sella_alloc(BLOCK * n, sizeof *s.product, "distances", err);
    s.heap = sella_alloc(BLOCK * k, sizeof *s.heap, "neighbours", err);
    s.work = sella_alloc(BLOCK * 2 * k, sizeof *s.work, "neighbours", err);
    s.index = sella_alloc(n * k, sizeof *s.index, "neighbours", err);
    s.p = sella_alloc(n * k, sizeof *s.p, "neighbours", err);
    if (!square_n || !s.product || !s.heap || !s.work || !s.index || !s.p) {
        SELLA_TRY(SELLA_MEMORY);
    }
    for (int i = 0; i < N; i++) {
        const float *row = x + (size_t)i * (size_t)C;
        square_n[i] = sella_dot(row, row, C);
    }
    search_all(&s);
    SELLA_TRY(symmetric(&s, out, err));
done:
    free(square_n);
    free(s.product);
    free(s.heap);
    free(s.work);
    free(s.index);
    free(s.p);
    if (status != SELLA_OK) {
        sella_affinity_release(out);
    }
    return status;
}

void sella_affinity_release(sella_affinity *affinity)
{
    free(affinity->start);
    free(affinity->index);
    free(affinity->p);
    *affinity = (sella_affinity){0};
}
