/* sweep.c - trainings over a grid of settings, chosen on valid (sella/train.h).
 *
 * Every point is a run, or a folder of seeds, of its own: nothing is kept in memory from one to the
 * next, and what is finished is recognised by its own files. sweep.json says what the sweep is, so
 * that another one does not mix with it.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/aside.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "eval/predictions.h"
#include "methods/estimate.h"
#include "methods/method.h"
#include "methods/run.h"
#include "methods/seeds.h"
#include "sella/train.h"

enum {
    SWEEP_FORMAT = 1,
    KEYS_MAX = 16,
    VALUES_MAX = 256,
    POINTS_MAX = 10000,
    NAME_MAX_BYTES = 150
};

/* One --grid: key=a,b,c. */
typedef struct axis {
    char *key;
    char **value; // [count]
    int count;
} axis;

typedef struct sweep {
    const sella_train_options *options;
    const uint64_t *seed_n;
    int seeds;
    const sella_talk *talk;
    const sella_method *method;
    sella_dataset *dataset;
    axis axis[KEYS_MAX];
    int axes;
    int points;
    json_t *document; // sweep.json
    sella_rates rates;
} sweep;

static void sweep_release(sweep *s)
{
    for (int a = 0; a < s->axes; a++) {
        for (int v = 0; v < s->axis[a].count; v++) {
            free(s->axis[a].value[v]);
        }
        free(s->axis[a].value);
        free(s->axis[a].key);
    }
    sella_dataset_close(s->dataset);
    json_decref(s->document);
}

/* ---- the grid ---- */

/* Values between ',', or between ';' where one is there, so that a value may hold commas. */
static sella_status parse_values(axis *a, const char *text, sella_err *err)
{
    const char separator = strchr(text, ';') ? ';' : ',';
    const char delimiters[] = {separator, '\0'};
    a->value = sella_alloc(VALUES_MAX, sizeof *a->value, "a grid", err);
    if (!a->value) {
        return SELLA_MEMORY;
    }
    for (const char *at = text;;) {
        const size_t bytes = strcspn(at, delimiters);
        if (bytes == 0) {
            return sella_err_set(err, SELLA_ARG,
                                 "--grid %s: an empty value; expected values between '%c'", a->key,
                                 separator);
        }
        if (a->count == VALUES_MAX) {
            return sella_err_set(err, SELLA_ARG, "--grid %s: more than %d values", a->key,
                                 VALUES_MAX);
        }
        a->value[a->count] = strndup(at, bytes);
        if (!a->value[a->count]) {
            return sella_err_memory(err, "a grid", bytes);
        }
        for (int v = 0; v < a->count; v++) {
            if (strcmp(a->value[v], a->value[a->count]) == 0) {
                free(a->value[a->count]);
                return sella_err_set(err, SELLA_ARG, "--grid %s: the value '%s' is given twice",
                                     a->key, a->value[v]);
            }
        }
        a->count++;
        if (at[bytes] == '\0') {
            return SELLA_OK;
        }
        at += bytes + 1;
    }
}

static sella_status parse_axis(sweep *s, const char *text, sella_err *err)
{
    const char *equal = strchr(text, '=');
    if (!equal || equal == text) {
        return sella_err_set(err, SELLA_ARG, "--grid '%.200s' is not key=a,b,c", text);
    }
    if (s->axes == KEYS_MAX) {
        return sella_err_set(err, SELLA_ARG, "more than %d --grid options", KEYS_MAX);
    }
    axis *a = &s->axis[s->axes++];
    a->key = strndup(text, (size_t)(equal - text));
    if (!a->key) {
        return sella_err_memory(err, "a grid", strlen(text));
    }
    for (int i = 0; i + 1 < s->axes; i++) {
        if (strcmp(s->axis[i].key, a->key) == 0) {
            return sella_err_set(err, SELLA_ARG, "--grid %s is given twice", a->key);
        }
    }
    for (int i = 0; i < s->options->set_count; i++) {
        const char *set = s->options->set[i];
        if (strncmp(set, a->key, strlen(a->key)) == 0 && set[strlen(a->key)] == '=') {
            return sella_err_set(err, SELLA_ARG, "%s is given by --set and by --grid", a->key);
        }
    }
    return parse_values(a, equal + 1, err);
}

static sella_status parse_grid(sweep *s, const char *const *grid, int count, sella_err *err)
{
    sella_status status = SELLA_OK;
    if (count < 1) {
        return sella_err_set(err, SELLA_ARG, "a sweep over what? expected: --grid key=a,b,c");
    }
    s->points = 1;
    for (int g = 0; g < count; g++) {
        SELLA_TRY(parse_axis(s, grid[g], err));
        s->points *= s->axis[g].count;
        if (s->points > POINTS_MAX) {
            status = sella_err_set(err, SELLA_ARG, "the grid has more than %d points", POINTS_MAX);
            goto done;
        }
    }
done:
    return status;
}

/* Value of an axis at a point; the last axis changes fastest. */
static const char *value_at(const sweep *s, int point, int a)
{
    for (int i = s->axes - 1; i > a; i--) {
        point /= s->axis[i].count;
    }
    return s->axis[a].value[point % s->axis[a].count];
}

/* "key=value,key=value", or a hash of that where it makes no good name of a folder. free(). */
static sella_status name_of(const sweep *s, int point, char **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_text name = {0};
    bool plain = true;
    *out = NULL;
    for (int a = 0; a < s->axes; a++) {
        SELLA_TRY(sella_text_format(&name, err, "%s%s=%s", a ? "," : "", s->axis[a].key,
                                    value_at(s, point, a)));
    }
    for (size_t i = 0; i < name.size; i++) {
        const char c = name.data[i];
        plain = plain && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || strchr("._=,+-", c));
    }
    if (!plain || name.size > NAME_MAX_BYTES) {
        const uint64_t hash = sella_hash_bytes(name.data, name.size, 0);
        name.size = 0;
        SELLA_TRY(sella_text_format(&name, err, "point-%016llx", (unsigned long long)hash));
    }
    *out = name.data;
    name = (sella_text){0};
done:
    sella_text_release(&name);
    return status;
}

/* The options of a point: --set, then the grid's values. set_n and text_n (owned texts) have room
 * for all. */
static sella_status options_of(const sweep *s, int point, const char **set_n, char **text_n,
                               sella_train_options *out, sella_err *err)
{
    const int given = s->options->set_count;
    *out = *s->options;
    for (int i = 0; i < given; i++) {
        set_n[i] = s->options->set[i];
    }
    for (int a = 0; a < s->axes; a++) {
        if (asprintf(&text_n[a], "%s=%s", s->axis[a].key, value_at(s, point, a)) < 0) {
            text_n[a] = NULL;
            return sella_err_memory(err, "a grid", 256);
        }
        set_n[given + a] = text_n[a];
    }
    out->set = set_n;
    out->set_count = given + s->axes;
    out->resume = 1;
    return SELLA_OK;
}

/* ---- one point ---- */

/* Resolve a point's settings and ask the method whether they go together, before anything is
 * trained. */
static sella_status resolve_point(const sweep *s, const sella_train_options *point,
                                  sella_settings **out, sella_err *err)
{
    sella_status status = sella_training_resolve(s->method, point->preset, point->config,
                                                 point->set, point->set_count, out, err);
    if (status == SELLA_OK && s->method->check) {
        status = s->method->check(s->method, *out, s->dataset, err);
    }
    return status;
}

/* The result of a run that is complete and is what would be trained; NULL when it has to be asked
 * (trained, resumed or refused) in full. Reading it opens no model. */
static sella_status finished(const sweep *s, const sella_train_options *point, const char *path,
                             uint64_t seed, const sella_settings *settings, json_t **out,
                             sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_run *run = NULL;
    json_t *was = NULL, *now = NULL;
    char *model = point->model ? sella_path_absolute(point->model) : NULL, *file = NULL;
    *out = NULL;
    if (!sella_run_there(path)) {
        goto done;
    }
    SELLA_TRY(sella_run_open(path, &run, err));
    was = sella_settings_json(run->settings);
    now = sella_settings_json(settings);
    const bool same_model = !s->method->needs_model ||
                            (model && run->model_path && strcmp(model, run->model_path) == 0);
    const bool same_from = (run->from != NULL) == (point->from != NULL);
    if (run->complete && same_model && same_from && run->seed == seed &&
        strcmp(run->method, s->method->name) == 0 &&
        strcmp(run->dataset_checksum, s->dataset->checksum) == 0 && json_equal(was, now)) {
        file = sella_run_file(run, "result.json");
        status =
            file ? sella_json_load(file, 1 << 24, out, err) : sella_err_memory(err, "a path", 16);
    }
done:
    sella_run_close(run);
    json_decref(was);
    json_decref(now);
    free(model);
    free(file);
    return status;
}

/* figures of one seed or the summary of several. */
static sella_status train_point(const sweep *s, sella_train_options *point, const char *path,
                                const sella_settings *settings, json_t **figures, sella_err *err)
{
    sella_status status = SELLA_OK;
    char *json = NULL;
    point->run = path;
    *figures = NULL;
    if (s->seeds == 0) {
        point->seed_given = 1;
        SELLA_TRY(finished(s, point, path, point->seed, settings, figures, err));
        if (*figures) {
            goto done;
        }
        SELLA_TRY(sella_train(point, s->talk, &json, err));
    } else {
        SELLA_TRY(sella_train_seeds(point, s->seed_n, s->seeds, s->talk, &json, err));
    }
    *figures = json_loads(json, 0, NULL);
    status = *figures ? SELLA_OK : sella_err_memory(err, "figures", 4096);
done:
    free(json);
    return status;
}

/* {"name","settings",...} of a point, to which its figures are added. */
static json_t *point_new(const sweep *s, int point, const char *name)
{
    json_t *settings = json_object();
    for (int a = 0; a < s->axes; a++) {
        json_object_set_new(settings, s->axis[a].key, json_string(value_at(s, point, a)));
    }
    return json_pack("{s:s, s:o}", "name", name, "settings", settings);
}

static void set_figures(json_t *row, const json_t *figures, int seeds)
{
    static const char *const key[] = {"auc", "uauc", "logloss", "seconds"};
    const json_t *mean = seeds ? json_object_get(figures, "mean") : figures,
                 *sd = json_object_get(figures, "sd");
    json_object_set_new(row, "runs", json_integer(seeds ? seeds : 1));
    for (size_t k = 0; k < sizeof key / sizeof *key; k++) {
        char name[32];
        json_t *value = json_object_get(mean, key[k]),
               *spread = seeds ? json_object_get(sd, key[k]) : NULL;
        snprintf(name, sizeof name, "%s_sd", key[k]);
        if (value) {
            json_object_set(row, key[k], value);
        } else {
            json_object_set_new(row, key[k], json_null());
        }
        if (k < 3 && spread) {
            json_object_set(row, name, spread);
        } else if (k < 3) {
            json_object_set_new(row, name, json_null());
        }
    }
}

/* ---- files ---- */

/* The point of the highest AUC on valid, the first of equals; NULL when none has one. */
static const char *best_of(const json_t *points)
{
    const char *best = NULL;
    double most = -INFINITY;
    const json_t *row;
    size_t i;
    json_array_foreach(points, i, row)
    {
        const json_t *auc = json_object_get(row, "auc");
        if (json_is_number(auc) && json_number_value(auc) > most) {
            most = json_number_value(auc);
            best = json_string_value(json_object_get(row, "name"));
        }
    }
    return best;
}

static sella_status write_number(sella_writer *writer, const json_t *value, sella_err *err)
{
    if (json_is_integer(value)) {
        return sella_write_format(writer, err, ",%lld", (long long)json_integer_value(value));
    }
    return json_is_real(value) ? sella_write_format(writer, err, ",%.9g", json_real_value(value))
                               : sella_write_bytes(writer, ",", 1, err);
}

/* sweep.csv: a line a point. */
static sella_status write_csv(const sweep *s, const char *path, sella_err *err)
{
    static const char *const column[] = {"runs",    "auc",     "auc_sd",     "uauc",
                                         "uauc_sd", "logloss", "logloss_sd", "seconds"};
    sella_status status = SELLA_OK;
    sella_writer *writer = NULL;
    const json_t *points = json_object_get(s->document, "points"), *row;
    const char *best = best_of(points);
    size_t i;
    SELLA_TRY(sella_write_open(path, &writer, err));
    SELLA_TRY(sella_write_format(writer, err, "name"));
    for (int a = 0; a < s->axes; a++) {
        SELLA_TRY(sella_write_format(writer, err, ",%s", s->axis[a].key));
    }
    for (size_t c = 0; c < sizeof column / sizeof *column; c++) {
        SELLA_TRY(sella_write_format(writer, err, ",%s", column[c]));
    }
    SELLA_TRY(sella_write_format(writer, err, ",best,error\n"));
    json_array_foreach(points, i, row)
    {
        const char *name = json_string_value(json_object_get(row, "name"));
        const char *error = json_string_value(json_object_get(row, "error"));
        SELLA_TRY(sella_csv_field_write(writer, name, err));
        for (int a = 0; a < s->axes; a++) {
            SELLA_TRY(sella_write_bytes(writer, ",", 1, err));
            SELLA_TRY(sella_csv_field_write(writer,
                                            json_string_value(json_object_get(
                                                json_object_get(row, "settings"), s->axis[a].key)),
                                            err));
        }
        for (size_t c = 0; c < sizeof column / sizeof *column; c++) {
            SELLA_TRY(write_number(writer, json_object_get(row, column[c]), err));
        }
        SELLA_TRY(sella_write_format(writer, err, ",%d,", best && strcmp(best, name) == 0));
        SELLA_TRY(sella_csv_field_write(writer, error ? error : "", err));
        SELLA_TRY(sella_write_bytes(writer, "\n", 1, err));
    }
    status = sella_write_commit(writer, err);
    writer = NULL;
done:
    sella_write_abandon(writer);
    return status;
}

static sella_status save(const sweep *s, sella_err *err)
{
    sella_status status = SELLA_OK;
    const char *best = best_of(json_object_get(s->document, "points"));
    char *json = sella_path_join(s->options->run, "sweep.json", NULL),
         *csv = sella_path_join(s->options->run, "sweep.csv", NULL);
    if (!json || !csv ||
        json_object_set_new(s->document, "best", best ? json_string(best) : json_null()) != 0) {
        status = sella_err_memory(err, "sweep.json", 64);
        goto done;
    }
    SELLA_TRY(sella_json_save(json, s->document, err));
    SELLA_TRY(write_csv(s, csv, err));
done:
    free(json);
    free(csv);
    return status;
}

/* What the sweep is: sweep.json without its points. */
static sella_status describe(sweep *s, const sella_settings *base, sella_err *err)
{
    json_t *seeds = json_array(), *grid = json_object();
    for (int i = 0; i < (s->seeds ? s->seeds : 1); i++) {
        json_array_append_new(
            seeds, json_integer((json_int_t)(s->seeds ? s->seed_n[i] : s->options->seed)));
    }
    for (int a = 0; a < s->axes; a++) {
        json_t *values = json_array();
        for (int v = 0; v < s->axis[a].count; v++) {
            json_array_append_new(values, json_string(s->axis[a].value[v]));
        }
        json_object_set_new(grid, s->axis[a].key, values);
    }
    s->document = json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:o, s:b, s:o, s:o, s:[], s:n}",
                            "format", SWEEP_FORMAT, "method", s->method->name, "dataset",
                            s->dataset->name, "checksum", s->dataset->checksum, "preset",
                            s->options->preset ? s->options->preset : "default", "split", "valid",
                            "seeds", seeds, "seeds_folders", s->seeds > 0, "settings",
                            sella_settings_json(base), "grid", grid, "points", "best");
    return s->document ? SELLA_OK : sella_err_memory(err, "sweep.json", 4096);
}

/* A folder that is there holds this sweep, or one over other values of it. */
static sella_status check_folder(const sweep *s, sella_err *err)
{
    static const char *const key[] = {"format", "method",        "checksum",
                                      "preset", "seeds_folders", "seeds"};
    sella_status status = SELLA_OK;
    json_t *was = NULL;
    const char *name;
    json_t *value;
    char *file = sella_path_join(s->options->run, "sweep.json", NULL);
    if (!file) {
        return sella_err_memory(err, "a path", 16);
    }
    if (!sella_path_exists(file)) {
        SELLA_TRY(sella_aside_check(s->options->run, err));
        goto done;
    }
    SELLA_TRY(sella_json_load(file, 1 << 24, &was, err));
    /* more seeds may be added to folders of seeds */
    const size_t keys = sizeof key / sizeof *key - (s->seeds > 0);
    for (size_t k = 0; k < keys; k++) {
        if (!json_equal(json_object_get(was, key[k]), json_object_get(s->document, key[k]))) {
            status =
                sella_err_set(err, SELLA_STATE,
                              "%s: holds a sweep with another '%s'; give this one another folder",
                              s->options->run, key[k]);
            goto done;
        }
    }
    json_object_foreach(json_object_get(s->document, "settings"), name, value)
    {
        if (!json_equal(value, json_object_get(json_object_get(was, "settings"), name))) {
            status = sella_err_set(
                err, SELLA_STATE, "%s: holds a sweep with another %s; give this one another folder",
                s->options->run, name);
            goto done;
        }
    }
done:
    json_decref(was);
    free(file);
    return status;
}

/* ---- all points ---- */

/* Train one point and add its row; a point that diverges is told in its row and does not stop the
 * others. */
static sella_status do_point(sweep *s, int p, const char **set_n, char **text_n, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_train_options point;
    sella_settings *settings = NULL;
    json_t *row = NULL, *figures = NULL;
    char *name = NULL, *path = NULL;
    SELLA_TRY(name_of(s, p, &name, err));
    SELLA_TRY(options_of(s, p, set_n, text_n, &point, err));
    SELLA_TRY(resolve_point(s, &point, &settings, err));
    path = sella_path_join(s->options->run, name, NULL);
    row = point_new(s, p, name);
    if (!path || !row) {
        SELLA_TRY(sella_err_memory(err, "a path", 64));
    }
    sella_say(s->talk, SELLA_LEVEL_INFO, "point %d of %d: %s", p + 1, s->points, name);
    sella_err why = {0};
    status = train_point(s, &point, path, settings, &figures, &why);
    if (status == SELLA_DIVERGED) {
        sella_say(s->talk, SELLA_LEVEL_WARN, "%s: %s", name, why.text);
        json_object_set_new(row, "error", json_string(why.text));
        json_object_set_new(row, "runs", json_integer(0));
        status = SELLA_OK;
    } else if (status != SELLA_OK) {
        if (err) {
            *err = why;
        }
        goto done;
    } else {
        set_figures(row, figures, s->seeds);
    }
    json_array_append(json_object_get(s->document, "points"), row);
    SELLA_TRY(save(s, err));
done:
    for (int a = 0; a < s->axes; a++) {
        free(text_n[a]);
        text_n[a] = NULL;
    }
    sella_settings_free(settings);
    json_decref(row);
    json_decref(figures);
    free(name);
    free(path);
    return status;
}

/* The estimate of one point, for --dry-run. */
static sella_status estimate_point(sweep *s, int p, const char **set_n, char **text_n,
                                   double *seconds, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_train_options point;
    json_t *row = NULL, *estimate = NULL;
    char *name = NULL, *json = NULL;
    static const char *const key[] = {"rows",       "tokens",  "steps",
                                      "parameters", "seconds", "peak_mb"};
    SELLA_TRY(name_of(s, p, &name, err));
    SELLA_TRY(options_of(s, p, set_n, text_n, &point, err));
    point.run = NULL;
    SELLA_TRY(s->seeds ? sella_train_seeds(&point, s->seed_n, s->seeds, s->talk, &json, err)
                       : sella_train_dry_run(&point, &s->rates, s->talk, &json, err));
    estimate = json_loads(json, 0, NULL);
    row = point_new(s, p, name);
    for (size_t k = 0; k < sizeof key / sizeof *key; k++) {
        json_object_set(row, key[k], json_object_get(estimate, key[k]));
    }
    *seconds += json_number_value(json_object_get(row, "seconds"));
    json_array_append(json_object_get(s->document, "points"), row);
done:
    for (int a = 0; a < s->axes; a++) {
        free(text_n[a]);
        text_n[a] = NULL;
    }
    json_decref(row);
    json_decref(estimate);
    free(name);
    free(json);
    return status;
}

/* Every point's settings, before the first is trained. */
static sella_status check_points(sweep *s, const char **set_n, char **text_n, sella_err *err)
{
    sella_status status = SELLA_OK;
    for (int p = 0; p < s->points && status == SELLA_OK; p++) {
        sella_train_options point;
        sella_settings *settings = NULL;
        status = options_of(s, p, set_n, text_n, &point, err);
        if (status == SELLA_OK) {
            status = resolve_point(s, &point, &settings, err);
        }
        sella_settings_free(settings);
        for (int a = 0; a < s->axes; a++) {
            free(text_n[a]);
            text_n[a] = NULL;
        }
    }
    return status;
}

/* Every key and value of the grid by itself, so that a wrong one is told as such. */
static sella_status check_axes(const sweep *s, const sella_settings *base, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_settings *copy = NULL;
    SELLA_TRY(sella_settings_copy(base, &copy, err));
    for (int a = 0; a < s->axes; a++) {
        for (int v = 0; v < s->axis[a].count; v++) {
            SELLA_TRY(sella_settings_set(copy, s->axis[a].key, s->axis[a].value[v], "--grid", err));
        }
    }
done:
    sella_settings_free(copy);
    return status;
}

static sella_status begin(sweep *s, const char *const *grid, int grid_count, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_settings *base = NULL;
    const sella_train_options *o = s->options;
    if (!o->method || !o->dataset || (!o->run && !o->dry_run)) {
        return sella_err_set(err, SELLA_ARG,
                             "a sweep needs a method, a data set and a folder for its runs");
    }
    if (o->set_count < 0 || (o->set_count > 0 && !o->set)) {
        return sella_err_set(err, SELLA_ARG, "a sweep was given %d assignments without their texts",
                             o->set_count);
    }
    SELLA_TRY(parse_grid(s, grid, grid_count, err));
    SELLA_TRY(sella_method_get(o->method, &s->method, err));
    SELLA_TRY(sella_dataset_open(o->dataset, &s->dataset, err));
    if (s->dataset->split[SELLA_SPLIT_VALID].rows == 0) {
        status = sella_err_set(err, SELLA_STATE, "%s: has no valid part, on which a sweep chooses",
                               s->dataset->path);
        goto done;
    }
    SELLA_TRY(
        sella_training_resolve(s->method, o->preset, o->config, o->set, o->set_count, &base, err));
    SELLA_TRY(check_axes(s, base, err));
    SELLA_TRY(describe(s, base, err));
    SELLA_TRY(o->dry_run ? SELLA_OK : check_folder(s, err));
done:
    sella_settings_free(base);
    return status;
}

sella_status sella_sweep(const sella_train_options *options, const char *const *grid,
                         int grid_count, const uint64_t *seed_n, int seeds, const sella_talk *talk,
                         char **json, sella_err *err)
{
    sella_status status = SELLA_OK;
    sweep s = {.options = options, .seed_n = seed_n, .seeds = seeds, .talk = talk};
    const char **set_n = NULL;
    char *text_n[KEYS_MAX] = {NULL};
    double seconds = 0;
    *json = NULL;
    SELLA_TRY(begin(&s, grid, grid_count, err));
    set_n = sella_alloc((size_t)(options->set_count + s.axes), sizeof *set_n, "settings", err);
    if (!set_n) {
        status = SELLA_MEMORY;
        goto done;
    }
    SELLA_TRY(check_points(&s, set_n, text_n, err));
    if (!options->dry_run) {
        SELLA_TRY(sella_dir_make(options->run, err));
        SELLA_TRY(save(&s, err));
    }
    for (int p = 0; p < s.points; p++) {
        SELLA_TRY(options->dry_run ? estimate_point(&s, p, set_n, text_n, &seconds, err)
                                   : do_point(&s, p, set_n, text_n, err));
    }
    if (options->dry_run) {
        json_object_set_new(s.document, "seconds", sella_json_real(seconds));
        json_object_del(s.document, "best");
    }
    *json = sella_json_line(s.document);
    status = *json ? SELLA_OK : sella_err_memory(err, "sweep.json", 4096);
done:
    for (int a = 0; a < s.axes; a++) {
        free(text_n[a]);
    }
    free(set_n);
    sweep_release(&s);
    return status;
}
