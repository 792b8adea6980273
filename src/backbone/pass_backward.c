/* pass_backward.c - the backward pass over all layers (backbone/pass.h).
 *
 * Frozen matrices get no gradient; what only they would need is not computed. Two things bound the
 * work: the lowest layer that trains (below it nothing flows), and, when only soft rows train, the
 * tokens that stand behind a soft row in their segment path: only there can a gradient reach a soft
 * row ("live" tokens). Norms and swiglu are computed again from what the forward pass kept.
 *
 * Easy to get wrong:
 * - in the last layer gradients come in for answer tokens only, but keys and values of all tokens
 *   pass them on;
 * - two rows may share an answer token: their gradients add up;
 * - the mask of dropout belongs to rows of the forward pass, not of the live list.
 */

#include "backbone/pass_state.h"
#include "kernels/activation.h"
#include "kernels/norm.h"
#include "kernels/rope.h"

/* What the backward pass of one layer must give. Each implies the ones behind it. */
typedef struct layer_needs {
    bool input;     /* the gradient of the layer's entry */
    bool qkv;       /* dqkv: something below q, k, v is wanted, or their adapters train */
    bool attention; /* the gradient of o's output: as above, or o's adapter trains */
    bool gate_up;   /* dgu */
} layer_needs;

static layer_needs needs_of(const sella_pass *p, int l, bool input)
{
    layer_needs n = {.input = input};
    n.qkv = input || sella_adapt_trains(p, l, SELLA_MATRIX_Q) ||
            sella_adapt_trains(p, l, SELLA_MATRIX_K) || sella_adapt_trains(p, l, SELLA_MATRIX_V);
    n.attention = n.qkv || sella_adapt_trains(p, l, SELLA_MATRIX_O);
    n.gate_up = n.attention || sella_adapt_trains(p, l, SELLA_MATRIX_GATE) ||
                sella_adapt_trains(p, l, SELLA_MATRIX_UP);
    return n;
}

/* Tokens of a list as places in the rows that the forward pass kept: in the last layer those are
 * the answers, all of them. */
static sella_row_list kept_rows(const sella_pass *p, int l, sella_row_list list)
{
    return l == p->shape->layers - 1 ? (sella_row_list){p->answers.n, NULL} : list;
}

/* d [n, C]: gradient behind the layer -> gradient of x2, in place. */
static void ffn_backward(sella_pass *p, int l, sella_row_list kept, layer_needs needs)
{
    const sella_backbone_config *c = p->shape;
    const sella_layer *w = sella_backbone_layer(p->backbone, l);
    const sella_layer_state *s = &p->state[l];
    const int n = kept.n, C = c->C, F = c->F;
    const float *gu = sella_rows_gather(s->gu, 2 * F, kept, p->live_gu);
    if (sella_adapt_trains(p, l, SELLA_MATRIX_DOWN)) {
        sella_swiglu_forward(p->a, F, gu, 2 * F, n, F);
    }
    sella_lap(p, SELLA_LAP_SWIGLU);
    if (needs.gate_up) {
        sella_weight_backward(&w->w_down, n, p->d, C, p->da, F, &p->tile);
    }
    sella_adapt_backward(p, l, SELLA_MATRIX_DOWN, p->d, C, p->a, F, kept,
                         needs.gate_up ? p->da : NULL, F);
    if (!needs.gate_up) {
        return;
    }
    const float *x2 = sella_rows_gather(s->x2, C, kept, p->live_x);
    const float *r2 = sella_rows_gather(s->r2, 1, kept, p->live_r);
    sella_swiglu_backward(p->dgu, 2 * F, p->da, F, gu, 2 * F, n, F);
    sella_lap(p, SELLA_LAP_SWIGLU);
    if (sella_adapt_trains(p, l, SELLA_MATRIX_GATE) || sella_adapt_trains(p, l, SELLA_MATRIX_UP)) {
        sella_rmsnorm_forward(p->h, C, NULL, x2, C, w->norm_ffn, n, C, c->rms_eps);
        sella_lap(p, SELLA_LAP_NORM);
    }
    float *dh = needs.attention ? p->dh : NULL;
    if (dh) {
        sella_weight_backward(&w->w_gate_up, n, p->dgu, 2 * F, dh, C, &p->tile);
    }
    sella_adapt_backward(p, l, SELLA_MATRIX_GATE, p->dgu, 2 * F, p->h, C, kept, dh, C);
    sella_adapt_backward(p, l, SELLA_MATRIX_UP, p->dgu + F, 2 * F, p->h, C, kept, dh, C);
    if (dh) {
        sella_rmsnorm_backward(p->d, C, dh, C, x2, C, w->norm_ffn, r2, n, C);
        sella_lap(p, SELLA_LAP_NORM);
    }
}

/* Gradient of rotated and normed heads -> of the projections' output, in place at dx [n, heads D].
 *   raw, r: as the forward pass kept them, rows of the list; r [heads, rows] */
static void heads_backward(sella_pass *p, float *dx, int lddx, int n, int heads,
                           const int32_t *position, const float *w, const float *raw, int ldraw,
                           const float *r)
{
    const int D = p->shape->D;
    sella_rope_apply(dx, lddx, n, heads, D, position, p->cosine, p->sine, 1);
    sella_lap(p, SELLA_LAP_ROPE);
    if (w == NULL) {
        return;
    }
    const int width = heads * D;
    for (int i = 0; i < n; i++) {
        memset(p->draw + (size_t)i * (size_t)width, 0, (size_t)width * sizeof *p->draw);
    }
    for (int h = 0; h < heads; h++) {
        sella_rmsnorm_backward(p->draw + h * D, width, dx + h * D, lddx, raw + h * D, ldraw, w,
                               r + (size_t)h * (size_t)n, n, D);
    }
    sella_rows_scatter(dx, lddx, p->draw, width, width, (sella_row_list){n, NULL});
    sella_lap(p, SELLA_LAP_NORM);
}

/* Rows of a list of r [heads, from_n] as [heads, n]. */
static const float *heads_gather(const float *r, int heads, int from_n, sella_row_list list,
                                 float *buffer)
{
    if (r == NULL || list.token == NULL) {
        return r;
    }
    for (int h = 0; h < heads; h++) {
        for (int i = 0; i < list.n; i++) {
            buffer[(size_t)h * (size_t)list.n + (size_t)i] =
                r[(size_t)h * (size_t)from_n + (size_t)list.token[i]];
        }
    }
    return buffer;
}

static const int32_t *positions(sella_pass *p, sella_row_list list)
{
    if (list.token == NULL) {
        return p->batch->position_t;
    }
    for (int i = 0; i < list.n; i++) {
        p->position[i] = p->batch->position_t[list.token[i]];
    }
    return p->position;
}

/* Gradients of the projections' outputs from those of attention's: *dq [query.n, Q] for the rows of
 * `query`, *dkv [live.n, 2K] for those of `live`. When both lists are the same, they stand in one
 * row. */
static void projections_backward(sella_pass *p, int l, sella_row_list query, sella_row_list live,
                                 const float **dq, int *lddq, const float **dkv, int *lddkv)
{
    const sella_backbone_config *c = p->shape;
    const sella_layer *w = sella_backbone_layer(p->backbone, l);
    const sella_layer_state *s = &p->state[l];
    const int T = p->batch->T, Q = c->H * c->D, K = c->G * c->D, W = Q + 2 * K;
    const bool last = l == c->layers - 1;
    float *q = p->dqkv, *k = p->dqkv + Q;
    *lddq = *lddkv = W;
    if (query.token == live.token) {
        if (live.token) {
            sella_rows_gather(p->dqkv, W, live, p->live_qkv);
            q = p->live_qkv;
            k = q + Q;
        }
    } else { // the last layer: q of the answers; k and v of all live tokens
        for (int i = 0; i < query.n; i++) {
            memcpy(p->q + (size_t)i * (size_t)Q, p->dqkv + (size_t)query.token[i] * (size_t)W,
                   (size_t)Q * sizeof *p->q);
        }
        q = p->q;
        *lddq = Q;
        if (live.token) {
            k = (float *)sella_rows_gather(p->dqkv, W, live, p->live_qkv) + Q;
        }
    }
    /* raw and rq have a row an answer in the last layer, else a row a token */
    const sella_row_list kept = kept_rows(p, l, query);
    const float *raw = s->raw ? sella_rows_gather(s->raw, Q + K, kept, p->live_gu) : NULL;
    const float *r = heads_gather(s->rq, c->H, last ? query.n : T, kept, p->dgu);
    heads_backward(p, q, *lddq, query.n, c->H, positions(p, query), w->norm_q, raw, Q + K, r);
    raw = s->raw ? sella_rows_gather(s->raw, Q + K, live, p->live_gu) + Q : NULL;
    r = heads_gather(s->rk, c->G, T, live, p->dgu);
    heads_backward(p, k, *lddkv, live.n, c->G, positions(p, live), w->norm_k, raw, Q + K, r);
    *dq = q;
    *dkv = k;
}

/* dh [live.n, C] += rows of `from` [query.n, C], which are those of the query tokens; others than
 * live ones are dropped. */
static void rows_add(const sella_pass *p, float *to, const float *from, sella_row_list query,
                     sella_row_list live)
{
    const int C = p->shape->C;
    for (int i = 0, at = 0; i < query.n; i++) {
        const int32_t token = query.token ? query.token[i] : i;
        if (live.token) {
            while (at < live.n && live.token[at] < token) {
                at++;
            }
            if (at == live.n || live.token[at] != token) {
                continue;
            }
        } else {
            at = token;
        }
        sella_axpy(to + (size_t)at * (size_t)C, 1.0f, from + (size_t)i * (size_t)C, (size_t)C);
    }
}

/* Gradient of the first norm's output from those of q, k, v: dh [live.n, C], with the adapters'
 * gradients. */
static void qkv_backward(sella_pass *p, int l, sella_row_list query, sella_row_list live,
                         bool input)
{
    const sella_backbone_config *c = p->shape;
    const sella_layer *w = sella_backbone_layer(p->backbone, l);
    const sella_layer_state *s = &p->state[l];
    const int T = p->batch->T, C = c->C, Q = c->H * c->D, K = c->G * c->D;
    const bool same = query.token == live.token, last = l == c->layers - 1;
    const float *dq, *dkv;
    int lddq, lddkv;
    projections_backward(p, l, query, live, &dq, &lddq, &dkv, &lddkv);
    const bool trains = sella_adapt_trains(p, l, SELLA_MATRIX_Q) ||
                        sella_adapt_trains(p, l, SELLA_MATRIX_K) ||
                        sella_adapt_trains(p, l, SELLA_MATRIX_V);
    if (trains) { // live is then all tokens
        sella_rmsnorm_forward(p->h, C, NULL, s->x, C, w->norm_attention, T, C, c->rms_eps);
        sella_lap(p, SELLA_LAP_NORM);
    }
    float *dh = input ? p->dh : NULL, *dh_q = same ? dh : input ? p->rows : NULL;
    if (input && same) { // one product for q, k, v
        sella_weight_backward(&w->w_qkv, live.n, dq, lddq, dh, C, &p->tile);
    } else if (input) {
        const sella_weight w_q = sella_weight_rows(&w->w_qkv, 0, Q),
                           w_kv = sella_weight_rows(&w->w_qkv, Q, 2 * K);
        sella_weight_backward(&w_kv, live.n, dkv, lddkv, dh, C, &p->tile);
        sella_weight_backward(&w_q, query.n, dq, lddq, dh_q, C, &p->tile);
    }
    const float *h_q =
        trains ? sella_rows_gather(p->h, C, last ? query : (sella_row_list){T, NULL}, p->da) : NULL;
    sella_adapt_backward(p, l, SELLA_MATRIX_Q, dq, lddq, h_q, C, kept_rows(p, l, query), dh_q, C);
    sella_adapt_backward(p, l, SELLA_MATRIX_K, dkv, lddkv, p->h, C, live, dh, C);
    sella_adapt_backward(p, l, SELLA_MATRIX_V, dkv + K, lddkv, p->h, C, live, dh, C);
    if (input && !same) {
        rows_add(p, dh, dh_q, query, live);
    }
}

/* d: gradient of x2 (rows of `query`) -> dx: gradient of x (rows of `live`). */
static void attention_backward(sella_pass *p, int l, sella_row_list query, sella_row_list live,
                               layer_needs needs)
{
    const sella_backbone_config *c = p->shape;
    const sella_layer *w = sella_backbone_layer(p->backbone, l);
    const sella_layer_state *s = &p->state[l];
    const int C = c->C, Q = c->H * c->D, K = c->G * c->D, W = Q + 2 * K;
    const bool all = query.token == NULL;
    float *dense = all ? p->dheads : p->q;
    const float *o = sella_adapt_trains(p, l, SELLA_MATRIX_O)
                         ? sella_rows_gather(s->o, Q, query, p->rows)
                         : NULL;
    if (needs.qkv) {
        sella_weight_backward(&w->w_o, query.n, p->d, C, dense, Q, &p->tile);
    }
    sella_adapt_backward(p, l, SELLA_MATRIX_O, p->d, C, o, Q, kept_rows(p, l, query),
                         needs.qkv ? dense : NULL, Q);
    if (!needs.qkv) {
        return;
    }
    if (!all) {
        sella_rows_scatter(p->dheads, Q, dense, Q, Q, query);
    }
    sella_attention_backward(p->dqkv, W, p->dqkv + Q, W, p->dqkv + Q + K, W, p->dheads, Q, s->o, Q,
                             s->lse, s->qkv, W, s->qkv + Q, W, s->qkv + Q + K, W, query.token,
                             query.n, &p->attention, p->scratch);
    sella_lap(p, SELLA_LAP_ATTENTION);
    qkv_backward(p, l, query, live, needs.input);
    if (!needs.input) {
        return;
    }
    if (query.token == live.token) {
        sella_rows_scatter(p->dx, C, p->d, C, C, (sella_row_list){live.n, NULL});
    } else {
        memset(p->dx, 0, (size_t)live.n * (size_t)C * sizeof *p->dx);
        rows_add(p, p->dx, p->d, query, live);
    }
    sella_lap(p, SELLA_LAP_REST);
    const float *x = sella_rows_gather(s->x, C, live, p->live_x);
    const float *r1 = sella_rows_gather(s->r1, 1, live, p->live_r);
    sella_rmsnorm_backward(p->dx, C, p->dh, C, x, C, w->norm_attention, r1, live.n, C);
    sella_lap(p, SELLA_LAP_NORM);
}

/* ---- bounds of the work ---- */

/* Lowest layer with an adapter that trains, or `layers`. */
static int lowest_trained(const sella_pass *p)
{
    for (int l = p->keep_from; l < p->shape->layers; l++) {
        for (int m = 0; m < SELLA_MATRICES; m++) {
            if (sella_adapt_trains(p, l, (sella_matrix)m)) {
                return l;
            }
        }
    }
    return p->shape->layers;
}

/* Tokens behind (or at) a soft row in their path; all of them: a list without tokens. */
static sella_row_list live_tokens(sella_pass *p)
{
    const sella_tree_batch *b = p->batch;
    int n = 0, m = 0;
    int32_t *mark = p->position; // 1: live; read at the end of a parent
    for (int s = 0; s < b->S; s++) {
        const int parent = b->parent_s[s];
        int32_t live = 0;
        /* the nearest ancestor that has a token */
        for (int up = parent; up >= 0; up = b->parent_s[up]) {
            if (b->start_s[up + 1] > b->start_s[up]) {
                live = mark[b->start_s[up + 1] - 1];
                break;
            }
        }
        for (int t = b->start_s[s]; t < b->start_s[s + 1]; t++) {
            while (m < b->M && b->soft_m[m] < t) {
                m++;
            }
            live = live || (m < b->M && b->soft_m[m] == t);
            mark[t] = live;
            if (live) {
                p->live_token[n++] = t;
            }
        }
    }
    return (sella_row_list){n, n == b->T ? NULL : p->live_token};
}

/* danswer -> d: gradient of the residual stream of the distinct answer tokens behind the last
 * layer. */
static void answers_backward(sella_pass *p, const float *danswer)
{
    const int C = p->shape->C, n = p->answers.n;
    memset(p->dh, 0, (size_t)n * (size_t)C * sizeof *p->dh);
    for (int i = 0; i < p->batch->N; i++) {
        sella_axpy(p->dh + (size_t)p->answer_place[p->batch->answer_n[i]] * (size_t)C, 1.0f,
                   danswer + (size_t)i * (size_t)C, (size_t)C);
    }
    memset(p->d, 0, (size_t)n * (size_t)C * sizeof *p->d);
    sella_rmsnorm_backward(p->d, C, p->dh, C, p->final, C, sella_backbone_norm(p->backbone), p->r,
                           n, C);
}

static void soft_backward(const sella_pass *p, sella_row_list live, float *dsoft)
{
    const size_t C = (size_t)p->shape->C;
    for (int m = 0, at = 0; m < p->batch->M; m++) {
        if (live.token) {
            while (live.token[at] < p->batch->soft_m[m]) {
                at++;
            }
        } else {
            at = p->batch->soft_m[m];
        }
        memcpy(dsoft + (size_t)m * C, p->d + (size_t)at * C, C * sizeof *dsoft);
    }
}

sella_status sella_pass_backward(sella_pass *pass, const float *danswer, float *dsoft,
                                 sella_err *err)
{
    const sella_backbone_config *c = pass->shape;
    const sella_tree_batch *b = pass->batch;
    if (b == NULL || !pass->options.backward) {
        return sella_err_set(
            err, SELLA_STATE,
            "a backward pass needs a forward pass before it, of a pass made for backward");
    }
    const bool soft = pass->options.train_soft && b->M > 0;
    const int trained = lowest_trained(pass), low = soft ? 0 : trained;
    if (low == c->layers) {
        return SELLA_OK;
    }
    if (low < pass->from) {
        return sella_err_set(err, SELLA_STATE,
                             "layer %d trains, but the forward pass began at layer %d", low,
                             pass->from);
    }
    const sella_row_list everything = {b->T, NULL};
    const sella_row_list live = trained < c->layers ? everything : live_tokens(pass);
    sella_lap_begin(pass, true);
    answers_backward(pass, danswer);
    sella_lap(pass, SELLA_LAP_NORM);
    for (int l = c->layers - 1; l >= low; l--) {
        const sella_row_list query = l == c->layers - 1 ? pass->answers : live;
        const layer_needs needs = needs_of(pass, l, soft || l > low);
        ffn_backward(pass, l, kept_rows(pass, l, query), needs);
        if (needs.attention) {
            attention_backward(pass, l, query, live, needs);
        }
        if (pass->tile.fault) {
            return sella_pass_fault(pass, err);
        }
        float *d = pass->d;
        pass->d = pass->dx;
        pass->dx = d;
    }
    if (soft && dsoft) {
        soft_backward(pass, live, dsoft);
    }
    sella_lap(pass, SELLA_LAP_REST);
    return SELLA_OK;
}
