/* run_tables.h - users.tsv, items.tsv and the recorded histories of a run: written from a data set,
 * read back and checked.
 *
 * Layout:   users.tsv: header "uid", one id a line. items.tsv: header "iid<TAB>title". history.npy:
 *           int32 item rows; history_start.npy: int64 [users + 1]. history_time.npy: int64 seconds
 *           of each entry, 0 = unknown (older runs lack the file).
 * Memory:   sella_run_tables owns everything; released with _release.
 * Threads:  reading is pure.
 */
#ifndef SELLA_METHODS_RUN_TABLES_H
#define SELLA_METHODS_RUN_TABLES_H

#include "data/dataset.h"
#include "formats/npy.h"

typedef struct sella_run_tables {
    int32_t users, items;
    const char **user_id; /* [users] */
    const char **item_id; /* [items] */
    const char **title;   /* [items] */
    int32_t *by_user;     /* [users] rows sorted by id */
    int32_t *by_item;     /* [items] rows sorted by id */
    int32_t *by_title;    /* [items] rows sorted by title, ASCII letters folded */
    sella_npy history;    /* [total] i32 */
    sella_npy start;      /* [users + 1] i64 */
    sella_npy time;       /* [total] i64; data NULL in older runs */
    char *user_text, *item_text; /* where the strings live */
} sella_run_tables;

/* Write the five files into the folder `dir`. */
sella_status sella_run_tables_write(const char *dir, const sella_dataset *dataset, sella_err *err);
/* Read them; the counts are those of run.json. */
sella_status sella_run_tables_read(const char *dir, int32_t users, int32_t items,
                                   sella_run_tables *out, sella_err *err);
void sella_run_tables_release(sella_run_tables *tables);

int32_t sella_run_tables_user(const sella_run_tables *tables, const char *id);
int32_t sella_run_tables_item(const sella_run_tables *tables, const char *id);
int32_t sella_run_tables_title(const sella_run_tables *tables, const char *title);

#endif
