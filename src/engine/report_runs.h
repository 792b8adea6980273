/* report_runs.h - the runs that a report is about: found, read, their figures taken from their
 * prediction files, seeds of one method together.
 *
 * Does:     sella_runs_read finds every folder with a run.json at or below the given paths. Runs
 *           that differ in their seed alone are one group with mean and standard deviation. Figures
 *           are those of predictions-SPLIT.csv, or, where a run has been scored on samples of a
 *           split only, of the largest of them.
 * Memory:   a sella_runs owns everything.
 * Threads:  pure.
 * Not here: opening a run for use (sella/engine.h); the page (engine/report.c).
 */
#ifndef SELLA_ENGINE_REPORT_RUNS_H
#define SELLA_ENGINE_REPORT_RUNS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/log.h"
#include "data/dataset.h"
#include "sella/eval.h"

typedef struct sella_run_facts {
    char *path;
    char *label;       /* last part of the path, without a seed-N at its end */
    json_t *document;  /* run.json */
    json_t *result;    /* result.json; NULL: not complete */
    const char *method, *preset, *dataset, *checksum, *fingerprint; /* borrowed; "" when absent */
    int64_t seed, users, items;
    bool scored[SELLA_SPLITS]; /* predictions-SPLIT.csv is there, or that of a sample */
    sella_metrics metrics[SELLA_SPLITS];
    int64_t sample[SELLA_SPLITS];       /* rows that were drawn from the split; 0: all */
    uint64_t sample_seed[SELLA_SPLITS]; /* of the drawing */
    int64_t train_sample; /* train rows that language-model stages saw; 0: all, or there are none */
    int group;
} sella_run_facts;

/* Mean and standard deviation (n - 1; NaN below 2 values) of one figure over a group's runs that
 * have it. */
typedef struct sella_mean {
    double mean, sd;
    int count;
} sella_mean;

typedef enum sella_figure_of {
    SELLA_OF_AUC,
    SELLA_OF_UAUC,
    SELLA_OF_LOGLOSS,
    SELLA_OF_WARM_AUC,
    SELLA_OF_WARM_UAUC,
    SELLA_OF_COLD_AUC,
    SELLA_OF_COLD_UAUC,
    SELLA_OF_COUNT
} sella_figure_of;

typedef struct sella_runs {
    sella_run_facts *run; /* [count] */
    int count, room;
    int groups;
} sella_runs;

/* paths [n]: runs, or folders with runs in them (at most 4 levels). A run below a folder that
 * cannot be read is left out with a warning; one named itself is an error. SELLA_MISSING when there
 * is none. */
sella_status sella_runs_read(const char *const *path_n, int n, const sella_talk *talk,
                             sella_runs *out, sella_err *err);
void sella_runs_release(sella_runs *runs);

/* First complete run of a group, or first. */
const sella_run_facts *sella_runs_first(const sella_runs *runs, int group);
sella_mean sella_runs_mean(const sella_runs *runs, int group, sella_split_id split,
                           sella_figure_of which);
/* How many runs of the group have predictions of this split. */
int sella_runs_scored(const sella_runs *runs, int group, sella_split_id split);

/* One figure of what a prediction file says. */
double sella_metrics_figure(const sella_metrics *metrics, sella_figure_of which);
/* Mean and sd of values that are finite. */
sella_mean sella_mean_of(const double *value_n, int n);

#endif
