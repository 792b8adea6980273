/* lm_step.h - one optimizer step of a language-model stage: the rows of some trees through packed
 * batches, loss, gradients.
 *
 * Does:     z = [gain *] (head[yes] - head[no]) . h [+ logit.bias] [+ z_cf] [+ offset]; loss = mean
 *           BCE over the step's rows, however they fall into batches and trees. With `centre` each
 *           batch has an intercept b of its own while gradients are made, and their mean is taken
 *           out: otherwise steps are spent on following the mean label of the few users at hand
 *           (docs/math.md). logit.bias then follows b. With an adapter that begins at layer K > 0
 *           and prompts of tokens alone, the layers below K are computed tree by tree and those
 *           from K on for the packed batch. Trees are the same in every epoch, batches are not: so
 *           what enters layer K for a tree has the same bits in every epoch and in every batch, and
 *           may as well be read from corpus->hidden, where it is written when it was computed.
 *           Gradients are accumulated: into the adapter where it is trainable, through soft rows
 *           into what makes them, and into logit.bias and logit.gain.
 * Memory:   owns pass and scratch.
 * Threads:  internally parallel.
 * Paper:    eqs (3) to (5), (10), (11).
 */
#ifndef SELLA_METHODS_LM_STEP_H
#define SELLA_METHODS_LM_STEP_H

#include "methods/corpus.h"
#include "methods/soft.h"
#include "methods/vectors.h"

/* Prior variance of a batch's own intercept, and the share of it that moves logit.bias. */
#define SELLA_BATCH_VARIANCE 2.0
#define SELLA_BATCH_FOLLOW 0.1

typedef struct sella_lm_step {
    const sella_lm *lm;
    sella_corpus *corpus;
    const sella_soft_source *soft; /* NULL: no soft tokens */
    sella_vectors *v;          /* of the residual; NULL without one */
    sella_param_table *logit;  /* logit.bias, logit.gain: rows may be missing */
    sella_residual residual;   /* what of z_cf is added */
    bool dropout;              /* of the adapter */
    uint64_t seed;             /* of dropout */
    /* [corpus rows] probabilities to learn in place of the labels (borrowed); NULL */
    const float *target_n;
    const float *offset_n;     /* [corpus rows] added to the logit (borrowed); NULL */
    bool centre;               /* a batch has its own intercept in training */
    bool train_adapter;        /* some of the adapter is trainable: set by _open */
    /* K: layers below are computed tree by tree, or read; 0: none. Set by _open */
    int first_layer;
    float *entry;              /* [budget, C] what enters layer K; NULL when it is 0 */
    sella_pass *pass;
    float *answer, *danswer;   /* [budget, C] */
    float *soft_rows, *dsoft_rows; /* [budget, C] */
    float *z, *dz, *model;     /* [budget] */
    sella_rows rows;
} sella_lm_step;

/* Fields up to centre are set by the caller, what is trainable stays as it is; makes pass and
 * scratch. */
sella_status sella_lm_step_open(sella_lm_step *step, sella_err *err);
void sella_lm_step_release(sella_lm_step *step);

/* Trees tree_k [k] of the corpus. number: of the step, for dropout. backward = false: loss and
 * logits only.
 *   loss  out                 mean over the step's rows (with the term of the soft tokens'
 *                             source when backward)
 *   z_n   out [corpus rows]   logits, at each row's place in corpus->query_n; or NULL */
sella_status sella_lm_step_run(sella_lm_step *step, const int64_t *tree_k, int64_t k,
                               int64_t number, bool backward, double *loss, int64_t *rows,
                               float *z_n, sella_err *err);

/* What the untrained parameters of a stage score on its first step's rows, and where the intercept
 * starts. */
typedef struct sella_lm_start {
    int64_t rows;
    double auc;       /* NaN: one class */
    double mean_model; /* of the language model's logit, with its gain */
    /* so that the mean logit meets log-odds of label_mean, or with the residual the mean of z_cf */
    double bias;
} sella_lm_start;
/* Requires logit.bias = 0 when there is one. label_mean: of the rows that the stage sees. */
sella_status sella_lm_step_start(sella_lm_step *step, double label_mean, sella_lm_start *out,
                                 sella_err *err);

/* AUC of another corpus (valid) with the present parameters, without dropout; its budget must be
 * the step's. */
sella_status sella_lm_step_auc(sella_lm_step *step, sella_corpus *valid, double *auc,
                               sella_err *err);

#endif
