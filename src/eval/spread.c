/* spread.c - mean and standard deviation of figures objects (eval/spread.h). */
#include "eval/spread.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/json.h"

static json_t *spread(const json_t *const *object_n, int n, bool sd);

/* Mean, or deviation, of real numbers; null when one is missing. */
static json_t *spread_reals(const json_t *const *object_n, int n, bool sd)
{
    double mean = 0, squares = 0;
    for (int i = 0; i < n; i++) {
        mean += json_is_number(object_n[i]) ? json_number_value(object_n[i]) / n : NAN;
    }
    for (int i = 0; i < n && sd; i++) {
        const double d = json_number_value(object_n[i]) - mean;
        squares += d * d;
    }
    return sella_json_real(!sd ? mean : n > 1 ? sqrt(squares / (n - 1)) : NAN);
}

/* Is the value a figure in one of the runs, so that it is null where it does not exist? */
static bool any_real(const json_t *const *object_n, int n)
{
    bool real = false, other = false;
    for (int i = 0; i < n; i++) {
        real = real || json_is_real(object_n[i]);
        other = other || !(json_is_number(object_n[i]) || json_is_null(object_n[i]));
    }
    return real && !other;
}

/* The same member, or element, of every object. NULL in part_n where one lacks it. */
static void take_part(const json_t *const *object_n, int n, const char *key, size_t at,
                      const json_t **part_n)
{
    for (int i = 0; i < n; i++) {
        part_n[i] = key ? json_object_get(object_n[i], key) : json_array_get(object_n[i], at);
    }
}

static bool all_null(const json_t *const *object_n, int n)
{
    for (int i = 0; i < n; i++) {
        if (!json_is_null(object_n[i])) {
            return false;
        }
    }
    return true;
}

/* The spread of one part, or NULL: left out. */
static json_t *spread_part(const json_t *const *part_n, int n, bool sd)
{
    for (int i = 0; i < n; i++) {
        if (!part_n[i]) {
            return NULL;
        }
    }
    if (all_null(part_n, n)) {
        return json_null();
    }
    if (any_real(part_n, n)) {
        return spread_reals(part_n, n, sd);
    }
    return json_is_object(part_n[0]) || json_is_array(part_n[0]) ? spread(part_n, n, sd) : NULL;
}

static json_t *spread(const json_t *const *object_n, int n, bool sd)
{
    const bool list = json_is_array(object_n[0]);
    json_t *out = list ? json_array() : json_object(), *value;
    const json_t **part_n = sella_alloc((size_t)n, sizeof *part_n, "figures", NULL);
    const char *key;
    size_t i;
    if (!out || !part_n) {
        json_decref(out);
        free(part_n);
        return NULL;
    }
    if (list) {
        json_array_foreach(object_n[0], i, value)
        {
            take_part(object_n, n, NULL, i, part_n);
            value = spread_part(part_n, n, sd);
            json_array_append_new(out, value ? value : json_null());
        }
    } else {
        json_object_foreach((json_t *)(uintptr_t)object_n[0], key, value)
        {
            take_part(object_n, n, key, 0, part_n);
            json_t *part = spread_part(part_n, n, sd);
            if (part) {
                json_object_set_new(out, key, part);
            }
        }
    }
    free(part_n);
    return out;
}

json_t *sella_spread_mean(const json_t *const *object_n, int n)
{
    return spread(object_n, n, false);
}

json_t *sella_spread_sd(const json_t *const *object_n, int n)
{
    return spread(object_n, n, true);
}
