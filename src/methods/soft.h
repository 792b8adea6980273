/* soft.h - soft tokens: rows in the language model's input space that stand in the slots of a
 * prompt, and where they come from.
 *
 * Does:     A sella_soft_source is what a method makes soft tokens of (tables, a projection, shared
 *           vectors). make(queries): the vectors of every user and item of the set are computed
 *           once -> gather(batch) fills the soft rows of a packed batch -> scatter(drows) collects
 *           their gradients -> backward: through the source into its parameters. Sums run in the
 *           order of batches and rows: same bytes every time.
 * Memory:   a sella_soft is owned, released with _release; source and refs are borrowed.
 * Threads:  internally parallel.
 * Paper:    eq (10): the circled plus.
 */
#ifndef SELLA_METHODS_SOFT_H
#define SELLA_METHODS_SOFT_H

#include "base/param.h"
#include "data/prompt.h"
#include "methods/refs.h"
#include "methods/run.h"

typedef struct sella_soft_source sella_soft_source;

typedef struct sella_soft {
    const sella_soft_source *source;
    const sella_query *query_n;  /* that refs are of */
    const sella_refs *refs;
    sella_slot_set slots;
    /* [rows, tokens, L]; rows: users of refs (user slot), items (the others); NULL for a slot that
     * the prompt lacks. One block, in the order of slots */
    float *e[SELLA_SLOTS];
    float *de[SELLA_SLOTS]; /* the same: gradients; NULL without backward */
    void *kept;             /* what the source keeps between forward and backward */
} sella_soft;

/* What differs between sources. self: the source's own struct. */
typedef struct sella_soft_ops {
    /* Fill soft->e. */
    sella_status (*forward)(void *self, sella_soft *soft, sella_err *err);
    /* Accumulate soft->de into the gradients of trainable parameters. */
    sella_status (*backward)(void *self, sella_soft *soft, sella_err *err);
    /* NULL, or the source's own term of a training step's loss: *loss, and its gradient (into
     * soft->de or kept). */
    sella_status (*term)(void *self, sella_soft *soft, double *loss, sella_err *err);
    /* NULL, or told once the rows that it will be trained on. */
    void (*rows)(void *self, const sella_query *query_n, int64_t N);
    /* Free soft->kept; NULL when nothing is kept. */
    void (*forget)(sella_soft *soft);
    /* NULL, or: compute what users and items without trained vectors get, after the parameters have
     * changed. */
    sella_status (*ready)(void *self, const sella_run *run, sella_err *err);
    /* Free self; NULL when somebody else owns it. */
    void (*close)(void *self);
} sella_soft_ops;

struct sella_soft_source {
    const sella_soft_ops *ops;
    void *self;
    int L;               /* width of the language model */
    int tokens;          /* soft tokens of a slot, 1 to SELLA_SLOT_TOKENS */
    sella_refs_kind refs; /* what user and item vectors follow from */
};

sella_status sella_soft_make(const sella_soft_source *source, const sella_query *query_n,
                             const sella_refs *refs, sella_slot_set slots, bool backward,
                             sella_soft *out, sella_err *err);
void sella_soft_release(sella_soft *soft);

/* rows [M, L] of a batch whose refs are refs->user_ref_n and refs->item_ref_n. */
void sella_soft_gather(const sella_soft *soft, const sella_tree_batch *batch, float *rows);
void sella_soft_scatter(sella_soft *soft, const sella_tree_batch *batch, const float *drows);
sella_status sella_soft_backward(sella_soft *soft, sella_err *err);

/* Close a source that owns itself. A zeroed one is fine. */
void sella_soft_source_close(sella_soft_source *source);

/* Rows item_i [n] of a table (-1: zero): out [n, width]; and gradients on them back: param->grad +=
 * drows, nothing when it is frozen. */
void sella_rows_take(const sella_param *param, const int32_t *item_i, int n, float *out);
void sella_rows_give(sella_param *param, const int32_t *item_i, int n, const float *drows);

#endif
