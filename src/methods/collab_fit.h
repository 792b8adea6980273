/* collab_fit.h - a collaborative model as a method of its own: train on all rows, stop early on
 * valid AUC, save, open, score.
 *
 * Does:     Shared by mf, lightgcn, sasrec, din: a method file is its presets and what is its own.
 *           Loss: BCE on the logits of all train rows, or (lightgcn.loss=bpr) for each positive row
 *           and one item drawn among those the user did not like: softplus(-(z_ui - z_uj)). Adam
 *           with coupled L2; mf also by stochastic gradients (collab.optimizer=sgd). Draws are
 *           functions of (seed, epoch, step): resuming is exact.
 * Layout:   collab.safetensors: the model's table and what is derived from it (collab/collab.h).
 * Threads:  as a method's.
 * Paper:    section 3; REFERENCE 4.2.
 */
#ifndef SELLA_METHODS_COLLAB_FIT_H
#define SELLA_METHODS_COLLAB_FIT_H

#include "collab/collab.h"
#include "methods/method.h"
#include "methods/refs.h"
#include "train/loop.h"

/* collab.*, lightgcn.*, sasrec.* of the settings. */
void sella_collab_config_of(const sella_settings *settings, int32_t users, int32_t items,
                            sella_collab_config *out);

/* What the model's vectors of a query follow from. */
sella_refs_kind sella_collab_refs(const sella_collab_ops *ops, const sella_collab_config *config);
/* Freeze what the model's vectors do not read (ops->logit_only; with `biases` these too): where
 * they alone are trained it has no gradient and would just decay. */
sella_status sella_collab_freeze_logit(sella_collab *c, bool biases, sella_err *err);

/* The loop that collab.* describe, every epoch evaluated; the caller adds what it trains: tables,
 * n, the steps, run_step, evaluate, user. Paths borrowed. */
sella_loop sella_collab_loop(const sella_job *job, const char *stage, const char *checkpoints,
                             const char *metrics);
/* The whole stage `name` (the model's name): skipped when it is done, goes on from its
 * checkpoint. */
sella_status sella_collab_fit(sella_job *job, const char *name, sella_err *err);
/* The same, beginning with the model's tensors in a file of the run; start NULL: as the model
 * begins by itself. */
sella_status sella_collab_fit_from(sella_job *job, const char *name, const char *start,
                                   sella_err *err);
sella_status sella_collab_fit_check(const sella_settings *settings, const char *name,
                                    const sella_dataset *dataset, sella_err *err);
sella_status sella_collab_fit_estimate(const sella_settings *settings, const char *name,
                                       const sella_dataset *dataset, sella_estimate *out,
                                       sella_err *err);
/* A scorer for what fit left. */
sella_status sella_collab_fit_open(const sella_run *run, const char *name, sella_scorer **out,
                                   sella_err *err);

/* The four functions of a method that is a collaborative model of its name. */
sella_status sella_collab_method_check(const sella_method *method, const sella_settings *settings,
                                       const sella_dataset *dataset, sella_err *err);
sella_status sella_collab_method_estimate(const sella_estimate_ask *ask, sella_estimate *out,
                                          sella_err *err);
sella_status sella_collab_method_train(sella_job *job, sella_err *err);
sella_status sella_collab_method_open(const sella_run *run, sella_backbone *backbone,
                                      sella_scorer **out, sella_err *err);
/* din's settings in preset default, which are also those of ctrl-din's second step. */
extern const char *const sella_din_usual[];

/* A model with the values of a file of a run (collab.safetensors), ready to score; trainable: with
 * gradients (prepare it before training). */
sella_status sella_collab_load(const sella_run *run, const char *name, const char *file,
                               bool trainable, sella_collab **out, sella_err *err);
/* Train rows of the job's data set in the run's numbers, told to the model. */
sella_status sella_collab_prepare_job(const sella_job *job, sella_collab *c, sella_err *err);

/* A batch made of queries: histories cut to the last `length` (0: all), text entries left out. */
typedef struct sella_collab_rows {
    sella_collab_batch batch;
    int32_t *user_n, *item_n, *count_n, *pool;
    const int32_t **history_n;
} sella_collab_rows;
/* place_n [N] or NULL: which queries; with items = false every item is -1 (only user vectors are
 * asked for). */
sella_status sella_collab_rows_make(const sella_query *query_n, const int64_t *place_n, int64_t N,
                                    int32_t length, bool items, sella_collab_rows *out,
                                    sella_err *err);
void sella_collab_rows_release(sella_collab_rows *rows);
/* First entry of a query's history that the model reads; history_count when it reads none. */
int32_t sella_collab_rows_start(const sella_collab *c, const sella_query *query);

#endif
