/* delimited.h - text tables with a header: tab, comma, semicolon or bar, with or without quotes.
 *
 * Does:     open (reads the header) -> column by name -> next record ... -> release. Quoted fields
 *           may hold separators, doubled quotes and line breaks. A UTF-8 byte order mark is
 *           skipped.
 * Memory:   the buffer is borrowed; fields are valid until the next record.
 * Threads:  one reader per thread.
 */
#ifndef SELLA_DATA_DELIMITED_H
#define SELLA_DATA_DELIMITED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

typedef struct sella_field {
    const char *data; /* not NUL-terminated */
    size_t bytes;
} sella_field;

typedef struct sella_delimited {
    const char *path; /* for sentences, borrowed */
    const char *cursor, *end;
    char delimiter;
    bool quotes;
    size_t limit;     /* bytes a record may have */
    int64_t line;     /* line on which the last record began, from 1 */
    int64_t next_line;
    sella_field *field_n; /* [fields] of the last record */
    int fields, capacity;
    int columns;          /* of the header */
    sella_text unquoted;  /* fields that had to be rewritten */
    sella_text names;     /* column names, NUL-terminated */
} sella_delimited;

/* delimiter 0: the most frequent of , ; tab | in the header line. Refuses an empty file, empty and
 * repeated column names. */
sella_status sella_delimited_open(sella_delimited *table, const char *path, const void *data,
                                  size_t bytes, char delimiter, bool quotes, size_t limit,
                                  sella_err *err);
void sella_delimited_release(sella_delimited *table);

/* Index of a column, or -1. _need: SELLA_FORMAT naming the file and the columns that are there. */
int sella_delimited_column(const sella_delimited *table, const char *name);
sella_status sella_delimited_need(const sella_delimited *table, const char *name, int *column,
                                  sella_err *err);

/* The next record into field_n; *more = false at the end. Blank lines are skipped. A malformed
 * record (another number of fields, not UTF-8, NUL bytes, a bad quote, too long) is SELLA_FORMAT
 * naming file and line; the reader then stands behind it and may go on. */
sella_status sella_delimited_next(sella_delimited *table, bool *more, sella_err *err);

#endif
