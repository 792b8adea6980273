/* ranking.h - how well scores put a user's liked items before other candidates: NDCG@K, Recall@K,
 * MRR@K, HitRate@K.
 *
 * Does:     A case is one list of candidates with scores, some of them relevant. sella_ranking_init
 *           -> sella_ranking_case for each case -> sella_ranking_mean. Candidates are ordered by
 *           score, descending; of equal scores those that are not relevant come first, so that a
 *           method that cannot tell candidates apart gains nothing from it. With p(j) the place
 *           (from 1) of relevant candidate j, R their number, and J(K) those with p(j) <= K:
 *             NDCG@K     sum over J(K) of 1 / log2(p(j) + 1),
 *                        divided by sum over p = 1 .. min(K, R) of 1 / log2(p + 1)
 *             Recall@K   |J(K)| / R
 *             MRR@K      1 / (smallest p(j)), 0 when that is larger than K
 *             HitRate@K  1 when J(K) is not empty, else 0
 *           Figures are unweighted means over cases.
 * Memory:   plain values.
 * Threads:  one object per thread.
 * Not here: which candidates a case has (engine/rank_split.h).
 */
#ifndef SELLA_EVAL_RANKING_H
#define SELLA_EVAL_RANKING_H

#include <stdint.h>

#include "base/error.h"

enum { SELLA_CUTOFFS_MAX = 16 };

typedef struct sella_ranking_figures {
    double ndcg, recall, mrr, hit_rate;
} sella_ranking_figures;

typedef struct sella_ranking {
    int cutoffs;
    int at_k[SELLA_CUTOFFS_MAX];
    int64_t cases, relevant, candidates; /* cases seen, relevant and all candidates in them */
    sella_ranking_figures sum[SELLA_CUTOFFS_MAX];
} sella_ranking;

/* at_k in [cutoffs] 1 or more each. SELLA_ARG for a number that is not, none, or more than
 * SELLA_CUTOFFS_MAX. */
sella_status sella_ranking_init(sella_ranking *ranking, const int *at_k, int cutoffs,
                                sella_err *err);

/* Add one case.
 *
 *   score_n    in [N]
 *   relevant_n in [N] 0 or 1, at least one 1
 *
 * Returns: SELLA_OK; SELLA_DIVERGED when a score is not finite; SELLA_MEMORY. */
sella_status sella_ranking_case(sella_ranking *ranking, const double *score_n,
                                const uint8_t *relevant_n, int64_t N, sella_err *err);

/* The figures at at_k[cutoff]; NaN when there were no cases. */
sella_ranking_figures sella_ranking_mean(const sella_ranking *ranking, int cutoff);

#endif
