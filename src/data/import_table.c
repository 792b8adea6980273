/* import_table.c - logs and catalogues that are tables (data/import_table.h). */
#include "data/import_table.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"

/* The words of --columns. */
static const char *const word_n[SELLA_COLUMNS] = {"user",  "item", "rating",
                                                  "label", "time", "title"};

void sella_column_map_release(sella_column_map *map)
{
    for (int c = 0; c < SELLA_COLUMNS; c++) {
        free(map->name_n[c]);
        map->name_n[c] = NULL;
    }
}

sella_status sella_column_map_parse(const char *text, sella_column_map *map, sella_err *err)
{
    while (text && *text) {
        size_t part = strcspn(text, ",");
        const char *equal = memchr(text, '=', part);
        int column = 0;
        while (equal && column < SELLA_COLUMNS &&
               !(strlen(word_n[column]) == (size_t)(equal - text) &&
                 memcmp(word_n[column], text, (size_t)(equal - text)) == 0)) {
            column++;
        }
        if (!equal || column == SELLA_COLUMNS || equal + 1 == text + part) {
            return sella_err_set(err, SELLA_ARG,
                                 "columns has '%.*s'; expected user=NAME, item=NAME, rating=NAME "
                                 "or label=NAME, time=NAME, title=NAME",
                                 (int)(part < 60 ? part : 60), text);
        }
        if (map->name_n[column]) {
            return sella_err_set(err, SELLA_ARG, "columns maps %s twice", word_n[column]);
        }
        map->name_n[column] = strndup(equal + 1, (size_t)(text + part - equal - 1));
        if (!map->name_n[column]) {
            return sella_err_memory(err, "a column name", part);
        }
        text += part + (text[part] == ',');
    }
    if (map->name_n[SELLA_COLUMN_RATING] && map->name_n[SELLA_COLUMN_LABEL]) {
        return sella_err_set(err, SELLA_ARG,
                             "columns maps both rating and label; expected one of them");
    }
    return SELLA_OK;
}

/* Column of a word, -1 when it is not there and not `needed`. */
static sella_status map_find(const sella_table_form *form, const sella_column_map *map,
                             const sella_delimited *table, int word, bool needed, int *column,
                             sella_err *err)
{
    *column = -1;
    if (map->name_n[word]) {
        return sella_delimited_need(table, map->name_n[word], column, err);
    }
    for (int t = 0; form->tried_n[word][t] && *column < 0; t++) {
        *column = sella_delimited_column(table, form->tried_n[word][t]);
    }
    if (*column >= 0 || !needed) {
        return SELLA_OK;
    }
    sella_status status = sella_delimited_need(table, word_n[word], column, err);
    return sella_err_prefix(err, status, "no column for %s (see --columns)", word_n[word]);
}

static sella_status find_columns(const sella_table_form *form, const sella_column_map *map,
                                 const sella_delimited *table, bool catalogue, bool has_catalogue,
                                 int *column, sella_err *err)
{
    sella_status status = SELLA_OK;
    for (int c = 0; c < SELLA_COLUMNS; c++) {
        column[c] = -1;
    }
    SELLA_TRY(map_find(form, map, table, SELLA_COLUMN_ITEM, true, &column[SELLA_COLUMN_ITEM], err));
    /* the name may be the catalogue's alone */
    if (!catalogue && has_catalogue && map->name_n[SELLA_COLUMN_TITLE]) {
        column[SELLA_COLUMN_TITLE] = sella_delimited_column(table, map->name_n[SELLA_COLUMN_TITLE]);
    } else {
        SELLA_TRY(map_find(form, map, table, SELLA_COLUMN_TITLE, catalogue,
                           &column[SELLA_COLUMN_TITLE], err));
    }
    if (catalogue) {
        goto done;
    }
    SELLA_TRY(map_find(form, map, table, SELLA_COLUMN_USER, true, &column[SELLA_COLUMN_USER], err));
    SELLA_TRY(map_find(form, map, table, SELLA_COLUMN_TIME, true, &column[SELLA_COLUMN_TIME], err));
    if (!map->name_n[SELLA_COLUMN_LABEL]) {
        SELLA_TRY(map_find(form, map, table, SELLA_COLUMN_RATING, false,
                           &column[SELLA_COLUMN_RATING], err));
    }
    if (column[SELLA_COLUMN_RATING] < 0) {
        SELLA_TRY(map_find(form, map, table, SELLA_COLUMN_LABEL, false, &column[SELLA_COLUMN_LABEL],
                           err));
    }
    if (column[SELLA_COLUMN_RATING] < 0 && column[SELLA_COLUMN_LABEL] < 0) {
        status = sella_err_set(err, SELLA_FORMAT, "%s:1: there is no column 'rating' nor 'label'%s",
                               table->path, form->no_ratings);
    } else if (column[SELLA_COLUMN_TITLE] < 0 && !has_catalogue) {
        status = sella_err_set(err, SELLA_FORMAT, "%s:1: there is no column for titles%s",
                               table->path, form->no_titles);
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
    while (field.bytes > 0 &&
           (field.data[field.bytes - 1] == ' ' || field.data[field.bytes - 1] == '\t')) {
        field.bytes--;
    }
    return field;
}

/* 0 or 1, also as 1.0: a float column has no other way. */
static sella_status parse_label(sella_field value, int64_t *label, sella_err *err)
{
    double real = -1;
    if (sella_parse_real(value.data, value.bytes, 0, 1, "label", &real, NULL) == SELLA_OK &&
        (real == 0 || real == 1)) {
        *label = real == 1;
        return SELLA_OK;
    }
    return sella_parse_int(value.data, value.bytes, 0, 1, "label", label, err); // its sentence
}

/* One record of a catalogue or of a log. */
static sella_status take_record(sella_import_job *job, const sella_field *field_n,
                                const int *column, int64_t *retitled, const char **reason,
                                sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_draft *draft = &job->draft;
    sella_field item_id = trimmed(field_n[column[SELLA_COLUMN_ITEM]]), user_id = {0};
    int32_t user, item;
    int64_t time = 0, label = 0;
    double rating;
    bool again = false, is_log = column[SELLA_COLUMN_USER] >= 0;
    *reason = "item id";
    SELLA_TRY(sella_id_check(item_id.data, item_id.bytes, "item", err));
    if (is_log) { // check all before anything is added
        sella_field when = trimmed(field_n[column[SELLA_COLUMN_TIME]]);
        user_id = trimmed(field_n[column[SELLA_COLUMN_USER]]);
        *reason = "user id";
        SELLA_TRY(sella_id_check(user_id.data, user_id.bytes, "user", err));
        *reason = "time";
        SELLA_TRY(sella_parse_time(when.data, when.bytes, &time, err));
        if (column[SELLA_COLUMN_RATING] >= 0) {
            sella_field value = trimmed(field_n[column[SELLA_COLUMN_RATING]]);
            *reason = "rating";
            SELLA_TRY(
                sella_parse_real(value.data, value.bytes, -1e300, 1e300, "rating", &rating, err));
            label = rating >= job->like_at;
        } else {
            sella_field value = trimmed(field_n[column[SELLA_COLUMN_LABEL]]);
            *reason = "label";
            SELLA_TRY(parse_label(value, &label, err));
        }
    }
    SELLA_TRY(sella_intern_add(&draft->items, item_id.data, item_id.bytes, &item, NULL, err));
    // An empty title in a log is no title: the catalogue or another row may have one.
    if (column[SELLA_COLUMN_TITLE] >= 0 &&
        (!is_log || trimmed(field_n[column[SELLA_COLUMN_TITLE]]).bytes > 0)) {
        *reason = "title";
        SELLA_TRY(sella_draft_title(draft, item, field_n[column[SELLA_COLUMN_TITLE]].data,
                                    field_n[column[SELLA_COLUMN_TITLE]].bytes, &again, err));
        *retitled += again;
    }
    if (is_log) {
        SELLA_TRY(sella_intern_add(&draft->users, user_id.data, user_id.bytes, &user, NULL, err));
        SELLA_TRY(sella_events_add(&job->events, user, item, label == 1, time, err));
    }
done:
    return status;
}

sella_status sella_import_table(sella_import_job *job, const sella_table_form *form,
                                const sella_column_map *map, const char *path, bool catalogue,
                                bool has_catalogue, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_map file = {0};
    sella_delimited table = {0};
    int column[SELLA_COLUMNS];
    int64_t retitled = 0;
    SELLA_TRY(sella_map_open(path, &file, err));
    SELLA_TRY(sella_import_note(job, path, file.data, file.size, err));
    SELLA_TRY(sella_delimited_open(&table, path, file.data, file.size, form->delimiter,
                                   form->quotes, SELLA_LINE_MAX, err));
    if (form->header) {
        SELLA_TRY(form->header(&table, err));
    }
    SELLA_TRY(find_columns(form, map, &table, catalogue, has_catalogue, column, err));
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
        }
        if (status != SELLA_OK) {
            SELLA_TRY(sella_reject_row(job, reason, status, &why, path, table.line, err));
        }
        SELLA_TRY(sella_import_tick(job, row, (double)(table.cursor - (const char *)file.data),
                                    (double)file.size, err));
    }
    if (retitled > 0) {
        sella_say(job->talk, SELLA_LEVEL_WARN,
                  "%s: %lld records give an item another title than before; the first one is kept",
                  path, (long long)retitled);
    }
done:
    sella_delimited_release(&table);
    sella_map_close(&file);
    return status;
}
