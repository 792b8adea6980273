/* attention_tile.h - what the attention of one tile of queries and one key head needs (internal to
 * attention).
 *
 * Does:     A tile is up to `queries` query tokens, in ascending order, with the `ratio` query
 *           heads that share a key head; a row is one (token, head) pair, token first. Its key list
 *           holds every token that some query of the tile sees; because segments are in depth-first
 *           order, the queries that see key j are one range low_j .. high_j-1 of the tile. All
 *           masks are ranges.
 * Layout:   q, o, do and dq point at the first head of the group in token 0; k, v, dk, dv at the
 *           key head in token 0.
 */
#ifndef SELLA_KERNELS_ATTENTION_TILE_H
#define SELLA_KERNELS_ATTENTION_TILE_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/attention.h"
#include "kernels/fast.h"

/* most rows of a tile, and so the most query heads that may share a key head */
enum { SELLA_ATTENTION_ROWS = 96 };

typedef struct sella_attention_size {
    int queries;          /* most query tokens in a tile */
    size_t forward_work;  /* floats of `work` */
    size_t backward_work;
} sella_attention_size;

typedef struct sella_attention_tile {
    int D;
    int ratio;
    float scale;
    int queries;          /* query tokens here */
    int keys;             /* length of the key list */
    const int32_t *query; /* [queries] tokens */
    const int32_t *key;   /* [keys] tokens, ascending */
    const int32_t *low;   /* [keys] first query that sees the key */
    const int32_t *high;  /* [keys] one past the last */
    const float *q, *k, *v;
    int ldq, ldk, ldv;
    float *o;             /* forward: out; backward: in */
    int ldo;
    /* first head of the group in token 0, rows of ldlse; forward: out or NULL; backward: in */
    float *lse;
    int ldlse;
    /* backward only */
    const float *do_;
    int lddo;
    float *dq;            /* out */
    int lddq;
    float *dk, *dv;       /* accum */
    int lddk, lddv;
    /* [keys] row of `partial` that takes the key's gradients, -1: dk and dv themselves */
    const int32_t *slot;
    float *partial;       /* [*, 2 D] dk then dv */
    float *work;
} sella_attention_tile;

/* The public calls at a chosen level of CPU, for tests and benchmarks. */
size_t sella_attention_scratch_with(const sella_fast *fast, const sella_attention_shape *shape);
void sella_attention_forward_with(const sella_fast *fast, float *o, int ldo, float *lse,
                                  const float *q, int ldq, const float *k, int ldk, const float *v,
                                  int ldv, const int32_t *query_n, int N,
                                  const sella_attention_shape *shape, float *scratch);
void sella_attention_backward_with(const sella_fast *fast, float *dq, int lddq, float *dk, int lddk,
                                   float *dv, int lddv, const float *do_, int lddo, const float *o,
                                   int ldo, const float *lse, const float *q, int ldq,
                                   const float *k, int ldk, const float *v, int ldv,
                                   const int32_t *query_n, int N,
                                   const sella_attention_shape *shape, float *scratch);

#endif
