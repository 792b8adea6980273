/* yaml.c - the YAML reader of settings: nested maps of scalars, and nothing else (base/settings.h).
 *
 * libyaml gives events; a stack of dotted prefixes turns nested maps into setting names. A map key
 * must lead to a known setting, which bounds what a hostile file can make us remember. All values
 * go into a copy that replaces the settings at the end only.
 */
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/file.h"
#include "base/settings.h"

enum { FILE_LIMIT = 1 << 20, DEEPEST = 8, NAME_LIMIT = 256 };

typedef struct reader {
    sella_settings *settings;
    const char *path;
    size_t prefix[DEEPEST]; // length of `name` at each open map
    int depth;              // open maps
    char name[NAME_LIMIT];  // the dotted key that was read last
    bool have_key;
    char **seen; // [seen_count] keys and groups met in this file
    size_t seen_count;
    bool had_document;
} reader;

static sella_status fail(const reader *r, const yaml_event_t *event, sella_err *err,
                         const char *what)
{
    return sella_err_set(err, SELLA_ARG, "%s:%zu: %s; expected nested 'key: value' lines", r->path,
                         event->start_mark.line + 1, what);
}

/* Is there a setting called name, or (group) one below it? */
static bool known(const sella_settings *settings, const char *name, bool group)
{
    size_t count, length = strlen(name);
    const sella_setting *table = sella_settings_table(settings, &count);
    for (size_t i = 0; i < count; i++) {
        if (strncmp(table[i].name, name, length) == 0 &&
            table[i].name[length] == (group ? '.' : '\0')) {
            return true;
        }
    }
    return false;
}

/* Refuse a key or group that this file had before. */
static sella_status remember(reader *r, const yaml_event_t *event, sella_err *err)
{
    for (size_t i = 0; i < r->seen_count; i++) {
        if (strcmp(r->seen[i], r->name) == 0) {
            return sella_err_set(err, SELLA_ARG, "%s:%zu: duplicate key '%s'", r->path,
                                 event->start_mark.line + 1, r->name);
        }
    }
    char **seen = realloc(r->seen, (r->seen_count + 1) * sizeof *seen);
    if (!seen) {
        return sella_err_memory(err, "keys", r->seen_count * sizeof *seen);
    }
    r->seen = seen;
    seen[r->seen_count] = strdup(r->name);
    if (!seen[r->seen_count]) {
        return sella_err_memory(err, "keys", sizeof r->name);
    }
    r->seen_count++;
    return SELLA_OK;
}

/* Set the last key, or refuse it with the place. */
static sella_status assign(reader *r, const yaml_event_t *event, const char *text, sella_err *err)
{
    sella_text where = {0};
    sella_status status =
        sella_text_format(&where, err, "%s:%zu", r->path, event->start_mark.line + 1);
    if (status == SELLA_OK) {
        status = sella_settings_set(r->settings, r->name, text, where.data, err);
    }
    sella_text_release(&where);
    return status;
}

static sella_status read_key(reader *r, const yaml_event_t *event, sella_err *err)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t length = event->data.scalar.length, start = r->prefix[r->depth - 1];
    if (length == 0 || strlen(text) != length) {
        return fail(r, event, err, length == 0 ? "an empty key" : "a key with a NUL byte");
    }
    if (start + length + 2 > sizeof r->name) {
        return fail(r, event, err, "a key of more than 250 bytes");
    }
    memcpy(r->name + start, text, length + 1);
    r->have_key = true;
    return SELLA_OK;
}

static sella_status read_scalar(reader *r, const yaml_event_t *event, sella_err *err)
{
    if (event->data.scalar.anchor ||
        (event->data.scalar.tag && !event->data.scalar.plain_implicit &&
         !event->data.scalar.quoted_implicit)) {
        return fail(r, event, err, "an anchor or a tag");
    }
    const char *text = (const char *)event->data.scalar.value;
    size_t length = event->data.scalar.length;
    /* an empty file has no event here at all; a document of one blank scalar is empty too */
    if (r->depth == 0) {
        return length == 0 ? SELLA_OK : fail(r, event, err, "a value without a key");
    }
    if (!r->have_key) {
        return read_key(r, event, err);
    }
    r->have_key = false;
    if (strlen(text) != length) {
        return fail(r, event, err, "a value with a NUL byte");
    }
    if (!known(r->settings, r->name, false) && known(r->settings, r->name, true)) {
        if (length > 0) {
            return sella_err_set(err, SELLA_ARG,
                                 "%s:%zu: '%s' is a group of settings; expected keys below it",
                                 r->path, event->start_mark.line + 1, r->name);
        }
        return remember(r, event, err); // a group whose keys are all commented out
    }
    sella_status status = assign(r, event, text, err);
    return status == SELLA_OK ? remember(r, event, err) : status;
}

static sella_status read_map(reader *r, const yaml_event_t *event, sella_err *err)
{
    sella_status status = SELLA_OK;
    if (event->data.mapping_start.anchor ||
        (event->data.mapping_start.tag && !event->data.mapping_start.implicit)) {
        return fail(r, event, err, "an anchor or a tag");
    }
    if (r->depth > 0) {
        if (!r->have_key) {
            return fail(r, event, err, "a map as a key");
        }
        if (!known(r->settings, r->name, true)) {
            if (known(r->settings, r->name, false)) {
                return fail(r, event, err, "a map where one value belongs");
            }
            return assign(r, event, "", err); // unknown: says so and names the nearest
        }
        status = remember(r, event, err);
        if (status != SELLA_OK) {
            return status;
        }
    }
    if (r->depth == DEEPEST) {
        return fail(r, event, err, "maps nested too deeply");
    }
    size_t length = r->depth > 0 ? strlen(r->name) : 0;
    if (length > 0) {
        r->name[length++] = '.';
    }
    r->prefix[r->depth++] = length;
    r->have_key = false;
    return SELLA_OK;
}

/* Take one event; *end at the end of the stream. */
static sella_status take(reader *r, const yaml_event_t *event, bool *end, sella_err *err)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return read_scalar(r, event, err);
    case YAML_MAPPING_START_EVENT:
        return read_map(r, event, err);
    case YAML_MAPPING_END_EVENT:
        r->depth--;
        r->have_key = false;
        return SELLA_OK;
    case YAML_SEQUENCE_START_EVENT:
        return fail(r, event, err, "a list");
    case YAML_ALIAS_EVENT:
        return fail(r, event, err, "an alias");
    case YAML_DOCUMENT_START_EVENT:
        if (r->had_document) {
            return fail(r, event, err, "a second document");
        }
        r->had_document = true;
        return SELLA_OK;
    case YAML_STREAM_END_EVENT:
        *end = true;
        return SELLA_OK;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        break;
    }
    return SELLA_OK;
}

/* Size and encoding, before libyaml sees the bytes. */
static sella_status check_bytes(const sella_map *map, sella_err *err)
{
    if (map->size > FILE_LIMIT) {
        return sella_err_set(err, SELLA_FORMAT,
                             "%s: has %zu bytes; expected settings of at most %d", map->path,
                             map->size, FILE_LIMIT);
    }
    size_t valid = sella_utf8_valid((const char *)map->data, map->size), line = 1;
    for (size_t i = 0; i < valid; i++) {
        line += map->data[i] == '\n';
    }
    return valid == map->size ? SELLA_OK
                              : sella_err_set(err, SELLA_FORMAT, "%s:%zu: not UTF-8 at byte %zu",
                                              map->path, line, valid);
}

sella_status sella_settings_load(sella_settings *settings, const char *path, sella_err *err)
{
    sella_status status = SELLA_OK;
    reader r = {.path = path};
    yaml_parser_t parser;
    sella_map map;
    bool end = false;
    SELLA_TRY(sella_map_open(path, &map, err));
    if (!yaml_parser_initialize(&parser)) {
        sella_map_close(&map);
        return sella_err_memory(err, "a YAML parser", sizeof parser);
    }
    status = check_bytes(&map, err);
    if (status == SELLA_OK) {
        status = sella_settings_copy(settings, &r.settings, err);
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, map.data ? map.data : (const unsigned char *)"",
                                 map.size);
    while (status == SELLA_OK && !end) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            status = parser.error == YAML_MEMORY_ERROR
                         ? sella_err_memory(err, path, map.size)
                         : sella_err_set(err, SELLA_FORMAT, "%s:%zu: not valid YAML: %s", path,
                                         parser.problem_mark.line + 1, parser.problem);
            break;
        }
        status = take(&r, &event, &end, err);
        yaml_event_delete(&event);
    }
    if (status == SELLA_OK) {
        sella_settings_swap(settings, r.settings);
    }
    for (size_t i = 0; i < r.seen_count; i++) {
        free(r.seen[i]);
    }
    free(r.seen);
    sella_settings_free(r.settings);
    yaml_parser_delete(&parser);
    sella_map_close(&map);
done:
    return status;
}
