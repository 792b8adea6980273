/* contrast.h - the contrastive loss between two views of the same rows, compared in sub-spaces.
 *
 * Does:     a_n, b_n: two vectors of row n, made unit length and cut into `parts` sub-vectors. One
 *           direction:
 *             s_nk = sum_m max_m' a_n^m . b_k^m',
 *             l = -(1/N) sum_n log [ exp(s_nn / tau) / sum_k exp(s_nk / tau) ]
 *           and the loss is the mean of that and of the same with a and b exchanged. With one part
 *           s is the cosine.
 * Layout:   row-major f32.
 * Memory:   scratch from the caller; its heart is three N x N matrices, and parts x N x N bytes.
 * Threads:  internally parallel; same bytes for a fixed number of threads.
 * Not here: one-sided losses and other negatives (collab/align.h).
 * Paper:    Li et al. 2023 (CTRL); REFERENCE 4.3.
 */
#ifndef SELLA_COLLAB_CONTRAST_H
#define SELLA_COLLAB_CONTRAST_H

#include <stddef.h>

#include "base/error.h"

enum { SELLA_CONTRAST_PARTS_MAX = 64 };

/* Bytes of scratch. */
size_t sella_contrast_scratch(int N, int W, int parts);

/*   a, b    in  [N, W]  W a multiple of parts
 *   tau     in  > 0
 *   da, db  out [N, W]  gradients of the loss, through the normalisation
 * Returns the loss. N = 0: 0. */
double sella_contrast_forward_backward(const float *a, const float *b, int N, int W, int parts,
                                       double tau, float *da, float *db, void *scratch);

#endif
