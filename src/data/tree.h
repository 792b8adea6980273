/* tree.h - rendered prompt rows and the packed batch: a forest of segments.
 *
 * Does:     sella_rows holds rows as flat token sequences with soft slots. sella_tree_plan groups
 *           rows into batches of at most `budget` tokens, merging equal prefixes of rows of one
 *           group (user) into shared segments; sella_tree_build makes one batch. With sharing off
 *           every row is a tree of one segment: sharing is only a matter of how batches are built.
 * Layout:   tokens of a batch are packed without padding in depth-first order: every segment is
 *           contiguous, a parent stands before its children, the subtree of segment s is segments s
 *           .. subtree_s[s]-1. Positions continue from the parent's end.
 * Memory:   caller-held structs, released with their _release.
 * Threads:  pure on separate objects.
 */
#ifndef SELLA_DATA_TREE_H
#define SELLA_DATA_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef enum sella_slot {
    SELLA_SLOT_NONE = 0,
    SELLA_SLOT_USER = 1,
    SELLA_SLOT_ITEM = 2,
    SELLA_SLOT_WARM = 3,
    SELLA_SLOTS = 4
} sella_slot;

/* Rendered rows. The last token of a row is its answer position: the label is predicted there. */
typedef struct sella_rows {
    int64_t count;
    int64_t *start; /* [count + 1] into token and slot */
    int32_t *token; /* [start[count]] ids; a slot holds a reserved id */
    uint8_t *slot;  /* [start[count]] sella_slot of each token */
    /* [count * SELLA_SLOTS] what each slot kind stands for in that row: an opaque number of the
     * caller (user row, item row); equal numbers mean equal vectors. ref[.][0] is unused */
    int32_t *ref;
    /* [count] rows of one group (a user) may share prefixes and are kept together */
    int32_t *group;
    int64_t *row;   /* [count] the caller's row number, carried through to the score */
    float *label;   /* [count] 0 or 1 (0 when unknown) */
    float *weight;  /* [count] weight in the loss, 1 by default */
    int64_t capacity_rows;
    int64_t capacity_tokens;
} sella_rows;

void sella_rows_init(sella_rows *rows);
void sella_rows_release(sella_rows *rows);
void sella_rows_clear(sella_rows *rows);
/* Append a row of n tokens; slot_n may be NULL (no soft tokens); ref [SELLA_SLOTS] may be NULL
 * then. */
sella_status sella_rows_add(sella_rows *rows, const int32_t *token_n, const uint8_t *slot_n, int n,
                            const int32_t *ref, int32_t group, int64_t row, float label,
                            float weight, sella_err *err);

typedef struct sella_tree_batch {
    int T; /* tokens */
    int S; /* segments */
    int N; /* rows = answers */
    int M; /* soft tokens */
    int32_t *token_t;     /* [T] */
    int32_t *position_t;  /* [T] */
    int32_t *start_s;     /* [S + 1] */
    int32_t *parent_s;    /* [S] -1 for a root */
    int32_t *subtree_s;   /* [S] */
    int32_t *answer_n;    /* [N] packed index of each row's answer token; two rows may share one */
    int64_t *row_n;       /* [N] the caller's row number */
    float *label_n;       /* [N] */
    float *weight_n;      /* [N] */
    int32_t *soft_m;      /* [M] packed index of each soft token, ascending */
    int32_t *soft_ref_m;  /* [M] */
    uint8_t *soft_slot_m; /* [M] */
    /* [M] which of the tokens of its slot, from 0: a slot is a run of tokens of one kind */
    uint8_t *soft_part_m;
    int64_t row_tokens;   /* tokens that the same rows have without sharing */
    void *slab;           /* owner of the arrays */
} sella_tree_batch;

/* How rows are put into batches. */
typedef struct sella_tree_options {
    int budget;   /* tokens a batch may have, >= the longest row */
    /* tokens one tree may have before it is cut with the shared prefix repeated; 0: budget */
    int tree_cap;
    bool share;   /* false: one segment a row */
} sella_tree_options;

/* Which rows form which tree and which batch. Trees are made inside groups in the order of the rows
 * given; batches are filled in that order too. */
typedef struct sella_tree_plan {
    int64_t batches;
    int64_t *first;      /* [batches + 1] into order */
    int64_t *order;      /* [rows] indexes into sella_rows, batch by batch, tree by tree */
    int64_t tokens;      /* packed tokens of all batches */
    int64_t trees;
    int64_t *tree_first; /* [trees + 1] into order */
    int32_t *tree_tokens; /* [trees] packed tokens of each tree */
} sella_tree_plan;

/* SELLA_ARG when a row is longer than the budget (the sentence names the row and both numbers). */
sella_status sella_tree_plan_new(const sella_rows *rows, const sella_tree_options *options,
                                 sella_tree_plan *plan, sella_err *err);
void sella_tree_plan_release(sella_tree_plan *plan);

/* Build one batch of the k row indexes index_k (into rows); adjacent rows of one group share
 * prefixes when options->share. Rows that are equal token by token share their answer token. */
sella_status sella_tree_build(const sella_rows *rows, const int64_t *index_k, int64_t k,
                              const sella_tree_options *options, sella_tree_batch *out,
                              sella_err *err);
void sella_tree_batch_release(sella_tree_batch *batch);

#endif
