/* soft_vectors.c - the soft tokens of SeLLa-Rec: projected collaborative vectors and the warm token
 * (methods/sella/soft_vectors.h). */
#include "methods/sella/soft_vectors.h"

#include <stdlib.h>

#include "base/arena.h"
#include "kernels/activation.h"

/* Between forward and backward. U, I: users and items of the set. */
typedef struct kept {
    sella_collab_rows rows; // the users' representatives
    sella_collab_pass users, items;
    int U, I;
    float *x;   // [U + I, C] p' of users, q of items
    float *pre; // [U + I, hidden]
    float *act; // [U + I, hidden]
    float *s;   // [I, L] semantic rows
    float *ds;  // [I, L] gradient of the alignment loss on s; NULL: none
} kept;

static float *floats(size_t rows, size_t cols, sella_err *err)
{
    return sella_alloc(rows * cols, sizeof(float), "soft tokens", err);
}

static void forget(sella_soft *soft)
{
    kept *k = soft->kept;
    if (!k) {
        return;
    }
    sella_collab_rows_release(&k->rows);
    sella_collab_pass_release(&k->users);
    sella_collab_pass_release(&k->items);
    free(k->x);
    free(k->pre);
    free(k->act);
    free(k->s);
    free(k->ds);
    free(k);
    soft->kept = NULL;
}

/* The set's items, for their vectors alone. */
static sella_collab_batch items_of(const kept *k, const sella_refs *refs)
{
    return (sella_collab_batch){
        .N = k->I, .item_n = refs->item_i, .backward = k->rows.batch.backward};
}

static sella_status forward(void *self, sella_soft *soft, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_vectors *v = ((sella_soft_vectors *)self)->v;
    const sella_refs *refs = soft->refs;
    kept *k = soft->kept = sella_alloc(1, sizeof *k, "soft tokens", err);
    if (!k) {
        return SELLA_MEMORY;
    }
    k->U = (int)refs->users;
    k->I = (int)refs->items;
    const size_t U = (size_t)k->U, I = (size_t)k->I, C = (size_t)v->C,
                 hidden = (size_t)v->projection.hidden;
    if (soft->slots & SELLA_SLOT_SET_USER_ITEM) {
        k->x = floats(U + I, C, err);
        k->pre = floats(U + I, hidden, err);
        k->act = floats(U + I, hidden, err);
        if (!k->x || !k->pre || !k->act) {
            status = SELLA_MEMORY;
            goto done;
        }
        SELLA_TRY(sella_vectors_rows(v, soft->query_n, refs->user_query_u, refs->users,
                                     v->collab->ops->target, &k->rows, err));
        k->rows.batch.backward = soft->de[SELLA_SLOT_USER] != NULL;
        const sella_collab_batch items = items_of(k, refs);
        SELLA_TRY(sella_collab_vectors(v->collab, &k->rows.batch, &k->users, k->x, NULL, err));
        SELLA_TRY(sella_collab_vectors(v->collab, &items, &k->items, NULL, k->x + U * C, err));
        // users and items stand one behind the other in e as in x
        sella_proj_forward(&v->projection, soft->e[SELLA_SLOT_USER], k->x, k->U + k->I, k->pre,
                           k->act);
    }
    if (soft->slots & 1u << SELLA_SLOT_WARM) {
        k->s = floats(I, (size_t)v->L, err);
        if (!k->s) {
            status = SELLA_MEMORY;
            goto done;
        }
        sella_rows_take(&v->semantic.param[0], refs->item_i, k->I, k->s);
        sella_warm_forward(&v->projection, soft->e[SELLA_SLOT_WARM], k->s, k->I);
    }
done:
    return status;
}

/* Alignment over the set's items (stage3.align_weight). */
static sella_status align(void *self, sella_soft *soft, double *loss, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_soft_vectors *source = self;
    const sella_vectors *v = source->v;
    kept *k = soft->kept;
    const int B = k->I;
    const size_t n = (size_t)B * (size_t)v->L;
    *loss = 0;
    if (source->align_weight <= 0 || !k->x || !k->s) {
        return SELLA_OK;
    }
    float *dg = floats(n, 1, err), *scratch = floats(sella_align_scratch(B, B, v->L), 1, err);
    int *positive = sella_alloc((size_t)B, sizeof *positive, "alignment", err);
    k->ds = floats(n, 1, err);
    if (!dg || !scratch || !positive || !k->ds) {
        status = SELLA_MEMORY;
        goto done;
    }
    for (int b = 0; b < B; b++) {
        positive[b] = b;
    }
    sella_align_config config = source->align;
    config.negatives =
        config.negatives == SELLA_NEGATIVES_ALL ? SELLA_NEGATIVES_BATCH : config.negatives;
    *loss = source->align_weight * sella_align_forward_backward(&config, k->s,
                                                                soft->e[SELLA_SLOT_ITEM], positive,
                                                                B, B, v->L, k->ds, dg, scratch);
    sella_scale(k->ds, (float)source->align_weight, n);
    sella_axpy(soft->de[SELLA_SLOT_ITEM], (float)source->align_weight, dg, n);
done:
    free(dg);
    free(scratch);
    free(positive);
    return status;
}

static sella_status backward(void *self, sella_soft *soft, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_vectors *v = ((sella_soft_vectors *)self)->v;
    const sella_refs *refs = soft->refs;
    kept *k = soft->kept;
    const size_t U = (size_t)k->U, I = (size_t)k->I, C = (size_t)v->C, L = (size_t)v->L;
    float *dx = NULL, *dpre = NULL, *ds = NULL;
    if (k->x) {
        dx = floats(U + I, C, err);
        dpre = floats(U + I, (size_t)v->projection.hidden, err);
        if (!dx || !dpre) {
            status = SELLA_MEMORY;
            goto done;
        }
        sella_proj_backward(&v->projection, dx, soft->de[SELLA_SLOT_USER], k->x, k->U + k->I,
                            k->pre, k->act, dpre);
        const sella_collab_batch items = items_of(k, refs);
        SELLA_TRY(
            sella_collab_vectors_backward(v->collab, &k->rows.batch, &k->users, dx, NULL, err));
        SELLA_TRY(
            sella_collab_vectors_backward(v->collab, &items, &k->items, NULL, dx + U * C, err));
    }
    if (k->s) {
        ds = floats(I, L, err);
        if (!ds) {
            status = SELLA_MEMORY;
            goto done;
        }
        sella_warm_backward(&v->projection, ds, soft->de[SELLA_SLOT_WARM], k->s, k->I);
        sella_rows_give(&v->semantic.param[0], refs->item_i, k->I, ds);
    }
    if (k->ds) {
        sella_rows_give(&v->semantic.param[0], refs->item_i, k->I, k->ds);
    }
done:
    free(dx);
    free(dpre);
    free(ds);
    return status;
}

static sella_status ready(void *self, const sella_run *run, sella_err *err)
{
    return sella_vectors_ready(((sella_soft_vectors *)self)->v, run, err);
}

static const sella_soft_ops borrowed = {
    .forward = forward, .backward = backward, .term = align, .forget = forget, .ready = ready};
static const sella_soft_ops own = {.forward = forward,
                                   .backward = backward,
                                   .term = align,
                                   .forget = forget,
                                   .ready = ready,
                                   .close = free};

sella_soft_source sella_soft_of_vectors(sella_soft_vectors *self, bool owned)
{
    return (sella_soft_source){
        .ops = owned ? &own : &borrowed,
        .self = self,
        .L = self->v->L,
        .tokens = 1,
        .refs = sella_collab_refs(self->v->collab->ops, &self->v->collab->config)};
}
