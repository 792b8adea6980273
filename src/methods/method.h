/* method.h - the small interface of every METHOD, and the table of them.
 *
 * Does:     sella_method_find(name)->train(job) fills a run folder; ->open(run) gives a scorer for
 *           it. One file per method; the three stages of sella are one file each in methods/sella/.
 *           The common end (predictions on valid, figures, result.json) is done once, by
 *           methods/train.c.
 * Threads:  one job per process at a time is expected (the thread count is global to BLAS).
 */
#ifndef SELLA_METHODS_METHOD_H
#define SELLA_METHODS_METHOD_H

#include "methods/run.h"
#include "methods/scorer.h"

/* What a method's train() works with. All borrowed. */
typedef struct sella_job {
    sella_run *run;
    const sella_settings *settings; /* = run->settings */
    const sella_dataset *dataset;
    sella_backbone *backbone;       /* NULL when the method needs none */
    const char *from;               /* --from RUN: reuse its finished stages; NULL */
    /* --init-from RUN: begin with its parameters (methods/init_from.h); NULL */
    const char *init_from;
    /* rows of the sample that language-model stages see (train.rows or what a budget gave); 0:
     * all */
    int64_t train_rows;
    int64_t eval_rows;              /* rows of the sample of valid; 0: all */
    const sella_talk *talk;
} sella_job;

/* What a training would take, for --dry-run, budget.minutes and the memory check. Work is counted
 * in floating-point operations of matrix products. */
typedef struct sella_estimate {
    int64_t rows;          /* train rows that the longest stage sees */
    int64_t tokens;        /* packed tokens of all language-model stages and of scoring valid */
    /* optimizer steps of all stages (at most, where a stage may stop early) */
    int64_t steps;
    int64_t trainable;     /* parameters that some stage trains */
    int64_t frozen;        /* parameters that no stage trains */
    double model_flops;    /* of language-model stages and scoring */
    double other_flops;    /* of collaborative stages */
    double stage1_flops;   /* of model_flops: what --from saves */
    int64_t stage1_tokens; /* of tokens, likewise */
    size_t bytes;          /* peak memory without the language model's weights */
    sella_backbone_need weights; /* of the language model */
    /* hidden states on disk while the largest stage trains; 0: none are kept */
    uint64_t cache_bytes;
} sella_estimate;

typedef struct sella_method sella_method;

/* What an estimate is asked about. All borrowed. */
typedef struct sella_estimate_ask {
    const sella_method *method; /* one function may serve several */
    const sella_settings *settings;
    uint64_t seed;
    const sella_dataset *dataset;
    const char *model;             /* path of the backbone; NULL when the method needs none */
    int64_t train_rows, eval_rows; /* of the samples; 0: all */
} sella_estimate_ask;

struct sella_method {
    const char *name;
    const char *help;     /* one line for `sella help train` */
    bool needs_model;
    /* Whether a run with these settings needs the language model to score; NULL: as needs_model. */
    bool (*scores_with_model)(const sella_settings *settings);
    bool reuses;          /* --from RUN is understood */
    bool continues;       /* --init-from RUN is understood */
    /* learns nothing from labels: an empty or one-class train split is fine (zeroshot) */
    bool untrained;
    /* Settings of this method that differ from the table's defaults by preset: "key=value" lists
     * ended by NULL. */
    const char *const *preset_paper;
    const char *const *preset_default;
    const char *const *preset_fast; /* NULL: this method has no fast preset */
    /* One function may serve several methods: check and estimate are told which, train and open
     * find its name in the run. */
    /* Refuse settings that contradict each other before anything starts. NULL: nothing to check. */
    sella_status (*check)(const sella_method *method, const sella_settings *settings,
                          const sella_dataset *dataset, sella_err *err);
    /* Fill out, reading headers and titles only. NULL: only rows are told. */
    sella_status (*estimate)(const sella_estimate_ask *ask, sella_estimate *out, sella_err *err);
    /* Train all stages that are not done. Each stage is skipped when complete and resumes
     * exactly. */
    sella_status (*train)(sella_job *job, sella_err *err);
    /* Load what train left. run must have its artifacts (it need not be complete: train.c calls
     * this before result.json is written). */
    sella_status (*open)(const sella_run *run, sella_backbone *backbone, sella_scorer **out,
                         sella_err *err);
};

/* The table, in the order of SPEC's list of METHODs that are built; *count entries. */
const sella_method *const *sella_methods(int *count);
/* NULL when unknown. */
const sella_method *sella_method_find(const char *name);
/* SELLA_ARG with the nearest name when unknown. */
sella_status sella_method_get(const char *name, const sella_method **out, sella_err *err);

extern const sella_method sella_method_itembias; /* methods/itembias.c */
extern const sella_method sella_method_bias;     /* methods/bias.c */
extern const sella_method sella_method_mf;       /* methods/mf_method.c */
extern const sella_method sella_method_lightgcn; /* methods/lightgcn_method.c */
extern const sella_method sella_method_sasrec;   /* methods/sasrec_method.c */
extern const sella_method sella_method_din;      /* methods/din_method.c */
extern const sella_method sella_method_ctrl_din; /* methods/ctrl_din.c */
extern const sella_method sella_method_zeroshot; /* methods/zeroshot.c */
extern const sella_method sella_method_tallrec;  /* methods/tallrec.c */
extern const sella_method sella_method_prompt4nr;    /* methods/prompt4nr.c */
extern const sella_method sella_method_personprompt; /* methods/personprompt.c */
extern const sella_method sella_method_collm;        /* methods/collm.c */
extern const sella_method sella_method_binllm;       /* methods/binllm.c */
extern const sella_method sella_method_sella;    /* methods/sella/sella.c */

/* Rows of one user that a sample of valid or test draws together. */
#define SELLA_EVAL_RUN 4

/* Sorted indexes of a seeded sample of `rows` rows of a split: all of them when rows is 0 or not
 * smaller than the split. The sample is made of runs of up to `run` (>= 1) consecutive rows of one
 * user, in a seeded order of all runs: neighbouring rows share their history in a prompt, so that
 * they cost fewer tokens, but their labels go together too (train.run). Nested: a smaller sample is
 * part of a larger one. *index_k [*k]: free(). */
sella_status sella_sample_rows(int64_t rows, int64_t run, uint64_t seed,
                               const sella_dataset *dataset, sella_split_id split,
                               int64_t **index_k, int64_t *k, sella_err *err);

/* The one settings table of training (stage1.*, lora.*, ...): methods/training_settings.c. */
const sella_setting *sella_training_settings(size_t *count);
/* Defaults < preset of this method < config file < assignments, in this order. preset NULL:
 * "default". */
sella_status sella_training_resolve(const sella_method *method, const char *preset,
                                    const char *config_path, const char *const *assignment,
                                    int count, sella_settings **out, sella_err *err);

/* Queries for rows of a data set that may be another one than the run was trained on (matched by
 * external ids). index_k NULL: rows 0..k-1. *query_n [k] is allocated (free()); histories borrow
 * from `dataset`, or, when its catalogue is another one than the run's, from *pool (free(); else
 * NULL). */
sella_status sella_queries_from_split(const sella_run *run, const sella_dataset *dataset,
                                      sella_split_id split, const int64_t *index_k, int64_t k,
                                      sella_query **query_n, int32_t **pool, sella_err *err);

#endif
