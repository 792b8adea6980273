/* dataset.h - a data set folder: memory-mapped columns of three splits, users, items, titles,
 * histories.
 *
 * Does:     open -> read columns -> close. The folder is written once, by import (data/import.h),
 *           and never changed.
 * Layout:   dataset.json (format version, source, noun, protocol, rules, counts, dates, checksum),
 *           users.tsv (uid), items.tsv (iid, title), history.npy (int32 item indexes, the pool that
 *           rows point into), and for each split that is there a folder train/ valid/ test/ with
 *           user.npy item.npy (int32 indexes), label.npy warm.npy (uint8), time.npy (int64 seconds
 *           UTC), history_start.npy (int64), history_count.npy (int32). Users are numbered by first
 *           appearance in train, then valid, then test rows: user < train_users means "occurs in
 *           train". Items are numbered in catalogue order (items.tsv), whether they occur or not.
 * Memory:   columns and strings are borrowed, valid until sella_dataset_close.
 * Threads:  one handle may be read by many.
 * Paper:    section 5.1; histories as REFERENCE 1.2: the user's earlier positive items, oldest
 *           first, over all splits, never the target.
 */
#ifndef SELLA_DATA_DATASET_H
#define SELLA_DATA_DATASET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef enum sella_split_id {
    SELLA_SPLIT_TRAIN = 0,
    SELLA_SPLIT_VALID = 1,
    SELLA_SPLIT_TEST = 2,
    SELLA_SPLITS = 3
} sella_split_id;

typedef struct sella_split {
    int64_t rows;                   /* 0 when the split is absent */
    const int32_t *user_n;          /* [rows] */
    const int32_t *item_n;          /* [rows] */
    const uint8_t *label_n;         /* [rows] 0 or 1 */
    const uint8_t *warm_n;          /* [rows] 1: user and item both occur in train */
    const int64_t *time_n;          /* [rows] seconds UTC, 0 when the source has none */
    const int64_t *history_start_n; /* [rows] into sella_dataset.history */
    /* [rows] all earlier positives; cut to the window by data/history.h */
    const int32_t *history_count_n;
} sella_split;

typedef struct sella_dataset {
    int32_t users;       /* all users of all splits */
    int32_t train_users; /* users 0 .. train_users-1 occur in train */
    int32_t items;       /* the whole catalogue */
    sella_split split[SELLA_SPLITS];
    const int32_t *history; /* [history_total] item indexes */
    int64_t history_total;
    const char *const *user_id; /* [users]  external ids, UTF-8 */
    const char *const *item_id; /* [items] */
    const char *const *title;   /* [items] */
    const char *noun;           /* "movie", "book" or "item" */
    const char *name;           /* last part of the folder's path */
    const char *path;
    char checksum[17]; /* 16 hexadecimal digits over all columns, ids and titles */
    struct sella_dataset_impl *impl;
} sella_dataset;

sella_status sella_dataset_open(const char *path, sella_dataset **out, sella_err *err);
void sella_dataset_close(sella_dataset *dataset);

/* "train", "valid", "test" <-> id; -1 when unknown. */
const char *sella_split_name(sella_split_id split);
int sella_split_find(const char *name);

/* Index by external id, or -1 (hash built at open). */
int32_t sella_dataset_find_user(const sella_dataset *dataset, const char *id);
int32_t sella_dataset_find_item(const sella_dataset *dataset, const char *id);

/* The history of one row: *items borrowed; returns its length. */
int32_t sella_dataset_history(const sella_dataset *dataset, sella_split_id split, int64_t row,
                              const int32_t **items);

/* Where a user's history ends after the splits of the mask (bits 1u << sella_split_id): the history
 * of the user's last row in the latest of these splits, and that row's own item when it was liked.
 * For logs sorted by time: all positives of these splits in order.
 *
 *   items  out  [count] item indexes, owned: free()
 *   count  out  0 for a user without rows there
 */
sella_status sella_dataset_user_history(const sella_dataset *dataset, int32_t user, unsigned splits,
                                        int32_t **items, int32_t *count, sella_err *err);

/* The checksum as opened folders and new ones have it: XXH3 over all columns, ids and titles,
 * chained. text [17]. */
void sella_dataset_checksum(const sella_dataset *dataset, char *text);

#endif
