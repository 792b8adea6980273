/* lm_scorer_state.h - the inside of a language-model scorer, shared by lm_scorer.c and lm_inside.c.
 *
 * Memory:   the scorer owns all of it.
 * Not here: opening one (methods/lm_scorer.h).
 */
#ifndef SELLA_METHODS_LM_SCORER_STATE_H
#define SELLA_METHODS_LM_SCORER_STATE_H

#include "methods/inside.h"
#include "methods/lm_prefix.h"
#include "methods/lm_scorer.h"
#include "methods/soft.h"

typedef struct sella_lm_scorer {
    sella_scorer base;
    sella_lm lm;
    sella_lm_scorer_options options;
    sella_pass *pass;   /* NULL for vectors alone */
    int budget;         /* tokens of a batch */
    float *answer;      /* [budget, C] */
    float *soft_rows;   /* [budget, C] */
    sella_lm_prefix prefix;
} sella_lm_scorer;

/* Soft tokens of queries, where the run has them; otherwise both stay zeroed. Release both. */
sella_status sella_lm_scorer_soft(const sella_lm_scorer *s, const sella_query *query_n, int64_t N,
                                  sella_refs *refs, sella_soft *soft, sella_err *err);
/* What the language model said of queries becomes their logits: logit_n [N] times its factor, and
 * intercept and residual added, where the run has them. */
sella_status sella_lm_scorer_finish(const sella_lm_scorer *s, const sella_query *query_n, int64_t N,
                                    double *logit_n, sella_err *err);
/* What the language model says of rendered rows: logit_n[row number]. soft: vectors of their refs;
 * not looked at when no row has soft tokens. */
sella_status sella_lm_scorer_rows(sella_lm_scorer *s, const sella_rows *rows,
                                  const sella_soft *soft, double *logit_n, const sella_talk *talk,
                                  sella_err *err);

extern const sella_inside_ops sella_lm_inside;      /* lm_inside.c */
extern const sella_inside_ops sella_vectors_inside; /* for score=vectors */

#endif
