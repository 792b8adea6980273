/* collab.c - what all collaborative models share: making one, biases, products of vectors, rows of
 * tables (collab/collab.h).
 *
 * Two rows of a batch may name one row of a table. So threads share columns there, not rows: each
 * element of a gradient is summed by one thread in the batch's order, whatever their number.
 */
#include "collab/collab.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "kernels/gemm.h"

enum {
    COLUMNS = 32,    /* of one task: two cache lines */
    SMALL = 1 << 16, /* values that are not worth waking threads for */
    SCORED = 1024    /* rows of a piece of a model that sets no limit */
};

static const sella_collab_ops *const models[] = {&sella_collab_mf, &sella_collab_lightgcn,
                                                 &sella_collab_sasrec, &sella_collab_din};
enum { MODELS = sizeof models / sizeof models[0] };

const sella_collab_ops *sella_collab_find(const char *name)
{
    for (int i = 0; i < MODELS; i++) {
        if (strcmp(models[i]->name, name) == 0) {
            return models[i];
        }
    }
    return NULL;
}

bool sella_collab_reads_history(const sella_collab_ops *ops, const sella_collab_config *config)
{
    return ops->sequence || (ops == &sella_collab_mf && config->mf.history);
}

/* ---- life ---- */

sella_status sella_collab_check(const char *name, const sella_collab_config *config, sella_err *err)
{
    const sella_collab_ops *ops = sella_collab_find(name);
    if (!ops) {
        return sella_err_set(err, SELLA_ARG, "collaborative model '%s' is unknown", name);
    }
    if (config->users < 1 || config->items < 1 || config->C < 1 ||
        config->C > SELLA_COLLAB_WIDTH_MAX) {
        return sella_err_set(err, SELLA_ARG,
                             "%s of %d users, %d items, width %d; expected at least one each and a "
                             "width of at most %d",
                             name, config->users, config->items, config->C, SELLA_COLLAB_WIDTH_MAX);
    }
    if (!(config->init >= 0 && isfinite(config->init)) ||
        !(config->dropout >= 0 && config->dropout < 1)) {
        return sella_err_set(err, SELLA_ARG,
                             "%s starts with standard deviation %g and has dropout %g; expected 0 "
                             "or more, and 0 to less than 1",
                             name, config->init, config->dropout);
    }
    return ops->check ? ops->check(config, err) : SELLA_OK;
}

sella_status sella_collab_new(const char *name, const sella_collab_config *config, uint64_t seed,
                              sella_collab **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_collab *c = NULL;
    *out = NULL;
    SELLA_TRY(sella_collab_check(name, config, err));
    c = sella_alloc(1, sizeof *c, "a collaborative model", err);
    if (!c) {
        return SELLA_MEMORY;
    }
    c->ops = sella_collab_find(name);
    c->config = *config;
    sella_param_table_init(&c->table);
    sella_param_table_init(&c->derived);
    SELLA_TRY(c->ops->init(c, seed, err));
    if (config->bias && !c->ops->forward) {
        SELLA_TRY(sella_param_add(&c->table, "user.bias", config->users, 0, err));
        SELLA_TRY(sella_param_add(&c->table, "item.bias", config->items, 0, err));
        SELLA_TRY(sella_param_add(&c->table, "global.bias", 1, 0, err));
    }
    for (int i = 0; i < c->derived.count; i++) {
        SELLA_TRY(sella_param_train(&c->derived.param[i], false, err));
    }
    *out = c;
    c = NULL;
done:
    sella_collab_free(c);
    return status;
}

void sella_collab_free(sella_collab *c)
{
    if (!c) {
        return;
    }
    if (c->ops->release) {
        c->ops->release(c);
    }
    sella_param_table_release(&c->table);
    sella_param_table_release(&c->derived);
    free(c->seen_i);
    free(c->liked_i);
    free(c);
}

void sella_collab_cost_of(const char *name, const sella_collab_config *config,
                          sella_collab_cost *out)
{
    const sella_collab_ops *ops = sella_collab_find(name);
    assert(ops);
    *out = (sella_collab_cost){0};
    ops->cost(config, out);
    out->parameters += config->bias ? (int64_t)config->users + config->items + 1 : 0;
}

/* ---- before and after training ---- */

sella_status sella_collab_prepare(sella_collab *c, const sella_collab_train *train, sella_err *err)
{
    const sella_interactions *rows = &train->rows;
    free(c->seen_i);
    free(c->liked_i);
    c->seen_i = sella_alloc((size_t)c->config.items, 1, "items of train", err);
    c->liked_i = sella_alloc((size_t)c->config.items, 1, "items of train", err);
    if (!c->seen_i || !c->liked_i) {
        return SELLA_MEMORY;
    }
    for (int64_t r = 0; r < rows->rows; r++) {
        const int32_t u = rows->user_n[r], i = rows->item_n[r];
        if (u < 0 || u >= c->config.users || i < 0 || i >= c->config.items) {
            return sella_err_set(
                err, SELLA_ARG,
                "row %lld of train names user %d, item %d; expected 0 to %d and 0 to %d",
                (long long)r + 1, u, i, c->config.users - 1, c->config.items - 1);
        }
        c->seen_i[i] = 1;
        c->liked_i[i] |= !train->history_n && rows->label_n[r] != 0;
        for (int32_t j = 0; train->history_n && j < train->history_count_n[r]; j++) {
            c->liked_i[train->history_n[r][j]] = 1;
        }
    }
    c->prepared = true;
    return c->ops->prepare ? c->ops->prepare(c, train, err) : SELLA_OK;
}

void sella_collab_settle(const sella_collab *c, float *item)
{
    const size_t C = (size_t)c->config.C;
    const int32_t items = c->config.items;
    int64_t seen = 0;
    for (int32_t i = 0; i < items; i++) {
        seen += c->seen_i[i];
    }
    for (size_t k = 0; k < C; k++) {
        double mean = 0;
        for (int32_t i = 0; c->config.unseen != SELLA_UNSEEN_ZERO && i < items; i++) {
            mean += c->seen_i[i] ? (double)item[(size_t)i * C + k] : 0;
        }
        mean = seen > 0 ? mean / (double)seen : 0;
        for (int32_t i = 0; i < items; i++) {
            if (!c->seen_i[i]) {
                item[(size_t)i * C + k] = (float)mean;
            }
        }
    }
}

sella_status sella_collab_start_biases(sella_collab *c, const sella_interactions *train,
                                       const sella_item_text *text, sella_err *err)
{
    static const char *const names[] = {"user.bias", "item.bias", "global.bias"};
    sella_status status = SELLA_OK;
    sella_param_table control;
    sella_param_table_init(&control);
    SELLA_TRY(sella_bias_fit(train, c->config.users, c->config.items, text, &control, err));
    for (int i = 0; i < 3; i++) {
        const sella_param *from = sella_param_find(&control, names[i]);
        memcpy(sella_param_find(&c->table, names[i])->data, from->data,
               from->count * sizeof(float));
    }
done:
    sella_param_table_release(&control);
    return status;
}

sella_status sella_collab_ready(sella_collab *c, const sella_collab_users *users, sella_err *err)
{
    sella_param *item = sella_param_find(&c->table, "item.weight");
    if (c->prepared && item) {
        sella_collab_settle(c, item->data);
    }
    return c->ops->ready ? c->ops->ready(c, users, err) : SELLA_OK;
}

/* ---- logits ---- */

static sella_status pass_for(const sella_collab *c, sella_collab_pass *pass, size_t room,
                             sella_err *err)
{
    if (pass->ops != c->ops) {
        sella_collab_pass_release(pass);
        pass->ops = c->ops;
    }
    if (room > pass->room) {
        free(pass->user);
        free(pass->item);
        pass->room = 0;
        pass->user = sella_alloc(room, sizeof(float), "vectors of a batch", err);
        pass->item = sella_alloc(room, sizeof(float), "vectors of a batch", err);
        if (!pass->user || !pass->item) {
            return SELLA_MEMORY;
        }
        pass->room = room;
    }
    return SELLA_OK;
}

void sella_collab_pass_release(sella_collab_pass *pass)
{
    free(pass->user);
    free(pass->item);
    if (pass->kept && pass->ops->kept_free) {
        pass->ops->kept_free(pass->kept);
    }
    *pass = (sella_collab_pass){0};
}

sella_status sella_collab_forward(sella_collab *c, const sella_collab_batch *batch,
                                  sella_collab_pass *pass, float *z, sella_err *err)
{
    sella_status status = SELLA_OK;
    const size_t C = (size_t)c->config.C;
    assert(!batch->backward || c->prepared || !c->ops->prepare);
    if (c->ops->forward) {
        SELLA_TRY(pass_for(c, pass, 0, err));
        return c->ops->forward(c, batch, pass, z, err);
    }
    SELLA_TRY(pass_for(c, pass, (size_t)batch->N * C, err));
    SELLA_TRY(c->ops->vectors(c, batch, pass, pass->user, pass->item, err));
#pragma omp parallel for schedule(static) if ((size_t)batch->N * C > SMALL)
    for (int n = 0; n < batch->N; n++) {
        z[n] = sella_dot(pass->user + (size_t)n * C, pass->item + (size_t)n * C, (int)C);
    }
    sella_collab_bias_forward(c, batch, z);
done:
    return status;
}

sella_status sella_collab_backward(sella_collab *c, const sella_collab_batch *batch,
                                   sella_collab_pass *pass, const float *dz, sella_err *err)
{
    const size_t C = (size_t)c->config.C;
    assert(batch->backward && pass->ops == c->ops);
    if (c->ops->backward) {
        return c->ops->backward(c, batch, pass, dz, err);
    }
    // p and q change places: each becomes the gradient of the other
#pragma omp parallel for schedule(static) if ((size_t)batch->N * C > SMALL)
    for (int n = 0; n < batch->N; n++) {
        float *p = pass->user + (size_t)n * C, *q = pass->item + (size_t)n * C;
        for (size_t k = 0; k < C; k++) {
            const float dp = dz[n] * q[k];
            q[k] = dz[n] * p[k];
            p[k] = dp;
        }
    }
    sella_collab_bias_backward(c, batch, dz);
    return c->ops->vectors_backward(c, batch, pass, pass->user, pass->item, err);
}

sella_status sella_collab_vectors(const sella_collab *c, const sella_collab_batch *batch,
                                  sella_collab_pass *pass, float *user, float *item, sella_err *err)
{
    const size_t C = (size_t)c->config.C;
    const int most = c->ops->piece > 0 ? c->ops->piece : SCORED;
    sella_status status = pass_for(c, pass, 0, err);
    if (batch->backward || !user) { // item vectors are rows of a table: nothing is kept of them
        return status == SELLA_OK ? c->ops->vectors(c, batch, pass, user, item, err) : status;
    }
    for (int first = 0; first < batch->N && status == SELLA_OK; first += most) {
        const sella_collab_batch piece =
            sella_collab_piece(batch, first, batch->N - first < most ? batch->N - first : most);
        const size_t at = (size_t)first * C;
        status = c->ops->vectors(c, &piece, pass, user + at, item ? item + at : NULL, err);
    }
    return status;
}

sella_status sella_collab_vectors_backward(sella_collab *c, const sella_collab_batch *batch,
                                           sella_collab_pass *pass, const float *duser,
                                           const float *ditem, sella_err *err)
{
    if (!c->ops->vectors_backward) {
        return sella_err_set(err, SELLA_UNSUPPORTED, "%s is not trained through its vectors",
                             c->ops->name);
    }
    assert(batch->backward && pass->ops == c->ops);
    return c->ops->vectors_backward(c, batch, pass, duser, ditem, err);
}

sella_collab_batch sella_collab_piece(const sella_collab_batch *batch, int first, int N)
{
    sella_collab_batch piece = *batch;
    piece.N = N;
    piece.user_n = batch->user_n + first;
    piece.item_n = batch->item_n ? batch->item_n + first : NULL;
    piece.history_n = batch->history_n + first;
    piece.history_count_n = batch->history_count_n + first;
    return piece;
}

sella_status sella_collab_score(sella_collab *c, const sella_collab_batch *batch, float *z,
                                sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_collab_pass pass = {0};
    const int most = c->ops->piece > 0 ? c->ops->piece : SCORED;
    for (int first = 0; first < batch->N && status == SELLA_OK; first += most) {
        sella_collab_batch piece =
            sella_collab_piece(batch, first, batch->N - first < most ? batch->N - first : most);
        piece.backward = piece.dropout = false;
        status = sella_collab_forward(c, &piece, &pass, z + first, err);
    }
    sella_collab_pass_release(&pass);
    return status;
}

/* Every row of one user and history with its own item. */
static sella_status scan_rows(sella_collab *c, const sella_collab_batch *who, const int32_t *item_n,
                              int32_t N, float *z, sella_err *err)
{
    sella_status status = SELLA_MEMORY;
    const size_t n = (size_t)N;
    int32_t *user = sella_alloc(2 * n, sizeof *user, "a scan", err), *count = user + n;
    const int32_t **history = sella_alloc(n, sizeof *history, "a scan", err);
    if (user && history) {
        for (size_t k = 0; k < n; k++) {
            user[k] = who->user_n[0];
            count[k] = who->history_count_n[0];
            history[k] = who->history_n[0];
        }
        const sella_collab_batch batch = {.N = N,
                                          .user_n = user,
                                          .item_n = item_n,
                                          .history_n = history,
                                          .history_count_n = count};
        status = sella_collab_score(c, &batch, z, err);
    }
    free(user);
    free(history);
    return status;
}

sella_status sella_collab_scan(sella_collab *c, const sella_collab_batch *who,
                               const int32_t *item_n, int32_t N, float *z, sella_err *err)
{
    sella_status status = SELLA_OK;
    const size_t C = (size_t)c->config.C;
    sella_collab_pass pass = {0};
    if (!c->ops->product) {
        return scan_rows(c, who, item_n, N, z, err);
    }
    const sella_param *item = sella_param_find(&c->derived, "item.weight"),
                      *bias = sella_param_find(&c->table, "item.bias");
    item = item ? item : sella_param_find(&c->table, "item.weight");
    const int32_t nothing = -1;
    sella_collab_batch one = *who;
    one.item_n = &nothing;
    one.backward = one.dropout = false;
    float base = 0, *x = sella_alloc(C, sizeof *x, "a user's vector", err);
    if (!x) {
        return SELLA_MEMORY;
    }
    SELLA_TRY(sella_collab_vectors(c, &one, &pass, x, NULL, err));
    sella_collab_bias_forward(c, &one, &base);
#pragma omp parallel for schedule(static) if ((size_t)N * C > SMALL)
    for (int32_t n = 0; n < N; n++) {
        const size_t i = (size_t)item_n[n];
        z[n] = base + sella_dot(x, item->data + i * C, (int)C) + (bias ? bias->data[i] : 0.0f);
    }
done:
    free(x);
    sella_collab_pass_release(&pass);
    return status;
}

/* ---- for models ---- */

void sella_collab_bias_forward(const sella_collab *c, const sella_collab_batch *batch, float *z)
{
    const sella_param *user = sella_param_find(&c->table, "user.bias"),
                      *item = sella_param_find(&c->table, "item.bias"),
                      *global = sella_param_find(&c->table, "global.bias");
    for (int n = 0; global && n < batch->N; n++) {
        const int32_t u = batch->user_n[n], i = batch->item_n[n];
        z[n] += global->data[0] + (u >= 0 ? user->data[u] : 0.0f) + (i >= 0 ? item->data[i] : 0.0f);
    }
}

void sella_collab_bias_backward(sella_collab *c, const sella_collab_batch *batch, const float *dz)
{
    sella_param *user = sella_param_find(&c->table, "user.bias"),
                *item = sella_param_find(&c->table, "item.bias"),
                *global = sella_param_find(&c->table, "global.bias");
    double sum = 0;
    for (int n = 0; global && n < batch->N; n++) {
        const int32_t u = batch->user_n[n], i = batch->item_n[n];
        sum += (double)dz[n];
        if (u >= 0 && user->grad) {
            user->grad[u] += dz[n];
        }
        if (i >= 0 && item->grad) {
            item->grad[i] += dz[n];
        }
    }
    if (global && global->grad) {
        global->grad[0] += (float)sum;
    }
}

void sella_collab_rows_take(const sella_param *param, const int32_t *row_n, int n, float *out)
{
    const size_t C = (size_t)param->shape[1];
#pragma omp parallel for schedule(static) if ((size_t)n * C > SMALL)
    for (int k = 0; k < n; k++) {
        float *to = out + (size_t)k * C;
        if (row_n[k] >= 0) {
            memcpy(to, param->data + (size_t)row_n[k] * C, C * sizeof *to);
        } else {
            memset(to, 0, C * sizeof *to);
        }
    }
}

void sella_collab_rows_give(sella_param *param, const int32_t *row_n, int n, float a,
                            const float *drows)
{
    const size_t C = (size_t)param->shape[1];
    if (!param->grad) {
        return;
    }
#pragma omp parallel for schedule(static) if ((size_t)n * C > SMALL)
    for (size_t c0 = 0; c0 < C; c0 += COLUMNS) {
        const size_t width = C - c0 < COLUMNS ? C - c0 : COLUMNS;
        for (int k = 0; k < n; k++) {
            if (row_n[k] >= 0) {
                float *restrict to = param->grad + (size_t)row_n[k] * C + c0;
                const float *restrict from = drows + (size_t)k * C + c0;
                for (size_t c = 0; c < width; c++) {
                    to[c] += a * from[c];
                }
            }
        }
    }
}

void sella_collab_normal(sella_param_table *table, const char *name, uint64_t seed,
                         double deviation)
{
    sella_param *param = sella_param_find(table, name);
    assert(param);
    const sella_rng rng = {
        .seed = seed, .stream = SELLA_STREAM_INIT, .a = (uint32_t)(param - table->param)};
    const int64_t count = (int64_t)param->count;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) {
        param->data[i] = (float)(deviation * sella_rng_normal(&rng, (uint64_t)i));
    }
}
