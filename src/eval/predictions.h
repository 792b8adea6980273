/* predictions.h - prediction files: user,item,label,score[,warm] as CSV.
 *
 * Layout:   header line, one line a row in the split's order, score with 9 significant digits; ids
 *           quoted when they need it (RFC 4180).
 * Memory:   sella_predictions owns its arrays.
 * Threads:  pure.
 */
#ifndef SELLA_EVAL_PREDICTIONS_H
#define SELLA_EVAL_PREDICTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/file.h"

typedef struct sella_predictions {
    int64_t count;
    char **user; /* [count] ids (strings are shared between rows of one user) */
    char **item;
    int32_t *user_code; /* [count] equal codes for equal ids, by first appearance from 0 */
    int32_t *item_code; /* [count] the same for items */
    uint8_t *label;
    double *score;
    uint8_t *warm; /* NULL when the file has no such column */
    int64_t *line; /* [count] line in the file where the row begins, from 1 */
    void *pool;
} sella_predictions;

/* Columns are found by name, others are ignored; ids are non-empty UTF-8, scores finite, labels
 * (and warm) 0 or 1; quoted fields may hold line ends; lines end with \n or \r\n. A file with a
 * header and no rows has count 0. Errors name file and line. */
sella_status sella_predictions_read(const char *path, sella_predictions *out, sella_err *err);
/* The same from bytes in memory; `where` names them in sentences. */
sella_status sella_predictions_parse(const char *where, const char *data, size_t bytes,
                                     sella_predictions *out, sella_err *err);
void sella_predictions_release(sella_predictions *predictions);

/* One field of a CSV line, quoted when it needs it (RFC 4180). */
sella_status sella_csv_field_write(sella_writer *writer, const char *text, sella_err *err);
/* Write atomically. user_id, item_id: [N] borrowed strings; warm_n may be NULL: no such column.
 * SELLA_DIVERGED for a score that is not finite. */
sella_status sella_predictions_write(const char *path, const char *const *user_id,
                                     const char *const *item_id, const uint8_t *label_n,
                                     const double *score_n, const uint8_t *warm_n, int64_t N,
                                     sella_err *err);
#endif
