/* ranked.h - rows sorted once for AUC: by score over all rows, and by user and score.
 *
 * Does:     fill() checks and sorts; auc functions walk the sorted rows. Shared by metrics.c and
 *           bootstrap.c.
 * Memory:   a sella_ranked owns its arrays.
 * Threads:  pure.
 */
#ifndef SELLA_EVAL_RANKED_H
#define SELLA_EVAL_RANKED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef struct sella_ranked_row {
    double score;
    int32_t user; /* dense: 0 .. users - 1, in ascending order of the caller's codes */
    uint8_t label;
} sella_ranked_row;

typedef struct sella_ranked {
    int64_t rows;
    int32_t users;
    sella_ranked_row *by_score; /* [rows] ascending */
    double *user_auc;           /* [users] NaN: one class only */
} sella_ranked;

/* Rows with subset_n = 1 (NULL: all). */
sella_status sella_ranked_fill(const int32_t *user_n, const uint8_t *label_n, const double *score_n,
                               const uint8_t *subset_n, int64_t N, sella_ranked *out,
                               sella_err *err);
void sella_ranked_release(sella_ranked *ranked);

/* AUC of sorted rows, each counted weight[user] times (NULL: once); NaN when one class. */
double sella_ranked_auc(const sella_ranked_row *sorted, int64_t rows, const int32_t *weight);
/* Mean of user_auc over users that have one, each counted weight times; *used: users counted (with
 * weight NULL: each once). */
double sella_ranked_uauc(const sella_ranked *ranked, const int32_t *weight, int64_t *used);

#endif
