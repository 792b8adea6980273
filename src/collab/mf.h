/* mf.h - matrix factorisation, optionally with biases and an inductive part from the history.
 *
 * Does:     logit z_ui = p'_u . q_i [+ b_u + b_i + b_0],  p'_u = p_u [+ |H|^-1/2 sum_{j in H} y_j]
 *           (SVD++'s implicit part, Koren 2008). Unseen users have p_u = 0 (or the mean of trained
 *           rows, when the caller puts it in), unseen items q_i = 0; biases 0. With the history
 *           part an unseen user is still described by what they liked. init -> forward -> backward
 *           (accumulates) -> optimizer.
 * Layout:   user.weight [U, C], item.weight [I, C], optional user.bias [U], item.bias [I],
 *           global.bias [1], optional history.weight [I, C]; in this order in the table.
 * Memory:   the parameter table is owned by the sella_mf; batches are borrowed.
 * Threads:  internally parallel; same bytes for any number of threads.
 * Paper:    section 3 (Collaborative Filtering Recommendation), eq (6) with BCE (REFERENCE 7.1 row
 *           1); REFERENCE 4.2.
 */
#ifndef SELLA_COLLAB_MF_H
#define SELLA_COLLAB_MF_H

#include "base/param.h"
#include "collab/controls.h"

enum { SELLA_MF_WIDTH_MAX = 4096 };

typedef struct sella_mf_config {
    int32_t users, items; /* >= 1 */
    int C;                /* 1 to SELLA_MF_WIDTH_MAX */
    bool bias;            /* b_u, b_i, b_0 */
    bool history;         /* the SVD++ part */
    double init;          /* standard deviation of p, q, y at the start; >= 0 */
} sella_mf_config;

typedef struct sella_mf {
    sella_mf_config config;
    sella_param_table table; /* owned */
} sella_mf;

/* Normal weights, drawn by (seed, place in the table, index); biases 0. SELLA_ARG for a config out
 * of range. */
sella_status sella_mf_init(const sella_mf_config *config, uint64_t seed, sella_mf *out,
                           sella_err *err);
void sella_mf_release(sella_mf *mf);

/* A batch: indexes, -1 = unseen; histories only with config.history (window already applied,
 *          entries are item
 * rows). */
typedef struct sella_mf_batch {
    int N;
    const int32_t *user_n;                 /* [N] -1 to users - 1 */
    const int32_t *item_n;                 /* [N] -1 to items - 1 */
    const int32_t *const *history_n;       /* [N] NULL without the history part */
    const int32_t *history_count_n;        /* [N] */
} sella_mf_batch;

/* z out [N]. user_vector out [N, C] or NULL: p'_u of each row (what Proj and the fast score
 * read). */
void sella_mf_forward(const sella_mf *mf, const sella_mf_batch *batch, float *z,
                      float *user_vector);
/* Accumulate gradients of trainable rows: dz in [N] (or NULL) and duser in [N, C] further gradient
 * on p'_u (or
 * NULL: from stage 3's soft tokens), ditem in [N, C] on q_i (or NULL). Needs no forward values. */
void sella_mf_backward(sella_mf *mf, const sella_mf_batch *batch, const float *dz,
                       const float *duser, const float *ditem);

#endif
