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
    uint64_t seed;
    int seed_given;      /* 1: seed was asked for, so a run that was begun with another one is not resumed */
    int threads;         /* 0: physical cores */
    int resume;
    int dry_run;         /* resolve, estimate, train nothing */
    const char *weights; /* of the model: "expanded" to f32, as "stored", or "auto" (NULL): by free memory; resume takes what was recorded */
} sella_train_options;

/* Train (or resume, or estimate). *json: result.json's object, or the dry-run estimate {"method","rows","tokens","steps","parameters":{"trainable","frozen"},
 * "seconds","peak_mb","settings":{...}} on one line. Returns SELLA_INTERRUPTED when talk->stop asked to. */
SELLA_API sella_status sella_train(const sella_train_options *options, const sella_talk *talk, char **json, sella_err *err);

/* Names and one-line help of the methods that are built; NULL-terminated static arrays. */
SELLA_API const char *const *sella_method_names(void);
SELLA_API const char *sella_method_help(const char *name);

/* One row of the settings table, for --help and docs; index from 0; returns 0 past the end. Strings are static. */
typedef struct sella_setting_info {
    const char *name, *type, *default_text, *range, *unit, *help;
} sella_setting_info;
SELLA_API int sella_setting_at(int index, sella_setting_info *out);

#ifdef __cplusplus
}
#endif
#endif
