/* loop.h - the training loop: steps, evaluations, early stopping, checkpoints, records. Knows a parameter table and callbacks, no model.
 *
 * Does:     Runs callbacks step by step. A step accumulates gradients; the loop calls the optimizer. Every draw of a step must come from (seed, epoch, step)
 *           through base/rng.h, so that resuming needs no skipping. Best parameters on the evaluation metric are kept and restored at the end.
 *           Killed at any moment and run again with the same folder, the result has the same bytes as without.
 * Memory:   borrowed tables; own optimizer and best copy.
 * Threads:  one loop per thread.
 */
#ifndef SELLA_TRAIN_LOOP_H
#define SELLA_TRAIN_LOOP_H

#include "base/log.h"
#include "train/checkpoint.h"
#include "train/optimizer.h"

typedef struct sella_loop_step {
    int64_t epoch;    /* from 0 */
    int64_t index;    /* step inside the epoch, from 0 */
    int64_t step;     /* from 0 over all epochs */
    double loss;      /* out: mean loss of the step */
    double units;     /* out: units of progress done (rows) */
    json_t *record;   /* out, may stay NULL: further figures for metrics.jsonl (new reference, the loop takes it) */
} sella_loop_step;

typedef struct sella_loop {
    const char *stage;               /* "stage1", in records, progress and checkpoints */
    sella_param_table *const *tables; /* [n] */
    int n;
    sella_optimizer_config optimizer;
    sella_schedule schedule;
    double lr;
    double warmup_ratio;     /* share of all steps */
    int64_t epochs;          /* at most */
    int64_t steps_per_epoch; /* may be 0 only when epochs is 0 */
    double units_per_epoch;  /* for progress */
    const char *unit;        /* "rows" */
    int (*group)(void *user, int64_t step, int64_t total); /* which training group a step updates (-1 all); NULL: all */
    sella_status (*run_step)(void *user, sella_loop_step *step, sella_err *err);
    /* Evaluation after every `evaluate_every` epochs (0: never) and, when evaluate_steps > 0, every so many steps; higher metric is better. Fills a record. */
    sella_status (*evaluate)(void *user, double *metric, json_t **record, sella_err *err);
    int64_t evaluate_every;
    int64_t evaluate_steps;
    int64_t patience;        /* evaluations without improvement before stopping; 0: never stop */
    int64_t min_epochs;      /* no stop before */
    bool keep_best;          /* restore the best parameters at the end */
    const char *checkpoint_dir; /* NULL: no checkpoints */
    double checkpoint_seconds;  /* 0: after every step (tests) */
    const char *metrics_path;   /* metrics.jsonl, NULL: none. One documented JSON object per record; resumed runs do not write a record twice */
    const sella_talk *talk;
    void *user;
} sella_loop;

typedef struct sella_loop_result {
    int64_t epochs; /* completed */
    int64_t steps;
    double best;       /* NaN when never evaluated */
    int64_t best_epoch;
    double last_loss;
    double seconds;    /* of all calls together */
} sella_loop_result;

/* SELLA_INTERRUPTED after a checkpoint when talk wants to stop; SELLA_DIVERGED names the tensor or the loss. On SELLA_OK the checkpoints are removed by the
 * caller once it has saved its artifact. */
sella_status sella_loop_run(const sella_loop *loop, sella_loop_result *result, sella_err *err);

#endif
