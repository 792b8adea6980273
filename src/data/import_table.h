/* import_table.h - what the importers of tables share: which column is what, and the records of a
 * log or a catalogue.
 *
 * Does:     A form says how a kind of table is written and what its columns are usually called; the
 *           user's map (--columns) goes before it. parse a map -> read tables into the job ->
 *           release.
 * Memory:   the map owns its names.
 * Threads:  one job per thread.
 */
#ifndef SELLA_DATA_IMPORT_TABLE_H
#define SELLA_DATA_IMPORT_TABLE_H

#include "data/delimited.h"
#include "data/import.h"

typedef enum sella_column {
    SELLA_COLUMN_USER,
    SELLA_COLUMN_ITEM,
    SELLA_COLUMN_RATING,
    SELLA_COLUMN_LABEL,
    SELLA_COLUMN_TIME,
    SELLA_COLUMN_TITLE,
    SELLA_COLUMNS
} sella_column;

typedef struct sella_table_form {
    char delimiter;                            /* 0: found out */
    bool quotes;
    /* header names to try when it is not mapped, NULL-terminated */
    const char *const *tried_n[SELLA_COLUMNS];
    /* "" or what to do when a log has no titles and there is no catalogue */
    const char *no_titles;
    const char *no_ratings;                    /* the same for a log without rating and label */
    /* Check the header and rewrite table->names to the names alone (same count, none empty); NULL:
     * they are that. */
    sella_status (*header)(sella_delimited *table, sella_err *err);
} sella_table_form;

typedef struct sella_column_map {
    char *name_n[SELLA_COLUMNS]; /* given by the user; NULL: try the usual ones */
} sella_column_map;

/* "user=U,item=I,rating=R|label=L,time=T,title=N", any part of it; NULL is none. */
sella_status sella_column_map_parse(const char *text, sella_column_map *map, sella_err *err);
void sella_column_map_release(sella_column_map *map);

/* Read a log, or a catalogue (item and title). has_catalogue: the log need not have titles. */
sella_status sella_import_table(sella_import_job *job, const sella_table_form *form,
                                const sella_column_map *map, const char *path, bool catalogue,
                                bool has_catalogue, sella_err *err);

#endif
