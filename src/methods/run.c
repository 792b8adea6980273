/* run.c - the run folder (methods/run.h).
 *
 * Easy to get wrong: run.json is written before any stage and again by every decision; what depends
 * on the clock (seconds) goes into done.json, metrics.jsonl and result.json only, so that
 * everything else has the same bytes after a kill and a resume.
 */
#include "methods/run.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/aside.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "kernels/gemm.h"
#include "methods/method.h"
#include "methods/run_tables.h"

#ifndef SELLA_VERSION
#define SELLA_VERSION "unknown"
#endif

/* 1: stage3.residual was a boolean; 2: it is a word. Both are read. */
enum { RUN_FORMAT = 2, RUN_JSON_LIMIT = 16 << 20 };

struct sella_run_impl {
    sella_run_tables tables;
};

char *sella_run_file(const sella_run *run, const char *name)
{
    return sella_path_join(run->path, name, NULL);
}

sella_status sella_run_place(const sella_run *run, const char *name, char **path, sella_err *err)
{
    *path = sella_run_file(run, name);
    if (!*path) {
        return sella_err_memory(err, "a path", strlen(name));
    }
    char *slash = strrchr(*path, '/');
    *slash = '\0';
    sella_status status = sella_dir_make(*path, err);
    *slash = '/';
    if (status != SELLA_OK) {
        free(*path);
        *path = NULL;
    }
    return status;
}

bool sella_run_there(const char *path)
{
    char *file = sella_path_join(path, "run.json", NULL);
    bool there = file && sella_path_exists(file);
    free(file);
    return there;
}

/* ---- making one ---- */

/* {"path", "fingerprint"} or null. */
static json_t *model_of(const sella_run_new *make)
{
    char *path = make->model_path ? sella_path_absolute(make->model_path) : NULL;
    json_t *model =
        path ? json_pack("{s:s, s:s}", "path", path, "fingerprint", make->model_fingerprint)
        : make->model_path ? NULL
                           : json_null();
    free(path);
    return model;
}

/* Paths are recorded as seen from everywhere, so that a run is used from any folder. NULL: memory
 * is out. */
static json_t *document_of(const sella_run_new *make)
{
    const sella_dataset *dataset = make->dataset;
    char *path = sella_path_absolute(dataset->path),
         *from = make->from ? sella_path_absolute(make->from) : NULL;
    char *init = make->init_from ? sella_path_absolute(make->init_from) : NULL;
    json_t *document = NULL;
    if (path && (from || !make->from) && (init || !make->init_from)) {
        document = json_pack(
            "{s:i, s:s, s:s, s:I, s:i, s:{s:s, s:s, s:s, s:s}, s:o, s:s?, s:s?, s:i, s:i, s:{s:s, "
            "s:s}, s:o, s:{}}",
            "format", RUN_FORMAT, "method", make->method, "preset", make->preset, "seed",
            (json_int_t)make->seed, "threads", make->threads, "dataset", "name", dataset->name,
            "path", path, "checksum", dataset->checksum, "noun", dataset->noun, "model",
            model_of(make), "from", from, "init_from", init, "users", dataset->train_users, "items",
            dataset->items, "versions", "sella", SELLA_VERSION, "blas", sella_blas_name(),
            "settings", sella_settings_json(make->settings), "decided");
    }
    free(path);
    free(from);
    free(init);
    return document;
}

sella_status sella_run_create(const char *path, const sella_run_new *make, sella_run **out,
                              sella_err *err)
{
    sella_status status = SELLA_OK;
    json_t *document = NULL;
    sella_aside *aside = NULL;
    char *file = NULL;
    *out = NULL;
    if (sella_run_there(path)) {
        return sella_err_set(err, SELLA_STATE, "%s: holds a run already; --resume goes on with it",
                             path);
    }
    SELLA_TRY(sella_aside_begin(path, "train", &aside, err));
    SELLA_TRY(sella_run_tables_write(aside->path, make->dataset, err));
    document = document_of(make);
    file = sella_path_join(aside->path, "run.json", NULL);
    if (!document || !file) {
        status = sella_err_memory(err, "run.json", 4096);
        goto done;
    }
    SELLA_TRY(sella_json_save(file, document, err));
    sella_aside *finished = aside;
    aside = NULL;
    SELLA_TRY(sella_aside_publish(finished, err));
    SELLA_TRY(sella_run_open(path, out, err));
done:
    sella_aside_abandon(aside);
    json_decref(document);
    free(file);
    return status;
}

/* ---- opening ---- */

static sella_status copy_text(const json_t *object, const char *key, const char *where, char **out,
                              sella_err *err)
{
    const char *text;
    sella_status status = sella_json_get_string(object, key, where, &text, err);
    if (status == SELLA_OK) {
        *out = strdup(text);
        status = *out ? SELLA_OK : sella_err_memory(err, key, strlen(text));
    }
    return status;
}

static sella_status copy_digits(const json_t *object, const char *key, const char *where,
                                char out[17], sella_err *err)
{
    const char *text;
    sella_status status = sella_json_get_string(object, key, where, &text, err);
    if (status == SELLA_OK && (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)) {
        status =
            sella_err_set(err, SELLA_FORMAT, "%s: key '%s' is '%s'; expected 16 hexadecimal digits",
                          where, key, text);
    }
    if (status == SELLA_OK) {
        memcpy(out, text, 17);
    }
    return status;
}

/* What format 1 meant, in the words of this one. */
static sella_status read_format(json_t *document, const char *file, sella_err *err)
{
    int64_t format;
    const json_t *residual =
        json_object_get(json_object_get(document, "settings"), "stage3.residual");
    sella_status status = sella_json_get_int(document, "format", file, 1, INT32_MAX, &format, err);
    if (status == SELLA_OK && format > RUN_FORMAT) {
        return sella_err_set(err, SELLA_UNSUPPORTED,
                             "%s: has format %lld; this version reads formats 1 to %d", file,
                             (long long)format, RUN_FORMAT);
    }
    if (status == SELLA_OK && format == 1 && json_is_boolean(residual) &&
        json_object_set_new(json_object_get(document, "settings"), "stage3.residual",
                            json_string(json_is_true(residual) ? "yes" : "no")) != 0) {
        return sella_err_memory(err, "settings", 64);
    }
    return status;
}

static sella_status read_document(sella_run *run, const char *file, sella_err *err)
{
    sella_status status = SELLA_OK;
    const json_t *dataset, *settings, *decided, *model = json_object_get(run->document, "model");
    const char *name;
    const sella_method *method;
    int64_t number;
    SELLA_TRY(read_format(run->document, file, err));
    SELLA_TRY(sella_json_get_string(run->document, "method", file, &name, err));
    method = sella_method_find(name);
    if (!method) {
        status = sella_err_set(err, SELLA_UNSUPPORTED,
                               "%s: was trained by method '%s', which this version does not know",
                               file, name);
        goto done;
    }
    run->method = method->name;
    SELLA_TRY(copy_text(run->document, "preset", file, &run->preset, err));
    SELLA_TRY(sella_json_get_int(run->document, "seed", file, 0, INT64_MAX, &number, err));
    run->seed = (uint64_t)number;
    SELLA_TRY(sella_json_get_int(run->document, "threads", file, 1, 4096, &number, err));
    run->threads = (int)number;
    SELLA_TRY(sella_json_get_object(run->document, "dataset", file, &dataset, err));
    SELLA_TRY(copy_text(dataset, "name", file, &run->dataset_name, err));
    SELLA_TRY(copy_text(dataset, "path", file, &run->dataset_path, err));
    SELLA_TRY(copy_text(dataset, "noun", file, &run->noun, err));
    SELLA_TRY(copy_digits(dataset, "checksum", file, run->dataset_checksum, err));
    if (json_is_object(model)) {
        SELLA_TRY(copy_text(model, "path", file, &run->model_path, err));
        SELLA_TRY(copy_digits(model, "fingerprint", file, run->model_fingerprint, err));
    } else if (!json_is_null(model) || method->needs_model) {
        status = sella_err_set(
            err, SELLA_FORMAT,
            "%s: key 'model' is missing; expected an object with path and fingerprint", file);
        goto done;
    }
    if (json_is_string(json_object_get(run->document, "from"))) {
        SELLA_TRY(copy_text(run->document, "from", file, &run->from, err));
    }
    if (json_is_string(json_object_get(run->document, "init_from"))) {
        SELLA_TRY(copy_text(run->document, "init_from", file, &run->init_from, err));
    }
    SELLA_TRY(sella_json_get_int(run->document, "users", file, 0, INT32_MAX - 8, &number, err));
    run->users = (int32_t)number;
    SELLA_TRY(sella_json_get_int(run->document, "items", file, 1, INT32_MAX - 8, &number, err));
    run->items = (int32_t)number;
    SELLA_TRY(sella_json_get_object(run->document, "decided", file, &decided, err));
    SELLA_TRY(sella_json_get_object(run->document, "settings", file, &settings, err));
    size_t rows;
    const sella_setting *table = sella_training_settings(&rows);
    SELLA_TRY(sella_settings_new(table, rows, &run->settings, err));
    status = sella_settings_from_json(run->settings, settings, file, err);
    if (status == SELLA_ARG) { // nobody typed it: a damaged file, or one of another version
        status = SELLA_FORMAT;
        if (err) {
            err->code = status;
        }
    }
done:
    return status;
}

sella_status sella_run_open(const char *path, sella_run **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    char *file = sella_path_join(path, "run.json", NULL),
         *result = sella_path_join(path, "result.json", NULL);
    sella_run *run = sella_alloc(1, sizeof *run, "a run", err);
    *out = NULL;
    if (!run || !file || !result) {
        status = SELLA_MEMORY;
        goto done;
    }
    run->path = strdup(path);
    run->impl = sella_alloc(1, sizeof *run->impl, "a run", err);
    if (!run->path || !run->impl) {
        status = sella_err_memory(err, "a run", sizeof *run);
        goto done;
    }
    if (!sella_path_exists(file)) {
        status = sella_err_set(err, SELLA_MISSING, "%s: is not a run: it has no run.json", path);
        goto done;
    }
    SELLA_TRY(sella_json_load(file, RUN_JSON_LIMIT, &run->document, err));
    SELLA_TRY(read_document(run, file, err));
    SELLA_TRY(sella_run_tables_read(path, run->users, run->items, &run->impl->tables, err));
    const sella_run_tables *tables = &run->impl->tables;
    run->user_id = tables->user_id;
    run->item_id = tables->item_id;
    run->title = tables->title;
    run->history = tables->history.data;
    run->history_start = tables->start.data;
    run->history_time = tables->time.data;
    run->complete = sella_path_exists(result);
done:
    free(file);
    free(result);
    if (status != SELLA_OK) {
        sella_run_close(run);
        run = NULL;
    }
    *out = run;
    return status;
}

void sella_run_close(sella_run *run)
{
    if (!run) {
        return;
    }
    if (run->impl) {
        sella_run_tables_release(&run->impl->tables);
    }
    free(run->impl);
    sella_settings_free(run->settings);
    json_decref(run->document);
    free(run->path);
    free(run->preset);
    free(run->dataset_name);
    free(run->dataset_path);
    free(run->noun);
    free(run->model_path);
    free(run->from);
    free(run->init_from);
    free(run);
}

sella_status sella_run_resume(const char *path, const sella_run_new *make, sella_run **out,
                              sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_run *run = NULL;
    *out = NULL;
    SELLA_TRY(sella_run_open(path, &run, err));
    if (strcmp(run->method, make->method) != 0) {
        status = sella_err_set(err, SELLA_STATE, "%s: is a run of %s; --resume was asked for %s",
                               path, run->method, make->method);
    } else if (strcmp(run->dataset_checksum, make->dataset->checksum) != 0) {
        status = sella_err_set(err, SELLA_STATE,
                               "%s: was trained on data with checksum %s; %s has %s", path,
                               run->dataset_checksum, make->dataset->path, make->dataset->checksum);
    } else if (run->users != make->dataset->train_users || run->items != make->dataset->items) {
        status = sella_err_set(err, SELLA_STATE, "%s: has %d users and %d items; %s has %d and %d",
                               path, run->users, run->items, make->dataset->path,
                               make->dataset->train_users, make->dataset->items);
    } else if ((run->model_path != NULL) != (make->model_fingerprint != NULL) ||
               (run->model_path && strcmp(run->model_fingerprint, make->model_fingerprint) != 0)) {
        status = sella_err_set(err, SELLA_STATE,
                               "%s: was trained with a model of fingerprint %s; %s has %s", path,
                               run->model_path ? run->model_fingerprint : "none",
                               make->model_path ? make->model_path : "this call",
                               make->model_fingerprint ? make->model_fingerprint : "none");
    } else if (run->threads != make->threads) {
        status = sella_err_set(err, SELLA_STATE,
                               "%s: was begun with %d threads, and its bytes follow from that; "
                               "--resume with %d would change them",
                               path, run->threads, make->threads);
    } else {
        SELLA_TRY(sella_run_stages_check(run, err));
        SELLA_TRY(run->complete ? SELLA_OK : sella_dir_sweep(path, err));
    }
done:
    if (status != SELLA_OK) {
        sella_run_close(run);
        run = NULL;
    }
    *out = run;
    return status;
}

/* ---- names ---- */

int32_t sella_run_find_user(const sella_run *run, const char *id)
{
    return sella_run_tables_user(&run->impl->tables, id);
}

int32_t sella_run_find_item(const sella_run *run, const char *id)
{
    return sella_run_tables_item(&run->impl->tables, id);
}

int32_t sella_run_find_title(const sella_run *run, const char *title)
{
    return sella_run_tables_title(&run->impl->tables, title);
}

int32_t sella_run_nearest_title(const sella_run *run, const char *title)
{
    return sella_text_nearest(title, run->title, (size_t)run->items);
}

int32_t sella_run_history(const sella_run *run, int32_t user, const int32_t **items)
{
    if (user < 0 || user >= run->users) {
        *items = NULL;
        return 0;
    }
    *items = run->history + run->history_start[user];
    return (int32_t)(run->history_start[user + 1] - run->history_start[user]);
}

/* ---- stages, decisions, the end ---- */

static char *stage_file(const sella_run *run, const char *stage)
{
    return sella_path_join(run->path, "stages", stage, "done.json", NULL);
}

bool sella_run_stage_done(const sella_run *run, const char *stage)
{
    char *file = stage_file(run, stage);
    bool done = file && sella_path_exists(file);
    free(file);
    return done;
}

sella_status sella_run_stage_finish(sella_run *run, const char *stage, const json_t *record,
                                    sella_err *err)
{
    sella_status status = SELLA_OK;
    char *dir = sella_path_join(run->path, "stages", stage, NULL), *file = stage_file(run, stage);
    if (!dir || !file) {
        status = sella_err_memory(err, "a path", strlen(stage));
        goto done;
    }
    SELLA_TRY(sella_dir_make(dir, err));
    SELLA_TRY(sella_json_save(file, record, err));
done:
    free(dir);
    free(file);
    return status;
}

sella_status sella_run_stage_record(const sella_run *run, const char *stage, json_t **out,
                                    sella_err *err)
{
    char *file = stage_file(run, stage);
    *out = NULL;
    if (!file) {
        return sella_err_memory(err, "a path", strlen(stage));
    }
    sella_status status = sella_json_load(file, RUN_JSON_LIMIT, out, err);
    free(file);
    return status;
}

/* One done.json, if it is there. */
static sella_status check_stage(const sella_run *run, const char *stage, sella_err *err)
{
    sella_status status = SELLA_OK;
    json_t *record = NULL;
    const json_t *list;
    const char *name;
    double seconds;
    char *file = stage_file(run, stage);
    if (!file) {
        return sella_err_memory(err, "a path", strlen(stage));
    }
    if (sella_path_exists(file)) {
        SELLA_TRY(sella_json_load(file, RUN_JSON_LIMIT, &record, err));
        SELLA_TRY(sella_json_get_string(record, "stage", file, &name, err));
        SELLA_TRY(sella_json_get_real(record, "seconds", file, &seconds, err));
        SELLA_TRY(sella_json_get_array(record, "trained", file, &list, err));
        SELLA_TRY(sella_json_get_array(record, "frozen", file, &list, err));
        if (strcmp(name, stage) != 0) {
            status =
                sella_err_set(err, SELLA_FORMAT, "%s: is the record of stage '%s'; expected '%s'",
                              file, name, stage);
        }
    }
done:
    json_decref(record);
    free(file);
    return status;
}

sella_status sella_run_stages_check(const sella_run *run, sella_err *err)
{
    char *dir = sella_run_file(run, "stages"), **names = NULL;
    size_t count = 0;
    sella_status status = dir ? SELLA_OK : sella_err_memory(err, "a path", 16);
    if (status == SELLA_OK && sella_path_exists(dir)) {
        status = sella_dir_list(dir, &names, &count, err);
    }
    for (size_t i = 0; i < count && status == SELLA_OK; i++) {
        status = check_stage(run, names[i], err);
    }
    sella_names_free(names, count);
    free(dir);
    return status;
}

sella_status sella_run_decide(sella_run *run, const char *key, int64_t value, int64_t *decided,
                              sella_err *err)
{
    sella_status status = SELLA_OK;
    char *file = sella_run_file(run, "run.json");
    json_t *all = json_object_get(run->document, "decided");
    if (!file) {
        return sella_err_memory(err, "a path", strlen(key));
    }
    if (json_object_get(all, key)) {
        SELLA_TRY(sella_json_get_int(all, key, file, INT64_MIN, INT64_MAX, decided, err));
        goto done;
    }
    if (json_object_set_new(all, key, json_integer(value)) != 0) {
        status = sella_err_memory(err, "run.json", 64);
        goto done;
    }
    *decided = value;
    SELLA_TRY(sella_json_save(file, run->document, err));
done:
    free(file);
    return status;
}

bool sella_run_decided(const sella_run *run, const char *key, int64_t *value)
{
    const json_t *entry = json_object_get(json_object_get(run->document, "decided"), key);
    if (json_is_integer(entry)) {
        *value = json_integer_value(entry);
    }
    return json_is_integer(entry);
}

sella_status sella_run_finish(sella_run *run, const json_t *result, sella_err *err)
{
    char *file = sella_run_file(run, "result.json");
    if (!file) {
        return sella_err_memory(err, "a path", 16);
    }
    sella_status status = sella_json_save(file, result, err);
    run->complete = run->complete || status == SELLA_OK;
    free(file);
    return status;
}
