/* lora.c - the adapter's parameter table (backbone/lora.h). Files: lora_file.c. */
#include "backbone/lora.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/rng.h"

static const struct {
    const char *name, *path;
} matrices[SELLA_MATRICES] = {
    [SELLA_MATRIX_Q] = {"q_proj", "self_attn.q_proj"},
    [SELLA_MATRIX_K] = {"k_proj", "self_attn.k_proj"},
    [SELLA_MATRIX_V] = {"v_proj", "self_attn.v_proj"},
    [SELLA_MATRIX_O] = {"o_proj", "self_attn.o_proj"},
    [SELLA_MATRIX_GATE] = {"gate_proj", "mlp.gate_proj"},
    [SELLA_MATRIX_UP] = {"up_proj", "mlp.up_proj"},
    [SELLA_MATRIX_DOWN] = {"down_proj", "mlp.down_proj"},
};

struct sella_lora {
    sella_lora_config config;
    sella_param_table table;
    int layers;
    int (*row)[SELLA_MATRICES]; /* [layers] place of A in the table (B follows), -1: none */
};

const char *sella_matrix_name(sella_matrix matrix)
{
    return matrices[matrix].name;
}

void sella_matrix_shape(const sella_backbone_config *shape, sella_matrix matrix, int *out, int *in)
{
    const int Q = shape->H * shape->D, K = shape->G * shape->D;
    *in = shape->C;
    switch (matrix) {
    case SELLA_MATRIX_Q:
        *out = Q;
        break;
    case SELLA_MATRIX_K:
    case SELLA_MATRIX_V:
        *out = K;
        break;
    case SELLA_MATRIX_O:
        *out = shape->C;
        *in = Q;
        break;
    case SELLA_MATRIX_DOWN:
        *out = shape->C;
        *in = shape->F;
        break;
    default: // gate and up
        *out = shape->F;
        break;
    }
}

sella_status sella_lora_targets(const char *text, unsigned *targets, sella_err *err)
{
    *targets = 0;
    if (strcmp(text, "all") == 0) {
        *targets = (1u << SELLA_MATRICES) - 1;
        return SELLA_OK;
    }
    for (const char *word = text;;) {
        while (*word == ' ') {
            word++;
        }
        size_t bytes = strcspn(word, ","), length = bytes;
        while (length > 0 && word[length - 1] == ' ') {
            length--;
        }
        int m = 0;
        while (m < SELLA_MATRICES && (strlen(matrices[m].name) != length ||
                                      memcmp(matrices[m].name, word, length) != 0)) {
            m++;
        }
        if (m == SELLA_MATRICES) {
            return sella_err_set(err, SELLA_ARG,
                                 "'%.*s' is no matrix of a layer; expected all, or some of "
                                 "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj",
                                 (int)(length < 60 ? length : 60), word);
        }
        *targets |= 1u << m;
        if (word[bytes] == '\0') {
            return SELLA_OK;
        }
        word += bytes + 1;
    }
}

sella_status sella_lora_config_check(const sella_lora_config *config,
                                     const sella_backbone_config *shape, sella_err *err)
{
    if (config->rank < 1 || config->rank > shape->C) {
        return sella_err_set(err, SELLA_ARG, "LoRA rank %d; expected 1 to the width %d",
                             config->rank, shape->C);
    }
    if (!(config->alpha > 0.0 && config->alpha < 1e6)) {
        return sella_err_set(err, SELLA_ARG, "LoRA alpha %g; expected a value between 0 and 1e6",
                             config->alpha);
    }
    if (!(config->dropout >= 0.0 && config->dropout < 1.0)) {
        return sella_err_set(err, SELLA_ARG, "LoRA dropout %g; expected 0 <= p < 1",
                             config->dropout);
    }
    if (config->targets == 0 || config->targets >> SELLA_MATRICES != 0) {
        return sella_err_set(err, SELLA_ARG,
                             "LoRA targets %#x; expected at least one of the seven matrices",
                             config->targets);
    }
    if (config->first_layer < 0 || config->first_layer >= shape->layers) {
        return sella_err_set(err, SELLA_ARG,
                             "LoRA from layer %d on; the backbone has layers 0 to %d",
                             config->first_layer, shape->layers - 1);
    }
    return SELLA_OK;
}

sella_status sella_lora_empty(const sella_backbone *backbone, const sella_lora_config *config,
                              sella_lora **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_backbone_config *shape = sella_backbone_shape(backbone);
    char name[SELLA_PARAM_NAME_MAX];
    *out = NULL;
    sella_lora *lora = sella_alloc(1, sizeof *lora, "an adapter", err);
    if (lora == NULL) {
        return SELLA_MEMORY;
    }
    sella_param_table_init(&lora->table);
    SELLA_TRY(sella_lora_config_check(config, shape, err));
    lora->config = *config;
    lora->layers = shape->layers;
    lora->row = sella_alloc((size_t)shape->layers, sizeof *lora->row, "an adapter", err);
    if (lora->row == NULL) {
        status = SELLA_MEMORY;
        goto done;
    }
    for (int l = 0; l < shape->layers; l++) {
        for (int m = 0; m < SELLA_MATRICES; m++) {
            int rows, cols;
            lora->row[l][m] = -1;
            if (l < config->first_layer || !(config->targets & 1u << m)) {
                continue;
            }
            sella_matrix_shape(shape, (sella_matrix)m, &rows, &cols);
            lora->row[l][m] = lora->table.count;
            snprintf(name, sizeof name, "base_model.model.model.layers.%d.%s.lora_A.weight", l,
                     matrices[m].path);
            SELLA_TRY(sella_param_add(&lora->table, name, config->rank, cols, err));
            snprintf(name, sizeof name, "base_model.model.model.layers.%d.%s.lora_B.weight", l,
                     matrices[m].path);
            SELLA_TRY(sella_param_add(&lora->table, name, rows, config->rank, err));
        }
    }
    *out = lora;
    lora = NULL;
done:
    sella_lora_free(lora);
    return status;
}

sella_status sella_lora_new(const sella_backbone *backbone, const sella_lora_config *config,
                            uint64_t seed, sella_lora **out, sella_err *err)
{
    sella_status status = sella_lora_empty(backbone, config, out, err);
    for (int i = 0; status == SELLA_OK && i < (*out)->table.count; i += 2) { // A; B stays zero
        sella_param *a = &(*out)->table.param[i];
        const sella_rng rng = {.seed = seed, .stream = SELLA_STREAM_INIT, .a = (uint32_t)i};
        const float bound = 1.0f / sqrtf((float)a->shape[1]);
        for (size_t k = 0; k < a->count; k++) {
            a->data[k] = bound * (2.0f * sella_rng_uniform(&rng, k) - 1.0f);
        }
    }
    return status;
}

void sella_lora_free(sella_lora *lora)
{
    if (lora) {
        sella_param_table_release(&lora->table);
        free(lora->row);
        free(lora);
    }
}

sella_status sella_lora_train(sella_lora *lora, bool trainable, sella_err *err)
{
    sella_status status = SELLA_OK;
    for (int i = 0; status == SELLA_OK && i < lora->table.count; i++) {
        status = sella_param_train(&lora->table.param[i], trainable, err);
    }
    return status;
}

const sella_lora_config *sella_lora_settings(const sella_lora *lora)
{
    return &lora->config;
}

sella_param_table *sella_lora_params(sella_lora *lora)
{
    return &lora->table;
}

float sella_lora_scale(const sella_lora *lora)
{
    const double rank = lora->config.rank;
    return (float)(lora->config.alpha / (lora->config.rslora ? sqrt(rank) : rank));
}

sella_lora_pair sella_lora_at(const sella_lora *lora, int layer, sella_matrix matrix)
{
    const int row = lora->row[layer][matrix];
    return row < 0 ? (sella_lora_pair){NULL, NULL}
                   : (sella_lora_pair){&lora->table.param[row], &lora->table.param[row + 1]};
}
