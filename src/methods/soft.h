/* soft.h - soft tokens: from user, item and semantic vectors to rows in the language model's input space, and
 * gradients back into the tables.
 *
 * Does:     make(queries): every user and item of the set is projected once -> gather(batch) fills the soft rows of a
 *           packed batch -> scatter(dsoft) collects their gradients -> backward: through Proj and Warm into the
 *           tables. e_U = Proj(p'_u), e_I = Proj(q_i), e_W = Warm(s_i).
 *           Sums run in the order of batches and rows: same bytes every time.
 * Memory:   owned, released with _release; refs are borrowed.
 * Threads:  internally parallel.
 * Paper:    eq (10).
 */
#ifndef SELLA_METHODS_SOFT_H
#define SELLA_METHODS_SOFT_H

#include "data/prompt.h"
#include "methods/vectors.h"

typedef struct sella_soft {
    sella_vectors *v;
    const sella_refs *refs;
    sella_slot_set slots;
    sella_vector_batch batch; /* the users' representatives */
    int U, I;      /* unique users and items */
    float *x;      /* [U + I, C] p' of users, q of items */
    float *pre;    /* [U + I, hidden] */
    float *act;    /* [U + I, hidden] */
    float *e;      /* [U + I, L] Proj */
    float *s;      /* [I, L] semantic rows */
    float *w;      /* [I, L] Warm */
    float *de;     /* [U + I, L] gradients, NULL without backward */
    float *dw;     /* [I, L] */
} sella_soft;

sella_status sella_soft_make(sella_vectors *v, const sella_query *query_n, const sella_refs *refs, sella_slot_set slots,
                             bool backward, sella_soft *out, sella_err *err);
void sella_soft_release(sella_soft *soft);

/* rows [M, L] of a batch whose refs are refs->user_ref_n and refs->item_ref_n. */
void sella_soft_gather(const sella_soft *soft, const sella_tree_batch *batch, float *rows);
void sella_soft_scatter(sella_soft *soft, const sella_tree_batch *batch, const float *drows);
/* Accumulates into the trainable rows of v. ds: further gradient on s [I, L] or NULL. */
sella_status sella_soft_backward(sella_soft *soft, const float *ds, sella_err *err);

#endif
