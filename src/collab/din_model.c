/* din_model.c - din behind the interface of collaborative models (collab/collab.h, collab/din.h).
 *
 * The user vector is the interest v of the row in its own target, so it depends on the item of the
 * row; the item vector is q. The logit is not their product: din has a forward of its own, to which
 * the biases add. The vectors do not read the user's row nor the top network. Without dropout the
 * running statistics of Dice are used, also where a backward pass follows: they are constants then.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "collab/collab.h"
#include "collab/din.h"

enum { PIECE_ROWS = 1024, HISTORY_MAX = 1024 };

typedef struct model {
    sella_din din;
    uint8_t *shown_i; /* [items] 1: in a history of train; NULL before prepare */
} model;

static sella_din_config config_of(const sella_collab_config *config)
{
    return (sella_din_config){.users = config->users,
                              .items = config->items,
                              .C = config->C,
                              .attention = {config->din.attention[0], config->din.attention[1]},
                              .top = {config->din.top[0], config->din.top[1]},
                              .dropout = config->dropout,
                              .hide = config->din.hide};
}

static sella_status din_check(const sella_collab_config *config, sella_err *err)
{
    const sella_din_config din = config_of(config);
    if (config->history_length < 1 || config->history_length > HISTORY_MAX) {
        return sella_err_set(err, SELLA_ARG, "din over a history of %d items; expected 1 to %d",
                             config->history_length, HISTORY_MAX);
    }
    return sella_din_config_check(&din, err);
}

static void din_cost(const sella_collab_config *config, sella_collab_cost *out)
{
    const sella_din_config din = config_of(config);
    const double C = config->C, pairs = config->history_length;
    const double attention = 4 * C * din.attention[0] +
                             (double)din.attention[0] * din.attention[1] + din.attention[1],
                 top = 3 * C * din.top[0] + (double)din.top[0] * din.top[1] + din.top[1];
    double layers = attention + top + 2;
    for (int l = 0; l < SELLA_DIN_HIDDEN; l++) {
        layers += 4.0 * (din.attention[l] + din.top[l]); // bias, alpha, mean, variance
    }
    out->parameters =
        ((int64_t)config->users + 2 * (int64_t)config->items) * config->C + (int64_t)layers;
    out->row_flops = 2 * (pairs * attention + top);
    out->row_bytes =
        sella_din_pass_bytes(&din, PIECE_ROWS, (int64_t)(PIECE_ROWS * pairs), true) / PIECE_ROWS;
}

static sella_status din_init(sella_collab *c, uint64_t seed, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_din_config config = config_of(&c->config);
    model *m = sella_alloc(1, sizeof *m, "din", err);
    if (!m) {
        return SELLA_MEMORY;
    }
    c->model = m;
    SELLA_TRY(sella_din_init(&config, seed, &c->table, &m->din, err));
    if (c->config.bias) {
        SELLA_TRY(sella_param_add(&c->table, "user.bias", config.users, 0, err));
        SELLA_TRY(sella_param_add(&c->table, "item.bias", config.items, 0, err));
        SELLA_TRY(sella_param_add(&c->table, "global.bias", 1, 0, err));
    }
done:
    return status;
}

sella_din *sella_din_of(sella_collab *c)
{
    assert(c->ops == &sella_collab_din);
    return &((model *)c->model)->din;
}

static void din_release(sella_collab *c)
{
    model *m = c->model;
    if (m) {
        free(m->shown_i);
        free(m);
    }
}

static sella_status din_prepare(sella_collab *c, const sella_collab_train *train, sella_err *err)
{
    model *m = c->model;
    free(m->shown_i);
    m->shown_i = sella_alloc((size_t)c->config.items, 1, "items of histories", err);
    if (!m->shown_i) {
        return SELLA_MEMORY;
    }
    for (int64_t r = 0; train->history_n && r < train->rows.rows; r++) {
        const int32_t count = train->history_count_n[r],
                      first = c->config.history_length > 0 && count > c->config.history_length
                                  ? count - c->config.history_length
                                  : 0;
        for (int32_t k = first; k < count; k++) {
            m->shown_i[train->history_n[r][k]] = 1;
        }
    }
    return SELLA_OK;
}

/* What no history of train shows was never trained: such an item says nothing in a history. */
static sella_status din_ready(sella_collab *c, const sella_collab_users *users, sella_err *err)
{
    const model *m = c->model;
    sella_param *history = sella_param_find(&c->table, "din.history.weight");
    (void)users;
    for (int32_t i = 0; m->shown_i && i < c->config.items; i++) {
        if (!m->shown_i[i]) {
            memset(history->data + (size_t)i * (size_t)c->config.C, 0,
                   (size_t)c->config.C * sizeof *history->data);
        }
    }
    return sella_din_check(&m->din, "din", err);
}

/* ---- passes ---- */

typedef struct kept {
    sella_din_pass *pass;
    int rows, pairs;
    bool backward;
    sella_din_batch batch;
} kept;

static void kept_free(void *at)
{
    sella_din_pass_free(((kept *)at)->pass);
    free(at);
}

/* Room for this batch. */
static sella_status kept_for(const sella_collab *c, const sella_collab_batch *batch,
                             sella_collab_pass *pass, kept **out, sella_err *err)
{
    const model *m = c->model;
    int64_t pairs = 0;
    if (!pass->kept) {
        pass->kept = sella_alloc(1, sizeof(kept), "a pass of din", err);
        if (!pass->kept) {
            return SELLA_MEMORY;
        }
    }
    kept *k = *out = pass->kept;
    for (int n = 0; n < batch->N; n++) {
        pairs += batch->history_count_n[n];
    }
    if (pairs > INT32_MAX / 8) {
        return sella_err_set(err, SELLA_ARG,
                             "din: %lld history items in a batch; expected at most %d",
                             (long long)pairs, INT32_MAX / 8);
    }
    if (!k->pass || k->rows < batch->N || k->pairs < pairs || (batch->backward && !k->backward)) {
        sella_din_pass_free(k->pass);
        k->rows = k->rows < batch->N ? batch->N : k->rows;
        k->pairs = k->pairs < pairs ? (int)pairs : k->pairs;
        k->backward = k->backward || batch->backward;
        const sella_status status =
            sella_din_pass_new(&m->din, k->rows, k->pairs, k->backward, &k->pass, err);
        if (status != SELLA_OK) {
            return status;
        }
    }
    k->batch = (sella_din_batch){batch->N, batch->user_n, batch->item_n, batch->history_n,
                                 batch->history_count_n};
    return SELLA_OK;
}

static sella_status run(const sella_collab *c, const sella_collab_batch *batch,
                        sella_collab_pass *pass, float *z, float *interest, sella_err *err)
{
    model *m = c->model;
    kept *k = NULL;
    const sella_din_mode mode = {batch->dropout, batch->seed, (int64_t)batch->number};
    const sella_status status = kept_for(c, batch, pass, &k, err);
    if (status == SELLA_OK) {
        sella_din_forward(&m->din, k->pass, &k->batch, &mode, z, interest);
    }
    return status;
}

static sella_status din_vectors(const sella_collab *c, const sella_collab_batch *batch,
                                sella_collab_pass *pass, float *user, float *item, sella_err *err)
{
    if (item) {
        sella_collab_rows_take(sella_param_find(&c->table, "item.weight"), batch->item_n, batch->N,
                               item);
    }
    return user ? run(c, batch, pass, NULL, user, err) : SELLA_OK;
}

static sella_status din_vectors_backward(sella_collab *c, const sella_collab_batch *batch,
                                         sella_collab_pass *pass, const float *duser,
                                         const float *ditem, sella_err *err)
{
    model *m = c->model;
    (void)err;
    if (duser) {
        sella_din_backward(&m->din, ((kept *)pass->kept)->pass, NULL, NULL, duser, ditem);
    } else if (ditem) {
        sella_collab_rows_give(sella_param_find(&c->table, "item.weight"), batch->item_n, batch->N,
                               1, ditem);
    }
    return SELLA_OK;
}

static sella_status din_forward(sella_collab *c, const sella_collab_batch *batch,
                                sella_collab_pass *pass, float *z, sella_err *err)
{
    const sella_status status = run(c, batch, pass, z, NULL, err);
    if (status == SELLA_OK) {
        sella_collab_bias_forward(c, batch, z);
    }
    return status;
}

static sella_status din_backward(sella_collab *c, const sella_collab_batch *batch,
                                 sella_collab_pass *pass, const float *dz, sella_err *err)
{
    model *m = c->model;
    (void)err;
    sella_din_backward(&m->din, ((kept *)pass->kept)->pass, dz, NULL, NULL, NULL);
    sella_collab_bias_backward(c, batch, dz);
    return SELLA_OK;
}

static const char *const logit_only[] = {"user.weight", "din.top.", NULL};

const sella_collab_ops sella_collab_din = {
    .name = "din",
    .sequence = true,
    .target = true,
    .logit_only = logit_only,
    .check = din_check,
    .cost = din_cost,
    .init = din_init,
    .release = din_release,
    .prepare = din_prepare,
    .ready = din_ready,
    .vectors = din_vectors,
    .vectors_backward = din_vectors_backward,
    .forward = din_forward,
    .backward = din_backward,
    .kept_free = kept_free,
};
