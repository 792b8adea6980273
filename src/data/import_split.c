/* import_split.c - a log that is split already: train.tsv, valid.tsv, test.tsv, items.tsv (SPEC
 * section 2).
 *
 * Row order, histories and ids are data and kept as they are. `not_cold` is compared with what the
 * files themselves say.
 */
#include "data/import.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"
#include "data/delimited.h"

typedef struct split_source {
    sella_import_job *job;
    uint8_t *user_seen, *item_seen; // [..] in train
    int32_t users_room, items_room;
    int32_t *history; // scratch of one row
    int32_t history_room;
} split_source;

static sella_status prefix_line(const sella_delimited *table, sella_status status, sella_err *err)
{
    return status == SELLA_OK
               ? SELLA_OK
               : sella_err_prefix(err, status, "%s:%lld", table->path, (long long)table->line);
}

static sella_status read_items(sella_import_job *job, const char *folder, sella_err *err)
{
    sella_draft *draft = &job->draft;
    sella_status status = SELLA_OK;
    sella_map map = {0};
    sella_delimited table = {0};
    int iid, title;
    bool more;
    char *path = sella_path_join(folder, "items.tsv", NULL);
    if (!path) {
        return sella_err_memory(err, "a path", strlen(folder));
    }
    SELLA_TRY(sella_map_open(path, &map, err));
    SELLA_TRY(sella_import_note(job, path, map.data, map.size, err));
    SELLA_TRY(
        sella_delimited_open(&table, path, map.data, map.size, '\t', false, SELLA_LINE_MAX, err));
    SELLA_TRY(sella_delimited_need(&table, "iid", &iid, err));
    SELLA_TRY(sella_delimited_need(&table, "title", &title, err));
    for (;;) {
        SELLA_TRY(sella_delimited_next(&table, &more, err));
        if (!more) {
            break;
        }
        sella_field id = table.field_n[iid], text = table.field_n[title];
        int32_t item;
        bool fresh;
        SELLA_TRY(prefix_line(&table, sella_id_check(id.data, id.bytes, "item", err), err));
        if ((id.bytes == 1 && id.data[0] == '0') || memchr(id.data, ' ', id.bytes)) {
            status = sella_err_set(err, SELLA_FORMAT,
                                   "%s:%lld: the item id '%.*s' cannot be used: 0 is padding and "
                                   "blanks separate the ids of a history",
                                   path, (long long)table.line, (int)id.bytes, id.data);
            goto done;
        }
        SELLA_TRY(sella_intern_add(&draft->items, id.data, id.bytes, &item, &fresh, err));
        if (!fresh) {
            status = sella_err_set(err, SELLA_FORMAT, "%s:%lld: item '%.*s' occurs twice", path,
                                   (long long)table.line, (int)id.bytes, id.data);
            goto done;
        }
        SELLA_TRY(prefix_line(
            &table, sella_draft_title(draft, item, text.data, text.bytes, NULL, err), err));
    }
    if (draft->items.count == 0) {
        status = sella_err_set(err, SELLA_FORMAT, "%s: has no items", path);
    }
done:
    sella_delimited_release(&table);
    sella_map_close(&map);
    free(path);
    return status;
}

static sella_status find_item(const sella_draft *draft, const char *id, size_t bytes,
                              const char *what, int32_t *item, sella_err *err)
{
    *item = sella_intern_find(&draft->items, id, bytes);
    if (*item >= 0) {
        return SELLA_OK;
    }
    return sella_err_set(err, SELLA_FORMAT, "%s '%.*s' has no title in items.tsv", what,
                         (int)(bytes < 80 ? bytes : 80), id);
}

/* "0 3 8": ids of earlier positives; 0 is dropped. */
static sella_status read_history(split_source *source, sella_field field, int32_t *count,
                                 sella_err *err)
{
    const char *at = field.data, *end = field.data + field.bytes;
    *count = 0;
    while (at < end) {
        const char *blank = memchr(at, ' ', (size_t)(end - at));
        const char *stop = blank ? blank : end;
        size_t bytes = (size_t)(stop - at);
        if (bytes > 0 && !(bytes == 1 && *at == '0')) {
            if (*count == source->history_room) {
                int32_t room = source->history_room * 2 + 256;
                int32_t *bigger = realloc(source->history, (size_t)room * sizeof *bigger);
                if (!bigger) {
                    return sella_err_memory(err, "a history", (size_t)room * sizeof *bigger);
                }
                source->history = bigger;
                source->history_room = room;
            }
            sella_status status = find_item(&source->job->draft, at, bytes, "history item",
                                            &source->history[*count], err);
            if (status != SELLA_OK) {
                return status;
            }
            (*count)++;
        }
        at = blank ? blank + 1 : end;
    }
    return SELLA_OK;
}

static sella_status mark_seen(split_source *source, int32_t user, int32_t item, sella_err *err)
{
    if (user >= source->users_room) {
        int32_t room = (user + 256) * 2;
        uint8_t *bigger = realloc(source->user_seen, (size_t)room);
        if (!bigger) {
            return sella_err_memory(err, "users", (size_t)room);
        }
        memset(bigger + source->users_room, 0, (size_t)(room - source->users_room));
        source->user_seen = bigger;
        source->users_room = room;
    }
    source->user_seen[user] = 1;
    source->item_seen[item] = 1;
    return SELLA_OK;
}

static sella_status read_row(split_source *source, sella_split_id split, const sella_field *field_n,
                             const int *column, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_draft *draft = &source->job->draft;
    sella_field uid = field_n[column[0]], iid = field_n[column[1]], label = field_n[column[2]],
                time = field_n[column[3]];
    int64_t label_value, time_value, warm_value;
    int32_t user, item, count;
    SELLA_TRY(sella_id_check(uid.data, uid.bytes, "user", err));
    SELLA_TRY(find_item(draft, iid.data, iid.bytes, "item", &item, err));
    SELLA_TRY(sella_parse_int(label.data, label.bytes, 0, 1, "label", &label_value, err));
    SELLA_TRY(sella_parse_int(time.data, time.bytes, SELLA_TIME_MIN, SELLA_TIME_MAX, "timestamp",
                              &time_value, err));
    SELLA_TRY(sella_parse_int(field_n[column[4]].data, field_n[column[4]].bytes, 0, 1, "not_cold",
                              &warm_value, err));
    SELLA_TRY(sella_intern_add(&draft->users, uid.data, uid.bytes, &user, NULL, err));
    if (split == SELLA_SPLIT_TRAIN) {
        SELLA_TRY(mark_seen(source, user, item, err));
    }
    bool warm = user < source->users_room && source->user_seen[user] && source->item_seen[item];
    if (warm != (warm_value == 1)) {
        status = sella_err_set(
            err, SELLA_FORMAT, "not_cold is %d; user '%.*s' and item '%.*s' %s in train.tsv",
            (int)warm_value, (int)uid.bytes, uid.data, (int)(iid.bytes < 80 ? iid.bytes : 80),
            iid.data, warm ? "both occur" : "do not both occur");
        goto done;
    }
    SELLA_TRY(read_history(source, field_n[column[5]], &count, err));
    status = sella_draft_add_history(draft, split, user, item, (int)label_value, time_value,
                                     source->history, count, err);
done:
    return status;
}

static sella_status read_split(split_source *source, const char *folder, sella_split_id split,
                               sella_err *err)
{
    static const char *const names[] = {"uid", "iid", "label", "timestamp", "not_cold", "his"};
    sella_status status = SELLA_OK;
    sella_map map = {0};
    sella_delimited table = {0};
    int column[6];
    bool more;
    char file[16];
    snprintf(file, sizeof file, "%s.tsv", sella_split_name(split));
    char *path = sella_path_join(folder, file, NULL);
    if (!path) {
        return sella_err_memory(err, "a path", strlen(folder));
    }
    if (split != SELLA_SPLIT_TRAIN && !sella_path_exists(path)) {
        goto done;
    }
    SELLA_TRY(sella_map_open(path, &map, err));
    SELLA_TRY(sella_import_note(source->job, path, map.data, map.size, err));
    SELLA_TRY(
        sella_delimited_open(&table, path, map.data, map.size, '\t', false, SELLA_LINE_MAX, err));
    for (int c = 0; c < 6; c++) {
        SELLA_TRY(sella_delimited_need(&table, names[c], &column[c], err));
    }
    source->job->draft.split[split].present = true;
    for (int64_t row = 1;; row++) {
        SELLA_TRY(sella_delimited_next(&table, &more, err));
        if (!more) {
            break;
        }
        SELLA_TRY(prefix_line(&table, read_row(source, split, table.field_n, column, err), err));
        SELLA_TRY(sella_import_tick(source->job, row,
                                    (double)(table.cursor - (const char *)map.data),
                                    (double)map.size, err));
    }
    if (source->job->draft.split[split].rows == 0) {
        status = sella_err_set(err, SELLA_STATE, "%s: the %s split is empty; expected rows%s", path,
                               sella_split_name(split),
                               split == SELLA_SPLIT_TRAIN ? "" : ", or no such file");
    }
done:
    sella_delimited_release(&table);
    sella_map_close(&map);
    free(path);
    return status;
}

sella_status sella_import_split(sella_import_job *job, sella_err *err)
{
    sella_status status = SELLA_OK;
    split_source source = {.job = job};
    const char *folder = job->options->inputs[0];
    if (!sella_path_is_dir(folder)) {
        return sella_err_set(err, SELLA_MISSING,
                             "%s: is not a folder; expected one with train.tsv and items.tsv",
                             folder);
    }
    SELLA_TRY(read_items(job, folder, err));
    source.item_seen = sella_alloc((size_t)job->draft.items.count, 1, "items", err);
    if (!source.item_seen) {
        status = SELLA_MEMORY;
        goto done;
    }
    for (int s = 0; s < SELLA_SPLITS; s++) {
        SELLA_TRY(read_split(&source, folder, (sella_split_id)s, err));
    }
done:
    free(source.user_seen);
    free(source.item_seen);
    free(source.history);
    return status;
}
