/* tsne.c - gradient descent of t-SNE (eval/tsne.h). */
#include "eval/tsne.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "eval/pca.h"
#include "eval/tsne_tree.h"
#include "kernels/gemm.h"
#include "kernels/repulsion.h"

enum {
    EXAGGERATED = 250, /* steps with EXAGGERATION and the low momentum */
    REPORT = 50,
    TILE = 512, /* points of a range: a pair of ranges is one task */
    PARALLEL = 1000 /* fewer points are not worth waking threads for, a thousand times */
};
static const double EXAGGERATION = 12.0;

/* ---- the field of forces ---- */

struct sella_tsne_field {
    int N, threads;
    double theta;
    sella_tsne_tree *tree; /* NULL: all pairs */
    float *force;          /* [threads, 2, N]; the tree uses the first */
    double *part;          /* [threads] sums of w */
};

sella_status sella_tsne_field_new(int N, double theta, sella_tsne_field **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_tsne_field *field = sella_alloc(1, sizeof *field, "forces", err);
    *out = NULL;
    if (!field) {
        return SELLA_MEMORY;
    }
    field->N = N;
    field->theta = theta;
    field->threads = theta > 0 || N < PARALLEL ? 1 : sella_threads();
    field->force =
        sella_alloc((size_t)field->threads * 2 * (size_t)N, sizeof *field->force, "forces", err);
    field->part = sella_alloc((size_t)field->threads, sizeof *field->part, "forces", err);
    if (!field->force || !field->part) {
        SELLA_TRY(SELLA_MEMORY);
    }
    if (theta > 0) {
        SELLA_TRY(sella_tsne_tree_new(N, &field->tree, err));
    }
    *out = field;
    field = NULL;
done:
    sella_tsne_field_free(field);
    return status;
}

void sella_tsne_field_free(sella_tsne_field *field)
{
    if (field) {
        sella_tsne_tree_free(field->tree);
        free(field->force);
        free(field->part);
        free(field);
    }
}

/* All pairs: ranges against ranges, dealt out to the threads in turn, each with forces of its own;
 *            then their sum. Who
 * computes what is fixed, so the rounding is. */
static double repel_all(const sella_tsne_field *field, const float *x, const float *y)
{
    const int N = field->N, threads = field->threads, ranges = (N + TILE - 1) / TILE;
    double Z = 0;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++) {
        float *fx = field->force + (size_t)t * 2 * (size_t)N, *fy = fx + N;
        const sella_plane plane = {x, y, fx, fy};
        double sum = 0;
        memset(fx, 0, 2 * (size_t)N * sizeof *fx);
        int turn = 0;
        for (int a = 0; a < ranges; a++) {
            for (int b = a; b < ranges; b++) {
                if (turn++ % threads == t) {
                    const int i1 = (a + 1) * TILE < N ? (a + 1) * TILE : N,
                              j1 = (b + 1) * TILE < N ? (b + 1) * TILE : N;
                    sum += sella_repulsion(&plane, a * TILE, i1, b * TILE, j1);
                }
            }
        }
        field->part[t] = sum;
    }
    for (int t = 1; t < threads; t++) {
        const float *more = field->force + (size_t)t * 2 * (size_t)N;
        for (size_t i = 0; i < 2 * (size_t)N; i++) {
            field->force[i] += more[i];
        }
    }
    for (int t = 0; t < threads; t++) {
        Z += 2 * field->part[t];
    }
    return Z;
}

sella_status sella_tsne_gradient(sella_tsne_field *field, const sella_affinity *p,
                                 double exaggeration, const float *plane_x, const float *plane_y,
                                 float *gx, float *gy, double *Z, sella_err *err)
{
    const int N = field->N;
    float *fx = field->force, *fy = fx + N;
    if (field->tree) {
        const sella_status status =
            sella_tsne_tree_forces(field->tree, plane_x, plane_y, field->theta, fx, fy, Z, err);
        if (status != SELLA_OK) {
            return status;
        }
    } else {
        *Z = repel_all(field, plane_x, plane_y);
    }
    const float scale = (float)(1 / *Z), more = (float)exaggeration;
#pragma omp parallel for schedule(static) if (N >= PARALLEL)
    for (int i = 0; i < N; i++) {
        const float x = plane_x[i], y = plane_y[i];
        float ax = 0, ay = 0;
        for (int64_t e = p->start[i]; e < p->start[i + 1]; e++) {
            const float dx = x - plane_x[p->index[e]], dy = y - plane_y[p->index[e]];
            const float pull = p->p[e] / (1.0f + dx * dx + dy * dy);
            ax += pull * dx;
            ay += pull * dy;
        }
        gx[i] = 4.0f * (more * ax - scale * fx[i]);
        gy[i] = 4.0f * (more * ay - scale * fy[i]);
    }
    return SELLA_OK;
}

double sella_tsne_divergence(const sella_affinity *p, const float *plane_x, const float *plane_y,
                             double Z, double *scratch)
{
    const int N = p->N;
    double sum = 0;
#pragma omp parallel for schedule(static) if (N >= PARALLEL)
    for (int i = 0; i < N; i++) {
        double part = 0;
        for (int64_t e = p->start[i]; e < p->start[i + 1]; e++) {
            const double dx = (double)plane_x[i] - (double)plane_x[p->index[e]];
            const double dy = (double)plane_y[i] - (double)plane_y[p->index[e]];
            if (p->p[e] > 0) {
                part += (double)p->p[e] * log((double)p->p[e] * Z * (1 + dx * dx + dy * dy));
            }
        }
        scratch[i] = part;
    }
    for (int i = 0; i < N; i++) {
        sum += scratch[i];
    }
    return sum;
}

/* ---- descent ---- */

/* Coordinates apart, as the kernels want them. */
typedef struct descent {
    int N;
    float *y, *gradient, *step, *gain; /* [2, N] each, one block of memory */
    double *scratch;                   /* [N] */
} descent;

static sella_status descent_fill(int N, descent *d, sella_err *err)
{
    const size_t n = 2 * (size_t)N;
    *d = (descent){.N = N};
    d->y = sella_alloc(4 * n, sizeof *d->y, "points of the plane", err);
    d->scratch = sella_alloc((size_t)N, sizeof *d->scratch, "points of the plane", err);
    if (!d->y || !d->scratch) {
        return SELLA_MEMORY;
    }
    d->gradient = d->y + n;
    d->step = d->gradient + n;
    d->gain = d->step + n;
    for (size_t i = 0; i < n; i++) {
        d->gain[i] = 1.0f;
    }
    return SELLA_OK;
}

/* Gains grow where gradient and movement agree, and shrink where the point swings. */
static void descent_move(descent *d, float rate, float momentum)
{
    const size_t n = 2 * (size_t)d->N;
    for (size_t i = 0; i < n; i++) {
        const float g = d->gradient[i],
                    gain = g * d->step[i] < 0 ? d->gain[i] + 0.2f : d->gain[i] * 0.8f;
        d->gain[i] = gain < 0.01f ? 0.01f : gain;
        d->step[i] = momentum * d->step[i] - rate * d->gain[i] * g;
        d->y[i] += d->step[i];
    }
}

/* The first coordinate gets standard deviation 1e-4. */
static sella_status start_pca(const float *x, int C, descent *d, sella_err *err)
{
    const size_t N = (size_t)d->N;
    float *found = sella_alloc(2 * N, sizeof *found, "a start", err);
    if (!found) {
        return SELLA_MEMORY;
    }
    const int K = C < 2 ? C : 2;
    const sella_status status = sella_pca(x, d->N, C, K, found, err);
    if (status == SELLA_OK) {
        double square = 0;
        for (size_t i = 0; i < N; i++) {
            square += (double)found[i * (size_t)K] * (double)found[i * (size_t)K];
        }
        const float scale = square > 0 ? (float)(1e-4 / sqrt(square / (double)N)) : 0.0f;
        for (size_t i = 0; i < N; i++) {
            d->y[i] = scale * found[i * (size_t)K];
            d->y[N + i] = K == 2 ? scale * found[i * 2 + 1] : 0.0f;
        }
    }
    free(found);
    return status;
}

static void start_random(uint64_t seed, descent *d)
{
    const sella_rng rng = {.seed = seed, .stream = SELLA_STREAM_INIT};
    for (size_t i = 0; i < 2 * (size_t)d->N; i++) {
        d->y[i] = (float)(1e-4 * sella_rng_normal(&rng, i));
    }
}

static sella_status descend(descent *d, sella_tsne_field *field, const sella_affinity *p,
                            int iterations, double *kl, const sella_talk *talk, sella_err *err)
{
    sella_status status = SELLA_OK;
    const size_t N = (size_t)d->N;
    const double scaled = (double)d->N / EXAGGERATION / 4;
    const float rate = (float)(scaled > 50 ? scaled : 50);
    sella_progress progress;
    double Z = 1;
    sella_progress_start(&progress, talk, "t-SNE", "steps", iterations, 0);
    for (int step = 0; step < iterations; step++) {
        const bool early = step < EXAGGERATED;
        SELLA_TRY(sella_tsne_gradient(field, p, early ? EXAGGERATION : 1.0, d->y, d->y + N,
                                      d->gradient, d->gradient + N, &Z, err));
        descent_move(d, rate, early ? 0.5f : 0.8f);
        if ((step + 1) % REPORT == 0) {
            sella_progress_step(&progress, step + 1, NULL);
            if (sella_stop_wanted(talk)) {
                status =
                    sella_err_set(err, SELLA_INTERRUPTED, "t-SNE was interrupted at step %d of %d",
                                  step + 1, iterations);
                goto done;
            }
        }
    }
    sella_progress_end(&progress);
    SELLA_TRY(
        sella_tsne_gradient(field, p, 1.0, d->y, d->y + N, d->gradient, d->gradient + N, &Z, err));
    *kl = sella_tsne_divergence(p, d->y, d->y + N, Z, d->scratch);
    if (!isfinite(*kl)) {
        status = sella_err_set(err, SELLA_DIVERGED,
                               "t-SNE: the divergence is not finite after %d steps", iterations);
    }
done:
    return status;
}

static sella_status check(const float *x, int N, int C, const sella_tsne_options *o, sella_err *err)
{
    if (N < 4 || C < 1) {
        return sella_err_set(err, SELLA_ARG,
                             "t-SNE: %d points of %d dimensions; expected 4 or more points", N, C);
    }
    if (!(o->perplexity >= 1) || !(o->perplexity < N)) {
        return sella_err_set(err, SELLA_ARG,
                             "t-SNE: perplexity %g; expected 1 to less than the %d points",
                             o->perplexity, N);
    }
    if (o->neighbours < 1 || o->neighbours >= N || o->iterations < 1 || !(o->theta > 0) ||
        !(o->theta <= 1)) {
        return sella_err_set(
            err, SELLA_ARG,
            "t-SNE: %d neighbours, %d steps, theta %g; expected 1 to %d, 1 or more, above 0 to 1",
            o->neighbours, o->iterations, o->theta, N - 1);
    }
    for (size_t i = 0; i < (size_t)N * (size_t)C; i++) {
        if (!isfinite(x[i])) {
            return sella_err_set(err, SELLA_DIVERGED, "t-SNE: value %zu of point %zu is not finite",
                                 i % (size_t)C, i / (size_t)C);
        }
    }
    return SELLA_OK;
}

sella_status sella_tsne(const float *x, int N, int C, const sella_tsne_options *options, float *y,
                        double *kl, const sella_talk *talk, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_tsne_options o = options ? *options : (sella_tsne_options){0};
    sella_affinity p = {0};
    sella_tsne_field *field = NULL;
    descent d = {0};
    float *centred = NULL;
    double divergence = 0;
    o.perplexity = o.perplexity == 0 ? 30 : o.perplexity;
    o.iterations = o.iterations == 0 ? 1000 : o.iterations;
    o.theta = o.theta == 0 ? 0.5 : o.theta;
    if (o.neighbours == 0) {
        o.neighbours = 3 * o.perplexity + 1 < N - 1 ? (int)(3 * o.perplexity + 1) : N - 1;
    }
    SELLA_TRY(check(x, N, C, &o, err));
    centred = sella_alloc((size_t)N * (size_t)C, sizeof *centred, "points", err);
    if (!centred) {
        SELLA_TRY(SELLA_MEMORY);
    }
    memcpy(centred, x, (size_t)N * (size_t)C * sizeof *centred);
    sella_center(centred, N, C);
    SELLA_TRY(sella_affinity_fill(centred, N, C, o.neighbours, o.perplexity, &p, err));
    SELLA_TRY(descent_fill(N, &d, err));
    if (o.random) {
        start_random(o.seed, &d);
    } else {
        SELLA_TRY(start_pca(centred, C, &d, err));
    }
    const bool tree =
        o.method == SELLA_TSNE_TREE || (o.method == SELLA_TSNE_AUTO && N > SELLA_TSNE_EXACT_MOST);
    SELLA_TRY(sella_tsne_field_new(N, tree ? o.theta : 0, &field, err));
    SELLA_TRY(descend(&d, field, &p, o.iterations, &divergence, talk, err));
    for (size_t i = 0; i < (size_t)N; i++) {
        y[2 * i] = d.y[i];
        y[2 * i + 1] = d.y[(size_t)N + i];
    }
    if (kl) {
        *kl = divergence;
    }
done:
    free(centred);
    free(d.y);
    free(d.scratch);
    sella_affinity_release(&p);
    sella_tsne_field_free(field);
    return status;
}
