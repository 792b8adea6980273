/* dataset_write.h - a data set in memory while it is imported, and its writing.
 *
 * Does:     init -> users and items by sella_intern_add, titles, rows in their final order -> write
 *           -> release. Writing numbers users by first appearance, finds warm rows, lays histories
 *           out so that the rows of one user point into one growing list, and publishes the folder
 *           at once.
 * Memory:   caller-held struct, owns everything.
 * Threads:  one object per thread.
 * Not here: which rows go into which split (data/protocol.h), reading of source files
 *           (data/import.h).
 * Paper:    histories as REFERENCE 1.2.
 */
#ifndef SELLA_DATA_DATASET_WRITE_H
#define SELLA_DATA_DATASET_WRITE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "data/dataset.h"
#include "data/intern.h"
#include "sella/talk.h"

/* format_version of dataset.json; bytes a title may have. */
enum { SELLA_DATASET_VERSION = 1, SELLA_TITLE_MAX = 4096 };

typedef struct sella_draft_split {
    bool present; /* the source has this split, also when it has no rows */
    int64_t rows, capacity;
    int32_t *user_n, *item_n; /* [rows] numbers of sella_draft.users and .items */
    uint8_t *label_n;         /* [rows] */
    int64_t *time_n;          /* [rows] */
    /* [rows] start in sella_draft.own, -1: the first `count` of the user's list; NULL: -1 for
     * all */
    int64_t *own_n;
    int32_t *count_n;         /* [rows] */
} sella_draft_split;

/* The growing list of one user's positives. */
typedef struct sella_draft_list {
    int32_t *item_n;
    int32_t count, capacity;
} sella_draft_list;

typedef struct sella_draft {
    sella_intern users, items;
    char **title_n; /* [titles] by item number, NULL: none */
    int32_t titles;
    sella_draft_list *list_n; /* [lists] by user number */
    int32_t lists;
    int32_t *own; /* [own_count] histories that are no beginning of their user's list */
    int64_t own_count, own_capacity;
    sella_draft_split split[SELLA_SPLITS];
    bool occurring_only; /* leave out catalogue items that no row and no history holds */
} sella_draft;

void sella_draft_release(sella_draft *draft);

/* Set the title of an item; line breaks and tabs become blanks, blanks around are cut. SELLA_FORMAT
 * when nothing is left, or it is not UTF-8 or too long. An item that has a title keeps it; *again
 * (may be NULL) tells when the new one differs. */
sella_status sella_draft_title(sella_draft *draft, int32_t item, const char *title, size_t bytes,
                               bool *again, sella_err *err);

/* Append a row. The first form gives it the user's positives so far as history, and then adds its
 * item to them when label = 1. The second has its history given (and leaves the user's list to what
 * the histories say). */
sella_status sella_draft_add(sella_draft *draft, sella_split_id split, int32_t user, int32_t item,
                             int label, int64_t time, sella_err *err);
sella_status sella_draft_add_history(sella_draft *draft, sella_split_id split, int32_t user,
                                     int32_t item, int label, int64_t time,
                                     const int32_t *history_n, int32_t count, sella_err *err);

/* What dataset.json says besides counts: source, protocol, rules. */
typedef struct sella_draft_about {
    const char *noun;
    const char *protocol;
    json_t *source; /* objects, borrowed; may be NULL */
    json_t *rules;
} sella_draft_about;

/* Check and write the folder; PATH must not exist or be empty. Refused: a split that is present
 * without rows, train labels of one class, an occurring item without a title. What is unusual but
 * accepted is said through talk. */
sella_status sella_draft_write(sella_draft *draft, const sella_draft_about *about, const char *path,
                               const sella_talk *talk, sella_err *err);

/* A title as it is stored: valid UTF-8, 1 to SELLA_TITLE_MAX bytes, no control characters. */
sella_status sella_title_check(const char *title, size_t bytes, sella_err *err);
bool sella_noun_known(const char *noun);

#endif
