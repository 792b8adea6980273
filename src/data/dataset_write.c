/* dataset_write.c - a data set in memory, and its writing (data/dataset_write.h).
 *
 * Easy to get wrong:
 * - the positives of a user grow over train, valid and test rows in the order in which rows are
 *   added, so rows must be added in time order over all splits, not split by split;
 * - numbers in the draft are those of the source; what is written is renumbered.
 */
#include "data/dataset_write.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/aside.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "formats/npy.h"

void sella_draft_release(sella_draft *draft)
{
    for (int32_t i = 0; i < draft->titles; i++) {
        free(draft->title_n[i]);
    }
    for (int32_t u = 0; u < draft->lists; u++) {
        free(draft->list_n[u].item_n);
    }
    for (int s = 0; s < SELLA_SPLITS; s++) {
        sella_draft_split *p = &draft->split[s];
        free(p->user_n);
        free(p->item_n);
        free(p->label_n);
        free(p->time_n);
        free(p->own_n);
        free(p->count_n);
    }
    free(draft->title_n);
    free(draft->list_n);
    free(draft->own);
    sella_intern_release(&draft->users);
    sella_intern_release(&draft->items);
    *draft = (sella_draft){0};
}

/* Enlarge an array to `count` elements; the old array stays on failure. What is new is not touched,
 * so that room to grow costs no memory. */
static bool stretch(void *array_pointer, size_t count, size_t size)
{
    void *before, *bigger;
    memcpy(&before, array_pointer, sizeof before);
    bigger = count <= SIZE_MAX / size ? realloc(before, count * size) : NULL;
    if (bigger) {
        memcpy(array_pointer, &bigger, sizeof bigger);
    }
    return bigger != NULL;
}

/* The same with zeroed new elements. */
static bool enlarge(void *array_pointer, size_t old, size_t count, size_t size)
{
    char *array;
    if (!stretch(array_pointer, count, size)) {
        return false;
    }
    memcpy(&array, array_pointer, sizeof array);
    memset(array + old * size, 0, (count - old) * size);
    return true;
}

/* ---- titles and small checks ---- */

sella_status sella_title_check(const char *title, size_t bytes, sella_err *err)
{
    if (bytes == 0 || bytes > SELLA_TITLE_MAX) {
        return sella_err_set(err, SELLA_FORMAT, "the title has %zu bytes; expected 1 to %d", bytes,
                             SELLA_TITLE_MAX);
    }
    if (sella_utf8_valid(title, bytes) != bytes) {
        return sella_err_set(err, SELLA_FORMAT, "the title '%.*s' is not UTF-8",
                             (int)(bytes < 60 ? bytes : 60), title);
    }
    for (size_t i = 0; i < bytes; i++) {
        if ((unsigned char)title[i] < 0x20 || title[i] == 0x7f) {
            return sella_err_set(err, SELLA_FORMAT, "the title '%.*s' has a control character",
                                 (int)(bytes < 60 ? bytes : 60), title);
        }
    }
    return SELLA_OK;
}

bool sella_noun_known(const char *noun)
{
    return strcmp(noun, "movie") == 0 || strcmp(noun, "book") == 0 || strcmp(noun, "item") == 0;
}

sella_status sella_draft_title(sella_draft *draft, int32_t item, const char *title, size_t bytes,
                               bool *again, sella_err *err)
{
    if (again) {
        *again = false;
    }
    if (item >= draft->titles) {
        int32_t titles = (item + 64) * 2;
        if (!enlarge(&draft->title_n, (size_t)draft->titles, (size_t)titles,
                     sizeof *draft->title_n)) {
            return sella_err_memory(err, "titles", (size_t)titles * sizeof *draft->title_n);
        }
        draft->titles = titles;
    }
    char *clean = sella_alloc(bytes + 1, 1, "a title", err);
    if (!clean) {
        return SELLA_MEMORY;
    }
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++) {
        char c = title[i] == '\n' || title[i] == '\r' || title[i] == '\t' ? ' ' : title[i];
        if (c != ' ' || n > 0) {
            clean[n++] = c;
        }
    }
    while (n > 0 && clean[n - 1] == ' ') {
        n--;
    }
    clean[n] = '\0';
    sella_status status = sella_title_check(clean, n, err);
    if (status == SELLA_OK && !draft->title_n[item]) {
        draft->title_n[item] = clean;
        return SELLA_OK;
    }
    if (status == SELLA_OK && again) {
        *again = strcmp(clean, draft->title_n[item]) != 0;
    }
    free(clean);
    return status;
}

/* ---- rows ---- */

static sella_status split_push(sella_draft_split *p, int32_t user, int32_t item, int label,
                               int64_t time, int64_t own, int32_t count, sella_err *err)
{
    if (p->rows == p->capacity) {
        size_t n = (size_t)p->capacity * 2 + 1024;
        if (!stretch(&p->user_n, n, sizeof *p->user_n) ||
            !stretch(&p->item_n, n, sizeof *p->item_n) ||
            !stretch(&p->label_n, n, sizeof *p->label_n) ||
            !stretch(&p->time_n, n, sizeof *p->time_n) ||
            !stretch(&p->count_n, n, sizeof *p->count_n) ||
            (p->own_n && !stretch(&p->own_n, n, sizeof *p->own_n))) {
            return sella_err_memory(err, "rows", n * 29);
        }
        p->capacity = (int64_t)n;
    }
    if (own >= 0 && !p->own_n) { // logs never come here: eight bytes a row less
        if (!stretch(&p->own_n, (size_t)p->capacity, sizeof *p->own_n)) {
            return sella_err_memory(err, "rows", (size_t)p->capacity * sizeof *p->own_n);
        }
        memset(p->own_n, 0xff, (size_t)p->rows * sizeof *p->own_n); // -1
    }
    int64_t r = p->rows++;
    p->present = true;
    p->user_n[r] = user;
    p->item_n[r] = item;
    p->label_n[r] = (uint8_t)(label != 0);
    p->time_n[r] = time;
    if (p->own_n) {
        p->own_n[r] = own;
    }
    p->count_n[r] = count;
    return SELLA_OK;
}

static sella_status list_of(sella_draft *draft, int32_t user, sella_draft_list **out,
                            sella_err *err)
{
    if (user >= draft->lists) {
        int32_t lists = (user + 64) * 2;
        if (!enlarge(&draft->list_n, (size_t)draft->lists, (size_t)lists, sizeof *draft->list_n)) {
            return sella_err_memory(err, "histories", (size_t)lists * sizeof *draft->list_n);
        }
        draft->lists = lists;
    }
    *out = &draft->list_n[user];
    return SELLA_OK;
}

static sella_status list_extend(sella_draft_list *list, const int32_t *item_n, int32_t count,
                                sella_err *err)
{
    if (count > INT32_MAX / 4 - list->count) {
        return sella_err_set(err, SELLA_UNSUPPORTED, "a history has more than %d items",
                             INT32_MAX / 4);
    }
    if (list->count + count > list->capacity) {
        int32_t capacity = (list->count + count) * 2;
        if (!stretch(&list->item_n, (size_t)capacity, sizeof *list->item_n)) {
            return sella_err_memory(err, "histories", (size_t)capacity * sizeof *list->item_n);
        }
        list->capacity = capacity;
    }
    if (count > 0) {
        memcpy(list->item_n + list->count, item_n, (size_t)count * sizeof *item_n);
    }
    list->count += count;
    return SELLA_OK;
}

sella_status sella_draft_add(sella_draft *draft, sella_split_id split, int32_t user, int32_t item,
                             int label, int64_t time, sella_err *err)
{
    sella_draft_list *list = NULL;
    sella_status status = list_of(draft, user, &list, err);
    if (status == SELLA_OK) {
        status = split_push(&draft->split[split], user, item, label, time, -1, list->count, err);
    }
    return status == SELLA_OK && label ? list_extend(list, &item, 1, err) : status;
}

sella_status sella_draft_add_history(sella_draft *draft, sella_split_id split, int32_t user,
                                     int32_t item, int label, int64_t time,
                                     const int32_t *history_n, int32_t count, sella_err *err)
{
    sella_draft_list *list = NULL;
    sella_status status = list_of(draft, user, &list, err);
    if (status != SELLA_OK) {
        return status;
    }
    int32_t common = count < list->count ? count : list->count;
    int64_t own = -1;
    if (common > 0 && memcmp(list->item_n, history_n, (size_t)common * sizeof *history_n) != 0) {
        if (draft->own_count + count > draft->own_capacity) {
            int64_t capacity = (draft->own_count + count) * 2;
            if (!stretch(&draft->own, (size_t)capacity, sizeof *draft->own)) {
                return sella_err_memory(err, "histories", (size_t)capacity * sizeof *draft->own);
            }
            draft->own_capacity = capacity;
        }
        own = draft->own_count;
        memcpy(draft->own + own, history_n, (size_t)count * sizeof *history_n);
        draft->own_count += count;
    } else {
        status = list_extend(list, history_n + common, count - common, err);
    }
    return status == SELLA_OK
               ? split_push(&draft->split[split], user, item, label, time, own, count, err)
               : status;
}

/* ---- writing ---- */

/* The columns as they will be on disk: a sella_dataset whose pointers are owned here. */
typedef struct image {
    sella_dataset view;
    int32_t *user_map, *item_map; // draft number -> written number, -1: left out
    int64_t *list_start;          // [draft users] where a user's list begins in the pool
    const char **user_id, **item_id, **title;
    int32_t *history;
    int32_t *user_n[SELLA_SPLITS], *item_n[SELLA_SPLITS];
    uint8_t *warm_n[SELLA_SPLITS];
    int64_t *history_start_n[SELLA_SPLITS];
} image;

static void image_release(image *im)
{
    free(im->user_map);
    free(im->item_map);
    free(im->list_start);
    free(im->user_id);
    free(im->item_id);
    free(im->title);
    free(im->history);
    for (int s = 0; s < SELLA_SPLITS; s++) {
        free(im->user_n[s]);
        free(im->item_n[s]);
        free(im->warm_n[s]);
        free(im->history_start_n[s]);
    }
}

/* No split without rows, both labels in train. */
static sella_status check_rows(const sella_draft *draft, const sella_talk *talk, sella_err *err)
{
    if (draft->split[SELLA_SPLIT_TRAIN].rows == 0) {
        return sella_err_set(err, SELLA_STATE,
                             "the train split is empty; expected rows with both labels");
    }
    for (int s = 0; s < SELLA_SPLITS; s++) {
        const sella_draft_split *p = &draft->split[s];
        const char *name = sella_split_name((sella_split_id)s);
        int64_t liked = 0;
        if (p->present && p->rows == 0) {
            return sella_err_set(err, SELLA_STATE,
                                 "the %s split is empty; expected rows, or no such split", name);
        }
        for (int64_t r = 0; r < p->rows; r++) {
            liked += p->label_n[r];
        }
        if (p->rows > 0 && (liked == 0 || liked == p->rows)) {
            if (s == SELLA_SPLIT_TRAIN) {
                return sella_err_set(
                    err, SELLA_STATE,
                    "all %lld rows of train have label %d; expected both labels (see --like-at)",
                    (long long)p->rows, liked > 0);
            }
            sella_say(talk, SELLA_LEVEL_WARN,
                      "all %lld rows of %s have label %d: AUC will not exist there",
                      (long long)p->rows, name, liked > 0);
        }
    }
    return SELLA_OK;
}

static sella_status number_users(const sella_draft *draft, image *im, sella_err *err)
{
    im->user_map = sella_alloc((size_t)draft->users.count, sizeof *im->user_map, "users", err);
    im->user_id = sella_alloc((size_t)draft->users.count, sizeof *im->user_id, "users", err);
    if (!im->user_map || !im->user_id) {
        return SELLA_MEMORY;
    }
    memset(im->user_map, 0xff, (size_t)draft->users.count * sizeof *im->user_map); // -1
    for (int s = 0; s < SELLA_SPLITS; s++) {
        for (int64_t r = 0; r < draft->split[s].rows; r++) {
            int32_t u = draft->split[s].user_n[r];
            if (im->user_map[u] < 0) {
                im->user_id[im->view.users] = sella_intern_text(&draft->users, u);
                im->user_map[u] = im->view.users++;
            }
        }
        if (s == SELLA_SPLIT_TRAIN) {
            im->view.train_users = im->view.users;
        }
    }
    im->view.user_id = im->user_id;
    return SELLA_OK;
}

static sella_status number_items(const sella_draft *draft, image *im, sella_err *err)
{
    int32_t count = draft->items.count;
    im->item_map = sella_alloc((size_t)count, sizeof *im->item_map, "items", err);
    im->item_id = sella_alloc((size_t)count, sizeof *im->item_id, "items", err);
    im->title = sella_alloc((size_t)count, sizeof *im->title, "items", err);
    if (!im->item_map || !im->item_id || !im->title) {
        return SELLA_MEMORY;
    }
    for (int s = 0; s < SELLA_SPLITS; s++) {
        for (int64_t r = 0; r < draft->split[s].rows; r++) {
            im->item_map[draft->split[s].item_n[r]] = 1;
        }
    }
    for (int32_t u = 0; u < draft->lists; u++) {
        for (int32_t k = 0; k < draft->list_n[u].count; k++) {
            im->item_map[draft->list_n[u].item_n[k]] = 1;
        }
    }
    for (int64_t k = 0; k < draft->own_count; k++) {
        im->item_map[draft->own[k]] = 1;
    }
    for (int32_t i = 0; i < count; i++) {
        const char *title = i < draft->titles ? draft->title_n[i] : NULL;
        if (!title && im->item_map[i]) {
            return sella_err_set(err, SELLA_MISSING,
                                 "item '%s' occurs in the rows and has no title",
                                 sella_intern_text(&draft->items, i));
        }
        if (!title || (!im->item_map[i] && draft->occurring_only)) {
            im->item_map[i] = -1;
            continue;
        }
        im->item_id[im->view.items] = sella_intern_text(&draft->items, i);
        im->title[im->view.items] = title;
        im->item_map[i] = im->view.items++;
    }
    im->view.item_id = im->item_id;
    im->view.title = im->title;
    return SELLA_OK;
}

/* The pool: each user's list in the order of users' numbers, then the histories that stand
 *           alone. */
static sella_status lay_histories(const sella_draft *draft, image *im, sella_err *err)
{
    int64_t total = draft->own_count, at = 0;
    int32_t *by_number = NULL;
    for (int32_t u = 0; u < draft->lists; u++) {
        total += draft->list_n[u].count;
    }
    im->history = sella_alloc((size_t)total, sizeof *im->history, "histories", err);
    im->list_start =
        sella_alloc((size_t)draft->users.count, sizeof *im->list_start, "histories", err);
    by_number = sella_alloc((size_t)im->view.users, sizeof *by_number, "histories", err);
    if (!im->history || !im->list_start || !by_number) {
        free(by_number);
        return SELLA_MEMORY;
    }
    for (int32_t u = 0; u < draft->users.count; u++) {
        if (im->user_map[u] >= 0) {
            by_number[im->user_map[u]] = u;
        }
    }
    for (int32_t n = 0; n < im->view.users; n++) {
        int32_t u = by_number[n];
        im->list_start[u] = at;
        for (int32_t k = 0; u < draft->lists && k < draft->list_n[u].count; k++) {
            im->history[at++] = im->item_map[draft->list_n[u].item_n[k]];
        }
    }
    free(by_number);
    int64_t own_start = at;
    for (int64_t k = 0; k < draft->own_count; k++) {
        im->history[at++] = im->item_map[draft->own[k]];
    }
    assert(at <= total);
    im->view.history = im->history;
    im->view.history_total = at;
    for (int s = 0; s < SELLA_SPLITS; s++) {
        const sella_draft_split *p = &draft->split[s];
        int64_t *start = im->history_start_n[s] =
            sella_alloc((size_t)p->rows, sizeof *start, "rows", err);
        if (!start) {
            return SELLA_MEMORY;
        }
        for (int64_t r = 0; r < p->rows; r++) {
            start[r] = p->own_n && p->own_n[r] >= 0 ? own_start + p->own_n[r]
                                                    : im->list_start[p->user_n[r]];
        }
    }
    return SELLA_OK;
}

static sella_status lay_rows(const sella_draft *draft, image *im, sella_err *err)
{
    uint8_t *seen = sella_alloc((size_t)im->view.items, 1, "items", err);
    if (!seen) {
        return SELLA_MEMORY;
    }
    for (int s = 0; s < SELLA_SPLITS; s++) {
        const sella_draft_split *p = &draft->split[s];
        size_t rows = (size_t)p->rows;
        int32_t *user = im->user_n[s] = sella_alloc(rows, sizeof *user, "rows", err);
        int32_t *item = im->item_n[s] = sella_alloc(rows, sizeof *item, "rows", err);
        uint8_t *warm = im->warm_n[s] = sella_alloc(rows, sizeof *warm, "rows", err);
        if (!user || !item || !warm) {
            free(seen);
            return SELLA_MEMORY;
        }
        for (int64_t r = 0; r < p->rows; r++) {
            user[r] = im->user_map[p->user_n[r]];
            item[r] = im->item_map[p->item_n[r]];
            seen[item[r]] |= s == SELLA_SPLIT_TRAIN;
        }
        for (int64_t r = 0; r < p->rows; r++) {
            warm[r] = (uint8_t)(user[r] < im->view.train_users && seen[item[r]]);
        }
        im->view.split[s] = (sella_split){
            p->rows, user, item, p->label_n, warm, p->time_n, im->history_start_n[s], p->count_n};
    }
    free(seen);
    return SELLA_OK;
}

static sella_status write_ids(const char *folder, const image *im, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_writer *writer = NULL;
    char *users = sella_path_join(folder, "users.tsv", NULL),
         *items = sella_path_join(folder, "items.tsv", NULL);
    if (!users || !items) {
        status = sella_err_memory(err, "a path", strlen(folder));
        goto done;
    }
    SELLA_TRY(sella_write_open(users, &writer, err));
    SELLA_TRY(sella_write_bytes(writer, "uid\n", 4, err));
    for (int32_t u = 0; u < im->view.users; u++) {
        SELLA_TRY(sella_write_bytes(writer, im->user_id[u], strlen(im->user_id[u]), err));
        SELLA_TRY(sella_write_bytes(writer, "\n", 1, err));
    }
    status = sella_write_commit(writer, err);
    writer = NULL;
    SELLA_TRY(status);
    SELLA_TRY(sella_write_open(items, &writer, err));
    SELLA_TRY(sella_write_bytes(writer, "iid\ttitle\n", 10, err));
    for (int32_t i = 0; i < im->view.items; i++) {
        SELLA_TRY(sella_write_bytes(writer, im->item_id[i], strlen(im->item_id[i]), err));
        SELLA_TRY(sella_write_bytes(writer, "\t", 1, err));
        SELLA_TRY(sella_write_bytes(writer, im->title[i], strlen(im->title[i]), err));
        SELLA_TRY(sella_write_bytes(writer, "\n", 1, err));
    }
    status = sella_write_commit(writer, err);
    writer = NULL;
done:
    sella_write_abandon(writer);
    free(users);
    free(items);
    return status;
}

static sella_status write_column(const char *folder, const char *sub, const char *name,
                                 sella_npy_type type, const void *data, int64_t rows,
                                 sella_err *err)
{
    char *path =
        sub ? sella_path_join(folder, sub, name, NULL) : sella_path_join(folder, name, NULL);
    if (!path) {
        return sella_err_memory(err, "a path", strlen(folder));
    }
    sella_status status = sella_npy_write(path, type, data, rows, 0, err);
    free(path);
    return status;
}

static sella_status write_columns(const char *folder, const sella_dataset *view, sella_err *err)
{
    sella_status status = SELLA_OK;
    SELLA_TRY(write_column(folder, NULL, "history.npy", SELLA_NPY_I32, view->history,
                           view->history_total, err));
    for (int s = 0; s < SELLA_SPLITS; s++) {
        const sella_split *p = &view->split[s];
        const char *name = sella_split_name((sella_split_id)s);
        if (p->rows == 0) {
            continue;
        }
        char *sub = sella_path_join(folder, name, NULL);
        status = sub ? sella_dir_make(sub, err) : sella_err_memory(err, "a path", strlen(folder));
        free(sub);
        SELLA_TRY(status);
        SELLA_TRY(write_column(folder, name, "user.npy", SELLA_NPY_I32, p->user_n, p->rows, err));
        SELLA_TRY(write_column(folder, name, "item.npy", SELLA_NPY_I32, p->item_n, p->rows, err));
        SELLA_TRY(write_column(folder, name, "label.npy", SELLA_NPY_U8, p->label_n, p->rows, err));
        SELLA_TRY(write_column(folder, name, "warm.npy", SELLA_NPY_U8, p->warm_n, p->rows, err));
        SELLA_TRY(write_column(folder, name, "time.npy", SELLA_NPY_I64, p->time_n, p->rows, err));
        SELLA_TRY(write_column(folder, name, "history_start.npy", SELLA_NPY_I64, p->history_start_n,
                               p->rows, err));
        SELLA_TRY(write_column(folder, name, "history_count.npy", SELLA_NPY_I32, p->history_count_n,
                               p->rows, err));
    }
done:
    return status;
}

static sella_status write_description(const char *folder, const sella_draft_about *about,
                                      const sella_dataset *view, sella_err *err)
{
    json_t *splits = json_object();
    for (int s = 0; s < SELLA_SPLITS; s++) {
        const sella_split *p = &view->split[s];
        if (p->rows == 0) {
            continue;
        }
        int64_t first = p->time_n[0], last = p->time_n[0];
        for (int64_t r = 0; r < p->rows; r++) {
            first = p->time_n[r] < first ? p->time_n[r] : first;
            last = p->time_n[r] > last ? p->time_n[r] : last;
        }
        json_object_set_new(splits, sella_split_name((sella_split_id)s),
                            json_pack("{s:I, s:I, s:I}", "rows", (json_int_t)p->rows, "first_time",
                                      (json_int_t)first, "last_time", (json_int_t)last));
    }
    json_t *json = json_pack(
        "{s:i, s:o, s:s, s:s, s:o, s:i, s:i, s:i, s:I, s:o, s:s}", "format_version",
        SELLA_DATASET_VERSION, "source", about->source ? json_incref(about->source) : json_object(),
        "noun", about->noun, "protocol", about->protocol, "rules",
        about->rules ? json_incref(about->rules) : json_object(), "users", view->users,
        "train_users", view->train_users, "items", view->items, "history",
        (json_int_t)view->history_total, "splits", splits, "checksum", view->checksum);
    char *path = sella_path_join(folder, "dataset.json", NULL);
    sella_status status = json && path ? sella_json_save(path, json, err)
                                       : sella_err_memory(err, "dataset.json", 1024);
    free(path);
    json_decref(json);
    return status;
}

sella_status sella_draft_write(sella_draft *draft, const sella_draft_about *about, const char *path,
                               const sella_talk *talk, sella_err *err)
{
    sella_status status = SELLA_OK;
    image im = {0};
    sella_aside *aside = NULL;
    assert(sella_noun_known(about->noun));
    SELLA_TRY(sella_aside_check(path, err));
    SELLA_TRY(check_rows(draft, talk, err));
    SELLA_TRY(number_users(draft, &im, err));
    SELLA_TRY(number_items(draft, &im, err));
    SELLA_TRY(lay_histories(draft, &im, err));
    SELLA_TRY(lay_rows(draft, &im, err));
    sella_dataset_checksum(&im.view, im.view.checksum);
    SELLA_TRY(sella_aside_begin(path, "import", &aside, err));
    SELLA_TRY(write_ids(aside->path, &im, err));
    SELLA_TRY(write_columns(aside->path, &im.view, err));
    SELLA_TRY(write_description(aside->path, about, &im.view, err));
    sella_aside *finished = aside;
    aside = NULL;
    SELLA_TRY(sella_aside_publish(finished, err));
done:
    image_release(&im);
    sella_aside_abandon(aside);
    return status;
}
