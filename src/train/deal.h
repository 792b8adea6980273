/* deal.h - which rows each step of an epoch takes: every row once, in another order every epoch.
 *
 * Does:     init -> step(epoch, index) for any step in any order -> release. The order of an epoch
 *           is a function of (seed, epoch), so that a resumed run deals the same rows.
 * Memory:   rows of a step are borrowed until a step of another epoch is asked for.
 * Threads:  one object per thread.
 */
#ifndef SELLA_TRAIN_DEAL_H
#define SELLA_TRAIN_DEAL_H

#include <stdint.h>

#include "base/error.h"

typedef struct sella_deal {
    uint64_t seed;
    int64_t rows, batch; /* of a step, the last of an epoch may have fewer; batch <= rows */
    int64_t epoch;       /* that order_n is of; -1: none yet */
    int64_t *order_n;    /* [rows] */
} sella_deal;

/* batch > 0: cut to rows when there are fewer. */
sella_status sella_deal_init(int64_t rows, int64_t batch, uint64_t seed, sella_deal *out,
                             sella_err *err);
void sella_deal_release(sella_deal *deal);
/* Steps of an epoch. */
int64_t sella_deal_steps(const sella_deal *deal);
/* Rows of step `index` (from 0) of an epoch (from 0): returns N, *row_n [N]. */
int64_t sella_deal_step(sella_deal *deal, int64_t epoch, int64_t index, const int64_t **row_n);

#endif
