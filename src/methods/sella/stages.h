/* stages.h - the three stages of SeLLa-Rec and the distillation between the first two.
 *
 * Does:     Each *_run does one stage unless its done.json is there, and goes on from its
 *           checkpoint when there is one:
 *             stage1  trains the adapter            adapter/, stages/stage1/collab.safetensors
 *                                                   (logit.bias)
 *             distil  trains nothing                stages/distil/semantic.safetensors
 *             align   trains tables and Proj        stages/align/{collab,projection}.safetensors
 *             stage3  trains tables, Proj and Warm  collab.safetensors, projection.safetensors
 *           done.json names what was trained and what was frozen (Table 1 of the paper).
 * Threads:  one stage at a time.
 * Paper:    sections 4.1 to 4.3, eqs (1) to (11); REFERENCE section 7.
 */
#ifndef SELLA_METHODS_SELLA_STAGES_H
#define SELLA_METHODS_SELLA_STAGES_H

#include "collab/align.h"
#include "methods/lm_step.h"
#include "methods/method.h"
#include "train/loop.h"

sella_status sella_stage1_run(sella_job *job, sella_err *err);
sella_status sella_distil_run(sella_job *job, sella_err *err);
sella_status sella_align_run(sella_job *job, sella_err *err);
sella_status sella_stage3_run(sella_job *job, sella_err *err);

/* Copy a finished stage 1 (and a distillation that fits) of another run into this one; nothing to
 * do when this run has them. Refused when data set, model, seeded sample, template or adapter
 * settings differ. */
sella_status sella_stages_reuse(sella_job *job, sella_err *err);

/* Copy the files of a folder, the one named `last` (or NULL) last: it says that the rest is
 * complete. */
sella_status sella_stage_copy(const char *from, const char *to, const char *last, sella_err *err);

/* Stage 1 in --preset paper, for every method that begins with it. */
#define SELLA_PAPER_STAGE1                                                                         \
    "template=paper", "history.window=sliding", "history.length=10", "lora.rank=64",               \
        "lora.alpha=16", "lora.dropout=0.05", "lora.targets=all", "stage1.lr=8e-5",                \
        "stage1.epochs=1", "stage1.batch=128", "stage1.schedule=cosine", "stage1.warmup=0.01",     \
        "stage1.weight_decay=0.01", "stage1.beta2=0.95", "stage1.clip=1", "stage1.intercept=no",   \
        "stage1.teacher=none", "stage1.offset=no", "stage1.centre=no", "train.run=1"

/* Soft tokens that the ablation leaves in the prompt. */
sella_slot_set sella_ablation_slots(const sella_settings *settings);
/* logit.bias of a run that has one, else 0. file: "stages/stage1/collab.safetensors" or
 * "collab.safetensors". */
sella_status sella_stage_bias(const sella_run *run, const char *file, float *bias, sella_err *err);
/* Add logit.bias to a table when stage1.intercept asks for it. */
sella_status sella_stage_intercept(const sella_settings *settings, sella_param_table *logit,
                                   sella_err *err);

/* align.* of the settings. */
void sella_stage_align_config(const sella_settings *settings, sella_align_config *out);
/* Make the rows of a table whose names begin with prefix trainable or frozen. */
sella_status sella_stage_train_table(sella_param_table *table, const char *prefix, bool trainable,
                                     sella_err *err);
/* Seed of one stage's draws: stages of one run do not share them. */
uint64_t sella_stage_seed(const sella_run *run, const char *stage);

/* New record for done.json with "stage" and "seconds"; then lists of what was trained and frozen
 * are added. */
json_t *sella_stage_record_new(const char *stage, double seconds);
/* Put the rows of a table under "trained" or "frozen". */
void sella_stage_record_table(json_t *record, const sella_param_table *table);
void sella_stage_record_name(json_t *record, bool trained, const char *name);

/* The stage that trains on prompts with features, for an estimate. */
typedef struct sella_stage_plan {
    sella_slot_set slots; /* of soft tokens */
    int tokens;           /* of a slot */
    sella_refs_kind refs;
    const sella_codes *codes; /* texts in the slots instead; NULL: none */
    bool adapter, soft;   /* what gets gradients: the adapter, soft tokens */
    /* trained vectors of the language model's width; others are counted by who asks */
    int64_t width_rows;
} sella_stage_plan;

/* The stages through the language model that a method has; scoring valid is added to them. */
typedef struct sella_stage_choice {
    bool stage1, distil, align;
    /* the prompts of train once, as text vectors; valid is scored without the language model */
    bool text;
    const sella_stage_plan *features; /* NULL: no such stage */
} sella_stage_choice;
/* What the stages chosen will take: out is set, not added to. */
sella_status sella_stages_estimate(const sella_estimate_ask *ask, const sella_stage_choice *stages,
                                   sella_estimate *out, sella_err *err);
/* sella_method.estimate of prompts of titles alone: stage 1, or scoring when nothing is trained. */
sella_status sella_titles_estimate(const sella_estimate_ask *ask, sella_estimate *out,
                                   sella_err *err);

/* Items that the distillation covers: wanted_i [I] 1 or 0. *count how many. */
sella_status sella_distil_wanted(const sella_settings *settings, uint64_t seed,
                                 const sella_dataset *dataset, int64_t train_rows,
                                 int64_t eval_rows, uint8_t **wanted_i, int32_t *count,
                                 sella_err *err);

#endif
