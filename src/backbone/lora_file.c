/* lora_file.c - adapters in PEFT's own files: adapter_config.json and adapter_model.safetensors
 * (backbone/lora.h).
 *
 * Reading goes by the tensors that are there, not by target_modules, which may be a pattern: every
 * tensor must be one of ours, and the set must be the same in all layers from the first one on.
 * What PEFT can do beyond plain LoRA is refused by its key.
 */
#include "backbone/lora.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "formats/safetensors.h"

/* ---- writing ---- */

static json_t *config_json(const sella_lora_config *config, int layers, const char *base_model)
{
    json_t *targets = json_array(),
           *transform = config->first_layer > 0 ? json_array() : json_null();
    for (int m = 0; m < SELLA_MATRICES; m++) {
        if (config->targets & 1u << m) {
            json_array_append_new(targets, json_string(sella_matrix_name((sella_matrix)m)));
        }
    }
    for (int l = config->first_layer; config->first_layer > 0 && l < layers; l++) {
        json_array_append_new(transform, json_integer(l));
    }
    const bool whole = config->alpha == floor(config->alpha);
    json_t *root = json_object();
    json_object_set_new(root, "peft_type", json_string("LORA"));
    json_object_set_new(root, "task_type", json_string("CAUSAL_LM"));
    json_object_set_new(root, "base_model_name_or_path", json_string(base_model));
    json_object_set_new(root, "r", json_integer(config->rank));
    json_object_set_new(root, "lora_alpha",
                        whole ? json_integer((json_int_t)config->alpha) : json_real(config->alpha));
    json_object_set_new(root, "lora_dropout", json_real(config->dropout));
    json_object_set_new(root, "target_modules", targets);
    json_object_set_new(root, "layers_to_transform", transform);
    json_object_set_new(root, "layers_pattern", json_null());
    json_object_set_new(root, "use_rslora", json_boolean(config->rslora));
    json_object_set_new(root, "use_dora", json_false());
    json_object_set_new(root, "bias", json_string("none"));
    json_object_set_new(root, "fan_in_fan_out", json_false());
    json_object_set_new(root, "init_lora_weights", json_true());
    json_object_set_new(root, "inference_mode", json_true());
    json_object_set_new(root, "modules_to_save", json_null());
    json_object_set_new(root, "rank_pattern", json_object());
    json_object_set_new(root, "alpha_pattern", json_object());
    json_object_set_new(root, "revision", json_null());
    return root;
}

sella_status sella_lora_save(const sella_lora *lora, const char *dir, const char *base_model,
                             sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_param_table *table = sella_lora_params((sella_lora *)lora);
    char *model_path = sella_path_join(dir, "adapter_model.safetensors", NULL);
    char *config_path = sella_path_join(dir, "adapter_config.json", NULL);
    json_t *root = NULL;
    int layers = 0;
    sella_tensor_out *tensors =
        sella_alloc((size_t)table->count, sizeof *tensors, "the adapter's tensors", err);
    if (tensors == NULL || model_path == NULL || config_path == NULL) {
        status =
            sella_err_memory(err, "the adapter's tensors", (size_t)table->count * sizeof *tensors);
        goto done;
    }
    for (int i = 0; i < table->count; i++) {
        const sella_param *p = &table->param[i];
        tensors[i] = (sella_tensor_out){
            .name = p->name, .rank = 2, .shape = {p->shape[0], p->shape[1]}, .data = p->data};
    }
    (void)sscanf(table->param[table->count - 1].name, "base_model.model.model.layers.%d.", &layers);
    SELLA_TRY(sella_dir_make(dir, err));
    SELLA_TRY(sella_safetensors_write(model_path, tensors, table->count, NULL, err));
    root = config_json(sella_lora_settings(lora), layers + 1, base_model);
    SELLA_TRY(sella_json_save(config_path, root, err));
done:
    json_decref(root);
    free(tensors);
    free(model_path);
    free(config_path);
    return status;
}

/* ---- reading ---- */

/* Keys that must be absent, null, false, empty or zero: each changes what the adapter computes. */
static const char *const unsupported[] = {"use_dora",
                                          "use_qalora",
                                          "use_bdlora",
                                          "lora_bias",
                                          "fan_in_fan_out",
                                          "rank_pattern",
                                          "alpha_pattern",
                                          "modules_to_save",
                                          "layer_replication",
                                          "target_parameters",
                                          "trainable_token_indices",
                                          "alora_invocation_tokens",
                                          "arrow_config",
                                          "kasa_config",
                                          "monteclora_config",
                                          "velora_config",
                                          "megatron_config"};

static bool empty(const json_t *value)
{
    return value == NULL || json_is_null(value) || json_is_false(value) ||
           (json_is_object(value) && json_object_size(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0);
}

static sella_status config_read(const char *path, sella_lora_config *config, sella_err *err)
{
    sella_status status = SELLA_OK;
    json_t *root = NULL;
    const char *text = NULL;
    int64_t rank = 0;
    *config = (sella_lora_config){0};
    SELLA_TRY(sella_json_load(path, (size_t)16 << 20, &root, err));
    SELLA_TRY(sella_json_get_string(root, "peft_type", path, &text, err));
    if (strcmp(text, "LORA") != 0) {
        status = sella_err_set(err, SELLA_UNSUPPORTED,
                               "%s: peft_type '%.40s' is not supported; expected LORA", path, text);
        goto done;
    }
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++) {
        if (!empty(json_object_get(root, unsupported[i]))) {
            status = sella_err_set(err, SELLA_UNSUPPORTED,
                                   "%s: '%s' is set, which is not supported", path, unsupported[i]);
            goto done;
        }
    }
    const char *bias = json_string_value(json_object_get(root, "bias"));
    if (bias != NULL && strcmp(bias, "none") != 0) {
        status = sella_err_set(err, SELLA_UNSUPPORTED,
                               "%s: bias '%.40s' is not supported; expected none", path, bias);
        goto done;
    }
    SELLA_TRY(sella_json_get_int(root, "r", path, 1, 1 << 16, &rank, err));
    SELLA_TRY(sella_json_get_real(root, "lora_alpha", path, &config->alpha, err));
    if (!empty(json_object_get(root, "lora_dropout"))) {
        SELLA_TRY(sella_json_get_real(root, "lora_dropout", path, &config->dropout, err));
    }
    if (!empty(json_object_get(root, "use_rslora"))) {
        SELLA_TRY(sella_json_get_bool(root, "use_rslora", path, &config->rslora, err));
    }
    config->rank = (int)rank;
done:
    json_decref(root);
    return status;
}

/* Layer and matrix of a tensor's name; false when it is none of ours. */
static bool name_parse(const char *name, int *layer, sella_matrix *matrix)
{
    static const char prefix[] = "base_model.model.model.layers.";
    int used = 0;
    if (strncmp(name, prefix, sizeof prefix - 1) != 0 ||
        sscanf(name + sizeof prefix - 1, "%6d.%n", layer, &used) != 1 || used == 0 || *layer < 0) {
        return false;
    }
    const char *rest = name + sizeof prefix - 1 + used;
    for (int m = 0; m < SELLA_MATRICES; m++) {
        char want[64];
        for (int ab = 0; ab < 2; ab++) {
            snprintf(want, sizeof want, "%s.%s.lora_%c.weight",
                     m <= SELLA_MATRIX_O ? "self_attn" : "mlp", sella_matrix_name((sella_matrix)m),
                     "AB"[ab]);
            if (strcmp(rest, want) == 0) {
                *matrix = (sella_matrix)m;
                return true;
            }
        }
    }
    return false;
}

/* Targets and first layer from the names; that the set is complete is checked when the table is
 * filled. */
static sella_status targets_read(const sella_safetensors *file, const char *path, int layers,
                                 sella_lora_config *config, sella_err *err)
{
    int first = layers;
    for (int i = 0; i < sella_safetensors_count(file); i++) {
        const char *name = sella_safetensors_at(file, i)->name;
        int layer;
        sella_matrix matrix;
        if (!name_parse(name, &layer, &matrix)) {
            return sella_err_set(
                err, SELLA_UNSUPPORTED,
                "%s: tensor '%.120s' is not lora_A or lora_B of one of the seven matrices", path,
                name);
        }
        if (layer >= layers) {
            return sella_err_set(err, SELLA_SHAPE,
                                 "%s: tensor '%.120s' is of layer %d; the backbone has %d layers",
                                 path, name, layer, layers);
        }
        config->targets |= 1u << matrix;
        first = layer < first ? layer : first;
    }
    config->first_layer = first;
    return first < layers ? SELLA_OK
                          : sella_err_set(err, SELLA_SHAPE, "%s: holds no tensors", path);
}

static sella_status tensor_read(const sella_safetensors *file, const char *path, sella_param *param,
                                sella_err *err)
{
    const sella_tensor *t = sella_safetensors_find(file, param->name);
    if (t == NULL) {
        return sella_err_set(err, SELLA_SHAPE,
                             "%s: tensor '%s' is missing; adapters must be the same in all layers "
                             "from the first one on",
                             path, param->name);
    }
    if (t->rank != 2 || t->shape[0] != param->shape[0] || t->shape[1] != param->shape[1] ||
        !t->readable) {
        return sella_err_set(err, SELLA_SHAPE,
                             "%s: tensor '%s' has type %s, %d dimensions and first sizes [%lld, "
                             "%lld]; expected [%lld, %lld]",
                             path, param->name, t->type_name, t->rank, (long long)t->shape[0],
                             (long long)(t->rank > 1 ? t->shape[1] : 1), (long long)param->shape[0],
                             (long long)param->shape[1]);
    }
    if (!sella_dequantize(param->data, t->data, t->dtype, param->count)) {
        return sella_err_set(err, SELLA_FORMAT, "%s: tensor '%s' holds a value that is not finite",
                             path, param->name);
    }
    return SELLA_OK;
}

sella_status sella_lora_load(const sella_backbone *backbone, const char *dir, sella_lora **out,
                             sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_lora_config config;
    sella_lora *lora = NULL;
    sella_safetensors *file = NULL;
    char *model_path = sella_path_join(dir, "adapter_model.safetensors", NULL);
    char *config_path = sella_path_join(dir, "adapter_config.json", NULL);
    *out = NULL;
    if (model_path == NULL || config_path == NULL) {
        status = sella_err_memory(err, "a path", strlen(dir));
        goto done;
    }
    SELLA_TRY(config_read(config_path, &config, err));
    SELLA_TRY(sella_safetensors_open(model_path, &file, err));
    SELLA_TRY(targets_read(file, model_path, sella_backbone_shape(backbone)->layers, &config, err));
    status = sella_lora_config_check(&config, sella_backbone_shape(backbone), err);
    if (status != SELLA_OK) {
        status = sella_err_prefix(err, status, "%s", config_path);
        goto done;
    }
    SELLA_TRY(sella_lora_empty(backbone, &config, &lora, err));
    sella_param_table *table = sella_lora_params(lora);
    for (int i = 0; i < table->count; i++) {
        SELLA_TRY(tensor_read(file, model_path, &table->param[i], err));
    }
    *out = lora;
    lora = NULL;
done:
    sella_lora_free(lora);
    sella_safetensors_close(file);
    free(model_path);
    free(config_path);
    return status;
}
