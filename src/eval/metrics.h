/* metrics.h - AUC, UAUC, logloss and their subsets.
 *
 * Does:     AUC: rank-based, ties one half, all rows pooled. UAUC: unweighted mean of AUC over users with both labels in the subset; users with one
 *           class or one row are skipped and counted. logloss: mean of -log p(label), p clipped to [1e-15, 1 - 1e-15].
 * Threads:  pure.
 * Paper:    section 5.1; SPEC section 7, REFERENCE 3.1, 3.2.
 */
#ifndef SELLA_EVAL_METRICS_H
#define SELLA_EVAL_METRICS_H

#include <jansson.h>
#include <stdint.h>

#include "base/error.h"

typedef struct sella_figures {
    int64_t rows;
    double auc;  /* NaN: one class only */
    double uauc; /* NaN: no user has both labels */
    int64_t uauc_users;
    int64_t uauc_skipped;
    double logloss;
} sella_figures;

/* user_n: any int32 codes. score_n: probabilities. label_n: 0 or 1. subset_n NULL or [N] bytes: rows with 1 count. */
sella_status sella_figures_compute(const int32_t *user_n, const uint8_t *label_n, const double *score_n, const uint8_t *subset_n,
                                   int64_t N, sella_figures *out, sella_err *err);
/* AUC of N rows; NaN when one class. */
double sella_auc(const double *score_n, const uint8_t *label_n, int64_t N, sella_err *err);

/* The object of SPEC section 2 for method, dataset, split, with subsets warm and cold from warm_n (NULL: no subsets). New reference. */
sella_status sella_figures_json(const char *method, const char *dataset, const char *split, const int32_t *user_n, const uint8_t *label_n,
                                const double *score_n, const uint8_t *warm_n, int64_t N, json_t **out, sella_err *err);

/* Paired bootstrap over users (users drawn with replacement, `draws` times, Philox by seed): percentile intervals at 95 %. */
typedef struct sella_interval {
    double low, high;
} sella_interval;
sella_status sella_bootstrap(const int32_t *user_n, const uint8_t *label_n, const double *score_n, int64_t N, int draws, uint64_t seed,
                             sella_interval *auc, sella_interval *uauc, sella_err *err);
typedef struct sella_comparison {
    int64_t rows, users;
    double auc_a, auc_b, auc_diff, uauc_diff;
    sella_interval auc_ci, uauc_ci; /* of the differences a - b */
    int draws;
} sella_comparison;
sella_status sella_bootstrap_paired(const int32_t *user_n, const uint8_t *label_n, const double *a_n, const double *b_n, int64_t N, int draws,
                                    uint64_t seed, sella_comparison *out, sella_err *err);

#endif
