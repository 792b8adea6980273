/* inspect_folder.c - what is in a model folder, an adapter folder, a data set. */
#include "backbone/backbone.h"
#include "base/file.h"
#include "base/json.h"
#include "data/dataset.h"
#include "engine/inspect_part.h"

/* Weights of one decoder layer. */
static int64_t layer_parameters(const sella_backbone_config *c)
{
    const int64_t q = (int64_t)c->H * c->D;
    const int64_t kv = (int64_t)c->G * c->D;
    int64_t total = (q + 2 * kv) * c->C + q * c->C + 3 * (int64_t)c->F * c->C + 2 * (int64_t)c->C;
    total += c->qkv_bias ? q + 2 * kv : 0;
    total += c->o_bias ? c->C : 0;
    total += c->qk_norm ? 2 * (int64_t)c->D : 0;
    return total;
}

sella_status sella_inspect_shape(const char *path, json_t **out, sella_err *err)
{
    sella_backbone_config c = {0};
    sella_backbone_need need;
    sella_status status = sella_backbone_probe(path, &c, &need, err);
    if (status != SELLA_OK) {
        return status;
    }
    const int64_t layers = (int64_t)c.layers * layer_parameters(&c) + c.C;
    const int64_t embedding = (int64_t)c.V * c.C * (c.tied ? 1 : 2);
    json_t *shape = json_object();
    json_object_set_new(shape, "family", json_string(c.family));
    json_object_set_new(shape, "layers", json_integer(c.layers));
    json_object_set_new(shape, "width", json_integer(c.C));
    json_object_set_new(shape, "heads", json_integer(c.H));
    json_object_set_new(shape, "kv_heads", json_integer(c.G));
    json_object_set_new(shape, "head_width", json_integer(c.D));
    json_object_set_new(shape, "ffn", json_integer(c.F));
    json_object_set_new(shape, "vocabulary", json_integer(c.V));
    json_object_set_new(shape, "context", json_integer(c.context));
    json_object_set_new(shape, "rope_theta", sella_json_real(c.rope_theta));
    json_object_set_new(shape, "rms_eps", sella_json_real((double)c.rms_eps));
    json_object_set_new(shape, "qkv_bias", json_boolean(c.qkv_bias));
    json_object_set_new(shape, "o_bias", json_boolean(c.o_bias));
    json_object_set_new(shape, "qk_norm", json_boolean(c.qk_norm));
    json_object_set_new(shape, "tied", json_boolean(c.tied));
    json_object_set_new(shape, "parameters", json_integer(layers + embedding));
    json_object_set_new(shape, "parameters_outside_embedding", json_integer(layers));
    json_object_set_new(shape, "bytes_expanded", json_integer((json_int_t)need.expanded));
    json_object_set_new(shape, "bytes_stored", json_integer((json_int_t)need.stored));
    *out = shape;
    return SELLA_OK;
}

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text);
    const size_t k = strlen(end);
    return n >= k && strcmp(text + n - k, end) == 0;
}

/* Tensors of every *.safetensors in a folder. */
static sella_status folder_tensors(const char *path, json_t *object, sella_err *err)
{
    sella_status status = SELLA_OK;
    char **names = NULL;
    size_t count = 0;
    int64_t values = 0;
    json_t *list = json_array();
    json_t *files = json_array();
    char *file = NULL;
    SELLA_TRY(sella_dir_list(path, &names, &count, err));
    for (size_t i = 0; i < count; i++) {
        if (!ends_with(names[i], ".safetensors")) {
            continue;
        }
        file = sella_path_join(path, names[i], (char *)NULL);
        if (file == NULL) {
            SELLA_TRY(sella_err_memory(err, "a path", 0));
        }
        SELLA_TRY(sella_inspect_tensors_of(file, list, NULL, &values, err));
        json_array_append_new(files, sella_inspect_string(names[i], strlen(names[i])));
        free(file);
        file = NULL;
    }
    json_object_set(object, "files", files);
    json_object_set_new(object, "values", json_integer(values));
    json_object_set(object, "tensors", list);
done:
    free(file);
    sella_names_free(names, count);
    json_decref(files);
    json_decref(list);
    return status;
}

sella_status sella_inspect_model(const char *path, json_t **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    json_t *object = sella_inspect_start("model", path);
    json_t *shape = NULL;
    SELLA_TRY(sella_inspect_shape(path, &shape, err));
    json_object_set_new(object, "model", shape);
    SELLA_TRY(folder_tensors(path, object, err));
    *out = object;
    object = NULL;
done:
    json_decref(object);
    return status;
}

sella_status sella_inspect_adapter(const char *path, json_t **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    json_t *object = sella_inspect_start("adapter", path);
    json_t *config = NULL;
    char *file = sella_path_join(path, "adapter_config.json", (char *)NULL);
    if (file == NULL) {
        SELLA_TRY(sella_err_memory(err, "a path", 0));
    }
    SELLA_TRY(sella_json_load(file, (size_t)1 << 20, &config, err));
    json_object_set(object, "config", config);
    SELLA_TRY(folder_tensors(path, object, err));
    *out = object;
    object = NULL;
done:
    free(file);
    json_decref(config);
    json_decref(object);
    return status;
}

sella_status sella_inspect_dataset(const char *path, json_t **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_dataset *dataset = NULL;
    json_t *object = sella_inspect_start("dataset", path);
    json_t *document = NULL;
    json_t *splits = json_object();
    char *file = sella_path_join(path, "dataset.json", (char *)NULL);
    if (file == NULL) {
        SELLA_TRY(sella_err_memory(err, "a path", 0));
    }
    SELLA_TRY(sella_json_load(file, (size_t)16 << 20, &document, err));
    SELLA_TRY(sella_dataset_open(path, &dataset, err));
    json_object_set_new(object, "name", sella_inspect_string(dataset->name, strlen(dataset->name)));
    json_object_set_new(object, "noun", json_string(dataset->noun));
    json_object_set_new(object, "users", json_integer(dataset->users));
    json_object_set_new(object, "train_users", json_integer(dataset->train_users));
    json_object_set_new(object, "items", json_integer(dataset->items));
    json_object_set_new(object, "history_entries", json_integer(dataset->history_total));
    json_object_set_new(object, "checksum", json_string(dataset->checksum));
    for (int i = 0; i < SELLA_SPLITS; i++) {
        json_object_set_new(splits, sella_split_name((sella_split_id)i),
                            json_integer(dataset->split[i].rows));
    }
    json_object_set(object, "rows", splits);
    json_object_set(object, "dataset.json", document);
    *out = object;
    object = NULL;
done:
    free(file);
    sella_dataset_close(dataset);
    json_decref(splits);
    json_decref(document);
    json_decref(object);
    return status;
}
