/* import.h - what the importers share: one job, the event log, rejected rows.
 *
 * Does:     sella_import (sella/data.h) checks the options and makes a job; one importer per format
 *           fills it: `split` the draft itself, the others the draft's ids and titles and an event
 *           log, which a protocol (data/protocol.h) turns into rows.
 * Memory:   the job owns all it holds.
 * Threads:  one job per thread.
 */
#ifndef SELLA_DATA_IMPORT_H
#define SELLA_DATA_IMPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "data/dataset_write.h"
#include "sella/data.h"

/* Bytes a line or record of a source may have. */
enum { SELLA_LINE_MAX = 4 << 20 };

/* Times that are believed: the years 1 to 9999 in seconds since 1970 (UTC). */
#define SELLA_TIME_MIN INT64_C(-62135596800)
#define SELLA_TIME_MAX INT64_C(253402300799)

/* Ratings in source order. */
typedef struct sella_events {
    int64_t count, capacity;
    int32_t *user_n, *item_n; /* [count] numbers of the draft */
    uint8_t *label_n;         /* [count] */
    int64_t *time_n;          /* [count] seconds UTC */
} sella_events;

enum { SELLA_REJECT_REASONS = 12 };

typedef struct sella_rejects {
    bool skip; /* leave bad rows out; otherwise they are errors */
    int reasons;
    struct {
        const char *reason; /* static words: "rating", "item without title" */
        int64_t count;
        char example[240];  /* sentence of the first one */
    } of[SELLA_REJECT_REASONS];
} sella_rejects;

typedef struct sella_import_job {
    const sella_import_options *options;
    const sella_talk *talk;
    double like_at;
    const char *protocol;
    const char *noun;
    sella_draft draft;
    sella_events events;
    sella_rejects rejects;
    json_t *rules, *source; /* objects, for dataset.json */
    /* rows of items without a title are left out and counted, also without skip */
    bool drop_untitled;
    /* ratings that the importer left out while reading, for being outside the protocol's window */
    int64_t outside;
    double ticked;          /* monotonic start of the reading, for progress */
    int64_t rows_ticked;    /* rows read by the last report */
} sella_import_job;

sella_status sella_import_split(sella_import_job *job, sella_err *err);
sella_status sella_import_movielens(sella_import_job *job, sella_err *err);
sella_status sella_import_csv(sella_import_job *job, sella_err *err);
sella_status sella_import_amazon(sella_import_job *job, sella_err *err);
sella_status sella_import_recbole(sella_import_job *job, sella_err *err);

/* What sella_import does with its options checked: `fill` puts ids, titles and events (or rows)
 * into the job, then the protocol is applied and the folder written. options->format only names the
 * source. */
sella_status sella_import_with(const sella_import_options *options,
                               sella_status (*fill)(sella_import_job *job, void *context,
                                                    sella_err *err),
                               void *context, const sella_talk *talk, char **json, sella_err *err);

sella_status sella_events_add(sella_events *events, int32_t user, int32_t item, bool label,
                              int64_t time, sella_err *err);

/* Note in source.files of dataset.json that a file was read: its name without folders, and the XXH3
 * of its contents: those given, or those of the file at path (read once more, in pieces). */
sella_status sella_import_note(sella_import_job *job, const char *path, const void *data,
                               size_t bytes, sella_err *err);
sella_status sella_import_note_file(sella_import_job *job, const char *path, sella_err *err);

/* Every 64 Ki rows: progress with rows a second, and SELLA_INTERRUPTED when the caller wants to
 * stop. done, total in bytes of the source. */
sella_status sella_import_tick(sella_import_job *job, int64_t row, double done, double total,
                               sella_err *err);

/* Drop events of items without a title (skip, drop_untitled) or name the first such item
 * (SELLA_MISSING). */
sella_status sella_import_need_titles(sella_import_job *job, sella_err *err);

/* "2001-06-01T00:41:48Z", "2001-06-01 00:41:48+02:00", "2001-06-01", seconds, milliseconds (from
 * 10^11 on, either sign) -> seconds UTC. */
sella_status sella_parse_time(const char *text, size_t bytes, int64_t *seconds, sella_err *err);

/* With skip: count a SELLA_FORMAT or SELLA_MISSING under its reason and return SELLA_OK. Otherwise
 *            return status as it is. */
sella_status sella_reject(sella_rejects *rejects, const char *reason, sella_status status,
                          const sella_err *why);
/* Put "path:line: " before a row's sentence if it is not there, then count it (SELLA_OK) or fail
 * with it in err. */
sella_status sella_reject_row(sella_import_job *job, const char *reason, sella_status status,
                              sella_err *why, const char *path, int64_t line, sella_err *err);

#endif
