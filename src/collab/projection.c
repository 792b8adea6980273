/* projection.c - the projections into the language model's space (collab/projection.h). */
#include "collab/projection.h"

#include <assert.h>
#include <math.h>

#include "base/rng.h"
#include "kernels/activation.h"
#include "kernels/gemm.h"

enum { W1, B1, W2, B2, WW, BW };

/* Uniform +-1/sqrt(in), as torch.nn.Linear starts weights and biases. */
static void uniform_fill(sella_param *param, uint64_t seed, int place, int in)
{
    const sella_rng rng = {.seed = seed, .stream = SELLA_STREAM_INIT, .a = (uint32_t)place, .b = 1};
    const float bound = 1.0f / sqrtf((float)in);
    const int64_t count = (int64_t)param->count;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) {
        param->data[i] = bound * (2.0f * sella_rng_uniform(&rng, (uint64_t)i) - 1.0f);
    }
}

sella_status sella_projection_init(int C, int hidden, int L, bool warm, sella_warm_init warm_init,
                                   uint64_t seed, sella_projection *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    *out = (sella_projection){.C = C, .hidden = hidden, .L = L, .has_warm = warm};
    sella_param_table *table = &out->table;
    if (C < 1 || hidden < 1 || L < 1) {
        return sella_err_set(err, SELLA_ARG,
                             "projection of width %d over %d to %d; expected at least 1 each", C,
                             hidden, L);
    }
    SELLA_TRY(sella_param_add(table, "proj.0.weight", hidden, C, err));
    SELLA_TRY(sella_param_add(table, "proj.0.bias", hidden, 0, err));
    SELLA_TRY(sella_param_add(table, "proj.2.weight", L, hidden, err));
    SELLA_TRY(sella_param_add(table, "proj.2.bias", L, 0, err));
    uniform_fill(&table->param[W1], seed, W1, C);
    uniform_fill(&table->param[B1], seed, B1, C);
    uniform_fill(&table->param[W2], seed, W2, hidden);
    uniform_fill(&table->param[B2], seed, B2, hidden);
    if (warm) {
        SELLA_TRY(sella_param_add(table, "warm.weight", L, L, err));
        SELLA_TRY(sella_param_add(table, "warm.bias", L, 0, err));
        if (warm_init == SELLA_WARM_RANDOM) {
            uniform_fill(&table->param[WW], seed, WW, L);
            uniform_fill(&table->param[BW], seed, BW, L);
        } else {
            for (size_t i = 0; i < (size_t)L; i++) {
                table->param[WW].data[i * (size_t)L + i] = 1.0f;
            }
        }
    }
done:
    if (status != SELLA_OK) {
        sella_projection_release(out);
    }
    return status;
}

void sella_projection_release(sella_projection *projection)
{
    sella_param_table_release(&projection->table);
}

/* y [N, out] = x [N, in] w^T + b */
static void linear_forward(const sella_param *w, const sella_param *b, float *y, const float *x,
                           int N)
{
    const int out = (int)w->shape[0], in = (int)w->shape[1];
    sella_gemm(false, true, N, out, in, 1.0f, x, in, w->data, in, 0.0f, y, out);
    sella_bias_add(y, out, b->data, N, out);
}

static void linear_backward(sella_param *w, sella_param *b, float *dx, const float *dy,
                            const float *x, int N)
{
    const int out = (int)w->shape[0], in = (int)w->shape[1];
    if (w->grad) {
        sella_gemm(true, false, out, in, N, 1.0f, dy, out, x, in, 1.0f, w->grad, in);
    }
    if (b->grad) {
        sella_bias_backward(b->grad, dy, out, N, out);
    }
    if (dx) {
        sella_gemm(false, false, N, in, out, 1.0f, dy, out, w->data, in, 0.0f, dx, in);
    }
}

void sella_proj_forward(const sella_projection *projection, float *y, const float *x, int N,
                        float *pre, float *act)
{
    const sella_param *param = projection->table.param;
    linear_forward(&param[W1], &param[B1], pre, x, N);
    (projection->relu ? sella_relu_forward
                      : sella_gelu_forward)(act, pre, (size_t)N * (size_t)projection->hidden);
    linear_forward(&param[W2], &param[B2], y, act, N);
}

void sella_proj_backward(sella_projection *projection, float *dx, const float *dy, const float *x,
                         int N, const float *pre, const float *act, float *dpre)
{
    sella_param *param = projection->table.param;
    linear_backward(&param[W2], &param[B2], dpre, dy, act, N);
    (projection->relu ? sella_relu_backward : sella_gelu_backward)(
        dpre, dpre, pre, (size_t)N * (size_t)projection->hidden);
    linear_backward(&param[W1], &param[B1], dx, dpre, x, N);
}

void sella_warm_forward(const sella_projection *projection, float *y, const float *x, int N)
{
    assert(projection->has_warm);
    linear_forward(&projection->table.param[WW], &projection->table.param[BW], y, x, N);
}

void sella_warm_backward(sella_projection *projection, float *dx, const float *dy, const float *x,
                         int N)
{
    assert(projection->has_warm);
    linear_backward(&projection->table.param[WW], &projection->table.param[BW], dx, dy, x, N);
}
