/* features.h - methods that put features of user and item into the prompt: their training stage and
 * their scorer.
 *
 * Does:     A method makes a sella_features (what stands in the slots, what is trained) and calls
 *             train:  [stage 1, or its adapter from --from] -> the stage of this name, with
 *                     settings stage3.*
 *             open:   the same features, read from the run -> a scorer
 *           collab.safetensors gets the rows of `collab` and logit.bias; projection.safetensors
 *           those of `projection`; adapter/ the adapter as the last stage left it. When both stages
 *           train it, stage 1's stays in stages/stage1/adapter.
 * Memory:   the struct is the caller's; tables are owned by the method (usually inside soft.self).
 * Threads:  one stage at a time.
 * Paper:    section 5.1, the baselines Prompt4NR, PersonPrompt, CoLLM and BinLLM; REFERENCE 2, 4.3,
 *           5, 6.
 */
#ifndef SELLA_METHODS_FEATURES_H
#define SELLA_METHODS_FEATURES_H

#include "collab/collab.h"
#include "methods/lm_scorer.h"
#include "methods/method.h"
#include "methods/sella/stages.h"

typedef struct sella_features {
    const char *stage;             /* name of the stage: the method's */
    bool train_adapter;            /* with the features; otherwise it stays as stage 1 left it */
    sella_soft_source soft;        /* owned; zeroed: no soft tokens */
    /* NULL, or: codes as text in the slots, made of tables that are trained or read */
    sella_status (*encode)(const void *coder, sella_codes *out, sella_err *err);
    const void *coder;             /* of encode; borrowed */
    sella_param_table *collab;     /* tables of collab.safetensors; NULL: none */
    /* computed from them, saved beside them and never trained; NULL: none */
    sella_param_table *derived;
    sella_param_table *projection; /* of projection.safetensors; NULL: none */
} sella_features;

/* True when the method's settings begin with stage 1 (lora.start, or the adapter stays frozen). */
bool sella_features_stage1(const sella_settings *settings, bool train_adapter);

/* Template, then stage 1 or what --from has of it, when it is asked for. */
sella_status sella_features_begin(sella_job *job, bool train_adapter, sella_err *err);
/* The stage itself, unless it is done. Trains the trainable rows of both tables, the intercept, and
 * the adapter. */
sella_status sella_features_train(sella_job *job, sella_features *features, sella_err *err);
/* Read a finished run; features are taken over, also on failure. */
sella_status sella_features_open(const sella_run *run, sella_backbone *backbone,
                                 sella_features *features, sella_scorer **out, sella_err *err);

/* Width of the language model, from a tensor [rows, L] of a finished run's collab.safetensors. */
sella_status sella_features_recorded_width(const sella_run *run, const char *tensor, int *L,
                                           sella_err *err);
/* For sella_method.check: the adapter's settings make sense. */
sella_status sella_features_check(const sella_method *method, const sella_settings *settings,
                                  const sella_dataset *dataset, sella_err *err);

/* Fresh features of each method; close out->soft. trains: with what only training needs. */
sella_status sella_prompt4nr_features(const sella_settings *settings, int L, uint64_t seed,
                                      sella_features *out, sella_err *err);
/* c, taken over also on failure, is ready. */
sella_status sella_collm_features(const sella_settings *settings, sella_collab *c, int L,
                                  uint64_t seed, sella_features *out, sella_err *err);
sella_status sella_personprompt_features(const sella_settings *settings, int32_t users,
                                         int32_t items, int L, bool trains, uint64_t seed,
                                         sella_features *out, sella_err *err);

#endif
