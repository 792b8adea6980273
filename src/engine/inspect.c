/* inspect.c - what a path is, told by its contents, and the parts for single files. */
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "engine/inspect_part.h"
#include "formats/gguf.h"
#include "formats/npy.h"
#include "sella/engine.h"

enum { NPY_SHOWN = 8, META_SHOWN = 160 };

json_t *sella_inspect_start(const char *kind, const char *path)
{
    json_t *object = json_object();
    json_object_set_new(object, "kind", json_string(kind));
    json_object_set_new(object, "path", sella_inspect_string(path, strlen(path)));
    return object;
}

json_t *sella_inspect_string(const char *data, size_t bytes)
{
    if (sella_utf8_valid(data, bytes) == bytes) {
        return json_stringn(data, bytes);
    }
    char *copy = malloc(bytes + 1);
    if (copy == NULL) {
        return NULL;
    }
    memcpy(copy, data, bytes);
    for (size_t at = 0; at < bytes; at++) {
        at += sella_utf8_valid(copy + at, bytes - at);
        if (at < bytes) {
            copy[at] = '?';
        }
    }
    json_t *text = json_stringn(copy, bytes);
    free(copy);
    return text;
}

int64_t sella_inspect_tensor(const sella_tensor *tensor, json_t *list)
{
    json_t *entry = json_object();
    json_t *shape = json_array();
    int64_t values = 1;
    for (int i = 0; i < tensor->rank; i++) {
        json_array_append_new(shape, json_integer(tensor->shape[i]));
        values *= tensor->shape[i]; /* the readers have checked that the product fits */
    }
    json_object_set_new(entry, "name", json_string(tensor->name));
    json_object_set_new(entry, "type", json_string(tensor->type_name));
    json_object_set_new(entry, "shape", shape);
    json_object_set_new(entry, "bytes", json_integer((json_int_t)tensor->bytes));
    json_array_append_new(list, entry);
    return values;
}

static void add_meta(void *user, const char *key, const char *value)
{
    json_object_set_new(user, key, json_string(value));
}

sella_status sella_inspect_tensors_of(const char *path, json_t *list, json_t *meta, int64_t *values,
                                      sella_err *err)
{
    sella_safetensors *file = NULL;
    sella_status status = sella_safetensors_open(path, &file, err);
    if (status != SELLA_OK) {
        return status;
    }
    if (meta != NULL) {
        sella_safetensors_meta_each(file, add_meta, meta);
    }
    for (int i = 0; i < sella_safetensors_count(file); i++) {
        *values += sella_inspect_tensor(sella_safetensors_at(file, i), list);
    }
    sella_safetensors_close(file);
    return SELLA_OK;
}

sella_status sella_inspect_safetensors(const char *path, json_t **out, sella_err *err)
{
    json_t *object = sella_inspect_start("safetensors", path);
    json_t *meta = json_object();
    json_t *list = json_array();
    int64_t values = 0;
    sella_status status = sella_inspect_tensors_of(path, list, meta, &values, err);
    json_object_set_new(object, "metadata", meta);
    json_object_set_new(object, "values", json_integer(values));
    json_object_set_new(object, "tensors", list);
    if (status != SELLA_OK) {
        json_decref(object);
        object = NULL;
    }
    *out = object;
    return status;
}

sella_status sella_inspect_gguf(const char *path, json_t **out, sella_err *err)
{
    sella_gguf *file = NULL;
    json_t *model = NULL;
    int64_t values = 0;
    sella_status status = sella_gguf_open(path, &file, err);
    if (status != SELLA_OK) {
        return status;
    }
    json_t *object = sella_inspect_start("gguf", path);
    json_t *meta = json_object();
    json_t *list = json_array();
    for (int i = 0; i < sella_gguf_key_count(file); i++) {
        char text[META_SHOWN];
        const sella_span key = sella_gguf_key(file, i, text, sizeof text);
        json_t *name = sella_inspect_string(key.data, key.bytes);
        json_object_set_new(meta, json_string_value(name),
                            sella_inspect_string(text, strlen(text)));
        json_decref(name);
    }
    for (int i = 0; i < sella_gguf_count(file); i++) {
        values += sella_inspect_tensor(sella_gguf_at(file, i), list);
    }
    sella_gguf_close(file);
    /* A GGUF need not be a model that can be run here: then the reason stands in place of the
     * architecture. */
    sella_err why = {0};
    if (sella_inspect_shape(path, &model, &why) == SELLA_OK) {
        json_object_set_new(object, "model", model);
    } else {
        json_object_set_new(object, "model", json_null());
        json_object_set_new(object, "model_unsupported",
                            sella_inspect_string(why.text, strlen(why.text)));
    }
    json_object_set_new(object, "metadata", meta);
    json_object_set_new(object, "values", json_integer(values));
    json_object_set_new(object, "tensors", list);
    *out = object;
    return SELLA_OK;
}

static json_t *npy_value(const sella_npy *npy, int64_t i)
{
    switch (npy->type) {
    case SELLA_NPY_U8: return json_integer(((const uint8_t *)npy->data)[i]);
    case SELLA_NPY_I32: return json_integer(((const int32_t *)npy->data)[i]);
    case SELLA_NPY_I64: return json_integer(((const int64_t *)npy->data)[i]);
    case SELLA_NPY_F32: return sella_json_real((double)((const float *)npy->data)[i]);
    case SELLA_NPY_F64: return sella_json_real(((const double *)npy->data)[i]);
    }
    return json_null();
}

sella_status sella_inspect_npy(const char *path, json_t **out, sella_err *err)
{
    sella_npy npy = {0};
    sella_status status = sella_npy_open_any(path, &npy, err);
    if (status != SELLA_OK) {
        return status;
    }
    json_t *object = sella_inspect_start("npy", path);
    json_t *shape = json_array();
    json_t *first = json_array();
    for (int i = 0; i < npy.rank; i++) {
        json_array_append_new(shape, json_integer(npy.shape[i]));
    }
    const int64_t values = npy.shape[0] * npy.shape[1];
    for (int64_t i = 0; i < values && i < NPY_SHOWN; i++) {
        json_array_append_new(first, npy_value(&npy, i));
    }
    json_object_set_new(object, "type", json_string(sella_npy_type_name(npy.type)));
    json_object_set_new(object, "shape", shape);
    json_object_set_new(object, "values", json_integer(values));
    json_object_set_new(object, "first", first);
    sella_npy_close(&npy);
    *out = object;
    return SELLA_OK;
}

static bool has_file(const char *folder, const char *name)
{
    char *path = sella_path_join(folder, name, (char *)NULL);
    const bool found = path != NULL && sella_path_exists(path);
    free(path);
    return found;
}

static sella_status inspect_folder(const char *path, json_t **out, sella_err *err)
{
    static const struct {
        const char *mark;
        sella_status (*part)(const char *path, json_t **out, sella_err *err);
    } kinds[] = {
        {"run.json", sella_inspect_run},
        {"dataset.json", sella_inspect_dataset},
        {"adapter_config.json", sella_inspect_adapter},
        {"config.json", sella_inspect_model},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (has_file(path, kinds[i].mark)) {
            return kinds[i].part(path, out, err);
        }
    }
    return sella_err_set(err, SELLA_FORMAT,
                         "%s: not a run, data set, adapter or model folder (no run.json, "
                         "dataset.json, adapter_config.json, config.json)",
                         path);
}

static sella_status inspect_file(const char *path, json_t **out, sella_err *err)
{
    sella_map map = {0};
    sella_status status = sella_map_open(path, &map, err);
    if (status != SELLA_OK) {
        return status;
    }
    char head[9] = {0};
    const size_t size = map.size;
    memcpy(head, map.size > 0 ? (const char *)map.data : "",
           map.size < sizeof head ? map.size : sizeof head);
    sella_map_close(&map);
    if (memcmp(head, "GGUF", 4) == 0 || memcmp(head, "FUGG", 4) == 0) {
        return sella_inspect_gguf(path, out, err);
    }
    if (memcmp(head, "\x93NUMPY", 6) == 0) {
        return sella_inspect_npy(path, out, err);
    }
    if (size > 8 && head[8] == '{') {
        return sella_inspect_safetensors(path, out, err);
    }
    return sella_err_set(err, SELLA_FORMAT,
                         "%s: not a safetensors, GGUF or npy file by its first bytes", path);
}

sella_status sella_inspect(const char *path, char **json, sella_err *err)
{
    json_t *object = NULL;
    *json = NULL;
    if (path == NULL) {
        return sella_err_set(err, SELLA_ARG, "a path is needed");
    }
    sella_status status = sella_path_is_dir(path) ? inspect_folder(path, &object, err)
                                                  : inspect_file(path, &object, err);
    if (status != SELLA_OK) {
        return status;
    }
    *json = sella_json_line(object);
    json_decref(object);
    return *json != NULL ? SELLA_OK : sella_err_memory(err, "what is in a file", 0);
}
