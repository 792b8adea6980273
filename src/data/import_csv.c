/* import_csv.c - any delimited log with a header line, its columns mapped by name. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "data/delimited.h"
#include "data/import.h"

enum { USER, ITEM, RATING, LABEL, TIME, TITLE, COLUMNS };

/* The words of --columns, and the header names that are tried when a word is not mapped. */
static const struct {
    const char *word;
    const char *const *tried;
} known[COLUMNS] = {
    [USER] = {"user", (const char *const[]){"user", "user_id", "userId", "uid", NULL}},
    [ITEM] = {"item", (const char *const[]){"item", "item_id", "itemId", "iid", "movieId", NULL}},
    [RATING] = {"rating", (const char *const[]){"rating", NULL}},
    [LABEL] = {"label", (const char *const[]){"label", NULL}},
    [TIME] = {"time", (const char *const[]){"time", "timestamp", NULL}},
    [TITLE] = {"title", (const char *const[]){"title", NULL}},
};

typedef struct csv_map {
    char *name[COLUMNS]; // given by the user, NULL: try the known ones
} csv_map;

static void map_release(csv_map *map)
{
    for (int c = 0; c < COLUMNS; c++) {
        free(map->name[c]);
    }
}

/* "user=U,item=I,..." */
static sella_status map_parse(const char *text, csv_map *map, sella_err *err)
{
    while (text && *text) {
        size_t part = strcspn(text, ",");
        const char *equal = memchr(text, '=', part);
        int column = 0;
        while (equal && column < COLUMNS && !(strlen(known[column].word) == (size_t)(equal - text) && memcmp(known[column].word, text, (size_t)(equal - text)) == 0)) {
            column++;
        }
        if (!equal || column == COLUMNS || equal + 1 == text + part) {
            return sella_err_set(err, SELLA_ARG, "columns has '%.*s'; expected user=NAME, item=NAME, rating=NAME or label=NAME, time=NAME, title=NAME",
                                 (int)(part < 60 ? part : 60), text);
        }
        if (map->name[column]) {
            return sella_err_set(err, SELLA_ARG, "columns maps %s twice", known[column].word);
        }
        map->name[column] = strndup(equal + 1, (size_t)(text + part - equal - 1));
        if (!map->name[column]) {
            return sella_err_memory(err, "a column name", part);
        }
        text += part + (text[part] == ',');
    }
    if (map->name[RATING] && map->name[LABEL]) {
        return sella_err_set(err, SELLA_ARG, "columns maps both rating and label; expected one of them");
    }
    return SELLA_OK;
}

/* Column of a word, -1 when it is not there and not `needed`. */
static sella_status map_find(const csv_map *map, const sella_delimited *table, int word, bool needed, int *column, sella_err *err)
{
    *column = -1;
    if (map->name[word]) {
        return sella_delimited_need(table, map->name[word], column, err);
    }
    for (int t = 0; known[word].tried[t] && *column < 0; t++) {
        *column = sella_delimited_column(table, known[word].tried[t]);
    }
    if (*column >= 0 || !needed) {
        return SELLA_OK;
    }
    sella_status status = sella_delimited_need(table, known[word].word, column, err);
    return sella_err_prefix(err, status, "no column for %s (see --columns)", known[word].word);
}

static sella_status find_columns(const csv_map *map, const sella_delimited *table, bool catalogue, bool has_catalogue, int *column, sella_err *err)
{
    sella_status status = SELLA_OK;
    for (int c = 0; c < COLUMNS; c++) {
        column[c] = -1;
    }
    SELLA_TRY(map_find(map, table, ITEM, true, &column[ITEM], err));
    if (catalogue || !has_catalogue) {
        SELLA_TRY(map_find(map, table, TITLE, catalogue, &column[TITLE], err));
    } else { // the name may be the catalogue's alone
        column[TITLE] = sella_delimited_column(table, map->name[TITLE] ? map->name[TITLE] : "title");
    }
    if (catalogue) {
        goto done;
    }
    SELLA_TRY(map_find(map, table, USER, true, &column[USER], err));
    SELLA_TRY(map_find(map, table, TIME, true, &column[TIME], err));
    if (!map->name[LABEL]) {
        SELLA_TRY(map_find(map, table, RATING, false, &column[RATING], err));
    }
    if (column[RATING] < 0) {
        SELLA_TRY(map_find(map, table, LABEL, false, &column[LABEL], err));
    }
    if (column[RATING] < 0 && column[LABEL] < 0) {
        status = sella_err_set(err, SELLA_FORMAT, "%s:1: there is no column 'rating' nor 'label' (see --columns)", table->path);
    }
done:
    return status;
}

static sella_field trimmed(sella_field field)
{
    while (field.bytes > 0 && (field.data[0] == ' ' || field.data[0] == '\t')) {
        field.data++;
        field.bytes--;
    }
    while (field.bytes > 0 && (field.data[field.bytes - 1] == ' ' || field.data[field.bytes - 1] == '\t')) {
        field.bytes--;
    }
    return field;
}

/* One record of a catalogue or of a log. */
static sella_status take_record(sella_import_job *job, const sella_field *field_n, const int *column, int64_t *retitled, const char **reason, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_draft *draft = &job->draft;
    sella_field item_id = trimmed(field_n[column[ITEM]]), user_id = {0};
    int32_t user, item;
    int64_t time = 0, label = 0;
    double rating;
    bool again = false, is_log = column[USER] >= 0;
    *reason = "item id";
    SELLA_TRY(sella_id_check(item_id.data, item_id.bytes, "item", err));
    if (is_log) { // check all before anything is added
        sella_field when = trimmed(field_n[column[TIME]]);
        user_id = trimmed(field_n[column[USER]]);
        *reason = "user id";
        SELLA_TRY(sella_id_check(user_id.data, user_id.bytes, "user", err));
        *reason = "time";
        SELLA_TRY(sella_parse_time(when.data, when.bytes, &time, err));
        if (column[RATING] >= 0) {
            sella_field value = trimmed(field_n[column[RATING]]);
            *reason = "rating";
            SELLA_TRY(sella_parse_real(value.data, value.bytes, -1e300, 1e300, "rating", &rating, err));
            label = rating >= job->like_at;
        } else {
            sella_field value = trimmed(field_n[column[LABEL]]);
            *reason = "label";
            SELLA_TRY(sella_parse_int(value.data, value.bytes, 0, 1, "label", &label, err));
        }
    }
    SELLA_TRY(sella_intern_add(&draft->items, item_id.data, item_id.bytes, &item, NULL, err));
    // An empty title in a log is no title: the catalogue or another row may have one.
    if (column[TITLE] >= 0 && (!is_log || trimmed(field_n[column[TITLE]]).bytes > 0)) {
        *reason = "title";
        SELLA_TRY(sella_draft_title(draft, item, field_n[column[TITLE]].data, field_n[column[TITLE]].bytes, &again, err));
        *retitled += again;
    }
    if (is_log) {
        SELLA_TRY(sella_intern_add(&draft->users, user_id.data, user_id.bytes, &user, NULL, err));
        SELLA_TRY(sella_events_add(&job->events, user, item, label == 1, time, err));
    }
done:
    return status;
}

static sella_status read_file(sella_import_job *job, const csv_map *map, const char *path, bool catalogue, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_map file = {0};
    sella_delimited table = {0};
    int column[COLUMNS];
    int64_t retitled = 0;
    SELLA_TRY(sella_map_open(path, &file, err));
    SELLA_TRY(sella_delimited_open(&table, path, file.data, file.size, 0, true, SELLA_LINE_MAX, err));
    SELLA_TRY(find_columns(map, &table, catalogue, job->options->items != NULL, column, err));
    if (!catalogue && column[TITLE] < 0 && !job->options->items) {
        status = sella_err_set(err, SELLA_FORMAT, "%s:1: there is no column for titles (--columns title=NAME), nor a file with them (--items FILE)", path);
        goto done;
    }
    for (int64_t row = 1;; row++) {
        bool more;
        sella_err why = {0};
        const char *reason = "record";
        status = sella_delimited_next(&table, &more, &why);
        if (status == SELLA_OK && !more) {
            break;
        }
        if (status == SELLA_OK) {
            status = take_record(job, table.field_n, column, &retitled, &reason, &why);
            if (status != SELLA_OK) {
                sella_err_prefix(&why, status, "%s:%lld", path, (long long)table.line);
            }
        }
        if (status != SELLA_OK && (status = sella_reject(&job->rejects, reason, status, &why)) != SELLA_OK) {
            sella_err_set(err, status, "%s", why.text);
            goto done;
        }
        SELLA_TRY(sella_import_tick(job, row, (double)(table.cursor - (const char *)file.data), (double)file.size, err));
    }
    if (retitled > 0) {
        sella_say(job->talk, SELLA_LEVEL_WARN, "%s: %lld records give an item another title than before; the first one is kept", path, (long long)retitled);
    }
done:
    sella_delimited_release(&table);
    sella_map_close(&file);
    return status;
}

sella_status sella_import_csv(sella_import_job *job, sella_err *err)
{
    sella_status status = SELLA_OK;
    csv_map map = {0};
    SELLA_TRY(map_parse(job->options->columns, &map, err));
    if (job->options->items) {
        SELLA_TRY(read_file(job, &map, job->options->items, true, err));
    }
    for (int i = 0; i < job->options->input_count; i++) {
        SELLA_TRY(read_file(job, &map, job->options->inputs[i], false, err));
    }
done:
    map_release(&map);
    return status;
}
