/* controls.h - the two controls that stand beside every method: itembias and bias.
 *
 * Does:     itembias: log-odds of the smoothed item mean, 5 pseudo-counts at the train mean;
 *           global.bias is the log-odds of the train mean and item.bias the difference to it, so
 *           that an unseen item is 0 here too. bias: minimise sum logloss(b0 + b_u + b_i) + sum
 *           b_u^2 + 1/4 sum b_i^2 with a free intercept b0, to convergence (Newton with conjugate
 *           gradients); unseen = 0. With vectors of the items' text, b_i = a_i + v . c_i: an item's
 *           bias is shrunk towards what its text says instead of 0 (the regression prior of Agarwal
 *           and Chen 2009), so that an unseen item has the bias of items that read alike.
 * Layout:   user.bias [U], item.bias [I], global.bias [1] in the parameter table, so that they are
 *           saved as any collaborative model.
 * Threads:  pure.
 * Paper:    SPEC section 2 (METHODs).
 */
#ifndef SELLA_COLLAB_CONTROLS_H
#define SELLA_COLLAB_CONTROLS_H

#include "base/param.h"

/* Rows of a split as index columns; users and items out of range of the tables are unseen. */
typedef struct sella_interactions {
    int64_t rows;
    const int32_t *user_n;
    const int32_t *item_n;
    const uint8_t *label_n;
} sella_interactions;

/* Fill table with item.bias [I] and global.bias [1]. SELLA_STATE when all labels are equal. */
sella_status sella_itembias_fit(const sella_interactions *train, int32_t items,
                                sella_param_table *table, sella_err *err);

/* Vectors of the items' text. */
typedef struct sella_item_text {
    const float *c; /* [I, L] zero rows: items without text; borrowed */
    int L;
} sella_item_text;

/* Fill table with user.bias [U], item.bias [I], global.bias [1]; stops when the gradient's largest
 * entry is below 1e-8 times rows. text NULL: the control. Otherwise item.bias is
 * b_i = a_i + v . c_i of
 *
 *   minimise sum logloss(b0 + b_u + b_i) + sum b_u^2 + 1/4 sum a_i^2 + sum v_l^2
 *
 * SELLA_STATE when all labels are equal. */
sella_status sella_bias_fit(const sella_interactions *train, int32_t users, int32_t items,
                            const sella_item_text *text, sella_param_table *table, sella_err *err);

#endif
