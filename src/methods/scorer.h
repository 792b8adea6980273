/* scorer.h - one trained model that gives a logit to (user, history, item) queries, whatever method made it.
 *
 * Does:     A method's open() returns a scorer; score() takes queries in any order and answers all of them: one logit
 *           per query, at the query's own place. Language-model scorers group queries by user and history into prefix
 *           trees; results do not depend on the grouping by more than rounding (1e-4 on logits).
 * Memory:   the scorer owns its parameters; run and backbone are borrowed and must outlive it.
 * Threads:  one scorer per thread; internally parallel.
 */
#ifndef SELLA_METHODS_SCORER_H
#define SELLA_METHODS_SCORER_H

#include <stdint.h>

#include "backbone/backbone.h"
#include "base/error.h"
#include "base/log.h"
#include "data/tree.h"
#include "methods/run.h"

/* One query. Indexes are rows of the run's users.tsv and items.tsv. */
typedef struct sella_query {
    int32_t user;  /* -1: unseen in train: a normal input */
    int32_t item;  /* -1: not in the catalogue: only with target_text */
    const int32_t *history_n; /* [history_count] earlier positives, oldest first, not yet cut to the window; -1 = see
                                 history_text */
    int32_t history_count;
    const char *const *history_text; /* NULL, or [history_count] titles for entries whose id is -1 */
    const char *target_text;         /* NULL: the title of item */
    int32_t group;                   /* queries of one group (a user) may share prefixes; equal group and history: one
                                        tree */
} sella_query;

typedef struct sella_scorer sella_scorer;
typedef struct sella_scorer_ops {
    /* logit_n out [N]: z, score = sigmoid(z). */
    sella_status (*score)(sella_scorer *scorer, const sella_query *query_n, int64_t N, double *logit_n,
                          const sella_talk *talk, sella_err *err);
    /* The prompt of one query for `inspect prompt`; NULL for methods without prompts. rows receives one row. */
    sella_status (*prompt)(sella_scorer *scorer, const sella_query *query, sella_rows *rows, sella_err *err);
    void (*close)(sella_scorer *scorer);
} sella_scorer_ops;

/* What serving asks of a scorer beyond scores; every member may be NULL. */
typedef struct sella_serving_ops {
    /* Logits of many items for one user and history from vectors alone, without a language model: the first step of
     * ranking. who->item is not looked at. Scorers without a language model: equal to score() but for rounding.
     *   item_n  in  [N] catalogue rows
     *   logit_n out [N] */
    sella_status (*scan)(sella_scorer *scorer, const sella_query *who, const int32_t *item_n, int32_t N,
                         double *logit_n, sella_err *err);
} sella_serving_ops;

/* Concrete scorers begin with this struct. */
struct sella_scorer {
    const sella_scorer_ops *ops;
    const sella_serving_ops *serving; /* NULL: none of it */
    const sella_run *run;
    sella_backbone *backbone;    /* NULL for collaborative methods */
    int32_t yes_id, no_id;       /* label tokens, -1 without a language model */
};

#endif
