/* experiment.h - the tables and figures of the SeLLa-Rec paper on a data set: runs what is missing,
 * reuses what is there, writes the report.
 *
 * Does:     Fill sella_experiment_options, call sella_experiment. DIR/runs/ROW/seed-N are run
 *           folders as sella_train makes them, DIR/index.html the page, DIR/tables/ its tables as
 *           CSV, DIR/figures/ its pictures and their data. Names: docs/experiment.md.
 * Memory:   the JSON text is owned by the caller: free().
 * Threads:  one experiment per process at a time; internally parallel.
 * Paper:    section 5.
 */
#ifndef SELLA_EXPERIMENT_H
#define SELLA_EXPERIMENT_H

#include <stdint.h>

#include "sella/status.h"
#include "sella/talk.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sella_experiment_options {
    /* "table2" ... "table6", "fig5" ... "fig8", "all" (sella_experiment_names) */
    const char *name;
    const char *dataset;  /* folder made by import */
    const char *output;   /* DIR */
    const char *split;    /* "test" or "valid"; NULL: "test" */
    const char *model;    /* language model; NULL: rows that need one are left out, and named */
    const char *preset;   /* "default" or "paper", for every row; NULL: "default" */
    /* [set_count] "key=value" for every row; what makes a row is set behind it */
    const char *const *set;
    int set_count;
    const uint64_t *seed; /* [seed_count]; none: 0 */
    int seed_count;
    int threads;          /* 0: physical cores */
    int dry_run;          /* tell what would be trained, train nothing, write nothing */
    const char *weights;  /* of the model, as in sella_train_options */
    /* fig8: by id; NULL: of the first liked row of the split whose user is known and has liked 5
     * items or more */
    const char *user;
    const char *item;     /* fig8: by id; NULL: of that row, or of the user's first liked one */
} sella_experiment_options;

/* *json:
 * {"name","dataset","split","page","rows":[{"row","label","method","state":"complete"|"missing"|"no
 * model"|"not built",
 * "seeds","auc","auc_sd","uauc","uauc_sd"}],"trained","reused","figures":[...],"drawn"}; of a dry
 * run {"name","runs":[{"row","seed",
 * "state":"complete"|"resume"|"train","seconds","peak_mb"}],"left_out":[{"row","why"}],"seconds"}.
 * Returns: SELLA_ARG for a wrong name or setting, or when all rows of the name need a model and
 *          none is given; SELLA_STATE when a run
 * in DIR has other settings, other data or another backbone; what sella_train returns.
 * SELLA_INTERRUPTED: the same call goes on. */
SELLA_API sella_status sella_experiment(const sella_experiment_options *options,
                                        const sella_talk *talk, char **json, sella_err *err);

/* Names; NULL-terminated static array. */
SELLA_API const char *const *sella_experiment_names(void);

#ifdef __cplusplus
}
#endif
#endif
