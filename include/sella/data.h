/* data.h - from a log and a catalogue to a data set folder, and what is in one.
 *
 * Does:     Fill sella_import_options, call sella_import: one format in, one folder out, written at
 *           once or not at all. sella_stats describes a folder. Formats, protocols and rules:
 *           docs/import.md; the folder: docs/formats.md.
 * Memory:   texts returned are owned by the caller: free().
 * Threads:  pure on separate outputs.
 * Paper:    section 5.1.
 */
#ifndef SELLA_DATA_H
#define SELLA_DATA_H

#include <stdint.h>

#include "sella/status.h"
#include "sella/talk.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Zero-initialise; NULL and 0 mean the default. */
typedef struct sella_import_options {
    /* "movielens", "amazon", "recbole", "csv" or "split" (sella_import_formats) */
    const char *format;
    /* [input_count] split, movielens: one folder (movielens: or zip); csv: one or more files;
     * amazon: reviews and metadata; recbole: .inter and perhaps .item */
    const char *const *inputs;
    int input_count;
    const char *output;        /* folder to write: new or empty */
    /* "time" (default), "ml-1m", "amazon-book", "leave-one-out"; split: must be NULL */
    const char *protocol;
    /* "movie", "book" or "item"; default: movie for movielens, book for amazon-book, else item */
    const char *noun;
    /* label = 1 when the rating is at least this; 0: 4, amazon-book 5, unless it is given as 0 */
    double like_at;
    /* time: parts of the rows of train, valid, test, sum 1; all 0: .8 .1 .1 */
    double fractions[3];
    /* csv, recbole: "user=U,item=I,rating=R|label=L,time=T[,title=N]", header names; NULL: the
     * usual ones */
    const char *columns;
    const char *items;         /* csv: file with item and title columns (same mapping), or NULL */
    /* 1: leave malformed rows out and say how many, instead of refusing the file */
    int skip_bad;
    int like_at_given;         /* 1: like_at holds as it is, also when it is 0 */
} sella_import_options;

/* Import. *json (may be NULL): one line, the object of sella_stats plus
 * {"rejected":{"reason":count}}. Returns SELLA_ARG for wrong options, SELLA_FORMAT for malformed
 * input (file:line in the sentence), SELLA_STATE when the output is not empty or a split would be
 * empty, SELLA_INTERRUPTED when talk->stop asked to. Nothing is left behind on failure. */
SELLA_API sella_status sella_import(const sella_import_options *options, const sella_talk *talk,
                                    char **json, sella_err *err);

/* One more observation of a grown data set. */
typedef struct sella_grow_row {
    const char *user, *item; /* external ids */
    /* of the item, or NULL: what the data set has; rows of items without any title are left out and
     * counted */
    const char *title;
    int label;               /* 1 liked, 0 not */
    int64_t time;            /* seconds since 1970, UTC */
} sella_grow_row;

/* Zero-initialise; NULL means the default. */
typedef struct sella_grow_options {
    const char *dataset;  /* whose rows of all splits come first; NULL: the new rows alone */
    const char *output;   /* folder to write: new or empty */
    const char *protocol; /* "time" (default) or "leave-one-out": cuts all rows anew */
    const char *noun;     /* default: the data set's, else item */
    /* name of where the new rows come from, for dataset.json; NULL: "feedback" */
    const char *source;
    /* Hand every new row to `row`, in the order of the log; stop at its first failure and return
     * it. */
    sella_status (*rows)(void *user,
                         sella_status (*row)(void *context, const sella_grow_row *row,
                                             sella_err *err),
                         void *context, sella_err *err);
    void *user;
} sella_grow_options;

/* A data set of old rows and new ones. *json (may be NULL) as sella_import. */
SELLA_API sella_status sella_grow(const sella_grow_options *options, const sella_talk *talk,
                                  char **json, sella_err *err);

/* Names of formats and of protocols; NULL-terminated static arrays. */
SELLA_API const char *const *sella_import_formats(void);
SELLA_API const char *const *sella_import_protocols(void);

/* Describe a data set folder on one line of JSON (SPEC section 2):
 * {"users","items","checksum","splits":{"train":{"rows","users","items","label_mean","warm_rows",
 * "cold_rows","first_time","last_time",
 *  "strict_warm_rows","user_cold_rows","item_cold_rows","both_cold_rows","uauc_users",
 *  "single_row_users","one_class_users","empty_history_rows",
 *  "history_mean"},...},"noun","protocol","train_users"} */
SELLA_API sella_status sella_stats(const char *dataset, char **json, sella_err *err);
/* The same as a table for people, lines ended by '\n'. */
SELLA_API sella_status sella_stats_text(const char *dataset, char **text, sella_err *err);

#ifdef __cplusplus
}
#endif
#endif
