/* attention.h - grouped-query causal attention over a forest of segments, forward and backward.
 *
 * Does:     A token attends to the tokens of its own segment up to itself and to all tokens of all
 *           ancestor segments. A plain row is a tree of one segment. Online softmax: no [T, T]
 *           matrix is stored; backward recomputes from lse.
 * Layout:   q, o and their gradients: token rows of `ldq`/`ldo` elements holding H heads of D; k,
 *           v: rows of ldk/ldv holding G heads of D (G divides H; query head h reads key head h /
 *           (H/G)). Segments are in depth-first order and contiguous: segment s is tokens
 *           start_s[s] .. start_s[s+1]-1, its subtree is segments s .. subtree_s[s]-1, its parent
 *           is parent_s[s] < s or -1.
 * Memory:   scratch from the caller: sella_attention_scratch() floats.
 * Threads:  internally parallel; the result does not depend on the number of threads by more than
 *           rounding.
 * Paper:    Dao et al. 2022 (online softmax); the segment forest is ours (SPEC section 5).
 */
#ifndef SELLA_KERNELS_ATTENTION_H
#define SELLA_KERNELS_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

typedef struct sella_attention_shape {
    int T; /* tokens */
    int S; /* segments */
    int H; /* query heads */
    int G; /* key and value heads */
    int D; /* head width */
    float scale; /* 1 / sqrt(D) */
    const int32_t *start_s;   /* [S + 1] */
    const int32_t *parent_s;  /* [S] */
    const int32_t *subtree_s; /* [S] */
    /* most threads to use and to plan scratch for; 0: those in use when the call is made */
    int threads;
} sella_attention_shape;

/* Floats of scratch that forward and backward need for this shape, with shape->threads or, when
 * that is 0, with the threads in use now: their number must not grow before the kernels run. */
size_t sella_attention_scratch(const sella_attention_shape *shape);

/*   o       out [T, H, D]
 *   lse     out [T, H]     log sum exp of the scaled scores; NULL when no backward follows
 *   q       in  [T, H, D]
 *   k, v    in  [T, G, D]
 *   query_n in  [N]        tokens whose output is wanted, ascending; NULL: all T. Other rows of o
 *                          and lse are left alone. */
void sella_attention_forward(float *o, int ldo, float *lse, const float *q, int ldq, const float *k,
                             int ldk, const float *v, int ldv, const int32_t *query_n, int N,
                             const sella_attention_shape *shape, float *scratch);

/*   dq, dk, dv out  gradients (overwritten: every one of the T rows of dk and dv, and the queried
 *                   rows of dq, others zeroed)
 *   do_        in   [T, H, D]; o and lse as the forward left them */
void sella_attention_backward(float *dq, int lddq, float *dk, int lddk, float *dv, int lddv,
                              const float *do_, int lddo, const float *o, int ldo, const float *lse,
                              const float *q, int ldq, const float *k, int ldk, const float *v,
                              int ldv, const int32_t *query_n, int N,
                              const sella_attention_shape *shape, float *scratch);

/* What one query head makes of the keys, as the forward pass weighs them: weight += a p, p_ij =
 * exp(scale q_i . k_j - lse_i).
 *   weight accum [T, T]  row i: the tokens that i sees; others are left alone
 *   h      in    query head, 0 to H - 1
 *   lse    in    [T, H]  as the forward left it; q of all T tokens */
void sella_attention_weights(float *weight, float a, int h, const float *lse, const float *q,
                             int ldq, const float *k, int ldk, const sella_attention_shape *shape);

/* Plain-loop twins with the same contracts (no scratch needed). */
void sella_attention_forward_plain(float *o, int ldo, float *lse, const float *q, int ldq,
                                   const float *k, int ldk, const float *v, int ldv,
                                   const int32_t *query_n, int N,
                                   const sella_attention_shape *shape);
void sella_attention_backward_plain(float *dq, int lddq, float *dk, int lddk, float *dv, int lddv,
                                    const float *do_, int lddo, const float *o, int ldo,
                                    const float *lse, const float *q, int ldq, const float *k,
                                    int ldk, const float *v, int ldv, const int32_t *query_n, int N,
                                    const sella_attention_shape *shape);
#endif
