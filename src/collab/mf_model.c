/* mf_model.c - matrix factorisation (collab/mf.h) as one of the collaborative models
 * (collab/collab.h).
 *
 * A user never seen has p_u = 0, the mean of trained rows, or (unseen=history without the history
 * part) `scale` times the mean of q over the history, scale fitted on train users: sum_u p_u . m_u
 * / sum_u m_u . m_u, m_u that mean for u.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "collab/collab.h"
#include "collab/mf.h"
#include "kernels/activation.h"
#include "kernels/gemm.h"

typedef struct unseen {
    float *mean_user; /* [C]; NULL before ready */
    float scale;
} unseen;

static sella_mf view_of(const sella_collab *c)
{
    return (sella_mf){.config = {.users = c->config.users,
                                 .items = c->config.items,
                                 .C = c->config.C,
                                 .bias = c->config.bias,
                                 .history = c->config.mf.history,
                                 .init = c->config.init},
                      .table = c->table};
}

static sella_mf_batch batch_of(const sella_collab_batch *batch)
{
    return (sella_mf_batch){.N = batch->N,
                            .user_n = batch->user_n,
                            .item_n = batch->item_n,
                            .history_n = batch->history_n,
                            .history_count_n = batch->history_count_n};
}

static void mf_cost(const sella_collab_config *config, sella_collab_cost *out)
{
    out->parameters = (int64_t)config->C *
                      (config->users + (config->mf.history ? 2 : 1) * (int64_t)config->items);
    out->row_flops = (config->mf.history ? 3.0 : 2.0) * config->C;
}

static sella_status mf_init(sella_collab *c, uint64_t seed, sella_err *err)
{
    sella_mf mf = view_of(c);
    const sella_mf_config config = mf.config;
    c->model = sella_alloc(1, sizeof(unseen), "matrix factorisation", err);
    const sella_status status = c->model ? sella_mf_init(&config, seed, &mf, err) : SELLA_MEMORY;
    if (status == SELLA_OK) {
        c->table = mf.table;
    }
    return status;
}

static void mf_release(sella_collab *c)
{
    unseen *u = c->model;
    if (u) {
        free(u->mean_user);
    }
    free(u);
}

/* ---- users never seen ---- */

/* Mean of q over a history: out [C]. */
static void mean_of_items(const sella_collab *c, const int32_t *history_n, int32_t count,
                          float *out)
{
    const size_t C = (size_t)c->config.C;
    const float *item = sella_param_find(&c->table, "item.weight")->data;
    memset(out, 0, C * sizeof *out);
    for (int32_t j = 0; j < count; j++) {
        sella_axpy(out, 1.0f / (float)count, item + (size_t)history_n[j] * C, C);
    }
}

static sella_status mf_ready(sella_collab *c, const sella_collab_users *users, sella_err *err)
{
    unseen *to = c->model;
    const size_t C = (size_t)c->config.C;
    const float *user = sella_param_find(&c->table, "user.weight")->data;
    sella_param *history = sella_param_find(&c->table, "history.weight");
    double along = 0, square = 0;
    for (int32_t i = 0; history && c->liked_i && i < c->config.items; i++) {
        if (!c->liked_i[i]) {
            memset(history->data + (size_t)i * C, 0, C * sizeof(float));
        }
    }
    if (c->config.unseen == SELLA_UNSEEN_ZERO) {
        return SELLA_OK;
    }
    float *mean = sella_alloc(C, sizeof *mean, "the mean user", err);
    free(to->mean_user);
    to->mean_user = sella_alloc(C, sizeof *to->mean_user, "the mean user", err);
    if (!mean || !to->mean_user) {
        free(mean);
        return SELLA_MEMORY;
    }
    for (int32_t u = 0; u < c->config.users; u++) {
        sella_axpy(to->mean_user, 1.0f / (float)c->config.users, user + (size_t)u * C, C);
        const int64_t start = users ? users->history_start[u] : 0,
                      end = users ? users->history_start[u + 1] : 0;
        const int32_t all = (int32_t)(end - start), most = c->config.history_length;
        const int32_t skip = most > 0 && all > most ? all - most : 0;
        mean_of_items(c, users ? users->history + start + skip : NULL, all - skip, mean);
        along += (double)sella_dot(mean, user + (size_t)u * C, (int)C);
        square += (double)sella_dot(mean, mean, (int)C);
    }
    to->scale = square > 0 ? (float)(along / square) : 0;
    free(mean);
    return SELLA_OK;
}

/* What the rule adds to users never seen: to their logits z [N] and their vectors [N, C]; either
 * may be NULL. */
static void add_unseen(const sella_collab *c, const sella_collab_batch *batch, float *z,
                       float *user)
{
    const unseen *rule = c->model;
    const size_t C = (size_t)c->config.C;
    const float *item = sella_param_find(&c->table, "item.weight")->data;
    const bool mean = c->config.unseen == SELLA_UNSEEN_MEAN,
               fold = c->config.unseen == SELLA_UNSEEN_HISTORY && !c->config.mf.history;
    if (!(mean || fold) || !rule->mean_user) {
        return;
    }
#pragma omp parallel for schedule(static)
    for (int n = 0; n < batch->N; n++) {
        if (batch->user_n[n] >= 0) {
            continue;
        }
        const int32_t count = batch->history_count_n[n], i = z ? batch->item_n[n] : -1;
        for (size_t k = 0; k < C; k++) {
            float add = rule->mean_user[k];
            if (fold) {
                add = 0;
                for (int32_t j = 0; j < count; j++) {
                    add += item[(size_t)batch->history_n[n][j] * C + k];
                }
                add *= count > 0 ? rule->scale / (float)count : 0;
            }
            if (z && i >= 0) {
                z[n] += add * item[(size_t)i * C + k];
            }
            if (user) {
                user[(size_t)n * C + k] += add;
            }
        }
    }
}

/* ---- the model ---- */

static sella_status mf_forward(sella_collab *c, const sella_collab_batch *batch,
                               sella_collab_pass *pass, float *z, sella_err *err)
{
    const sella_mf mf = view_of(c);
    const sella_mf_batch rows = batch_of(batch);
    (void)pass;
    (void)err;
    sella_mf_forward(&mf, &rows, z, NULL);
    add_unseen(c, batch, z, NULL);
    return SELLA_OK;
}

static sella_status mf_backward(sella_collab *c, const sella_collab_batch *batch,
                                sella_collab_pass *pass, const float *dz, sella_err *err)
{
    sella_mf mf = view_of(c);
    const sella_mf_batch rows = batch_of(batch);
    (void)pass;
    (void)err;
    sella_mf_backward(&mf, &rows, dz, NULL, NULL);
    return SELLA_OK;
}

static sella_status mf_vectors(const sella_collab *c, const sella_collab_batch *batch,
                               sella_collab_pass *pass, float *user, float *item, sella_err *err)
{
    const sella_mf mf = view_of(c);
    sella_mf_batch rows = batch_of(batch);
    (void)pass;
    if (item) {
        sella_collab_rows_take(sella_param_find(&c->table, "item.weight"), batch->item_n, batch->N,
                               item);
    }
    if (user) {
        float *z = sella_alloc((size_t)batch->N, sizeof *z, "logits", err);
        int32_t *nothing = sella_alloc((size_t)batch->N, sizeof *nothing, "logits", err);
        if (!z || !nothing) {
            free(z);
            free(nothing);
            return SELLA_MEMORY;
        }
        memset(nothing, 0xff, (size_t)batch->N * sizeof *nothing); // -1: mf.h also makes logits
        rows.item_n = nothing;
        sella_mf_forward(&mf, &rows, z, user);
        add_unseen(c, batch, NULL, user);
        free(z);
        free(nothing);
    }
    return SELLA_OK;
}

static sella_status mf_vectors_backward(sella_collab *c, const sella_collab_batch *batch,
                                        sella_collab_pass *pass, const float *duser,
                                        const float *ditem, sella_err *err)
{
    sella_mf mf = view_of(c);
    sella_mf_batch rows = batch_of(batch);
    (void)pass;
    if (ditem) {
        sella_collab_rows_give(sella_param_find(&c->table, "item.weight"), batch->item_n, batch->N,
                               1, ditem);
    }
    if (duser) {
        int32_t *nothing = sella_alloc((size_t)batch->N, sizeof *nothing, "a batch", err);
        if (!nothing) {
            return SELLA_MEMORY;
        }
        memset(nothing, 0xff, (size_t)batch->N * sizeof *nothing);
        rows.item_n = nothing;
        sella_mf_backward(&mf, &rows, NULL, duser, NULL);
        free(nothing);
    }
    return SELLA_OK;
}

const sella_collab_ops sella_collab_mf = {
    .name = "mf",
    .product = true,
    .cost = mf_cost,
    .init = mf_init,
    .release = mf_release,
    .ready = mf_ready,
    .vectors = mf_vectors,
    .vectors_backward = mf_vectors_backward,
    .forward = mf_forward,
    .backward = mf_backward,
};
