/* backbone.h - a pretrained decoder of the Llama, Qwen2 or Qwen3 family: configuration, frozen
 * weights, tokenizer.
 *
 * Does:     Opens a Hugging Face folder (config.json, *.safetensors sharded or not, tokenizer.json)
 *           or one GGUF file.
 * Layout:   Linear weights are [out, in] row-major in Hugging Face's row order; a GGUF's permuted q
 *           and k rows (llama architecture) are put back when they are read. q, k, v stand in one
 *           matrix [(H + 2G) D, C], gate and up in one [2F, C].
 * Memory:   a layer's matrices are expanded to f32 at opening, in one arena of the handle, or stay
 *           as stored in the mapped files and are dequantized by tile at every use
 *           (backbone/weight.h): slower by a few percent, and a quarter to an eighth of the memory.
 *           The embedding (and an untied head) always stays as stored and is dequantized by row.
 * Threads:  one handle may be read by many.
 * Not here: the forward and backward pass (backbone/pass.h), adapters (backbone/lora.h).
 * Paper:    eq (1): f^L and E^L.
 */
#ifndef SELLA_BACKBONE_BACKBONE_H
#define SELLA_BACKBONE_BACKBONE_H

#include <stdbool.h>
#include <stdint.h>

#include "backbone/weight.h"
#include "base/error.h"
#include "base/log.h"
#include "kernels/rope.h"
#include "tokenizer/tokenizer.h"

typedef struct sella_backbone_config {
    char family[16]; /* "llama", "qwen2", "qwen3" */
    int layers;
    int C; /* width */
    int H; /* query heads */
    int G; /* key and value heads */
    int D; /* head width (may differ from C / H) */
    int F; /* feed-forward width */
    int V; /* vocabulary rows of the embedding */
    float rms_eps;
    double rope_theta;
    sella_rope_scaling rope_scaling;
    bool qkv_bias;   /* biases on q, k, v */
    bool o_bias;     /* bias on o (attention_bias of the Llama and Qwen3 families) */
    bool qk_norm;    /* per-head RMSNorm on q and k (Qwen3) */
    bool tied;       /* head = embedding */
    int64_t context; /* positions it was trained for */
} sella_backbone_config;

/* Where a layer's matrices are; AUTO: expanded when that fits comfortably. Words: "auto",
 * "expanded", "stored". */
typedef enum sella_weights {
    SELLA_WEIGHTS_AUTO,
    SELLA_WEIGHTS_EXPANDED,
    SELLA_WEIGHTS_STORED
} sella_weights;

/* Bytes of memory that a decoder takes by itself: vectors, matrices and the tile of one pass. */
typedef struct sella_backbone_need {
    size_t expanded;
    size_t stored; /* the mapped matrices count: every pass reads them all */
} sella_backbone_need;

/* One decoder layer. */
typedef struct sella_layer {
    const float *norm_attention; /* [C] */
    const float *norm_ffn;       /* [C] */
    sella_weight w_qkv;          /* [(H + 2G) D, C] */
    const float *b_qkv;          /* [(H + 2G) D] or NULL */
    const float *norm_q;         /* [D] or NULL */
    const float *norm_k;         /* [D] or NULL */
    sella_weight w_o;            /* [C, H D] */
    const float *b_o;            /* [C] or NULL */
    sella_weight w_gate_up;      /* [2F, C] gate first */
    sella_weight w_down;         /* [C, F] */
} sella_layer;

typedef struct sella_backbone sella_backbone;

/* Open and check everything: all tensors present, typed and shaped (all misses listed in one
 * sentence), vectors and expanded matrices finite (stored ones: at their use); tokenizer opened.
 * Refuses what is not supported by name, and what memory has no room for with both figures. talk
 * may be NULL (what AUTO chose is said; expanding a large model reports progress). */
sella_status sella_backbone_open_as(const char *path, sella_weights weights, const sella_talk *talk,
                                    sella_backbone **out, sella_err *err);
/* The same with expanded weights. */
sella_status sella_backbone_open(const char *path, const sella_talk *talk, sella_backbone **out,
                                 sella_err *err);
void sella_backbone_close(sella_backbone *backbone);

const sella_backbone_config *sella_backbone_shape(const sella_backbone *backbone);
const sella_tokenizer *sella_backbone_tokenizer(const sella_backbone *backbone);
const sella_layer *sella_backbone_layer(const sella_backbone *backbone, int layer);
const float *sella_backbone_norm(const sella_backbone *backbone); /* [C] final norm */
const char *sella_backbone_path(const sella_backbone *backbone);
/* [D/2] inverse frequencies of the rotary positions, scaling included (a GGUF stores its scaling as
 * factors). */
const double *sella_backbone_rope(const sella_backbone *backbone);
/* 16 hexadecimal digits over configuration and weights as stored: recorded in run.json, checked
 * when a run is used. */
const char *sella_backbone_fingerprint(const sella_backbone *backbone);
/* Bytes of weights in the handle's own memory. */
size_t sella_backbone_bytes(const sella_backbone *backbone);
/* Frozen parameters outside the embeddings (P of SPEC section 5). */
int64_t sella_backbone_parameters(const sella_backbone *backbone);
/* Do the matrices stay as stored? */
bool sella_backbone_stored(const sella_backbone *backbone);
/* Floats of the tile that a pass then needs for them, else 0. */
size_t sella_backbone_tile(const sella_backbone *backbone);

/* The shape, and what opening would take, read from headers only: for --dry-run and the memory
 * check. */
sella_status sella_backbone_probe(const char *path, sella_backbone_config *config,
                                  sella_backbone_need *need, sella_err *err);
/* SELLA_ARG unless the word is one of sella_weights; NULL: AUTO. */
sella_status sella_weights_of(const char *word, sella_weights *out, sella_err *err);
const char *sella_weights_word(sella_weights weights);
/* AUTO resolved by the memory that can be had now, and said: expanded when that and `rest` bytes
 * for other things leave a quarter of it. Returns: asked, unless it is AUTO. */
sella_weights sella_weights_choose(sella_weights asked, const sella_backbone_need *need,
                                   size_t rest, const sella_talk *talk);
/* The figure of one of them, not AUTO. */
size_t sella_weights_bytes(sella_weights weights, const sella_backbone_need *need);

/* Embedding rows: y out [n, C]. SELLA_ARG for an id outside the vocabulary. */
sella_status sella_backbone_embed(const sella_backbone *backbone, const int32_t *id_n, int n,
                                  float *y, sella_err *err);
/* Rows of the head: y out [n, C]; the logit of id is dot(head row, hidden). */
sella_status sella_backbone_head(const sella_backbone *backbone, const int32_t *id_n, int n,
                                 float *y, sella_err *err);
/* All logits of one hidden row: logit_v out [V]. */
sella_status sella_backbone_logits(const sella_backbone *backbone, const float *hidden,
                                   float *logit_v, sella_err *err);

#endif
