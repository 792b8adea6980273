/* settings.c - values over a table of settings (base/settings.h). The YAML reader is in yaml.c. */
#include "base/settings.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/json.h"

typedef struct value {
    int64_t integer; // INT; BOOL as 0 or 1
    double real;
    char *text; // WORD and TEXT, owned
} value;

struct sella_settings {
    const sella_setting *table; // [count], borrowed
    size_t count;
    value *value; // [count]
};

/* Row of a name, or count. */
static size_t row_of(const sella_settings *settings, const char *name)
{
    size_t i = 0;
    while (i < settings->count && strcmp(settings->table[i].name, name) != 0) {
        i++;
    }
    return i;
}

/* A known name that ends in ".NAME", for those who forget the group; or -1. */
static int row_by_last_word(const sella_settings *settings, const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; length > 0 && i < settings->count; i++) {
        const char *known = settings->table[i].name;
        size_t all = strlen(known);
        if (all > length && known[all - length - 1] == '.' &&
            strcmp(known + all - length, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static sella_status unknown(const sella_settings *settings, const char *name, const char *where,
                            sella_err *err)
{
    const char **names = sella_alloc(settings->count, sizeof *names, "setting names", err);
    if (!names) {
        return SELLA_MEMORY;
    }
    for (size_t i = 0; i < settings->count; i++) {
        names[i] = settings->table[i].name;
    }
    int near = sella_text_nearest(name, names, settings->count);
    near = near < 0 ? row_by_last_word(settings, name) : near;
    if (near >= 0) {
        sella_err_set(err, SELLA_ARG, "%s: unknown setting '%.200s'; did you mean '%s'?", where,
                      name, names[near]);
    } else {
        sella_err_set(err, SELLA_ARG, "%s: unknown setting '%.200s'", where, name);
    }
    free(names);
    return SELLA_ARG;
}

static int64_t to_int64(double x)
{
    return x <= -0x1p63 ? INT64_MIN : x >= 0x1p63 ? INT64_MAX : (int64_t)x;
}

static sella_status parse_bool(const sella_setting *row, const char *text, int64_t *out,
                               sella_err *err)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on"};
    for (int i = 0; i < 6; i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *out = i % 2;
            return SELLA_OK;
        }
    }
    return sella_err_set(err, SELLA_ARG, "%s '%.40s' is neither yes nor no", row->name, text);
}

static sella_status parse_word(const sella_setting *row, const char *text, sella_err *err)
{
    size_t length = strlen(text);
    bool whole = length > 0 && !strchr(text, '|'); // one word, not two with their bar
    for (const char *word = row->words; whole && word;
         word = strchr(word, '|'), word += word ? 1 : 0) {
        if (strncmp(word, text, length) == 0 && (word[length] == '|' || word[length] == '\0')) {
            return SELLA_OK;
        }
    }
    return sella_err_set(err, SELLA_ARG, "%s '%.40s' is not one of %s", row->name, text,
                         row->words);
}

static sella_status parse_text(const sella_setting *row, const char *text, sella_err *err)
{
    size_t length = strlen(text);
    if (sella_utf8_valid(text, length) != length) {
        return sella_err_set(err, SELLA_ARG, "%s '%.40s' is not UTF-8", row->name, text);
    }
    for (const char *c = text; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            return sella_err_set(err, SELLA_ARG, "%s '%.40s' holds a control character", row->name,
                                 text);
        }
    }
    return SELLA_OK;
}

/* Parse into *out, whose text the caller owns. */
static sella_status parse(const sella_setting *row, const char *text, value *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    *out = (value){0};
    switch (row->type) {
    case SELLA_TYPE_INT:
        return sella_parse_int(text, strlen(text), to_int64(row->min), to_int64(row->max),
                               row->name, &out->integer, err);
    case SELLA_TYPE_REAL:
        return sella_parse_real(text, strlen(text), row->min, row->max, row->name, &out->real, err);
    case SELLA_TYPE_BOOL:
        return parse_bool(row, text, &out->integer, err);
    case SELLA_TYPE_WORD:
        status = parse_word(row, text, err);
        break;
    case SELLA_TYPE_TEXT:
        status = parse_text(row, text, err);
        break;
    }
    if (status == SELLA_OK) {
        out->text = strdup(text);
        status = out->text ? SELLA_OK : sella_err_memory(err, row->name, strlen(text));
    }
    return status;
}

sella_status sella_setting_check(const sella_setting *row, const char *text, sella_err *err)
{
    value parsed;
    sella_status status = parse(row, text, &parsed, err);
    free(parsed.text);
    return status;
}

sella_status sella_settings_new(const sella_setting *table, size_t count, sella_settings **out,
                                sella_err *err)
{
    sella_settings *settings = sella_alloc(1, sizeof *settings, "settings", err);
    *out = NULL;
    if (!settings) {
        return SELLA_MEMORY;
    }
    settings->table = table;
    settings->value = sella_alloc(count, sizeof *settings->value, "settings", err);
    if (!settings->value) {
        free(settings);
        return SELLA_MEMORY;
    }
    settings->count = count;
    for (size_t i = 0; i < count; i++) {
        sella_status status =
            sella_settings_set(settings, table[i].name, table[i].default_text, "default", err);
        if (status != SELLA_OK) {
            sella_settings_free(settings);
            return status;
        }
    }
    *out = settings;
    return SELLA_OK;
}

void sella_settings_free(sella_settings *settings)
{
    if (settings) {
        for (size_t i = 0; i < settings->count; i++) {
            free(settings->value[i].text);
        }
        free(settings->value);
        free(settings);
    }
}

sella_status sella_settings_copy(const sella_settings *from, sella_settings **out, sella_err *err)
{
    sella_status status = sella_settings_new(from->table, from->count, out, err);
    for (size_t i = 0; i < from->count && status == SELLA_OK; i++) {
        value *to = &(*out)->value[i];
        char *text = from->value[i].text ? strdup(from->value[i].text) : NULL;
        if (from->value[i].text && !text) {
            status = sella_err_memory(err, "settings", strlen(from->value[i].text));
            break;
        }
        free(to->text);
        *to = from->value[i];
        to->text = text;
    }
    if (status != SELLA_OK) {
        sella_settings_free(*out);
        *out = NULL;
    }
    return status;
}

void sella_settings_swap(sella_settings *a, sella_settings *b)
{
    sella_settings t = *a;
    *a = *b;
    *b = t;
}

sella_status sella_settings_set(sella_settings *settings, const char *name, const char *text,
                                const char *where, sella_err *err)
{
    size_t row = row_of(settings, name);
    if (row == settings->count) {
        return unknown(settings, name, where, err);
    }
    value parsed;
    sella_status status = parse(&settings->table[row], text, &parsed, err);
    if (status != SELLA_OK) {
        sella_err_prefix(err, status, "%s", where);
        /* a wrong setting, whatever the number parser calls it */
        status = status == SELLA_FORMAT ? SELLA_ARG : status;
        if (err) {
            err->code = status;
        }
        return status;
    }
    free(settings->value[row].text);
    settings->value[row] = parsed;
    return SELLA_OK;
}

sella_status sella_settings_assign(sella_settings *settings, const char *assignment,
                                   const char *where, sella_err *err)
{
    const char *equal = strchr(assignment, '=');
    if (!equal || equal == assignment) {
        return sella_err_set(err, SELLA_ARG, "%s: '%.200s' is not key=value", where, assignment);
    }
    char *name = strndup(assignment, (size_t)(equal - assignment));
    if (!name) {
        return sella_err_memory(err, "a setting", strlen(assignment));
    }
    sella_status status = sella_settings_set(settings, name, equal + 1, where, err);
    free(name);
    return status;
}

static const value *value_of(const sella_settings *settings, const char *name, sella_type type,
                             sella_type other)
{
    size_t row = row_of(settings, name);
    assert(row < settings->count);
    assert(settings->table[row].type == type || settings->table[row].type == other);
    (void)type;
    (void)other;
    return &settings->value[row];
}

int64_t sella_settings_int(const sella_settings *settings, const char *name)
{
    return value_of(settings, name, SELLA_TYPE_INT, SELLA_TYPE_INT)->integer;
}

double sella_settings_real(const sella_settings *settings, const char *name)
{
    return value_of(settings, name, SELLA_TYPE_REAL, SELLA_TYPE_REAL)->real;
}

bool sella_settings_bool(const sella_settings *settings, const char *name)
{
    return value_of(settings, name, SELLA_TYPE_BOOL, SELLA_TYPE_BOOL)->integer != 0;
}

const char *sella_settings_text(const sella_settings *settings, const char *name)
{
    return value_of(settings, name, SELLA_TYPE_WORD, SELLA_TYPE_TEXT)->text;
}

bool sella_settings_is(const sella_settings *settings, const char *name, const char *word)
{
    return strcmp(sella_settings_text(settings, name), word) == 0;
}

const sella_setting *sella_settings_table(const sella_settings *settings, size_t *count)
{
    *count = settings->count;
    return settings->table;
}

/* ---- JSON and YAML text ---- */

static json_t *value_json(sella_type type, const value *v)
{
    switch (type) {
    case SELLA_TYPE_INT: return json_integer((json_int_t)v->integer);
    case SELLA_TYPE_REAL: return json_real(v->real);
    case SELLA_TYPE_BOOL: return json_boolean(v->integer);
    case SELLA_TYPE_WORD:
    case SELLA_TYPE_TEXT: break;
    }
    return json_string(v->text);
}

json_t *sella_settings_json(const sella_settings *settings)
{
    json_t *object = json_object();
    for (size_t i = 0; object && i < settings->count; i++) {
        if (json_object_set_new(object, settings->table[i].name,
                                value_json(settings->table[i].type, &settings->value[i])) != 0) {
            json_decref(object);
            object = NULL;
        }
    }
    return object;
}

/* What one would write in YAML for a JSON value, or NULL when its JSON type does not go with the
 * setting's. */
static const char *json_text(sella_type type, const json_t *item, char *buffer, size_t room)
{
    bool number = type == SELLA_TYPE_INT || type == SELLA_TYPE_REAL;
    if (number && json_is_integer(item)) {
        snprintf(buffer, room, "%lld", (long long)json_integer_value(item));
        return buffer;
    }
    if (type == SELLA_TYPE_REAL && json_is_real(item)) {
        sella_real_text(json_real_value(item), buffer, room);
        return buffer;
    }
    if (type == SELLA_TYPE_BOOL && json_is_boolean(item)) {
        return json_is_true(item) ? "yes" : "no";
    }
    if ((type == SELLA_TYPE_WORD || type == SELLA_TYPE_TEXT) && json_is_string(item)) {
        return json_string_value(item);
    }
    return NULL;
}

sella_status sella_settings_from_json(sella_settings *settings, const json_t *object,
                                      const char *where, sella_err *err)
{
    static const char *const expected[] = {"a whole number", "a number", "true or false",
                                           "a string", "a string"};
    sella_status status = SELLA_OK;
    sella_settings *copy = NULL;
    const char *key = NULL;
    json_t *item = NULL;
    if (!json_is_object(object)) {
        return sella_err_set(err, SELLA_FORMAT, "%s: expected an object of settings", where);
    }
    SELLA_TRY(sella_settings_copy(settings, &copy, err));
    json_object_foreach((json_t *)(uintptr_t)object, key, item)
    {
        char buffer[64];
        size_t row = row_of(copy, key);
        if (row == copy->count) {
            SELLA_TRY(unknown(copy, key, where, err));
        }
        const char *text = json_text(copy->table[row].type, item, buffer, sizeof buffer);
        if (!text) {
            status =
                sella_err_set(err, SELLA_FORMAT, "%s: key '%s' has the wrong type; expected %s",
                              where, key, expected[copy->table[row].type]);
            goto done;
        }
        SELLA_TRY(sella_settings_set(copy, key, text, where, err));
    }
    sella_settings_swap(settings, copy);
done:
    sella_settings_free(copy);
    return status;
}

sella_status sella_settings_yaml(const sella_settings *settings, sella_text *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    char *quoted = NULL;
    for (size_t i = 0; i < settings->count; i++) {
        const value *v = &settings->value[i];
        char buffer[64];
        const char *text = buffer;
        switch (settings->table[i].type) {
        case SELLA_TYPE_INT: snprintf(buffer, sizeof buffer, "%lld", (long long)v->integer); break;
        case SELLA_TYPE_REAL: sella_real_text(v->real, buffer, sizeof buffer); break;
        case SELLA_TYPE_BOOL: text = v->integer ? "yes" : "no"; break;
        case SELLA_TYPE_WORD: text = v->text; break;
        case SELLA_TYPE_TEXT: { // a JSON string is a YAML string too
            json_t *string = json_string(v->text);
            free(quoted);
            text = quoted = string ? sella_json_line(string) : NULL;
            json_decref(string);
            break;
        }
        }
        if (!text) {
            status = sella_err_memory(err, "settings as text", strlen(v->text));
            goto done;
        }
        SELLA_TRY(sella_text_format(out, err, "%s: %s\n", settings->table[i].name, text));
    }
done:
    free(quoted);
    return status;
}
