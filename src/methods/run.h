/* run.h - a RUN folder: what one training was told, what each stage left, what it measured.
 *
 * Does:     create (or resume) while training, open afterwards. A run is complete when result.json
 *           is there (written last).
 * Layout:   SPEC section 2: run.json, metrics.jsonl, result.json, predictions-SPLIT.csv, adapter/,
 *           collab.safetensors, projection.safetensors, users.tsv (uid: all users of train),
 *           items.tsv (iid, title: the whole catalogue), template.txt (the prompt template used),
 *           checkpoints/, stages/<stage>/ with done.json when that stage is complete. Also
 *           history.npy + history_start.npy + history_time.npy: every train user's positives of
 *           train and valid, oldest first, so that recommending needs no data set.
 * Memory:   strings and arrays are owned by the run, valid until sella_run_close.
 * Threads:  one writer; an opened run may be read by many.
 */
#ifndef SELLA_METHODS_RUN_H
#define SELLA_METHODS_RUN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "base/settings.h"
#include "data/dataset.h"

typedef struct sella_run {
    char *path;
    const char *method;         /* name, see methods/method.h */
    char *preset;               /* "default", "paper" or "fast": where the settings began */
    sella_settings *settings;   /* resolved */
    uint64_t seed;
    int threads;                /* that it was trained with */
    char *dataset_name;
    char *dataset_path;
    char dataset_checksum[17];
    char *noun;
    char *model_path;           /* NULL when the method has no language model */
    char model_fingerprint[17];
    char *from;                 /* run whose finished stages it reuses; NULL */
    char *init_from;            /* run whose parameters it began with; NULL */
    /* train users; row r of user tables = line r after the header of users.tsv */
    int32_t users;
    int32_t items;              /* whole catalogue */
    const char *const *user_id; /* [users] */
    const char *const *item_id; /* [items] */
    const char *const *title;   /* [items] */
    const int32_t *history;       /* pool of item rows */
    const int64_t *history_start; /* [users + 1] into history */
    /* seconds of each entry of history, 0 = unknown; NULL in runs of earlier versions */
    const int64_t *history_time;
    bool complete;              /* result.json is there */
    json_t *document;           /* run.json as it is on disk */
    struct sella_run_impl *impl;  /* what the arrays above point into */
} sella_run;

/* What a new run is made of. All borrowed. */
typedef struct sella_run_new {
    const char *method;
    const char *preset;
    const sella_settings *settings;
    uint64_t seed;
    const sella_dataset *dataset;
    const char *model_path;        /* NULL: no language model */
    const char *model_fingerprint; /* NULL likewise */
    const char *from;              /* NULL: trains everything itself */
    const char *init_from;         /* NULL: starts anew */
    int threads;
} sella_run_new;

/* New folder, written aside and renamed: PATH may be missing or an empty folder. Refused when it
 * holds anything; a run goes on with sella_run_resume. */
sella_status sella_run_create(const char *path, const sella_run_new *make, sella_run **out,
                              sella_err *err);
/* Open a run that is there, complete or not, to go on with it: method, data set checksum, model
 * fingerprint and thread count must be those recorded (one sentence names what differs); settings
 * are the recorded ones. resume of a complete run: the caller sees run->complete. */
sella_status sella_run_resume(const char *path, const sella_run_new *make, sella_run **out,
                              sella_err *err);
/* True when PATH holds a run.json. */
bool sella_run_there(const char *path);
/* Open for use. Every file is checked against run.json's counts. */
sella_status sella_run_open(const char *path, sella_run **out, sella_err *err);
void sella_run_close(sella_run *run);

int32_t sella_run_find_user(const sella_run *run, const char *id); /* -1: not in train */
int32_t sella_run_find_item(const sella_run *run, const char *id); /* -1: not in the catalogue */
/* exact (case-insensitive); -1 */
int32_t sella_run_find_title(const sella_run *run, const char *title);
/* -1 when nothing is near */
int32_t sella_run_nearest_title(const sella_run *run, const char *title);
/* Recorded positives of a user, oldest first: returns their number, *items borrowed; 0 for -1. */
int32_t sella_run_history(const sella_run *run, int32_t user, const int32_t **items);

/* Path inside the run ("stages/distil/semantic.safetensors"), free(). NULL only when memory is
 * out. */
char *sella_run_file(const sella_run *run, const char *name);
/* The same, and the folder that the name stands in is made when it is missing. */
sella_status sella_run_place(const sella_run *run, const char *name, char **path, sella_err *err);

/* Stages: done.json {"stage", "seconds", "trained":[names of components], "frozen":[...],
 *         ...figures}. */
bool sella_run_stage_done(const sella_run *run, const char *stage);
/* Write it; record stays the caller's. */
sella_status sella_run_stage_finish(sella_run *run, const char *stage, const json_t *record,
                                    sella_err *err);
/* Read it: *out a new reference. */
sella_status sella_run_stage_record(const sella_run *run, const char *stage, json_t **out,
                                    sella_err *err);
/* Read every done.json that is there: a damaged one is refused (SELLA_FORMAT) before a stage is
 * skipped because of it. */
sella_status sella_run_stages_check(const sella_run *run, sella_err *err);

/* What was decided from the machine or a measured rate, recorded once and reused by --resume (key
 * -> value in run.json "decided"). */
sella_status sella_run_decide(sella_run *run, const char *key, int64_t value, int64_t *decided,
                              sella_err *err);

/* True, and the value, when it was decided before. */
bool sella_run_decided(const sella_run *run, const char *key, int64_t *value);

/* Write result.json: the last file of a run, behind its predictions. */
sella_status sella_run_finish(sella_run *run, const json_t *result, sella_err *err);

#endif
