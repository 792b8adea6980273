/* inspect_run.c - what a run was told, what each stage left, and Table 1 of the paper: which component a stage trains and which it leaves alone. */
#include "base/file.h"
#include "base/json.h"
#include "engine/inspect_part.h"
#include "formats/safetensors.h"
#include "methods/run.h"

/* Stages in the order in which they can follow each other; others come behind, by name. */
static const char *const stage_order[] = {"fit", "itembias", "bias", "mf", "stage1", "distil", "align", "stage2", "stage3"};

static bool known_stage(const char *name)
{
    for (size_t i = 0; i < sizeof stage_order / sizeof *stage_order; i++) {
        if (strcmp(name, stage_order[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Append the record of a finished stage. */
static sella_status add_stage(const sella_run *run, const char *name, json_t *list, sella_err *err)
{
    json_t *record = NULL;
    if (!sella_run_stage_done(run, name)) {
        return SELLA_OK;
    }
    sella_status status = sella_run_stage_record(run, name, &record, err);
    if (status == SELLA_OK) {
        if (json_object_get(record, "stage") == NULL) {
            json_object_set_new(record, "stage", json_string(name));
        }
        json_array_append_new(list, record);
    }
    return status;
}

static sella_status run_stages(const sella_run *run, json_t *list, sella_err *err)
{
    sella_status status = SELLA_OK;
    char **names = NULL;
    size_t count = 0;
    char *folder = sella_run_file(run, "stages");
    if (folder == NULL) {
        SELLA_TRY(sella_err_memory(err, "a path", 0));
    }
    if (!sella_path_is_dir(folder)) {
        goto done;
    }
    for (size_t i = 0; i < sizeof stage_order / sizeof *stage_order; i++) {
        SELLA_TRY(add_stage(run, stage_order[i], list, err));
    }
    SELLA_TRY(sella_dir_list(folder, &names, &count, err));
    for (size_t i = 0; i < count; i++) {
        if (!known_stage(names[i])) {
            SELLA_TRY(add_stage(run, names[i], list, err));
        }
    }
done:
    sella_names_free(names, count);
    free(folder);
    return status;
}

/* Values of the tensors of RUN/file that belong to `component` ("proj": proj.0.weight ...; NULL: all); 0 when the file is not there. */
static sella_status count_in(const sella_run *run, const char *name, const char *component, int64_t *values, sella_err *err)
{
    sella_status status = SELLA_OK;
    json_t *list = NULL;
    sella_safetensors *file = NULL;
    char *path = sella_run_file(run, name);
    if (path == NULL) {
        SELLA_TRY(sella_err_memory(err, "a path", 0));
    }
    if (!sella_path_exists(path)) {
        goto done;
    }
    SELLA_TRY(sella_safetensors_open(path, &file, err));
    list = json_array();
    const size_t n = component != NULL ? strlen(component) : 0;
    for (int i = 0; i < sella_safetensors_count(file); i++) {
        const sella_tensor *tensor = sella_safetensors_at(file, i);
        if (component == NULL || (strncmp(tensor->name, component, n) == 0 && (tensor->name[n] == '\0' || tensor->name[n] == '.'))) {
            *values += sella_inspect_tensor(tensor, list);
        }
    }
done:
    json_decref(list);
    sella_safetensors_close(file);
    free(path);
    return status;
}

/* Parameters of a component; -1 when the model that holds them is not here. */
static sella_status component_values(const sella_run *run, const char *component, int64_t *values, sella_err *err)
{
    sella_status status = SELLA_OK;
    *values = 0;
    if (strcmp(component, "backbone") == 0) {
        json_t *shape = NULL;
        const bool here = run->model_path != NULL && sella_inspect_shape(run->model_path, &shape, NULL) == SELLA_OK;
        *values = here ? json_integer_value(json_object_get(shape, "parameters")) : -1;
        json_decref(shape);
        return SELLA_OK;
    }
    if (strcmp(component, "lora") == 0) {
        return count_in(run, "adapter/adapter_model.safetensors", NULL, values, err);
    }
    SELLA_TRY(count_in(run, "collab.safetensors", component, values, err));
    SELLA_TRY(count_in(run, "projection.safetensors", component, values, err));
done:
    return status;
}

static json_t *find_component(json_t *components, const char *name)
{
    size_t i;
    json_t *entry;
    json_array_foreach(components, i, entry) {
        if (strcmp(json_string_value(json_object_get(entry, "component")), name) == 0) {
            return entry;
        }
    }
    return NULL;
}

/* Note "trained" or "frozen" for every component that a stage's record lists under `key`. */
static sella_status note_components(const sella_run *run, const json_t *stage, const char *key, json_t *components, sella_err *err)
{
    const char *stage_name = json_string_value(json_object_get(stage, "stage"));
    size_t i;
    json_t *name;
    json_array_foreach(json_object_get(stage, key), i, name) {
        const char *component = json_string_value(name);
        if (component == NULL) {
            return sella_err_set(err, SELLA_FORMAT, "%s/stages/%s/done.json: '%s' holds something else than names", run->path, stage_name, key);
        }
        json_t *entry = find_component(components, component);
        if (entry == NULL) {
            int64_t values = 0;
            sella_status status = component_values(run, component, &values, err);
            if (status != SELLA_OK) {
                return status;
            }
            entry = json_object();
            json_object_set_new(entry, "component", json_string(component));
            json_object_set_new(entry, "parameters", values >= 0 ? json_integer(values) : json_null());
            json_object_set_new(entry, "stages", json_object());
            json_array_append_new(components, entry);
        }
        json_object_set_new(json_object_get(entry, "stages"), stage_name, json_string(key));
    }
    return SELLA_OK;
}

static sella_status add_result(const sella_run *run, json_t *object, sella_err *err)
{
    json_t *result = NULL;
    sella_status status = SELLA_OK;
    if (run->complete) {
        char *path = sella_run_file(run, "result.json");
        status = path != NULL ? sella_json_load(path, (size_t)16 << 20, &result, err) : sella_err_memory(err, "a path", 0);
        free(path);
    }
    json_object_set_new(object, "result", result != NULL ? result : json_null());
    return status;
}

static void add_facts(const sella_run *run, json_t *object)
{
    json_t *dataset = json_object();
    json_t *model = json_null();
    json_object_set_new(dataset, "name", json_string(run->dataset_name));
    json_object_set_new(dataset, "path", json_string(run->dataset_path));
    json_object_set_new(dataset, "checksum", json_string(run->dataset_checksum));
    if (run->model_path != NULL) {
        model = json_object();
        json_object_set_new(model, "path", json_string(run->model_path));
        json_object_set_new(model, "fingerprint", json_string(run->model_fingerprint));
    }
    json_object_set_new(object, "method", json_string(run->method));
    json_object_set_new(object, "preset", json_string(run->preset));
    json_object_set_new(object, "complete", json_boolean(run->complete));
    json_object_set_new(object, "seed", json_integer((json_int_t)run->seed));
    json_object_set_new(object, "threads", json_integer(run->threads));
    json_object_set_new(object, "noun", json_string(run->noun));
    json_object_set_new(object, "users", json_integer(run->users));
    json_object_set_new(object, "items", json_integer(run->items));
    json_object_set_new(object, "dataset", dataset);
    json_object_set_new(object, "model", model);
}

sella_status sella_inspect_run(const char *path, json_t **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_run *run = NULL;
    json_t *object = sella_inspect_start("run", path);
    json_t *stages = json_array();
    json_t *components = json_array();
    SELLA_TRY(sella_run_open(path, &run, err));
    add_facts(run, object);
    SELLA_TRY(run_stages(run, stages, err));
    size_t i;
    json_t *stage;
    json_array_foreach(stages, i, stage) {
        SELLA_TRY(note_components(run, stage, "trained", components, err));
        SELLA_TRY(note_components(run, stage, "frozen", components, err));
    }
    json_object_set(object, "components", components);
    json_object_set(object, "stages", stages);
    json_object_set_new(object, "settings", sella_settings_json(run->settings));
    SELLA_TRY(add_result(run, object, err));
    *out = object;
    object = NULL;
done:
    sella_run_close(run);
    json_decref(components);
    json_decref(stages);
    json_decref(object);
    return status;
}
