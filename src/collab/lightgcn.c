/* lightgcn.c - LightGCN: vectors spread over the graph of train positives, without weights or
 * activations (collab/collab.h; He et al. 2020).
 *
 *   E^(0) = [users; items] trained;  E^(k+1) = A E^(k),  A_ui = 1 / sqrt(d_u d_i) for a positive
 *   (u, i), each once [P; Q] = (E^(0) + ... + E^(K)) / (K + 1);  z = p_u . q_i [+ biases]
 *
 * A is symmetric, so the backward pass is the same sum over powers of A applied to the gradient of
 * [P; Q].
 *
 * A user never seen is one more node that nothing flows out of, with E^(0) = 0: p = |H|^-1/2 sum_{i
 * in H} f_i with f_i = d_i^-1/2 (E_i^(0) + ... + E_i^(K-1)) / (K + 1). So scoring needs P, Q and f
 * alone: `user.weight`, `item.weight` and `lightgcn.history.weight` are the derived tensors, and no
 * graph is stored.
 */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "collab/collab.h"
#include "kernels/activation.h"

enum { LAYERS_MAX = 16 };

/* Rows of the two tables. */
enum { USER0, ITEM0 };
enum { USER, ITEM, HISTORY };

typedef struct graph {
    int64_t *start_v;  /* [V + 1] into to, V = users + items, items after users */
    int32_t *to;       /* neighbours, ascending */
    float *scale_v;    /* [V] d^-1/2, 0 without neighbours */
    float *mean_user;  /* [C] of derived users; unseen=mean */
} graph;

/* ---- the tables ---- */

static sella_status lightgcn_check(const sella_collab_config *config, sella_err *err)
{
    if (config->lightgcn.layers < 0 || config->lightgcn.layers > LAYERS_MAX) {
        return sella_err_set(err, SELLA_ARG, "lightgcn of %d layers; expected 0 to %d",
                             config->lightgcn.layers, LAYERS_MAX);
    }
    return SELLA_OK;
}

static void lightgcn_cost(const sella_collab_config *config, sella_collab_cost *out)
{
    const size_t table = ((size_t)config->users + (size_t)config->items) * (size_t)config->C;
    out->parameters = (int64_t)table;
    out->row_flops = 2.0 * config->C;
    /* and two operations for an edge: not known here */
    out->step_flops = (double)table * (2.0 * config->lightgcn.layers);
    out->row_bytes = 2 * (size_t)config->C * sizeof(float);
    /* three arrays of a pass, derived tables */
    out->model_bytes = (3 * table + table) * sizeof(float);
}

static sella_status lightgcn_init(sella_collab *c, uint64_t seed, sella_err *err)
{
    sella_status status = SELLA_OK;
    const int32_t users = c->config.users, items = c->config.items;
    const int C = c->config.C;
    c->model = sella_alloc(1, sizeof(graph), "a graph", err);
    if (!c->model) {
        return SELLA_MEMORY;
    }
    SELLA_TRY(sella_param_add(&c->table, "lightgcn.user.weight", users, C, err));
    SELLA_TRY(sella_param_add(&c->table, "lightgcn.item.weight", items, C, err));
    SELLA_TRY(sella_param_add(&c->derived, "user.weight", users, C, err));
    SELLA_TRY(sella_param_add(&c->derived, "item.weight", items, C, err));
    SELLA_TRY(sella_param_add(&c->derived, "lightgcn.history.weight", items, C, err));
    sella_collab_normal(&c->table, "lightgcn.user.weight", seed, c->config.init);
    sella_collab_normal(&c->table, "lightgcn.item.weight", seed, c->config.init);
done:
    return status;
}

static void graph_release(graph *g)
{
    free(g->start_v);
    free(g->to);
    free(g->scale_v);
    free(g->mean_user);
    *g = (graph){0};
}

static void lightgcn_release(sella_collab *c)
{
    if (c->model) {
        graph_release(c->model);
    }
    free(c->model);
}

/* ---- the graph ---- */

static int compare_node(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Both ends of every positive row into g->to; then each node's list sorted, repeated neighbours
 * left out. */
static void fill_edges(graph *g, const sella_interactions *rows, int32_t users, int32_t V,
                       int64_t *cursor_v)
{
    for (int64_t r = 0; r < rows->rows; r++) {
        if (rows->label_n[r]) {
            const int32_t u = rows->user_n[r], i = users + rows->item_n[r];
            g->to[cursor_v[u]++] = i;
            g->to[cursor_v[i]++] = u;
        }
    }
    int64_t kept = 0;
    for (int32_t v = 0; v < V; v++) {
        const int64_t first = g->start_v[v], end = g->start_v[v + 1], begin = kept;
        qsort(g->to + first, (size_t)(end - first), sizeof *g->to, compare_node);
        for (int64_t e = first; e < end; e++) {
            if (e == first || g->to[e] != g->to[e - 1]) {
                g->to[kept++] = g->to[e];
            }
        }
        g->start_v[v] = begin;
    }
    g->start_v[V] = kept;
    for (int32_t v = 0; v < V; v++) {
        const int64_t degree = g->start_v[v + 1] - g->start_v[v];
        g->scale_v[v] = degree > 0 ? 1.0f / sqrtf((float)degree) : 0.0f;
    }
}

static sella_status lightgcn_prepare(sella_collab *c, const sella_collab_train *train,
                                     sella_err *err)
{
    const sella_interactions *rows = &train->rows;
    const int32_t users = c->config.users, V = users + c->config.items;
    graph *g = c->model;
    int64_t positives = 0;
    graph_release(g);
    int64_t *cursor = sella_alloc((size_t)V, sizeof *cursor, "a graph", err);
    g->start_v = sella_alloc((size_t)V + 1, sizeof *g->start_v, "a graph", err);
    g->scale_v = sella_alloc((size_t)V, sizeof *g->scale_v, "a graph", err);
    for (int64_t r = 0; r < rows->rows; r++) {
        positives += rows->label_n[r] != 0;
    }
    g->to = sella_alloc((size_t)positives * 2, sizeof *g->to, "a graph", err);
    if (!cursor || !g->start_v || !g->scale_v || !g->to) {
        free(cursor);
        return SELLA_MEMORY;
    }
    for (int64_t r = 0; r < rows->rows; r++) {
        if (rows->label_n[r]) {
            g->start_v[rows->user_n[r] + 1]++;
            g->start_v[users + rows->item_n[r] + 1]++;
        }
    }
    for (int32_t v = 0; v < V; v++) {
        g->start_v[v + 1] += g->start_v[v];
        cursor[v] = g->start_v[v];
    }
    fill_edges(g, rows, users, V, cursor);
    free(cursor);
    return SELLA_OK;
}

/* y [V, C] = A x. Each node's sum is one thread's, in the order of its neighbours. */
static void spread(const graph *g, int32_t V, size_t C, const float *x, float *y)
{
#pragma omp parallel for schedule(dynamic, 64)
    for (int32_t v = 0; v < V; v++) {
        float *restrict to = y + (size_t)v * C;
        memset(to, 0, C * sizeof *to);
        for (int64_t e = g->start_v[v]; e < g->start_v[v + 1]; e++) {
            const int32_t w = g->to[e];
            const float a = g->scale_v[v] * g->scale_v[w];
            const float *restrict from = x + (size_t)w * C;
            for (size_t k = 0; k < C; k++) {
                to[k] += a * from[k];
            }
        }
    }
}

/* x [V, C] becomes (x + A x + ... + A^K x) / (K + 1); before [V, C] or NULL: (x + ... + A^(K-1) x)
 * / (K + 1). layer, next: scratch [V, C]. */
static void propagate(const sella_collab *c, float *x, float *before, float *layer, float *next)
{
    const graph *g = c->model;
    const int K = c->config.lightgcn.layers;
    const int32_t V = c->config.users + c->config.items;
    const size_t C = (size_t)c->config.C, count = (size_t)V * C;
    const float share = 1.0f / (float)(K + 1);
    memcpy(layer, x, count * sizeof *x);
    for (int k = 0; k < K; k++) {
        if (before && k == K - 1) {
            memcpy(before, x, count * sizeof *x);
        }
        spread(g, V, C, layer, next);
        sella_axpy(x, 1, next, count);
        float *swap = layer;
        layer = next;
        next = swap;
    }
    if (before && K > 0) {
        sella_scale(before, share, count);
    }
    sella_scale(x, share, count);
}

/* ---- what a pass keeps ---- */

typedef struct kept {
    float *x, *layer, *next; /* [V, C]: propagated, scratch */
} kept;

static void kept_free(void *opaque)
{
    kept *k = opaque;
    free(k->x);
    free(k->layer);
    free(k->next);
    free(k);
}

static sella_status kept_new(const sella_collab *c, kept **out, sella_err *err)
{
    const size_t count = ((size_t)c->config.users + (size_t)c->config.items) * (size_t)c->config.C;
    kept *k = *out = sella_alloc(1, sizeof *k, "a pass of lightgcn", err);
    if (!k) {
        return SELLA_MEMORY;
    }
    k->x = sella_alloc(count, sizeof(float), "a pass of lightgcn", err);
    k->layer = sella_alloc(count, sizeof(float), "a pass of lightgcn", err);
    k->next = sella_alloc(count, sizeof(float), "a pass of lightgcn", err);
    if (!k->x || !k->layer || !k->next) {
        kept_free(k);
        *out = NULL;
        return SELLA_MEMORY;
    }
    return SELLA_OK;
}

/* E^(0), users first: x [V, C]. */
static void start_vectors(const sella_collab *c, float *x)
{
    const sella_param *user = &c->table.param[USER0], *item = &c->table.param[ITEM0];
    memcpy(x, user->data, user->count * sizeof *x);
    memcpy(x + user->count, item->data, item->count * sizeof *x);
}

static sella_status derive(sella_collab *c, sella_err *err)
{
    const graph *g = c->model;
    const size_t C = (size_t)c->config.C, users = (size_t)c->config.users * C,
                 items = (size_t)c->config.items * C;
    kept *k;
    float *before = sella_alloc(users + items, sizeof *before, "propagated vectors", err);
    const sella_status status = before ? kept_new(c, &k, err) : SELLA_MEMORY;
    if (status != SELLA_OK) {
        free(before);
        return status;
    }
    start_vectors(c, k->x);
    propagate(c, k->x, before, k->layer, k->next);
    memcpy(c->derived.param[USER].data, k->x, users * sizeof(float));
    memcpy(c->derived.param[ITEM].data, k->x + users, items * sizeof(float));
    for (int32_t i = 0; i < c->config.items; i++) {
        for (size_t d = 0; d < C; d++) {
            c->derived.param[HISTORY].data[(size_t)i * C + d] =
                g->scale_v[c->config.users + i] * before[users + (size_t)i * C + d];
        }
    }
    sella_collab_settle(c, c->derived.param[ITEM].data);
    kept_free(k);
    free(before);
    return SELLA_OK;
}

static sella_status lightgcn_ready(sella_collab *c, const sella_collab_users *users, sella_err *err)
{
    graph *g = c->model;
    const size_t C = (size_t)c->config.C;
    (void)users;
    if (c->prepared) {
        const sella_status status = derive(c, err);
        if (status != SELLA_OK) {
            return status;
        }
    }
    free(g->mean_user);
    g->mean_user = sella_alloc(C, sizeof *g->mean_user, "the mean user", err);
    for (int32_t u = 0; g->mean_user && u < c->config.users; u++) {
        sella_axpy(g->mean_user, 1.0f / (float)c->config.users,
                   c->derived.param[USER].data + (size_t)u * C, C);
    }
    return g->mean_user ? SELLA_OK : SELLA_MEMORY;
}

/* ---- forward ---- */

static void unseen_user(const sella_collab *c, const sella_collab_batch *batch, int n, float *out)
{
    const graph *g = c->model;
    const size_t C = (size_t)c->config.C;
    const int32_t count = batch->history_count_n[n];
    memset(out, 0, C * sizeof *out);
    if (c->config.unseen == SELLA_UNSEEN_MEAN && g->mean_user) {
        memcpy(out, g->mean_user, C * sizeof *out);
    }
    for (int32_t j = 0; c->config.unseen == SELLA_UNSEEN_HISTORY && j < count; j++) {
        const float *f = c->derived.param[HISTORY].data + (size_t)batch->history_n[n][j] * C;
        for (size_t k = 0; k < C; k++) {
            out[k] += f[k] / sqrtf((float)count);
        }
    }
}

/* Rows of [V, C] or of the derived tables. */
static sella_status lightgcn_vectors(const sella_collab *c, const sella_collab_batch *batch,
                                     sella_collab_pass *pass, float *user, float *item,
                                     sella_err *err)
{
    const size_t C = (size_t)c->config.C;
    const float *p = c->derived.param[USER].data, *q = c->derived.param[ITEM].data;
    if (batch->backward) {
        kept *k = pass->kept;
        if (!k) {
            const sella_status status = kept_new(c, &k, err);
            if (status != SELLA_OK) {
                return status;
            }
            pass->kept = k;
        }
        start_vectors(c, k->x);
        propagate(c, k->x, NULL, k->layer, k->next);
        p = k->x;
        q = k->x + (size_t)c->config.users * C;
    }
#pragma omp parallel for schedule(static)
    for (int n = 0; n < batch->N; n++) {
        const int32_t u = user ? batch->user_n[n] : -1, i = item ? batch->item_n[n] : -1;
        if (user && u >= 0) {
            memcpy(user + (size_t)n * C, p + (size_t)u * C, C * sizeof *user);
        } else if (user) {
            unseen_user(c, batch, n, user + (size_t)n * C);
        }
        if (item && i >= 0) {
            memcpy(item + (size_t)n * C, q + (size_t)i * C, C * sizeof *item);
        } else if (item) {
            memset(item + (size_t)n * C, 0, C * sizeof *item);
        }
    }
    return SELLA_OK;
}

/* ---- backward ---- */

static sella_status lightgcn_vectors_backward(sella_collab *c, const sella_collab_batch *batch,
                                              sella_collab_pass *pass, const float *duser,
                                              const float *ditem, sella_err *err)
{
    kept *k = pass->kept;
    const size_t C = (size_t)c->config.C, users = (size_t)c->config.users * C,
                 items = (size_t)c->config.items * C;
    sella_param *user = &c->table.param[USER0], *item = &c->table.param[ITEM0];
    (void)err;
    assert(k);
    if (!user->grad && !item->grad) {
        return SELLA_OK;
    }
    memset(k->x, 0, (users + items) * sizeof *k->x);
    sella_param p = {.shape = {c->config.users, c->config.C}, .grad = k->x},
                q = {.shape = {c->config.items, c->config.C}, .grad = k->x + users};
    if (duser) {
        sella_collab_rows_give(&p, batch->user_n, batch->N, 1, duser);
    }
    if (ditem) {
        sella_collab_rows_give(&q, batch->item_n, batch->N, 1, ditem);
    }
    propagate(c, k->x, NULL, k->layer, k->next);
    if (user->grad) {
        sella_axpy(user->grad, 1, k->x, users);
    }
    if (item->grad) {
        sella_axpy(item->grad, 1, k->x + users, items);
    }
    return SELLA_OK;
}

const sella_collab_ops sella_collab_lightgcn = {
    .name = "lightgcn",
    .product = true,
    .check = lightgcn_check,
    .cost = lightgcn_cost,
    .init = lightgcn_init,
    .release = lightgcn_release,
    .prepare = lightgcn_prepare,
    .ready = lightgcn_ready,
    .vectors = lightgcn_vectors,
    .vectors_backward = lightgcn_vectors_backward,
    .kept_free = kept_free,
};
