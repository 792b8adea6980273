/* settings.h - one table of settings (name, type, default, range, unit, help) that feeds the YAML
 * reader, --set, --help and docs.
 *
 * Does:     A room declares a const array of sella_setting rows; a sella_settings holds the values.
 *           Precedence is the caller's order of calls: defaults < preset < config file < --set. An
 *           unknown key is an error naming the nearest known one.
 * Memory:   sella_settings owns its values; the table is borrowed and must outlive it.
 * Threads:  one object per thread; reading is pure.
 */
#ifndef SELLA_BASE_SETTINGS_H
#define SELLA_BASE_SETTINGS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

typedef enum sella_type {
    SELLA_TYPE_INT,  /* from `min` to `max` */
    SELLA_TYPE_REAL, /* the same */
    SELLA_TYPE_BOOL, /* yes|no (true|false, on|off accepted) */
    SELLA_TYPE_WORD, /* one of `words`, "a|b|c" */
    SELLA_TYPE_TEXT  /* any UTF-8 text without control characters */
} sella_type;

typedef struct sella_setting {
    const char *name;          /* dotted words: "stage1.lr" */
    sella_type type;
    const char *default_text;  /* as one would write it in YAML */
    double min;                /* INT and REAL: inclusive */
    double max;
    const char *words;         /* WORD: "bce|mse" */
    const char *unit;          /* "rows", "seconds", or "" */
    const char *help;          /* one sentence */
} sella_setting;

typedef struct sella_settings sella_settings;

/* SELLA_OK when text is a valid value of this row, otherwise the sentence that says what is
 * wrong. */
sella_status sella_setting_check(const sella_setting *row, const char *text, sella_err *err);

sella_status sella_settings_new(const sella_setting *table, size_t count, sella_settings **out,
                                sella_err *err);
void sella_settings_free(sella_settings *settings);
sella_status sella_settings_copy(const sella_settings *from, sella_settings **out, sella_err *err);

/* Set from text; `where` ("--set", "preset paper", "conf.yaml:3") begins the sentence on error. */
sella_status sella_settings_set(sella_settings *settings, const char *name, const char *text,
                                const char *where, sella_err *err);
/* "key=value". */
sella_status sella_settings_assign(sella_settings *settings, const char *assignment,
                                   const char *where, sella_err *err);
/* YAML file: nested maps or dotted keys; duplicate keys, anchors, lists and non-scalars are refused
 * with file and line. On failure nothing was changed. At most 1 MiB. Returns: SELLA_OK;
 * SELLA_MISSING, SELLA_IO or SELLA_FORMAT when the file cannot be read as YAML; SELLA_ARG when what
 * it says about settings is wrong, as sella_settings_set. */
sella_status sella_settings_load(sella_settings *settings, const char *path, sella_err *err);

/* Values; asserts that name is in the table with that type. */
int64_t sella_settings_int(const sella_settings *settings, const char *name);
double sella_settings_real(const sella_settings *settings, const char *name);
bool sella_settings_bool(const sella_settings *settings, const char *name);
/* WORD and TEXT; borrowed */
const char *sella_settings_text(const sella_settings *settings, const char *name);
/* WORD and TEXT */
bool sella_settings_is(const sella_settings *settings, const char *name, const char *word);

/* Flat JSON object {"stage1.lr": 0.001, ...} in table order (new reference), and back (for
 * run.json; on failure nothing was changed). */
json_t *sella_settings_json(const sella_settings *settings);
sella_status sella_settings_from_json(sella_settings *settings, const json_t *object,
                                      const char *where, sella_err *err);

/* Exchange the values of two settings over the same table. */
void sella_settings_swap(sella_settings *a, sella_settings *b);

/* Append the resolved values as YAML that sella_settings_load reads back: one "name: value" line
 * each, in table order. */
sella_status sella_settings_yaml(const sella_settings *settings, sella_text *out, sella_err *err);

/* The table itself, for --help and docs. */
const sella_setting *sella_settings_table(const sella_settings *settings, size_t *count);

#endif
