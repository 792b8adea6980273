/* scorer.h - one trained model that gives a logit to (user, history, item) queries, whatever method
 * made it.
 *
 * Does:     A method's open() returns a scorer; score() takes queries in any order and answers all
 *           of them: one logit per query, at the query's own place. Language-model scorers group
 *           queries by user and history into prefix trees; results do not depend on the grouping by
 *           more than rounding (1e-4 on logits).
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
#include "sella/service.h"

/* One query. Indexes are rows of the run's users.tsv and items.tsv. */
typedef struct sella_query {
    int32_t user;  /* -1: unseen in train: a normal input */
    int32_t item;  /* -1: not in the catalogue: only with target_text */
    /* [history_count] earlier positives, oldest first, not yet cut to the window; -1 = see
     * history_text */
    const int32_t *history_n;
    int32_t history_count;
    /* NULL, or [history_count] titles for entries whose id is -1 */
    const char *const *history_text;
    const char *target_text;         /* NULL: the title of item */
    /* queries of one group (a user) may share prefixes; equal group and history: one tree */
    int32_t group;
} sella_query;

typedef struct sella_scorer sella_scorer;
typedef struct sella_scorer_ops {
    /* logit_n out [N]: z, score = sigmoid(z). */
    sella_status (*score)(sella_scorer *scorer, const sella_query *query_n, int64_t N,
                          double *logit_n, const sella_talk *talk, sella_err *err);
    /* The prompt of one query for `inspect prompt`; NULL for methods without prompts. rows receives
     * one row. */
    sella_status (*prompt)(sella_scorer *scorer, const sella_query *query, sella_rows *rows,
                           sella_err *err);
    void (*close)(sella_scorer *scorer);
} sella_scorer_ops;

/* When to stop scoring. */
typedef struct sella_until {
    double end;   /* on the clock of sella_now; INFINITY: no limit */
    int64_t step; /* most queries between two calls of scored; 0: as many as fit */
    /* logit_n of queries first .. first + count - 1 is there; non-zero: stop. NULL: nobody waits */
    int (*scored)(void *user, int64_t first, int64_t count);
    void *user;
} sella_until;

/* What serving asks of a scorer beyond scores; every member may be NULL. */
typedef struct sella_serving_ops {
    /* Logits of many items for one user and history from vectors alone, without a language model:
     * the first step of ranking. who->item is not looked at. Scorers without a language model:
     * equal to score() but for rounding.
     *   item_n  in  [N] catalogue rows
     *   logit_n out [N] */
    sella_status (*scan)(sella_scorer *scorer, const sella_query *who, const int32_t *item_n,
                         int32_t N, double *logit_n, sella_err *err);
    /* Keep up to `bytes` of keys and values of prompts' beginnings between calls; 0: none. */
    sella_status (*cache)(sella_scorer *scorer, size_t bytes, sella_err *err);
    /* score() of queries that have user, history and group in common, in their order, until the
     * time is over. Every scorer with a language model has it. */
    sella_status (*score_until)(sella_scorer *scorer, const sella_query *query_n, int64_t N,
                                const sella_until *until, double *logit_n, int64_t *done,
                                sella_err *err);
    /* Put the beginning of this user's prompts into the cache. */
    sella_status (*warm)(sella_scorer *scorer, const sella_query *who, sella_err *err);
    void (*count)(const sella_scorer *scorer, sella_engine_counts *out); /* from any thread */
} sella_serving_ops;
struct sella_inside_ops; /* methods/inside.h */

/* Concrete scorers begin with this struct. */
struct sella_scorer {
    const sella_scorer_ops *ops;
    const sella_serving_ops *serving; /* NULL: none of it */
    /* how a score comes about; NULL: this scorer tells nothing but scores */
    const struct sella_inside_ops *inside;
    const sella_run *run;
    sella_backbone *backbone;    /* NULL for collaborative methods */
    int32_t yes_id, no_id;       /* label tokens, -1 without a language model */
};

#endif
