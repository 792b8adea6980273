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

/* The histories of train users (U; I items) on their way to the files. */
typedef struct histories {
    const int32_t **longest_u; // [U] longest recorded history, borrowed from the data set
    int32_t *count_u;          // [U] its entries
    positive *list;            // [positives] sorted
    size_t positives;
    int32_t *have_i;  // [I] user + 1 that has the item
    int32_t *rated_i; // [I] user + 1 that next_i is about
    size_t *next_i;   // [I] the item's next row in list
    size_t *again;    // [positives] the row after it with that item; itself when there is none
    int64_t *start_u; // [U + 1] what is written: history_start.npy,
    int32_t *pool;    // [used] history.npy
    int64_t *time;    // [used] and history_time.npy
    size_t used;
} histories;

static void histories_release(histories *h)
{
    void *const all[] = {h->longest_u, h->count_u, h->list,    h->have_i, h->rated_i,
                         h->next_i,    h->again,   h->start_u, h->pool,   h->time};
    for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) {
        free(all[k]);
    }
}

/* The longest recorded history of every train user, and the positives of train and valid. */
static sella_status histories_collect(histories *h, const sella_dataset *dataset, sella_err *err)
{
    const size_t users = (size_t)dataset->train_users;
    const int64_t rows =
        dataset->split[SELLA_SPLIT_TRAIN].rows + dataset->split[SELLA_SPLIT_VALID].rows;
    h->longest_u = sella_alloc(users, sizeof *h->longest_u, "histories", err);
    h->count_u = sella_alloc(users, sizeof *h->count_u, "histories", err);
    h->list = sella_alloc((size_t)rows, sizeof *h->list, "histories", err);
    if (!h->longest_u || !h->count_u || !h->list) {
        return SELLA_MEMORY;
    }
    for (int s = SELLA_SPLIT_TRAIN; s <= SELLA_SPLIT_VALID; s++) {
        const sella_split *split = &dataset->split[s];
        for (int64_t r = 0; r < split->rows; r++) {
            const int32_t u = split->user_n[r];
            const int32_t *history;
            if (u >= dataset->train_users) {
                continue;
            }
            const int32_t n = sella_dataset_history(dataset, (sella_split_id)s, r, &history);
            if (n >= h->count_u[u]) {
                h->longest_u[u] = history;
                h->count_u[u] = n;
            }
            if (split->label_n[r]) {
                h->list[h->positives++] =
                    (positive){u, split->item_n[r], split->time_n[r], (int64_t)s << 48 | r};
            }
        }
    }
    qsort(h->list, h->positives, sizeof *h->list, compare_positive);
    return SELLA_OK;
}

static sella_status histories_room(histories *h, size_t users, size_t items, sella_err *err)
{
    size_t total = h->positives;
    for (size_t u = 0; u < users; u++) {
        total += (size_t)h->count_u[u];
    }
    h->have_i = sella_alloc(items, sizeof *h->have_i, "histories", err);
    h->rated_i = sella_alloc(items, sizeof *h->rated_i, "histories", err);
    h->next_i = sella_alloc(items, sizeof *h->next_i, "histories", err);
    h->again = sella_alloc(h->positives, sizeof *h->again, "histories", err);
    h->start_u = sella_alloc(users + 1, sizeof *h->start_u, "histories", err);
    h->pool = sella_alloc(total, sizeof *h->pool, "histories", err);
    h->time = sella_alloc(total, sizeof *h->time, "histories", err);
    return h->have_i && h->rated_i && h->next_i && h->again && h->start_u && h->pool && h->time
               ? SELLA_OK
               : SELLA_MEMORY;
}

static void append(histories *h, int32_t item, int64_t time, int32_t mark)
{
    h->time[h->used] = time;
    h->pool[h->used++] = item;
    h->have_i[item] = mark;
}

/* A user's longest history, each entry with the time of its row (0: no row has it), then the
 * positives [first, end) of list that it lacks. */
static void append_user(histories *h, int32_t u, size_t first, size_t end)
{
    const int32_t mark = u + 1;
    /* what was liked twice has the times of both rows, in their order */
    for (size_t p = end; p-- > first;) {
        const int32_t item = h->list[p].item;
        h->again[p] = h->rated_i[item] == mark ? h->next_i[item] : p;
        h->rated_i[item] = mark;
        h->next_i[item] = p;
    }
    for (int32_t j = 0; j < h->count_u[u]; j++) {
        const int32_t item = h->longest_u[u][j];
        int64_t time = 0;
        if (h->rated_i[item] == mark) {
            time = h->list[h->next_i[item]].time;
            h->next_i[item] = h->again[h->next_i[item]];
        }
        append(h, item, time, mark);
    }
    for (size_t p = first; p < end; p++) {
        if (h->have_i[h->list[p].item] != mark) {
            append(h, h->list[p].item, h->list[p].time, mark);
        }
    }
}

static sella_status write_column(const char *dir, const char *file, sella_npy_type type,
                                 const void *data, size_t n, sella_err *err)
{
    char *path = sella_path_join(dir, file, NULL);
    const sella_status status = path ? sella_npy_write(path, type, data, (int64_t)n, 0, err)
                                     : sella_err_memory(err, "a path", strlen(dir));
    free(path);
    return status;
}

/* Every train user's longest recorded history of train and valid rows, then the positives of those
 * rows that it lacks, in order of time. */
static sella_status write_histories(const char *dir, const sella_dataset *dataset, sella_err *err)
{
    sella_status status = SELLA_OK;
    const int32_t users = dataset->train_users;
    histories h = {0};
    SELLA_TRY(histories_collect(&h, dataset, err));
    SELLA_TRY(histories_room(&h, (size_t)users, (size_t)dataset->items, err));
    size_t first = 0;
    for (int32_t u = 0; u < users; u++) {
        size_t end = first;
        while (end < h.positives && h.list[end].user == u) {
            end++;
        }
        h.start_u[u] = (int64_t)h.used;
        append_user(&h, u, first, end);
        first = end;
    }
    h.start_u[users] = (int64_t)h.used;
    SELLA_TRY(write_column(dir, "history.npy", SELLA_NPY_I32, h.pool, h.used, err));
    SELLA_TRY(
        write_column(dir, "history_start.npy", SELLA_NPY_I64, h.start_u, (size_t)users + 1, err));
    SELLA_TRY(write_column(dir, "history_time.npy", SELLA_NPY_I64, h.time, h.used, err));
done:
    histories_release(&h);
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

/* The id of a line, and with `title` what stands behind the tab that ends the id. where, number:
 * for the error. */
static sella_status take_names(char *line, const char *where, int64_t number, const char **id,
                               const char **title, sella_err *err)
{
    char *tab = title ? strchr(line, '\t') : NULL;
    if (title && !tab) {
        return sella_err_set(err, SELLA_FORMAT,
                             "%s:%lld: has no tab; expected an id, a tab and a title", where,
                             (long long)number);
    }
    if (title) {
        *tab = '\0';
        *title = tab + 1;
    }
    *id = line;
    return SELLA_OK;
}

/* A copy of a file with its lines ended by NUL, in *text_out (free()): id_n and title_n (or NULL)
 * point into it. */
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
    for (int64_t i = -1;; i++) { // -1: the header
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
        if (i >= 0) {
            SELLA_TRY(take_names(cursor, path, lines.line, &id_n[i], title_n ? &title_n[i] : NULL,
                                 err));
            cursor += bytes + 1;
        } else if (strcmp(cursor, header) != 0) {
            status = sella_err_set(err, SELLA_FORMAT, "%s: begins with '%s'; expected '%s'", path,
                                   cursor, header);
            goto done;
        }
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
