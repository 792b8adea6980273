/* corpus.h - the rows that a language-model stage trains on: sampled, gathered by user into trees,
 * dealt out to steps.
 *
 * Does:     open -> for every (epoch, index): the trees of that step. Trees are made once (rows of
 *           one user, in the data set's order); every epoch shuffles the trees, and step k of S
 *           takes trees until (k + 1) / S of the epoch's rows are dealt out, at least one: about
 *           rows / S rows from many users. All of it follows from (seed, epoch, index), so that
 *           resuming needs no skipping.
 * Memory:   the corpus owns queries, labels and plan, not prompts: those are rendered again for
 *           each step.
 * Threads:  one object per thread.
 */
#ifndef SELLA_METHODS_CORPUS_H
#define SELLA_METHODS_CORPUS_H

#include "backbone/hidden_cache.h"
#include "methods/lm.h"
#include "methods/refs.h"

typedef struct sella_corpus_options {
    int budget;     /* tokens of a packed batch */
    int tree_cap;   /* tokens of a tree; 0: budget */
    bool share;
    /* what soft tokens follow from: rows with unequal vectors must not share a slot */
    sella_refs_kind refs;
    int64_t batch;  /* rows of a step, about */
    uint64_t seed;
} sella_corpus_options;

typedef struct sella_corpus {
    sella_corpus_options options;
    int64_t rows;
    sella_query *query_n;  /* [rows] by user, then in the data set's order */
    float *label_n;        /* [rows] */
    int64_t trees;
    int64_t *tree_first;   /* [trees + 1] into order */
    int64_t *order;        /* [rows] indexes into query_n */
    int32_t *tree_tokens;  /* [trees] */
    int64_t tokens;        /* packed tokens of an epoch */
    int64_t row_tokens;    /* what the same rows have one by one */
    int64_t steps;         /* of an epoch */
    int64_t epoch;         /* that the two arrays below are for, -1: none */
    int64_t *shuffled;     /* [trees] */
    int64_t *step_first;   /* [steps + 1] into shuffled */
    /* hidden states of the trees on disk, owned by the stage; NULL: none are kept */
    sella_hidden_cache *hidden;
} sella_corpus;

/* index_k [k]: rows of the split (valid: for evaluation while training). */
sella_status sella_corpus_open(const sella_lm *lm, const sella_dataset *dataset,
                               sella_split_id split, const int64_t *index_k, int64_t k,
                               const sella_corpus_options *options, sella_corpus *out,
                               sella_err *err);
void sella_corpus_release(sella_corpus *corpus);

/* Trees of a step: *tree borrowed until the next call with another epoch. Returns their number. */
int64_t sella_corpus_step(sella_corpus *corpus, int64_t epoch, int64_t index, const int64_t **tree);

#endif
