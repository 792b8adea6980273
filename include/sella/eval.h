/* eval.h - figures of scored rows, from prediction files: AUC, UAUC, logloss, bootstrap intervals,
 * paired comparison.
 *
 * Does:     sella_metrics_file() reads a CSV with columns user, item, label (0 or 1), score and
 *           optionally warm (0 or 1), found by name, and computes all figures.
 *           sella_compare_files() tells whether one file's scores are better than another's on the
 *           same rows. The _json functions give the text that `sella metrics --json` and `sella
 *           compare --json` print. AUC: rank-based, ties count one half, all rows pooled. UAUC:
 *           unweighted mean of AUC over users that have rows of both labels; the others are skipped
 *           and counted. logloss: mean of -log p(label), p clipped to [1e-15, 1 - 1e-15].
 *           Intervals: bootstrap over users, percentiles 2.5 and 97.5 of the draws.
 * Memory:   structs are plain values; JSON texts are free()d by the caller.
 * Threads:  pure; draws are computed in parallel and do not depend on the number of threads.
 */
#ifndef SELLA_EVAL_H
#define SELLA_EVAL_H

#include <stddef.h>
#include <stdint.h>

#include "sella/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Figures of a set of rows. A figure that does not exist is NaN (null in JSON). */
typedef struct sella_figures {
    int64_t rows;
    double auc;           /* NaN: one class only */
    double uauc;          /* NaN: no user has both labels */
    int64_t uauc_users;   /* users that UAUC is the mean of */
    int64_t uauc_skipped; /* users with one row or one class */
    double logloss;       /* NaN: no rows, or a score outside [0, 1], which is no probability */
} sella_figures;

/* A 95 % interval; NaN when no draw has the figure. */
typedef struct sella_interval {
    double low, high;
} sella_interval;

/* What sella_metrics_file finds. */
typedef struct sella_metrics {
    sella_figures all;
    int has_warm;             /* 1: the file has a column warm, and `warm` and `cold` are filled */
    sella_figures warm, cold; /* rows with warm = 1, and with warm = 0 */
    sella_interval auc_ci, uauc_ci;
    int draws;        /* of the intervals; 0: they are NaN */
    uint64_t rows_id; /* a hash of users, items and labels in order: the same rows share it */
} sella_metrics;

/* What sella_compare_files finds: differences are a - b. */
typedef struct sella_comparison {
    int64_t rows, users;
    double auc_a, auc_b, auc_diff; /* NaN when a figure does not exist */
    double uauc_a, uauc_b, uauc_diff;
    /* of the differences: every draw takes the same users for both */
    sella_interval auc_ci, uauc_ci;
    int draws;
} sella_comparison;

/* All figures of one prediction file.
 *
 *   path  in   CSV (RFC 4180), UTF-8
 *   draws in   0 to 1,000,000 bootstrap draws; 0: no intervals
 *   seed  in   of the draws: equal seeds, equal intervals
 *   out   out
 *
 * Returns: SELLA_OK; SELLA_MISSING or SELLA_IO when the file cannot be read; SELLA_FORMAT, naming
 *          file and
 * line, when a row is malformed or there is none; SELLA_ARG for a wrong number of draws;
 * SELLA_MEMORY. */
SELLA_API sella_status sella_metrics_file(const char *path, int draws, uint64_t seed,
                                          sella_metrics *out, sella_err *err);

/* The same from the bytes of a CSV in memory; name stands for the file's name in sentences. */
SELLA_API sella_status sella_metrics_csv(const char *name, const char *data, size_t bytes,
                                         int draws, uint64_t seed, sella_metrics *out,
                                         sella_err *err);

/* Compare the scores of two prediction files on the same rows. Rows are paired by place; files that
 * hold the same rows in another order are paired by (user, item) when each pair occurs once.
 *
 *   draws in   1 to 1,000,000
 *
 * Returns: as sella_metrics_file; SELLA_STATE, naming the first line that differs, when the rows
 *          are not the
 * same. */
SELLA_API sella_status sella_compare_files(const char *path_a, const char *path_b, int draws,
                                           uint64_t seed, sella_comparison *out, sella_err *err);

/* One line of JSON without a newline; reals have 17 significant digits.
 *   metrics:
 *   {"method","dataset","split","rows","auc","uauc","uauc_users","uauc_skipped_users","logloss",
 *   "subsets","auc_ci",
 *            "uauc_ci"}: the first three are null (a file does not say them); subsets is
 *            {"warm":{...},"cold":{...}} or {}
 *   comparison: {"rows","users","auc_a","auc_b","auc_diff","auc_ci","uauc_diff","uauc_ci","draws"}
 * Returns: SELLA_OK and *json, free()d by the caller; SELLA_MEMORY. */
SELLA_API sella_status sella_metrics_json(const sella_metrics *metrics, char **json,
                                          sella_err *err);
SELLA_API sella_status sella_comparison_json(const sella_comparison *comparison, char **json,
                                             sella_err *err);

#ifdef __cplusplus
}
#endif
#endif
