/* mf.c - matrix factorisation (collab/mf.h).
 *
 * The backward pass adds rows of the batch into rows of the tables, and two rows of the batch may
 * meet in one. So threads share the columns, not the rows: each element of a gradient is summed by
 * one thread in the batch's order, whatever their number.
 */
#include "collab/mf.h"

#include <assert.h>
#include <math.h>

#include "base/rng.h"
#include "kernels/gemm.h"

enum {
    COLUMNS = 32,   /* of one task in the backward pass: two cache lines */
    SMALL = 1 << 18 /* values of a batch that are not worth waking threads for */
};

/* ---- the tables ---- */

static void normal_fill(sella_param *param, uint64_t seed, int place, double deviation)
{
    const sella_rng rng = {.seed = seed, .stream = SELLA_STREAM_INIT, .a = (uint32_t)place};
    const int64_t count = (int64_t)param->count;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) {
        param->data[i] = (float)(deviation * sella_rng_normal(&rng, (uint64_t)i));
    }
}

sella_status sella_mf_init(const sella_mf_config *config, uint64_t seed, sella_mf *out,
                           sella_err *err)
{
    sella_status status = SELLA_OK;
    *out = (sella_mf){.config = *config};
    sella_param_table *table = &out->table;
    if (config->users < 1 || config->items < 1 || config->C < 1 || config->C > SELLA_MF_WIDTH_MAX) {
        return sella_err_set(err, SELLA_ARG,
                             "matrix factorisation of %d users, %d items, width %d; expected at "
                             "least one each and a width of at most %d",
                             config->users, config->items, config->C, SELLA_MF_WIDTH_MAX);
    }
    if (!(config->init >= 0 && isfinite(config->init))) {
        return sella_err_set(
            err, SELLA_ARG,
            "matrix factorisation starts with standard deviation %g; expected 0 or more",
            config->init);
    }
    SELLA_TRY(sella_param_add(table, "user.weight", config->users, config->C, err));
    SELLA_TRY(sella_param_add(table, "item.weight", config->items, config->C, err));
    if (config->bias) {
        SELLA_TRY(sella_param_add(table, "user.bias", config->users, 0, err));
        SELLA_TRY(sella_param_add(table, "item.bias", config->items, 0, err));
        SELLA_TRY(sella_param_add(table, "global.bias", 1, 0, err));
    }
    if (config->history) {
        SELLA_TRY(sella_param_add(table, "history.weight", config->items, config->C, err));
    }
    for (int i = 0; i < table->count; i++) {
        if (table->param[i].rank == 2) {
            normal_fill(&table->param[i], seed, i, config->init);
        }
    }
done:
    if (status != SELLA_OK) {
        sella_mf_release(out);
    }
    return status;
}

void sella_mf_release(sella_mf *mf)
{
    sella_param_table_release(&mf->table);
}

typedef struct parts {
    sella_param *user, *item, *user_bias, *item_bias, *global, *history;
} parts;

static parts parts_of(const sella_mf *mf)
{
    sella_param *param = mf->table.param;
    parts p = {.user = &param[0], .item = &param[1]};
    int next = 2;
    if (mf->config.bias) {
        p.user_bias = &param[2];
        p.item_bias = &param[3];
        p.global = &param[4];
        next = 5;
    }
    p.history = mf->config.history ? &param[next] : NULL;
    return p;
}

/* x [width] = columns c0 .. c0 + width of p'_u of batch row n. */
static void user_vector_part(const sella_mf *mf, const parts *p, const sella_mf_batch *batch, int n,
                             int c0, int width, float *x)
{
    const size_t C = (size_t)mf->config.C, first = (size_t)c0;
    const int32_t u = batch->user_n[n];
    const int32_t count = p->history ? batch->history_count_n[n] : 0;
    memset(x, 0, (size_t)width * sizeof *x);
    for (int32_t k = 0; k < count; k++) {
        const float *y = p->history->data + (size_t)batch->history_n[n][k] * C + first;
        for (int c = 0; c < width; c++) {
            x[c] += y[c];
        }
    }
    const float scale = count > 0 ? 1.0f / sqrtf((float)count) : 0.0f;
    for (int c = 0; c < width; c++) {
        x[c] *= scale;
    }
    for (int c = 0; u >= 0 && c < width; c++) {
        x[c] += p->user->data[(size_t)u * C + first + (size_t)c];
    }
}

/* ---- forward ---- */

static float row_logit(const parts *p, const sella_mf_batch *batch, int n, const float *x, int C)
{
    const int32_t u = batch->user_n[n], i = batch->item_n[n];
    float z = i >= 0 ? sella_dot(x, p->item->data + (size_t)i * (size_t)C, C) : 0.0f;
    if (p->global) {
        z += p->global->data[0] + (u >= 0 ? p->user_bias->data[u] : 0.0f) +
             (i >= 0 ? p->item_bias->data[i] : 0.0f);
    }
    return z;
}

void sella_mf_forward(const sella_mf *mf, const sella_mf_batch *batch, float *z, float *user_vector)
{
    const parts p = parts_of(mf);
    const int C = mf->config.C;
#pragma omp parallel for schedule(static) if ((size_t)batch->N * (size_t)C > SMALL)
    for (int n = 0; n < batch->N; n++) {
        float local[SELLA_MF_WIDTH_MAX];
        float *out = user_vector ? user_vector + (size_t)n * (size_t)C : local;
        const int32_t u = batch->user_n[n];
        assert(u >= -1 && u < mf->config.users && batch->item_n[n] >= -1 &&
               batch->item_n[n] < mf->config.items);
        const bool plain = !user_vector && !p.history && u >= 0; // no copy of a row of the table
        if (!plain) {
            user_vector_part(mf, &p, batch, n, 0, C, out);
        }
        z[n] = row_logit(&p, batch, n, plain ? p.user->data + (size_t)u * (size_t)C : out, C);
    }
}

/* ---- backward ---- */

/* to += a x */
static void add(float *restrict to, float a, const float *restrict x, int width)
{
    for (int c = 0; c < width; c++) {
        to[c] += a * x[c];
    }
}

/* Everything of batch row n that falls into columns c0 .. c0 + width. */
static void row_backward(const sella_mf *mf, const parts *p, const sella_mf_batch *batch, int n,
                         int c0, int width, float dz, const float *duser, const float *ditem)
{
    const size_t C = (size_t)mf->config.C, first = (size_t)c0;
    const int32_t u = batch->user_n[n], i = batch->item_n[n];
    const int32_t count = p->history ? batch->history_count_n[n] : 0;
    float x[COLUMNS], g[COLUMNS] = {0};
    user_vector_part(mf, p, batch, n, c0, width, x);
    if (i >= 0) {
        add(g, dz, p->item->data + (size_t)i * C + first, width);
    }
    if (duser) {
        add(g, 1.0f, duser + (size_t)n * C + first, width);
    }
    if (u >= 0 && p->user->grad) {
        add(p->user->grad + (size_t)u * C + first, 1.0f, g, width);
    }
    if (i >= 0 && p->item->grad) {
        float *to = p->item->grad + (size_t)i * C + first;
        add(to, dz, x, width);
        if (ditem) {
            add(to, 1.0f, ditem + (size_t)n * C + first, width);
        }
    }
    const float scale = count > 0 ? 1.0f / sqrtf((float)count) : 0.0f;
    for (int32_t k = 0; p->history && p->history->grad && k < count; k++) {
        add(p->history->grad + (size_t)batch->history_n[n][k] * C + first, scale, g, width);
    }
}

static void bias_backward(const parts *p, const sella_mf_batch *batch, const float *dz)
{
    double sum = 0;
    for (int n = 0; n < batch->N; n++) {
        const int32_t u = batch->user_n[n], i = batch->item_n[n];
        sum += (double)dz[n];
        if (u >= 0 && p->user_bias->grad) {
            p->user_bias->grad[u] += dz[n];
        }
        if (i >= 0 && p->item_bias->grad) {
            p->item_bias->grad[i] += dz[n];
        }
    }
    if (p->global->grad) {
        p->global->grad[0] += (float)sum;
    }
}

void sella_mf_backward(sella_mf *mf, const sella_mf_batch *batch, const float *dz,
                       const float *duser, const float *ditem)
{
    const parts p = parts_of(mf);
    const int C = mf->config.C;
    if (dz && p.global) {
        bias_backward(&p, batch, dz);
    }
#pragma omp parallel for schedule(static) if ((size_t)batch->N * (size_t)C > SMALL)
    for (int c0 = 0; c0 < C; c0 += COLUMNS) {
        const int width = C - c0 < COLUMNS ? C - c0 : COLUMNS;
        for (int n = 0; n < batch->N; n++) {
            row_backward(mf, &p, batch, n, c0, width, dz ? dz[n] : 0.0f, duser, ditem);
        }
    }
}
