/* align.h - the contrastive alignment of collaborative and semantic item vectors.
 *
 * Does:     g_i = Proj(q_i) / |.|, t_i = s_i / |.|, over the unique items i of the batch,
 *           m_bk = t_b.g_k / tau:
 *           infonce: L = -(1/B) sum_b log [exp(m_b,pos(b)) / sum_k exp(m_bk)]
 *                    (candidates k: batch | all items)
 *           rince:   L = (1/B) sum_b [-pos^q / q + (lambda (pos + neg))^q / q],
 *                    pos = exp(m_b,pos(b)), neg = sum_k exp(m_bk) (the positive is in it too),
 *                    q = .01, lambda = .1, as the authors' code; q = 0: the limit, infonce with the
 *                    positive counted twice + log lambda. Both powers are written as (x^q - 1) / q,
 *                    which has the same value and keeps its digits for small q.
 *           negatives matched: the paper's printed eq (8): the sum over k runs over the matched
 *                    pairs m_k,pos(k)
 *           both:    the mean of semantic -> collaborative and the reverse (there the sum runs over
 *                    the batch's semantic vectors).
 * Layout:   row-major f32.
 * Memory:   scratch from the caller: one B x K matrix and two normalised copies.
 * Threads:  internally parallel; same bytes for a fixed number of threads.
 * Paper:    eq (8); REFERENCE 7 stage 2, 7.1 rows 2 to 7.
 */
#ifndef SELLA_COLLAB_ALIGN_H
#define SELLA_COLLAB_ALIGN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

typedef enum sella_align_loss { SELLA_ALIGN_INFONCE, SELLA_ALIGN_RINCE } sella_align_loss;
typedef enum sella_align_negatives {
    SELLA_NEGATIVES_BATCH,
    SELLA_NEGATIVES_ALL,
    SELLA_NEGATIVES_MATCHED
} sella_align_negatives;

typedef struct sella_align_config {
    sella_align_loss loss;
    sella_align_negatives negatives;
    bool both;     /* both directions */
    double tau;    /* .2; > 0 */
    double q;      /* .01, rince; 0 to 1 */
    double lambda; /* .1, rince; > 0 */
} sella_align_config;

/* Floats of scratch for B anchors and K candidates of width L; SIZE_MAX when that overflows. */
size_t sella_align_scratch(int B, int K, int L);

/*   anchor     in      [B, L]  s_i of the batch's unique items
 *   candidate  in      [K, L]  Proj(q_k); K = B for batch and matched
 *   positive   in      [B]     index of anchor b's own candidate
 *   danchor    out     [B, L]  NULL: not needed (a frozen table)
 *   dcandidate out     [K, L]  NULL: not needed
 *   scratch    scratch [sella_align_scratch(B, K, L)]
 * Returns the mean loss. Gradients are of the mean loss, through the normalisation; a vector
 * shorter than 1e-12 is divided by 1e-12. B = 0: 0, and zero gradients. */
double sella_align_forward_backward(const sella_align_config *config, const float *anchor,
                                    const float *candidate, const int *positive, int B, int K,
                                    int L, float *danchor, float *dcandidate, float *scratch);

/* Rows of length 1: y out [N, L] = x / size, size out [N] = max(|x|, 1e-12); x in [N, L]. */
void sella_unit_forward(float *y, float *size, const float *x, int N, int L);
/* In place: dy [N, L] becomes dx = (dy - y (y.dy)) / size; y, size as forward left them. */
void sella_unit_backward(float *dy, const float *y, const float *size, int N, int L);

#endif
