/* inspect_run.c - what a run was told, what each stage left, and Table 1 of the paper: which
 * component a stage trains and which it leaves alone. */
#include "base/file.h"
#include "base/json.h"
#include "engine/inspect_part.h"
#include "formats/safetensors.h"
#include "methods/run.h"

/* Stages in the order in which they can follow each other; others come behind, by name. */
static const char *const stage_order[] = {
    "fit",       "itembias",     "bias",   "mf",     "lightgcn", "sasrec", "text",
    "contrast",  "din",          "stage1", "distil", "align",    "stage2", "stage3",
    "prompt4nr", "personprompt", "collm",  "codes",  "binllm"};

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

/* The rows of Table 1, and the tensors (by the beginning of their names) that belong to each. */
static const struct {
    const char *name, *title;
    const char *prefix[8];
} component_table[] = {
    {"backbone", "LLM backbone", {"backbone"}},
    {"lora", "LoRA", {"adapter"}},
    {"collab",
     "collaborative tables",
     {"user.", "item.", "global.", "history.", "lightgcn.", "sasrec.", "din."}},
    {"semantic", "semantic item table", {"semantic."}},
    {"proj", "collab. projection", {"proj."}},
    {"warm", "warm projection", {"warm."}},
    {"soft", "soft prompt", {"soft."}},
    {"logit", "numbers on the logit", {"logit."}},
    {"other", "other", {""}},
};
enum { COMPONENTS = sizeof component_table / sizeof *component_table };

static int component_of(const char *tensor)
{
    for (int c = 0; c < COMPONENTS; c++) {
        for (const char *const *prefix = component_table[c].prefix; *prefix != NULL; prefix++) {
            if (strncmp(tensor, *prefix, strlen(*prefix)) == 0) {
                return c;
            }
        }
    }
    return COMPONENTS - 1;
}

/* Add the values of the tensors of RUN/name to their components; a file that is not there holds
 * none. tensors_c: the names that stages recorded as their parameters, one set a component; what
 * else stands in the file (tensors derived from others, counts of rows) is not counted. all: the
 * component of the whole file, whose tensors stages do not name one by one; -1: by name. */
static sella_status count_file(const sella_run *run, const char *name, int all,
                               json_t *const *tensors_c, int64_t *value_c, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_safetensors *file = NULL;
    char *path = sella_run_file(run, name);
    if (path == NULL) {
        SELLA_TRY(sella_err_memory(err, "a path", 0));
    }
    if (!sella_path_exists(path)) {
        goto done;
    }
    SELLA_TRY(sella_safetensors_open(path, &file, err));
    for (int i = 0; i < sella_safetensors_count(file); i++) {
        const sella_tensor *tensor = sella_safetensors_at(file, i);
        const int c = all >= 0 ? all : component_of(tensor->name);
        int64_t values = 1;
        if (all < 0 && json_object_get(tensors_c[c], tensor->name) == NULL) {
            continue;
        }
        for (int d = 0; d < tensor->rank; d++) {
            values *= tensor->shape[d]; /* the reader has checked that the product fits */
        }
        value_c[c] += values;
    }
done:
    sella_safetensors_close(file);
    free(path);
    return status;
}

/* Parameters of each component; -1 when the model that holds them is not here. */
static sella_status count_components(const sella_run *run, json_t *const *tensors_c,
                                     int64_t *value_c, sella_err *err)
{
    sella_status status = SELLA_OK;
    json_t *shape = NULL;
    const bool here =
        run->model_path != NULL && sella_inspect_shape(run->model_path, &shape, NULL) == SELLA_OK;
    memset(value_c, 0, COMPONENTS * sizeof *value_c);
    value_c[0] = here ? json_integer_value(json_object_get(shape, "parameters")) : -1;
    SELLA_TRY(count_file(run, "adapter/adapter_model.safetensors", component_of("adapter"),
                         tensors_c, value_c, err));
    SELLA_TRY(count_file(run, "collab.safetensors", -1, tensors_c, value_c, err));
    SELLA_TRY(count_file(run, "projection.safetensors", -1, tensors_c, value_c, err));
done:
    json_decref(shape);
    return status;
}

/* Note "trained" or "frozen" for the component of every tensor that a stage's record lists under
 * `key`; "partly" when a component has both. */
static sella_status note_stage(const sella_run *run, const json_t *stage, const char *key,
                               json_t *const *stages_c, json_t *const *tensors_c, sella_err *err)
{
    const char *stage_name = json_string_value(json_object_get(stage, "stage"));
    size_t i;
    json_t *name;
    json_array_foreach(json_object_get(stage, key), i, name) {
        const char *tensor = json_string_value(name);
        if (tensor == NULL || stage_name == NULL) {
            return sella_err_set(
                err, SELLA_FORMAT,
                "%s/stages: a done.json lists something else than names under '%s'", run->path,
                key);
        }
        const int c = component_of(tensor);
        const char *before = json_string_value(json_object_get(stages_c[c], stage_name));
        json_object_set_new(
            stages_c[c], stage_name,
            json_string(before == NULL || strcmp(before, key) == 0 ? key : "partly"));
        json_object_set_new(tensors_c[c], tensor, json_true()); /* a set */
    }
    return SELLA_OK;
}

/* Table 1: every component that some stage knows. */
static sella_status run_components(const sella_run *run, const json_t *stages, json_t *components,
                                   sella_err *err)
{
    sella_status status = SELLA_OK;
    int64_t value_c[COMPONENTS];
    json_t *stages_c[COMPONENTS], *tensors_c[COMPONENTS];
    for (int c = 0; c < COMPONENTS; c++) {
        stages_c[c] = json_object();
        tensors_c[c] = json_object();
    }
    size_t i;
    json_t *stage;
    json_array_foreach((json_t *)stages, i, stage) {
        SELLA_TRY(note_stage(run, stage, "trained", stages_c, tensors_c, err));
        SELLA_TRY(note_stage(run, stage, "frozen", stages_c, tensors_c, err));
    }
    SELLA_TRY(count_components(run, tensors_c, value_c, err));
    for (int c = 0; c < COMPONENTS; c++) {
        if (json_object_size(stages_c[c]) == 0) {
            continue;
        }
        json_t *entry = json_object();
        json_t *names = json_array();
        const char *tensor;
        json_t *unused;
        json_object_foreach(tensors_c[c], tensor, unused) {
            json_array_append_new(names, json_string(tensor));
        }
        json_object_set_new(entry, "component", json_string(component_table[c].name));
        json_object_set_new(entry, "title", json_string(component_table[c].title));
        json_object_set_new(entry, "parameters",
                            value_c[c] >= 0 ? json_integer(value_c[c]) : json_null());
        json_object_set(entry, "stages", stages_c[c]);
        json_object_set_new(entry, "tensors", names);
        json_array_append_new(components, entry);
    }
done:
    for (int c = 0; c < COMPONENTS; c++) {
        json_decref(stages_c[c]);
        json_decref(tensors_c[c]);
    }
    return status;
}

static sella_status add_result(const sella_run *run, json_t *object, sella_err *err)
{
    json_t *result = NULL;
    sella_status status = SELLA_OK;
    if (run->complete) {
        char *path = sella_run_file(run, "result.json");
        status = path != NULL ? sella_json_load(path, (size_t)16 << 20, &result, err)
                              : sella_err_memory(err, "a path", 0);
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
    SELLA_TRY(run_components(run, stages, components, err));
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
