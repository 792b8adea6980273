/* soft.c - soft tokens, whatever makes them (methods/soft.h). */
#include "methods/soft.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "kernels/activation.h"

/* Vectors of a slot. */
static size_t slot_rows(const sella_soft *soft, int slot)
{
    if (!(soft->slots & 1u << slot)) {
        return 0;
    }
    return (size_t)(slot == SELLA_SLOT_USER ? soft->refs->users : soft->refs->items) *
           (size_t)soft->source->tokens;
}

/* One block for all slots. */
static sella_status carve(const sella_soft *soft, float *e[SELLA_SLOTS], sella_err *err)
{
    const size_t L = (size_t)soft->source->L;
    size_t rows = 0;
    for (int s = 1; s < SELLA_SLOTS; s++) {
        rows += slot_rows(soft, s);
    }
    float *at = e[0] = sella_alloc(rows * L, sizeof *at, "soft tokens", err);
    if (!at) {
        return SELLA_MEMORY;
    }
    for (int s = 1; s < SELLA_SLOTS; s++) {
        e[s] = soft->slots & 1u << s ? at : NULL;
        at += slot_rows(soft, s) * L;
    }
    return SELLA_OK;
}

sella_status sella_soft_make(const sella_soft_source *source, const sella_query *query_n,
                             const sella_refs *refs, sella_slot_set slots, bool backward,
                             sella_soft *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    *out = (sella_soft){.source = source, .query_n = query_n, .refs = refs, .slots = slots};
    SELLA_TRY(carve(out, out->e, err));
    SELLA_TRY(backward ? carve(out, out->de, err) : SELLA_OK);
    SELLA_TRY(source->ops->forward(source->self, out, err));
done:
    if (status != SELLA_OK) {
        sella_soft_release(out);
    }
    return status;
}

void sella_soft_release(sella_soft *soft)
{
    if (soft->source && soft->source->ops->forget) {
        soft->source->ops->forget(soft);
    }
    free(soft->e[0]); // the block that the slots stand in
    free(soft->de[0]);
    *soft = (sella_soft){0};
}

/* Where the vector of soft token m stands in e (or de). */
static float *row_of(const sella_soft *soft, const sella_tree_batch *batch, int m,
                     float *const e[SELLA_SLOTS])
{
    const size_t place =
        (size_t)batch->soft_ref_m[m] * (size_t)soft->source->tokens + batch->soft_part_m[m];
    return e[batch->soft_slot_m[m]] + place * (size_t)soft->source->L;
}

void sella_soft_gather(const sella_soft *soft, const sella_tree_batch *batch, float *rows)
{
    size_t L = (size_t)soft->source->L;
    for (int m = 0; m < batch->M; m++) {
        memcpy(rows + (size_t)m * L, row_of(soft, batch, m, soft->e), L * sizeof *rows);
    }
}

void sella_soft_scatter(sella_soft *soft, const sella_tree_batch *batch, const float *drows)
{
    size_t L = (size_t)soft->source->L;
    for (int m = 0; m < batch->M; m++) {
        sella_axpy(row_of(soft, batch, m, soft->de), 1, drows + (size_t)m * L, L);
    }
}

sella_status sella_soft_backward(sella_soft *soft, sella_err *err)
{
    return soft->source->ops->backward(soft->source->self, soft, err);
}

void sella_soft_source_close(sella_soft_source *source)
{
    if (source->ops && source->ops->close) {
        source->ops->close(source->self);
    }
    *source = (sella_soft_source){0};
}

void sella_rows_take(const sella_param *param, const int32_t *item_i, int n, float *out)
{
    size_t width = (size_t)param->shape[1];
    for (int i = 0; i < n; i++) {
        if (item_i[i] >= 0) {
            memcpy(out + (size_t)i * width, param->data + (size_t)item_i[i] * width,
                   width * sizeof *out);
        } else {
            memset(out + (size_t)i * width, 0, width * sizeof *out);
        }
    }
}

void sella_rows_give(sella_param *param, const int32_t *item_i, int n, const float *drows)
{
    size_t width = (size_t)param->shape[1];
    for (int i = 0; param->grad && i < n; i++) {
        if (item_i[i] >= 0) {
            sella_axpy(param->grad + (size_t)item_i[i] * width, 1, drows + (size_t)i * width,
                       width);
        }
    }
}
