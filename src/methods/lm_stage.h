/* lm_stage.h - one training stage through the language model, whatever it trains: sampled rows,
 * steps, checkpoints, records.
 *
 * Does:     The caller sets name, prefix and what it trains (lm with its adapter, soft, logit,
 *           tables), then open -> train -> record -> [save artifacts, finish] -> release. open
 *           samples the rows of train (and of valid, with PREFIX.evaluate) and makes pass and
 *           scratch; train measures where the intercept starts, runs the loop and its checkpoints,
 *           and keeps the best parameters on valid when they are evaluated. Where nothing below
 *           layer lora.first_layer trains and prompts are tokens alone, what enters that layer is
 *           kept in stages/NAME/hidden-train.bin (and -valid.bin) from its first computation on, as
 *           train.cache_hidden says: the same bytes of parameters with and without (lm_step.h).
 *           finish removes the files.
 * Memory:   owns corpora, step and lm; tables, soft and vectors are borrowed.
 * Threads:  one stage at a time.
 * Paper:    eqs (4), (5), (11).
 */
#ifndef SELLA_METHODS_LM_STAGE_H
#define SELLA_METHODS_LM_STAGE_H

#include "methods/lm_step.h"
#include "methods/method.h"
#include "methods/teacher.h"
#include "train/loop.h"

typedef struct sella_lm_stage {
    const sella_job *job;
    const char *name;   /* of its folder, its records and its draws */
    const char *prefix; /* of its settings: "stage1" or "stage3" */
    sella_lm lm;        /* opened by the caller, with its adapter */
    const sella_soft_source *soft; /* NULL: no soft tokens */
    sella_vectors *vectors;        /* of the residual; NULL: none */
    sella_residual residual;
    sella_param_table *logit;      /* logit.bias, logit.gain: rows may be missing */
    bool dropout;                  /* of the adapter */
    /* trained in the first and second half of the steps; 0: all at once */
    int first_group, second_group;
    sella_corpus train, valid;
    sella_teacher teacher; /* stage1.teacher and stage1.offset, where the adapter is trained */
    sella_lm_step step;
    bool hidden_told; /* that hidden states cannot be written any more */
    double label_mean;
    sella_lm_start start;
    sella_loop_result result;
} sella_lm_stage;

/* SELLA_STATE when all sampled rows of train have one label. */
sella_status sella_lm_stage_open(sella_lm_stage *stage, sella_err *err);
/* Train the trainable rows of tables [n] and of logit; the checkpoint stays until _finish. */
sella_status sella_lm_stage_train(sella_lm_stage *stage, sella_param_table *const *tables, int n,
                                  sella_err *err);
/* New record for done.json with what the stage saw and measured; the caller adds what was trained.
 * NULL without memory. */
json_t *sella_lm_stage_record(const sella_lm_stage *stage);
/* Write done.json, after the artifacts, and remove the checkpoints. */
sella_status sella_lm_stage_finish(sella_lm_stage *stage, const json_t *record, sella_err *err);
void sella_lm_stage_release(sella_lm_stage *stage);

/* Are hidden states worth keeping by train.cache_hidden, when every one of them is asked for
 * `times` times? */
bool sella_lm_stage_keeps(const sella_settings *settings, int64_t times);
/* train.tokens, stage1.tree_cap, stage1.share, PREFIX.batch: how a stage's rows are packed. */
sella_corpus_options sella_lm_stage_packing(const sella_settings *settings, const char *prefix,
                                            sella_refs_kind refs, uint64_t seed);

#endif
