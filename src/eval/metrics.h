/* metrics.h - AUC, UAUC, logloss and their subsets, on arrays.
 *
 * Does:     AUC: rank-based, ties one half, all rows pooled. UAUC: unweighted mean of AUC over
 *           users with both labels in the subset; users with one class or one row are skipped and
 *           counted. logloss: mean of -log p(label), p clipped to [1e-15, 1 - 1e-15]. Intervals:
 *           users are drawn with replacement. Rows are sorted by score once; a draw gives each user
 *           a multiplicity and walks the sorted rows with these as weights: O(rows + users) a draw,
 *           so 1,000 draws of 10,000 rows take under 0.1 s.
 * Layout:   user_n: any int32 codes. score_n: finite; probabilities for logloss. label_n: 0 or 1. N
 *           >= 0.
 * Threads:  pure.
 * Not here: the structs and the functions on files (sella/eval.h).
 * Paper:    section 5.1; SPEC section 7, REFERENCE 3.1, 3.2.
 */
#ifndef SELLA_EVAL_METRICS_H
#define SELLA_EVAL_METRICS_H

#include <jansson.h>
#include <stdint.h>

#include "base/error.h"
#include "sella/eval.h"

/* Figures of the rows with subset_n = 1 (NULL: all rows). SELLA_DIVERGED when a score is not
 * finite, SELLA_ARG for a label > 1. */
sella_status sella_figures_compute(const int32_t *user_n, const uint8_t *label_n,
                                   const double *score_n, const uint8_t *subset_n, int64_t N,
                                   sella_figures *out, sella_err *err);
/* AUC of N rows; NaN when one class, when a score is not finite and when memory is out (err says
 * so). */
double sella_auc(const double *score_n, const uint8_t *label_n, int64_t N, sella_err *err);

/* The object of SPEC section 2 for method, dataset, split (NULL: null), with subsets warm and cold
 * from warm_n (NULL: none, {}). *out is a new reference. */
sella_status sella_figures_json(const char *method, const char *dataset, const char *split,
                                const int32_t *user_n, const uint8_t *label_n,
                                const double *score_n, const uint8_t *warm_n, int64_t N,
                                json_t **out, sella_err *err);
/* The same object from figures that are there already; warm and cold NULL: no subsets. New
 * reference, NULL when memory is out. */
json_t *sella_figures_object(const char *method, const char *dataset, const char *split,
                             const sella_figures *all, const sella_figures *warm,
                             const sella_figures *cold);

/* {"rows","auc","uauc","uauc_users"} of a subset. New reference, NULL when memory is out. */
json_t *sella_subset_object(const sella_figures *figures);

/* Bootstrap over users (drawn with replacement, `draws` times, Philox by seed): percentile
 * intervals at 95 %. A draw that lacks a figure (one class only) does not count for its interval.
 * draws: 1 to SELLA_DRAWS_MAX. */
enum { SELLA_DRAWS_MAX = 1000000 };
sella_status sella_bootstrap(const int32_t *user_n, const uint8_t *label_n, const double *score_n,
                             int64_t N, int draws, uint64_t seed, sella_interval *auc,
                             sella_interval *uauc, sella_err *err);
/* Paired: the same users for both scores in every draw. */
sella_status sella_bootstrap_paired(const int32_t *user_n, const uint8_t *label_n,
                                    const double *a_n, const double *b_n, int64_t N, int draws,
                                    uint64_t seed, sella_comparison *out, sella_err *err);

#endif
