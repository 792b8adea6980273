/* catalogue.c - what a run knows by name: recorded histories, titles, and the search in titles
 * (sella/service.h).
 *
 * Titles are folded once, at the first search: decomposed, without marks, case folded ("Amélie" is
 * found by "AMELIE").
 */
#include <utf8proc.h>

#include "base/arena.h"
#include "base/json.h"
#include "base/text.h"
#include "engine/session.h"
#include "sella/service.h"

enum { QUERY_MAX = 1000, WORDS = 32 }; /* characters; words that are looked at */

int sella_engine_has_user(const sella_engine *engine, const char *user)
{
    return user != NULL && sella_run_find_user(engine->run, user) >= 0;
}

const char *sella_engine_item_title(const sella_engine *engine, const char *item)
{
    const int32_t row = item != NULL ? sella_run_find_item(engine->run, item) : -1;
    return row >= 0 ? engine->run->title[row] : NULL;
}

static json_t *item_json(const sella_run *run, int32_t item)
{
    return json_pack("{s:s, s:s}", "item", run->item_id[item], "title", run->title[item]);
}

/* Takes the list over. */
static sella_status line_of(json_t *list, char **json, sella_err *err)
{
    *json = list != NULL ? sella_json_line(list) : NULL;
    json_decref(list);
    return *json != NULL ? SELLA_OK : sella_err_memory(err, "a list of items", 0);
}

sella_status sella_engine_history(const sella_engine *engine, const char *user, char **json,
                                  sella_err *err)
{
    const sella_run *run = engine->run;
    const int32_t row = user != NULL ? sella_run_find_user(run, user) : -1, *item_n = NULL;
    const int32_t count = sella_run_history(run, row, &item_n);
    const int64_t *time_n =
        row >= 0 && run->history_time != NULL ? run->history_time + run->history_start[row] : NULL;
    json_t *list = json_array();
    *json = NULL;
    for (int32_t j = 0; j < count; j++) {
        json_t *entry = item_json(run, item_n[j]);
        const bool timed = time_n != NULL && time_n[j] != 0;
        if (json_object_set_new(entry, "time", timed ? json_integer(time_n[j]) : json_null()) !=
                0 ||
            json_array_append_new(list, entry) != 0) {
            json_decref(list);
            return sella_err_memory(err, "a history", (size_t)count);
        }
    }
    return line_of(list, json, err);
}

/* ---- search ---- */

/* *out: free(). SELLA_ARG when the text is not UTF-8. */
static sella_status fold(const char *text, const char *what, char **out, sella_err *err)
{
    utf8proc_uint8_t *mapped = NULL;
    const utf8proc_ssize_t bytes =
        utf8proc_map((const utf8proc_uint8_t *)text, 0, &mapped,
                     UTF8PROC_NULLTERM | UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE |
                         UTF8PROC_CASEFOLD | UTF8PROC_STRIPMARK | UTF8PROC_IGNORE);
    *out = (char *)mapped;
    return bytes >= 0 ? SELLA_OK
                      : sella_err_set(err, bytes == UTF8PROC_ERROR_NOMEM ? SELLA_MEMORY : SELLA_ARG,
                                      "%s: %s", what, utf8proc_errmsg(bytes));
}

/* Fold all titles unless that is done. */
static sella_status fold_titles(sella_engine *engine, sella_err *err)
{
    sella_status status = SELLA_OK;
    char **folded_i = NULL;
    const int32_t items = engine->run->items;
    int32_t i = 0;
    pthread_mutex_lock(&engine->lock);
    if (engine->folded_i != NULL) {
        goto done;
    }
    folded_i = sella_alloc((size_t)items, sizeof *folded_i, "titles to search", err);
    if (folded_i == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    for (; i < items; i++) {
        SELLA_TRY(fold(engine->run->title[i], "a title", &folded_i[i], err));
    }
    engine->folded_i = folded_i;
    folded_i = NULL;
done:
    for (int32_t j = 0; folded_i != NULL && j < i; j++) {
        free(folded_i[j]);
    }
    free(folded_i);
    pthread_mutex_unlock(&engine->lock);
    return status;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (unsigned char)c >= 0x80;
}

/* Cut the folded query at blanks, in place. */
static int words_of(char *text, const char **word_n)
{
    int words = 0;
    for (char *at = text; *at != '\0' && words < WORDS;) {
        at += strspn(at, " \t\r\n\f\v");
        if (*at == '\0') {
            break;
        }
        word_n[words++] = at;
        at += strcspn(at, " \t\r\n\f\v");
        if (*at != '\0') {
            *at++ = '\0';
        }
    }
    return words;
}

/* How well a title agrees: 0 not at all, 1 every word is a part, 2 every word begins a word, 3 the
 * title begins with the query, 4 is it. */
static int agreement(const char *title, const char *query, const char *const *word_n, int words)
{
    int all = 2;
    for (int w = 0; w < words; w++) {
        int best = 0;
        for (const char *at = strstr(title, word_n[w]); at != NULL && best < 2;
             at = strstr(at + 1, word_n[w])) {
            best = at == title || !is_letter(at[-1]) ? 2 : 1;
        }
        all = best < all ? best : all;
    }
    const size_t bytes = strlen(query);
    if (all > 0 && strncmp(title, query, bytes) == 0) {
        all = title[bytes] == '\0' ? 4 : 3;
    }
    return all;
}

static void trim(char *text)
{
    size_t bytes = strlen(text), first = strspn(text, " \t\r\n\f\v");
    while (bytes > first && strchr(" \t\r\n\f\v", text[bytes - 1]) != NULL) {
        bytes--;
    }
    memmove(text, text + first, bytes - first);
    text[bytes - first] = '\0';
}

sella_status sella_engine_items(sella_engine *engine, const char *query, int limit, char **json,
                                sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_run *run = engine->run;
    const char *word_n[WORDS];
    char *whole = NULL, *cut = NULL;
    sella_place *hit_n = NULL;
    json_t *list = NULL;
    int32_t hits = 0;
    *json = NULL;
    if (limit < 1) {
        return sella_err_set(err, SELLA_ARG, "the limit of a search is %d; expected at least 1",
                             limit);
    }
    if (query == NULL || sella_utf8_count(query) > QUERY_MAX) {
        return sella_err_set(err, SELLA_ARG, "the query of a search has more than %d characters",
                             QUERY_MAX);
    }
    SELLA_TRY(fold_titles(engine, err));
    SELLA_TRY(fold(query, "the query of a search", &whole, err));
    trim(whole);
    cut = strdup(whole);
    hit_n = sella_alloc((size_t)run->items, sizeof *hit_n, "a search", err);
    if (cut == NULL || hit_n == NULL) {
        SELLA_TRY(sella_err_memory(err, "a search", QUERY_MAX));
    }
    const int words = words_of(cut, word_n);
    if (words == 0) {
        SELLA_TRY(sella_err_set(err, SELLA_ARG, "the query of a search has no words"));
    }
    for (int32_t i = 0; i < run->items; i++) {
        const int level = agreement(engine->folded_i[i], whole, word_n, words);
        if (level > 0) { /* counts of likes stay far below 2^40 */
            hit_n[hits++] = (sella_place){.logit = level * 0x1p40 + engine->liked_i[i], .item = i};
        }
    }
    qsort(hit_n, (size_t)hits, sizeof *hit_n, sella_place_compare);
    list = json_array();
    for (int32_t i = 0; i < hits && i < limit; i++) {
        if (json_array_append_new(list, item_json(run, hit_n[i].item)) != 0) {
            SELLA_TRY(sella_err_memory(err, "a list of items", (size_t)limit));
        }
    }
    status = line_of(list, json, err);
    list = NULL;
done:
    json_decref(list);
    free(whole);
    free(cut);
    free(hit_n);
    return status;
}
