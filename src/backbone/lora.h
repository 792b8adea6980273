/* lora.h - low-rank adapters on any subset of the seven matrices, in PEFT's own files.
 *
 * Does:     new (fresh) or load -> use in a pass -> save.   y = W x + (alpha / R) B A dropout(x).
 *           A is [R, in], initialised uniform in +-1/sqrt(in) as PEFT does; B is [out, R], zero.
 * Layout:   tensor names of PEFT:
 *           base_model.model.model.layers.<l>.<self_attn.q_proj|...|mlp.down_proj>.lora_A.weight,
 *           rows in Hugging Face order whatever file the backbone came from. Values f32.
 * Memory:   the handle owns a parameter table.
 * Threads:  one object per thread while training.
 * Paper:    Theta_LoRA of eq (4); Hu et al. 2022.
 */
#ifndef SELLA_BACKBONE_LORA_H
#define SELLA_BACKBONE_LORA_H

#include "backbone/backbone.h"
#include "base/param.h"

typedef enum sella_matrix {
    SELLA_MATRIX_Q,
    SELLA_MATRIX_K,
    SELLA_MATRIX_V,
    SELLA_MATRIX_O,
    SELLA_MATRIX_GATE,
    SELLA_MATRIX_UP,
    SELLA_MATRIX_DOWN,
    SELLA_MATRICES
} sella_matrix;

typedef struct sella_lora_config {
    int rank; /* R >= 1 */
    double alpha;
    double dropout;   /* 0 <= p < 1, training only */
    unsigned targets; /* bits (1u << sella_matrix) */
    int first_layer;  /* layers below have no adapter; 0: all layers have */
    bool rslora;      /* read from PEFT files: scale alpha / sqrt(R) */
} sella_lora_config;

typedef struct sella_lora sella_lora;

/* "q_proj,v_proj" or "all" -> bits; SELLA_ARG names an unknown word. */
sella_status sella_lora_targets(const char *text, unsigned *targets, sella_err *err);

sella_status sella_lora_new(const sella_backbone *backbone, const sella_lora_config *config,
                            uint64_t seed, sella_lora **out, sella_err *err);
/* Folder with adapter_config.json and adapter_model.safetensors; everything is checked against the
 * backbone's shape. */
sella_status sella_lora_load(const sella_backbone *backbone, const char *dir, sella_lora **out,
                             sella_err *err);
/* Both files, atomically; base_model is recorded as base_model_name_or_path. */
sella_status sella_lora_save(const sella_lora *lora, const char *dir, const char *base_model,
                             sella_err *err);
void sella_lora_free(sella_lora *lora);

/* Make every tensor trainable (as new and load leave them) or frozen, which frees the gradients. */
sella_status sella_lora_train(sella_lora *lora, bool trainable, sella_err *err);

const sella_lora_config *sella_lora_settings(const sella_lora *lora);
sella_param_table *sella_lora_params(sella_lora *lora);
/* alpha / R (or alpha / sqrt R). */
float sella_lora_scale(const sella_lora *lora);
/* A and B of one matrix; both NULL when it has none. */
typedef struct sella_lora_pair {
    sella_param *a; /* [R, in] */
    sella_param *b; /* [out, R] */
} sella_lora_pair;
sella_lora_pair sella_lora_at(const sella_lora *lora, int layer, sella_matrix matrix);

/* Rows (out) and columns (in) of one of the seven matrices. */
void sella_matrix_shape(const sella_backbone_config *shape, sella_matrix matrix, int *out, int *in);
/* "q_proj". */
const char *sella_matrix_name(sella_matrix matrix);
/* SELLA_ARG for a rank, alpha, dropout, target set or first layer that makes no sense for the
 * shape. */
sella_status sella_lora_config_check(const sella_lora_config *config,
                                     const sella_backbone_config *shape, sella_err *err);
/* An adapter whose A and B are both zero, for lora_file.c to fill. */
sella_status sella_lora_empty(const sella_backbone *backbone, const sella_lora_config *config,
                              sella_lora **out, sella_err *err);

#endif
