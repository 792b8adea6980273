/* experiment_part.h - the parts of an experiment: its rows, the plan of runs, the sections of its
 * page.
 *
 * Does:     experiment.c plans, trains and scores; experiment_tables.c and experiment_figures.c
 *           make the page from what is in DIR/runs.
 * Memory:   a sella_experiment_plan owns its runs; rows are constants.
 * Threads:  one object per thread.
 * Paper:    section 5.
 */
#ifndef SELLA_ENGINE_EXPERIMENT_PART_H
#define SELLA_ENGINE_EXPERIMENT_PART_H

#include "base/settings.h"
#include "data/dataset.h"
#include "engine/report_part.h"
#include "methods/method.h"
#include "sella/experiment.h"

/* Tables and figures as bits. */
enum {
    SELLA_PART_TABLE2 = 1 << 0,
    SELLA_PART_TABLE3 = 1 << 1,
    SELLA_PART_TABLE4 = 1 << 2,
    SELLA_PART_TABLE5 = 1 << 3,
    SELLA_PART_TABLE6 = 1 << 4,
    SELLA_PART_FIG5 = 1 << 5,
    SELLA_PART_FIG6 = 1 << 6,
    SELLA_PART_FIG7 = 1 << 7,
    SELLA_PART_FIG8 = 1 << 8,
    SELLA_PARTS = 9
};

/* One trained configuration that tables and figures are made of. */
typedef struct sella_experiment_row {
    const char *key;     /* folder below DIR/runs */
    const char *label;   /* as the paper calls it */
    const char *group;   /* of table 3; "" elsewhere */
    const char *method;
    const char *set[3];  /* what makes it, behind the user's settings */
    unsigned parts;
    const char *from[2]; /* rows whose finished stages it may reuse, best first */
} sella_experiment_row;

const sella_experiment_row *sella_experiment_rows(int *count);
const sella_experiment_row *sella_experiment_find(const char *key);
bool sella_experiment_control(const sella_experiment_row *row);
/* 0 when the name is unknown. */
unsigned sella_experiment_parts(const char *name);

typedef enum sella_run_state {
    SELLA_RUN_COMPLETE,
    SELLA_RUN_RESUME,
    SELLA_RUN_TRAIN
} sella_run_state;

typedef struct sella_planned_run {
    const sella_experiment_row *row;
    const sella_method *method;
    uint64_t seed;
    char *path;
    sella_run_state state;
    const char **set;         /* [set_count] the user's, then the row's */
    int set_count;
    sella_settings *settings; /* resolved */
    const char *from;         /* path of an earlier planned run, or NULL */
} sella_planned_run;

typedef struct sella_experiment_plan {
    const sella_experiment_options *options;
    unsigned parts;
    sella_split_id split;
    const sella_dataset *dataset;
    char fingerprint[17]; /* of the model; "" without one */
    sella_planned_run *run; /* [count] in the order of work */
    int count;
} sella_experiment_plan;

/* Rows, settings and states, all checked; nothing is written. */
sella_status sella_experiment_plan_make(const sella_experiment_options *options,
                                        const sella_dataset *dataset, const sella_talk *talk,
                                        sella_experiment_plan *out, sella_err *err);
void sella_experiment_plan_release(sella_experiment_plan *plan);
/* Why a row of the parts asked for is not in the plan: "not built in this version", "needs
 * --model"; NULL when it is. */
const char *sella_experiment_left_out(const sella_experiment_plan *plan,
                                      const sella_experiment_row *row);

/* ---- the page ---- */

/* Group of the runs that belong to the row, or -1. */
int sella_experiment_group(const sella_runs *runs, const sella_experiment_row *row);
/* Tables 2 to 6, those that were asked for or that something is there for; also as
 * DIR/tables/NAME.csv. */
sella_status sella_experiment_tables(sella_report_page *page, const sella_experiment_plan *plan,
                                     sella_err *err);
/* Figures 5 to 8 likewise. */
sella_status sella_experiment_figures(sella_report_page *page, const sella_experiment_plan *plan,
                                      sella_err *err);
/* Figure 8 of the run `sella`, first seed; nothing when it is not there. */
sella_status sella_experiment_attention(sella_report_page *page, const sella_experiment_plan *plan,
                                        sella_err *err);

#endif
