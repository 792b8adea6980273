/* param.h - the parameter table: every trained or frozen tensor of a model, once.
 *
 * Does:     A model adds rows {name, shape, data}; save, load, count, optimizer, checkpoint and
 *           gradient check all walk the table. A row is trainable or frozen; only trainable rows
 *           have a gradient.
 * Layout:   row-major f32, last dimension contiguous.
 * Memory:   the table owns data and grad of rows made by sella_param_add (one allocation each,
 *           64-byte aligned).
 * Threads:  one object per thread; data may be read by many.
 */
#ifndef SELLA_BASE_PARAM_H
#define SELLA_BASE_PARAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { SELLA_PARAM_NAME_MAX = 160 };

typedef struct sella_param {
    char name[SELLA_PARAM_NAME_MAX]; /* contract of SPEC section 2, e.g. "user.weight" */
    int rank;                        /* 1 or 2 */
    int64_t shape[2];                /* [rows, cols]; rank 1: [n, 1] */
    size_t count;                    /* product of shape */
    bool trainable;                  /* false: frozen in this stage, grad is NULL */
    bool decay;                      /* weight decay applies (the semantic table: no) */
    int group;                       /* training group, 0 unless an ablation alternates groups */
    float *data;                     /* [shape] */
    /* [shape], or NULL when frozen; accumulated into, cleared by the optimizer step */
    float *grad;
} sella_param;

typedef struct sella_param_table {
    sella_param *param; /* [count] */
    int count;
    int capacity;
} sella_param_table;

void sella_param_table_init(sella_param_table *table);
void sella_param_table_release(sella_param_table *table);

/* Add a zeroed, trainable, decaying rank-1 (cols = 0) or rank-2 tensor; its row number is
 * table->count - 1. Pointers into table->param are invalid after the next add: keep row numbers or
 * data pointers. */
sella_status sella_param_add(sella_param_table *table, const char *name, int64_t rows, int64_t cols,
                             sella_err *err);

/* Row by name, or NULL. */
sella_param *sella_param_find(const sella_param_table *table, const char *name);

/* Make a row trainable (allocates a zeroed gradient) or frozen (frees it). */
sella_status sella_param_train(sella_param *param, bool trainable, sella_err *err);

void sella_param_grad_zero(sella_param_table *table);

/* Numbers of values: all, and trainable ones. */
size_t sella_param_total(const sella_param_table *table, bool only_trainable);

/* SELLA_DIVERGED and the tensor's name when a value (or gradient) is not finite. `what` names the
 * moment, e.g. "step 12". */
sella_status sella_param_check_finite(const sella_param_table *table, bool grads, const char *what,
                                      sella_err *err);

#endif
