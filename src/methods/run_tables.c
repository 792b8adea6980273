/* run_tables.c - who and what a run knows (methods/run_tables.h). */
#include "methods/run_tables.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"

/* ---- writing ---- */

static sella_status check_field(const char *text, const char *what, sella_err *err)
{
    return strpbrk(text, "\t\r\n") == NULL
               ? SELLA_OK
               : sella_err_set(err, SELLA_FORMAT, "%s '%s' holds a tab or a line break", what,
                               text);
}

static sella_status write_names(const char *dir, const char *file, const char *header,
                                const char *const *id_n, const char *const *title_n, int32_t n,
                                sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_writer *writer = NULL;
    char *path = sella_path_join(dir, file, NULL);
    if (!path) {
        return sella_err_memory(err, "a path", strlen(dir));
    }
    SELLA_TRY(sella_write_open(path, &writer, err));
    SELLA_TRY(sella_write_format(writer, err, "%s\n", header));
    for (int32_t i = 0; i < n; i++) {
        SELLA_TRY(check_field(id_n[i], "id", err));
        SELLA_TRY(title_n ? check_field(title_n[i], "title", err) : SELLA_OK);
        SELLA_TRY(sella_write_format(writer, err, "%s%s%s\n", id_n[i], title_n ? "\t" : "",
                                     title_n ? title_n[i] : ""));
    }
    status = sella_write_commit(writer, err);
    writer = NULL;
done:
    sella_write_abandon(writer);
    free(path);
    return status;
}

/* One positive row of a train user, to be sorted by user, time, split and place. */
typedef struct positive {
    int32_t user, item;
    int64_t time, place;
} positive;

static int compare_positive(const void *a, const void *b)
{
    const positive *x = a, *y = b;
    if (x->user != y->user) {
        return x->user < y->user ? -1 : 1;
    }
    if (x->time != y->time) {
        return x->time < y->time ? -1 : 1;
    }
    return (x->place > y->place) - (x->place < y->place);
}

/* Every train user's longest recorded history of train and valid rows, then the positives of those
 * rows that it lacks, in order of time. */
static sella_status write_histories(const char *dir, const sella_dataset *dataset, sella_err *err)
{
    sella_status status = SELLA_OK;
    size_t users = (size_t)dataset->train_users, items = (size_t)dataset->items, positives = 0,
           total = 0;
    int64_t rows = dataset->split[SELLA_SPLIT_TRAIN].rows + dataset->split[SELLA_SPLIT_VALID].rows;
    const int32_t **longest = sella_alloc(users, sizeof *longest, "histories", err);
    int32_t *count = sella_alloc(users, sizeof *count, "histories", err);
    int64_t *start = sella_alloc(users + 1, sizeof *start, "histories", err);
    positive *list = sella_alloc((size_t)rows, sizeof *list, "histories", err);
    /* user + 1 that has the item */
    int32_t *have = sella_alloc(items, sizeof *have, "histories", err);
    /* user + 1 that next_of is about */
    int32_t *rated = sella_alloc(items, sizeof *rated, "histories", err);
    /* the item's next row in list */
    size_t *next_of = sella_alloc(items, sizeof *next_of, "histories", err);
    /* the row after it with that item */
    size_t *again = sella_alloc((size_t)rows, sizeof *again, "histories", err);
    int32_t *pool = NULL;
    int64_t *time = NULL;
    char *pool_path = sella_path_join(dir, "history.npy", NULL),
         *start_path = sella_path_join(dir, "history_start.npy", NULL),
         *time_path = sella_path_join(dir, "history_time.npy", NULL);
    if (!longest || !count || !start || !list || !have || !rated || !next_of || !again ||
        !pool_path || !start_path || !time_path) {
        status = SELLA_MEMORY;
        goto done;
    }
    for (int s = SELLA_SPLIT_TRAIN; s <= SELLA_SPLIT_VALID; s++) {
        const sella_split *split = &dataset->split[s];
        for (int64_t r = 0; r < split->rows; r++) {
            int32_t u = split->user_n[r], n;
            const int32_t *history;
            if (u >= dataset->train_users) {
                continue;
            }
            n = sella_dataset_history(dataset, (sella_split_id)s, r, &history);
            if (n >= count[u]) {
                longest[u] = history;
                count[u] = n;
            }
            if (split->label_n[r]) {
                list[positives++] =
                    (positive){u, split->item_n[r], split->time_n[r], (int64_t)s << 48 | r};
            }
        }
    }
    qsort(list, positives, sizeof *list, compare_positive);
    for (size_t u = 0; u < users; u++) {
        total += (size_t)count[u];
    }
    pool = sella_alloc(total + positives, sizeof *pool, "histories", err);
    time = sella_alloc(total + positives, sizeof *time, "histories", err);
    if (!pool || !time) {
        status = SELLA_MEMORY;
        goto done;
    }
    size_t used = 0, p = 0;
    for (size_t u = 0; u < users; u++) {
        start[u] = (int64_t)used;
        size_t end = p;
        while (end < positives && list[end].user == (int32_t)u) {
            end++;
        }
        /* what was liked twice has the times of both rows, in their order */
        for (size_t q = end; q-- > p;) {
            again[q] = rated[list[q].item] == (int32_t)u + 1 ? next_of[list[q].item] : q;
            rated[list[q].item] = (int32_t)u + 1;
            next_of[list[q].item] = q;
        }
        for (int32_t j = 0; j < count[u]; j++) {
            const int32_t item = longest[u][j];
            time[used] = 0;
            if (rated[item] == (int32_t)u + 1) {
                time[used] = list[next_of[item]].time;
                next_of[item] = again[next_of[item]];
            }
            pool[used++] = item;
            have[item] = (int32_t)u + 1;
        }
        for (; p < positives && list[p].user == (int32_t)u; p++) {
            if (have[list[p].item] != (int32_t)u + 1) {
                time[used] = list[p].time;
                pool[used++] = list[p].item;
                have[list[p].item] = (int32_t)u + 1;
            }
        }
    }
    start[users] = (int64_t)used;
    SELLA_TRY(sella_npy_write(pool_path, SELLA_NPY_I32, pool, (int64_t)used, 0, err));
    SELLA_TRY(sella_npy_write(start_path, SELLA_NPY_I64, start, (int64_t)users + 1, 0, err));
    SELLA_TRY(sella_npy_write(time_path, SELLA_NPY_I64, time, (int64_t)used, 0, err));
done:
    free(longest);
    free(count);
    free(start);
    free(list);
    free(have);
    free(rated);
    free(next_of);
    free(again);
    free(pool);
    free(time);
    free(pool_path);
    free(start_path);
    free(time_path);
    return status;
}

sella_status sella_run_tables_write(const char *dir, const sella_dataset *dataset, sella_err *err)
{
    sella_status status = SELLA_OK;
    SELLA_TRY(
        write_names(dir, "users.tsv", "uid", dataset->user_id, NULL, dataset->train_users, err));
    SELLA_TRY(write_names(dir, "items.tsv", "iid\ttitle", dataset->item_id, dataset->title,
                          dataset->items, err));
    SELLA_TRY(write_histories(dir, dataset, err));
done:
    return status;
}

/* ---- reading ---- */

/* A copy of a file with its lines ended by NUL: line_n [n] point behind the header. A tab, when
 * wanted, ends the first field. */
static sella_status read_names(const char *dir, const char *file, const char *header, int32_t n,
                               const char **id_n, const char **title_n, char **text_out,
                               sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_map map = {0};
    char *path = sella_path_join(dir, file, NULL), *text = NULL;
    if (!path) {
        return sella_err_memory(err, "a path", strlen(dir));
    }
    SELLA_TRY(sella_map_open(path, &map, err));
    text = sella_alloc(map.size + 1, 1, file, err);
    if (!text) {
        status = SELLA_MEMORY;
        goto done;
    }
    sella_lines lines;
    sella_lines_init(&lines, path, map.data, map.size, 1 << 20);
    char *cursor = text;
    for (int64_t i = -1;; i++) {
        const char *line;
        size_t bytes;
        SELLA_TRY(sella_lines_next(&lines, &line, &bytes, err));
        if (!line) {
            if (i != n) {
                status = sella_err_set(err, SELLA_FORMAT,
                                       "%s: has %lld lines after its header; run.json says %d",
                                       path, (long long)(i < 0 ? 0 : i), n);
            }
            break;
        }
        if (i >= n) {
            status = sella_err_set(
                err, SELLA_FORMAT,
                "%s: has more than the %d lines after its header that run.json says", path, n);
            goto done;
        }
        if (sella_utf8_valid(line, bytes) != bytes || memchr(line, '\0', bytes)) {
            status = sella_err_set(err, SELLA_FORMAT, "%s:%lld: is not valid UTF-8 text", path,
                                   (long long)lines.line);
            goto done;
        }
        memcpy(cursor, line, bytes);
        cursor[bytes] = '\0';
        if (i < 0) {
            if (strcmp(cursor, header) != 0) {
                status = sella_err_set(err, SELLA_FORMAT, "%s: begins with '%s'; expected '%s'",
                                       path, cursor, header);
                goto done;
            }
            continue;
        }
        id_n[i] = cursor;
        if (title_n) {
            char *tab = strchr(cursor, '\t');
            if (!tab) {
                status = sella_err_set(err, SELLA_FORMAT,
                                       "%s:%lld: has no tab; expected an id, a tab and a title",
                                       path, (long long)lines.line);
                goto done;
            }
            *tab = '\0';
            title_n[i] = tab + 1;
        }
        cursor += bytes + 1;
    }
done:
    sella_map_close(&map);
    free(path);
    if (status != SELLA_OK) {
        free(text);
        text = NULL;
    }
    *text_out = text;
    return status;
}

typedef int (*compare_text)(const char *, const char *);

static int compare_by(const void *a, const void *b, void *names)
{
    const char *const *name = names;
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    int order = strcmp(name[x], name[y]);
    return order ? order : (x > y) - (x < y);
}

static int compare_by_folded(const void *a, const void *b, void *names)
{
    const char *const *name = names;
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    int order = strcasecmp(name[x], name[y]);
    return order ? order : (x > y) - (x < y);
}

static int32_t *sorted(const char **name_n, int32_t n, bool folded, sella_err *err)
{
    int32_t *order = sella_alloc((size_t)n, sizeof *order, "an index of names", err);
    for (int32_t i = 0; order && i < n; i++) {
        order[i] = i;
    }
    if (order) {
        qsort_r(order, (size_t)n, sizeof *order, folded ? compare_by_folded : compare_by, name_n);
    }
    return order;
}

/* First of equal names, or -1. */
static int32_t lookup(const char *const *name_n, const int32_t *order, int32_t n, const char *name,
                      compare_text compare)
{
    int32_t low = 0, high = n;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (compare(name_n[order[middle]], name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < n && compare(name_n[order[low]], name) == 0 ? order[low] : -1;
}

static sella_status check_unique(const char *const *name_n, const int32_t *order, int32_t n,
                                 const char *file, sella_err *err)
{
    for (int32_t i = 1; i < n; i++) {
        if (strcmp(name_n[order[i - 1]], name_n[order[i]]) == 0) {
            return sella_err_set(err, SELLA_FORMAT, "%s: id '%s' occurs twice", file,
                                 name_n[order[i]]);
        }
    }
    return SELLA_OK;
}

static sella_status read_histories(const char *dir, int32_t users, int32_t items,
                                   sella_run_tables *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    char *pool_path = sella_path_join(dir, "history.npy", NULL),
         *start_path = sella_path_join(dir, "history_start.npy", NULL),
         *time_path = sella_path_join(dir, "history_time.npy", NULL);
    if (!pool_path || !start_path || !time_path) {
        status = sella_err_memory(err, "a path", strlen(dir));
        goto done;
    }
    SELLA_TRY(sella_npy_open(pool_path, SELLA_NPY_I32, &out->history, err));
    SELLA_TRY(sella_npy_open(start_path, SELLA_NPY_I64, &out->start, err));
    if (out->start.rank != 1 || out->start.shape[0] != (int64_t)users + 1 ||
        out->history.rank != 1) {
        status = sella_err_set(err, SELLA_SHAPE,
                               "%s: has %lld entries; expected %lld, one a user and one more",
                               start_path, (long long)out->start.shape[0], (long long)users + 1);
        goto done;
    }
    const int64_t *start = out->start.data;
    const int32_t *item = out->history.data;
    for (int32_t u = 0; u < users; u++) {
        if (start[u] > start[u + 1] || start[u] < 0) {
            status = sella_err_set(err, SELLA_FORMAT, "%s: entry %d is larger than the next",
                                   start_path, u);
            goto done;
        }
    }
    if (start[0] != 0 || start[users] != out->history.shape[0]) {
        status =
            sella_err_set(err, SELLA_FORMAT, "%s: ends at %lld; history.npy has %lld entries",
                          start_path, (long long)start[users], (long long)out->history.shape[0]);
        goto done;
    }
    for (int64_t j = 0; j < out->history.shape[0]; j++) {
        if (item[j] < 0 || item[j] >= items) {
            status = sella_err_set(err, SELLA_FORMAT, "%s: entry %lld is item %d; expected 0 to %d",
                                   pool_path, (long long)j, item[j], items - 1);
            goto done;
        }
    }
    if (sella_path_exists(time_path)) { // runs of earlier versions have none
        SELLA_TRY(sella_npy_open(time_path, SELLA_NPY_I64, &out->time, err));
        if (out->time.rank != 1 || out->time.shape[0] != out->history.shape[0]) {
            status = sella_err_set(err, SELLA_SHAPE,
                                   "%s: has %lld entries; expected %lld, as history.npy", time_path,
                                   (long long)out->time.shape[0], (long long)out->history.shape[0]);
        }
    }
done:
    free(pool_path);
    free(start_path);
    free(time_path);
    return status;
}

sella_status sella_run_tables_read(const char *dir, int32_t users, int32_t items,
                                   sella_run_tables *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    *out = (sella_run_tables){.users = users, .items = items};
    out->user_id = sella_alloc((size_t)users, sizeof *out->user_id, "user ids", err);
    out->item_id = sella_alloc((size_t)items, sizeof *out->item_id, "item ids", err);
    out->title = sella_alloc((size_t)items, sizeof *out->title, "titles", err);
    if (!out->user_id || !out->item_id || !out->title) {
        status = SELLA_MEMORY;
        goto done;
    }
    SELLA_TRY(read_names(dir, "users.tsv", "uid", users, out->user_id, NULL, &out->user_text, err));
    SELLA_TRY(read_names(dir, "items.tsv", "iid\ttitle", items, out->item_id, out->title,
                         &out->item_text, err));
    out->by_user = sorted(out->user_id, users, false, err);
    out->by_item = sorted(out->item_id, items, false, err);
    out->by_title = sorted(out->title, items, true, err);
    if (!out->by_user || !out->by_item || !out->by_title) {
        status = SELLA_MEMORY;
        goto done;
    }
    SELLA_TRY(check_unique(out->user_id, out->by_user, users, "users.tsv", err));
    SELLA_TRY(check_unique(out->item_id, out->by_item, items, "items.tsv", err));
    SELLA_TRY(read_histories(dir, users, items, out, err));
done:
    if (status != SELLA_OK) {
        sella_run_tables_release(out);
    }
    return status;
}

void sella_run_tables_release(sella_run_tables *tables)
{
    free(tables->user_id);
    free(tables->item_id);
    free(tables->title);
    free(tables->by_user);
    free(tables->by_item);
    free(tables->by_title);
    free(tables->user_text);
    free(tables->item_text);
    sella_npy_close(&tables->history);
    sella_npy_close(&tables->start);
    sella_npy_close(&tables->time);
    *tables = (sella_run_tables){0};
}

int32_t sella_run_tables_user(const sella_run_tables *tables, const char *id)
{
    return lookup(tables->user_id, tables->by_user, tables->users, id, strcmp);
}

int32_t sella_run_tables_item(const sella_run_tables *tables, const char *id)
{
    return lookup(tables->item_id, tables->by_item, tables->items, id, strcmp);
}

int32_t sella_run_tables_title(const sella_run_tables *tables, const char *title)
{
    return lookup(tables->title, tables->by_title, tables->items, title, strcasecmp);
}
