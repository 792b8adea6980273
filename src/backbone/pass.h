/* pass.h - the transformer's forward and backward pass over a packed forest of segments.
 *
 * Does:     new(capacity) -> forward(batch) -> [backward(gradient of the answers)] -> ... -> free.
 *           Only what the answers need is computed: in the last layer only answer positions beyond
 *           k and v; no backward below the lowest trainable point.
 * Layout:   activations [T, C] row-major f32; answers [N, C] after the final norm.
 * Memory:   one arena per pass, sized for max_tokens at creation (sella_pass_bytes tells before).
 * Threads:  one object per thread; internally parallel.
 * Paper:    eqs (1), (2), (4), (10): the answer position's hidden state; soft rows replace slots
 *           (the circled plus).
 */
#ifndef SELLA_BACKBONE_PASS_H
#define SELLA_BACKBONE_PASS_H

#include "backbone/backbone.h"
#include "backbone/lora.h"
#include "data/tree.h"

typedef struct sella_pass_options {
    int max_tokens;  /* largest batch->T */
    bool backward;   /* keep what backward needs */
    bool train_lora; /* backward accumulates into the gradients of trainable LoRA rows */
    bool train_soft; /* backward gives gradients of the soft rows */
} sella_pass_options;

typedef struct sella_pass sella_pass;

/* Keys and values of consecutive tokens in every layer: rows [layers, stride, 2 G D], of which the
 * first `tokens` of each layer count. A row is k of all key heads, rotated, then v. */
typedef struct sella_kv_run {
    float *data;
    int tokens;
    int stride; /* rows from one layer to the next, >= tokens */
} sella_kv_run;

/* Floats of one token in all layers. */
size_t sella_kv_floats(const sella_backbone_config *shape);

/* What stands before a batch and what of it is wanted back. */
typedef struct sella_pass_link {
    /* [givens] in order: tokens that all of the batch sees; its positions go on behind them */
    const sella_kv_run *given_n;
    int givens;
    const sella_kv_run *kept_n; /* [keeps] in order: written with the first tokens of the batch */
    int keeps;
} sella_pass_link;

/* Where the time of a pass goes. */
typedef enum sella_lap_part {
    SELLA_LAP_PRODUCTS,  /* with frozen matrices, their biases */
    SELLA_LAP_ATTENTION,
    SELLA_LAP_NORM,
    SELLA_LAP_ROPE,
    SELLA_LAP_SWIGLU,
    SELLA_LAP_ADAPTERS,  /* low-rank products and dropout */
    SELLA_LAP_EMBEDDING, /* with the check of the batch */
    SELLA_LAP_REST,      /* copies of the residual stream, answers */
    SELLA_LAPS
} sella_lap_part;

typedef struct sella_pass_profile {
    double second[2][SELLA_LAPS]; /* [0] of forward, [1] of backward passes */
} sella_pass_profile;

/* Attention weights of chosen layers (Fig. 8 of the paper). All borrowed. */
typedef struct sella_attention_capture {
    const int *layer_k; /* [K] layers from 0, ascending */
    int K;
    /* [K, T, T] mean over heads: row i is what token i takes from each token, 0 where it does not
     * look */
    float *mean;
    float *head;        /* [K, H, T, T] by head, or NULL */
} sella_attention_capture;

/* Bytes of a pass's buffers, with attention on as many threads as are in use now; the tile of
 * weights that stay as stored is not among them (sella_backbone_need has it). */
size_t sella_pass_bytes(const sella_backbone_config *shape, const sella_lora_config *lora,
                        const sella_pass_options *options);
/* lora may be NULL (the bare backbone). Both are borrowed and must outlive the pass. */
sella_status sella_pass_new(const sella_backbone *backbone, sella_lora *lora,
                            const sella_pass_options *options, sella_pass **out, sella_err *err);
void sella_pass_free(sella_pass *pass);

/* Add the seconds of following passes to *profile, which is borrowed. NULL: stop; nothing is
 * measured then. */
void sella_pass_profile_into(sella_pass *pass, sella_pass_profile *profile);

/* Write the attention weights of following forward passes, T being the tokens of their batch; no
 * backward pass may follow one, and none of them may be a sella_pass_forward_behind. In the last
 * layer, where queries of answers alone are computed otherwise, all tokens count as answers when it
 * is among the layers. NULL: stop; nothing is computed then. Requires: layers of the backbone. */
void sella_pass_capture_into(sella_pass *pass, const sella_attention_capture *capture);

/* Dropout on the LoRA inputs is a pure function of (seed, step); step < 0 switches it off
 * (scoring).
 *   soft    in  [M, C]  vectors of batch->soft_m, in that order; NULL when M = 0
 *   answer  out [N, C]  hidden state of each row's answer token after the final norm
 * SELLA_DIVERGED when an answer is not finite. SELLA_ARG when T > max_tokens or an id is outside
 * the vocabulary. */
sella_status sella_pass_forward(sella_pass *pass, const sella_tree_batch *batch, const float *soft,
                                uint64_t seed, int64_t step, float *answer, sella_err *err);

/* The same for a batch behind tokens whose keys and values are given, without dropout and without a
 * backward pass after it. A batch whose segments begin at roots gives the answers that it gives
 * with the given tokens in front of every root, but for rounding: attention is the only place where
 * tokens meet, and it reads k and v alone. SELLA_ARG also when given and batch together exceed
 * max_tokens. */
sella_status sella_pass_forward_behind(sella_pass *pass, const sella_tree_batch *batch,
                                       const sella_pass_link *link, const float *soft,
                                       float *answer, sella_err *err);

/* The two halves of a pass whose lower layers are frozen. hidden: what enters `layer` for every
 * token, through the layers below it, without dropout and without a backward pass after it.
 * forward_from: the same as sella_pass_forward from there on; a backward pass may follow when
 * nothing below `layer` trains. Both together are sella_pass_forward, bit for bit, on one batch; on
 * others but for rounding, since products of other numbers of rows may sum in another order: who
 * wants the same bits again gives `hidden` the same batch again.
 *
 *   layer in         0 < layer < layers of the backbone
 *   x     out, in    [T, C]
 * Requires: no soft tokens. Returns: as sella_pass_forward. */
sella_status sella_pass_hidden(sella_pass *pass, const sella_tree_batch *batch, int layer, float *x,
                               sella_err *err);
sella_status sella_pass_forward_from(sella_pass *pass, const sella_tree_batch *batch, int layer,
                                     const float *x, uint64_t seed, int64_t step, float *answer,
                                     sella_err *err);

/* Backward of the last forward (the same batch object, unchanged).
 *   danswer in    [N, C]
 *   dsoft   out   [M, C]  or NULL
 * LoRA gradients are accumulated (+=) into the adapter's table. */
sella_status sella_pass_backward(sella_pass *pass, const float *danswer, float *dsoft,
                                 sella_err *err);

#endif
