/* inside.h - how one score comes about: additive terms of the logit, scores with something taken
 * out, the prompt with its attention.
 *
 * Does:     A scorer that has `inside` answers what its kind can answer; sella_variants_score works
 *           for every scorer. Taking out a title of the history means: wherever the model reads the
 *           history (the prompt's window, the collaborative window), it reads the same entries
 *           without that one; none moves in from before the window. Taking out a soft token means:
 *           its piece of the template, the token and what is said around it, is not in the prompt,
 *           which otherwise begins and goes on as before; the collaborative residual stays.
 * Memory:   sella_prompt_view is released by sella_prompt_view_release.
 * Threads:  as the scorer.
 * Paper:    section 5.6 and Fig. 8; Table 5 removes the same tokens in training.
 */
#ifndef SELLA_METHODS_INSIDE_H
#define SELLA_METHODS_INSIDE_H

#include "data/prompt.h"
#include "methods/scorer.h"
#include "methods/vectors.h"

/* What is taken out: nothing, one soft token, or one entry of the query's history. */
typedef struct sella_variant {
    sella_slot slot; /* SELLA_SLOT_NONE: no soft token */
    int32_t entry;   /* -1: no entry */
} sella_variant;

/* Terms that add up to a logit. Those of depth 1 add up to the term of depth 0 before them. */
enum { SELLA_TERMS_MOST = 16 };
typedef struct sella_terms {
    int count;
    struct {
        const char *name; /* static text */
        double value;
        int depth;
    } term[SELLA_TERMS_MOST];
} sella_terms;
void sella_terms_add(sella_terms *terms, const char *name, double value, int depth);

/* One query's prompt and the attention in it. */
typedef struct sella_prompt_view {
    sella_rows rows;             /* one row */
    sella_prompt_part *part_p;   /* [parts] history places count from the first title shown */
    int parts;
    int32_t first;               /* entry of the query's history that the first title shown is */
    int H;                       /* heads */
    float *mean;                 /* [K, T, T] as sella_attention_capture; NULL when K is 0 */
    /* [K, H, T] what the answer position takes, by head; NULL when not asked for */
    float *answer_head;
} sella_prompt_view;
void sella_prompt_view_release(sella_prompt_view *view);

typedef struct sella_inside_ops {
    /* First entry of the query's history that the score reads; history_count: none. */
    int32_t (*history_start)(const sella_scorer *scorer, const sella_query *query);
    /* Terms of a query whose logit is known. NULL: the logit is not a sum. */
    sella_status (*terms)(sella_scorer *scorer, const sella_query *query, double logit,
                          sella_terms *out, sella_err *err);
    /* Logits of one query with each of the N variants: logit_n out [N]. NULL: the history is all
     * that can be taken out, and the model has one window for it, which is that of a history cut to
     * it beforehand. */
    sella_status (*variants)(sella_scorer *scorer, const sella_query *query,
                             const sella_variant *variant_n, int N, double *logit_n,
                             const sella_talk *talk, sella_err *err);
    /* Slots of the prompt that hold soft tokens or codes, and how many layers there are. The
     * following are NULL without a language model. */
    sella_slot_set (*slots)(const sella_scorer *scorer);
    int (*layers)(const sella_scorer *scorer);
    /* layer_k [K] from 0, ascending; heads: answer_head too. SELLA_ARG when the prompt is longer
     * than eval.tokens. */
    sella_status (*view)(sella_scorer *scorer, const sella_query *query, const int *layer_k, int K,
                         bool heads, sella_prompt_view *out, sella_err *err);
} sella_inside_ops;

/* First entry of the history that a scorer reads; history_count when it reads none. A scorer
 * without `inside` is taken to read all. */
int32_t sella_inside_history_start(const sella_scorer *scorer, const sella_query *query);
/* Logits of one query with each variant, for any scorer: logit_n out [N]. Requires: entries not
 * before history_start. */
sella_status sella_variants_score(sella_scorer *scorer, const sella_query *query,
                                  const sella_variant *variant_n, int N, double *logit_n,
                                  const sella_talk *talk, sella_err *err);

/* Copies of one query, variant by variant, with the history cut to `start` and the variant's entry
 * left out. */
typedef struct sella_variant_queries {
    sella_query *query_n;    /* [N] */
    int32_t *pool;           /* [N, count - start] */
    const char **text_pool;  /* the same, NULL without text entries */
} sella_variant_queries;
sella_status sella_variant_queries_make(const sella_query *query, int32_t start,
                                        const sella_variant *variant_n, int N,
                                        sella_variant_queries *out, sella_err *err);
void sella_variant_queries_release(sella_variant_queries *queries);

/* ---- for scorers with sella_vectors ---- */

/* First entry of the history that z_cf (which = ALL) reads; history_count for b_u + b_i + b_0
 * (BIAS). */
int32_t sella_vectors_history_start(const sella_vectors *v, const sella_query *query,
                                    sella_residual which);
/* The terms of z_cf or of b_u + b_i + b_0 at `depth`; *total out: their sum. */
sella_status sella_vectors_terms(const sella_vectors *v, const sella_query *query,
                                 sella_residual which, int depth, sella_terms *terms, double *total,
                                 sella_err *err);

#endif
