/* tsne.h - t-SNE: points of many dimensions drawn in the plane, neighbours beside neighbours.
 *
 * Does:     sella_tsne(x, N, C, &options, y, &kl, talk, err). Similarities p come from Gaussians
 *           around each point whose width gives the wanted perplexity (bisection), over its nearest
 *           neighbours, found exactly; the plane's q from Student's t distribution; KL(p || q)
 *           falls by gradient descent with momentum, gains and early exaggeration (12, the first
 *           250 steps). Up to SELLA_TSNE_EXACT_MOST points all N^2 pairs repel each other; above,
 *           far cells of a quadtree do in one (tsne_tree.h).
 * Layout:   x [N, C], y [N, 2], row-major f32.
 * Memory:   the caller's arrays; inside, about 24 bytes a neighbour of a point.
 * Threads:  internally parallel; the same bytes for the same number of threads.
 * Paper:    section 5.5, figure 6. van der Maaten, Hinton 2008; van der Maaten 2014.
 */
#ifndef SELLA_EVAL_TSNE_H
#define SELLA_EVAL_TSNE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "eval/tsne_affinity.h"

enum { SELLA_TSNE_EXACT_MOST = 10000 };

typedef enum sella_tsne_method {
    SELLA_TSNE_AUTO,
    SELLA_TSNE_EXACT,
    SELLA_TSNE_TREE
} sella_tsne_method;

typedef struct sella_tsne_options {
    double perplexity;        /* 0: 30; below N */
    int neighbours;           /* of a point, that have a p; 0: 3 perplexity + 1; N - 1: all */
    int iterations;           /* 0: 1000 */
    sella_tsne_method method; /* AUTO: by N */
    double theta;             /* of the tree; 0: .5; at most 1 */
    /* start: seeded normal points instead of the first two principal components */
    bool random;
    uint64_t seed;            /* of that */
} sella_tsne_options;

/* *kl (may be NULL): KL(p || q) of y. Every 50 steps there is a progress report.
 * Returns: SELLA_OK; SELLA_ARG for options out of range or N < 4; SELLA_DIVERGED when a value of x
 *          is not finite;
 * SELLA_MEMORY; SELLA_INTERRUPTED. */
sella_status sella_tsne(const float *x, int N, int C, const sella_tsne_options *options, float *y,
                        double *kl, const sella_talk *talk, sella_err *err);

/* The gradient dKL/dy with p multiplied by `exaggeration`, for coordinates apart:
 *   dC/dy_i = 4 sum_j (exaggeration p_ij - w_ij / Z) w_ij (y_i - y_j),   w_ij = 1 / (1 + |y_i -
 *   y_j|^2),  Z = sum w plane_x, plane_y in [N]; gx, gy out [N].   theta: 0 for all pairs. */
typedef struct sella_tsne_field sella_tsne_field;
sella_status sella_tsne_field_new(int N, double theta, sella_tsne_field **out, sella_err *err);
void sella_tsne_field_free(sella_tsne_field *field);
sella_status sella_tsne_gradient(sella_tsne_field *field, const sella_affinity *p,
                                 double exaggeration, const float *plane_x, const float *plane_y,
                                 float *gx, float *gy, double *Z, sella_err *err);
/* sum p log(p Z / w), with Z of the gradient. scratch [N]. */
double sella_tsne_divergence(const sella_affinity *p, const float *plane_x, const float *plane_y,
                             double Z, double *scratch);

#endif
