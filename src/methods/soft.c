/* soft.c - soft tokens (methods/soft.h). */
#include "methods/soft.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "kernels/activation.h"

enum { USER_OR_ITEM = 1u << SELLA_SLOT_USER | 1u << SELLA_SLOT_ITEM };

static float *floats(size_t rows, size_t cols, sella_err *err)
{
    return sella_alloc(rows * cols, sizeof(float), "soft tokens", err);
}

sella_status sella_soft_make(sella_vectors *v, const sella_query *query_n, const sella_refs *refs, sella_slot_set slots,
                             bool backward, sella_soft *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    float *z = NULL;
    *out = (sella_soft){.v = v, .refs = refs, .slots = slots, .U = (int)refs->users, .I = (int)refs->items};
    const size_t U = (size_t)out->U, I = (size_t)out->I, C = (size_t)v->C, L = (size_t)v->L,
                 hidden = (size_t)v->projection.hidden;
    if (slots & USER_OR_ITEM) {
        out->x = floats(U + I, C, err);
        out->pre = floats(U + I, hidden, err);
        out->act = floats(U + I, hidden, err);
        out->e = floats(U + I, L, err);
        out->de = backward ? floats(U + I, L, err) : NULL;
        z = floats(U, 1, err);
        if (!out->x || !out->pre || !out->act || !out->e || (backward && !out->de) || !z) {
            status = SELLA_MEMORY;
            goto done;
        }
        SELLA_TRY(sella_vector_batch_make(v, query_n, refs->user_query_u, refs->users, false, &out->batch, err));
        sella_vectors_forward(v, &out->batch, z, out->x);
        sella_rows_take(sella_param_find(&v->mf.table, "item.weight"), refs->item_i, out->I, out->x + U * C);
        sella_proj_forward(&v->projection, out->e, out->x, out->U + out->I, out->pre, out->act);
    }
    if (slots & 1u << SELLA_SLOT_WARM) {
        out->s = floats(I, L, err);
        out->w = floats(I, L, err);
        out->dw = backward ? floats(I, L, err) : NULL;
        if (!out->s || !out->w || (backward && !out->dw)) {
            status = SELLA_MEMORY;
            goto done;
        }
        sella_rows_take(&v->semantic.param[0], refs->item_i, out->I, out->s);
        sella_warm_forward(&v->projection, out->w, out->s, out->I);
    }
done:
    free(z);
    if (status != SELLA_OK) {
        sella_soft_release(out);
    }
    return status;
}

void sella_soft_release(sella_soft *soft)
{
    sella_vector_batch_release(&soft->batch);
    free(soft->x);
    free(soft->pre);
    free(soft->act);
    free(soft->e);
    free(soft->s);
    free(soft->w);
    free(soft->de);
    free(soft->dw);
    *soft = (sella_soft){0};
}

/* Where the vector of soft token m stands in e (or de) and w (or dw). */
static float *row_of(const sella_soft *soft, const sella_tree_batch *batch, int m, float *e, float *w)
{
    size_t L = (size_t)soft->v->L, ref = (size_t)batch->soft_ref_m[m];
    switch (batch->soft_slot_m[m]) {
    case SELLA_SLOT_USER: return e + ref * L;
    case SELLA_SLOT_ITEM: return e + ((size_t)soft->U + ref) * L;
    default: return w + ref * L;
    }
}

void sella_soft_gather(const sella_soft *soft, const sella_tree_batch *batch, float *rows)
{
    size_t L = (size_t)soft->v->L;
    for (int m = 0; m < batch->M; m++) {
        memcpy(rows + (size_t)m * L, row_of(soft, batch, m, soft->e, soft->w), L * sizeof *rows);
    }
}

void sella_soft_scatter(sella_soft *soft, const sella_tree_batch *batch, const float *drows)
{
    size_t L = (size_t)soft->v->L;
    for (int m = 0; m < batch->M; m++) {
        sella_axpy(row_of(soft, batch, m, soft->de, soft->dw), 1, drows + (size_t)m * L, L);
    }
}

sella_status sella_soft_backward(sella_soft *soft, const float *ds, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_vectors *v = soft->v;
    const size_t U = (size_t)soft->U, I = (size_t)soft->I, C = (size_t)v->C, L = (size_t)v->L;
    float *dx = NULL, *dpre = NULL, *dsemantic = NULL;
    if (soft->e) {
        dx = floats(U + I, C, err);
        dpre = floats(U + I, (size_t)v->projection.hidden, err);
        if (!dx || !dpre) {
            status = SELLA_MEMORY;
            goto done;
        }
        sella_proj_backward(&v->projection, dx, soft->de, soft->x, soft->U + soft->I, soft->pre, soft->act, dpre);
        sella_mf_backward(&v->mf, &soft->batch.mf, NULL, dx, NULL);
        sella_rows_give(sella_param_find(&v->mf.table, "item.weight"), soft->refs->item_i, soft->I, dx + U * C);
    }
    if (soft->w) {
        dsemantic = floats(I, L, err);
        if (!dsemantic) {
            status = SELLA_MEMORY;
            goto done;
        }
        sella_warm_backward(&v->projection, dsemantic, soft->dw, soft->s, soft->I);
        sella_rows_give(&v->semantic.param[0], soft->refs->item_i, soft->I, dsemantic);
    }
    if (ds) {
        sella_rows_give(&v->semantic.param[0], soft->refs->item_i, soft->I, ds);
    }
done:
    free(dx);
    free(dpre);
    free(dsemantic);
    return status;
}
