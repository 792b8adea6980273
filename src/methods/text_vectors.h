/* text_vectors.h - what the bare backbone makes of a row's prompt as text: one vector for each
 * sampled row of train.
 *
 * Does:     The prompt (history titles and target title, no label) goes through the frozen backbone
 *           in packed batches whose rows share prefixes; a row's vector is the mean over its tokens
 *           of the last layer's hidden states, after the final norm. Made once for a run and kept
 *           in it; finished rows are on a tape, so that a killed run loses at most
 *           checkpoint.seconds of work.
 * Layout:   stages/text/text.safetensors: text.weight [K, L], row k = the k-th sampled row of train
 *           in ascending order.
 * Memory:   K x L floats while it works.
 * Threads:  one stage at a time.
 * Paper:    Li et al. 2023 (CTRL); REFERENCE 4.3.
 */
#ifndef SELLA_METHODS_TEXT_VECTORS_H
#define SELLA_METHODS_TEXT_VECTORS_H

#include "backbone/pass.h"
#include "methods/method.h"

/* Make the file unless the stage is done. index_k [K] ascending rows of train. The run must have
 * its template. */
sella_status sella_text_vectors_run(sella_job *job, const int64_t *index_k, int64_t K,
                                    sella_err *err);
/* Read it: table gets the one row text.weight [K, L], frozen. */
sella_status sella_text_vectors_read(const sella_run *run, int64_t K, sella_param_table *table,
                                     sella_err *err);

/* Mean hidden state of each row of a batch, over all of its tokens: the pass holds the backbone.
 *   hidden  scratch [T, C]   token hidden states, then their sums from the root on
 *   mean_n  out     [N, C]   by place in the batch
 */
sella_status sella_text_means(sella_pass *pass, const sella_tree_batch *batch, int C, float *hidden,
                              float *mean_n, sella_err *err);

#endif
