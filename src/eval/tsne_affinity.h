/* tsne_affinity.h - the similarities p_ij of t-SNE.
 *
 * Does:     p(j|i) = exp(-b_i |x_i - x_j|^2) / sum over i's nearest neighbours, b_i such that the
 *           entropy is log(perplexity); p_ij = (p(j|i) + p(i|j)) / 2N. Neighbours are exact, ties
 *           go to the lower number.
 * Layout:   rows of a symmetric sparse matrix, columns ascending.
 * Memory:   a sella_affinity owns its arrays.
 * Threads:  internally parallel; the result does not depend on the number of threads.
 * Paper:    van der Maaten, Hinton 2008, equation 1 and section 3.1; neighbours as van der Maaten
 *           2014.
 */
#ifndef SELLA_EVAL_TSNE_AFFINITY_H
#define SELLA_EVAL_TSNE_AFFINITY_H

#include <stdint.h>

#include "base/error.h"

typedef struct sella_affinity {
    int N;
    int64_t *start; /* [N + 1] */
    int32_t *index; /* [start[N]] */
    float *p;       /* [start[N]] sum 1 */
} sella_affinity;

/* x [N, C] finite; 1 <= neighbours < N; 1 <= perplexity. */
sella_status sella_affinity_fill(const float *x, int N, int C, int neighbours, double perplexity,
                                 sella_affinity *out, sella_err *err);
void sella_affinity_release(sella_affinity *affinity);

#endif
