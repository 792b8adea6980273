/* source.c - model folders and GGUF files (backbone/source.h). */
#include "backbone/source.h"

#include <stdlib.h>

#include "backbone/config.h"
#include "base/file.h"
#include "base/json.h"

enum { SHARDS_MAX = 1024, MISSES_SHOWN = 6 };

/* Names by sella_part: Hugging Face and GGUF; those of a layer stand behind its prefix
 * (name_of). */
static const struct {
    const char *folder, *gguf;
} names[SELLA_PARTS] = {
    [SELLA_PART_EMBEDDING] = {"model.embed_tokens.weight", "token_embd.weight"},
    [SELLA_PART_NORM] = {"model.norm.weight", "output_norm.weight"},
    [SELLA_PART_HEAD] = {"lm_head.weight", "output.weight"},
    [SELLA_PART_NORM_ATTENTION] = {"input_layernorm.weight", "attn_norm.weight"},
    [SELLA_PART_Q] = {"self_attn.q_proj.weight", "attn_q.weight"},
    [SELLA_PART_K] = {"self_attn.k_proj.weight", "attn_k.weight"},
    [SELLA_PART_V] = {"self_attn.v_proj.weight", "attn_v.weight"},
    [SELLA_PART_O] = {"self_attn.o_proj.weight", "attn_output.weight"},
    [SELLA_PART_NORM_FFN] = {"post_attention_layernorm.weight", "ffn_norm.weight"},
    [SELLA_PART_GATE] = {"mlp.gate_proj.weight", "ffn_gate.weight"},
    [SELLA_PART_UP] = {"mlp.up_proj.weight", "ffn_up.weight"},
    [SELLA_PART_DOWN] = {"mlp.down_proj.weight", "ffn_down.weight"},
    [SELLA_PART_Q_BIAS] = {"self_attn.q_proj.bias", "attn_q.bias"},
    [SELLA_PART_K_BIAS] = {"self_attn.k_proj.bias", "attn_k.bias"},
    [SELLA_PART_V_BIAS] = {"self_attn.v_proj.bias", "attn_v.bias"},
    [SELLA_PART_O_BIAS] = {"self_attn.o_proj.bias", "attn_output.bias"},
    [SELLA_PART_Q_NORM] = {"self_attn.q_norm.weight", "attn_q_norm.weight"},
    [SELLA_PART_K_NORM] = {"self_attn.k_norm.weight", "attn_k_norm.weight"},
};

bool sella_part_wanted(const sella_backbone_config *config, sella_part part)
{
    switch (part) {
    case SELLA_PART_HEAD:
        return !config->tied;
    case SELLA_PART_Q_BIAS:
    case SELLA_PART_K_BIAS:
    case SELLA_PART_V_BIAS:
        return config->qkv_bias;
    case SELLA_PART_O_BIAS:
        return config->o_bias;
    case SELLA_PART_Q_NORM:
    case SELLA_PART_K_NORM:
        return config->qk_norm;
    default:
        return true;
    }
}

void sella_part_shape(const sella_backbone_config *config, sella_part part, int64_t *rows,
                      int64_t *cols)
{
    const int64_t C = config->C, F = config->F, Q = (int64_t)config->H * config->D,
                  K = (int64_t)config->G * config->D;
    *cols = C;
    switch (part) {
    case SELLA_PART_EMBEDDING:
    case SELLA_PART_HEAD:
        *rows = config->V;
        return;
    case SELLA_PART_Q:
        *rows = Q;
        return;
    case SELLA_PART_K:
    case SELLA_PART_V:
        *rows = K;
        return;
    case SELLA_PART_O:
        *rows = C;
        *cols = Q;
        return;
    case SELLA_PART_GATE:
    case SELLA_PART_UP:
        *rows = F;
        return;
    case SELLA_PART_DOWN:
        *rows = C;
        *cols = F;
        return;
    case SELLA_PART_Q_BIAS:
        *rows = Q;
        break;
    case SELLA_PART_K_BIAS:
    case SELLA_PART_V_BIAS:
        *rows = K;
        break;
    case SELLA_PART_Q_NORM:
    case SELLA_PART_K_NORM:
        *rows = config->D;
        break;
    default: // norms and the bias of o
        *rows = C;
        break;
    }
    *cols = 0;
}

/* ---- opening ---- */

/* A folder's shard by file name, opened at its first use. */
static sella_status shard_open(sella_source *source, const char *dir, const char *name,
                               sella_err *err)
{
    sella_status status = SELLA_OK;
    char *path = NULL;
    for (int i = 0; i < source->shards; i++) {
        if (strcmp(source->shard[i].name, name) == 0) {
            return SELLA_OK;
        }
    }
    if (strchr(name, '/') != NULL || name[0] == '.' || source->shards == SHARDS_MAX) {
        return sella_err_set(
            err, SELLA_FORMAT,
            "%s/model.safetensors.index.json: '%.80s' is not the name of a file beside it", dir,
            name);
    }
    sella_shard *shard = realloc(source->shard, (size_t)(source->shards + 1) * sizeof *shard);
    if (shard == NULL) {
        return sella_err_memory(err, "the list of weight files", sizeof *shard);
    }
    source->shard = shard;
    shard[source->shards] = (sella_shard){.name = strdup(name)};
    path = sella_path_join(dir, name, NULL);
    if (shard[source->shards].name == NULL || path == NULL) {
        status = sella_err_memory(err, "a path", strlen(name));
        free(shard[source->shards].name);
        goto done;
    }
    source->shards++;
    SELLA_TRY(sella_safetensors_open(path, &source->shard[source->shards - 1].file, err));
done:
    free(path);
    return status;
}

static sella_status folder_open(const char *path, sella_source *source, sella_err *err)
{
    sella_status status = SELLA_OK;
    char *config = sella_path_join(path, "config.json", NULL);
    char *index = sella_path_join(path, "model.safetensors.index.json", NULL);
    json_t *root = NULL;
    const json_t *map = NULL;
    if (config == NULL || index == NULL) {
        status = sella_err_memory(err, "a path", strlen(path));
        goto done;
    }
    SELLA_TRY(sella_config_read_json(config, &source->config, err));
    if (!sella_path_exists(index)) {
        SELLA_TRY(shard_open(source, path, "model.safetensors", err));
        goto done;
    }
    SELLA_TRY(sella_json_load(index, (size_t)64 << 20, &root, err));
    SELLA_TRY(sella_json_get_object(root, "weight_map", index, &map, err));
    const char *tensor;
    json_t *file;
    json_object_foreach ((json_t *)map, tensor, file) {
        if (!json_is_string(file)) {
            status = sella_err_set(err, SELLA_FORMAT,
                                   "%s: the file of tensor '%.80s' is not a text", index, tensor);
            goto done;
        }
        SELLA_TRY(shard_open(source, path, json_string_value(file), err));
    }
done:
    json_decref(root);
    free(config);
    free(index);
    return status;
}

/* File number `no` of a split model: the first one's path with its number changed. NULL: memory is
 * out. */
static char *split_path(const char *first, size_t stem, int64_t no, int64_t count)
{
    char *path = malloc(stem + 64);
    if (path) {
        memcpy(path, first, stem);
        snprintf(path + stem, 64, "-%05lld-of-%05lld.gguf", (long long)no + 1, (long long)count);
    }
    return path;
}

/* One of the other files, which must be of the same split and hold no tensor a second time. */
static sella_status split_add(const char *path, int64_t no, int64_t count, sella_source *out,
                              sella_err *err)
{
    sella_status status = SELLA_OK;
    int64_t its_no, its_count;
    sella_gguf *file = NULL;
    SELLA_TRY(sella_gguf_open(path, &file, err));
    SELLA_TRY(sella_gguf_int(file, "split.no", &its_no, err));
    SELLA_TRY(sella_gguf_int(file, "split.count", &its_count, err));
    if (its_no != no || its_count != count) {
        status = sella_err_set(
            err, SELLA_FORMAT,
            "%s: is part %lld of %lld of a split model; its name says %lld of %lld", path,
            (long long)its_no + 1, (long long)its_count, (long long)no + 1, (long long)count);
        goto done;
    }
    for (int i = 0; i < sella_gguf_count(file); i++) {
        const char *name = sella_gguf_at(file, i)->name;
        if (sella_source_find_name(out, name)) {
            status = sella_err_set(err, SELLA_FORMAT,
                                   "%s: tensor '%s' is in another part of the split model, too",
                                   path, name);
            goto done;
        }
    }
    out->rest[out->rests++] = file;
    file = NULL;
done:
    sella_gguf_close(file);
    return status;
}

/* The other files of a split model; nothing for a whole one. */
static sella_status split_open(const char *path, sella_source *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    int64_t no = 0, count = 1, tensors = 0, found = sella_gguf_count(out->gguf);
    char *name = NULL;
    if (!sella_gguf_has(out->gguf, "split.count")) {
        return SELLA_OK;
    }
    SELLA_TRY(sella_gguf_int(out->gguf, "split.count", &count, err));
    SELLA_TRY(sella_gguf_int(out->gguf, "split.no", &no, err));
    SELLA_TRY(sella_gguf_int(out->gguf, "split.tensors.count", &tensors, err));
    const size_t bytes = strlen(path), tail = sizeof "-00001-of-00001.gguf" - 1,
                 stem = bytes > tail ? bytes - tail : 0;
    if (count < 1 || count > SHARDS_MAX || no < 0 || no >= count) {
        status = sella_err_set(err, SELLA_FORMAT,
                               "%s: is part %lld of %lld of a split model; expected 1 to %d parts",
                               path, (long long)no + 1, (long long)count, SHARDS_MAX);
        goto done;
    }
    name = split_path(path, stem, 0, count);
    out->rest = calloc((size_t)count, sizeof *out->rest);
    if (name == NULL || out->rest == NULL) {
        status = sella_err_memory(err, "a path", bytes);
        goto done;
    }
    if (no > 0 || (count > 1 && strcmp(path, name) != 0)) {
        status = sella_err_set(
            err, SELLA_ARG,
            "%s: is part %lld of %lld of a split model; open the first, NAME-00001-of-%05lld.gguf",
            path, (long long)no + 1, (long long)count, (long long)count);
        goto done;
    }
    for (int64_t i = 1; i < count; i++) {
        free(name);
        name = split_path(path, stem, i, count);
        if (name == NULL) {
            status = sella_err_memory(err, "a path", bytes);
            goto done;
        }
        SELLA_TRY(split_add(name, i, count, out, err));
        found += sella_gguf_count(out->rest[out->rests - 1]);
    }
    if (found != tensors) {
        status = sella_err_set(err, SELLA_FORMAT,
                               "%s: the parts of this split model hold %lld tensors; expected %lld",
                               path, (long long)found, (long long)tensors);
    }
done:
    free(name);
    return status;
}

sella_status sella_source_open(const char *path, sella_source *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    *out = (sella_source){.path = strdup(path)};
    if (out->path == NULL) {
        status = sella_err_memory(err, "a path", strlen(path));
        goto done;
    }
    if (sella_path_is_dir(path)) {
        SELLA_TRY(folder_open(path, out, err));
    } else {
        SELLA_TRY(sella_gguf_open(path, &out->gguf, err));
        SELLA_TRY(split_open(path, out, err));
        SELLA_TRY(sella_config_read_gguf(out, &out->config, err));
        out->permuted = strcmp(out->config.family, "llama") == 0;
    }
done:
    if (status != SELLA_OK) {
        sella_source_close(out);
    }
    return status;
}

void sella_source_close(sella_source *source)
{
    sella_gguf_close(source->gguf);
    for (int i = 0; i < source->rests; i++) {
        sella_gguf_close(source->rest[i]);
    }
    free(source->rest);
    for (int i = 0; i < source->shards; i++) {
        sella_safetensors_close(source->shard[i].file);
        free(source->shard[i].name);
    }
    free(source->shard);
    free(source->path);
    *source = (sella_source){0};
}

/* ---- finding ---- */

/* Name in this source's files. Returns name. */
static const char *name_of(const sella_source *source, sella_part part, int layer, char *name,
                           size_t bytes)
{
    const char *text = source->gguf ? names[part].gguf : names[part].folder;
    if (part < SELLA_PART_NORM_ATTENTION) {
        snprintf(name, bytes, "%s", text);
    } else {
        snprintf(name, bytes, source->gguf ? "blk.%d.%s" : "model.layers.%d.%s", layer, text);
    }
    return name;
}

const sella_tensor *sella_source_find_name(const sella_source *source, const char *name)
{
    const sella_tensor *tensor = source->gguf ? sella_gguf_find(source->gguf, name) : NULL;
    for (int i = 0; tensor == NULL && i < source->rests; i++) {
        tensor = sella_gguf_find(source->rest[i], name);
    }
    for (int i = 0; tensor == NULL && i < source->shards; i++) {
        tensor = sella_safetensors_find(source->shard[i].file, name);
    }
    return tensor;
}

const sella_tensor *sella_source_find(const sella_source *source, sella_part part, int layer)
{
    char name[128];
    return sella_source_find_name(source, name_of(source, part, layer, name, sizeof name));
}

/* ---- checking ---- */

static void shape_text(const sella_tensor *t, char *text, size_t bytes)
{
    size_t used = 0;
    for (int i = 0; i < t->rank && used < bytes; i++) {
        int n =
            snprintf(text + used, bytes - used, "%s%lld", i ? ", " : "", (long long)t->shape[i]);
        used += n > 0 ? (size_t)n : 0;
    }
}

/* What is wrong with one tensor, as a phrase; false when nothing is. *type: only its stored type is
 * at fault. */
static bool tensor_fault(const sella_source *source, sella_part part, int layer, char *text,
                         size_t bytes, bool *type)
{
    char name[128], have[96] = "";
    int64_t rows, cols;
    bool wanted = sella_part_wanted(&source->config, part);
    name_of(source, part, layer, name, sizeof name);
    const sella_tensor *t = sella_source_find_name(source, name);
    sella_part_shape(&source->config, part, &rows, &cols);
    *type = false;
    if (!wanted) {
        /* a tied head is sometimes stored all the same */
        bool extra = t != NULL && part != SELLA_PART_HEAD;
        snprintf(text, bytes, "'%s' is there although the configuration has none", name);
        return extra;
    }
    if (t == NULL) {
        snprintf(text, bytes, "'%s' is missing", name);
        return true;
    }
    if (t->rank != (cols ? 2 : 1) || t->shape[0] != rows || (cols && t->shape[1] != cols)) {
        shape_text(t, have, sizeof have);
        if (cols) {
            snprintf(text, bytes, "'%s' has shape [%s], expected [%lld, %lld]", name, have,
                     (long long)rows, (long long)cols);
        } else {
            snprintf(text, bytes, "'%s' has shape [%s], expected [%lld]", name, have,
                     (long long)rows);
        }
        return true;
    }
    if (!t->readable) {
        snprintf(text, bytes, "'%s' has type %s", name, t->type_name);
        *type = true;
        return true;
    }
    if (cols == 0 &&
        /* biases are put in order value by value, and nobody quantizes norms */
        sella_dtype_block(t->dtype) > 1) {
        snprintf(text, bytes, "'%s' is a vector of type %s", name, t->type_name);
        *type = true;
        return true;
    }
    return false;
}

sella_status sella_source_check(const sella_source *source, sella_err *err)
{
    char list[768] = "", fault[256];
    size_t used = 0;
    int faults = 0;
    bool only_types = true, type;
    for (int part = 0; part < SELLA_PARTS; part++) {
        int layers = part < SELLA_PART_NORM_ATTENTION ? 1 : source->config.layers;
        for (int layer = 0; layer < layers; layer++) {
            if (!tensor_fault(source, (sella_part)part, layer, fault, sizeof fault, &type)) {
                continue;
            }
            only_types = only_types && type;
            if (++faults <= MISSES_SHOWN && used < sizeof list - 1) {
                int n = snprintf(list + used, sizeof list - used, "%s%s", faults > 1 ? "; " : "",
                                 fault);
                used += n > 0 ? (size_t)n : 0;
            }
        }
    }
    if (faults == 0) {
        return SELLA_OK;
    }
    char more[48] = "";
    if (faults > MISSES_SHOWN) {
        snprintf(more, sizeof more, "; and %d more", faults - MISSES_SHOWN);
    }
    return sella_err_set(err, only_types ? SELLA_UNSUPPORTED : SELLA_SHAPE, "%s: %s %s%s%s",
                         source->path, faults == 1 ? "tensor" : "tensors", list, more,
                         only_types ? ", which is not supported" : "");
}
