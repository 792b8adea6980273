/* dataset.c - opening a data set folder: every size, index, range and the checksum is verified
 * before anything is used. */
#include "data/dataset.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "data/dataset_write.h"
#include "data/intern.h"
#include "formats/npy.h"

enum { COLUMNS = 7 };
static const char *const column_names[COLUMNS] = {"user", "item",          "label",        "warm",
                                                  "time", "history_start", "history_count"};
static const sella_npy_type column_types[COLUMNS] = {SELLA_NPY_I32, SELLA_NPY_I32, SELLA_NPY_U8,
                                                     SELLA_NPY_U8,  SELLA_NPY_I64, SELLA_NPY_I64,
                                                     SELLA_NPY_I32};

struct sella_dataset_impl {
    sella_npy column[SELLA_SPLITS][COLUMNS];
    sella_npy history;
    sella_intern user_ids, item_ids;
    const char **user_id, **item_id, **title;
    sella_text titles; // all titles, NUL-terminated
    char *noun, *name, *path;
    int64_t *last_row[SELLA_SPLITS]; // [users] the user's last row there, -1
};

static const char *const split_names[SELLA_SPLITS] = {"train", "valid", "test"};

const char *sella_split_name(sella_split_id split)
{
    return split_names[split];
}

int sella_split_find(const char *name)
{
    for (int s = 0; s < SELLA_SPLITS; s++) {
        if (strcmp(name, split_names[s]) == 0) {
            return s;
        }
    }
    return -1;
}

void sella_dataset_close(sella_dataset *dataset)
{
    if (!dataset) {
        return;
    }
    struct sella_dataset_impl *impl = dataset->impl;
    if (impl) {
        for (int s = 0; s < SELLA_SPLITS; s++) {
            for (int c = 0; c < COLUMNS; c++) {
                sella_npy_close(&impl->column[s][c]);
            }
            free(impl->last_row[s]);
        }
        sella_npy_close(&impl->history);
        sella_intern_release(&impl->user_ids);
        sella_intern_release(&impl->item_ids);
        sella_text_release(&impl->titles);
        free(impl->user_id);
        free(impl->item_id);
        free(impl->title);
        free(impl->noun);
        free(impl->name);
        free(impl->path);
        free(impl);
    }
    free(dataset);
}

/* Read a tsv of one id column (uid) or two columns (iid, title). */
static sella_status read_ids(const char *folder, const char *file, const char *header,
                             sella_intern *ids, sella_text *titles, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_map map = {0};
    sella_lines lines;
    const char *text;
    size_t bytes;
    const char *what = titles ? "item" : "user";
    char *path = sella_path_join(folder, file, NULL);
    if (!path) {
        return sella_err_memory(err, "a path", strlen(folder));
    }
    SELLA_TRY(sella_map_open(path, &map, err));
    sella_lines_init(&lines, path, map.data, map.size, SELLA_ID_MAX + SELLA_TITLE_MAX + 1);
    SELLA_TRY(sella_lines_next(&lines, &text, &bytes, err));
    if (!text || bytes != strlen(header) || memcmp(text, header, bytes) != 0) {
        status = sella_err_set(err, SELLA_FORMAT, "%s:1: the header is not '%s'", path,
                               titles ? "iid<tab>title" : "uid");
        goto done;
    }
    for (;;) {
        bool fresh;
        int32_t index;
        SELLA_TRY(sella_lines_next(&lines, &text, &bytes, err));
        if (!text) {
            break;
        }
        const char *tab = memchr(text, '\t', bytes);
        if ((tab != NULL) != (titles != NULL)) {
            status = sella_err_set(err, SELLA_FORMAT, "%s:%lld: expected %s", path,
                                   (long long)lines.line, titles ? "id, tab, title" : "one id");
            goto done;
        }
        size_t id_bytes = tab ? (size_t)(tab - text) : bytes;
        status = sella_id_check(text, id_bytes, what, err);
        if (status == SELLA_OK && tab) {
            status = sella_title_check(tab + 1, bytes - id_bytes - 1, err);
        }
        if (status != SELLA_OK) {
            sella_err_prefix(err, status, "%s:%lld", path, (long long)lines.line);
            goto done;
        }
        SELLA_TRY(sella_intern_add(ids, text, id_bytes, &index, &fresh, err));
        if (!fresh) {
            status = sella_err_set(err, SELLA_FORMAT, "%s:%lld: %s '%.*s' occurs twice", path,
                                   (long long)lines.line, what, (int)id_bytes, text);
            goto done;
        }
        if (titles) {
            SELLA_TRY(sella_text_append(titles, tab + 1, bytes - id_bytes - 1, err));
            SELLA_TRY(sella_text_append(titles, "", 1, err));
        }
    }
done:
    free(path);
    sella_map_close(&map);
    return status;
}

/* Map one column and compare its length with dataset.json's. */
static sella_status open_column(const char *folder, const char *sub, const char *name,
                                sella_npy_type type, int64_t rows, sella_npy *out, sella_err *err)
{
    char file[48];
    snprintf(file, sizeof file, "%s.npy", name);
    char *path =
        sub ? sella_path_join(folder, sub, file, NULL) : sella_path_join(folder, file, NULL);
    if (!path) {
        return sella_err_memory(err, "a path", strlen(folder));
    }
    sella_status status = sella_npy_open(path, type, out, err);
    if (status == SELLA_OK && (out->rank != 1 || out->shape[0] != rows)) {
        status = sella_err_set(err, SELLA_FORMAT, "%s: has %lld values; dataset.json says %lld",
                               path, (long long)out->shape[0], (long long)rows);
    }
    free(path);
    return status;
}

/* Every index in range: nothing read later can leave the mapped columns. */
static sella_status check_split(const sella_dataset *d, int split, sella_err *err)
{
    const sella_split *p = &d->split[split];
    const char *name = split_names[split];
    for (int64_t r = 0; r < p->rows; r++) {
        const char *wrong = NULL;
        long long value = 0;
        if (p->user_n[r] < 0 || p->user_n[r] >= d->users) {
            wrong = "user", value = p->user_n[r];
        } else if (p->item_n[r] < 0 || p->item_n[r] >= d->items) {
            wrong = "item", value = p->item_n[r];
        } else if (p->label_n[r] > 1) {
            wrong = "label", value = p->label_n[r];
        } else if (p->history_count_n[r] < 0 || p->history_start_n[r] < 0 ||
                   p->history_count_n[r] > d->history_total ||
                   p->history_start_n[r] > d->history_total - p->history_count_n[r]) {
            wrong = "history range", value = p->history_start_n[r];
        }
        if (wrong) {
            return sella_err_set(err, SELLA_FORMAT, "%s/%s: row %lld: %s %lld is out of range",
                                 d->path, name, (long long)r, wrong, value);
        }
    }
    return SELLA_OK;
}

/* user < train_users means "occurs in train"; warm means user and item occur in train. */
static sella_status check_warm(const sella_dataset *d, sella_err *err)
{
    sella_status status = SELLA_OK;
    uint8_t *user_seen = sella_alloc((size_t)d->users, 1, "users", err),
            *item_seen = sella_alloc((size_t)d->items, 1, "items", err);
    if (!user_seen || !item_seen) {
        status = SELLA_MEMORY;
        goto done;
    }
    for (int64_t r = 0; r < d->split[SELLA_SPLIT_TRAIN].rows; r++) {
        user_seen[d->split[SELLA_SPLIT_TRAIN].user_n[r]] = 1;
        item_seen[d->split[SELLA_SPLIT_TRAIN].item_n[r]] = 1;
    }
    for (int32_t u = 0; u < d->users; u++) {
        if (user_seen[u] != (u < d->train_users)) {
            status = sella_err_set(err, SELLA_FORMAT,
                                   "%s: user %d is not numbered by whether it occurs in train",
                                   d->path, u);
            goto done;
        }
    }
    for (int s = 0; s < SELLA_SPLITS; s++) {
        const sella_split *p = &d->split[s];
        for (int64_t r = 0; r < p->rows; r++) {
            if (p->warm_n[r] != (user_seen[p->user_n[r]] && item_seen[p->item_n[r]])) {
                status = sella_err_set(err, SELLA_FORMAT,
                                       "%s/%s: row %lld: warm is %d; user and item say otherwise",
                                       d->path, split_names[s], (long long)r, p->warm_n[r]);
                goto done;
            }
        }
    }
done:
    free(user_seen);
    free(item_seen);
    return status;
}

static sella_status index_last_rows(sella_dataset *d, sella_err *err)
{
    for (int s = 0; s < SELLA_SPLITS; s++) {
        int64_t *last = d->impl->last_row[s] =
            sella_alloc((size_t)d->users, sizeof *last, "users", err);
        if (!last) {
            return SELLA_MEMORY;
        }
        memset(last, 0xff, (size_t)d->users * sizeof *last); // -1
        for (int64_t r = 0; r < d->split[s].rows; r++) {
            last[d->split[s].user_n[r]] = r;
        }
    }
    return SELLA_OK;
}

static const char **pointers(const char *text, int32_t count, sella_err *err)
{
    const char **out = sella_alloc((size_t)count, sizeof *out, "ids and titles", err);
    for (int32_t i = 0; out && i < count; i++) {
        out[i] = text;
        text += strlen(text) + 1;
    }
    return out;
}

static sella_status open_ids(sella_dataset *d, sella_err *err)
{
    sella_status status = SELLA_OK;
    struct sella_dataset_impl *impl = d->impl;
    SELLA_TRY(read_ids(d->path, "users.tsv", "uid", &impl->user_ids, NULL, err));
    SELLA_TRY(read_ids(d->path, "items.tsv", "iid\ttitle", &impl->item_ids, &impl->titles, err));
    if (impl->user_ids.count != d->users || impl->item_ids.count != d->items) {
        status = sella_err_set(
            err, SELLA_FORMAT,
            "%s: users.tsv and items.tsv have %d and %d ids; dataset.json says %d and %d", d->path,
            impl->user_ids.count, impl->item_ids.count, d->users, d->items);
        goto done;
    }
    d->user_id = impl->user_id = pointers(impl->user_ids.bytes, d->users, err);
    d->item_id = impl->item_id = pointers(impl->item_ids.bytes, d->items, err);
    d->title = impl->title = pointers(impl->titles.data, d->items, err);
    status = d->user_id && d->item_id && d->title ? SELLA_OK : SELLA_MEMORY;
done:
    return status;
}

static sella_status open_columns(sella_dataset *d, sella_err *err)
{
    sella_status status = SELLA_OK;
    struct sella_dataset_impl *impl = d->impl;
    SELLA_TRY(open_column(d->path, NULL, "history", SELLA_NPY_I32, d->history_total, &impl->history,
                          err));
    d->history = impl->history.data;
    for (int64_t i = 0; i < d->history_total; i++) {
        if (d->history[i] < 0 || d->history[i] >= d->items) {
            status = sella_err_set(err, SELLA_FORMAT,
                                   "%s/history.npy: value %lld: item %d is out of range", d->path,
                                   (long long)i, d->history[i]);
            goto done;
        }
    }
    for (int s = 0; s < SELLA_SPLITS; s++) {
        sella_split *p = &d->split[s];
        if (p->rows == 0) {
            continue;
        }
        for (int c = 0; c < COLUMNS; c++) {
            SELLA_TRY(open_column(d->path, split_names[s], column_names[c], column_types[c],
                                  p->rows, &impl->column[s][c], err));
        }
        p->user_n = impl->column[s][0].data;
        p->item_n = impl->column[s][1].data;
        p->label_n = impl->column[s][2].data;
        p->warm_n = impl->column[s][3].data;
        p->time_n = impl->column[s][4].data;
        p->history_start_n = impl->column[s][5].data;
        p->history_count_n = impl->column[s][6].data;
        SELLA_TRY(check_split(d, s, err));
    }
    SELLA_TRY(check_warm(d, err));
    SELLA_TRY(index_last_rows(d, err));
done:
    return status;
}

/* Sizes, noun and checksum of dataset.json. */
static sella_status read_description(sella_dataset *d, sella_err *err)
{
    sella_status status = SELLA_OK;
    json_t *json = NULL;
    const json_t *splits;
    const char *text;
    int64_t value;
    char *path = sella_path_join(d->path, "dataset.json", NULL);
    if (!path) {
        return sella_err_memory(err, "a path", strlen(d->path));
    }
    if (sella_path_is_dir(d->path) && !sella_path_exists(path)) {
        status = sella_err_set(
            err, SELLA_MISSING,
            "%s: is not a data set: it has no dataset.json; make one with sella import", d->path);
        goto done;
    }
    SELLA_TRY(sella_json_load(path, (size_t)1 << 20, &json, err));
    SELLA_TRY(sella_json_get_int(json, "format_version", path, 1, INT32_MAX, &value, err));
    if (value != SELLA_DATASET_VERSION) {
        status = sella_err_set(err, SELLA_UNSUPPORTED,
                               "%s: format_version is %lld; this program reads %d", path,
                               (long long)value, SELLA_DATASET_VERSION);
        goto done;
    }
    SELLA_TRY(sella_json_get_int(json, "users", path, 1, INT32_MAX / 4, &value, err));
    d->users = (int32_t)value;
    SELLA_TRY(sella_json_get_int(json, "train_users", path, 1, d->users, &value, err));
    d->train_users = (int32_t)value;
    SELLA_TRY(sella_json_get_int(json, "items", path, 1, INT32_MAX / 4, &value, err));
    d->items = (int32_t)value;
    SELLA_TRY(sella_json_get_int(json, "history", path, 0, INT64_MAX / 8, &d->history_total, err));
    SELLA_TRY(sella_json_get_string(json, "noun", path, &text, err));
    if (!sella_noun_known(text)) {
        status = sella_err_set(err, SELLA_FORMAT, "%s: noun is '%s'; expected movie, book or item",
                               path, text);
        goto done;
    }
    d->noun = d->impl->noun = strdup(text);
    SELLA_TRY(sella_json_get_string(json, "checksum", path, &text, err));
    if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16) {
        status = sella_err_set(err, SELLA_FORMAT,
                               "%s: checksum is '%s'; expected 16 hexadecimal digits", path, text);
        goto done;
    }
    memcpy(d->checksum, text, 17);
    SELLA_TRY(sella_json_get_object(json, "splits", path, &splits, err));
    for (int s = 0; s < SELLA_SPLITS; s++) {
        const json_t *split = json_object_get(splits, split_names[s]);
        if (split) {
            SELLA_TRY(
                sella_json_get_int(split, "rows", path, 1, INT64_MAX / 64, &d->split[s].rows, err));
        }
    }
    if (d->split[SELLA_SPLIT_TRAIN].rows == 0) {
        status = sella_err_set(err, SELLA_FORMAT, "%s: key 'splits' has no train", path);
    }
done:
    free(path);
    json_decref(json);
    return status;
}

sella_status sella_dataset_open(const char *path, sella_dataset **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    *out = NULL;
    sella_dataset *d = sella_alloc(1, sizeof *d, "a data set", err);
    struct sella_dataset_impl *impl = d ? sella_alloc(1, sizeof *impl, "a data set", err) : NULL;
    if (!impl) {
        free(d);
        return SELLA_MEMORY;
    }
    d->impl = impl;
    impl->path = strdup(path);
    char *real = realpath(path, NULL);
    const char *slash = real ? strrchr(real, '/') : NULL;
    impl->name = strdup(slash && slash[1] ? slash + 1 : path);
    free(real);
    d->path = impl->path;
    d->name = impl->name;
    if (!d->path || !d->name) {
        status = sella_err_memory(err, "a path", strlen(path));
        goto done;
    }
    if (!sella_path_exists(path)) {
        status = sella_err_set(err, SELLA_MISSING, "%s: there is no such data set", path);
        goto done;
    }
    SELLA_TRY(read_description(d, err));
    if (!d->noun) {
        status = sella_err_memory(err, "a data set", 8);
        goto done;
    }
    SELLA_TRY(open_ids(d, err));
    SELLA_TRY(open_columns(d, err));
    char checksum[17];
    sella_dataset_checksum(d, checksum);
    if (strcmp(checksum, d->checksum) != 0) {
        status = sella_err_set(err, SELLA_FORMAT,
                               "%s: dataset.json has the checksum %s; the contents have %s: the "
                               "folder was changed after import",
                               path, d->checksum, checksum);
        goto done;
    }
    *out = d;
    d = NULL;
done:
    sella_dataset_close(d);
    return status;
}

static uint64_t hash_texts(const char *const *text_n, int32_t count, uint64_t hash)
{
    for (int32_t i = 0; i < count; i++) {
        hash = sella_hash_bytes(text_n[i], strlen(text_n[i]) + 1, hash);
    }
    return hash;
}

void sella_dataset_checksum(const sella_dataset *d, char *text)
{
    int64_t sizes[] = {SELLA_DATASET_VERSION, d->users,         d->train_users,   d->items,
                       d->history_total,      d->split[0].rows, d->split[1].rows, d->split[2].rows};
    uint64_t hash = sella_hash_bytes(sizes, sizeof sizes, 0);
    hash = hash_texts(d->user_id, d->users, hash);
    hash = hash_texts(d->item_id, d->items, hash);
    hash = hash_texts(d->title, d->items, hash);
    hash = sella_hash_bytes(d->history, (size_t)d->history_total * sizeof *d->history, hash);
    for (int s = 0; s < SELLA_SPLITS; s++) {
        const sella_split *p = &d->split[s];
        size_t rows = (size_t)p->rows;
        if (rows > 0) {
            hash = sella_hash_bytes(p->user_n, rows * 4, hash);
            hash = sella_hash_bytes(p->item_n, rows * 4, hash);
            hash = sella_hash_bytes(p->label_n, rows, hash);
            hash = sella_hash_bytes(p->warm_n, rows, hash);
            hash = sella_hash_bytes(p->time_n, rows * 8, hash);
            hash = sella_hash_bytes(p->history_start_n, rows * 8, hash);
            hash = sella_hash_bytes(p->history_count_n, rows * 4, hash);
        }
    }
    snprintf(text, 17, "%016llx", (unsigned long long)hash);
}

int32_t sella_dataset_find_user(const sella_dataset *dataset, const char *id)
{
    return sella_intern_find(&dataset->impl->user_ids, id, strlen(id));
}

int32_t sella_dataset_find_item(const sella_dataset *dataset, const char *id)
{
    return sella_intern_find(&dataset->impl->item_ids, id, strlen(id));
}

int32_t sella_dataset_history(const sella_dataset *dataset, sella_split_id split, int64_t row,
                              const int32_t **items)
{
    const sella_split *p = &dataset->split[split];
    *items = dataset->history + p->history_start_n[row];
    return p->history_count_n[row];
}

sella_status sella_dataset_user_history(const sella_dataset *dataset, int32_t user, unsigned splits,
                                        int32_t **items, int32_t *count, sella_err *err)
{
    const int32_t *before = NULL;
    int32_t n = 0, liked = -1;
    for (int s = SELLA_SPLITS - 1; s >= 0; s--) {
        int64_t row = splits & (1u << s) ? dataset->impl->last_row[s][user] : -1;
        if (row >= 0) {
            n = sella_dataset_history(dataset, (sella_split_id)s, row, &before);
            liked = dataset->split[s].label_n[row] ? dataset->split[s].item_n[row] : -1;
            break;
        }
    }
    *count = 0;
    *items = sella_alloc((size_t)n + 1, sizeof **items, "a history", err);
    if (!*items) {
        return SELLA_MEMORY;
    }
    if (n > 0) {
        memcpy(*items, before, (size_t)n * sizeof **items);
    }
    if (liked >= 0) {
        (*items)[n++] = liked;
    }
    *count = n;
    return SELLA_OK;
}
