/* warm.c - filling the prefix cache from a file of users and histories (sella/service.h). */
#include <inttypes.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"
#include "data/delimited.h"
#include "engine/session.h"
#include "sella/service.h"

enum { RECORD_LIMIT = 1 << 20 };

/* Field `column` of the last record as a C string in *text; an absent column is an empty field. */
static sella_status field(const sella_delimited *table, int column, sella_text *text,
                          sella_err *err)
{
    text->size = 0;
    return column < 0 ? sella_text_append(text, "", 0, err)
                      : sella_text_append(text, table->field_n[column].data,
                                          table->field_n[column].bytes, err);
}

/* "title;title" or ids, cut in place: entry_n out, grown as needed. */
static sella_status entries_of(char *text, const char ***entry_n, int *count, size_t *capacity,
                               sella_err *err)
{
    *count = 0;
    for (char *at = text, *next; at != NULL && *at != '\0'; at = next) {
        next = strchr(at, ';');
        if (next != NULL) {
            *next++ = '\0';
        }
        at += strspn(at, " \t");
        for (size_t bytes = strlen(at);
             bytes > 0 && (at[bytes - 1] == ' ' || at[bytes - 1] == '\t');) {
            at[--bytes] = '\0';
        }
        if (*at == '\0') {
            continue;
        }
        if ((size_t)*count == *capacity) {
            const size_t more = *capacity * 2 + 64;
            const char **grown = realloc(*entry_n, more * sizeof *grown);
            if (grown == NULL) {
                return sella_err_memory(err, "a history", more * sizeof *grown);
            }
            *entry_n = grown;
            *capacity = more;
        }
        (*entry_n)[(*count)++] = at;
    }
    return SELLA_OK;
}

sella_status sella_engine_warm(sella_engine *engine, const char *users_csv, int64_t *warmed,
                               sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_serving_ops *serving = engine->scorer->serving;
    sella_map map = {0};
    sella_delimited table = {0};
    sella_text user = {0}, history = {0};
    const char **entry_n = NULL;
    size_t capacity = 0;
    int64_t rows = 0;
    bool more = true;
    SELLA_TRY(sella_map_open(users_csv, &map, err));
    SELLA_TRY(
        sella_delimited_open(&table, users_csv, map.data, map.size, ',', true, RECORD_LIMIT, err));
    const int user_column = sella_delimited_column(&table, "user"),
              history_column = sella_delimited_column(&table, "history");
    if (user_column < 0 && history_column < 0) {
        SELLA_TRY(sella_err_set(err, SELLA_FORMAT,
                                "%s:1: has neither a column 'user' nor a column 'history'",
                                users_csv));
    }
    for (;; rows++) {
        sella_resolved who = {.user = -1};
        int count = 0;
        SELLA_TRY(sella_delimited_next(&table, &more, err));
        if (!more) {
            break;
        }
        SELLA_TRY(field(&table, user_column, &user, err));
        SELLA_TRY(field(&table, history_column, &history, err));
        SELLA_TRY(entries_of(history.data, &entry_n, &count, &capacity, err));
        const sella_request request = {.user = user.size > 0 ? user.data : NULL,
                                       .history = entry_n,
                                       .history_count = count > 0 ? count : -1};
        status = sella_engine_resolve(engine, &request, &who, err);
        if (status == SELLA_OK && serving != NULL && serving->warm != NULL) {
            const sella_query query = sella_engine_query(&who, 0);
            status = serving->warm(engine->scorer, &query, err);
        }
        sella_resolved_release(&who);
        if (status != SELLA_OK) {
            status = status == SELLA_MISSING
                         ? sella_err_prefix(err, status, "%s:%" PRId64, users_csv, table.line)
                         : status;
            goto done;
        }
    }
done:
    if (warmed != NULL) {
        *warmed = rows;
    }
    free(entry_n);
    sella_text_release(&user);
    sella_text_release(&history);
    sella_delimited_release(&table);
    sella_map_close(&map);
    return status;
}
