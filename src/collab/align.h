/* align.h - the contrastive alignment of collaborative and semantic item vectors.
 *
 * Does:     g_i = Proj(q_i) / |.|, t_i = s_i / |.|, over the unique items i of the batch:
 *           infonce: L = -(1/B) sum_i log [exp(t_i.g_i / tau) / sum_k exp(t_i.g_k / tau)]          (candidates k: batch | all items)
 *           matched: the paper's printed eq (8), denominator over matched pairs (k', k')            (align.negatives=matched)
 *           rince:   mean[-pos^q/q + (lambda (pos + neg))^q / q], q = .01, lambda = .1, as the authors' code
 *           direction both: the mean of semantic -> collaborative and the reverse.
 * Layout:   S [B, L], G [B, L] row-major; with candidates all: G_all [I, L].
 * Threads:  internally parallel; same bytes for a fixed number of threads.
 * Paper:    eq (8); REFERENCE 7 stage 2, 7.1 rows 2 to 7.
 */
#ifndef SELLA_COLLAB_ALIGN_H
#define SELLA_COLLAB_ALIGN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

typedef enum sella_align_loss { SELLA_ALIGN_INFONCE, SELLA_ALIGN_RINCE } sella_align_loss;
typedef enum sella_align_negatives { SELLA_NEGATIVES_BATCH, SELLA_NEGATIVES_ALL, SELLA_NEGATIVES_MATCHED } sella_align_negatives;

typedef struct sella_align_config {
    sella_align_loss loss;
    sella_align_negatives negatives;
    bool both;     /* both directions */
    double tau;    /* .2 */
    double q;      /* .01, rince */
    double lambda; /* .1, rince */
} sella_align_config;

size_t sella_align_scratch(int B, int K, int L); /* floats */

/*   anchor   in  [B, L]  s_i of the batch's unique items;      danchor out [B, L]
 *   candidate in [K, L]  Proj(q_k); K = B for batch and matched; dcandidate out [K, L]
 *   positive in  [B]     index of anchor b's own candidate
 * Returns the mean loss. Gradients are of the mean loss, through the normalisation. */
double sella_align_forward_backward(const sella_align_config *config, const float *anchor, const float *candidate, const int *positive, int B, int K,
                                    int L, float *danchor, float *dcandidate, float *scratch);

#endif
