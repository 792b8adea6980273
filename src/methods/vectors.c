/* vectors.c - the collaborative and semantic half of sella (methods/vectors.h). */
#include "methods/vectors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "kernels/activation.h"
#include "kernels/gemm.h"
#include "methods/tensor_file.h"

static sella_status add_number(sella_param_table *table, const char *name, double value, sella_err *err)
{
    sella_status status = sella_param_add(table, name, 1, 0, err);
    if (status == SELLA_OK) {
        sella_param *param = &table->param[table->count - 1];
        param->data[0] = (float)value;
        param->decay = false;
    }
    return status;
}

sella_status sella_vectors_init(const sella_settings *settings, int32_t users, int32_t items, int L, bool intercept,
                                uint64_t seed, sella_vectors *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    const char *unseen = sella_settings_text(settings, "collab.unseen");
    *out = (sella_vectors){.users = users,
                           .items = items,
                           .C = (int)sella_settings_int(settings, "collab.width"),
                           .L = L,
                           .history_length = (int32_t)sella_settings_int(settings, "collab.history_length"),
                           .unseen = strcmp(unseen, "zero") == 0   ? SELLA_UNSEEN_ZERO
                                     : strcmp(unseen, "mean") == 0 ? SELLA_UNSEEN_MEAN
                                                                   : SELLA_UNSEEN_HISTORY};
    const sella_mf_config config = {.users = users,
                                    .items = items,
                                    .C = out->C,
                                    .bias = sella_settings_bool(settings, "collab.bias"),
                                    .history = sella_settings_bool(settings, "collab.history"),
                                    .init = sella_settings_real(settings, "collab.init")};
    const sella_warm_init warm =
        sella_settings_is(settings, "proj.warm_init", "identity") ? SELLA_WARM_IDENTITY : SELLA_WARM_RANDOM;
    sella_param_table_init(&out->semantic);
    sella_param_table_init(&out->logit);
    SELLA_TRY(sella_mf_init(&config, seed, &out->mf, err));
    SELLA_TRY(sella_projection_init(out->C, (int)sella_settings_int(settings, "proj.hidden"), L, true, warm, seed,
                                    &out->projection, err));
    SELLA_TRY(sella_param_add(&out->semantic, "semantic.weight", items, L, err));
    out->semantic.param[0].decay = false;
    if (intercept) {
        SELLA_TRY(add_number(&out->logit, "logit.bias", 0, err));
    }
    if (sella_residual_of(settings) != SELLA_RESIDUAL_NO) {
        SELLA_TRY(add_number(&out->logit, "logit.gain", sella_settings_real(settings, "stage3.gain"), err));
    }
    if (sella_settings_bool(settings, "stage2.text")) {
        SELLA_TRY(add_number(&out->logit, "text.gain", 0, err));
    }
done:
    if (status != SELLA_OK) {
        sella_vectors_release(out);
    }
    return status;
}

void sella_vectors_release(sella_vectors *v)
{
    sella_mf_release(&v->mf);
    sella_projection_release(&v->projection);
    sella_param_table_release(&v->semantic);
    sella_param_table_release(&v->logit);
    free(v->centred);
    free(v->distilled_i);
    free(v->mean_user);
    *v = (sella_vectors){0};
}

sella_status sella_vectors_write(const sella_vectors *v, const char *collab, const char *projection, sella_err *err)
{
    const sella_param_table *const tables[] = {&v->mf.table, &v->semantic, &v->logit};
    const sella_param_table *const maps[] = {&v->projection.table};
    sella_status status = sella_tensors_write(collab, tables, 3, err);
    return status == SELLA_OK ? sella_tensors_write(projection, maps, 1, err) : status;
}

sella_status sella_vectors_read(sella_vectors *v, const char *collab, const char *projection, sella_err *err)
{
    sella_param_table *const tables[] = {&v->mf.table, &v->semantic, &v->logit};
    sella_param_table *const maps[] = {&v->projection.table};
    sella_status status = sella_tensors_read(collab, tables, 3, err);
    return status == SELLA_OK ? sella_tensors_read(projection, maps, 1, err) : status;
}

/* c [I, L]: rows minus their mean, of unit length (a row that equals the mean stays zero). Items without a distilled
 * vector (zero rows) stay zero and do not count in the mean. */
static sella_status centre(const float *weight, int32_t items, int L, float **out, sella_err *err)
{
    size_t width = (size_t)L;
    float *c = sella_alloc((size_t)items * width, sizeof *c, "centred item vectors", err);
    double *mean = sella_alloc(width, sizeof *mean, "centred item vectors", err);
    int64_t rows = 0;
    *out = c;
    if (!c || !mean) {
        free(mean);
        return SELLA_MEMORY;
    }
    for (int32_t i = 0; i < items; i++) {
        const float *row = weight + (size_t)i * width;
        if (sella_dot(row, row, L) > 0) {
            rows++;
            for (size_t l = 0; l < width; l++) {
                mean[l] += row[l];
            }
        }
    }
    for (int32_t i = 0; rows > 0 && i < items; i++) {
        const float *row = weight + (size_t)i * width;
        float *to = c + (size_t)i * width;
        if (sella_dot(row, row, L) > 0) {
            double square = 0;
            for (size_t l = 0; l < width; l++) {
                to[l] = (float)(row[l] - mean[l] / (double)rows);
                square += (double)to[l] * to[l];
            }
            sella_scale(to, square > 0 ? (float)(1 / sqrt(square)) : 0, width);
        }
    }
    free(mean);
    return SELLA_OK;
}

/* Rows of items that were not distilled become the mean of those that were: a warm token like the others, without
 * news. */
static void fill_missing(float *weight, const uint8_t *distilled_i, int32_t items, size_t L)
{
    int64_t rows = 0;
    for (int32_t i = 0; i < items; i++) {
        rows += distilled_i[i];
    }
    for (size_t l = 0; rows > 0 && rows < items && l < L; l++) {
        double mean = 0;
        for (int32_t i = 0; i < items; i++) {
            mean += distilled_i[i] ? weight[(size_t)i * L + l] : 0;
        }
        for (int32_t i = 0; i < items; i++) {
            if (!distilled_i[i]) {
                weight[(size_t)i * L + l] = (float)(mean / (double)rows);
            }
        }
    }
}

sella_status sella_vectors_distilled(sella_vectors *v, const char *path, bool fill, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_param_table stored;
    sella_param_table *const tables[] = {&stored};
    sella_param_table_init(&stored);
    SELLA_TRY(sella_param_add(&stored, "semantic.weight", v->items, v->L, err));
    SELLA_TRY(sella_param_train(&stored.param[0], false, err));
    SELLA_TRY(sella_tensors_read(path, tables, 1, err));
    free(v->distilled_i);
    v->distilled_i = sella_alloc((size_t)v->items, 1, "distilled items", err);
    if (!v->distilled_i) {
        status = SELLA_MEMORY;
        goto done;
    }
    for (int32_t i = 0; i < v->items; i++) {
        const float *row = stored.param[0].data + (size_t)i * (size_t)v->L;
        v->distilled_i[i] = sella_dot(row, row, v->L) > 0;
    }
    if (fill) {
        memcpy(v->semantic.param[0].data, stored.param[0].data, stored.param[0].count * sizeof(float));
        fill_missing(v->semantic.param[0].data, v->distilled_i, v->items, (size_t)v->L);
    }
    if (sella_param_find(&v->logit, "text.gain")) {
        free(v->centred);
        SELLA_TRY(centre(stored.param[0].data, v->items, v->L, &v->centred, err));
    }
done:
    sella_param_table_release(&stored);
    return status;
}

void sella_vectors_settle(sella_vectors *v, const uint8_t *seen_i, const uint8_t *liked_i)
{
    sella_param *history = sella_param_find(&v->mf.table, "history.weight");
    float *weight = sella_param_find(&v->mf.table, "item.weight")->data;
    size_t C = (size_t)v->C;
    int64_t seen = 0;
    for (int32_t i = 0; i < v->items; i++) {
        seen += seen_i[i];
    }
    for (size_t c = 0; c < C; c++) {
        double mean = 0;
        for (int32_t i = 0; v->unseen != SELLA_UNSEEN_ZERO && i < v->items; i++) {
            mean += seen_i[i] ? weight[(size_t)i * C + c] : 0;
        }
        mean = seen > 0 ? mean / (double)seen : 0;
        for (int32_t i = 0; i < v->items; i++) {
            if (!seen_i[i]) {
                weight[(size_t)i * C + c] = (float)mean;
            }
        }
    }
    for (int32_t i = 0; history && i < v->items; i++) {
        if (!liked_i[i]) {
            memset(history->data + (size_t)i * C, 0, C * sizeof(float));
        }
    }
}

/* Mean of q over the window of a history: out [C]. */
static void mean_of_items(const sella_vectors *v, const int32_t *history_n, int32_t count, float *out)
{
    const float *weight = sella_param_find(&v->mf.table, "item.weight")->data;
    memset(out, 0, (size_t)v->C * sizeof *out);
    for (int32_t j = 0; j < count; j++) {
        sella_axpy(out, 1.0f / (float)count, weight + (size_t)history_n[j] * (size_t)v->C, (size_t)v->C);
    }
}

static int32_t window_start(const sella_vectors *v, int32_t count)
{
    return v->history_length > 0 && count > v->history_length ? count - v->history_length : 0;
}

sella_status sella_vectors_ready(sella_vectors *v, const sella_run *run, sella_err *err)
{
    size_t C = (size_t)v->C;
    const float *user = sella_param_find(&v->mf.table, "user.weight")->data;
    float *mean = sella_alloc(C, sizeof *mean, "the mean user", err);
    double along = 0, square = 0;
    free(v->mean_user);
    v->mean_user = sella_alloc(C, sizeof *v->mean_user, "the mean user", err);
    if (!mean || !v->mean_user) {
        free(mean);
        return SELLA_MEMORY;
    }
    for (int32_t u = 0; u < v->users; u++) {
        const int32_t *items;
        int32_t n = sella_run_history(run, u, &items), start = window_start(v, n);
        sella_axpy(v->mean_user, 1.0f / (float)v->users, user + (size_t)u * C, C);
        mean_of_items(v, items + start, n - start, mean);
        along += sella_dot(mean, user + (size_t)u * C, v->C);
        square += sella_dot(mean, mean, v->C);
    }
    v->scale = square > 0 ? (float)(along / square) : 0;
    free(mean);
    return SELLA_OK;
}

/* ---- batches of queries ---- */

sella_status sella_vector_batch_make(const sella_vectors *v, const sella_query *query_n, const int64_t *place_n,
                                     int64_t N, bool items, sella_vector_batch *out, sella_err *err)
{
    size_t n = (size_t)N, total = 0;
    *out = (sella_vector_batch){0};
    for (int64_t q = 0; q < N; q++) {
        int32_t count = query_n[place_n ? place_n[q] : q].history_count;
        total += (size_t)(count - window_start(v, count));
    }
    out->user_n = sella_alloc(n, sizeof *out->user_n, "a batch", err);
    out->item_n = sella_alloc(n, sizeof *out->item_n, "a batch", err);
    out->count_n = sella_alloc(n, sizeof *out->count_n, "a batch", err);
    out->history_n = sella_alloc(n, sizeof *out->history_n, "a batch", err);
    out->pool = sella_alloc(total, sizeof *out->pool, "a batch", err);
    if (!out->user_n || !out->item_n || !out->count_n || !out->history_n || !out->pool) {
        sella_vector_batch_release(out);
        return SELLA_MEMORY;
    }
    int32_t *cursor = out->pool;
    for (int64_t q = 0; q < N; q++) {
        const sella_query *query = &query_n[place_n ? place_n[q] : q];
        out->user_n[q] = query->user;
        out->item_n[q] = items ? query->item : -1;
        out->history_n[q] = cursor;
        for (int32_t j = window_start(v, query->history_count); j < query->history_count; j++) {
            if (query->history_n && query->history_n[j] >= 0) {
                *cursor++ = query->history_n[j];
            }
        }
        out->count_n[q] = (int32_t)(cursor - out->history_n[q]);
    }
    out->mf = (sella_mf_batch){.N = (int)N,
                               .user_n = out->user_n,
                               .item_n = out->item_n,
                               .history_n = out->history_n,
                               .history_count_n = out->count_n};
    return SELLA_OK;
}

void sella_vector_batch_release(sella_vector_batch *batch)
{
    free(batch->user_n);
    free(batch->item_n);
    free(batch->count_n);
    free(batch->history_n);
    free(batch->pool);
    *batch = (sella_vector_batch){0};
}

void sella_vectors_forward(const sella_vectors *v, const sella_vector_batch *batch, float *z, float *user_vector)
{
    size_t C = (size_t)v->C;
    const float *item = sella_param_find(&v->mf.table, "item.weight")->data;
    sella_mf_forward(&v->mf, &batch->mf, z, user_vector);
    bool mean = v->unseen == SELLA_UNSEEN_MEAN, fold = v->unseen == SELLA_UNSEEN_HISTORY && !v->mf.config.history;
    if (!(mean || fold) || !v->mean_user) {
        return;
    }
#pragma omp parallel for schedule(static)
    for (int n = 0; n < batch->mf.N; n++) {
        if (batch->user_n[n] >= 0) {
            continue;
        }
        for (size_t c = 0; c < C; c++) {
            float add = v->mean_user[c];
            if (fold) {
                add = 0;
                for (int32_t j = 0; j < batch->count_n[n]; j++) {
                    add += item[(size_t)batch->history_n[n][j] * C + c];
                }
                add *= batch->count_n[n] > 0 ? v->scale / (float)batch->count_n[n] : 0;
            }
            z[n] += batch->item_n[n] >= 0 ? add * item[(size_t)batch->item_n[n] * C + c] : 0;
            if (user_vector) {
                user_vector[(size_t)n * C + c] += add;
            }
        }
    }
}

void sella_vectors_text(const sella_vectors *v, const sella_vector_batch *batch, float *f_n)
{
    size_t L = (size_t)v->L;
#pragma omp parallel for schedule(dynamic, 64)
    for (int n = 0; n < batch->mf.N; n++) {
        double sum = 0;
        int32_t item = batch->item_n[n], count = batch->count_n[n];
        for (int32_t j = 0; item >= 0 && j < count; j++) {
            sum += sella_dot(v->centred + (size_t)batch->history_n[n][j] * L, v->centred + (size_t)item * L, v->L);
        }
        f_n[n] = count > 0 ? (float)(sum / count) : 0;
    }
}

sella_status sella_vectors_logits(const sella_vectors *v, const sella_query *query_n, int64_t N, float *z,
                                  sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_vector_batch batch = {0};
    float *f = NULL;
    SELLA_TRY(sella_vector_batch_make(v, query_n, NULL, N, true, &batch, err));
    sella_vectors_forward(v, &batch, z, NULL);
    if (v->centred) {
        f = sella_alloc((size_t)N, sizeof *f, "text features", err);
        if (!f) {
            status = SELLA_MEMORY;
            goto done;
        }
        sella_vectors_text(v, &batch, f);
        sella_axpy(z, sella_vectors_number(v, "text.gain", 0), f, (size_t)N);
    }
done:
    free(f);
    sella_vector_batch_release(&batch);
    return status;
}

sella_status sella_vectors_scan(const sella_vectors *v, const sella_query *who, const int32_t *item_n, int32_t N,
                                double *z, sella_err *err)
{
    sella_status status = SELLA_OK;
    const size_t C = (size_t)v->C, L = (size_t)v->L;
    const float *weight = sella_param_find(&v->mf.table, "item.weight")->data;
    const sella_param *bias = sella_param_find(&v->mf.table, "item.bias");
    const float gain = v->centred ? sella_vectors_number(v, "text.gain", 0) : 0;
    sella_vector_batch batch = {0};
    float base, *x = NULL;
    SELLA_TRY(sella_vector_batch_make(v, who, NULL, 1, false, &batch, err));
    x = sella_alloc(C + (v->centred ? L : 0), sizeof *x, "a user's vectors", err);
    if (!x) {
        status = SELLA_MEMORY;
        goto done;
    }
    sella_vectors_forward(v, &batch, &base, x);
    float *text = v->centred ? x + C : NULL;
    for (int32_t j = 0; text && j < batch.count_n[0]; j++) {
        sella_axpy(text, gain / (float)batch.count_n[0], v->centred + (size_t)batch.history_n[0][j] * L, L);
    }
    const bool large = (size_t)N * (C + (text ? L : 0)) > 1 << 18; // below, starting threads costs more
#pragma omp parallel for schedule(static) if (large)
    for (int32_t n = 0; n < N; n++) {
        const size_t i = (size_t)item_n[n];
        float one = base + sella_dot(x, weight + i * C, v->C) + (bias ? bias->data[i] : 0);
        z[n] = (double)(text ? one + sella_dot(text, v->centred + i * L, v->L) : one);
    }
done:
    free(x);
    sella_vector_batch_release(&batch);
    return status;
}

sella_residual sella_residual_of(const sella_settings *settings)
{
    return sella_settings_is(settings, "stage3.residual", "no")     ? SELLA_RESIDUAL_NO
           : sella_settings_is(settings, "stage3.residual", "bias") ? SELLA_RESIDUAL_BIAS
                                                                    : SELLA_RESIDUAL_ALL;
}

sella_status sella_vectors_residual(const sella_vectors *v, const sella_query *query_n, int64_t N, sella_residual which,
                                    float *z, sella_err *err)
{
    const sella_param *user = sella_param_find(&v->mf.table, "user.bias");
    const sella_param *item = sella_param_find(&v->mf.table, "item.bias");
    const sella_param *global = sella_param_find(&v->mf.table, "global.bias");
    if (which == SELLA_RESIDUAL_ALL) {
        return sella_vectors_logits(v, query_n, N, z, err);
    }
    for (int64_t n = 0; n < N; n++) {
        z[n] = global->data[0] + (query_n[n].user >= 0 ? user->data[query_n[n].user] : 0) +
               (query_n[n].item >= 0 ? item->data[query_n[n].item] : 0);
    }
    return SELLA_OK;
}

sella_status sella_vectors_residual_backward(sella_vectors *v, const sella_query *query_n, int64_t N,
                                             sella_residual which, const float *dz, sella_err *err)
{
    if (which == SELLA_RESIDUAL_ALL) {
        sella_vector_batch batch = {0};
        sella_status status = sella_vector_batch_make(v, query_n, NULL, N, true, &batch, err);
        if (status == SELLA_OK) {
            sella_mf_backward(&v->mf, &batch.mf, dz, NULL, NULL);
        }
        sella_vector_batch_release(&batch);
        return status;
    }
    sella_param *user = sella_param_find(&v->mf.table, "user.bias"),
                *item = sella_param_find(&v->mf.table, "item.bias");
    sella_param *global = sella_param_find(&v->mf.table, "global.bias");
    for (int64_t n = 0; n < N; n++) {
        if (query_n[n].user >= 0 && user->grad) {
            user->grad[query_n[n].user] += dz[n];
        }
        if (query_n[n].item >= 0 && item->grad) {
            item->grad[query_n[n].item] += dz[n];
        }
        if (global->grad) {
            global->grad[0] += dz[n];
        }
    }
    return SELLA_OK;
}

float sella_vectors_number(const sella_vectors *v, const char *name, float otherwise)
{
    const sella_param *param = sella_param_find(&v->logit, name);
    return param ? param->data[0] : otherwise;
}
