/* loop.h - the training loop: steps, evaluations, early stopping, checkpoints, records. Knows a
 * parameter table and callbacks, no model.
 *
 * Does:     Runs callbacks step by step. A step accumulates gradients; the loop calls the
 *           optimizer. Every draw of a step must come from (seed, epoch, step) through base/rng.h,
 *           so that resuming needs no skipping. Best parameters on the evaluation metric are kept
 *           and restored at the end. Killed at any moment and run again with the same folder, the
 *           result has the same bytes as without.
 * Layout:   metrics.jsonl, one JSON object a line: {"stage", "event", "epoch" (from 1), "step"
 *           (steps done), ...}, where event is
 *             "step"   "loss" (mean over the rows since the last such record), "lr", "norm" (when
 *                      clipping), what run_step recorded
 *             "eval"   "metric" (null when it does not exist), "best" (true when it is the best so
 *                      far), what evaluate recorded
 *             "epoch"  "loss" (mean over the rows of the epoch), "lr"
 *           and every record ends with "seconds" since the stage began (all calls together). A
 *           stage that starts without a checkpoint drops the records of its own name (and all that
 *           follows them); one that resumes drops what was written after the checkpoint: no record
 *           is there twice.
 * Memory:   borrowed tables; own optimizer and best copy.
 * Threads:  one loop per thread.
 */
#ifndef SELLA_TRAIN_LOOP_H
#define SELLA_TRAIN_LOOP_H

#include "base/log.h"
#include "train/checkpoint.h"
#include "train/optimizer.h"

typedef struct sella_loop_step {
    int64_t epoch;  /* from 0 */
    int64_t index;  /* step inside the epoch, from 0 */
    int64_t step;   /* from 0 over all epochs */
    double lr;      /* rate of this step */
    double loss;    /* out: mean loss of the step */
    double units;   /* out: units of progress done (rows), > 0 */
    /* out, may stay NULL: object with further figures for metrics.jsonl (the loop takes it) */
    json_t *record;
} sella_loop_step;

typedef struct sella_loop {
    const char *stage;                /* "stage1", in records, progress and checkpoints */
    sella_param_table *const *tables; /* [n] */
    int n;
    sella_optimizer_config optimizer;
    sella_schedule schedule;
    double lr;
    double warmup_ratio;     /* share of all steps, rounded up; not the last */
    int64_t epochs;          /* at most; 0: nothing is trained */
    int64_t steps_per_epoch; /* may be 0 only when epochs is 0 */
    double units_per_epoch;  /* for progress */
    const char *unit;        /* "rows" */
    /* Which training group a step updates (-1 all); NULL: all. */
    int (*group)(void *user, int64_t step, int64_t total);
    /* True: run_step moves the tables itself, at step->lr; there is no optimizer (`optimizer` is
     * not read) and no group. What such a step remembers must be in the tables, and one of them
     * must not end half done. */
    bool own_steps;
    /* Accumulates gradients of one step. SELLA_INTERRUPTED is allowed: the step is done again on
     * resume. */
    sella_status (*run_step)(void *user, sella_loop_step *step, sella_err *err);
    /* Evaluation after every `evaluate_every` epochs (0: never) and, when evaluate_steps > 0, every
     * so many steps; higher metric is better, NaN does not exist (it is neither better nor counted
     * by patience). *record may be set to an object. NULL: never. */
    sella_status (*evaluate)(void *user, double *metric, json_t **record, sella_err *err);
    int64_t evaluate_every;
    int64_t evaluate_steps;
    int64_t patience;           /* evaluations without improvement before stopping; 0: never stop */
    int64_t min_epochs;         /* no stop before */
    bool keep_best;             /* restore the best parameters at the end */
    const char *checkpoint_dir; /* NULL: no checkpoints */
    double checkpoint_seconds;  /* 0: after every step (tests) */
    const char *metrics_path;   /* metrics.jsonl, NULL: none */
    int64_t record_steps;       /* a "step" record every so many steps; 0: none */
    const sella_talk *talk;
    void *user;
} sella_loop;

typedef struct sella_loop_result {
    int64_t epochs; /* completed */
    int64_t steps;
    double best;        /* NaN when never evaluated */
    /* epochs completed or begun at the best evaluation, from 1; 0: never evaluated */
    int64_t best_epoch;
    double last_loss;   /* of the last step; NaN without steps */
    double seconds;     /* of all calls together */
} sella_loop_result;

/* SELLA_INTERRUPTED after a checkpoint when talk wants to stop; SELLA_DIVERGED names the tensor or
 * the loss; SELLA_STATE when the checkpoint belongs to another stage, step count or rate. On
 * SELLA_OK the checkpoints are removed by the caller once it has saved its artifact. result may be
 * NULL. */
sella_status sella_loop_run(const sella_loop *loop, sella_loop_result *result, sella_err *err);

#endif
