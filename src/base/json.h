/* json.h - JSON through jansson: strict loading, checked getters, reals with 17 significant digits.
 *
 * Does:     Files and buffers are UTF-8, duplicate keys are an error, sizes are limited. Getters
 *           name file, key and what was expected: "run.json: key 'seed' is missing; expected an
 *           integer from 0 to 4294967295".
 * Memory:   json_t is reference counted by jansson; getters return borrowed values.
 * Threads:  one tree per thread.
 */
#ifndef SELLA_BASE_JSON_H
#define SELLA_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

sella_status sella_json_load(const char *path, size_t limit_bytes, json_t **out, sella_err *err);
/* `where` names the source in sentences. */
sella_status sella_json_parse(const char *data, size_t bytes, const char *where, json_t **out,
                              sella_err *err);
/* Atomically, indented by 2, keys in insertion order, 17 significant digits, newline at the end. */
sella_status sella_json_save(const char *path, const json_t *value, sella_err *err);
/* One line, insertion order, 17 significant digits, no newline (free()). */
char *sella_json_line(const json_t *value);
/* A real, or null when it is not finite: a figure that does not exist. */
json_t *sella_json_real(double value);

sella_status sella_json_get_int(const json_t *object, const char *key, const char *where,
                                int64_t min, int64_t max, int64_t *out, sella_err *err);
sella_status sella_json_get_real(const json_t *object, const char *key, const char *where,
                                 double *out, sella_err *err);
sella_status sella_json_get_bool(const json_t *object, const char *key, const char *where,
                                 bool *out, sella_err *err);
sella_status sella_json_get_string(const json_t *object, const char *key, const char *where,
                                   const char **out, sella_err *err);
sella_status sella_json_get_object(const json_t *object, const char *key, const char *where,
                                   const json_t **out, sella_err *err);
sella_status sella_json_get_array(const json_t *object, const char *key, const char *where,
                                  const json_t **out, sella_err *err);

#endif
