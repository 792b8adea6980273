/* train.h - training a method on a data set into a run folder.
 *
 * Does:     Fill sella_train_options, call sella_train. Settings and artifacts: docs/train.md.
 * Memory:   the JSON text returned is owned by the caller: free().
 * Threads:  one training per process at a time; internally parallel.
 */
#ifndef SELLA_TRAIN_H
#define SELLA_TRAIN_H

#include <stdint.h>

#include "sella/status.h"
#include "sella/talk.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sella_train_options {
    const char *method;  /* "sella", "bias", ... (sella_method_names) */
    const char *dataset; /* folder made by import */
    const char *run;     /* folder to write */
    const char *model;   /* Hugging Face folder or GGUF file; NULL for methods without one */
    const char *preset;  /* "paper", "default", "fast"; NULL: "default" */
    const char *config;  /* YAML file or NULL */
    const char *const *set; /* [set_count] "key=value" */
    int set_count;
    const char *from;    /* RUN whose finished stages are reused, or NULL */
    /* RUN (of the same method) whose parameters are the start, on data that may have grown; NULL:
     * starts anew */
    const char *init_from;
    uint64_t seed;
    /* 1: seed was asked for, so a run that was begun with another one is not resumed */
    int seed_given;
    int threads;         /* 0: physical cores */
    int resume;
    int dry_run;         /* resolve, estimate, train nothing */
    /* of the model: "expanded" to f32, as "stored", or "auto" (NULL): by free memory; resume takes
     * what was recorded */
    const char *weights;
} sella_train_options;

/* Train (or resume, or estimate). *json: result.json's object, or the dry-run estimate
 * {"method","rows","tokens","steps","parameters":{"trainable","frozen"},
 * "seconds","peak_mb","cache_mb","settings":{...}} on one line. Returns SELLA_INTERRUPTED when
 * talk->stop asked to. */
SELLA_API sella_status sella_train(const sella_train_options *options, const sella_talk *talk,
                                   char **json, sella_err *err);

/* Train one run for each seed, one after another: options->run/seed-N, each a complete run.
 * options->seed is not used. With options->resume complete ones are kept, others go on, missing
 * ones start; without it the folder must be new or empty. options->from may be such a folder too:
 * each takes the run of its own seed. *json, also written to options->run/summary.json when all are
 * complete: {"method","dataset","split","seeds","runs":[{"seed",...figures}],
 * "mean":{...},"sd":{...},"format"} (sella_eval_seeds); with dry_run the estimate of one run, its
 * seconds times count, and "seeds".
 *
 *   seed_n in [count] distinct
 *
 * Returns: as sella_train. */
SELLA_API sella_status sella_train_seeds(const sella_train_options *options, const uint64_t *seed_n,
                                         int count, const sella_talk *talk, char **json,
                                         sella_err *err);

/* Train over a grid of settings and choose on valid: every combination in options->run/NAME, one
 * after another. What is complete there is reused, what is not is resumed; a folder with another
 * sweep is refused. A point that diverges is told in its row and does not stop the others.
 *
 *   grid   in [grid_count] "key=a,b,c", or between ';' where one stands in the list; a key of
 *   options->set may not be one seed_n in [seeds] as sella_train_seeds; seeds 0: one run a point
 *   with options->seed
 *
 * *json, also written to options->run/sweep.json (and its points to sweep.csv) after every point:
 * {"format","method","dataset","checksum","preset","split",
 * "seeds","seeds_folders","settings","grid":{key:[values]},"points":[{"name",
 * "settings":{key:value},"runs","auc","auc_sd","uauc","uauc_sd","logloss",
 * "logloss_sd","seconds"} or {"name","settings","error","runs":0}],"best":name}; best: highest AUC
 * on valid, with seeds their mean. With dry_run points have estimates
 * ("rows","tokens","steps","parameters","seconds","peak_mb") and "seconds" is their sum.
 * Returns: as sella_train; SELLA_ARG for a wrong grid, found before the first training. */
SELLA_API sella_status sella_sweep(const sella_train_options *options, const char *const *grid,
                                   int grid_count, const uint64_t *seed_n, int seeds,
                                   const sella_talk *talk, char **json, sella_err *err);

/* Names and one-line help of the methods that are built; NULL-terminated static arrays. */
SELLA_API const char *const *sella_method_names(void);
SELLA_API const char *sella_method_help(const char *name);

/* One row of the settings table, for --help and docs; index from 0; returns 0 past the end. Strings
 * are static. */
typedef struct sella_setting_info {
    const char *name, *type, *default_text, *range, *unit, *help;
} sella_setting_info;
SELLA_API int sella_setting_at(int index, sella_setting_info *out);

#ifdef __cplusplus
}
#endif
#endif
