/* json.c - strict JSON through jansson (base/json.h). */
#include "base/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

sella_status sella_json_parse(const char *data, size_t bytes, const char *where, json_t **out,
                              sella_err *err)
{
    json_error_t error;
    *out = json_loadb(bytes > 0 ? data : "", bytes, JSON_REJECT_DUPLICATES, &error);
    if (*out) {
        return SELLA_OK;
    }
    if (json_error_code(&error) == json_error_out_of_memory) {
        return sella_err_memory(err, where, bytes);
    }
    // jansson's own sentence for this one names an option of its interface
    const bool nul = json_error_code(&error) == json_error_null_character;
    return sella_err_set(err, SELLA_FORMAT, "%s:%d: not valid JSON: %s", where,
                         error.line > 0 ? error.line : 1,
                         nul ? "a text holds the character U+0000" : error.text);
}

sella_status sella_json_load(const char *path, size_t limit_bytes, json_t **out, sella_err *err)
{
    sella_map map;
    *out = NULL;
    sella_status status = sella_map_open(path, &map, err);
    if (status != SELLA_OK) {
        return status;
    }
    if (map.size > limit_bytes) {
        status = sella_err_set(err, SELLA_FORMAT, "%s: has %zu bytes; expected at most %zu", path,
                               map.size, limit_bytes);
    } else {
        status = sella_json_parse((const char *)map.data, map.size, path, out, err);
    }
    sella_map_close(&map);
    return status;
}

sella_status sella_json_save(const char *path, const json_t *value, sella_err *err)
{
    sella_writer *writer = NULL;
    char *text = json_dumps(value, JSON_INDENT(2) | JSON_REAL_PRECISION(17) | JSON_ENCODE_ANY);
    if (!text) {
        return sella_err_set(err, SELLA_MEMORY, "%s: could not be turned into JSON text", path);
    }
    sella_status status = SELLA_OK;
    SELLA_TRY(sella_write_open(path, &writer, err));
    SELLA_TRY(sella_write_bytes(writer, text, strlen(text), err));
    SELLA_TRY(sella_write_bytes(writer, "\n", 1, err));
    status = sella_write_commit(writer, err);
    writer = NULL;
done:
    sella_write_abandon(writer);
    free(text);
    return status;
}

char *sella_json_line(const json_t *value)
{
    return json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(17) | JSON_ENCODE_ANY);
}

json_t *sella_json_real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static const char *type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "a whole number";
    case JSON_REAL: return "a number with a fraction";
    case JSON_TRUE:
    case JSON_FALSE: return "true or false";
    case JSON_NULL: break;
    }
    return "null";
}

/* The value under key; `right` says whether its type is what was expected. */
static sella_status get(const json_t *object, const char *key, const char *where,
                        bool (*right)(const json_t *), const char *expected, const json_t **out,
                        sella_err *err)
{
    if (!json_is_object(object)) {
        return sella_err_set(err, SELLA_FORMAT, "%s: is %s; expected an object with key '%s'",
                             where, object ? type_name(object) : "nothing", key);
    }
    const json_t *value = json_object_get(object, key);
    if (!value) {
        return sella_err_set(err, SELLA_FORMAT, "%s: key '%s' is missing; expected %s", where, key,
                             expected);
    }
    if (!right(value)) {
        return sella_err_set(err, SELLA_FORMAT, "%s: key '%s' is %s; expected %s", where, key,
                             type_name(value), expected);
    }
    *out = value;
    return SELLA_OK;
}

static bool is_int(const json_t *v) { return json_is_integer(v); }
static bool is_number(const json_t *v) { return json_is_number(v); }
static bool is_bool(const json_t *v) { return json_is_boolean(v); }
static bool is_string(const json_t *v) { return json_is_string(v); }
static bool is_object(const json_t *v) { return json_is_object(v); }
static bool is_array(const json_t *v) { return json_is_array(v); }

sella_status sella_json_get_int(const json_t *object, const char *key, const char *where,
                                int64_t min, int64_t max, int64_t *out, sella_err *err)
{
    const json_t *value = NULL;
    char expected[96];
    snprintf(expected, sizeof expected, "an integer from %lld to %lld", (long long)min,
             (long long)max);
    sella_status status = get(object, key, where, is_int, expected, &value, err);
    if (status != SELLA_OK) {
        return status;
    }
    int64_t number = (int64_t)json_integer_value(value);
    if (number < min || number > max) {
        return sella_err_set(err, SELLA_FORMAT, "%s: key '%s' is %lld; expected %s", where, key,
                             (long long)number, expected);
    }
    *out = number;
    return SELLA_OK;
}

sella_status sella_json_get_real(const json_t *object, const char *key, const char *where,
                                 double *out, sella_err *err)
{
    const json_t *value = NULL;
    sella_status status = get(object, key, where, is_number, "a number", &value, err);
    if (status == SELLA_OK) {
        *out = json_number_value(value);
    }
    return status;
}

sella_status sella_json_get_bool(const json_t *object, const char *key, const char *where,
                                 bool *out, sella_err *err)
{
    const json_t *value = NULL;
    sella_status status = get(object, key, where, is_bool, "true or false", &value, err);
    if (status == SELLA_OK) {
        *out = json_is_true(value);
    }
    return status;
}

sella_status sella_json_get_string(const json_t *object, const char *key, const char *where,
                                   const char **out, sella_err *err)
{
    const json_t *value = NULL;
    sella_status status = get(object, key, where, is_string, "a string", &value, err);
    if (status == SELLA_OK) {
        *out = json_string_value(value);
    }
    return status;
}

sella_status sella_json_get_object(const json_t *object, const char *key, const char *where,
                                   const json_t **out, sella_err *err)
{
    return get(object, key, where, is_object, "an object", out, err);
}

sella_status sella_json_get_array(const json_t *object, const char *key, const char *where,
                                  const json_t **out, sella_err *err)
{
    return get(object, key, where, is_array, "an array", out, err);
}
