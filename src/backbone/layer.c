/* layer.c - the forward pass of one decoder layer (letters: pass_state.h and docs/math.md). */
#include "backbone/pass_state.h"

#include <assert.h>

#include "kernels/activation.h"
#include "kernels/norm.h"
#include "kernels/rope.h"

const float *sella_rows_gather(const float *from, int width, sella_row_list list, float *buffer)
{
    if (list.token == NULL) {
        return from;
    }
#pragma omp parallel for schedule(static) if (list.n > 64)
    for (int i = 0; i < list.n; i++) {
        memcpy(buffer + (size_t)i * (size_t)width, from + (size_t)list.token[i] * (size_t)width,
               (size_t)width * sizeof *buffer);
    }
    return buffer;
}

void sella_rows_scatter(float *to, int ldto, const float *from, int ldfrom, int width,
                        sella_row_list list)
{
#pragma omp parallel for schedule(static) if (list.n > 64)
    for (int i = 0; i < list.n; i++) {
        const size_t row = list.token ? (size_t)list.token[i] : (size_t)i;
        memcpy(to + row * (size_t)ldto, from + (size_t)i * (size_t)ldfrom,
               (size_t)width * sizeof *to);
    }
}

/* Per-head RMSNorm (Qwen3) of `heads` heads at x, in place; r [heads, n]. */
static void heads_norm(const sella_pass *pass, float *x, int ld, int n, int heads, const float *w,
                       float *r)
{
    const int D = pass->shape->D;
    for (int h = 0; h < heads; h++) {
        sella_rmsnorm_forward(x + h * D, ld, r + (size_t)h * (size_t)n, x + h * D, ld, w, n, D,
                              pass->shape->rms_eps);
    }
}

/* Queries, keys and values from the norm's output h: k and v of all tokens, q of the tokens of the
 * list. */
static void qkv_forward(sella_pass *pass, int l, sella_row_list list)
{
    const sella_backbone_config *c = pass->shape;
    const sella_layer *w = sella_backbone_layer(pass->backbone, l);
    sella_layer_state *s = &pass->state[l];
    const int T = pass->batch->T, C = c->C, Q = c->H * c->D, K = c->G * c->D, W = Q + 2 * K;
    const bool all = list.token == NULL;
    float *qkv = s->qkv + (size_t)pass->past * (size_t)W; // rows of the batch
    float *q = all ? qkv : pass->q, *k = qkv + Q, *v = k + K;
    const int ldq = all ? W : Q;
    const float *h = sella_rows_gather(pass->h, C, list, pass->rows);
    const int32_t *position = pass->batch->position_t;
    if (all) {
        sella_weight_forward(&w->w_qkv, T, h, C, 0.0f, q, W, &pass->tile);
    } else {
        const sella_weight w_q = sella_weight_rows(&w->w_qkv, 0, Q),
                           w_kv = sella_weight_rows(&w->w_qkv, Q, 2 * K);
        sella_weight_forward(&w_q, list.n, h, C, 0.0f, q, ldq, &pass->tile);
        sella_weight_forward(&w_kv, T, pass->h, C, 0.0f, k, W, &pass->tile);
        for (int i = 0; i < list.n; i++) {
            pass->position[i] = position[list.token[i]];
        }
    }
    if (w->b_qkv) {
        sella_bias_add(q, ldq, w->b_qkv, list.n, Q);
        sella_bias_add(k, W, w->b_qkv + Q, T, 2 * K);
    }
    sella_adapt_forward(pass, l, SELLA_MATRIX_Q, h, C, list.n, q, ldq);
    sella_adapt_forward(pass, l, SELLA_MATRIX_K, pass->h, C, T, k, W);
    sella_adapt_forward(pass, l, SELLA_MATRIX_V, pass->h, C, T, v, W);
    if (w->norm_q) {
        if (s->raw) {
            sella_rows_scatter(s->raw, Q + K, q, ldq, Q, (sella_row_list){list.n, NULL});
            sella_rows_scatter(s->raw + Q, Q + K, k, W, K, (sella_row_list){T, NULL});
        }
        heads_norm(pass, q, ldq, list.n, c->H, w->norm_q, s->rq);
        heads_norm(pass, k, W, T, c->G, w->norm_k, s->rk);
        sella_lap(pass, SELLA_LAP_NORM);
    }
    sella_rope_apply(q, ldq, list.n, c->H, c->D, all ? position : pass->position, pass->cosine,
                     pass->sine, 0);
    sella_rope_apply(k, W, T, c->G, c->D, position, pass->cosine, pass->sine, 0);
    if (!all) {
        sella_rows_scatter(qkv, W, q, ldq, Q, list);
    }
    sella_lap(pass, SELLA_LAP_ROPE);
}

/* k and v of layer l between the rows of qkv from `token` on and the runs, in order. */
static void runs_copy(const sella_pass *pass, int l, const sella_kv_run *run_n, int runs, int token,
                      bool keep)
{
    const sella_backbone_config *c = pass->shape;
    const int Q = c->H * c->D, K = c->G * c->D;
    const size_t W = (size_t)(Q + 2 * K), width = 2 * (size_t)K;
    for (int i = 0; i < runs; i++) {
        float *run = run_n[i].data + (size_t)l * (size_t)run_n[i].stride * width;
        for (int t = 0; t < run_n[i].tokens; t++, token++, run += width) {
            float *row = pass->state[l].qkv + (size_t)token * W + Q;
            memcpy(keep ? run : row, keep ? row : run, width * sizeof *run);
        }
    }
}

/* Attention of the batch's tokens of the list, with what stands before the batch. */
static void attention_forward(sella_pass *pass, int l, sella_row_list list)
{
    const sella_backbone_config *c = pass->shape;
    sella_layer_state *s = &pass->state[l];
    const int Q = c->H * c->D, K = c->G * c->D, W = Q + 2 * K;
    const int32_t *query = list.token;
    if (pass->link) {
        runs_copy(pass, l, pass->link->given_n, pass->link->givens, 0, false);
        runs_copy(pass, l, pass->link->kept_n, pass->link->keeps, pass->past, true);
        for (int i = 0; i < list.n; i++) {
            pass->behind_query[i] = pass->past + (list.token ? list.token[i] : i);
        }
        query = pass->behind_query;
    }
    sella_attention_forward(s->o, Q, s->lse, s->qkv, W, s->qkv + Q, W, s->qkv + Q + K, W, query,
                            list.n, &pass->attention, pass->scratch);
    sella_lap(pass, SELLA_LAP_ATTENTION);
}

/* Attention weights of layer l at place `at` of the capture, from its rotated q and k. */
static void capture_weights(sella_pass *pass, int l, int at)
{
    const sella_attention_capture *capture = pass->capture;
    const sella_backbone_config *c = pass->shape;
    const sella_layer_state *s = &pass->state[l];
    const int Q = c->H * c->D, W = Q + 2 * c->G * c->D;
    const size_t square = (size_t)pass->batch->T * (size_t)pass->batch->T;
    float *mean = capture->mean + (size_t)at * square;
    assert(pass->past == 0);
    memset(mean, 0, square * sizeof *mean);
    for (int h = 0; h < c->H; h++) {
        sella_attention_weights(mean, 1.0f / (float)c->H, h, s->lse, s->qkv, W, s->qkv + Q, W,
                                &pass->attention);
        if (capture->head) {
            float *head = capture->head + ((size_t)at * (size_t)c->H + (size_t)h) * square;
            memset(head, 0, square * sizeof *head);
            sella_attention_weights(head, 1.0f, h, s->lse, s->qkv, W, s->qkv + Q, W,
                                    &pass->attention);
        }
    }
}

/* y = x + attention(norm(x)); y += ffn(norm(y)). In the last layer only k and v are needed of all
 * tokens, the rest of the answers. */
void sella_layer_forward(sella_pass *pass, int l, float *y)
{
    const sella_backbone_config *c = pass->shape;
    const sella_layer *w = sella_backbone_layer(pass->backbone, l);
    sella_layer_state *s = &pass->state[l];
    const int T = pass->batch->T, C = c->C, F = c->F, Q = c->H * c->D;
    const sella_row_list list = l == c->layers - 1 ? pass->answers : (sella_row_list){T, NULL};
    const int n = list.n;

    sella_rmsnorm_forward(pass->h, C, s->r1, s->x, C, w->norm_attention, T, C, c->rms_eps);
    sella_lap(pass, SELLA_LAP_NORM);
    qkv_forward(pass, l, list);
    attention_forward(pass, l, list);
    if (sella_capture_place(pass, l) >= 0) {
        capture_weights(pass, l, sella_capture_place(pass, l));
    }

    const float *o = sella_rows_gather(s->o + (size_t)pass->past * (size_t)Q, Q, list, pass->rows);
    const float *x = sella_rows_gather(s->x, C, list, s->x2);
    if (x != s->x2) {
        sella_rows_scatter(s->x2, C, x, C, C, list);
    }
    sella_lap(pass, SELLA_LAP_REST);
    sella_weight_forward(&w->w_o, n, o, Q, 1.0f, s->x2, C, &pass->tile);
    if (w->b_o) {
        sella_bias_add(s->x2, C, w->b_o, n, C);
    }
    sella_adapt_forward(pass, l, SELLA_MATRIX_O, o, Q, n, s->x2, C);

    sella_rmsnorm_forward(pass->h, C, s->r2, s->x2, C, w->norm_ffn, n, C, c->rms_eps);
    sella_lap(pass, SELLA_LAP_NORM);
    sella_weight_forward(&w->w_gate_up, n, pass->h, C, 0.0f, s->gu, 2 * F, &pass->tile);
    sella_adapt_forward(pass, l, SELLA_MATRIX_GATE, pass->h, C, n, s->gu, 2 * F);
    sella_adapt_forward(pass, l, SELLA_MATRIX_UP, pass->h, C, n, s->gu + F, 2 * F);
    sella_swiglu_forward(pass->a, F, s->gu, 2 * F, n, F);
    sella_lap(pass, SELLA_LAP_SWIGLU);
    sella_rows_scatter(y, C, s->x2, C, C, (sella_row_list){n, NULL});
    sella_lap(pass, SELLA_LAP_REST);
    sella_weight_forward(&w->w_down, n, pass->a, F, 1.0f, y, C, &pass->tile);
    sella_adapt_forward(pass, l, SELLA_MATRIX_DOWN, pass->a, F, n, y, C);
}
