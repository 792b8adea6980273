/* lm_scorer.h - the scorer of every language-model method: prompts in prefix trees, soft tokens
 * where the method has them.
 *
 * Does:     z = [logit.gain * weight(i) *] (head[yes] - head[no]) . h [+ logit.bias] [+ z_cf].
 *           zeroshot: the bare backbone. tallrec: with adapter. Others: with soft tokens.
 *           sella_vectors_scorer_open: z_cf alone (score=vectors), which needs no backbone.
 * Memory:   the scorer owns what it opens and takes vectors and source over.
 * Threads:  one scorer per thread.
 */
#ifndef SELLA_METHODS_LM_SCORER_H
#define SELLA_METHODS_LM_SCORER_H

#include "methods/lm.h"
#include "methods/soft.h"
#include "methods/vectors.h"

typedef struct sella_lm_scorer_options {
    bool adapter;         /* load RUN/adapter */
    sella_slot_set slots;
    sella_residual residual; /* what of z_cf is added */
    float bias;           /* logit.bias */
    float gain;           /* logit.gain; 1 without */
    sella_soft_source soft; /* taken over also on failure; zeroed: no soft tokens */
    sella_codes codes;      /* taken over alike; zeroed: no texts in the slots */
    /* of the residual; allocated by sella_alloc, ready; taken over alike; NULL: none */
    sella_vectors *vectors;
} sella_lm_scorer_options;

sella_status sella_lm_scorer_open(const sella_run *run, sella_backbone *backbone,
                                  const sella_lm_scorer_options *options, sella_scorer **out,
                                  sella_err *err);
sella_status sella_vectors_scorer_open(const sella_run *run, sella_vectors *vectors,
                                       sella_scorer **out, sella_err *err);

#endif
