/* vectors.c - the collaborative and semantic half of sella (methods/vectors.h). */
#include "methods/vectors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "kernels/activation.h"
#include "kernels/gemm.h"
#include "methods/tensor_file.h"

static sella_status add_number(sella_param_table *table, const char *name, double value,
                               sella_err *err)
{
    sella_status status = sella_param_add(table, name, 1, 0, err);
    if (status == SELLA_OK) {
        sella_param *param = &table->param[table->count - 1];
        param->data[0] = (float)value;
        param->decay = false;
    }
    return status;
}

sella_status sella_vectors_init(const sella_settings *settings, int32_t users, int32_t items, int L,
                                bool intercept, uint64_t seed, sella_vectors *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_collab_config config;
    sella_collab_config_of(settings, users, items, &config);
    *out = (sella_vectors){.users = users, .items = items, .C = config.C, .L = L};
    const sella_warm_init warm = sella_settings_is(settings, "proj.warm_init", "identity")
                                     ? SELLA_WARM_IDENTITY
                                     : SELLA_WARM_RANDOM;
    sella_param_table_init(&out->semantic);
    sella_param_table_init(&out->logit);
    sella_param_table_init(&out->evidence);
    SELLA_TRY(sella_collab_new(sella_settings_text(settings, "collab.model"), &config, seed,
                               &out->collab, err));
    SELLA_TRY(sella_projection_init(out->C, (int)sella_settings_int(settings, "proj.hidden"), L,
                                    true, warm, seed, &out->projection, err));
    SELLA_TRY(sella_param_add(&out->semantic, "semantic.weight", items, L, err));
    out->semantic.param[0].decay = false;
    if (intercept) {
        SELLA_TRY(add_number(&out->logit, "logit.bias", 0, err));
    }
    if (sella_residual_of(settings) != SELLA_RESIDUAL_NO) {
        SELLA_TRY(add_number(&out->logit, "logit.gain",
                             sella_settings_real(settings, "stage3.gain"), err));
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
    sella_collab_free(v->collab);
    sella_projection_release(&v->projection);
    sella_param_table_release(&v->semantic);
    sella_param_table_release(&v->logit);
    sella_param_table_release(&v->evidence);
    free(v->centred);
    free(v->distilled_i);
    *v = (sella_vectors){0};
}

sella_status sella_vectors_write(const sella_vectors *v, const char *collab, const char *projection,
                                 sella_err *err)
{
    const sella_param_table *const tables[] = {&v->collab->table, &v->collab->derived, &v->semantic,
                                               &v->logit, &v->evidence};
    const sella_param_table *const maps[] = {&v->projection.table};
    sella_status status = sella_tensors_write(collab, tables, 5, err);
    return status == SELLA_OK ? sella_tensors_write(projection, maps, 1, err) : status;
}

sella_status sella_vectors_read(sella_vectors *v, const char *collab, const char *projection,
                                sella_err *err)
{
    sella_param_table *const tables[] = {&v->collab->table, &v->collab->derived, &v->semantic,
                                         &v->logit, &v->evidence};
    sella_param_table *const maps[] = {&v->projection.table};
    sella_status status = sella_tensors_read(collab, tables, 5, err);
    return status == SELLA_OK ? sella_tensors_read(projection, maps, 1, err) : status;
}

/* c [I, L]: rows minus their mean, of unit length (a row that equals the mean stays zero). Items
 * without a distilled vector (zero rows) stay zero and do not count in the mean. */
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

/* Rows of items that were not distilled become the mean of those that were: a warm token like the
 * others, without news. */
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

/* semantic.weight [I, L] as distilled. */
static sella_status read_distilled(const sella_vectors *v, const char *path,
                                   sella_param_table *stored, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_param_table *const tables[] = {stored};
    sella_param_table_init(stored);
    SELLA_TRY(sella_param_add(stored, "semantic.weight", v->items, v->L, err));
    SELLA_TRY(sella_param_train(&stored->param[0], false, err));
    SELLA_TRY(sella_tensors_read(path, tables, 1, err));
done:
    return status;
}

sella_status sella_vectors_centred(const sella_vectors *v, const char *path, float **out,
                                   sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_param_table stored;
    *out = NULL;
    SELLA_TRY(read_distilled(v, path, &stored, err));
    SELLA_TRY(centre(stored.param[0].data, v->items, v->L, out, err));
done:
    sella_param_table_release(&stored);
    return status;
}

sella_status sella_vectors_distilled(sella_vectors *v, const char *path, bool fill, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_param_table stored;
    SELLA_TRY(read_distilled(v, path, &stored, err));
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
        memcpy(v->semantic.param[0].data, stored.param[0].data,
               stored.param[0].count * sizeof(float));
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

sella_status sella_vectors_ready(sella_vectors *v, const sella_run *run, sella_err *err)
{
    const sella_collab_users users = {run->history, run->history_start};
    return sella_collab_ready(v->collab, &users, err);
}

sella_status sella_vectors_rows(const sella_vectors *v, const sella_query *query_n,
                                const int64_t *place_n, int64_t N, bool items,
                                sella_collab_rows *out, sella_err *err)
{
    return sella_collab_rows_make(query_n, place_n, N, v->collab->config.history_length, items, out,
                                  err);
}

void sella_vectors_text(const sella_vectors *v, const sella_collab_batch *batch, float *f_n)
{
    size_t L = (size_t)v->L;
#pragma omp parallel for schedule(dynamic, 64)
    for (int n = 0; n < batch->N; n++) {
        double sum = 0;
        int32_t item = batch->item_n[n], count = batch->history_count_n[n];
        for (int32_t j = 0; item >= 0 && j < count; j++) {
            sum += sella_dot(v->centred + (size_t)batch->history_n[n][j] * L,
                             v->centred + (size_t)item * L, v->L);
        }
        f_n[n] = count > 0 ? (float)(sum / count) : 0;
    }
}

sella_status sella_vectors_logits(const sella_vectors *v, const sella_query *query_n, int64_t N,
                                  float *z, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_collab_rows rows = {0};
    float *f = NULL;
    SELLA_TRY(sella_vectors_rows(v, query_n, NULL, N, true, &rows, err));
    SELLA_TRY(sella_collab_score(v->collab, &rows.batch, z, err));
    if (v->centred) {
        f = sella_alloc((size_t)N, sizeof *f, "text features", err);
        if (!f) {
            status = SELLA_MEMORY;
            goto done;
        }
        sella_vectors_text(v, &rows.batch, f);
        sella_axpy(z, sella_vectors_number(v, "text.gain", 0), f, (size_t)N);
    }
done:
    free(f);
    sella_collab_rows_release(&rows);
    return status;
}

sella_status sella_vectors_scan(const sella_vectors *v, const sella_query *who,
                                const int32_t *item_n, int32_t N, double *z, sella_err *err)
{
    sella_status status = SELLA_OK;
    const size_t L = (size_t)v->L;
    const float gain = v->centred ? sella_vectors_number(v, "text.gain", 0) : 0;
    sella_collab_rows rows = {0};
    float *one = NULL, *text = NULL;
    SELLA_TRY(sella_vectors_rows(v, who, NULL, 1, false, &rows, err));
    one = sella_alloc((size_t)N, sizeof *one, "scores", err);
    text = sella_alloc(v->centred ? L : 0, sizeof *text, "a user's vectors", err);
    if (!one || !text) {
        status = SELLA_MEMORY;
        goto done;
    }
    SELLA_TRY(sella_collab_scan(v->collab, &rows.batch, item_n, N, one, err));
    for (int32_t j = 0; v->centred && j < rows.count_n[0]; j++) {
        sella_axpy(text, gain / (float)rows.count_n[0],
                   v->centred + (size_t)rows.history_n[0][j] * L, L);
    }
    const bool large = v->centred && (size_t)N * L > 1 << 18; // below, starting threads costs more
#pragma omp parallel for schedule(static) if (large)
    for (int32_t n = 0; n < N; n++) {
        const float *c = v->centred ? v->centred + (size_t)item_n[n] * L : NULL;
        z[n] = (double)(c ? one[n] + sella_dot(text, c, v->L) : one[n]);
    }
done:
    free(one);
    free(text);
    sella_collab_rows_release(&rows);
    return status;
}

sella_residual sella_residual_of(const sella_settings *settings)
{
    return sella_settings_is(settings, "stage3.residual", "no")     ? SELLA_RESIDUAL_NO
           : sella_settings_is(settings, "stage3.residual", "bias") ? SELLA_RESIDUAL_BIAS
                                                                    : SELLA_RESIDUAL_ALL;
}

sella_status sella_vectors_evidence(sella_vectors *v, const sella_settings *settings,
                                    sella_err *err)
{
    v->gain_rows = (float)sella_settings_real(settings, "stage3.gain_rows");
    if (v->gain_rows == 0 || sella_residual_of(settings) == SELLA_RESIDUAL_NO) {
        return SELLA_OK;
    }
    const sella_status status = sella_param_add(&v->evidence, "item.rows", v->items, 0, err);
    return status == SELLA_OK ? sella_param_train(&v->evidence.param[0], false, err) : status;
}

float sella_vectors_weight(const sella_vectors *v, int32_t item)
{
    if (v->evidence.count == 0) {
        return 1;
    }
    const float n = item >= 0 ? v->evidence.param[0].data[item] : 0;
    return v->gain_rows / (n + v->gain_rows);
}

sella_status sella_vectors_residual(const sella_vectors *v, const sella_query *query_n, int64_t N,
                                    sella_residual which, float *z, sella_err *err)
{
    const sella_param *user = sella_param_find(&v->collab->table, "user.bias");
    const sella_param *item = sella_param_find(&v->collab->table, "item.bias");
    const sella_param *global = sella_param_find(&v->collab->table, "global.bias");
    if (which == SELLA_RESIDUAL_ALL) {
        // while it trains, what is derived follows what is trained
        const sella_status status = v->collab->prepared && v->collab->derived.count > 0
                                        ? sella_collab_ready(v->collab, NULL, err)
                                        : SELLA_OK;
        return status == SELLA_OK ? sella_vectors_logits(v, query_n, N, z, err) : status;
    }
    for (int64_t n = 0; n < N; n++) {
        z[n] = global->data[0] + (query_n[n].user >= 0 ? user->data[query_n[n].user] : 0) +
               (query_n[n].item >= 0 ? item->data[query_n[n].item] : 0);
    }
    return SELLA_OK;
}

sella_status sella_vectors_residual_backward(sella_vectors *v, const sella_query *query_n,
                                             int64_t N, sella_residual which, const float *dz,
                                             sella_err *err)
{
    if (which == SELLA_RESIDUAL_ALL) {
        sella_status status = SELLA_OK;
        sella_collab_rows rows = {0};
        sella_collab_pass pass = {0};
        float *z = sella_alloc((size_t)N, sizeof *z, "logits", err);
        if (!z) {
            return SELLA_MEMORY;
        }
        SELLA_TRY(sella_vectors_rows(v, query_n, NULL, N, true, &rows, err));
        rows.batch.backward = true;
        SELLA_TRY(sella_collab_forward(v->collab, &rows.batch, &pass, z, err));
        SELLA_TRY(sella_collab_backward(v->collab, &rows.batch, &pass, dz, err));
    done:
        sella_collab_pass_release(&pass);
        sella_collab_rows_release(&rows);
        free(z);
        return status;
    }
    sella_param *user = sella_param_find(&v->collab->table, "user.bias"),
                *item = sella_param_find(&v->collab->table, "item.bias");
    sella_param *global = sella_param_find(&v->collab->table, "global.bias");
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
