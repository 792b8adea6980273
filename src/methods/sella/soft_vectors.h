/* soft_vectors.h - the soft tokens of SeLLa-Rec.
 *
 * Does:     e_U = Proj(p'_u), e_I = Proj(q_i), e_W = Warm(s_i); the loss term of
 *           stage3.align_weight over the items of a step. p'_u is the user vector of the
 *           collaborative model: of user and history, with din of the target too.
 * Memory:   vectors are borrowed and must outlive the source.
 * Threads:  internally parallel.
 * Paper:    eqs (8), (10).
 */
#ifndef SELLA_METHODS_SELLA_SOFT_VECTORS_H
#define SELLA_METHODS_SELLA_SOFT_VECTORS_H

#include "collab/align.h"
#include "methods/soft.h"
#include "methods/vectors.h"

typedef struct sella_soft_vectors {
    sella_vectors *v;
    double align_weight; /* 0: no alignment in the loss */
    sella_align_config align;
} sella_soft_vectors;

/* owned: self (by sella_alloc) is freed when the source is closed; otherwise it is borrowed. */
sella_soft_source sella_soft_of_vectors(sella_soft_vectors *self, bool owned);

#endif
