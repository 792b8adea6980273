/* binary_mf.c - matrix factorisation with signs (collab/binary_mf.h).
 *
 * kept holds, for users and then for items, x [N, C] (rows of the tables), t [N, C] (tanh) and h
 * [N, C].
 */
#include "collab/binary_mf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "kernels/activation.h"
#include "kernels/gemm.h"

enum { USER, ITEM, SIDES };
// rows of the table
static int weight_of(int side)
{
    return side;
}
static int map_of(int side)
{
    return SIDES + 2 * side;
}

sella_status sella_binary_mf_init(int32_t users, int32_t items, int C, double init, uint64_t seed,
                                  sella_binary_mf *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    *out = (sella_binary_mf){.users = users, .items = items, .C = C};
    sella_param_table *table = &out->table;
    sella_param_table_init(table);
    if (C < 1 || C > SELLA_CODE_BITS_MAX) {
        return sella_err_set(err, SELLA_ARG, "codes of %d bits; expected 1 to %d", C,
                             SELLA_CODE_BITS_MAX);
    }
    SELLA_TRY(sella_param_add(table, "user.weight", users, C, err));
    SELLA_TRY(sella_param_add(table, "item.weight", items, C, err));
    SELLA_TRY(sella_param_add(table, "user.code.weight", C, C, err));
    SELLA_TRY(sella_param_add(table, "user.code.bias", C, 0, err));
    SELLA_TRY(sella_param_add(table, "item.code.weight", C, C, err));
    SELLA_TRY(sella_param_add(table, "item.code.bias", C, 0, err));
    const float bound = 1.0f / sqrtf((float)C);
    for (int p = 0; p < table->count; p++) {
        const sella_rng rng = {.seed = seed, .stream = SELLA_STREAM_INIT, .a = (uint32_t)p, .b = 2};
        sella_param *param = &table->param[p];
        for (size_t i = 0; i < param->count; i++) {
            param->data[i] = p < SIDES ? (float)(init * sella_rng_normal(&rng, i))
                                       : bound * (2.0f * sella_rng_uniform(&rng, i) - 1.0f);
        }
    }
done:
    if (status != SELLA_OK) {
        sella_binary_mf_release(out);
    }
    return status;
}

void sella_binary_mf_release(sella_binary_mf *model)
{
    sella_param_table_release(&model->table);
}

/* t [N, C] = tanh(x W^T + b) */
static void map_forward(const sella_binary_mf *model, int side, const float *x, int N, float *t)
{
    const sella_param *w = &model->table.param[map_of(side)], *b = w + 1;
    const int C = model->C;
    const size_t count = (size_t)N * (size_t)C;
    sella_gemm(false, true, N, C, C, 1.0f, x, C, w->data, C, 0.0f, t, C);
    sella_bias_add(t, C, b->data, N, C);
    for (size_t i = 0; i < count; i++) {
        t[i] = tanhf(t[i]);
    }
}

static float sign_of(float t)
{
    return t >= 0 ? 1.0f : -1.0f;
}

size_t sella_binary_mf_scratch(const sella_binary_mf *model, int N)
{
    return (size_t)SIDES * 3 * (size_t)N * (size_t)model->C;
}

/* The three parts of one side. */
typedef struct part {
    float *x, *t, *h;
} part;

static part part_of(const sella_binary_mf *model, float *kept, int N, int side)
{
    const size_t n = (size_t)N * (size_t)model->C;
    float *first = kept + (size_t)side * 3 * n;
    return (part){first, first + n, first + 2 * n};
}

void sella_binary_mf_forward(const sella_binary_mf *model, const sella_binary_batch *batch,
                             float *kept, float *z)
{
    const size_t C = (size_t)model->C, n = (size_t)batch->N * C;
    const part user = part_of(model, kept, batch->N, USER),
               item = part_of(model, kept, batch->N, ITEM);
    for (int side = 0; side < SIDES; side++) {
        const part p = side == USER ? user : item;
        const int32_t *row_n = side == USER ? batch->user_n : batch->item_n;
        const float *table = model->table.param[weight_of(side)].data;
        const sella_rng rng = {.seed = batch->seed,
                               .stream = SELLA_STREAM_ANNEAL,
                               .a = batch->number,
                               .b = (uint32_t)side};
        for (int r = 0; r < batch->N; r++) {
            memcpy(p.x + (size_t)r * C, table + (size_t)row_n[r] * C, C * sizeof *p.x);
        }
        map_forward(model, side, p.x, batch->N, p.t);
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i++) {
            p.h[i] = sella_rng_uniform(&rng, i) < batch->beta ? sign_of(p.t[i]) : p.t[i];
        }
    }
    for (int r = 0; r < batch->N; r++) {
        z[r] = sella_dot(user.h + (size_t)r * C, item.h + (size_t)r * C, model->C);
    }
}

void sella_binary_mf_backward(sella_binary_mf *model, const sella_binary_batch *batch, float *kept,
                              const float *dz)
{
    const int N = batch->N, C = model->C;
    const size_t width = (size_t)C, n = (size_t)N * width;
    part side_p[SIDES] = {part_of(model, kept, N, USER), part_of(model, kept, N, ITEM)};
    /* dh of each side is the other's h; through the sign as through the identity */
    for (size_t i = 0; i < n; i++) {
        const float hu = side_p[USER].h[i], hi = side_p[ITEM].h[i], d = dz[i / width];
        const float tu = side_p[USER].t[i], ti = side_p[ITEM].t[i];
        side_p[USER].t[i] = d * hi * (1 - tu * tu);
        side_p[ITEM].t[i] = d * hu * (1 - ti * ti);
    }
    for (int side = 0; side < SIDES; side++) {
        const part p = side_p[side]; // t holds the gradient before the tanh now, h is free
        sella_param *w = &model->table.param[map_of(side)], *b = w + 1,
                    *table = &model->table.param[weight_of(side)];
        const int32_t *row_n = side == USER ? batch->user_n : batch->item_n;
        if (w->grad) {
            sella_gemm(true, false, C, C, N, 1.0f, p.t, C, p.x, C, 1.0f, w->grad, C);
        }
        if (b->grad) {
            sella_bias_backward(b->grad, p.t, C, N, C);
        }
        if (table->grad) {
            sella_gemm(false, false, N, C, C, 1.0f, p.t, C, w->data, C, 0.0f, p.h, C);
            for (int r = 0; r < N; r++) {
                sella_axpy(table->grad + (size_t)row_n[r] * width, 1, p.h + (size_t)r * width,
                           width);
            }
        }
    }
}

/* Mean of the rows that are marked (all without marks): out [C]. */
static void mean_row(const sella_param *table, const uint8_t *seen, float *out)
{
    const size_t C = (size_t)table->shape[1];
    for (size_t c = 0; c < C; c++) {
        double sum = 0;
        int64_t count = 0;
        for (int64_t r = 0; r < table->shape[0]; r++) {
            sum += !seen || seen[r] ? table->data[(size_t)r * C + c] : 0;
            count += !seen || seen[r];
        }
        out[c] = count > 0 ? (float)(sum / (double)count) : 0;
    }
}

void sella_binary_mf_settle(sella_binary_mf *model, const uint8_t *seen_u, const uint8_t *seen_i)
{
    float mean[SELLA_CODE_BITS_MAX];
    for (int side = 0; side < SIDES; side++) {
        sella_param *table = &model->table.param[weight_of(side)];
        const uint8_t *seen = side == USER ? seen_u : seen_i;
        mean_row(table, seen, mean);
        for (int64_t r = 0; r < table->shape[0]; r++) {
            if (!seen[r]) {
                memcpy(table->data + (size_t)r * (size_t)model->C, mean,
                       (size_t)model->C * sizeof *mean);
            }
        }
    }
}

sella_status sella_binary_mf_codes(const sella_binary_mf *model, uint8_t *user_bit,
                                   uint8_t *item_bit, sella_err *err)
{
    const size_t C = (size_t)model->C;
    for (int side = 0; side < SIDES; side++) {
        const sella_param *table = &model->table.param[weight_of(side)];
        const size_t rows = (size_t)table->shape[0] + 1;
        uint8_t *bit = side == USER ? user_bit : item_bit;
        float *x = sella_alloc(rows * C, sizeof *x, "codes", err),
              *t = sella_alloc(rows * C, sizeof *t, "codes", err);
        if (!x || !t) {
            free(x);
            free(t);
            return SELLA_MEMORY;
        }
        memcpy(x, table->data, table->count * sizeof *x);
        mean_row(table, NULL, x + table->count);
        map_forward(model, side, x, (int)rows, t);
        for (size_t i = 0; i < rows * C; i++) {
            bit[i] = sign_of(t[i]) > 0;
        }
        free(x);
        free(t);
    }
    return SELLA_OK;
}
