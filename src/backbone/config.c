/* config.c - config.json and GGUF metadata to a sella_backbone_config (backbone/config.h).
 *
 * Easy to get wrong:
 * - keys that a config.json lacks have the defaults of its class in transformers: head_dim of Qwen3
 *   is 128, not C / H;
 * - rope_theta stands at the top in older files and under rope_parameters in newer ones; the
 *   scaling is rope_scaling or rope_parameters, its kind "rope_type" or "type";
 * - attention_bias means q, k, v and o in Llama and Qwen3; Qwen2 has q, k and v always and no key
 *   for it.
 */
#include "backbone/config.h"


#include "base/json.h"

enum {
    LAYERS_MAX = 4096,
    WIDTH_MAX = 1 << 18, /* C, F and H D: products of two stay far below 2^63 */
    HEADS_MAX = 4096,
    HEAD_WIDTH_MAX = 1024,
    VOCABULARY_MAX = 1 << 24
};

static const int64_t CONTEXT_MAX = (int64_t)1 << 32;

static const char *const families[] = {"llama", "qwen2", "qwen3"};

static sella_status family_set(const char *name, size_t bytes, const char *path,
                               sella_backbone_config *config, sella_err *err)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (strlen(families[i]) == bytes && memcmp(name, families[i], bytes) == 0) {
            memcpy(config->family, families[i], bytes + 1);
            return SELLA_OK;
        }
    }
    return sella_err_set(
        err, SELLA_UNSUPPORTED,
        "%s: architecture '%.*s' is not supported; supported are llama, qwen2 and qwen3 (dense)",
        path, (int)(bytes < 64 ? bytes : 64), name);
}

/* What holds for every shape, whatever file it came from. */
static sella_status shape_check(const sella_backbone_config *c, const char *path, sella_err *err)
{
    if (c->G > c->H || c->H % c->G != 0) {
        return sella_err_set(err, SELLA_FORMAT,
                             "%s: %d query heads cannot share %d key heads evenly", path, c->H,
                             c->G);
    }
    if (c->D % 2 != 0) {
        return sella_err_set(err, SELLA_UNSUPPORTED,
                             "%s: a head width of %d is odd; rotary positions need pairs", path,
                             c->D);
    }
    if ((int64_t)(c->H + 2 * c->G) * c->D > WIDTH_MAX) {
        return sella_err_set(err, SELLA_UNSUPPORTED,
                             "%s: %d + 2 * %d heads of width %d are more than %d values", path,
                             c->H, c->G, c->D, WIDTH_MAX);
    }
    if (!(c->rms_eps > 0.0f && c->rms_eps < 1.0f)) {
        return sella_err_set(err, SELLA_FORMAT,
                             "%s: the epsilon of the norms is %g; expected a value between 0 and 1",
                             path, (double)c->rms_eps);
    }
    if (!(c->rope_theta >= 1.0 && c->rope_theta <= 1e12)) {
        return sella_err_set(err, SELLA_FORMAT,
                             "%s: the base of the rotary positions is %g; expected 1 to 1e12", path,
                             c->rope_theta);
    }
    return SELLA_OK;
}

/* ---- config.json ---- */

static bool absent(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return value == NULL || json_is_null(value);
}

static sella_status int_or(const json_t *object, const char *key, const char *path, int max,
                           int otherwise, int *out, sella_err *err)
{
    int64_t value = otherwise;
    sella_status status = absent(object, key) && otherwise > 0
                              ? SELLA_OK
                              : sella_json_get_int(object, key, path, 1, max, &value, err);
    *out = (int)value;
    return status;
}

static sella_status real_or(const json_t *object, const char *key, const char *path,
                            double otherwise, double *out, sella_err *err)
{
    *out = otherwise;
    return absent(object, key) ? SELLA_OK : sella_json_get_real(object, key, path, out, err);
}

static sella_status bool_or(const json_t *object, const char *key, const char *path, bool otherwise,
                            bool *out, sella_err *err)
{
    *out = otherwise;
    return absent(object, key) ? SELLA_OK : sella_json_get_bool(object, key, path, out, err);
}

static sella_status rope_read_llama3(const json_t *rope, const char *path,
                                     sella_rope_scaling *scaling, sella_err *err)
{
    sella_status status = SELLA_OK;
    scaling->llama3 = 1;
    SELLA_TRY(sella_json_get_real(rope, "factor", path, &scaling->factor, err));
    SELLA_TRY(sella_json_get_real(rope, "low_freq_factor", path, &scaling->low_freq_factor, err));
    SELLA_TRY(sella_json_get_real(rope, "high_freq_factor", path, &scaling->high_freq_factor, err));
    SELLA_TRY(sella_json_get_real(rope, "original_max_position_embeddings", path,
                                  &scaling->original_context, err));
    if (!(scaling->factor >= 1.0 && scaling->low_freq_factor > 0.0 &&
          scaling->high_freq_factor > scaling->low_freq_factor &&
          scaling->original_context >= 1.0 && scaling->factor < 1e9 &&
          scaling->original_context < 1e12)) {
        status = sella_err_set(
            err, SELLA_FORMAT,
            "%s: the rope scaling has factor %g, low and high frequency factor %g and %g, original "
            "context %g; expected factor >= 1, 0 < low < high, context >= 1",
            path, scaling->factor, scaling->low_freq_factor, scaling->high_freq_factor,
            scaling->original_context);
    }
done:
    return status;
}

static sella_status rope_read(const json_t *root, const char *path, sella_backbone_config *config,
                              sella_err *err)
{
    sella_status status = SELLA_OK;
    const json_t *rope = NULL;
    const char *key = absent(root, "rope_parameters") ? "rope_scaling" : "rope_parameters";
    double partial = 1.0;
    SELLA_TRY(real_or(root, "rope_theta", path, 10000.0, &config->rope_theta, err));
    SELLA_TRY(real_or(root, "partial_rotary_factor", path, 1.0, &partial, err));
    if (!absent(root, key)) {
        const char *type = "default";
        SELLA_TRY(sella_json_get_object(root, key, path, &rope, err));
        SELLA_TRY(real_or(rope, "rope_theta", path, config->rope_theta, &config->rope_theta, err));
        SELLA_TRY(real_or(rope, "partial_rotary_factor", path, partial, &partial, err));
        const char *type_key = absent(rope, "rope_type") ? "type" : "rope_type";
        if (!absent(rope, type_key)) {
            SELLA_TRY(sella_json_get_string(rope, type_key, path, &type, err));
        }
        if (strcmp(type, "llama3") == 0) {
            SELLA_TRY(rope_read_llama3(rope, path, &config->rope_scaling, err));
        } else if (strcmp(type, "default") != 0) {
            status = sella_err_set(
                err, SELLA_UNSUPPORTED,
                "%s: rope type '%.40s' is not supported; supported are default and llama3", path,
                type);
            goto done;
        }
    }
    if (partial != 1.0) {
        status =
            sella_err_set(err, SELLA_UNSUPPORTED,
                          "%s: partial_rotary_factor %g is not supported; heads are rotated whole",
                          path, partial);
    }
done:
    return status;
}

/* Everything that would make the pass compute something else than the model means. */
static sella_status refuse_others(const json_t *root, const char *path, sella_err *err)
{
    sella_status status = SELLA_OK;
    const char *act = "silu";
    bool sliding = false, mlp_bias = false;
    if (!absent(root, "hidden_act")) {
        SELLA_TRY(sella_json_get_string(root, "hidden_act", path, &act, err));
    }
    if (strcmp(act, "silu") != 0 && strcmp(act, "swish") != 0) {
        status = sella_err_set(err, SELLA_UNSUPPORTED,
                               "%s: hidden_act '%.40s' is not supported; expected silu", path, act);
        goto done;
    }
    if (!absent(root, "quantization_config")) {
        status = sella_err_set(
            err, SELLA_UNSUPPORTED,
            "%s: quantization_config is not supported; use a GGUF or the model's original weights",
            path);
        goto done;
    }
    if (!absent(root, "num_experts") || !absent(root, "num_local_experts")) {
        status = sella_err_set(err, SELLA_UNSUPPORTED,
                               "%s: a mixture of experts is not supported; dense models are", path);
        goto done;
    }
    SELLA_TRY(bool_or(root, "mlp_bias", path, false, &mlp_bias, err));
    if (mlp_bias) {
        status = sella_err_set(err, SELLA_UNSUPPORTED, "%s: mlp_bias is not supported", path);
        goto done;
    }
    SELLA_TRY(bool_or(root, "use_sliding_window", path, false, &sliding, err));
    size_t i;
    const json_t *type;
    json_array_foreach (json_object_get(root, "layer_types"), i, type) {
        sliding = sliding || !json_is_string(type) ||
                  strcmp(json_string_value(type), "full_attention") != 0;
    }
    if (sliding) {
        status = sella_err_set(
            err, SELLA_UNSUPPORTED,
            "%s: sliding window attention is not supported; expected full attention in every layer",
            path);
    }
done:
    return status;
}

sella_status sella_config_read_json(const char *path, sella_backbone_config *config, sella_err *err)
{
    sella_status status = SELLA_OK;
    json_t *root = NULL;
    const char *type = NULL;
    double eps = 0;
    int context = 0;
    bool bias = false;
    *config = (sella_backbone_config){0};
    SELLA_TRY(sella_json_load(path, (size_t)16 << 20, &root, err));
    SELLA_TRY(sella_json_get_string(root, "model_type", path, &type, err));
    SELLA_TRY(family_set(type, strlen(type), path, config, err));
    SELLA_TRY(refuse_others(root, path, err));
    bool qwen3 = strcmp(type, "qwen3") == 0, qwen2 = strcmp(type, "qwen2") == 0;
    SELLA_TRY(int_or(root, "num_hidden_layers", path, LAYERS_MAX, 0, &config->layers, err));
    SELLA_TRY(int_or(root, "hidden_size", path, WIDTH_MAX, 0, &config->C, err));
    SELLA_TRY(int_or(root, "num_attention_heads", path, HEADS_MAX, 0, &config->H, err));
    SELLA_TRY(int_or(root, "num_key_value_heads", path, HEADS_MAX, config->H, &config->G, err));
    SELLA_TRY(int_or(root, "head_dim", path, HEAD_WIDTH_MAX, qwen3 ? 128 : config->C / config->H,
                     &config->D, err));
    SELLA_TRY(int_or(root, "intermediate_size", path, WIDTH_MAX, 0, &config->F, err));
    SELLA_TRY(int_or(root, "vocab_size", path, VOCABULARY_MAX, 0, &config->V, err));
    SELLA_TRY(int_or(root, "max_position_embeddings", path, INT32_MAX,
                     qwen2 || qwen3 ? 32768 : 2048, &context, err));
    SELLA_TRY(real_or(root, "rms_norm_eps", path, 1e-6, &eps, err));
    SELLA_TRY(bool_or(root, "attention_bias", path, false, &bias, err));
    SELLA_TRY(bool_or(root, "tie_word_embeddings", path, false, &config->tied, err));
    SELLA_TRY(rope_read(root, path, config, err));
    config->context = context;
    config->rms_eps = (float)eps;
    config->qkv_bias = qwen2 || bias;
    config->o_bias = !qwen2 && bias;
    config->qk_norm = qwen3;
    status = shape_check(config, path, err);
done:
    json_decref(root);
    return status;
}

/* ---- GGUF ---- */

/* "llama.block_count" from the family and "block_count". */
static const char *key_of(const sella_backbone_config *config, const char *suffix, char *key,
                          size_t bytes)
{
    snprintf(key, bytes, "%s.%s", config->family, suffix);
    return key;
}

static sella_status key_int(const sella_gguf *file, const sella_backbone_config *config,
                            const char *suffix, int64_t max, int64_t otherwise, int64_t *out,
                            sella_err *err)
{
    char key[96];
    key_of(config, suffix, key, sizeof key);
    *out = otherwise;
    if (otherwise > 0 && !sella_gguf_has(file, key)) {
        return SELLA_OK;
    }
    sella_status status = sella_gguf_int(file, key, out, err);
    if (status == SELLA_OK && (*out < 1 || *out > max)) {
        status = sella_err_set(err, SELLA_FORMAT, "%s: key '%s' is %lld; expected 1 to %lld",
                               sella_gguf_path(file), key, (long long)*out, (long long)max);
    }
    return status;
}

static sella_status key_real(const sella_gguf *file, const sella_backbone_config *config,
                             const char *suffix, double otherwise, double *out, sella_err *err)
{
    char key[96];
    key_of(config, suffix, key, sizeof key);
    *out = otherwise;
    return sella_gguf_has(file, key) || otherwise <= 0 ? sella_gguf_real(file, key, out, err)
                                                       : SELLA_OK;
}

static sella_status gguf_refuse_others(const sella_gguf *file, const sella_backbone_config *config,
                                       sella_err *err)
{
    sella_status status = SELLA_OK;
    char key[96];
    int64_t n = 0, rotated = 0, width = 0;
    sella_span type = {"none", 4};
    if (sella_gguf_has(file, key_of(config, "expert_count", key, sizeof key))) {
        SELLA_TRY(sella_gguf_int(file, key, &n, err));
        if (n > 0) {
            status =
                sella_err_set(err, SELLA_UNSUPPORTED,
                              "%s: a mixture of %lld experts is not supported; dense models are",
                              sella_gguf_path(file), (long long)n);
            goto done;
        }
    }
    if (sella_gguf_has(file, key_of(config, "rope.scaling.type", key, sizeof key))) {
        SELLA_TRY(sella_gguf_string(file, key, &type, err));
        if (type.bytes != 4 || memcmp(type.data, "none", 4) != 0) {
            status = sella_err_set(
                err, SELLA_UNSUPPORTED, "%s: rope scaling '%.*s' is not supported",
                sella_gguf_path(file), (int)(type.bytes < 40 ? type.bytes : 40), type.data);
            goto done;
        }
    }
    if (sella_gguf_has(file, key_of(config, "attention.sliding_window", key, sizeof key))) {
        SELLA_TRY(sella_gguf_int(file, key, &n, err));
        if (n > 0) {
            status = sella_err_set(err, SELLA_UNSUPPORTED,
                                   "%s: sliding window attention is not supported",
                                   sella_gguf_path(file));
            goto done;
        }
    }
    SELLA_TRY(
        key_int(file, config, "rope.dimension_count", HEAD_WIDTH_MAX, config->D, &rotated, err));
    SELLA_TRY(
        key_int(file, config, "attention.value_length", HEAD_WIDTH_MAX, config->D, &width, err));
    if (rotated != config->D || width != config->D) {
        status =
            sella_err_set(err, SELLA_UNSUPPORTED,
                          "%s: keys of width %d with %lld rotated places and values of width %lld "
                          "are not supported",
                          sella_gguf_path(file), config->D, (long long)rotated, (long long)width);
    }
done:
    return status;
}

sella_status sella_config_read_gguf(const sella_source *source, sella_backbone_config *config,
                                    sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_gguf *file = source->gguf;
    const char *path = sella_gguf_path(file);
    sella_span name = {NULL, 0};
    int64_t layers = 0, C = 0, H = 0, G = 0, D = 0, F = 0;
    double eps = 0;
    *config = (sella_backbone_config){0};
    SELLA_TRY(sella_gguf_string(file, "general.architecture", &name, err));
    SELLA_TRY(family_set(name.data, name.bytes, path, config, err));
    SELLA_TRY(key_int(file, config, "block_count", LAYERS_MAX, 0, &layers, err));
    SELLA_TRY(key_int(file, config, "embedding_length", WIDTH_MAX, 0, &C, err));
    SELLA_TRY(key_int(file, config, "attention.head_count", HEADS_MAX, 0, &H, err));
    SELLA_TRY(key_int(file, config, "attention.head_count_kv", HEADS_MAX, H, &G, err));
    SELLA_TRY(key_int(file, config, "attention.key_length", HEAD_WIDTH_MAX, C / H > 0 ? C / H : 1,
                      &D, err));
    SELLA_TRY(key_int(file, config, "feed_forward_length", WIDTH_MAX, 0, &F, err));
    SELLA_TRY(key_int(file, config, "context_length", CONTEXT_MAX, 2048, &config->context, err));
    SELLA_TRY(key_real(file, config, "attention.layer_norm_rms_epsilon", 0, &eps, err));
    SELLA_TRY(key_real(file, config, "rope.freq_base", 10000.0, &config->rope_theta, err));
    config->layers = (int)layers;
    config->C = (int)C;
    config->H = (int)H;
    config->G = (int)G;
    config->D = (int)D;
    config->F = (int)F;
    config->rms_eps = (float)eps;
    SELLA_TRY(gguf_refuse_others(file, config, err));
    const sella_tensor *embedding = sella_source_find_name(source, "token_embd.weight");
    if (embedding == NULL || embedding->rank != 2 || embedding->shape[0] < 1 ||
        embedding->shape[0] > VOCABULARY_MAX) {
        status = sella_err_set(err, SELLA_FORMAT,
                               "%s: tensor 'token_embd.weight' is missing or not a matrix", path);
        goto done;
    }
    config->V = (int)embedding->shape[0];
    config->tied = sella_source_find_name(source, "output.weight") == NULL;
    config->qkv_bias = strcmp(config->family, "qwen2") == 0 ||
                       sella_source_find_name(source, "blk.0.attn_q.bias") != NULL;
    config->o_bias = sella_source_find_name(source, "blk.0.attn_output.bias") != NULL;
    config->qk_norm = strcmp(config->family, "qwen3") == 0;
    status = shape_check(config, path, err);
done:
    return status;
}
