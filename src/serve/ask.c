/* ask.c - checked request bodies (serve/ask.h). */
#include "serve/ask.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/json.h"
#include "base/text.h"

enum {
    ID_MAX = 1024,
    SCORE = SELLA_ASK_SCORE,
    RECOMMEND = SELLA_ASK_RECOMMEND,
    EXPLAIN = SELLA_ASK_EXPLAIN
};
#define BUDGET_MAX 600000.0

typedef enum field_type { FIELD_ID, FIELD_IDS, FIELD_COUNT, FIELD_REAL, FIELD_FLAG } field_type;

typedef struct field {
    const char *name;
    field_type type;
    int kinds;    /* which requests know it */
    size_t place; /* in sella_ask */
    int min, max; /* COUNT: of the value; IDS: of the list's length */
} field;

static const field fields[] = {
    {"user", FIELD_ID, SCORE | RECOMMEND | EXPLAIN, offsetof(sella_ask, user), 0, 0},
    {"history", FIELD_IDS, SCORE | RECOMMEND | EXPLAIN, offsetof(sella_ask, history), 0,
     SELLA_ASK_HISTORY_MAX},
    {"free_titles", FIELD_FLAG, SCORE | RECOMMEND | EXPLAIN, offsetof(sella_ask, free_titles), 0,
     0},
    {"items", FIELD_IDS, SCORE, offsetof(sella_ask, items), 1, 1000000},
    {"item", FIELD_ID, EXPLAIN, offsetof(sella_ask, item), 0, 0},
    {"k", FIELD_COUNT, RECOMMEND, offsetof(sella_ask, k), 1, SELLA_ASK_K_MAX},
    {"candidates", FIELD_IDS, RECOMMEND, offsetof(sella_ask, items), 1, 1000000},
    {"exclude", FIELD_IDS, RECOMMEND, offsetof(sella_ask, exclude), 0, 1000000},
    {"retrieve_k", FIELD_COUNT, RECOMMEND, offsetof(sella_ask, retrieve_k), 1, 1000000},
    {"budget_ms", FIELD_REAL, RECOMMEND, offsetof(sella_ask, budget_ms), 0, 0},
    {"without", FIELD_IDS, EXPLAIN, offsetof(sella_ask, without), 0, SELLA_ASK_HISTORY_MAX},
    {"attention", FIELD_FLAG, EXPLAIN, offsetof(sella_ask, attention), 0, 0},
    {"explain", FIELD_FLAG, RECOMMEND, offsetof(sella_ask, explain), 0, 0},
    {"include_seen", FIELD_FLAG, RECOMMEND, offsetof(sella_ask, include_seen), 0, 0},
};
enum { FIELDS = sizeof fields / sizeof *fields };

bool sella_ask_whole(const json_t *value, json_int_t *out)
{
    const double real = json_is_real(value) ? json_real_value(value) : 0.5;
    const bool whole = real >= -0x1p63 && real < 0x1p63 && real == floor(real);
    *out = json_is_integer(value) ? json_integer_value(value) : whole ? (json_int_t)real : 0;
    return json_is_integer(value) || whole;
}

sella_status sella_ask_id(json_t *container, const char *key, size_t index, const char *where,
                          const char **out, sella_err *err)
{
    json_t *value =
        key != NULL ? json_object_get(container, key) : json_array_get(container, index);
    json_int_t number;
    if (sella_ask_whole(value, &number)) {
        char text[32];
        snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, number);
        value = json_string(text);
        if (value == NULL || (key != NULL ? json_object_set_new(container, key, value)
                                          : json_array_set_new(container, index, value)) != 0) {
            return sella_err_memory(err, "an id", sizeof text);
        }
    }
    if (!json_is_string(value) || json_string_length(value) == 0) {
        return sella_err_set(err, SELLA_FORMAT,
                             "%s: expected an id: a text that is not empty, or a whole number",
                             where);
    }
    if (sella_utf8_count(json_string_value(value)) > ID_MAX) {
        return sella_err_set(err, SELLA_FORMAT, "%s: has %zu characters; expected at most %d",
                             where, sella_utf8_count(json_string_value(value)), ID_MAX);
    }
    *out = json_string_value(value);
    return SELLA_OK;
}

sella_status sella_ask_keys(json_t *object, const char *const *name_n, size_t count,
                            const char *where, sella_err *err)
{
    const char *key;
    json_t *value;
    json_object_foreach (object, key, value) {
        bool known = false;
        for (size_t i = 0; i < count; i++) {
            known = known || strcmp(name_n[i], key) == 0;
        }
        if (!known) {
            const int near = sella_text_nearest(key, name_n, count);
            return near >= 0
                       ? sella_err_set(err, SELLA_FORMAT,
                                       "%s: unknown key '%.60s'; did you mean '%s'?", where, key,
                                       name_n[near])
                       : sella_err_set(err, SELLA_FORMAT, "%s: unknown key '%.60s'", where, key);
        }
    }
    return SELLA_OK;
}

static sella_status parse_ids(json_t *value, const field *f, sella_ids *out, sella_err *err)
{
    char where[96];
    const size_t count = json_array_size(value);
    if (!json_is_array(value) || count < (size_t)f->min || count > (size_t)f->max) {
        return sella_err_set(err, SELLA_FORMAT, "%s: expected a list of %d to %d ids", f->name,
                             f->min, f->max);
    }
    out->id_n = sella_alloc(count, sizeof *out->id_n, "the ids of a request", err);
    if (out->id_n == NULL) {
        return SELLA_MEMORY;
    }
    out->given = true;
    for (size_t i = 0; i < count; i++) {
        snprintf(where, sizeof where, "%s[%zu]", f->name, i);
        sella_status status = sella_ask_id(value, NULL, i, where, &out->id_n[i], err);
        if (status != SELLA_OK) {
            return status;
        }
        out->count++;
    }
    return SELLA_OK;
}

static sella_status parse_field(sella_ask *ask, const field *f, json_t *value, sella_err *err)
{
    void *place = (char *)ask + f->place;
    json_int_t number;
    switch (f->type) {
    case FIELD_ID: return sella_ask_id(ask->body, f->name, 0, f->name, place, err);
    case FIELD_IDS: return parse_ids(value, f, place, err);
    case FIELD_COUNT:
        if (!sella_ask_whole(value, &number) || number < f->min || number > f->max) {
            return sella_err_set(err, SELLA_FORMAT, "%s: expected a whole number from %d to %d",
                                 f->name, f->min, f->max);
        }
        *(int *)place = (int)number;
        return SELLA_OK;
    case FIELD_REAL:
        if (!json_is_number(value) || !(json_number_value(value) > 0) ||
            json_number_value(value) > BUDGET_MAX) {
            return sella_err_set(err, SELLA_FORMAT,
                                 "%s: expected a number above 0 and at most %.0f", f->name,
                                 BUDGET_MAX);
        }
        *(double *)place = json_number_value(value);
        return SELLA_OK;
    case FIELD_FLAG: break;
    }
    if (!json_is_boolean(value)) {
        return sella_err_set(err, SELLA_FORMAT, "%s: expected true or false", f->name);
    }
    *(bool *)place = json_is_true(value);
    return SELLA_OK;
}

static sella_status parse_all(sella_ask_kind kind, sella_ask *ask, sella_err *err)
{
    const char *name_n[FIELDS];
    size_t count = 0;
    sella_status status = SELLA_OK;
    for (int i = 0; i < FIELDS; i++) {
        if ((fields[i].kinds & (int)kind) != 0) {
            name_n[count++] = fields[i].name;
        }
    }
    SELLA_TRY(sella_ask_keys(ask->body, name_n, count, "body", err));
    for (int i = 0; i < FIELDS; i++) {
        json_t *value =
            (fields[i].kinds & (int)kind) != 0 ? json_object_get(ask->body, fields[i].name) : NULL;
        if (value != NULL) {
            SELLA_TRY(parse_field(ask, &fields[i], value, err));
        }
    }
    if (ask->user == NULL && !ask->history.given) {
        SELLA_TRY(
            sella_err_set(err, SELLA_FORMAT,
                          "body: for whom? expected 'user', 'history' (it may be empty) or both"));
    }
    if ((kind == SELLA_ASK_SCORE && !ask->items.given) ||
        (kind == SELLA_ASK_EXPLAIN && ask->item == NULL)) {
        SELLA_TRY(sella_err_set(err, SELLA_FORMAT, "body: '%s' is missing",
                                kind == SELLA_ASK_SCORE ? "items" : "item"));
    }
    if (ask->explain && ask->k > SELLA_ASK_EXPLAIN_MAX) {
        SELLA_TRY(sella_err_set(err, SELLA_FORMAT, "k: %d items to explain; expected at most %d",
                                ask->k, SELLA_ASK_EXPLAIN_MAX));
    }
done:
    return status;
}

sella_status sella_ask_parse(sella_ask_kind kind, const char *body, size_t bytes, sella_ask **out,
                             sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_ask *ask = sella_alloc(1, sizeof *ask, "a request", err);
    *out = NULL;
    if (ask == NULL) {
        return SELLA_MEMORY;
    }
    ask->k = 10;
    SELLA_TRY(sella_json_parse(body, bytes, "body", &ask->body, err));
    if (!json_is_object(ask->body)) {
        SELLA_TRY(sella_err_set(err, SELLA_FORMAT, "body: expected a JSON object"));
    }
    SELLA_TRY(parse_all(kind, ask, err));
    *out = ask;
    ask = NULL;
done:
    sella_ask_free(ask);
    return status;
}

void sella_ask_free(sella_ask *ask)
{
    if (ask == NULL) {
        return;
    }
    free(ask->history.id_n);
    free(ask->items.id_n);
    free(ask->exclude.id_n);
    free(ask->without.id_n);
    json_decref(ask->body);
    free(ask);
}
