/* pass_state.h - what the files of one pass share: buffers, row lists, LoRA products.
 *
 * Layout:   T tokens of the batch, n rows of a row list, C width, H G D heads, F ffn, W = (H + 2G)
 *           D, R rank. All f32 row-major.
 * Not here: the calls of other rooms (backbone/pass.h).
 */
#ifndef SELLA_BACKBONE_PASS_STATE_H
#define SELLA_BACKBONE_PASS_STATE_H

#include "backbone/pass.h"
#include "base/arena.h"
#include "base/log.h"
#include "kernels/attention.h"

/* A list of n tokens, ascending; token NULL: the first n. */
typedef struct sella_row_list {
    int n;
    const int32_t *token; /* [n] or NULL */
} sella_row_list;

/* What one layer computes and its backward pass reads. Layers that need no backward share one set
 * of buffers. In the last layer x2, r2, gu and the adapters' u and mask of q, o, gate, up, down
 * have one row an answer instead of one a token. */
typedef struct sella_layer_state {
    float *x;                      /* [T, C] the residual stream at the layer's entry */
    float *r1;                     /* [T] 1 / rms of x */
    /* [T, (H + G) D] q and k before their norms, or NULL without head norms */
    float *raw;
    float *rq;                     /* [H, T] 1 / rms of each query head, or NULL */
    float *rk;                     /* [G, T] */
    float *qkv;                    /* [T, W] rotated */
    float *lse;                    /* [T, H] */
    float *o;                      /* [T, H D] attention's output */
    float *x2;                     /* [T, C] the residual stream after attention */
    float *r2;                     /* [T] 1 / rms of x2 */
    float *gu;                     /* [T, 2F] gate and up */
    float *u[SELLA_MATRICES];      /* [T, R] A x of each adapted matrix, or NULL */
    uint8_t *mask[SELLA_MATRICES]; /* [T, (in + 7) / 8] bits of what dropout keeps, or NULL */
} sella_layer_state;

struct sella_pass {
    const sella_backbone *backbone;
    const sella_backbone_config *shape;
    sella_lora *lora; /* or NULL */
    sella_pass_options options;
    sella_arena *arena;
    int threads;   /* that attention's scratch was planned for */
    int keep_from; /* layers from here on have states of their own */

    float *cosine, *sine;     /* [max_tokens, D/2] */
    sella_layer_state *state; /* [layers] */
    /* [N', C] the residual stream of the answer tokens behind the last layer */
    float *final;
    float *r;                 /* [N'] 1 / rms of final */

    /* work of one layer; T rows each */
    float *h;       /* [T, C] a norm's output */
    float *a;       /* [T, F] swiglu's output */
    float *q;       /* [T, H D] queries of a row list */
    float *rows;    /* [T, H D], at least [T, C]: gathered rows */
    float *adapt;   /* [T, max in] an adapter's dropped input, or its gradient */
    float *du;      /* [T, R] */
    float *keep;    /* [256, 8] sella_adapt_table, or NULL */
    sella_weight_tile tile; /* of weights that stay as stored */
    float *scratch; /* attention */
    size_t scratch_floats;
    int32_t *position; /* [T] of a row list */
    /* [max_tokens + 2] the batch's segments behind one of the given tokens */
    int32_t *behind_start, *behind_parent, *behind_subtree;
    int32_t *behind_query; /* [max_tokens] */

    /* backward only */
    float *d, *dx; /* [T, C] gradient of the residual stream: behind and before a layer */
    float *dh;     /* [T, C] gradient of a norm's output */
    float *da;     /* [T, F], at least [T, C] */
    float *dgu;    /* [T, 2F], at least [T, (H + G) D] */
    float *dqkv;   /* [T, W] */
    float *draw;   /* [T, (H + G) D] or NULL */
    float *dheads; /* [T, H D] */
    /* gathered copies, only with train_soft */
    float *live_gu;  /* [T, 2F], at least [T, (H + G) D] */
    float *live_x;   /* [T, C] */
    float *live_r;   /* [T] */
    float *live_qkv; /* [T, W] */

    /* of the last forward */
    const sella_tree_batch *batch; /* NULL: none, or it failed */
    const sella_pass_link *link; /* NULL: nothing before the batch */
    int from;                    /* layer that it began at: no states below it */
    /* tokens given before the batch: its rows of q, k, v and o stand behind theirs */
    int past;
    sella_attention_shape attention; /* over past and batch */
    sella_row_list answers; /* distinct answer tokens */
    int32_t *answer_token;  /* [max_tokens] */
    int32_t *answer_place;  /* [T] place of a token among the answers, -1: none */
    int32_t *live_token;    /* [max_tokens] */
    uint64_t seed;
    int64_t step;

    const sella_attention_capture *capture; /* NULL: nobody asked */
    sella_pass_profile *profile;            /* NULL: nobody asked */
    double lap_start;
    int lap_backward; /* 1 in a backward pass */
};

/* The place of layer l in the capture, -1: not asked for. */
static inline int sella_capture_place(const sella_pass *pass, int l)
{
    for (int k = 0; pass->capture && k < pass->capture->K; k++) {
        if (pass->capture->layer_k[k] == l) {
            return k;
        }
    }
    return -1;
}

/* The time since the lap before was spent on `part`. Free when nobody asked. */
static inline void sella_lap(sella_pass *pass, sella_lap_part part)
{
    if (pass->profile) {
        const double now = sella_now();
        pass->profile->second[pass->lap_backward][part] += now - pass->lap_start;
        pass->lap_start = now;
    }
}
static inline void sella_lap_begin(sella_pass *pass, bool backward)
{
    pass->lap_backward = backward;
    pass->lap_start = pass->profile ? sella_now() : 0.0;
}

/* SELLA_FORMAT: the tensor that pass->tile met with a value that is not finite. */
sella_status sella_pass_fault(const sella_pass *pass, sella_err *err);
/* rows of `from` [*, width] that the list names: `from` itself for a list without tokens, else
 * copied into buffer. */
const float *sella_rows_gather(const float *from, int width, sella_row_list list, float *buffer);
/* to[token] = from[i] for every row of the list; nothing for a list without tokens and to ==
 * from. */
void sella_rows_scatter(float *to, int ldto, const float *from, int ldfrom, int width,
                        sella_row_list list);

/* layer.c: the state of layer l from its x; y out is the residual stream behind it, rows as
 * sella_layer_state says. */
void sella_layer_forward(sella_pass *pass, int l, float *y);

/* ---- adapt.c: one adapted matrix; nothing happens where there is no adapter ----
 * Each call stands behind the product of its frozen matrix, whose lap it ends. */

/* keep out [256, 8]: for each byte of a mask the factors of its elements, 0 or 1 / (1 - p). */
void sella_adapt_table(float *keep, double dropout);
/* y += s B A drop(x).   y inout [n, out], x in [n, in] */
void sella_adapt_forward(sella_pass *pass, int l, sella_matrix matrix, const float *x, int ldx,
                         int n, float *y, int ldy);
/* Is there an adapter here that this pass trains? */
bool sella_adapt_trains(const sella_pass *pass, int l, sella_matrix matrix);
/* dA, dB += ...; dx += (s B A)^T dy through the dropout mask.
 *   dy   in    [n, out]
 *   x    in    [n, in]  the forward input; read only when the adapter is trained
 *   list in             places of the n rows among those of the forward pass (for the mask);
 *                       token NULL: the same rows
 *   dx   accum [n, in]  or NULL */
void sella_adapt_backward(sella_pass *pass, int l, sella_matrix matrix, const float *dy, int lddy,
                          const float *x, int ldx, sella_row_list list, float *dx, int lddx);

#endif
